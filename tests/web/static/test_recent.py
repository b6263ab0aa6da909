"""What is kept of files that were served lately: for how long, and how much."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from webfw.web.static import recent
from webfw.web.static.recent import KEPT_FOR, MAX_FILE, OVERHEAD, UNCHANGED_FOR, Recent, Served

SMALL = b"hello world text\n"


class Clock:
    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.wall = 0.0
        patch.setattr(recent, "time", SimpleNamespace(monotonic=lambda: self.now, time=lambda: self.wall))

    def after(self, path: Path, seconds: float) -> None:
        """So long after a file was changed last."""
        self.wall = path.stat().st_ctime + seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def served(path: Path, content: bytes = SMALL) -> Served:
    return Served(str(path), {"Etag": '"x"'}, None, content)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file.txt"
    path.write_bytes(SMALL)
    return path


def test_a_file_is_kept_for_some_seconds(file: Path, clock: Clock) -> None:
    files = Recent()
    clock.after(file, UNCHANGED_FOR)
    files.keep("key", served(file), file.stat())
    found = files.find("key")
    assert found is not None
    assert found == (served(file), file.stat())
    assert files.find("other") is None
    clock.now += KEPT_FOR - 0.001
    assert files.find("key") is not None
    clock.now += 0.001
    assert files.find("key") is None
    assert (files._entries, files._size) == ({}, 0)


def test_a_file_that_has_just_been_changed_is_not_kept(file: Path, clock: Clock) -> None:
    # Another change within the same tick of the file system's clock could not be told.
    files = Recent()
    clock.after(file, UNCHANGED_FOR - 0.01)
    files.keep("key", served(file), file.stat())
    assert files.find("key") is None
    os.utime(file, (1, 1))  # which is a change too
    clock.after(file, 0)
    files.keep("key", served(file), file.stat())
    assert files.find("key") is None


def test_the_content_that_is_kept_is_bounded(file: Path, clock: Clock) -> None:
    clock.after(file, 60)
    status = file.stat()
    files = Recent(limit=100 + 3 * OVERHEAD)
    for number in range(5):
        files.keep(number, served(file, b"x" * 30), status)
    assert [number for number in range(5) if files.find(number)] == [2, 3, 4]
    files.keep(3, served(file, b"x" * 40), status)  # again: it is not counted twice
    assert files._size == 100 + 3 * OVERHEAD
    files.keep("all", served(file, b"x" * (100 + 2 * OVERHEAD)), status)
    assert list(files._entries) == ["all"]
    files.keep("more", served(file, b"x" * (101 + 2 * OVERHEAD)), status)
    assert list(files._entries) == ["all"]
    files.clear()
    assert (files._entries, files._size) == ({}, 0)
    files = Recent()
    files.keep("large", served(file, b"x" * (MAX_FILE + 1)), status)
    assert files.find("large") is None


def test_empty_files_count_too(file: Path, clock: Clock) -> None:
    clock.after(file, 60)
    files = Recent(limit=10 * OVERHEAD)
    for number in range(1000):
        files.keep(number, served(file, b""), file.stat())
    assert list(files._entries) == list(range(990, 1000))
