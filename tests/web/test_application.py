import asyncio
import logging
import types
from typing import Any

import pytest

from webfw.httpserver import HTTPServer
from webfw.httputil import (
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    HTTPServerRequest,
    ResponseStartLine,
)
from webfw.routing import HostMatches, PathMatches, Router, Rule, RuleRouter
from webfw.web import (
    Application,
    FallbackHandler,
    GZipContentEncoding,
    OutputTransform,
    RequestHandler,
    StaticFileHandler,
    TemplateModule,
    UIModule,
    stream_request_body,
    url,
)
from webfw.web.delegate import HandlerDelegate


class Named(RequestHandler):
    """Says who it is."""

    def initialize(self, name: str = "default") -> None:
        self.name = name

    def get(self, *args: str, **kwargs: str) -> None:
        self.write({"name": self.name, "args": args, "kwargs": kwargs, "app": self.settings.get("app", "")})


def says(name: str) -> dict[str, str]:
    return {"name": name}


async def name_of(site: Any, path: str, **fields: str) -> Any:
    """The name the handler at a path has, or the status without one."""
    data = await site.send(
        b"GET %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (path.encode(), fields.get("host", "a").encode())
    )
    status = int(data.split(b" ", 2)[1])
    return data.split(b'"name": "')[1].split(b'"')[0].decode() if status == 200 else status


def silent(handler: RequestHandler) -> None:
    """Write no access log."""


# --- routes ---


async def test_the_forms_of_routes(site: Any) -> None:
    one = site(
        [
            ("/tuple", Named, says("tuple")),
            ["/list", Named, says("list")],
            url("/spec", Named, says("spec"), name="spec"),
            Rule(PathMatches("/rule"), Named, says("rule")),
            ("/dotted", "webfw.web.ErrorHandler", {"status_code": 410}),
            ("/nested/.*", [("/nested/a", Named, says("a")), ("/nested/(b)", Named, says("b"))]),
            ("/(?P<word>[a-z]+)/(?:x|y)", Named, says("pattern")),
        ]
    )
    for path, name in [
        ("/tuple", "tuple"),
        ("/list", "list"),
        ("/spec", "spec"),
        ("/rule", "rule"),
        ("/dotted", 410),
        ("/nested/a", "a"),
        ("/nested/b", "b"),
        ("/nested/c", 404),
        ("/abc/x", "pattern"),
        ("/tuple/", 404),
        ("/", 404),
    ]:
        assert await name_of(one, path) == name, path


async def test_routes_may_come_from_a_generator(site: Any) -> None:
    app = Application((route for route in [("/a", Named)]), log_function=silent)
    app.add_handlers("b", (route for route in [("/b", Named, says("b"))]))
    one = site(app)
    assert await name_of(one, "/a") == "default"
    assert await name_of(one, "/b", host="b") == "b"


def test_reverse_url() -> None:
    app = Application([url("/a/(.*)/b", Named, name="one"), ("/n/.*", [url("/n/(.)", Named, name="inner")])])
    assert app.reverse_url("one", "x y") == "/a/x%20y/b"
    assert app.reverse_url("inner", 5) == "/n/5"
    with pytest.raises(KeyError, match="other not found"):
        app.reverse_url("other")


async def test_hosts(site: Any) -> None:
    app = Application([("/.*", Named, says("any"))], log_function=silent)
    app.add_handlers(r"www\.example\.com", [("/only", Named, says("www"))])
    app.add_handlers(r".*\.example\.com", [("/.*", Named, says("sub"))])
    one = site(app)
    for host, path, name in [
        ("www.example.com", "/only", "www"),
        ("www.example.com:8080", "/only", "www"),
        ("WWW.EXAMPLE.COM", "/only", "www"),
        ("www.example.com", "/other", "sub"),
        ("www.example.org", "/only", "any"),
        ("www.example.com.evil.org", "/only", "any"),
        ("127.0.0.1", "/only", "any"),
        ("[::1]:80", "/only", "any"),
    ]:
        assert await name_of(one, path, host=host) == name, (host, path)


