"""Event streams on a fake wire, and the socket where that is the subject: see webfw/web/eventsource.py."""

import asyncio
import gc
import ssl
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest

from tests.web.conftest import Sites, request
from tests.web.livefakes import HeldBroker, Stream
from webfw.ioloop import deadlines
from webfw.iostream import StreamClosedError
from webfw.pubsub import BrokerUnavailable, Message
from webfw.web import Application, EventSourceHandler, HTTPError


class News(EventSourceHandler):
    """One channel, or those of the query."""

    closed = 0

    def open(self) -> Any:
        for channel in self.get_arguments("channel") or ["news"]:
            self.subscribe(channel, last=self.get_int("last", 0))

    def on_close(self) -> Any:
        News.closed += 1


@pytest.fixture(autouse=True)
def _nobody_closed() -> None:
    News.closed = 0


@pytest.fixture
def broker() -> HeldBroker:
    return HeldBroker()


@pytest.fixture
def stream(site: Sites, broker: HeldBroker) -> Callable[..., Stream]:
    """``stream(handler, **settings)`` is a client that has not asked yet."""
    return lambda handler=News, **settings: Stream(site(handler, broker=broker, **settings))


async def test_a_stream(stream: Any, broker: HeldBroker) -> None:
    one = await stream().open()
    assert one.answer.status == 200
    headers = one.answer.headers
    assert headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert headers["Cache-Control"] == "no-store, no-transform"
    assert headers["X-Accel-Buffering"] == "no"
    assert headers["Transfer-Encoding"] == "chunked"
    assert "Content-Length" not in headers
    assert "Etag" not in headers
    assert one.content.startswith(b"retry: 2000\n\nid: news=")
    (joined,) = one.new()
    assert joined == {"channel": "news", "id": joined["id"], "joined": True}
    id = await broker.publish("news", {"text": "zwei\nZeilen"})
    assert await one.settle() == [{"channel": "news", "id": id, "data": {"text": "zwei\nZeilen"}}]
    assert one.parser.last_id == f"news={id}"
    await broker.publish("news", b"\x00\n")
    assert (await one.settle())[0]["base64"] == "AAo="
    one.site.wire.lose()
    assert broker.listening == 0
    assert News.closed == 1
    assert not one.site.application.live


async def test_a_client_that_comes_back(stream: Any, broker: HeldBroker) -> None:
    first = await broker.publish("rööm & co", 1)
    await broker.publish("rööm & co", 2)
    path = "/?channel=r%C3%B6%C3%B6m+%26+co"
    one = await stream().open(path, Last_Event_ID=f"r%C3%B6%C3%B6m+%26+co={first}")
    two, joined = one.new()
    assert two["data"] == 2
    assert joined["joined"]
    again = await stream().open(path, Last_Event_ID=one.parser.last_id)
    assert [event.get("joined") for event in again.new()] == [True]
    by_url = await stream().open(path + f"&since=r%25C3%25B6%25C3%25B6m+%2526+co%3D{first}")
    assert by_url.new()[0]["data"] == 2
    both = await stream().open(path + "&since=x%3D1", Last_Event_ID=one.parser.last_id)
    assert len(both.new()) == 1
    empty = await stream().open(path + f"&since=r%25C3%25B6%25C3%25B6m+%2526+co%3D{first}", Last_Event_ID="")
    assert empty.new()[0]["data"] == 2


async def test_bytes_of_utf_8_in_last_event_id(site: Sites, broker: HeldBroker) -> None:
    """Browsers send what they have been given as ``id``; ours is ASCII, but a program's own need not be."""

    class Own(EventSourceHandler):
        seen: list[str] = []

        def open(self) -> None:
            self.seen.append(self.last_event_id)
            self.seen.append(self.get_cursor().get("räum", ""))
            self.send_event("hello", id="Übergabe 7")

    one = await Stream(site(Own)).open(Last_Event_ID="räum=1-2".encode().decode("latin-1"))
    assert Own.seen == ["räum=1-2", "1-2"]
    assert one.parser.last_id == "Übergabe 7"
    await Stream(site(Own)).open(Last_Event_ID="\xff=1")
    await Stream(site(Own)).open()
    assert Own.seen[2:] == ["�=1", "", "", ""]


