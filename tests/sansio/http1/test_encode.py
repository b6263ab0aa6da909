"""What is sent: exact bytes, and nothing that could end a line early."""

import time
import timeit
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.sansio.errors import LocalProtocolError
from webfw.sansio.http1 import (
    HeadLimits,
    encode_chunk,
    encode_head,
    encode_last_chunk,
    encode_request_head,
    parse_head,
    parse_response_head,
    status_line,
)
from webfw.sansio.http1 import encode as encode_module

OK = "HTTP/1.1 200 OK"


@pytest.mark.parametrize(
    ("status", "reason", "line"),
    [
        (200, None, "HTTP/1.1 200 OK"),
        (200, "Fine", "HTTP/1.1 200 Fine"),
        (200, "", "HTTP/1.1 200 "),
        (404, None, "HTTP/1.1 404 Not Found"),
        (413, None, "HTTP/1.1 413 Content Too Large"),
        (431, None, "HTTP/1.1 431 Request Header Fields Too Large"),
        (599, None, "HTTP/1.1 599 Unknown"),
        (999, "Odd", "HTTP/1.1 999 Odd"),
        (200, "Très bien", "HTTP/1.1 200 Très bien"),
    ],
)
def test_status_line(status: int, reason: str | None, line: str) -> None:
    assert status_line(status, reason) == line
    assert status_line(status, reason) is status_line(status, reason)


@pytest.mark.parametrize("status", [99, 1000, 0, -200])
def test_status_out_of_range(status: int) -> None:
    with pytest.raises(LocalProtocolError, match=str(status)):
        status_line(status)


@pytest.mark.parametrize("reason", ["a\r\nb", "a\nb", "a\rb", "a\x00b", "\x7f", "日本", "a\u2028b"])
def test_reason_with_a_bad_character(reason: str) -> None:
    with pytest.raises(LocalProtocolError, match="reason"):
        status_line(200, reason)


def test_head() -> None:
    assert encode_head(OK, []) == b"HTTP/1.1 200 OK\r\n\r\n"
    assert (
        encode_head(OK, [("A", "b"), ("C", ""), ("a", "d")])
        == b"HTTP/1.1 200 OK\r\nA: b\r\nC: \r\na: d\r\n\r\n"
    )
    assert encode_head(OK, {"A": "é\t~"}.items()) == b"HTTP/1.1 200 OK\r\nA: \xe9\t~\r\n\r\n"
    assert encode_head(OK, [(name, "b") for name in "ac"], b"") == b"HTTP/1.1 200 OK\r\na: b\r\nc: b\r\n\r\n"


@pytest.mark.parametrize(
    "bad", [chr(code) for code in (*range(9), *range(10, 32), 127)] + ["Ċ", "日", "\u2028"]
)
@pytest.mark.parametrize("form", ["{}", "a{}", "{}b", "a{}X-Evil: b", "a\r{}b"])
def test_value_with_a_bad_character(bad: str, form: str) -> None:
    value = form.format(bad)
    with pytest.raises(LocalProtocolError, match="X-Name") as caught:
        encode_head(OK, [("A", "fine"), ("X-Name", value), ("B", "fine")])
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "name",
    ["", " ", "A:", "A: b", "A b", " A", "A ", "A\r\nB", "A\n", "A\x00", "Ä", "(A)", "A: b\r\nC", "日"],
)
def test_name_that_is_no_token(name: str) -> None:
    for _ in range(2):  # the second time, too: nothing bad is remembered
        with pytest.raises(LocalProtocolError, match="not a token"):
            encode_head(OK, [("A", "fine"), (name, "b")])


@pytest.mark.parametrize("line", ["HTTP/1.1 200 OK\r\nA: b", "HTTP/1.1 200 O\x00K", "HTTP/1.1 200 日"])
def test_first_line_with_a_bad_character(line: str) -> None:
    with pytest.raises(LocalProtocolError, match="first line"):
        encode_head(line, [("A", "b")])


