"""How one request runs, whatever it is: its context, its time limit, and who has ended it."""

import asyncio
import os
import sys
from contextvars import ContextVar
from typing import Any

import pytest

from tests.asgi.apps import Part, body, start
from tests.web.conftest import Answer, Site, request
from webfw.asgi import ASGIContainer, ClientDisconnected
from webfw.asgi.run import Run, caused_by_leaving
from webfw.observe import RequestIds

HELLO_START = start(200, (b"content-length", b"5"))
HELLO_BODY = body(b"hello")

NAME: ContextVar[str] = ContextVar("name", default="nobody")


def site(app: Any, **options: Any) -> Site:
    options.setdefault("log_function", lambda entry: None)
    return Site(ASGIContainer(app, lifespan="off", **options))


async def test_each_request_has_a_context_of_its_own() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(NAME.get())
        NAME.set(scope["path"])
        await send(start())
        await asyncio.sleep(0)
        seen.append(NAME.get())
        await send(body())

    asked = site(app)
    await asked.send(request("/one") + request("/two"))
    await asked.send(request("/three"))
    assert seen == ["nobody", "/one", "nobody", "/two", "nobody", "/three"]
    assert NAME.get() == "nobody"


async def test_it_runs_as_a_task() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0))
        await send(start())
        await send(body(b"done"))

    assert (await site(app).ask("/")).body == b"done"


async def test_a_plain_request_makes_no_more_calls_than_it_needs() -> None:
    """Counted, not timed, so that a noisy machine cannot hide what creeps in."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(HELLO_START)
        await send(HELLO_BODY)

    asked = Site(ASGIContainer(app, lifespan="off"))
    await asked.ask("/")
    calls: list[str] = []

    def count(frame: Any, event: str, arg: Any) -> None:
        if event == "call" and os.sep + "asgi" + os.sep in frame.f_code.co_filename:
            calls.append(frame.f_code.co_qualname)

    sys.setprofile(count)
    try:
        asked.wire.feed(request("/"))
        await asyncio.sleep(0)
    finally:
        sys.setprofile(None)
    assert asked.wire.take().endswith(b"hello")
    own = [name for name in calls if "<locals>" not in name]
    assert len(own) <= 19, own


async def test_an_application_that_takes_too_long(expect_log: Any) -> None:
    app = Part(asyncio.Event())
    asked = site(app, request_timeout=3)
    await asked.send(request("/"))
    assert await asked.pass_time(2) == b""
    with expect_log("webfw.application", "GET / .*: the application takes too long", count=1):
        assert Answer(await asked.pass_time(2)).status == 504
    assert isinstance(app.raised[0], asyncio.CancelledError)
    assert not asked.application.running


async def test_one_that_does_not_let_itself_be_cancelled(expect_log: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            with pytest.raises(ClientDisconnected):
                await send(start())
            assert (await receive())["type"] == "http.request"
            assert (await receive())["type"] == "http.disconnect"

    asked = site(app, request_timeout=3)
    await asked.send(request("/"))
    with expect_log("webfw.application", "the application takes too long", count=1):
        assert Answer(await asked.pass_time(4)).status == 504
    assert not asked.application.running


async def test_the_limit_is_for_the_beginning_of_the_response() -> None:
    go = asyncio.Event()
    asked = site(Part(start(), body(b"x", True), go, body()), request_timeout=3)
    await asked.send(request("/"))
    assert await asked.pass_time(10) == b""
    go.set()
    assert (await asked.settle()).endswith(b"0\r\n\r\n")


async def test_a_response_in_time_is_watched_no_longer() -> None:
    go = asyncio.Event()
    asked = site(Part(start(), body(b"x"), go), request_timeout=3)
    watched = len(asked.sweeper)
    await asked.send(request("/"))
    assert len(asked.sweeper) == watched
    go.set()
    await asked.settle()


async def test_a_task_that_somebody_cancels_cuts_its_response() -> None:
    asked = site(Part(start(), body(b"x", True), asyncio.Event()))
    await asked.send(request("/"))
    (run,) = asked.application.running
    run.task.cancel()
    await asked.settle()
    assert asked.wire.aborted
    assert run.task.cancelled()


async def test_one_that_cancels_itself_before_it_answers_is_a_500() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    statuses: list[int] = []
    asked = site(app, log_function=lambda entry: statuses.append(entry.get_status()))
    assert (await asked.ask("/")).status == 500
    assert statuses == [500]
    assert (await asked.ask("/")).status == 500  # and the connection goes on
    assert not asked.application.running


async def test_receiving_again_and_again_in_vain_leaves_nothing() -> None:
    go = asyncio.Event()
    kept: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(start())
        other = asyncio.ensure_future(receive())
        for _ in range(100):
            asking = asyncio.ensure_future(receive())
            await asyncio.sleep(0)
            asking.cancel()
            await asyncio.wait([asking])
        (run,) = asked.application.running
        kept.append(len(run._waiters))
        await go.wait()
        await send(body(b"x"))
        assert await other == {"type": "http.disconnect"}

    asked = site(app)
    asked.wire.feed(request("/"))
    while not kept and not asked.wire.writes:
        await asyncio.sleep(0)
    assert kept == [1]
    go.set()
    assert Answer(await asked.settle()).body == b"x"


async def test_what_stops_the_program_is_not_swallowed() -> None:
    class Stop(BaseException):
        pass

    asked = site(Part(lambda: asyncio.sleep(0), then=Stop()))
    asked.wire.feed(request("/"))
    (run,) = asked.application.running
    with pytest.raises(Stop):
        await run.task
    assert asked.wire.aborted


async def test_observers_see_the_handler_begin_in_its_context() -> None:
    from webfw.observe import current_request_id

    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(current_request_id())
        await send(start())
        await send(body())

    asked = Site(ASGIContainer(app, lifespan="off"), observer=RequestIds())
    answer = await asked.ask("/")
    assert seen == [answer.headers["X-Request-ID"]]


def test_what_is_caused_by_leaving() -> None:
    gone = ClientDisconnected("gone")
    assert caused_by_leaving(gone)
    assert not caused_by_leaving(None)
    assert not caused_by_leaving(ConnectionResetError())
    loop = ValueError()
    loop.__context__ = KeyError()
    loop.__context__.__context__ = loop
    assert not caused_by_leaving(loop)
    assert caused_by_leaving(ExceptionGroup("a", [ValueError(), ExceptionGroup("b", [gone])]))


async def test_what_both_kinds_must_do(expect_log: Any) -> None:
    loop = asyncio.get_running_loop()
    run = Run(ASGIContainer(Part(), lifespan="off"), None, None, loop)  # type: ignore[arg-type]
    with pytest.raises(NotImplementedError):
        run.scope()
    with pytest.raises(NotImplementedError):
        await run.receive()
    with pytest.raises(NotImplementedError):
        await run.send({})
    assert run.data_received(b"") is None
    run.finish()
    run.drain()
