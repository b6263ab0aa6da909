"""The map of fields: names without case, values without injection, and copies that are cheap and independent."""

import copy
import pickle
from enum import Enum
from http.client import parse_headers
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.httputil import HTTP_WHITESPACE, HTTPHeaders, HTTPInputError, _normalize_header
from webfw.httputil.headers import _NameCache, _names


def two() -> HTTPHeaders:
    headers = HTTPHeaders()
    headers.add("set-cookie", "a=1")
    headers.add("SET-COOKIE", "b=2")
    headers["Content-type"] = "text/html"
    return headers


@pytest.mark.parametrize(
    ("name", "normal"),
    [
        ("coNtent-TYPE", "Content-Type"),
        ("ETAG", "Etag"),
        ("www-authenticate", "Www-Authenticate"),
        ("x_foo-bar", "X_foo-Bar"),
        ("a--b", "A--B"),
        ("1a", "1a"),
        ("", ""),
        ("not a token", "Not a token"),
    ],
)
def test_normal_spelling(name: str, normal: str) -> None:
    assert _normalize_header(name) == normal


def test_names_have_no_case() -> None:
    headers = HTTPHeaders({"content-TYPE": "text/html"})
    assert headers["CONTENT-type"] == headers.get("content-type") == "text/html"
    assert "Content-type" in headers
    assert list(headers) == ["Content-Type"]
    del headers["content-type"]
    assert len(headers) == 0
    with pytest.raises(KeyError):
        headers["Content-Type"]
    with pytest.raises(KeyError):
        del headers["Content-Type"]


@pytest.mark.parametrize("name", ["", "a b", "a:", "\u00e9", "x" * 1000])
def test_looking_for_any_name_is_harmless(name: str) -> None:
    headers = two()
    assert name not in headers
    assert headers.get(name) is None
    assert headers.get(name, "x") == "x"
    assert headers.get_list(name) == []
    assert name not in _names
    with pytest.raises(KeyError):
        headers[name]


def test_what_is_no_string_is_not_in_it() -> None:
    assert 1 not in two()


def test_repeated_fields() -> None:
    headers = two()
    assert headers["Set-Cookie"] == headers.get("set-cookie") == "a=1,b=2"
    assert headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert headers.get_list("content-type") == ["text/html"]
    pairs = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Content-Type", "text/html")]
    assert list(headers.get_all()) == list(headers.fields()) == pairs
    assert dict(headers) == {"Set-Cookie": "a=1,b=2", "Content-Type": "text/html"}
    assert dict(headers.items()) == dict(headers)
    assert len(headers) == 2
    headers.add("set-cookie", "c=3")
    assert headers["Set-Cookie"] == "a=1,b=2,c=3"
    headers["Set-Cookie"] = "d=4"
    assert headers.get_list("Set-Cookie") == ["d=4"]
    assert list(headers.fields()) == [("Set-Cookie", "d=4"), ("Content-Type", "text/html")]


def test_lists_given_out_are_copies() -> None:
    headers = two()
    headers.get_list("set-cookie").append("x")
    assert headers.get_list("set-cookie") == ["a=1", "b=2"]


def test_pairs_are_the_dicts_own_where_no_name_repeats() -> None:
    headers = HTTPHeaders(a="1", b="2")
    assert headers.fields() == headers._fields.items()
    assert type(headers.fields()) is type({}.items())
    assert list(headers.items()) == [("A", "1"), ("B", "2")]


def test_made_of_what_a_dict_is_made_of() -> None:
    assert dict(HTTPHeaders([("a", "b"), ("A", "c")])) == {"A": "c"}
    assert dict(HTTPHeaders({"a": "b"}, c="d")) == {"A": "b", "C": "d"}
    again = HTTPHeaders(two())
    assert again.get_list("set-cookie") == ["a=1", "b=2"]
    again.add("set-cookie", "c=3")
    assert two() == HTTPHeaders(two()) != again
    with pytest.raises(TypeError):
        HTTPHeaders(1)
    with pytest.raises(TypeError):
        HTTPHeaders({}, {})


def test_what_a_mutable_mapping_does() -> None:
    headers = two()
    assert headers.pop("content-type") == "text/html"
    assert headers.setdefault("q", "r") == "r"
    headers.update({"Q": "s"}, t="u")
    assert dict(headers) == {"Set-Cookie": "a=1,b=2", "Q": "s", "T": "u"}
    assert list(headers.values()) == ["a=1,b=2", "s", "u"]
    headers.clear()
    assert not headers


@pytest.mark.parametrize(
    "make",
    [
        HTTPHeaders.copy,
        copy.copy,
        copy.deepcopy,
        lambda headers: pickle.loads(pickle.dumps(headers)),
        HTTPHeaders,
    ],
)
def test_copies_are_independent(make: Any) -> None:
    headers = two()
    twin = make(headers)
    assert type(twin) is HTTPHeaders
    assert twin == headers
    twin.add("set-cookie", "c=3")
    twin["x"] = "y"
    assert list(headers.get_all()) == list(two().get_all())
    plain = HTTPHeaders(a="1")
    twin = make(plain)
    twin.add("a", "2")
    assert plain["a"] == "1"
    assert twin.get_list("a") == ["1", "2"]


