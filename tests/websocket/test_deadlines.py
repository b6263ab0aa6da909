"""Tests of webfw.websocket.deadlines: pings, slow clients and ends, on a fake wire whose clock is told."""

import logging
from typing import Any

import pytest

from tests.websocket.test_connection import Recorder, Slow
from webfw.sansio.websocket import Close, Ping
from webfw.websocket import broadcast
from webfw.websocket.connection import READ_AHEAD

# --- pings of ours ---


async def test_pings_at_their_interval_and_a_client_that_answers(peer: Any) -> None:
    client = peer(Recorder, websocket_ping_interval=10, websocket_ping_timeout=5)
    await client.open()
    for _ in range(4):
        assert await client.pass_time(10.1) == [Ping(b"")]
        await client.raw(client.machine.encode_pong(b""))
        assert await client.pass_time(0.1) == []
    assert not client.wire.closing


async def test_a_client_that_does_not_answer_a_ping_is_closed(peer: Any, expect_log: Any) -> None:
    client = peer(Recorder, websocket_ping_interval=10, websocket_ping_timeout=5)
    await client.open()
    assert await client.pass_time(10.1) == [Ping(b"")]
    assert await client.pass_time(4) == []
    with expect_log("webfw.general", "does not answer a ping", level=logging.INFO):
        assert await client.pass_time(2) == [Close(1011, "ping timed out")]
    await client.pass_time(6)
    assert client.wire.aborted


async def test_a_timeout_longer_than_the_interval(peer: Any, expect_log: Any) -> None:
    client = peer(Recorder, websocket_ping_interval=2, websocket_ping_timeout=7)
    await client.open()
    for _ in range(4):
        assert await client.pass_time(2) == [Ping(b"")]
    with expect_log("webfw.general", "does not answer a ping", level=logging.INFO):
        assert Close(1011, "ping timed out") in await client.pass_time(2)


async def test_any_sign_of_life_answers_a_ping(peer: Any) -> None:
    client = peer(Recorder, websocket_ping_interval=10, websocket_ping_timeout=5)
    await client.open()
    await client.pass_time(10.1)
    await client.send("busy")
    assert await client.pass_time(6) == []


async def test_a_client_that_we_do_not_read_from_need_not_answer(peer: Any) -> None:
    client = peer(Slow, websocket_ping_interval=10, websocket_ping_timeout=5)
    await client.open()
    await client.send("a", "x" * READ_AHEAD)
    await client.send("y" * READ_AHEAD)
    assert await client.pass_time(10.1) == [Ping(b"")]
    assert await client.pass_time(6) == []
    await Slow.end(client)


async def test_a_client_that_dies_while_it_is_not_read_from(peer: Any) -> None:
    """The next ping tells, when it is read from again."""
    client = peer(Slow, websocket_ping_interval=10, websocket_ping_timeout=5)
    await client.open()
    handler = client.handler
    await client.send("a", "x" * READ_AHEAD)
    await client.send("b")
    assert not client.wire.reading
    assert await client.pass_time(10.1) == [Ping(b"")]
    assert await client.pass_time(6) == []
    for message in ("a", "x" * READ_AHEAD, "b"):
        handler.go_on(message)
        await client.settle()
    assert client.wire.reading
    assert await client.pass_time(5) == [Ping(b"")]
    assert await client.pass_time(7) == [Close(1011, "ping timed out")]
    await Slow.end(client)


@pytest.mark.parametrize("policy", ["wait", "drop_oldest", "close"])
async def test_one_message_that_is_not_taken(peer: Any, expect_log: Any, policy: str) -> None:
    client = peer(Recorder, capacity=100, websocket_write_timeout=20, websocket_queue_policy=policy)
    await client.open()
    client.handler.write_message("x" * 1000)
    with expect_log("webfw.general", "takes no more", level=logging.INFO):
        await client.pass_time(23)
    assert client.wire.aborted


async def test_one_shared_message_that_is_not_taken(peer: Any, expect_log: Any) -> None:
    """Nothing is asked at each of the deliveries: the next ping finds it out."""
    client = peer(Recorder, capacity=100, websocket_write_timeout=20, websocket_ping_interval=10)
    await client.open()
    broadcast([client.handler], "x" * 1000)
    with expect_log("webfw.general", "takes no more", level=logging.INFO):
        await client.pass_time(11)
        await client.pass_time(23)
    assert client.wire.aborted


async def test_a_dead_client_is_not_waited_for(peer: Any) -> None:
    client = peer(Recorder, websocket_ping_interval=10, websocket_ping_timeout=5)
    await client.open()
    await client.pass_time(10.1)
    await client.pass_time(6)
    assert client.wire.closing
