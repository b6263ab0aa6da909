"""A request on its way to its handler: the body collected, or streamed; what the handler does may not enter."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from webfw.httpserver.collector import BodyCollector
from webfw.httputil import (
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerRequest,
    RequestStartLine,
    ResponseStartLine,
)
from webfw.ioloop.start import start
from webfw.log import app_log
from webfw.web.execution import BodyGate, Running, answer, kept_tasks, make, replaced, run_all
from webfw.web.simple import ErrorHandler
from webfw.web.verbs import Verbs

if TYPE_CHECKING:
    from webfw.web.application import Application
    from webfw.web.handler import RequestHandler

__all__ = ["HandlerDelegate", "replay"]


class HandlerDelegate(HTTPMessageDelegate):
    """One request on its way to a `RequestHandler`: its body collected or streamed, then the handler run."""

    __slots__ = (
        "_collector",
        "_running",
        "application",
        "handler_class",
        "handler_kwargs",
        "path_args",
        "path_kwargs",
        "request",
        "stream_request_body",
    )

    def __init__(
        self,
        application: "Application",
        request: HTTPServerRequest,
        handler_class: "type[RequestHandler]",
        handler_kwargs: dict[str, Any] | None,
        path_args: Sequence[bytes | None],
        path_kwargs: Mapping[str, bytes | None],
    ) -> None:
        self.application = application
        #: None once the handler has it, so that no reference cycle stays behind: the connection holds this object.
        self.request: HTTPServerRequest | None = request
        self.handler_class = handler_class
        self.handler_kwargs = handler_kwargs or {}
        self.path_args = path_args
        self.path_kwargs = path_kwargs
        self.stream_request_body = handler_class._stream_request_body
        self._collector: BodyCollector | None = None
        self._running: Running | None = None

    @property
    def handler(self) -> "RequestHandler | None":
        """The handler, while it takes its body as it comes."""
        return None if self._running is None else self._running.handler

    # The body's way in (`BodySink`).

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        return self.wants_body()

    def wants_body(self) -> Awaitable[None] | None:
        """Be ready for the body; where the handler streams it, run its ``prepare`` first."""
        request = self.request
        assert request is not None
        limit = self.handler_class.max_body_size
        if limit is not None:
            request.connection.set_max_body_size(limit)
        if self.stream_request_body:
            return self._start_streaming(request).wanted
        if self.handler_class is ErrorHandler:  # no body changes its answer
            self.execute()
        else:
            self._collector = BodyCollector()
        return None

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        if self._collector is not None:
            self._collector.add(chunk)
        elif self._running is not None:
            return self._running.take(chunk)
        return None

    def finish(self) -> None:
        if self._running is not None:
            gate = self._running.handler._gate
            assert gate is not None
            gate.end()
        request = self.request
        if request is None:
            return
        collector, self._collector = self._collector, None
        if collector is not None:
            collector.finish(request)
        try:
            self.execute()
        except Exception:
            if collector is not None:
                collector.close()
            raise

    def on_connection_close(self) -> None:
        self.request = None
        if self._collector is not None:
            self._collector.close()
            self._collector = None
        if self._running is not None:
            self._running.client_left()

    # The handler.

    def execute(self) -> "asyncio.Task[None] | None":
        """Make the handler and run it; the Task of what could not run at once."""
        request, self.request = self.request, None
        assert request is not None
        return answer(
            self.application,
            request,
            self.handler_class,
            self.handler_kwargs,
            self.path_args,
            self.path_kwargs,
        )

    def _start_streaming(self, request: HTTPServerRequest) -> BodyGate:
        """Make a handler that takes its body as it comes, and run its ``prepare``."""
        self.request = None
        context = copy_context()
        handler = context.run(make, self.application, request, self.handler_class, self.handler_kwargs)
        gate = handler._gate = BodyGate(asyncio.get_running_loop())
        self._running = Running(handler, context)
        if self.handler_class._execute is not Verbs._execute:  # somebody watches requests: go that way
            coroutine = context.run(replaced, handler, self.path_args, self.path_kwargs)
        else:
            coroutine = run_all(handler, self.path_args, self.path_kwargs)
        self._running.start(coroutine).add_done_callback(lambda _: self._stop_streaming(gate))
        return gate

    def _stop_streaming(self, gate: BodyGate) -> None:
        """The handler is done; whatever is left of the body is nobody's."""
        self._running = None
        gate.open()
        gate.end()


def replay(delegate: HTTPMessageDelegate, request: HTTPServerRequest) -> "asyncio.Task[None]":
    """Give a request whose body is there already to a delegate, part by part, as a Task."""
    loop = asyncio.get_running_loop()
    task = start(loop, _replay(delegate, request), copy_context())
    kept_tasks.add(task)
    task.add_done_callback(kept_tasks.discard)
    return task


async def _replay(delegate: HTTPMessageDelegate, request: HTTPServerRequest) -> None:
    try:
        line = RequestStartLine(request.method, request.uri, request.version)
        wait = delegate.headers_received(line, request.headers)
        if wait is not None:
            await wait
        if request.body:
            wait = delegate.data_received(request.body)
            if wait is not None:
                await wait
        delegate.finish()
    except Exception:
        # Border: nobody awaits this task, so what it raises is told here.
        app_log.error("Uncaught exception while handing on a request", exc_info=True)
        request.connection.abort_response()
