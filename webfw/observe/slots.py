"""Numbers for processes: each has the lowest that no living one has, by a locked file; what they are for may not enter.

A number is free again as soon as its process is gone, however that has ended: the system takes the lock back.
"""

import os
import threading
from collections.abc import Callable, Iterator

__all__ = ["Slots", "lock"]


def lock(fd: int, *, shared: bool = False) -> bool:
    """Lock an open file, or change what kind of lock there is on it; False when somebody else's is in the way."""
    import fcntl  # POSIX only, as are trees of processes

    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def open_lock(path: str, create: bool = True) -> int:
    """Open a file to be locked; no link is followed, and programs that are started do not inherit it."""
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT if create else 0)
    return os.open(path, flags, 0o600)


class Slots:
    """The numbers that the processes sharing a directory have.

    :param directory: where the locked files are.
    :param taken: called with its number in a process that has just got it, before that number is used.
    """

    def __init__(self, directory: str, taken: Callable[[str], None] = lambda number: None) -> None:
        self._directory = directory
        self._taken = taken
        self._pid = 0
        self._number = ""
        self._fd = -1
        self._claiming = threading.Lock()

    def mine(self) -> str:
        """The number of this process, from 0 on.  A process that was forked gets one of its own when it asks."""
        if self._pid != os.getpid():
            with self._claiming:
                if self._pid != os.getpid():
                    self._claim()
        return self._number

    def _claim(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)  # the parent's, which keeps it
            self._fd = -1
        number = 0
        while (fd := self._try(str(number))) < 0:
            number += 1
        self._fd, self._number = fd, str(number)
        self._taken(self._number)
        self._pid = os.getpid()

    def _try(self, number: str) -> int:
        """The locked file of a number; -1 when somebody has it."""
        path = self._path(number)
        try:
            fd = open_lock(path)
        except PermissionError:
            if not os.path.lexists(path):
                raise
            return -1  # of a supervisor that is somebody else
        if lock(fd):
            return fd
        os.close(fd)
        return -1

    def _path(self, number: str) -> str:
        return os.path.join(self._directory, number + ".slot")

    def abandoned(self) -> Iterator[str]:
        """The numbers of processes that are gone; each cannot be taken until the next is asked for."""
        for name in os.listdir(self._directory):
            number, suffix = os.path.splitext(name)
            if suffix != ".slot":
                continue
            try:
                fd = open_lock(self._path(number), create=False)
            except FileNotFoundError:
                continue
            try:
                if lock(fd):
                    yield number
            finally:
                os.close(fd)

    def release(self) -> None:
        """Give the number of this process back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._pid = 0
