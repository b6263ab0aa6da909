"""Tests of webfw.httpclient.fetching: one request against a server that says what it is told."""

import asyncio
import contextvars
import gc
import gzip
import math
import os
import random
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.httpclient.conftest import Call, serving, using
from webfw.httpclient import HTTPClientError, HTTPRequest, HTTPStreamClosedError, HTTPTimeoutError, fetching
from webfw.netutil import Resolver

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")


def saying(data: bytes, *, then: str = "close") -> Callable[[Call], Any]:
    """What a server does that answers each request with ``data``, and then closes, or waits."""

    async def talk(call: Call) -> None:
        while True:
            await call.request()
            call.send(data)
            await call.writer.drain()
            if then == "close":
                return

    return talk


# --- responses ---


async def test_a_response() -> None:
    async with serving() as server, using() as client:
        before = time.time()
        response = await client.fetch(f"{server.url}/path")
        assert (response.code, response.reason, response.body) == (200, "OK", b"/path")
        assert response.headers["Content-Length"] == "5"
        assert response.effective_url == f"{server.url}/path"
        assert response.request.url == f"{server.url}/path"
        assert response.buffer is not None
        assert response.buffer.read() == b"/path"
        assert response.error is None
        assert 0 <= response.request_time < 5  # uvloop counts whole milliseconds
        assert before <= response.start_time <= time.time()
        first = response.time_info
        assert 0 <= first["namelookup"] <= first["connect"] <= first["starttransfer"] <= first["total"]
        second = (await client.fetch(f"{server.url}/path")).time_info
        assert set(second) == {"queue", "starttransfer", "total"}
        assert len(server.calls) == 1


async def test_what_is_sent() -> None:
    async with serving() as server, using() as client:
        await client.fetch(
            f"{server.url}/a?b#c", user_agent="d", decompress_response=False, headers={"E": "f"}
        )
        assert server.heads == [
            f"GET /a?b HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nUser-Agent: d\r\nE: f\r\n\r\n"
        ]
        await client.fetch(server.url, method="POST", body="x" * 100000)
        assert server.bodies[1] == b"x" * 100000
        await client.fetch(server.url, method="HEAD")
        assert server.heads[2].startswith("HEAD / ")
        assert client.pool.idle == len(server.calls) - 1  # the server has sent a body, which was not due


def packed(data: bytes) -> bytes:
    """In gzip, without the time, so that tests that are named after it have the same names in every run."""
    return gzip.compress(data, mtime=0)


@pytest.mark.parametrize(
    ("data", "code", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200, b"ok"),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", 200, b"until the end"),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", 200, b"until the end"),
        (b"HTTP/1.1 204 Nothing\r\n\r\n", 204, b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, b""),
        (b"HTTP/1.1 103 E\r\nA: b\r\n\r\nHTTP/1.1 404 N\r\nContent-Length: 2\r\n\r\nno", 404, b"no"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + packed(b"hello"), 200, b"hello"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: other\r\n\r\nhello", 200, b"hello"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", None, b""),
    ],
)  # fmt: skip
async def test_responses(data: bytes, code: int | None, body: bytes) -> None:
    async with serving(saying(data)) as server, using() as client:
        if code is None:
            with pytest.raises(HTTPStreamClosedError):
                await client.fetch(server.url)
            return
        response = await client.fetch(server.url, raise_error=False)
        assert (response.code, response.body) == (code, body)


async def test_decompression_shows_in_the_fields() -> None:
    data = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 22\r\n\r\n" + gzip.compress(b"ok")
    async with serving(saying(data)) as server, using() as client:
        response = await client.fetch(server.url)
        assert response.body == b"ok"
        assert response.headers["X-Consumed-Content-Encoding"] == "gzip"
        assert "Content-Encoding" not in response.headers
        response = await client.fetch(server.url, decompress_response=False)
        assert response.body == gzip.compress(b"ok")
        assert response.headers["Content-Encoding"] == "gzip"
        response = await client.fetch(server.url, method="HEAD")
        assert response.headers["Content-Encoding"] == "gzip"


