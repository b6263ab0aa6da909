"""Tests of webfw.cli.listing: what a directory shows and what it hides, whatever the names; files as they are."""

import gzip
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest

from webfw.cli import listing
from webfw.cli.listing import DirectoryHandler, Entry, entries_of
from webfw.testing import Client
from webfw.web import Application

NASTY = [
    "a & <b>.txt",
    "two\nlines",
    "c:d",
    "größe",
    "turn\u202eed",
    "\"quoted'",
    "%41",
    "#1?x=y",
    "back\\slash",
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "sub" / "deep").mkdir(parents=True)
    (root / ".git").mkdir()
    (root / ".git" / "config").write_text("secret")
    (root / ".well-known").mkdir()
    (root / ".well-known" / "security.txt").write_text("Contact: x")
    (root / "small.txt").write_text("small")
    (root / "Big.bin").write_bytes(b"x" * 5000)
    (root / "sub" / "page.html").write_text("<p>page")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    return root


@pytest.fixture
def client(root: Path) -> Client:
    return client_of(root)


def client_of(root: Path, **arguments: bool) -> Client:
    routes = [(r"/(.*)", DirectoryHandler, {"path": str(root), **arguments})]
    return Client(Application(routes, log_function=lambda handler: None))


def names(text: str) -> list[str]:
    return re.findall(r'<tr><td[^>]*><a href="[^"]*"[^>]*>(?:<bdi>)?([^<]*)', text)


def links(text: str) -> Iterator[bytes]:
    for href in re.findall(r'<a href="\./([^"]*)"', text):
        yield unquote_to_bytes(href)


async def test_a_directory_is_listed(client: Client) -> None:
    response = await client.get("/")
    assert response.code == 200
    assert names(response.text) == [".well-known/", "sub/", "Big.bin", "small.txt"]
    assert 'title="5,000 bytes">4.9 KiB<' in response.text
    assert re.search(r'<time datetime="\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ">', response.text)
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    deep = await client.get("/sub/deep/")
    assert names(deep.text) == ["../ (parent directory)"]
    assert '<a href="/sub/"><bdi>sub</bdi></a>' in deep.text
    assert "<h1><bdi>deep</bdi></h1>" in deep.text


async def test_head_and_conditions(client: Client) -> None:
    response = await client.get("/")
    head = await client.head("/")
    assert (head.code, head.body) == (200, b"")
    assert (await client.get("/", headers={"If-None-Match": response.headers["Etag"]})).code == 304
    assert (await client.post("/")).code == 405


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("sort=name", ["Big.bin", "small.txt", "z"]),
        ("sort=-name", ["z", "small.txt", "Big.bin"]),
        ("sort=size", ["z", "small.txt", "Big.bin"]),
        ("sort=-size", ["Big.bin", "small.txt", "z"]),
        ("sort=modified", ["small.txt", "Big.bin", "z"]),
        ("sort=-modified", ["z", "Big.bin", "small.txt"]),
        ("sort=nonsense", ["Big.bin", "small.txt", "z"]),
    ],
)
async def test_order(client: Client, root: Path, query: str, expected: list[str]) -> None:
    (root / "z").write_text("")
    for number, name in enumerate(["small.txt", "Big.bin", "z"]):
        os.utime(root / name, (number, number))
    response = await client.get("/?" + query)
    assert [name for name in names(response.text) if not name.endswith("/")] == expected
    assert response.text.count("aria-sort=") == 1


async def test_a_directory_without_its_slash_is_redirected(client: Client) -> None:
    response = await client.get("/sub?sort=size", follow_redirects=False)
    assert (response.code, response.headers["Location"]) == (301, "/sub/?sort=size")


async def test_every_name_leads_to_its_file(client: Client, root: Path) -> None:
    found = [name.encode() for name in NASTY] + [b"\xff\xfe.bin"]
    for name in found:
        try:
            (root / "sub" / os.fsdecode(name)).write_bytes(b"content of " + name)
        except OSError:
            pytest.skip("this file system has no such names")
    response = await client.get("/sub/")
    assert set(links(response.text)) == {*found, b"page.html", b"deep/"}
    for href in re.findall(r'<a href="(\./[^"]*)"', response.text):
        if unquote_to_bytes(href)[2:] in found:
            answer = await client.get("/sub/" + href[2:])
            assert answer.body == b"content of " + unquote_to_bytes(href)[2:]
    assert "<b>.txt" not in response.text
    assert "a &amp; &lt;b&gt;.txt" in response.text
    assert r"two\nlines" in response.text
    assert "\u202e" not in response.text
    (root / "sub" / os.fsdecode(b"d\xff")).mkdir()
    assert (await client.get("/sub/d%FF/")).code == 200


