"""What is sent to clients, above all to those that do not take it."""

import asyncio
import logging
from typing import Any

import pytest

from tests.websocket.test_connection import Echo, Recorder, Slow
from webfw.sansio.errors import LocalProtocolError
from webfw.sansio.websocket import Close, Machine, Pong, encode_frame
from webfw.websocket import WebSocketClosedError
from webfw.websocket.connection import READ_AHEAD


async def test_a_writer_that_waits_is_held_back(peer: Any) -> None:
    client = peer(Recorder, capacity=1000)
    await client.open()
    handler = client.handler
    waits = [handler.write_message(f"{n}" * 600) for n in range(6)]
    assert [wait.done() for wait in waits] == [True, False, False, False, False, False]
    client.wire.drain()
    assert [wait.done() for wait in waits] == [True, True, True, True, False, False]
    events = await client.drain()
    assert [event[0] for event in events] == ["0", "1", "2", "3", "4", "5"]  # type: ignore[index]
    assert all(wait.done() for wait in waits)


async def test_who_waits_learns_that_the_client_is_gone(peer: Any) -> None:
    client = peer(Recorder, capacity=100)
    await client.open()
    waits = [client.handler.write_message("x" * 200) for _ in range(3)]
    client.wire.lose()
    for wait in waits:
        with pytest.raises(WebSocketClosedError):
            await wait


@pytest.mark.parametrize("bad", [None, 1, ["list"]])
@pytest.mark.parametrize("paused", [False, True])
async def test_what_is_no_message_is_refused_at_once(peer: Any, bad: Any, paused: bool) -> None:
    client = peer(Recorder, capacity=100)
    await client.open()
    if paused:
        client.handler.write_message("x" * 200)
    with pytest.raises(TypeError):
        client.handler.write_message(bad)


async def test_policy_drop_oldest(peer: Any) -> None:
    client = peer(Recorder, capacity=100, websocket_queue_policy="drop_oldest", websocket_max_queue_size=1000)
    await client.open()
    for n in range(10):
        assert client.handler.write_message(f"{n}" * 300).done()
    events = await client.drain()
    assert [event[0] for event in events] == ["0", "7", "8", "9"]  # type: ignore[index]


async def test_policy_close(peer: Any, expect_log: Any) -> None:
    client = peer(Recorder, capacity=100, websocket_queue_policy="close", websocket_max_queue_size=1000)
    await client.open()
    handler = client.handler
    with expect_log("webfw.general", "does not take its messages", level=logging.INFO):
        for n in range(5):
            handler.write_message(f"{n}" * 300)
    with pytest.raises(WebSocketClosedError):
        handler.write_message("more")
    events = await client.drain()
    assert events[-1] == Close(1013, "too slow")


async def test_a_compressed_stream_survives_dropped_messages(peer: Any) -> None:
    class Compressed(Recorder):
        def get_compression_options(self) -> dict[str, Any]:
            return {"threshold": 0}

    client = peer(
        Compressed, capacity=100, websocket_queue_policy="drop_oldest", websocket_max_queue_size=2000
    )
    await client.open(Sec_WebSocket_Extensions="permessage-deflate")
    for n in range(10):
        client.handler.write_message(f"message {n} " * 100)
    events = await client.drain()
    assert events[-1] == "message 9 " * 100
    assert 1 < len(events) < 10
    client.handler.write_message("message 10 " * 100)
    assert await client.settle() == ["message 10 " * 100]


async def test_a_client_that_takes_nothing_is_cut(peer: Any, expect_log: Any) -> None:
    client = peer(Recorder, capacity=100, websocket_write_timeout=20)
    await client.open()
    client.handler.write_message("x" * 1000)
    await client.pass_time(19)
    assert not client.wire.aborted
    with expect_log("webfw.general", "takes no more", level=logging.INFO):
        await client.pass_time(2)
    assert client.wire.aborted


async def test_a_client_that_takes_little_is_kept(peer: Any) -> None:
    client = peer(Recorder, capacity=100, websocket_write_timeout=20)
    await client.open()
    client.handler.write_message("x" * 1000)
    for _ in range(5):
        client.wire._buffered -= 10
        await client.pass_time(21)
    assert not client.wire.aborted
    await client.drain()
    await client.pass_time(1000)
    assert not client.wire.aborted