# --- responses that are none ---


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "Connection closed by HOST while waiting for the response"),
        (b"HTTP/1.1 200 OK\r\nCont", "Connection closed by HOST in the head of the response"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", "Connection closed by HOST in the body of the response"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "in the body of the response"),
        (b"hello, world\r\n\r\n", "no valid response from HOST: "),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "Connection closed by HOST in the head|no valid response from HOST"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "no valid response .*Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n", "from HOST: Content-Length 101 is over 100"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 101, "no valid response from HOST: body is too large"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n", "body over 100 bytes"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + packed(b"x" * 101), "unpacks to over 100"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + packed(b"x")[:-1], "gzip body is cut short"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nhello", "malformed gzip body"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"x" * 300, "no valid response from HOST: .*200 bytes"),
        (b"HTTP/1.1 102 P\r\n\r\n" * 11, "more than 10 interim"),
    ],
)  # fmt: skip
async def test_what_is_no_response(data: bytes, why: str) -> None:
    async with serving(saying(data)) as server, using(max_body_size=100, max_header_size=200) as client:
        why = why.replace("HOST", f"127.0.0.1:{server.port}")
        for method in ("GET", "POST"):
            with pytest.raises(HTTPStreamClosedError, match=why) as caught:
                await client.fetch(
                    server.url, method=method, body=None if method == "GET" else "x", raise_error=False
                )
            assert caught.value.code == 599
        assert client.pool.idle == 0
        assert not client.active
        assert len(server.calls) == 2


async def test_a_reset() -> None:
    async def talk(call: Call) -> None:
        await call.request()
        sock = call.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    async with serving(talk) as server, using() as client:
        with pytest.raises(HTTPStreamClosedError, match="while waiting for the response: .*reset") as caught:
            await client.fetch(server.url)
        assert isinstance(caught.value.real_error, ConnectionResetError)


# --- what is wrong before anything is sent ---


@pytest.mark.parametrize(
    ("kwargs", "error", "why"),
    [
        ({"url": "nowhere"}, ValueError, "not '' as in 'nowhere'"),
        ({"url": "http://a.test:b/"}, ValueError, "malformed URL"),
        ({"url": "http://a.test/", "method": "POST"}, ValueError, "Body must not be None for method POST"),
        ({"url": "http://a.test/", "method": "X"}, KeyError, "unknown method X"),
        ({"url": "http://a.test/", "user_agent": "a\r\nb: c"}, ValueError, "field 'User-Agent'"),
        ({"url": "http://a.test/", "proxy_host": "p"}, NotImplementedError, "proxy_host not supported"),
        ({"url": "http://a.test/", "network_interface": "eth0"}, ValueError, "Unrecognized IPv4 or IPv6"),
        ({"url": "https://a.test/", "ssl_options": {"x": "y"}}, ValueError, "unknown ssl_options: x"),
        ({"url": "https://a.test/", "ca_certs": "/nowhere"}, OSError, "No such file"),
        ({"url": None}, TypeError, "NoneType"),
        ({"url": b"http://a.test/"}, TypeError, "bytes-like"),
        ({"url": "http://a.test/", "connect_timeout": "1"}, TypeError, "'str'"),
        ({"url": "https://a.test/", "ssl_options": {"ca_certs": ["a"]}}, TypeError, "unhashable"),
    ],
)
async def test_requests_that_cannot_be_sent(kwargs: dict[str, Any], error: type[Exception], why: str) -> None:
    kwargs = dict(kwargs)
    async with using() as client:
        future = client.fetch(kwargs.pop("url"), **kwargs)
        with pytest.raises(error, match=why):
            await future
        assert not client.active
        assert len(client.sweeper) == 0


# --- connecting ---


async def test_a_refused_connection() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        async with using() as client:
            with pytest.raises(ConnectionRefusedError, match=rf"\(connecting, 127\.0\.0\.1:{port}\)"):
                await client.fetch(f"http://127.0.0.1:{port}/", raise_error=False)


class Nowhere(Resolver):
    def initialize(self, error: Exception | None = None) -> None:
        self.error = error

    async def resolve(self, host: str, port: int, family: Any = 0) -> list[tuple[int, Any]]:
        if self.error is None:
            await asyncio.Event().wait()
        assert self.error is not None
        raise self.error


async def test_an_unknown_host() -> None:
    error = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    async with using(resolver=Nowhere(error=error)) as client:
        with pytest.raises(socket.gaierror, match=r"not known \(looking up the name, nowhere\.test:80\)"):
            await client.fetch("http://nowhere.test/")


async def test_a_resolver_that_fails() -> None:
    async with using(resolver=Nowhere(error=KeyError("x"))) as client:
        with pytest.raises(KeyError) as caught:
            await client.fetch("http://nowhere.test/")
        assert caught.value.__notes__ == ["looking up the name, nowhere.test:80"]


async def test_tls(server_context: ssl.SSLContext, ca_certs: str) -> None:
    async with serving(context=server_context) as server, using() as client:
        response = await client.fetch(f"{server.url}/x", ca_certs=ca_certs)
        assert response.body == b"/x"
        assert (
            response.time_info["connect"] <= response.time_info["appconnect"] <= response.time_info["total"]
        )
        await client.fetch(server.url, ca_certs=ca_certs)
        assert len(server.calls) == 1
        await client.fetch(server.url, validate_cert=False)
        await client.fetch(server.url, ssl_options={"ca_certs": ca_certs})
        context = ssl.create_default_context(cafile=ca_certs)
        await client.fetch(server.url, ssl_options=context)
        await client.fetch(server.url, ssl_options=context)
        assert len(server.calls) == 4


