"""``webfw serve`` without a supervisor: one process that takes its orders from signals; process trees may not enter."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Mapping
from typing import Any

from webfw.cli.listeners import Listeners
from webfw.cli.logs import Logs
from webfw.cli.service import Service, load_all
from webfw.cli.sources import Configuration
from webfw.cli.words import SAY_AFTER, announcements, say, say_ended, say_stopping
from webfw.log import gen_log
from webfw.process.worker import Order

__all__ = ["Alone", "serve_alone"]


class Alone:
    """Stands for the supervisor in a process without one: orders come from signals."""

    def __init__(self, graceful_timeout: float) -> None:
        self.report: Callable[[], Mapping[str, Any]] | None = None
        self.reopen_logs: Callable[[], None] | None = None
        self.replaced = False
        self.status = 0
        self.announce: Callable[[], None] = lambda: None
        self._graceful_timeout = graceful_timeout
        self._orders: asyncio.Queue[Order] = asyncio.Queue()
        self._former: dict[int, Any] = {}
        self._say: asyncio.TimerHandle | None = None

    def attach(self) -> None:
        loop = self._loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            self._former[number] = signal.getsignal(number)
            try:
                loop.add_signal_handler(number, self._signalled, number)
            except NotImplementedError:  # Windows: the loop only wakes up for what is thread-safe
                signal.signal(number, lambda n, _: loop.call_soon_threadsafe(self._signalled, n))

    def ready(self) -> None:
        self.announce()

    async def order(self) -> Order:
        return await self._orders.get()

    def retire(self, reason: str) -> None:
        gen_log.warning("there is no supervisor to start a successor: %s", reason)

    def detach(self) -> None:
        if self._say is not None:
            self._say.cancel()
        for number, handler in self._former.items():
            with contextlib.suppress(NotImplementedError):
                self._loop.remove_signal_handler(number)
            signal.signal(number, handler)
        say_ended(self.status, int(self.report().get("cut", 0)) if self.report is not None else 0)

    def _signalled(self, number: int) -> None:
        if self._say is None:
            self._say = self._loop.call_later(SAY_AFTER, say_stopping, self._graceful_timeout)
            self._orders.put_nowait(Order.DRAIN)
        else:
            self.status = 128 + number
            self._orders.put_nowait(Order.STOP)


def serve_alone(configuration: Configuration, listeners: Listeners, logs: Logs) -> int:
    """Serve in this process, until a signal; the exit status.

    :raises CommandError: it cannot be served.
    """
    wanted, loaded = load_all(configuration, logs)
    post = Alone(configuration["graceful_timeout"])

    def announce() -> None:
        for line in announcements(configuration, listeners, 0):
            say(line)

    post.announce = announce
    Service(post, configuration, listeners, 0, wanted, loaded).run()
    return post.status
