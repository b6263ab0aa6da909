"""Deadlines of connections, watched by one coarse timer a loop; what needs precision uses ``call_later``.

Setting a deadline is an attribute assignment (0.04 µs) where ``call_later`` and ``cancel`` cost 2 µs for
every request. The price is that a deadline may be noticed up to a quarter of its length, at most a second,
late.
"""

import asyncio
from typing import Protocol

from webfw.log import app_log

__all__ = ["MAX_INTERVAL", "MIN_INTERVAL", "Sweeper", "Watched", "for_loop"]

#: Bounds of the time between two sweeps, in seconds.
MIN_INTERVAL = 0.01
MAX_INTERVAL = 1.0

#: How many are told in one turn of the loop: thousands may have begun together, and others are waiting.
BURST = 100


class Watched(Protocol):
    """What a `Sweeper` watches."""

    #: Seconds on the scale of ``loop.time()``; infinity while there is none.
    deadline: float

    def deadline_passed(self, now: float) -> None:
        """Called at every sweep after the deadline: set a new one (or infinity) or be unwatched."""


class Sweeper:
    """Looks through the watched objects every now and then and tells those whose deadline has passed.

    The timer runs only while something is watched.  `now` is a coarse clock: the time of the last sweep or of
    the last `refresh`.
    """

    __slots__ = ("_handle", "_interval", "_loop", "_watched", "now")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._watched: dict[Watched, float] = {}
        self._handle: asyncio.TimerHandle | None = None
        self._interval = MAX_INTERVAL
        self.now = loop.time()

    def __len__(self) -> int:
        return len(self._watched)

    def refresh(self) -> float:
        """Read the clock, keep it as `now` and return it."""
        now = self.now = self._loop.time()
        return now

    def watch(self, obj: Watched, interval_hint: float) -> None:
        """Watch an object until `unwatch`; watching it again replaces the hint.

        :param interval_hint: the shortest time, in seconds, that its deadlines will lie ahead; the sweeps
            come at least four times as often (within `MIN_INTERVAL` and `MAX_INTERVAL`).
        """
        self._watched[obj] = interval_hint
        wanted = interval_hint / 4
        if self._handle is None:
            self._schedule(wanted)
        elif wanted < self._interval and self._interval > MIN_INTERVAL:
            self._handle.cancel()
            self._schedule(wanted)

    def unwatch(self, obj: Watched) -> None:
        """Watch an object no longer; one that is not watched is ignored."""
        self._watched.pop(obj, None)

    def _schedule(self, wanted: float) -> None:
        self._interval = max(MIN_INTERVAL, min(MAX_INTERVAL, wanted))
        self._handle = self._loop.call_at(self.refresh() + self._interval, self._sweep)

    def _sweep(self) -> None:
        self._handle = None
        now = self.refresh()
        self._tell([obj for obj in self._watched if obj.deadline <= now], now)

    def _tell(self, due: list[Watched], now: float) -> None:
        """Tell some of those whose deadline had passed, and the others in the next turns of the loop."""
        watched = self._watched
        for obj in due[:BURST]:
            # One that was told of its deadline may have unwatched others, or have had them wait for longer.
            if obj not in watched or obj.deadline > now:
                continue
            # A border: one object that fails must not leave the others without their deadlines.
            try:
                obj.deadline_passed(now)
            except Exception:
                watched.pop(obj, None)
                app_log.error("Exception in deadline of %r", obj, exc_info=True)
        if len(due) > BURST:
            self._loop.call_soon(self._tell, due[BURST:], now)
        elif watched and self._handle is None:
            self._schedule(min(watched.values()) / 4)


_sweepers: dict[asyncio.AbstractEventLoop, Sweeper] = {}


def for_loop(loop: asyncio.AbstractEventLoop) -> Sweeper:
    """Return the sweeper of a loop, made on first use."""
    sweeper = _sweepers.get(loop)
    if sweeper is None:
        # A sweeper refers to its loop, so a weak dictionary would never let either go: drop what is closed
        # instead.
        for closed in [known for known in list(_sweepers) if known.is_closed()]:
            _sweepers.pop(closed, None)
        sweeper = _sweepers.setdefault(loop, Sweeper(loop))
    return sweeper
