"""Process trees: two workers against one, the memory of supervisor and workers, and how long a reload takes.

    python -m bench.scale [--quick] [--only workers,memory,reload] [--json FILE]

See README.md beside this file for what is measured and how to read it.
"""

import argparse
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.http import APPS, ROOT, free_port, machine, prepare, versions
from bench.options import add_choice, parser, write

CONNECTIONS = 64
THREADS = 8
PATIENCE = 30.0


@dataclass(frozen=True)
class Kind:
    """A server that is a tree: its name, and how it is started."""

    name: str
    command: Callable[[int, int, str, bool], list[str]]


def webfw(port: int, workers: int, target: str, preload: bool) -> list[str]:
    options = ["--bind", f"127.0.0.1:{port}", "--workers", str(workers), "--access-log", "off"]
    options += ["--log-level", "error", "--control", "off", *(["--preload"] if preload else [])]
    if target.startswith("wsgi_"):
        options += ["--threads", str(THREADS)]
    return ["-m", "webfw", "serve", *options, target]


def gunicorn(port: int, workers: int, target: str, preload: bool) -> list[str]:
    options = ["--bind", f"127.0.0.1:{port}", "--workers", str(workers), "--worker-class", "gthread"]
    options += ["--threads", str(THREADS), "--log-level", "error", "--no-control-socket"]
    return ["-m", "gunicorn", *options, *(["--preload"] if preload else []), target]


KINDS = [Kind("webfw", webfw), Kind("gunicorn gthread", gunicorn)]


# --- a tree ---


