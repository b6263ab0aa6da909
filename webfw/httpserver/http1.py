"""HTTP/1 on a wire: the hot path of the server, and nothing else.

A `ServerConnection` is the consumer of one wire.  It cuts what arrives into heads and bodies (``sansio.http1``), has
the application begin an exchange for each, and keeps the order: one request is answered at a time, and what arrives
meanwhile is kept, up to a bound.  RFC 9112 is followed for framing and persistence; deadlines are attributes that one
sweep a second looks at.
"""

import asyncio
from collections.abc import Awaitable, Callable
from math import inf
from typing import TYPE_CHECKING, Any

from webfw.httpserver.http1exchange import Http1Exchange
from webfw.iostream import IOStream, StreamClosedError
from webfw.iostream.wire import Wire
from webfw.log import app_log, gen_log
from webfw.sansio.decompress import Decoder
from webfw.sansio.errors import RemoteProtocolError
from webfw.sansio.http1 import Chunked, Length, encode_head, parse_head, status_line

if TYPE_CHECKING:
    from webfw.httpserver.peer import RequestContext
    from webfw.httpserver.server import HTTPServer

__all__ = ["ServerConnection"]

#: What a connection is doing, which decides what its deadline means.
HEAD, IDLE, BODY, ANSWER, LINGER, CLOSING, DETACHED = range(7)

#: Pipelined requests answered before the loop gets its turn.
PIPELINE_BURST = 32

