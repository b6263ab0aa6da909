"""ASGI, both ways: ASGI applications on this server, and applications of webfw on other servers."""

from webfw.asgi.adapter import ASGIAdapter
from webfw.asgi.container import ASGIContainer, is_asgi_application
from webfw.asgi.lifespan import LifespanError
from webfw.asgi.response import ApplicationError, ClientDisconnected

__all__ = [
    "ASGIAdapter",
    "ASGIContainer",
    "ApplicationError",
    "ClientDisconnected",
    "LifespanError",
    "is_asgi_application",
]
