"""The bell that the operating system rings, by watchfiles; which files have changed is found out elsewhere."""

import os
import threading
from collections.abc import Collection, Generator
from typing import Any

from webfw.autoreload.watcher import Bell, PollingBell
from webfw.log import gen_log

__all__ = ["NotifyingBell", "best_bell"]

#: Milliseconds without an event that make an end of changes that belong together, and how long they may go on.
STEP = 25
DEBOUNCE = 500

#: The longest sleep without an event, in milliseconds.
TICK = 250


def best_bell() -> Bell:
    """Return a bell of watchfiles if that is installed, else one that polls."""
    try:
        import watchfiles
    except ImportError:  # the extra webfw[reload] is not installed
        return PollingBell()
    return NotifyingBell(watchfiles.watch)


class NotifyingBell:
    """Rings when something happens to the files; nobody looks at them before.

    :param watch: ``watchfiles.watch``.

    Their directories are watched, since a file that is replaced is not the one that was watched.  Where the system
    cannot do that (there is a limit to how many), the bell rings whenever the time is over, as `PollingBell` does.
    """

    def __init__(self, watch: Any) -> None:
        #: The events of one change arrive together.
        self.quiet = 0.0
        self._watch = watch
        self._closed = threading.Event()
        self._events: Generator[set[Any], None, None] | None = None
        self._count = 0
        self._names: frozenset[str] = frozenset()
        self._directories: frozenset[str] = frozenset()
        self._instead: PollingBell | None = None

    def wait(self, files: Collection[str], timeout: float) -> bool:
        """Sleep until something happens to the files, but not much longer than a quarter of a second."""
        if self._instead is not None:
            return self._instead.wait(files, timeout)
        new = len(files) != self._count and self._open(files)
        try:
            events = next(self._events or iter(()))
        except StopIteration:
            if self._closed.is_set():
                return False
            self._poll("it has ended")
            return True
        except Exception as exc:
            # Border: whatever keeps it from watching, the files can still be looked at.
            self._poll(exc)
            return True
        # At first something may have happened between the last look and the first event that could come.
        return new or bool(events)

    def _poll(self, reason: object) -> None:
        gen_log.info("watchfiles cannot watch, so files are polled: %s", reason)
        self._instead = PollingBell()
        self.quiet = self._instead.quiet
        if self._closed.is_set():
            self._instead.close()

    def close(self) -> None:
        """Wake who sleeps."""
        self._closed.set()
        if self._instead is not None:
            self._instead.close()

    def _open(self, files: Collection[str]) -> bool:
        """Watch the directories of the files, and tell whether there are new ones."""
        self._count = len(files)
        self._names = frozenset(map(os.path.basename, files))
        directories = frozenset(filter(os.path.isdir, {os.path.dirname(path) for path in files}))
        if directories <= self._directories:
            return False
        self._directories = directories
        if self._events is not None:
            self._events.close()
        self._events = self._watch(
            *sorted(directories),
            # By name: a system may report the path without the links in it.
            watch_filter=lambda change, path: os.path.basename(path) in self._names,
            debounce=DEBOUNCE,
            step=STEP,
            rust_timeout=TICK,
            yield_on_timeout=True,
            stop_event=self._closed,
            raise_interrupt=True,
            recursive=False,
        )
        return True
