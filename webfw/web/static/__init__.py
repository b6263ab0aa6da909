"""Static files: served with validators, ranges and versions, never from outside their directory."""

from webfw.web.static.handler import StaticFileHandler

__all__ = ["StaticFileHandler"]
