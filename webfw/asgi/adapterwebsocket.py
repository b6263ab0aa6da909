"""A WebSocket of another server's: ASGI's messages on one side, frames for webfw's own connection on the other.

A WebSocket of webfw is the consumer of a wire.  A `MessageWire` stands for one: behind it is the machine of a client,
which takes frames apart and makes others, so that nothing above it differs from a WebSocket that webfw serves itself.
What that costs is told in `docs/howto/any-asgi-server.md`.
"""

import asyncio
import sys
from collections import deque
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any, ClassVar

from webfw.asgi.adapterexchange import HIGH_WATER, AdaptedExchange, HostStream
from webfw.asgi.adapterhost import LOW_WATER, Message, Receive, Send
from webfw.httpserver.exchange import DONE, Begin, Upgraded
from webfw.httputil import HTTPHeaders, HTTPOutputError
from webfw.iostream import StreamClosedError
from webfw.sansio.errors import LocalProtocolError
from webfw.sansio.websocket import Close, CloseCode, Machine, Ping

if TYPE_CHECKING:
    from asyncio import Future

    from webfw.asgi.adapter import ASGIAdapter

__all__ = ["MessageWire", "WebSocketExchange", "noticed", "without_response"]

#: Fields of the handshake that the host makes itself.
_HOSTS_OWN = frozenset(
    {b"connection", b"sec-websocket-accept", b"sec-websocket-protocol", b"upgrade", b"content-length"}
)


