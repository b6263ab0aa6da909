"""What may be yielded, and `multi`."""

import asyncio
import concurrent.futures
from collections.abc import Callable
from typing import Any

import pytest

from webfw import gen
from webfw.gen.yieldables import convert_yielded, moment, multi
from webfw.ioloop import IOLoop


async def turn() -> None:
    await asyncio.sleep(0)


def failed(error: BaseException) -> "asyncio.Future[Any]":
    future: asyncio.Future[Any] = asyncio.Future()
    future.set_exception(error)
    return future


@pytest.mark.parametrize("thing", [3, "x", (), (None,), set(), iter([]), object(), lambda: None, b""])
async def test_what_cannot_be_waited_for_is_refused(thing: Any) -> None:
    with pytest.raises(gen.BadYieldError, match="yielded unknown object"):
        convert_yielded(thing)


async def test_futures_stay_what_they_are() -> None:
    future: asyncio.Future[int] = asyncio.Future()
    assert convert_yielded(future) is future
    task = asyncio.create_task(turn())
    assert convert_yielded(task) is task
    await task


async def test_a_coroutine_is_started() -> None:
    seen = []

    async def run() -> str:
        seen.append(1)
        return "done"

    future = convert_yielded(run())
    assert isinstance(future, asyncio.Future)
    await turn()
    assert seen == [1]
    assert await future == "done"


async def test_any_awaitable_is_waited_for() -> None:
    class Later:
        def __await__(self) -> Any:
            return asyncio.sleep(0, "later").__await__()

    assert await convert_yielded(Later()) == "later"


async def test_futures_of_threads_become_asyncios() -> None:
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        future = convert_yielded(pool.submit(int, "12"))
        assert isinstance(future, asyncio.Future)
        assert await future == 12


async def test_finished_futures_of_threads_are_finished_at_once() -> None:
    source: concurrent.futures.Future[int] = concurrent.futures.Future()
    source.set_result(5)
    assert convert_yielded(source).result() == 5
    source = concurrent.futures.Future()
    source.set_exception(ValueError("x"))
    assert isinstance(convert_yielded(source).exception(), ValueError)
    source = concurrent.futures.Future()
    source.cancel()
    assert convert_yielded(source).cancelled()


async def test_moment_takes_one_turn_wherever_it_is_awaited() -> None:
    order = []
    asyncio.get_running_loop().call_soon(order.append, "other")
    await moment
    assert order == ["other"]
    assert convert_yielded(None) is moment
    assert convert_yielded(moment) is moment
    assert repr(moment) == "<moment>"


async def test_more_types_can_be_registered() -> None:
    class Job:
        pass

    class Special(Job):
        pass

    @convert_yielded.register
    def _(job: Job) -> Any:
        future: asyncio.Future[str] = asyncio.Future()
        future.set_result(type(job).__name__)
        return future

    assert await convert_yielded(Job()) == "Job"
    assert await multi([Special(), Job()]) == ["Special", "Job"]


def test_run_sync_and_callbacks_wait_for_what_may_be_yielded(expect_log: Callable[..., Any]) -> None:
    class Job:
        """Known to `convert_yielded` alone."""

    class Silent:
        def __repr__(self) -> str:
            raise AssertionError

    async def run(value: int) -> int:
        await asyncio.sleep(0)
        seen.append(value)
        if value < 0:
            raise ValueError(value)
        return value

    @convert_yielded.register
    def _(job: Job) -> Any:
        return run(0)

    seen: list[int] = []
    loop = IOLoop(make_current=False)
    try:
        assert loop.run_sync(lambda: [run(1), {"two": run(2)}]) == [1, {"two": 2}]
        assert loop.run_sync(Job) == 0
        assert loop.run_sync(lambda: moment) is None
        assert loop.run_sync(lambda: [1, None, "three"]) == [1, None, "three"]  # nothing to wait for
        with pytest.raises(ValueError, match="-1"):
            loop.run_sync(lambda: [run(3), run(-1)])
        with pytest.raises(TimeoutError, match="timed out after"):
            loop.run_sync(lambda: [asyncio.Event().wait()], timeout=0.01)
        seen.clear()
        loop.add_callback(lambda: [run(4), run(5)])
        loop.add_callback(Job)
        loop.add_callback(list, "12")
        loop.run_sync(lambda: asyncio.sleep(0.001))
        assert sorted(seen) == [0, 4, 5]
        loop.add_callback(Silent)  # may be large: nobody asks what it looks like
        loop.add_callback(lambda: {"bad": run(-2)})
        with expect_log("webfw.application", "Exception in callback .*lambda"):
            loop.run_sync(lambda: asyncio.sleep(0.001))
    finally:
        loop.asyncio_loop.run_until_complete(_cancel_all())
        loop.close()


