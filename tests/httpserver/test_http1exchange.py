"""How responses are framed on the wire."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from webfw.httpserver import DONE, Exchange
from webfw.httputil import HTTPHeaders, HTTPOutputError, ResponseStartLine
from webfw.sansio.errors import LocalProtocolError

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
GET10 = b"GET / HTTP/1.0\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"


def line(status: int = 200, reason: str = "OK") -> ResponseStartLine:
    return ResponseStartLine("", status, reason)


def serve(talk: Any, request: bytes, act: Callable[[Exchange], Any], **settings: Any) -> Any:
    """Let `act` answer the one request."""
    t = talk(lambda request: None, **settings)
    t.conn.begin = act
    t.wire.feed(request)
    return t


def stream(
    exchange: Exchange, *chunks: bytes, headers: dict[str, str] | None = None, status: int = 200
) -> None:
    exchange.write_headers(line(status), HTTPHeaders(headers or {}), chunks[0] if chunks else None)
    for chunk in chunks[1:]:
        exchange.write(chunk)
    exchange.finish()


def test_a_body_without_length_is_chunked(talk: Any) -> None:
    t = serve(talk, GET, lambda exchange: stream(exchange, b"hello", b"", b"you"))
    assert t.wire.sent == (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3\r\nyou\r\n0\r\n\r\n"
    )
    assert not t.wire.closing


def test_a_body_with_length_is_not(talk: Any) -> None:
    t = serve(talk, GET, lambda exchange: stream(exchange, b"hello", b"you", headers={"Content-Length": "8"}))
    assert t.wire.sent == b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhelloyou"


def test_http_1_0_ends_an_unmeasured_body_by_closing(talk: Any) -> None:
    t = serve(talk, GET10 + GET10, lambda exchange: stream(exchange, b"hello"))
    assert t.wire.sent == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello"
    assert t.wire.closing or t.wire.eof_sent


def test_framing_of_the_application_is_replaced(talk: Any) -> None:
    t = serve(talk, GET, lambda exchange: stream(exchange, b"x", headers={"Transfer-Encoding": "chunked"}))
    assert t.wire.sent == b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"


@pytest.mark.parametrize("status", [204, 304])
def test_statuses_without_a_body(talk: Any, status: int) -> None:
    t = serve(talk, GET, lambda exchange: stream(exchange, status=status))
    assert t.wire.sent == b"HTTP/1.1 %d OK\r\n\r\n" % status
    assert not t.wire.closing


def test_a_body_where_none_may_be_is_refused(talk: Any) -> None:
    def act(exchange: Exchange) -> None:
        with pytest.raises(HTTPOutputError):
            exchange.write_headers(line(204), HTTPHeaders(), b"body")

    assert b"body" not in serve(talk, GET, act).wire.sent


def test_head_has_the_fields_of_get_and_no_body(talk: Any) -> None:
    t = serve(talk, HEAD, lambda exchange: stream(exchange, b"hello", headers={"Content-Length": "5"}))
    assert t.wire.sent == b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    t = serve(talk, HEAD, lambda exchange: stream(exchange, b"hello", b"more"))
    assert t.wire.sent == b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    t = serve(talk, HEAD, lambda e: e.respond(200, "OK", HTTPHeaders({"Content-Length": "5"}), b"hello"))
    assert t.wire.sent == b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    assert not t.wire.closing


def test_more_than_announced_cuts_the_connection(talk: Any) -> None:
    def act(exchange: Exchange) -> None:
        exchange.write_headers(line(), HTTPHeaders({"Content-Length": "3"}), b"abc")
        with pytest.raises(HTTPOutputError, match="more was written"):
            exchange.write(b"d")

    t = serve(talk, GET, act)
    assert t.wire.sent.endswith(b"abc")
    assert t.wire.aborted


def test_less_than_announced_cuts_the_connection(talk: Any) -> None:
    def act(exchange: Exchange) -> None:
        exchange.write_headers(line(), HTTPHeaders({"Content-Length": "3"}), b"ab")
        with pytest.raises(HTTPOutputError, match="1 bytes less"):
            exchange.finish()

    assert serve(talk, GET, act).wire.aborted


@pytest.mark.parametrize("length", ["", "-1", "+1", "1 ", "1,1", "x"])
def test_a_length_that_is_no_number_is_refused(talk: Any, length: str) -> None:
    def act(exchange: Exchange) -> None:
        with pytest.raises(HTTPOutputError, match="no number"):
            exchange.write_headers(line(), HTTPHeaders({"Content-Length": length}))
        exchange.abort_response()

    assert serve(talk, GET, act).wire.sent == b""


def test_the_order_of_calls_is_checked(talk: Any) -> None:
    def act(exchange: Exchange) -> None:
        for early in (exchange.finish, lambda: exchange.write(b"x")):
            with pytest.raises(HTTPOutputError):
                early()
        exchange.write_headers(line(), HTTPHeaders())
        with pytest.raises(HTTPOutputError):
            exchange.write_headers(line(), HTTPHeaders())
        with pytest.raises(HTTPOutputError):
            exchange.respond(200, "OK", HTTPHeaders(), b"")
        with pytest.raises(HTTPOutputError):
            exchange.send_informational(103, HTTPHeaders())
        exchange.finish()
        exchange.finish()  # twice is once
        with pytest.raises(HTTPOutputError):
            exchange.write(b"x")

    t = serve(talk, GET, act)
    assert t.wire.sent.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "a\x00b", "\x7f"])
def test_nothing_is_injected(talk: Any, value: str) -> None:
    def act(exchange: Exchange) -> None:
        headers = HTTPHeaders()
        headers._fields["X"] = value  # past the checks of the map
        with pytest.raises(LocalProtocolError):
            exchange.respond(200, "OK", headers, b"")
        with pytest.raises(LocalProtocolError):
            exchange.write_headers(line(), headers)
        with pytest.raises(LocalProtocolError):
            exchange.respond(200, value, HTTPHeaders(), b"")
        exchange.respond(500, "Oops", HTTPHeaders({"Content-Length": "0"}), b"")

    assert serve(talk, GET, act).wire.sent == b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"


def test_connection_options_of_the_application(talk: Any) -> None:
    t = serve(talk, GET, lambda e: stream(e, b"", headers={"Content-Length": "0", "Connection": "close"}))
    assert b"Connection: close\r\n" in t.wire.sent
    assert t.wire.closing
    t = serve(talk, GET, lambda e: e.respond(200, "OK", HTTPHeaders({"Connection": "x-opt"}), b""))
    assert b"Connection: x-opt\r\n" in t.wire.sent
    assert not t.wire.closing


def test_early_hints(talk: Any) -> None:
    def act(exchange: Exchange) -> None:
        exchange.send_informational(103, HTTPHeaders({"Link": "</a.css>; rel=preload"}))
        exchange.write_headers(line(102, "Processing"), HTTPHeaders())
        stream(exchange, b"", headers={"Content-Length": "0"})

    assert serve(talk, GET, act).wire.sent == (
        b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
        b"HTTP/1.1 102 Processing\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    )
    # RFC 9110 section 15.2: never to an HTTP/1.0 client.
    assert serve(talk, GET10, act).wire.sent.startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("status", [99, 101, 200])
def test_only_interim_statuses_are_informational(talk: Any, status: int) -> None:
    def act(exchange: Exchange) -> None:
        with pytest.raises(HTTPOutputError):
            exchange.send_informational(status, HTTPHeaders())
        exchange.abort_response()

    serve(talk, GET, act)


def test_trailers(talk: Any) -> None:
    def act(exchange: Exchange) -> None:
        exchange.write_headers(line(), HTTPHeaders(), b"x")
        exchange.set_trailers([("Digest", "abc")])
        exchange.finish()

    assert serve(talk, GET, act).wire.sent.endswith(b"1\r\nx\r\n0\r\nDigest: abc\r\n\r\n")
    assert serve(talk, GET10, act).wire.sent.endswith(b"\r\n\r\nx")


def test_big_bodies_are_not_copied_to_their_head(talk: Any) -> None:
    body = b"x" * 100_000
    t = serve(talk, GET, lambda e: e.respond(200, "OK", HTTPHeaders({"Content-Length": "100000"}), body))
    assert len(t.wire.writes) == 2


async def test_writing_waits_for_a_slow_client(talk: Any) -> None:
    seen: list[Any] = []

    async def act(exchange: Exchange) -> None:
        seen.append(exchange.write_headers(line(), HTTPHeaders()))
        await exchange.write(b"x" * 100)
        seen.append("taken")
        exchange.finish()

    t = serve(talk, GET, act, wire={"capacity": 100})
    await t.settle()
    assert seen == [DONE]
    t.wire.drain()
    assert (await t.settle()).endswith(b"0\r\n\r\n")
    assert seen == [DONE, "taken"]


async def test_writing_to_a_lost_client_raises_when_awaited(talk: Any) -> None:
    from webfw.iostream import StreamClosedError

    exchanges: list[Exchange] = []
    t = serve(talk, GET, exchanges.append)
    exchange = exchanges[0]
    exchange.write_headers(line(), HTTPHeaders())
    t.wire.lose()
    with pytest.raises(StreamClosedError):
        await exchange.write(b"x")
    exchange.finish()


async def test_a_stalled_write_fails_when_the_client_is_lost(talk: Any) -> None:
    from webfw.iostream import StreamClosedError

    exchanges: list[Exchange] = []
    t = serve(talk, GET, exchanges.append, wire={"capacity": 10})
    future = exchanges[0].write_headers(line(), HTTPHeaders(), b"x" * 50)
    t.wire.lose()
    with pytest.raises(StreamClosedError):
        await future


async def test_done_behaves_like_a_future() -> None:
    assert await DONE is None  # type: ignore[func-returns-value]
    assert await asyncio.wait_for(DONE, 1) is None
    assert await asyncio.gather(DONE, DONE) == [None, None]
    assert DONE.done()
    assert not DONE.cancelled()
    assert not DONE.cancel()
    assert DONE.result() is DONE.exception() is None
    called: list[Any] = []
    DONE.add_done_callback(called.append)
    assert not called
    await asyncio.sleep(0)
    assert called == [DONE]
    assert DONE.remove_done_callback(called.append) == 0


def test_the_exchange_lets_go_of_its_request(talk: Any) -> None:
    kept: list[Exchange] = []

    def act(exchange: Exchange) -> None:
        kept.append(exchange)
        stream(exchange, b"x")

    serve(talk, GET, act)
    assert kept[0].request is None
    assert kept[0].status == 200
    assert kept[0].bytes_sent == 1


def test_facts_of_the_connection(talk: Any) -> None:
    def act(exchange: Exchange) -> None:
        assert exchange.get_extra_info("peername") == ("127.0.0.1", 54321)
        assert exchange.context.remote_ip == "127.0.0.1"
        assert exchange.stream.closed() is False  # type: ignore[attr-defined]
        exchange.set_max_body_size(1)  # no body: nothing to limit
        exchange.set_body_timeout(1)
        exchange.respond(*Exchange.start_line(200, "OK")[1:], HTTPHeaders({"Content-Length": "0"}), b"")  # type: ignore[arg-type]

    assert serve(talk, GET, act).wire.sent.startswith(b"HTTP/1.1 200 OK")
