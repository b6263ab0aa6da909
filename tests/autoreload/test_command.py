"""Tests of webfw.autoreload.command: what the interpreter makes of a command line is the measure."""

import subprocess
import sys
from pathlib import Path

import pytest

from webfw.autoreload.command import Command, restart_command, split_command

PYTHON = sys.executable


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (["a.py"], Command((), "script", "a.py", ())),
        (["a.py", "-m", "x", "--", "-u"], Command((), "script", "a.py", ("-m", "x", "--", "-u"))),
        (["-m", "pkg.mod", "-v"], Command((), "module", "pkg.mod", ("-v",))),
        (["-mpkg", "x"], Command((), "module", "pkg", ("x",))),
        (["-um", "pkg"], Command(("-u",), "module", "pkg", ())),
        (["-uBmpkg"], Command(("-uB",), "module", "pkg", ())),
        (["-X", "dev", "-Wd", "a.py"], Command(("-X", "dev", "-W", "d"), "script", "a.py", ())),
        (["-uXdev", "-bW", "error", "a.py"], Command(("-uX", "dev", "-bW", "error"), "script", "a.py", ())),
        (["-I", "-O", "-O", "a.py"], Command(("-I", "-O", "-O"), "script", "a.py", ())),
        (["--check-hash-based-pycs", "always", "a"], Command(("--check-hash-based-pycs", "always"), "script", "a", ())),
        (["--help-all"], Command(("--help-all",), "input", "", ())),
        (["-c", "pass", "x"], Command((), "code", "pass", ("x",))),
        (["-uc", "pass"], Command(("-u",), "code", "pass", ())),
        (["-u", "-", "x"], Command(("-u",), "input", "", ("x",))),
        ([], Command((), "input", "", ())),
        (["--", "-a.py"], Command((), "script", "-a.py", ())),
        (["-m"], Command((), "module", "", ())),
    ],
)  # fmt: skip
def test_taken_apart(line: list[str], expected: Command) -> None:
    assert split_command([PYTHON, *line]) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (["a.py", "x"], ["-m", "webfw.autoreload", "--until-success", "a.py", "x"]),
        (
            ["-Xdev", "-m", "m", "x"],
            ["-X", "dev", "-m", "webfw.autoreload", "--until-success", "-m", "m", "x"],
        ),
        (["-m", "webfw.autoreload", "-m", "m"], ["-m", "webfw.autoreload", "-m", "m"]),
        (["-c", "pass", "x"], ["-c", "pass", "x"]),
    ],
)
def test_put_together(line: list[str], expected: list[str]) -> None:
    assert restart_command(["python", *line]) == [PYTHON, *expected]


def test_put_together_without_the_wrapper() -> None:
    assert restart_command(["python", "-Xdev", "a.py"], wrap=False) == [PYTHON, "-Xdev", "a.py"]


@pytest.mark.parametrize("line", [["python"], ["python", "-"], ["python", "-i"], []])
def test_what_was_typed_cannot_be_started_again(line: list[str]) -> None:
    assert restart_command(line) is None


def test_a_frozen_program_is_started_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert restart_command(["/opt/app", "-x"]) == ["/opt/app", "-x"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [["-uXdev"], ["-W", "error", "-X", "utf8=1"], ["-bbOOWd"], ["-I", "-S"], ["-X", "dev", "-sE", "-Wi"]],
)
def test_options_put_together_mean_the_same(options: list[str], tmp_path: Path) -> None:
    """The interpreter itself is asked, by a script that prints what it was given."""
    script = tmp_path / "script.py"
    script.write_text("import sys; print(sys.flags, sys.warnoptions, sys._xoptions, sys.argv[1:])")
    command = split_command([PYTHON, *options, str(script), "x", "-y"])
    runs = [
        subprocess.run([PYTHON, *words, str(script), "x", "-y"], capture_output=True, check=True).stdout
        for words in (options, command.options)
    ]
    assert runs[0] == runs[1]
    assert b"'x', '-y'" in runs[0]