def test_a_subclass_copies_to_the_plain_class() -> None:
    class Special(HTTPHeaders):
        def __init__(self, needed: int) -> None:
            super().__init__()

    assert type(Special(1).copy()) is HTTPHeaders


def test_equality() -> None:
    assert two() == two()
    assert HTTPHeaders(a="1,2") == HTTPHeaders.parse("a: 1\na: 2")
    assert HTTPHeaders(a="1") == {"A": "1"}
    assert HTTPHeaders(a="1") != {"A": "2"}
    assert HTTPHeaders() != 1
    with pytest.raises(TypeError):
        hash(HTTPHeaders())


def test_text() -> None:
    assert str(two()) == "Set-Cookie: a=1\nSet-Cookie: b=2\nContent-Type: text/html\n"
    assert two().__unicode__() == str(two())


def test_repr_shows_no_value() -> None:
    assert repr(two()) == "<HTTPHeaders Set-Cookie, Content-Type>"
    assert repr(HTTPHeaders()) == "<HTTPHeaders, empty>"


# --- what may be set ---

INJECTIONS = ["x\r\ny", "x\n", "x\r", "x\0", "x\x0by", "x\x1f", "x\x7f", "\x0cx"]


@pytest.mark.parametrize("value", INJECTIONS)
def test_control_characters_are_refused(value: str) -> None:
    headers = HTTPHeaders()
    with pytest.raises(ValueError, match="Invalid header value"):
        headers["a"] = value
    with pytest.raises(ValueError, match="Invalid header value"):
        HTTPHeaders(a=value)
    for mode in (True, False):
        with pytest.raises(HTTPInputError, match="Invalid header value"):
            headers.add("a", value, _chars_are_bytes=mode)
    assert not headers


@pytest.mark.parametrize("name", ["", "a b", "a:", "\u00e9", "a\r\nb", "a\n", "(a)", "a\0"])
def test_names_that_are_no_token_are_refused(name: str) -> None:
    headers = HTTPHeaders()
    with pytest.raises(ValueError, match="Invalid header name"):
        headers[name] = "1"
    with pytest.raises(HTTPInputError, match="Invalid header name"):
        headers.add(name, "1")
    assert not headers


@pytest.mark.parametrize("value", ["", "x", "a b", "a\tb", "\u00e9", "\x80", "\x85", "\xad", "~!"])
def test_values_that_are_fine(value: str) -> None:
    headers = HTTPHeaders()
    headers["a"] = value
    headers.add("b", value)
    headers.add("c", value, _chars_are_bytes=False)
    assert headers["a"] == headers["b"] == headers["c"] == value


def test_a_member_of_an_enumeration_is_the_text_it_is() -> None:
    class Kind(str, Enum):  # noqa: UP042  # a StrEnum is shown as what it is
        JSON = "application/json"

    h = HTTPHeaders({"Content-Type": Kind.JSON})
    h.add("Accept", Kind.JSON)
    assert h == {"Content-Type": "application/json", "Accept": "application/json"}
    assert {type(value) for value in h.values()} == {str}


@pytest.mark.parametrize("value", [" x", "x ", "\tx", "x\t", " ", "\u2028", "\u6f22"])
def test_values_that_are_only_text(value: str) -> None:
    """Not octets, or with whitespace around: nothing that came off a wire."""
    headers = HTTPHeaders()
    with pytest.raises(HTTPInputError):
        headers.add("a", value)
    headers.add("a", value, _chars_are_bytes=False)
    headers["b"] = value
    assert headers["a"] == headers["b"] == value


