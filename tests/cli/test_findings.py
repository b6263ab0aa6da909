"""Tests of webfw.cli.findings: each thing a reviewer would say, and that nothing is said of what is right."""

import re
from pathlib import Path
from typing import Any

import pytest

from webfw.asgi import ASGIAdapter, ASGIContainer
from webfw.cli.applications import Place
from webfw.cli.findings import KNOWN_SETTINGS, of_application, of_configuration, of_places
from webfw.cli.routemap import Loaded, routes_of
from webfw.cli.sources import Configuration, read_configuration
from webfw.routing import Matcher, Rule
from webfw.web import Application, RedirectHandler, RequestHandler, authenticated, removeslash
from webfw.websocket import WebSocketHandler
from webfw.wsgi import WSGIContainer

ROOT = Path(__file__).resolve().parents[2]
SECRET = "kJ8#mq0Zx1!vB5nT7yR2wE4u"


class Page(RequestHandler):
    def get(self) -> None: ...


class Form(RequestHandler):
    def get(self) -> None: ...
    def post(self) -> None: ...


class Signed(RequestHandler):
    def get(self) -> None:
        def inside() -> Any:
            return self.get_signed_cookie("user")

        inside()


class Base(RequestHandler):
    def get_current_user(self) -> str | None:
        return self.get_secure_cookie("user")  # type: ignore[return-value]


class Inherits(Base):
    @removeslash
    @authenticated
    async def get(self) -> None: ...


class OwnLogin(RequestHandler):
    def get_login_url(self) -> str:
        return "/l"

    @authenticated
    def get(self) -> None: ...


class Empty(RequestHandler):
    @property
    def something(self) -> int:
        return 1

    @staticmethod
    def helper() -> None: ...

    limit = len


class Prepared(RequestHandler):
    def prepare(self) -> None: ...


class Socket(WebSocketHandler):
    pass


class Sometimes(Matcher):
    pass


def configuration(**flags: Any) -> Configuration:
    return read_configuration(flags, {}, directory="/dev/null")


def said(app: Any, **flags: Any) -> list[str]:
    loaded = Loaded(Place("x:app"), app, list(routes_of(app)))
    return [f"{found.level}: {found.message}" for found in of_application(loaded, configuration(**flags))]


def said_of(**flags: Any) -> list[tuple[str, str]]:
    return [(found.level, found.message) for found in of_configuration(configuration(**flags))]


def test_nothing_is_said_of_what_is_right(tmp_path: Path) -> None:
    routes: list[Any] = [
        ("/", Page),
        ("/s", Signed),
        ("/i", Inherits),
        ("/f", Form),
        ("/w", Socket),
        ("/p", Prepared),
    ]
    settings: dict[str, Any] = {
        "cookie_secret": SECRET,
        "login_url": "/l",
        "xsrf_cookies": True,
        "static_path": str(tmp_path),
    }
    app = Application(
        [*routes, ("/r", RedirectHandler, {"url": "/"}), (r"/(.*)", Page)], database=1, **settings
    )
    assert said(app) == []
    assert said_of() == []


def test_the_names_of_settings_are_those_of_the_manual() -> None:
    page = (ROOT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    assert documented == KNOWN_SETTINGS, (
        "a new setting is added to KNOWN_SETTINGS in webfw/cli/findings.py too"
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"debug": True}, "debug is on: exceptions show source"),
        ({"serve_traceback": True}, "serve_traceback is on"),
        ({"autoreload": True}, "autoreload is on"),
        ({"cookie_secrets": "x"}, "there is no setting cookie_secrets; is cookie_secret meant?"),
        ({"template_pth": "x"}, "is template_path meant?"),
        ({"static_path": "/none/there"}, "static_path: there is no directory /none/there"),
        ({"cookie_secret": "short"}, "cookie_secret is short"),
        ({"cookie_secret": "a" * 50}, "cookie_secret is short"),
        ({"cookie_secret": {1: SECRET, 2: b"short"}}, "cookie_secret is short"),
        ({"cookie_secret": "__TODO:_GENERATE_YOUR_OWN_RANDOM_VALUE"}, "looks like the one of an example"),
    ],
)
def test_settings(settings: dict[str, Any], message: str) -> None:
    (found,) = said(Application([], **settings))
    assert found.startswith("warning: ")
    assert message in found
    assert "GENERATE" not in found


def test_a_broker_in_memory_is_one_workers_own() -> None:
    app = Application([], broker="memory:")
    assert said(app) == []
    assert "is not seen in others" in said(app, workers=2)[0]
    assert "is not seen in others" in said(app, workers="auto")[0]
    assert "is not seen in others" in said(Application([], broker="memory:?history_size=9"), workers=2)[0]
    assert "is not seen in others" in said(Application([]), workers=2, broker="memory:")[0]
    assert said(Application([], broker="workers:"), workers=2, broker="memory:") == []


@pytest.mark.parametrize(
    ("handler", "messages"),
    [
        (Signed, ["Signed uses signed cookies, which need the setting cookie_secret"]),
        (
            Inherits,
            ["Inherits uses signed cookies", "Inherits is @authenticated, which needs the setting login_url"],
        ),
        (OwnLogin, []),
        (Empty, ["Empty has no method for any verb"]),
        (Prepared, []),
        (Socket, []),
    ],
)
def test_handlers(handler: type[RequestHandler], messages: list[str]) -> None:
    found = said(Application([("/", handler)]))
    assert len(found) == len(messages)
    for message in messages:
        assert any(message in line for line in found)


