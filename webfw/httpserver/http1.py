"""HTTP/1 on a wire: the hot path of the server, and nothing else.

A `ServerConnection` is the consumer of one wire.  It cuts what arrives into heads and bodies (``sansio.http1``), has
the application begin an exchange for each, and keeps the order: one request is answered at a time, and what arrives
meanwhile is kept, up to a bound.  The next request is not begun before the application is done with the last one and
the client has taken its answer.  RFC 9112 is followed for framing and persistence; deadlines are attributes that one
sweep a second looks at.
"""

import asyncio
from collections.abc import Awaitable, Callable
from math import inf
from typing import TYPE_CHECKING, Any

from webfw.httpserver.exchange import DONE, Upgraded
from webfw.httpserver.http1body import RequestBody, inflate_of
from webfw.httpserver.http1deadlines import (
    ANSWER,
    BETWEEN,
    BODY,
    CLOSING,
    DETACHED,
    HEAD,
    IDLE,
    LINGER,
    Deadlines,
)
from webfw.httpserver.http1exchange import Http1Exchange, plain_answer
from webfw.iostream import IOStream, StreamClosedError
from webfw.iostream.wire import Wire
from webfw.log import app_log, gen_log
from webfw.sansio.errors import RemoteProtocolError
from webfw.sansio.http1 import parse_head

if TYPE_CHECKING:
    from webfw.httpserver.peer import RequestContext
    from webfw.httpserver.server import HTTPServer

__all__ = ["ServerConnection"]

