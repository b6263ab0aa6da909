"""Tests of webfw.websocket.older: what programs ask of Tornado's object of this place."""

from typing import Any

from tests.websocket.test_connection import Recorder
from webfw.httpserver import HTTPServer
from webfw.netutil import bind_sockets
from webfw.sansio.websocket import Ping
from webfw.web import Application
from webfw.websocket import WebSocketHandler, websocket_connect


async def test_older_names(peer: Any) -> None:
    client = peer(Recorder)
    await client.open()
    connection = client.handler.ws_connection
    assert not connection.is_closing()
    assert not connection.client_terminated
    assert not connection.server_terminated
    assert connection.stream.closed() is False
    connection.set_nodelay(False)
    assert client.wire.nodelay is False
    connection.write_message("a")
    connection.write_message(b"b", binary=True)
    connection.write_ping(b"c")
    assert await client.settle() == ["a", b"b", Ping(b"c")]
    await client.close(1000)
    assert connection.is_closing()
    assert connection.client_terminated
    assert connection.server_terminated


async def test_the_request_no_longer_knows_its_stream() -> None:
    """As in Tornado after a `detach`: dask's distributed takes a WebSocket for closed as long as there is one."""
    streams: list[Any] = []

    class Handler(WebSocketHandler):
        def prepare(self) -> None:
            streams.append(self.request.connection.stream)

        def open(self) -> None:
            streams.append(self.request.connection.stream)
            streams.append(self.ws_connection.stream)

    server = HTTPServer(Application([("/", Handler)]))
    (sock,) = bind_sockets(0, "127.0.0.1")
    server.add_socket(sock)
    async with websocket_connect(f"ws://127.0.0.1:{sock.getsockname()[1]}/"):
        pass
    before, after, own = streams
    assert before is own
    assert after is None
    await server.drain(1)


async def test_cutting_the_connection() -> None:
    class Handler(WebSocketHandler):
        def on_message(self, message: str | bytes) -> None:
            self.ws_connection._abort()

    server = HTTPServer(Application([("/", Handler)]))
    (sock,) = bind_sockets(0, "127.0.0.1")
    server.add_socket(sock)
    async with websocket_connect(f"ws://127.0.0.1:{sock.getsockname()[1]}/") as connection:
        connection.write_message("cut")
        assert await connection.read_message() is None
        assert connection.close_code != 1000
    await server.drain(1)
