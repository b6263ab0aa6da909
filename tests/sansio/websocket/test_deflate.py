"""permessage-deflate of one connection: independent decoders understand it, bombs and damage are the peer's fault."""

import gc
import json
import random
import time
import tracemalloc
import zlib
from contextlib import suppress
from dataclasses import FrozenInstanceError
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.sansio.websocket import deflate as module
from webfw.sansio.websocket.deflate import Deflate, DeflateParameters
from webfw.sansio.websocket.frames import CloseCode, FrameError

TAIL = b"\x00\x00\xff\xff"
PLAIN = DeflateParameters()
NO_TAKEOVER = DeflateParameters(server_no_context_takeover=True, client_no_context_takeover=True)
LARGE = 1 << 30


def server(parameters: DeflateParameters = PLAIN, **options: int) -> Deflate:
    return Deflate(parameters, server=True, **options)


def client(parameters: DeflateParameters = PLAIN, **options: int) -> Deflate:
    return Deflate(parameters, server=False, **options)


def receive(peer: Deflate, message: bytes, max_size: int = LARGE) -> bytes:
    return peer.decompress(message, final=True, max_size=max_size)


def receive_in_pieces(peer: Deflate, pieces: list[bytes], max_size: int = LARGE) -> bytes:
    out = b""
    for piece in pieces:
        out += peer.decompress(piece, final=False, max_size=max_size - len(out))
    return out + peer.decompress(b"", final=True, max_size=max_size - len(out))


def independent() -> Any:
    """A decoder that knows nothing of messages: one DEFLATE stream per connection."""
    stream = zlib.decompressobj(-15)
    return lambda message: stream.decompress(message + TAIL)


def fails(code: int, peer: Deflate, message: bytes, max_size: int = LARGE) -> str:
    with pytest.raises(FrameError) as info:
        receive(peer, message, max_size)
    assert info.value.close_code == code
    return str(info.value)


# --- parameters ---


@pytest.mark.parametrize("bits", [7, 16, 0, -15])
@pytest.mark.parametrize("name", ["server_max_window_bits", "client_max_window_bits"])
def test_window_bits_out_of_range(name: str, bits: int) -> None:
    with pytest.raises(ValueError, match="from 8 to 15"):
        DeflateParameters(**{name: bits})


def test_parameters_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        DeflateParameters().server_max_window_bits = 9  # type: ignore[misc]


@pytest.mark.parametrize("options", [{"level": -1}, {"level": 10}, {"mem_level": 0}, {"mem_level": 10}])
def test_levels_out_of_range(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="level must be from"):
        server(**options)


@pytest.mark.parametrize("level", range(10))
@pytest.mark.parametrize("mem_level", [1, 5, 9])
def test_every_level_can_be_read(level: int, mem_level: int) -> None:
    data = json.dumps(list(range(3000))).encode()
    ours, read = server(level=level, mem_level=mem_level), independent()
    assert read(ours.compress(data)) == data
    assert read(ours.compress(data)) == data
    ours = server(DeflateParameters(server_max_window_bits=8), level=level, mem_level=mem_level)
    assert independent()(ours.compress(data)) == data


def test_each_side_uses_its_own_window() -> None:
    """What lies further back than a window is found again by the side with the larger one only."""
    parameters = DeflateParameters(server_max_window_bits=9, client_max_window_bits=15)
    noise = random.Random(1).randbytes(2000)
    assert len(server(parameters).compress(noise + noise)) > 4000
    assert len(client(parameters).compress(noise + noise)) < 2200
    assert server(parameters).shared_key[0] == 9
    assert client(parameters).shared_key[0] == 15


# --- the RFC's own bytes (section 7.2.3) ---


def test_one_block() -> None:
    """7.2.3.1: the same bytes out of our compressor, and readable."""
    assert server().compress(b"Hello") == bytes.fromhex("f2 48 cd c9 c9 07 00")
    assert receive(server(), bytes.fromhex("f2 48 cd c9 c9 07 00")) == b"Hello"
    pieces = [bytes.fromhex("f2 48 cd"), bytes.fromhex("c9 c9 07 00")]
    assert receive_in_pieces(server(), pieces) == b"Hello"


def test_sharing_the_window() -> None:
    """7.2.3.2: the second message refers to the first one."""
    first, second = bytes.fromhex("f2 48 cd c9 c9 07 00"), bytes.fromhex("f2 00 11 00 00")
    peer, ours = client(), server()
    assert receive(peer, first) == b"Hello"
    assert receive(peer, second) == b"Hello"
    assert ours.compress(b"Hello") == first
    assert len(ours.compress(b"Hello")) < len(first)  # `second` by zlib itself, others may find another way
    # Without context takeover there is nothing to refer to, in either direction.
    ours = server(NO_TAKEOVER)
    assert ours.compress(b"Hello") == ours.compress(b"Hello") == first
    peer = client(NO_TAKEOVER)
    assert receive(peer, first) == b"Hello"
    assert "malformed" in fails(1007, peer, second)


