import asyncio
import contextvars
import gc
import sys
import threading
import weakref
from concurrent import futures

import pytest

from webfw import concurrent
from webfw.concurrent import (
    DummyExecutor,
    Future,
    chain_future,
    dummy_executor,
    future_add_done_callback,
    future_set_exc_info,
    future_set_exception_unless_cancelled,
    future_set_result_unless_cancelled,
    is_future,
    run_on_executor,
)

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


def test_stands_below_the_loop():
    import subprocess

    code = "import webfw.concurrent, sys; sys.exit('webfw.ioloop' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=30, check=False).returncode == 0


async def test_is_future():
    assert Future is asyncio.Future
    assert is_future(Future())
    assert is_future(futures.Future())
    assert not is_future(5)

    async def coroutine():
        pass

    waiting = coroutine()
    assert not is_future(waiting)
    await waiting
    assert set(concurrent.FUTURES) == {Future, futures.Future}
    assert issubclass(concurrent.ReturnValueIgnoredError, Exception)


# --- completing ---


@pytest.mark.parametrize("kind", [Future, futures.Future])
async def test_set_unless_cancelled(kind):
    future = kind()
    future_set_result_unless_cancelled(future, 5)
    assert future.result() == 5
    with pytest.raises((asyncio.InvalidStateError, futures.InvalidStateError)):
        future_set_result_unless_cancelled(future, 6)
    failing = kind()
    future_set_exception_unless_cancelled(failing, KeyError("x"))
    assert isinstance(failing.exception(), KeyError)


@pytest.mark.parametrize("kind", [Future, futures.Future])
async def test_cancelled_futures_take_no_result_and_log_exceptions(kind, expect_log):
    future = kind()
    future.cancel()
    future_set_result_unless_cancelled(future, 5)
    error = ValueError("lost")
    with expect_log("webfw.application", "Exception after Future was cancelled", count=2) as records:
        future_set_exception_unless_cancelled(future, error)
        future_set_exc_info(future, (ValueError, error, None))
    assert [record.exc_info[1] for record in records] == [error, error]
    assert future.cancelled()


async def test_set_exc_info():
    future = Future()
    error = ValueError("x")
    future_set_exc_info(future, (ValueError, error, None))
    assert future.exception() is error
    with pytest.raises(ValueError, match="no exception"):
        future_set_exc_info(Future(), (None, None, None))


@pytest.mark.parametrize("kind", [Future, futures.Future])
async def test_add_done_callback_calls_at_once_when_done(kind):
    seen = []
    future = kind()
    future_add_done_callback(future, seen.append)
    assert seen == []
    future.set_result(1)
    await asyncio.sleep(0)
    assert seen == [future]
    future_add_done_callback(future, seen.append)
    assert seen == [future, future]


# --- chaining ---

kinds = pytest.mark.parametrize(
    ("source_kind", "target_kind"),
    [(Future, Future), (futures.Future, Future), (Future, futures.Future), (futures.Future, futures.Future)],
)


async def settle():
    for _ in range(3):
        await asyncio.sleep(0)


@kinds
async def test_chain_result(source_kind, target_kind):
    source, target = source_kind(), target_kind()
    chain_future(source, target)
    assert not target.done()
    source.set_result(5)
    await settle()
    assert target.result() == 5


@kinds
async def test_chain_done_source(source_kind, target_kind):
    source, target = source_kind(), target_kind()
    source.set_result(5)
    chain_future(source, target)
    await settle()
    assert target.result() == 5


@kinds
async def test_chain_exception(source_kind, target_kind):
    source, target = source_kind(), target_kind()
    chain_future(source, target)
    error = KeyError("x")
    source.set_exception(error)
    await settle()
    assert target.exception() is error


@kinds
async def test_chain_cancellation(source_kind, target_kind):
    source, target = source_kind(), target_kind()
    chain_future(source, target)
    source.cancel()
    await settle()
    assert target.cancelled()


@kinds
async def test_chain_leaves_a_done_target_alone(source_kind, target_kind):
    source, target = source_kind(), target_kind()
    chain_future(source, target)
    target.cancel()
    source.set_result(5)
    await settle()
    assert target.cancelled()
    assert not source.cancelled()


