"""Message delegates that routing needs of its own: one that waits for the head, one for plain functions."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from webfw.httputil import (
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerRequest,
    RequestStartLine,
    ResponseStartLine,
)
from webfw.log import app_log

if TYPE_CHECKING:
    from webfw.routing.router import Router

__all__ = ["CallableDelegate", "NotFoundDelegate", "RoutingDelegate"]


class RoutingDelegate(HTTPMessageDelegate):
    """Waits for the head of a request, asks a router who takes it, and hands everything on to that one."""

    __slots__ = ("delegate", "request_conn", "router", "server_conn")

    def __init__(self, router: "Router", server_conn: object, request_conn: Any) -> None:
        self.router = router
        self.server_conn = server_conn
        self.request_conn = request_conn
        self.delegate: HTTPMessageDelegate | None = None

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        assert isinstance(start_line, RequestStartLine)
        # The server's own, which knows its id and what has been parsed, unless somebody has changed it.
        request = getattr(self.request_conn, "request", None)
        if (
            not isinstance(request, HTTPServerRequest)
            or request.headers is not headers
            or (request.method, request.uri) != start_line[:2]
        ):
            request = HTTPServerRequest(
                connection=self.request_conn,
                server_connection=self.server_conn,
                start_line=start_line,
                headers=headers,
            )
        self.delegate = self.router.find_handler(request)
        if self.delegate is None:
            app_log.debug("Delegate for %s %s request not found", start_line.method, start_line.path)
            self.delegate = NotFoundDelegate(self.request_conn)
        return self.delegate.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return None if self.delegate is None else self.delegate.data_received(chunk)

    def finish(self) -> None:
        if self.delegate is not None:
            self.delegate.finish()

    def on_connection_close(self) -> None:
        if self.delegate is not None:
            self.delegate.on_connection_close()


class NotFoundDelegate(HTTPMessageDelegate):
    """Answers 404, once the request is complete."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def finish(self) -> None:
        headers = HTTPHeaders({"Content-Length": "0"})
        self._connection.write_headers(ResponseStartLine("HTTP/1.1", 404, "Not Found"), headers)
        self._connection.finish()


class CallableDelegate(HTTPMessageDelegate):
    """Calls a function with the request once its body is complete.

    :param function: takes the request; where it returns a coroutine, that runs as a task.
    """

    __slots__ = ("_chunks", "_function", "_request")

    #: Tasks of coroutine functions: the loop itself keeps only weak references.
    _running: "set[asyncio.Task[None]]" = set()

    def __init__(self, function: Callable[[HTTPServerRequest], Any], request: HTTPServerRequest) -> None:
        self._function = function
        self._request = request
        self._chunks: list[bytes] = []

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        self._chunks.append(chunk)
        return None

    def finish(self) -> None:
        request = self._request
        if self._chunks:
            request.body = b"".join(self._chunks)
            self._chunks = []
        request._parse_body()
        result = self._function(request)
        if asyncio.iscoroutine(result):
            task = asyncio.ensure_future(_watched(result))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    def on_connection_close(self) -> None:
        self._chunks = []


async def _watched(coroutine: Awaitable[Any]) -> None:
    try:
        await coroutine
    except Exception:
        # Border: nobody awaits this task, so what it raises is told here.
        app_log.error("Exception in request callback", exc_info=True)
