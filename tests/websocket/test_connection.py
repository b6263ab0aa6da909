"""Tests of webfw.websocket.connection: order, back-pressure, pings and ends, on a fake wire."""

import asyncio
import logging
from contextvars import ContextVar
from typing import Any

import pytest

from tests.web.conftest import Sites
from tests.websocket.conftest import HANDSHAKE
from webfw.sansio.errors import LocalProtocolError
from webfw.sansio.websocket import Close, Ping, Pong, encode_frame
from webfw.websocket import WebSocketClosedError, WebSocketHandler
from webfw.websocket.connection import BURST, READ_AHEAD


class Echo(WebSocketHandler):
    def on_message(self, message: str | bytes) -> None:
        self.write_message(message, isinstance(message, bytes))


class Recorder(WebSocketHandler):
    """Remembers what it is told, on the class, since a connection has one handler."""

    seen: list[Any]

    def initialize(self) -> None:  # type: ignore[override]
        type(self).seen = []

    def open(self) -> None:
        self.seen.append("open")

    def on_message(self, message: str | bytes) -> None:
        self.seen.append(message)

    def on_ping(self, data: bytes) -> None:
        self.seen.append(("ping", data))

    def on_pong(self, data: bytes) -> None:
        self.seen.append(("pong", data))

    def on_close(self) -> None:
        self.seen.append(("close", self.close_code, self.close_reason))


class Slow(Recorder):
    """Handles a message when it is told to."""

    gates: dict[str, "asyncio.Future[None]"]

    def open(self) -> None:
        type(self).gates = {}

    async def on_message(self, message: Any) -> None:  # type: ignore[override]
        self.seen.append(f"begin {message}")
        self.gates[message] = asyncio.get_running_loop().create_future()
        await self.gates[message]
        self.seen.append(f"end {message}")

    def go_on(self, message: str) -> None:
        self.gates.pop(message).set_result(None)

    @classmethod
    async def end(cls, client: Any) -> None:
        """Let whatever still waits end."""
        client.wire.lose()
        while cls.gates:
            for message in list(cls.gates):
                cls.gates.pop(message).set_result(None)
            await client.settle()


# --- messages in ---


async def test_echoes_text_and_binary(peer: Any) -> None:
    client = peer(Echo)
    assert await client.open() == []
    assert await client.send("hello", b"\x00\xff", "", "ü") == ["hello", b"\x00\xff", "", "ü"]


@pytest.mark.parametrize("early", [1, 3])
async def test_messages_behind_the_handshake_are_not_lost(peer: Any, early: int) -> None:
    client = peer(Echo)
    frames = b"".join(client.machine.encode_message(str(n)) for n in range(early))
    assert await client.open(early=frames) == [str(n) for n in range(early)]


async def test_what_comes_between_the_start_and_its_turn_waits_its_turn(peer: Any) -> None:
    client = peer(Slow)
    client.wire.feed(Sites.request("/", **HANDSHAKE) + client.machine.encode_message("early"))
    client.wire.feed(client.machine.encode_message("next"))
    client.wire.drain()
    await client.site.settle()
    assert Slow.seen == ["begin early"]
    client.handler.go_on("early")
    await client.site.settle()
    client.handler.go_on("next")
    await client.site.settle()
    assert Slow.seen == ["begin early", "end early", "begin next", "end next"]


async def test_messages_wait_for_an_async_open(peer: Any) -> None:
    gate = asyncio.Event()

    class Opens(Recorder):
        async def open(self) -> None:  # type: ignore[override]
            await gate.wait()
            self.seen.append("open")

    client = peer(Opens)
    await client.open(early=client.machine.encode_message("early"))
    await client.send("later")
    assert Opens.seen == []
    gate.set()
    await client.settle()
    assert Opens.seen == ["open", "early", "later"]


async def test_an_async_handler_gets_messages_one_by_one_and_in_order(peer: Any) -> None:
    client = peer(Slow)
    await client.open()
    await client.send("a", "b")
    await client.send("c")
    assert Slow.seen == ["begin a"]
    for message in "abc":
        client.handler.go_on(message)
        await client.settle()
    assert Slow.seen == ["begin a", "end a", "begin b", "end b", "begin c", "end c"]


