"""How a handler runs: from a routed request to its verb's end; how its body arrives may not enter.

The plain path is a handler whose ``prepare`` and verb return None: it runs in the callback that read the request,
without a Task.  Whatever returns an awaitable goes on as a Task in the same context.  Every request has a context of
its own, so that a ``ContextVar`` set in one is never seen by the next.
"""

import asyncio
from collections.abc import Awaitable, Coroutine, Mapping, Sequence
from contextvars import Context, copy_context
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any

from webfw.httpserver.collector import BodyCollector
from webfw.httpserver.exchange import DONE
from webfw.httputil import HTTPServerRequest
from webfw.ioloop import deadlines
from webfw.ioloop.start import start
from webfw.log import app_log, gen_log
from webfw.web.errors import HTTPError
from webfw.web.verbs import Verbs

if TYPE_CHECKING:
    from webfw.web.application import Application
    from webfw.web.handler import RequestHandler

__all__ = ["BodyGate", "Running", "answer", "run", "run_all"]

#: Verbs as their methods are named; others are lower-cased when met.
_VERBS = {verb: verb.lower() for verb in ("GET", "HEAD", "POST", "DELETE", "PATCH", "PUT", "OPTIONS")}

#: What the access log says of a request whose client did not wait for the answer, as other servers do.
CLIENT_CLOSED_REQUEST = 499

#: Tasks of handlers that have begun: the loop itself keeps only weak references.
kept_tasks: set["asyncio.Task[Any]"] = set()


def run(handler: "RequestHandler") -> Coroutine[Any, Any, None] | None:
    """Run a handler as far as it goes without waiting.

    :returns: None when it is finished, or a coroutine that does the rest.
    """
    try:
        name = begin(handler)
        prepared = handler.prepare()
        if prepared is not None and prepared is not DONE:
            return _after_prepare(handler, prepared, name)
        if handler._finished:
            return None
        result = getattr(handler, name)(*handler.path_args, **handler.path_kwargs)
        if result is not None and result is not DONE:
            return _after_verb(handler, result)
        if not handler._auto_finish:
            _leave_open(handler)
        elif not handler._finished:
            handler.finish()
    except (Exception, asyncio.CancelledError) as error:
        # Border: whatever a handler raises becomes a response.  Nothing is cancelled here, since nothing waits: the
        # result of something that was is as wrong as any other.
        failed(handler, error)
    return None


def begin(handler: "RequestHandler") -> str:
    """Check what is checked before any handler runs; the name of the method that shall run."""
    method = handler.request.method or ""
    if method not in handler.SUPPORTED_METHODS:
        raise HTTPError(405)
    if method not in ("GET", "HEAD", "OPTIONS"):
        if not handler._stream_request_body:
            handler.request._parse_body()  # a malformed form is refused, whether or not the handler looks at it
        settings = handler.application.settings
        if settings.get("xsrf_cookies"):
            handler.check_xsrf_cookie()
        if settings.get("cross_origin_protection"):
            handler.check_cross_origin()
    name = _VERBS.get(method)
    if name is None:
        name = method.lower()
        if not hasattr(handler, name):  # a base class has named the verb, this handler does not serve it
            raise HTTPError(405)
    return name


async def _after_prepare(handler: "RequestHandler", prepared: Awaitable[None], name: str) -> None:
    try:
        await prepared
        if not handler._finished:
            await _verb(handler, name)
    except asyncio.CancelledError as error:
        if cancelled(handler, error):
            raise
    except Exception as error:
        # Border: whatever a handler raises becomes a response.
        failed(handler, error)


async def _after_verb(handler: "RequestHandler", result: Awaitable[None]) -> None:
    try:
        await result  # what it returns is not looked at, as in Tornado
        if handler._auto_finish and not handler._finished:
            handler.finish()
    except asyncio.CancelledError as error:
        if cancelled(handler, error):
            raise
    except Exception as error:
        # Border: whatever a handler raises becomes a response.
        failed(handler, error)


async def _verb(handler: "RequestHandler", name: str) -> None:
    """Run the verb's method, and finish."""
    result = getattr(handler, name)(*handler.path_args, **handler.path_kwargs)
    if result is not None:
        await result
    if handler._auto_finish and not handler._finished:
        handler.finish()


def _leave_open(handler: "RequestHandler") -> None:
    """Let a handler that answers later, from a callback of its own, know when the client leaves."""
    set_close_callback = getattr(handler.request.connection, "set_close_callback", None)
    if set_close_callback is not None and not handler._finished:
        set_close_callback(partial(copy_context().run, handler.on_connection_close))


