"""Tests of webfw.websocket.settings."""

from typing import Any

import pytest

from webfw.websocket import ConnectionSettings


def test_defaults() -> None:
    settings = ConnectionSettings()
    assert settings.max_message_size == 10 * 1024 * 1024
    assert settings.queue_policy == "wait"
    assert settings.pong_timeout == 0


def test_a_pong_has_as_long_as_the_interval() -> None:
    assert ConnectionSettings(ping_interval=7).pong_timeout == 7
    assert ConnectionSettings(ping_interval=7, ping_timeout=3).pong_timeout == 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"ping_interval": -1},
        {"ping_interval": float("nan")},
        {"ping_timeout": -1},
        {"max_message_size": -1},
        {"max_queue_size": -1},
        {"close_timeout": -0.1},
        {"write_timeout": -1},
        {"queue_policy": "drop"},
    ],
)
def test_a_wrong_value_names_itself(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        ConnectionSettings(**wrong)
