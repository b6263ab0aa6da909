"""Tests of webfw.websocket.handler: from the handshake to the end, and channels."""

import asyncio
import json
from typing import Any

import pytest

from tests.web.conftest import Sites
from tests.websocket.conftest import HANDSHAKE
from webfw.pubsub import BrokerUnavailable, MemoryBroker
from webfw.sansio.websocket import Close, Ping
from webfw.web import Application, HTTPError, RequestHandler
from webfw.websocket import WebSocketClosedError, WebSocketHandler, broadcast
from webfw.websocket.connection import WebSocketConnection


class Echo(WebSocketHandler):
    def on_message(self, message: str | bytes) -> None:
        self.write_message(message, isinstance(message, bytes))


# --- the handshake ---


async def test_the_handshake_of_the_standard(peer: Any) -> None:
    """The key and its answer are the example of RFC 6455 section 1.3."""
    client = peer(Echo)
    await client.open()
    answer = client.answer
    assert (answer.status, answer.reason) == (101, "Switching Protocols")
    assert answer.headers["Sec-WebSocket-Accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert answer.headers["Upgrade"] == "websocket"
    assert answer.headers["Connection"] == "Upgrade"
    for name in ("Content-Type", "Content-Length", "Transfer-Encoding", "Sec-WebSocket-Extensions", "Etag"):
        assert name not in answer.headers


@pytest.mark.parametrize(
    ("fields", "status", "header"),
    [
        ({"Upgrade": "h2c"}, 400, ""),
        ({"Connection": "keep-alive"}, 400, ""),
        ({"Sec_WebSocket_Key": "short"}, 400, ""),
        ({"Sec_WebSocket_Version": "8"}, 426, "Sec-WebSocket-Version"),
        ({"Origin": "https://evil.example"}, 403, ""),
        ({"Origin": "null"}, 403, ""),
        ({"Origin": "https://example.com:8443"}, 403, ""),
        ({"Sec_WebSocket_Protocol": "a b"}, 400, ""),
        ({"Sec_WebSocket_Extensions": "permessage-deflate; ="}, 400, ""),
    ],
)
async def test_a_handshake_that_is_refused(
    peer: Any, expect_log: Any, fields: dict[str, str], status: int, header: str
) -> None:
    client = peer(Echo)
    await client.open(**fields)
    assert client.answer.status == status
    assert client.answer.headers["Content-Type"].startswith("text/plain")
    assert client.answer.body
    assert not header or header in client.answer.headers
    assert client.site.application.live == set()
    # Behind it there may be frames of a client that has not waited: these are no requests.
    assert client.wire.closing == ("Upgrade" not in fields and "Connection" not in fields)


@pytest.mark.parametrize("path", ["/", "/nothing"])
async def test_what_is_behind_a_refused_handshake_is_no_request(
    peer: Any, expect_log: Any, path: str
) -> None:
    client = peer([("/", Echo)])
    await client.open(path, early=Sites.request("/nothing"), Sec_WebSocket_Key="short")
    assert client.answer.status == (404 if path == "/nothing" else 400)
    assert client.answer.headers["Connection"] == "close"
    assert b"HTTP/1.1" not in client.answer.body
    assert client.wire.eof_sent or client.wire.closing


@pytest.mark.parametrize("method", ["POST", "HEAD", "OPTIONS"])
async def test_other_methods(peer: Any, method: str) -> None:
    client = peer(Echo)
    assert (await client.site.ask("/", method)).status == 405


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"Origin": "http://example.com"},
        {"Origin": "HTTPS://EXAMPLE.com"},
        {"Origin": "https://other.example", "Sec_Fetch_Site": "same-origin"},
        {"Connection": "keep-alive, Upgrade", "Upgrade": "WebSocket"},
    ],
)
async def test_a_handshake_that_is_taken(peer: Any, fields: dict[str, str]) -> None:
    client = peer(Echo)
    await client.open(**fields)
    assert client.answer.status == 101