def test_stored_block() -> None:
    """7.2.3.3."""
    assert receive(client(), bytes.fromhex("00 05 00 fa ff 48 65 6c 6c 6f 00")) == b"Hello"


def test_block_with_bfinal() -> None:
    """7.2.3.4: the stream ends inside the message, and another one begins."""
    message = bytes.fromhex("f3 48 cd c9 c9 07 00 00")
    for parameters in (DeflateParameters(), NO_TAKEOVER):
        peer = client(parameters)
        for _ in range(3):
            assert receive(peer, message) == b"Hello"
        assert receive_in_pieces(peer, [message[i : i + 1] for i in range(len(message))]) == b"Hello"
        assert receive(peer, bytes.fromhex("f2 48 cd c9 c9 07 00")) == b"Hello"
        # Some senders leave out the byte that should follow the end.
        assert receive(peer, message[:-1]) == b"Hello"
        assert receive_in_pieces(peer, [message[:-1]]) == b"Hello"
        assert receive(peer, message) == b"Hello"


def test_two_blocks() -> None:
    """7.2.3.5: a flush in the middle of the message."""
    message = bytes.fromhex("f2 48 05 00 00 00 ff ff ca c9 c9 07 00")
    assert receive(client(), message) == b"Hello"
    assert receive_in_pieces(client(), [message[i : i + 1] for i in range(len(message))]) == b"Hello"


def test_empty_message() -> None:
    """7.2.3.6, at any time and with any context; zlib itself would flush nothing the second time."""
    for parameters in (DeflateParameters(), NO_TAKEOVER):
        ours, peer, read = server(parameters), client(parameters), independent()
        for data in (b"", b"", b"Hello", b"", b"", b"Hello", b""):
            message = ours.compress(data)
            assert data or message == b"\x00"
            assert receive(peer, message) == data
            assert read(message) == data
        assert ours.compress_shared(b"") == b"\x00"


def test_a_message_of_no_bytes_is_empty_and_harms_nothing() -> None:
    for parameters in (DeflateParameters(), NO_TAKEOVER):
        ours, peer = server(parameters), client(parameters)
        for data in (b"one message", b"one message more"):
            assert receive(peer, b"") == b""
            assert receive_in_pieces(peer, [b"", b""]) == b""
            assert receive(peer, ours.compress(data)) == data


# --- both ways ---


@pytest.mark.parametrize("takeover", [True, False])
@pytest.mark.parametrize("bits", range(8, 16))
@given(
    messages=st.lists(st.binary(max_size=2000) | st.text(max_size=300).map(str.encode), max_size=5),
    cuts=st.lists(st.integers(0, 2000), max_size=4),
)
def test_what_one_sends_the_other_receives(
    takeover: bool, bits: int, messages: list[bytes], cuts: list[int]
) -> None:
    parameters = DeflateParameters(not takeover, not takeover, bits, bits)
    for ours, peer in ((server(parameters), client(parameters)), (client(parameters), server(parameters))):
        read = independent()
        for data in messages:
            message = ours.compress(data)
            assert read(message) == data
            edges = [0, *sorted(min(cut, len(message)) for cut in cuts), len(message)]
            assert receive_in_pieces(peer, [message[a:b] for a, b in pairwise(edges)]) == data


def test_a_window_of_256_bytes_is_kept() -> None:
    """zlib cannot be asked for it; whatever we send can be read by a decoder that has no more than that."""
    parameters = DeflateParameters(server_max_window_bits=8, client_max_window_bits=8)
    ours = server(parameters)
    narrow = zlib.decompressobj(-8)
    text = b"a line that comes again and again, and a line that comes again%d\n" * 40
    for data in (text, text, bytes(5000), b"x", random.Random(2).randbytes(3000), text):
        assert narrow.decompress(ours.compress(data) + TAIL) == data
    assert len(ours.compress(text)) < len(text) * 0.7


def test_a_peer_that_uses_512_bytes_for_256() -> None:
    """zlib before 1.2.9 did so when it was asked for 8 bits."""
    sloppy = zlib.compressobj(wbits=-9)
    noise = random.Random(3).randbytes(240)
    message = sloppy.compress(noise * 2) + sloppy.flush(zlib.Z_SYNC_FLUSH)
    peer = server(DeflateParameters(client_max_window_bits=8))
    assert receive(peer, message[:-4]) == noise * 2


