"""Peers: their environment, who is named when he cannot take part, and how a server is started and stopped."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import peers
from bench.peers import Cast, Peer

#: A server that answers every GET with its last argument.
SERVER = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        body = sys.argv[2].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): pass
HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


def server(answer: str) -> Peer:
    return Peer("small", "http.server", lambda port: ["-c", SERVER, str(port), answer])


def test_a_server_runs_while_the_block_does() -> None:
    with peers.serving(server("Hello, world"), Path(sys.executable), None) as (pid, port):
        assert port > 0
        os.kill(pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_wrong_page_is_no_hello() -> None:
    with (
        pytest.raises(SystemExit, match="small answers 200 b'Goodbye'"),
        peers.serving(server("Goodbye"), Path(sys.executable), None),
    ):
        pass


def test_one_that_ends_says_why() -> None:
    broken = Peer("broken", "os", lambda port: ["-c", "raise ValueError('no such option')"])
    with (
        pytest.raises(SystemExit, match="(?s)broken does not serve: .*no such option"),
        peers.serving(broken, Path(sys.executable), None),
    ):
        pass


def test_what_cannot_be_imported_or_built_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def not_built() -> Path:
        raise SystemExit("floor needs a C compiler (apt-get install gcc)")

    monkeypatch.setattr(peers, "prepare", lambda: (Path(sys.executable), {}))
    cast = Cast()
    known = [
        Peer("absent", "no_such_module", lambda port: []),
        Peer("here", "json", lambda port: []),
        Peer("floor", "", lambda port: [], not_built),
    ]
    found = cast.available(known, ["absent", "here", "floor"], "hello")
    assert found == [(known[1], Path(sys.executable))]
    assert list(cast.left_out) == ["absent: hello", "floor: hello"]
    assert "No module named 'no_such_module'" in cast.left_out["absent: hello"]
    assert cast.left_out["floor: hello"] == "floor needs a C compiler (apt-get install gcc)"
    assert "left out: absent" in capsys.readouterr().err
    assert "left out: absent: hello (" in cast.absent()


def test_one_that_fails_is_noted_once_and_not_tried_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(peers, "prepare", lambda: (Path(sys.executable), {}))
    cast = Cast()
    tried = []

    def fail() -> None:
        tried.append(1)
        raise OSError("it has\n  died")

    assert cast.attempt("good", lambda: None)
    assert not cast.attempt("bad", fail)
    assert not cast.attempt("bad", fail)
    assert (tried, cast.left_out) == ([1], {"bad": "it has died"})
    assert capsys.readouterr().err == "left out: bad (it has died)\n"
    with pytest.raises(KeyboardInterrupt):
        cast.attempt("me", lambda: (_ for _ in ()).throw(KeyboardInterrupt()))


@pytest.fixture
def installing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """An environment in a folder of the test, whose pip fails for what is called bad; what it was asked to do."""
    asked: list[list[str]] = []

    def run(command: list[str], **options: object) -> "subprocess.CompletedProcess[str]":
        asked.append(command)
        if command[2] == "venv":
            (tmp_path / "venv" / "bin").mkdir(parents=True)
            (tmp_path / "venv" / "bin" / "python").touch()
        failed = any(word.startswith("bad") for word in command)
        return subprocess.CompletedProcess(command, int(failed), "", "  x\nERROR: no such pin\nnotice\n")

    (tmp_path / "pins").write_text("# the peers\ngood==1  # fine\n\nbad==2\n")
    monkeypatch.setattr(peers, "VENV", tmp_path / "venv")
    monkeypatch.setattr(peers, "ROOT", tmp_path)
    monkeypatch.setattr(peers, "REQUIREMENTS", tmp_path / "pins")
    monkeypatch.setattr(peers.subprocess, "run", run)
    return asked


def test_a_pin_that_cannot_be_installed_is_named_and_takes_no_other_with_it(
    installing: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    cast = Cast()
    assert cast.not_installed == {"bad==2": "ERROR: no such pin"}
    assert "could not be installed: bad==2 (ERROR: no such pin)" in capsys.readouterr().err
    assert [command[-1] for command in installing[1:]] == ["bad==2", "good==1", "bad==2"]
    Cast()
    assert sum(command[2] == "venv" for command in installing) == 1  # tried again, but not from the start


def test_an_environment_that_is_whole_is_left_alone(installing: list[list[str]]) -> None:
    peers.REQUIREMENTS.write_text("good==1\n")
    assert peers.prepare()[1] == {}
    asked = len(installing)
    assert peers.prepare() == (peers.VENV / "bin" / "python", {})
    assert len(installing) == asked
    peers.REQUIREMENTS.write_text("good==2\n")
    peers.prepare()
    assert len(installing) == asked + 1


def test_every_pin_is_exact() -> None:
    pins = peers.pins((Path(__file__).parents[2] / "bench" / "requirements.txt").read_text())
    assert [pin for pin in pins if pin.count("==") != 1] == []
    names = [pin.partition("==")[0].lower() for pin in pins]
    assert len(set(names)) == len(names)
    assert {"tornado", "uvicorn", "aiohttp", "granian", "hypercorn", "starlette", "fastapi"} <= set(names)
