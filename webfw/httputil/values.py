"""What stands in single fields: dates, statuses, parameters, entity tags, codings; no map of them enters."""

import calendar
import http.client
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

from webfw.sansio.parameters import encode_parameters as _encode_header
from webfw.sansio.parameters import parse_parameters as _parse_header

if TYPE_CHECKING:
    from unittest import TestSuite

__all__ = [
    "_encode_header",
    "_parse_header",
    "choose_encoding",
    "doctests",
    "format_timestamp",
    "match_etag",
    "parse_etags",
    "parse_http_date",
    "responses",
    "strong_match",
    "weak_match",
]

#: The reason phrase of each status, by number; a plain dict, so that an application can add its own.
responses: dict[int, str] = {
    103: "Early Hints",  # RFC 8297
    421: "Misdirected Request",  # RFC 9110 section 15.5.20
    425: "Too Early",  # RFC 8470
    **{int(code): phrase for code, phrase in http.client.responses.items()},
}

# --- dates: RFC 9110 section 5.6.7 ---

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH_NUMBER: Final = {name.lower(): number for number, name in enumerate(_MONTHS, 1)}

_TIME = r"([0-9]{2}):([0-9]{2}):([0-9]{2})"
# IMF-fixdate, the one form that is sent: Sun, 06 Nov 1994 08:49:37 GMT
_IMF_DATE: Final = re.compile(rf"[a-z]{{3}}, ([0-9]{{1,2}}) ([a-z]{{3}}) ([0-9]{{4}}) {_TIME} gmt")
# RFC 850: Sunday, 06-Nov-94 08:49:37 GMT
_RFC850_DATE: Final = re.compile(rf"[a-z]{{6,9}}, ([0-9]{{2}})-([a-z]{{3}})-([0-9]{{2}}) {_TIME} gmt")
# asctime: Sun Nov  6 08:49:37 1994
_ASCTIME_DATE: Final = re.compile(rf"[a-z]{{3}} ([a-z]{{3}}) ([ 0-9][0-9]) {_TIME} ([0-9]{{4}})")


def format_timestamp(ts: float | tuple[int, ...] | time.struct_time | datetime) -> str:
    """Write a point in time as HTTP does (RFC 9110 section 5.6.7).

    >>> format_timestamp(1359312200)
    'Sun, 27 Jan 2013 18:43:20 GMT'

    :param ts: seconds since the epoch, a time tuple or `time.struct_time` in UTC, or a `datetime`, which
        counts as UTC unless it has a time zone.
    :raises TypeError: `ts` is nothing of that.
    """
    if isinstance(ts, (int, float)):
        seconds: float = ts
    elif isinstance(ts, (tuple, time.struct_time)):
        seconds = calendar.timegm(ts)
    elif isinstance(ts, datetime):
        seconds = calendar.timegm(ts.utctimetuple())
    else:
        raise TypeError(f"unknown timestamp type: {ts!r}")
    year, month, day, hour, minute, second, weekday = time.gmtime(seconds)[:7]
    return f"{_DAYS[weekday]}, {day:02} {_MONTHS[month - 1]} {year:04} {hour:02}:{minute:02}:{second:02} GMT"


def parse_http_date(text: str) -> datetime | None:
    """Read a date in any of the three forms of RFC 9110 section 5.6.7.

    :param text: the value of a field such as If-Modified-Since.
    :return: an aware `datetime` in UTC; None when `text` is no such date, whose field is then to be ignored.

    Case does not count, and the day of the week is not compared with the date.  A two-digit year is in the
    past or at most 50 years ahead.
    """
    text = text.strip(" \t").lower()
    if (match := _IMF_DATE.fullmatch(text)) is not None:
        day, month, year, hour, minute, second = match.groups()
        number = int(year)
    elif (match := _RFC850_DATE.fullmatch(text)) is not None:
        day, month, year, hour, minute, second = match.groups()
        this_year = time.gmtime().tm_year
        number = this_year - this_year % 100 + int(year)
        if number > this_year + 50:
            number -= 100
    elif (match := _ASCTIME_DATE.fullmatch(text)) is not None:
        month, day, hour, minute, second, year = match.groups()
        number = int(year)
    else:
        return None
    try:
        # A leap second (":60") is valid here and unknown to Python.
        return datetime(
            number,
            _MONTH_NUMBER[month],
            int(day),
            int(hour),
            int(minute),
            59 if second == "60" else int(second),
            tzinfo=UTC,
        )
    except (KeyError, ValueError):
        return None