async def test_an_untrusted_chain(server_context: ssl.SSLContext, ca_certs: str) -> None:
    async with serving(context=server_context) as server, using() as client:
        with pytest.raises(ssl.SSLCertVerificationError, match=r"TLS handshake, localhost:\d+"):
            await client.fetch(server.url)
        with pytest.raises(
            ssl.SSLCertVerificationError, match=r"IP address mismatch.*TLS handshake, 127\.0\.0\.1"
        ):
            await client.fetch(server.url.replace("localhost", "127.0.0.1"), ca_certs=ca_certs)
        assert client.pool.idle == 0


async def test_a_client_certificate(authority: Any, ca_certs: str, tmp_path: Any) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=ca_certs)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.issue_cert("localhost").configure_cert(context)
    mine = authority.issue_cert("me@example.com")
    mine.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    mine.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    names = []

    async def talk(call: Call) -> None:
        names.append(call.writer.get_extra_info("peercert")["subjectAltName"])
        await call.request()
        call.answer()
        await call.request()

    async with serving(talk, context=context) as server, using() as client:
        cert, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
        await client.fetch(server.url, ca_certs=ca_certs, client_cert=cert, client_key=key)
        assert names == [(("email", "me@example.com"),)]
        with pytest.raises(OSError, match=r"(?i)certificate required|closed|reset"):
            await client.fetch(server.url, ca_certs=ca_certs)


async def test_plain_http_on_a_port_of_tls(ca_certs: str) -> None:
    async def talk(call: Call) -> None:
        await call.reader.read(10)
        call.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with serving(talk) as server, using() as client:
        with pytest.raises(ssl.SSLError, match="TLS handshake"):
            await client.fetch(server.url.replace("http:", "https:"), ca_certs=ca_certs)


async def test_a_unix_socket(tmp_path: Any) -> None:
    path = str(tmp_path / "A.sock")
    async with serving(path=path) as server, using() as client:
        url = "http+unix://" + path.replace("/", "%2F")
        assert (await client.fetch(f"{url}/x")).body == b"/x"
        assert (await client.fetch(f"{url}/y")).body == b"/y"
        assert len(server.calls) == 1
        assert "Host: localhost\r\n" in server.heads[0]
        with pytest.raises(FileNotFoundError, match=r"connecting, .*/B\.sock"):
            await client.fetch(url.replace("A.sock", "B.sock"))


async def test_a_resolver_that_knows_a_unix_socket(tmp_path: Any) -> None:
    path = str(tmp_path / "a.sock")

    class Local(Resolver):
        async def resolve(self, host: str, port: int, family: Any = 0) -> list[tuple[int, Any]]:
            return [(socket.AF_UNIX, path)]

    async with using(resolver=Local()) as client:
        with pytest.raises(FileNotFoundError):
            await client.fetch("http://backend/")
        async with serving(path=path) as server:
            assert (await client.fetch("http://backend/x")).body == b"/x"
            assert "Host: backend\r\n" in server.heads[0]


async def test_from_an_address() -> None:
    async with serving() as server, using() as client:
        await client.fetch(server.url, network_interface="127.0.0.2")
        assert server.calls[0].writer.get_extra_info("peername")[0] == "127.0.0.2"
        await client.fetch(server.url, allow_ipv6=False)
        assert len(server.calls) == 2


# --- the same connection again ---


async def test_not_when_its_framing_is_in_doubt() -> None:
    answers = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ]
    for answer in answers:
        async with serving(saying(answer, then="wait")) as server, using() as client:
            for number in (1, 2):
                assert (await client.fetch(server.url)).body == b"ok"
                assert client.pool.idle == 0
                assert len(server.calls) == number


async def test_not_when_the_program_says_close() -> None:
    async with serving() as server, using() as client:
        for _ in range(2):
            await client.fetch(server.url, headers={"connection": "Close"})
        assert len(server.calls) == 2
        assert client.pool.idle == 0


async def test_a_server_that_speaks_out_of_turn() -> None:
    async def talk(call: Call) -> None:
        await call.request()
        call.answer()
        await call.writer.drain()
        call.send(b"HTTP/1.1 408 Timeout\r\nContent-Length: 0\r\n\r\n")
        await call.reader.read()

    async with serving(talk) as server, using() as client:
        await client.fetch(server.url)
        while client.pool.idle:
            await asyncio.sleep(0)
        await client.fetch(server.url)
        assert len(server.calls) == 2


