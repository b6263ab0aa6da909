import pytest

from webfw.http1connection import (
    CR_OR_LF_RE,
    DIGITS,
    HEXDIGITS,
    is_transfer_encoding_chunked,
    parse_hex_int,
    parse_int,
)
from webfw.httputil import HTTPHeaders, HTTPInputError


def test_numbers() -> None:
    assert parse_int("0123") == 123
    assert parse_hex_int("0aF") == 175
    assert DIGITS.fullmatch("12")
    assert HEXDIGITS.fullmatch("aB")
    assert CR_OR_LF_RE.search(b"a\rb")


@pytest.mark.parametrize("text", ["", "+1", "-1", "1_0", " 1", "1 ", "1\n", "0x1", "٣", "g"])
def test_what_only_looks_like_a_number(text: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        parse_int(text)
    with pytest.raises(ValueError, match="not a hex"):
        parse_hex_int(text)


def test_transfer_encoding() -> None:
    assert is_transfer_encoding_chunked(HTTPHeaders({"Transfer-Encoding": "Chunked"}))
    assert not is_transfer_encoding_chunked(HTTPHeaders({"Content-Length": "3"}))
    with pytest.raises(HTTPInputError, match="both"):
        is_transfer_encoding_chunked(HTTPHeaders({"Transfer-Encoding": "chunked", "Content-Length": "3"}))
    with pytest.raises(HTTPInputError, match="Unsupported"):
        is_transfer_encoding_chunked(HTTPHeaders({"Transfer-Encoding": "gzip, chunked"}))
