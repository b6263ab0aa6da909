"""One HTTP request in an ASGI application: what it receives and sends, and how it ends; lifespans may not enter."""

import asyncio
from collections.abc import Awaitable
from contextvars import copy_context
from math import inf
from typing import IO, TYPE_CHECKING, Any

from webfw.asgi.response import (
    BODY,
    COMPLETE,
    CUT,
    START,
    ApplicationError,
    ClientDisconnected,
    Response,
    type_of,
)
from webfw.httpserver import DONE, Exchange
from webfw.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine, ResponseStartLine
from webfw.httputil.request import has_field
from webfw.ioloop import deadlines
from webfw.ioloop.start import start
from webfw.iostream import StreamClosedError
from webfw.log import app_log

if TYPE_CHECKING:
    from asyncio import Future

    from webfw.asgi.container import ASGIContainer

__all__ = ["HTTPRun", "caused_by_leaving"]

#: Bytes of a request's body that are kept for an application that does not ask for them; above it, reading pauses.
READ_AHEAD = 64 * 1024


def caused_by_leaving(error: BaseException | None) -> bool:
    """Whether an exception is what has become of a `ClientDisconnected`, as frameworks wrap it."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        if isinstance(one, ClientDisconnected):
            return True
        seen.add(id(one))
        waiting += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions
    return False


class HTTPRun(Response):
    """One request: the sink of its body, the `HTTPMessageDelegate` of its message, and what the application calls.

    :ivar deadline: for the sweep, in the loop's time.
    :ivar running: whether the application has not ended yet.
    """

    __slots__ = (
        "__weakref__",
        "_complete",
        "_disconnect_told",
        "_file",
        "_kept",
        "_left",
        "_room",
        "_timed_out",
        "_told",
        "_waiters",
        "_wanted",
        "container",
        "deadline",
        "running",
        "task",
    )

    def __init__(self, container: "ASGIContainer", exchange: Exchange, request: HTTPServerRequest) -> None:
        self.exchange = exchange
        self.request = request
        self.phase = START
        self.status = 0
        self.gone = False
        self.container = container
        self.running = True
        self.deadline = inf
        self.task: asyncio.Task[None] | None = None
        #: What has come of the body and was not received yet; whether its end has come, and has been received.
        self._kept: bytes | bytearray = b""
        self._complete = not exchange.has_body
        self._told = False
        #: Whether the client has gone, or has closed its side; and whether the application knows.
        self._left = self._disconnect_told = False
        self._timed_out = False
        #: A body that is there already.
        self._file: IO[bytes] | None = None
        #: Who waits for a message; and what the server waits for: room for the body, or that it is wanted at all.
        self._waiters: list[Future[None]] | None = None
        self._room: Future[None] | None = None
        self._wanted: Future[None] | None = None

    # The application begins.

    def begin(self) -> Awaitable[None] | None:
        """Run the application, as soon as its lifespan has begun.

        :returns: what the body waits for, if anything.
        """
        exchange = self.exchange
        if not self._complete and has_field(self.request, "expect"):
            # RFC 9110 section 10.1.1: the client waits until somebody asks for the body.
            self._wanted = exchange.loop.create_future()
        if not self.container.ready:
            return self._begin_later()
        self.launch()
        return self._wanted

    async def _begin_later(self) -> None:
        ready = await self.container.is_ready()
        if self.phase == START:  # else the client has gone
            if ready:
                self.launch()
            else:
                self.running = False
                self.refuse(503)
        if self._wanted is not None:
            await self._wanted

    def launch(self) -> None:
        """Run the application."""
        container = self.container
        exchange = self.exchange
        request = self.request
        scope = container.scopes.http(exchange, request, container.state)
        if scope is None:
            # CONNECT has no path: what it asks for is a tunnel (RFC 9110 section 9.3.6).
            self.running = False
            self.refuse(501 if request.method == "CONNECT" else 404)
            return
        self.task = start(exchange.loop, self._run(scope), copy_context())
        if self.running:
            container.running.add(self)
            timeout = container.request_timeout
            if timeout is not None and self.phase < BODY:
                sweeper = deadlines.for_loop(exchange.loop)
                self.deadline = sweeper.refresh() + timeout
                sweeper.watch(self, timeout)

    async def _run(self, scope: dict[str, Any]) -> None:
        record = self.exchange.record
        if record is not None:
            record.handling()
        try:
            await self.container.app(scope, self.receive, self.send)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or not task.cancelling():  # what it waited for was cancelled, not the application
                self._failed(error)
            elif not self._timed_out:
                self.cut()
                raise
        except Exception as error:
            # Border: whatever an application raises becomes a response, or a cut connection.
            self._failed(error)
        except BaseException:
            self.cut()  # it is the program that is to be stopped
            raise
        else:
            if self.phase < COMPLETE:
                self._incomplete()
        finally:
            self.running = False
            self.container.running.discard(self)

    def _failed(self, error: BaseException) -> None:
        """The application has raised: 500, or a cut connection where the head is out."""
        if caused_by_leaving(error):
            self.cut()
        elif self._disconnect_told and self.gone:
            app_log.info("%s: the client has gone, and the application raised %r", self.summary(), error)
            self.cut()
        else:
            app_log.error("%s: uncaught exception in the application", self.summary(), exc_info=error)
            self.refuse(500)

    def _incomplete(self) -> None:
        """The application has returned before its response was complete."""
        if self._left:  # and it need not make one then
            self.cut()
            return
        what = "without a response" if self.phase < BODY else "before its response was complete"
        app_log.error("%s: the application returned %s", self.summary(), what)
        self.refuse(500)

    def deadline_passed(self, now: float) -> None:
        """The application has taken too long to begin its response: 504, and its task is cancelled."""
        self._unwatch()
        if self.running and self.phase < BODY:
            app_log.error("%s: the application takes too long", self.summary())
            self._timed_out = True
            self.refuse(504)
            self.gone = True
            assert self.task is not None
            self.task.cancel()

    def _unwatch(self) -> None:
        self.deadline = inf
        deadlines.for_loop(self.exchange.loop).unwatch(self)

    # The application calls.

    async def receive(self) -> dict[str, Any]:
        """What the application calls for the next message."""
        while not self._told:
            if self._kept or self._complete:
                return self._next_part()
            if self._left or self.phase >= COMPLETE:
                break
            await self._something()
        while not self._left and self.phase < COMPLETE:
            await self._something()
        self._disconnect_told = True
        return {"type": "http.disconnect"}

    def _next_part(self) -> dict[str, Any]:
        if self._file is not None:
            return self._next_of_file(self._file)
        body, self._kept = self._kept, b""
        if type(body) is not bytes:
            body = bytes(body)
        complete = self._told = self._complete
        if self._room is not None:
            self._read_on()
        return {"type": "http.request", "body": body, "more_body": not complete}

    def _next_of_file(self, file: IO[bytes]) -> dict[str, Any]:
        body = file.read(READ_AHEAD)
        if len(body) < READ_AHEAD:
            self._told = True
            file.close()
        return {"type": "http.request", "body": body, "more_body": not self._told}

    async def _something(self) -> None:
        """Wait until something has happened that may be a message."""
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(None)
        waiter = self.exchange.loop.create_future()
        if self._waiters is None:
            self._waiters = []
        self._waiters.append(waiter)
        await waiter

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)

    def _read_on(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    async def send(self, message: dict[str, Any]) -> None:
        """What the application calls with each message.

        :raises ApplicationError: it is none, or not the one whose turn it is.
        :raises ClientDisconnected: the client has gone.
        """
        kind = type_of(message)
        if kind == "http.response.body":
            sent = self.take_body(message)
            if sent is not DONE:
                await self._taken(sent)
        elif kind == "http.response.start":
            self.take_start(message)
        elif kind == "http.response.trailers":
            self.take_trailers(message)
        elif kind == "http.response.early_hint":
            self.take_hints(message)
        elif kind == "http.response.pathsend":
            await self.take_path(message)
        else:
            raise ApplicationError(f"a message of a type that a response does not have: {kind[:100]!r}")

    async def _taken(self, sent: Awaitable[None]) -> None:
        """Wait until the client has taken enough for more."""
        try:
            await sent
        except StreamClosedError:
            self.gone = True
            raise ClientDisconnected("the client has gone") from None

    # The server calls: the body (`BodySink`, `HTTPMessageDelegate`).

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        return self.begin()

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        if not self._kept:
            self._kept = chunk
        else:
            # Joined as they come: kept apart, a body in pieces of one byte would cost forty times its size.
            if type(self._kept) is bytes:
                self._kept = bytearray(self._kept)
            self._kept += chunk
        if self._waiters is not None:
            self._wake()
        if len(self._kept) <= READ_AHEAD or not self.running:
            return None
        if self._room is None:
            self._room = self.exchange.loop.create_future()
        return self._room

    def finish(self) -> None:
        self._complete = True
        if self._waiters is not None:
            self._wake()

    def on_connection_close(self) -> None:
        """The client has gone, or has closed its side."""
        self._left = True
        wire: Any = getattr(self.exchange, "stream", None)
        if self._complete and wire is not None and not wire.closing:
            # Only half of the connection is closed: it may have nothing more to ask, and wait for its answer.
            self.exchange.set_close_callback(self.client_lost)
            self._wake()
        else:
            self.client_lost()

    def client_lost(self) -> None:
        """Nobody is there any more."""
        self.gone = True
        if self.phase < COMPLETE:
            self._end(CUT)

    def drain(self) -> None:
        """The server is going away: an answer that is being made may be completed."""

    # The end.

    def _end(self, phase: int) -> None:
        """The response is complete, or never will be; the application may still run."""
        self.phase = phase
        if self.deadline != inf:
            self._unwatch()
        if self._waiters is not None:
            self._wake()
        if self._room is not None:
            self._read_on()
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(None)
        self.container.ended(self)

    # A body that is there already.

    def begin_with(self, body: IO[bytes]) -> None:
        """Run the application for a request whose body has been read by somebody else.

        :param body: it; read to its end, and closed with the response.
        """
        self._file = body
        self._complete = True
        self.exchange.set_close_callback(self.on_connection_close)
        if self.container.ready:
            self.launch()
        else:
            self.container.keep(start(self.exchange.loop, self._begin_later(), copy_context()))
