"""``webfw serve`` as a process tree: what its user sees, and what no client notices."""

import http.client
import json
import os
import pwd
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from webfw.cli.program import tree_settings
from webfw.cli.sources import read_configuration
from webfw.process.fork import PROCESS_TREE

ROOT = Path(__file__).resolve().parents[2]

APP = """
import asyncio, os, time
from webfw.ioloop import IOLoop
from webfw.web import Application, RequestHandler

VERSION = 1

class Who(RequestHandler):
    def get(self):
        self.write({"pid": os.getpid(), "version": VERSION})

class Wait(RequestHandler):
    async def get(self, seconds):
        await asyncio.sleep(float(seconds))
        self.write("waited")

class Die(RequestHandler):
    def get(self):
        os.kill(os.getpid(), 9)

class Publish(RequestHandler):
    async def post(self):
        await self.application.broker.publish("room", {"from": os.getpid()})

app = Application([("/", Who), (r"/wait/([\\d.]+)", Wait), ("/die", Die), ("/publish", Publish)])
"""

Start = Callable[..., Any]


@pytest.fixture
def serve(webfw_command: Start, tmp_path: Path) -> Start:
    (tmp_path / "tree_app.py").write_text(APP)

    def start(*options: str, target: str = "tree_app:app", **env: str) -> Any:
        return webfw_command(
            "serve", target, "--bind", "127.0.0.1:0", "--access-log", "off", *options, cwd=tmp_path, **env
        )

    return start


