"""Bodies on their way in: limits, deadlines, compressed ones, and sinks that want to be waited for."""

import asyncio
import gzip
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from webfw.httpserver import DONE, Exchange, Limits
from webfw.httputil import HTTPHeaders

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n"
GZIP = HEAD + b"Content-Encoding: gzip\r\n"


def length(size: int) -> bytes:
    return b"Content-Length: %d\r\n\r\n" % size


class Sink:
    """Takes a body; `wait` says what each piece has to wait for."""

    def __init__(self, exchange: Exchange, wait: Callable[[bytes], Any] = lambda chunk: None) -> None:
        self.exchange, self.wait = exchange, wait
        self.chunks: list[bytes] = []
        self.gone = False

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        assert chunk
        self.chunks.append(chunk)
        return self.wait(chunk)  # type: ignore[no-any-return]

    def finish(self) -> None:
        body = str(sum(map(len, self.chunks))).encode()
        self.exchange.respond(200, "OK", HTTPHeaders({"Content-Length": str(len(body))}), body)

    def on_connection_close(self) -> None:
        self.gone = True


def serve(talk: Any, prepare: Callable[[Exchange], Any] = lambda exchange: None, **settings: Any) -> Any:
    """A server whose `sinks` are those of the requests so far; `prepare` may do more, and return the sink's wait."""
    t = talk(lambda request: None, **settings)
    t.sinks = []

    def begin(exchange: Exchange) -> None:
        wait = prepare(exchange)
        sink = exchange.sink = Sink(exchange, *([wait] if wait else []))
        t.sinks.append(sink)

    t.conn.begin = begin
    return t


# --- pieces ---


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "deflate"])
@pytest.mark.parametrize("chunk_size", [7, 1000, 100_000])
def test_no_piece_is_larger_than_chunk_size(talk: Any, coding: str, chunk_size: int) -> None:
    text = b"hello " * 30_000
    body = zlib.compress(text) if coding == "deflate" else gzip.compress(text)
    t = serve(talk, chunk_size=chunk_size, decompress_request=True)
    head = HEAD + f"Content-Encoding: {coding}\r\n".encode()
    assert t.send(head + length(len(body)) + body).endswith(b"180000")
    (sink,) = t.sinks
    assert b"".join(sink.chunks) == text
    assert max(map(len, sink.chunks)) == min(chunk_size, 65536)


def test_plain_bodies_come_in_pieces_too(talk: Any) -> None:
    t = serve(talk, chunk_size=10)
    assert t.send(HEAD + length(95) + b"x" * 95).endswith(b"95")
    assert [len(chunk) for chunk in t.sinks[0].chunks] == [10] * 9 + [5]
    chunked = b"Transfer-Encoding: chunked\r\n\r\n5f\r\n" + b"x" * 95 + b"\r\n0\r\n\r\n"
    assert t.send(HEAD + chunked).endswith(b"95")
    assert max(len(chunk) for chunk in t.sinks[1].chunks) <= 10


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("pause", [True, False])
async def test_a_sink_is_waited_for_between_all_pieces(talk: Any, compressed: bool, pause: bool) -> None:
    """Also between those that come out of one compressed piece, and after the last one."""
    open_waits: list[int] = []
    done = asyncio.get_running_loop().create_future()
    done.set_result(None)

    def wait(chunk: bytes) -> Awaitable[None]:
        assert not open_waits
        if not pause:
            return done
        open_waits.append(1)

        async def take() -> None:
            await asyncio.sleep(0)
            open_waits.pop()

        return take()

    text = b"hello " * 50
    body = gzip.compress(text) if compressed else text
    t = serve(talk, lambda exchange: wait, chunk_size=20, decompress_request=True)
    sent = t.send((GZIP if compressed else HEAD) + length(len(body)) + body + HEAD + length(0))
    for _ in range(20):
        sent += await t.settle()
    assert b"".join(t.sinks[0].chunks) == text
    assert len(t.sinks[0].chunks) >= 15
    assert sent.count(b"HTTP/1.1 200") == 2
    assert t.wire.reading


def test_a_sink_that_is_done_already_is_not_waited_for(talk: Any) -> None:
    t = serve(talk, lambda exchange: lambda chunk: DONE, chunk_size=2, decompress_request=True)
    assert t.send(HEAD + length(5) + b"abcde").endswith(b"5")
    body = gzip.compress(b"abcde")
    assert t.send(GZIP + length(len(body)) + body).endswith(b"5")


def test_codings_that_are_not_undone_are_left_alone(talk: Any) -> None:
    seen: list[Any] = []
    t = serve(talk, lambda exchange: seen.append(exchange.request.headers), decompress_request=True)  # type: ignore[union-attr]
    t.send(HEAD + b"Content-Encoding: br\r\n" + length(1) + b"x")
    assert t.sinks[0].chunks == [b"x"]
    assert seen[0]["Content-Encoding"] == "br"
    t.send(GZIP + length(0))
    assert "Content-Encoding" not in seen[1]
    assert seen[1]["X-Consumed-Content-Encoding"] == "gzip"


# --- size ---


@pytest.mark.parametrize("compressed", [False, True])
def test_the_limit_of_a_request_may_be_larger_or_smaller(talk: Any, compressed: bool) -> None:
    text = b"x" * 1000
    body = gzip.compress(text) if compressed else text
    data = (GZIP if compressed else HEAD) + length(len(body)) + body
    t = serve(
        talk, lambda exchange: exchange.set_max_body_size(1000), max_body_size=20, decompress_request=True
    )
    assert t.send(data).endswith(b"1000")
    t = serve(talk, lambda exchange: exchange.set_max_body_size(999), decompress_request=True)
    assert t.send(data).startswith(b"HTTP/1.1 413 ")
    assert t.sinks[0].gone


