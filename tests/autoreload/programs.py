"""Programs as processes whose files are edited, for the tests of what restarts them."""

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

#: Seconds to wait for anything, on a machine that is busy with something else.
PATIENCE = 25.0


class Program:
    """A running Python, whose output and errors are read line by line."""

    def __init__(self, command: list[str], directory: Path, env: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *command],
            cwd=directory,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.output: list[str] = []
        self.errors: list[str] = []
        self._queues = [queue.Queue[str | None](), queue.Queue[str | None]()]
        self._threads = [
            threading.Thread(target=self._read, args=arguments, daemon=True)
            for arguments in zip((self.process.stdout, self.process.stderr), self._queues, strict=True)
        ]
        for thread in self._threads:
            thread.start()

    def _read(self, stream: Iterator[str], lines: "queue.Queue[str | None]") -> None:
        for line in stream:
            lines.put(line.rstrip("\n"))
        lines.put(None)

    def _until(self, which: int, seen: list[str], text: str) -> str:
        end = time.monotonic() + PATIENCE
        while True:
            try:
                line = self._queues[which].get(timeout=max(0.01, end - time.monotonic()))
            except queue.Empty:
                line = None
            if line is None:
                raise AssertionError(f"no line has {text!r} in {seen}\n{self.output}\n{self.errors}")
            seen.append(line)
            if text in line:
                return line

    def read_until(self, text: str) -> str:
        """Return the next line of output that contains a text."""
        return self._until(0, self.output, text)

    def errors_until(self, text: str) -> str:
        """Return the next line of standard error that contains a text."""
        return self._until(1, self.errors, text)

    def alive(self) -> bool:
        return self.process.poll() is None

    def signal(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def end(self) -> tuple[int, str, str]:
        """Wait for the end; return the status, and the output and errors that nobody has read."""
        status = self.process.wait(PATIENCE)
        texts = []
        for lines, thread in zip(self._queues, self._threads, strict=True):
            thread.join(PATIENCE)
            texts.append("".join(f"{line}\n" for line in iter(lines.get, None)))
        return status, texts[0], texts[1]

    def kill(self) -> None:
        if self.alive():
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE)
        for thread, stream in zip(self._threads, (self.process.stdout, self.process.stderr), strict=True):
            thread.join(PATIENCE)
            assert stream is not None
            stream.close()


class Programs:
    """A directory of files to edit, and the programs that run in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "work"
        self.directory.mkdir()
        self._blocked = directory / "blocked"
        self._blocked.mkdir()
        (self._blocked / "watchfiles.py").write_text("raise ImportError('hidden by the test')")
        self.started: list[Program] = []

    def start(
        self, *command: str, without_watchfiles: bool = False, env: dict[str, str] | None = None
    ) -> Program:
        path = [str(ROOT), *([str(self._blocked)] if without_watchfiles else [])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), **(env or {})}
        # As for everybody, compiled files are written, and may mislead.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        program = Program(list(command), self.directory, environment)
        self.started.append(program)
        return program

    def write(self, name: str, text: str) -> None:
        """Write a file as editors do: another one, which replaces it."""
        path = self.directory / name
        path.parent.mkdir(exist_ok=True)
        new = path.with_name(path.name + ".new")
        new.write_text(text)
        os.replace(new, path)

    def read(self, name: str) -> str:
        return (self.directory / name).read_text()

    def pause(self, seconds: float) -> None:
        """Let time pass between two edits; nothing is waited for."""
        time.sleep(seconds)

    def free_port(self) -> int:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            port: int = sock.getsockname()[1]
            return port

    def answer(self, url: str, expected: str) -> bool:
        """Ask until a server gives an answer; other answers, and none, are taken for those of an older version."""
        end = time.monotonic() + PATIENCE
        seen: list[str] = []
        while time.monotonic() < end:
            try:
                with urllib.request.urlopen(url, timeout=5) as response:
                    text = response.read().decode()
            except (OSError, urllib.error.URLError) as exc:
                text = repr(exc)
            if text == expected:
                return True
            if not seen or seen[-1] != text:
                seen.append(text)
            time.sleep(0.01)
        raise AssertionError(f"{expected!r} is not among {seen}; {self.started[-1].errors}")


def running(directory: Path) -> Iterator[Programs]:
    """The body of a fixture: `Programs` whose processes are killed at the end."""
    programs = Programs(directory)
    try:
        yield programs
    finally:
        for program in programs.started:
            program.kill()
