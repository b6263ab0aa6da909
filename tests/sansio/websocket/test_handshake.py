"""The opening handshake: what a server refuses and with which status, what a client refuses, and the RFC's bytes."""

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.httputil import HTTPHeaders
from webfw.sansio.errors import LocalProtocolError, RemoteProtocolError
from webfw.sansio.websocket.handshake import (
    VERSION,
    HandshakeError,
    accept_value,
    check_request,
    check_response,
    new_key,
    offered_subprotocols,
    request_fields,
    response_fields,
)

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

REQUEST = [
    ("Host", "server.example.com"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", KEY),
    ("Origin", "http://example.com"),
    ("Sec-WebSocket-Version", "13"),
]
RESPONSE = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", ACCEPT)]


def fields(pairs: list[tuple[str, str]], *, drop: str = "", **replace: str | list[str]) -> HTTPHeaders:
    """Header fields of `pairs`, one left out, others with other values; ``Sec_WebSocket_Key="x"``."""
    headers = HTTPHeaders()
    new = {name.replace("_", "-"): value for name, value in replace.items()}
    for name, value in pairs:
        if name != drop and name not in new:
            headers.parse_line(f"{name}: {value}")
    for name, values in new.items():
        for value in [values] if isinstance(values, str) else values:
            headers.parse_line(f"{name}: {value}")
    return headers


def refused(headers: HTTPHeaders, method: str = "GET", version: str = "HTTP/1.1") -> HandshakeError:
    with pytest.raises(HandshakeError) as info:
        check_request(method, version, headers)
    assert 0 < len(str(info.value)) < 120
    return info.value


# --- the examples of the RFC ---


def test_accept_value() -> None:
    """Sections 1.3 and 4.2.2."""
    assert accept_value(KEY) == ACCEPT


def test_example_of_the_rfc() -> None:
    """Section 1.2."""
    headers = fields(REQUEST, Sec_WebSocket_Protocol="chat, superchat")
    assert check_request("GET", "HTTP/1.1", headers) == KEY
    assert offered_subprotocols(headers) == ["chat", "superchat"]
    answer = response_fields(KEY, "chat")
    assert answer == [*RESPONSE, ("Sec-WebSocket-Protocol", "chat")]
    assert check_response(101, HTTPHeaders(dict(answer)), KEY, ["chat", "superchat"]) == "chat"


# --- server ---


@pytest.mark.parametrize(
    "replace",
    [
        {"Upgrade": "WebSocket"},
        {"Sec_WebSocket_Version": "13 \t"},
        {"Upgrade": "h2c, \tWEBSOCKET , ,"},
        {"Upgrade": ["h2c", "websocket"]},
        {"Connection": "keep-alive, Upgrade"},
        {"Connection": ["keep-alive", "UPGRADE"]},
        {"Sec_WebSocket_Key": "AAAAAAAAAAAAAAAAAAAAAA=="},
        {"Sec_WebSocket_Key": "//////////////////////=="},
        {"Content_Length": "0"},
    ],
)
def test_request_is_fine(replace: dict[str, str | list[str]]) -> None:
    headers = fields(REQUEST, **replace)
    assert check_request("GET", "HTTP/1.1", headers) == headers["Sec-WebSocket-Key"]


@pytest.mark.parametrize("method", ["POST", "HEAD", "get", "CONNECT", "OPTIONS"])
def test_method(method: str) -> None:
    error = refused(fields(REQUEST), method)
    assert error.status == 405
    assert error.fields == (("Allow", "GET"),)


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/0.9", "HTTP/2", "HTTP/2.0", ""])
def test_http_version(version: str) -> None:
    assert refused(fields(REQUEST), version=version).status == 400


@pytest.mark.parametrize(
    ("drop", "replace", "says"),
    [
        ("Upgrade", {}, 'can "Upgrade" only to "websocket"'),
        ("", {"Upgrade": "websockets"}, 'can "Upgrade" only to "websocket"'),
        ("", {"Upgrade": "websocket/13"}, "Upgrade"),
        ("", {"Upgrade": "h2c websocket"}, "Upgrade"),
        ("", {"Upgrade": ""}, "Upgrade"),
        ("Connection", {}, '"Connection" must be "Upgrade"'),
        ("", {"Connection": "close"}, "Connection"),
        ("", {"Connection": "keep-alive Upgrade"}, "Connection"),
        ("", {"Content_Length": "7"}, "the request of a WebSocket has no body"),
        ("", {"Transfer_Encoding": "chunked"}, "the request of a WebSocket has no body"),
        ("Sec-WebSocket-Key", {}, "missing Sec-WebSocket-Key"),
        ("", {"Sec_WebSocket_Key": [KEY, KEY]}, "more than one Sec-WebSocket-Key"),
        *(("", {"Sec_WebSocket_Key": key}, "not base64 of 16 bytes")
          for key in ("", "x", KEY[:-1], KEY[:-2], "A" + KEY, KEY + "=", KEY.replace("=", "A"), f"{KEY}, {KEY}",
                      KEY.replace("I", "-"), KEY.replace("I", " "), KEY.replace("I", "\xe9"), "=" * 24,
                      base64.b64encode(bytes(15)).decode(), base64.b64encode(bytes(17)).decode())),
        ("", {"Sec_WebSocket_Version": ["13", "13"]}, "more than one Sec-WebSocket-Version"),
    ],
)  # fmt: skip
def test_request_is_refused(drop: str, replace: dict[str, str | list[str]], says: str) -> None:
    error = refused(fields(REQUEST, drop=drop, **replace))
    assert error.status == 400
    assert error.fields == ()
    assert says in str(error)


@pytest.mark.parametrize("version", ["8", "7", "0", "14", "013", "1 3", "13, 8", "", "x", None])
def test_version_of_websocket(version: str | None) -> None:
    """Section 4.4: the versions spoken here are told; RFC 9110: 426 names the protocol to change to."""
    # Whatever an older version did with its key, it learns of ours.
    replace: dict[str, str | list[str]] = {} if version is None else {"Sec_WebSocket_Version": version}
    for drop in ("", "Sec-WebSocket-Key"):
        headers = fields(
            [pair for pair in REQUEST if pair[0] != "Sec-WebSocket-Version"], drop=drop, **replace
        )
        error = refused(headers)
        assert error.status == 426
        assert dict(error.fields) == {
            "Sec-WebSocket-Version": VERSION,
            "Upgrade": "websocket",
            "Connection": "Upgrade",
        }


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        ([], []),
        (["chat"], ["chat"]),
        (["chat, superchat"], ["chat", "superchat"]),
        (["chat,superchat", "\tv2.chat"], ["chat", "superchat", "v2.chat"]),
        ([" , chat,, ,b ,"], ["chat", "b"]),
        (["", "chat"], ["chat"]),
        ([""], []),
        ([" ,", ","], []),
        (["a, A, a", "b, a"], ["a", "A", "b"]),
        (["!#$%&'*+-.^_`|~"], ["!#$%&'*+-.^_`|~"]),
    ],
)
def test_offered_subprotocols(lines: list[str], names: list[str]) -> None:
    assert offered_subprotocols(fields([("Sec-WebSocket-Protocol", line) for line in lines])) == names