def closing_after(requests: int, *, later: bytes = b"") -> Callable[[Call], Any]:
    """A server that closes the first connection when the request after so many comes, and before any answer."""

    async def talk(call: Call) -> None:
        for _ in range(requests if call.number == 0 else 1000):
            await call.request()
            call.answer(str(call.number).encode())
        await call.request()
        call.send(later)

    return talk


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
async def test_an_idempotent_request_is_sent_again(method: str) -> None:
    async def talk(call: Call) -> None:
        await call.request()
        call.send(b"HTTP/1.1 204 No\r\n\r\n")
        await call.request()
        if call.number:
            call.send(b"HTTP/1.1 204 No\r\n\r\n")

    async with serving(talk) as server, using() as client:
        await client.fetch(server.url)
        await client.fetch(server.url, method=method, body="x" if method == "PUT" else None)
        assert len(server.calls) == 2
        assert client.pool.idle == 1


async def test_others_are_not() -> None:
    async with serving(closing_after(2)) as server, using() as client:
        await client.fetch(server.url)
        await client.fetch(server.url)
        with pytest.raises(HTTPStreamClosedError, match="while waiting for the response"):
            await client.fetch(server.url, method="POST", body="x")
        assert len(server.calls) == 1


async def test_nor_is_one_whose_answer_has_begun() -> None:
    async with serving(closing_after(1, later=b"H")) as server, using() as client:
        await client.fetch(server.url)
        with pytest.raises(HTTPStreamClosedError, match="in the head of the response"):
            await client.fetch(server.url)
        assert len(server.calls) == 1


async def test_nor_a_second_time() -> None:
    async def talk(call: Call) -> None:
        await call.request()
        if call.number == 0:
            call.answer()
            await call.request()

    async with serving(talk) as server, using() as client:
        await client.fetch(server.url)
        with pytest.raises(HTTPStreamClosedError):
            await client.fetch(server.url)
        assert len(server.calls) == 2


async def test_nor_is_a_body_that_is_consumed() -> None:
    async def produce(write: Any) -> None:
        await write(b"x")

    async with serving(closing_after(2)) as server, using() as client:
        await client.fetch(server.url)
        await client.fetch(server.url)
        with pytest.raises(HTTPStreamClosedError):
            await client.fetch(server.url, method="PUT", body_producer=produce)
        assert len(server.calls) == 1


async def test_they_wait_for_a_connection_that_has_proved_itself() -> None:
    """A server that closes without a word must not be sent what cannot be sent again."""

    async def talk(call: Call) -> None:
        await call.request()
        call.answer()
        await call.writer.drain()

    async with serving(talk) as server, using() as client:
        for _ in range(5):
            await client.fetch(server.url)
            await client.fetch(server.url, method="POST", body="x")
    async with serving() as server, using() as client:
        for _ in range(5):
            await client.fetch(server.url, method="POST", body="x")
        await client.fetch(server.url)
        await client.fetch(server.url)
        before = len(server.calls)
        for _ in range(5):
            await client.fetch(server.url, method="POST", body="x")
        assert len(server.calls) == before


# --- redirects ---


def redirecting(
    status: str = "302 Found", location: str = "/there", body: bytes = b"x"
) -> Callable[[Call], Any]:
    async def talk(call: Call) -> None:
        while True:
            head, sent = await call.request()
            method, path, _ = head.split(" ", 2)
            if path == "/there":
                call.answer(f"{method} {sent.decode()}".encode())
            else:
                call.answer(body, status, Location=location)

    return talk


async def test_a_redirect_is_followed() -> None:
    async with serving(redirecting()) as server, using() as client:
        response = await client.fetch(f"{server.url}/here")
        assert (response.code, response.body) == (200, b"GET ")
        assert response.effective_url == f"{server.url}/there"
        assert response.request.url == f"{server.url}/here"
        assert len(server.calls) == 1


async def test_methods_of_redirects() -> None:
    for status, body in (("301 x", b"GET "), ("303 x", b"GET "), ("307 x", b"POST y"), ("308 x", b"POST y")):
        async with serving(redirecting(status)) as server, using() as client:
            response = await client.fetch(f"{server.url}/here", method="POST", body="y")
            assert response.body == body


async def test_a_redirect_is_not_followed() -> None:
    async with serving(redirecting()) as server, using() as client:
        for kwargs in ({"follow_redirects": False}, {"max_redirects": 0}):
            with pytest.raises(HTTPClientError, match="HTTP 302: Found") as caught:
                await client.fetch(f"{server.url}/here", **kwargs)
            assert caught.value.response is not None
            assert caught.value.response.headers["Location"] == "/there"
            assert caught.value.response.body == b"x"
    data = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"
    async with serving(saying(data)) as server, using() as client:
        assert (await client.fetch(server.url, raise_error=False)).code == 302


