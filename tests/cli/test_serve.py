"""Tests of webfw.cli.serve: the command as a process, as its user meets it."""

import http.client
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import trustme

import webfw

ROOT = Path(__file__).resolve().parents[2]

APP = '''
import asyncio, os, signal
import webfw.web
from webfw.httputil import HTTPHeaders, ResponseStartLine

class Hello(webfw.web.RequestHandler):
    def get(self):
        self.write("hello")

class Loop(webfw.web.RequestHandler):
    def get(self):
        self.write(type(asyncio.get_running_loop()).__module__)

class Fails(webfw.web.RequestHandler):
    def get(self):
        raise RuntimeError("broken on purpose")

class Slow(webfw.web.RequestHandler):
    async def get(self):
        """Says that it started, and in which process, and ends when that gets SIGUSR1."""
        released = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, released.set)
        self.write(f"{os.getpid()} started,")
        await self.flush()
        await released.wait()
        self.write("done")

routes = [("/", Hello), ("/loop", Loop), ("/fails", Fails), ("/slow", Slow)]
app = webfw.web.Application(routes)

async def make_later():
    await asyncio.sleep(0)
    return webfw.web.Application(routes)

async def make_none():
    raise ValueError("no database")

no_broker = webfw.web.Application(routes, broker="redis://user:secret@127.0.0.1:1/0")
own_broker = webfw.web.Application(routes, broker="memory:?history_size=3")

own_log = webfw.web.Application(routes, log_function=lambda handler: print("own line", flush=True))

def callback(request):
    headers = HTTPHeaders({"Content-Length": "4"})
    request.connection.write_headers(ResponseStartLine("HTTP/1.1", 200, "OK"), headers, b"call")
    request.connection.finish()

def wsgi(environ, start_response):
    import threading
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{environ['wsgi.multithread']} {threading.current_thread().name}".encode()]

number = 7
'''

Start = Callable[..., Any]


@pytest.fixture
def app_dir(tmp_path: Path) -> Path:
    (tmp_path / "served.py").write_text(APP)
    return tmp_path


@pytest.fixture
def serve(webfw_command: Start, app_dir: Path) -> Start:
    def start(target: str = "served:app", *options: str, **env: str) -> Any:
        return webfw_command("serve", target, "--bind", "127.0.0.1:0", *options, cwd=app_dir, **env)

    return start


def get(url: str, path: str = "/", context: ssl.SSLContext | None = None) -> tuple[int, str]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    if parts.scheme == "https":
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            "localhost", parts.port, context=context, timeout=20
        )
    else:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_serves_says_where_and_logs(serve: Start) -> None:
    command = serve()
    announced = command.read_until(r"^webfw (\S+) serving served:app on (http://127\.0\.0\.1:\d+)$")
    assert announced[1] == webfw.version
    assert get(announced[2]) == (200, "hello")
    command.read_until(
        r'^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d 127\.0\.0\.1 "GET / HTTP/1\.1" 200 5 \d+\.\dms$'
    )
    assert get(announced[2], "/none?x=%1b")[0] == 404
    command.read_until(r'"GET /none\?x=%1b HTTP/1\.1" 404 \d+ ')
    status, output, errors = command.stop(signal.SIGINT)
    assert (status, errors) == (0, "")
    assert output.endswith("webfw stopped\n")


def test_a_failing_handler_is_logged_apart_from_access(serve: Start) -> None:
    command = serve()
    url = command.url()
    status, body = get(url, "/fails")
    assert status == 500
    assert "broken on purpose" not in body
    command.read_until('"GET /fails HTTP/1.1" 500 ')
    status, _, errors = command.stop(signal.SIGTERM)
    assert status == 0
    assert " ERROR webfw.application: Uncaught exception" in errors
    assert "RuntimeError: broken on purpose" in errors


def test_log_level_hides_what_is_below(serve: Start) -> None:
    command = serve("served:app", "--log-level", "warning")
    url = command.url()
    assert get(url)[0] == 200
    assert get(url, "/none")[0] == 404
    command.read_until('"GET /none HTTP/1.1" 404 ')
    command.stop(signal.SIGTERM)
    assert not any("GET / " in line for line in command.lines)


def test_own_log_function_stays(serve: Start) -> None:
    command = serve("served:own_log")
    assert get(command.url())[0] == 200
    command.read_until("^own line$")
    assert '"GET /' not in "".join(command.lines) + command.stop(signal.SIGTERM)[1]


@pytest.mark.parametrize(
    ("target", "body"),
    [("served:make_later()", "hello"), ("served:callback", "call")],
    ids=["async", "callback"],
)
def test_factories_and_callbacks(serve: Start, target: str, body: str) -> None:
    command = serve(target)
    assert get(command.url()) == (200, body)
    assert command.stop(signal.SIGTERM)[0] == 0


