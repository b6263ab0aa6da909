"""Tests of webfw.cli.static: the command as a process, from its first line to the signal; what it refuses."""

import http.client
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

Start = Callable[..., Any]


def get(url: str, path: str, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, body


def test_serves_a_directory(webfw_command: Start, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "hello.txt").write_text("hello")
    (tmp_path / "webfw.toml").write_text('bind = ["127.0.0.1:0"]\naccess_log = "off"\n')
    command = webfw_command("static", "site", "--bind", "127.0.0.1:0")
    url = command.read_until(
        rf"^webfw \S+ serving the files of {tmp_path}/site on (http://127\.0\.0\.1:\d+)$"
    )[1]
    assert get(url, "/hello.txt") == (200, b"hello")
    command.read_until('"GET /hello.txt HTTP/1.1" 200 5 ')
    assert b"hello.txt" in get(url, "/")[1]
    status, output, errors = command.stop(signal.SIGINT)
    assert (status, errors) == (0, "")
    assert output.endswith("webfw stopped\n")


def test_the_current_directory_and_spa(webfw_command: Start, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("app")
    command = webfw_command("static", "--spa", "--bind", "127.0.0.1:0")
    assert get(command.url(), "/any/page", Accept="text/html") == (200, b"app")
    assert command.stop(signal.SIGTERM)[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["none"], 2, "webfw: none does not exist\n"),
        (["file"], 2, "webfw: file is no directory\n"),
        ([".", "--spa"], 2, "webfw: --spa needs an index.html in .\n"),
        ([".", "--certfile", "none.pem"], 1, "webfw: --certfile none.pem: no such file or directory\n"),
    ],
)
def test_what_cannot_be_served(
    webfw_command: Start, tmp_path: Path, arguments: list[str], status: int, sentence: str
) -> None:
    (tmp_path / "file").write_text("")
    assert webfw_command("static", *arguments).end() == (status, "", sentence)
