"""Tests of webfw.websocket.older: what programs ask of Tornado's object of this place."""

from typing import Any

from tests.websocket.test_connection import Recorder
from webfw.sansio.websocket import Ping


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
