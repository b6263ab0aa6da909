"""A server as a process tree, driven from outside: its processes, its log, and load from wrk."""

import http.client
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]

APP = """
import asyncio, os, time
from webfw.web import Application, RequestHandler

VERSION = 1
kept = []

class Who(RequestHandler):
    def get(self):
        self.write(f"{os.getpid()} {VERSION}")

class Wait(RequestHandler):
    async def get(self, seconds):
        await asyncio.sleep(float(seconds))
        self.write("waited")

class Block(RequestHandler):
    def get(self, seconds):
        time.sleep(float(seconds))
        self.write("blocked")

class Leak(RequestHandler):
    def get(self, kib):
        kept.append(b"x" * (int(kib) << 10))
        self.write(str(os.getpid()))

class Die(RequestHandler):
    def get(self, number):
        os.kill(os.getpid(), int(number))

app = Application([
    ("/", Who), (r"/wait/([\\d.]+)", Wait), (r"/block/([\\d.]+)", Block), (r"/leak/(\\d+)", Leak),
    (r"/die/(\\d+)", Die),
])
"""

#: Seconds that anything may take before a test gives up on it; a machine with other work to do is slow.
PATIENCE = 30.0


def until(what: Callable[[], Any], patience: float = PATIENCE) -> float:
    """Wait until something holds; gives the seconds that took."""
    begun = time.monotonic()
    while not what():
        assert time.monotonic() < begun + patience, "it did not happen"
        time.sleep(0.02)
    return time.monotonic() - begun


def state_of(pid: int) -> str:
    """The letter that /proc has for a process; empty when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def children_of(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [int(word) for word in text.split()]


@dataclass(frozen=True)
class Line:
    """What a server has said, and when, on the scale of ``time.monotonic()``."""

    at: float
    text: str


class Server:
    """``webfw serve`` with its supervisor and workers.

    :param directory: where its application is.
    :param options: of the command.
    :param target: what it serves; empty to leave that to a file of settings.
    :param ready: whether to wait until it serves.
    :param before: called in its process before the command.
    """

    def __init__(
        self,
        directory: Path,
        options: Sequence[str],
        target: str = "app:app",
        bind: str = "127.0.0.1:0",
        ready: bool = True,
        before: Callable[[], None] | None = None,
        python: str = sys.executable,
    ) -> None:
        command = [python, "-m", "webfw", "serve", *([target] if target else []), "--bind", bind]
        if "--access-log" not in options:
            command += ["--access-log", "off"]
        self.directory = directory
        self.lines: list[Line] = []
        self.ever: set[int] = set()
        self.place = ("", 0)
        self.process = subprocess.Popen(
            [*command, *options],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=before,
        )
        self.pid = self.process.pid
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if ready:
            url = self.said(r"serving .* on (http:\S+|unix:\S+)")[1]
            if url.startswith("http"):
                parts = urlsplit(url)
                self.place = (parts.hostname or "", parts.port or 0)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(Line(time.monotonic(), line.rstrip("\n")))

    # What it says.

    @property
    def text(self) -> str:
        return "\n".join(line.text for line in self.lines)

    def said(self, pattern: str, since: int = 0, patience: float = PATIENCE) -> re.Match[str]:
        """Wait for a line."""
        return self._line(pattern, since, patience)[1]

    def when(self, pattern: str, since: int = 0, patience: float = PATIENCE) -> float:
        """Wait for a line; gives when it came."""
        return self._line(pattern, since, patience)[0].at

    def _line(self, pattern: str, since: int, patience: float) -> tuple[Line, re.Match[str]]:
        deadline = time.monotonic() + patience
        while True:
            alive = self._reader.is_alive()
            for line in self.lines[since:]:
                found = re.search(pattern, line.text)
                if found:
                    return line, found
            assert alive, f"it ended without {pattern!r}:\n{self.text}"
            assert time.monotonic() < deadline, f"no {pattern!r} in:\n{self.text}"
            time.sleep(0.01)

    # What it is made of.

    def workers(self) -> list[int]:
        found = children_of(self.pid)
        self.ever.update(found)
        return found

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def memory(self) -> int:
        """KiB that the supervisor has for itself alone."""
        text = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        return sum(int(found) for found in re.findall(r"Private_\w+:\s+(\d+)", text))

    def send(self, number: int) -> float:
        """Send the supervisor a signal; gives the time."""
        os.kill(self.pid, number)
        return time.monotonic()

    def write(self, version: int) -> None:
        """Put another version of the application in place, in one step: a reload may read it at any time."""
        self.replace(APP.replace("VERSION = 1", f"VERSION = {version}"))

    def replace(self, text: str) -> None:
        new = self.directory / "app.new"
        new.write_text(text)
        new.replace(self.directory / "app.py")

    # What it answers.

    def get(self, path: str = "/", timeout: float = PATIENCE) -> str:
        connection = http.client.HTTPConnection(*self.place, timeout=timeout)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read().decode()
            assert response.status == 200, body
            return body
        finally:
            connection.close()

    def who(self) -> tuple[int, int]:
        """The process and the version that has answered."""
        pid, version = self.get().split()
        return int(pid), int(version)

    def load(self, seconds: float, connections: int = 16, path: str = "/") -> "Load":
        return Load(f"http://{self.place[0]}:{self.place[1]}{path}", seconds, connections)

    # How it ends.

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.workers()
        self.send(number)
        return self.end()

    def end(self) -> int:
        status = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return status

    def kill(self) -> None:
        self.workers()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for pid in self.ever:
            # Nobody else has its number: it is of this test's tree as long as it has this directory.
            if state_of(pid) not in ("", "Z") and os.readlink(f"/proc/{pid}/cwd") == str(self.directory):
                os.kill(pid, signal.SIGKILL)
        self._reader.join(PATIENCE)
        assert self.process.stdout is not None
        self.process.stdout.close()


@dataclass(frozen=True)
class Result:
    """What became of a load."""

    requests: int
    broken: int
    refused: int
    bad: int
    timeouts: int

    @property
    def failed(self) -> int:
        return self.broken + self.refused + self.bad + self.timeouts

    def __str__(self) -> str:
        return f"{self.failed} of {self.requests:,} requests failed"


class Load:
    """wrk, with keep-alive connections."""

    def __init__(self, url: str, seconds: float, connections: int, *options: str) -> None:
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}", "--timeout", "20", *options, url]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def result(self) -> Result:
        output, _ = self.process.communicate(timeout=300)
        errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", output)
        connect, read, write, timeout = map(int, errors.groups()) if errors else (0, 0, 0, 0)
        bad = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
        requests = re.search(r"(\d+) requests in", output)
        assert requests, output
        return Result(int(requests[1]), read + write, connect, int(bad[1]) if bad else 0, timeout)
