"""Tests of webfw.tcpserver."""

import asyncio
import contextlib
import gc
import os
import socket
import ssl
import struct
import subprocess
import sys
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest
import trustme

from webfw.ioloop import IOLoop
from webfw.iostream import IOStream, SSLIOStream, StreamClosedError, Wire
from webfw.netutil import bind_sockets, bind_unix_socket
from webfw.tcpserver import TCPServer

ROOT = Path(__file__).resolve().parents[1]

try:
    import resource
except ImportError:
    resource = None  # type: ignore[assignment]


@pytest.fixture(params=["asyncio", "uvloop"], autouse=True)
def _loop_kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every test on both loops: the runner of coroutine tests and IOLoop() make theirs here."""
    monkeypatch.setenv("WEBFW_LOOP", request.param)
    if request.param == "uvloop":
        uvloop = pytest.importorskip("uvloop")
        monkeypatch.setattr(asyncio, "new_event_loop", uvloop.new_event_loop)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture(scope="module")
def client_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


class EchoServer(TCPServer):
    """Sends lines back until the client goes."""

    streams: list[IOStream]
    addresses: list[Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.streams = []
        self.addresses = []

    async def handle_stream(self, stream: IOStream, address: Any) -> None:
        self.streams.append(stream)
        self.addresses.append(address)
        while True:
            await stream.write(await stream.read_until(b"\n"))


def port_of(server: TCPServer) -> int:
    return int(next(iter(server._sockets.values())).getsockname()[1])


async def connect(server: TCPServer) -> IOStream:
    return await IOStream(socket.socket()).connect(("127.0.0.1", port_of(server)))


async def test_lines_come_back() -> None:
    server = EchoServer()
    server.listen(0, "127.0.0.1")
    first, second = await connect(server), await connect(server)
    await first.write(b"one\n")
    await second.write(b"two\n")
    assert await first.read_until(b"\n") == b"one\n"
    assert await second.read_until(b"\n") == b"two\n"
    assert {address[0] for address in server.addresses} == {"127.0.0.1"}
    first.close()
    second.close()
    server.stop()


async def test_the_server_notices_that_the_client_has_gone() -> None:
    gone: asyncio.Future[Any] = asyncio.Future()

    class Server(TCPServer):
        async def handle_stream(self, stream: IOStream, address: Any) -> None:
            try:
                await stream.read_bytes(5)
            except StreamClosedError as exc:
                gone.set_result(exc)

    server = Server()
    server.listen(0, "127.0.0.1")
    (await connect(server)).close()
    assert (await gone).real_error is None
    server.stop()


async def test_buffer_sizes_reach_the_streams() -> None:
    server = EchoServer(max_buffer_size=1000, read_chunk_size=10)
    server.listen(0, "127.0.0.1")
    client = await connect(server)
    await client.write(b"x\n")
    await client.read_until(b"\n")
    assert (server.streams[0].max_buffer_size, server.streams[0].read_chunk_size) == (1000, 10)
    client.close()
    server.stop()


async def test_a_plain_method_may_serve() -> None:
    class Server(TCPServer):
        def handle_stream(self, stream: IOStream, address: Any) -> None:
            stream.write(b"bye")
            stream.close()

    server = Server()
    server.listen(0, "127.0.0.1")
    client = await connect(server)
    assert await client.read_until_close() == b"bye"
    server.stop()


@pytest.mark.parametrize("in_coroutine", [False, True])
async def test_an_error_is_logged_and_closes_the_stream(in_coroutine: bool, expect_log: Any) -> None:
    class Server(TCPServer):
        def handle_stream(self, stream: IOStream, address: Any) -> Awaitable[None] | None:
            if in_coroutine:
                return self.fail()
            raise ValueError("no")

        async def fail(self) -> None:
            raise ValueError("no")

    server = Server()
    server.listen(0, "127.0.0.1")
    with expect_log("webfw.application", "Error in connection callback", count=1) as records:
        client = await connect(server)
        assert await client.read_until_close() == b""
    assert records[0].exc_info[0] is ValueError
    server.stop()


async def test_a_cancelled_handler_closes_the_stream() -> None:
    class Server(TCPServer):
        async def handle_stream(self, stream: IOStream, address: Any) -> None:
            raise asyncio.CancelledError

    server = Server()
    server.listen(0, "127.0.0.1")
    client = await connect(server)
    assert await client.read_until_close() == b""
    server.stop()


async def test_handle_stream_must_be_defined(expect_log: Any) -> None:
    server = TCPServer()
    server.listen(0, "127.0.0.1")
    with expect_log("webfw.application", "Error in connection callback", count=1):
        assert await (await connect(server)).read_until_close() == b""
    server.stop()


# --- listening ---


async def test_several_listeners() -> None:
    server = EchoServer()
    server.listen(0, "127.0.0.1")
    (sock,) = bind_sockets(0, "127.0.0.1", backlog=5)
    server.add_socket(sock)
    for listener in list(server._sockets.values()):
        client = await IOStream(socket.socket()).connect(listener.getsockname())
        await client.write(b"x\n")
        assert await client.read_until(b"\n") == b"x\n"
        client.close()
    assert set(server._handlers) == set(server._sockets)
    server.stop()
    assert not server._handlers
    assert server._stopped


async def test_bind_and_start() -> None:
    server = EchoServer()
    server.bind(0, "127.0.0.1")
    assert not server._sockets
    server.start()
    server.bind(0, "127.0.0.1")
    assert len(server._sockets) == 2
    client = await connect(server)
    client.close()
    with pytest.raises(RuntimeError, match="started already"):
        server.start()
    server.stop()


@pytest.mark.parametrize("number", [2, 0, None])
async def test_processes_cannot_be_forked_while_the_loop_runs(number: int | None) -> None:
    server = TCPServer()
    server.bind(0, "127.0.0.1")
    with pytest.raises(RuntimeError, match="before the event loop runs"):
        server.start(number)
    server.stop()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing can be forked here")
def test_start_forks_workers_that_share_what_was_bound(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("""
import asyncio, socket
from webfw.ioloop import IOLoop
from webfw.process import task_id
from webfw.tcpserver import TCPServer

