"""One HTTP request in an ASGI application: what it receives, and what it sends; how it runs is in ``run``."""

import asyncio
import sys
from collections.abc import Awaitable
from math import inf
from typing import IO, TYPE_CHECKING, Any

from webfw.asgi.response import COMPLETE, START, ApplicationError, type_of
from webfw.asgi.run import Run
from webfw.httpserver import DONE, Exchange
from webfw.httputil import HTTPServerRequest
from webfw.httputil.request import has_field

if TYPE_CHECKING:
    from asyncio import Future

    from webfw.asgi.container import ASGIContainer

__all__ = ["HTTPRun"]

#: Bytes of a request's body that are kept for an application that does not ask for them; above it, reading pauses.
READ_AHEAD = 64 * 1024

#: Whether a Task runs at once up to its first wait.
EAGER = sys.version_info >= (3, 12)


class HTTPRun(Run):
    """One request and its response."""

    __slots__ = ("_beginning", "_complete", "_file", "_kept", "_told")

    def __init__(
        self,
        container: "ASGIContainer",
        exchange: Exchange,
        request: HTTPServerRequest,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        # In one piece with `Run.__init__` and that of `Response`: it runs for every request.
        self.loop = loop
        self.exchange = exchange
        self.request = request
        self.container = container
        self.phase = START
        self.status = 0
        self.deadline = inf
        self.running = True
        self.gone = self._left = self._disconnect_told = self._timed_out = False
        self.task = self._waiters = self._room = self._wanted = None
        #: What has come of the body and was not received yet; whether its end has come, and has been received.
        self._kept: bytes | bytearray = b""
        self._complete = not exchange.has_body
        self._told = False
        #: The call that will run the application.
        self._beginning: asyncio.Handle | None = None
        #: A body that is there already.
        self._file: IO[bytes] | None = None

    def scope(self) -> dict[str, Any] | None:
        container = self.container
        return container.scopes.http(self.exchange, self.request, container.state)

    # It begins.

    def begin(self) -> Awaitable[None] | None:
        if self._complete or not has_field(self.request, "expect"):
            container = self.container
            if not container.ready:
                return self._begin_later()
            if EAGER and not self._complete:
                # Most bodies come with their head: then the application need not begin by waiting for it.
                self._beginning = self.loop.call_soon(self._launch)
                return None
            self.launch(container.scopes.http(self.exchange, self.request, container.state))
            return None
        # RFC 9110 section 10.1.1: the client waits until somebody asks for the body.
        self._wanted = wanted = self.loop.create_future()
        begun = super().begin()
        return wanted if begun is None else self._both(begun, wanted)

    def _launch(self) -> None:
        """Run the application now, in a later call than `begin`, unless its client has gone."""
        beginning, self._beginning = self._beginning, None
        if beginning is not None and self.phase == START:
            beginning.cancel()
            self.launch(self.scope())

    async def _both(self, begun: Awaitable[None], wanted: "Future[None]") -> None:
        await begun
        await wanted

    def begin_with(self, body: IO[bytes]) -> None:
        self._file = body
        self._complete = True
        super().begin_with(body)

    # The application calls.

    async def receive(self) -> dict[str, Any]:
        while not self._told:
            if self._kept or self._complete:
                return self._next_part()
            if self._left or self.phase >= COMPLETE:
                break
            if self._wanted is not None and not self._wanted.done():
                self._wanted.set_result(None)
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

    async def send(self, message: dict[str, Any]) -> None:
        try:
            kind = message["type"]
        except (TypeError, KeyError):
            kind = type_of(message)
        if kind == "http.response.body":
            sent = self.take_body(message)
            if sent is not DONE:
                await self.wait_for(sent)
        elif kind == "http.response.start":
            self.take_start(message)
        elif kind == "http.response.trailers":
            self.take_trailers(message)
        elif kind == "http.response.early_hint":
            self.take_hints(message)
        elif kind == "http.response.pathsend":
            await self.take_path(message)
        else:
            kind = type_of(message)
            raise ApplicationError(f"a message of a type that a response does not have: {kind[:100]!r}")

    # The server calls.

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
            self._room = self.loop.create_future()
        return self._room

    def finish(self) -> None:
        self._complete = True
        if self._beginning is not None:
            self._launch()
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
