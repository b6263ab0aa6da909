"""`AsyncTestCase` and `gen_test`: cases are run by unittest in here, and looked at from the outside."""

import asyncio
import contextlib
import logging
import sys
import unittest
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from webfw import gen
from webfw.ioloop import IOLoop
from webfw.platform.asyncio import AsyncIOMainLoop
from webfw.testing import AsyncTestCase, gen_test, setup_with_context_manager


@pytest.fixture(autouse=True)
def _no_loop_is_left() -> Iterator[None]:
    yield
    assert IOLoop.current(instance=False) is None


def run(case: type[unittest.TestCase], name: str = "test") -> unittest.TestResult:
    result = unittest.TestResult()
    case(name).run(result)
    return result


def run_test(method: Callable[..., Any], base: type[AsyncTestCase] = AsyncTestCase) -> unittest.TestResult:
    return run(type("Case", (base,), {"test": method}))


def passed(method: Callable[..., Any]) -> None:
    result = run_test(method)
    assert result.testsRun == 1
    assert result.wasSuccessful(), (result.errors + result.failures)[0][1]


def failed(method: Callable[..., Any]) -> str:
    """The traceback of a test that fails, or ends with an error."""
    result = run_test(method)
    (problem,) = result.errors + result.failures
    return problem[1]


# wait() and stop()


def test_wait_returns_what_stop_was_given() -> None:
    def test(self: AsyncTestCase) -> None:
        self.io_loop.add_callback(self.stop, 42)
        assert self.wait() == 42
        self.io_loop.add_callback(self.stop, a=1)
        assert self.wait() == {"a": 1}
        self.stop("before")
        assert self.wait() == "before"
        self.io_loop.add_callback(self.stop)
        assert self.wait() is None

    passed(test)


def test_stop_takes_one_kind_of_value() -> None:
    assert "one value, or keywords" in failed(lambda self: self.stop(1, a=2))


def test_wait_for_a_condition() -> None:
    def test(self: AsyncTestCase) -> None:
        seen: list[int] = []

        def step() -> None:
            seen.append(1)
            self.stop(len(seen))
            if len(seen) < 3:
                self.io_loop.add_callback(step)

        self.io_loop.add_callback(step)
        assert self.wait(lambda: len(seen) == 3) == 3

    passed(test)


def test_wait_is_over_in_time() -> None:
    def test(self: AsyncTestCase) -> None:
        self.wait(timeout=0.01)

    assert "AssertionError: Async operation timed out after 0.01 seconds" in failed(test)


def test_time_of_one_wait_does_not_end_the_next() -> None:
    def test(self: AsyncTestCase) -> None:
        self.io_loop.add_callback(self.stop)
        self.wait(timeout=0.3)
        self.io_loop.call_later(0.4, self.stop, "second")
        assert self.wait() == "second"

    passed(test)


def test_no_limit() -> None:
    def test(self: AsyncTestCase) -> None:
        self.io_loop.call_later(0.01, self.stop, "late")
        assert self.wait(timeout=0) == "late"

    passed(test)


def test_the_default_limit_is_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASYNC_TEST_TIMEOUT", "0.01")
    assert "timed out after 0.01 seconds" in failed(lambda self: self.wait())

    @gen_test
    async def test(self: AsyncTestCase) -> None:
        await asyncio.sleep(1000)

    assert "timed out after 0.01 seconds" in failed(test)


# The loop and its end.


def test_every_test_has_a_loop_of_its_own() -> None:
    loops = []

    def test(self: AsyncTestCase) -> None:
        assert IOLoop.current() is self.io_loop
        loops.append(self.io_loop)

    passed(test)
    passed(test)
    assert loops[0] is not loops[1]
    assert all(loop.asyncio_loop.is_closed() for loop in loops)


