"""Process trees: two workers against one, the memory of supervisor and workers, and how long a reload takes.

    python -m bench scale [--quick] [--only workers,memory,reload] [--json FILE]

See README.md beside this file for what is measured and how to read it.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench import report
from bench.cpu import cpu_time, proportional
from bench.load import CONNECTIONS, end_wrk, lacking, start_wrk
from bench.options import add_choice, extent, parser
from bench.peers import APPS, ROOT, Cast, free_port, not_importable
from bench.report import spread, write

THREADS = 8
PATIENCE = 30.0


@dataclass(frozen=True)
class Kind:
    """A server that is a tree: its name, what must be importable, and how it is started."""

    name: str
    module: str
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


KINDS = [Kind("webfw", "webfw.cli", webfw), Kind("gunicorn", "gunicorn", gunicorn)]


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
        return sum(proportional(pid) for pid in [self.process.pid, *self.workers()]) / (1 << 20)

    def cpu(self) -> float:
        """CPU seconds of all processes so far."""
        return sum(cpu_time(self.process.pid))


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


WORKERS = [(KINDS[0], "webfw_scale:app"), (KINDS[0], "wsgi_flask:app"), (KINDS[1], "wsgi_flask:app")]
MEMORY = [
    (kind, target, preload)
    for target in ("wsgi_flask:app", "wsgi_django:app")
    for kind in KINDS
    for preload in (False, True)
]


def measure_workers(python: Path, rounds: int, seconds: float, names: list[str]) -> list[Row]:
    trees = [(kind, target, n) for kind, target in WORKERS if kind.name in names for n in (1, 2)]
    rows = [Row((kind.name, target, str(n))) for kind, target, n in trees]
    for number in range(rounds):
        for row, (kind, target, workers) in zip(rows, trees, strict=True):
            print(f"workers, round {number + 1}: {' '.join(row.title)}", file=sys.stderr)
            with running(python, kind, workers, target) as tree:
                end_wrk(start_wrk(tree.port, 1))
                before = tree.cpu()
                done = end_wrk(start_wrk(tree.port, seconds))
                used = tree.cpu() - before
                row.add(rate=done.rate, cpu=used / done.requests * 1e6)
    return rows


def measure_memory(python: Path, rounds: int, seconds: float, names: list[str]) -> list[Row]:
    trees = [tree for tree in MEMORY if tree[0].name in names]
    rows = [Row((kind.name + (", preload" if p else ""), target)) for kind, target, p in trees]
    for number in range(rounds):
        for row, (kind, target, preload) in zip(rows, trees, strict=True):
            print(f"memory, round {number + 1}: {' '.join(row.title)}", file=sys.stderr)
            with running(python, kind, 2, target, preload) as tree:
                idle = tree.memory()
                load = start_wrk(tree.port, seconds)
                time.sleep(seconds * 0.7)
                loaded = tree.memory()
                end_wrk(load)
                row.add(idle=idle, loaded=loaded)
    return rows


def measure_reload(python: Path, rounds: int, seconds: float, names: list[str]) -> list[Row]:
    trees = [tree for tree in WORKERS if tree[0].name in names]
    rows = [Row((kind.name, target)) for kind, target in trees]
    for number in range(rounds):
        for row, (kind, target) in zip(rows, trees, strict=True):
            print(f"reload, round {number + 1}: {' '.join(row.title)}", file=sys.stderr)
            with running(python, kind, 2, target) as tree:
                load = start_wrk(tree.port, seconds + 2)
                time.sleep(1)
                row.add(gone=reload(tree), failed=end_wrk(load).failed)
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
    add_choice(made, "--peers", [kind.name for kind in KINDS])
    options: argparse.Namespace = made.parse_args(argv)
    if lack := lacking("wrk", "curl"):
        print(f"bench scale: {lack}", file=sys.stderr)
        return 2
    cast = Cast()
    kinds = cast.able(KINDS, options.peers, lambda kind: not_importable(kind.module, cast.python))
    names = [kind.name for kind in kinds]
    rounds, seconds = extent(options, (5, 3.0), (2, 2.0))
    document = report.document(options.command, rounds, seconds, cast)
    print(report.headline(document, f"{CONNECTIONS} connections"))
    for name in options.only if names else ():
        measure, head = PARTS[name]
        rows = measure(cast.python, rounds, seconds, names)
        print("\n" + "\n".join([head, *(row.line() for row in rows)]))
        document[name] = [{"title": row.title, **row.samples} for row in rows]
    if absent := cast.absent():
        print(f"\n{absent}")
    write(options.json, document)
    return 0 if names else 2


if __name__ == "__main__":
    sys.exit(main())
