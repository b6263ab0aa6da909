"""`ASGIAdapter`: what it takes, who the client is, beginning and end, and that its host may be any."""

import asyncio
import gc
from typing import Any

import pytest

from tests.asgi.adaptedhost import Call, Socket, ask, http_scope, running
from webfw.asgi import ASGIAdapter, ASGIContainer
from webfw.httpserver.limits import Limits
from webfw.routing import PathMatches, Rule, RuleRouter
from webfw.testing import Client
from webfw.web import Application, FallbackHandler, RequestHandler
from webfw.websocket import WebSocketHandler
from webfw.wsgi import WSGIContainer


class Who(RequestHandler):
    def get(self) -> None:
        self.write(f"{self.request.remote_ip} {self.request.protocol}")


def application(*routes: Any, **settings: Any) -> Application:
    return Application([*routes, ("/", Who)], log_function=lambda handler: None, **settings)


# --- who the client is ---


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, b"192.0.2.7 http"),
        ({"scheme": "https", "client": ["2001:db8::1", 1]}, b"2001:db8::1 https"),
        ({"client": None, "scheme": None}, b"0.0.0.0 http"),
    ],
)
async def test_client_and_scheme(change: dict[str, Any], expected: bytes) -> None:
    assert (await ask(ASGIAdapter(application()), **change)).content == expected


async def test_proxies_are_believed_when_that_is_asked_for() -> None:
    headers = {"x-forwarded-for": "198.51.100.1, 203.0.113.5", "x-forwarded-proto": "https"}
    assert (await ask(ASGIAdapter(application()), headers=headers)).content == b"192.0.2.7 http"
    adapter = ASGIAdapter(application(), xheaders=True)
    assert (await ask(adapter, headers=headers)).content == b"203.0.113.5 https"
    adapter = ASGIAdapter(application(), xheaders=True, trusted_downstream=["203.0.113.5"])
    assert (await ask(adapter, headers=headers)).content == b"198.51.100.1 https"
    adapter = ASGIAdapter(application(), protocol="https")
    assert (await ask(adapter)).content == b"192.0.2.7 https"


# --- what it takes ---


async def test_routers_and_fallbacks() -> None:
    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ["PATH_INFO"].encode()]

    container = WSGIContainer(wsgi, threads=0, log_function=lambda entry: None)
    router = RuleRouter(
        [
            Rule(PathMatches("/w.*"), container),
            Rule(PathMatches("/.*"), application(("/f.*", FallbackHandler, {"fallback": container}))),
        ]
    )
    adapter = ASGIAdapter(router)
    assert (await ask(adapter, path="/w")).content == b"/w"
    assert (await ask(adapter, path="/f", method="POST", body=b"x")).content == b"/f"
    assert (await ask(adapter)).content == b"192.0.2.7 http"


def test_what_it_does_not_take() -> None:
    with pytest.raises(TypeError, match="not int"):
        ASGIAdapter(42)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="drain_timeout"):
        ASGIAdapter(application(), drain_timeout=-1)
    with pytest.raises(ValueError, match="max_body_size"):
        ASGIAdapter(application(), max_body_size=-1)


def test_limits() -> None:
    limits = Limits(max_body_size=1)
    assert ASGIAdapter(application(), limits=limits).limits is limits
    adapter = ASGIAdapter(
        application(), max_body_size=0, chunk_size=5, min_body_rate=0, body_grace=3, body_timeout=2
    )
    assert adapter.limits == Limits(
        max_body_size=0, chunk_size=5, min_body_rate=0, body_grace=3, body_timeout=2
    )


async def test_an_unknown_scope_is_refused() -> None:
    call = Call(ASGIAdapter(application()), {"type": "webtransport"})
    with pytest.raises(ValueError, match="webtransport"):
        await call.run()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_request_that_none_can_be_made_of(method: str, expect_log: Any) -> None:
    with expect_log("webfw.general", "refused with 400: malformed Host", level=20):
        call = await ask(ASGIAdapter(application()), method, headers={"host": "a b"})
    assert call.status == 400
    assert call.content == (b"400 Bad Request: malformed Host: 'a b'\n" if method == "GET" else b"")


async def test_a_delegate_that_fails_at_the_end(expect_log: Any) -> None:
    class Router(RuleRouter):
        def on_close(self, server_conn: object) -> None:
            raise RuntimeError("as planned")

    router = Router([Rule(PathMatches("/"), application())])
    with expect_log("webfw.application", "Uncaught exception in on_close"):
        assert (await ask(ASGIAdapter(router))).status == 200


# --- lifespan ---


