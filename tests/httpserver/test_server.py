"""The server on real sockets: listeners, TLS, proxies, compressed bodies, the ways to sit on it, and its end."""

import asyncio
import contextvars
import gzip
import socket
import ssl
import zlib
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest
import trustme

from webfw.httpserver import HTTPServer, Limits
from webfw.httputil import (
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    HTTPServerRequest,
    ResponseStartLine,
)
from webfw.netutil import bind_sockets, bind_unix_socket


def hello(request: HTTPServerRequest) -> None:
    body = f"{request.protocol} {request.remote_ip} {request.method} {request.uri} ".encode() + request.body
    headers = HTTPHeaders({"Content-Length": str(len(body))})
    request.connection.respond(200, "OK", headers, body)


def start(server: HTTPServer) -> int:
    """Listen on a free port of the loopback."""
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    return int(sockets[0].getsockname()[1])


async def converse(port: int, data: bytes, **kwargs: Any) -> bytes:
    """Send bytes, and read until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, **kwargs)
    writer.write(data)
    try:
        return await reader.read()
    finally:
        writer.close()
        try:
            await writer.wait_closed()
        except OSError:
            pass


def get(path: str = "/", *fields: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: a", "Connection: close", *fields]
    return "\r\n".join([*lines, "", ""]).encode()


async def test_several_listeners(tmp_path: Path) -> None:
    server = HTTPServer(hello)
    ports = [start(server), start(server)]
    path = tmp_path / "socket"
    server.add_socket(bind_unix_socket(str(path)))
    for port in ports:
        assert (await converse(port, get())).endswith(b"http 127.0.0.1 GET / ")
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(get())
    assert (await reader.read()).endswith(b"http 0.0.0.0 GET / ")
    writer.close()
    await server.drain(1)
    assert not server._connections


async def test_listen_and_close_all_connections() -> None:
    server = HTTPServer(hello)
    server.listen(0, "127.0.0.1")
    port = next(iter(server._sockets.values())).getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    await reader.readuntil(b"GET / ")
    server.stop()
    # Together, as a second signal may have it.
    await asyncio.gather(server.close_all_connections(), server.drain(), server.close_all_connections())
    assert await reader.read() == b""
    writer.close()


async def test_close_all_connections_does_not_wait_for_handlers() -> None:
    """As in Tornado, where tests end with it; `drain` is the way that waits."""
    held: list[HTTPServerRequest] = []
    server = HTTPServer(held.append)
    port = start(server)
    talk = asyncio.ensure_future(converse(port, get()))
    while not held:
        await asyncio.sleep(0.001)
    server.stop()
    await server.close_all_connections()
    try:
        assert await talk == b""
    except ConnectionError:
        pass
    hello(held[0])  # to nobody


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def contexts(authority: trustme.CA) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


async def test_tls(authority: trustme.CA) -> None:
    theirs, ours = contexts(authority)
    server = HTTPServer(hello, ssl_options=theirs)
    port = start(server)
    answer = await converse(port, get(), ssl=ours, server_hostname="localhost")
    assert answer.endswith(b"https 127.0.0.1 GET / ")
    await server.drain(1)


async def test_tls_options_may_be_a_dict(authority: trustme.CA, tmp_path: Path) -> None:
    certificate = authority.issue_cert("localhost")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
    _, ours = contexts(authority)
    server = HTTPServer(hello, ssl_options={"certfile": str(tmp_path / "both.pem")})
    port = start(server)
    assert b"https " in await converse(port, get(), ssl=ours, server_hostname="localhost")
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await converse(port, get(), ssl=old, server_hostname="localhost")
    await server.drain(1)


async def test_a_tls_handshake_has_its_time(authority: trustme.CA) -> None:
    theirs, _ = contexts(authority)
    server = HTTPServer(hello, ssl_options=theirs, tls_handshake_timeout=0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", start(server))
    writer.write(b"\x16")
    assert await reader.read() == b""
    writer.close()
    assert HTTPServer(hello).tls_handshake_timeout == 10
    assert HTTPServer(hello, tls_handshake_timeout=0).tls_handshake_timeout >= 86400
    await server.drain(1)


@pytest.mark.parametrize("stops", [False, True])
async def test_a_slow_reader_over_tls(authority: trustme.CA, stops: bool) -> None:
    """The transport passes all it has on to another and calls that done: only TCP knows whether it is taken."""
    theirs, ours = contexts(authority)
    body = bytes(range(256)) * 40_000

    def large(request: HTTPServerRequest) -> None:
        headers = HTTPHeaders({"Content-Length": str(len(body))})
        request.connection.respond(200, "OK", headers, body)

    server = HTTPServer(large, ssl_options=theirs, limits=Limits(write_timeout=0.5, linger_timeout=0.1))
    port = start(server)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(
        sock=sock, ssl=ours, server_hostname="localhost", limit=4096
    )
    writer.write(get())
    await reader.readuntil(b"\r\n\r\n")
    if stops:
        while server._connections:
            await asyncio.sleep(0.01)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await reader.readexactly(len(body))
    else:
        got = b""
        ends = loop.time() + 2.5
        while loop.time() < ends:  # five times the write deadline
            got += await reader.readexactly(20_000)
            await asyncio.sleep(0.02)
        got += await reader.readexactly(len(body) - len(got))
        assert got == body
    writer.transport.abort()
    await server.drain(1)


async def test_plain_http_to_a_tls_port_is_no_traceback(authority: trustme.CA) -> None:
    theirs, _ = contexts(authority)
    server = HTTPServer(hello, ssl_options=theirs)
    port = start(server)
    try:
        answer = await converse(port, get())
    except ConnectionError:
        answer = b""
    assert b"HTTP/1.1 200" not in answer
    await server.drain(1)


async def test_xheaders() -> None:
    server = HTTPServer(hello, xheaders=True, trusted_downstream=["5.5.5.5"])
    port = start(server)

    async def seen(*fields: str) -> bytes:
        return (await converse(port, get("/", *fields))).rpartition(b"\r\n\r\n")[2]

    assert await seen("X-Forwarded-For: 4.4.4.4, 5.5.5.5") == b"http 4.4.4.4 GET / "
    assert await seen("X-Forwarded-For: 3.3.3.3, 4.4.4.4") == b"http 4.4.4.4 GET / "
    assert await seen("X-Real-Ip: 2001:db8::1", "X-Scheme: https") == b"https 2001:db8::1 GET / "
    assert await seen("X-Forwarded-Proto: http, https") == b"https 127.0.0.1 GET / "
    assert await seen("X-Forwarded-For: junk", "X-Scheme: gopher") == b"http 127.0.0.1 GET / "
    assert await seen() == b"http 127.0.0.1 GET / "
    await server.drain(1)


async def test_the_peer_stays_known_behind_a_proxy() -> None:
    seen: list[Any] = []

    def callback(request: HTTPServerRequest) -> None:
        context = request.connection.context
        seen.append((str(context), context._orig_remote_ip, context.protocol, context._orig_protocol))
        hello(request)

    server = HTTPServer(callback, xheaders=True, protocol="https")
    port = start(server)
    await converse(port, get("/", "X-Real-Ip: 4.4.4.4", "X-Scheme: http"))
    assert seen == [("4.4.4.4", "127.0.0.1", "http", "https")]
    await server.drain(1)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "x-gzip"])
async def test_compressed_requests(coding: str) -> None:
    server = HTTPServer(hello, decompress_request=True)
    port = start(server)
    text = b"hello " * 5000
    body = zlib.compress(text) if coding == "deflate" else gzip.compress(text)
    head = f"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Encoding: {coding}\r\n"
    data = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    assert (await converse(port, data)).endswith(b"POST / " + text)
    await server.drain(1)


async def test_compressed_bombs_and_garbage() -> None:
    server = HTTPServer(hello, decompress_request=True, max_body_size=100_000)
    port = start(server)
    bomb = gzip.compress(b"x" * 50_000_000)
    head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\n"
    for body, status in (
        (bomb, b"413"),
        (b"garbage that is no gzip", b"400"),
        (gzip.compress(b"x")[:-3], b"400"),
    ):
        data = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        assert (await converse(port, data)).startswith(b"HTTP/1.1 " + status)
    await server.drain(1)


class Messages(HTTPServerConnectionDelegate):
    """An application on Tornado's four-method seam."""

    def __init__(self) -> None:
        self.log: list[Any] = []

    def start_request(self, server_conn: object, request_conn: Any) -> HTTPMessageDelegate:
        return Message(self.log, request_conn)


