"""How a handler runs: from a routed request to its verb's end; nothing that knows bytes may enter.

The plain path is a handler whose ``prepare`` and verb return None: it runs in the callback that read the request,
without a Task.  Whatever returns an awaitable goes on as a Task in the same context.  Every request has a context of
its own, so that a ``ContextVar`` set in one is never seen by the next.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Coroutine, Mapping, Sequence
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

from webfw.httpserver.exchange import DONE
from webfw.httputil import (
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerRequest,
    RequestStartLine,
    ResponseStartLine,
)
from webfw.ioloop import deadlines
from webfw.ioloop.start import start
from webfw.log import app_log
from webfw.web.errors import HTTPError
from webfw.web.uploads import BodyCollector
from webfw.web.verbs import Verbs

if TYPE_CHECKING:
    from webfw.web.application import Application
    from webfw.web.handler import RequestHandler

__all__ = ["HandlerDelegate", "answer", "run"]

#: Verbs as their methods are named; others are lower-cased when met.
_VERBS = {verb: verb.lower() for verb in ("GET", "HEAD", "POST", "DELETE", "PATCH", "PUT", "OPTIONS")}

#: Tasks of handlers that have begun: the loop itself keeps only weak references.
_running: set["asyncio.Task[Any]"] = set()


def run(handler: "RequestHandler") -> Coroutine[Any, Any, None] | None:
    """Run a handler as far as it goes without waiting.

    :returns: None when it is finished, or a coroutine that does the rest.
    """
    try:
        name = begin(handler)
        prepared = handler.prepare()
        if prepared is not None:
            return _after_prepare(handler, prepared, name)
        if handler._finished:
            return None
        result = getattr(handler, name)(*handler.path_args, **handler.path_kwargs)
        if result is not None and result is not DONE:
            return _after_verb(handler, result)
        if handler._auto_finish and not handler._finished:
            handler.finish()
    except Exception as error:
        # Border: whatever a handler raises becomes a response.
        failed(handler, error)
    return None


def begin(handler: "RequestHandler") -> str:
    """Check what is checked before any handler runs; the name of the method that shall run."""
    method = handler.request.method or ""
    if method not in handler.SUPPORTED_METHODS:
        raise HTTPError(405)
    settings = handler.application.settings
    if method not in ("GET", "HEAD", "OPTIONS"):
        if settings.get("xsrf_cookies"):
            handler.check_xsrf_cookie()
        if settings.get("cross_origin_protection"):
            handler.check_cross_origin()
    return _VERBS.get(method) or method.lower()


async def _after_prepare(handler: "RequestHandler", prepared: Awaitable[None], name: str) -> None:
    try:
        await prepared
        if handler._finished:
            return
        result = getattr(handler, name)(*handler.path_args, **handler.path_kwargs)
        if result is not None:
            await _awaitable(result)
        if handler._auto_finish and not handler._finished:
            handler.finish()
    except asyncio.CancelledError:
        cancelled(handler)
    except Exception as error:
        # Border: whatever a handler raises becomes a response.
        failed(handler, error)


async def _after_verb(handler: "RequestHandler", result: Awaitable[None]) -> None:
    try:
        await _awaitable(result)
        if handler._auto_finish and not handler._finished:
            handler.finish()
    except asyncio.CancelledError:
        cancelled(handler)
    except Exception as error:
        # Border: whatever a handler raises becomes a response.
        failed(handler, error)


async def _awaitable(result: Any) -> None:
    if not inspect.isawaitable(result):
        raise TypeError(f"Expected None or an awaitable, got {result!r}")
    value = await result
    if value is not None:
        raise TypeError(f"Expected None, got {value!r}")


def failed(handler: "RequestHandler", error: BaseException) -> None:
    """Answer what a handler raised."""
    try:
        handler._handle_request_exception(error)
    except Exception:
        # Border: an error page that fails must not break the transport.
        app_log.error("Exception in exception handler", exc_info=True)
        if not handler._finished:
            handler._finished = True
            handler.request.connection.abort_response()


def cancelled(handler: "RequestHandler") -> None:
    """A handler's task was cancelled: by its deadline, because the client left, or with the loop."""
    reason = handler._cancelled_by
    if reason == "deadline":
        if not handler._finished:
            if handler._headers_written:
                handler._finished = True
                handler.request.connection.abort_response()
            else:
                handler.send_error(504)
        return
    if not handler._finished:
        handler._finished = True
        handler.request.connection.abort_response()
    if reason is None:
        raise asyncio.CancelledError


