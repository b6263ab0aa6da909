"""Tests of webfw.httpclient.curl."""

import asyncio
import contextvars
import gc
import gzip
import logging
import os
import subprocess
import sys
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pycurl
import pytest
import trustme

import webfw.curl_httpclient
from webfw.httpclient import (
    HTTPClient,
    HTTPRequest,
    HTTPResponse,
    HTTPTimeoutError,
)
from webfw.httpclient import curl as room
from webfw.httpclient.client import AsyncHTTPClient
from webfw.httpclient.curl import CurlAsyncHTTPClient, CurlError, CurlTimeoutError, curl_log
from webfw.httpserver import HTTPServer
from webfw.httputil import HTTPServerRequest
from webfw.netutil import bind_sockets

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def client(**kwargs: Any) -> AsyncIterator[CurlAsyncHTTPClient]:
    made = CurlAsyncHTTPClient(force_instance=True, **kwargs)
    try:
        yield made
    finally:
        made.close()
        assert not [fd for fd in made.io_loop.handlers if fd in made._watched]


class Server:
    """A server on bare streams: heads of requests are kept, and `answer` writes what comes back."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.heads: list[str] = []
        self.bodies: list[bytes] = []
        self.connections = 0
        self.tasks: set[asyncio.Task[None]] = set()

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task
        self.tasks.add(task)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                self.heads.append(head)
                length = self.field("content-length")
                self.bodies.append(await reader.readexactly(int(length)) if length else b"")
                await self.answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self.tasks.discard(task)

    def field(self, name: str) -> str | None:
        """A field of the last request."""
        for line in self.heads[-1].split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.lower() == name:
                return value.strip()
        return None


@asynccontextmanager
async def serving(answer: Answer | bytes, **kwargs: Any) -> AsyncIterator[Server]:
    if isinstance(answer, bytes):
        fixed = answer

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(fixed)

    server = Server(answer)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, **kwargs)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for task in list(server.tasks):
            task.cancel()
        await asyncio.gather(*server.tasks, return_exceptions=True)


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


# --- the shape of it ---


def test_the_old_name_is_a_list() -> None:
    assert webfw.curl_httpclient.CurlAsyncHTTPClient is CurlAsyncHTTPClient
    assert webfw.curl_httpclient.curl_log.name == "webfw.curl_httpclient"
    assert webfw.curl_httpclient.CR_OR_LF_RE.search(b"a\nb")


def test_without_pycurl_the_extra_is_named(tmp_path: Path) -> None:
    (tmp_path / "pycurl.py").write_text("raise ImportError")
    code = "import webfw.httpclient\nimport webfw.curl_httpclient"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{Path.cwd()}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.splitlines()[-1] == (
        "ImportError: CurlAsyncHTTPClient needs the pycurl package: pip install 'webfw[curl]'"
    )


async def test_configured_by_its_tornado_name() -> None:
    AsyncHTTPClient.configure("tornado.curl_httpclient.CurlAsyncHTTPClient", max_clients=3)
    try:
        made: Any = AsyncHTTPClient()
        assert type(made) is CurlAsyncHTTPClient
        assert (made.max_clients, made.max_body_size) == (3, 104857600)
        made.close()
    finally:
        AsyncHTTPClient.configure(None)


async def test_no_clients_at_all() -> None:
    with pytest.raises(ValueError, match="at least 1, not 0"):
        CurlAsyncHTTPClient(force_instance=True, max_clients=0)


# --- one request ---


async def test_a_response() -> None:
    text = b"HTTP/1.1 201 Made \r\nContent-Length: 5\r\nX-A: 1\r\nX-A: \xe9\r\n\r\nhello"
    async with serving(text) as server, client() as it:
        response = await it.fetch(server.url("/a?b"))
        assert (response.code, response.reason, response.body) == (201, "Made", b"hello")
        assert response.headers.get_list("x-a") == ["1", "é"]
        assert (response.effective_url, response.error) == (server.url("/a?b"), None)
        assert response.buffer is not None
        assert response.buffer.read() == b"hello"
        assert 0 < response.request_time < 5
        assert set(response.time_info) == {
            "queue", "namelookup", "connect", "appconnect", "pretransfer", "starttransfer", "total", "redirect",
        }  # fmt: skip
        assert 0 < response.time_info["connect"] <= response.time_info["total"]
        assert server.heads[0].startswith("GET /a?b HTTP/1.1\r\n")
        assert (server.field("accept-encoding") or "").find("gzip") >= 0
        assert (server.field("user-agent") or "").startswith("webfw/")


async def test_connections_are_kept() -> None:
    async with serving(OK) as server, client() as it:
        for _ in range(5):
            assert (await it.fetch(server.url())).body == b"ok"
        assert server.connections == 1
        assert it._idle
        assert not it._running


async def test_a_connection_that_the_server_has_closed_is_replaced() -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with serving(once) as server, client() as it:
        for _ in range(5):
            assert (await it.fetch(server.url())).body == b"ok"
        assert server.connections == 5


async def test_descriptors_that_are_used_again_at_once() -> None:
    """Each connection ends with its response, so that the next one has its number; every loop has to get that right."""

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        raise ConnectionResetError

    async with serving(once, backlog=256) as server, client(max_clients=20) as it:
        for _ in range(5):
            responses = await asyncio.gather(*[it.fetch(server.url()) for _ in range(60)])
            assert {response.body for response in responses} == {b"ok"}
        assert server.connections == 300
        assert not it._watched


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS"])
async def test_methods_without_a_body(method: str) -> None:
    async with serving(b"HTTP/1.1 204 No Content\r\n\r\n") as server, client() as it:
        response = await it.fetch(server.url(), method=method)
        assert (response.code, response.body) == (204, b"")
        assert server.heads[0].startswith(f"{method} / ")
        assert server.field("content-length") is None
        assert server.field("content-type") is None


async def test_the_length_of_what_a_head_request_is_told_of() -> None:
    async with serving(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n") as server, client() as it:
        response = await it.fetch(server.url(), method="HEAD")
        assert (response.headers["Content-Length"], response.body) == ("7", b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
@pytest.mark.parametrize("body", [b"", b"a\0b", b"x" * 3_000_000])
async def test_methods_with_a_body(method: str, body: bytes) -> None:
    async with serving(OK) as server, client() as it:
        await it.fetch(server.url(), method=method, body=body)
        assert server.heads[0].startswith(f"{method} / ")
        assert (server.field("content-length"), server.bodies) == (str(len(body)), [body])
        expected = "application/x-www-form-urlencoded" if method == "POST" else None
        assert (server.field("content-type"), server.field("expect")) == (expected, None)


async def test_other_methods_are_allowed_on_request() -> None:
    async with serving(OK) as server, client() as it:
        for method, body in [("PROPFIND", b"<a/>"), ("BREW", None), ("GET", b"q"), ("DELETE", b"d")]:
            await it.fetch(server.url(), method=method, body=body, allow_nonstandard_methods=True)
            assert server.heads[-1].startswith(f"{method} / ")
            assert server.bodies[-1] == (body or b"")
        await it.fetch(server.url(), method="PUT", allow_nonstandard_methods=True)
        assert server.field("content-length") == "0"


async def test_fields_are_sent_as_they_are() -> None:
    headers = {"X-Empty": "", "X-Latin": "é", "Content-Type": "text/x", "User-Agent": "mine", "Host": "other"}
    async with serving(OK) as server, client() as it:
        await it.fetch(server.url(), method="PUT", body=b"", headers=headers)
        for name, value in headers.items():
            assert server.field(name.lower()) == value
        for name in ("Accept", "X-Blank"):
            await it.fetch(server.url(), headers={name: " "})
            assert server.field(name.lower()) == ""
        await it.fetch(server.url(), user_agent="you")
        assert server.field("user-agent") == "you"
        await it.fetch(server.url(), user_agent="you", headers={"User-Agent": "mine"})
        assert server.field("user-agent") == "mine"
        await it.fetch(server.url(), if_modified_since=0)
        assert server.field("if-modified-since") == "Thu, 01 Jan 1970 00:00:00 GMT"


async def test_the_length_is_that_of_the_body() -> None:
    async with serving(OK) as server, client() as it:
        for method, body in (("PUT", b"abc"), ("GET", None)):
            headers = {"Content-Length": "5", "Transfer-Encoding": "chunked"}
            await it.fetch(server.url(), method=method, body=body, headers=headers)
            assert server.field("transfer-encoding") is None
            assert server.field("content-length") == ("3" if body else None)


async def test_a_unix_socket(tmp_path: Path) -> None:
    text = b"HTTP/1.1 302 Go\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 2\r\n\r\nok"
    answers: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answers.pop(0))

    for name in ("s", "s %"):
        answers = [OK, text]
        server = Server(answer)
        path = tmp_path / name
        listening = await asyncio.start_unix_server(server.serve, path)
        async with client() as it:
            url = f"http+unix://{quote(str(path), safe='')}/a%20b?c"
            response = await it.fetch(url)
            assert (response.body, response.effective_url) == (b"ok", url)
            assert server.heads[0].startswith("GET /a%20b?c HTTP/1.1\r\n")
            assert server.field("host") == "localhost"
            assert server.field("authorization") is None
            response = await it.fetch(url.replace("//", "//u:p%3A@"), raise_error=False)
            assert response.code == 302  # the server of a socket is not asked for what others have
            assert server.field("authorization") == "Basic dTpwOg=="
            assert server.connections == 1
        listening.close()
    while server.tasks:
        await asyncio.sleep(0)


async def test_100_continue() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        server.bodies.append(await reader.readexactly(4))
        writer.write(OK)

    lines: list[str] = []
    async with serving(answer) as server, client() as it:
        # The server reads the body only after its interim response, for it does not see its length.
        server.field = lambda name: None  # type: ignore[method-assign]
        response = await it.fetch(
            server.url(), method="POST", body=b"body", expect_100_continue=True, header_callback=lines.append
        )
        assert response.body == b"ok"
        assert "Expect: 100-continue\r\n" in server.heads[0]
        assert server.bodies[-1] == b"body"
        assert lines == ["HTTP/1.1 200 OK\r\n", "Content-Length: 2\r\n", "\r\n"]


async def test_streaming() -> None:
    text = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n"
    pieces: list[bytes] = []
    lines: list[str] = []
    async with serving(text) as server, client() as it:
        response = await it.fetch(
            server.url(), streaming_callback=pieces.append, header_callback=lines.append
        )
        assert b"".join(pieces) == b"abcde"
        assert (response.body, response.buffer) == (b"", None)
        assert lines == ["HTTP/1.1 200 OK\r\n", "Transfer-Encoding: chunked\r\n", "\r\n"]
        assert "X-T" not in response.headers  # trailers are no part of the head


async def test_the_head_comes_before_the_body() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        await seen.wait()
        writer.write(b"ok")

    seen = asyncio.Event()
    async with serving(answer) as server, client() as it:
        response = await it.fetch(server.url(), header_callback=lambda line: line == "\r\n" and seen.set())  # type: ignore[arg-type, func-returns-value]
        assert response.body == b"ok"


async def test_decompression() -> None:
    import gzip

    packed = gzip.compress(b"a" * 1000)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n".encode()
    async with serving(head + packed) as server, client() as it:
        response = await it.fetch(server.url())
        assert response.body == b"a" * 1000
        assert "Content-Encoding" not in response.headers
        assert response.headers["X-Consumed-Content-Encoding"] == "gzip"
        response = await it.fetch(server.url(), decompress_response=False)
        assert (response.body, response.headers["Content-Encoding"]) == (packed, "gzip")
        assert server.field("accept-encoding") is None


async def test_a_prepared_handle_is_used_and_not_kept() -> None:
    def prepare(curl: Any) -> None:
        curl.setopt(pycurl.COOKIEFILE, "")
        curl.setopt(pycurl.REFERER, "prepared")

    text = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nContent-Length: 0\r\n\r\n"
    async with serving(text) as server, client() as it:
        await it.fetch(server.url(), prepare_curl_callback=prepare)
        assert server.field("referer") == "prepared"
        for again in (None, prepare):
            await it.fetch(server.url(), prepare_curl_callback=again)
            assert server.field("cookie") is None
        assert server.field("referer") == "prepared"
        assert server.connections == 1


async def test_a_host_name_and_a_source_address() -> None:
    async with serving(OK) as server, client() as it:
        url = server.url().replace("127.0.0.1", "localhost")
        assert (await it.fetch(url, allow_ipv6=False, network_interface="127.0.0.1")).body == b"ok"


async def test_the_environment_is_not_asked_for_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1/")
    monkeypatch.setenv("all_proxy", "http://127.0.0.1:1/")
    async with serving(OK) as server, client() as it:
        assert (await it.fetch(server.url())).body == b"ok"


async def test_callbacks_run_in_the_context_of_their_request() -> None:
    who = contextvars.ContextVar("who", default="nobody")
    seen: list[str] = []

    def see(_: Any) -> None:
        seen.append(who.get())

    async def ask(name: str) -> None:
        who.set(name)
        await it.fetch(server.url(), prepare_curl_callback=see, header_callback=see, streaming_callback=see)

    async with serving(OK) as server, client(max_clients=1) as it:
        await asyncio.gather(ask("a"), ask("b"))
        assert seen == ["a"] * 5 + ["b"] * 5


# --- authentication and proxies ---


async def test_basic_authentication() -> None:
    async with serving(OK) as server, client() as it:
        await it.fetch(server.url(), auth_username="us:er", auth_password="pässword")
        assert server.field("authorization") == "Basic dXM6ZXI6cMOkc3N3b3Jk"
        headers = {"Authorization": "other"}
        await it.fetch(server.url(), auth_username="user", auth_mode="basic", headers=headers)
        assert server.field("authorization") == "Basic dXNlcjo="
        await it.fetch(server.url())
        assert server.field("authorization") is None
        await it.fetch(server.url().replace("//", "//user:@"))
        assert server.field("authorization") == "Basic dXNlcjo="


async def test_digest_authentication() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if server.field("authorization") is None:
            challenge = 'WWW-Authenticate: Digest realm="r", nonce="n", qop="auth", algorithm=MD5'
            writer.write(f"HTTP/1.1 401 No\r\n{challenge}\r\nContent-Length: 3\r\n\r\nno!".encode())
        else:
            writer.write(OK)

    lines: list[str] = []
    pieces: list[bytes] = []
    async with serving(answer) as server, client() as it:
        response = await it.fetch(
            server.url(),
            auth_username="user",
            auth_password="secret",
            auth_mode="digest",
            header_callback=lines.append,
            streaming_callback=pieces.append,
        )
        assert response.code == 200
        assert 'username="user"' in (server.field("authorization") or "")
        assert (lines[0], pieces) == ("HTTP/1.1 200 OK\r\n", [b"ok"])


async def test_a_final_401_has_its_head_and_body() -> None:
    text = b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=a\r\nContent-Length: 3\r\n\r\nno!"
    empty = text.replace(b"3\r\n\r\nno!", b"0\r\n\r\n")
    for answer, body in ((text, b"no!"), (empty, b"")):
        lines: list[str] = []
        async with serving(answer) as server, client() as it:
            response = await it.fetch(
                server.url(),
                raise_error=False,
                auth_username="u",
                auth_mode="digest",
                header_callback=lines.append,
            )
            assert (response.code, response.body, lines[0]) == (401, body, "HTTP/1.1 401 No\r\n")


async def test_a_proxy() -> None:
    async with serving(OK) as proxy, client() as it:
        response = await it.fetch(
            "http://nowhere.invalid/x",
            proxy_host="127.0.0.1",
            proxy_port=proxy.port,
            proxy_username="pu",
            proxy_password="pp",
        )
        assert (response.body, response.effective_url) == (b"ok", "http://nowhere.invalid/x")
        assert proxy.heads[0].startswith("GET http://nowhere.invalid/x HTTP/1.1\r\n")
        assert proxy.field("proxy-authorization") == "Basic cHU6cHA="


async def test_a_proxy_with_digest_authentication() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if proxy.field("proxy-authorization") is None:
            challenge = 'Proxy-Authenticate: Digest realm="r", nonce="n", qop="auth"'
            writer.write(f"HTTP/1.1 407 No\r\n{challenge}\r\nContent-Length: 0\r\n\r\n".encode())
        else:
            writer.write(OK)

    async with serving(answer) as proxy, client() as it:
        response = await it.fetch(
            "http://nowhere.invalid/",
            proxy_host="127.0.0.1",
            proxy_port=proxy.port,
            proxy_username="pu",
            proxy_auth_mode="digest",
        )
        assert response.body == b"ok"
        assert (proxy.field("proxy-authorization") or "").startswith("Digest ")


async def test_a_tunnel_through_a_proxy() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 403 Not you\r\nContent-Length: 0\r\n\r\n")

    async with serving(answer) as proxy, client() as it:
        with pytest.raises(CurlError, match="nowhere.invalid") as caught:
            await it.fetch("https://nowhere.invalid/", proxy_host="127.0.0.1", proxy_port=proxy.port)
        assert caught.value.errno in (7, 56)
        assert proxy.heads[0].startswith("CONNECT nowhere.invalid:443 HTTP/1.1\r\n")


# --- redirects ---


def redirecting(status: int) -> Answer:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server = holder[0]
        if "/to" in server.heads[-1].split("\r\n")[0]:
            writer.write(OK)
        else:
            writer.write(f"HTTP/1.1 {status} Go\r\nLocation: /to\r\nContent-Length: 3\r\n\r\ngo!".encode())

    holder: list[Server] = []
    answer.holder = holder  # type: ignore[attr-defined]
    return answer


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [
        (301, "GET", "GET"), (302, "HEAD", "HEAD"), (303, "HEAD", "HEAD"),
        (301, "POST", "GET"), (302, "POST", "GET"), (303, "POST", "GET"), (307, "POST", "POST"), (308, "POST", "POST"),
        (301, "PUT", "PUT"), (302, "PATCH", "PATCH"), (303, "PUT", "GET"), (303, "PATCH", "GET"), (308, "PUT", "PUT"),
        (303, "DELETE", "GET"), (301, "DELETE", "DELETE"), (307, "DELETE", "DELETE"),
    ],
)  # fmt: skip
async def test_redirects(status: int, method: str, then: str) -> None:
    answer = redirecting(status)
    body = b"abc" if method in ("POST", "PUT", "PATCH") else None
    lines: list[str] = []
    async with serving(answer) as server, client() as it:
        answer.holder.append(server)  # type: ignore[attr-defined]
        response = await it.fetch(server.url(), method=method, body=body, header_callback=lines.append)
        assert server.heads[-1].startswith(f"{then} /to HTTP/1.1\r\n")
        assert server.bodies == [body or b"", (body or b"") if then == method else b""]
        assert response.effective_url == server.url("/to")
        assert response.code == 200
        if method != "HEAD":
            assert response.body == b"ok"
        assert lines.count("\r\n") == 1
        assert server.connections == 1 or method == "HEAD"  # where the answer has a body that must not be


async def test_a_redirect_is_not_followed_where_that_is_not_wanted() -> None:
    lines: list[str] = []
    async with serving(answer := redirecting(302)) as server, client() as it:
        answer.holder.append(server)  # type: ignore[attr-defined]
        response = await it.fetch(
            server.url(), follow_redirects=False, raise_error=False, header_callback=lines.append
        )
        assert (response.code, response.body, lines[0]) == (302, b"go!", "HTTP/1.1 302 Go\r\n")


async def test_a_redirect_loop_ends() -> None:
    text = b"HTTP/1.1 302 Go\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"
    async with serving(text) as server, client() as it:
        with pytest.raises(CurlError, match=r"redirects followed \(in a redirect of http://127") as caught:
            await it.fetch(server.url(), max_redirects=3)
        assert caught.value.errno == 47
        assert len(server.heads) == 4


async def test_a_redirect_to_any_bytes() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = len(server.heads) == 1
        writer.write(b"HTTP/1.1 302 Go\r\nLocation: /\xff\r\nContent-Length: 0\r\n\r\n" if first else OK)

    async with serving(answer) as server, client() as it:
        assert (await it.fetch(server.url())).effective_url == server.url("/%FF")


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://127.0.0.1/", "gopher://127.0.0.1/"])
async def test_redirects_lead_nowhere_but_to_http(to: str) -> None:
    text = f"HTTP/1.1 302 Go\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()
    async with serving(text) as server, client() as it:
        with pytest.raises(CurlError) as caught:
            await it.fetch(server.url())
        assert caught.value.errno == 1


async def test_credentials_stay_with_their_host() -> None:
    async with serving(OK) as other, client() as it:
        text = f"HTTP/1.1 302 Go\r\nLocation: {other.url()}\r\nContent-Length: 0\r\n\r\n".encode()
        async with serving(text) as server:
            headers = {"Cookie": "a=1"}
            await it.fetch(server.url(), auth_username="u", headers=headers)
            assert server.field("authorization")
            assert (other.field("authorization"), other.field("cookie")) == (None, None)
            await it.fetch(server.url(), headers={"Authorization": "Bearer x"})
            assert other.field("authorization") is None


async def test_an_old_libcurl_follows_no_redirect_of_a_method_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room, "_OBEYS_REDIRECTS", False)
    async with serving(answer := redirecting(303)) as server, client() as it:
        answer.holder.append(server)  # type: ignore[attr-defined]
        assert (await it.fetch(server.url(), method="PUT", body=b"", raise_error=False)).code == 303
        assert (await it.fetch(server.url(), method="POST", body=b"")).code == 200


# --- what is wrong with a request ---


async def nothing(_: bytes) -> None:
    """A streaming_callback that is a coroutine."""


@pytest.mark.parametrize(
    ("kwargs", "error", "text"),
    [
        ({"method": "BREW"}, KeyError, "unknown method BREW"),
        ({"method": "get"}, KeyError, "unknown method get"),
        ({"method": "A B", "allow_nonstandard_methods": True}, ValueError, "not a method"),
        ({"method": "A\r\nB: c", "allow_nonstandard_methods": True}, ValueError, "not a method"),
        ({"method": "HEAD", "body": b"x", "allow_nonstandard_methods": True}, ValueError, "HEAD"),
        ({"body": b"x"}, ValueError, "Body must be None for method GET"),
        ({"method": "POST"}, ValueError, "Body must not be None for method POST"),
        ({"headers": {"X": "\u20ac"}}, UnicodeEncodeError, "latin-1"),
        ({"ssl_options": {}}, ValueError, "ssl_options is not supported"),
        ({"body_producer": nothing}, ValueError, "body_producer is not supported"),
        ({"streaming_callback": nothing}, TypeError, "coroutine"),
        ({"auth_username": "u", "auth_mode": "ntlm"}, ValueError, "Unsupported auth_mode ntlm"),
        ({"proxy_auth_mode": "ntlm"}, ValueError, "Unsupported proxy_auth_mode ntlm"),
        ({"proxy_host": "a"}, ValueError, "proxy_host and proxy_port need each other"),
        ({"proxy_port": 3128}, ValueError, "proxy_host and proxy_port need each other"),
        ({"prepare_curl_callback": lambda curl: 1 / 0}, ZeroDivisionError, "division"),
        ({"user_agent": "a\r\nb: c"}, ValueError, "Illegal characters"),
        ({"network_interface": "no-such-interface"}, CurlError, "binding|bind"),
        ({"prepare_curl_callback": lambda curl: curl.setopt(pycurl.PROXYTYPE, 99)}, CurlError, "."),
    ],
)
async def test_what_is_not_fit_to_be_sent(kwargs: dict[str, Any], error: type[Exception], text: str) -> None:
    async with serving(OK) as server, client() as it:
        with pytest.raises(error, match=text):
            await it.fetch(server.url(), **kwargs)
        assert not server.heads
        assert not it._running
        assert (await it.fetch(server.url())).body == b"ok"


async def test_fields_that_would_be_two() -> None:
    class Careless(dict[str, str]):
        def get_all(self) -> Any:
            return self.items()

    async with serving(OK) as server, client() as it:
        for value in ("a\r\nX-B: 1", "a\n", "a\0"):
            request = HTTPRequest(server.url())
            request._headers = Careless({"X-A": value})  # type: ignore[assignment]
            with pytest.raises(ValueError, match="Illegal characters in header 'X-A'"):
                await it.fetch(request)


@pytest.mark.parametrize(
    ("url", "errno"),
    [
        ("http://", 3), ("", 3), ("foo://a/", 1), ("file:///etc/passwd", 1), ("http://a b/", 3), ("http://a/\r\n", 3),
        ("http://127.0.0.1:99999/", 3), ("http://[::1/", 3), ("http://127.0.0.1:1/ x", 3),
    ],
)  # fmt: skip
async def test_addresses_that_are_none(url: str, errno: int) -> None:
    async with client() as it:
        with pytest.raises(CurlError) as caught:
            await it.fetch(url)
        assert (caught.value.code, caught.value.errno) == (599, errno)


# --- what goes wrong on the way ---


async def test_an_unknown_host() -> None:
    async with client() as it:
        with pytest.raises(CurlError, match=r"\(resolving the name of http://nowhere.invalid\)") as caught:
            await it.fetch("http://user:secret@nowhere.invalid/")
        assert caught.value.errno == 6
        assert "secret" not in str(caught.value)


async def test_a_refused_connection() -> None:
    [unused] = bind_sockets(0, "127.0.0.1")
    port = unused.getsockname()[1]
    unused.close()
    async with client() as it:
        with pytest.raises(CurlError, match=rf"\(connecting to http://127.0.0.1:{port}\)") as caught:
            await it.fetch(f"http://127.0.0.1:{port}/", raise_error=False)
        assert caught.value.errno == 7


@pytest.mark.parametrize(
    ("text", "errno", "step"),
    [
        (b"", 52, "waiting for the response"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", 18, "reading the response"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", 18, "reading the response"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 56, "reading the response"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 8, "reading the response"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nabcd", 8, "reading the response"),
        (b"HTTP/1.1 200 OK\r\nX y: 1\r\nContent-Length: 0\r\n\r\n", 8, r"malformed.*\(reading the"),
        (b"SSH-2.0-OpenSSH_9\r\n", 1, "HTTP/0.9"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd", 61, "reading"),
    ],
)
async def test_broken_responses(text: bytes, errno: int, step: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(text)
        await writer.drain()
        raise ConnectionResetError

    async with serving(answer) as server, client() as it:
        with pytest.raises(CurlError, match=step) as caught:
            await it.fetch(server.url())
        assert caught.value.errno == errno
        with pytest.raises(CurlError):
            await it.fetch(server.url())
        assert server.connections == 2  # a connection in doubt is not used again


@pytest.mark.parametrize("streaming", [False, True])
async def test_too_much(streaming: bool) -> None:
    import gzip

    packed = gzip.compress(b"a" * 100_000)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n".encode()
    declared = b"HTTP/1.1 200 OK\r\nContent-Length: 50001\r\n\r\n" + b"x" * 50001
    pieces: list[bytes] = []
    for text in (head + packed, declared):
        async with serving(text) as server, client(max_body_size=50_000) as it:
            with pytest.raises(CurlError, match=r"more than 50000 bytes \(reading the") as caught:
                await it.fetch(server.url(), streaming_callback=pieces.append if streaming else None)
            assert caught.value.errno == 63
    assert sum(map(len, pieces)) <= 50_000


async def test_a_length_without_a_body_is_no_body() -> None:
    for status, method in ((200, "HEAD"), (304, "GET")):
        text = f"HTTP/1.1 {status} Fine\r\nContent-Length: 1000\r\n\r\n".encode()
        async with serving(text) as server, client(max_body_size=10) as it:
            response = await it.fetch(server.url(), method=method, raise_error=False)
            assert (response.code, response.body) == (status, b"")


async def test_exactly_as_much_as_is_allowed() -> None:
    text = b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n" + b"x" * 50
    async with serving(text) as server, client(max_body_size=50) as it:
        assert (await it.fetch(server.url())).body == b"x" * 50


@pytest.mark.parametrize("name", ["streaming_callback", "header_callback"])
async def test_a_callback_that_fails(name: str) -> None:
    def fail(_: Any) -> None:
        raise LookupError("no")

    async with serving(OK) as server, client() as it:
        with pytest.raises(LookupError, match="no"):
            await it.fetch(server.url(), **{name: fail})
        assert (await it.fetch(server.url())).body == b"ok"


async def test_a_header_callback_that_fails_at_the_very_end() -> None:
    def fail(_: str) -> None:
        raise LookupError("no")

    text = b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"
    async with serving(text) as server, client() as it:
        with pytest.raises(LookupError, match="no"):
            await it.fetch(server.url(), auth_username="u", auth_mode="digest", header_callback=fail)


async def test_a_streaming_callback_whose_result_would_have_to_be_awaited() -> None:
    async with serving(OK) as server, client() as it:
        for callback in (lambda data: nothing(data), lambda data: asyncio.sleep(0, data)):
            with pytest.raises(TypeError, match="coroutine"):
                await it.fetch(server.url(), streaming_callback=callback)


# --- time ---


async def test_a_request_that_takes_too_long() -> None:
    async with serving(never) as server, client() as it:
        with pytest.raises(CurlTimeoutError, match=r"\(waiting for the response of http://127") as caught:
            await it.fetch(server.url(), request_timeout=0.4)
        assert caught.value.errno == 28
        response = caught.value.response
        assert response is None


async def test_no_time_at_all_is_some_time() -> None:
    async with serving(never) as server, client() as it:
        with pytest.raises(CurlTimeoutError):
            await it.fetch(server.url(), request_timeout=0.0001)


async def test_no_limits_of_time() -> None:
    async with serving(OK) as server, client() as it:
        assert (await it.fetch(server.url(), connect_timeout=0, request_timeout=0)).body == b"ok"


async def test_a_turn_that_never_comes() -> None:
    async with serving(never) as server, client(max_clients=1) as it:
        first = it.fetch(server.url(), request_timeout=0)
        with pytest.raises(HTTPTimeoutError, match="in the queue"):
            await it.fetch(server.url(), request_timeout=0.05)
        with pytest.raises(HTTPTimeoutError, match="in the queue"):
            await it.fetch(server.url(), connect_timeout=0.05)
        forever = it.fetch(server.url(), connect_timeout=0, request_timeout=0)
        assert len(it._waiting) == 1
        forever.cancel()
        first.cancel()
        assert not it._running
        assert not it._waiting


async def test_others_wait_for_their_turn() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal most
        most = max(most, len(it._running))
        writer.write(OK)

    most = 0
    async with serving(answer) as server, client(max_clients=2) as it:
        responses = await asyncio.gather(*[it.fetch(server.url()) for _ in range(20)])
        assert [response.body for response in responses] == [b"ok"] * 20
        assert responses[0].time_info["queue"] < responses[-1].time_info["queue"]
        assert (most, server.connections, len(it._idle)) == (2, 2, 2)


# --- giving up ---


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_cancelled_while_under_way() -> None:
    async with serving(never) as server, client(max_clients=1) as it:
        task = asyncio.ensure_future(it.fetch(server.url()))
        while not server.heads:
            await asyncio.sleep(0)
        task.cancel()
        assert not it._running
        assert not it._watched
        server.answer = Server(never).answer
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_cancelled_while_waiting() -> None:
    async with serving(never) as server, client(max_clients=1) as it:
        first = it.fetch(server.url())
        second = it.fetch(server.url())
        third = it.fetch(server.url())
        second.cancel()
        assert len(it._waiting) == 1
        first.cancel()
        assert not it._waiting
        third.cancel()


async def test_cancelled_in_a_callback() -> None:
    async with serving(OK) as server, client(max_clients=1) as it:
        first = it.fetch(server.url(), streaming_callback=lambda _: first.cancel() and None)
        second = it.fetch(server.url())
        with pytest.raises(asyncio.CancelledError):
            await first
        assert (await second).body == b"ok"


@pytest.mark.parametrize("which", ["streaming_callback", "header_callback"])
async def test_no_callback_after_it_has_given_the_request_up(which: str) -> None:
    body = gzip.compress(bytes(1_000_000))
    text = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    pieces: list[Any] = []

    def callback(piece: Any) -> None:
        pieces.append(piece)
        future.cancel()

    async with serving(text) as server, client() as it:
        future = it.fetch(server.url(), **{which: callback})
        with pytest.raises(asyncio.CancelledError):
            await future
        assert len(pieces) == 1
        assert not it._running


async def test_a_request_from_a_callback() -> None:
    more: list[asyncio.Future[HTTPResponse]] = []
    async with serving(OK) as server, client() as it:
        await it.fetch(server.url(), streaming_callback=lambda _: more.append(it.fetch(server.url("/2"))))
        assert (await more[0]).body == b"ok"


async def test_closed_in_a_callback() -> None:
    async with serving(OK[:-1]) as server, client() as it:
        with pytest.raises(CurlError, match="The client has been closed") as caught:
            await it.fetch(server.url(), header_callback=lambda _: it.close())
        assert caught.value.errno == 42


async def test_closed_in_the_very_last_callback() -> None:
    text = b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"
    async with serving(text) as server, client() as it:
        response = await it.fetch(
            server.url(),
            raise_error=False,
            auth_username="u",
            auth_mode="digest",
            header_callback=lambda _: it.close(),
        )
        assert response.code == 401
        with pytest.raises(RuntimeError, match="closed"):
            it.fetch(server.url())


async def test_cancelled_while_its_handle_is_prepared() -> None:
    async with serving(OK) as server, client(max_clients=1) as it:
        first = it.fetch(server.url())
        second = it.fetch(server.url(), prepare_curl_callback=lambda _: second.cancel() and None)
        third = it.fetch(server.url())
        assert (await first).body == b"ok"
        assert (await third).body == b"ok"
        assert second.cancelled()


async def test_closed_while_a_handle_is_prepared() -> None:
    async with serving(OK) as server, client() as it:
        with pytest.raises(Exception, match="closed"):
            await it.fetch(server.url(), prepare_curl_callback=lambda _: it.close())


async def test_closing_ends_what_is_under_way_and_what_waits() -> None:
    async with serving(never) as server, client(max_clients=1) as it:
        futures = [it.fetch(server.url()) for _ in range(3)]
        while not server.heads:
            await asyncio.sleep(0)
        it.close()
        it.close()
        for future in futures:
            with pytest.raises(CurlError, match="The client has been closed"):
                await future
        with pytest.raises(RuntimeError, match="closed"):
            it.fetch(server.url())


async def test_nothing_is_left_open() -> None:
    async with serving(OK) as server:
        before = descriptors()
        for _ in range(3):
            async with client(max_clients=5) as it:
                await asyncio.gather(*[it.fetch(server.url()) for _ in range(20)])
                late = it.fetch(server.url())
            with pytest.raises(CurlError):
                await late
        while descriptors() > before:  # the server's end closes after ours
            await asyncio.sleep(0)


async def test_a_request_leaves_no_cycle() -> None:
    class Body(bytes):
        pass

    async with serving(OK) as server, client() as it:
        body = Body(b"abc")
        gone = weakref.ref(request := HTTPRequest(server.url(), "POST", body=body))
        response = await it.fetch(request)
        also_gone = weakref.ref(response)
        gc.disable()
        try:
            del request, response
            await asyncio.sleep(0)
            assert gone() is None
            assert also_gone() is None
        finally:
            gc.enable()


async def test_a_callback_of_an_engine_that_fails_is_logged(expect_log: Callable[..., Any]) -> None:
    async with serving(OK) as server, client() as it:
        done = asyncio.Event()

        def callback(response: HTTPResponse) -> None:
            done.set()
            raise LookupError("no")

        with expect_log("webfw.application", "Exception in callback"):
            request = HTTPRequest(server.url(), connect_timeout=5, request_timeout=5)
            it.fetch_impl(request, callback)
            await done.wait()


def test_a_loop_that_is_closed_first() -> None:
    made: list[CurlAsyncHTTPClient] = []
    [silent] = bind_sockets(0, "127.0.0.1")

    async def main() -> None:
        made.append(CurlAsyncHTTPClient(force_instance=True))
        made[0].fetch(f"http://127.0.0.1:{silent.getsockname()[1]}/")
        while not made[0]._watched:
            await asyncio.sleep(0)

    asyncio.run(main())
    made[0].close()
    silent.close()


def test_blocking() -> None:
    import threading

    from tests.httpclient import test_curl  # the same server, on a loop in a thread

    ready, over, port = threading.Event(), threading.Event(), []

    async def main() -> None:
        async with test_curl.serving(OK) as server:
            port.append(server.port)
            ready.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    ready.wait()
    try:
        with HTTPClient(CurlAsyncHTTPClient) as it:
            for _ in range(2):
                assert it.fetch(f"http://127.0.0.1:{port[0]}/").body == b"ok"
    finally:
        over.set()
        thread.join()


# --- TLS ---


@asynccontextmanager
async def tls(tmp_path: Path, client_certs: bool = False) -> AsyncIterator[tuple[str, str, trustme.CA]]:
    """A server with a certificate for localhost: its port, and the file of its authority."""
    import ssl

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    if client_certs:
        context.verify_mode = ssl.CERT_REQUIRED
        authority.configure_trust(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))

    def app(request: HTTPServerRequest) -> None:
        from webfw.httputil import HTTPHeaders, ResponseStartLine

        assert request.connection
        start = ResponseStartLine("HTTP/1.1", 200, "OK")
        request.connection.write_headers(start, HTTPHeaders({"Content-Length": "2"}), b"ok")
        request.connection.finish()

    server = HTTPServer(app, ssl_options=context)
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    try:
        yield str(sockets[0].getsockname()[1]), str(tmp_path / "ca.pem"), authority
    finally:
        await server.drain(timeout=5)


async def test_certificates_are_checked(tmp_path: Path) -> None:
    async with tls(tmp_path) as (port, authority, _), client() as it:
        response = await it.fetch(f"https://localhost:{port}/", ca_certs=authority)
        assert response.body == b"ok"
        assert response.time_info["appconnect"] > 0
        with pytest.raises(
            CurlError, match=r"certificate.*\(in the TLS handshake with https://localhost"
        ) as caught:
            await it.fetch(f"https://localhost:{port}/")
        assert caught.value.errno == 60
        with pytest.raises(CurlError, match=r"\(in the TLS handshake with https://127.0.0.1"):
            await it.fetch(
                f"https://127.0.0.1:{port}/", ca_certs=authority
            )  # not the name in the certificate
        for host in ("localhost", "127.0.0.1"):
            assert (await it.fetch(f"https://{host}:{port}/", validate_cert=False)).body == b"ok"


async def test_a_certificate_of_the_client(tmp_path: Path) -> None:
    async with tls(tmp_path, client_certs=True) as (port, authority, issuer), client() as it:
        mine = issuer.issue_cert("client")
        mine.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
        mine.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
        files = {"client_key": str(tmp_path / "key.pem"), "client_cert": str(tmp_path / "cert.pem")}
        assert (await it.fetch(f"https://localhost:{port}/", ca_certs=authority, **files)).body == b"ok"
        with pytest.raises(CurlError):
            await it.fetch(f"https://localhost:{port}/", ca_certs=authority)


async def test_authorities_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with tls(tmp_path) as (port, authority, _), client() as it:
        for variables in (
            {"SSL_CERT_FILE": authority},
            {"SSL_CERT_FILE": authority, "SSL_CERT_DIR": str(tmp_path)},
        ):
            room._usual_authorities.cache_clear()
            for name, value in variables.items():
                monkeypatch.setenv(name, value)
            assert (await it.fetch(f"https://localhost:{port}/")).body == b"ok"
    room._usual_authorities.cache_clear()


def test_authorities_of_a_system_without_any(monkeypatch: pytest.MonkeyPatch) -> None:
    import ssl

    paths = ssl.get_default_verify_paths()._replace(cafile=None, capath=None)
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
    room._usual_authorities.cache_clear()
    try:
        [(option, value)] = room._usual_authorities().items()
    finally:
        room._usual_authorities.cache_clear()
    assert option == pycurl.CAINFO_BLOB
    assert isinstance(value, bytes)
    assert value.startswith(b"-----BEGIN CERTIFICATE-----")


# --- what is logged ---


async def test_debugging_shows_heads_and_no_secrets(expect_log: Callable[..., Any]) -> None:
    text = b"HTTP/1.1 200 OK\r\nSet-Cookie: secret\r\nContent-Length: 6\r\n\r\nsecret"
    async with serving(text) as server, client() as it:
        with expect_log("webfw.curl_httpclient", "", level=logging.DEBUG) as records:
            headers = {"Cookie": "secret", "X-A": "shown"}
            await it.fetch(server.url(), auth_username="u", auth_password="secret", headers=headers)
        said = "\n".join(record.getMessage() for record in records)
        assert "< HTTP/1.1 200 OK" in said
        assert "> GET / HTTP/1.1" in said
        assert "> X-A: shown" in said
        assert "> Authorization: ..." in said
        assert "secret" not in said
    assert not curl_log.isEnabledFor(logging.DEBUG)


async def test_debugging_shows_no_password_of_an_address(expect_log: Callable[..., Any]) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(
            OK if len(server.heads) > 1 else b"HTTP/1.1 302 Go\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n"
        )

    async with serving(answer) as server, client() as it:
        with expect_log("webfw.curl_httpclient", "", level=logging.DEBUG) as records:
            await it.fetch(server.url().replace("//", "//u:secret@"))
        said = "\n".join(record.getMessage() for record in records)
        assert f"http://***@127.0.0.1:{server.port}/b" in said
        assert "secret" not in said