async def test_the_default_host(site: Any) -> None:
    app = Application([("/.*", Named, says("any"))], default_host="www.example.com", log_function=silent)
    app.add_handlers(r"www\.example\.com", [("/a", Named, says("www"))])
    one = site(Application([("/x", Named)], default_host="www.example.com", log_function=silent))
    one.application.add_handlers(r"www\.example\.com", iter([("/a", Named, says("www"))]))
    assert await name_of(one, "/a", host="www.example.com") == "www"
    assert await name_of(one, "/a", host="elsewhere.org") == "www"
    assert await name_of(one, "/x", host="elsewhere.org") == "default"
    # A proxy has said which host it was: no default then.
    answer = await one.ask("/a", X_Real_Ip="1.2.3.4")
    assert answer.status == 404


async def test_routes_added_later(site: Any) -> None:
    app = Application([("/a", Named)], log_function=silent)
    one = site(app)
    assert await name_of(one, "/b", host="h") == 404
    app.add_handlers("h", [("/b", Named, says("new"))])
    assert await name_of(one, "/b", host="h") == "new"
    app.wildcard_router.add_rules([("/c", Named, says("c"))])
    assert await name_of(one, "/c") == "c"


# --- who else may answer ---


def respond(request: HTTPServerRequest, text: bytes) -> None:
    headers = HTTPHeaders({"Content-Length": str(len(text))})
    request.connection.write_headers(ResponseStartLine("HTTP/1.1", 200, "OK"), headers, text)
    request.connection.finish()


async def test_other_targets(site: Any) -> None:
    def function(request: HTTPServerRequest, **kwargs: Any) -> None:
        respond(request, b"function " + request.body)

    async def coroutine(request: HTTPServerRequest, **kwargs: Any) -> None:
        await asyncio.sleep(0)
        respond(request, b"coroutine " + request.body)

    class Delegate(HTTPMessageDelegate):
        def __init__(self, connection: Any) -> None:
            self.connection = connection
            self.chunks: list[bytes] = []

        def data_received(self, chunk: bytes) -> None:
            self.chunks.append(chunk)

        def finish(self) -> None:
            text = b"delegate " + b"".join(self.chunks)
            self.connection.write_headers(
                ResponseStartLine("HTTP/1.1", 200, "OK"),
                HTTPHeaders({"Content-Length": str(len(text))}),
                text,
            )
            self.connection.finish()

    class Delegates(HTTPServerConnectionDelegate):
        def start_request(self, server_conn: object, request_conn: Any) -> HTTPMessageDelegate:
            return Delegate(request_conn)

    class Declines(Router):
        def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> None:
            return None

    one = site(
        [
            ("/function", function),
            ("/coroutine", coroutine),
            ("/delegates", Delegates()),
            ("/router", RuleRouter([("/router", function)])),
            ("/.*", Declines()),
            ("/declined", function),
        ]
    )
    for path, answer in [
        ("/function", b"function body"),
        ("/coroutine", b"coroutine body"),
        ("/delegates", b"delegate body"),
        ("/router", b"function body"),
        ("/declined", b"function body"),
    ]:
        assert (await one.ask(path, "POST", b"body")).body == answer
        assert (await one.ask(path)).body == answer.removesuffix(b"body")
    assert (await one.ask("/nobody")).status == 404


@stream_request_body
class Streamed(RequestHandler):
    def prepare(self) -> None:
        self.chunks: list[bytes] = []

    async def data_received(self, chunk: bytes) -> None:
        await asyncio.sleep(0)
        self.chunks.append(chunk)

    def post(self) -> None:
        self.write(b"streamed " + b"".join(self.chunks))

    get = post


class Whole(RequestHandler):
    def post(self) -> None:
        self.write(b"whole " + self.request.body)

    get = post


def inner_application() -> Application:
    routes: list[Any] = [("/inner/streamed", Streamed), ("/inner/whole", Whole), ("/inner/named", Named)]
    return Application(routes, app="inner", log_function=silent)


