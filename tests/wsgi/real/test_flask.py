"""Flask: sessions, forms, streams, uploads, downloads and errors, used over real HTTP."""

import hashlib
import io
import os
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import IncompleteRead
from pathlib import Path
from typing import Any

import pytest

from tests.wsgi.real.site import MODES, Site, Visitor, contain, raw
from webfw.web import Application, FallbackHandler, RequestHandler

flask = pytest.importorskip("flask")

BIG = random.Random(1).randbytes(5 * 1024 * 1024)


class Events:
    """What a view waits for and what it tells, between the threads of the server and the test."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.closed = threading.Event()
        self.torn_down: list[str] = []


def make_app(directory: Path) -> Any:
    (directory / "static").mkdir(exist_ok=True)
    (directory / "static" / "site.css").write_text("body { color: teal }\n")
    (directory / "big.bin").write_bytes(BIG)
    app = flask.Flask("shop", root_path=str(directory))
    app.secret_key = "for tests only"
    app.events = Events()
    add_pages(app)
    add_files(app, directory)
    add_streams(app)
    add_failures(app)
    return app


def add_pages(app: Any) -> None:
    from flask import g, jsonify, redirect, request, session, url_for

    @app.before_request
    def before() -> None:
        g.who = session.get("name", "nobody")

    @app.after_request
    def after(response: Any) -> Any:
        response.headers["X-Who"] = g.who
        return response

    @app.teardown_request
    def teardown(error: BaseException | None) -> None:
        app.events.torn_down.append(request.path)

    @app.get("/")
    def home() -> str:
        return flask.render_template_string("Hello {{ name }} & all", name=g.who)

    @app.post("/login")
    def login() -> Any:
        session["name"] = request.form["name"]
        flask.flash("welcome")
        return redirect(url_for("home"))

    @app.get("/flashes")
    def flashes() -> Any:
        return flask.get_flashed_messages()

    @app.get("/logout")
    def logout() -> Any:
        session.clear()
        return redirect(url_for("home", _external=True), 303)

    @app.route("/echo", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
    def echo() -> Any:
        return jsonify(method=request.method, args=request.args.to_dict(flat=False), form=request.form)

    @app.post("/json")
    def json() -> Any:
        return {"got": request.get_json()}

    @app.get("/things/<path:name>")
    def thing(name: str) -> Any:
        return {
            "name": name,
            "root": request.script_root,
            "url": request.url,
            "self": url_for("thing", name=name),
        }

    @app.get("/meet")
    def meet() -> Any:
        app.barrier.wait(10)
        mine = flask.request.args["n"]
        app.barrier.wait(10)
        return {"n": mine, "thread": threading.get_ident()}

    @app.get("/async")
    async def asynchronous() -> str:
        import asyncio

        await asyncio.sleep(0)
        return "from a coroutine"


def add_files(app: Any, directory: Path) -> None:
    from flask import request, send_file

    @app.post("/upload")
    def upload() -> Any:
        return {
            "form": request.form,
            "files": {
                name: [file.filename, hashlib.sha256(file.read()).hexdigest()]
                for name, file in request.files.items()
            },
        }

    @app.post("/limited")
    def limited() -> Any:
        request.max_content_length = 1000
        return {"size": len(request.get_data())}

    @app.get("/big")
    def big() -> Any:
        return send_file(directory / "big.bin", as_attachment=True, download_name="größe.bin")

    @app.get("/memory")
    def memory() -> Any:
        return send_file(io.BytesIO(b"in memory"), mimetype="text/plain")


def add_streams(app: Any) -> None:
    from flask import Response, request, stream_with_context

    @app.get("/stream")
    def stream() -> Any:
        app.events.go_on.clear()

        def pieces() -> Iterator[str]:
            yield f"first for {request.args['name']};"
            assert app.events.go_on.wait(10)
            yield "second"

        return Response(stream_with_context(pieces()), mimetype="text/plain")

    @app.get("/endless")
    def endless() -> Any:
        app.events.closed.clear()

        def pieces() -> Iterator[bytes]:
            try:
                while True:
                    yield b"x" * 65536
            finally:
                app.events.closed.set()

        return Response(pieces())

    @app.get("/rows")
    def rows() -> Any:
        return Response((f"{n}\n" for n in range(5000)), mimetype="text/csv")


def add_failures(app: Any) -> None:
    from flask import Response, abort

    @app.errorhandler(404)
    def not_found(error: Any) -> Any:
        return {"error": "no such page"}, 404

    @app.get("/teapot")
    def teapot() -> None:
        abort(418)

    @app.get("/crash")
    def crash() -> None:
        raise RuntimeError("a bug")

    @app.get("/breaks")
    def breaks() -> Any:
        def pieces() -> Iterator[bytes]:
            yield b"half "
            raise RuntimeError("half-way")

        return Response(pieces())


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return make_app(tmp_path_factory.mktemp("flask"))


@pytest.fixture(scope="module", params=list(MODES))
def mode(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def site(app: Any, mode: str, sites: Callable[..., Site]) -> Site:
    return sites(lambda: contain(app, mode))


# --- pages ---


def test_a_session_is_kept(visitor: Visitor) -> None:
    assert visitor.get("/").text == "Hello nobody & all"
    answer = visitor.post("/login", {"name": "Ada <3 Größe"})
    assert (answer.status, answer.headers["Location"]) == (302, "/")
    page = visitor.get("/")
    assert page.text == "Hello Ada &lt;3 Größe & all"
    assert page.headers["X-Who"] == "Ada <3 Größe"
    assert visitor.get("/flashes").json == ["welcome"]
    assert visitor.get("/flashes").json == []
    answer = visitor.get("/logout")
    assert (answer.status, answer.headers["Location"]) == (303, f"http://127.0.0.1:{visitor.port}/")
    assert visitor.get("/").text == "Hello nobody & all"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_methods_arguments_and_forms(visitor: Visitor, method: str) -> None:
    body = None if method == "GET" else "a=1&b=%C3%A4"
    headers = {} if method == "GET" else {"Content_Type": "application/x-www-form-urlencoded"}
    answer = visitor.fetch(method, "/echo?q=1&q=%E2%82%AC&e=", body, **headers).json
    assert answer["method"] == method
    assert answer["args"] == {"q": ["1", "€"], "e": [""]}
    assert answer["form"] == ({} if method == "GET" else {"a": "1", "b": "ä"})


def test_other_methods_are_the_applications_matter(visitor: Visitor) -> None:
    options = visitor.fetch("OPTIONS", "/json")
    assert (options.status, set(options.headers["Allow"].split(", "))) == (200, {"OPTIONS", "POST"})
    assert visitor.get("/json").status == 405
    head = visitor.fetch("HEAD", "/")
    assert (head.status, head.headers["Content-Length"], head.body) == (200, "18", b"")


def test_json(visitor: Visitor) -> None:
    value = {"text": "Größe", "list": [1, None, 1.5]}
    assert visitor.post_json("/json", value).json == {"got": value}
    assert visitor.fetch("POST", "/json", b"{", Content_Type="application/json").status == 400
    assert visitor.post("/json", {"a": "1"}).status == 415


def test_paths_arrive_decoded(visitor: Visitor) -> None:
    answer = visitor.get("/things/Gr%C3%B6%C3%9Fe/a%2Fb%20c?x=%20").json
    assert answer["name"] == "Größe/a/b c"
    assert answer["root"] == ""
    assert answer["self"] == "/things/Gr%C3%B6%C3%9Fe/a/b%20c"
    assert answer["url"] == f"http://127.0.0.1:{visitor.port}/things/Größe/a/b%20c?x=%20"


def test_static_files(visitor: Visitor) -> None:
    first = visitor.get("/static/site.css")
    assert (first.status, first.text) == (200, "body { color: teal }\n")
    assert first.headers["Content-Type"] == "text/css; charset=utf-8"
    again = visitor.get("/static/site.css", If_None_Match=first.headers["ETag"])
    assert (again.status, again.body) == (304, b"")
    assert visitor.get("/static/../big.bin").status == 404
    assert visitor.get("/static/none.css").status == 404


def test_requests_are_torn_down_once(app: Any, visitor: Visitor) -> None:
    app.events.torn_down.clear()
    for path in ("/things/one", "/rows", "/things/two", "/none"):
        visitor.get(path)
    # The last one may still be going on when its answer is here.
    visitor.get("/things/three")
    assert app.events.torn_down[:4] == ["/things/one", "/rows", "/things/two", "/none"]


# --- files ---


@pytest.mark.parametrize("size", [0, 10, 512 * 1024, len(BIG)])
def test_uploads(visitor: Visitor, size: int) -> None:
    files = {"a": ("größe.bin", BIG[:size]), "b": ("empty", b"")}
    answer = visitor.upload("/upload", {"note": "zwölf"}, files)
    assert answer.json == {
        "form": {"note": "zwölf"},
        "files": {
            "a": ["größe.bin", hashlib.sha256(BIG[:size]).hexdigest()],
            "b": ["empty", hashlib.sha256(b"").hexdigest()],
        },
    }


def test_a_chunked_upload_has_an_end(visitor: Visitor) -> None:
    def body() -> Iterator[bytes]:
        yield b"a=1"
        yield b"&b=" + b"x" * 100_000

    answer = visitor.fetch("POST", "/echo", body(), Content_Type="application/x-www-form-urlencoded").json
    assert answer["form"] == {"a": "1", "b": "x" * 100_000}


def test_a_limit_of_flasks_own(visitor: Visitor) -> None:
    assert visitor.fetch("POST", "/limited", b"x" * 1000).json == {"size": 1000}
    assert visitor.fetch("POST", "/limited", b"x" * 1001).status == 413
    assert visitor.fetch("POST", "/limited", b"x" * 1000).json == {"size": 1000}


def test_a_file_is_downloaded(visitor: Visitor) -> None:
    answer = visitor.get("/big")
    assert (answer.status, answer.body == BIG) == (200, True)
    assert answer.headers["Content-Length"] == str(len(BIG))
    assert "filename*=UTF-8''gr%C3%B6%C3%9Fe.bin" in answer.headers["Content-Disposition"]
    head = visitor.fetch("HEAD", "/big")
    assert (head.status, head.headers["Content-Length"], head.body) == (200, str(len(BIG)), b"")
    assert visitor.get("/memory").text == "in memory"


@pytest.mark.parametrize(
    ("ranges", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=1000-299999", 1000, 299_999),
        ("bytes=-7", -7, -1),
        ("bytes=5242000-", 5242000, -1),
    ],
)
def test_ranges(visitor: Visitor, ranges: str, first: int, last: int) -> None:
    first, last = first % len(BIG), last % len(BIG)
    answer = visitor.get("/big", Range=ranges)
    assert answer.status == 206
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{len(BIG)}"
    assert answer.body == BIG[first : last + 1]


def test_conditional_requests(visitor: Visitor) -> None:
    assert visitor.get("/big", Range="bytes=9999999-").status == 416
    head = visitor.fetch("HEAD", "/big").headers
    for name, value in (("If_None_Match", head["ETag"]), ("If_Modified_Since", head["Last-Modified"])):
        answer = visitor.get("/big", **{name: value})
        assert (answer.status, answer.body) == (304, b"")
        assert "Content-Length" not in answer.headers or answer.headers["Content-Length"] == str(len(BIG))
    assert visitor.get("/big", Range="bytes=0-4", If_Range=head["ETag"]).status == 206
    answer = visitor.get("/big", Range="bytes=0-4", If_Range='"other"')
    assert (answer.status, len(answer.body)) == (200, len(BIG))


def test_a_download_leaves_no_file_open(visitor: Visitor) -> None:
    visitor.get("/big")
    before = open_files()
    for _ in range(5):
        visitor.get("/big")
        visitor.get("/big", Range="bytes=0-1")
        visitor.fetch("HEAD", "/big")
    # The last file may be closed a moment after its last byte.
    for _ in range(100):
        visitor.get("/")
        if open_files() <= before:
            break
    assert open_files() <= before


def open_files() -> int:
    return sum(
        "big.bin" in os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd") if linked(n)
    )


def linked(number: str) -> bool:
    return os.path.islink(f"/proc/self/fd/{number}")


@pytest.mark.parametrize("mode", ["threads", "inline"], indirect=False)
def test_a_whole_file_is_sent_by_the_kernel(
    app: Any, mode: str, sites: Callable[..., Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    from webfw.httpserver.http1exchange import Http1Exchange

    sent: list[int] = []
    original = Http1Exchange.sendfile

    def spy(self: Any, file: Any, offset: int, count: int) -> Any:
        sent.append(count)
        return original(self, file, offset, count)

    monkeypatch.setattr(Http1Exchange, "sendfile", spy)
    with sites(lambda: contain(app, mode)).visitor() as visitor:
        assert visitor.get("/big").body == BIG
        assert sent == [len(BIG)]


# --- streams ---


def test_a_stream_leaves_as_it_is_made(app: Any, visitor: Visitor) -> None:
    response = visitor.begin("GET", "/stream?name=Ada")
    assert response.headers["Transfer-Encoding"] == "chunked"
    assert response.read1() == b"first for Ada;"
    app.events.go_on.set()
    assert response.read() == b"second"
    assert visitor.get("/").status == 200


def test_many_small_pieces(visitor: Visitor) -> None:
    assert visitor.get("/rows").text == "".join(f"{n}\n" for n in range(5000))
    head = visitor.fetch("HEAD", "/rows")
    assert (head.status, head.body) == (200, b"")


def test_streams_for_http_1_0(site: Site) -> None:
    answer = raw(site.port, b"GET /rows HTTP/1.0\r\nHost: a\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"Transfer-Encoding" not in head
    assert body.endswith(b"4998\n4999\n")


def test_a_generator_is_closed_when_its_reader_leaves(app: Any, site: Site) -> None:
    visitor = site.visitor()
    response = visitor.begin("GET", "/endless")
    assert len(response.read(100_000)) == 100_000
    response.close()
    visitor.connection.close()
    assert app.events.closed.wait(10)


# --- errors ---


def test_errors_of_the_application(visitor: Visitor) -> None:
    missing = visitor.get("/none")
    assert (missing.status, missing.json) == (404, {"error": "no such page"})
    assert visitor.get("/teapot").status == 418
    crash = visitor.get("/crash")
    assert (crash.status, b"a bug" in crash.body) == (500, False)
    assert visitor.get("/").status == 200


def test_a_crash_that_flask_passes_on(app: Any, visitor: Visitor, expect_log: Callable[..., Any]) -> None:
    app.config["PROPAGATE_EXCEPTIONS"] = True
    try:
        with expect_log("webfw.application", "GET /crash .*uncaught exception", count=1) as records:
            assert visitor.get("/crash").status == 500
        assert str(records[0].exc_info[1]) == "a bug"
    finally:
        app.config["PROPAGATE_EXCEPTIONS"] = None
    assert visitor.get("/").status == 200


def test_a_stream_that_breaks_is_seen_to_be_incomplete(
    visitor: Visitor, expect_log: Callable[..., Any]
) -> None:
    with expect_log("webfw.application", "GET /breaks", count=1):
        response = visitor.begin("GET", "/breaks")
        with pytest.raises((IncompleteRead, ConnectionError)):
            response.read()
        visitor.connection.close()
        assert visitor.get("/").status == 200


# --- threads ---


def test_requests_at_once_do_not_meet(app: Any, sites: Callable[..., Site]) -> None:
    """Four threads are in the same view at the same time; each has its own request, and its own answer."""
    site = sites(lambda: contain(app, "threads"))
    app.barrier = threading.Barrier(4)

    def visit(n: int) -> Any:
        with site.visitor() as visitor:
            return [visitor.get(f"/meet?n={n}-{turn}").json for turn in range(5)]

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(visit, range(4)))
    assert [[answer["n"] for answer in each] for each in answers] == [
        [f"{n}-{turn}" for turn in range(5)] for n in range(4)
    ]
    assert len({answer["thread"] for each in answers for answer in each}) == 4


def test_async_views_run_in_threads(app: Any, sites: Callable[..., Site]) -> None:
    pytest.importorskip("asgiref")
    with sites(lambda: contain(app, "threads")).visitor() as visitor:
        assert visitor.get("/async").text == "from a coroutine"
    # On the loop there is a loop already, and the library that Flask uses refuses to start another.
    with sites(lambda: contain(app, "inline")).visitor() as visitor:
        assert visitor.get("/async").status == 500


# --- below a mount ---


class Native(RequestHandler):
    def get(self) -> None:
        self.write("native")


@pytest.mark.parametrize("mode", list(MODES))
def test_below_a_mount(app: Any, mode: str, sites: Callable[..., Site]) -> None:
    def make() -> Application:
        return Application(
            [("/", Native), (r"/flask(?:/.*)?", contain(app, mode, mount="/flask"))],
            log_function=lambda h: None,
        )

    with sites(make).visitor() as visitor:
        assert visitor.get("/").text == "native"
        assert visitor.get("/flask/").text == "Hello nobody & all"
        assert visitor.get("/flask").status == 308 or visitor.get("/flask").text == "Hello nobody & all"
        assert visitor.get("/flaskk/").status == 404
        assert visitor.post("/flask/login", {"name": "Ada"}).headers["Location"] == "/flask/"
        assert visitor.get("/flask/").text == "Hello Ada & all"
        answer = visitor.get("/flask/things/a%20b").json
        assert answer == {
            "name": "a b",
            "root": "/flask",
            "self": "/flask/things/a%20b",
            "url": f"http://127.0.0.1:{visitor.port}/flask/things/a%20b",
        }
        assert visitor.get("/flask/static/site.css").text == "body { color: teal }\n"
        assert visitor.get("/flask/big").body == BIG
        files = {"a": ("a", BIG)}
        digest = hashlib.sha256(BIG).hexdigest()
        assert visitor.upload("/flask/upload", {}, files).json["files"] == {"a": ["a", digest]}
        assert visitor.get("/").text == "native"


@pytest.mark.parametrize("mode", ["threads", "inline"])
def test_behind_a_fallback_handler(app: Any, mode: str, sites: Callable[..., Site]) -> None:
    """As Tornado's users have it: what no route takes goes to the application, with the body that was read."""

    def make() -> Application:
        fallback = {"fallback": contain(app, mode)}
        routes: list[Any] = [("/native", Native), (".*", FallbackHandler, fallback)]
        return Application(routes, log_function=lambda h: None)

    with sites(make).visitor() as visitor:
        assert visitor.get("/native").text == "native"
        assert visitor.get("/").text == "Hello nobody & all"
        assert visitor.post("/login", {"name": "Ada"}).status == 302
        assert visitor.get("/").text == "Hello Ada & all"
        for size in (10, len(BIG)):
            answer = visitor.upload("/upload", {}, {"a": ("a", BIG[:size])})
            assert answer.json["files"] == {"a": ["a", hashlib.sha256(BIG[:size]).hexdigest()]}
        assert visitor.get("/big").body == BIG
        assert visitor.get("/rows").text.endswith("\n4999\n")
        assert visitor.get("/native").text == "native"


def test_in_an_executor(app: Any, sites: Callable[..., Site], expect_log: Callable[..., Any]) -> None:
    with ThreadPoolExecutor(2, thread_name_prefix="own") as executor:
        site = sites(lambda: contain(app, "threads", executor=executor))
        with site.visitor() as visitor:
            visitor.post("/login", {"name": "Ada"})
            assert visitor.get("/").text == "Hello Ada & all"
            assert visitor.upload("/upload", {}, {"a": ("a", BIG)}).status == 200
            assert visitor.get("/big").body == BIG
            response = visitor.begin("GET", "/stream?name=Ada")
            assert response.read1() == b"first for Ada;"
            app.events.go_on.set()
            assert response.read() == b"second"
            with expect_log("webfw.application", "GET /breaks", count=1):
                response = visitor.begin("GET", "/breaks")
                with pytest.raises((IncompleteRead, ConnectionError)):
                    response.read()
        site.stop()
