"""A directory in which the processes of a tree share what they count, and its end; what stands in it may not enter."""

import glob
import os
import shutil
import stat
import tempfile
from typing import Final

from webfw.observe.slots import Slots, lock, open_lock
from webfw.process.identity import Identity

__all__ = ["VARIABLE", "SharedDirectory"]

#: Where prometheus-client looks for the directory.
VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"

PREFIX: Final = "webfw-metrics-"

#: The file that every supervisor which uses a directory of ours has locked, with its workers.
LOCK: Final = "tree.lock"


class SharedDirectory:
    """A directory that the environment names, made anew unless it is there; made by a supervisor before it forks.

    :ivar path: where it is.
    :ivar slots: the numbers of the processes.
    :raises OSError: it cannot be made.
    """

    def __init__(self) -> None:
        given = os.environ.get(VARIABLE)
        #: The locked file; -1 where the directory is the user's.
        self._fd = -1
        if given is None or not self._join(given):
            _remove_leftovers()
            given = tempfile.mkdtemp(prefix=PREFIX)
            self._lock_new(given)
        self.path = given
        self.slots = Slots(given, self._number_taken)
        os.environ[VARIABLE] = given

    def _join(self, path: str) -> bool:
        """Use a directory that is there: of the tree which this one follows, or of the user."""
        os.makedirs(path, mode=0o700, exist_ok=True)
        try:
            fd = open_lock(os.path.join(path, LOCK), create=False)
        except FileNotFoundError:
            return True
        if lock(fd, shared=True):
            self._fd = fd
            return True
        os.close(fd)  # it is just being removed
        return False

    def _lock_new(self, path: str) -> None:
        # Under this name only when it is locked: who finds it unlocked may remove the directory.
        draft = os.path.join(path, "draft")
        self._fd = open_lock(draft)
        lock(self._fd, shared=True)
        os.rename(draft, os.path.join(path, LOCK))

    def hand_over(self, identity: Identity | None) -> None:
        """Let workers that are somebody else write here; what this process has in it stays its own, to be read.

        To be called before every fork, since there may be more files than before.
        """
        if identity is not None and not identity.is_current():
            for name in os.listdir(self.path):
                _let_read(os.path.join(self.path, name))
            identity.own(self.path)

    def _number_taken(self, number: str) -> None:
        """A process begins with this number; counters go on where they were, but gauges are about processes."""
        for path in glob.glob(os.path.join(glob.escape(self.path), f"gauge_*_{number}.db")):
            os.unlink(path)

    def number_free(self, number: str) -> None:
        """The process with this number is gone."""

    def clean(self) -> None:
        """Some processes may be gone."""
        for number in self.slots.abandoned():
            self.number_free(number)

    def remove(self) -> None:
        """Remove the directory, unless it is the user's, or another tree goes on with it."""
        self.slots.release()
        if self._fd >= 0:
            os.environ.pop(VARIABLE, None)
            if lock(self._fd):
                shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._fd)
            self._fd = -1


def _remove_leftovers() -> None:
    """Remove the directories of supervisors that were killed."""
    parent = tempfile.gettempdir()
    for name in os.listdir(parent):
        path = os.path.join(parent, name)
        if not name.startswith(PREFIX) or os.path.islink(path):
            continue
        try:
            fd = open_lock(os.path.join(path, LOCK), create=False)
        except OSError:
            continue  # somebody is just making or removing it
        try:
            # The directory itself may belong to the user that workers are.
            if os.fstat(fd).st_uid == os.geteuid() and lock(fd):
                shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(fd)


def _let_read(path: str) -> None:
    """Let others read a file, if it is ours and no trap: they may put into the directory what they like."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    try:
        found = os.fstat(fd)
        if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and found.st_nlink == 1:
            os.fchmod(fd, 0o644)
    finally:
        os.close(fd)
