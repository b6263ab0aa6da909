"""The Cookie field as it is found in practice; nothing fails, nothing takes long."""

import time
from http.cookies import SimpleCookie

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.httputil import parse_cookie, simple_cookie


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("foo=bar", {"foo": "bar"}),
        ("foo=bar; baz=q", {"foo": "bar", "baz": "q"}),
        ("a=b;c=d", {"a": "b", "c": "d"}),
        (" a = b ;;", {"a": "b"}),
        ("a=b; a=c", {"a": "c"}),
        ("a=b=c", {"a": "b=c"}),
        ("a=1,b=2", {"a": "1,b=2"}),
        ("=", {}),
        ("=x", {"": "x"}),
        ("x", {"": "x"}),
        ("a=", {"a": ""}),
        ("\xe9=\xfc", {"\xe9": "\xfc"}),
        ('a="d"', {"a": "d"}),
        ('a=""', {"a": ""}),
        ('a="', {"a": '"'}),
        ('a="b" c', {"a": '"b" c'}),
        ('a="b;c"', {"a": '"b', "": 'c"'}),
        ('a="\\012\\"x"', {"a": '\n"x'}),
        ('a="\\303\\251"', {"a": "\xc3\xa9"}),
        ('a="\\999\\400\\08"', {"a": "99940008"}),
        ('a="\\\\012"', {"a": "\\012"}),
        ('a="b\\', {"a": '"b\\'}),
        ('a="b\\"', {"a": "b\\"}),
    ],
)
def test_parse(text: str, expected: dict[str, str]) -> None:
    assert parse_cookie(text) == expected


def test_simple_cookie() -> None:
    cookies = simple_cookie('a=b; c="q\\054x"; bad name=1; $Path=x; path=y; \xe9=1; d')
    assert isinstance(cookies, SimpleCookie)
    assert {name: morsel.value for name, morsel in cookies.items()} == {"a": "b", "c": "q,x", "$Path": "x"}
    assert cookies["a"].OutputString() == "a=b"


@given(st.text(), st.text(alphabet='ab=;"\\ 0127'))
def test_any_text(one: str, other: str) -> None:
    for text in (one, other):
        assert all(isinstance(value, str) for value in parse_cookie(text).values())
        simple_cookie(text)


@given(
    st.dictionaries(
        st.text(alphabet="abcXYZ019-_", min_size=1), st.text(st.characters(max_codepoint=255)), max_size=5
    )
)
def test_reads_what_the_standard_library_writes(values: dict[str, str]) -> None:
    writer: SimpleCookie = SimpleCookie()
    reserved = {
        "expires",
        "path",
        "comment",
        "domain",
        "secure",
        "httponly",
        "version",
        "samesite",
        "max-age",
    }
    expected = {}
    for name, value in values.items():
        if name.lower() in reserved or any(ord(char) < 32 or ord(char) == 127 for char in value):
            continue
        writer[name] = value
        expected[name] = value
    assert (
        parse_cookie("; ".join(f"{name}={morsel.coded_value}" for name, morsel in writer.items())) == expected
    )


@pytest.mark.parametrize("unit", ['"', "\\", ";", "=", '\\"', "\\0", " ", 'a="', "\\12"])
def test_time_is_linear(unit: str) -> None:
    def cost(count: int) -> float:
        text = 'a="' + unit * count + '"'
        best = 9.0
        for _ in range(3):
            begin = time.process_time()
            parse_cookie(text)
            best = min(best, time.process_time() - begin)
        return best

    assert cost(64_000) < 80 * max(cost(4_000), 1e-4)
