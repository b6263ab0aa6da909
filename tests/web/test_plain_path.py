"""What a plain request costs, counted: so that the hot path cannot rot on a noisy machine (docs/architecture.md)."""

import asyncio
import gc
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

import webfw
from webfw.httpserver import HTTPServer
from webfw.iostream import Wire
from webfw.web import Application, RequestHandler

HOUSE = str(Path(webfw.__file__).parent)

REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n\r\n"


class Hello(RequestHandler):
    def get(self) -> None:
        self.write("Hello, world")


class Counts:
    """Everything the loop is asked for, and every Python call of ours, while it is watched."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.asked: list[str] = []
        self.calls: list[str] = []
        self.writes = 0
        self.watching = False
        for name in (
            "create_future",
            "create_task",
            "call_soon",
            "call_later",
            "call_at",
            "call_soon_threadsafe",
        ):
            setattr(loop, name, self._counted(name, getattr(loop, name)))

    def _counted(self, name: str, method: Any) -> Any:
        def counted(*args: Any, **kwargs: Any) -> Any:
            if self.watching:
                self.asked.append(name)
            return method(*args, **kwargs)

        return counted

    def profile(self, frame: Any, event: str, arg: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(HOUSE):
            self.calls.append(frame.f_code.co_qualname)


async def connect(server: HTTPServer) -> tuple[Wire, socket.socket]:
    near, far = socket.socketpair()
    near.setblocking(False)
    far.settimeout(5)
    loop = asyncio.get_running_loop()
    _, wire = await loop.create_connection(server._make_wire, sock=near)
    return wire, far


async def ask(wire: Wire, far: socket.socket) -> bytes:
    """One request and its answer, read without the loop's help."""
    far.send(REQUEST)
    for _ in range(8):
        await asyncio.sleep(0)
    return far.recv(65536)


async def test_a_plain_request_makes_no_future_no_task_no_timer_and_one_write() -> None:
    if not isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop):
        pytest.skip("the calls of other loops cannot be watched from outside")
    server = HTTPServer(Application([("/", Hello)], log_function=lambda handler: None))
    wire, far = await connect(server)
    for _ in range(3):  # fill the caches
        assert (await ask(wire, far)).endswith(b"Hello, world")
    counts = Counts(asyncio.get_running_loop())
    write = wire.write

    def counted_write(data: bytes) -> None:
        counts.writes += 1
        write(data)

    wire.write = counted_write
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
        answer = await ask(wire, far)
    finally:
        type(wire).buffer_updated = buffer_updated  # type: ignore[method-assign]
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert counts.asked == []
    assert set(asyncio.all_tasks()) == tasks
    assert counts.writes == 1
    # Beside these, the transport calls get_buffer, which is ours too.
    assert len(counts.calls) + 1 <= 38, counts.calls
    assert len(counts.calls) > 20, "the count itself must work"
    far.close()
    wire.abort()
    await asyncio.sleep(0.01)


async def test_requests_leave_no_reference_cycles() -> None:
    class Later(RequestHandler):
        async def get(self) -> None:
            await asyncio.sleep(0)
            self.write("Hello, world")

    for handler in (Hello, Later):
        server = HTTPServer(Application([("/", handler)], log_function=lambda handler: None))
        wire, far = await connect(server)
        for _ in range(3):
            await ask(wire, far)
            await asyncio.sleep(0)
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            for _ in range(20):
                assert (await ask(wire, far)).endswith(b"Hello, world")
            gc.collect()
            ours = [thing for thing in gc.garbage if type(thing).__module__.startswith("webfw")]
        finally:
            gc.set_debug(0)
            gc.enable()
            gc.garbage.clear()
        assert ours == []
        far.close()
        wire.abort()
        await asyncio.sleep(0.01)
