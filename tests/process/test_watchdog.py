"""A loop that stands still, seen from a thread."""

import threading
import time
from typing import Any

import pytest

from webfw.process import watchdog
from webfw.process.watchdog import Watchdog, stacks


def stand_still(seconds: float) -> None:
    time.sleep(seconds)


def test_a_block_is_logged_once_with_its_place(expect_log: Any) -> None:
    told: list[str] = []
    dog = Watchdog(0.05, blocked=told.append)
    dog.start()
    try:
        dog.beat()
        with expect_log("webfw.application", r"has been blocked for [\d.]+ seconds by:", count=1) as records:
            stand_still(0.3)
        assert "in stand_still" in records[0].getMessage()
        assert len(told) == 1
        assert records[0].getMessage().endswith(told[0])
        with expect_log("webfw.application", r"turns again; it was blocked for [\d.]+ seconds", count=1):
            assert dog.beat() >= 0.3
    finally:
        dog.end()
        dog.join()


def test_beats_keep_it_quiet() -> None:
    dog = Watchdog(30)
    for _ in range(3):
        dog.look()
        assert dog.beat() < 30


def test_never_means_never() -> None:
    dog = Watchdog(0)
    dog.beat()
    dog._last -= 100
    dog.look()


def test_a_loop_need_not_turn_before_its_first_beat_nor_when_it_is_over() -> None:
    dog = Watchdog(1)
    dog._last -= 100
    dog.look()
    dog.beat()
    dog.rest()
    dog._last -= 100
    dog.look()


def test_an_orphan_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[float] = []
    dog = Watchdog(0, told.append)
    dog.look()
    assert told == []
    monkeypatch.setattr(watchdog.os, "getppid", lambda: -1)
    dog.look()
    assert len(told) == 1


def test_an_orphan_that_is_stuck_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    dog = Watchdog(0)
    monkeypatch.setattr(watchdog.os, "getppid", lambda: -1)
    monkeypatch.setattr(watchdog.os, "_exit", ended.append)
    dog.look()
    assert ended == []
    dog._last -= watchdog.ORPHAN_PATIENCE + 1
    dog.look()
    assert ended == [1]


def test_stacks_name_every_thread() -> None:
    ready, end = threading.Event(), threading.Event()

    def wait_here() -> None:
        ready.set()
        end.wait()

    thread = threading.Thread(target=wait_here, name="busy-bee")
    thread.start()
    ready.wait()
    try:
        shown = stacks()
    finally:
        end.set()
        thread.join()
    assert "thread busy-bee:\n" in shown
    assert "in wait_here" in shown
    assert "thread MainThread:\n" in shown
