"""`Watcher`: tells which files have changed; what to do about it, and how one is woken, is decided elsewhere."""

import os
import threading
import time
from collections.abc import Callable, Collection
from typing import NamedTuple, Protocol

from webfw.autoreload.sources import is_outdated, module_files

__all__ = ["Bell", "PollingBell", "Signature", "Watcher", "signature_of"]

#: Seconds for which nothing may have changed before changes are told: several files are often written together.
QUIET = 0.05

#: Seconds after which changes are told although there are ever more.
MAX_QUIET = 1.0

#: Seconds by which the time of a file may lie behind the clock: the kernel takes it from its last tick.
SLACK = 0.012

#: Seconds after which every file is looked at whatever the bell says: shared and network file systems may be silent.
DISTRUST = 2.0


class Signature(NamedTuple):
    """What changes when a file is written or replaced."""

    mtime_ns: int
    size: int
    inode: int


def signature_of(path: str) -> Signature | None:
    """Return the signature of a file, None where there is none."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return Signature(status.st_mtime_ns, status.st_size, status.st_ino)


class Bell(Protocol):
    """What a `Watcher` sleeps by until it is time to look again."""

    #: Seconds to sleep after a change until the next look; 0 if it rings only when all is quiet again.
    quiet: float

    def wait(self, files: Collection[str], timeout: float) -> bool:
        """Sleep for about `timeout` seconds or until something happens to the files; False if nothing has."""

    def close(self) -> None:
        """Wake who sleeps, now and from now on.  Any thread may call it."""


class PollingBell:
    """Rings whenever the time is over: every file is looked at every time."""

    quiet = QUIET

    def __init__(self) -> None:
        self._closed = threading.Event()

    def wait(self, files: Collection[str], timeout: float) -> bool:
        """Sleep for `timeout` seconds; always True."""
        self._closed.wait(timeout)
        return True

    def close(self) -> None:
        """Wake who sleeps."""
        self._closed.set()


class Watcher:
    """Watches the files of all imported modules, also of those that are imported later, and files named to it.

    :param modules: whether modules are watched; with False only what `watch` was told.
    :param interval: seconds between two looks, and between two searches for newly imported modules.
    :param since: when the program was started (`time.time`).  A module whose file was modified after that, and not
        imported as it is now, counts as changed at the first look.
    :param bell: how to sleep; `PollingBell` by default.
    :param signature: gives the `Signature` of a path, or None.

    A file that is gone is not reported, since there is nothing to load: it counts as changed when it is back and
    differs.  One that was not there and appears has changed.  `changed` and `wait` are for one thread at a time.
    """

    def __init__(
        self,
        *,
        modules: bool = True,
        interval: float = 0.5,
        since: float | None = None,
        bell: Bell | None = None,
        signature: Callable[[str], Signature | None] = signature_of,
    ) -> None:
        self._modules = modules
        self._interval = interval
        self._since_ns = ((time.time() if since is None else since) - SLACK) * 1e9
        self._bell = PollingBell() if bell is None else bell
        self._signature = signature
        self._lock = threading.Lock()
        self._files: dict[str, Signature | None] = {}
        #: The paths of modules that need not be looked at: of those that are watched, and of what is no file.
        self._settled: set[str] = set()
        self._early: set[str] = set()
        self._closed = False

    def watch(self, path: str | os.PathLike[str], *, loaded: bool = False) -> None:
        """Watch a file too, which need not exist; may be called from any thread.

        :param loaded: whether the program has read it already: then it counts as changed if it was modified since the
            program was started, and else only if it is from now on.
        """
        path = os.path.abspath(path)
        with self._lock:
            if path not in self._files:
                self._add(path, self._signature(path), loaded)

    def changed(self) -> set[str]:
        """Look at every file, without waiting; return the absolute paths of those that changed since the last look."""
        with self._lock:
            found = self._discover()
            for path, before in self._files.items():
                now = self._signature(path)
                if now is not None and now != before:
                    self._files[path] = now
                    found.add(path)
            return found

    def wait(self, timeout: float | None = None) -> set[str]:
        """Sleep until files have changed, and for a moment nothing more; return their paths.

        :param timeout: seconds after which the empty set is returned; None to wait for ever.
        :returns: the empty set also after `close`.
        """
        looked = time.monotonic()
        end = None if timeout is None else looked + timeout
        found = self.changed()
        while not found and not self._closed:
            left = self._interval if end is None else min(self._interval, end - time.monotonic())
            if left <= 0:
                return found
            if self._bell.wait(self._files, left) or time.monotonic() - looked > DISTRUST:
                found = self.changed()
                looked = time.monotonic()
            else:
                with self._lock:
                    found = self._discover()
        return found | self._until_quiet() if found else found

    def close(self) -> None:
        """End `wait`, now and from now on; may be called from any thread."""
        self._closed = True
        self._bell.close()

    @property
    def closed(self) -> bool:
        """Whether `close` has been called."""
        return self._closed

    def __len__(self) -> int:
        return len(self._files)

    def _until_quiet(self) -> set[str]:
        found: set[str] = set()
        slept = 0.0
        while self._bell.quiet and slept < MAX_QUIET and not self._closed:
            self._bell.wait(self._files, self._bell.quiet)
            slept += self._bell.quiet
            more = self.changed()
            if not more:
                break
            found |= more
        return found

    def _discover(self) -> set[str]:
        """Take in the modules imported since the last time, and return what was called for already."""
        if self._modules:
            for name, module in module_files():
                if name not in self._settled:
                    self._take_module(name, module)
        found, self._early = self._early, set()
        return found

    def _take_module(self, name: str, module: object) -> None:
        path = os.path.abspath(name)
        now = None if path in self._files else self._signature(path)
        if now is not None:
            loaded = self._is_recent(now) and is_outdated(module, path, now.mtime_ns / 1e9)  # type: ignore[arg-type]
            self._add(path, now, loaded)
        elif path not in self._files and os.path.isdir(os.path.dirname(path)):
            return  # being replaced; look again.  In an archive it would have no directory.
        self._settled.add(name)

    def _add(self, path: str, now: Signature | None, loaded: bool) -> None:
        self._files[path] = now
        if loaded and now is not None and self._is_recent(now):
            self._early.add(path)

    def _is_recent(self, now: Signature) -> bool:
        """Whether a file was modified since the start.

        A time to come says nothing (an archive, another machine's clock): it would be so at every start again.
        """
        return self._since_ns <= now.mtime_ns <= time.time_ns()
