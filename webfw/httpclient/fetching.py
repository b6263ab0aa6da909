"""One `fetch` from its wait for a place to its response; what is said about connections in general may not enter."""

import asyncio
import contextvars
import socket
import time
from collections.abc import Callable, Hashable
from math import inf
from typing import TYPE_CHECKING

from webfw.httpclient.connection import Connection, Cut
from webfw.httpclient.errors import HTTPClientError, HTTPStreamClosedError, HTTPTimeoutError
from webfw.httpclient.messages import HTTPRequest, HTTPResponse
from webfw.httpclient.origin import pool_key, tls_context
from webfw.httpclient.outgoing import IDEMPOTENT, Outgoing
from webfw.httpclient.receiving import Gathered, Streamed, undo_coding
from webfw.httpclient.redirects import REDIRECTS, CannotFollowError, follow
from webfw.httpclient.sending import Sender
from webfw.httputil import HTTPHeaders
from webfw.iostream import Wire
from webfw.log import app_log
from webfw.sansio.errors import RemoteProtocolError
from webfw.sansio.http1 import ResponseHead

if TYPE_CHECKING:
    from webfw.httpclient.simple import SimpleAsyncHTTPClient

__all__ = ["CONTINUE_TIMEOUT", "Fetching"]

#: Seconds until a body is sent to a server that leaves ``Expect: 100-continue`` unanswered (RFC 9110 section 10.1.1).
CONTINUE_TIMEOUT = 1.0

#: Bytes of the body of a redirect that are read to keep the connection.
MAX_REDIRECT_BODY = 64 * 1024

# What a request may be waiting for, for messages.
_QUEUE = "in request queue"
_LOOK_UP = "looking up the name"
_SEND = "sending the request"
_ANSWER = "waiting for the response"
_BODY = "receiving the body of the response"


