import re
from types import SimpleNamespace
from typing import Any

import pytest

from webfw.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine
from webfw.routing import AnyMatches, DefaultHostMatches, HostMatches, Matcher, PathMatches


def request(uri: str = "/", host: str = "example.com", **fields: str) -> HTTPServerRequest:
    headers = HTTPHeaders({"Host": host})
    for name, value in fields.items():
        headers[name.replace("_", "-")] = value
    return HTTPServerRequest(start_line=RequestStartLine("GET", uri, "HTTP/1.1"), headers=headers)


def test_a_matcher_must_say_how_it_matches() -> None:
    with pytest.raises(NotImplementedError):
        Matcher().match(request())
    assert Matcher().reverse("x") is None


def test_any() -> None:
    assert AnyMatches().match(request("/x")) == {}
    assert AnyMatches().reverse() is None


# --- hosts ---


@pytest.mark.parametrize(
    ("pattern", "host", "matches"),
    [
        ("a.com", "a.com", True),
        ("a.com", "a.com:8080", True),
        ("a.com", "A.COM", True),
        ("a.com", "xa.com", False),
        ("a.com", "a.comx", False),
        (r"(.*)\.com", "a.com", True),
        (re.compile(r"a"), "a.com", True),
    ],
)
def test_host(pattern: Any, host: str, matches: bool) -> None:
    assert HostMatches(pattern).match(request(host=host)) == ({} if matches else None)


def test_host_pattern_is_anchored_once() -> None:
    assert HostMatches("a").host_pattern.pattern == "a$"
    assert HostMatches("a$").host_pattern.pattern == "a$"
    assert HostMatches(r"a\$").host_pattern.pattern == r"a\$$"
    assert HostMatches(r"a\\$").host_pattern.pattern == r"a\\$"


def test_default_host() -> None:
    application = SimpleNamespace(default_host="www.example.com")
    matcher = DefaultHostMatches(application, re.compile(r"www\.example\.com$"))
    assert matcher.match(request(host="10.0.0.1")) == {}
    assert matcher.match(request(host="10.0.0.1", X_Real_Ip="10.0.0.2")) is None
    application.default_host = "other"
    assert matcher.match(request()) is None
    application.default_host = None
    assert matcher.match(request()) is None


# --- paths ---


@pytest.mark.parametrize(
    ("pattern", "uri", "found"),
    [
        ("/a", "/a", {}),
        ("/a", "/a?b=/c", {}),
        ("/a", "/ab", None),
        ("/a$", "/a", {}),
        (r"/a/(\d+)", "/a/12", {"path_args": [b"12"], "path_kwargs": {}}),
        (r"/a/(?P<x>.*)", "/a/1/2", {"path_args": [], "path_kwargs": {"x": b"1/2"}}),
        (r"/(a)?(b)?", "/b", {"path_args": [None, b"b"], "path_kwargs": {}}),
        (r"/(?P<x>a)?(?P<y>b)?", "/b", {"path_args": [], "path_kwargs": {"x": None, "y": b"b"}}),
        (r"/((a)b)", "/ab", {"path_args": [b"ab", b"a"], "path_kwargs": {}}),
        ("/(.*)", "/%41%ff+%2F", {"path_args": [b"A\xff+/"], "path_kwargs": {}}),
        ("/%41(.*)", "/Ax", None),
        ("", "/", None),
        (re.compile("/x(.)", re.IGNORECASE), "/XY/z", {"path_args": [b"Y"], "path_kwargs": {}}),
    ],
)
def test_path(pattern: Any, uri: str, found: dict[str, Any] | None) -> None:
    assert PathMatches(pattern).match(request(uri)) == found


def test_path_groups_are_all_named_or_all_positional() -> None:
    with pytest.raises(ValueError, match="all named or all positional: '/(.)"):
        PathMatches(r"/(.)/(?P<x>.*)")


@pytest.mark.parametrize("pattern", [b"/a", re.compile(b"/a"), None, 5])
def test_pattern_is_text(pattern: Any) -> None:
    with pytest.raises(TypeError, match="a pattern is text"):
        PathMatches(pattern)


@pytest.mark.parametrize(
    ("pattern", "template", "count"),
    [
        ("/a", "/a", 0),
        ("^/a$", "/a", 0),
        (r"/favicon\.ico", "/favicon.ico", 0),
        (r"/a/(\d+)", "/a/%s", 1),
        (r"/(?P<y>[0-9]{4})/(?P<m>[0-9]{2})", "/%s/%s", 2),
        (r"/x/([^/)]*)/([]()]*)/(\))", "/x/%s/%s/%s", 3),
        (r"/(\d+(?:-\d+)?)", "/%s", 1),
        (r"/\(x\)/%41", "/(x)/%%41", 0),
        ("/a/?", "/a/?", 0),
        (r"/((a)b)", None, None),
        (r"/(?:a|b)/(x)", None, None),
        (r"/v\d/(x)", None, None),
        (r"/[(](x)", None, None),
        (r"/[(]x", None, None),
        (r"/[()](x)", None, None),
        (r"/a\$", "/a$", 0),
    ],
)
def test_template(pattern: str, template: str | None, count: int | None) -> None:
    matcher = PathMatches(pattern)
    assert (matcher._path, matcher._group_count) == (template, count)


@pytest.mark.parametrize(
    ("pattern", "args", "url"),
    [
        ("/a", (), "/a"),
        ("/%41(.*)", ("b",), "/%41b"),
        ("/%41", (), "/%41"),
        (r"/a/(\d+)", (1,), "/a/1"),
        ("/a/(.*)", ("é/ ?&%+~",), "/a/%C3%A9/%20%3F%26%25%2B~"),
        ("/a/(.*)", (b"\xff/x",), "/a/%FF/x"),
        ("(.*)/(.*)", ("/a", None), "/a/None"),
    ],
)
def test_reverse(pattern: str, args: tuple[Any, ...], url: str) -> None:
    assert PathMatches(pattern).reverse(*args) == url


def test_reverse_that_cannot_be() -> None:
    with pytest.raises(ValueError, match=r"Cannot reverse url regex /\(\(a\)b\)\$: .*nested"):
        PathMatches("/((a)b)").reverse("ab", "a")
    with pytest.raises(
        ValueError, match=r"required number of arguments not found: /\(a\)\$ has 1 groups, not 2"
    ):
        PathMatches("/(a)").reverse("a", "b")
