"""HTTP/1 connections of a server that is watched: they tell the observers what happens, and change nothing else.

A server without observers makes plain connections, so that watching costs it nothing.
"""

from asyncio import Future
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from webfw.httpserver.exchange import Upgraded
from webfw.httpserver.http1 import ServerConnection
from webfw.httpserver.http1exchange import Http1Exchange
from webfw.httpserver.observer import End, Observers, Record
from webfw.httputil import HTTPHeaders
from webfw.iostream import IOStream
from webfw.iostream.wire import Wire
from webfw.sansio.http1 import RequestHead

if TYPE_CHECKING:
    from webfw.httpserver.peer import RequestContext
    from webfw.httpserver.server import HTTPServer

__all__ = ["ObservedConnection", "ObservedExchange"]


class ObservedExchange(Http1Exchange):
    """An exchange with a `Record`."""

    __slots__ = ("record",)

    _conn: "ObservedConnection"
    record: Record

    def __init__(self, conn: "ObservedConnection", head: RequestHead, context: "RequestContext") -> None:
        super().__init__(conn, head, context)
        observers = conn.observers
        self.record = record = Record(observers, self.context, conn, self, self.request)
        observers.tell(observers.on_begun, record)

    def respond(self, status: int, reason: str, headers: HTTPHeaders, body: bytes) -> None:
        if self.record.fields:
            self._complete_headers(headers)
        super().respond(status, reason, headers, body)

    def write_headers(
        self, start_line: Any, headers: HTTPHeaders, chunk: bytes | None = None
    ) -> "Future[None]":
        if self.record.fields and (start_line.code >= 200 or start_line.code == 101):
            self._complete_headers(headers)
        sent = super().write_headers(start_line, headers, chunk)
        if self.begun:
            self.record.answering(self.status)
        return sent

    def _complete_headers(self, headers: HTTPHeaders) -> None:
        for name, value in self.record.fields:
            if name not in headers:
                headers[name] = value

    def _done(self) -> None:
        self.record.answering(self.status)
        super()._done()

    def connection_lost(self) -> None:
        super().connection_lost()
        self.record.end(self._conn.why or "client_gone")


class ObservedConnection(ServerConnection):
    """A connection whose requests have records.

    :ivar why: why what ends now ends, while that is known.
    """

    __slots__ = ("_unsent", "_upgraded", "observers", "why")

    exchange_type: type[Http1Exchange] = ObservedExchange
    exchange: ObservedExchange | None  # it makes no others

    def __init__(self, server: "HTTPServer", wire: Wire, context: "RequestContext") -> None:
        super().__init__(server, wire, context)
        assert server.observers is not None
        self.observers: Observers = server.observers
        self.why: End | None = None
        #: The record of a response that was written, but not taken yet.
        self._unsent: Record | None = None
        self._upgraded: Record | None = None
        self.observers.tell(self.observers.on_connected, self)

    # The end of an exchange.

    def exchange_done(self, exchange: Http1Exchange) -> None:
        assert isinstance(exchange, ObservedExchange)
        wire = self.wire
        if wire.write_paused or wire.transport.is_closing():
            self._unsent = exchange.record
        else:
            exchange.record.end("complete")
        super().exchange_done(exchange)

    def resume_writing(self) -> None:
        self._end_unsent("complete")
        super().resume_writing()

    def _end_unsent(self, why: End) -> None:
        record, self._unsent = self._unsent, None
        if record is not None:
            record.end(why)

    def _end_with(self, status: int, message: str, exchange: Http1Exchange | None) -> None:
        before = self.why
        if exchange is self.exchange:
            self.why = before or ("failed" if status == 500 else "refused")
            if self.exchange is None:
                self._refused(status, self.why)
            elif not self.exchange.begun:
                self.exchange.record.answering(status)
        super()._end_with(status, message, exchange)
        self.why = before

    def _refused(self, status: int, why: End) -> None:
        """A head could not be read: there is no request to tell of, but there is an answer."""
        record = Record(self.observers, self.context, self)
        record.status = status
        record.why = why
        record.answering_at = record.ended_at = record.begun_at
        self.observers.tell(self.observers.on_refused, record)

    # The end of the connection.

    def abort(self) -> None:
        before = self.why
        wire = self.wire
        if before is None:
            # Applications cut a request too because they have heard, or noticed, that its client has left.
            left = wire.eof or (wire.transport.is_closing() and not wire.closing)
            self.why = "client_gone" if left else "cut"
        self._end_unsent(self.why or "cut")
        super().abort()
        self.why = before

    def deadline_passed(self, now: float) -> None:
        self.why = "timeout"
        try:
            super().deadline_passed(now)
        finally:
            self.why = None

    def connection_lost(self, exc: Exception | None) -> None:
        # The close that waits until everything is out ends without an error.
        self._end_unsent("complete" if exc is None else "client_gone")
        super().connection_lost(exc)
        self.observers.tell(self.observers.on_closed, self)

    def detach(self) -> IOStream:
        exchange = self.exchange
        assert exchange is not None
        stream = super().detach()
        exchange.record.end("detached")
        self.observers.tell(self.observers.on_closed, self)
        return stream

    def hand_over(self, consumer: Upgraded) -> None:
        exchange = self.exchange
        assert exchange is not None
        self._upgraded = exchange.record
        exchange.record.upgrade()
        super().hand_over(consumer)

    def session(self, gone: Callable[[], None]) -> Callable[[], None]:
        """What is to be called when the connection is lost that now speaks another protocol."""
        record, self._upgraded = self._upgraded, None
        assert record is not None

        def over() -> None:
            session = record.session
            record.end("complete" if session is None else session.why or "client_gone")
            gone()
            self.observers.tell(self.observers.on_closed, self)

        return over
