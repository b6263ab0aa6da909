"""A command on a machine that stands still now and then, as shared ones do: finds tests that only pass on a quick one.

    python -m tests.stall python -m pytest -q tests/cli
    python -m tests.stall --every 3 --seconds 1.5 --seed 7 python -m pytest -q --slow -m slow

The command and all it starts are frozen together (cgroup version 2), so that nothing in them can notice but by the
clock: a deadline in milliseconds, two things of which one is "always" first, a clock compared with another.  Needs
Linux and root.  What it has found is mended; a test that fails under it with stalls of a second is a test to mend.
"""

import argparse
import os
import random
import subprocess
import sys
import time
from pathlib import Path


def hierarchy() -> Path:
    """Where cgroups of version 2 are made."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(place)
    raise SystemExit("no cgroup2 is mounted: mount -t cgroup2 none DIRECTORY")


def main() -> int:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(prog="python -m tests.stall", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--every", type=float, default=2.0, metavar="S", help="seconds between stalls, on average"
    )
    parser.add_argument(
        "--seconds", type=float, default=0.8, metavar="S", help="how long the longest one lasts"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the times at which they come")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    if not options.command:
        parser.error("what is to be run?")
    group = hierarchy() / f"webfw-stall-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        raise SystemExit(f"no cgroup can be made: {error}") from None
    freeze, chance, stalls = group / "cgroup.freeze", random.Random(options.seed), 0
    # The shell enters the group before it becomes the command.
    into = ["sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', str(group)]
    try:
        with subprocess.Popen([*into, *options.command]) as process:
            while True:
                try:
                    process.wait(chance.expovariate(1 / options.every))
                    break
                except subprocess.TimeoutExpired:
                    freeze.write_text("1")
                    time.sleep(chance.uniform(0.2, 1) * options.seconds)
                    freeze.write_text("0")
                    stalls += 1
    finally:
        freeze.write_text("0")
        left = (group / "cgroup.procs").read_text().split()
        print(f"stalls: {stalls}" + (f"; still running: {', '.join(left)}" if left else ""), file=sys.stderr)
        if not left:
            group.rmdir()
    return process.returncode


if __name__ == "__main__":
    raise SystemExit(main())
