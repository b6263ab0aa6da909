"""HTTP from the asking side: requests, responses and their errors; the clients that send them are to come."""

from webfw.httpclient.errors import HTTPClientError, HTTPError, HTTPStreamClosedError, HTTPTimeoutError
from webfw.httpclient.messages import DEFAULTS, HTTPRequest, HTTPResponse, with_defaults

__all__ = [
    "DEFAULTS",
    "HTTPClientError",
    "HTTPError",
    "HTTPRequest",
    "HTTPResponse",
    "HTTPStreamClosedError",
    "HTTPTimeoutError",
    "with_defaults",
]
