import copy
import pickle

import pytest

from webfw.auth import AuthError, AuthHTTPError
from webfw.httpclient import HTTPClientError


def test_plain() -> None:
    error = AuthError("no user")
    assert (str(error), error.host, error.error, error.error_description) == ("no user", None, None, None)
    assert str(AuthError()) == ""


def test_an_answer_that_failed_is_both() -> None:
    """Programs written for Tornado catch the client's error, and look at its status."""
    error = AuthHTTPError(
        "provider.example answered 401", 401, host="provider.example", error="invalid_client"
    )
    assert isinstance(error, AuthError)
    assert isinstance(error, HTTPClientError)
    assert (error.code, error.response, error.message) == (401, None, str(error))
    assert str(error) == "provider.example answered 401"
    assert repr(error) == "AuthHTTPError('provider.example answered 401', 401)"
    assert AuthHTTPError().code == 599


@pytest.mark.parametrize(
    "error",
    [
        AuthError("text", host="h", error="e", error_description="d"),
        AuthHTTPError("text", 400, host="h", error="e", error_description="d"),
    ],
)
def test_copies(error: AuthError) -> None:
    for other in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(other) is type(error)
        assert other.__dict__ == error.__dict__
        assert str(other) == "text"
