"""Tests of webfw.httpclient.origin."""

import ssl
from typing import Any

import pytest

from webfw.httpclient import HTTPRequest, with_defaults
from webfw.httpclient.origin import Place, pool_key, tls_context


def asked(url: str = "https://a.test/", **kwargs: Any) -> HTTPRequest:
    return with_defaults(HTTPRequest(url, **kwargs))


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://a.test./", Place(False, "a.test.", 80, "a.test.", "/")),
        ("http://a.test", Place(False, "a.test", 80, "a.test", "/")),
        ("HTTPS://A.test:443/b?c=d#e", Place(True, "a.test", 443, "a.test", "/b?c=d")),
        ("http://a.test:8080?q", Place(False, "a.test", 8080, "a.test:8080", "/?q")),
        ("http://[::1]:80/", Place(False, "::1", 80, "[::1]", "/")),
        ("https://[fe80::1%25eth0]:1/", Place(True, "fe80::1%eth0", 1, "[fe80::1]:1", "/")),
        ("http://[fe80::1%eth0]/", Place(False, "fe80::1%eth0", 80, "[fe80::1]", "/")),
        ("http://[::FFFF:127.0.0.1]/", Place(False, "::ffff:127.0.0.1", 80, "[::ffff:127.0.0.1]", "/")),
        ("http://u%40:p%3A@a.test/", Place(False, "a.test", 80, "a.test", "/", ("u@", "p:"))),
        ("http://u@a.test/", Place(False, "a.test", 80, "a.test", "/", ("u", ""))),
        ("http://bücher.test/ü ö?ä=%20", Place(False, "xn--bcher-kva.test", 80, "xn--bcher-kva.test",
                                               "/%C3%BC%20%C3%B6?%C3%A4=%20")),
        ("http+unix://%2Frun%2FX.sock/p?q", Place(False, "localhost", 0, "localhost", "/p?q", None, "/run/X.sock")),
    ],
)  # fmt: skip
def test_urls(url: str, place: Place) -> None:
    assert Place.of(url) == place
    assert Place.of(url) == place  # from what is remembered


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "not '' as in ''"),
        ("a.test", "not '' as in 'a.test'"),
        ("ftp://a.test/", "must be http or https or http.unix, not 'ftp' as in 'ftp://a.test/'"),
        ("http:///x", "no host in"),
        ("http://:80/", "no host in"),
        ("http://a.test:99999/", "malformed URL .* out of range"),
        ("http://a.test:b/", "malformed URL"),
        ("http://a.test:0/", "port 0"),
        ("http://[::1/", "malformed URL"),
        ("http://[::1]b.test/", "malformed URL"),
        ("http://b.test[::1]/", "malformed URL"),
        ("http://[v1.x]/", "malformed URL"),
        ("http://[::]@[:]/", "malformed URL"),
        ("http://\uff0f\xad/", r"malformed URL [ -~\uff0f]+$"),
        (r"http://a.test\@b.test/", "malformed URL"),
        ("http://a.test/\r\nX: y", "control character"),
        ("http://a\t.test/", "control character"),
        ("http://a b.test/", "character in the host"),
        ("http://\uff3d/", "character in the host"),  # a fullwidth bracket
        ("http://\uff05" + "41.test/", "character in the host"),  # and percent sign
        ("http://" + "ü" * 70 + ".test/", "is no name"),
        ("http://a..test/", "is no name: a part of it is empty"),
        ("http://./", "is no name: a part of it is empty"),
        ("http://" + "a" * 64 + ".test/", "longer than 63"),
        ("http+unix:///p", "no host in"),
        ("http+unix://a%00b/p", "NUL"),
        ("http://a.test:x/" + "y" * 300, r"y\.\.\.'"),
    ],
)
def test_malformed_urls(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Place.of(url)


def test_no_password_in_a_message() -> None:
    with pytest.raises(ValueError, match=r"'http://\*\*\*@a\.test:x/'"):
        Place.of("http://u:secret@a.test:x/")
    with pytest.raises(ValueError, match=r"in 'ftp://a\.test/\?\.\.\.'"):
        Place.of("ftp://a.test/?token=secret")
    for url in (
        "http://u:sec/ret@a.test/",
        "http:/u:secret@a.test/",
        "//u:secret@a.test/",
        "u:secret@a.test",
        "ftp://b.test/?token=***@a.test&secret",
        "ftp://u:sec?ret@a.test/",
    ):
        with pytest.raises(ValueError, match=r"\*\*\*@(a\.test|\.\.\.)") as raised:
            Place.of(url)
        assert "sec" not in str(raised.value)


def test_other_schemes() -> None:
    ports = {"ws": 80, "wss": 443}
    assert Place.of("wss://a.test/", ports) == Place(True, "a.test", 443, "a.test", "/")
    with pytest.raises(ValueError, match="must be ws or wss, not 'http'"):
        Place.of("http://a.test/", ports)


def test_names_and_origins() -> None:
    assert Place.of("http://a.test/").name == "a.test:80"
    assert Place.of("http://[::1]:8080/").name == "[::1]:8080"
    assert Place.of("http+unix://%2Fs/").name == "/s"
    assert Place.of("http://a.test/").same_origin(Place.of("http://A.test:80/x"))
    for other in ("https://a.test:80/", "http://b.test/", "http://a.test:81/", "http+unix://%2Fa/"):
        assert not Place.of("http://a.test/").same_origin(Place.of(other))


def test_what_makes_connections_different() -> None:
    def key(request: HTTPRequest) -> Any:
        return pool_key(request, Place.of(request.url))

    plain = key(asked())
    assert key(asked("https://a.test/other?path")) == plain
    context = ssl.create_default_context()
    others = [
        asked("http://a.test:443/"),
        asked("https://b.test/"),
        asked("https://a.test:444/"),
        asked("http+unix://a.test/"),
        asked(validate_cert=False),
        asked(ca_certs="a"),
        asked(client_cert="a"),
        asked(client_cert="a", client_key="b"),
        asked(allow_ipv6=False),
        asked(network_interface="127.0.0.1"),
        asked(ssl_options={"ca_certs": "a"}),
        asked(ssl_options={"ca_certs": "b"}),
        asked(ssl_options=context),
        asked(ssl_options=ssl.create_default_context()),
    ]
    assert len({plain, *map(key, others)}) == len(others) + 1
    assert key(asked(ssl_options=context)) == key(asked(ssl_options=context))
    assert hash(key(asked(ssl_options={"certfile": "a", "ca_certs": "b"}))) is not None


def test_contexts() -> None:
    assert tls_context(asked()) is tls_context(asked())
    assert tls_context(asked()).check_hostname
    for no in (False, 0):
        assert tls_context(asked(validate_cert=no)).verify_mode == ssl.CERT_NONE
    assert tls_context(HTTPRequest("https://a.test/")).verify_mode == ssl.CERT_REQUIRED
    context = ssl.create_default_context()
    assert tls_context(asked(ssl_options=context)) is context
    assert tls_context(asked(ssl_options={"cert_reqs": ssl.CERT_NONE})).verify_mode == ssl.CERT_NONE
    with pytest.raises(FileNotFoundError):
        tls_context(asked(ca_certs="/nowhere"))
    with pytest.raises(ValueError, match="unknown ssl_options"):
        tls_context(asked(ssl_options={"ca_cert": "/nowhere"}))
