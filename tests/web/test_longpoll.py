"""Long polls on a fake wire, and the socket where that is the subject: see webfw/web/longpoll.py."""

import asyncio
import json
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any
from urllib.parse import parse_qsl, quote

import pytest

from tests.web.conftest import Answer, Site, Sites, request
from tests.web.livefakes import HeldBroker
from webfw.pubsub import BrokerUnavailable, Gap, Message
from webfw.web import Application, HTTPError, LongPollHandler


class Poll(LongPollHandler):
    """One channel, or those of the query."""

    closed = 0

    def open(self) -> Any:
        for channel in self.get_arguments("channel") or ["news"]:
            self.subscribe(channel, last=self.get_int("last", 0))

    def on_close(self) -> Any:
        Poll.closed += 1


@pytest.fixture(autouse=True)
def _nobody_closed() -> None:
    Poll.closed = 0


@pytest.fixture
def broker() -> HeldBroker:
    return HeldBroker()


@pytest.fixture
def polled(site: Sites, broker: HeldBroker) -> Callable[..., Site]:
    """``polled(handler, **settings)`` is a client's connection."""
    return lambda handler=Poll, **settings: site(handler, broker=broker, **settings)


def read(data: bytes) -> tuple[str, list[Any]]:
    """The cursor and the messages of an answer; of each message its data, or the word that it is."""
    answer = Answer(data)
    assert answer.status == 200, answer.body
    assert answer.headers["Content-Type"] == "application/json; charset=UTF-8"
    assert answer.headers["Cache-Control"] == "no-store"
    content = json.loads(answer.body)
    assert content.keys() <= {"cursor", "messages", "retry"}
    return content["cursor"], ["lost" if each.get("lost") else each["data"] for each in content["messages"]]


async def poll(site: Site, cursor: str | None = None, more: str = "") -> bytes:
    since = "" if cursor is None else f"since={quote(cursor)}&"
    return await site.send(request(f"/?{since}{more}"))


async def test_the_first_poll_is_answered_at_once_with_the_position(polled: Any, broker: HeldBroker) -> None:
    await broker.publish("news", "before")
    site = polled()
    cursor, messages = read(await poll(site))
    assert messages == []
    id = await broker.publish("news", "after")
    assert read(await poll(site, cursor)) == (f"news={id}", ["after"])
    assert Poll.closed == 2
    assert broker.listening == 0


async def test_a_poll_waits_for_a_message(polled: Any, broker: HeldBroker) -> None:
    site = polled()
    cursor, _ = read(await poll(site))
    assert await poll(site, cursor) == b""
    assert broker.listening == 1
    await broker.publish("news", {"text": "ü\n</script>"})
    id = await broker.publish("news", "with it, in the same turn")
    data = await site.settle()
    assert read(data) == (f"news={id}", [{"text": "ü\n</script>"}, "with it, in the same turn"])
    assert b'"base64": "/w=="' not in data
    await broker.publish("news", b"\xff")
    assert json.loads(Answer(await poll(site, f"news={id}")).body)["messages"][0]["base64"] == "/w=="


async def test_a_time_out_gives_the_same_cursor(polled: Any) -> None:
    site = polled(longpoll_timeout=20)
    cursor, _ = read(await poll(site))
    assert await poll(site, cursor) == b""
    assert await site.pass_time(19) == b""
    assert read(await site.pass_time(1.1)) == (cursor, [])
    assert await poll(site, cursor, "wait=3") == b""
    assert await site.pass_time(2.9) == b""
    assert read(await site.pass_time(0.2)) == (cursor, [])
    assert await poll(site, cursor, "wait=1000") == b""
    assert read(await site.pass_time(20.1)) == (cursor, []), "no longer than the server wants"
    assert read(await poll(site, cursor, "wait=0")) == (cursor, [])
    assert len(site.sweeper) == 1
    assert read(await poll(polled(longpoll_timeout=0), cursor)) == (cursor, [])


@pytest.mark.parametrize("wait", ["x", "", "nan", "inf", "-1", "1e999", "1_0", "0x1"])
async def test_a_wait_that_is_none(polled: Any, wait: str, expect_log: Any) -> None:
    site = polled()
    with expect_log("webfw.general", "400 GET .*wait"):
        assert Answer(await poll(site, "news=1", f"wait={wait}")).status == 400
    assert not site.application.live
    assert Poll.closed == 0, "it has not been opened"


async def test_a_short_wait_does_not_keep_the_sweep_busy(polled: Any) -> None:
    """It is the client that says it, and a sweep looks at all connections of the loop."""
    site = polled()
    cursor, _ = read(await poll(site))
    for _ in range(3):
        assert await poll(site, cursor, "wait=0.0001") == b""
        assert site.sweeper._interval >= 0.25
        await site.pass_time(0.1)


