"""Content codings undone: every split gives the same, bombs stop at the ceiling, damage is the peer's fault."""

import gzip
import sys
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.sansio import decompress
from webfw.sansio.decompress import SLICE, decoder_for, supported_encodings
from webfw.sansio.errors import RemoteProtocolError


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def brotli_pack(data: bytes) -> bytes:
    import brotli

    return bytes(brotli.compress(data))


def zstd_pack(data: bytes) -> bytes:
    return bytes(decompress._first_package(("compression.zstd", "backports.zstd")).compress(data))


PACK: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("X-GZip", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "deflate-raw": ("deflate", raw_deflate),
    "br": ("br", brotli_pack),
    "zstd": ("zstd", zstd_pack),
    "identity": ("identity", lambda data: data),
}
CODED = [name for name in PACK if name != "identity"]

TEXT = b"The quick brown fox jumps over the lazy dog. " * 400


def unpack(encoding: str, pieces: list[bytes], max_size: int = 1 << 30) -> bytes:
    decoder = decoder_for(encoding, max_size)
    data = b"".join([decoder.receive(piece) for piece in pieces])
    decoder.finish()
    return data


@pytest.mark.parametrize("name", PACK)
def test_whole_and_byte_by_byte(name: str) -> None:
    encoding, pack = PACK[name]
    packed = pack(TEXT)
    assert unpack(encoding, [packed]) == TEXT
    assert unpack(encoding, [packed[i : i + 1] for i in range(len(packed))]) == TEXT


@pytest.mark.parametrize("name", PACK)
@given(data=st.binary(max_size=300), cuts=st.lists(st.integers(0, 400), max_size=6))
def test_any_split(name: str, data: bytes, cuts: list[int]) -> None:
    encoding, pack = PACK[name]
    packed = pack(data)
    edges = [0, *sorted(cuts), len(packed)]
    assert unpack(encoding, [packed[a:b] for a, b in pairwise(edges)]) == data


@pytest.mark.parametrize("name", PACK)
def test_no_bytes_at_all(name: str) -> None:
    assert unpack(PACK[name][0], []) == b""


@pytest.mark.parametrize("name", PACK)
def test_empty_content(name: str) -> None:
    encoding, pack = PACK[name]
    assert unpack(encoding, [pack(b"")] if name != "identity" else []) == b""


@pytest.mark.parametrize("name", CODED)
def test_every_truncation_is_noticed(name: str) -> None:
    encoding, pack = PACK[name]
    packed = pack(b"some words, and a few words more, and some words")
    for end in range(1, len(packed)):
        with pytest.raises(RemoteProtocolError) as info:
            unpack(encoding, [packed[:end]])
        assert info.value.status == 400
        assert encoding.lower() in str(info.value)


@pytest.mark.parametrize("name", ["gzip", "deflate", "deflate-raw", "br", "zstd"])
@pytest.mark.parametrize("apart", [False, True])
def test_what_follows_the_end_is_refused(name: str, apart: bool) -> None:
    encoding, pack = PACK[name]
    pieces = [pack(b"x" * 50), b"garbage"]
    with pytest.raises(RemoteProtocolError) as info:
        unpack(encoding, pieces if apart else [b"".join(pieces)])
    assert info.value.status == 400


