"""Byte ranges: which are asked for, and which are ignored or refused (RFC 9110 section 14)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.httputil import RangeNotSatisfiable, _get_content_range, _parse_request_range, parse_ranges
from webfw.httputil.ranges import MAX_RANGES


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", [(0, 1)]),
        ("bytes=1-2", [(1, 3)]),
        ("bytes=6-", [(6, 10)]),
        ("bytes=-6", [(4, 10)]),
        ("bytes=-60", [(0, 10)]),
        ("bytes=5-50", [(5, 10)]),
        (" Bytes = 1 - 2 ", [(1, 3)]),
        ("bytes=0-1,3-4", [(0, 2), (3, 5)]),
        ("bytes= -1 ,, 0-0,", [(9, 10), (0, 1)]),
        ("bytes=0-1,20-30", [(0, 2)]),
        ("bytes=0-5,1-6", [(0, 6), (1, 7)]),
        ("bytes=0-9,0-9,0-9", [(0, 10)] * 3),
        ("bytes=0-999999999999999999", [(0, 10)]),
    ],
)
def test_ranges(header: str, expected: list[tuple[int, int]]) -> None:
    assert parse_ranges(header, 10) == expected


@pytest.mark.parametrize(
    "header",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=,",
        "lines=1-2",
        "bytes=a-b",
        "bytes=1-b",
        "bytes=2-1",
        "bytes=--1",
        "bytes=+1-2",
        "bytes=1_0-2",
        "bytes=٢-3",
        "bytes=-1-2",
        "bytes=1-2;3-4",
        "bytes=1-2,x",
        "bytes=1.5-2",
        "bytes=0-" + "9" * 19,
        "bytes=0-9,0-9,0-9,0-9",
        "bytes=" + "0-0," * (MAX_RANGES + 1),
        "bytes=" + "," * 100000,
        "bytes=" + "1-" * 10000,
    ],
)
def test_ignored(header: str) -> None:
    assert parse_ranges(header, 10) is None


@pytest.mark.parametrize(
    ("header", "size"), [("bytes=10-", 10), ("bytes=-0", 10), ("bytes=0-", 0), ("bytes=-5", 0)]
)
def test_not_satisfiable(header: str, size: int) -> None:
    with pytest.raises(RangeNotSatisfiable) as info:
        parse_ranges(header, size)
    assert (info.value.status, info.value.size) == (416, size)


@given(
    st.lists(st.tuples(st.none() | st.integers(0, 30), st.none() | st.integers(0, 30)), max_size=5),
    st.integers(0, 20),
)
def test_ranges_lie_within(specs: list[tuple[int | None, int | None]], size: int) -> None:
    header = "bytes=" + ",".join(f"{'' if a is None else a}-{'' if b is None else b}" for a, b in specs)
    data = bytes(range(size))
    try:
        ranges = parse_ranges(header, size)
    except RangeNotSatisfiable:
        return
    for start, end in ranges or ():
        assert 0 <= start < end <= len(data)


@given(st.text(alphabet="bytes=-,0123 \t"), st.integers(0, 100))
def test_any_text(header: str, size: int) -> None:
    for text in (header, "bytes=" + header):
        try:
            parse_ranges(text, size)
        except RangeNotSatisfiable as error:
            assert error.size == size  # noqa: PT017
        _parse_request_range(text)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=1-2", (1, 3)),
        ("bytes=6-", (6, None)),
        ("bytes=-6", (-6, None)),
        ("bytes=-0", (None, 0)),
        ("bytes=0-0", (0, 1)),
        ("foo=42", None),
        ("bytes=1-2,6-10", None),
        ("bytes=2-1", None),
        ("", None),
    ],
)
def test_one_range(header: str, expected: tuple[int | None, int | None] | None) -> None:
    assert _parse_request_range(header) == expected


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [(None, None, "bytes 0-3/4"), (1, 3, "bytes 1-2/4"), (2, None, "bytes 2-3/4"), (None, 1, "bytes 0-0/4")],
)
def test_content_range(start: int | None, end: int | None, expected: str) -> None:
    assert _get_content_range(start, end, 4) == expected