class _Deadline:
    """The deadline of one running handler, for the sweep."""

    __slots__ = ("_handler", "_task", "deadline")

    def __init__(self, handler: "RequestHandler", task: "asyncio.Task[Any]", deadline: float) -> None:
        self._handler = handler
        self._task = task
        self.deadline = deadline

    def deadline_passed(self, now: float) -> None:
        self.deadline = float("inf")
        self._handler._cancelled_by = "deadline"
        self._task.cancel()


def launch(
    handler: "RequestHandler", coroutine: Coroutine[Any, Any, None], context: Context
) -> "asyncio.Task[None]":
    """Go on with a handler as a Task, within its deadline, and tell it when the client leaves."""
    loop = asyncio.get_running_loop()
    task = start(loop, coroutine, context)
    if task.done():
        return task
    _running.add(task)
    task.add_done_callback(_running.discard)
    settings = handler.application.settings
    timeout = handler.request_timeout
    if timeout is None:
        timeout = settings.get("request_timeout")
    if timeout:
        sweeper = deadlines.for_loop(loop)
        deadline = _Deadline(handler, task, sweeper.refresh() + timeout)
        sweeper.watch(deadline, timeout)
        task.add_done_callback(lambda _: sweeper.unwatch(deadline))
    cancel = handler.cancel_on_disconnect
    if cancel is None:
        cancel = settings.get("cancel_on_disconnect", False)

    def gone() -> None:
        context.run(handler.on_connection_close)
        if cancel and not task.done():
            handler._cancelled_by = "disconnect"
            task.cancel()

    connection = handler.request.connection
    set_close_callback = getattr(connection, "set_close_callback", None)
    if set_close_callback is not None and not handler._finished:
        set_close_callback(gone)
    return task


