"""Tests of webfw.httpclient.receiving."""

import asyncio
import contextvars
import gzip
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from webfw.httpclient.receiving import Gathered, Streamed, undo_coding
from webfw.httputil import HTTPHeaders
from webfw.sansio.decompress import decoder_for
from webfw.sansio.errors import RemoteProtocolError

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")


class Bench:
    """What is streamed, and how it goes on."""

    def __init__(self, callback: Callable[[bytes], Any], decoder: Any = None, max_size: int = 1000) -> None:
        self.resumed = asyncio.Event()
        self.errors: list[BaseException] = []
        self.failed = asyncio.Event()
        self.body = Streamed(
            decoder, max_size, callback, contextvars.copy_context(), self.resumed.set, self.fail
        )

    def fail(self, error: BaseException) -> None:
        self.errors.append(error)
        self.failed.set()


@pytest.mark.parametrize("coding", ["gzip", "X-GZIP", "deflate", "br"])
def test_what_is_undone(coding: str) -> None:
    headers = HTTPHeaders({"Content-Encoding": coding, "Content-Length": "7"})
    assert undo_coding(headers, 1000) is not None
    assert dict(headers) == {"Content-Length": "7", "X-Consumed-Content-Encoding": coding}


@pytest.mark.parametrize("coding", ["identity", "compress", "gzip, br", "", None])
def test_what_is_left_alone(coding: str | None) -> None:
    headers = HTTPHeaders() if coding is None else HTTPHeaders({"Content-Encoding": coding})
    before = dict(headers)
    assert undo_coding(headers, 1000) is None
    assert dict(headers) == before


def test_gathered() -> None:
    body = Gathered(None, 4)
    assert body.take(b"ab")
    assert body.take(b"cd")
    buffer = body.finish()
    assert buffer is not None
    assert buffer.read() == b"abcd"
    with pytest.raises(RemoteProtocolError, match="too large"):
        body.take(b"e")
    body.stop()


def test_gathered_and_decompressed() -> None:
    body = Gathered(decoder_for("gzip", 1000), 1)
    for byte in gzip.compress(b"hello" * 100):
        body.take(bytes([byte]))
    buffer = body.finish()
    assert buffer is not None
    assert buffer.read() == b"hello" * 100


def test_gathered_and_cut_or_too_large() -> None:
    body = Gathered(decoder_for("gzip", 1000), 1)
    body.take(gzip.compress(b"hello")[:-1])
    with pytest.raises(RemoteProtocolError, match="cut short"):
        body.finish()
    body = Gathered(decoder_for("deflate", 1000), 1)
    with pytest.raises(RemoteProtocolError, match="over 1000 bytes"):
        body.take(zlib.compress(b"x" * 1001))


async def test_streamed() -> None:
    pieces: list[bytes] = []
    bench = Bench(pieces.append, max_size=4)
    assert bench.body.take(b"ab")
    assert bench.body.take(b"cd")
    assert bench.body.finish() is None
    assert pieces == [b"ab", b"cd"]
    with pytest.raises(RemoteProtocolError, match="too large"):
        bench.body.take(b"e")
    bench.body.stop()


async def test_streamed_and_decompressed() -> None:
    pieces: list[bytes] = []
    bench = Bench(pieces.append, decoder_for("gzip", 1000000))
    data = b"x" * 300000
    assert bench.body.take(gzip.compress(data))
    bench.body.finish()
    assert b"".join(pieces) == data
    assert len(pieces) > 3
    bench = Bench(pieces.append, decoder_for("gzip", 1000))
    bench.body.take(gzip.compress(b"x")[:-1])
    with pytest.raises(RemoteProtocolError, match="cut short"):
        bench.body.finish()


async def test_a_coroutine_holds_the_rest_back() -> None:
    pieces: list[bytes] = []
    go = asyncio.Semaphore(0)

    async def callback(piece: bytes) -> None:
        await go.acquire()
        pieces.append(piece)

    data = b"x" * 200000
    bench = Bench(callback, decoder_for("gzip", 1000000))
    assert not bench.body.take(gzip.compress(data))
    await asyncio.sleep(0)
    assert not pieces
    go.release()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(pieces) == 1
    assert not bench.resumed.is_set()
    for _ in range(10):
        go.release()
    await bench.resumed.wait()
    assert b"".join(pieces) == data


async def test_plain_and_coroutine_by_turns() -> None:
    pieces: list[bytes] = []

    def callback(piece: bytes) -> Any:
        pieces.append(piece)
        return asyncio.sleep(0) if len(pieces) % 2 else None

    bench = Bench(callback, decoder_for("gzip", 1000000))
    assert not bench.body.take(gzip.compress(b"x" * 300000))
    await bench.resumed.wait()
    assert sum(map(len, pieces)) == 300000


async def test_a_callback_that_fails() -> None:
    def fail(piece: bytes) -> None:
        raise KeyError("x")

    async def fail_later(piece: bytes) -> None:
        raise KeyError("y")

    with pytest.raises(KeyError, match="x"):
        Bench(fail).body.take(b"x")
    bench = Bench(fail_later)
    assert not bench.body.take(b"x")
    await bench.failed.wait()
    assert [repr(error) for error in bench.errors] == ["KeyError('y')"]
    assert not bench.resumed.is_set()


async def test_what_comes_while_it_waits_may_be_malformed() -> None:
    bench = Bench(lambda _: asyncio.sleep(0), decoder_for("gzip", 100000))
    assert not bench.body.take(gzip.compress(b"x" * 150000))
    await bench.failed.wait()
    assert "over 100000 bytes" in str(bench.errors[0])


async def test_stopping() -> None:
    ended = asyncio.Event()

    async def callback(piece: bytes) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    bench = Bench(callback)
    assert not bench.body.take(b"x")
    await asyncio.sleep(0)
    bench.body.stop()
    await ended.wait()
    await asyncio.sleep(0)
    assert not bench.errors
    assert not bench.resumed.is_set()


async def test_stopping_at_once() -> None:
    bench = Bench(lambda _: asyncio.sleep(0))
    assert not bench.body.take(b"x")
    bench.body.stop()  # with no warning that the coroutine was never awaited
    future: asyncio.Future[None] = asyncio.Future()
    bench = Bench(lambda _: future)
    assert not bench.body.take(b"x")
    bench.body.stop()
    await asyncio.sleep(0)
    assert not future.done()


async def test_the_context() -> None:
    seen = []

    async def callback(piece: bytes) -> None:
        seen.append(variable.get())

    token = variable.set("mine")
    bench = Bench(callback)
    variable.reset(token)
    bench.body.take(b"x")
    await bench.resumed.wait()
    assert seen == ["mine"]


async def test_the_loop_ends() -> None:
    bench = Bench(lambda _: asyncio.Event().wait())
    bench.body.take(b"x")
    await asyncio.sleep(0)
    task = bench.body._task
    assert task is not None
    task.cancel()
    await bench.failed.wait()
    assert isinstance(bench.errors[0], asyncio.CancelledError)
