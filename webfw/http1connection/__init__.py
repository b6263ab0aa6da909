"""HTTP/1.x on a stream that a program brings itself, as client or server; `HTTPServer` has a quicker way."""

from webfw.http1connection.connection import HTTP1Connection
from webfw.http1connection.fields import (
    CR_OR_LF_RE,
    DIGITS,
    HEXDIGITS,
    is_transfer_encoding_chunked,
    parse_hex_int,
    parse_int,
)
from webfw.http1connection.parameters import HTTP1ConnectionParameters
from webfw.http1connection.serving import HTTP1ServerConnection

__all__ = [
    "CR_OR_LF_RE",
    "DIGITS",
    "HEXDIGITS",
    "HTTP1Connection",
    "HTTP1ConnectionParameters",
    "HTTP1ServerConnection",
    "is_transfer_encoding_chunked",
    "parse_hex_int",
    "parse_int",
]
