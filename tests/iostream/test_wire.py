"""A wire over real sockets: what asyncio calls reaches the consumer, once and in order."""

import asyncio
import gc
import socket
import struct
import sys
import weakref
from typing import Any

import pytest

from webfw.iostream.wire import READ_BUFFER_SIZE, Wire


class Consumer:
    def __init__(self, keep_open: bool = False) -> None:
        self.received = b""
        self.reads: list[int] = []
        self.lost: list[Exception | None] = []
        self.resumed = 0
        self.keep_open = keep_open
        self.event = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        assert type(data) is bytes
        self.received += data
        self.reads.append(len(data))
        self.event.set()

    def eof_received(self) -> bool:
        self.event.set()
        return self.keep_open

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)
        self.event.set()

    def resume_writing(self) -> None:
        self.resumed += 1
        self.event.set()

    async def until(self, condition: Any) -> None:
        while not condition():
            self.event.clear()
            await self.event.wait()


async def connect(keep_open: bool = False) -> tuple[Wire, Consumer, socket.socket]:
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    loop = asyncio.get_running_loop()
    consumer = Consumer(keep_open)
    made: list[Wire] = []

    def connected(wire: Wire) -> None:
        made.append(wire)
        wire.consumer = consumer

    _, wire = await loop.create_connection(lambda: Wire(loop, connected), sock=near)
    assert made == [wire]
    return wire, consumer, far


async def test_bytes_arrive_as_they_are_read() -> None:
    wire, consumer, far = await connect()
    loop = asyncio.get_running_loop()
    data = bytes(range(256)) * 1024
    await asyncio.gather(
        loop.sock_sendall(far, data), consumer.until(lambda: len(consumer.received) == len(data))
    )
    assert consumer.received == data
    assert max(consumer.reads) <= READ_BUFFER_SIZE
    wire.close()
    await consumer.until(lambda: consumer.lost)
    assert consumer.lost == [None]
    far.close()


async def test_two_wires_share_a_buffer_and_nothing_else() -> None:
    one, first, far_one = await connect()
    two, second, far_two = await connect()
    assert one.get_buffer(-1) is two.get_buffer(-1)
    far_one.send(b"one")
    far_two.send(b"two")
    await first.until(lambda: first.received)
    await second.until(lambda: second.received)
    assert (first.received, second.received) == (b"one", b"two")
    assert one.get_extra_info("nothing", 5) == 5
    for wire, consumer, far in ((one, first, far_one), (two, second, far_two)):
        wire.abort()
        await consumer.until(lambda consumer=consumer: consumer.lost)
        far.close()


async def test_writing_pauses_and_resumes() -> None:
    wire, consumer, far = await connect()
    loop = asyncio.get_running_loop()
    size = 4_000_000
    wire.write(b"x" * size)
    assert wire.write_paused
    assert wire.write_buffer_size > 0
    left = size
    while left:
        left -= len(await loop.sock_recv(far, 1 << 20))
    await consumer.until(lambda: consumer.resumed)
    assert not wire.write_paused
    wire.close()
    wire.close()
    wire.write(b"dropped without a warning")
    await consumer.until(lambda: consumer.lost)
    far.close()


async def test_half_close() -> None:
    wire, consumer, far = await connect(keep_open=True)
    far.shutdown(socket.SHUT_WR)
    await consumer.until(lambda: consumer.event.is_set())
    assert not wire.closing
    assert wire.closed()  # for a program that asks whether somebody still listens
    wire.write(b"bye")
    wire.write_eof()
    wire.write(b"dropped")
    loop = asyncio.get_running_loop()
    assert await loop.sock_recv(far, 100) == b"bye"
    assert await loop.sock_recv(far, 100) == b""
    wire.close()
    await consumer.until(lambda: consumer.lost)
    far.close()


