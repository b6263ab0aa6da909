"""`start_response` and the rules for what an application may send (PEP 3333); where it goes may not enter."""

import re
from collections.abc import Callable
from time import time
from types import TracebackType

from webfw._version import __version__
from webfw.httputil import HTTPHeaders, format_timestamp

__all__ = ["ApplicationError", "StartResponse"]

_STATUS = re.compile(r"([2-9][0-9][0-9])(?: ([\t -~\x80-\xff]*+))?")

#: Fields that are about the connection, and not an application's (RFC 9110 section 7.6.1, PEP 3333).
_HOP_BY_HOP = frozenset(
    {
        "Connection",
        "Keep-Alive",
        "Proxy-Authenticate",
        "Proxy-Authorization",
        "Te",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
    }
)

_SERVER = f"webfw/{__version__}"
_date = ""
_date_second = 0.0

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


class ApplicationError(Exception):
    """An application has broken a rule of PEP 3333; the text says which."""


class StartResponse:
    """The ``start_response`` of one request, and what it was told.

    :param write: what the application gets to write with, as the PEP's ``write()``.

    :ivar status: None before the application has called it.
    :ivar sent: whether the headers are out, and can be changed no more.
    """

    __slots__ = ("headers", "length", "reason", "sent", "status", "write")

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self.write = write
        self.status: int | None = None
        self.reason = ""
        self.headers = HTTPHeaders()
        #: The Content-Length of the application's own; None without one.
        self.length: int | None = None
        self.sent = False

    def __call__(
        self, status: str, response_headers: list[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], None]:
        """Begin the response, or begin it anew with an exception's ``exc_info``.

        :raises ApplicationError: it was called before, or something in it may not be sent.
        """
        if exc_info is not None:
            try:
                if self.sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # no cycle through the frame
        elif self.status is not None:
            raise ApplicationError("start_response was called twice without exc_info")
        if type(status) is not str:
            raise ApplicationError(f"the status must be a str, not {type(status).__name__}")
        match = _STATUS.fullmatch(status)
        if match is None:
            raise ApplicationError(f"no status line: {status[:100]!r}")
        if not isinstance(response_headers, list):
            raise ApplicationError(f"the headers must be a list, not {type(response_headers).__name__}")
        headers = HTTPHeaders()
        for field in response_headers:
            try:
                name, value = field
                if type(name) is not str or type(value) is not str:
                    raise TypeError(f"names and values must be str: {field!r}"[:200])
                headers.add(name, value)
            except Exception as error:
                # Border: whatever stands in an application's list becomes one error that says so.
                raise ApplicationError(f"no header: {field!r}"[:200] + f" ({error})") from None
        self._check(headers)
        self.headers = headers
        self.status, self.reason = int(match[1]), match[2] or ""
        return self.write

    def _check(self, headers: HTTPHeaders) -> None:
        """Refuse what is not the application's to say, and find its length."""
        if not _HOP_BY_HOP.isdisjoint(headers):
            names = ", ".join(sorted(_HOP_BY_HOP.intersection(headers)))
            raise ApplicationError(f"a header that belongs to the connection: {names}")
        length = headers.get("Content-Length")
        if length is None:
            self.length = None
        elif length.isascii() and length.isdigit():
            self.length = int(length)
        else:
            raise ApplicationError(f"Content-Length is no number: {length[:40]!r}")
        if "Date" not in headers:
            headers["Date"] = _now()
        if "Server" not in headers:
            headers["Server"] = _SERVER

    @property
    def bodiless(self) -> bool:
        """Whether the status has no body (RFC 9110 sections 15.3.5 and 15.4.5)."""
        return self.status in (204, 304)


def _now() -> str:
    """The present time as a Date field, rendered once a second."""
    global _date, _date_second
    now = time()
    if not 0 <= now - _date_second < 1:
        _date_second = now // 1
        _date = format_timestamp(_date_second)
    return _date
