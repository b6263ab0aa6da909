"""Waiting for a time, no longer than a time, and for the first of several."""

import asyncio
import concurrent.futures
import datetime
from typing import Any

import pytest

from webfw import gen
from webfw.ioloop import IOLoop

LONG = datetime.timedelta(minutes=1)
PAST = datetime.timedelta(seconds=-1)


def timers() -> int:
    """How many timers of the loop have not been cancelled."""
    scheduled = getattr(asyncio.get_running_loop(), "_scheduled", None)
    if scheduled is None:
        pytest.skip("asks asyncio's own loop")
    return sum(not handle.cancelled() for handle in scheduled)


async def settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


# --- sleep and maybe_future ---


async def test_sleep() -> None:
    loop = asyncio.get_running_loop()
    before = loop.time()
    future = gen.sleep(0.01)
    assert isinstance(future, asyncio.Future)
    assert await future is None
    assert loop.time() - before > 0.009
    await gen.sleep(0)
    await gen.sleep(-1)


async def test_cancelled_sleeps_do_not_pile_up() -> None:
    before = timers()
    sleeping = [gen.sleep(60) for _ in range(50)]
    assert timers() == before + 50
    for future in sleeping:
        future.cancel()
    await settle()
    assert timers() == before


async def test_maybe_future() -> None:
    future: asyncio.Future[int] = asyncio.Future()
    assert gen.maybe_future(future) is future
    thread: concurrent.futures.Future[int] = concurrent.futures.Future()
    assert gen.maybe_future(thread) is thread
    assert gen.maybe_future(3).result() == 3
    assert gen.maybe_future(None).result() is None
    assert gen.maybe_future([future]).result() == [future]


# --- with_timeout ---


async def test_in_time() -> None:
    async def answer() -> str:
        await asyncio.sleep(0)
        return "answer"

    before = timers()
    assert await gen.with_timeout(LONG, answer()) == "answer"
    assert await gen.with_timeout(IOLoop.current().time() + 60, [answer(), None]) == ["answer", None]
    assert await gen.with_timeout(LONG, None) is None
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        assert await gen.with_timeout(LONG, pool.submit(int, "3")) == 3
    await settle()
    assert timers() == before


async def test_exceptions_come_through() -> None:
    async def fail() -> None:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await gen.with_timeout(LONG, fail())


@pytest.mark.parametrize("deadline", [0, 1.5, PAST, datetime.timedelta(0), -1])
async def test_too_late(deadline: Any) -> None:
    waited_for: asyncio.Future[int] = asyncio.Future()
    with pytest.raises(TimeoutError, match="^Timeout$"):
        await gen.with_timeout(deadline, waited_for)
    assert not waited_for.done()  # others may wait for it still
    waited_for.set_result(3)


async def test_what_is_done_is_never_late() -> None:
    waited_for: asyncio.Future[int] = asyncio.Future()
    asyncio.get_running_loop().call_soon(waited_for.set_result, 3)
    in_the_same_turn = gen.with_timeout(0, waited_for)
    assert await in_the_same_turn == 3
    assert gen.with_timeout(0, waited_for).result() == 3


@pytest.mark.parametrize("timeout", [None, "x", (1,)])
async def test_wrong_timeouts(timeout: Any) -> None:
    with pytest.raises(TypeError, match="deadline"):
        gen.with_timeout(timeout, asyncio.Future())


async def test_messages() -> None:
    asked = []

    def message() -> str:
        asked.append(1)
        return "made late"

    never: asyncio.Future[None] = asyncio.Future()
    with pytest.raises(gen.TimeoutError, match="^given$"):
        await gen.with_timeout(0, never, message="given")
    with pytest.raises(gen.TimeoutError, match="^$"):
        await gen.with_timeout(0, never, message="")
    assert await gen.with_timeout(LONG, None, message=message) is None
    assert asked == []
    with pytest.raises(gen.TimeoutError, match="^made late$"):
        await gen.with_timeout(0, never, message=message)
    assert asked == [1]


