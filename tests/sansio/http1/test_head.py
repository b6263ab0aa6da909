"""Request heads: what is valid and what is not, each refusal with the sentence that asks for it."""

import time
import timeit
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.sansio.errors import RemoteProtocolError
from webfw.sansio.http1 import HeadLimits, RequestHead, parse_head
from webfw.sansio.http1 import head as head_module

LIMITS = HeadLimits()
HOST = b"Host: example.com\r\n"


def get(fields: bytes = HOST, line: bytes = b"GET / HTTP/1.1") -> bytes:
    return line + b"\r\n" + fields + b"\r\n"


# --- what is valid ---

PLAIN = {
    "method": "GET",
    "target": "/",
    "version": "HTTP/1.1",
    "minor": 1,
    "fields": "Host: example.com\r\n",
    "host": "example.com",
    "keep_alive": True,
    "content_length": None,
    "chunked": False,
    "expect_continue": False,
    "upgrade": False,
}

#: name: (bytes, what differs from PLAIN; "fields" is only compared when given)
VALID: dict[str, tuple[bytes, dict[str, Any]]] = {
    "one field": (get(), {"fields": "Host: example.com\r\n"}),
    "1.0 without fields": (
        get(b"", b"GET / HTTP/1.0"),
        {"version": "HTTP/1.0", "minor": 0, "fields": "", "host": "", "keep_alive": False},
    ),
    "1.0 with Host": (get(line=b"GET / HTTP/1.0"), {"version": "HTTP/1.0", "minor": 0, "keep_alive": False}),
    "1.0 keep-alive": (
        get(HOST + b"Connection: Keep-Alive\r\n", b"GET / HTTP/1.0"),
        {"version": "HTTP/1.0", "minor": 0},
    ),
    "1.0 keep-alive and close": (
        get(HOST + b"Connection: keep-alive, close\r\n", b"GET / HTTP/1.0"),
        {"version": "HTTP/1.0", "minor": 0, "keep_alive": False},
    ),
    "1.0 ignores 100-continue and Upgrade": (
        get(HOST + b"Expect: 100-continue\r\nConnection: upgrade\r\nUpgrade: x\r\n", b"GET / HTTP/1.0"),
        {"version": "HTTP/1.0", "minor": 0, "keep_alive": False},
    ),
    "1.2 counts as 1.1": (get(line=b"GET / HTTP/1.2"), {}),
    "1.9 counts as 1.1": (get(line=b"GET / HTTP/1.9"), {}),
    "method of 24": (get(line=b"A" * 24 + b" / HTTP/1.1"), {"method": "A" * 24}),
    "method in lower case": (get(line=b"get / HTTP/1.1"), {"method": "get"}),
    "method of odd tchars": (get(line=b"!#$%&'*+-.^_`|~0 / HTTP/1.1"), {"method": "!#$%&'*+-.^_`|~0"}),
    "empty line before": (b"\r\n" + get(), {}),
    "four empty lines before": (b"\r\n" * 4 + get(), {}),
    "query": (get(line=b"GET /a?b=c&d=%20 HTTP/1.1"), {"target": "/a?b=c&d=%20"}),
    "target as browsers send it": (get(line=b'GET /a|b{c}"<>^`\\ HTTP/1.1'), {"target": '/a|b{c}"<>^`\\'}),
    "two slashes": (get(line=b"GET //evil.com/ HTTP/1.1"), {"target": "//evil.com/"}),
    "OPTIONS *": (get(line=b"OPTIONS * HTTP/1.1"), {"method": "OPTIONS", "target": "*"}),
    "CONNECT": (
        get(line=b"CONNECT other.com:443 HTTP/1.1"),
        {
            "method": "CONNECT",
            "target": "other.com:443",
            "host": "other.com:443",
            "fields": "Host: other.com:443\r\n",
        },
    ),
    "CONNECT to IPv6": (
        get(line=b"CONNECT [::1]:443 HTTP/1.1"),
        {"method": "CONNECT", "target": "[::1]:443", "host": "[::1]:443", "fields": "Host: [::1]:443\r\n"},
    ),
    "absolute-form": (
        get(line=b"GET http://example.com/a?b HTTP/1.1"),
        {"target": "http://example.com/a?b", "fields": "Host: example.com\r\n"},
    ),
    "absolute-form wins over Host": (
        get(b"A: 1\r\nhOST:  evil.com \r\nB: 2\r\n", b"GET HTTPS://good.com:8443 HTTP/1.1"),
        {
            "target": "HTTPS://good.com:8443",
            "host": "good.com:8443",
            "fields": "A: 1\r\nHost: good.com:8443\r\nB: 2\r\n",
        },
    ),
    "absolute-form in 1.0 without Host": (
        get(b"", b"GET http://example.com/ HTTP/1.0"),
        {
            "target": "http://example.com/",
            "version": "HTTP/1.0",
            "minor": 0,
            "keep_alive": False,
            "fields": "",
        },
    ),
    "empty Host": (get(b"Host:\r\n"), {"host": ""}),
    "Host with port": (get(b"Host: example.com:8080\r\n"), {"host": "example.com:8080"}),
    "Host with empty port": (get(b"Host: example.com:\r\n"), {"host": "example.com:"}),
    "Host IPv4": (get(b"Host: 127.0.0.1:80\r\n"), {"host": "127.0.0.1:80"}),
    "Host IPv6": (get(b"Host: [2001:db8::1]:80\r\n"), {"host": "[2001:db8::1]:80"}),
    "Host IPv6 with IPv4": (get(b"Host: [::ffff:1.2.3.4]\r\n"), {"host": "[::ffff:1.2.3.4]"}),
    "Host IPvFuture": (get(b"Host: [v1.fe:x]\r\n"), {"host": "[v1.fe:x]"}),
    "Host percent-encoded": (get(b"Host: a%2Db.com\r\n"), {"host": "a%2Db.com"}),
    "Host with underscore": (get(b"Host: my_app.local\r\n"), {"host": "my_app.local"}),
    "Host keeps its case": (get(b"HOST:\tExample.COM\t \r\n"), {"host": "Example.COM"}),
    "no space after the colon": (get(b"Host:example.com\r\nA:\r\n"), {}),
    "obs-text and tabs in a value": (
        get(HOST + b"A: \xe4\tb\xff\r\n"),
        {"fields": "Host: example.com\r\nA: ä\tbÿ\r\n"},
    ),
    "value of odd characters": (get(HOST + b'A: "(),/:;<=>?@[\\]{}\r\n'), {}),
    "name of odd tchars": (get(HOST + b"!#$%&'*+-.^_`|~: 1\r\n"), {}),
    "fields whose names end like others": (
        get(HOST + b"X-Host: a\r\nX-Content-Length: b\r\nNot-Transfer-Encoding: c\r\nAConnection: close\r\n"),
        {},
    ),
    "field names in a value": (get(HOST + b"A: host: b\r\nB: content-length: 5\r\n"), {}),
    "Content-Length": (get(HOST + b"content-length: 5\r\n"), {"content_length": 5}),
    "Content-Length zero": (get(HOST + b"Content-Length:0\r\n"), {"content_length": 0}),
    "Content-Length leading zeros": (get(HOST + b"Content-Length: 0005 \r\n"), {"content_length": 5}),
    "Content-Length 18 digits": (
        get(HOST + b"Content-Length: 999999999999999999\r\n"),
        {"content_length": 999999999999999999},
    ),
    "chunked": (get(HOST + b"Transfer-Encoding: chunked\r\n"), {"chunked": True}),
    "chunked in any case, with OWS": (get(HOST + b"TRANSFER-ENCODING:\tChunKED \t\r\n"), {"chunked": True}),
    "close": (get(HOST + b"Connection: close\r\n"), {"keep_alive": False}),
    "close in any case": (get(HOST + b"CONNECTION: CLOSE\r\n"), {"keep_alive": False}),
    "close in a list": (get(HOST + b"Connection: foo ,\tclose\r\n"), {"keep_alive": False}),
    "close in a second field": (
        get(HOST + b"Connection: keep-alive\r\nConnection: close\r\n"),
        {"keep_alive": False},
    ),
    "closed is not close": (get(HOST + b"Connection: closed\r\n"), {}),
    "keep-alive": (get(HOST + b"Connection: keep-alive\r\n"), {}),
    "100-continue": (get(HOST + b"Expect: 100-Continue\r\n"), {"expect_continue": True}),
    "100-continue in a list": (
        get(HOST + b"Expect: , 100-continue\r\nExpect: 100-continue\r\n"),
        {"expect_continue": True},
    ),
    "no expectation": (get(HOST + b"Expect:\r\n"), {}),
    "another expectation in HTTP/1.0": (
        get(HOST + b"Expect: 200-ok\r\n", b"GET / HTTP/1.0"),
        {"version": "HTTP/1.0", "minor": 0, "keep_alive": False},
    ),
    "upgrade": (get(HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n"), {"upgrade": True}),
    "upgrade in a list": (
        get(HOST + b"Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"),
        {"upgrade": True},
    ),
    "upgrade without Upgrade": (get(HOST + b"Connection: upgrade\r\n"), {}),
    "Upgrade without upgrade": (get(HOST + b"Upgrade: h2c\r\n"), {}),
}


@pytest.mark.parametrize("name", VALID)
def test_valid(name: str, parse_request: Any) -> None:
    data, differs = VALID[name]
    head = parse_request(data)
    assert isinstance(head, dict), head
    expected = PLAIN | {"end": len(data)} | differs
    if "fields" not in differs:
        expected["fields"] = head["fields"]
        assert head["fields"].encode("latin-1") in data
    assert head == expected


# --- what is not ---

#: The sentences that decide, shortened, by RFC and section.
SENTENCES = {
    "9112-2.2-cr": "A recipient of such a bare CR MUST consider that element to be invalid",
    "9112-2.2-lf": "the line terminator is CRLF; a recipient MAY recognize a single LF: this one does not",
    "9112-2.2-ws": "whitespace before the first header field MUST be rejected or consumed",
    "9112-2.2-empty": "SHOULD ignore at least one empty line (CRLF) received prior to the request-line",
    "9112-2.3": 'HTTP-name = %s"HTTP"; HTTP-version = HTTP-name "/" DIGIT "." DIGIT, case-sensitive',
    "9112-3": "recipient of an invalid request-line SHOULD respond with 400",
    "9112-3-method": "a method longer than any that it implements SHOULD [be answered] with a 501",
    "9112-3-target": "a request-target longer than any URI it wishes to parse MUST [be answered] with a 414",
    "9112-3.2-host": "MUST respond with 400 when a request lacks Host, has two or an invalid one",
    "9112-3.2-forms": "request-target = origin-form / absolute-form / authority-form / asterisk-form",
    "9112-5": 'field-line = field-name ":" OWS field-value OWS',
    "9112-5.1": "A server MUST reject, with 400, any request that contains whitespace between name and colon",
    "9112-5.2": "A server that receives an obs-fold MUST either reject the message by a 400 or replace it",
    "9112-6.1-10": "Transfer-Encoding in HTTP/1.0: MUST treat the message as if the framing is faulty",
    "9112-6.1-501": "a transfer coding it does not understand SHOULD [be answered] with 501",
    "9112-6.1-twice": "A sender MUST NOT apply the chunked transfer coding more than once",
    "9112-6.3-both": "Transfer-Encoding and Content-Length: ought to be handled as an error",
    "9112-6.3-final": "chunked is not the final encoding: the server MUST respond with the 400",
    "9112-6.3-length": "invalid Content-Length: the recipient MUST treat it as an unrecoverable error, 400",
    "9112-7.1": "chunked does not define any parameters. Their presence SHOULD be treated as an error",
    "9110-4.2": "a recipient [of an http URI with] an empty host identifier MUST reject it as invalid",
    "9110-4.2.4": "userinfo: a recipient SHOULD parse for it and treat its presence as an error",
    "9110-5.5": "Field values containing CR, LF, or NUL are invalid and dangerous; other CTLs are invalid",
    "9110-7.1": "the target URI excludes the reference's fragment component, if any",
    "9110-9.3.6": "A server MUST reject a CONNECT request that targets an empty or invalid port number",
    "9110-10.1.1": "[for] a member other than 100-continue [a server] MAY respond with a 417",
    "9110-15.6.6": "505: the major version of HTTP that was used in the request",
    "6585-5": "431: unwilling to process because its header fields are too large",
}

#: name: (bytes, status, key of SENTENCES)
INVALID: dict[str, tuple[bytes, int, str]] = {
    # the request line
    "nothing but a method": (get(line=b"GET"), 400, "9112-3"),
    "HTTP/0.9": (get(line=b"GET /"), 400, "9112-3"),
    "no target": (get(line=b"GET  HTTP/1.1"), 400, "9112-3"),
    "two spaces": (get(line=b"GET  / HTTP/1.1"), 400, "9112-3"),
    "two spaces before the version": (get(line=b"GET /  HTTP/1.1"), 400, "9112-3"),
    "space at the end": (get(line=b"GET / HTTP/1.1 "), 400, "9112-3"),
    "space at the beginning": (get(line=b" GET / HTTP/1.1"), 400, "9112-3"),
    "tab for space": (get(line=b"GET\t/ HTTP/1.1"), 400, "9112-3"),
    "tab before the version": (get(line=b"GET /\tHTTP/1.1"), 400, "9112-3"),
    "vertical tab for space": (get(line=b"GET\x0b/ HTTP/1.1"), 400, "9112-3"),
    "space in the target": (get(line=b"GET /a b HTTP/1.1"), 400, "9112-3"),
    "method with a colon": (get(line=b"GE:T / HTTP/1.1"), 400, "9112-3"),
    "method not ASCII": (get(line=b"G\xc4T / HTTP/1.1"), 400, "9112-3"),
    "method with NUL": (get(line=b"GE\x00T / HTTP/1.1"), 400, "9112-3"),
    "method of 25": (get(line=b"A" * 25 + b" / HTTP/1.1"), 501, "9112-3-method"),
    "method without end": (b"A" * 9000, 501, "9112-3-method"),
    "target not ASCII": (get(line=b"GET /\xe4 HTTP/1.1"), 400, "9112-3"),
    "target with NUL": (get(line=b"GET /\x00 HTTP/1.1"), 400, "9112-3"),
    "target with DEL": (get(line=b"GET /\x7f HTTP/1.1"), 400, "9112-3"),
    "target with a fragment": (get(line=b"GET /a#b HTTP/1.1"), 400, "9110-7.1"),
    "target too long": (get(line=b"GET /" + b"a" * 8190 + b" HTTP/1.1"), 414, "9112-3-target"),
    "target much too long": (get(line=b"GET /" + b"a" * 20000 + b" HTTP/1.1"), 414, "9112-3-target"),
    "target without end": (b"GET /" + b"a" * 9000, 414, "9112-3-target"),
    "version 2.0": (get(line=b"GET / HTTP/2.0"), 505, "9110-15.6.6"),
    "version 0.9": (get(line=b"GET / HTTP/0.9"), 505, "9110-15.6.6"),
    "version 3.1": (get(line=b"GET / HTTP/3.1"), 505, "9110-15.6.6"),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "9110-15.6.6"),
    "version without minor": (get(line=b"GET / HTTP/1"), 400, "9112-2.3"),
    "version with two digits": (get(line=b"GET / HTTP/1.10"), 400, "9112-2.3"),
    "version 01.1": (get(line=b"GET / HTTP/01.1"), 400, "9112-2.3"),
    "version in lower case": (get(line=b"GET / http/1.1"), 400, "9112-2.3"),
    "version of another protocol": (get(line=b"GET / RTSP/1.0"), 400, "9112-2.3"),
    "version in other digits": (get(line="GET / HTTP/1.¹".encode("latin-1")), 400, "9112-2.3"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "9112-3"),
    "five empty lines before": (b"\r\n" * 5 + get(), 400, "9112-2.2-empty"),
    "whitespace line before": (b" \r\n" + get(), 400, "9112-3"),
    "another expectation": (get(HOST + b"Expect: 200-ok\r\n"), 417, "9110-10.1.1"),
    "another expectation in a list": (get(HOST + b"Expect: 100-continue, a\r\n"), 417, "9110-10.1.1"),
    "expectation with a parameter": (get(HOST + b"Expect: 100-continue;q=1\r\n"), 417, "9110-10.1.1"),
    # the forms of the target
    "CONNECT with a path": (get(line=b"CONNECT / HTTP/1.1"), 400, "9112-3.2-forms"),
    "CONNECT with a URI": (get(line=b"CONNECT http://a.com/ HTTP/1.1"), 400, "9112-3.2-forms"),
    "CONNECT without port": (get(line=b"CONNECT example.com HTTP/1.1"), 400, "9110-9.3.6"),
    "CONNECT with an empty port": (get(line=b"CONNECT example.com: HTTP/1.1"), 400, "9110-9.3.6"),
    "CONNECT to port zero": (get(line=b"CONNECT example.com:00 HTTP/1.1"), 400, "9110-9.3.6"),
    "CONNECT to port 65536": (get(line=b"CONNECT example.com:65536 HTTP/1.1"), 400, "9110-9.3.6"),
    "CONNECT to IPv6 without port": (get(line=b"CONNECT [::1] HTTP/1.1"), 400, "9110-9.3.6"),
    "CONNECT to a number": (get(line=b"CONNECT 443 HTTP/1.1"), 400, "9112-3.2-forms"),
    "CONNECT without host": (get(line=b"CONNECT :443 HTTP/1.1"), 400, "9112-3.2-forms"),
    "authority-form with GET": (get(line=b"GET example.com:80 HTTP/1.1"), 400, "9112-3.2-forms"),
    "asterisk with GET": (get(line=b"GET * HTTP/1.1"), 400, "9112-3.2-forms"),
    "asterisk and more": (get(line=b"OPTIONS *a HTTP/1.1"), 400, "9112-3.2-forms"),
    "relative path": (get(line=b"GET a/b HTTP/1.1"), 400, "9112-3.2-forms"),
    "only a query": (get(line=b"GET ?a HTTP/1.1"), 400, "9112-3.2-forms"),
    "backslash": (get(line=b"GET \\a HTTP/1.1"), 400, "9112-3.2-forms"),
    "another scheme": (get(line=b"GET ftp://example.com/ HTTP/1.1"), 400, "9112-3.2-forms"),
    "absolute-form without slashes": (get(line=b"GET http:/example.com/ HTTP/1.1"), 400, "9112-3.2-forms"),
    "absolute-form without host": (get(line=b"GET http:///a HTTP/1.1"), 400, "9110-4.2"),
    "absolute-form with only a port": (get(line=b"GET http://:80/a HTTP/1.1"), 400, "9110-4.2"),
    "absolute-form with userinfo": (get(line=b"GET http://me:pw@example.com/ HTTP/1.1"), 400, "9110-4.2.4"),
    "absolute-form with a backslash": (get(line=b"GET http://a.com\\@b.com/ HTTP/1.1"), 400, "9110-4.2"),
    # Host
    "no Host": (get(b""), 400, "9112-3.2-host"),
    "no Host but others": (get(b"A: b\r\n"), 400, "9112-3.2-host"),
    "no Host with absolute-form": (get(b"", b"GET http://a.com/ HTTP/1.1"), 400, "9112-3.2-host"),
    "two equal Hosts": (get(HOST + HOST), 400, "9112-3.2-host"),
    "two different Hosts": (get(HOST + b"host: b.com\r\n"), 400, "9112-3.2-host"),
    "two Hosts in 1.0": (get(HOST + HOST, b"GET / HTTP/1.0"), 400, "9112-3.2-host"),
    "bad Host in 1.0": (get(b"Host: a b\r\n", b"GET / HTTP/1.0"), 400, "9112-3.2-host"),
    "bad Host beside absolute-form": (
        get(b"Host: a b\r\n", b"GET http://a.com/ HTTP/1.1"),
        400,
        "9112-3.2-host",
    ),
    "Host with a space": (get(b"Host: a b\r\n"), 400, "9112-3.2-host"),
    "Host with a path": (get(b"Host: a.com/b\r\n"), 400, "9112-3.2-host"),
    "Host with userinfo": (get(b"Host: me@a.com\r\n"), 400, "9112-3.2-host"),
    "Host with a scheme": (get(b"Host: http://a.com\r\n"), 400, "9112-3.2-host"),
    "Host with a query": (get(b"Host: a.com?b\r\n"), 400, "9112-3.2-host"),
    "Host with only a port": (get(b"Host: :80\r\n"), 400, "9112-3.2-host"),
    "Host with a letter for a port": (get(b"Host: a.com:b\r\n"), 400, "9112-3.2-host"),
    "Host with port 65536": (get(b"Host: a.com:65536\r\n"), 400, "9112-3.2-host"),
    "Host with a port of six digits": (get(b"Host: a.com:000080\r\n"), 400, "9112-3.2-host"),
    "Host with a signed port": (get(b"Host: a.com:+80\r\n"), 400, "9112-3.2-host"),
    "Host with two ports": (get(b"Host: a.com:80:80\r\n"), 400, "9112-3.2-host"),
    "Host IPv6 without brackets": (get(b"Host: ::1\r\n"), 400, "9112-3.2-host"),
    "Host IPv6 not closed": (get(b"Host: [::1\r\n"), 400, "9112-3.2-host"),
    "Host IPv6 too long": (get(b"Host: [1:2:3:4:5:6:7:8:9]\r\n"), 400, "9112-3.2-host"),
    "Host IPv6 with a zone": (get(b"Host: [fe80::1%25eth0]\r\n"), 400, "9112-3.2-host"),
    "Host IPv6 empty": (get(b"Host: []\r\n"), 400, "9112-3.2-host"),
    "Host in brackets": (get(b"Host: [a.com]\r\n"), 400, "9112-3.2-host"),
    "Host with a bad escape": (get(b"Host: a%2.com\r\n"), 400, "9112-3.2-host"),
    "Host not ASCII": (get(b"Host: b\xfccher.example\r\n"), 400, "9112-3.2-host"),
    "Host with angle brackets": (get(b"Host: <script>\r\n"), 400, "9112-3.2-host"),
    # field lines
    "no colon": (get(HOST + b"A b\r\n"), 400, "9112-5"),
    "no name": (get(HOST + b": b\r\n"), 400, "9112-5"),
    "space before the colon": (get(HOST + b"A : b\r\n"), 400, "9112-5.1"),
    "tab before the colon": (get(HOST + b"A\t: b\r\n"), 400, "9112-5.1"),
    "space in a name": (get(HOST + b"A b: c\r\n"), 400, "9112-5"),
    "name in parentheses": (get(HOST + b"(a): c\r\n"), 400, "9112-5"),
    "name not ASCII": (get(HOST + b"\xc4: c\r\n"), 400, "9112-5"),
    "name with NUL": (get(HOST + b"A\x00: c\r\n"), 400, "9112-5"),
    "fold with a space": (get(HOST + b"A: b\r\n c\r\n"), 400, "9112-5.2"),
    "fold with a tab": (get(HOST + b"A: b\r\n\tc\r\n"), 400, "9112-5.2"),
    "fold of nothing": (get(HOST + b"A: b\r\n \r\n"), 400, "9112-5.2"),
    "space before the first field": (get(b" " + HOST), 400, "9112-2.2-ws"),
    "NUL in a value": (get(HOST + b"A: b\x00c\r\n"), 400, "9110-5.5"),
    "BEL in a value": (get(HOST + b"A: \x07\r\n"), 400, "9110-5.5"),
    "vertical tab in a value": (get(HOST + b"A:\x0bb\r\n"), 400, "9110-5.5"),
    "form feed in a value": (get(HOST + b"A: b\x0c\r\n"), 400, "9110-5.5"),
    "ESC in a value": (get(HOST + b"A: \x1b[31m\r\n"), 400, "9110-5.5"),
    "DEL in a value": (get(HOST + b"A: \x7f\r\n"), 400, "9110-5.5"),
    "bare CR in a value": (get(HOST + b"A: b\rc\r\n"), 400, "9112-2.2-cr"),
    "bare CR for a line end": (get(HOST + b"A: b\rC: d\r\n"), 400, "9112-2.2-cr"),
    "two CRs before LF": (get(HOST + b"A: b\r\r\n"), 400, "9112-2.2-cr"),
    "bare CR in the request line": (get(line=b"GET /\r HTTP/1.1"), 400, "9112-2.2-cr"),
    "bare CR before": (b"\rGET / HTTP/1.1\r\n\r\n", 400, "9112-2.2-cr"),
    "CRs only": (b"GET / HTTP/1.1\rHost: a\r\r", 400, "9112-2.2-cr"),
    "bare LF for a line end": (get(HOST + b"A: b\nC: d\r\n"), 400, "9112-2.2-lf"),
    "bare LF behind the request line": (b"GET / HTTP/1.1\nHost: a\r\n\r\n", 400, "9112-2.2-lf"),
    "LFs only": (b"GET / HTTP/1.1\nHost: a\n\n", 400, "9112-2.2-lf"),
    "LF CR LF at the end": (b"GET / HTTP/1.1\r\nHost: a\n\r\n", 400, "9112-2.2-lf"),
    "CR LF LF at the end": (b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400, "9112-2.2-lf"),
    "bare LF before": (b"\n" + get(), 400, "9112-2.2-lf"),
    "bare LF early, without end": (b"GET /\n", 400, "9112-2.2-lf"),
    # Content-Length
    "Content-Length signed": (get(HOST + b"Content-Length: +5\r\n"), 400, "9112-6.3-length"),
    "Content-Length negative": (get(HOST + b"Content-Length: -5\r\n"), 400, "9112-6.3-length"),
    "Content-Length empty": (get(HOST + b"Content-Length:\r\n"), 400, "9112-6.3-length"),
    "Content-Length in hex": (get(HOST + b"Content-Length: 0x5\r\n"), 400, "9112-6.3-length"),
    "Content-Length in hex digits": (get(HOST + b"Content-Length: 5a\r\n"), 400, "9112-6.3-length"),
    "Content-Length with a space": (get(HOST + b"Content-Length: 5 5\r\n"), 400, "9112-6.3-length"),
    "Content-Length with an underscore": (get(HOST + b"Content-Length: 1_0\r\n"), 400, "9112-6.3-length"),
    "Content-Length with a point": (get(HOST + b"Content-Length: 5.0\r\n"), 400, "9112-6.3-length"),
    "Content-Length in quotes": (get(HOST + b'Content-Length: "5"\r\n'), 400, "9112-6.3-length"),
    "Content-Length in other digits": (get(HOST + b"Content-Length: \xb2\r\n"), 400, "9112-6.3-length"),
    "Content-Length before NBSP": (get(HOST + b"Content-Length: 5\xa0\r\n"), 400, "9112-6.3-length"),
    "Content-Length of 19 digits": (
        get(HOST + b"Content-Length: 1111111111111111111\r\n"),
        400,
        "9112-6.3-length",
    ),
    "Content-Length 2**64 + 5": (
        get(HOST + b"Content-Length: 18446744073709551621\r\n"),
        400,
        "9112-6.3-length",
    ),
    "two different Content-Lengths": (
        get(HOST + b"Content-Length: 5\r\nContent-Length: 6\r\n"),
        400,
        "9112-6.3-length",
    ),
    "two equal Content-Lengths": (
        get(HOST + b"Content-Length: 5\r\nA: b\r\ncontent-length: 5\r\n"),
        400,
        "9112-6.3-length",
    ),
    "a list of equal Content-Lengths": (get(HOST + b"Content-Length: 5, 5\r\n"), 400, "9112-6.3-length"),
    "a list of different Content-Lengths": (get(HOST + b"Content-Length: 5,6\r\n"), 400, "9112-6.3-length"),
    "Content-Length and an empty one": (
        get(HOST + b"Content-Length: 5\r\nContent-Length:\r\n"),
        400,
        "9112-6.3-length",
    ),
    # Transfer-Encoding
    "both framings": (
        get(HOST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
        400,
        "9112-6.3-both",
    ),
    "both framings the other way round": (
        get(HOST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        400,
        "9112-6.3-both",
    ),
    "Transfer-Encoding in 1.0": (
        get(HOST + b"Transfer-Encoding: chunked\r\n", b"POST / HTTP/1.0"),
        400,
        "9112-6.1-10",
    ),
    "gzip, chunked": (get(HOST + b"Transfer-Encoding: gzip, chunked\r\n"), 501, "9112-6.1-501"),
    "gzip and chunked in two fields": (
        get(HOST + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"),
        501,
        "9112-6.1-501",
    ),
    "identity, chunked": (get(HOST + b"Transfer-Encoding: identity, chunked\r\n"), 501, "9112-6.1-501"),
    "gzip alone": (get(HOST + b"Transfer-Encoding: gzip\r\n"), 400, "9112-6.3-final"),
    "identity alone": (get(HOST + b"Transfer-Encoding: identity\r\n"), 400, "9112-6.3-final"),
    "chunked, gzip": (get(HOST + b"Transfer-Encoding: chunked, gzip\r\n"), 400, "9112-6.3-final"),
    "chunked, identity": (get(HOST + b"Transfer-Encoding: chunked, identity\r\n"), 400, "9112-6.3-final"),
    "chunked twice": (get(HOST + b"Transfer-Encoding: chunked, chunked\r\n"), 400, "9112-6.1-twice"),
    "chunked in two fields": (
        get(HOST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        400,
        "9112-6.1-twice",
    ),
    "xchunked": (get(HOST + b"Transfer-Encoding: xchunked\r\n"), 400, "9112-6.3-final"),
    "chunked in quotes": (get(HOST + b'Transfer-Encoding: "chunked"\r\n'), 400, "9112-6.3-final"),
    "chunked with a parameter": (get(HOST + b"Transfer-Encoding: chunked;a=b\r\n"), 400, "9112-7.1"),
    "chunked behind NBSP": (get(HOST + b"Transfer-Encoding: \xa0chunked\r\n"), 400, "9112-6.3-final"),
    "chunked before NEL": (get(HOST + b"Transfer-Encoding: chunked\x85\r\n"), 400, "9112-6.3-final"),
    "chunked and a comma": (get(HOST + b"Transfer-Encoding: chunked,\r\n"), 400, "9112-6.3-final"),
    "a comma and chunked": (get(HOST + b"Transfer-Encoding: , chunked\r\n"), 400, "9112-6.3-final"),
    "Transfer-Encoding empty": (get(HOST + b"Transfer-Encoding:\r\n"), 400, "9112-6.3-final"),
    # size
    "101 fields": (get(HOST + b"A: b\r\n" * 100), 431, "6585-5"),
    "101 fields, malformed behind": (get(HOST + b"A: b\r\n" * 100 + b"C\r\n"), 431, "6585-5"),
    "head too large": (get(HOST + b"A: " + b"b" * 65536 + b"\r\n"), 431, "6585-5"),
    "head without end": (b"GET / HTTP/1.1\r\nA: " + b"b" * 65536, 431, "6585-5"),
    "fields without end": (b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 500, 431, "6585-5"),
}


@pytest.mark.parametrize("name", INVALID)
def test_invalid(name: str, parse_request: Any) -> None:
    data, status, sentence = INVALID[name]
    assert sentence in SENTENCES
    outcome = parse_request(data)
    assert outcome is not None
    assert not isinstance(outcome, dict), "was accepted"
    assert outcome.status == status, outcome
    assert len(outcome.message) <= 130
    assert outcome.message.isascii()
    assert outcome.message.isprintable()


def test_every_sentence_is_used() -> None:
    assert {sentence for _, _, sentence in INVALID.values()} == set(SENTENCES)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (get(line=b"GET"), "malformed request line: 'GET'"),
        (get(line=b"G:T / HTTP/1.1"), "malformed method: 'G:T'"),
        (get(line=b"GET /\xe4 HTTP/1.1"), "malformed request target: '/\\xe4'"),
        (get(line=b"GET / HTTP/1"), "malformed HTTP version: 'HTTP/1'"),
        (get(line=b"GET / HTTP/2.0"), "HTTP version not supported: 'HTTP/2.0'"),
        (get(b""), "no Host field"),
        (get(HOST * 2), "more than one Host field"),
        (get(b"Host: a b\r\n"), "malformed Host: 'a b'"),
        (get(HOST + b"A : b\r\n"), "whitespace before the colon: 'A : b'"),
        (get(HOST + b"A: b\x00\r\n"), "control character in a field value: 'A: b\\x00'"),
        (get(HOST + b"A\r\n"), "field line without a colon: 'A'"),
        (get(HOST + b": A\r\n"), "empty field name: ': A'"),
        (get(HOST + b"(A): b\r\n"), "malformed field name: '(A): b'"),
        (get(HOST + b"A: b\r\n c\r\n"), "obsolete line folding or whitespace before a field name: ' c'"),
        (get(HOST + b"A: b\nC: d\r\n"), "bare LF in the head"),
        (get(HOST + b"A: b\rC: d\r\n"), "bare CR in the head"),
        (get(HOST + b"Content-Length: 5, 6\r\n"), "more than one Content-Length: '5, 6'"),
        (get(HOST + b"Content-Length: " + b"\x80" * 99 + b"\r\n"), None),
        (get(HOST + b"Content-Length: " + b"a" * 99 + b"\r\n"), None),
    ],
)
def test_message_names_the_fault(data: bytes, message: str | None) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_head(data, 0, 0, LIMITS)
    if message is not None:
        assert str(caught.value) == message
    else:
        assert len(str(caught.value)) <= 90
        assert str(caught.value).endswith("...")


# --- need more ---


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r",
        b"\r\n",
        b"\r\n\r\n",
        b"\r\n\r",
        b"G",
        b"GET / HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r",
        b"GET / HTTP/1.1\r\nHost: a\r",
        b"\x16\x03\x01",
        b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 100,
        b"GET /" + b"a" * 8000,
        b"GET / HTTP/1.1\r\nA: " + b"b" * 60000,
    ],
)
def test_needs_more(data: bytes, parse_request: Any) -> None:
    assert parse_request(data) is None


def test_pipelined_heads() -> None:
    data = get() + get(line=b"GET /2 HTTP/1.1") + b"\r\n" + get(line=b"GET /3 HTTP/1.1") + b"GET /4"
    at = 0
    targets = []
    while (head := parse_head(data, at, at, LIMITS)) is not None:
        targets.append(head.target)
        at = head.end
    assert targets == ["/", "/2", "/3"]
    assert data[at:] == b"GET /4"


# --- limits ---


def test_header_size_is_exact(parse_request: Any) -> None:
    data = get()
    assert parse_request(data, HeadLimits(max_header_size=len(data)))["end"] == len(data)
    assert parse_request(data, HeadLimits(max_header_size=len(data) - 1)).status == 431


def test_target_length_is_exact(parse_request: Any) -> None:
    data = get(line=b"GET /1234 HTTP/1.1")
    assert parse_request(data, HeadLimits(max_target=5))["target"] == "/1234"
    assert parse_request(data, HeadLimits(max_target=4)).status == 414


def test_number_of_fields_is_exact(parse_request: Any) -> None:
    data = get(HOST + b"a:\r\n" * 4)
    assert parse_request(data, HeadLimits(max_fields=5))["host"] == "example.com"
    assert parse_request(data, HeadLimits(max_fields=4)).status == 431
    assert parse_request(data + b"\r\n\r\n", HeadLimits(max_fields=5))["end"] == len(data)


@pytest.mark.parametrize(
    ("limits", "status"),
    [
        (HeadLimits(max_header_size=50, max_target=8190), 431),
        (HeadLimits(max_header_size=500, max_target=1), 414),
        (HeadLimits(max_header_size=150, max_target=100, max_fields=0), 431),
    ],
)
def test_which_limit_comes_first_does_not_depend_on_the_split(
    limits: HeadLimits, status: int, parse_request: Any
) -> None:
    for line in (b"GET /" + b"a" * 300 + b" HTTP/1.1", b"GET / " + b"b" * 300, b"GET /" + b"a" * 300 + b"\n"):
        for fields in (HOST, HOST * 20, b"a:\r\n" * 20, b"a\x00\n" * 20):
            assert parse_request(get(fields, line), limits).status == status


def test_decides_early() -> None:
    """Not one byte more than needed is waited for."""
    for data, limits, first in [
        (b"GET /" + b"a" * 999, HeadLimits(max_target=10), 74),
        (b"GET / HTTP/1.1\r\n" + b"a" * 999, HeadLimits(max_header_size=40), 40),
        (b"GET / HTTP/1.1\r\nHost: a\n", LIMITS, 24),
        (b"GET / HTTP/1.1\r\nHost: a\rb", LIMITS, 25),
        (b"\r\n" * 9, LIMITS, 10),
    ]:
        seen = 0
        for stop in range(first):
            assert parse_head(data[:stop], 0, seen, limits) is None
            seen = stop
        with pytest.raises(RemoteProtocolError):
            parse_head(data[:first], 0, seen, limits)


# --- bare LF allowed ---

LENIENT = HeadLimits(allow_bare_lf=True)


@pytest.mark.parametrize("name", VALID)
def test_valid_with_lf_only(name: str, parse_request: Any) -> None:
    data, differs = VALID[name]
    head = parse_request(data.replace(b"\r\n", b"\n"), LENIENT)
    whole = parse_request(data, LENIENT)
    assert head["end"] == len(data.replace(b"\r\n", b"\n"))
    assert head | {"end": 0} == whole | {"end": 0}
    assert {key: whole[key] for key in differs} == differs


@pytest.mark.parametrize("name", [name for name in INVALID if "LF" not in name])
def test_invalid_with_lf_allowed(name: str, parse_request: Any) -> None:
    data, status, _ = INVALID[name]
    assert parse_request(data, LENIENT).status == status


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\n",
        b"\nGET / HTTP/1.1\nHost: a\n\n",
        b"\n\r\nGET / HTTP/1.1\nHost: a\n\n",
    ],
)
def test_mixed_line_ends(data: bytes, parse_request: Any) -> None:
    head = parse_request(data, LENIENT)
    assert (head["host"], head["fields"], head["end"]) == ("a", "Host: a\r\n", len(data))