async def test_reading_pauses() -> None:
    wire, consumer, far = await connect()
    wire.pause_reading()
    far.send(b"later")
    for _ in range(5):
        await asyncio.sleep(0)
    assert consumer.received == b""
    wire.resume_reading()
    await consumer.until(lambda: consumer.received)
    assert wire.socket.fileno() > 0
    far.close()
    await consumer.until(lambda: consumer.lost)
    wire.resume_reading()  # on a closed wire: nothing


async def test_the_consumer_can_be_swapped() -> None:
    wire, first, far = await connect()
    second = Consumer()
    far.send(b"one")
    await first.until(lambda: first.received)
    wire.consumer = second
    far.send(b"two")
    await second.until(lambda: second.received)
    assert (first.received, second.received) == (b"one", b"two")
    far.close()
    await second.until(lambda: second.lost)
    assert first.lost == []


async def test_a_wire_nobody_listens_to_is_silent() -> None:
    wire = Wire(asyncio.get_running_loop(), lambda wire: None)
    wire.write(b"nowhere")
    wire.buffer_updated(3)
    wire.resume_writing()
    assert wire.eof_received() is False
    wire.connection_lost(None)
    assert wire.closing


@pytest.mark.parametrize("how", ["close", "abort"])
async def test_after_the_end_nothing_is_written(how: str) -> None:
    wire, consumer, far = await connect()
    getattr(wire, how)()
    for _ in range(20):
        wire.write(b"x")  # asyncio itself would log a warning
    await consumer.until(lambda: consumer.lost)
    far.close()


async def test_after_the_end_of_the_peer_nothing_is_written_unless_the_consumer_keeps_it_open() -> None:
    """The transport closes itself then, and would log a warning of every further write."""
    wire, consumer, far = await connect(keep_open=False)
    wire.write(b"before")
    far.shutdown(socket.SHUT_WR)
    await consumer.until(lambda: wire.closed())
    for _ in range(20):
        wire.write(b"x")
    await consumer.until(lambda: consumer.lost)
    assert await asyncio.get_running_loop().sock_recv(far, 100) == b"before"
    far.close()


async def test_a_lost_wire_takes_orders_in_silence() -> None:
    wire, consumer, far = await connect()
    wire.abort()
    await consumer.until(lambda: consumer.lost)
    wire.pause_reading()
    wire.resume_reading()
    wire.write_eof()
    wire.close()
    wire.abort()
    assert wire.write_buffer_size == 0
    assert wire.taken() == 0
    far.close()


async def tcp_pair(consumer: Consumer) -> tuple[Wire, socket.socket]:
    """A wire over TCP, and its peer, whose receive buffer is small."""
    loop = asyncio.get_running_loop()
    made: list[Wire] = []

    def connected(wire: Wire) -> None:
        wire.consumer = consumer
        made.append(wire)

    server = await loop.create_server(lambda: Wire(loop, connected), "127.0.0.1", 0)
    far = socket.socket()
    far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    far.setblocking(False)
    await loop.sock_connect(far, server.sockets[0].getsockname())
    while not made:
        await asyncio.sleep(0)
    server.close()
    return made[0], far


async def test_the_error_that_is_kept_keeps_nothing_else() -> None:
    """It may have come up in a write, in the frames of a program that has long gone on."""
    wire, consumer, far = await connect()
    far.close()

    def use() -> weakref.ref[Consumer]:
        thing = Consumer()
        wire.write(b"x")
        return weakref.ref(thing)

    gc.disable()
    try:
        thing = use()
        await consumer.until(lambda: consumer.lost)
        assert isinstance(wire.error, OSError)
        assert wire.error.__traceback__ is None
        assert thing() is None
    finally:
        gc.enable()


async def test_the_error_that_has_ended_it_is_kept() -> None:
    consumer = Consumer()
    wire, far = await tcp_pair(consumer)
    assert wire.error is None
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    far.close()  # with a reset
    await consumer.until(lambda: consumer.lost)
    assert isinstance(wire.error, ConnectionResetError)
    assert consumer.lost == [wire.error]

    wire, consumer, far = await connect()
    far.close()
    await consumer.until(lambda: consumer.lost)
    assert wire.error is None


