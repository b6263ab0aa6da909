"""What a WebSocket costs: CPU time of an echo and of a broadcast, and memory; webfw beside its peers.

    python -m bench websocket [--quick] [--peers webfw,tornado] [--json FILE]

See README.md beside this file for what is measured and how to read it.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench import report
from bench.cpu import cpu_time, enough_files, proportional, two_cores
from bench.load import TOO_BUSY, Load, build
from bench.options import add_choice, extent, parser
from bench.peers import Cast, Peer, script, serving, wait_for_connections, wait_until_listening
from bench.report import write

__all__ = ["main", "proportional", "wait_for_connections", "wait_until_listening"]

ECHOING = 32
SUBSCRIBERS = 500
IDLE = 2000

PEERS = [
    Peer("webfw", "webfw.websocket", script("webfw_websocket.py", "uvloop")),
    Peer("webfw-subscribe", "webfw.websocket", script("webfw_room_websocket.py", "memory:")),
    Peer("tornado", "tornado", script("tornado_websocket.py", "asyncio")),
    Peer("tornado-uvloop", "tornado", script("tornado_websocket.py", "uvloop")),
    Peer("uvicorn", "uvicorn, websockets", script("uvicorn_websocket.py")),
    Peer("aiohttp", "aiohttp", script("aiohttp_websocket.py")),
    Peer("picows", "picows", script("picows_websocket.py")),
]

#: A peer that takes part in one measurement only.
ONLY = {"webfw-subscribe": "broadcast"}


# --- what is measured ---


@dataclass(frozen=True)
class Sample:
    """One load on one server: microseconds of CPU a message (a delivery of a broadcast), and messages a second."""

    user: float
    system: float
    rate: float
    messages: int
    busy: float


@dataclass(frozen=True)
class Memory:
    """KiB of the server's memory for each open connection: when it is new, and when it has sent and got a message."""

    opened: float
    used: float


def measure(pid: int, load: Load, *command: object) -> Sample:
    user, system = cpu_time(pid)
    figures = load.ask(*command)
    user_after, system_after = cpu_time(pid)
    messages = int(figures["received"])
    if not messages or figures["lost"]:
        raise SystemExit(
            f"{load.what}: {command[0]}: {messages} messages came, {figures['lost']:.0f} did not"
        )
    return Sample(
        user=(user_after - user) / messages * 1e6,
        system=(system_after - system) / messages * 1e6,
        rate=messages / figures["seconds"],
        messages=messages,
        busy=figures["busy"],
    )


def echo(pid: int, port: int, seconds: float, cpu: int | None) -> dict[str, Sample]:
    with Load("/echo", ECHOING, [port], cpu) as load:
        load.ask("echo text 64", min(seconds, 1))
        return {
            "echo of 64 bytes": measure(pid, load, "echo text 64", seconds),
            "echo of 16 KiB": measure(pid, load, "echo binary 16384", seconds),
        }


def broadcast(pid: int, port: int, seconds: float, cpu: int | None) -> dict[str, Sample]:
    with Load("/broadcast", SUBSCRIBERS, [port], cpu) as load:
        load.ask("greeted")
        load.ask("publish 64", min(seconds, 1), 0, 1)
        return {"broadcast to 500": measure(pid, load, "publish 64", seconds, 0, 1)}


def memory(pid: int, port: int, cpu: int | None) -> Memory:
    """Growth of a server of one process by 2,000 connections; what it needs once has been brought in before."""
    with Load("/echo", 4, [port], cpu) as load:
        load.ask("echo text 64", 0.1)
    before = proportional(pid)
    with Load("/echo", IDLE, [port], cpu) as load:
        time.sleep(0.5)  # what the server does after the handshake
        opened = proportional(pid)
        load.ask("echo text 64", 0)
        time.sleep(0.5)
        used = proportional(pid)
    return Memory((opened - before) / IDLE / 1024, (used - before) / IDLE / 1024)


@dataclass
class Results:
    """What came of all rounds: by load and peer."""

    samples: dict[str, dict[str, list[Sample]]]
    memory: dict[str, list[Memory]]

    def add(self, peer: str, found: dict[str, Sample]) -> None:
        for load, sample in found.items():
            self.samples.setdefault(load, {}).setdefault(peer, []).append(sample)

    def forget(self, peer: str) -> None:
        for rows in self.samples.values():
            rows.pop(peer, None)
        self.memory.pop(peer, None)


Job = tuple[str, Callable[[int, int], None]]


