"""A path for a hub, the hub in this process, and the one that a broker has started."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


class Hub:
    """The hub process of a path, as its lock names it."""

    def __init__(self, path: str) -> None:
        self.path = path

    @property
    def pid(self) -> int:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                return int(Path(self.path + ".lock").read_text())
            except (FileNotFoundError, ValueError):
                time.sleep(0.005)
        raise AssertionError("no hub has signed its lock")

    def end(self, signum: int = signal.SIGTERM) -> None:
        """Send a signal, and wait until it has ended."""
        pid = self.pid
        os.kill(pid, signum)
        self.ended(pid)

    @staticmethod
    def ended(pid: int) -> None:
        """Wait until this process has ended."""
        deadline = time.monotonic() + 10
        while not has_ended(pid):
            assert time.monotonic() < deadline, f"process {pid} goes on"
            time.sleep(0.005)


def has_ended(pid: int) -> bool:
    """Whether a process has ended, be it that nobody has waited for it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.fixture
def path(tmp_path: Path) -> Iterator[str]:
    """Where a hub may be; one that is still there after the test is killed, and the test fails."""
    where = str(tmp_path / "s")
    yield where
    lock = Path(where + ".lock")
    pid = 0
    deadline = time.monotonic() + 10
    while lock.exists() and time.monotonic() < deadline:
        try:
            pid = int(lock.read_text())
        except (FileNotFoundError, ValueError):
            pass
        if pid == os.getpid() or (pid and has_ended(pid)):
            return
        time.sleep(0.01)
    if lock.exists() and pid:
        os.kill(pid, signal.SIGKILL)
        pytest.fail("the hub has outlived its test")


@pytest.fixture
def hub_of() -> Callable[[str], Hub]:
    """``hub_of(path)``: the process that serves there."""
    return Hub
