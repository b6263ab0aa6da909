"""Tests of webfw.httpclient.outgoing."""

from typing import Any

import pytest

from webfw.httpclient import HTTPRequest, with_defaults
from webfw.httpclient.outgoing import USER_AGENT, Outgoing, authorization
from webfw.httputil import HTTPHeaders


async def nothing(write: Any) -> None:
    pass


def encoded(url: str = "http://a.test/p", **kwargs: Any) -> list[str]:
    request = with_defaults(HTTPRequest(url, **kwargs))
    text = Outgoing.of(request).encode(request).decode("latin-1")
    assert text.endswith("\r\n\r\n")
    return text[:-4].split("\r\n")


def fields(url: str = "http://a.test/p", **kwargs: Any) -> dict[str, str]:
    lines = encoded(url, **kwargs)[1:]
    found = dict(line.split(": ", 1) for line in lines)
    assert len(found) == len(lines)
    return found


def test_a_plain_request() -> None:
    assert encoded("http://u:p@a.test:81/p?q#f", decompress_response=False) == [
        "GET /p?q HTTP/1.1",
        "Host: a.test:81",
        f"User-Agent: {USER_AGENT}",
        "Authorization: Basic dTpw",
    ]


def test_own_fields_give_way() -> None:
    given = {"Host": "b", "user-agent": "c", "Accept-Encoding": "identity", "X": "ü"}
    assert fields(headers=given, user_agent="d") == {
        "Host": "b",
        "User-Agent": "c",
        "Accept-Encoding": "identity",
        "X": "ü",
    }
    assert fields(user_agent="d")["User-Agent"] == "d"
    assert "gzip" in fields()["Accept-Encoding"]


def test_a_field_that_comes_twice() -> None:
    headers = HTTPHeaders({"X": "1"})
    headers.add("X", "2")
    assert encoded(headers=headers)[-2:] == ["X: 1", "X: 2"]


def test_credentials() -> None:
    assert authorization("a", "ü") == "Basic YTrDvA=="
    assert fields(auth_username="a", auth_password="b")["Authorization"] == "Basic YTpi"
    assert fields(auth_username="a")["Authorization"] == "Basic YTo="
    # What is asked for by the arguments wins over a field, and the address over both.
    given = {"Authorization": "Other"}
    assert fields(auth_username="a", auth_password="b", headers=given)["Authorization"] == "Basic YTpi"
    assert fields("http://u:p@a.test/", auth_username="a", headers=given)["Authorization"] == "Basic dTpw"
    assert fields(headers=given)["Authorization"] == "Other"
    assert given == {"Authorization": "Other"}


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_a_body(method: str) -> None:
    found = fields(method=method, body="ü")
    assert found["Content-Length"] == "2"
    assert ("Content-Type" in found) == (method == "POST")
    assert fields(method=method, body=b"")["Content-Length"] == "0"
    assert fields(method=method, allow_nonstandard_methods=True)["Content-Length"] == "0"
    assert fields(method=method, body="x", headers={"Content-Type": "a/b"})["Content-Type"] == "a/b"
    for other in ("GET", "HEAD", "DELETE", "OPTIONS"):
        assert "Content-Length" not in fields(method=other)


def test_the_program_does_not_say_how_long_a_body_is() -> None:
    given = {"Content-Length": "7", "Transfer-Encoding": "chunked"}
    found = fields(method="POST", body="xx", headers=given)
    assert found["Content-Length"] == "2"
    assert "Transfer-Encoding" not in found
    for name in given:
        assert name not in fields(headers={name: given[name]})
    assert fields(method="PUT", headers=given, allow_nonstandard_methods=True)["Content-Length"] == "0"


def test_a_producer_may() -> None:
    assert fields(method="POST", body_producer=nothing)["Transfer-Encoding"] == "chunked"
    found = fields(method="POST", body_producer=nothing, headers={"Content-Length": "7"})
    assert found["Content-Length"] == "7"
    assert "Transfer-Encoding" not in found


@pytest.mark.parametrize("wrong", ["-1", "x", "\u0661", "1" * 30, ""])
def test_a_producer_who_promises_no_number(wrong: str) -> None:
    with pytest.raises(ValueError, match="is no number of bytes"):
        fields(method="POST", body_producer=nothing, headers={"Content-Length": wrong})


def test_expect() -> None:
    assert fields(method="POST", body="x", expect_100_continue=True)["Expect"] == "100-continue"
    found = fields(method="POST", body="x", expect_100_continue=True, headers={"Expect": "other"})
    assert found["Expect"] == "100-continue"
    assert "Expect" not in fields(expect_100_continue=True)


@pytest.mark.parametrize(
    ("kwargs", "why"),
    [
        ({"method": "POST"}, "Body must not be None for method POST"),
        ({"body": "x"}, "Body must be None for method GET"),
        ({"method": "DELETE", "body": "x"}, "Body must be None for method DELETE"),
        ({"method": "FETCH"}, "^unknown method FETCH"),
        ({"method": "POST", "body": "x", "body_producer": nothing}, "not both"),
        ({"auth_mode": "digest"}, "unsupported auth_mode 'digest'"),
        (
            {"network_interface": "eth0"},
            "Unrecognized IPv4 or IPv6 address for network_interface, got 'eth0'",
        ),
        ({"method": "A B", "allow_nonstandard_methods": True}, "method 'A B' is not a token"),
        ({"method": "A\r\nB", "allow_nonstandard_methods": True}, "is not a token"),
        ({"user_agent": "a\r\nb"}, "field 'User-Agent' has a character"),
        ({"auth_username": "a:b"}, "with a colon"),
    ],
)
def test_what_is_refused(kwargs: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        encoded(**kwargs)


def test_injected_fields_are_refused_when_they_are_given() -> None:
    with pytest.raises(ValueError, match="Invalid header value"):
        HTTPRequest("http://a.test/", headers={"A": "b\r\nc: d"})


def test_an_unknown_method_is_a_key_error_too() -> None:
    with pytest.raises(KeyError):
        encoded(method="FETCH")
    assert encoded(method="FETCH", allow_nonstandard_methods=True)[0] == "FETCH /p HTTP/1.1"


@pytest.mark.parametrize("name", ["proxy_host", "proxy_port", "proxy_username", "proxy_password"])
def test_proxies_are_not_supported(name: str) -> None:
    with pytest.raises(NotImplementedError, match=f"{name} not supported"):
        encoded(**{name: 1 if name == "proxy_port" else "x"})
