"""`ASGIContainer`: ASGI applications on this server, beside native handlers; how one request runs is in ``http``."""

import asyncio
import functools
import inspect
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from io import BytesIO
from typing import Any

from webfw.asgi.http import HTTPRun
from webfw.asgi.lifespan import Lifespan, LifespanError, Mode
from webfw.asgi.run import Run
from webfw.asgi.scope import ScopeMaker
from webfw.asgi.websocket import WebSocketRun, is_handshake
from webfw.httpserver import Exchange
from webfw.httpserver.collector import BodyCollector
from webfw.httputil import (
    HTTPConnection,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    HTTPServerRequest,
)
from webfw.log import access_log, app_log
from webfw.websocket import ConnectionSettings
from webfw.websocket.compression import agree

__all__ = ["ASGIContainer", "is_asgi_application"]

#: What an access log shows where the client did not wait, as other servers have it.
CLIENT_GONE = 499

Application = Callable[[Any, Any, Any], Awaitable[None]]


class ASGIContainer(HTTPServerConnectionDelegate):
    """Runs an ASGI 3 application: as what a server answers with, as the target of a route, or as a fallback::

        HTTPServer(ASGIContainer(fastapi_app)).listen(8000)
        Application([("/live", Live), Rule(PathMatches("/api.*"), ASGIContainer(api, mount="/api"))])

    Each request runs as a Task in a context of its own.  Its body is read as the application asks for it, and a
    response waits for a slow client in ``send``.  A client that leaves does not cancel the application: it is told by
    ``http.disconnect``, and its ``send`` raises a `ClientDisconnected`, which is an `OSError`.

    :param app: the application: called with ``(scope, receive, send)``, it gives an awaitable.
    :param mount: the path the application is mounted at (``root_path``); other paths are answered 404.
    :param lifespan: ``auto`` runs the application's lifespan where it has one, ``on`` makes it an error not to have
        one, ``off`` never asks.  It begins by `startup`, or else with the first request, and ends by `shutdown`.
    :param lifespan_timeout: seconds for the startup, and again for the shutdown; None for no limit.
    :param request_timeout: seconds until the application must have begun its response, counted from the request's
        head.  After that it is answered 504, and the application's task is cancelled.  None for no such limit.
    :param websocket_settings: limits and deadlines of WebSockets.  By default those of `ConnectionSettings`, with a
        ping every 20 seconds, since an application cannot send any.
    :param websocket_compression: options of compression, as `WebSocketHandler.get_compression_options` has them; None
        to do without it.
    :param drain_spread: seconds over which WebSockets are closed when the server goes away, so that not all clients
        come back at once.
    :param log_function: called for each request in place of the access log, with what knows ``get_status()`` and
        ``request``.
    :raises TypeError: no ASGI application.
    :raises ValueError: a number out of range, or a mount that is no path.
    """

    def __init__(
        self,
        app: Application,
        *,
        mount: str = "",
        lifespan: Mode = "auto",
        lifespan_timeout: float | None = 60.0,
        request_timeout: float | None = None,
        websocket_settings: ConnectionSettings | None = None,
        websocket_compression: Mapping[str, Any] | None = None,
        drain_spread: float = 5.0,
        log_function: Callable[[Any], None] | None = None,
    ) -> None:
        if not is_asgi_application(app):
            raise TypeError(_what_is_wrong(app))
        if mount and (mount[0] != "/" or mount[-1] == "/"):
            raise ValueError(f"a mount begins with a slash and does not end with one: {mount!r}")
        if lifespan not in ("auto", "on", "off"):
            raise ValueError(f"lifespan must be 'auto', 'on' or 'off', not {lifespan!r}")
        for name, value in (("lifespan_timeout", lifespan_timeout), ("request_timeout", request_timeout)):
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be more than 0, not {value!r}")
        if not drain_spread >= 0:
            raise ValueError(f"drain_spread must not be {drain_spread!r}")
        agree(websocket_compression, [])  # options that do not exist are better known now
        self.app = app
        self.lifespan = lifespan
        self.lifespan_timeout = lifespan_timeout
        self.request_timeout = request_timeout
        self.websocket_settings = websocket_settings or ConnectionSettings(ping_interval=20.0)
        self.websocket_compression = websocket_compression
        self.drain_spread = drain_spread
        self.settings: dict[str, Any] = {}
        if log_function is not None:
            self.settings["log_function"] = log_function
        self.scopes = ScopeMaker(mount)
        #: Requests whose application has not ended.
        self.running: set[Run] = set()
        #: What the lifespan has left for requests; each gets a copy.
        self.state: dict[str, Any] = {}
        #: Whether requests need not wait for the lifespan.
        self.ready = False
        #: Whether the application is being shut down.
        self.draining = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lifespan: Lifespan | None = None
        self._starting: asyncio.Task[None] | None = None
        #: The shutdown, whoever has asked for it; and whether all is over, until the next `startup`.
        self._ending: asyncio.Task[None] | None = None
        self._over = False
        self._by_request = False
        self._spread = drain_spread
        self._tasks: set[asyncio.Task[Any]] = set()

    # Requests in.

    def begin(self, exchange: Exchange) -> Awaitable[None] | None:
        """Take an exchange from the server (`httpserver.Begin`)."""
        request = exchange.request
        assert request is not None
        run = self._run_for(exchange, request)
        exchange.sink = run
        return run.begin()

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        """Take a request (Tornado's delegate interface)."""
        assert isinstance(request_conn, Exchange)
        request = request_conn.request
        assert request is not None
        return self._run_for(request_conn, request)  # type: ignore[return-value]  # it has all methods of one

    def __call__(self, request: HTTPServerRequest) -> None:
        """Answer a request whose body is there already, as `FallbackHandler` has it."""
        source = getattr(request, "_body_source", None)
        body = source.open() if isinstance(source, BodyCollector) else BytesIO(request.body)
        run = self._run_for(request.connection, request)
        run.begin_with(body)

    def _run_for(self, exchange: Exchange, request: HTTPServerRequest) -> Run:
        loop = exchange.loop
        if loop is not self._loop:
            self._use_loop(loop)
        record = exchange.record
        if record is not None:
            record.logged_by_application = self._has_own_log()
            if record.route is None:
                record.route = self.scopes.mount or None
        head: Any = request._head
        # Most requests offer no other protocol, which their head knows.
        if getattr(head, "upgrade", True) and is_handshake(request):
            return WebSocketRun(self, exchange, request, loop)
        return HTTPRun(self, exchange, request, loop)

    def _use_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Requests come from a loop for the first time; a container serves one loop at a time.

        :raises RuntimeError: another loop is still running with it: the lifespan would begin anew with each change.
        """
        before = self._loop
        if before is not None and before is not loop and before.is_running():
            raise RuntimeError("an ASGIContainer serves one loop at a time; make one for each loop")
        self._loop = loop
        self.ready = self.lifespan == "off"
        self.draining = False
        self.state = {}
        self.running = set()
        self._lifespan = self._starting = self._ending = None
        self._over = False

    # The lifespan.

    async def startup(self) -> None:
        """Begin the application's lifespan; done when it is ready for requests.

        Without it, the first request does that, and waits.

        :raises LifespanError: the application cannot start.
        :raises RuntimeError: it is running on another loop.
        """
        loop = asyncio.get_running_loop()
        failed = self._starting is not None and self._starting.done() and not self.ready
        if loop is not self._loop or failed or self._over:
            self._use_loop(loop)
        self._by_request = False
        if self.ready:
            return
        starting = self._start()
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            # Whoever wanted it wants it no more: the application is not to be left between two states.
            starting.cancel()
            await asyncio.wait([starting])
            raise

    async def shutdown(self) -> None:
        """End: wait until the application has ended with every request, then end its lifespan.

        To be called when the server has been drained; again does no harm.  What has not ended within
        ``lifespan_timeout`` is cancelled.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            return
        if self._ending is None:
            self._ending = loop.create_task(self._run_shutdown())
        ending = self._ending
        try:
            await asyncio.wait([ending])
        except asyncio.CancelledError:
            # The time is up: the application has to end now.
            ending.cancel()
            await asyncio.wait([ending])
            raise

    async def _run_shutdown(self) -> None:
        starting = self._starting
        if starting is not None:
            try:
                await asyncio.wait([starting])
            except asyncio.CancelledError:
                starting.cancel()
                await asyncio.wait([starting])
                raise
        await self._end_requests()
        self.ready = False
        self._over = True
        lifespan, self._lifespan = self._lifespan, None
        if lifespan is not None:
            await lifespan.shutdown()

    def _start(self) -> "asyncio.Task[None]":
        """The task of the startup, begun where it has not been."""
        if self._starting is None:
            self._starting = asyncio.get_running_loop().create_task(self._run_startup())
            # Who has waited for it may have gone.
            self._starting.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._starting

    async def _run_startup(self) -> None:
        lifespan = Lifespan(self.app, self.lifespan, self.lifespan_timeout)
        await lifespan.startup()
        self._lifespan = lifespan
        self.state = lifespan.state
        self.ready = True

    async def is_ready(self) -> bool:
        """Wait for the startup that a request has to wait for; False where it has failed, or all is over."""
        if self._over:
            return False
        first = self._starting is None
        if first:
            self._by_request = True
        starting = self._start()
        await asyncio.wait([starting])
        if first and not starting.cancelled() and (error := starting.exception()) is not None:
            app_log.error("The application cannot start: %s", error, exc_info=_reason(error))
        return self.ready

    async def _end_requests(self) -> None:
        """Wait for the application's tasks, also for those of requests that begin meanwhile."""
        loop = asyncio.get_running_loop()
        limit = self.lifespan_timeout
        end = None if limit is None else loop.time() + limit
        while tasks := [run.task for run in self.running if run.task is not None and not run.task.done()]:
            _, left = await asyncio.wait(tasks, timeout=None if end is None else max(end - loop.time(), 0.0))
            if left:
                app_log.error("%d requests of the application had to be cancelled", len(left))
                for task in left:
                    task.cancel()
                await asyncio.wait(left, timeout=1.0)
                return

    def start_draining(self, timeout: float = 30.0) -> None:
        """Have the clients that stay go away: the application is being shut down.  `HTTPServer.drain` calls it.

        WebSockets are closed with 1012, each at a random moment of the spread.  A lifespan that a request has begun
        ends when no request is left; one that `startup` has begun ends by `shutdown`.

        :param timeout: seconds until the server cuts what is left; the spread is at most half of it.
        """
        if self.draining or self._loop is None:
            return
        self.draining = True
        self._spread = min(self.drain_spread, timeout / 2)
        for run in self.running:
            self.drain_soon(run)
        if self._by_request:
            self.keep(self._loop.create_task(self.shutdown()))

    # What a run asks.

    def drain_soon(self, run: Run) -> None:
        """Have a client that stays go away, at a random moment of the spread."""
        run.loop.call_later(random.random() * self._spread, run.drain)

    def keep(self, task: "asyncio.Task[Any]") -> None:
        """Keep a task until it is done: the loop itself keeps only a weak reference."""
        if not task.done():
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def ended(self, run: Run) -> None:
        """A request has been answered, or its client has gone."""
        log_function = self.settings.get("log_function")
        try:
            if log_function is not None:
                log_function(_Entry(run))
                return
            record = run.exchange.record
            if record is None or not record.observers.writes_access_log or self._has_own_log():
                self._log(run.status or CLIENT_GONE, run.request)
        except Exception:
            # Border: a log of the program's own must not break the request.
            app_log.error("%s: uncaught exception in the access log", run.summary(), exc_info=True)

    def _has_own_log(self) -> bool:
        """Whether the access log is written in a way of the program's own, so that the server's is not wanted."""
        return self.settings.get("log_function") is not None or type(self)._log is not ASGIContainer._log

    def _log(self, status_code: int, request: HTTPServerRequest) -> None:
        """Write the line of the access log; programs override it."""
        level = logging.INFO if status_code < 400 else logging.WARNING if status_code < 500 else logging.ERROR
        if access_log.isEnabledFor(level):
            summary = f"{request.method} {request.uri} ({request.remote_ip})"
            access_log.log(level, "%d %s %.2fms", status_code, summary, 1000.0 * request.request_time())

    def load(self) -> dict[str, int]:
        """How much it has to do.

        :returns: ``running``: for how many requests and WebSockets the application has not ended.
        """
        return {"running": len(self.running)}


