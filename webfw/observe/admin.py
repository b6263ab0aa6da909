"""Where health and metrics are asked for: on an address of their own, or in front; what is answered may not enter."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from webfw.httpserver import Begin, Exchange
from webfw.httpserver.adapters import begin_with_callback, begin_with_delegate
from webfw.httputil import (
    HTTPConnection,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    HTTPServerRequest,
)
from webfw.observe.health import HealthHandler, Readiness, ReadinessHandler
from webfw.web import Application

if TYPE_CHECKING:
    from webfw.observe.metrics import Metrics

__all__ = ["HealthFront", "admin_application"]

HEALTH = "/healthz"
READY = "/readyz"


def admin_application(readiness: Readiness, metrics: "Metrics | None" = None) -> Application:
    """The application for an address of its own, which nobody should reach from outside: it asks for no password.

    It answers ``/healthz``, ``/readyz`` and, where there are metrics, ``/metrics``, and writes no access log.

    :param readiness: for ``/readyz``.
    :param metrics: for ``/metrics``.
    """
    routes: list[Any] = [(HEALTH, HealthHandler), (READY, ReadinessHandler, {"readiness": readiness})]
    if metrics is not None:
        from webfw.observe.metrics import MetricsHandler

        routes.append(("/metrics", MetricsHandler, {"metrics": metrics}))
    return Application(routes, log_function=_no_log)


def _no_log(handler: object) -> None:
    """Nobody wants a line for each probe, and a 503 is no error here."""


class HealthFront(HTTPServerConnectionDelegate):
    """Answers ``/healthz`` and ``/readyz`` on any host, and leaves all other requests to what stands behind::

        HTTPServer(HealthFront(application, readiness))

    :param request_callback: what else a server would be given: an application, a container, a delegate or a function.
    :param readiness: for ``/readyz``.
    """

    def __init__(
        self,
        request_callback: HTTPServerConnectionDelegate | Callable[[HTTPServerRequest], Any],
        readiness: Readiness,
    ) -> None:
        self.request_callback = request_callback
        self._own = admin_application(readiness)
        own = self._own.begin
        assert own is not None
        self._begin_own = own
        begin: Begin | None = getattr(request_callback, "begin", None)
        if begin is None:
            if isinstance(request_callback, HTTPServerConnectionDelegate):
                begin = begin_with_delegate(request_callback)
            else:
                begin = begin_with_callback(request_callback)
        self._begin_other = begin

    def begin(self, exchange: Exchange) -> Awaitable[None] | None:
        """Take an exchange from the server (`httpserver.Begin`)."""
        assert exchange.request is not None
        if exchange.request.path in (HEALTH, READY):
            return self._begin_own(exchange)
        return self._begin_other(exchange)

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        """Take a request (Tornado's delegate interface), from who watches requests that way.

        :raises NotImplementedError: what stands behind is a function.
        """
        request = getattr(request_conn, "request", None)
        if request is not None and request.path in (HEALTH, READY):
            return self._own.start_request(server_conn, request_conn)
        if isinstance(self.request_callback, HTTPServerConnectionDelegate):
            return self.request_callback.start_request(server_conn, request_conn)
        raise NotImplementedError("request_callback is a function; it has no start_request")

    def on_close(self, server_conn: object) -> None:
        """A connection has ended."""
        if isinstance(self.request_callback, HTTPServerConnectionDelegate):
            self.request_callback.on_close(server_conn)

    def start_draining(self, timeout: float) -> None:
        """The server is going away."""
        start_draining = getattr(self.request_callback, "start_draining", None)
        if start_draining is not None:
            start_draining(timeout)
