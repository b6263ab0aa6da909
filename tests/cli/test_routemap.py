"""Tests of webfw.cli.routemap: routes of native applications, however nested, and of WSGI frameworks."""

import sys
from pathlib import Path
from typing import Any

import pytest

from webfw.asgi import ASGIContainer
from webfw.cli.errors import CommandError
from webfw.cli.routemap import Route, framework_of, load_applications, routes_of
from webfw.cli.sources import Configuration, read_configuration
from webfw.httputil import HTTPServerRequest
from webfw.routing import HostMatches, Matcher, PathMatches, Rule, RuleRouter
from webfw.web import Application, FallbackHandler, RedirectHandler, RequestHandler, StaticFileHandler, url
from webfw.websocket import WebSocketHandler
from webfw.wsgi import WSGIContainer

HERE = __name__


class Page(RequestHandler):
    def get(self) -> None: ...
    def post(self) -> None: ...


class Empty(RequestHandler):
    pass


class Socket(WebSocketHandler):
    pass


class Odd(Matcher):
    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        return {}


def plain_wsgi(environ: Any, start_response: Any) -> list[bytes]:
    return []


async def plain_asgi(scope: Any, receive: Any, send: Any) -> None: ...


async def plain_asgi_page(request: Any) -> None: ...


def shown(target: Any, host: str = "", path: str = "") -> list[tuple[str, str, str, str]]:
    return [
        (route.host, route.path, " ".join(route.methods), route.handler.replace(HERE + ".", ""))
        for route in routes_of(target, host, path)
    ]


def test_handlers_with_their_methods_and_names() -> None:
    app = Application([url("/", Page, name="home"), (r"/e/(\d+)$", Empty), ("/ws", Socket)])
    assert shown(app) == [
        ("", "/", "GET POST", "Page"),
        ("", r"/e/(\d+)", "", "Empty"),
        ("", "/ws", "GET", "Socket (WebSocket)"),
    ]
    first = next(routes_of(app))
    assert (first.name, first.target, first.owner) == ("home", Page, app)
    assert first.regex is not None


def test_own_handlers_say_where_they_lead() -> None:
    app = Application(
        [("/old", RedirectHandler, {"url": "/new"}), ("/f/(.*)", StaticFileHandler, {"path": "/srv"})],
    )
    assert [row[3] for row in shown(app)] == [
        "webfw.web.RedirectHandler (to /new)",
        "webfw.web.StaticFileHandler (/srv)",
    ]


def test_hosts_come_first_and_once() -> None:
    app = Application([("/", Page)], default_host="a.example.com")
    app.add_handlers(r"a\.example\.com", [("/a", Page)])
    app.add_handlers(r"(b|c)\.example\.com", [("/b", Page)])
    assert [row[:2] for row in shown(app)] == [
        ("a.example.com", "/a"),
        (r"(b|c)\.example\.com", "/b"),
        ("", "/"),
    ]


def test_what_is_nested() -> None:
    inner = Application([("/inner", Page)])
    router = RuleRouter([Rule(HostMatches("x"), inner), Rule(Odd(), Page), Rule(PathMatches("/f"), print)])
    app = Application([("/list/.*", [("/list/1", Page)]), Rule(PathMatches("/app.*"), inner), (".*", router)])
    assert shown(app) == [
        ("", "/list/1", "GET POST", "Page"),
        ("", "/inner", "GET POST", "Page"),
        ("x", "/inner", "GET POST", "Page"),
        ("", ".* [Odd]", "GET POST", "Page"),
        ("", "/f", "", "print"),
    ]
    odd = list(routes_of(app))[3]
    assert odd.regex is None
    assert [route.owner is inner for route in routes_of(app)] == [False, True, True, False, False]


def test_wsgi_behind_native_handlers() -> None:
    container = WSGIContainer(plain_wsgi, mount="/shop")
    app = Application(
        [
            Rule(PathMatches("/shop.*"), container),
            (".*", FallbackHandler, {"fallback": WSGIContainer(plain_wsgi)}),
        ]
    )
    assert shown(app) == [("", "/shop.*", "", "plain_wsgi (WSGI)"), ("", ".*", "", "plain_wsgi (WSGI)")]
    assert shown(print, "h", "/p") == [("h", "/p.*", "", "print")]


def test_flask() -> None:
    flask = pytest.importorskip("flask")
    app = flask.Flask(__name__, static_folder=None)
    app.add_url_rule("/hello/<name>", "hello", plain_wsgi, methods=["POST"])
    assert framework_of(app) == "Flask"
    found = list(routes_of(WSGIContainer(app, mount="/m"), "x.org"))
    assert found == [
        Route("x.org", "/m/hello/<name>", ("OPTIONS", "POST"), f"{HERE}.plain_wsgi", "hello", plain_wsgi)
    ]


