"""Tests of webfw.websocket.shared: one frame for all connections that can have the same."""

from typing import Any

import pytest

from webfw.sansio.errors import LocalProtocolError
from webfw.sansio.websocket import Deflate, DeflateParameters, Machine
from webfw.websocket.shared import SharedMessage


def deflate(server: bool = True, **options: Any) -> Deflate:
    return Deflate(DeflateParameters(), server=server, **{"threshold": 0, **options})


def connection(**options: Any) -> Machine:
    return Machine(server=True, deflate=deflate(**options))


def read(machine: Machine, frame: bytes) -> object:
    machine.feed(frame)
    return machine.next_event()


@pytest.mark.parametrize(
    ("data", "binary"), [("text", False), ("text", True), (b"bytes", True), (b"text", False)]
)
def test_plain(data: str | bytes, binary: bool) -> None:
    message = SharedMessage(data, binary)
    assert message.frame_for(Machine(server=True)) is message.plain
    received = read(Machine(server=False), message.plain)
    expected = data if isinstance(data, bytes) else data.encode()
    assert received == (expected if binary else expected.decode())
    assert len(message) == len(message.plain)


@pytest.mark.parametrize("bad", [None, 1, ["x"]])
def test_no_message(bad: Any) -> None:
    with pytest.raises(TypeError):
        SharedMessage(bad)


def test_text_that_is_none() -> None:
    with pytest.raises(LocalProtocolError):
        SharedMessage(b"\xff")


def test_one_frame_for_equal_parameters() -> None:
    message = SharedMessage("to all " * 100)
    first, second, other = connection(), connection(), connection(level=1)
    frame = message.frame_for(first)
    assert len(frame) < len(message.plain)
    assert message.frame_for(second) is frame
    assert message.frame_for(other) is not frame
    assert message.frame_for(connection(threshold=10_000)) == message.plain


def test_it_fits_between_messages_of_ones_own() -> None:
    """The context of the connection begins anew behind it, so that the client counts distances as we do."""
    sender = connection()
    receiver = Machine(server=False, deflate=deflate(server=False))
    for n in range(5):
        own = f"own {n} " * 50
        assert read(receiver, sender.encode_message(own)) == own
        shared = f"shared {n} own" * 50
        assert read(receiver, SharedMessage(shared).frame_for(sender)) == shared
