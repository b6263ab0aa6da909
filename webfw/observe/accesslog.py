"""One line for each request that has ended; where lines go, and what they cost to keep, is the handlers' matter."""

import logging
import os
import re
from collections.abc import Callable
from json import JSONEncoder
from typing import Any, Final

from webfw.httpserver.observer import Observer, Record
from webfw.log import access_log
from webfw.observe.atoms import (
    ATOMS,
    bytes_out,
    compile_format,
    duration_ms,
    iso_time,
    peer,
    request_line,
    safe,
    shown_status,
)

__all__ = ["AccessLog", "TimeFormatter"]

#: Formats that make a line with its own time, so that a handler need not put one in front.
_OWN_TIME: Final = re.compile(r"%\((?:time|t)\)")

#: Keys of the lines in JSON, in their order; ``worker`` and ``why`` come behind them.
_KEYS: Final = (
    *("time", "request_id", "traceparent", "peer", "protocol", "tls", "method", "target", "route", "status"),
    *("bytes_in", "bytes_out", "duration_ms", "queue_ms", "handler_ms", "write_ms"),
)
_SESSION_KEYS: Final = ("messages_in", "messages_out", "close_code")

#: Ends that a line for people names, since neither a status nor bytes show them.
_NOT_WHOLE: Final = frozenset({"client_gone", "timeout", "cut"})

_encode = JSONEncoder(separators=(",", ":")).encode


class AccessLog(Observer):
    """Writes a line for each request to a logger, when its response has been taken; for a WebSocket when it closes.

    :param format: ``text``, a line for people, without the time since log handlers have it; ``json``, an object of
        fixed keys; or a format with atoms such as ``%(peer)s %(status)d %(duration_ms).1f`` (their table is in the
        manual), in which gunicorn's atoms such as ``%(h)s`` mean what they mean there.
    :param logger: where to; ``webfw.access`` by default.
    :param worker: what to call this process; by default its number.
    :raises ValueError: the format has an atom that there is not.

    Whatever a client has sent is escaped, so that it can neither end a line nor move a cursor.  The level is INFO below
    status 400, WARNING below 500 and where the connection was cut without an answer, else ERROR.  Requests of
    applications that write an access log of their own (setting ``log_function``) are left to them.

    :ivar has_time: whether the lines tell the time, so that the handler's format need not.
    """

    writes_access_log = True

    def __init__(
        self, format: str = "text", *, logger: logging.Logger = access_log, worker: str | int | None = None
    ) -> None:
        self._logger = logger
        self._worker = worker
        self._line: Callable[[Record], str]
        if format == "text":
            self._line = _text
        elif format == "json":
            self._line = self._json
        else:
            self._line = compile_format(format, self._name_of_worker)
        self.has_time = format == "json" or _OWN_TIME.search(format) is not None

    def ended(self, record: Record) -> None:
        """Write the line of a request."""
        if not record.logged_by_application:
            self._write(record)

    def refused(self, record: Record) -> None:
        """Write the line of what could not be read."""
        self._write(record)

    def _write(self, record: Record) -> None:
        status = shown_status(record)
        if status >= 500:
            level = logging.ERROR
        elif status >= 400 or not status:
            level = logging.WARNING
        else:
            level = logging.INFO
        logger = self._logger
        if logger.isEnabledFor(level):
            # Not by `Logger.log`, which goes through the frames of the stack to say where this line stands.
            line = logger.makeRecord(logger.name, level, __file__, 0, self._line(record), (), None)
            # As `RequestIdFilter` would, while the request was handled.
            line.request_id = record.request_id or "-"
            logger.handle(line)

    def _name_of_worker(self) -> str | int:
        return os.getpid() if self._worker is None else self._worker

    def _json(self, record: Record) -> str:
        line: dict[str, Any] = {key: ATOMS[key](record) for key in _KEYS}
        line["status"] = line["status"] or None
        line["worker"] = self._name_of_worker()
        line["why"] = record.why
        if record.session is not None:
            for key in _SESSION_KEYS:
                line[key] = ATOMS[key](record)
        return _encode(line).replace("\x7f", "\\u007f")  # the one control character that JSON lets pass


def _text(record: Record) -> str:
    line = (
        f'{safe(peer(record) or "-")} "{safe(request_line(record) or "-")}" {shown_status(record)} '
        f"{bytes_out(record)} {duration_ms(record) or 0.0:.1f}ms"
    )
    session = record.session
    if session is not None:
        line += (
            f" websocket code={session.close_code} in={session.messages_in}/{session.bytes_in} "
            f"out={session.messages_out}/{session.bytes_out}"
        )
    return f"{line} why={record.why}" if record.why in _NOT_WHOLE else line


class TimeFormatter(logging.Formatter):
    """Writes the time as ISO 8601, local, with milliseconds and offset: ``2026-01-31T23:59:59.123+01:00``."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """Return the record's time."""
        return iso_time(record.created)