async def test_chain_from_a_thread():
    source: futures.Future[int] = futures.Future()
    target: Future[int] = Future()
    chain_future(source, target)
    thread = threading.Thread(target=source.set_result, args=(5,))
    thread.start()
    assert await target == 5
    thread.join()


def test_chain_to_a_closed_loop():
    source: futures.Future[int] = futures.Future()
    loop = asyncio.new_event_loop()
    target = loop.create_future()
    chain_future(source, target)
    loop.close()
    source.set_result(5)
    assert not target.done()


# --- executors ---


def test_dummy_executor():
    assert isinstance(dummy_executor, DummyExecutor)
    assert dummy_executor.submit(lambda a, b: a + b, 1, b=2).result() == 3
    assert isinstance(dummy_executor.submit(lambda: 1 / 0).exception(), ZeroDivisionError)
    with pytest.raises(SystemExit):
        dummy_executor.submit(sys.exit)
    dummy_executor.shutdown(wait=False, cancel_futures=True)
    assert dummy_executor.submit(int).result() == 0
    with DummyExecutor() as executor:
        assert list(executor.map(abs, [-1, 2])) == [1, 2]


class Worker:
    def __init__(self):
        self.executor = futures.ThreadPoolExecutor(1, "plain")
        self.other = futures.ThreadPoolExecutor(1, "other")
        self.direct = dummy_executor

    def close(self):
        self.executor.shutdown()
        self.other.shutdown()

    @run_on_executor
    def plain(self, a, *, b=0):
        """Docstring."""
        return threading.current_thread().name, a, b

    @run_on_executor()
    def called(self):
        return threading.current_thread().name

    @run_on_executor(executor="other")
    def named(self):
        return threading.current_thread().name

    @run_on_executor(executor="direct")
    def inline(self):
        return threading.current_thread()

    @run_on_executor(io_loop="unused", callback="unused")
    def old(self):
        return 5

    @run_on_executor
    def fail(self):
        raise ZeroDivisionError("here")

    @run_on_executor
    def context(self):
        value = variable.get()
        variable.set("changed in the thread")
        return value

    @run_on_executor(executor="missing")
    def lost(self):
        pass


@pytest.fixture
def worker():
    made = Worker()
    yield made
    made.close()


async def test_run_on_executor(worker):
    future = worker.plain(1, b=2)
    assert isinstance(future, Future)
    name, a, b = await future
    assert name.startswith("plain")
    assert (a, b) == (1, 2)
    assert (await worker.called()).startswith("plain")
    assert (await worker.named()).startswith("other")
    assert await worker.inline() is threading.current_thread()
    assert await worker.old() == 5
    assert Worker.plain.__name__ == "plain"
    assert Worker.plain.__doc__ == "Docstring."


async def test_run_on_executor_failure(worker):
    with pytest.raises(ZeroDivisionError, match="here"):
        await worker.fail()
    with pytest.raises(AttributeError, match="missing"):
        worker.lost()


async def test_run_on_executor_copies_the_context(worker):
    variable.set("from the caller")
    assert await worker.context() == "from the caller"
    assert variable.get() == "from the caller"


async def test_cancelling_does_not_disturb_the_thread(worker):
    release = threading.Event()
    blocker = worker.executor.submit(release.wait)
    waiting = worker.plain(1)
    waiting.cancel()
    release.set()
    assert await asyncio.wrap_future(blocker)
    assert await worker.called()
    assert waiting.cancelled()


async def test_a_finished_call_leaves_no_cycle():
    class Result:
        pass

    class Local:
        executor = dummy_executor

        @run_on_executor
        def make(self):
            return Result()

    gc.collect()
    gc.disable()
    try:
        result = await Local().make()
        watch = weakref.ref(result)
        del result
        await settle()
        assert watch() is None
    finally:
        gc.enable()


def test_bad_decorations():
    with pytest.raises(ValueError, match="expected 1 argument, got 2"):
        run_on_executor(print, print)
    with pytest.raises(ValueError, match="expected 1 argument"):
        run_on_executor(print, executor="x")
    with pytest.raises(TypeError, match="unexpected keyword arguments: foo"):
        run_on_executor(foo=1)
