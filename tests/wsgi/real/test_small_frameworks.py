"""Bottle and Falcon over real HTTP: routing, JSON, forms, uploads, files, streams and errors."""

import hashlib
import random
from collections.abc import Callable, Iterator
from http.client import IncompleteRead
from pathlib import Path
from typing import Any

import pytest

from tests.wsgi.real.site import MODES, Site, Visitor, contain, raw

bottle = pytest.importorskip("bottle")
falcon = pytest.importorskip("falcon")

BIG = random.Random(3).randbytes(2 * 1024 * 1024)
DIGEST = hashlib.sha256(BIG).hexdigest()


def make_bottle(directory: Path) -> Any:
    app = bottle.Bottle()
    app.catchall = True

    @app.get("/things/<name:path>")
    def thing(name: str) -> Any:
        return {"name": name, "q": bottle.request.query.getunicode("q"), "url": bottle.request.url}

    @app.post("/form")
    def form() -> Any:
        return {name: bottle.request.forms.getunicode(name) for name in bottle.request.forms}

    @app.post("/json")
    def json() -> Any:
        return {"got": bottle.request.json}

    @app.post("/upload")
    def upload() -> Any:
        file = bottle.request.files["file"]
        return {"name": file.raw_filename, "digest": hashlib.sha256(file.file.read()).hexdigest()}

    @app.get("/cookie")
    def cookie() -> str:
        seen = bottle.request.get_cookie("seen", "0", secret="for tests only", digestmod=hashlib.sha256)
        count = str(int(seen) + 1)
        bottle.response.set_cookie("seen", count, secret="for tests only", digestmod=hashlib.sha256)
        return count

    @app.get("/file")
    def file() -> Any:
        return bottle.static_file("big.bin", root=str(directory))

    @app.get("/stream")
    def stream() -> Iterator[str]:
        yield "one "
        yield "two"

    @app.get("/crash")
    def crash() -> None:
        raise RuntimeError("a bug")

    @app.error(404)
    def not_found(error: Any) -> str:
        return "no such page"

    return app


class Things:
    def on_get(self, request: Any, response: Any, name: str) -> None:
        response.media = {"name": name, "q": request.get_param("q"), "url": request.url}

    def on_put(self, request: Any, response: Any, name: str) -> None:
        response.status = falcon.HTTP_201
        response.location = f"/things/{name}"
        response.media = request.media

    def on_delete(self, request: Any, response: Any, name: str) -> None:
        response.status = falcon.HTTP_204


class Uploads:
    def on_post(self, request: Any, response: Any) -> None:
        response.media = {
            part.name: [part.secure_filename, hashlib.sha256(part.stream.read()).hexdigest()]
            for part in request.get_media()
        }

    def on_put(self, request: Any, response: Any) -> None:
        """Read a body piece by piece, and tell how long it was."""
        size = 0
        while piece := request.bounded_stream.read(10_000):
            size += len(piece)
        response.media = {"size": size}


class Files:
    def __init__(self, path: Path) -> None:
        self.path = path

    def on_get(self, request: Any, response: Any) -> None:
        response.set_stream(self.path.open("rb"), self.path.stat().st_size)

    def on_head(self, request: Any, response: Any) -> None:
        response.content_length = self.path.stat().st_size


class Streams:
    def on_get(self, request: Any, response: Any) -> None:
        response.content_type = "text/plain"
        response.stream = iter([b"one ", b"two"])


class Breaks:
    def on_get(self, request: Any, response: Any) -> None:
        def pieces() -> Iterator[bytes]:
            yield b"half "
            raise RuntimeError("half-way")

        response.set_stream(pieces(), 100)


class Crash:
    def on_get(self, request: Any, response: Any) -> None:
        raise RuntimeError("a bug")

    def on_post(self, request: Any, response: Any) -> None:
        raise falcon.HTTPUnprocessableEntity(title="wrong", description="quite wrong")


def make_falcon(directory: Path) -> Any:
    app = falcon.App()
    app.add_route("/things/{name}", Things())
    app.add_route("/upload", Uploads())
    app.add_route("/file", Files(directory / "big.bin"))
    app.add_route("/stream", Streams())
    app.add_route("/breaks", Breaks())
    app.add_route("/crash", Crash())
    return app


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("files")
    (directory / "big.bin").write_bytes(BIG)
    return directory


