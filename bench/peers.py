"""The servers that are measured: who they are, the environment they live in, how one is started and stopped."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol, TypeAlias, TypeVar

from bench.cpu import pinned

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
APPS = HERE / "apps"
VENV = HERE / ".venv"
REQUIREMENTS = HERE / "requirements.txt"
BODY = b"Hello, world"
#: Seconds for a server to begin to serve.
PATIENCE = 20

Process: TypeAlias = "subprocess.Popen[bytes]"


@dataclass(frozen=True)
class Peer:
    """One server: what must be importable, and the command that serves on a port.

    :ivar module: modules that it needs, separated by commas; one that begins with ``webfw`` comes from this checkout.
    :ivar command: what follows the name of the interpreter; the whole command of a native peer.
    :ivar native: what there is to be built before it can run, which returns the program, for one that is not Python.
    """

    name: str
    module: str
    command: Callable[[int], list[str]]
    native: Callable[[], Path] | None = None


def script(name: str, *arguments: str) -> Callable[[int], list[str]]:
    """The command of an application in `apps`, which gets the port as its first argument."""
    return lambda port: [str(APPS / name), str(port), *arguments]


class Named(Protocol):
    @property
    def name(self) -> str: ...


N = TypeVar("N", bound=Named)


# --- their environment ---


def prepare() -> tuple[Path, dict[str, str]]:
    """The interpreter of the peers' own environment, made or brought up to date; and why a pin is not installed."""
    python = VENV / "bin" / "python"
    stamp = VENV / "stamp"
    text = REQUIREMENTS.read_text()
    wanted = f"{sys.version}\n{text}"
    if stamp.exists() and stamp.read_text() == wanted:
        return python, {}
    print(f"installing the peers into {VENV.relative_to(ROOT)}", file=sys.stderr)
    if not (stamp.exists() and stamp.read_text().startswith(f"{sys.version}\n") and python.exists()):
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True)
    failed = install(python, pins(text))
    # With something missing it is tried again next time; the rest is not installed anew.
    stamp.write_text(f"{sys.version}\nincomplete" if failed else wanted)
    return python, failed


def pins(text: str) -> list[str]:
    """The packages of a requirements file, without what is said about them."""
    return [pin for line in text.splitlines() if (pin := line.partition("#")[0].strip())]


def install(python: Path, wanted: list[str]) -> dict[str, str]:
    """Install packages; those that cannot be, each with pip's last word on it."""
    pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps"]
    if subprocess.run([*pip, *wanted], capture_output=True, check=False).returncode == 0:
        return {}
    failed = {}
    for pin in wanted:  # one that fails must not take the others with it
        done = subprocess.run([*pip, pin], capture_output=True, text=True, check=False)
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if line.strip().lower().startswith("error")]
            failed[pin] = (errors or done.stderr.strip().splitlines() or ["no reason given"])[-1].strip()
    return failed


def versions(python: Path) -> dict[str, str]:
    """Every package that an interpreter has."""
    code = (
        "import importlib.metadata as m, json\n"
        "print(json.dumps({d.name.lower(): d.version for d in m.distributions()}))"
    )
    found: dict[str, str] = json.loads(subprocess.check_output([str(python), "-c", code], text=True))
    return dict(sorted(found.items()))


def is_ours(module: str) -> bool:
    return module.startswith("webfw")


def interpreter(peer: Peer, theirs: Path) -> Path:
    """Ours for webfw alone, that of the peers' own environment for the others."""
    return Path(sys.executable) if is_ours(peer.module) and "," not in peer.module else theirs


def missing(peer: Peer, python: Path) -> str | None:
    """Why `peer` cannot run, `None` when it can."""
    if peer.native is not None:
        try:
            peer.native()
        except SystemExit as error:
            return str(error)
        return None
    return not_importable(peer.module, python)


@cache
def not_importable(module: str, python: Path) -> str | None:
    code = f"import {module}, uvloop"
    if module == "webfw.web":
        code += "; webfw.web.Application, webfw.web.RequestHandler"
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    return (done.stderr.strip().splitlines() or ["no reason given"])[-1] if done.returncode else None


def able(candidates: Iterable[N], chosen: Iterable[str], reason: Callable[[N], str | None]) -> list[N]:
    """Those of the chosen who can take part; why the others cannot is printed.

    :param reason: tells why one cannot, or None.
    """
    wanted = set(chosen)
    found = []
    for candidate in candidates:
        if candidate.name in wanted:
            why = reason(candidate)
            if why is None:
                found.append(candidate)
            else:
                print(f"left out: {candidate.name} ({why})", file=sys.stderr)
    return found


def available(peers: Iterable[Peer], chosen: Iterable[str], theirs: Path) -> list[tuple[Peer, Path]]:
    """The chosen peers that can run, each with its interpreter."""
    found = able(peers, chosen, lambda peer: missing(peer, interpreter(peer, theirs)))
    return [(peer, interpreter(peer, theirs)) for peer in found]


