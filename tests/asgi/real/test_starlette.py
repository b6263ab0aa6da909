"""Starlette: routing, bodies both ways, files, cookies, middleware, lifespan state and mistakes, over real HTTP."""

import gzip
import hashlib
import json
import random
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from http.client import IncompleteRead
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette")

from tests.asgi.real.site import Site, wait_for
from tests.asgi.real.starletteapp import TEXT, make_app
from tests.wsgi.real.site import Visitor, raw

BIG = random.Random(8).randbytes(2 * 1024 * 1024)

Logged = Callable[[str], AbstractContextManager[Any]]


@pytest.fixture(scope="module")
def events(kind: str) -> list[str]:
    """What has happened on one server."""
    return []


@pytest.fixture(scope="module")
def site(sites: Callable[..., Site], tmp_path_factory: pytest.TempPathFactory, events: list[str]) -> Site:
    directory = tmp_path_factory.mktemp("starlette")
    (directory / "static" / "docs").mkdir(parents=True)
    (directory / "static" / "style.css").write_text("body { color: teal }\n")
    (directory / "static" / "docs" / "index.html").write_text("<h1>Docs</h1>")
    (directory / "secret.txt").write_text("outside")
    (directory / "big.bin").write_bytes(BIG)
    return sites(make_app(directory, events), lifespan="on")


# --- routing ---


def test_routes_and_their_urls(site: Site, visitor: Visitor) -> None:
    answer = visitor.get("/")
    assert (answer.status, answer.text, answer.headers["Content-Length"]) == (200, "home", "4")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    here = site.url("/items/7")
    assert visitor.get("/items/3").json == {"number": 3, "url": here, "root": ""}
    assert visitor.get("/sub/items/3").json == {"number": 3, "url": here, "root": "/sub"}
    missing = visitor.get("/items/x?y")
    assert (missing.status, missing.json) == (404, {"missing": "/items/x"})
    wrong = visitor.fetch("DELETE", "/items/3")
    assert (wrong.status, sorted(wrong.headers["Allow"].split(", "))) == (405, ["GET", "HEAD"])
    slash = visitor.get("/gzip")
    assert (slash.status, slash.headers["Location"]) == (307, site.url("/gzip/"))


def test_everything_a_request_says(site: Site, visitor: Visitor) -> None:
    path = "/said/gr%C3%B6%C3%9Fe/a%20b%2Fc;d=e"
    answer = visitor.get(path + "?a=1&a=%C3%A4&b", X_One="1", X_Latin="caf\xe9", Cookie='a="1"; b=2').json
    assert answer == {
        "method": "GET",
        "path": "/said/größe/a b/c;d=e",
        "query": [["a", "1"], ["a", "ä"], ["b", ""]],
        "headers": [["x-one", "1"], ["x-latin", "caf\xe9"]],
        "cookies": {"a": "1", "b": "2"},
        "body": "",
        "client": "127.0.0.1",
        "version": "1.1",
    }
    scope = site.recorder.last("/said/größe/a b/c;d=e").scope
    assert scope["raw_path"] == path.encode()
    assert visitor.fetch("PUT", "/said", b"\x00\xff").json["body"] == "\x00\xff"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"])
def test_methods(visitor: Visitor, method: str) -> None:
    answer = visitor.fetch(method, "/verbs/")
    assert (answer.status, answer.text, answer.headers["X-Verb"]) == (200, method, method)


def test_head_and_nothing(visitor: Visitor) -> None:
    answer = visitor.fetch("HEAD", "/")
    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", "4")
    streamed = visitor.fetch("HEAD", "/stream/out?count=3&size=10")
    assert (streamed.status, streamed.body, "Content-Length" in streamed.headers) == (200, b"", False)
    nothing = visitor.fetch("DELETE", "/nothing")
    assert (nothing.status, nothing.body) == (204, b"")
    assert "Content-Length" not in nothing.headers
    assert "Transfer-Encoding" not in nothing.headers
    assert visitor.get("/").text == "home"  # on the same connection


