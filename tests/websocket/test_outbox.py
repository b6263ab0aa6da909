"""Tests of webfw.websocket.outbox: what waits, what is dropped, and who is told."""

import asyncio

import pytest

from webfw.websocket import WebSocketClosedError
from webfw.websocket.outbox import Outbox, Waiting


def waiting(data: str, missed: list[str] | None = None) -> Waiting:
    entry = Waiting(data, False)
    if missed is not None:
        entry.missed = lambda: missed.append(data)
    return entry


def taken(outbox: Outbox) -> list[object]:
    entries = []
    while outbox:
        entries.append(outbox.take().data)
    return entries


def test_first_in_first_out() -> None:
    outbox = Outbox(100)
    assert not outbox
    for data in ("aa", "b", "ccc"):
        outbox.add(waiting(data))
    assert outbox.size == 6
    assert taken(outbox) == ["aa", "b", "ccc"]
    assert outbox.size == 0


def test_a_single_message_may_be_longer_than_the_limit() -> None:
    outbox = Outbox(10)
    assert not outbox.full(1000)
    outbox.add(waiting("x" * 1000))
    assert outbox.full(1)


def test_tiny_messages_have_a_limit_in_number() -> None:
    """Each takes some hundred bytes to be kept."""
    outbox = Outbox(6400, "drop_oldest")
    for _ in range(116):
        assert not outbox.full(1)
        outbox.put(waiting("x", []))
    assert outbox.full(1)
    assert not outbox.over()
    outbox.put(waiting("y", []))
    assert (outbox.dropped, outbox.size) == (1, 116)
    outbox.add(waiting("kept"))
    assert outbox.over()


def test_the_oldest_are_dropped_until_there_is_room() -> None:
    missed: list[str] = []
    outbox = Outbox(10)
    for data in ("aaaa", "bbbb", "cc"):
        outbox.add(waiting(data, missed))
    assert outbox.drop_oldest(0)
    assert missed == []
    assert outbox.drop_oldest(5)
    assert missed == ["aaaa", "bbbb"]
    assert outbox.dropped == 2
    assert taken(outbox) == ["cc"]


def test_what_may_not_be_dropped_stays_in_its_place() -> None:
    missed: list[str] = []
    outbox = Outbox(10)
    outbox.add(waiting("1111"))
    outbox.add(waiting("2222", missed))
    outbox.add(waiting("33"))
    outbox.add(waiting("4444", missed))
    assert not outbox.drop_oldest(5)
    assert missed == ["2222", "4444"]
    assert taken(outbox) == ["1111", "33"]


async def test_who_waits_for_a_dropped_message_waits_no_more() -> None:
    outbox = Outbox(1)
    entry = waiting("xx", [])
    entry.future = asyncio.get_running_loop().create_future()
    outbox.add(entry)
    outbox.drop_oldest(1)
    assert entry.future.result() is None


async def test_close_tells_those_who_wait() -> None:
    outbox = Outbox(10)
    entries = [waiting("a"), waiting("b"), waiting("c")]
    for entry in entries[:2]:
        entry.future = asyncio.get_running_loop().create_future()
    for entry in entries:
        outbox.add(entry)
    assert entries[0].future is not None
    entries[0].future.cancel()
    outbox.close()
    assert not outbox
    assert entries[1].future is not None
    with pytest.raises(WebSocketClosedError):
        entries[1].future.result()