async def test_a_cursor_beyond_the_history(stream: Any, broker: HeldBroker) -> None:
    await broker.publish("news", 1)
    one = await stream().open(Last_Event_ID="news=another-1")
    lost, message, _ = one.new()
    assert lost == {"channel": "news", "lost": True}
    assert message["data"] == 1


async def test_several_channels_have_one_cursor(stream: Any, broker: HeldBroker) -> None:
    a = await broker.publish("a", 1)
    one = await stream().open("/?channel=a&channel=b&channel=c&last=5")
    assert [event.get("data", "joined") for event in one.new()] == [1, "joined", "joined", "joined"]
    b = await broker.publish("b", 2)
    assert [event["data"] for event in await one.settle()] == [2]
    assert one.parser.last_id.startswith(f"a={a}&b={b}&c=")
    await broker.publish("a", 3)
    one.site.wire.lose()
    await broker.publish("b", 4)
    again = await stream().open("/?channel=a&channel=b&channel=c", Last_Event_ID=one.parser.last_id)
    assert [event["data"] for event in again.new() if "data" in event] == [3, 4]


async def test_every_client_of_one_channel_gets_the_same_bytes(stream: Any, broker: HeldBroker) -> None:
    class Counted(News):
        made: list[Message] = []

        @staticmethod
        def message_form(message: Message) -> str:
            Counted.made.append(message)
            return "text"

    streams = [await stream(Counted).open() for _ in range(5)]
    await broker.publish("news", 1)
    contents = [(await one.settle(), one.content.rpartition(b"retry: 2000\n\n")[2]) for one in streams]
    assert len({content for _, content in contents}) == 1
    assert len(Counted.made) == 1
    assert len(Counted.made[0].forms) == 1


@pytest.mark.parametrize(
    ("form", "data"),
    [
        (lambda message: "a\nb\r\nc\rd\n", "a\nb\nc\nd\n"),
        (lambda message: "event: bad\n\nid: evil", "event: bad\n\nid: evil"),
        (lambda message: b"\x00\xff", "AP8="),
        (lambda message: "", ""),
        (lambda message: " \ufeff:x", " \ufeff:x"),
    ],
)
async def test_forms_of_a_message(stream: Any, broker: HeldBroker, form: Any, data: str) -> None:
    one = await stream(type("Own", (News,), {"message_form": staticmethod(form)})).open()
    await broker.publish("news", 1)
    one.new()
    one.take(await one.site.settle())
    assert [event[:2] for event in one.parser.events] == [("message", data)]


async def test_a_form_of_each_client_is_not_kept_with_the_message(stream: Any, broker: HeldBroker) -> None:
    """Else the history would keep the handlers of all who have gone."""

    class Personal(News):
        def message_form(self, message: Message) -> str:  # type: ignore[override]
            return f"{message.data} for {self.get_argument('name')}"

    ann, bob = await stream(Personal).open("/?name=ann"), await stream(Personal).open("/?name=bob")
    await broker.publish("news", "news")
    assert (await ann.settle())[-1] == "news for ann"
    assert (await bob.settle())[-1] == "news for bob"
    assert not (await broker.history("news")).messages[0].forms


async def test_a_form_that_fails(stream: Any, broker: HeldBroker, expect_log: Any) -> None:
    def form(message: Message) -> str:
        return f"{1 / message.data}"

    one = await stream(type("Own", (News,), {"message_form": staticmethod(form)})).open()
    one.new()
    with expect_log("webfw.application", "what becomes of a message of news"):
        await broker.publish("news", 0)
    await broker.publish("news", 2)
    assert await one.settle() == [{"channel": "news", "lost": True}, 0.5]


# Events of the program's own.


async def test_events_of_its_own(site: Sites) -> None:
    class Own(EventSourceHandler):
        def open(self) -> None:
            assert self.send_event("one\r\ntwo", "tick", "id 1", 500).done()  # type: ignore[attr-defined]
            self.send_event({"a": "ü"}, event="")
            self.send_event(b"\xff")
            self.send_event("")
            self.send_event(None, id="")

    one = await Stream(site(Own)).open()
    assert one.parser.retry == 500
    assert one.parser.events == [
        ("tick", "one\ntwo", "id 1"),
        ("message", '{"a": "\\u00fc"}', "id 1"),
        ("message", "/w==", "id 1"),
        ("message", "", "id 1"),
        ("message", "null", ""),
    ]


