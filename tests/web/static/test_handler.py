import asyncio
import datetime
import gzip
import hashlib
import io
import logging
import os
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from webfw.httpserver.exchange import DONE, Exchange
from webfw.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine
from webfw.iostream import StreamClosedError
from webfw.web.errors import HTTPError
from webfw.web.static import StaticFileHandler, handler
from webfw.web.transforms import GZipContentEncoding, OutputTransform

SMALL = b"hello world text\n"
BIG = bytes(range(256)) * 1024
HASH = hashlib.sha512(SMALL).hexdigest()
MODIFIED = 1_700_000_000
MODIFIED_TEXT = "Tue, 14 Nov 2023 22:13:20 GMT"


class Answer(Exchange):
    """An exchange that keeps what it is sent."""

    def __init__(self) -> None:
        self.status = 0
        self.headers = HTTPHeaders()
        self.body = b""
        self.writes = 0
        self.sendfiles: list[tuple[int, int]] = []
        self.finished = False
        self.breaks_after: int | None = None

    def respond(self, status: int, reason: str, headers: HTTPHeaders, body: bytes) -> None:
        self.status, self.headers, self.body, self.finished = status, headers, body, True
        self.writes += 1

    def write_headers(self, start_line: Any, headers: HTTPHeaders, chunk: bytes | None = None) -> Any:
        self.status, self.headers = start_line.code, headers
        return self.write(chunk or b"")

    def write(self, chunk: bytes) -> Any:
        self.writes += 1
        if self.breaks_after is not None and self.writes > self.breaks_after:
            raise StreamClosedError
        self.body += chunk
        return DONE

    def finish(self) -> None:
        self.finished = True

    async def sendfile(self, file: Any, offset: int, count: int) -> None:
        self.sendfiles.append((offset, count))
        file.seek(offset)
        self.body += file.read(count)


@pytest.fixture(autouse=True)
def _fresh_versions() -> Iterator[None]:
    StaticFileHandler.reset()
    yield
    StaticFileHandler.reset()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "dir").mkdir(parents=True)
    (root / "empty").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.txt").write_bytes(b"secret")
    (root / "small.txt").write_bytes(SMALL)
    (root / "big.bin").write_bytes(BIG)
    (root / "dir" / "index.html").write_bytes(b"<p>index")
    (root / "out").symlink_to(tmp_path / "outside")
    (root / "in.txt").symlink_to("small.txt")
    for path in root.rglob("*.*"):
        os.utime(path, (MODIFIED, MODIFIED))
    return root


