"""Queues between coroutines."""

import asyncio
import datetime
import gc
import re
import weakref
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webfw import gen
from webfw.queues import LifoQueue, PriorityQueue, Queue, QueueEmpty, QueueFull

SOON = datetime.timedelta(milliseconds=1)
LONG = datetime.timedelta(minutes=1)
KINDS = [Queue, PriorityQueue, LifoQueue]


async def settle() -> None:
    for _ in range(4):
        await asyncio.sleep(0)


# --- in and out ---


@pytest.mark.parametrize(
    ("kind", "expected"), [(Queue, [2, 3, 1]), (PriorityQueue, [1, 2, 3]), (LifoQueue, [1, 3, 2])]
)
async def test_order(kind: Any, expected: list[int]) -> None:
    queue = kind()
    for item in (2, 3, 1):
        assert queue.put(item).done()
    assert (queue.qsize(), queue.empty(), queue.full(), queue.maxsize) == (3, False, False, 0)
    assert [await queue.get(), queue.get_nowait(), queue.get().result()] == expected
    assert queue.empty()


@pytest.mark.parametrize("kind", KINDS)
async def test_full_and_empty(kind: Any) -> None:
    queue = kind(maxsize=2)
    with pytest.raises(QueueEmpty):
        queue.get_nowait()
    queue.put_nowait(1)
    assert not queue.full()
    queue.put_nowait(2)
    assert queue.full()
    with pytest.raises(QueueFull):
        queue.put_nowait(3)
    assert queue.qsize() == 2


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_sizes(kind: Any) -> None:
    with pytest.raises(TypeError, match="None"):
        kind(None)
    with pytest.raises(ValueError, match="negative"):
        kind(-1)


@pytest.mark.parametrize("kind", KINDS)
async def test_getters_are_served_in_the_order_they_came(kind: Any) -> None:
    queue = kind()
    getters = [queue.get() for _ in range(4)]
    getters[1].cancel()
    queue.put_nowait("a")
    queue.put("b")
    assert [getter.done() for getter in getters] == [True, True, True, False]
    assert (getters[0].result(), getters[2].result()) == ("a", "b")
    assert queue.qsize() == 0


async def test_putters_are_let_in_in_the_order_they_came() -> None:
    queue: Queue[int] = Queue(1)
    putters = [queue.put(number) for number in range(5)]
    putters[2].cancel()
    assert [putter.done() for putter in putters] == [True, False, True, False, False]
    assert await queue.get() == 0
    assert putters[1].done()
    assert queue.get_nowait() == 1
    assert putters[3].done()
    assert not putters[4].done()
    assert [queue.get_nowait(), queue.get_nowait()] == [3, 4]
    assert queue.empty()


@settings(max_examples=50)
@given(st.lists(st.integers(-9, 9), max_size=20), st.integers(-9, 9))
async def test_what_cannot_be_compared_was_not_put(numbers: list[int], number: int) -> None:
    class Odd(int):
        """A number that 0 cannot be compared with: the push may fail at once, or on its way up."""

        def __lt__(self, other: int) -> bool:
            if other == 0:
                raise TypeError("not with 0")
            return int(self) < int(other)

    queue: PriorityQueue[int] = PriorityQueue()
    for each in numbers:
        queue.put_nowait(each)
    before = list(queue._queue)
    try:
        queue.put_nowait(Odd(number))
    except TypeError:
        assert queue._queue == before
        left = numbers
    else:
        left = [*numbers, number]
    for _ in left:
        queue.task_done()
    assert queue.join().done()
    if left is numbers:
        assert [queue.get_nowait() for _ in left] == sorted(left)


@pytest.mark.parametrize("get", [PriorityQueue.get, PriorityQueue.get_nowait])
async def test_a_waiting_item_that_cannot_be_put_is_the_fault_of_who_brought_it(get: Any) -> None:
    queue: PriorityQueue[Any] = PriorityQueue(maxsize=1)
    queue.put_nowait(1)
    wrong, right = queue.put("one"), queue.put(2)
    assert await gen.convert_yielded(gen.maybe_future(get(queue))) == 1
    with pytest.raises(TypeError, match="not supported between"):
        await wrong
    await right
    assert queue.get_nowait() == 2
    queue.task_done()
    queue.task_done()
    assert queue.join().done()


