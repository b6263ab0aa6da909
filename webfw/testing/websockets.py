"""A WebSocket in memory: webfw's own client on one end of a wire; how a test asks for one may not enter."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from webfw.escape import json_decode
from webfw.httpclient import HTTPRequest
from webfw.httputil import HTTPHeaders
from webfw.iostream import IOStream
from webfw.testing.memory import MemoryWire
from webfw.websocket import WebSocketClientConnection, WebSocketClosedError

__all__ = ["WebSocketSession", "open_session"]


class _Dialer:
    """Stands in for a `TCPClient`: the connection is there."""

    def __init__(self, wire: MemoryWire) -> None:
        self._wire = wire

    async def connect(self, host: str, port: int, **options: Any) -> IOStream:
        return IOStream.from_wire(self._wire)  # type: ignore[arg-type]  # it has all that streams use

    def close(self) -> None:
        pass


class WebSocketSession:
    """An open WebSocket; see `Client.websocket`.  It is an asynchronous iterator of the messages that come.

    :ivar connection: the `WebSocketClientConnection` below, for all that is not here, such as ``ping``.
    """

    def __init__(self, connection: WebSocketClientConnection, timeout: float | None) -> None:
        self.connection = connection
        self._timeout = timeout

    @property
    def headers(self) -> HTTPHeaders:
        """The fields of the response that opened it."""
        return self.connection.headers or HTTPHeaders()

    @property
    def selected_subprotocol(self) -> str | None:
        """The subprotocol that the application has chosen, if any."""
        return self.connection.selected_subprotocol

    @property
    def close_code(self) -> int | None:
        """The code in the application's Close; None before, and where there was none."""
        return self.connection.close_code

    @property
    def close_reason(self) -> str | None:
        """The reason in it; None for none."""
        return self.connection.close_reason

    async def send(self, message: str | bytes | dict[str, Any]) -> None:
        """Send a message: `str` as text, bytes as binary, a dictionary as JSON in a text.

        :raises WebSocketClosedError: it is closed.
        """
        await self.connection.write_message(message, binary=isinstance(message, bytes))

    async def receive(self) -> str | bytes:
        """Wait for the next message.

        :raises WebSocketClosedError: it was closed instead; `close_code` and `close_reason` say how.
        :raises TimeoutError: none has come within the client's ``timeout``.
        """
        try:
            async with asyncio.timeout(self._timeout):
                message = await self.connection.read_message()
        except TimeoutError:
            raise TimeoutError(f"no message has come within {self._timeout} seconds") from None
        if message is None:
            raise WebSocketClosedError(f"closed with {self.close_code}: {self.close_reason or ''}")
        return message

    async def receive_json(self) -> Any:
        """Wait for the next message, and decode it as JSON."""
        return json_decode(await self.receive())

    def __aiter__(self) -> AsyncIterator[str | bytes]:
        return self

    async def __anext__(self) -> str | bytes:
        try:
            return await self.receive()
        except WebSocketClosedError:
            raise StopAsyncIteration from None

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close it, and wait for the application's Close; once it is closed nothing happens.

        :param code: RFC 6455 section 7.4.
        :raises TimeoutError: the application has not answered within the client's ``timeout``.
        """
        self.connection.close(code, reason or None)
        try:
            async with asyncio.timeout(self._timeout):
                await self.connection.wait_closed()
        except TimeoutError:
            raise TimeoutError(f"the WebSocket was not closed within {self._timeout} seconds") from None


async def open_session(
    wire: MemoryWire,
    request: HTTPRequest,
    subprotocols: Sequence[str] | None,
    compression_options: Mapping[str, Any] | None,
    timeout: float | None,
) -> WebSocketSession:
    """Open a WebSocket on a wire; errors are those of `websocket_connect`."""
    request.request_timeout = timeout or 0
    connection = WebSocketClientConnection(
        request, subprotocols=subprotocols, compression_options=compression_options
    )
    # Before its task has begun to connect.
    connection.tcp_client = _Dialer(wire)  # type: ignore[assignment]
    await connection.connect_future
    return WebSocketSession(connection, timeout)
