"""Tests of webfw.observe.counts: rows added up, and files of them."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.observe.counts import Rows, add, read, write

REQUESTS = ("requests", ("GET", "/"))


def test_rows_are_added_up() -> None:
    total: Rows = {}
    first: Rows = {REQUESTS: [1], ("times", ()): [1, 0, 0.5]}
    add(total, first)
    add(total, {REQUESTS: [2], ("times", ()): [0, 2, 0.25], ("other", ()): [7]})
    assert total == {REQUESTS: [3], ("times", ()): [1, 2, 0.75], ("other", ()): [7]}
    assert first == {REQUESTS: [1], ("times", ()): [1, 0, 0.5]}


def test_other_classes_give_way() -> None:
    total: Rows = {("times", ()): [1, 0, 0.5]}
    add(total, {("times", ()): [1, 2, 3, 4]})
    assert total == {("times", ()): [1, 2, 3, 4]}


@given(
    st.dictionaries(
        st.tuples(st.text(), st.lists(st.text()).map(tuple)),
        st.lists(st.integers() | st.floats(allow_nan=False, allow_infinity=False), min_size=1),
    )
)
def test_what_is_written_is_read(rows: Rows) -> None:
    path = f"/tmp/webfw-test-counts-{os.getpid()}"  # a fixture would be shared by all examples
    try:
        write(path, rows)
        assert read(path) == rows
        assert not os.path.exists(path + ".new")
    finally:
        os.unlink(path)


def test_names_to_leave_out(tmp_path: Path) -> None:
    path = str(tmp_path / "0.counts")
    write(path, {REQUESTS: [1], ("level", ()): [5]})
    assert read(path, but=["level"]) == {REQUESTS: [1]}


@pytest.mark.parametrize("data", [b"", b"{", b"7", b"[7]", b'[["a", 1, [1]]]', b"\xff"])
def test_files_that_are_none(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "file").write_bytes(data)
    assert read(str(tmp_path / "file")) == {}
    assert read(str(tmp_path / "missing")) == {}


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    """The supervisor may be root, and must neither wait nor follow."""
    os.mkfifo(tmp_path / "pipe")
    write(str(tmp_path / "0.counts"), {REQUESTS: [1]})
    (tmp_path / "link").symlink_to(tmp_path / "0.counts")
    for name in ("pipe", "link", "."):
        assert read(str(tmp_path / name)) == {}


def test_a_draft_of_a_process_that_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "0.counts"
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "0.counts.new").symlink_to(elsewhere)
    write(str(path), {REQUESTS: [1]})
    assert read(str(path)) == {REQUESTS: [1]}
    assert not elsewhere.exists()


def test_others_may_read_it_whatever_the_umask(tmp_path: Path) -> None:
    former = os.umask(0o077)
    try:
        write(str(tmp_path / "0.counts"), {})
    finally:
        os.umask(former)
    assert (tmp_path / "0.counts").stat().st_mode & 0o777 == 0o644


def test_a_directory_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write(str(tmp_path / "gone" / "0.counts"), {})
