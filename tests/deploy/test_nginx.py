"""nginx in front of the process tree, on a port and on a unix socket, with the files of docs/deploy."""

import asyncio
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.drive import ROOT, Load, Server, until
from webfw.httpclient import HTTPRequest
from webfw.websocket import websocket_connect

pytestmark = [pytest.mark.slow, pytest.mark.needs("nginx", "wrk", "curl")]

SAMPLES = ROOT / "docs/deploy"

#: What is around the file on a machine: one process of nginx without privileges, that writes into its folder only.
AROUND = """
daemon off; pid nginx.pid; error_log errors.log warn; worker_processes 1; {user}
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include site.conf;
}}
"""

MEBIBYTE = 1 << 20


class Behind:
    """A server behind nginx.

    :param kind: ``tcp`` or ``unix``, which of the sample files.
    :param balanced: whether the lines for a load balancer are in force, with 127.0.0.1 for that.
    """

    def __init__(self, folder: Path, kind: str, balanced: bool = False) -> None:
        shutil.copy(ROOT / "tests/deploy/shop.py", folder)
        settings = (SAMPLES / f"webfw-{kind}.toml").read_text()
        conf = (SAMPLES / f"nginx-{kind}.conf").read_text()
        if balanced:
            settings = settings.replace(
                '# trusted_downstream = ["10.0.0.5"]', 'trusted_downstream = ["127.0.0.1"]'
            )
            conf = conf.replace("proxy_set_header X-Real-Ip $remote_addr;", "")
            conf = re.sub(r"# (proxy_set_header \S+ \S+;)", r"\1", conf)
        (folder / "webfw.toml").write_text(settings.replace('workers = "auto"', "workers = 2"))
        bind = "127.0.0.1:0" if kind == "tcp" else f"unix:{folder}/web.sock"
        self.server = Server(folder, [], target="", bind=bind)
        with socket.create_server(("127.0.0.1", 0)) as unused:
            self.port: int = unused.getsockname()[1]
        conf = conf.replace("127.0.0.1:8000", f"127.0.0.1:{self.server.place[1]}")
        conf = conf.replace("unix:/run/shop.sock", f"unix:{folder}/web.sock")
        conf = conf.replace("listen 80;", f"listen 127.0.0.1:{self.port};")
        (folder / "site.conf").write_text(conf)
        user = "user root;" if hasattr(os, "geteuid") and os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(AROUND.format(user=user))
        self.errors = folder / "errors.log"
        program = shutil.which("nginx")
        assert program
        self.nginx = subprocess.Popen([program, "-p", str(folder), "-c", "nginx.conf", "-e", "errors.log"])
        until(self._listens)

    def _listens(self) -> bool:
        assert self.nginx.poll() is None, self.errors.read_text()
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
        except ConnectionRefusedError:
            return False
        return True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def curl(self, path: str, *options: str) -> bytes:
        command = ["curl", "--silent", "--show-error", "--fail", *options, self.url + path]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=60).stdout

    def who(self, *options: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.curl("/", *options))
        return found

    def close(self) -> None:
        self.nginx.terminate()
        self.nginx.wait(30)
        self.server.kill()


@pytest.fixture(scope="module", params=["tcp", "unix"])
def behind(request: pytest.FixtureRequest) -> Iterator[Behind]:
    # The path of a unix socket may have a hundred bytes only.
    with tempfile.TemporaryDirectory() as folder:
        it = Behind(Path(folder), request.param)
        try:
            yield it
        finally:
            it.close()


def test_uploads(behind: Behind, tmp_path: Path) -> None:
    data = os.urandom(MEBIBYTE) * 50
    (tmp_path / "file").write_bytes(data)
    file = f"@{tmp_path}/file"
    expected = {"length": 50 * MEBIBYTE, "sha256": hashlib.sha256(data).hexdigest()}
    plain = ("-H", "Content-Type: application/octet-stream", "--data-binary", file)
    assert json.loads(behind.curl("/", *plain)) == expected
    assert json.loads(behind.curl("/", "-H", "Transfer-Encoding: chunked", *plain)) == expected
    streamed = json.loads(behind.curl("/upload", "--upload-file", f"{tmp_path}/file"))
    assert streamed.pop("pieces") > 50
    assert streamed == expected


def test_too_much_is_refused(behind: Behind, tmp_path: Path) -> None:
    with open(tmp_path / "file", "wb") as file:
        file.truncate(101 * MEBIBYTE)
    command = ["curl", "-s", "-o", os.devnull, "-w", "%{http_code}", "-T", str(tmp_path / "file"), behind.url]
    assert subprocess.run(command, stdout=subprocess.PIPE, timeout=60).stdout == b"413"


def test_streaming_down(behind: Behind) -> None:
    body = behind.curl("/download/50")
    assert len(body) == 50 * MEBIBYTE
    assert all(body[n * MEBIBYTE] == n == body[(n + 1) * MEBIBYTE - 1] for n in range(50))


