"""Tests of webfw.cli.completion: the scripts in the shells themselves, as far as these are installed."""

import argparse
import os
import re
import select
import subprocess
import time
from pathlib import Path

import pytest

from webfw.cli.completion import Values, _values
from webfw.cli.main import main


@pytest.fixture
def script(tmp_path: Path, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> Path:
    """The script for the shell that the test is about, in a directory with a few files."""
    shell = request.node.name.split("_")[1].partition("[")[0]
    assert main(["completion", shell]) == 0
    path = tmp_path / "webfw-completion"
    path.write_text(capsys.readouterr().out)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "deep").mkdir()
    (tmp_path / "server.pem").write_text("")
    (tmp_path / "two words.pem").write_text("")
    return path


COMMANDS = {"check", "completion", "config", "dev", "routes", "serve", "static"}

#: What is typed, and what is offered at least; a cross before what must not be.
CASES = [
    ("webfw ", [*sorted(COMMANDS)]),
    ("webfw se", ["serve", "xstatic"]),
    ("webfw serve --work", ["--workers", "x--umask"]),
    ("webfw dev --", ["--open-to-network", "--bind", "x--workers"]),
    ("webfw serve --log-level ", ["debug", "info", "warning", "error", "xserver.pem"]),
    ("webfw serve --log-level w", ["warning", "xdebug"]),
    ("webfw serve --workers ", ["auto"]),
    ("webfw serve --certfile s", ["server.pem"]),
    ("webfw serve --bind x --certfile tw", ["two words.pem"]),
    ("webfw serve --access-log ", ["off", "server.pem"]),
    ("webfw serve --app-dir s", ["site", "xserver.pem"]),
    ("webfw static s", ["site", "xserver.pem"]),
    ("webfw completion ", ["bash", "zsh", "fish"]),
    ("webfw config --no-pre", ["--no-preload"]),
    ("webfw static --s", ["--spa"]),
]


def compare(offered: set[str], expected: list[str]) -> None:
    offered = {word.rstrip("/") for word in offered}
    assert {word for word in expected if not word.startswith("x")} <= offered
    assert not {word[1:] for word in expected if word.startswith("x")} & offered


@pytest.mark.needs("bash")
@pytest.mark.parametrize(
    ("line", "expected"), [*CASES, ("webfw serve --log-level = w", ["warning", "xdebug"])]
)
def test_bash(script: Path, line: str, expected: list[str]) -> None:
    words = line.split(" ")  # as bash does it, which takes --flag=value apart
    program = f"""
source {script}
complete -p webfw >&2
COMP_WORDS=({" ".join(f"'{word}'" for word in words)})
COMP_CWORD={len(words) - 1}
_webfw
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(
        ["bash", "--norc", "-c", program],
        capture_output=True,
        text=True,
        cwd=script.parent,
        timeout=20,
        check=True,
    )
    assert done.stderr == "complete -F _webfw webfw\n"
    compare(set(done.stdout.splitlines()), expected)


@pytest.mark.needs("fish")
@pytest.mark.parametrize(("line", "expected"), CASES)
def test_fish(script: Path, line: str, expected: list[str]) -> None:
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"source {script}; complete -C '{line}'"],
        capture_output=True,
        text=True,
        cwd=script.parent,
        timeout=20,
        check=True,
        env={**os.environ, "HOME": str(script.parent), "XDG_CONFIG_HOME": str(script.parent)},
    )
    assert done.stderr == ""
    compare({word.partition("\t")[0] for word in done.stdout.splitlines()}, expected)


@pytest.mark.needs("zsh")
def test_zsh(script: Path) -> None:
    pty = pytest.importorskip("pty")
    done = subprocess.run(
        ["zsh", "-f", "-n", str(script)], capture_output=True, text=True, timeout=20, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(script.parent)
        os.execvpe(
            "zsh",
            ["zsh", "-f", "-i"],
            {**os.environ, "TERM": "dumb", "HOME": str(script.parent), "PS1": "> "},
        )
    try:
        setup = f"autoload -U compinit; compinit -u -D; unsetopt prompt_sp; source {script}; print rea''dy\n"
        os.write(fd, setup.encode())
        read_until(fd, "ready")
        for typed, shown in [
            ("webfw ser\t", "webfw serve "),
            ("webfw serve --log-level w\t", "--log-level warning"),
            ("webfw serve --log-level=w\t", "--log-level=warning"),
            ("webfw serve --workers a\t", "--workers auto"),
            ("webfw serve --certfile serv\t", "--certfile server.pem"),
            ("webfw serve --access-log of\t", "--access-log off"),
            ("webfw serve --error-log serv\t", "--error-log server.pem"),
            ("webfw static s\t", "webfw static site/"),
            ("webfw completion f\t", "completion fish"),
            ("webfw dev --open\t", "--open-to-network"),
        ]:
            os.write(fd, typed.encode())
            read_until(fd, shown)
            os.write(fd, b"\x15")  # take the line back
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(fd)


def read_until(fd: int, text: str) -> None:
    seen = ""
    end = time.monotonic() + 20
    while text not in seen:
        assert time.monotonic() < end, seen
        if select.select([fd], [], [], 0.2)[0]:
            seen += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", os.read(fd, 4096).decode("utf-8", "replace"))


@pytest.mark.parametrize(
    ("options", "values"),
    [
        ({"metavar": "FILE|-|off"}, Values(("-", "off"), "files")),
        ({"metavar": "DIRECTORY"}, Values((), "directories")),
        ({"metavar": "HOST:PORT"}, Values()),
        ({"choices": ["a", "b"]}, Values(("a", "b"))),
        ({}, Values()),
    ],
)
def test_what_may_stand_for_a_value(options: dict[str, object], values: Values) -> None:
    action = argparse.ArgumentParser().add_argument("--x", **options)  # type: ignore[arg-type]
    assert _values(action) == values


def test_an_unknown_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["completion", "tcsh"])
    assert "invalid choice: 'tcsh'" in capsys.readouterr().err
