"""`HTTP1Connection`: one request and its response on a stream, for either side; the loop of a server stays outside."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from webfw.http1connection.incoming import Payload, read_body, read_head
from webfw.http1connection.outgoing import Framing
from webfw.http1connection.parameters import HTTP1ConnectionParameters
from webfw.httpserver.exchange import DONE
from webfw.httpserver.http1exchange import plain_answer
from webfw.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPOutputError,
    RequestStartLine,
    ResponseStartLine,
)
from webfw.iostream import IOStream, StreamClosedError
from webfw.log import app_log, gen_log
from webfw.sansio.errors import RemoteProtocolError
from webfw.sansio.http1 import (
    BodyDecoder,
    Chunked,
    HeadLimits,
    Length,
    RequestHead,
    ResponseHead,
    UntilClose,
    encode_head,
    encode_last_chunk,
    parse_head,
    parse_response_head,
    status_line,
)

__all__ = ["HTTP1Connection"]

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

#: Interim responses (1xx) taken before the one that counts.
MAX_INTERIM = 10

#: Bytes of a request's body that are read and dropped once it has been answered.
MAX_DROPPED = 1024 * 1024


class _TooLate(Exception):
    """A deadline has passed."""


class HTTP1Connection(HTTPConnection):
    """HTTP/1.x over a stream, one message in each direction; make a new one for the next.

    :param stream: a connected stream, which this reads and writes from now on.
    :param is_client: whether requests are written and responses read, or the other way round.
    :param params: limits and deadlines.
    :param context: anything, kept as `context`; a server's requests look there for ``remote_ip`` and ``protocol``.

    A client calls `write_headers`, `write`, `finish` and then `read_response`.  A server is better made with
    `HTTP1ServerConnection`.
    """

    def __init__(
        self,
        stream: IOStream,
        is_client: bool,
        params: HTTP1ConnectionParameters | None = None,
        context: object = None,
    ) -> None:
        self.stream: IOStream | Any = stream  # None after `detach`
        self.is_client = is_client
        self.params = params or HTTP1ConnectionParameters()
        self.context = context
        self.no_keep_alive = self.params.no_keep_alive
        max_body_size = self.params.max_body_size
        if max_body_size is None:
            max_body_size = stream.max_buffer_size
        self._payload = Payload(self.params.chunk_size, max_body_size)
        self._body_timeout = self.params.body_timeout
        self._timer: asyncio.Timeout | None = None
        self._close_callback: Callable[[], Any] | None = None
        #: The request: its method as it was written or read, its head where it was read.
        self._method = "GET"
        self._request: RequestHead | None = None
        #: The message that is written, and whether it is complete.
        self._out: Framing | None = None
        self._written = False
        self._last_write: Awaitable[None] = DONE
        #: Whether a message is being read; `_over` is done when it has been answered.
        self._reading = False
        #: Whether a delegate has heard of the message.
        self._told = False
        self._over: asyncio.Future[None] = stream.io_loop.asyncio_loop.create_future()

    # --- its life ---

    def set_close_callback(self, callback: Callable[[], Any] | None) -> None:
        """Have `callback` called if the connection closes while no message is read.

        While one is, its delegate hears ``on_connection_close`` instead.
        """
        self._close_callback = callback
        if callback is not None and self.stream is not None:
            self.stream.set_close_callback(self._closed)

    def _closed(self) -> None:
        callback = self._close_callback
        if callback is not None and not self._reading:
            self._close_callback = None
            callback()
        self._end()

    def _end(self) -> None:
        if not self._over.done():
            self._over.set_result(None)

    def _clear_callbacks(self) -> None:
        self._close_callback = None
        if self.stream is not None:
            self.stream.set_close_callback(None)

    def close(self) -> None:
        """Close the stream; nobody is told, except for the delegate of a message that is being read."""
        self._clear_callbacks()
        if self.stream is not None:
            self.stream.close()
        self._end()

    def detach(self) -> IOStream:
        """Take the stream away and stop speaking HTTP on it, in ``headers_received`` of a delegate."""
        self._clear_callbacks()
        stream: IOStream = self.stream
        self.stream = None
        self._end()
        return stream

    def set_body_timeout(self, timeout: float) -> None:
        """Set the time the whole body of this message may take, in seconds from its beginning or, later, from now.

        0 takes the limit off.
        """
        self._body_timeout = timeout
        if self._timer is not None:
            self._timer.reschedule(asyncio.get_running_loop().time() + timeout if timeout else None)

    def set_max_body_size(self, max_body_size: int) -> None:
        """Set the limit for the body of this message in bytes, in place of that of the parameters."""
        self._payload.max_size = max_body_size

    # --- reading ---

    async def read_response(self, delegate: HTTPMessageDelegate) -> bool:
        """Read one message: a client a response, a server a request, and then wait until that is answered.

        :param delegate: is told of its parts, and of the close if that comes after its head.
        :return: whether the message was read whole and the stream is still in use: False after a malformed message
            or at the end of a deadline, which close it, and after `detach`.  A client may use the stream again if
            neither side has said ``Connection: close``.
        :raises StreamClosedError: the stream ended before the message did.  What the delegate raises is raised too.
        """
        if self.stream is None:
            return False
        complete = False
        self._reading = True
        try:
            head, decoder = await self._read_head(delegate)
            if self.stream is not None:
                await self._read_body(head, decoder, delegate)
            complete = True
            self._reading = False
            return self.stream is not None and (self.is_client or await self._answer_sent())
        except _TooLate:
            return False
        except RemoteProtocolError as error:
            gen_log.info("Malformed HTTP message from %s: %s", self.context, error)
            self._told = self._told or self.is_client  # who waits for a response
            self._refuse(error)
            return False
        finally:
            self._reading = False
            if not complete:
                self.close()
                if self._told:
                    _tell_closed(delegate)

    async def _read_head(
        self, delegate: HTTPMessageDelegate
    ) -> tuple[RequestHead | ResponseHead, BodyDecoder]:
        """Read heads up to one that is final, and hand them to the delegate."""
        for _ in range(MAX_INTERIM + 1):
            head = await self._next_head()
            headers = HTTPHeaders.from_fields(head.fields)
            decoder: BodyDecoder
            if head.chunked:
                decoder = Chunked()
            elif isinstance(head, ResponseHead) and head.until_close:
                decoder = UntilClose()
            else:
                decoder = Length(head.content_length or 0)
            if self.params.decompress and not decoder.done:
                self._payload.decompress(headers)
            self._told = True
            await _done(delegate.headers_received(self._start_line(head), headers))
            if not (isinstance(head, ResponseHead) and head.status < 200 and head.status != 101):
                return head, decoder
            if self.stream is None:
                return head, decoder
        raise RemoteProtocolError(f"more than {MAX_INTERIM} interim responses")

    async def _next_head(self) -> RequestHead | ResponseHead:
        limits = HeadLimits(
            max_header_size=self.params.max_header_size, max_target=self.params.max_header_size
        )
        size = self.params.chunk_size
        async with self._deadline(self.params.header_timeout, "the head"):
            if self.is_client:
                method = self._method
                return await read_head(
                    self.stream, size, lambda data, seen: parse_response_head(data, 0, seen, limits, method)
                )
            head = await read_head(self.stream, size, lambda data, seen: parse_head(data, 0, seen, limits))
        self._request = head
        self._method = head.method
        return head

    def _start_line(self, head: RequestHead | ResponseHead) -> RequestStartLine | ResponseStartLine:
        if isinstance(head, ResponseHead):
            return ResponseStartLine(head.version, head.status, head.reason)
        return RequestStartLine(head.method, head.target, head.version)

    @asynccontextmanager
    async def _deadline(self, seconds: float | None, what: str) -> AsyncIterator[None]:
        """Close the stream if what is read within takes too long."""
        timer = asyncio.timeout(seconds or None)
        self._timer = timer
        try:
            async with timer:
                yield
        except TimeoutError:
            if not timer.expired():  # a delegate's own
                raise
            gen_log.info("Timeout reading %s from %s", what, self.context)
            raise _TooLate from None
        finally:
            self._timer = None

    async def _read_body(
        self, head: RequestHead | ResponseHead, decoder: BodyDecoder, delegate: HTTPMessageDelegate
    ) -> None:
        """Hand the body on, and say that the message is complete."""
        waits = isinstance(head, RequestHead) and head.expect_continue
        if waits and self._out is not None and not decoder.done:
            # Nobody can tell whether a client that was answered at once still sends it (RFC 9110 section 10.1.1).
            self._out.close = True
        elif not decoder.done:
            if (head.content_length or 0) > self._payload.max_size and not self._answered:
                raise RemoteProtocolError("Content-Length too long", 413)
            if waits:
                self.stream.write(CONTINUE)
            async with self._deadline(self._body_timeout, "body"):
                await self._pass_on(decoder, delegate)
        if not self._answered:
            delegate.finish()

    async def _pass_on(self, decoder: BodyDecoder, delegate: HTTPMessageDelegate) -> None:
        dropped = 0
        async for data in read_body(self.stream, decoder, self.params.chunk_size):
            if self._answered:
                dropped += len(data)
                if dropped > MAX_DROPPED:
                    raise StreamClosedError()
                continue
            for piece in self._payload.pieces(data):
                await _done(delegate.data_received(piece))
        if not self._answered:
            self._payload.end()

    @property
    def _answered(self) -> bool:
        """Whether a request needs no more reading, since its answer is complete."""
        return not self.is_client and self._written

    async def _answer_sent(self) -> bool:
        """Wait until the request is answered; whether another may come."""
        if not self._over.done():
            self.stream.set_close_callback(self._closed)
            await self._over
        if self.stream is None:
            return False
        if self._out is None or self._out.close:
            self.close()
            return False
        self._clear_callbacks()
        return not self.stream.closed()

    def _refuse(self, error: RemoteProtocolError) -> None:
        """Say to a client what it did wrong, if nothing else has been said."""
        if self.is_client or self._out is not None or self.stream is None or self.stream.closed():
            return
        self._out = Framing(close=True)
        self._written = True
        self.stream.write(plain_answer(error.status, str(error), self._method == "HEAD"))

    # --- writing ---

    def write_headers(
        self,
        start_line: RequestStartLine | ResponseStartLine,
        headers: HTTPHeaders,
        chunk: bytes | None = None,
    ) -> Awaitable[None]:
        """Write the head of the request or response, with a first piece of its body.

        A body is framed by ``Content-Length`` if there is one.  Otherwise a response to HTTP/1.1 is chunked, as is a
        POST, PUT or PATCH.

        :raises HTTPOutputError: one was written already, or its fields contradict each other.
        """
        if self._out is not None:
            raise HTTPOutputError("the head has been written already")
        if isinstance(start_line, RequestStartLine) is not self.is_client:
            raise TypeError(f"{type(start_line).__name__} is the other side's start line")
        if isinstance(start_line, RequestStartLine):
            out = Framing()
            data = out.request(start_line, headers)
            self._method = start_line.method
        else:
            if 100 <= start_line.code < 200 and start_line.code != 101:
                line = status_line(start_line.code, start_line.reason)
                return self._send(encode_head(line, headers.fields()))
            asked = self._request
            out = Framing(close=self.no_keep_alive or (asked is not None and not asked.keep_alive))
            data = out.response(start_line, headers, asked)
        if chunk:
            data += out.frame(chunk)
        self._out = out
        return self._send(data)

    def write(self, chunk: bytes) -> Awaitable[None]:
        """Write a piece of the body.

        :return: done when the kernel has it; a `StreamClosedError` comes from there.
        """
        out = self._out
        if out is None or self._written:
            raise HTTPOutputError("write between write_headers and finish only")
        try:
            data = out.frame(bytes(chunk))
        except HTTPOutputError:
            self.close()
            raise
        return self._send(data)

    def _send(self, data: bytes) -> Awaitable[None]:
        try:
            if self.stream is None:
                raise StreamClosedError()
            if data:
                self._last_write = self.stream.write(data)
        except StreamClosedError as error:
            gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            gone.set_exception(error)
            gone.exception()  # whoever does not wait for it need not be told
            self._last_write = gone
        return self._last_write

    def finish(self) -> None:
        """End the message; a server's connection closes after it if it must."""
        out = self._out
        if out is None:
            raise HTTPOutputError("finish before write_headers")
        if self._written:
            return
        try:
            out.check_complete()
        except HTTPOutputError:
            self.close()
            raise
        if out.chunked:
            self._send(encode_last_chunk())
        self._written = True
        if self.is_client:
            return
        last = self._last_write
        if isinstance(last, asyncio.Future) and not last.done():
            last.add_done_callback(lambda _: self._end())
        else:
            self._end()


async def _done(result: Awaitable[None] | None) -> None:
    if result is not None and result is not DONE:
        await result


def _tell_closed(delegate: HTTPMessageDelegate) -> None:
    try:
        delegate.on_connection_close()
    except Exception:
        # Border: the application's; whatever ended the message is what is to be raised.
        app_log.error("Uncaught exception in on_connection_close", exc_info=True)
