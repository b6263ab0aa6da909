"""Tests of webfw.httpclient.sending."""

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any

import pytest

from webfw.httpclient.connection import Connection
from webfw.httpclient.sending import Sender
from webfw.iostream import StreamClosedError
from webfw.sansio.http1 import HeadLimits
from webfw.testing.fakes import FakeWire

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")


class Bench:
    """A sender on a fake wire."""

    def __init__(
        self, producer: Callable[..., Any], length: int | None = None, capacity: int | None = None
    ) -> None:
        self.wire = FakeWire(capacity=capacity)
        self.connection = Connection(self.wire, "key", HeadLimits(), 1000, lambda _: None)  # type: ignore[arg-type]
        self.connection.sending = True
        self.errors: list[BaseException] = []
        self.ended = asyncio.Event()
        self.sender = Sender(
            self.connection, self.watch(producer), length, contextvars.copy_context(), self.fail
        )

    def watch(self, producer: Callable[..., Any]) -> Callable[..., Any]:
        async def watched(write: Any) -> None:
            try:
                result = producer(write)
                if result is not None:
                    await result
            finally:
                asyncio.get_running_loop().call_soon(self.ended.set)

        return watched

    def fail(self, error: BaseException) -> None:
        self.errors.append(error)


async def test_chunks() -> None:
    async def produce(write: Any) -> None:
        await write(b"ab")
        await write("")
        await write("ü")

    bench = Bench(produce)
    await bench.ended.wait()
    assert bench.wire.sent == b"2\r\nab\r\n2\r\n\xc3\xbc\r\n0\r\n\r\n"
    assert not bench.connection.sending
    assert not bench.errors
    bench.sender.stop()
    bench.sender.stop()


async def test_a_length() -> None:
    async def produce(write: Any) -> None:
        await write(b"ab")
        await write(b"c")

    bench = Bench(produce, 3)
    await bench.ended.wait()
    assert bench.wire.sent == b"abc"
    assert not bench.connection.sending


async def test_less_than_promised() -> None:
    bench = Bench(lambda write: write(b"ab"), 3)
    await bench.ended.wait()
    assert [str(error) for error in bench.errors] == [
        "body_producer has written 1 bytes less than its Content-Length"
    ]
    assert bench.connection.sending


@pytest.mark.parametrize("look", [True, False])
async def test_more_than_promised(look: bool) -> None:
    async def produce(write: Any) -> None:
        future = write(b"abcd")
        if look:
            await future

    bench = Bench(produce, 3)
    await bench.ended.wait()
    assert [str(error) for error in bench.errors] == [
        "body_producer has written more than its Content-Length"
    ]
    assert bench.wire.sent == b""


async def test_a_producer_that_fails() -> None:
    async def produce(write: Any) -> None:
        await write(b"ab")
        raise OSError("no more")

    bench = Bench(produce)
    await bench.ended.wait()
    assert [str(error) for error in bench.errors] == ["no more"]
    assert bench.wire.sent == b"2\r\nab\r\n"


async def test_a_producer_that_is_no_coroutine() -> None:
    bench = Bench(lambda write: write(b"ab") and None)
    await bench.ended.wait()
    assert bench.wire.sent == b"2\r\nab\r\n0\r\n\r\n"


async def test_a_slow_peer_holds_the_producer_back() -> None:
    written = []

    async def produce(write: Any) -> None:
        for number in range(3):
            await write(b"x" * 10)
            written.append(number)

    bench = Bench(produce, capacity=5)
    bench.wire.consumer = bench.connection
    for number in range(3):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert written == list(range(number))
        bench.wire.write_paused = False
        bench.wire._buffered = 0
        bench.sender.resume()
    await bench.ended.wait()
    assert written == [0, 1, 2]


async def test_stopping() -> None:
    cancelled = asyncio.Event()

    async def produce(write: Any) -> None:
        try:
            await write(b"x" * 10)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    bench = Bench(produce, capacity=5)
    await asyncio.sleep(0)
    bench.sender.stop()
    await cancelled.wait()
    await bench.ended.wait()
    assert not bench.errors
    assert bench.connection.sending
    with pytest.raises(StreamClosedError):
        await bench.sender.write(b"x")
    bench.sender.resume()


async def test_a_closed_connection() -> None:
    go = asyncio.Event()

    async def produce(write: Any) -> None:
        await go.wait()
        with pytest.raises(StreamClosedError):
            await write(b"x")

    bench = Bench(produce)
    bench.wire.close()
    go.set()
    await bench.ended.wait()
    assert bench.wire.sent == b""


async def test_the_context() -> None:
    seen = []

    async def produce(write: Any) -> None:
        seen.append(variable.get())

    token = variable.set("mine")
    bench = Bench(produce)
    variable.reset(token)
    await bench.ended.wait()
    assert seen == ["mine"]


async def test_the_loop_ends() -> None:
    bench = Bench(lambda write: asyncio.Event().wait())
    await asyncio.sleep(0)
    task = bench.sender._task
    assert task is not None
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [type(error) for error in bench.errors] == [asyncio.CancelledError]
