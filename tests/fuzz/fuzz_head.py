"""Whatever a client sends, it parses or raises RemoteProtocolError.

And: it comes out the same however it is split; what is accepted is nothing but what the grammar allows.
"""

import re
import sys
from pathlib import Path
from typing import Any

from webfw.sansio.errors import RemoteProtocolError
from webfw.sansio.http1 import HeadLimits, origin_form, parse_head, parse_response_head

sys.path.insert(0, str(Path(__file__).resolve().parent))
from mutation import load, main

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
SEEDS = load("head")


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
            return head.end, *[getattr(head, name) for name in type(head).__slots__]
        seen = stop
    return None


def check(data: bytes, cuts: list[int]) -> str:
    """Raise `AssertionError` when `data` breaks the rule; returns what became of it."""
    for parse in (parse_head, parse_response_head):
        for limits in LIMITS:
            whole = outcome(parse, data, [len(data)], limits)
            assert outcome(parse, data, [*cuts, len(data)], limits) == whole, (parse, limits)
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
    return "parsed"


if __name__ == "__main__":
    sys.exit(main(check, SEEDS, TOKENS))
