"""Responses: what handlers answer is the same on a host as on our own server; files, trailers, hints, and misuse."""

import asyncio
import gzip
from pathlib import Path
from typing import Any

import pytest

from tests.asgi.adaptedhost import Call, ask, http_scope, running
from webfw.asgi.adapter import ASGIAdapter
from webfw.asgi.adapterhost import ResponseCut
from webfw.httpserver import Exchange
from webfw.httputil import HTTPHeaders, HTTPOutputError, HTTPServerRequest, ResponseStartLine
from webfw.iostream import StreamClosedError
from webfw.sansio.errors import LocalProtocolError
from webfw.testing import Client
from webfw.web import (
    Application,
    HTTPError,
    RequestHandler,
    StaticFileHandler,
    stream_request_body,
)
from webfw.wsgi import WSGIContainer


def quiet(handler: Any) -> None:
    """No access log: these tests are not about it."""


class Echo(RequestHandler):
    def _echo(self, *args: str) -> None:
        request = self.request
        self.write(
            {
                "method": request.method,
                "uri": request.uri,
                "version": request.version,
                "host": request.host,
                "protocol": request.protocol,
                "args": args,
                "arguments": {k: [v.decode() for v in vs] for k, vs in request.arguments.items()},
                "files": {k: [f.filename for f in fs] for k, fs in request.files.items()},
                "body": request.body.decode("latin-1"),
                "cookies": {k: m.value for k, m in request.cookies.items()},
            }
        )

    get = post = put = patch = delete = options = _echo


class Page(RequestHandler):
    def head(self) -> None:
        self.get()

    def get(self) -> None:
        self.set_cookie("a", "1")
        self.set_cookie("b", "2")
        self.write("<p>é</p>")


class Streamed(RequestHandler):
    async def get(self) -> None:
        for part in ("one ", "two ", "three"):
            self.write(part)
            await self.flush()
            await asyncio.sleep(0)


class Announced(RequestHandler):
    async def get(self) -> None:
        self.set_header("Content-Length", 6)
        self.write("abc")
        await self.flush()
        self.write("def")


class Status(RequestHandler):
    def get(self, status: str) -> None:
        self.set_status(int(status))


class Failing(RequestHandler):
    async def get(self, how: str) -> None:
        if how == "later":
            await asyncio.sleep(0)
        if how == "http":
            raise HTTPError(418, reason="Short and stout")
        raise RuntimeError("as planned")


class Slow(RequestHandler):
    request_timeout = 0.05

    async def get(self) -> None:
        await asyncio.Event().wait()


class Limited(RequestHandler):
    max_body_size = 10

    def post(self) -> None:
        self.write("taken")


@stream_request_body
class Counting(RequestHandler):
    def prepare(self) -> None:
        self.size = self.pieces = 0

    async def data_received(self, chunk: bytes) -> None:
        await asyncio.sleep(0)
        self.size += len(chunk)
        self.pieces += 1

    def post(self) -> None:
        self.write({"size": self.size})


@stream_request_body
class Refusing(RequestHandler):
    def prepare(self) -> None:
        raise HTTPError(403)

    def post(self) -> None:
        raise AssertionError("not reached")


class Trailing(RequestHandler):
    async def get(self) -> None:
        self.set_trailer("X-Early", "1")
        self.write("body")
        await self.flush()
        self.set_trailer("X-Late", "2")


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    body = environ["wsgi.input"].read()
    start_response("201 Created", [("Content-Type", "text/plain"), ("X-Path", environ["PATH_INFO"])])
    return [b"wsgi ", body]


def make_app(folder: Path, **settings: Any) -> Application:
    (folder / "small.txt").write_text("0123456789")
    (folder / "big.bin").write_bytes(bytes(range(256)) * 2000)
    return Application(
        [
            ("/echo/(.*)", Echo),
            ("/page", Page),
            ("/streamed", Streamed),
            ("/announced", Announced),
            ("/status/([0-9]+)", Status),
            ("/failing/(.*)", Failing),
            ("/slow", Slow),
            ("/limited", Limited),
            ("/counting", Counting),
            ("/refusing", Refusing),
            ("/trailing", Trailing),
            ("/static/(.*)", StaticFileHandler, {"path": str(folder)}),
            ("/wsgi.*", WSGIContainer(wsgi, threads=0, log_function=quiet)),
        ],
        log_function=quiet,
        **settings,
    )


