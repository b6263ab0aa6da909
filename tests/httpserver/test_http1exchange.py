"""How responses are framed on the wire."""

from collections.abc import Callable
from typing import Any

import pytest

from webfw.httpserver import DONE, Exchange
from webfw.httpserver.http1exchange import plain_answer
from webfw.httputil import HTTPHeaders, HTTPInputError, HTTPOutputError, ResponseStartLine
from webfw.iostream import StreamClosedError
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
    exchanges: list[Exchange] = []
    t = serve(talk, GET, exchanges.append)
    exchange = exchanges[0]
    exchange.write_headers(line(), HTTPHeaders())
    t.wire.lose()
    with pytest.raises(StreamClosedError):
        await exchange.write(b"x")
    exchange.finish()


async def test_a_stalled_write_fails_when_the_client_is_lost(talk: Any) -> None:
    exchanges: list[Exchange] = []
    t = serve(talk, GET, exchanges.append, wire={"capacity": 10})
    future = exchanges[0].write_headers(line(), HTTPHeaders(), b"x" * 50)
    t.wire.lose()
    with pytest.raises(StreamClosedError):
        await future


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


@pytest.mark.parametrize("status", [101, 204])
def test_no_content_length_where_there_can_be_no_content(talk: Any, status: int) -> None:
    """RFC 9110 section 8.6: MUST NOT."""
    t = serve(talk, GET, lambda exchange: stream(exchange, status=status, headers={"Content-Length": "0"}))
    assert t.wire.sent == b"HTTP/1.1 %d OK\r\n\r\n" % status


def test_a_304_may_say_how_long_the_content_would_be(talk: Any) -> None:
    t = serve(talk, GET, lambda exchange: stream(exchange, status=304, headers={"Content-Length": "9"}))
    assert t.wire.sent == b"HTTP/1.1 304 OK\r\nContent-Length: 9\r\n\r\n"


@pytest.mark.parametrize("name", ["Content-Length", "Bad\nName"])
def test_trailers_that_must_not_be_cut_the_connection(talk: Any, name: str) -> None:
    """They are found when the body has left, so the client can only be told by an answer that does not end."""

    def act(exchange: Exchange) -> None:
        exchange.write_headers(line(), HTTPHeaders(), b"x")
        exchange.set_trailers([(name, "1")])
        with pytest.raises(LocalProtocolError):
            exchange.finish()
        exchange.finish()  # is over now

    t = serve(talk, GET, act)
    assert t.wire.sent.endswith(b"1\r\nx\r\n")
    assert t.wire.aborted


def test_trailers_may_be_set_before_the_head(talk: Any) -> None:
    def act(exchange: Exchange) -> None:
        exchange.set_trailers(iter([("Digest", "abc")]))
        exchange.write_headers(line(), HTTPHeaders(), b"x")
        exchange.finish()

    assert serve(talk, GET, act).wire.sent.endswith(b"0\r\nDigest: abc\r\n\r\n")


def test_a_large_body_over_tls_leaves_in_pieces(talk: Any) -> None:
    """A TLS transport does not tell how much of a single write is still to leave."""
    body = bytes(range(256)) * 1000
    headers = HTTPHeaders({"Content-Length": str(len(body))})
    t = serve(talk, GET, lambda e: e.respond(200, "OK", headers, body), wire={"extra": {"sslcontext": 1}})
    assert t.wire.sent.endswith(body)
    assert max(map(len, t.wire.writes)) == 65536


def test_an_exchange_is_over_when_it_is_aborted(talk: Any) -> None:
    called: list[Any] = []

    def act(exchange: Exchange) -> None:
        exchange.set_close_callback(lambda: called.append(1))
        exchange.abort_response()
        exchange.respond(200, "OK", HTTPHeaders({"Content-Length": "0"}), b"")
        with pytest.raises(HTTPOutputError):
            exchange.write(b"x")

    t = serve(talk, GET + GET, act)
    assert t.wire.aborted
    assert t.wire.sent == b""
    t.wire.lose()
    assert called == []  # who cuts need not be told


def test_a_close_callback_may_be_taken_back(talk: Any) -> None:
    called: list[Any] = []

    def act(exchange: Exchange) -> None:
        exchange.set_close_callback(lambda: called.append(1))
        exchange.set_close_callback(None)

    serve(talk, GET, act).wire.lose()
    assert called == []


def test_the_connection_stands_for_itself(talk: Any) -> None:
    seen: list[object] = []

    def act(exchange: Exchange) -> None:
        seen.append(exchange.server_connection)
        stream(exchange)

    t = serve(talk, GET + GET, act)
    assert seen == [t.conn, t.conn]


async def test_sendfile_has_its_order_too(talk: Any) -> None:
    exchanges: list[Exchange] = []
    for request, headers, message in (
        (GET, None, "between write_headers and finish"),
        (GET, {}, "needs a Content-Length"),
        (GET, {"Content-Length": "5"}, "more was written"),
    ):
        serve(talk, request, exchanges.append)
        exchange = exchanges.pop()
        if headers is not None:
            exchange.write_headers(line(), HTTPHeaders(headers))
        with pytest.raises(HTTPOutputError, match=message):
            await exchange.sendfile(None, 0, 6)  # type: ignore[arg-type]
    t = serve(talk, HEAD, exchanges.append)
    exchange = exchanges.pop()
    exchange.write_headers(line(), HTTPHeaders({"Content-Length": "5"}))
    await exchange.sendfile(None, 0, 5)  # type: ignore[arg-type]
    exchange.finish()
    assert t.wire.sent.endswith(b"\r\n\r\n")
    assert not t.wire.closing


def test_plain_answers() -> None:
    answer = plain_answer(404, "wh\u20act")
    assert answer.startswith(b"HTTP/1.1 404 Not Found\r\nDate: ")
    assert b"\r\nConnection: close\r\n\r\n404 Not Found: wh\xe2\x82\xact\n" in answer
    assert plain_answer(500, "", head_only=True).endswith(b"Content-Length: 26\r\nConnection: close\r\n\r\n")


@pytest.mark.parametrize("request_", [GET, HEAD])
def test_an_error_that_is_answered_by_the_server_has_no_body_for_head(talk: Any, request_: bytes) -> None:
    def act(exchange: Exchange) -> None:
        raise HTTPInputError("no")

    t = serve(talk, request_, act)
    assert t.wire.sent.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert t.wire.sent.endswith(b"\r\n\r\n" if request_ is HEAD else b"400 Bad Request: no\n")
