"""Tests of webfw.iostream.socketstream."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from webfw.iostream import IOStream, SSLIOStream, StreamClosedError, Wire
from webfw.netutil import ssl_wrap_socket

pytestmark = pytest.mark.usefixtures("loop_kind")

Pair = Callable[..., tuple[IOStream, IOStream]]
Sockets = Callable[[], tuple[socket.socket, socket.socket]]


@pytest.fixture
def listener() -> Any:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.setblocking(False)
        yield sock


@pytest.fixture
def nobody() -> Any:
    """An address at which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()


async def accept(listener: socket.socket) -> socket.socket:
    sock, _ = await asyncio.get_running_loop().sock_accept(listener)
    return sock


# --- connecting ---


async def test_connecting(listener: socket.socket) -> None:
    stream = IOStream(socket.socket())
    future = stream.connect(listener.getsockname())
    early = stream.write(b"early")
    reading = stream.read_bytes(2)
    assert not early.done()
    with pytest.raises(RuntimeError, match="connected or connecting"):
        stream.connect(listener.getsockname())
    assert await future is stream
    peer = IOStream(await accept(listener))
    assert await peer.read_bytes(5) == b"early"
    await early
    await peer.write(b"ok")
    assert await reading == b"ok"
    assert stream.socket.getpeername() == listener.getsockname()
    stream.close()
    peer.close()


async def test_nobody_listens(nobody: Any) -> None:
    stream = IOStream(socket.socket())
    closed = asyncio.Event()
    stream.set_close_callback(closed.set)
    reading = stream.read_bytes(1)
    for future in (stream.connect(nobody), reading):
        with pytest.raises(StreamClosedError) as info:
            await future
        assert isinstance(info.value.real_error, ConnectionRefusedError)
    await closed.wait()
    assert stream.error is info.value.real_error
    with pytest.raises(StreamClosedError):
        stream.connect(nobody)


async def test_closing_while_connecting(listener: socket.socket) -> None:
    sock = socket.socket()
    stream = IOStream(sock)
    future = stream.connect(listener.getsockname())
    await asyncio.sleep(0)
    stream.close()
    with pytest.raises(StreamClosedError):
        await future
    for _ in range(3):
        await asyncio.sleep(0)
    assert sock.fileno() == -1


async def test_giving_up_waiting_for_the_connection(listener: socket.socket) -> None:
    stream = IOStream(socket.socket())
    future = stream.connect(listener.getsockname())
    future.cancel()
    peer = await accept(listener)
    peer.send(b"x")
    assert await stream.read_bytes(1) == b"x"
    stream.close()
    peer.close()


async def test_before_connecting_reads_wait(listener: socket.socket) -> None:
    stream = IOStream(socket.socket())
    stream.set_close_callback(lambda: None)
    future = stream.read_bytes(1)
    await asyncio.sleep(0)
    assert stream._engine._task is None
    await stream.connect(listener.getsockname())
    peer = await accept(listener)
    peer.send(b"x")
    assert await future == b"x"
    stream.close()
    peer.close()


async def test_writing_without_ever_connecting() -> None:
    stream = IOStream(socket.socket())
    future = stream.write(b"x")
    assert stream.writing()
    stream.close()
    with pytest.raises(StreamClosedError):
        await future


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs Unix sockets")
async def test_unix_sockets(tmp_path: Path) -> None:
    path = str(tmp_path / "sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        listener.setblocking(False)
        stream = IOStream(socket.socket(socket.AF_UNIX))
        connected = stream.connect(path)
        peer = IOStream(await accept(listener))
    await connected
    stream.set_nodelay(True)
    written = stream.write(b"x" * 1_000_000)
    assert len(await peer.read_bytes(1_000_000)) == 1_000_000
    await written
    stream.close()
    peer.close()


# --- the socket ---


async def test_nodelay(pair: Pair) -> None:
    a, b = pair()
    for value in (True, False):
        a.set_nodelay(value)
        assert bool(a.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)) is value
    a.close()
    a.set_nodelay(True)
    b.close()


async def test_the_descriptor_methods(pair: Pair) -> None:
    a, b = pair()
    assert a.fileno().fileno() == a.socket.fileno()
    assert a.get_fd_error() is None
    assert a.write_to_fd(memoryview(b"abc")) == 3
    buffer = bytearray(2)
    assert b.read_from_fd(buffer) is None
    assert await b.read_bytes(1) == b"a"
    assert b.read_from_fd(buffer) == 2
    assert buffer == b"bc"
    a.close()
    assert a.socket is None
    assert await b.read_until_close() == b""
    assert b.read_from_fd(buffer) == 0