def test_a_loop_made_by_the_module_is_the_one_that_runs(serve: Start, app_dir: Path) -> None:
    """What the module scheduled on it at import must happen."""
    (app_dir / "early.py").write_text(
        "from webfw.ioloop import IOLoop\n"
        "from served import app as later\n"
        "loop = IOLoop.current()\n"
        "app = loop.asyncio_loop.create_future()\n"
        "loop.add_callback(lambda: app.set_result(later))\n"
    )
    command = serve("early:app")
    assert get(command.url()) == (200, "hello")
    assert command.stop(signal.SIGTERM)[0] == 0


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_loop_by_environment(serve: Start, loop: str) -> None:
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    command = serve(WEBFW_LOOP=loop)
    assert get(command.url(), "/loop")[1].partition(".")[0] == loop
    assert command.stop(signal.SIGTERM)[0] == 0


def test_unknown_loop_is_one_sentence(serve: Start) -> None:
    status, _, errors = serve(WEBFW_LOOP="turbo").end()
    assert status == 1
    assert "'turbo'" in errors
    assert errors.count("\n") == 1


def test_several_addresses_and_unix_sockets(serve: Start, tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    command = serve("served:app", "--bind", f"unix:{path}")
    url = command.url()
    assert command.url() == f"unix:{path}"
    assert get(url) == (200, "hello")
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(path))
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\nhello")
    assert command.stop(signal.SIGTERM)[0] == 0
    assert not path.exists()


def test_tls(serve: Start, tmp_path: Path) -> None:
    authority = trustme.CA()
    cert = authority.issue_cert("localhost", "127.0.0.1")
    cert.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "cert.pem"))
    command = serve("served:app", "--certfile", str(tmp_path / "cert.pem"))
    url = command.url()
    assert url.startswith("https://")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    assert get(url, context=context) == (200, "hello")
    assert command.stop(signal.SIGTERM)[0] == 0


# --- stopping ---


def begin_slow_request(url: str) -> tuple[socket.socket, int]:
    parts = urlsplit(url)
    client = socket.create_connection((parts.hostname, parts.port), timeout=20)
    client.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
    received = b""
    while b"started," not in received:
        received += client.recv(4096)
    match = re.search(rb"(\d+) started,", received)
    assert match is not None
    return client, int(match[1])


def test_running_requests_end_before_the_server_does(serve: Start) -> None:
    command = serve()
    url = command.url()
    client, worker = begin_slow_request(url)
    with client:
        command.process.send_signal(signal.SIGTERM)
        command.read_until("^webfw stopping: running requests have 30 seconds")
        parts = urlsplit(url)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((parts.hostname, parts.port), timeout=20)
        os.kill(worker, signal.SIGUSR1)
        assert b"done" in b"".join(iter(lambda: client.recv(4096), b""))
    status, output, errors = command.end()
    assert (status, errors) == (0, "")
    assert output.endswith("webfw stopped\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_second_signal_stops_at_once(serve: Start, number: int) -> None:
    command = serve()
    with begin_slow_request(command.url())[0]:
        command.process.send_signal(signal.SIGTERM)
        command.read_until("^webfw stopping")
        status, output, _ = command.stop(number)
    assert status == 128 + number
    assert "webfw stopped at once, 1 connection cut\n" in output


def test_an_idle_connection_does_not_hold_the_server_up(serve: Start) -> None:
    command = serve()
    parts = urlsplit(command.url())
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        command.read_until('"GET / ')
        status, output, _ = command.stop(signal.SIGTERM)
        assert (status, output.splitlines()[-1]) == (0, "webfw stopped")
        assert client.recv(4096).endswith(b"hello")
        assert client.recv(4096) == b""


@pytest.mark.parametrize(
    ("options", "body"),
    [
        ((), "True webfw-wsgi-1"),
        (("--threads", "2"), "True webfw-wsgi-1"),
        (("--threads", "0"), "False MainThread"),
    ],
)
def test_a_wsgi_application_is_recognised(serve: Start, options: tuple[str, ...], body: str) -> None:
    command = serve("served:wsgi", *options)
    assert get(command.url()) == (200, body)
    command.read_until(r'^\S+ 127\.0\.0\.1 "GET / HTTP/1\.1" 200 \d+ ')
    assert command.stop(signal.SIGTERM)[0] == 0


def test_a_broker_is_there_before_the_first_request_and_closed_after_the_last(serve: Start) -> None:
    command = serve("served:own_broker")
    assert get(command.url()) == (200, "hello")
    assert command.stop(signal.SIGTERM)[0] == 0


# --- what cannot be served ---


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["served:nothing"], 2, "webfw: 'served' has no attribute 'nothing'"),
        (["served:make_none()"], 3, "webfw: calling served:make_none() failed: ValueError: no database ("),
        (["served:make_none()", "--workers", "0"], 3, "webfw: calling served:make_none() failed: ValueError"),
        (["served:number"], 2, "webfw: served:number is of type int; it must be"),
        (["served:Hello"], 2, "webfw: served:Hello is the class Hello; it must be"),
        (["served:app", "--keyfile", "x"], 2, "webfw: --keyfile needs --certfile"),
        (["served:app", "--certfile", "x"], 1, "webfw: --certfile x: no such file or directory"),
        (["served:no_broker"], 1, "webfw: no broker: redis://user:***@127.0.0.1:1/0"),
        (
            ["served:wsgi", "--threads", "many"],
            2,
            "webfw serve: argument --threads: a whole number, 0 to 1000, is wanted, not 'many'",
        ),
        (["served:app", "--threads", "2"], 2, "webfw: --threads is for WSGI applications"),
        (
            ["served:app", "--bind", "nonsense"],
            2,
            "webfw serve: argument -b/--bind: bind address 'nonsense' has no port",
        ),
        (["served:app", "--app-dir", "none"], 2, "webfw: the application directory 'none' does not exist"),
    ],
)
def test_one_sentence_and_a_status(
    webfw_command: Start, app_dir: Path, arguments: list[str], status: int, sentence: str
) -> None:
    arguments = [*arguments, "--bind", "127.0.0.1:0"]
    code, output, errors = webfw_command("serve", *arguments, cwd=app_dir).end()
    assert (code, output) == (status, "")
    assert errors.startswith(sentence)
    assert errors.count("\n") == 1


