"""Tests of webfw.iostream.descriptor: a stream of a program's own over a descriptor."""

import asyncio
import errno
import os
import socket
from typing import Any

import pytest

from webfw.ioloop import IOLoop
from webfw.iostream import BaseIOStream, StreamClosedError

pytestmark = [
    pytest.mark.usefixtures("loop_kind"),
    pytest.mark.skipif(os.name == "nt", reason="needs loops that watch descriptors"),
]


class OwnStream(BaseIOStream):
    """A stream over a socket with the methods that the manual asks for."""

    fd_error: Exception | None = None

    def __init__(self, sock: socket.socket, **kwargs: Any) -> None:
        self.sock = sock
        sock.setblocking(False)
        super().__init__(**kwargs)

    def fileno(self) -> int:
        return self.sock.fileno()

    def close_fd(self) -> None:
        self.sock.close()

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        try:
            return self.sock.recv_into(buf)
        except BlockingIOError:
            return None

    def write_to_fd(self, data: memoryview) -> int:
        return self.sock.send(data)

    def get_fd_error(self) -> Exception | None:
        return self.fd_error


def own_pair(**kwargs: Any) -> tuple[OwnStream, socket.socket]:
    a, b = socket.socketpair()
    return OwnStream(a, **kwargs), b


async def test_both_ways() -> None:
    stream, peer = own_pair()
    peer.send(b"here already\n")
    assert stream.read_until(b"\n").result() == b"here already\n"
    waiting = stream.read_bytes(5)
    assert stream.io_loop.handlers
    peer.send(b"later")
    assert await waiting == b"later"
    await stream.write(b"answer")
    assert peer.recv(100) == b"answer"
    stream.close()
    peer.close()
    assert not stream.io_loop.handlers


async def test_reading_only_on_demand() -> None:
    stream, peer = own_pair()
    peer.send(b"abc")
    for _ in range(3):
        await asyncio.sleep(0)
    assert len(stream._buffer) == 0
    assert await stream.read_bytes(1) == b"a"
    assert not stream.io_loop.handlers
    stream.close()
    peer.close()


async def test_ten_megabytes_against_a_slow_reader() -> None:
    a, b = socket.socketpair()
    writer, reader = OwnStream(a), OwnStream(b, max_buffer_size=20_000_000, read_chunk_size=100_000)
    data = os.urandom(1000) * 10_000
    pieces = [writer.write(data[at : at + 999_983]) for at in range(0, len(data), 999_983)]
    assert not pieces[-1].done()
    assert writer.writing()
    received = b""
    while len(received) < len(data):
        received += await reader.read_bytes(1_000_000, partial=True)
    assert received == data
    await pieces[-1]
    assert all(piece.done() for piece in pieces)
    whole = reader.read_bytes(len(data))
    await writer.write(data)
    assert await whole == data
    writer.close()
    assert await reader.read_until_close() == b""


async def test_the_peers_end() -> None:
    stream, peer = own_pair()
    future = stream.read_until_close()
    peer.send(b"last words")
    peer.close()
    assert await future == b"last words"
    assert stream.closed()


async def test_the_close_callback_notices_an_idle_peer_going() -> None:
    stream, peer = own_pair()
    closed = asyncio.Event()
    stream.set_close_callback(closed.set)
    peer.send(b"x")
    while not len(stream._buffer):
        await asyncio.sleep(0)
    assert not stream.io_loop.handlers  # nothing more is read before this is taken
    peer.close()
    assert await stream.read_bytes(1) == b"x"
    await closed.wait()
    assert stream.closed()


async def test_an_error_of_the_descriptor() -> None:
    for own_error in (None, TimeoutError("own reason")):
        stream, peer = own_pair()
        stream.fd_error = own_error
        future = stream.read_bytes(1)

        def fail(buf: Any) -> int:
            raise ConnectionResetError(errno.ECONNRESET, "reset")

        stream.read_from_fd = fail  # type: ignore[method-assign]
        peer.send(b"x")
        with pytest.raises(StreamClosedError) as info:
            await future
        if own_error is None:
            assert isinstance(info.value.real_error, ConnectionResetError)
        else:
            assert info.value.real_error is own_error
        peer.close()


async def test_interruptions_are_not_errors() -> None:
    stream, peer = own_pair()
    failures: list[OSError] = [InterruptedError(), BlockingIOError()]
    real_read, real_write = stream.read_from_fd, stream.write_to_fd

    def read(buf: Any) -> int | None:
        if failures:
            raise failures.pop()
        return real_read(buf)

    def write(data: Any) -> int:
        if failures:
            failures.pop()
            return 0
        return real_write(data)

    stream.read_from_fd = read  # type: ignore[method-assign]
    stream.write_to_fd = write  # type: ignore[method-assign]
    peer.send(b"x")
    assert await stream.read_bytes(1) == b"x"
    failures.append(InterruptedError())
    await stream.write(b"y")
    assert peer.recv(1) == b"y"
    stream.close()
    peer.close()


async def test_writing_to_a_peer_that_has_gone() -> None:
    stream, peer = own_pair()
    peer.close()
    with pytest.raises(StreamClosedError) as info:
        await stream.write(b"x")
    assert isinstance(info.value.real_error, BrokenPipeError)
    assert stream.closed()


async def test_a_peer_that_goes_while_bytes_wait() -> None:
    stream, peer = own_pair()
    future = stream.write(b"x" * 5_000_000)
    assert not future.done()
    peer.close()
    with pytest.raises(StreamClosedError):
        await future
    assert not stream.io_loop.handlers


async def test_reading_and_waiting_to_write_at_once() -> None:
    stream, peer = own_pair()
    peer.setblocking(False)
    loop = asyncio.get_running_loop()
    written = stream.write(b"x" * 2_000_000)
    read = stream.read_bytes(3)
    await loop.sock_sendall(peer, b"abc")
    assert await read == b"abc"
    left = 2_000_000
    while left:
        left -= len(await loop.sock_recv(peer, 1_000_000))
    await written
    assert not stream.io_loop.handlers
    stream.close()
    peer.close()


async def test_an_endless_source_leaves_others_their_turn() -> None:
    stream, peer = own_pair(max_buffer_size=50_000_000)
    turns = 0

    def endless(buf: Any) -> int:
        buf[:5] = b"xxxxx"
        return 5

    def tick() -> None:
        nonlocal turns
        turns += 1
        if turns < 5:
            stream.io_loop.add_callback(tick)
        else:
            stream.close()

    stream.read_from_fd = endless  # type: ignore[method-assign]
    peer.send(b"x")
    future = stream.read_until_close()
    tick()
    assert set(await future) == {ord("x")}
    assert turns == 5
    peer.close()


async def test_descriptors_that_are_reused_at_once() -> None:
    for _ in range(50):
        stream, peer = own_pair()
        future = stream.read_bytes(1)
        stream.close()
        with pytest.raises(StreamClosedError):
            await future
        again = OwnStream(socket.socket(fileno=peer.detach()))
        future = again.read_until_close()
        assert await future == b""
        again.close()


def test_the_loop_closes_it_with_all_descriptors() -> None:
    loop = IOLoop(asyncio_loop=asyncio.new_event_loop(), make_current=False)
    a, b = socket.socketpair()

    async def begin() -> None:
        OwnStream(a).read_bytes(1)
        await asyncio.sleep(0)

    loop.run_sync(begin)
    loop.close(all_fds=True)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(a.detach())
    b.close()
