"""The standard streams of a process that forks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from webfw.process.streams import flush_streams

ROOT = Path(__file__).resolve().parents[2]


def run(code: str) -> "subprocess.CompletedProcess[str]":
    code = f"import os, sys\nfrom webfw.process.streams import flush_streams, silence\n{code}"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=50)


def test_what_is_kept_is_written_once() -> None:
    done = run(
        "sys.stdout.write('kept')\nflush_streams()\npid = os.fork()\n"
        "if pid: os.waitpid(pid, 0)\nsys.stdout.flush()"
    )
    assert (done.stdout, done.stderr) == ("kept", "")


@pytest.mark.parametrize("stream", [None, object(), open(os.devnull)], ids=["none", "own", "closed"])  # noqa: SIM115
def test_a_stream_that_cannot_be_flushed(monkeypatch: pytest.MonkeyPatch, stream: object) -> None:
    if hasattr(stream, "close"):
        stream.close()
    monkeypatch.setattr(sys, "stdout", stream)
    flush_streams()


def test_nothing_is_heard_after_silence() -> None:
    done = run(
        "print('before')\nsilence()\nprint('after', flush=True)\nos.write(2, b'after')\n"
        "assert os.read(0, 1) == b''"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "before\n", "")