@pytest.mark.parametrize("line", ["a b", "a/b", 'a, "b"', "a; b", "caf\xe9", "a@b", "{}", "a,(b)", "a=b"])
def test_bad_subprotocols(line: str) -> None:
    """Section 4.2.1: any violation of the grammar is refused."""
    with pytest.raises(HandshakeError, match="Sec-WebSocket-Protocol") as info:
        offered_subprotocols(fields([("Sec-WebSocket-Protocol", line)]))
    assert info.value.status == 400


def test_response_fields() -> None:
    assert response_fields(KEY) == RESPONSE
    assert response_fields(KEY, None, "permessage-deflate") == [
        *RESPONSE,
        ("Sec-WebSocket-Extensions", "permessage-deflate"),
    ]


@pytest.mark.parametrize("bad", ["", "a b", "a,b", "a\r\nX: y", "caf\xe9", "a\n"])
def test_a_bad_subprotocol_is_our_fault(bad: str) -> None:
    with pytest.raises(LocalProtocolError, match="token"):
        response_fields(KEY, bad)
    with pytest.raises(LocalProtocolError, match="token"):
        request_fields(KEY, ["chat", bad])


# --- client ---


def test_new_key() -> None:
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(len(base64.b64decode(key, validate=True)) == 16 for key in keys)