async def test_not_to_wait_for_messages_is_to_wait_for_the_broker(polled: Any, broker: HeldBroker) -> None:
    first = await broker.publish("news", 1)
    await broker.publish("news", 2)
    site = polled()
    broker.hold()
    assert await poll(site, f"news={first}", "wait=0") == b""
    broker.let_go()
    assert read(await site.settle())[1] == [2]
    broker.hold()
    assert await poll(site, f"news={first}", "wait=0") == b""
    assert read(await site.pass_time(25.1)) == (f"news={first}", []), "but not for ever"
    broker.let_go()
    await site.settle()
    assert broker.listening == 0


async def test_nothing_is_lost_between_polls(polled: Any, broker: HeldBroker) -> None:
    site = polled()
    cursor, received = read(await poll(site))
    for i in range(0, 60, 3):
        await broker.publish("news", i)
        site.wire.feed(request(f"/?since={quote(cursor)}"))
        await broker.publish("news", i + 1)
        await asyncio.sleep(0)
        await broker.publish("news", i + 2)
        cursor, messages = read(await site.settle())
        received += messages
    received += read(await poll(site, cursor, "wait=0"))[1]
    assert received == list(range(60))


async def test_what_a_poll_missed_because_its_broker_was_slow(polled: Any, broker: HeldBroker) -> None:
    """It ended before its place was taken: its cursor must not have moved."""
    first = await broker.publish("news", 1)
    site = polled(longpoll_timeout=5)
    broker.hold()
    assert await poll(site, f"news={first}") == b""
    await broker.publish("news", 2)
    cursor, messages = read(await site.pass_time(5.1))
    assert (cursor, messages) == (f"news={first}", [])
    broker.let_go()
    assert read(await poll(site, cursor))[1] == [2]


# Full answers.


@pytest.mark.parametrize("limits", [{"max_messages": 3}, {"max_size": 150}, {"max_messages": 1}])
async def test_an_answer_that_is_full_goes_on_in_the_next(
    polled: Any, broker: HeldBroker, limits: dict[str, int]
) -> None:
    site = polled(type("Small", (Poll,), limits))
    since = await broker.publish("news", "seen")
    for i in range(10):
        await broker.publish("news", i)
    cursor, received = f"news={since}", []
    for _ in range(10):
        cursor, messages = read(await poll(site, cursor, "wait=0"))
        assert len(messages) <= 3
        received += messages
    assert received == list(range(10))


async def test_a_message_that_is_larger_than_an_answer(polled: Any, broker: HeldBroker) -> None:
    site = polled(type("Small", (Poll,), {"max_size": 100}))
    since = await broker.publish("news", "seen")
    await broker.publish("news", "x" * 1000)
    await broker.publish("news", "y")
    cursor, messages = read(await poll(site, f"news={since}"))
    assert messages == ["x" * 1000]
    assert read(await poll(site, cursor))[1] == ["y"]


@pytest.mark.parametrize("size", [1, 2, 3])
async def test_a_gap_in_a_small_answer(polled: Any, broker: HeldBroker, size: int) -> None:
    """A cursor that stays where it was behind a gap would only give that gap again, for ever."""
    site = polled(type("Small", (Poll,), {"max_messages": size, "max_size": 10}))
    for i in range(4):
        await broker.publish("news", i)
    cursor, received = "news=unknown-1", []
    for _ in range(4):
        cursor, messages = read(await poll(site, cursor, "wait=0"))
        received += messages
    assert received == ["lost", 0, 1, 2, 3]


async def test_a_gap_with_nothing_behind_it(polled: Any, broker: HeldBroker) -> None:
    site = polled()
    cursor, messages = read(await poll(site, "news=unknown-1"))
    assert messages == ["lost"]
    assert await poll(site, cursor) == b""


async def test_a_gap_while_it_waits(polled: Any, broker: HeldBroker) -> None:
    site = polled()
    cursor, _ = read(await poll(site))
    await poll(site, cursor)
    (handler,) = site.application.live
    handler._places["news"].deliver(Gap("news", "history"))
    assert read(await site.settle())[1] == ["lost"]