@pytest.mark.parametrize(("kind", "first"), [(Queue, 2), (PriorityQueue, 1), (LifoQueue, 1)])
async def test_one_who_waits_for_room_competes_for_the_next_get(kind: Any, first: int) -> None:
    queue = kind(2)
    queue.put_nowait(2)
    queue.put_nowait(3)
    waiting = queue.put(1)
    assert queue.get_nowait() == first
    assert waiting.done()
    assert queue.full()


async def test_producer_and_consumer() -> None:
    queue: Queue[int] = Queue(2)
    seen = []

    async def consume() -> None:
        async for item in queue:
            seen.append(item)
            await asyncio.sleep(0)
            queue.task_done()

    consumers = [asyncio.create_task(consume()) for _ in range(3)]
    for item in range(50):
        await queue.put(item)
    await queue.join()
    assert seen == list(range(50))
    for consumer in consumers:
        consumer.cancel()
    await asyncio.wait(consumers)
    assert str(queue) == "<Queue maxsize=2>"


async def test_in_generators() -> None:
    queue: Queue[int] = Queue(1)

    @gen.coroutine
    def produce() -> Any:
        for item in range(20):
            yield queue.put(item)

    @gen.coroutine
    def consume() -> Any:
        found = []
        for _ in range(20):
            found.append((yield queue.get()))  # noqa: PERF401 (comprehensions cannot yield)
        return found

    results = await gen.multi([consume(), produce()])
    assert results[0] == list(range(20))


async def test_any_item_may_be_put() -> None:
    queue: Queue[Any] = Queue()
    waiting = queue.get()
    for item in (None, 0, ValueError("an item"), StopIteration(), queue):
        queue.put_nowait(item)
        assert await waiting is item
        waiting = queue.get()


# --- deadlines and cancellation ---


@pytest.mark.parametrize("kind", KINDS)
async def test_deadlines(kind: Any) -> None:
    queue = kind(1)
    for timeout in (0, SOON, datetime.timedelta(0)):
        with pytest.raises(gen.TimeoutError):
            await queue.get(timeout)
    await queue.put(1, 0)
    for timeout in (0, SOON, datetime.timedelta(0)):
        with pytest.raises(gen.TimeoutError):
            await queue.put(2, timeout)
    assert await queue.get(0) == 1
    assert queue.empty()
    queue.put_nowait(3)
    assert await queue.get() == 3
    with pytest.raises(TypeError):
        queue.get("x")


async def test_those_who_are_late_do_not_pile_up() -> None:
    queue: Queue[int] = Queue(1)
    waiting: list[Any] = [queue.get(0) for _ in range(300)]
    await asyncio.wait(waiting)
    assert str(queue) == "<Queue maxsize=1>"
    queue.put_nowait(1)
    putting: list[Any] = [queue.put(2, 0) for _ in range(300)]
    await asyncio.wait(putting)
    assert str(queue) == "<Queue maxsize=1 queue=deque([1]) tasks=1>"
    assert {type(future.exception()) for future in waiting + putting} == {gen.TimeoutError}


@pytest.mark.parametrize("kind", KINDS)
async def test_an_item_is_not_lost_with_a_cancelled_task(kind: Any) -> None:
    queue = kind()

    async def get() -> Any:
        return await queue.get()

    first, second = asyncio.create_task(get()), asyncio.create_task(get())
    await settle()
    queue.put_nowait("item")
    first.cancel()
    assert await second == "item"
    alone = asyncio.create_task(get())
    await settle()
    queue.put_nowait("a")
    queue.put_nowait("b")
    alone.cancel()
    await asyncio.wait([alone])
    assert alone.cancelled()
    assert sorted([queue.get_nowait(), queue.get_nowait()]) == ["a", "b"]


async def test_an_item_comes_back_to_where_it_was() -> None:
    for kind in KINDS:
        queue: Any = kind(2)
        task = asyncio.create_task(asyncio.wait_for(queue.get(), None))
        await settle()
        for item in (1, 2, 3):
            queue.put_nowait(item)
        task.cancel()
        await asyncio.wait([task])
        assert queue.qsize() == 3  # one more than may be, for a while
        assert queue.full()
        late = queue.put(4)
        assert not late.done()
        found = [queue.get_nowait(), queue.get_nowait(), queue.get_nowait()]
        assert found[0] == 1
        assert late.done()
        assert sorted([*found, queue.get_nowait()]) == [1, 2, 3, 4]


