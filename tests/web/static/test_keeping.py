"""Files that were served lately: served again as they were, and never when they are not the same any more."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.web.conftest import Answer, Sites
from webfw.web.static import StaticFileHandler, recent
from webfw.web.static import handler as handler_module

SMALL = b"hello world text\n"


class Root:
    """A directory that is served, and what is read of its files."""

    def __init__(self, path: Path, site: Sites, patch: pytest.MonkeyPatch) -> None:
        self.path = path
        self.site = site
        self.read: list[str] = []
        patch.setattr(recent, "UNCHANGED_FOR", -1)
        read_slice = handler_module.read_slice

        def counted(path: str, start: int, count: int) -> bytes:
            self.read.append(os.path.basename(path))
            return read_slice(path, start, count)

        patch.setattr(handler_module, "read_slice", counted)

    def __call__(
        self, handler: type[StaticFileHandler] = StaticFileHandler, arguments: Any = (), **settings: Any
    ) -> Any:
        return self.site([(r"/(.*)", handler, {"path": str(self.path), **dict(arguments)})], **settings)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file.txt"
    path.write_bytes(SMALL)
    return path


@pytest.fixture
def root(file: Path, site: Sites, monkeypatch: pytest.MonkeyPatch) -> Iterator[Root]:
    yield Root(file.parent, site, monkeypatch)
    StaticFileHandler.reset()


def parts(answer: Answer) -> tuple[int, dict[str, str], bytes]:
    """An answer without the time it was made."""
    fields = {name: value for name, value in answer.headers.items() if name not in ("Date", "Expires")}
    return answer.status, fields, answer.body


async def test_the_second_answer_is_the_first_one(root: Root) -> None:
    site = root()
    first = await site.ask("/file.txt")
    assert (first.status, first.body) == (200, SMALL)
    assert parts(await site.ask("/file.txt")) == parts(first)
    assert root.read == ["file.txt"]


CONDITIONS: list[tuple[str, dict[str, str], int]] = [
    ("HEAD", {}, 200),
    ("GET", {"If_None_Match": "{etag}"}, 304),
    ("GET", {"If_None_Match": '"other"'}, 200),
    ("GET", {"If_Modified_Since": "{modified}"}, 304),
    ("GET", {"If_Modified_Since": "Tue, 14 Nov 2000 22:13:20 GMT"}, 200),
    ("GET", {"If_Match": '"other"'}, 412),
    ("GET", {"If_Unmodified_Since": "Tue, 14 Nov 2000 22:13:20 GMT"}, 412),
    ("GET", {"Range": "bytes=2-4"}, 206),
    ("HEAD", {"Range": "bytes=2-4"}, 206),
    ("GET", {"Range": "bytes=-3"}, 206),
    ("GET", {"Range": "bytes=99-"}, 416),
    ("GET", {"Range": "bytes=2-4", "If_Range": "{etag}"}, 206),
    ("GET", {"Range": "bytes=2-4", "If_Range": '"other"'}, 200),
    ("GET", {"Accept_Encoding": "gzip"}, 200),
]


@pytest.mark.parametrize(("method", "fields", "status"), CONDITIONS)
@pytest.mark.parametrize("query", ["", "?v=1", "?v=1&w=2", "?w=2"])
async def test_conditions_and_ranges_are_those_of_each_request(
    root: Root, method: str, fields: dict[str, str], status: int, query: str
) -> None:
    site = root(compress_response=True)
    url = "/file.txt" + query
    plain = await site.ask(url)
    etag, modified = plain.headers["Etag"], plain.headers["Last-Modified"]
    fields = {name: value.format(etag=etag, modified=modified) for name, value in fields.items()}
    StaticFileHandler.reset()
    fresh = await site.ask(url, method, **fields)
    await site.ask(url)
    root.read.clear()
    kept = await site.ask(url, method, **fields)
    assert parts(kept) == parts(fresh)
    assert ("Expires" in kept.headers) == ("Expires" in fresh.headers)
    assert (kept.status, root.read) == (status, [])


async def test_several_ranges_come_from_what_is_kept(root: Root) -> None:
    site = root()
    await site.ask("/file.txt")
    answer = await site.ask("/file.txt", Range="bytes=0-0,4-5")
    assert answer.status == 206
    assert b"\r\n\r\nh\r\n" in answer.body
    assert b"\r\n\r\no \r\n" in answer.body
    assert root.read == ["file.txt"]


async def test_a_file_that_was_changed_is_read_again(root: Root, file: Path) -> None:
    site = root()
    before = file.stat()
    first = await site.ask("/file.txt")
    file.write_bytes(SMALL.upper())
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # as some tools for copying do
    second = await site.ask("/file.txt")
    assert (second.status, second.body) == (200, SMALL.upper())
    file.write_bytes(b"longer than it was before")
    third = await site.ask("/file.txt")
    assert third.body == b"longer than it was before"
    assert third.headers["Etag"] != first.headers["Etag"]
    assert third.headers["Content-Length"] == "25"


async def test_another_file_in_its_place_is_served(root: Root, file: Path, expect_log: Any) -> None:
    site = root()
    await site.ask("/file.txt")
    other = file.with_name("other")
    other.write_bytes(SMALL.upper())
    shutil.copystat(file, other)
    os.replace(other, file)
    assert (await site.ask("/file.txt")).body == SMALL.upper()
    file.unlink()
    assert (await site.ask("/file.txt")).status == 404
    file.mkdir()
    with expect_log("webfw.general", "is not a file"):
        assert (await site.ask("/file.txt")).status == 403


async def test_a_link_that_leads_elsewhere_now_is_followed_no_more(
    root: Root, tmp_path: Path, expect_log: Any
) -> None:
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    for directory in (outside, tmp_path / "one"):
        directory.mkdir()
        (directory / "page.txt").write_bytes(SMALL)
    try:
        (tmp_path / "now").symlink_to("one")
        site = root()
        assert (await site.ask("/now/page.txt")).body == SMALL
        (tmp_path / "now").unlink()
        (tmp_path / "now").symlink_to(outside)
        with expect_log("webfw.general", "is not in root static directory"):
            assert (await site.ask("/now/page.txt")).status == 403
    finally:
        shutil.rmtree(outside)


async def test_a_directory_is_still_told_from_its_page(root: Root, tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "index.html").write_bytes(b"index")
    site = root(arguments={"default_filename": "index.html"})
    for _ in range(2):
        assert (await site.ask("/dir/")).body == b"index"
        assert (await site.ask("/dir")).status == 301
    assert root.read == ["index.html"]


async def test_two_roots_two_files(root: Root, tmp_path: Path, site: Sites) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "file.txt").write_bytes(b"b")
    routes = [
        (r"/a/(.*)", StaticFileHandler, {"path": str(tmp_path)}),
        (r"/b/(.*)", StaticFileHandler, {"path": str(tmp_path / "b")}),
    ]
    both = site(routes)
    for _ in range(2):
        assert (await both.ask("/a/file.txt")).body == SMALL
        assert (await both.ask("/b/file.txt")).body == b"b"


async def test_what_a_subclass_says_it_says_each_time(root: Root) -> None:
    class Saying(StaticFileHandler):
        def set_extra_headers(self, path: str) -> None:
            self.set_header("X-Asked", f"{path} {self.request.arguments['n'][0].decode()}")

        def get_cache_time(self, path: str, modified: Any, mime_type: str) -> int:
            return int(self.request.arguments["n"][0])

    site = root(Saying)
    for number in ("10", "20"):
        answer = await site.ask(f"/file.txt?n={number}")
        assert answer.headers["X-Asked"] == f"file.txt {number}"
        assert answer.headers["Cache-Control"] == f"max-age={number}"
    assert root.read == ["file.txt"]


async def test_what_a_subclass_says_of_one_request_is_not_said_of_the_next(root: Root) -> None:
    class Downloads(StaticFileHandler):
        def set_extra_headers(self, path: str) -> None:
            if self.request.query == "download":
                self.set_header("Content-Type", "application/octet-stream")
                self.set_header("Etag", '"other"')
                self.clear_header("Accept-Ranges")

    site = root(Downloads)
    fresh = await site.ask("/file.txt")
    for _ in range(2):
        StaticFileHandler.reset()
        download = await site.ask("/file.txt?download")
        assert download.headers["Content-Type"] == "application/octet-stream"
        assert parts(await site.ask("/file.txt")) == parts(fresh)
        assert parts(await site.ask("/file.txt?download")) == parts(download)
    assert root.read == ["file.txt"] * 3


HOOKS: dict[str, Any] = {
    "validate_absolute_path": lambda self, root, path: StaticFileHandler.validate_absolute_path(
        self, root, path
    ),
    "get_content_type": lambda self: "text/x-" + self.request.arguments["n"][0].decode(),
    "compute_etag": lambda self: f'"{self.request.arguments["n"][0].decode()}"',
    "get_modified_time": lambda self: None,
    "set_headers": lambda self: None,
    "should_return_304": lambda self: False,
}


@pytest.mark.parametrize("hook", HOOKS)
async def test_a_subclass_that_finds_or_describes_in_its_own_way_keeps_nothing(root: Root, hook: str) -> None:
    site = root(type("Own", (StaticFileHandler,), {hook: HOOKS[hook]}))
    for number in ("1", "2"):
        answer = await site.ask(f"/file.txt?n={number}")
        assert answer.body == SMALL
        if hook == "get_content_type":
            assert answer.headers["Content-Type"] == f"text/x-{number}"
        if hook == "compute_etag":
            assert answer.headers["Etag"] == f'"{number}"'
    assert root.read == ["file.txt"] * 2


async def test_siblings_are_chosen_by_each_request(root: Root, file: Path) -> None:
    file.with_name("file.txt.br").write_bytes(b"compressed")
    site = root()
    for _ in range(2):
        assert (await site.ask("/file.txt")).body == SMALL
        assert (await site.ask("/file.txt", Accept_Encoding="br")).body == b"compressed"
    plain = root(static_precompressed=False)
    for _ in range(2):
        answer = await plain.ask("/file.txt", Accept_Encoding="br")
        assert (answer.body, "Vary" in answer.headers) == (SMALL, False)
        assert (await site.ask("/file.txt", Accept_Encoding="br")).body == b"compressed"


async def test_nothing_is_kept_where_hashes_are_not(root: Root) -> None:
    site = root(static_hash_cache=False)  # as debug mode has it
    for _ in range(2):
        assert (await site.ask("/file.txt")).body == SMALL
    assert root.read == ["file.txt"] * 2


async def test_a_root_may_be_a_path(root: Root, file: Path, site: Sites) -> None:
    there = site([(r"/(.*)", StaticFileHandler, {"path": file.parent})])
    for _ in range(2):
        assert (await there.ask("/file.txt")).body == SMALL


async def test_a_file_nobody_has_asked_for_the_whole_of_is_not_kept(root: Root) -> None:
    site = root()
    for _ in range(2):
        assert (await site.ask("/file.txt", Range="bytes=2-4")).body == b"llo"
        assert (await site.ask("/file.txt", "HEAD")).headers["Content-Length"] == "17"
    assert (await site.ask("/file.txt")).body == SMALL