FORM = {"content-type": "application/x-www-form-urlencoded"}
MULTIPART = {"content-type": "multipart/form-data; boundary=B"}
FILE = b'--B\r\nContent-Disposition: form-data; name="f"; filename="n.txt"\r\n\r\ndata\r\n--B--\r\n'
REQUESTS: list[tuple[str, str, dict[str, str], bytes | None]] = [
    ("GET", "/echo/a?x=1&x=2", {"cookie": "a=b; c=d"}, None),
    ("GET", "/echo/%C3%A9%2Fb?q=%20", {}, None),
    ("POST", "/echo/a", FORM, b"x=1&y=%C3%A9"),
    ("POST", "/echo/a", MULTIPART, FILE),
    ("POST", "/echo/a", MULTIPART, FILE[:30]),
    ("POST", "/echo/a", {}, b""),
    ("PUT", "/echo/a", {}, b"x" * 200_000),
    ("DELETE", "/echo/a", {}, None),
    ("OPTIONS", "/echo/a", {}, None),
    ("HEAD", "/echo/a", {}, None),
    ("GET", "/page", {}, None),
    ("HEAD", "/page", {}, None),
    ("GET", "/page", {"if-none-match": "*"}, None),
    ("POST", "/page", {}, b"x"),
    ("GET", "/page", {"accept-encoding": "gzip"}, None),
    ("GET", "/streamed", {}, None),
    ("HEAD", "/streamed", {}, None),
    ("GET", "/announced", {}, None),
    ("GET", "/status/204", {}, None),
    ("GET", "/status/304", {}, None),
    ("GET", "/status/999", {}, None),
    ("GET", "/failing/http", {}, None),
    ("GET", "/nowhere", {}, None),
    ("POST", "/nowhere", {}, b"body"),
    ("GET", "/slow", {}, None),
    ("POST", "/limited", {}, b"0123456789"),
    ("POST", "/limited", {}, b"0123456789!"),
    ("POST", "/counting", {}, b"x" * 300_000),
    ("POST", "/refusing", {}, b"x" * 100),
    ("GET", "/trailing", {}, None),
    ("GET", "/static/small.txt", {}, None),
    ("HEAD", "/static/small.txt", {}, None),
    ("GET", "/static/small.txt", {"range": "bytes=2-4"}, None),
    ("GET", "/static/small.txt", {"range": "bytes=99-"}, None),
    ("GET", "/static/big.bin", {}, None),
    ("GET", "/static/big.bin", {"range": "bytes=100000-400000"}, None),
    ("GET", "/static/none", {}, None),
    ("GET", "/wsgi/a", {}, None),
    ("POST", "/wsgi/b", {}, b"posted"),
    ("GET", "/page", {"host": "a b"}, None),
    ("GET", "/page", {"content-length": "x"}, None),
]

#: Fields that are the server's: each has its own, or none at all.
SERVERS_OWN = {"date", "server", "connection", "transfer-encoding"}
#: Different in each response.
VOLATILE = {"expires"}