async def test_a_close_waits_behind_what_is_queued(peer: Any) -> None:
    client = peer(Recorder, capacity=100)
    await client.open()
    client.handler.write_message("a" * 200)
    client.handler.write_message("b" * 200)
    client.handler.close(1000, "bye")
    assert await client.drain() == ["a" * 200, "b" * 200, Close(1000, "bye")]


async def test_a_close_that_cannot_leave_is_given_up(peer: Any) -> None:
    client = peer(Recorder, capacity=100)
    await client.open()
    for letter in "ab":
        client.handler.write_message(letter * 200)
    client.handler.close()
    await client.pass_time(6)
    assert client.wire.aborted


async def test_the_clients_close_overtakes_what_is_queued(peer: Any) -> None:
    client = peer(Recorder, capacity=100)
    await client.open()
    waits = [client.handler.write_message(letter * 200) for letter in "abc"]
    client.handler.close(1000)
    events = await client.close(1001)
    with pytest.raises(WebSocketClosedError):
        await waits[2]
    assert events == ["a" * 200, Close(1001, "")]


async def test_frames_of_a_client_of_any_size(peer: Any) -> None:
    """The lengths where the form of a frame's head changes, whole and byte by byte."""
    client = peer(Echo)
    await client.open()
    for size in (0, 1, 125, 126, 127, 65535, 65536):
        message = "x" * size
        assert await client.send(message) == [message]
    received = []
    for byte in Machine(server=False).encode_message("byte by byte" * 20):
        received += await client.raw(bytes([byte]))
    assert received == ["byte by byte" * 20]
    first = encode_frame(1, b"frag", fin=False, mask=True)
    middle = encode_frame(9, b"in between", mask=True)
    last = encode_frame(0, b"ments", mask=True)
    assert await client.raw(first + middle + last) == [Pong(b"in between"), "fragments"]


@pytest.mark.parametrize("bad", ["\ud800", b"\xff"])
async def test_what_is_no_text_is_refused_before_it_waits(peer: Any, bad: Any) -> None:
    client = peer(Recorder, capacity=100)
    await client.open()
    client.handler.write_message("x" * 200)
    with pytest.raises(LocalProtocolError, match="Unicode"):
        client.handler.write_message(bad)
    client.handler.write_message(b"\xff", binary=True)
    client.handler.write_message("after")
    assert await client.drain() == ["x" * 200, b"\xff", "after"]


async def test_who_does_not_read_is_not_read_from(peer: Any) -> None:
    """A plain handler waits for nobody: it must not be made to fill the memory with answers."""
    client = peer(Echo, capacity=1000, websocket_max_queue_size=10_000)
    await client.open()
    sent = 0
    while client.wire.reading:
        client.wire.feed(client.machine.encode_message("x" * 1000))
        sent += 1
        assert sent < 20
    assert sent > 10
    conn = client.handler.ws_connection
    assert await client.drain() == ["x" * 1000] * sent
    assert client.wire.reading
    assert conn._outbox is None
    assert await client.send("again") == ["again"]


async def test_reading_waits_for_both_the_callback_and_the_client(peer: Any) -> None:
    client = peer(Slow, capacity=1000, websocket_max_queue_size=1000)
    await client.open()
    await client.send("a", "x" * READ_AHEAD)
    await client.send("b")
    for _ in range(3):
        client.handler.write_message("y" * 1000)
    assert not client.wire.reading
    client.wire.drain()
    client.wire.drain()
    assert not client.wire.reading
    client.handler.go_on("a")
    await client.settle()
    assert client.wire.reading
    await Slow.end(client)


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_a_flood_is_not_read_faster_than_it_is_handled(peer: Any, kind: str) -> None:
    """Each turn a few messages of few bytes are handled, and each read could bring thousands of them."""

    class Takes(Recorder):
        def on_message(self, message: Any) -> Any:
            return asyncio.sleep(0) if kind == "async" else None

    client = peer(Takes)
    await client.open()
    conn = client.handler.ws_connection
    flood = encode_frame(1, b"", mask=True) * (READ_AHEAD // 6)
    for _ in range(200):
        if client.wire.reading:
            client.wire.feed(flood)
        assert conn.machine.pending <= 2 * READ_AHEAD
        await asyncio.sleep(0)
    client.wire.lose()
    for _ in range(30):
        await client.pass_time(10)