@pytest.mark.parametrize("name", ["gzip", "deflate", "br", "zstd"])
@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff\xff\xff", b"plain text, not packed at all"])
def test_garbage_is_refused(name: str, data: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as info:
        unpack(PACK[name][0], [data])
    assert info.value.status == 400


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_members_one_after_another(name: str) -> None:
    encoding, pack = PACK[name]
    packed = pack(b"one,") + pack(b"") + pack(b"two")
    assert unpack(encoding, [packed]) == b"one,two"
    assert unpack(encoding, [packed[i : i + 1] for i in range(len(packed))]) == b"one,two"
    with pytest.raises(RemoteProtocolError, match="cut short"):
        unpack(encoding, [packed[:-1]])


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_floods_of_tiny_members_are_refused(name: str) -> None:
    encoding, pack = PACK[name]
    with pytest.raises(RemoteProtocolError, match="too many small") as info:
        unpack(encoding, [pack(b"") * 1000])
    assert info.value.status == 400
    # Members of a sensible size (bgzip makes them of 64 KiB) may be many.
    noise = bytes(range(256)) * 8
    packed = zlib.compress(noise, 0)[2:-4]
    assert len(packed) > 256
    assert unpack("gzip", [gzip.compress(noise, 0) * 300]) == noise * 300


@pytest.mark.parametrize("name", PACK)
def test_ceiling(name: str) -> None:
    encoding, pack = PACK[name]
    packed = pack(bytes(1000))
    assert unpack(encoding, [packed], 1000) == bytes(1000)
    with pytest.raises(RemoteProtocolError, match="over 999 bytes") as info:
        unpack(encoding, [packed], 999)
    assert info.value.status == 413


@pytest.mark.parametrize("name", CODED)
def test_bomb_is_unpacked_in_slices(name: str) -> None:
    encoding, pack = PACK[name]
    packed = pack(bytes(20_000_000))
    assert len(packed) < 30_000
    largest = total = 0
    decoder = decoder_for(encoding, 5_000_000)
    pieces = decoder.slices(packed)
    with pytest.raises(RemoteProtocolError) as info:  # noqa: PT012  # the bomb goes off at some piece or other
        while piece := next(pieces):
            largest = max(largest, len(piece))
            total += len(piece)
    assert info.value.status == 413
    assert total <= 5_000_000
    assert largest <= 4 * SLICE
    if encoding != "br":  # brotli gives whole blocks of its own
        assert largest <= SLICE
    assert unpack(encoding, [packed]) == bytes(20_000_000)


@pytest.mark.parametrize("encoding", ["compress", "", "gzip, br", "gzip;q=1", "x" * 1000])
def test_unknown_coding(encoding: str) -> None:
    with pytest.raises(RemoteProtocolError) as info:
        decoder_for(encoding, 100)
    assert info.value.status == 415
    assert len(str(info.value)) < 100


def test_supported() -> None:
    assert supported_encodings()[-2:] == ("gzip", "deflate")
    assert set(supported_encodings()) <= {"zstd", "br", "gzip", "deflate"}


def test_without_the_optional_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("brotli", "brotlicffi", "compression.zstd", "backports.zstd"):
        monkeypatch.setitem(sys.modules, name, None)
    assert supported_encodings() == ("gzip", "deflate")
    for encoding in ("br", "zstd"):
        with pytest.raises(RemoteProtocolError) as info:
            decoder_for(encoding, 100)
        assert info.value.status == 415


def test_brotli_that_cannot_limit_its_output_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "brotli", SimpleNamespace(Decompressor=object))  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "brotlicffi", None)
    assert "br" not in supported_encodings()


def test_brotlicffi_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("brotlicffi")
    packed = brotli_pack(TEXT)
    monkeypatch.setitem(sys.modules, "brotli", None)
    assert unpack("br", [packed[:10], packed[10:]]) == TEXT
    with pytest.raises(RemoteProtocolError):
        unpack("br", [packed + b"x"])


@pytest.mark.parametrize("name", CODED)
@given(data=st.binary(max_size=200), at=st.integers(0, 100), byte=st.integers(0, 255))
def test_damage_ends_in_a_result_or_a_protocol_error(name: str, data: bytes, at: int, byte: int) -> None:
    encoding, pack = PACK[name]
    packed = bytearray(pack(data))
    packed[at % len(packed)] = byte
    for given_bytes in (bytes(packed), data):
        with suppress(RemoteProtocolError):
            unpack(encoding, [given_bytes], 10_000)


def test_window_of_zstd_is_bounded() -> None:
    """RFC 9659: a frame that wants a window beyond 8 MiB is refused before the memory is taken."""
    # Magic number, a frame header without single segment, window descriptor for 2**31 bytes, an empty last block.
    frame = bytes.fromhex("28b52ffd 00 a8 010000")
    with pytest.raises(RemoteProtocolError):
        unpack("zstd", [frame])
    assert unpack("zstd", [bytes.fromhex("28b52ffd 00 60 010000")]) == b""


def test_time_is_linear_in_members() -> None:
    member = gzip.compress(bytes(300), 0)

    def cost(count: int) -> float:
        packed = member * count
        best = 9.0
        for _ in range(2):
            begin = time.process_time()
            unpack("gzip", [packed])
            best = min(best, time.process_time() - begin)
        return best

    assert cost(3200) < 40 * max(cost(400), 1e-3)


def test_engines_share_one_interface() -> None:
    engine: Any = decompress._Identity()
    assert engine.complete
    assert list(engine.decode(b"x")) == [b"x"]
