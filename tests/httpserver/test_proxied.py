"""Connections from proxies until their PROXY header has come: on a fake wire, and to a server with and without TLS."""

import asyncio
from typing import Any

import pytest

from webfw.httpserver.proxied import ProxyPreface, comes_from
from webfw.sansio.proxyline import ProxyHeader
from webfw.testing.fakes import FakeWire

LINE = b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n"
REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class Server:
    def __init__(self, timeout: float = 10.0) -> None:
        self.introduced: list[tuple[ProxyHeader, bytes]] = []
        self.gone = 0
        self.wire = FakeWire(asyncio.get_running_loop(), extra={"peername": ("127.0.0.1", 5)})
        self.preface = ProxyPreface(self.wire, timeout, self.introduce, self.lose)  # type: ignore[arg-type]

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
    with expect_log("webfw.general", "connection from .*127.0.0.1.* closed: no PROXY header"):
        server.wire.feed(REQUEST)
    assert server.wire.aborted
    assert server.introduced == []
    server.wire.lose()
    assert server.gone == 1


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
