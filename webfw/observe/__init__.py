"""What can be seen of a server at work: logs, request ids, health, metrics, spans; each by ``httpserver.observer``."""

from webfw.observe.accesslog import AccessLog, TimeFormatter
from webfw.observe.admin import HealthFront, admin_application
from webfw.observe.health import HealthHandler, Readiness, ReadinessHandler
from webfw.observe.metrics import Metrics, MetricsHandler, SharedMetrics
from webfw.observe.requestid import (
    RequestIdFilter,
    RequestIds,
    TraceParent,
    current_request_id,
    outgoing_fields,
    parse_traceparent,
)
from webfw.observe.tracing import Tracing

__all__ = [
    "AccessLog",
    "HealthFront",
    "HealthHandler",
    "Metrics",
    "MetricsHandler",
    "Readiness",
    "ReadinessHandler",
    "RequestIdFilter",
    "RequestIds",
    "SharedMetrics",
    "TimeFormatter",
    "TraceParent",
    "Tracing",
    "admin_application",
    "current_request_id",
    "outgoing_fields",
    "parse_traceparent",
]
