"""WebSockets on a host: accepting, denying, messages, closing from both sides, back-pressure."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from tests.asgi.adaptedhost import Socket, http_scope, running
from webfw.asgi.adapter import ASGIAdapter
from webfw.pubsub import Broker
from webfw.web import Application, HTTPError, RequestHandler
from webfw.websocket import WebSocketClosedError, WebSocketHandler, broadcast

ended: list[Any] = []


@pytest.fixture(autouse=True)
def nothing_ended() -> None:
    ended.clear()


class Echo(WebSocketHandler):
    """Gives back; and does what it is told."""

    def open(self) -> None:
        self.pongs: list[bytes] = []

    def on_message(self, message: str | bytes) -> Awaitable[None] | None:
        if message == "close":
            self.close(3001, "enough")
        elif message == "close without a code":
            self.close()
        elif message == "cut":
            assert self.ws_connection is not None
            self.ws_connection.abort()
        elif message == "fail":
            raise RuntimeError("as planned")
        elif message == "ping":
            self.ping(b"there?")
        elif message == "pongs":
            return self.write_message(repr(self.pongs))
        else:
            return self.write_message(message, binary=isinstance(message, bytes))
        return None

    def on_pong(self, data: bytes) -> None:
        self.pongs.append(data)

    def on_close(self) -> None:
        ended.append((self.close_code, self.close_reason))


def serving(handler: type[RequestHandler], **settings: Any) -> ASGIAdapter:
    settings.setdefault("log_function", lambda handler: None)
    return ASGIAdapter(Application([("/.*", handler)], **settings))


def accept(subprotocol: str | None = None, headers: Any = ()) -> Any:
    return {"type": "websocket.accept", "subprotocol": subprotocol, "headers": list(headers)}


async def test_text_and_bytes_both_ways() -> None:
    socket = Socket(serving(Echo))
    messages: list[str | bytes] = ["hello", "é\U0001f600", "", b"\0\xff", b"", "x" * 200_000, b"y" * 200_000]
    for message in messages:
        socket.text(message) if isinstance(message, str) else socket.binary(message)
    async with running(socket):
        await socket.heard(1 + len(messages))
        socket.disconnect()
    assert socket.sent[0] == accept()
    assert [m.get("text", m.get("bytes")) for m in socket.sent[1:]] == messages
    assert {m["type"] for m in socket.sent[1:]} == {"websocket.send"}
    assert ended == [(1000, None)]


async def test_messages_may_have_both_keys() -> None:
    socket = Socket(serving(Echo))
    socket.say({"type": "websocket.receive", "text": None, "bytes": b"b"})
    socket.say({"type": "websocket.receive", "text": "t", "bytes": None})
    async with running(socket):
        await socket.heard(3)
        socket.disconnect()
    assert [m.get("text", m.get("bytes")) for m in socket.sent[1:]] == [b"b", "t"]


async def test_fields_and_a_subprotocol_of_the_answer() -> None:
    class Polite(Echo):
        def prepare(self) -> None:
            self.set_header("X-Hello", "there")
            self.set_cookie("a", "b")

        def select_subprotocol(self, subprotocols: list[str]) -> str | None:
            assert subprotocols == ["v1", "v2"]
            return "v2"

        def get_compression_options(self) -> dict[str, Any]:
            return {}

    headers = {"Sec-WebSocket-Extensions": "permessage-deflate"}
    socket = Socket(serving(Polite), subprotocols=["v1", "v2"], headers=headers)
    async with running(socket):
        await socket.heard(1)
        socket.disconnect()
    assert socket.sent[0]["subprotocol"] == "v2"
    names = [name for name, _ in socket.sent[0]["headers"]]
    assert sorted(names) == [b"set-cookie", b"x-hello"]


# --- denials ---


class Refusing(WebSocketHandler):
    async def prepare(self) -> None:
        await asyncio.sleep(0)
        raise HTTPError(401)


class Page(RequestHandler):
    def get(self) -> None:
        self.write("no WebSocket")


DENIALS: list[tuple[type[RequestHandler], dict[str, str], int]] = [
    (Refusing, {}, 401),
    (Page, {}, 200),
    (Echo, {"origin": "http://evil.example"}, 403),
    (Echo, {"host": "a b"}, 400),
]


@pytest.mark.parametrize(("handler", "headers", "status"), DENIALS)
async def test_a_denial_is_a_response_where_the_host_can_send_one(
    handler: type[RequestHandler], headers: dict[str, str], status: int
) -> None:
    socket = Socket(serving(handler), headers=headers)
    await socket.run()
    assert socket.status == status
    assert {m["type"].rpartition(".")[0] for m in socket.sent} == {"websocket.http.response"}
    assert socket.content


@pytest.mark.parametrize(("handler", "headers", "status"), DENIALS)
async def test_elsewhere_it_is_the_hosts_own(
    handler: type[RequestHandler], headers: dict[str, str], status: int
) -> None:
    socket = Socket(serving(handler), headers=headers, extensions=None)
    await socket.run()
    assert socket.sent == [{"type": "websocket.close"}]


async def test_an_exception_before_the_handshake(expect_log: Any) -> None:
    class Failing(WebSocketHandler):
        def prepare(self) -> None:
            raise RuntimeError("as planned")

    with expect_log("webfw.application", "Uncaught exception"):
        socket = Socket(serving(Failing))
        await socket.run()
    assert socket.status == 500


async def test_a_draining_application_sends_newcomers_away() -> None:
    adapter = serving(Echo)
    await adapter.shutdown()
    socket = Socket(adapter)
    await socket.run()
    assert socket.status == 503


async def test_a_websocket_handler_is_no_page() -> None:
    call = Socket(serving(Echo))
    call.scope = http_scope(headers={"Upgrade": "websocket", "Connection": "Upgrade"})
    await call.run()
    assert call.status == 400


@pytest.mark.parametrize("headers", [{}, {"host": "a b"}])
async def test_a_client_that_has_gone_already(headers: dict[str, str]) -> None:
    socket = Socket(serving(Echo), headers=headers)
    socket._inbox.get_nowait()
    socket.disconnect(1006)
    await socket.run()
    assert socket.sent == []


async def test_a_client_that_leaves_before_the_answer() -> None:
    class Slow(Echo):
        async def prepare(self) -> None:
            began.set()
            await go_on.wait()

        def on_finish(self) -> None:
            finished.set()

    began, go_on, finished = asyncio.Event(), asyncio.Event(), asyncio.Event()
    socket = Socket(serving(Slow))
    async with running(socket):
        await began.wait()
        socket.disconnect(1006)
    go_on.set()
    await finished.wait()
    assert socket.sent == []
    assert ended == []


# --- the end ---


@pytest.mark.parametrize(
    ("code", "reason", "seen"),
    [
        (1000, "", (1000, None)),
        (1001, "going", (1001, "going")),
        (4999, "mine", (4999, "mine")),
        (1000, "x" * 200, (1000, None)),
        (1005, "", (None, None)),
        (None, "", (None, None)),
        (1006, "", (None, None)),
        (1015, "", (None, None)),
        (7, "", (None, None)),
    ],
)
async def test_the_clients_close(code: int | None, reason: str, seen: Any) -> None:
    socket = Socket(serving(Echo))
    async with running(socket):
        await socket.heard(1)
        socket.disconnect(code, reason)
    assert ended == [seen]
    assert len(socket.sent) == 1


@pytest.mark.parametrize(
    ("word", "close"),
    [("close", (3001, "enough")), ("close without a code", (1000, "")), ("fail", (1011, ""))],
)
async def test_our_close(word: str, close: tuple[int, str], expect_log: Any) -> None:
    socket = Socket(serving(Echo))
    socket.text(word)
    log = (
        expect_log("webfw.application", "as planned|Uncaught")
        if word == "fail"
        else expect_log("x", "", count=0)
    )
    with log:
        async with running(socket):
            await socket.heard(2)
            assert ended == []
            socket.disconnect(close[0], close[1])
    assert socket.sent[1] == {"type": "websocket.close", "code": close[0], "reason": close[1]}
    assert ended == [(close[0], close[1] or None)]


async def test_a_host_that_does_not_answer_our_close_is_not_waited_for() -> None:
    socket = Socket(serving(Echo, websocket_close_timeout=0.05))
    socket.text("close")
    await socket.run()
    assert ended == [(None, None)]


async def test_cutting_ends_the_call() -> None:
    socket = Socket(serving(Echo))
    socket.text("cut")
    await socket.run()
    assert len(socket.sent) == 1
    assert ended == [(None, None)]


async def test_cutting_while_a_message_is_handled() -> None:
    class Busy(Echo):
        async def on_message(self, message: str | bytes) -> None:  # type: ignore[override]
            busy.append(self.ws_connection)
            await go_on.wait()

    busy: list[Any] = []
    go_on = asyncio.Event()
    socket = Socket(serving(Busy))
    async with running(socket):
        for _ in range(5):
            socket.text("x" * 40_000)
        while not busy:
            await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)
        asked = socket.asked
        busy[0].abort()
    assert ended == [(None, None)]
    assert socket.asked == asked
    go_on.set()


async def test_a_message_that_is_too_long() -> None:
    socket = Socket(serving(Echo, websocket_max_message_size=10))
    socket.text("x" * 11)
    async with running(socket):
        await socket.heard(2)
        socket.disconnect(1009)
    assert socket.sent[1]["type"] == "websocket.close"
    assert socket.sent[1]["code"] == 1009


async def test_a_host_that_cannot_send_any_more() -> None:
    socket = Socket(serving(Echo))
    async with running(socket):
        await socket.heard(1)
        socket.error = OSError("gone")
        socket.text("hello")
    assert ended == [(None, None)]


async def test_a_host_that_cannot_receive_any_more() -> None:
    socket = Socket(serving(Echo))
    async with running(socket):
        await socket.heard(1)
        socket.say(OSError("gone"))
    assert ended == [(None, None)]


async def test_a_host_that_cancels() -> None:
    socket = Socket(serving(Echo))
    task = asyncio.create_task(socket.run())
    await socket.heard(1)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [(None, None)]


async def test_a_host_that_cancels_while_we_close() -> None:
    socket = Socket(serving(Echo))
    task = asyncio.create_task(socket.run())
    await socket.heard(1)
    socket.gate.clear()
    socket.text("x")
    socket.text("close")
    for _ in range(20):
        await asyncio.sleep(0)
    socket.disconnect(3001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_a_host_that_cancels_what_is_cut() -> None:
    class Sending(Echo):
        def on_message(self, message: str | bytes) -> None:
            self.write_message(message)
            asyncio.get_running_loop().call_later(0.01, cut, self.ws_connection)

    def cut(connection: Any) -> None:
        connection.abort()
        task.cancel()

    socket = Socket(serving(Sending))
    task = asyncio.create_task(socket.run())
    await socket.heard(1)
    socket.gate.clear()
    socket.text("x")
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [(None, None)]


async def test_a_message_that_nobody_knows(expect_log: Any) -> None:
    socket = Socket(serving(Echo))
    with expect_log("webfw.application", "while reading a request"):
        async with running(socket):
            await socket.heard(1)
            socket.say({"type": "websocket.surprise"})
    assert ended == [(None, None)]


async def test_draining_closes_with_1012() -> None:
    adapter = serving(Echo, drain_spread=0)
    socket = Socket(adapter)
    async with running(socket):
        await socket.heard(1)
        ending = asyncio.create_task(adapter.shutdown())
        await socket.heard(2)
        assert socket.sent[1]["code"] == 1012
        assert not ending.done()
        socket.disconnect(1012)
        await ending


# --- in between ---


async def test_pings_are_the_hosts_business() -> None:
    """They are answered at once, so that a deadline for the answer is never missed."""
    socket = Socket(serving(Echo, websocket_ping_interval=0.05, websocket_ping_timeout=0.02))
    async with running(socket):
        socket.text("ping")
        await asyncio.sleep(0.15)
        socket.text("pongs")
        await socket.heard(2)
        assert "b'there?'" in socket.sent[1]["text"]
        socket.disconnect()


async def test_who_writes_waits_for_a_host_that_takes_nothing() -> None:
    class Flooding(Echo):
        async def on_message(self, message: str | bytes) -> None:  # type: ignore[override]
            try:
                for _ in range(20):
                    await self.write_message("x" * 10_000)
                    written.append(1)
            finally:
                done.set()

    written: list[int] = []
    done = asyncio.Event()
    socket = Socket(serving(Flooding))
    async with running(socket):
        await socket.heard(1)
        socket.gate.clear()
        socket.text("go")
        for _ in range(50):
            await asyncio.sleep(0)
        assert 5 < len(written) < 10
        socket.gate.set()
        await done.wait()
        await socket.heard(21)
        socket.disconnect()
    assert len(written) == 20


async def test_messages_that_wait_are_not_received() -> None:
    class Slow(Echo):
        async def on_message(self, message: str | bytes) -> None:  # type: ignore[override]
            taken.append(len(message))
            await go_on.wait()

    taken: list[int] = []
    go_on = asyncio.Event()
    socket = Socket(serving(Slow))
    async with running(socket):
        for _ in range(10):
            socket.text("x" * 40_000)
        for _ in range(50):
            await asyncio.sleep(0)
        assert taken == [40_000]
        assert socket.asked < 6
        go_on.set()
        while len(taken) < 10:
            await asyncio.sleep(0)
        socket.disconnect()


async def test_a_peer_that_takes_nothing_for_too_long_is_cut() -> None:
    socket = Socket(serving(Echo, websocket_write_timeout=0.05))
    async with running(socket):
        await socket.heard(1)
        socket.gate.clear()
        socket.text("x" * 100_000)
    assert ended == [(None, None)]


async def test_one_message_for_many() -> None:
    handlers: list[WebSocketHandler] = []

    class Listening(Echo):
        def open(self) -> None:
            handlers.append(self)

    adapter = serving(Listening)
    first, second = Socket(adapter), Socket(adapter)
    async with running(first), running(second):
        await first.heard(1)
        await second.heard(1)
        broadcast(handlers, "to all")
        broadcast(handlers, b"\0", binary=True)
        for socket in (first, second):
            await socket.heard(3)
            assert [m.get("text", m.get("bytes")) for m in socket.sent[1:]] == ["to all", b"\0"]
            socket.disconnect()


async def test_publish_and_subscribe() -> None:
    class Channel(WebSocketHandler):
        async def open(self) -> None:
            await self.subscribe("news")

    app = Application([("/", Channel)], log_function=lambda handler: None)
    broker: Broker = app.broker
    adapter = ASGIAdapter(app)
    socket = Socket(adapter)
    async with running(socket):
        await socket.heard(2)  # that it listens
        await broker.publish("news", {"a": 1})
        await socket.heard(3)
        assert '"a":1' in socket.sent[2]["text"].replace(" ", "")
        socket.disconnect()
    await adapter.shutdown()


async def test_what_programs_ask_of_connections() -> None:
    class Asking(Echo):
        def open(self) -> None:
            conn: Any = self.ws_connection
            self.set_nodelay(True)
            answers.extend(
                [
                    conn.stream.closed(),
                    conn.stream.socket,
                    conn.stream.get_extra_info("peername"),
                    self.request.remote_ip,
                    self.request.protocol,
                    self.request.connection.stream,
                ]
            )

        def prepare(self) -> None:
            answers.append(self.request.connection.stream.closed())

        async def on_message(self, message: str | bytes) -> None:  # type: ignore[override]
            self.close()
            with pytest.raises(WebSocketClosedError):
                self.write_message("late")

    answers: list[Any] = []
    socket = Socket(serving(Asking), scheme="wss")
    async with running(socket):
        socket.text("x")
        await socket.heard(2)
        socket.disconnect()
    assert answers == [False, False, None, ("192.0.2.7", 4711), "192.0.2.7", "https", None]


async def test_nothing_is_received_while_we_close() -> None:
    """Some hosts do not close before ``receive`` has come back (granian 2.8)."""

    class Host(Socket):
        receiving = False

        async def receive(self) -> Any:
            self.receiving = True
            try:
                return await super().receive()
            finally:
                self.receiving = False

        async def send(self, message: Any) -> None:
            if message["type"] == "websocket.close":
                assert not self.receiving
                self.disconnect(3001, "enough")
            await super().send(message)

    host = Host(serving(Echo))
    host.text("close")
    await host.run()
    assert host.sent[1]["code"] == 3001
    assert ended == [(3001, "enough")]
