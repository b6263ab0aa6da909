"""A request: made by hand or of a parsed head, worked out as far as it is asked for."""

import gc
import http.cookies
import ssl
import time
import warnings
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import pytest

from webfw.httputil import (
    HTTPFile,
    HTTPHeaders,
    HTTPInputError,
    HTTPServerRequest,
    RequestStartLine,
    multipart_form,
)
from webfw.sansio.http1.head import HeadLimits, parse_head

CLIENT = SimpleNamespace(remote_ip="9.9.9.9", protocol="https")
FORM = "Content-Type: application/x-www-form-urlencoded\r\n"
MULTIPART = "Content-Type: multipart/form-data; boundary=B\r\n"
FILE = (
    b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
    b'--B\r\nContent-Disposition: form-data; name="f"; filename="x"\r\n\r\ncontent\r\n--B--'
)


def by_hand(target: str = "/", headers: dict[str, str] | None = None, **options: Any) -> HTTPServerRequest:
    start_line = RequestStartLine("GET", target, "HTTP/1.1")
    fields = HTTPHeaders({"Host": "Example.com:80", **(headers or {})})
    return HTTPServerRequest(start_line=start_line, headers=fields, **options)


def from_wire(
    target: str = "/", fields: str = "", method: str = "GET", version: str = "HTTP/1.1"
) -> HTTPServerRequest:
    host = "Host: Example.com:80\r\n" if version == "HTTP/1.1" else ""
    data = f"{method} {target} {version}\r\n{host}{fields}\r\n".encode("latin-1")
    head = parse_head(data, 0, 0, HeadLimits())
    assert head is not None
    return HTTPServerRequest.from_head(head, "the connection", CLIENT)


# --- made of a head ---


def test_from_head() -> None:
    request = from_wire("/a/b?c=d&c=e", "X-Y: z\r\nCookie: k=v\r\n", "POST")
    assert (request.method, request.uri, request.version) == ("POST", "/a/b?c=d&c=e", "HTTP/1.1")
    assert (request.path, request.query) == ("/a/b", "c=d&c=e")
    assert (request.host, request.host_name) == ("Example.com:80", "example.com")
    assert (request.remote_ip, request.protocol) == ("9.9.9.9", "https")
    assert request.connection == "the connection"
    assert request.context is CLIENT
    assert request.server_connection is None
    assert request.trailers == {}
    assert request.headers["x-y"] == "z"
    assert request.headers is request.headers
    assert request.body == b""
    assert request.files == {}
    assert request.body_arguments == {}
    assert request.arguments == request.query_arguments == {"c": [b"d", b"e"]}
    assert request.cookies["k"].value == "v"
    assert request.full_url() == "https://Example.com:80/a/b?c=d&c=e"
    assert repr(request) == (
        "HTTPServerRequest(protocol='https', host='Example.com:80', method='POST', uri='/a/b?c=d&c=e', "
        "version='HTTP/1.1', remote_ip='9.9.9.9')"
    )


def test_nothing_is_parsed_that_is_not_asked_for() -> None:
    request = from_wire("/a?b=c", "Cookie: k=v\r\n")
    lazy = [
        "headers",
        "arguments",
        "query_arguments",
        "body_arguments",
        "files",
        "_cookies",
        "host_name",
        "body",
    ]
    for name in lazy:
        with pytest.raises(AttributeError):
            object.__getattribute__(request, name)
    request.cookies  # noqa: B018
    assert object.__getattribute__(request, "_cookies") is request.cookies


@pytest.mark.parametrize(
    ("target", "method", "path", "query", "url"),
    [
        ("http://example.org/p?q", "GET", "/p", "q", "https://example.org/p?q"),
        ("http://example.org?q", "GET", "/", "q", "https://example.org/?q"),
        ("*", "OPTIONS", "*", "", "https://Example.com:80*"),
        ("/a?b?c", "GET", "/a", "b?c", "https://Example.com:80/a?b?c"),
        ("//a/b?", "GET", "//a/b", "", "https://Example.com:80//a/b?"),
        ("example.net:443", "CONNECT", "example.net:443", "", "https://example.net:443example.net:443"),
    ],
)
def test_forms_of_the_target(target: str, method: str, path: str, query: str, url: str) -> None:
    request = from_wire(target, method=method)
    assert (request.uri, request.path, request.query) == (target, path, query)
    assert request.full_url() == url


