"""For the tests of the doors to publish/subscribe: a broker that can be held up, and event streams taken apart."""

import asyncio
import json
from typing import Any

from tests.web.conftest import Answer, Site, request
from webfw.pubsub import Attachment, Listener, MemoryBroker


class HeldBroker(MemoryBroker):
    """Its ``attach`` waits for `gate`, and fails with `error`, when they are set.

    :ivar listening: how many listen now.
    """

    gate: asyncio.Future[None] | None = None
    error: Exception | None = None

    async def attach(self, listener: Listener, channel: str, *args: Any, **options: Any) -> Attachment:
        if self.gate is not None:
            await asyncio.shield(self.gate)
        if self.error is not None:
            raise self.error
        return await super().attach(listener, channel, *args, **options)

    def hold(self) -> None:
        self.gate = asyncio.get_running_loop().create_future()

    def let_go(self) -> None:
        assert self.gate is not None
        self.gate.set_result(None)

    @property
    def listening(self) -> int:
        return sum(len(entry.listeners) for entry in self._channels.values())


class EventParser:
    """The client's side of WHATWG HTML section 9.2.6, line by line as it stands there.

    :ivar events: ``(type, data, last event id)`` of each event that has been dispatched.
    """

    def __init__(self) -> None:
        self.events: list[tuple[str, str, str]] = []
        self.comments: list[str] = []
        self.retry: int | None = None
        self.last_id = ""
        self._rest = ""
        self._type = ""
        self._data: list[str] = []

    def feed(self, data: bytes) -> None:
        *lines, self._rest = (
            (self._rest + data.decode()).replace("\r\n", "\n").replace("\r", "\n").split("\n")
        )
        for line in lines:
            self._line(line)

    def _line(self, line: str) -> None:
        if not line:
            if self._data:
                self.events.append((self._type or "message", "\n".join(self._data), self.last_id))
            self._type, self._data = "", []
            return
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not field:
            self.comments.append(value)
        elif field == "event":
            self._type = value
        elif field == "data":
            self._data.append(value)
        elif field == "id" and "\0" not in value:
            self.last_id = value
        elif field == "retry" and value.isascii() and value.isdigit():
            self.retry = int(value)


def unchunk(data: bytes) -> tuple[bytes, bool]:
    """The content of a chunked body so far, and whether it has ended."""
    content = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            assert data == b"\r\n"
            return content, True
        assert data[length : length + 2] == b"\r\n"
        content += data[:length]
        data = data[length + 2 :]
    return content, False


class Stream:
    """An event stream on a fake wire.

    :ivar answer: the head of the response; None before it has come.
    :ivar ended: whether it has ended in good order.
    """

    def __init__(self, site: Site) -> None:
        self.site = site
        self.answer: Answer | None = None
        self.parser = EventParser()
        self.content = b""
        self.ended = False

    async def open(self, path: str = "/", **fields: str) -> "Stream":
        self.take(await self.site.send(request(path, **fields)))
        return self

    def take(self, data: bytes) -> None:
        if self.answer is None and data:
            head, end, data = data.partition(b"\r\n\r\n")
            self.answer = Answer(head + end)
        if self.answer is not None and "Transfer-Encoding" in self.answer.headers:
            content, self.ended = unchunk(data)
            self.content += content
            self.parser.feed(content)
        elif self.answer is not None:
            self.answer.body += data

    async def settle(self) -> list[Any]:
        """What has come since the last time: the data of the events, as JSON where it is."""
        self.take(await self.site.settle())
        return self.new()

    async def pass_time(self, seconds: float) -> list[Any]:
        self.take(await self.site.pass_time(seconds))
        return self.new()

    def new(self) -> list[Any]:
        events, self.parser.events = self.parser.events, []
        return [_value(data) for _, data, _ in events]


def _value(data: str) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return data
