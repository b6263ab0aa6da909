"""The response of a handler: status, headers, body, and how they leave; what the body says may not enter.

On the plain path the body is collected and leaves with its head in one write (`Output.finish`).  `Output.flush` turns
the response into a streamed one.
"""

import datetime
import numbers
import re
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Final

from webfw.escape import json_encode, utf8
from webfw.httpserver.exchange import DONE, Exchange
from webfw.httputil import HTTPHeaders, HTTPInputError, ResponseStartLine, format_timestamp, responses
from webfw.httputil.serverfields import SERVER, date_now
from webfw.sansio.errors import LocalProtocolError
from webfw.sansio.http1.grammar import FORBIDDEN_IN_TRAILERS, IS_TOKEN
from webfw.web.errors import fit_reason
from webfw.web.state import HandlerState

if TYPE_CHECKING:
    from webfw.iostream import IOStream

__all__ = ["Output", "default_headers"]

# RFC 9110 section 5.5: no control character but the tab; and what is no latin-1 has no bytes to be sent as.
_UNSAFE: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]|[^\x00-\xff]")

_defaults: Final = HTTPHeaders({"Server": SERVER, "Content-Type": "text/html; charset=UTF-8", "Date": ""})
_date = ""


def default_headers() -> HTTPHeaders:
    """The fields every response of a handler starts with, a map of the caller's own."""
    global _date
    date = date_now()
    if date is not _date:  # a second has begun
        _defaults["Date"] = _date = date
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
    if not (text.isascii() and text.isprintable()) and _UNSAFE.search(text):
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
        if self._trailers is not None:
            self._trailers = None

    def set_default_headers(self) -> None:
        """Override it to set headers on every response, error pages included.

        It runs before `prepare`, whenever the response starts anew.
        """

    def set_status(self, status_code: int, reason: str | None = None) -> None:
        """Set the status of the response.

        :param status_code: 100 to 599.
        :param reason: the phrase beside it; by default the standard one.  "Unknown" stands in for one that may not be
            in a status line (RFC 9112 section 4), and where there is no standard one.
        """
        self._status_code = status_code
        if reason is not None:
            reason = fit_reason(reason)
        self._reason = reason or responses.get(status_code, "Unknown")

    def get_status(self) -> int:
        """The status the response has now."""
        return self._status_code

    def set_header(self, name: str, value: Any) -> None:
        """Set a response header, in place of all of that name.

        ``Transfer-Encoding`` is not taken, since the server frames the response; programs that copy the headers of
        another response need not care.

        :param value: text, bytes, an integer, or a datetime, which is written as an HTTP date.
        :raises ValueError: the value holds a line break or another control character, or one outside of latin-1, or
            the name is none.
        :raises TypeError: the value is of another type.
        """
        text = _header_text(value)
        if name.lower() == "transfer-encoding":
            return
        self._headers[name] = text

    def add_header(self, name: str, value: Any) -> None:
        """Add a response header, beside any of that name; see `set_header`."""
        text = _header_text(value).strip(" \t")
        if name.lower() == "transfer-encoding":
            return
        try:
            self._headers.add(name, text)
        except HTTPInputError as error:  # not the client's input here, but the program's
            raise ValueError(str(error)) from None

    def clear_header(self, name: str) -> None:
        """Remove a header set before; `add_header` ones of that name too."""
        if name in self._headers:
            del self._headers[name]

    def set_trailer(self, name: str, value: str) -> None:
        """Send a field behind the body (RFC 9110 section 6.5), which makes the response chunked.

        It may be set until `finish`.  It is dropped where the response cannot be chunked: for an HTTP/1.0 client, or
        with a Content-Length of your own.

        :raises ValueError: the name is none, or of a field that must not be a trailer (section 6.5.1), or the value
            holds a control character.
        """
        if self._finished:
            raise RuntimeError("Cannot set_trailer() after finish()")
        if IS_TOKEN.fullmatch(name) is None or name.lower() in FORBIDDEN_IN_TRAILERS:
            raise ValueError(f"{name[:100]!r} cannot be the name of a trailer")
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
        if self._finished:
            return DONE
        body = b"".join(self._write_buffer)
        self._write_buffer = []
        connection = self.request.connection
        assert connection is not None
        if self._headers_written:
            for transform in self._transforms or ():
                body = transform.transform_chunk(body, include_footers)
            if not body or self.request.method == "HEAD":
                return DONE
            try:
                written: Awaitable[None] = connection.write(body)
            except LocalProtocolError:
                self._cut()
                raise
            return written
        status = self._status_code
        if status == 204 or status == 304 or status < 200:
            self._check_no_body(body)
        elif status == 405:
            self._say_allowed()
        body = self._first_chunk(body, include_footers)
        if self.request.method == "HEAD":
            body = b""
        return self._write_head(connection, body)

    def _write_head(self, connection: Any, body: bytes) -> Awaitable[None]:
        """Send the head of a response that is not sent whole, with the first piece of its body."""
        if self._trailers:
            self._headers["Trailer"] = ", ".join(dict.fromkeys(name for name, _ in self._trailers))
        line = ResponseStartLine("", self._status_code, self._reason)
        try:
            sent: Awaitable[None] = connection.write_headers(line, self._headers, body)
        except LocalProtocolError:
            if getattr(connection, "begun", False):  # the head was right, so that no other can be sent
                self._headers_written = True
                self._cut()
            raise
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
            self._end(connection)
        else:
            self._finish_whole(connection)
        self._finished = True
        if self._gate is not None:
            self._gate.end()
        try:
            self.application.log_request(self)  # type: ignore[arg-type]  # this chapter is part of a RequestHandler
        finally:
            self.on_finish()
        return sent

    def _end(self, connection: Any) -> None:
        """End a response whose head has been sent."""
        if self._trailers and isinstance(connection, Exchange):
            connection.set_trailers(self._trailers)
        try:
            connection.finish()
        except LocalProtocolError:
            self._cut()
            raise

    def _finish_whole(self, connection: Any) -> None:
        """Send a response none of which has left yet."""
        status = self._status_code
        # In the map's own dict, where names are spelled as they are here: this runs for every request.
        if status == 200 and self.request.method in ("GET", "HEAD") and "Etag" not in self._headers._fields:
            self.set_etag_header()
            if self.check_etag_header():
                self._write_buffer = []
                self.set_status(304)
                status = 304
        elif status == 405:
            self._say_allowed()
        buffer = self._write_buffer
        body = buffer[0] if len(buffer) == 1 else b"".join(buffer)
        headers = self._headers
        bodiless = status == 204 or status == 304 or status < 200
        announced = False
        if bodiless:
            self._check_no_body(body)
        elif self._trailers is None:
            if "Content-Length" in headers._fields:
                announced = True
            else:
                headers._fields["Content-Length"] = str(len(body))
        if self._transforms or self._new_cookie is not None:
            body = self._first_chunk(body, True)
            headers = self._headers
            if not bodiless and not announced and self._trailers is None and self.request.method != "HEAD":
                headers["Content-Length"] = str(len(body))  # a transform may have changed it
        if announced and self.request.method != "HEAD" and headers.get("Content-Length") != str(len(body)):
            raise RuntimeError(f"Content-Length is {headers.get('Content-Length')!r}, not {len(body)}")
        if status != 101 and (bodiless or self._trailers is None) and isinstance(connection, Exchange):
            connection.respond(self._status_code, self._reason, headers, body)
            self._headers_written = True
            return
        if self.request.method == "HEAD":
            body = b""
        self._write_head(connection, body)
        self._end(connection)

    def _say_allowed(self) -> None:
        """Say which methods there are, beside the status that says that this one is none (RFC 9110 section 15.5.6)."""
        if "Allow" not in self._headers:
            self._headers["Allow"] = ", ".join(self.allowed_methods())

    def _check_no_body(self, body: bytes) -> None:
        """Make the head fit a status that has no body (RFC 9110 sections 15.2, 15.3.5 and 15.4.5)."""
        if self._status_code < 200 and self._status_code != 101:
            raise RuntimeError(f"{self._status_code} is an interim status, which cannot end a request")
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
        if self._gate is not None:
            self._gate.end()
        connection = self.request.connection
        return connection.detach()  # type: ignore[no-any-return]
