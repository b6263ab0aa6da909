"""Ids that requests go by, across processes and in logs, and the trace they belong to; making spans may not enter."""

import logging
import os
import re
from contextvars import ContextVar
from itertools import count
from secrets import token_hex
from typing import Final, NamedTuple

from webfw.httpserver.observer import Observer, Record
from webfw.httputil import HTTPServerRequest
from webfw.httputil.request import has_field

__all__ = [
    "RequestIdFilter",
    "RequestIds",
    "TraceParent",
    "current_request_id",
    "outgoing_fields",
    "parse_traceparent",
]

FIELD: Final = "X-Request-ID"

#: What an id from outside may look like: whatever the usual makers write, and nothing that means something to a log,
#: a shell or a page.
_SANE: Final = re.compile(r"[A-Za-z0-9._~:/+=@-]{1,128}")

_current: ContextVar[HTTPServerRequest | None] = ContextVar("webfw_request", default=None)


class RequestIds(Observer):
    """Gives every request an id: that of ``X-Request-ID`` where the peer is trusted, else a new one.

    The id is `HTTPServerRequest.request_id` for handlers, ``HTTP_X_REQUEST_ID`` in the environ of WSGI applications, in
    ``X-Request-ID`` of the response unless the application sets that itself, in the access log, and with
    `RequestIdFilter` in everything that is logged while the request is handled.

    :param trust: take over the id that the peer has sent; only behind a proxy that sets it, or anybody could choose the
        ids of your logs.  One of more than 128 characters, or of others than letters, digits and ``._~:/+=@-``, is
        replaced all the same.
    :param respond: put the id into the response.

    New ids are unique among processes and machines.  They are no secret: who knows one can guess the next.
    """

    def __init__(self, *, trust: bool = False, respond: bool = True) -> None:
        self._trust = trust
        self._respond = respond
        self._pid: int | None = None

    def begun(self, record: Record) -> None:
        """Give a request its id."""
        request = record.request
        assert request is not None
        found = self._given(request) if self._trust else None
        record.request_id = request.request_id = name = found or self._new()
        if self._respond:
            record.fields += ((FIELD, name),)

    def handling(self, record: Record) -> None:
        """Have what is logged from here on know its request."""
        _current.set(record.request)

    def _given(self, request: HTTPServerRequest) -> str | None:
        if not has_field(request, "x-request-id"):
            return None
        name: str | None = request.headers.get(FIELD)
        return name if name is not None and _SANE.fullmatch(name) else None

    def _new(self) -> str:
        pid = os.getpid()
        if pid != self._pid:  # the first, or after a fork: each process has a prefix of its own
            self._pid = pid
            self._prefix = token_hex(8)
            self._numbers = count(1)
        return f"{self._prefix}-{next(self._numbers):x}"


def current_request_id() -> str | None:
    """The id of the request that is being handled, also in tasks that its handler has started; None outside of any."""
    request = _current.get()
    return None if request is None else request.request_id


class RequestIdFilter(logging.Filter):
    """Gives log records a ``request_id``, ``-`` outside of requests, for formats with ``%(request_id)s``.

    Add it to a handler, so that records of all loggers have it::

        handler.addFilter(RequestIdFilter())
        handler.setFormatter(logging.Formatter("%(levelname)s %(request_id)s %(message)s"))
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the id; every record passes."""
        if not hasattr(record, "request_id"):
            record.request_id = current_request_id() or "-"
        return True


class TraceParent(NamedTuple):
    """A ``traceparent`` field (W3C Trace Context, section 3.2).

    :ivar trace_id: 32 hexadecimal digits in lower case.
    :ivar parent_id: 16 of them: the span of the caller.
    :ivar flags: the bits; 1 is "sampled".
    """

    trace_id: str
    parent_id: str
    flags: int

    @property
    def sampled(self) -> bool:
        """Whether the caller may have recorded its part of the trace."""
        return bool(self.flags & 1)

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.parent_id}-{self.flags:02x}"


_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


def parse_traceparent(text: str) -> TraceParent | None:
    """The trace that a ``traceparent`` field speaks of; None where it is not valid, and is to be ignored.

    Fields of later versions are read as far as they are known, as section 3.2.4 has it.
    """
    match = _TRACEPARENT.fullmatch(text.strip(" \t"))
    if match is None:
        return None
    version, trace_id, parent_id, flags, more = match.groups()
    if version == "ff" or (version == "00" and more is not None):
        return None
    if trace_id == "0" * 32 or parent_id == "0" * 16:
        return None
    return TraceParent(trace_id, parent_id, int(flags, 16))


def traceparent_of(request: HTTPServerRequest) -> str | None:
    """The ``traceparent`` of a request, if it has a valid one."""
    if not has_field(request, "traceparent"):
        return None
    text: str = request.headers.get("traceparent", "")
    return text.strip(" \t") if parse_traceparent(text) is not None else None


def outgoing_fields() -> dict[str, str]:
    """Fields for requests to other services made on behalf of the one that is being handled.

    They are ``X-Request-ID``, and ``traceparent`` and ``tracestate`` as they came, so that the trace goes on past this
    service; where it makes spans of its own, use the tracer's propagation instead.  Empty outside of requests.
    """
    request = _current.get()
    if request is None:
        return {}
    fields = {FIELD: request.request_id} if request.request_id else {}
    trace = traceparent_of(request)
    if trace is not None:
        fields["traceparent"] = trace
        state = request.headers.get("tracestate")
        if state is not None:
            fields["tracestate"] = state
    return fields
