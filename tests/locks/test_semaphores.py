"""Semaphores and locks."""

import asyncio
import datetime
import gc
import re
import weakref
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw import gen
from webfw.locks import BoundedSemaphore, Lock, Semaphore

SOON = datetime.timedelta(milliseconds=1)
LONG = datetime.timedelta(minutes=1)
KINDS = [Lock, Semaphore, BoundedSemaphore]


async def settle() -> None:
    for _ in range(4):
        await asyncio.sleep(0)


@pytest.mark.parametrize("kind", KINDS)
async def test_acquire_release(kind: Any) -> None:
    lock = kind()
    first = lock.acquire()
    second, third = lock.acquire(), lock.acquire(LONG)
    assert (first.done(), second.done(), third.done()) == (True, False, False)
    lock.release()
    assert (second.done(), third.done()) == (True, False)
    lock.release()
    await third
    lock.release()
    assert lock.acquire(0).done()


@pytest.mark.parametrize("kind", KINDS)
async def test_async_with(kind: Any) -> None:
    lock = kind()
    inside = 0

    async def use() -> None:
        nonlocal inside
        async with lock as nothing:
            assert nothing is None
            assert inside == 0
            inside += 1
            await asyncio.sleep(0)
            inside -= 1

    await gen.multi([use() for _ in range(5)])
    with pytest.raises(ValueError, match="inside"):
        async with lock:
            raise ValueError("inside")
    assert lock.acquire().done()


@pytest.mark.parametrize("kind", KINDS)
async def test_with_in_a_generator(kind: Any) -> None:
    lock = kind()
    seen = []

    @gen.coroutine
    def use(number: int) -> Any:
        with (yield lock.acquire()) as nothing:
            assert nothing is None
            seen.append(f"{number} in")
            yield gen.moment
            seen.append(f"{number} out")

    yield_all = [use(1), use(2)]
    await gen.multi(yield_all)
    assert seen == ["1 in", "1 out", "2 in", "2 out"]
    with pytest.raises(ValueError, match="inside"), await lock.acquire():
        raise ValueError("inside")
    assert lock.acquire().done()


@pytest.mark.parametrize("kind", KINDS)
def test_plain_with_says_what_to_do(kind: Any) -> None:
    with pytest.raises(RuntimeError, match=f"'async with' instead of 'with' for {kind.__name__}"), kind():
        pass
    with pytest.raises(RuntimeError, match="async with"):
        kind().__exit__(None, None, None)


@pytest.mark.parametrize("kind", KINDS)
async def test_deadlines(kind: Any) -> None:
    lock = kind()
    await lock.acquire()
    for timeout in (0, SOON, datetime.timedelta(0)):
        with pytest.raises(gen.TimeoutError):
            await lock.acquire(timeout)
    with pytest.raises(TypeError):
        lock.acquire("x")
    lock.release()
    await lock.acquire(0)


async def test_released_too_often() -> None:
    with pytest.raises(RuntimeError, match="not locked"):
        Lock().release()
    with pytest.raises(ValueError, match="too many times"):
        BoundedSemaphore(3).release()
    semaphore = Semaphore(0)
    semaphore.release()
    assert semaphore.acquire().done()
    bounded = BoundedSemaphore()
    await bounded.acquire()
    waiting = bounded.acquire()
    bounded.release()
    bounded.release()
    assert waiting.done()
    with pytest.raises(ValueError, match="too many times"):
        bounded.release()


def test_initial_values() -> None:
    for kind in (Semaphore, BoundedSemaphore):
        with pytest.raises(ValueError, match="0 or more"):
            kind(-1)
    with pytest.raises(ValueError, match="too many"):
        BoundedSemaphore(0).release()


async def test_reprs() -> None:
    semaphore = Semaphore(2)
    assert re.fullmatch(r"<[\w.]+\.Semaphore object at 0x[0-9a-f]+ \[unlocked,value:2\]>", repr(semaphore))
    semaphore.acquire()
    semaphore.acquire()
    assert repr(semaphore).endswith("[locked]>")
    semaphore.acquire()
    assert repr(semaphore).endswith("[locked,waiters:1]>")
    lock = Lock()
    assert re.fullmatch(r"<[\w.]+\.Lock object at 0x[0-9a-f]+ \[unlocked\]>", repr(lock))
    lock.acquire()
    waiting = lock.acquire()
    assert repr(lock).endswith("[locked,waiters:1]>")
    waiting.cancel()
    assert repr(lock).endswith("[locked]>")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("direct", [True, False])
async def test_a_task_cancelled_as_it_is_woken_passes_the_lock_on(kind: Any, direct: bool) -> None:
    lock = kind()

    async def use() -> str:
        if direct:
            with await lock.acquire():
                return "had it"
        async with lock:
            return "had it"

    await lock.acquire()
    tasks = [asyncio.create_task(use()) for _ in range(3)]
    await settle()
    lock.release()
    tasks[0].cancel()
    tasks[1].cancel()
    assert await tasks[2] == "had it"
    assert tasks[0].cancelled()
    assert tasks[1].cancelled()
    assert lock.acquire().done()


