"""Django under ASGI, and Channels with groups, in memory and over Redis between two processes."""

import hashlib
import json
import os
import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

pytest.importorskip("django")
pytest.importorskip("channels")

from tests.asgi.real.site import wait_for
from tests.pubsub.conftest import RedisServer
from tests.wsgi.real.site import Visitor

ROOT = Path(__file__).resolve().parents[3]
BIG = random.Random(10).randbytes(1_000_000)


class Process:
    """The project on a server, in a process of its own."""

    def __init__(self, kind: str, directory: Path, redis: str = "") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.asgi.real.serve", kind, "tests.asgi.real.djangosite:application"],
            cwd=ROOT,
            env={**os.environ, "DJANGO_DIR": str(directory), "CHANNEL_REDIS": redis},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.kind = kind
        self.port = int(self.process.stdout.readline() or self.stop())
        self.visitor = Visitor(self.port)

    def stop(self) -> str:
        """End it; return what it has logged."""
        try:
            errors = self.process.communicate("", timeout=20)[1]
        except subprocess.TimeoutExpired:
            self.process.kill()
            errors = self.process.communicate()[1]
        assert self.process.returncode == 0, errors
        return errors

    def told(self) -> list[str]:
        events: list[str] = self.visitor.get("/told").json
        return events

    @contextmanager
    def socket(self, path: str, **options: Any) -> Iterator[ClientConnection]:
        url = f"ws://127.0.0.1:{self.port}{path}"
        options.setdefault("origin", url.replace("ws:", "http:").removesuffix(path))
        with connect(url, proxy=None, open_timeout=15, close_timeout=5, **options) as opened:
            yield opened


