"""Clients that mean no good, many at once, over real sockets: a normal one is answered meanwhile, and nothing stays."""

import asyncio
import gc
import os
import random
import socket
import ssl
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from webfw.httpserver import HTTPServer, Limits
from webfw.httputil import HTTPHeaders, HTTPServerRequest
from webfw.netutil import bind_sockets

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts descriptors in /proc"),
]

GET = b"GET /small HTTP/1.1\r\nHost: a\r\n\r\n"
LARGE = b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n"
BODY = os.urandom(1 << 20)

#: All times short, so that the test is; all else as it is by default.
LIMITS = Limits(
    header_timeout=1.0,
    idle_timeout=30.0,
    body_grace=1.0,
    write_timeout=1.0,
    linger_timeout=0.5,
)


def application(request: HTTPServerRequest) -> None:
    body = BODY if request.path == "/large" else b"%d" % len(request.body)
    request.connection.respond(200, "OK", HTTPHeaders({"Content-Length": str(len(body))}), body)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


class Site:
    """A server, its normal client, and the descriptors there were before."""

    def __init__(self, app: Any = application, limits: Limits = LIMITS, **settings: Any) -> None:
        self.server = HTTPServer(app, limits=limits, **settings)
        (sock,) = bind_sockets(0, "127.0.0.1", backlog=2048)
        self.address = sock.getsockname()
        self.server.add_socket(sock)
        self.slowest = 0.0
        #: Whether the normal client goes on.
        self.asking = True
        #: With which the normal client asks, where that is to be TLS.
        self.tls: ssl.SSLContext | None = None

    async def client(self) -> socket.socket:
        sock = socket.socket()
        sock.setblocking(False)
        # Little room, so that it is soon that a server can send no more.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await asyncio.get_running_loop().sock_connect(sock, self.address)
        return sock

    async def clients(self, number: int) -> list[socket.socket]:
        return [await self.client() for _ in range(number)]

    async def ask(self) -> None:
        """One request of a client that means well, and how long it took."""
        began = time.monotonic()
        tls = {} if self.tls is None else {"ssl": self.tls, "server_hostname": "localhost"}
        reader, writer = await asyncio.open_connection(*self.address, **tls)
        writer.write(GET)
        assert await reader.readuntil(b"\r\n\r\n0") != b""
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        self.slowest = max(self.slowest, time.monotonic() - began)

    async def until_gone(self) -> None:
        async with asyncio.timeout(10):
            while self.server._connections or self.server._handshakes or self.server.admission._leaving:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def site(tls: Any = None, **settings: Any) -> AsyncIterator[Site]:
    """Whatever happens inside, afterwards there are as many descriptors as before."""
    site = Site(**settings)
    site.tls = tls
    await asyncio.sleep(0)
    await site.ask()
    await site.until_gone()
    before = descriptors()

    async def keep_asking() -> None:
        while site.asking:
            await site.ask()
            await asyncio.sleep(0.02)

    normal = asyncio.ensure_future(keep_asking())
    try:
        yield site
    finally:
        site.asking = False
        await normal
        try:
            await site.until_gone()
        finally:
            await site.server.drain(0)
    gc.collect()
    assert descriptors() == before - 1  # the listening one
    assert site.slowest < 2, "the normal client had to wait"


async def ended(sock: socket.socket) -> bytes:
    """What a client still gets, until the server ends the connection."""
    loop = asyncio.get_running_loop()
    got = bytearray()
    try:
        while piece := await loop.sock_recv(sock, 1 << 16):
            got += piece
    except ConnectionError:
        pass
    sock.close()
    return bytes(got)


async def trickle(sock: socket.socket, data: Iterable[bytes], pause: float) -> bytes:
    """Send a little at a time until the server has had enough; what it said."""
    loop = asyncio.get_running_loop()
    try:
        for piece in data:
            await loop.sock_sendall(sock, piece)
            await asyncio.sleep(pause)
    except ConnectionError:
        pass
    return await ended(sock)


