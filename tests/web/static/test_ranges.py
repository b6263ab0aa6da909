import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.web.static.ranges import (
    RangeNotSatisfiable,
    coalesce,
    content_range,
    multipart_pieces,
    range_applies,
    select_ranges,
)


@pytest.mark.parametrize(
    ("header", "ranges"),
    [
        ("bytes=0-3", [(0, 4)]),
        ("bytes=3-", [(3, 10)]),
        ("bytes=-3", [(7, 10)]),
        ("bytes=8-99", [(8, 10)]),
        ("bytes=0-", None),
        ("bytes=0-9", None),
        ("bytes=-99", None),
        ("bytes=0-4,5-9", None),
        ("bytes=0-1,3-4", [(0, 2), (3, 5)]),
        ("bytes=5-6,0-1", [(5, 7), (0, 2)]),
        ("bytes=0-2,2-4", [(0, 5)]),
        ("bytes=0-1,50-60", [(0, 2)]),
        ("lines=0-3", None),
        ("bytes", None),
        ("bytes=x", None),
        ("bytes=" + ",".join(f"{n}-{n}" for n in range(100)), None),
        ("bytes=0-,0-,0-,0-", None),
    ],
)
def test_select_ranges(header: str, ranges: list[tuple[int, int]] | None) -> None:
    assert select_ranges(header, 10) == ranges


@pytest.mark.parametrize(
    "header", ["bytes=10-", "bytes=-0", "bytes=5-2", " Bytes = 5 - 2 ", "bytes=10-11,20-"]
)
def test_not_satisfiable(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable):
        select_ranges(header, 10)


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)).map(lambda r: (r[0], r[0] + r[1])), min_size=1)
)
def test_coalesced_ranges_cover_the_same_bytes_once(ranges: list[tuple[int, int]]) -> None:
    joined = coalesce(ranges)
    covered = [offset for start, end in joined for offset in range(start, end)]
    assert len(covered) == len(set(covered))
    assert set(covered) == {offset for start, end in ranges for offset in range(start, end)}
    ordered = sorted(joined)
    assert all(end < start for (_, end), (start, _) in itertools.pairwise(ordered))


@given(st.text(alphabet="bytes=0123456789-, x", max_size=60) | st.text(max_size=20), st.integers(0, 1000))
def test_whatever_is_asked_stays_inside_the_file(header: str, size: int) -> None:
    try:
        ranges = select_ranges(header, size)
    except RangeNotSatisfiable:
        return
    for start, end in ranges or []:
        assert 0 <= start < end <= size
    assert sum(end - start for start, end in ranges or []) <= size


DATE = "Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize(
    ("if_range", "etag", "modified", "applies"),
    [
        (None, None, None, True),
        ('"x"', '"x"', None, True),
        (' "x" ', '"x"', None, True),
        ('"x"', '"y"', None, False),
        ('"x"', None, DATE, False),
        ('W/"x"', 'W/"x"', None, False),
        (DATE, '"x"', DATE, True),
        ("Sunday, 06-Nov-94 08:49:37 GMT", None, DATE, True),
        ("Sun, 06 Nov 1994 08:49:38 GMT", None, DATE, False),
        (DATE, None, None, False),
        ("nonsense", '"x"', DATE, False),
    ],
)
def test_if_range(if_range: str | None, etag: str | None, modified: str | None, applies: bool) -> None:
    assert range_applies(if_range, etag, modified) is applies


def test_content_range() -> None:
    assert content_range(0, 4, 10) == "bytes 0-3/10"


def test_several_parts_in_one_body() -> None:
    content = b"0123456789"
    ranges = [(0, 2), (5, 9)]
    heads, tail = multipart_pieces(ranges, 10, "text/plain", "BOUND")
    body = (
        b"".join(head + content[start:end] for head, (start, end) in zip(heads, ranges, strict=True)) + tail
    )
    assert body == (
        b"--BOUND\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/10\r\n\r\n01"
        b"\r\n--BOUND\r\nContent-Type: text/plain\r\nContent-Range: bytes 5-8/10\r\n\r\n5678"
        b"\r\n--BOUND--\r\n"
    )
    assert len(re.findall(rb"--BOUND", body)) == 3
