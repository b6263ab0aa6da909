"""One WebSocket in an ASGI application: connect, accept or deny, messages and codes; frames are the connection's."""

import asyncio
from collections import deque
from collections.abc import Awaitable
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from webfw.asgi.response import (
    COMPLETE,
    START,
    ApplicationError,
    ClientDisconnected,
    add_field,
    default_fields,
    header_list,
    type_of,
)
from webfw.asgi.run import Run
from webfw.httpserver import DONE, Exchange
from webfw.httpserver.observer import Session
from webfw.httputil import HTTPHeaders, HTTPServerRequest
from webfw.iostream import StreamClosedError
from webfw.log import app_log, gen_log
from webfw.sansio.errors import LocalProtocolError, RemoteProtocolError
from webfw.sansio.websocket import (
    CloseCode,
    Deflate,
    HandshakeError,
    Machine,
    check_request,
    offered_subprotocols,
    response_fields,
)
from webfw.websocket import WebSocketClosedError, WebSocketConnection
from webfw.websocket.compression import agree

if TYPE_CHECKING:
    from webfw.asgi.container import ASGIContainer

__all__ = ["WebSocketRun", "is_handshake"]

#: Bytes of messages that are kept for an application that does not ask for them; above it, reading pauses.
READ_AHEAD = 64 * 1024
#: What a message costs beside its bytes.
OVERHEAD = 64

#: Fields of the response that belong to the handshake.
_OURS = frozenset({"connection", "content-length", "transfer-encoding", "upgrade"})


def is_handshake(request: HTTPServerRequest) -> bool:
    """Whether a request wants to become a WebSocket (RFC 6455 section 4.2.1), even if it does not do it right."""
    return request.method == "GET" and "websocket" in request.headers.get("Upgrade", "").lower()