def test_a_peer_that_refers_back_too_far() -> None:
    wide = zlib.compressobj(wbits=-15)
    noise = random.Random(4).randbytes(20_000)
    message = (wide.compress(noise * 2) + wide.flush(zlib.Z_SYNC_FLUSH))[:-4]
    assert receive(server(), message) == noise * 2
    narrow = server(DeflateParameters(client_max_window_bits=10))
    with pytest.raises(FrameError) as info:
        receive_in_pieces(narrow, [message[at : at + 1000] for at in range(0, len(message), 1000)])
    assert info.value.close_code == 1007


# --- shared messages ---


@pytest.mark.parametrize("takeover", [True, False])
@pytest.mark.parametrize("bits", [None, 8, 9, 12, 15])
@given(kinds=st.lists(st.tuples(st.sampled_from(["own", "shared", "plain"]), st.integers(0, 5)), max_size=12))
def test_shared_and_own_messages_mixed(
    takeover: bool, bits: int | None, kinds: list[tuple[str, int]]
) -> None:
    """With `forget_sent` after each shared message any decoder that keeps its window follows."""
    parameters = DeflateParameters(server_no_context_takeover=not takeover, server_max_window_bits=bits)
    one, other = server(parameters), server(parameters)
    assert one.shared_key == other.shared_key
    pool = [f"message {n} of {n}, and the words they have in common".encode() * (n + 1) for n in range(6)]
    read = [(ours, independent(), client(parameters)) for ours in (one, other)]
    for kind, which in kinds:
        data = pool[which]
        shared = one.compress_shared(data) if kind == "shared" else b""
        for ours, zlib_reads, peer in read:
            if kind == "plain":
                continue  # Uncompressed messages do not enter the window (section 7.2.1).
            message = shared or ours.compress(data)
            if shared:
                ours.forget_sent()
            assert zlib_reads(message) == data
            assert receive(peer, message) == data


def test_why_sent_must_be_forgotten() -> None:
    """The distances of the next own message are counted across the shared one by the peer, and not by us."""
    ours, read = server(), independent()
    data = b"some words that will be referred to " * 3
    assert read(ours.compress(data)) == data
    assert read(ours.compress_shared(b"x" * 100)) == b"x" * 100
    assert read(ours.compress(data)) != data


@pytest.mark.parametrize("change", [{"level": 1}, {"mem_level": 8}, {"bits": 14}])
def test_shared_key(change: dict[str, int]) -> None:
    bits = change.get("bits", 15)
    options = {name: value for name, value in change.items() if name != "bits"}
    ours = server(DeflateParameters(server_max_window_bits=bits), **options)
    assert ours.shared_key != server().shared_key
    hash(ours.shared_key)
    # What this side does not send with has no say, nor has the threshold.
    assert server(DeflateParameters(client_max_window_bits=9), threshold=1).shared_key == server().shared_key
    assert server(NO_TAKEOVER).shared_key == server().shared_key


# --- ceilings and damage ---


@pytest.mark.parametrize("takeover", [True, False])
def test_ceiling(takeover: bool) -> None:
    parameters = DeflateParameters() if takeover else NO_TAKEOVER
    message = server().compress(bytes(1000))
    assert receive(client(parameters), message, 1000) == bytes(1000)
    assert fails(1009, client(parameters), message, 999) == "message too big"
    assert fails(1009, client(parameters), message, 0) == "message too big"
    assert receive(client(parameters), b"\x00", 0) == b""
    assert receive(client(parameters), b"", 0) == b""
    with pytest.raises(FrameError):
        receive_in_pieces(client(), [message[:5], message[5:]], 999)
    assert receive_in_pieces(client(), [message[:5], message[5:]], 1000) == bytes(1000)


def test_no_ceiling_to_speak_of() -> None:
    """`sys.maxsize` is what an application gives that wants none."""
    message = server().compress(b"Hello")
    assert receive(client(), message, (1 << 63) - 1) == b"Hello"
    assert receive(client(), message, 1 << 100) == b"Hello"


