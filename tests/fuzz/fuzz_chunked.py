"""Whatever a client sends as a chunked body, it is decoded or raises RemoteProtocolError.

And: it comes out the same however it is split, and what is held back stays within its bounds.
"""

import sys
from pathlib import Path
from typing import Any

from webfw.sansio.errors import RemoteProtocolError
from webfw.sansio.http1 import Chunked

sys.path.insert(0, str(Path(__file__).resolve().parent))
from mutation import load, main

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
SEEDS = load("chunked")


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


def check(data: bytes, cuts: list[int]) -> str:
    """Raise `AssertionError` when `data` breaks the rule; returns what became of it."""
    for bounds in BOUNDS:
        whole = outcome(bounds, data, [len(data)])
        assert outcome(bounds, data, [*cuts, len(data)]) == whole, bounds
    whole = outcome(BOUNDS[0], data, [len(data)])
    if len(whole) == 2:
        return str(whole[0])
    return "decoded" if whole[2] else "incomplete"


if __name__ == "__main__":
    sys.exit(main(check, SEEDS, TOKENS))
