"""How a WebSocket ends: from every state, inside every callback, by either side; on_close always and once."""

import asyncio
import gc
import logging
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest

from tests.websocket.test_connection import Echo, Recorder, Slow
from webfw.sansio.websocket import Close, encode_frame
from webfw.websocket import WebSocketClosedError

TLS = object()


def closes() -> list[Any]:
    return [item for item in Recorder.seen + Slow.seen if item[0] == "close"]


@pytest.fixture(autouse=True)
def _fresh() -> None:
    Recorder.seen, Slow.seen, Slow.gates = [], [], {}


# --- what has come before the end ---


def by_eof(client: Any) -> None:
    client.wire.feed_eof()


def by_reset(client: Any) -> None:
    client.wire.lose(ConnectionResetError())


def by_tls(client: Any) -> None:
    client.wire._extra["sslcontext"] = TLS
    client.wire.feed_eof()
    client.wire.lose()


ENDS: list[Callable[[Any], None]] = [by_eof, by_reset, by_tls]


@pytest.mark.parametrize("end", ENDS)
async def test_messages_first_then_the_end(peer: Any, end: Callable[[Any], None]) -> None:
    client = peer(Slow)
    await client.open()
    handler = client.handler
    await client.send("a", "b", "c")
    await client.close(1001, "bye")
    end(client)
    for message in "abc":
        assert closes() == []
        handler.go_on(message)
        await client.settle()
    client.wire.lose()
    assert [item for item in Slow.seen if "begin" in item] == ["begin a", "begin b", "begin c"]
    assert closes() == [("close", 1001, "bye")]
    assert Slow.seen[-1] == ("close", 1001, "bye")
    assert not client.site.application.live


@pytest.mark.parametrize("unsent", [b"", b"x" * 200_000])
async def test_on_close_comes_with_the_clients_close(peer: Any, unsent: bytes) -> None:
    """Not a turn of the loop later, nor when the client has taken what was written for it.

    Programs that ping all their clients by a timer otherwise meet one that refuses it before it has said why.
    """
    client = peer(Recorder)
    await client.open()
    if unsent:
        client.handler.write_message(unsent, binary=True)  # which the fake wire keeps
    client.wire.feed(client.machine.encode_close(1001))
    assert closes() == [("close", 1001, None)]
    assert not client.site.application.live
    while client.wire.write_paused:
        client.wire.drain()
    await client.settle()
    assert closes() == [("close", 1001, None)]
    assert client.wire.closed


@pytest.mark.parametrize("end", ENDS)
async def test_a_callback_that_waits_for_the_end_gets_it(peer: Any, end: Callable[[Any], None]) -> None:
    """It may wait for what on_close does: messages behind it wait for `close_timeout` and no longer."""
    client = peer(Slow)
    await client.open()
    await client.send("a", "b")
    end(client)
    await client.pass_time(4)
    assert closes() == []
    await client.pass_time(3)
    client.wire.lose()
    assert closes() == [("close", None, None)]
    assert Slow.seen == ["begin a", ("close", None, None)]
    await Slow.end(client)
    assert Slow.seen == ["begin a", ("close", None, None), "end a"]


async def test_the_patience_is_for_each_message(peer: Any) -> None:
    client = peer(Slow)
    await client.open()
    handler = client.handler
    await client.send("a", "b", "c")
    by_reset(client)
    for message in "abc":
        await client.pass_time(4)
        handler.go_on(message)
        await client.settle()
    assert Slow.seen[-3:] == ["begin c", "end c", ("close", None, None)]


async def test_who_is_written_to_while_it_goes(peer: Any) -> None:
    """A callback that cannot answer any more is nobody's fault; the next message is handed on all the same."""

    class Answers(Slow):
        async def on_message(self, message: Any) -> None:  # type: ignore[override]
            await super().on_message(message)
            await self.write_message(message)

    client = peer(Answers)
    await client.open()
    handler = client.handler
    await client.send("a", "b")
    by_reset(client)
    for message in "ab":
        handler.go_on(message)
        await client.settle()
    assert Answers.seen == ["begin a", "end a", "begin b", "end b", ("close", None, None)]


async def test_a_write_that_has_failed_is_not_the_next_callbacks_fault(peer: Any) -> None:
    """The transport knows before the connection does: the rest of a read finds it closing."""
    client = peer(type("Answers", (Echo, Recorder), {}))
    await client.open()
    write = client.wire.write

    def fail(data: bytes) -> None:
        client.wire.is_closing = lambda: True

    client.wire.write = fail
    assert await client.send("a", "b", "c") == []
    client.wire.write = write
    by_reset(client)
    assert not client.site.application.live


