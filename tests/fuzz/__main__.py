"""Runs the fuzz targets, ``python -m tests.fuzz --seconds 120 [--jobs 2] [NAME...]``; status 1 for a finding.

What breaks a rule is made small and written to ``tests/fuzz/findings/``, ready to become a file of the corpus.
"""

import argparse
import hashlib
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.fuzz.drive import PATIENCE, executions
from tests.fuzz.targets import HERE, NAMES

FINDINGS = HERE / "findings"


def drive(name: str, *arguments: str, timeout: float) -> tuple[int, str]:
    """Run one process of a target: its status and what it has said."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.fuzz.drive", name, *arguments]
    try:
        done = subprocess.run(
            command,
            cwd=HERE.parents[1],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired as error:
        return 1, (error.stdout or b"").decode(errors="replace") + f"\nstill running after {timeout} s"
    return done.returncode, done.stdout.decode(errors="replace")


def keep(name: str, found: Path, into: Path) -> tuple[Path, str]:
    """Write a finding, minimized if it can be, to its place: where it is, and what it raises."""
    status, output = drive(name, "--into", str(into), "--minimize", str(found), timeout=120)
    small = into / "small"
    data = small.read_bytes() if status and small.exists() else found.read_bytes()
    FINDINGS.mkdir(exist_ok=True)
    path = FINDINGS / f"{name}-{found.name.partition('-')[0]}-{hashlib.sha256(data).hexdigest()[:12]}"
    path.write_bytes(data)
    return path, output


def run(name: str, options: argparse.Namespace) -> tuple[int, bool]:
    """Run one target and report: how many inputs, and whether the rule held."""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        into = Path(directory)
        arguments = ["--seconds", str(options.seconds), "--into", directory]
        for option in ("engine", "count", "seed"):
            if (value := getattr(options, option)) is not None:
                arguments += [f"--{option}", str(value)]
        if options.keep:
            arguments += ["--grown", str(Path(options.keep).resolve() / name)]
        status, output = drive(name, *arguments, timeout=options.seconds + 60 + 2 * PATIENCE)
        tried = executions(output)
        took = time.monotonic() - begin
        if status == 0:
            print(f"{name}: {tried} inputs in {took:.0f} s, the rule held", flush=True)
            return tried, True
        found = [path for kind in ("crash", "timeout", "oom") for path in into.glob(f"{kind}-*")]
        print(f"{name}: FAILED after {tried} inputs in {took:.0f} s", flush=True)
        if not found:
            print(output[-4000:], flush=True)
        for path in found:
            kept, why = keep(name, path, into)
            print(f"{(why or output)[-4000:]}\nreproduce with {kept}", flush=True)
        return tried, False


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"the targets (all): {', '.join(NAMES)}")
    parser.add_argument("--seconds", type=float, default=120.0, help="for each target (120)")
    parser.add_argument("--jobs", type=int, default=2, help="targets at a time (2)")
    parser.add_argument("--count", type=int, help="inputs at most for each target")
    parser.add_argument("--seed", type=int, help="repeat a run with one target")
    parser.add_argument("--engine", choices=["atheris", "chance"], help="atheris where it is installed")
    parser.add_argument(
        "--keep", metavar="DIR", help="where inputs that reached something new stay for the next run"
    )
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.names) - set(NAMES)):
        parser.error(f"no such target: {', '.join(unknown)}")
    with ThreadPoolExecutor(options.jobs) as pool:
        results = list(pool.map(lambda name: run(name, options), options.names or NAMES))
    held = sum(ok for _, ok in results)
    print(f"{sum(tried for tried, _ in results)} inputs; the rule held for {held} of {len(results)} targets")
    return 0 if held == len(results) else 1


if __name__ == "__main__":
    sys.exit(main())