async def run_all(
    handler: "RequestHandler", args: Sequence[bytes | None], kwargs: Mapping[str, bytes | None]
) -> None:
    """Run a handler from beginning to end; one that takes its body as it comes waits for that before its verb."""
    try:
        decode_path(handler, args, kwargs)
    except Exception as error:
        # Border: a path that does not decode becomes a response.
        failed(handler, error)
        return
    gate = handler._gate
    if gate is not None:
        await _run_streaming(handler, gate)
        return
    rest = run(handler)
    if rest is not None:
        await rest


async def _run_streaming(handler: "RequestHandler", gate: "BodyGate") -> None:
    try:
        name = begin(handler)
        prepared = handler.prepare()
        if prepared is not None:
            await prepared
        if not handler._finished and not gate.client_gone:
            gate.open()
            await gate.over
        if gate.client_gone:
            client_left(handler)
        elif not handler._finished:
            await _verb(handler, name)
    except asyncio.CancelledError as error:
        if cancelled(handler, error):
            raise
    except Exception as error:
        # Border: whatever a handler raises becomes a response.
        failed(handler, error)


# Bad ends.


def failed(handler: "RequestHandler", error: BaseException) -> None:
    """Answer what a handler raised."""
    try:
        handler._handle_request_exception(error)
    except Exception:
        # Border: an error page that fails must not break the transport.
        app_log.error("Exception in exception handler", exc_info=True)
        give_up(handler)
    if handler._gate is not None:
        if handler._finished:
            handler._gate.end()
        return
    # What holds the exception, such as a log, holds the request too, but need not hold its file.
    body = getattr(handler.request, "_body_source", None)
    if handler._finished and isinstance(body, BodyCollector):
        body.close()


def cancelled(handler: "RequestHandler", error: asyncio.CancelledError) -> bool:
    """A handler has raised ``CancelledError``: because of its deadline, because the client left, or of itself.

    :returns: whether it shall be raised on, since somebody else has cancelled the task, such as the end of the loop.
    """
    task = asyncio.current_task()
    if task is None or not task.cancelling():  # what it waited for was cancelled, not the handler
        failed(handler, error)
        return False
    reason = handler._cancelled_by
    if reason == "disconnect":
        client_left(handler)
    elif reason == "deadline" and not handler._finished:
        if handler._headers_written:
            gen_log.warning("Cut at its deadline: the answer to %s", handler._request_summary())
            give_up(handler)
        else:
            try:
                handler.send_error(504)
            except Exception:
                # Border: as in `failed`.
                app_log.error("Exception in exception handler", exc_info=True)
                give_up(handler)
    else:
        give_up(handler)
    return reason is None


def client_left(handler: "RequestHandler") -> None:
    """End a request that nobody waits for any more."""
    if not handler._finished and not handler._headers_written:
        # Nothing is sent; it is for the log, which would else report a success.
        handler.set_status(CLIENT_CLOSED_REQUEST, "Client Closed Request")
    give_up(handler)


def give_up(handler: "RequestHandler") -> None:
    """End a request without a complete response."""
    try:
        handler._cut()
    except Exception:
        # Border: what an application does at the end of a request must not break the transport.
        app_log.error("Uncaught exception at the end of %s", handler._request_summary(), exc_info=True)


class BodyGate:
    """Between a handler that takes its body as it comes and that body: who waits for whom.

    :ivar wanted: done when ``prepare`` has run, so that the body may come.
    :ivar over: done when no more of the body is to be waited for.
    :ivar client_gone: the body will never be complete.
    """

    __slots__ = ("client_gone", "over", "wanted")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.wanted: asyncio.Future[None] = loop.create_future()
        self.over: asyncio.Future[None] = loop.create_future()
        self.client_gone = False

    def open(self) -> None:
        if not self.wanted.done():
            self.wanted.set_result(None)

    def end(self) -> None:
        if not self.over.done():
            self.over.set_result(None)


