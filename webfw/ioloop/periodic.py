"""`PeriodicCallback`: a callback that runs again and again without drift; one-shot timers are `IOLoop`'s."""

import asyncio
import datetime
import inspect
import math
import random
from collections.abc import Callable
from typing import Any

from webfw.ioloop.loop import IOLoop
from webfw.log import app_log

__all__ = ["PeriodicCallback"]


class PeriodicCallback:
    """Call `callback` every `callback_time`, from the first period after `start` on.

    :param callback: called without arguments.  If it returns an awaitable, the next call comes after that is
        done.
    :param callback_time: the period in milliseconds (greater than 0) or a ``timedelta``.
    :param jitter: the part of the period by which a call may move, 0 to 1: with 0.1 the time between calls
        varies by up to 5 % in each direction, so that periods of many processes do not coincide.
    :raises ValueError: the period is not positive.

    Calls never overlap and do not drift: they come at whole multiples of the period after `start`, and those
    that were missed while the loop was busy or the callback ran long are skipped.  The loop's monotonic clock
    is used, so setting the wall clock changes nothing.
    """

    def __init__(
        self,
        callback: Callable[[], Any],
        callback_time: float | datetime.timedelta,
        jitter: float = 0,
    ) -> None:
        self.callback = callback
        if isinstance(callback_time, datetime.timedelta):
            callback_time = callback_time / datetime.timedelta(milliseconds=1)
        if not callback_time > 0:
            raise ValueError("Periodic callback must have a positive callback_time")
        #: The period in milliseconds; a new value counts from the next call on.
        self.callback_time: float = callback_time
        self.jitter = jitter
        self.io_loop: IOLoop | Any = None
        self._running = False
        self._timeout: asyncio.TimerHandle | None = None
        self._next_timeout = 0.0

    def start(self) -> None:
        """Start the timer on the current loop; a running one is left as it is."""
        if self._running:
            return
        self.io_loop = IOLoop.current()
        self._running = True
        self._next_timeout = self.io_loop.asyncio_loop.time()
        self._schedule_next()

    def stop(self) -> None:
        """Stop the timer; a call that is under way ends in its own time."""
        self._running = False
        if self._timeout is not None:
            self._timeout.cancel()
            self._timeout = None

    def is_running(self) -> bool:
        """Return True between `start` and `stop`."""
        return self._running

    def _run(self) -> None:
        if not self._running:
            return
        timeout = self._timeout
        # A border: a callback that fails is logged, and runs again next time.
        try:
            result = self.callback()
            if result is not None and inspect.isawaitable(result):
                self.io_loop._follow(self._finish(result, timeout), self.callback)
                return
        except Exception:
            # Border: as in `_finish`.
            app_log.error("Exception in callback %r", self.callback, exc_info=True)
        self._continue(timeout)

    async def _finish(self, result: Any, timeout: asyncio.TimerHandle | None) -> None:
        try:
            await result
        except Exception:
            # Border: a callback that fails is told of, and called again when its time comes.
            app_log.error("Exception in callback %r", self.callback, exc_info=True)
        finally:
            self._continue(timeout)

    def _continue(self, timeout: asyncio.TimerHandle | None) -> None:
        # Stopped and started again meanwhile: the new start has its own timer.
        if self._timeout is timeout:
            self._schedule_next()

    def _schedule_next(self) -> None:
        if self._running:
            loop = self.io_loop.asyncio_loop
            self._update_next(loop.time())
            self._timeout = loop.call_at(self._next_timeout, self.io_loop._run_callback, self._run)

    def _update_next(self, current_time: float) -> None:
        period = self.callback_time / 1000.0
        if self.jitter:
            period *= 1 + self.jitter * (random.random() - 0.5)
        # At least one period on from the last call, even if the clock went backwards; then over all that was
        # missed.
        self._next_timeout += period
        if self._next_timeout <= current_time:
            missed = math.floor((current_time - self._next_timeout) / period) + 1
            self._next_timeout += missed * period