@pytest.mark.parametrize("bfinal", [False, True])
def test_bomb(bfinal: bool) -> None:
    """A thousandfold bomb is given up at the ceiling, and no more memory is taken than that."""
    packer = zlib.compressobj(9, wbits=-15)
    mode = zlib.Z_FINISH if bfinal else zlib.Z_SYNC_FLUSH
    bomb = b"\x03\x00" * bfinal + packer.compress(bytes(50_000_000)) + packer.flush(mode)
    assert len(bomb) < 60_000
    peer = server()
    gc.collect()
    tracemalloc.start()
    try:
        fails(1009, peer, bomb, 1_000_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3_000_000


def test_ceiling_across_streams() -> None:
    message = bytes.fromhex("f3 48 cd c9 c9 07 00") * 10 + b"\x00"
    assert receive(server(), message, 50) == b"Hello" * 10
    fails(1009, server(), message, 49)


def test_many_streams_in_one_message() -> None:
    """Few streams are fine, many of a sensible size too; very many tiny ones are a way to burn our time."""
    assert receive(server(), b"\x03\x00" * 60 + b"\x00") == b""
    packer = zlib.compressobj(0, wbits=-15)
    block = packer.compress(bytes(300)) + packer.flush()
    assert receive(server(), block * 500 + b"\x00") == bytes(300 * 500)
    begin = time.process_time()
    assert "too many small streams" in fails(1008, server(), b"\x03\x00" * 500_000)
    assert time.process_time() - begin < 1
    peer = server()
    with pytest.raises(FrameError) as info:
        receive_in_pieces(peer, [b"\x03\x00" * 10] * 1000)
    assert info.value.close_code == CloseCode.POLICY_VIOLATION


def test_the_count_of_streams_begins_with_each_message() -> None:
    peer = server()
    for _ in range(50):
        assert receive(peer, b"\x03\x00" * 20 + b"\x00") == b""


def test_time_is_linear_in_streams() -> None:
    packer = zlib.compressobj(0, wbits=-15)
    block = packer.compress(bytes(300)) + packer.flush()

    def cost(count: int) -> float:
        best = 9.0
        for _ in range(2):
            begin = time.process_time()
            receive(server(), block * count)
            best = min(best, time.process_time() - begin)
        return best

    assert cost(3200) < 40 * max(cost(400), 1e-3)


@pytest.mark.parametrize(
    "message",
    [
        b"\xff\xff\xff",  # a block type that does not exist
        b"\x07",
        b"not compressed at all",
        b"\x00\x05\x00\x00\x00Hello",  # a stored block whose lengths disagree
        bytes.fromhex("f2 00 11 00 00"),  # refers to a message that never came
        b"\x03\x00\xff",  # junk behind the end of a stream
        b"\x03",  # the end of this stream would lie inside the tail, which is ours
    ],
)
def test_damage(message: bytes) -> None:
    assert "malformed" in fails(1007, server(), message)
    with pytest.raises(FrameError):
        receive_in_pieces(server(), [message[i : i + 1] for i in range(len(message))])


def test_a_stream_that_ends_with_the_tail() -> None:
    """A final stored block of no bytes, without its last four: odd, and in order."""
    for message in (b"\x01", b"\x03\x00\x01"):
        peer = server()
        assert receive(peer, message) == b""
        assert receive_in_pieces(peer, [message]) == b""
        assert receive(peer, client().compress(b"Hello")) == b"Hello"


@given(st.binary(max_size=200), st.integers(0, 300), st.integers(0, 255), st.integers(0, 300))
def test_damage_ends_in_bytes_or_in_a_frame_error(data: bytes, at: int, byte: int, cut: int) -> None:
    packed = bytearray(server().compress(data))
    packed[at % len(packed)] = byte
    for message in (bytes(packed), data, b"\x03\x00" + data):
        peer = client()
        with suppress(FrameError):
            receive(peer, message, 1000)
            receive(peer, message, 1000)
        whole = outcome([message])
        assert outcome([message[:cut], message[cut:]]) == whole


def outcome(pieces: list[bytes]) -> bytes | None:
    try:
        return receive_in_pieces(client(), pieces, 1000)
    except FrameError:
        return None


# --- memory ---


def test_an_idle_connection_has_no_context() -> None:
    ours = server()
    ours.compress_shared(b"x" * 1000)
    assert ours._compressor is None
    assert ours._decompressor is None
    assert not hasattr(ours, "__dict__")


def test_contexts_are_dropped_when_they_are_of_no_more_use() -> None:
    message = server().compress(b"Hello")
    ours = server(NO_TAKEOVER)
    ours.compress(b"Hello")
    receive(ours, message)
    assert (ours._compressor, ours._decompressor) == (None, None)
    ours.decompress(message[:3], final=False, max_size=10)
    assert ours._decompressor is not None
    ours.decompress(message[3:], final=True, max_size=10)
    assert ours._decompressor is None
    ours = server()
    ours.compress(b"Hello")
    assert ours._compressor is not None
    ours.forget_sent()
    assert ours._compressor is None
    # The end of a DEFLATE stream is the end of its context.
    receive(ours, bytes.fromhex("f3 48 cd c9 c9 07 00"))
    assert ours._decompressor is None


def test_threshold_is_kept_for_the_sender() -> None:
    assert server().threshold == 256
    ours = server(threshold=0)
    assert ours.threshold == 0
    assert module.__all__ == ["Deflate", "DeflateParameters"]