@pytest.mark.parametrize("bad", ["a\nb", "a\rb", "a\0b"])
@pytest.mark.parametrize("field", ["event", "id"])
async def test_what_cannot_be_in_an_event(site: Sites, field: str, bad: str) -> None:
    class Own(EventSourceHandler):
        def open(self) -> None:
            with pytest.raises(ValueError, match=field):
                self.send_event("x", **{field: bad})
            self.send_event("fine")

    one = await Stream(site(Own)).open()
    assert one.new() == ["fine"]


async def test_a_stream_that_open_makes_itself(site: Sites) -> None:
    """``open`` may go on for as long as the client does; it ends by the client's leaving, without a word in the log."""
    turns = asyncio.Queue[int]()
    ended = asyncio.Event()

    class Ticks(News):
        async def open(self) -> None:
            self.subscribe("news")
            try:
                while True:
                    await self.send_event(await turns.get())
            finally:
                ended.set()

    one = await Stream(site(Ticks)).open()
    assert one.answer is None, "nothing is sent before open wants it, not even what the channel says"
    turns.put_nowait(1)
    first, second = await one.settle()
    assert [first["joined"], second] == [True, 1]
    await one.site.application.broker.publish("news", "between")
    assert [event["data"] for event in await one.settle()] == ["between"]
    one.site.wire.lose()
    await one.site.settle()
    assert News.closed == 0, "open has not ended yet"
    turns.put_nowait(2)
    await ended.wait()
    await one.site.settle()
    assert News.closed == 1


async def test_sending_to_who_has_gone(site: Sites) -> None:
    handlers = []

    class Own(EventSourceHandler):
        def open(self) -> None:
            handlers.append(self)
            self.send_event("hello")

    one = await Stream(site(Own)).open()
    one.site.wire.lose()
    sent = handlers[0].send_event("nobody there")
    with pytest.raises(StreamClosedError):
        await sent
    handlers[0].close()
    handlers[0].send_event("nobody waits for this one")


# Refusing.


class Refusing(News):
    how = "raise"

    async def open(self) -> None:  # type: ignore[override]
        self.subscribe("news", last=10)
        self.set_header("X-Tried", "yes")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if self.how == "raise":
            raise HTTPError(403)
        if self.how == "send_error":
            self.send_error(401)
        elif self.how == "redirect":
            self.redirect("/login")
        elif self.how == "finish":
            self.set_status(204)  # tells an EventSource not to come back
            self.finish()


@pytest.mark.parametrize(
    ("how", "status"), [("raise", 403), ("send_error", 401), ("redirect", 302), ("finish", 204)]
)
async def test_open_refuses(stream: Any, broker: HeldBroker, how: str, status: int) -> None:
    await broker.publish("news", "secret")
    one = await stream(type("How", (Refusing,), {"how": how})).open()
    assert one.answer.status == status
    assert b"secret" not in one.answer.body
    assert b"retry:" not in one.answer.body
    assert broker.listening == 0
    assert News.closed == 1
    assert not one.site.application.live
    assert (await stream(Refusing).open()).answer.status == 403


async def test_the_headers_that_open_has_set(stream: Any) -> None:
    class Own(News):
        async def open(self) -> None:
            await self.subscribe("news")
            await asyncio.sleep(0)
            self.set_header("X-Late", "1")
            self.set_cookie("seen", "1")

    one = await stream(Own).open()
    assert one.answer.headers["X-Late"] == "1"
    assert one.answer.headers["Set-Cookie"].startswith("seen=1")
    assert one.new()[0]["joined"]


# Those who come and go.


async def test_open_has_a_deadline_but_the_stream_has_none(stream: Any, broker: HeldBroker) -> None:
    class Own(News):
        async def open(self) -> None:
            await self.subscribe("news")

    one = await stream(Own, request_timeout=5).open()
    await one.pass_time(100)
    assert not one.ended
    broker.hold()
    slow = await stream(Own, request_timeout=5).open()
    await slow.pass_time(6)
    assert slow.answer.status == 504
    broker.let_go()
    await slow.settle()
    assert broker.listening == 1