class Cast:
    """Who takes part in a run and who does not, with the reason: none is left out silently.

    :ivar python: the interpreter of the peers' environment.
    :ivar not_installed: pins that could not be installed, and why.
    :ivar left_out: peers that cannot run, and why.
    """

    def __init__(self) -> None:
        self.python, self.not_installed = prepare()
        self.left_out: dict[str, str] = {}
        for pin, reason in self.not_installed.items():
            print(f"could not be installed: {pin} ({reason})", file=sys.stderr)

    def able(
        self,
        candidates: Iterable[N],
        chosen: Iterable[str],
        reason: Callable[[N], str | None],
        where: str = "",
    ) -> list[N]:
        """Those of the chosen who can take part."""

        def noted(candidate: N) -> str | None:
            why = reason(candidate)
            if why is not None:
                self.left_out[f"{candidate.name}: {where}" if where else candidate.name] = why
            return why

        return able(candidates, chosen, noted)

    def available(
        self, peers: Iterable[Peer], chosen: Iterable[str], where: str = ""
    ) -> list[tuple[Peer, Path]]:
        """The chosen peers that can run, each with its interpreter.

        :param where: in what they take part, for those who take part in other things too.
        """
        found = self.able(peers, chosen, lambda peer: missing(peer, interpreter(peer, self.python)), where)
        return [(peer, interpreter(peer, self.python)) for peer in found]

    def attempt(self, who: str, part: Callable[[], None]) -> bool:
        """Have somebody take part once more; False where that fails, or has failed before.

        One whose server does not start, answers wrongly or dies is noted, and ends nobody else's measurement.
        """
        if who in self.left_out:
            return False
        try:
            part()
        except (SystemExit, OSError, subprocess.SubprocessError) as error:
            self.left_out[who] = " ".join(str(error).split())
            print(f"left out: {who} ({self.left_out[who]})", file=sys.stderr)
            return False
        return True

    def figures(self) -> dict[str, object]:
        """What is written down."""
        return {
            "versions": versions(self.python),
            "left_out": self.left_out,
            "not_installed": self.not_installed,
        }

    def absent(self) -> str:
        """What is shown under the tables; nothing when all take part."""
        lines = [f"left out: {name} ({why})" for name, why in self.left_out.items()]
        lines += [f"not installed: {pin} ({why})" for pin, why in self.not_installed.items()]
        return "\n".join(lines)


# --- running ---


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
    program = [str(python)] if peer.native is None else [str(peer.native())]
    process = subprocess.Popen(
        pinned(cpu, [*program, *peer.command(port)]),
        cwd=APPS,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT) if is_ours(peer.module) else ""},
        start_new_session=True,
    )
    try:
        (ready or wait_until_served)(peer, process, port)
        yield process.pid, port
    finally:
        stop(process)


def wait_until_served(peer: Peer, process: Process, port: int) -> None:
    """Return when the hello page comes as it should; raise when another page or none comes within 20 seconds."""
    wait_for_page(peer, process, port, "/", None, lambda body: body == BODY)


def wait_for_page(
    peer: Peer, process: Process, port: int, path: str, form: str | None, expected: Callable[[bytes], bool]
) -> None:
    """Return when a page comes as it should; raise when another one or none comes within 20 seconds.

    :param form: a body to post; a GET without.
    """
    end = time.monotonic() + PATIENCE
    while True:
        try:
            data = None if form is None else form.encode()
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", data, timeout=5) as answer:
                body = answer.read()
            if answer.status != 200 or not expected(body):
                raise SystemExit(f"{peer.name} answers {answer.status} {body[:60]!r}")
            return
        except (urllib.error.URLError, ConnectionError) as error:
            if isinstance(error, urllib.error.HTTPError) or process.poll() is not None:
                raise SystemExit(f"{peer.name} does not serve: {error}; {stderr_of(process)}") from None
            if time.monotonic() > end:
                raise SystemExit(f"{peer.name} does not answer: {error}") from None
            time.sleep(0.02)


def wait_until_listening(peer: Peer, process: Process, port: int) -> None:
    """Return when the port takes connections; whether it answers as it should, the load generator sees."""
    wait_for_connections(peer.name, process, port)


def wait_for_connections(name: str, process: Process, where: int | str) -> None:
    """Return when a process takes connections at a port or a Unix socket; raise when not within 20 seconds."""
    end = time.monotonic() + PATIENCE
    while True:
        with socket.socket(socket.AF_UNIX if isinstance(where, str) else socket.AF_INET) as probe:
            try:
                probe.connect(where if isinstance(where, str) else ("127.0.0.1", where))
                return
            except OSError as error:
                if process.poll() is not None or time.monotonic() > end:
                    raise SystemExit(f"{name} does not serve: {error}; {stderr_of(process)}") from None
        time.sleep(0.02)


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