async def test_a_writer_that_waits_is_told_at_once(peer: Any) -> None:
    """Else the callback would wait for the end, and the end for the callback."""

    class Floods(Recorder):
        async def on_message(self, message: Any) -> None:  # type: ignore[override]
            self.seen.append(message)
            for _ in range(5):
                await self.write_message("x" * 1000)

    client = peer(Floods, capacity=100)
    await client.open()
    await client.send("a", "b")
    by_reset(client)
    await client.settle()
    assert Floods.seen == ["open", "a", "b", ("close", None, None)]


async def test_what_this_side_cuts_is_not_handed_on(peer: Any) -> None:
    client = peer(Slow)
    await client.open()
    handler = client.handler
    await client.send("a", "b")
    client.site.server.stop()
    closing = asyncio.ensure_future(client.site.server.close_all_connections())
    await client.settle()
    client.wire.lose()
    await closing
    assert Slow.seen == ["begin a", ("close", None, None)]
    handler.go_on("a")
    await client.settle()
    assert Slow.seen[-1] == "end a"


async def test_the_server_cuts_what_is_gone_already(peer: Any) -> None:
    client = peer(Slow)
    await client.open()
    await client.send("a", "b")
    by_reset(client)
    assert closes() == []
    await client.site.server.close_all_connections()
    assert closes() == [("close", None, None)]
    await Slow.end(client)


# --- callbacks that raise ---


@pytest.mark.parametrize("kind", [RuntimeError, asyncio.CancelledError])
@pytest.mark.parametrize("callback", ["on_close", "on_ws_connection_close", "log_exception"])
async def test_an_end_that_raises_is_an_end(peer: Any, expect_log: Any, callback: str, kind: Any) -> None:
    def raises(self: Any, *args: Any) -> None:
        raise kind("on purpose")

    methods: dict[str, Any] = {callback: raises}
    if callback == "log_exception":
        methods["on_message"] = raises
    client = peer(type("Broken", (Recorder,), methods))
    await client.open()
    seen = client.handler.seen
    with expect_log("webfw.application", "Uncaught exception"):
        await client.send("a")
        by_reset(client)
    assert not client.site.application.live
    async with asyncio.timeout(10):
        await client.site.server.close_all_connections()
    if callback != "on_close":
        assert seen[-1][0] == "close"


@pytest.mark.parametrize("callback", ["on_message", "on_ping", "on_pong"])
@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_nothing_is_handed_on_after_a_callback_has_failed(
    peer: Any, expect_log: Any, callback: str, kind: str
) -> None:
    def plain(self: Any, *args: Any) -> None:
        self.seen.append("fails")
        raise RuntimeError("on purpose")

    async def later(self: Any, *args: Any) -> None:
        await asyncio.sleep(0)
        plain(self)

    client = peer(type("Fails", (Recorder,), {callback: plain if kind == "plain" else later}))
    await client.open()
    seen = client.handler.seen
    first = {"on_message": 1, "on_ping": 9, "on_pong": 10}[callback]
    with expect_log("webfw.application", "Uncaught exception", count=1):
        frames = [encode_frame(opcode, b"x", mask=True) for opcode in (first, 1, 9, 10, first)]
        assert (await client.raw(b"".join(frames)))[-1] == Close(1011, "")
        await client.raw(b"".join(frames))
    client.wire.lose()
    assert seen == ["open", "fails", ("close", None, None)]


async def test_an_error_after_the_end_is_logged(peer: Any, expect_log: Any) -> None:
    class Fails(Slow):
        async def on_message(self, message: Any) -> None:  # type: ignore[override]
            await super().on_message(message)
            raise RuntimeError("on purpose")

    client = peer(Fails)
    await client.open()
    handler = client.handler
    await client.send("a")
    by_reset(client)
    assert Fails.seen[-1] == ("close", None, None)
    with expect_log("webfw.application", "Uncaught exception", count=1):
        handler.go_on("a")
        await client.settle()


@pytest.mark.parametrize("callback", ["on_finish", "log_function"])
async def test_what_raises_after_the_handshake_does_not_leave_it_half_open(
    peer: Any, expect_log: Any, callback: str
) -> None:
    def raises(*args: Any) -> None:
        raise RuntimeError("on purpose")

    methods = {"on_finish": raises} if callback == "on_finish" else {}
    settings = {"log_function": raises} if callback == "log_function" else {}
    client = peer(type("Broken", (Echo, Recorder), methods), **settings)
    with expect_log("webfw.application", "Uncaught exception"):
        await client.open()
    assert await client.send("a") == ["a"]
    client.wire.lose()
    assert Recorder.seen == [] or closes() == [("close", None, None)]


