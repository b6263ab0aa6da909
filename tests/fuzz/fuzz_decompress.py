"""Whatever comes with a Content-Encoding, it is unpacked below the ceiling or raises RemoteProtocolError.

And: it is the same however it is split; no piece is much larger than a slice; it is what the library makes of the
whole; what is compressed is unpacked again.  The first byte of an input chooses the coding, the second the ceiling.
"""
# ruff: noqa: PT017  # what may be raised, and what it may say, is the subject

import gzip
import zlib
from itertools import pairwise

import brotli

from webfw.sansio.decompress import SLICE, decoder_for, supported_encodings
from webfw.sansio.errors import RemoteProtocolError

CODINGS = ["gzip", "deflate", "br", "zstd", "identity"]
CEILINGS = [1 << 20, 1000, 0]
BARE = zlib.compressobj(9, zlib.DEFLATED, -15)
TOKENS = [
    *(
        b"\x00",
        b"\x01",
        b"\x02",
        b"\x03",
        b"\x04",
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff",
        b"\x1f\x8b\x08",
    ),
    *(gzip.compress(b"", mtime=0), gzip.compress(b"hello", mtime=0), gzip.compress(b"a" * 200000, mtime=0)),
    *(
        zlib.compress(b"hello"),
        zlib.compress(b""),
        zlib.compress(b"a" * 200000),
        BARE.compress(b"hello") + BARE.flush(),
    ),
    *(
        brotli.compress(b""),
        brotli.compress(b"hello"),
        brotli.compress(b"a" * 200000),
        b"\x03\x00",
        b"\x78\x9c",
        b"\x78\xbb",
    ),
    *(
        b"\x28\xb5\x2f\xfd",
        b"\x28\xb5\x2f\xfd\x20\x05\x29\x00\x00hello",
        b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd",
    ),
    *(b"\x28\xb5\x2f\xfd\x04\x00\x01\x00\x00\x99\xe9\xd8\x51", b"\xff\xff\xff\xff", b"\x00\x00\xff\xff"),
]


def outcome(coding: str, ceiling: int, data: bytes, cuts: list[int]) -> bytes | tuple[int, bytes]:
    """What comes out; with a failure its status and what had come out before it."""
    decoder = decoder_for(coding, ceiling)
    out = b""
    try:
        for begin, end in pairwise([0, *cuts, len(data)]):
            for piece in decoder.slices(data[begin:end]):
                assert 0 < len(piece) <= 2 * SLICE
                out += piece
                assert len(out) <= ceiling
        decoder.finish()
    except RemoteProtocolError as error:
        assert error.status in (400, 413)
        assert len(str(error)) < 80
        return error.status, out
    return out


def plain(coding: str, data: bytes) -> bytes | None:
    """The same by the library, None where it refuses or there may be too much of it."""
    try:
        if coding == "identity" or not data:
            return data
        if coding == "gzip":
            stream = zlib.decompressobj(31)
            out = stream.decompress(data, 1 << 21)
            return out if stream.eof and not stream.unused_data else None
        if coding == "deflate":
            stream = zlib.decompressobj(15)
            out = stream.decompress(data, 1 << 21)
            return out if stream.eof and not stream.unused_data else None
    except zlib.error:
        pass
    return None


def round_trip(data: bytes, cuts: list[int]) -> None:
    bare = zlib.compressobj(6, zlib.DEFLATED, -15)
    for coding, packed in (
        ("gzip", gzip.compress(data, mtime=0)),
        ("deflate", zlib.compress(data)),
        ("deflate", bare.compress(data) + bare.flush()),
        ("br", brotli.compress(data, quality=1)),
    ):
        assert outcome(coding, len(data), packed, [cut for cut in cuts if cut < len(packed)]) == data
        assert not data or outcome(coding, len(data) - 1, packed, [])[0] == 413


def check(data: bytes, cuts: list[int]) -> str:
    if len(data) < 2:
        return "nothing"
    coding, ceiling = CODINGS[data[0] % len(CODINGS)], CEILINGS[data[1] % len(CEILINGS)]
    assert coding in (*supported_encodings(), "identity")
    body, cuts = data[2:], [cut - 2 for cut in cuts if 2 < cut < len(data)]
    whole = outcome(coding, ceiling, body, [])
    split = outcome(coding, ceiling, body, cuts)
    if isinstance(whole, bytes):
        assert split == whole
    else:
        # What is both malformed and too large may be found to be either.
        if isinstance(split, bytes):
            # A frame that ends with an empty block and is shorter than its header says: the library compares the two
            # only where it has the whole frame at once.
            assert (coding, whole[0]) == ("zstd", 400)
            return "zstd 400"
        assert split[0] == whole[0] or 413 in (split[0], whole[0])
    expected = plain(coding, body)
    if expected is not None:
        assert whole == expected if len(expected) <= ceiling else whole[0] == 413
    round_trip(body, cuts)
    return f"{coding} unpacked" if isinstance(whole, bytes) else f"{coding} {whole[0]}"
