"""Tests of webfw.httpserver.collector: small bodies in memory, big ones in a file."""

import gc
import hashlib
import io
import os
import random
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.httpserver.collector import BodyCollector


class Request:
    body: bytes | None = None
    source: BodyCollector | None = None

    def _set_body_source(self, source: BodyCollector) -> None:
        self.source = source


def collected(body: bytes, limit: int, size: int = 100) -> tuple[BodyCollector, Any]:
    collector, request = BodyCollector(limit), Request()
    for start in range(0, len(body), size):
        collector.add(body[start : start + size])
    collector.finish(request)  # type: ignore[arg-type]
    assert collector.size == len(body)
    return collector, request


@pytest.mark.parametrize("body", [b"", b"one piece", b"several pieces " * 20])
def test_a_small_body_stays_in_memory(body: bytes) -> None:
    collector, request = collected(body, len(body))
    assert request.body == body
    assert request.source is None
    assert collector.in_memory


def test_a_body_in_one_piece_is_not_copied() -> None:
    body = os.urandom(200)
    assert collected(body, 1000, 1000)[1].body is body


BIG = random.Random(1).randbytes(5000)


def test_a_big_body_goes_to_a_file() -> None:
    collector, request = collected(BIG, 1000)
    assert not collector.in_memory
    assert request.body is None
    assert request.source is collector
    assert collector.read() == collector.read() == BIG
    with collector.open() as one, collector.open() as other:
        assert one.read(10) == BIG[:10]
        assert other.read() == BIG
        assert one.read(10) == BIG[10:20]
        assert one.seek(-5, os.SEEK_END) == len(BIG) - 5
        assert one.read() == BIG[-5:]
        assert one.seek(3) == 3
        assert one.seek(2, os.SEEK_CUR) == one.tell() == 5
        with pytest.raises(ValueError, match="negative position"):
            one.raw.seek(-1)  # type: ignore[attr-defined]
    collector.close()
    collector.close()
    with pytest.raises(ValueError, match="closed"):
        collector.read()


@given(st.lists(st.tuples(st.integers(0, 5200), st.integers(0, 700)), max_size=10))
def test_the_file_reads_like_the_body(reads: list[tuple[int, int]]) -> None:
    collector, _ = collected(BIG, 100, 999)
    with collector.open() as file:
        for position, count in reads:
            file.seek(position)
            assert file.read(count) == BIG[position : position + count]
    collector.close()


def test_memory_reads_like_a_file() -> None:
    collector = BodyCollector()
    collector.add(b"abc")
    assert collector.read() == b"abc"
    assert collector.open().read(2) == b"ab"
    collector.close()


def test_threads_may_read_at_once() -> None:
    import concurrent.futures

    collector, _ = collected(BIG, 100)
    expected = hashlib.sha256(BIG).digest()

    def read(_: int) -> bytes:
        with collector.open() as file:
            return hashlib.sha256(b"".join(iter(lambda: file.read(77), b""))).digest()

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert set(pool.map(read, range(8))) == {expected}
    collector.close()


def test_a_forgotten_collector_closes_its_file() -> None:
    collector, request = collected(BIG, 100)
    file = collector._file
    assert file is not None
    request.source = None
    del collector
    gc.collect()
    assert file.closed


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("webfw.httpserver.collector.tempfile.TemporaryFile", lambda **kwargs: Full())
    collector = BodyCollector(2)
    collector.add(b"ab")
    with pytest.raises(OSError, match="No space left"):
        collector.add(b"c")
    assert collector._file is not None
    assert collector._file.closed


def test_small_pieces_cost_no_more_than_their_bytes() -> None:
    """A client decides how its body is cut."""
    collector = BodyCollector()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for n in range(200_000):
            collector.add(bytes([n & 0xFF, n >> 8 & 0xFF]))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert collector.size == 400_000
    assert after - before < 1_000_000
    assert collector.read()[510:514] == b"\xff\0\0\1"
