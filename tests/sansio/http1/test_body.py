"""Body decoders: every case whole, byte by byte, with trailing bytes and split at random."""

import time
import timeit
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.sansio.errors import RemoteProtocolError
from webfw.sansio.http1 import Chunked, Length, UntilClose, encode_chunk, encode_last_chunk

# --- by length ---


@pytest.mark.parametrize("body", [b"", b"a", b"hello", b"0\r\n\r\n" * 9])
def test_length(body: bytes, decode_body: Any) -> None:
    assert decode_body(lambda: Length(len(body)), body) == (body, True, b"", None)
    assert decode_body(lambda: Length(len(body)), body + b"GET") == (body, True, b"GET", None)


def test_length_cut(decode_body: Any) -> None:
    assert decode_body(lambda: Length(6), b"hello") == (b"hello", False, b"", None)
    decoder = Length(6)
    decoder.receive(b"hello", 1)
    with pytest.raises(RemoteProtocolError, match="2 bytes are missing"):
        decoder.receive_eof()


def test_whole_read_is_not_copied() -> None:
    data = b"x" * 1000
    assert Length(2000).receive(data, 0)[0] is data
    assert UntilClose().receive(data, 0)[0] is data
    assert Length(1000).receive(data, 0)[0] is data


# --- until close ---


def test_until_close() -> None:
    decoder = UntilClose()
    assert decoder.receive(b"hello", 0) == (b"hello", 5)
    assert decoder.receive(b"hello", 2) == (b"llo", 5)
    assert not decoder.done
    decoder.receive_eof()
    assert decoder.done
    assert decoder.receive(b"more", 1) == (b"", 1)


# --- chunked ---