async def test_a_stream_that_waits_holds_no_task_and_no_timer(stream: Any) -> None:
    class Own(News):
        async def open(self) -> None:
            await self.subscribe("news")

    loop: Any = asyncio.get_running_loop()
    before = len(asyncio.all_tasks()), len(getattr(loop, "_scheduled", ()))
    for handler in (News, Own):
        one = await stream(handler).open()
        assert one.new()
        assert (len(asyncio.all_tasks()), len(getattr(loop, "_scheduled", ()))) == before
        assert len(one.site.sweeper) == 2  # the stream, and its connection


async def test_unsubscribe_and_the_last_channel(stream: Any, broker: HeldBroker) -> None:
    handlers = []

    class Own(News):
        def open(self) -> None:
            super().open()
            handlers.append(self)

    one = await stream(Own).open("/?channel=a&channel=b")
    one.new()
    handlers[0].unsubscribe("a")
    await broker.publish("a", 1)
    id = await broker.publish("b", 2)
    assert [event["data"] for event in await one.settle()] == [2]
    assert one.parser.last_id == f"b={id}"
    await handlers[0].subscribe("a")
    await broker.publish("a", 3)
    assert [event.get("data") for event in await one.settle()] == [None, 3]
    broker.hold()
    two = await stream(Own).open()
    assert two.answer is None
    handlers[1].unsubscribe("news")
    await two.settle()
    assert two.answer.status == 200, "there is nothing left to wait for"
    broker.let_go()
    await two.settle()


async def test_close_and_finish_at_any_time(stream: Any, broker: HeldBroker, expect_log: Any) -> None:
    class Own(News):
        handlers: list[Any] = []

        def open(self) -> None:
            self.subscribe("news")
            self.handlers.append(self)
            if self.get_argument("now", ""):
                self.close()
                self.close()

    one = await stream(Own).open("/?now=1")
    assert one.ended
    assert one.content == b"retry: 2000\n\n"
    two = await stream(Own).open()
    Own.handlers[1].close()
    await two.settle()
    assert two.ended
    three = await stream(Own).open()
    Own.handlers[2].finish("data: the last words\n\n")
    assert (await three.settle())[-1] == "the last words"
    assert three.ended
    with pytest.raises(RuntimeError):
        Own.handlers[2].finish()
    four = await stream(Own).open()
    with expect_log("webfw.general", "Cannot send error response"):
        Own.handlers[3].send_error(500)  # too late for an answer: the connection is cut
    await four.settle()
    assert News.closed == 4
    assert broker.listening == 0


async def test_the_connection_goes_on_behind_a_stream(stream: Any) -> None:
    class Short(News):
        def open(self) -> None:
            self.send_event("all")
            self.close()

    one = stream(Short)
    data = await one.site.send(request() * 3)
    assert data.count(b"HTTP/1.1 200 OK") == data.count(b"data: all") == data.count(b"\r\n0\r\n\r\n") == 3


NAME: ContextVar[str] = ContextVar("NAME", default="nobody")


async def test_contexts(site: Sites, broker: HeldBroker) -> None:
    """What ends a stream may run in the context of whoever publishes; its handler must not notice, nor they."""
    seen = []

    class Own(News):
        max_queue_size = 10

        def open(self) -> None:
            NAME.set(self.get_argument("name"))
            super().open()

        def on_close(self) -> None:
            seen.append(NAME.get())
            NAME.set("closed")

        def on_finish(self) -> None:
            seen.append(NAME.get())
            NAME.set("finished")

    streams = [
        await Stream(site(Own, broker=broker)).open(f"/?name={name}") for name in ("ann", "bob", "eve")
    ]
    for handler in streams[0].site.application.live:
        handler._queue = deque([b"x" * 10])  # its client takes nothing
    NAME.set("the publisher")
    await broker.publish("news", 1)
    assert seen == ["ann", "ann"]
    streams[1].site.wire.lose()
    assert seen[2:] == ["bob", "bob"]
    await broker.close()
    assert seen[4:] == ["eve", "eve"]
    assert NAME.get() == "the publisher"


# Brokers that go.