class HandlerDelegate(HTTPMessageDelegate):
    """One request on its way to a `RequestHandler`: its body collected or streamed, then the handler run."""

    __slots__ = (
        "_body_complete",
        "_collector",
        "_context",
        "_prepared",
        "application",
        "handler",
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
        self.request = request
        self.handler_class = handler_class
        self.handler_kwargs = handler_kwargs or {}
        self.path_args = path_args
        self.path_kwargs = path_kwargs
        self.handler: RequestHandler | None = None
        self.stream_request_body = handler_class._stream_request_body
        self._collector: BodyCollector | None = None
        self._body_complete: asyncio.Future[None] | None = None
        self._prepared: asyncio.Future[None] | None = None
        self._context: Context | None = None

    # The body's way in (`BodySink`).

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        return self.wants_body()

    def wants_body(self) -> Awaitable[None] | None:
        """Be ready for the body; where the handler streams it, run its ``prepare`` first."""
        limit = self.handler_class.max_body_size
        if limit is not None:
            self.request.connection.set_max_body_size(limit)
        if not self.stream_request_body:
            self._collector = BodyCollector()
            return None
        loop = asyncio.get_running_loop()
        self._prepared = loop.create_future()
        self._body_complete = loop.create_future()
        self.execute()
        return self._prepared

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        if self._collector is not None:
            self._collector.add(chunk)
            return None
        handler = self.handler
        if handler is None or handler._finished:
            return None
        assert self._context is not None
        try:
            wait = self._context.run(handler.data_received, chunk)
        except Exception as error:
            # Border: whatever a handler raises becomes a response.
            failed(handler, error)
            return None
        return None if wait is None else self._guard(wait)

    async def _guard(self, wait: Awaitable[None]) -> None:
        """Wait for a streaming handler; what it raises is its response."""
        try:
            await wait
        except Exception as error:
            # Border: whatever a handler raises becomes a response.
            assert self.handler is not None
            if not self.handler._finished:
                failed(self.handler, error)

    def finish(self) -> None:
        if self._body_complete is not None:
            if not self._body_complete.done():
                self._body_complete.set_result(None)
            return
        collector, self._collector = self._collector, None
        if collector is not None:
            collector.finish(self.request)
        self.request._parse_body()
        self.execute()

    def on_connection_close(self) -> None:
        if self._collector is not None:
            self._collector.close()
            self._collector = None
        if self._body_complete is not None and not self._body_complete.done():
            self._body_complete.cancel()
        if self.handler is not None and self._context is not None:
            self._context.run(self.handler.on_connection_close)

    # The handler.

    def execute(self) -> "asyncio.Task[None] | None":
        """Make the handler and run it; the Task of what could not run at once."""
        if self._body_complete is None:
            return answer(
                self.application,
                self.request,
                self.handler_class,
                self.handler_kwargs,
                self.path_args,
                self.path_kwargs,
            )
        context = self._context = copy_context()
        handler = self.handler = context.run(
            make, self.application, self.request, self.handler_class, self.handler_kwargs
        )
        return launch(handler, self._run_streaming(handler), context)

    async def _run_streaming(self, handler: "RequestHandler") -> None:
        """Run a handler that takes its body as it comes: prepare, the body, then the verb."""
        assert self._prepared is not None
        assert self._body_complete is not None
        try:
            decode_path(handler, self.path_args, self.path_kwargs)
            name = begin(handler)
            prepared = handler.prepare()
            if prepared is not None:
                await prepared
            if handler._finished:
                return
            self._prepared.set_result(None)
            await self._body_complete
            if handler._finished:
                return
            result = getattr(handler, name)(*handler.path_args, **handler.path_kwargs)
            if result is not None:
                await _awaitable(result)
            if handler._auto_finish and not handler._finished:
                handler.finish()
        except asyncio.CancelledError:
            if self._body_complete.cancelled():  # the client went away before the end of the body
                handler._finished = True
            else:
                cancelled(handler)
        except Exception as error:
            # Border: whatever a handler raises becomes a response.
            failed(handler, error)
        finally:
            if not self._prepared.done():
                self._prepared.set_result(None)
            self._body_complete.cancel()


def answer(
    application: "Application",
    request: HTTPServerRequest,
    handler_class: "type[RequestHandler]",
    handler_kwargs: Mapping[str, Any],
    path_args: Sequence[bytes | None],
    path_kwargs: Mapping[str, bytes | None],
) -> "asyncio.Task[None] | None":
    """Answer a request whose body is there with a new handler, in a context of its own.

    :returns: the Task of what could not run at once.
    """
    context = copy_context()
    rest = context.run(
        _make_and_run, application, request, handler_class, handler_kwargs, path_args, path_kwargs
    )
    if rest is None:
        return None
    handler, coroutine = rest
    return launch(handler, coroutine, context)


def _make_and_run(
    application: "Application",
    request: HTTPServerRequest,
    handler_class: "type[RequestHandler]",
    handler_kwargs: Mapping[str, Any],
    path_args: Sequence[bytes | None],
    path_kwargs: Mapping[str, bytes | None],
) -> "tuple[RequestHandler, Coroutine[Any, Any, None]] | None":
    handler = make(application, request, handler_class, handler_kwargs)
    if handler_class._execute is not Verbs._execute:  # somebody watches requests: go that way
        return handler, handler._execute(handler._transforms or [], *path_args, **path_kwargs)
    if path_args or path_kwargs:
        try:
            decode_path(handler, path_args, path_kwargs)
        except Exception as error:
            # Border: a path that does not decode becomes a response.
            failed(handler, error)
            return None
    coroutine = run(handler)
    return None if coroutine is None else (handler, coroutine)


def make(
    application: "Application",
    request: HTTPServerRequest,
    handler_class: "type[RequestHandler]",
    handler_kwargs: Mapping[str, Any],
) -> "RequestHandler":
    """A handler for one request, with the transforms of the application."""
    handler = handler_class(application, request, **handler_kwargs)
    if application.transforms:
        handler._transforms = [transform(request) for transform in application.transforms]
    return handler


def decode_path(
    handler: "RequestHandler", args: Sequence[bytes | None], kwargs: Mapping[str, bytes | None]
) -> None:
    """Give the handler the groups of its route's pattern, decoded."""
    decode = handler.decode_argument
    handler.path_args = [arg if arg is None else decode(arg) for arg in args]  # type: ignore[misc]
    handler.path_kwargs = {
        name: arg if arg is None else decode(arg, name=name)  # type: ignore[misc]
        for name, arg in kwargs.items()
    }