class Tree:
    """A running server and its workers."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int) -> None:
        self.process = process
        self.port = port

    def workers(self) -> list[int]:
        text = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(word) for word in text.split()]

    def memory(self) -> float:
        """MiB of the proportional set sizes of all processes."""
        return sum(pss(pid) for pid in [self.process.pid, *self.workers()]) / 1024

    def cpu(self) -> float:
        """CPU seconds of all processes so far."""
        return sum(cpu(pid) for pid in [self.process.pid, *self.workers()])


def pss(pid: int) -> int:
    found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert found
    return int(found[1])


def cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(python: Path, kind: Kind, workers: int, target: str, preload: bool = False) -> Iterator[Tree]:
    """A tree that serves: every one of its workers has answered something by the end of its first load."""
    port = free_port()
    command = [str(python), *kind.command(port, workers, target, preload)]
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{APPS}"}
    process = subprocess.Popen(command, env=env, cwd=APPS, stdout=subprocess.DEVNULL)
    tree = Tree(process, port)
    try:
        deadline = time.monotonic() + PATIENCE
        while process.poll() is None and not (len(tree.workers()) >= workers and answers(port)):
            if time.monotonic() > deadline:
                raise SystemExit(f"{kind.name} does not serve {target}")
            time.sleep(0.05)
        if process.poll() is not None:
            raise SystemExit(f"{kind.name} ended: {' '.join(command)}")
        yield tree
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def answers(port: int) -> bool:
    command = ["curl", "--silent", "--fail", "--max-time", "2", f"http://127.0.0.1:{port}/"]
    return subprocess.run(command, capture_output=True, check=False).stdout == b"Hello, world"


@dataclass
class Loaded:
    """What came of a load: requests, and those that failed."""

    requests: int
    rate: float
    failed: int


def start_load(port: int, seconds: float) -> "subprocess.Popen[str]":
    command = [
        "wrk",
        "-t1",
        f"-c{CONNECTIONS}",
        f"-d{seconds:g}s",
        "--timeout",
        "20",
        f"http://127.0.0.1:{port}/",
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def end_load(process: "subprocess.Popen[str]") -> Loaded:
    output, _ = process.communicate(timeout=120)
    return read_load(output)


def read_load(output: str) -> Loaded:
    """What wrk has printed."""
    requests = re.search(r"(\d+) requests in", output)
    rate = re.search(r"Requests/sec:\s*([\d.]+)", output)
    if requests is None or rate is None:
        raise SystemExit(f"the load went wrong: {output}")
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", output)
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    failed = sum(map(int, errors.groups())) if errors else 0
    return Loaded(int(requests[1]), float(rate[1]), failed + (int(bad[1]) if bad else 0))


# --- what is measured ---


@dataclass
class Row:
    """Samples by column, of one line of a table."""

    title: tuple[str, ...]
    samples: dict[str, list[float]] = field(default_factory=dict)

    def add(self, **values: float) -> None:
        for name, value in values.items():
            self.samples.setdefault(name, []).append(value)

    def line(self) -> str:
        cells = [spread(found) for found in self.samples.values()]
        return f"| {' | '.join([*self.title, *cells])} |"


def spread(found: list[float]) -> str:
    """Median and range."""
    middle = statistics.median(found)
    digits = (
        0 if middle >= 100 or all(value.is_integer() for value in map(float, found)) else 2 - (middle >= 10)
    )
    middle, low, high = (
        f"{value:,.{digits}f}" for value in (statistics.median(found), min(found), max(found))
    )
    return middle if low == high else f"{middle} ({low} to {high})"


WORKERS = [(KINDS[0], "webfw_scale:app"), (KINDS[0], "wsgi_flask:app"), (KINDS[1], "wsgi_flask:app")]
MEMORY = [
    (kind, target, preload)
    for target in ("wsgi_flask:app", "wsgi_django:app")
    for kind in KINDS
    for preload in (False, True)
]


def measure_workers(python: Path, rounds: int, seconds: float) -> list[Row]:
    rows = [Row((kind.name, target, str(n))) for kind, target in WORKERS for n in (1, 2)]
    for number in range(rounds):
        for row, (kind, target, workers) in zip(
            rows, ((*w, n) for w in WORKERS for n in (1, 2)), strict=True
        ):
            print(f"workers, round {number + 1}: {' '.join(row.title)}", file=sys.stderr)
            with running(python, kind, workers, target) as tree:
                end_load(start_load(tree.port, 1))
                before = tree.cpu()
                done = end_load(start_load(tree.port, seconds))
                used = tree.cpu() - before
                row.add(rate=done.rate, cpu=used / done.requests * 1e6)
    return rows


def measure_memory(python: Path, rounds: int, seconds: float) -> list[Row]:
    rows = [Row((kind.name + (", preload" if p else ""), target)) for kind, target, p in MEMORY]
    for number in range(rounds):
        for row, (kind, target, preload) in zip(rows, MEMORY, strict=True):
            print(f"memory, round {number + 1}: {' '.join(row.title)}", file=sys.stderr)
            with running(python, kind, 2, target, preload) as tree:
                idle = tree.memory()
                load = start_load(tree.port, seconds)
                time.sleep(seconds * 0.7)
                loaded = tree.memory()
                end_load(load)
                row.add(idle=idle, loaded=loaded)
    return rows


def measure_reload(python: Path, rounds: int, seconds: float) -> list[Row]:
    rows = [Row((kind.name, target)) for kind, target in WORKERS]
    for number in range(rounds):
        for row, (kind, target) in zip(rows, WORKERS, strict=True):
            print(f"reload, round {number + 1}: {' '.join(row.title)}", file=sys.stderr)
            with running(python, kind, 2, target) as tree:
                load = start_load(tree.port, seconds + 2)
                time.sleep(1)
                row.add(gone=reload(tree), failed=end_load(load).failed)
    return rows


def reload(tree: Tree) -> float:
    """Seconds from HUP until no worker of before is left."""
    old = set(tree.workers())
    begun = time.monotonic()
    tree.process.send_signal(signal.SIGHUP)
    while old & set(tree.workers()):
        if time.monotonic() > begun + PATIENCE:
            raise SystemExit("the reload does not end")
        time.sleep(0.005)
    return time.monotonic() - begun


# --- the command ---

PARTS = {
    "workers": (
        measure_workers,
        "| server | application | workers | requests/s | CPU µs a request |\n|---|---|---:|---:|---:|",
    ),
    "memory": (
        measure_memory,
        "| server, 2 workers | application | PSS idle, MiB | under load, MiB |\n|---|---|---:|---:|",
    ),
    "reload": (
        measure_reload,
        "| server, 2 workers | application | HUP to last old worker gone, s | requests failed |\n|---|---|---:|---:|",
    ),
}


def main(argv: list[str] | None = None) -> int:
    made = parser("scale", __doc__, "two rounds of two seconds, not five of three")
    add_choice(made, "--only", PARTS)
    options: argparse.Namespace = made.parse_args(argv)
    for program in ("wrk", "curl"):
        if shutil.which(program) is None:
            print(f"bench.scale needs {program} (apt-get install {program})", file=sys.stderr)
            return 2
    python, failed = prepare()
    for pin in failed:
        print(f"could not be installed: {pin}", file=sys.stderr)
    rounds, seconds = (2, 2.0) if options.quick else (5, 3.0)
    about = machine()
    print(
        f"{about['cpu']}, {about['cpus']} cores, Python {about['python']}, {CONNECTIONS} connections, {rounds} rounds"
    )
    figures = {}
    for name in options.only:
        measure, head = PARTS[name]
        rows = measure(python, rounds, seconds)
        print("\n" + "\n".join([head, *(row.line() for row in rows)]))
        figures[name] = [{"title": row.title, **row.samples} for row in rows]
    write(options.json, {"machine": about, "versions": versions(python), "rounds": rounds, **figures})
    return 0


if __name__ == "__main__":
    sys.exit(main())
