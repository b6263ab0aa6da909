"""`Watchdog`: a thread that sees a loop which does not turn, and a process nobody waits for; loops may not enter."""

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable

from webfw.log import app_log

__all__ = ["Watchdog", "stacks"]

#: Seconds that a worker without a supervisor may give no sign of life until it is ended.
ORPHAN_PATIENCE = 10.0


class Watchdog(threading.Thread):
    """Watches the thread that makes it, which must call `beat` again and again, from the first time on until `rest`.

    :param blocked_after: seconds without a beat after which the stack is logged; 0 for never.
    :param blocked: called from this thread with the stack, once each time, beside the log.
    :param orphaned: called from this thread with the seconds since the last beat when the process has lost the parent
        it had; by default it ends the process once there has been no beat for long too: nobody else would.
    """

    def __init__(
        self,
        blocked_after: float,
        orphaned: Callable[[float], None] | None = None,
        blocked: Callable[[str], object] | None = None,
    ) -> None:
        super().__init__(name="webfw-watchdog", daemon=True)
        self._blocked_after = blocked_after
        self._orphaned = orphaned or _end_if_stuck
        self._blocked = blocked
        self._watched = threading.get_ident()
        self._parent = os.getppid()
        self._ended = threading.Event()
        self._last = time.monotonic()
        self._turns = False
        self._told = False

    def beat(self) -> float:
        """The loop turns.

        :returns: seconds since the beat before.
        """
        now = time.monotonic()
        since, self._last = now - self._last, now
        self._turns = True
        if self._told:
            self._told = False
            app_log.warning("the event loop turns again; it was blocked for %.1f seconds", since)
        return since

    def rest(self) -> None:
        """The loop is over: it need not turn any more, but the process is to end."""
        self._turns = False
        self._last = time.monotonic()

    def run(self) -> None:
        """Look again and again; `threading.Thread` calls it."""
        period = min(max(self._blocked_after / 4, 0.01), 1.0) if self._blocked_after else 1.0
        while not self._ended.wait(period):
            self.look()

    def look(self) -> None:
        """Look once: say where the loop stands if it stands too long."""
        silence = time.monotonic() - self._last
        if self._turns and not self._told and 0 < self._blocked_after < silence:
            frame = sys._current_frames().get(self._watched)
            if frame is not None:
                self._told = True
                stack = "".join(traceback.format_stack(frame)).rstrip()
                app_log.warning("the event loop has been blocked for %.1f seconds by:\n%s", silence, stack)
                if self._blocked is not None:
                    self._blocked(stack)
        if os.getppid() != self._parent:
            self._orphaned(silence)

    def end(self) -> None:
        """Stop watching."""
        self._ended.set()


def _end_if_stuck(silence: float) -> None:
    if silence > ORPHAN_PATIENCE:
        os._exit(1)


def stacks() -> str:
    """Where every thread of this process stands, as text."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    frames = sorted(sys._current_frames().items())
    return "\n".join(
        f"thread {names.get(ident, ident)}:\n{''.join(traceback.format_stack(frame))}"
        for ident, frame in frames
    )
