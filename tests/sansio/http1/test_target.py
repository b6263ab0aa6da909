"""Targets other than a path; which of them a whole request may have is in test_head.py."""

import pytest

from webfw.sansio.errors import RemoteProtocolError
from webfw.sansio.http1 import origin_form
from webfw.sansio.http1.target import authority_of


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/", "/"),
        ("/a?b", "/a?b"),
        ("//a", "//a"),
        ("/http://a/b", "/http://a/b"),
        ("*", "*"),
        ("example.com:443", "example.com:443"),
        ("http://example.com", "/"),
        ("http://example.com/", "/"),
        ("http://example.com?a=/b", "/?a=/b"),
        ("HTTPS://example.com:8443/a/b?c=http://d", "/a/b?c=http://d"),
        ("http://[::1]/a", "/a"),
        ("", ""),
    ],
)
def test_origin_form(target: str, path: str) -> None:
    assert origin_form(target) == path


@pytest.mark.parametrize(
    ("method", "target", "authority"),
    [
        ("GET", "/", ""),
        ("OPTIONS", "*", ""),
        ("OPTIONS", "http://a.com", "a.com"),
        ("GET", "http://a.com:8080/b", "a.com:8080"),
        ("GET", "https://[::1]:8080?b", "[::1]:8080"),
        ("CONNECT", "a.com:443", "a.com:443"),
        ("CONNECT", "[::1]:443", "[::1]:443"),
    ],
)
def test_authority(method: str, target: str, authority: str) -> None:
    assert authority_of(method, target) == authority


@pytest.mark.parametrize(
    ("method", "target", "message"),
    [
        ("CONNECT", "/", "CONNECT needs host:port, not '/'"),
        ("CONNECT", "a.com:0", "CONNECT needs host:port"),
        ("GET", "*", "OPTIONS only"),
        ("GET", "a.com:443", "malformed request target: 'a.com:443'"),
        ("GET", "http://", "malformed host in request target: ''"),
        ("GET", "http://me@a.com/", "malformed host in request target: 'me@a.com'"),
    ],
)
def test_refused(method: str, target: str, message: str) -> None:
    with pytest.raises(RemoteProtocolError, match=".") as caught:
        authority_of(method, target)
    assert message in str(caught.value)
    assert caught.value.status == 400
