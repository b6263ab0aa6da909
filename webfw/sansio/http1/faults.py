"""What is wrong with a head, or still lacks; heads that are plainly right never come here.

The parsers find well-formed heads in one search and one match.  Every other case ends here: a head that has
not wholly come, empty lines before it, lines that end in a bare LF, and faults, which are found and named.

Two kinds of faults are told apart.  Some can be known before the end of the head: they are raised as soon as
they can, and the one that could be known first wins, so that the answer does not depend on how the bytes were
split.  The grammar of the lines is looked at when all of them are there.
"""

import re

from webfw.sansio.errors import RemoteProtocolError
from webfw.sansio.http1.framing import excerpt
from webfw.sansio.http1.grammar import (
    BARE_CR,
    BARE_CR_OR_LF,
    IS_FIELD_VALUE,
    IS_TARGET,
    IS_TOKEN,
    IS_VERSION,
    LENIENT_END,
    MAX_METHOD,
)
from webfw.sansio.http1.limits import HeadLimits

__all__ = ["LINE_SLACK", "settle"]

# RFC 9112 section 2.2: a server SHOULD ignore at least one empty line before a request line.  Old clients
# send one after a POST body; more than a few are an attack or not HTTP.
_MAX_EMPTY_LINES = 4

# What a first line may have beside its target: method, two spaces, version, CRLF, and room for none of it
# to be right.
LINE_SLACK = 64

# What a fault is and how soon it can be known, in bytes from the start of the head.
_Fault = tuple[int, RemoteProtocolError]


def settle(
    data: bytes, start: int, seen: int, limits: HeadLimits, response: bool = False
) -> tuple[bytes, int, int] | None:
    """Decide what to do with a head that did not match as a whole.

    :returns: `None` when more bytes are needed; otherwise ``(data, start, end)`` to parse instead: the same
        head without the empty lines before it and with CRLF at the end of each line, and where it ends in
        the original.
    :raises RemoteProtocolError: in every other case.
    """
    begin = start if response else _skip_empty_lines(data, start, limits)
    if begin is None:
        return None
    end = _end_of_head(data, max(begin, seen - 3), limits)
    known = len(data) if end is None else end
    if end is not None or _looks_faulty(data, begin, seen, limits):
        fault = _first_fault(data, begin, known, end is not None, limits, response)
        if fault is not None:
            raise fault
    if end is None:
        return None
    head = data[begin:end]
    if limits.allow_bare_lf:
        head = head.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        if head != data[begin:end]:
            return head, 0, end
    if begin != start:
        return data, begin, end
    raise _grammar_fault(str(head, "latin-1"), response)


def _skip_empty_lines(data: bytes, start: int, limits: HeadLimits) -> int | None:
    """Where the head begins behind the empty lines before it, `None` when that cannot be told yet."""
    for _ in range(_MAX_EMPTY_LINES + 1):
        if data.startswith(b"\r\n", start):
            start += 2
        elif limits.allow_bare_lf and data.startswith(b"\n", start):
            start += 1
        elif start >= len(data) or (start == len(data) - 1 and data[start] == 0x0D):
            return None
        else:
            return start
    raise RemoteProtocolError("too many empty lines before the request line")


def _end_of_head(data: bytes, start: int, limits: HeadLimits) -> int | None:
    if limits.allow_bare_lf:
        match = LENIENT_END.search(data, start)
        return None if match is None else match.end()
    end = data.find(b"\r\n\r\n", start)
    return None if end < 0 else end + 4


def _looks_faulty(data: bytes, start: int, seen: int, limits: HeadLimits) -> bool:
    """Whether a head whose end is missing may have a fault; looks at each byte a few times at most."""
    size = len(data) - start
    if size >= limits.max_header_size:
        return True
    before = max(seen - start, 0)
    bare = BARE_CR if limits.allow_bare_lf else BARE_CR_OR_LF
    if bare.search(data, max(start, seen - 1)) is not None:
        return True
    line_limit = limits.max_target + LINE_SLACK
    if before < line_limit <= size and data.find(b"\n", start, start + line_limit) < 0:
        return True
    # Counting begins anew each time, but only when a line has ended, and that is refused after max_fields of them.
    return data.find(b"\n", max(start, seen)) >= 0 and data.count(b"\n", start) > limits.max_fields + 1