async def test_one_full_channel_keeps_the_order_of_all(polled: Any, broker: HeldBroker) -> None:
    site = polled(type("Small", (Poll,), {"max_messages": 2}))
    cursor, _ = read(await poll(site, None, "channel=a&channel=b"))
    for i in range(3):
        await broker.publish("a", f"a{i}")
        await broker.publish("b", f"b{i}")
    received = []
    for _ in range(3):
        cursor, messages = read(await poll(site, cursor, "channel=a&channel=b"))
        received += messages
    assert [each for each in received if each[0] == "a"] == ["a0", "a1", "a2"]
    assert [each for each in received if each[0] == "b"] == ["b0", "b1", "b2"]


# Several channels.


async def test_channels_that_are_new_in_the_cursor(polled: Any, broker: HeldBroker) -> None:
    a = await broker.publish("a", 1)
    await broker.publish("b", 2)
    site = polled()
    cursor, messages = read(await poll(site, f"a={a}", "channel=a&channel=b"))
    assert messages == []
    assert list(dict(parse_qsl(cursor))) == ["a", "b"]
    assert await poll(site, cursor, "channel=a&channel=b") == b""
    await broker.publish("b", 3)
    assert read(await site.settle())[1] == [3]
    cursor, messages = read(await poll(site, f"a={a}", "channel=a&channel=b&last=5"))
    assert messages == [2, 3]


async def test_channels_of_the_cursor_that_the_handler_has_not(polled: Any, broker: HeldBroker) -> None:
    site = polled()
    assert await poll(site, "other=1&news=" + await broker.publish("news", 1)) == b""
    await broker.publish("news", 2)
    cursor, _ = read(await site.settle())
    assert list(dict(parse_qsl(cursor))) == ["news"]


async def test_a_cursor_of_many_channels(polled: Any, broker: HeldBroker) -> None:
    class Many(LongPollHandler):
        def open(self) -> None:
            for i in range(500):
                self.subscribe(f"räume:{i}")

    site = polled(Many)
    cursor, _ = read(await poll(site))
    assert len(cursor) > 8000
    await broker.publish("räume:499", "x")
    assert read(await poll(site, cursor))[1] == ["x"]


async def test_no_channel_is_nothing_to_say(polled: Any) -> None:
    class Nothing(LongPollHandler):
        pass

    site = polled(Nothing)
    assert await poll(site) == b""
    assert read(await site.pass_time(25.1)) == ("", [])
    assert read(await poll(site, None, "wait=0")) == ("", [])


async def test_subscribe_late(polled: Any, broker: HeldBroker) -> None:
    class Late(Poll):
        async def open(self) -> None:  # type: ignore[override]
            self.subscribe("a")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            await self.subscribe("b")

    a, b = await broker.publish("a", 1), await broker.publish("b", 1)
    await broker.publish("a", 2)
    await broker.publish("b", 2)
    site = polled(Late)
    assert read(await poll(site, f"a={a}&b={b}"))[1] == [2, 2]

    class Later(LongPollHandler):
        def open(self) -> None:
            asyncio.get_running_loop().call_soon(lambda: self.subscribe("a"))

    site = polled(Later)
    assert read(await poll(site, f"a={a}"))[1] == [2]


async def test_unsubscribe(polled: Any, broker: HeldBroker) -> None:
    class Own(Poll):
        def open(self) -> None:
            self.subscribe("a")
            self.subscribe("b")
            self.unsubscribe("a")

    site = polled(Own)
    cursor, _ = read(await poll(site))
    assert list(dict(parse_qsl(cursor))) == ["b"]


# Refusing, failing, leaving.


@pytest.mark.parametrize(
    ("how", "status"), [("raise", 403), ("send_error", 401), ("redirect", 302), ("finish", 204)]
)
async def test_open_refuses(polled: Any, broker: HeldBroker, how: str, status: int) -> None:
    class Refusing(Poll):
        async def open(self) -> None:  # type: ignore[override]
            self.subscribe("news", last=10)
            for _ in range(5):
                await asyncio.sleep(0)
            if how == "raise":
                raise HTTPError(403)
            if how == "send_error":
                self.send_error(401)
            elif how == "redirect":
                self.redirect("/login")
            else:
                self.set_status(204)
                self.finish()

    await broker.publish("news", "secret")
    site = polled(Refusing)
    answer = Answer(await poll(site))
    assert answer.status == status
    assert b"secret" not in answer.body
    assert broker.listening == 0
    assert not site.application.live
    assert Poll.closed == 1


@pytest.mark.parametrize("waits", [False, True])
async def test_no_broker(polled: Any, broker: HeldBroker, expect_log: Any, waits: bool) -> None:
    class Awaiting(Poll):
        async def open(self) -> None:  # type: ignore[override]
            self.subscribe("other")
            await self.subscribe("news")

    broker.error = BrokerUnavailable("redis://x cannot be reached")
    site = polled(Awaiting if waits else Poll)
    with expect_log("webfw", "^Cannot subscribe: redis://x cannot be reached$", count=1):
        answer = Answer(await poll(site, "news=1"))
    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
    assert Poll.closed == 1
    broker.error = None
    assert read(await poll(site))[1] == [], "the connection goes on"


