"""Jupyter Server and the kernels it starts, both on webfw, used as a browser uses them."""

import base64
import hashlib
import json
import os
import re
import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.programs.drive import BY, PYTHON, Answer, Client, Program, eventually, free_port, on_webfw
from tests.programs.kernels import Channels, open_channels

pytestmark = pytest.mark.slow

TOKEN = "a-token-of-the-test"
NOTEBOOK = {
    "cells": [
        {
            "cell_type": "code",
            "execution_count": None,
            "id": "a",
            "metadata": {},
            "outputs": [],
            "source": "6 * 7",
        }
    ],
    "metadata": {},
    "nbformat": 4,
    "nbformat_minor": 5,
}


class Jupyter:
    """A running server, and a client that has its token."""

    def __init__(self, run_on_webfw: Callable[..., Program], directory: Path, *more: str) -> None:
        self.files = directory / "files"
        self.files.mkdir()
        kernel = directory / "data" / "kernels" / "webfw"
        kernel.mkdir(parents=True)
        argv = [str(PYTHON), *on_webfw("-m", "ipykernel_launcher", "-f", "{connection_file}")]
        spec = {"argv": argv, "display_name": "on webfw", "language": "python"}
        (kernel / "kernel.json").write_text(json.dumps(spec))
        self.program = run_on_webfw(
            *(
                "-m",
                "jupyter_server",
                "--ip=127.0.0.1",
                f"--port={free_port()}",
                "--no-browser",
                "--allow-root",
            ),
            f"--IdentityProvider.token={TOKEN}",
            f"--ServerApp.root_dir={self.files}",
            "--ZMQChannelsWebsocketConnection.iopub_data_rate_limit=1e9",
            *more,
            env={
                "JUPYTER_CONFIG_DIR": str(directory / "config"),
                "JUPYTER_DATA_DIR": str(directory / "data"),
                "JUPYTER_RUNTIME_DIR": str(directory / "runtime"),
                "IPYTHONDIR": str(directory / "ipython"),
                "SHELL": "/bin/sh",
            },
        )
        self.base = self.program.read_until(r"(http://127\.0\.0\.1:\d+/)\S*token=")[1]
        self.program.wait_for_port(self.base)  # which is open a moment later
        self.client = Client(self.base, {"Authorization": f"token {TOKEN}"})

    def start_kernel(self) -> str:
        answer = self.client("POST", "/api/kernels", json={"name": "webfw"})
        assert answer.status == 201, answer
        assert answer.headers["Location"] == f"/api/kernels/{answer.json['id']}"
        kernel: str = answer.json["id"]
        return kernel

    def channels_url(self, kernel: str) -> str:
        return self.base.replace("http:", "ws:") + f"api/kernels/{kernel}/channels"

    def channels(self, kernel: str, *, binary: bool = True) -> AbstractContextManager[Channels]:
        return open_channels(self.channels_url(kernel), self.client.headers, binary=binary)


@pytest.fixture(scope="module")
def jupyter(
    run_on_webfw: Callable[..., Program], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Jupyter]:
    server = Jupyter(run_on_webfw, tmp_path_factory.mktemp("jupyter"))
    yield server
    assert server.program.process.poll() is None, server.program.log


@pytest.fixture(scope="module")
def kernel(jupyter: Jupyter) -> str:
    """One kernel for the tests that leave it as it was."""
    return jupyter.start_kernel()


@pytest.fixture(autouse=True)
def _no_trouble(jupyter: Jupyter) -> Iterator[None]:
    yield
    assert jupyter.program.trouble() == [], jupyter.program.log


def running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()


# --- logging in ---


def hidden_field(page: Answer) -> str:
    match = re.search(r'name="_xsrf" value="([^"]+)"', page.text)
    assert match, page
    return match[1]


def test_the_door_is_closed_without_a_token(jupyter: Jupyter) -> None:
    visitor = Client(jupyter.base)
    assert visitor("GET", "/api/contents").status == 403
    assert visitor("GET", "/api/contents?token=wrong").status == 403
    assert visitor("GET", "/api/contents", headers={"Authorization": "token wrong"}).status == 403
    answer = visitor("GET", "/files/x")
    assert (answer.status, answer.headers["Location"]) == (302, "/login?next=%2Ffiles%2Fx")
    with pytest.raises(InvalidStatus) as refused:
        open_channels(jupyter.channels_url(str(uuid.uuid4())), {}, binary=True).__enter__()
    assert refused.value.response.status_code == 403


