"""Whatever stands in a Range, entity tag, Accept-*, date, extension or parameter field, it is read without failing.

But: RangeNotSatisfiable, and RemoteProtocolError for Sec-WebSocket-Extensions, are answers.  And: what is read is no
more than there is, formatting and reading again changes nothing, and the standard library reads the same dates.
"""
# ruff: noqa: PT017  # what may be raised, and what it may say, is the subject

import calendar
import re
from datetime import UTC, datetime
from email.utils import parsedate

from webfw.httputil import format_timestamp
from webfw.httputil.errors import RangeNotSatisfiable
from webfw.httputil.ranges import MAX_RANGES, _get_content_range, _parse_request_range, parse_ranges
from webfw.httputil.values import (
    choose_encoding,
    match_etag,
    parse_etags,
    parse_http_date,
    strong_match,
    weak_match,
)
from webfw.sansio.errors import RemoteProtocolError
from webfw.sansio.parameters import encode_parameters, parse_parameters, split_parameters
from webfw.sansio.websocket import DeflateParameters
from webfw.sansio.websocket.extensions import (
    Extension,
    accept_deflate,
    confirm_deflate,
    format_deflate_offer,
    format_deflate_response,
    parse_extensions,
)
from webfw.web.language import preferred_languages

SIZES = [0, 1, 100, 10**18]
CODINGS = ["br", "gzip", "zstd"]
TOKENS = [
    *(
        b"bytes=",
        b"bytes=0-",
        b"bytes=-1",
        b"0-0,",
        b"1-2",
        b"-",
        b",",
        b", ",
        b"99999999999999999999",
        b"W/",
        b'"',
        b'"a"',
        b"*",
    ),
    *(
        b"gzip",
        b"br;q=0.5",
        b";q=",
        b"0.001",
        b"1.000",
        b"1.001",
        b"identity;q=0",
        b"*;q=0",
        b"x-gzip",
        b"en-US",
        b"de;q=0.7",
    ),
    *(
        b"Sun, 06 Nov 1994 08:49:37 GMT",
        b"Sunday, 06-Nov-94 08:49:37 GMT",
        b"Sun Nov  6 08:49:37 1994",
        b":60",
        b"Feb",
        b" 30 ",
    ),
    *(
        b"0000",
        b"9999",
        b"permessage-deflate",
        b"; server_max_window_bits=10",
        b"; client_max_window_bits",
        b"=8",
        b'="15"',
    ),
    *(
        b"; client_no_context_takeover",
        b"form-data",
        b'; name="a"',
        b"; filename*=UTF-8''%e2%82%ac",
        b"; a*0=x",
        b"; a*1*=%41",
    ),
    *(
        b"\\",
        b"\\\\",
        b'\\"',
        b"=",
        b";",
        b" ",
        b"\t",
        b"'",
        b"%",
        b"\x00",
        b"\x80",
        b"\xff",
        b'"' * 20,
        b";" * 20,
        b"," * 30,
    ),
    *(b"0-0," * 25, b"; a*9999=b", b"; a*0*=utf-16''%00", b"; a*0*=idna''x"),
]
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


def ranges(field: str) -> None:
    for size in SIZES:
        try:
            found = parse_ranges(field, size)
        except RangeNotSatisfiable as error:
            assert (error.status, error.size) == (416, size)
            continue
        if found is None:
            continue
        assert 0 < len(found) <= MAX_RANGES
        assert all(0 <= start < end <= size for start, end in found)
        again = "bytes=" + ",".join(f"{start}-{end - 1}" for start, end in found)
        assert parse_ranges(again, size) == found
    one = _parse_request_range(field)
    if one is None or size == 0:
        return
    start, end = one
    try:
        whole = parse_ranges(field, 100)
    except RangeNotSatisfiable:
        assert not range(100)[slice(start, end)]
        return
    assert whole is not None
    expected = range(100)[slice(start, end)]
    assert whole == [(expected.start, expected.stop)]
    assert _get_content_range(*whole[0], 100) == f"bytes {expected.start}-{expected.stop - 1}/100"


def entity_tags(field: str) -> None:
    found = parse_etags(field)
    assert match_etag(None, field, weak=True) is False
    if found == "*":
        assert match_etag('"a"', field, weak=True)
        return
    assert sum(map(len, found)) <= len(field)
    for tag in found[:20]:
        assert parse_etags(tag) == [tag]
        assert match_etag(tag, field, weak=True)
        assert match_etag(tag, field, weak=False) == (not tag.startswith("W/")), (
            "a weak tag never matches strongly"
        )
        assert weak_match(tag, tag)
        assert strong_match(tag, tag) == (not tag.startswith("W/"))
    assert parse_etags(", ".join(found)) == found


def preferences(field: str) -> None:
    chosen = choose_encoding(field, CODINGS)
    assert chosen is None or chosen in CODINGS
    if chosen is not None:
        assert chosen in field.lower() or "*" in field or ("x-gzip" in field.lower() and chosen == "gzip")
        assert choose_encoding(field, [chosen]) == chosen
    languages = preferred_languages(field)
    assert len(languages) <= min(50, field.count(",") + 1)
    assert all(code == code.strip() and code in field for code in languages)
    assert preferred_languages(",".join(languages)) == languages


def dates(field: str) -> None:
    found = parse_http_date(field)
    if found is None:
        return
    assert found.tzinfo is UTC
    if found.year >= 1000:
        again = format_timestamp(found)
        assert parse_http_date(again) == found
        theirs = parsedate(again)
        assert theirs is not None
        assert datetime.fromtimestamp(calendar.timegm(theirs), UTC) == found


def parameters(field: str) -> None:
    value, pairs = split_parameters(field)
    assert value == field.partition(";")[0].strip(" \t")
    assert len(value) + sum(len(name) + len(text or "") for name, text in pairs) <= len(field)
    assert all(name == name.lower().strip(" \t") for name, _ in pairs)
    same, found = parse_parameters(field)
    assert same == value
    assert sum(map(len, found.values())) <= len(field)
    plain = {
        name: text
        for name, text in found.items()
        if _TOKEN.fullmatch(name) and "*" not in name and _TOKEN.fullmatch(text)
    }
    assert parse_parameters(encode_parameters("v", plain)) == ("v", plain)


def extensions(field: str) -> str:
    try:
        found = parse_extensions([field])
    except RemoteProtocolError as error:
        assert error.status == 400
        assert str(error).isprintable()
        return "refused"
    assert all(_TOKEN.fullmatch(extension.name) for extension in found)
    written = ", ".join(
        "; ".join([name, *(key if text is None else f"{key}={text}" for key, text in pairs)])
        for name, pairs in found
    )
    assert parse_extensions([written]) == found
    wish = DeflateParameters()
    agreed = accept_deflate(found, wish)
    if agreed is not None:
        answer = parse_extensions([format_deflate_response(agreed)])
        assert len(answer) == 1
        mine = DeflateParameters(client_max_window_bits=agreed.client_max_window_bits)
        assert confirm_deflate(answer, mine) == agreed
        assert parse_extensions([format_deflate_offer(agreed)])[0].name == "permessage-deflate"
    try:
        confirm_deflate(found, wish)
    except RemoteProtocolError:
        return "extensions"
    return "agreed" if found else "nothing"


def check(data: bytes, cuts: list[int]) -> str:
    field = data.decode("latin-1")
    ranges(field)
    entity_tags(field)
    preferences(field)
    dates(field)
    parameters(field)
    assert parse_extensions([]) == []
    assert parse_extensions(["a"]) == [Extension("a")]
    return extensions(field)
