"""The response of a handler: status, headers, body, and how they leave; what the body says may not enter.

On the plain path the body is collected and leaves with its head in one write (`Output.finish`).  `Output.flush` turns
the response into a streamed one.
"""

import datetime
import numbers
from collections.abc import Awaitable
from time import time
from typing import TYPE_CHECKING, Any

from webfw._version import __version__
from webfw.escape import json_encode, utf8
from webfw.httpserver.exchange import DONE, Exchange
from webfw.httputil import HTTPHeaders, ResponseStartLine, format_timestamp, responses
from webfw.web.state import HandlerState

if TYPE_CHECKING:
    from webfw.iostream import IOStream

__all__ = ["Output", "default_headers"]

_defaults = HTTPHeaders()
_defaults_second = 0.0


def default_headers() -> HTTPHeaders:
    """The fields every response starts with, a map of the caller's own; their Date is rendered once a second."""
    global _defaults, _defaults_second
    now = time()
    if not 0 <= now - _defaults_second < 1:
        _defaults_second = now // 1
        _defaults = HTTPHeaders(
            {
                "Server": f"webfw/{__version__}",
                "Content-Type": "text/html; charset=UTF-8",
                "Date": format_timestamp(_defaults_second),
            }
        )
    return _defaults.copy()


def _header_text(value: Any) -> str:
    """A header's value as text, checked against characters that would end the field."""
    if isinstance(value, str):
        text = value
    elif isinstance(value, bytes):
        text = value.decode("latin-1")
    elif isinstance(value, numbers.Integral):
        return str(value)
    elif isinstance(value, datetime.datetime):
        return format_timestamp(value)
    else:
        raise TypeError(f"Unsupported header value {value!r}")
    if not text.isprintable() and any((c < " " and c != "\t") or c == "\x7f" for c in text):
        raise ValueError(f"Unsafe header value {text[:100]!r}")
    return text


