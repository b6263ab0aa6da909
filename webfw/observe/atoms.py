"""What can be said of a request in a log line: names, gunicorn's letters, formats of them; no logger may enter."""

import base64
import binascii
import difflib
import re
import time
from collections.abc import Callable
from typing import Any, Final

from webfw.httpserver.observer import Record
from webfw.httputil.request import has_field
from webfw.observe.requestid import traceparent_of

__all__ = [
    "ATOMS",
    "LETTERS",
    "compile_format",
    "iso_time",
    "milliseconds",
    "safe",
    "shown_status",
    "tls_version",
]

#: What an access log shows where the client did not wait for an answer, as other servers have it.
CLIENT_GONE: Final = 499

#: Whatever could move the cursor, end the line or close the quotes of a log line.
_UNSAFE: Final = re.compile(r'[^\x20-\x7e]|["\\]')


def _escape(match: re.Match[str]) -> str:
    char = match[0]
    if char in '"\\':
        return "\\" + char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def safe(text: str) -> str:
    """Text of a client's for a line, in quotes or not: what is not printable ASCII, quotes and backslashes escaped."""
    return _UNSAFE.sub(_escape, text)


# Times.

_local: tuple[int, str, str] = (-1, "", "")


def iso_time(when: float) -> str:
    """A time as ISO 8601, local, with milliseconds and offset: ``2026-01-31T23:59:59.123+01:00``.

    :param when: seconds since the epoch.
    """
    global _local
    second = int(when)
    kept = _local
    if second != kept[0]:  # what changes every second only
        local = time.localtime(second)
        offset = time.strftime("%z", local)
        kept = _local = (second, time.strftime("%Y-%m-%dT%H:%M:%S", local), f"{offset[:3]}:{offset[3:5]}")
    return f"{kept[1]}.{int(when * 1000) % 1000:03d}{kept[2]}"


_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _common_time(record: Record) -> str:
    """As the Common Log Format has it, whose months are English."""
    local = time.localtime(record.started)
    return time.strftime(f"[%d/{_MONTHS[local.tm_mon - 1]}/%Y:%H:%M:%S %z]", local)


def milliseconds(begin: float | None, end: float | None) -> float | None:
    """The time between two moments, None where one of them has not come."""
    return None if begin is None or end is None else round((end - begin) * 1000.0, 3)


def duration_ms(record: Record) -> float | None:
    return milliseconds(record.begun_at, record.ended_at)


def queue_ms(record: Record) -> float | None:
    return milliseconds(record.begun_at, record.handling_at)


def handler_ms(record: Record) -> float | None:
    return milliseconds(record.handling_at or record.begun_at, record.answering_at)


def write_ms(record: Record) -> float | None:
    return milliseconds(record.answering_at, record.ended_at)


# Of the request.


def shown_status(record: Record) -> int:
    """The status, 499 where the client did not wait for one; 0 where the connection was cut before."""
    return record.status or (CLIENT_GONE if record.why == "client_gone" else 0)


def peer(record: Record) -> str | None:
    request = record.request
    return (record.context.remote_ip if request is None else request.remote_ip) or None


def request_line(record: Record) -> str | None:
    request = record.request
    return None if request is None else f"{request.method} {request.uri} {request.version}"


def tls_version(record: Record) -> str | None:
    """The version of TLS, such as ``TLSv1.3``; None without TLS."""
    exchange = record.exchange
    tls = None if exchange is None else exchange.get_extra_info("ssl_object")
    return None if tls is None else tls.version()


def bytes_in(record: Record) -> int:
    return record.bytes_in if record.session is None else record.session.bytes_in


def bytes_out(record: Record) -> int:
    return record.bytes_out if record.session is None else record.session.bytes_out


def _traceparent(record: Record) -> str | None:
    return None if record.request is None else traceparent_of(record.request)


def _of_request(name: str) -> Callable[[Record], Any]:
    return lambda record: getattr(record.request, name, None) or None


def _of_session(name: str) -> Callable[[Record], Any]:
    return lambda record: getattr(record.session, name, None)


def _field(name: str) -> Callable[[Record], Any]:
    lower = name.lower()

    def field(record: Record) -> str | None:
        request = record.request
        if request is None or not has_field(request, lower):
            return None
        value: str | None = request.headers.get(name)
        return value

    return field


