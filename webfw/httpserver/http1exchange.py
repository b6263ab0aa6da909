"""One exchange on an HTTP/1 connection: how a response is framed and put on the wire (RFC 9112 sections 6 and 7)."""

import asyncio
import socket
from collections.abc import Callable, Iterable
from time import time
from typing import TYPE_CHECKING, Any, BinaryIO

from webfw.httpserver.exchange import DONE, BodySink, Exchange, Upgraded
from webfw.httpserver.sendfile import send_file
from webfw.httputil import HTTPHeaders, HTTPOutputError, HTTPServerRequest, format_timestamp
from webfw.iostream import IOStream, StreamClosedError
from webfw.log import app_log
from webfw.sansio.errors import LocalProtocolError
from webfw.sansio.http1 import RequestHead, encode_chunk, encode_head, encode_last_chunk, status_line

if TYPE_CHECKING:
    from asyncio import Future

    from webfw.httpserver.http1 import ServerConnection
    from webfw.httpserver.peer import RequestContext

__all__ = ["Http1Exchange", "plain_answer"]

#: Bodies up to this size are joined to their head, so that both leave in one write.
JOIN_SIZE = 64 * 1024


def plain_answer(
    status: int, message: str, head_only: bool = False, more: Iterable[tuple[str, str]] = ()
) -> bytes:
    """A whole response that says what went wrong, for the end of a connection.

    :param message: more than the reason phrase; may be empty.
    :param head_only: without the body, as HEAD has it.
    :param more: further fields.
    """
    line = status_line(status, None)
    body = f"{line.partition(' ')[2]}{': ' if message else ''}{message}\n".encode("utf-8", "replace")
    fields = [
        ("Date", format_timestamp(time())),
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Connection", "close"),
        *more,
    ]
    return encode_head(line, fields) + (b"" if head_only else body)