def test_who_logs_in_by_the_form_gets_a_cookie(jupyter: Jupyter) -> None:
    visitor = Client(jupyter.base)
    page = visitor("GET", "/login?next=%2Fapi%2Fstatus")
    assert page.status == 200
    assert page.headers["Content-Type"] == "text/html; charset=UTF-8"
    assert "Content-Security-Policy" in page.headers
    xsrf = hidden_field(page)
    assert visitor.cookie("_xsrf")

    # Without the field, with a wrong token, and with what is right.
    answer = visitor("POST", "/login?next=%2Fapi%2Fstatus", form={"password": TOKEN})
    assert (answer.status, "_xsrf" in answer.text) == (403, True)
    answer = visitor("POST", "/login?next=%2Fapi%2Fstatus", form={"password": "wrong", "_xsrf": xsrf})
    assert (answer.status, "Invalid credentials" in answer.text) == (401, True)
    assert visitor("GET", "/api/status").status == 403
    answer = visitor("POST", "/login?next=%2Fapi%2Fstatus", form={"password": TOKEN, "_xsrf": xsrf})
    assert (answer.status, answer.headers["Location"]) == (302, "/api/status")
    assert "HttpOnly" in answer.headers["Set-Cookie"]
    assert visitor("GET", "/api/status").status == 200

    # With the cookie comes the duty to prove that a request was meant.
    assert visitor("POST", "/api/contents", json={"type": "directory"}).status == 403
    xsrf = visitor.cookie("_xsrf") or ""
    answer = visitor("POST", "/api/contents", json={"type": "file"}, headers={"X-XSRFToken": xsrf})
    assert answer.status == 201
    path = "/api/contents/" + answer.json["path"]
    assert visitor("DELETE", path, headers={"X-XSRFToken": xsrf}).status == 204

    assert visitor("GET", "/logout").status == 200
    assert visitor("GET", "/api/status").status == 403


def test_the_token_in_an_address_logs_in_too(jupyter: Jupyter) -> None:
    visitor = Client(jupyter.base)
    assert visitor("GET", f"/api/status?token={TOKEN}").status == 200
    answer = visitor("GET", "/api/status")
    assert answer.status == 200
    assert answer.json["kernels"] >= 0


# --- files ---


def test_notebooks_are_made_renamed_saved_and_deleted(jupyter: Jupyter) -> None:
    client = jupyter.client
    answer = client("POST", "/api/contents", json={"type": "notebook"})
    assert (answer.status, answer.json["path"]) == (201, "Untitled.ipynb")
    assert answer.headers["Location"] == "/api/contents/Untitled.ipynb"
    # A name that has to be escaped on its way.
    name = "Größe 100%.ipynb"
    answer = client("PATCH", "/api/contents/Untitled.ipynb", json={"path": name})
    assert (answer.status, answer.json["name"]) == (200, name)
    path = "/api/contents/Gr%C3%B6%C3%9Fe%20100%25.ipynb"
    answer = client("PUT", path, json={"type": "notebook", "content": NOTEBOOK})
    assert answer.status == 200, answer
    assert json.loads((jupyter.files / name).read_text())["cells"][0]["source"] in ("6 * 7", ["6 * 7"])
    answer = client("GET", path)
    assert answer.json["content"]["cells"][0]["source"] == "6 * 7"
    answer = client("GET", "/api/contents")
    assert [file["name"] for file in answer.json["content"]] == [name]

    checkpoint = client("POST", path + "/checkpoints")
    assert checkpoint.status == 201, checkpoint
    assert client("PUT", path, json={"type": "notebook", "content": NOTEBOOK | {"cells": []}}).status == 200
    assert client("POST", f"{path}/checkpoints/{checkpoint.json['id']}").status == 204
    assert len(client("GET", path).json["content"]["cells"]) == 1

    answer = client("DELETE", path)
    assert (answer.status, answer.body) == (204, b"")
    answer = client("GET", path)
    assert (answer.status, "does not exist" in answer.text) == (404, True)
    answer = client("PATCH", path)
    assert (answer.status, answer.json["message"]) == (400, "JSON body missing")


