"""Tests of webfw.observe.health: reasons not to be ready, from checks of every kind, and the two handlers."""

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from webfw.httpserver import HTTPServer
from webfw.observe.health import HealthHandler, Readiness, ReadinessHandler
from webfw.pubsub import BrokerClosed, BrokerUnavailable, MemoryBroker
from webfw.testing.client import Client
from webfw.web import Application
from webfw.wsgi import WSGIContainer

ExpectLog = Callable[..., Any]


async def test_the_life_of_a_process() -> None:
    readiness = Readiness()
    assert list(await readiness.reasons()) == ["starting"]
    readiness.serving()
    assert await readiness.reasons() == {}
    readiness.leaving()
    assert list(await readiness.reasons()) == ["draining"]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (None, None),
        (True, None),
        (False, "failed"),
        ("the disk is full", "the disk is full"),
        (0, "no verdict, but int"),
    ],
)
@pytest.mark.parametrize("kind", ["plain", "async", "future"])
async def test_what_a_check_says(said: object, reason: str | None, kind: str, expect_log: ExpectLog) -> None:
    async def later() -> object:
        await asyncio.sleep(0)
        return said

    def future() -> object:
        made = asyncio.get_running_loop().create_future()
        made.set_result(said)
        return made

    readiness = Readiness(serving=True)
    readiness.add_check("disk", {"plain": lambda: said, "async": later, "future": future}[kind])
    if reason is None:
        assert await readiness.reasons() == {}
    else:
        with expect_log("webfw.general", f"not ready: disk: {reason}", count=1):
            assert await readiness.reasons() == {"disk": reason}
            assert await readiness.reasons() == {"disk": reason}


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_a_check_that_raises_is_logged_once_and_keeps_its_secrets(
    kind: str, expect_log: ExpectLog
) -> None:
    broken = True

    def plain() -> None:
        if broken:
            raise ConnectionError("postgresql://user:secret@db")

    async def later() -> None:
        plain()

    readiness = Readiness(serving=True)
    readiness.add_check("database", plain if kind == "plain" else later)
    with (
        expect_log("webfw.application", "readiness check database has failed", count=1),
        expect_log("webfw.general", "not ready: database: failed with ConnectionError", count=1),
    ):
        for _ in range(2):
            assert await readiness.reasons() == {"database": "failed with ConnectionError"}
    broken = False
    with expect_log("webfw.general", "no reason any more .*: database", level=20, count=1):
        assert await readiness.reasons() == {}


async def test_a_check_that_hangs(expect_log: ExpectLog) -> None:
    cancelled = []

    async def hangs() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    readiness = Readiness(serving=True, patience=0.3)
    readiness.add_check("slow", hangs)
    readiness.add_check("well", lambda: asyncio.sleep(0))
    with expect_log("webfw.general", "not ready: slow", count=1):
        assert await readiness.reasons() == {"slow": "no answer within 0.3 seconds"}
    await asyncio.sleep(0)
    assert cancelled == [True]


async def test_a_check_that_is_cancelled(expect_log: ExpectLog) -> None:
    async def gives_up() -> None:
        raise asyncio.CancelledError

    readiness = Readiness(serving=True)
    readiness.add_check("given up", gives_up)
    with expect_log("webfw.general", "given up: cancelled", count=1):
        assert await readiness.reasons() == {"given up": "cancelled"}


async def test_who_asks_and_leaves_leaves_nothing_behind() -> None:
    async def fails() -> None:
        raise OSError("nobody is told")

    readiness = Readiness(serving=True)
    readiness.add_check("a", fails)
    readiness.add_check("b", lambda: asyncio.Event().wait())
    asking = asyncio.ensure_future(readiness.reasons())
    for _ in range(4):
        await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_names_that_are_taken(expect_log: ExpectLog) -> None:
    readiness = Readiness(serving=True)
    for _ in range(3):
        readiness.add_check("db", lambda: False)
    with expect_log("webfw.general", "not ready", count=3):
        assert list(await readiness.reasons()) == ["db", "db 2", "db 3"]


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="patience"):
        Readiness(patience=0)
    with pytest.raises(TypeError, match="the readiness check db is a function, not str"):
        Readiness().add_check("db", "SELECT 1")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Readiness().watch(Application(readiness_checks=7))


# --- what is watched ---


def named() -> str:
    return "no"


@pytest.mark.parametrize(
    ("given", "names"),
    [({"disk": named}, ["disk"]), ([named, named], ["named", "named 2"]), (named, ["named"]), (None, [])],
)
async def test_checks_of_an_application(given: Any, names: list[str], expect_log: ExpectLog) -> None:
    readiness = Readiness(serving=True)
    readiness.watch(Application(readiness_checks=given))
    if names:
        with expect_log("webfw.general", "not ready", count=len(names)):
            assert list(await readiness.reasons()) == names
    else:
        assert await readiness.reasons() == {}


async def test_an_application_that_drains() -> None:
    app = Application()
    readiness = Readiness(serving=True)
    readiness.watch(app)
    assert await readiness.reasons() == {}
    app.start_draining()
    assert list(await readiness.reasons()) == ["draining"]


