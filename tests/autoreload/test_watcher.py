"""Tests of webfw.autoreload.watcher: with a made-up file system and clock, and with real files."""

import os
import sys
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.autoreload import Watcher
from webfw.autoreload.watcher import PollingBell, Signature, signature_of


class Disk:
    """Files that are only signatures, and a bell by which a script of changes is played while the watcher sleeps."""

    def __init__(self, *names: str, quiet: float = 0.05) -> None:
        self.files: dict[str, Signature] = {}
        self.looks = 0
        self.slept: list[float] = []
        self.script: list[Callable[[], object]] = []
        self.quiet = quiet
        self.rings = True
        self.closed = False
        self.tick = 1000
        for name in names:
            self.write(name)

    def write(self, name: str, *, size: int = 1) -> None:
        self.tick += 1
        self.files[name] = Signature(self.tick, size, self.tick)

    def remove(self, name: str) -> None:
        del self.files[name]

    def signature(self, path: str) -> Signature | None:
        self.looks += 1
        return self.files.get(path)

    def wait(self, files: Collection[str], timeout: float) -> bool:
        self.slept.append(timeout)
        if self.script:
            self.script.pop(0)()
        return self.rings

    def close(self) -> None:
        self.closed = True

    def watcher(self, *names: str, interval: float = 0.5) -> Watcher:
        made = Watcher(modules=False, bell=self, signature=self.signature, interval=interval)
        for name in names:
            made.watch(name)
        return made


A, B = "/made/up/a.py", "/made/up/b.html"


def test_a_change_is_told_once() -> None:
    disk = Disk(A, B)
    watcher = disk.watcher(A, B)
    assert watcher.changed() == set()
    disk.write(A)
    assert watcher.changed() == {A}
    assert watcher.changed() == set()
    disk.write(A)
    disk.write(B)
    assert watcher.changed() == {A, B}
    assert len(watcher) == 2


def test_every_part_of_the_signature_counts() -> None:
    disk = Disk(A)
    watcher = disk.watcher(A)
    for part in ("mtime_ns", "size", "inode"):
        old = disk.files[A]
        disk.files[A] = old._replace(**{part: getattr(old, part) + 1})
        assert watcher.changed() == {A}


def test_a_file_that_is_replaced_is_told_when_it_is_back() -> None:
    disk = Disk(A)
    watcher = disk.watcher(A)
    kept = disk.files[A]
    disk.remove(A)
    assert watcher.changed() == set()
    disk.files[A] = kept  # the same as before: nothing has changed
    assert watcher.changed() == set()
    disk.remove(A)
    assert watcher.changed() == set()
    disk.write(A)
    assert watcher.changed() == {A}


def test_a_file_that_appears_has_changed() -> None:
    disk = Disk()
    watcher = disk.watcher(A)
    assert watcher.changed() == set()
    disk.write(A)
    assert watcher.changed() == {A}


def test_watching_twice_changes_nothing() -> None:
    disk = Disk(A)
    watcher = disk.watcher(A)
    disk.write(A)
    watcher.watch(A)
    assert watcher.changed() == {A}


def test_wait_sleeps_until_something_changes() -> None:
    disk = Disk(A)
    watcher = disk.watcher(A, interval=0.3)
    disk.script = [lambda: None, lambda: disk.write(A)]
    assert watcher.wait() == {A}
    assert disk.slept == [0.3, 0.3, 0.05]  # the last for what may come with it


def test_wait_lets_a_burst_of_changes_end() -> None:
    disk = Disk(A, B)
    watcher = disk.watcher(A, B)
    disk.script = [lambda: disk.write(A), lambda: disk.write(B), lambda: disk.write(A)]
    assert watcher.wait() == {A, B}
    assert not disk.script
    # Not for ever.
    disk.script = [lambda: disk.write(A)] * 1000
    assert watcher.wait() == {A}
    assert len(disk.script) > 900


def test_wait_with_a_bell_that_rings_when_all_is_quiet() -> None:
    disk = Disk(A, quiet=0)
    watcher = disk.watcher(A)
    disk.script = [lambda: disk.write(A), lambda: pytest.fail("slept once more")]
    assert watcher.wait() == {A}


def test_no_file_is_looked_at_while_the_bell_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(A, quiet=0)
    disk.rings = False
    watcher = disk.watcher(A)
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def second() -> None:
        assert disk.looks == looked
        now[0] += 1.0

    disk.write(A)
    watcher.changed()
    looked = disk.looks + 1  # at the start of wait()
    disk.script = [second, lambda: disk.write(A), second, second]
    # A file system that says nothing is asked every two seconds.
    assert watcher.wait() == {A}
    assert not disk.script