async def test_websocket_echo(behind: Behind) -> None:
    request = HTTPRequest(behind.url.replace("http", "ws") + "/echo", headers={"Origin": behind.url})
    async with await websocket_connect(request) as connection:
        for message in ("hello", b"\x00" * 1_000_000, "bye"):
            await connection.write_message(message, binary=isinstance(message, bytes))
            assert await connection.read_message() == message


async def test_what_is_published_reaches_all_doors(behind: Behind) -> None:
    """Subscribers are at both workers, and nginx holds nothing back."""
    sockets = [await websocket_connect(behind.url.replace("http", "ws") + "/news") for _ in range(12)]
    for one in sockets:
        assert '"joined"' in str(await one.read_message())
    streams = []
    for _ in range(4):
        reader, writer = await asyncio.open_connection("127.0.0.1", behind.port)
        writer.write(f"GET /events HTTP/1.1\r\nHost: 127.0.0.1:{behind.port}\r\n\r\n".encode())
        await reader.readuntil(b'"joined": true')
        streams.append((reader, writer))
    pid = (await asyncio.to_thread(behind.curl, "/publish", "-d", "")).decode()
    for one in sockets:
        assert json.loads(str(await one.read_message()))["data"] == {"from": int(pid)}
        one.close()
        await one.wait_closed()
    for reader, writer in streams:
        await reader.readuntil(f'"from": {pid}'.encode())
        writer.close()
        await writer.wait_closed()


def test_who_asks(behind: Behind) -> None:
    who = behind.who()
    assert (who["ip"], who["protocol"], who["host"]) == ("127.0.0.1", "http", f"127.0.0.1:{behind.port}")


def test_nobody_can_say_that_he_is_somebody_else(behind: Behind) -> None:
    lies = [
        "X-Real-Ip: 192.0.2.1",
        "X-Forwarded-For: 192.0.2.1",
        "X-Scheme: https",
        "X-Forwarded-Proto: https",
    ]
    who = behind.who(*(word for lie in lies for word in ("-H", lie)))
    assert (who["ip"], who["protocol"]) == ("127.0.0.1", "http")


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_clients_behind_a_load_balancer(kind: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        behind = Behind(Path(folder), kind, balanced=True)
        try:
            # curl is the load balancer; before it a client that tells lies.
            who = behind.who("-H", "X-Real-Ip: 192.0.2.9", "-H", "X-Forwarded-For: 192.0.2.1, 198.51.100.7")
            assert who["ip"] == "198.51.100.7"
        finally:
            behind.close()


def test_connections_to_the_server_are_kept(behind: Behind) -> None:
    peers = [behind.who()["peer"] for _ in range(40)]
    if behind.server.place[1] == 0:
        pytest.skip("clients of unix sockets have no name to tell them apart by")
    assert len(set(peers)) < 12


POSTS = 'wrk.method = "POST"\nwrk.body = string.rep("x", 2000)\nwrk.headers["Content-Type"] = "text/plain"\n'


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_reloads_under_load(behind: Behind, method: str, tmp_path: Path) -> None:
    """No 502, also where nginx may not ask again (POST)."""
    (tmp_path / "post.lua").write_text(POSTS if method == "POST" else "")
    load = Load(behind.url + "/", 5, 16, "-s", str(tmp_path / "post.lua"))
    server = behind.server
    said = len(behind.errors.read_text())
    for _ in range(5):
        time.sleep(0.5)
        before = set(server.workers())
        server.send(signal.SIGHUP)
        until(lambda before=before: not before & set(server.workers()))  # type: ignore[misc]
    result = load.result()
    print(f"nginx, {method}: {result} in 5 reloads")
    assert result.failed == 0
    assert behind.errors.read_text()[said:] == ""


UNITS = {
    "tcp": [],
    "unix": ["--socket", "--bind", "unix:/run/shop.sock", "--unix-mode", "660", "--unix-owner", ":www-data"],
}


@pytest.mark.parametrize("kind", UNITS)
def test_the_sample_units_are_what_the_command_prints(kind: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / "tests/deploy/shop.py", tmp_path)
    shutil.copy(SAMPLES / f"webfw-{kind}.toml", tmp_path / "webfw.toml")
    command = [sys.executable, "-m", "webfw", "systemd-unit", "--user", "shop", *UNITS[kind]]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=env, check=True, stdout=subprocess.PIPE, text=True)
    assert sample(done.stdout, tmp_path) == (SAMPLES / f"shop-{kind}.service").read_text()


def sample(unit: str, directory: Path) -> str:
    """The unit as it is on a machine with everything in /srv/shop."""
    unit = unit.replace(f"{Path(sys.executable).parent}/", "/srv/shop/.venv/bin/")
    return unit.replace(str(directory), "/srv/shop")
