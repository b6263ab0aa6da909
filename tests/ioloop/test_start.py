"""Tests of webfw.ioloop.start."""

import asyncio
import contextvars
import sys
from typing import Any

import pytest

from webfw.ioloop.start import start

eager = sys.version_info >= (3, 12)
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


async def note(log: list[Any]) -> str:
    log.append(variable.get())
    variable.set("changed")
    log.append(asyncio.current_task())
    return "result"


async def test_a_coroutine_runs_in_its_own_context() -> None:
    loop = asyncio.get_running_loop()
    context = contextvars.copy_context()
    context.run(variable.set, "given")
    log: list[Any] = []
    task = start(loop, note(log), context)
    assert task.done() == eager
    assert await task == "result"
    assert log == ["given", task]
    assert variable.get() == "unset"
    assert context[variable] == "changed"


async def test_a_coroutine_that_waits_goes_on_later() -> None:
    loop = asyncio.get_running_loop()
    event = asyncio.Event()

    async def wait() -> str:
        async with asyncio.timeout(10):
            await event.wait()
        return "waited"

    task = start(loop, wait(), contextvars.copy_context())
    await asyncio.sleep(0)
    assert not task.done()
    event.set()
    assert await task == "waited"


async def test_an_exception_stays_in_the_task() -> None:
    async def fail() -> None:
        raise ValueError("no")

    task = start(asyncio.get_running_loop(), fail(), contextvars.copy_context())
    with pytest.raises(ValueError, match="no"):
        await task


def test_a_loop_that_does_not_run_yet_starts_it_later() -> None:
    loop = asyncio.new_event_loop()
    log: list[Any] = []
    task = start(loop, note(log), contextvars.copy_context())
    assert log == []
    assert loop.run_until_complete(task) == "result"
    loop.close()


async def test_a_task_factory_of_the_program_is_used() -> None:
    loop = asyncio.get_running_loop()
    made: list[Any] = []

    def factory(loop: asyncio.AbstractEventLoop, coro: Any, **kwargs: Any) -> Any:
        made.append(coro)
        return asyncio.Task(coro, loop=loop, **kwargs)

    loop.set_task_factory(factory)
    try:
        assert await start(loop, note([]), contextvars.copy_context()) == "result"
    finally:
        loop.set_task_factory(None)
    assert len(made) == 1
