"""Tests of webfw.cli.main: which commands there are, and how they end."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import webfw
from webfw.cli.main import main

ROOT = Path(__file__).resolve().parents[2]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"webfw {webfw.version}\n"


def test_help_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "serve" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "webfw: the following arguments are required: COMMAND (see webfw --help)"),
        (["dance"], "invalid choice: 'dance'"),
        (["serve", "a:b", "--loud"], "webfw serve: unrecognized arguments: --loud (see webfw serve --help)"),
        (["serve", "a:b", "--wokers=2"], "unrecognized arguments: --wokers=2; did you mean --workers? (see"),
        (
            ["ctl", "reload", "--watch"],
            "webfw ctl reload: unrecognized arguments: --watch (see webfw ctl reload",
        ),
        (["serve", "a:b", "--log-level", "shout"], "debug, info, warning or error is wanted, not 'shout'"),
    ],
)
def test_wrong_options_are_one_sentence(
    capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    errors = capsys.readouterr().err
    assert sentence in errors
    assert errors.count("\n") == 1


def test_command_error_becomes_a_sentence_and_a_status(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, sentence in (
        (["serve"], "webfw: nothing to serve: name an application"),
        (["serve", "nothing"], "webfw: 'nothing' names no application"),
    ):
        assert main(arguments) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith(sentence)
        assert captured.err.count("\n") == 1


def test_interrupted_while_importing(webfw_command: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "cli_interrupted.py").write_text("raise KeyboardInterrupt\n")
    command = webfw_command("serve", "cli_interrupted:app", "--bind", "127.0.0.1:0", "--workers", "0")
    assert command.end() == (130, "", "")


@pytest.mark.slow
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", ["config", "completion bash"])
def test_a_reader_that_has_enough(command: str, unbuffered: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "webfw", *command.split()],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        timeout=50,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_python_m_webfw() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "webfw", "--version"], capture_output=True, text=True, cwd=ROOT, timeout=50
    )
    assert (done.returncode, done.stdout) == (0, f"webfw {webfw.version}\n")


def test_status_reaches_the_shell(webfw_command: Callable[..., Any]) -> None:
    status, output, errors = webfw_command("serve", "nothing").end()
    assert (status, output) == (2, "")
    assert "names no application" in errors
