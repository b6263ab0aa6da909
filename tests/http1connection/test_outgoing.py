import pytest

from webfw.http1connection.outgoing import Framing
from webfw.httputil import HTTPHeaders, HTTPOutputError, RequestStartLine, ResponseStartLine
from webfw.sansio.errors import LocalProtocolError
from webfw.sansio.http1 import HeadLimits, RequestHead, parse_head


def asked(method: str = "GET", version: str = "1.1") -> RequestHead:
    head = parse_head(f"{method} / HTTP/{version}\r\nHost: x\r\n\r\n".encode(), 0, 0, HeadLimits())
    assert head is not None
    return head


def response(
    headers: dict[str, str], status: int = 200, request: RequestHead | None = None, close: bool = False
) -> tuple[Framing, bytes]:
    out = Framing(close)
    return out, out.response(ResponseStartLine("", status, "R"), HTTPHeaders(headers), request)


@pytest.mark.parametrize(
    ("headers", "status", "request_head", "fields", "piece"),
    [
        ({}, 200, asked(), b"Transfer-Encoding: chunked\r\n", b"2\r\nhi\r\n"),
        ({"Content-Length": "2"}, 200, asked(), b"Content-Length: 2\r\n", b"hi"),
        ({}, 200, asked("HEAD"), b"Transfer-Encoding: chunked\r\n", b""),
        ({"Content-Length": "2"}, 200, asked("HEAD"), b"Content-Length: 2\r\n", b""),
        ({"Content-Length": "2"}, 304, asked(), b"Content-Length: 2\r\n", b""),
        ({"Content-Length": "0"}, 204, asked(), b"", b""),
        ({}, 200, asked("GET", "1.0"), b"Connection: close\r\n", b"hi"),
        ({"Transfer-Encoding": "gzip"}, 200, None, b"Transfer-Encoding: chunked\r\n", b"2\r\nhi\r\n"),
        ({"Connection": "Upgrade"}, 101, asked(), b"Connection: Upgrade\r\n", b""),
    ],
)
def test_responses(
    headers: dict[str, str], status: int, request_head: RequestHead | None, fields: bytes, piece: bytes
) -> None:
    out, head = response(headers, status, request_head)
    assert head == b"HTTP/1.1 %d R\r\n%b\r\n" % (status, fields)
    assert out.frame(b"hi") == piece


def test_persistence() -> None:
    out, head = response({"Connection": "close", "Content-Length": "0"}, request=asked())
    assert out.close
    assert b"Connection: close\r\n" in head
    out, head = response({"Content-Length": "0"}, request=asked(), close=True)
    assert b"Connection: close\r\n" in head
    out, head = response({"Content-Length": "0"}, request=asked(version="1.0"))
    assert not out.close  # whoever asked has said so; else the caller would have given close
    assert b"Connection: keep-alive\r\n" in head


def request(method: str, headers: dict[str, str]) -> tuple[Framing, bytes]:
    out = Framing()
    return out, out.request(RequestStartLine(method, "/", ""), HTTPHeaders(headers))


def test_requests() -> None:
    out, head = request("GET", {"Host": "x"})
    assert head == b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    out.check_complete()
    with pytest.raises(HTTPOutputError, match="more was written"):
        out.frame(b"a")
    out, head = request("POST", {})
    assert head == b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert out.frame(b"a") == b"1\r\na\r\n"
    assert out.frame(b"") == b""
    out, head = request("DELETE", {"Transfer-Encoding": "chunked"})
    assert out.chunked
    assert head.count(b"chunked") == 1
    out, head = request("PUT", {"Content-Length": "3"})
    assert out.frame(b"ab") == b"ab"
    with pytest.raises(HTTPOutputError, match="1 bytes less"):
        out.check_complete()


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({"Content-Length": "x"}, "no number"),
        ({"Content-Length": "٣"}, "no number"),
        ({"Transfer-Encoding": "gzip"}, "unsupported"),
        ({"Transfer-Encoding": "chunked", "Content-Length": "3"}, "both"),
    ],
)
def test_requests_that_contradict_themselves(headers: dict[str, str], why: str) -> None:
    with pytest.raises(HTTPOutputError, match=why):
        request("POST", headers)


def test_a_target_that_would_break_the_line() -> None:
    with pytest.raises(LocalProtocolError, match="target"):
        Framing().request(RequestStartLine("GET", "/a b", ""), HTTPHeaders())
