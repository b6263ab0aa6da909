"""How the tests of this folder start a program for Tornado on webfw, read what it prints, and talk to it.

The programs have an environment of their own, into which Tornado is installed as well, because they depend on it.
That webfw answers for it is proven by a folder at the front of the module path: its ``tornado`` ends any process that
imports it.
"""

import http.cookiejar
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Sequence
from email.message import Message
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parents[2]
#: Made by tests/slow.sh from the dependency group "programs"; ``PROGRAMS_ENVIRONMENT`` names one with other versions.
ENVIRONMENT = Path(os.environ.get("PROGRAMS_ENVIRONMENT", ROOT / ".venvs" / "programs"))
PYTHON = ENVIRONMENT / "bin" / "python"

#: ``PROGRAMS_ON=tornado``: without webfw, to see whether a test asks for more than the program does there.
ON_TORNADO = os.environ.get("PROGRAMS_ON") == "tornado"
#: What ``tornado.web.__name__`` is in a program.
BY = "tornado.web" if ON_TORNADO else "webfw.web"

#: The status of a process that has met the real Tornado.
POISONED = 86
POISON = f"""\
import os, sys, traceback
traceback.print_stack()
sys.stderr.write("TRACEBACK: the real tornado was asked for\\n")
sys.stderr.flush()
os._exit({POISONED})
"""

#: What no line of a program's log may match.
TROUBLE = re.compile(r"Traceback|TRACEBACK|ERROR|CRITICAL|never awaited|never retrieved|was destroyed")

Value = TypeVar("Value")


def eventually(get: Callable[[], Value], seconds: float = 20.0) -> Value:
    """The first true value of ``get()``, which is asked for until then."""
    end = time.monotonic() + seconds
    while not (value := get()):
        assert time.monotonic() < end, f"in {seconds} seconds it was never true, last {value!r}"
        time.sleep(0.03)
    return value


def free_port() -> int:
    """A port for the programs that cannot be asked for any free one."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


# --- processes ---


class Program:
    """One running program and the processes it starts.

    :ivar home: its home directory, and its current one.
    :ivar lines: what it has printed on both of its outputs.
    """

    def __init__(self, home: Path, arguments: Sequence[str], env: dict[str, str]) -> None:
        self.home = home
        self.lines: list[str] = []
        self._mark = uuid.uuid4().hex
        self._more = threading.Condition()
        self._ended = False
        self._read_up_to = 0
        self.process = subprocess.Popen(
            [PYTHON, *arguments],
            cwd=home,
            env=environment(home) | env | {"WEBFW_PROGRAM": self._mark},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="backslashreplace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._more:
                self.lines.append(line.rstrip("\n"))
                self._more.notify_all()
        with self._more:
            self._ended = True
            self._more.notify_all()

    @property
    def log(self) -> str:
        return "\n".join(self.lines)

    def read_until(self, pattern: str, seconds: float = 40.0) -> re.Match[str]:
        """The match in the next line that has one; lines before it are not searched again."""
        end = time.monotonic() + seconds
        with self._more:
            while True:
                while self._read_up_to < len(self.lines):
                    self._read_up_to += 1
                    if match := re.search(pattern, self.lines[self._read_up_to - 1]):
                        return match
                if self._ended or not self._more.wait(end - time.monotonic()):
                    status = self.process.poll()
                    raise AssertionError(f"no line matches {pattern!r} (status {status}):\n{self.log}")

    def has_printed(self, pattern: str, seconds: float) -> bool:
        """Whether a line matches by now, or does so within that time."""
        with self._more:
            return self._more.wait_for(
                lambda: any(re.search(pattern, line) for line in self.lines), timeout=seconds
            )

    def wait_for_port(self, url: str, seconds: float = 20.0) -> None:
        """Wait until somebody listens where the URL points to."""
        parts = urllib.parse.urlsplit(url)

        def reached() -> bool:
            assert self.process.poll() is None, self.log
            try:
                socket.create_connection((parts.hostname, parts.port), 5).close()
            except OSError:
                return False
            return True

        eventually(reached, seconds)

    def stop(self, number: int = signal.SIGTERM, seconds: float = 20.0) -> int:
        """Send a signal and return the status the program ends with, when nothing of it runs any more."""
        self.process.send_signal(number)
        return self.end(seconds)

    def end(self, seconds: float = 20.0) -> int:
        """Wait for the end, which must be that of all its processes and leave no trouble in the log."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it runs on:\n{self.log}") from None
        eventually(lambda: not self.pids(), 5)
        self._reader.join(5)
        return self.process.returncode

    def trouble(self, *known: str) -> list[str]:
        """The lines of the log that speak of an error, without those that match one of the patterns."""
        return [
            line
            for line in self.lines
            if TROUBLE.search(line) and not any(re.search(pattern, line) for pattern in known)
        ]

    def pids(self) -> list[int]:
        """The processes that have inherited the program's environment, itself among them."""
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if self._mark.encode() in path.read_bytes():
                    found.append(int(path.parent.name))
            except OSError:  # gone meanwhile, or of another user
                continue
        return found

    def kill(self) -> None:
        """End whatever is left."""
        for pid in {*self.pids(), *([] if self.process.poll() is not None else [self.process.pid])}:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()
        self._reader.join(5)
        assert self.process.stdout is not None
        self.process.stdout.close()


