"""A stream and the bare socket at its other end, and a delegate that writes down what it is told."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from webfw.httputil import HTTPHeaders, HTTPMessageDelegate
from webfw.iostream import IOStream


class Peer:
    """The far end, in the hands of the test."""

    def __init__(self) -> None:
        near, self.sock = socket.socketpair()
        self.sock.setblocking(False)
        self.stream = IOStream(near)
        self.got = b""

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def end(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    async def read_until(self, end: bytes) -> bytes:
        """All that has come when the whole ends so, or the stream."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(10):
            while not (end and self.got.endswith(end)):
                try:
                    data = await loop.sock_recv(self.sock, 65536)
                except ConnectionResetError:
                    break
                if not data:
                    break
                self.got += data
        return self.got


class Told(HTTPMessageDelegate):
    """Writes down what it is told.

    :param finished: called at the end of the message.
    """

    def __init__(self, finished: Callable[[], Any] | None = None) -> None:
        self.events: list[Any] = []
        self.body = b""
        self.sizes: list[int] = []
        self.headers = HTTPHeaders()
        self.finished = finished

    def headers_received(self, start_line: Any, headers: HTTPHeaders) -> Any:
        self.events.append(tuple(start_line))
        self.headers = headers

    def data_received(self, chunk: bytes) -> Any:
        self.body += chunk
        self.sizes.append(len(chunk))

    def finish(self) -> None:
        self.events.append("finish")
        if self.finished is not None:
            self.finished()

    def on_connection_close(self) -> None:
        self.events.append("closed")


@pytest.fixture
def peer() -> Iterator[Callable[[], Peer]]:
    made: list[Peer] = []

    def make() -> Peer:
        made.append(Peer())
        return made[-1]

    yield make
    for one in made:
        one.sock.close()


@pytest.fixture
def told() -> type[Told]:
    return Told
