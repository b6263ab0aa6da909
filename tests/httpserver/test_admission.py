"""Too many connections: who is counted, who is sent away and how, over real sockets; counting alone by itself."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from webfw.httpserver import HTTPServer, Limits, Observer
from webfw.httpserver import admission as admission_module
from webfw.httpserver.admission import Admission, by_descriptors, network_of
from webfw.httputil import HTTPHeaders, HTTPServerRequest
from webfw.netutil import bind_sockets, bind_unix_socket
from webfw.testing.fakes import FakeWire

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def hello(request: HTTPServerRequest) -> None:
    request.connection.respond(200, "OK", HTTPHeaders({"Content-Length": "5"}), b"hello")


class Site:
    """A server, and its clients."""

    def __init__(self, **settings: Any) -> None:
        self.server = HTTPServer(hello, **settings)
        (sock,) = bind_sockets(0, "127.0.0.1")
        self.port = int(sock.getsockname()[1])
        self.server.add_socket(sock)
        self.writers: list[asyncio.StreamWriter] = []

    async def client(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.append(writer)
        return reader, writer

    async def served(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A client that has had one answer, and stays."""
        reader, writer = await self.client()
        writer.write(GET)
        assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200 ")
        return reader, writer

    async def refused(self, request: bytes = b"") -> bytes:
        """What a client gets that is one too many."""
        reader, writer = await self.client()
        writer.write(request)
        return await reader.read()

    async def until(self, connections: int) -> None:
        async with asyncio.timeout(5):
            while len(self.server._connections) != connections:
                await asyncio.sleep(0.001)

    async def end(self) -> None:
        for writer in self.writers:
            writer.close()
        await self.server.drain(0)


# --- in all ---


