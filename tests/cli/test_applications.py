"""Several applications by host and path, native and WSGI, through the real HTTP code without a socket."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from webfw.asgi import ASGIContainer
from webfw.cli.applications import Place, Site, assemble, load, places
from webfw.cli.errors import CommandError
from webfw.cli.sources import read_configuration
from webfw.httputil import (
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    HTTPServerRequest,
)
from webfw.testing import Client
from webfw.web import Application, RequestHandler
from webfw.wsgi import WSGIContainer


class Where(RequestHandler):
    def initialize(self, name: str) -> None:
        self.name = name

    def get(self) -> None:
        self.write(f"{self.name} {self.request.path}")


def native(name: str) -> Application:
    return Application([(r"/.*", Where, {"name": name})])


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"wsgi {environ['SCRIPT_NAME']} {environ['PATH_INFO']}".encode()]


async def ask(site: Any, path: str, host: str) -> str:
    response = await Client(site).get(path, headers={"Host": host})
    return response.body.decode() if response.code == 200 else f"{response.code} {response.body.decode()}"


async def test_one_application_stands_for_itself() -> None:
    app = native("one")
    assert await assemble([Place("a:b")], [app], {}) is app


async def test_by_host_and_path() -> None:
    wanted = [
        Place("a:any"),
        Place("a:shop", host="shop.example"),
        Place("a:all", host="*.example"),
        Place("a:wsgi", path="/legacy"),
        Place("a:deep", path="/legacy/deep"),
        Place("a:admin", host="shop.example", path="/admin"),
    ]
    apps = [native("any"), native("shop"), native("all"), wsgi, native("deep"), native("admin")]
    site = await assemble(wanted, apps, {})
    assert isinstance(site, Site)
    for host, path, answer in [
        ("x", "/", "any /"),
        ("x", "/legacy", "wsgi /legacy "),
        ("x", "/legacy/a", "wsgi /legacy /a"),
        ("x", "/legacyx", "any /legacyx"),
        ("x", "/legacy/deep/y", "deep /legacy/deep/y"),
        ("shop.example", "/", "shop /"),
        ("shop.example:8000", "/admin/x", "admin /admin/x"),
        ("a.b.example", "/", "all /"),
        ("example", "/", "any /"),
        ("shopxexample", "/", "any /"),
    ]:
        assert await ask(site, path, host) == answer, (host, path)
        assert await ask(Watched(site), path, host) == answer, (host, path)
    assert len(site.applications()) == 5


class Watched(HTTPServerConnectionDelegate):
    """Asks for delegates, as who watches requests in Tornado's way does."""

    def __init__(self, site: Site) -> None:
        self.site = site

    def start_request(self, server_conn: object, request_conn: Any) -> HTTPMessageDelegate:
        return self.site.start_request(server_conn, request_conn)


async def test_nobody_for_a_host() -> None:
    site = await assemble([Place("a:b", host="only.example")], [native("only")], {})
    assert await ask(site, "/", "only.example") == "only /"
    assert (await ask(site, "/", "other")).startswith("404")
    assert (await Client(site).post("/", body=b"x" * 100, headers={"Host": "other"})).code == 404


async def test_draining_reaches_all() -> None:
    apps = [native("a"), native("b")]
    site = await assemble([Place("a:b"), Place("a:c", path="/c"), Place("a:d", path="/d")], [*apps, wsgi], {})
    site.start_draining(1.0)
    assert all(app.draining for app in apps)


async def test_settings_are_for_who_has_none() -> None:
    app = Application([], broker="memory:?history_size=3")
    await assemble([Place("a:b")], [app], {"broker": "workers:", "other": 1})
    assert (app.settings["broker"], app.settings["other"]) == ("memory:?history_size=3", 1)


async def test_what_factories_give_is_awaited() -> None:
    async def make() -> Application:
        return native("late")

    assert await ask(await assemble([Place("a:b")], [make()], {}), "/", "x") == "late /"


async def test_threads_are_for_wsgi() -> None:
    container = await assemble([Place("a:b", threads=0)], [wsgi], {})
    assert isinstance(container, WSGIContainer)
    assert container.threads == 0
    with pytest.raises(CommandError, match="--threads is for WSGI applications, which a:b is not"):
        await assemble([Place("a:b", threads=2)], [native("x")], {})
    own = WSGIContainer(wsgi)
    assert await assemble([Place("a:b", threads=2)], [own], {}) is own


async def test_what_is_said_for_all_is_for_whom_it_fits() -> None:
    wanted = [Place("a:b", threads=2, lifespan="off"), Place("a:c", path="/w", threads=2, lifespan="off")]
    site = await assemble([*wanted, Place("a:d", path="/a", lifespan="off")], [native("x"), wsgi, asgi], {})
    assert isinstance(site, Site)
    own = Place("a:b", threads=2, origin="webfw.toml:7", own=frozenset({"threads"}))
    with pytest.raises(
        CommandError, match="^webfw.toml:7: threads is for WSGI applications, which a:b is not"
    ):
        await assemble([own, wanted[1]], [native("x"), wsgi], {})
    with pytest.raises(CommandError, match="^--lifespan is for ASGI applications, which a:b is not"):
        await assemble(wanted, [native("x"), wsgi], {})


