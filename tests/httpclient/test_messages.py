"""Tests of webfw.httpclient.messages."""

import datetime
import gc
import inspect
import io
import time
import weakref

import pytest

from webfw.httpclient import DEFAULTS, HTTPClientError, HTTPRequest, HTTPResponse, with_defaults
from webfw.httputil import HTTPHeaders


def request() -> HTTPRequest:
    return HTTPRequest("http://a.test/")


# --- requests ---


def test_what_is_left_out_is_left_open() -> None:
    made = request()
    assert (made.url, made.method, made.body) == ("http://a.test/", "GET", None)
    assert type(made.headers) is HTTPHeaders
    assert not made.expect_100_continue
    assert abs(made.start_time - time.time()) < 5
    for name in DEFAULTS:
        assert getattr(made, name) is None
    assert repr(made) == "<HTTPRequest GET http://a.test/>"


def test_each_parameter_is_an_attribute() -> None:
    special = {"self", "headers", "body", "use_gzip", "if_modified_since"}
    names = [name for name in inspect.signature(HTTPRequest.__init__).parameters if name not in special]
    values = {name: object() for name in names}
    made = HTTPRequest(**values)  # type: ignore[arg-type]
    assert {name: getattr(made, name) for name in names} == values


def test_headers() -> None:
    given = HTTPHeaders({"A": "b"})
    assert HTTPRequest("u", headers=given).headers is given
    made = HTTPRequest("u", headers={"a": "b"})
    assert made.headers["A"] == "b"
    made.headers = {"c": "d"}  # type: ignore[assignment]
    assert list(made.headers.get_all()) == [("C", "d")]
    made.headers = None  # type: ignore[assignment]
    assert list(made.headers.get_all()) == []


def test_body() -> None:
    made = HTTPRequest("u", method="POST", body="ä")
    assert made.body == b"\xc3\xa4"
    made.body = b"x"
    assert made.body == b"x"
    made.body = None
    assert made.body is None


@pytest.mark.parametrize("when", [0, 0.0, datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)])
def test_if_modified_since(when: float | datetime.datetime) -> None:
    given = HTTPHeaders({"A": "b"})
    made = HTTPRequest("u", headers=given, if_modified_since=when)
    assert made.headers["If-Modified-Since"] == "Thu, 01 Jan 1970 00:00:00 GMT"
    assert made.headers["A"] == "b"
    assert "If-Modified-Since" not in given


@pytest.mark.parametrize(
    ("use_gzip", "decompress_response", "means"),
    [(None, None, None), (False, None, False), (True, False, False), (False, True, True)],
)
def test_use_gzip_is_the_old_name(
    use_gzip: bool | None, decompress_response: bool | None, means: bool | None
) -> None:
    made = HTTPRequest("u", use_gzip=use_gzip, decompress_response=decompress_response)
    assert made.decompress_response is means


def test_an_unknown_parameter_is_refused() -> None:
    with pytest.raises(TypeError, match="timeout"):
        HTTPRequest("u", timeout=1)  # type: ignore[call-arg]


def test_defaults_fill_what_is_open() -> None:
    made = HTTPRequest("http://a.test/", request_timeout=0, validate_cert=False)
    filled = with_defaults(made)
    assert type(filled) is HTTPRequest
    assert (filled.url, filled.connect_timeout, filled.request_timeout) == ("http://a.test/", 20.0, 0)
    assert (filled.validate_cert, filled.follow_redirects, filled.max_redirects) == (False, True, 5)
    assert made.connect_timeout is None
    other = with_defaults(made, {"user_agent": "x", "request_timeout": 7})
    assert (other.user_agent, other.request_timeout, other.connect_timeout) == ("x", 0, None)


# --- responses ---


def test_a_response_of_nothing() -> None:
    asked = request()
    response = HTTPResponse(asked, 200)
    assert response.request is asked
    assert (response.code, response.reason, response.effective_url) == (200, "OK", "http://a.test/")
    assert (response.buffer, response.body, response.time_info) == (None, b"", {})
    assert (response.request_time, response.start_time, response.error) == (None, None, None)
    assert list(response.headers.get_all()) == []
    response.rethrow()
    assert repr(response) == "<HTTPResponse 200 OK for http://a.test/>"


def test_a_response_of_everything() -> None:
    headers = HTTPHeaders({"A": "b"})
    response = HTTPResponse(
        request(),
        201,
        headers,
        io.BytesIO(b"body"),
        "http://b.test/",
        request_time=1.5,
        time_info={"queue": 0.5},
        reason="Made",
        start_time=3.0,
    )
    assert response.headers is headers
    assert (response.body, response.body, response.buffer.read()) == (b"body", b"body", b"body")  # type: ignore[union-attr]
    assert (response.effective_url, response.reason) == ("http://b.test/", "Made")
    assert (response.request_time, response.time_info, response.start_time) == (1.5, {"queue": 0.5}, 3.0)


@pytest.mark.parametrize(
    ("code", "text"), [(100, "Continue"), (304, "Not Modified"), (404, "Not Found"), (599, "Unknown")]
)
def test_any_other_status_is_an_error(code: int, text: str) -> None:
    response = HTTPResponse(request(), code)
    with pytest.raises(HTTPClientError, match=rf"^HTTP {code}: {text}$") as caught:
        response.rethrow()
    assert caught.value.response is response
    assert isinstance(response.error, HTTPClientError)


def test_the_reason_is_the_message_of_the_error() -> None:
    assert str(HTTPResponse(request(), 404, reason="Gone fishing").error) == "HTTP 404: Gone fishing"


def test_an_error_of_its_own() -> None:
    error = ValueError("no")
    response = HTTPResponse(request(), 200, error=error)
    assert response.error is error
    with pytest.raises(ValueError, match="no"):
        response.rethrow()
    response.error = None
    assert response.error is None


def test_a_failed_response_is_freed_at_once() -> None:
    """Without the collector of cycles."""
    response = HTTPResponse(request(), 404)
    assert response.error is not None
    gone = weakref.ref(response)
    gc.disable()
    try:
        del response
        assert gone() is None
    finally:
        gc.enable()


def test_no_password_in_a_log() -> None:
    request = HTTPRequest("http://u:s@cret@a.test/?at=b@c")
    assert repr(request) == "<HTTPRequest GET http://***@a.test/?at=b@c>"
    assert repr(HTTPResponse(request, 200)) == "<HTTPResponse 200 OK for http://***@a.test/?at=b@c>"
    assert repr(HTTPRequest("http://a.test/?at=b@c")) == "<HTTPRequest GET http://a.test/?at=b@c>"
