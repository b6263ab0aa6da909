"""An ASGI host made of queues, for tests of `ASGIAdapter`: it says what a test tells it to, and keeps what it hears."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from webfw.asgi.adapter import ASGIAdapter

Message = Any


def http_scope(
    method: str = "GET", path: str = "/", headers: Mapping[str, str] | None = None, **more: Any
) -> Any:
    """A scope as a host of HTTP/1.1 makes it; ``more`` adds to it, or takes away what is None."""
    path, _, query = path.partition("?")
    fields = {"host": "example.com", **(headers or {})}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in fields.items()],
        "client": ("192.0.2.7", 4711),
        "server": ("127.0.0.1", 8000),
        "state": {},
        "extensions": {},
        **more,
    }
    return {name: value for name, value in scope.items() if value is not None}


def websocket_scope(path: str = "/", headers: Mapping[str, str] | None = None, **more: Any) -> Any:
    """A scope of the type ``websocket``, as it comes over HTTP/2, without what belongs to HTTP/1's handshake."""
    more = {"scheme": "ws", "subprotocols": [], "extensions": {"websocket.http.response": {}}, **more}
    scope = http_scope("GET", path, headers, type="websocket", **more)
    del scope["method"]
    return scope


class Call:
    """One call of an application.

    :ivar sent: what it has sent so far.
    :ivar asked: how many times it has called ``receive``.
    """

    def __init__(self, app: ASGIAdapter, scope: Any, messages: Iterable[Message] = ()) -> None:
        self.app = app
        self.scope = scope
        self.sent: list[Message] = []
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: BaseException | None = None
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._news = asyncio.Event()
        for message in messages:
            self.say(message)

    def say(self, message: Message) -> None:
        """Have ``receive`` give a message, or raise an exception."""
        self._inbox.put_nowait(message)

    def body(self, data: bytes = b"", more: bool = False) -> None:
        self.say({"type": "http.request", "body": data, "more_body": more})

    def leave(self) -> None:
        self.say({"type": "http.disconnect"})

    async def receive(self) -> Message:
        self.asked += 1
        message = await self._inbox.get()
        if isinstance(message, Exception):
            raise message
        return message

    async def send(self, message: Message) -> None:
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        self.sent.append(message)
        self._news.set()

    async def run(self) -> "Call":
        await self.app(self.scope, self.receive, self.send)
        return self

    async def heard(self, count: int) -> list[Message]:
        """Wait until so many messages have been sent."""
        while len(self.sent) < count:
            self._news.clear()
            await self._news.wait()
        return self.sent

    # What came of it.

    @property
    def status(self) -> int:
        (start,) = [m for m in self.sent if m["type"].endswith(".response.start")]
        return start["status"]  # type: ignore[no-any-return]

    @property
    def headers(self) -> dict[str, str]:
        (start,) = [m for m in self.sent if m["type"].endswith(".response.start")]
        return {name.decode(): value.decode("latin-1") for name, value in start["headers"]}

    @property
    def content(self) -> bytes:
        bodies = [m for m in self.sent if m["type"].endswith(".response.body")]
        assert [m["more_body"] for m in bodies] == [True] * (len(bodies) - 1) + [False]
        return b"".join(m["body"] for m in bodies)


async def ask(
    app: ASGIAdapter, method: str = "GET", path: str = "/", body: bytes | None = None, **more: Any
) -> Call:
    """One request and its whole response."""
    headers = dict(more.pop("headers", {}))
    if body is not None:
        headers.setdefault("content-length", str(len(body)))
    call = Call(app, http_scope(method, path, headers, **more))
    call.body(body or b"")
    return await call.run()


@asynccontextmanager
async def running(call: Call) -> AsyncIterator[asyncio.Task[Call]]:
    """A call while a test talks with it; it must have ended by the end of the block, or be ended by the test."""
    task = asyncio.create_task(call.run())
    try:
        yield task
        await task
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait([task])


class Socket(Call):
    """A WebSocket that a host has opened."""

    def __init__(self, app: ASGIAdapter, path: str = "/", headers: Any = None, **more: Any) -> None:
        super().__init__(app, websocket_scope(path, headers, **more), [{"type": "websocket.connect"}])

    def text(self, text: str) -> None:
        self.say({"type": "websocket.receive", "text": text})

    def binary(self, data: bytes) -> None:
        self.say({"type": "websocket.receive", "bytes": data})

    def disconnect(self, code: int | None = 1000, reason: str = "") -> None:
        self.say({"type": "websocket.disconnect", "code": code, "reason": reason})