async def test_slow_heads() -> None:
    async with site() as s:
        head = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 1000
        socks = await s.clients(500)
        answers = await asyncio.gather(
            *(trickle(sock, (head[at : at + 1] for at in range(15)), 0.15) for sock in socks[:400]),
            *(ended(sock) for sock in socks[400:]),  # and some that say nothing
        )
        assert all(answer.startswith(b"HTTP/1.1 408 ") for answer in answers[:400])
        assert all(answer == b"" for answer in answers[400:])


async def test_slow_bodies() -> None:
    async with site() as s:
        head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"
        fast = head + b"x" * 50_000  # which does not buy time
        chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        kinds = ((head, b"x"), (fast, b"x"), (chunked, b"1\r\nx\r\n"), (head, b"")) * 25
        socks = await s.clients(len(kinds))
        answers = await asyncio.gather(
            *(
                trickle(sock, [begin, *[piece] * 25], 0.1)
                for sock, (begin, piece) in zip(socks, kinds, strict=True)
            )
        )
        assert len(answers) == 100
        assert all(answer.startswith(b"HTTP/1.1 408 ") for answer in answers)


async def test_slow_readers() -> None:
    """Each of them may hold one answer, however many it asks for."""
    async with site() as s:
        socks = await s.clients(100)
        tracemalloc.start()
        try:
            for sock in socks:
                await asyncio.get_running_loop().sock_sendall(sock, LARGE * 50)
            highest = 0
            while len(s.server._connections) > 1:
                highest = max(highest, tracemalloc.get_traced_memory()[0])
                await asyncio.sleep(0.05)
        finally:
            tracemalloc.stop()
        # What the kernel does not take of one answer; fifty for each would be five gigabytes.
        assert highest < 2 * 100 * len(BODY)
        for sock in socks:
            sock.close()


