"""An application on a fake wire: requests in, answers out, and time that passes when told."""

import asyncio
import gc
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from webfw.httpserver import HTTPServer
from webfw.httputil import HTTPHeaders
from webfw.ioloop import deadlines
from webfw.netutil import bind_sockets
from webfw.testing.fakes import FakeClock, FakeWire
from webfw.web import Application, RequestHandler


class Answer:
    """One answer, taken apart."""

    def __init__(self, data: bytes) -> None:
        head, _, self.body = data.partition(b"\r\n\r\n")
        line, _, fields = head.decode("latin-1").partition("\r\n")
        _, status, self.reason = line.split(" ", 2)
        self.status = int(status)
        self.headers = HTTPHeaders.from_fields(fields)


class _SweptLoop:
    """What a `deadlines.Sweeper` asks of a loop, with a clock of our own."""

    def __init__(self, clock: FakeClock) -> None:
        self.time = clock

    def call_at(self, when: float, callback: Callable[[], object]) -> "_SweptLoop":
        return self

    def cancel(self) -> None:
        pass


class Site:
    """One client's connection to a server with an application."""

    def __init__(self, application: Any, *, capacity: int | None = None, **server: Any) -> None:
        loop = asyncio.get_running_loop()
        self.clock = FakeClock()
        self.sweeper = deadlines._sweepers[loop] = deadlines.Sweeper(_SweptLoop(self.clock))  # type: ignore[arg-type]
        self.application = application
        self.server = HTTPServer(application, **server)
        self.wire = FakeWire(loop, capacity=capacity)
        self.server._serve(self.wire)  # type: ignore[arg-type]

    async def settle(self) -> bytes:
        """Let the loop turn until nothing moves any more; what the server has sent since the last time."""
        for _ in range(20):
            await asyncio.sleep(0)
        return self.wire.take()

    async def send(self, data: bytes) -> bytes:
        """Send bytes; what the server has answered once nothing moves any more."""
        self.wire.feed(data)
        return await self.settle()

    async def ask(
        self, path: str = "/", method: str = "GET", body: bytes | None = None, **fields: str
    ) -> Answer:
        """Send a request, whole."""
        return Answer(await self.send(request(path, method, body, **fields)))

    async def pass_time(self, seconds: float) -> bytes:
        """Let time pass, and the deadlines be swept."""
        self.clock.advance(seconds)
        self.sweeper._sweep()
        return await self.settle()


def request(path: str = "/", method: str = "GET", body: bytes | None = None, **fields: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: example.com"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    if body is not None and "Transfer_Encoding" not in fields and "Content_Length" not in fields:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


class Sites:
    """Makes sites, and ends them with the test."""

    request = staticmethod(request)
    Answer = Answer

    def __init__(self) -> None:
        self._made: list[Site] = []

    def __call__(
        self,
        handler: Any = None,
        *,
        server: dict[str, Any] | None = None,
        capacity: int | None = None,
        **settings: Any,
    ) -> Site:
        """A site with a handler at every path, or with a list of routes, or with any application."""
        application = handler
        if isinstance(handler, type) and issubclass(handler, RequestHandler):
            handler = [(r"/.*", handler)]
        if isinstance(handler, list):
            settings.setdefault("log_function", _no_log)
            application = Application(handler, **settings)
        self._made.append(Site(application, capacity=capacity, **(server or {})))
        return self._made[-1]

    def end(self) -> None:
        for site in self._made:
            site.wire.lose()
            deadlines._sweepers.pop(site.wire.loop, None)


def _no_log(handler: RequestHandler) -> None:
    """Write no access log: what a test asks for may well be an error."""


@pytest.fixture
def site() -> Iterator[Sites]:
    """``site(handler, **settings)`` serves a handler; ``await it.ask("/path")`` gives its answer."""
    sites = Sites()
    yield sites
    sites.end()


class Real:
    """A server on a real socket of this machine."""

    def __init__(self) -> None:
        self._servers: list[HTTPServer] = []

    async def __call__(self, application: Any, **server: Any) -> "Client":
        """Serve an application; a client that is connected to it."""
        http = HTTPServer(application, **server)
        sockets = bind_sockets(0, "127.0.0.1")
        http.add_sockets(sockets)
        self._servers.append(http)
        return Client(http, *await asyncio.open_connection("127.0.0.1", sockets[0].getsockname()[1]))

    def end(self) -> None:
        for server in self._servers:
            server.stop()


class Client:
    def __init__(
        self, server: HTTPServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.server, self.reader, self.writer = server, reader, writer

    async def ask(
        self, path: str = "/", method: str = "GET", body: bytes | None = None, **fields: str
    ) -> Answer:
        """Send a request and read its answer, which has a Content-Length."""
        self.writer.write(request(path, method, body, **fields))
        answer = Answer(await self.reader.readuntil(b"\r\n\r\n"))
        answer.body = await self.reader.readexactly(int(answer.headers["Content-Length"]))
        return answer

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()
        self.server.stop()
        await self.server.close_all_connections()


@pytest.fixture
def real() -> Iterator[Real]:
    """``await real(application)`` serves it on a real socket and gives a client that is connected."""
    servers = Real()
    yield servers
    servers.end()


@pytest.fixture
def no_cycles(site: Sites, tmp_path: Path) -> Callable[..., Awaitable[None]]:
    """``await no_cycles(handler, path=..., ...)`` fails if requests to a handler leave reference cycles behind."""
    (tmp_path / "page.html").write_text("{% for i in range(3) %}{{ i }}{{ request.path }}{% end %}")
    settings = {"template_path": str(tmp_path), "compress_response": True, "seen": []}

    async def check(kind: Any, **asked: Any) -> None:
        await site(kind, **settings).ask(**asked)
        gc.collect()
        gc.collect()  # the templates of the applications that went with the first
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            for _ in range(5):
                one = site(kind, **settings)
                await one.ask(**asked)
                one.wire.lose()
                await one.settle()
            gc.collect()
            ours = [thing for thing in gc.garbage if _is_ours(type(thing))]
        finally:
            gc.set_debug(0)
            gc.enable()
            gc.garbage.clear()
        assert [type(thing).__name__ for thing in ours] == []

    return check


def _is_ours(kind: type) -> bool:
    return kind.__module__.startswith(("webfw", "tests")) or issubclass(kind, RequestHandler)