class Message(HTTPMessageDelegate):
    def __init__(self, log: list[Any], connection: Any) -> None:
        self.log = log
        self.connection = connection
        self.body = b""

    def headers_received(self, start_line: Any, headers: HTTPHeaders) -> Awaitable[None] | None:
        self.log.append((start_line.method, start_line.path, headers["Host"]))
        return asyncio.sleep(0) if headers.get("X-Wait") else None

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        self.body += chunk
        return asyncio.sleep(0)

    def finish(self) -> None:
        line = ResponseStartLine("HTTP/1.1", 200, "OK")
        self.connection.write_headers(line, HTTPHeaders({"Content-Length": str(len(self.body))}))
        self.connection.write(self.body)
        self.connection.finish()

    def on_connection_close(self) -> None:
        self.log.append("closed")


async def test_delegates() -> None:
    delegate = Messages()
    server = HTTPServer(delegate)
    port = start(server)
    data = b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nX-Wait: 1\r\n\r\nabc" + get(
        "/g", "X-Wait: 1"
    )
    answer = await converse(port, data)
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert b"\r\n\r\nabcHTTP" in answer
    assert delegate.log == [("POST", "/p", "a"), ("GET", "/g", "a")]
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na")
    writer.close()
    while delegate.log[-1] != "closed":
        await asyncio.sleep(0.001)
    await server.drain(1)