async def _cancel_all() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


# --- multi ---


@pytest.mark.parametrize(
    ("children", "expected"),
    [
        ([], []),
        ((), []),
        (set(), []),
        ({}, {}),
        ([None], [None]),
        ({"a": None, 3: moment}, {"a": None, 3: None}),
        ([[None], {"a": []}], [[None], {"a": []}]),
    ],
)
async def test_multi_of_nothing_to_wait_for_is_done_at_once(children: Any, expected: Any) -> None:
    future = multi(children)
    assert future.done()
    assert future.result() == expected


async def test_multi_keeps_the_order_and_the_keys() -> None:
    first, second = asyncio.Future[int](), asyncio.Future[int]()
    both = multi({"one": first, "two": [second, first]})
    second.set_result(2)
    await turn()
    await turn()
    assert not both.done()
    first.set_result(1)
    assert await both == {"one": 1, "two": [2, 1]}
    assert list(both.result()) == ["one", "two"]


async def test_multi_starts_all_children_at_once() -> None:
    gate = asyncio.Event()

    async def open_gate() -> str:
        gate.set()
        return "opened"

    async def pass_gate() -> str:
        await gate.wait()
        return "passed"

    assert await multi(iter([pass_gate(), open_gate()])) == ["passed", "opened"]


async def test_multi_waits_for_all_and_raises_the_first_in_order(expect_log: Any) -> None:
    first, second = asyncio.Future[int](), asyncio.Future[int]()
    both = multi([first, second])
    second.set_exception(KeyError("second"))
    await turn()
    assert not both.done()
    first.set_exception(ValueError("first"))
    with (
        expect_log("webfw.application", "Multiple exceptions in yield list", count=1) as records,
        pytest.raises(ValueError, match="first"),
    ):
        await both
    assert records[0].exc_info[0] is KeyError


async def test_quiet_exceptions_are_not_logged(expect_log: Any) -> None:
    children = [failed(error) for error in (ValueError(1), KeyError(2), OSError(3), TypeError(4))]
    with (
        expect_log("webfw.application", "Multiple exceptions", count=1) as records,
        pytest.raises(ValueError, match="1"),
    ):
        await multi(children, quiet_exceptions=(LookupError, OSError))
    assert records[0].exc_info[0] is TypeError


async def test_a_cancelled_child_cancels_multi_and_is_never_logged(expect_log: Any) -> None:
    cancelled: asyncio.Future[int] = asyncio.Future()
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await multi([cancelled])
    with pytest.raises(ValueError, match="x"):
        await multi([failed(ValueError("x")), cancelled])
    with (
        expect_log("webfw.application", "Multiple exceptions", count=1),
        pytest.raises(asyncio.CancelledError),
    ):
        await multi([cancelled, failed(ValueError("x"))])


async def test_cancelling_multi_leaves_the_children_alone() -> None:
    child: asyncio.Future[int] = asyncio.Future()
    both = multi([child])
    both.cancel()
    await turn()
    child.set_result(3)
    await turn()
    assert child.result() == 3
    assert both.cancelled()


async def test_an_unknown_child_is_refused_at_once() -> None:
    with pytest.raises(gen.BadYieldError):
        multi([None, 3])
    with pytest.raises(TypeError):
        multi(3)


async def test_old_names() -> None:
    assert gen.Multi is gen.multi_future is gen.multi
    assert len({gen.KeyReuseError, gen.UnknownKeyError, gen.LeakedCallbackError}) == 3
