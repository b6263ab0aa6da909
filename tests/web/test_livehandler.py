"""What event streams and long polls have in common: see webfw/web/livehandler.py."""

import asyncio
import json
import random
from typing import Any
from urllib.parse import quote

import pytest

from tests.pubsub.fakehub import FakeHub
from tests.web.conftest import Answer, Sites, request
from tests.web.livefakes import HeldBroker, Stream
from webfw.pubsub import BrokerUnavailable
from webfw.web import Application, EventSourceHandler, HTTPError, LongPollHandler
from webfw.websocket import WebSocketHandler

#: So that a poll stays as a stream does.
PATH = "/?since=news%3Dx"


@pytest.fixture
def broker() -> HeldBroker:
    return HeldBroker()


@pytest.fixture(params=[EventSourceHandler, LongPollHandler])
def door(request: pytest.FixtureRequest) -> Any:
    """The base class of a handler."""
    return request.param


async def test_on_close_is_called_once_for_every_open(
    door: Any, site: Sites, broker: HeldBroker, expect_log: Any
) -> None:
    class Own(door):  # type: ignore[misc]
        seen: list[str] = []

        def prepare(self) -> None:
            if self.get_argument("way") == "prepare":
                raise HTTPError(403)

        def open(self) -> None:
            self.seen.append(f"open {self.get_argument('way')}")
            if self.get_argument("way") == "fail":
                raise ZeroDivisionError
            if self.get_argument("way") == "refuse":
                raise HTTPError(403)
            self.subscribe("news")

        def on_close(self) -> None:
            self.seen.append("close")

    for way in ("prepare", "refuse", "stay"):
        one = site(Own, broker=broker)
        await one.send(request(f"/?way={way}"))
        one.wire.lose()
    with expect_log("webfw.application", "Uncaught exception GET"):
        assert (await site(Own).ask("/?way=fail")).status == 500
    assert Own.seen == ["open refuse", "close", "open stay", "close", "open fail", "close"]
    await site(Own).ask("/?way=x", method="HEAD")
    assert len(Own.seen) == 6
    assert broker.listening == 0


async def test_a_client_that_vanishes_while_open_waits(door: Any, site: Sites, broker: HeldBroker) -> None:
    gate = asyncio.get_running_loop().create_future()
    there: set[Any] = set()

    class Own(door):  # type: ignore[misc]
        async def open(self) -> None:
            await gate
            there.add(self)
            await self.subscribe("news", member="ghost")

        async def on_close(self) -> None:
            await asyncio.sleep(0)
            there.discard(self)

    one = site(Own, broker=broker)
    await one.send(request(PATH))
    one.wire.lose()
    await one.settle()
    gate.set_result(None)
    await one.settle()
    assert not there, "on_close comes after open"
    assert broker.listening == 0
    assert await broker.presence("news") == {}
    assert not one.application.live


@pytest.mark.parametrize("how", ["raise", "send_error", "redirect", "write", "send_event", "close"])
async def test_open_may_go_on_when_its_client_has_gone(
    door: Any, site: Sites, broker: HeldBroker, how: str
) -> None:
    """Nobody hears what it says; that is no mistake of its, so the log has no error."""
    gate = asyncio.get_running_loop().create_future()
    ended = []

    class Own(door):  # type: ignore[misc]
        async def open(self) -> None:
            await gate
            if how == "raise":
                raise HTTPError(403)
            if how == "send_error":
                self.send_error(401)
            elif how == "redirect":
                self.redirect("/login")
            elif how == "write":
                self.set_header("X-More", "1")
                self.write("hello")
            elif door is EventSourceHandler and how == "send_event":
                self.send_event("not waited for")
                await self.send_event("hello")
            elif door is EventSourceHandler:
                self.close()

        def on_close(self) -> None:
            ended.append("closed")

    one = site([("/", Own)], broker=broker, log_function=lambda handler: ended.append("logged"))
    await one.send(request(PATH))
    one.wire.lose()
    await one.settle()
    assert ended == []
    assert not one.application.live
    gate.set_result(None)
    assert await one.settle() == b""
    assert sorted(ended) == ["closed", "logged"]
    assert len(one.sweeper) == 0


