"""Tests of webfw.observe.shared: who makes the directory, who joins it and who removes it."""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from webfw.observe.shared import VARIABLE, SharedDirectory
from webfw.process.identity import Identity

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="trees of processes are POSIX")


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield tmp_path
    os.environ.pop(VARIABLE, None)


def test_a_directory_of_its_own(temporary: Path) -> None:
    shared = SharedDirectory()
    assert os.environ[VARIABLE] == shared.path
    assert Path(shared.path).parent == temporary
    assert stat.S_IMODE(os.stat(shared.path).st_mode) == 0o700
    assert shared.slots.mine() == "0"
    shared.remove()
    assert VARIABLE not in os.environ
    assert os.listdir(temporary) == []


def test_the_tree_that_follows_goes_on_in_it(temporary: Path) -> None:
    former = SharedDirectory()
    assert former.slots.mine() == "0"
    successor = SharedDirectory()
    assert successor.path == former.path
    assert successor.slots.mine() == "1"
    former.remove()
    assert os.path.isdir(successor.path)
    successor.remove()
    assert os.listdir(temporary) == []


def test_the_one_that_follows_may_end_first(temporary: Path) -> None:
    former = SharedDirectory()
    successor = SharedDirectory()
    successor.remove()
    assert os.path.isdir(former.path)
    former.remove()
    assert os.listdir(temporary) == []


def test_a_directory_that_is_just_being_removed_is_not_joined(temporary: Path) -> None:
    from webfw.observe.slots import lock, open_lock

    former = SharedDirectory()
    os.close(former._fd)
    fd = open_lock(os.path.join(former.path, "tree.lock"), create=False)
    assert lock(fd)
    successor = SharedDirectory()
    assert successor.path != former.path
    os.close(fd)
    successor.remove()


def test_the_users_directory_is_used_and_kept(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = temporary / "theirs" / "metrics"
    monkeypatch.setenv(VARIABLE, str(theirs))
    shared = SharedDirectory()
    assert shared.path == str(theirs)
    shared.slots.mine()
    shared.remove()
    assert os.environ[VARIABLE] == str(theirs)
    assert theirs.is_dir()


def test_what_a_killed_supervisor_has_left_is_removed(temporary: Path) -> None:
    pid = os.fork()
    if pid == 0:
        SharedDirectory()
        os._exit(0)
    os.waitpid(pid, 0)
    (left,) = os.listdir(temporary)
    alive = SharedDirectory()
    assert left not in os.listdir(temporary)
    os.environ.pop(VARIABLE)
    other = SharedDirectory()
    assert os.path.isdir(alive.path)
    other.remove()
    alive.remove()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give it away")
def test_what_it_had_given_to_another_user_is_removed_too(temporary: Path) -> None:
    pid = os.fork()
    if pid == 0:
        SharedDirectory().hand_over(Identity(65534, 65534))
        os._exit(0)
    os.waitpid(pid, 0)
    (left,) = os.listdir(temporary)
    assert (temporary / left).stat().st_uid == 65534
    SharedDirectory().remove()
    assert os.listdir(temporary) == []


def test_what_is_somebody_elses_is_left(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    precious = temporary / "precious"
    precious.mkdir()
    (precious / "tree.lock").touch()
    (temporary / "webfw-metrics-link").symlink_to(precious)
    (temporary / "webfw-metrics-file").touch()
    (temporary / "webfw-metrics-unfinished").mkdir()
    (temporary / "other").mkdir()
    shared = SharedDirectory()
    shared.remove()
    left = ["other", "precious", "webfw-metrics-file", "webfw-metrics-link", "webfw-metrics-unfinished"]
    assert sorted(os.listdir(temporary)) == left
    foreign = temporary / "webfw-metrics-foreign"
    foreign.mkdir()
    (foreign / "tree.lock").touch()
    monkeypatch.setattr(os, "geteuid", lambda: foreign.stat().st_uid + 1)
    SharedDirectory().remove()
    assert foreign.is_dir()


def test_a_name_that_vanishes(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "listdir", lambda path: ["webfw-metrics-gone"])
    SharedDirectory().remove()


def test_gauges_of_a_predecessor_are_forgotten_and_counters_kept() -> None:
    shared = SharedDirectory()
    directory = Path(shared.path)
    for name in ("gauge_all_0.db", "gauge_livesum_0.db", "gauge_all_10.db", "counter_0.db", "histogram_0.db"):
        (directory / name).touch()
    assert shared.slots.mine() == "0"
    left = sorted(path.name for path in directory.glob("*.db"))
    assert left == ["counter_0.db", "gauge_all_10.db", "histogram_0.db"]
    shared.remove()


def test_processes_that_are_gone() -> None:
    class Shared(SharedDirectory):
        freed: list[str] = []

        def number_free(self, number: str) -> None:
            super().number_free(number)
            self.freed.append(number)

    shared = Shared()
    pid = os.fork()
    if pid == 0:
        shared.slots.mine()
        os._exit(0)
    os.waitpid(pid, 0)
    shared.clean()
    assert shared.freed == ["0"]
    shared.remove()


def test_workers_of_another_user(monkeypatch: pytest.MonkeyPatch, temporary: Path) -> None:
    given: list[Any] = []
    monkeypatch.setattr(Identity, "own", lambda self, path: given.append((self.uid, path)))
    shared = SharedDirectory()
    shared.slots.mine()
    shared.hand_over(None)
    shared.hand_over(Identity(os.geteuid(), os.getegid()))
    assert given == []
    shared.hand_over(Identity(12345, 12345))
    assert given == [(12345, shared.path)]
    assert stat.S_IMODE(os.stat(os.path.join(shared.path, "0.slot")).st_mode) == 0o644
    # A worker sets traps.
    elsewhere = temporary / "secret"
    elsewhere.touch(0o600)
    os.symlink(elsewhere, os.path.join(shared.path, "symbolic"))
    os.link(elsewhere, os.path.join(shared.path, "hard"))
    os.mkfifo(os.path.join(shared.path, "pipe"), 0o600)
    shared.hand_over(Identity(12345, 12345))
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o600
    assert stat.S_IMODE(os.stat(os.path.join(shared.path, "pipe")).st_mode) == 0o600
    shared.remove()
    assert elsewhere.exists()


def test_a_directory_that_cannot_be_made(monkeypatch: pytest.MonkeyPatch, temporary: Path) -> None:
    shutil.rmtree(temporary)
    with pytest.raises(FileNotFoundError):
        SharedDirectory()
