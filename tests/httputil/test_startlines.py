"""First lines: what RFC 9112 allows and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.httputil import (
    HTTPInputError,
    RequestStartLine,
    ResponseStartLine,
    parse_request_start_line,
    parse_response_start_line,
)


@pytest.mark.parametrize(
    "line",
    [
        "GET / HTTP/1.1",
        "get /?a=b HTTP/1.0",
        "GET / HTTP/1.2",
        "POST http://a/b HTTP/1.1",
        "CONNECT a:1 HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "GET /\xe9 HTTP/1.1",
        "M-SEARCH * HTTP/1.1",
    ],
)
def test_request(line: str) -> None:
    parsed = parse_request_start_line(line)
    assert parsed == RequestStartLine(*line.split(" "))
    assert " ".join(parsed) == line
    assert (parsed.method, parsed.path, parsed.version) == parsed


@pytest.mark.parametrize(
    "line",
    [
        "",
        "GET /",
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "G@T / HTTP/1.1",
        "GET / http/1.1",
        "GET /a b HTTP/1.1",
        "GET /\x7f HTTP/1.1",
        "GET / HTTP/1.1\n",
        "GET\t/ HTTP/1.1",
        "GET / HTTP/11",
        "GET / HTTP/1.10",
        "GET  HTTP/1.1",
        "GET / HTTP/1.\u0661",
        "GET /\r HTTP/1.1",
        "GET /€ HTTP/1.1",
    ],
)
def test_request_refused(line: str) -> None:
    with pytest.raises(HTTPInputError, match="Malformed") as info:
        parse_request_start_line(line)
    assert info.value.status == 400


@pytest.mark.parametrize("version", ["HTTP/2.0", "HTTP/0.9"])
def test_other_versions(version: str) -> None:
    with pytest.raises(HTTPInputError, match=version) as info:
        parse_request_start_line(f"GET / {version}")
    assert info.value.status == 505
    with pytest.raises(HTTPInputError, match=version):
        parse_response_start_line(f"{version} 200 OK")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("HTTP/1.1 200 OK", ("HTTP/1.1", 200, "OK")),
        ("HTTP/1.0 404 Not Found", ("HTTP/1.0", 404, "Not Found")),
        ("HTTP/1.1 200 ", ("HTTP/1.1", 200, "")),
        ("HTTP/1.1 999 \xe9\tx", ("HTTP/1.1", 999, "\xe9\tx")),
    ],
)
def test_response(line: str, expected: tuple[str, int, str]) -> None:
    parsed = parse_response_start_line(line)
    assert parsed == ResponseStartLine(*expected)
    assert (parsed.version, parsed.code, parsed.reason) == expected


@pytest.mark.parametrize(
    "line",
    [
        "",
        "HTTP/1.1 200",
        "HTTP/1.1 20 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1  200 OK",
        "HTTP/1.1 abc OK",
        "HTTP/1.1 200 \x00",
        "HTTP/1.1 099 x",
        "HTTP/1.1 \u0662\u0660\u0660 OK",
        "HTTP/2 200 OK",
        "HTTP/1.1 200 a\n",
    ],
)
def test_response_refused(line: str) -> None:
    with pytest.raises(HTTPInputError, match="response start line"):
        parse_response_start_line(line)


@given(st.text())
def test_any_text(line: str) -> None:
    for parse in (parse_request_start_line, parse_response_start_line):
        with pytest.raises(HTTPInputError):
            parse(line)