async def test_a_redirect_loop() -> None:
    async with serving(redirecting(location="/here")) as server, using() as client:
        with pytest.raises(HTTPClientError, match="HTTP 302: Found") as caught:
            await client.fetch(f"{server.url}/here", max_redirects=3)
        assert caught.value.response is not None
        assert caught.value.response.effective_url == f"{server.url}/here"
        assert len(server.calls) == 1


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("ftp://a.test/", "HTTP 302: Found: redirected to 'ftp://a.test/': the scheme"),
        ("http://[::1", "HTTP 302: Found: redirected to"),
        ("http://a%3Ab@a.test/", "HTTP 302: Found: a user name with a colon"),
    ],
)
async def test_a_redirect_that_leads_nowhere(location: str, why: str) -> None:
    async with serving(redirecting(location=location)) as server, using() as client:
        for raise_error in (True, False):
            with pytest.raises(HTTPClientError, match=why) as caught:
                await client.fetch(f"{server.url}/here", raise_error)
            assert caught.value.code == 302
            assert caught.value.response is not None
            assert caught.value.response.headers["Location"] == location
        assert not client.active


async def test_a_redirect_to_another_server() -> None:
    async with (
        serving() as other,
        using() as client,
        serving(redirecting(location=f"{other.url}/there")) as server,
    ):
        secret = {"Authorization": "secret", "Cookie": "secret", "X": "y"}
        response = await client.fetch(f"{server.url}/here", headers=secret, auth_username="secret")
        assert response.body == b"/there"
        assert "X: y" in other.heads[0]
        assert "secret" not in other.heads[0]
        assert "Authorization" not in other.heads[0]
        assert client.pool.idle == 2


async def test_the_body_of_a_redirect_may_be_long() -> None:
    """A connection on which more would come than a new one costs is dropped."""

    async def talk(call: Call) -> None:
        head, _ = await call.request()
        if "/here" not in head:
            call.answer(b"there")
            return
        call.send(b"HTTP/1.1 302 Found\r\nLocation: /there\r\n\r\n")
        while True:
            call.send(b"x" * 10000)
            await call.writer.drain()

    async with serving(talk) as server, using() as client:
        assert (await client.fetch(f"{server.url}/here")).body == b"there"
        assert len(server.calls) == 2


async def test_a_redirect_keeps_its_place() -> None:
    async with serving(redirecting()) as server, using(max_clients=1) as client:
        order: list[str] = []

        async def get(path: str) -> None:
            await client.fetch(f"{server.url}{path}")
            order.append(path)

        await asyncio.gather(get("/here"), get("/there"))
        assert order == ["/here", "/there"]


# --- callbacks ---


async def test_the_lines_of_the_head() -> None:
    data = b"HTTP/1.1 103 Early\r\na: b\r\n\r\nHTTP/1.0 200 Fine\r\nset-cookie: a\r\nset-cookie: b\r\n\r\n"
    lines: list[str] = []
    async with serving(saying(data)) as server, using() as client:
        await client.fetch(server.url, header_callback=lines.append)
    assert lines == [
        *("HTTP/1.1 103 Early\r\n", "A: b\r\n", "\r\n"),
        *("HTTP/1.0 200 Fine\r\n", "Set-Cookie: a\r\n", "Set-Cookie: b\r\n", "\r\n"),
    ]


async def test_callbacks_are_not_called_for_redirects() -> None:
    lines: list[str] = []
    pieces: list[bytes] = []
    async with serving(redirecting()) as server, using() as client:
        await client.fetch(
            f"{server.url}/here", header_callback=lines.append, streaming_callback=pieces.append
        )
    assert lines[0] == "HTTP/1.1 200 OK\r\n"
    assert pieces == [b"GET "]


async def test_streaming() -> None:
    pieces: list[bytes] = []
    data = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b"x" * 200000)
    async with serving(saying(data)) as server, using() as client:
        response = await client.fetch(server.url, streaming_callback=pieces.append)
        assert (response.body, response.buffer) == (b"", None)
        assert b"".join(pieces) == b"x" * 200000
        assert len(pieces) > 1


@pytest.mark.parametrize("which", ["streaming_callback", "header_callback"])
async def test_no_callback_after_it_has_given_the_request_up(which: str) -> None:
    pieces: list[bytes | str] = []
    data = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(bytes(1_000_000))

    def callback(piece: bytes | str) -> None:
        pieces.append(piece)
        future.cancel()

    async with serving(saying(data)) as server, using() as client:
        future = client.fetch(server.url, **{which: callback})
        with pytest.raises(asyncio.CancelledError):
            await future
        assert len(pieces) == 1
        assert not client.active