@pytest.mark.parametrize("how", ["target", "fallback", "router", "host"])
async def test_an_application_within_another(site: Any, how: str) -> None:
    inner = inner_application()
    rules: dict[str, Any] = {
        "target": ("/inner/.*", inner),
        "fallback": ("/inner/.*", FallbackHandler, {"fallback": inner}),
        "router": (r"/inner/.*", RuleRouter([Rule(HostMatches(".*"), inner)])),
        "host": Rule(HostMatches("example.com"), inner),
    }
    one = site([("/streamed", Streamed), rules[how]], app="outer")
    assert (await one.ask("/streamed", "POST", b"body")).body == b"streamed body"
    assert (await one.ask("/inner/whole", "POST", b"body")).body == b"whole body"
    assert (await one.ask("/inner/whole")).body == b"whole "
    assert (await one.ask("/inner/streamed", "POST", b"body")).body == b"streamed body"
    assert (await one.ask("/inner/streamed")).body == b"streamed "
    assert b'"app": "inner"' in (await one.ask("/inner/named")).body
    assert (await one.ask("/inner/nothing")).status == 404


@pytest.mark.parametrize("server_has", ["router", "application in a router"])
async def test_a_router_in_front_of_applications(site: Any, server_has: str) -> None:
    inner = inner_application()
    router = RuleRouter([(r"/inner/.*", inner if server_has == "router" else RuleRouter([("/.*", inner)]))])
    one = site(router)
    assert (await one.ask("/inner/whole", "POST", b"body")).body == b"whole body"
    assert (await one.ask("/inner/streamed", "POST", b"body")).body == b"streamed body"
    assert (await one.ask("/inner/nothing", "POST", b"body")).status == 404
    assert (await one.ask("/other")).status == 404


async def test_a_fallback_that_fails(site: Any, expect_log: Any) -> None:
    def fails(request: HTTPServerRequest) -> None:
        raise ValueError("SECRET")

    inner = Application([("/.*", fails)], log_function=silent)
    one = site([("/.*", FallbackHandler, {"fallback": inner})])
    with expect_log("webfw.application", "Uncaught exception while handing on", count=1):
        assert await one.send(site.request()) == b""
    assert one.wire.aborted


async def test_an_application_is_called_with_a_request(site: Any) -> None:
    calls: list[Any] = []
    inner = inner_application()

    def handed(request: HTTPServerRequest) -> None:
        calls.append(inner(request))

    one = site(handed)
    assert (await one.ask("/inner/whole", "POST", b"body")).body == b"whole body"
    assert (await one.ask("/inner/streamed", "POST", b"body")).body == b"streamed body"
    assert calls[0] is None
    assert isinstance(calls[1], asyncio.Task)


# --- what subclasses put in between ---


