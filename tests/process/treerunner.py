"""Drives `tests/process/tree.py`: its output, its signals, its port."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 20.0


class Tree:
    def __init__(self, directory: Path, application: str, arguments: tuple[str, ...]) -> None:
        self.application = directory / "application.py"
        self.application.write_text(application)
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "tests/process/tree.py", str(self.application), *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), False)
        self._rest = b""
        self.port = int(self.expect(r"port (\d+)")[1])

    # What it says.

    def expect(self, pattern: str, count: int = 1) -> re.Match[str]:
        """Wait for lines that match, among all that have not been waited past; the last of them."""
        deadline = time.monotonic() + PATIENCE
        match = None
        for _ in range(count):
            match = self._next(re.compile(pattern), deadline)
        assert match is not None
        return match

    def _next(self, pattern: re.Pattern[str], deadline: float) -> re.Match[str]:
        seen = []
        while True:
            while self.lines:
                line = self.lines.pop(0)
                seen.append(line)
                match = pattern.search(line)
                if match:
                    return match
            if not self._read() and self.process.poll() is not None and not self._read():
                raise AssertionError(f"no {pattern.pattern!r} in:\n" + "\n".join(seen))
            if time.monotonic() > deadline:
                raise AssertionError(f"no {pattern.pattern!r} in time; there was:\n" + "\n".join(seen))
            time.sleep(0.005)

    def _read(self) -> bool:
        assert self.process.stdout is not None
        data = self.process.stdout.read()
        if not data:
            return False
        *lines, self._rest = (self._rest + data).split(b"\n")
        self.lines += [line.decode() for line in lines]
        return True

    def has_said(self, pattern: str) -> bool:
        self._read()
        return any(re.search(pattern, line) for line in self.lines)

    # What it is asked.

    def ask(self, line: str = "") -> list[str]:
        """Ask one worker; the words of its answer: process, version, number, generation."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as sock:
            sock.sendall(line.encode() + b"\n")
            data = b""
            while chunk := sock.recv(1024):
                data += chunk
        return data.decode().split()

    def begin(self, line: str) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        sock.sendall(line.encode() + b"\n")
        return sock

    def until(self, what: Callable[[list[str]], bool]) -> list[str]:
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = self.ask()
            if what(answer):
                return answer
            assert time.monotonic() < deadline, answer

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        return self.process.wait(PATIENCE)


Start = Callable[..., Tree]


def gone(pid: int) -> bool:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            status = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return True
        if status.rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.01)
    return False