class Site:
    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.place = (parts.hostname or "", parts.port or 0)

    def get(self, path: str = "/") -> str:
        connection = http.client.HTTPConnection(*self.place, timeout=20)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def who(self) -> dict[str, Any]:
        who: dict[str, Any] = json.loads(self.get())
        return who

    def until(self, what: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        deadline = time.monotonic() + 20
        while True:
            who = self.who()
            if what(who):
                return who
            assert time.monotonic() < deadline, who


@pytest.mark.parametrize(("seconds", "patience"), [(30.0, 33.0), (0.5, 2.0), (0.0, 1.0)])
def test_who_drains_has_time_for_applications_to_end(seconds: float, patience: float) -> None:
    settings = tree_settings(read_configuration({"graceful_timeout": seconds, "drain_delay": 1.0}, {}))
    assert settings.graceful_timeout == patience


def test_two_workers(serve: Start) -> None:
    command = serve("--workers", "2")
    announced = command.read_until(r"^webfw \S+ serving tree_app:app on (\S+) with 2 workers$")
    site = Site(announced[1])
    pids = {site.who()["pid"] for _ in range(50)}
    assert pids
    assert command.process.pid not in pids
    status, output, errors = command.stop(signal.SIGTERM)
    assert (status, output.splitlines()[-1], errors) == (
        0,
        "webfw stopped",
        "",
    )  # whether or not it took a moment


def test_reload_brings_the_new_version(serve: Start, tmp_path: Path) -> None:
    command = serve("--workers", "2")
    site = Site(command.url())
    (tmp_path / "tree_app.py").write_text(APP.replace("VERSION = 1", "VERSION = 22"))
    command.process.send_signal(signal.SIGHUP)
    site.until(lambda who: who["version"] == 22)
    status, _, errors = command.stop(signal.SIGTERM)
    assert status == 0
    assert "reload: generation 2" in errors


def test_a_broken_version_is_not_taken(serve: Start, tmp_path: Path) -> None:
    command = serve("--workers", "1")
    site = Site(command.url())
    (tmp_path / "tree_app.py").write_text("raise OSError('no database')")
    command.process.send_signal(signal.SIGHUP)
    assert command.process.stderr is not None
    for line in command.process.stderr:
        if "no reload" in line:
            break
    assert "OSError: no database" in line
    assert site.who()["version"] == 1
    assert command.stop(signal.SIGTERM)[0] == 0


def test_a_reload_takes_settings_of_the_file(serve: Start, tmp_path: Path) -> None:
    (tmp_path / "webfw.toml").write_text("workers = 1\ngraceful_timeout = 5\n")
    command = serve()
    site = Site(command.url())
    first = site.who()["pid"]
    (tmp_path / "webfw.toml").write_text("workers = 2\nbacklog = 5\n")
    command.process.send_signal(signal.SIGHUP)
    site.until(lambda who: who["pid"] != first)
    (tmp_path / "webfw.toml").write_text("workrs = 2\n")
    command.process.send_signal(signal.SIGHUP)
    assert command.process.stderr is not None
    lines = []
    for line in command.process.stderr:
        lines.append(line)
        if "no reload" in line:
            break
    assert "there is no setting 'workrs'; did you mean workers?" in line
    assert any("backlog is taken only at a start" in line for line in lines)
    (tmp_path / "webfw.toml").write_text("workers = 0\n")
    command.process.send_signal(signal.SIGHUP)
    for line in command.process.stderr:
        if "no reload" in line:
            break
    assert "webfw.toml:1: a supervisor has 1 worker at least, not 0" in line
    assert site.who()
    assert command.stop(signal.SIGTERM)[0] == 0


def test_a_killed_worker_is_replaced(serve: Start) -> None:
    command = serve("--workers", "1")
    site = Site(command.url())
    first = site.who()["pid"]
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        site.get("/die")
    assert site.who()["pid"] != first  # the connection has waited in the kernel
    status, _, errors = command.stop(signal.SIGTERM)
    assert status == 0
    assert "was killed by SIGKILL: it is started again" in errors


def test_a_worker_is_replaced_after_so_many_requests(serve: Start) -> None:
    command = serve("--workers", "1", "--max-requests", "5", "--blocked-after", "0.1")
    site = Site(command.url())
    first = site.who()["pid"]
    site.until(lambda who: who["pid"] != first)
    errors = command.stop(signal.SIGTERM)[2]
    assert re.search(r"worker 0 \(process \d+\) is to be replaced: \d+ requests", errors)


@pytest.mark.slow
def test_nobody_is_left_when_the_supervisor_is_killed(serve: Start) -> None:
    command = serve("--workers", "2")
    site = Site(command.url())
    pids = {site.who()["pid"] for _ in range(50)}
    command.process.kill()
    command.process.wait()
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    with pytest.raises(ConnectionRefusedError):
        site.who()


def test_preload(serve: Start, tmp_path: Path) -> None:
    (tmp_path / "tree_app.py").write_text(APP.replace("VERSION = 1", "VERSION = os.getpid()"))
    command = serve("--workers", "2", "--preload")
    assert Site(command.url()).who()["version"] == command.process.pid
    assert command.stop(signal.SIGTERM)[0] == 0


def test_sockets_of_their_own(serve: Start) -> None:
    command = serve("--workers", "2", "--reuse-port")
    site = Site(command.url())
    assert len({site.who()["pid"] for _ in range(200)}) == 2
    assert command.stop(signal.SIGTERM)[0] == 0


def test_several_workers_that_cannot_load_say_it_once(serve: Start) -> None:
    status, output, errors = serve("--workers", "3", target="nosuch_module:app").end()
    assert (status, output, errors.count("\n")) == (2, "", 1), errors


def test_hooks(serve: Start, tmp_path: Path) -> None:
    (tmp_path / "tree_hooks.py").write_text(
        "import os\n"
        "def say(*words): os.write(1, (' '.join(map(str, words)) + '\\n').encode())\n"
        "def on_starting(supervisor): say('on_starting', supervisor.target)\n"
        "def pre_fork(supervisor, number): say('pre_fork', number)\n"
        "def post_fork(supervisor, worker): say('post_fork', worker.number)\n"
        "def worker_ready(supervisor, member): say('worker_ready', member.number)\n"
        "def worker_exit(supervisor, member, status): say('worker_exit', member.number, status); 1 / 0\n"
        "def on_reload(supervisor): say('on_reload')\n"
        "def on_exit(supervisor): say('on_exit')\n"
    )
    command = serve("--hooks", "tree_hooks")
    command.url()
    command.process.send_signal(signal.SIGHUP)
    command.read_until("^worker_exit 0 0$")
    status, output, errors = command.stop(signal.SIGTERM)
    said = [line for line in [*command.lines, *output.splitlines()] if not line.startswith("webfw")]
    once = ["pre_fork 0", "post_fork 0", "worker_ready 0"]
    assert said == [
        "on_starting 1",
        *once,
        "on_reload",
        *once,
        "worker_exit 0 0",
        "worker_exit 0 0",
        "on_exit",
    ]
    assert status == 0
    assert "hook worker_exit failed" in errors


def test_hooks_that_are_not_there(serve: Start) -> None:
    status, _, errors = serve("--hooks", "nosuchhooks").end()
    assert status == 1
    assert (
        errors
        == "webfw: hooks: importing 'nosuchhooks' failed: ModuleNotFoundError: No module named 'nosuchhooks'\n"
    )


def test_several_applications_of_a_file(serve: Start, tmp_path: Path, webfw_command: Start) -> None:
    (tmp_path / "tree_wsgi.py").write_text(
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    return [environ['SCRIPT_NAME'].encode() + b' ' + environ['PATH_INFO'].encode()]\n"
    )
    (tmp_path / "webfw.toml").write_text(
        "bind = ['127.0.0.1:0']\n[[apps]]\napp = 'tree_app:app'\n[[apps]]\napp = 'tree_wsgi:app'\npath = '/old'\n"
    )
    command = webfw_command("serve", cwd=tmp_path)
    announced = command.read_until(r"serving tree_app:app, tree_wsgi:app on (\S+)$")
    site = Site(announced[1])
    assert site.get("/old/page") == "/old /page"
    assert site.who()["version"] == 1
    assert command.stop(signal.SIGTERM)[0] == 0


@pytest.fixture
def loaded(tmp_path: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    started: list[subprocess.Popen[str]] = []

    def start(site: Site, seconds: int) -> "subprocess.Popen[str]":
        url = "http://{}:{}/".format(*site.place)
        command = ["wrk", "-t1", "-c16", f"-d{seconds}", url]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.needs("wrk")
def test_ten_reloads_under_load_lose_no_request(serve: Start, loaded: Any, tmp_path: Path) -> None:
    command = serve("--workers", "2")
    site = Site(command.url())
    load = loaded(site, 8)
    for version in range(10):
        time.sleep(0.7)
        (tmp_path / "tree_app.py").write_text(APP.replace("VERSION = 1", f"VERSION = {version + 100}"))
        command.process.send_signal(signal.SIGHUP)
    output, _ = load.communicate(timeout=40)
    site.until(lambda who: who["version"] == 109)
    errors = command.stop(signal.SIGTERM)[2]
    assert "Socket errors" not in output
    assert "Non-2xx" not in output
    assert errors.count("is ready") >= 20
    assert int(re.search(r"(\d+) requests in", output)[1]) > 1000  # type: ignore[index]


def children_of(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="children are not told here")
def test_an_upgrade_takes_over_the_sockets(serve: Start, tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    command = serve("--bind", f"unix:{path}")
    site = Site(command.url())
    workers = set(children_of(command.process.pid))
    (tmp_path / "tree_app.py").write_text(APP.replace("VERSION = 1", "VERSION = 2"))
    command.process.send_signal(signal.SIGUSR2)
    site.until(lambda who: who["version"] == 2)  # both serve
    (new,) = set(children_of(command.process.pid)) - workers
    try:
        command.process.send_signal(signal.SIGTERM)
        assert command.process.wait(20) == 0
        assert site.who()["version"] == 2
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
    finally:
        os.kill(new, signal.SIGTERM)
    deadline = time.monotonic() + 20
    while path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    command.end()


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="children are not told here")
def test_an_upgrade_that_fails_changes_nothing(serve: Start, tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    command = serve("--bind", f"unix:{path}")
    site = Site(command.url())
    (tmp_path / "tree_app.py").write_text("raise OSError('no database')")
    command.process.send_signal(signal.SIGUSR2)
    assert command.process.stderr is not None
    for line in command.process.stderr:
        if "this one goes on" in line:
            break
    assert "ended with status 3" in line
    assert site.who()["version"] == 1
    assert command.stop(signal.SIGTERM)[0] == 0
    assert not path.exists()


@pytest.mark.slow
@pytest.mark.needs("wrk")
def test_an_upgrade_under_load_loses_no_request(serve: Start, loaded: Any, tmp_path: Path) -> None:
    command = serve("--workers", "2")
    site = Site(command.url())
    workers = set(children_of(command.process.pid))
    load = loaded(site, 5)
    time.sleep(0.5)
    (tmp_path / "tree_app.py").write_text(APP.replace("VERSION = 1", "VERSION = 2"))
    command.process.send_signal(signal.SIGUSR2)
    site.until(lambda who: who["version"] == 2)
    (new,) = set(children_of(command.process.pid)) - workers
    try:
        time.sleep(1)
        command.process.send_signal(signal.SIGTERM)
        assert command.process.wait(20) == 0
        output, _ = load.communicate(timeout=40)
    finally:
        os.kill(new, signal.SIGTERM)
        command.end()
    assert "Socket errors" not in output
    assert "Non-2xx" not in output


@pytest.mark.slow
def test_what_is_published_reaches_all_workers(serve: Start, tmp_path: Path) -> None:
    (tmp_path / "tree_live.py").write_text(
        "import os\n"
        "from webfw.web import Application, EventSourceHandler, RequestHandler\n"
        "class Live(EventSourceHandler):\n"
        "    async def open(self):\n"
        "        await self.subscribe('room')\n"
        "class Publish(RequestHandler):\n"
        "    async def post(self):\n"
        "        await self.application.broker.publish('room', {'from': os.getpid()})\n"
        "        self.write(str(os.getpid()))\n"
        "app = Application([('/live', Live), ('/publish', Publish)])\n"
    )
    command = serve(
        "--workers", "2", "--reuse-port", target="tree_live:app", **{PROCESS_TREE: f"t{os.getpid()}"}
    )
    site = Site(command.url())
    listening = []
    try:
        for _ in range(8):  # spread over both workers
            client = socket.create_connection(site.place, timeout=20)
            client.sendall(b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n")
            data = b""
            while b'"joined"' not in data:
                data += client.recv(4096)
            listening.append(client)
        connection = http.client.HTTPConnection(*site.place, timeout=20)
        connection.request("POST", "/publish")
        pid = connection.getresponse().read()
        connection.close()
        for client in listening:
            data = b""
            while b'"from":' not in data:
                data += client.recv(4096)
            assert pid in data
    finally:
        for client in listening:
            client.close()
    assert command.stop(signal.SIGTERM)[0] == 0


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can be somebody else")
def test_log_files_opened_anew_belong_to_the_user_of_the_workers(webfw_command: Start) -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's directories are closed to others
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "tree_app.py").write_text(APP)
        options = ("--bind", "127.0.0.1:0", "--user", "nobody", "--access-log", "access.log")
        command = webfw_command("serve", "tree_app:app", *options, cwd=folder)
        site = Site(command.url())
        log = folder / "access.log"
        log.rename(folder / "access.log.1")
        command.process.send_signal(signal.SIGUSR1)
        site.until(lambda who: log.exists() and log.stat().st_size > 0)
        assert log.stat().st_uid == pwd.getpwnam("nobody").pw_uid
        assert command.stop(signal.SIGTERM)[0] == 0


@pytest.mark.parametrize("named", [True, False])
def test_the_file_counts_whatever_directory_it_names(
    webfw_command: Start, tmp_path: Path, named: bool
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "tree_app.py").write_text(APP)
    file = tmp_path / "webfw.toml"
    file.write_text('chdir = "there"\napp = "tree_app:app"\nbind = "127.0.0.1:0"\nworkers = 2\n')
    command = webfw_command("serve", *(("--config", "webfw.toml") if named else ()), cwd=tmp_path)
    site = Site(command.read_until(r"^webfw \S+ serving tree_app:app on (\S+) with 2 workers$")[1])
    file.unlink()
    command.process.send_signal(signal.SIGHUP)
    refusal = next(line for line in command.process.stderr if "no reload" in line)
    assert refusal.endswith(f"no reload: {file}: no such file or directory\n")
    assert site.who()["version"] == 1


def _listening(port: int) -> int:
    """How many sockets listen on a port."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A" for line in lines)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="counts sockets")
def test_nobody_waits_at_the_socket_of_a_worker_that_is_gone(serve: Start) -> None:
    command = serve("--workers", "4", "--reuse-port", "--graceful-timeout", "20")
    site = Site(command.url())
    port = site.place[1]
    assert _listening(port) == 4
    slow = [http.client.HTTPConnection(*site.place, timeout=20) for _ in range(12)]
    for connection in slow:  # most workers are busy and cannot end
        connection.request("GET", "/wait/4")
    for left in (3, 2, 1):
        command.process.send_signal(signal.SIGTTOU)
        deadline = time.monotonic() + 3
        while _listening(port) > left:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    pids = {site.who()["pid"] for _ in range(40)}
    assert len(pids) == 1
    for connection in slow:
        assert connection.getresponse().read() == b"waited"
        connection.close()
    command.process.send_signal(signal.SIGTTIN)
    site.until(lambda who: who["pid"] not in pids)
    assert _listening(port) == 2


def test_no_directory_to_count_in(serve: Start) -> None:
    options = ("--metrics", "--admin", "127.0.0.1:0")
    status, _, errors = serve(*options, PROMETHEUS_MULTIPROC_DIR="/dev/null/x").end()
    assert (status, errors) == (
        1,
        "webfw: no directory for what is counted, /dev/null/x: not a directory\n",
    )


ACTIVATE = """
import os, socket, sys
sock = socket.create_server(("127.0.0.1", 0))
print("activated", sock.getsockname()[1], flush=True)
os.dup2(sock.fileno(), 3)
os.set_inheritable(3, True)  # it may have been 3 before
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.executable, [sys.executable, "-m", "webfw", "serve", *sys.argv[1:]])
"""


@pytest.mark.parametrize("flag", [False, True], ids=["file", "flag"])
def test_sockets_of_systemd(tmp_path: Path, flag: bool) -> None:
    """They count before the addresses of a file, which are for a start without them, but not before a flag."""
    (tmp_path / "tree_app.py").write_text(APP)
    (tmp_path / "webfw.toml").write_text("bind = ['127.0.0.1:0']\naccess_log = 'off'\n")
    arguments = ["tree_app:app", *(["--bind", "127.0.0.1:0"] if flag else [])]
    process = subprocess.Popen(
        [sys.executable, "-c", ACTIVATE, *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline().split()[1])
        announced = process.stdout.readline()
        assert (f":{port}" in announced) is not flag
        assert Site(announced.split(" on ")[1].strip()).who()["version"] == 1
        process.send_signal(signal.SIGTERM)
        errors = process.communicate(timeout=20)[1]
        assert process.returncode == 0
        assert ("sockets from systemd are closed, since there is --bind: 1" in errors) is flag
    finally:
        process.kill()
        process.communicate()


FORKING = (
    APP
    + """
import multiprocessing, signal

class Child(RequestHandler):
    def get(self, name):
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(30,))
        child.start()
        os.kill(child.pid, getattr(signal, name))
        child.join(5)
        status = child.exitcode
        child.kill()
        self.write({"pid": os.getpid(), "status": status})

app = Application([(r"/child/(\\w+)", Child), ("/", Who)])
"""
)


@pytest.mark.slow
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_what_the_application_forks_has_signals_of_its_own(serve: Start, tmp_path: Path, loop: str) -> None:
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    (tmp_path / "tree_forking.py").write_text(FORKING)
    command = serve(target="tree_forking:app", WEBFW_LOOP=loop)
    site = Site(command.url())
    pid = site.who()["pid"]
    for name in ("SIGTERM", "SIGQUIT", "SIGHUP"):
        answer = json.loads(site.get(f"/child/{name}"))
        assert answer == {"pid": pid, "status": -getattr(signal, name)}
    status, _, errors = command.stop(signal.SIGTERM)
    assert (status, errors) == (0, "")  # the worker has heard of nothing
