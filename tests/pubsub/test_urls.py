"""From URLs to brokers, and URLs as they may be shown."""

import sys
import types
from typing import Any

import pytest

from webfw.pubsub import MemoryBroker, connect
from webfw.pubsub.urls import SCHEMES, flag, without_password


def test_memory() -> None:
    broker = connect()
    assert type(broker) is MemoryBroker
    broker = connect("memory:?history_size=7&history_age=1.5&backlog=3&policy=close&presence_ttl=5&prefix=x")
    assert (broker.history_size, broker.history_age, broker.backlog, broker.policy) == (7, 1.5, 3, "close")
    assert connect("memory:?backlog=3", backlog=4, presence_ttl=3).backlog == 4
    assert connect("MEMORY:").history_size == 1000


class Recorder:
    url_options = {"history_size": int, "prefix": str, "linger": float}
    url_rest = True

    def __init__(self, url: str, **options: Any) -> None:
        self.url = url
        self.options = options


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("recorder")
    module.Recorder = Recorder  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "recorder", module)
    for scheme in SCHEMES:
        monkeypatch.setitem(SCHEMES, scheme, ("recorder", "Recorder"))


@pytest.mark.parametrize(
    ("url", "bare"),
    [
        ("workers:", "workers:"),
        ("workers:/run/x.sock?history_size=2&linger=0.5", "workers:/run/x.sock"),
        ("redis://u:p%40@h:1/2?history_size=2&db=3", "redis://u:p%40@h:1/2?db=3"),
        ("rediss://h?x=&prefix=p", "rediss://h?x="),
        ("unix:/run/redis.sock?db=1", "unix:/run/redis.sock?db=1"),
        ("nats://h:4222", "nats://h:4222"),
        ("tls://h", "tls://h"),
    ],
)
def test_options_are_taken_out_of_the_url(url: str, bare: str, recorder: None) -> None:
    broker: Any = connect(url, backlog=5)
    assert broker.url == bare
    wanted: dict[str, Any] = {"backlog": 5}
    if "history_size" in url:
        wanted["history_size"] = 2
    if "prefix" in url:
        wanted["prefix"] = "p"
    if "linger" in url:
        wanted["linger"] = 0.5
    assert broker.options == wanted


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("", "no broker has this scheme; there are: memory, workers, redis"),
        ("amqp://u:secret@h", r"amqp://u:\*\*\*@h: no broker"),
        ("redis", "no broker has this scheme"),
        (
            "redis://u:secret@h?history_size=many",
            r"u:\*\*\*@h\?history_size=many: history_size cannot be 'many'",
        ),
        ("redis://u:se#cret@h", r"u:\*\*\*@h: a '#' .* must be written as %23"),
        ("redis://u:secret@[h", r"not a URL: redis://u:\*\*\*@\[h"),
        ("redis://u:secret\u2100@h", r"not a URL: redis://u:\*\*\*@h"),
        ("memory://u:secret@h", r"memory://u:\*\*\*@h: a memory broker takes options only"),
        ("memory:x", "options only"),
        ("memory:?linger=1", "memory: has no option 'linger'; it has: backlog, history_age, "),
        ("workers:?prefix=x", "workers: has no option 'prefix'; it has: autostart, backlog, "),
        ("workers:?autostart=perhaps", "autostart cannot be 'perhaps'"),
        ("workers:?timeout=0", "timeout must be more than 0"),
        ("nats://u:secret@h?linger=1", "nats: has no option 'linger'; it has: "),
        ("nats://h?storage=paper", "storage must be 'file' or 'memory', not 'paper'"),
        ("redis://u:secret@h?linger=1", r"redis://u:\*\*\*@h: .*'linger'"),
        ("unix:/run/r?linger=1", "unix:///run/r: neither .*'linger'"),
        ("redis://h?db=first", "redis://h: .*'db'"),
        ("memory:?policy=wait", "policy must be"),
        ("memory:?backlog=0", "backlog must be"),
        ("memory:?history_age=nan", "negative"),
        ("memory:?history_size=-1", "negative"),
    ],
)
def test_bad_urls(url: str, text: str) -> None:
    with pytest.raises(ValueError, match=text) as caught:
        connect(url)
    assert "secret" not in str(caught.value)
    assert "cret" not in str(caught.value)


def test_options_of_the_brokers_own() -> None:
    workers: Any = connect("workers:/tmp/x?linger=0.5&timeout=2&autostart=no&history_size=3", timeout=4)
    assert (workers.linger, workers.timeout, workers.autostart, workers.history_size) == (0.5, 4, False, 3)
    assert workers.url == "workers:/tmp/x"
    redis: Any = connect("redis://h/1?timeout=2&prefix=p&socket_timeout=9&client_name=me")
    assert redis.timeout == 2
    nats: Any = connect("nats://h?storage=memory&timeout=2")
    assert nats.timeout == 2


@pytest.mark.parametrize(
    ("text", "value"), [("1", True), ("ON", True), ("false", False), ("no", False), ("2", None), ("", None)]
)
def test_flags(text: str, value: bool | None) -> None:
    if value is None:
        with pytest.raises(ValueError, match="neither on nor off"):
            flag(text)
    else:
        assert flag(text) is value


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("redis://user:pw@host/0", "redis://user:***@host/0"),
        ("redis://:pw@host", "redis://:***@host"),
        ("nats://token@host:4222", "nats://***@host:4222"),
        ("nats://u:a@b:c@host", "nats://u:***@host"),
        ("redis://u:a/b?c#d@host/1", "redis://u:***@host/1"),
        ("redis://h?password=pw&db=1", "redis://h?password=***&db=1"),
        ("redis://h?db=1&Auth_Token=pw", "redis://h?db=1&Auth_Token=***"),
        ("//u:pw@h", "//u:***@h"),
        ("memory:?history_size=3", "memory:?history_size=3"),
        ("workers:/run/a@b", "workers:/run/a@b"),
        ("redis://u:p\nw@h", "redis://u:***@h"),
    ],
)
def test_without_password(url: str, shown: str) -> None:
    assert without_password(url) == shown
