"""Tests of webfw.ioloop.deadlines."""

import asyncio
import math
from collections.abc import Callable
from typing import Any

import pytest

from webfw.ioloop import deadlines


class FakeTimer:
    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeLoop:
    """A loop whose clock stands still until it is moved."""

    def __init__(self) -> None:
        self.clock = 100.0
        self.timers: list[FakeTimer] = []
        self.soon: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[..., None], *args: Any) -> None:
        self.soon.append(lambda: callback(*args))

    def turn(self) -> None:
        soon, self.soon = self.soon, []
        for callback in soon:
            callback()

    def time(self) -> float:
        return self.clock

    def call_at(self, when: float, callback: Callable[[], None]) -> FakeTimer:
        timer = FakeTimer(when, callback)
        self.timers.append(timer)
        return timer

    def pending(self) -> list[float]:
        return [timer.when for timer in self.timers if not timer.cancelled]

    def advance(self, seconds: float) -> None:
        until = self.clock + seconds
        while due := [t for t in self.timers if not t.cancelled and t.when <= until + 1e-9]:
            timer = min(due, key=lambda t: t.when)
            self.timers.remove(timer)
            self.clock = max(self.clock, timer.when)
            timer.callback()
        self.clock = until


class Thing:
    def __init__(self, deadline: float = math.inf, action: Callable[["Thing"], Any] | None = None) -> None:
        self.deadline = deadline
        self.told: list[float] = []
        self.action = action

    def deadline_passed(self, now: float) -> None:
        self.told.append(now)
        self.deadline = math.inf
        if self.action is not None:
            self.action(self)


@pytest.fixture
def loop() -> FakeLoop:
    return FakeLoop()


@pytest.fixture
def sweeper(loop: FakeLoop) -> deadlines.Sweeper:
    return deadlines.Sweeper(loop)  # type: ignore[arg-type]


def test_no_timer_runs_while_nothing_is_watched(loop: FakeLoop, sweeper: deadlines.Sweeper) -> None:
    assert loop.pending() == []
    thing = Thing()
    sweeper.watch(thing, 60)
    assert loop.pending() == [101.0]
    assert len(sweeper) == 1
    sweeper.unwatch(thing)
    sweeper.unwatch(thing)
    loop.advance(5)
    assert loop.pending() == []
    sweeper.watch(thing, 60)
    assert loop.pending() == [106.0]


def test_a_deadline_is_told_once_it_has_passed(loop: FakeLoop, sweeper: deadlines.Sweeper) -> None:
    late, never = Thing(103.5), Thing()
    sweeper.watch(late, 60)
    sweeper.watch(never, 60)
    loop.advance(3)
    assert late.told == []
    loop.advance(10)
    assert late.told == [104.0]
    assert never.told == []


@pytest.mark.parametrize(
    ("hint", "interval"),
    [(60, 1.0), (4, 1.0), (2, 0.5), (0.2, 0.05), (0.001, 0.01), (0, 0.01), (math.inf, 1.0)],
)
def test_the_interval_follows_the_hint_within_bounds(
    loop: FakeLoop, sweeper: deadlines.Sweeper, hint: float, interval: float
) -> None:
    sweeper.watch(Thing(), hint)
    assert loop.pending() == [pytest.approx(100 + interval)]


def test_a_shorter_hint_brings_the_next_sweep_forward_and_leaves_again(
    loop: FakeLoop, sweeper: deadlines.Sweeper
) -> None:
    short = Thing()
    sweeper.watch(Thing(), 60)
    sweeper.watch(short, 0.4)
    assert loop.pending() == [pytest.approx(100.1)]
    sweeper.watch(Thing(), 60)
    assert loop.pending() == [pytest.approx(100.1)]
    sweeper.unwatch(short)
    loop.advance(0.1)
    assert loop.pending() == [pytest.approx(101.1)]


def test_now_is_a_coarse_clock(loop: FakeLoop, sweeper: deadlines.Sweeper) -> None:
    sweeper.watch(Thing(), 60)
    loop.clock += 0.5
    assert sweeper.now == 100.0
    assert sweeper.refresh() == 100.5 == sweeper.now
    loop.advance(0.75)
    assert sweeper.now == 101.0


def test_objects_may_come_and_go_during_a_sweep(loop: FakeLoop, sweeper: deadlines.Sweeper) -> None:
    new = Thing(101.5)
    second = Thing(100.5)

    def replace(thing: Thing) -> None:
        sweeper.unwatch(thing)
        sweeper.unwatch(second)
        sweeper.watch(new, 0.4)

    first = Thing(100.5, replace)
    sweeper.watch(first, 60)
    sweeper.watch(second, 60)
    loop.advance(1)
    assert first.told == [101.0]
    assert second.told == []
    assert loop.pending() == [pytest.approx(101.1)]
    loop.advance(0.6)
    assert len(new.told) == 1
    assert len(sweeper) == 1


def test_a_crowd_is_told_in_several_turns(loop: FakeLoop, sweeper: deadlines.Sweeper) -> None:
    things = [Thing(101.0) for _ in range(2 * deadlines.BURST + 50)]
    for thing in things:
        sweeper.watch(thing, 4.0)
    loop.advance(1.1)
    assert sum(map(len, (thing.told for thing in things))) == deadlines.BURST
    assert loop.pending() == []  # the next sweep comes when this one is over
    sweeper.unwatch(things[-1])
    things[-2].deadline = 150.0  # it has been heard of in between
    loop.turn()
    loop.turn()
    assert not loop.soon
    assert [len(thing.told) for thing in things] == [1] * (len(things) - 2) + [0, 0]
    assert len(loop.pending()) == 1
    loop.advance(60)
    assert len(things[-2].told) == 1


def test_an_object_that_raises_is_logged_and_unwatched(
    loop: FakeLoop, sweeper: deadlines.Sweeper, expect_log: Any
) -> None:
    bad = Thing(100.5, lambda thing: 1 / 0)
    good = Thing(100.5)
    sweeper.watch(bad, 60)
    sweeper.watch(good, 60)
    with expect_log("webfw.application", "Exception in deadline of", count=1):
        loop.advance(1)
    assert good.told == [101.0]
    assert len(sweeper) == 1
    assert loop.pending() == [102.0]


async def test_each_loop_has_its_sweeper() -> None:
    loop = asyncio.get_running_loop()
    sweeper = deadlines.for_loop(loop)
    assert deadlines.for_loop(loop) is sweeper
    told = asyncio.Event()
    thing = Thing(loop.time(), lambda _: told.set())
    sweeper.watch(thing, 0.01)
    await told.wait()
    sweeper.unwatch(thing)


def test_sweepers_of_closed_loops_are_forgotten() -> None:
    first = asyncio.new_event_loop()
    deadlines.for_loop(first)
    first.close()
    second = asyncio.new_event_loop()
    deadlines.for_loop(second)
    assert first not in deadlines._sweepers
    second.close()
