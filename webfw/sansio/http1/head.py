"""Request heads: bytes in, one `RequestHead` out; what fields mean to an application stays outside."""

from typing import Any

from webfw.sansio.errors import RemoteProtocolError
from webfw.sansio.http1.faults import settle
from webfw.sansio.http1.framing import (
    connection_options,
    content_length,
    excerpt,
    field_values,
    is_chunked,
    keeps_alive,
)
from webfw.sansio.http1.grammar import REQUEST_HEAD, is_host
from webfw.sansio.http1.limits import HeadLimits
from webfw.sansio.http1.target import authority_of
from webfw.sansio.native import native

__all__ = ["HeadLimits", "RequestHead", "parse_head"]

_match_head = REQUEST_HEAD.fullmatch
_plain_head = None if native is None else native.plain_head

# Values of Host that have been found valid.  Only a memory of a pure function, so threads may share it;
# bounded in number, and in size because long values are not kept.
_valid_hosts: set[str] = {"localhost"}
_MAX_VALID_HOSTS = 1024
_MAX_KEPT_HOST = 255


class RequestHead:
    """One parsed request head.  Made by `parse_head`, which assigns every attribute.

    :ivar method: the method, case-sensitive, as received.
    :ivar target: the request target as received; `origin_form` turns an absolute-form into path and query.
    :ivar version: ``"HTTP/1.1"`` or ``"HTTP/1.0"``; a later 1.x counts as 1.1 (RFC 9110 section 2.5).
    :ivar minor: 1 or 0.
    :ivar fields: the validated field block as latin-1 text, ``"Name: value\\r\\n"`` for each line.
    :ivar host: the authority the request is for: that of the target if it names one, else the value of Host.
    :ivar end: the offset of the first byte after the head.
    :ivar keep_alive: whether the client lets the connection persist (RFC 9112 section 9.3).
    :ivar content_length: the length of the body in bytes, `None` when not given.
    :ivar chunked: whether the body is chunked.  Neither this nor a length: there is no body.
    :ivar expect_continue: whether the client waits for 100 (RFC 9110 section 10.1.1).
    :ivar upgrade: whether the client offers another protocol in Upgrade (RFC 9110 section 7.8).
    """

    __slots__ = (
        "chunked",
        "content_length",
        "end",
        "expect_continue",
        "fields",
        "host",
        "keep_alive",
        "method",
        "minor",
        "target",
        "upgrade",
        "version",
    )

    method: str
    target: str
    version: str
    minor: int
    fields: str
    host: str
    end: int
    keep_alive: bool
    content_length: int | None
    chunked: bool
    expect_continue: bool
    upgrade: bool

    def __repr__(self) -> str:
        values: list[tuple[str, Any]] = [(name, getattr(self, name, None)) for name in self.__slots__]
        return f"RequestHead({', '.join(f'{name}={value!r}' for name, value in values)})"