async def test_async_for_may_be_cancelled() -> None:
    queue: Queue[int] = Queue()
    seen = []

    async def consume() -> None:
        async for item in queue:
            seen.append(item)  # noqa: PERF401 (it never ends)

    task = asyncio.create_task(consume())
    await settle()
    queue.put_nowait(1)
    await settle()
    queue.put_nowait(2)
    task.cancel()
    await asyncio.wait([task])
    assert (seen, queue.get_nowait()) == ([1], 2)
    assert aiter(iterator := aiter(queue)) is iterator


# --- join ---


async def test_join() -> None:
    queue: Queue[int] = Queue()
    assert queue.join().done()
    queue.put_nowait(1)
    queue.put_nowait(2)
    joined, late = queue.join(), queue.join(SOON)
    assert [queue.get_nowait(), queue.get_nowait()] == [1, 2]
    with pytest.raises(gen.TimeoutError):
        await late
    queue.task_done()
    assert not joined.done()
    queue.task_done()
    assert await joined is None
    await queue.join(0)
    with pytest.raises(ValueError, match="too many times"):
        queue.task_done()
    waiting = queue.get()
    queue.put_nowait(3)
    assert await waiting == 3
    assert not queue.join().done()  # what was handed over directly counts as well
    queue.task_done()
    assert queue.join().done()


# --- looks and hooks ---


async def test_reprs() -> None:
    queue: Queue[int] = Queue(1)
    assert re.fullmatch(r"<Queue at 0x[0-9a-f]+ maxsize=1>", repr(queue))
    queue.get()
    assert str(queue) == "<Queue maxsize=1 getters[1]>"
    queue.put_nowait(1)
    queue.put_nowait(2)
    queue.put(3)
    assert str(queue) == "<Queue maxsize=1 queue=deque([2]) putters[1] tasks=2>"
    assert str(PriorityQueue()) == "<PriorityQueue maxsize=0>"


async def test_subclasses_decide_what_comes_first() -> None:
    class Unique(Queue[str]):
        """Each item once."""

        def _init(self) -> None:
            self._queue = dict[str, None]()

        def _put(self, item: str) -> None:
            self._queue[item] = None

        def _get(self) -> str:
            first: str = next(iter(self._queue))
            del self._queue[first]
            return first.upper()

    queue = Unique(2)
    waiting = queue.get()
    queue.put_nowait("a")
    assert await waiting == "A"  # what is handed over directly goes through the hooks, too
    for item in ("b", "b", "c"):
        queue.put_nowait(item)
    assert queue.qsize() == 2
    assert queue.full()
    assert str(queue) == "<Unique maxsize=2 queue={'b': None, 'c': None} tasks=4>"
    late = queue.put("d")
    assert [queue.get_nowait(), await queue.get(), queue.get_nowait()] == ["B", "C", "D"]
    assert late.done()
    task = asyncio.create_task(asyncio.wait_for(queue.get(), None))
    await settle()
    queue.put_nowait("e")
    task.cancel()
    await asyncio.wait([task])
    assert queue.get_nowait() == "E"


def test_made_before_there_is_a_loop() -> None:
    queue: Queue[int] = Queue()
    queue.put_nowait(3)

    async def main() -> int:
        return await queue.get()

    assert asyncio.run(main()) == 3


async def test_a_queue_is_no_reference_cycle() -> None:
    gc.collect()
    gc.disable()
    try:
        queue: Queue[int] = Queue(1)
        reference = weakref.ref(queue)
        waiting = queue.get(LONG)
        await queue.put(1)
        assert await waiting == 1
        del waiting, queue
        assert reference() is None
    finally:
        gc.enable()


# --- against a model ---


