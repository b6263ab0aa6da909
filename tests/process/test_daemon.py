"""Tests of webfw.process.daemon: real processes that go into the background, and files with their numbers."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from webfw.process import daemon as module
from webfw.process.controlclient import ControlClient
from webfw.process.daemon import Daemon, Pidfile, PidfileError, change_directory, set_umask

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 20.0

START = """
import atexit, os, signal, sys, time
from pathlib import Path
from webfw.process.daemon import daemonize
directory = Path(sys.argv[1])
atexit.register(lambda: (directory / "exits").open("a").write(f"{os.getpid()}\\n"))
def note(name, *words):
    (directory / (name + ".part")).write_text(" ".join(map(str, words)))
    os.rename(directory / (name + ".part"), directory / name)
def wait_for(name):
    while not (directory / name).exists():
        time.sleep(0.005)
print("before", end=" ", flush=False)
try:
    daemon = daemonize()
finally:
    (directory / "finally").open("a").write("x")
"""

#: What ends a daemon that a failing test has left.
LIFETIME = "signal.alarm(20)\n"


class Started:
    def __init__(self, directory: Path, script: str) -> None:
        self.directory = directory
        # In a session of its own, as with a terminal of its own.
        self.process = subprocess.Popen(
            [sys.executable, "-c", START + LIFETIME + script, str(directory)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def note(self, name: str) -> list[str]:
        deadline = time.monotonic() + PATIENCE
        path = self.directory / name
        while not path.exists():
            assert time.monotonic() < deadline, name
            time.sleep(0.005)
        return path.read_text().split()

    def go(self, name: str) -> None:
        (self.directory / name).touch()

    def end(self) -> tuple[int, str, str]:
        output, errors = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, output, errors


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    (tmp_path / "end").touch()


def gone(pid: int) -> bool:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True  # nobody reaps in some containers
        except OSError:
            return True
        time.sleep(0.005)
    return False


def test_the_command_ends_when_the_daemon_is_ready(directory: Path) -> None:
    started = Started(
        directory,
        "note('pid', os.getpid(), os.getsid(0), os.getppid())\n"
        "print('starting', flush=True)\n"
        "wait_for('go')\n"
        "print('ready')\n"
        "daemon.ready()\n"
        "daemon.ready()\n"
        "print('lost', flush=True); sys.stderr.write('lost\\n')\n"
        "note('streams', *(os.readlink(f'/proc/self/fd/{n}') for n in range(3)), repr(sys.stdin.read()))\n"
        "wait_for('end')\n"
        "daemon.ended(0)\n",
    )
    pid, session, parent = map(int, started.note("pid"))
    assert started.process.poll() is None
    assert pid not in (session, started.process.pid)
    assert started.process.pid not in (session, parent)
    assert os.getsid(pid) == session != os.getsid(0)
    started.go("go")
    assert started.end() == (0, "before starting\nready\n", "")
    assert gone(parent)
    assert started.note("streams") == ["/dev/null"] * 3 + ["''"]
    started.go("end")
    assert gone(pid)
    # Whoever waited has run nothing of what is the daemon's to run.
    assert started.note("exits") == [str(pid)]
    assert started.note("finally") == ["x"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "end", ["daemon.ended(3)\nsys.exit({})", "sys.exit({})", "daemon.ended(None)\nsys.exit({})"]
)
@pytest.mark.parametrize("status", [0, 3, 143])
def test_a_failure_is_told_on_the_terminal(directory: Path, status: int, end: str) -> None:
    started = Started(directory, "print('cannot', file=sys.stderr, end='')\n" + end.format(status))
    assert started.end() == (status, "before ", "cannot")


def test_a_daemon_that_is_killed(directory: Path) -> None:
    started = Started(directory, "os.kill(os.getpid(), signal.SIGKILL)\n")
    status, _, errors = started.end()
    assert status == 128 + signal.SIGKILL
    assert errors == "webfw: the process in the background was killed by SIGKILL before it was ready\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_is_interrupted_while_waiting_ends_the_daemon(directory: Path, number: int) -> None:
    started = Started(directory, "note('pid', os.getpid())\nwait_for('end')\n")
    (pid,) = map(int, started.note("pid"))
    started.process.send_signal(number)
    status, _, errors = started.end()
    assert status == 128 + number
    assert errors == ""
    assert gone(pid)


def test_a_daemon_that_nobody_waits_for_goes_on(directory: Path) -> None:
    started = Started(
        directory, "note('pid', os.getpid())\nwait_for('go')\ndaemon.ready()\nnote('well', 'yes')\n"
    )
    (pid,) = map(int, started.note("pid"))
    started.process.kill()
    started.process.wait()
    for stream in (started.process.stdout, started.process.stderr):
        assert stream is not None
        stream.close()  # the terminal is gone as well
    started.go("go")
    assert started.note("well") == ["yes"]
    assert gone(pid)


def test_a_supervisor_that_is_ready_makes_the_daemon_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tree:
        ready = False

    silenced: list[bool] = []
    monkeypatch.setattr(module, "silence", lambda: silenced.append(True))
    reader, writer = os.pipe()
    daemon, tree = Daemon(writer), Tree()
    daemon.turned()
    daemon.watch(tree)
    daemon.turned()
    assert not select.select([reader], [], [], 0)[0]
    tree.ready = True
    daemon.turned()
    daemon.turned()
    assert os.read(reader, 100) == b'{"ready": true}\n'
    assert os.read(reader, 100) == b""
    assert silenced == [True]
    daemon.forked()
    daemon.ended(3)
    assert silenced == [True]
    os.close(reader)


def test_a_worker_is_silent_and_lets_go(monkeypatch: pytest.MonkeyPatch) -> None:
    silenced: list[bool] = []
    monkeypatch.setattr(module, "silence", lambda: silenced.append(True))
    reader, writer = os.pipe()
    Daemon(writer).forked()
    assert os.read(reader, 100) == b""
    assert silenced == [True]
    os.close(reader)


# --- a whole tree ---


def tree(directory: Path, application: str) -> "subprocess.CompletedProcess[str]":
    (directory / "application.py").write_text(application)
    return subprocess.run(
        [sys.executable, "tests/process/tree.py", str(directory / "application.py"), "workers=2"],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "DAEMON": "1",
            "PIDFILE": str(directory / "pid"),
            "CONTROL": str(directory / "control"),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=50,
    )


def test_a_tree_in_the_background(directory: Path) -> None:
    done = tree(directory, "VERSION = 1")
    assert done.returncode == 0, done
    assert done.stdout.splitlines()[-1] == "all ready"
    pid = int((directory / "pid").read_text())
    with ControlClient(directory / "control") as client:
        status = client.ask("status")
        assert status["pid"] == pid
        workers = [worker["pid"] for worker in status["workers"]]
        for process in (pid, *workers):
            streams = [os.readlink(f"/proc/{process}/fd/{fd}") for fd in range(3)]
            assert streams == ["/dev/null"] * 3
        # A worker that is made later is no different.
        client.ask("workers", change="3")
        while len(workers := client.ask("status")["workers"]) < 3:
            pass
        assert os.readlink(f"/proc/{workers[-1]['pid']}/fd/1") == "/dev/null"
        assert client.ask("drain")["status"] == 0
    assert gone(pid)
    assert not (directory / "pid").exists()
    assert not (directory / "control").exists()


def test_a_tree_that_does_not_start_says_so_on_the_terminal(directory: Path) -> None:
    done = tree(directory, "raise ValueError('broken')")
    assert done.returncode == 3
    assert "ValueError: broken" in done.stdout
    assert not (directory / "pid").exists()
    assert not (directory / "control").exists()


def test_a_platform_without_background(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "fork")
    with pytest.raises(OSError, match="this platform has no background to go to"):
        module.daemonize()


# --- umask and directory ---


def test_umask() -> None:
    former = os.umask(0o22)
    try:
        set_umask("027")
        assert os.umask(0o22) == 0o27
        for text in ("9", "1000", "-1", ""):
            with pytest.raises(ValueError):  # noqa: PT011 - the sentence is the table's
                set_umask(text)
        assert os.umask(0o22) == 0o22
    finally:
        os.umask(former)


def test_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    change_directory(str(tmp_path))
    assert Path.cwd() == tmp_path
    with pytest.raises(ValueError, match="cannot work in the directory nowhere: no such file or directory"):
        change_directory("nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="cannot work in the directory file: not a directory"):
        change_directory("file")


# --- pidfile ---


@pytest.fixture
def other() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that lives."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


def dead() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_a_pidfile_from_begin_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    former = os.umask(0o77)
    try:
        pidfile = Pidfile("pid")
    finally:
        os.umask(former)
    monkeypatch.chdir(ROOT)  # where it is does not change with it
    assert (tmp_path / "pid").read_text() == f"{os.getpid()}\n"
    assert (tmp_path / "pid").stat().st_mode & 0o777 == 0o644
    assert [entry.name for entry in tmp_path.iterdir()] == ["pid"]
    pidfile.forked()
    pidfile.turned()
    assert pidfile.patience == 60.0
    pidfile.ended(0)
    assert list(tmp_path.iterdir()) == []
    pidfile.ended(0)


def test_a_pidfile_of_somebody_who_lives_is_respected(
    tmp_path: Path, other: "subprocess.Popen[bytes]"
) -> None:
    path = tmp_path / "pid"
    path.write_text(f"{other.pid}\n")
    sentence = f"process {other.pid}, which lives, is in the pidfile {path}: end it, or remove the file"
    with pytest.raises(PidfileError, match=sentence):
        Pidfile(str(path))
    assert path.read_text() == f"{other.pid}\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["pid"]


def test_a_process_of_another_user_lives_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    (tmp_path / "pid").write_text("1\n")
    with pytest.raises(PidfileError, match="process 1, which lives"):
        Pidfile(str(tmp_path / "pid"))


@pytest.mark.parametrize("content", ["dead", "own", "", "\n"])
def test_a_pidfile_of_nobody_is_replaced(tmp_path: Path, content: str) -> None:
    path = tmp_path / "pid"
    path.write_text({"dead": str(dead()), "own": str(os.getpid())}.get(content, content))
    Pidfile(str(path))
    assert path.read_text() == f"{os.getpid()}\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["pid"]


@pytest.mark.parametrize("content", ["import webfw\n", "0", "-5", "99999999999", "12 13", "x" * 100])
def test_a_file_that_is_none_is_not_lost(tmp_path: Path, content: str) -> None:
    path = tmp_path / "app.py"
    path.write_text(content)
    with pytest.raises(PidfileError, match=r"app\.py is no pidfile: remove it, or name another file"):
        Pidfile(str(path))
    assert path.read_text() == content


def test_places_where_no_pidfile_can_be(tmp_path: Path) -> None:
    with pytest.raises(PidfileError, match="cannot write the pidfile .*: no such file or directory"):
        Pidfile(str(tmp_path / "nowhere" / "pid"))
    with pytest.raises(PidfileError, match="cannot write the pidfile .*: is a directory"):
        Pidfile(str(tmp_path), upgrade=True)


def test_only_our_own_pidfile_is_removed(tmp_path: Path, other: "subprocess.Popen[bytes]") -> None:
    path = tmp_path / "pid"
    pidfile = Pidfile(str(path))
    path.write_text(str(other.pid))
    pidfile.ended(0)
    assert path.exists()
    path.write_text("something else")
    pidfile.ended(0)
    assert path.exists()


def test_another_process_does_not_remove_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pidfile = Pidfile(str(tmp_path / "pid"))
    monkeypatch.setattr(os, "getpid", lambda: 1)
    pidfile.ended(0)
    assert (tmp_path / "pid").exists()


def test_two_that_come_at_the_same_time(
    tmp_path: Path, other: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both find a dead process in the file; who writes last has it."""
    path = tmp_path / "pid"
    path.write_text(str(dead()))
    replace = os.replace

    def second(source: str, target: str) -> None:
        replace(source, target)
        path.write_text(str(other.pid))

    monkeypatch.setattr(os, "replace", second)
    with pytest.raises(PidfileError, match=f"process {other.pid}, which lives"):
        Pidfile(str(path))
    assert path.read_text() == str(other.pid)