class _Entry:
    """What an access log's function gets of a request; it knows what a `RequestHandler` knows."""

    __slots__ = ("_run", "request")

    def __init__(self, run: Run) -> None:
        self._run = run
        self.request = run.request

    def get_status(self) -> int:
        return self._run.status or CLIENT_GONE


def _reason(error: BaseException) -> BaseException | None:
    """The exception behind one that has only been put into words."""
    return error.__cause__ if isinstance(error, LifespanError) else error


# --- what is an application ---


def is_asgi_application(app: Any) -> bool:
    """Whether something is an ASGI 3 application: it is called with ``(scope, receive, send)`` and can be awaited then.

    A coroutine function, an object whose ``__call__`` is one, and a class whose instances can be awaited.  A plain
    function of three arguments may be one too, and nothing else a server could use.  ASGI 2, where an application is
    called twice, is not recognised.
    """
    if not callable(app) or not _takes(app, 3):
        return False
    while isinstance(app, functools.partial):
        app = app.func
    if inspect.isclass(app):
        return hasattr(app, "__await__")
    called = app if inspect.isroutine(app) else type(app).__call__
    return inspect.iscoroutinefunction(called) or not _takes(app, 2)


def _what_is_wrong(app: Any) -> str:
    if callable(app) and _takes(app, 1) and (inspect.isclass(app) or not inspect.iscoroutinefunction(app)):
        return (
            f"{_name(app)} is called with one argument, as ASGI 2 had it; "
            "an ASGI 3 application is called with (scope, receive, send)"
        )
    return f"an ASGI application is called with (scope, receive, send) and awaited, unlike {_name(app)}"


def _name(app: Any) -> str:
    return getattr(app, "__qualname__", None) or type(app).__name__


def _takes(app: Any, count: int) -> bool:
    """Whether a callable takes so many positional arguments; True also when it does not say."""
    try:
        inspect.signature(app).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:
        return True
    return True
