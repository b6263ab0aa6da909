from typing import Any

import pytest

from webfw.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine
from webfw.web.decorators import (
    _has_stream_request_body,
    addslash,
    authenticated,
    removeslash,
    stream_request_body,
)
from webfw.web.errors import HTTPError
from webfw.web.state import HandlerState


class Handler(HandlerState):
    current_user = None
    login_url = "/login"

    def __init__(self, uri: str = "/", method: str = "GET") -> None:
        self.request = HTTPServerRequest(
            start_line=RequestStartLine(method, uri, "HTTP/1.1"), headers=HTTPHeaders({"Host": "ex.com"})
        )
        self.redirected: Any = None

    def get_login_url(self) -> str:
        return self.login_url

    def redirect(self, url: str, permanent: bool = False, status: int | None = None) -> None:
        self.redirected = (url, permanent)

    @authenticated
    async def private(self, *args: Any, **kwargs: Any) -> Any:
        """For users."""
        return args, kwargs

    @addslash
    def slash(self, *args: Any) -> Any:
        return args

    @removeslash
    def bare(self, *args: Any) -> Any:
        return args


# --- authenticated ---


async def test_user_passes() -> None:
    one = Handler(method="POST")
    one.current_user = "me"  # type: ignore[assignment]
    assert await one.private(1, x=2) == ((1,), {"x": 2})
    assert one.redirected is None
    assert Handler.private.__doc__ == "For users."


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("login", "uri", "url"),
    [
        ("/login", "/a", "/login?next=%2Fa"),
        ("/login", "/a?x=1&y=%20", "/login?next=%2Fa%3Fx%3D1%26y%3D%2520"),
        ("/login?x=1", "/a", "/login?x=1"),
        ("/login#top", "/a", "/login?next=%2Fa#top"),
        ("https://id.com/login", "/a?b", "https://id.com/login?next=http%3A%2F%2Fex.com%2Fa%3Fb"),
        ("//id.com/login", "/a", "//id.com/login?next=http%3A%2F%2Fex.com%2Fa"),
        ("/login", "http://evil.com/a?b", "/login?next=%2Fa%3Fb"),
        ("/login", "http://evil.com", "/login?next=%2F"),
    ],
)
def test_others_are_sent_to_log_in(method: str, login: str, uri: str, url: str) -> None:
    one = Handler(uri, method)
    one.login_url = login
    assert one.private() is None
    assert one.redirected == (url, False)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_what_cannot_be_repeated_is_forbidden(method: str) -> None:
    with pytest.raises(HTTPError) as caught:
        Handler("/a", method).private()
    assert caught.value.status_code == 403


# --- slashes ---


@pytest.mark.parametrize(
    ("name", "uri", "url"),
    [
        ("slash", "/s", "/s/"),
        ("slash", "/s?x=1", "/s/?x=1"),
        ("slash", "/s?", "/s/"),
        ("slash", "/a%20b?c=%20", "/a%20b/?c=%20"),
        ("slash", "/%2fevil.com", "/%2fevil.com/"),
        ("slash", "/s/", None),
        ("slash", "/", None),
        ("slash", "/s/?x", None),
        ("bare", "/r/", "/r"),
        ("bare", "/r///?a", "/r?a"),
        ("bare", "/r", None),
        ("bare", "/", None),
        ("bare", "//", None),
        ("bare", "http://evil.com/r/", "/r"),
    ],
)
def test_slashes(name: str, uri: str, url: str | None) -> None:
    for method in ("GET", "HEAD"):
        one = Handler(uri, method)
        assert getattr(one, name)("x") == (("x",) if url is None else None)
        assert one.redirected == (None if url is None else (url, True))
    if url is None:
        assert getattr(Handler(uri, "POST"), name)("x") == ("x",)
        return
    with pytest.raises(HTTPError) as caught:
        getattr(Handler(uri, "POST"), name)()
    assert caught.value.status_code == 404


@pytest.mark.parametrize(
    ("name", "uri"),
    [
        ("slash", "//evil.com/s"),
        ("slash", "///evil.com"),
        ("slash", "/\\evil.com"),
        ("slash", "http://ex.com//evil.com/s"),
        ("bare", "//evil.com/"),
        ("bare", "//evil.com//"),
        ("bare", "/\\evil.com/"),
        ("bare", "http://ex.com//evil.com/"),
    ],
)
def test_no_redirect_to_another_site(name: str, uri: str) -> None:
    one = Handler(uri)
    with pytest.raises(HTTPError, match="cannot redirect path with two initial slashes") as caught:
        getattr(one, name)()
    assert caught.value.status_code == 403
    assert one.redirected is None


def test_target_that_is_no_path() -> None:
    with pytest.raises(HTTPError):
        Handler("*").slash()


# --- streamed bodies ---


def test_stream_request_body() -> None:
    class Plain(HandlerState):
        pass

    class Streamed(HandlerState):
        pass

    assert stream_request_body(Streamed) is Streamed
    assert _has_stream_request_body(Streamed)
    assert not _has_stream_request_body(Plain)
    for other in (int, 5):
        with pytest.raises(TypeError, match="expected subclass of RequestHandler, got"):
            stream_request_body(other)  # type: ignore[type-var]
        with pytest.raises(TypeError, match="expected subclass of RequestHandler, got"):
            _has_stream_request_body(other)  # type: ignore[arg-type]
