"""Tests of webfw.cli.check: what is printed, as JSON too, and the exit status."""

import json
import sys
from pathlib import Path

import pytest

from webfw.cli.main import main

APP = """
from webfw.web import Application, RequestHandler
class Page(RequestHandler):
    def get(self): ...
routes = [("/", Page), ("/x", Page)]
app = Application(routes)
bad = Application(routes, debug=True)
def wsgi(environ, start_response): ...
def function(request): ...
async def asgi(scope, receive, send): ...
def make_asgi(): return asgi
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "check_app.py").write_text(APP)
    return tmp_path


def test_nothing_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "check_app:app", "--workers", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "check_app:app: a native application, 2 routes, 1 handler"
    assert lines[1].startswith("settings: 1 of ")
    assert lines[2].startswith("limits: header_timeout 10, ")
    assert lines[3:] == ["nothing looks wrong"]


def test_a_warning_is_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "check_app:bad"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2].startswith("warning: check_app:bad: debug is on")
    assert lines[-1] == "1 warning"


def test_a_note_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "check_app:app", "--xheaders", "--bind", ":80"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2].startswith("note: --xheaders: ")
    assert lines[-1] == "nothing looks wrong"


def test_several(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    (place / "webfw.toml").write_text(
        '[[apps]]\napp = "check_app:wsgi"\npath = "/w"\nthreads = 3\n[[apps]]\napp = "check_app:function"\nhost = "h"\n'
        '[[apps]]\napp = "check_app:make_asgi"\npath = "/api"\nfactory = true\nlifespan = "on"\n'
    )
    assert main(["check"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "check_app:wsgi at /w: a WSGI application, 1 route, 3 threads",
        "check_app:function at h: a function of one request",
        "check_app:make_asgi at /api: an ASGI application, 1 route",
    ]
    assert lines[3].endswith(", file webfw.toml")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["check_app:none"], 2, "'check_app' has no attribute 'none'"),
        (["nonsense"], 2, "names no application"),
        ([], 2, "nothing to serve"),
        (["check_app:app", "--threads", "2"], 2, "--threads is for WSGI applications"),
        (
            ["check_app:wsgi", "--lifespan", "on"],
            2,
            "--lifespan is for ASGI applications, which check_app:wsgi",
        ),
        (["check_app:make_asgi"], 2, "check_app:make_asgi is a function without arguments; if it makes"),
        (["check_broken:app"], 3, "ZeroDivisionError"),
        (["check_app:app", "--certfile", "none.pem"], 1, "--certfile none.pem: no such file"),
        (["check_app:app", "--access-log-format", "%(nonsense)s"], 2, "access-log-format"),
        (["check_app:app", "--config", "none.toml"], 1, "none.toml: no such file"),
    ],
)
def test_errors(
    capsys: pytest.CaptureFixture[str], place: Path, arguments: list[str], status: int, message: str
) -> None:
    (place / "check_broken.py").write_text("1 / 0")
    assert main(["check", *arguments]) == status
    output, errors = capsys.readouterr()
    assert errors.startswith("error: ")
    assert message in errors
    assert "nothing looks wrong" not in output


def test_the_traceback_on_request(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    (place / "check_traceback.py").write_text("1 / 0")
    assert main(["check", "check_traceback:app", "--log-level", "debug"]) == 3
    assert "Traceback" in capsys.readouterr().err


def test_json(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    assert main(["check", "check_app:bad", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["status"] == 1
    assert found["applications"] == [
        {"target": "check_app:bad", "host": None, "path": "", "kind": "native", "routes": 2}
    ]
    assert found["limits"]["max_header_size"] == 65536
    assert [(finding["level"], finding["where"]) for finding in found["findings"]] == [
        ("warning", "check_app:bad")
    ]
    (place / "webfw.toml").write_text("nonsense = 1\n")
    assert main(["check", "check_app:bad", "--json"]) == 2
    output, errors = capsys.readouterr()
    assert errors == ""
    assert json.loads(output)["findings"][0]["level"] == "error"


def test_what_would_be_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "check_app:app", "--workers", "0", "--daemon"]) == 2
    assert capsys.readouterr().err == "error: --daemon needs a supervisor: not with --workers 0\n"
