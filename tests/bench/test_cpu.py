"""What the operating system tells of processes."""

import os
import subprocess
import sys
import time

import pytest

from bench import cpu

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def test_the_time_of_this_process_is_counted() -> None:
    user, system = cpu.cpu_time(os.getpid())
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    user_after, system_after = cpu.cpu_time(os.getpid())
    assert user_after + system_after - user - system >= 0.03


def test_children_are_counted_dead_or_alive() -> None:
    spin = "import time\nwhile time.process_time() < 0.1: pass\nprint('done', flush=True)\ninput()"
    before = sum(cpu.cpu_time(os.getpid()))
    child = subprocess.Popen(
        [sys.executable, "-S", "-c", spin], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "done\n"
    assert sum(cpu.cpu_time(os.getpid())) - before >= 0.08
    assert sum(cpu.cpu_time(child.pid)) >= 0.08
    child.communicate("\n")
    assert sum(cpu.cpu_time(os.getpid())) - before >= 0.08


def test_who_is_below() -> None:
    parents = {1: 0, 2: 1, 3: 2, 4: 1, 5: 9}
    assert sorted(cpu.below(2, parents)) == [2, 3]
    assert sorted(cpu.below(1, parents)) == [1, 2, 3, 4]
    assert list(cpu.below(7, parents)) == []


def test_a_process_that_is_gone_costs_nothing() -> None:
    child = subprocess.Popen([sys.executable, "-S", "-c", ""])
    child.wait()
    assert cpu.stat(child.pid) is None


def test_commands_are_pinned_only_where_there_is_a_core() -> None:
    assert cpu.pinned(None, ["x"]) == ["x"]
    assert cpu.pinned(3, ["x"]) == ["taskset", "-c", "3", "x"]


def test_files_are_enough_within_and_as_before_after() -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with cpu.enough_files(50):
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 150
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard)
    if hard != resource.RLIM_INFINITY:
        with pytest.raises(SystemExit, match="open files"), cpu.enough_files(hard):
            pass


def test_the_machine_is_described() -> None:
    found = cpu.machine()
    assert found["cpus"] >= 1
    assert 0 <= found["busy_before"] <= 1
    assert found["time"].endswith("Z")
