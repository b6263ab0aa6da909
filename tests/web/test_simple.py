import asyncio
from collections.abc import Awaitable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.httpserver.exchange import Exchange
from webfw.httputil import (
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    HTTPServerRequest,
    RequestStartLine,
)
from webfw.web.errors import HTTPError
from webfw.web.simple import ErrorHandler, FallbackHandler, RedirectHandler, _origin


class Answer(Exchange):
    def __init__(self) -> None:
        self.status = 0
        self.headers = HTTPHeaders()

    def respond(self, status: int, reason: str, headers: HTTPHeaders, body: bytes) -> None:
        self.status, self.headers = status, headers


def make(cls: Any, uri: str = "/", method: str = "GET", body: bytes = b"", **arguments: Any) -> Any:
    request = HTTPServerRequest(
        start_line=RequestStartLine(method, uri, "HTTP/1.1"),
        headers=HTTPHeaders({"Host": "example.com"}),
        connection=Answer(),
        body=body,
    )
    application: Any = SimpleNamespace(settings={}, log_request=lambda handler: None)
    return cls(application, request, **arguments)


# --- errors ---


def test_an_error_for_every_request() -> None:
    handler = make(ErrorHandler, status_code=404)
    with pytest.raises(HTTPError) as caught:
        handler.prepare()
    assert caught.value.status_code == 404
    handler.check_xsrf_cookie()
    assert handler.check_trusted_origin("https://anywhere.example")


# --- redirects ---


def redirect(url: str, *groups: str, uri: str = "/", permanent: bool = True, **named: str) -> tuple[int, str]:
    handler = make(RedirectHandler, uri, url=url, permanent=permanent)
    handler.get(*groups, **named)
    answer = handler.request.connection
    return answer.status, answer.headers["Location"]


def test_redirects() -> None:
    assert redirect("/new") == (301, "/new")
    assert redirect("/new", permanent=False) == (302, "/new")
    assert redirect("/photos/{0}/{1}", "a", "b") == (301, "/photos/a/b")
    assert redirect("/photos/{name}", name="a") == (301, "/photos/a")
    assert redirect("https://other.example/{0}", "a/b") == (301, "https://other.example/a/b")
    assert redirect("{0}", "foo") == (301, "foo")
    assert redirect("https://other.example{0}", "/a") == (301, "https://other.example/a")
    assert redirect("https://other.example{path}", path="") == (301, "https://other.example")


def test_the_query_is_kept() -> None:
    assert redirect("/new", uri="/?a=1&b=2&a=3&c=")[1].split("?")[1].split("&") == ["a=1", "a=3", "b=2", "c="]
    assert redirect("/new?x=1#frag", uri="/?a=%2F%20")[1] == "/new?x=1&a=%2F+#frag"
    assert redirect("/new", uri="/?a=%ff")[1] == "/new?a=%FF"


def test_head_redirects_too() -> None:
    assert RedirectHandler.head is RedirectHandler.get


@pytest.mark.parametrize(
    ("group", "location"),
    [
        ("a b", "/a%20b"),
        ("\u00e4", "/%C3%A4"),
        ("a%20b", "/a%20b"),
        ('x"<>', "/x%22%3C%3E"),
        ("a\r\nb", "/a%0D%0Ab"),
    ],
)
def test_what_may_not_stand_in_a_url_is_encoded(group: str, location: str) -> None:
    assert redirect("/{0}", group)[1] == location


@pytest.mark.parametrize(
    ("url", "group"),
    [
        ("/{0}", "/evil.com"),
        ("/{0}", "\\evil.com"),
        ("/{0}", "\t/evil.com"),
        ("/{0}", "//evil.com"),
        ("{0}", "//evil.com"),
        ("{0}", "\\\\evil.com"),
        ("{0}", "///evil.com"),
        ("{0}", " //evil.com"),
        ("{0}", "\x01//evil.com"),
        ("{0}", "h\nttps://evil.com"),
        ("{0}", "javascript:alert(1)"),
        ("{0}", "https:evil.com"),
        ("https://example.com{0}", ".evil.com"),
        ("https://example.com{0}", "@evil.com"),
        ("https://{0}.example.com/", "evil.com/"),
        ("https://{0}", "evil.com"),
    ],
)
def test_the_client_does_not_choose_the_site(url: str, group: str) -> None:
    with pytest.raises(HTTPError) as caught:
        redirect(url, group)
    assert caught.value.status_code == 400


@given(
    st.lists(
        st.sampled_from(["/", "\\", "evil.com", ":", "@", "http", "\t", " ", ".", "?", "#", "a"]), max_size=7
    )
)
def test_no_group_leads_away(pieces: list[str]) -> None:
    try:
        location = redirect("/{0}", "".join(pieces))[1]
    except HTTPError:
        return
    # A browser takes a backslash for a slash, and any number of slashes for two.
    assert location.startswith("/")
    assert not location.replace("\\", "/").startswith("//")


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("/a", ("", None)),
        ("a:b", ("a", None)),
        ("HTTPS://Ex.com:8/x?y#z", ("https", "Ex.com:8")),
        ("http:\\\\ex.com\\x", ("http", "ex.com")),
        ("//ex.com?x", ("", "ex.com")),
        ("", ("", None)),
        ("//", ("", "")),
    ],
)
def test_origins_as_browsers_see_them(url: str, origin: tuple[str, str | None]) -> None:
    assert _origin(url) == origin


# --- another application ---


class Finishing(FallbackHandler):
    on_finish_calls = 0

    def on_finish(self) -> None:
        self.on_finish_calls += 1


def test_a_callable_takes_the_request() -> None:
    taken: list[HTTPServerRequest] = []
    handler = make(Finishing, fallback=taken.append)
    assert handler.prepare() is None
    assert taken == [handler.request]
    assert handler._finished
    assert handler.on_finish_calls == 1


class Delegate(HTTPServerConnectionDelegate, HTTPMessageDelegate):
    """A router and what it routes to; `slow` makes it return awaitables."""

    def __init__(self, slow: bool) -> None:
        self.slow = slow
        self.seen: list[Any] = []

    def _note(self, *what: Any) -> Awaitable[None] | None:
        self.seen.append(what)
        return asyncio.sleep(0) if self.slow else None

    def start_request(self, server_conn: object, request_conn: Any) -> HTTPMessageDelegate:
        self.seen.append(("start", type(request_conn)))
        return self

    def headers_received(self, start_line: Any, headers: HTTPHeaders) -> Awaitable[None] | None:
        return self._note("headers", tuple(start_line), headers["Host"])

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return self._note("data", chunk)

    def finish(self) -> None:
        self.seen.append("finish")


@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.parametrize("body", [b"", b"body"])
async def test_a_delegate_takes_the_message(slow: bool, body: bytes) -> None:
    fallback = Delegate(slow)
    handler = make(Finishing, "/a?b", "POST", body, fallback=fallback)
    await handler.prepare()
    data = [("data", body)] if body else []
    line = ("POST", "/a?b", "HTTP/1.1")
    assert fallback.seen == [("start", Answer), ("headers", line, "example.com"), *data, "finish"]
    assert handler._finished
    assert handler.on_finish_calls == 1
