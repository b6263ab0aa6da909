"""What stands around an application that is served: logs, ids, limits, and the way out."""

import http.client
import json
import re
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

APP = """
import asyncio
from webfw.log import app_log
from webfw.web import Application, RequestHandler

class Hello(RequestHandler):
    def get(self):
        self.write(f"{self.request.request_id} {self.request.remote_ip}")

    def post(self):
        self.write(str(len(self.request.body)))

class Wait(RequestHandler):
    async def get(self, seconds):
        await asyncio.sleep(float(seconds))
        self.write("waited")

app = Application([("/", Hello), (r"/wait/([\\d.]+)", Wait)])

def wsgi(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ.get("HTTP_X_REQUEST_ID", "none").encode()]
"""

Start = Callable[..., Any]


@pytest.fixture
def serve(webfw_command: Start, tmp_path: Path) -> Start:
    (tmp_path / "service_app.py").write_text(APP)

    def start(*options: str, target: str = "service_app:app") -> Any:
        return webfw_command("serve", target, "--bind", "127.0.0.1:0", *options, cwd=tmp_path)

    return start


def ask(url: str, path: str = "/", method: str = "GET", body: bytes | None = None, **fields: str) -> Any:
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=20)
    try:
        connection.request(
            method, path, body, {name.replace("_", "-"): value for name, value in fields.items()}
        )
        response = connection.getresponse()
        return response.status, response.read().decode(), response.headers
    finally:
        connection.close()


def test_access_lines_in_json(serve: Start) -> None:
    command = serve("--access-log-format", "json", "--request-id")
    status, body, headers = ask(command.url(), "/?x=1")
    assert status == 200
    line = json.loads(command.read_until(r"^(\{.*\})$")[1])
    assert (line["method"], line["target"], line["route"], line["status"], line["worker"]) == (
        "GET",
        "/?x=1",
        "/",
        200,
        0,
    )
    assert line["request_id"] == headers["X-Request-ID"] == body.split()[0]
    assert command.stop(signal.SIGTERM)[0] == 0


@pytest.mark.parametrize("target", ["service_app:app", "service_app:wsgi"])
def test_lines_of_a_format(serve: Start, target: str) -> None:
    command = serve("--access-log-format", "%(worker)s %(method)s %(status)d", target=target)
    assert ask(command.url())[0] == 200
    command.read_until(r"^\S+ 0 GET 200$")
    assert command.stop(signal.SIGTERM)[0] == 0


def test_a_format_with_an_unknown_atom(serve: Start) -> None:
    status, _, errors = serve("--access-log-format", "%(statsu)s").end()
    assert status == 2
    assert errors.startswith("webfw: --access-log-format: ")
    assert "status" in errors


def test_logs_in_files(serve: Start, tmp_path: Path) -> None:
    command = serve("--access-log", str(tmp_path / "access"), "--error-log", str(tmp_path / "errors"))
    url = command.url()
    assert ask(url)[0] == 200
    (tmp_path / "access").rename(tmp_path / "access.1")
    command.process.send_signal(signal.SIGUSR1)
    while not (tmp_path / "access").exists():
        time.sleep(0.01)
    deadline = time.monotonic() + 20
    while '"GET /again' not in (tmp_path / "access").read_text():
        assert ask(url, "/again")[0] == 404
        assert time.monotonic() < deadline
    assert '"GET / HTTP/1.1" 200' in (tmp_path / "access.1").read_text()
    status, output, errors = command.stop(signal.SIGTERM)
    assert (status, errors) == (0, "")
    assert "GET" not in output


def test_ids_of_a_trusted_peer(serve: Start) -> None:
    command = serve("--request-id", "--xheaders", target="service_app:wsgi")
    url = command.url()
    assert ask(url, X_Request_ID="mine-1")[1] == "mine-1"
    assert re.fullmatch(r"\S{8,}", ask(url)[1])
    assert command.stop(signal.SIGTERM)[0] == 0


def test_a_proxy_that_is_believed(serve: Start) -> None:
    command = serve("--xheaders", "--trusted-downstream", "10.0.0.1")
    assert ask(command.url(), X_Forwarded_For="1.2.3.4, 10.0.0.1")[1].endswith(" 1.2.3.4")
    assert command.stop(signal.SIGTERM)[0] == 0


def test_limits(serve: Start) -> None:
    command = serve("--max-body-size", "10", "--max-header-size", "2KiB")
    url = command.url()
    assert ask(url, method="POST", body=b"x" * 10)[1] == "10"
    assert ask(url, method="POST", body=b"x" * 11)[0] == 413
    assert ask(url, X_Long="x" * 3000)[0] == 431
    assert command.stop(signal.SIGTERM)[0] == 0


