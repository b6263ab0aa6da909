"""Whatever a server sends as a response head is parsed or raises RemoteProtocolError, the same however it is split.

And: exactly one way to find the end of the body comes out of it, and h11 reads the same in it.
"""
# ruff: noqa: PT017  # what may be raised, and what it may say, is the subject

from typing import Any

import h11

from tests.fuzz.fuzz_head import LIMITS, fields_of, outcome
from webfw.sansio.http1 import ResponseHead, parse_response_head

METHODS = ("GET", "HEAD", "CONNECT")
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
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.0 ",
        b"HTTP/1.1 ",
        b"HTTP/2.0 ",
        b"ICY 200 OK\r\n",
        b" 100 ",
        b" 101 ",
    ),
    *(b" 204 ", b" 304 ", b" 999 ", b" 099 ", b" 20 ", b" 200\r\n", b" 200 \r\n"),
    *(b"Content-Length: 5\r\n", b"Content-Length: 5, 5\r\n", b"Transfer-Encoding: chunked\r\n", b"chunked"),
    *(b"gzip, ", b"Connection: close\r\n", b"keep-alive", b"Upgrade: x\r\n", b"Connection: upgrade\r\n"),
    *(
        b"99999999999999999999",
        b"0x",
        b"+1",
        b"\r\n ",
        b"X: " + b"y" * 70 + b"\r\n",
        b"a:\r\n" * 10,
        b"a" * 100,
    ),
]


def h11_agrees(head: ResponseHead, data: bytes, method: str) -> None:
    """Another reader, which knows nothing of ours, sees the same response in the same bytes."""
    reader = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    target = "a:1" if method == "CONNECT" else "/"
    # Offered to be upgraded, so that 101 is expected.
    fields = [("Host", "a"), ("Connection", "upgrade"), ("Upgrade", "x")]
    reader.send(h11.Request(method=method, target=target, headers=fields))
    reader.send(h11.EndOfMessage())
    reader.receive_data(data[: head.end])
    try:
        event = reader.next_event()
    except h11.RemoteProtocolError as error:
        # It looks at the fields of framing where they mean nothing, too.
        assert head.content_length == 0, f"h11 refuses what we accept: {error}"
        return
    assert isinstance(event, (h11.Response, h11.InformationalResponse)), event
    assert event.status_code == head.status
    assert event.reason.decode("latin-1") == head.reason
    theirs, ours = list(event.headers), fields_of(head.fields)
    # Equal lengths are one to it; where there is a body, several are refused by us.
    assert dict.fromkeys(name for name, _ in theirs) == dict.fromkeys(name for name, _ in ours)
    if head.content_length:
        assert dict(theirs)[b"content-length"] == dict(ours)[b"content-length"]
    if head.chunked:
        assert dict(theirs)[b"transfer-encoding"] == b"chunked"


def check(data: bytes, cuts: list[int]) -> str:
    results: list[str] = []
    for method in METHODS:

        def parse(*arguments: Any, method: str = method) -> ResponseHead | None:
            return parse_response_head(*arguments, request_method=method)

        for limits in LIMITS:
            whole = outcome(parse, data, [len(data)], limits)
            assert outcome(parse, data, [*cuts, len(data)], limits) == whole, (method, limits)
        whole = outcome(parse, data, [len(data)], LIMITS[0])
        if whole is None:
            results.append("incomplete")
        elif len(whole) == 2:
            results.append(str(whole[0]))
        else:
            head = parse(data, 0, 0, LIMITS[0])
            assert head is not None
            assert 100 <= head.status <= 999
            assert head.chunked + head.until_close + (head.content_length is not None) == 1
            assert not (head.until_close and head.keep_alive)
            assert head.content_length is None or 0 <= head.content_length < 10**18
            if method == "HEAD" or head.status < 200 or head.status in (204, 304):
                assert head.content_length == 0
            h11_agrees(head, data, method)
            results.append("parsed")
    return results[0]
