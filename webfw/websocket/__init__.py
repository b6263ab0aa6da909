"""WebSockets for servers and clients (RFC 6455, RFC 7692), and publish/subscribe through them."""

from webfw.websocket.client import WebSocketClientConnection, websocket_connect
from webfw.websocket.connection import WebSocketConnection
from webfw.websocket.errors import WebSocketClosedError, WebSocketError
from webfw.websocket.handler import WebSocketHandler, broadcast
from webfw.websocket.settings import ConnectionSettings

__all__ = [
    "ConnectionSettings",
    "WebSocketClientConnection",
    "WebSocketClosedError",
    "WebSocketConnection",
    "WebSocketError",
    "WebSocketHandler",
    "broadcast",
    "websocket_connect",
]
