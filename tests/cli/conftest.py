"""Starts the command as a process and waits for what it says."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


class Command:
    """A running ``python -m webfw ...``; its output is read line by line."""

    def __init__(self, arguments: tuple[str, ...], cwd: Path, env: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "webfw", *arguments],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(ROOT), **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []

    def read_until(self, pattern: str) -> re.Match[str]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            match = re.search(pattern, line)
            if match:
                return match
        errors = self.process.communicate()[1]
        raise AssertionError(f"no line matches {pattern!r} in {self.lines}; standard error: {errors}")

    def url(self) -> str:
        return self.read_until(r" on (\S+)")[1]

    def stop(self, number: int) -> tuple[int, str, str]:
        """Send a signal; return the exit status, the rest of the output, and standard error."""
        self.process.send_signal(number)
        return self.end()

    def end(self) -> tuple[int, str, str]:
        output, errors = self.process.communicate(timeout=40)
        return self.process.returncode, output, errors


@pytest.fixture
def webfw_command(tmp_path: Path) -> Iterator[Callable[..., Command]]:
    """``webfw_command("serve", ...)`` starts the command in an empty directory; it is killed at the end."""
    started: list[Command] = []

    def start(*arguments: str, cwd: Path = tmp_path, **env: Any) -> Command:
        command = Command(arguments, cwd, env)
        started.append(command)
        return command

    yield start
    for command in started:
        if command.process.poll() is None:
            command.process.kill()
        command.process.communicate()
