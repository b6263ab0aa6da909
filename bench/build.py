"""The programs in C beside this file, compiled at their first use: load generators, and the floor."""

import os
import shutil
import subprocess
from pathlib import Path

from bench.peers import HERE, ROOT

__all__ = ["build"]


def build(name: str) -> Path:
    """A program, compiled when its source ``NAME.c`` is newer; exits with the reason when it cannot be."""
    source = HERE / f"{name}.c"
    program = ROOT / "build" / name
    if program.exists() and program.stat().st_mtime >= source.stat().st_mtime:
        return program
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise SystemExit(f"{name} needs a C compiler (apt-get install gcc)")
    program.parent.mkdir(parents=True, exist_ok=True)
    fresh = program.with_suffix(f".{os.getpid()}")
    done = subprocess.run(
        [compiler, "-O2", "-Wall", "-o", str(fresh), str(source)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{name} does not compile: {compiler} -O2 {source}: {done.stderr.strip()[-500:]}")
    fresh.replace(program)
    return program