class Seen(Application):
    seen: list[Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.seen = []
        super().__init__(*args, log_function=silent, **kwargs)


class Finds(Seen):
    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> HTTPMessageDelegate:
        self.seen.append(("find_handler", request.path))
        return super().find_handler(request, **kwargs)


class Starts(Seen):
    def start_request(self, server_conn: object, request_conn: Any) -> HTTPMessageDelegate:
        self.seen.append("start_request")
        return super().start_request(server_conn, request_conn)


class Delegates(Seen):
    def get_handler_delegate(
        self, request: HTTPServerRequest, target_class: Any, *args: Any, **kwargs: Any
    ) -> Any:
        self.seen.append(("get_handler_delegate", target_class.__name__))
        return super().get_handler_delegate(request, target_class, *args, **kwargs)


class Wrapping(HTTPMessageDelegate):
    """A delegate around that of a handler, as middleware is."""

    def __init__(self, delegate: HandlerDelegate, seen: list[Any]) -> None:
        self.delegate, self.seen = delegate, seen

    def headers_received(self, start_line: Any, headers: HTTPHeaders) -> Any:
        self.seen.append(("headers", start_line.method, headers.get("Content-Length")))
        return self.delegate.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Any:
        return self.delegate.data_received(chunk.upper())

    def finish(self) -> None:
        self.delegate.finish()

    def on_connection_close(self) -> None:
        self.seen.append("closed")
        self.delegate.on_connection_close()


class Wraps(Seen):
    def get_handler_delegate(self, *args: Any, **kwargs: Any) -> Any:
        return Wrapping(super().get_handler_delegate(*args, **kwargs), self.seen)


@pytest.mark.parametrize("kind", [Seen, Finds, Starts, Delegates, Wraps])
async def test_what_a_subclass_overrides_is_called(site: Any, kind: type[Seen]) -> None:
    app = kind([("/whole", Whole), ("/streamed", Streamed), ("/named/(.*)", Named)])
    one = site(app)
    body = b"BODY" if kind is Wraps else b"body"
    assert (await one.ask("/whole", "POST", b"body")).body == b"whole " + body
    assert (await one.ask("/streamed", "POST", b"body")).body == b"streamed " + body
    assert (await one.ask("/streamed")).body == b"streamed "
    assert b'"args": ["x y"]' in (await one.ask("/named/x%20y")).body
    assert (await one.ask("/nowhere", "POST", b"body")).status == 404
    assert (await one.ask("/nowhere")).status == 404
    assert (
        app.seen
        == {
            Seen: [],
            Finds: [
                ("find_handler", path)
                for path in ("/whole", "/streamed", "/streamed", "/named/x%20y", "/nowhere", "/nowhere")
            ],
            Starts: ["start_request"] * 6,
            Delegates: [
                ("get_handler_delegate", name)
                for name in ("Whole", "Streamed", "Streamed", "Named", "ErrorHandler", "ErrorHandler")
            ],
            Wraps: [
                ("headers", "POST", "4"),
                ("headers", "POST", "4"),
                ("headers", "GET", None),
                ("headers", "GET", None),
                ("headers", "POST", "4"),
                ("headers", "GET", None),
            ],
        }[kind]
    )


@pytest.mark.parametrize("streams", [False, True])
async def test_a_wrapped_delegate_whose_client_leaves(site: Any, streams: bool) -> None:
    told: list[str] = []

    class Goes(Streamed if streams else Whole):  # type: ignore[misc]  # either
        def on_connection_close(self) -> None:
            told.append("gone")

        def on_finish(self) -> None:
            told.append("on_finish")

    app = Wraps([("/", Goes)])
    one = site(app)
    await one.send(site.request("/", "POST", b"bo", Content_Length="4"))
    one.wire.lose()
    await one.settle()
    assert told == (["gone", "on_finish"] if streams else [])


async def test_a_delegate_told_by_hand(site: Any) -> None:
    """As by a connection that knows nothing of callbacks."""
    told: list[str] = []

    class Goes(Streamed):
        def on_connection_close(self) -> None:
            told.append("gone")

    seen: list[Any] = []

    class Keeps(Seen):
        def get_handler_delegate(self, *args: Any, **kwargs: Any) -> Any:
            seen.append(super().get_handler_delegate(*args, **kwargs))
            return seen[-1]

    one = site(Keeps([("/", Goes)]))
    await one.send(site.request("/", "POST", b"bo", Content_Length="4"))
    (delegate,) = seen
    assert isinstance(delegate.handler, Goes)
    delegate.on_connection_close()
    delegate.on_connection_close()
    one.wire.lose()
    await one.settle()
    assert told == ["gone"]
    assert delegate.handler is None


async def test_the_server_uses_an_overridden_seam(site: Any) -> None:
    assert HTTPServer(Application()).begin is not None
    assert Application().begin is not None
    assert Finds().begin is None
    assert Starts().begin is None


# --- settings ---


async def test_debug_switches_several_settings_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webfw.autoreload.reloader.ensure_started", lambda: True)
    settings = Application(debug=True).settings
    assert settings == {
        "debug": True,
        "autoreload": True,
        "compiled_template_cache": False,
        "static_hash_cache": False,
        "serve_traceback": True,
    }
    assert Application(debug=True, serve_traceback=False).settings["serve_traceback"] is False
    assert Application().settings == {}


async def test_default_handler(site: Any) -> None:
    one = site([], default_handler_class=Named, default_handler_args=says("nobody"))
    assert await name_of(one, "/anything") == "nobody"
    one = site([], default_handler_class=Named)
    assert await name_of(one, "/anything") == "default"


async def test_static_path(site: Any, tmp_path: Any) -> None:
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "index.html").write_text("index")
    (tmp_path / "robots.txt").write_text("robots")
    one = site([("/.*", Named)], static_path=str(tmp_path))
    assert one.application.settings["static_url_prefix"] == "/static/"
    assert (await one.ask("/static/a.txt")).body == b"text"
    assert (await one.ask("/robots.txt")).body == b"robots"
    assert (await one.ask("/favicon.ico")).status == 404
    assert await name_of(one, "/a.txt") == "default"
    one = site(
        [],
        static_path=str(tmp_path),
        static_url_prefix="/s+(x)/",
        static_handler_args={"default_filename": "index.html"},
    )
    assert (await one.ask("/s+(x)/")).body == b"index"
    assert (await one.ask("/ss(x)/")).status == 404

    class Own(StaticFileHandler):
        def set_extra_headers(self, path: str) -> None:
            self.set_header("X-Own", "yes")

    one = site([], static_path=str(tmp_path), static_handler_class=Own)
    assert (await one.ask("/static/a.txt")).headers["X-Own"] == "yes"


