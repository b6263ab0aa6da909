"""Arithmetic on URLs, query strings and authorities."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw import httputil
from webfw.httputil import encode_username_password, qs_to_qsl, split_host_and_port, url_concat


@pytest.mark.parametrize(
    ("url", "args", "expected"),
    [
        ("http://x/y", {"a": "b"}, "http://x/y?a=b"),
        ("http://x/y?a=b", {"c": "d"}, "http://x/y?a=b&c=d"),
        ("http://x/y?a=b&c=d", [("c", "d2")], "http://x/y?a=b&c=d&c=d2"),
        ("http://x/y", None, "http://x/y"),
        ("http://x/y?a=", [], "http://x/y?a="),
        ("http://x/?", {}, "http://x/"),
        ("http://x/y?a=&r=1#f", [("b", "")], "http://x/y?a=&r=1&b=#f"),
        ("http://x/y?x=%20+%2f", {"\xe9": "\xfc &"}, "http://x/y?x=++%2F&%C3%A9=%C3%BC+%26"),
        ("/p", (("a", "b"), ("a", "c")), "/p?a=b&a=c"),
        ("http://x/;p=1?a=b", {"b": "c"}, "http://x/;p=1?a=b&b=c"),
        ("//h/p", {"a": "b"}, "//h/p?a=b"),
        ("", {"a": "b"}, "?a=b"),
        ("http:////evil.example/", {"a": "b"}, "http:////evil.example/?a=b"),  # an empty host stays one
        ("http://[x", {"a": "b"}, "http://[x?a=b"),
    ],
)
def test_url_concat(url: str, args: Any, expected: str) -> None:
    assert url_concat(url, args) == expected


@pytest.mark.parametrize("args", ["s", 1, {"a"}])
def test_url_concat_wants_pairs(args: Any) -> None:
    with pytest.raises(TypeError, match="'args' parameter should be dict, list or tuple"):
        url_concat("http://x", args)


def test_qs_to_qsl() -> None:
    assert list(qs_to_qsl({"a": [b"1", b"2"], "b": [b"3"]})) == [("a", b"1"), ("a", b"2"), ("b", b"3")]


@pytest.mark.parametrize(
    ("netloc", "expected"),
    [
        ("a:1", ("a", 1)),
        ("a", ("a", None)),
        ("[::1]:2", ("[::1]", 2)),
        ("[::1]", ("[::1]", None)),
        ("a:b:3", ("a:b", 3)),
        ("a:", ("a:", None)),
        ("a:-1", ("a:-1", None)),
        (":1", (":1", None)),
        ("", ("", None)),
        ("a:1\n", ("a:1\n", None)),
        ("a:\u0662", ("a:\u0662", None)),
        ("a:\xb2", ("a:\xb2", None)),
        ("a:" + "9" * 10_000, ("a:" + "9" * 10_000, None)),
    ],
)
def test_split_host_and_port(netloc: str, expected: tuple[str, int | None]) -> None:
    assert split_host_and_port(netloc) == expected


@given(st.text())
def test_split_host_and_port_of_anything(netloc: str) -> None:
    host, port = split_host_and_port(netloc)
    assert netloc.startswith(host)
    assert port is None or port >= 0


@pytest.mark.parametrize(
    ("username", "password", "expected"),
    [
        ("u", "p", b"u:p"),
        ("u\u0301", "e\u0301", b"\xc3\xba:\xc3\xa9"),
        (b"u", b"p:q", b"u:p:q"),
        ("", b"\xff", b":\xff"),
    ],
)
def test_encode_username_password(username: str | bytes, password: str | bytes, expected: bytes) -> None:
    assert encode_username_password(username, password) == expected


def test_urlencode_stays_importable() -> None:
    assert httputil.urlencode([("a", "b c")]) == "a=b+c"
