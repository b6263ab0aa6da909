"""Tests of webfw.observe.slots: numbers of real processes, and what becomes of them."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from webfw.observe.slots import Slots, lock, open_lock

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="trees of processes are POSIX")

HOLD = """
import sys
from webfw.observe.slots import Slots
print(Slots(sys.argv[1]).mine(), flush=True)
sys.stdin.read()
"""


class Holder:
    """A process that has a number."""

    def __init__(self, directory: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.number = self.process.stdout.readline().strip()

    def end(self, number: int | None = None) -> None:
        if number is not None:
            self.process.send_signal(number)
        self.process.communicate()


def test_the_lowest_number_that_is_free(tmp_path: Path) -> None:
    slots = Slots(str(tmp_path))
    assert slots.mine() == slots.mine() == "0"
    one, two = Holder(tmp_path), Holder(tmp_path)
    assert (one.number, two.number) == ("1", "2")
    one.end(signal.SIGKILL)
    assert list(slots.abandoned()) == ["1"]
    again = Holder(tmp_path)
    assert again.number == "1"
    assert list(slots.abandoned()) == []
    two.end()
    again.end()
    assert sorted(slots.abandoned()) == ["1", "2"]
    slots.release()
    assert sorted(slots.abandoned()) == ["0", "1", "2"]
    slots.release()


def test_a_fork_has_a_number_of_its_own(tmp_path: Path) -> None:
    taken: list[str] = []
    slots = Slots(str(tmp_path), taken.append)
    assert slots.mine() == "0"
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writing, f"{slots.mine()} {taken}".encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(pid, 0)
    assert os.read(reading, 100) == b"1 ['0', '1']"
    os.close(reading)
    assert slots.mine() == "0"
    slots.release()


def test_a_fork_that_lives_on_does_not_keep_its_parents_number(tmp_path: Path) -> None:
    slots = Slots(str(tmp_path))
    slots.mine()
    reading, writing = os.pipe()
    waiting, going = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(going)
        os.write(writing, slots.mine().encode())
        os.read(waiting, 1)
        os._exit(0)
    assert os.read(reading, 10) == b"1"
    slots.release()
    assert list(slots.abandoned()) == ["0"]
    os.close(going)
    os.waitpid(pid, 0)
    for fd in (reading, writing, waiting):
        os.close(fd)


def test_threads_of_a_process_have_one_number(tmp_path: Path) -> None:
    slots = Slots(str(tmp_path))
    barrier = threading.Barrier(8)
    found: list[str] = []

    def ask() -> None:
        barrier.wait()
        found.append(slots.mine())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["0"] * 8
    assert os.listdir(tmp_path) == ["0.slot"]
    slots.release()


def test_a_number_is_not_taken_while_it_is_tidied_up(tmp_path: Path) -> None:
    Holder(tmp_path).end()
    for number in Slots(str(tmp_path)).abandoned():
        assert number == "0"
        other = Slots(str(tmp_path))
        assert other.mine() == "1"
        other.release()
        break


def test_other_files_are_none_of_its_business(tmp_path: Path) -> None:
    (tmp_path / "counter_0.db").write_bytes(b"")
    (tmp_path / "x.slot").symlink_to(tmp_path / "counter_0.db")
    with pytest.raises(OSError, match="x.slot"):
        list(Slots(str(tmp_path)).abandoned())


def test_a_file_that_is_gone_when_it_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "listdir", lambda path: ["0.slot"])
    assert list(Slots(str(tmp_path)).abandoned()) == []


def test_numbers_of_somebody_else_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A supervisor that is root has files that its workers cannot open."""
    former = os.open

    def denied(path: str, *args: int) -> int:
        if path.endswith("/0.slot"):
            raise PermissionError(13, "denied", path)
        return former(path, *args)

    (tmp_path / "0.slot").touch()
    monkeypatch.setattr(os, "open", denied)
    slots = Slots(str(tmp_path))
    assert slots.mine() == "1"
    slots.release()
    (tmp_path / "0.slot").unlink()
    with pytest.raises(PermissionError):  # it is the directory that cannot be written
        Slots(str(tmp_path)).mine()


def test_locks(tmp_path: Path) -> None:
    one, two = (open_lock(str(tmp_path / "file")) for _ in range(2))
    assert lock(one, shared=True)
    assert lock(two, shared=True)
    assert not lock(one)
    os.close(two)
    assert lock(one)
    os.close(one)