def test_an_upgrade_has_a_file_beside_until_the_former_is_gone(
    tmp_path: Path, other: "subprocess.Popen[bytes]"
) -> None:
    path, beside = tmp_path / "pid", tmp_path / "pid.2"
    path.write_text(str(other.pid))
    pidfile = Pidfile(str(path), upgrade=True)
    assert path.read_text() == str(other.pid)
    assert beside.read_text() == f"{os.getpid()}\n"
    assert pidfile.patience == 1.0
    pidfile.turned()
    assert beside.exists()
    other.kill()
    other.wait()
    pidfile.turned()
    assert not beside.exists()
    assert path.read_text() == f"{os.getpid()}\n"
    pidfile.ended(0)
    assert list(tmp_path.iterdir()) == []


def test_an_upgrade_that_fails_leaves_the_former_file(
    tmp_path: Path, other: "subprocess.Popen[bytes]"
) -> None:
    path = tmp_path / "pid"
    path.write_text(str(other.pid))
    Pidfile(str(path), upgrade=True).ended(3)
    assert [entry.name for entry in tmp_path.iterdir()] == ["pid"]
    assert path.read_text() == str(other.pid)


def test_an_upgrade_beside_another_is_refused(tmp_path: Path, other: "subprocess.Popen[bytes]") -> None:
    for name in ("pid", "pid.2"):
        (tmp_path / name).write_text(str(other.pid))
    with pytest.raises(PidfileError, match=r"is in the pidfile .*pid\.2"):
        Pidfile(str(tmp_path / "pid"), upgrade=True)


def test_an_upgrade_without_a_former_file_needs_none_beside(tmp_path: Path) -> None:
    pidfile = Pidfile(str(tmp_path / "pid"), upgrade=True)
    assert pidfile.place == str(tmp_path / "pid")
    pidfile.ended(0)


def test_a_name_that_cannot_be_taken_yet_is_tried_again(
    tmp_path: Path, other: "subprocess.Popen[bytes]"
) -> None:
    path = tmp_path / "pid"
    path.write_text(str(other.pid))
    pidfile = Pidfile(str(path), upgrade=True)
    path.write_text("something else")
    pidfile.turned()
    assert pidfile.place == str(path) + ".2"
    path.unlink()
    pidfile.turned()
    assert pidfile.place == str(path)
    pidfile.ended(0)
