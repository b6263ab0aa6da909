"""What an application says of wrong settings when it is made: see webfw/web/livesettings.py."""

import re
from pathlib import Path
from typing import Any

import pytest

from webfw.pubsub import MemoryBroker
from webfw.web import Application
from webfw.web.livesettings import _KNOWN


@pytest.mark.parametrize(
    "settings",
    [
        {"longpoll_timeout": None, "websocket_ping_interval": None, "websocket_ping_timeout": None},
        {
            "drain_spread": 0,
            "eventsource_retry": 500,
            "longpoll_timeout": 0.5,
            "websocket_queue_policy": "close",
        },
        {"broker": None},
        {"broker": "redis://127.0.0.1"},
        {"broker": MemoryBroker()},
        {"database": object(), "websocket_hub": "mine", "broker_url": 5, "brook": 1},
    ],
)
def test_right_settings(settings: dict[str, Any]) -> None:
    assert Application([], **settings).settings == settings


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("longpoll_timeout", "25", TypeError),
        ("eventsource_retry", None, TypeError),
        ("eventsource_retry", "2s", TypeError),
        ("websocket_max_message_size", "1M", TypeError),
        ("websocket_ping_interval", True, TypeError),
        ("websocket_ping_timeout", -1, ValueError),
        ("drain_spread", float("nan"), ValueError),
        ("websocket_queue_policy", "drop", ValueError),
        ("websocket_queue_policy", ["close"], ValueError),
        ("broker", 5, TypeError),
    ],
)
def test_a_wrong_setting_is_named_at_once(name: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"^{name} must"):
        Application([], **{name: value})


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("websocket_ping_intervall", "websocket_ping_interval"),
        ("websockets_ping_interval", "websocket_ping_interval"),
        ("event_source_retry", "eventsource_retry"),
        ("longpolling_timeout", "longpoll_timeout"),
        ("brokers", "broker"),
        ("brocker", "broker"),
    ],
)
def test_a_misspelt_setting_is_logged(expect_log: Any, name: str, meant: str) -> None:
    with expect_log("webfw.application", f"setting {name} has no effect; is {meant} meant", count=1):
        Application([], **{name: "x"})


def test_the_reference_has_them_all() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/reference/settings.md").read_text(encoding="utf-8")
    part = page.split("## Real time")[1].split("\n## ")[0]
    assert sorted(re.findall(r"^\| `(\w+)`", part, re.MULTILINE)) == _KNOWN
