import asyncio
import concurrent.futures
import subprocess
import sys
import threading
from typing import Any

import pytest

import webfw.platform.asyncio as platform
from webfw.ioloop import IOLoop
from webfw.ioloop.selectorthread import AddThreadSelectorEventLoop, SelectorThread
from webfw.platform.asyncio import (
    AsyncIOLoop,
    AsyncIOMainLoop,
    BaseAsyncIOLoop,
    to_asyncio_future,
    to_tornado_future,
)


def in_thread(function: Any) -> Any:
    """What a function returns in a thread that has no loop."""
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        return executor.submit(function).result(10)


async def test_every_loop_is_an_asyncio_loops() -> None:
    assert isinstance(IOLoop.current(), BaseAsyncIOLoop)
    assert isinstance(IOLoop.current(), AsyncIOLoop)
    assert platform.AddThreadSelectorEventLoop is AddThreadSelectorEventLoop
    assert platform.SelectorThread is SelectorThread


def test_asyncioloop_makes_a_loop_of_its_own() -> None:
    def make() -> Any:
        loop = AsyncIOLoop()
        try:
            assert IOLoop.current() is loop
            return loop.run_sync(lambda: asyncio.sleep(0, "done"))
        finally:
            loop.close()

    assert in_thread(make) == "done"


def test_asyncioloop_can_be_subclassed_and_configured() -> None:
    class Mine(AsyncIOLoop):
        def initialize(self, **kwargs: Any) -> None:  # type: ignore[override]
            super().initialize(**kwargs)
            self.mine = True

    def make() -> bool:
        loop: Any = Mine(make_current=False)
        loop.close()
        return bool(loop.mine)

    assert in_thread(make)


def test_asynciomainloop_is_that_of_the_current_asyncio_loop() -> None:
    def make() -> None:
        asyncio_loop = asyncio.new_event_loop()
        asyncio.set_event_loop(asyncio_loop)
        loop = AsyncIOMainLoop()
        loop.install()
        assert loop.asyncio_loop is asyncio_loop
        assert IOLoop.current() is loop
        with pytest.raises(RuntimeError, match="has an IOLoop already"):
            AsyncIOMainLoop()
        loop.close()
        assert asyncio_loop.is_closed()

    in_thread(make)


async def test_asynciomainloop_inside_a_running_loop() -> None:
    IOLoop.current()
    with pytest.raises(RuntimeError, match="has an IOLoop already"):
        AsyncIOMainLoop()


def test_asynciomainloop_where_there_is_no_loop() -> None:
    def make() -> None:
        loop = AsyncIOMainLoop()
        assert IOLoop.current() is loop
        loop.close()

    in_thread(make)


async def test_futures() -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    assert to_tornado_future(future) is future
    assert to_asyncio_future(future) is future
    future.set_result(1)
    assert await to_asyncio_future(asyncio.sleep(0, 2)) == 2
    assert await to_asyncio_future([future, asyncio.sleep(0, 3)]) == [1, 3]


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="policies are deprecated")
def test_a_policy_for_any_thread() -> None:
    policy = platform.AnyThreadEventLoopPolicy()
    assert platform.AnyThreadEventLoopPolicy is type(policy)
    before = asyncio.get_event_loop_policy()
    asyncio.set_event_loop_policy(policy)
    try:

        def use() -> bool:
            loop = asyncio.get_event_loop()
            try:
                return (
                    threading.current_thread() is not threading.main_thread()
                    and asyncio.get_event_loop() is loop
                    and IOLoop.current().asyncio_loop is loop
                )
            finally:
                IOLoop.current().close()

        assert in_thread(use)
        # A policy that is asked while it is not the current one keeps loops of its own.
        asyncio.set_event_loop_policy(before)
        loop = in_thread(policy.get_event_loop)
        loop.close()
    finally:
        asyncio.set_event_loop_policy(before)


def test_a_name_there_is_not() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        platform.nothing  # noqa: B018


def test_importing_it_makes_no_loop_and_warns_of_nothing() -> None:
    code = "import asyncio, webfw.platform.asyncio as p; print(p.AnyThreadEventLoopPolicy.__name__)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=50
    )
    assert (done.stdout.strip(), done.stderr) == ("AnyThreadEventLoopPolicy", "")
