"""The application's settings about clients that stay: are they what they are read as; what they mean may not enter."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from webfw.log import app_log
from webfw.pubsub import Broker

__all__ = ["check_settings"]

#: Settings that are a number, not negative.
_NUMBERS = frozenset(
    {
        "drain_spread",
        "eventsource_heartbeat",
        "eventsource_max_queue_size",
        "eventsource_retry",
        "longpoll_timeout",
        "websocket_close_timeout",
        "websocket_max_message_size",
        "websocket_max_queue_size",
        "websocket_ping_interval",
        "websocket_ping_timeout",
        "websocket_write_timeout",
    }
)
#: Those among them that may be None, for the default.
_OPTIONAL = frozenset(
    {"longpoll_timeout", "websocket_max_message_size", "websocket_ping_interval", "websocket_ping_timeout"}
)
_POLICIES = ("wait", "drop_oldest", "close")
_KNOWN = sorted(_NUMBERS | {"broker", "websocket_queue_policy"})
#: How alike a name must be to one of ours to be taken for it, misspelt (`difflib`).
_ALIKE = 0.85


def check_settings(settings: Mapping[str, Any]) -> None:
    """Find a wrong setting when the application is made, not when the first client comes.

    A name that is nearly one of ours is logged: it may be the application's own, but has no effect.

    :raises TypeError: a setting is of another type.
    :raises ValueError: a number is negative, or the policy does not exist.
    """
    for name, value in settings.items():
        if name in _NUMBERS:
            _check_number(name, value)
        elif name == "websocket_queue_policy":
            if value not in _POLICIES:
                raise ValueError(f"{name} must be 'wait', 'drop_oldest' or 'close', not {value!r}")
        elif name == "broker":
            if not (value is None or isinstance(value, (str, Broker))):
                raise TypeError(f"broker must be a URL or a Broker, not {type(value).__name__}")
        elif meant := get_close_matches(name, _KNOWN, 1, _ALIKE):
            app_log.warning("The setting %s has no effect; is %s meant?", name, meant[0])


def _check_number(name: str, value: Any) -> None:
    if value is None and name in _OPTIONAL:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, not {value!r}")
    if not value >= 0:
        raise ValueError(f"{name} must not be {value!r}")
