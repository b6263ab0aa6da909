"""Workers that are another user: reloads, crashes and logs, without the rights of the first one."""

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.drive import APP, Server, until

pytestmark = [pytest.mark.slow, pytest.mark.needs("wrk")]


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """Where another user may come; pytest's own are closed."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def user_of(pid: int) -> list[str]:
    text = Path(f"/proc/{pid}/status").read_text()
    return [line.split()[1] for line in text.splitlines() if line.startswith(("Uid:", "Gid:"))]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can be somebody else")
def test_workers_are_nobody(open_directory: Path, figure: Callable[[str], None]) -> None:
    (open_directory / "app.py").write_text(APP)
    folder = open_directory / "logs"
    folder.mkdir()
    shutil.chown(folder, "nobody", "nogroup")
    log = folder / "access.log"
    options = ["--workers", "2", "--user", "nobody", "--group", "nogroup", "--access-log", str(log)]
    server = Server(open_directory, options)
    try:
        assert {tuple(user_of(pid)) for pid in server.workers()} == {("65534", "65534")}
        load = server.load(5)
        server.write(2)
        server.send(signal.SIGHUP)
        until(lambda: {server.who()[1] for _ in range(6)} == {2})
        log.rename(folder / "access.log.1")
        server.send(signal.SIGUSR1)
        until(log.exists)
        until(lambda: log.stat().st_size > 0)
        quiet = load.result()
        mark = len(server.lines)
        os.kill(server.workers()[0], signal.SIGKILL)
        killed = time.monotonic()
        took = server.when("is ready", mark) - killed
        assert {tuple(user_of(pid)) for pid in server.workers()} == {("65534", "65534")}
        assert user_of(server.pid) == ["0", "0"]
        assert server.stop() == 0
    finally:
        server.kill()
        print(server.text)
    figure(
        f"{quiet} in a reload and while logs were opened anew; a killed worker was back after {took:.2f} s"
    )
    assert quiet.failed == 0
    assert log.stat().st_uid == 65534
    assert "ERROR webfw.general: hook" not in server.text
    assert "lost" not in log.read_text()[:10000]
