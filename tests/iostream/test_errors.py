"""Tests of webfw.iostream.errors."""

import errno

from webfw.iostream import _ERRNO_CONNRESET, StreamClosedError


def test_a_closed_stream_carries_its_reason() -> None:
    reason = ConnectionResetError("reset")
    error = StreamClosedError(real_error=reason)
    assert isinstance(error, OSError)
    assert str(error) == "Stream is closed"
    assert error.real_error is reason
    assert StreamClosedError().real_error is None


def test_the_numbers_that_mean_the_peer_has_gone() -> None:
    assert errno.ECONNRESET in _ERRNO_CONNRESET
