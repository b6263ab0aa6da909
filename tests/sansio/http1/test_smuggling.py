"""The tricks of request smuggling: each is refused, or there is one way only to read it.

A connection is read here as a server reads it: heads and bodies one after another until one is refused or the bytes
run out.  `attack` must never come out as a request of its own: its target is the thing being smuggled.
"""

from typing import Any

import pytest

from webfw.sansio.errors import RemoteProtocolError
from webfw.sansio.http1 import Chunked, HeadLimits, Length, parse_head

LIMITS = HeadLimits()
ATTACK = b"GET /attack HTTP/1.1\r\nHost: a\r\n\r\n"


def post(*fields: bytes, body: bytes = b"", line: bytes = b"POST / HTTP/1.1") -> bytes:
    return line + b"\r\nHost: a\r\n" + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body


def serve(data: bytes) -> list[Any]:
    """What a server makes of `data`: (target, body) of each request, then the status of a refusal if there is one."""
    seen: list[Any] = []
    at = 0
    try:
        while (head := parse_head(data, at, at, LIMITS)) is not None:
            decoder = Chunked() if head.chunked else Length(head.content_length or 0)
            body, at = decoder.receive(data, head.end)
            if not decoder.done:
                seen.append("cut")
                break
            seen.append((head.target, body))
            if not head.keep_alive:
                break
    except RemoteProtocolError as error:
        seen.append(error.status)
    return seen


TE = b"Transfer-Encoding: chunked"
ENDED = b"0\r\n\r\n" + ATTACK
LENGTH = b"Content-Length: %d" % len(ENDED)