async def test_trusted_origins(peer: Any) -> None:
    client = peer(Echo, trusted_origins=["https://friend.example"])
    await client.open(Origin="https://friend.example")
    assert client.answer.status == 101


async def test_the_log_says_which_origin_is_not_allowed(peer: Any, expect_log: Any) -> None:
    client = peer(Echo)
    where = r"\(Origin 'https://other\.example', Host 'example\.com'\)$"
    with expect_log("webfw.general", where, level=20):
        await client.open(Origin="https://other.example")
    assert client.answer.status == 403
    assert b"example" not in client.answer.body


async def test_check_origin_decides_on_other_origins(peer: Any) -> None:
    asked = []

    class Asks(Echo):
        def check_origin(self, origin: str) -> bool:
            asked.append(origin)
            return True

    client = peer(Asks)
    await client.open(Origin="https://anybody.example")
    assert client.answer.status == 101
    assert asked == ["https://anybody.example"]


@pytest.mark.parametrize(("offered", "chosen"), [("a, b, c", "b"), ("c", None), (None, None)])
async def test_subprotocols(peer: Any, offered: str | None, chosen: str | None) -> None:
    asked: list[list[str]] = []

    class Speaks(Echo):
        def select_subprotocol(self, subprotocols: list[str]) -> str | None:
            asked.append(subprotocols)
            return "b" if "b" in subprotocols else None

    client = peer(Speaks)
    await client.open(**({"Sec_WebSocket_Protocol": offered} if offered else {}))
    assert asked == [offered.split(", ") if offered else []]
    assert client.answer.headers.get("Sec-WebSocket-Protocol") == chosen
    assert client.handler.selected_subprotocol == chosen


async def test_a_subprotocol_nobody_offered_is_an_error_of_ours(peer: Any, expect_log: Any) -> None:
    class Speaks(Echo):
        def select_subprotocol(self, subprotocols: list[str]) -> str | None:
            return "mine"

    client = peer(Speaks)
    with expect_log("webfw.application", "Uncaught exception"):
        await client.open()
    assert client.answer.status == 500


async def test_prepare_headers_cookies_and_finish_belong_to_the_handshake(peer: Any) -> None:
    calls = []

    class Prepared(Echo):
        async def prepare(self) -> None:
            await asyncio.sleep(0)
            self.set_cookie("seen", "yes")
            self.set_header("X-Mine", "1")

        def on_finish(self) -> None:
            calls.append("finish")

        def open(self, *args: str, **kwargs: str) -> None:
            calls.append("open")

    logged = []
    client = peer(Prepared, log_function=lambda handler: logged.append(handler.get_status()))
    await client.open()
    assert client.answer.status == 101
    assert client.answer.headers["X-Mine"] == "1"
    assert client.answer.headers["Set-Cookie"].startswith("seen=yes")
    assert (calls, logged) == (["finish", "open"], [101])


