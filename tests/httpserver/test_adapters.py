"""The two older ways to sit on the server: Tornado's delegates, and a function of a request."""

import asyncio
import tracemalloc
from collections.abc import Awaitable
from typing import Any

import pytest

from webfw.httpserver import Exchange, HTTPServer
from webfw.httputil import (
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    HTTPServerRequest,
)

GET = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"


class Message(HTTPMessageDelegate):
    def __init__(self, log: list[Any], exchange: Exchange) -> None:
        self.log, self.exchange = log, exchange

    def headers_received(self, start_line: Any, headers: HTTPHeaders) -> Awaitable[None] | None:
        self.log.append((start_line.method, start_line.path, start_line.version, headers["Host"]))
        return asyncio.sleep(0) if headers.get("X-Wait") else None

    def data_received(self, chunk: bytes) -> None:
        self.log.append(chunk)

    def finish(self) -> None:
        self.log.append("finish")
        self.exchange.respond(200, "OK", HTTPHeaders({"Content-Length": "0"}), b"")

    def on_connection_close(self) -> None:
        self.log.append("gone")


class Delegate(HTTPServerConnectionDelegate):
    def __init__(self) -> None:
        self.log: list[Any] = []
        self.conns: list[object] = []

    def start_request(self, server_conn: object, request_conn: Any) -> HTTPMessageDelegate:
        self.conns.append(server_conn)
        return Message(self.log, request_conn)

    def on_close(self, server_conn: object) -> None:
        self.conns.remove(server_conn)
        self.log.append("closed")


async def test_a_delegate_is_told_of_every_step(talk: Any) -> None:
    delegate = Delegate()
    t = talk(delegate)
    sent = t.send(POST + GET % 1 + POST.replace(b"Host", b"X-Wait: 1\r\nHost")) + await t.settle()
    assert sent.count(b"HTTP/1.1 200 OK") == 3
    post = [("POST", "/p", "HTTP/1.1", "a"), b"abc", "finish"]
    assert delegate.log == [*post, ("GET", "/1", "HTTP/1.1", "a"), "finish", *post]
    # The connection is the same one for all three, and not the exchange.
    first, *others = delegate.conns
    assert all(other is first for other in others)
    assert not isinstance(first, Exchange)
    t.send(POST[:-1])
    delegate.conns = [first]
    t.wire.lose()
    assert delegate.log[-2:] == ["gone", "closed"]


def test_on_close_is_for_connections_that_a_request_was_taken_from(talk: Any) -> None:
    delegate = Delegate()
    talk(delegate).wire.lose()
    assert delegate.log == []


def test_a_subclass_of_the_server_hears_of_every_end(talk: Any, expect_log: Any) -> None:
    closed: list[object] = []

    class Watching(HTTPServer):
        def on_close(self, server_conn: object) -> None:
            closed.append(server_conn)
            super().on_close(server_conn)
            raise ZeroDivisionError

    t = talk(Delegate())
    server = Watching(Delegate())
    conn = server._serve(t.wire)
    with expect_log("webfw.application", "on_close"):
        t.wire.lose()
    assert closed == [conn]
    assert not server._connections


async def test_a_delegate_that_answers_in_headers_received_is_not_finished(talk: Any) -> None:
    class Early(Message):
        def headers_received(self, start_line: Any, headers: HTTPHeaders) -> None:
            super().headers_received(start_line, headers)
            self.exchange.respond(403, "No", HTTPHeaders({"Content-Length": "0"}), b"")

    class Refusing(Delegate):
        def start_request(self, server_conn: object, request_conn: Any) -> HTTPMessageDelegate:
            self.conns.append(server_conn)
            return Early(self.log, request_conn)

    delegate = Refusing()
    t = talk(delegate)
    sent = t.send(GET % 1 + POST + GET % 2) + await t.settle()
    assert sent.count(b"HTTP/1.1 403 ") == 3
    assert [entry for entry in delegate.log if not isinstance(entry, tuple)] == []


def test_a_function_gets_the_whole_request(talk: Any) -> None:
    seen: list[tuple[str, bytes]] = []

    def callback(request: HTTPServerRequest) -> None:
        seen.append((request.path, request.body))
        request.connection.respond(200, "OK", HTTPHeaders({"Content-Length": "0"}), b"")

    t = talk(callback)
    t.send(GET % 1)
    for at in range(len(POST)):
        t.wire.feed(POST[at : at + 1])
    assert seen == [("/1", b""), ("/p", b"abc")]


def test_forms_are_parsed_for_it(talk: Any) -> None:
    seen: list[Any] = []

    def callback(request: HTTPServerRequest) -> None:
        seen.append(request.body_arguments)
        request.connection.respond(200, "OK", HTTPHeaders({"Content-Length": "0"}), b"")

    t = talk(callback)
    form = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nContent-Type: "
    t.send(form % 7 + b"application/x-www-form-urlencoded\r\n\r\na=1&b=2")
    assert seen == [{"a": [b"1"], "b": [b"2"]}]
    sent = t.send(form % 4 + b"multipart/form-data; boundary=x\r\n\r\njunk")
    assert sent.startswith(b"HTTP/1.1 400 ")


def test_a_function_that_fails_is_a_500(talk: Any, expect_log: Any) -> None:
    def callback(request: HTTPServerRequest) -> None:
        raise ZeroDivisionError

    t = talk(callback)
    with expect_log("webfw.application", "Uncaught"):
        assert t.send(GET % 1).startswith(b"HTTP/1.1 500 ")


def test_a_function_is_not_called_for_half_a_body(talk: Any) -> None:
    seen: list[Any] = []
    t = talk(seen.append)
    t.send(POST[:-1])
    t.wire.lose()
    assert seen == []


@pytest.mark.parametrize("size", [1, 100_000])
def test_a_body_in_small_pieces_costs_what_it_weighs(talk: Any, size: int) -> None:
    t = talk(lambda request: None)
    t.send(b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
    tracemalloc.start()
    try:
        for _ in range(20_000 // size or 1):
            t.wire.feed(b"xy" * size)
        assert tracemalloc.get_traced_memory()[0] < 60_000 + 3 * size
    finally:
        tracemalloc.stop()
