"""Tests of webfw.httpclient.pool."""

import asyncio
import gc
import weakref
from collections.abc import Hashable
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.httpclient.pool import Pool
from webfw.ioloop.deadlines import Sweeper


class Line:
    """A connection."""

    def __init__(self, key: Hashable = "a") -> None:
        self.key = key
        self.idle_since = 0.0
        self.requests = 1
        self.aborted = False
        self.news = False

    def hung_up(self) -> bool:
        return self.news

    def abort(self) -> None:
        self.aborted = True


class Caller:
    """A guest; it notes what happens in `log`."""

    def __init__(self, log: list[str], name: str, key: Hashable = "a", *, flighty: Any = None) -> None:
        self.log = log
        self.name = name
        self.key = key
        self.flighty = flighty
        self.error: BaseException | None = None

    def admitted(self) -> None:
        self.log.append(self.name)
        if self.flighty is not None:
            self.flighty.leave(self)

    def abandoned(self, error: BaseException) -> None:
        self.error = error


class FakeSweeper:
    """Remembers what it is to watch."""

    def __init__(self) -> None:
        self.watched: set[Any] = set()

    def watch(self, obj: Any, hint: float) -> None:
        self.watched.add(obj)

    def unwatch(self, obj: Any) -> None:
        self.watched.discard(obj)


def pool_of(max_active: int = 2, max_per_key: int | None = None, idle_timeout: float = 10.0) -> Pool[Line]:
    return Pool(FakeSweeper(), max_active, max_per_key, idle_timeout)  # type: ignore[arg-type]


# --- places ---


async def test_guests_are_admitted_in_order() -> None:
    pool, log = pool_of(), []  # type: ignore[var-annotated]
    guests = [Caller(log, name) for name in "abcde"]
    for guest in guests:
        pool.enter(guest)
    assert log == ["a", "b"]
    assert list(pool.queue) == list(pool.waiting()) == guests[2:]
    pool.leave(guests[1])
    pool.leave(guests[1])  # once more does nothing
    assert log == ["a", "b", "c"]
    pool.leave(guests[3])  # gives up while it waits
    pool.leave(guests[0])
    assert log == ["a", "b", "c", "e"]
    assert list(pool.active) == [guests[2], guests[4]]


async def test_who_moves_goes_first() -> None:
    pool, log = pool_of(2, 1), []  # type: ignore[var-annotated]
    a, b1, b2, c = (Caller(log, name, name[0]) for name in ("a", "b1", "b2", "c"))
    for guest in (a, b1, b2, c):
        pool.enter(guest)
    assert log == ["a", "b1"]
    pool.move(a, "d")
    assert log == ["a", "b1", "a"]
    pool.move(a, "b")  # where it has to wait, but holds nobody up
    assert log == ["a", "b1", "a", "c"]
    assert set(pool.waiting()) == {a, b2}
    pool.leave(b1)
    assert log[4:] == ["a"]
    pool.leave(a)
    assert log[5:] == ["b2"]


async def test_a_limit_for_each_key() -> None:
    pool, log = pool_of(3, 1), []  # type: ignore[var-annotated]
    a1, a2, a3, b1, c1, c2 = (Caller(log, name, name[0]) for name in ("a1", "a2", "a3", "b1", "c1", "c2"))
    for guest in (a1, a2, a3, b1, c1, c2):
        pool.enter(guest)
    # One that cannot have a place at its key does not hold up those behind it.
    assert log == ["a1", "b1", "c1"]
    assert set(pool.waiting()) == {a2, a3, c2}
    pool.leave(b1)
    assert log == ["a1", "b1", "c1"]
    pool.leave(a1)
    assert log[3:] == ["a2"]
    pool.leave(c2)
    pool.leave(c1)
    pool.leave(a3)
    pool.leave(a2)
    assert log[3:] == ["a2"]
    assert not [*pool.waiting(), *pool.active]
    pool.enter(Caller(log, "a4", "a"))
    assert log[4:] == ["a4"]


async def test_who_waited_for_its_key_is_before_the_queue() -> None:
    pool, log = pool_of(2, 1), []  # type: ignore[var-annotated]
    a1, a2, b1, b2 = (Caller(log, name, name[0]) for name in ("a1", "a2", "b1", "b2"))
    for guest in (a1, a2, b1):
        pool.enter(guest)
    pool.enter(b2)
    pool.leave(a1)
    assert log == ["a1", "b1", "a2"]


async def test_guests_that_leave_at_once_are_no_recursion() -> None:
    pool, log = pool_of(1), []  # type: ignore[var-annotated]
    first = Caller(log, "first")
    pool.enter(first)
    for number in range(5000):
        pool.enter(Caller(log, str(number), flighty=pool))
    pool.leave(first)
    assert len(log) == 5001
    assert not pool.active


@given(
    st.integers(1, 4),
    st.none() | st.integers(1, 3),
    st.lists(st.tuples(st.sampled_from("eemlll"), st.integers(0, 30), st.sampled_from("abc")), max_size=60),
)
async def test_any_order_of_things(
    max_active: int, max_per_key: int | None, steps: list[tuple[str, int, str]]
) -> None:
    """Never too many, and nobody waits who could have a place; who has left is never admitted."""
    pool = pool_of(max_active, max_per_key)
    log: list[str] = []
    present: list[Caller] = []
    for number, (what, index, key) in enumerate(steps):
        if what == "l" and present:
            pool.leave(present.pop(index % len(present)))
        elif what == "m" and pool.active:
            pool.move(list(pool.active)[index % len(pool.active)], key)
        elif what == "e":
            guest = Caller(log, str(number), key)
            present.append(guest)
            pool.enter(guest)
        active, waiting = list(pool.active), list(pool.waiting())
        assert sorted(map(id, active + waiting)) == sorted(map(id, present))
        assert len(active) <= max_active
        at_key = {key: sum(guest.key == key for guest in active) for key in "abc"}
        limit = max_per_key or inf
        assert all(count <= limit for count in at_key.values())
        if len(active) < max_active:
            assert all(at_key[guest.key] >= limit for guest in waiting)  # type: ignore[index]


