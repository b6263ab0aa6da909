"""How large a head may be; nothing but numbers may enter."""

from dataclasses import dataclass

__all__ = ["HeadLimits"]


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """What the parsers of heads allow.

    :param max_header_size: bytes of a whole head, from the first byte of its first line to the end of the
        empty line that ends it; more is answered with 431 (RFC 6585 section 5).
    :param max_fields: field lines; more is answered with 431.
    :param max_target: bytes of a request target; more is answered with 414 (RFC 9112 section 3).
    :param allow_bare_lf: whether a line of the head may end in LF without CR (RFC 9112 section 2.2).
    """

    max_header_size: int = 65536
    max_fields: int = 100
    max_target: int = 8190
    allow_bare_lf: bool = False