class Distant(MemoryBroker):
    """A broker with a connection."""

    def __init__(self) -> None:
        super().__init__()
        self.there = False
        self.reachable = True
        self.started = 0

    @property
    def connected(self) -> bool:
        return self.there

    async def start(self) -> None:
        self.started += 1
        if not self.reachable:
            raise BrokerUnavailable("nobody is there")
        self.there = True


async def test_a_broker_that_is_away(expect_log: ExpectLog) -> None:
    broker = Distant()
    readiness = Readiness(serving=True)
    app = Application(broker=broker)
    readiness.watch(app)
    assert await readiness.reasons() == {}  # nobody has used it
    assert broker.started == 0
    assert app.broker is broker
    assert await readiness.reasons() == {}  # asking has connected it
    assert await readiness.reasons() == {}
    assert broker.started == 1
    broker.there = broker.reachable = False
    with expect_log("webfw.general", "not ready: broker: not connected", count=1):
        assert await readiness.reasons() == {"broker": "not connected"}
    with expect_log("webfw.general", "no reason any more", level=20):
        broker.there = True
        assert await readiness.reasons() == {}
    await broker.close()


async def test_threads_that_are_all_busy(expect_log: ExpectLog) -> None:
    gate = threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        gate.wait(20)
        start_response("200 OK", [("Content-Length", "0")])
        return []

    container = WSGIContainer(app, threads=1, max_waiting=1, log_function=lambda entry: None)
    readiness = Readiness(serving=True)
    readiness.watch(container)
    client = Client(HTTPServer(container))
    asked = [asyncio.ensure_future(client.get("/"))]
    try:
        while container.load()["busy"] != 1:
            await asyncio.sleep(0.001)
        assert await readiness.reasons() == {}
        asked.append(asyncio.ensure_future(client.get("/")))
        while container.load()["waiting"] != 1:
            await asyncio.sleep(0.001)
        with expect_log("webfw.general", "not ready: wsgi", count=1):
            assert list(await readiness.reasons()) == ["wsgi"]
    finally:
        gate.set()
        assert [(await answer).code for answer in asked] == [200, 200]
        container.close()


async def test_an_application_on_the_loop_has_no_queue() -> None:
    readiness = Readiness(serving=True)
    readiness.watch(WSGIContainer(lambda environ, start_response: [b""], threads=0, max_waiting=0))
    assert await readiness.reasons() == {}


# --- the handlers, in any application ---


def no_log(handler: object) -> None:
    """A 503 would be an error."""


async def test_the_handlers() -> None:
    app = Application(
        [("/healthz", HealthHandler), ("/readyz", ReadinessHandler)], readiness_checks=[], log_function=no_log
    )
    client = Client(app)
    health = await client.get("/healthz")
    assert (health.code, health.text, health.headers["Cache-Control"]) == (200, "ok\n", "no-store")
    assert "ETag" not in health.headers
    ready = await client.get("/readyz")
    assert (ready.code, json.loads(ready.text)) == (200, {"status": "ready"})
    assert ready.headers["Content-Type"].startswith("application/json")
    assert ready.headers["Cache-Control"] == "no-store"
    assert "ETag" not in ready.headers
    for path in ("/healthz", "/readyz"):
        head = await client.head(path)
        assert (head.code, head.text) == (200, "")
    app.settings["readiness"].leaving()
    gone = await client.get("/readyz")
    assert gone.code == 503
    assert json.loads(gone.text) == {
        "status": "not ready",
        "reasons": {"draining": "the server is going away"},
    }
    assert (await client.get("/healthz")).code == 200


async def test_one_readiness_for_several_applications() -> None:
    readiness = Readiness()
    routes = [("/readyz", ReadinessHandler, {"readiness": readiness})]
    given = Application(routes, log_function=no_log)
    set_so = Application([("/readyz", ReadinessHandler)], readiness=readiness, log_function=no_log)
    for app in (given, set_so):
        answer = await Client(app).get("/readyz")
        assert (answer.code, list(json.loads(answer.text)["reasons"])) == (503, ["starting"])


async def test_the_checks_of_the_applications_setting_are_asked(expect_log: ExpectLog) -> None:
    app = Application([("/readyz", ReadinessHandler)], readiness_checks={"cache": lambda: "cold"})
    with expect_log("webfw.general", "not ready: cache: cold"), expect_log("webfw.access", "503"):
        answer = await Client(app).get("/readyz")
    assert json.loads(answer.text)["reasons"] == {"cache": "cold"}


async def test_a_broker_that_was_closed(expect_log: ExpectLog) -> None:
    class Closed(Distant):
        async def start(self) -> None:
            raise BrokerClosed("this broker has been closed")

    readiness = Readiness(serving=True)
    app = Application(broker=Closed())
    readiness.watch(app)
    assert not app.broker.connected
    with expect_log("webfw.general", "not ready: broker"):
        assert await readiness.reasons() == {"broker": "not connected"}