async def test_readers_that_are_only_slow() -> None:
    """Who takes something in time is served to the end."""
    async with site() as s:
        loop = asyncio.get_running_loop()

        async def read_slowly(sock: socket.socket) -> int:
            await loop.sock_sendall(sock, LARGE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            size = 0
            while piece := await loop.sock_recv(sock, 1 << 15):
                size += len(piece)
                await asyncio.sleep(0.05)
            sock.close()
            return size

        sizes = await asyncio.gather(*(read_slowly(sock) for sock in await s.clients(20)))
        assert all(size > len(BODY) for size in sizes)


async def test_long_pipelines() -> None:
    async with site() as s:
        loop = asyncio.get_running_loop()

        async def talk(sock: socket.socket) -> None:
            sending = asyncio.ensure_future(loop.sock_sendall(sock, GET * 1000))
            got = bytearray()
            while got.count(b"HTTP/1.1 200 OK") < 1000:
                piece = await loop.sock_recv(sock, 1 << 16)
                assert piece
                got += piece
            await sending
            sock.close()

        await asyncio.gather(*(talk(sock) for sock in await s.clients(20)))


async def test_pipelines_that_nobody_reads_the_answers_of() -> None:
    async with site() as s:
        loop = asyncio.get_running_loop()
        socks = await s.clients(20)

        async def pour(sock: socket.socket) -> int:
            """Send as much as is taken."""
            sent = 0
            try:
                while True:
                    await asyncio.wait_for(loop.sock_sendall(sock, GET * 1000), 0.5)
                    sent += len(GET) * 1000
            except (TimeoutError, ConnectionError):
                return sent

        tracemalloc.start()
        try:
            await asyncio.gather(*(pour(sock) for sock in socks))
            held = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        assert held < 20 * 500_000
        for sock in socks:
            sock.close()


async def test_chunks_of_one_byte() -> None:
    async with site() as s:
        loop = asyncio.get_running_loop()
        data = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        data += b"1\r\nx\r\n" * 50_000 + b"0\r\n\r\n"

        async def talk(sock: socket.socket, size: int) -> None:
            for at in range(0, len(data), size):
                await loop.sock_sendall(sock, data[at : at + size])
                await asyncio.sleep(0)
            got = b""
            while not got.endswith(b"\r\n\r\n50000"):
                got += await loop.sock_recv(sock, 1000)
            sock.close()

        await asyncio.gather(*(talk(sock, 100 + 5000 * n) for n, sock in enumerate(await s.clients(10))))


async def test_heads_of_one_byte_a_packet() -> None:
    async with site() as s:
        loop = asyncio.get_running_loop()
        head = b"GET /small HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 10_000 + b"\r\n\r\n"

        async def talk(sock: socket.socket) -> None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for at in range(len(head)):
                await loop.sock_sendall(sock, head[at : at + 1])
                if at % 100 == 0:
                    await asyncio.sleep(0)
            assert (await loop.sock_recv(sock, 1000)).startswith(b"HTTP/1.1 200 ")
            sock.close()

        await asyncio.gather(*(talk(sock) for sock in await s.clients(5)))


REQUESTS = [
    b"",
    b"GET / HT",
    GET,
    GET * 100,
    LARGE,
    LARGE * 10,
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n",
    b"BAD\r\n\r\n",
    b"BAD\r\n\r\n" + b"x" * 100_000,
]


async def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    sock.close()


async def close(sock: socket.socket) -> None:
    sock.close()


async def half_close(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_WR)
    except OSError:
        pass
    await ended(sock)


@pytest.mark.parametrize("leave", [reset, close, half_close])
async def test_connecting_and_leaving(leave: Callable[[socket.socket], Awaitable[None]]) -> None:
    chance = random.Random(5)

    async def visit(s: Site) -> None:
        sock = await s.client()
        data = chance.choice(REQUESTS)
        try:
            await asyncio.get_running_loop().sock_sendall(sock, data[: chance.randint(0, len(data))])
        except ConnectionError:
            pass
        if chance.random() < 0.5:
            await asyncio.sleep(chance.random() / 50)
        await leave(sock)

    async with site() as s:
        for _ in range(10):
            await asyncio.gather(*(visit(s) for _ in range(50)))


async def test_half_closed_clients_that_stay() -> None:
    """They have nothing more to ask, and do not go: who is owed nothing is closed, who takes nothing is cut."""
    async with site() as s:
        loop = asyncio.get_running_loop()
        socks = await s.clients(60)
        for n, sock in enumerate(socks):
            await loop.sock_sendall(sock, (b"", GET, LARGE * 5)[n % 3])
            sock.shutdown(socket.SHUT_WR)
        while len(s.server._connections) > 1:
            await asyncio.sleep(0.02)
        for sock in socks:
            sock.close()


async def test_memory_comes_back() -> None:
    """After a thousand of each kind of visit there is as much as after a hundred."""

    async def visit(s: Site, data: bytes) -> None:
        sock = await s.client()
        try:
            await asyncio.get_running_loop().sock_sendall(sock, data)
        except ConnectionError:
            pass
        await reset(sock)

    async def storm(s: Site, rounds: int) -> int:
        for _ in range(rounds):
            await asyncio.gather(*(visit(s, data) for data in REQUESTS))
        while len(s.server._connections) > 1:
            await asyncio.sleep(0.01)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    async with site() as s:
        tracemalloc.start()
        try:
            before = await storm(s, 10)
            after = await storm(s, 50)
        finally:
            tracemalloc.stop()
        assert after - before < 300_000


async def test_a_thousand_idle_connections(capsys: Any) -> None:
    async with site() as s:
        loop = asyncio.get_running_loop()
        socks = await s.clients(100)
        tracemalloc.start()
        try:
            for sock in socks:
                await loop.sock_sendall(sock, GET)
                await loop.sock_recv(sock, 1000)
            before = tracemalloc.get_traced_memory()[0]
            # The clients' side is made before, and not counted.
            more = [socket.socket() for _ in range(1000)]
            for sock in more:
                sock.setblocking(False)
            own = tracemalloc.get_traced_memory()[0] - before
            for sock in more:
                await loop.sock_connect(sock, s.address)
                await loop.sock_sendall(sock, GET)
                assert (await loop.sock_recv(sock, 1000)).startswith(b"HTTP/1.1 200")
            gc.collect()
            each = (tracemalloc.get_traced_memory()[0] - before - own) / 1000
        finally:
            tracemalloc.stop()
        with capsys.disabled():
            print(
                f" {each:.0f} bytes an idle connection on {type(loop).__module__},", end="", file=sys.stderr
            )
        assert each < 12_000
        for sock in socks + more:
            sock.close()
