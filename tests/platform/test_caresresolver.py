import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from webfw.netutil import Resolver
from webfw.platform.caresresolver import CaresResolver

pycares = pytest.importorskip("pycares")


class NameServer(asyncio.DatagramProtocol):
    """Answers every question for an A record with one address, and says that there is no name ``nobody``."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.silent = False
        self.question = asyncio.Event()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        end = data.index(b"\0", 12) + 5
        name, kind = data[12 : end - 4], data[end - 4 : end - 2]
        self.asked.append(name)
        self.question.set()
        if self.silent:
            return
        answer = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x07"  # 192.0.2.7
        rcode = b"\x81\x83" if b"nobody" in name else b"\x81\x80"
        there = kind == b"\x00\x01" and rcode == b"\x81\x80"
        head = data[:2] + rcode + b"\x00\x01" + (b"\x00\x01" if there else b"\x00\x00") + b"\0\0\0\0"
        self.transport.sendto(head + data[12:end] + (answer if there else b""), addr)


@asynccontextmanager
async def resolving(**options: Any) -> AsyncIterator[tuple[CaresResolver, NameServer]]:
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(NameServer, local_addr=("127.0.0.1", 0))
    resolver = CaresResolver()
    port = transport.get_extra_info("sockname")[1]
    resolver.channel.close()
    resolver.channel = pycares.Channel(
        sock_state_cb=resolver._sock_state, servers=[f"127.0.0.1:{port}"], **options
    )
    try:
        yield resolver, server
    finally:
        resolver.close()
        transport.close()
        await asyncio.sleep(0)
        assert resolver.fds == {}


async def asked(server: NameServer, asking: "asyncio.Task[Any]") -> None:
    """Wait until the server has been asked, and fail with what the resolver says if it will not be."""
    question = asyncio.ensure_future(server.question.wait())
    await asyncio.wait([question, asking], return_when=asyncio.FIRST_COMPLETED)
    question.cancel()
    if not server.question.is_set():
        asking.result()


async def test_a_name_is_asked_of_the_server() -> None:
    async with resolving() as (resolver, server):
        addresses = await resolver.resolve("a.example.test", 80)
        assert addresses == [(socket.AF_INET, ("192.0.2.7", 80))]
        assert server.asked[0].lower() == b"\x01a\x07example\x04test\x00"
        several = await asyncio.gather(*(resolver.resolve(f"n{n}.test", n) for n in range(1, 6)))
        assert [found[0][1] for found in several] == [("192.0.2.7", n) for n in range(1, 6)]


async def test_one_family() -> None:
    async with resolving() as (resolver, _):
        assert await resolver.resolve("a.test", 80, socket.AF_INET) == [(socket.AF_INET, ("192.0.2.7", 80))]


async def test_no_such_name() -> None:
    async with resolving() as (resolver, _):
        with pytest.raises(socket.gaierror, match=r"nobody\.test cannot be resolved: "):
            await resolver.resolve("nobody.test", 80)


async def test_a_server_that_does_not_answer() -> None:
    async with resolving(timeout=0.05, tries=1) as (resolver, server):
        server.silent = True
        with pytest.raises(OSError, match="cannot be resolved"):
            await resolver.resolve("a.test", 80)


async def test_whoever_stops_waiting_disturbs_nobody() -> None:
    async with resolving() as (resolver, server):
        server.silent = True
        asking = asyncio.ensure_future(resolver.resolve("a.test", 80))
        await asked(server, asking)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        server.silent = False
        assert await resolver.resolve("b.test", 80)


async def test_close_fails_what_waits() -> None:
    async with resolving() as (resolver, server):
        server.silent = True
        asking = asyncio.ensure_future(resolver.resolve("a.test", 80))
        await asked(server, asking)
        resolver.close()
        with pytest.raises(OSError, match="cannot be resolved"):
            await asking


@pytest.mark.parametrize(("host", "address"), [("127.0.0.1", ("127.0.0.1", 80)), ("::1", ("::1", 80, 0, 0))])
async def test_addresses_are_not_asked_for(host: str, address: Any) -> None:
    async with resolving() as (resolver, server):
        assert [found[1] for found in await resolver.resolve(host, 80)] == [address]
        assert server.asked == []


async def test_it_is_found_by_its_names() -> None:
    saved = Resolver._save_configuration()
    try:
        for name in ("webfw.platform.caresresolver.CaresResolver", CaresResolver):
            Resolver.configure(name)
            resolver = Resolver()
            assert isinstance(resolver, CaresResolver)
            resolver.close()
    finally:
        Resolver._restore_configuration(saved)


async def test_without_pycares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycares", None)
    with pytest.raises(ImportError, match="pip install pycares"):
        CaresResolver()
