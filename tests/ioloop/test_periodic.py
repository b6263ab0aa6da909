"""Tests of webfw.ioloop.periodic."""

import asyncio
import datetime
from collections.abc import Callable
from typing import Any

import pytest

from webfw.ioloop import IOLoop, PeriodicCallback


class FakeHandle:
    def __init__(self, when: float, callback: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.when, self.callback, self.args = when, callback, args
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeIOLoop:
    """As much of an IOLoop as a periodic callback uses, with a clock that is moved by hand."""

    def __init__(self) -> None:
        self.clock = 1000.0
        self.handle: FakeHandle | None = None
        self.asyncio_loop = self
        self.followed: list[Any] = []

    def time(self) -> float:
        return self.clock

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any) -> FakeHandle:
        self.handle = FakeHandle(when, callback, args)
        return self.handle

    def _run_callback(self, callback: Callable[..., Any], *args: Any) -> None:
        callback(*args)

    def _follow(self, coro: Any, callback: Any) -> None:
        self.followed.append(coro)

    def fire(self, late: float = 0.0) -> float:
        """Run the timer that is due next, and return when it was due."""
        handle = self.handle
        assert handle is not None
        assert not handle.cancelled
        self.clock = handle.when + late
        handle.callback(*handle.args)
        return handle.when


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> FakeIOLoop:
    fake = FakeIOLoop()
    monkeypatch.setattr(IOLoop, "current", lambda instance=True: fake)
    return fake


@pytest.mark.parametrize("period", [0, -1, datetime.timedelta(0), float("nan")])
def test_the_period_must_be_positive(period: Any) -> None:
    with pytest.raises(ValueError, match="positive callback_time"):
        PeriodicCallback(print, period)


def test_a_period_may_be_a_timedelta() -> None:
    assert PeriodicCallback(print, datetime.timedelta(seconds=2)).callback_time == 2000


def test_it_runs_at_multiples_of_the_period(loop: FakeIOLoop) -> None:
    calls: list[float] = []
    timer = PeriodicCallback(lambda: calls.append(loop.clock), 10_000)
    assert not timer.is_running()
    timer.start()
    assert timer.is_running()
    assert calls == []
    assert [loop.fire(), loop.fire(late=0.25), loop.fire()] == [1010, 1020, 1030]
    assert calls == [1010, 1020.25, 1030]
    timer.stop()
    assert not timer.is_running()
    assert loop.handle is not None
    assert loop.handle.cancelled
    timer.stop()


def test_missed_periods_are_skipped_without_drift(loop: FakeIOLoop) -> None:
    def long() -> None:
        loop.clock += 25

    timer = PeriodicCallback(long, 10_000)
    timer.start()
    assert [loop.fire(), loop.fire()] == [1010, 1040]


def test_a_clock_that_goes_backwards_keeps_the_order(loop: FakeIOLoop) -> None:
    timer = PeriodicCallback(lambda: None, 10_000)
    timer.start()
    assert [loop.fire(late=-2), loop.fire(late=-10), loop.fire()] == [1010, 1020, 1030]


def test_a_clock_that_jumps_ahead_by_exactly_a_period(loop: FakeIOLoop) -> None:
    timer = PeriodicCallback(lambda: None, 10_000)
    timer.start()
    assert [loop.fire(late=10), loop.fire()] == [1010, 1030]


def test_jitter_moves_calls_within_its_window(loop: FakeIOLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    values = iter([0.5, 1.0, 0.0, 0.75])
    monkeypatch.setattr("random.random", lambda: next(values))
    timer = PeriodicCallback(lambda: None, 10_000, jitter=0.5)
    timer.start()
    due = [loop.fire(), loop.fire(), loop.fire()]
    assert due == [1010, pytest.approx(1022.5), pytest.approx(1030)]


def test_a_changed_period_counts_from_the_next_call(loop: FakeIOLoop) -> None:
    timer = PeriodicCallback(lambda: None, 10_000)
    timer.start()
    timer.callback_time = 1000
    assert [loop.fire(), loop.fire()] == [1010, 1011]


def test_starting_twice_makes_no_second_timer(loop: FakeIOLoop) -> None:
    timer = PeriodicCallback(lambda: None, 10_000)
    timer.start()
    handle = loop.handle
    timer.start()
    assert loop.handle is handle


def test_stopping_in_the_callback_ends_it(loop: FakeIOLoop) -> None:
    timer = PeriodicCallback(lambda: timer.stop(), 10_000)
    timer.start()
    loop.fire()
    handle = loop.handle
    assert handle is not None
    assert handle.when == 1010
    timer._run()  # a call that was already on its way
    assert loop.handle is handle


def test_restarting_in_the_callback_leaves_one_timer(loop: FakeIOLoop) -> None:
    def restart() -> None:
        timer.stop()
        timer.start()
        started.append(loop.handle)

    started: list[Any] = []
    timer = PeriodicCallback(restart, 10_000)
    timer.start()
    loop.fire()
    assert started == [loop.handle]


def test_an_exception_is_logged_and_it_goes_on(loop: FakeIOLoop, expect_log: Any) -> None:
    timer = PeriodicCallback(lambda: 1 / 0, 10_000)
    timer.start()
    with expect_log("webfw.application", "Exception in callback", count=1):
        loop.fire()
    assert loop.handle is not None
    assert loop.handle.when == 1020


def test_a_program_may_override_how_it_runs(loop: FakeIOLoop) -> None:
    class Own(PeriodicCallback):
        runs = 0

        def _run(self) -> None:
            if self._running:
                self.runs += 1
                self._schedule_next()

    timer = Own(print, 10_000)
    timer.start()
    loop.fire()
    loop.fire()
    assert timer.runs == 2


async def test_a_coroutine_never_overlaps_itself() -> None:
    running = 0
    most = 0
    enough = asyncio.Event()
    calls = 0

    async def work() -> None:
        nonlocal running, most, calls
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.005)
        running -= 1
        calls += 1
        if calls == 3:
            enough.set()
            timer.stop()

    timer = PeriodicCallback(work, 1)
    timer.start()
    await enough.wait()
    assert most == 1


async def test_a_coroutine_that_fails_is_logged_and_runs_again(expect_log: Any) -> None:
    twice = asyncio.Event()
    calls = 0

    async def fail() -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            timer.stop()
            twice.set()
        raise ValueError("no")

    timer = PeriodicCallback(fail, 1)
    timer.start()
    with expect_log("webfw.application", "Exception in callback .*fail", count=2):
        await twice.wait()
        await asyncio.sleep(0)
