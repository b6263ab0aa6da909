"""A path for a hub, the hub in this process, and the one that a broker has started."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no Unix sockets here")


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

    def send(self, signum: int) -> None:
        os.kill(self.pid, signum)


def ended(pid: int) -> bool:
    """Whether a process has ended, be it that nobody has waited for it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_until_ended(pid: int) -> None:
    deadline = time.monotonic() + 10
    while not ended(pid):
        assert time.monotonic() < deadline, f"process {pid} goes on"
        time.sleep(0.005)


@pytest.fixture
def path(tmp_path: Path) -> Iterator[str]:
    """Where a hub may be; one that is still there after the test is killed, and the test fails."""
    where = str(tmp_path / "s")
    yield where
    lock = Path(where + ".lock")
    deadline = time.monotonic() + 5
    while lock.exists() and time.monotonic() < deadline:
        try:
            pid = int(lock.read_text())
        except (FileNotFoundError, ValueError):
            pid = 0
        if pid == os.getpid() or (pid and ended(pid)):
            return
        time.sleep(0.01)
    if lock.exists() and pid:
        os.kill(pid, signal.SIGKILL)
        pytest.fail("the hub has outlived its test")


@pytest.fixture
def hub_of() -> Callable[[str], Hub]:
    """``hub_of(path)``: the process that serves there."""
    return Hub
