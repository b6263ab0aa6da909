"""Numbers and codings in fields, checked strictly, for programs that parse messages; webfw has `sansio.http1`."""

import re
from typing import Final

from webfw.httputil import HTTPHeaders, HTTPInputError

__all__ = [
    "CR_OR_LF_RE",
    "DIGITS",
    "HEXDIGITS",
    "is_transfer_encoding_chunked",
    "parse_hex_int",
    "parse_int",
]

#: Either half of a line end, which no field may hold.
CR_OR_LF_RE: Final = re.compile(b"[\r\n]")
#: A decimal number, and a hexadecimal one, as HTTP writes them (RFC 9110 section 8.6, RFC 9112 section 7.1).
DIGITS: Final = re.compile(r"[0-9]+")
HEXDIGITS: Final = re.compile(r"[0-9A-Fa-f]+")


def parse_int(s: str) -> int:
    """Parse a number of decimal digits and nothing else: no sign, underscore, blank or digit of another script.

    :raises ValueError: it is none.
    """
    if DIGITS.fullmatch(s) is None:
        raise ValueError(f"not a number: {s[:40]!r}")
    return int(s)


def parse_hex_int(s: str) -> int:
    """Parse a number of hexadecimal digits and nothing else.

    :raises ValueError: it is none.
    """
    if HEXDIGITS.fullmatch(s) is None:
        raise ValueError(f"not a hexadecimal number: {s[:40]!r}")
    return int(s, 16)


def is_transfer_encoding_chunked(headers: HTTPHeaders) -> bool:
    """Tell whether a message has ``Transfer-Encoding: chunked`` (RFC 9112 section 6.1).

    :raises HTTPInputError: there is a ``Content-Length`` beside it, or another coding.
    """
    coding = headers.get("Transfer-Encoding")
    if coding is None:
        return False
    if "Content-Length" in headers:
        raise HTTPInputError("Message with both Transfer-Encoding and Content-Length")
    if coding.lower() != "chunked":
        raise HTTPInputError(f"Unsupported Transfer-Encoding {coding[:40]!r}")
    return True
