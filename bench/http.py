"""What a request costs: CPU time of the server's processes and requests a second, webfw beside its peers.

    python -m bench.http [--quick] [--peers webfw,tornado] [--json FILE]

See README.md beside this file for what is measured and how to read it.
"""

import argparse
import json
import os
import platform
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from bench.options import ROOT, able, add_choice, parser, two_cores, write

HERE = Path(__file__).resolve().parent
APPS = HERE / "apps"
VENV = HERE / ".venv"
REQUIREMENTS = HERE / "requirements.txt"

CONNECTIONS = 64
BODY = b"Hello, world"
TICKS = os.sysconf("SC_CLK_TCK")

Process: TypeAlias = "subprocess.Popen[bytes]"

#: What a browser sends besides Host.
BROWSER_FIELDS = [
    "Connection: keep-alive",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: en-US,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br",
    "Referer: http://127.0.0.1/start",
    "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark",
]
LOADS: dict[str, list[str]] = {"1 field": [], "8 fields": BROWSER_FIELDS}


# --- the servers ---


@dataclass(frozen=True)
class Peer:
    """One server: what must be importable, and the command that serves the hello page on a port."""

    name: str
    module: str
    command: Callable[[int], list[str]]


def script(name: str, *arguments: str) -> Callable[[int], list[str]]:
    return lambda port: [str(APPS / name), str(port), *arguments]


def granian(interface: str) -> Callable[[int], list[str]]:
    options = ["--host", "127.0.0.1", "--workers", "1", "--loop", "uvloop", "--no-access-log", "--no-log"]
    target = f"granian_hello:{interface}"
    return lambda port: ["-m", "granian", "--interface", interface, "--port", str(port), *options, target]


PEERS = [
    Peer("webfw", "webfw.web", script("webfw_hello.py", "uvloop")),
    Peer("tornado", "tornado", script("tornado_hello.py", "asyncio")),
    Peer("tornado-uvloop", "tornado", script("tornado_hello.py", "uvloop")),
    Peer("uvicorn", "uvicorn", script("uvicorn_hello.py")),
    Peer("aiohttp", "aiohttp", script("aiohttp_hello.py")),
    Peer("granian-asgi", "granian", granian("asgi")),
    Peer("granian-rsgi", "granian", granian("rsgi")),
]


def prepare() -> tuple[Path, list[str]]:
    """The interpreter of the peers' own environment, made or brought up to date; and what pip could not install."""
    python = VENV / "bin" / "python"
    stamp = VENV / "stamp"
    wanted = f"{sys.version}\n{REQUIREMENTS.read_text()}"
    if stamp.exists() and stamp.read_text() == wanted:
        return python, []
    print(f"installing the peers into {VENV.relative_to(ROOT)}", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True)
    pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps"]
    lines = [line.split("#")[0].strip() for line in REQUIREMENTS.read_text().splitlines()]
    pins = [line for line in lines if line]
    if subprocess.run([*pip, *pins], check=False).returncode == 0:
        stamp.write_text(wanted)
        return python, []
    # One that fails must not take the others with it.
    return python, [pin for pin in pins if subprocess.run([*pip, pin], check=False).returncode != 0]


def missing(peer: Peer, python: Path) -> str | None:
    """Why `peer` cannot run, `None` when it can."""
    code = f"import {peer.module}, uvloop"
    if peer.module == "webfw.web":
        code += "; webfw.web.Application, webfw.web.RequestHandler"
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    return done.stderr.strip().splitlines()[-1] if done.returncode else None


def pinned(cpu: int | None, command: list[str]) -> list[str]:
    return command if cpu is None else ["taskset", "-c", str(cpu), *command]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(
    peer: Peer, python: Path, cpu: int | None, ready: Callable[[Peer, Process, int], None] | None = None
) -> Iterator[tuple[int, int]]:
    """A running server: its process id and its port.  It is stopped with all of its workers, and nothing else is.

    `ready` returns when it serves and raises when it does not; by default it asks for the hello page.
    """
    port = free_port()
    process = subprocess.Popen(
        pinned(cpu, [str(python), *peer.command(port)]),
        cwd=APPS,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT) if peer.module.startswith("webfw") else ""},
        start_new_session=True,
    )
    try:
        (ready or wait_until_served)(peer, process, port)
        yield process.pid, port
    finally:
        stop(process)


