"""Tests of webfw.iostream.transport: streams over real sockets, and how they come to their transport."""

import asyncio
import os
import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest

from webfw.ioloop import IOLoop
from webfw.iostream import IOStream, StreamClosedError, Wire, transport

pytestmark = pytest.mark.usefixtures("loop_kind")

Pair = Callable[..., tuple[IOStream, IOStream]]
Sockets = Callable[[], tuple[socket.socket, socket.socket]]


def reset(sock: socket.socket) -> None:
    """Close with a TCP reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


async def attached(*streams: IOStream) -> None:
    for stream in streams:
        stream._engine.attach()
        while not stream._engine.attached:
            await asyncio.sleep(0)


async def wait_until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)  # the loop looks at its sockets in every turn


async def test_both_ways(pair: Pair) -> None:
    a, b = pair()
    waiting = b.read_until(b"\n")
    await a.write(b"question\n")
    assert await waiting == b"question\n"
    await b.write(b"answer")
    assert await a.read_bytes(6) == b"answer"
    a.close()
    assert await b.read_until_close() == b""


async def test_nothing_happens_before_it_is_needed(pair: Pair) -> None:
    a, b = pair()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not a._engine.attached
    assert a.write(b"through the bare socket").done()
    assert not a._engine.attached
    assert await b.read_bytes(23) == b"through the bare socket"
    a.close()
    b.close()


async def test_writes_before_the_transport_keep_their_order(pair: Pair) -> None:
    a, b = pair()
    big = os.urandom(1000) * 20_000
    writes = [a.write(b"first"), a.write(big), a.write(b"second"), a.write(b"")]
    assert a.writing()
    assert [write.done() for write in writes] == [True, False, False, False]
    assert await b.read_bytes(5) == b"first"
    assert await b.read_bytes(len(big)) == big
    assert await b.read_bytes(6) == b"second"
    await asyncio.gather(*writes)
    assert not a.writing()
    a.close()
    b.close()


async def test_ten_megabytes_against_a_slow_reader(pair: Pair) -> None:
    a, b = pair()
    data = os.urandom(1000) * 10_000
    received = 0

    async def send() -> None:
        for at in range(0, len(data), 1_000_000):
            await a.write(data[at : at + 1_000_000])
        a.close()

    sending = asyncio.create_task(send())
    while True:
        try:
            piece = await b.read_bytes(70_000, partial=True)
        except StreamClosedError:
            break
        assert piece == data[received : received + len(piece)]
        received += len(piece)
        if received % 7 == 0:
            await asyncio.sleep(0)
    assert received == len(data)
    await sending


async def test_reading_pauses_while_nobody_reads(pair: Pair) -> None:
    a, b = pair()
    await attached(a, b)
    data = b"x" * 20_000_000
    future = a.write(data)
    await wait_until(lambda: b._engine._paused)
    ahead = len(b._buffer)
    assert transport.READ_AHEAD <= ahead < 2 * transport.READ_AHEAD
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(b._buffer) == ahead
    assert not future.done()
    assert await b.read_bytes(10) == b"x" * 10
    assert b._engine._paused
    assert await b.read_bytes(len(data) - 10) == data[10:]
    await future
    a.close()
    b.close()


async def test_a_small_read_buffer_pauses_sooner(pair: Pair) -> None:
    a, b = pair(max_buffer_size=10)
    await attached(b)
    await a.write(b"x" * 10)
    await wait_until(lambda: b._engine._paused)
    assert await b.read_bytes(10) == b"x" * 10
    await a.write(b"y" * 10)
    assert await b.read_bytes(10) == b"y" * 10
    a.close()
    b.close()


async def test_a_paused_stream_still_notices_the_close_when_it_was_read(pair: Pair) -> None:
    a, b = pair(max_buffer_size=10)
    closed = asyncio.Event()
    b.set_close_callback(closed.set)
    await a.write(b"x" * 10)
    await wait_until(lambda: b._engine.attached and b._engine._paused)
    a.close()
    assert await b.read_bytes(10) == b"x" * 10
    await closed.wait()


# --- the end ---


@pytest.mark.parametrize("length", range(9))
async def test_a_close_after_any_byte(pair: Pair, length: int) -> None:
    a, b = pair()
    message = b"ab\r\ncd\r\n"[:length]
    if message:
        await a.write(message)
    a.close()
    for _ in range(length // 4):
        assert len(await b.read_until(b"\r\n")) == 4
    with pytest.raises(StreamClosedError) as info:
        await b.read_until(b"\r\n")
    assert info.value.real_error is None
    assert await b.read_until_close() == message[length // 4 * 4 :]
    assert b.closed()
    assert b.socket is None


async def test_the_peer_may_close_only_its_sending_side(sockets: Sockets) -> None:
    a, peer = sockets()
    stream = IOStream(a)
    peer.send(b"question\n")
    peer.shutdown(socket.SHUT_WR)
    assert await stream.read_until(b"\n") == b"question\n"
    await wait_until(lambda: stream._at_end)
    data = b"answer" * 500_000
    writing = stream.write(data)
    loop = asyncio.get_running_loop()
    peer.setblocking(False)
    received = b""
    while len(received) < len(data):
        received += await loop.sock_recv(peer, 1_000_000)
    await writing
    stream.close()
    assert await loop.sock_recv(peer, 1) == b""


async def test_a_reset_while_reading(sockets: Sockets) -> None:
    a, peer = sockets()
    stream = IOStream(a)
    future = stream.read_bytes(1)
    await attached(stream)
    reset(peer)
    with pytest.raises(StreamClosedError) as info:
        await future
    assert isinstance(info.value.real_error, ConnectionResetError)
    assert stream.error is info.value.real_error


async def test_a_reset_while_writing(sockets: Sockets) -> None:
    a, peer = sockets()
    stream = IOStream(a)
    future = stream.write(b"x" * 20_000_000)
    await attached(stream)
    reset(peer)
    with pytest.raises(StreamClosedError) as info:
        await future
    assert isinstance(info.value.real_error, (ConnectionResetError, BrokenPipeError))


async def test_writing_to_a_peer_that_has_gone() -> None:
    for attach_first in (False, True):
        a, b = socket.socketpair()
        stream = IOStream(a)
        if attach_first:
            await attached(stream)
        b.close()
        with pytest.raises(StreamClosedError) as info:
            await stream.write(b"x")
        assert isinstance(info.value.real_error, (BrokenPipeError, ConnectionResetError))
        assert stream.closed()


async def test_writing_on_after_the_transport_is_lost(pair: Pair) -> None:
    a, b = pair()
    await attached(a, b)
    await b.write(b"unread")
    await wait_until(lambda: a._buffer)
    a._engine.wire.close()  # as the transport does when it fails on its own
    await wait_until(lambda: a._engine._lost)
    assert not a.closed()
    assert a._engine.unsent() == 0
    with pytest.raises(StreamClosedError) as info:
        await a.write(b"x")
    assert isinstance(info.value.real_error, BrokenPipeError)
    assert await a.read_bytes(6) == b"unread"
    b.close()


async def test_writes_that_wait_fail_when_the_transport_is_lost(pair: Pair) -> None:
    a, b = pair()
    await attached(a, b)
    await b.write(b"unread")
    await wait_until(lambda: a._buffer)
    future = a.write(b"x" * 20_000_000)
    a._engine.wire.abort()
    with pytest.raises(StreamClosedError):
        await future
    b.close()


async def test_the_close_callback_notices_an_idle_peer_going(pair: Pair) -> None:
    a, b = pair()
    closed = asyncio.Event()
    b.set_close_callback(closed.set)
    a.close()
    await closed.wait()
    assert b.closed()


async def test_what_was_written_is_sent_after_a_close(pair: Pair) -> None:
    for attach_first in (True, False):
        a, b = pair()
        if attach_first:
            await attached(a)
        data = os.urandom(5_000_000)
        future = a.write(data)
        a.close()
        assert a.closed()
        with pytest.raises(StreamClosedError):
            await future
        assert await b.read_until_close() == data
        await wait_until(lambda engine=a._engine: engine._lost)
        assert a._engine._linger is None


async def test_it_is_given_up_when_the_peer_never_reads(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "LINGER", 0.01)
    a, b = pair()
    await attached(a)
    a.write(b"x" * 20_000_000)
    a.close()
    await wait_until(lambda: a._engine._lost)
    b.close()


async def test_a_close_for_an_error_sends_nothing_more(pair: Pair) -> None:
    a, b = pair()
    await attached(a)
    a.write(b"x" * 20_000_000)
    a.close(exc_info=ValueError("no"))
    try:
        received = await b.read_until_close()
    except StreamClosedError:
        received = b""
    assert len(received) < 20_000_000
    a, b = pair()
    a.write(b"x" * 20_000_000)
    a.close(exc_info=ValueError("no"))
    try:
        received = await b.read_until_close()
    except StreamClosedError:
        received = b""
    assert len(received) < 20_000_000


@pytest.mark.parametrize("turns", range(6))
async def test_closing_at_any_moment_of_the_attaching(pair: Pair, turns: int) -> None:
    a, b = pair()
    future = a.read_bytes(1)
    for _ in range(turns):
        await asyncio.sleep(0)
    a.close()
    with pytest.raises(StreamClosedError):
        await future
    assert await b.read_until_close() == b""


async def test_a_stream_that_was_never_used_closes_its_socket(sockets: Sockets) -> None:
    a, _b = sockets()
    stream = IOStream(a)
    stream.close()
    assert a.fileno() == -1


async def test_cancelling_the_attaching_task(pair: Pair) -> None:
    a, b = pair()
    future = a.read_bytes(1)
    await asyncio.sleep(0)
    task = a._engine._task
    assert task is not None
    task.cancel()
    with pytest.raises(StreamClosedError) as info:
        await future
    assert isinstance(info.value.real_error, asyncio.CancelledError)
    assert task.cancelled()
    b.close()


async def test_bytes_for_a_closed_stream_are_dropped(pair: Pair) -> None:
    a, b = pair()
    await attached(a)
    engine = a._engine
    a.write(b"x" * 20_000_000)
    a.close()
    engine.data_received(b"late")
    assert engine.eof_received() is False
    engine.resume_writing()
    engine.update()
    engine._gone()
    engine.close()
    b.close()
    await wait_until(lambda: engine._lost)


def test_the_loop_closes_streams_with_all_descriptors(loop_kind: str) -> None:
    loop = IOLoop(asyncio_loop=asyncio.new_event_loop(), make_current=False)
    a, b = socket.socketpair()
    made: list[IOStream] = []

    async def begin() -> None:
        for sock in (a, b):
            stream = IOStream(sock)
            await attached(stream)
            made.append(stream)

    loop.run_sync(begin)
    loop.close(all_fds=True)
    assert all(stream.closed() for stream in made)
    assert (a.fileno(), b.fileno()) == (-1, -1)


async def test_a_closed_stream_and_its_engine_are_no_cycle(pair: Pair) -> None:
    a, b = pair()
    await attached(a, b)
    a.close()
    b.close()
    await asyncio.sleep(0)
    assert a._engine._stream is None


async def test_from_a_wire_and_back(sockets: Sockets) -> None:
    a, peer = sockets()
    loop = asyncio.get_running_loop()
    wires: list[Wire] = []
    await loop.connect_accepted_socket(lambda: Wire(loop, wires.append), a)
    (wire,) = wires
    stream = IOStream.from_wire(wire, b"early ", max_buffer_size=1000)
    assert stream.max_buffer_size == 1000
    assert stream.socket.getsockname() == peer.getpeername()
    peer.send(b"later")
    assert await stream.read_bytes(11) == b"early later"
    peer.send(b"leftover")
    await wait_until(lambda: len(stream._buffer) == 8)
    assert stream.detach_wire() == (wire, b"leftover")
    assert stream.closed()
    assert stream.socket is None
    with pytest.raises(StreamClosedError):
        stream.detach_wire()
    again = IOStream.from_wire(wire)
    peer.send(b"more")
    assert await again.read_bytes(4) == b"more"
    again.close()


async def test_a_paused_wire_is_given_away_reading(pair: Pair) -> None:
    a, b = pair(max_buffer_size=4)
    await attached(b)
    await a.write(b"abcd")
    await wait_until(lambda: b._engine._paused)
    wire, early = b.detach_wire()
    stream = IOStream.from_wire(wire, early)
    await a.write(b"efgh")
    assert await stream.read_bytes(8) == b"abcdefgh"
    stream.close()
    a.close()


async def test_a_busy_stream_is_not_given_away(pair: Pair) -> None:
    a, b = pair()
    with pytest.raises(RuntimeError, match="not idle"):
        a.detach_wire()
    await attached(a)
    future = a.read_bytes(1)
    with pytest.raises(RuntimeError, match="not idle"):
        a.detach_wire()
    b.close()
    with pytest.raises(StreamClosedError):
        await future


async def test_a_consumer_on_a_socket(pair: Pair) -> None:
    class Consumer:
        def __init__(self) -> None:
            self.data = b""
            self.events: list[Any] = []

        def data_received(self, data: bytes) -> None:
            self.data += data

        def eof_received(self) -> bool:
            self.events.append("eof")
            return True

        def connection_lost(self, exc: Exception | None) -> None:
            self.events.append(exc)
            lost.set()

        def resume_writing(self) -> None:
            self.events.append("resume")

    lost = asyncio.Event()
    consumer = Consumer()
    a, b = pair()
    await a.write(b"early")
    assert await b.read_bytes(1) == b"e"
    b.set_consumer(consumer)
    data = b"x" * 1_000_000
    await a.write(data)
    await wait_until(lambda: len(consumer.data) == 4 + len(data))
    big = b.write(b"y" * 20_000_000)
    assert len(await a.read_bytes(20_000_000)) == 20_000_000
    await big
    assert consumer.events.count("resume") == 1
    a.close()
    await wait_until(lambda: "eof" in consumer.events)
    assert not b.closed()
    b.close()
    await lost.wait()
    assert consumer.events == ["resume", "eof", None]


async def test_a_consumer_hears_when_the_connection_is_lost(pair: Pair) -> None:
    lost: asyncio.Future[Any] = asyncio.Future()

    class Consumer:
        data_received = eof_received = resume_writing = lambda *args: True

        def connection_lost(self, exc: Exception | None) -> None:
            lost.set_result(exc)

    a, b = pair()
    await attached(b)
    b.set_consumer(Consumer())  # type: ignore[arg-type]
    b._engine.wire.abort()
    assert await lost is None
    assert b.closed()
    a.close()
