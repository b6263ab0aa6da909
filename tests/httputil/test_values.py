"""Dates, statuses, entity tags and codings, as they stand in single fields."""

import datetime
import email.utils
import http.client
import time
import unittest
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.httputil import (
    _encode_header,
    _parse_header,
    choose_encoding,
    doctests,
    format_timestamp,
    match_etag,
    parse_etags,
    parse_http_date,
    responses,
    strong_match,
    weak_match,
)

UTC = datetime.UTC


@pytest.mark.parametrize(
    "ts",
    [
        1359312200,
        1359312200.503,
        1359312200.9999,
        (2013, 1, 27, 18, 43, 20, 6, 27, 0),
        time.gmtime(1359312200),
        datetime.datetime(2013, 1, 27, 18, 43, 20),
        datetime.datetime(2013, 1, 27, 18, 43, 20, 999_999),
        datetime.datetime(2013, 1, 27, 20, 43, 20, tzinfo=datetime.timezone(datetime.timedelta(hours=2))),
    ],
)
def test_format_timestamp(ts: Any) -> None:
    assert format_timestamp(ts) == "Sun, 27 Jan 2013 18:43:20 GMT"


@pytest.mark.parametrize("ts", ["x", None, datetime.date(2013, 1, 1), [1]])
def test_format_timestamp_of_something_else(ts: Any) -> None:
    with pytest.raises(TypeError, match="unknown timestamp type"):
        format_timestamp(ts)


@given(st.integers(-62135596800, 253402300799))
def test_dates_round_trip(ts: int) -> None:
    text = format_timestamp(ts)
    if ts >= 0:
        assert text == email.utils.formatdate(ts, usegmt=True)
    moment = parse_http_date(text)
    assert moment is not None
    assert moment == datetime.datetime(1970, 1, 1, tzinfo=UTC) + datetime.timedelta(seconds=ts)


@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "sun, 06 nov 1994 08:49:37 gmt",
        " Sun, 06 Nov 1994 08:49:37 GMT\t",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun Nov 06 08:49:37 1994",
    ],
)
def test_the_three_forms_of_a_date(text: str) -> None:
    assert parse_http_date(text) == datetime.datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 GMT; length=5",
        "Sun, 06 Nix 1994 08:49:37 GMT",
        "Sun, 32 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "Sun, ٠٦ Nov 1994 08:49:37 GMT",
        "Sun Nov 6 08:49:37 1994",
        "06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT\n",
    ],
)
def test_what_is_no_date(text: str) -> None:
    assert parse_http_date(text) is None


def test_a_leap_second_is_a_date() -> None:
    moment = parse_http_date("Sat, 31 Dec 2016 23:59:60 GMT")
    assert moment == datetime.datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)


def test_two_digit_years_are_at_most_fifty_years_ahead() -> None:
    this_year = time.gmtime().tm_year
    for year in range(100):
        moment = parse_http_date(f"Sunday, 06-Nov-{year:02} 08:49:37 GMT")
        assert moment is not None
        assert moment.year % 100 == year
        assert this_year - 50 < moment.year + 1
        assert moment.year <= this_year + 50


@given(st.text())
def test_any_text_is_a_date_or_none(text: str) -> None:
    parse_http_date(text)


def test_responses() -> None:
    assert type(responses) is dict
    assert all(type(code) is int for code in responses)
    assert responses[200] == "OK"
    assert responses[103] == "Early Hints"
    assert {421, 425, 418, 451, 511} <= set(responses)
    assert {int(code): phrase for code, phrase in http.client.responses.items()}.items() <= responses.items()


def test_parameters_under_their_old_names() -> None:
    assert _parse_header('form-data; name="a"') == ("form-data", {"name": "a"})
    assert _encode_header("x", {"b": None, "a": 1}) == "x; a=1; b"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", []),
        ("*", "*"),
        (" * ", "*"),
        ('"a"', ['"a"']),
        ('W/"a", "b","c d"', ['W/"a"', '"b"']),
        ('"a,b" , ""', ['"a,b"', '""']),
        ("a, b", []),
        ('"a', []),
    ],
)
def test_parse_etags(header: str, expected: Any) -> None:
    assert parse_etags(header) == expected


def test_comparing_etags() -> None:
    """The table of RFC 9110 section 8.8.3.2."""
    for one, other, strong, weak in (
        ('W/"1"', 'W/"1"', False, True),
        ('W/"1"', 'W/"2"', False, False),
        ('W/"1"', '"1"', False, True),
        ('"1"', '"1"', True, True),
    ):
        assert strong_match(one, other) == strong_match(other, one) == strong
        assert weak_match(one, other) == weak_match(other, one) == weak


@pytest.mark.parametrize(
    ("etag", "header", "weak", "expected"),
    [
        ('"a"', '"b", W/"a"', True, True),
        ('"a"', '"b", W/"a"', False, False),
        ('"a"', '"b", "a"', False, True),
        ('"a"', "*", False, True),
        (None, "*", True, False),
        ('"a"', "a", True, False),
    ],
)
def test_match_etag(etag: str | None, header: str, weak: bool, expected: bool) -> None:
    assert match_etag(etag, header, weak=weak) is expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("", None),
        ("gzip", "gzip"),
        ("GZIP", "gzip"),
        ("x-gzip", "gzip"),
        ("gzip, deflate, br", "br"),
        ("gzip;q=1.0, br;q=0.5", "gzip"),
        ("gzip ; Q=0.5 ,br;q=0.500", "br"),
        ("gzip;q=0", None),
        ("gzip;q=0, *", "br"),
        ("br;q=0, *;q=0.1", "gzip"),
        ("*", "br"),
        ("*;q=0", None),
        ("identity", None),
        ("identity, gzip;q=0.5", None),
        ("identity;q=0.5, gzip;q=0.5", "gzip"),
        ("identity;q=0", None),
        ("zstd", None),
        ("gzip;q=x", None),
        ("gzip;q=2", None),
        ("gzip;q=0.1234", None),
        ("gzip;level=3", None),
        ("gzip;", "gzip"),
        ("gzip;foo", None),
        (",,gzip,", "gzip"),
    ],
)
def test_choose_encoding(header: str | None, expected: str | None) -> None:
    assert choose_encoding(header, ("br", "gzip")) == expected


def test_choose_encoding_where_there_is_none() -> None:
    assert choose_encoding("*", ()) is None


@given(st.text())
def test_choose_encoding_for_any_text(header: str) -> None:
    assert choose_encoding(header, ("br", "gzip")) in (None, "br", "gzip")


def test_doctests() -> None:
    suite = doctests()
    assert suite.countTestCases() >= 8
    result = unittest.TestResult()
    suite.run(result)
    assert result.wasSuccessful(), result.failures