async def test_reading_pauses_when_much_waits_for_a_handler(peer: Any) -> None:
    client = peer(Slow)
    await client.open()
    await client.send("a")
    await client.send("x" * (READ_AHEAD - 100))
    assert client.wire.reading
    await client.send("y" * 200)
    assert not client.wire.reading
    client.handler.go_on("a")
    await client.settle()
    assert client.wire.reading
    client.handler.go_on("x" * (READ_AHEAD - 100))
    await client.settle()
    assert Slow.seen[-1] == "begin " + "y" * 200
    await Slow.end(client)


async def test_what_one_read_brought_counts_as_waiting(peer: Any) -> None:
    client = peer(Slow)
    await client.open()
    await client.send("a", "x" * READ_AHEAD)
    await client.send("z")
    assert not client.wire.reading
    await Slow.end(client)


async def test_a_burst_lets_others_have_their_turn(peer: Any) -> None:
    turns: list[Any] = []

    class Counts(WebSocketHandler):
        def on_message(self, message: str | bytes) -> None:
            if not turns:
                asyncio.get_running_loop().call_soon(turns.append, "turn")
            turns.append(message)

    client = peer(Counts)
    await client.open()
    messages = [str(n) for n in range(BURST + 10)]
    await client.send(*messages)
    assert turns.index("turn") in (BURST, BURST + 1)
    assert [t for t in turns if t != "turn"] == messages


async def test_a_burst_is_handed_on_though_the_client_has_left(peer: Any) -> None:
    client = peer(Recorder)
    await client.open()
    messages = [str(n) for n in range(BURST + 10)]
    client.wire.feed(b"".join(client.machine.encode_message(m) for m in messages))
    client.wire.feed_eof()
    await client.settle()
    assert Recorder.seen[1:] == messages
    assert client.wire.closing


async def test_every_callback_runs_in_the_context_of_its_connection(peer: Any) -> None:
    var: ContextVar[str] = ContextVar("var", default="none")
    seen = []

    class Context(WebSocketHandler):
        def open(self) -> None:
            var.set("mine")

        async def on_message(self, message: str | bytes) -> None:
            seen.append(var.get())
            var.set(str(message))

        def on_close(self) -> None:
            seen.append(var.get())

    client = peer(Context)
    await client.open()
    await client.send("a", "b")
    client.wire.lose()
    assert seen == ["mine", "a", "b"]
    assert var.get() == "none"


# --- control frames ---


async def test_a_ping_is_answered_and_told(peer: Any) -> None:
    client = peer(Recorder)
    await client.open()
    assert await client.raw(client.machine.encode_ping(b"are you there")) == [Pong(b"are you there")]
    assert Recorder.seen == ["open", ("ping", b"are you there")]


async def test_a_pong_is_told(peer: Any) -> None:
    client = peer(Recorder)
    await client.open()
    client.handler.ping("one")
    assert await client.settle() == [Ping(b"one")]
    await client.raw(client.machine.encode_pong(b"one"))
    assert Recorder.seen == ["open", ("pong", b"one")]


async def test_pings_of_a_client_that_does_not_read_are_not_piled_up(peer: Any) -> None:
    client = peer(Recorder, capacity=300)
    await client.open()
    client.handler.write_message("x" * 1000)
    before = len(client.wire.sent)
    for _ in range(1000):
        client.wire.feed(client.machine.encode_ping(b"x" * 100))
    assert len(client.wire.sent) == before
    client.wire.feed(client.machine.encode_ping(b"the last"))
    client.handler.write_message("behind")
    # RFC 6455 section 5.5.3: the answer to the most recent one will do, but that one is due.
    assert await client.drain() == ["x" * 1000, Pong(b"the last"), "behind"]


async def test_a_ping_behind_our_close_is_answered(peer: Any) -> None:
    """RFC 6455 section 5.5.2: unless a Close was received already."""
    client = peer(Recorder)
    await client.open()
    client.handler.close(1000)
    assert await client.settle() == [Close(1000, "")]
    client.wire.feed(encode_frame(9, b"p", mask=True))
    assert client.wire.sent == encode_frame(10, b"p")


