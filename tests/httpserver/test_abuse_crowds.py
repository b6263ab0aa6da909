"""More of `test_abuse`: crowds, uploads that are taken slowly, TLS that does not come, answers taken in sips."""

import asyncio
import contextlib
import os
import socket
import ssl
from typing import Any

import pytest
import trustme

from tests.httpserver.test_abuse import GET, LARGE, LIMITS, ended, site
from webfw.httpserver import Limits
from webfw.web import Application, RequestHandler, stream_request_body

resource = pytest.importorskip("resource")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(60),
    pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts descriptors in /proc"),
]


def resident() -> int:
    """Bytes of memory this process holds."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


async def begun(address: Any, data: bytes) -> socket.socket:
    """A client that says something, and no more."""
    sock = socket.socket()
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, address)
    await loop.sock_sendall(sock, data)
    return sock


@pytest.fixture
def descriptors() -> Any:
    """Room for both ends of five thousand connections, or as many as there may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    room = 12_000 if hard == resource.RLIM_INFINITY else min(12_000, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, room), hard))
    yield max(soft, room)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_five_thousand_heads_that_do_not_end(descriptors: int) -> None:
    number = min(5000, (descriptors - 1000) // 2)
    limits = Limits(header_timeout=4.0, linger_timeout=0.5, max_connections=0)
    async with site(limits=limits) as s:
        before = resident()
        socks = [await begun(s.address, b"GET / HTTP/1.1\r\nX: ") for _ in range(number)]
        while len(s.server._connections) < number:  # nobody's time is over yet
            await asyncio.sleep(0.01)
        assert resident() - before < number * 16 * 1024  # both ends
        answers = await asyncio.gather(*(ended(sock) for sock in socks))
        assert all(answer.startswith(b"HTTP/1.1 408 ") for answer in answers)


async def test_a_flood_ends_in_503(expect_log: Any) -> None:
    """Who is in, stays in, and is answered."""
    limits = Limits(max_connections=100, header_timeout=3.0, linger_timeout=0.3)
    with expect_log("webfw.general", "connections refused") as told:
        async with site(limits=limits) as s:
            loop = asyncio.get_running_loop()
            inside = await begun(s.address, GET)
            assert (await loop.sock_recv(inside, 1000)).startswith(b"HTTP/1.1 200 ")
            s.asking = False
            socks = [await begun(s.address, b"") for _ in range(90)]
            flood = [await begun(s.address, GET) for _ in range(300)]
            refused = [asyncio.ensure_future(ended(sock)) for sock in flood[50:]]
            while s.server.admission.refused < 200:
                await loop.sock_sendall(inside, GET)
                assert (await loop.sock_recv(inside, 1000)).startswith(b"HTTP/1.1 200 ")
            answers = await asyncio.gather(*refused)
            assert all(answer.startswith(b"HTTP/1.1 503 ") or not answer for answer in answers)
            assert sum(map(bool, answers)) > 200
            for sock in (inside, *socks, *flood):
                sock.close()
    assert len(told) < 10


async def test_a_hundred_fields_and_one_more() -> None:
    async with site() as s:
        fields = b"".join(b"X-%d: value\r\n" % n for n in range(98))
        head = b"GET /small HTTP/1.1\r\nHost: a\r\n" + fields
        loop = asyncio.get_running_loop()

        async def talk() -> bytes:
            sock = await begun(s.address, (head + b"X: 100\r\n\r\n") * 200)
            got = b""
            while got.count(b"HTTP/1.1 200 ") < 200:
                got += await loop.sock_recv(sock, 1 << 16)
            await loop.sock_sendall(sock, head + b"X: 100\r\nX: 101\r\n\r\n")
            return await ended(sock)

        answers = await asyncio.gather(*(talk() for _ in range(10)))
        assert all(answer.startswith(b"HTTP/1.1 431 ") for answer in answers)


async def test_answers_that_are_taken_in_sips() -> None:
    """Each takes a little in time, and holds its answer, until the rate is asked for."""
    limits = Limits(write_timeout=2.0, min_write_rate=20_000, write_grace=1.5)
    async with site(limits=limits) as s:
        loop = asyncio.get_running_loop()

        async def sip(sock: socket.socket) -> int:
            size = 0
            await loop.sock_sendall(sock, LARGE * 50)
            with contextlib.suppress(ConnectionError):
                while piece := await loop.sock_recv(sock, 400):
                    size += len(piece)
                    await asyncio.sleep(0.1)
            sock.close()
            return size

        async with asyncio.timeout(15):
            sizes = await asyncio.gather(*(sip(sock) for sock in await s.clients(50)))
        assert max(sizes) < 200_000  # of fifty million


@stream_request_body
class Slowly(RequestHandler):
    def prepare(self) -> None:
        self.size = 0

    async def data_received(self, chunk: bytes) -> None:
        self.size += len(chunk)
        await asyncio.sleep(0.001)

    def post(self) -> None:
        self.write(str(self.size))


class Small(RequestHandler):
    def get(self) -> None:
        self.write("0")


async def test_an_upload_that_is_taken_slowly() -> None:
    """What the handler has not taken stays with the client."""
    size = 64 << 20
    app = Application([("/upload", Slowly), ("/small", Small)], log_function=lambda handler: None)
    async with site(app=app, limits=LIMITS) as s:
        loop = asyncio.get_running_loop()
        head = b"POST /upload HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % size
        sock = await begun(s.address, head)
        piece = bytes(1 << 20)
        before = most = resident()
        for _ in range(size >> 20):
            await loop.sock_sendall(sock, piece)
            most = max(most, resident())
        assert (await ended(sock)).endswith(b"\r\n\r\n%d" % size)
        assert most - before < 8 << 20


async def test_handshakes_that_hang() -> None:
    authority = trustme.CA()
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(theirs)
    ours = ssl.create_default_context()
    authority.configure_trust(ours)
    limits = Limits(tls_handshake_timeout=1.5, idle_timeout=30.0)
    async with site(tls=ours, limits=limits, ssl_options=theirs) as s:
        before = resident()
        socks = [await begun(s.address, b"\x16\x03\x01\x02\x00"[: n % 6]) for n in range(500)]
        while len(s.server._handshakes) < 500:
            await asyncio.sleep(0.01)
        assert resident() - before < 500 * 512 * 1024  # asyncio's TLS has 256 KiB for each, uvloop's less
        assert set(await asyncio.gather(*(ended(sock) for sock in socks))) == {b""}
