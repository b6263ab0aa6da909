"""permessage-deflate on whole connections, beside zlib and the websockets package: RFC 7692, as Autobahn 12 and 13 ask.

Every set of parameters, sizes from 16 bytes to 128 KiB, text and binary, that shrinks well and that does not, in one
frame and in many, both ways.  The other side is zlib, or the websockets package by its sans-I/O interface, with the
whole handshake; our own other side is only there for what those two cannot do, a window of 256 bytes.
"""

import itertools
import json
import random
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.exceptions import NegotiationError
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    PerMessageDeflate,
    ServerPerMessageDeflateFactory,
)
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from webfw.httputil import HTTPHeaders
from webfw.sansio.errors import RemoteProtocolError
from webfw.sansio.websocket.deflate import Deflate, DeflateParameters
from webfw.sansio.websocket.extensions import (
    accept_deflate,
    confirm_deflate,
    format_deflate_offer,
    format_deflate_response,
    parse_extensions,
)
from webfw.sansio.websocket.frames import BINARY, CONTINUATION, PING, TEXT, FrameError, encode_frame
from webfw.sansio.websocket.handshake import (
    check_request,
    check_response,
    new_key,
    offered_subprotocols,
    request_fields,
    response_fields,
)
from webfw.sansio.websocket.machine import Machine, Ping

TAIL = b"\x00\x00\xff\xff"

#: Autobahn 12 and 13: the sizes, and into what a message of 128 KiB is cut.
SIZES = [16, 64, 256, 1024, 4096, 8192, 16384, 32768, 65536, 131072]
CUTS = [256, 1024, 4096, 32768]

WINDOWS: list[int | None] = [None, 9, 10, 11, 12, 13, 14, 15]