@pytest.fixture(scope="module", params=list(MODES))
def mode(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def bottle_site(directory: Path, mode: str, sites: Callable[..., Site]) -> Site:
    return sites(lambda: contain(make_bottle(directory), mode))


@pytest.fixture(scope="module")
def falcon_site(directory: Path, mode: str, sites: Callable[..., Site]) -> Site:
    return sites(lambda: contain(make_falcon(directory), mode))


@pytest.fixture
def to_bottle(bottle_site: Site) -> Iterator[Visitor]:
    with bottle_site.visitor() as visitor:
        yield visitor


@pytest.fixture
def to_falcon(falcon_site: Site) -> Iterator[Visitor]:
    with falcon_site.visitor() as visitor:
        yield visitor


# --- Bottle ---


def test_bottle_routes_and_decodes(to_bottle: Visitor) -> None:
    answer = to_bottle.get("/things/a/Gr%C3%B6%C3%9Fe?q=%E2%82%AC").json
    assert answer["name"] == "a/Größe"
    assert answer["q"] == "€"
    assert answer["url"].startswith(f"http://127.0.0.1:{to_bottle.port}/things/a/Gr")
    missing = to_bottle.get("/none")
    assert (missing.status, missing.text) == (404, "no such page")
    assert to_bottle.get("/form").status == 405
    assert to_bottle.fetch("HEAD", "/things/x").body == b""


def test_bottle_reads_forms_and_json(to_bottle: Visitor) -> None:
    assert to_bottle.post("/form", {"a": "zwölf", "b": "€"}).json == {"a": "zwölf", "b": "€"}
    assert to_bottle.post_json("/json", {"a": [1, "ö"]}).json == {"got": {"a": [1, "ö"]}}
    assert to_bottle.fetch("POST", "/json", b"{", Content_Type="application/json").status == 400


def test_bottle_takes_uploads(to_bottle: Visitor) -> None:
    answer = to_bottle.upload("/upload", {"note": "x"}, {"file": ("big.bin", BIG)})
    assert answer.json == {"name": "big.bin", "digest": DIGEST}


def test_bottle_signs_cookies(to_bottle: Visitor) -> None:
    assert [to_bottle.get("/cookie").text for _ in range(3)] == ["1", "2", "3"]
    to_bottle.cookies["seen"] = "forged"
    assert to_bottle.get("/cookie").text == "1"


def test_bottle_sends_files(to_bottle: Visitor) -> None:
    whole = to_bottle.get("/file")
    assert (whole.status, whole.body == BIG) == (200, True)
    part = to_bottle.get("/file", Range="bytes=1000000-1000009")
    assert (part.status, part.body) == (206, BIG[1_000_000:1_000_010])
    assert to_bottle.get("/file", If_None_Match=whole.headers["ETag"]).status == 304


def test_bottle_streams_and_fails(to_bottle: Visitor, capfd: pytest.CaptureFixture[str]) -> None:
    assert to_bottle.get("/stream").text == "one two"
    crash = to_bottle.get("/crash")
    assert (crash.status, b"a bug" in crash.body) == (500, False)
    assert "RuntimeError: a bug" in capfd.readouterr().err  # it writes to wsgi.errors
    assert to_bottle.get("/stream").text == "one two"


# --- Falcon ---


def test_falcon_routes_and_decodes(to_falcon: Visitor) -> None:
    assert to_falcon.get("/things/Gr%C3%B6%C3%9Fe?q=%E2%82%AC").json == {
        "name": "Größe",
        "q": "€",
        "url": f"http://127.0.0.1:{to_falcon.port}/things/Größe?q=%E2%82%AC",
    }
    assert to_falcon.get("/none").status == 404
    not_allowed = to_falcon.fetch("PATCH", "/things/x")
    assert (not_allowed.status, not_allowed.headers["Allow"]) == (405, "DELETE, GET, PUT, OPTIONS")


def test_falcon_reads_media(to_falcon: Visitor) -> None:
    answer = to_falcon.fetch("PUT", "/things/x", b'{"a": "\xc3\xb6"}', Content_Type="application/json")
    assert (answer.status, answer.headers["Location"], answer.json) == (201, "/things/x", {"a": "ö"})
    assert to_falcon.fetch("PUT", "/things/x", b"{", Content_Type="application/json").status == 400
    assert to_falcon.fetch("PUT", "/things/x", b"a", Content_Type="text/strange").status == 415
    gone = to_falcon.fetch("DELETE", "/things/x")
    assert (gone.status, gone.body, gone.headers["Content-Length"]) == (204, b"", None)
    assert to_falcon.get("/things/after").json["name"] == "after"


def test_falcon_takes_uploads(to_falcon: Visitor) -> None:
    answer = to_falcon.upload("/upload", {}, {"a": ("big.bin", BIG), "b": ("b", b"")})
    assert answer.json == {"a": ["big.bin", DIGEST], "b": ["b", hashlib.sha256(b"").hexdigest()]}
    assert to_falcon.fetch("PUT", "/upload", BIG).json == {"size": len(BIG)}
    # Falcon takes the length from CONTENT_LENGTH, which is there for a chunked body too.
    assert to_falcon.fetch("PUT", "/upload", iter([b"x" * 70_000, b"y"])).json == {"size": 70_001}


def test_falcon_sends_files_and_streams(to_falcon: Visitor) -> None:
    answer = to_falcon.get("/file")
    assert (answer.body == BIG, answer.headers["Content-Length"]) == (True, str(len(BIG)))
    assert to_falcon.fetch("HEAD", "/file").headers["Content-Length"] == str(len(BIG))
    assert to_falcon.get("/stream").text == "one two"


def test_falcon_fails(to_falcon: Visitor, capfd: pytest.CaptureFixture[str]) -> None:
    wrong = to_falcon.fetch("POST", "/crash")
    assert (wrong.status, wrong.json) == (422, {"title": "wrong", "description": "quite wrong"})
    crash = to_falcon.get("/crash")
    assert (crash.status, b"a bug" in crash.body) == (500, False)
    assert "RuntimeError: a bug" in capfd.readouterr().err


def test_falcon_breaks_off(to_falcon: Visitor, falcon_site: Site, expect_log: Callable[..., Any]) -> None:
    with expect_log("webfw.application", "GET /breaks", count=2):
        response = to_falcon.begin("GET", "/breaks")
        assert response.headers["Content-Length"] == "100"
        with pytest.raises((IncompleteRead, ConnectionError)):
            response.read()
        old = raw(falcon_site.port, b"GET /breaks HTTP/1.0\r\nHost: a\r\n\r\n")
        assert not old or old.endswith(b"half ")