@pytest.mark.parametrize("cancel", [False, True])
async def test_a_client_that_vanishes_while_its_place_is_taken(
    door: Any, site: Sites, broker: HeldBroker, cancel: bool
) -> None:
    class Own(door):  # type: ignore[misc]
        closed = 0

        async def open(self) -> None:
            await self.subscribe("news", member="ghost")

        def on_close(self) -> None:
            Own.closed += 1

    seen = []
    broker.hold()
    one = site(
        [("/", Own)],
        broker=broker,
        cancel_on_disconnect=cancel,
        log_function=lambda handler: seen.append(handler.get_status()),
    )
    await one.send(request(PATH))
    one.wire.lose()
    await one.settle()
    broker.let_go()
    await one.settle()
    assert broker.listening == 0
    assert await broker.presence("news") == {}
    assert Own.closed == 1
    assert seen == [499]


async def test_hooks_that_fail_at_the_end(
    door: Any, site: Sites, broker: HeldBroker, expect_log: Any
) -> None:
    class Own(door):  # type: ignore[misc]
        def open(self) -> None:
            self.subscribe("news", since="x")

        def on_close(self) -> None:
            raise ZeroDivisionError

        def on_finish(self) -> None:
            raise ZeroDivisionError

    class Late(door):  # type: ignore[misc]
        async def open(self) -> None:
            await self.subscribe("news")

        async def on_close(self) -> None:
            raise ZeroDivisionError

    one = site(Own, broker=broker)
    with expect_log("webfw.application", "Uncaught exception", count=2):
        broker.hold()
        await one.send(request(PATH))
        one.wire.lose()
        broker.let_go()
        await one.settle()
    assert not one.application.live
    two = site(Late, broker=broker)
    with expect_log("webfw.application", "^Uncaught exception in on_close$", count=1):
        await two.send(request("/"))
        two.wire.lose()
        await two.settle()
    assert broker.listening == 0
    assert not two.application.live


async def test_an_error_page_that_fails(door: Any, site: Sites, broker: HeldBroker, expect_log: Any) -> None:
    class Own(door):  # type: ignore[misc]
        def open(self) -> None:
            self.subscribe("news")

        def write_error(self, status_code: int, **kwargs: Any) -> None:
            raise ZeroDivisionError

    broker.error = BrokerUnavailable("away")
    with expect_log("webfw.application", "Cannot subscribe: away|write_error", count=2):
        answer = await site(Own, broker=broker).ask("/")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")


async def test_an_error_page_of_its_own(door: Any, site: Sites, broker: HeldBroker, expect_log: Any) -> None:
    class Own(door):  # type: ignore[misc]
        def open(self) -> None:
            self.subscribe("news")

        def write_error(self, status_code: int, **kwargs: Any) -> None:
            self.write(f"come back later ({status_code})")

    broker.error = BrokerUnavailable("away")
    with expect_log("webfw.application", "Cannot subscribe: away"):
        answer = await site(Own, broker=broker).ask("/")
    assert (answer.status, answer.body) == (503, b"come back later (503)")


async def test_other_methods_end_by_themselves(door: Any, site: Sites) -> None:
    """Only a GET stays: who also takes messages by POST need not finish that."""

    class Own(door):  # type: ignore[misc]
        def post(self) -> None:
            self.write("said")

        async def options(self) -> None:
            self.set_status(204)

    one = site(Own)
    assert (await one.ask(method="POST", body=b"")).body == b"said"
    assert (await one.ask(method="OPTIONS")).status == 204
    head = 200 if door is EventSourceHandler else 405
    assert (await one.ask(method="HEAD")).status == head


