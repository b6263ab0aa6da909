"""How applications are served: by ``webfw serve`` as they are, behind a proxy, and on a Flask that publishes."""

import asyncio
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.wsgi.real.site import MODES, Site, Visitor, contain
from webfw.cli.target import interface_of
from webfw.httputil import HTTPServerConnectionDelegate
from webfw.web import Application, RequestHandler
from webfw.websocket import WebSocketHandler
from webfw.wsgi import WSGIContainer


def flask_app() -> Any:
    flask = pytest.importorskip("flask")
    from werkzeug.middleware.proxy_fix import ProxyFix

    app = flask.Flask("served")
    app.wsgi_app = ProxyFix(app.wsgi_app)
    return app


def django_app() -> Any:
    pytest.importorskip("django")
    from django.core.handlers.wsgi import WSGIHandler

    return WSGIHandler.__new__(WSGIHandler)  # without the settings of a project


def bottle_app() -> Any:
    return pytest.importorskip("bottle").Bottle()


def falcon_app() -> Any:
    return pytest.importorskip("falcon").App()


def plain_function() -> Any:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        return []

    return app


@pytest.mark.parametrize("make", [flask_app, django_app, bottle_app, falcon_app, plain_function])
def test_the_command_knows_an_application(make: Callable[[], Any]) -> None:
    assert interface_of(make(), "module:app", HTTPServerConnectionDelegate, RequestHandler) == "wsgi"


FLASK = """
import flask

app = flask.Flask(__name__)

@app.get("/")
def home():
    environ = flask.request.environ
    return [environ["wsgi.multithread"], environ["SCRIPT_NAME"], flask.request.url]
"""


@pytest.mark.parametrize("threads", ["3", "0"])
def test_the_command_serves_flask(webfw_command: Callable[..., Any], tmp_path: Path, threads: str) -> None:
    pytest.importorskip("flask")
    (tmp_path / "shop.py").write_text(FLASK)
    command = webfw_command("serve", "shop:app", "--threads", threads, "--bind", "127.0.0.1:0")
    url = command.url()
    with Visitor(int(url.rstrip("/").rpartition(":")[2])) as visitor:
        assert visitor.get("/").json == [threads != "0", "", url.rstrip("/") + "/"]
        assert visitor.get("/none").status == 404
    status, output, errors = command.stop(signal.SIGTERM)
    assert (status, errors) == (0, "")
    assert '"GET / HTTP/1.1" 200' in output


# --- behind a proxy ---


def where(environ: dict[str, Any], start_response: Any) -> Any:
    start_response("200 OK", [("Content-Type", "application/json")])
    names = ("REMOTE_ADDR", "wsgi.url_scheme", "SERVER_NAME", "SERVER_PORT", "HTTP_HOST")
    return [json.dumps([environ.get(name) for name in names]).encode()]


@pytest.mark.parametrize("mode", list(MODES))
def test_what_a_proxy_tells_is_believed_only_with_xheaders(sites: Callable[..., Site], mode: str) -> None:
    told = {
        "X_Forwarded_For": "203.0.113.7",
        "X_Forwarded_Proto": "https",
        "Host": "shop.example",
    }
    with sites(lambda: contain(where, mode), xheaders=True).visitor() as visitor:
        assert visitor.get("/", **told).json == [
            "203.0.113.7",
            "https",
            "shop.example",
            "443",
            "shop.example",
        ]
    with sites(lambda: contain(where, mode)).visitor() as visitor:
        assert visitor.get("/", **told).json == ["127.0.0.1", "http", "shop.example", "80", "shop.example"]


# --- native pages hear of what threads do, as docs/howto/wsgi.md has it ---


class News(WebSocketHandler):
    async def open(self) -> None:
        await self.subscribe("news")


def test_a_view_publishes(sites: Callable[..., Site]) -> None:
    flask = pytest.importorskip("flask")
    shop = flask.Flask("shop")

    @shop.post("/buy")
    def buy() -> str:
        shop.config["PUBLISH"]("news", {"sold": flask.request.form["what"]})
        return "thank you"

    def make() -> Application:
        app = Application(
            [("/news", News), (r"/shop(?:/.*)?", contain(shop, "threads", mount="/shop"))],
            log_function=lambda handler: None,
        )
        loop = asyncio.get_running_loop()

        def publish(channel: str, message: Any) -> None:
            asyncio.run_coroutine_threadsafe(app.broker.publish(channel, message), loop).result(10)

        shop.config["PUBLISH"] = publish
        return app

    site = sites(make)
    with (
        connect(f"ws://127.0.0.1:{site.port}/news", proxy=None) as socket,
        site.visitor() as visitor,
    ):
        assert json.loads(socket.recv(10))["joined"]
        assert visitor.post("/shop/buy", {"what": "tea"}).text == "thank you"
        assert json.loads(socket.recv(10))["data"] == {"sold": "tea"}


def test_a_container_is_served_as_it_is() -> None:
    container = WSGIContainer(plain_function())
    assert interface_of(container, "module:app", HTTPServerConnectionDelegate, RequestHandler) == "native"
