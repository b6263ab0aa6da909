"""How many processors this process may use: of the machine, by its affinity, in its container; nothing is forked."""

import os
import sys
from math import ceil, inf
from pathlib import PurePosixPath

__all__ = ["cpu_count"]


def cpu_count() -> int:
    """Return the number of processors this process may use, at least 1; it may be less than the machine has.

    A limit of processor time, as containers have, counts as so many processors, a part of one as one.
    """
    if sys.version_info >= (3, 13):
        count = os.process_cpu_count() or 1
    elif hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    return max(1, ceil(min(count, _cpu_limit())))


def _cpu_limit(groups: str = "/sys/fs/cgroup", membership: str = "/proc/self/cgroup") -> float:
    """How many processors' time Linux gives to this process's control group (version 2), and to those around it."""
    limit = inf
    try:
        with open(membership, encoding="utf-8") as file:
            group = next(line[3:].strip() for line in file if line.startswith("0::"))
    except (OSError, ValueError, StopIteration):
        return limit
    path = PurePosixPath("/", group)
    for place in (path, *path.parents):
        try:
            with open(f"{groups}{place}/cpu.max", encoding="ascii") as file:
                quota, period = map(int, file.read().split())
            limit = min(limit, quota / period)
        except (OSError, ValueError, ZeroDivisionError):  # none here, or "max"
            pass
    return limit
