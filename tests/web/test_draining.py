"""Going away: how an application that is being shut down parts from clients that would stay."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.web.conftest import Answer, Site, Sites, request
from tests.web.livefakes import EventParser, HeldBroker, Stream, unchunk
from webfw.httpserver import HTTPServer
from webfw.netutil import bind_sockets
from webfw.sansio.websocket import Close, Machine
from webfw.web import Application, EventSourceHandler, FallbackHandler, LongPollHandler, RequestHandler
from webfw.websocket import WebSocketHandler


class Room:
    """What the three doors have in common."""

    async def open(self: Any) -> None:
        await self.subscribe("room", member=self.get_query_argument("name", "nobody"))

    def on_close(self: Any) -> None:
        self.application.closed += 1


class Socket(Room, WebSocketHandler):
    pass


class Events(Room, EventSourceHandler):
    pass


class Poll(Room, LongPollHandler):
    pass


class Plain(RequestHandler):
    def get(self) -> None:
        self.write("plain")


class Site3(Application):
    """An application with all three doors."""

    closed = 0
    hooks = 0

    def __init__(self, broker: Any, **settings: Any) -> None:
        routes = [("/ws", Socket), ("/events", Events), ("/poll", Poll), ("/plain", Plain)]
        super().__init__(routes, broker=broker, log_function=lambda handler: None, **settings)  # type: ignore[arg-type]

    def on_draining(self) -> None:
        self.hooks += 1
        assert self.draining


@pytest.fixture
def broker() -> HeldBroker:
    return HeldBroker()


HANDSHAKE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec_WebSocket_Version": "13",
    "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


class Client:
    """One of many; what it got, and when it was sent away."""

    def __init__(self, kind: str, port: int, since: str) -> None:
        self.kind, self.port, self.since = kind, port, since
        self.joined = asyncio.Event()
        self.ended_at = 0.0
        self.hint: Any = None
        self.messages: list[Any] = []

    async def run(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            await getattr(self, self.kind)(reader, writer)
        finally:
            self.ended_at = time.monotonic()
            writer.close()

    async def ws(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(request("/ws?name=ws", **HANDSHAKE))
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        machine = Machine(server=False)
        while data := await reader.read(65536):
            machine.feed(data)
            while (event := machine.next_event()) is not None:
                if isinstance(event, str):
                    self._take(json.loads(event))
                elif isinstance(event, Close):
                    self.hint = event.code
                    writer.write(machine.encode_close(event.code))

    async def events(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(request("/events?name=events"))
        await reader.readuntil(b"\r\n\r\n")
        parser, data, seen = EventParser(), b"", 0
        while piece := await reader.read(65536):
            data += piece
            content, ended = unchunk(data)
            parser.feed(content[seen:])
            seen = len(content)
            while parser.events:
                self._take(json.loads(parser.events.pop(0)[1]))
        assert ended
        self.hint = parser.retry

    async def poll(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        cursor = self.since
        while self.hint is None:
            writer.write(request(f"/poll?name=poll&since=room%3D{cursor.partition('=')[2]}"))
            if cursor is self.since:
                self.joined.set()
            answer = Answer(await reader.readuntil(b"\r\n\r\n"))
            assert answer.status == 200
            content = json.loads(await reader.readexactly(int(answer.headers["Content-Length"])))
            cursor = content["cursor"]
            self.hint = content.get("retry")
            for message in content["messages"]:
                self._take(message)
        assert answer.headers["Connection"] == "close"
        assert await reader.read() == b""

    def _take(self, value: Any) -> None:
        if "joined" in value:
            self.joined.set()
        else:
            self.messages.append(value["data"])


@pytest.mark.slow
async def test_two_hundred_clients_go_one_after_the_other(broker: HeldBroker) -> None:
    application = Site3(broker, drain_spread=2.0)
    server = HTTPServer(application)
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    since = "room=" + await broker.publish("room", "before")
    port = sockets[0].getsockname()[1]
    clients = [Client(("ws", "events", "poll")[i % 3], port, since) for i in range(201)]
    running = [asyncio.ensure_future(client.run()) for client in clients]
    await asyncio.gather(*(client.joined.wait() for client in clients))
    while broker.listening < len(clients):
        await asyncio.sleep(0)
    await broker.publish("room", "to all")
    while broker.listening < len(clients) or not all(client.messages for client in clients):
        await asyncio.sleep(0)
    assert await broker.presence("room") == {"ws": 67, "events": 67, "poll": 67}
    assert len(application.live) == 201

    begun = time.monotonic()
    draining = asyncio.ensure_future(server.drain(10))
    await asyncio.sleep(0)
    assert application.draining
    await broker.publish("room", "on the way out")
    assert await draining == 0, "nobody had to be cut"
    await asyncio.gather(*running)

    assert max(client.ended_at for client in clients) - begun < 8
    # Polls are answered by what was published; the others are spread over two seconds, a quarter of them in each half
    # second.  A machine that stands still only makes some of them later.
    ends = sorted(client.ended_at - begun for client in clients if client.kind != "poll")
    gone = [sum(end < seconds for end in ends) for seconds in (0.5, 1.0, 1.5)]
    assert gone[0] < 60, gone
    assert gone[1] < 95, gone
    assert gone[2] < 125, gone
    assert ends[30] < ends[100] - 0.3
    assert all(client.messages[0] == "to all" for client in clients)
    for client in clients:
        if client.kind == "ws":
            assert client.hint == 1012
        elif client.kind == "events":
            assert 2000 <= client.hint <= 4000
        else:
            assert 1000 <= client.hint <= 3000
    assert len({client.hint for client in clients}) > 50
    assert not application.live
    assert application.closed == 201 + 67  # each poll that was answered counts
    assert application.hooks == 1
    assert broker.listening == 0
    assert await broker.presence("room") == {}
    assert len(asyncio.all_tasks()) == 1


# One by one.


@pytest.fixture
def served(site: Sites, broker: HeldBroker) -> Callable[..., Site]:
    return lambda **settings: site(Site3(broker, **settings))


async def drain(site: Site) -> bytes:
    """Begin to drain, without a spread, and let everything end."""
    site.application.settings["drain_spread"] = 0
    site.application.start_draining()
    sent = b""
    for _ in range(20):  # timers that are due need turns of the selector
        await asyncio.sleep(0.001)
        sent += await site.settle()
    return sent


async def test_who_comes_while_it_drains(served: Any) -> None:
    """A status other than 200 would have an EventSource give up for good."""
    site = served(drain_spread=1)
    site.application.start_draining()
    assert site.application.draining
    answer = await site.ask("/poll")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
    assert (await site.ask("/plain")).body == b"plain"
    stream = await Stream(site).open("/events")
    assert stream.answer.status == 200
    assert stream.ended
    assert 2000 <= stream.parser.retry <= 3000
    assert (await site.ask("/ws", **HANDSHAKE)).status == 503  # and it closes the connection
    assert site.application.closed == 0, "none of them has been opened"
    assert not site.application.live


@pytest.mark.parametrize("path", ["/poll", "/events"])
async def test_who_is_not_let_in_yet_gets_nothing(served: Any, broker: HeldBroker, path: str) -> None:
    gate = asyncio.get_running_loop().create_future()

    async def open(self: Any) -> None:
        self.subscribe("room", last=10)
        await gate

    await broker.publish("room", "secret")
    site = served()
    kind = {"/poll": LongPollHandler, "/events": EventSourceHandler}[path]
    site.application.add_handlers(".*", [(path, type("Own", (kind,), {"open": open}))])
    assert await site.send(request(path)) == b""
    data = await drain(site)
    assert b"secret" not in data
    assert data.startswith(b"HTTP/1.1 503 " if path == "/poll" else b"HTTP/1.1 200 ")
    gate.set_result(None)
    await site.settle()
    assert broker.listening == 0
    assert not site.application.live


@pytest.mark.parametrize("path", ["/poll?since=room", "/events"])
async def test_whose_place_is_being_taken(served: Any, broker: HeldBroker, path: str) -> None:
    broker.hold()
    site = served()
    assert await site.send(request(path)) == b""
    data = await drain(site)
    assert b"HTTP/1.1 503 " in data or b"retry: " in data
    broker.let_go()
    await site.settle()
    assert broker.listening == 0
    assert await broker.presence("room") == {}
    assert site.application.closed == 1


async def test_a_poll_that_has_messages_already(served: Any, broker: HeldBroker) -> None:
    since = await broker.publish("room", 1)
    site = served()
    assert await site.send(request(f"/poll?since=room%3D{since}")) == b""
    site.application.settings["drain_spread"] = 0
    site.application.draining = True
    await broker.publish("room", 2)
    (handler,) = site.application.live
    handler.on_draining()
    handler.on_draining()
    content = json.loads(Answer(await site.settle()).body)
    assert content["messages"][0]["data"] == 2
    assert content["retry"] == 1000


async def test_it_begins_once(served: Any) -> None:
    site = served(drain_spread=3600)
    await Stream(site).open("/events")
    site.application.start_draining(0.02)  # and takes at most half of the time there is
    site.application.start_draining(1000)
    assert site.application.hooks == 1
    while site.application.live:
        await asyncio.sleep(0.001)


async def test_who_leaves_before_its_moment(served: Any) -> None:
    site = served()
    stream = await Stream(site).open("/events")
    site.application.settings["drain_spread"] = 0
    site.application.start_draining()
    site.wire.lose()
    await asyncio.sleep(0.002)
    assert site.application.closed == 1
    assert not stream.ended


async def test_hooks_that_fail(site: Sites, broker: HeldBroker, expect_log: Any) -> None:
    class Failing(Application):
        def on_draining(self) -> None:
            raise ZeroDivisionError

    class Own(EventSourceHandler):
        def open(self) -> None:
            self.send_event(1)

        def on_draining(self) -> None:
            try:
                if self.get_argument("fail", ""):
                    raise ZeroDivisionError
            finally:
                super().on_draining()

    one = site(Failing([("/", Own)], log_function=lambda handler: None))
    stream = await Stream(one).open("/?fail=1")
    with expect_log("webfw.application", "^Uncaught exception in on_draining$", count=2):
        stream.take(await drain(one))
    assert stream.ended


async def test_applications_below(site: Sites, broker: HeldBroker) -> None:
    inner = Site3(broker)
    deepest = Site3(broker)
    outer = Application(
        [("/inner/.*", [("/inner/deepest", deepest), ("/inner/.*", Plain)]), ("/.*", inner)],
        log_function=lambda handler: None,
    )
    one = site(outer)
    stream = await Stream(one).open("/events")
    assert inner.live
    inner.settings["drain_spread"] = 0
    stream.take(await drain(one))
    assert stream.ended
    assert inner.hooks == deepest.hooks == 1


async def test_what_is_left_is_cut_in_the_end(real: Any, broker: HeldBroker) -> None:
    class Stubborn(EventSourceHandler):
        def open(self) -> None:
            self.send_event("I stay")

        def on_draining(self) -> None:
            pass

    application = Application([("/", Stubborn)], log_function=lambda handler: None)
    client = await real(application)
    client.writer.write(request())
    await client.reader.readuntil(b"I stay")
    assert await client.server.drain(0.05) == 1
    assert not application.live
    await client.close()


async def test_whatever_a_route_or_a_fallback_leads_to_is_told() -> None:
    class Told:
        def __init__(self) -> None:
            self.timeouts: list[float] = []

        def start_draining(self, timeout: float) -> None:
            self.timeouts.append(timeout)

        def __call__(self, request: Any) -> None: ...

    told = [Told() for _ in range(3)]
    below = Application([("/b", told[1])])
    Application(
        [("/a", told[0]), ("/nested", [("/b", below)]), ("/c", FallbackHandler, {"fallback": told[2]})]
    ).start_draining(7)
    assert [one.timeouts for one in told] == [[7]] * 3