def test_the_host_of_an_absolute_target_counts() -> None:
    request = from_wire("http://example.org:8000/")
    assert (request.host, request.host_name) == ("example.org:8000", "example.org")
    assert request.headers["Host"] == "example.org:8000"


@pytest.mark.parametrize(("fields", "host"), [("", "127.0.0.1"), ("Host:\r\n", "")])
def test_no_host(fields: str, host: str) -> None:
    request = from_wire(version="HTTP/1.0", fields=fields)
    assert request.host == host
    assert request.host_name == host


# --- made by hand ---


def test_by_hand() -> None:
    connection: Any = SimpleNamespace(context=CLIENT)
    files = {"f": [HTTPFile(filename="x", body=b"", content_type="y")]}
    request = by_hand("/a?b=c", body=b"text", files=files, connection=connection, server_connection=5)
    assert (request.method, request.uri, request.path, request.query) == ("GET", "/a?b=c", "/a", "b=c")
    assert (request.host, request.host_name) == ("Example.com:80", "example.com")
    assert (request.remote_ip, request.protocol) == ("9.9.9.9", "https")
    assert (request.body, request.files, request.server_connection) == (b"text", files, 5)
    assert request.connection is connection
    assert request.full_url() == "https://Example.com:80/a?b=c"
    plain = by_hand(connection=object())
    assert (plain.remote_ip, plain.protocol, plain.context) == (None, "http", None)


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        ({}, 1),
        ({"method": "PUT"}, 2),
        ({"method": "PUT", "uri": "/x", "version": "HTTP/1.1", "host": "h"}, 3),
        ({"start_line": RequestStartLine("PUT", "/x", "HTTP/1.0")}, 0),
        ({"start_line": RequestStartLine("PUT", "/x", "HTTP/1.1"), "host": "h"}, 1),
        ({"start_line": RequestStartLine("PUT", "/x", "HTTP/1.1"), "uri": "/y", "host": "h"}, 2),
    ],
)
def test_deprecated_arguments(arguments: Any, count: int) -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        request = HTTPServerRequest(**arguments)
    assert [warning.category for warning in seen] == [DeprecationWarning] * count
    assert all(warning.filename == __file__ for warning in seen)
    if arguments:
        assert request.method == "PUT"
    assert request.uri == ("/x" if {"uri", "start_line"} & set(arguments) else "/")
    assert request.host == ("h" if "host" in arguments else "127.0.0.1")


def test_host_argument_leaves_the_headers_it_was_given_alone() -> None:
    headers = HTTPHeaders({"Host": "a", "X": "y"})
    with pytest.warns(DeprecationWarning, match="host"):
        request = HTTPServerRequest(
            start_line=RequestStartLine("GET", "/", "HTTP/1.1"), headers=headers, host="b"
        )
    assert (request.host, request.headers["Host"], request.headers["X"]) == ("b", "b", "y")
    assert headers["Host"] == "a"


@pytest.mark.parametrize("host", ["", "a", "a:80", "[::1]:80", "a_b", "a%20b", "127.0.0.1", "a:"])
def test_good_host(host: str) -> None:
    assert by_hand(headers={"Host": host}).host == host


@pytest.mark.parametrize(
    ("host", "message"),
    [("a b", "Invalid"), ("a/b", "Invalid"), ("u@a", "Invalid"), ("\xe9", "Invalid"), ("a,b", "Multiple")],
)
def test_bad_host(host: str, message: str) -> None:
    with pytest.raises(HTTPInputError, match=message) as info:
        by_hand(headers={"Host": host})
    assert info.value.status == 400