def test_a_request_that_runs_is_answered_after_its_time_it_is_cut(serve: Start) -> None:
    command = serve("--graceful-timeout", "0.2")
    place = urlsplit(command.url())
    with socket.create_connection((place.hostname, place.port), timeout=20) as client:
        client.sendall(b"GET /wait/30 HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.5)
        status, _, errors = command.stop(signal.SIGTERM)
        assert client.recv(1000) == b""
    assert status == 0
    assert "connections cut that were busy after 0.2 seconds: 1" in errors


@pytest.mark.slow
def test_it_still_accepts_for_a_while(serve: Start) -> None:
    command = serve("--drain-delay", "1")
    url = command.url()
    command.process.send_signal(signal.SIGTERM)
    assert ask(url)[0] == 200
    assert command.end()[0] == 0


# --- what can be asked of it ---


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@pytest.mark.slow
def test_health_and_readiness_of_an_address_of_their_own(serve: Start, free_port: int) -> None:
    admin = f"http://127.0.0.1:{free_port}"
    command = serve("--admin", f"127.0.0.1:{free_port}", "--drain-delay", "1")
    url = command.url()
    assert ask(admin, "/healthz")[0] == 200
    assert ask(admin, "/readyz")[0] == 200
    assert ask(url, "/healthz")[0] == 404
    command.process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + 20
    while ask(admin, "/readyz")[0] == 200:
        assert time.monotonic() < deadline
    assert ask(url)[0] == 200  # not ready any more, but it answers
    assert command.end()[0] == 0


@pytest.mark.slow
def test_a_reload_is_ready_all_the_time(serve: Start, free_port: int) -> None:
    admin = f"http://127.0.0.1:{free_port}"
    command = serve("--admin", f"127.0.0.1:{free_port}")
    command.url()
    command.process.send_signal(signal.SIGHUP)
    end = time.monotonic() + 2
    seen = set()
    while time.monotonic() < end:
        try:
            seen.add(ask(admin, "/readyz")[0])
        except ConnectionResetError:  # it was accepted by the one that goes
            pass
    assert seen == {200}
    assert command.stop(signal.SIGTERM)[0] == 0


def test_health_on_the_main_addresses(serve: Start) -> None:
    command = serve("--health", target="service_app:wsgi")
    url = command.url()
    assert ask(url, "/readyz")[0] == 200
    assert ask(url)[1] == "none"
    assert command.stop(signal.SIGTERM)[0] == 0


def test_metrics_are_summed_over_the_workers(serve: Start, free_port: int) -> None:
    pytest.importorskip("prometheus_client")
    command = serve("--metrics", "--admin", f"127.0.0.1:{free_port}", "--workers", "2", "--reuse-port")
    url = command.url()
    for _ in range(20):
        assert ask(url)[0] == 200
    deadline = time.monotonic() + 20
    while True:
        text = ask(f"http://127.0.0.1:{free_port}", "/metrics")[1]
        counted = [line for line in text.splitlines() if line.startswith("webfw_http_requests_total{")]
        if sum(float(line.split()[-1]) for line in counted) == 20:
            break
        assert time.monotonic() < deadline, counted
        time.sleep(0.05)
    assert any('route="/"' in line for line in counted)
    assert command.stop(signal.SIGTERM)[0] == 0


def test_lines_and_metrics_of_three_kinds(webfw_command: Start, tmp_path: Path, free_port: int) -> None:
    """What has no routes that webfw knows goes by the path it is mounted at."""
    pytest.importorskip("prometheus_client")
    (tmp_path / "service_app.py").write_text(
        APP + "async def asgi(scope, receive, send):\n"
        "    assert scope['type'] == 'http'\n"
        "    await send({'type': 'http.response.start', 'status': 201, 'headers': []})\n"
        "    await send({'type': 'http.response.body', 'body': dict(scope['headers'])[b'x-request-id']})\n"
    )
    (tmp_path / "webfw.toml").write_text(
        'app = "service_app:app"\nbind = "127.0.0.1:0"\nrequest-id = true\nmetrics = true\n'
        f'admin = "127.0.0.1:{free_port}"\naccess-log-format = "%(route)s %(target)s %(status)d %(request_id)s"\n'
        '[[apps]]\napp = "service_app:wsgi"\npath = "/shop"\n'
        '[[apps]]\napp = "service_app:asgi"\npath = "/api"\nhost = "*.example"\n'
    )
    command = webfw_command("serve", cwd=tmp_path)
    url = command.url()
    for route, path, status in (("/", "/?x", 200), ("/shop", "/shop/a", 200), ("/api", "/api", 201)):
        answer = ask(url, path, Host="a.example")
        assert answer[0] == status
        line = command.read_until(r"(\S+) (\S+) (\d+) (\S+)$")
        assert line.groups() == (route, path, str(status), answer[1].split()[0])
    text = ask(f"http://127.0.0.1:{free_port}", "/metrics")[1]
    for route, status in (("/", 200), ("/shop", 200), ("/api", 201)):
        assert f'webfw_http_requests_total{{method="GET",route="{route}",status="{status}"}} 1.0' in text
    assert command.stop(signal.SIGTERM)[0] == 0


def test_metrics_need_an_address(serve: Start) -> None:
    status, _, errors = serve("--metrics").end()
    assert (status, errors) == (
        2,
        "webfw: --metrics: which address? write --admin 127.0.0.1:9100 for example\n",
    )


def test_spans_are_made(serve: Start) -> None:
    pytest.importorskip("opentelemetry")
    command = serve("--tracing")
    assert ask(command.url())[0] == 200
    assert command.stop(signal.SIGTERM)[0] == 0
