"""`ASGIContainer` in each of the places it may stand: server, route, fallback; and what it is made with."""

import asyncio
import functools
import logging
from typing import Any

import pytest

from tests.asgi.apps import Part, body, echo, start
from tests.web.conftest import Site, request
from webfw.asgi import ASGIContainer, is_asgi_application
from webfw.httpserver import HTTPServer, Observer
from webfw.observe import AccessLog
from webfw.routing import PathMatches, Rule, RuleRouter
from webfw.testing import Client
from webfw.web import Application, FallbackHandler, RequestHandler

# --- what it is made with ---


@pytest.mark.parametrize(
    ("options", "error", "complaint"),
    [
        ({"mount": "api"}, ValueError, "a mount begins with a slash"),
        ({"mount": "/api/"}, ValueError, "does not end with one"),
        ({"lifespan": "maybe"}, ValueError, "lifespan must be 'auto', 'on' or 'off'"),
        ({"lifespan_timeout": 0}, ValueError, "lifespan_timeout must be more than 0"),
        ({"request_timeout": float("nan")}, ValueError, "request_timeout must be more than 0"),
        ({"drain_spread": -1}, ValueError, "drain_spread must not be"),
        ({"websocket_compression": {"level": 3}}, ValueError, "no compression option is called 'level'"),
        ({"app": None}, TypeError, "unlike NoneType"),
    ],
)
def test_what_it_may_not_be_made_with(
    options: dict[str, Any], error: type[Exception], complaint: str
) -> None:
    with pytest.raises(error, match=complaint):
        ASGIContainer(**{"app": echo} | options)


class Instance:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...

    async def method(self, scope: Any, receive: Any, send: Any) -> None: ...


class Endpoint:
    def __init__(self, scope: Any, receive: Any, send: Any) -> None: ...

    def __await__(self) -> Any:
        yield


class Double:
    def __init__(self, scope: Any) -> None: ...

    async def __call__(self, receive: Any, send: Any) -> None: ...


class Wsgi:
    def __call__(self, environ: Any, start_response: Any) -> Any: ...


def returns_a_coroutine(scope: Any, receive: Any, send: Any) -> Any:
    return echo(scope, receive, send)


async def anything(*args: Any) -> None: ...


async def with_more(scope: Any, receive: Any, send: Any, more: Any = None) -> None: ...


async def takes_two(receive: Any, send: Any) -> None: ...


def any_number(*args: Any) -> Any: ...


def double(scope: Any) -> Any: ...


@pytest.mark.parametrize(
    "app",
    [
        echo,
        Instance(),
        Instance().method,
        Endpoint,
        returns_a_coroutine,
        anything,
        with_more,
        functools.partial(with_more, more=1),
        functools.partial(echo),
        functools.partial(Instance()),
        lambda scope, receive, send: None,
    ],
)
def test_what_is_an_application(app: Any) -> None:
    assert is_asgi_application(app)


@pytest.mark.parametrize(
    "app",
    [
        None,
        7,
        "app",
        Double,
        Double(None),
        Wsgi(),
        Wsgi,
        Instance,
        double,
        takes_two,
        any_number,
        print,
        Application(),
    ],
)
def test_what_is_none(app: Any) -> None:
    assert not is_asgi_application(app)


def test_an_application_of_asgi_2_is_refused_with_a_sentence() -> None:
    for app in (Double, double):
        with pytest.raises(TypeError, match="called with one argument, as ASGI 2 had it"):
            ASGIContainer(app)
    with pytest.raises(TypeError, match="called with .scope, receive, send. and awaited, unlike takes_two"):
        ASGIContainer(takes_two)  # type: ignore[arg-type]


async def test_applications_of_odd_kinds_are_called() -> None:
    class Answers(Endpoint):
        def __init__(self, scope: Any, receive: Any, send: Any) -> None:
            self.call = echo(scope, receive, send)

        def __await__(self) -> Any:
            return self.call.__await__()

    for app in (Answers, returns_a_coroutine, functools.partial(echo)):
        assert (await Client(ASGIContainer(app, lifespan="off")).post("/", body=b"x")).body == b"x"


# --- where it stands ---


class Native(RequestHandler):
    def get(self) -> None:
        self.write("native")


def in_a_route(container: ASGIContainer) -> Any:
    return Application([("/native", Native), (r"/.*", container)])


def in_a_rule_router(container: ASGIContainer) -> Any:
    return RuleRouter([Rule(PathMatches("/.*"), container)])


def in_a_fallback(container: ASGIContainer) -> Any:
    return Application([("/native", Native), (r"/.*", FallbackHandler, {"fallback": container})])


def in_a_streaming_fallback(container: ASGIContainer) -> Any:
    return RuleRouter([Rule(PathMatches("/.*"), Application([(r"/.*", container)]))])