def environment(home: Path) -> dict[str, str]:
    """The variables a program starts with: a home of its own, webfw, and no way to Tornado."""
    poison = home / "poison" / "tornado"
    if not ON_TORNADO:
        poison.mkdir(parents=True, exist_ok=True)
        (poison / "__init__.py").write_text(POISON)
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    return kept | {
        "HOME": str(home),
        "PYTHONPATH": os.pathsep.join([str(poison.parent), str(ROOT)]),
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
    }


def on_webfw(*arguments: str) -> list[str]:
    """The arguments of a Python that runs a program for Tornado."""
    return [*([] if ON_TORNADO else ["-m", "webfw.tornado_compat"]), *arguments]


# --- HTTP ---


class Answer:
    """A response, read to its end."""

    def __init__(self, status: int, headers: Message, body: bytes, url: str) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.url = url

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def __repr__(self) -> str:
        return f"<{self.status} {self.url} {self.body[:500]!r}>"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


class Client:
    """What a browser is to a server: keeps cookies, and sends the same headers with everything."""

    def __init__(self, base: str, headers: dict[str, str] | None = None) -> None:
        self.base = base
        self.headers = headers or {}
        self.cookies = http.cookiejar.CookieJar(
            http.cookiejar.DefaultCookiePolicy(
                strict_ns_domain=http.cookiejar.DefaultCookiePolicy.DomainLiberal
            )
        )
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            _NoRedirect(),
            urllib.request.HTTPCookieProcessor(self.cookies),
        )

    def __call__(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        json: Any = None,
        form: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        timeout: float = 30.0,
    ) -> Answer:
        """Send one request; no redirect is followed, and every status is an answer."""
        fields = {**self.headers, **(headers or {})}
        if json is not None:
            body = _dumps(json)
            fields.setdefault("Content-Type", "application/json")
        if form is not None:
            body = urllib.parse.urlencode(form).encode()
        url = urllib.parse.urljoin(self.base, path)
        request = urllib.request.Request(url, body, fields, method=method)
        try:
            response = self._opener.open(request, timeout=timeout)
        except urllib.error.HTTPError as error:
            response = error
        with response:
            return Answer(response.status, response.headers, response.read(), url)

    def cookie(self, name: str) -> str | None:
        return next((cookie.value for cookie in self.cookies if cookie.name == name), None)

    def cookie_header(self) -> str:
        """For a connection that this client does not make, such as a WebSocket."""
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.cookies)


def _dumps(value: Any) -> bytes:
    return json.dumps(value).encode()


def started(programs: list[Program], home: Path) -> Iterator[Callable[..., Program]]:
    """A fixture's body: starts programs, and has none outlive the tests."""

    def start(*arguments: str, env: dict[str, str] | None = None) -> Program:
        program = Program(home, arguments, env or {})
        programs.append(program)
        return program

    try:
        yield start
    finally:
        for program in programs:
            program.kill()