def _first_fault(
    data: bytes, start: int, end: int, complete: bool, limits: HeadLimits, response: bool
) -> RemoteProtocolError | None:
    """Of the faults that can be known before the end of a head, the one that can be known first."""
    faults: list[_Fault] = []
    size = end - start

    bare = (BARE_CR if limits.allow_bare_lf else BARE_CR_OR_LF).search(data, start, end)
    if bare is not None:
        # RFC 9112 section 2.2: a bare CR is never a line end; a bare LF need not be one.
        is_cr = data[bare.start()] == 0x0D
        name = "CR" if is_cr else "LF"
        faults.append((bare.start() - start + 1 + is_cr, RemoteProtocolError(f"bare {name} in the head")))

    line_limit = limits.max_target + LINE_SLACK
    first_line = data.find(b"\n", start, end) - start
    if size >= line_limit and not 0 <= first_line < line_limit:
        faults.append((line_limit, _long_first_line(data, start, limits, response)))

    too_large = size > limits.max_header_size if complete else size >= limits.max_header_size
    if too_large:
        message = f"head over {limits.max_header_size} bytes"
        faults.append((limits.max_header_size, RemoteProtocolError(message, 431)))

    # The line that is one too many: behind the first line and max_fields others.  The empty line does not
    # count.
    at = start - 1
    for _ in range(limits.max_fields + 2):
        at = data.find(b"\n", at + 1, end)
        if at < 0:
            break
    else:
        if not (complete and at == end - 1):
            message = f"more than {limits.max_fields} field lines"
            faults.append((at - start + 1, RemoteProtocolError(message, 431)))

    return min(faults, key=lambda fault: fault[0])[1] if faults else None


def _long_first_line(data: bytes, start: int, limits: HeadLimits, response: bool) -> RemoteProtocolError:
    if response:
        return RemoteProtocolError("status line too long")
    if b" " not in data[start : start + MAX_METHOD + 1]:
        return RemoteProtocolError(f"method over {MAX_METHOD} characters", 501)
    return RemoteProtocolError(f"request target over {limits.max_target} bytes", 414)


def _grammar_fault(head: str, response: bool) -> RemoteProtocolError:
    """Name the first thing in a whole `head` that is against the grammar."""
    first, *fields = head[:-4].split("\r\n")
    fault = _status_line_fault(first) if response else _request_line_fault(first)
    if fault is not None:
        return fault
    for line in fields:
        problem = _field_line_fault(line)
        if problem is not None:
            return RemoteProtocolError(f"{problem}: {excerpt(line)}")
    return RemoteProtocolError("malformed head")


def _request_line_fault(line: str) -> RemoteProtocolError | None:
    """RFC 9112 section 3: request-line = method SP request-target SP HTTP-version."""
    parts = line.split(" ")
    if len(parts) != 3:
        return RemoteProtocolError(f"malformed request line: {excerpt(line)}")
    method, target, version = parts
    if IS_TOKEN.fullmatch(method) is None:
        return RemoteProtocolError(f"malformed method: {excerpt(method)}")
    if IS_TARGET.fullmatch(target) is None:
        return RemoteProtocolError(f"malformed request target: {excerpt(target)}")
    fault = _version_fault(version)
    if fault is None and len(method) > MAX_METHOD:
        return RemoteProtocolError(f"method over {MAX_METHOD} characters", 501)
    return fault


def _status_line_fault(line: str) -> RemoteProtocolError | None:
    """RFC 9112 section 4: status-line = HTTP-version SP status-code SP [ reason-phrase ]."""
    version, _, rest = line.partition(" ")
    fault = _version_fault(version)
    if fault is None and (re.fullmatch("[1-9][0-9][0-9](?: .*)?", rest) is None or _has_control(rest)):
        return RemoteProtocolError(f"malformed status line: {excerpt(line)}")
    return fault


def _version_fault(version: str) -> RemoteProtocolError | None:
    """RFC 9112 section 2.3, and RFC 9110 section 15.6.6: 505 for another major version."""
    match = IS_VERSION.fullmatch(version)
    if match is None:
        return RemoteProtocolError(f"malformed HTTP version: {excerpt(version)}")
    if match[1] != "1":
        return RemoteProtocolError(f"HTTP version not supported: {excerpt(version)}", 505)
    return None


def _has_control(text: str) -> bool:
    return IS_FIELD_VALUE.fullmatch(text) is None


def _field_line_fault(line: str) -> str | None:
    """What is wrong with one field line (RFC 9112 section 5), `None` when nothing is."""
    name, colon, value = line.partition(":")
    if line[:1] in (" ", "\t"):
        return "obsolete line folding or whitespace before a field name"  # sections 5.2 and 2.2
    if not colon:
        return "field line without a colon"
    if not name:
        return "empty field name"
    if name[-1] in " \t":
        return "whitespace before the colon"  # section 5.1
    if IS_TOKEN.fullmatch(name) is None:
        return "malformed field name"
    if _has_control(value):
        return "control character in a field value"  # RFC 9110 section 5.5
    return None
