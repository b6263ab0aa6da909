"""The machine from the outside: the closing handshake, what is sent, laziness, limits, and compressed messages.

What it makes of frames, right and wrong, is in tests/conformance/test_websocket_rfc6455.py.
"""

import gc
import random
import sys
import tracemalloc
import zlib
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.sansio import masking
from webfw.sansio.errors import LocalProtocolError
from webfw.sansio.native import IMPLEMENTATION
from webfw.sansio.websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Close,
    Deflate,
    DeflateParameters,
    Event,
    FrameError,
    Machine,
    Ping,
    Pong,
    State,
    encode_close,
    encode_frame,
    encode_shared,
)
from webfw.sansio.websocket import machine as module

BOTH = pytest.mark.parametrize("server", [True, False], ids=["server", "client"])


def drain(machine: Machine, data: bytes = b"") -> list[Event]:
    machine.feed(data)
    events = []
    while (event := machine.next_event()) is not None:
        events.append(event)
    return events


def fail(machine: Machine, data: bytes) -> FrameError:
    with pytest.raises(FrameError) as caught:
        drain(machine, data)
    return caught.value


def pair(**options: Any) -> tuple[Machine, Machine]:
    """A server and a client."""
    return Machine(server=True, **options), Machine(server=False, **options)


# --- messages there and back ---


@BOTH
@pytest.mark.parametrize("size", [0, 1, 5, 6, 7, 119, 120, 121, 122, 123, 124, 125, 126, 127, 65535, 65536])
def test_messages_there_and_back(server: bool, size: int) -> None:
    """Around every size where the way of parsing changes."""
    ours, theirs = pair() if server else reversed(pair())
    for message in ("a" * size, b"\xff" * size):
        frame = theirs.encode_message(message, isinstance(message, bytes))
        events = drain(ours, frame)
        assert events == [message]
        assert type(events[0]) is type(message)
        assert drain(ours, frame[:1]) == []
        assert drain(ours, frame[1:]) == [message], "in two reads"
        assert drain(ours, frame * 3) == [message] * 3, "three in one read"