def by_delegates(container: ASGIContainer) -> Any:
    server = HTTPServer(container)
    server.begin = _by_start_request(server)
    return server


def _by_start_request(server: HTTPServer) -> Any:
    from webfw.httpserver.adapters import begin_with_delegate

    return begin_with_delegate(server)


PLACES = [in_a_route, in_a_rule_router, in_a_fallback, in_a_streaming_fallback, by_delegates, lambda c: c]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("lifespan", ["off", "auto"])
@pytest.mark.parametrize("size", [0, 10, 2_000_000])
async def test_wherever_it_stands_it_answers(place: Any, lifespan: Any, size: int) -> None:
    client = Client(place(ASGIContainer(echo, lifespan=lifespan)))
    data = bytes(size)
    for _ in range(2):
        response = await client.post("/x", body=data)
        assert (response.code, len(response.body)) == (200, size)
        assert response.body == data


@pytest.mark.parametrize("place", PLACES)
async def test_wherever_it_stands_it_hears_that_a_client_leaves(place: Any) -> None:
    app = Part(None, None)
    site = Site(None)
    target = place(ASGIContainer(app, lifespan="off", log_function=lambda entry: None))
    if not isinstance(target, HTTPServer):
        target = HTTPServer(target)
    site.wire.consumer = None
    target._serve(site.wire)
    await site.send(request("/x"))
    site.wire.lose()
    await site.settle()
    assert app.heard[1] == {"type": "http.disconnect"}


async def test_100_continue_waits_for_the_lifespan_and_for_the_application() -> None:
    go = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await go.wait()
        await echo(scope, receive, send)

    container = ASGIContainer(app)
    site = Site(container)
    assert await site.send(request("/", "POST", Content_Length="3", Expect="100-continue")) == b""
    go.set()
    assert b"100 Continue" in await site.settle()
    assert b"200 OK" in await site.send(b"abc")
    await container.shutdown()


# --- the log ---


async def test_the_access_log_has_a_line_for_each(caplog: Any) -> None:
    caplog.set_level(logging.INFO, "tornado.access")
    caplog.set_level(logging.INFO, "webfw.access")
    await Client(ASGIContainer(echo, lifespan="off")).post("/x?y", body=b"")
    (line,) = [record.getMessage() for record in caplog.records if "access" in record.name]
    assert line.startswith("200 POST /x?y (127.0.0.1) ")


async def test_the_log_may_be_another_one() -> None:
    seen: list[Any] = []

    class Own(ASGIContainer):
        def _log(self, status_code: int, request: Any) -> None:
            seen.append((status_code, request.path))

    await Client(Own(echo, lifespan="off")).get("/own")
    assert seen == [(200, "/own")]

    def log(entry: Any) -> None:
        seen.append((entry.get_status(), entry.request.path))

    await Client(ASGIContainer(echo, lifespan="off", log_function=log)).get("/function")
    assert seen[1:] == [(200, "/function")]


async def test_an_observer_that_writes_the_log_is_left_to_it(caplog: Any) -> None:
    caplog.set_level(logging.INFO, "webfw.access")
    client = Client(ASGIContainer(echo, lifespan="off"), observer=AccessLog())
    await client.get("/x")
    assert len([record for record in caplog.records if "access" in record.name]) == 1


async def test_a_log_that_fails_does_not_break_the_request(expect_log: Any) -> None:
    def log(entry: Any) -> None:
        raise RuntimeError("no log")

    with expect_log("webfw.application", "uncaught exception in the access log", count=1):
        answer = await Client(
            ASGIContainer(echo, lifespan="off", log_function=log), raise_app_exceptions=False
        ).get("/x")
    assert answer.code == 200


async def test_the_route_of_a_request_is_the_mount_or_the_pattern() -> None:
    routes: list[str | None] = []

    class Watch(Observer):
        def ended(self, record: Any) -> None:
            routes.append(record.route)

    for target in (
        ASGIContainer(echo, lifespan="off"),
        ASGIContainer(echo, lifespan="off", mount="/api"),
        Application([("/api.*", ASGIContainer(echo, lifespan="off", mount="/api"))]),
        Application([("/api.*", ASGIContainer(echo, lifespan="off"))]),
    ):
        await Client(target, observer=Watch()).get("/api/x")
    assert routes[:3] == [None, "/api", "/api"]
    assert routes[3] is not None


# --- the end ---


async def test_shutdown_waits_for_what_runs_after_the_response() -> None:
    go = asyncio.Event()
    app = Part(start(), body(b"x"), go)
    container = ASGIContainer(app, lifespan="off")
    client = Client(container)
    assert (await client.get("/")).body == b"x"
    assert container.load() == {"running": 1}
    await container.startup()
    ending = asyncio.create_task(container.shutdown())
    await asyncio.sleep(0)
    assert not ending.done()
    go.set()
    await ending
    assert (app.ended, container.load()) == (1, {"running": 0})


