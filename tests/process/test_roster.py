"""What a supervisor knows of a worker."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from webfw.process.channel import channel_pair
from webfw.process.roster import Member, State, end_of, memory_of
from webfw.process.worker import Order


@pytest.fixture
def child() -> "Iterator[subprocess.Popen[bytes]]":
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def test_a_worker_that_serves_is_told_over_its_line(child: "subprocess.Popen[bytes]") -> None:
    ours, theirs = channel_pair()
    member = Member(3, 2, child.pid, ours)
    member.state = State.READY
    member.tell(Order.DRAIN, 5.0)
    assert theirs.receive() == [{"order": "drain", "replaced": False}]
    assert member.state is State.LEAVING
    assert 5.5 < member.kill_at - time.monotonic() <= 6.0
    assert child.poll() is None
    assert str(member) == f"worker 3 (process {child.pid})"
    ours.close()
    theirs.close()


def test_a_worker_that_loads_is_ended(child: "subprocess.Popen[bytes]") -> None:
    ours, theirs = channel_pair()
    member = Member(0, 1, child.pid, ours)
    member.tell(Order.DRAIN, 5.0)
    assert child.wait(10) == -signal.SIGKILL
    ours.close()
    theirs.close()


def test_a_worker_whose_loop_turns_is_told_though_it_does_not_serve(child: "subprocess.Popen[bytes]") -> None:
    ours, theirs = channel_pair()
    member = Member(0, 1, child.pid, ours)
    member.listens = True
    member.tell(Order.STOP, 5.0)
    assert theirs.receive() == [{"order": "stop", "replaced": False}]
    assert child.poll() is None
    ours.close()
    theirs.close()


def test_description() -> None:
    ours, theirs = channel_pair()
    member = Member(1, 4, os.getpid(), ours)
    member.report = {"lag": 0.01, "requests": 7, "worker": 9}
    shown = member.describe()
    assert json.loads(json.dumps(shown)) == shown
    assert (shown["worker"], shown["state"], shown["generation"]) == (1, "starting", 4)
    assert shown["requests"] == 7
    assert shown["age"] >= 0
    ours.close()
    theirs.close()


def test_more_time() -> None:
    ours, theirs = channel_pair()
    member = Member(1, 4, os.getpid(), ours)
    born, member.kill_at = member.born, None
    member.postpone(3.0)
    assert (member.born, member.last_beat, member.kill_at) == (born + 3, born + 3, None)
    member.kill_at = 7.0
    member.postpone(1.0)
    assert member.kill_at == 8.0
    ours.close()
    theirs.close()


def test_somebody_else_has_waited_for_it() -> None:
    ours, theirs = channel_pair()
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    member = Member(0, 1, child.pid, ours)
    member.signal(signal.SIGTERM)
    assert end_of(child.pid) == 0
    ours.close()
    theirs.close()


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="memory is not told here")
def test_memory() -> None:
    memory = memory_of(os.getpid())
    assert memory is not None
    assert memory > 5_000_000
    assert memory_of(2**22 + 1) is None