async def test_the_error_of_a_socket(nobody: Any) -> None:
    sock = socket.socket()
    stream = IOStream(sock)
    sock.connect_ex(nobody)
    while (error := stream.get_fd_error()) is None:
        await asyncio.sleep(0)
    assert isinstance(error, ConnectionRefusedError)
    stream.close()


# --- TLS ---


async def hello(client: IOStream, server: IOStream) -> None:
    await client.write(b"question\n")
    assert await server.read_until(b"\n") == b"question\n"
    await server.write(b"answer\n")
    assert await client.read_until(b"\n") == b"answer\n"


async def test_start_tls_on_both_sides(
    pair: Pair, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    a, b = pair()
    closed = asyncio.Event()
    a.set_close_callback(closed.set)
    await hello(a, b)
    client, server = await asyncio.gather(
        a.start_tls(False, client_context, server_hostname="localhost"), b.start_tls(True, server_context)
    )
    assert isinstance(client, SSLIOStream)
    assert isinstance(server, SSLIOStream)
    await hello(client, server)
    assert client.socket.getpeercert()["subjectAltName"] == (("DNS", "localhost"),)
    assert client.socket.version() == server.socket.version()
    assert client.socket.getpeername() == server.socket.getsockname()
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = client.socket.nonsense
    for old in (a, b):
        assert old.socket is None
        with pytest.raises(StreamClosedError):
            old.write(b"in the clear")
        with pytest.raises(StreamClosedError):
            old.read_bytes(1)
    assert not closed.is_set()
    server.close()
    await closed.wait()
    assert client.closed()


@pytest.mark.parametrize("used_before", [False, True])
async def test_start_tls_when_the_handshake_is_there_already(
    sockets: Sockets, server_context: ssl.SSLContext, client_context: ssl.SSLContext, used_before: bool
) -> None:
    a, b = sockets()
    server = IOStream(b)
    if used_before:
        a.send(b"STARTTLS\n")
        assert await server.read_until(b"\n") == b"STARTTLS\n"
    client = IOStream(a)
    handshake = client.start_tls(False, client_context, server_hostname="localhost")
    # The first bytes of the handshake arrive before the server asks for it.
    if used_before:
        while not len(server._buffer):
            await asyncio.sleep(0)
    secured = await server.start_tls(True, server_context)
    await hello(await handshake, secured)
    secured.close()
    client._engine.wire.abort()


async def test_words_in_the_clear_are_not_taken_for_words_under_tls(
    sockets: Sockets, server_context: ssl.SSLContext, expect_log: Any
) -> None:
    a, b = sockets()
    server = IOStream(b)
    a.send(b"STARTTLS\nMAIL FROM: injected\n")
    assert await server.read_until(b"\n") == b"STARTTLS\n"
    with expect_log("webfw.general", "SSL Error on"), pytest.raises(ssl.SSLError) as info:
        await server.start_tls(True, server_context)
    assert not isinstance(info.value, StreamClosedError)


async def test_start_tls_needs_an_idle_stream(pair: Pair, client_context: ssl.SSLContext) -> None:
    a, b = pair()
    future = a.read_bytes(1)
    with pytest.raises(ValueError, match="not idle"):
        a.start_tls(False, client_context)
    await b.write(b"x")
    await future
    a.write(b"x" * 20_000_000)
    with pytest.raises(ValueError, match="not idle"):
        a.start_tls(False, client_context)
    with pytest.raises(ValueError, match="needs ssl_options"):
        b.start_tls(True)
    a.close(exc_info=ValueError())
    b.close()
    with pytest.raises(StreamClosedError):
        b.start_tls(False)


async def test_a_handshake_that_fails(
    pair: Pair, server_context: ssl.SSLContext, client_context: ssl.SSLContext, expect_log: Any
) -> None:
    a, b = pair()
    with expect_log("webfw.general", "SSL Error on"):
        client = a.start_tls(False, client_context, server_hostname="elsewhere.example")
        server = b.start_tls(True, server_context)
        with pytest.raises(ssl.SSLCertVerificationError):
            await client
        with pytest.raises(OSError, match=r"SSL|reset|closed|^$"):
            await server


async def test_a_peer_that_leaves_during_the_handshake(pair: Pair, client_context: ssl.SSLContext) -> None:
    a, b = pair()
    future = a.start_tls(False, client_context, server_hostname="localhost")
    await b.read_bytes(1)
    b.close()
    with pytest.raises(OSError, match=r"reset|closed|SSL|^$"):
        await future


@pytest.mark.parametrize("turns", range(8))
async def test_closing_during_the_handshake(
    sockets: Sockets, client_context: ssl.SSLContext, turns: int
) -> None:
    a, _b = sockets()
    stream = SSLIOStream(a, ssl_options=client_context)
    for _ in range(turns):
        await asyncio.sleep(0)
    stream.close()
    with pytest.raises(StreamClosedError):
        await stream.wait_for_handshake()
    for _ in range(5):
        await asyncio.sleep(0)
    assert a.fileno() == -1


async def test_ten_megabytes_under_tls(
    pair: Pair, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    a, b = pair()
    client, server = await asyncio.gather(
        a.start_tls(False, client_context, server_hostname="localhost"), b.start_tls(True, server_context)
    )
    data = bytes(range(256)) * 80_000
    written = server.write(data)
    assert await client.read_bytes(len(data)) == data
    await written
    tail = server.write(data)
    server.close()
    with pytest.raises(StreamClosedError):
        await tail
    assert await client.read_until_close() == data


async def test_connecting_with_tls(
    listener: socket.socket, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    client = SSLIOStream(socket.socket(), ssl_options=client_context)
    connected = client.connect(listener.getsockname(), server_hostname="localhost")
    early = client.write(b"early")
    server = SSLIOStream(
        ssl_wrap_socket(
            await accept(listener), server_context, server_side=True, do_handshake_on_connect=False
        )
    )
    handshake = server.wait_for_handshake()
    with pytest.raises(RuntimeError, match="Already waiting"):
        server.wait_for_handshake()
    assert await connected is client
    assert await handshake is server
    assert await server.read_bytes(5) == b"early"
    await early
    await hello(client, server)
    client.close()
    server.close()


async def test_tls_with_nobody(nobody: Any, client_context: ssl.SSLContext) -> None:
    stream = SSLIOStream(socket.socket(), ssl_options=client_context)
    with pytest.raises(ConnectionRefusedError):
        await stream.connect(nobody, server_hostname="localhost")
    with pytest.raises(ConnectionRefusedError):
        await stream.wait_for_handshake()


async def test_a_wrapped_socket_that_is_connected_later(
    listener: socket.socket, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    sock = client_context.wrap_socket(
        socket.socket(), server_hostname="localhost", do_handshake_on_connect=False
    )
    client = SSLIOStream(sock)
    connected = client.connect(listener.getsockname(), server_hostname="localhost")
    server = await IOStream(await accept(listener)).start_tls(True, server_context)
    await connected
    await hello(client, server)
    client.close()
    server.close()


async def test_a_wrapped_client_socket_that_is_connected(
    sockets: Sockets, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    a, b = sockets()
    wrapped = client_context.wrap_socket(a, server_hostname="localhost", do_handshake_on_connect=False)
    client = SSLIOStream(wrapped)
    assert wrapped.fileno() == -1
    server = await IOStream(b).start_tls(True, server_context)
    await hello(client, server)
    client.close()
    server.close()


async def test_a_socket_whose_handshake_is_done_is_refused(
    sockets: Sockets, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    a, b = sockets()
    loop = asyncio.get_running_loop()
    serving = loop.run_in_executor(None, lambda: server_context.wrap_socket(b, server_side=True))
    client = await loop.run_in_executor(
        None, lambda: client_context.wrap_socket(a, server_hostname="localhost")
    )
    with pytest.raises(ValueError, match="handshake of this socket is done"):
        SSLIOStream(client)
    client.close()
    (await serving).close()


async def test_tls_settings_of_a_dictionary(sockets: Sockets, server_context: ssl.SSLContext) -> None:
    a, b = sockets()
    client = SSLIOStream(a, ssl_options={"cert_reqs": ssl.CERT_NONE})
    server = await IOStream(b).start_tls(True, server_context)
    assert await client.wait_for_handshake() is client
    await hello(client, server)
    assert await client.wait_for_handshake() is client
    client.close()
    server.close()


async def test_from_a_wire_with_tls(
    listener: socket.socket, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    loop = asyncio.get_running_loop()
    wires: asyncio.Queue[Wire] = asyncio.Queue()
    client = SSLIOStream(socket.socket(), ssl_options=client_context)
    connected = client.connect(listener.getsockname(), server_hostname="localhost")
    sock = await accept(listener)
    await loop.connect_accepted_socket(lambda: Wire(loop, wires.put_nowait), sock, ssl=server_context)
    server = SSLIOStream.from_wire(await wires.get())
    await connected
    assert await server.wait_for_handshake() is server
    assert server.socket.version() == client.socket.version()
    await hello(client, server)
    client.close()
    assert await server.read_until_close() == b""


async def test_start_tls_while_the_transport_is_on_its_way(
    pair: Pair, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    for turns in range(4):
        a, b = pair()
        a.set_close_callback(lambda: None)  # begins to attach
        for _ in range(turns):
            await asyncio.sleep(0)
        client, server = await asyncio.gather(
            a.start_tls(False, client_context, server_hostname="localhost"),
            b.start_tls(True, server_context),
        )
        await hello(client, server)
        client.close()
        server.close()