async def test_what_does_not_end_is_cancelled(expect_log: Any) -> None:
    app = Part(start(), body(b"x"), asyncio.Event())
    container = ASGIContainer(app, lifespan="off", lifespan_timeout=0.01)
    await Client(container).get("/")
    with expect_log("webfw.application", "1 requests of the application had to be cancelled", count=1):
        await container.shutdown()
    assert isinstance(app.raised[0], asyncio.CancelledError)


async def test_requests_after_the_end_are_refused() -> None:
    container = ASGIContainer(echo, log_function=lambda entry: None)
    client = Client(container)
    assert (await client.get("/")).code == 200
    await container.shutdown()
    assert (await client.get("/")).code == 503
    await container.startup()
    assert (await client.get("/")).code == 200
    await container.shutdown()


async def test_an_application_whose_lifespan_is_off_is_never_asked_for_it() -> None:
    app = Part(start(), body(b"x"))
    container = ASGIContainer(app, lifespan="off", log_function=lambda entry: None)
    client = Client(container)
    assert (await client.get("/")).code == 200
    await container.shutdown()
    assert (await client.get("/")).code == 503
    assert app.ended == 1
    await container.startup()
    assert (await client.get("/")).code == 200
    assert app.ended == 2


async def test_a_request_that_begins_while_others_end_is_waited_for_too() -> None:
    told: list[str] = []
    go = {"/first": asyncio.Event(), "/second": asyncio.Event()}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            told.append((await receive())["type"])
            await send({"type": "lifespan.shutdown.complete"})
            return
        await go[scope["path"]].wait()
        told.append(scope["path"])
        await send(start())
        await send(body(b"x"))

    container = ASGIContainer(app, log_function=lambda entry: None)
    await container.startup()
    client = Client(container)
    first = asyncio.ensure_future(client.get("/first"))
    while not container.running:
        await asyncio.sleep(0)
    ending = asyncio.ensure_future(container.shutdown())
    second = asyncio.ensure_future(client.get("/second"))
    while len(container.running) < 2:
        await asyncio.sleep(0)
    go["/first"].set()
    assert (await first).code == 200
    go["/second"].set()
    assert (await second).code == 200
    await ending
    assert told == ["/first", "/second", "lifespan.shutdown"]


async def test_whoever_waits_for_the_shutdown_waits_for_all_of_it() -> None:
    go = asyncio.Event()
    ended: list[bool] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await go.wait()
            ended.append(True)
            await send({"type": "lifespan.shutdown.complete"})
            return
        await send(start())
        await send(body(b"x"))

    container = ASGIContainer(app, log_function=lambda entry: None)
    assert (await Client(container).get("/")).code == 200
    container.start_draining(1.0)
    for _ in range(5):
        await asyncio.sleep(0)
    waiting = asyncio.ensure_future(container.shutdown())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    go.set()
    await waiting
    assert ended == [True]


async def test_two_loops_at_once_are_refused() -> None:
    container = ASGIContainer(Part(start(), body(b"x")), lifespan="off")
    assert (await Client(container).get("/")).code == 200

    async def other() -> None:
        await container.startup()

    with pytest.raises(RuntimeError, match="one loop at a time"):
        await asyncio.get_running_loop().run_in_executor(None, lambda: asyncio.run(other()))
    assert (await Client(container).get("/")).code == 200


async def test_shutdown_before_anything_does_nothing() -> None:
    await ASGIContainer(echo).shutdown()
    ASGIContainer(echo).start_draining()


def test_one_loop_after_the_other() -> None:
    container = ASGIContainer(Part(start(), body(b"x")))

    async def ask() -> bytes:
        found = (await Client(container).get("/")).body
        await container.shutdown()
        return found

    assert [asyncio.run(ask()) for _ in range(3)] == [b"x"] * 3


async def test_a_container_in_a_route_is_told_that_the_server_goes_away() -> None:
    container = ASGIContainer(Part({"type": "websocket.accept"}, None, None), lifespan="off", drain_spread=0)
    fallback = ASGIContainer(Part({"type": "websocket.accept"}, None, None), lifespan="off", drain_spread=0)
    app = Application([("/a", container), ("/b", FallbackHandler, {"fallback": fallback})])
    client = Client(app)
    async with client.websocket("/a") as one, client.websocket("/b") as other:
        draining = asyncio.create_task(client.server.drain(5))
        for session in (one, other):
            async for _ in session:
                pass
            assert session.close_code == 1012
        assert await draining == 0