async def test_a_slow_program_holds_the_server_back() -> None:
    sent = 0

    async def talk(call: Call) -> None:
        nonlocal sent
        await call.request()
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 20000000\r\n\r\n")
        for _ in range(200):
            call.send(b"x" * 100000)
            await call.writer.drain()
            sent += 1
        await call.reader.read()

    go = asyncio.Event()
    received = 0

    async def callback(piece: bytes) -> None:
        nonlocal received
        received += len(piece)
        await go.wait()

    async with serving(talk) as server, using() as client:
        future = client.fetch(server.url, streaming_callback=callback)
        before = -1
        while sent == 0 or sent != before:  # until the server cannot go on
            before = sent
            for _ in range(50):
                await asyncio.sleep(0)
        assert received <= 65536
        assert sent < 150
        go.set()
        await future
        assert received == 20000000


@pytest.mark.parametrize("which", ["header_callback", "streaming_callback", "coroutine", "body_producer"])
async def test_a_callback_that_fails(which: str) -> None:
    def fail(_: Any) -> None:
        raise ZeroDivisionError("mine")

    async def fail_later(_: Any) -> None:
        raise ZeroDivisionError("mine")

    kwargs: dict[str, Any] = {which: fail}
    if which == "coroutine":
        kwargs = {"streaming_callback": fail_later}
    elif which == "body_producer":
        kwargs = {"method": "POST", which: fail_later}
    async with (
        serving(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")) as server,
        using() as client,
    ):
        for raise_error in (True, False):
            with pytest.raises(ZeroDivisionError, match="mine"):
                await client.fetch(server.url, raise_error, **kwargs)
        assert client.pool.idle == 0
        assert not client.active


async def test_callbacks_run_in_the_context_of_the_request() -> None:
    seen: list[str] = []

    def note(_: Any) -> None:
        seen.append(variable.get())

    async def produce(write: Any) -> None:
        note(None)
        await write(b"x")

    async def note_later(_: bytes) -> None:
        note(None)

    async with serving(saying(b"HTTP/1.1 204 OK\r\n\r\n", then="wait")) as server, using() as client:
        variable.set("other")
        await client.fetch(server.url)  # whose context is not that of those after it on its connection
        variable.set("mine")
        await client.fetch(server.url, header_callback=note)
        assert seen == ["mine", "mine"]
    async with serving() as server, using() as client:
        variable.set("other")
        await client.fetch(server.url)
        variable.set("mine")
        seen.clear()
        await client.fetch(server.url, streaming_callback=note)
        await client.fetch(server.url, streaming_callback=note_later)
        await client.fetch(server.url, method="POST", headers={"Content-Length": "1"}, body_producer=produce)
        assert seen == ["mine"] * 3
        assert len(server.calls) == 1


# --- bodies ---


async def test_a_producer_in_chunks() -> None:
    async def talk(call: Call) -> None:
        head = await call.head()
        assert "Transfer-Encoding: chunked" in head
        assert await call.reader.readuntil(b"0\r\n\r\n") == b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
        call.answer()
        await call.head()

    async def produce(write: Any) -> None:
        await write(b"ab")
        await write(b"c")

    async with serving(talk) as server, using() as client:
        await client.fetch(server.url, method="POST", body_producer=produce)
        assert client.pool.idle == 1


async def test_a_slow_server_holds_the_producer_back() -> None:
    go = asyncio.Event()

    async def talk(call: Call) -> None:
        await call.head()
        await go.wait()
        received = b""
        while not received.endswith(b"\r\n0\r\n\r\n"):
            received = received[-10:] + await call.reader.read(65536)
        call.answer()

    written = 0

    async def produce(write: Any) -> None:
        nonlocal written
        for _ in range(300):
            await write(b"x" * 65536)
            written += 1

    async with serving(talk) as server, using() as client:
        future = client.fetch(server.url, method="POST", body_producer=produce)
        before = -1
        while written == 0 or written != before:
            before = written
            for _ in range(50):
                await asyncio.sleep(0)
        assert written < 300
        go.set()
        await future
        assert written == 300


async def test_an_answer_before_the_body_is_out() -> None:
    stopped = asyncio.Event()

    async def produce(write: Any) -> None:
        try:
            await write(b"x")
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async def talk(call: Call) -> None:
        await call.head()
        await call.reader.read(1)
        call.answer(b"no", "413 No")
        await call.reader.read()

    async with serving(talk) as server, using() as client:
        response = await client.fetch(server.url, False, method="POST", body_producer=produce)
        assert (response.code, response.body) == (413, b"no")
        await stopped.wait()
        assert client.pool.idle == 0


@pytest.mark.parametrize("with_producer", [False, True])
async def test_the_body_waits_for_100(with_producer: bool) -> None:
    async def talk(call: Call) -> None:
        assert "Expect: 100-continue\r\n" in await call.head()
        call.send(b"HTTP/1.1 102 Processing\r\n\r\n")
        await call.writer.drain()
        assert not call.reader._buffer  # type: ignore[attr-defined]
        call.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert await call.reader.readexactly(4) == b"body"
        call.answer()
        await call.head()

    async def produce(write: Any) -> None:
        await write(b"body")

    kwargs: dict[str, Any] = {"body": "body"}
    if with_producer:
        kwargs = {"body_producer": produce, "headers": {"Content-Length": "4"}}
    async with serving(talk) as server, using() as client:
        response = await client.fetch(server.url, method="POST", expect_100_continue=True, **kwargs)
        assert response.body == b"ok"
        assert client.pool.idle == 1


async def test_the_body_is_not_wanted() -> None:
    async def talk(call: Call) -> None:
        await call.head()
        call.answer(b"", "417 No")
        assert await call.reader.read() == b""

    async with serving(talk) as server, using() as client:
        response = await client.fetch(server.url, False, method="POST", body="x", expect_100_continue=True)
        assert response.code == 417
        assert client.pool.idle == 0


async def test_the_body_is_not_sent_while_the_answer_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "CONTINUE_TIMEOUT", 0.3)
    read: list[bytes] = []

    async def talk(call: Call) -> None:
        await call.head()
        call.send(b"HTTP/1.1 401 No\r\nContent-Length: 4\r\n\r\nab")
        reading = asyncio.ensure_future(call.reader.read(1))
        await asyncio.wait([reading], timeout=0.6)
        call.send(b"cd")
        read.append(await reading)

    async with serving(talk) as server, using() as client:
        response = await client.fetch(server.url, False, method="POST", body="x", expect_100_continue=True)
        assert (response.code, response.body) == (401, b"abcd")
        assert client.pool.idle == 0
        while not read:
            await asyncio.sleep(0)
    assert read == [b""]


