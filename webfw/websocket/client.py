"""`websocket_connect` and what comes of it, a `WebSocketClientConnection`; how a connection is opened may not enter."""

import asyncio
import inspect
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping, Sequence
from contextvars import copy_context
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import SplitResult, urlsplit

from webfw.escape import json_encode
from webfw.httpclient import HTTPRequest
from webfw.httputil import HTTPHeaders
from webfw.ioloop import IOLoop
from webfw.log import app_log
from webfw.netutil import Resolver
from webfw.sansio.websocket import CloseCode, Machine
from webfw.tcpclient import TCPClient
from webfw.websocket.connection import WebSocketConnection
from webfw.websocket.errors import WebSocketClosedError
from webfw.websocket.opening import Opening, open_websocket
from webfw.websocket.settings import ConnectionSettings

__all__ = ["Connecting", "WebSocketClientConnection", "websocket_connect"]

#: Messages, and bytes of them, that are kept for a program that does not read them; then reading pauses.
MAX_UNREAD = 16
MAX_UNREAD_SIZE = 64 * 1024

DEFAULT_MAX_MESSAGE_SIZE = 10 * 1024 * 1024

Message = str | bytes

if TYPE_CHECKING:
    _Task = asyncio.Task["WebSocketClientConnection"]
    _Future = asyncio.Future[Message | None]
else:
    _Task = asyncio.Task
    _Future = asyncio.Future


def websocket_connect(
    url: str | HTTPRequest,
    callback: "Callable[[asyncio.Future[WebSocketClientConnection]], Any] | None" = None,
    connect_timeout: float | None = None,
    on_message_callback: Callable[[Message | None], Any] | None = None,
    compression_options: Mapping[str, Any] | None = None,
    ping_interval: float | None = None,
    ping_timeout: float | None = None,
    max_message_size: int = DEFAULT_MAX_MESSAGE_SIZE,
    subprotocols: Sequence[str] | None = None,
    resolver: Resolver | None = None,
) -> "Connecting":
    """Connect to a WebSocket server (RFC 6455)::

        async with websocket_connect("wss://example.com/chat") as connection:
            await connection.write_message("hello")
            async for message in connection:
                ...

    or ``connection = await websocket_connect(...)``, and ``close`` in the end.

    :param url: ``ws://`` or ``wss://``, or an `HTTPRequest` for such an address, whose headers, credentials, timeouts,
        TLS parameters and ``network_interface`` are used.  Redirects are followed only where its ``follow_redirects``
        is True, never from ``wss`` to ``ws``, and without credentials to other hosts.
    :param callback: called with the future that is returned, once it is done.
    :param connect_timeout: seconds until there is a connection, 20 by default; 0 for no limit.  For the answer of the
        server there is the request's ``request_timeout`` after that.
    :param on_message_callback: called with each message, and with None at the end, in place of `read_message`; while an
        awaitable that it returns runs, further messages wait.
    :param compression_options: offer permessage-deflate (RFC 7692); an empty dictionary will do, see
        `WebSocketHandler.get_compression_options`.
    :param ping_interval: seconds between pings; 0 or None for none.
    :param ping_timeout: seconds a pong may take before the connection is closed; the interval by default.
    :param max_message_size: bytes of the longest message taken; a longer one closes the connection (1009).
    :param subprotocols: what is offered, the preferred first.
    :param resolver: looks the host up, in place of the default one.
    :raises ValueError: a `connect_timeout` beside an `HTTPRequest`, which has its own.

    What the future raises:

    :raises HTTPClientError: the server has answered something else than 101, with its status and response.
    :raises HTTPTimeoutError: it took too long; a `TimeoutError` and an `HTTPClientError` with code 599.
    :raises OSError: the server cannot be reached (such as `ConnectionRefusedError`, ``socket.gaierror`` or
        ``ssl.SSLError``), or has closed the connection before its answer was complete (`HTTPStreamClosedError`).
    :raises WebSocketError: what it answered is no opening of a WebSocket, or no HTTP.
    :raises ValueError: the address, or what the request asks for, is not fit for a WebSocket.
    """
    if isinstance(url, HTTPRequest):
        if connect_timeout is not None:
            raise ValueError("connect_timeout belongs into the HTTPRequest")
        request = url
    else:
        request = HTTPRequest(url, connect_timeout=connect_timeout)
    connection = WebSocketClientConnection(
        request,
        on_message_callback=on_message_callback,
        compression_options=compression_options,
        ping_interval=ping_interval,
        ping_timeout=ping_timeout,
        max_message_size=max_message_size,
        subprotocols=subprotocols,
        resolver=resolver,
    )
    if callback is not None:
        IOLoop.current().add_future(connection.connect_future, callback)
    return connection.connect_future