def test_lf_ends_the_head_before_a_later_crlf(parse_request: Any) -> None:
    data = b"GET / HTTP/1.1\nHost: a\n\n"
    assert parse_request(data + get(), LENIENT)["end"] == len(data)


@pytest.mark.parametrize("data", [b"", b"\n", b"\n\n\n", b"GET / HTTP/1.1\n", b"GET / HTTP/1.1\nHost: a\n\r"])
def test_needs_more_with_lf(data: bytes, parse_request: Any) -> None:
    assert parse_request(data, LENIENT) is None


# --- generated ---

CASES = [data for data, _ in VALID.values()] + [data for data, _, _ in INVALID.values() if len(data) < 2000]


@given(
    st.sampled_from(CASES),
    st.lists(st.integers(0, 400), max_size=8),
    st.sampled_from([LIMITS, LENIENT, HeadLimits(max_header_size=60), HeadLimits(max_fields=2)]),
)
def test_any_split(parse_request: Any, data: bytes, cuts: list[int], limits: HeadLimits) -> None:
    parse_request(data, limits, [cut for cut in cuts if cut < len(data)])


TOKENS = [
    b"GET ",
    b"/",
    b" HTTP/1.1",
    b"\r\n",
    b"\r",
    b"\n",
    b" ",
    b"\t",
    b":",
    b"Host: a",
    b"\xff",
    b"\r\n\r\n",
]
HEADS = [b"Content-Length: 5", b"Transfer-Encoding: chunked", b"GET / HTTP/1.1\r\nHost: a\r\n"]
PIECES = st.sampled_from(TOKENS) | st.sampled_from(HEADS)
TIGHT = st.builds(
    HeadLimits,
    max_header_size=st.integers(1, 80),
    max_fields=st.integers(0, 4),
    max_target=st.integers(0, 20),
    allow_bare_lf=st.booleans(),
)


