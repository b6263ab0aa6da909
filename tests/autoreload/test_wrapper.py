"""Tests of webfw.autoreload.wrapper: what a wrapped program sees, and when it runs again."""

import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.autoreload.programs import ROOT, Programs, running
from webfw.autoreload import main, sources, wrapper

WRAP = ("-m", "webfw.autoreload")


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    yield from running(tmp_path)


class Waited(Exception):
    """Stands for the wait that never returns; its argument is the files."""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """``run(*words)`` calls `main` in this process, with what it changes put back; in a directory of its own."""
    modules, main_module = set(sys.modules), sys.modules["__main__"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(sources, "_attempts", sources._Attempts())

    def wait(files: set[str]) -> None:
        raise Waited(files)

    monkeypatch.setattr(wrapper, "wait_for_change", wait)

    def call(*words: str) -> None:
        monkeypatch.setattr(sys, "argv", ["webfw.autoreload", *words])
        main()

    yield call
    sys.modules["__main__"] = main_module
    for name in set(sys.modules) - modules:
        del sys.modules[name]


# --- the command line ---


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "what is to be run"),
        (["--until-success"], "what is to be run"),
        (["-m"], "-m needs the name"),
        (["--nonsense", "a.py"], "unknown option --nonsense"),
    ],
)
def test_a_wrong_command_line(run: Any, words: list[str], message: str, capsys: Any) -> None:
    with pytest.raises(SystemExit) as caught:
        run(*words)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_help(run: Any, capsys: Any) -> None:
    with pytest.raises(SystemExit) as caught:
        run("--help")
    assert caught.value.code == 0
    assert "--until-success" in capsys.readouterr().out


# --- its end ---


def script(tmp_path: Path, text: str) -> str:
    (tmp_path / "script.py").write_text(text)
    return "script.py"


def test_a_program_that_ends_is_waited_for(run: Any, tmp_path: Path, capsys: Any) -> None:
    with pytest.raises(Waited):
        run(script(tmp_path, "import sys; print(sys.argv, __name__, __file__)"), "-m", "--help")
    out, err = capsys.readouterr()
    assert out == f"['script.py', '-m', '--help'] __main__ {tmp_path / 'script.py'}\n"
    assert err == "webfw.autoreload: script.py ended with status 0; it runs again after a change\n"


@pytest.mark.parametrize("text", ["", "raise SystemExit", "import sys; sys.exit(0)"])
def test_until_success(run: Any, tmp_path: Path, text: str) -> None:
    with pytest.raises(SystemExit) as caught:
        run("--until-success", script(tmp_path, text))
    assert caught.value.code == 0


@pytest.mark.parametrize("status", [130, 143])
def test_a_program_that_was_told_to_end_is_not_waited_for(run: Any, tmp_path: Path, status: int) -> None:
    with pytest.raises(SystemExit) as caught:
        run(script(tmp_path, f"raise SystemExit({status})"))
    assert caught.value.code == status


@pytest.mark.parametrize(
    ("text", "status", "said"),
    [
        ("raise SystemExit(3)", 3, ""),
        ("raise SystemExit('why')", 1, "why\n"),
        ("x = (", 1, "SyntaxError"),
        ("1/0", 1, "ZeroDivisionError"),
        ("raise BaseException('odd')", 1, "odd"),
    ],
)
def test_until_success_goes_on_after_a_failure(
    run: Any, tmp_path: Path, capsys: Any, text: str, status: int, said: str
) -> None:
    with pytest.raises(Waited) as caught:
        run("--until-success", script(tmp_path, text))
    error = capsys.readouterr().err
    assert said in error
    assert f"status {status}" in error
    assert str(tmp_path / "script.py") in caught.value.args[0]
    # The traceback begins in the program.
    assert "wrapper.py" not in error


def test_a_script_that_is_not_there(run: Any, tmp_path: Path, capsys: Any) -> None:
    with pytest.raises(Waited):
        run("no_such_script.py")
    assert "No such file" in capsys.readouterr().err


def test_a_failing_hook_is_no_end(
    run: Any, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "excepthook", lambda *args: {}["hook"])
    with pytest.raises(Waited):
        run(script(tmp_path, "1/0"))
    error = capsys.readouterr().err
    assert "KeyError: 'hook'" in error
    assert "ZeroDivisionError" in error


