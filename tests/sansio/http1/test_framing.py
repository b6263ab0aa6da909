"""Framing by fields, function by function; whole heads are in test_head.py and test_smuggling.py."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.sansio.errors import RemoteProtocolError
from webfw.sansio.http1.framing import (
    connection_options,
    content_length,
    excerpt,
    field_values,
    is_chunked,
    keeps_alive,
)


def block(*lines: str) -> tuple[str, str]:
    text = "GET / HTTP/1.1\r\n" + "".join(f"{line}\r\n" for line in lines)
    return text, text.lower()


def test_field_values() -> None:
    text, lower = block("A: B ", "aa: c", "a:\t\xa0D\x85", "b: a: e", "a:")
    assert field_values(text, lower, "a") == ["B", "\xa0D\x85", ""]
    assert field_values(text, lower, "aa") == ["c"]
    assert field_values(text, lower, "c") == []


def test_content_length() -> None:
    assert content_length(*block("A: b")) is None
    assert content_length(*block("Content-Length: 42")) == 42
    with pytest.raises(RemoteProtocolError, match="more than one Content-Length: '1, 1'"):
        content_length(*block("Content-Length: 1", "content-length: 1"))
    with pytest.raises(RemoteProtocolError, match="malformed Content-Length: '-1'"):
        content_length(*block("Content-Length: -1"))


@pytest.mark.parametrize(
    ("lines", "minor", "expected"),
    [
        ([], 1, False),
        ([], 0, False),
        (["Transfer-Encoding: chunked"], 1, True),
        (["Transfer-Encoding: chunked"], 0, 400),
        (["Transfer-Encoding: chunked", "Content-Length: 0"], 1, 400),
        (["Transfer-Encoding: a, chunked"], 1, 501),
        (["Transfer-Encoding: a", "Transfer-Encoding: chunked"], 1, 501),
        (["Transfer-Encoding: a"], 1, 400),
        (["Transfer-Encoding: chunked, a"], 1, 400),
        (["Transfer-Encoding: chunked,chunked"], 1, 400),
        (["Transfer-Encoding: a,,chunked"], 1, 400),
    ],
)
def test_is_chunked(lines: list[str], minor: int, expected: bool | int) -> None:
    if isinstance(expected, bool):
        assert is_chunked(*block(*lines), minor) is expected
    else:
        with pytest.raises(RemoteProtocolError) as caught:
            is_chunked(*block(*lines), minor)
        assert caught.value.status == expected


def test_connection_options() -> None:
    def options(*lines: str) -> list[str]:
        return connection_options(block(*lines)[1])

    assert options() == []
    assert options("Connection: Close") == ["close"]
    assert options("Connection: a ,\tB", "connection: c") == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("options", "minor", "expected"),
    [
        ([], 1, True),
        ([], 0, False),
        (["close"], 1, False),
        (["keep-alive"], 0, True),
        (["keep-alive", "close"], 0, False),
        (["keep-alive", "close"], 1, False),
        (["upgrade"], 1, True),
    ],
)
def test_keeps_alive(options: list[str], minor: int, expected: bool) -> None:
    assert keeps_alive(options, minor) is expected


@given(st.text(max_size=100) | st.text(st.characters(max_codepoint=255), min_size=40, max_size=70))
def test_excerpt_is_short_and_printable(text: str) -> None:
    shown = excerpt(text)
    assert len(shown) <= 60
    assert shown.isascii()
    assert shown.isprintable()
    assert shown.endswith("...") or shown == ascii(text)
