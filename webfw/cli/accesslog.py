"""The access log's line as a ``log_function``, until ``serve`` leaves it to ``observe.AccessLog``; nothing else."""

import logging
from typing import TYPE_CHECKING

from webfw.log import access_log
from webfw.observe.accesslog import TimeFormatter
from webfw.observe.atoms import safe

if TYPE_CHECKING:
    from webfw.web import RequestHandler

__all__ = ["TimeFormatter", "log_function"]


def log_function(handler: "RequestHandler") -> None:
    """Log one finished request to ``webfw.access``, for the application setting ``log_function``."""
    status = handler.get_status()
    level = logging.INFO if status < 400 else logging.WARNING if status < 500 else logging.ERROR
    if not access_log.isEnabledFor(level):
        return
    request = handler.request
    access_log.log(
        level,
        '%s "%s" %d %d %.1fms',
        safe(request.remote_ip or "-"),
        safe(f"{request.method} {request.uri} {request.version}"),
        status,
        getattr(request.connection, "bytes_sent", 0),
        request.request_time() * 1000.0,
    )
