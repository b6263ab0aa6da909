"""A worker as it sees itself: its number, its supervisor's orders, its heartbeats; what it serves may not enter."""

import asyncio
import enum
import os
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any

from webfw.log import gen_log
from webfw.process import offspring
from webfw.process.channel import Channel
from webfw.process.signals import signal_name
from webfw.process.watchdog import Watchdog, stacks

__all__ = ["BEAT", "LOAD_FAILED", "Order", "Worker"]

#: Seconds between two heartbeats, at most.
BEAT = 1.0

#: Seconds after which a worker that still serves may ask for a successor again.
RETIRE_AGAIN = 30.0

#: Exit status of a worker, and of the whole tree, when the application cannot be loaded.
LOAD_FAILED = 3


class Order(enum.Enum):
    """What a worker is told."""

    #: Take no new connections, let what runs end, then exit.
    DRAIN = "drain"
    #: Exit now.
    STOP = "stop"


class Worker:
    """The child's side of the line to its supervisor.

    :param number: the slot it fills, from 0 on; its successor after a reload or a crash has the same.
    :param generation: 1 for the first workers of the tree, one more after each reload.
    :param channel: its end of the line.
    :param blocked_after: seconds for which its loop may stand still before that is logged with the stack; 0 for never.

    A worker that the supervisor has lost (it was killed) is told `Order.DRAIN`, so that nothing is left behind.
    """

    def __init__(self, number: int, generation: int, channel: Channel, blocked_after: float = 1.0) -> None:
        self.number = number
        self.generation = generation
        #: Called when log files are to be opened anew.
        self.reopen_logs: Callable[[], None] | None = None
        #: Whether another worker serves in its place already, when it is told to drain.
        self.replaced = False
        #: What heartbeats carry, for ``webfw ctl status``: JSON, and small.
        self.report: Callable[[], Mapping[str, Any]] | None = None
        self._channel = channel
        self._blocked_after = blocked_after
        self._interval = min(BEAT, blocked_after / 3) if blocked_after else BEAT
        self._orders: asyncio.Queue[Order] = asyncio.Queue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watchdog: Watchdog | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._serves = False
        self._lag = 0.0
        self._due = 0.0
        self._retire_at = 0.0

    # Before there is a loop.

    def guard(self) -> None:
        """End this process when its supervisor is lost and nothing moves: while it loads, in its loop, at its end."""
        if self._watchdog is None:
            self._watchdog = Watchdog(self._blocked_after, blocked=self._stands)
            self._watchdog.start()

    def failed(self, why: str) -> None:
        """Tell the supervisor that the application cannot be loaded; exit with `LOAD_FAILED` after it.

        :param why: the traceback, or a sentence.
        """
        self._channel.send({"failed": why})

    # In the loop.

    def attach(self) -> None:
        """Begin to listen to the supervisor and to send heartbeats; called in the running loop."""
        loop = self._loop = asyncio.get_running_loop()
        loop.add_reader(self._channel.fileno(), self._received)
        for number, order in ((signal.SIGTERM, Order.DRAIN), (signal.SIGQUIT, Order.STOP)):
            loop.add_signal_handler(number, self._signalled, number, order)
            offspring.taken[number] = signal.getsignal(number)
        self.guard()
        self._due = loop.time()
        self._beat()

    def ready(self) -> None:
        """Tell the supervisor that requests are answered from now on."""
        self._serves = True
        if self._watchdog is not None:
            self._watchdog.beat()
        self._channel.send({"ready": True})

    async def order(self) -> Order:
        """Wait for the next order."""
        return await self._orders.get()

    def retire(self, reason: str) -> None:
        """Ask for a successor; the order to drain follows when it is ready.

        :param reason: for the log.
        """
        if time.monotonic() >= self._retire_at:  # its successor may have failed
            self._retire_at = time.monotonic() + RETIRE_AGAIN
            self._channel.send({"retire": reason})

    def detach(self) -> None:
        """Listen no more; what is sent last is one more report."""
        assert self._loop is not None
        self._send_report()
        if self._timer is not None:
            self._timer.cancel()
        if self._watchdog is not None:
            self._watchdog.rest()
        if self._channel.fileno() >= 0:
            self._loop.remove_reader(self._channel.fileno())
        for number in (signal.SIGTERM, signal.SIGQUIT):
            self._loop.remove_signal_handler(number)
        offspring.taken.clear()

    def _beat(self) -> None:
        assert self._loop is not None
        now = self._loop.time()
        self._lag = max(0.0, now - self._due)
        self._due = now + self._interval
        self._timer = self._loop.call_at(self._due, self._beat)
        if self._watchdog is not None:
            # What blocks while applications begin keeps nobody waiting.
            (self._watchdog.beat if self._serves else self._watchdog.rest)()
        self._send_report()

    def _send_report(self) -> None:
        report = dict(self.report()) if self.report is not None else {}
        self._channel.send({"beat": {"lag": round(self._lag, 4), **report}})

    def _stands(self, stack: str) -> None:
        """The loop does not turn: say where, since nobody can ask it now.  Called in the watchdog's thread."""
        self._channel.send({"blocked": stack})

    def _received(self) -> None:
        for message in self._channel.receive():
            order = message.get("order")
            if order == "stacks":
                self._channel.send({"answer": message.get("id"), "stacks": stacks()})
            elif order == "reopen":
                if self.reopen_logs is not None:
                    self.reopen_logs()
            elif order in (Order.DRAIN.value, Order.STOP.value):
                self.replaced = bool(message.get("replaced"))
                self._orders.put_nowait(Order(order))
        if self._channel.ended:
            assert self._loop is not None
            self._loop.remove_reader(self._channel.fileno())
            self._channel.close()
            gen_log.warning(
                "worker %d (process %d) has lost its supervisor: it ends", self.number, os.getpid()
            )
            self._orders.put_nowait(Order.DRAIN)

    def _signalled(self, number: int, order: Order) -> None:
        gen_log.info("worker %d (process %d) gets %s", self.number, os.getpid(), signal_name(number))
        self._orders.put_nowait(order)
