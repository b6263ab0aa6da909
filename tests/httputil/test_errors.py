"""Each error says whose fault it is and what to answer."""

import pickle

from webfw.httputil import HTTPInputError, HTTPOutputError, RangeNotSatisfiable
from webfw.sansio.errors import LocalProtocolError, RemoteProtocolError


def test_input_error_is_the_peers() -> None:
    assert issubclass(HTTPInputError, RemoteProtocolError)
    assert HTTPInputError().status == 400
    assert HTTPInputError("x").args == ("x",)
    assert HTTPInputError("x", 413).status == 413


def test_output_error_is_ours() -> None:
    assert issubclass(HTTPOutputError, LocalProtocolError)


def test_unsatisfiable_range() -> None:
    error = pickle.loads(pickle.dumps(RangeNotSatisfiable(47)))
    assert (error.status, error.size) == (416, 47)
    assert "47" in str(error)
