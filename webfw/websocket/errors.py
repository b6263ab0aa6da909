"""What can go wrong with a WebSocket, as its user sees it; nothing else may enter."""

__all__ = ["WebSocketClosedError", "WebSocketError"]


class WebSocketError(Exception):
    """The base of the errors of this package."""


class WebSocketClosedError(WebSocketError):
    """Something was sent on a connection that is closed, or being closed."""
