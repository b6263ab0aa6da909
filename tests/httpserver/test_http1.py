"""HTTP/1 on a fake wire: order, persistence, bodies, deadlines, errors."""

import asyncio
import gc
import gzip
import logging
import random
import re
import tracemalloc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from webfw.httpserver import Exchange, HTTPServer, Limits
from webfw.httpserver.sendfile import emptied
from webfw.httputil import HTTPHeaders, HTTPInputError, HTTPServerRequest
from webfw.iostream import StreamClosedError
from webfw.testing.fakes import FakeWire

GET = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"


def answer(exchange: Exchange, body: bytes, status: int = 200, reason: str = "OK") -> None:
    headers = HTTPHeaders({"Content-Length": str(len(body))})
    exchange.respond(status, reason, headers, body)


class Echo:
    """Answers with method, target and body; holds back what asks for ``/wait`` until `release`."""

    def __init__(self) -> None:
        self.held: list[tuple[Exchange, HTTPServerRequest, bytes]] = []
        self.gone = 0
        self.bodies: list[bytes] = []

    def begin(self, exchange: Exchange) -> None:
        request = exchange.request
        assert request is not None
        if not exchange.has_body:
            self.answer(exchange, request, b"")
        else:
            exchange.sink = _Sink(self, exchange, request)

    def answer(self, exchange: Exchange, request: HTTPServerRequest, body: bytes) -> None:
        if request.path.startswith("/wait"):
            exchange.set_close_callback(self.left)
            self.held.append((exchange, request, body))
            return
        self.bodies.append(body)
        answer(exchange, f"{request.method} {request.uri} ".encode() + body)

    def left(self) -> None:
        self.gone += 1

    def release(self) -> None:
        exchange, request, body = self.held.pop(0)
        answer(exchange, f"{request.method} {request.uri} ".encode() + body)


class _Sink:
    def __init__(self, echo: Echo, exchange: Exchange, request: HTTPServerRequest) -> None:
        self.echo, self.exchange, self.request = echo, exchange, request
        self.chunks: list[bytes] = []

    def data_received(self, chunk: bytes) -> None:
        assert chunk
        self.chunks.append(chunk)

    def finish(self) -> None:
        self.echo.answer(self.exchange, self.request, b"".join(self.chunks))

    def on_connection_close(self) -> None:
        self.echo.left()


def bodies(sent: bytes) -> list[bytes]:
    """The bodies of responses that have a Content-Length."""
    found = []
    while sent:
        head, rest = sent.split(b"\r\n\r\n", 1)
        if b" 100 " in head.split(b"\r\n")[0]:
            sent = rest
            continue
        length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])  # type: ignore[index]
        found.append(rest[:length])
        sent = rest[length:]
    return found