async def test_the_body_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "CONTINUE_TIMEOUT", 0.01)
    async with serving() as server, using() as client:
        await client.fetch(server.url, method="POST", body="body", expect_100_continue=True)
        assert server.bodies == [b"body"]


# --- time ---


async def test_the_time_for_connecting() -> None:
    async with using(resolver=Nowhere()) as client:
        for kwargs in ({"connect_timeout": 0.02}, {"request_timeout": 0.02}):
            with pytest.raises(
                HTTPTimeoutError, match=r"Timeout while connecting to a\.test:80 \(looking up"
            ):
                await client.fetch("http://a.test/", **kwargs)
        assert not client.active


async def test_the_time_for_the_handshake(ca_certs: str) -> None:
    async def talk(call: Call) -> None:
        await call.reader.read()

    async with serving(talk) as server, using() as client:
        with pytest.raises(HTTPTimeoutError, match=r"connecting to 127.*\(TLS handshake\)"):
            await client.fetch(server.url.replace("http:", "https:"), connect_timeout=0.4)


@pytest.mark.parametrize(
    ("data", "phase"),
    [
        (b"", "waiting for the response"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "waiting for the response"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nx", "receiving the body of the response"),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 3\r\n\r\nx", "receiving the body"),
    ],
)
async def test_the_time_for_the_request(data: bytes, phase: str) -> None:
    async with serving(saying(data, then="wait")) as server, using() as client:
        with pytest.raises(
            HTTPTimeoutError, match=f"Timeout during request to 127.0.0.1:{server.port}, while {phase}"
        ):
            await client.fetch(server.url, request_timeout=0.4, connect_timeout=0)
        assert client.pool.idle == 0
        assert not client.active


async def test_the_time_for_sending() -> None:
    async def talk(call: Call) -> None:
        call.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.Event().wait()

    async with serving(talk) as server, using() as client:
        with pytest.raises(HTTPTimeoutError, match="while sending the request"):
            await client.fetch(server.url, method="POST", body=b"x" * 20_000_000, request_timeout=0.4)


async def test_redirects_have_one_time_together() -> None:
    async def talk(call: Call) -> None:
        while True:
            await call.request()
            await asyncio.sleep(0.02)
            call.answer(b"", "302 Found", Location="/")

    async with serving(talk) as server, using() as client:
        with pytest.raises(HTTPTimeoutError):
            await client.fetch(server.url, request_timeout=0.1, max_redirects=1000)


async def test_the_time_in_the_queue() -> None:
    async with serving(saying(b"", then="wait")) as server, using(max_clients=1) as client:
        first = client.fetch(server.url, request_timeout=0)
        with pytest.raises(HTTPTimeoutError, match=f"Timeout in request queue, .* 127.0.0.1:{server.port}"):
            await client.fetch(server.url, request_timeout=0.02)
        assert len(client.active) == 1
        assert not client.queue
        first.cancel()


async def test_no_limit() -> None:
    async with serving() as server, using() as client:
        await client.fetch(server.url, request_timeout=0, connect_timeout=0)
        assert client.sweeper._watched.keys() == {client.pool}


# --- giving up ---