async def test_a_message_that_cannot_be_made_does_not_hang() -> None:
    with pytest.raises(ZeroDivisionError):
        await gen.with_timeout(0, asyncio.Future(), message=lambda: str(1 // 0))


async def test_late_exceptions_are_logged_unless_quiet(expect_log: Any) -> None:
    async def late(error: BaseException, **options: Any) -> None:
        waited_for: asyncio.Future[None] = asyncio.Future()
        with pytest.raises(TimeoutError):
            await gen.with_timeout(0, waited_for, **options)
        waited_for.set_exception(error)
        await settle()

    with expect_log("webfw.application", "after timeout", count=1) as records:
        await late(ValueError("late"))
    assert records[0].exc_info[0] is ValueError
    await late(ValueError("late"), quiet_exceptions=ValueError)
    await late(KeyError("late"), quiet_exceptions=(ValueError, LookupError))
    await late(KeyError("late"), quiet_exceptions=[ValueError, LookupError])
    await late(asyncio.CancelledError())
    cancelled: asyncio.Future[None] = asyncio.Future()
    with pytest.raises(TimeoutError):
        await gen.with_timeout(0, cancelled)
    cancelled.cancel()
    await settle()


async def test_cancelling_is_not_passed_on_but_ends_the_timer() -> None:
    before = timers()
    waited_for: asyncio.Future[int] = asyncio.Future()
    outer = gen.with_timeout(LONG, waited_for)
    outer.cancel()
    await settle()
    assert timers() == before
    assert not waited_for.done()
    waited_for.set_result(3)
    await settle()
    inner: asyncio.Future[int] = asyncio.Future()
    outer = gen.with_timeout(LONG, inner)
    inner.cancel()
    with pytest.raises(asyncio.CancelledError):
        await outer


# --- WaitIterator ---


async def test_results_in_the_order_they_are_done() -> None:
    futures = [asyncio.Future[str]() for _ in range(3)]
    ready = gen.WaitIterator(*futures)
    found = []
    for index in (2, 0, 1):
        waiting = ready.next()
        assert ready.next() is waiting
        assert not waiting.done()
        futures[index].set_result(f"result {index}")
        found.append((await waiting, ready.current_index, ready.current_future is futures[index]))
    assert found == [("result 2", 2, True), ("result 0", 0, True), ("result 1", 1, True)]
    assert ready.done()
    with pytest.raises(RuntimeError, match="no more"):
        ready.next()


async def test_those_done_before_come_in_the_order_given() -> None:
    one, two = gen.maybe_future(1), gen.maybe_future(2)
    ready = gen.WaitIterator(a=two, b=one)
    assert ready.current_index is None
    assert ready.current_future is None
    found = []
    while not ready.done():
        found.append((ready.next().result(), ready.current_index))
    assert found == [(2, "a"), (1, "b")]


async def test_exceptions_do_not_end_it() -> None:
    bad: asyncio.Future[int] = asyncio.Future()
    bad.set_exception(ValueError("bad"))
    cancelled: asyncio.Future[int] = asyncio.Future()
    cancelled.cancel()
    ready = gen.WaitIterator(bad, cancelled, gen.maybe_future(3))
    with pytest.raises(ValueError, match="bad"):
        await ready.next()
    assert ready.current_index == 0
    with pytest.raises(asyncio.CancelledError):
        await ready.next()
    assert await ready.next() == 3
    assert ready.done()


async def test_async_for() -> None:
    async def value(number: int, turns: int) -> int:
        for _ in range(turns):
            await asyncio.sleep(0)
        return number

    ready = gen.WaitIterator(value(1, 9), value(2, 2), value(3, 5))
    assert [(number, ready.current_index) async for number in ready] == [(2, 1), (3, 2), (1, 0)]
    assert [number async for number in gen.WaitIterator()] == []


async def test_async_for_ends_with_the_first_exception() -> None:
    bad: asyncio.Future[int] = asyncio.Future()
    bad.set_exception(ValueError("bad"))
    found = []

    async def iterate() -> None:
        async for number in gen.WaitIterator(gen.maybe_future(1), bad, gen.maybe_future(3)):
            found.append(number)  # noqa: PERF401 (a comprehension would lose what came before)

    with pytest.raises(ValueError, match="bad"):
        await iterate()
    assert found == [1]


async def test_the_same_thing_twice() -> None:
    future: asyncio.Future[int] = asyncio.Future()
    ready = gen.WaitIterator(future, future)
    asyncio.get_running_loop().call_soon(future.set_result, 3)
    assert [(number, ready.current_index) async for number in ready] == [(3, 0), (3, 1)]


async def test_no_result_is_lost_when_the_one_who_waits_gives_up() -> None:
    future: asyncio.Future[int] = asyncio.Future()
    ready = gen.WaitIterator(future)
    ready.next().cancel()
    future.set_result(3)
    await settle()
    assert not ready.done()
    assert await ready.next() == 3
    assert ready.done()


async def test_given_by_position_and_name() -> None:
    with pytest.raises(ValueError, match="not both"):
        gen.WaitIterator(gen.maybe_future(1), a=gen.maybe_future(2))
    with pytest.raises(gen.BadYieldError):
        gen.WaitIterator(3)


async def test_in_a_generator() -> None:
    @gen.coroutine
    def run() -> Any:
        found = []
        ready = gen.WaitIterator(gen.sleep(0.001), gen.maybe_future(2))
        while not ready.done():
            value = yield ready.next()
            found.append((value, ready.current_index))
        return found

    assert await run() == [(2, 1), (None, 0)]
