"""HTTP from the asking side: clients, and the requests, responses and errors they deal in."""

from webfw.httpclient.client import AsyncHTTPClient, HTTPClient
from webfw.httpclient.command import main
from webfw.httpclient.errors import HTTPClientError, HTTPError, HTTPStreamClosedError, HTTPTimeoutError
from webfw.httpclient.messages import DEFAULTS, HTTPRequest, HTTPResponse, _RequestProxy, with_defaults

__all__ = [
    "DEFAULTS",
    "AsyncHTTPClient",
    "HTTPClient",
    "HTTPClientError",
    "HTTPError",
    "HTTPRequest",
    "HTTPResponse",
    "HTTPStreamClosedError",
    "HTTPTimeoutError",
    "_RequestProxy",
    "main",
    "with_defaults",
]