def jobs(peer: str, results: Results, seconds: float, cpu: int | None) -> Iterator[Job]:
    """What one peer is put through in one round, each on a server that was started for it."""
    yield "echo", lambda pid, port: results.add(peer, echo(pid, port, seconds, cpu))
    yield "broadcast", lambda pid, port: results.add(peer, broadcast(pid, port, seconds, cpu))
    yield "memory", lambda pid, port: results.memory.setdefault(peer, []).append(memory(pid, port, cpu))


def one_round(
    place: tuple[Peer, Path], results: Results, seconds: float, cpus: tuple[int, int] | None
) -> None:
    """Everything that one peer takes part in, each on a server that is started for it."""
    peer, python = place
    server_cpu, load_cpu = cpus or (None, None)
    for name, job in jobs(peer.name, results, seconds, load_cpu):
        if ONLY.get(peer.name, name) == name:
            with serving(peer, python, server_cpu, wait_until_listening) as (pid, port):
                job(pid, port)


def run(
    peers: list[tuple[Peer, Path]], rounds: int, seconds: float, cpus: tuple[int, int] | None, cast: Cast
) -> Results:
    """All rounds; the order of the peers turns by one from round to round."""
    results = Results({}, {})
    for number in range(rounds):
        turn = number % len(peers)
        for place in peers[turn:] + peers[:turn]:
            name = place[0].name
            print(f"round {number + 1} of {rounds}: {name}", file=sys.stderr)
            if not cast.attempt(name, partial(one_round, place, results, seconds, cpus)):
                results.forget(name)
    return results


# --- what is shown ---


def summary(samples: list[Sample]) -> dict[str, float]:
    return {
        **report.costs(samples),
        "messages_per_second": statistics.median(sample.rate for sample in samples),
        "generator_busy": max(sample.busy for sample in samples),
    }


def table(title: str, rows: Mapping[str, report.Row]) -> str:
    """Markdown: medians over the rounds; a ratio of 2.0 says that the other one needs twice the CPU time."""
    ratios = [report.ratio(other, rows) for other in ("tornado", "uvicorn", "picows")]
    return report.table(title, rows, [*report.COSTS, report.MESSAGES, *ratios])


def memory_summary(found: list[Memory]) -> dict[str, float]:
    return {
        "opened_kib": statistics.median(sample.opened for sample in found),
        "used_kib": statistics.median(sample.used for sample in found),
        "lowest_kib": min(sample.opened for sample in found),
        "highest_kib": max(sample.used for sample in found),
    }


def memory_table(rows: Mapping[str, report.Row]) -> str:
    columns = [
        report.Column("just open, KiB", lambda row: f"{row['opened_kib']:.1f}"),
        report.Column("after a message, KiB", lambda row: f"{row['used_kib']:.1f}"),
        report.Column(
            "lowest to highest", lambda row: f"{row['lowest_kib']:.1f} to {row['highest_kib']:.1f}"
        ),
    ]
    return report.table("memory of a connection", rows, columns, key="opened_kib")


def warnings(results: Results) -> Iterator[str]:
    """Samples in which the generator was as busy as the server: their rates are its own."""
    for title, peers in results.samples.items():
        for name, samples in peers.items():
            busy = max(sample.busy for sample in samples)
            if busy > TOO_BUSY:
                yield f"{title}, {name}: the load generator was busy for {busy:.0%} of the time"


# --- the command ---


def arguments(argv: list[str] | None) -> argparse.Namespace:
    made = parser("websocket", __doc__, "two rounds of one second instead of five of three")
    add_choice(made, "--peers", [peer.name for peer in PEERS])
    return made.parse_args(argv)


def figures(results: Results) -> dict[str, dict[str, dict[str, float]]]:
    loads = {
        title: {name: summary(samples) for name, samples in peers.items()}
        for title, peers in results.samples.items()
    }
    return {**loads, "memory": {name: memory_summary(found) for name, found in results.memory.items()}}


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv)
    build()
    cast = Cast()
    peers = cast.available(PEERS, options.peers)
    if not peers:
        print(cast.absent())
        return 2
    rounds, seconds = extent(options, (5, 3.0), (2, 1.0))
    connections = {"echo": ECHOING, "broadcast": SUBSCRIBERS, "memory": IDLE}
    document = report.document(options.command, rounds, seconds, cast, connections=connections)
    with enough_files(IDLE):
        results = run(peers, rounds, seconds, two_cores(), cast)
    document["loads"] = found = figures(results)

    print(report.headline(document))
    for title in results.samples:
        print(f"\n{table(title, found[title])}")
    if results.memory:
        print(f"\n{memory_table(found['memory'])}")
    if absent := cast.absent():
        print(f"\n{absent}")
    for warning in warnings(results):
        print(warning, file=sys.stderr)
    write(options.json, document)
    return 0


if __name__ == "__main__":
    sys.exit(main())