#: Pipelined requests answered before the loop gets its turn.
PIPELINE_BURST = 32

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class ServerConnection(Deadlines):
    """One client of a server, from accept to close.

    :ivar asked: whether a delegate was asked to take a request, who is to be told when the connection ends.
    :ivar exchange: the one being answered; None between requests.  Any other exchange is over, and what it still writes
        is dropped.
    :ivar deadline: when `deadline_passed` shall be called, in the loop's time; swept about once a second.
    """

    __slots__ = (
        "__weakref__",
        "_body",
        "_eof",
        "_held",
        "_linger_left",
        "_persist",
        "_phase",
        "_processing",
        "_resume_handle",
        "_seen",
        "_tail",
        "_waiting",
        "asked",
        "begin",
        "context",
        "exchange",
        "limits",
        "server",
        "sweeper",
        "wire",
    )

    exchange_type: type[Http1Exchange] = Http1Exchange

    def __init__(self, server: "HTTPServer", wire: Wire, context: "RequestContext") -> None:
        super().__init__()
        self.server = server
        self.wire = wire
        self.context = context
        self.begin = server.begin
        self.limits = server.limits
        self.sweeper = server.sweeper
        self.deadline = self.sweeper.refresh() + (self.limits.header_timeout or inf)
        self.asked = False
        self.exchange: Http1Exchange | None = None
        self._phase = HEAD
        #: Whether the connection outlives the exchange that ended last.
        self._persist = True
        self._processing = False
        #: What has arrived and is not used yet; a bytearray once it grows or shrinks, so that neither is quadratic.
        self._tail: bytes | bytearray = b""
        #: How much of an incomplete head has been looked at.
        self._seen = 0
        #: Whether reading is paused.
        self._held = False
        self._body: RequestBody | None = None
        self._waiting: asyncio.Future[Any] | None = None
        self._eof = False
        self._resume_handle: asyncio.Handle | None = None

    # Bytes in.

    def data_received(self, data: bytes) -> None:
        """Take bytes from the wire (the `Consumer` interface)."""
        phase = self._phase
        if phase <= IDLE:
            if self._tail:
                self._append(data)
                whole, self._tail = self._tail, b""
                self._process(whole)
            else:
                self._process(data)
        elif phase == BODY and self._waiting is None:
            self._body_received(data)
        elif phase == LINGER:
            self._linger_left -= len(data)
            if self._linger_left < 0:
                self.abort()
        elif phase < LINGER:
            self._append(data)
            self._hold_back()

    def _append(self, data: bytes) -> None:
        """Keep what belongs to later."""
        if not self._tail:
            self._tail = data
        elif type(self._tail) is bytearray:
            self._tail += data
        else:
            self._tail = bytearray(self._tail)
            self._tail += data

    def _put_back(self, data: bytes | bytearray, start: int) -> None:
        """Keep ``data`` from ``start`` on; nothing else is kept now."""
        if start == len(data):
            self._tail = b""
        elif not start:
            self._tail = data
        else:
            if type(data) is not bytearray:
                data = bytearray(data)
            del data[:start]  # moves nothing
            self._tail = data

    def _hold_back(self) -> None:
        """Stop reading when much is kept."""
        if len(self._tail) > self.limits.read_ahead:
            self._hold()

    def _hold(self) -> None:
        if not self._held:
            self._held = True
            self.wire.pause_reading()

    def _release(self) -> None:
        if self._held:
            self._held = False
            # Reading goes on in the server's context, not in that of the handler which happens to end now.
            self.server.context.copy().run(self.wire.resume_reading)

    def _process(self, data: bytes | bytearray) -> None:
        """Begin an exchange for every whole request in ``data``, as long as each is answered at once."""
        start = 0
        burst = PIPELINE_BURST
        exchange = None
        self._processing = True
        try:
            while True:
                exchange = None
                head = parse_head(data, start, self._seen, self.limits.head)  # type: ignore[arg-type]
                if head is None:
                    self._await_head(data, start)
                    return
                self._seen = 0
                start = head.end
                if head.target[0] != "/":
                    self._check_scheme(head.target)
                self.deadline = inf
                self._phase = ANSWER
                self.server.requests += 1
                exchange = self.exchange = self.exchange_type(self, head, self.context)
                if exchange.has_body:
                    self._put_back(data, start)
                    data, start = b"", 0
                    self._begin_with_body(exchange)
                    if self._phase == IDLE:
                        data, self._tail = self._tail, b""
                else:
                    wait = self.begin(exchange)
                    if wait is not None and wait is not DONE:
                        self._wait(exchange, wait, self._begun)
                    elif exchange.sink is not None and exchange is self.exchange:
                        exchange.sink.finish()
                if self._phase != IDLE:
                    self._stop(data, start)
                    return
                if start == len(data):
                    if self._eof:
                        self._close()
                    return
                if self.wire.transport.is_closing():  # the write has failed; connection_lost is to come
                    return
                burst -= 1
                if not burst:
                    self._phase = BETWEEN
                    self._persist = True
                    self._stop(data, start)
                    return
        except RemoteProtocolError as error:
            self.refuse(error, exchange)
            self._stop(data, start)
        except (Exception, asyncio.CancelledError):
            # Border: an application that fails to begin must not break the transport.
            app_log.error("Uncaught exception while beginning a request", exc_info=True)
            self.fail(exchange)
            self._stop(data, start)
        finally:
            self._processing = False

    def _check_scheme(self, target: str) -> None:
        """Refuse an absolute-form target of the other scheme (RFC 9110 sections 7.4 and 15.5.20).

        Where proxies are believed, the scheme is theirs to say.
        """
        scheme, colon, _ = target.partition("://")
        if colon and not self.server.xheaders and scheme.lower() != self.context.protocol:
            raise RemoteProtocolError(f"nothing is served here as {scheme.lower()[:5]}", 421)

    def _stop(self, data: bytes | bytearray, start: int) -> None:
        """Keep the rest of what was being processed for when its time comes, if it does."""
        phase = self._phase
        if phase in (BODY, ANSWER, BETWEEN):
            if start < len(data):
                self._put_back(data, start)
            if phase == BETWEEN:
                self._next()
            self._hold_back()
        elif phase == DETACHED and start < len(data):
            self.wire.consumer.data_received(bytes(data[start:]))

    def _await_head(self, data: bytes | bytearray, start: int) -> None:
        """Keep an incomplete head, and set its deadline from its first byte on."""
        if self._eof:
            self._close()
            return
        self._put_back(data, start)
        self._seen = len(self._tail)
        if self._phase != HEAD:
            self._phase = HEAD
            self._set_deadline(self.sweeper.refresh() + (self.limits.header_timeout or inf))

    def _begun(self, exchange: Http1Exchange) -> None:
        """What the application wanted to wait for is over; the request has no body."""
        if exchange.sink is not None:
            exchange.sink.finish()

    # Bodies in.

    def _begin_with_body(self, exchange: Http1Exchange) -> None:
        """Begin an exchange whose request announced a body; what arrived behind the head is kept."""
        inflate = inflate_of(exchange) if self.server.decompress_request else None
        self._body = RequestBody(exchange, self.limits, inflate)
        wait = self.begin(exchange)
        if wait is not None and wait is not DONE:
            self._wait(exchange, wait, self._start_body)
        elif exchange is self.exchange:
            self._start_body(exchange)

    def _start_body(self, exchange: Http1Exchange) -> None:
        """Read the body of the request now, if it is wanted."""
        body = self._body
        assert body is not None
        head = exchange.head
        if (head.content_length or 0) > body.max_size and not exchange.complete:
            raise RemoteProtocolError("the body is too large", 413)
        if head.expect_continue and not (exchange.begun or self._tail or body.done):
            self.wire.write(CONTINUE)
        self._phase = BODY
        body.begin(self.sweeper.refresh())
        self._continue_body(exchange)

    def _continue_body(self, exchange: Http1Exchange) -> None:
        """Whoever takes the body is ready for more."""
        assert self._body is not None
        self._set_deadline(self._body.deadline())
        rest, self._tail = self._tail, b""
        self._body_received(rest)

    def _body_received(self, data: bytes | bytearray) -> None:
        """Have the body take what it can of ``data``."""
        body = self._body
        exchange = self.exchange
        assert body is not None
        assert exchange is not None
        try:
            wait, used = body.receive(data)
            if self._phase != BODY:  # answered in between, and the connection is not to go on
                return
            if wait is not None:
                self._put_back(data, used)
                body.pause(self.sweeper.refresh())
                self._wait(exchange, wait, self._continue_body)
            elif body.done:
                self._end_body(exchange, body, data, used)
        except RemoteProtocolError as error:
            self.refuse(error, exchange)
        except (Exception, asyncio.CancelledError):
            # Border: a consumer that fails must not break the transport.
            app_log.error("Uncaught exception while reading a body", exc_info=True)
            self.fail(exchange)

    def _end_body(
        self, exchange: Http1Exchange, body: RequestBody, data: bytes | bytearray, start: int
    ) -> None:
        """The body is complete; what is left of ``data`` belongs to the next request."""
        self._body = None
        self._put_back(data, start)
        if not self._processing:
            self._hold_back()
        self._phase = ANSWER
        self._set_deadline(inf)
        exchange.body_done = True
        body.end()
        if body.trailers:
            exchange.take_trailers(body.trailers)
        if exchange.complete:  # answered before its body was there
            self._over(exchange)
        elif exchange.sink is not None:
            exchange.sink.finish()

    # Waiting for the application.

    def _wait(
        self, exchange: Http1Exchange, awaitable: Awaitable[Any], then: Callable[[Http1Exchange], None]
    ) -> None:
        """Stop reading until ``awaitable`` is done, then go on with ``then``."""
        waiting = asyncio.ensure_future(awaitable)
        if exchange is self.exchange:
            self._set_deadline(inf)
            self._hold()
        elif self._phase == IDLE:  # answered at once, but not done with
            self._phase = BETWEEN
            self._persist = True
        elif self._phase > BETWEEN:
            waiting.add_done_callback(_report)
            return
        self._waiting = waiting
        waiting.add_done_callback(lambda future: self._waited(exchange, future, then))

    def _waited(
        self,
        exchange: Http1Exchange,
        future: "asyncio.Future[Any]",
        then: Callable[[Http1Exchange], None],
    ) -> None:
        self._waiting = None
        if exchange is not self.exchange:  # answered, refused, detached or lost in between
            _report(future)
            if self._phase == BETWEEN:
                self._next()
            return
        try:
            if self._body is not None and self._phase == BODY:
                self._body.resume(self.sweeper.refresh())
            future.result()
            self._release()
            then(exchange)
        except RemoteProtocolError as error:
            self.refuse(error, exchange)
        except (Exception, asyncio.CancelledError):
            # Border: this runs as a loop callback.
            app_log.error("Uncaught exception while reading a request", exc_info=True)
            self.fail(exchange)

    # The end of an exchange.

    def exchange_done(self, exchange: Http1Exchange) -> None:
        """The response of the current exchange has been written."""
        if exchange.body_done:
            if self._processing and exchange.keep_alive and not self.wire.write_paused:
                # The quick way: `_process` goes on by itself.
                self.exchange = None
                self._phase = IDLE
                self.deadline = self.sweeper.now + self.server.idle_timeout
            else:
                self._over(exchange)
        elif not exchange.keep_alive:
            self.exchange = None
            self._linger()
        elif self.wire.write_paused:  # a short rest is read and dropped, so that the connection can be kept
            self._watch_stall()

    def _over(self, exchange: Http1Exchange) -> None:
        """Response and request are complete."""
        self.exchange = None
        self._persist = exchange.keep_alive
        if self._processing:
            self._phase = BETWEEN  # `_process` calls `_next` when it has kept what is left
        else:
            self._next()

    def _next(self) -> None:
        """Be ready for the next request as soon as application and client have kept up, or close."""
        self._phase = BETWEEN
        self._set_deadline(inf)
        if not self._persist:
            if self._tail:
                self._linger()
            else:
                self._close()
        elif self._waiting is not None:
            pass  # `_waited` comes here again
        elif self.wire.write_paused:
            # Answering more would pile up in memory; `resume_writing` comes here again.
            self._watch_stall()
        elif self._tail:
            if self._resume_handle is None:
                context = self.server.context.copy()
                self._resume_handle = self.wire.loop.call_soon(self._resume, context=context)
        elif self._eof:
            self._close()
        else:
            self._phase = IDLE
            self.deadline = self.sweeper.now + self.server.idle_timeout
            self._release()

    def _resume(self) -> None:
        """Go on with what was kept, after an answer that took longer than its request's turn."""
        self._resume_handle = None
        if self._phase != BETWEEN or self.wire.closing:
            return
        data, self._tail = self._tail, b""
        self._process(data)
        if self._phase <= IDLE or (len(self._tail) <= self.limits.read_ahead and self._waiting is None):
            self._release()

    def refuse(self, error: RemoteProtocolError, exchange: Http1Exchange | None) -> None:
        """Answer what the client did wrong with a short plain body, and close.

        Where a response has begun there is no way to say it: the connection is cut.

        :param exchange: the exchange it is about; None where there is none yet.
        """
        gen_log.info("%s: refused with %d: %s", self.context, error.status, error)
        self._end_with(error.status, str(error), exchange)

    def fail(self, exchange: Http1Exchange | None) -> None:
        """Answer our own failure with 500, and close; the log has it already."""
        self._end_with(500, "", exchange)

    def _end_with(self, status: int, message: str, exchange: Http1Exchange | None) -> None:
        if exchange is not self.exchange:
            # Its answer is out, or it has no connection any more: there is nothing left to say to the client.
            if self._processing and self._phase == IDLE:
                self._phase = BETWEEN
                self._persist = True
            return
        self.exchange = None
        if exchange is not None:
            begun, complete, head_only = exchange.begun, exchange.complete, exchange.head.method == "HEAD"
            exchange.connection_lost()
            if complete:  # only the rest of the request's body was wrong
                self._linger()
                return
            if begun:
                self.abort()
                return
        else:
            head_only = False
        record = None if exchange is None else exchange.record
        self.wire.write(plain_answer(status, message, head_only, () if record is None else record.fields))
        self._linger()

    # The end of the connection.

    def _linger(self) -> None:
        """Close so that what was written arrives: a close with unread input would reset the connection."""
        if self.wire.closing:
            self._close()
            return
        self._phase = LINGER
        self._body = None
        self._tail = b""
        self._linger_left = self.limits.linger_size
        self._set_deadline(self.sweeper.refresh() + (self.limits.linger_timeout or 0.1))
        if self.wire.write_buffer_size:
            self._watch_stall()
        self.wire.write_eof()
        self._release()

    def _close(self) -> None:
        """Close when everything written is out; a client that does not take it meets the write deadline."""
        wire = self.wire
        if wire.write_buffer_size and not wire.closing and wire.get_extra_info("sslcontext") is not None:
            # From its close on, a TLS transport has half a minute for what it holds, however fast that leaves.
            self._linger()
            return
        self._phase = CLOSING
        self._body = None
        self._tail = b""
        self._set_deadline(inf)
        self._watch_stall()
        wire.close()

    def close_when_idle(self) -> None:
        """Close now, or after the answer that is being made: the server is going away."""
        if self.exchange is not None:
            self.exchange.keep_alive = False
        elif self._phase <= BETWEEN and not self._tail:
            self._close()

    def abort(self) -> None:
        """Cut the connection."""
        self._phase = CLOSING
        self._body = None
        self._tail = b""
        self.deadline = inf
        self.wire.abort()
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.connection_lost()

    def eof_received(self) -> bool:
        """The client has closed its side (the `Consumer` interface)."""
        exchange = self.exchange
        # Under TLS there is no half-closed connection.
        keep_open = self.wire.get_extra_info("sslcontext") is None
        if exchange is None:
            self._eof = keep_open and self._phase == BETWEEN and self._persist and bool(self._tail)
            if not self._eof:
                self._close()
            return self._eof
        if not exchange.body_done:
            if not exchange.complete:
                gen_log.info("%s: closed before the end of the request's body", self.context)
            self.exchange = None
            exchange.connection_lost()
            self._close()
            return False
        # It may have left, or only have nothing more to ask: tell the handler, and answer if it still does.
        self._eof = True
        if not self._tail and self._waiting is None:
            exchange.keep_alive = False
            exchange.client_gone()
        return keep_open

    def connection_lost(self, exc: Exception | None) -> None:
        """The wire is gone (the `Consumer` interface)."""
        self.sweeper.unwatch(self)
        self._phase = CLOSING
        self._body = None
        self._tail = b""
        exchange, self.exchange = self.exchange, None
        if self._resume_handle is not None:
            self._resume_handle.cancel()
        self._wake(closed=True)
        if exchange is not None:
            exchange.connection_lost()
        self.server.connection_closed(self)

    def detach(self) -> IOStream:
        """Give the wire away, with what has arrived behind the request."""
        rest = self._let_go()
        stream = IOStream.from_wire(self.wire, rest)
        self.server.connection_closed(self)
        return stream

    def hand_over(self, consumer: Upgraded) -> None:
        """Give the wire to another protocol, with what has arrived behind the request."""
        rest = self._let_go()
        self.wire.consumer = consumer
        consumer.connected(self.wire, self.server.upgraded(self, consumer))
        if rest:
            consumer.data_received(rest)

    def _let_go(self) -> bytes:
        """Forget the wire; what has arrived behind the request."""
        self.sweeper.unwatch(self)
        self.exchange = None
        self._body = None
        self._phase = DETACHED
        rest, self._tail = bytes(self._tail), b""
        self._release()
        self._wake()
        return rest

    # What an exchange may ask.

    def set_max_body_size(self, size: int) -> None:
        if self._body is not None:
            self._body.max_size = size

    def set_body_timeout(self, timeout: float) -> None:
        body = self._body
        if body is not None:
            body.set_timeout(timeout, self.sweeper.refresh())
            if self._phase == BODY and self._waiting is None:
                self._set_deadline(body.deadline())

    def body_is_short(self) -> bool:
        """Whether the rest of the request's body is small enough to be read and dropped after the answer."""
        assert self.exchange is not None
        assert self._body is not None
        if self.exchange.head.expect_continue and self._phase != BODY:
            return False  # nobody can tell whether the client will send it
        return self._body.is_short(self.limits.linger_size)


def _report(future: "asyncio.Future[Any]") -> None:
    """Log the failure of something nobody waits for any more; a client that left is none."""
    if not future.cancelled():
        error = future.exception()
        if error is not None and not isinstance(error, (StreamClosedError, RemoteProtocolError)):
            app_log.error("Uncaught exception while reading a request", exc_info=error)
