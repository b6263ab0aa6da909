"""Signals as messages for a loop without asyncio: they wake its wait, and are read like anything else."""

import os
import signal
from collections.abc import Iterable
from types import FrameType
from typing import Any

__all__ = ["SignalInbox", "signal_name"]


class SignalInbox:
    """Collects signals from its making on; `close` gives them back to whom they belonged.

    :param numbers: the signals to collect.

    `fileno` becomes readable when a signal comes, so that none can be missed between a look and a wait.  It is made in
    the main thread, which is where signals arrive.
    """

    def __init__(self, numbers: Iterable[int]) -> None:
        self._arrived: list[int] = []
        self._reader, self._writer = os.pipe()
        for fd in (self._reader, self._writer):
            os.set_blocking(fd, False)
        self._former_wakeup = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._former: dict[int, Any] = {number: signal.signal(number, self._note) for number in numbers}

    @property
    def numbers(self) -> frozenset[int]:
        """The signals it collects."""
        return frozenset(self._former)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._arrived.append(number)

    def take_over(self) -> None:
        """Collect the signals again that somebody else has taken meanwhile, for good."""
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in self._former:
            signal.signal(number, self._note)

    def fileno(self) -> int:
        """The descriptor to wait for."""
        return self._reader

    def take(self) -> list[int]:
        """The signals that have come since the last look, in their order."""
        try:
            os.read(self._reader, 4096)
        except BlockingIOError:
            pass
        # One by one: a signal may come in between.
        taken = []
        while self._arrived:
            taken.append(self._arrived.pop(0))
        return taken

    def close(self, in_child: bool = False) -> None:
        """Give the signals back.

        :param in_child: in a forked process, where what was there before belongs to a loop of the parent's.
        """
        signal.set_wakeup_fd(-1 if in_child else self._former_wakeup)
        for number, former in self._former.items():
            signal.signal(number, signal.SIG_DFL if former is None else former)
        os.close(self._reader)
        os.close(self._writer)


def signal_name(number: int) -> str:
    """Return a signal's name such as ``SIGTERM``."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
