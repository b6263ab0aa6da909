"""`Semaphore`, `BoundedSemaphore` and `Lock`: how many may do something at once; signals stay out."""

import datetime
from types import TracebackType
from typing import Any, NoReturn

from webfw.concurrent import Future
from webfw.locks.waiters import Line

__all__ = ["BoundedSemaphore", "Lock", "Semaphore"]


class _Held:
    """What `acquire` results in: ``with`` releases it at the end."""

    __slots__ = ("_held",)

    def __init__(self, held: "Semaphore | Lock") -> None:
        self._held = held

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._held.release()


def _needs_async_with(thing: object) -> NoReturn:
    name = type(thing).__name__
    raise RuntimeError(
        f"Use 'async with' instead of 'with' for {name}; in a generator: with (yield x.acquire())"
    )


class Semaphore:
    """A counter that `acquire` takes from, and waits when there is nothing left, and `release` adds to.

    :param value: how many may be acquired at once, 0 or more.
    :raises ValueError: it is negative.

    ``async with semaphore:`` does both; in a generator ``with (yield semaphore.acquire()):``.
    """

    def __init__(self, value: int = 1) -> None:
        if value < 0:
            raise ValueError("the initial value of a semaphore must be 0 or more")
        self._value = value
        self._line = Line()

    def __repr__(self) -> str:
        state = f"unlocked,value:{self._value}" if self._value else "locked"
        if self._line:
            state += f",waiters:{len(self._line)}"
        return f"<{type(self).__module__}.{type(self).__qualname__} object at {id(self):#x} [{state}]>"

    def acquire(self, timeout: float | datetime.timedelta | None = None) -> "Future[Any]":
        """Take one, or wait for one; the result is a context manager that releases it.

        :param timeout: a time on the scale of `IOLoop.time`, or a ``timedelta`` from now; None waits for ever.
        :raises TimeoutError: through the future, when the time is over.
        :raises TypeError: the timeout is none of these.
        """
        return self._acquire(timeout, self)

    def _acquire(
        self, timeout: float | datetime.timedelta | None, owner: "Semaphore | Lock"
    ) -> "Future[Any]":
        held = _Held(owner)
        if self._value > 0:
            self._value -= 1
            future: Future[Any] = Future()
            future.set_result(held)
            return future
        return self._line.join(timeout, held, self._give_back)

    def release(self) -> None:
        """Put one back; it goes to the first of those who wait."""
        waiter = self._line.pop()
        if waiter is None:
            self._value += 1
        else:
            waiter.set_result(waiter.item)

    def _give_back(self, held: _Held) -> None:
        Semaphore.release(self)

    async def __aenter__(self) -> None:
        await self.acquire()

    async def __aexit__(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.release()

    def __enter__(self) -> None:
        """Always raise `RuntimeError`: to wait for the semaphore takes ``async with``."""
        _needs_async_with(self)

    def __exit__(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _needs_async_with(self)


class BoundedSemaphore(Semaphore):
    """A `Semaphore` that cannot be released more often than it was acquired.

    :param value: how many may be acquired at once, 0 or more.
    :raises ValueError: it is negative.
    """

    def __init__(self, value: int = 1) -> None:
        super().__init__(value)
        self._initial_value = value

    def release(self) -> None:
        """Put one back; it goes to the first of those who wait.

        :raises ValueError: nothing has been acquired.
        """
        if self._value >= self._initial_value:
            raise ValueError("Semaphore released too many times")
        super().release()


class Lock:
    """Held by one coroutine at a time; it need not be the same one that releases it.

    ``async with lock:`` acquires and releases it; in a generator ``with (yield lock.acquire()):``.
    """

    def __init__(self) -> None:
        self._semaphore = BoundedSemaphore(1)

    def __repr__(self) -> str:
        semaphore = self._semaphore
        state = "unlocked" if semaphore._value else "locked"
        if semaphore._line:
            state += f",waiters:{len(semaphore._line)}"
        return f"<{type(self).__module__}.{type(self).__qualname__} object at {id(self):#x} [{state}]>"

    def acquire(self, timeout: float | datetime.timedelta | None = None) -> "Future[Any]":
        """Lock it, or wait until it is free; the result is a context manager that releases it.

        :param timeout: a time on the scale of `IOLoop.time`, or a ``timedelta`` from now; None waits for ever.
        :raises TimeoutError: through the future, when the time is over.
        :raises TypeError: the timeout is none of these.
        """
        return self._semaphore._acquire(timeout, self)

    def release(self) -> None:
        """Unlock it; the first of those who wait has it then.

        :raises RuntimeError: it is not locked.
        """
        try:
            self._semaphore.release()
        except ValueError:
            raise RuntimeError("release of a lock that is not locked") from None

    async def __aenter__(self) -> None:
        await self.acquire()

    async def __aexit__(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.release()

    def __enter__(self) -> None:
        """Always raise `RuntimeError`: to wait for the lock takes ``async with``."""
        _needs_async_with(self)

    def __exit__(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        _needs_async_with(self)
