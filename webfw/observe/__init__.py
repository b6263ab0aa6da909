"""What can be seen of a server at work: access logs and request ids; each hangs on ``httpserver.observer``."""

from webfw.observe.accesslog import AccessLog, TimeFormatter
from webfw.observe.requestid import (
    RequestIdFilter,
    RequestIds,
    TraceParent,
    current_request_id,
    outgoing_fields,
    parse_traceparent,
)

__all__ = [
    "AccessLog",
    "RequestIdFilter",
    "RequestIds",
    "TimeFormatter",
    "TraceParent",
    "current_request_id",
    "outgoing_fields",
    "parse_traceparent",
]