async def test_an_open_that_raises_cancelled(peer: Any, expect_log: Any) -> None:
    class Broken(Recorder):
        def open(self) -> None:
            super().open()
            raise asyncio.CancelledError("the result of something else that was cancelled")

    client = peer(Broken)
    with expect_log("webfw.application", "Uncaught exception"):
        assert await client.open() == [Close(1011, "")]
    await client.close(1011)
    client.wire.lose()
    assert Broken.seen == ["open", ("close", 1011, None)]


# --- closing inside every callback ---


@pytest.mark.parametrize("call", ["close", "abort", "close twice", "close and write"])
@pytest.mark.parametrize("callback", ["open", "on_message", "on_ping", "on_pong", "on_close"])
@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_closing_inside_a_callback(peer: Any, callback: str, call: str, kind: str) -> None:
    def act(self: Any) -> None:
        self.seen.append(callback)
        if call == "abort" and self.ws_connection is not None:
            self.ws_connection.abort()
        self.close(1001)
        if call == "close twice":
            self.close(1002)
        if call == "close and write":
            with pytest.raises(WebSocketClosedError):
                self.write_message("late")

    def plain(self: Any, *args: Any) -> None:
        act(self)
        if callback == "on_close":
            Recorder.on_close(self)

    async def later(self: Any, *args: Any) -> None:
        await asyncio.sleep(0)
        plain(self)

    client = peer(type("Closes", (Recorder,), {callback: plain if kind == "plain" else later}))
    await client.open()
    seen = client.handler.seen if client.site.application.live else []
    for frame in (1, 9, 10, 1):
        await client.raw(encode_frame(frame, b"x", mask=True))
    if callback == "on_close":
        await client.close(1000)
    client.wire.lose()
    await client.settle()
    assert [item for item in seen if item[0] == "close"] == [
        ("close", 1000 if callback == "on_close" else None, None)
    ]
    assert not client.site.application.live
    async with asyncio.timeout(10):
        await client.site.server.close_all_connections()


async def test_our_close_and_then_the_client_vanishes(peer: Any) -> None:
    client = peer(Recorder)
    await client.open()
    client.handler.close(4000, "go")
    by_eof(client)
    assert client.wire.closing
    client.wire.lose()
    assert closes() == [("close", None, None)]


async def test_a_tls_client_that_does_not_end_is_cut(peer: Any) -> None:
    """TLS has a closing handshake of its own, which asyncio waits half a minute for."""
    client = peer(Recorder)
    await client.open()
    client.wire._extra["sslcontext"] = TLS
    await client.close(1000)
    assert client.wire.closing
    assert not client.wire.aborted
    await client.pass_time(7)
    assert client.wire.aborted


async def test_http_methods_cannot_keep_on_close_from_being_called(peer: Any) -> None:
    client = peer(Recorder)
    await client.open()
    client.handler.clear()
    by_reset(client)
    assert closes() == [("close", None, None)]


async def test_a_policy_that_closes_within_a_callback(peer: Any, expect_log: Any) -> None:
    class Floods(Recorder):
        def on_message(self, message: Any) -> None:
            for _ in range(20):
                self.write_message("x" * 1000)

    client = peer(Floods, capacity=100, websocket_queue_policy="close", websocket_max_queue_size=3000)
    await client.open()
    with (
        expect_log("webfw.general", "does not take", level=logging.INFO),
        expect_log("webfw.application", "Uncaught exception", count=1),
    ):
        events = await client.send("a", "b")
    assert events[-1] == Close(1013, "too slow")


# --- nothing stays ---


class Marked:
    """What a context variable holds."""


marked: ContextVar[Marked] = ContextVar("marked")


@pytest.mark.parametrize("end", ["client", "server", "reset", "refused"])
@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_nothing_is_left_for_the_collector(peer: Any, end: str, kind: str) -> None:
    """Handlers, connections and contexts go with the connection, without a run of the garbage collector."""

    class Sets(Echo):
        def open(self) -> None:
            marked.set(mark := Marked())
            refs.append(weakref.ref(mark))

        def on_message(self, message: Any) -> Any:
            if kind == "async":
                return self.later(message)
            return super().on_message(message)

        async def later(self, message: Any) -> None:
            await asyncio.sleep(0)
            await self.write_message(message)

    refs: list[weakref.ref[Any]] = []
    client = peer(Sets)
    gc.collect()
    gc.disable()
    try:
        await client.open()
        refs += [weakref.ref(client.handler), weakref.ref(client.handler.ws_connection)]
        refs.append(weakref.ref(client.handler.request))
        assert await client.send("a", "b") == ["a", "b"]
        if end == "server":
            client.handler.close(1000)
        if end == "refused":
            await client.raw(b"\xff\xff")
        elif end != "reset":
            await client.close(1000)
        client.wire.lose()
        client.wire.consumer = None  # as the real one does
        await client.settle()
        assert [ref() for ref in refs] == [None] * 4
    finally:
        gc.enable()