def _user(record: Record) -> str | None:
    """The name in the Authorization field, where that is Basic (RFC 7617)."""
    scheme, _, token = (_field("Authorization")(record) or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(token, validate=True).decode().partition(":")[0] or None
    except (binascii.Error, ValueError):
        return None


def _seconds(factor: float) -> Callable[[Record], Any]:
    def seconds(record: Record) -> float | None:
        return None if record.ended_at is None else (record.ended_at - record.begun_at) * factor

    return seconds


def _whole(number: Callable[[Record], Any]) -> Callable[[Record], Any]:
    return lambda record: int(number(record) or 0)


#: The names, each with what it stands for; None is written as ``-``.
ATOMS: Final[dict[str, Callable[[Record], Any]]] = {
    "time": lambda record: iso_time(record.started),
    "request_id": lambda record: record.request_id,
    "traceparent": _traceparent,
    "peer": peer,
    "protocol": _of_request("version"),
    "scheme": lambda record: record.context.protocol,
    "tls": tls_version,
    "method": _of_request("method"),
    "target": _of_request("uri"),
    "path": _of_request("path"),
    "query": _of_request("query"),
    "host": _of_request("host"),
    "request_line": request_line,
    "referer": _field("Referer"),
    "user_agent": _field("User-Agent"),
    "user": _user,
    "route": lambda record: record.route,
    "status": shown_status,
    "bytes_in": bytes_in,
    "bytes_out": bytes_out,
    "duration_ms": duration_ms,
    "queue_ms": queue_ms,
    "handler_ms": handler_ms,
    "write_ms": write_ms,
    "why": lambda record: record.why,
    "messages_in": _of_session("messages_in"),
    "messages_out": _of_session("messages_out"),
    "close_code": _of_session("close_code"),
}

#: Atoms that are numbers, for conversions such as ``%(duration_ms).1f``.
_NUMBERS: Final = {
    *("status", "bytes_in", "bytes_out", "duration_ms", "queue_ms", "handler_ms", "write_ms"),
    *("messages_in", "messages_out", "close_code", "worker", *"sBbTMD"),
}

#: What gunicorn has letters for.
LETTERS: Final[dict[str, Callable[[Record], Any]]] = {
    "h": peer,
    "l": lambda record: None,
    "u": _user,
    "t": _common_time,
    "r": request_line,
    "m": ATOMS["method"],
    "U": ATOMS["path"],
    "q": ATOMS["query"],
    "H": ATOMS["protocol"],
    "s": shown_status,
    "B": bytes_out,
    "b": lambda record: bytes_out(record) or None,
    "f": ATOMS["referer"],
    "a": ATOMS["user_agent"],
    "T": _whole(_seconds(1.0)),
    "M": _whole(_seconds(1e3)),
    "D": _whole(_seconds(1e6)),
    "L": lambda record: f"{_seconds(1.0)(record) or 0.0:.6f}",
    "p": lambda record: None,  # replaced by the worker's name
}

_ATOM: Final = re.compile(r"%%|%\((?P<name>[^)]*)\)(?P<form>[-+ 0#]*\d*(?:\.\d+)?[sdf])|%")
_HEADER: Final = re.compile(r"header\{([!#$%&'*+.^_`|~0-9A-Za-z-]+)\}|\{([!#$%&'*+.^_`|~0-9A-Za-z-]+)\}i")


def compile_format(form: str, worker: Callable[[], str | int]) -> Callable[[Record], str]:
    """Make a function that writes the line of a record.

    :param form: text with atoms: ``%(name)s``, and ``d`` or ``f`` with what goes before them for numbers; ``%%`` is a
        percent sign.
    :param worker: gives the name of this process.
    :raises ValueError: an atom is not known, is no number, or is not written as above.
    """
    known = {**ATOMS, **LETTERS, "worker": lambda record: worker(), "p": lambda record: f"<{worker()}>"}
    template = ""
    parts: list[Callable[[Record], str]] = []
    end = 0
    for match in _ATOM.finditer(form):
        template += form[end : match.start()]
        end = match.end()
        if match[0] == "%%":
            template += "%%"
        elif match["name"] is None:
            start = form[match.start() : match.start() + 20]
            raise ValueError(f"no atom: {start!r}; one is written %(name)s, and a percent sign %%")
        else:
            template += "%s"
            parts.append(_part(match["name"], match["form"], known))
    template += form[end:]
    if "\n" in template or "\r" in template:
        raise ValueError("a format of the access log is one line")
    return lambda record: template % tuple([part(record) for part in parts])


def _part(name: str, form: str, known: dict[str, Callable[[Record], Any]]) -> Callable[[Record], str]:
    """A function that writes one atom."""
    header = _HEADER.fullmatch(name)
    value = _field(header[1] or header[2]) if header else known.get(name)
    if value is None:
        near = difflib.get_close_matches(name, known, 1, 0.5)
        if name.startswith("header"):
            near = ["header{user-agent}"]
        hint = (
            f"; perhaps %({near[0]})s" if near else f"; there are {', '.join(sorted(ATOMS))}, header{{name}}"
        )
        raise ValueError(f"no atom %({name}){form[-1]}{hint}")
    if form == "s":

        def plain(record: Record) -> str:
            found = value(record)
            return "-" if found is None else safe(str(found))

        return plain
    if form[-1] != "s" and name not in _NUMBERS:
        raise ValueError(f"%({name}){form}: {name} is text, to be written as %({name})s")
    text = f"%{form}" if form[-1] == "s" else f"%{form.partition('.')[0].rstrip('df')}s"
    number = f"%{form}"

    def formatted(record: Record) -> str:
        found = value(record)
        if found is None or isinstance(found, str):
            return text % ("-" if found is None else safe(found))
        return str(number % found)

    return formatted
