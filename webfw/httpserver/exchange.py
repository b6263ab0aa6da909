"""One request and its response, whatever the HTTP version: what handlers, containers and observers see of the server.

An `Exchange` is the ``connection`` of a request.  The version that carries it (``httpserver.http1``) makes a subclass;
nothing that knows bytes may enter here.
"""

import asyncio
from collections.abc import Awaitable, Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from webfw.httputil import HTTPConnection, HTTPHeaders, HTTPServerRequest, ResponseStartLine
from webfw.iostream.wire import Consumer

if TYPE_CHECKING:
    from asyncio import Future

    from webfw.httpserver.observer import Record
    from webfw.httpserver.peer import RequestContext
    from webfw.iostream import IOStream
    from webfw.iostream.wire import Wire

__all__ = ["DONE", "Begin", "BodySink", "Done", "Exchange", "Upgraded"]


class Done:
    """An awaitable that is done already, with the result None, so that a write that need not wait makes no Future.

    It answers what programs ask of the futures that Tornado returns here: ``done``, ``result``, ``exception``,
    ``cancelled``, ``cancel`` and ``add_done_callback``, which calls at the loop's next turn.
    """

    __slots__ = ()

    def __await__(self) -> Generator[Any, None, None]:
        return iter(())  # type: ignore[return-value]  # an empty iterator ends an await at once

    def done(self) -> bool:
        return True

    def cancelled(self) -> bool:
        return False

    def cancel(self, msg: object = None) -> bool:
        return False

    def result(self) -> None:
        return None

    def exception(self) -> None:
        return None

    def add_done_callback(self, fn: Callable[[Any], object], *, context: Any = None) -> None:
        asyncio.get_running_loop().call_soon(fn, self, context=context)

    def remove_done_callback(self, fn: Callable[[Any], object]) -> int:
        return 0


#: The one `Done` there need be.
DONE = Done()


class BodySink(Protocol):
    """What takes the body of a request; an `HTTPMessageDelegate` is one."""

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """Take a piece; where an awaitable comes back, the wire waits for it."""

    def finish(self) -> None:
        """The body is complete."""

    def on_connection_close(self) -> None:
        """The body will never be complete."""


class Upgraded(Consumer, Protocol):
    """What takes a connection over by `Exchange.hand_over`: the server still counts and ends it."""

    def connected(self, wire: "Wire", gone: Callable[[], None]) -> None:
        """Called once, first: the wire is there.  ``gone`` must be called when it is lost."""

    def abort(self) -> None:
        """Cut the connection."""

    def close_when_idle(self) -> None:
        """The server is going away: end in good order, soon."""


#: What an application gives the server: it is called with each exchange when its head is there, may set
#: ``exchange.sink`` for the body, and may return an awaitable that the body waits for.
Begin = Callable[["Exchange"], "Awaitable[None] | None"]


class Exchange(HTTPConnection):
    """One request being answered.

    :ivar request: the request; None once the exchange is over, so that no reference cycle stays behind.
    :ivar context: who the client is (`RequestContext`).
    :ivar sink: where the body goes; None when nobody wants it.
    :ivar has_body: whether the request announced a body.
    :ivar server_connection: stands for the connection, which may carry several exchanges; only its identity counts.
    :ivar status: the status that was sent, 0 before.
    :ivar bytes_sent: bytes of the response body so far, without framing.
    :ivar bytes_received: bytes of the request's body so far, without framing and content coding.
    :ivar record: what observers know of it; None where nobody watches.
    """

    request: HTTPServerRequest | None
    context: "RequestContext"
    sink: BodySink | None
    has_body: bool
    status: int
    bytes_sent: int
    bytes_received: int = 0
    record: "Record | None" = None

    @property
    def server_connection(self) -> object:
        raise NotImplementedError

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop it is answered on; asking asyncio for the running one costs a system call before Python 3.12."""
        raise NotImplementedError

    # The answer, whole.

    def respond(self, status: int, reason: str, headers: HTTPHeaders, body: bytes) -> None:
        """Send a whole response in one write.

        :param headers: complete, with the ``Content-Length`` of ``body`` where the status allows one.
        :raises LocalProtocolError: a field would break the protocol; nothing has been sent then.
        """
        raise NotImplementedError

    # The answer, piece by piece.

    def write_headers(
        self, start_line: Any, headers: HTTPHeaders, chunk: bytes | None = None
    ) -> "Future[None]":
        """Send the head of the response, framed by its ``Content-Length`` or else chunked."""
        raise NotImplementedError

    def write(self, chunk: bytes) -> "Future[None]":
        """Send a piece of the body; what comes back is done when the peer has taken enough for more."""
        raise NotImplementedError

    def finish(self) -> None:
        """End the response."""
        raise NotImplementedError

    def set_trailers(self, trailers: Iterable[tuple[str, str]]) -> None:
        """Fields to send after a chunked body (RFC 9112 section 7.1.2); dropped where the body is not chunked.

        One that must not be a trailer has `finish` raise `LocalProtocolError`.
        """
        raise NotImplementedError

    def send_informational(self, status: int, headers: HTTPHeaders) -> None:
        """Send an interim response such as 103 Early Hints (RFC 8297); not to an HTTP/1.0 client."""
        raise NotImplementedError

    async def sendfile(self, file: BinaryIO, offset: int, count: int) -> None:
        """Send ``count`` bytes of a file from ``offset`` as body, by the kernel where it can.

        The connection is cut when it does not come to an end: on an exception, or when it is cancelled.

        :raises StreamClosedError: the client has gone.
        :raises OSError: the file is shorter than that, or cannot be read.
        :raises HTTPOutputError: the response has not begun, is over, has no ``Content-Length`` or a smaller one.
        """
        raise NotImplementedError

    def abort_response(self) -> None:
        """Cut the connection so that the client can tell the response is not complete."""
        raise NotImplementedError

    # The request.

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Call back when the client goes away before the response is complete."""
        raise NotImplementedError

    def set_max_body_size(self, max_body_size: int) -> None:
        """Set the limit for this request's body, in bytes after decoding; more is answered 413."""
        raise NotImplementedError

    def set_body_timeout(self, timeout: float) -> None:
        """Set the deadline for this request's whole body, in seconds from now; 0 takes it off."""
        raise NotImplementedError

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Facts of the connection, as asyncio transports know them: ``peername``, ``socket``, ``ssl_object``."""
        raise NotImplementedError

    def detach(self) -> "IOStream":
        """Take the connection out of the server's hands, as an upgrade does; HTTP is over on it.

        Where the client has gone already, the stream is a closed one.
        """
        raise NotImplementedError

    def hand_over(self, consumer: Upgraded) -> None:
        """Give the connection to another protocol, as an upgrade does (RFC 9110 section 7.8); HTTP is over on it.

        In difference to `detach`, the server goes on counting the connection, and ends it with its others.

        :param consumer: who gets what arrives from here on.
        :raises StreamClosedError: the client has gone already.
        """
        raise NotImplementedError

    @staticmethod
    def start_line(status: int, reason: str) -> ResponseStartLine:
        """The start line for `write_headers`."""
        return ResponseStartLine("HTTP/1.1", status, reason)
