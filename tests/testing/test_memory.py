"""Connections in memory: bytes, room, and the ways they end."""

import asyncio
from contextvars import ContextVar, copy_context
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.testing.memory import HIGH_WATER, MemoryWire, connected_wires

which: ContextVar[str] = ContextVar("which", default="")


class Recorder:
    """A consumer that writes down what it is told."""

    def __init__(self, wire: MemoryWire, keep_open: bool = False) -> None:
        self.wire = wire
        self.events: list[Any] = []
        self.data = b""
        self.keep_open = keep_open
        self.contexts: set[str] = set()
        wire.consumer = self

    def data_received(self, data: bytes) -> None:
        self.events.append(len(data))
        self.data += data
        self.contexts.add(which.get())

    def eof_received(self) -> bool:
        self.events.append("eof")
        return self.keep_open

    def connection_lost(self, exc: Exception | None) -> None:
        self.events.append(type(exc).__name__ if exc else "lost")

    def resume_writing(self) -> None:
        self.events.append("room")


def pair(**options: bool) -> tuple[Recorder, Recorder]:
    contexts = []
    for name in ("client", "server"):
        contexts.append(copy_context())
        contexts[-1].run(which.set, name)
    near, far = connected_wires(asyncio.get_running_loop(), *contexts, **options)
    return Recorder(near), Recorder(far)


async def settle() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


async def test_bytes_arrive_in_a_later_turn() -> None:
    near, far = pair()
    near.wire.write(b"one")
    near.wire.write(b"")
    near.wire.write(b"two")
    assert far.events == []
    await settle()
    assert far.data == b"onetwo"
    assert far.events == [6]
    far.wire.write(b"back")
    await settle()
    assert near.data == b"back"
    assert (near.contexts, far.contexts) == ({"client"}, {"server"})


@given(st.lists(st.binary(max_size=200_000), max_size=8))
async def test_everything_arrives_in_order(pieces: list[bytes]) -> None:
    near, far = pair()
    for piece in pieces:
        near.wire.write(piece)
    near.wire.close()
    await settle()
    assert far.data == b"".join(pieces)
    assert all(event <= 64 * 1024 for event in far.events if isinstance(event, int))
    assert far.events[-2:] == ["eof", "lost"]


async def test_a_paused_reader_holds_the_writer_back() -> None:
    near, far = pair()
    far.wire.pause_reading()
    near.wire.write(b"x" * HIGH_WATER)
    assert not near.wire.write_paused
    near.wire.write(b"y")
    assert near.wire.write_paused
    assert near.wire.write_buffer_size == HIGH_WATER + 1
    mark = near.wire.taken()
    await settle()
    assert (near.events, far.events) == ([], [])
    assert near.wire.taken() == mark
    far.wire.resume_reading()
    await settle()
    assert near.events == ["room"]
    assert not near.wire.write_paused
    assert far.data == b"x" * HIGH_WATER + b"y"
    assert near.wire.taken() != mark


async def test_limits_of_the_write_buffer() -> None:
    near, far = pair()
    near.wire.write(b"x")
    near.wire.transport.set_write_buffer_limits(high=0)
    assert near.wire.write_paused
    await settle()
    assert near.events == ["room"]
    near.wire.transport.set_write_buffer_limits()
    near.wire.write(b"x")
    assert not near.wire.write_paused
    await settle()
    assert far.data == b"xx"


async def test_room_that_is_used_up_again() -> None:
    near, far = pair()
    near.wire.write(b"x" * (HIGH_WATER + 1))
    await asyncio.sleep(0)
    near.wire.write(b"y" * (HIGH_WATER + 1))
    far.wire.pause_reading()
    await settle()
    assert near.wire.write_paused


async def test_half_closed() -> None:
    near, far = pair()
    far.keep_open = True
    near.wire.write(b"question")
    near.wire.write_eof()
    near.wire.write(b"dropped")
    await settle()
    assert far.events == [8, "eof"]
    far.wire.write(b"answer")
    far.wire.close()
    await settle()
    assert near.data == b"answer"
    assert near.events == [6, "eof", "lost"]
    assert far.events == [8, "eof", "lost"]


async def test_no_half_close_with_tls() -> None:
    near, far = pair(tls=True)
    far.wire.write_eof()
    await settle()
    assert near.events == []
    assert far.wire.get_extra_info("sslcontext")
    assert far.wire.get_extra_info("sockname")[1] == 443


async def test_eof_waits_for_reading() -> None:
    near, far = pair()
    far.wire.pause_reading()
    near.wire.write_eof()
    await settle()
    assert far.events == []
    far.wire.resume_reading()
    await settle()
    assert far.events == ["eof", "lost"]


async def test_writing_to_a_closed_peer_resets() -> None:
    near, far = pair()
    far.keep_open = True
    near.wire.close()
    near.wire.close()
    await settle()
    assert (near.events, far.events) == (["lost"], ["eof"])
    far.wire.write(b"late")
    far.wire.write(b"late")
    await settle()
    assert far.events == ["eof", "ConnectionResetError"]


async def test_waiting_for_room_at_a_closed_peer_resets() -> None:
    near, far = pair()
    far.keep_open = True
    near.wire.pause_reading()
    far.wire.write(b"x" * (HIGH_WATER + 1))
    near.wire.close()
    await settle()
    assert far.events == ["eof", "ConnectionResetError"]
    assert near.data == b""


@pytest.mark.parametrize("reading", [True, False])
async def test_abort(reading: bool) -> None:
    near, far = pair()
    near.wire.write(b"lost")
    if not reading:
        far.wire.pause_reading()
    near.wire.abort()
    await settle()
    assert near.events == ["lost"]
    assert far.events == ["ConnectionResetError"]
    assert near.wire.aborted
