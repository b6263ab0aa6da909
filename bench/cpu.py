"""What the operating system tells: CPU time and memory of processes, cores to pin them to, the machine itself."""

import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["cpu_time", "enough_files", "machine", "pinned", "proportional", "two_cores"]

TICKS = os.sysconf("SC_CLK_TCK")


def stat(pid: int) -> tuple[int, float, float] | None:
    """Parent, and user and system time in seconds of one process and its dead children (proc_pid_stat(5))."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    values = text.rpartition(")")[2].split()
    user, system, dead_user, dead_system = (int(value) / TICKS for value in values[11:15])
    return int(values[1]), user + dead_user, system + dead_system


def cpu_time(root: int) -> tuple[float, float]:
    """User and system time in seconds of a process and everything below it."""
    table = {
        int(path.name): found for path in Path("/proc").glob("[0-9]*") if (found := stat(int(path.name)))
    }
    user = system = 0.0
    for pid in below(root, {pid: parent for pid, (parent, _, _) in table.items()}):
        user += table[pid][1]
        system += table[pid][2]
    return user, system


def below(root: int, parents: dict[int, int]) -> Iterator[int]:
    """A process and its descendants, of those whose parents are given."""
    for pid in parents:
        above: int | None = pid
        while above is not None and above != root:
            above = parents.get(above)
        if above == root:
            yield pid


def proportional(pid: int) -> int:
    """Bytes of memory that belong to a process, of what it shares its share (smaps_rollup of proc(5))."""
    found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def pinned(cpu: int | None, command: list[str]) -> list[str]:
    """A command, kept on one core; on any with None."""
    return command if cpu is None else ["taskset", "-c", str(cpu), *command]


def two_cores() -> tuple[int, int] | None:
    """A core for what is measured and one for its opposite; None, said aloud, where there is only one."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1 and shutil.which("taskset"):
        return cores[0], cores[1]
    print("one core only: both sides share it, so compare nothing but CPU times", file=sys.stderr)
    return None


@contextmanager
def enough_files(count: int) -> Iterator[None]:
    """Let the processes that are started in here have so many connections, and some files more."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count + 100:
        raise SystemExit(f"{count} connections need more than {hard} open files (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count + 100), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def busy(seconds: float = 0.5) -> float:
    """The share of the machine that is at work now, all cores together: what others take, before a measurement."""
    before = jiffies()
    time.sleep(seconds)
    idle, total = (after - earlier for after, earlier in zip(jiffies(), before, strict=True))
    return 1 - idle / total if total else 0.0


def jiffies() -> tuple[int, int]:
    """Idle and all ticks of all cores since the start (proc_stat(5)); guests are counted in user time already."""
    values = [int(word) for word in Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]]
    return values[3] + values[4], sum(values)


def machine() -> dict[str, Any]:
    """What a figure depends on, besides what is measured; and whether the machine was quiet before."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {
        "cpu": model[1] if model else platform.machine(),
        "cpus": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "busy_before": round(busy(), 3),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