class Output(HandlerState):
    """What a handler answers."""

    _trailers: "list[tuple[str, str]] | None" = None

    # The head.

    def clear(self) -> None:
        """Forget the headers and the body written so far, and start the response anew."""
        self._headers = default_headers()
        self.set_default_headers()
        self._write_buffer = []
        self._status_code = 200
        self._reason = "OK"

    def set_default_headers(self) -> None:
        """Override it to set headers on every response, error pages included.

        It runs before `prepare`, whenever the response starts anew.
        """

    def set_status(self, status_code: int, reason: str | None = None) -> None:
        """Set the status of the response.

        :param status_code: 100 to 599.
        :param reason: the phrase beside it; by default the standard one, or "Unknown".
        """
        self._status_code = status_code
        self._reason = responses.get(status_code, "Unknown") if reason is None else str(reason)

    def get_status(self) -> int:
        """The status the response has now."""
        return self._status_code

    def set_header(self, name: str, value: Any) -> None:
        """Set a response header, in place of all of that name.

        :param value: text, bytes, an integer, or a datetime, which is written as an HTTP date.
        :raises ValueError: the value holds a line break or another control character.
        :raises TypeError: the value is of another type.
        """
        self._headers[name] = _header_text(value)

    def add_header(self, name: str, value: Any) -> None:
        """Add a response header, beside any of that name; see `set_header`."""
        self._headers.add(name, _header_text(value))

    def clear_header(self, name: str) -> None:
        """Remove a header set before; `add_header` ones of that name too."""
        if name in self._headers:
            del self._headers[name]

    def set_trailer(self, name: str, value: str) -> None:
        """Send a field behind the body (RFC 9110 section 6.5), which makes the response chunked.

        It may be set until `finish`; an HTTP/1.0 client does not get it.
        """
        if self._finished:
            raise RuntimeError("Cannot set_trailer() after finish()")
        if self._trailers is None:
            self._trailers = []
        self._trailers.append((name, _header_text(value)))

    def send_early_hints(self, *links: str) -> None:
        """Send 103 Early Hints (RFC 8297) now, so that the browser can fetch while the handler still works.

        :param links: values of ``Link`` fields, such as ``"</style.css>; rel=preload; as=style"``.
        """
        headers = HTTPHeaders()
        for link in links:
            headers.add("Link", _header_text(link))
        connection = self.request.connection
        if isinstance(connection, Exchange):
            connection.send_informational(103, headers)

    def redirect(self, url: str, permanent: bool = False, status: int | None = None) -> None:
        """Send the client elsewhere, and finish.

        :param url: where to, absolute or relative to the request.
        :param permanent: 301 in place of 302.
        :param status: another status from 300 to 399.
        :raises Exception: the headers have been written.
        """
        if self._headers_written:
            raise Exception("Cannot redirect after headers have been written")
        if status is None:
            status = 301 if permanent else 302
        elif not isinstance(status, int) or not 300 <= status <= 399:
            raise ValueError(f"{status!r} is no redirect status")
        self.set_status(status)
        self.set_header("Location", utf8(url))
        self.finish()

    # The body.

    def write(self, chunk: str | bytes | dict[str, Any]) -> None:
        """Add to the body; it leaves with `flush` or `finish`.

        A dict is written as JSON, and sets the Content-Type to ``application/json``.  A list is not accepted, since
        old browsers ran a JSON array as a script.

        :raises TypeError: the chunk is of another type.
        :raises RuntimeError: the response is finished.
        """
        if self._finished:
            raise RuntimeError("Cannot write() after finish()")
        if isinstance(chunk, str):
            self._write_buffer.append(chunk.encode())
        elif isinstance(chunk, bytes):
            self._write_buffer.append(chunk)
        elif isinstance(chunk, dict):
            self._headers["Content-Type"] = "application/json; charset=UTF-8"
            self._write_buffer.append(json_encode(chunk).encode())
        else:
            message = f"write() only accepts bytes, str, and dict objects, not {type(chunk).__name__}"
            if isinstance(chunk, list):
                message += ". Lists not accepted for security reasons; wrap the list in a dict"
            raise TypeError(message)

    def flush(self, include_footers: bool = False) -> Awaitable[None]:
        """Send what has been written so far; the response is streamed from here on.

        :returns: an awaitable, done when the client has taken enough for more to be written.
        :raises StreamClosedError: from the awaitable, when the client is gone.
        """
        body = b"".join(self._write_buffer)
        self._write_buffer = []
        connection = self.request.connection
        assert connection is not None
        if self._headers_written:
            for transform in self._transforms or ():
                body = transform.transform_chunk(body, include_footers)
            if not body or self.request.method == "HEAD":
                return DONE
            written: Awaitable[None] = connection.write(body)
            return written
        body = self._first_chunk(body, include_footers)
        line = ResponseStartLine("", self._status_code, self._reason)
        if self.request.method == "HEAD":
            body = b""
        sent: Awaitable[None] = connection.write_headers(line, self._headers, body)
        self._headers_written = True
        return sent

    def _first_chunk(self, body: bytes, finishing: bool) -> bytes:
        """Complete the headers: what the transforms make of the first chunk, and the cookies."""
        for transform in self._transforms or ():
            self._status_code, self._headers, body = transform.transform_first_chunk(
                self._status_code, self._headers, body, finishing
            )
        if self._new_cookie is not None:
            for cookie in self._new_cookie.values():
                self._headers.add("Set-Cookie", cookie.OutputString(None))
            self._new_cookie = None
        return body

    def finish(self, chunk: str | bytes | dict[str, Any] | None = None) -> Awaitable[None]:
        """End the response, with a last ``chunk`` if given.

        :returns: an awaitable, done when the response has left, or at least enough of it.
        :raises RuntimeError: it was finished already, or a body was written with a status that has none.
        """
        if self._finished:
            raise RuntimeError("finish() called twice")
        if chunk is not None:
            self.write(chunk)
        connection = self.request.connection
        assert connection is not None
        sent: Awaitable[None] = DONE
        if self._headers_written:
            sent = self.flush(include_footers=True)
            if self._trailers and isinstance(connection, Exchange):
                connection.set_trailers(self._trailers)
            connection.finish()
        else:
            self._finish_whole(connection)
        self._finished = True
        self.application.log_request(self)  # type: ignore[arg-type]  # this chapter is part of a RequestHandler
        self.on_finish()
        return sent

    def _finish_whole(self, connection: Any) -> None:
        """Send a response none of which has left yet."""
        status = self._status_code
        if status == 200 and self.request.method in ("GET", "HEAD"):
            self.set_etag_header()
            if self.check_etag_header():
                self._write_buffer = []
                self.set_status(304)
                status = 304
        buffer = self._write_buffer
        body = buffer[0] if len(buffer) == 1 else b"".join(buffer)
        headers = self._headers
        measured = False
        if status == 204 or status == 304 or status < 200:
            self._check_no_body(body)
            measured = status != 101
        elif "Content-Length" not in headers and self._trailers is None:
            headers["Content-Length"] = str(len(body))
            measured = True
        if self._transforms or self._new_cookie is not None:
            body = self._first_chunk(body, True)
            headers = self._headers
        if measured and isinstance(connection, Exchange):
            connection.respond(self._status_code, self._reason, headers, body)
            self._headers_written = True
            return
        if self.request.method == "HEAD":
            body = b""
        connection.write_headers(ResponseStartLine("", self._status_code, self._reason), headers, body)
        self._headers_written = True
        if self._trailers and isinstance(connection, Exchange):
            connection.set_trailers(self._trailers)
        connection.finish()

    def _check_no_body(self, body: bytes) -> None:
        """Make the head fit a status that has no body (RFC 9110 sections 15.2, 15.3.5 and 15.4.5)."""
        if body:
            raise RuntimeError(f"Cannot send a body with status {self._status_code}")
        for name in ("Content-Encoding", "Content-Language", "Content-Type", "Content-Length"):
            self.clear_header(name)

    def on_finish(self) -> None:
        """Called when the response has been handed to the network; override it to clean up or to log."""

    def detach(self) -> "IOStream":
        """Take the connection from the server; the request is over and nothing is sent for it.

        :returns: the stream, for a protocol of your own.
        """
        self._finished = True
        connection = self.request.connection
        return connection.detach()  # type: ignore[no-any-return]