def test_forged_requests() -> None:
    routes = [("/s", Signed), ("/f", Form)]
    (found,) = said(Application(routes, cookie_secret=SECRET))
    assert "Form can be called from pages of other sites" in found
    assert said(Application(routes, cookie_secret=SECRET, cross_origin_protection=True)) == []
    assert said(Application([("/f", Form)])) == []  # nobody is known


@pytest.mark.parametrize(
    ("routes", "message"),
    [
        ([(r"/(.*)", Page), ("/a", Form)], r"/a (.*Form) is never asked: /(.*) (.*Page) comes first"),
        ([("/a", Page), ("/a", Form)], "is never asked: /a"),
        ([(r"/a/(\d+)", Page), (r"/a/(\d+)", Form)], "is never asked"),
        ([(r"/a\.b", Page), (r"/a.b", Form), (r"/a\.b", Form)], "is never asked"),
        ([("a", Page)], "the pattern 'a' matches nothing: paths begin with a slash"),
    ],
)
def test_paths(routes: list[Any], message: str) -> None:
    (found,) = said(Application(routes))
    assert message.split("(.*")[0] in found


def test_paths_that_may_be_asked() -> None:
    app = Application([(r"/(\d+)", Page), ("/a", Form), (r"/(.*)", Page), Rule(Sometimes(), Page)])
    app.add_handlers("x", [("/a", Form)])
    assert said(app) == []


def test_flask() -> None:
    flask = pytest.importorskip("flask")
    app = flask.Flask(__name__)
    assert said(WSGIContainer(app)) == []
    app.debug = True
    app.secret_key = "dev"
    assert said(WSGIContainer(app)) == [
        "warning: Flask's debug is on",
        "warning: Flask's secret_key is short (use 24 random characters or more): whoever guesses it can sign sessions",
    ]
    assert said(WSGIContainer(lambda environ, start_response: [])) == []


def test_an_adapter_for_other_servers() -> None:
    (found,) = said(ASGIContainer(ASGIAdapter(Application())))
    assert found == "note: ASGIAdapter is for other servers: webfw serves what is in it as it is"


def test_fastapi() -> None:
    fastapi = pytest.importorskip("fastapi")
    assert said(ASGIContainer(fastapi.FastAPI())) == []
    (found,) = said(ASGIContainer(fastapi.FastAPI(debug=True)))
    assert found == "warning: FastAPI's debug is on: exceptions show source to everybody"


@pytest.mark.parametrize(
    ("flags", "level", "message"),
    [
        (
            {"header_timeout": 0.0},
            "warning",
            "header_timeout is 0: a client may take for ever over a request's head",
        ),
        ({"body_timeout": 0.0, "min_body_rate": 0}, "warning", "body_timeout and min_body_rate are 0"),
        ({"write_timeout": 0.0, "min_write_rate": 0}, "warning", "write_timeout and min_write_rate are 0"),
        (
            {"xheaders": True, "max_connections_per_address": 9},
            "warning",
            "no effect with xheaders and without",
        ),
        ({"xheaders": True, "bind": [":80"]}, "note", "not only the proxy can connect to :80"),
        ({"xheaders": True, "bind": ["unix:x", "some.host:80"]}, "note", "connect to some.host:80"),
        ({"trusted_downstream": ["10.0.0.1"]}, "warning", "no effect without xheaders or proxy_protocol"),
        (
            {"proxy_protocol": True, "bind": ["unix:/a", ":80"]},
            "warning",
            "no effect on :80 without trusted_downstream",
        ),
        ({"max_connections": 0}, "warning", "leaves no descriptor for anybody else"),
        ({"max_requests_jitter": 5}, "warning", "no effect without max_requests"),
    ],
)
def test_server(flags: dict[str, Any], level: str, message: str) -> None:
    ((found, text),) = said_of(**flags)
    assert found == level
    assert message in text


def test_two_applications_at_one_place() -> None:
    places = [
        Place("a:a", path="/x"),
        Place("b:b", "h", "/x"),
        Place("c:c"),
        Place("d:d", "H", "/x"),
        Place("e:e"),
    ]
    found = [(finding.where, finding.message) for finding in of_places(places)]
    assert found == [
        ("d:d", "it is never asked: b:b is at h/x already"),
        ("e:e", "it is never asked: c:c is at / already"),
    ]


@pytest.mark.parametrize("bind", ["127.0.0.1:1", "[::1]:1", "localhost:1", "unix:/x", "fd://3"])
def test_a_proxy_on_this_machine(bind: str) -> None:
    assert said_of(xheaders=True, bind=[bind]) == []


def test_packages_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install 'webfw[metrics]'" in said_of(metrics=True)[0][1]
    assert "pip install 'webfw[otel]'" in said_of(tracing=True)[0][1]


def test_the_environment() -> None:
    found = list(of_configuration(read_configuration({}, {"WEBFW_WORKRES": "1"}, directory="/dev/null")))
    assert [finding.where for finding in found] == ["environment"]