class MessageWire:
    """What a `WebSocketConnection` has for a wire: it has all of `iostream.wire.Wire` that those use.

    :ivar consumer: the connection.
    """

    __slots__ = (
        "_exchange",
        "_gone",
        "_idle",
        "_interrupted",
        "_lost",
        "_machine",
        "_out",
        "_readable",
        "_reading",
        "_sending",
        "_size",
        "_taken",
        "closing",
        "consumer",
        "loop",
        "write",
        "write_paused",
    )

    def __init__(self, exchange: "WebSocketExchange", consumer: Upgraded) -> None:
        self.consumer = consumer
        self.loop = exchange.loop
        self.closing = False
        self.write_paused = False
        #: An observer's session counts by putting a function of its own in this one's place.
        self.write = self._write
        self._exchange = exchange
        self._machine = Machine(server=False, max_message_size=sys.maxsize)
        self._out: deque[tuple[Message, int]] = deque()
        self._size = self._taken = 0
        self._sending: asyncio.Task[Any] | None = None
        self._interrupted = False
        self._idle: Future[None] | None = None
        #: Reading begins when the handshake has been answered.
        self._reading = False
        self._readable: Future[None] | None = None
        #: Whether the host has said that it is over; whether the consumer has been told.
        self._gone = self._lost = False

    # For the connection.

    @property
    def transport(self) -> "MessageWire":
        """Itself: it knows ``is_closing``."""
        return self

    def is_closing(self) -> bool:
        """Whether nothing more is sent."""
        return self.closing

    closed = is_closing

    def _write(self, data: bytes) -> None:
        """Send what is in frames; nothing once the WebSocket is closed."""
        if self.closing or self._gone:
            return
        machine = self._machine
        machine.feed(data)
        while (event := machine.next_event()) is not None:
            if isinstance(event, str):
                self._put({"type": "websocket.send", "text": event}, len(event))
            elif isinstance(event, bytes):
                self._put({"type": "websocket.send", "bytes": event}, len(event))
            elif isinstance(event, Close):
                code = event.code or CloseCode.NORMAL_CLOSURE  # ASGI has no way to say none
                self._put({"type": "websocket.close", "code": int(code), "reason": event.reason}, 0)
            elif isinstance(event, Ping):
                # Whether the client is there, only the host can find out.
                self.loop.call_soon(self._feed, machine.encode_pong(event.payload))

    def _put(self, message: Message, size: int) -> None:
        self._out.append((message, size))
        self._size += size
        if self._size > HIGH_WATER:
            self.write_paused = True
        self._notify()

    def pause_reading(self) -> None:
        """Receive no more for now."""
        self._reading = False

    def resume_reading(self) -> None:
        """Receive again."""
        self._reading = True
        readable, self._readable = self._readable, None
        if readable is not None and not readable.done():
            readable.set_result(None)

    @property
    def write_buffer_size(self) -> int:
        """Bytes that the host has not taken."""
        return self._size

    def taken(self) -> int:
        """A number that has changed when the host has taken something."""
        return self._taken

    def write_eof(self) -> None:
        """Do nothing: the Close that was written before says it."""

    def set_nodelay(self, value: bool) -> None:
        """Do nothing: it is the host's socket."""

    def close(self) -> None:
        """Send what has been written, then end."""
        self.closing = True
        self._notify()

    def abort(self) -> None:
        """End at once."""
        self.closing = True
        self._out.clear()
        if self._sending is not None:
            self._interrupted = self._sending.cancel()
        self._notify()

    @property
    def socket(self) -> Any:
        """None: it is the host's."""
        return None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """See `AdaptedExchange.get_extra_info`."""
        return self._exchange.get_extra_info(name, default)

    # For the host.

    async def send_all(self, send: Send) -> None:
        """Send what the connection writes, until it or the client has ended."""
        self.resume_reading()
        out = self._out
        try:
            while not self._gone:
                if out:
                    message, size = out.popleft()
                    self._sending = asyncio.current_task()
                    if message["type"] == "websocket.close":
                        await self._exchange.close(message)
                    else:
                        await send(message)
                    self._sending = None
                    self._sent(size)
                elif self.closing:
                    return
                else:
                    self._idle = self.loop.create_future()
                    await self._idle
        except asyncio.CancelledError:
            # By `abort` alone, or by the host too?
            if not self._interrupted or self._sending is None or self._sending.uncancel():
                raise
        finally:
            self._sending = None

    def _sent(self, size: int) -> None:
        self._size -= size
        self._taken += 1
        if self.write_paused and self._size <= LOW_WATER:
            self.write_paused = False
            self.consumer.resume_writing()

    def _notify(self) -> None:
        """There is something to send, or there never will be."""
        idle, self._idle = self._idle, None
        if idle is not None and not idle.done():
            idle.set_result(None)

    async def readable(self) -> bool:
        """Wait until the connection takes more; False when it never will."""
        while not (self._reading or self._gone):
            self._readable = self.loop.create_future()
            await self._readable
        return not self._gone

    def receive(self, message: Message) -> None:
        """Hand a message on (``websocket.receive``)."""
        text = message.get("text")
        data = message["bytes"] if text is None else text
        if not self._machine.closing:
            self._feed(self._machine.encode_message(data, isinstance(data, bytes)))

    def _feed(self, frame: bytes) -> None:
        if not (self._lost or self._gone):
            self.consumer.data_received(frame)

    def disconnected(self, code: int | None, reason: str | None) -> None:
        """The host says that the WebSocket is over (``websocket.disconnect``)."""
        if self._gone:
            return
        frame = self._close_frame(code, reason or "")
        self._gone = True  # what is written in answer goes nowhere
        if frame is not None and not self._lost:
            self.consumer.data_received(frame)
        self.resume_reading()
        self._notify()

    def _close_frame(self, code: int | None, reason: str) -> bytes | None:
        """The client's Close, None where it went without one (RFC 6455 section 7.1.5)."""
        machine = self._machine
        if machine.closed or code == CloseCode.ABNORMAL_CLOSURE:
            return None
        if code is None or code == CloseCode.NO_STATUS_RECEIVED:
            return machine.encode_close()
        for words in (reason, ""):
            try:
                return machine.encode_close(code, words)
            except LocalProtocolError:  # too long, or a code that is none for the wire
                continue
        return None

    def lose(self) -> None:
        """The connection is told that it is over; once."""
        if not self._lost:
            self.closing = self._gone = self._lost = True
            self.resume_reading()  # whoever waits for it finds out
            consumer = self.consumer
            # Both would refer back to this wire.
            del self.consumer
            self.write = _discard
            consumer.connection_lost(None)