class Model:
    """Lists: what is in, and who waits with what."""

    def __init__(self, kind: type, maxsize: int) -> None:
        self.kind, self.maxsize = kind, maxsize
        self.items: list[int] = []
        self.getters: list[int] = []
        self.putters: list[tuple[int, int]] = []
        self.outcomes: dict[int, Any] = {}
        self.unfinished = 0

    def take(self) -> int:
        if self.kind is PriorityQueue:
            self.items.sort()
        return self.items.pop(-1 if self.kind is LifoQueue else 0)

    def add(self, item: int) -> None:
        self.unfinished += 1
        self.items.append(item)
        if self.getters:
            self.outcomes[self.getters.pop(0)] = self.take()

    def put(self, name: int, item: int) -> None:
        if self.maxsize and len(self.items) >= self.maxsize:
            self.putters.append((name, item))
        else:
            self.add(item)
            self.outcomes[name] = None

    def get(self, name: int) -> None:
        if self.putters:
            putter, item = self.putters.pop(0)
            self.add(item)
            self.outcomes[putter] = None
        if self.items:
            self.outcomes[name] = self.take()
        else:
            self.getters.append(name)

    def waits(self, name: int) -> bool:
        return name in self.getters or name in [putter for putter, _ in self.putters]

    def leave(self, name: int, outcome: Any) -> None:
        self.getters = [getter for getter in self.getters if getter != name]
        self.putters = [(putter, item) for putter, item in self.putters if putter != name]
        self.outcomes[name] = outcome


@given(
    kind=st.sampled_from(KINDS),
    maxsize=st.integers(0, 3),
    steps=st.lists(
        st.tuples(
            st.sampled_from(["put", "get", "get", "cancel", "expire", "task_done", "turn"]),
            st.integers(0, 15),
            st.booleans(),
        ),
        max_size=50,
    ),
)
async def test_against_a_model(kind: Any, maxsize: int, steps: list[tuple[str, int, bool]]) -> None:
    queue = kind(maxsize)
    model = Model(kind, maxsize)
    futures: list[Any] = []
    for what, number, timed in steps:
        timeout = LONG if timed else None
        if what == "put":
            model.put(len(futures), number)
            futures.append(queue.put(number, timeout))
        elif what == "get":
            model.get(len(futures))
            futures.append(queue.get(timeout))
        elif what == "cancel" and number < len(futures):
            cancelled = futures[number].cancel()
            assert cancelled == model.waits(number)
            if cancelled:
                model.leave(number, "cancelled")
        elif what == "expire" and model.waits(number):
            futures[number].line._expire(futures[number])
            model.leave(number, "late")
        elif what == "task_done" and model.unfinished:
            queue.task_done()
            model.unfinished -= 1
        else:
            await asyncio.sleep(0)
        found = {}
        for index, future in enumerate(futures):
            if future.done():
                late = not future.cancelled() and future.exception()
                found[index] = "cancelled" if future.cancelled() else "late" if late else future.result()
        assert found == model.outcomes
        assert queue.qsize() == len(model.items)
        assert queue.full() == bool(maxsize and len(model.items) >= maxsize)
        assert queue.join().done() == (model.unfinished == 0)


@given(
    kind=st.sampled_from(KINDS),
    maxsize=st.integers(0, 2),
    steps=st.lists(
        st.tuples(st.sampled_from(["put", "get", "get", "cancel", "turn"]), st.integers(0, 15)), max_size=40
    ),
)
async def test_tasks_never_lose_an_item(kind: Any, maxsize: int, steps: list[tuple[str, int]]) -> None:
    """Getting tasks come and are cancelled, several in one turn: each item comes out once, to one that can use it."""
    queue = kind(maxsize)
    taken: list[int] = []
    tasks: list[asyncio.Task[None]] = []
    put = 0

    async def get() -> None:
        taken.append(await queue.get())

    for what, number in steps:
        if what == "put" and not queue.full():
            queue.put_nowait(put)
            put += 1
        elif what == "get":
            tasks.append(asyncio.create_task(get()))
        elif what == "cancel" and number < len(tasks):
            tasks[number].cancel()
        elif what == "turn":
            await asyncio.sleep(0)
    await settle()
    waiting = [task for task in tasks if not task.done()]
    assert not waiting or queue.empty()
    while not queue.empty():
        taken.append(queue.get_nowait())
    assert sorted(taken) == list(range(put))
    for task in waiting:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
