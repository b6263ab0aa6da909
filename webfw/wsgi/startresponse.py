"""`start_response` and the rules for what an application may send (PEP 3333); where it goes may not enter."""

import re
from collections.abc import Callable
from types import TracebackType

from webfw.httputil import HTTPHeaders
from webfw.httputil.serverfields import SERVER, date_now
from webfw.sansio.http1.grammar import IS_FIELD_VALUE

__all__ = ["ApplicationError", "StartResponse"]

_STATUS = re.compile(r"([2-9][0-9][0-9])(?: ([\t -~\x80-\xff]*+))?")

#: Fields that are about the connection, and not an application's (RFC 9110 section 7.6.1, PEP 3333).
_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "trailers",
        "transfer-encoding",
        "upgrade",
    }
)

#: Names that need a closer look; any other has its value passed on as it is.
_WATCHED = _HOP_BY_HOP | {"content-length"}

#: Names met so far, as they are sent, and in lower case where they are watched, else an empty string.
_names: dict[str, tuple[str, str]] = {}
_MAX_NAMES = 1024

#: Names whose few values an application sends again and again; none of them is anybody's secret.
_CONSTANT = frozenset(
    {
        "Access-Control-Allow-Origin",
        "Allow",
        "Cache-Control",
        "Content-Encoding",
        "Content-Language",
        "Content-Security-Policy",
        "Content-Type",
        "Cross-Origin-Opener-Policy",
        "Referrer-Policy",
        "Server",
        "Strict-Transport-Security",
        "Vary",
        "X-Content-Type-Options",
        "X-Frame-Options",
    }
)

#: Fields of those that have been checked.
_seen: dict[tuple[str, str], tuple[str, str, str]] = {}

#: Digits of a Content-Length; more than any disk has bytes.
_MAX_DIGITS = 18

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


class ApplicationError(Exception):
    """An application has broken a rule of PEP 3333; the text says which."""


class StartResponse:
    """The ``start_response`` of one request, and what it was told.

    :param write: what the application gets to write with, as the PEP's ``write()``.

    :ivar status: None before the application has called it.
    :ivar headers: there from then on.
    :ivar length: the Content-Length of the application's own; None without one.
    :ivar sent: whether the headers are out, and can be changed no more.
    """

    __slots__ = ("headers", "length", "reason", "sent", "status", "write")

    headers: HTTPHeaders
    reason: str

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self.write = write
        self.status: int | None = None
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
        if not isinstance(status, str):
            raise ApplicationError(f"the status must be a str, not {type(status).__name__}")
        match = _STATUS.fullmatch(status)
        if match is None:
            raise ApplicationError(f"no status line: {status[:100]!r}")
        if not isinstance(response_headers, list):
            raise ApplicationError(f"the headers must be a list, not {type(response_headers).__name__}")
        self.headers, self.length = _checked(response_headers)
        self.reason = (match[2] or "").strip(" \t")
        self.status = int(match[1])
        return self.write

    @property
    def bodiless(self) -> bool:
        """Whether the status has no body (RFC 9110 sections 15.3.5 and 15.4.5)."""
        return self.status in (204, 304)


def _checked(response_headers: list[tuple[str, str]]) -> tuple[HTTPHeaders, int | None]:
    """The fields to send, and the length they announce."""
    fields: dict[str, str] = {}
    repeated: list[tuple[str, str]] = []
    length: int | None = None
    for field in response_headers:
        try:
            known = _seen.get(field) if type(field) is tuple else None
            name, value, watched = known or _check(field)
        except Exception as error:
            # Border: whatever stands in an application's list becomes one error that says so.
            raise ApplicationError(f"no header: {field!r}"[:200] + f" ({error})") from None
        if watched:
            if watched != "content-length":
                raise ApplicationError(f"a header that belongs to the connection: {field[0]}")
            if length is not None:
                raise ApplicationError("more than one Content-Length")
            length = _length(value)
        if name in fields:
            repeated.append((name, value))
        else:
            fields[name] = value
    if "Date" not in fields:
        fields["Date"] = date_now()
    if "Server" not in fields:
        fields["Server"] = SERVER
    headers = HTTPHeaders.from_checked(fields)
    for name, value in repeated:
        headers.add(name, value)
    return headers, length


def _check(field: tuple[str, str]) -> tuple[str, str, str]:
    """A field as it is sent, and its name in lower case where that is watched.

    :raises TypeError, ValueError: it cannot be sent.
    """
    if not isinstance(field, (tuple, list)):
        raise TypeError("it must be a tuple")
    name, value = field
    if not isinstance(name, str) or not isinstance(value, str):
        raise TypeError("names and values must be str")
    spelt, watched = _names.get(name) or _spell(name)
    value = str(value if value.isalnum() else value.strip(" \t"))  # also of what is more than a str
    if not (value.isascii() and value.isprintable()) and IS_FIELD_VALUE.fullmatch(value) is None:
        raise ValueError(f"Invalid header value {value[:100]!r}")
    checked = (spelt, value, watched)
    if spelt in _CONSTANT and len(value) <= 100:
        if len(_seen) >= _MAX_NAMES:
            _seen.clear()
        _seen[name, value] = checked
    return checked


def _spell(name: str) -> tuple[str, str]:
    """A name as it is sent, and in lower case where it is watched; remembered.

    :raises ValueError: it is no token.
    """
    (spelt,) = HTTPHeaders({name: ""})
    lower = name.lower()
    known = (spelt, lower if lower in _WATCHED else "")
    if len(_names) < _MAX_NAMES:
        _names[str(name)] = known
    return known


def _length(value: str) -> int:
    digits = value.strip(" \t")
    if digits.isascii() and digits.isdigit() and len(digits) <= _MAX_DIGITS:
        return int(digits)
    raise ApplicationError(f"Content-Length is no number: {value[:40]!r}")
