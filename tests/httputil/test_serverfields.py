"""Tests of webfw.httputil.serverfields."""

import pytest

from webfw import _version
from webfw.httputil import serverfields
from webfw.httputil.serverfields import SERVER, date_now


def test_the_server_has_its_version() -> None:
    assert f"webfw/{_version.__version__}" == SERVER


def test_the_date_is_rendered_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000_000_000.25
    rendered = []

    def render(second: float) -> str:
        rendered.append(second)
        return format_timestamp(second)

    format_timestamp = serverfields.format_timestamp
    monkeypatch.setattr(serverfields, "format_timestamp", render)
    monkeypatch.setattr(serverfields, "time", lambda: now)
    monkeypatch.setattr(serverfields, "_second", 0.0)
    assert date_now() == "Sun, 09 Sep 2001 01:46:40 GMT"
    now += 0.7
    assert date_now() == "Sun, 09 Sep 2001 01:46:40 GMT"
    assert len(rendered) == 1
    now += 0.1
    assert date_now() == "Sun, 09 Sep 2001 01:46:41 GMT"
    now -= 100  # somebody has set the clock
    assert date_now() == "Sun, 09 Sep 2001 01:45:01 GMT"
