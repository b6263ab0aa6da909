"""Tests of webfw.iostream.pipe."""

import asyncio
import errno
import os

import pytest

from webfw.iostream import PipeIOStream, StreamClosedError

pytestmark = [
    pytest.mark.usefixtures("loop_kind"),
    pytest.mark.skipif(os.name == "nt", reason="needs POSIX pipes"),
]


def pipe() -> tuple[PipeIOStream, PipeIOStream]:
    reader, writer = os.pipe()
    return PipeIOStream(reader), PipeIOStream(writer)


async def test_through_a_pipe() -> None:
    reader, writer = pipe()
    assert os.get_blocking(reader.fileno()) is False
    waiting = reader.read_until(b"there")
    await writer.write(b"hello ")
    await writer.write(b"there and here")
    assert await waiting == b"hello there"
    writer.close()
    assert await reader.read_until_close() == b" and here"
    assert reader.closed()
    assert (reader.fd, writer.fd) == (-1, -1)
    reader.close_fd()


async def test_ten_megabytes() -> None:
    reader, writer = pipe()
    data = b"0123456789" * 1_000_000
    written = writer.write(data)
    assert not written.done()
    assert await reader.read_bytes(len(data)) == data
    await written
    writer.close()
    reader.close()


async def test_partial_reads_into_a_buffer() -> None:
    reader, writer = pipe()
    buffer = bytearray(10)
    await writer.write(b"abc")
    assert await reader.read_into(buffer, partial=True) == 3
    whole = reader.read_into(buffer)
    await writer.write(b"0123456789")
    assert await whole == 10
    assert buffer == b"0123456789"
    reader.close()
    writer.close()


async def test_the_writing_end_notices_the_reader_going() -> None:
    reader, writer = pipe()
    closed = asyncio.Event()
    writer.set_close_callback(closed.set)
    reader.close()
    await closed.wait()
    with pytest.raises(StreamClosedError):
        writer.write(b"x")


async def test_writing_to_a_pipe_without_reader() -> None:
    reader, writer = pipe()
    reader.close()
    with pytest.raises(StreamClosedError) as info:
        await writer.write(b"x")
    assert isinstance(info.value.real_error, BrokenPipeError)


async def test_an_error_in_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = pipe()

    def fail(fd: int, buffers: object) -> int:
        raise OSError(errno.EIO, "broken disk")

    with monkeypatch.context() as patch:
        patch.setattr(os, "readv", fail)
        future = reader.read_bytes(1)
    with pytest.raises(StreamClosedError) as info:
        await future
    assert isinstance(info.value.real_error, OSError)
    writer.close()


async def test_pipes_that_are_reused_at_once() -> None:
    for number in range(50):
        reader, writer = pipe()
        future = reader.read_until_close()
        await writer.write(b"%d" % number)
        writer.close()
        assert await future == b"%d" % number


def test_not_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "name", "nt")
    with pytest.raises(RuntimeError, match="POSIX"):
        PipeIOStream(0)
