"""How long a body is and whether the connection outlives it (RFC 9112); no parsing of lines may enter.

All functions take a head as `text`, whose field lines each begin behind a CRLF, with the same text in lower
case.  Both have been validated against the grammar.  Where the RFC leaves a recipient the choice between
repairing and refusing, these functions refuse: two readers that repair differently are what request smuggling
lives on.
"""

from webfw.sansio.errors import RemoteProtocolError
from webfw.sansio.http1.grammar import CONTENT_LENGTH

__all__ = ["connection_options", "content_length", "excerpt", "field_values", "is_chunked", "keeps_alive"]


def excerpt(text: str) -> str:
    """`text` quoted, escaped and cut so that it can stand in an error message (at most 60 characters)."""
    quoted = ascii(text[:50])
    return quoted if len(text) <= 50 and len(quoted) <= 60 else quoted[:56] + "..."


def field_values(text: str, lower: str, name: str) -> list[str]:
    """The values of all field lines called `name` (in lower case), without whitespace around them."""
    values = []
    needle = f"\r\n{name}:"
    at = lower.find(needle)
    while at >= 0:
        at += len(needle)
        stop = text.find("\r", at)
        values.append(
            text[at:stop].strip(" \t")
        )  # OWS only: str.strip() would eat obs-text such as \x85 and \xa0
        at = lower.find(needle, stop)
    return values


def content_length(text: str, lower: str) -> int | None:
    """The value of Content-Length in bytes, `None` when there is none (RFC 9110 section 8.6).

    :raises RemoteProtocolError: 400 for more than one value, even for equal ones, and for anything but 1 to
        18 digits.
    """
    values = field_values(text, lower, "content-length")
    if not values:
        return None
    # RFC 9112 section 6.3, rule 5: a list of equal values may be repaired or refused.
    if len(values) > 1 or "," in values[0]:
        raise RemoteProtocolError(f"more than one Content-Length: {excerpt(', '.join(values))}")
    if CONTENT_LENGTH.fullmatch(values[0]) is None:
        raise RemoteProtocolError(f"malformed Content-Length: {excerpt(values[0])}")
    return int(values[0])


def is_chunked(text: str, lower: str, minor: int) -> bool:
    """Whether the body is chunked; `False` when there is no Transfer-Encoding (RFC 9112 sections 6.1 and 7).

    :param minor: the minor version of the message.
    :raises RemoteProtocolError: 400 for a Transfer-Encoding in HTTP/1.0, beside a Content-Length, with a
        final coding other than chunked, with chunked more than once, with parameters or empty list
        elements; 501 when another coding stands before a final chunked.
    """
    values = field_values(lower, lower, "transfer-encoding")
    if not values:
        return False
    if minor == 0:
        raise RemoteProtocolError("Transfer-Encoding in an HTTP/1.0 message")
    if "\r\ncontent-length:" in lower:
        raise RemoteProtocolError("both Transfer-Encoding and Content-Length")
    if values == ["chunked"]:
        return True
    # The list is one list, however many lines it came in (RFC 9110 section 5.3).
    codings = [coding.strip(" \t") for value in values for coding in value.split(",")]
    shown = excerpt(", ".join(values))
    if codings[-1] != "chunked":
        # RFC 9112 section 6.3, rule 4: the length cannot be determined, MUST be 400.
        raise RemoteProtocolError(f"Transfer-Encoding does not end with chunked: {shown}")
    if "chunked" in codings[:-1] or "" in codings:
        raise RemoteProtocolError(f"malformed Transfer-Encoding: {shown}")
    raise RemoteProtocolError(f"unknown transfer coding: {shown}", 501)


def connection_options(lower: str) -> list[str]:
    """All options of all Connection fields, in lower case (RFC 9110 section 7.6.1); unknown ones are kept."""
    values = field_values(lower, lower, "connection")
    if len(values) == 1 and "," not in values[0]:
        return values  # most browsers, every request
    return [option.strip(" \t") for value in values for option in value.split(",")]


def keeps_alive(options: list[str], minor: int) -> bool:
    """Whether the connection persists, by version and Connection `options` (RFC 9112 section 9.3)."""
    return "close" not in options and (minor > 0 or "keep-alive" in options)