def wait_until_served(peer: Peer, process: Process, port: int) -> None:
    """Return when the hello page comes as it should; raise when another page or none comes within 20 seconds."""
    end = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
                body = answer.read()
            if answer.status != 200 or body != BODY:
                raise SystemExit(f"{peer.name} answers {answer.status} {body[:60]!r}")
            return
        except (urllib.error.URLError, ConnectionError) as error:
            if isinstance(error, urllib.error.HTTPError) or process.poll() is not None:
                raise SystemExit(f"{peer.name} does not serve: {error}; {stderr_of(process)}") from None
            if time.monotonic() > end:
                raise SystemExit(f"{peer.name} does not answer: {error}") from None
            time.sleep(0.05)


def stderr_of(process: Process) -> str:
    if process.poll() is None or process.stderr is None:
        return ""
    return process.stderr.read().decode(errors="replace")[-500:]


def stop(process: Process) -> None:
    """End the session of a server that `serving` started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(timeout=5)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue
    process.wait()
    if process.stderr is not None:
        process.stderr.close()


# --- what is measured ---


def stat(pid: int) -> tuple[int, float, float] | None:
    """Parent, and user and system time in seconds of one process and its dead children (proc_pid_stat(5))."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    values = text.rpartition(")")[2].split()
    user, system, dead_user, dead_system = (int(value) / TICKS for value in values[11:15])
    return int(values[1]), user + dead_user, system + dead_system


def cpu_time(root: int) -> tuple[float, float]:
    """User and system time in seconds of a process and everything below it."""
    table = {
        int(path.name): found for path in Path("/proc").glob("[0-9]*") if (found := stat(int(path.name)))
    }
    user = system = 0.0
    for pid, (_, process_user, process_system) in table.items():
        above: int | None = pid
        while above is not None and above != root:
            above = table[above][0] if above in table else None
        if above == root:
            user += process_user
            system += process_system
    return user, system


@dataclass(frozen=True)
class Sample:
    """One load on one server: microseconds of CPU a request, and requests a second."""

    user: float
    system: float
    rate: float
    requests: int


def load(port: int, fields: Iterable[str], seconds: float, cpu: int | None) -> int:
    """Put 64 keep-alive connections on a server for `seconds`; returns how many requests were answered with 2xx."""
    headers = [part for text in fields for part in ("-H", text)]
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:g}s", *headers, f"http://127.0.0.1:{port}/"]
    done = subprocess.run(
        pinned(cpu, command), capture_output=True, text=True, timeout=seconds + 20, check=True
    )
    found = re.search(r"(\d+) requests in", done.stdout)
    bad = re.search(r"(Non-2xx.*|Socket errors.*)", done.stdout)
    if found is None or bad is not None or int(found[1]) == 0:
        raise SystemExit(f"the load went wrong: {bad[1] if bad else done.stdout or done.stderr}")
    return int(found[1])


def measure(pid: int, port: int, fields: Iterable[str], seconds: float, cpu: int | None) -> Sample:
    user, system = cpu_time(pid)
    begin = time.perf_counter()
    requests = load(port, fields, seconds, cpu)
    took = time.perf_counter() - begin
    user_after, system_after = cpu_time(pid)
    return Sample(
        user=(user_after - user) / requests * 1e6,
        system=(system_after - system) / requests * 1e6,
        rate=requests / took,
        requests=requests,
    )


Samples = dict[str, dict[str, list[Sample]]]