async def test_a_broker_that_is_closed_while_it_waits(polled: Any, broker: HeldBroker) -> None:
    site = polled()
    cursor, _ = read(await poll(site))
    await poll(site, cursor)
    await broker.close()
    answer = Answer(await site.settle())
    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")


@pytest.mark.parametrize("half", [False, True])
async def test_a_client_that_goes_away(site: Sites, broker: HeldBroker, half: bool) -> None:
    seen = []
    one = site([("/", Poll)], broker=broker, log_function=lambda handler: seen.append(handler.get_status()))
    cursor, _ = read(await poll(one))
    await poll(one, cursor)
    assert broker.listening == 1
    if half:
        one.wire.feed_eof()
    else:
        one.wire.lose()
    assert broker.listening == 0
    assert Poll.closed == 2
    assert not one.application.live
    assert len(one.sweeper) == int(half)
    assert seen == [200, 499]
    await broker.publish("news", "to nobody")
    assert await one.settle() == b""


async def test_a_client_that_goes_away_between_a_message_and_its_answer(
    polled: Any, broker: HeldBroker
) -> None:
    site = polled()
    cursor, _ = read(await poll(site))
    await poll(site, cursor)
    await broker.publish("news", 1)
    site.wire.lose()
    assert await site.settle() == b""
    assert Poll.closed == 2


async def test_pipelined_polls(polled: Any, broker: HeldBroker) -> None:
    site = polled()
    first = await broker.publish("news", 1)
    second = await broker.publish("news", 2)
    data = await site.send(request(f"/?since=news%3D{first}") + request(f"/?since=news%3D{second}"))
    assert read(data)[1] == [2]
    assert broker.listening == 1
    await broker.publish("news", 3)
    assert read(await site.settle())[1] == [3]
    assert read(await poll(site))[1] == []


async def test_finish_by_the_handler(polled: Any, broker: HeldBroker) -> None:
    handlers = []

    class Own(Poll):
        def open(self) -> None:
            super().open()
            handlers.append(self)

    site = polled(Own)
    await poll(site, "news=" + await broker.publish("news", 1))
    handlers[0].finish({"cursor": "", "messages": ["my own"]})
    await broker.publish("news", 2)
    assert json.loads(Answer(await site.settle()).body)["messages"] == ["my own"]
    assert Poll.closed == 1


async def test_an_answer_keeps_what_open_has_set(polled: Any) -> None:
    class Own(Poll):
        def open(self) -> None:
            super().open()
            self.set_header("Access-Control-Allow-Origin", "https://example.org")
            self.set_cookie("seen", "1")

    answer = Answer(await poll(polled(Own)))
    assert answer.headers["Access-Control-Allow-Origin"] == "https://example.org"
    assert "seen=1" in answer.headers["Set-Cookie"]
    assert "Etag" not in answer.headers


NAME: ContextVar[str] = ContextVar("NAME", default="nobody")


async def test_contexts(polled: Any, broker: HeldBroker) -> None:
    """A poll is answered because somebody publishes; its access log must not take the publisher's name."""
    seen = []

    class Own(Poll):
        def open(self) -> None:
            NAME.set("the client")
            super().open()

        def on_finish(self) -> None:
            seen.append(NAME.get())
            NAME.set("finished")

        def on_close(self) -> None:
            seen.append(NAME.get())

    site = polled(Own)
    cursor, _ = read(await poll(site))
    for _ in range(2):
        await poll(site, cursor)
        NAME.set("the publisher")
        await broker.publish("news", 1)
        cursor, _ = read(await site.settle())
    await poll(site, cursor)
    await site.pass_time(30)
    await poll(site, cursor)
    await broker.close()
    assert seen == ["the client"] * 10
    assert NAME.get() == "the publisher"


# Forms.


@pytest.mark.parametrize(
    ("form", "element"),
    [
        (lambda message: '{"text": [1, 2]}', {"text": [1, 2]}),
        (lambda message: "7", 7),
        (lambda message: "plain\ntext", "plain\ntext"),
        (lambda message: "NaN", "NaN"),
        (lambda message: '"], "cursor": "evil"', '"], "cursor": "evil"'),
        (lambda message: "[" * 100_000, "[" * 100_000),
        (lambda message: "", ""),
        (lambda message: b"\xff", "/w=="),
    ],
)
async def test_forms_of_a_message(polled: Any, broker: HeldBroker, form: Any, element: Any) -> None:
    site = polled(type("Own", (Poll,), {"message_form": staticmethod(form)}))
    cursor, _ = read(await poll(site))
    id = await broker.publish("news", 1)
    content = json.loads(Answer(await poll(site, cursor)).body)
    assert content == {"cursor": f"news={id}", "messages": [element]}