def test_an_upload_of_megabytes_in_one_piece_and_in_several(jupyter: Jupyter) -> None:
    data = os.urandom(6_000_000)
    client = jupyter.client

    def put(piece: bytes, **more: Any) -> Answer:
        text = base64.b64encode(piece).decode()
        return client(
            "PUT", "/api/contents/big.bin", json={"type": "file", "format": "base64", "content": text, **more}
        )

    assert put(data).status == 201
    answer = client("GET", "/files/big.bin")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/octet-stream")
    assert hashlib.sha256(answer.body).digest() == hashlib.sha256(data).digest()

    pieces = [data[start : start + 2_500_000] for start in range(0, len(data), 2_500_000)]
    for number, piece in enumerate(pieces, 1):
        assert put(piece, chunk=number if number < len(pieces) else -1).status in (200, 201)
    assert (jupyter.files / "big.bin").read_bytes() == data
    assert client("DELETE", "/api/contents/big.bin").status == 204


def test_static_files_are_not_sent_twice(jupyter: Jupyter) -> None:
    path = "/static/style/bootstrap.min.css"
    first = jupyter.client("GET", path)
    assert (first.status, first.headers["Content-Type"]) == (200, "text/css")
    assert len(first.body) == int(first.headers["Content-Length"]) > 10_000
    # The program gives its static files no ETag, and its answers one.
    modified = first.headers["Last-Modified"]
    again = jupyter.client("GET", path, headers={"If-Modified-Since": modified})
    assert (again.status, again.body, again.headers["Last-Modified"]) == (304, b"", modified)
    tag = jupyter.client("GET", "/api/me").headers["Etag"]
    again = jupyter.client("GET", "/api/me", headers={"If-None-Match": f'"other", {tag}'})
    assert (again.status, again.body, again.headers["Etag"]) == (304, b"", tag)
    part = jupyter.client("GET", path, headers={"Range": "bytes=10-19"})
    assert (part.status, part.body) == (206, first.body[10:20])
    assert jupyter.client("GET", "/static/../../secret").status in (403, 404)

    # The page names its files by their content, and what is named so is kept for long.
    page = Client(jupyter.base)("GET", "/login")
    match = re.search(r'"(/static/[^"]+\?v=[0-9a-f]+)"', page.text)
    assert match, page
    answer = jupyter.client("GET", match[1])
    assert (answer.status, "Expires" in answer.headers) == (200, True)


def test_an_unknown_page_is_the_programs_own(jupyter: Jupyter) -> None:
    answer = jupyter.client("GET", "/nothing/here")
    assert (answer.status, "<title>Jupyter Server</title>" in answer.text) == (404, True)
    answer = jupyter.client("DELETE", "/api/status")
    assert answer.status == 405


def test_its_figures_say_how_requests_went(jupyter: Jupyter) -> None:
    """They are collected by a function in the settings, as a replacement of the access log."""
    answer = jupyter.client("GET", "/metrics")
    assert answer.status == 200
    assert re.search(
        r'^http_request_duration_seconds_count\{.*status_code="200"\} [1-9]', answer.text, re.MULTILINE
    )


# --- kernels ---


@pytest.mark.parametrize("binary", [True, False], ids=["v1", "json"])
def test_a_cell_runs_in_a_kernel(jupyter: Jupyter, kernel: str, binary: bool) -> None:
    assert [k["id"] for k in jupyter.client("GET", "/api/kernels").json] == [kernel]
    with jupyter.channels(kernel, binary=binary) as channels:
        outcome = channels.run("import sys\nprint('Grüße')\nprint('bad', file=sys.stderr)\n6 * 7")
        assert (outcome.output, outcome.errors, outcome.result) == ("Grüße\n", "bad\n", "42")
        assert outcome.reply["status"] == "ok"
        assert "execute_input" in outcome.kinds
        outcome = channels.run("1 / 0")
        assert (outcome.reply["status"], outcome.reply["ename"]) == ("error", "ZeroDivisionError")
        outcome = channels.run("print('x' * 3_000_000)")
        assert len(outcome.output) == 3_000_001


def test_the_kernel_is_on_webfw_too(jupyter: Jupyter, kernel: str) -> None:
    with jupyter.channels(kernel) as channels:
        outcome = channels.run(
            "import tornado.web, tornado; print(tornado.web.__name__, tornado.version_info[0])"
        )
        assert outcome.output == f"{BY} 6\n"
        # What an asynchronous cell awaits runs on the loop that also brings its messages.
        outcome = channels.run(
            "import asyncio, tornado.ioloop, tornado.gen\n"
            "await tornado.gen.sleep(0.01)\n"
            "tornado.ioloop.IOLoop.current().asyncio_loop is asyncio.get_running_loop()"
        )
        assert outcome.result == "True"


