"""The slow path by itself: what it answers with, and that it does not look at bytes twice."""

import pytest

from webfw.sansio.errors import RemoteProtocolError
from webfw.sansio.http1 import HeadLimits
from webfw.sansio.http1.faults import settle

LIMITS = HeadLimits()
LENIENT = HeadLimits(allow_bare_lf=True)


def test_waits() -> None:
    for data in (b"", b"\r\n\r", b"GET / HTTP/1.1\r\nHost: a\r\n\r"):
        assert settle(data, 0, 0, LIMITS) is None


def test_skips_empty_lines() -> None:
    data = b"xx\r\n\r\nGET / HTTP/1.0\r\n\r\nrest"
    assert settle(data, 2, 2, LIMITS) == (data, 6, 24)


def test_repairs_line_ends() -> None:
    data = b"\nGET / HTTP/1.0\nA: b\r\n\nrest"
    assert settle(data, 0, 0, LENIENT) == (b"GET / HTTP/1.0\r\nA: b\r\n\r\n", 0, 23)


def test_a_response_has_no_empty_lines_before_it() -> None:
    with pytest.raises(RemoteProtocolError, match="malformed HTTP version"):
        settle(b"\r\nHTTP/1.1 200 OK\r\n\r\n", 0, 0, LIMITS, response=True)


def test_long_status_line() -> None:
    with pytest.raises(RemoteProtocolError, match="status line too long") as caught:
        settle(b"HTTP/1.1 200 " + b"a" * 9000, 0, 0, LIMITS, response=True)
    assert caught.value.status == 400


def test_always_decides() -> None:
    """Called with a head that is right, it must not send the parser round in a circle."""
    with pytest.raises(RemoteProtocolError, match="malformed head"):
        settle(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0, 0, LIMITS)


def test_does_not_look_behind_what_was_seen() -> None:
    # A bare LF in the part that an earlier call has passed is not found again: it was refused then.
    data = b"GET / HTTP/1.1\nHost: a"
    assert settle(data, 0, len(data) - 1, LIMITS) is None


def test_fields_are_counted_when_a_line_has_ended() -> None:
    data = b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 101
    for stop in range(len(data)):
        assert settle(data[:stop], 0, max(0, stop - 1), LIMITS) is None
    with pytest.raises(RemoteProtocolError) as caught:
        settle(data, 0, len(data) - 1, LIMITS)
    assert caught.value.status == 431
