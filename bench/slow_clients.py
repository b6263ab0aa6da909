"""Clients that take their time, and what becomes of a quick one beside them: latency, memory, files.

A part of ``python -m bench wsgi``.  See README.md beside this file for how to read it.
"""

import os
import re
import socket
import stat
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.client import Client, percentile
from bench.http import Peer, serving

#: Of the server.
THREADS = 4
SENDING = 100
READING = 100
#: Bytes a second of each slow client, and what a sending one has declared.
SENDS = 1024
READS = 10 * 1024
UPLOAD = 1024 * 1024
#: Of 64 KiB, in a response: 10 MiB.
PIECES = 160
#: Slices of a second in which they do it.
SLICES = 10
#: Seconds between two quick requests, and how long one may take.
PACE = 0.02
PATIENCE = 5.0


# --- the slow ones ---


class Slow:
    """One slow client: sends a body or reads a response, some bytes at a time."""

    def __init__(self, port: int, head: str, sends: int, reads: int) -> None:
        self.sent = self.received = 0
        self.closed = False
        self._sends, self._reads = sends, reads
        self._socket = socket.socket()
        # Small, so that it is the server who holds what has not been read.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        self._socket.connect(("127.0.0.1", port))
        self._socket.sendall(head.encode())
        self._socket.setblocking(False)

    def step(self) -> None:
        """Send or read one slice; see whether the server is still there."""
        if self.closed:
            return
        try:
            if self._sends:
                self.sent += self._socket.send(b"x" * self._sends)
            data = self._socket.recv(self._reads or 1024)
            self.received += len(data)
            self.closed = not data
        except BlockingIOError:
            pass
        except OSError:
            self.closed = True

    def close(self) -> None:
        self._socket.close()


class SlowClients:
    """Many of both kinds, in a thread of their own."""

    def __init__(
        self, port: int, sending: int = SENDING, reading: int = READING, pieces: int = PIECES
    ) -> None:
        upload = f"POST /upload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {UPLOAD}\r\n\r\n"
        download = f"GET /download?{pieces} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        self.senders = [Slow(port, upload, SENDS // SLICES, 0) for _ in range(sending)]
        self.readers = [Slow(port, download, 0, READS // SLICES) for _ in range(reading)]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        due = time.monotonic()
        while not self._over.is_set():
            for client in (*self.senders, *self.readers):
                client.step()
            due += 1 / SLICES
            self._over.wait(max(0.0, due - time.monotonic()))

    def in_progress(self) -> tuple[int, int]:
        """How many still send, not answered, and how many still read."""
        return (
            sum(not one.closed and one.sent < UPLOAD and not one.received for one in self.senders),
            sum(not one.closed for one in self.readers),
        )

    def served(self) -> int:
        """How many of those who read have got something."""
        return sum(one.received > 0 for one in self.readers)

    def __enter__(self) -> "SlowClients":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()
        for client in (*self.senders, *self.readers):
            client.close()


# --- what the server needs ---


@dataclass(frozen=True)
class Footprint:
    """What a server holds at one moment: resident memory and unnamed files in bytes, descriptors, threads."""

    memory: int
    files: int
    descriptors: int
    threads: int


def family(root: int) -> Iterator[int]:
    """A process and all below it."""
    yield root
    for path in Path(f"/proc/{root}/task").glob("*/children"):
        for child in path.read_text().split():
            yield from family(int(child))


def footprint(root: int) -> Footprint:
    memory = files = descriptors = threads = 0
    for pid in family(root):
        status = Path(f"/proc/{pid}/status").read_text()
        values = {
            key: int(value) for key, value in re.findall(r"^(VmRSS|Threads):\s+(\d+)", status, re.MULTILINE)
        }
        memory += values["VmRSS"] * 1024
        threads += values["Threads"]
        for entry in os.scandir(f"/proc/{pid}/fd"):
            descriptors += 1
            try:
                about = os.stat(entry.path)
            except FileNotFoundError:
                continue
            if stat.S_ISREG(about.st_mode) and about.st_nlink == 0:
                files += about.st_blocks * 512
    return Footprint(memory, files, descriptors, threads)


# --- what is measured ---


@dataclass
class Report:
    """What became of a quick client's requests (milliseconds), and the server's footprint over time (seconds)."""

    latencies: list[float] = field(default_factory=list)
    unanswered: int = 0
    senders: int = 0
    readers: int = 0
    served: int = 0
    footprints: list[tuple[float, Footprint]] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        return {
            "quick": len(self.latencies),
            "p50_ms": percentile(self.latencies, 0.5),
            "p99_ms": percentile(self.latencies, 0.99),
            "worst_ms": max(self.latencies, default=float("nan")),
            "later_p99_ms": percentile(self.latencies[len(self.latencies) // 2 :], 0.99),
            "unanswered": self.unanswered,
            "still_sending": self.senders,
            "still_reading": self.readers,
            "readers_served": self.served,
            "footprints": [{"seconds": at, **asdict(taken)} for at, taken in self.footprints],
        }


@contextmanager
def watched(pid: int, report: Report) -> Iterator[None]:
    """Take the server's footprint every second until the block ends."""
    over = threading.Event()
    begin = time.monotonic()

    def watch() -> None:
        while not over.wait(1.0):
            report.footprints.append((time.monotonic() - begin, footprint(pid)))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def measure(peer: Peer, python: Path, seconds: float) -> Report:
    """Ask a server for a page again and again, while 200 slow clients keep it company."""
    print(f"slow clients: {peer.name}", file=sys.stderr)
    report = Report()
    with serving(peer, python, None) as (pid, port):
        client = Client(port, PATIENCE)
        for _ in range(200):
            client.get()
        report.footprints.append((0.0, footprint(pid)))
        with SlowClients(port) as slow, watched(pid, report):
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                try:
                    report.latencies.append(client.timed())
                except OSError:
                    report.unanswered += 1
                time.sleep(PACE)
            report.senders, report.readers = slow.in_progress()
            report.served = slow.served()
        client.close()
    return report


# --- what is shown ---


def table(reports: dict[str, Report]) -> str:
    columns = [
        f"{SENDING} slow senders, {READING} slow readers, {THREADS} threads",
        *(
            "quick requests",
            "unanswered",
            "p50 ms",
            "p99 ms",
            "worst ms",
            "p99 of the later half",
            "readers served",
        ),
        *("MiB before", "MiB at most", "MiB at the end", "MiB of files", "descriptors"),
    ]
    lines = [f"| {' | '.join(columns)} |", f"|---{'|---:' * (len(columns) - 1)}|"]
    for name, report in reports.items():
        row = report.figures()
        taken = [one for _, one in report.footprints]
        lines.append(
            f"| {name} | {row['quick']} | {row['unanswered']} | {row['p50_ms']:.1f} | {row['p99_ms']:.1f} "
            f"| {row['worst_ms']:.1f} | {row['later_p99_ms']:.1f} | {row['readers_served']} | {mib(taken[0].memory)} "
            f"| {mib(max(one.memory for one in taken))} | {mib(taken[-1].memory)} "
            f"| {mib(max(one.files for one in taken))} | {max(one.descriptors for one in taken)} |"
        )
    return "\n".join(lines)


def mib(size: int) -> str:
    return f"{size / (1 << 20):.0f}"