#: name: (bytes, payload, trailers)
VALID: dict[str, tuple[bytes, bytes, list[tuple[str, str]]]] = {
    "empty": (b"0\r\n\r\n", b"", []),
    "many zeros": (b"0000000000000000\r\n\r\n", b"", []),
    "one chunk": (b"5\r\nhello\r\n0\r\n\r\n", b"hello", []),
    "two chunks": (b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", b"hello", []),
    "hex in both cases": (b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", b"0123456789" * 2, []),
    "leading zeros": (b"0005\r\nhello\r\n0\r\n\r\n", b"hello", []),
    "CRLF in the data": (b"5\r\n\r\n0\r\n\r\n0\r\n\r\n", b"\r\n0\r\n", []),
    "extension": (b"5;a=b\r\nhello\r\n0\r\n\r\n", b"hello", []),
    "extension without value": (b"5;a\r\nhello\r\n0;b\r\n\r\n", b"hello", []),
    "extensions with bad whitespace": (b"5 ; a\t=\tb ;c\r\nhello\r\n0\r\n\r\n", b"hello", []),
    "quoted extension": (b'5;a="b; \\"c\\" \xe4"\r\nhello\r\n0\r\n\r\n', b"hello", []),
    "trailers": (b"0\r\nA: b\r\nC:\t d \r\n\r\n", b"", [("A", "b"), ("C", "d")]),
    "equal trailers": (b"0\r\nA: b\r\na: c\r\n\r\n", b"", [("A", "b"), ("a", "c")]),
    "obs-text in a trailer": (b"0\r\nA: \xe4\r\n\r\n", b"", [("A", "ä")]),
    "forbidden trailers are dropped": (
        (
            b"0\r\nContent-Length: 5\r\nHOST: a\r\nTransfer-Encoding: chunked\r\nAuthorization: b\r\n"
            b"Content-Type: c\r\nX-Forwarded-For: d\r\nContent-Digest: e\r\n\r\n"
        ),
        b"",
        [("Content-Digest", "e")],
    ),
}


@pytest.mark.parametrize("name", VALID)
def test_chunked(name: str, decode_body: Any) -> None:
    data, payload, trailers = VALID[name]
    assert decode_body(Chunked, data) == (payload, True, b"", trailers)
    assert decode_body(Chunked, data + b"GET /") == (payload, True, b"GET /", trailers)


#: name: (bytes, part of the message)
INVALID: dict[str, tuple[bytes, str]] = {
    "no size": (b"\r\nhello\r\n", "malformed chunk size: ''"),
    "not hex": (b"g\r\n", "malformed chunk size: 'g'"),
    "sign": (b"+5\r\nhello\r\n", "malformed chunk size: '+5'"),
    "negative": (b"-5\r\nhello\r\n", "malformed chunk size"),
    "prefix": (b"0x5\r\nhello\r\n", "malformed chunk size"),
    "underscore": (b"1_0\r\n0123456789abcdef\r\n", "malformed chunk size"),
    "space before": (b" 5\r\nhello\r\n", "malformed chunk size"),
    "space behind": (b"5 \r\nhello\r\n", "malformed chunk size"),
    "tab behind": (b"5\t\r\nhello\r\n", "malformed chunk size"),
    "NUL behind": (b"5\x00\r\nhello\r\n", "malformed chunk size"),
    "17 digits": (b"00000000000000005\r\nhello\r\n", "malformed chunk size"),
    "overflow": (b"10000000000000005\r\nhello\r\n", "malformed chunk size"),
    "other digits": (b"\xb2\r\nab\r\n", "malformed chunk size: '\\xb2'"),
    "point": (b"5.0\r\nhello\r\n", "malformed chunk size"),
    "comma": (b"5,5\r\nhello\r\n", "malformed chunk size"),
    "bare LF behind the size": (b"5\nhello\r\n", "bare LF"),
    "bare CR behind the size": (b"5\rhello\r\n", "malformed chunk size"),
    "two CRs behind the size": (b"5\r\r\nhello\r\n", "malformed chunk size"),
    "bare LF in an extension": (b"5;a\nhello\r\n", "bare LF"),
    "bare CR in an extension": (b"5;a\rb\r\nhello\r\n", "malformed chunk size"),
    "NUL in an extension": (b"5;a=\x00\r\nhello\r\n", "malformed chunk size"),
    "extension without name": (b"5;\r\nhello\r\n", "malformed chunk size"),
    "extension without semicolon": (b"5 a\r\nhello\r\n", "malformed chunk size"),
    "extension with an open quote": (b'5;a="b\r\nhello\r\n', "malformed chunk size"),
    "CRLF in a quoted extension": (b'5;a="\r\n"\r\nhello\r\n', "malformed chunk size"),
    "data too long": (b"5\r\nhelloo\r\n0\r\n\r\n", "without CRLF"),
    "data too short": (b"5\r\nhell\r\n0\r\n\r\n", "bare LF"),
    "bare LF behind the data": (b"5\r\nhello\n0\r\n\r\n", "bare LF"),
    "bare CR behind the data": (b"5\r\nhello\r0\r\n\r\n", "without CRLF"),
    "two CRs behind the data": (b"5\r\nhello\r\r\n", "without CRLF"),
    "two chars for CRLF": (b"5\r\nhelloXX0\r\n\r\n", "without CRLF"),
    "bare LF behind the last chunk": (b"0\n\n", "bare LF"),
    "bare LF for the end": (b"0\r\n\n", "bare LF"),
    "bare CR for the end": (b"0\r\n\rX\r\n", "malformed trailer field"),
    "trailer without colon": (b"0\r\nA\r\n\r\n", "malformed trailer field: 'A'"),
    "trailer with a space before the colon": (b"0\r\nA : b\r\n\r\n", "malformed trailer field"),
    "folded trailer": (b"0\r\nA: b\r\n c\r\n\r\n", "malformed trailer field"),
    "trailer without name": (b"0\r\n: b\r\n\r\n", "malformed trailer field"),
    "trailer with NUL": (b"0\r\nA: \x00\r\n\r\n", "malformed trailer field"),
    "a request for a trailer": (b"0\r\nGET / HTTP/1.1\r\n\r\n", "malformed trailer field"),
    "bare LF in a trailer": (b"0\r\nA: b\nC: d\r\n\r\n", "bare LF"),
}


@pytest.mark.parametrize("name", INVALID)
def test_chunked_invalid(name: str, decode_body: Any) -> None:
    data, message = INVALID[name]
    outcome = decode_body(Chunked, data)
    assert not isinstance(outcome, tuple), "was accepted"
    assert outcome.status == 400
    assert message in outcome.message
    assert len(outcome.message) <= 100


@pytest.mark.parametrize("data", [data for data, _, _ in VALID.values()])
def test_chunked_cut(data: bytes) -> None:
    for stop in range(len(data)):
        decoder = Chunked()
        decoder.receive(data[:stop], 0)
        assert not decoder.done
        with pytest.raises(RemoteProtocolError, match="cut"):
            decoder.receive_eof()


def test_chunks_of_one_call_come_as_one() -> None:
    decoder = Chunked()
    assert decoder.receive(b"1\r\na\r\n1\r\nb\r\n1\r\nc", 0) == (b"abc", 16)
    assert decoder.receive(b"...\r\n3\r\ndef\r\n0\r\n\r\nrest", 3) == (b"def", 18)
    assert decoder.size == 6


# --- limits ---


def test_payload_is_bounded(decode_body: Any) -> None:
    data = b"5\r\nhello\r\n5;a\r\nworld\r\n0\r\n\r\n"
    assert decode_body(lambda: Chunked(10), data)[0] == b"helloworld"
    for size in (9, 4, 0):
        outcome = decode_body(lambda size=size: Chunked(size), data)
        assert (outcome.status, outcome.message) == (413, f"body over {size} bytes")
    # Known with the size of the chunk, before its data.
    with pytest.raises(RemoteProtocolError) as caught:
        Chunked(1000).receive(b"ffffffffffffffff\r\n", 0)
    assert caught.value.status == 413


def test_extensions_are_bounded(decode_body: Any) -> None:
    one = b"1;" + b"a" * 9 + b"\r\nx\r\n"
    assert decode_body(lambda: Chunked(max_extensions=30), one * 3 + b"0\r\n\r\n")[0] == b"xxx"
    assert "long" in decode_body(lambda: Chunked(max_extensions=29), one * 3).message
    assert "long" in decode_body(lambda: Chunked(max_extensions=100), b"1;" + b"a" * 200).message
    assert "long" in decode_body(Chunked, b"1;" + b"a" * 20000).message
    assert "long" in decode_body(Chunked, b"1" * 20000).message


def test_trailers_are_bounded(decode_body: Any) -> None:
    data = b"0\r\n" + b"a: b\r\n" * 10 + b"\r\n"
    assert len(decode_body(lambda: Chunked(max_trailers=10, max_trailer_size=62), data)[3]) == 10
    assert decode_body(lambda: Chunked(max_trailers=9), data).status == 431
    assert decode_body(lambda: Chunked(max_trailer_size=61), data).status == 431
    assert decode_body(Chunked, b"0\r\n" + b"a" * 20000).status == 431


def test_many_small_chunks_stay_linear() -> None:
    def seconds(count: int) -> float:
        data = b"1\r\na\r\n" * count + b"0\r\n\r\n"

        def run() -> None:
            decoder = Chunked()
            payload, _ = decoder.receive(data, 0)
            assert decoder.done
            assert len(payload) == count

        return min(timeit.repeat(run, number=1, repeat=5, timer=time.process_time))

    assert seconds(40_000) < 40 * seconds(5_000)


def test_bytes_one_by_one_stay_linear() -> None:
    """A line that comes slowly is not looked at again and again from its beginning by more than its bound."""
    data = b"1;" + b"a" * 10000
    decoder = Chunked()
    for number in range(len(data)):
        decoder.receive(data[number : number + 1], 0)
    assert len(decoder._held) == len(data)


# --- generated ---

CASES = [data for data, _, _ in VALID.values()] + [data for data, _ in INVALID.values()]
MAKERS: list[Callable[[], Chunked]] = [
    Chunked,
    lambda: Chunked(3, max_extensions=3, max_trailer_size=9, max_trailers=1),
]


@given(
    st.sampled_from(CASES),
    st.lists(st.integers(0, 60), max_size=8),
    st.sampled_from([0, 1]),
    st.binary(max_size=3),
)
def test_any_split(decode_body: Any, data: bytes, cuts: list[int], maker: int, more: bytes) -> None:
    decode_body(MAKERS[maker], data + more, [cut for cut in cuts if cut < len(data)])


PIECES = st.sampled_from(
    [b"\r\n", b"\r", b"\n", b"0", b"1", b"a", b";", b"=", b'"', b" ", b":", b"0\r\n\r\n", b"A: b"]
)


@given(st.lists(PIECES | st.binary(max_size=2), max_size=15), st.lists(st.integers(0, 40), max_size=5))
def test_whatever_comes_is_decoded_or_refused(decode_body: Any, pieces: list[bytes], cuts: list[int]) -> None:
    data = b"".join(pieces)
    for make in MAKERS:
        decode_body(make, data, [cut for cut in cuts if cut < len(data)])


NAMES = st.sampled_from(["A", "x-checksum", "Server-Timing"])
VALUES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=8)


@given(st.lists(st.binary(max_size=40), max_size=6), st.lists(st.tuples(NAMES, VALUES), max_size=3))
def test_decodes_what_encode_makes(
    decode_body: Any, chunks: list[bytes], trailers: list[tuple[str, str]]
) -> None:
    data = b"".join(map(encode_chunk, chunks)) + encode_last_chunk(trailers)
    assert decode_body(Chunked, data) == (b"".join(chunks), True, b"", trailers)