async def test_cancelling_closes_the_connection() -> None:
    async def talk(call: Call) -> None:
        await call.request()
        asked.set()
        assert await call.reader.read() == b""
        closed.set()

    asked, closed = asyncio.Event(), asyncio.Event()
    async with serving(talk) as server, using(max_clients=1) as client:
        future = client.fetch(server.url)
        await asked.wait()
        future.cancel()
        assert not client.active
        await closed.wait()


async def test_cancelling_at_any_moment() -> None:
    async with serving() as server, using(max_clients=2) as client:
        for turns in range(40):
            tasks = [asyncio.ensure_future(client.fetch(server.url)) for _ in range(3)]
            for _ in range(turns // 2):
                await asyncio.sleep(0)
            if turns % 2:
                client.pool.deadline_passed(1e12)  # connect anew
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert not client.active
            assert not client.queue
        assert (await client.fetch(f"{server.url}/x")).body == b"/x"


async def test_cancelling_stops_the_callback() -> None:
    waiting, ended = asyncio.Event(), asyncio.Event()

    async def callback(piece: bytes) -> None:
        waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with serving() as server, using() as client:
        future = client.fetch(server.url, streaming_callback=callback)
        await waiting.wait()
        future.cancel()
        await ended.wait()


async def test_an_engine_of_ones_own_on_top(expect_log: Any) -> None:
    """Programs call fetch_impl themselves, with a callback that may fail."""

    def callback(response: Any) -> None:
        done.set_result(response.body)
        raise KeyError("mine")

    async with serving() as server, using() as client:
        from webfw.httpclient import _RequestProxy

        done: asyncio.Future[bytes] = asyncio.Future()
        proxy: Any = _RequestProxy(HTTPRequest(f"{server.url}/x"), dict(HTTPRequest._DEFAULTS))
        with expect_log("webfw.application", "Exception in the callback of"):
            client.fetch_impl(proxy, callback)
            assert await done == b"/x"
        assert (await client.fetch(f"{server.url}/y")).body == b"/y"
        assert len(server.calls) == 1


async def test_a_request_leaves_no_cycle() -> None:
    async with serving() as server, using() as client:
        await client.fetch(server.url)
        await asyncio.sleep(0)
        gc.collect()
        gc.disable()
        try:
            await client.fetch(server.url)
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            ours = [thing for thing in gc.garbage if type(thing).__module__.startswith("webfw")]
            assert ours == []
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()


FAILURES: dict[str, bytes | None] = {
    "closed": b"",
    "junk": b"junk\r\n\r\n",
    "cut": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
    "coding": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Encoding: gzip\r\n\r\nabc",
    "interim": b"HTTP/1.1 102 Wait\r\n\r\n" * 20,
    "status": b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n",
    "redirects": b"HTTP/1.1 302 Go\r\nContent-Length: 0\r\nLocation: /\r\n\r\n",
    "behind": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    "callback": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    "late": None,
    "refused": None,
    "unfit": None,
}


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="descriptors are counted in /proc")
@pytest.mark.parametrize("cancelled", [False, True])
@pytest.mark.parametrize("kind", FAILURES)
async def test_a_thousand_failures_leave_nothing(kind: str, cancelled: bool) -> None:
    answer = FAILURES[kind]
    turns = random.Random(1)

    async def talk(call: Call) -> None:
        while True:
            await call.request()
            if answer is None:
                await call.reader.read()
            call.send(answer or b"")
            if kind in ("closed", "cut"):
                return

    def fail(data: bytes) -> None:
        raise RuntimeError

    kwargs: dict[str, Any] = {
        "callback": {"streaming_callback": fail},
        "late": {"request_timeout": 0.02},
    }.get(kind, {})

    async def once(url: str) -> None:
        future = client.fetch(url, **kwargs)
        if cancelled:
            for _ in range(turns.randrange(12)):
                await asyncio.sleep(0)
            future.cancel()
        await asyncio.gather(future, return_exceptions=True)

    async with serving(talk) as server, using(max_clients=25) as client:
        url = {"refused": "http://127.0.0.1:1/", "unfit": "http://a.test:b/"}.get(kind, server.url)
        await once(url)
        client.pool.deadline_passed(math.inf)
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            await asyncio.gather(*(once(url) for _ in range(50)))
        assert not client.active
        assert not client.waiting
        client.pool.deadline_passed(math.inf)
        assert client.pool.idle == 0
        assert len(client.sweeper) == 0
        while server.tasks:  # they see their clients' farewell
            await asyncio.sleep(0)
        while len(os.listdir("/proc/self/fd")) > before:
            await asyncio.sleep(0.01)
        gc.collect()
        kept = (fetching.Fetching, fetching.Connection)
        assert not [thing for thing in gc.get_objects() if isinstance(thing, kept)]
