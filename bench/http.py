"""What a request costs: CPU time of the server's processes for requests of many shapes, webfw beside its peers.

    python -m bench http [--quick] [--shapes hello,json] [--peers webfw,tornado] [--json FILE]

See README.md beside this file for what is measured and how to read it.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from bench import report
from bench.cpu import cpu_time, enough_files, machine, pinned, proportional, two_cores
from bench.load import CONNECTIONS, HTTPLoad, wrk
from bench.options import add_choice, extent, parser
from bench.peers import (
    APPS,
    BODY,
    HERE,
    REQUIREMENTS,
    ROOT,
    VENV,
    Cast,
    Peer,
    Process,
    available,
    free_port,
    interpreter,
    missing,
    prepare,
    script,
    serving,
    stderr_of,
    stop,
    versions,
    wait_for_page,
    wait_until_served,
)
from bench.report import write
from bench.shapes import BROWSER_FIELDS, IDLE, PEERS, SHAPES, WIDTHS, Load, Stage, granian, make_file

__all__ = [
    "APPS",
    "BODY",
    "BROWSER_FIELDS",
    "CONNECTIONS",
    "HERE",
    "PEERS",
    "REQUIREMENTS",
    "ROOT",
    "VENV",
    "Peer",
    "Process",
    "Sample",
    "available",
    "cpu_time",
    "free_port",
    "granian",
    "interpreter",
    "load",
    "machine",
    "main",
    "measure",
    "missing",
    "parser",
    "pinned",
    "prepare",
    "script",
    "serving",
    "stderr_of",
    "stop",
    "summary",
    "two_cores",
    "versions",
    "wait_until_served",
    "write",
]

FULL, QUICK = (3, 1.2), (1, 0.5)
#: Seconds of a load that is not measured, at the beginning of each server.
WARM_UP = 0.4


# --- what is measured ---


@dataclass(frozen=True)
class Sample:
    """One load on one server: microseconds of CPU a request, and requests a second."""

    user: float
    system: float
    rate: float
    requests: int


def load(port: int, fields: Iterable[str], seconds: float, cpu: int | None) -> int:
    """Put 64 keep-alive connections on a server for `seconds`; returns how many requests were answered with 2xx."""
    return wrk(port, seconds, fields, cpu).requests


def measure(pid: int, port: int, fields: Iterable[str], seconds: float, cpu: int | None) -> Sample:
    """What a request for the page at ``/`` costs, by wrk, which also measures servers that close each connection."""
    user, system = cpu_time(pid)
    done = wrk(port, seconds, fields, cpu)
    user_after, system_after = cpu_time(pid)
    return Sample(
        user=(user_after - user) / done.requests * 1e6,
        system=(system_after - system) / done.requests * 1e6,
        rate=done.rate,
        requests=done.requests,
    )


def sample(pid: int, port: int, load: Load, seconds: float, cpu: int | None, warm_up: float = 0.0) -> Sample:
    """What a request of one kind costs, on connections that are open already.

    :param warm_up: seconds of the same that are not measured.
    """
    with HTTPLoad(load.path, load.connections, port, cpu, load.fields, load.form) as generator:
        generator.ask(*(("run", warm_up) if warm_up else ("once",)))
        user, system = cpu_time(pid)
        figures = generator.ask("run", seconds)
        user_after, system_after = cpu_time(pid)
    requests = int(figures["requests"])
    return Sample(
        user=(user_after - user) / requests * 1e6,
        system=(system_after - system) / requests * 1e6,
        rate=requests / figures["seconds"],
        requests=requests,
    )


def memory(pid: int, port: int, cpu: int | None) -> float:
    """KiB of memory that each of 2,000 idle connections holds after one request.

    The growth of the server's proportional set size; what it loads once, four connections have made it load before.
    """
    with HTTPLoad("/", 4, port, cpu) as generator:
        generator.ask("run", 0.2)
    before = settled(pid)
    with HTTPLoad("/", IDLE, port, cpu) as generator:
        generator.ask("once")
        return (settled(pid) - before) / IDLE / 1024


def settled(pid: int) -> int:
    """Bytes of a server and its children, some time after its last request."""
    time.sleep(0.3)
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return sum(proportional(one) for one in [pid, *map(int, children)])


@dataclass
class Results:
    """What came of all rounds: by load and peer."""

    samples: dict[str, dict[str, list[Sample]]] = field(default_factory=dict)
    memory: dict[str, list[float]] = field(default_factory=dict)

    def add(self, title: str, peer: str, found: Sample) -> None:
        self.samples.setdefault(title, {}).setdefault(peer, []).append(found)

    def forget(self, stage: Stage, peer: str) -> None:
        for load in stage.loads:
            self.samples.get(load.title, {}).pop(peer, None)
        if stage.memory:
            self.memory.pop(peer, None)

    def rows(self, title: str) -> dict[str, dict[str, float]]:
        """The figures of one load, by peer."""
        return {name: summary(found) for name, found in self.samples.get(title, {}).items() if found}


Place = tuple[Peer, Path]


def one_server(
    stage: Stage, place: Place, results: Results, seconds: float, cpus: tuple[int, int] | None
) -> None:
    """One peer in one round: started anew, checked, warmed up, measured with every load of the stage."""
    peer, python = place
    server_cpu, load_cpu = cpus or (None, None)
    asked = stage.loads[0] if stage.loads else Load("")
    ready = partial(wait_for_page, path=asked.path, form=asked.form, expected=stage.expected)
    with serving(peer, python, server_cpu, ready) as (pid, port):
        if stage.memory:
            results.memory.setdefault(peer.name, []).append(memory(pid, port, load_cpu))
        for load in stage.loads:
            warm_up = WARM_UP if load is stage.loads[0] else 0.0
            results.add(load.title, peer.name, sample(pid, port, load, seconds, load_cpu, warm_up))


def run(
    stages: Mapping[str, tuple[Stage, list[Place]]],
    rounds: int,
    seconds: float,
    cpus: tuple[int, int] | None,
    cast: Cast,
) -> Results:
    """All rounds; in each every stage, whose peers are interleaved, and whose order turns by one.

    A peer that does not serve, or answers wrongly, takes no further part in that stage, and that is noted.
    """
    results = Results()
    with enough_files(IDLE):
        for number in range(rounds):
            for name, (stage, peers) in stages.items():
                turn = number % max(1, len(peers))
                print(f"round {number + 1} of {rounds}: {name}", file=sys.stderr)
                for place in peers[turn:] + peers[:turn]:
                    part = partial(one_server, stage, place, results, seconds, cpus)
                    if not cast.attempt(f"{place[0].name}: {name}", part):
                        results.forget(stage, place[0].name)
    return results


# --- what is shown ---


def summary(samples: list[Sample]) -> dict[str, float]:
    rate = statistics.median(sample.rate for sample in samples)
    return {**report.costs(samples), "requests_per_second": rate}


def table(title: str, rows: Mapping[str, report.Row], others: Iterable[str] = ("tornado", "uvicorn")) -> str:
    """Markdown: medians over the rounds; a ratio of 2.0 says that the other one needs twice the CPU time."""
    ratios = [report.ratio(other, rows) for other in others]
    return report.table(title, rows, [*report.COSTS, report.RATE, *ratios])


def memory_rows(found: Mapping[str, list[float]]) -> dict[str, dict[str, float]]:
    return {
        name: {"kib": statistics.median(values), "lowest_kib": min(values), "highest_kib": max(values)}
        for name, values in found.items()
    }


def memory_table(rows: Mapping[str, report.Row]) -> str:
    columns = [
        report.Column("KiB", lambda row: f"{row['kib']:.1f}"),
        report.Column(
            "lowest to highest", lambda row: f"{row['lowest_kib']:.1f} to {row['highest_kib']:.1f}"
        ),
    ]
    return report.table(f"memory of an idle connection, {IDLE:,} of them", rows, columns, key="kib")


def tables(stages: Mapping[str, tuple[Stage, list[Place]]], results: Results) -> Iterator[str]:
    for stage, _ in stages.values():
        for load in stage.loads:
            if rows := results.rows(load.title):
                yield table(load.title, rows, stage.also)
    if results.memory:
        yield memory_table(memory_rows(results.memory))


#: Loads, by title: how much webfw may cost in terms of another one.
BOUNDS = [
    ("hello, 1 field", "tornado", 1 / 12),
    ("hello, 1 field", "uvicorn", 0.8),
    ("awaits once", "uvicorn", 1.0),
    ("file of 10 KiB", "tornado", 1 / 8),
    ("ASGI, bare", "uvicorn", 0.7),
]


def verdicts(figures: Mapping[str, Any]) -> list[str]:
    """What was expected, beside what came; only of what was measured."""
    shapes, found = figures["shapes"], []

    def total(title: str, peer: str = "webfw") -> float | None:
        row = shapes.get(title, {}).get(peer)
        return float(row["total_us"]) if row else None

    for title, other, bound in BOUNDS:
        mine, theirs = total(title), total(title, other)
        if mine and theirs:
            ratio = mine / theirs
            expected = f"at most {bound:.3g}"
            found.append(report.expectation(f"{title}: webfw to {other}", ratio, ratio <= bound, expected))
    one, many = total("1 route"), total("200 routes")
    if one and many:
        found.append(report.expectation("200 routes to 1", many / one, many / one <= 1.15, "at most 1.15"))
    wide = [cost for load in SHAPES["connections"][0].loads if (cost := total(load.title))]
    if len(wide) == len(WIDTHS):
        # A single connection has the server wait for each request anew, which the floor pays for too.
        for title, costs in (("1 to 2,000 connections", wide), ("64 to 2,000 connections", wide[1:])):
            ratio = max(costs) / min(costs)
            found.append(report.expectation(title, ratio, ratio <= 1.15, "at most 1.15"))
    if "webfw" in figures["memory"]:
        kib = figures["memory"]["webfw"]["kib"]
        found.append(report.expectation("KiB of an idle connection", kib, kib <= 6, "at most 6"))
    return found


# --- the command ---


def arguments(argv: list[str] | None) -> argparse.Namespace:
    made = parser("http", __doc__, f"{QUICK[0]} round of {QUICK[1]:g} s instead of {FULL[0]} of {FULL[1]:g}")
    add_choice(made, "--shapes", SHAPES)
    add_choice(
        made, "--peers", [peer.name for stages in SHAPES.values() for one in stages for peer in one.peers]
    )
    return made.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv)
    rounds, seconds = extent(options, FULL, QUICK)
    cast = Cast()
    stages = {}
    for shape in options.shapes:
        for stage in SHAPES[shape]:
            if peers := cast.available(stage.peers, options.peers, stage.name):
                stages[stage.name] = stage, peers
    if not stages:
        print(cast.absent())
        return 2
    make_file()
    figures = report.document(options.command, rounds, seconds, cast, connections=CONNECTIONS)
    results = run(stages, rounds, seconds, two_cores(), cast)
    figures["shapes"] = {title: results.rows(title) for title in results.samples}
    figures["memory"] = memory_rows(results.memory)

    print(report.headline(figures, f"{CONNECTIONS} connections"))
    for text in tables(stages, results):
        print(f"\n{text}")
    for text in (cast.absent(), "\n".join(verdicts(figures))):
        if text:
            print(f"\n{text}")
    write(options.json, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
