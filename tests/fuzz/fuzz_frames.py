"""Whatever a peer sends as WebSocket frames, it comes out as messages and control frames, or raises FrameError.

And: it comes out the same however it is split, what is held back stays within its bounds, and `websockets` reads the
same.  Each input is tried as a stream of frames, and as the payload of a message in right frames, so that what lies
behind the headers is reached too.
"""

from itertools import pairwise
from typing import Any

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from webfw.sansio.errors import RemoteProtocolError
from webfw.sansio.websocket import (
    PING,
    TEXT,
    Close,
    Deflate,
    DeflateParameters,
    FrameError,
    Machine,
    Ping,
    Pong,
    State,
    encode_close,
    encode_frame,
)

#: max_message_size, and the parameters of permessage-deflate.
OPTIONS = [
    (1 << 20, None),
    (60, None),
    (1 << 16, DeflateParameters()),
    (500, DeflateParameters(True, True, 9, 9)),
]
#: A header, and the payload of a control frame.
MAX_PENDING = 14 + 125
TOKENS = [
    *(b"\x81", b"\x82", b"\x01", b"\x02", b"\x80", b"\x00", b"\x88", b"\x89", b"\x8a", b"\x83", b"\x8b"),
    *(b"\xc1", b"\xc2", b"\x41", b"\x42", b"\xa1", b"\x91", b"\xc0", b"\xc9", b"\x09", b"\x7d", b"\xfd"),
    *(b"\x7e", b"\x7e\x00\x7e", b"\x7e\x00\x7d", b"\x7f", b"\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    *(b"\xfe", b"\xfe\x00\x7e", b"\xfe\x00\x7d", b"\xff", b"\xff\x00\x00\x00\x00\x00\x01\x00\x00"),
    *(b"\x7f\xff\xff\xff\xff\xff\xff\xff\xff", b"\xff\x7f\xff\xff\xff\xff\xff\xff\xff", b"\x00\x00\x00\x00"),
    # Whole frames from a server, then with a mask of zeros from a client.
    *(b"\x81\x02hi", b"\x82\x01\xff", b"\x01\x02\xe2\x82", b"\x80\x01\xac", b"\x00\x01\x90", b"\x01\x01\xed"),
    *(b"\x89\x00", b"\x8a\x01a", b"\x88\x00", b"\x88\x02\x03\xe8", b"\x88\x03\x03\xe8\xff", b"\x88\x01\x03"),
    *(
        b"\xc1\x07\xf2H\xcd\xc9\xc9\x07\x00",
        b"\xc1\x05\xf2\x00\x11\x00\x00",
        b"\xc2\x01\x00",
        b"\x41\x01\xf2",
    ),
    *(b"\x81\x82\x00\x00\x00\x00hi", b"\x82\x81\x00\x00\x00\x00\xff", b"\x01\x82\x00\x00\x00\x00\xe2\x82"),
    *(b"\x80\x81\x00\x00\x00\x00\xac", b"\x89\x80\x00\x00\x00\x00", b"\x88\x82\x00\x00\x00\x00\x03\xe8"),
    *(b"\xc1\x87\x00\x00\x00\x00\xf2H\xcd\xc9\xc9\x07\x00", b"\xc1\x85\x00\x00\x00\x00\xf2\x00\x11\x00\x00"),
    *(b"\xc0", b"\xf4\x90", b"\xed\xa0\x80", b"\xe2\x82\xac", b"\xf0\x9f\x98\x80", b"\x00\x00\xff\xff"),
    *(b"\x7e\x00\xc8" + b"a" * 200, b"\xfe\x00\xc8\x00\x00\x00\x00" + b"a" * 200, b"a" * 125),
]


def held(machine: Machine) -> int:
    """Bytes of the message that has begun, characters of a text."""
    message: Any = machine._message
    if message is None:
        return 0
    size: int = (message._text if hasattr(message, "_text") else message._data).tell()
    return size


def outcome(
    server: bool, limit: int, parameters: DeflateParameters | None, data: bytes, cuts: list[int]
) -> Any:
    """The events, and the code of the failure if there is one."""
    deflate = None if parameters is None else Deflate(parameters, server=server)
    machine = Machine(server=server, max_message_size=limit, deflate=deflate)
    events: list[Any] = []
    failure = None
    begin = 0
    for end in [*cuts, len(data)]:
        machine.feed(data[begin:end])
        begin = end
        try:
            while (event := machine.next_event()) is not None:
                assert failure is None
                events.append(event)
        except RemoteProtocolError as error:
            failure = refusal(machine, error)
        assert machine.pending <= MAX_PENDING
        assert held(machine) <= limit
    for event in events:
        allowed(event, limit)
    closes = [event for event in events if type(event) is Close]
    assert closes in ([], events[-1:])
    assert not (closes and failure)
    expected = State.CLOSE_RECEIVED if closes else State.FAILED if failure else State.OPEN
    assert machine.state is expected
    return events, failure


def refusal(machine: Machine, error: RemoteProtocolError) -> int:
    """The code; it and the reason must be fit for a Close, and nothing may follow."""
    assert isinstance(error, FrameError)
    assert error.close_code in (1002, 1007, 1008, 1009)
    assert str(error).isascii()
    assert encode_close(error.close_code, str(error))
    assert machine.next_event() is None
    return error.close_code


def allowed(event: Any, limit: int) -> None:
    """What comes out is nothing but what may."""
    if type(event) is str:
        assert len(event.encode()) <= limit
    elif type(event) is bytes:
        assert len(event) <= limit
    elif type(event) is Close:
        encode_close(event.code, event.reason)
    else:
        assert type(event) in (Ping, Pong)
        assert len(event.payload) <= 125


def framed(server: bool, opcode: int, rsv1: bool, payload: bytes, cuts: list[int]) -> bytes:
    """One message with this payload, in fragments cut there, with a Ping after each but the last."""
    ping = encode_frame(PING, b"", mask=server)
    stream = b""
    bounds = [0, *cuts, len(payload)]
    for number, (begin, end) in enumerate(pairwise(bounds)):
        last = number == len(cuts)
        first = number == 0
        piece = payload[begin:end]
        stream += encode_frame(opcode if first else 0, piece, fin=last, rsv1=rsv1 and first, mask=server)
        stream += b"" if last else ping
    return stream


def compare(
    server: bool, limit: int, parameters: DeflateParameters | None, data: bytes, cuts: list[int]
) -> Any:
    """What comes of a stream, which must be the same whole and split."""
    whole = outcome(server, limit, parameters, data, [])
    split = outcome(server, limit, parameters, data, cuts)
    if parameters is not None and whole[1] != 1002:
        # What is decompressed at once may be wrong in several ways: the cuts decide which one is seen.
        assert split[0] == whole[0], (server, limit)
        assert (split[1] is None) == (whole[1] is None), (server, limit)
    else:
        assert split == whole, (server, limit)
    return whole


def message(
    server: bool, limit: int, parameters: DeflateParameters | None, data: bytes, cuts: list[int]
) -> None:
    """The input as the payload of a message; without compression it is known what comes of it."""
    opcode = 1 + len(data) % 2
    stream = framed(server, opcode, parameters is not None, data, cuts)
    events, failure = compare(server, limit, parameters, stream, cuts)
    if parameters is None and failure is None:
        assert events == [Ping(b"")] * len(cuts) + [data.decode() if opcode == TEXT else data]
    elif parameters is None and len(data) <= limit:
        assert failure == 1007
        assert "\N{REPLACEMENT CHARACTER}" in data.decode(errors="replace")
        assert opcode == TEXT
    else:
        assert failure in (None, 1007, 1008, 1009)


HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def another_reads(data: bytes) -> tuple[list[Any], bool]:
    """The events that another reader, which knows nothing of ours, finds before a close; and whether it has failed."""
    other = ServerProtocol(max_size=1 << 20)
    other.receive_data(HANDSHAKE)
    (request,) = other.events_received()
    assert isinstance(request, Request)
    other.send_response(other.accept(request))
    other.receive_data(data)
    found: list[Any] = []
    kind = b""
    message = b""
    for frame in other.events_received():
        assert isinstance(frame, Frame)
        if frame.opcode is Opcode.CLOSE:
            break
        if frame.opcode is Opcode.PING:
            found.append(Ping(bytes(frame.data)))
        elif frame.opcode is Opcode.PONG:
            found.append(Pong(bytes(frame.data)))
        else:
            if frame.opcode is not Opcode.CONT:
                kind, message = (b"t" if frame.opcode is Opcode.TEXT else b"b"), b""
            message += bytes(frame.data)
            if frame.fin:
                found.append(message.decode(errors="replace") if kind == b"t" else message)
    return found, other.close_rcvd is None and other.close_sent is not None


def websockets_agrees(data: bytes) -> None:
    theirs, failed = another_reads(data)
    ours, failure = outcome(True, 1 << 20, None, data, [])
    ours = [event for event in ours if type(event) is not Close]
    # It leaves it to its users whether a text is UTF-8, takes lengths in more bytes than they need, and looks at a
    # frame when all of it has come: where we have failed, it may go on.
    assert theirs[: len(ours)] == ours
    assert failure is not None or theirs == ours
    # But it looks at a length before the mask has come.
    assert (
        failure is not None
        or not failed
        or outcome(True, 1 << 20, None, data + bytes(4), [])[1] in (1002, 1009)
    )


def check(data: bytes, cuts: list[int]) -> str:
    websockets_agrees(data)
    """Raise `AssertionError` when `data` breaks the rule; returns what became of it as a stream."""
    results = []
    for server in (True, False):
        for limit, parameters in OPTIONS:
            results.append(compare(server, limit, parameters, data, cuts))
            message(server, limit, parameters, data, cuts)
    if any(events for events, _ in results):
        return (
            "events"
            if any(failure is None for events, failure in results if events)
            else "events and failure"
        )
    return "incomplete" if any(failure is None for _, failure in results) else "failure"
