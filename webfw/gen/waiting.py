"""Waiting for a time, for no longer than a time, and for the first of several; generators stay out."""

import asyncio
import datetime
from collections import deque
from collections.abc import Callable
from typing import Any

from webfw.concurrent import Future, chain_future, future_set_result_unless_cancelled, is_future
from webfw.gen.yieldables import Quiet, convert_yielded, is_quiet
from webfw.ioloop import IOLoop
from webfw.log import app_log
from webfw.util import TimeoutError

__all__ = ["WaitIterator", "maybe_future", "sleep", "with_timeout"]


def sleep(duration: float) -> "Future[None]":
    """Return a `Future` that is done after a time.

    :param duration: seconds; zero or less for the next turn of the loop.
    """
    future: Future[None] = Future()
    timer = future.get_loop().call_later(duration, future_set_result_unless_cancelled, future, None)
    future.add_done_callback(lambda _: timer.cancel())
    return future


def maybe_future(x: Any) -> Any:
    """Return ``x`` if it is a future, else a `Future` that has ``x`` as its result.

    `convert_yielded` knows more kinds of things.
    """
    if is_future(x):
        return x
    future: Future[Any] = Future()
    future.set_result(x)
    return future


def with_timeout(
    timeout: float | datetime.timedelta,
    future: Any,
    quiet_exceptions: Quiet = (),
    *,
    message: str | Callable[[], str] | None = None,
) -> "Future[Any]":
    """Wait for something, but not longer than until a deadline.

    :param timeout: a time on the scale of `IOLoop.time`, or a ``timedelta`` from now. What is done already is
        never late.
    :param future: whatever `convert_yielded` takes. It is not cancelled when the time is over, which
        `asyncio.wait_for` does; its later exception is logged, except for `asyncio.CancelledError`.
    :param quiet_exceptions: a class of exceptions, or several, that are not logged.
    :param message: the text of the `TimeoutError`, or a function that returns it; called only when the time is
        over, and what it raises is raised instead.
    :raises TimeoutError: through the future that is returned.
    :raises TypeError: the timeout is neither a number nor a ``timedelta``.
    """
    source = convert_yielded(future)
    outcome: Future[Any] = Future()
    chain_future(source, outcome)

    def late(source: "Future[Any]") -> None:
        error = None if source.cancelled() else source.exception()
        if error is None or isinstance(error, asyncio.CancelledError):
            return
        if not is_quiet(error, quiet_exceptions):
            app_log.error("Exception in Future %r after timeout", source, exc_info=error)

    def expire() -> None:
        # What is done has its outcome on the way.
        if outcome.done() or source.done():
            return
        source.add_done_callback(late)
        # A border: who waits must hear of it even if the text cannot be made.
        try:
            text = message() if callable(message) else message
            outcome.set_exception(TimeoutError("Timeout" if text is None else text))
        except Exception as error:
            outcome.set_exception(error)

    io_loop = IOLoop.current()
    timer = io_loop.add_timeout(timeout, expire)
    if outcome.done():
        io_loop.remove_timeout(timer)
    else:
        outcome.add_done_callback(lambda _: io_loop.remove_timeout(timer))
    return outcome


class WaitIterator:
    """Waits for several things and hands their results out one by one, in the order they are done.

    The things are whatever `convert_yielded` takes, given either by position or by name::

        ready = WaitIterator(first, second)
        while not ready.done():
            try:
                result = await ready.next()
            except OSError as error:
                print(f"{ready.current_index} failed: {error}")
            else:
                print(f"{ready.current_index} gave {result}")

    With ``async for result in WaitIterator(...)`` the first exception ends the iteration.

    :raises ValueError: things are given both by position and by name.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if args and kwargs:
            raise ValueError("WaitIterator takes things by position or by name, not both")
        #: The position or the name of what gave the last result; None before.
        self.current_index: int | str | None = None
        #: The future that gave the last result.
        self.current_future: Any = None
        # The same thing may be given twice.
        self._unfinished: dict[Any, deque[int | str]] = {}
        self._ready: deque[Any] = deque()
        self._waiting: Future[Any] | None = None
        for index, thing in kwargs.items() if kwargs else enumerate(args):
            future = convert_yielded(thing)
            self._unfinished.setdefault(future, deque()).append(index)
            if future.done():
                self._ready.append(future)
            else:
                future.add_done_callback(self._one_done)

    def done(self) -> bool:
        """Return True when all results have been handed out."""
        return not self._unfinished

    def next(self) -> "Future[Any]":
        """Return a `Future` of the next result; while it is not done, the same one is returned again.

        :raises RuntimeError: all results have been handed out.
        """
        waiting = self._waiting
        if waiting is not None and not waiting.done():
            return waiting
        if self.done():
            raise RuntimeError("WaitIterator has no more results")
        waiting = self._waiting = Future()
        if self._ready:
            self._hand_out(self._ready.popleft(), waiting)
        return waiting

    def _one_done(self, future: Any) -> None:
        waiting = self._waiting
        # Nobody waits, or nobody any more: the result is for the next one who asks.
        if waiting is None or waiting.done():
            self._ready.append(future)
        else:
            self._hand_out(future, waiting)

    def _hand_out(self, future: Any, waiting: "Future[Any]") -> None:
        chain_future(future, waiting)
        indices = self._unfinished[future]
        self.current_index = indices.popleft()
        self.current_future = future
        if not indices:
            del self._unfinished[future]

    def __aiter__(self) -> "WaitIterator":
        return self

    def __anext__(self) -> "Future[Any]":
        if self.done():
            # The last result has been handed out.
            raise StopAsyncIteration
        return self.next()
