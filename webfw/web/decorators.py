"""Decorators for the methods of handlers, and one for handlers; what a handler does itself may not enter."""

import functools
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

from webfw.httputil import HTTPServerRequest, url_concat
from webfw.web.errors import HTTPError
from webfw.web.state import HandlerState

__all__ = ["_has_stream_request_body", "addslash", "authenticated", "removeslash", "stream_request_body"]

Method = TypeVar("Method", bound=Callable[..., Awaitable[None] | None])
Handler = TypeVar("Handler", bound=type)


def authenticated(method: Method) -> Method:
    """Decorate a verb's method so that it needs a logged-in user (see `RequestHandler.current_user`).

    Without one, a GET or HEAD request is redirected to `RequestHandler.get_login_url`, with the request's URL in the
    argument ``next``, and any other request is answered with 403.  Where the login URL has a query already, it is left
    as it is; where it is on another site, ``next`` is a full URL.  The login page must make sure that it redirects
    only to where it should.
    """

    @functools.wraps(method)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Awaitable[None] | None:
        if not self.current_user:
            if self.request.method not in ("GET", "HEAD"):
                raise HTTPError(403)
            url = self.get_login_url()
            if "?" not in url:
                url = url_concat(url, {"next": _return_url(self.request, url)})
            self.redirect(url)
            return None
        return method(self, *args, **kwargs)

    return wrapper  # type: ignore[return-value]  # a wrapper of the same signature


def _return_url(request: HTTPServerRequest, login_url: str) -> str:
    parts = urlsplit(login_url)
    if parts.scheme or parts.netloc:
        return request.full_url()
    # The target may have been sent as a full URL (RFC 9112 section 3.2.2), of any site.
    return request.uri if request.uri.startswith("/") else _with_query(request, request.path)


def addslash(method: Method) -> Method:
    """Decorate a verb's method so that its path ends with a slash: ``/foo`` is redirected to ``/foo/``.

    The route must match both, as ``r"/foo/?"`` does.  Only GET and HEAD are redirected; others are answered with 404.
    """

    @functools.wraps(method)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Awaitable[None] | None:
        path = self.request.path
        if not path.endswith("/"):
            _redirect(self, path + "/")
            return None
        return method(self, *args, **kwargs)

    return wrapper  # type: ignore[return-value]  # a wrapper of the same signature


def removeslash(method: Method) -> Method:
    """Decorate a verb's method so that its path does not end with a slash: ``/foo/`` is redirected to ``/foo``.

    The route must match both, as ``r"/foo/*"`` does.  Only GET and HEAD are redirected; others are answered with 404.
    """

    @functools.wraps(method)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Awaitable[None] | None:
        path = self.request.path
        shorter = path.rstrip("/")
        if shorter and shorter != path:  # the root stays what it is
            _redirect(self, shorter)
            return None
        return method(self, *args, **kwargs)

    return wrapper  # type: ignore[return-value]  # a wrapper of the same signature


def _redirect(handler: Any, path: str) -> None:
    """Redirect permanently to a path of this site.

    :raises HTTPError: 404 for a method that should not be redirected; 403 where a browser would take the path for
        that of another site: it reads ``//host`` and ``/\\host`` as a URL without scheme (WHATWG URL section 4.4).
    """
    if handler.request.method not in ("GET", "HEAD"):
        raise HTTPError(404)
    if path[:1] != "/" or path[1:2] in ("/", "\\"):
        raise HTTPError(403, "cannot redirect path with two initial slashes")
    handler.redirect(_with_query(handler.request, path), permanent=True)


def _with_query(request: HTTPServerRequest, path: str) -> str:
    return f"{path}?{request.query}" if request.query else path


def stream_request_body(cls: Handler) -> Handler:
    """Decorate a handler so that it takes the body of its requests piece by piece.

    Each piece is given to ``data_received`` as it arrives; while the awaitable that returns is awaited, the client is
    held back.  `RequestHandler.prepare` runs before the first piece, the verb's method after the last one.
    ``request.body`` and the arguments of a form stay empty.

    :raises TypeError: the class is no `RequestHandler`.
    """
    _check_handler(cls)
    cls._stream_request_body = True  # type: ignore[attr-defined]  # declared in Verbs
    return cls


def _has_stream_request_body(cls: type) -> bool:
    """Whether a handler is decorated with `stream_request_body`."""
    _check_handler(cls)
    return bool(getattr(cls, "_stream_request_body", False))


def _check_handler(cls: Any) -> None:
    if not (isinstance(cls, type) and issubclass(cls, HandlerState)):
        raise TypeError(f"expected subclass of RequestHandler, got {cls!r}")
