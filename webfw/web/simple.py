"""Handlers that are done in one move: error, redirect, another application; no file and no page enters."""

import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

from webfw.httputil import (
    HTTPServerConnectionDelegate,
    HTTPServerRequest,
    RequestStartLine,
    qs_to_qsl,
    url_concat,
)
from webfw.web.errors import HTTPError
from webfw.web.handler import RequestHandler

__all__ = ["ErrorHandler", "FallbackHandler", "RedirectHandler"]


class ErrorHandler(RequestHandler):
    """Answers every request with an error; unknown paths come here, unless ``default_handler_class`` is set.

    :param status_code: the status, 400 to 599.
    """

    def initialize(self, status_code: int) -> None:
        self.set_status(status_code)

    def prepare(self) -> None:
        raise HTTPError(self._status_code)

    def check_xsrf_cookie(self) -> None:
        """Accept every request: the answer is an error anyway, so let it be the right one."""

    def check_trusted_origin(self, origin: str) -> bool:
        """Accept every origin, for the same reason."""
        return True


# --- redirects ---

# What browsers drop or mend before they look where a URL leads (WHATWG URL section 4.4).
_DROPPED = re.compile(r"[\t\r\n]")
_ENDS = "".join(map(chr, range(0x21)))
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)
_AUTHORITY_END = re.compile(r"[/?#]")


def _origin(url: str) -> tuple[str, str | None]:
    """Give the scheme and authority a browser sees in a URL: ``("", None)`` for a path of the same site."""
    url = _DROPPED.sub("", url.strip(_ENDS)).replace("\\", "/")
    scheme = ""
    match = _SCHEME.match(url)
    if match is not None:
        scheme, url = match[1].lower(), match[2]
    if not url.startswith("//"):
        return scheme, None
    # Browsers take any number of slashes for two.
    return scheme, _AUTHORITY_END.split(url.lstrip("/"), maxsplit=1)[0]


class RedirectHandler(RequestHandler):
    """Redirects every GET and HEAD request.

    ``url`` is a format string: the groups of the route's pattern take the place of ``{0}``, ``{1}`` ..., or
    of their names.  The arguments of the query are added to it::

        Application([(r"/pictures/(.*)", RedirectHandler, {"url": "/photos/{0}"})])

    :param url: where to, with placeholders in the path, query or fragment.
    :param permanent: answer 301 (the default), otherwise 302.

    What the client sends never changes the site the redirect leads to: a request that would is answered
    with 400.
    """

    def initialize(self, url: str, permanent: bool = True) -> None:
        self._url = url
        self._permanent = permanent

    def get(self, *args: Any, **kwargs: Any) -> None:
        to_url = self._url.format(*args, **kwargs)
        if self.request.query_arguments:
            arguments = list(qs_to_qsl(self.request.query_arguments))
            to_url = url_concat(to_url, arguments)  # type: ignore[arg-type]  # values as bytes are encoded as they are
        # The same with nothing in the groups: where the site's name ends in a group, the path may begin in it.
        empty = self._url.format(*[""] * len(args), **dict.fromkeys(kwargs, ""))
        if _origin(to_url) != _origin(empty):
            raise HTTPError(400, "Redirect to another site refused: %r", to_url)
        # The groups were decoded; what may not stand in a URL is encoded again (RFC 3986 section 2).
        self.redirect(quote(to_url, safe="%:/?#[]@!$&'()*+,;=~"), permanent=self._permanent)

    head = get


# --- another application ---


class FallbackHandler(RequestHandler):
    """Hands the request to another application, so that handlers serve some paths and it the rest.

    ``Application([(r"/live", Live), (r".*", FallbackHandler, {"fallback": WSGIContainer(app)})])``

    :param fallback: a callable that takes an `HTTPServerRequest`, such as a `WSGIContainer`, or an
        `HTTPServerConnectionDelegate`, such as a router or an `Application`.
    """

    def initialize(
        self, fallback: "Callable[[HTTPServerRequest], Any] | HTTPServerConnectionDelegate"
    ) -> None:
        self.fallback = fallback

    def prepare(self) -> Awaitable[None] | None:
        # The answer is no longer ours: nothing here may write or finish it.
        if callable(self.fallback):
            self.fallback(self.request)
            self._hand_over()
            return None
        return self._delegate(self.fallback)

    async def _delegate(self, fallback: HTTPServerConnectionDelegate) -> None:
        request = self.request
        delegate = fallback.start_request(request.server_connection, request.connection)
        start_line = RequestStartLine(request.method, request.uri, request.version)
        waiting = delegate.headers_received(start_line, request.headers)
        if waiting is not None:
            await waiting
        if request.body:
            waiting = delegate.data_received(request.body)
            if waiting is not None:
                await waiting
        delegate.finish()
        self._hand_over()

    def _hand_over(self) -> None:
        self._finished = True
        self.on_finish()
