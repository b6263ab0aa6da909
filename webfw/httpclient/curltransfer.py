"""One request of the curl engine, and what becomes of it: what libcurl hands over; pycurl itself may not enter."""

import contextvars
import inspect
import io
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

from webfw.httpclient.errors import HTTPClientError, HTTPTimeoutError
from webfw.httpclient.messages import HTTPRequest, HTTPResponse
from webfw.httputil import HTTPHeaders, HTTPInputError

__all__ = [
    "ABORTED",
    "TIMEDOUT",
    "CurlError",
    "CurlTimeoutError",
    "Transfer",
    "failure",
    "no_async_streaming",
]

#: Numbers of libcurl-errors(3) that failures of our own have.
TIMEDOUT: Final = 28
ABORTED: Final = 42
_WEIRD_REPLY: Final = 8
_TOO_LARGE: Final = 63

#: At which step such an error happens.
_STEPS: Final = {
    5: "resolving the proxy's name for",
    6: "resolving the name of",
    7: "connecting to",
    **dict.fromkeys(
        (35, 51, 53, 54, 58, 59, 60, 64, 66, 77, 80, 82, 83, 90, 91, 98), "in the TLS handshake with"
    ),
    8: "reading the response of",
    18: "reading the response of",
    47: "in a redirect of",
    52: "waiting for the response of",
    61: "reading the response of",
    63: "reading the response of",
    97: "in the proxy's handshake for",
}
#: Errors before there is a server to speak of.
_NO_SERVER: Final = frozenset({1, 2, 3, 4, 27, 41, 43, 48})


class CurlError(HTTPClientError):
    """libcurl could not carry a request out; the status is 599.

    :param errno: libcurl's number for it (libcurl-errors(3)).
    :param message: what happened, at which step, and with which server.
    """

    def __init__(self, errno: int, message: str) -> None:
        HTTPClientError.__init__(self, 599, message)
        self.errno = errno

    def __str__(self) -> str:
        return f"HTTP 599: {self.message}"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.errno, self.message)


class CurlTimeoutError(CurlError, HTTPTimeoutError):  # type: ignore[misc]  # two meanings of errno
    """The time for a request was over; a `CurlError` with ``errno`` 28 and, as with other clients, a `TimeoutError`."""


def failure(errno: int, message: str, url: str, times: Mapping[str, float]) -> CurlError:
    """What libcurl says, with what it often leaves out: at which step it happened, and with which server.

    :param errno: its number in libcurl-errors(3).
    :param message: libcurl's own; may be empty.
    :param url: the address it was working on.
    :param times: seconds at which the steps were done, as in `HTTPResponse.time_info`; 0 for what was not reached.
    """
    message = message or f"libcurl error {errno}"
    if errno not in _NO_SERVER:
        parts = urlsplit(url)
        step = _STEPS.get(errno) or _step(parts.scheme, times)
        message += f" ({step} {parts.scheme}://{parts.netloc.rpartition('@')[2]})"
    return (CurlTimeoutError if errno == TIMEDOUT else CurlError)(errno, message)


def _step(scheme: str, times: Mapping[str, float]) -> str:
    if not times["namelookup"]:
        return "resolving the name of"
    if not times["connect"]:
        return "connecting to"
    if scheme == "https" and not times["appconnect"]:
        return "in the TLS handshake with"
    return "reading the response of" if times["starttransfer"] else "waiting for the response of"


