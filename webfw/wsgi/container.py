"""`WSGIContainer`: WSGI applications on this server, beside native handlers; how one request runs is in ``run``."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from io import BytesIO
from typing import IO, Any

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
from webfw.log import access_log
from webfw.wsgi.environ import EnvironMaker
from webfw.wsgi.run import InlineRun, Run, ThreadRun
from webfw.wsgi.threads import Mailbox, ThreadPool

__all__ = ["WSGIContainer"]

#: Threads where nobody says how many.
THREADS = 8

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
    :param request_timeout: seconds a request may take in the application; then it is answered 504, the stack of its
        thread is logged, and the thread is replaced.  None for no such limit.  Not with ``threads=0``.
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
        self._waiting = 0  # in an executor
        self._tasks: set[asyncio.Task[None]] = set()
        self._running: set[Run] = set()

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
            self._run(exchange, request, source.open(), source.size)
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
        environ = self._environs.make(request, BytesIO(request.body), len(request.body))
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
        if asyncio.get_running_loop() is not self._loop:
            self._use_loop(asyncio.get_running_loop())
        kind = InlineRun if self._inline else ThreadRun
        run = kind(self, exchange, request, copy_context(), collector)
        try:
            environ = self._environs.make(request, body or BytesIO(), size)
        except Exception as error:
            # Border: what cannot be put into an environ becomes a response.
            run.fail(error)
            run.release()
            return
        if environ is None:
            run._refuse(404)
            run.release()
            return
        environ["webfw.client_disconnected"] = run.client_disconnected
        environ["wsgi.early_hints"] = run.early_hints
        run.environ = environ
        exchange.set_close_callback(run.client_gone)
        if isinstance(run, InlineRun):
            run.execute()
        else:
            self._submit(run)

    def _use_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Requests come from a loop for the first time; a container serves one loop at a time."""
        self._loop = loop
        self.mailbox = Mailbox(loop)
        if self._pool is not None:
            self._pool.close()
        self._pool = (
            None if self._inline else ThreadPool(max(1, self.threads), self._max_waiting, "webfw-wsgi")
        )

    def _submit(self, run: ThreadRun) -> None:
        """Have a thread run a request."""
        if self.executor is None:
            assert self._pool is not None
            taken = self._pool.submit(run)
        else:
            taken = self._waiting < self._max_waiting + max(1, self.threads)
            if taken:
                self._waiting += 1
                self.executor.submit(self._execute, run)
        if not taken:
            run._refuse(503, Retry_After="1")
            run.release()
        elif self.request_timeout is not None:
            assert self._loop is not None
            sweeper = deadlines.for_loop(self._loop)
            run.deadline = sweeper.refresh() + self.request_timeout
            sweeper.watch(run, self.request_timeout)

    def _execute(self, run: ThreadRun) -> None:
        """Run a request in a thread of the executor."""
        run.thread = threading.current_thread()
        run.execute()
        run.thread = None
        self.mailbox.post(self._executed)

    def _executed(self) -> None:
        self._waiting -= 1

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
        if isinstance(run, ThreadRun) and run.deadline != float("inf"):
            assert self._loop is not None
            deadlines.for_loop(self._loop).unwatch(run)
        log_function = self.settings.get("log_function")
        if log_function is not None:
            log_function(_Entry(run))
            return
        status = run.status or 499
        level = 20 if status < 400 else 30 if status < 500 else 40
        if access_log.isEnabledFor(level):
            access_log.log(level, "%d %s %.2fms", status, run._summary(), 1000.0 * run.request.request_time())

    def close(self) -> None:
        """Have the threads end when they are done with what waits."""
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
        return self._run.status or 499  # as other servers say that the client did not wait


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
        body = self._body
        if body is None:
            self._container._run(self._exchange, request, None, None)
        else:
            self._container._run(self._exchange, request, body.open(), body.size, body)

    def on_connection_close(self) -> None:
        self._request = None
        if self._body is not None:
            self._body.close()