def test_own_loop() -> None:
    made: list[IOLoop] = []

    class Case(AsyncTestCase):
        def get_new_ioloop(self) -> IOLoop:
            made.append(IOLoop(make_current=False))
            return made[-1]

        def test(self) -> None:
            assert self.io_loop is made[0] is IOLoop.current()

    assert run(Case).wasSuccessful()


@pytest.mark.parametrize("kind", [IOLoop, AsyncIOMainLoop])
def test_a_loop_that_code_under_test_has_kept_stays_open(kind: type[IOLoop]) -> None:
    kept = asyncio.new_event_loop()
    asyncio.set_event_loop(kept)
    loop = kind(asyncio_loop=kept) if kind is IOLoop else kind()
    tasks: list[asyncio.Task[None]] = []

    class Case(AsyncTestCase):
        def get_new_ioloop(self) -> IOLoop:
            return IOLoop.current()

        @gen_test
        async def test(self) -> None:
            assert self.io_loop is loop
            await self.io_loop.run_in_executor(None, str)
            tasks.append(asyncio.create_task(asyncio.sleep(1000)))

    try:
        for _ in range(2):
            result = run(Case)
            assert result.wasSuccessful(), result.errors[0][1]
            assert IOLoop.current(instance=False) is loop
            assert tasks[-1].cancelled()
        assert loop.run_sync(lambda: 5) == 5
    finally:
        kept.run_until_complete(kept.shutdown_default_executor())
        loop.close()


def test_what_is_left_is_cancelled() -> None:
    ends: list[str] = []

    async def for_ever(name: str) -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            ends.append(name)

    async def numbers() -> Any:
        try:
            yield 1
        finally:
            ends.append("generator")

    @gen_test
    async def test(self: AsyncTestCase) -> None:
        self.tasks = [asyncio.ensure_future(for_ever("task"))]  # type: ignore[attr-defined]
        self.left = numbers()  # type: ignore[attr-defined]
        async for _ in self.left:  # type: ignore[attr-defined]
            break
        await asyncio.sleep(0)

    passed(test)
    assert ends == ["task", "generator"]


def test_a_task_that_fails_at_the_end_is_told(expect_log: Any) -> None:
    async def stubborn() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            raise ValueError("at the end")

    @gen_test
    async def test(self: AsyncTestCase) -> None:
        self.task = asyncio.ensure_future(stubborn())  # type: ignore[attr-defined]
        await asyncio.sleep(0)

    with expect_log("asyncio", "a task failed at the end of a test", count=1):
        passed(test)


def test_a_loop_that_the_test_has_closed() -> None:
    def test(self: AsyncTestCase) -> None:
        self.io_loop.close(all_fds=True)

    passed(test)


def test_setup_that_fails() -> None:
    class Case(AsyncTestCase):
        def setUp(self) -> None:
            super().setUp()
            raise ValueError("no")

        def test(self) -> None:
            raise AssertionError

    assert "ValueError: no" in run(Case).errors[0][1]


# Tests that forget gen_test.


async def _coroutine(self: AsyncTestCase) -> None:
    raise AssertionError("not run")


def _generator(self: AsyncTestCase) -> Any:
    yield


@pytest.mark.parametrize("method", [_coroutine, _generator])
def test_gen_test_is_not_to_be_forgotten(method: Callable[..., Any]) -> None:
    assert (
        "TypeError: Generator and coroutine test methods should be decorated with webfw.testing.gen_test"
        in failed(method)
    )


def test_a_value_is_a_mistake() -> None:
    assert "ValueError: Return value from test method ignored: 42" in failed(lambda self: 42)


# gen_test


def test_native_coroutines() -> None:
    @gen_test
    async def test(self: AsyncTestCase) -> None:
        """Its words."""
        await asyncio.sleep(0)
        assert asyncio.get_running_loop() is self.io_loop.asyncio_loop

    assert (test.__name__, test.__doc__) == ("test", "Its words.")
    passed(test)