@given(st.lists(PIECES | st.binary(max_size=4), max_size=12), st.lists(st.integers(0, 99), max_size=6), TIGHT)
def test_whatever_comes_parses_or_is_refused(
    parse_request: Any, pieces: list[bytes], cuts: list[int], limits: HeadLimits
) -> None:
    """No other exception, and the same outcome however the bytes come."""
    data = b"".join(pieces)
    parse_request(data, limits, [cut for cut in cuts if cut < len(data)])


# --- cost ---


def test_slow_client_costs_nothing_twice() -> None:
    """Byte by byte must not take longer than quadratic joining of the bytes themselves would explain."""
    data = b"GET / HTTP/1.1\r\nA: " + b"b" * 30000
    looked = timeit.timeit(
        lambda: parse_head(data, 0, len(data) - 1, LIMITS), number=200, timer=time.process_time
    )
    anew = timeit.timeit(lambda: parse_head(data, 0, 0, LIMITS), number=200, timer=time.process_time)
    assert looked < anew / 2


def test_parsing_is_linear() -> None:
    def seconds(size: int) -> float:
        limits = HeadLimits(max_header_size=10**7, max_target=10**7, max_fields=10**6)
        heads = [
            get(HOST + b"A: " + b" \t" * size + b"\r\n"),
            get(HOST + b"a:\r\n" * size),
            get(line=b"GET /" + b"a" * size * 2 + b" HTTP/1.1"),
            get(HOST + b"A: " + b"b" * size * 2 + b"\x00\r\n"),
            get(HOST + b"Connection: " + b"," * size * 2 + b"\r\n"),
            get(b"Host: " + b"%20" * size + b"\r\n"),
        ]

        def run() -> None:
            for data in heads:
                try:
                    parse_head(data, 0, 0, limits)
                except RemoteProtocolError:
                    pass

        return min(timeit.repeat(run, number=1, repeat=5, timer=time.process_time))

    assert seconds(80_000) < 40 * seconds(10_000)


def test_memory_of_hosts_is_bounded() -> None:
    for number in range(3000):
        parse_head(get(b"Host: h%d.example\r\n" % number), 0, 0, LIMITS)
    parse_head(get(b"Host: " + b"a" * 300 + b"\r\n"), 0, 0, LIMITS)
    assert len(head_module._valid_hosts) <= 1024
    assert max(map(len, head_module._valid_hosts)) <= 255


def test_repr_shows_everything() -> None:
    head = parse_head(get(), 0, 0, LIMITS)
    assert isinstance(head, RequestHead)
    text = repr(head)
    assert text.startswith("RequestHead(chunked=False, ")
    assert all(f"{name}=" in text for name in RequestHead.__slots__)
    assert not hasattr(head, "__dict__")