@pytest.mark.parametrize("waits", [False, True])
async def test_no_broker(stream: Any, broker: HeldBroker, expect_log: Any, waits: bool) -> None:
    class Awaiting(News):
        async def open(self) -> None:
            self.set_header("Content-Type", "text/event-stream")
            await self.subscribe("news")

    broker.error = BrokerUnavailable("redis://:***@x cannot be reached")
    one = stream(Awaiting if waits else News)
    with expect_log("webfw", "", count=1) as records:
        await one.open()
    assert records[0].getMessage() == "Cannot subscribe: redis://:***@x cannot be reached"
    assert one.answer.status == 503
    assert one.answer.headers["Retry-After"] == "2"
    assert one.answer.headers["Content-Type"].startswith("text/html")
    assert b"503" in one.answer.body
    assert not one.site.application.live
    assert News.closed == 1


async def test_a_broker_that_is_closed_later(stream: Any, broker: HeldBroker) -> None:
    one = await stream(drain_spread=4).open()
    await broker.close()
    await one.settle()
    assert one.ended
    assert 2000 <= one.parser.retry <= 6000
    assert News.closed == 1


async def test_a_broker_that_is_lost_between_two_channels(
    stream: Any, broker: HeldBroker, expect_log: Any
) -> None:
    class Own(News):
        def open(self) -> None:
            super().open()
            handlers.append(self)

    handlers: list[Any] = []
    one = await stream(Own).open()
    broker.error = BrokerUnavailable("away")
    with expect_log("webfw.application", "Cannot subscribe: away", count=1):
        handlers[0].subscribe("more")
        await one.settle()
    assert one.ended


# Slow clients.


@pytest.fixture
def slow(site: Sites, broker: HeldBroker) -> Callable[..., Stream]:
    """A client that takes the head, and then only what `FakeWire.drain` takes."""
    return lambda handler=News, **settings: Stream(site(handler, broker=broker, capacity=1000, **settings))


async def test_a_slow_client_gets_all_if_it_is_not_too_slow(slow: Any, broker: HeldBroker) -> None:
    one = await slow().open()
    one.new()
    for i in range(100):
        await broker.publish("news", [i, "x" * 100])
    written = len(one.site.wire.sent)
    assert written < 2000, "what waits does not fill the transport's buffer"
    received: list[Any] = []
    while len(received) < 100:
        one.site.wire.drain()
        received += await one.settle()
    assert [event["data"][0] for event in received] == list(range(100))
    one.site.wire.drain()
    await one.settle()
    (handler,) = one.site.application.live
    assert handler._queue is None
    await broker.publish("news", "at once")
    assert (await one.settle())[0]["data"] == "at once"
    one.site.wire.lose()


async def test_a_client_that_is_too_slow_is_cut_and_recovers(
    slow: Any, stream: Any, broker: HeldBroker, expect_log: Any
) -> None:
    one = await slow(eventsource_max_queue_size=5000).open()
    with expect_log("webfw.general", "127.0.0.1: event stream cut, since its client is too slow", level=20):
        for i in range(100):
            await broker.publish("news", [i, "x" * 100])
    assert one.site.wire.aborted
    assert News.closed == 1
    assert broker.listening == 0
    seen = [event["data"][0] for event in await one.settle() if "data" in event]
    again = await stream().open(Last_Event_ID=one.parser.last_id)
    seen += [event["data"][0] for event in again.new() if "data" in event]
    assert seen == list(range(100))
    one.site.wire.lose()


async def test_a_message_larger_than_the_bound_cuts_nobody(slow: Any, broker: HeldBroker) -> None:
    one = await slow(eventsource_max_queue_size=5000).open()
    one.new()
    await broker.publish("news", "x" * 100_000)
    assert not one.site.wire.aborted
    one.site.wire.drain()
    assert len((await one.settle())[0]["data"]) == 100_000
    one.site.wire.lose()


async def test_what_was_missed_does_not_count(slow: Any, broker: HeldBroker) -> None:
    """Else who comes back with much to catch up with would be cut again and again."""
    for i in range(100):
        await broker.publish("news", [i, "x" * 100])
    one = await slow(eventsource_max_queue_size=5000).open("/?last=100")
    for i in range(100, 120):
        await broker.publish("news", [i, "x" * 100])
    received = one.new()
    while len(received) < 121:
        one.site.wire.drain()
        received += await one.settle()
    assert [event["data"][0] for event in received if "data" in event] == list(range(120))
    one.site.wire.lose()


