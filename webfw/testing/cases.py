"""`AsyncTestCase` and `gen_test`: unittest on an event loop of its own; no server and no client may enter."""

import asyncio
import functools
import inspect
import traceback
import unittest
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from typing import Any, TypeVar, overload

from webfw.gen import coroutine
from webfw.ioloop import IOLoop
from webfw.ioloop.backend import thread_event_loop
from webfw.testing.ports import get_async_test_timeout

__all__ = ["AsyncTestCase", "gen_test", "setup_with_context_manager"]

_T = TypeVar("_T")
_Test = TypeVar("_Test", bound=Callable[..., Any])

#: Turns of the loop that what was closed at the end of a test has for its last callbacks.
LAST_TURNS = 3


class AsyncTestCase(unittest.TestCase):
    """A test case with an event loop of its own, which is the current one while its tests run.

    Coroutines are tests with `gen_test`.  Other tests run the loop with `wait` until somebody calls `stop`::

        class MyTestCase(AsyncTestCase):
            @gen_test
            async def test_fetch(self):
                response = await AsyncHTTPClient().fetch("http://www.example.com/")
                self.assertIn(b"example", response.body)

            def test_callback(self):
                self.io_loop.add_callback(self.stop, 42)
                self.assertEqual(self.wait(), 42)

    When a test is over, what still runs on the loop is cancelled, and the loop closed with all that is open on it;
    but not a loop that was this thread's current one before the test, and that `get_new_ioloop` returned.

    :ivar io_loop: the loop, from `setUp` on.
    """

    io_loop: IOLoop

    def __init__(self, methodName: str = "runTest") -> None:
        super().__init__(methodName)
        # Names of this class alone: test cases are full of attributes.
        self.__stopped = False
        self.__stop_value: Any = None
        self.__waiting = False
        self.__borrowed = False

    def get_new_ioloop(self) -> IOLoop:
        """Return the loop for a test.

        Override it for one with special properties, or to return the loop that code under test has kept.
        """
        return IOLoop(make_current=False)

    def setUp(self) -> None:
        """Make the loop; a test case that overrides this calls it first."""
        super().setUp()
        before = thread_event_loop()
        self.io_loop = self.get_new_ioloop()
        self.__borrowed = self.io_loop.asyncio_loop is before
        self.io_loop.make_current()
        self.addCleanup(
            self.__close_loop
        )  # where a setUp() fails that calls this one, there is no tearDown()

    def tearDown(self) -> None:
        """Close the loop; a test case that overrides this calls it last."""
        self.__close_loop()
        super().tearDown()

    def __close_loop(self) -> None:
        """End what is left on the loop, and close it unless it is others'; twice does no harm."""
        loop = self.io_loop.asyncio_loop
        if self.__borrowed and not loop.is_closed():
            loop.run_until_complete(_settle())
            return
        try:
            if not loop.is_closed():
                loop.run_until_complete(_settle())
                loop.run_until_complete(loop.shutdown_asyncgens())
                loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            if IOLoop.current(instance=False) is self.io_loop:
                IOLoop.clear_current()
            self.io_loop.close(all_fds=True)

    def run(self, result: unittest.TestResult | None = None) -> unittest.TestResult | None:
        """Run the test (see `unittest.TestCase.run`)."""
        return super().run(result)

    def _callTestMethod(self, method: Callable[[], Any]) -> None:
        """Run the test itself, as unittest calls it; what it returns is a mistake, which would pass unnoticed."""
        returned = method()
        if returned is None:
            return
        if inspect.iscoroutine(returned):
            returned.close()  # that it was never awaited is said below
        if inspect.iscoroutine(returned) or inspect.isgenerator(returned):
            raise TypeError(
                "Generator and coroutine test methods should be decorated with webfw.testing.gen_test"
            )
        raise ValueError(f"Return value from test method ignored: {returned!r}")

    def stop(self, _arg: Any = None, **kwargs: Any) -> None:
        """Have the running `wait`, or the next one, return.

        :param _arg: what it returns.
        :param kwargs: or a dictionary of what it returns.
        """
        assert _arg is None or not kwargs, "stop() takes one value, or keywords"
        self.__stop_value = kwargs or _arg
        if self.__waiting:
            self.io_loop.stop()
            self.__waiting = False
        self.__stopped = True

    def wait(self, condition: Callable[..., bool] | None = None, timeout: float | None = None) -> Any:
        """Run the loop until `stop` is called; return what that was given.

        :param condition: go on after a `stop` until this returns true.
        :param timeout: seconds; by default `get_async_test_timeout`, 0 for no limit.
        :raises AssertionError: the time was over.
        """
        if timeout is None:
            timeout = get_async_test_timeout()
        late = False

        def expire() -> None:
            nonlocal late
            late = True
            self.io_loop.stop()

        timer = self.io_loop.call_later(timeout, expire) if timeout else None
        try:
            while not self.__stopped or (condition is not None and not condition()):
                self.__waiting = True
                self.io_loop.start()
                if late:
                    raise self.failureException(f"Async operation timed out after {timeout} seconds")
        finally:
            self.__waiting = False
            if timer is not None:
                self.io_loop.remove_timeout(timer)
        self.__stopped = False
        value, self.__stop_value = self.__stop_value, None
        return value


