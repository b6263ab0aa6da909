"""Tests of webfw.httpclient.errors."""

import pickle

import pytest

from webfw.httpclient import (
    HTTPClientError,
    HTTPError,
    HTTPRequest,
    HTTPResponse,
    HTTPStreamClosedError,
    HTTPTimeoutError,
)
from webfw.iostream import StreamClosedError


@pytest.mark.parametrize(
    ("code", "message", "text"),
    [
        (404, None, "HTTP 404: Not Found"),
        (404, "foo", "HTTP 404: foo"),
        (599, None, "HTTP 599: Unknown"),
        (777, None, "HTTP 777: Unknown"),
    ],
)
def test_text(code: int, message: str | None, text: str) -> None:
    error = HTTPClientError(code, message)
    assert (str(error), repr(error), error.code, error.response) == (text, text, code, None)


def test_the_old_name() -> None:
    assert HTTPError is HTTPClientError


def test_the_response_comes_with_it() -> None:
    response = HTTPResponse(HTTPRequest("http://a.test/"), 403)
    error = HTTPClientError(403, response=response)
    assert error.response is response
    assert error.message == "Forbidden"


def test_a_time_out_is_both() -> None:
    error = HTTPTimeoutError("Timeout while waiting")
    assert isinstance(error, HTTPClientError)
    assert isinstance(error, TimeoutError)
    assert (error.code, error.message, error.response) == (599, "Timeout while waiting", None)
    assert (str(error), repr(error)) == ("Timeout while waiting", "HTTP 599: Timeout while waiting")
    assert error.errno is None


def test_a_closed_stream_is_both() -> None:
    cause = ConnectionResetError(104, "reset")
    error = HTTPStreamClosedError("Stream closed", cause)
    assert isinstance(error, HTTPClientError)
    assert isinstance(error, StreamClosedError)
    assert (error.code, str(error), error.real_error) == (599, "Stream closed", cause)
    assert HTTPStreamClosedError("Stream closed").real_error is None
    assert error.errno is None


@pytest.mark.parametrize(
    "error",
    [
        HTTPClientError(404, "x"),
        HTTPTimeoutError("y"),
        HTTPStreamClosedError("z", ConnectionResetError(104, "r")),
    ],
)
def test_errors_can_be_pickled(error: HTTPClientError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.code) == (type(error), str(error), error.code)
