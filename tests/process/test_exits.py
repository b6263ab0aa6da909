"""Tests of webfw.process.exits: both ways of waiting; what `Subprocess` shows of it is tested there."""

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from webfw.ioloop import IOLoop
from webfw.process.exits import Exit

ROOT = Path(__file__).resolve().parent.parent.parent

has_pidfd = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="no pidfd here")


def popen(code: str = "pass") -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-S", "-c", code])


def refuse(pid: int) -> int:
    raise OSError("no descriptor is left")


@pytest.fixture(params=["descriptor", "thread"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "thread":
        monkeypatch.setattr(os, "pidfd_open", refuse, raising=False)
    elif not hasattr(os, "pidfd_open"):
        pytest.skip("no pidfd here")
    return str(request.param)


async def test_both_ways_tell(way: str) -> None:
    threads = threading.active_count()
    proc = popen("raise SystemExit(5)")
    end = Exit(proc, IOLoop.current())
    assert (threading.active_count() > threads) is (way == "thread")
    assert await end.add_future(raise_error=False) == 5
    done = asyncio.get_running_loop().create_future()
    end.set_callback(done.set_result)
    assert await done == 5


async def test_a_child_that_has_ended_already(way: str) -> None:
    proc = popen()
    proc.wait(20)
    assert await Exit(proc, IOLoop.current()).add_future(raise_error=True) == 0


@has_pidfd
async def test_a_loop_that_cannot_wait_for_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    io_loop = IOLoop.current()

    class Proactor:
        def add_reader(self, *args: object) -> None:
            raise NotImplementedError

        def __getattr__(self, name: str) -> object:
            return getattr(loop, name)

    monkeypatch.setattr(io_loop, "asyncio_loop", Proactor())
    assert await Exit(popen(), io_loop).add_future(raise_error=True) == 0
    monkeypatch.undo()


@has_pidfd
async def test_a_closed_loop_is_an_error_at_once_and_leaks_nothing() -> None:
    closed = IOLoop(make_current=False)
    closed.close()
    before = len(os.listdir("/proc/self/fd"))
    proc = popen()
    with pytest.raises(RuntimeError, match="closed"):
        Exit(proc, closed)
    proc.wait(20)
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_thread_that_finds_the_loop_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pidfd_open", refuse, raising=False)
    loop = IOLoop(make_current=False)
    proc = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    Exit(proc, loop)
    (waiting,) = [thread for thread in threading.enumerate() if thread.name == f"child-{proc.pid}"]
    loop.close()
    assert proc.stdin is not None
    proc.stdin.write(b"\n")
    proc.stdin.close()
    waiting.join(20)
    assert proc.returncode == 0


async def test_a_thread_in_wait_keeps_the_lock_a_while() -> None:
    """`Popen.poll` returns None while another thread is about to reap the child; the loop looks again."""
    proc = popen()
    os.waitid(os.P_PID, proc.pid, os.WEXITED | os.WNOWAIT)
    end = Exit(proc, IOLoop.current())
    answers = iter([None, None])
    real = proc.poll
    proc.poll = lambda: next(answers, real())  # type: ignore[method-assign]
    assert await end.add_future(raise_error=True) == 0


@pytest.mark.skipif(not hasattr(signal, "SIGCHLD"), reason="no SIGCHLD here")
def test_ignored_sigchld() -> None:
    """The kernel reaps the children by itself then, and their status is lost, as `subprocess` has it."""
    code = """
import asyncio, signal
from webfw.process import Subprocess
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
async def main():
    for _ in range(20):
        assert await Subprocess(["true"]).wait_for_exit() == 0
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=ROOT, timeout=40, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
