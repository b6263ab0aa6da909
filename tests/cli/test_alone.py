"""``webfw serve --workers 0``: one process without a supervisor."""

import http.client
import json
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from webfw.cli.alone import is_alone
from webfw.cli.errors import USAGE, CommandError
from webfw.cli.sources import Configuration, read_configuration

APP = """
import asyncio, os
from webfw.web import Application, RequestHandler

class Who(RequestHandler):
    def get(self):
        self.write({"pid": os.getpid(), "broker": self.application.broker.__class__.__name__})

class Wait(RequestHandler):
    async def get(self, seconds):
        await asyncio.sleep(float(seconds))

app = Application([("/", Who), (r"/wait/([\\d.]+)", Wait)])
"""

Start = Callable[..., Any]


def settings(environ: dict[str, str] | None = None, **flags: Any) -> Configuration:
    return read_configuration({"app": "x:y", "workers": 0, **flags}, environ or {})


@pytest.fixture
def serve(webfw_command: Start, tmp_path: Path) -> Start:
    (tmp_path / "alone_app.py").write_text(APP)

    def start(*options: str) -> Any:
        options = ("--bind", "127.0.0.1:0", "--access-log", "off", "--workers", "0", *options)
        return webfw_command("serve", "alone_app:app", *options, cwd=tmp_path)

    return start


def test_it_is_the_process_that_serves(serve: Start) -> None:
    command = serve()
    place = urlsplit(command.url())
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=20)
    connection.request("GET", "/")
    assert json.load(connection.getresponse()) == {"pid": command.process.pid, "broker": "MemoryBroker"}
    connection.close()
    status, output, errors = command.stop(signal.SIGTERM)
    assert (status, output.splitlines()[-1], errors) == (
        0,
        "webfw stopped",
        "",
    )  # whether or not it took a moment


def test_a_second_signal_stops_at_once(serve: Start) -> None:
    command = serve()
    place = urlsplit(command.url())
    with socket.create_connection((place.hostname, place.port)) as client:
        client.sendall(b"GET /wait/30 HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.1)
        command.process.send_signal(signal.SIGTERM)
        command.read_until("^webfw stopping: running requests have 30 seconds")
        status, output, _ = command.stop(signal.SIGINT)
    assert (status, output) == (130, "webfw stopped at once, 1 connection cut\n")


def test_log_files_are_opened_anew(serve: Start, tmp_path: Path) -> None:
    access = tmp_path / "access"
    command = serve("--access-log", str(access))
    place = urlsplit(command.url())

    def get(path: str) -> None:
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=20)
        connection.request("GET", path)
        assert connection.getresponse().status == 404
        connection.close()

    get("/before")
    access.rename(tmp_path / "access.1")
    command.process.send_signal(signal.SIGUSR1)
    deadline = time.monotonic() + 20
    while not access.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    get("/after")
    status, _, errors = command.stop(signal.SIGTERM)
    assert status == 0
    assert errors.count("\n") == 0
    assert "/before" in (tmp_path / "access.1").read_text()
    assert "/after" in access.read_text()
    assert "/before" not in access.read_text()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("daemon", True),
        ("max_requests", 1),
        ("max_memory", 2**30),
        ("pidfile", "pid"),
        ("hooks", "nothing"),
        ("control", "ctl.sock"),
        ("timeout", 5.0),
        ("boot_timeout", 5.0),
        ("blocked_after", 0.1),
    ],
)
def test_what_a_supervisor_does_is_refused(name: str, value: Any) -> None:
    with pytest.raises(CommandError) as caught:
        is_alone(settings(**{name: value}))
    flag = "--" + name.replace("_", "-")
    assert str(caught.value) == f"{flag} needs a supervisor: not with --workers 0"
    assert caught.value.status == USAGE
    assert not is_alone(settings(workers=1, **{name: value}))


def test_what_no_supervisor_has_to_do_is_not() -> None:
    assert is_alone(settings())
    assert is_alone(settings(control="off", max_requests=0, timeout=0.0, blocked_after=0.0, daemon=False))


def test_who_says_so_is_named(serve: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "webfw.toml").write_text('app = "x:y"\nmax-requests = 7\n')
    status, output, errors = serve().end()
    assert (status, output) == (2, "")
    assert errors == "webfw: webfw.toml:2: max_requests needs a supervisor: not with --workers 0\n"
    with pytest.raises(CommandError, match="^WEBFW_PIDFILE needs a supervisor"):
        is_alone(settings({"WEBFW_PIDFILE": "/nowhere"}))
    monkeypatch.delattr("os.fork")
    with pytest.raises(CommandError, match="needs a supervisor: which this platform cannot have"):
        is_alone(settings(workers=4, daemon=True))


def test_the_application_s_own_failure_shows_where_it_is(serve: Start, tmp_path: Path) -> None:
    """It is no sentence about the command line."""
    (tmp_path / "alone_app.py").write_text(
        "import asyncio\n"
        "from webfw.web import Application\n"
        "class Odd(Application):\n"
        "    def add_transform(self, made): pass\n"
        "    def start_draining(self, timeout): raise ValueError('of the application')\n"
        "app = Odd([])\n"
    )
    command = serve()
    command.url()
    status, _, errors = command.stop(signal.SIGTERM)
    assert status != 0
    assert "Traceback" in errors
    assert "alone_app.py" in errors
    assert errors.endswith("ValueError: of the application\n")
