"""Whatever a client sends as a head is parsed or raises RemoteProtocolError, the same however it is split.

And: what is accepted is nothing but what the grammar allows, and h11 reads the same in it.
"""

import re
from typing import Any

import h11

from webfw.httputil import HTTPHeaders
from webfw.sansio.errors import RemoteProtocolError
from webfw.sansio.http1 import HeadLimits, RequestHead, origin_form, parse_head

LIMITS = [
    HeadLimits(),
    HeadLimits(allow_bare_lf=True),
    HeadLimits(max_header_size=300, max_fields=6, max_target=20),
    HeadLimits(max_header_size=60, max_fields=3, max_target=3, allow_bare_lf=True),
]
STATUSES = {400, 414, 417, 431, 501, 505}
BLOCK = re.compile(r"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)*")
TOKENS = [
    *(
        b"\r\n",
        b"\r",
        b"\n",
        b"\r\n\r\n",
        b" ",
        b"\t",
        b":",
        b",",
        b"\x00",
        b"\x0b",
        b"\x85",
        b"\xa0",
        b"\xff",
    ),
    *(
        b"Host: a\r\n",
        b"host:",
        b"[::1]",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"chunked",
    ),
    *(
        b"HTTP/1.1",
        b"HTTP/1.0",
        b"HTTP/2.0",
        b"GET ",
        b"CONNECT ",
        b"OPTIONS ",
        b"*",
        b"/",
        b"http://a/",
        b"#",
        b"%",
    ),
    *(
        b"Connection: close\r\n",
        b"keep-alive",
        b"upgrade",
        b"Upgrade: x\r\n",
        b"Expect: 100-continue\r\n",
        b"+1",
    ),
    *(b"X: " + b"y" * 70 + b"\r\n", b"/" * 100, b"a:\r\n" * 10, b"99999999999999999999", b"0x", b"\r\n "),
]


def refusal(error: RemoteProtocolError) -> tuple[int, str]:
    message = str(error)
    assert error.status in STATUSES
    assert message.isascii()
    assert message.isprintable()
    assert len(message) <= 130
    return error.status, message


def outcome(parse: Any, data: bytes, stops: list[int], limits: HeadLimits) -> Any:
    seen = 0
    for stop in stops:
        try:
            head = parse(data[:stop], 0, seen, limits)
        except RemoteProtocolError as error:
            return refusal(error)
        if head is not None:
            assert BLOCK.fullmatch(head.fields)
            assert 0 < head.end <= stop
            assert head.end <= limits.max_header_size + 10  # with the empty lines before it
            assert head.fields.count("\n") <= limits.max_fields
            return head.end, *[getattr(head, name) for name in type(head).__slots__]
        seen = stop
    return None


def fields_of(block: str) -> list[tuple[bytes, bytes]]:
    lines = [line.partition(":") for line in block.split("\r\n")[:-1]]
    return [(name.lower().encode(), value.strip(" \t").encode("latin-1")) for name, _, value in lines]


def h11_agrees(head: RequestHead, data: bytes) -> None:
    """Another reader, which knows nothing of ours, sees the same request in the same bytes."""
    reader = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    reader.receive_data(data[: head.end].lstrip(b"\r\n"))  # it takes no empty lines before a request
    try:
        event = reader.next_event()
    except h11.RemoteProtocolError as error:
        raise AssertionError(f"h11 refuses what we accept: {error}") from None
    assert isinstance(event, h11.Request), event
    assert event.method.decode() == head.method
    assert event.target.decode() == head.target
    theirs = [(name, value) for name, value in event.headers if name != b"host"]
    ours = [(name, value) for name, value in fields_of(head.fields) if name != b"host"]
    assert [name for name, _ in theirs] == [name for name, _ in ours]
    assert dict(theirs).get(b"content-length") == dict(ours).get(b"content-length")
    assert all(
        one == other for one, other in zip(theirs, ours, strict=True) if one[0] != b"transfer-encoding"
    )
    assert head.chunked == ((b"transfer-encoding", b"chunked") in theirs)


def check(data: bytes, cuts: list[int]) -> str:
    for limits in LIMITS:
        whole = outcome(parse_head, data, [len(data)], limits)
        assert outcome(parse_head, data, [*cuts, len(data)], limits) == whole, limits
    whole = outcome(parse_head, data, [len(data)], LIMITS[0])
    if whole is None:
        return "incomplete"
    if len(whole) == 2:
        return str(whole[0])
    head = parse_head(data, 0, 0, LIMITS[0])
    assert head is not None
    assert not (head.chunked and head.content_length is not None)
    assert head.content_length is None or 0 <= head.content_length < 10**18
    assert b"\n" not in data[: head.end].replace(b"\r\n", b"")
    assert head.method == "CONNECT" or origin_form(head.target)[0] in "/*"
    headers = HTTPHeaders.parse(head.fields)
    assert [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.get_all()] == sorted(
        fields_of(head.fields), key=lambda field: list(dict(fields_of(head.fields))).index(field[0])
    )
    h11_agrees(head, data)
    return "parsed"