class Http1Exchange(Exchange):
    """See `Exchange`.

    :ivar begun: the head of the response has been sent.
    :ivar complete: the response has been sent whole.
    :ivar body_done: the request's body has been read whole.
    :ivar keep_alive: the connection outlives the exchange.
    """

    __slots__ = (
        "_chunked",
        "_close_callback",
        "_conn",
        "_left",
        "_trailers",
        "begun",
        "body_done",
        "bytes_received",
        "bytes_sent",
        "complete",
        "context",
        "has_body",
        "head",
        "keep_alive",
        "request",
        "sink",
        "status",
    )

    def __init__(self, conn: "ServerConnection", head: RequestHead, context: "RequestContext") -> None:
        self._conn = conn
        self.head = head
        self.keep_alive = head.keep_alive and conn.server.keep_alive
        self.begun = self.complete = False
        self.sink: BodySink | None = None
        self.status = self.bytes_sent = self.bytes_received = 0
        self._close_callback: Callable[[], None] | None = None
        self.has_body = has_body = head.chunked or head.content_length is not None
        self.body_done = not has_body
        request = HTTPServerRequest.from_head(head, self, context)
        if head.upgrade and "websocket" in request.headers.get("Upgrade", "").lower():
            # Where it is refused, what is behind it may be frames of somebody who has not waited; no requests.
            self.keep_alive = False
        if conn.server.xheaders:
            request.context = context = conn.server.behind_proxy(context, request)
        self.context = context
        self.request: HTTPServerRequest | None = request
        self._trailers: tuple[tuple[str, str], ...] = ()

    # The answer, whole.

    def respond(self, status: int, reason: str, headers: HTTPHeaders, body: bytes) -> None:
        if self.begun:
            raise HTTPOutputError("the response has begun already")
        conn = self._conn
        if conn.exchange is not self:  # the client has gone, or been refused: nobody is there to be answered
            self.begun = self.complete = True
            self.status = status
            return
        if not self.body_done and self.keep_alive:
            self.keep_alive = conn.body_is_short()
        if self.keep_alive and self.head.minor and "Connection" not in headers._fields:
            fields = headers.fields()
        else:
            fields = self._with_connection(headers)
        line = status_line(status, reason)
        if not body or self.head.method == "HEAD":
            data = encode_head(line, fields)
            body = b""
        elif len(body) <= JOIN_SIZE:
            data = encode_head(line, fields, body)
        else:
            data = encode_head(line, fields)
        self.begun = self.complete = True
        self.status = status
        self.bytes_sent = len(body)
        if len(body) <= JOIN_SIZE:
            conn.wire.write(data)
        else:
            self._write_large(data, body)
        self._done()

    def _write_large(self, data: bytes, body: bytes) -> None:
        wire = self._conn.wire
        wire.write(data)
        if wire.get_extra_info("sslcontext") is None:
            wire.write(body)
            return
        # A TLS transport passes a single write on whole, and says no more how much of it is still to leave.
        for begin in range(0, len(body), JOIN_SIZE):
            wire.write(body[begin : begin + JOIN_SIZE])

    def _with_connection(self, headers: HTTPHeaders) -> list[tuple[str, str]]:
        """The fields to send, with the ``Connection`` this answer needs (RFC 9112 section 9.3)."""
        fields = [pair for pair in headers.fields() if pair[0] != "Connection"]
        options = headers.get("Connection", "")
        words = [word.strip().lower() for word in options.split(",")]
        if "close" in words:
            self.keep_alive = False
        if not self.keep_alive:
            options = "close" if "upgrade" not in words else options
        elif not self.head.minor:
            options = "keep-alive"
        if options:
            fields.append(("Connection", options))
        return fields

    def _done(self) -> None:
        # Each of them may refer back to this exchange.
        self.request = None
        self.sink = None
        self._close_callback = None
        self._conn.exchange_done(self)

    # The answer, piece by piece.

    def write_headers(
        self, start_line: Any, headers: HTTPHeaders, chunk: bytes | None = None
    ) -> "Future[None]":
        status, reason = start_line.code, start_line.reason
        if 100 <= status < 200 and status != 101:
            self.send_informational(status, headers)
            return DONE  # type: ignore[return-value]
        if self.begun:
            raise HTTPOutputError("the response has begun already")
        if self._conn.exchange is not self:
            self.begun = True
            self.status = status
            return self._nobody_there()
        if not self.body_done and self.keep_alive:
            self.keep_alive = self._conn.body_is_short()
        bodiless = self.head.method == "HEAD" or status in (204, 304) or status == 101
        length = headers.get("Content-Length")
        if length is not None and not (length.isascii() and length.isdigit()):
            raise HTTPOutputError(f"Content-Length is no number: {length[:40]!r}")
        self._chunked = length is None and self.head.minor > 0 and status not in (101, 204, 304)
        self._left = 0 if bodiless else None if length is None else int(length)
        if length is None and not self._chunked and not bodiless:
            self.keep_alive = False  # HTTP/1.0: the end of the connection ends the body
        fields = self._with_connection(headers)
        if "Transfer-Encoding" in headers:  # framing is ours
            fields = [pair for pair in fields if pair[0] != "Transfer-Encoding"]
        if length is not None and status in (101, 204):  # RFC 9110 section 8.6: MUST NOT be sent
            fields = [pair for pair in fields if pair[0] != "Content-Length"]
        if self._chunked:
            fields.append(("Transfer-Encoding", "chunked"))
            self._chunked = not bodiless
        data = encode_head(status_line(status, reason), fields)
        self.begun = True
        self.status = status
        if chunk and self.head.method != "HEAD":
            data += self._frame(chunk)
        return self._send(data)

    def _frame(self, chunk: bytes) -> bytes:
        """A piece of the body as it goes on the wire; counts it against the announced length."""
        if self._left is not None:
            self._left -= len(chunk)
            if self._left < 0:
                self.abort_response()
                raise HTTPOutputError("more was written than Content-Length announced")
        self.bytes_sent += len(chunk)
        return encode_chunk(chunk) if self._chunked else chunk

    def _send(self, data: bytes) -> "Future[None]":
        conn = self._conn
        wire = conn.wire
        if conn.exchange is not self or wire.closing or wire.transport.is_closing():
            return self._nobody_there()
        wire.write(data)
        if wire.write_paused:
            return conn.stalled()
        return DONE  # type: ignore[return-value]

    def _nobody_there(self) -> "Future[None]":
        gone = asyncio.get_running_loop().create_future()
        gone.set_exception(StreamClosedError())
        gone.exception()  # whoever does not wait for it need not be told
        return gone

    def write(self, chunk: bytes) -> "Future[None]":
        if not self.begun or self.complete:
            raise HTTPOutputError("write between write_headers and finish only")
        if not chunk or self.head.method == "HEAD":
            return DONE  # type: ignore[return-value]
        if self._conn.exchange is not self:
            return self._nobody_there()
        return self._send(self._frame(bytes(chunk)))

    def finish(self) -> None:
        if self.complete:
            return
        if not self.begun:
            raise HTTPOutputError("finish before write_headers")
        conn = self._conn
        if conn.exchange is not self:
            self.complete = True
            return
        if self._left and not conn.wire.closing:
            self.abort_response()
            raise HTTPOutputError(f"{self._left} bytes less were written than Content-Length announced")
        if self._chunked:
            try:
                end = encode_last_chunk(self._trailers)
            except LocalProtocolError:
                self.abort_response()
                raise
            conn.wire.write(end)
        self.complete = True
        self._done()

    def set_trailers(self, trailers: Iterable[tuple[str, str]]) -> None:
        self._trailers = tuple(trailers)

    def send_informational(self, status: int, headers: HTTPHeaders) -> None:
        if not 100 <= status < 200 or status == 101:
            raise HTTPOutputError(f"{status} is no interim status")
        if self.begun:
            raise HTTPOutputError("the response has begun already")
        if self.head.minor and self._conn.exchange is self:
            self._conn.wire.write(encode_head(status_line(status, None), headers.fields()))

    async def sendfile(self, file: BinaryIO, offset: int, count: int) -> None:
        if not self.begun or self.complete:
            raise HTTPOutputError("sendfile between write_headers and finish only")
        if self.head.method == "HEAD":
            return
        if self._conn.exchange is not self:
            raise StreamClosedError()
        if self._chunked:
            raise HTTPOutputError("sendfile needs a Content-Length")
        if self._left is not None:
            if count > self._left:
                self.abort_response()
                raise HTTPOutputError("more was written than Content-Length announced")
            self._left -= count
        try:
            await send_file(self._conn, file, offset, count, self._sent)
        except BaseException:
            # Also when cancelled: Content-Length has announced the bytes, and the client must not take what comes next
            # for them.
            self.abort_response()
            raise

    def _sent(self, count: int) -> None:
        self.bytes_sent += count

    def abort_response(self) -> None:
        self.complete = True
        if self._conn.exchange is self:
            self._conn.abort()

    # The request.

    def take_trailers(self, trailers: list[tuple[str, str]]) -> None:
        """Keep the fields that came behind a chunked body apart, as ``request.trailers``."""
        if self.request is not None:
            kept = HTTPHeaders()
            for name, value in trailers:
                kept.add(name, value)
            self.request.trailers = kept

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        self._close_callback = callback

    def client_gone(self) -> None:
        """Tell whoever answers that nobody may be listening any more; once."""
        callback, self._close_callback = self._close_callback, None
        sink, self.sink = self.sink, None
        if callback is None and sink is not None:
            callback = sink.on_connection_close
        if callback is not None and not self.complete:
            try:
                callback()
            except Exception:
                # Border: a callback of the application must not break the transport.
                app_log.error("Uncaught exception in a close callback", exc_info=True)

    def connection_lost(self) -> None:
        """The connection is gone, or taken from this exchange."""
        self.client_gone()
        self.request = None

    def set_max_body_size(self, max_body_size: int) -> None:
        if self._conn.exchange is self:
            self._conn.set_max_body_size(max_body_size)

    def set_body_timeout(self, timeout: float) -> None:
        if self._conn.exchange is self:
            self._conn.set_body_timeout(timeout)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self._conn.wire.loop

    @property
    def server_connection(self) -> object:
        return self._conn

    @property
    def stream(self) -> Any:
        """The wire below, for what programs ask of Tornado's ``request.connection.stream``; None after an upgrade.

        None as there, because programs go by it: dask's distributed takes a WebSocket for closed as long as it has one.
        """
        wire = self._conn.wire
        return wire if wire.consumer is self._conn or wire.closing else None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._conn.wire.get_extra_info(name, default)

    def detach(self) -> IOStream:
        if self._let_go():
            return self._conn.detach()
        stream = IOStream(socket.socket())
        stream.close()
        return stream

    def hand_over(self, consumer: Upgraded) -> None:
        if not self._let_go():
            raise StreamClosedError()
        self._conn.hand_over(consumer)

    def _let_go(self) -> bool:
        """HTTP is over here; whether the connection still is this exchange's."""
        current = self._conn.exchange is self
        self.complete = self.begun = True
        self.request = None
        self.sink = None
        self._close_callback = None
        return current
