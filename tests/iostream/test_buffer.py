"""Tests of webfw.iostream.buffer."""

import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.iostream.buffer import (
    Read,
    ReadBuffer,
    ReadBytes,
    ReadInto,
    ReadUntil,
    ReadUntilClose,
    ReadUntilRegex,
)
from webfw.iostream.errors import UnsatisfiableReadError


def buffer_of(data: bytes) -> ReadBuffer:
    buffer = ReadBuffer()
    buffer.append(data)
    return buffer


def rest(buffer: ReadBuffer) -> bytes:
    return buffer.take(len(buffer))


def test_a_queue_of_bytes() -> None:
    buffer = buffer_of(b"hello")
    buffer.append(memoryview(b" world"))
    assert len(buffer) == 11
    assert buffer.take(6) == b"hello "
    buffer.prepend(b"new ")
    target = bytearray(5)
    assert buffer.take_into(memoryview(target)) == 5
    assert target == b"new w"
    assert buffer.take(100) == b"orld"
    assert buffer.take(1) == b""
    assert buffer.take_into(memoryview(target)) == 0
    assert not buffer


def test_after_a_search_the_buffer_can_be_shortened() -> None:
    buffer = buffer_of(b"abcabc")
    assert buffer.search(re.compile(b"c")) == 3
    assert buffer.search(re.compile(b"x")) == -1
    assert buffer.take(3) == b"abc"


@given(st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=20), st.integers(0, 30))))
def test_it_behaves_as_plain_bytes_do(steps: list[tuple[int, bytes, int]]) -> None:
    buffer, model = ReadBuffer(), b""
    for kind, data, size in steps:
        if kind == 0:
            buffer.append(data)
            model += data
        elif kind == 1:
            buffer.prepend(data)
            model = data + model
        elif kind == 2:
            assert buffer.take(size) == model[:size]
            model = model[size:]
        else:
            target = bytearray(size)
            count = buffer.take_into(memoryview(target))
            assert target[:count] == model[:count]
            assert count == min(size, len(model))
            model = model[count:]
        assert len(buffer) == len(model)
        assert buffer.find(b"a", 0) == model.find(b"a")
    assert rest(buffer) == model


def test_a_number_of_bytes() -> None:
    buffer = buffer_of(b"abc")
    assert ReadBytes(4, False).take(buffer) is None
    assert ReadBytes(0, False).take(buffer) == b""
    assert ReadBytes(2, False).take(buffer) == b"ab"
    assert ReadBytes(5, True).take(buffer) == b"c"
    assert ReadBytes(5, True).take(buffer) is None


def test_into_the_callers_buffer_and_back() -> None:
    buffer = buffer_of(b"abc")
    target = bytearray(5)
    read = ReadInto(memoryview(target), False)
    assert read.take(buffer) is None
    assert not buffer
    buffer.append(b"d")
    assert read.take(buffer) is None
    read.give_back(buffer)
    assert len(buffer) == 4
    assert ReadInto(memoryview(target), True).take(buffer) == 4
    assert target == b"abcd\0"
    assert ReadInto(memoryview(target), True).take(buffer) is None
    assert ReadInto(memoryview(bytearray()), False).take(buffer) == 0


@pytest.mark.parametrize(
    ("data", "limit", "outcome"),
    [
        (b"abc\r\nx", None, b"abc\r\n"),
        (b"abc\r\nx", 5, b"abc\r\n"),
        (b"abc\r\nx", 4, UnsatisfiableReadError),
        (b"abcde", 5, None),
        (b"abcdef", 5, UnsatisfiableReadError),
        (b"abcd\r", 6, None),
        (b"", 0, None),
    ],
)
@pytest.mark.parametrize("by_regex", [False, True])
def test_within_the_limit_or_not(data: bytes, limit: int | None, outcome: Any, by_regex: bool) -> None:
    read: Read = ReadUntilRegex(re.compile(b"\r\n"), limit) if by_regex else ReadUntil(b"\r\n", limit)
    buffer = buffer_of(data)
    if outcome is UnsatisfiableReadError:
        with pytest.raises(UnsatisfiableReadError, match=rf"{limit} bytes"):
            read.take(buffer)
        assert rest(buffer) == data
    else:
        assert read.take(buffer) == outcome
        assert rest(buffer) == data[len(outcome or b"") :]


@given(st.text("ab", max_size=60), st.text("ab", min_size=1, max_size=4), st.lists(st.integers(1, 5)))
def test_a_delimiter_across_the_edges_of_arrivals(text: str, delimiter: str, sizes: list[int]) -> None:
    data, wanted = text.encode(), delimiter.encode()
    buffer, read = ReadBuffer(), ReadUntil(wanted, None)
    found = None
    position = 0
    while found is None and position < len(data):
        step = sizes.pop() if sizes else 1
        buffer.append(data[position : position + step])
        position += step
        found = read.take(buffer)
    at = data.find(wanted)
    assert found == (None if at < 0 else data[: at + len(wanted)])


def test_what_was_searched_is_not_searched_again() -> None:
    def seconds(arrivals: int) -> float:
        buffer, read = ReadBuffer(), ReadUntil(b"\r\n\r\n", None)
        begin = time.process_time()
        for _ in range(arrivals):
            buffer.append(b"x" * 64)
            assert read.take(buffer) is None
        return time.process_time() - begin

    seconds(100)
    # Twenty times the arrivals: 20 times the time if linear, 400 if quadratic.
    assert min(seconds(20_000) for _ in range(2)) < 120 * max(seconds(1000), 0.0002)


def test_everything_until_the_end() -> None:
    read, buffer = ReadUntilClose(), buffer_of(b"abc")
    assert read.take(buffer) is None
    assert read.take_at_end(buffer) == b"abc"
    assert read.take_at_end(buffer) == b""


def test_other_reads_yield_nothing_at_the_end() -> None:
    assert ReadBytes(5, False).take_at_end(buffer_of(b"abc")) is None
    with pytest.raises(NotImplementedError):
        Read().take(ReadBuffer())