def test_generators() -> None:
    @gen_test(timeout=3)
    def test(self: AsyncTestCase) -> Any:
        assert (yield [gen.maybe_future(1), gen.maybe_future(2)]) == [1, 2]
        yield gen.moment
        with pytest.raises(ZeroDivisionError):
            yield self.io_loop.run_in_executor(None, lambda: 1 / 0)

    passed(test)


def test_functions_that_give_a_future_or_nothing() -> None:
    seen = []

    @gen_test
    def future(self: AsyncTestCase) -> Any:
        async def inner() -> None:
            seen.append("future")

        return asyncio.ensure_future(inner())

    @gen_test
    def nothing(self: AsyncTestCase) -> None:
        seen.append("nothing")

    passed(future)
    passed(nothing)
    assert seen == ["future", "nothing"]


def test_arguments_and_result() -> None:
    class Case(AsyncTestCase):
        @gen_test
        async def add(self, one: int, *, two: int) -> int:
            return one + two

        def test(self) -> None:
            assert self.add(1, two=2) == 3  # type: ignore[comparison-overlap]

    assert run(Case).wasSuccessful()


def test_exceptions_keep_their_traceback() -> None:
    @gen_test
    async def test(self: AsyncTestCase) -> None:
        await asyncio.sleep(0)
        raise KeyError("lost")

    assert 'raise KeyError("lost")' in failed(test)


def test_skip() -> None:
    @gen_test
    async def test(self: AsyncTestCase) -> None:
        self.skipTest("not today")

    assert run_test(test).skipped[0][1] == "not today"


def test_timeout_tells_where_the_test_waited() -> None:
    async def inner() -> None:
        await asyncio.sleep(1000)  # in the task

    async def outer() -> None:
        await asyncio.ensure_future(inner())

    @gen_test(timeout=0.3)
    async def test(self: AsyncTestCase) -> None:
        await outer()

    text = failed(test)
    assert "TimeoutError: Operation timed out after 0.3 seconds" in text
    note = text[text.index("The test was waiting here") :]
    places = ["await outer()", "await asyncio.ensure_future(inner())", "# in the task"]
    assert [note.index(place) for place in places] == sorted(note.index(place) for place in places)
    assert "testing/cases.py" not in note


def test_timeout_of_a_generator_tells_it_too() -> None:
    @gen_test(timeout=0.3)
    def test(self: AsyncTestCase) -> Any:
        def inner() -> Any:
            yield asyncio.sleep(1000)  # in the inner one

        yield from inner()

    text = failed(test)
    assert "TimeoutError: Operation timed out after 0.3 seconds" in text
    assert "# in the inner one" in text[text.index("The test was waiting here") :]


def test_timeout_cancels() -> None:
    ends = []

    @gen_test(timeout=0.3)
    async def test(self: AsyncTestCase) -> None:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise

    failed(test)
    assert ends == ["cancelled"]


def test_timeouts_of_the_test_itself_have_no_note() -> None:
    @gen_test
    async def test(self: AsyncTestCase) -> None:
        await asyncio.sleep(0)
        raise TimeoutError("mine")

    text = failed(test)
    assert "TimeoutError: mine" in text
    assert "was waiting here" not in text


def test_setup_with_context_manager() -> None:
    steps = []

    @contextlib.contextmanager
    def manager() -> Iterator[str]:
        steps.append("in")
        yield "value"
        steps.append("out")

    class Case(unittest.TestCase):
        def test(self) -> None:
            steps.append(setup_with_context_manager(self, manager()))

    assert run(Case).wasSuccessful()
    assert steps == ["in", "value", "out"]


def test_nothing_is_logged_or_warned(caplog: pytest.LogCaptureFixture) -> None:
    @gen_test
    async def test(self: AsyncTestCase) -> None:
        await asyncio.get_running_loop().run_in_executor(None, sys.getsizeof, 1)

    with caplog.at_level(logging.INFO):
        passed(test)
    assert caplog.records == []
