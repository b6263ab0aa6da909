"""Start a coroutine with as little as it needs, an eager Task where there are such; nothing else enters."""

import asyncio
import sys
from collections.abc import Coroutine
from contextvars import Context
from typing import Any, TypeVar

__all__ = ["start"]

_T = TypeVar("_T")

if sys.version_info >= (3, 12):

    def start(
        loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, _T], context: Context
    ) -> "asyncio.Task[_T]":
        """Run a coroutine as a Task and return it.

        :param loop: the loop; when it is running here, the coroutine runs at once up to its first wait, and a
            Task that is done already may come back.  Otherwise, and before Python 3.12, it starts in the next
            turn.
        :param context: the context it runs in.  The caller must not be inside ``context.run`` of the same
            context.

        A task factory that the program has set on the loop is used instead.
        """
        if asyncio._get_running_loop() is loop and loop.get_task_factory() is None:
            return asyncio.Task(coro, loop=loop, context=context, eager_start=True)
        return loop.create_task(coro, context=context)

else:

    def start(
        loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, _T], context: Context
    ) -> "asyncio.Task[_T]":
        """Run a coroutine as a Task of `loop` in `context`, from the next turn on, and return it."""
        return loop.create_task(coro, context=context)