async def test_a_form_is_made_once_or_for_each(polled: Any, broker: HeldBroker) -> None:
    class Personal(Poll):
        def message_form(self, message: Message) -> str:  # type: ignore[override]
            return self.get_argument("name")

    cursor, _ = read(await poll(polled()))
    await broker.publish("news", 1)
    for name in ("ann", "bob"):
        await poll(polled(), cursor)
        answer = Answer(await poll(polled(Personal), cursor, f"name={name}"))
        assert json.loads(answer.body)["messages"] == [name]
    assert len((await broker.history("news")).messages[0].forms) == 1


async def test_a_form_that_fails_is_passed_over(polled: Any, broker: HeldBroker, expect_log: Any) -> None:
    def form(message: Message) -> str:
        return str(1 / message.data)

    site = polled(type("Own", (Poll,), {"message_form": staticmethod(form)}))
    cursor, _ = read(await poll(site))
    await broker.publish("news", 0)
    with expect_log("webfw.application", "what becomes of a message of news", count=1):
        content = json.loads(Answer(await poll(site, cursor)).body)
    assert content["messages"] == [{"channel": "news", "lost": True}]
    assert await poll(site, content["cursor"]) == b""


# The rest of HTTP.


async def test_compression(polled: Any, broker: HeldBroker) -> None:
    site = polled(compress_response=True)
    cursor, _ = read(await poll(site))
    await broker.publish("news", "x" * 5000)
    answer = await site.ask(f"/?since={quote(cursor)}", Accept_Encoding="gzip")
    assert answer.headers["Content-Encoding"] == "gzip"
    assert len(answer.body) < 500


async def test_http_1_0(polled: Any) -> None:
    site = polled()
    assert read(await site.send(b"GET / HTTP/1.0\r\n\r\n"))[1] == []
    assert site.wire.closing


async def test_a_poll_that_waits_holds_no_task_and_no_timer(polled: Any) -> None:
    class Awaiting(Poll):
        async def open(self) -> None:  # type: ignore[override]
            await self.subscribe("news")

    loop: Any = asyncio.get_running_loop()
    before = len(asyncio.all_tasks()), len(getattr(loop, "_scheduled", ()))
    for handler in (Poll, Awaiting):
        site = polled(handler)
        cursor, _ = read(await poll(site))
        assert await poll(site, cursor) == b""
        assert (len(asyncio.all_tasks()), len(getattr(loop, "_scheduled", ()))) == before


async def test_leaves_no_cycles(no_cycles: Any) -> None:
    class Awaiting(Poll):
        async def open(self) -> None:  # type: ignore[override]
            await self.subscribe("news")

    class Refusing(Poll):
        async def open(self) -> None:  # type: ignore[override]
            self.subscribe("news")
            raise HTTPError(403)

    for handler in (Poll, Awaiting, Refusing):
        await no_cycles(handler)
        await no_cycles(handler, path="/?since=news%3Dx")


async def test_on_a_real_socket(real: Any, broker: HeldBroker) -> None:
    application = Application([("/", Poll)], broker=broker, log_function=lambda handler: None)
    client = await real(application)
    cursor = json.loads((await client.ask("/")).body)["cursor"]
    received = []
    for i in range(50):
        waiting = asyncio.ensure_future(client.ask(f"/?since={quote(cursor)}"))
        if i % 2:
            while not broker.listening:
                await asyncio.sleep(0)
        await broker.publish("news", i)
        content = json.loads((await waiting).body)
        cursor = content["cursor"]
        received += [message["data"] for message in content["messages"]]
    assert received == list(range(50))
    client.writer.write(request(f"/?since={quote(cursor)}"))
    while not broker.listening:
        await asyncio.sleep(0)
    client.writer.close()
    while broker.listening:
        await asyncio.sleep(0)
    assert not application.live
    await client.close()


async def test_what_is_written_is_no_message(polled: Any, expect_log: Any) -> None:
    class Wrong(LongPollHandler):
        def open(self) -> None:
            self.subscribe("news")
            self.write("hello")

    with expect_log("webfw.application", "Uncaught exception") as records:
        answer = Answer(await poll(polled(Wrong)))
    assert answer.status == 500
    assert "publish what it shall have" in str(records[0].exc_info[1])