async def asgi(scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": f"asgi {scope['root_path']} {scope['path']}".encode()})


async def test_three_in_one() -> None:
    """Native, WSGI and ASGI applications by host and path, each under its own prefix."""
    wanted = [
        Place("a:native"),
        Place("a:wsgi", path="/legacy"),
        Place("a:asgi", path="/api", lifespan="off"),
        Place("a:asgi", host="api.example", lifespan="off"),
        Place("a:asgi", host="*.api.example", lifespan="off"),
    ]
    site = await assemble(wanted, [native("native"), wsgi, asgi, asgi, asgi], {})
    for host, path, answer in [
        ("x", "/", "native /"),
        ("x", "/legacy/a", "wsgi /legacy /a"),
        ("x", "/api", "asgi /api /api"),
        ("x", "/api/a", "asgi /api /api/a"),
        ("x", "/apix", "native /apix"),
        ("api.example", "/a", "asgi  /a"),
        ("v1.api.example", "/a", "asgi  /a"),
    ]:
        assert await ask(site, path, host) == answer, (host, path)
    assert isinstance(site, Site)
    containers = {id(callback) for callback in site.callbacks if isinstance(callback, ASGIContainer)}
    assert len(containers) == 2  # one for each prefix: what has two hosts begins once


async def test_a_function_of_one_request() -> None:
    def callback(request: HTTPServerRequest) -> None:
        request.connection.respond(200, "OK", HTTPHeaders({"Content-Length": "4"}), b"call")

    assert await ask(await assemble([Place("a:b")], [callback], {}), "/", "x") == "call"

    async def coroutine(request: HTTPServerRequest) -> None:
        callback(request)

    class Delegate(HTTPServerConnectionDelegate):
        def start_request(self, server_conn: object, request_conn: Any) -> HTTPMessageDelegate:
            return native("delegate").start_request(server_conn, request_conn)

    wanted = [Place("a:b", path="/f"), Place("a:c", path="/c"), Place("a:d")]
    site = await assemble(wanted, [callback, coroutine, Delegate()], {})
    assert await ask(site, "/f", "x") == await ask(site, "/c", "x") == "call"
    assert await ask(site, "/", "x") == "delegate /"


def configured(tmp_path: Path, toml: str, **flags: Any) -> list[Place]:
    (tmp_path / "webfw.toml").write_text(toml)
    return places(read_configuration(flags, {}, None, tmp_path))


def test_places_of_a_file(tmp_path: Path) -> None:
    toml = "threads = 3\n[[apps]]\napp = 'a:b'\npath = '/x/'\n[[apps]]\napp = 'c:d'\nhost = '*.example'\nthreads = 1\n"
    first, second = configured(tmp_path, toml)
    assert first == Place("a:b", None, "/x", 3, f"{tmp_path}/webfw.toml:2")
    assert second == Place("c:d", "*.example", "", 1, f"{tmp_path}/webfw.toml:5", own=frozenset({"threads"}))


def test_what_is_said_for_all_and_for_one(tmp_path: Path) -> None:
    toml = (
        "factory = true\nlifespan = 'on'\n[[apps]]\napp = 'a:b'\n"
        "[[apps]]\napp = 'c:d'\nfactory = false\nlifespan = 'off'\n"
    )
    first, second = configured(tmp_path, toml)
    assert (first.factory, first.lifespan, first.own) == (True, "on", frozenset())
    assert (second.factory, second.lifespan, second.own) == (False, "off", {"factory", "lifespan"})
    (plain,) = configured(tmp_path, "app = 'a:b'")
    assert (plain.factory, plain.lifespan) == (False, None)


def test_app_of_a_file_is_for_the_rest(tmp_path: Path) -> None:
    found = configured(tmp_path, "app = 'c:d'\n[[apps]]\napp = 'a:b'\npath = '/x'\n")
    assert [(place.target, place.path) for place in found] == [("a:b", "/x"), ("c:d", "")]


def test_the_command_line_names_one_and_no_other(tmp_path: Path) -> None:
    found = configured(tmp_path, "[[apps]]\napp = 'a:b'\n", app="e:f")
    assert [place.target for place in found] == ["e:f"]


@pytest.mark.parametrize(
    ("toml", "complaint"),
    [
        ("workers = 1\n", "nothing to serve: name an application"),
        ("app = 'nothing'\n", "'nothing' names no application"),
        ("[[apps]]\npath = '/x'\n", r"webfw.toml:1: which application\?"),
        ("[[apps]]\napp = 'a:b'\npath = 'x'\n", "webfw.toml:1: path begins with a slash, unlike 'x'"),
        ("[[apps]]\napp = 'a:b'\nhost = 'a b'\n", "webfw.toml:1: a host is a name or"),
    ],
)
def test_places_that_are_none(tmp_path: Path, toml: str, complaint: str) -> None:
    with pytest.raises(CommandError, match=complaint):
        configured(tmp_path, toml)


def test_loading(tmp_path: Path) -> None:
    (tmp_path / "cli_loaded.py").write_text("one = 1\ntwo = 2\n")
    assert load([Place("cli_loaded:one"), Place("cli_loaded:two")], str(tmp_path)) == [1, 2]
    with pytest.raises(CommandError, match="no attribute"):
        load([Place("cli_loaded:three")], str(tmp_path))