async def test_a_subclass_may_see_every_request_begin() -> None:
    class Watching(HTTPServer):
        begun = 0

        def start_request(self, server_conn: object, request_conn: Any) -> HTTPMessageDelegate:
            self.begun += 1
            return super().start_request(server_conn, request_conn)

    server = Watching(Messages())
    port = start(server)
    await converse(port, get())
    assert server.begun == 1
    with pytest.raises(NotImplementedError, match="function"):
        HTTPServer(hello).start_request(None, None)  # type: ignore[arg-type]
    await server.drain(1)


async def test_a_subclass_may_take_the_stream_first() -> None:
    class Greeting(HTTPServer):
        async def handle_stream(self, stream: Any, address: Any) -> None:  # type: ignore[override]
            line = await stream.read_until(b"\n")
            assert line == b"let me in\n"
            HTTPServer.handle_stream(self, stream, address)

    server = Greeting(hello)
    port = start(server)
    assert (await converse(port, b"let me in\n" + get("/x"))).endswith(b"GET /x ")
    await server.drain(1)


async def test_drain_lets_requests_end_and_cuts_the_rest() -> None:
    held: list[HTTPServerRequest] = []
    server = HTTPServer(held.append)
    port = start(server)
    talk = asyncio.ensure_future(converse(port, b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"))
    while not held:
        await asyncio.sleep(0.001)
    drain = asyncio.ensure_future(server.drain(5))
    await asyncio.sleep(0)
    hello(held[0])
    assert await drain == 0
    assert b"Connection: close" in await talk
    # One that never ends is cut.
    server = HTTPServer(held.append)
    port = start(server)
    talk = asyncio.ensure_future(converse(port, b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"))
    while len(held) < 2:
        await asyncio.sleep(0.001)
    assert await server.drain(0.01) == 1
    assert not server._connections
    assert await talk == b""


async def test_draining_twice_at_once() -> None:
    held: list[HTTPServerRequest] = []
    server = HTTPServer(held.append)
    port = start(server)
    talk = asyncio.ensure_future(converse(port, b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"))
    while not held:
        await asyncio.sleep(0.001)
    both = asyncio.gather(server.drain(5), server.drain(5))
    await asyncio.sleep(0)
    hello(held[0])
    assert await both == [0, 0]
    assert (await talk).endswith(b"GET /1 ")


async def test_a_large_body_goes_both_ways() -> None:
    server = HTTPServer(hello)
    port = start(server)
    body = bytes(range(256)) * 40_000
    head = f"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    assert (await converse(port, head.encode() + body)).endswith(body)
    await server.drain(1)


async def test_resets_leave_nothing_behind() -> None:
    server = HTTPServer(hello)
    port = start(server)
    for data in (
        b"",
        b"GET",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 50,
        b"POST / HTTP/1.1\r\nContent-Length: 9\r\n",
    ):
        for _ in range(10):
            sock = socket.create_connection(("127.0.0.1", port))
            sock.sendall(data)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            sock.close()
            await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    assert (await converse(port, get())).startswith(b"HTTP/1.1 200")
    await server.drain(1)


async def test_detach_hands_the_stream_over() -> None:
    done: list[asyncio.Task[None]] = []

    def callback(request: HTTPServerRequest) -> None:
        assert request.connection.stream.socket is not None  # type: ignore[attr-defined]
        stream = request.connection.detach()
        assert request.connection.stream is None  # type: ignore[attr-defined]

        async def echo() -> None:
            line = await stream.read_until(b"\n")
            await stream.write(b"said " + line)
            stream.close()

        done.append(asyncio.ensure_future(echo()))

    server = HTTPServer(callback)
    port = start(server)
    head = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"
    assert await converse(port, head + b"hello\n") == b"said hello\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head)
    writer.write(b"later\n")
    assert await reader.read() == b"said later\n"
    writer.close()
    assert not server._connections
    await server.drain(1)


def test_limits_from_keywords() -> None:
    server = HTTPServer(
        hello,
        max_header_size=1000,
        max_body_size=0,
        idle_connection_timeout=1,
        min_body_rate=0,
        write_timeout=3,
    )
    assert server.limits.head.max_header_size == 1000
    assert server.limits.max_body_size == 0
    assert server.limits.shortest() == 1
    assert HTTPServer(hello, max_buffer_size=7).limits.max_body_size == 7
    assert HTTPServer(hello, limits=Limits(header_timeout=3)).limits.header_timeout == 3
    assert HTTPServer(hello).limits.max_body_size == 100 * 1024 * 1024
    assert HTTPServer(hello, chunk_size=0).limits.chunk_size == 64 * 1024  # as in Tornado
    with pytest.raises(TypeError):
        HTTPServer(hello, no_such_setting=1)
    with pytest.raises(ValueError, match="write_timeout"):
        HTTPServer(hello, write_timeout=-1)


@pytest.mark.parametrize("name", ["header_timeout", "idle_timeout"])
def test_a_deadline_of_zero_is_off(name: str, talk: Any) -> None:
    t = talk(hello, limits=Limits(**{name: 0.0}))
    if name == "idle_timeout":
        t.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    t.pass_time(9 if name == "idle_timeout" else 1000)
    assert not t.wire.closing
    assert Limits(**{name: 0.0}).shortest() > 0


VISITOR: contextvars.ContextVar[str] = contextvars.ContextVar("VISITOR", default="nobody")


@pytest.mark.parametrize("pipelined", [False, True])
async def test_what_a_callback_sets_is_not_seen_by_the_next_request(pipelined: bool) -> None:
    seen: list[str] = []

    class Late(HTTPMessageDelegate):
        """Answers from a task, whose context is its own."""

        def __init__(self, connection: Any) -> None:
            self.connection = connection

        def finish(self) -> None:
            seen.append(VISITOR.get())
            VISITOR.set("somebody")
            self.task = asyncio.ensure_future(self.answer())

        async def answer(self) -> None:
            VISITOR.set("somebody else")
            await asyncio.sleep(0)
            self.connection.respond(200, "OK", HTTPHeaders({"Content-Length": "2"}), b"ok")

    class Delegate(HTTPServerConnectionDelegate):
        def start_request(self, server_conn: object, request_conn: Any) -> HTTPMessageDelegate:
            return contextvars.copy_context().run(Late, request_conn)

    server = HTTPServer(Delegate())
    port = start(server)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 1000 + b"\r\n\r\n"
    if pipelined:
        writer.write(request * 100)
        for _ in range(100):
            await reader.readuntil(b"ok")
    else:
        for _ in range(3):
            writer.write(request)
            await reader.readuntil(b"ok")
    # The callback runs in the connection's own context, where what it sets stays; what its tasks set does not.
    assert set(seen) <= {"nobody", "somebody"}
    writer.close()
    await server.drain(1)


# --- going away without losing a request ---


async def test_what_has_been_accepted_is_answered() -> None:
    """Connections that the loop has accepted when the drain begins, and that it does not know yet."""
    server = HTTPServer(hello)
    port = start(server)
    await asyncio.sleep(0)
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
    for client in clients:
        client.sendall(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        client.setblocking(False)
    while len(server._arriving) + len(server._connections) < 20:
        await asyncio.sleep(0)
    assert await server.drain(5, idle_grace=0.5) == 0
    answers = [client.recv(1000) for client in clients]
    for client in clients:
        client.close()
    assert all(answer.endswith(b"GET /x ") for answer in answers)
    assert server.requests == 20


@pytest.mark.parametrize("turns", range(7))
async def test_nobody_is_dropped_between_two_servers(turns: int) -> None:
    """Whoever connects is answered by the server that goes or by the one that stays, in whatever turn of the loop."""
    going, staying = HTTPServer(hello), HTTPServer(hello)
    (listener,) = bind_sockets(0, "127.0.0.1")
    port = listener.getsockname()[1]
    going.add_socket(listener.dup())
    for _ in range(3):
        await asyncio.sleep(0)
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
    for client in clients:
        client.sendall(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        client.setblocking(False)
    for _ in range(turns):
        await asyncio.sleep(0)
    drain = asyncio.ensure_future(going.drain(5, idle_grace=0.2))
    staying.add_socket(listener)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(10):
            for client in clients:
                assert (await loop.sock_recv(client, 1000)).endswith(b"GET /x ")
    finally:
        for client in clients:
            client.close()
    assert await drain == 0
    await staying.drain(1)


async def test_an_idle_connection_may_ask_once_more() -> None:
    server = HTTPServer(hello)
    port = start(server)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (await reader.readuntil(b"GET /1 ")).startswith(b"HTTP/1.1 200 ")
    drain = asyncio.ensure_future(server.drain(5, idle_grace=4))
    await asyncio.sleep(0.05)
    assert not drain.done()
    writer.write(b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
    answer = await reader.read()
    assert answer.endswith(b"GET /2 ")
    assert b"Connection: close" in answer
    writer.close()
    assert await drain == 0


async def test_one_that_stays_idle_is_closed_after_its_grace() -> None:
    server = HTTPServer(hello)
    port = start(server)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n")
    await reader.readuntil(b"GET /1 ")
    assert await server.drain(5, idle_grace=0.05) == 0
    assert await reader.read() == b""
    writer.close()


async def test_a_tls_handshake_that_goes_on_is_waited_for(tmp_path: Path) -> None:
    authority = trustme.CA()
    cert = authority.issue_cert("localhost")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    cert.configure_cert(context)
    client_context = ssl.create_default_context()
    authority.configure_trust(client_context)
    server = HTTPServer(hello, ssl_options=context)
    port = start(server)
    # The handshake by hand, so that it can stop half-way.
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client_context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    writer.write(outgoing.read())
    incoming.write(await reader.read(65536))
    drain = asyncio.ensure_future(server.drain(5, idle_grace=1))
    await asyncio.sleep(0.1)
    assert not drain.done()
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            incoming.write(await reader.read(65536))
    tls.write(b"GET /late HTTP/1.1\r\nHost: a\r\n\r\n")
    writer.write(outgoing.read())
    data = b""
    while not data.endswith(b"GET /late "):
        incoming.write(await reader.read(65536))
        try:
            data += tls.read(65536)
        except ssl.SSLWantReadError:
            pass
    writer.close()
    assert await drain == 0


async def test_a_tls_handshake_that_fails_holds_nothing_up(tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    server = HTTPServer(hello, ssl_options=context)
    port = start(server)
    assert await converse(port, b"GET / HTTP/1.1\r\n\r\n" + bytes(100)) != b"x"
    async with asyncio.timeout(10):
        assert await server.drain(20) == 0
