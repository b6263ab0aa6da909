"""Tests of webfw.pubsub.workers.frames."""

import itertools
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.pubsub.workers.frames import (
    MAX_FRAME,
    FrameReader,
    frame,
    name_and_rest,
    pack_name,
)
from webfw.sansio.errors import RemoteProtocolError

FRAMES = [(1, b"one"), (2, b""), (255, bytes(range(256)) * 3), (0, b"x"), (7, b"y" * 5000)]
STREAM = b"".join(frame(kind, body) for kind, body in FRAMES)


def read(*pieces: bytes) -> list[tuple[int, bytes]]:
    reader = FrameReader()
    return [found for piece in pieces for found in reader.feed(piece)]


def test_whole() -> None:
    assert read(STREAM) == FRAMES


def test_byte_by_byte() -> None:
    assert read(*(STREAM[i : i + 1] for i in range(len(STREAM)))) == FRAMES


def test_half_a_frame_behind() -> None:
    assert read(STREAM + frame(3, b"abc")[:-1]) == FRAMES
    assert read(STREAM + frame(3, b"abc")[:-1], b"c") == [*FRAMES, (3, b"abc")]


@given(st.lists(st.integers(0, len(STREAM))))
def test_split_at_random(places: list[int]) -> None:
    cuts = [0, *sorted(places), len(STREAM)]
    assert read(*(STREAM[a:b] for a, b in itertools.pairwise(cuts) if a < b)) == FRAMES


@pytest.mark.parametrize("length", [0, MAX_FRAME + 1, 2**32 - 1])
def test_a_length_that_cannot_be_is_refused_before_anything_is_kept(length: int) -> None:
    with pytest.raises(RemoteProtocolError, match=f"a frame of {length} bytes"):
        read(length.to_bytes(4) + b"\x01")
    reader = FrameReader()
    assert list(reader.feed(length.to_bytes(4))) == []
    with pytest.raises(RemoteProtocolError):
        list(reader.feed(b"\x01"))


def test_the_longest_frame() -> None:
    body = bytes(MAX_FRAME - 1)
    assert read(frame(9, body)) == [(9, body)]


def test_many_pieces_cost_no_more_than_a_few() -> None:
    """A frame of 8 MiB in pieces of 1 KiB: joined at each piece it would copy 32 GiB."""
    data = frame(1, bytes(8 << 20))
    start = time.monotonic()
    assert len(read(*(data[i : i + 1024] for i in range(0, len(data), 1024)))) == 1
    assert time.monotonic() - start < 3


def test_garbage_ends_in_frames_or_an_error() -> None:
    rng = random.Random(1)
    for _ in range(2000):
        data = bytearray(STREAM)
        for _ in range(rng.randrange(1, 5)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        cut = rng.randrange(len(data))
        try:
            read(bytes(data[:cut]), bytes(data[cut:]))
        except RemoteProtocolError:
            pass


def test_names() -> None:
    packed = pack_name("b\u00f6b")
    assert packed == b"\x04b\xc3\xb6b"
    assert name_and_rest(packed + b"rest") == (b"b\xc3\xb6b", 5)
    assert name_and_rest(b"12345678" + packed, 8) == (b"b\xc3\xb6b", 13)


@pytest.mark.parametrize("body", [b"", b"\x00", b"\x00abc", b"\x03ab", b"\xff"])
def test_names_that_are_none(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="name"):
        name_and_rest(body)
