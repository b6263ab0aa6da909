"""What becomes of a client that means well, and of the server, while many others do not.

    python -m bench abuse [--quick] [--peers webfw,uvicorn,tornado] [--shapes heads,bodies]

The bad ones are `bench.abuse_clients`.  See docs/topics/limits.md for figures.
"""

import argparse
import json
import os
import re
import select
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.abuse_clients import SHAPES, Shape
from bench.client import Client, percentile
from bench.cpu import enough_files, pinned, two_cores
from bench.options import add_choice, parser
from bench.peers import ROOT, Cast, Peer, script, serving, wait_until_listening
from bench.report import document, write

PEERS = [
    Peer("webfw", "webfw.web", script("abuse_webfw.py")),
    Peer("uvicorn", "uvicorn", script("abuse_uvicorn.py")),
    Peer("tornado", "tornado", script("abuse_tornado.py")),
]

#: Seconds between two requests of the client that means well, and how long one may take.
PACE = 0.02
PATIENCE = 5.0
#: Seconds between two looks at the server.
LOOK = 0.25
#: Seconds that the bad ones may take to begin, and that the server has to get rid of them when they have left.
BEGIN = 60.0
LEAVE = 10.0


# --- the server, seen from outside ---


def resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    found = re.search(r"^VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


class Quick(Client):
    """The client that means well: a request every now and then, on a connection that is kept."""

    def __init__(self, port: int, context: ssl.SSLContext | None) -> None:
        super().__init__(port, PATIENCE)
        self._context = context

    def get(self, path: str = "/") -> bytes:
        if self._socket is None and self._context is not None:
            plain = socket.create_connection(("127.0.0.1", self.port), self.timeout)
            self._socket = self._context.wrap_socket(plain, server_hostname="localhost")
        return super().get(path)


# --- what is measured ---


@dataclass
class Report:
    """One shape on one server: milliseconds of the quick client's requests, bytes, descriptors."""

    latencies: list[float] = field(default_factory=list)
    unanswered: int = 0
    memory: list[int] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    #: Seconds until there were as many descriptors as before, None if that did not come.
    back: float | None = None
    clients: Mapping[str, int] = field(default_factory=dict)

    def look(self, pid: int) -> None:
        self.memory.append(resident(pid))
        self.files.append(descriptors(pid))

    def figures(self) -> dict[str, Any]:
        return {
            "quick": len(self.latencies),
            "unanswered": self.unanswered,
            "p50_ms": percentile(self.latencies, 0.5),
            "p99_ms": percentile(self.latencies, 0.99),
            "worst_ms": max(self.latencies, default=float("nan")),
            "memory_before": self.memory[0],
            "memory_most": max(self.memory),
            "memory_after": self.memory[-1],
            "descriptors_before": self.files[0],
            "descriptors_most": max(self.files),
            "descriptors_after": self.files[-1],
            "back_after": self.back,
            **self.clients,
        }


def measure(
    peer: Peer,
    python: Path,
    shape: Shape,
    number: int,
    seconds: float,
    cpus: tuple[int, int] | None,
    folder: Path,
) -> Report:
    """Ask a server for a page again and again, while others do to it what the shape says."""
    print(f"{shape.name}: {peer.name}", file=sys.stderr)
    server_cpu, other_cpu = cpus or (None, None)
    context = None
    if shape.tls:
        context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        files = [str(folder / "cert.pem"), str(folder / "key.pem")]
        peer = Peer(peer.name, peer.module, lambda port, plain=peer.command: [*plain(port), *files])  # type: ignore[misc]
    report = Report()
    with serving(peer, python, server_cpu, wait_until_listening) as (pid, port):
        quick = Quick(port, context)
        for _ in range(200):
            quick.get()
        report.look(pid)
        command = [sys.executable, "-m", "bench.abuse_clients", shape.name, str(port), str(number)]
        others = subprocess.Popen(
            pinned(other_cpu, command), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            accompany(report, quick, others, pid, seconds)
            said, _ = others.communicate(timeout=60)
        finally:
            others.kill()
            others.wait()
        if others.returncode:
            raise SystemExit(f"{shape.name} went wrong on {peer.name}")
        report.clients = json.loads(said.strip().splitlines()[-1])
        report.back = until_back(report, pid)
        report.look(pid)
        quick.close()
    return report


def accompany(
    report: Report, quick: Client, others: "subprocess.Popen[str]", pid: int, seconds: float
) -> None:
    """Be the quick client until the others have begun and gone on for so long."""
    assert others.stdout is not None
    end = look = 0.0
    given_up = time.monotonic() + BEGIN
    while not end or time.monotonic() < end:
        now = time.monotonic()
        if not end and select.select([others.stdout], [], [], 0)[0]:
            if others.stdout.readline() != "ready\n":
                return
            end = now + seconds
        if not end and now > given_up:
            end = now
        if now > look:
            report.look(pid)
            look = now + LOOK
        try:
            report.latencies.append(quick.timed())
        except OSError:
            report.unanswered += 1
        time.sleep(PACE)


def until_back(report: Report, pid: int) -> float | None:
    """Seconds until the server has let go of all who have left."""
    begin = time.monotonic()
    while (passed := time.monotonic() - begin) < LEAVE:
        # The quick client may have lost its connection.
        if descriptors(pid) <= report.files[0]:
            return passed
        time.sleep(0.02)
    return None


# --- what is shown ---


def mib(size: float) -> str:
    return f"{size / (1 << 20):.0f}"


def table(shape: Shape, rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown, a line for each server."""
    columns = (
        "unanswered",
        "p50 ms",
        "p99 ms",
        "worst ms",
        "MiB before",
        "at most",
        "after",
        "descriptors at most",
    )
    lines = [
        f"| {' | '.join([shape.about, *columns, 'back after', 'still there'])} |",
        f"|---{'|---:' * 10}|",
    ]
    for name, row in rows.items():
        back = "never" if row["back_after"] is None else f"{row['back_after']:.1f} s"
        lines.append(
            f"| {name} | {row['unanswered']} of {row['quick'] + row['unanswered']} | {row['p50_ms']:.1f} "
            f"| {row['p99_ms']:.1f} | {row['worst_ms']:.0f} | {mib(row['memory_before'])} | {mib(row['memory_most'])} "
            f"| {mib(row['memory_after'])} | {row['descriptors_most']:,} | {back} | {row['held']:,} |"
        )
    return "\n".join(lines)


def certificates(folder: Path) -> None:
    import trustme  # of the test group

    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    certificate.private_key_pem.write_to_path(str(folder / "key.pem"))
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    made = parser("abuse", __doc__, "five seconds of each instead of fifteen, with a tenth of the crowds")
    add_choice(made, "--peers", [peer.name for peer in PEERS])
    add_choice(made, "--shapes", SHAPES)
    return made.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    options = arguments(argv)
    cast = Cast()
    peers = cast.available(PEERS, options.peers)
    if not peers:
        return 2
    seconds = options.seconds or (5.0 if options.quick else 15.0)
    cpus = two_cores()
    figures: dict[str, dict[str, Any]] = {}
    about = document(options.command, 1, seconds, cast, shapes=figures)
    with tempfile.TemporaryDirectory() as name, enough_files(6000):
        certificates(Path(name))
        for shape in map(SHAPES.__getitem__, options.shapes):
            number = shape.number // 10 if options.quick and shape.number >= 500 else shape.number
            figures[shape.name] = {
                peer.name: measure(peer, python, shape, number, seconds, cpus, Path(name)).figures()
                for peer, python in peers
            }
            print(f"\n{table(shape, figures[shape.name])}", flush=True)
    print(f"\n{cast.absent()}")
    write(options.json, about)
    return 0


if __name__ == "__main__":
    sys.exit(main())
