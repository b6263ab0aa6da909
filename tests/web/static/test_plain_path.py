"""What a small file costs that was served lately, counted, so that it cannot rot."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.web.conftest import Sites
from tests.web.test_plain_path import HOUSE
from webfw.web.static import StaticFileHandler, recent


async def test_a_file_asked_for_again_costs_one_look_at_it_and_one_write(
    tmp_path: Path, site: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent, "UNCHANGED_FOR", -1)
    content = b"x" * 10240
    (tmp_path / "file.js").write_bytes(content)
    there = site([(r"/static/(.*)", StaticFileHandler, {"path": str(tmp_path)})])
    request = site.request("/static/file.js")
    for _ in range(3):
        assert (await there.send(request)).endswith(content)
    looks: list[str] = []
    calls: list[str] = []
    for name in ("stat", "lstat", "open"):
        monkeypatch.setattr(os, name, _counted(looks, name, getattr(os, name)))
    loop = asyncio.get_running_loop()
    asked: list[str] = []
    if isinstance(loop, asyncio.BaseEventLoop):
        for name in ("create_future", "create_task", "call_soon", "call_later", "call_at"):
            monkeypatch.setattr(loop, name, _counted(asked, name, getattr(loop, name)))

    def profile(frame: Any, event: str, arg: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(HOUSE + "/"):
            calls.append(frame.f_code.co_qualname)

    sys.setprofile(profile)
    try:
        there.wire.feed(request)
    finally:
        sys.setprofile(None)
    assert looks == ["stat"]
    assert asked == []
    assert len(there.wire.writes) == 1
    assert there.wire.sent.endswith(content)
    assert len(calls) <= 65, calls
    assert len(calls) > 30, "the count itself must work"
    StaticFileHandler.reset()


def _counted(names: list[str], name: str, function: Any) -> Any:
    def counted(*args: Any, **kwargs: Any) -> Any:
        names.append(name)
        return function(*args, **kwargs)

    return counted
