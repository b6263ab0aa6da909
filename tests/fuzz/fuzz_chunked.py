"""Whatever a client sends as a chunked body, it is decoded or raises RemoteProtocolError.

And: it comes out the same however it is split, what is held back stays within its bounds, what is encoded is decoded
again, and where we decode a body, h11 decodes the same.
"""
# ruff: noqa: PT017  # what may be raised, and what it may say, is the subject

import re
from itertools import pairwise
from typing import Any

import h11

from webfw.sansio.errors import RemoteProtocolError
from webfw.sansio.http1 import Chunked, encode_chunk, encode_last_chunk

BAD_WHITESPACE = re.compile(rb"[0-9A-Fa-f][ \t]+;")
BOUNDS = [
    {"max_size": None},
    {"max_size": 20, "max_extensions": 10, "max_trailer_size": 30, "max_trailers": 2},
]
TOKENS = [
    *(
        b"\r\n",
        b"\r",
        b"\n",
        b"\r\n\r\n",
        b" ",
        b"\t",
        b":",
        b";",
        b"=",
        b'"',
        b"\\",
        b"\x00",
        b"\xff",
        b"0",
        b"5",
    ),
    *(
        b"0\r\n\r\n",
        b"1\r\na\r\n",
        b"5\r\nhello\r\n",
        b"A: b\r\n",
        b"Host: a\r\n",
        b"ffffffffffffffff",
        b"0x",
        b"+",
    ),
    *(b';a="b"', b";" + b"a" * 300, b"0" * 20, b"a" * 100),
]


def refusal(error: RemoteProtocolError) -> tuple[int, str]:
    message = str(error)
    assert error.status in (400, 413, 431)
    assert message.isascii()
    assert message.isprintable()
    assert len(message) <= 100
    return error.status, message


def outcome(bounds: Any, data: bytes, stops: list[int]) -> Any:
    decoder = Chunked(**bounds)
    payload = b""
    at = 0
    for stop in stops:
        try:
            found, end = decoder.receive(data[:stop], at)
        except RemoteProtocolError as error:
            return refusal(error)
        assert at <= end <= stop
        assert decoder.done or end == stop
        assert len(decoder._held) <= 18 + decoder.max_extensions + decoder.max_trailer_size
        payload += found
        at = end
        if decoder.done:
            break
    assert len(payload) <= decoder.size
    assert decoder.max_size is None or decoder.size <= decoder.max_size
    assert len(decoder.trailers) <= decoder.max_trailers
    try:
        decoder.receive_eof()
    except RemoteProtocolError:
        assert not decoder.done
    else:
        assert decoder.done
        assert len(payload) == decoder.size
    return payload, at, decoder.done, tuple(decoder.trailers)


def h11_agrees(data: bytes, payload: bytes, end: int) -> None:
    """Another reader, which knows nothing of ours, sees the same body in the same bytes."""
    reader = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    reader.receive_data(head + data)
    assert isinstance(reader.next_event(), h11.Request)
    theirs = b""
    try:
        while isinstance(event := reader.next_event(), h11.Data):
            theirs += bytes(event.data)
    except h11.RemoteProtocolError as error:
        # It does without the white space that RFC 9112 section 7.1.1 allows before an extension.
        if BAD_WHITESPACE.search(data, 0, end) is not None:
            return
        # And reads trailers as if they were fields of the head; we pass over those that may not stand there.
        trailer = data[:end].split(b"\r\n")[-3]
        assert b":" in trailer, f"h11 refuses what we accept: {error}"
    else:
        assert isinstance(event, h11.EndOfMessage)
        assert reader.trailing_data[0] == data[end:]
    assert theirs == payload


def round_trip(data: bytes, cuts: list[int]) -> None:
    bounds = [0, *cuts, len(data)]
    pieces = [data[begin:end] for begin, end in pairwise(bounds) if begin < end]
    encoded = b"".join(encode_chunk(piece) for piece in pieces) + encode_last_chunk([("A", "b")])
    decoder = Chunked()
    assert decoder.receive(encoded + b"GET", 0) == (data, len(encoded))
    assert decoder.done
    assert list(decoder.trailers) == [("A", "b")]


def check(data: bytes, cuts: list[int]) -> str:
    for bounds in BOUNDS:
        whole = outcome(bounds, data, [len(data)])
        assert outcome(bounds, data, [*cuts, len(data)]) == whole, bounds
    round_trip(data, cuts)
    whole = outcome(BOUNDS[0], data, [len(data)])
    if len(whole) == 2:
        return str(whole[0])
    payload, end, done, _ = whole
    if not done:
        return "incomplete"
    h11_agrees(data, payload, end)
    return "decoded"
