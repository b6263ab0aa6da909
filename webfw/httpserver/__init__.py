"""HTTP servers: bytes from clients become exchanges, answered by whatever sits on the server."""

from webfw.httpserver.exchange import DONE, Begin, BodySink, Done, Exchange
from webfw.httpserver.limits import Limits
from webfw.httpserver.observer import Observer, Record, Session
from webfw.httpserver.peer import RequestContext
from webfw.httpserver.server import HTTPServer
from webfw.httputil import HTTPServerRequest as HTTPRequest

__all__ = [
    "DONE",
    "Begin",
    "BodySink",
    "Done",
    "Exchange",
    "HTTPRequest",
    "HTTPServer",
    "Limits",
    "Observer",
    "Record",
    "RequestContext",
    "Session",
]
