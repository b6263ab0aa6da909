"""Tests of webfw.process.controlclient: against servers that answer, refuse, are gone, or talk nonsense."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from webfw.process import controlclient
from webfw.process.control import ControlError
from webfw.process.controlclient import ControlClient, find_servers

ROOT = Path(__file__).resolve().parents[2]

Answering = Callable[..., str]


@pytest.fixture
def answering(tmp_path: Path) -> Iterator[Answering]:
    """A server that takes a line and sends these bytes, each time a client comes."""
    servers: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def serve(
        server: socket.socket, answers: tuple[bytes, ...], heard: list[Any], go: threading.Event
    ) -> None:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection, connection.makefile("rb") as lines:
            for answer in answers:
                heard.append(json.loads(lines.readline()))
                go.wait(20)
                connection.sendall(answer)

    def start(
        *answers: bytes,
        heard: list[Any] | None = None,
        go: threading.Event | None = None,
        name: str = "control",
    ) -> str:
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(tmp_path / name))
        server.listen()
        if go is None:
            go = threading.Event()
            go.set()
        thread = threading.Thread(target=serve, args=(server, answers, [] if heard is None else heard, go))
        thread.start()
        servers.append(server)
        threads.append(thread)
        return str(tmp_path / name)

    yield start
    for server in servers:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
    for thread in threads:
        thread.join()


def test_questions_and_answers(answering: Answering) -> None:
    heard: list[Any] = []
    path = answering(b'{"ok":true,"n":1}\n{"ok":true,', b'"n":2}\n', heard=heard)
    with ControlClient(path) as client:
        assert client.ask("one")["n"] == 1
        assert client.ask("two", change="+1")["n"] == 2
    assert heard == [{"command": "one"}, {"command": "two", "change": "+1"}]


def test_who_waits_is_told_once(answering: Answering) -> None:
    go = threading.Event()
    told: list[bool] = []

    def waiting() -> None:
        told.append(True)
        go.set()

    with ControlClient(answering(b'{"ok":true}\n', go=go)) as client:
        assert client.ask("slow", waiting)["ok"]
    assert told == [True]


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (b'{"ok":false,"error":"the reason"}\n', "^the reason$"),
        (b"{}\n", "the server refuses, and does not say why"),
        (b"220 mail\n", "what answers at .*/control is no webfw server"),
        (b"[1]\n", "what answers at .*/control is no webfw server"),
        (b"\xff\n", "what answers at .*/control is no webfw server"),
        (b"", "the server at .*/control has gone without an answer, or it listens to its owner only"),
        (b"half", "has gone without an answer"),
    ],
)
def test_answers_that_are_none(answering: Answering, answer: bytes, sentence: str) -> None:
    with ControlClient(answering(answer)) as client, pytest.raises(ControlError, match=sentence):
        client.ask("status")


def test_an_answer_without_end(answering: Answering, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controlclient, "MAX_ANSWER", 1000)
    with (
        ControlClient(answering(b"x" * 2000)) as client,
        pytest.raises(ControlError, match="does not end its answer"),
    ):
        client.ask("status")


def test_a_server_that_is_gone_meanwhile(answering: Answering) -> None:
    sentence = r"the server at .* (is gone|has gone)"
    with ControlClient(answering()) as client, pytest.raises(ControlError, match=sentence):
        client.ask("status")


def test_nobody_is_there(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="no server is controlled at .*/nothing: there is no such socket"):
        ControlClient(tmp_path / "nothing")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(tmp_path / "stale"))
    with pytest.raises(
        ControlError, match="no server is controlled at .*/stale any more: its process is gone"
    ):
        ControlClient(tmp_path / "stale")
    with pytest.raises(ControlError, match="cannot use the control socket .*: .*too long"):
        ControlClient("/" + "x" * 200)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_no_permission(tmp_path: Path) -> None:
    path = f"/tmp/webfw-test-{os.getpid()}.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        os.chmod(path, 0o600)
        server.listen()
        script = (
            "import os, sys\n"
            "from webfw.process.controlclient import ControlClient\n"
            "os.setgid(65534); os.setuid(65534)\n"
            "try:\n    ControlClient(sys.argv[1])\nexcept Exception as error:\n    print(error)"
        )
        done = subprocess.run(
            [sys.executable, "-c", script, path], cwd=ROOT, capture_output=True, text=True, timeout=50
        )
    os.unlink(path)
    assert done.stdout == (
        f"no permission for the control socket {path}: only the server's owner and root may use it\n"
    )


def test_a_platform_without_unix_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "AF_UNIX")
    with pytest.raises(ControlError, match="this platform has no UNIX sockets"):
        ControlClient("/run/control")


def test_servers_are_found_and_what_the_dead_left_is_removed(answering: Answering, tmp_path: Path) -> None:
    answering(name="200.sock")
    answering(name="19.sock")
    answering(name="other.sock")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(tmp_path / "7.sock"))
    (tmp_path / "notes.txt").touch()
    found = find_servers([tmp_path / "nowhere", tmp_path])
    assert found == [str(tmp_path / "19.sock"), str(tmp_path / "200.sock")]
    assert not (tmp_path / "7.sock").exists()
    assert (tmp_path / "other.sock").exists()


def test_servers_are_looked_for_where_they_are_by_default(
    answering: Answering, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(name="5.sock")
    monkeypatch.setattr(controlclient, "directories", lambda: [tmp_path])
    assert find_servers() == [str(tmp_path / "5.sock")]
