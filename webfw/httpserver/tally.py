"""What clients can cause any number of times a second, told in the log once a second; nothing is decided here."""

import asyncio
from collections.abc import Callable

from webfw.iostream.wire import Wire

__all__ = ["Tally"]

#: Seconds between two messages of one tally.
TELL_INTERVAL = 1.0


class Tally:
    """Counts one kind of event: the first is told of at once, those of a second behind it together.

    :param tell: called with how many there were since the last call, and of the latest one the client's host and what
        `add` was given.
    """

    __slots__ = ("_count", "_latest", "_tell", "_telling")

    def __init__(self, tell: Callable[[int, str, str], None]) -> None:
        self._tell = tell
        self._count = 0
        self._latest = ("", "")
        self._telling = False

    def add(self, wire: Wire, about: str = "") -> None:
        """It has happened once more, to this connection."""
        address = wire.get_extra_info("peername")
        self._latest = (address[0] if isinstance(address, tuple) else "a unix socket", about)
        self._count += 1
        if not self._telling:
            self._message(wire.loop)

    def _message(self, loop: asyncio.AbstractEventLoop) -> None:
        self._telling = self._count > 0
        if self._telling:
            count, self._count = self._count, 0
            self._tell(count, *self._latest)
            loop.call_later(TELL_INTERVAL, self._message, loop)
