import mimetypes
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.web.static import files
from webfw.web.static.files import (
    PIECE,
    content_type_of,
    is_below,
    leads_out,
    read_pieces,
    read_slice,
    refused_on_windows,
    regular_file,
)


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("a.html", "text/html"),
        ("/x.y/A.CSS", "text/css"),
        ("a.png", "image/png"),
        ("a.wasm", "application/wasm"),
        ("a.avif", "image/avif"),
        ("a.webp", "image/webp"),
        ("a.mjs", "text/javascript"),
        ("a.woff2", "font/woff2"),
        ("a.tar.gz", "application/gzip"),
        ("a.tgz", "application/gzip"),
        ("a.js.br", "application/octet-stream"),
        ("a.txt.bz2", "application/octet-stream"),
        ("a", "application/octet-stream"),
        ("a.nosuchtype", "application/octet-stream"),
        (".html", "application/octet-stream"),
    ],
)
def test_content_type(name: str, content_type: str) -> None:
    assert content_type_of(name) == content_type


def test_the_tables_are_loaded_when_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mimetypes, "inited", False)
    assert content_type_of("a.html") == "text/html"
    assert mimetypes.inited


def test_types_can_be_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(mimetypes.types_map, ".nosuchtype", "x/y")
    assert content_type_of("a.nosuchtype") == "x/y"


# --- staying below the root ---


@pytest.mark.parametrize(
    ("root", "path", "below"),
    [
        ("/a", "/a", True),
        ("/a", "/a/b", True),
        ("/a", "/ab", False),
        ("/a/", "/a/b", True),
        ("/", "/a", True),
        ("/a", "/", False),
        ("/a", "", False),
    ],
)
def test_is_below(root: str, path: str, below: bool) -> None:
    assert is_below(root, path) is below


# Names that attack, beside any others.
PARTS = st.sampled_from(
    ["..", ".", "", "a", "dir", "link", "deep", "...", "~", "%2e%2e", "..\\", "\0", "c:"]
) | st.text(max_size=4)


@given(st.lists(PARTS, max_size=8), st.sampled_from(["/", "//", "\\"]), st.booleans())
def test_no_path_leads_out(parts: list[str], separator: str, absolute: bool) -> None:
    """Whatever the path, what passes both checks is really below the root."""
    root, outside = ROOTS
    path = separator.join(parts)
    if absolute:
        path = outside + "/" + path
    try:
        absolute_path = os.path.abspath(os.path.join(root, path))
        if is_below(root, absolute_path) and not leads_out(root, absolute_path):
            real = os.path.realpath(absolute_path)
            assert os.path.commonpath([os.path.realpath(root), real]) == os.path.realpath(root)
    except (ValueError, UnicodeEncodeError):
        pass  # a null character or a lone surrogate: no such file can be opened


@pytest.fixture(scope="module", autouse=True)
def _roots(tmp_path_factory: pytest.TempPathFactory) -> None:
    global ROOTS
    base = str(tmp_path_factory.mktemp("files"))
    root, outside = os.path.join(base, "root"), os.path.join(base, "outside")
    os.makedirs(os.path.join(root, "dir", "deep"))
    os.makedirs(os.path.join(outside, "deep"))
    Path(root, "a").write_text("a")
    Path(outside, "a").write_text("secret")
    os.symlink(outside, os.path.join(root, "link"))
    os.symlink(os.path.join(outside, "a"), os.path.join(root, "dir", "a"))
    os.symlink(os.path.join(root, "dir"), os.path.join(root, "dir", "link"))
    ROOTS = (root, outside)


ROOTS = ("", "")


def test_links(tmp_path: Path) -> None:
    root, outside = ROOTS
    assert not leads_out(root, root)
    assert not leads_out(root, f"{root}/a")
    assert not leads_out(root, f"{root}/nothing/here")
    assert leads_out(root, f"{root}/link")
    assert leads_out(root, f"{root}/link/a")
    assert leads_out(root, f"{root}/dir/a")
    assert not leads_out(root, f"{root}/dir/link/deep")
    assert leads_out(root, f"{root}/dir/link/a")
    assert not leads_out(root, f"{root}/link/a", allowed=outside)
    assert leads_out(root, f"{root}/link/a", allowed=str(tmp_path))
    # The root may itself be reached through a link.
    alias = tmp_path / "alias"
    alias.symlink_to(root)
    assert not leads_out(str(alias), f"{alias}/dir/deep")
    assert leads_out(str(alias), f"{alias}/link/a")


def test_windows_resolves_every_path(monkeypatch: pytest.MonkeyPatch) -> None:
    root, _ = ROOTS
    monkeypatch.setattr(files, "_has_link", None)
    monkeypatch.setattr(files.os, "name", "nt")
    assert not leads_out(root, f"{root}/a")
    assert leads_out(root, f"{root}/link/a")


@pytest.mark.parametrize(
    ("path", "refused"),
    [
        ("a/b.txt", False),
        ("..\\a", False),
        ("console.js", False),
        ("a.con", False),
        (".hidden", False),
        ("c:\\x", True),
        ("a.txt::$DATA", True),
        ("a.txt:stream", True),
        ("\\\\server\\share\\x", True),
        ("con", True),
        ("dir\\NUL.txt", True),
        ("COM1", True),
        ("com1 .txt", True),
        ("lpt\u00b9.x", True),
        ("a.txt.", True),
        ("a.txt ", True),
        ("dir./a", True),
    ],
)
def test_refused_on_windows(path: str, refused: bool) -> None:
    assert refused_on_windows(path) is refused


# --- reading ---


def test_regular_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("abc")
    os.mkfifo(tmp_path / "fifo")
    status = regular_file(str(tmp_path / "a"))
    assert status is not None
    assert status.st_size == 3
    assert regular_file(str(tmp_path)) is None
    assert regular_file(str(tmp_path / "fifo")) is None
    assert regular_file(str(tmp_path / "none")) is None
    assert regular_file("a\0b") is None


CONTENT = bytes(range(256)) * 1024


@given(st.integers(0, len(CONTENT) + 10), st.integers(0, len(CONTENT) + 10))
def test_reading_is_slicing(start: int, count: int) -> None:
    path = os.path.join(ROOTS[0], "content")
    if not os.path.exists(path):
        Path(path).write_bytes(CONTENT)
    expected = CONTENT[start : start + count]
    assert read_slice(path, start, count) == expected
    assert b"".join(read_pieces(path, start, start + count)) == expected
    assert b"".join(read_pieces(path, start)) == CONTENT[start:]


def test_pieces_have_one_size() -> None:
    path = os.path.join(ROOTS[0], "content")
    Path(path).write_bytes(CONTENT)
    assert [len(piece) for piece in read_pieces(path)] == [PIECE] * 4
    assert [len(piece) for piece in read_pieces(path, 1, PIECE + 2)] == [PIECE, 1]


def test_short_reads_are_continued(monkeypatch: pytest.MonkeyPatch) -> None:
    path = os.path.join(ROOTS[0], "content")
    Path(path).write_bytes(CONTENT)
    real = os.read
    monkeypatch.setattr(files.os, "read", lambda descriptor, count: real(descriptor, min(count, 1000)))
    assert read_slice(path, 5, 5000) == CONTENT[5:5005]