#: Compressed bytes inflated at once: deflate yields at most 1032 times as many.
INFLATE_WINDOW = 1024

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class ServerConnection:
    """One client of a server, from accept to close.

    :ivar deadline: when `deadline_passed` shall be called, in the loop's time; swept about once a second.
    """

    __slots__ = (
        "__weakref__",
        "_body_paused_at",
        "_body_size",
        "_body_start",
        "_body_timeout",
        "_body_wire_size",
        "_decoder",
        "_drained",
        "_eof",
        "_exchange",
        "_inflate",
        "_linger_left",
        "_max_body_size",
        "_phase",
        "_processing",
        "_resume_handle",
        "_seen",
        "_stall_mark",
        "_tail",
        "_waiting",
        "begin",
        "context",
        "deadline",
        "limits",
        "server",
        "sweeper",
        "wire",
    )

    def __init__(self, server: "HTTPServer", wire: Wire, context: "RequestContext") -> None:
        self.server = server
        self.wire = wire
        self.context = context
        self.begin = server.begin
        self.limits = server.limits
        self.sweeper = server.sweeper
        self.deadline = self.sweeper.refresh() + (self.limits.header_timeout or inf)
        self._phase = HEAD
        self._exchange: Http1Exchange | None = None
        self._processing = False
        self._tail = b""
        self._seen = 0
        self._decoder: Length | Chunked | None = None
        self._inflate: Decoder | None = None
        self._waiting: asyncio.Future[Any] | None = None
        self._eof = False
        self._drained: asyncio.Future[None] | None = None
        self._resume_handle: asyncio.Handle | None = None

    # Bytes in.

    def data_received(self, data: bytes) -> None:
        """Take bytes from the wire (the `Consumer` interface)."""
        if self._exchange is None and self._phase != LINGER and self._resume_handle is None:
            if self._tail:
                data = self._tail + data
                self._tail = b""
            self._process(data)
        elif self._phase == LINGER:
            self._linger_left -= len(data)
            if self._linger_left < 0:
                self.wire.abort()
        elif self._decoder is not None and self._waiting is None:
            self._body_received(data)
        else:
            self._keep(data)

    def _keep(self, data: bytes) -> None:
        """Keep what belongs to later, and stop reading when it becomes much."""
        self._tail += data
        if len(self._tail) > self.limits.read_ahead:
            self.wire.pause_reading()

    def _process(self, data: bytes) -> None:
        """Begin an exchange for every whole request in ``data``, as long as each is answered at once."""
        start = 0
        burst = PIPELINE_BURST
        self._processing = True
        try:
            while True:
                head = parse_head(data, start, self._seen, self.limits.head)
                if head is None:
                    self._await_head(data[start:] if start else data)
                    return
                self._seen = 0
                start = head.end
                self.deadline = inf
                self._phase = ANSWER
                exchange = self._exchange = Http1Exchange(self, head, self.context)
                if exchange.has_body:
                    self._begin_with_body(exchange, data[start:])
                    if self._exchange is not None or self._phase != IDLE:
                        return
                    data, start = self._tail, 0
                    self._tail = b""
                else:
                    wait = self.begin(exchange)
                    if wait is not None:
                        self._wait(wait, self._begun)
                    elif exchange.sink is not None:
                        exchange.sink.finish()
                    if self._exchange is not None:  # the answer is still to come
                        if start < len(data):
                            self._keep(data[start:])
                        return
                if start == len(data):
                    if self._eof and self._phase == IDLE:
                        self._close()
                    return
                if self._phase != IDLE:
                    if self._phase == DETACHED:
                        self.wire.consumer.data_received(data[start:])
                    return
                if self.wire.transport.is_closing():  # the write has failed; connection_lost is to come
                    return
                burst -= 1
                if not burst:
                    self._tail = data[start:]
                    self._resume_soon()
                    return
        except RemoteProtocolError as error:
            self.refuse(error)
        except Exception:
            # Border: an application that fails to begin must not break the transport.
            app_log.error("Uncaught exception while beginning a request", exc_info=True)
            self.fail()
        finally:
            self._processing = False

    def _await_head(self, data: bytes) -> None:
        """Keep an incomplete head, and set its deadline from its first byte on."""
        if self._eof:
            self._close()
            return
        self._tail = data
        self._seen = len(data)
        if self._phase != HEAD:
            self._phase = HEAD
            self.deadline = self.sweeper.refresh() + (self.limits.header_timeout or inf)

    def _begun(self) -> None:
        """What the application wanted to wait for is over; the request has no body."""
        exchange = self._exchange
        if exchange is not None and exchange.sink is not None:
            exchange.sink.finish()

    def _resume_soon(self) -> None:
        if self._resume_handle is None:
            self._resume_handle = self.wire.loop.call_soon(self._resume)

    def _resume(self) -> None:
        """Go on with what was kept, after an answer that took longer than its request's turn."""
        self._resume_handle = None
        if self.wire.closing:
            return
        if self._exchange is None and self._tail:
            data, self._tail = self._tail, b""
            self._process(data)
        if len(self._tail) <= self.limits.read_ahead and self._waiting is None:
            self.wire.resume_reading()

    # Bodies in.

    def _begin_with_body(self, exchange: Http1Exchange, rest: bytes) -> None:
        """Begin an exchange whose request announced a body; ``rest`` is what arrived behind the head."""
        head = exchange.head
        self._tail = rest
        self._max_body_size = self.limits.max_body_size
        self._body_timeout = self.limits.body_timeout
        self._body_size = self._body_wire_size = 0
        self._inflate = self.server.inflate(exchange) if self.server.decompress_request else None
        self._decoder = Chunked() if head.chunked else Length(head.content_length or 0)
        wait = self.begin(exchange)
        if wait is not None:
            self._wait(wait, self._start_body)
        else:
            self._start_body()

    def _start_body(self) -> None:
        """Read the body of the request now, if it is wanted."""
        exchange = self._exchange
        if exchange is None or self._decoder is None:
            return
        head = exchange.head
        if head.content_length is not None and head.content_length > self._max_body_size:
            self.refuse(RemoteProtocolError("the body is too large", 413))
            return
        if head.expect_continue and not exchange.begun and not self._tail:
            self.wire.write(CONTINUE)
        self._phase = BODY
        self._body_start = self.sweeper.refresh()
        self._set_body_deadline(self._body_start)
        rest, self._tail = self._tail, b""
        # An empty piece too: it ends a body of length 0.
        self._body_received(rest)

    def _set_body_deadline(self, now: float) -> None:
        limits = self.limits
        end = self._body_start + self._body_timeout if self._body_timeout else inf
        slow = max(self._body_start + limits.body_grace, now + limits.body_grace / 4)
        self.deadline = min(end, slow if limits.min_body_rate else inf)

    def _body_received(self, data: bytes) -> None:
        """Feed the body's decoder, and hand on what comes out, until a consumer asks to wait."""
        decoder = self._decoder
        exchange = self._exchange
        assert decoder is not None
        assert exchange is not None
        start = 0
        window = self.limits.chunk_size if self._inflate is None else INFLATE_WINDOW
        self._body_wire_size += len(data)
        try:
            while not decoder.done:
                if len(data) - start > window:
                    piece, used = decoder.receive(data[start : start + window], 0)
                    start += used
                else:
                    piece, start = decoder.receive(data, start)
                if piece and not self._hand_on(exchange, piece):
                    self._tail = data[start:] + self._tail
                    return
                if start >= len(data):
                    break
            if decoder.done:
                self._end_body(exchange, data[start:])
        except RemoteProtocolError as error:
            self.refuse(error)
        except Exception:
            # Border: a consumer that fails must not break the transport.
            app_log.error("Uncaught exception while reading a body", exc_info=True)
            self.fail()

    def _hand_on(self, exchange: Http1Exchange, piece: bytes) -> bool:
        """Give a piece of the body to its sink; False where the sink wants to be waited for."""
        if self._inflate is not None:
            piece = self._inflate.receive(piece)
        self._body_size += len(piece)
        if self._body_size > self._max_body_size and not exchange.complete:
            raise RemoteProtocolError("the body is too large", 413)
        if exchange.sink is None or not piece:
            return True
        wait = exchange.sink.data_received(piece)
        if wait is None:
            return True
        self._body_paused_at = self.sweeper.refresh()
        self._wait(wait, self._continue_body)
        return False

    def _continue_body(self) -> None:
        """The consumer of a body is ready for more."""
        if self._decoder is None:
            return
        now = self.sweeper.refresh()
        self._body_start += now - self._body_paused_at
        self._set_body_deadline(now)
        rest, self._tail = self._tail, b""
        self._body_received(rest)

    def _end_body(self, exchange: Http1Exchange, rest: bytes) -> None:
        """The body is complete; ``rest`` belongs to the next request."""
        decoder, self._decoder = self._decoder, None
        exchange.body_done = True
        self.deadline = inf
        self._phase = ANSWER
        if rest:
            self._keep(rest)
        if self._inflate is not None:
            inflate, self._inflate = self._inflate, None
            inflate.finish()
        if isinstance(decoder, Chunked) and decoder.trailers:
            exchange.take_trailers(decoder.trailers)
        if exchange.complete:  # answered before its body was there
            self._exchange = None
            self._next(exchange)
        elif exchange.sink is not None:
            exchange.sink.finish()

    # Waiting for the application.

    def _wait(self, awaitable: Awaitable[Any], then: Callable[[], None]) -> None:
        """Stop reading until ``awaitable`` is done, then go on with ``then``."""
        self.deadline = inf
        self.wire.pause_reading()
        waiting = self._waiting = asyncio.ensure_future(awaitable)
        waiting.add_done_callback(lambda future: self._waited(future, then))

    def _waited(self, future: "asyncio.Future[Any]", then: Callable[[], None]) -> None:
        self._waiting = None
        if future.cancelled():
            self.fail()
            return
        error = future.exception()
        try:
            if isinstance(error, RemoteProtocolError):
                self.refuse(error)
            elif error is not None:
                app_log.error("Uncaught exception while reading a request", exc_info=error)
                self.fail()
            elif not self.wire.closing:
                self.wire.resume_reading()
                then()
        except Exception:
            # Border: this runs as a loop callback.
            app_log.error("Uncaught exception while reading a request", exc_info=True)
            self.fail()

    # The end of an exchange.

    def exchange_done(self, exchange: Http1Exchange) -> None:
        """The response of the current exchange has been written."""
        if not exchange.body_done:
            if exchange.keep_alive:  # a short rest is read and dropped, so that the connection can be kept
                exchange.sink = None
            else:
                self._exchange = None
                self._linger()
            return
        self._exchange = None
        if self._processing and exchange.keep_alive and not self.wire.write_paused:
            self._phase = IDLE  # the quick way: `_process` goes on by itself
            self.deadline = self.sweeper.now + self.server.idle_timeout
        else:
            self._next(exchange)

    def _next(self, exchange: Http1Exchange) -> None:
        """Be ready for the next request, or close."""
        if not exchange.keep_alive:
            if self._tail:
                self._linger()
            else:
                self._close()
            return
        self._phase = IDLE
        if self.wire.write_paused:
            self._watch_stall()
        else:
            self.deadline = self.sweeper.now + self.server.idle_timeout
        if self._tail:
            self._resume_soon()
        elif self._eof:
            self._close()

    def refuse(self, error: RemoteProtocolError) -> None:
        """Answer what the client did wrong with a short plain body, and close.

        Where a response has begun there is no way to say it: the connection is cut.
        """
        gen_log.info("%s: refused with %d: %s", self.context, error.status, error)
        self._end_with(error.status, str(error))

    def fail(self) -> None:
        """Answer our own failure with 500, and close; the log has it already."""
        self._end_with(500, "")

    def _end_with(self, status: int, message: str) -> None:
        exchange, self._exchange = self._exchange, None
        self._decoder = self._inflate = None
        begun = False
        if exchange is not None:
            begun = exchange.begun
            exchange.connection_lost()
        if begun:
            self.wire.abort()
            return
        if self.wire.closing:
            return
        line = status_line(status, None)
        body = f"{line.partition(' ')[2]}{': ' if message else ''}{message}\n".encode("latin-1", "replace")
        fields = [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
        ]
        head_only = exchange is not None and exchange.head.method == "HEAD"
        self.wire.write(encode_head(line, fields) + (b"" if head_only else body))
        self._linger()

    # The end of the connection.

    def _linger(self) -> None:
        """Close so that what was written arrives: a close with unread input would reset the connection."""
        self._decoder = None
        self._tail = b""
        self._phase = LINGER
        self._linger_left = self.limits.linger_size
        self.deadline = self.sweeper.refresh() + (self.limits.linger_timeout or 0.1)
        self.wire.write_eof()
        if self._waiting is None:
            self.wire.resume_reading()

    def _close(self) -> None:
        """Close when everything written is out; a client that does not take it meets the write deadline."""
        self._phase = CLOSING
        self._stall_mark = self.wire.write_buffer_size
        self.deadline = self.sweeper.refresh() + (self.limits.write_timeout or inf)
        self.wire.close()

    def close_when_idle(self) -> None:
        """Close now, or after the answer that is being made: the server is going away."""
        if self._exchange is not None:
            self._exchange.keep_alive = False
        elif self._phase == IDLE or (self._phase == HEAD and not self._tail):
            self._close()

    def abort(self) -> None:
        """Cut the connection."""
        self.wire.abort()

    def stalled(self) -> "asyncio.Future[None]":
        """The future of the peer taking enough of what was written; sets the deadline for that."""
        if self._drained is None:
            self._drained = self.wire.loop.create_future()
            self._watch_stall()
        return self._drained

    async def emptied(self) -> None:
        """Wait until the kernel has everything that was written."""
        transport = self.wire.transport
        if self.wire.write_buffer_size:
            transport.set_write_buffer_limits(high=0)
            try:
                while self.wire.write_paused:
                    await self.stalled()
            finally:
                transport.set_write_buffer_limits()

    def _watch_stall(self) -> None:
        self._stall_mark = self.wire.write_buffer_size
        self.deadline = self.sweeper.refresh() + (self.limits.write_timeout or inf)

    def resume_writing(self) -> None:
        """The peer has taken enough (the `Consumer` interface)."""
        if self._phase == IDLE:
            self.deadline = self.sweeper.refresh() + self.server.idle_timeout
        elif self._phase == BODY:
            self._set_body_deadline(self.sweeper.refresh())
        elif self._phase == ANSWER:
            self.deadline = inf
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    def eof_received(self) -> bool:
        """The client has closed its side (the `Consumer` interface)."""
        exchange = self._exchange
        if exchange is None or self._phase == LINGER:
            return False
        if not exchange.body_done and not exchange.complete:
            gen_log.info("%s: closed before the end of the request's body", self.context)
            return False
        # It may have left, or only have nothing more to ask: tell the handler, and answer if it still does.
        self._eof = True
        if not self._tail:
            exchange.keep_alive = False
            exchange.client_gone()
        return self.wire.get_extra_info("sslcontext") is None

    def connection_lost(self, exc: Exception | None) -> None:
        """The wire is gone (the `Consumer` interface)."""
        self.sweeper.unwatch(self)
        self.server.connection_closed(self)
        self._decoder = self._inflate = None
        self._tail = b""
        exchange, self._exchange = self._exchange, None
        drained, self._drained = self._drained, None
        if self._resume_handle is not None:
            self._resume_handle.cancel()
        if drained is not None and not drained.done():
            drained.set_exception(StreamClosedError())
            drained.exception()  # whoever does not wait for it need not be told
        if exchange is not None:
            exchange.connection_lost()

    def detach(self) -> IOStream:
        """Give the wire away, with what has arrived behind the request."""
        self.sweeper.unwatch(self)
        self.server.connection_closed(self)
        self._exchange = None
        self._phase = DETACHED
        rest, self._tail = self._tail, b""
        self.wire.resume_reading()
        return IOStream.from_wire(self.wire, rest)

    # Deadlines.

    def deadline_passed(self, now: float) -> None:
        """The sweep has found `deadline` in the past."""
        if self._phase == CLOSING or self.wire.write_paused:
            left = self.wire.write_buffer_size
            if left < self._stall_mark:
                self._watch_stall()
                return
            gen_log.info("%s: cut, since it takes no more of the answer", self.context)
            self.wire.abort()
        elif self._phase == LINGER:
            self.wire.abort()
        elif self._phase == IDLE or (self._phase == HEAD and not self._tail):
            self._close()
        elif self._phase == HEAD:
            self.refuse(RemoteProtocolError("the request did not come in time", 408))
        elif self._phase == BODY:
            self._body_deadline_passed(now)
        else:
            self.deadline = inf

    def _body_deadline_passed(self, now: float) -> None:
        elapsed = now - self._body_start
        too_slow = self.limits.min_body_rate and self._body_wire_size < self.limits.min_body_rate * elapsed
        if too_slow or (self._body_timeout and elapsed >= self._body_timeout):
            self.refuse(RemoteProtocolError("the body did not come in time", 408))
        else:
            self._set_body_deadline(now)

    # What an exchange may ask.

    def set_max_body_size(self, size: int) -> None:
        self._max_body_size = size

    def set_body_timeout(self, timeout: float) -> None:
        self._body_timeout = timeout
        if self._phase == BODY:
            self._set_body_deadline(self.sweeper.refresh())

    def body_is_short(self) -> bool:
        """Whether the rest of the request's body is small enough to be read and dropped after the answer."""
        decoder = self._decoder
        exchange = self._exchange
        if exchange is None or (exchange.head.expect_continue and self._phase != BODY):
            return False
        return isinstance(decoder, Length) and decoder.remaining <= self.limits.linger_size