def test_http_1_0(site: Site) -> None:
    head, _, body = raw(site.port, b"GET /stream/out?count=2&size=3 HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    with site.differs("a response to HTTP/1.0 is not chunked"):
        assert b"transfer-encoding" not in head.lower()
        assert body == b"\0\0\0\1\1\1"


def test_pipelined(site: Site) -> None:
    requests = [b"GET /items/%d HTTP/1.1\r\nHost: a\r\n\r\n" % n for n in range(20)]
    requests.append(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    answers = raw(site.port, b"".join(requests))
    assert answers.count(b"HTTP/1.1 200") == 21
    assert [answers.index(b'"number":%d,' % n) for n in range(20)] == sorted(
        answers.index(b'"number":%d,' % n) for n in range(20)
    )


# --- bodies ---


def test_a_big_body_in(site: Site, visitor: Visitor) -> None:
    expected = {"size": len(BIG), "sha256": hashlib.sha256(BIG).hexdigest()}
    assert visitor.fetch("POST", "/stream/in", BIG).json == expected
    parts = (BIG[at : at + 100_000] for at in range(0, len(BIG), 100_000))
    assert visitor.fetch("POST", "/stream/in", parts).json == expected  # chunked
    call = site.recorder.last("/stream/in")
    assert call.body() == BIG
    assert call.heard() == ["http.request"]
    assert [m.get("more_body", False) for way, m in call.messages if way == "receive"][-2:] == [True, False]
    assert visitor.fetch("POST", "/stream/in", b"").json["size"] == 0


def test_a_big_body_out(visitor: Visitor) -> None:
    answer = visitor.get("/stream/out?count=64&size=40000")
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert answer.body == b"".join(bytes([n]) * 40000 for n in range(64))
    assert visitor.get("/stream/out?count=0&size=1").body == b""


def test_both_ways_at_once(site: Site) -> None:
    """Each piece is answered before the next is sent."""
    with (
        closing(socket.create_connection(("127.0.0.1", site.port), 20)) as sock,
        sock.makefile("rb") as answer,
    ):
        sock.sendall(b"POST /stream/both HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        sock.sendall(b"5\r\nfirst\r\n")
        head = b"".join(iter(answer.readline, b"\r\n"))
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        sock.settimeout(20 if site.kind == "webfw" else 0.3)
        with site.differs("a response can be made of the request's body while it comes"):
            for sent in (b"first", b"second", b"third"):
                if sent != b"first":
                    sock.sendall(b"%x\r\n%s\r\n" % (len(sent), sent))
                assert answer.readline() == b"%x\r\n" % len(sent)
                assert answer.readline() == sent.upper() + b"\r\n"
            sock.sendall(b"0\r\n\r\n")
            # A last piece without bytes has none in the framing either, since an empty chunk is the end.
            assert answer.readline() + answer.readline() == b"0\r\n\r\n"


def test_expect_continue(site: Site) -> None:
    def ask(path: bytes) -> tuple[Any, Any]:
        sock = socket.create_connection(("127.0.0.1", site.port), 20)
        sock.sendall(
            b"POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n" % path
        )
        return sock, sock.makefile("rb")

    sock, answer = ask(b"/stream/in")
    with sock, answer:
        assert (answer.readline(), answer.readline()) == (b"HTTP/1.1 100 Continue\r\n", b"\r\n")
        sock.sendall(b"four")
        assert answer.readline() == b"HTTP/1.1 200 OK\r\n"
    sock, answer = ask(b"/unwanted")
    with sock, answer:
        assert answer.readline().startswith(b"HTTP/1.1 413 ")


def test_a_body_that_nobody_reads(site: Site, visitor: Visitor) -> None:
    answer = visitor.fetch("POST", "/unwanted", b"x" * 10_000)
    assert (answer.status, answer.text) == (413, "no, thanks")
    visitor.connection.close()
    assert visitor.get("/").text == "home"


def test_uploads(visitor: Visitor) -> None:
    files = {"one": ("größe.txt", "Größe".encode()), "two": ("big.bin", BIG[:1_000_000])}
    answer = visitor.upload("/upload", {"title": "a & b", "empty": ""}, files)
    digests = [hashlib.sha256(content).hexdigest() for _, content in files.values()]
    assert answer.json == [
        ["title", "a & b"],
        ["empty", ""],
        ["one", "größe.txt", None, 6 + 1, digests[0]],
        ["two", "big.bin", None, 1_000_000, digests[1]],
    ]
    assert visitor.post("/upload", {"a": "ä", "b": "2"}).json == [["a", "ä"], ["b", "2"]]


def test_json(visitor: Visitor) -> None:
    assert visitor.post_json("/json", {"a": ["ä", None, 1.5]}).json == {"got": {"a": ["ä", None, 1.5]}}
    answer = visitor.fetch("POST", "/json", b"{")
    assert (answer.status, answer.text) == (400, "no JSON")


# --- what lasts ---


def test_work_in_the_background(visitor: Visitor, events: list[str]) -> None:
    assert visitor.get("/background?word=one").text == "begun"
    wait_for(lambda: "background one" in events)


def test_server_sent_events(site: Site, events: list[str], kind: str) -> None:
    with site.visitor() as visitor:
        response = visitor.begin("GET", f"/events?name={kind}")
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert response.headers["Cache-Control"] == "no-store"
        lines = [response.readline() for _ in range(9)]
        assert lines == [line for n in range(3) for line in (b"id: %d\n" % n, b"data: event %d\n" % n, b"\n")]
        response.close()
    wait_for(lambda: f"events of {kind} have ended" in events)


def test_a_client_that_leaves(site: Site, events: list[str], kind: str) -> None:
    with closing(socket.create_connection(("127.0.0.1", site.port), 20)) as sock:
        sock.sendall(b"GET /wait?name=%s HTTP/1.1\r\nHost: a\r\n\r\n" % kind.encode())
        wait_for(lambda: f"{kind} waits" in events)
    wait_for(lambda: f"{kind} has gone" in events)
    call = site.recorder.last("/wait")
    assert call.heard()[-1] == "http.disconnect"
    assert call.ended == "returned"


def test_a_client_that_leaves_in_its_body(site: Site, events: list[str]) -> None:
    with closing(socket.create_connection(("127.0.0.1", site.port), 20)) as sock:
        sock.sendall(b"POST /half HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf")
        wait_for(lambda: any(call.body() == b"half" for call in list(site.recorder.calls)))
    wait_for(lambda: "gone in the body" in events)
    assert site.recorder.last("/half").heard() == ["http.request", "http.disconnect"]


def test_a_client_that_is_refused_in_its_body(site: Site, events: list[str]) -> None:
    """Chunks that are none: the server has answered 400 by itself."""
    before = len(events)
    with (
        closing(socket.create_connection(("127.0.0.1", site.port), 20)) as sock,
        sock.makefile("rb") as answer,
    ):
        sock.sendall(b"POST /half HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        wait_for(lambda: site.recorder.calls[-1].body() == b"x")
        sock.sendall(b"zz\r\n")
        assert answer.readline() == b"HTTP/1.1 400 Bad Request\r\n"
    call = site.recorder.last("/half")
    assert (call.heard(), events[before:]) == (["http.request", "http.disconnect"], ["gone in the body"])
    with site.differs("`send()` raises once the client has gone, or has been refused"):
        assert call.ended == "ClientDisconnected"


# --- files ---


def test_static_files(visitor: Visitor) -> None:
    answer = visitor.get("/static/style.css")
    assert (answer.status, answer.text) == (200, "body { color: teal }\n")
    assert answer.headers["Content-Type"] == "text/css; charset=utf-8"
    for fields in (
        {"If_None_Match": answer.headers["ETag"]},
        {"If_Modified_Since": answer.headers["Last-Modified"]},
    ):
        again = visitor.get("/static/style.css", **fields)
        assert (again.status, again.body, again.headers["ETag"]) == (304, b"", answer.headers["ETag"])
        assert "Content-Type" not in again.headers
    assert visitor.get("/static/docs/").text == "<h1>Docs</h1>"
    assert visitor.get("/static/docs").headers["Location"].endswith("/static/docs/")
    for path in (
        "/static/none",
        "/static/../secret.txt",
        "/static/%2e%2e/secret.txt",
        "/static/..%2fsecret.txt",
    ):
        assert visitor.get(path).status == 404
    assert visitor.fetch("POST", "/static/style.css").status == 405
    head = visitor.fetch("HEAD", "/static/style.css")
    assert (head.body, head.headers["Content-Length"]) == (b"", "21")


def test_a_big_file_and_ranges_of_it(visitor: Visitor) -> None:
    answer = visitor.get("/download")
    assert answer.body == BIG
    assert answer.headers["Content-Length"] == str(len(BIG))
    assert answer.headers["Content-Disposition"] == "attachment; filename*=utf-8''gr%C3%B6%C3%9Fe.bin"
    part = visitor.get("/download", Range="bytes=1000-200999")
    assert (part.status, part.headers["Content-Range"]) == (206, f"bytes 1000-200999/{len(BIG)}")
    assert part.body == BIG[1000:201000]
    end = visitor.get("/download", Range="bytes=-5")
    assert (end.status, end.body) == (206, BIG[-5:])
    several = visitor.get("/download", Range="bytes=0-1,5-6")
    assert several.headers["Content-Type"].startswith("multipart/byteranges; boundary=")
    assert several.body.count(b"Content-Range: bytes ") == 2
    old = visitor.get("/download", Range="bytes=0-1", If_Range='"other"')
    assert (old.status, len(old.body)) == (200, len(BIG))
    beyond = visitor.get("/download", Range=f"bytes={len(BIG)}-")
    assert (beyond.status, beyond.headers["Content-Range"]) == (416, f"bytes */{len(BIG)}")
    head = visitor.fetch("HEAD", "/download")
    assert (head.body, head.headers["Content-Length"]) == (b"", str(len(BIG)))
    assert visitor.get("/").text == "home"


# --- cookies, sessions, state ---


def test_cookies(visitor: Visitor) -> None:
    answer = visitor.fetch("POST", "/cookies/set")
    assert (answer.status, answer.headers["Location"]) == (303, "/said")
    lines = answer.headers.get_all("Set-Cookie")
    assert lines == [
        'plain="a b"; Max-Age=60; Path=/; SameSite=lax',
        "secret=x; HttpOnly; Path=/cookies; SameSite=lax",
    ]
    assert visitor.get("/said").json["cookies"]["plain"] == "a b"
    assert "Max-Age=0" in visitor.fetch("POST", "/cookies/delete").headers["Set-Cookie"]


def test_sessions(visitor: Visitor) -> None:
    assert [visitor.get("/session/visits").json for _ in range(3)] == [{"visits": n} for n in (1, 2, 3)]


def test_the_state_of_the_lifespan(site: Site, visitor: Visitor, events: list[str]) -> None:
    assert events[0] == "startup"
    first, second = (visitor.get("/state").json for _ in range(2))
    assert first == {"seen": False, "greeting": "hello", "requests": first["requests"]}
    assert second == {**first, "requests": first["requests"] + 1}


# --- middleware ---


def test_cors(visitor: Visitor) -> None:
    origin = "https://example.com"
    asked = {
        "Origin": origin,
        "Access_Control_Request_Method": "PUT",
        "Access_Control_Request_Headers": "X-Token",
    }
    answer = visitor.fetch("OPTIONS", "/cors/", **asked)
    assert (answer.status, answer.text) == (200, "OK")
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    assert answer.headers["Access-Control-Allow-Methods"] == "PUT"
    assert "x-token" in answer.headers["Access-Control-Allow-Headers"].lower()
    assert visitor.fetch("OPTIONS", "/cors/", **{**asked, "Origin": "https://evil.example"}).status == 400
    simple = visitor.get("/cors/", Origin=origin)
    assert simple.headers["Access-Control-Expose-Headers"] == "x-total"
    assert simple.headers["Access-Control-Allow-Credentials"] == "true"
    assert simple.headers["Vary"] == "Origin"


def test_gzip(visitor: Visitor) -> None:
    for path, count in (("/gzip/", 1), ("/gzip/many", 5)):
        answer = visitor.get(path, Accept_Encoding="gzip")
        assert (answer.headers["Content-Encoding"], answer.headers["Vary"]) == ("gzip", "Accept-Encoding")
        assert gzip.decompress(answer.body).decode() == TEXT * count
        assert visitor.get(path).text == TEXT * count


def test_trusted_hosts(visitor: Visitor) -> None:
    assert visitor.get("/trusted/", Host="example.com").text == TEXT
    assert visitor.get("/trusted/", Host="www.example.org:80").status == 200
    assert visitor.get("/trusted/", Host="evil.example").status == 400


def test_https_redirect(visitor: Visitor) -> None:
    answer = visitor.get("/https/?a=b", Host="example.com")
    assert (answer.status, answer.headers["Location"]) == (307, "https://example.com/https/?a=b")


# --- mistakes ---


def test_a_handler_of_exceptions(visitor: Visitor) -> None:
    answer = visitor.get("/unlucky")
    assert (answer.status, answer.text) == (418, "unlucky: thirteen")


def test_an_exception_before_the_response(site: Site, visitor: Visitor, logged: Logged) -> None:
    with logged("uncaught exception in the application"):
        answer = visitor.get("/broken")
        # Starlette has answered before it raises, so that servers may log.
        assert (answer.status, answer.text) == (500, "Internal Server Error")
        assert site.recorder.last("/broken").ended == "RuntimeError"
    with site.differs(
        "a connection is kept when an application has made a mistake, and the response was complete"
    ):
        assert visitor.get("/").text == "home"


@pytest.mark.parametrize("query", ["", "?length"])
def test_an_exception_in_the_response(site: Site, visitor: Visitor, logged: Logged, query: str) -> None:
    with logged("uncaught exception in the application"):
        response = visitor.begin("GET", f"/broken/late{query}")
        assert response.status == 200
        with pytest.raises(IncompleteRead) as caught:
            response.read()
        assert caught.value.partial == b"x" * 100
        assert site.recorder.last("/broken/late").ended is not None
    visitor.connection.close()
    assert visitor.get("/").text == "home"


def test_what_is_seen_is_typed(site: Site, visitor: Visitor) -> None:
    """The scope has what the specification says, of the type that it says."""
    visitor.get("/said?a=b", X_One="1")
    scope = site.recorder.last("/said").scope
    types = {name: type(value).__name__ for name, value in scope.items() if name in TYPES}
    assert types == TYPES
    assert scope["asgi"]["version"] == "3.0"
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/said", b"/said", b"a=b")
    assert all(type(one) is bytes and one == one.lower() for one, _ in scope["headers"])
    assert all(len(pair) == 2 and type(pair[1]) is bytes for pair in scope["headers"])
    assert (scope["scheme"], scope["method"], scope["http_version"], scope["root_path"]) == (
        "http",
        "GET",
        "1.1",
        "",
    )
    assert tuple(scope["server"]) == ("127.0.0.1", site.port)
    json.dumps(scope.get("extensions", {}))


TYPES = {
    "type": "str",
    "asgi": "dict",
    "http_version": "str",
    "method": "str",
    "scheme": "str",
    "path": "str",
    "raw_path": "bytes",
    "query_string": "bytes",
    "root_path": "str",
    "headers": "list",
    "client": "tuple",
    "server": "tuple",
    "state": "dict",
}


def test_the_lifespan_ends(site: Site, events: list[str], tmp_path: Path) -> None:
    """Last, since it is the end."""
    site.stop()
    assert [event for event in events if event.endswith(("startup", "shutdown"))] == ["startup", "shutdown"]
