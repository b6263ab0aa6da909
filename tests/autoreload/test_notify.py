"""Tests of webfw.autoreload.notify: with a made-up watchfiles, and with the real one if that is installed."""

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from webfw.autoreload import Watcher
from webfw.autoreload.notify import NotifyingBell, best_bell
from webfw.autoreload.watcher import PollingBell


class Watchfiles:
    """Says what it is told to: sets of events, an exception, or the end."""

    def __init__(self, *script: Any) -> None:
        self.script = list(script)
        self.calls: list[tuple[tuple[str, ...], dict[str, Any]]] = []
        self.ended = 0

    def watch(self, *paths: str, **options: Any) -> Iterator[set[Any]]:
        self.calls.append((paths, options))
        try:
            while self.script:
                said = self.script.pop(0)
                if isinstance(said, BaseException):
                    raise said
                yield said
        finally:
            self.ended += 1


def test_it_rings_for_events_only(tmp_path: Path) -> None:
    fake = Watchfiles(set(), set(), {"event"}, set())
    bell = NotifyingBell(fake.watch)
    files = {str(tmp_path / "a.py"), str(tmp_path / "gone" / "b.py")}
    # The first time it may have missed something.
    assert [bell.wait(files, 0.5) for _ in range(4)] == [True, False, True, False]
    ((paths, options),) = fake.calls
    assert paths == (str(tmp_path),)
    assert options["recursive"] is False
    assert bell.quiet == 0


def test_the_name_of_the_file_decides(tmp_path: Path) -> None:
    fake = Watchfiles(*[set()] * 3)
    bell = NotifyingBell(fake.watch)
    bell.wait([str(tmp_path / "a.py")], 1)
    wanted = fake.calls[0][1]["watch_filter"]
    assert wanted(1, "/elsewhere/a.py")
    assert not wanted(1, str(tmp_path / "app.log"))
    # What is added later in the same directory counts, too.
    assert bell.wait([str(tmp_path / "a.py"), str(tmp_path / "b.py")], 1) is False
    assert wanted(1, str(tmp_path / "b.py"))
    assert len(fake.calls) == 1


def test_a_new_directory_is_watched_too(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    fake = Watchfiles(*[set()] * 9)
    bell = NotifyingBell(fake.watch)
    assert bell.wait([str(tmp_path / "a")], 1)
    assert bell.wait([str(tmp_path / "a"), str(tmp_path / "sub" / "b")], 1)
    assert [paths for paths, _ in fake.calls] == [
        (str(tmp_path),),
        (str(tmp_path), str(tmp_path / "sub")),
    ]
    assert fake.ended == 1


def test_it_polls_where_the_system_cannot_watch(expect_log: Any) -> None:
    fake = Watchfiles(OSError("too many"))
    bell = NotifyingBell(fake.watch)
    with expect_log("webfw.general", "too many", level=20, count=1):
        assert bell.wait(["/a"], 0)
    assert bell.wait(["/a"], 0)
    assert bell.quiet == PollingBell.quiet
    threading.Timer(0.01, bell.close).start()
    assert bell.wait(["/a"], 60)
    assert len(fake.calls) == 1


def test_closed_while_it_fails(expect_log: Any) -> None:
    bell = NotifyingBell(Watchfiles(OSError("gone")).watch)
    bell.close()
    with expect_log("webfw.general", "gone", level=20):
        assert bell.wait(["/a"], 60)
    assert bell.wait(["/a"], 60)


def test_an_end_that_nobody_asked_for_is_no_endless_loop() -> None:
    bell = NotifyingBell(Watchfiles().watch)
    assert bell.wait(["/a"], 0)  # polls
    assert bell.quiet == PollingBell.quiet


def test_closed() -> None:
    bell = NotifyingBell(Watchfiles().watch)
    bell.close()
    assert bell.wait(["/a"], 60) is False


def test_without_watchfiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    assert isinstance(best_bell(), PollingBell)


# --- the real one ---


def test_the_real_one(tmp_path: Path) -> None:
    pytest.importorskip("watchfiles")
    bell = best_bell()
    assert isinstance(bell, NotifyingBell)
    path = tmp_path / "a.py"
    path.write_text("1")
    watcher = Watcher(modules=False, interval=0.5, bell=bell)
    watcher.watch(path)
    found: list[set[str]] = []
    thread = threading.Thread(target=lambda: found.append(watcher.wait()))
    thread.start()
    (tmp_path / "other").write_text("")
    (tmp_path / "a.new").write_text("22")
    os.replace(tmp_path / "a.new", path)
    thread.join(20)
    assert found == [{str(path)}]
    thread = threading.Thread(target=lambda: found.append(watcher.wait()))
    thread.start()
    watcher.close()
    thread.join(20)
    assert found[1:] == [set()]
