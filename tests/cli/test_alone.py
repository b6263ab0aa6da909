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


def test_there_is_nobody_to_take_over(serve: Start) -> None:
    command = serve("--max-requests", "1", "--blocked-after", "0.1")
    place = urlsplit(command.url())
    for _ in range(3):
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=20)
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
        connection.close()
    assert command.stop(signal.SIGTERM)[0] == 0