def test_ui_methods_and_modules() -> None:
    class Entry(UIModule):
        pass

    class Other(UIModule):
        pass

    def method(handler: RequestHandler) -> str:
        return ""

    module = types.ModuleType("module")
    module.Entry, module.method, module._private, module.Capital = Entry, method, method, method  # type: ignore[attr-defined]
    module.number = 5  # type: ignore[attr-defined]
    app = Application(ui_modules=module, ui_methods=module)
    assert app.ui_methods == {"method": method}
    assert app.ui_modules["Entry"] is Entry
    assert app.ui_modules["Template"] is TemplateModule
    app = Application(
        ui_modules=[module, {"Second": Other}], ui_methods=[module, {"other": method, "_no": method}]
    )
    assert app.ui_methods == {"method": method, "other": method}
    assert (app.ui_modules["Entry"], app.ui_modules["Second"]) == (Entry, Other)
    app = Application(ui_modules={"Named": Entry, "nothing": 5}, ui_methods=None)
    assert app.ui_modules["Named"] is Entry
    assert "nothing" not in app.ui_modules
    assert Application(ui_modules=None).ui_methods == {}


def test_transforms() -> None:
    class Own(OutputTransform):
        pass

    assert Application().transforms == []
    assert Application(compress_response=True).transforms == [GZipContentEncoding]
    assert Application(gzip=True).transforms == [GZipContentEncoding]
    assert Application(transforms=[Own], compress_response=True).transforms == [Own]
    app = Application(compress_response=True)
    app.add_transform(Own)
    assert app.transforms == [GZipContentEncoding, Own]
    given: list[type[OutputTransform]] = [Own]
    Application(transforms=given).add_transform(Own)
    assert given == [Own]


# --- the log ---


async def test_log_function_and_log_request(site: Any) -> None:
    logged: list[Any] = []
    one = site(Application([("/", Named)], log_function=lambda handler: logged.append(handler.get_status())))
    await one.ask()
    await one.ask("/nowhere")
    assert logged == [200, 404]

    class Own(Application):
        def log_request(self, handler: RequestHandler) -> None:
            logged.append(type(handler).__name__)

    one = site(Own([("/", Named)]))
    await one.ask()
    await one.ask("/nowhere")
    assert logged[2:] == ["Named", "ErrorHandler"]


@pytest.mark.parametrize(
    ("status", "level"),
    [(200, logging.INFO), (304, logging.INFO), (404, logging.WARNING), (500, logging.ERROR)],
)
async def test_the_access_log(site: Any, expect_log: Any, status: int, level: int) -> None:
    class Says(RequestHandler):
        def get(self) -> None:
            self.set_status(status)

    one = site(Application([("/.*", Says)]))
    line = rf"^{status} GET /a\?b=c \(127\.0\.0\.1\) \d+\.\d\dms$"
    with expect_log("webfw.access", line, level=level, count=1):
        await one.ask("/a?b=c")


async def test_no_line_below_the_level_of_the_log(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    access = logging.getLogger("webfw.access")
    before = access.level
    access.setLevel(logging.ERROR)
    monkeypatch.setattr(access, "log", lambda *args: pytest.fail("logged"))
    try:
        await site(Application([("/.*", Named)])).ask()
    finally:
        access.setLevel(before)


# --- listening ---


async def test_listen() -> None:
    app = Application([("/", Named)], log_function=silent)
    server = app.listen(0, "127.0.0.1", xheaders=True)
    assert isinstance(server, HTTPServer)
    assert server.xheaders
    (port,) = {sock.getsockname()[1] for sock in server._sockets.values()}
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 200 OK\r\n")
    writer.close()
    await writer.wait_closed()
    server.stop()
    await server.close_all_connections()
