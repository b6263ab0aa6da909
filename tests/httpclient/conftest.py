"""A server that says what it is told, byte by byte, and remembers what it was asked."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from webfw.simple_httpclient import SimpleAsyncHTTPClient


class Call:
    """One connection to the server."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.reader = reader
        self.writer = writer

    async def head(self) -> str:
        """The head of the next request."""
        return (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")

    async def request(self) -> tuple[str, bytes]:
        """The next request: its head, and its body if it has a length."""
        head = await self.head()
        found = re.search(r"(?m)^Content-Length: (\d+)\r$", head)
        return head, await self.reader.readexactly(int(found[1])) if found else b""

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def answer(self, body: bytes = b"ok", status: str = "200 OK", **fields: str) -> None:
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
        self.send(f"HTTP/1.1 {status}\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body)


class Server:
    """A server on a port of its own.

    :ivar url: its address, without a path.
    :ivar calls: the connections there have been.
    :ivar heads: of all requests that `answer_all` has answered.
    """

    def __init__(self, talk: Callable[[Call], Awaitable[None]] | None) -> None:
        self.talk = talk or self.answer_all
        self.calls: list[Call] = []
        self.heads: list[str] = []
        self.bodies: list[bytes] = []
        self.url = ""
        self.port = 0
        self.tasks: set[asyncio.Task[Any]] = set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        call = Call(len(self.calls), reader, writer)
        self.calls.append(call)
        try:
            await self.talk(call)
        except (asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
            pass
        finally:
            self.tasks.discard(task)
            writer.transport.abort()

    async def answer_all(self, call: Call) -> None:
        while True:
            head, body = await call.request()
            self.heads.append(head)
            self.bodies.append(body)
            call.answer(head.split()[1].encode())

    async def end(self) -> None:
        for task in list(self.tasks):
            task.cancel()
        while self.tasks:
            await asyncio.sleep(0)
        for _ in range(3):
            await asyncio.sleep(0)


@asynccontextmanager
async def serving(
    talk: Callable[[Call], Awaitable[None]] | None = None,
    *,
    context: ssl.SSLContext | None = None,
    path: str | None = None,
) -> AsyncIterator[Server]:
    """Serve, over TLS with a context, or on a Unix domain socket."""
    server = Server(talk)
    if path is not None:
        listening = await asyncio.start_unix_server(server.accept, path)
    else:
        listening = await asyncio.start_server(server.accept, "127.0.0.1", 0, ssl=context)
        server.port = listening.sockets[0].getsockname()[1]
        server.url = f"{'https://localhost' if context else 'http://127.0.0.1'}:{server.port}"
    try:
        yield server
    finally:
        # asyncio leaves open whom it is just accepting, and a task that has not begun knows nobody.
        for _ in range(5):
            await asyncio.sleep(0)
        listening.close()
        await server.end()


@asynccontextmanager
async def using(**kwargs: Any) -> AsyncIterator[SimpleAsyncHTTPClient]:
    """A client of one's own, closed at the end."""
    client = SimpleAsyncHTTPClient(force_instance=True, **kwargs)
    try:
        yield client
    finally:
        client.close()
        for _ in range(3):
            await asyncio.sleep(0)


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture(scope="session")
def ca_certs(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)