# --- entity tags: RFC 9110 section 8.8.3 ---

_ENTITY_TAG: Final = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\U0010ffff]*+"')


def parse_etags(header: str) -> list[str] | Literal["*"]:
    """Read the value of If-Match or If-None-Match.

    :param header: ``*`` or a list of entity tags.
    :return: ``"*"``, or the tags in order, quoted and with their ``W/``; what is no entity tag is passed
        over.
    """
    if header.strip(" \t") == "*":
        return "*"
    return _ENTITY_TAG.findall(header)


def weak_match(one: str, other: str) -> bool:
    """Compare two entity tags without regard to ``W/``: the same meaning (RFC 9110 section 8.8.3.2)."""
    return one.removeprefix("W/") == other.removeprefix("W/")


def strong_match(one: str, other: str) -> bool:
    """Compare two entity tags: both strong and the same, so the same octets (RFC 9110 section 8.8.3.2)."""
    return one == other and not one.startswith("W/")


def match_etag(etag: str | None, header: str, *, weak: bool) -> bool:
    """Say whether an entity tag is listed in a field.

    :param etag: the tag of the current representation, quoted; None when there is no representation, which
        ``*`` does not match either.
    :param header: the value of If-Match, If-None-Match or, with one tag, If-Range.
    :param weak: compare weakly, for If-None-Match; the others compare strongly (RFC 9110 section 13.1).
    """
    if etag is None:
        return False
    listed = parse_etags(header)
    if listed == "*":
        return True
    compare = weak_match if weak else strong_match
    return any(compare(etag, tag) for tag in listed)


# --- content codings: RFC 9110 section 12.5.3 ---

# RFC 9110 section 12.4.2: qvalue.
_QVALUE: Final = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")
_CODING_ALIASES: Final = {"x-gzip": "gzip", "x-compress": "compress"}


def choose_encoding(header: str | None, available: Sequence[str]) -> str | None:
    """Choose the content coding for a response.

    :param header: the value of Accept-Encoding, or None when the request has none.
    :param available: the codings the server can apply, in lower case, the best first.
    :return: the coding the client likes best, the first in `available` among equals; None to send the
        response as it is.  That is also the answer where the client refuses everything that is there.
    """
    if not header or not available:
        return None
    weights: dict[str, float] = {}
    for item in header.split(","):
        coding, _, rest = item.partition(";")
        coding = coding.strip(" \t").lower()
        weight = _weight(rest)
        if coding and weight is not None:
            weights[_CODING_ALIASES.get(coding, coding)] = weight
    anything = weights.get("*", 0.0)
    best, best_weight = None, 0.0
    for coding in available:
        weight = weights.get(coding, anything)
        if weight > best_weight:
            best, best_weight = coding, weight
    # "identity" unnamed is acceptable, yet less wanted than what is named; named, its weight counts like any
    # other.
    return best if best_weight >= weights.get("identity", 0.0) else None


def _weight(parameters: str) -> float | None:
    """The q of one list item: 1 when absent, None when malformed."""
    name, equals, value = parameters.strip(" \t").partition("=")
    if not equals:
        return 1.0 if not name else None
    value = value.strip(" \t")
    if name.strip(" \t").lower() != "q" or _QVALUE.fullmatch(value) is None:
        return None
    return float(value)


def doctests() -> "TestSuite":
    """The examples in the docstrings of this package as a test suite."""
    import doctest
    import importlib
    import unittest

    suite = unittest.TestSuite()
    for room in ("cookies", "headers", "ranges", "startlines", "urls", "values"):
        suite.addTests(doctest.DocTestSuite(importlib.import_module(f"webfw.httputil.{room}")))
    return suite
