"""Whatever a peer sends as a message of permessage-deflate, it is unpacked within its bound or raises FrameError.

And: where it comes out, it is the same however it was split, and what zlib makes of the whole; what is compressed is
unpacked again, with and without a context from one message to the next.  The first byte of an input chooses the
parameters and the bound.
"""
# ruff: noqa: PT017  # what may be raised, and what it may say, is the subject

import zlib
from itertools import pairwise

from webfw.sansio.websocket import Deflate, DeflateParameters, FrameError

PARAMETERS = [
    DeflateParameters(),
    DeflateParameters(True, True),
    DeflateParameters(False, False, 9, 9),
    DeflateParameters(True, False, 8, 8),
]
BOUNDS = [1 << 16, 1 << 20, 300, 0]
TAIL = b"\x00\x00\xff\xff"
TOKENS = [
    *(
        b"\x00",
        b"\x01",
        b"\x02",
        b"\x03",
        b"\xf2H\xcd\xc9\xc9\x07\x00",
        b"\xf2\x00\x11\x00\x00",
        b"\xf3H\xcd\xc9\xc9\x07\x00",
    ),
    *(
        TAIL,
        b"\x00\x05\x00\xfa\xff",
        b"\x01\x05\x00\xfa\xffhello",
        b"\x01\x00\x00\xff\xff",
        b"\x4b\x04\x00",
        b"\x03\x00",
    ),
    *(
        b"\xed",
        b"\xfd",
        b"\xff\xff",
        zlib.compress(b"a" * 70000)[2:-4],
        zlib.compress(bytes(range(256)))[2:-4],
    ),
]


def outcome(number: int, data: bytes, cuts: list[int]) -> bytes | int:
    """What a message with this payload becomes, or the code of the failure."""
    deflate = Deflate(PARAMETERS[number], server=bool(number % 2))
    bound = BOUNDS[number]
    out = b""
    for begin, end in pairwise([0, *cuts, len(data)]):
        piece = data[begin:end]
        try:
            found = deflate.decompress(piece, final=end == len(data), max_size=bound - len(out))
        except FrameError as error:
            assert error.close_code in (1007, 1008, 1009)
            return error.close_code
        out += found
        assert len(out) <= bound
    return out


def plain(number: int, data: bytes) -> bytes | None:
    """The same by zlib alone, where it is one stream that fits the bound; else None."""
    stream = zlib.decompressobj(-15)
    try:
        out = stream.decompress(data + TAIL, (1 << 20) + 1)
    except zlib.error:
        return None
    return None if stream.eof or stream.unconsumed_tail or len(out) > BOUNDS[number] else out


def round_trip(number: int, data: bytes, cuts: list[int]) -> None:
    one = Deflate(PARAMETERS[number], server=True, threshold=0)
    other = Deflate(PARAMETERS[number], server=False)
    for begin, end in pairwise([0, *cuts, len(data)]):
        message = data[begin:end] * 3
        assert other.decompress(one.compress(message), final=True, max_size=len(message)) == message
        assert one.decompress(other.compress(message), final=True, max_size=len(message)) == message
    assert other.decompress(one.compress_shared(data), final=True, max_size=len(data)) == data


def check(data: bytes, cuts: list[int]) -> str:
    number = data[0] % len(PARAMETERS) if data else 0
    payload, cuts = data[1:], [cut - 1 for cut in cuts if 1 < cut < len(data)]
    whole = outcome(number, payload, [])
    split = outcome(number, payload, cuts)
    if isinstance(whole, bytes) and isinstance(split, bytes):
        assert split == whole
    elif number < 2:
        # What is unpacked at once may be wrong in several ways: the cuts decide which one is seen first.  A window
        # that is smaller than 32 KiB is not looked after to the byte, see `Deflate.decompress`.
        assert isinstance(whole, int)
        assert isinstance(split, int)
    expected = plain(number, payload) if payload else b""
    if expected is not None and number < 2:
        assert whole == expected
    round_trip(number, payload, cuts)
    return str(whole) if isinstance(whole, int) else "unpacked"