async def _settle() -> None:
    """Cancel the tasks that a test has left, and wait for their ends."""
    me = asyncio.current_task()
    for _ in range(LAST_TURNS):  # of tasks that are about to end by themselves
        await asyncio.sleep(0)
    left = [task for task in asyncio.all_tasks() if task is not me]
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    loop = asyncio.get_running_loop()
    for task in left:
        if not task.cancelled() and (error := task.exception()) is not None:
            loop.call_exception_handler(
                {"message": "a task failed at the end of a test", "exception": error, "task": task}
            )
    for _ in range(LAST_TURNS):  # of connections that were closed
        await asyncio.sleep(0)


def _run_test(case: AsyncTestCase, test: Callable[[], Any], timeout: float) -> Any:
    """Run one test on the loop of its case."""
    steps: list[Any] = []
    places: list[str] = []

    async def run() -> Any:
        returned = test()
        if inspect.isgenerator(returned):
            steps.append(returned)

            def generator() -> Generator[Any, Any, Any]:
                return (yield from returned)

            return await coroutine(generator)()
        if inspect.isawaitable(returned):
            steps.append(asyncio.current_task())
            return await returned
        return returned

    def look() -> None:
        # Before the cancellation, which may lead the test anywhere.
        for step in steps:
            places.extend(_places_of_task(step) if isinstance(step, asyncio.Task) else _places(step))

    timer = case.io_loop.call_later(timeout, look)
    try:
        return case.io_loop.run_sync(run, timeout=timeout)
    except TimeoutError as error:
        if places:
            error.add_note("The test was waiting here (innermost last):\n" + "".join(places).rstrip("\n"))
        raise
    finally:
        case.io_loop.remove_timeout(timer)


def _places_of_task(task: "asyncio.Task[Any] | None") -> Iterator[str]:
    """Where a task waits, as lines of a traceback, through the coroutines and tasks that it waits for."""
    seen = set()
    while task is not None and task not in seen:
        seen.add(task)
        yield from _places(task.get_coro())
        # There is no public way to ask before Python 3.14.
        waiter = getattr(task, "_fut_waiter", None)
        task = waiter if isinstance(waiter, asyncio.Task) else None


def _places(step: Any) -> Iterator[str]:
    """Where a coroutine or generator waits, down to what is none."""
    while step is not None:
        frame = getattr(step, "cr_frame", None) or getattr(step, "gi_frame", None)
        if frame is not None and frame.f_code.co_filename != __file__:
            yield from traceback.format_list(traceback.StackSummary.extract([(frame, frame.f_lineno)]))
        step = getattr(step, "cr_await", None) or getattr(step, "gi_yieldfrom", None)


@overload
def gen_test(func: None = None, timeout: float | None = None) -> Callable[[_Test], _Test]: ...
@overload
def gen_test(func: _Test, timeout: float | None = None) -> _Test: ...
def gen_test(func: Any = None, timeout: float | None = None) -> Any:
    """Make a coroutine, or a generator that yields awaitables, a test of an `AsyncTestCase`::

        class MyTestCase(AsyncHTTPTestCase):
            @gen_test
            async def test_something(self):
                response = await self.http_client.fetch(self.get_url("/"))

            @gen_test(timeout=10)
            def test_generator(self):
                response = yield self.http_client.fetch(self.get_url("/"))

    :param timeout: seconds it may take; by default `get_async_test_timeout` when the test runs.
    :raises TimeoutError: (the test) it took longer, and was cancelled; a note on it says where it was waiting.
    """
    if func is None:
        return functools.partial(gen_test, timeout=timeout)

    @functools.wraps(func)
    def test(self: AsyncTestCase, *args: Any, **kwargs: Any) -> Any:
        limit = get_async_test_timeout() if timeout is None else timeout
        return _run_test(self, functools.partial(func, self, *args, **kwargs), limit)

    return test


def setup_with_context_manager(testcase: unittest.TestCase, cm: AbstractContextManager[_T]) -> _T:
    """Enter a context manager now and leave it at the end of the test; for `setUp`.

    The same as ``testcase.enterContext(cm)``, which `unittest` has had since Python 3.11.

    :returns: what the context manager gives.
    """
    return testcase.enterContext(cm)