#: name: (bytes, status).  Nothing is accepted.
REFUSED: dict[str, tuple[bytes, int]] = {
    # two framings: CL.TE and TE.CL
    "CL.TE": (post(LENGTH, TE, body=ENDED), 400),
    "TE.CL": (post(TE, b"Content-Length: 4", body=b"5c\r\n" + ATTACK), 400),
    "CL.TE with zero": (post(b"Content-Length: 0", TE, body=ENDED), 400),
    "CL.TE in 1.0": (post(LENGTH, TE, body=ENDED, line=b"POST / HTTP/1.0"), 400),
    "TE in 1.0": (post(TE, body=ENDED, line=b"POST / HTTP/1.0"), 400),
    "CL.TE with an empty TE": (post(LENGTH, b"Transfer-Encoding:", body=ENDED), 400),
    "CL.TE with TE identity": (post(LENGTH, b"Transfer-Encoding: identity", body=ENDED), 400),
    "CL.TE far apart": (post(LENGTH, *[b"X: y"] * 50, TE, body=ENDED), 400),
    # TE.TE: one of two readers is to miss the chunked
    "xchunked": (post(b"Transfer-Encoding: xchunked", body=ENDED), 400),
    "chunkedx": (post(b"Transfer-Encoding: chunkedx", body=ENDED), 400),
    "space before the colon": (post(b"Transfer-Encoding : chunked", body=ENDED), 400),
    "tab before the colon": (post(b"Transfer-Encoding\t: chunked", body=ENDED), 400),
    "vertical tab before the colon": (post(b"Transfer-Encoding\x0b: chunked", body=ENDED), 400),
    "NUL before the colon": (post(b"Transfer-Encoding\x00: chunked", body=ENDED), 400),
    "NBSP before the colon": (post(b"Transfer-Encoding\xa0: chunked", body=ENDED), 400),
    "CR before the colon": (post(b"Transfer-Encoding\r: chunked", body=ENDED), 400),
    "leading space": (post(b" Transfer-Encoding: chunked", body=ENDED), 400),
    "leading tab": (post(b"\tTransfer-Encoding: chunked", body=ENDED), 400),
    "leading vertical tab": (post(b"\x0bTransfer-Encoding: chunked", body=ENDED), 400),
    "space in the name": (post(b"Transfer Encoding: chunked", body=ENDED), 400),
    "no colon": (post(b"Transfer-Encoding chunked", body=ENDED), 400),
    "equals sign": (post(b"Transfer-Encoding= chunked", body=ENDED), 400),
    "vertical tab before the value": (post(b"Transfer-Encoding:\x0bchunked", body=ENDED), 400),
    "form feed before the value": (post(b"Transfer-Encoding:\x0cchunked", body=ENDED), 400),
    "NUL before the value": (post(b"Transfer-Encoding:\x00chunked", body=ENDED), 400),
    "NUL behind the value": (post(b"Transfer-Encoding: chunked\x00", body=ENDED), 400),
    "NBSP before the value": (post(b"Transfer-Encoding: \xa0chunked", body=ENDED), 400),
    "NEL behind the value": (post(b"Transfer-Encoding: chunked\x85", body=ENDED), 400),
    "file separator behind the value": (post(b"Transfer-Encoding: chunked\x1c", body=ENDED), 400),
    "UTF-8 space behind the value": (post(b"Transfer-Encoding: chunked\xe2\x80\xa8", body=ENDED), 400),
    "double quotes": (post(b'Transfer-Encoding: "chunked"', body=ENDED), 400),
    "single quotes": (post(b"Transfer-Encoding: 'chunked'", body=ENDED), 400),
    "two commas": (post(b"Transfer-Encoding: ,,chunked", body=ENDED), 400),
    "comma behind": (post(b"Transfer-Encoding: chunked,", body=ENDED), 400),
    "parameter": (post(b"Transfer-Encoding: chunked;q=0.5", body=ENDED), 400),
    "chunked, identity": (post(b"Transfer-Encoding: chunked, identity", body=ENDED), 400),
    "identity, chunked": (post(b"Transfer-Encoding: identity, chunked", body=ENDED), 501),
    "chunked, cow": (post(b"Transfer-Encoding: chunked, cow", body=ENDED), 400),
    "cow, chunked": (post(b"Transfer-Encoding: cow, chunked", body=ENDED), 501),
    "two fields, cow last": (post(TE, b"Transfer-Encoding: cow", body=ENDED), 400),
    "two fields, cow first": (post(b"Transfer-Encoding: cow", TE, body=ENDED), 501),
    "two fields, both chunked": (post(TE, TE, body=ENDED), 400),
    "two fields, one empty": (post(b"Transfer-Encoding:", TE, body=ENDED), 400),
    "chunked chunked": (post(b"Transfer-Encoding: chunked chunked", body=ENDED), 400),
    "folded name": (post(b"Transfer-Encoding\r\n : chunked", body=ENDED), 400),
    "folded value": (post(b"Transfer-Encoding:\r\n chunked", body=ENDED), 400),
    "folded value with a tab": (post(b"Transfer-Encoding:\r\n\tchunked", body=ENDED), 400),
    "folded onto another field": (post(b"X: y\r\n Transfer-Encoding: chunked", body=ENDED), 400),
    "fold before the first field": (
        b"POST / HTTP/1.1\r\n Transfer-Encoding: chunked\r\nHost: a\r\n\r\n" + ENDED,
        400,
    ),
    "behind a bare LF": (post(b"X: y\nTransfer-Encoding: chunked", body=ENDED), 400),
    "behind a bare CR": (post(b"X: y\rTransfer-Encoding: chunked", body=ENDED), 400),
    "behind CR CR LF": (post(b"X: y\r\r\nTransfer-Encoding: chunked", body=ENDED), 400),
    "behind LF CR": (post(b"X: y\n\rTransfer-Encoding: chunked", body=ENDED), 400),
    "behind NUL": (post(b"X: y\x00Transfer-Encoding: chunked", body=ENDED), 400),
    "end of the head hidden by LF LF": (post(b"X: y\n\nGET /attack HTTP/1.1", body=b""), 400),
    "end of the head hidden by CR CR": (post(b"X: y\r\rGET /attack HTTP/1.1", body=b""), 400),
    "end of the head hidden by LF CR LF": (post(b"X: y\n\r\nGET /attack HTTP/1.1", body=b""), 400),
    # Content-Length
    "CL.CL": (post(LENGTH, b"Content-Length: 0", body=ENDED), 400),
    "CL.CL the other way round": (post(b"Content-Length: 0", LENGTH, body=ENDED), 400),
    "CL.CL in different case": (post(LENGTH, b"CONTENT-LENGTH: 0", body=ENDED), 400),
    "CL list": (post(b"Content-Length: 0, %d" % len(ENDED), body=ENDED), 400),
    "CL list of equals": (post(b"Content-Length: 5, 5", body=b"hello" + ATTACK), 400),
    "CL signed": (post(b"Content-Length: +%d" % len(ENDED), body=ENDED), 400),
    "CL negative": (post(b"Content-Length: -1", body=ENDED), 400),
    "CL negative zero": (post(b"Content-Length: -0", body=ENDED), 400),
    "CL in hex": (post(b"Content-Length: 0x%x" % len(ENDED), body=ENDED), 400),
    "CL in octal of Python": (post(b"Content-Length: 0o5", body=ENDED), 400),
    "CL with an underscore": (post(b"Content-Length: 4_0", body=ENDED), 400),
    "CL with an exponent": (post(b"Content-Length: 1e1", body=ENDED), 400),
    "CL with a comma behind": (post(b"Content-Length: 5,", body=ENDED), 400),
    "CL with a semicolon": (post(b"Content-Length: 5;", body=ENDED), 400),
    "CL with a space inside": (post(b"Content-Length: 3 8", body=ENDED), 400),
    "CL with a vertical tab": (post(b"Content-Length: \x0b5", body=ENDED), 400),
    "CL with a unit separator": (post(b"Content-Length: 5\x1f", body=ENDED), 400),
    "CL in superscript": (post(b"Content-Length: \xb9", body=ENDED), 400),
    "CL in UTF-8 digits": (post(b"Content-Length: \xd9\xa5", body=ENDED), 400),
    "CL 2**64": (post(b"Content-Length: 18446744073709551616", body=ATTACK), 400),
    "CL of many zeros": (post(b"Content-Length: " + b"0" * 30 + b"5", body=ENDED), 400),
    "CL empty": (post(b"Content-Length: ", body=ENDED), 400),
    "CL space before the colon": (post(b"Content-Length : %d" % len(ENDED), body=ENDED), 400),
    "CL folded": (post(b"Content-Length:\r\n %d" % len(ENDED), body=ENDED), 400),
    "CL with a fold behind": (post(b"Content-Length: 3\r\n 8", body=ENDED), 400),
    # Host and target
    "two Hosts": (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    "Host behind a space": (b"GET / HTTP/1.1\r\nHost: a\r\n Host: b\r\n\r\n", 400),
    "Host with a space before the colon": (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    "two Hosts in one": (b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
    "Host with userinfo": (b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400),
    "Host with a port and more": (b"GET / HTTP/1.1\r\nHost: a:80@b\r\n\r\n", 400),
    "Host with a path": (b"GET / HTTP/1.1\r\nHost: a/../b\r\n\r\n", 400),
    "absolute-form without Host": (b"GET http://a/ HTTP/1.1\r\n\r\n", 400),
    "absolute-form with userinfo": (b"GET http://a@b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "request line with two versions": (b"GET / HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "request line of 0.9": (b"GET /attack\r\n\r\n", 400),
    "version 1.10": (b"GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400),
    "version in lower case": (b"GET / http/1.1\r\nHost: a\r\n\r\n", 400),
    "space before the request line": (b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + ATTACK, 505),
    # chunks
    "size with a sign": (post(TE, body=b"+0\r\n\r\n" + ATTACK), 400),
    "size with a prefix": (post(TE, body=b"0x0\r\n\r\n" + ATTACK), 400),
    "size with a space": (post(TE, body=b"0 \r\n\r\n" + ATTACK), 400),
    "size behind a space": (post(TE, body=b" 0\r\n\r\n" + ATTACK), 400),
    "size negative": (post(TE, body=b"-1\r\n\r\n" + ATTACK), 400),
    "size with an underscore": (post(TE, body=b"0_0\r\n\r\n" + ATTACK), 400),
    "size with a comma": (post(TE, body=b"0,\r\n\r\n" + ATTACK), 400),
    "size of 17 digits": (post(TE, body=b"10000000000000000\r\n\r\n" + ATTACK), 400),
    "size that wraps at 64 bits": (post(TE, body=b"1000000000000002d\r\n" + ATTACK), 400),
    "size with NUL": (post(TE, body=b"0\x00\r\n\r\n" + ATTACK), 400),
    "size empty": (post(TE, body=b"\r\n\r\n" + ATTACK), 400),
    "size ended by LF": (post(TE, body=b"0\n\n" + ATTACK), 400),
    "size ended by LF CR LF": (post(TE, body=b"0\n\r\n" + ATTACK), 400),
    "size ended by CR": (post(TE, body=b"0\r\r" + ATTACK), 400),
    "last chunk ended by LF": (post(TE, body=b"0\r\n\n" + ATTACK), 400),
    "last chunk ended by CR CR LF": (post(TE, body=b"0\r\n\r\r\n" + ATTACK), 400),
    "data ended by LF": (post(TE, body=b"1\r\na\n0\r\n\r\n" + ATTACK), 400),
    "data ended by CR": (post(TE, body=b"1\r\na\r0\r\n\r\n" + ATTACK), 400),
    "data ended by two other bytes": (post(TE, body=b"1\r\naXX0\r\n\r\n" + ATTACK), 400),
    "data ended by nothing": (post(TE, body=b"1\r\na0\r\n\r\n" + ATTACK), 400),
    "data longer than its size": (post(TE, body=b"1\r\naa\r\n0\r\n\r\n" + ATTACK), 400),
    "extension ended by LF (TERM.EXT)": (post(TE, body=b"1;\nX\r\na\r\n0\r\n\r\n" + ATTACK), 400),
    "extension with LF inside (EXT.TERM)": (post(TE, body=b"1;a=\nb\r\na\r\n0\r\n\r\n" + ATTACK), 400),
    "extension with CR inside": (post(TE, body=b"1;a=\rb\r\na\r\n0\r\n\r\n" + ATTACK), 400),
    "extension quoted over CRLF": (post(TE, body=b'1;a="\r\n0\r\n\r\n' + ATTACK), 400),
    "extension on the last chunk ended by LF": (post(TE, body=b"0;a\n\r\n" + ATTACK), 400),
    "trailer folded": (post(TE, body=b"0\r\nX: y\r\n Content-Length: 5\r\n\r\n" + ATTACK), 400),
    "trailer ended by LF": (post(TE, body=b"0\r\nX: y\n\r\n" + ATTACK), 400),
    "trailer without colon": (post(TE, body=b"0\r\n" + ATTACK), 400),
    "trailer with a space before the colon": (post(TE, body=b"0\r\nX : y\r\n\r\n" + ATTACK), 400),
}

#: name: (bytes, what a server reads).  Accepted, and there is one reading only.
READ: dict[str, tuple[bytes, list[Any]]] = {
    "attack inside a length": (post(LENGTH, body=ENDED), [("/", ENDED)]),
    "attack inside a chunk": (
        post(TE, body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(ATTACK), ATTACK)),
        [("/", ATTACK)],
    ),
    "attack inside a quoted extension is dropped": (
        post(TE, body=b'1;a="GET /attack HTTP/1.1"\r\na\r\n0\r\n\r\n'),
        [("/", b"a")],
    ),
    "framing fields as trailers are dropped": (
        post(TE, body=b"0\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n") + post(),
        [("/", b""), ("/", b"")],
    ),
    "absolute-form wins over Host": (
        b"GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n",
        [("http://a/", b"")],
    ),
    "a body nobody expects of a GET (CL)": (
        post(LENGTH, body=ENDED, line=b"GET / HTTP/1.1"),
        [("/", ENDED)],
    ),
    "a body nobody expects of a GET (TE)": (
        post(TE, body=b"1\r\na\r\n0\r\n\r\n", line=b"GET / HTTP/1.1") + post(),
        [("/", b"a"), ("/", b"")],
    ),
    "CL.0": (post(b"Content-Length: 0") + post(), [("/", b""), ("/", b"")]),
    "names that only look like it": (
        post(b"Content_Length: 99", b"Transfer_Encoding: chunked", b"Content-Length-X: 9") + post(),
        [("/", b""), ("/", b"")],
    ),
    "nothing behind close": (post(b"Connection: close") + ATTACK, [("/", b"")]),
    "nothing behind 1.0": (post(line=b"GET / HTTP/1.0") + ATTACK, [("/", b"")]),
    "framing named in Connection stays": (
        post(b"Connection: content-length, transfer-encoding", LENGTH, body=ENDED),
        [("/", ENDED)],
    ),
    "tab as OWS": (post(b"Content-Length:\t5\t", body=b"hello") + post(), [("/", b"hello"), ("/", b"")]),
    "chunked in capitals": (post(b"TRANSFER-ENCODING: CHUNKED", body=b"0\r\n\r\n"), [("/", b"")]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    data, status = REFUSED[name]
    assert serve(data) == [status]


@pytest.mark.parametrize("name", READ)
def test_one_reading(name: str) -> None:
    data, expected = READ[name]
    assert serve(data) == expected


@pytest.mark.parametrize("name", [*REFUSED, *READ])
def test_smuggles_nothing_behind_a_good_request(name: str) -> None:
    """In the middle of a connection the answer is the same: what came before changes nothing."""
    data = (REFUSED.get(name) or READ[name])[0]
    assert serve(post(b"Content-Length: 5", body=b"hello") + data) == [("/", b"hello"), *serve(data)]
    assert not any(read[0] == "/attack" for read in serve(data) if isinstance(read, tuple))


@pytest.mark.parametrize("name", REFUSED)
def test_heads_four_ways(name: str, parse_request: Any) -> None:
    parse_request(REFUSED[name][0])


def test_the_corpus_is_large_enough() -> None:
    assert len(REFUSED) >= 100
