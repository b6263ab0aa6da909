"""Fan-out through brokers: deliveries a second and their delay, two server processes and 1,000 subscribers.

    python -m bench fanout [--quick] [--brokers workers,redis] [--rate 50] [--json FILE]

See README.md beside this file for what is measured and how to read it.
"""

import argparse
import importlib
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import report
from bench.cpu import cpu_time
from bench.load import TOO_BUSY, Load, build
from bench.options import add_choice, extent, parser
from bench.peers import (
    ROOT,
    Peer,
    free_port,
    script,
    serving,
    stop,
    wait_for_connections,
    wait_until_listening,
)
from bench.report import write

SERVERS = 2
SUBSCRIBERS = 1000
SIZE = 64
#: At full rate: messages that not all subscribers have got yet.
WINDOW = 8


# --- the brokers ---


@dataclass(frozen=True)
class Running:
    """A broker that servers can be pointed to: its URL, and the process behind it."""

    url: str
    pid: int


@contextmanager
def background(command: list[str], where: int | str) -> Iterator[int]:
    """A broker's own process, from when it takes connections at a port or a Unix socket; its id."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        wait_for_connections(command[0], process, where)
        yield process.pid
    finally:
        stop(process)


@contextmanager
def workers(folder: str) -> Iterator[Running]:
    path = f"{folder}/socket"
    with background([sys.executable, "-m", "webfw.pubsub.workers", "--socket", path], path) as pid:
        yield Running(f"workers:{path}", pid)


@contextmanager
def redis(folder: str) -> Iterator[Running]:
    port = free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", ""]
    with background(["redis-server", *options], port) as pid:
        yield Running(f"redis://127.0.0.1:{port}", pid)


@contextmanager
def nats(folder: str) -> Iterator[Running]:
    port = free_port()
    options = ["-a", "127.0.0.1", "-p", str(port), "-js", "-sd", folder, "-l", "/dev/null"]
    with background(["nats-server", *options], port) as pid:
        yield Running(f"nats://127.0.0.1:{port}", pid)


@dataclass(frozen=True)
class Kind:
    """One kind of broker: how it is started (given a folder of its own), webfw's module, and the program it needs."""

    start: Callable[[str], AbstractContextManager[Running]]
    module: str
    program: str | None = None


BROKERS = {
    "workers": Kind(workers, "webfw.pubsub.workers"),
    "redis": Kind(redis, "webfw.pubsub.redis", "redis-server"),
    "nats": Kind(nats, "webfw.pubsub.nats", "nats-server"),
}


def lacking(kind: Kind) -> str | None:
    """Why a broker cannot be measured here, `None` when it can."""
    for module in ("webfw.websocket", kind.module, "uvloop"):
        try:
            importlib.import_module(module)
        except ImportError as error:
            return str(error)
    if kind.program is not None and shutil.which(kind.program) is None:
        return f"{kind.program} is not installed"
    return None


# --- what is measured ---


@dataclass(frozen=True)
class Sample:
    """One load through one broker.

    Delays in milliseconds, from when a message was to be published to its receipt by a subscriber; CPU time in
    microseconds for each delivery, of both servers and of the broker's own process.
    """

    deliveries_per_second: float
    p50_ms: float
    p99_ms: float
    lost: float
    servers_us: float
    broker_us: float
    generator_busy: float


def measure(pids: list[int], broker: int, load: Load, seconds: float, rate: float) -> Sample:
    def used() -> tuple[float, float]:
        return sum(sum(cpu_time(pid)) for pid in pids), sum(cpu_time(broker))

    servers, own = used()
    figures = load.ask("publish", SIZE, seconds, rate, WINDOW)
    servers_after, own_after = used()
    received = figures["received"]
    if not received:
        raise SystemExit(f"{load.what}: nothing was delivered")
    return Sample(
        deliveries_per_second=received / figures["seconds"],
        p50_ms=figures["p50_us"] / 1000,
        p99_ms=figures["p99_us"] / 1000,
        lost=figures["lost"],
        servers_us=(servers_after - servers) / received * 1e6,
        broker_us=(own_after - own) / received * 1e6,
        generator_busy=figures["busy"],
    )


def loads(rate: float) -> dict[str, float]:
    return {f"{rate:g} messages/s": rate, "full rate": 0.0}