def test_sigint_ends_it_all(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit) as caught:
        run(script(tmp_path, "raise KeyboardInterrupt"))
    assert caught.value.code == 130

    def interrupted(files: set[str]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(wrapper, "wait_for_change", interrupted)
    with pytest.raises(SystemExit) as caught:
        run(script(tmp_path, ""))
    assert caught.value.code == 130


def test_a_closed_standard_error_is_no_end(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with pytest.raises(Waited):
        run(script(tmp_path, ""))


# --- what a program sees ---


def test_modules_that_could_not_be_imported_are_watched(run: Any, tmp_path: Path) -> None:
    (tmp_path / "quiet_failure.py").write_text("x = (")
    text = "try: import quiet_failure\nexcept SyntaxError: raise SystemExit(1) from None\n"
    with pytest.raises(Waited) as caught:
        run(script(tmp_path, text))
    assert str(tmp_path / "quiet_failure.py") in caught.value.args[0]


def test_a_module(run: Any, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "pack_of_one").mkdir()
    (tmp_path / "pack_of_one" / "__init__.py").write_text("")
    (tmp_path / "pack_of_one" / "__main__.py").write_text(
        "import sys; print(__name__, __package__, sys.argv)"
    )
    with pytest.raises(Waited) as caught:
        run("-m", "pack_of_one", "x", "-m")
    file = str(tmp_path / "pack_of_one" / "__main__.py")
    assert capsys.readouterr().out == f"__main__ pack_of_one {[file, 'x', '-m']}\n"
    assert file in caught.value.args[0]


def test_a_module_that_is_not_there(run: Any, tmp_path: Path, capsys: Any) -> None:
    with pytest.raises(Waited):
        run("-m", "no_such_module_at_all")
    assert "no_such_module_at_all" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["directory", "archive"])
def test_a_directory_and_an_archive(run: Any, tmp_path: Path, capsys: Any, kind: str) -> None:
    text = "import sys; print(__name__, sys.argv)"
    if kind == "directory":
        (tmp_path / "app").mkdir()
        (tmp_path / "app" / "__main__.py").write_text(text)
    else:
        with zipfile.ZipFile(tmp_path / "app", "w") as archive:
            archive.writestr("__main__.py", text)
    with pytest.raises(Waited):
        run("app", "x")
    assert capsys.readouterr().out == "__main__ ['app', 'x']\n"


LOOK = """
import sys
print(sys.argv, sys.path[0], __name__, __file__, __spec__ and __spec__.name, __package__, sys.flags.safe_path)
print(sorted(name for name in globals() if name != "__annotations__"))
print(sys.modules["__main__"].__dict__ is globals(), type(__loader__).__name__)
"""


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["-P"], ["-X", "dev"]])
@pytest.mark.parametrize("target", [["../place/look.py", "a"], ["-m", "look", "a"]])
def test_a_program_sees_what_it_sees_without(
    programs: Programs, options: list[str], target: list[str]
) -> None:
    programs.write("look.py", LOOK)
    place = programs.directory / ".." / "place"
    place.mkdir()
    (place / "look.py").write_text(LOOK)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(programs.directory)])}
    seen = [
        subprocess.run(
            [sys.executable, *options, *words, *target],
            cwd=programs.directory,
            env=env,
            capture_output=True,
            text=True,
            timeout=15,
        )
        for words in ([], [*WRAP, "--until-success"])
    ]
    assert seen[0].stdout
    assert seen[1].stdout == seen[0].stdout
    assert (seen[1].returncode, seen[1].stderr) == (0, "")


# --- as processes ---

TESTS = """
import unittest, subject
class Test(unittest.TestCase):
    def test(self):
        self.assertEqual(subject.X, 1)
"""


@pytest.mark.slow
@pytest.mark.parametrize("without_watchfiles", [False, True])
def test_tests_run_again(programs: Programs, without_watchfiles: bool) -> None:
    programs.write("test_subject.py", TESTS)
    programs.write("subject.py", "X = 1")
    program = programs.start(
        *WRAP, "-m", "unittest", "-q", "test_subject", without_watchfiles=without_watchfiles
    )
    program.errors_until("OK")
    program.errors_until("status 0")
    programs.write("subject.py", "X = 2")
    program.errors_until("AssertionError: 2 != 1")
    program.errors_until("status 1")
    programs.write("subject.py", "X = (")
    program.errors_until("SyntaxError")
    program.errors_until("runs again")
    programs.write("subject.py", "X = 1")
    program.errors_until("OK")
    program.errors_until("status 0")
    # Removed and put back, as some editors do.
    (programs.directory / "subject.py").unlink()
    programs.pause(0.1)
    (programs.directory / "subject.py").write_text("X = 3")
    program.errors_until("AssertionError: 3 != 1")
    program.errors_until("runs again")
    assert program.signal(signal.SIGTERM) == -signal.SIGTERM


@pytest.mark.slow
def test_a_change_while_the_program_runs_counts_at_its_end(programs: Programs) -> None:
    programs.write("subject.py", "X = 1")
    programs.write("run.py", "import subject, os, time\nprint('X', subject.X, flush=True)\n"
                   "while subject.X == 1 and not os.path.exists('go'): time.sleep(.01)\n")  # fmt: skip
    program = programs.start(*WRAP, "run.py")
    program.read_until("X 1")
    programs.write("subject.py", "X = 2")
    programs.write("go", "")
    program.read_until("X 2")
    program.errors_until("runs again")
    assert program.signal(signal.SIGINT) == 130


@pytest.mark.slow
def test_a_script_that_is_broken_from_the_start(programs: Programs) -> None:
    programs.write("run.py", "print('x'")
    program = programs.start(*WRAP, "--until-success", "run.py")
    program.errors_until("SyntaxError")
    program.errors_until("runs again")
    programs.write("run.py", "import sys; print('x'); sys.exit('not yet')")
    program.read_until("x")
    program.errors_until("not yet")
    program.errors_until("runs again")
    programs.write("run.py", "print('y')")
    program.read_until("y")
    assert program.end()[0] == 0


@pytest.mark.slow
def test_sigterm_ends_it_though_the_program_has_caught_it(programs: Programs) -> None:
    programs.write(
        "run.py", "import signal\nfor n in (signal.SIGINT, signal.SIGTERM): signal.signal(n, print)\n"
    )
    program = programs.start(*WRAP, "run.py")
    program.errors_until("runs again")
    # The line comes a moment before the handlers are put back: until then it only prints.
    while program.alive():
        program.process.send_signal(signal.SIGTERM)
        programs.pause(0.01)
    assert program.process.returncode == -signal.SIGTERM