async def test_waiting_for_a_slow_client(slow: Any) -> None:
    handlers = []

    class Own(EventSourceHandler):
        def open(self) -> None:
            handlers.append(self)

    one = await slow(Own).open()
    first = asyncio.ensure_future(handlers[0].send_event("x" * 2000))
    second, third = (asyncio.ensure_future(handlers[0].send_event("y" * 2000)) for _ in range(2))
    assert not first.done()
    third.cancel()
    while not first.done():
        one.site.wire.drain()
        await one.settle()
    assert second.done()
    fourth = asyncio.ensure_future(handlers[0].send_event("z" * 2000))
    fifth = asyncio.ensure_future(handlers[0].send_event("z" * 2000))
    await asyncio.sleep(0)
    one.site.wire.lose()
    for sent in (fourth, fifth):
        with pytest.raises(StreamClosedError):
            await sent


async def test_the_end_comes_behind_what_waits(slow: Any, broker: HeldBroker) -> None:
    one = await slow().open()
    for i in range(30):
        await broker.publish("news", [i, "x" * 100])
    (handler,) = one.site.application.live
    handler.close()
    events = await one.settle()
    assert events[-1]["data"][0] == 29
    assert one.ended
    one.site.wire.lose()


async def test_much_that_is_published_while_open_waits(
    stream: Any, broker: HeldBroker, expect_log: Any
) -> None:
    class Own(News):
        async def open(self) -> None:
            self.subscribe("news")
            await gate

    gate = asyncio.get_running_loop().create_future()
    one = await stream(Own, eventsource_max_queue_size=5000).open()
    with expect_log("webfw.general", "event stream cut", level=20):
        for _ in range(100):
            await broker.publish("news", "x" * 100)
    assert one.site.wire.aborted
    gate.set_result(None)
    await one.settle()
    assert News.closed == 1


# Heartbeats, HEAD, HTTP/1.0, compression.


async def test_heartbeats(stream: Any) -> None:
    one = await stream().open()
    one.new()
    for count in (1, 2, 3):
        assert await one.pass_time(15.1) == []
        assert one.parser.comments == [""] * count
    off = await stream(eventsource_heartbeat=0).open()
    await off.pass_time(1000)
    assert off.parser.comments == []
    own = await stream(eventsource_heartbeat=1.5, eventsource_retry=7).open()
    assert own.parser.retry == 7
    await own.pass_time(1.6)
    assert own.parser.comments == [""]


async def test_no_heartbeat_for_who_takes_nothing(slow: Any, broker: HeldBroker) -> None:
    one = await slow().open()
    await broker.publish("news", "x" * 2000)
    await broker.publish("news", "y")
    await one.settle()
    await one.pass_time(16)
    assert one.parser.comments == []
    one.site.wire.drain()
    assert (await one.settle())[-1]["data"] == "y"
    await one.pass_time(16)
    assert one.parser.comments == [""]
    one.site.wire.lose()


async def test_head(stream: Any) -> None:
    one = await stream().open(method="HEAD")
    assert one.answer.status == 200
    assert one.answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert "Content-Length" not in one.answer.headers  # RFC 9110 section 8.6: that of GET, or none
    assert one.content == b""
    again = await one.site.ask("/", method="HEAD")
    assert again.status == 200, "the connection goes on"


async def test_http_1_0(stream: Any, broker: HeldBroker) -> None:
    one = stream()
    data = await one.site.send(b"GET / HTTP/1.0\r\n\r\n")
    assert b"Transfer-Encoding" not in data
    assert b"Connection: close" in data
    await broker.publish("news", 1)
    data += await one.site.settle()
    one.parser.feed(data.partition(b"\r\n\r\n")[2])
    assert [event.get("data") for event in one.new()] == [None, 1]
    (handler,) = one.site.application.live
    handler.close()
    await one.site.settle()
    assert one.site.wire.closing


