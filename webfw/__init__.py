"""webfw: a web framework and production server in the style of Tornado; this page only names the rooms.

``import webfw`` creates no event loop and loads no submodule: ``webfw.web``, ``webfw.ioloop`` and the others are
imported on first use.
"""

import importlib
from types import ModuleType

from webfw._version import __version__

__all__ = ["__version__", "version", "version_info"]

#: The version as text, as Tornado names it.
version = __version__
#: The version as a tuple of four numbers, comparable in order; the last is 0 for a release.
version_info = (*(int(part) for part in __version__.split(".")), 0)

_ROOMS = frozenset(
    [
        "auth",
        "autoreload",
        "concurrent",
        "curl_httpclient",
        "escape",
        "gen",
        "http1connection",
        "httpclient",
        "httpserver",
        "httputil",
        "ioloop",
        "iostream",
        "locale",
        "locks",
        "log",
        "netutil",
        "options",
        "platform",
        "process",
        "pubsub",
        "queues",
        "routing",
        "simple_httpclient",
        "tcpclient",
        "tcpserver",
        "template",
        "testing",
        "tornado_compat",
        "util",
        "web",
        "websocket",
        "wsgi",
    ]
)


def __getattr__(name: str) -> ModuleType:
    if name in _ROOMS:
        return importlib.import_module("webfw." + name)
    raise AttributeError(f"module 'webfw' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_ROOMS])
