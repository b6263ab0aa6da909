"""What bad clients do, against a server that takes it; and what is shown of it."""

import json
import math
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from bench import abuse, abuse_clients
from bench.abuse import Report, table
from bench.abuse_clients import SHAPES
from bench.peers import ROOT


@pytest.fixture
def sink() -> Iterator[socket.socket]:
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        taken: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    taken.append(listener.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept)
        thread.start()
        yield listener
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        for one in taken:
            one.close()


@pytest.mark.parametrize("name", [name for name in SHAPES if name != "websockets"])
def test_they_begin_and_go_on(sink: socket.socket, name: str) -> None:
    ones: list[abuse_clients.One] = []
    number = min(SHAPES[name].number, 3)
    steps = SHAPES[name].run(sink.getsockname()[1], ones, number)
    for _ in range(3):
        next(steps)
    if name == "resets":
        assert len(ones) >= 20
        assert all(one.closed for one in ones)
    else:
        assert len(ones) == number
        assert not any(one.closed for one in ones)
    for one in ones:
        one.socket.close()


def test_they_are_counted(sink: socket.socket) -> None:
    command = [sys.executable, "-m", "bench.abuse_clients", "heads", str(sink.getsockname()[1]), "5"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as others:
        assert others.stdout is not None
        assert others.stdout.readline() == "ready\n"
        said, _ = others.communicate(timeout=20)
    found = json.loads(said)
    assert (found["clients"], found["held"], found["received"]) == (5, 5, 0)
    assert found["sent"] >= 5 * len(b"GET / HTTP/1.1\r\nX: ")


def test_what_is_shown() -> None:
    report = Report([1.0, 2.0, 3.0], 1, [10 << 20, 30 << 20, 20 << 20], [8, 500, 8], 0.25, {"held": 7})
    row = report.figures()
    assert row["memory_most"] == 30 << 20
    shown = table(SHAPES["heads"], {"webfw": row, "other": row | {"back_after": None}})
    assert "| webfw | 1 of 4 | 2.0 | 3.0 | 3 | 10 | 30 | 20 | 500 | 0.2 s | 7 |" in shown
    assert "| never | 7 |" in shown
    assert math.isnan(Report(memory=[0], files=[0]).figures()["p99_ms"])


@pytest.mark.slow
def test_a_short_run(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if shutil.which("taskset") is None:
        monkeypatch.setattr(abuse, "two_cores", lambda: None)

    class Here:
        def available(self, peers: Any, chosen: Any) -> Any:
            from pathlib import Path

            return [(peer, Path(sys.executable)) for peer in peers if peer.name == "webfw"]

        def figures(self) -> dict[str, object]:
            return {}

        def absent(self) -> str:
            return ""

    monkeypatch.setattr(abuse, "Cast", Here)
    file = tmp_path / "figures.json"
    shapes = "heads,handshakes,websockets,upload"
    assert abuse.main(["--quick", "--seconds", "0.5", "--shapes", shapes, "--json", str(file)]) == 0
    found = json.loads(file.read_text())["shapes"]
    assert list(found) == shapes.split(",")
    for row in (rows["webfw"] for rows in found.values()):
        assert row["unanswered"] == 0
        assert row["back_after"] is not None
    assert found["heads"]["webfw"]["descriptors_most"] > 500
    assert "| webfw | 0 of " in capsys.readouterr().out
