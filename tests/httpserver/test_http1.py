"""HTTP/1 on a fake wire: order, persistence, bodies, deadlines, errors."""

import asyncio
import logging
import random
import re
from typing import Any

import pytest

from webfw.httpserver import Exchange
from webfw.httputil import HTTPHeaders, HTTPServerRequest

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
    (b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 100000, 431),
    (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
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


# --- deadlines ---


def test_a_client_that_says_nothing_is_closed_silently(talk: Any) -> None:
    t = talk(Echo())
    assert t.pass_time(9) == b""
    assert not t.wire.closing
    assert t.pass_time(2) == b""
    assert t.wire.closing


def test_a_slow_head_is_408_however_often_a_byte_comes(talk: Any) -> None:
    t = talk(Echo())
    for byte in GET[:6]:
        t.wire.feed(bytes([byte]))
        t.pass_time(1.5)
    assert t.pass_time(2).startswith(b"HTTP/1.1 408 ")


def test_idle_connections_are_closed(talk: Any) -> None:
    t = talk(Echo())
    t.send(GET % 1)
    t.pass_time(70)
    assert not t.wire.closing
    t.send(GET % 2)
    t.pass_time(70)
    assert not t.wire.closing
    t.pass_time(10)
    assert t.wire.closing


def test_the_head_deadline_starts_anew_with_each_request(talk: Any) -> None:
    t = talk(Echo())
    t.send(GET % 1)
    t.pass_time(60)
    t.send(b"GET / HT")
    t.pass_time(8)
    assert not t.wire.closing
    assert t.pass_time(3).startswith(b"HTTP/1.1 408 ")


def test_a_body_that_trickles_is_408(talk: Any) -> None:
    t = talk(Echo(), min_body_rate=100, body_grace=20)
    t.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
    sent = b""
    for _ in range(30):
        t.wire.feed(b"x" * 50)
        sent += t.pass_time(1)
    assert sent.startswith(b"HTTP/1.1 408 ")


def test_a_body_that_comes_steadily_may_take_long(talk: Any) -> None:
    t = talk(Echo(), min_body_rate=100, body_grace=20)
    t.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 12000\r\n\r\n")
    for _ in range(59):
        t.wire.feed(b"x" * 200)
        assert t.pass_time(1) == b""
    t.wire.feed(b"x" * 200)
    assert bodies(t.wire.take()) == [b"POST / " + b"x" * 12000]


def test_body_timeout(talk: Any) -> None:
    t = talk(Echo(), body_timeout=5)
    t.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 12000\r\n\r\n")
    t.wire.feed(b"x" * 11000)
    assert t.pass_time(6).startswith(b"HTTP/1.1 408 ")


def test_a_client_that_takes_nothing_is_cut(talk: Any) -> None:
    t = talk(Echo(), wire={"capacity": 10}, write_timeout=60)
    t.send(GET % 1)
    t.pass_time(59)
    assert not t.wire.closing
    t.pass_time(2)
    assert t.wire.aborted


def test_progress_moves_the_write_deadline(talk: Any) -> None:
    t = talk(Echo(), wire={"capacity": 10}, write_timeout=60)
    t.send(GET % 1)
    t.pass_time(50)
    t.wire._buffered -= 5
    t.pass_time(11)
    assert not t.wire.closing
    t.pass_time(61)
    assert t.wire.aborted


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
