"""WSGI applications (PEP 3333) on this server, beside native handlers."""

from webfw.httputil import HTTPServerRequest as HTTPRequest
from webfw.wsgi.container import WSGIContainer
from webfw.wsgi.environ import to_wsgi_str
from webfw.wsgi.filewrapper import FileWrapper
from webfw.wsgi.startresponse import ApplicationError

__all__ = ["ApplicationError", "FileWrapper", "HTTPRequest", "WSGIContainer", "to_wsgi_str"]
