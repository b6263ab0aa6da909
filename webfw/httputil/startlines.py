"""The first line of a message, taken apart and checked (RFC 9112 sections 3, 4); the fields stay outside."""

import re
from typing import Final, NamedTuple

from webfw.httputil.errors import HTTPInputError

__all__ = ["RequestStartLine", "ResponseStartLine", "parse_request_start_line", "parse_response_start_line"]

# RFC 9112 section 3: method SP request-target SP HTTP-version.  The target may hold obs-text, as browsers
# send it.
_REQUEST: Final = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]++) ([!-~\x80-\xff]++) (HTTP/[0-9]\.[0-9])")

# RFC 9112 section 4: HTTP-version SP status-code SP [ reason-phrase ].
_RESPONSE: Final = re.compile(r"(HTTP/[0-9]\.[0-9]) ([1-9][0-9][0-9]) ([\t -~\x80-\xff]*+)")


class RequestStartLine(NamedTuple):
    """The first line of a request: ``method path version``, where the path is the whole request target."""

    method: str
    path: str
    version: str


class ResponseStartLine(NamedTuple):
    """The first line of a response: ``version code reason``; the reason may be empty."""

    version: str
    code: int
    reason: str


def parse_request_start_line(line: str) -> RequestStartLine:
    """Take the first line of a request apart.

    >>> parse_request_start_line("GET /foo HTTP/1.1")
    RequestStartLine(method='GET', path='/foo', version='HTTP/1.1')

    :param line: the line without its line end, decoded from latin-1.
    :raises HTTPInputError: the line is malformed (status 400), or its version is not HTTP/1.x (505).
    """
    match = _REQUEST.fullmatch(line)
    if match is None:
        # RFC 9112 section 3: answer 400.
        raise HTTPInputError("Malformed HTTP request line")
    method, path, version = match.groups()
    _check_version(version, 505)
    return RequestStartLine(method, path, version)


def parse_response_start_line(line: str) -> ResponseStartLine:
    """Take the first line of a response apart.

    >>> parse_response_start_line("HTTP/1.1 200 OK")
    ResponseStartLine(version='HTTP/1.1', code=200, reason='OK')

    :param line: the line without its line end, decoded from latin-1.
    :raises HTTPInputError: the line is malformed, or its version is not HTTP/1.x.
    """
    match = _RESPONSE.fullmatch(line)
    if match is None:
        raise HTTPInputError("Error parsing response start line")
    version, code, reason = match.groups()
    _check_version(version, 502)
    return ResponseStartLine(version, int(code), reason)


def _check_version(version: str, status: int) -> None:
    if not version.startswith("HTTP/1."):
        raise HTTPInputError(f"Unexpected HTTP version {version!r}", status)