async def test_an_async_prepare(door: Any, site: Sites, broker: HeldBroker) -> None:
    class Own(door):  # type: ignore[misc]
        async def prepare(self) -> None:
            await asyncio.sleep(0)

        def open(self) -> None:
            self.subscribe("news", member="ann")

    one = site(Own, broker=broker)
    await one.send(request("/"))
    await one.send(request(PATH))
    one.wire.lose()
    assert await broker.presence("news") == {}
    assert not one.application.live


async def test_detach(door: Any, real: Any, broker: HeldBroker) -> None:
    class Own(door):  # type: ignore[misc]
        closed = False

        def open(self) -> None:
            self.subscribe("news")
            self.detach().close()

        def on_close(self) -> None:
            Own.closed = True

    application = Application([("/", Own)], broker=broker)
    client = await real(application)
    client.writer.write(request())
    assert await client.reader.read() == b""
    assert Own.closed
    assert broker.listening == 0
    assert not application.live
    await client.close()


async def test_only_who_stays_can_subscribe(
    door: Any, site: Sites, broker: HeldBroker, expect_log: Any
) -> None:
    """Else a request that ends in another way would leave its place behind."""

    class Early(door):  # type: ignore[misc]
        def prepare(self) -> None:
            self.subscribe("news")

    class Socket(WebSocketHandler):
        def prepare(self) -> None:
            self.subscribe("news")

    for handler in (Early, Socket):
        with expect_log("webfw.application", "Uncaught exception GET") as records:
            assert (await site(handler, broker=broker).ask("/")).status == 500
        assert "in open" in str(records[0].exc_info[1])
    assert broker.listening == 0


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("make", [lambda: HeldBroker(history_size=12), lambda: FakeHub(lag=4)])
async def test_coming_and_going_loses_nothing_in_silence(
    door: Any, site: Sites, make: Any, seed: int
) -> None:
    """Whatever happens in between: all messages once and in order, and a word where some are missing."""

    class Own(door):  # type: ignore[misc]
        def open(self) -> None:
            self.subscribe("news")

    chance = random.Random(seed)
    broker = make()
    received: list[Any] = []
    cursor = ""
    one = None
    asked = False

    def take(data: bytes) -> None:
        nonlocal cursor, asked
        if door is EventSourceHandler:
            assert isinstance(one, Stream)
            one.take(data)
            received.extend(one.new())
            cursor = one.parser.last_id or cursor
        elif data:
            content = json.loads(Answer(data).body)
            received.extend(content["messages"])
            cursor = content["cursor"]
            asked = False

    number = 0
    last: Any = None
    for step in range(400):
        if one is None:
            one = Stream(site(Own, broker=broker))
            asked = False
        if not asked:
            one.site.wire.feed(request(f"/?since={quote(cursor)}"))
            asked = True
        if step == 399 or chance.random() < 0.5:
            number += 1
            last = await broker.publish("news", number)
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)
        if chance.random() < 0.3:
            take(one.site.wire.take())
        if chance.random() < 0.15:
            one.site.wire.lose()
            one = None
    for _ in range(100):
        if one is None:
            one = Stream(site(Own, broker=broker))
            asked = False
        if not asked:
            one.site.wire.feed(request(f"/?since={quote(cursor)}"))
            asked = True
        take(await one.site.settle())
        if cursor == f"news={last}":
            break
    one.site.wire.lose()
    await broker.close()

    seen = [event["data"] for event in received if "data" in event]
    assert seen == sorted(set(seen))
    assert seen[-1] == number
    gap = False
    before = None
    for event in received:
        if "lost" in event:
            gap = True
        elif "data" in event:
            assert before is None or gap or event["data"] == before + 1
            before, gap = event["data"], False
    assert len(seen) > 50


async def test_an_open_that_does_nothing(door: Any, site: Sites) -> None:
    one = site(type("Bare", (door,), {}))
    data = await one.send(request()) or await one.pass_time(26)
    assert Answer(data).status == 200