def parse_head(data: bytes, start: int, seen: int, limits: HeadLimits) -> RequestHead | None:
    """Parse the request head that begins at `start`; `None` when its end has not come yet.

    :param data: what has been received.
    :param start: where the head begins.  A few empty lines before it are skipped (RFC 9112 section 2.2).
    :param seen: how far an earlier call that returned `None` has looked: the length `data` had then; else
        `start`.
    :param limits: how large the head may be, and whether LF may end a line.
    :raises RemoteProtocolError: for whatever RFC 9112 forbids.  Status 400, or: 414 for a target that is
        too long, 431 for a head too large or with too many fields, 501 for a method over 24 characters or
        an unknown transfer coding, 505 for a major version other than 1, 417 for an expectation other than
        100-continue.  Raised as early as the bytes at hand allow; which fault is reported does not depend on how
        they were split.
    """
    # This function runs for every request, hence in one piece: a plain request makes no other call of ours.  One that
    # came whole may be plain enough for the C module; which it leaves to us otherwise, without a word.
    if (
        _plain_head is not None
        and seen <= start
        and (
            known := _plain_head(
                RequestHead,
                data,
                start,
                limits.max_header_size,
                limits.max_fields,
                limits.max_target,
                _valid_hosts,
            )
        )
        is not None
    ):
        return known  # type: ignore[no-any-return]
    look = seen - 3
    if look < start:
        look = start
    end = data.find(b"\r\n\r\n", look)
    if (
        end < 0
        or (end + 4 - start > limits.max_header_size)
        or (match := _match_head(text := str(data[start : end + 2], "latin-1"))) is None
        or data.count(b"\n", start, end) > limits.max_fields
    ):
        again = settle(data, start, seen, limits)
        if again is None:
            return None
        plain, begin, stop = again
        if (head := parse_head(plain, begin, begin, limits)) is not None:
            head.end = stop
        return head

    method, target, digit, fields = match.groups()
    if len(target) > limits.max_target:
        raise RemoteProtocolError(f"request target over {limits.max_target} bytes", 414)
    minor = 0 if digit == "0" else 1
    # The first line holds no CR, so a search for CR LF and a name in the whole text finds field lines only.
    lower = text.lower()

    # RFC 9112 section 3.2: exactly one Host in 1.1, at most one in 1.0, and its value must be valid or empty.
    at = lower.find("\r\nhost:")
    if at >= 0:
        stop = text.find("\r", at + 7)
        host = text[at + 7 : stop].strip(" \t")
        if host not in _valid_hosts:
            _check_host(host)
        if lower.find("\r\nhost:", stop) >= 0:
            raise RemoteProtocolError("more than one Host field")
    elif minor:
        raise RemoteProtocolError("no Host field")
    else:
        host = ""

    head = RequestHead()
    if (target[0] != "/" or method == "CONNECT") and (authority := authority_of(method, target)):
        # RFC 9112 section 3.2.2: Host MUST be ignored and the target's authority used instead.  It takes
        # the place of the value in the field block too, so that nobody can come to read the other one.
        host = authority
        if at >= 0:
            fields = _with_host(text, at, authority)
    head.method = method
    head.target = target
    head.version = "HTTP/1.1" if minor else "HTTP/1.0"
    head.minor = minor
    head.fields = fields
    head.host = host
    head.end = end + 4

    head.content_length = content_length(text, lower) if "\r\ncontent-length:" in lower else None
    head.chunked = "\r\ntransfer-encoding:" in lower and is_chunked(text, lower, minor)
    if "\r\nconnection:" in lower:
        options = connection_options(lower)
        head.keep_alive = keeps_alive(options, minor)
        # RFC 9110 section 7.8: Upgrade in HTTP/1.0 MUST be ignored.
        head.upgrade = minor > 0 and "upgrade" in options and "\r\nupgrade:" in lower
    else:
        head.keep_alive = minor > 0
        head.upgrade = False
    # RFC 9110 section 10.1.1: 100-continue in HTTP/1.0 MUST be ignored.
    head.expect_continue = minor > 0 and "\r\nexpect:" in lower and _expects_continue(lower)
    return head


def _with_host(text: str, at: int, host: str) -> str:
    """The field block of `text` with `host` as the value of the Host field whose line begins behind `at`."""
    replaced = f"{text[:at]}\r\nHost: {host}{text[text.find(chr(13), at + 2) :]}"
    return replaced[replaced.index("\n") + 1 :]


def _check_host(host: str) -> None:
    """Remember `host` as a valid value of Host, or raise `RemoteProtocolError` (400)."""
    # RFC 9112 section 3.2: empty when the target URI has no authority.
    if host and not is_host(host):
        raise RemoteProtocolError(f"malformed Host: {excerpt(host)}")
    if len(host) <= _MAX_KEPT_HOST:
        if len(_valid_hosts) >= _MAX_VALID_HOSTS:
            _valid_hosts.clear()
        _valid_hosts.add(host)


def _expects_continue(lower: str) -> bool:
    """Whether 100-continue is expected (RFC 9110 section 10.1.1: a list, in any case; 417 for any other member)."""
    members = {
        member.strip(" \t") for value in field_values(lower, lower, "expect") for member in value.split(",")
    } - {""}
    if unknown := sorted(members - {"100-continue"}):
        raise RemoteProtocolError(f"unknown expectation: {excerpt(unknown[0])}", 417)
    return bool(members)