async def test_nothing_is_written_to_a_transport_that_has_failed(peer: Any) -> None:
    """asyncio logs a warning for each such write."""
    client = peer(Recorder)
    await client.open()
    handler = client.handler
    client.wire.is_closing = lambda: True
    before = len(client.wire.writes)
    assert await client.raw(client.machine.encode_ping(b"") * 20) == []
    with pytest.raises(WebSocketClosedError):
        handler.ping()
    with pytest.raises(WebSocketClosedError):
        handler.write_message("a")
    assert len(client.wire.writes) == before
    assert Recorder.seen[-1] == ("ping", b"")


@pytest.mark.parametrize("callback", ["on_ping", "on_pong", "on_message"])
async def test_async_callbacks_hold_what_follows(peer: Any, callback: str) -> None:
    gate = asyncio.Event()

    class Async(Recorder):
        async def on_ping(self, data: bytes) -> None:  # type: ignore[override]
            await gate.wait()

        async def on_pong(self, data: bytes) -> None:  # type: ignore[override]
            await gate.wait()

    client = peer(Async)
    await client.open()
    first = {
        "on_ping": client.machine.encode_ping(b""),
        "on_pong": client.machine.encode_pong(b""),
        "on_message": client.machine.encode_message("first"),
    }
    await client.raw(first[callback] + client.machine.encode_message("next"))
    assert ("next" in Async.seen) is (callback == "on_message")
    gate.set()
    await client.settle()
    assert Async.seen[-1] == "next"


# --- callbacks that raise ---


@pytest.mark.parametrize("kind", ["plain", "async", "async later", "cancelled"])
@pytest.mark.parametrize("callback", ["on_message", "on_ping", "on_pong"])
async def test_an_exception_is_logged_and_closes_the_connection(
    peer: Any, expect_log: Any, kind: str, callback: str
) -> None:
    def plain(self: Any, data: Any) -> None:
        raise RuntimeError("broken on purpose")

    async def at_once(self: Any, data: Any) -> None:
        raise RuntimeError("broken on purpose")

    async def later(self: Any, data: Any) -> None:
        await asyncio.sleep(0)
        raise RuntimeError("broken on purpose")

    async def cancelled(self: Any, data: Any) -> None:
        raise asyncio.CancelledError("broken on purpose")

    method = {"plain": plain, "async": at_once, "async later": later, "cancelled": cancelled}[kind]
    client = peer(type("Fails", (Recorder,), {callback: method}))
    await client.open()
    handler = client.handler
    frame = {
        "on_message": client.machine.encode_message("x"),
        "on_ping": client.machine.encode_ping(b""),
        "on_pong": client.machine.encode_pong(b""),
    }[callback]
    with expect_log("webfw.application", "Uncaught exception"):
        events = await client.raw(frame)
    assert events[-1] == Close(1011, "")
    await client.close(1011)
    client.wire.lose()
    assert handler.close_code == 1011


# --- the end ---


async def test_the_client_closes(peer: Any) -> None:
    client = peer(Recorder)
    await client.open()
    handler = client.handler
    assert await client.close(3000, "enough") == [Close(3000, "")]
    assert client.wire.closing
    client.wire.lose()
    assert Recorder.seen == ["open", ("close", 3000, "enough")]
    assert handler.ws_connection is None
    assert client.site.application.live == set()


async def test_the_server_closes(peer: Any) -> None:
    client = peer(Recorder)
    await client.open()
    handler = client.handler
    handler.close(4001, "go away")
    assert await client.settle() == [Close(4001, "go away")]
    assert not client.wire.closing
    with pytest.raises(WebSocketClosedError):
        handler.write_message("more")
    with pytest.raises(WebSocketClosedError):
        handler.ping()
    handler.close()  # does no harm
    await client.close(4001)
    assert client.wire.closing
    client.wire.lose()
    assert Recorder.seen[-1] == ("close", 4001, None)


async def test_messages_that_cross_our_close_are_still_handed_on(peer: Any) -> None:
    client = peer(Recorder)
    await client.open()
    client.handler.close()
    client.wire.feed(client.machine.encode_message("crossed"))
    assert Recorder.seen == ["open", "crossed"]


