import gzip
import importlib
import zlib

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.sansio import compress
from webfw.sansio.compress import available, make_compressor

CODINGS = [coding for coding in compress.CODINGS if available(coding)]


def decode(coding: str, data: bytes) -> bytes:
    if coding == "gzip":
        return gzip.decompress(data)
    if coding == "br":
        return brotli.decompress(data)
    import zstandard

    return zstandard.ZstdDecompressor().decompressobj().decompress(data)


@pytest.mark.parametrize("coding", CODINGS)
@given(pieces=st.lists(st.binary(max_size=200), max_size=6), flush=st.booleans())
def test_round_trip(coding: str, pieces: list[bytes], flush: bool) -> None:
    compressor = make_compressor(coding, 4)
    out = b""
    for piece in pieces:
        out += compressor.compress(piece)
        if flush:
            out += compressor.flush()
    out += compressor.finish()
    assert decode(coding, out) == b"".join(pieces)


@pytest.mark.parametrize("coding", ["gzip", "br"])
def test_what_was_flushed_can_be_read(coding: str) -> None:
    compressor = make_compressor(coding, 5)
    start = compressor.compress(b"first event\n") + compressor.flush()
    if coding == "gzip":
        read = zlib.decompressobj(31).decompress(start)
    else:
        read = brotli.Decompressor().process(start)
    assert read == b"first event\n"


def test_gzip_is_deterministic() -> None:
    one, other = make_compressor("gzip", 6), make_compressor("gzip", 6)
    assert one.compress(b"a" * 99) + one.finish() == other.compress(b"a" * 99) + other.finish()


@pytest.mark.parametrize(("coding", "level"), [("gzip", 10), ("gzip", -1), ("br", 12), ("lzw", 1)])
def test_refuses_what_it_does_not_know(coding: str, level: int) -> None:
    with pytest.raises(ValueError, match=r"level must be|unknown content coding"):
        make_compressor(coding, level)


def test_names_the_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> object:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", nothing)
    assert available("gzip")
    assert not available("br")
    with pytest.raises(RuntimeError, match=r"'br' needs the brotli package: pip install webfw\[compress\]"):
        make_compressor("br", 4)


class _FakeZstd:
    """Stands in for ``compression.zstd`` (Python 3.14): notes how it is called."""

    class ZstdCompressor:
        FLUSH_BLOCK = 1

        def __init__(self, level: int) -> None:
            self.level = level

        def compress(self, data: bytes) -> bytes:
            return b"c" + data

        def flush(self, mode: int = 2) -> bytes:
            return b"f%d" % mode


def test_standard_library_zstd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib, "import_module", lambda name: _FakeZstd)
    compressor = make_compressor("zstd", 3)
    assert (compressor.compress(b"x"), compressor.flush(), compressor.finish()) == (b"cx", b"f1", b"f2")
