"""The load generators, driven from Python: wrk for a page, and our own in C for what wrk cannot do."""

import json
import math
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from bench import build as programs
from bench.cpu import pinned

#: Above this share of the time the generator is what is measured.
TOO_BUSY = 0.95
#: Of wrk, where nothing else is said.
CONNECTIONS = 64


def lacking(*names: str) -> str | None:
    """What of these programs is not on the PATH, as a sentence; None when all are there."""
    absent = [name for name in names if shutil.which(name) is None]
    return f"this needs {' and '.join(absent)} (apt-get install {' '.join(absent)})" if absent else None


# --- wrk ---


@dataclass(frozen=True)
class Loaded:
    """What came of a load: requests, how many a second by wrk's own clock, and those that failed."""

    requests: int
    rate: float
    failed: int


def start_wrk(
    port: int, seconds: float, fields: Iterable[str] = (), cpu: int | None = None
) -> "subprocess.Popen[str]":
    """Put 64 keep-alive connections on a server's page at ``/``, each with one request at a time.

    :param seconds: rounded up to whole ones, as wrk knows no others.
    :param fields: lines of the head, besides Host.
    """
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{math.ceil(seconds)}s", "--timeout", "20"]
    command += [part for text in fields for part in ("-H", text)]
    command.append(f"http://127.0.0.1:{port}/")
    return subprocess.Popen(pinned(cpu, command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def end_wrk(process: "subprocess.Popen[str]") -> Loaded:
    output, _ = process.communicate(timeout=120)
    return read_wrk(output)


def read_wrk(output: str) -> Loaded:
    """What wrk has printed."""
    requests = re.search(r"(\d+) requests in", output)
    rate = re.search(r"Requests/sec:\s*([\d.]+)", output)
    if requests is None or rate is None:
        raise SystemExit(f"the load went wrong: {output}")
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", output)
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    failed = sum(map(int, errors.groups())) if errors else 0
    return Loaded(int(requests[1]), float(rate[1]), failed + (int(bad[1]) if bad else 0))


def wrk(port: int, seconds: float, fields: Iterable[str] = (), cpu: int | None = None) -> Loaded:
    """As `start_wrk`, to its end; an answer that is not 2xx ends the measurement, as an error is quickly served."""
    return checked(end_wrk(start_wrk(port, seconds, fields, cpu)))


def checked(done: Loaded) -> Loaded:
    if done.failed or not done.requests:
        raise SystemExit(f"the load went wrong: {done.failed} of {done.requests} requests failed")
    return done


# --- our own ---


def build() -> Path:
    """The generator of the WebSocket measurements."""
    return programs.build("wsload")


class Generator:
    """A generator in C with its connections, open while the `with` block runs; it obeys lines.

    An error of the generator, or an answer of the server that it does not accept, ends the measurement.
    """

    def __init__(self, name: str, arguments: Sequence[object], what: str, cpu: int | None) -> None:
        self.name = name
        self.what = what
        self.process = subprocess.Popen(
            pinned(cpu, [str(programs.build(name)), *map(str, arguments)]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        try:
            self.line()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        failed = self.end()
        if failed and kind is None:
            raise SystemExit(f"{self.what}: {failed}")

    def end(self) -> str:
        """Close the connections as their protocol wants it; the complaint of the generator, empty when it has none."""
        try:
            _, complaint = self.process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            _, complaint = self.process.communicate()
        if self.process.returncode == 0:
            return ""
        return complaint.strip() or f"{self.name} ended with {self.process.returncode}"

    def line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.what}: {self.end()}")
        return line

    def ask(self, *command: object) -> dict[str, float]:
        """Give one command (they are listed in the source of the generator); the figures of its answer."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(" ".join(map(str, command)) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended, and said why
        figures: dict[str, float] = json.loads(self.line())
        return figures


class Load(Generator):
    """WebSockets to one path of the servers on `ports`."""

    def __init__(self, path: str, connections: int, ports: Sequence[int], cpu: int | None = None) -> None:
        what = f"{connections} connections to {path}"
        super().__init__("wsload", [path, connections, *ports], what, cpu)


class HTTPLoad(Generator):
    """HTTP/1.1 connections to a server that are there before a load and stay after it.

    :param path: what is asked for.
    :param fields: lines of the head, besides Host.
    :param form: a body to post, urlencoded; a GET without.
    """

    def __init__(
        self,
        path: str,
        connections: int,
        port: int,
        cpu: int | None = None,
        fields: Iterable[str] = (),
        form: str | None = None,
    ) -> None:
        lines = [f"{'GET' if form is None else 'POST'} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", *fields]
        if form is not None:
            lines += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(form)}"]
        request = "\r\n".join([*lines, "", form or ""])
        super().__init__(
            "httpload", [request, connections, port], f"{connections} connections for {path}", cpu
        )
