"""Byte ranges: what a Range field asks for, what Content-Range says (RFC 9110 section 14); no file enters."""

import re
from typing import Final

from webfw.httputil.errors import RangeNotSatisfiable

__all__ = ["MAX_RANGES", "RangeNotSatisfiable", "parse_ranges"]

#: How many ranges one Range field may ask for before it is ignored (RFC 9110 section 14.2 allows that).
MAX_RANGES: Final = 20

# RFC 9110 sections 14.1.1 and 14.1.2: int-range and suffix-range.  Eighteen digits are an exabyte.
_SPEC: Final = re.compile(r"([0-9]{0,18})[ \t]*-[ \t]*([0-9]{0,18})")


def _specs(header: str) -> list[tuple[str, str]] | None:
    """The (first, last) texts of a bytes Range field, or None when it is no valid one."""
    unit, equals, ranges = header.partition("=")
    if not equals or unit.strip(" \t").lower() != "bytes":
        return None
    specs: list[tuple[str, str]] = []
    # RFC 9110 section 5.6.1.2: empty list elements are to be ignored, in reasonable number.
    for part in ranges.split(",", 2 * MAX_RANGES):
        part = part.strip(" \t")
        if not part:
            continue
        match = _SPEC.fullmatch(part)
        if match is None:
            return None
        first, last = match.groups()
        if (not first and not last) or (first and last and int(last) < int(first)):
            return None
        specs.append((first, last))
    return specs


def parse_ranges(header: str, size: int) -> list[tuple[int, int]] | None:
    """Find out which parts of a representation a Range field asks for.

    :param header: the value of Range, such as ``bytes=0-99,-50``.
    :param size: the length of the representation in bytes.
    :return: (start, end) pairs in the order asked for, where ``end`` is the offset after the last byte;
        ranges beyond the end are cut or left out.  None when the field must or may be ignored: another unit,
        malformed, more than `MAX_RANGES` ranges, or more than two that overlap (RFC 9110 section 14.2).
    :raises RangeNotSatisfiable: none of the ranges overlaps the representation: answer 416.
    """
    specs = _specs(header)
    if not specs or len(specs) > MAX_RANGES:
        return None
    ranges: list[tuple[int, int]] = []
    for first, last in specs:
        if first:
            start, end = int(first), (int(last) + 1 if last else size)
        else:
            start, end = max(0, size - int(last)), size
        end = min(end, size)
        if start < end:
            ranges.append((start, end))
    if not ranges:
        raise RangeNotSatisfiable(size)
    if len(ranges) > 1 and _overlaps(ranges) > 2:
        return None
    return ranges


def _overlaps(ranges: list[tuple[int, int]]) -> int:
    """How many ranges begin before another one, further left, has ended."""
    count = reach = 0
    for start, end in sorted(ranges):
        if start < reach:
            count += 1
        reach = max(reach, end)
    return count


def _parse_request_range(range_header: str) -> tuple[int | None, int | None] | None:
    """Take a Range field with one range apart, without knowing the size.

    >>> start, end = _parse_request_range("bytes=1-2")
    >>> print(start, end)
    1 3
    >>> _parse_request_range("bytes=6-")
    (6, None)
    >>> _parse_request_range("bytes=-6")
    (-6, None)
    >>> _parse_request_range("bytes=-0")
    (None, 0)
    >>> _parse_request_range("foo=42")
    >>> _parse_request_range("bytes=1-2,6-10")

    :return: (start, end) to slice with, where a negative start counts from the end; None for whatever is not
        exactly one valid range of bytes.
    """
    specs = _specs(range_header)
    if not specs or len(specs) != 1:
        return None
    first, last = specs[0]
    if first:
        return int(first), (int(last) + 1 if last else None)
    return (-int(last), None) if int(last) else (None, 0)


def _get_content_range(start: int | None, end: int | None, total: int) -> str:
    """The value of Content-Range for a slice.

    >>> print(_get_content_range(None, 1, 4))
    bytes 0-0/4
    >>> print(_get_content_range(1, 3, 4))
    bytes 1-2/4
    >>> print(_get_content_range(None, None, 4))
    bytes 0-3/4
    """
    start = start or 0
    end = (end or total) - 1
    return f"bytes {start}-{end}/{total}"
