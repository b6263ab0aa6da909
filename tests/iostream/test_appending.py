"""Tests of webfw.iostream.appending: the write buffer as Dask's distributed fills it."""

import asyncio
import os
import socket
import ssl
from array import array
from collections.abc import Callable
from typing import Any

import pytest

from webfw.iostream import BaseIOStream, IOStream, PipeIOStream, StreamBufferFullError, StreamClosedError

pytestmark = pytest.mark.usefixtures("loop_kind")

FRAMES = [b"a" * 10, bytearray(b"b" * 300_000), memoryview(b"c" * 2_000_000), b"", b"d" * 7]
WHOLE = b"".join(FRAMES)


def write_frames(stream: BaseIOStream) -> "asyncio.Future[None]":
    """What distributed does, to have many frames sent without joining them."""
    for frame in FRAMES:
        if stream._write_buffer is None:
            raise StreamClosedError()
        stream._write_buffer.append(frame)
        stream._total_write_index += len(frame)
    return stream.write(b"")


async def test_frames_leave_in_order_and_before_what_is_written_next(pair: Callable[..., Any]) -> None:
    a, b = pair()
    written = write_frames(a)
    a.write(b"end")
    assert await b.read_bytes(len(WHOLE)) == WHOLE
    assert await b.read_bytes(3) == b"end"
    await written
    assert a._total_write_index == len(WHOLE) + 3
    assert len(a._write_buffer) == 0
    assert not a.writing()
    a.close()
    b.close()


async def test_the_second_time_the_transport_is_there(pair: Callable[..., Any]) -> None:
    a, b = pair()
    for _ in range(3):
        write_frames(a)
        assert await b.read_bytes(len(WHOLE)) == WHOLE
    a.close()
    b.close()


async def test_under_tls(
    pair: Callable[..., Any], server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    a, b = pair()
    client, server = await asyncio.gather(
        a.start_tls(False, client_context, "localhost"), b.start_tls(True, server_context)
    )
    written = write_frames(client)
    assert await server.read_bytes(len(WHOLE)) == WHOLE
    await written
    client.close()
    server.close()


async def test_while_the_stream_connects() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stream = IOStream(socket.socket())
        connected = stream.connect(listener.getsockname())
        write_frames(stream)
        await connected
        accepted = IOStream(listener.accept()[0])
        assert await accepted.read_bytes(len(WHOLE)) == WHOLE
        stream.close()
        accepted.close()


async def test_over_a_pipe() -> None:
    reading, writing = os.pipe()
    source, sink = PipeIOStream(writing), PipeIOStream(reading)
    for _ in range(2):
        written = write_frames(source)
        assert len(source._write_buffer or b"") > 0
        assert await sink.read_bytes(len(WHOLE)) == WHOLE
        await written
    source.close()
    sink.close()


async def test_what_is_appended_waits_for_a_write_and_counts_as_unsent(pair: Callable[..., Any]) -> None:
    a, b = pair()
    a.max_write_buffer_size = 5
    a._write_buffer.append(b"abc")
    assert a.writing()
    assert len(a._write_buffer) == 3
    with pytest.raises(StreamBufferFullError):
        a.write(b"def")
    await a.write(b"de")
    assert await b.read_bytes(5) == b"abcde"
    a.close()
    b.close()


async def test_a_view_of_numbers_is_sent_as_bytes(pair: Callable[..., Any]) -> None:
    a, b = pair()
    numbers = array("d", range(10))
    a._write_buffer.append(memoryview(numbers))
    a.write(b"")
    assert await b.read_bytes(80) == numbers.tobytes()
    a.close()
    b.close()


async def test_once_closed_there_is_none(pair: Callable[..., Any]) -> None:
    a, b = pair()
    a.close()
    assert a._write_buffer is None
    with pytest.raises(StreamClosedError):
        write_frames(a)
    b.close()


async def test_how_much_has_arrived(pair: Callable[..., Any]) -> None:
    a, b = pair()
    a.write(b"a\nbc")
    assert await b.read_until(b"\n") == b"a\n"
    assert b._read_buffer_size == 2
    a.close()
    b.close()
