"""Connections from proxies until their PROXY header has come: on a fake wire, and to a server with and without TLS."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from webfw.httpserver import HTTPServer
from webfw.httpserver.proxied import ProxyPreface, comes_from, without_header
from webfw.httputil import HTTPHeaders, HTTPServerRequest
from webfw.netutil import bind_sockets, bind_unix_socket
from webfw.sansio.proxyline import ProxyHeader
from webfw.testing.fakes import FakeWire

LINE = b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n"
REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class Server:
    def __init__(self, timeout: float = 10.0) -> None:
        self.introduced: list[tuple[ProxyHeader, bytes]] = []
        self.gone = 0
        self.wire = FakeWire(asyncio.get_running_loop(), extra={"peername": ("127.0.0.1", 5)})
        wire: Any = self.wire
        self.preface = ProxyPreface(wire, timeout, self.introduce, self.lose, without_header())

    def introduce(self, preface: ProxyPreface, header: ProxyHeader, rest: bytes) -> None:
        assert preface is self.preface
        self.introduced.append((header, rest))

    def lose(self, preface: ProxyPreface) -> None:
        assert preface is self.preface
        self.gone += 1


async def test_whole_with_a_request_behind_it() -> None:
    server = Server()
    server.wire.feed(LINE + REQUEST)
    ((header, rest),) = server.introduced
    assert header.source == ("192.0.2.1", 56324)
    assert rest == REQUEST
    assert not server.wire.closing


async def test_byte_by_byte() -> None:
    server = Server()
    for octet in LINE:
        assert server.introduced == []
        server.wire.feed(bytes([octet]))
    assert [rest for _, rest in server.introduced] == [b""]


async def test_no_header(expect_log: Any) -> None:
    server = Server()
    with expect_log("webfw.general", "connection from 127.0.0.1 closed: no PROXY header"):
        server.wire.feed(REQUEST)
    assert server.wire.aborted
    assert server.introduced == []
    server.wire.lose()
    assert server.gone == 1


async def test_many_without_a_header_are_told_together(expect_log: Any) -> None:
    """A server set up without its proxy's header gets as many such connections as it has visitors."""
    wire: Any = FakeWire(asyncio.get_running_loop(), extra={"peername": ("192.0.2.1", 5)})
    faults = without_header()
    with expect_log("webfw.general", "connection from 192.0.2.1 closed: no PROXY header", count=1):
        for _ in range(20):
            faults.add(wire, "no PROXY header")
    with expect_log(
        "webfw.general", "connections closed: 19, the last from 192.0.2.1: no PROXY header", count=1
    ):
        faults._message(wire.loop)


async def test_too_slow(expect_log: Any) -> None:
    server = Server(0.02)
    with expect_log("webfw.general", "no PROXY header in time"):
        async with asyncio.timeout(5):
            while not server.wire.aborted:
                await asyncio.sleep(0.005)
    server.wire.lose()


async def test_proxy_that_says_nothing() -> None:
    server = Server(0)
    server.wire.feed(LINE[:5])
    server.wire.feed_eof()
    server.wire.lose()
    assert server.gone == 1


@pytest.mark.parametrize(
    ("peer", "proxy"),
    [(("10.0.0.1", 1), True), (("10.0.0.2", 1), False), (("::1", 1, 0, 0), True), ("", True), (None, True)],
)
async def test_who_is_a_proxy(peer: object, proxy: bool) -> None:
    wire: Any = FakeWire(asyncio.get_running_loop(), extra={"peername": peer})
    assert comes_from(wire, frozenset({"10.0.0.1", "::1"})) is proxy


# --- a whole server ---


def tell_client(request: HTTPServerRequest) -> None:
    body = f"{request.remote_ip} {request.protocol} {request.connection.context.address}".encode()
    request.connection.respond(200, "OK", HTTPHeaders({"Content-Length": str(len(body))}), body)


async def asked(port: int, sent: bytes, path: str | None = None, tls: ssl.SSLContext | None = None) -> bytes:
    """The body of the last answer to what is sent, `sent` before a TLS handshake where there is to be one."""
    if path is not None:
        reader, writer = await asyncio.open_unix_connection(path)
    else:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    if tls is not None:
        await writer.start_tls(tls, server_hostname="a.test")
    writer.write(REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    answer = await reader.read()
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return answer.rpartition(b"\r\n\r\n")[2]


@contextlib.asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[tuple[HTTPServer, int]]:
    server = HTTPServer(tell_client, proxy_protocol=True, **settings)
    (sock,) = bind_sockets(0, "127.0.0.1")
    server.add_socket(sock)
    try:
        yield server, sock.getsockname()[1]
    finally:
        server.stop()
        await server.close_all_connections()


V2_TLS = bytes.fromhex("0d0a0d0a000d0a515549540a2111 0014 c0000201 c6336402 dc04 01bb 20 0005 01 00000000")
LOCAL = b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (LINE, b"192.0.2.1 http ('192.0.2.1', 56324)"),
        (V2_TLS, b"192.0.2.1 https ('192.0.2.1', 56324)"),
        (b"PROXY UNKNOWN\r\n", b"127.0.0.1 http ('127.0.0.1', "),
        (LOCAL, b"127.0.0.1 http ('127.0.0.1', "),
        (LINE + REQUEST, b"192.0.2.1 http ('192.0.2.1', 56324)"),
    ],
)
async def test_server_knows_the_client(sent: bytes, expected: bytes) -> None:
    async with serving(trusted_downstream=["127.0.0.1"]) as (server, port):
        assert (await asked(port, sent)).startswith(expected)
        assert not server._clients


async def test_others_come_as_themselves() -> None:
    """Who is no proxy is asked for no header, and is not believed one."""
    async with serving(trusted_downstream=["192.0.2.7"]) as (_, port):
        assert (await asked(port, b"")).startswith(b"127.0.0.1 http")
        assert (await asked(port, LINE)).startswith(b"400 ")


async def test_proxy_without_a_header(expect_log: Any) -> None:
    async with serving(trusted_downstream=["127.0.0.1"]) as (server, port):
        with expect_log("webfw.general", "closed: no PROXY header"), contextlib.suppress(ConnectionError):
            assert await asked(port, b"") == b""
        async with asyncio.timeout(5):
            while server.load()["connections"]:
                await asyncio.sleep(0.001)


async def test_header_before_tls() -> None:
    authority = trustme.CA()
    ours, theirs = (ssl.SSLContext(kind) for kind in (ssl.PROTOCOL_TLS_CLIENT, ssl.PROTOCOL_TLS_SERVER))
    authority.configure_trust(ours)
    authority.issue_cert("a.test").configure_cert(theirs)
    async with serving(trusted_downstream=["127.0.0.1"], ssl_options=theirs) as (_, port):
        assert await asked(port, LINE, tls=ours) == b"192.0.2.1 https ('192.0.2.1', 56324)"


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix domain sockets")
async def test_over_a_unix_socket(tmp_path: Path) -> None:
    async with serving() as (server, _):
        path = str(tmp_path / "s")
        server.add_socket(bind_unix_socket(path))
        assert await asked(0, LINE, path) == b"192.0.2.1 http ('192.0.2.1', 56324)"


async def test_draining_does_not_wait_for_a_header() -> None:
    async with serving(trusted_downstream=["127.0.0.1"]) as (server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(LINE[:10])
        async with asyncio.timeout(5):
            while not server.load()["connections"]:
                await asyncio.sleep(0.001)
            assert await server.drain(5) == 0
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
