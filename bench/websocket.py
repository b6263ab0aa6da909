"""What a WebSocket costs: CPU time of an echo and of a broadcast, and memory; webfw beside its peers.

    python -m bench.websocket [--quick] [--peers webfw,tornado] [--json FILE]

See README.md beside this file for what is measured and how to read it.
"""

import argparse
import re
import socket
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.http import (
    Peer,
    Process,
    available,
    cpu_time,
    machine,
    prepare,
    script,
    serving,
    stderr_of,
    versions,
)
from bench.load import TOO_BUSY, Load, build
from bench.options import add_choice, parser, two_cores, write

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


def proportional(pid: int) -> int:
    """Bytes of memory that belong to a process, of what it shares its share (smaps_rollup of proc(5))."""
    found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


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


Job = tuple[str, Callable[[int, int], None]]


def jobs(peer: str, results: Results, seconds: float, cpu: int | None) -> Iterator[Job]:
    """What one peer is put through in one round, each on a server that was started for it."""
    yield "echo", lambda pid, port: results.add(peer, echo(pid, port, seconds, cpu))
    yield "broadcast", lambda pid, port: results.add(peer, broadcast(pid, port, seconds, cpu))
    yield "memory", lambda pid, port: results.memory.setdefault(peer, []).append(memory(pid, port, cpu))


def run(peers: list[tuple[Peer, Path]], rounds: int, seconds: float, cpus: tuple[int, int] | None) -> Results:
    """All rounds; the order of the peers turns by one from round to round."""
    results = Results({}, {})
    server_cpu, load_cpu = cpus or (None, None)
    for number in range(rounds):
        turn = number % len(peers)
        for peer, python in peers[turn:] + peers[:turn]:
            print(f"round {number + 1} of {rounds}: {peer.name}", file=sys.stderr)
            for name, job in jobs(peer.name, results, seconds, load_cpu):
                if ONLY.get(peer.name, name) == name:
                    with serving(peer, python, server_cpu, wait_until_listening) as (pid, port):
                        job(pid, port)
    return results


def wait_until_listening(peer: Peer, process: Process, port: int) -> None:
    """Return when the port takes connections; whether it answers as it should, the load generator sees."""
    wait_for_connections(peer.name, process, port)


def wait_for_connections(name: str, process: Process, where: int | str) -> None:
    """Return when a process takes connections at a port or a Unix socket; raise when not within 20 seconds."""
    end = time.monotonic() + 20
    while True:
        with socket.socket(socket.AF_UNIX if isinstance(where, str) else socket.AF_INET) as probe:
            try:
                probe.connect(where if isinstance(where, str) else ("127.0.0.1", where))
                return
            except OSError as error:
                if process.poll() is not None or time.monotonic() > end:
                    raise SystemExit(f"{name} does not serve: {error}; {stderr_of(process)}") from None
        time.sleep(0.05)


# --- what is shown ---


def summary(samples: list[Sample]) -> dict[str, float]:
    totals = [sample.user + sample.system for sample in samples]
    return {
        "user_us": statistics.median(sample.user for sample in samples),
        "system_us": statistics.median(sample.system for sample in samples),
        "total_us": statistics.median(totals),
        "lowest_us": min(totals),
        "highest_us": max(totals),
        "messages_per_second": statistics.median(sample.rate for sample in samples),
        "generator_busy": max(sample.busy for sample in samples),
    }


def table(title: str, samples: dict[str, list[Sample]]) -> str:
    """Markdown: medians over the rounds; a ratio of 2.0 says that the other one needs twice the CPU time."""
    others = ("tornado", "uvicorn", "picows")
    head = " | ".join(f"{other} ÷" for other in others)
    lines = [
        f"| {title} | user µs | system µs | total µs | lowest to highest | messages/s | {head} |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    rows = {name: summary(found) for name, found in samples.items()}
    for name, row in sorted(rows.items(), key=lambda item: item[1]["total_us"]):
        ratios = [
            f"{rows[other]['total_us'] / row['total_us']:.1f}" if other in rows else "" for other in others
        ]
        lines.append(
            f"| {name} | {row['user_us']:.1f} | {row['system_us']:.1f} | {row['total_us']:.1f} "
            f"| {row['lowest_us']:.1f} to {row['highest_us']:.1f} | {row['messages_per_second']:,.0f} "
            f"| {' | '.join(ratios)} |"
        )
    return "\n".join(lines)


def memory_summary(found: list[Memory]) -> dict[str, float]:
    return {
        "opened_kib": statistics.median(sample.opened for sample in found),
        "used_kib": statistics.median(sample.used for sample in found),
        "lowest_kib": min(sample.opened for sample in found),
        "highest_kib": max(sample.used for sample in found),
    }


def memory_table(samples: dict[str, list[Memory]]) -> str:
    lines = [
        "| memory of a connection | just open, KiB | after a message, KiB | lowest to highest |",
        "|---|---:|---:|---:|",
    ]
    rows = {name: memory_summary(found) for name, found in samples.items()}
    for name, row in sorted(rows.items(), key=lambda item: item[1]["opened_kib"]):
        lines.append(
            f"| {name} | {row['opened_kib']:.1f} | {row['used_kib']:.1f} "
            f"| {row['lowest_kib']:.1f} to {row['highest_kib']:.1f} |"
        )
    return "\n".join(lines)


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


def figures(results: Results) -> dict[str, object]:
    loads = {
        title: {name: summary(samples) for name, samples in peers.items()}
        for title, peers in results.samples.items()
    }
    return {**loads, "memory": {name: memory_summary(found) for name, found in results.memory.items()}}


@contextmanager
def enough_files() -> Iterator[None]:
    """Let the servers that are started in here have 2,000 connections and some."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < IDLE + 100:
        raise SystemExit(f"{IDLE} connections need more than {hard} open files (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, IDLE + 100), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv)
    build()
    theirs, failed = prepare()
    for pin in failed:
        print(f"could not be installed: {pin}", file=sys.stderr)
    peers = available(PEERS, options.peers, theirs)
    if not peers:
        return 2
    cpus = two_cores()
    about = machine()
    rounds, seconds = (2, 1.0) if options.quick else (5, 3.0)
    with enough_files():
        results = run(peers, rounds, seconds, cpus)

    print(f"{about['cpu']}, Python {about['python']}, {rounds} rounds of {seconds:g} s")
    for title, samples in results.samples.items():
        print(f"\n{table(title, samples)}")
    if results.memory:
        print(f"\n{memory_table(results.memory)}")
    for warning in warnings(results):
        print(warning, file=sys.stderr)
    document = {
        "machine": about,
        "versions": versions(theirs),
        "rounds": rounds,
        "seconds": seconds,
        "connections": {"echo": ECHOING, "broadcast": SUBSCRIBERS, "memory": IDLE},
        "loads": figures(results),
    }
    write(options.json, document)
    return 0


if __name__ == "__main__":
    sys.exit(main())