def run(peers: list[tuple[Peer, Path]], rounds: int, seconds: float, cpus: tuple[int, int] | None) -> Samples:
    """All rounds: in each, every peer is started anew, warmed up, and gets every load; the order turns by one."""
    samples: Samples = {peer.name: {name: [] for name in LOADS} for peer, _ in peers}
    for number in range(rounds):
        turn = number % len(peers)
        for peer, python in peers[turn:] + peers[:turn]:
            print(f"round {number + 1} of {rounds}: {peer.name}", file=sys.stderr)
            server_cpu, load_cpu = cpus or (None, None)
            with serving(peer, python, server_cpu) as (pid, port):
                load(port, BROWSER_FIELDS, 1, load_cpu)
                for name, fields in LOADS.items():
                    samples[peer.name][name].append(measure(pid, port, fields, seconds, load_cpu))
    return samples


# --- what is shown ---


def summary(samples: list[Sample]) -> dict[str, float]:
    totals = [sample.user + sample.system for sample in samples]
    return {
        "user_us": statistics.median(sample.user for sample in samples),
        "system_us": statistics.median(sample.system for sample in samples),
        "total_us": statistics.median(totals),
        "lowest_us": min(totals),
        "highest_us": max(totals),
        "requests_per_second": statistics.median(sample.rate for sample in samples),
    }


def table(samples: Samples, fields: str) -> str:
    """Markdown: medians over the rounds; a ratio of 2.0 says that the other one needs twice the CPU time."""
    lines = [
        f"| {fields} | user µs | system µs | total µs | lowest to highest | requests/s | tornado ÷ | uvicorn ÷ |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    rows = {name: summary(loads[fields]) for name, loads in samples.items()}
    for name, row in sorted(rows.items(), key=lambda item: item[1]["total_us"]):
        ratios = [
            f"{rows[o]['total_us'] / row['total_us']:.1f}" if o in rows else ""
            for o in ("tornado", "uvicorn")
        ]
        lines.append(
            f"| {name} | {row['user_us']:.1f} | {row['system_us']:.1f} | {row['total_us']:.1f} "
            f"| {row['lowest_us']:.1f} to {row['highest_us']:.1f} | {row['requests_per_second']:,.0f} "
            f"| {' | '.join(ratios)} |"
        )
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {
        "cpu": model[1] if model else platform.machine(),
        "cpus": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def versions(python: Path) -> dict[str, str]:
    code = "import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions()}))"
    found: dict[str, str] = json.loads(subprocess.check_output([str(python), "-c", code], text=True))
    return found


def arguments(argv: list[str] | None) -> argparse.Namespace:
    made = parser("http", __doc__, "two rounds of one second instead of five of three")
    add_choice(made, "--peers", [peer.name for peer in PEERS])
    return made.parse_args(argv)


def interpreter(peer: Peer, theirs: Path) -> Path:
    """Ours for webfw, that of the peers' own environment for the others."""
    return Path(sys.executable) if peer.module.startswith("webfw") else theirs


def available(peers: list[Peer], chosen: list[str], theirs: Path) -> list[tuple[Peer, Path]]:
    """The chosen peers that can run, each with its interpreter."""
    found = able(peers, chosen, lambda peer: missing(peer, interpreter(peer, theirs)))
    return [(peer, interpreter(peer, theirs)) for peer in found]


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv)
    if shutil.which("wrk") is None:
        print("bench.http needs wrk (apt-get install wrk)", file=sys.stderr)
        return 2
    theirs, failed = prepare()
    for pin in failed:
        print(f"could not be installed: {pin}", file=sys.stderr)
    peers = available(PEERS, options.peers, theirs)
    if not peers:
        return 2
    cpus = two_cores()
    about = machine()
    rounds, seconds = (2, 1.0) if options.quick else (5, 3.0)
    samples = run(peers, rounds, seconds, cpus)

    print(
        f"{about['cpu']}, Python {about['python']}, {CONNECTIONS} connections, {rounds} rounds of {seconds:g} s"
    )
    for fields in LOADS:
        print(f"\n{table(samples, fields)}")
    figures = {
        "machine": about,
        "versions": versions(theirs),
        "rounds": rounds,
        "seconds": seconds,
        "connections": CONNECTIONS,
        "peers": {
            name: {key: summary(value) for key, value in loads.items()} for name, loads in samples.items()
        },
    }
    write(options.json, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