async def test_what_the_peer_has_taken() -> None:
    consumer = Consumer()
    wire, far = await tcp_pair(consumer)
    loop = asyncio.get_running_loop()
    wire.write(b"x" * 8_000_000)
    before = wire.taken()
    buffered = wire.write_buffer_size
    assert buffered > 0
    while wire.taken() != before:  # until the windows are full
        before = wire.taken()
        await asyncio.sleep(0.01)
    read = 0
    while wire.taken() == before:
        read += len(await loop.sock_recv(far, 4096))
    if sys.platform == "linux":
        # Long before the kernel asks for more.
        assert read < 1_000_000
        assert wire.taken() > before > 0
    wire.abort()
    await consumer.until(lambda: consumer.lost)
    far.close()


async def test_where_the_kernel_does_not_say_what_is_taken_the_buffer_does() -> None:
    wire, consumer, far = await connect()
    wire.write(b"x" * 4_000_000)
    assert wire.taken() == -wire.write_buffer_size < 0
    wire.abort()
    await consumer.until(lambda: consumer.lost)
    far.close()


@pytest.mark.parametrize("how", ["close", "abort", "write_eof"])
async def test_a_consumer_may_end_it_when_the_buffer_has_drained(how: str) -> None:
    """asyncio calls that in the middle of writing, and would tell of the end twice."""
    wire, consumer, far = await connect(keep_open=True)
    ended: list[bool] = []

    def resume() -> None:
        if not ended:
            ended.append(True)
            wire.transport.set_write_buffer_limits()
            getattr(wire, how)()

    consumer.resume_writing = resume  # type: ignore[method-assign]
    wire.transport.set_write_buffer_limits(high=0)  # so that it has drained when it is empty
    loop = asyncio.get_running_loop()
    wire.write(b"x" * 1_000_000)
    left = 1_000_000
    while left:
        left -= len(await loop.sock_recv(far, 1 << 20))
    assert await loop.sock_recv(far, 1) == b""
    assert ended
    if how == "write_eof":
        wire.close()
    await consumer.until(lambda: consumer.lost)
    await asyncio.sleep(0)
    assert consumer.lost == [None]
    far.close()


@pytest.mark.parametrize("package", ["asyncio", "uvloop"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)], ids=repr)
def test_what_is_to_end_the_program_ends_the_loop(package: str, error: BaseException) -> None:
    """Such as Ctrl-C while a request is answered: uvloop takes what a protocol raises for the connection's error."""
    loop = pytest.importorskip(package).new_event_loop()
    near, far = socket.socketpair()
    near.setblocking(False)

    class Interrupted(Consumer):
        def data_received(self, data: bytes) -> None:
            raise error

    def connected(wire: Wire) -> None:
        wire.consumer = Interrupted()

    try:
        _, wire = loop.run_until_complete(loop.create_connection(lambda: Wire(loop, connected), sock=near))
        far.send(b"x")
        loop.call_later(10, loop.stop)
        with pytest.raises(type(error)) as raised:
            loop.run_forever()
        assert raised.value is error
        wire.abort()
        loop.run_until_complete(asyncio.sleep(0))
    finally:
        far.close()
        loop.close()


async def test_a_transport_that_closes_itself_is_closed() -> None:
    """After a write has failed; it says so to the wire only in the next turn."""

    class Failing:
        closing = False

        def is_closing(self) -> bool:
            return self.closing

        def write(self, data: bytes) -> None:
            self.closing = True

    wire = Wire(asyncio.get_running_loop(), lambda wire: None)
    wire.connection_made(Failing())  # type: ignore[arg-type]
    assert not wire.closed()
    wire.write(b"x")
    assert wire.closed()
    assert not wire.closing