def test_two_windows_see_the_same_kernel(jupyter: Jupyter, kernel: str) -> None:
    with jupyter.channels(kernel) as one, jupyter.channels(kernel, binary=False) as other:
        other.run("None")  # what comes before Jupyter has connected it to the kernel, it does not see
        assert one.run("print('for both')").output == "for both\n"
        seen = ""
        while seen != "for both\n":
            message = other.receive()
            if message["header"]["msg_type"] == "stream":
                seen += message["content"]["text"]


def test_a_running_cell_is_interrupted(jupyter: Jupyter) -> None:
    kernel = jupyter.start_kernel()

    def interrupt(message: dict[str, Any]) -> None:
        if message["header"]["msg_type"] == "stream":
            assert jupyter.client("POST", f"/api/kernels/{kernel}/interrupt").status == 204

    with jupyter.channels(kernel) as channels:
        outcome = channels.run("import time\nprint('on its way', flush=True)\ntime.sleep(60)", interrupt)
        assert (outcome.reply["status"], outcome.reply["ename"]) == ("error", "KeyboardInterrupt")
        assert channels.run("'still here'").result == "'still here'"
    assert jupyter.client("DELETE", f"/api/kernels/{kernel}").status == 204


def test_a_kernel_is_restarted_and_shut_down(jupyter: Jupyter) -> None:
    kernel = jupyter.start_kernel()
    with jupyter.channels(kernel) as channels:
        first = int(channels.run("import os; x = 1; os.getpid()").result or 0)
        assert running(first)
        answer = jupyter.client("POST", f"/api/kernels/{kernel}/restart")
        assert (answer.status, answer.json["id"]) == (200, kernel)
    with jupyter.channels(kernel) as channels:
        assert channels.run("x").reply["ename"] == "NameError"
        second = int(channels.run("import os; os.getpid()").result or 0)
    assert second != first
    assert not running(first)
    assert running(second)
    assert jupyter.client("DELETE", f"/api/kernels/{kernel}").status == 204
    assert not running(second)
    assert jupyter.client("GET", f"/api/kernels/{kernel}").status == 404


# --- terminals ---


def test_a_terminal_runs_a_command(jupyter: Jupyter) -> None:
    answer = jupyter.client("POST", "/api/terminals")
    assert answer.status == 200, answer
    name = answer.json["name"]
    url = jupyter.base.replace("http:", "ws:") + f"terminals/websocket/{name}"
    with connect(url, additional_headers=jupyter.client.headers, open_timeout=20) as terminal:
        assert json.loads(terminal.recv(timeout=20))[0] == "setup"
        terminal.send(json.dumps(["set_size", 30, 100, 600, 1000]))
        terminal.send(json.dumps(["stdin", "stty size; echo $((6 * 7))-times\r"]))
        seen = ""
        while "42-times" not in seen:
            kind, text = json.loads(terminal.recv(timeout=20))
            assert kind == "stdout"
            seen += text
        assert "30 100" in seen
        assert jupyter.client("DELETE", f"/api/terminals/{name}").status == 204
        while json.loads(terminal.recv(timeout=20))[0] != "disconnect":
            pass
    assert jupyter.client("GET", "/api/terminals").json == []


# --- its end ---


def kernel_pid(server: Jupyter) -> int:
    with server.channels(server.start_kernel()) as channels:
        return int(channels.run("import os; os.getpid()").result or 0)


@pytest.mark.parametrize("way", ["SIGTERM", "request"])
def test_it_stops_and_leaves_no_kernel(
    run_on_webfw: Callable[..., Program], tmp_path: Path, way: str
) -> None:
    server = Jupyter(run_on_webfw, tmp_path)
    pid = kernel_pid(server)
    assert running(pid)
    if way == "SIGTERM":
        server.program.process.send_signal(signal.SIGTERM)
    else:
        assert server.client("POST", "/api/shutdown").status == 200
    assert server.program.end() == 0
    eventually(lambda: not running(pid), 5)
    # A signal is told as a critical message: that is the program's taste.
    assert server.program.trouble(r"received signal 15, stopping") == [], server.program.log
