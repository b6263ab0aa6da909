"""Response heads, for clients: bytes in, one `ResponseHead` out; no opinion on it may enter."""

from dataclasses import dataclass

from webfw.sansio.http1.faults import LINE_SLACK, settle
from webfw.sansio.http1.framing import connection_options, content_length, is_chunked, keeps_alive
from webfw.sansio.http1.grammar import RESPONSE_HEAD
from webfw.sansio.http1.limits import HeadLimits

__all__ = ["ResponseHead", "parse_response_head"]


@dataclass(slots=True)
class ResponseHead:
    """One parsed response head, with the framing of what follows it (RFC 9112 section 6.3).

    Exactly one of these holds: `chunked`, `until_close`, or `content_length` is a number (0 when the response
    has no body whatever its fields say, as with HEAD, 1xx, 204, 304, and 2xx to CONNECT).

    :ivar status: the status code, 100 to 999.
    :ivar reason: the reason phrase, often "".
    :ivar version: ``"HTTP/1.1"`` or ``"HTTP/1.0"``.
    :ivar minor: 1 or 0.
    :ivar fields: the validated field block as latin-1 text, ``"Name: value\\r\\n"`` for each line.
    :ivar end: the offset of the first byte after the head.
    :ivar keep_alive: whether the connection can be used again after the body.
    :ivar content_length: the length of the body that follows in bytes, or `None`.
    :ivar chunked: whether the body is chunked.
    :ivar until_close: whether the body ends where the connection does.
    :ivar upgrade: whether the connection speaks another protocol from here on (101, or 2xx to CONNECT).
    """

    status: int
    reason: str
    version: str
    minor: int
    fields: str
    end: int
    keep_alive: bool
    content_length: int | None
    chunked: bool
    until_close: bool
    upgrade: bool


def parse_response_head(
    data: bytes, start: int, seen: int, limits: HeadLimits, request_method: str = "GET"
) -> ResponseHead | None:
    """Parse the response head that begins at `start`; `None` when its end has not come yet.

    :param data: what has been received.
    :param start: where the head begins.
    :param seen: how far an earlier call that returned `None` has looked; else `start`.
    :param limits: how large the head may be; `max_target` bounds the status line.
    :param request_method: the method of the request it answers, on which the framing depends.
    :raises RemoteProtocolError: for whatever RFC 9112 forbids, for transfer codings other than chunked, and
        for repeated Content-Length fields.
    """
    end = data.find(b"\r\n\r\n", max(start, seen - 3))
    match = None
    text = ""
    if end >= 0 and end + 4 - start <= limits.max_header_size:
        text = str(data[start : end + 2], "latin-1")
        match = RESPONSE_HEAD.fullmatch(text)
    if (
        match is None
        or match.start(4) > limits.max_target + LINE_SLACK
        or data.count(b"\n", start, end) > limits.max_fields
    ):
        again = settle(data, start, seen, limits, response=True)
        if again is None:
            return None
        plain, begin, stop = again
        head = parse_response_head(plain, begin, begin, limits, request_method)
        if head is not None:
            head.end = stop
        return head

    digit, code, reason, fields = match.groups()
    minor = 0 if digit == "0" else 1
    status = int(code)
    lower = text.lower()
    tunnel = request_method == "CONNECT" and 200 <= status < 300
    length: int | None = 0
    chunked = False
    # Section 6.3, rules 1 and 2: these have no body, whatever the fields say.
    if not (request_method == "HEAD" or status < 200 or status in (204, 304) or tunnel):
        length = content_length(text, lower)
        chunked = is_chunked(text, lower, minor)
    until_close = length is None and not chunked
    return ResponseHead(
        status=status,
        reason=reason or "",
        version="HTTP/1.1" if minor else "HTTP/1.0",
        minor=minor,
        fields=fields,
        end=end + 4,
        keep_alive=not until_close and keeps_alive(connection_options(lower), minor),
        content_length=length,
        chunked=chunked,
        until_close=until_close,
        upgrade=status == 101 or tunnel,
    )
