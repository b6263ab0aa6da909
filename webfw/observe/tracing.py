"""Spans of requests, for OpenTelemetry (extra ``otel``); where they are sent, and which are kept, may not enter.

Names and attributes are those of the semantic conventions for HTTP servers (1.23 and later).
"""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Final

from webfw._version import __version__
from webfw.httpserver.observer import Observer, Record
from webfw.httputil import HTTPServerRequest, split_host_and_port

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, TracerProvider

__all__ = ["Tracing"]

#: Methods that go by their own name (RFC 9110, RFC 5789, and QUERY): clients can think up any other.
_METHODS: Final = frozenset(
    ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE")
)

#: Ends that are failures of this side, whatever the status was.
_FAILURES: Final = frozenset(("timeout", "cut"))


class Tracing(Observer):
    """Makes a span of every request, from its head to its last byte, in the trace that the client says it is part of.

    Spans that a handler makes, in its coroutine, in tasks that it starts or in a WSGI thread, are children of it.  A
    WebSocket is one span, from its handshake to its end.

    :param provider: makes the tracer; by default the global one, which an application may set later too.  Without an
        OpenTelemetry SDK nothing is recorded, but the trace is passed on.
    :param exclude: paths of which no spans are made.
    :raises ImportError: opentelemetry-api is not installed.

    A request whose head could not be read has no span.
    """

    def __init__(
        self,
        *,
        provider: "TracerProvider | None" = None,
        exclude: Collection[str] = ("/healthz", "/readyz"),
    ) -> None:
        try:
            from opentelemetry import context, propagate, trace
        except ImportError as error:
            raise ImportError(
                "tracing needs the package opentelemetry-api: pip install webfw[otel]"
            ) from error
        self._context, self._propagate, self._trace = context, propagate, trace
        self._tracer = trace.get_tracer("webfw", __version__, provider)
        self._exclude = frozenset(exclude)

    def begun(self, record: Record) -> None:
        """Begin a span."""
        request = record.request
        assert request is not None
        if request.path in self._exclude:
            return
        parent = self._propagate.extract(request.headers, self._context.Context())
        method = request.method
        span = self._tracer.start_span(
            method if method in _METHODS else "HTTP",
            context=parent,
            kind=self._trace.SpanKind.SERVER,
            attributes=_attributes(request),
            start_time=_nanoseconds(record.started),
        )
        # Without an SDK, older versions of the API give a span of no trace, which would hide that of the client.
        valid = span.get_span_context().is_valid
        record.span = (span, self._trace.set_span_in_context(span, parent) if valid else parent)

    def handling(self, record: Record) -> None:
        """Let the handler's spans be children."""
        if record.span is not None:
            made: tuple[Span, Context] = record.span
            # Never detached: the context is that of this one handler, and ends with it.
            self._context.attach(made[1])
            self._name(made[0], record)

    def _name(self, span: "Span", record: Record) -> None:
        """Name the span after the route.  Only once, so that a handler may choose another name."""
        if record.route is not None and span.is_recording():
            request = record.request
            assert request is not None
            span.update_name(f"{request.method if request.method in _METHODS else 'HTTP'} {record.route}")
            span.set_attribute("http.route", record.route)

    def ended(self, record: Record) -> None:
        """End the span."""
        if record.span is None:
            return
        span: Span = record.span[0]
        record.span = None
        if span.is_recording():
            if record.handling_at is None:
                self._name(span, record)
            self._tell_end(span, record)
        assert record.ended_at is not None
        span.end(_nanoseconds(record.started + (record.ended_at - record.begun_at)))

    def _tell_end(self, span: "Span", record: Record) -> None:
        status = record.status
        if status:
            span.set_attribute("http.response.status_code", status)
        failed = status >= 500 or record.why in _FAILURES
        if failed:
            span.set_status(self._trace.StatusCode.ERROR)
        if status >= 500:
            span.set_attribute("error.type", str(status))
        elif failed or (record.why == "client_gone" and not record.upgraded):
            # A client that leaves is no error of ours, but the span tells why it has ended so.
            span.set_attribute("error.type", str(record.why))
        session = record.session
        if session is not None:
            span.set_attributes(
                {
                    "websocket.messages_in": session.messages_in,
                    "websocket.messages_out": session.messages_out,
                    "websocket.bytes_in": session.bytes_in,
                    "websocket.bytes_out": session.bytes_out,
                    "websocket.close_code": session.close_code,
                }
            )


def _attributes(request: HTTPServerRequest) -> dict[str, str | int]:
    """What is known of a request when its head is there.  The query is left out: it may have secrets."""
    method = request.method
    attributes: dict[str, Any] = {
        "http.request.method": method if method in _METHODS else "_OTHER",
        "url.path": request.path,
        "url.scheme": request.protocol,
        "network.protocol.version": request.version.removeprefix("HTTP/"),
    }
    if method not in _METHODS:
        attributes["http.request.method_original"] = method
    if request.host:
        name, port = split_host_and_port(request.host.lower())
        attributes["server.address"] = name.strip("[]")
        if port is not None:
            attributes["server.port"] = port
    if request.remote_ip:
        attributes["client.address"] = request.remote_ip
    agent = request.headers.get("User-Agent")
    if agent is not None:
        attributes["user_agent.original"] = agent
    return attributes


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