class Transfer:
    """A request on its way, and what has come of its response.

    :ivar lines: the head that is being read; kept while `header_callback` may not have it yet.
    :ivar in_head: whether the next line belongs to a head.
    :ivar failure: why the transfer is to stop: an error of a callback, or `give_up`.
    """

    __slots__ = (
        "body",
        "callback",
        "context",
        "curl",
        "failure",
        "headers",
        "in_head",
        "limit",
        "lines",
        "made",
        "reason",
        "request",
        "size",
        "started",
        "timer",
        "waited",
    )

    def __init__(self, request: HTTPRequest, callback: Callable[[HTTPResponse], None], limit: int) -> None:
        self.request = request
        self.callback = callback
        self.limit = limit
        # What calls back is libcurl, in the context of whichever request was the last to start something.
        self.context = contextvars.copy_context()
        self.made = time.monotonic()
        self.started = 0.0
        self.waited = 0.0
        self.timer: Any = None
        self.curl: Any = None
        self.failure: BaseException | None = None
        self.lines: list[str] = []
        self.in_head = False
        self.headers = HTTPHeaders()
        self.reason: str | None = None
        self.body: io.BytesIO | None = None if request.streaming_callback else io.BytesIO()
        self.size = 0

    # libcurl calls the following two, and stops the transfer when they return a number that is not the length.

    def on_line(self, line: bytes) -> int | None:
        try:
            self._on_line(line.decode("latin-1"))
        except Exception as error:
            # A border: a callback of the program.  libcurl knows no exceptions, so it waits for the transfer's end.
            self.failure = error
        return None if self.failure is None else -1

    def on_body(self, data: bytes) -> int | None:
        try:
            self.deliver_head()
            if self.failure is not None:
                return -1
            self.size += len(data)
            if self.size > self.limit:
                self._too_large()
            if self.body is not None:
                self.body.write(data)
            else:
                self._stream(data)
        except Exception as error:
            self.failure = error  # a border, as above
        return None if self.failure is None else -1

    def on_end(self) -> None:
        """What might have been an intermediate response was the last one: its head is still to be delivered."""
        try:
            self.deliver_head()
        except Exception as error:
            self.failure = error  # a border, as above

    def give_up(self) -> None:
        """Have libcurl stop, if it is at work on this: nobody wants the response any more."""
        if self.failure is None:
            self.failure = CurlError(ABORTED, "The request was given up")

    def _on_line(self, line: str) -> None:
        if not self.in_head:
            if not line.startswith("HTTP/"):
                return  # of the trailer section: no part of the head (RFC 9110 section 6.5.1)
            self.in_head = True
            self.lines = [line]
        elif line.strip("\r\n"):
            self.lines.append(line)
        else:
            self.lines.append(line)
            self.in_head = False
            self._end_head()

    def _end_head(self) -> None:
        start = self.lines[0].split(None, 2)
        status = int(start[1])
        if status < 200:
            self.lines = []
            return
        self.reason = start[2].strip() if len(start) == 3 else None
        try:
            self.headers = HTTPHeaders.parse("".join(self.lines[1:]))
        except HTTPInputError as error:
            raise CurlError(_WEIRD_REPLY, f"The head of the response is malformed: {error}") from None
        if not self._may_be_passed(status):
            self._check_length(status)
            self.deliver_head()

    def _may_be_passed(self, status: int) -> bool:
        """Whether this response may be an intermediate one, such as a redirect; if not, a body follows or the end."""
        request = self.request
        if 300 <= status < 400:
            return bool(request.follow_redirects) and "Location" in self.headers
        return (status == 401 and request.auth_mode == "digest") or (
            status == 407 and request.proxy_auth_mode == "digest"
        )

    def _check_length(self, status: int) -> None:
        """Refuse a body that is announced as too large; a length without a body is none (RFC 9110 section 8.6)."""
        length = self.headers.get("Content-Length", "")
        has_body = self.request.method != "HEAD" and status not in (204, 304)
        if has_body and length.isdecimal() and int(length) > self.limit:
            self._too_large()

    def _too_large(self) -> NoReturn:
        raise CurlError(_TOO_LARGE, f"The response has more than {self.limit} bytes")

    def deliver_head(self) -> None:
        lines, self.lines = self.lines, []
        if self.request.header_callback is not None:
            for line in lines:
                if self.failure is not None:  # given up by the callback itself
                    return
                self.context.run(self.request.header_callback, line)

    def _stream(self, data: bytes) -> None:
        assert self.request.streaming_callback is not None
        result = self.context.run(self.request.streaming_callback, data)
        if result is not None and inspect.isawaitable(result):
            if inspect.iscoroutine(result):
                result.close()
            no_async_streaming()


def no_async_streaming() -> NoReturn:
    raise TypeError(
        "CurlAsyncHTTPClient takes no streaming_callback that is a coroutine: libcurl does not wait"
    )