@pytest.fixture(scope="module")
def process(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    directory = tmp_path_factory.mktemp("django")
    (directory / "big.bin").write_bytes(BIG)
    process = Process(kind, directory)
    yield process
    process.visitor.connection.close()
    errors = process.stop()
    if kind == "webfw":
        # Django itself logs nothing here: its 500 has been asked for, and is no exception of ASGI's.
        assert "ERROR:webfw" not in errors, errors


@pytest.fixture
def visitor(process: Process) -> Iterator[Visitor]:
    with Visitor(process.port) as visitor:
        yield visitor


# --- views ---


def test_views(visitor: Visitor) -> None:
    answer = visitor.get("/")
    assert (answer.status, answer.text, answer.headers["X-Method"]) == (200, "home", "GET")
    assert answer.headers["Content-Length"] == "4"
    head = visitor.fetch("HEAD", "/")
    assert (head.status, head.body, head.headers["X-Method"]) == (200, b"", "HEAD")
    assert visitor.get("/thread").text == "no loop here"
    assert visitor.get("/none").status == 404
    assert visitor.get("/", Host="evil.example").status == 400
    broken = visitor.get("/broken")
    assert (broken.status, "Server Error" in broken.text) == (500, True)
    assert visitor.get("/").text == "home"


def test_what_a_request_says(visitor: Visitor, process: Process) -> None:
    path = "/said/gr%C3%B6%C3%9Fe/a%20b"
    answer = visitor.get(path + "?a=1&a=%C3%A4", X_One="1", Cookie="c=d").json
    assert answer == {
        "path": "/said/größe/a b",
        "rest": "größe/a b",
        "query": ["1", "ä"],
        "uri": f"http://127.0.0.1:{process.port}{path}?a=1&a=%C3%A4",
        "header": "1",
        "client": "127.0.0.1",
        "cookies": {"c": "d"},
    }


def test_streams(visitor: Visitor) -> None:
    answer = visitor.get("/stream?count=50")
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert answer.text == "".join(f"part {n}\n" for n in range(50))
    assert visitor.get("/stream/big").body == b"".join(bytes([n]) * 20_000 for n in range(20))


def test_streams_whose_clients_leave(process: Process) -> None:
    for n in range(20):
        with Visitor(process.port) as visitor:
            response = visitor.begin("GET", f"/stream?count=1000000&name={n}")
            assert response.readline() == b"part 0\n"
            response.close()
    wait_for(lambda: {f"stream {n} has ended" for n in range(20)} <= set(process.told()))


def test_a_client_that_leaves(process: Process) -> None:
    with closing(socket.create_connection(("127.0.0.1", process.port), 20)) as sock:
        sock.sendall(b"GET /wait HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        wait_for(lambda: "waits" in process.told())
    wait_for(lambda: "wait cancelled" in process.told())


def test_uploads(visitor: Visitor) -> None:
    files = {"small": ("größe.txt", b"small"), "big": ("big.bin", BIG)}
    found = visitor.upload("/upload", {"title": "ä & b"}, files).json
    digests = {name: hashlib.sha256(content).hexdigest() for name, (_, content) in files.items()}
    assert found == {
        "title": "ä & b",
        "small": ["größe.txt", 5, digests["small"], "TemporaryUploadedFile"],
        "big": ["big.bin", 1_000_000, digests["big"], "TemporaryUploadedFile"],
    }
    assert visitor.fetch("POST", "/body", b"x" * 150_000).json == {"size": 150_000}
    assert visitor.fetch("POST", "/body", b"x" * 250_000).status == 400


def test_forgery_and_sessions(visitor: Visitor) -> None:
    assert visitor.post("/form", {"a": "b"}).status == 403
    assert [visitor.get("/visits").json["visits"] for _ in range(3)] == [1, 2, 3]


def test_files(visitor: Visitor) -> None:
    answer = visitor.get("/download")
    assert answer.body == BIG
    assert answer.headers["Content-Disposition"] == "attachment; filename*=utf-8''gr%C3%B6%C3%9Fe.bin"
    assert visitor.get("/stream?count=100", Accept_Encoding="gzip").headers["Content-Encoding"] == "gzip"


# --- Channels ---


def said(opened: ClientConnection) -> Any:
    return json.loads(opened.recv(15))


def test_a_group(process: Process, visitor: Visitor) -> None:
    with process.socket("/rooms/lobby") as ada, process.socket("/rooms/lobby") as eve:
        assert said(ada) == said(eve) == {"joined": "lobby", "visits": None}
        ada.send(json.dumps({"name": "Ada", "text": "größer"}))
        assert said(ada) == said(eve) == {"name": "Ada", "text": "größer"}
        assert visitor.get("/tell/lobby?text=from+a+view").text == "told"
        assert said(ada) == said(eve) == {"name": "view", "text": "from a view"}
        eve.close(4001)
        wait_for(lambda: "left lobby with 4001" in process.told())
        ada.send(json.dumps({"leave": True}))
        with pytest.raises(ConnectionClosed):
            ada.recv(15)
        assert (ada.close_code, ada.close_reason) == (4000, "as you like")
    wait_for(lambda: "left lobby with 4000" in process.told())


def test_the_handshake_of_channels(process: Process, visitor: Visitor) -> None:
    visitor.get("/visits")
    cookies = "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())
    headers = {"Cookie": cookies}
    with process.socket("/rooms/a", subprotocols=["x", "chat"], additional_headers=headers) as opened:
        assert opened.subprotocol == "chat"
        assert said(opened) == {"joined": "a", "visits": 1}
    for path, options in (("/rooms/closed", {}), ("/echo", {"origin": "https://evil.example"})):
        with pytest.raises(InvalidStatus) as caught, process.socket(path, **options):
            pass
        assert caught.value.response.status_code == 403


def test_a_consumer_in_threads(process: Process) -> None:
    with process.socket("/echo") as opened:
        for message in ("größer", b"\0\xff", "x" * 100_000):
            opened.send(message)
            assert opened.recv(15) == message


def test_a_consumer_of_http(visitor: Visitor) -> None:
    answer = visitor.fetch("POST", "/channels/events", b"x" * 100_000)
    assert answer.headers["Content-Type"] == "text/event-stream"
    assert answer.text == "".join(f"data: {n}\n\n" for n in [*range(5), "100000 bytes"])


@pytest.mark.needs("redis-server")
@pytest.mark.slow
def test_groups_over_redis(kind: str, tmp_path: Path) -> None:
    """Two processes, one room."""
    pytest.importorskip("channels_redis")
    redis = RedisServer(tmp_path, False, ())
    processes: list[Process] = []
    try:
        processes += [Process(kind, tmp_path, redis.url) for _ in range(2)]
        first, second = processes
        with first.socket("/rooms/lobby") as ada, second.socket("/rooms/lobby") as eve:
            assert said(ada) == said(eve) == {"joined": "lobby", "visits": None}
            for n in range(20):
                ada.send(json.dumps({"name": "Ada", "text": str(n)}))
            for n in range(20):
                assert said(ada) == said(eve) == {"name": "Ada", "text": str(n)}
            with second.socket("/rooms/other") as other:
                assert said(other) == {"joined": "other", "visits": None}
                assert first.visitor.get("/tell/other?text=over+there").text == "told"
                assert said(other) == {"name": "view", "text": "over there"}
            eve.send(json.dumps({"name": "Eve", "text": "back"}))
            assert said(ada) == said(eve) == {"name": "Eve", "text": "back"}
    finally:
        for process in processes:
            process.visitor.connection.close()
            process.stop()
        redis.kill()
