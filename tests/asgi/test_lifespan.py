"""The lifespan of applications: those that have one, those that have none, and those that do it wrong."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.asgi.apps import body, start
from webfw.asgi import ApplicationError, ASGIContainer, LifespanError
from webfw.asgi.lifespan import Lifespan
from webfw.testing import Client

STARTED = {"type": "lifespan.startup.complete"}
FAILED = {"type": "lifespan.startup.failed", "message": "no database"}
STOPPED = {"type": "lifespan.shutdown.complete"}


class App:
    """Answers requests with its state, and does with its lifespan what it is told."""

    def __init__(self, *steps: Any) -> None:
        self.steps = steps
        self.heard: list[str] = []
        self.raised: list[BaseException] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            self.heard.append("request")
            await send(start())
            await send(body(repr(scope["state"]).encode()))
            scope["state"]["own"] = "of this request"
            return
        assert scope["asgi"] == {"version": "3.0", "spec_version": "2.0"}
        scope["state"]["pool"] = "here"
        try:
            for step in self.steps:
                if step is None:
                    self.heard.append((await receive())["type"])
                elif isinstance(step, BaseException):
                    raise step
                elif isinstance(step, asyncio.Event):
                    await step.wait()
                else:
                    await send(step)
        except BaseException as error:
            self.raised.append(error)
            raise


WHOLE = (None, STARTED, None, STOPPED)
HEARD = ["lifespan.startup", "request", "lifespan.shutdown"]


async def test_requests_share_its_state_and_have_copies_of_their_own() -> None:
    app = App(*WHOLE)
    container = ASGIContainer(app)
    await container.startup()
    await container.startup()  # does no harm
    assert container.ready
    client = Client(container)
    for _ in range(2):
        assert (await client.get("/")).body == b"{'pool': 'here'}"
    await container.shutdown()
    await container.shutdown()
    assert app.heard == ["lifespan.startup", "request", "request", "lifespan.shutdown"]


async def test_the_first_request_begins_it_and_others_wait_too() -> None:
    go = asyncio.Event()
    app = App(None, go, STARTED, None, STOPPED)
    container = ASGIContainer(app)
    client = Client(container)
    asked = [asyncio.create_task(client.post("/", body=b"x" * 100_000)) for _ in range(3)]
    while not app.heard:
        await asyncio.sleep(0)
    assert not any(task.done() for task in asked)
    go.set()
    assert [(await task).code for task in asked] == [200] * 3
    await container.shutdown()
    assert app.heard == ["lifespan.startup", *["request"] * 3, "lifespan.shutdown"]


async def test_a_client_that_leaves_while_it_begins_is_not_answered() -> None:
    from tests.web.conftest import Site, request

    go = asyncio.Event()
    app = App(None, go, STARTED, None, STOPPED)
    logged: list[int] = []
    container = ASGIContainer(app, log_function=lambda entry: logged.append(entry.get_status()))
    site = Site(container)
    await site.send(request("/"))
    site.wire.lose()
    go.set()
    await site.settle()
    assert (logged, app.heard) == ([499], ["lifespan.startup"])
    await container.shutdown()


@pytest.mark.parametrize(
    "steps", [(RuntimeError("only http"),), (AssertionError(),), ()], ids=["raises", "asserts", "returns"]
)
async def test_an_application_without_one_is_served_all_the_same(steps: Any) -> None:
    app = App(*steps)
    container = ASGIContainer(app)
    await container.startup()
    assert (await Client(container).get("/")).code == 200
    await container.shutdown()
    with pytest.raises(LifespanError, match="has no lifespan"):
        await ASGIContainer(App(*steps), lifespan="on").startup()


async def test_off_never_asks() -> None:
    app = App(*WHOLE)
    container = ASGIContainer(app, lifespan="off")
    await container.startup()
    assert (await Client(container).get("/")).body == b"{}"
    await container.shutdown()
    assert app.heard == ["request"]


async def test_a_mistake_in_its_startup_is_logged_and_the_server_goes_on(expect_log: Any) -> None:
    """The specification: the server must continue.  But it says so."""
    container = ASGIContainer(App(None, KeyError("setting")))
    with expect_log("webfw.application", "Uncaught exception in the application's startup", count=1):
        await container.startup()
    assert container.ready


async def test_a_startup_that_fails_stops_the_start() -> None:
    container = ASGIContainer(App(None, FAILED))
    with pytest.raises(LifespanError, match="^no database$"):
        await container.startup()
    assert not container.ready
    container = ASGIContainer(
        App(None, {"type": "lifespan.startup.failed"}, RuntimeError("as frameworks do"))
    )
    with pytest.raises(LifespanError, match="startup has failed"):
        await container.startup()


async def test_it_may_be_tried_again() -> None:
    app = App(None, FAILED)
    container = ASGIContainer(app)
    with pytest.raises(LifespanError):
        await container.startup()
    app.steps = WHOLE
    await container.startup()
    assert container.ready
    await container.shutdown()


async def test_a_startup_that_fails_with_the_first_request_is_told_once(expect_log: Any) -> None:
    app = App(None, FAILED)
    container = ASGIContainer(app, log_function=lambda entry: None)
    client = Client(container, raise_app_exceptions=False)
    with expect_log("webfw.application", "The application cannot start: no database", count=1):
        answers = await asyncio.gather(*[client.get("/") for _ in range(3)])
    assert [answer.code for answer in answers] == [503] * 3
    assert (await client.get("/")).code == 503
    assert app.heard == ["lifespan.startup"]


async def test_a_startup_that_never_ends() -> None:
    app = App(None, asyncio.Event())
    with pytest.raises(LifespanError, match=r"has not started within 0.3 seconds"):
        await ASGIContainer(app, lifespan_timeout=0.3).startup()
    assert isinstance(app.raised[0], asyncio.CancelledError)


async def test_a_startup_that_nobody_waits_for_any_more_is_ended() -> None:
    app = App(None, asyncio.Event())
    container = ASGIContainer(app)
    starting = asyncio.create_task(container.startup())
    while not app.heard:
        await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert isinstance(app.raised[0], asyncio.CancelledError)
    app.steps = WHOLE
    await container.startup()
    await container.shutdown()


async def test_a_shutdown_that_is_cut_ends_the_application() -> None:
    app = App(None, STARTED, None, asyncio.Event())
    container = ASGIContainer(app)
    await container.startup()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await container.shutdown()
    assert isinstance(app.raised[0], asyncio.CancelledError)


async def test_a_shutdown_that_is_cut_while_it_still_starts_ends_the_application() -> None:
    app = App(None, asyncio.Event())
    container = ASGIContainer(app, lifespan_timeout=None, log_function=lambda entry: None)
    asked = asyncio.ensure_future(Client(container).get("/"))
    while not app.heard:
        await asyncio.sleep(0)
    ending = asyncio.ensure_future(container.shutdown())
    await asyncio.sleep(0)
    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
    assert isinstance(app.raised[0], asyncio.CancelledError)
    assert (await asked).code == 503


async def test_what_it_waits_for_may_be_cancelled_and_that_is_a_mistake(expect_log: Any) -> None:
    container = ASGIContainer(App(None, asyncio.CancelledError("mine")))
    with expect_log("webfw.application", "Uncaught exception in the application's startup", count=1):
        await container.startup()
    assert container.ready
    container = ASGIContainer(App(None, STARTED, asyncio.CancelledError("mine")))
    with expect_log("webfw.application", "Uncaught exception in the application's lifespan", count=1):
        await container.startup()
        await container.shutdown()


async def test_where_a_lifespan_is_wanted_a_mistake_in_it_stops_the_start() -> None:
    with pytest.raises(LifespanError, match=r"startup has failed: KeyError\('setting'\)") as caught:
        await ASGIContainer(App(None, KeyError("setting")), lifespan="on").startup()
    assert isinstance(caught.value.__cause__, KeyError)


async def test_a_shutdown_that_never_ends(expect_log: Any) -> None:
    app = App(None, STARTED, None, asyncio.Event())
    container = ASGIContainer(app, lifespan_timeout=0.3)
    await container.startup()
    with expect_log("webfw.application", r"has not shut down within 0.3 seconds"):
        await container.shutdown()
    assert isinstance(app.raised[0], asyncio.CancelledError)


async def test_a_shutdown_that_fails(expect_log: Any) -> None:
    failed = {"type": "lifespan.shutdown.failed", "message": "lost"}
    for steps, complaint in (
        ([failed], "shutdown has failed: lost"),
        ([failed, ValueError("as frameworks do")], "shutdown has failed: lost"),
        ([{"type": "lifespan.shutdown.failed"}], "shutdown has failed: it does not say why"),
        ([ValueError("mine")], "Uncaught exception in the application's lifespan"),
    ):
        container = ASGIContainer(App(None, STARTED, None, *steps))
        await container.startup()
        with expect_log("webfw.application", complaint):
            await container.shutdown()


async def test_one_that_ends_before_its_shutdown(expect_log: Any) -> None:
    container = ASGIContainer(App(None, STARTED))
    await container.startup()
    await container.shutdown()
    go = asyncio.Event()
    container = ASGIContainer(App(None, STARTED, go, ValueError("mine")))
    await container.startup()
    with expect_log("webfw.application", "Uncaught exception in the application's lifespan", count=1):
        go.set()
        await asyncio.sleep(0.01)
    await container.shutdown()


@pytest.mark.parametrize(
    ("steps", "complaint"),
    [
        ((STOPPED,), "lifespan.shutdown.complete comes before the shutdown"),
        (({"type": "lifespan.nothing"},), "a type that a lifespan does not have"),
        ((7,), "a message is a dict with a type"),
    ],
)
async def test_messages_out_of_turn_at_the_start(steps: Any, complaint: str) -> None:
    app = App(*steps)
    await ASGIContainer(app).startup()
    assert isinstance(app.raised[0], ApplicationError)
    assert complaint in str(app.raised[0])


@pytest.mark.parametrize("steps", [(STARTED, STARTED), (STARTED, FAILED)])
async def test_messages_out_of_turn_later(steps: Any, expect_log: Any) -> None:
    app = App(*steps)
    container = ASGIContainer(app)
    with expect_log("webfw.application", "Uncaught exception in the application's lifespan", count=1):
        await container.startup()
        while not app.raised:
            await asyncio.sleep(0)
    assert "comes after the startup" in str(app.raised[0])
    await container.shutdown()


async def test_nothing_comes_after_the_shutdown(expect_log: Any) -> None:
    app = App(None, STARTED, None, STOPPED, None)
    container = ASGIContainer(app)
    await container.startup()
    with expect_log("webfw.application", "Uncaught exception in the application's lifespan", count=1):
        await container.shutdown()
    assert isinstance(app.raised[0], ApplicationError)


async def test_a_lifespan_that_was_never_begun_ends_at_once() -> None:
    await Lifespan(App(), "auto", 1.0).shutdown()


async def test_an_application_that_does_not_let_itself_be_cancelled(expect_log: Any) -> None:
    go = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await go.wait()

    begun = asyncio.get_running_loop().time()
    with pytest.raises(LifespanError), quick_end():
        await ASGIContainer(app, lifespan_timeout=0.3).startup()
    assert asyncio.get_running_loop().time() - begun < 5
    go.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)


@contextmanager
def quick_end() -> Iterator[None]:
    from webfw.asgi import lifespan

    before, lifespan.LAST_WAIT = lifespan.LAST_WAIT, 0.01
    try:
        yield
    finally:
        lifespan.LAST_WAIT = before


async def test_draining_ends_what_a_request_has_begun() -> None:
    app = App(*WHOLE)
    container = ASGIContainer(app)
    client = Client(container)
    await client.get("/")
    await client.server.drain(1)
    await container.shutdown()
    assert app.heard == HEARD
    container = ASGIContainer(App(*WHOLE))
    await container.startup()
    client = Client(container)
    await client.server.drain(1)
    assert container.ready  # who has begun it ends it
    await container.shutdown()
