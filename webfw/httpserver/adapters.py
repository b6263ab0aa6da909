"""Two older ways to sit on the server, as `Begin`: Tornado's delegates, and a plain function of a request."""

from collections.abc import Awaitable, Callable
from contextvars import copy_context
from functools import partial
from io import BytesIO
from typing import Any

from webfw.httpserver.exchange import Begin, Exchange
from webfw.httputil import (
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    HTTPServerRequest,
    RequestStartLine,
)

__all__ = ["begin_watched", "begin_with_callback", "begin_with_delegate", "hand_over"]


def begin_with_delegate(delegate: HTTPServerConnectionDelegate) -> Begin:
    """Serve through ``start_request``, ``headers_received``, ``data_received`` and ``finish``."""

    def begin(exchange: Exchange) -> Awaitable[None] | None:
        conn: Any = exchange.server_connection
        conn.asked = True
        return hand_over(exchange, delegate.start_request(conn, exchange))

    return begin


def begin_watched(delegate: HTTPServerConnectionDelegate) -> Begin:
    """Serve through a ``start_request`` that somebody has wrapped around that of the server's class.

    Who does so (newrelic) goes on to wrap the connection's ``write_headers`` and ``finish``, to see when a request is
    over.  So a whole answer takes that way too.
    """
    begin = begin_with_delegate(delegate)

    def by_parts(exchange: Exchange) -> Awaitable[None] | None:
        exchange.respond = partial(_respond_by_parts, exchange)  # type: ignore[method-assign]
        return begin(exchange)

    return by_parts


def _respond_by_parts(
    exchange: Exchange, status: int, reason: str, headers: HTTPHeaders, body: bytes
) -> None:
    exchange.write_headers(exchange.start_line(status, reason), headers, body or None)
    exchange.finish()


def hand_over(exchange: Exchange, message: HTTPMessageDelegate) -> Awaitable[None] | None:
    """Have a message delegate take an exchange: its head now, its body when that comes."""
    request = exchange.request
    assert request is not None
    exchange.sink = message
    line = RequestStartLine(request.method, request.uri, request.version)
    return message.headers_received(line, request.headers)


class _WholeRequest:
    """Collects the body of a request for a function that wants it whole."""

    __slots__ = ("_body", "_callback", "_request")

    def __init__(self, callback: Callable[[HTTPServerRequest], object], request: HTTPServerRequest) -> None:
        self._callback = callback
        self._request: HTTPServerRequest | None = request
        self._body = BytesIO()  # a list would cost many times the bytes where they come one by one

    def data_received(self, chunk: bytes) -> None:
        self._body.write(chunk)

    def finish(self) -> None:
        request, self._request = self._request, None
        if request is not None:
            request.body = self._body.getvalue()
            request._parse_body()
            record = request.connection.record
            if record is None:
                self._callback(request)
            else:
                context = copy_context()
                context.run(record.handling)
                context.run(self._callback, request)

    def on_connection_close(self) -> None:
        self._request = None
        self._body.close()


def begin_with_callback(callback: Callable[[HTTPServerRequest], object]) -> Begin:
    """Call ``callback`` with every request, its body read and its form parsed.

    It answers through ``request.connection``; what it returns is not looked at.
    """

    def begin(exchange: Exchange) -> None:
        request = exchange.request
        assert request is not None
        exchange.sink = _WholeRequest(callback, request)

    return begin
