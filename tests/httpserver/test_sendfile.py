"""Real files over real sockets: whole, slowly, cut short, and where the kernel cannot do it."""

import asyncio
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from webfw.httpserver import Exchange, HTTPServer
from webfw.httputil import HTTPHeaders
from webfw.iostream import StreamClosedError
from webfw.netutil import bind_sockets, bind_unix_socket

SIZE = 9_000_000
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files") / "large"
    path.write_bytes(b"".join(b"%08d" % n for n in range(SIZE // 8)))
    return path


class Server:
    """Answers each request by a coroutine of its own, and keeps how it ended."""

    def __init__(self, act: Callable[[Exchange], Awaitable[None]], **settings: Any) -> None:
        self.act = act
        self.ended: asyncio.Queue[BaseException | None] = asyncio.Queue()
        self.tasks: list[asyncio.Task[None]] = []
        self.exchanges: list[Exchange] = []
        self.server = HTTPServer(lambda request: None, **settings)
        self.server.begin = self.begin
        (sock,) = bind_sockets(0, "127.0.0.1")
        self.address = sock.getsockname()
        self.server.add_socket(sock)

    def begin(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)
        self.tasks.append(asyncio.ensure_future(self.run(exchange)))

    async def run(self, exchange: Exchange) -> None:
        try:
            await self.act(exchange)
        except BaseException as error:
            self.ended.put_nowait(error)
        else:
            self.ended.put_nowait(None)


def sending(path: Path, offset: int = 0, count: int = SIZE) -> Callable[[Exchange], Awaitable[None]]:
    async def act(exchange: Exchange) -> None:
        with path.open("rb") as file:
            exchange.write_headers(
                exchange.start_line(200, "OK"), HTTPHeaders({"Content-Length": str(count)})
            )
            await exchange.sendfile(file, offset, count)
        exchange.finish()
        exchange.finish()

    return act


async def client(address: Any) -> socket.socket:
    """A client whose receive buffer is small."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, address)
    return sock


async def read(sock: socket.socket, size: int) -> bytes:
    loop = asyncio.get_running_loop()
    got = bytearray()
    while len(got) < size:
        piece = await loop.sock_recv(sock, 1 << 18)
        if not piece:
            break
        got += piece
    return bytes(got)


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    sock.close()


@pytest.mark.parametrize(("offset", "count"), [(0, SIZE), (17, 4_000_000), (SIZE - 5, 5), (5, 0)])
async def test_whole_and_in_part(path: Path, offset: int, count: int) -> None:
    s = Server(sending(path, offset, count))
    sock = await client(s.address)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % count
    for _ in range(2):  # and the connection goes on
        await asyncio.get_running_loop().sock_sendall(sock, GET)
        got = await read(sock, len(head) + count)
        assert got.startswith(head)
        assert got[len(head) :] == path.read_bytes()[offset : offset + count]
        assert await s.ended.get() is None
        assert s.exchanges.pop().bytes_sent == count
    sock.close()
    await s.server.drain(1)


async def test_the_kernel_does_it_for_a_client_that_reads(path: Path, monkeypatch: Any) -> None:
    sent = 0

    def counted(*args: Any, real: Any = os.sendfile) -> int:
        nonlocal sent
        number: int = real(*args)
        sent += number
        return number

    monkeypatch.setattr(os, "sendfile", counted)
    s = Server(sending(path))
    reader, writer = await asyncio.open_connection(*s.address)
    writer.write(GET)
    await reader.readuntil(b"\r\n\r\n")
    assert await reader.readexactly(SIZE) == path.read_bytes()
    assert sent > SIZE / 2
    writer.close()
    await s.server.drain(1)


async def test_a_client_that_takes_nothing_holds_little_and_is_cut(path: Path) -> None:
    s = Server(sending(path), write_timeout=0.3, header_timeout=5)
    sock = await client(s.address)
    await asyncio.get_running_loop().sock_sendall(sock, GET)
    while not s.server._connections:
        await asyncio.sleep(0)
    (conn,) = s.server._connections
    held = 0
    while s.ended.empty():
        held = max(held, conn.wire.write_buffer_size)
        await asyncio.sleep(0.01)
    assert isinstance(await s.ended.get(), StreamClosedError)
    assert 0 < held <= 65536
    assert 0 < s.exchanges[0].bytes_sent < SIZE  # what was not taken does not count
    assert not s.server._connections
    sock.close()
    await s.server.drain(1)


@pytest.mark.parametrize("when", ["before", "while it is sent", "while it stalls"])
async def test_a_client_that_goes(path: Path, when: str) -> None:
    started = asyncio.Event()
    go_on = asyncio.Event()
    inner = sending(path)

    async def act(exchange: Exchange) -> None:
        started.set()
        await go_on.wait()
        await inner(exchange)

    s = Server(act)
    sock = await client(s.address)
    await asyncio.get_running_loop().sock_sendall(sock, GET)
    await started.wait()
    (conn,) = s.server._connections
    if when == "before":
        reset(sock)
        while s.server._connections:
            await asyncio.sleep(0.001)
        go_on.set()
    else:
        go_on.set()
        await read(sock, 100_000)
        if when == "while it stalls":
            while not conn.wire.write_buffer_size:
                await asyncio.sleep(0.001)
        reset(sock)
    assert isinstance(await s.ended.get(), StreamClosedError)
    while s.server._connections:
        await asyncio.sleep(0.001)
    await s.server.drain(1)


@pytest.mark.parametrize("kernel", [True, False])
async def test_a_file_that_became_shorter_cuts_the_connection(
    path: Path, tmp_path: Path, kernel: bool, monkeypatch: Any
) -> None:
    """Even where the handler goes on: what is sent next must not be taken for the rest of the file."""
    if not kernel:
        monkeypatch.delattr(os, "sendfile")
    short = tmp_path / "short"
    short.write_bytes(b"x" * 1000)

    async def act(exchange: Exchange) -> None:
        try:
            await sending(short, 0, 1001)(exchange)
        finally:
            exchange.finish()

    s = Server(act)
    sock = await client(s.address)
    await asyncio.get_running_loop().sock_sendall(sock, GET + GET)
    try:
        got = await read(sock, 1 << 20)
    except ConnectionError:
        got = b""
    assert got.count(b"HTTP/1.1") <= 1
    error = await s.ended.get()
    assert isinstance(error, OSError)
    assert "shorter than announced" in str(error)
    assert len(s.tasks) == 1
    sock.close()
    await s.server.drain(1)


async def test_a_cancelled_answer_cuts_the_connection(path: Path) -> None:
    s = Server(sending(path))
    sock = await client(s.address)
    await asyncio.get_running_loop().sock_sendall(sock, GET)
    await read(sock, 1000)
    s.tasks[0].cancel()
    assert isinstance(await s.ended.get(), asyncio.CancelledError)
    try:
        assert len(await read(sock, SIZE)) < SIZE
    except ConnectionError:
        pass
    sock.close()
    await s.server.drain(1)


async def test_a_file_that_the_kernel_cannot_send(path: Path, monkeypatch: Any) -> None:
    def refuse(*args: Any) -> int:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "sendfile", refuse)
    s = Server(sending(path))
    reader, writer = await asyncio.open_connection(*s.address)
    writer.write(GET)
    await reader.readuntil(b"\r\n\r\n")
    assert await reader.readexactly(SIZE) == path.read_bytes()
    writer.close()
    await s.server.drain(1)


async def test_a_platform_without_sendfile_and_pread(path: Path, monkeypatch: Any) -> None:
    monkeypatch.delattr(os, "sendfile")
    monkeypatch.delattr(os, "pread")
    s = Server(sending(path, 3, 500_000))
    reader, writer = await asyncio.open_connection(*s.address)
    writer.write(GET)
    await reader.readuntil(b"\r\n\r\n")
    assert await reader.readexactly(500_000) == path.read_bytes()[3:500_003]
    writer.close()
    await s.server.drain(1)


async def test_unix_sockets(path: Path, tmp_path: Path) -> None:
    s = Server(sending(path))
    s.server.add_socket(bind_unix_socket(str(tmp_path / "socket")))
    reader, writer = await asyncio.open_unix_connection(str(tmp_path / "socket"))
    writer.write(GET)
    await reader.readuntil(b"\r\n\r\n")
    assert await reader.readexactly(SIZE) == path.read_bytes()
    writer.close()
    await s.server.drain(1)


async def test_tls_goes_through_the_transport(path: Path) -> None:
    authority = trustme.CA()
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(theirs)
    ours = ssl.create_default_context()
    authority.configure_trust(ours)
    s = Server(sending(path), ssl_options=theirs)
    reader, writer = await asyncio.open_connection(*s.address, ssl=ours, server_hostname="localhost")
    writer.write(GET)
    await reader.readuntil(b"\r\n\r\n")
    assert await reader.readexactly(SIZE) == path.read_bytes()
    assert await s.ended.get() is None
    # And a client that goes while it is sent.
    writer.write(GET)
    await reader.readuntil(b"\r\n\r\n")
    writer.transport.abort()
    assert isinstance(await s.ended.get(), StreamClosedError)
    await s.server.drain(1)
