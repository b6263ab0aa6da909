"""What a small message costs on its way through wire, connection and handler, counted, so that it cannot rot."""

import asyncio
import socket
import sys
from typing import Any

import pytest

from tests.web.test_plain_path import Counts, connect
from webfw.httpserver import HTTPServer
from webfw.iostream import Wire
from webfw.sansio.native import IMPLEMENTATION
from webfw.sansio.websocket import Machine
from webfw.web import Application
from webfw.websocket import WebSocketHandler, broadcast

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Echo(WebSocketHandler):
    def on_message(self, message: str | bytes) -> None:
        self.write_message(message)


async def opened(server: HTTPServer) -> tuple[Wire, socket.socket]:
    wire, far = await connect(server)
    assert b"101" in await ask(far, HANDSHAKE)
    return wire, far


async def ask(far: socket.socket, data: bytes) -> bytes:
    far.send(data)
    for _ in range(8):
        await asyncio.sleep(0)
    return far.recv(65536)


def counted(wire: Wire, counts: Counts) -> None:
    write = wire.write

    def once(data: bytes) -> None:
        counts.writes += counts.watching
        write(data)

    wire.write = once


async def test_an_echo_makes_no_future_no_task_no_timer_and_one_write() -> None:
    if not isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop):
        pytest.skip("the calls of other loops cannot be watched from outside")
    application = Application([("/", Echo)], log_function=lambda handler: None)
    wire, far = await opened(HTTPServer(application))
    message = Machine(server=False).encode_message("x" * 64)
    for _ in range(3):  # fill the caches
        await ask(far, message)
    counts = Counts(asyncio.get_running_loop())
    counted(wire, counts)
    tasks = set(asyncio.all_tasks())
    buffer_updated = type(wire).buffer_updated

    # Watch just what runs in answer to the bytes, not the turns this test itself takes.
    def watched(self: Wire, nbytes: int) -> None:
        counts.watching = True
        sys.setprofile(counts.profile)
        try:
            buffer_updated(self, nbytes)
        finally:
            sys.setprofile(None)
            counts.watching = False

    type(wire).buffer_updated = watched  # type: ignore[method-assign]
    try:
        answer = await ask(far, message)
    finally:
        type(wire).buffer_updated = buffer_updated  # type: ignore[method-assign]
    assert answer == b"\x81\x40" + b"x" * 64
    assert counts.asked == []
    assert set(asyncio.all_tasks()) == tasks
    assert counts.writes == 1
    # Beside these, the transport calls get_buffer, which is ours too; and where masking is not in C, its function.
    assert [name for name in counts.calls if name != "_apply_mask"] == [
        "Wire.buffer_updated",
        "WebSocketConnection.data_received",
        "Machine.feed",
        "WebSocketConnection._pump",
        "Machine.next_event",
        "WebSocketHandler.write_message",
        "Sending.write",
        "Machine.encode_message",
        "_payload",
        "encode_frame",
        "Machine.next_event",
    ]
    assert counts.calls.count("_apply_mask") == (IMPLEMENTATION == "pure")
    far.close()
    wire.abort()
    await asyncio.sleep(0.01)


async def test_a_broadcast_costs_two_calls_and_one_write_for_each() -> None:
    application = Application([("/", Echo)], log_function=lambda handler: None)
    server = HTTPServer(application)
    there = [await opened(server) for _ in range(5)]
    counts = Counts.__new__(Counts)
    counts.asked, counts.calls, counts.writes, counts.watching = [], [], 0, True
    for wire, _ in there:
        counted(wire, counts)
    handlers: list[Any] = list(application.live)
    sys.setprofile(counts.profile)
    try:
        broadcast(handlers, "x" * 64)
    finally:
        sys.setprofile(None)
    assert counts.writes == 5
    assert counts.calls.count("Sending.send_shared") == 5
    assert len(counts.calls) <= 5 + 6  # and the frame is made once
    for _, far in there:
        assert far.recv(65536) == b"\x81\x40" + b"x" * 64
        far.close()
    await server.close_all_connections()
