"""Both engines against nginx, Python's own server of HTTP/1.0 and webfw's: the same requests, the same assertions.

Where the engines differ, and why:

* What is not a response of the server has libcurl's errors there (`CurlError`) and those of the system here (`OSError`,
  `ssl.SSLError`), as with Tornado.
* Too many redirects are a `CurlError` there, and here the last of them is the response, as with Tornado.
* libcurl speaks HTTP/2 where a server offers it.
"""

import asyncio
import gzip
import hashlib
import http.server
import logging
import random
import shutil
import socket
import ssl
import string
import subprocess
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import trustme

from webfw.httpclient import HTTPClientError, HTTPRequest
from webfw.httpclient.client import AsyncHTTPClient
from webfw.httpclient.curl import CurlAsyncHTTPClient, CurlError
from webfw.httpclient.simple import SimpleAsyncHTTPClient
from webfw.httpserver import HTTPServer
from webfw.netutil import bind_sockets
from webfw.web import Application, RequestHandler

CONFIGURATION = Path(__file__).parent / "nginx" / "nginx.conf"

TEXT = "".join(random.Random(5).choices(string.ascii_letters + "\n", k=200_000))
BIG = random.Random(6).randbytes(20_000_000)


# --- the servers ---


class Upstream(http.server.BaseHTTPRequestHandler):
    """HTTP/1.0, so that a body ends with its connection; what it is sent it answers with length and digest."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        for number in range(100):
            self.wfile.write(b"%d," % number)
            self.wfile.flush()

    def do_PUT(self) -> None:
        length = self.headers["Content-Length"]
        body = self.rfile.read(int(length)) if length else b"".join(self.chunks())
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"{self.command} {len(body)} {hashlib.sha256(body).hexdigest()}".encode())

    do_POST = do_PUT

    def chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def log_message(self, *args: object) -> None:
        pass


class Quiet(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *args: object) -> None:
        pass  # a client that goes is nothing to tell


@dataclass
class Site:
    """nginx in a folder, and what is in front of and behind it."""

    folder: Path
    ports: dict[str, int]

    def url(self, path: str, name: str = "plain") -> str:
        return f"http://127.0.0.1:{self.ports[name]}{path}"

    def secure(self, path: str, name: str = "tls") -> str:
        return f"https://localhost:{self.ports[name]}{path}"

    @property
    def authority(self) -> str:
        return str(self.folder / "ca.pem")

    async def connections(self, name: str, uri: str, count: int) -> Counter[str]:
        """By which connections `count` requests for a path came, as nginx has seen it; it writes that down late."""
        while True:
            lines = [line.split() for line in (self.folder / "access.log").read_text().splitlines()]
            found = [line[1] for line in lines if line[0] == str(self.ports[name]) and line[4] == uri]
            if len(found) >= count:
                assert len(found) == count
                return Counter(found)
            await asyncio.sleep(0.001)


def unused_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("n")
    root = folder / "root"
    root.mkdir()
    (root / "hello.txt").write_text("hello\n")
    (root / "text.txt").write_text(TEXT)
    (root / "big").write_bytes(BIG)
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.private_key_pem.write_to_path(str(folder / "key.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))

    upstream = Quiet(("127.0.0.1", 0), Upstream)
    thread = threading.Thread(target=upstream.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    names = ("plain", "tls", "few", "impatient", "http2")
    ports = dict(zip(names, unused_ports(len(names)), strict=True))
    ports["upstream"] = upstream.server_address[1]
    text = CONFIGURATION.read_text().replace("$ROOT", str(root)).replace("$SOCKET", str(folder / "socket"))
    for name, port in ports.items():
        text = text.replace(f":${name.upper()}", f":{port}")
    (folder / "nginx.conf").write_text(text)
    program = shutil.which("nginx")
    assert program
    process = subprocess.Popen(
        [program, "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"], stderr=subprocess.PIPE
    )
    try:
        wait_for(process, ports["http2"])  # the last one that it binds
        yield Site(folder, ports)
    finally:
        process.terminate()
        process.communicate()
        upstream.shutdown()
        upstream.server_close()
        thread.join()


def wait_for(process: "subprocess.Popen[bytes]", port: int) -> None:
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            assert process.poll() is None, process.stderr and process.stderr.read()
            threading.Event().wait(0.01)
        else:
            return


# --- the clients ---


@asynccontextmanager
async def made(engine: str, **kwargs: Any) -> AsyncIterator[AsyncHTTPClient]:
    kind = CurlAsyncHTTPClient if engine == "curl" else SimpleAsyncHTTPClient
    it = kind(force_instance=True, **kwargs)
    try:
        yield it
    finally:
        it.close()
        await asyncio.sleep(0)


@pytest.fixture(params=["simple", "curl"])
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


needs_nginx = pytest.mark.needs("nginx")


def digest(body: bytes) -> str:
    return f"{len(body)} {hashlib.sha256(body).hexdigest()}"


# --- nginx: connections ---


@needs_nginx
async def test_one_connection_for_one_request_after_the_other(engine: str, site: Site) -> None:
    uri = f"/hello.txt?one-{engine}"
    async with made(engine) as it:
        for _ in range(20):
            assert (await it.fetch(site.url(uri))).body == b"hello\n"
    assert list((await site.connections("plain", uri, 20)).values()) == [20]


@needs_nginx
async def test_one_connection_under_tls(engine: str, site: Site) -> None:
    uri = f"/hello.txt?tls-{engine}"
    async with made(engine, defaults={"ca_certs": site.authority}) as it:
        for _ in range(20):
            assert (await it.fetch(site.secure(uri))).body == b"hello\n"
    assert list((await site.connections("tls", uri, 20)).values()) == [20]


@needs_nginx
async def test_as_many_connections_as_there_may_be_requests(engine: str, site: Site) -> None:
    uri = f"/hello.txt?many-{engine}"
    async with made(engine, max_clients=4) as it:
        responses = await asyncio.gather(*[it.fetch(site.url(uri)) for _ in range(100)])
        assert {response.body for response in responses} == {b"hello\n"}
    assert len(await site.connections("plain", uri, 100)) == 4


@needs_nginx
async def test_connections_that_the_server_ends(engine: str, site: Site) -> None:
    uri = f"/hello.txt?few-{engine}"
    async with made(engine) as it:
        for _ in range(10):
            assert (await it.fetch(site.url(uri, "few"))).body == b"hello\n"
    assert sorted((await site.connections("few", uri, 10)).values()) == [1, 3, 3, 3]


@needs_nginx
@pytest.mark.slow
async def test_connections_that_end_at_any_moment(engine: str, site: Site) -> None:
    uri = f"/hello.txt?impatient-{engine}"
    pauses = random.Random(7)
    async with made(engine) as it:
        for _ in range(100):
            assert (await it.fetch(site.url(uri, "impatient"))).body == b"hello\n"
            await asyncio.sleep(pauses.uniform(0.015, 0.030))  # the moment is the subject
    assert len(await site.connections("impatient", uri, 100)) > 1


@needs_nginx
async def test_a_unix_domain_socket(engine: str, site: Site) -> None:
    url = f"http+unix://{quote(str(site.folder / 'socket'), safe='')}/hello.txt"
    async with made(engine) as it:
        response = await it.fetch(url)
        assert (response.body, response.effective_url) == (b"hello\n", url)


@needs_nginx
async def test_http2_where_it_is_spoken(engine: str, site: Site) -> None:
    lines: list[str] = []
    async with made(engine) as it:
        url = site.secure("/hello.txt", "http2")
        response = await it.fetch(url, ca_certs=site.authority, header_callback=lines.append)
        assert (response.body, response.reason) == (b"hello\n", "OK")
        assert lines[0].split()[0] == ("HTTP/2" if engine == "curl" else "HTTP/1.1")
        assert response.headers["Content-Type"] == "text/plain"


@needs_nginx
async def test_no_secrets_of_http2_in_a_log(site: Site, expect_log: Callable[..., Any]) -> None:
    async with made("curl") as it:
        with expect_log("webfw.curl_httpclient", "", level=logging.DEBUG) as records:
            headers = {"Cookie": "secret", "X-A": "shown"}
            url = site.secure("/hello.txt", "http2")
            await it.fetch(
                url, ca_certs=site.authority, headers=headers, auth_username="u", auth_password="p"
            )
        said = "\n".join(record.getMessage() for record in records)
        assert "[x-a: shown]" in said
        assert "[authorization: ..." in said
        assert "secret" not in said
        assert "dTpw" not in said  # u:p in base64


# --- nginx: TLS ---


@needs_nginx
async def test_an_untrusted_chain_and_another_name(engine: str, site: Site) -> None:
    error: type[Exception] = CurlError if engine == "curl" else ssl.SSLError
    async with made(engine) as it:
        with pytest.raises(error, match="(?s)certificate.*localhost"):
            await it.fetch(site.secure("/hello.txt"))
        url = site.secure("/hello.txt").replace("localhost", "127.0.0.1")
        with pytest.raises(error, match=r"127\.0\.0\.1"):
            await it.fetch(url, ca_certs=site.authority)
        # A connection that nobody has checked is not for who wants it checked.
        assert (await it.fetch(url, validate_cert=False)).body == b"hello\n"
        with pytest.raises(error):
            await it.fetch(url, ca_certs=site.authority)


# --- nginx: messages ---


@needs_nginx
async def test_chunks_of_a_proxied_server(engine: str, site: Site) -> None:
    whole = b"".join(b"%d," % number for number in range(100))
    pieces: list[bytes] = []
    uri = f"/upstream/{engine}"
    async with made(engine) as it:
        response = await it.fetch(site.url(uri))
        assert (response.body, response.headers["Transfer-Encoding"]) == (whole, "chunked")
        response = await it.fetch(site.url(uri), streaming_callback=pieces.append)
        assert (response.body, b"".join(pieces)) == (b"", whole)
    assert list((await site.connections("plain", uri, 2)).values()) == [2]


@needs_nginx
async def test_a_compressed_response(engine: str, site: Site) -> None:
    async with made(engine) as it:
        response = await it.fetch(site.url("/zipped/text.txt"))
        assert response.body.decode() == TEXT
        assert "Content-Encoding" not in response.headers
        assert response.headers["X-Consumed-Content-Encoding"] == "gzip"
        headers = {"Accept-Encoding": "gzip"}
        response = await it.fetch(site.url("/zipped/text.txt"), decompress_response=False, headers=headers)
        assert gzip.decompress(response.body).decode() == TEXT
        assert response.headers["Content-Encoding"] == "gzip"
        response = await it.fetch(site.url("/zipped/text.txt"), decompress_response=False)
        assert response.body.decode() == TEXT


@needs_nginx
async def test_a_compressed_response_in_pieces(engine: str, site: Site) -> None:
    pieces: list[bytes] = []
    async with made(engine) as it:
        await it.fetch(site.url("/zipped/text.txt"), streaming_callback=pieces.append)
        assert b"".join(pieces).decode() == TEXT


@needs_nginx
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_big_bodies(engine: str, site: Site, scheme: str) -> None:
    url = site.url if scheme == "http" else site.secure
    async with made(engine, defaults={"ca_certs": site.authority}) as it:
        assert (await it.fetch(url("/big"))).body == BIG
        response = await it.fetch(url("/upstream/"), method="PUT", body=BIG)
        assert response.body.decode() == f"PUT {digest(BIG)}"
        response = await it.fetch(url("/upstream/"), method="POST", body=BIG, expect_100_continue=True)
        assert response.body.decode() == f"POST {digest(BIG)}"


@needs_nginx
async def test_a_body_that_is_not_wanted(engine: str, site: Site) -> None:
    uri = f"/small?{engine}"
    async with made(engine) as it:
        request = HTTPRequest(site.url(uri), "PUT", body=b"x" * 100_000, expect_100_continue=True)
        with pytest.raises(HTTPClientError) as caught:
            await it.fetch(request)
        assert caught.value.code == 413
        response = await it.fetch(site.url(uri), method="PUT", body=b"abc", expect_100_continue=True)
        assert response.body.decode() == f"PUT {digest(b'abc')}"


@needs_nginx
async def test_ranges(engine: str, site: Site) -> None:
    async with made(engine) as it:
        response = await it.fetch(site.url("/big"), headers={"Range": "bytes=100-199"})
        assert (response.code, response.body) == (206, BIG[100:200])
        assert response.headers["Content-Range"] == f"bytes 100-199/{len(BIG)}"
        with pytest.raises(HTTPClientError) as caught:
            await it.fetch(site.url("/big"), headers={"Range": f"bytes={len(BIG)}-"})
        assert caught.value.code == 416


@needs_nginx
async def test_responses_without_a_body(engine: str, site: Site) -> None:
    async with made(engine) as it:
        response = await it.fetch(site.url("/nothing"))
        assert (response.code, response.body) == (204, b"")
        response = await it.fetch(site.url("/big"), method="HEAD")
        assert (response.headers["Content-Length"], response.body) == (str(len(BIG)), b"")
        tag = response.headers["ETag"]
        response = await it.fetch(site.url("/big"), headers={"If-None-Match": tag}, raise_error=False)
        assert (response.code, response.body) == (304, b"")
        when = (site.folder / "root" / "big").stat().st_mtime
        with pytest.raises(HTTPClientError, match="HTTP 304: Not Modified"):
            await it.fetch(site.url("/big"), if_modified_since=when)


@needs_nginx
async def test_responses_that_are_errors(engine: str, site: Site) -> None:
    async with made(engine) as it:
        with pytest.raises(HTTPClientError, match="HTTP 403: Forbidden") as caught:
            await it.fetch(site.url("/refused"))
        assert caught.value.response is not None
        assert caught.value.response.body == b"no\n"
        assert (await it.fetch(site.url("/missing"), raise_error=False)).code == 404


@needs_nginx
async def test_redirects(engine: str, site: Site) -> None:
    lines: list[str] = []
    async with made(engine) as it:
        for path in ("/moved", "/two", "/see"):
            lines.clear()
            response = await it.fetch(site.url(path), header_callback=lines.append)
            assert (response.body, response.effective_url) == (b"hello\n", site.url("/hello.txt"))
            assert lines[0] == "HTTP/1.1 200 OK\r\n"
            assert lines.count("\r\n") == 1
        response = await it.fetch(site.url("/see"), method="POST", body=b"x")
        assert response.body == b"hello\n"
        for method in ("POST", "PUT"):
            response = await it.fetch(site.url("/again"), method=method, body=b"body")
            assert response.body.decode() == f"{method} {digest(b'body')}"
        with pytest.raises(HTTPClientError, match="HTTP 301: Moved Permanently"):
            await it.fetch(site.url("/moved"), follow_redirects=False)


@needs_nginx
async def test_redirects_without_end(engine: str, site: Site) -> None:
    uri = f"/round?{engine}"
    async with made(engine) as it:
        with pytest.raises(HTTPClientError) as caught:
            await it.fetch(site.url(uri), max_redirects=3)
        assert caught.value.code == (599 if engine == "curl" else 302)
    assert list((await site.connections("plain", uri, 4)).values()) == [4]


# --- HTTP/1.0 ---


@needs_nginx
async def test_a_server_of_http_1_0(engine: str, site: Site) -> None:
    async with made(engine) as it:
        for _ in range(3):
            response = await it.fetch(site.url("/", "upstream"))
            assert response.body.startswith(b"0,1,2")
            assert response.body.endswith(b"98,99,")
        response = await it.fetch(site.url("/", "upstream"), method="PUT", body=BIG[:100_000])
        assert response.body.decode() == f"PUT {digest(BIG[:100_000])}"


# --- webfw ---


class Echo(RequestHandler):
    def get(self) -> None:
        # The client's port tells connections apart.
        self.write({"port": self.request.connection.context.address[1]})

    def put(self) -> None:
        self.write(digest(self.request.body))

    async def post(self) -> None:
        for piece in (b"a", b"b", b"c" * 100_000):
            self.write(piece)
            await self.flush()


class Zipped(RequestHandler):
    def get(self) -> None:
        self.set_header("Content-Type", "text/plain")
        self.write(TEXT)


class Moved(RequestHandler):
    def get(self) -> None:
        self.redirect("/echo")


class Nothing(RequestHandler):
    def get(self) -> None:
        self.set_status(204)


@asynccontextmanager
async def own() -> AsyncIterator[Callable[[str], str]]:
    handlers = [("/echo", Echo), ("/zipped", Zipped), ("/moved", Moved), ("/nothing", Nothing)]
    server = HTTPServer(Application(handlers, compress_response=True))
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    try:
        yield f"http://127.0.0.1:{sockets[0].getsockname()[1]}".__add__
    finally:
        await server.drain(timeout=5)


async def test_webfw_keeps_connections(engine: str) -> None:
    async with own() as url, made(engine) as it:
        ports = {(await it.fetch(url("/echo"))).body for _ in range(20)}
        assert len(ports) == 1
        responses = await asyncio.gather(*[it.fetch(url("/echo")) for _ in range(50)])
        assert len({response.body for response in responses}) == 10


async def test_webfw_all_sorts(engine: str) -> None:
    async with own() as url, made(engine) as it:
        body = BIG[:3_000_000]
        for expect in (False, True):
            response = await it.fetch(url("/echo"), method="PUT", body=body, expect_100_continue=expect)
            assert response.body.decode() == digest(body)
        response = await it.fetch(url("/echo"), method="POST", body=b"")
        assert (response.body, response.headers["Transfer-Encoding"]) == (b"ab" + b"c" * 100_000, "chunked")
        response = await it.fetch(url("/zipped"))
        assert (response.body.decode(), response.headers["X-Consumed-Content-Encoding"]) == (TEXT, "gzip")
        response = await it.fetch(url("/moved"))
        assert response.effective_url == url("/echo")
        assert (await it.fetch(url("/nothing"))).code == 204
        tag = (await it.fetch(url("/zipped"), method="GET")).headers["ETag"]
        response = await it.fetch(url("/zipped"), headers={"If-None-Match": tag}, raise_error=False)
        assert (response.code, response.body) == (304, b"")
