"""Tests of webfw.httpclient.curltransfer; what libcurl makes of it is in test_curl."""

import pickle
from typing import Any

import pytest

from webfw.httpclient import HTTPClientError, HTTPRequest, HTTPTimeoutError
from webfw.httpclient.curltransfer import TIMEDOUT, CurlError, CurlTimeoutError, Transfer, failure

DONE = {"namelookup": 0.1, "connect": 0.2, "appconnect": 0.3, "starttransfer": 0.4}


def transfer(limit: int = 100, **kwargs: Any) -> Transfer:
    return Transfer(
        HTTPRequest("http://a.test/", follow_redirects=True, **kwargs), lambda response: None, limit
    )


def feed(it: Transfer, text: str) -> list[int | None]:
    return [it.on_line(line.encode("latin-1")) for line in text.splitlines(keepends=True)]


def test_errors() -> None:
    error = CurlError(6, "no such host")
    assert isinstance(error, HTTPClientError)
    assert (error.code, error.errno, str(error), error.response) == (599, 6, "HTTP 599: no such host", None)
    late = CurlTimeoutError(28, "late")
    assert isinstance(late, HTTPTimeoutError)
    assert isinstance(late, TimeoutError)
    assert (late.code, late.errno, str(late)) == (599, 28, "HTTP 599: late")
    for one in (error, late):
        again = pickle.loads(pickle.dumps(one))
        assert (type(again), again.errno, str(again)) == (type(one), one.errno, str(one))


@pytest.mark.parametrize(
    ("errno", "url", "reached", "step"),
    [
        (6, "http://u:p@h:1/x", 0, "resolving the name of http://h:1"),
        (7, "http://h/", 1, "connecting to http://h"),
        (60, "https://h/", 2, "in the TLS handshake with https://h"),
        (28, "https://h/", 0, "resolving the name of https://h"),
        (28, "https://h/", 1, "connecting to https://h"),
        (28, "https://h/", 2, "in the TLS handshake with https://h"),
        (28, "https://h/", 3, "waiting for the response of https://h"),
        (28, "http://h/", 2, "waiting for the response of http://h"),
        (28, "http://h/", 4, "reading the response of http://h"),
    ],
)
def test_an_error_says_where(errno: int, url: str, reached: int, step: str) -> None:
    times = {name: at if number < reached else 0.0 for number, (name, at) in enumerate(DONE.items())}
    error = failure(errno, "Went wrong", url, times)
    assert (error.errno, error.message) == (errno, f"Went wrong ({step})")
    assert isinstance(error, CurlTimeoutError) is (errno == TIMEDOUT)


def test_an_error_without_a_server_or_words() -> None:
    assert failure(3, "Bad address", "http://[/", DONE).message == "Bad address"
    assert failure(43, "", "http://h/", DONE).message == "libcurl error 43"


def test_only_the_last_head_counts() -> None:
    lines: list[str] = []
    it = transfer(header_callback=lines.append)
    feed(it, "HTTP/1.1 103 Early\r\nLink: a\r\n\r\nHTTP/1.1 302 Go\r\nLocation: /b\r\nX-A: 1\r\n\r\n")
    assert (lines, it.headers["X-A"]) == ([], "1")
    feed(it, "HTTP/2 200 \r\nX-B: 2\r\n\r\n")
    assert lines == ["HTTP/2 200 \r\n", "X-B: 2\r\n", "\r\n"]
    assert (dict(it.headers), it.reason) == ({"X-B": "2"}, None)
    feed(it, "X-Trailer: 3\r\nHTTP-Like: 4\r\n\r\n")
    assert (len(lines), dict(it.headers)) == (3, {"X-B": "2"})


def test_a_redirect_that_leads_nowhere_is_the_response() -> None:
    for text in ("HTTP/1.1 304 Not Modified\r\n\r\n", "HTTP/1.1 302 Go\r\n\r\n"):
        lines: list[str] = []
        feed(transfer(header_callback=lines.append), text)
        assert "".join(lines) == text


def test_a_held_head_comes_with_the_body_or_the_end() -> None:
    for end in (lambda it: it.on_body(b"x"), Transfer.on_end):
        lines: list[str] = []
        it = transfer(header_callback=lines.append)
        feed(it, "HTTP/1.1 302 Go\r\nLocation: /b\r\n\r\n")
        assert not lines
        end(it)
        it.on_end()
        assert len(lines) == 3


@pytest.mark.parametrize("field", ["A b: c", " folded: 1", "no colon", "A: b\x01"])
def test_a_malformed_head_ends_the_transfer(field: str) -> None:
    it = transfer()
    assert feed(it, f"HTTP/1.1 200 OK\r\n{field}\r\n\r\n") == [None, None, -1]
    assert isinstance(it.failure, CurlError)
    assert (it.failure.errno, it.failure.message.split(":")[0]) == (
        8,
        "The head of the response is malformed",
    )


def test_too_large_a_body() -> None:
    it = transfer(limit=4)
    assert (it.on_body(b"abc"), it.on_body(b"d"), it.on_body(b"e")) == (None, None, -1)
    assert isinstance(it.failure, CurlError)
    assert it.failure.errno == 63
    assert it.body is not None
    assert it.body.getvalue() == b"abcd"