class Client:
    """Asks a `StaticFileHandler` for files, as the application would."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.settings: dict[str, Any] = {"static_path": str(root)}
        self.arguments: dict[str, Any] = {}
        self.handler_class: type[StaticFileHandler] = StaticFileHandler
        self.transforms: list[type[OutputTransform]] = []
        self.answer = Answer()
        self.handler: Any = None
        self.by_hand = False
        self.set_later: dict[str, str] = {}

    def begin(
        self, path: str, method: str = "GET", query: str = "", url: str | None = None, **fields: str
    ) -> Any:
        """Make the handler and call the method of the verb; give what it returns."""
        lines = [("Host", "x"), *((name.replace("_", "-"), value) for name, value in fields.items())]
        uri = (url if url is not None else f"/static/{path}") + (f"?{query}" if query else "")
        answer = self.answer = Answer()
        if self.by_hand:
            line = RequestStartLine(method, uri, "HTTP/1.1")
            request = HTTPServerRequest(start_line=line, headers=HTTPHeaders(lines), connection=answer)
        else:
            block = "".join(f"{name}: {value}\r\n" for name, value in lines)
            head: Any = SimpleNamespace(method=method, target=uri, version="HTTP/1.1", fields=block, host="x")
            context: Any = SimpleNamespace(remote_ip="::1", protocol="http")
            request = HTTPServerRequest.from_head(head, answer, context)
            if self.set_later:
                request.headers.update(self.set_later)
        application: Any = SimpleNamespace(settings=self.settings, log_request=lambda handler: None)
        arguments = {"path": str(self.root)} | self.arguments
        self.handler = self.handler_class(application, request, **arguments)
        self.handler._transforms = [transform(request) for transform in self.transforms]
        return getattr(self.handler, method.lower())(path)

    async def __call__(self, path: str, method: str = "GET", query: str = "", **fields: str) -> Answer:
        await self.begin(path, method, query, **fields)
        if not self.handler._finished:
            self.handler.finish()
        assert self.answer.finished
        return self.answer

    async def status(self, path: str, **fields: str) -> int:
        """The status of an answer or of the error raised."""
        try:
            return (await self(path, **fields)).status
        except HTTPError as error:
            return error.status_code


@pytest.fixture
def client(root: Path) -> Client:
    return Client(root)


# --- whole files ---


async def test_a_small_file_leaves_in_one_write(client: Client) -> None:
    answer = await client("small.txt")
    assert (answer.status, answer.body, answer.writes) == (200, SMALL, 1)
    headers = answer.headers
    assert headers["Content-Type"] == "text/plain"
    assert headers["Content-Length"] == str(len(SMALL))
    assert headers["Accept-Ranges"] == "bytes"
    assert headers["Etag"] == f'"{HASH}"'
    assert headers["Last-Modified"] == MODIFIED_TEXT
    for absent in ("Cache-Control", "Expires", "Vary", "Content-Encoding"):
        assert absent not in headers


def test_a_small_file_needs_no_loop(client: Client) -> None:
    assert client.begin("small.txt") is DONE


async def test_a_big_file_is_sent_by_the_kernel(client: Client) -> None:
    answer = await client("big.bin")
    assert (answer.status, answer.body) == (200, BIG)
    assert answer.sendfiles == [(0, len(BIG))]
    assert answer.headers["Content-Length"] == str(len(BIG))


async def test_an_empty_file(client: Client) -> None:
    (client.root / "none.txt").write_bytes(b"")
    answer = await client("none.txt")
    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", "0")


@pytest.mark.parametrize("name", ["small.txt", "big.bin"])
async def test_head(client: Client, name: str) -> None:
    got, head = await client(name), await client(name, "HEAD")
    assert head.body == b""
    assert head.headers["Content-Length"] == got.headers["Content-Length"]
    for field in ("Etag", "Last-Modified", "Content-Type"):
        assert head.headers[field] == got.headers[field]


async def test_a_version_makes_it_last(client: Client) -> None:
    headers = (await client("small.txt", query=f"v={HASH}")).headers
    assert headers["Cache-Control"] == "max-age=315360000"
    expires = datetime.datetime.strptime(headers["Expires"], "%a, %d %b %Y %H:%M:%S GMT")
    assert expires.year >= datetime.datetime.now().year + 9
    assert "Expires" not in (await client("small.txt", query="w=1")).headers


async def test_a_big_file_is_hashed_in_a_thread_once(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler, "HASH_AT_ONCE", 100)
    hashed = []
    real = StaticFileHandler.get_content_version.__func__  # type: ignore[attr-defined]

    def noting(cls: Any, abspath: str) -> str:
        try:
            asyncio.get_running_loop()
            hashed.append("loop")
        except RuntimeError:
            hashed.append("thread")
        return str(real(cls, abspath))

    monkeypatch.setattr(StaticFileHandler, "get_content_version", classmethod(noting))
    assert (await client("big.bin")).headers["Etag"] == (await client("big.bin")).headers["Etag"]
    assert hashed == ["thread"]


async def test_get_can_be_awaited_in_a_subclass(client: Client) -> None:
    class Extended(StaticFileHandler):
        async def get(self, path: str, include_body: bool = True) -> None:
            await super().get(path, include_body)
            self.set_header("X-Extra", "1")

        def set_extra_headers(self, path: str) -> None:
            self.set_header("X-Path", path)

        def get_cache_time(self, path: str, modified: Any, mime_type: str) -> int:
            return 60

        def get_content_type(self) -> str:
            return "text/x-mine"

    client.handler_class = Extended
    headers = (await client("small.txt")).headers
    assert (headers["X-Extra"], headers["X-Path"]) == ("1", "small.txt")
    assert (headers["Cache-Control"], headers["Content-Type"]) == ("max-age=60", "text/x-mine")


# --- which file ---


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("in.txt", 200),
        ("dir/../small.txt", 200),
        ("nothing.txt", 404),
        ("nothing/small.txt", 404),
        ("a\0b", 404),
        ("x" * 5000, 404),
        ("..\\outside\\secret.txt", 404),
        ("dir", 403),
        ("dir/", 403),
        ("", 403),
        ("..", 403),
        ("../outside/secret.txt", 403),
        ("/etc/passwd", 403),
        ("out/secret.txt", 403),
        ("dir/../../outside/secret.txt", 403),
    ],
)
async def test_paths(client: Client, path: str, status: int) -> None:
    assert await client.status(path) == status


async def test_a_device_is_not_a_file(client: Client) -> None:
    os.mkfifo(client.root / "fifo")
    assert await client.status("fifo") == 403


async def test_links_to_an_allowed_directory(client: Client) -> None:
    client.arguments = {"allowed_symlink_directory": str(client.root.parent / "outside")}
    assert (await client("out/secret.txt")).body == b"secret"
    client.arguments = {}
    client.handler_class = type(
        "Allowing", (StaticFileHandler,), {"allowed_symlink_directory": str(client.root.parent)}
    )
    assert (await client("out/secret.txt")).body == b"secret"


async def test_names_that_windows_understands_otherwise(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    (client.root / "small.txt::$DATA").write_bytes(b"x")
    assert await client.status("small.txt::$DATA") == 200
    monkeypatch.setattr(handler, "_WINDOWS", True)
    assert await client.status("small.txt::$DATA") == 403
    assert await client.status("small.txt") == 200


async def test_other_separators(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    client.begin("small.txt")
    monkeypatch.setattr(handler.os.path, "sep", "\\")
    assert client.handler.parse_url_path("a/b") == "a\\b"


async def test_a_directory_with_a_default_file(client: Client) -> None:
    client.arguments = {"default_filename": "index.html"}
    answer = await client("dir/")
    assert (answer.body, answer.headers["Content-Type"]) == (b"<p>index", "text/html")
    answer = await client("dir")
    assert (answer.status, answer.headers["Location"]) == (301, "/static/dir/")
    answer = await client("dir", query="a=1")
    assert answer.headers["Location"] == "/static/dir/?a=1"
    assert await client.status("empty/") == 404
    (client.root / "empty" / "index.html").symlink_to(client.root.parent / "outside" / "secret.txt")
    assert await client.status("empty/") == 403


@pytest.mark.parametrize("url", ["//dir", "/\\dir", "///dir", "/\\/dir"])
async def test_the_redirect_stays_on_the_site(client: Client, url: str) -> None:
    client.arguments = {"default_filename": "index.html"}
    await client.begin("dir", url=url)
    assert client.answer.headers["Location"] == "/dir/"


async def test_a_file_that_may_not_be_read(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*args: Any, **kwargs: Any) -> Any:
        raise PermissionError

    monkeypatch.setattr(StaticFileHandler, "get_content_version", lambda abspath: "v")
    monkeypatch.setattr(handler, "read_slice", refused)
    assert await client.status("small.txt") == 403
    monkeypatch.setattr(handler, "open", refused, raising=False)
    assert await client.status("big.bin") == 403


async def test_a_file_that_shrinks_meanwhile(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler, "read_slice", lambda path, start, count: b"x")
    with pytest.raises(OSError, match="became shorter"):
        await client("small.txt")


# --- conditions ---

LATER = "Tue, 14 Nov 2023 22:13:21 GMT"
EARLIER = "Tue, 14 Nov 2023 22:13:19 GMT"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"If_None_Match": f'"{HASH}"'}, 304),
        ({"If_None_Match": f'W/"{HASH}"'}, 304),
        ({"If_None_Match": "*"}, 304),
        ({"If_None_Match": '"other"'}, 200),
        ({"If_None_Match": '"other"', "If_Modified_Since": LATER}, 200),
        ({"If_Modified_Since": MODIFIED_TEXT}, 304),
        ({"If_Modified_Since": LATER}, 304),
        ({"If_Modified_Since": EARLIER}, 200),
        ({"If_Modified_Since": "garbage"}, 200),
        ({"If_Match": f'"{HASH}"'}, 200),
        ({"If_Match": "*"}, 200),
        ({"If_Match": f'W/"{HASH}"'}, 412),
        ({"If_Match": '"other"'}, 412),
        ({"If_Unmodified_Since": MODIFIED_TEXT}, 200),
        ({"If_Unmodified_Since": EARLIER}, 412),
        ({"If_Unmodified_Since": "garbage"}, 200),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_conditions(client: Client, method: str, fields: dict[str, str], status: int) -> None:
    answer = await client("small.txt", method, **fields)
    assert answer.status == status
    if status != 200:
        assert answer.body == b""
    if status == 304:
        assert answer.headers["Etag"] == f'"{HASH}"'
        assert "Content-Length" not in answer.headers


async def test_a_request_made_by_hand(client: Client) -> None:
    client.by_hand = True
    assert (await client("small.txt")).body == SMALL
    assert (await client("small.txt", Range="bytes=0-3")).status == 206
    assert (await client("small.txt", If_None_Match="*")).status == 304


@pytest.mark.parametrize(("field", "status"), [("If-None-Match", 304), ("Range", 206)])
async def test_a_field_the_program_sets(client: Client, field: str, status: int) -> None:
    client.set_later = {field: f'"{HASH}"' if status == 304 else "bytes=0-1"}
    assert (await client("small.txt")).status == status


async def test_an_overridden_version_counts(client: Client) -> None:
    class Numbered(StaticFileHandler):
        @classmethod
        def _get_cached_version(cls, abspath: str) -> str | None:
            return "one"

    await client("small.txt")
    client.handler_class = Numbered
    assert (await client("small.txt")).headers["Etag"] == '"one"'


async def test_a_file_without_a_time(client: Client) -> None:
    class Timeless(StaticFileHandler):
        def get_modified_time(self) -> None:
            return None

    client.handler_class = Timeless
    fields = {"If_Modified_Since": LATER, "If_Unmodified_Since": EARLIER}
    answer = await client("small.txt", **fields)
    assert answer.status == 200
    assert "Last-Modified" not in answer.headers


async def test_a_time_without_a_zone_is_utc(client: Client) -> None:
    class Naive(StaticFileHandler):
        def get_modified_time(self) -> datetime.datetime:
            return datetime.datetime(2023, 11, 14, 22, 13, 20)

    client.handler_class = Naive
    answer = await client("small.txt", If_Modified_Since=MODIFIED_TEXT)
    assert (answer.status, answer.headers["Last-Modified"]) == (304, MODIFIED_TEXT)


# --- ranges ---


@pytest.mark.parametrize(
    ("wanted", "part", "content_range"),
    [
        ("bytes=0-3", SMALL[:4], "bytes 0-3/17"),
        ("bytes=3-", SMALL[3:], "bytes 3-16/17"),
        ("bytes=-3", SMALL[-3:], "bytes 14-16/17"),
        ("bytes=0-1,1-4", SMALL[:5], "bytes 0-4/17"),
    ],
)
async def test_a_range(client: Client, wanted: str, part: bytes, content_range: str) -> None:
    answer = await client("small.txt", Range=wanted)
    assert (answer.status, answer.body) == (206, part)
    assert answer.headers["Content-Range"] == content_range
    assert answer.headers["Content-Length"] == str(len(part))
    head = await client("small.txt", "HEAD", Range=wanted)
    assert (head.status, head.headers["Content-Length"], head.body) == (206, str(len(part)), b"")


@pytest.mark.parametrize("wanted", ["bytes=0-", "bytes=0-100", "bytes=-100", "lines=1-2", "nonsense"])
async def test_ranges_that_are_the_whole_file(client: Client, wanted: str) -> None:
    answer = await client("small.txt", Range=wanted)
    assert (answer.status, answer.body) == (200, SMALL)
    assert "Content-Range" not in answer.headers


@pytest.mark.parametrize("wanted", ["bytes=17-", "bytes=-0", "bytes=5-2"])
async def test_ranges_beyond_the_file(client: Client, wanted: str) -> None:
    answer = await client("small.txt", Range=wanted)
    assert (answer.status, answer.body) == (416, b"")
    assert answer.headers["Content-Range"] == "bytes */17"


async def test_if_range(client: Client) -> None:
    assert (await client("small.txt", Range="bytes=0-3", If_Range=f'"{HASH}"')).status == 206
    assert (await client("small.txt", Range="bytes=0-3", If_Range=MODIFIED_TEXT)).status == 206
    assert (await client("small.txt", Range="bytes=0-3", If_Range='"other"')).status == 200
    assert (await client("small.txt", Range="bytes=0-3", If_Range=LATER)).status == 200


async def test_a_range_of_a_big_file(client: Client) -> None:
    answer = await client("big.bin", Range="bytes=1000-200999")
    assert answer.body == BIG[1000:201000]
    assert answer.sendfiles == [(1000, 200000)]


@pytest.mark.parametrize("wanted", ["bytes=0-1,5-8", "bytes=0-99999,150000-", "bytes=-5,0-99999"])
async def test_several_ranges(client: Client, wanted: str) -> None:
    answer = await client("big.bin", Range=wanted)
    assert answer.status == 206
    match = re.fullmatch(r"multipart/byteranges; boundary=(\w+)", answer.headers["Content-Type"])
    assert match
    assert answer.headers["Content-Length"] == str(len(answer.body))
    assert "Content-Range" not in answer.headers
    *parts, end = (b"\r\n" + answer.body).split(f"\r\n--{match[1]}".encode())
    assert end == b"--\r\n"
    assert parts.pop(0) == b""
    assert len(parts) == 2
    for part in parts:
        head, _, content = part.partition(b"\r\n\r\n")
        found = re.fullmatch(
            rb"\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes (\d+)-(\d+)/262144", head
        )
        assert found
        assert content == BIG[int(found[1]) : int(found[2]) + 1]


# --- compressed siblings ---


@pytest.fixture
def compressed(root: Path) -> Path:
    for name, data in (("app.js", b"plain js"), ("app.js.gz", b"gzip js"), ("app.js.br", b"br js")):
        (root / name).write_bytes(data)
        os.utime(root / name, (MODIFIED, MODIFIED))
    return root


@pytest.mark.parametrize(
    ("accept", "body", "coding"),
    [
        (None, b"plain js", None),
        ("identity", b"plain js", None),
        ("gzip", b"gzip js", "gzip"),
        ("gzip, br", b"br js", "br"),
        ("br;q=0.1, gzip", b"gzip js", "gzip"),
        ("gzip;q=0", b"plain js", None),
    ],
)
async def test_siblings(
    client: Client, compressed: Path, accept: str | None, body: bytes, coding: str | None
) -> None:
    answer = await client("app.js", **({} if accept is None else {"Accept_Encoding": accept}))
    assert answer.body == body
    assert answer.headers.get("Content-Encoding") == coding
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert "javascript" in answer.headers["Content-Type"]
    assert answer.headers["Etag"] == f'"{hashlib.sha512(body).hexdigest()}"'
    head = await client("app.js", "HEAD", **({} if accept is None else {"Accept_Encoding": accept}))
    assert head.headers["Content-Length"] == str(len(body))


async def test_a_sibling_has_validators_and_ranges_of_its_own(client: Client, compressed: Path) -> None:
    etag = (await client("app.js", Accept_Encoding="gzip")).headers["Etag"]
    assert (await client("app.js", Accept_Encoding="gzip", If_None_Match=etag)).status == 304
    assert (await client("app.js", If_None_Match=etag)).status == 200
    answer = await client("app.js", Accept_Encoding="gzip", Range="bytes=0-3", If_Range=etag)
    assert (answer.status, answer.body) == (206, b"gzip")
    answer = await client("app.js", Accept_Encoding="gzip", Range="bytes=99-")
    assert answer.status == 416
    assert "Content-Encoding" not in answer.headers


async def test_siblings_that_do_not_count(client: Client, compressed: Path) -> None:
    os.utime(compressed / "app.js.br", (MODIFIED - 10, MODIFIED - 10))
    (compressed / "app.js.gz").unlink()
    (compressed / "app.js.gz").symlink_to(compressed.parent / "outside" / "secret.txt")
    answer = await client("app.js", Accept_Encoding="gzip, br")
    assert answer.body == b"plain js"
    assert "Vary" not in answer.headers


async def test_siblings_can_be_switched_off(client: Client, compressed: Path) -> None:
    client.settings["static_precompressed"] = False
    assert (await client("app.js", Accept_Encoding="gzip")).body == b"plain js"
    assert (await client("small.txt", Accept_Encoding="gzip")).body == SMALL


async def test_vary_is_said_once(client: Client, compressed: Path) -> None:
    class Varying(StaticFileHandler):
        def set_extra_headers(self, path: str) -> None:
            self.set_header("Vary", "accept-encoding, Origin")

    client.handler_class = Varying
    assert (await client("app.js")).headers["Vary"] == "accept-encoding, Origin"


# --- transforms ---


async def test_a_big_text_is_compressed_as_it_is_read(client: Client) -> None:
    text = b"some text\n" * 20000
    (client.root / "long.txt").write_bytes(text)
    client.transforms = [GZipContentEncoding]
    answer = await client("long.txt", Accept_Encoding="gzip")
    assert answer.headers["Content-Encoding"] == "gzip"
    assert "Content-Length" not in answer.headers
    assert gzip.decompress(answer.body) == text
    assert answer.sendfiles == []
    head = await client("long.txt", "HEAD", Accept_Encoding="gzip")
    assert head.headers["Content-Encoding"] == "gzip"


async def test_a_transform_that_leaves_it_alone_does_not_cost_sendfile(client: Client) -> None:
    client.transforms = [GZipContentEncoding, OutputTransform]
    assert (await client("big.bin", Accept_Encoding="gzip")).sendfiles == [(0, len(BIG))]


async def test_an_unknown_transform_sees_every_byte(client: Client) -> None:
    class Upper(OutputTransform):
        def transform_chunk(self, chunk: bytes, finishing: bool) -> bytes:
            return chunk.upper()

    (client.root / "long.txt").write_bytes(b"abc" * 50000)
    client.transforms = [Upper]
    assert (await client("long.txt")).body == b"ABC" * 50000


# --- content from elsewhere ---


class Virtual(StaticFileHandler):
    """Content that is no file; `pieces` chooses how it comes."""

    pieces = False

    def validate_absolute_path(self, root: str, absolute_path: str) -> str | None:
        return absolute_path

    @classmethod
    def get_content(
        cls, abspath: str, start: int | None = None, end: int | None = None
    ) -> bytes | Iterable[bytes]:
        content = SMALL[start:end]
        return iter([content[:3], content[3:]]) if cls.pieces else content

    def get_content_size(self) -> int:
        return len(SMALL)

    def get_modified_time(self) -> datetime.datetime | None:
        return None


class VirtualPieces(Virtual):
    pieces = True


@pytest.mark.parametrize("cls", [Virtual, VirtualPieces])
async def test_virtual_content(client: Client, cls: type[StaticFileHandler]) -> None:
    client.handler_class = cls
    answer = await client("nowhere.txt")
    assert (answer.status, answer.body, answer.headers["Etag"]) == (200, SMALL, f'"{HASH}"')
    assert answer.headers["Content-Length"] == str(len(SMALL))
    answer = await client("nowhere.txt", Range="bytes=1-3")
    assert (answer.status, answer.body) == (206, SMALL[1:4])
    answer = await client("nowhere.txt", Range="bytes=0-0,2-3")
    assert answer.body.count(b"Content-Range: ") == 2
    assert answer.headers["Content-Length"] == str(len(answer.body))


async def test_content_that_cannot_be_read_has_no_tag(client: Client, expect_log: Callable[..., Any]) -> None:
    class Broken(Virtual):
        @classmethod
        def get_content_version(cls, abspath: str) -> str:
            raise OSError

    client.handler_class = Broken
    with expect_log("webfw.general", "Could not open static file", level=logging.ERROR):
        client.begin("nowhere.txt")
        assert client.handler.compute_etag() is None


async def test_a_subclass_may_answer_itself(client: Client) -> None:
    class Redirecting(StaticFileHandler):
        def validate_absolute_path(self, root: str, absolute_path: str) -> None:
            self.redirect("/elsewhere")

    client.handler_class = Redirecting
    assert (await client("small.txt")).headers["Location"] == "/elsewhere"


async def test_the_default_content_is_the_file(client: Client) -> None:
    path = str(client.root / "small.txt")
    content = StaticFileHandler.get_content(path, 2, 5)
    assert b"".join(content) == SMALL[2:5]  # type: ignore[arg-type]
    assert StaticFileHandler.get_version(client.settings, "small.txt") == HASH


# --- clients that go away ---


@pytest.mark.parametrize("cls", [StaticFileHandler, VirtualPieces])
@pytest.mark.parametrize("after", [0, 1])
async def test_a_client_that_goes_away(client: Client, cls: type[StaticFileHandler], after: int) -> None:
    client.handler_class = cls
    client.transforms = [type("Other", (OutputTransform,), {})]
    waiting: Awaitable[None] = client.begin("big.bin")
    client.answer.breaks_after = after
    await waiting
    assert isinstance(client.answer.body, bytes)


def test_nothing_is_left_open(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[io.FileIO] = []
    real = open

    def noting(*args: Any, **kwargs: Any) -> Any:
        opened.append(real(*args, **kwargs))
        return opened[-1]

    monkeypatch.setattr(handler, "open", noting, raising=False)
    asyncio.run(client("big.bin"))  # type: ignore[arg-type]
    assert [file.closed for file in opened] == [True]