def test_other_types() -> None:
    class Text(str):
        pass

    headers = HTTPHeaders()
    headers["a"] = 5  # type: ignore[assignment]
    headers["b"] = b"x"  # type: ignore[assignment]
    headers["c"] = Text("y")
    headers.add("d", 6)  # type: ignore[arg-type]
    headers.add("d", b"z")  # type: ignore[arg-type]
    assert dict(headers) == {"A": "5", "B": "x", "C": "y", "D": "6,z"}
    assert {type(value) for value in headers.values()} == {str}
    for bad in (None, 1.5, ["x"]):
        with pytest.raises(TypeError, match="header 'a' must be a string"):
            headers["a"] = bad  # type: ignore[assignment]
        with pytest.raises(TypeError, match="header 'a' must be a string"):
            headers.add("a", bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Invalid header value"):
        headers["a"] = b"x\n"  # type: ignore[assignment]
    with pytest.raises(HTTPInputError):
        headers.add("a", b"x\n")  # type: ignore[arg-type]


def test_errors_are_short() -> None:
    headers = HTTPHeaders()
    for name, value in (("x" * 10_000 + " ", "y"), ("a", "x" * 10_000 + "\n")):
        with pytest.raises(ValueError, match="Invalid header") as info:
            headers[name] = value
        assert len(str(info.value)) < 200


def test_name_cache_is_bounded() -> None:
    cache = _NameCache()
    for number in range(3 * cache.MAX_NAMES):
        assert cache[f"x-{number}"] == f"X-{number}"
        assert len(cache) <= cache.MAX_NAMES
    long = "x" * (cache.MAX_LENGTH + 1)
    assert cache[long] == long.capitalize()
    assert long not in cache


# --- parsing ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("\r\n", []),
        ("A: b\r\nC: d\r\n", [("A", "b"), ("C", "d")]),
        ("A: b\nC: d", [("A", "b"), ("C", "d")]),
        ("A: b\r\n\r\nC: d", [("A", "b"), ("C", "d")]),
        ("A:b", [("A", "b")]),
        ("A:\t b \t", [("A", "b")]),
        ("A:", [("A", "")]),
        ("a: \xe9\x85", [("A", "\xe9\x85")]),
        ("A: b\na: c", [("A", "b"), ("A", "c")]),
        ("A: b: c", [("A", "b: c")]),
    ],
)
def test_parse(text: str, expected: list[tuple[str, str]]) -> None:
    assert list(HTTPHeaders.parse(text).get_all()) == expected
    assert list(HTTPHeaders.parse(text, _chars_are_bytes=False).get_all()) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A: b\r\n C: d\r\n", "folding"),
        ("A: b\r\n\tc", "folding"),
        (" A: b", "folding"),
        ("A", "no colon"),
        ("A: b\r\nnothing\r\n", "no colon"),
        ("A : b", "Invalid header name"),
        (":b", "Invalid header name"),
        ("A: b\rC: d", "Invalid header value"),
        ("A: b\0", "Invalid header value"),
        ("A: \x0bb", "Invalid header value"),
        ("A: b\r\r\n", "Invalid header value"),
    ],
)
def test_parse_refuses(text: str, message: str) -> None:
    with pytest.raises(HTTPInputError, match=message) as info:
        HTTPHeaders.parse(text)
    assert info.value.status == 400


@pytest.mark.parametrize("line", ["A: b", "A: b\r\n", "A: b\n"])
def test_parse_line(line: str) -> None:
    headers = HTTPHeaders()
    headers.parse_line(line)
    headers.parse_line("")
    assert dict(headers) == {"A": "b"}


def test_parse_line_takes_one_line() -> None:
    with pytest.raises(HTTPInputError):
        HTTPHeaders().parse_line("A: b\r\nC: d")


def test_text_beyond_latin1_is_for_forms() -> None:
    with pytest.raises(HTTPInputError):
        HTTPHeaders.parse("A: \u20ac")
    assert HTTPHeaders.parse("A: \u20ac", _chars_are_bytes=False)["a"] == "\u20ac"


@given(st.text())
def test_any_text_ends_in_headers_or_an_input_error(text: str) -> None:
    try:
        headers = HTTPHeaders.parse(text)
    except HTTPInputError:
        return
    assert "\r" not in str(headers)
    assert HTTPHeaders.parse(str(headers)) == headers


names = st.text(alphabet="abcXYZ019-_!~", min_size=1, max_size=8)
values = st.text(
    st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=12
).map(lambda text: text.strip(" \t"))


@given(st.lists(st.tuples(names, values), max_size=8), st.sampled_from([": ", ":", ":  ", ":\t"]))
def test_field_blocks_read_like_parse(fields: list[tuple[str, str]], colon: str) -> None:
    block = "".join(f"{name}{colon}{value}\r\n" for name, value in fields)
    headers = HTTPHeaders.from_fields(block)
    assert headers == HTTPHeaders.parse(block)
    assert list(headers.get_all()) == list(HTTPHeaders.parse(block).get_all()) == list(headers.fields())
    theirs = parse_headers(BytesIO((block + "\r\n").encode("latin-1")))
    for name, _ in fields:
        if value_list := theirs.get_all(name):
            assert [text.strip(" \t") for text in value_list] == headers.get_list(name)


def test_field_block_with_bare_line_feeds_and_repeats() -> None:
    headers = HTTPHeaders.from_fields("A: 1\nB:2 \na: 3\r\nA: 4\n")
    assert headers.get_list("a") == ["1", "3", "4"]
    assert headers["B"] == "2"
    assert HTTPHeaders.from_fields("") == {}
    assert HTTPHeaders.from_fields("A:\r\n") == {"A": ""}


def test_whitespace() -> None:
    assert HTTP_WHITESPACE == " \t"


def test_fields_that_have_been_checked() -> None:
    headers = HTTPHeaders.from_checked({"Content-Type": "text/plain", "Set-Cookie": "a=b"})
    assert headers["content-type"] == "text/plain"
    headers.add("set-cookie", "c=d")
    assert list(headers.get_all()) == [
        ("Content-Type", "text/plain"),
        ("Set-Cookie", "a=b"),
        ("Set-Cookie", "c=d"),
    ]