class Fetching:
    """What `SimpleAsyncHTTPClient.fetch_impl` has begun.

    It is a `webfw.httpclient.pool.Guest`, the `webfw.httpclient.connection.Receiver` of its response, and watched by
    the loop's sweeper.

    :ivar deadline: when the phase it is in has to be over.
    :ivar key: see `webfw.httpclient.pool`.
    """

    __slots__ = (
        "__weakref__",
        "_body",
        "_callback",
        "_client",
        "_connection",
        "_context",
        "_drained",
        "_due",
        "_entered",
        "_following",
        "_head",
        "_held_timer",
        "_message",
        "_over",
        "_phase",
        "_redirects_left",
        "_request",
        "_response_head",
        "_response_headers",
        "_sender",
        "_started",
        "_task",
        "_tried_again",
        "_wall",
        "deadline",
        "key",
        "times",
    )

    def __init__(
        self,
        client: "SimpleAsyncHTTPClient",
        request: HTTPRequest,
        callback: Callable[[HTTPResponse], None],
    ) -> None:
        self._client = client
        self._request = request
        self._callback: Callable[[HTTPResponse], None] | None = callback
        self._context: contextvars.Context | None = None
        if request.streaming_callback or request.header_callback or request.body_producer:
            self._context = contextvars.copy_context()
        self._redirects_left = (request.max_redirects or 0) if request.follow_redirects else 0
        self._phase = _QUEUE
        self._over = False
        self._tried_again = False
        self._connection: Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._sender: Sender | None = None
        self._held_timer: asyncio.TimerHandle | None = None
        self._following: Outgoing | None = None
        self._drained = 0
        self._body: Gathered | Streamed | None = None
        self._response_head: ResponseHead | None = None
        self._response_headers: HTTPHeaders | None = None
        #: When the whole request has to be done, in the loop's time; known once it has a place.
        self._due = inf
        self._started: float | None = None
        self._wall = 0.0
        self.times: dict[str, float] = {}
        self._entered = client.loop.time()
        self.deadline = inf

    def start(self) -> None:
        """Ask for a place, unless the request cannot be sent at all."""
        request = self._request
        self.key: Hashable = None
        # A border: the request is the program's, and what is wrong with it is the answer.
        try:
            self._message = Outgoing.of(request)
            self._head = self._message.encode(request)
            limits = [limit for limit in (request.connect_timeout, request.request_timeout) if limit]
            limit = min(limits, default=inf)
            self.deadline = self._entered + limit
            key = pool_key(request, self._message.place)
            hash(key)
        except Exception as error:
            # Not before fetch() has returned.
            self._client.loop.call_soon(self._fail, error)
            return
        self.key = key
        if limits:
            self._client.sweeper.watch(self, limit)
        self._client.pool.enter(self)

    # The interface of a `Guest`.

    def admitted(self) -> None:
        """There is a place: connect, or use what is connected."""
        now = self._client.loop.time()
        if self._started is None:
            self._started = now
            self._wall = time.time()
            self.times["queue"] = now - self._entered
            if self._request.request_timeout:
                self._due = now + self._request.request_timeout
        again = self._message.method in IDEMPOTENT and self._message.producer is None
        connection = self._client.pool.take(self.key, now, sure=not again)
        if connection is not None:
            self._begin(connection)
        else:
            self._connect(now)

    def abandoned(self, error: BaseException) -> None:
        """The client is closed, or its loop."""
        self._fail(error)

    def give_up(self) -> None:
        """Nobody wants the response any more."""
        self._end()

    # Connecting.

    def _connect(self, now: float) -> None:
        self._phase = _LOOK_UP
        limit = self._request.connect_timeout
        self.deadline = min(self._due, now + limit if limit else inf)
        # In a context of its own: what the wire calls, for whatever request, is called in that.
        self._task = self._client.loop.create_task(self._connecting(), context=contextvars.Context())

    async def _connecting(self) -> None:
        request, place = self._request, self._message.place
        # A border: resolvers are the program's.
        try:
            await self._client.tcp_client.connect_wire(
                self._connected,
                place.host,
                place.port,
                unix_path=place.unix_path,
                af=socket.AF_UNSPEC if request.allow_ipv6 else socket.AF_INET,
                context=tls_context(request) if place.secure else None,
                source_ip=request.network_interface,
                progress=self._progress,
            )
        except asyncio.CancelledError as error:
            self._task = None
            self._fail(error)
            raise
        except Exception as error:
            self._task = None
            self._fail(self._located(error))

    def _progress(self, phase: str) -> None:
        if self._started is not None:
            self.times["namelookup" if self._phase == _LOOK_UP else "connect"] = (
                self._client.loop.time() - self._started
            )
        self._phase = phase

    def _connected(self, wire: Wire) -> None:
        self._task = None
        if self._over:
            wire.abort()
            return
        if self._started is not None:
            took = self._client.loop.time() - self._started
            self.times["appconnect" if self._message.place.secure else "connect"] = took
        self._begin(self._client.connection_on(wire, self.key))

    def _located(self, error: Exception) -> Exception:
        """An error of connecting, which says where and when it has happened."""
        where = f"{self._phase}, {self._message.place.name}"
        if isinstance(error, OSError) and error.strerror:
            error.strerror = f"{error.strerror} ({where})"
        else:
            error.add_note(where)
        return error

    # The exchange.

    def _begin(self, connection: Connection) -> None:
        message, request = self._message, self._request
        self._connection = connection
        self._phase = _ANSWER
        self.deadline = self._due
        body, producer = message.body, message.producer
        if request.expect_100_continue and (body or producer is not None):
            self._held_timer = self._client.loop.call_later(CONTINUE_TIMEOUT, self._send_body)
            connection.begin(self, message.method, self._head, b"", more=True)
        elif producer is not None:
            connection.begin(self, message.method, self._head, b"", more=True)
            self._send_body()
        else:
            connection.begin(self, message.method, self._head, body or b"", more=False)

    def _send_body(self) -> None:
        self._hold_no_longer()
        message, connection = self._message, self._connection
        if connection is None:
            return
        if message.producer is not None:
            context = self._context or contextvars.Context()
            self._sender = Sender(connection, message.producer, message.length, context, self._fail)
        else:
            connection.wire.write(message.body or b"")
            connection.sending = False

    def resume_writing(self) -> None:
        """There is room for more of the body."""
        if self._sender is not None:
            self._sender.resume()

    def interim_received(self, head: ResponseHead) -> None:
        """An interim response: the server wants the body, or says something nobody has asked for."""
        if self._request.header_callback is not None:
            self._tell_head(head, HTTPHeaders.from_fields(head.fields))
        if head.status == 100 and self._held_timer is not None:
            self._send_body()

    def head_received(self, head: ResponseHead) -> None:
        """The head of the response."""
        request = self._request
        headers = HTTPHeaders.from_fields(head.fields)
        self._response_head = head
        self._response_headers = headers
        if self._started is not None:
            self.times["starttransfer"] = self._client.loop.time() - self._started
        self._phase = _BODY
        self._hold_no_longer()  # who has answered without the body does not want it (RFC 9110 section 10.1.1)
        if self._redirects_left and head.status in REDIRECTS and "Location" in headers:
            try:
                self._following = follow(self._message, head.status, headers["Location"])
            except CannotFollowError as error:
                self._cannot_follow(error)
            return
        decoder = None
        max_size = self._client.max_body_size
        if request.decompress_response and self._message.method != "HEAD" and head.status not in (204, 304):
            decoder = undo_coding(headers, max_size)
        if request.header_callback is not None:
            self._tell_head(head, headers)
            if self._over:
                return
        if request.streaming_callback is not None and self._context is not None:
            self._body = Streamed(
                decoder, max_size, request.streaming_callback, self._context, self._resume, self._fail
            )
        else:
            self._body = Gathered(decoder, max_size)

    def _tell_head(self, head: ResponseHead, headers: HTTPHeaders) -> None:
        callback, context = self._request.header_callback, self._context
        if callback is None or context is None:
            return
        lines = [f"{head.version} {head.status} {head.reason}\r\n"]
        lines += [f"{name}: {value}\r\n" for name, value in headers.get_all()]
        # A border: the callback is the program's.
        try:
            for line in (*lines, "\r\n"):
                if self._over:  # by the callback itself
                    return
                context.run(callback, line)
        except Exception as error:
            self._fail(error)

    def data_received(self, data: bytes) -> bool:
        """A piece of the body; see `Connection`."""
        if self._following is not None:
            self._drained += len(data)
            if self._drained > MAX_REDIRECT_BODY:
                self._drop_connection()
                self._go_on(self._following)
            return True
        # A border: the callback is the program's.
        try:
            return self._body is None or self._body.take(data)
        except Exception as error:
            self._fail(self._of_response(error) if isinstance(error, RemoteProtocolError) else error)
            return False

    def _resume(self) -> None:
        if self._connection is not None:
            self._connection.resume()

    def finished(self) -> None:
        """The response is complete."""
        connection, self._connection = self._connection, None
        head, headers = self._response_head, self._response_headers
        assert connection is not None
        assert head is not None
        assert headers is not None
        self._stop()
        now = self._client.loop.time()
        if connection.reusable and not self._said_close():
            self._client.pool.keep(connection, now)
        else:
            connection.abort()
        if self._following is not None:
            self._go_on(self._following)
            return
        buffer = None
        if self._body is not None:
            try:
                buffer = self._body.finish()
            except RemoteProtocolError as error:
                self._fail(self._of_response(error))
                return
        response = self._response(head.status, headers, now)
        response.buffer = buffer
        self._report(response)

    def failed(self, error: Exception) -> None:
        """There will be no response, unless the request can be sent again."""
        connection, self._connection = self._connection, None
        message = self._message
        if (
            isinstance(error, Cut)
            and connection is not None
            and connection.silent
            and connection.requests > 1
            and not self._tried_again
            and message.method in IDEMPOTENT
            and (message.producer is None or self._sender is None)
        ):
            # RFC 9110 section 9.2.2, RFC 9112 section 9.3.1: the server has closed a connection that it had kept for
            # too long in its view.  On a new one, for others that were kept may be closed as well.
            self._tried_again = True
            self._stop()
            self._connect(self._client.loop.time())
        elif isinstance(error, Cut):
            name = self._message.place.name
            text = (
                f"Connection closed by {name} {error}"
                if str(error)
                else f"Connection closed by {name} while {self._phase}"
            )
            if error.cause is not None:
                text += f": {error.cause}"
            self._fail(HTTPStreamClosedError(text, error.cause))
        else:
            self._fail(self._of_response(error))

    def _of_response(self, error: Exception) -> HTTPStreamClosedError:
        """What is reported when the peer breaks the rules."""
        text = f"no valid response from {self._message.place.name}: {error}"
        closed = HTTPStreamClosedError(text, error)
        closed.__cause__ = error
        return closed

    def _said_close(self) -> bool:
        value = self._request.headers.get("Connection")
        return value is not None and "close" in value.lower()

    def _go_on(self, message: Outgoing) -> None:
        """Follow a redirect, before all others who wait."""
        self._following = None
        self._drained = 0
        self._redirects_left -= 1
        self._tried_again = False
        try:
            self._head = message.encode(self._request)
        except ValueError as error:
            self._cannot_follow(error)
            return
        self._message = message
        self._phase = _QUEUE
        self._client.pool.move(self, pool_key(self._request, message.place))

    def _cannot_follow(self, error: Exception) -> None:
        head = self._response_head
        assert head is not None
        response = self._response(head.status, self._response_headers)
        self._fail(HTTPClientError(head.status, f"{head.reason}: {error}", response))

    # The end.

    def deadline_passed(self, now: float) -> None:
        """The time for a phase is over (called by the sweeper)."""
        name = self._message.place.name
        if self._phase == _QUEUE:
            text = f"Timeout in request queue, waiting for a connection to {name}"
        elif self._connection is None:
            text = f"Timeout while connecting to {name} ({self._phase})"
        else:
            connection = self._connection
            phase = (
                _SEND
                if connection.silent and (connection.sending or connection.wire.write_buffer_size)
                else self._phase
            )
            text = f"Timeout during request to {name}, while {phase}"
        self._fail(HTTPTimeoutError(text))

    def _fail(self, error: BaseException) -> None:
        if not self._over:
            self._report(self._response(599, error=error))

    def _response(
        self,
        code: int,
        headers: HTTPHeaders | None = None,
        now: float | None = None,
        error: BaseException | None = None,
    ) -> HTTPResponse:
        if now is None:
            now = self._client.loop.time()
        started = self._started
        took = now - (self._entered if started is None else started)
        if started is not None:
            self.times["total"] = took
        head = self._response_head
        return HTTPResponse(
            self._request,
            code,
            headers,
            effective_url=self._message.url if self.key is not None else self._request.url,
            error=error,
            request_time=took,
            time_info=self.times,
            reason=head.reason if head is not None and headers is not None else None,
            start_time=self._wall if started is not None else None,
        )

    def _report(self, response: HTTPResponse) -> None:
        callback = self._callback
        self._end()
        if callback is None:
            return
        # A border: it is the program's, where that calls fetch_impl() itself.
        try:
            callback(response)
        except Exception:
            app_log.error("Exception in the callback of %r", self._request, exc_info=True)

    def _end(self) -> None:
        """Let go of everything."""
        if self._over:
            return
        self._over = True
        self._callback = None
        self._client.sweeper.unwatch(self)
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
        self._drop_connection()
        if self._body is not None:
            self._body.stop()
        self._client.pool.leave(self)

    def _drop_connection(self) -> None:
        self._stop()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()

    def _stop(self) -> None:
        """Send no more."""
        self._hold_no_longer()
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.stop()

    def _hold_no_longer(self) -> None:
        """Wait no longer for whether the server wants the body."""
        timer, self._held_timer = self._held_timer, None
        if timer is not None:
            timer.cancel()