def comparable(status: int, headers: Any, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
    pairs = [(name.lower(), value) for name, value in headers]
    return status, sorted(pair for pair in pairs if pair[0] not in SERVERS_OWN | VOLATILE), body


@pytest.mark.parametrize("index", range(len(REQUESTS)), ids=[f"{r[0]}-{r[1]}" for r in REQUESTS])
async def test_the_same_answers_as_on_our_own_server(index: int, tmp_path: Path, expect_log: Any) -> None:
    method, path, headers, body = REQUESTS[index]
    app = make_app(tmp_path, compress_response=True)
    client = Client(app, raise_app_exceptions=False)
    native = await client.request(method, path, headers={"host": "example.com", **headers}, body=body)
    call = await ask(ASGIAdapter(app), method, path, body, headers=headers)
    fields = [(name.decode(), value.decode("latin-1")) for name, value in call.sent[0]["headers"]]
    assert comparable(call.status, fields, call.content) == comparable(
        native.code, native.headers.get_all(), native.body
    )


@pytest.mark.parametrize("how", ["now", "later"])
async def test_an_exception_becomes_a_page(how: str, tmp_path: Path, expect_log: Any) -> None:
    with expect_log("webfw.application", "Uncaught exception GET /failing", count=1):
        call = await ask(ASGIAdapter(make_app(tmp_path)), path=f"/failing/{how}")
    assert call.status == 500
    assert b"500: Internal Server Error" in call.content


async def test_a_plain_answer_takes_two_messages_and_receives_nothing(tmp_path: Path) -> None:
    call = await ask(ASGIAdapter(make_app(tmp_path)), path="/page")
    assert [m["type"] for m in call.sent] == ["http.response.start", "http.response.body"]
    assert call.asked == 0
    names = [name for name, _ in call.sent[0]["headers"]]
    assert names.count(b"set-cookie") == 2
    assert not {b"date", b"server"} & set(names)
    assert all(name == name.lower() for name in names)


async def test_a_date_where_the_host_has_none(tmp_path: Path) -> None:
    adapter = ASGIAdapter(make_app(tmp_path), date_header=True)
    for call in (await ask(adapter, path="/page"), await ask(adapter, headers={"host": "a b"})):
        assert call.headers["date"].endswith(" GMT")


async def test_a_server_of_ones_own_is_kept() -> None:
    class Named(RequestHandler):
        def get(self) -> None:
            self.set_header("Server", "mine/1")

    call = await ask(ASGIAdapter(Application([("/", Named)], log_function=quiet)))
    assert call.headers["server"] == "mine/1"


@pytest.mark.parametrize(("version", "kept"), [("1.1", True), ("2", False), ("3", False)])
async def test_fields_of_connections_are_for_http_1(version: str, kept: bool) -> None:
    class Closing(RequestHandler):
        def get(self) -> None:
            self.set_header("Connection", "close")
            self.write(self.request.version)

    call = await ask(ASGIAdapter(Application([("/", Closing)], log_function=quiet)), http_version=version)
    assert ("connection" in call.headers) is kept
    assert call.content.decode() == f"HTTP/{version}"


# --- what only some hosts can do ---


async def test_trailers_where_the_host_can_send_them(tmp_path: Path) -> None:
    adapter = ASGIAdapter(make_app(tmp_path))
    call = await ask(adapter, path="/trailing", extensions={"http.response.trailers": {}})
    assert call.sent[0]["trailers"] is True
    assert call.sent[-1] == {
        "type": "http.response.trailers",
        "headers": [(b"x-early", b"1"), (b"x-late", b"2")],
        "more_trailers": False,
    }
    assert call.content == b"body"


async def test_trailers_elsewhere_are_dropped(tmp_path: Path) -> None:
    call = await ask(ASGIAdapter(make_app(tmp_path)), path="/trailing", extensions=None)
    assert "trailers" not in call.sent[0]
    assert call.sent[-1]["type"] == "http.response.body"


@pytest.mark.parametrize("offered", [True, False])
async def test_early_hints(offered: bool) -> None:
    class Hinting(RequestHandler):
        async def get(self) -> None:
            self.send_early_hints("</a.css>; rel=preload", "</b.js>; rel=preload")
            self.request.connection.send_informational(102, HTTPHeaders())
            await asyncio.sleep(0)
            self.write("page")

    app = ASGIAdapter(Application([("/", Hinting)], log_function=quiet))
    call = await ask(app, extensions={"http.response.early_hint": {}} if offered else {})
    hints = [m for m in call.sent if m["type"] == "http.response.early_hint"]
    links = [b"</a.css>; rel=preload", b"</b.js>; rel=preload"]
    assert [m["links"] for m in hints] == ([links] if offered else [])
    assert call.content == b"page"


PATHSEND: Any = {"http.response.pathsend": {}}


async def test_a_whole_file_is_the_hosts_to_send(tmp_path: Path) -> None:
    call = await ask(ASGIAdapter(make_app(tmp_path)), path="/static/big.bin", extensions=PATHSEND)
    assert [m["type"] for m in call.sent] == ["http.response.start", "http.response.pathsend"]
    assert call.sent[1]["path"] == str(tmp_path / "big.bin")
    assert call.headers["content-length"] == "512000"


async def test_a_part_of_a_file_is_not(tmp_path: Path) -> None:
    headers = {"range": "bytes=1-400000"}
    call = await ask(
        ASGIAdapter(make_app(tmp_path)), path="/static/big.bin", headers=headers, extensions=PATHSEND
    )
    assert call.status == 206
    assert call.content == (bytes(range(256)) * 2000)[1:400001]


# --- exchanges in the hands of whoever answers ---


def by(answer: Any) -> ASGIAdapter:
    """An application that has an exchange answered by a function."""

    class Direct:
        def begin(self, exchange: Exchange) -> Any:
            return answer(exchange)

    return ASGIAdapter(Direct())  # type: ignore[arg-type]


OK = ResponseStartLine("", 200, "OK")


async def test_writing_waits_for_a_host_that_takes_nothing() -> None:
    async def answer(exchange: Exchange) -> None:
        exchange.write_headers(OK, HTTPHeaders())
        assert exchange.write(b"x" * 60_000).done()
        late = exchange.write(b"x" * 60_000)
        assert not late.done()
        waiting.set()
        await late
        exchange.finish()

    waiting = asyncio.Event()
    call = Call(by(answer), http_scope())
    call.gate.clear()
    async with running(call):
        await waiting.wait()
        await asyncio.sleep(0)
        assert call.sent == []
        call.gate.set()
    assert len(call.content) == 120_000


async def test_pieces_that_wait_leave_together() -> None:
    def answer(exchange: Exchange) -> None:
        exchange.write_headers(OK, HTTPHeaders(), b"a")
        exchange.write(b"b")
        exchange.write(b"")
        exchange.finish()
        exchange.finish()

    call = await ask(by(answer))
    assert [m.get("body") for m in call.sent] == [None, b"ab"]


@pytest.mark.parametrize("size", [2, 4])
async def test_a_body_that_is_not_as_long_as_announced_is_cut(size: int) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.write_headers(OK, HTTPHeaders({"Content-Length": "3"}))
        if size < 3:
            exchange.write(b"x" * size)
        with pytest.raises(HTTPOutputError, match="Content-Length"):
            exchange.finish() if size < 3 else exchange.write(b"x" * size)

    call = Call(by(answer), http_scope())
    with pytest.raises(ResponseCut):
        await call.run()
    assert not any(m["type"] == "http.response.body" and not m["more_body"] for m in call.sent)


async def test_cutting_does_not_wait_for_a_client_that_takes_nothing() -> None:
    exchanges: list[Exchange] = []

    def answer(exchange: Exchange) -> None:
        exchange.write_headers(OK, HTTPHeaders(), b"x")
        exchanges.append(exchange)

    call = Call(by(answer), http_scope())
    call.gate.clear()
    task = asyncio.create_task(call.run())
    for _ in range(10):
        await asyncio.sleep(0)
    exchanges[0].abort_response()
    with pytest.raises(ResponseCut):
        await task
    with pytest.raises(StreamClosedError):
        await _write_after(exchanges[0])


async def _write_after(exchange: Exchange) -> None:
    exchange.complete = False  # type: ignore[attr-defined]  # as a handler that does not know
    await exchange.write(b"x")


async def test_what_would_break_the_protocol_is_refused_and_can_be_made_good() -> None:
    def answer(exchange: Exchange) -> None:
        bad = HTTPHeaders.from_checked({"X": "a\r\nb"})
        with pytest.raises(LocalProtocolError):
            exchange.respond(200, "OK", bad, b"")
        with pytest.raises(LocalProtocolError):
            exchange.write_headers(OK, bad)
        with pytest.raises(HTTPOutputError, match="no number"):
            exchange.write_headers(OK, HTTPHeaders({"Content-Length": "many"}))
        with pytest.raises(HTTPOutputError, match="protocol"):
            exchange.write_headers(ResponseStartLine("", 101, "Switching Protocols"), HTTPHeaders())
        for early in (lambda: exchange.write(b"x"), exchange.finish):
            with pytest.raises(HTTPOutputError):
                early()
        with pytest.raises(HTTPOutputError, match="interim"):
            exchange.send_informational(200, HTTPHeaders())
        exchange.respond(200, "OK", HTTPHeaders({"Content-Length": "2"}), b"ok")
        for late in (
            lambda: exchange.respond(200, "OK", HTTPHeaders(), b""),
            lambda: exchange.write_headers(OK, HTTPHeaders()),
            lambda: exchange.send_informational(103, HTTPHeaders()),
            lambda: exchange.write(b"x"),
        ):
            with pytest.raises(HTTPOutputError):
                late()

    call = await ask(by(answer))
    assert call.content == b"ok"


async def test_a_trailer_that_must_not_be_one_cuts_the_response() -> None:
    def answer(exchange: Exchange) -> None:
        exchange.write_headers(OK, HTTPHeaders())
        exchange.set_trailers([("Content-Length", "3")])
        with pytest.raises(LocalProtocolError):
            exchange.finish()

    with pytest.raises(ResponseCut):
        await ask(by(answer))


async def test_there_is_no_connection_to_be_had() -> None:
    def answer(exchange: Exchange) -> None:
        for take in (exchange.detach, lambda: exchange.hand_over(None)):  # type: ignore[arg-type]
            with pytest.raises(RuntimeError, match="does not give"):
                take()
        assert exchange.get_extra_info("peername") == ("192.0.2.7", 4711)
        assert exchange.get_extra_info("sockname") == ("127.0.0.1", 8000)
        assert exchange.get_extra_info("ssl_object", "none") == "none"
        assert exchange.server_connection is exchange
        assert exchange.loop is asyncio.get_running_loop()
        exchange.respond(200, "OK", HTTPHeaders(), b"")

    assert (await ask(by(answer))).status == 200


async def test_sendfile_and_its_misuse(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")

    async def answer(exchange: Exchange) -> None:
        with path.open("rb") as file:
            with pytest.raises(HTTPOutputError, match="between"):
                await exchange.sendfile(file, 0, 10)
            if exchange.request.path == "/chunked":  # type: ignore[union-attr]
                exchange.write_headers(OK, HTTPHeaders())
                with pytest.raises(HTTPOutputError, match="needs a Content-Length"):
                    await exchange.sendfile(file, 0, 10)
            elif exchange.request.path == "/short":  # type: ignore[union-attr]
                exchange.write_headers(OK, HTTPHeaders({"Content-Length": "20"}))
                with pytest.raises(OSError, match="shorter"):
                    await exchange.sendfile(file, 0, 20)
                with pytest.raises(HTTPOutputError):
                    await exchange.sendfile(file, 0, 20)
            else:
                exchange.write_headers(OK, HTTPHeaders({"Content-Length": "5"}))
                await exchange.sendfile(file, 3, 5)
        exchange.finish()

    assert (await ask(by(answer))).content == b"34567"
    assert (await ask(by(answer), path="/chunked")).content == b""
    assert (await ask(by(answer), "HEAD")).content == b""
    with pytest.raises(ResponseCut):
        await ask(by(answer), path="/short")


async def test_pathsend_is_only_for_the_very_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")

    async def answer(exchange: Exchange) -> None:
        with path.open("rb") as file:
            path.unlink()
            path.write_bytes(b"something else")
            exchange.write_headers(OK, HTTPHeaders({"Content-Length": "10"}))
            await exchange.sendfile(file, 0, 10)
        exchange.finish()

    assert (await ask(by(answer), extensions=PATHSEND)).content == b"0123456789"


async def test_plain_functions_get_whole_requests() -> None:
    def callback(request: HTTPServerRequest) -> None:
        body = f"{request.method} {request.body_arguments}".encode()
        request.connection.write_headers(
            ResponseStartLine("", 200, "OK"), HTTPHeaders({"Content-Length": str(len(body))}), body
        )
        request.connection.finish()

    call = await ask(ASGIAdapter(callback), "POST", body=b"a=b", headers=FORM)
    assert call.content == b"POST {'a': [b'b']}"


async def test_compressed_bodies_are_unpacked_when_asked_for(tmp_path: Path) -> None:
    adapter = ASGIAdapter(make_app(tmp_path), decompress_request=True, max_body_size=100_000)
    headers = {"content-encoding": "gzip"}
    call = await ask(adapter, "POST", "/counting", gzip.compress(b"x" * 100_000), headers=headers)
    assert call.content == b'{"size": 100000}'
    call = await ask(adapter, "POST", "/counting", gzip.compress(b"x" * 100_001), headers=headers)
    assert call.status == 413
    call = await ask(adapter, "POST", "/counting", gzip.compress(b"x" * 1000)[:-4], headers=headers)
    assert call.status == 400
