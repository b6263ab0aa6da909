"""`WSGIContainer`: WSGI applications on this server, beside native handlers; how one is run the rooms beside know."""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from functools import partial
from io import BytesIO
from time import monotonic
from typing import IO, TYPE_CHECKING, Any

from webfw.httpserver import Exchange
from webfw.httpserver.collector import BodyCollector
from webfw.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    HTTPServerRequest,
    RequestStartLine,
    ResponseStartLine,
)
from webfw.ioloop import deadlines
from webfw.log import access_log, app_log
from webfw.process import task_id
from webfw.wsgi.environ import EnvironMaker
from webfw.wsgi.inline import InlineRun
from webfw.wsgi.run import Run
from webfw.wsgi.threaded import ThreadRun
from webfw.wsgi.threads import Mailbox, ThreadPool

if TYPE_CHECKING:
    import concurrent.futures

__all__ = ["WSGIContainer"]

#: Threads where nobody says how many.
THREADS = 8

#: Seconds that an answer made on the loop waits for those made behind it, so that all leave together.
HOLD = 0.001

#: What an access log shows where the client did not wait, as other servers have it.
CLIENT_GONE = 499

Application = Callable[[dict[str, Any], Any], Any]


class WSGIContainer(HTTPServerConnectionDelegate):
    """Runs a WSGI application (PEP 3333): as what a server answers with, as the target of a route, or as a fallback::

        HTTPServer(WSGIContainer(flask_app)).listen(8000)
        Application([("/live", Live), Rule(PathMatches("/shop.*"), WSGIContainer(shop, mount="/shop"))])

    The loop reads the whole request, and the response leaves at the pace of its client: a thread is needed only while
    the application's own code runs, however slow the client.

    :param wsgi_application: the application.
    :param executor: a `concurrent.futures.Executor` to run it in, in place of threads of our own.
    :param threads: how many requests run at once, each in a thread (8 by default).  0 runs them on the loop, one after
        the other: the fastest there is, for an application that never blocks.
    :param mount: the path the application is mounted at (``SCRIPT_NAME``); other paths are answered 404.
    :param max_waiting: requests that may wait for a thread; more are answered 503 with Retry-After.
    :param request_timeout: seconds until the application must have begun its response, counted from when the request is
        there, and then between two pieces of it; waiting for a slow client does not count.  After that it is answered
        504 (or cut, when it has begun), the stack of its thread is logged, and the thread is replaced; one of an
        executor cannot be.  None for no such limit.  Not with ``threads=0``.
    :param max_response_backlog: bytes of one response that may wait for a slow client, most of them in a temporary
        file; above it, the application waits.
    :param keep_underscores: pass on fields whose names have an underscore; they cannot be told from those with a dash.
    :raises ValueError: a number out of range, or a mount that is no path.
    """

    def __init__(
        self,
        wsgi_application: Application,
        executor: Any = None,
        *,
        threads: int | None = None,
        mount: str = "",
        max_waiting: int = 1000,
        request_timeout: float | None = None,
        max_response_backlog: int = 1024 * 1024 * 1024,
        keep_underscores: bool = False,
        log_function: Callable[[Any], None] | None = None,
    ) -> None:
        if not callable(wsgi_application):
            raise TypeError(f"a WSGI application is a callable, not {type(wsgi_application).__name__}")
        if mount and (mount[0] != "/" or mount[-1] == "/"):
            raise ValueError(f"a mount begins with a slash and does not end with one: {mount!r}")
        if threads is None:
            threads = THREADS
        if threads < 0 or max_waiting < 0 or max_response_backlog < 0:
            raise ValueError("threads, max_waiting and max_response_backlog must not be negative")
        if request_timeout is not None and not request_timeout > 0:
            raise ValueError(f"request_timeout must be more than 0, not {request_timeout!r}")
        self.wsgi_application = wsgi_application
        self.executor = executor
        self.threads = threads
        self.request_timeout = request_timeout
        self.max_response_backlog = max_response_backlog
        self.settings: dict[str, Any] = {}
        if log_function is not None:
            self.settings["log_function"] = log_function
        self.mailbox: Mailbox
        self._inline = threads == 0 and executor is None
        self._environs = EnvironMaker(mount, multithread=not self._inline, underscores=keep_underscores)
        self._max_waiting = max_waiting
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pool: ThreadPool | None = None
        #: Requests to be run on the loop when it has read what there is; None when nobody has asked for that.
        self._turn: list[InlineRun] | None = None
        self._waiting = 0  # in an executor
        self._tasks: set[asyncio.Task[None]] = set()

    # Requests in.

    def begin(self, exchange: Exchange) -> Awaitable[None] | None:
        """Take an exchange from the server (`httpserver.Begin`)."""
        request = exchange.request
        assert request is not None
        if exchange.has_body:
            exchange.sink = _Collecting(self, exchange, request)
        else:
            self._run(exchange, request, None, None)
        return None

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        """Take a request (Tornado's delegate interface)."""
        assert isinstance(request_conn, Exchange)
        request = request_conn.request
        assert request is not None
        return _Collecting(self, request_conn, request)

    def __call__(self, request: HTTPServerRequest) -> None:
        """Answer a request whose body is there already, as `FallbackHandler` has it."""
        exchange = request.connection
        source = getattr(request, "_body_source", None)
        if isinstance(source, BodyCollector):
            self._run(exchange, request, source.open(), source.size, source)
        else:
            body = request.body
            self._run(exchange, request, BytesIO(body), len(body) if exchange.has_body else None)

    def handle_request(self, request: HTTPServerRequest) -> None:
        """Answer a request, as calling the container does."""
        self(request)

    def environ(self, request: HTTPServerRequest) -> dict[str, Any]:
        """The environ of a request, as its application would see it.

        :raises ValueError: its path is not under the mount.
        """
        body = request.body
        size = len(body) if body or "Content-Length" in request.headers else None
        environ = self._environs.make(request, BytesIO(body), size)
        if environ is None:
            raise ValueError(f"{request.path} is not under {self._environs.mount}")
        return environ

    def _run(
        self,
        exchange: Exchange,
        request: HTTPServerRequest,
        body: IO[bytes] | None,
        size: int | None,
        collector: BodyCollector | None = None,
    ) -> None:
        """Run the application for a request that is there as a whole."""
        loop = exchange.loop
        if loop is not self._loop:
            self._use_loop(loop)
        record = exchange.record
        if record is not None:
            record.logged_by_application = self._has_own_log()
        run: Run = (InlineRun if self._inline else ThreadRun)(
            self, exchange, request, copy_context(), collector
        )
        try:
            environ = self._environs.make(request, body or BytesIO(), size)
        except Exception as error:
            # Border: what cannot be put into an environ becomes a response.
            run.fail(error)
            run.release()
            return
        if environ is None:
            # CONNECT has no path: what it asks for is a tunnel (RFC 9110 section 9.3.6).
            run.refuse(501 if request.method == "CONNECT" else 404)
            run.release()
            return
        environ["webfw.client_disconnected"] = run.client_disconnected
        environ["webfw.loop"] = loop
        environ["wsgi.early_hints"] = run.early_hints
        if record is not None and record.request_id is not None:
            environ["HTTP_X_REQUEST_ID"] = record.request_id
        run.environ = environ
        exchange.set_close_callback(run.client_gone)
        if isinstance(run, ThreadRun):
            self._submit(run, loop)
        elif isinstance(run, InlineRun):
            if self._turn is None:
                self._turn = []
                loop.call_soon(self._run_turn, self._turn)
            self._turn.append(run)

    def _run_turn(self, turn: list[InlineRun]) -> None:
        """Run the requests that one turn of the loop has brought.

        Behind all its reads, one after the other, and the answers of a millisecond behind each other: in between, each
        read, each application and each write would find the processor's memory of it swept away by the others.
        """
        if self._turn is turn:
            self._turn = None
        ready: list[InlineRun] = []
        until = monotonic() + HOLD
        try:
            for run in turn:
                if run.gone:
                    run.release()
                    continue
                ready.append(run)
                try:
                    run.execute()
                except Exception:
                    # Border: what one request's end raises must not keep the others.
                    self._failed_at_the_end(run)
                if monotonic() > until:
                    self._answer(ready)
                    until = monotonic() + HOLD
        finally:
            self._answer(ready)

    def _answer(self, ready: list[InlineRun]) -> None:
        for run in ready:
            try:
                run.answer()
            except Exception:
                # Border: as above; a log function, for one.
                self._failed_at_the_end(run)
        ready.clear()

    def _failed_at_the_end(self, run: Run) -> None:
        app_log.error("%s: uncaught exception at the end", run.summary(), exc_info=True)

    def _use_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Requests come from a loop for the first time; a container serves one loop at a time."""
        self.close()
        self._loop = loop
        self.mailbox = Mailbox(loop)
        self._turn = None  # that of a loop which has ended is not run any more
        self._environs.set_multiprocess(task_id() is not None)
        if not self._inline and self.executor is None:
            self._pool = ThreadPool(self.threads, self._max_waiting, "webfw-wsgi", loop.call_soon)

    def _submit(self, run: ThreadRun, loop: asyncio.AbstractEventLoop) -> None:
        """Have a thread run a request."""
        if self.request_timeout is not None:
            sweeper = deadlines.for_loop(loop)
            run.deadline = sweeper.refresh() + self.request_timeout
            run.watched = sweeper.unwatch
            sweeper.watch(run, self.request_timeout)
        taken = self._execute_elsewhere(run) if self._pool is None else self._pool.submit(run)
        if not taken:
            run.refuse(503, retry_after=1)
            run.release()
            if run.watched is not None:
                run.watched(run)

    def _execute_elsewhere(self, run: ThreadRun) -> bool:
        """Have the executor run a request; False when it has too much to do, or takes nothing more."""
        if self._waiting >= self._max_waiting + max(1, self.threads):
            return False

        def execute() -> None:
            run.thread = threading.current_thread()
            run.execute()
            run.thread = None

        try:
            future = self.executor.submit(execute)
        except RuntimeError as error:
            app_log.error("The executor takes no request: %s", error)
            return False
        self._waiting += 1
        future.add_done_callback(lambda future: run.post(partial(self._executed, run, future)))
        return True

    def _executed(self, run: ThreadRun, future: "concurrent.futures.Future[None]") -> None:
        self._waiting -= 1
        # It is never begun when the executor is shut down, or is none of threads.
        error = None if future.cancelled() else future.exception()
        if error is not None:
            run.fail(error)
        elif future.cancelled():
            run.refuse(503, retry_after=1)
        else:
            return
        run.release()
        if run.watched is not None:
            run.watched(run)

    # What a run asks.

    def keep(self, task: "asyncio.Task[None]") -> None:
        """Keep a task until it is done: the loop itself keeps only a weak reference."""
        if not task.done():
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def replace(self, thread: threading.Thread) -> None:
        """A thread is stuck."""
        if self._pool is not None:
            self._pool.replace(thread)

    def ended(self, run: Run) -> None:
        """A request has been answered, or its client has gone."""
        log_function = self.settings.get("log_function")
        if log_function is not None:
            log_function(_Entry(run))
            return
        record = run.exchange.record
        if record is None or not record.observers.writes_access_log or self._has_own_log():
            self._log(run.status or CLIENT_GONE, run.request)

    def _has_own_log(self) -> bool:
        """Whether the access log is written in a way of the program's own, so that the server's is not wanted."""
        return self.settings.get("log_function") is not None or type(self)._log is not WSGIContainer._log

    def _log(self, status_code: int, request: HTTPServerRequest) -> None:
        """Write the line of the access log.

        Programs override it, and call it from subclasses that answer by themselves without our constructor.
        """
        level = logging.INFO if status_code < 400 else logging.WARNING if status_code < 500 else logging.ERROR
        if access_log.isEnabledFor(level):
            summary = f"{request.method} {request.uri} ({request.remote_ip})"
            access_log.log(level, "%d %s %.2fms", status_code, summary, 1000.0 * request.request_time())

    def load(self) -> dict[str, int]:
        """How much it has to do.

        :returns: ``threads``, how many there may be; ``busy``, those that run a request; ``waiting``, requests for
            which none is free; ``max_waiting``, how many of these there may be.  On the loop, nothing is ever busy.
        """
        if self._pool is not None:
            size, running = self._pool.size, self._pool.busy
        else:
            size, running = (0 if self._inline else max(1, self.threads)), self._waiting
        return {
            "threads": size,
            "busy": min(running, size),
            "waiting": max(0, running - size),
            "max_waiting": self._max_waiting,
        }

    def close(self) -> None:
        """Have the threads end when they are done with what waits; a request that comes later starts them again."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None
        self._loop = None


class _Entry:
    """What an access log's function gets of a request; it knows what a `RequestHandler` knows."""

    __slots__ = ("_run", "request")

    def __init__(self, run: Run) -> None:
        self._run = run
        self.request = run.request

    def get_status(self) -> int:
        return self._run.status or CLIENT_GONE


class _Collecting(HTTPMessageDelegate):
    """A request on its way to the application: its body is gathered first."""

    __slots__ = ("_body", "_container", "_exchange", "_request")

    def __init__(self, container: WSGIContainer, exchange: Exchange, request: HTTPServerRequest) -> None:
        self._container = container
        self._exchange = exchange
        self._request: HTTPServerRequest | None = request
        self._body = BodyCollector() if exchange.has_body else None

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        return None

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        if self._body is not None:
            self._body.add(chunk)
        return None

    def finish(self) -> None:
        request, self._request = self._request, None
        if request is None:
            return
        body, self._body = self._body, None
        if body is None:
            self._container._run(self._exchange, request, None, None)
        else:
            file = body.open()
            if body.in_memory:
                body.close()
            self._container._run(self._exchange, request, file, body.size, body)

    def on_connection_close(self) -> None:
        self._request = None
        if self._body is not None:
            self._body.close()
