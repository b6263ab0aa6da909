"""`WebSocketHandler`: a request that becomes a WebSocket; frames, order and deadlines are the connection's."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextvars import copy_context
from functools import wraps
from typing import Any, TypeVar

from webfw.escape import json_encode
from webfw.httpserver.exchange import DONE, Exchange
from webfw.httpserver.observer import Session
from webfw.httputil import responses
from webfw.iostream import StreamClosedError
from webfw.log import gen_log
from webfw.pubsub.messages import Gap, Message
from webfw.sansio.errors import RemoteProtocolError
from webfw.sansio.websocket import (
    CloseCode,
    HandshakeError,
    Machine,
    check_request,
    offered_subprotocols,
    response_fields,
)
from webfw.web import HTTPError, RequestHandler
from webfw.web.execution import kept_tasks
from webfw.web.live import Live, Place, envelope, joined, lost
from webfw.web.xsrf import is_origin_of
from webfw.websocket.compression import agree
from webfw.websocket.connection import WebSocketConnection
from webfw.websocket.errors import WebSocketClosedError
from webfw.websocket.settings import ConnectionSettings
from webfw.websocket.shared import SharedMessage

__all__ = ["WebSocketHandler", "broadcast"]

#: Statuses of the client's that another attempt may change.
_PASSING = frozenset({408, 421, 425, 429})

_Method = TypeVar("_Method", bound=Callable[..., Any])


def _before_the_handshake(method: _Method) -> _Method:
    """A method of `RequestHandler` that is an error of the program once the WebSocket is open, as in Tornado."""

    @wraps(method)
    def checked(self: "WebSocketHandler", *args: Any, **kwargs: Any) -> Any:
        if self._switched:
            raise RuntimeError(
                f"{method.__name__}() is of no use for a WebSocket; see write_message and close"
            )
        return method(self, *args, **kwargs)

    return checked  # type: ignore[return-value]


#: An envelope that says nothing but that the connection is alive.
_HEARTBEAT = SharedMessage("{}")


def _shared(made: str | bytes) -> SharedMessage:
    """What a `Live.message_form` has made, for all WebSockets that get it."""
    return SharedMessage(made, isinstance(made, bytes))


def broadcast(
    handlers: "Iterable[WebSocketHandler]", message: str | bytes | dict[str, Any], binary: bool = False
) -> None:
    """Send one message to many WebSockets; its frame is made once, whatever their number.

    Nobody waits for those who are slow: see `ConnectionSettings.queue_policy`, which for these messages drops the
    oldest where it says ``wait``.  WebSockets that are closed are passed over.

    :param handlers: may change while this runs only by what other tasks do, never by the call itself.
    :param message, binary: as `WebSocketHandler.write_message` has them.
    """
    shared = SharedMessage(json_encode(message) if isinstance(message, dict) else message, binary)
    for handler in handlers:
        conn = handler.ws_connection
        if conn is not None:
            conn.send_shared(shared)


class WebSocketHandler(Live, RequestHandler):
    """A WebSocket (RFC 6455); make a subclass with `on_message`, and `open` and `on_close` where they are needed::

        class Echo(WebSocketHandler):
            def on_message(self, message):
                self.write_message(message)

    `open`, `on_message`, `on_ping`, `on_pong` and `on_close` may be plain or ``async``.  While one of the first four is
    being awaited, further messages wait, so that they are handled one by one and in order.

    Settings of the application: ``websocket_ping_interval``, ``websocket_ping_timeout``,
    ``websocket_max_message_size``, ``websocket_max_queue_size``, ``websocket_queue_policy``,
    ``websocket_close_timeout`` and ``websocket_write_timeout``; `ConnectionSettings` tells what they mean.

    :ivar ws_connection: the connection; None before it is open, and from `close` or the end on.
    :ivar close_code: the code in the client's Close; None before, and where there was none.
    :ivar close_reason: the reason in it, None for none.
    """

    ws_connection: WebSocketConnection | None = None
    close_code: int | None = None
    close_reason: str | None = None
    open_args: tuple[Any, ...] = ()
    open_kwargs: dict[str, Any] = {}  # replaced, never added to

    _subprotocol: str | None = None
    _switched = False
    _on_close_called = False

    # From a request to a WebSocket.

    def get(self, *args: Any, **kwargs: Any) -> Awaitable[None]:
        """Open the WebSocket: check the handshake and the origin, agree on a subprotocol and on compression.

        :returns: an awaitable, done when `open` is.
        """
        self.open_args, self.open_kwargs = args, kwargs
        request = self.request
        try:
            key = check_request(request.method or "", request.version, request.headers)
            origin = request.headers.get("Origin")
            if origin is not None and not (self._is_same_origin(origin) or self.check_origin(origin)):
                raise HandshakeError("Cross origin websockets not allowed", 403)
            if self.application.draining:
                raise HandshakeError("the server is going away", 503, [("Retry-After", "1")])
            subprotocols = offered_subprotocols(request.headers)
            deflate, extensions = agree(
                self.get_compression_options(), request.headers.get_list("Sec-WebSocket-Extensions")
            )
        except RemoteProtocolError as error:
            self._refuse(error)
            return DONE
        self._subprotocol = self.select_subprotocol(subprotocols)
        if self._subprotocol is not None and self._subprotocol not in subprotocols:
            raise ValueError(f"select_subprotocol gave {self._subprotocol!r}, which was not offered")
        settings = self._connection_settings()
        machine = Machine(server=True, max_message_size=settings.max_message_size, deflate=deflate)
        self._switch(machine, settings, response_fields(key, self._subprotocol, extensions))
        return self._open()

    def _refuse(self, error: RemoteProtocolError) -> None:
        """Answer a handshake that cannot succeed."""
        request = self.request
        message = str(error)
        if error.status == 403:  # what to look for, where a proxy names another host
            message += f" (Origin {request.headers.get('Origin', '')[:100]!r}, Host {request.host[:100]!r})"
        gen_log.info("%s: no WebSocket: %s", request.remote_ip, message)
        self.clear()
        self.set_status(error.status)
        for name, value in getattr(error, "fields", ()):
            self.set_header(name, value)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(str(error))

    def _is_same_origin(self, origin: str) -> bool:
        """Whether the request is known to come from a page of this host."""
        request = self.request
        return request.headers.get("Sec-Fetch-Site") == "same-origin" or is_origin_of(origin, request.host)

    def check_origin(self, origin: str) -> bool:
        """Decide whether pages of another origin may open this WebSocket; override it to decide.

        Browsers let any page open a WebSocket to any server, with its cookies, and say where the page is from
        (RFC 6455 section 10.2).  This is called for requests from pages that are not known to be of the same origin; a
        request that names no origin is no browser's.

        :param origin: such as ``https://example.com``.
        :return: by default, whether the ``trusted_origins`` setting has it (`check_trusted_origin`).
        """
        return self.check_trusted_origin(origin)

    def _connection_settings(self) -> ConnectionSettings:
        """The limits and deadlines of this connection, by the application's settings."""
        settings = self.application.settings
        given = {
            name: settings[f"websocket_{name}"]
            for name in ("max_queue_size", "queue_policy", "close_timeout", "write_timeout")
            if f"websocket_{name}" in settings
        }
        return ConnectionSettings(
            ping_interval=self.ping_interval or 0.0,
            ping_timeout=self.ping_timeout,
            max_message_size=self.max_message_size,
            **given,
        )

    def _switch(
        self, machine: Machine, settings: ConnectionSettings, fields: Iterable[tuple[str, str]]
    ) -> None:
        """Answer 101, and have the connection speak WebSocket from there on."""
        exchange = self.request.connection
        if not isinstance(exchange, Exchange):
            raise RuntimeError("a WebSocket needs a request that came over a connection of its own")
        self._transforms = None
        self.set_status(101)
        for name in ("Content-Type", "Content-Length"):
            self.clear_header(name)
        for name, value in fields:
            self.set_header(name, value)
        self._write_head(exchange, self._first_chunk(b"", True))
        conn = WebSocketConnection(machine, self, copy_context(), settings)
        record = exchange.record
        if record is not None:
            conn.session = record.session = Session()
        try:
            exchange.hand_over(conn)
        except StreamClosedError:
            pass
        else:
            self.ws_connection = conn
            self.application.live.add(self)
            self._switched = True
        self._finished = True
        try:
            self.application.log_request(self)
            self.on_finish()
        except Exception as error:
            # Border: the client has its answer, whatever comes of this.
            self.callback_failed(error)

    def _open(self) -> Awaitable[None]:
        """Call `open`, then hand messages on."""
        conn = self.ws_connection
        if conn is None:  # the client has gone
            return DONE
        try:
            opened = self.open(*self.open_args, **self.open_kwargs)
        except (Exception, asyncio.CancelledError) as error:
            # Border: what a handler raises ends its connection, and nothing else.
            self._open_failed(conn, error)
            return DONE
        if opened is None or opened is DONE:
            conn.start(copy_context())
            return DONE
        return self._opened(conn, opened)

    async def _opened(self, conn: WebSocketConnection, opened: Awaitable[None]) -> None:
        try:
            await opened
        except asyncio.CancelledError as error:
            self._open_failed(conn, error)
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
        except Exception as error:
            # Border: what a handler raises ends its connection, and nothing else.
            self._open_failed(conn, error)
        else:
            conn.start(copy_context())

    def _open_failed(self, conn: WebSocketConnection, error: BaseException) -> None:
        self.callback_failed(error)
        if isinstance(error, HTTPError):
            refused = 400 <= error.status_code < 500 and error.status_code not in _PASSING
            reason = error.reason or responses.get(error.status_code, "")
            conn.close(
                CloseCode.POLICY_VIOLATION if refused else CloseCode.INTERNAL_ERROR,
                f"{error.status_code} {reason}".strip().encode()[:123].decode("utf-8", "ignore"),
            )
        else:
            conn.close(CloseCode.INTERNAL_ERROR)
        conn.start(copy_context())

    # To override.

    def open(self, *args: Any, **kwargs: Any) -> Awaitable[None] | None:
        """Called when the WebSocket is open, with the groups of the route's pattern; messages wait for its end.

        An `HTTPError` for a fault of the client's closes it with 1008, after which clients do not come back;
        `prepare` can refuse the handshake itself.
        """

    def on_message(self, message: str | bytes) -> Awaitable[None] | None:
        """Called with each message: str for a text message, bytes for a binary one."""
        raise NotImplementedError(f"{type(self).__name__} has no on_message, and a message has come")

    def on_ping(self, data: bytes) -> Awaitable[None] | None:
        """Called when the client has sent a ping; it has been answered already."""

    def on_pong(self, data: bytes) -> Awaitable[None] | None:
        """Called when the client has answered a ping."""

    def on_close(self) -> Awaitable[None] | None:
        """Called once when the connection is closed, by whomever; `close_code` and `close_reason` say more."""

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        """Choose one of the subprotocols that the client offers, or None (RFC 6455 section 1.9).

        :param subprotocols: the client's preferred first; empty when it offers none.
        """
        return None

    def get_compression_options(self) -> dict[str, Any] | None:
        """Options of compression; None, the default, to do without it (RFC 7692).

        An empty dict takes it with defaults.  ``compression_level`` (0 to 9) and ``mem_level`` (1 to 9) are those of
        zlib; a message of less than ``threshold`` bytes is sent as it is; ``server_no_context_takeover``,
        ``client_no_context_takeover``, ``server_max_window_bits`` and ``client_max_window_bits`` are offered to the
        client.  A connection with context takeover keeps some 200 KiB once it has sent and received.
        """
        return None

    @property
    def ping_interval(self) -> float | None:
        """Seconds between two pings (the ``websocket_ping_interval`` setting); None or 0 for none."""
        interval: float | None = self.application.settings.get("websocket_ping_interval")
        return interval

    @property
    def ping_timeout(self) -> float | None:
        """Seconds from a ping to its answer (``websocket_ping_timeout``); None for as long as the interval."""
        timeout: float | None = self.application.settings.get("websocket_ping_timeout")
        return timeout

    @property
    def max_message_size(self) -> int:
        """Bytes of the longest message taken (``websocket_max_message_size``, 10 MiB); a longer one closes (1009)."""
        size = self.application.settings.get("websocket_max_message_size")
        return 10 * 1024 * 1024 if size is None else int(size)

    # To call.

    @property
    def selected_subprotocol(self) -> str | None:
        """The subprotocol that was chosen."""
        return self._subprotocol

    def write_message(self, message: str | bytes | dict[str, Any], binary: bool = False) -> Awaitable[None]:
        """Send a message.

        :param message: a dict is sent as JSON.  Bytes in a text message must be UTF-8.
        :param binary: send a binary message; a str is sent as UTF-8.
        :returns: an awaitable, done when the client has taken enough for more.  Who sends much should await it; see
            ``websocket_queue_policy`` for what happens otherwise.
        :raises WebSocketClosedError: the connection is closed or being closed; also from the awaitable.
        """
        conn = self.ws_connection
        if conn is None:
            raise WebSocketClosedError()
        if isinstance(message, dict):
            message = json_encode(message)
        return conn.write(message, binary)

    def ping(self, data: str | bytes = b"") -> None:
        """Send a ping, of at most 125 bytes; its answer comes to `on_pong`.

        :raises WebSocketClosedError: the connection is closed or being closed.
        """
        if self.ws_connection is None:
            raise WebSocketClosedError()
        self.ws_connection.ping(data.encode() if isinstance(data, str) else data)

    def close(self, code: int | None = None, reason: str | bytes | None = None) -> None:
        """Close the connection: say so to the client, and wait for its answer for ``websocket_close_timeout``.

        :param code: such as `CloseCode.NORMAL_CLOSURE` (RFC 6455 section 7.4); with a reason, 1000 by default.
        :param reason: at most 123 bytes of UTF-8.
        """
        if self.ws_connection is not None:
            self.ws_connection.close(code, reason)
            self.ws_connection = None

    def set_nodelay(self, value: bool) -> None:
        """Send small messages at once (True, the default), or have the system gather them (False)."""
        if self.ws_connection is not None:
            self.ws_connection.set_nodelay(value)

    def get_websocket_protocol(self) -> None:
        """Nothing: which version of the protocol a client speaks is decided before (only 13 is spoken)."""

    # What belongs to HTTP, and is over with the handshake.

    write = _before_the_handshake(RequestHandler.write)
    redirect = _before_the_handshake(RequestHandler.redirect)
    set_header = _before_the_handshake(RequestHandler.set_header)
    set_cookie = _before_the_handshake(RequestHandler.set_cookie)
    set_status = _before_the_handshake(RequestHandler.set_status)
    flush = _before_the_handshake(RequestHandler.flush)
    finish = _before_the_handshake(RequestHandler.finish)

    # What the connection tells (the `Endpoint` interface).

    def connection_over(self, code: int | None, reason: str | None) -> None:
        """The connection is closed."""
        self.close_code, self.close_reason = code, reason
        self.ws_connection = None
        self.application.live.discard(self)
        self._leave_all()
        try:
            self.on_ws_connection_close(code, reason)
        except (Exception, asyncio.CancelledError) as error:
            # Border: what a handler raises must not keep `on_close` from being called.
            self.callback_failed(error)
        finally:
            self.on_connection_close()

    def on_connection_close(self) -> None:
        """Called when the connection is closed; calls `on_close`, once."""
        if self._on_close_called or not self._switched:
            return
        self._on_close_called = True
        try:
            closed = self.on_close()
        except (Exception, asyncio.CancelledError) as error:
            # Border: what a handler raises must not break the transport.
            self.callback_failed(error)
            return
        if closed is not None and closed is not DONE:
            task = asyncio.ensure_future(self._closed(closed))
            kept_tasks.add(task)
            task.add_done_callback(kept_tasks.discard)

    async def _closed(self, closed: Awaitable[None]) -> None:
        try:
            await closed
        except Exception as error:
            # Border: nobody awaits this.
            self.callback_failed(error)

    def on_ws_connection_close(self, close_code: int | None = None, close_reason: str | None = None) -> None:
        """Called before `on_connection_close` and `on_close`, with what the client's Close said."""

    def callback_failed(self, error: BaseException) -> None:
        """Log what `open`, `on_message` or another callback has raised; the connection is closed after it (1011)."""
        self.log_exception(type(error), error, error.__traceback__)

    # Publish/subscribe.

    def _live_event(self, place: Place, event: Message | Gap) -> None:
        conn = self.ws_connection
        if conn is None:
            return
        if isinstance(event, Message):
            place.position = event.id
            conn.send_shared(self._form(event, SharedMessage, _shared), place.missed)
        else:
            self._live_lost(place)

    def _live_joined(self, place: Place) -> None:
        if self.ws_connection is not None:
            if self.message_form is envelope:  # the client speaks the live protocol
                self.ws_connection.heartbeat = _HEARTBEAT
            self.ws_connection.send_shared(SharedMessage(joined(place.channel, place.position or "")))

    def _live_lost(self, place: Place) -> None:
        if self.ws_connection is not None:
            self.ws_connection.send_shared(SharedMessage(lost(place.channel)), place.missed)

    def _live_over(self) -> None:
        self.close(CloseCode.TRY_AGAIN_LATER, "no broker")

    def on_draining(self) -> None:
        """Called when the application is being shut down: closes with 1012, so that clients come back."""
        self.close(CloseCode.SERVICE_RESTART, "server restart")
