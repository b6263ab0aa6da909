"""WSGI applications on a real socket, in each of the ways to run them."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any
from wsgiref.validate import validator

import pytest

from webfw.httpserver import HTTPServer
from webfw.httputil import HTTPHeaders
from webfw.netutil import bind_sockets
from webfw.wsgi import WSGIContainer

MODES = ["inline", "threads", "executor"]


class Answer:
    """One answer, read from a connection as far as it came."""

    def __init__(self, head: bytes) -> None:
        line, _, fields = head.decode("latin-1").partition("\r\n")
        self.version, status, self.reason = line.split(" ", 2)
        self.status = int(status)
        self.headers = HTTPHeaders.from_fields(fields)
        self.body = b""
        self.cut = False
        self.interim: list[Answer] = []


class Client:
    """A connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def ask(
        self, path: str = "/", method: str = "GET", body: bytes | None = None, **fields: str
    ) -> Answer:
        self.send(request(path, method, body, **fields))
        return await self.answer(method)

    async def answer(self, method: str = "GET") -> Answer:
        """Read one answer."""
        interim = []
        while True:
            answer = Answer((await self.reader.readuntil(b"\r\n\r\n"))[:-2])
            if answer.status >= 200:
                break
            interim.append(answer)
        answer.interim = interim
        if method != "HEAD" and answer.status not in (204, 304):
            try:
                await self._body(answer)
            except (asyncio.IncompleteReadError, ConnectionError) as error:
                answer.cut = True
                answer.body += getattr(error, "partial", b"")
        return answer

    async def _body(self, answer: Answer) -> None:
        if answer.headers.get("Transfer-Encoding") == "chunked":
            body = bytearray()
            try:
                while size := int(await self.reader.readuntil(b"\r\n"), 16):
                    body += await self.reader.readexactly(size)
                    assert await self.reader.readexactly(2) == b"\r\n"
            finally:
                answer.body = bytes(body)
            assert await self.reader.readexactly(2) == b"\r\n"
        elif "Content-Length" in answer.headers:
            answer.body = await self.reader.readexactly(int(answer.headers["Content-Length"]))
        else:
            answer.body = await self.reader.read()

    async def rest(self) -> bytes:
        """What comes until the server closes."""
        data = b""
        try:
            while piece := await self.reader.read(65536):
                data += piece
        except ConnectionError:
            pass
        return data

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            pass

    def reset(self) -> None:
        """Cut the connection, so that the other side learns at once that nobody is there."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.writer.transport.abort()


def request(path: str = "/", method: str = "GET", body: bytes | None = None, **fields: str) -> bytes:
    fields = {"Host": "example.com"} | fields
    lines = [f"{method} {path} HTTP/1.1"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    if body is not None and "Transfer_Encoding" not in fields:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


class Served:
    """A server with an application."""

    def __init__(self, target: Any, container: WSGIContainer, **server: Any) -> None:
        self.container = container
        self.server = HTTPServer(target, **server)
        sockets = bind_sockets(0, "127.0.0.1")
        self.server.add_sockets(sockets)
        self.port = sockets[0].getsockname()[1]
        self.log: list[int] = []
        container.settings["log_function"] = lambda entry: self.log.append(entry.get_status())
        self.clients: list[Client] = []

    async def connect(self, **options: Any) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port, **options))
        self.clients.append(client)
        return client

    async def ask(self, path: str = "/", method: str = "GET", body: bytes | None = None, **f: str) -> Answer:
        """Ask on a connection of its own."""
        client = await self.connect()
        answer = await client.ask(path, method, body, **f)
        await client.close()
        return answer

    async def logged(self, count: int) -> list[int]:
        """The statuses in the access log, once there are so many."""
        await until(lambda: len(self.log) >= count)
        return self.log

    async def end(self) -> None:
        for client in self.clients:
            await client.close()
        self.server.stop()
        await self.server.close_all_connections()
        pool = self.container._pool
        self.container.close()
        if pool is not None:
            await asyncio.to_thread(pool.join, 10)
            assert not pool._threads
            assert pool.busy == 0
        await until(lambda: not self.container._tasks)
        await until(lambda: self.container._waiting == 0)


async def until(condition: Callable[[], Any]) -> None:
    """Wait until something holds that other threads bring about; the test's own time limit ends it."""
    while not condition():
        await asyncio.sleep(0.001)


Serve = Callable[..., Any]


@pytest.fixture
def executors() -> Iterator[Callable[[int], ThreadPoolExecutor]]:
    made: list[ThreadPoolExecutor] = []

    def make(threads: int = 4) -> ThreadPoolExecutor:
        made.append(ThreadPoolExecutor(threads))
        return made[-1]

    yield make
    for executor in made:
        executor.shutdown()


@pytest.fixture
def serve(executors: Any) -> Serve:
    """``async with serve(app, mode, **options) as served`` runs an application, behind the validator of the PEP.

    :param wrong: the application breaks the PEP, and is not put behind the validator.
    :param around: makes what the server calls of the container.
    :param server: options of the server.
    """

    @asynccontextmanager
    async def serving(
        app: Any,
        mode: str = "threads",
        *,
        wrong: bool = False,
        around: Callable[[WSGIContainer], Any] = lambda container: container,
        server: dict[str, Any] | None = None,
        **options: Any,
    ) -> AsyncIterator[Served]:
        if mode == "inline":
            options["threads"] = 0
        elif mode == "executor":
            options["executor"] = executors(4)
        container = WSGIContainer(app if wrong else validator(app), **options)
        before = set(threading.enumerate())
        served = Served(around(container), container, **(server or {}))
        try:
            yield served
        finally:
            await served.end()
        left = set(threading.enumerate()) - before
        assert not [thread for thread in left if thread.name.startswith("webfw-wsgi")]

    return serving


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    """Each of the ways to run an application."""
    return str(request.param)