async def test_index_html_comes_before_the_list(client: Client, root: Path) -> None:
    (root / "index.html").write_text("<h1>index")
    response = await client.get("/")
    assert response.text == "<h1>index"
    assert response.headers["Content-Type"].startswith("text/html")


async def test_files_as_static_files_are(client: Client, root: Path) -> None:
    response = await client.get("/small.txt")
    assert (response.body, response.headers["Cache-Control"]) == (b"small", "no-cache")
    assert (await client.get("/small.txt", headers={"If-None-Match": response.headers["Etag"]})).code == 304
    part = await client.get("/small.txt?v=1", headers={"Range": "bytes=1-2"})
    assert (part.code, part.body, part.headers["Cache-Control"]) == (206, b"ma", "no-cache")
    (root / "small.txt.gz").write_bytes(gzip.compress(b"small"))
    packed = await client.get("/small.txt", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert (await client.get("/.well-known/security.txt")).text == "Contact: x"


@pytest.mark.parametrize(
    "path",
    [
        "/.git/config",
        "/.git/",
        "/.git",
        "/none",
        "/none/",
        "/sub/../.git/config",
        "/%2e%2e/outside/",
        "/%00",
        "/../outside/",
    ],
)
async def test_what_is_hidden_or_not_there(client: Client, path: str) -> None:
    assert (await client.get(path)).code == 404


async def test_links_that_lead_out_are_neither_shown_nor_served(
    client: Client, root: Path, expect_log: Any
) -> None:
    try:
        (root / "out").symlink_to(root.parent / "outside")
    except OSError:
        pytest.skip("no links here")
    (root / "secret").symlink_to(root.parent / "outside" / "secret")
    (root / "broken").symlink_to(root / "nowhere")
    (root / "inside").symlink_to(root / "small.txt")
    if hasattr(os, "mkfifo"):
        os.mkfifo(root / "pipe")
    shown = names((await client.get("/")).text)
    assert shown == [".well-known/", "sub/", "Big.bin", "inside", "small.txt"]
    assert (await client.get("/inside")).text == "small"
    with expect_log("webfw", "not in root"):
        for path in ("/out/", "/out", "/out/secret", "/secret"):
            assert (await client.get(path)).code == 403


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="needs permissions that count")
async def test_an_unreadable_directory_is_forbidden(client: Client, root: Path) -> None:
    (root / "sub").chmod(0)
    try:
        assert (await client.get("/sub/")).code == 403
    finally:
        (root / "sub").chmod(0o755)


@pytest.mark.parametrize(("error", "status"), [(PermissionError, 403), (FileNotFoundError, 404)])
async def test_a_directory_that_cannot_be_read(
    client: Client, error: type[OSError], status: int, monkeypatch: pytest.MonkeyPatch, expect_log: Any
) -> None:
    def refuse(root: str, directory: str) -> None:
        raise error("no")

    monkeypatch.setattr(listing, "entries_of", refuse)
    if status == 404:
        assert (await client.get("/sub/")).code == 404
    else:
        with expect_log("webfw", "may not be read"):
            assert (await client.get("/sub/")).code == 403


async def test_pages_of_an_application_in_the_browser(root: Path) -> None:
    (root / "index.html").write_text("the application")
    client = client_of(root, spa=True)
    page = {"Accept": "text/html,*/*"}
    assert (await client.get("/users/7", headers=page)).text == "the application"
    assert (await client.get("/users/7.js", headers={"Accept": "*/*"})).code == 404
    assert (await client.get("/small.txt", headers=page)).text == "small"
    assert (await client.get("/.git/config", headers=page)).code == 404
    assert (await client.get("/sub/", headers=page)).code == 200


def test_entries(root: Path) -> None:
    found = {entry.name: entry.size for entry in entries_of(str(root), str(root))}
    assert found == {"sub": None, ".well-known": None, "small.txt": 5, "Big.bin": 5000}


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1024**2 - 1, "1.0 MiB"),
        (5 * 1024**3, "5.0 GiB"),
        (None, ""),
    ],
)
def test_sizes_for_people(size: int | None, text: str) -> None:
    assert Entry("x", size, 0).size_text == text


def test_times_beyond_the_calendar() -> None:
    assert Entry("x", 1, 1e20).time == "1970-01-01T00:00:00Z"
