"""Where Tornado has `SimpleAsyncHTTPClient`; the names only point to `webfw.httpclient`."""

from webfw.httpclient.errors import HTTPStreamClosedError, HTTPTimeoutError
from webfw.httpclient.simple import SimpleAsyncHTTPClient

__all__ = ["HTTPStreamClosedError", "HTTPTimeoutError", "SimpleAsyncHTTPClient"]