def test_starlette(tmp_path: Path) -> None:
    routing = pytest.importorskip("starlette.routing")
    applications = pytest.importorskip("starlette.applications")
    files = pytest.importorskip("starlette.staticfiles").StaticFiles(directory=tmp_path)
    inner = [routing.Route("/a/{x:int}", plain_asgi_page, name="a", methods=["POST"])]
    app = applications.Starlette(
        routes=[
            routing.Route("/", plain_asgi_page),
            routing.WebSocketRoute("/ws", plain_asgi_page),
            routing.Mount("/in", routes=inner, name="in"),
            routing.Mount("/files", files),
            routing.Host("x.org", routing.Router(inner)),
        ]
    )
    assert framework_of(app) == "Starlette"
    assert [
        (*row, route.name)
        for row, route in zip(
            shown(ASGIContainer(app, mount="/m")), routes_of(ASGIContainer(app)), strict=True
        )
    ] == [
        ("", "/m/", "GET HEAD", "plain_asgi_page", "plain_asgi_page"),
        ("", "/m/ws", "", "plain_asgi_page (WebSocket)", "plain_asgi_page"),
        ("", "/m/in/a/{x:int}", "POST", "plain_asgi_page", "in:a"),
        ("", "/m/files/{path:path}", "", f"starlette.staticfiles.StaticFiles ({tmp_path})", ""),
        ("x.org", "/m/a/{x:int}", "POST", "plain_asgi_page", "a"),
    ]


def test_fastapi() -> None:
    fastapi = pytest.importorskip("fastapi")
    app, router = fastapi.FastAPI(openapi_url=None), fastapi.APIRouter(prefix="/r")
    app.get("/x", name="ex")(lambda: None)
    router.post("/y")(plain_asgi_page)
    app.include_router(router, prefix="/p")
    assert framework_of(app) == "FastAPI"
    assert [row[1:3] for row in shown(ASGIContainer(app))] == [("/x", "GET"), ("/p/r/y", "POST")]


def test_asgi_applications_that_do_not_tell() -> None:
    app = Application([(".*", FallbackHandler, {"fallback": ASGIContainer(plain_asgi)})])
    assert shown(app) == [("", ".*", "", "plain_asgi (ASGI)")]
    assert framework_of(plain_asgi) == ""


def test_a_framework_that_cannot_tell_is_one_route(expect_log: Any) -> None:
    class Broken:
        class url_map:
            @staticmethod
            def iter_rules() -> None:
                raise RuntimeError("not now")

        def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
            return []

    with expect_log("webfw.application", "cannot be read: RuntimeError"):
        assert [row[3].endswith("Broken (WSGI)") for row in shown(WSGIContainer(Broken()))] == [True]


# --- loading ---


@pytest.fixture
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "path", list(sys.path))

    def make(name: str, source: str, **flags: Any) -> Configuration:
        (tmp_path / f"{name}.py").write_text(source)
        return read_configuration({"app_dir": str(tmp_path), **flags}, {}, directory=tmp_path)

    return make


SOURCE = """
from webfw.web import Application, RequestHandler
print("noise")
app = Application([("/", RequestHandler)])
def wsgi(environ, start_response): ...
def function(request): ...
async def asgi(scope, receive, send): ...
async def later():
    return app
number = 7
"""


@pytest.mark.parametrize(
    ("target", "kind"),
    [("app", "native"), ("later()", "native"), ("wsgi", "wsgi"), ("asgi", "asgi"), ("function", "function")],
)
def test_kinds(configuration: Any, target: str, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    (loaded,) = load_applications(configuration("map_kinds", SOURCE, app=f"map_kinds:{target}"))
    assert (loaded.kind, len(loaded.routes)) == (kind, 1)
    assert capsys.readouterr().out == ""


def test_several(configuration: Any, tmp_path: Path) -> None:
    (tmp_path / "webfw.toml").write_text(
        '[[apps]]\napp = "map_several:app"\n[[apps]]\napp = "map_several:wsgi"\nhost = "*.x"\npath = "/w"\n'
    )
    first, second = load_applications(configuration("map_several", SOURCE))
    assert (first.kind, second.kind) == ("native", "wsgi")
    assert (second.routes[0].host, second.routes[0].path) == ("*.x", "/w.*")


def test_what_cannot_be_loaded(configuration: Any) -> None:
    with pytest.raises(CommandError, match="ZeroDivisionError") as raised:
        load_applications(configuration("map_broken", "1 / 0", app="map_broken:app"))
    assert raised.value.status == 3
    with pytest.raises(CommandError, match="of type int"):
        load_applications(configuration("map_number", SOURCE, app="map_number:number"))
