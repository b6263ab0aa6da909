"""Tests of webfw.cli.accesslog."""

import logging
import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from webfw.cli.accesslog import TimeFormatter, log_function


@pytest.fixture
def lines() -> Iterator[list[logging.LogRecord]]:
    """What reaches the access logger, which is kept from the guard: its levels are what is tested."""
    logger = logging.getLogger("webfw.access")
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(logging.INFO)
    yield records
    logger.removeHandler(handler)
    logger.level, logger.propagate = before


def finished(status: int = 200, uri: str = "/a?b=1", ip: str = "127.0.0.1", connection: Any = None) -> Any:
    request = SimpleNamespace(
        method="GET",
        uri=uri,
        version="HTTP/1.1",
        remote_ip=ip,
        request_time=lambda: 0.00123,
        connection=connection or SimpleNamespace(bytes_sent=5120),
    )
    return SimpleNamespace(request=request, get_status=lambda: status)


def test_line(lines: list[logging.LogRecord]) -> None:
    log_function(finished())
    assert [r.getMessage() for r in lines] == ['127.0.0.1 "GET /a?b=1 HTTP/1.1" 200 5120 1.2ms']


@pytest.mark.parametrize(
    ("status", "level"), [(200, "INFO"), (399, "INFO"), (400, "WARNING"), (499, "WARNING"), (500, "ERROR")]
)
def test_level_follows_the_status(lines: list[logging.LogRecord], status: int, level: str) -> None:
    log_function(finished(status))
    assert [r.levelname for r in lines] == [level]


def test_quiet_below_the_level(lines: list[logging.LogRecord]) -> None:
    logging.getLogger("webfw.access").setLevel(logging.WARNING)
    log_function(finished(200))
    assert lines == []


@pytest.mark.parametrize(
    ("uri", "written"),
    [
        ("/\x1b[2J", r"/\x1b[2J"),
        ("/\r\n1.2.3.4 fake", r"/\x0d\x0a1.2.3.4 fake"),
        ('/"200 0', r"/\"200 0"),
        ("/a\\x0a", r"/a\\x0a"),
        ("/\x7f\x9b\xe9", r"/\x7f\x9b\xe9"),
        ("/\u2028", r"/\u2028"),
        ("/\U0001f600", r"/\U0001f600"),
    ],
)
def test_unsafe_characters_are_escaped(lines: list[logging.LogRecord], uri: str, written: str) -> None:
    log_function(finished(uri=uri))
    assert f'"GET {written} HTTP/1.1"' in lines[0].getMessage()


def test_peer_unknown_or_strange(lines: list[logging.LogRecord]) -> None:
    log_function(finished(ip=""))
    log_function(finished(ip="a\nb", connection=SimpleNamespace()))
    assert lines[0].getMessage().startswith('- "GET')
    assert lines[1].getMessage().startswith('a\\x0ab "GET')
    assert '" 200 0 1.2ms' in lines[1].getMessage()


def test_time_is_iso_8601_with_milliseconds() -> None:
    formatter = TimeFormatter("%(asctime)s %(message)s")
    record = logging.LogRecord("x", logging.INFO, "", 0, "hello", None, None)
    record.created = 1_700_000_000.25
    first = formatter.format(record)
    record.created = 1_700_000_000.5
    second = formatter.format(record)
    record.created = 1_700_000_001.999
    third = formatter.format(record)
    pattern = r"2023-11-1\dT\d\d:\d\d:\d\d\.(\d{3})[+-]\d\d:\d\d hello"
    assert [re.fullmatch(pattern, text)[1] for text in (first, second, third)] == ["250", "500", "999"]
    assert first[:19] == second[:19] != third[:19]