@pytest.mark.parametrize(
    "request_", [b"", GET, b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n" + b"x" * 200_000]
)
async def test_one_too_many_is_told_so(request_: bytes, expect_log: Any) -> None:
    """Whatever it says, and before it says anything."""
    site = Site(max_connections=2)
    first = await site.served()
    await site.served()
    with expect_log("webfw.general", r"connections refused: 1 \(max_connections is 2\); the last from 127"):
        answer = await site.refused(request_)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nConnection: close" in head
    assert b"\r\nRetry-After: 1" in head
    assert b"\r\nContent-Length: %d" % len(body) in head
    assert site.server.load() == {"connections": 2, "in_flight": 0, "refused": 1}
    first[1].write(GET)  # those that are there are served
    assert await first[0].readuntil(b"hello")
    await site.end()


async def test_when_one_leaves_there_is_room(expect_log: Any) -> None:
    site = Site(max_connections=1)
    _, writer = await site.served()
    with expect_log("webfw.general", "connections refused"):
        assert b" 503 " in await site.refused()
    writer.close()
    await site.until(0)
    await site.served()
    await site.end()


async def test_zero_is_any_number() -> None:
    site = Site(max_connections=0)
    for _ in range(20):
        await site.served()
    await site.end()


async def test_what_is_sent_by_who_was_refused_is_dropped_up_to_a_limit(expect_log: Any) -> None:
    site = Site(limits=Limits(max_connections=1, linger_size=100_000, linger_timeout=60))
    await site.served()
    with expect_log("webfw.general", "connections refused"):
        reader, writer = await site.client()
        assert (await reader.readuntil(b"connections\n")).startswith(b"HTTP/1.1 503 ")
    assert len(site.server.admission._leaving) == 1

    async def pour() -> None:
        while True:
            writer.write(b"x" * 10_000)
            await writer.drain()

    async with asyncio.timeout(5):
        with pytest.raises(ConnectionError):
            await pour()
    assert not site.server.admission._leaving
    await site.end()


async def test_who_was_refused_and_stays_is_cut(expect_log: Any) -> None:
    site = Site(limits=Limits(max_connections=1, linger_timeout=0.05))
    await site.served()
    with expect_log("webfw.general", "connections refused"):
        reader, _ = await site.client()
        assert b" 503 " in await reader.read()
    async with asyncio.timeout(5):
        while site.server.admission._leaving:
            await asyncio.sleep(0.01)
    await site.end()


async def test_few_are_sent_away_politely_at_a_time(expect_log: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(limits=Limits(max_connections=1, linger_timeout=60))
    site.server.admission._most_leaving = 3
    await site.served()
    with expect_log("webfw.general", "connections refused"):
        for _ in range(10):
            reader, _ = await site.client()
            assert await reader.readuntil(b"connections\n")
            assert len(site.server.admission._leaving) <= 3
    assert len(site.server.admission._leaving) == 3
    await site.end()
    assert not site.server.admission._leaving


async def test_observers_are_told(expect_log: Any) -> None:
    class Watch(Observer):
        seen: list[str] = []

        def turned_away(self, limit: str) -> None:
            self.seen.append(limit)

    site = Site(max_connections=2, max_connections_per_address=1, observer=Watch())
    await site.served()
    with expect_log("webfw.general", "connections refused"):
        await site.refused()
    assert Watch.seen == ["max_connections_per_address"]
    await site.end()


# --- with TLS ---


@pytest.fixture
def tls() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


async def test_handshakes_count_and_who_is_too_many_gets_none(
    tls: tuple[ssl.SSLContext, ssl.SSLContext], expect_log: Any
) -> None:
    site = Site(max_connections=3, ssl_options=tls[0])
    for _ in range(2):
        await site.client()  # which never begins
    async with asyncio.timeout(5):
        while len(site.server._handshakes) < 2:
            await asyncio.sleep(0.001)
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", site.port, ssl=tls[1], server_hostname="localhost"
    )
    writer.write(GET)
    assert await reader.readuntil(b"hello")
    with expect_log("webfw.general", "connections refused"), pytest.raises((ConnectionError, ssl.SSLError)):
        await asyncio.open_connection("127.0.0.1", site.port, ssl=tls[1], server_hostname="localhost")
    writer.transport.abort()
    await site.end()
    assert not site.server._handshakes


async def test_a_failed_handshake_gives_its_place_back(tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    site = Site(max_connections=1, max_connections_per_address=1, ssl_options=tls[0])
    for _ in range(3):
        reader, writer = await site.client()
        writer.write(b"no TLS at all\r\n\r\n")
        try:
            await reader.read()
        except ConnectionError:
            pass
        async with asyncio.timeout(5):
            while site.server._handshakes:
                await asyncio.sleep(0.001)
    assert site.server.admission.refused == 0
    assert not site.server.admission._counts
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", site.port, ssl=tls[1], server_hostname="localhost"
    )
    writer.write(GET)
    assert await reader.readuntil(b"hello")
    assert site.server.admission._counts == {"127.0.0.1": 1}
    writer.transport.abort()
    await site.until(0)
    assert not site.server.admission._counts
    await site.end()


# --- of one address ---


async def test_one_address_may_have_so_many(expect_log: Any) -> None:
    site = Site(max_connections_per_address=2)
    _, writer = await site.served()
    await site.served()
    pattern = r"connections refused: 1 \(max_connections_per_address is 2\)"
    with expect_log("webfw.general", pattern):
        assert b" 503 " in await site.refused()
    writer.close()
    await site.until(1)
    await site.served()
    await site.end()
    assert not site.server.admission._counts
    assert not site.server.admission._networks


async def test_another_protocol_counts_on() -> None:
    """A connection that was upgraded is one still; one that was given away is the server's no longer."""

    class Quiet:
        def connected(self, wire: Any, gone: Any) -> None:
            self.wire, self.gone = wire, gone

        def data_received(self, data: bytes) -> None:
            pass

        def eof_received(self) -> bool:
            return False

        def connection_lost(self, exc: Exception | None) -> None:
            self.gone()

        def resume_writing(self) -> None:
            pass

        def close_when_idle(self) -> None:
            self.wire.close()

        abort = close_when_idle

    class App:
        def begin(self, exchange: Any) -> None:
            exchange.hand_over(Quiet())

    server = HTTPServer(App(), max_connections_per_address=5)  # type: ignore[arg-type]
    (sock,) = bind_sockets(0, "127.0.0.1")
    server.add_socket(sock)
    _, writer = await asyncio.open_connection(*sock.getsockname())
    writer.write(GET)
    async with asyncio.timeout(5):
        while not any(isinstance(one, Quiet) for one in server._connections):
            await asyncio.sleep(0.001)
        assert server.admission._counts == {"127.0.0.1": 1}
        writer.close()
        while server.admission._counts:
            await asyncio.sleep(0.001)
    await server.drain(0)


@pytest.mark.parametrize(
    "settings", [{"trusted_downstream": ["127.0.0.1"]}, {"xheaders": True}], ids=["trusted", "any proxy"]
)
async def test_a_proxy_is_not_cut(settings: dict[str, Any]) -> None:
    site = Site(max_connections_per_address=1, **settings)
    for _ in range(5):
        await site.served()
    await site.end()


async def test_behind_known_proxies_others_are_counted(expect_log: Any) -> None:
    site = Site(max_connections_per_address=1, xheaders=True, trusted_downstream=["192.0.2.1"])
    await site.served()
    with expect_log("webfw.general", "connections refused"):
        assert b" 503 " in await site.refused()
    await site.end()


async def test_unix_sockets_have_no_addresses(tmp_path: Path) -> None:
    server = HTTPServer(hello, max_connections_per_address=1)
    server.add_socket(bind_unix_socket(str(tmp_path / "s")))
    clients = []
    for _ in range(3):
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        clients.append(writer)
        writer.write(GET)
        assert await reader.readuntil(b"hello")
    for writer in clients:
        writer.close()
    await server.drain(0)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2", True),
        ("no:address", "no:address", True),
    ],
)
def test_whom_an_address_stands_for(one: str, other: str, same: bool) -> None:
    assert (network_of(one) == network_of(other)) is same


async def test_ipv6_networks_are_counted(expect_log: Any) -> None:
    admission = Admission(Limits(max_connections=0, max_connections_per_address=2), frozenset())

    def come(host: str) -> bool:
        wire = FakeWire(asyncio.get_running_loop(), extra={"peername": (host, 1, 0, 0)})
        return admission.admit(wire, 0, False)  # type: ignore[arg-type]

    assert come("2001:db8::1")
    assert come("2001:db8::2")
    with expect_log("webfw.general", "connections refused"):
        assert not come("2001:db8::3")
    assert come("2001:db8:0:1::1")
    admission.close()


# --- by default ---


@pytest.mark.parametrize(
    ("limit", "most"),
    [
        (None, 0),
        (1, 1),
        (64, 32),
        (256, 192),
        (1024, 768),
        (4096, 3072),
        (20_000, 18_000),
        (1 << 20, (1 << 20) - 2000),
    ],
)
def test_there_is_room_for_other_descriptors(limit: int | None, most: int) -> None:
    assert by_descriptors(limit) == most


async def test_it_is_found_out_with_the_first_connection(
    monkeypatch: pytest.MonkeyPatch, expect_log: Any
) -> None:
    site = Site()
    monkeypatch.setattr(admission_module, "descriptor_limit", lambda: 3)
    await site.served()
    assert site.server.admission.most == 1
    with expect_log("webfw.general", r"connections refused: 1 \(max_connections is 1\)"):
        assert b" 503 " in await site.refused()
    await site.end()
