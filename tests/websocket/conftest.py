"""A WebSocket on a fake wire: a client's machine talks to a handler, and time passes when told."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.web.conftest import Answer, Sites
from webfw.sansio.websocket import Deflate, DeflateParameters, Event, Machine

HANDSHAKE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec_WebSocket_Version": "13",
    "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


class Peer:
    """One client of a site.

    :ivar answer: what the handshake was answered.
    :ivar machine: the client's side of the protocol.
    """

    def __init__(self, site: Any) -> None:
        self.site = site
        self.wire = site.wire
        self.machine = Machine(server=False)
        self.answer: Answer | None = None

    @property
    def handler(self) -> Any:
        """The one handler that is connected."""
        (handler,) = self.site.application.live
        return handler

    async def open(self, path: str = "/", *, early: bytes = b"", **fields: str) -> list[Event]:
        """Send the handshake, with ``early`` behind it in the same read; what the server has sent behind its own."""
        self.wire.feed(Sites.request(path, **{**HANDSHAKE, **fields}) + early)
        self.wire.drain()
        sent = await self.site.settle()
        head, end, rest = sent.partition(b"\r\n\r\n")
        self.answer = Answer(head + end)
        if self.answer.status == 101:
            if "permessage-deflate" in self.answer.headers.get("Sec-WebSocket-Extensions", ""):
                self.machine = Machine(server=False, deflate=Deflate(DeflateParameters(), server=False))
            return self._events(rest)
        self.answer.body = rest
        return []

    async def send(self, *messages: str | bytes) -> list[Event]:
        """Send messages in one read; what the server has sent since the last time."""
        return await self.raw(
            b"".join(self.machine.encode_message(m, isinstance(m, bytes)) for m in messages)
        )

    async def close(self, code: int | None = None, reason: str = "") -> list[Event]:
        return await self.raw(self.machine.encode_close(code, reason))

    async def raw(self, data: bytes) -> list[Event]:
        return self._events(await self.site.send(data))

    async def settle(self) -> list[Event]:
        return self._events(await self.site.settle())

    async def pass_time(self, seconds: float) -> list[Event]:
        return self._events(await self.site.pass_time(seconds))

    async def drain(self) -> list[Event]:
        """Take everything that waits for this client."""
        while self.wire.write_paused:
            self.wire.drain()
        return await self.settle()

    def _events(self, data: bytes) -> list[Event]:
        self.machine.feed(data)
        events = []
        while (event := self.machine.next_event()) is not None:
            events.append(event)
        return events


@pytest.fixture
def peer() -> Iterator[Any]:
    """``peer(handler, **settings)`` is a client of that handler; ``await it.open()`` connects it."""
    sites = Sites()
    yield lambda *args, **settings: Peer(sites(*args, **settings))
    sites.end()
