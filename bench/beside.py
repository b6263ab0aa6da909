"""How long a native handler's answer takes while WSGI requests compute in threads, and what the lock alone forces.

A part of ``python -m bench wsgi``.  See README.md beside this file for how to read it.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.client import Client, percentile
from bench.peers import Peer, script, serving

LOOPS = ("uvloop", "asyncio")
#: Milliseconds for which a thread keeps the interpreter when another one wants it: Python's own, and a short one.
INTERVALS = (5.0, 0.5)
#: How many requests compute at the same time.
SPINNING = (0, 1, 4)
#: Seconds between two requests to the native handler, so that they meet the threads at any phase.
PACE = 0.0173


@dataclass(frozen=True)
class Row:
    """Milliseconds of the quick page, beside so many threads that compute."""

    server: str
    loop: str
    interval: float
    spinning: int
    p50: float
    p99: float
    requests: int


@contextmanager
def spinners(port: int, count: int) -> Iterator[None]:
    """Have so many requests compute all the time."""
    over = threading.Event()

    def spin() -> None:
        client = Client(port)
        while not over.is_set():
            client.get("/spin")
        client.close()

    threads = [threading.Thread(target=spin) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def latencies(port: int, seconds: float) -> list[float]:
    """Milliseconds of one page after the other, at a fixed pace."""
    client = Client(port)
    client.get()
    found = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found.append(client.timed())
        time.sleep(PACE)
    client.close()
    return found


def run(python: Path, seconds: float, cpu: int | None) -> list[Row]:
    """All combinations, webfw's and the bare one of each after the other."""
    rows = []
    for loop in LOOPS:
        for interval in INTERVALS:
            for name in ("webfw", "bare"):
                command = script(f"{name}_beside_wsgi.py", loop, f"{interval:g}")
                peer = Peer(name, "webfw.wsgi" if name == "webfw" else "uvloop", command)
                with serving(peer, python, cpu) as (_, port):
                    for count in SPINNING:
                        with spinners(port, count):
                            found = latencies(port, seconds)
                        p50, p99 = percentile(found, 0.5), percentile(found, 0.99)
                        rows.append(Row(name, loop, interval, count, p50, p99, len(found)))
    return rows


def table(rows: list[Row]) -> str:
    """Markdown: webfw beside the bare protocol, which is what the interpreter's lock forces."""
    lines = [
        "| native handler, ms | switch interval | computing | p50 | p99 | bare p50 | bare p99 |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    bare = {(row.loop, row.interval, row.spinning): row for row in rows if row.server == "bare"}
    for row in rows:
        if row.server != "bare":
            other = bare[row.loop, row.interval, row.spinning]
            lines.append(
                f"| {row.loop} | {row.interval:g} | {row.spinning} | {row.p50:.2f} | {row.p99:.2f} "
                f"| {other.p50:.2f} | {other.p99:.2f} |"
            )
    return "\n".join(lines)


def figures(rows: list[Row]) -> list[dict[str, object]]:
    return [asdict(row) for row in rows]
