"""Tests of webfw.httpclient.redirects."""

from typing import Any

import pytest

from webfw.httpclient import HTTPRequest, with_defaults
from webfw.httpclient.outgoing import Outgoing
from webfw.httpclient.redirects import CannotFollowError, follow


async def nothing(write: Any) -> None:
    pass


def sent(url: str = "http://a.test/b/c?d", method: str = "GET", **kwargs: Any) -> Outgoing:
    return Outgoing.of(with_defaults(HTTPRequest(url, method, **kwargs)))


@pytest.mark.parametrize(
    ("status", "before", "after"),
    [
        (301, "GET", "GET"),
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "POST", "GET"),
        (307, "POST", "POST"),
        (308, "POST", "POST"),
        (301, "PUT", "PUT"),
        (302, "DELETE", "DELETE"),
        (303, "PUT", "GET"),
        (303, "DELETE", "GET"),
        (303, "HEAD", "HEAD"),
        (302, "HEAD", "HEAD"),
    ],
)
def test_methods(status: int, before: str, after: str) -> None:
    has_body = before in ("POST", "PUT")
    message = sent(method=before, body="x" if has_body else None, headers={"Content-Type": "a/b", "X": "y"})
    following = follow(message, status, "/e")
    assert following.url == "http://a.test/e"
    assert following.method == after
    kept = before == after
    assert following.body == (b"x" if has_body and kept else None)
    assert ("Content-Type" in following.headers) == kept
    assert following.headers["X"] == "y"
    assert message.headers["Content-Type"] == "a/b"


def test_no_password_in_a_message() -> None:
    for message, location in (
        (sent("https://u:secret@a.test/", "PUT", body_producer=nothing), "/b"),
        (sent("https://a.test/", "PUT", body=b"x"), "http://u:secret@b.test/"),
        (sent(), "ftp://u:secret@b.test/"),
    ):
        with pytest.raises(
            CannotFollowError, match=r"redirected to '(https|http|ftp)://\*\*\*@[ab]\.test/"
        ) as raised:
            follow(message, 307, location)
        assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("e", "http://a.test/b/e"),
        ("?e", "http://a.test/b/c?e"),
        ("//f.test/g", "http://f.test/g"),
        ("https://f.test", "https://f.test"),
        ("/e#f", "http://a.test/e#f"),
        ("/ü".encode().decode("latin-1"), "http://a.test/ü"),
        ("/ü", "http://a.test/ü"),
    ],
)
def test_locations(location: str, url: str) -> None:
    assert follow(sent(), 302, location).url == url


@pytest.mark.parametrize(
    ("url", "location", "same"),
    [
        ("http://a.test/", "/x", True),
        ("http://a.test/", "http://A.TEST:80/", True),
        ("http://a.test/", "http://b.test/", False),
        ("http://a.test/", "http://a.test:81/", False),
        ("http://a.test/", "https://a.test/", False),
        ("https://a.test/", "http://a.test/", False),
        ("http://a.test/", "http://a.test.b.test/", False),
    ],
)
def test_what_was_for_one_server_is_not_for_another(url: str, location: str, same: bool) -> None:
    headers = {"authorization": "a", "COOKIE": "b", "Host": "c", "Proxy-Authorization": "d", "X": "e"}
    message = sent(url, auth_username="u", auth_password="p", headers=headers)
    following = follow(message, 302, location)
    assert following.credentials == (("u", "p") if same else None)
    assert sorted(following.headers) == sorted(message.headers if same else ["X"])
    assert len(message.headers) == 5


def test_credentials_in_a_location() -> None:
    assert follow(sent(), 302, "http://v:q@b.test/").credentials == ("v", "q")


def test_credentials_in_the_address_stay_for_its_server() -> None:
    message = sent("http://u:p@a.test/")
    assert follow(message, 302, "/x").credentials == ("u", "p")
    assert follow(message, 302, "http://a.test/x").credentials == ("u", "p")
    assert follow(message, 302, "http://b.test/x").credentials is None


@pytest.mark.parametrize(
    ("message", "location", "why"),
    [
        (sent(), "ftp://a.test/", "redirected to 'ftp://a.test/': the scheme must .* 'ftp'"),
        (sent(), "javascript:x", "redirected to 'javascript:x'"),
        (sent(), "http://[::1", "malformed URL|Invalid"),
        (sent(), "http+unix://%2Frun%2Fdocker.sock/", "to the Unix domain socket /run/docker.sock"),
        (sent("http+unix://%2Fa/"), "http+unix://%2Fb/", "to the Unix domain socket /b"),
        (sent(method="PUT", body_producer=nothing), "/x", "body_producer cannot send the body again"),
        (sent("https://a.test/", "PUT", body="x"), "http://a.test/", "without TLS"),
    ],
)
def test_what_cannot_be_followed(message: Outgoing, location: str, why: str) -> None:
    with pytest.raises(CannotFollowError, match=why):
        follow(message, 307, location)


def test_a_producer_whose_body_is_not_wanted_any_more() -> None:
    following = follow(sent(method="POST", body_producer=nothing), 303, "/x")
    assert (following.method, following.producer) == ("GET", None)


def test_a_unix_socket_keeps_its_place() -> None:
    following = follow(sent("http+unix://%2Frun%2Fx.sock/a/b"), 302, "/c")
    assert following.place.unix_path == "/run/x.sock"
    assert following.place.target == "/c"
    assert follow(sent("http+unix://%2Frun%2Fx.sock/a/b"), 302, "http://localhost/c") == following
    other = follow(sent("http+unix://%2Frun%2Fx.sock/a", auth_username="u"), 302, "http://localhost:81/c")
    assert (other.place.unix_path, other.place.port, other.credentials) == (None, 81, None)