class Connecting(_Task):
    """A connection on its way: await it, or use it with ``async with``, which closes it; cancelling it gives it up."""

    async def __aenter__(self) -> "WebSocketClientConnection":
        return await self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.result().__aexit__(kind, error, traceback)


class _Reading(_Future):
    """A message that somebody waits for; where the task that waits is cancelled when it has come, it is given back."""

    connection: "WebSocketClientConnection"

    def __await__(self) -> Generator[Any, None, Message | None]:
        try:
            return (yield from super().__await__())
        except asyncio.CancelledError:
            if not self.cancelled() and self.done():
                self.connection._give_back(self.result())
            raise


class WebSocketClientConnection:
    """The client's side of a WebSocket; made by `websocket_connect`, which tells what the parameters mean.

    It is an asynchronous iterator of messages, and a context manager that closes it.

    :ivar connect_future: done when it is connected; its result is this object.
    :ivar headers: the fields of the server's response; None before it.
    :ivar close_code: the code in the server's Close; None before, and where there was none.
    :ivar close_reason: the reason in it, None for none.
    :ivar protocol: the connection below; None before it is open.
    :ivar params: its limits and deadlines.
    :ivar read_queue: messages that have come and not been read.
    """

    protocol: WebSocketConnection | None = None
    headers: HTTPHeaders | None = None
    close_code: int | None = None
    close_reason: str | None = None

    _subprotocol: str | None = None

    def __init__(
        self,
        request: HTTPRequest,
        on_message_callback: Callable[[Message | None], Any] | None = None,
        compression_options: Mapping[str, Any] | None = None,
        ping_interval: float | None = None,
        ping_timeout: float | None = None,
        max_message_size: int = DEFAULT_MAX_MESSAGE_SIZE,
        subprotocols: Sequence[str] | None = None,
        resolver: Resolver | None = None,
    ) -> None:
        self.request = request
        self.params = ConnectionSettings(
            ping_interval=ping_interval or 0.0, ping_timeout=ping_timeout, max_message_size=max_message_size
        )
        self.tcp_client = TCPClient(resolver=resolver)
        self.read_queue: deque[Message] = deque()
        self._unread_size = 0
        self._readers: deque[asyncio.Future[Message | None]] = deque()
        #: What the connection waits for while nobody reads.
        self._room: asyncio.Future[None] | None = None
        self._on_message_callback = on_message_callback
        #: No message comes any more; and, which may be later, the wire is closed.
        self._ended = asyncio.Event()
        self._gone = asyncio.Event()
        #: Tasks of ``on_message(None)``: the loop itself keeps only weak references.
        self._last: set[asyncio.Future[Any]] = set()
        self._loop: asyncio.AbstractEventLoop = IOLoop.current().asyncio_loop
        self.connect_future = Connecting(self._connect(subprotocols, compression_options), loop=self._loop)
        self.connect_future.add_done_callback(self._connect_done)

    async def _connect(
        self, subprotocols: Sequence[str] | None, compression_options: Mapping[str, Any] | None
    ) -> Self:
        self._begin(await open_websocket(self.request, self.tcp_client, subprotocols, compression_options))
        return self

    def _connect_done(self, future: "asyncio.Future[Any]") -> None:
        self.tcp_client.close()
        if self.protocol is None:  # there will be no connection
            self._ended.set()
            self._gone.set()
            self.on_message(None)

    def _begin(self, opening: Opening) -> None:
        """Speak WebSocket on a wire from here on."""
        wire = opening.wire
        self.headers = opening.headers
        self._subprotocol = opening.subprotocol
        machine = Machine(
            server=False, max_message_size=self.params.max_message_size, deflate=opening.deflate
        )
        context = copy_context()
        self.protocol = connection = WebSocketConnection(machine, self, context, self.params)
        wire.consumer = connection
        connection.connected(wire, self._gone.set)
        connection.start(context)
        if opening.early:
            connection.data_received(opening.early)
        # What has happened to the wire before it was handed over, nobody says again.
        if wire.closing:
            self._loop.call_soon(connection.connection_lost, None)
        elif wire.eof and not connection.eof_received():
            wire.close()

    @property
    def selected_subprotocol(self) -> str | None:
        """The subprotocol the server has chosen, if any."""
        return self._subprotocol

    # What programs ask of Tornado's object of this place.

    @property
    def stream(self) -> Any:
        """The wire below, with ``closed()``, ``error``, ``socket`` and ``set_nodelay``; None before it is open."""
        return None if self.protocol is None else self.protocol.wire

    @property
    def parsed(self) -> SplitResult:
        """The parts of the address that was asked for."""
        return urlsplit(self.request.url)

    # Reading.

    def read_message(
        self, callback: "Callable[[asyncio.Future[Message | None]], Any] | None" = None
    ) -> "asyncio.Future[Message | None]":
        """Return a future of the next message: `str` for a text message, bytes for a binary one, None for the end.

        Messages are given out in their order, to several who wait in the order of theirs.  After the end it is None
        again and again.

        :param callback: called with the future, once it is done.
        :raises RuntimeError: messages go to an ``on_message_callback``.
        """
        if self._on_message_callback is not None:
            raise RuntimeError("messages go to the on_message_callback")
        future = _Reading(loop=self._loop)
        future.connection = self
        if self.read_queue:
            message = self.read_queue.popleft()
            self._unread_size -= len(message)
            future.set_result(message)
            if not self.read_queue:
                self._make_room()
        elif self._ended.is_set():
            future.set_result(None)
        else:
            self._readers.append(future)
        if callback is not None:
            IOLoop.current().add_future(future, callback)
        return future

    def _give_back(self, message: Message | None) -> None:
        """A message has not reached the task that waited for it: it is the next one again."""
        if message is None:
            return
        while self._readers:
            reader = self._readers.popleft()
            if not reader.done():
                reader.set_result(message)
                return
        self.read_queue.appendleft(message)
        self._unread_size += len(message)

    def __aiter__(self) -> AsyncIterator[Message]:
        return self

    async def __anext__(self) -> Message:
        message = await self.read_message()
        if message is None:
            raise StopAsyncIteration
        return message

    def _make_room(self) -> None:
        """Have the connection hand further messages on."""
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    # Sending.

    def write_message(self, message: Message | dict[str, Any], binary: bool = False) -> Awaitable[None]:
        """Send a message.

        :param message: a dict is sent as JSON.  Bytes in a text message must be UTF-8.
        :param binary: send a binary message; a `str` is sent as UTF-8.
        :returns: an awaitable, done when the server has taken enough for more.  Who sends much should await it.
        :raises WebSocketClosedError: the connection is not open yet, closed, or being closed; also from the awaitable.
        """
        connection = self.protocol
        if connection is None:
            raise WebSocketClosedError()
        return connection.write(json_encode(message) if isinstance(message, dict) else message, binary)

    def ping(self, data: str | bytes = b"") -> None:
        """Send a ping, of at most 125 bytes; its answer comes to `on_pong`.

        :raises WebSocketClosedError: the connection is not open yet, closed, or being closed.
        """
        if self.protocol is None:
            raise WebSocketClosedError()
        self.protocol.ping(data.encode() if isinstance(data, str) else data)

    # The end.

    def close(self, code: int | None = None, reason: str | bytes | None = None) -> None:
        """Close the connection: say so to the server, and wait 5 seconds for its answer; give up one on its way.

        What has come until then can still be read.

        :param code: such as `CloseCode.NORMAL_CLOSURE` (RFC 6455 section 7.4); with a reason, 1000 by default.
        :param reason: at most 123 bytes of UTF-8.
        """
        if self.protocol is None:
            self.connect_future.cancel()
        else:
            self.protocol.close(code, reason)
            # The answer stands behind all that the server had sent before it.
            self._make_room()

    async def wait_closed(self) -> None:
        """Wait until the connection is closed, by whomever, and its socket too.

        After the closing handshake it is the server that closes first (RFC 6455 section 7.1.1).  One that does not is
        waited for as long as for its Close, five seconds.
        """
        await self._gone.wait()

    async def __aenter__(self) -> Self:
        return await self.connect_future  # type: ignore[return-value]

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close(CloseCode.NORMAL_CLOSURE)
        await self.wait_closed()

    # What subclasses may say something about.

    def on_message(self, message: Message | None) -> Awaitable[None] | None:
        """Called with each message, and with None at the end: keeps it for `read_message`, or calls the callback.

        Further messages wait for an awaitable that is returned.
        """
        if self._on_message_callback is not None:
            result = self._on_message_callback(message)
            return result if inspect.isawaitable(result) else None
        readers = self._readers
        while readers:
            reader = readers.popleft()
            if not reader.done():  # else it was cancelled
                reader.set_result(message)
                if message is not None:
                    return None
        if message is None:
            return None
        closing = self.protocol is not None and self.protocol.closing
        if closing and self._is_full():
            return None  # nobody has read it, and now nobody need
        self.read_queue.append(message)
        self._unread_size += len(message)
        if closing or not self._is_full():
            return None
        self._room = self._loop.create_future()
        return self._room

    def _is_full(self) -> bool:
        return len(self.read_queue) >= MAX_UNREAD or self._unread_size >= MAX_UNREAD_SIZE

    def on_ping(self, data: bytes) -> Awaitable[None] | None:
        """Called when the server has sent a ping; it has been answered already."""

    def on_pong(self, data: bytes) -> Awaitable[None] | None:
        """Called when the server has answered a ping."""

    def on_ws_connection_close(self, close_code: int | None = None, close_reason: str | None = None) -> None:
        """Called when the connection is closed, with what the server's Close said."""

    def on_connection_close(self) -> None:
        """Called after that."""

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Log what a callback has raised."""
        app_log.error("Uncaught exception of the WebSocket to %s", self.request.url, exc_info=value)

    # What the connection tells (the `Endpoint` interface).

    def connection_over(self, code: int | None, reason: str | None) -> None:
        """The connection is closed."""
        self.close_code, self.close_reason = code, reason
        self._ended.set()
        self._make_room()
        for tell in (
            self._tell_end,
            lambda: self.on_ws_connection_close(code, reason),
            self.on_connection_close,
        ):
            try:
                tell()
            except Exception as error:
                # Border: what a callback raises must not break the transport.
                self.callback_failed(error)

    def _tell_end(self) -> None:
        waiting = self.on_message(None)
        if waiting is not None:
            task = asyncio.ensure_future(self._finish(waiting))
            self._last.add(task)
            task.add_done_callback(self._last.discard)

    async def _finish(self, awaitable: Awaitable[None]) -> None:
        try:
            await awaitable
        except Exception as error:
            # Border: nobody awaits this.
            self.callback_failed(error)

    def callback_failed(self, error: BaseException) -> None:
        """A callback has raised; the connection is closed after it (1011)."""
        self.log_exception(type(error), error, error.__traceback__)