def one_round(kind: Kind, seconds: float, rate: float) -> dict[str, Sample]:
    """Broker and servers started anew, 1,000 subscribers spread over both servers, one of whom publishes."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="webfw-bench-"))
        broker = stack.enter_context(kind.start(folder))
        peer = Peer("webfw", "webfw.websocket", script("webfw_room_websocket.py", broker.url))
        started = [
            stack.enter_context(serving(peer, Path(sys.executable), None, wait_until_listening))
            for _ in range(SERVERS)
        ]
        load = stack.enter_context(Load("/broadcast", SUBSCRIBERS, [port for _, port in started]))
        load.ask("greeted")
        load.ask("publish", SIZE, min(seconds, 1), 0, WINDOW)
        pids = [pid for pid, _ in started]
        return {name: measure(pids, broker.pid, load, seconds, value) for name, value in loads(rate).items()}


Samples = dict[str, dict[str, list[Sample]]]


def run(names: list[str], rounds: int, seconds: float, rate: float) -> Samples:
    """All rounds; the order of the brokers turns by one from round to round."""
    samples: Samples = {load: {name: [] for name in names} for load in loads(rate)}
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            print(f"round {number + 1} of {rounds}: {name}", file=sys.stderr)
            for load, sample in one_round(BROKERS[name], seconds, rate).items():
                samples[load][name].append(sample)
    return samples


# --- what is shown ---


def summary(samples: list[Sample]) -> dict[str, float]:
    """Medians over the rounds, and beside them the worst p99, everything that was lost, and the busiest generator."""
    rows = [asdict(sample) for sample in samples]
    return {
        **{name: statistics.median(row[name] for row in rows) for name in rows[0]},
        "worst_p99_ms": max(sample.p99_ms for sample in samples),
        "lost": sum(sample.lost for sample in samples),
        "generator_busy": max(sample.generator_busy for sample in samples),
    }


def table(title: str, samples: dict[str, list[Sample]]) -> str:
    lines = [
        f"| {title} | deliveries/s | p50 ms | p99 ms | worst p99 ms | lost | servers µs | broker µs |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, found in samples.items():
        row = summary(found)
        lines.append(
            f"| {name} | {row['deliveries_per_second']:,.0f} | {row['p50_ms']:.1f} | {row['p99_ms']:.1f} "
            f"| {row['worst_p99_ms']:.1f} | {row['lost']:.0f} | {row['servers_us']:.1f} | {row['broker_us']:.2f} |"
        )
    return "\n".join(lines)


# --- the command ---


def arguments(argv: list[str] | None) -> argparse.Namespace:
    made = parser("fanout", __doc__, "one round of two seconds instead of three of five")
    add_choice(made, "--brokers", BROKERS)
    made.add_argument("--rate", type=float, default=50, help="messages a second, default: %(default)s")
    options = made.parse_args(argv)
    if not options.rate > 0:
        made.error("--rate must be above 0")
    return options


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv)
    build()
    left_out = {name: why for name in options.brokers if (why := lacking(BROKERS[name]))}
    names = [name for name in options.brokers if name not in left_out]
    absent = "\n".join(f"left out: {name} ({why})" for name, why in left_out.items())
    if not names:
        print(absent)
        return 2
    rounds, seconds = extent(options, (3, 5.0), (1, 2.0))
    document = report.document(
        options.command,
        rounds,
        seconds,
        servers=SERVERS,
        subscribers=SUBSCRIBERS,
        window=WINDOW,
        left_out=left_out,
    )
    samples = run(names, rounds, seconds, options.rate)
    document["loads"] = {
        load: {name: summary(several) for name, several in found.items()} for load, found in samples.items()
    }

    print(report.headline(document, f"{SERVERS} servers", f"{SUBSCRIBERS} subscribers"))
    for load, found in samples.items():
        print(f"\n{table(load, found)}")
        for name, several in found.items():
            busy = max(sample.generator_busy for sample in several)
            if busy > TOO_BUSY:
                print(
                    f"{load}, {name}: the load generator was busy for {busy:.0%} of the time", file=sys.stderr
                )
    if absent:
        print(f"\n{absent}")
    write(options.json, document)
    return 0


if __name__ == "__main__":
    sys.exit(main())
