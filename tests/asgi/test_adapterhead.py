"""What scopes become: targets, mounts, hosts, and what is refused."""

from typing import Any

import pytest

from tests.asgi.adaptedhost import http_scope, websocket_scope
from webfw.asgi.adapterhead import ScopeHead
from webfw.sansio.errors import RemoteProtocolError


def head(*args: Any, **kwargs: Any) -> ScopeHead:
    return ScopeHead(http_scope(*args, **kwargs))


def test_a_request_of_http_1() -> None:
    made = head("POST", "/a%20b?c=%20d", {"Content-Length": "5", "X-Two": "é"})
    assert (made.method, made.target, made.version) == ("POST", "/a%20b?c=%20d", "HTTP/1.1")
    assert made.host == "example.com"
    assert made.fields == "host: example.com\r\ncontent-length: 5\r\nx-two: é\r\n"
    assert made.announced == 5
    assert made.has_body


@pytest.mark.parametrize(
    ("path", "raw", "root", "target"),
    [
        ("/a b", None, "", "/a%20b"),
        ("/é", None, "", "/%C3%A9"),
        ("/50%", None, "", "/50%25"),
        ("/a/b", b"/a%2Fb", "", "/a%2Fb"),
        ("/a", b"/a?left=over", "", "/a"),
        ("", b"", "", "/"),
        ("*", b"*", "", "*"),
        # The specification: path has root_path in it.
        ("/app/a", b"/app/a", "/app", "/a"),
        ("/app/a", b"/app/a", "/app/", "/a"),
        ("/app", b"/app", "/app", "/"),
        ("/app/", b"/app/", "/app", "/"),
        ("/app/a b", None, "/app", "/a%20b"),
        ("/my app/é", b"/my%20app/%c3%a9", "/my app", "/%c3%a9"),
        ("/my app/é", b"/%6dy%20app/%c3%a9", "/my app", "/%C3%A9"),
        # Other hosts leave it out.
        ("/a", b"/a", "/app", "/a"),
        ("/application", b"/application", "/app", "/application"),
    ],
)
def test_targets(path: str, raw: bytes | None, root: str, target: str) -> None:
    assert ScopeHead(http_scope(path="/", raw_path=raw) | {"path": path, "root_path": root}).target == target


def test_only_what_must_be_there_need_be_there() -> None:
    made = ScopeHead({"type": "http", "method": "GET", "path": "/", "http_version": "2", "headers": []})
    assert (made.target, made.version, made.host, made.has_body) == ("/", "HTTP/2", "", False)


@pytest.mark.parametrize(
    ("method", "version", "headers", "expected"),
    [
        ("GET", "1.1", {}, False),
        ("POST", "1.1", {}, False),
        ("GET", "1.1", {"content-length": "0"}, True),
        ("GET", "1.1", {"transfer-encoding": "chunked"}, True),
        ("GET", "2", {}, False),
        ("HEAD", "2", {}, False),
        ("POST", "2", {}, True),
        ("DELETE", "3", {}, True),
    ],
)
def test_whether_there_is_a_body(method: str, version: str, headers: Any, expected: bool) -> None:
    assert head(method, headers=headers, http_version=version).has_body is expected


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"headers": []}, "no Host field"),
        ({"headers": [(b"host", b"a"), (b"host", b"a")]}, "more than one Host"),
        ({"headers": [(b"host", b"a b")]}, "malformed Host"),
        ({"headers": [(b"host", b"a"), (b"x", b"1\r\ny: 2")]}, "malformed field"),
        ({"headers": [(b"host", b"a"), (b"x", b"1\ny: 2")]}, "malformed field"),
        ({"headers": [(b"host", b"a"), (b"x\r\ny", b"1")]}, "malformed field"),
        ({"headers": [(b"host", b"a"), (b"x y", b"1")]}, "malformed field"),
        ({"headers": [(b"host", b"a"), (b"", b"1")]}, "malformed field"),
        ({"headers": [(b"host", b"a"), (b"content-length", b"-1")]}, "malformed Content-Length"),
        ({"headers": [(b"host", b"a"), (b"content-length", b"1, 1")]}, "more than one Content-Length"),
        ({"method": "G T"}, "method"),
        ({"raw_path": b"/a b"}, "malformed request target"),
        ({"raw_path": "/é".encode()}, "malformed request target"),
        ({"query_string": b"a b"}, "malformed request target"),
        ({"query_string": b"a#b"}, "malformed request target"),
    ],
)
def test_what_is_refused(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(RemoteProtocolError, match=complaint) as caught:
        ScopeHead(http_scope() | change)
    assert caught.value.status == 400


def test_nothing_can_be_upgraded() -> None:
    made = head(headers={"Upgrade": "websocket", "Connection": "Upgrade"})
    assert "upgrade:" not in made.fields


def test_a_websocket_is_shown_as_the_handshake_of_http_1() -> None:
    scope = websocket_scope("/ws?a=1", {"Cookie": "a=b"}, http_version="2", subprotocols=["chat", "v2"])
    made = ScopeHead(scope)
    assert (made.method, made.version, made.target) == ("GET", "HTTP/1.1", "/ws?a=1")
    assert "upgrade: websocket\r\n" in made.fields
    assert "sec-websocket-protocol: chat, v2\r\n" in made.fields
    assert "cookie: a=b\r\n" in made.fields
    assert not made.has_body


def test_extensions_are_the_hosts() -> None:
    headers = {
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": "x",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Extensions": "permessage-deflate",
        "Sec-WebSocket-Protocol": "chat",
    }
    made = ScopeHead(websocket_scope(headers=headers, subprotocols=["chat"]))
    assert "deflate" not in made.fields
    assert made.fields.count("sec-websocket-protocol: chat\r\n") == 1
    assert made.fields.count("sec-websocket-key") == made.fields.count("upgrade: websocket") == 1
