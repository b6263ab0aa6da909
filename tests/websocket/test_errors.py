"""Tests of webfw.websocket.errors."""

import pytest

from webfw.websocket import WebSocketClosedError, WebSocketError


def test_a_closed_connection_is_an_error_of_this_package() -> None:
    with pytest.raises(WebSocketError):
        raise WebSocketClosedError()
