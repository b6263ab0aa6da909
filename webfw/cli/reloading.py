"""The process of ``webfw dev`` until its end: a change starts it again, a signal ends it at once; no page enters."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterable
from types import FrameType

from webfw.autoreload import Watcher
from webfw.autoreload.notify import best_bell
from webfw.autoreload.restart import STARTED, command_line, restart
from webfw.autoreload.sources import syntax_error_in
from webfw.cli.alone import Alone
from webfw.cli.listeners import Listeners
from webfw.cli.words import say
from webfw.process.worker import Order

__all__ = ["CHANGED_AT", "GRACE", "DevPost", "KeptListeners"]

#: The environment variable that tells a process that was started again when the change was (`time.time`).
CHANGED_AT = "_WEBFW_CHANGED_AT"

#: Seconds between two looks at all files, where nothing tells of changes.
INTERVAL = 0.2

#: Seconds that the loop has to hear of the end, or to start again; then that is done without it.
PATIENCE = 0.5

#: Seconds that the end may take once the loop has heard of it.
END_PATIENCE = 5.0

#: Seconds that running requests have before the process starts again.
GRACE = 0.25

#: Files that are named when many change at once.
NAMED = 3


class KeptListeners(Listeners):
    """Listeners that stay open when the server that has used them ends: for those who connect meanwhile."""

    def sockets(self, number: int) -> list[socket.socket]:
        """What the server accepts on, and closes when it ends."""
        return [sock.dup() for sock in super().sockets(number)]


class DevPost(Alone):
    """Tells the server of ``webfw dev`` what to do.

    :param listeners: stay open when the process starts again: who connects meanwhile waits, and is not refused.
    :param files: to watch besides the modules.

    A loop that is blocked, by a program that is being mended after all, keeps neither a signal nor a change waiting.
    """

    def __init__(self, listeners: Listeners, files: Iterable[str | os.PathLike[str]] = ()) -> None:
        super().__init__(GRACE)
        #: Whether what runs is not the application, so that there is nothing to go on with.
        self.is_broken = False
        logging.getLogger("watchfiles").setLevel(logging.WARNING)  # we say ourselves what has changed
        self.watcher = Watcher(interval=INTERVAL, since=STARTED, bell=best_bell())
        for path in files:
            self.watcher.watch(path, loaded=True)
        self._listeners = listeners
        self._command = command_line(wrap=False)
        self._once = threading.Lock()
        self._left = threading.Event()
        self._heard = threading.Event()
        self._change: tuple[set[str], float] | None = None
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop

    def attach(self) -> None:
        """Begin to listen: again, where what shows a failure follows an application that could not begin."""
        self._orders = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        if self._former:
            return
        for number in (signal.SIGINT, signal.SIGTERM):
            # Not on the loop, which may be blocked.
            self._former[number] = signal.signal(number, self._stop)
        threading.Thread(target=self._watch, name="webfw-dev", daemon=True).start()

    def detach(self) -> None:
        if self._change is not None:
            self._restart(*self._change)
        self.watcher.close()
        for number, handler in self._former.items():
            signal.signal(number, handler)

    # A signal.

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self._stopping:
            os._exit(128 + number)
        else:
            self._stopping = True
            self._order(Order.STOP)
            threading.Thread(target=self._see_to_the_end, name="webfw-dev-end", daemon=True).start()

    def _see_to_the_end(self) -> None:
        """End a process whose loop does not: soon where it has not even heard of it."""
        # In steps, so that a process that stood still as a whole is not taken for a loop that is blocked.
        if any(self._heard.wait(PATIENCE / 5) for _ in range(5)):
            time.sleep(END_PATIENCE)
        _leave()

    def _order(self, order: Order) -> None:
        # Between two loops there is nobody to be told: then it is done without them.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._take, order)

    def _take(self, order: Order) -> None:
        if order is Order.STOP:
            self._heard.set()
        self._orders.put_nowait(order)

    # A change.

    def _watch(self) -> None:
        changed: set[str] = set()
        while not self.watcher.closed:
            found = self.watcher.wait(PATIENCE)
            changed = set(filter(os.path.exists, changed | found))  # what is being replaced will be back
            if not found or not changed:
                continue
            # All of them: what was broken before must have been mended.
            errors = sorted(filter(None, map(syntax_error_in, changed)))
            if errors and not self.is_broken:
                say(f"webfw: {_named(found)} changed, not taken yet: {'; '.join(errors)}")
                continue
            self._start_again(changed)
            changed = set()

    def _start_again(self, changed: set[str]) -> None:
        noticed = time.time()
        if self._command is None:
            say(
                f"webfw: {_named(changed)} changed; a program that was typed or piped in cannot be started again"
            )
            return
        say(f"webfw: {_named(changed)} changed, starting again")
        saved = max(map(_modified, changed))
        moment = saved if noticed - 10 < saved < noticed else noticed
        self._change = (changed, moment)
        self._order(Order.DRAIN)
        if not self._left.wait(GRACE + PATIENCE):
            self._restart(changed, moment)

    def _restart(self, changed: set[str], moment: float) -> None:
        """Start again; from the loop, where hooks expect to run, or from the thread where the loop is blocked."""
        with self._once:
            if self._left.is_set() or self._stopping:
                return
            self._left.set()
        assert self._command is not None
        environ: dict[str, str] = {CHANGED_AT: str(moment)}
        keep: list[int] = []
        if os.name == "nt":
            self._listeners.close()
        else:
            inherited, keep = self._listeners.hand_over()
            environ.update(inherited)
        restart(self._command, changed, environ=environ, keep=keep)
        self._listeners.take_back()  # it could not be done


def _leave() -> None:
    """End a process whose loop does not."""
    say("webfw stopped, though the event loop is blocked")
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass  # none, broken or closed
    os._exit(0)


def _modified(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


def _named(paths: Iterable[str]) -> str:
    """Files as people call them: from here, if they are below."""
    here = os.getcwd() + os.sep
    names = sorted(path.removeprefix(here) for path in paths)
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