def test_wait_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(A)
    watcher = disk.watcher(A, interval=0.5)
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def sleep() -> None:
        now[0] += disk.slept[-1]

    disk.script = [sleep] * 9
    assert watcher.wait(1.2) == set()
    assert disk.slept == pytest.approx([0.5, 0.5, 0.2])
    disk.write(A)
    assert watcher.wait(0) == {A}


def test_close_ends_wait() -> None:
    disk = Disk(A)
    watcher = disk.watcher(A)
    disk.script = [watcher.close]
    assert watcher.wait() == set()
    assert disk.closed
    assert watcher.closed
    real = Watcher(modules=False, interval=60)
    thread = threading.Thread(target=real.wait)
    thread.start()
    real.close()
    thread.join(20)
    assert not thread.is_alive()
    assert real.wait() == set()


@given(
    st.lists(st.tuples(st.sampled_from(["write", "remove", "look"]), st.sampled_from([A, B])), max_size=30)
)
def test_any_order_of_writing_and_removing(steps: list[tuple[str, str]]) -> None:
    """At each look exactly those are told that are there and differ from when they were last there at a look."""
    disk = Disk(A, B)
    watcher = disk.watcher(A, B)
    known = dict(disk.files)
    for action, name in [*steps, ("look", A)]:
        if action == "write":
            disk.write(name)
        elif action == "remove":
            disk.files.pop(name, None)
        else:
            assert watcher.changed() == {one for one, now in disk.files.items() if known[one] != now}
            known |= disk.files


# --- modules and real files ---


def test_real_files(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("1")
    watcher = Watcher(modules=False)
    watcher.watch(path)
    watcher.watch(tmp_path / "later")
    assert watcher.changed() == set()
    other = tmp_path / "new"
    other.write_text("2")
    os.utime(other, ns=(0, os.stat(path).st_mtime_ns))
    os.replace(other, path)  # as editors do, and with the old time at that
    assert watcher.changed() == {str(path)}
    (tmp_path / "later").write_text("")
    assert watcher.changed() == {str(tmp_path / "later")}
    assert signature_of("nul\0byte") is None


def add_module(monkeypatch: pytest.MonkeyPatch, name: str, path: str) -> None:
    module = ModuleType(name)
    module.__file__ = path
    monkeypatch.setitem(sys.modules, name, module)


def test_modules_are_watched_from_when_they_are_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher = Watcher()
    watcher.changed()
    path = tmp_path / "late.py"
    path.write_text("")
    add_module(monkeypatch, "late_module", str(path))
    assert watcher.changed() == set()
    path.write_text("x = 1")
    assert watcher.changed() == {str(path)}


def test_modules_that_are_no_files_are_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []

    def signature(path: str) -> Signature | None:
        looked.append(path)
        return signature_of(path)

    inside = str(tmp_path / "archive.zip" / "module.py")
    add_module(monkeypatch, "zipped_module", inside)
    watcher = Watcher(signature=signature)
    watcher.changed()
    watcher.changed()
    assert looked.count(inside) == 1


def test_a_module_that_is_being_replaced_at_the_first_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "moving.py"
    add_module(monkeypatch, "moving_module", str(path))
    watcher = Watcher()
    assert watcher.changed() == set()
    path.write_text("1")
    assert watcher.changed() == set()  # whether it is what was imported cannot be known here
    path.write_text("22")
    assert watcher.changed() == {str(path)}


def test_a_module_that_has_changed_since_it_was_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "main.py"
    path.write_text("")
    add_module(monkeypatch, "__main__", str(path))  # which the interpreter reads first of all
    modified = os.stat(path).st_mtime
    assert Watcher(since=modified - 1).changed() == {str(path)}
    assert str(path) not in Watcher(since=modified + 1).changed()


def test_a_file_that_has_changed_since_the_start(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("")
    modified = os.stat(path).st_mtime
    for since, loaded, expected in [(-1, True, {str(path)}), (1, True, set()), (-1, False, set())]:
        watcher = Watcher(modules=False, since=modified + since)
        watcher.watch(path, loaded=loaded)
        assert watcher.changed() == expected
        assert watcher.changed() == set()


def test_a_file_of_tomorrow_has_not_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes out of an archive, or from a machine whose clock is ahead, and would have changed at every start."""
    start = time.time()
    paths = [tmp_path / "main.py", tmp_path / "config"]
    for path in paths:
        path.write_text("")
        os.utime(path, (start, start + 86_400))
    add_module(monkeypatch, "__main__", str(paths[0]))
    watcher = Watcher(since=start)
    watcher.watch(paths[1], loaded=True)
    assert not watcher.changed() & set(map(str, paths))
    paths[0].write_text("x = 1")  # is a change
    assert str(paths[0]) in watcher.changed()


def test_the_polling_bell_always_rings() -> None:
    bell = PollingBell()
    assert bell.wait([], 0.0)
    bell.close()
    assert bell.wait([], 60.0)