def test_host_must_come_once() -> None:
    headers = HTTPHeaders.parse("Host: a\nHost: a")
    start_line = RequestStartLine("GET", "/", "HTTP/1.1")
    with pytest.raises(HTTPInputError, match="Multiple"):
        HTTPServerRequest(start_line=start_line, headers=headers)
    with pytest.raises(HTTPInputError, match="Missing"):
        HTTPServerRequest(start_line=start_line)


# --- what both have ---


def test_programs_may_set_attributes() -> None:
    request = from_wire()
    request.user = "me"  # type: ignore[attr-defined]
    assert request.__dict__ == {"user": "me"}
    assert not hasattr(request, "nothing")
    with pytest.raises(AttributeError, match="'HTTPServerRequest' object has no attribute 'nothing'"):
        request.nothing  # noqa: B018
    request.remote_ip, request.protocol = "1.2.3.4", "http"
    request.body = b"x"
    assert (request.remote_ip, request.protocol, request.body) == ("1.2.3.4", "http", b"x")


def test_cookies_can_be_put_in() -> None:
    """Programs that fake requests do so."""
    request = from_wire()
    assert request.cookies == {}
    cookies: http.cookies.SimpleCookie = http.cookies.SimpleCookie("a=b")
    request._cookies = cookies
    assert request.cookies is cookies


def test_several_cookie_fields_are_one() -> None:
    request = from_wire(fields="Cookie: a=1\r\nCookie: b=2; bad name=3\r\n")
    assert {name: morsel.value for name, morsel in request.cookies.items()} == {"a": "1", "b": "2"}


def test_fields_that_were_put_in_later_count() -> None:
    request = from_wire()
    request.headers["Cookie"] = "a=b"
    request.headers["Content-Type"] = "application/x-www-form-urlencoded"
    request.body = b"c=d"
    request._parse_body()
    assert request.cookies["a"].value == "b"
    assert request.arguments == {"c": [b"d"]}


def test_time() -> None:
    request = from_wire()
    assert 0 <= request.request_time() < 60
    request._start_time = time.time() - 5
    assert 5 <= request.request_time() < 60
    request._finish_time = request._start_time + 2
    assert request.request_time() == pytest.approx(2)
    assert by_hand()._finish_time is None


def test_query_of_too_many_arguments() -> None:
    request = from_wire("/?" + "&".join(["a=1"] * 1001))
    for name in ("query_arguments", "arguments"):
        with pytest.raises(HTTPInputError, match="Invalid query string") as info:
            getattr(request, name)
        assert info.value.status == 400


def test_arguments_of_query_and_body() -> None:
    request = from_wire("/?a=0&b=1", FORM)
    request.body = b"a=2&c=3&c="
    request._parse_body()
    request._parse_body()
    assert request.arguments == {"a": [b"0", b"2"], "b": [b"1"], "c": [b"3", b""]}
    assert request.body_arguments == {"a": [b"2"], "c": [b"3", b""]}
    assert request.query_arguments == {"a": [b"0"], "b": [b"1"]}
    request.arguments["a"].append(b"x")
    request.arguments["c"].append(b"x")
    assert request.query_arguments["a"] == [b"0"]
    assert request.body_arguments["c"] == [b"3", b""]


@pytest.mark.parametrize("first", ["files", "body_arguments", "arguments"])
def test_form_is_parsed_at_first_use(first: str) -> None:
    request = from_wire("/", MULTIPART)
    request.body = FILE
    assert getattr(request, first)
    assert request.arguments == request.body_arguments == {"a": [b"1"]}
    assert request.files["f"][0].body == b"content"


def test_malformed_form() -> None:
    request = from_wire("/", MULTIPART)
    request.body = b"junk"
    with pytest.raises(HTTPInputError, match="no final boundary"):
        request._parse_body()
    with pytest.raises(HTTPInputError):
        request.arguments  # noqa: B018


def test_other_bodies_are_left_alone() -> None:
    for fields in (
        "",
        "Content-Type: application/json\r\n",
        "Content-Type: application/json\r\nContent-Encoding: x\r\n",
    ):
        request = from_wire("/", fields)
        request.body = b"{}"
        request._parse_body()
        assert request.body_arguments == {}
        assert request.files == {}
    plain = by_hand("/", {"Content-Type": "text/plain"}, body=b"a=1")
    plain._parse_body()
    assert plain.arguments == {}