class WebSocketRun(Run):
    """One WebSocket; also the endpoint of its connection.

    :ivar conn: the connection, from `accept` on.
    """

    __slots__ = (
        "_closed",
        "_code",
        "_connect_told",
        "_deflate",
        "_denying",
        "_extensions",
        "_inbox",
        "_key",
        "_reason",
        "_size",
        "_subprotocols",
        "conn",
    )

    def __init__(
        self,
        container: "ASGIContainer",
        exchange: Exchange,
        request: HTTPServerRequest,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(container, exchange, request, loop)
        self._key = self._extensions = ""
        self._subprotocols: list[str] = []
        self._deflate: Deflate | None = None
        self._connect_told = self._denying = False
        self.conn: WebSocketConnection | None = None
        #: Messages that have come and were not received yet, and the bytes of these.
        self._inbox: deque[str | bytes] = deque()
        self._size = 0
        #: Whether the connection is over, or the application has closed it; and what was said at the end.
        self._closed = False
        self._code: int = CloseCode.ABNORMAL_CLOSURE
        self._reason = ""

    # It begins.

    def begin(self) -> Awaitable[None] | None:
        """Check the handshake, then run the application."""
        headers = self.request.headers
        try:
            self._key = check_request(self.request.method or "", self.request.version, headers)
            if self.container.draining:
                raise HandshakeError("the server is going away", 503, [("Retry-After", "1")])
            self._subprotocols = offered_subprotocols(headers)
            self._deflate, self._extensions = agree(
                self.container.websocket_compression, headers.get_list("Sec-WebSocket-Extensions")
            )
        except RemoteProtocolError as error:
            gen_log.info("%s: no WebSocket: %s", self.request.remote_ip, error)
            self.running = False
            self.refuse(error.status, getattr(error, "fields", ()), str(error))
            return None
        return super().begin()

    def scope(self) -> dict[str, Any] | None:
        container = self.container
        return container.scopes.websocket(self.exchange, self.request, container.state, self._subprotocols)

    async def _run(self, scope: dict[str, Any]) -> None:
        try:
            await super()._run(scope)
            if self.conn is not None and not self.conn.closing:
                self.conn.close(CloseCode.NORMAL_CLOSURE)
        finally:
            # Nobody asks for what has come, and the connection need not wait for that.
            self._inbox.clear()
            self._read_on()

    # The application calls.

    async def receive(self) -> dict[str, Any]:
        if not self._connect_told:
            self._connect_told = True
            return {"type": "websocket.connect"}
        while not self._inbox:
            if self._over():
                self._disconnect_told = True
                return {"type": "websocket.disconnect", "code": self._code, "reason": self._reason}
            await self._something()
        message = self._inbox.popleft()
        self._size -= len(message) + OVERHEAD
        if self._room is not None and self._size <= READ_AHEAD:
            self._read_on()
        if type(message) is str:
            return {"type": "websocket.receive", "text": message}
        return {"type": "websocket.receive", "bytes": message}

    def _over(self) -> bool:
        """Whether nothing will come any more."""
        return self.gone or (self.conn is None and self.phase >= COMPLETE)

    async def send(self, message: dict[str, Any]) -> None:
        kind = type_of(message)
        conn = self.conn
        if kind == "websocket.send" and conn is not None:
            await self._send(conn, message)
        elif kind == "websocket.close":
            self._close(message)
        elif kind == "websocket.accept":
            self._accept(message)
        elif kind == "websocket.http.response.start":
            if conn is not None or self._closed:
                raise self._too_late(kind)
            self.take_start(message)
            self._denying = True
        elif kind == "websocket.http.response.body" and self._denying:
            await self.wait_for(self.take_body(message))
        elif kind in ("websocket.send", "websocket.http.response.body"):
            raise self._too_late(kind)
        else:
            raise ApplicationError(f"a message of a type that a WebSocket does not have: {kind[:100]!r}")

    def _too_late(self, kind: str) -> Exception:
        """What to raise where it is not the turn of a message."""
        if self.gone:
            return ClientDisconnected("the client has gone")
        if self.conn is not None:
            return ApplicationError(
                f"{kind} comes after {'the close' if self._closed else 'websocket.accept'}"
            )
        if self._closed or self._denying:
            return ApplicationError(f"{kind} comes after the WebSocket was denied")
        return ApplicationError(f"{kind} comes before websocket.accept")

    async def _send(self, conn: WebSocketConnection, message: dict[str, Any]) -> None:
        if self._closed:
            raise self._too_late("websocket.send")
        text, data = message.get("text"), message.get("bytes")
        if (text is None) is (data is None):
            raise ApplicationError("websocket.send has either text or bytes")
        binary = text is None
        if not isinstance(data if binary else text, (bytes, bytearray, memoryview) if binary else str):
            kind = type(data if binary else text).__name__
            raise ApplicationError(f"{'bytes' if binary else 'text'} of websocket.send must not be {kind}")
        try:
            sent: Awaitable[None] = conn.write(bytes(data) if binary else text, binary)  # type: ignore[arg-type]
            if sent is not DONE:
                await sent
        except WebSocketClosedError:
            raise ClientDisconnected("the client has gone") from None
        except LocalProtocolError as error:
            raise ApplicationError(str(error)) from None

    def _close(self, message: dict[str, Any]) -> None:
        conn = self.conn
        if self._closed or self.gone or self._denying:
            raise self._too_late("websocket.close")
        if conn is None:
            self._closed = True
            self.refuse(403)
            return
        code, reason = message.get("code"), message.get("reason")
        if code is None:
            code = CloseCode.NORMAL_CLOSURE
        if not isinstance(code, int) or not (reason is None or isinstance(reason, str)):
            raise ApplicationError(
                f"code and reason of websocket.close must not be {code!r}, {reason!r}"[:200]
            )
        if conn.closing:
            raise ClientDisconnected("the client has gone")
        try:
            conn.close(code, reason)
        except (LocalProtocolError, UnicodeError) as error:
            raise ApplicationError(str(error)) from None
        self._closed = True

    def _accept(self, message: dict[str, Any]) -> None:
        """Answer 101, and have the connection speak WebSocket from there on."""
        if self.phase != START or self.gone:
            raise self._too_late("websocket.accept")
        subprotocol = message.get("subprotocol")
        if subprotocol is not None and subprotocol not in self._subprotocols:
            raise ApplicationError(f"subprotocol {subprotocol!r} was not offered by the client"[:200])
        headers = HTTPHeaders.from_checked(default_fields())
        for name, value, _ in header_list(message.get("headers") or ()):
            if name.lower() in _OURS or name.lower().startswith("sec-websocket-"):
                raise ApplicationError(f"a header that belongs to the handshake: {name}")
            add_field(headers, name, value)
        for name, value in response_fields(self._key, subprotocol, self._extensions):
            headers[name] = value
        exchange = self.exchange
        settings = self.container.websocket_settings
        machine = Machine(server=True, max_message_size=settings.max_message_size, deflate=self._deflate)
        conn = WebSocketConnection(machine, self, copy_context(), settings)
        record = exchange.record
        self._asked(exchange.write_headers, exchange.start_line(101, "Switching Protocols"), headers)
        if record is not None:
            conn.session = record.session = Session()
        try:
            exchange.hand_over(conn)
        except StreamClosedError:
            self.on_connection_close()
            raise ClientDisconnected("the client has gone") from None
        self.conn = conn
        self.status = 101
        self._end(COMPLETE)
        conn.start()
        if self.container.draining:
            self.container.drain_soon(self)

    # The connection calls (`Endpoint`).

    def on_message(self, message: str | bytes) -> Awaitable[None] | None:
        if not self.running:
            return None
        self._inbox.append(message)
        self._size += len(message) + OVERHEAD
        if self._waiters is not None:
            self._wake()
        if self._size <= READ_AHEAD:
            return None
        if self._room is None:
            self._room = self.loop.create_future()
        return self._room

    def on_ping(self, data: bytes) -> Awaitable[None] | None:
        return None

    def on_pong(self, data: bytes) -> Awaitable[None] | None:
        return None

    def connection_over(self, code: int | None, reason: str | None) -> None:
        conn = self.conn
        assert conn is not None
        if code is not None:
            self._code = code
        elif conn.machine.close_reason is not None:  # there was a Close, and it said nothing
            self._code = CloseCode.NO_STATUS_RECEIVED
        self._reason = reason or ""
        self._left = self.gone = True
        self._read_on()
        self._wake()

    def callback_failed(self, error: BaseException) -> None:
        app_log.error("%s: uncaught exception in a WebSocket", self.summary(), exc_info=error)

    # The end.

    def drain(self) -> None:
        """The server is going away: close with 1012, so that clients come back."""
        if self.conn is not None and not self.conn.closing:
            self.conn.close(CloseCode.SERVICE_RESTART, "server restart")

    def refuse(self, status: int, more: Any = (), message: str = "") -> None:
        if self.conn is None:
            super().refuse(status, more, message)
        elif not self.conn.closing:
            self.conn.close(CloseCode.INTERNAL_ERROR)

    def cut(self) -> None:
        if self.conn is None:
            super().cut()
        elif not self.conn.closing:
            self.conn.abort()

    def on_connection_close(self) -> None:
        """The client has gone before it had an answer; who only closes its side cannot speak WebSocket either."""
        self._left = self.gone = True
        super().cut()
