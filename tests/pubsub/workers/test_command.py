"""Tests of webfw.pubsub.workers.command: the hub as a process."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from webfw.pubsub.workers import WorkersBroker

ROOT = Path(__file__).resolve().parents[3]

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def call(*arguments: str, **env: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "webfw.pubsub.workers", *arguments],
            env={**os.environ, "PYTHONPATH": str(ROOT), **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield call
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("kind", ["auto", "asyncio"])
async def test_it_serves_until_it_is_told_to_end(
    path: str, hub_of: Any, start: Start, signum: int, kind: str
) -> None:
    process = start("--socket", path, WEBFW_LOOP=kind)
    assert hub_of(path).pid == process.pid
    async with WorkersBroker(f"workers:{path}", autostart=False) as broker:
        await broker.publish("a", "x")
    process.send_signal(signum)
    output, errors = process.communicate(timeout=10)
    assert (process.returncode, output, errors) == (0, "", "")
    assert not os.path.exists(path)
    assert not os.path.exists(path + ".lock")


async def test_the_path_of_the_environment(path: str, hub_of: Any, start: Start) -> None:
    process = start("--linger", "0", WEBFW_WORKERS_SOCKET=path)
    assert hub_of(path).pid == process.pid
    async with WorkersBroker(f"workers:{path}", autostart=False):
        pass
    assert process.communicate(timeout=10) == ("", "")
    assert process.returncode == 0


def test_in_the_background(path: str, hub_of: Any, start: Start) -> None:
    process = start("--socket", path, "--background")
    assert process.wait(10) == 0
    pid = hub_of(path).pid
    assert pid != process.pid
    hub_of(path).end()


def test_another_hub_is_there(path: str, hub_of: Any, start: Start) -> None:
    first = start("--socket", path)
    assert hub_of(path).pid == first.pid
    second = start("--socket", path)
    _, errors = second.communicate(timeout=10)
    assert (second.returncode, errors) == (1, f"workers:{path}: another hub is there\n")
    assert first.poll() is None


def test_a_path_that_is_too_long(start: Start) -> None:
    process = start("--socket", "/" + "x" * 200)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 1
    assert re.match(r"the path of a socket can have 10\d bytes, not 201", errors)


def test_help_tells_what_it_is(start: Start) -> None:
    output, _ = start("--help").communicate(timeout=10)
    assert "hub of publish/subscribe" in output
    assert "lock-fd" not in output
