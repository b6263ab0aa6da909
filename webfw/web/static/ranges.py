"""Parts of a file for an answer: which ones a request gets, and several in one body; no file may be touched.

RFC 9110 section 14; the grammar of the field is in `webfw.httputil.ranges`.
"""

import re

from webfw.httputil.ranges import RangeNotSatisfiable, parse_ranges
from webfw.httputil.values import parse_http_date, strong_match

__all__ = [
    "RangeNotSatisfiable",
    "coalesce",
    "content_range",
    "multipart_pieces",
    "range_applies",
    "select_ranges",
]

# A single range whose end comes before its start.  It may be ignored or refused (RFC 9110 section 14.2);
# programs written for Tornado expect 416.
_REVERSED = re.compile(r"\s*bytes\s*=\s*([0-9]{1,18})\s*-\s*([0-9]{1,18})\s*", re.IGNORECASE)


def select_ranges(header: str, size: int) -> list[tuple[int, int]] | None:
    """Give the parts a Range field asks for, put together where they meet.

    :param header: the value of Range.
    :param size: the length of the file in bytes.
    :return: (start, end) pairs, ``end`` being the offset after the last byte; None for the whole file.
    :raises RangeNotSatisfiable: nothing of what is asked for is there: answer 416.
    """
    match = _REVERSED.fullmatch(header)
    if match is not None and int(match[2]) < int(match[1]):
        raise RangeNotSatisfiable(size)
    ranges = parse_ranges(header, size)
    if ranges is None:
        return None
    ranges = coalesce(ranges)
    return None if ranges == [(0, size)] else ranges


def coalesce(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join ranges that overlap or touch, so that no byte is sent twice; the order asked for is kept otherwise."""
    joined: list[list[int]] = []
    for start, end in sorted(ranges):
        if joined and start <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], end)
        else:
            joined.append([start, end])
    first_asked = {start: place for place, (start, _) in reversed(list(enumerate(ranges)))}
    return sorted(((start, end) for start, end in joined), key=lambda found: first_asked[found[0]])


def range_applies(if_range: str | None, etag: str | None, last_modified: str | None) -> bool:
    """Say whether a Range field counts, given If-Range (RFC 9110 section 13.1.5).

    :param if_range: the value of If-Range, None without one: an entity tag, compared strongly, or a date,
        which must be the same.
    """
    if if_range is None:
        return True
    if_range = if_range.strip()
    if if_range.endswith('"'):
        return etag is not None and strong_match(if_range, etag)
    date = parse_http_date(if_range)
    return date is not None and last_modified is not None and date == parse_http_date(last_modified)


def content_range(start: int, end: int, size: int) -> str:
    """Write the value of Content-Range for one part."""
    return f"bytes {start}-{end - 1}/{size}"


def multipart_pieces(
    ranges: list[tuple[int, int]], size: int, content_type: str, boundary: str
) -> tuple[list[bytes], bytes]:
    """Write what stands around several parts in one body, ``multipart/byteranges`` (RFC 9110 section 14.6).

    :return: what comes before each part, and what comes after the last.
    """
    heads = [
        f"\r\n--{boundary}\r\nContent-Type: {content_type}\r\n"
        f"Content-Range: {content_range(start, end, size)}\r\n\r\n".encode("latin-1")
        for start, end in ranges
    ]
    heads[0] = heads[0][2:]
    return heads, f"\r\n--{boundary}--\r\n".encode("latin-1")
