import asyncio
import gzip
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.http1connection.incoming import Payload, read_body, read_head
from webfw.httputil import HTTPHeaders
from webfw.iostream import StreamClosedError
from webfw.sansio.errors import RemoteProtocolError
from webfw.sansio.http1 import Chunked, HeadLimits, Length, UntilClose, parse_head

HEAD = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"


def parse(data: bytes, seen: int) -> Any:
    return parse_head(data, 0, seen, HeadLimits())


@pytest.mark.parametrize("size", [1, 7, len(HEAD), 65536])
async def test_a_head_leaves_what_is_behind_it(peer: Any, size: int) -> None:
    far = peer()
    far.send(HEAD + b"the rest")
    head = await read_head(far.stream, size, parse)
    assert head.target == "/a"
    assert await far.stream.read_bytes(8) == b"the rest"
    far.stream.close()


async def test_a_head_is_cut(peer: Any) -> None:
    far = peer()
    far.send(HEAD[:-1])
    far.end()
    with pytest.raises(StreamClosedError):
        await read_head(far.stream, 65536, parse)


async def collect(far: Any, decoder: Any, size: int = 65536) -> bytes:
    return b"".join([piece async for piece in read_body(far.stream, decoder, size)])


@pytest.mark.parametrize("size", [1, 3, 65536])
async def test_bodies_leave_what_is_behind_them(peer: Any, size: int) -> None:
    for decoder, data in ((Length(5), b"hello"), (Chunked(), b"2\r\nhe\r\n3\r\nllo\r\n0\r\nT: 1\r\n\r\n")):
        far = peer()
        far.send(data + b"next")
        assert await collect(far, decoder, size) == b"hello"
        assert await far.stream.read_bytes(4) == b"next"
        far.stream.close()


async def test_a_body_up_to_the_end_of_the_stream(peer: Any) -> None:
    far = peer()
    far.send(b"hello")
    far.end()
    assert await collect(far, UntilClose()) == b"hello"


@pytest.mark.parametrize("decoder", [Length(6), Chunked()])
async def test_a_body_is_cut(peer: Any, decoder: Any) -> None:
    far = peer()
    far.send(b"5\r\nhe")
    far.end()
    with pytest.raises(StreamClosedError) as caught:
        await collect(far, decoder)
    assert isinstance(caught.value.real_error, RemoteProtocolError)


async def test_a_stream_that_fails_does_not_end_a_body_in_order(peer: Any) -> None:
    far = peer()
    asyncio.get_running_loop().call_soon(far.stream.close, ConnectionResetError())
    with pytest.raises(StreamClosedError) as caught:
        await collect(far, UntilClose())
    assert isinstance(caught.value.real_error, ConnectionResetError)


# --- what a delegate gets ---


def unpack(payload: Payload, data: bytes, size: int) -> bytes:
    out = b""
    for begin in range(0, len(data), size):
        out += b"".join(payload.pieces(data[begin : begin + size]))
    payload.end()
    return out


@given(st.binary(max_size=5000), st.integers(1, 3000), st.integers(1, 3000))
def test_pieces_are_cut_to_size_and_packed_ones_unpacked(content: bytes, chunk: int, size: int) -> None:
    payload = Payload(chunk, 5000)
    assert all(0 < len(piece) <= chunk for piece in payload.pieces(content))
    for coding, packed in (("gzip", gzip.compress(content)), ("Deflate", zlib.compress(content))):
        payload = Payload(chunk, 5000)
        headers = HTTPHeaders({"Content-Encoding": coding})
        payload.decompress(headers)
        assert dict(headers.get_all()) == {"X-Consumed-Content-Encoding": coding}
        assert unpack(payload, packed, size) == content


def test_an_unknown_coding_is_left_alone() -> None:
    payload = Payload(100, 100)
    headers = HTTPHeaders({"Content-Encoding": "br"})
    payload.decompress(headers)
    assert dict(headers.get_all()) == {"Content-Encoding": "br"}
    assert list(payload.pieces(b"abc")) == [b"abc"]


def test_a_bomb_and_a_cut() -> None:
    packed = gzip.compress(b"x" * 1_000_000)
    payload = Payload(65536, 1000)
    payload.decompress(HTTPHeaders({"Content-Encoding": "gzip"}))
    with pytest.raises(RemoteProtocolError) as caught:
        list(payload.pieces(packed))
    assert caught.value.status == 413
    payload = Payload(65536, 2_000_000)
    payload.decompress(HTTPHeaders({"Content-Encoding": "gzip"}))
    list(payload.pieces(packed[:-1]))
    with pytest.raises(RemoteProtocolError, match="cut short"):
        payload.end()