async def test_prepare_may_refuse(peer: Any) -> None:
    class Refuses(Echo):
        def prepare(self) -> None:
            raise HTTPError(401)

        def on_close(self) -> None:
            raise AssertionError("it was never open")

    client = peer(Refuses)
    await client.open()
    assert client.answer.status == 401


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_get_may_be_overridden(peer: Any, kind: str) -> None:
    class Plain(Echo):
        def get(self, *args: Any, **kwargs: Any) -> Any:
            return super().get(*args, **kwargs)

    class Async(Echo):
        async def get(self, *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
            await asyncio.sleep(0)
            await super().get(*args, **kwargs)

    client = peer(Plain if kind == "plain" else Async)
    await client.open()
    assert await client.send("x") == ["x"]


async def test_open_gets_the_groups_of_its_route(peer: Any) -> None:
    opened = []

    class Room(Echo):
        def open(self, *args: str, **kwargs: str) -> None:
            opened.append((args, kwargs, self.open_args, self.open_kwargs))

    client = peer([(r"/room/(.*)/(.*)", Room)])
    await client.open("/room/b%C3%A9/2")
    assert opened == [(("bé", "2"), {}, ("bé", "2"), {})]


@pytest.mark.parametrize("kind", ["plain", "async", "cancelled"])
async def test_an_open_that_fails(peer: Any, expect_log: Any, kind: str) -> None:
    closed = []

    class Fails(Echo):
        def open(self) -> Any:
            if kind == "plain":
                raise RuntimeError("broken on purpose")
            return self._later()

        async def _later(self) -> None:
            await asyncio.sleep(0)
            raise RuntimeError("broken") if kind == "async" else asyncio.CancelledError()

        def on_close(self) -> None:
            closed.append(self.close_code)

    client = peer(Fails)
    with expect_log("webfw.application", "Uncaught exception"):
        assert await client.open() == [Close(1011, "")]
    await client.close(1011)
    client.wire.lose()
    assert closed == [1011]


async def test_a_client_that_leaves_while_open_waits(peer: Any) -> None:
    gate = asyncio.Event()
    told = []

    class Opens(Echo):
        async def open(self) -> None:  # type: ignore[override]
            await gate.wait()
            with pytest.raises(WebSocketClosedError):
                self.write_message("late")
            told.append("opened")

        def on_close(self) -> None:
            told.append("closed")

    client = peer(Opens)
    await client.open()
    client.wire.lose()
    gate.set()
    await client.settle()
    assert told == ["closed", "opened"]


async def test_a_client_that_leaves_while_prepare_waits(peer: Any) -> None:
    gate = asyncio.Event()

    class Prepares(Echo):
        async def prepare(self) -> None:
            await gate.wait()

        def open(self) -> None:
            raise AssertionError("nobody is there")

    client = peer(Prepares)
    client.wire.feed(Sites.request("/", **HANDSHAKE))
    await client.site.settle()
    client.wire.lose()
    gate.set()
    await client.site.settle()
    assert client.site.application.live == set()


async def test_while_the_application_drains(peer: Any) -> None:
    client = peer(Echo)
    client.site.application.draining = True
    await client.open()
    assert client.answer.status == 503
    assert client.answer.headers["Retry-After"]


# --- compression ---


@pytest.mark.parametrize(
    ("options", "agreed"),
    [
        (None, None),
        ({}, "permessage-deflate"),
        ({"compression_level": 1, "mem_level": 2, "threshold": 0}, "permessage-deflate"),
        ({"server_no_context_takeover": True}, "permessage-deflate; server_no_context_takeover"),
    ],
)
async def test_compression(peer: Any, options: dict[str, Any] | None, agreed: str | None) -> None:
    class Compressed(Echo):
        def get_compression_options(self) -> dict[str, Any] | None:
            return options

    client = peer(Compressed)
    await client.open(Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits")
    said = client.answer.headers.get("Sec-WebSocket-Extensions")
    assert (said is None) if agreed is None else said.startswith(agreed)
    for message in ("short", "long " * 1000, b"\x00" * 5000):
        assert await client.send(message) == [message]


async def test_an_option_that_does_not_exist(peer: Any, expect_log: Any) -> None:
    class Wrong(Echo):
        def get_compression_options(self) -> dict[str, Any]:
            return {"levle": 1}

    client = peer(Wrong)
    with expect_log("webfw.application", "Uncaught exception"):
        await client.open()
    assert client.answer.status == 500


async def test_a_bomb_is_not_inflated(peer: Any, expect_log: Any) -> None:
    class Compressed(Echo):
        def get_compression_options(self) -> dict[str, Any]:
            return {}

    client = peer(Compressed, websocket_max_message_size=10_000)
    await client.open(Sec_WebSocket_Extensions="permessage-deflate")
    (event,) = await client.send("\0" * 5_000_000)
    assert event.code == 1009


# --- what a handler may call ---


async def test_dicts_are_sent_as_json(peer: Any) -> None:
    client = peer(Echo)
    await client.open()
    client.handler.write_message({"a": [1, "ü"]})
    assert [json.loads(event) for event in await client.settle()] == [{"a": [1, "ü"]}]


async def test_binary_text_and_pings_of_text(peer: Any) -> None:
    client = peer(Echo)
    await client.open()
    client.handler.write_message("ü", binary=True)
    client.handler.write_message("ü".encode())
    assert await client.settle() == ["ü".encode(), "ü"]
    client.handler.ping("text")
    client.handler.set_nodelay(False)
    assert client.handler.get_websocket_protocol() is None
    assert (await client.settle())[0].payload == b"text"


async def test_http_is_over(peer: Any) -> None:
    client = peer(Echo)
    await client.open()
    handler = client.handler
    for call in (
        lambda: handler.write("x"),
        lambda: handler.finish(),
        lambda: handler.redirect("/"),
        lambda: handler.set_status(200),
        lambda: handler.set_header("A", "b"),
        lambda: handler.set_cookie("a", "b"),
        lambda: handler.flush(),
    ):
        with pytest.raises(RuntimeError, match="of no use for a WebSocket"):
            call()


async def test_a_handler_that_was_never_open() -> None:
    app = Application()
    handler = WebSocketHandler(app, _FakeRequest())  # type: ignore[arg-type]
    for call in (lambda: handler.write_message("x"), handler.ping):
        with pytest.raises(WebSocketClosedError):
            call()
    handler.close()
    handler.set_nodelay(True)
    handler.on_connection_close()
    with pytest.raises(NotImplementedError):
        handler.on_message("x")


class _FakeRequest:
    method = "GET"
    headers: dict[str, str] = {}
    connection = None


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_an_on_close_that_fails_is_logged(peer: Any, expect_log: Any, kind: str) -> None:
    class Fails(Echo):
        def on_close(self) -> Any:
            if kind == "plain":
                raise RuntimeError("broken on purpose")
            return self._later()

        async def _later(self) -> None:
            raise RuntimeError("broken on purpose")

    client = peer(Fails)
    await client.open()
    with expect_log("webfw.application", "Uncaught exception"):
        client.wire.lose()
        await client.settle()


async def test_an_async_on_close_runs_to_its_end(peer: Any) -> None:
    told = []

    class Closes(Echo):
        async def on_close(self) -> None:  # type: ignore[override]
            await asyncio.sleep(0)
            told.append(self.close_code)

    client = peer(Closes)
    await client.open()
    await client.close(1001)
    client.wire.lose()
    await client.settle()
    assert told == [1001]


async def test_settings(peer: Any) -> None:
    client = peer(Echo, websocket_max_message_size=5, websocket_ping_interval=3, websocket_ping_timeout=2)
    await client.open()
    handler = client.handler
    assert (handler.max_message_size, handler.ping_interval, handler.ping_timeout) == (5, 3, 2)
    assert handler.ws_connection.settings.pong_timeout == 2


async def test_a_setting_that_goes_wrong_later(peer: Any, expect_log: Any) -> None:
    client = peer(Echo)
    client.site.application.settings["websocket_queue_policy"] = "forget"
    with expect_log("webfw.application", "Uncaught exception"):
        await client.open()
    assert client.answer.status == 500


async def test_a_request_that_has_no_connection_of_its_own(peer: Any, expect_log: Any) -> None:
    class Wrapped(Echo):
        def prepare(self) -> None:
            self.request.connection = _NoExchange(self.request.connection)  # type: ignore[assignment]

    client = peer(Wrapped)
    with expect_log("webfw.application", "Uncaught exception"):
        await client.open()
    assert client.answer.status == 500


class _NoExchange:
    """A connection of another make, as a middleware may put one in front."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


# --- many at once ---


class Member(WebSocketHandler):
    compression: dict[str, Any] | None = None

    def get_compression_options(self) -> dict[str, Any] | None:
        return self.compression


async def test_broadcast_makes_one_frame(peer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = [peer(Member) for _ in range(3)]
    handlers = []
    for client in plain:
        await client.open()
        handlers.append(client.handler)
    sent = []
    monkeypatch.setattr(WebSocketConnection, "send_shared", lambda self, message: sent.append(message))
    broadcast(handlers, {"a": 1})
    assert len(sent) == 3
    assert len({id(message) for message in sent}) == 1
    monkeypatch.undo()
    broadcast(handlers, "text")
    broadcast(handlers, b"bytes", binary=True)
    for client in plain:
        assert await client.settle() == ["text", b"bytes"]


async def test_broadcast_to_compressed_plain_and_closed(peer: Any) -> None:
    class Compressed(Member):
        compression = {"threshold": 0}

    members = [
        (peer(Compressed), "permessage-deflate"),
        (peer(Member), "permessage-deflate"),
        (peer(Compressed), ""),
    ]
    handlers = []
    for client, extension in members:
        await client.open(**({"Sec_WebSocket_Extensions": extension} if extension else {}))
        handlers.append(client.handler)
    gone = peer(Member)
    await gone.open()
    handlers.append(gone.handler)
    gone.wire.lose()
    for n in range(3):
        broadcast(handlers, f"to everybody {n}" * 50)
        for (client, _), handler in zip(members, handlers, strict=False):
            handler.write_message(f"to one {n}" * 50)
            assert await client.settle() == [f"to everybody {n}" * 50, f"to one {n}" * 50]


# --- channels ---


class Room(WebSocketHandler):
    def open(self, *args: str, **kwargs: str) -> None:
        self.subscribe("room", last=2, member="ann")

    async def on_message(self, message: str | bytes) -> None:
        await self.publish("room", message)


def parsed(events: list[Any]) -> list[Any]:
    return [json.loads(event) for event in events]


async def test_a_channel_through_a_websocket(peer: Any) -> None:
    client = peer(Room)
    broker = client.site.application.broker
    assert isinstance(broker, MemoryBroker)
    ids = [await broker.publish("room", {"n": n}) for n in range(3)]
    events = parsed(await client.open())
    assert events == [
        {"channel": "room", "id": ids[1], "data": {"n": 1}},
        {"channel": "room", "id": ids[2], "data": {"n": 2}},
        {"channel": "room", "id": ids[2], "joined": True},
    ]
    assert await broker.presence("room") == {"ann": 1}
    (event,) = parsed(await client.send("hello"))
    assert event["data"] == "hello"
    (event,) = parsed(await client.send(b"\x00\xff"))
    assert event["base64"] == "AP8="
    client.wire.lose()
    assert await broker.presence("room") == {}


async def test_a_client_that_comes_back_gets_what_it_missed(peer: Any) -> None:
    client = peer(Room)
    broker = client.site.application.broker
    ids = [await broker.publish("room", n) for n in range(5)]
    events = parsed(await client.open(f"/?since=room%3D{ids[1]}"))
    assert [event.get("data") for event in events] == [2, 3, 4, None]


async def test_a_client_whose_history_is_gone_is_told(peer: Any) -> None:
    client = peer(Room)
    events = parsed(await client.open("/?since=room%3Dother-1"))
    assert events[0] == {"channel": "room", "lost": True}
    assert events[1]["joined"]


async def test_a_slow_client_loses_messages_and_is_told(peer: Any) -> None:
    client = peer(Room, capacity=200, websocket_max_queue_size=1000)
    await client.open()
    broker = client.site.application.broker
    for n in range(20):
        await broker.publish("room", f"{n} " + "x" * 300)
    await client.settle()
    events = parsed(await client.drain())
    assert {"channel": "room", "lost": True} in events
    assert events[-1].get("lost") or events[-1]["data"].startswith("19")
    assert broker.stats.dropped > 10
    await broker.publish("room", "and on")
    assert parsed(await client.drain())[-1]["data"] == "and on"


async def test_messages_in_another_form(peer: Any) -> None:
    made = []

    def bare(message: Any) -> bytes:
        made.append(message.data)
        return str(message.data).encode()

    class Bare(Room):
        message_form = staticmethod(bare)

    first, second = peer(Bare), peer(Bare)
    second.site.application._broker = first.site.application.broker
    await first.open()
    await second.open()
    await first.settle()
    await first.site.application.broker.publish("room", 7)
    assert await first.settle() == [b"7"]
    assert await second.settle() == [b"7"]
    assert made == [7]


async def test_a_broker_that_cannot_be_reached(peer: Any, expect_log: Any) -> None:
    class Away(MemoryBroker):
        async def attach(self, *args: Any, **kwargs: Any) -> Any:
            raise BrokerUnavailable("redis://example: connection refused")

    client = peer(Room, broker=Away())
    with expect_log("webfw.application", "Cannot subscribe: redis://example: connection refused"):
        assert await client.open() == [Close(1013, "no broker")]


async def test_each_ping_has_a_heartbeat_that_scripts_can_see(peer: Any) -> None:
    client = peer(Room, websocket_ping_interval=10)
    await client.open()
    assert await client.pass_time(10.1) == [Ping(b""), "{}"]
    plain = peer(Echo, websocket_ping_interval=10)
    await plain.open()
    assert await plain.pass_time(10.1) == [Ping(b"")]


async def test_going_away(peer: Any) -> None:
    client = peer(Room)
    await client.open()
    client.handler.on_draining()
    assert (await client.settle())[-1] == Close(1012, "server restart")


async def test_the_server_ends_what_was_upgraded(peer: Any) -> None:
    client = peer(Echo)
    await client.open()
    client.handler.ws_connection.close_when_idle()  # left to the application
    assert not client.wire.closing
    ending = asyncio.ensure_future(client.site.server.close_all_connections())
    await asyncio.sleep(0)
    assert client.wire.aborted
    client.wire.lose()
    await ending


async def test_a_handler_beside_others(peer: Any) -> None:
    class Page(RequestHandler):
        def get(self) -> None:
            self.write("page")

    client = peer([("/page", Page), ("/ws", Echo)])
    assert (await client.site.ask("/page")).body == b"page"
    await client.open("/ws")
    assert await client.send("x") == ["x"]


@pytest.mark.parametrize(
    ("error", "close"),
    [
        (HTTPError(403), Close(1008, "403 Forbidden")),
        (HTTPError(401, reason="ü" * 100), Close(1008, "401 " + "ü" * 59)),
        (HTTPError(404), Close(1008, "404 Not Found")),
        (HTTPError(429), Close(1011, "429 Too Many Requests")),
        (HTTPError(500), Close(1011, "500 Internal Server Error")),
        (HTTPError(799), Close(1011, "799")),
    ],
)
@pytest.mark.parametrize("later", [False, True])
async def test_an_http_error_in_open_tells_whether_to_come_back(
    peer: Any, error: HTTPError, close: Close, later: bool
) -> None:
    class Refuses(Echo):
        def open(self) -> Any:
            if later:
                return self.refuse()
            raise error

        async def refuse(self) -> None:
            raise error

    client = peer(Refuses)
    assert await client.open() == [close]
    await client.close(close.code)


async def test_a_forgotten_on_message_is_named(peer: Any, expect_log: Any) -> None:
    class Deaf(WebSocketHandler):
        pass

    client = peer(Deaf)
    await client.open()
    with expect_log("webfw.application", "Uncaught exception") as records:
        await client.send("hello")
    assert "Deaf has no on_message" in str(records[0].exc_info[1])


async def test_a_form_that_is_no_text(peer: Any, expect_log: Any) -> None:
    class Plain(Room):
        message_form = staticmethod(lambda message: message.data)

    client = peer(Plain)
    await client.open()
    await client.settle()
    with expect_log("webfw.application", "what becomes of a message of room") as records:
        await client.site.application.broker.publish("room", {"a": 1})
        [told] = await client.settle()
    assert "message_form must give str or bytes, not dict" in str(records[0].exc_info[1])
    assert json.loads(told) == {"channel": "room", "lost": True}
