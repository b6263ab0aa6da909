"""Servers for tests, on the loop of the test and in a thread."""

import asyncio
import socket
import threading
import urllib.request

import pytest

from webfw.httpclient import HTTPClientError
from webfw.httpserver import HTTPServer
from webfw.testing.server import LoopbackServer, ThreadedServer
from webfw.web import Application, RequestHandler
from webfw.websocket import WebSocketHandler, websocket_connect


class Echo(RequestHandler):
    def get(self) -> None:
        self.write(threading.current_thread().name)

    def post(self) -> None:
        self.write(self.request.body)


class Socket(WebSocketHandler):
    def on_message(self, message: str | bytes) -> None:
        self.write_message(message)


class Wait(RequestHandler):
    async def get(self) -> None:
        self.application.settings["waiting"].set()
        await asyncio.sleep(1000)


@pytest.fixture
def app() -> Application:
    return Application(
        [("/", Echo), ("/ws", Socket), ("/wait", Wait)],
        log_function=lambda handler: None,
        waiting=threading.Event(),
        cancel_on_disconnect=True,
    )


async def test_on_the_loop_of_the_test(app: Application) -> None:
    server = LoopbackServer(app)
    assert server.url("/x") == f"http://127.0.0.1:{server.port}/x"
    async with server:
        assert (await server.fetch("/")).body == b"MainThread"
        assert (await server.fetch("/", method="POST", body="data")).body == b"data"
        assert (await server.fetch("/missing")).code == 404
        with pytest.raises(HTTPClientError, match="404"):
            await server.fetch("/missing", raise_error=True)
        async with websocket_connect(server.url("/ws", "ws")) as connection:
            await connection.write_message("hi")
            assert await connection.read_message() == "hi"
    server.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=5)


async def test_more_than_once(app: Application) -> None:
    server = LoopbackServer(app)
    for _ in range(2):
        async with server:
            assert (await server.fetch("/")).code == 200
    server.close()


async def test_with_a_server_of_ones_own(app: Application) -> None:
    own = HTTPServer(app, max_body_size=3)
    server = LoopbackServer(own)
    async with server:
        assert server.server is own
        assert (await server.fetch("/", method="POST", body="1234")).code == 413
    server.close()


async def test_what_still_runs_is_cut(app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webfw.testing.server.DRAIN_TIME", 0.05)
    server = LoopbackServer(app)
    async with server:
        connection = socket.create_connection(("127.0.0.1", server.port), timeout=5)
        connection.sendall(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        while not app.settings["waiting"].is_set():
            await asyncio.sleep(0.001)
    with connection:
        assert connection.recv(100) == b""
    server.close()


def test_not_without_a_loop(app: Application) -> None:
    server = LoopbackServer(app)
    entering = server.__aenter__()
    with pytest.raises(RuntimeError, match="no running event loop"):
        entering.send(None)
    server.close()


def test_in_a_thread(app: Application) -> None:
    server = ThreadedServer(app)
    with server:
        with urllib.request.urlopen(server.url("/"), timeout=5) as response:
            assert response.read() == b"webfw_server"
        assert server.fetch("/").body == b"webfw_server"
        assert server.fetch("/missing").code == 404
        with pytest.raises(HTTPClientError, match="404"):
            server.fetch("/missing", raise_error=True)
    server.close()
    assert "webfw_server" not in [thread.name for thread in threading.enumerate()]


def test_a_thread_that_fails() -> None:
    server = ThreadedServer(lambda request: None)
    server.close()
    with pytest.raises(OSError, match="descriptor"), server:
        pass
