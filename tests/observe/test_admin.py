"""Tests of webfw.observe.admin: the admin application, and health in front of callbacks of every kind."""

from collections.abc import Callable
from typing import Any

import pytest

from webfw.httpserver import HTTPServer, Observer, Record
from webfw.httputil import HTTPHeaders, HTTPMessageDelegate, HTTPServerConnectionDelegate, HTTPServerRequest
from webfw.observe.admin import HealthFront, admin_application
from webfw.observe.health import Readiness
from webfw.testing.client import Client
from webfw.web import Application, RequestHandler
from webfw.wsgi import WSGIContainer


class Hello(RequestHandler):
    def get(self) -> None:
        self.write("native")

    post = get


def flask_like(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"wsgi"]


def plain(request: HTTPServerRequest) -> None:
    request.connection.respond(200, "OK", HTTPHeaders({"Content-Length": "8"}), b"function")


class Delegate(HTTPServerConnectionDelegate):
    def __init__(self) -> None:
        self.closed = 0

    def start_request(self, server_conn: object, request_conn: Any) -> HTTPMessageDelegate:
        class Message(HTTPMessageDelegate):
            def finish(self) -> None:
                request_conn.respond(200, "OK", HTTPHeaders({"Content-Length": "8"}), b"delegate")

        return Message()

    def on_close(self, server_conn: object) -> None:
        self.closed += 1


CALLBACKS: dict[str, Callable[[], Any]] = {
    "native": lambda: Application([("/.*", Hello)]),
    "wsgi": lambda: WSGIContainer(flask_like, threads=0),
    "function": lambda: plain,
    "delegate": Delegate,
}


@pytest.mark.parametrize("kind", CALLBACKS)
async def test_health_in_front(kind: str) -> None:
    readiness = Readiness()
    client = Client(HealthFront(CALLBACKS[kind](), readiness))
    assert (await client.get("/healthz")).text == "ok\n"
    assert (await client.get("/readyz?verbose")).code == 503
    readiness.serving()
    assert (await client.get("/readyz")).code == 200
    for path in ("/", "/healthz/", "/metrics", "/healthzz"):
        assert (await client.get(path)).text == kind
    assert (await client.post("/", body=b"a body")).text == kind
    assert (await client.get("http://other.example/healthz")).text == "ok\n"


async def test_no_line_is_logged_for_probes(expect_log: Callable[..., Any]) -> None:
    class Watch(Observer):
        writes_access_log = True

        def __init__(self) -> None:
            self.seen: list[tuple[str | None, bool]] = []

        def ended(self, record: Record) -> None:
            self.seen.append((record.route, record.logged_by_application))

    watch = Watch()
    client = Client(HTTPServer(HealthFront(CALLBACKS["native"](), Readiness()), observer=watch))
    with expect_log("webfw.access", "", level=20, count=0):
        await client.get("/readyz")  # it would be an error
        await client.get("/healthz")
    assert watch.seen == [("/readyz", True), ("/healthz", True)]


async def test_by_way_of_delegates(monkeypatch: pytest.MonkeyPatch) -> None:
    """As programs take it that wrap ``HTTPServer.start_request``."""
    seen = []
    former = HTTPServer.start_request

    def watched(self: HTTPServer, server_conn: object, request_conn: Any) -> HTTPMessageDelegate:
        seen.append(request_conn.request.path)
        return former(self, server_conn, request_conn)

    monkeypatch.setattr(HTTPServer, "start_request", watched)
    client = Client(HealthFront(CALLBACKS["native"](), Readiness()))
    assert (await client.get("/healthz")).text == "ok\n"
    assert (await client.get("/x")).text == "native"
    assert seen == ["/healthz", "/x"]


def test_a_function_has_no_start_request() -> None:
    with pytest.raises(NotImplementedError, match="is a function"):
        HealthFront(plain, Readiness()).start_request(object(), Any)  # type: ignore[arg-type]


def test_ends_are_passed_on() -> None:
    delegate = Delegate()
    HealthFront(delegate, Readiness()).on_close(object())
    assert delegate.closed == 1
    HealthFront(plain, Readiness()).on_close(object())


async def test_draining_is_passed_on() -> None:
    app = CALLBACKS["native"]()
    await HTTPServer(HealthFront(app, Readiness())).drain(1)
    assert app.draining
    await HTTPServer(HealthFront(plain, Readiness())).drain(1)


async def test_the_admin_application() -> None:
    client = Client(admin_application(Readiness(serving=True)))
    assert (await client.get("/healthz")).code == 200
    assert (await client.get("/readyz")).code == 200
    assert (await client.get("/metrics")).code == 404


async def test_the_admin_application_with_metrics() -> None:
    prometheus_client = pytest.importorskip("prometheus_client")
    from webfw.observe.metrics import Metrics

    metrics = Metrics(registry=prometheus_client.CollectorRegistry())
    client = Client(admin_application(Readiness(), metrics))
    assert "webfw_build_info" in (await client.get("/metrics")).text