class WebSocketExchange(AdaptedExchange):
    """The request that opens a WebSocket, and the WebSocket.

    A handler that answers otherwise than by 101 denies it: with its own response where the host can send one (the
    extension ``websocket.http.response``), else with the host's 403.

    :ivar wire: what the WebSocket has for a wire; None before it is open.
    """

    kind: ClassVar[str] = "websocket.http.response"

    __slots__ = ("wire",)

    def __init__(
        self, adapter: "ASGIAdapter", scope: MutableMapping[str, Any], receive: Receive, send: Send
    ) -> None:
        super().__init__(adapter, scope, receive, send)
        self.wire: MessageWire | None = None
        if not self._has_extension(self.kind):
            self._send = without_response(send)

    async def answer(self, begin: Begin) -> None:
        message = await self._receive()
        if message["type"] == "websocket.connect":
            await super().answer(begin)

    async def _send_all(self) -> None:
        await super()._send_all()
        if self.wire is not None:
            await self.wire.send_all(self._send)
        elif self._ended:
            await noticed()

    def _wants_input(self) -> bool:
        return self.wire is not None or super()._wants_input()

    async def _watch(self) -> None:
        """Receive what the client sends, until it leaves."""
        while self._wants_input():
            if self.wire is not None and not await self.wire.readable():
                return
            self._receiving = True
            try:
                message = await self._receive()
            except OSError:
                message = {"type": "websocket.disconnect", "code": CloseCode.ABNORMAL_CLOSURE}
            finally:
                self._receiving = False
            wire = self.wire  # it may have come to be in between
            if message["type"] == "websocket.receive" and wire is not None:
                wire.receive(message)
            elif message["type"] == "websocket.disconnect":
                if wire is None:
                    self.client_gone()
                else:
                    wire.disconnected(message.get("code"), message.get("reason"))
                return
            else:
                raise RuntimeError(f"the ASGI host sent {message['type']!r} to a websocket application")

    async def close(self, message: Message) -> None:
        """Send a Close, and receive nothing meanwhile: some hosts (granian) would wait for ``receive`` to come back."""
        reading = self._reading
        interrupted = self._receiving and reading is not None
        if interrupted:
            assert reading is not None
            reading.cancel()
            await asyncio.wait([reading])
        await self._send(message)
        if interrupted:
            self._start_reading(None)

    def fail(self) -> None:
        if self.wire is not None:
            self.wire.abort()
        else:
            super().fail()

    def connection_lost(self) -> None:
        super().connection_lost()
        wire, self.wire = self.wire, None
        if wire is not None:
            wire.lose()

    @property
    def stream(self) -> HostStream | None:
        return super().stream if self.wire is None else None

    # The answer.

    def write_headers(
        self, start_line: Any, headers: HTTPHeaders, chunk: bytes | None = None
    ) -> "Future[None]":
        if start_line.code != 101:
            return super().write_headers(start_line, headers, chunk)
        if self.begun:
            raise HTTPOutputError("the response has begun already")
        self.begun = True
        self.status = 101
        if not self._open:
            return self._nobody_there()
        fields = self._fields(101, start_line.reason, headers)
        self._messages.append(
            {
                "type": "websocket.accept",
                "subprotocol": headers.get("Sec-WebSocket-Protocol"),
                "headers": [pair for pair in fields if pair[0] not in _HOSTS_OWN],
            }
        )
        return DONE  # type: ignore[return-value]

    def hand_over(self, consumer: Upgraded) -> None:
        """Have a connection take over that speaks the frames of RFC 6455, without extensions.

        :raises StreamClosedError: the client has gone already.
        """
        was_open, self._open = self._open, False
        self.complete = True
        self.request = self.sink = self._close_callback = None
        if not was_open:
            raise StreamClosedError()
        self.wire = MessageWire(self, consumer)
        consumer.connected(self.wire, _nothing)  # type: ignore[arg-type]  # it has all that WebSockets use
        self._notify()


async def noticed() -> None:
    """Let the host notice that the handshake has been answered by a denial.

    Uvicorn (0.54) does so in the next turn, and logs an error when the application has returned by then.
    """
    await asyncio.sleep(0)


def without_response(send: Send) -> Send:
    """A host's ``send`` that has a response in place of the handshake be the host's own 403."""

    async def deny(message: Message) -> None:
        kind = message["type"]
        if kind == "websocket.http.response.start":
            await send({"type": "websocket.close"})
        elif not kind.startswith("websocket.http.response"):
            await send(message)

    return deny


def _discard(data: bytes) -> None:
    """Stand in for ``write`` when there is nobody any more."""


def _nothing() -> None:
    """Nobody counts connections here but the host."""