def test_a_get_is_answered_in_one_write(talk: Any) -> None:
    t = talk(Echo())
    t.wire.feed(GET % 1)
    assert t.wire.writes == [b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nGET /1 "]
    assert not t.wire.closing


def test_pipelined_requests_are_answered_in_order(talk: Any) -> None:
    t = talk(Echo())
    sent = t.send(b"".join(GET % n for n in range(20)))
    assert bodies(sent) == [b"GET /%d " % n for n in range(20)]


async def test_a_long_pipeline_lets_the_loop_turn(talk: Any) -> None:
    t = talk(Echo())
    first = t.send(b"".join(GET % n for n in range(100)))
    assert len(bodies(first)) == 32
    assert bodies(first + await t.settle()) == [b"GET /%d " % n for n in range(100)]


REQUESTS = [
    GET % 1,
    b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /e HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    b"PUT /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nT: v\r\n\r\n",
    b"\r\n" + GET % 2,
    b"GET /10 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
]
EXPECTED = [b"GET /1 ", b"POST /p hello", b"POST /e ", b"PUT /c abcdefg", b"GET /2 ", b"GET /10 "]


@pytest.mark.parametrize("seed", [None, "whole", *range(20)])
async def test_any_split_gives_the_same_answers(talk: Any, seed: Any) -> None:
    t = talk(Echo())
    stream = b"".join(REQUESTS)
    if seed is None:
        pieces = [stream[i : i + 1] for i in range(len(stream))]
    elif seed == "whole":
        pieces = [stream]
    else:
        chance = random.Random(seed)
        cuts = sorted(chance.sample(range(1, len(stream)), 6))
        pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    sent = b"".join(t.send(piece) for piece in pieces)
    assert bodies(sent + await t.settle()) == EXPECTED


async def test_the_next_request_waits_for_a_slow_answer(talk: Any) -> None:
    echo = Echo()
    t = talk(echo)
    assert t.send(b"GET /wait1 HTTP/1.1\r\nHost: a\r\n\r\n" + GET % 2) == b""
    assert t.send(GET % 3) == b""
    echo.release()
    assert bodies(await t.settle()) == [b"GET /wait1 ", b"GET /2 ", b"GET /3 "]


async def test_read_ahead_is_bounded(talk: Any) -> None:
    echo = Echo()
    t = talk(echo)
    t.send(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
    t.send((GET % 1) * 3000)
    assert not t.wire.reading
    echo.release()
    got = b""
    for _ in range(200):
        got += await t.settle()
    assert len(bodies(got)) == 3001
    assert t.wire.reading


@pytest.mark.parametrize(
    ("head", "persists"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: x, CLOSE\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", True),
    ],
)
def test_persistence(talk: Any, head: bytes, persists: bool) -> None:
    t = talk(Echo())
    sent = t.send(head)
    assert t.wire.closing is not persists
    said = re.search(rb"Connection: (\S+)", sent)
    if b"1.0" in head and persists:
        assert said is not None
        assert said[1] == b"keep-alive"
    elif not persists:
        assert said is not None
        assert said[1] == b"close"
    else:
        assert said is None


def test_no_keep_alive(talk: Any) -> None:
    t = talk(Echo(), no_keep_alive=True)
    assert b"Connection: close" in t.send(GET % 1)
    assert t.wire.closing


ERRORS = [
    (b"GET / HTTP/1.1\r\n\r\n", 400),
    (b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (b"GET / HTTP/1.1\nHost: a\n\n", 400),
    (b"GET /" + b"a" * 40000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 100000, 431),
    (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
    (b"GET / HTTP/1.1\r\nHost: a\r\nExpect: a-miracle\r\n\r\n", 417),
    (b"GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 421),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\n\r\n", 413),
    (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n"
        + b"a" * 101
        + b"\r\n0\r\n\r\n",
        413,
    ),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: cake\r\n\r\n", 417),
]


@pytest.mark.parametrize(("data", "status"), ERRORS, ids=range(len(ERRORS)))
@pytest.mark.parametrize("bytewise", [False, True])
def test_errors_of_the_client(
    talk: Any, data: bytes, status: int, bytewise: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "webfw.general")
    t = talk(Echo(), max_body_size=100)
    if bytewise:
        for i in range(len(data)):
            t.wire.feed(data[i : i + 1])
        sent = t.wire.take()
    else:
        sent = t.send(data)
    assert sent.startswith(b"HTTP/1.1 %d " % status)
    assert b"Connection: close\r\n" in sent
    assert b"Content-Type: text/plain" in sent
    assert b"Date: " in sent  # RFC 9110 section 6.6.1: MUST, with a clock
    assert b"Traceback" not in sent
    assert bodies(sent)[0].startswith(b"%d " % status)
    assert [(r.levelname, r.exc_info) for r in caplog.records] == [("INFO", None)]
    # The rest is read and dropped for a moment, so that the answer is not lost in a reset.
    assert t.wire.eof_sent
    assert t.send(b"more") == b""
    t.pass_time(3)
    assert t.wire.closing


def test_an_error_behind_good_requests_comes_last(talk: Any) -> None:
    t = talk(Echo())
    sent = t.send(GET % 1 + b"BAD\r\n\r\n")
    assert sent.startswith(b"HTTP/1.1 200 OK")
    assert b"HTTP/1.1 400 Bad Request" in sent


def test_lingering_is_bounded(talk: Any) -> None:
    t = talk(Echo())
    t.send(b"BAD\r\n\r\n")
    for _ in range(40):
        t.wire.feed(b"x" * 65536)
    assert t.wire.aborted


def test_expect_continue(talk: Any) -> None:
    t = talk(Echo())
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    assert t.send(head) == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert bodies(t.send(b"ab")) == [b"POST / ab"]
    # A client that does not wait needs no interim answer.
    assert bodies(t.send(head + b"cd")) == [b"POST / cd"]


def test_expect_continue_is_not_answered_when_the_body_is_refused(talk: Any) -> None:
    t = talk(Echo(), max_body_size=1)
    sent = t.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    assert sent.startswith(b"HTTP/1.1 413 ")


async def test_an_early_answer_keeps_the_connection_when_the_rest_is_short(talk: Any) -> None:
    t = talk(lambda request: None)
    t.conn.begin = lambda exchange: answer(exchange, b"no", 403, "Forbidden")
    sent = t.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab")
    assert bodies(sent) == [b"no"]
    assert not t.wire.closing
    assert bodies(t.send(b"cde" + GET % 1) + await t.settle()) == [b"no"]


def test_an_early_answer_closes_when_the_rest_is_long(talk: Any) -> None:
    t = talk(lambda request: None)
    t.conn.begin = lambda exchange: answer(exchange, b"no", 403, "Forbidden")
    sent = t.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\nab")
    assert b"Connection: close" in sent
    assert t.wire.eof_sent


async def test_a_sink_that_waits_holds_the_wire(talk: Any) -> None:
    gates: list[asyncio.Future[None]] = []
    taken: list[bytes] = []

    class Slow:
        def data_received(self, chunk: bytes) -> asyncio.Future[None]:
            taken.append(chunk)
            gates.append(asyncio.get_running_loop().create_future())
            return gates[-1]

        def finish(self) -> None:
            taken.append(b"end")

        def on_connection_close(self) -> None:
            taken.append(b"gone")

    def begin(exchange: Exchange) -> None:
        exchange.sink = Slow()

    t = talk(lambda request: None, chunk_size=4)
    t.conn.begin = begin
    t.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789")
    assert taken == [b"0123"]
    assert not t.wire.reading
    gates[-1].set_result(None)
    await t.settle()
    assert taken == [b"0123", b"4567"]
    gates[-1].set_result(None)
    await t.settle()
    gates[-1].set_result(None)
    await t.settle()
    assert taken == [b"0123", b"4567", b"89", b"end"]
    t.wire.lose()
    assert taken[-1] == b"gone"


async def test_a_sink_that_fails_is_a_500(talk: Any, expect_log: Any) -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    class Bad:
        def data_received(self, chunk: bytes) -> Any:
            return fail()

        def finish(self) -> None:
            raise AssertionError

        def on_connection_close(self) -> None:
            pass

    def begin(exchange: Exchange) -> None:
        exchange.sink = Bad()

    t = talk(lambda request: None)
    t.conn.begin = begin
    with expect_log("webfw.application", "Uncaught exception"):
        t.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0")
        sent = await t.settle()
    assert sent.startswith(b"HTTP/1.1 500 ")
    assert b"Zero" not in sent


def test_an_application_that_raises_is_a_500(talk: Any, expect_log: Any) -> None:
    def begin(exchange: Exchange) -> None:
        raise ZeroDivisionError

    t = talk(lambda request: None)
    t.conn.begin = begin
    with expect_log("webfw.application", "Uncaught exception"):
        assert t.send(GET % 1).startswith(b"HTTP/1.1 500 ")


# --- the client goes ---


async def test_a_handler_hears_that_its_client_left(talk: Any) -> None:
    echo = Echo()
    t = talk(echo)
    t.send(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
    t.wire.lose(ConnectionResetError())
    assert echo.gone == 1
    echo.release()  # answering a lost connection does nothing
    assert t.wire.take() == b""


async def test_a_half_closed_client_still_gets_its_answer(talk: Any) -> None:
    echo = Echo()
    t = talk(echo)
    t.send(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
    t.wire.feed_eof()
    assert echo.gone == 1
    assert not t.wire.closing
    echo.release()
    assert bodies(t.wire.take()) == [b"GET /wait "]
    assert t.wire.closing


async def test_a_half_closed_client_gets_the_answers_of_its_pipeline(talk: Any) -> None:
    echo = Echo()
    t = talk(echo)
    t.send(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n" + GET % 1 + GET % 2)
    t.wire.feed_eof()
    echo.release()
    assert bodies(await t.settle()) == [b"GET /wait ", b"GET /1 ", b"GET /2 "]
    assert t.wire.closing


@pytest.mark.parametrize("at", range(0, 70, 3))
def test_a_client_may_leave_at_any_byte(talk: Any, at: int, caplog: pytest.LogCaptureFixture) -> None:
    data = b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhello" + b"you!" + GET % 1
    for gone in ("eof", "reset"):
        echo = Echo()
        t = talk(echo)
        t.send(data[:at])
        if gone == "eof":
            t.wire.feed_eof()
        t.wire.lose(None if gone == "eof" else ConnectionResetError())
        assert not t.server._connections
        assert len(t.conn.sweeper) == 0
    assert [r for r in caplog.records if r.levelno > logging.INFO] == []


def test_close_when_idle(talk: Any) -> None:
    echo = Echo()
    t = talk(echo)
    t.send(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
    t.conn.close_when_idle()
    assert not t.wire.closing
    echo.release()
    assert b"Connection: close" in t.wire.take()
    assert t.wire.closing
    idle = talk(echo)
    idle.send(GET % 1)
    idle.conn.close_when_idle()
    assert idle.wire.closing


def test_trailers_of_the_request_are_kept_apart(talk: Any) -> None:
    seen: list[Any] = []

    def callback(request: HTTPServerRequest) -> None:
        seen.append((request.headers, request.trailers, request.body))
        answer(request.connection, b"")  # type: ignore[arg-type]

    t = talk(callback)
    t.send(
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: Digest\r\n\r\n"
        b"2\r\nhi\r\n0\r\nDigest: abc\r\n\r\n"
    )
    headers, trailers, body = seen[0]
    assert body == b"hi"
    assert trailers["Digest"] == "abc"
    assert "Digest" not in headers


# --- states ---


class Slow:
    """A message whose every step can be held: what it is told, in order."""

    def __init__(self, exchange: Exchange, log: list[Any]) -> None:
        self.exchange, self.log = exchange, log
        self.gate: asyncio.Future[None] | None = None

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        self.log.append(chunk)
        return self.gate

    def finish(self) -> None:
        self.log.append("end")

    def on_connection_close(self) -> None:
        self.log.append("gone")


def start_line(exchange: Exchange) -> Any:
    return exchange.start_line(200, "OK")


def serve(talk: Any, begin: Callable[[Exchange], Any], **settings: Any) -> Any:
    t = talk(lambda request: None, **settings)
    t.conn.begin = begin
    return t


POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_a_client_that_takes_no_answer_gets_no_more_made(talk: Any) -> None:
    """Else a pipeline of small requests for large answers fills the memory."""
    begun: list[str] = []

    def begin(exchange: Exchange) -> None:
        assert exchange.request is not None
        begun.append(exchange.request.path)
        answer(exchange, b"x" * 1000)

    t = serve(talk, begin, wire={"capacity": 500})
    sent = t.send(b"".join(GET % n for n in range(200)))
    for _ in range(3):
        sent += await t.settle()
        assert len(begun) == 1
    sent += t.send((GET % 7) * 3000)
    assert len(begun) == 1
    assert not t.wire.reading
    for turn in range(2, 12):
        t.wire.drain()
        sent += await t.settle()
        assert len(begun) == turn
    assert begun == [f"/{n}" for n in range(11)]
    assert len(bodies(sent)) == 11
    t.pass_time(61)
    assert t.wire.aborted


async def test_a_refused_connection_is_not_revived_by_a_late_answer(talk: Any) -> None:
    """What follows a body that is malformed must never be taken for a request."""
    for tls in (False, True):
        log: list[Any] = []
        begun: list[Exchange] = []

        def begin(exchange: Exchange, begun: list[Exchange] = begun, log: list[Any] = log) -> None:
            begun.append(exchange)
            exchange.sink = Slow(exchange, log)

        t = serve(talk, begin, wire={"extra": {"sslcontext": object() if tls else None}})
        t.send(CHUNKED + b"1\r\na\r\n")
        assert t.send(b"zz\r\n").startswith(b"HTTP/1.1 400 ")
        assert log == [b"a", "gone"]
        answer(begun[0], b"late")
        assert t.send(GET % 1) == b""
        assert len(begun) == 1
        assert await t.settle() == b""
        t.pass_time(3)
        assert t.wire.closing


async def test_nor_is_one_whose_body_had_come_whole(talk: Any) -> None:
    begun: list[Exchange] = []

    def begin(exchange: Exchange) -> None:
        begun.append(exchange)
        exchange.sink = Slow(exchange, [])

    t = serve(talk, begin, wire={"extra": {"sslcontext": object()}}, decompress_request=True)
    cut = gzip.compress(b"x" * 100)[:-5]
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    assert t.send(head % len(cut) + cut).startswith(b"HTTP/1.1 400 ")
    answer(begun[0], b"late")
    assert t.send(GET % 1) == b""
    assert len(begun) == 1


async def test_a_late_streamed_answer_is_dropped_as_well(talk: Any) -> None:
    begun: list[Exchange] = []
    t = serve(talk, begun.append, wire={"extra": {"sslcontext": object()}})
    t.send(CHUNKED + b"zz\r\n")
    exchange = begun[0]
    exchange.send_informational(103, HTTPHeaders())
    with pytest.raises(StreamClosedError):
        await exchange.write_headers(start_line(exchange), HTTPHeaders({"Content-Length": "5"}))
    with pytest.raises(StreamClosedError):
        await exchange.write(b"x")
    with pytest.raises(StreamClosedError):
        await exchange.sendfile(None, 0, 1)  # type: ignore[arg-type]
    exchange.set_max_body_size(5)
    exchange.set_body_timeout(5)
    exchange.finish()
    exchange.abort_response()
    assert t.wire.take() == b""
    assert not t.wire.aborted
    with pytest.raises(StreamClosedError):
        exchange.detach().write(b"x")


async def test_a_half_closed_pipeline_is_answered_whole_in_bursts(talk: Any) -> None:
    t = talk(Echo())
    sent = t.send(b"".join(GET % n for n in range(100)))
    t.wire.feed_eof()
    assert not t.wire.closing
    assert bodies(sent + await t.settle()) == [b"GET /%d " % n for n in range(100)]
    assert t.wire.closing


async def test_a_half_closed_client_with_half_a_request_is_let_go(talk: Any) -> None:
    echo = Echo()
    t = talk(echo)
    t.send(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n" + b"GET / HT")
    t.wire.feed_eof()
    echo.release()
    assert bodies(await t.settle()) == [b"GET /wait "]
    assert t.wire.closing


def test_a_large_early_answer_is_not_cut_while_it_is_taken(talk: Any) -> None:
    t = serve(talk, lambda exchange: answer(exchange, b"x" * 1000, 403, "No"), wire={"capacity": 10})
    assert t.send(POST % 50_000_000 + b"ab").endswith(b"x" * 1000)
    for _ in range(5):  # slowly, but it takes something
        t.pass_time(50)
        assert not t.wire.closing
        t.wire._buffered -= 10
    t.wire.drain()
    t.pass_time(3)
    assert t.wire.closing
    assert not t.wire.aborted


def test_an_early_answer_that_nobody_takes_is_cut(talk: Any) -> None:
    t = serve(talk, lambda exchange: answer(exchange, b"x" * 1000, 403, "No"), wire={"capacity": 10})
    t.send(POST % 50_000_000 + b"ab")
    t.pass_time(61)
    assert t.wire.aborted


@pytest.mark.parametrize("rest", [b"", b"bcde"])
async def test_the_end_of_a_body_does_not_lift_the_deadline_of_a_stalled_write(
    talk: Any, rest: bytes
) -> None:
    def begin(exchange: Exchange) -> None:
        exchange.write_headers(start_line(exchange), HTTPHeaders(), b"x" * 100)

    t = serve(talk, begin, wire={"capacity": 10}, min_body_rate=0)
    t.send(POST % 5 + b"a")
    t.send(rest)
    t.pass_time(59)
    assert not t.wire.closing
    t.pass_time(2)
    assert t.wire.aborted


async def test_waiting_for_a_sink_does_not_lift_it_either(talk: Any) -> None:
    def begin(exchange: Exchange) -> None:
        sink = exchange.sink = Slow(exchange, [])
        sink.gate = asyncio.get_running_loop().create_future()
        exchange.write_headers(start_line(exchange), HTTPHeaders(), b"x" * 100)

    t = serve(talk, begin, wire={"capacity": 10})
    t.send(POST % 5 + b"a")
    t.pass_time(61)
    assert t.wire.aborted


async def test_a_stalled_write_has_its_own_time_while_a_body_is_late(talk: Any) -> None:
    """The body's deadlines pass earlier; the write's must not be taken for passed with them."""
    exchanges: list[Exchange] = []

    def begin(exchange: Exchange) -> None:
        exchanges.append(exchange)
        exchange.write_headers(start_line(exchange), HTTPHeaders(), b"x" * 100)

    t = serve(talk, begin, wire={"capacity": 10}, min_body_rate=1, body_grace=10)
    t.send(POST % 50000)
    for _ in range(11):
        t.wire.feed(b"x" * 10)
        t.pass_time(5)
        assert not t.wire.closing
    t.pass_time(7)
    assert t.wire.aborted


async def test_the_next_request_waits_until_the_last_is_done_with(talk: Any) -> None:
    """A delegate may answer, and return an awaitable that takes longer."""
    log: list[Any] = []
    gates: list[asyncio.Future[None]] = []

    def begin(exchange: Exchange) -> Awaitable[None]:
        assert exchange.request is not None
        log.append(exchange.request.path)
        exchange.sink = Slow(exchange, log)
        gates.append(asyncio.get_running_loop().create_future())
        if len(gates) == 1:
            answer(exchange, b"1")
        return gates[-1]

    t = serve(talk, begin)
    t.send(GET % 1 + GET % 2)
    await t.settle()
    assert log == ["/1"]
    gates[0].set_result(None)
    await t.settle()
    assert log == ["/1", "/2"]
    gates[1].set_result(None)
    await t.settle()
    assert log == ["/1", "/2", "end"]


async def test_an_answer_given_while_the_beginning_is_awaited(talk: Any) -> None:
    """In its own turn, with the next request waiting already."""
    log: list[Any] = []
    gate = asyncio.get_running_loop().create_future()

    async def first(exchange: Exchange) -> None:
        answer(exchange, b"1")
        await gate

    def begin(exchange: Exchange) -> Awaitable[None] | None:
        assert exchange.request is not None
        log.append(exchange.request.path)
        if len(log) == 1:
            return first(exchange)
        exchange.sink = Slow(exchange, log)
        return asyncio.get_running_loop().create_future()

    t = serve(talk, begin)
    t.send(GET % 1 + GET % 2)
    await t.settle()
    assert log == ["/1"]
    gate.set_result(None)
    await t.settle()
    assert log == ["/1", "/2"]  # and not "end", which is for the second one's awaitable to say


async def test_an_answered_connection_is_closed_when_idle_whatever_was_returned(talk: Any) -> None:
    def begin(exchange: Exchange) -> Awaitable[None]:
        answer(exchange, b"1")
        return asyncio.sleep(0)

    t = serve(talk, begin)
    t.send(GET % 1)
    await t.settle()
    assert t.wire.reading
    t.pass_time(77)
    assert t.wire.closing


@pytest.mark.parametrize("error", [ZeroDivisionError, HTTPInputError, asyncio.CancelledError])
async def test_an_error_after_the_answer_makes_no_second_one(talk: Any, error: Any, expect_log: Any) -> None:
    def begin(exchange: Exchange) -> None:
        answer(exchange, b"whole")
        raise error

    t = serve(talk, begin)
    if error is HTTPInputError:
        sent = t.send(GET % 1 + GET % 2) + await t.settle()
    else:
        with expect_log("webfw.application", "Uncaught", count=2):
            sent = t.send(GET % 1 + GET % 2) + await t.settle()
    assert bodies(sent) == [b"whole", b"whole"]
    assert not t.wire.closing
    t.pass_time(77)
    assert t.wire.closing


@pytest.mark.parametrize("split", [False, True])
async def test_a_sink_that_fails_after_its_answer(talk: Any, split: bool, expect_log: Any) -> None:
    class Bad(Slow):
        def finish(self) -> None:
            answer(self.exchange, b"whole")
            raise ZeroDivisionError

    def begin(exchange: Exchange) -> None:
        exchange.sink = Bad(exchange, [])

    t = serve(talk, begin)
    with expect_log("webfw.application", "Uncaught", count=2):
        sent = b""
        for _ in range(2):
            sent += t.send(POST % 2 + (b"" if split else b"ab"))
            sent += t.send(b"ab" if split else b"") + await t.settle()
    assert bodies(sent) == [b"whole", b"whole"]
    assert not t.wire.closing


@pytest.mark.parametrize("where", ["begin", "data", "finish", "awaited"])
@pytest.mark.parametrize("begun", [False, True])
async def test_an_application_may_fail_anywhere(talk: Any, where: str, begun: bool, expect_log: Any) -> None:
    async def later() -> None:
        raise ZeroDivisionError

    class Bad(Slow):
        def data_received(self, chunk: bytes) -> None:
            if where == "data":
                raise ZeroDivisionError

        def finish(self) -> None:
            if where == "finish":
                raise ZeroDivisionError

    def begin(exchange: Exchange) -> Awaitable[None] | None:
        exchange.sink = Bad(exchange, log)
        if begun:
            exchange.write_headers(start_line(exchange), HTTPHeaders(), b"x")
        if where == "begin":
            raise ZeroDivisionError
        return later() if where == "awaited" else None

    for request in (POST % 2 + b"ab", GET % 1):
        if where == "data" and request.startswith(b"GET"):
            continue
        log: list[Any] = []
        t = serve(talk, begin)
        with expect_log("webfw.application", "Uncaught", count=1):
            sent = t.send(request + GET % 2) + await t.settle()
        assert log == ["gone"]
        if begun:
            assert sent.endswith(b"1\r\nx\r\n")
            assert t.wire.aborted
        else:
            assert sent.startswith(b"HTTP/1.1 500 ")
            assert sent.count(b"HTTP/1.1") == 1
            assert t.wire.eof_sent


async def test_an_awaitable_that_is_none_is_a_failure(talk: Any, expect_log: Any) -> None:
    t = serve(talk, lambda exchange: "not an awaitable")
    with expect_log("webfw.application", "Uncaught"):
        assert t.send(GET % 1).startswith(b"HTTP/1.1 500 ")


async def test_a_cancelled_awaitable_is_a_500(talk: Any, expect_log: Any) -> None:
    future = asyncio.get_running_loop().create_future()
    t = serve(talk, lambda exchange: future)
    t.send(GET % 1)
    future.cancel()
    with expect_log("webfw.application", "Uncaught"):
        assert (await t.settle()).startswith(b"HTTP/1.1 500 ")


@pytest.mark.parametrize(("error", "level"), [(StreamClosedError(), 0), (ZeroDivisionError(), logging.ERROR)])
async def test_a_sink_that_fails_when_the_client_is_gone(
    talk: Any, error: Exception, level: int, expect_log: Any
) -> None:
    """That the client has gone is nothing to report; that the application has a fault is."""
    gate = asyncio.get_running_loop().create_future()

    def begin(exchange: Exchange) -> None:
        exchange.sink = Slow(exchange, log)
        exchange.sink.gate = gate  # type: ignore[attr-defined]

    log: list[Any] = []
    t = serve(talk, begin)
    t.send(POST % 2 + b"a")
    t.wire.lose()
    assert log == [b"a", "gone"]
    gate.set_exception(error)
    if level:
        with expect_log("webfw.application", "Uncaught"):
            await t.settle()
    else:
        assert await t.settle() == b""


async def test_a_cancelled_sink_of_a_client_that_is_gone_is_silent(talk: Any) -> None:
    gate = asyncio.get_running_loop().create_future()
    t = serve(talk, lambda exchange: gate)
    t.send(GET % 1)
    t.wire.lose()
    gate.cancel()
    assert await t.settle() == b""


def test_errors_of_close_callbacks_stay_inside(talk: Any, expect_log: Any) -> None:
    def begin(exchange: Exchange) -> None:
        def fail() -> None:
            raise ZeroDivisionError

        exchange.set_close_callback(fail)

    t = serve(talk, begin)
    t.send(GET % 1)
    with expect_log("webfw.application", "close callback"):
        t.wire.lose()
    assert not t.server._connections


def test_reading_goes_on_after_requests_that_came_together(talk: Any) -> None:
    t = talk(Echo(), limits=Limits(read_ahead=10))
    assert len(bodies(t.send(POST % 2 + b"ab" + (GET % 1) * 3))) == 4
    assert t.wire.reading
    assert len(bodies(t.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-"))) == 0
    assert t.wire.reading
    assert len(bodies(t.send(b"Length: 0\r\n\r\n"))) == 1


async def test_reading_goes_on_in_a_head_that_is_longer_than_the_read_ahead(talk: Any) -> None:
    echo = Echo()
    t = talk(echo, limits=Limits(read_ahead=10))
    t.send(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n" + b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 100)
    assert not t.wire.reading
    echo.release()
    await t.settle()
    assert t.wire.reading
    assert bodies(t.send(b"\r\n\r\n")) == [b"GET / "]


def test_a_head_that_comes_byte_by_byte_is_not_copied_each_time(talk: Any) -> None:
    t = talk(Echo())
    head = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 60_000 + b"\r\n\r\n"
    t.send(head[:100])
    t.send(head[100:101])
    tail = t.conn._tail
    assert type(tail) is bytearray
    for at in range(101, 1101):
        t.wire.feed(head[at : at + 1])
    assert t.conn._tail is tail
    for at in range(1101, len(head), 100):
        t.wire.feed(head[at : at + 100])
    assert bodies(t.wire.take()) == [b"GET / "]
    assert not t.conn._tail


async def test_what_is_kept_behind_a_slow_request_is_not_copied_each_time(talk: Any) -> None:
    echo = Echo()
    t = talk(echo)
    t.send(b"".join(b"GET /wait%d HTTP/1.1\r\nHost: a\r\n\r\n" % n for n in range(100)))
    tail = t.conn._tail
    assert type(tail) is bytearray
    sent = b""
    for _ in range(98):
        echo.release()
        sent += await t.settle()
        assert t.conn._tail is tail
    while echo.held:
        echo.release()
        sent += await t.settle()
    assert bodies(sent) == [b"GET /wait%d " % n for n in range(100)]


def test_data_that_tls_still_gives_after_a_close_is_no_request(talk: Any) -> None:
    echo = Echo()
    t = talk(echo)
    t.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert t.wire.closing
    t.conn.data_received(GET % 1)
    assert len(echo.bodies) == 1
    assert t.conn._tail == b""


def test_a_client_that_leaves_before_the_end_of_a_body_nobody_wants(talk: Any) -> None:
    t = serve(talk, lambda exchange: answer(exchange, b"no", 403, "No"))
    assert bodies(t.send(POST % 5 + b"ab")) == [b"no"]
    t.wire.feed_eof()
    assert t.wire.closing


async def test_the_rest_of_an_unwanted_body_may_be_wrong(talk: Any, expect_log: Any) -> None:
    """The answer is out, and stays whole."""
    t = serve(talk, lambda exchange: answer(exchange, b"no", 403, "No"), min_body_rate=0, body_timeout=5)
    assert bodies(t.send(POST % 5 + b"ab")) == [b"no"]
    with expect_log("webfw.general", "408", level=logging.INFO):
        assert t.pass_time(6) == b""
    assert not t.wire.aborted
    assert t.wire.eof_sent
    t.pass_time(3)
    assert t.wire.closing


async def test_an_unwanted_body_may_be_larger_than_is_allowed(talk: Any) -> None:
    t = serve(talk, lambda exchange: answer(exchange, b"no", 403, "No"), max_body_size=3)
    assert bodies(t.send(POST % 5 + b"ab")) == [b"no"]
    assert bodies(t.send(b"cde" + GET % 1) + await t.settle()) == [b"no"]


def test_pipelined_data_behind_an_expectation(talk: Any) -> None:
    t = talk(Echo())
    head = b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    assert bodies(t.send(head + b"ab" + head + b"cd" + GET % 1)) == [
        b"POST /p ab",
        b"POST /p cd",
        b"GET /1 ",
    ]
    # Nothing to wait for in a body of no bytes.
    assert b" 100 " not in t.send(head.replace(b": 2", b": 0"))


async def test_an_expectation_waits_for_the_application(talk: Any) -> None:
    gate = asyncio.get_running_loop().create_future()
    log: list[Any] = []

    def begin(exchange: Exchange) -> Awaitable[None]:
        exchange.sink = Slow(exchange, log)
        return gate

    t = serve(talk, begin)
    head = b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    assert t.send(head) == b""
    gate.set_result(None)
    assert await t.settle() == b"HTTP/1.1 100 Continue\r\n\r\n"
    t.send(b"ab")
    assert log == [b"ab", "end"]


def test_a_body_refused_early_is_not_waited_for(talk: Any) -> None:
    """RFC 9110 section 10.1.1: nobody knows whether the client will send it, so the connection must end."""
    t = serve(talk, lambda exchange: answer(exchange, b"no", 403, "No"))
    head = b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    sent = t.send(head)
    assert b"Connection: close" in sent
    assert b" 100 " not in sent


@pytest.mark.parametrize("request_", [GET % 1, POST % 2 + b"ab"])
@pytest.mark.parametrize("when", ["begin", "finish"])
def test_what_fails_after_a_detach_writes_nothing(
    talk: Any, request_: bytes, when: str, expect_log: Any, monkeypatch: Any
) -> None:
    class Taker:
        def data_received(self, data: bytes) -> None:
            given.append(data)

        def connection_lost(self, exc: Exception | None) -> None:
            pass

    given: list[bytes] = []

    def from_wire(wire: FakeWire, rest: bytes) -> None:
        wire.consumer = Taker()  # type: ignore[assignment]
        if rest:
            given.append(rest)

    monkeypatch.setattr("webfw.httpserver.http1.IOStream.from_wire", from_wire)

    class Leaving(Slow):
        def finish(self) -> None:
            self.exchange.detach()
            raise ZeroDivisionError

    def begin(exchange: Exchange) -> None:
        exchange.sink = Leaving(exchange, [])
        if when == "begin":
            exchange.detach()
            raise ZeroDivisionError

    t = serve(talk, begin)
    with expect_log("webfw.application", "Uncaught", count=1):
        assert t.send(request_ + b"more") == b""
    assert not t.wire.closing
    assert b"".join(given) == (b"abmore" if when == "begin" and b"POST" in request_ else b"more")
    assert not t.server._connections
    assert len(t.conn.sweeper) == 0


async def test_waiting_writers_are_told_at_the_end(talk: Any, monkeypatch: Any) -> None:
    """One that gives up does not take the others with it; a detach lets them go."""
    exchanges: list[Exchange] = []
    t = serve(talk, exchanges.append, wire={"capacity": 10})
    t.send(GET % 1)
    first = exchanges[0].write_headers(start_line(exchanges[0]), HTTPHeaders(), b"x" * 100)
    second = exchanges[0].write(b"y")
    first.cancel()
    t.wire.drain()
    assert second.done()
    assert second.exception() is None
    third, fourth = exchanges[0].write(b"z" * 100), exchanges[0].write(b"z")
    assert not third.done()
    third.cancel()
    monkeypatch.setattr("webfw.httpserver.http1.IOStream.from_wire", lambda wire, rest: None)
    exchanges[0].detach()
    assert fourth.done()
    assert fourth.exception() is None


async def test_a_write_that_waits_when_the_client_goes(talk: Any) -> None:
    exchanges: list[Exchange] = []
    t = serve(talk, exchanges.append, wire={"capacity": 10})
    t.send(GET % 1)
    first = exchanges[0].write_headers(start_line(exchanges[0]), HTTPHeaders(), b"x" * 100)
    second = exchanges[0].write(b"x" * 100)
    second.cancel()
    t.wire.lose()
    with pytest.raises(StreamClosedError):
        await first
    with pytest.raises(StreamClosedError):
        await t.conn.stalled()
    with pytest.raises(StreamClosedError):
        await emptied(t.conn)


@pytest.mark.parametrize("phase", ["new", "idle", "answered, not taken", "partial head"])
async def test_going_away(talk: Any, phase: str) -> None:
    t = talk(Echo(), wire={"capacity": 10 if phase == "answered, not taken" else None})
    if phase == "partial head":
        t.send(b"GET / HTTP/1.1\r\n")
    elif phase != "new":
        t.send(GET % 1)
    t.server.keep_alive = False
    t.conn.close_when_idle()
    if phase == "partial head":
        assert not t.wire.closing
        assert b"Connection: close" in t.send(b"Host: a\r\n\r\n")
    assert t.wire.closing


def test_a_pipeline_behind_the_last_request_is_dropped(talk: Any) -> None:
    echo = Echo()
    t = talk(echo)
    t.send(b"GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + GET % 2)
    assert len(echo.bodies) == 1
    assert t.wire.eof_sent
    t.wire.feed_eof()
    assert t.wire.closing


async def test_requests_with_bodies_leave_no_reference_cycles(talk: Any) -> None:
    class Message(Slow):
        def finish(self) -> None:
            answer(self.exchange, b"done")

    def begin(exchange: Exchange) -> None:
        exchange.sink = Message(exchange, [])

    t = serve(talk, begin)
    t.send(POST % 2 + b"ab")
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for _ in range(10):
            t.send(POST % 2 + b"ab")
            t.send(POST % 2)
            t.send(b"ab")
        gc.collect()
        kinds = {type(thing).__name__ for thing in gc.garbage}
    finally:
        gc.set_debug(0)
        gc.enable()
        gc.garbage.clear()
    assert not kinds & {"Http1Exchange", "HTTPServerRequest", "Message", "RequestBody", "HTTPHeaders"}


def test_refusals_leave_no_reference_cycles(talk: Any) -> None:
    held: list[Any] = []

    def begin(exchange: Exchange) -> None:
        exchange.sink = Slow(exchange, held)

    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for _ in range(5):
            serve(talk, begin).send(CHUNKED + b"zz\r\n")
        gc.collect()
        kinds = {type(thing).__name__ for thing in gc.garbage}
    finally:
        gc.set_debug(0)
        gc.enable()
        gc.garbage.clear()
    assert not kinds & {"Http1Exchange", "HTTPServerRequest", "Slow", "RequestBody"}


async def test_an_idle_connection_is_small() -> None:
    loop = asyncio.get_running_loop()
    server = HTTPServer(Echo())
    wires = [FakeWire(loop) for _ in range(200)]
    for wire in wires[:100]:  # fill the caches
        server._serve(wire).data_received(GET % 1)  # type: ignore[arg-type]
        wire.take()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for wire in wires[100:]:
            server._serve(wire).data_received(GET % 1)  # type: ignore[arg-type]
            wire.take()
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    for wire in wires:
        wire.lose()
    assert (after - before) / 100 < 2000


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("first", [GET % 1, POST % 5 + b"a"])
def test_a_client_that_has_closed_and_takes_nothing_is_cut(talk: Any, first: bytes, tls: bool) -> None:
    """It has its answers still to get; a transport would wait for ever to be rid of them."""
    t = serve(
        talk,
        lambda exchange: answer(exchange, b"x" * 100, 403, "No"),
        wire={"capacity": 10, "extra": {"sslcontext": object() if tls else None}},
    )
    t.send(first)
    t.wire.feed_eof()
    assert t.wire.closing
    t.pass_time(61)
    assert t.wire.aborted


def test_leaving_in_a_body_is_heard_at_once(talk: Any, expect_log: Any) -> None:
    log: list[Any] = []
    exchanges: list[Exchange] = []

    def begin(exchange: Exchange) -> None:
        exchanges.append(exchange)
        exchange.sink = Slow(exchange, log)

    t = serve(talk, begin)
    t.send(POST % 5 + b"a")
    with expect_log("webfw.general", "before the end", level=logging.INFO):
        t.wire.feed_eof()
    assert log == [b"a", "gone"]
    answer(exchanges[0], b"late")
    assert t.wire.take() == b""


async def test_an_answer_that_ends_the_connection_and_an_awaitable(talk: Any, expect_log: Any) -> None:
    """The connection does not wait for it; what it raises is not lost."""

    async def later() -> None:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    def begin(exchange: Exchange) -> Awaitable[None]:
        exchange.respond(200, "OK", HTTPHeaders({"Content-Length": "0", "Connection": "close"}), b"")
        return later()

    for data in (POST % 50_000_000, GET % 1):
        t = serve(talk, begin)
        with expect_log("webfw.application", "Uncaught", count=1):
            assert t.send(data).startswith(b"HTTP/1.1 200 ")
            await t.settle()
        assert t.wire.closing or t.wire.eof_sent


async def test_an_early_answer_that_is_not_taken_has_its_time_while_the_body_is_dropped(talk: Any) -> None:
    t = serve(talk, lambda exchange: answer(exchange, b"x" * 100, 403, "No"), wire={"capacity": 10})
    t.send(POST % 100_000 + b"ab")
    for _ in range(59):
        t.wire.feed(b"x" * 1000)
        t.pass_time(1)
        assert not t.wire.closing
    t.wire.feed(b"x" * 1000)
    t.pass_time(2)
    assert t.wire.aborted


@pytest.mark.parametrize("how", ["lost", "aborted"])
async def test_the_rest_of_a_pipeline_is_not_begun_when_the_connection_ends(talk: Any, how: str) -> None:
    echo = Echo()
    t = talk(echo)
    t.send(b"".join(GET % n for n in range(100)))
    if how == "lost":
        t.wire.lose()
    else:
        t.conn.abort()
    await t.settle()
    assert len(echo.bodies) == 32


async def test_writing_and_sending_files_when_the_transport_is_closing(talk: Any) -> None:
    """Between a failed write and the call that says so."""
    exchanges: list[Exchange] = []
    t = serve(talk, exchanges.append)
    t.send(GET % 1)
    exchange = exchanges[0]
    exchange.write_headers(start_line(exchange), HTTPHeaders({"Content-Length": "100"}))
    t.wire.closing = True
    with pytest.raises(StreamClosedError):
        await exchange.write(b"x")
    with pytest.raises(StreamClosedError):
        await exchange.sendfile(None, 0, 5)  # type: ignore[arg-type]


def test_a_pipeline_whose_answers_nobody_can_get_is_left(talk: Any) -> None:
    echo = Echo()
    t = talk(echo)
    write = t.wire.write

    def failing(data: bytes) -> None:
        write(data)
        t.wire.closing = True

    t.wire.write = failing
    t.send(GET % 1 + GET % 2)
    assert len(echo.bodies) == 1


def test_an_abort_while_a_body_is_handed_on(talk: Any) -> None:
    class Cutting(Slow):
        def data_received(self, chunk: bytes) -> None:
            super().data_received(chunk)
            self.exchange.abort_response()

    log: list[Any] = []

    def begin(exchange: Exchange) -> None:
        exchange.sink = Cutting(exchange, log)

    t = serve(talk, begin)
    assert t.send(POST % 5 + b"abcde" + GET % 1) == b""
    assert log == [b"abcde"]
    assert t.wire.aborted


async def test_a_beginning_that_the_client_is_to_blame_for(talk: Any, expect_log: Any) -> None:
    async def later() -> None:
        raise HTTPInputError("no good")

    t = serve(talk, lambda exchange: later())
    with expect_log("webfw.general", "400: no good", level=logging.INFO):
        t.send(GET % 1)
        assert (await t.settle()).startswith(b"HTTP/1.1 400 ")


async def test_a_half_closed_client_gets_what_it_takes_slowly(talk: Any) -> None:
    """It closes its side when its pipeline is answered in part, the rest held back until it takes more."""
    t = talk(Echo(), wire={"capacity": 5})
    sent = t.send(GET % 1 + GET % 2)
    t.wire.feed_eof()
    assert not t.wire.closing
    for _ in range(3):
        t.wire.drain()
        sent += await t.settle()
    assert bodies(sent) == [b"GET /1 ", b"GET /2 "]
    assert t.wire.closing


async def test_a_refusal_on_a_connection_that_is_closing(talk: Any) -> None:
    t = talk(Echo())
    t.wire.closing = True
    t.conn.data_received(b"BAD\r\n\r\n")
    assert t.wire.sent == b""
    assert t.pass_time(100) == b""
    assert t.wire.aborted


def test_a_scheme_that_a_proxy_may_know_is_taken(talk: Any) -> None:
    t = talk(Echo(), xheaders=True)
    assert bodies(t.send(b"GET https://a/x HTTP/1.1\r\nHost: a\r\n\r\n")) == [b"GET https://a/x "]
    t = talk(Echo(), protocol="https")
    assert bodies(t.send(b"GET HTTPS://a/x HTTP/1.1\r\nHost: a\r\n\r\n")) == [b"GET HTTPS://a/x "]
    assert t.send(b"GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n").startswith(b"HTTP/1.1 421 ")
