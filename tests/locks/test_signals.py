"""Conditions and events."""

import asyncio
import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw import gen
from webfw.locks import Condition, Event

SOON = datetime.timedelta(milliseconds=1)


async def settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


# --- Condition ---


async def test_notify_wakes_as_many_as_told_in_order() -> None:
    condition = Condition()
    waiting = [condition.wait() for _ in range(5)]
    condition.notify()
    condition.notify(2)
    condition.notify(0)
    condition.notify(-1)
    assert [future.done() for future in waiting] == [True, True, True, False, False]
    condition.notify_all()
    assert [future.result() for future in waiting] == [True] * 5
    condition.notify_all()
    condition.notify(100)


async def test_notifications_are_not_kept() -> None:
    condition = Condition()
    condition.notify()
    future = condition.wait(0)
    assert not future.done()
    assert await future is False


async def test_notify_all_wakes_only_those_who_wait_now() -> None:
    condition = Condition()
    woken = []

    async def wait_twice() -> None:
        woken.append(await condition.wait())
        woken.append(await condition.wait())

    tasks = [asyncio.create_task(wait_twice()) for _ in range(3)]
    await settle()
    condition.notify_all()
    await settle()
    assert woken == [True] * 3
    condition.notify_all()
    await asyncio.gather(*tasks)


async def test_condition_deadlines() -> None:
    condition = Condition()
    late, in_time = condition.wait(SOON), condition.wait()
    assert await late is False
    condition.notify()
    assert await in_time is True


async def test_a_notification_is_not_lost_with_a_cancelled_task() -> None:
    condition = Condition()

    async def wait() -> bool:
        return await condition.wait()

    first, second = asyncio.create_task(wait()), asyncio.create_task(wait())
    await settle()
    condition.notify()
    first.cancel()
    assert await second is True
    assert first.cancelled()


async def test_being_late_is_not_passed_on() -> None:
    condition = Condition()
    waiting: Any = condition.wait(datetime.timedelta(minutes=1))

    async def wait() -> bool:
        return await waiting  # type: ignore[no-any-return]

    task = asyncio.create_task(wait())
    await settle()
    other = condition.wait()
    waiting.line._expire(waiting)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert waiting.result() is False
    assert not other.done()


async def test_condition_repr() -> None:
    condition = Condition()
    assert repr(condition) == "<Condition>"
    waiting = [condition.wait(), condition.wait(0)]
    assert repr(condition) == "<Condition waiters[2]>"
    assert await waiting[1] is False
    waiting[0].cancel()
    assert repr(condition) == "<Condition>"


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.booleans()),
        st.tuples(st.just("notify"), st.integers(0, 3)),
        st.tuples(st.just("notify_all"), st.none()),
        st.tuples(st.just("cancel"), st.integers(0, 20)),
        st.tuples(st.just("expire"), st.integers(0, 20)),
        st.tuples(st.just("turn"), st.none()),
    ),
    max_size=40,
)


@given(steps=STEPS)
async def test_condition_against_a_model(steps: list[tuple[str, Any]]) -> None:
    condition = Condition()
    futures: list[Any] = []
    waiting: list[int] = []
    expected: dict[int, Any] = {}
    for what, value in steps:
        if what == "wait":
            waiting.append(len(futures))
            futures.append(condition.wait(datetime.timedelta(minutes=1) if value else None))
        elif what in ("notify", "notify_all"):
            count = len(waiting) if value is None else value
            condition.notify_all() if value is None else condition.notify(value)
            expected |= dict.fromkeys(waiting[:count], True)
            del waiting[:count]
        elif what == "cancel" and value < len(futures):
            cancelled = futures[value].cancel()
            assert cancelled == (value in waiting)
            if cancelled:
                waiting.remove(value)
                expected[value] = "cancelled"
        elif what == "expire" and value in waiting and futures[value].timer is not None:
            futures[value].line._expire(futures[value])
            waiting.remove(value)
            expected[value] = False
        else:
            await asyncio.sleep(0)
        found = {
            index: "cancelled" if future.cancelled() else future.result()
            for index, future in enumerate(futures)
            if future.done()
        }
        assert found == expected
        assert repr(condition) == (f"<Condition waiters[{len(waiting)}]>" if waiting else "<Condition>")
    condition.notify_all()


# --- Event ---


async def test_event() -> None:
    event = Event()
    assert (event.is_set(), repr(event)) == (False, "<Event clear>")
    waiting = [event.wait(), event.wait(datetime.timedelta(minutes=1))]
    event.set()
    assert (event.is_set(), repr(event)) == (True, "<Event set>")
    assert [await future for future in waiting] == [None, None]
    assert event.wait().done()
    assert event.wait(0).done()
    event.set()
    event.clear()
    assert not event.is_set()
    assert not event.wait().done()


async def test_those_who_were_woken_do_not_miss_it_when_it_is_cleared() -> None:
    event = Event()

    async def wait() -> str:
        await event.wait()
        return "seen"

    task = asyncio.create_task(wait())
    await settle()
    event.set()
    event.clear()
    assert await task == "seen"


async def test_event_deadlines() -> None:
    event = Event()
    for timeout in (0, SOON, datetime.timedelta(0)):
        with pytest.raises(gen.TimeoutError):
            await event.wait(timeout)
    event.set()
    await event.wait(0)
    await event.wait(SOON)


async def test_cancelled_waits_do_not_disturb_the_others() -> None:
    event = Event()
    first, second = event.wait(), event.wait()
    first.cancel()
    event.set()
    await second


def test_made_before_there_is_a_loop() -> None:
    event, condition = Event(), Condition()

    async def main() -> None:
        waiting = condition.wait()
        event.set()
        condition.notify()
        await event.wait()
        await waiting

    asyncio.run(main())