@pytest.mark.parametrize("field", [("A", 5), ("A", b"b"), ("A", None), (b"A", "b"), (None, "b")])
def test_only_str(field: tuple[str, str]) -> None:
    with pytest.raises(LocalProtocolError, match="must be str"):
        encode_head(OK, [field])


def test_memory_of_names_is_bounded() -> None:
    for number in range(3000):
        encode_head(OK, [(f"X-{number}", "a")])
    encode_head(OK, [("X" * 100, "a")])
    assert len(encode_module._prefixes) <= 1024
    assert max(map(len, encode_module._prefixes)) <= 64


def test_request_head() -> None:
    assert encode_request_head("GET", "/a?b", [("Host", "c")]) == b"GET /a?b HTTP/1.1\r\nHost: c\r\n\r\n"
    for method, target in [
        ("G T", "/"),
        ("", "/"),
        ("GET", ""),
        ("GET", "/ b"),
        ("GET", "/\r\n"),
        ("GET", "/ä"),
    ]:
        with pytest.raises(LocalProtocolError):
            encode_request_head(method, target, [])
    with pytest.raises(LocalProtocolError, match="target"):
        encode_request_head("GET", "/#a", [])


def test_chunks() -> None:
    assert encode_chunk(b"hello") == b"5\r\nhello\r\n"
    assert encode_chunk(b"a" * 26) == b"1a\r\n" + b"a" * 26 + b"\r\n"
    assert encode_chunk(b"") == b""
    assert encode_last_chunk() == b"0\r\n\r\n"
    assert encode_last_chunk([("A", "b"), ("C", "d")]) == b"0\r\nA: b\r\nC: d\r\n\r\n"


@pytest.mark.parametrize("name", ["Content-Length", "host", "TRANSFER-ENCODING", "Set-Cookie"])
def test_forbidden_trailer(name: str) -> None:
    with pytest.raises(LocalProtocolError, match="not allowed as a trailer"):
        encode_last_chunk([("A", "b"), (name, "c")])


def test_bad_trailer() -> None:
    with pytest.raises(LocalProtocolError, match="'A'"):
        encode_last_chunk([("A", "b\r\nC: d")])

    def generated() -> Iterator[tuple[str, str]]:
        yield "A", "b"

    assert encode_last_chunk(generated()) == b"0\r\nA: b\r\n\r\n"


FIELD_TEXT = st.text(st.characters(max_codepoint=0x130), max_size=12)
PAIRS = st.lists(st.tuples(FIELD_TEXT | st.sampled_from(["A", "X-B"]), FIELD_TEXT), max_size=4)


@given(PAIRS)
def test_what_gets_through_is_read_back(fields: list[tuple[str, str]]) -> None:
    """Either a head is refused here, or it is parsed to the same fields on the other side."""
    try:
        data = encode_head(OK, fields)
    except LocalProtocolError:
        return
    head = parse_response_head(data + b"A: b\r\n\r\n", 0, 0, HeadLimits(), "HEAD")
    assert head is not None
    assert head.end == len(data)
    assert head.fields == "".join(f"{name}: {value}\r\n" for name, value in fields)


@given(st.sampled_from(["GET", "A-B"]), FIELD_TEXT.map("/".__add__), PAIRS)
def test_request_that_gets_through_is_read_back(
    method: str, target: str, fields: list[tuple[str, str]]
) -> None:
    fields = [("Host", "a"), *[pair for pair in fields if pair[0].lower() != "host"]]
    try:
        data = encode_request_head(method, target, fields)
    except LocalProtocolError:
        return
    head = parse_head(data, 0, 0, HeadLimits())
    assert head is not None
    assert (head.method, head.target, head.end) == (method, target, len(data))
    assert head.fields == "".join(f"{name}: {value}\r\n" for name, value in fields)


def test_encoding_is_linear() -> None:
    def seconds(size: int) -> float:
        fields = [("A", "b" * size)] * 2 + [("C", "d")] * size
        return min(
            timeit.repeat(lambda: encode_head(OK, fields), number=1, repeat=5, timer=time.process_time)
        )

    assert seconds(80_000) < 40 * seconds(10_000)
