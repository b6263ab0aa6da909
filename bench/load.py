"""The load generator of the WebSocket measurements, `wsload.c`, built and driven from Python."""

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.http import HERE, pinned
from bench.options import ROOT

SOURCE = HERE / "wsload.c"
PROGRAM = ROOT / "build" / "wsload"

#: Above this share of the time the generator is what is measured.
TOO_BUSY = 0.95


def build() -> Path:
    """The generator, compiled when its source is newer; exits with the reason when it cannot be."""
    if PROGRAM.exists() and PROGRAM.stat().st_mtime >= SOURCE.stat().st_mtime:
        return PROGRAM
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise SystemExit("the load generator needs a C compiler (apt-get install gcc)")
    PROGRAM.parent.mkdir(parents=True, exist_ok=True)
    fresh = PROGRAM.with_suffix(f".{os.getpid()}")
    done = subprocess.run([compiler, "-O2", "-o", str(fresh), str(SOURCE)], check=False)
    if done.returncode:
        raise SystemExit(f"the load generator does not compile: {compiler} -O2 {SOURCE}")
    fresh.replace(PROGRAM)
    return PROGRAM


class Load:
    """Connections to one path of the servers on `ports`, open while the `with` block runs.

    An error of the generator, or an answer of the server that it does not accept, ends the measurement.
    """

    def __init__(self, path: str, connections: int, ports: Sequence[int], cpu: int | None = None) -> None:
        command = [str(build()), path, str(connections), *map(str, ports)]
        self.what = f"{connections} connections to {path}"
        self.process = subprocess.Popen(
            pinned(cpu, command),
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
        """Close the connections with the closing handshake; the complaint of the generator, empty when it has none."""
        try:
            _, complaint = self.process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            _, complaint = self.process.communicate()
        if self.process.returncode == 0:
            return ""
        return complaint.strip() or f"wsload ended with {self.process.returncode}"

    def line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.what}: {self.end()}")
        return line

    def ask(self, *command: object) -> dict[str, float]:
        """Give one command (they are listed in `wsload.c`); the figures of its answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(" ".join(map(str, command)) + "\n")
        self.process.stdin.flush()
        figures: dict[str, float] = json.loads(self.line())
        return figures