@BOTH
@given(st.data())
def test_split_anywhere(server: bool, data: st.DataObject) -> None:
    ours, theirs = pair() if server else reversed(pair())
    messages = data.draw(
        st.lists(st.one_of(st.text(st.characters(exclude_categories=["Cs"])), st.binary()), max_size=6)
    )
    stream = b"".join(theirs.encode_message(message, isinstance(message, bytes)) for message in messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    events: list[Event] = []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        events += drain(ours, stream[begin:end])
    assert events == messages


@BOTH
def test_whole_messages_have_no_way_of_their_own(server: bool) -> None:
    """A whole frame alone in its read is parsed apart from all others: both must come to the same."""
    seeded = random.Random(6455)
    for _ in range(4000):
        size = seeded.choice([0, 1, 2, 5, 60, 119, 120, 121, 122, 125, 126, 127, 133, 300, 65535, 65536])
        payload = seeded.choice([b"a", "ä".encode(), b"\xff"]) * size
        frame = bytearray(encode_frame(seeded.choice([0, 1, 1, 1, 2, 2, 8, 9]), payload[:size], mask=server))
        if seeded.random() < 0.5:
            frame[seeded.randrange(min(4, len(frame)))] ^= 1 << seeded.randrange(8)
        if seeded.random() < 0.2:
            del frame[seeded.randrange(len(frame)) :]
        if seeded.random() < 0.1:
            frame += frame[: seeded.randrange(8)]
        limit = seeded.choice([10**6, size, max(1, size - 1), 100])
        outcomes = []
        some = sorted(seeded.randrange(len(frame) + 1) for _ in range(3))
        for cuts in (
            [len(frame)],
            [1, len(frame)],
            range(len(frame) + 1) if size < 400 else [*some, len(frame)],
        ):
            machine = Machine(server=server, max_message_size=limit)
            outcome: list[Any] = []
            begin = 0
            for end in cuts:
                machine.feed(bytes(frame[begin:end]))
                begin = end
                try:
                    while (event := machine.next_event()) is not None:
                        outcome.append(event)
                except FrameError as error:
                    outcome.append((error.close_code, str(error)))
            outcomes.append((outcome, machine.state))
        assert outcomes[0] == outcomes[1] == outcomes[2], bytes(frame)


@BOTH
def test_a_small_message_costs_three_calls(server: bool) -> None:
    """The way that most messages go: `feed`, and `next_event` twice; nothing else in Python but the pure mask."""
    machine = Machine(server=server)
    frame = encode_frame(TEXT, b"x" * 64, mask=server)
    calls = []

    def profile(frame: Any, kind: str, argument: object) -> None:
        if kind == "call":
            calls.append(frame.f_code.co_name)

    sys.setprofile(profile)
    try:
        machine.feed(frame)
        first = machine.next_event()
        second = machine.next_event()
    finally:
        sys.setprofile(None)
    assert (first, second) == ("x" * 64, None)
    unmask = [masking.apply_mask.__name__] if server and IMPLEMENTATION == "pure" else []
    assert calls == ["feed", "next_event", *unmask, "next_event"]


@BOTH
@pytest.mark.parametrize("message", ["x" * 126, "ä" * 30_000, b"ab", b"\xff" * 65535])
def test_a_whole_message_costs_one_call_more(server: bool, message: str | bytes) -> None:
    machine = Machine(server=server)
    frame = Machine(server=not server).encode_message(message, isinstance(message, bytes))
    calls = []

    def profile(frame: Any, kind: str, argument: object) -> None:
        if kind == "call":
            calls.append(frame.f_code.co_name)

    sys.setprofile(profile)
    try:
        machine.feed(frame)
        first = machine.next_event()
        second = machine.next_event()
    finally:
        sys.setprofile(None)
    assert (first, second) == (message, None)
    assert [name for name in calls if name != masking.apply_mask.__name__] == [
        "feed", "next_event", "_whole", "next_event",
    ]  # fmt: skip


@BOTH
def test_small_message_within_a_fragmented_one(server: bool) -> None:
    machine = Machine(server=server)
    assert drain(machine, encode_frame(TEXT, b"a", fin=False, mask=server)) == []
    assert fail(machine, encode_frame(TEXT, b"hello", mask=server)).close_code == 1002


@BOTH
def test_small_messages_after_a_fragmented_one(server: bool) -> None:
    machine = Machine(server=server)
    assert drain(machine, encode_frame(TEXT, b"a", fin=False, mask=server)) == []
    assert drain(machine, encode_frame(CONTINUATION, b"b", mask=server)) == ["ab"]
    assert drain(machine, encode_frame(TEXT, b"hello", mask=server)) == ["hello"]


# --- UTF-8 at any split ---


def has_ending(data: bytes) -> bool:
    """Whether some text begins with `data`, by trying every ending that section 3 of RFC 3629 leaves."""
    endings = [b"", b"\x80", b"\x80\x80", b"\x80\x80\x80", b"\x90\x80\x80", b"\xa0\x80"]
    for ending in endings:
        try:
            (data + ending).decode()
        except UnicodeDecodeError:
            continue
        return True
    return False


def test_fails_at_the_first_byte_without_hope() -> None:
    """All beginnings of one, two and three bytes, and what may follow them."""
    good = [b""]
    for _ in range(3):
        longer = []
        for before, last in product(good, range(256)):
            data = before + bytes([last])
            if len(data) == 3 and last not in (
                0x00,
                0x41,
                0x7F,
                0x80,
                0x8F,
                0x90,
                0x9F,
                0xA0,
                0xBF,
                0xC0,
                0xFF,
            ):
                continue
            text = module._Text()
            try:
                for at in range(len(data)):
                    text.add(data[at : at + 1], False)
            except UnicodeDecodeError:
                assert not has_ending(data), data
            else:
                assert has_ending(data), data
                if len(data) == 1 or data[0] >= 0xC2:
                    longer.append(data)
        good = longer
    assert good


# --- laziness and memory ---


@BOTH
def test_nothing_is_parsed_before_it_is_asked_for(server: bool) -> None:
    machine = Machine(server=server)
    good = encode_frame(TEXT, b"hello", mask=server)
    machine.feed(good + good + encode_frame(3, b"", mask=server))
    assert machine.next_event() == "hello"
    assert machine.next_event() == "hello"
    assert machine.state is State.OPEN
    with pytest.raises(FrameError):
        machine.next_event()


def test_one_compressed_message_ahead_at_most() -> None:
    deflate = CountingDeflate(DeflateParameters(client_no_context_takeover=True), server=True)
    machine = Machine(server=True, deflate=deflate)
    sender = Machine(
        server=False, deflate=Deflate(DeflateParameters(client_no_context_takeover=True), server=False)
    )
    machine.feed(sender.encode_message("a" * 100_000) * 5)
    for number in range(1, 6):
        assert machine.next_event() == "a" * 100_000
        assert deflate.calls == number
    assert machine.next_event() is None


class CountingDeflate(Deflate):
    calls = 0

    def decompress(self, payload: bytes, *, final: bool, max_size: int) -> bytes:
        self.calls += 1
        return super().decompress(payload, final=final, max_size=max_size)


@BOTH
def test_may_be_fed_before_it_is_drained(server: bool) -> None:
    machine = Machine(server=server)
    frame = encode_frame(TEXT, b"hello" * 20, mask=server)
    for at in range(0, 20 * len(frame), 7):
        machine.feed((frame * 20)[at : at + 7])
    assert drain(machine) == ["hello" * 20] * 20
    machine.feed(frame * 2)
    assert machine.next_event() == "hello" * 20
    machine.feed(frame)
    assert drain(machine) == ["hello" * 20] * 2


@BOTH
def test_pending(server: bool) -> None:
    machine = Machine(server=server)
    frame = encode_frame(BINARY, b"hello", mask=server)
    assert machine.pending == 0
    machine.feed(frame + frame + frame[:1])
    assert machine.pending == 2 * len(frame) + 1
    machine.next_event()
    assert machine.pending == len(frame) + 1
    machine.next_event()
    assert machine.pending == 1
    assert machine.next_event() is None
    assert machine.pending == 1
    assert drain(machine, frame[1:] + encode_frame(CLOSE, b"", mask=server) + frame) == [
        b"hello",
        Close(None, ""),
    ]
    assert machine.pending == 0


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_tiny_fragments_cost_no_more_than_their_bytes(opcode: int) -> None:
    machine = Machine(server=False)
    empty = encode_frame(CONTINUATION, b"", fin=False) * 1000
    two = encode_frame(CONTINUATION, b"ab", fin=False) * 10_000
    drain(machine, encode_frame(opcode, b"", fin=False))
    tracemalloc.start()
    try:
        for _ in range(10):
            drain(machine, two)
            drain(machine, empty)
        used = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert used < 300_000, "200,000 bytes in 100,000 fragments"
    event = drain(machine, encode_frame(CONTINUATION, b""))[0]
    assert event == ("ab" if opcode == TEXT else b"ab") * 100_000


def test_lets_go_of_what_it_held() -> None:
    machine = Machine(server=False)
    tracemalloc.start()
    try:
        drain(machine, encode_frame(BINARY, b"a" * 1_000_000, fin=False))
        assert fail(machine, encode_frame(3, b"") + b"a" * 1_000_000).close_code == 1002
        for _ in range(10):
            machine.feed(b"a" * 100_000)
        gc.collect()  # the error, which has seen the machine at work
        assert tracemalloc.get_traced_memory()[0] < 100_000
    finally:
        tracemalloc.stop()


# --- compressed messages ---

PARAMETERS = DeflateParameters()
LONG = "a JSON message, or something like it; " * 40


def deflating(server: bool, **options: Any) -> Machine:
    deflate = Deflate(
        options.pop("parameters", PARAMETERS), server=server, threshold=options.pop("threshold", 64)
    )
    return Machine(server=server, deflate=deflate, **options)


@BOTH
def test_compressed_messages(server: bool) -> None:
    ours, theirs = deflating(server), deflating(not server)
    for message in (LONG, LONG.encode(), "", b"", "short", "ä€😀" * 500, LONG):
        frame = theirs.encode_message(message, isinstance(message, bytes))
        assert bool(frame[0] & 0x40) == (len(message) >= 64), "the threshold"
        assert drain(ours, frame) == [message]
    frame = theirs.encode_message(LONG)
    assert len(frame) < 40, "with context"
    events = []
    for at in range(len(frame)):
        events += drain(ours, frame[at : at + 1])
    assert events == [LONG]


@BOTH
def test_compressed_and_fragmented(server: bool) -> None:
    ours, theirs = deflating(server), deflating(not server)
    assert theirs.deflate is not None
    for message, opcode in ((("ä€😀" * 300).encode(), TEXT), (LONG.encode(), BINARY)):
        data = theirs.deflate.compress(message)
        for size in (1, 2, 3, 7, len(data)):
            pieces = [data[at : at + size] for at in range(0, len(data), size)]
            stream = encode_frame(opcode, pieces[0], fin=False, rsv1=True, mask=server)
            for piece in pieces[1:]:
                stream += encode_frame(PING, b"!", mask=server)
                stream += encode_frame(CONTINUATION, piece, fin=False, mask=server)
            stream += encode_frame(CONTINUATION, b"", mask=server)
            *pings, event = drain(ours, stream)
            assert pings == [Ping(b"!")] * (len(pieces) - 1)
            assert event == (message.decode() if opcode == TEXT else message)
            data = theirs.deflate.compress(message)


@BOTH
@pytest.mark.parametrize("opcode", [CONTINUATION, CLOSE, PING, PONG])
def test_rsv1_only_on_the_first_frame_of_a_message(server: bool, opcode: int) -> None:
    machine = deflating(server)
    assert "reserved bit" in str(fail(machine, encode_frame(opcode, b"", rsv1=True, mask=server)))
    machine = deflating(server)
    assert drain(machine, encode_frame(TEXT, b"", rsv1=True, fin=False, mask=server)) == []
    assert fail(machine, encode_frame(opcode, b"", rsv1=True, mask=server)).close_code == 1002


@BOTH
def test_a_small_compressed_frame_is_not_taken_for_text(server: bool) -> None:
    ours = deflating(server)
    theirs = deflating(not server, threshold=0)
    assert drain(ours, theirs.encode_message("hello")) == ["hello"]
    assert drain(Machine(server=server), encode_frame(TEXT, b"hello", mask=server)) == ["hello"]
    assert fail(Machine(server=server), theirs.encode_message("hello")).close_code == 1002


@BOTH
@pytest.mark.parametrize("fin", [True, False])
def test_bomb(server: bool, fin: bool) -> None:
    machine = deflating(server, max_message_size=100_000)
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = stream.compress(bytes(50_000_000)) + stream.flush(zlib.Z_SYNC_FLUSH)
    tracemalloc.start()
    try:
        error = fail(machine, encode_frame(BINARY, bomb[:-4], rsv1=True, fin=fin, mask=server))
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
    assert error.close_code == 1009


@BOTH
@pytest.mark.parametrize("size", [100_000, 100_001])
@pytest.mark.parametrize("random_bytes", [True, False])
def test_limit_on_what_comes_out(server: bool, size: int, random_bytes: bool) -> None:
    """Also of what grows when it is compressed: the limit is on the message."""
    payload = random.Random(1).randbytes(size) if random_bytes else bytes(size)
    ours, theirs = deflating(server, max_message_size=100_000), deflating(not server)
    assert theirs.deflate is not None
    data = theirs.deflate.compress(payload)
    assert (len(data) > size) == random_bytes
    half = len(data) // 2
    for fin in (True, False):
        stream = encode_frame(BINARY, data[:half], rsv1=True, fin=False, mask=server)
        stream += encode_frame(CONTINUATION, data[half:], fin=fin, mask=server)
        if not fin:
            stream += encode_frame(CONTINUATION, b"", mask=server)
        if size > 100_000:
            assert fail(ours, stream).close_code == 1009
            break
        assert drain(ours, stream) == [payload]
        data = theirs.deflate.compress(payload)


@BOTH
def test_compressed_payload_that_cannot_be_within_the_limit(server: bool) -> None:
    machine = deflating(server, max_message_size=1000)
    frame = encode_frame(BINARY, bytes(2000), rsv1=True, mask=server)
    assert fail(machine, frame[: len(frame) - 2000]).close_code == 1009


@BOTH
@pytest.mark.parametrize("piece", [1, 2, 7, 30])
@pytest.mark.parametrize("noise", [False, True])
def test_a_peer_that_flushes_every_fragment(server: bool, piece: int, noise: bool) -> None:
    payload = random.Random(1).randbytes(990) if noise else b"a" * 990
    stream = zlib.compressobj(6, zlib.DEFLATED, -15, 8)
    frames = b""
    for at in range(0, len(payload), piece):
        data = stream.compress(payload[at : at + piece]) + stream.flush(zlib.Z_SYNC_FLUSH)
        last = at + piece >= len(payload)
        opcode = CONTINUATION if at else BINARY
        frames += encode_frame(opcode, data[:-4] if last else data, fin=last, rsv1=not at, mask=server)
    assert drain(deflating(server, max_message_size=1000), frames) == [payload]


@BOTH
def test_compressed_text_that_is_not_utf8(server: bool) -> None:
    ours, theirs = deflating(server), deflating(not server)
    assert theirs.deflate is not None
    data = theirs.deflate.compress(LONG.encode() + b"\xff" + LONG.encode())
    assert fail(ours, encode_frame(TEXT, data, rsv1=True, fin=False, mask=server)).close_code == 1007


@BOTH
def test_corrupt_compressed_data(server: bool) -> None:
    assert fail(deflating(server), encode_frame(TEXT, b"\xff" * 50, rsv1=True, mask=server)).close_code in (
        1002,
        1007,
    )


# --- what is sent ---


def test_encode_message_on_the_server() -> None:
    machine = Machine(server=True)
    assert machine.encode_message("Hello") == bytes.fromhex("810548656c6c6f")
    assert machine.encode_message(b"Hello") == bytes.fromhex("810548656c6c6f")
    assert machine.encode_message("Hello", True) == bytes.fromhex("820548656c6c6f")
    assert machine.encode_message(b"\xff", binary=True) == bytes.fromhex("8201ff")
    assert machine.encode_message("ä") == bytes.fromhex("8102c3a4")
    assert machine.encode_message("ä".encode()) == bytes.fromhex("8102c3a4")


def test_a_client_masks() -> None:
    machine = Machine(server=False)
    frames = [
        machine.encode_message("a" * 100),
        machine.encode_message(b"a" * 1000, True),
        machine.encode_ping(b"a"),
        machine.encode_pong(b"a"),
        machine.encode_close(1000),
    ]
    assert all(frame[1] & 0x80 for frame in frames)
    server = Machine(server=True)
    expected = ["a" * 100, b"a" * 1000, Ping(b"a"), Pong(b"a"), Close(1000, "")]
    assert drain(server, b"".join(frames)) == expected


@BOTH
@pytest.mark.parametrize(
    "data", [None, 1, ["a"], bytearray(b"a"), memoryview(b"a"), {"a": 1}], ids=lambda v: type(v).__name__
)
def test_messages_are_str_or_bytes(server: bool, data: Any) -> None:
    for binary in (True, False):
        with pytest.raises(TypeError, match=f"must be str or bytes, not {type(data).__name__}"):
            Machine(server=server).encode_message(data, binary)
        with pytest.raises(TypeError, match="must be str or bytes"):
            encode_shared(data, binary)


@pytest.mark.parametrize("data", ["\ud800", "a\udfff", b"\xff", b"a\xc3", b"\xed\xa0\x80"], ids=repr)
def test_text_that_is_not_unicode(data: str | bytes) -> None:
    hint = "; other bytes need binary=True$" if isinstance(data, bytes) else "not allowed$"
    with pytest.raises(LocalProtocolError, match=f"must be Unicode text.*{hint}"):
        Machine(server=True).encode_message(data)
    with pytest.raises(LocalProtocolError, match=f"must be Unicode text.*{hint}"):
        encode_shared(data)


@BOTH
def test_control_frames(server: bool) -> None:
    ours, theirs = Machine(server=server), Machine(server=not server)
    for payload in (b"", b"a" * 125):
        assert drain(theirs, ours.encode_ping(payload)) == [Ping(payload)]
        assert drain(theirs, ours.encode_pong(payload)) == [Pong(payload)]
    with pytest.raises(LocalProtocolError, match="a Ping of 126 bytes, over 125"):
        ours.encode_ping(b"a" * 126)
    with pytest.raises(LocalProtocolError, match="a Pong of 126 bytes, over 125"):
        ours.encode_pong(b"a" * 126)
    assert drain(theirs, ours.encode_close(4000, "why")) == [Close(4000, "why")]


def test_a_close_that_may_not_be_sent_changes_nothing() -> None:
    machine = Machine(server=True)
    for code, reason in ((1005, ""), (1000, "a" * 124), (None, "why")):
        with pytest.raises(LocalProtocolError):
            machine.encode_close(code, reason)
    assert machine.state is State.OPEN
    assert machine.encode_close() == b"\x88\x00"


# --- shared frames ---


def test_shared_frame() -> None:
    frame = encode_shared("Hello")
    assert frame == bytes.fromhex("810548656c6c6f")
    assert encode_shared(b"\xff", True) == bytes.fromhex("8201ff")
    for machine in (Machine(server=True), deflating(True)):
        machine.note_shared(frame)


@pytest.mark.parametrize(
    "parameters",
    [
        PARAMETERS,
        DeflateParameters(server_no_context_takeover=True),
        DeflateParameters(server_max_window_bits=9),
    ],
)
def test_shared_frame_compressed(parameters: DeflateParameters) -> None:
    """Between messages of its own context, on connections with histories that differ."""
    servers = [deflating(True, parameters=parameters) for _ in range(3)]
    clients = [deflating(False, parameters=parameters) for _ in range(3)]
    assert servers[0].deflate is not None
    assert len({server.deflate.shared_key for server in servers if server.deflate}) == 1
    for number, (server, client) in enumerate(zip(servers, clients, strict=True)):
        assert drain(client, server.encode_message(f"{LONG} {number}")) == [f"{LONG} {number}"]
    for _ in range(2):
        frame = encode_shared(LONG, deflate=servers[0].deflate)
        assert frame[0] == 0xC1
        for number, (server, client) in enumerate(zip(servers, clients, strict=True)):
            server.note_shared(frame)
            assert drain(client, frame) == [LONG]
            message = f"{LONG} to {number}"
            assert drain(client, server.encode_message(message)) == [message]
    assert encode_shared("short", deflate=servers[0].deflate)[0] == 0x81


def test_shared_frames_where_they_do_not_belong() -> None:
    frame = encode_shared("Hello")
    with pytest.raises(LocalProtocolError, match="client"):
        Machine(server=False).note_shared(frame)
    compressed = encode_shared(LONG, deflate=deflating(True).deflate)
    with pytest.raises(LocalProtocolError, match="permessage-deflate"):
        Machine(server=True).note_shared(compressed)
    machine = Machine(server=True)
    machine.encode_close(1000)
    with pytest.raises(LocalProtocolError, match="close sent"):
        machine.note_shared(frame)


# --- the closing handshake ---


def in_state(state: State, server: bool) -> Machine:
    machine = Machine(server=server)
    close = encode_frame(CLOSE, encode_close(4001, "bye"), mask=server)
    if state in (State.CLOSE_SENT, State.CLOSED):
        machine.encode_close(1000)
    if state in (State.CLOSE_RECEIVED, State.CLOSED):
        assert drain(machine, close) == [Close(4001, "bye")]
    if state is State.FAILED:
        fail(machine, encode_frame(3, b"", mask=server))
    assert machine.state is state
    return machine


MAY_SEND = {
    State.OPEN: {"message", "ping", "pong", "close"},
    State.CLOSE_SENT: {"ping", "pong"},
    State.CLOSE_RECEIVED: {"close"},
    State.FAILED: {"close"},
    State.CLOSED: set(),
}
SEND = {
    "message": lambda machine: machine.encode_message("a"),
    "ping": lambda machine: machine.encode_ping(b""),
    "pong": lambda machine: machine.encode_pong(b""),
    "close": lambda machine: machine.encode_close(1000),
}


@BOTH
@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("what", SEND)
def test_what_may_be_sent(server: bool, state: State, what: str) -> None:
    machine = in_state(state, server)
    if what in MAY_SEND[state]:
        assert SEND[what](machine)
    else:
        with pytest.raises(LocalProtocolError, match=f"may not be sent: the connection is {state.value}"):
            SEND[what](machine)
        assert machine.state is state


@BOTH
@pytest.mark.parametrize("state", State)
def test_closing_and_closed(server: bool, state: State) -> None:
    machine = in_state(state, server)
    assert machine.closing == (state is not State.OPEN)
    assert machine.closed == (state is State.CLOSED)


@BOTH
def test_peer_closes(server: bool) -> None:
    machine = Machine(server=server)
    assert (machine.close_code, machine.close_reason) == (None, None)
    frame = encode_frame(CLOSE, encode_close(4001, "bye"), mask=server)
    assert drain(machine, frame + frame) == [Close(4001, "bye")]
    assert (machine.close_code, machine.close_reason) == (4001, "bye")
    assert drain(machine, encode_frame(TEXT, b"hello", mask=server)) == [], "discarded"
    machine.encode_close(4001)
    assert machine.state is State.CLOSED


@BOTH
def test_peer_closes_without_a_code(server: bool) -> None:
    machine = Machine(server=server)
    assert drain(machine, encode_frame(CLOSE, b"", mask=server)) == [Close(None, "")]
    assert (machine.close_code, machine.close_reason) == (None, "")


@BOTH
def test_we_close(server: bool) -> None:
    machine = Machine(server=server)
    machine.encode_close(1000)
    late = encode_frame(TEXT, b"on its way", mask=server) + encode_frame(PING, b"a", mask=server)
    assert drain(machine, late) == ["on its way", Ping(b"a")]
    machine.encode_pong(b"a")
    assert drain(machine, encode_frame(CLOSE, encode_close(1000), mask=server)) == [Close(1000, "")]
    assert machine.closed


@BOTH
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("payload", [b"\xff", b"\xff" * 10, b"\xff" * 300])
def test_failure(server: bool, late: bool, payload: bytes) -> None:
    machine = Machine(server=server)
    if late:
        machine.encode_close(1001)
    good = encode_frame(TEXT, b"good", mask=server)
    error = fail(machine, good + encode_frame(TEXT, payload, mask=server) + good)
    assert error.close_code == 1007
    assert machine.state is (State.CLOSED if late else State.FAILED)
    assert drain(machine) == []
    assert drain(machine, good) == []
    if not late:
        machine.encode_close(error.close_code, str(error))
        assert machine.closed
    assert machine.close_code is None, "the peer's"


@BOTH
@pytest.mark.parametrize("late", [False, True])
def test_failure_of_a_small_message_alone(server: bool, late: bool) -> None:
    machine = Machine(server=server)
    if late:
        machine.encode_close(1001)
    assert fail(machine, encode_frame(TEXT, b"\xff" * 10, mask=server)).close_code == 1007
    assert machine.state is (State.CLOSED if late else State.FAILED)
    assert drain(machine, encode_frame(TEXT, b"hello", mask=server)) == []


def test_events_compare_and_show_themselves() -> None:
    assert Ping(b"a") == Ping(b"a") != Ping(b"b")
    assert Ping(b"a") != Pong(b"a")
    assert repr(Close(1000, "bye")) == "Close(code=1000, reason='bye')"
    assert not hasattr(Ping(b""), "__dict__")
    assert not hasattr(Machine(server=True), "__dict__")