async def test_a_client_that_does_not_answer_our_close_is_cut(peer: Any) -> None:
    client = peer(Recorder, websocket_close_timeout=3)
    await client.open()
    client.handler.close(1000)
    await client.pass_time(2)
    assert not client.wire.aborted
    await client.pass_time(2)
    assert client.wire.aborted


@pytest.mark.parametrize(
    ("code", "reason"), [(1005, None), (1006, None), (999, None), (1000, "x" * 124), (5000, None)]
)
async def test_a_close_that_may_not_be_sent(peer: Any, code: int, reason: str | None) -> None:
    client = peer(Recorder)
    await client.open()
    with pytest.raises(LocalProtocolError):
        client.handler.close(code, reason)
    assert await client.send("still open") == []
    assert Recorder.seen[-1] == "still open"


async def test_a_reason_alone_is_a_normal_closure(peer: Any) -> None:
    client = peer(Recorder)
    await client.open()
    client.handler.close(reason="done")
    assert await client.settle() == [Close(1000, "done")]


@pytest.mark.parametrize("how", ["lost", "eof"])
async def test_a_client_that_vanishes(peer: Any, how: str) -> None:
    client = peer(Recorder)
    await client.open()
    handler = client.handler
    if how == "eof":
        client.wire.feed_eof()
        assert client.wire.closing
    client.wire.lose(ConnectionResetError())
    assert Recorder.seen == ["open", ("close", None, None)]
    with pytest.raises(WebSocketClosedError):
        handler.write_message("anybody?")
    handler.close()


async def test_on_close_is_called_once_however_it_ends(peer: Any) -> None:
    client = peer(Recorder)
    await client.open()
    handler = client.handler
    await client.close(1000)
    client.wire.lose()
    handler.on_connection_close()
    assert [item for item in Recorder.seen if item[0] == "close"] == [("close", 1000, None)]


async def test_a_handler_that_waits_learns_of_the_end_at_once(peer: Any) -> None:
    client = peer(Slow)
    await client.open()
    handler = client.handler
    await client.send("a")
    client.wire.lose()
    assert Slow.seen == ["begin a", ("close", None, None)]
    handler.go_on("a")
    await client.settle()


async def test_what_came_before_the_end_is_handed_on_first(peer: Any) -> None:
    client = peer(Slow)
    await client.open()
    handler = client.handler
    await client.send("a", "b")
    client.wire.feed_eof()
    assert not client.wire.closing
    handler.go_on("a")
    await client.settle()
    handler.go_on("b")
    await client.settle()
    assert client.wire.closing
    assert Slow.seen == ["begin a", "end a", "begin b", "end b"]


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x81\x02hi", 1002),  # not masked
        (b"\xf1\x80\0\0\0\0", 1002),  # reserved bits
        (b"\x83\x80\0\0\0\0", 1002),  # reserved opcode
        (b"\x81\x81\0\0\0\0\xff", 1007),  # not UTF-8
        (b"\x82\xff\0\0\0\0\x7f\xff\xff\xff\0\0\0\0", 1009),  # too long, as its head says
    ],
)
async def test_a_broken_rule_is_one_line_and_a_close(
    peer: Any, expect_log: Any, frame: bytes, code: int
) -> None:
    client = peer(Recorder)
    await client.open()
    with expect_log("webfw.general", rf"127\.0\.0\.1: closed with {code}", level=logging.INFO):
        (event,) = await client.raw(frame + b"whatever follows")
    assert event.code == code  # type: ignore[union-attr]
    assert Recorder.seen == ["open", ("close", None, None)]
    assert client.wire.eof_sent
    client.wire.feed(b"more" * 100)
    assert not client.wire.closing
    await client.pass_time(3)
    assert client.wire.aborted


async def test_a_broken_rule_after_our_close(peer: Any, expect_log: Any) -> None:
    client = peer(Recorder)
    await client.open()
    client.handler.close()
    await client.settle()
    with expect_log("webfw.general", "closed with 1002", level=logging.INFO):
        client.wire.feed(b"\x81\x02hi")
    assert client.wire.take() == b""
