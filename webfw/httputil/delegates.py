"""The seam between what speaks HTTP and what answers it: three abstract classes; no behaviour may enter.

A server makes an `HTTPConnection` for every request and asks its `HTTPServerConnectionDelegate` for an
`HTTPMessageDelegate`, which is told of the parts of the message as they arrive.  A client reads a response
the same way.
"""

from collections.abc import Awaitable

from webfw.httputil.headers import HTTPHeaders
from webfw.httputil.startlines import RequestStartLine, ResponseStartLine

__all__ = ["HTTPConnection", "HTTPMessageDelegate", "HTTPServerConnectionDelegate"]


class HTTPServerConnectionDelegate:
    """What an HTTP server asks who answers a request: the way to take requests below the handlers."""

    def start_request(self, server_conn: object, request_conn: "HTTPConnection") -> "HTTPMessageDelegate":
        """Return who takes the request that begins.

        :param server_conn: stands for the connection, which may carry several requests; only its identity
            counts.
        :param request_conn: where the response is written.
        """
        raise NotImplementedError

    def on_close(self, server_conn: object) -> None:
        """A connection has closed.

        :param server_conn: the object that `start_request` was given.
        """


class HTTPMessageDelegate:
    """What takes a message part by part: head, body in pieces, then its end or a broken connection."""

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        """The head is there.

        :param start_line: the first line; which of the two tells whether this is a request.
        :param headers: the fields.
        :return: an awaitable if the body is to wait for it.
        """
        return None

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """A piece of the body is there.

        :param chunk: the piece, without framing; never empty.
        :return: an awaitable if the next piece is to wait for it, which slows the sender down.
        """
        return None

    def finish(self) -> None:
        """The message is complete; called after the last `data_received`."""

    def on_connection_close(self) -> None:
        """The connection is gone before the message was complete; `finish` is not called then."""


class HTTPConnection:
    """Where a response is written, in this order: `write_headers`, any number of `write`, `finish`."""

    def write_headers(
        self,
        start_line: RequestStartLine | ResponseStartLine,
        headers: HTTPHeaders,
        chunk: bytes | None = None,
    ) -> Awaitable[None]:
        """Send the head.

        :param start_line: the first line; the version in it is not used.
        :param headers: the fields; their ``Content-Length`` or the lack of one decides how the body is
            framed.
        :param chunk: a first piece of the body, sent together with the head.
        :return: done when more can be written without piling up.
        :raises LocalProtocolError: a field or the first line would break the protocol.
        """
        raise NotImplementedError

    def write(self, chunk: bytes) -> Awaitable[None]:
        """Send a piece of the body.

        :return: done when more can be written without piling up.
        :raises HTTPOutputError: more than ``Content-Length`` announced.
        """
        raise NotImplementedError

    def finish(self) -> None:
        """End the message.

        :raises HTTPOutputError: less was written than ``Content-Length`` announced.
        """
        raise NotImplementedError