def test_a_bomb_is_not_unpacked_further_than_its_limit(talk: Any) -> None:
    t = serve(talk, max_body_size=200_000, decompress_request=True)
    bomb = gzip.compress(bytes(60_000_000))
    assert t.send(GZIP + length(len(bomb)) + bomb[:60_000]).startswith(b"HTTP/1.1 413 ")
    assert sum(map(len, t.sinks[0].chunks)) <= 200_000


async def test_what_is_answered_early_is_not_unpacked(talk: Any) -> None:
    """Nor has the rest to be what it says it is."""

    def prepare(exchange: Exchange) -> Callable[[bytes], None]:
        def answer(chunk: bytes) -> None:
            if exchange.status == 0:
                exchange.respond(403, "No", HTTPHeaders({"Content-Length": "0"}), b"")

        return answer

    t = serve(talk, prepare, decompress_request=True, chunk_size=50)
    body = gzip.compress(bytes(100_000))[:-8]
    assert t.send(GZIP + length(len(body)) + body).startswith(b"HTTP/1.1 403 ")
    assert len(t.sinks[0].chunks) == 1
    assert t.send(HEAD + length(1) + b"a").startswith(b"HTTP/1.1 403 ")


# --- time ---


def test_a_fast_beginning_does_not_excuse_a_stop(talk: Any) -> None:
    """What was sent is held in memory for as long as the client may rest."""
    t = serve(talk, min_body_rate=100, body_grace=20)
    t.send(HEAD + length(1_000_000))
    for _ in range(10):
        t.wire.feed(b"x" * 50_000)
    assert t.pass_time(19) == b""
    assert t.pass_time(25).startswith(b"HTTP/1.1 408 ")


async def test_what_waits_for_the_application_is_not_counted_twice(talk: Any) -> None:
    """Or the minimum rate of a compressed body would be met by what has been there all the time."""
    gates: list[asyncio.Future[None]] = []

    def wait(chunk: bytes) -> Awaitable[None]:
        gates.append(asyncio.get_running_loop().create_future())
        return gates[-1]

    t = serve(talk, lambda exchange: wait, min_body_rate=100, body_grace=10, chunk_size=10)
    t.send(HEAD + length(1000) + b"x" * 200)
    for _ in range(20):
        gates[-1].set_result(None)
        await t.settle()
    assert len(t.sinks[0].chunks) == 20
    assert t.pass_time(11).startswith(b"HTTP/1.1 408 ")


async def test_the_time_of_the_application_is_not_the_clients(talk: Any) -> None:
    gate = asyncio.get_running_loop().create_future()
    t = serve(talk, lambda exchange: lambda chunk: gate, min_body_rate=100, body_grace=10, body_timeout=15)
    t.send(HEAD + length(1000) + b"x")
    assert t.pass_time(1000) == b""
    gate.set_result(None)
    assert await t.settle() == b""
    assert t.pass_time(9) == b""
    assert t.pass_time(3).startswith(b"HTTP/1.1 408 ")


def test_a_timeout_set_before_the_body_counts_from_its_beginning(talk: Any) -> None:
    t = serve(talk, lambda exchange: exchange.set_body_timeout(5))
    t.send(HEAD + length(10))
    assert t.pass_time(4) == b""
    assert t.pass_time(2).startswith(b"HTTP/1.1 408 ")


def test_a_timeout_set_while_it_comes_counts_from_then(talk: Any) -> None:
    exchanges: list[Exchange] = []
    t = serve(talk, exchanges.append, body_timeout=5, min_body_rate=0)
    t.send(HEAD + length(10))
    t.pass_time(4)
    exchanges[0].set_body_timeout(20)
    assert t.pass_time(19) == b""
    assert t.pass_time(2).startswith(b"HTTP/1.1 408 ")


def test_timeouts_may_be_taken_off(talk: Any) -> None:
    t = serve(talk, lambda exchange: exchange.set_body_timeout(0), body_timeout=5, min_body_rate=0)
    t.send(HEAD + length(10))
    assert t.pass_time(1000) == b""
    assert t.send(b"x" * 10).endswith(b"10")


async def test_a_timeout_set_while_the_application_is_waited_for(talk: Any) -> None:
    gate = asyncio.get_running_loop().create_future()
    exchanges: list[Exchange] = []

    def prepare(exchange: Exchange) -> Any:
        exchanges.append(exchange)
        return lambda chunk: gate

    t = serve(talk, prepare, limits=Limits(body_timeout=5))
    t.send(HEAD + length(10) + b"a")
    exchanges[0].set_body_timeout(1)
    assert t.pass_time(10) == b""
    gate.set_result(None)
    await t.settle()
    assert t.pass_time(2).startswith(b"HTTP/1.1 408 ")


def test_an_early_answer_that_is_not_short_of_its_body_keeps_nothing(talk: Any) -> None:
    """A chunked body may go on for ever: the connection ends with the answer."""

    def prepare(exchange: Exchange) -> None:
        exchange.respond(403, "No", HTTPHeaders({"Content-Length": "0"}), b"")

    t = serve(talk, prepare)
    sent = t.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n")
    assert b"Connection: close" in sent
    assert t.wire.eof_sent
