"""One line per request for people to read; deciding when to log is the application's work."""

import logging
import re
import time
from typing import TYPE_CHECKING

from webfw.log import access_log

if TYPE_CHECKING:
    from webfw.web import RequestHandler

__all__ = ["TimeFormatter", "log_function"]

#: Whatever could move the cursor, end the line or close the quotes of a log line.
_UNSAFE = re.compile(r'[^\x20-\x7e]|["\\]')


def _escape(match: re.Match[str]) -> str:
    char = match[0]
    if char in '"\\':
        return "\\" + char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def log_function(handler: "RequestHandler") -> None:
    """Log one finished request to ``webfw.access``, for the application setting ``log_function``.

    The line has the peer's address, the request line in quotes with unsafe characters escaped, the status,
    the size of the body sent in bytes and the time taken in milliseconds.  Its level is INFO below status
    400, WARNING below 500 and ERROR from there.
    """
    status = handler.get_status()
    level = logging.INFO if status < 400 else logging.WARNING if status < 500 else logging.ERROR
    if not access_log.isEnabledFor(level):
        return
    request = handler.request
    access_log.log(
        level,
        '%s "%s" %d %d %.1fms',
        _UNSAFE.sub(_escape, request.remote_ip or "-"),
        _UNSAFE.sub(_escape, f"{request.method} {request.uri} {request.version}"),
        status,
        getattr(request.connection, "bytes_sent", 0),
        request.request_time() * 1000.0,
    )


class TimeFormatter(logging.Formatter):
    """Writes the time as ISO 8601, local, with milliseconds and offset: ``2026-01-31T23:59:59.123+01:00``."""

    _second = -1
    _text = ("", "")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """Return the record's time; the part that only changes every second is kept."""
        second = int(record.created)
        if second != self._second:
            local = time.localtime(second)
            offset = time.strftime("%z", local)
            self._text = (time.strftime("%Y-%m-%dT%H:%M:%S", local), f"{offset[:3]}:{offset[3:5]}")
            self._second = second
        return f"{self._text[0]}.{int(record.created * 1000) % 1000:03d}{self._text[1]}"
