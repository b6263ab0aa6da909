"""Small files that were served lately, kept so that they need not be found and read again; no request may enter."""

import datetime
import os
import threading
import time
from collections.abc import Hashable
from typing import NamedTuple

__all__ = ["MAX_FILE", "Recent", "Served"]

#: Bytes of the largest file that is kept.
MAX_FILE = 64 * 1024
#: Bytes of all that are kept, and what each counts besides its content.
MAX_ALL = 8 * 1024 * 1024
OVERHEAD = 1024
#: Seconds that a file is kept.  That it is still the same is looked at each time; links that lead to it, and compressed
#: siblings beside it, are found within this time.
KEPT_FOR = 5.0
#: Seconds that a file must be unchanged to be kept: clocks of file systems are coarse, so that of two changes behind
#: each other, the second may leave no trace.
UNCHANGED_FOR = 2.0


class Served(NamedTuple):
    """One file as it was served.

    :ivar path: where it is, absolute.
    :ivar fields: what the head says about it, names as `HTTPHeaders` spells them.
    :ivar modified: when it was changed last.
    :ivar content: all of it.
    """

    path: str
    fields: dict[str, str]
    modified: datetime.datetime | None
    content: bytes


class _Entry(NamedTuple):
    served: Served
    state: tuple[int, ...]
    until: float


class Recent:
    """Files that were served lately, by what they were asked for with.

    :param limit: bytes kept in all; beyond it those go that came first.
    """

    def __init__(self, limit: int = MAX_ALL) -> None:
        self._limit = limit
        self._entries: dict[Hashable, _Entry] = {}
        self._size = 0
        # One look at a dict needs none.
        self._lock = threading.Lock()

    def find(self, key: Hashable) -> tuple[Served, os.stat_result] | None:
        """Return what is kept under a key, and the file's present status; None where that has changed."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if time.monotonic() < entry.until:
            try:
                status = os.stat(entry.served.path)
            except OSError:
                pass
            else:
                if _state(status) == entry.state:
                    return entry.served, status
        self._forget(key)
        return None

    def keep(self, key: Hashable, served: Served, status: os.stat_result) -> None:
        """Keep a file.

        :param status: the file's, taken before its content was read.
        """
        size = _size(served)
        changed = max(status.st_mtime, status.st_ctime)
        if len(served.content) > MAX_FILE or size > self._limit or time.time() - changed < UNCHANGED_FOR:
            return
        entry = _Entry(served, _state(status), time.monotonic() + KEPT_FOR)
        self._forget(key)
        with self._lock:
            self._entries[key] = entry
            self._size += size
            while self._size > self._limit:
                oldest = self._entries.pop(next(iter(self._entries)))
                self._size -= _size(oldest.served)

    def _forget(self, key: Hashable) -> None:
        with self._lock:
            entry = self._entries.pop(key, None)
            if entry is not None:
                self._size -= _size(entry.served)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            self._size = 0


def _size(served: Served) -> int:
    return len(served.content) + OVERHEAD


def _state(status: os.stat_result) -> tuple[int, ...]:
    """What changes with a file, or when another one takes its place; nobody can set the ctime."""
    return (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev)
