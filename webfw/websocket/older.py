"""What programs written for Tornado ask of a handler's `ws_connection`, by its names there; nothing new may enter."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncio import Future

    from webfw.iostream.wire import Wire
    from webfw.sansio.websocket import Machine

__all__ = ["OlderNames"]


class OlderNames:
    """A part of `webfw.websocket.WebSocketConnection`."""

    __slots__ = ()

    if TYPE_CHECKING:
        _closed: bool
        closing: bool
        machine: Machine
        wire: Wire

        def write(self, data: str | bytes, binary: bool = False) -> Future[None]: ...
        def ping(self, data: bytes = b"") -> None: ...
        def abort(self) -> None: ...

    def is_closing(self) -> bool:
        """Whether the connection is closed or being closed."""
        return self.closing

    @property
    def client_terminated(self) -> bool:
        """Whether the peer has sent its Close, or is gone."""
        return self._closed or self.machine.close_reason is not None

    @property
    def server_terminated(self) -> bool:
        """Whether this side has ended the connection."""
        return self.closing

    @property
    def stream(self) -> Any:
        """The wire, which knows ``closed()``, ``close()``, ``socket``, ``set_nodelay`` and ``get_extra_info``."""
        return self.wire

    def set_nodelay(self, value: bool) -> None:
        """Send small messages at once (TCP_NODELAY, the default here), or gather them (Nagle's algorithm)."""
        self.wire.set_nodelay(value)

    def write_message(self, message: str | bytes, binary: bool = False) -> "Future[None]":
        """Send a message; see `WebSocketHandler.write_message`."""
        return self.write(message, binary)

    def write_ping(self, data: bytes) -> None:
        """Send a ping."""
        self.ping(data)

    def _abort(self) -> None:
        """Cut the connection, as sockjs-tornado asks for it."""
        self.abort()
