"""Tests of webfw.autoreload.restart: what is done before the process is replaced; `exec` itself in test_reloader."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from webfw.autoreload import add_reload_hook, restart

pytestmark = pytest.mark.skipif(os.name == "nt", reason="nothing can be replaced here")

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[Any, ...]]]:
    """The calls of `os.execve`, which do nothing; hooks are forgotten at the end."""
    calls: list[tuple[Any, ...]] = []
    directory = os.getcwd()
    inheritable = {fd: os.get_inheritable(fd) for fd in restart._open_descriptors() if _is_open(fd)}
    monkeypatch.setattr(os, "execve", lambda *args: calls.append((*args, os.getcwd())))
    monkeypatch.setattr(restart, "_hooks", [])
    yield calls
    os.chdir(directory)
    for fd, before in inheritable.items():
        if _is_open(fd):
            os.set_inheritable(fd, before)


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def test_the_new_run_gets_what_the_old_one_got(
    executed: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    start = os.getcwd()
    monkeypatch.setattr(restart, "_directory", start)
    monkeypatch.setattr(restart, "_environment", {"GIVEN": "1"})
    monkeypatch.setenv("ADDED", "2")
    monkeypatch.chdir(tmp_path)
    restart.restart([sys.executable, "x.py"])
    assert executed == [(sys.executable, [sys.executable, "x.py"], {"GIVEN": "1"}, start)]


def test_hooks_run_in_order_and_may_fail(executed: list[tuple[Any, ...]], expect_log: Any) -> None:
    ran: list[int] = []
    add_reload_hook(lambda: ran.append(1))
    add_reload_hook(lambda: 1 / 0)
    add_reload_hook(lambda: ran.append(2 + len(executed)))
    with expect_log("webfw.application", "reload hook", count=1):
        restart.restart(["python"])
    assert ran == [1, 2]
    assert len(executed) == 1


def test_what_the_program_opened_is_not_passed_on(
    executed: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as opened, socket.socket() as given, socket.socket() as replaced:
        for one in (opened, given, replaced):
            one.set_inheritable(one is not given)
        noted = {given.fileno(): restart._identity(given.fileno()), replaced.fileno(): (0, 0)}
        monkeypatch.setattr(restart, "_given", noted)
        restart.restart(["python"])
        # What it was given is passed on, though the program has kept its own children from it.
        assert [one.get_inheritable() for one in (opened, given, replaced)] == [False, True, False]


def test_the_new_run_can_have_more(executed: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restart, "_environment", {"GIVEN": "1", "TURN": "1"})
    with socket.socket() as kept, socket.socket() as other:
        restart.restart(["python"], environ={"TURN": "2"}, keep=[kept.fileno()])
        assert [kept.get_inheritable(), other.get_inheritable()] == [True, False]
    assert executed[0][2] == {"GIVEN": "1", "TURN": "2"}


def test_output_is_flushed_and_may_be_broken(
    executed: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stream:
        flushed = 0

        def flush(self) -> None:
            self.flushed += 1

    class Broken:
        def flush(self) -> None:
            raise BrokenPipeError

    stream = Stream()
    monkeypatch.setattr(sys, "stdout", Broken())
    monkeypatch.setattr(sys, "stderr", stream)
    restart.restart(["python"])
    assert stream.flushed == 1
    monkeypatch.setattr(sys, "stdout", None)
    restart.restart(["python"])
    assert len(executed) == 2


def test_timers_do_not_outlive_the_program(executed: list[tuple[Any, ...]]) -> None:
    before = signal.getitimer(signal.ITIMER_REAL)
    signal.setitimer(signal.ITIMER_REAL, 3000)
    try:
        restart.restart(["python"])
        assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    finally:
        signal.setitimer(signal.ITIMER_REAL, *before)  # pytest-timeout's


def test_compiled_files_of_changed_sources_go(executed: list[tuple[Any, ...]], tmp_path: Path) -> None:
    cached = tmp_path / "__pycache__" / f"a.{sys.implementation.cache_tag}.pyc"
    cached.parent.mkdir()
    cached.write_text("")
    restart.restart(["python"], [str(tmp_path / "a.py")])
    assert not cached.exists()


def test_an_interpreter_that_is_gone_is_logged(monkeypatch: pytest.MonkeyPatch, expect_log: Any) -> None:
    monkeypatch.setattr(restart, "_hooks", [])
    monkeypatch.setattr(restart, "_open_descriptors", lambda: iter(()))
    before = signal.getitimer(signal.ITIMER_REAL)
    try:
        with expect_log("webfw.general", "/no/such/python cannot be started", count=1):
            restart.restart(["/no/such/python"])
    finally:
        signal.setitimer(signal.ITIMER_REAL, *before)


def test_a_directory_that_is_gone_and_no_list_of_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> Any:
        raise FileNotFoundError

    monkeypatch.setattr(os, "getcwd", refuse)
    assert restart._current_directory() is None
    monkeypatch.setattr(os, "listdir", refuse)
    assert list(restart._open_descriptors()) == []


def test_what_is_given_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "from webfw.autoreload import restart; print(sorted(restart._given))"
    with socket.socket() as given, socket.socket() as kept:
        given.set_inheritable(True)
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            pass_fds=[given.fileno()],
            capture_output=True,
            check=True,
            text=True,
        )
        assert done.stdout == f"[{given.fileno()}]\n"
        assert not kept.get_inheritable()


@pytest.mark.parametrize(
    ("script", "directory", "wrapped"),
    [
        ("/elsewhere/app.py", "/elsewhere", True),
        # Beside the script lies webfw itself: it is found from there, and from nowhere else perhaps.
        (str(ROOT / "app.py"), "/elsewhere", False),
        (str(ROOT / "app.py"), str(ROOT), True),
        (str(ROOT / "app.py"), None, False),
        (None, None, True),
    ],
)
def test_the_wrapper_must_be_found(
    script: str | None, directory: str | None, wrapped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["python", "app.py"])
    monkeypatch.setattr(sys.modules["__main__"], "__file__", script, raising=False)
    monkeypatch.setattr(restart, "_directory", directory)
    command = restart.command_line(wrap=True)
    assert command is not None
    assert ("webfw.autoreload" in command) is wrapped