def test_port_in_use(serve: Start, webfw_command: Start, app_dir: Path) -> None:
    first = serve()
    address = first.url().removeprefix("http://")
    status, _, errors = webfw_command("serve", "served:app", "--bind", address, cwd=app_dir).end()
    assert status == 1
    assert errors.startswith(f"webfw: cannot listen on {address}: the address is already in use; stop what")
    assert errors.count("\n") == 1


def test_port_in_use_and_the_wrong_application(serve: Start, webfw_command: Start, app_dir: Path) -> None:
    """The second mistake is likelier to be the one that matters: something runs on the port, perhaps for good."""
    first = serve()
    address = first.url().removeprefix("http://")
    status, _, errors = webfw_command("serve", "nope:app", "--bind", address, cwd=app_dir).end()
    assert status == 2
    missing = f"there is no module 'nope' in {app_dir} or on the Python path"
    assert errors.startswith(f"webfw: {missing}; besides, cannot listen on {address}: the address is already")
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--chdir", "nowhere"], "cannot work in the directory nowhere: no such file or directory"),
        (["--user", "no-such-user"], "there is no user 'no-such-user' on this system"),
        (["--pidfile", "nowhere/pid"], "cannot write the pidfile {}/nowhere/pid: no such file or directory"),
        (["--control", "nowhere/ctl"], "no control socket at {}/nowhere/ctl: no such file or directory"),
    ],
)
def test_what_the_process_cannot_be(serve: Start, app_dir: Path, options: list[str], sentence: str) -> None:
    status, output, errors = serve("served:app", *options).end()
    assert (status, output, errors) == (1, "", f"webfw: {sentence.format(app_dir)}\n")


def test_what_systemd_says_is_wrong(app_dir: Path) -> None:
    code = (
        "import os, sys; os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='x'); "
        "from webfw.cli.main import main; sys.exit(main(['serve', 'served:app']))"
    )
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=app_dir, env=environ, capture_output=True, text=True, timeout=20
    )
    sentence = "LISTEN_FDS is the number of sockets that systemd has opened, not 'x'"
    assert (done.returncode, done.stderr) == (1, f"webfw: {sentence}\n")


@pytest.mark.parametrize("level", ["info", "debug"])
def test_failing_import(webfw_command: Start, tmp_path: Path, level: str) -> None:
    (tmp_path / "crash.py").write_text("def connect():\n    raise OSError('no database')\n\nconnect()\n")
    status, _, errors = webfw_command(
        "serve", "crash:app", "--bind", "127.0.0.1:0", "--log-level", level
    ).end()
    assert status == 3
    last = errors.splitlines()[-1]
    assert re.fullmatch(r"webfw: importing 'crash' failed: OSError: no database \(.*/crash\.py:2\)", last)
    assert ("Traceback (most recent call last)" in errors) is (level == "debug")


def test_connections_are_limited(serve: Start) -> None:
    command = serve("served:app", "--max-connections", "1", "--workers", "0")
    url = command.url()
    assert get(url) == (200, "hello")
    with socket.create_connection((urlsplit(url).hostname, urlsplit(url).port)) as one:
        one.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert one.recv(1000).startswith(b"HTTP/1.1 200 ")
        assert get(url) == (503, "503 Service Unavailable: too many connections\n")
    status, _, errors = command.stop(signal.SIGINT)
    assert status == 0
    assert "connections refused: 1 (max_connections is 1); the last from 127.0.0.1" in errors


def test_the_limit_on_open_files_is_raised(serve: Start) -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        command = serve("served:app", "--workers", "0", "--log-level", "debug")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    command.url()
    pid = command.process.pid
    assert resource.prlimit(pid, resource.RLIMIT_NOFILE)[0] > 256
    _, _, errors = command.stop(signal.SIGINT)
    assert re.search(r"the limit on open files is raised from 256 to \d+", errors)
