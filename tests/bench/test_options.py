"""What the commands of the measurements share."""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench import cpu, fanout, http, options, websocket, wsgi


@dataclass
class Peer:
    name: str


def test_all_are_chosen_unless_some_are() -> None:
    made = options.parser("http", "What it does.\n\nMore.", "shortly")
    options.add_choice(made, "--peers", ["a", "b", "c"])
    found = made.parse_args([])
    assert (found.peers, found.quick, found.json.name) == (["a", "b", "c"], False, "bench-http.json")
    found = made.parse_args(["--quick", "--peers", "c,a", "--json", "x"])
    assert (found.peers, found.quick, found.json) == (["c", "a"], True, Path("x"))
    assert "What it does." in made.format_help()


def test_an_unknown_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    made = options.parser("http", None, "shortly")
    options.add_choice(made, "--peers", ["a", "b"])
    with pytest.raises(SystemExit):
        made.parse_args(["--peers", "a,x"])
    assert "unknown: x; there are a, b" in capsys.readouterr().err


def test_who_cannot_take_part_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    peers = [Peer("a"), Peer("b"), Peer("c")]
    found = options.able(peers, ["c", "a"], lambda peer: "not today" if peer.name == "c" else None)
    assert found == [peers[0]]
    assert capsys.readouterr().err == "left out: c (not today)\n"


def test_cores(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 1, 2})
    monkeypatch.setattr(cpu.shutil, "which", lambda name: "/bin/taskset")
    assert options.two_cores() == (1, 2)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3})
    assert options.two_cores() is None
    assert "one core only" in capsys.readouterr().err


def test_figures_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new" / "x.json"
    options.write(path, {"a": 1})
    assert json.loads(path.read_text()) == {"a": 1}
    assert str(path) in capsys.readouterr().err


def test_every_command_has_them() -> None:
    assert http.arguments(["--peers", "webfw"]).peers == ["webfw"]
    assert websocket.arguments(["--quick"]).quick
    assert wsgi.arguments(["--only", "sleep", "--peers", "webfw-8,granian"]).only == ["sleep"]
    assert fanout.arguments(["--brokers", "redis"]).brokers == ["redis"]
    with pytest.raises(SystemExit):
        fanout.arguments(["--rate", "0"])


def test_webfw_runs_with_our_interpreter(tmp_path: Path) -> None:
    found = http.available([http.PEERS[0]], ["webfw"], tmp_path / "python")
    assert found == [(http.PEERS[0], Path(sys.executable))]
