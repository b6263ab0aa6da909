"""Response heads: lines, fields and the framing of what follows them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.sansio.http1 import HeadLimits


def answer(*fields: bytes, line: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return line + b"\r\n" + b"".join(field + b"\r\n" for field in fields) + b"\r\n"


@pytest.mark.parametrize(
    ("line", "version", "status", "reason"),
    [
        (b"HTTP/1.1 200 OK", "HTTP/1.1", 200, "OK"),
        (b"HTTP/1.0 404 Not Found", "HTTP/1.0", 404, "Not Found"),
        (b"HTTP/1.1 200 ", "HTTP/1.1", 200, ""),
        (b"HTTP/1.1 200", "HTTP/1.1", 200, ""),
        (b"HTTP/1.3 999 \xe4\tb  c", "HTTP/1.1", 999, "ä\tb  c"),
    ],
)
def test_status_line(line: bytes, version: str, status: int, reason: str, parse_response: Any) -> None:
    data = answer(b"A: b", b"Content-Length: 0", line=line)
    head = parse_response(data)
    assert (head["version"], head["status"], head["reason"]) == (version, status, reason)
    assert head["minor"] == int(version[-1])
    assert head["fields"] == "A: b\r\nContent-Length: 0\r\n"
    assert head["end"] == len(data)


def framing(head: dict[str, Any]) -> Any:
    kinds = [head["content_length"] is not None, head["chunked"], head["until_close"]]
    assert kinds.count(True) == 1
    return head["content_length"] if kinds[0] else "chunked" if kinds[1] else "close"


CHUNKED = b"Transfer-Encoding: chunked"
LENGTH = b"Content-Length: 5"


@pytest.mark.parametrize(
    ("method", "line", "fields", "expected", "keep_alive"),
    [
        ("GET", b"HTTP/1.1 200 OK", [LENGTH], 5, True),
        ("GET", b"HTTP/1.1 200 OK", [LENGTH, b"Connection: close"], 5, False),
        ("GET", b"HTTP/1.1 200 OK", [CHUNKED], "chunked", True),
        ("GET", b"HTTP/1.1 200 OK", [], "close", False),
        ("GET", b"HTTP/1.1 200 OK", [b"Connection: keep-alive"], "close", False),
        ("GET", b"HTTP/1.0 200 OK", [LENGTH], 5, False),
        ("GET", b"HTTP/1.0 200 OK", [LENGTH, b"Connection: keep-alive"], 5, True),
        ("HEAD", b"HTTP/1.1 200 OK", [LENGTH], 0, True),
        ("HEAD", b"HTTP/1.1 200 OK", [CHUNKED], 0, True),
        ("HEAD", b"HTTP/1.1 200 OK", [], 0, True),
        ("GET", b"HTTP/1.1 204 No Content", [LENGTH], 0, True),
        ("GET", b"HTTP/1.1 304 Not Modified", [LENGTH], 0, True),
        ("GET", b"HTTP/1.1 304 Not Modified", [CHUNKED], 0, True),
        ("GET", b"HTTP/1.1 100 Continue", [], 0, True),
        ("GET", b"HTTP/1.1 103 Early Hints", [LENGTH], 0, True),
        ("CONNECT", b"HTTP/1.1 200 OK", [LENGTH], 0, True),
        ("CONNECT", b"HTTP/1.1 200 OK", [CHUNKED], 0, True),
        ("CONNECT", b"HTTP/1.1 403 Forbidden", [LENGTH], 5, True),
        ("POST", b"HTTP/1.1 205 Reset Content", [b"Content-Length: 0"], 0, True),
    ],
)
def test_framing(
    method: str, line: bytes, fields: list[bytes], expected: Any, keep_alive: bool, parse_response: Any
) -> None:
    head = parse_response(answer(*fields, line=line), method)
    assert framing(head) == expected
    assert head["keep_alive"] is keep_alive


def test_upgrade(parse_response: Any) -> None:
    assert parse_response(answer(line=b"HTTP/1.1 101 Switching Protocols"))["upgrade"]
    assert parse_response(answer(), "CONNECT")["upgrade"]
    assert not parse_response(answer(line=b"HTTP/1.1 407 No"), "CONNECT")["upgrade"]
    assert not parse_response(answer(b"Upgrade: h2"))["upgrade"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (answer(line=b"HTTP/2.0 200 OK"), "HTTP version not supported: 'HTTP/2.0'"),
        (answer(line=b"ICY 200 OK"), "malformed HTTP version: 'ICY'"),
        (answer(line=b"HTTP/1.1"), "malformed status line"),
        (answer(line=b"HTTP/1.1 "), "malformed status line"),
        (answer(line=b"HTTP/1.1  200 OK"), "malformed status line"),
        (answer(line=b"HTTP/1.1 20 OK"), "malformed status line"),
        (answer(line=b"HTTP/1.1 2000 OK"), "malformed status line"),
        (answer(line=b"HTTP/1.1 099 OK"), "malformed status line"),
        (answer(line=b"HTTP/1.1 +20 OK"), "malformed status line"),
        (answer(line=b"HTTP/1.1 200OK"), "malformed status line"),
        (answer(line=b"HTTP/1.1 200 O\x00K"), "malformed status line"),
        (answer(line=b"HTTP/1.1 200 O\rK"), "bare CR"),
        (answer(b"A : b"), "whitespace before the colon: 'A : b'"),
        (answer(b"A: b", b" c"), "obsolete line folding"),
        (answer(b"A: b\nC: d"), "bare LF"),
        (b"HTTP/1.1 200 OK\nA: b\n\n", "bare LF"),
        (answer(LENGTH, LENGTH), "more than one Content-Length"),
        (answer(b"Content-Length: x"), "malformed Content-Length"),
        (answer(CHUNKED, LENGTH), "both"),
        (answer(CHUNKED, line=b"HTTP/1.0 200 OK"), "HTTP/1.0"),
        (answer(b"Transfer-Encoding: gzip, chunked"), "unknown transfer coding"),
        (answer(b"Transfer-Encoding: gzip"), "does not end with chunked"),
        (b"HTTP/1.1 200 " + b"a" * 9000, "status line too long"),
        (answer(b"A: " + b"b" * 65536), "head over 65536 bytes"),
        (answer(*[b"a:"] * 101), "more than 100 field lines"),
        (b"\r\n" + answer(), "malformed HTTP version: ''"),
    ],
)
def test_invalid(data: bytes, message: str, parse_response: Any) -> None:
    outcome = parse_response(data)
    assert outcome is not None
    assert not isinstance(outcome, dict), "was accepted"
    assert message in outcome.message


def test_needs_more(parse_response: Any) -> None:
    for data in (b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nA: b\r\n\r"):
        assert parse_response(data) is None


def test_bare_lf_allowed(parse_response: Any) -> None:
    data = b"HTTP/1.1 200 OK\nA: b\nContent-Length: 5\r\n\n"
    head = parse_response(data, limits=HeadLimits(allow_bare_lf=True))
    assert (framing(head), head["fields"], head["end"]) == (5, "A: b\r\nContent-Length: 5\r\n", len(data))
    assert parse_response(data[:-1], limits=HeadLimits(allow_bare_lf=True)) is None


PIECES = st.sampled_from(
    [b"HTTP/1.1", b" ", b"200", b"\r\n", b"\r", b"\n", b"A: b", b":", b"\r\n\r\n", LENGTH, CHUNKED]
)


@given(
    st.lists(PIECES | st.binary(max_size=3), max_size=12),
    st.lists(st.integers(0, 60), max_size=5),
    st.booleans(),
)
def test_whatever_comes_parses_or_is_refused(
    parse_response: Any, pieces: list[bytes], cuts: list[int], lenient: bool
) -> None:
    data = b"".join(pieces)
    limits = HeadLimits(max_header_size=60, max_fields=2, max_target=3, allow_bare_lf=lenient)
    parse_response(data, "GET", limits, [cut for cut in cuts if cut < len(data)])