class Server(TCPServer):
    async def handle_stream(self, stream, address):
        self.stop()  # leave the next connection to the other
        await stream.write(b"%d\\n" % task_id())
        stream.close()
        asyncio.get_running_loop().stop()

server = Server()
server.bind(0, "127.0.0.1")
address = server._pending_sockets[0].getsockname()
server.start(3)
if task_id() == 2:
    answers = []
    for _ in range(2):
        with socket.create_connection(address) as client:
            answers.append(client.makefile().readline().strip())
    print(sorted(answers))
    server.stop()
else:
    IOLoop.current().start()
""")
    done = subprocess.run(
        [sys.executable, str(program)],
        capture_output=True,
        text=True,
        timeout=25,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert (done.returncode, done.stdout) == (0, "['0', '1']\n"), done.stderr


async def test_stopping_before_start_closes_what_was_bound() -> None:
    server = TCPServer()
    server.bind(0, "127.0.0.1")
    (sock,) = server._pending_sockets
    server.stop()
    assert sock.fileno() == -1


async def test_stopping_before_accepting_has_begun() -> None:
    server = EchoServer()
    server.listen(0, "127.0.0.1")
    address = ("127.0.0.1", port_of(server))
    server.stop()
    server.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    await asyncio.sleep(0)


@pytest.mark.parametrize("turns", range(6))
async def test_stopping_at_any_moment_closes_the_socket(turns: int) -> None:
    server = EchoServer()
    server.listen(0, "127.0.0.1")
    address = ("127.0.0.1", port_of(server))
    for _ in range(turns):
        await asyncio.sleep(0)
    server.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    (again,) = bind_sockets(address[1], "127.0.0.1")
    again.close()
    for _ in range(3):
        await asyncio.sleep(0)


async def test_open_connections_survive_a_stop() -> None:
    server = EchoServer()
    server.listen(0, "127.0.0.1")
    client = await connect(server)
    await client.write(b"1\n")
    await client.read_until(b"\n")
    server.stop()
    await client.write(b"2\n")
    assert await client.read_until(b"\n") == b"2\n"
    client.close()


def test_sockets_may_be_added_before_the_loop_runs() -> None:
    asyncio.set_event_loop(None)
    loop = IOLoop()
    try:
        server = EchoServer()
        server.listen(0, "127.0.0.1")

        async def use() -> bytes:
            client = await connect(server)
            await client.write(b"x\n")
            try:
                return await client.read_until(b"\n")
            finally:
                client.close()

        assert loop.run_sync(use, timeout=5) == b"x\n"
    finally:
        loop.close(all_fds=True)  # stops the server too
        asyncio.set_event_loop(None)
    assert next(iter(server._sockets.values())).fileno() == -1
    gc.collect()


async def test_a_socket_that_cannot_listen_is_logged(expect_log: Any) -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server = EchoServer()
    with expect_log("webfw.application", "cannot accept connections on", count=1) as records:
        server.add_socket(sock)
        while not records:
            await asyncio.sleep(0)
    assert sock.fileno() == -1
    server.stop()


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs Unix sockets")
async def test_unix_sockets(tmp_path: Path) -> None:
    path = str(tmp_path / "sock")
    server = EchoServer()
    server.add_socket(bind_unix_socket(path))
    client = await IOStream(socket.socket(socket.AF_UNIX)).connect(path)
    await client.write(b"x\n")
    assert await client.read_until(b"\n") == b"x\n"
    assert server.addresses == [""]
    client.close()
    server.stop()
    assert os.path.exists(path)


@pytest.mark.skipif(resource is None, reason="needs resource limits")
async def test_running_out_of_descriptors_neither_spins_nor_ends_it() -> None:
    loop = asyncio.get_running_loop()
    complaints: list[Any] = []
    loop.set_exception_handler(lambda loop, context: complaints.append(context))
    server = EchoServer()
    server.listen(0, "127.0.0.1")
    client = await connect(server)  # accepting has begun
    await client.write(b"x\n")
    await client.read_until(b"\n")
    waiting = [socket.socket() for _ in range(3)]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
        for sock in waiting:
            sock.setblocking(False)
            await loop.sock_connect(sock, ("127.0.0.1", port_of(server)))
        used = os.times()
        await asyncio.sleep(0.1)
        spent = os.times()
        assert spent.user + spent.system - used.user - used.system < 0.08
        assert len(complaints) <= 1
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    for sock in waiting:
        sock.close()
    async with asyncio.timeout(5):
        late = await connect(server)
        await late.write(b"y\n")
        assert await late.read_until(b"\n") == b"y\n"
    late.close()
    client.close()
    server.stop()


async def test_many_that_come_at_once() -> None:
    server = EchoServer()
    server.add_sockets(bind_sockets(0, "127.0.0.1", backlog=300))
    clients = [socket.create_connection(("127.0.0.1", port_of(server))) for _ in range(200)]
    async with asyncio.timeout(10):
        while len(server.streams) < 200:
            await asyncio.sleep(0)
    for client in clients:
        client.close()
    server.stop()


@pytest.mark.skipif(not hasattr(socket, "TCP_NOTSENT_LOWAT"), reason="the system has no such option")
async def test_the_kernel_keeps_little_for_a_client_that_does_not_read() -> None:
    server = EchoServer()
    server.listen(0, "127.0.0.1")
    client = await connect(server)
    await client.write(b"x\n")
    await client.read_until(b"\n")
    unsent = server.streams[0].socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
    assert 0 < unsent < 1_000_000
    client.close()
    server.stop()


# --- TLS ---


def test_tls_files_are_checked_at_once(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="certfile"):
        TCPServer(ssl_options={})
    with pytest.raises(ValueError, match='certfile "/nowhere/cert" does not exist'):
        TCPServer(ssl_options={"certfile": "/nowhere/cert"})
    present = tmp_path / "cert"
    present.touch()
    with pytest.raises(ValueError, match='keyfile "/nowhere/key" does not exist'):
        TCPServer(ssl_options={"certfile": str(present), "keyfile": "/nowhere/key"})


async def test_tls(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> None:
    server = EchoServer(ssl_options=server_context)
    server.listen(0, "127.0.0.1")
    client = await SSLIOStream(socket.socket(), ssl_options=client_context).connect(
        ("127.0.0.1", port_of(server)), server_hostname="localhost"
    )
    await client.write(b"secret\n")
    assert await client.read_until(b"\n") == b"secret\n"
    (stream,) = server.streams
    assert isinstance(stream, SSLIOStream)
    assert await stream.wait_for_handshake() is stream
    assert stream.socket.version() == client.socket.version()
    client.close()
    server.stop()


async def test_tls_files(authority: trustme.CA, client_context: ssl.SSLContext, tmp_path: Path) -> None:
    cert = authority.issue_cert("localhost")
    cert.private_key_and_cert_chain_pem.write_to_path(tmp_path / "all.pem")
    server = EchoServer(ssl_options={"certfile": str(tmp_path / "all.pem")})
    server.listen(0, "127.0.0.1")
    client = await SSLIOStream(socket.socket(), ssl_options=client_context).connect(
        ("127.0.0.1", port_of(server)), server_hostname="localhost"
    )
    client.close()
    server.stop()


async def test_a_client_that_does_not_speak_tls_never_reaches_the_handler(
    server_context: ssl.SSLContext,
) -> None:
    server = EchoServer(ssl_options=server_context)
    server.listen(0, "127.0.0.1")
    client = await connect(server)
    await client.write(b"GET / HTTP/1.1\r\n\r\n")
    with contextlib.suppress(StreamClosedError):  # the server may close with a reset
        await client.read_until_close()
    assert client.closed()
    assert server.streams == []
    server.stop()


# --- other ways in ---


async def test_a_connection_accepted_elsewhere() -> None:
    server = EchoServer()
    a, b = socket.socketpair()
    server._handle_connection(a, "somewhere")
    client = IOStream(b)
    await client.write(b"x\n")
    assert await client.read_until(b"\n") == b"x\n"
    assert server.addresses == ["somewhere"]
    client.close()
    await asyncio.sleep(0)


async def test_a_connection_accepted_elsewhere_with_tls(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    server = EchoServer(ssl_options=server_context)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = SSLIOStream(socket.socket(), ssl_options=client_context)
        connected = client.connect(listener.getsockname(), server_hostname="localhost")
        listener.setblocking(False)
        connection, address = await asyncio.get_running_loop().sock_accept(listener)
    server._handle_connection(connection, address)
    await connected
    await client.write(b"x\n")
    assert await client.read_until(b"\n") == b"x\n"
    client.close()
    await asyncio.sleep(0)


async def test_a_connection_that_has_gone_before_tls(server_context: ssl.SSLContext) -> None:
    server = EchoServer(ssl_options=server_context)
    a, b = socket.socketpair()
    b.close()
    a.close()
    server._handle_connection(a, "gone")
    assert server.streams == []


async def test_a_subclass_may_do_without_streams() -> None:
    class Reverse:
        def __init__(self, wire: Wire) -> None:
            self.wire = wire

        def data_received(self, data: bytes) -> None:
            self.wire.write(data[::-1])

        def eof_received(self) -> bool:
            return False

        def connection_lost(self, exc: Exception | None) -> None:
            lost.set()

        def resume_writing(self) -> None:
            pass

    class Server(TCPServer):
        def _make_wire(self) -> Wire:
            def connected(wire: Wire) -> None:
                wire.consumer = Reverse(wire)

            return Wire(asyncio.get_running_loop(), connected)

    lost = asyncio.Event()
    server = Server()
    server.listen(0, "127.0.0.1")
    client = await connect(server)
    await client.write(b"abc")
    assert await client.read_bytes(3) == b"cba"
    client.close()
    await lost.wait()
    server.stop()


async def test_a_reset_connection_is_no_error_of_the_program() -> None:
    class Server(TCPServer):
        done: asyncio.Event

        async def handle_stream(self, stream: IOStream, address: Any) -> None:
            try:
                await stream.read_bytes(1)
            finally:
                self.done.set()

    server = Server()
    server.done = asyncio.Event()
    server.listen(0, "127.0.0.1")
    client = socket.create_connection(("127.0.0.1", port_of(server)))
    for _ in range(5):
        await asyncio.sleep(0)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    await server.done.wait()
    server.stop()


async def test_a_tls_handshake_that_does_not_come_to_an_end(server_context: ssl.SSLContext) -> None:
    server = EchoServer(ssl_options=server_context)
    assert server.tls_handshake_timeout == 60
    server.tls_handshake_timeout = 0.05
    server.add_sockets(bind_sockets(0, "127.0.0.1"))
    stream = await connect(server)
    with pytest.raises(StreamClosedError):
        await stream.read_bytes(1)
    assert not server.streams
    server.stop()


async def test_what_comes_with_the_end_of_the_handshake_is_not_lost(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    """A client of TLS 1.3 sends its first bytes together with the last of the handshake."""
    server = EchoServer(ssl_options=server_context)
    server.listen(0, "127.0.0.1")
    sock = socket.create_connection(("127.0.0.1", port_of(server)))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client_context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, outgoing.read())
    while True:
        incoming.write(await loop.sock_recv(sock, 65536))
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.do_handshake()
            break
    tls.write(b"at once\n")
    await loop.sock_sendall(sock, outgoing.read())
    got = b""
    while got != b"at once\n":
        incoming.write(await loop.sock_recv(sock, 65536))
        with contextlib.suppress(ssl.SSLWantReadError):
            got += tls.read(100)
    sock.close()
    server.stop()


@pytest.mark.parametrize("turns", [0, 1, 2, 5])
async def test_a_handshake_may_be_cut_at_any_moment(server_context: ssl.SSLContext, turns: int) -> None:
    server = EchoServer(ssl_options=server_context)
    server.listen(0, "127.0.0.1")
    stream = await connect(server)
    while not server._handshakes:
        await asyncio.sleep(0)
    for _ in range(turns):
        await asyncio.sleep(0)
    for task in server._handshakes.values():
        task.cancel()
    with pytest.raises(StreamClosedError):
        await stream.read_bytes(1)
    assert not server._handshakes
    assert not server.streams
    server.stop()
