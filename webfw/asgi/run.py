"""One request in an ASGI application, whatever comes of it: its task, its ends, and who is told; no messages.

``http`` and ``websocket`` each make a subclass, which knows what the application receives and sends.
"""

import asyncio
from collections.abc import Awaitable
from contextvars import copy_context
from math import inf
from typing import IO, TYPE_CHECKING, Any

from webfw.asgi.response import BODY, COMPLETE, CUT, START, ClientDisconnected, Response
from webfw.httpserver import Exchange
from webfw.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine, ResponseStartLine
from webfw.ioloop import deadlines
from webfw.ioloop.start import start
from webfw.log import app_log

if TYPE_CHECKING:
    from asyncio import Future

    from webfw.asgi.container import ASGIContainer

__all__ = ["Run", "caused_by_leaving"]


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


class Run(Response):
    """One request: the sink of its body, the delegate of its message, and what the application is called with.

    :ivar deadline: for the sweep, in the loop's time.
    :ivar running: whether the application has not ended yet.
    """

    __slots__ = (
        "__weakref__",
        "_disconnect_told",
        "_left",
        "_room",
        "_timed_out",
        "_waiters",
        "_wanted",
        "container",
        "deadline",
        "loop",
        "running",
        "task",
    )

    def __init__(
        self,
        container: "ASGIContainer",
        exchange: Exchange,
        request: HTTPServerRequest,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.loop = loop
        self.exchange = exchange
        self.request = request
        self.phase = START
        self.status = 0
        self.gone = False
        self.container = container
        self.running = True
        self.deadline = inf
        self.task: asyncio.Task[None] | None = None
        #: Whether the client has gone, or has closed its side; and whether the application knows.
        self._left = self._disconnect_told = False
        self._timed_out = False
        #: Who waits for a message; and what the server waits for: room for what comes, or that it is wanted at all.
        self._waiters: list[Future[None]] | None = None
        self._room: Future[None] | None = None
        self._wanted: Future[None] | None = None

    # What the two kinds do differently.

    def scope(self) -> dict[str, Any] | None:
        """What the application is called with; None for a path that is not its own."""
        raise NotImplementedError

    async def receive(self) -> dict[str, Any]:
        """What the application calls for the next message."""
        raise NotImplementedError

    async def send(self, message: dict[str, Any]) -> None:
        """What the application calls with each message.

        :raises ApplicationError: it is none, or not the one whose turn it is.
        :raises ClientDisconnected: the client has gone.
        """
        raise NotImplementedError

    def drain(self) -> None:
        """The server is going away."""

    # The application begins.

    def begin(self) -> Awaitable[None] | None:
        """Run the application, as soon as its lifespan has begun.

        :returns: what the body waits for, if anything.
        """
        if not self.container.ready:
            return self._begin_later()
        self.launch(self.scope())
        return None

    async def _begin_later(self) -> None:
        ready = await self.container.is_ready()
        if self.phase == START:  # else the client has gone
            if ready:
                self.launch(self.scope())
            else:
                self.running = False
                self.refuse(503)

    def launch(self, scope: dict[str, Any] | None) -> None:
        """Run the application, unless the path is not its own."""
        if scope is None:
            # CONNECT has no path: what it asks for is a tunnel (RFC 9110 section 9.3.6).
            self.running = False
            self.refuse(501 if self.request.method == "CONNECT" else 404)
            return
        container = self.container
        self.task = start(self.loop, self._run(scope), copy_context())
        if self.running:
            container.running.add(self)
            timeout = container.request_timeout
            if timeout is not None and self.phase < BODY:
                sweeper = deadlines.for_loop(self.loop)
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
                app_log.info("%s: the application was cancelled", self.summary())
                self.refuse(500)
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
        deadlines.for_loop(self.loop).unwatch(self)

    def begin_with(self, body: IO[bytes]) -> None:
        """Run the application for a request whose body has been read by somebody else.

        :param body: it; read to its end.
        """
        self.exchange.set_close_callback(self.on_connection_close)
        begun = self.begin()
        if begun is not None:
            self.container.keep(start(self.loop, _awaited(begun), copy_context()))

    # Waiting for messages.

    async def _something(self) -> None:
        """Wait until something has happened that may be a message."""
        waiter = self.loop.create_future()
        if self._waiters is None:
            self._waiters = []
        self._waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            # Frameworks ask whether a client has left by a receive that they cancel, for each piece of a stream.
            if self._waiters is not None and waiter in self._waiters:
                self._waiters.remove(waiter)
            raise

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)

    def _read_on(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    # The server calls: the body (`BodySink`, `HTTPMessageDelegate`).

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        return self.begin()

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return None

    def finish(self) -> None:
        """The body is complete."""

    def on_connection_close(self) -> None:
        """The client has gone, or has closed its side."""
        self._left = True
        self.client_lost()

    def client_lost(self) -> None:
        """Nobody is there any more."""
        self.gone = True
        if self.phase < COMPLETE:
            self._end(CUT)

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


async def _awaited(awaitable: Awaitable[None]) -> None:
    await awaitable