def test_form_by_hand() -> None:
    request = by_hand("/?a=0", {"Content-Type": "application/x-www-form-urlencoded"}, body=b"a=1")
    request._parse_body()
    assert request.arguments == {"a": [b"0", b"1"]}
    given = {"x": [HTTPFile(filename="x", body=b"", content_type="y")]}
    request = by_hand("/", {"Content-Type": "multipart/form-data; boundary=B"}, body=FILE, files=given)
    assert request.body_arguments == {"a": [b"1"]}
    assert request.files is given


# --- a body that is kept in a file ---


class Spool:
    def __init__(self, path: Path, data: bytes) -> None:
        self.path = path
        path.write_bytes(data)
        self.size = len(data)
        self.reads = 0

    def read(self) -> bytes:
        self.reads += 1
        return self.path.read_bytes()

    def open(self) -> BinaryIO:
        return self.path.open("rb")


def test_body_in_a_file(tmp_path: Path) -> None:
    source = Spool(tmp_path / "body", b"large")
    request = from_wire()
    request._set_body_source(source)
    assert source.reads == 0
    assert request.body == request.body == b"large"
    assert source.reads == 1


def test_form_in_a_file(tmp_path: Path) -> None:
    source = Spool(tmp_path / "body", FILE)
    request = from_wire("/?b=2", MULTIPART)
    request._set_body_source(source)
    request._parse_body()
    assert request.arguments == {"a": [b"1"], "b": [b"2"]}
    (file,) = request.files["f"]
    assert (file.size, file.body) == (7, b"content")
    assert source.reads == 0


def test_form_that_was_parsed_while_it_arrived(tmp_path: Path) -> None:
    source = Spool(tmp_path / "body", FILE)
    request = from_wire("/", MULTIPART)
    form = multipart_form(request.headers["Content-Type"], source=source)
    assert form is not None
    form.receive(FILE[:50])
    form.receive(FILE[50:])
    form.finish()
    request._set_body_source(source, form)
    assert request.arguments == {"a": [b"1"]}
    assert request.files["f"][0].open().read() == b"content"
    assert source.reads == 0


# --- certificates ---


class Tls:
    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def getpeercert(self, binary_form: bool = False) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return b"der" if binary_form else self.answer


@pytest.mark.parametrize("offer", ["extra_info", "stream"])
def test_certificate(offer: str) -> None:
    def request_over(tls: Any) -> HTTPServerRequest:
        request = from_wire()
        if offer == "stream":
            request.connection = SimpleNamespace(stream=SimpleNamespace(socket=tls))
        else:
            request.connection = SimpleNamespace(get_extra_info={"ssl_object": tls}.get)
        return request

    assert request_over(Tls({"subject": ()})).get_ssl_certificate() == {"subject": ()}
    assert request_over(Tls({})).get_ssl_certificate(binary_form=True) == b"der"
    for answer in (None, ssl.SSLError("x"), ValueError("handshake not done yet")):
        assert request_over(Tls(answer)).get_ssl_certificate() is None
    assert request_over(None).get_ssl_certificate() is None


def test_no_certificate_without_tls() -> None:
    assert by_hand().get_ssl_certificate() is None
    assert from_wire().get_ssl_certificate() is None


# --- the cost ---


def test_no_reference_cycle_is_left_behind() -> None:
    gc.collect()
    gc.disable()
    try:
        request = from_wire("/?a=1", MULTIPART + "Cookie: a=b\r\n")
        request.body = FILE
        for name in ("arguments", "files", "cookies", "headers", "host_name"):
            getattr(request, name)
        gone = weakref.ref(request)
        del request
        assert gone() is None
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_mistakes_in_working_out_are_not_hidden() -> None:
    request = from_wire("/", MULTIPART)
    request._set_body_source("no source")  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match=r"request\.body could not be worked out"):
        hasattr(request, "body")