class Lived(Application):
    """Notes what happens to it."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, log_function=lambda handler: None, **settings)
        self.heard: list[str] = []

    async def startup(self) -> None:
        self.heard.append("startup")
        if self.settings.get("fail") == "startup":
            raise RuntimeError("no database")

    async def shutdown(self) -> None:
        self.heard.append("shutdown")
        if self.settings.get("fail") == "shutdown":
            raise RuntimeError("no goodbye")

    def on_draining(self) -> None:
        self.heard.append("draining")

    async def close_broker(self) -> None:
        self.heard.append("broker")
        await super().close_broker()


async def live(adapter: ASGIAdapter, *kinds: str) -> list[Any]:
    call = Call(adapter, {"type": "lifespan", "asgi": {"version": "3.0"}})
    for kind in kinds:
        call.say({"type": f"lifespan.{kind}"})
    await call.run()
    return call.sent


async def test_beginning_and_end() -> None:
    below = Lived()
    app = Lived([Rule(PathMatches("/below.*"), below)])
    assert await live(ASGIAdapter(app), "startup", "shutdown") == [
        {"type": "lifespan.startup.complete"},
        {"type": "lifespan.shutdown.complete"},
    ]
    assert app.heard == ["startup", "draining", "broker", "shutdown"]
    assert below.heard == ["startup", "draining", "broker", "shutdown"]


async def test_an_application_without_hooks_begins_and_ends_too() -> None:
    class Old(Application):
        def startup(self, needs: str) -> None:
            raise AssertionError("that was meant for something else")

    sent = await live(ASGIAdapter(Old()), "startup", "shutdown")
    assert [m["type"] for m in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


@pytest.mark.parametrize(("hook", "error"), [("startup", "no database"), ("shutdown", "no goodbye")])
async def test_hooks_that_fail(hook: str, error: str, expect_log: Any) -> None:
    with expect_log("webfw.application", f"Uncaught exception in {hook}", count=1):
        sent = await live(ASGIAdapter(Lived(fail=hook)), "startup", "shutdown")
    (failed,) = [m for m in sent if m["type"].endswith("failed")]
    assert failed == {"type": f"lifespan.{hook}.failed", "message": f"RuntimeError: {error}"}


async def test_a_lifespan_message_that_nobody_knows() -> None:
    with pytest.raises(RuntimeError, match=r"lifespan\.surprise"):
        await live(ASGIAdapter(application()), "surprise")


@pytest.mark.parametrize("enough", [True, False])
async def test_what_still_runs_has_its_time(enough: bool, expect_log: Any) -> None:
    class Long(RequestHandler):
        async def get(self) -> None:
            began.set()
            await go_on.wait()
            self.write("done")

    began, go_on = asyncio.Event(), asyncio.Event()
    adapter = ASGIAdapter(application(("/long", Long)), drain_timeout=5 if enough else 0.01)
    call = Call(adapter, http_scope(path="/long"))
    async with running(call):
        await began.wait()
        ending = asyncio.create_task(adapter.shutdown())
        await asyncio.sleep(0)
        assert not ending.done()
        if enough:
            go_on.set()
            await ending
        else:
            with expect_log("webfw.general", "1 requests were still running"):
                await ending
            go_on.set()
    assert call.content == b"done"


async def test_threads_of_wsgi_end() -> None:
    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"ok"]

    container = WSGIContainer(wsgi, threads=1, log_function=lambda entry: None)
    adapter = ASGIAdapter(container)
    assert (await ask(adapter)).content == b"ok"
    await live(adapter, "shutdown")
    assert container.load()["busy"] == 0


# --- what stays behind ---


class Everything(RequestHandler):
    async def get(self) -> None:
        await asyncio.sleep(0)
        self.write("x")

    def post(self) -> None:
        self.write(self.request.body)


class Echo(WebSocketHandler):
    def on_message(self, message: str | bytes) -> None:
        self.write_message(message)


@pytest.mark.parametrize("kind", ["GET", "POST", "websocket"])
async def test_nothing_is_left_for_the_garbage_collector(kind: str) -> None:
    adapter = ASGIAdapter(application(("/all", Everything), ("/echo", Echo)))

    async def once() -> None:
        if kind == "websocket":
            socket = Socket(adapter, "/echo")
            async with running(socket):
                socket.text("x")
                await socket.heard(2)
                socket.disconnect()
        else:
            await ask(adapter, kind, "/all", b"x" if kind == "POST" else None)
        await asyncio.sleep(0)

    await once()
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            await once()
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        ours = [type(thing).__name__ for thing in gc.garbage if type(thing).__module__.startswith("webfw")]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert ours == []


async def test_there_and_back() -> None:
    """Our own server is a host too: an application in the adapter, in the container."""
    container = ASGIContainer(ASGIAdapter(application(("/all", Everything), ("/echo", Echo))))
    client = Client(container)
    assert (await client.get("/all")).body == b"x"
    assert (await client.post("/all", body=b"y" * 200_000)).body == b"y" * 200_000
    async with client.websocket("/echo") as ws:
        await ws.send("hello")
        assert await ws.receive() == "hello"
    await container.shutdown()