async def test_wait_for_and_with_timeout() -> None:
    lock = Lock()
    await lock.acquire()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(lock.acquire(), 0.001)
    assert repr(lock).endswith("[locked]>")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await lock.acquire()
    assert repr(lock).endswith("[locked]>")
    with pytest.raises(TimeoutError):
        await gen.with_timeout(0, lock.acquire())
    assert repr(lock).endswith("[locked,waiters:1]>")  # as documented: with_timeout cancels nothing


async def test_late_waiters_do_not_pile_up() -> None:
    lock = Lock()
    await lock.acquire()
    waiting = [lock.acquire(0) for _ in range(500)] + [lock.acquire() for _ in range(500)]
    for future in waiting[500:]:
        future.cancel()
    await asyncio.wait(waiting[:500])
    assert all(isinstance(future.exception(), TimeoutError) for future in waiting[:500])
    assert repr(lock).endswith("[locked]>")


async def test_a_lock_is_no_reference_cycle() -> None:
    gc.collect()
    gc.disable()
    try:
        lock = Lock()
        reference = weakref.ref(lock)
        async with lock:
            waiting = lock.acquire()
        (await waiting).__exit__(None, None, None)
        del waiting, lock
        await asyncio.sleep(0)
        assert reference() is None
    finally:
        gc.enable()


# --- against models ---

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("acquire"), st.booleans()),
        st.tuples(st.just("release"), st.none()),
        st.tuples(st.just("cancel"), st.integers(0, 20)),
        st.tuples(st.just("expire"), st.integers(0, 20)),
        st.tuples(st.just("turn"), st.none()),
    ),
    max_size=40,
)


@given(value=st.integers(0, 3), steps=STEPS)
async def test_futures_against_a_model(value: int, steps: list[tuple[str, Any]]) -> None:
    """A counter and a list of those who wait, in order."""
    semaphore = Semaphore(value)
    futures: list[Any] = []
    waiting: list[int] = []
    expected: dict[int, str] = {}
    for what, argument in steps:
        if what == "acquire":
            if value:
                value -= 1
                expected[len(futures)] = "has it"
            else:
                waiting.append(len(futures))
            futures.append(semaphore.acquire(LONG if argument else None))
        elif what == "release":
            semaphore.release()
            if waiting:
                expected[waiting.pop(0)] = "has it"
            else:
                value += 1
        elif what == "cancel" and argument < len(futures):
            cancelled = futures[argument].cancel()
            assert cancelled == (argument in waiting)
            if cancelled:
                waiting.remove(argument)
                expected[argument] = "cancelled"
        elif what == "expire" and argument in waiting and futures[argument].timer is not None:
            futures[argument].line._expire(futures[argument])
            waiting.remove(argument)
            expected[argument] = "late"
        else:
            await asyncio.sleep(0)
        found = {}
        for index, future in enumerate(futures):
            if future.done():
                late = not future.cancelled() and future.exception()
                found[index] = "cancelled" if future.cancelled() else "late" if late else "has it"
        assert found == expected
        state = f"unlocked,value:{value}" if value else "locked"
        assert f"[{state}{f',waiters:{len(waiting)}' if waiting else ''}]" in repr(semaphore)


@given(
    value=st.integers(1, 3),
    steps=st.lists(
        st.tuples(st.sampled_from(["start", "leave", "cancel", "turn", "turns"]), st.integers(0, 15)),
        max_size=40,
    ),
)
async def test_tasks_never_lose_a_place(value: int, steps: list[tuple[str, int]]) -> None:
    """Tasks come, leave and are cancelled, several in one turn: no more are inside than may, and none for nothing."""
    semaphore = BoundedSemaphore(value)
    inside: set[int] = set()
    entered: list[int] = []
    gates: list[asyncio.Event] = []
    tasks: list[asyncio.Task[None]] = []

    async def use(number: int) -> None:
        async with semaphore:
            inside.add(number)
            entered.append(number)
            assert len(inside) <= value
            try:
                await gates[number].wait()
            finally:
                inside.remove(number)

    for what, number in steps:
        if what == "start":
            gates.append(asyncio.Event())
            tasks.append(asyncio.create_task(use(len(tasks))))
        elif what == "leave" and number < len(tasks):
            gates[number].set()
        elif what == "cancel" and number < len(tasks):
            tasks[number].cancel()
        elif what == "turn":
            await asyncio.sleep(0)
        elif what == "turns":
            await settle()
            await settle()
            running = sum(not task.done() for task in tasks)
            closed = sum(
                not task.done() and not gate.is_set() for task, gate in zip(tasks, gates, strict=True)
            )
            assert len(inside) >= min(value, closed)
            assert running >= len(inside)
    assert entered == sorted(entered)
    for gate in gates:
        gate.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert inside == set()
    assert f"[unlocked,value:{value}]" in repr(semaphore)
