"""`Condition` and `Event`: telling others that something has happened; who may do what is for semaphores."""

import datetime

from webfw.concurrent import Future
from webfw.locks.waiters import Line

__all__ = ["Condition", "Event"]


class Condition:
    """Lets coroutines wait until they are notified; other than `threading.Condition` it has no lock."""

    def __init__(self) -> None:
        self._line = Line(late=False)

    def __repr__(self) -> str:
        waiting = f" waiters[{len(self._line)}]" if self._line else ""
        return f"<{type(self).__name__}{waiting}>"

    def wait(self, timeout: float | datetime.timedelta | None = None) -> "Future[bool]":
        """Wait for a notification; the result is True, or False when the time is over.

        :param timeout: a time on the scale of `IOLoop.time`, or a ``timedelta`` from now; None waits for ever.
        :raises TypeError: it is none of these.
        """
        return self._line.join(timeout, give_back=self._pass_on)

    def notify(self, n: int = 1) -> None:
        """Wake the ``n`` who have waited longest; they run in the next turn of the loop."""
        for _ in range(n):
            waiter = self._line.pop()
            if waiter is None:
                return
            waiter.set_result(True)

    def notify_all(self) -> None:
        """Wake all who wait now."""
        self.notify(len(self._line))

    def _pass_on(self, notified: bool) -> None:
        # Being late is no notification.
        if notified:
            self.notify()


class Event:
    """Blocks coroutines until its flag is set, as `threading.Event` does threads."""

    def __init__(self) -> None:
        self._line = Line()
        self._value = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'set' if self._value else 'clear'}>"

    def is_set(self) -> bool:
        """Return True if the flag is set."""
        return self._value

    def set(self) -> None:
        """Set the flag and wake all who wait; they see it set even if it is cleared before they run."""
        self._value = True
        while (waiter := self._line.pop()) is not None:
            waiter.set_result(None)

    def clear(self) -> None:
        """Clear the flag: `wait` blocks again."""
        self._value = False

    def wait(self, timeout: float | datetime.timedelta | None = None) -> "Future[None]":
        """Wait until the flag is set; if it is, the future is done already.

        :param timeout: a time on the scale of `IOLoop.time`, or a ``timedelta`` from now; None waits for ever.
        :raises TimeoutError: through the future, when the time is over.
        :raises TypeError: the timeout is none of these.
        """
        if self._value:
            future: Future[None] = Future()
            future.set_result(None)
            return future
        return self._line.join(timeout)
