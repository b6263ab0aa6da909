"""Where the client for browsers lies, for a route of an application; nothing is served from here."""

from pathlib import Path

__all__ = ["STATIC_PATH"]

#: The folder of ``webfw-live.js``, for ``(r"/webfw/(.*)", StaticFileHandler, {"path": STATIC_PATH})``.
STATIC_PATH = str(Path(__file__).parent / "static")