def make_data(kind: str, size: int) -> bytes:
    """Data of exactly `size` bytes, the same every time."""
    rng = random.Random(f"{kind}{size}")
    if kind == "random":
        return rng.randbytes(size)
    if kind == "zeros":
        return bytes(size)
    if kind == "json":
        rows = [{"id": n, "name": f"user{rng.randrange(99)}", "on": n % 3 == 0} for n in range(size // 20)]
        data = json.dumps(rows).encode()
    else:
        words = ["Wer", "über", "gewisse", "Dinge", "den", "Verstand", "nicht", "verliert,", "λόγος", "🎻"]
        data = " ".join(rng.choice(words) for _ in range(size)).encode()
    # Cut where a character ends, and filled up.
    return data[:size].decode("utf-8", "ignore").encode().ljust(size, b".")


#: What is sent on each connection: every size once, each kind of data in turn.
MESSAGES = [
    (kind != "random", make_data(kind, size))
    for size, kind in zip(SIZES, itertools.cycle(["json", "text", "random"]))
]
SHORT = [(text, data) for text, data in MESSAGES if len(data) <= 4096]


def value(text: bool, data: bytes) -> str | bytes:
    return data.decode() if text else data


# --- connections: our machine with a peer of another make, after a whole handshake ---


def lines_of(pairs: list[tuple[str, str]]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in pairs).encode() + b"\r\n"


def feed(machine: Machine, data: bytes) -> Iterator[object]:
    machine.feed(data)
    while (event := machine.next_event()) is not None:
        yield event


class Peer:
    """The websockets package at the other end of a wire with one of our machines."""

    def __init__(self, protocol: Any, machine: Machine) -> None:
        self.protocol = protocol
        self.machine = machine

    def send(self, text: bool, data: bytes, cut: int | None = None) -> list[object]:
        """It sends a message, fragmented if `cut` says so; what our machine makes of it."""
        first, *rest = pieces(data, cut)
        (self.protocol.send_text if text else self.protocol.send_binary)(first, fin=not rest)
        for number, piece in enumerate(rest, 1):
            self.protocol.send_continuation(piece, fin=number == len(rest))
        return list(feed(self.machine, b"".join(self.protocol.data_to_send())))

    def receive(self, data: bytes) -> list[tuple[bool, bytes]]:
        """It receives bytes; the messages in them, each with whether it is text."""
        self.protocol.receive_data(data)
        found: list[tuple[bool, bytes]] = []
        for frame in self.protocol.events_received():
            assert isinstance(frame, Frame)
            if frame.opcode is Opcode.CONT:
                found[-1] = (found[-1][0], found[-1][1] + bytes(frame.data))
            else:
                assert frame.opcode in (Opcode.TEXT, Opcode.BINARY)
                found.append((frame.opcode is Opcode.TEXT, bytes(frame.data)))
        return found


def pieces(data: bytes, cut: int | None) -> list[bytes]:
    return [data[at : at + cut] for at in range(0, len(data), cut)] if cut and data else [data]


def our_server(wishes: DeflateParameters, factories: list[ClientPerMessageDeflateFactory]) -> Peer:
    """A client of the websockets package, connected to our server."""
    client = ClientProtocol(parse_uri("ws://localhost/"), extensions=factories, subprotocols=["a", "b"])  # type: ignore[list-item]
    client.send_request(client.connect())
    head = b"".join(client.data_to_send()).decode()
    first, _, block = head.partition("\r\n")
    method, _, version = first.split(" ")
    headers = HTTPHeaders.parse(block)
    key = check_request(method, version, headers)
    assert offered_subprotocols(headers) == ["a", "b"]
    agreed = accept_deflate(parse_extensions(headers.get_list("Sec-WebSocket-Extensions")), wishes)
    extensions = "" if agreed is None else format_deflate_response(agreed)
    client.receive_data(
        b"HTTP/1.1 101 Switching Protocols\r\n" + lines_of(response_fields(key, "b", extensions))
    )
    client.events_received()
    if client.handshake_exc is not None:
        raise client.handshake_exc
    assert client.subprotocol == "b"
    deflate = None if agreed is None else Deflate(agreed, server=True, threshold=0)
    return Peer(client, Machine(server=True, deflate=deflate))


def our_client(wishes: DeflateParameters, factories: list[ServerPerMessageDeflateFactory]) -> Peer:
    """Our client, connected to a server of the websockets package."""
    server = ServerProtocol(extensions=factories, subprotocols=["b"])  # type: ignore[list-item]
    key = new_key()
    request = [("Host", "localhost"), *request_fields(key, ["a", "b"], format_deflate_offer(wishes))]
    server.receive_data(b"GET / HTTP/1.1\r\n" + lines_of(request))
    (received,) = server.events_received()
    assert isinstance(received, Request)
    server.send_response(server.accept(received))
    head = b"".join(server.data_to_send()).decode()
    first, _, block = head.partition("\r\n")
    headers = HTTPHeaders.parse(block)
    assert check_response(int(first.split(" ")[1]), headers, key, ["a", "b"]) == "b"
    agreed = confirm_deflate(parse_extensions(headers.get_list("Sec-WebSocket-Extensions")), wishes)
    deflate = None if agreed is None else Deflate(agreed, server=False, threshold=0)
    return Peer(server, Machine(server=False, deflate=deflate))


def talk(peer: Peer, messages: list[tuple[bool, bytes]]) -> None:
    """Each message there and back, whole."""
    assert peer.machine.deflate is not None
    for text, data in messages:
        frame = peer.machine.encode_message(value(text, data), binary=not text)
        assert frame[0] & 0x40, "compressed"
        assert peer.receive(frame) == [(text, data)]
        assert peer.send(text, data) == [value(text, data)]


# --- 12 and 13: sizes and parameters ---


def test_no_extension_unless_it_is_offered() -> None:
    peer = our_server(DeflateParameters(), [])
    assert peer.machine.deflate is None
    assert peer.send(True, b"Hello") == ["Hello"]
    peer = our_client(DeflateParameters(), [])
    assert peer.machine.deflate is None
    assert peer.receive(peer.machine.encode_message("Hello")) == [(True, b"Hello")]


@pytest.mark.parametrize("kind", ["json", "text", "random", "zeros"])
@pytest.mark.parametrize("size", SIZES)
def test_sizes(kind: str, size: int) -> None:
    """12.1 to 12.4, with the parameters nobody has a wish about: five messages, the same each time and two others."""
    data = make_data(kind, size)
    text = kind != "random"
    messages = [
        (text, data),
        (text, data),
        (False, data[::-1]),
        (text, data),
        (False, make_data("random", 20)),
    ]
    talk(our_server(DeflateParameters(), [ClientPerMessageDeflateFactory()]), messages)
    talk(our_client(DeflateParameters(), [ServerPerMessageDeflateFactory()]), messages)


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("kind", ["json", "random"])
def test_fragmented(kind: str, cut: int) -> None:
    """12.x: a message of 128 KiB in many frames, each compressed up to its end by the peer; ours cut anywhere."""
    data = make_data(kind, 131072)
    text = kind == "json"
    for peer in (
        our_server(DeflateParameters(), [ClientPerMessageDeflateFactory()]),
        our_client(DeflateParameters(), [ServerPerMessageDeflateFactory()]),
    ):
        assert peer.send(text, data, cut) == [value(text, data)]
        assert peer.send(text, data, cut) == [value(text, data)]
        deflate = peer.machine.deflate
        assert deflate is not None
        frames = [*pieces(deflate.compress(data), cut), b""]
        for number, piece in enumerate(frames):
            frame = encode_frame(
                CONTINUATION if number else TEXT if text else BINARY,
                piece,
                fin=number == len(frames) - 1,
                rsv1=not number,
                mask=not peer.machine.server,
            )
            peer.protocol.receive_data(frame)
        assert peer.receive(b"") == [(text, data)]


@pytest.mark.parametrize("bits", WINDOWS)
@pytest.mark.parametrize("takeover", [True, False])
@pytest.mark.parametrize("asked_by", ["server", "client"])
def test_parameters_of_our_server(asked_by: str, takeover: bool, bits: int | None) -> None:
    """13.1 to 13.6 and more: both parameters for both directions, wished for by either side."""
    if asked_by == "server":
        wishes = DeflateParameters(not takeover, not takeover, bits, bits)
        factory = ClientPerMessageDeflateFactory()
    else:
        wishes = DeflateParameters()
        factory = ClientPerMessageDeflateFactory(not takeover, not takeover, bits, bits or True)
    talk(our_server(wishes, [factory]), MESSAGES)


@pytest.mark.parametrize("bits", WINDOWS)
@pytest.mark.parametrize("takeover", [True, False])
@pytest.mark.parametrize("asked_by", ["server", "client"])
def test_parameters_of_our_client(asked_by: str, takeover: bool, bits: int | None) -> None:
    wishes = DeflateParameters()
    factory = ServerPerMessageDeflateFactory()
    if asked_by == "server":
        factory = ServerPerMessageDeflateFactory(not takeover, not takeover, bits, bits)
    else:
        wishes = DeflateParameters(not takeover, not takeover, bits, bits)
    talk(our_client(wishes, [factory]), MESSAGES)


def test_several_offers() -> None:
    """13.7: the first that can be accepted counts."""
    factories = [
        ClientPerMessageDeflateFactory(True, False, 9, 9),
        ClientPerMessageDeflateFactory(True),
        ClientPerMessageDeflateFactory(),
    ]
    peer = our_server(DeflateParameters(), factories)
    assert peer.machine.deflate is not None
    assert peer.machine.deflate.shared_key[0] == 9
    talk(peer, SHORT)


TAKEOVERS = list(itertools.product([False, True], repeat=2))


@pytest.mark.parametrize(("server_fresh", "client_fresh"), TAKEOVERS)
def test_every_set_of_parameters(server_fresh: bool, client_fresh: bool) -> None:
    """All 256 of them, with decoders that have exactly the window that was agreed on, or 512 bytes for 256."""
    messages = [*SHORT[-3:], *SHORT[-3:]]
    for server_bits, client_bits in itertools.product(range(8, 16), repeat=2):
        parameters = DeflateParameters(server_fresh, client_fresh, server_bits, client_bits)
        server = Machine(server=True, deflate=Deflate(parameters, server=True, threshold=0))
        client = Machine(server=False, deflate=Deflate(parameters, server=False, threshold=0))
        for sender, receiver in ((server, client), (client, server)):
            for text, data in messages:
                frame = sender.encode_message(value(text, data), binary=not text)
                assert list(feed(receiver, frame)) == [value(text, data)]


# --- against zlib ---


@pytest.mark.parametrize("bits", range(8, 16))
@pytest.mark.parametrize("takeover", [True, False])
def test_zlib_reads_what_we_send(takeover: bool, bits: int) -> None:
    """With a window of the size agreed on; the parameter is the server's, then the client's."""
    for server in (True, False):
        fresh = {"server_no_context_takeover" if server else "client_no_context_takeover": not takeover}
        window = {"server_max_window_bits" if server else "client_max_window_bits": bits}
        ours = Deflate(DeflateParameters(**fresh, **window), server=server)  # type: ignore[arg-type]
        stream = zlib.decompressobj(-bits)
        for _, data in MESSAGES:
            if not takeover:
                stream = zlib.decompressobj(-bits)
            assert stream.decompress(ours.compress(data) + TAIL) == data


FLUSHES = [zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH, zlib.Z_PARTIAL_FLUSH, zlib.Z_BLOCK, zlib.Z_FINISH]


def zlib_message(stream: Any, data: bytes, flushes: list[int], new: Any) -> tuple[bytes, Any]:
    """A message by zlib, flushed in different ways on its way (section 7.2.3.4 and 7.2.3.5)."""
    out = b""
    step = max(1, -(-len(data) // (len(flushes) + 1)))
    for part, flush in itertools.zip_longest(pieces(data, step), flushes, fillvalue=None):
        if part:
            out += stream.compress(part)
        if flush is not None:
            out += stream.flush(flush)
        if flush == zlib.Z_FINISH:
            stream = new()
    out += stream.flush(zlib.Z_SYNC_FLUSH)
    if not out.endswith(TAIL):  # zlib had nothing to flush
        out += b"\x00" + TAIL
    return out[:-4], stream


@settings(deadline=None)
@given(
    st.integers(9, 15),
    st.integers(0, 9),
    st.sampled_from([zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE, zlib.Z_FIXED]),
    st.booleans(),
    st.lists(st.tuples(st.integers(0, len(SHORT) - 1), st.lists(st.sampled_from(FLUSHES), max_size=5)), max_size=6),
    st.randoms(use_true_random=False),
)  # fmt: skip
def test_we_read_what_zlib_sends(
    bits: int,
    level: int,
    strategy: int,
    takeover: bool,
    messages: list[tuple[int, list[int]]],
    rng: random.Random,
) -> None:
    """However it was compressed, flushed, ended and begun anew within a message, and cut into frames and reads."""

    def new() -> Any:
        return zlib.compressobj(level, zlib.DEFLATED, -bits, 8, strategy)

    parameters = DeflateParameters(client_no_context_takeover=not takeover, client_max_window_bits=bits)
    machine = Machine(server=True, deflate=Deflate(parameters, server=True))
    stream = new()
    for which, flushes in messages:
        text, data = SHORT[which]
        if not takeover:
            stream = new()
        packed, stream = zlib_message(stream, data, flushes, new)
        at = rng.randrange(len(packed) + 1)
        wire = encode_frame(TEXT if text else BINARY, packed[:at], fin=False, rsv1=True, mask=True)
        wire += encode_frame(PING, b"in between", mask=True)
        wire += encode_frame(CONTINUATION, packed[at:], mask=True)
        cut = rng.randrange(len(wire) + 1)
        found = [*feed(machine, wire[:cut]), *feed(machine, wire[cut:])]
        assert found == [Ping(b"in between"), value(text, data)]


# --- mixing shared, own and uncompressed messages ---


@pytest.mark.parametrize("takeover", [True, False])
@pytest.mark.parametrize("bits", [None, 9, 12])
def test_websockets_reads_shared_messages(takeover: bool, bits: int | None) -> None:
    """A broadcast is compressed once, with a context of its own, whatever else goes over a connection."""
    wishes = DeflateParameters(server_no_context_takeover=not takeover, server_max_window_bits=bits)
    peer = our_server(wishes, [ClientPerMessageDeflateFactory()])
    deflate = peer.machine.deflate
    assert deflate is not None
    rng = random.Random(7692)
    text = make_data("text", 600)
    kinds = []
    for number in range(200):
        data = text + b"%d" % (number % 5)
        kind = rng.choice(["own", "own", "shared", "plain"])
        kinds.append(kind)
        if kind == "shared":
            frame = encode_frame(TEXT, deflate.compress_shared(data), rsv1=True)
            deflate.forget_sent()
        elif kind == "plain":
            frame = encode_frame(TEXT, data)
        else:
            frame = encode_frame(TEXT, deflate.compress(data), rsv1=True)
        assert peer.receive(frame) == [(True, data)], kinds


@pytest.mark.parametrize("kind", ["json", "text"])
def test_websockets_alone_decodes_mixed_messages(kind: str) -> None:
    """The extension object of the package, one for each of two connections that share frames."""
    parameters = DeflateParameters()
    ours = [Deflate(parameters, server=True) for _ in range(2)]
    theirs = [PerMessageDeflate(False, False, 15, 15) for _ in range(2)]
    for number in range(30):
        data = make_data(kind, 300 + number)
        shared = ours[number % 2].compress_shared(data) if number % 3 == 0 else None
        for deflate, peer in zip(ours, theirs, strict=True):
            packed = deflate.compress(data) if shared is None else shared
            if shared is not None:
                deflate.forget_sent()
            assert peer.decode(Frame(Opcode.TEXT, packed, rsv1=True)).data == data


# --- negotiation beside the websockets package ---

BITS = st.none() | st.integers(8, 15)
FLAG = st.booleans()


@settings(deadline=None)
@given(
    FLAG,
    FLAG,
    BITS,
    st.none() | st.just(True) | st.integers(9, 15),
    st.builds(DeflateParameters, FLAG, FLAG, BITS, BITS),
)
def test_their_client_takes_our_answers(
    server_fresh: bool,
    client_fresh: bool,
    server_bits: int | None,
    client_bits: int | bool | None,
    wishes: DeflateParameters,
) -> None:
    factory = ClientPerMessageDeflateFactory(server_fresh, client_fresh, server_bits, client_bits)  # type: ignore[arg-type]
    if wishes.client_max_window_bits == 8 and client_bits is not None:
        # The one thing it cannot do, and says so: compress with a window of 256 bytes.
        with pytest.raises(NegotiationError, match="client_max_window_bits"):
            our_server(wishes, [factory])
        return
    talk(our_server(wishes, [factory]), SHORT[1:3])


@settings(deadline=None)
@given(FLAG, FLAG, BITS, BITS, FLAG, st.builds(DeflateParameters, FLAG, FLAG, BITS, BITS))
def test_our_client_takes_their_answers(
    server_fresh: bool,
    client_fresh: bool,
    server_bits: int | None,
    client_bits: int | None,
    require: bool,
    wishes: DeflateParameters,
) -> None:
    """Where it declines, because it cannot compress with 256 bytes, the connection does without compression."""
    server_bits = None if server_bits == 8 else server_bits
    factory = ServerPerMessageDeflateFactory(
        server_fresh,
        client_fresh,
        server_bits,
        client_bits,
        require_client_max_window_bits=require and client_bits is not None,
    )
    peer = our_client(wishes, [factory])
    if peer.machine.deflate is not None:
        talk(peer, SHORT[1:3])
    else:
        assert wishes.server_max_window_bits == 8


PARAMETERS = st.lists(
    st.tuples(
        st.sampled_from([
            "server_no_context_takeover", "client_no_context_takeover", "server_max_window_bits",
            "client_max_window_bits", "unknown",
        ]),
        st.sampled_from([None, "8", "9", "12", "15", "16", "7", "09", "x"]),
    ),
    max_size=3,
)  # fmt: skip


def header_of(parameters: list[tuple[str, str | None]]) -> str:
    return "; ".join(
        ["permessage-deflate", *(name if text is None else f"{name}={text}" for name, text in parameters)]
    )


@given(PARAMETERS)
def test_both_decline_the_same_offers(parameters: list[tuple[str, str | None]]) -> None:
    """Ours takes one kind of offer more: a server window of 256 bytes."""
    accepted = accept_deflate(parse_extensions([header_of(parameters)]), DeflateParameters()) is not None
    try:
        ServerPerMessageDeflateFactory().process_request_params(parameters, [])
    except NegotiationError:
        assert not accepted or ("server_max_window_bits", "8") in parameters
    else:
        assert accepted


@given(PARAMETERS, FLAG, st.sampled_from([None, 10, 15]), st.sampled_from([None, 10, 15]))
def test_both_refuse_the_same_answers(
    parameters: list[tuple[str, str | None]], fresh: bool, server_bits: int | None, client_bits: int | None
) -> None:
    """Ours takes two kinds of answers more: a client window of 256 bytes, and 32 KiB for the server left unsaid."""
    wishes = DeflateParameters(fresh, False, server_bits, client_bits)
    try:
        confirm_deflate(parse_extensions([header_of(parameters)]), wishes)
        accepted = True
    except RemoteProtocolError:
        accepted = False
    factory = ClientPerMessageDeflateFactory(fresh, False, server_bits, client_bits or True)
    try:
        factory.process_response_params(parameters, [])
    except NegotiationError:
        named = [name for name, _ in parameters]
        unsaid = server_bits == 15 and "server_max_window_bits" not in named
        assert not accepted or unsaid or ("client_max_window_bits", "8") in parameters
    else:
        assert accepted


def test_a_whole_handshake_by_their_server_with_odd_white_space() -> None:
    headers = Headers()
    headers["Sec-WebSocket-Extensions"] = "permessage-deflate ;\tserver_max_window_bits = 10"
    found = parse_extensions(headers.get_all("Sec-WebSocket-Extensions"))
    assert confirm_deflate(found, DeflateParameters(server_max_window_bits=10)) == DeflateParameters(
        server_max_window_bits=10
    )


# --- sections 6 and 8: what the bit may stand on, and ceilings ---


def compressed_machine(**options: int) -> Machine:
    return Machine(server=True, deflate=Deflate(DeflateParameters(), server=True), **options)


HELLO = bytes.fromhex("f2 48 cd c9 c9 07 00")


def error_of(machine: Machine, *frames: bytes) -> int:
    with pytest.raises(FrameError) as info:
        list(feed(machine, b"".join(frames)))
    return info.value.close_code


def test_rsv1_without_the_extension() -> None:
    assert error_of(Machine(server=True), encode_frame(TEXT, HELLO, rsv1=True, mask=True)) == 1002


@pytest.mark.parametrize("opcode", [8, 9, 10])
def test_rsv1_on_a_control_frame(opcode: int) -> None:
    """Section 6.1: control frames are never compressed."""
    assert error_of(compressed_machine(), encode_frame(opcode, HELLO, rsv1=True, mask=True)) == 1002


@pytest.mark.parametrize("first", [False, True])
def test_rsv1_on_a_continuation(first: bool) -> None:
    """Section 6.1: only on the first frame, whether that is compressed or not."""
    begin = encode_frame(TEXT, HELLO[:3] if first else b"abc", fin=False, rsv1=first, mask=True)
    assert error_of(compressed_machine(), begin, encode_frame(0, HELLO[3:], rsv1=True, mask=True)) == 1002


@pytest.mark.parametrize("bit", [0x20, 0x10, 0x60, 0x70])
def test_the_other_reserved_bits(bit: int) -> None:
    frame = bytearray(encode_frame(TEXT, HELLO, rsv1=True, mask=True))
    frame[0] |= bit
    assert error_of(compressed_machine(), bytes(frame)) == 1002


def test_uncompressed_messages_between_compressed_ones() -> None:
    """Section 6: each message says for itself; the window is untouched by those that are not compressed."""
    machine = compressed_machine()
    second = bytes.fromhex("f2 00 11 00 00")
    wire = b"".join([
        encode_frame(TEXT, HELLO, rsv1=True, mask=True),
        encode_frame(TEXT, b"plain", mask=True),
        encode_frame(BINARY, b"pl", fin=False, mask=True),
        encode_frame(CONTINUATION, b"ain", mask=True),
        encode_frame(TEXT, second, rsv1=True, mask=True),
        encode_frame(BINARY, b"\x00", rsv1=True, mask=True),
        encode_frame(TEXT, b"", mask=True),
    ])  # fmt: skip
    expected = ["Hello", "plain", b"plain", "Hello", b"", ""]
    assert list(feed(machine, wire)) == expected
    machine = compressed_machine()
    assert [event for at in range(len(wire)) for event in feed(machine, wire[at : at + 1])] == expected


def test_frames_of_the_rfc() -> None:
    """Section 7.2.3.1, the frames themselves."""
    client = Machine(server=False, deflate=Deflate(DeflateParameters(), server=False))
    assert list(feed(client, bytes.fromhex("c1 07 f2 48 cd c9 c9 07 00"))) == ["Hello"]
    client = Machine(server=False, deflate=Deflate(DeflateParameters(), server=False))
    assert list(feed(client, bytes.fromhex("41 03 f2 48 cd 80 04 c9 c9 07 00"))) == ["Hello"]
    server = Machine(server=True, deflate=Deflate(DeflateParameters(), server=True, threshold=0))
    assert server.encode_message("Hello") == bytes.fromhex("c1 07 f2 48 cd c9 c9 07 00")


def test_bomb_in_one_frame_and_in_many() -> None:
    bomb = Deflate(DeflateParameters(), server=False).compress(bytes(20_000_000))
    for cut in (None, 1000, 3):
        parts = pieces(bomb, cut)
        frames = [
            encode_frame(CONTINUATION if n else BINARY, part, fin=False, rsv1=not n, mask=True)
            for n, part in enumerate(parts)
        ]
        assert error_of(compressed_machine(max_message_size=1_000_000), *frames) == 1009


@pytest.mark.parametrize("size", [0, 1, 1000])
def test_limit_is_for_what_comes_out(size: int) -> None:
    """Exactly at the limit is fine, even where compression made the message longer than that."""
    for data in (bytes(size), random.Random(size).randbytes(size)):
        packed = Deflate(DeflateParameters(), server=False).compress(data)
        for cut in (None, 7):
            parts = pieces(packed, cut)
            frames = [
                encode_frame(
                    CONTINUATION if n else BINARY, part, fin=n == len(parts) - 1, rsv1=not n, mask=True
                )
                for n, part in enumerate(parts)
            ]
            assert list(feed(compressed_machine(max_message_size=size), b"".join(frames))) == [data]
            if size:
                assert error_of(compressed_machine(max_message_size=size - 1), *frames) == 1009


@pytest.mark.parametrize("cut", [None, 1, 5])
def test_text_is_checked_after_decompression(cut: int | None) -> None:
    """RFC 6455 section 8.1, for what comes out: at any cut, and as soon as it has come out."""
    good = "κόσμε 🎻".encode()
    for data, code in ((good, None), (good[:-1], 1007), (good + b"\xed\xa0\x80", 1007), (b"\xff", 1007)):
        packed = Deflate(DeflateParameters(), server=False).compress(data)
        parts = pieces(packed, cut)
        frames = [
            encode_frame(
                CONTINUATION if n else TEXT, part, fin=n == len(parts) - 1, rsv1=not n, mask=True
            )
            for n, part in enumerate(parts)
        ]  # fmt: skip
        if code is None:
            assert list(feed(compressed_machine(), b"".join(frames))) == [data.decode()]
        else:
            assert error_of(compressed_machine(), *frames) == code


def test_damaged_message() -> None:
    assert error_of(compressed_machine(), encode_frame(BINARY, b"\xff\xff", rsv1=True, mask=True)) == 1007


# --- damage ---


def ending(chunks: list[bytes], takeover: bool, max_size: int) -> list[object]:
    """What comes out of a stream, and whether it ends in an error.

    Which one of several faults in a message is named depends on how it was cut: bad UTF-8, damage, its size, or very
    many streams.
    """
    parameters = DeflateParameters(client_no_context_takeover=not takeover)
    machine = Machine(server=True, max_message_size=max_size, deflate=Deflate(parameters, server=True))
    found: list[object] = []
    try:
        for chunk in chunks:
            found.extend(feed(machine, chunk))
    except FrameError as error:
        found.append("failed" if error.close_code in (1007, 1008, 1009) else error.close_code)
    return found


def damaged(rng: random.Random, data: bytes, chance: float) -> bytes:
    if not data or rng.random() > chance:
        return data
    octets = bytearray(data)
    octets[rng.randrange(len(octets))] ^= 1 << rng.randrange(8)
    return bytes(octets)


def damaged_stream(rng: random.Random) -> bytes:
    sender = Deflate(DeflateParameters(), server=False)
    wire = b""
    for _ in range(rng.randrange(1, 4)):
        data = rng.choice(
            [b"Hello", "κ".encode() * rng.randrange(60), bytes(rng.randrange(2000)), b"", b"\xff"]
        )
        packed = b"\x03\x00" * rng.choice([0, 0, 1, 100]) + damaged(rng, sender.compress(data), 0.4)
        sender.forget_sent()
        cuts = sorted(rng.randrange(len(packed) + 1) for _ in range(rng.randrange(4)))
        edges = [0, *cuts, len(packed)]
        opcode = rng.choice([TEXT, BINARY])
        for number, (begin, end) in enumerate(itertools.pairwise(edges)):
            wire += encode_frame(
                CONTINUATION if number else opcode,
                packed[begin:end],
                fin=number == len(edges) - 2,
                rsv1=not number and rng.random() < 0.95,
                mask=True,
            )
    return damaged(rng, wire, 0.2)


@pytest.mark.parametrize("seed", range(20))
def test_damaged_streams_end_the_same_however_they_are_cut(seed: int) -> None:
    """In messages or in a FrameError and nothing else; whole, byte by byte and split at random."""
    rng = random.Random(seed)
    for _ in range(60):
        wire = damaged_stream(rng)
        takeover, max_size = rng.random() < 0.5, rng.choice([5, 100, 100_000])
        whole = ending([wire], takeover, max_size)
        assert ending([wire[at : at + 1] for at in range(len(wire))], takeover, max_size) == whole
        cuts = sorted(rng.randrange(len(wire) + 1) for _ in range(3))
        chunks = [wire[a:b] for a, b in itertools.pairwise([0, *cuts, len(wire)])]
        assert ending(chunks, takeover, max_size) == whole
