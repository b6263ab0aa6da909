"""Lines of waiters: order, deadlines, and what becomes of a result that nobody can take."""

import asyncio
import contextlib
import datetime
import gc
import types
import weakref
from typing import Any

import pytest

from webfw.ioloop import IOLoop
from webfw.locks.waiters import Line, Waiter

LONG = datetime.timedelta(minutes=1)


def timers() -> int:
    """How many timers of the loop have not been cancelled."""
    scheduled = getattr(asyncio.get_running_loop(), "_scheduled", None)
    if scheduled is None:
        pytest.skip("asks asyncio's own loop")
    return sum(not handle.cancelled() for handle in scheduled)


async def test_first_come_first_served() -> None:
    line = Line()
    waiters = [line.join(None, number) for number in range(5)]
    waiters[1].cancel()
    assert len(line) == 4
    found = []
    while (waiter := line.pop()) is not None:
        found.append(waiter.item)
    assert found == [0, 2, 3, 4]
    assert not line


async def test_a_waiter_that_somebody_else_completed_is_passed_over() -> None:
    line = Line()
    first, second = line.join(None), line.join(None)
    first.set_result("from elsewhere")
    assert line.pop() is second
    assert line.pop() is None


@pytest.mark.parametrize("timeout", [0, 5.0, datetime.timedelta(0), datetime.timedelta(days=-1), False])
async def test_deadlines_that_are_over(timeout: Any) -> None:
    line = Line()
    with pytest.raises(TimeoutError, match="^Timeout$"):
        await line.join(timeout)
    assert not line
    assert await Line(late="late").join(timeout) == "late"


async def test_the_traceback_of_a_deadline_keeps_nothing_alive() -> None:
    gc.collect()
    gc.disable()
    try:
        waiter = Line().join(datetime.timedelta(milliseconds=1))
        with contextlib.suppress(TimeoutError):
            await waiter
        gone = weakref.ref(waiter)
        del waiter
        await asyncio.sleep(0)  # the loop has just called back
        assert gone() is None
    finally:
        gc.enable()


async def test_deadlines_to_come() -> None:
    line = Line()
    waiters = [
        line.join(datetime.timedelta(milliseconds=2)),
        line.join(IOLoop.current().time() + 0.002),
        line.join(LONG),
        line.join(IOLoop.current().time() + 60),
    ]
    for waiter in waiters[:2]:
        with pytest.raises(TimeoutError):
            await waiter
    assert len(line) == 2
    assert line.pop() is waiters[2]


@pytest.mark.parametrize("timeout", ["x", (1,), object()])
async def test_wrong_deadlines(timeout: Any) -> None:
    line = Line()
    with pytest.raises(TypeError, match="Unsupported deadline"):
        line.join(timeout)
    assert not line


async def test_timers_end_with_the_wait() -> None:
    before = timers()
    line = Line()
    waiters = [line.join(LONG) for _ in range(4)]
    assert timers() == before + 4
    waiters[3].cancel()
    for _ in range(3):
        line.pop()
    assert timers() == before


async def test_a_deadline_in_the_turn_of_the_result_changes_nothing() -> None:
    line = Line()
    waiter = line.join(0)
    timer = waiter.timer
    assert timer is not None
    assert line.pop() is waiter
    waiter.set_result("in time")
    assert timer.cancelled()
    await asyncio.sleep(0)
    assert await waiter == "in time"


async def test_a_waiter_completed_by_somebody_else_is_never_late() -> None:
    line = Line()
    waiter = line.join(0)
    waiter.set_result("from elsewhere")
    await asyncio.sleep(0.001)
    assert waiter.result() == "from elsewhere"
    assert not line


async def wait_for(waiter: Waiter) -> Any:
    return await waiter


async def test_a_result_that_comes_too_late_is_given_back() -> None:
    back: list[str] = []
    line = Line()
    task = asyncio.create_task(wait_for(line.join(None, give_back=back.append)))
    await asyncio.sleep(0)
    waiter = line.pop()
    assert waiter is not None
    waiter.set_result("given")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert back == ["given"]


async def test_what_was_taken_or_never_given_is_not_given_back() -> None:
    back: list[str] = []
    line = Line()
    done = line.join(None, give_back=back.append)
    done.set_result("taken")
    assert await wait_for(done) == "taken"
    task = asyncio.create_task(wait_for(line.join(None, give_back=back.append)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    late = asyncio.create_task(wait_for(line.join(0, give_back=back.append)))
    with pytest.raises(TimeoutError):
        await late
    failed = line.join(None, give_back=back.append)
    task = asyncio.create_task(wait_for(failed))
    await asyncio.sleep(0)
    failed.set_exception(ValueError)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert back == []
    assert line.pop() is None


async def test_a_coroutine_that_is_closed_leaves_the_line() -> None:
    line = Line()
    coroutine = wait_for(line.join(LONG))
    coroutine.send(None)
    assert len(line) == 1
    coroutine.close()
    assert not line


async def test_other_ways_to_wait() -> None:
    @types.coroutine
    def old_style(waiter: Waiter) -> Any:
        return (yield from waiter)

    line = Line()
    for way in (old_style, lambda waiter: asyncio.wait_for(waiter, 5), asyncio.shield, asyncio.gather):
        waiter = line.join(None)
        asyncio.get_running_loop().call_soon(waiter.set_result, 3)
        assert await way(waiter) in (3, [3])


async def test_no_cycle_is_left() -> None:
    gc.collect()
    gc.disable()
    try:
        line = Line()
        waiter = line.join(LONG)
        reference = weakref.ref(waiter)
        popped = line.pop()
        assert popped is waiter
        waiter.set_result(None)
        del waiter, popped
        assert reference() is None
    finally:
        gc.enable()