async def test_nothing_holds_events_back(stream: Any, broker: HeldBroker) -> None:
    one = await stream(compress_response=True).open(Accept_Encoding="gzip, br, zstd")
    assert "Content-Encoding" not in one.answer.headers
    await broker.publish("news", "x" * 5000)
    assert (await one.settle())[-1]["data"] == "x" * 5000


async def test_bad_cursors_are_refused_in_good_order(stream: Any) -> None:
    one = await stream().open("/?since=%ff%fe")
    assert one.answer.status == 200


async def test_the_log_has_one_line_at_the_end(site: Sites) -> None:
    lines = []
    one = await Stream(site(News, log_function=lambda handler: lines.append(handler.get_status()))).open()
    assert lines == []
    one.site.wire.lose()
    assert lines == [200]


async def test_leaves_no_cycles(no_cycles: Any) -> None:
    class Waiting(News):
        async def open(self) -> None:
            await self.subscribe("news")

    for handler in (News, Waiting, Refusing):
        await no_cycles(handler)


# On a real socket.


async def test_a_reader_that_stops_reading(real: Any, broker: HeldBroker, expect_log: Any) -> None:
    """Memory is bounded, and the others get everything."""
    application = Application([("/", News)], broker=broker, log_function=lambda handler: None)
    client = await real(application)
    client.reader._transport.pause_reading()
    client.writer.write(request())
    while not broker.listening:
        await asyncio.sleep(0)
    (handler,) = application.live
    with expect_log("webfw.general", "event stream cut", level=20):
        for _ in range(2000):
            await broker.publish("news", "x" * 50_000)
            if not application.live:
                break
            assert handler._queued <= 1024 * 1024 + 60_000
            await asyncio.sleep(0)
    assert not broker.listening
    await client.close()


async def test_tls(real: Any, broker: HeldBroker) -> None:
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    application = Application([("/", News)], broker=broker, log_function=lambda handler: None)
    plain = await real(application, ssl_options=server)
    port = plain.writer.get_extra_info("peername")[1]
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=trusting, server_hostname="localhost", limit=1 << 20
    )
    writer.write(request())
    await reader.readuntil(b"joined")
    await broker.publish("news", "y" * 300_000)
    await reader.readuntil(b'y"}')
    writer.close()
    while broker.listening:
        await asyncio.sleep(0)
    assert News.closed == 1
    await plain.close()


async def test_many_idle_streams_are_swept_by_one_timer(real: Any, broker: HeldBroker) -> None:
    application = Application([("/", News)], broker=broker, log_function=lambda handler: None)
    client = await real(application)
    port = client.writer.get_extra_info("peername")[1]
    pairs = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
    for reader, writer in pairs:
        writer.write(request())
        await reader.readuntil(b"joined")
    assert len(application.live) == 20
    assert len(asyncio.all_tasks()) == 1
    assert len(deadlines.for_loop(asyncio.get_running_loop())) == 41
    for _, writer in pairs:
        writer.close()
    while application.live:
        await asyncio.sleep(0)
    gc.collect()
    await client.close()


class Wrong(EventSourceHandler):
    """Writes where it should send events."""

    def open(self) -> Any:
        how = self.get_argument("how", "")
        if how == "refuse":
            self.set_status(403)
            self.write("not ")
            self.finish("you")
            return
        if how == "late":
            self.send_event("first")
        self.write("hello")
        if how == "early":
            self.send_event("second")


@pytest.mark.parametrize("how", ["", "early"])
async def test_what_is_written_is_no_event(stream: Any, expect_log: Any, how: str) -> None:
    with expect_log("webfw.application", "Uncaught exception") as records:
        one = await stream(Wrong).open(f"/?how={how}")
    assert "send_event sends events" in str(records[0].exc_info[1])
    assert one.answer.status == 500


async def test_what_is_written_behind_an_event_does_not_get_into_the_stream(
    stream: Any, expect_log: Any
) -> None:
    with expect_log("webfw.application", "Uncaught exception") as records:
        one = await stream(Wrong).open("/?how=late")
    assert "send_event sends events" in str(records[0].exc_info[1])
    assert one.content.endswith(b"data: first\n\n")


async def test_what_is_written_refuses(stream: Any) -> None:
    one = await stream(Wrong).open("/?how=refuse")
    assert one.answer.status == 403
    assert one.answer.body == b"not you"