# --- connections ---


async def test_the_last_one_is_taken_first() -> None:
    pool = pool_of(3)
    a1, a2, b = Line("a"), Line("a"), Line("b")
    for now, line in enumerate((a1, b, a2)):
        pool.keep(line, float(now))
    assert pool.idle == 3
    assert pool.take("a", 3.0) is a2
    assert pool.take("a", 3.0) is a1
    assert pool.take("a", 3.0) is None
    assert pool.take("c", 3.0) is None
    pool.forget(b)
    pool.forget(b)
    pool.forget(Line("x"))
    assert (pool.take("b", 3.0), pool.idle) == (None, 0)


async def test_not_too_many_are_kept() -> None:
    pool = pool_of(2)
    lines = [Line(key) for key in "abab"]
    for now, line in enumerate(lines):
        pool.keep(line, float(now))
    assert [line.aborted for line in lines] == [True, True, False, False]
    assert pool.idle == 2


async def test_kept_for_so_long() -> None:
    pool = pool_of(5)
    sweeper: Any = pool._sweeper
    a, b = Line("a"), Line("b")
    pool.keep(a, 100.0)
    assert pool.deadline == 110.0
    assert sweeper.watched == {pool}
    pool.keep(b, 105.0)
    pool.deadline_passed(110.5)
    assert (a.aborted, b.aborted, pool.deadline) == (True, False, 115.0)
    pool.deadline_passed(115.0)
    assert (b.aborted, pool.deadline, pool.idle) == (True, inf, 0)
    assert not sweeper.watched
    c = Line("a")
    pool.keep(c, 200.0)
    assert sweeper.watched == {pool}
    assert pool.take("a", 201.0) is c
    pool.deadline_passed(210.0)
    assert (c.aborted, pool.deadline) == (False, inf)


async def test_a_loop_that_stood_still() -> None:
    pool = pool_of(5)
    old, new = Line(), Line()
    pool.keep(old, 100.0)
    pool.keep(new, 108.0)
    assert pool.take("a", 111.0) is new
    assert old.aborted
    pool.keep(new, 112.0)
    assert pool.take("a", 122.0) is None
    assert new.aborted


async def test_one_that_is_surely_kept() -> None:
    pool = pool_of(5)
    fresh, settled, used, gone = Line(), Line(), Line(), Line()
    used.requests = 2
    gone.requests = 2
    gone.news = True
    pool.keep(settled, 100.0)
    pool.keep(used, 100.2)
    pool.keep(gone, 100.2)
    pool.keep(fresh, 100.2)
    assert pool.take("a", 100.2, sure=True) is used
    assert gone.aborted
    assert pool.take("a", 100.2, sure=True) is settled
    assert pool.take("a", 100.2, sure=True) is None
    assert pool.idle == 1
    assert pool.take("a", 100.4, sure=True) is fresh


async def test_none_is_kept() -> None:
    pool = pool_of(5, idle_timeout=0)
    line = Line()
    pool.keep(line, 1.0)
    assert (line.aborted, pool.idle) == (True, 0)


# --- the end ---


async def test_closing() -> None:
    pool, log = pool_of(1, 1), []  # type: ignore[var-annotated]
    guests = [Caller(log, name) for name in "abc"]
    for guest in guests:
        pool.enter(guest)
    line = Line()
    pool.keep(line, 1.0)
    error = OSError("closed")
    pool.close(error)
    pool.close(OSError("again"))
    assert [guest.error for guest in guests] == [error] * 3
    assert line.aborted
    late = Line()
    pool.keep(late, 2.0)
    assert late.aborted
    for guest in guests:
        pool.leave(guest)
    assert log == ["a"]


async def test_aborting() -> None:
    pool = pool_of(1)
    guest = Caller([], "a")
    pool.enter(guest)
    pool.abort()
    assert isinstance(guest.error, asyncio.CancelledError)
    assert pool.closed


def test_the_end_of_the_loop() -> None:
    async def use() -> tuple[Pool[Line], Caller, Line]:
        pool = pool_of(1)
        guest = Caller([], "a")
        pool.enter(guest)
        line = Line()
        pool.keep(line, 1.0)
        return pool, guest, line

    pool, guest, line = asyncio.run(use())
    assert line.aborted
    assert isinstance(guest.error, asyncio.CancelledError)
    assert (pool.idle, list(pool.active)) == (0, [])


async def test_a_pool_that_is_forgotten_is_collected() -> None:
    pool = pool_of()
    pool.enter(Caller([], "a"))
    pool.close(OSError())
    known = weakref.ref(pool)
    del pool
    gc.collect()
    assert known() is None


async def test_a_real_sweeper() -> None:
    loop = asyncio.get_running_loop()
    sweeper = Sweeper(loop)
    pool: Pool[Line] = Pool(sweeper, 5, None, 0.02)
    closed = asyncio.Event()
    line = Line()
    line.abort = closed.set  # type: ignore[method-assign]
    pool.keep(line, loop.time())
    await asyncio.wait_for(closed.wait(), 5)
    assert len(sweeper) == 0


@pytest.mark.parametrize("number", [1, 7])
async def test_the_guard_is_set_once(number: int) -> None:
    pool = pool_of(10)
    pool.enter(Caller([], "a"))
    guard = pool._guard
    for _ in range(number):
        pool.enter(Caller([], "a"))
    assert pool._guard is guard
    pool.close(OSError())
    assert pool._guard is None
