"""Logs that cannot be written: requests go on, and what was lost is counted."""

import os
import re
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.drive import Server, until

pytestmark = [pytest.mark.slow, pytest.mark.needs("wrk")]

Start = Callable[..., Server]
Figure = Callable[[str], None]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB, where one may be mounted."""
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(path)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def test_a_full_disk(start: Start, figure: Figure, small_disk: Path) -> None:
    log = small_disk / "access.log"
    server = start("--workers", "2", "--access-log", str(log))
    load = server.load(3)
    result = load.result()
    assert result.failed == 0
    assert log.stat().st_size == 64 << 10
    # Somebody makes room by moving the file away, and says so.
    log.unlink()
    server.send(signal.SIGUSR1)
    until(log.exists)

    def told() -> list[int]:
        server.get()
        return [
            int(n) for n in re.findall(r"webfw: (\d+) lines of this log were lost: No space", log.read_text())
        ]

    until(lambda: len(told()) == 2)  # each worker has lost some
    lost = sum(told())
    figure(f"{result}; {lost:,} lines lost, and said to be")
    assert lost >= result.requests * 0.9
    assert server.stop() == 0


def test_a_log_that_takes_nothing(start: Start, figure: Figure) -> None:
    """Every line is lost, and none of it is waited for."""
    server = start("--workers", "1", "--access-log", "/dev/full")
    result = server.load(2).result()
    figure(str(result))
    assert result.failed == 0
    assert server.stop() == 0


def test_a_log_that_may_not_grow(start: Start, figure: Figure, tmp_path: Path) -> None:
    """RLIMIT_FSIZE: the system would end the process by SIGXFSZ, which Python ignores."""

    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (32768, 32768))

    log = tmp_path / "access.log"
    server = start("--workers", "2", "--access-log", str(log), "--error-log", str(log), before=small)
    workers = server.workers()
    result = server.load(2).result()
    assert result.failed == 0
    assert log.stat().st_size == 32768
    assert set(server.workers()) == set(workers)
    figure(f"{result}")
    assert server.stop() == 0


def test_a_log_whose_directory_is_gone(start: Start, figure: Figure, tmp_path: Path) -> None:
    """Opening anew fails, under load: the old file goes on."""
    folder = tmp_path / "logs"
    folder.mkdir()
    log = folder / "access.log"
    server = start("--workers", "2", "--access-log", str(log))
    load = server.load(3)
    time.sleep(0.5)
    kept = os.open(log, os.O_RDONLY)
    folder.rename(tmp_path / "elsewhere")
    server.send(signal.SIGUSR1)
    time.sleep(0.5)
    size = os.fstat(kept).st_size
    result = load.result()
    assert result.failed == 0
    assert os.fstat(kept).st_size > size
    os.close(kept)
    text = (tmp_path / "elsewhere/access.log").read_text()
    assert (
        len(re.findall(r"webfw: 1 lines? of this log (?:was|were) lost: \S+access.log: No such file", text))
        >= 1
    )
    figure(str(result))
    assert server.stop() == 0
