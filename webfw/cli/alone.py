"""``webfw serve`` without a supervisor: one process that takes its orders from signals; process trees may not enter."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping
from typing import Any

from webfw.cli.errors import USAGE, CommandError, in_one_sentence
from webfw.cli.listeners import Listeners
from webfw.cli.logs import Logs
from webfw.cli.service import Service, load_all
from webfw.cli.settings import SETTINGS
from webfw.cli.sources import Configuration
from webfw.cli.words import SAY_AFTER, announcements, say, say_ended, say_stopping
from webfw.process.identity import Identity
from webfw.process.worker import Order

__all__ = ["Alone", "is_alone", "serve_alone"]

# Settings that say what a supervisor is to do.
_OF_A_SUPERVISOR = (
    "hooks",
    "timeout",
    "boot_timeout",
    "blocked_after",
    "max_requests",
    "max_memory",
    "pidfile",
    "daemon",
    "control",
)


class Alone:
    """Stands for the supervisor in a process without one: orders come from signals."""

    def __init__(self, graceful_timeout: float) -> None:
        self.report: Callable[[], Mapping[str, Any]] | None = None
        #: Called at SIGUSR1, where there are log files to be opened anew.
        self.reopen_logs: Callable[[], None] | None = None
        self.replaced = False
        self.status = 0
        self.announce: Callable[[], None] = lambda: None
        self._graceful_timeout = graceful_timeout
        self._orders: asyncio.Queue[Order]
        self._former: dict[int, Any] = {}
        self._say: asyncio.TimerHandle | None = None

    def attach(self) -> None:
        self._orders = asyncio.Queue()
        loop = self._loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            self._former[number] = signal.getsignal(number)
            try:
                loop.add_signal_handler(number, self._signalled, number)
            except NotImplementedError:  # Windows: the loop only wakes up for what is thread-safe
                signal.signal(number, lambda n, _: loop.call_soon_threadsafe(self._signalled, n))
        if self.reopen_logs is not None and hasattr(signal, "SIGUSR1"):
            self._former[signal.SIGUSR1] = signal.getsignal(signal.SIGUSR1)
            loop.add_signal_handler(signal.SIGUSR1, self.reopen_logs)

    def ready(self) -> None:
        self.announce()

    async def order(self) -> Order:
        return await self._orders.get()

    def retire(self, reason: str) -> None:
        """There is nobody to start a successor; see `is_alone`."""

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


def is_alone(configuration: Configuration) -> bool:
    """Whether there is to be no supervisor.

    :raises CommandError: there is none, and something is set that only one can do: better than to leave it undone.
    """
    if configuration["workers"] != 0 and hasattr(os, "fork"):
        return False
    for name in _OF_A_SUPERVISOR:
        if configuration.is_set(name) and configuration[name] not in (None, False, 0, "off"):
            origin = configuration.origin(name)
            named = (
                origin if origin in (SETTINGS[name].flag, SETTINGS[name].variable) else f"{origin}: {name}"
            )
            why = "not with --workers 0" if hasattr(os, "fork") else "which this platform cannot have"
            raise CommandError(f"{named} needs a supervisor: {why}", USAGE)
    return True


def serve_alone(
    configuration: Configuration, listeners: Listeners, logs: Logs, identity: Identity | None = None
) -> int:
    """Serve in this process, until a signal; the exit status.

    :param identity: who to be, if not who this process is.
    :raises CommandError: it cannot be served.
    """
    if identity is not None:
        with in_one_sentence(OSError, RuntimeError):
            logs.give_to(identity)
            identity.assume()
    wanted, loaded = load_all(configuration, logs)
    post = Alone(configuration["graceful_timeout"])
    post.reopen_logs = logs.reopen

    def announce() -> None:
        for line in announcements(configuration, listeners, 0):
            say(line)

    post.announce = announce
    Service(post, configuration, listeners, 0, wanted, loaded, default_broker="memory:").run()
    return post.status
