"""Clients that mean no good, many of them: memory stays bounded, others are served, and nothing is left behind."""

import asyncio
import contextlib
import gc
import os
import random
import resource
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from webfw.httpserver import HTTPServer
from webfw.netutil import bind_sockets
from webfw.sansio.websocket import encode_frame
from webfw.web import Application
from webfw.websocket import WebSocketHandler, broadcast, websocket_connect

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

HANDSHAKE = (
    b"GET %s HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Echo(WebSocketHandler):
    def on_message(self, message: str | bytes) -> None:
        self.write_message(message, binary=isinstance(message, bytes))


class Slow(WebSocketHandler):
    """Waits for a turn of the loop for each message."""

    async def on_message(self, message: str | bytes) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        if message == "last":
            await self.write_message("done")


def descriptors() -> int:
    """Sockets of this process; a loop may open other files of its own."""
    found = 0
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the one that lists them
            found += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
    return found


def resident() -> int:
    """Bytes of memory this process holds."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


class Site:
    def __init__(self, settings: dict[str, Any], arguments: dict[str, Any]) -> None:
        routes = [("/echo", Echo), ("/slow", Slow)]
        self.application = Application(routes, log_function=lambda handler: None, **settings)
        self.server = HTTPServer(self.application, **arguments)
        sockets = bind_sockets(0, "127.0.0.1", backlog=1024)
        self.address = sockets[0].getsockname()
        self.server.add_sockets(sockets)
        self.url = f"ws://127.0.0.1:{self.address[1]}"

    async def raw(self, path: bytes = b"/echo", receive: int | None = None) -> socket.socket:
        """A WebSocket of which nothing is read but the handshake."""
        loop = asyncio.get_running_loop()
        sock = socket.socket()
        sock.setblocking(False)
        if receive is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        await loop.sock_connect(sock, self.address)
        await loop.sock_sendall(sock, HANDSHAKE % path)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += await loop.sock_recv(sock, 1)
        assert head.startswith(b"HTTP/1.1 101 ")
        return sock

    @property
    def held(self) -> int:
        """Bytes that wait for clients."""
        found = 0
        for handler in self.application.live:
            conn = handler.ws_connection  # type: ignore[attr-defined]
            found += conn.wire.write_buffer_size + (conn._outbox.size if conn._outbox else 0)
        return found


@contextlib.asynccontextmanager
async def site(arguments: dict[str, Any] | None = None, **settings: Any) -> AsyncIterator[Site]:
    """A server; afterwards nothing of it is there."""
    before = descriptors()
    there = Site(settings, arguments or {})
    try:
        yield there
    finally:
        there.server.stop()
        await there.server.close_all_connections()
    async with asyncio.timeout(5):
        while descriptors() > before or len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0.01)
    assert not there.application.live
    assert not there.server._connections


async def until(true: Callable[[], object], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.01)


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


async def test_clients_that_never_read() -> None:
    """Three hundred of them among twenty who do: what waits is bounded, and they are cut."""
    limit = 64 * 1024
    async with site(websocket_max_queue_size=limit, websocket_write_timeout=2.0) as there:
        bad = [await there.raw(receive=4096) for _ in range(300)]
        good = [await websocket_connect(there.url + "/echo") for _ in range(20)]
        handlers: list[Any] = list(there.application.live)
        before = resident()
        most = 0
        delays = []
        message = "x" * 16_000
        count = 0
        end = time.monotonic() + 40
        while len(there.application.live) > 20:
            assert time.monotonic() < end
            begin = time.perf_counter()
            broadcast(handlers, f"{count} {message}")
            for connection in good:
                received = await connection.read_message()
                assert received is not None
                assert received.split(" ")[0] == str(count)
            delays.append(time.perf_counter() - begin)
            most = max(most, there.held)
            count += 1
        # Per client: what the queue may hold, the transport's 64 KiB, and one message over each.
        assert 300 * limit / 4 < most < 300 * (limit + 64 * 1024 + 2 * 17_000)
        # One message for all, and what the transports took for themselves.
        assert resident() - before < 100 * 2**20
        delays.sort()
        assert delays[len(delays) // 2] < 0.2, delays
        assert there.held == 0
        for connection in good:
            connection.close()
            await connection.wait_closed()
        for sock in bad:
            sock.close()


async def test_idle_connections_cost_little(record_property: Callable[[str, object], None]) -> None:
    count = 2000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2 * count + 200:
        pytest.skip("too few descriptors allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * count + 200), hard))
    async with site(websocket_ping_interval=30) as there:
        warm = [await there.raw() for _ in range(50)]
        gc.collect()
        before = resident()
        socks = [await there.raw() for _ in range(count)]
        gc.collect()
        cost = (resident() - before) / count
        assert len(there.application.live) == count + 50
        record_property("bytes_per_idle_connection", round(cost))
        print(f"{cost / 1024:.1f} KiB per idle connection, both ends")
        assert cost < 16 * 1024
        begin = time.perf_counter()
        broadcast(there.application.live, "to all")  # type: ignore[arg-type]
        assert time.perf_counter() - begin < 1.0
        for sock in warm + socks:
            sock.close()
        await until(lambda: not there.application.live)


async def test_storms_of_connections_that_are_reset() -> None:
    """At any moment: within the handshake, behind it, within a frame, while an answer is on its way."""
    rng = random.Random(5)
    frames = encode_frame(1, b"x" * 1000, mask=True) * 20

    async def one(there: Site, path: bytes) -> None:
        loop = asyncio.get_running_loop()
        sock = socket.socket()
        sock.setblocking(False)
        with contextlib.suppress(ConnectionError):
            await loop.sock_connect(sock, there.address)
            data = HANDSHAKE % path + frames
            at = rng.randrange(len(data))
            cut = rng.randrange(at + 1)
            await loop.sock_sendall(sock, data[:cut])
            if rng.random() < 0.5:
                await asyncio.sleep(0)
            await loop.sock_sendall(sock, data[cut:at])
            for _ in range(rng.randrange(5)):
                await asyncio.sleep(0)
        reset(sock)

    async with site() as there:
        for _ in range(30):
            await asyncio.gather(*(one(there, rng.choice([b"/echo", b"/slow"])) for _ in range(50)))
        async with websocket_connect(there.url + "/echo") as connection:
            await connection.write_message("still there?")
            assert await connection.read_message() == "still there?"
        await until(lambda: not there.server._connections)


async def test_handshakes_that_never_finish() -> None:
    async with site({"header_timeout": 1.0}) as there:
        loop = asyncio.get_running_loop()
        socks = []
        for _ in range(500):
            sock = socket.socket()
            sock.setblocking(False)
            await loop.sock_connect(sock, there.address)
            await loop.sock_sendall(sock, (HANDSHAKE % b"/echo")[: random.Random(len(socks)).randrange(100)])
            socks.append(sock)
        async with websocket_connect(there.url + "/echo") as connection:
            await connection.write_message("served?")
            assert await connection.read_message() == "served?"
        await until(lambda: not there.server._connections)
        for sock in socks:
            sock.close()


async def flooded(
    there: Site, path: bytes, frames: bytes, seconds: float
) -> tuple[socket.socket, list[float], int]:
    """Send frames for that long without reading; how long others waited for their echoes, and what was kept."""
    loop = asyncio.get_running_loop()
    sock = await there.raw(path, receive=4096)
    over = False

    async def flood() -> None:
        with contextlib.suppress(ConnectionError):
            while not over:
                await loop.sock_sendall(sock, frames)

    flooding = asyncio.ensure_future(flood())
    delays = []
    kept = 0
    async with websocket_connect(there.url + "/echo") as other:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            begin = time.perf_counter()
            await other.write_message("hello")
            assert await other.read_message() == "hello"
            delays.append(time.perf_counter() - begin)
            handlers: list[Any] = list(there.application.live)
            kept = max(kept, there.held + sum(h.ws_connection.machine.pending for h in handlers))
    over = True
    flooding.cancel()
    await asyncio.gather(flooding, return_exceptions=True)
    return sock, sorted(delays), kept


FLOODS = {
    "pings": (b"/echo", encode_frame(9, b"x" * 100, mask=True) * 500),
    "small messages to async": (b"/slow", encode_frame(1, b"x" * 100, mask=True) * 500),
    "tiny messages to plain": (b"/echo", encode_frame(1, b"x", mask=True) * 5000),
    "big messages to plain": (b"/echo", encode_frame(2, bytes(100_000), mask=True) * 5),
    "fragments": (
        b"/echo",
        (encode_frame(1, b"", fin=False, mask=True) + encode_frame(0, b"x", mask=True)) * 2000,
    ),
    "pongs": (b"/echo", encode_frame(10, b"", mask=True) * 5000),
}


@pytest.mark.parametrize("flood", FLOODS)
async def test_floods_of_a_client_that_does_not_read(flood: str) -> None:
    path, frames = FLOODS[flood]
    async with site(websocket_max_queue_size=256 * 1024) as there:
        before = resident()
        sock, delays, kept = await flooded(there, path, frames, 3.0)
        assert kept < 2 * 2**20, kept
        assert resident() - before < 50 * 2**20
        assert delays[len(delays) // 2] < 0.1, delays
        sock.close()
        await until(lambda: not there.application.live)


async def test_every_message_of_a_flood_is_handled() -> None:
    async with site() as there, websocket_connect(there.url + "/slow") as connection:
        for _ in range(50_000):
            connection.write_message("x")
        connection.write_message("last")
        assert await connection.read_message() == "done"
