"""Futures that wait in a line, with deadlines; what they wait for is the business of locks and queues."""

import asyncio
import datetime
from collections import OrderedDict
from collections.abc import Callable, Generator
from typing import Any

from webfw.ioloop import IOLoop
from webfw.util import TimeoutError

__all__ = ["LATE", "Line", "Waiter"]

#: Says that who waits too long gets a `TimeoutError`.
LATE = object()


class Waiter(asyncio.Future[Any]):
    """The future of one who waits in a `Line`.

    :param line: the line.
    :param item: whatever the line's owner wants to keep with it.
    :param give_back: called with the result, if that comes too late for a task that was cancelled.
    """

    __slots__ = ("give_back", "item", "line", "timer")

    def __init__(self, line: "Line", item: Any, give_back: Callable[[Any], object] | None) -> None:
        super().__init__()
        self.line = line
        self.item = item
        self.give_back = give_back
        self.timer: asyncio.TimerHandle | None = None

    def cancel(self, msg: Any = None) -> bool:
        """Cancel the future, which leaves the line at once."""
        self.line.leave(self)
        return super().cancel(msg)

    def __await__(self) -> Generator[Any, None, Any]:
        try:
            if not self.done():
                yield from super().__await__()
            return self.result()
        except BaseException:
            self.line.leave(self)
            # The task was cancelled after this future was done and before it could run: it will never see what it
            # was given.
            if self.give_back and self.done() and not self.cancelled() and not self.exception():
                self.give_back(self.result())
            raise
        finally:
            # The traceback of this future's exception leads to this frame, which must not lead back.
            del self

    __iter__ = __await__


class Line:
    """Those who wait, first come first served.

    :param late: the result of those who have waited too long, or `LATE`.

    Waiters that are cancelled or late leave at once: the line holds only those who still wait.
    """

    __slots__ = ("_late", "_waiters")

    def __init__(self, late: Any = LATE) -> None:
        self._late = late
        # Unlike a dict it finds its first key at once, however many have left before.
        self._waiters: OrderedDict[Waiter, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiters)

    def join(
        self,
        timeout: float | datetime.timedelta | None,
        item: Any = None,
        give_back: Callable[[Any], object] | None = None,
    ) -> Waiter:
        """Add a waiter at the end and return it; for its arguments see `Waiter`.

        :param timeout: a time on the scale of `IOLoop.time`, or a ``timedelta`` from now; None waits for ever. A
            time that is over ends the wait in the next turn of the loop.
        :raises TypeError: it is none of these.
        """
        delay = None if timeout is None else _delay(timeout)
        waiter = Waiter(self, item, give_back)
        if delay is not None:
            waiter.timer = waiter.get_loop().call_later(delay, self._expire, waiter)
        self._waiters[waiter] = None
        return waiter

    def pop(self) -> Waiter | None:
        """Take out and return the first, whose result is to be set; None when nobody waits."""
        while self._waiters:
            waiter = self._waiters.popitem(last=False)[0]
            if waiter.timer is not None:
                self.leave(waiter)
            if not waiter.done():
                return waiter
        return None

    def leave(self, waiter: Waiter) -> None:
        """Take a waiter out, and stop its clock; one that has left already is ignored."""
        self._waiters.pop(waiter, None)
        if waiter.timer is not None:
            waiter.timer.cancel()
            waiter.timer = None

    def _expire(self, waiter: Waiter) -> None:
        self.leave(waiter)
        if waiter.done():
            return
        if self._late is LATE:
            waiter.set_exception(TimeoutError("Timeout"))
        else:
            waiter.set_result(self._late)


def _delay(timeout: float | datetime.timedelta) -> float:
    if isinstance(timeout, datetime.timedelta):
        return max(0.0, timeout.total_seconds())
    if isinstance(timeout, (int, float)):
        now: float = IOLoop.current().time()
        return max(0.0, timeout - now)
    raise TypeError(f"Unsupported deadline {timeout!r}")
