"""Responses as a test client reads them: bytes in, whole, byte by byte and split at random."""

import asyncio
import io
from contextlib import suppress
from contextvars import copy_context
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.httpclient import HTTPRequest, HTTPStreamClosedError
from webfw.httputil import HTTPHeaders
from webfw.testing.fakes import FakeWire
from webfw.testing.memory import connected_wires
from webfw.testing.responses import READ_AHEAD, ClientResponse, ResponseReader, StreamedResponse

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\nA: b\r\n\r\n"
CLOSE = b"HTTP/1.1 200 OK\r\n\r\nhello"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + LENGTH


def reader_on_wire(method: str = "GET", whole: bool = True) -> tuple[ResponseReader, Any]:
    wire: Any = FakeWire(asyncio.get_running_loop())
    return ResponseReader(wire, method, whole=whole), wire


async def read(pieces: list[bytes], method: str = "GET") -> tuple[int, bytes]:
    reader, wire = reader_on_wire(method)

    async def feed() -> None:
        for piece in pieces:
            wire.feed(piece)
            await asyncio.sleep(0)
        wire.feed_eof()

    feeding = asyncio.ensure_future(feed())
    try:
        head = await reader.get_head()
        return head.status, await reader.get_body()
    finally:
        await feeding


@pytest.mark.parametrize("response", [LENGTH, CHUNKED, CLOSE, INTERIM])
async def test_whole_and_byte_by_byte(response: bytes) -> None:
    assert await read([response]) == (200, b"hello")
    assert await read([response[i : i + 1] for i in range(len(response))]) == (200, b"hello")


@given(st.sampled_from([LENGTH, CHUNKED, CLOSE, INTERIM]), st.sets(st.integers(1, 90), max_size=6))
async def test_split_at_random(response: bytes, cuts: set[int]) -> None:
    places = [0, *sorted(cut for cut in cuts if cut < len(response)), len(response)]
    pieces = [response[i:j] for i, j in pairwise(places)]
    assert await read(pieces) == (200, b"hello")


async def test_responses_without_a_body() -> None:
    assert await read([b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"], "HEAD") == (200, b"")
    assert await read([b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"]) == (304, b"")
    assert await read([b"HTTP/1.1 101 Switching Protocols\r\n\r\n"]) == (101, b"")


@pytest.mark.parametrize("response", [LENGTH, CHUNKED, INTERIM, b""])
async def test_cut_responses(response: bytes) -> None:
    for length in range(len(response)):
        with pytest.raises(HTTPStreamClosedError, match="has closed the connection"):
            await read([response[:length]])


@pytest.mark.parametrize(
    "response", [LENGTH + b"x", CHUNKED + b"HTTP", b"no HTTP\r\n\r\n", CHUNKED.replace(b"3", b"z")]
)
async def test_what_is_no_proper_response(response: bytes) -> None:
    reader, wire = reader_on_wire()
    wire.feed(response)
    assert wire.aborted
    with pytest.raises(HTTPStreamClosedError, match="no proper response"):
        await (reader.get_head() if reader.head is None else reader.get_body())


async def test_what_stands_behind_a_response_is_an_error_however_it_comes() -> None:
    reader, wire = reader_on_wire()
    wire.feed(LENGTH)
    wire.feed(b"x")
    assert wire.aborted
    assert reader.done


async def test_a_broken_connection() -> None:
    reader, wire = reader_on_wire()
    waiting = asyncio.ensure_future(reader.get_head())
    await asyncio.sleep(0)
    wire.lose(ConnectionResetError("cut"))
    with pytest.raises(HTTPStreamClosedError, match="before there was a response") as caught:
        await waiting
    assert isinstance(caught.value.real_error, ConnectionResetError)
    wire.lose()


async def test_reading_pauses_for_who_does_not_read() -> None:
    reader, wire = reader_on_wire(whole=False)
    wire.feed(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * READ_AHEAD)
    assert wire.reading
    wire.feed(b"x")
    assert not wire.reading
    assert len(await reader.get_chunk()) == READ_AHEAD
    assert wire.reading
    wire.feed_eof()
    assert await reader.get_body() == b"x"


async def test_room_for_the_request() -> None:
    loop = asyncio.get_running_loop()
    near, far = connected_wires(loop, copy_context(), copy_context())
    reader = ResponseReader(near, "POST", whole=True)
    ResponseReader(far, "POST", whole=True)
    await reader.room()
    far.pause_reading()
    near.write(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000)
    waiting = asyncio.ensure_future(reader.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    far.resume_reading()
    await waiting
    far.pause_reading()
    near.write(b"x" * 100_000)
    waiting = asyncio.ensure_future(reader.room())
    await asyncio.sleep(0)
    far.abort()
    await waiting


async def test_lines() -> None:
    reader, wire = reader_on_wire()
    for piece in (b"HTTP/1.1 200 OK\r\n\r\n", b"one\r\ntw", b"o\n\nthr", "eé".encode()):
        wire.feed(piece)
    wire.feed_eof()
    response = StreamedResponse(HTTPRequest("http://x/"), await reader.get_head(), reader, 5)
    assert [line async for line in response.lines()] == ["one", "two", "", "threé"]


async def test_nothing_comes_in_time() -> None:
    reader, wire = reader_on_wire()
    wire.feed(b"HTTP/1.1 200 OK\r\n\r\n")
    response = StreamedResponse(HTTPRequest("http://x/y"), await reader.get_head(), reader, 0.01)
    with pytest.raises(TimeoutError, match=r"http://x/y has sent nothing within 0.01 seconds"):
        await response.read_chunk()
    wire.feed(b"late")
    assert await response.read_chunk() == b"late"
    response.disconnect()
    assert wire.closing
    with suppress(HTTPStreamClosedError):
        wire.lose()


def response(body: bytes, content_type: str | None = None) -> ClientResponse:
    headers = HTTPHeaders({"Content-Type": content_type} if content_type else {})
    return ClientResponse(HTTPRequest("http://x/"), 200, headers, io.BytesIO(body))


def test_text_and_json() -> None:
    assert response("é".encode()).text == "é"
    assert response(b"\xe9", "text/plain; charset=latin-1").text == "é"
    assert response(b'{"a": 1}').json() == {"a": 1}
    assert response(b"").history == ()
    with pytest.raises(UnicodeDecodeError):
        _ = response(b"\xe9").text
    with pytest.raises(LookupError):
        _ = response(b"x", "text/plain; charset=nosuch").text
    with pytest.raises(ValueError, match="Expecting"):
        response(b"x").json()