def test_request_fields() -> None:
    assert request_fields(KEY) == [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", KEY),
        ("Sec-WebSocket-Version", "13"),
    ]
    full = dict(request_fields(KEY, ["chat", "superchat"], "permessage-deflate"))
    assert full["Sec-WebSocket-Protocol"] == "chat, superchat"
    assert full["Sec-WebSocket-Extensions"] == "permessage-deflate"


def test_a_subprotocol_twice_is_our_fault() -> None:
    """Section 4.1, item 10: they MUST be unique."""
    with pytest.raises(LocalProtocolError, match="twice"):
        request_fields(KEY, ["a", "b", "a"])


@given(st.lists(st.text("abcAB.-", min_size=1, max_size=4), max_size=5, unique=True))
def test_a_server_understands_our_request(subprotocols: list[str]) -> None:
    key = new_key()
    headers = fields(request_fields(key, subprotocols))
    assert check_request("GET", "HTTP/1.1", headers) == key
    assert offered_subprotocols(headers) == subprotocols
    for chosen in (None, *subprotocols):
        answer = fields(response_fields(key, chosen))
        assert check_response(101, answer, key, subprotocols) == chosen


@pytest.mark.parametrize(
    "replace",
    [{"Upgrade": "WebSocket"}, {"Connection": "upgrade"}, {"Connection": ["keep-alive", "x, Upgrade"]}],
)
def test_response_is_fine(replace: dict[str, str | list[str]]) -> None:
    assert check_response(101, fields(RESPONSE, **replace), KEY, ["chat"]) is None


@pytest.mark.parametrize("status", [200, 100, 102, 301, 401, 426, 500])
def test_status(status: int) -> None:
    with pytest.raises(RemoteProtocolError, match=f"answered {status} "):
        check_response(status, fields(RESPONSE), KEY)


@pytest.mark.parametrize(
    ("drop", "replace", "says"),
    [
        ("Upgrade", {}, "missing Upgrade in the response"),
        ("", {"Upgrade": "h2c"}, "wrong Upgrade in the response: h2c"),
        ("", {"Upgrade": "websocket, h2c"}, "wrong Upgrade"),
        ("", {"Upgrade": ["websocket", "websocket"]}, "wrong Upgrade"),
        ("Connection", {}, "missing Connection in the response"),
        ("", {"Connection": "close"}, "wrong Connection in the response: close"),
        ("Sec-WebSocket-Accept", {}, "missing Sec-WebSocket-Accept in the response"),
        ("", {"Sec_WebSocket_Accept": ACCEPT.lower()}, "wrong Sec-WebSocket-Accept in the response: s3pp"),
        ("", {"Sec_WebSocket_Accept": [ACCEPT, ACCEPT]}, "wrong Sec-WebSocket-Accept"),
        ("", {"Sec_WebSocket_Accept": KEY}, "wrong Sec-WebSocket-Accept"),
        ("", {"Sec_WebSocket_Accept": ""}, "wrong Sec-WebSocket-Accept"),
        ("", {"Sec_WebSocket_Protocol": "other"}, "subprotocol 'other' was not offered"),
        ("", {"Sec_WebSocket_Protocol": "Chat"}, "subprotocol 'Chat' was not offered"),
        ("", {"Sec_WebSocket_Protocol": ""}, "subprotocol '' was not offered"),
        ("", {"Sec_WebSocket_Protocol": "chat, b"}, "subprotocol 'chat, b' was not offered"),
        ("", {"Sec_WebSocket_Protocol": ["chat", "b"]}, "more than one Sec-WebSocket-Protocol"),
    ],
)  # fmt: skip
def test_response_is_refused(drop: str, replace: dict[str, str | list[str]], says: str) -> None:
    with pytest.raises(RemoteProtocolError, match=re.escape(says)):
        check_response(101, fields(RESPONSE, drop=drop, **replace), KEY, ["chat", "b"])


def test_a_subprotocol_when_none_was_offered() -> None:
    with pytest.raises(RemoteProtocolError, match="was not offered"):
        check_response(101, fields(RESPONSE, Sec_WebSocket_Protocol="chat"), KEY)


def test_messages_are_short() -> None:
    with pytest.raises(RemoteProtocolError) as info:
        check_response(101, fields(RESPONSE, Sec_WebSocket_Accept="x" * 10_000), KEY)
    assert len(str(info.value)) < 130