class Running:
    """A handler that goes on as a Task: its deadline, and what happens when its client leaves.

    :ivar deadline: for the sweep, in the loop's time.
    """

    __slots__ = ("_left", "_reading", "_task", "context", "deadline", "handler")

    def __init__(self, handler: "RequestHandler", context: Context) -> None:
        self.handler = handler
        self.context = context
        self.deadline = inf
        self._left = False
        self._task: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[None] | None = None

    def start(self, coroutine: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Go on with the handler as a Task, within its deadline."""
        handler = self.handler
        if not handler._finished:
            # Before the Task, which may begin at once and set another callback.
            set_close_callback = getattr(handler.request.connection, "set_close_callback", None)
            if set_close_callback is not None:
                set_close_callback(self.client_left)
        loop = asyncio.get_running_loop()
        task = self._task = start(loop, coroutine, self.context)
        if task.done():
            return task
        kept_tasks.add(task)
        task.add_done_callback(kept_tasks.discard)
        timeout = handler.request_timeout
        if timeout is None:
            timeout = handler.application.settings.get("request_timeout")
        if timeout:
            sweeper = deadlines.for_loop(loop)
            self.deadline = sweeper.refresh() + timeout
            sweeper.watch(self, timeout)
            task.add_done_callback(lambda _: sweeper.unwatch(self))
        return task

    def deadline_passed(self, now: float) -> None:
        self.deadline = inf
        self._cancel("deadline")

    def client_left(self) -> None:
        """The client is gone: tell the handler, once."""
        if self._left:
            return
        self._left = True
        handler = self.handler
        try:
            self.context.run(handler.on_connection_close)
        finally:
            gate = handler._gate
            if gate is not None and not gate.over.done():
                gate.client_gone = True
                gate.end()
            cancel = handler.cancel_on_disconnect
            if cancel is None:
                cancel = handler.application.settings.get("cancel_on_disconnect", False)
            if cancel and self._task is not None:
                # In the next turn: a Task that has not begun yet would end without having run at all.
                self._task.get_loop().call_soon(self._cancel, "disconnect")

    def _cancel(self, reason: str) -> None:
        for task in (self._task, self._reading):
            if task is not None and not task.done():
                self.handler._cancelled_by = reason
                task.cancel()

    # The body, for a handler that takes it as it comes.

    def take(self, chunk: bytes) -> Awaitable[None] | None:
        """Give the handler a piece of its body."""
        handler = self.handler
        if handler._finished:
            return None
        try:
            wait = self.context.run(handler.data_received, chunk)
        except (Exception, asyncio.CancelledError) as error:
            # Border: whatever a handler raises becomes a response.
            failed(handler, error)
            return None
        if wait is None or wait is DONE:
            return None
        task = start(asyncio.get_running_loop(), self._taken(wait), self.context)
        if task.done():
            return None
        self._reading = task
        return task

    async def _taken(self, wait: Awaitable[None]) -> None:
        handler = self.handler
        try:
            await wait
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or not task.cancelling():
                failed(handler, error)
            elif handler._cancelled_by is None:
                raise
        except Exception as error:
            # Border: whatever a handler raises becomes a response.
            failed(handler, error)
        finally:
            self._reading = None


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
    return Running(handler, context).start(coroutine)


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
        return handler, replaced(handler, path_args, path_kwargs)
    if path_args or path_kwargs:
        try:
            decode_path(handler, path_args, path_kwargs)
        except Exception as error:
            # Border: a path that does not decode becomes a response.
            failed(handler, error)
            return None
    coroutine = run(handler)
    return None if coroutine is None else (handler, coroutine)


def replaced(
    handler: "RequestHandler", path_args: Sequence[bytes | None], path_kwargs: Mapping[str, bytes | None]
) -> Coroutine[Any, Any, None]:
    """Run a handler by an ``_execute`` that is not our own, whatever that returns."""
    try:
        result = handler._execute(handler._transforms or [], *path_args, **path_kwargs)
    except Exception as error:
        # Border: whatever a handler raises becomes a response.
        failed(handler, error)
        result = DONE  # type: ignore[assignment]  # just an awaitable
    return _watched(handler, result)


async def _watched(handler: "RequestHandler", result: Awaitable[None] | None) -> None:
    try:
        if result is not None:
            await result
    except asyncio.CancelledError as error:
        if cancelled(handler, error):
            raise
    except Exception as error:
        # Border: whatever a handler raises becomes a response.
        failed(handler, error)


def make(
    application: "Application",
    request: HTTPServerRequest,
    handler_class: "type[RequestHandler]",
    handler_kwargs: Mapping[str, Any],
) -> "RequestHandler":
    """A handler for one request, with the transforms of the application; called in the context it will run in."""
    record = getattr(request.connection, "record", None)
    if record is not None:
        record.logged_by_application = application.has_own_log()
        record.handling()
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
