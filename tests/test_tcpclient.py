"""Tests of webfw.tcpclient."""

import asyncio
import contextlib
import datetime
import errno
import gc
import re
import socket
import ssl
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import trustme

from webfw import tcpclient
from webfw.ioloop import IOLoop
from webfw.iostream import IOStream, SSLIOStream, StreamClosedError, Wire
from webfw.netutil import Resolver
from webfw.tcpclient import TCPClient, take_turns

V4, V6 = socket.AF_INET, socket.AF_INET6


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


@pytest.fixture(scope="module")
def client_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


class Table(Resolver):
    """Says what it was told to, and remembers what it was asked."""

    def initialize(self, *addresses: Any, delay: asyncio.Event | None = None) -> None:
        self.addresses = list(addresses)
        self.asked: list[Any] = []
        self.delay = delay
        self.closed = False

    async def resolve(self, host: str, port: int, family: Any = socket.AF_UNSPEC) -> list[tuple[int, Any]]:
        self.asked.append((host, port, family))
        if self.delay is not None:
            await self.delay.wait()
        return self.addresses

    def close(self) -> None:
        self.closed = True


def table(*addresses: Any, **kwargs: Any) -> Table:
    resolver = Table.__new__(Table)
    resolver.initialize(*addresses, **kwargs)
    return resolver


class Peers:
    """What the server below has accepted."""

    def __init__(self) -> None:
        self.names: asyncio.Queue[Any] = asyncio.Queue()
        self.address: tuple[str, int] = ("", 0)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.names.put_nowait(writer.get_extra_info("peername"))
        writer.write(b"hello\n")
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                writer.write(line)
        writer.close()


@contextlib.asynccontextmanager
async def serving(host: str = "127.0.0.1", **kwargs: Any) -> AsyncIterator[Peers]:
    """A server that greets, sends lines back, and whose connections have ended when the block does."""
    peers = Peers()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        await peers.serve(reader, writer)

    server = await asyncio.start_server(serve, host, 0, **kwargs)
    peers.address = server.sockets[0].getsockname()[:2]
    try:
        yield peers
    finally:
        server.close()
        if tasks:
            await asyncio.wait(tasks)


@pytest.fixture
def refused() -> Iterator[tuple[str, int]]:
    """An address that refuses: bound, so that nobody else gets it, and not listening."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()


@pytest.fixture
def silent() -> Iterator[tuple[str, int]]:
    """An address that does not answer: a listener whose queue is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            guest = stack.enter_context(socket.socket())
            guest.setblocking(False)
            guest.connect_ex(listener.getsockname())
        yield listener.getsockname()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[socket.socket]:
    """The sockets that the client opens."""
    made: list[socket.socket] = []

    class Recorded(socket.socket):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            made.append(self)

    class Module:
        socket = Recorded

        def __getattr__(self, name: str) -> Any:
            return getattr(socket, name)

    monkeypatch.setattr(tcpclient, "socket", Module())
    return made


async def fails(connecting: Awaitable[IOStream], kind: type[BaseException] = StreamClosedError) -> Any:
    with pytest.raises(kind) as caught:
        await connecting
    return caught.value


async def settle() -> None:
    """Let what was cancelled end."""
    for _ in range(5):
        await asyncio.sleep(0)


# --- one address ---


async def test_connects_and_is_greeted() -> None:
    async with serving() as peers:
        client = TCPClient()
        stream = await client.connect(*peers.address)
        assert type(stream) is IOStream
        assert await stream.read_until(b"\n") == b"hello\n"
        await stream.write(b"a line\n")
        assert await stream.read_until(b"\n") == b"a line\n"
        assert stream.socket.getsockname() == await peers.names.get()
        stream.close()
        client.close()


async def test_the_wire_can_be_taken_at_once() -> None:
    async with serving() as peers:
        wire, early = (await TCPClient().connect(*peers.address)).detach_wire()
        assert early in (b"", b"hello\n")
        wire.abort()


async def test_the_buffer_size_reaches_the_stream() -> None:
    async with serving() as peers:
        stream = await TCPClient().connect(*peers.address, max_buffer_size=1000)
        assert stream.max_buffer_size == 1000
        stream.close()


async def test_nobody_listens(refused: Any, opened: list[socket.socket]) -> None:
    error = await fails(TCPClient().connect(*refused))
    assert isinstance(error.real_error, ConnectionRefusedError)
    assert error.__cause__ is error.real_error
    assert re.search(r"connecting to 127\.0\.0\.1:\d+: 127\.0\.0\.1: .*(refused|failed)", error.__notes__[0])
    assert [sock.fileno() for sock in opened] == [-1]


async def test_a_name_nobody_has() -> None:
    await fails(TCPClient().connect("nosuch.invalid", 80), socket.gaierror)
    # More than a label of a name may have.
    await fails(TCPClient().connect("x" * 64 + ".invalid", 80), UnicodeError)


@pytest.mark.parametrize("port", [-1, 65536, 70000])
async def test_a_port_out_of_range_is_refused(port: int) -> None:
    with pytest.raises(ValueError, match=r"^port must be 0 to 65535"):
        await TCPClient().connect("127.0.0.1", port)
    with pytest.raises(ValueError, match=r"^source_port must be 0 to 65535"):
        await TCPClient().connect("127.0.0.1", 80, source_port=port)


# --- the resolver ---


async def test_the_resolver_is_asked_for_the_family() -> None:
    async with serving() as peers:
        resolver = table((V4, peers.address))
        client = TCPClient(resolver=resolver)
        assert client.resolver is resolver
        stream = await client.connect("a.test", 12, af=V4)
        assert resolver.asked == [("a.test", 12, V4)]
        stream.close()


def test_only_its_own_resolver_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    given = table()
    TCPClient(given).close()
    assert not given.closed
    client = TCPClient()
    closed: list[Resolver] = []
    monkeypatch.setattr(type(client.resolver), "close", lambda self: closed.append(self))
    client.close()
    assert closed == [client.resolver]


async def test_a_resolver_without_an_address() -> None:
    error = await fails(TCPClient(table()).connect("a.test", 80), socket.gaierror)
    assert "a.test has no address" in str(error)


# --- several addresses ---


def test_families_take_turns() -> None:
    four = [(V4, ("192.0.2.1", 1)), (V4, ("192.0.2.2", 1))]
    six = [(V6, ("2001:db8::1", 1)), (V6, ("2001:db8::2", 1)), (V6, ("2001:db8::3", 1))]
    assert take_turns([*six, *four]) == [six[0], four[0], six[1], four[1], six[2]]
    assert take_turns([*four, *six]) == [four[0], six[0], four[1], six[1], six[2]]
    assert take_turns(four) == four
    assert take_turns([]) == []


async def test_after_a_refusal_the_next_address_is_tried_at_once(
    refused: Any, opened: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcpclient, "ATTEMPT_DELAY", 3600.0)
    async with serving() as peers:
        resolver = table((V4, refused), (V4, refused), (V4, peers.address))
        stream = await TCPClient(resolver).connect("a.test", 80)
        assert await stream.read_until(b"\n") == b"hello\n"
        stream.close()
    assert [sock.fileno() for sock in opened] == [-1, -1, -1]


async def test_a_silent_address_is_overtaken(silent: Any, opened: list[socket.socket]) -> None:
    async with serving() as peers:
        start = time.monotonic()
        stream = await TCPClient(table((V4, silent), (V4, peers.address))).connect("a.test", 80)
        assert time.monotonic() - start >= tcpclient.ATTEMPT_DELAY - 0.01
        assert await stream.read_until(b"\n") == b"hello\n"
        await settle()
        assert [sock.fileno() for sock in opened] == [-1, stream.fileno().fileno()]
        stream.close()


async def test_no_further_address_is_tried_after_the_first_has_answered(opened: list[socket.socket]) -> None:
    async with serving() as peers:
        stream = await TCPClient(table(*[(V4, peers.address)] * 3)).connect("a.test", 80)
        assert len(opened) == 1
        stream.close()


async def test_two_that_answer_in_one_turn(
    opened: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcpclient, "ATTEMPT_DELAY", 0.0)
    async with serving() as peers:
        for _ in range(20):
            opened.clear()
            stream = await TCPClient(table(*[(V4, peers.address)] * 4)).connect("a.test", 80)
            await settle()
            assert sum(sock.fileno() != -1 for sock in opened) == 1
            stream.close()


async def test_the_error_that_says_most_is_reported(refused: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = (V4, ("192.0.2.1", 80))
    original = tcpclient._attempt

    async def attempt(family: int, address: Any, source: Any) -> socket.socket:
        if address == lost[1]:
            raise OSError(errno.ENETUNREACH, "Network is unreachable")
        return await original(family, address, source)

    monkeypatch.setattr(tcpclient, "_attempt", attempt)
    for addresses in ([lost, (V4, refused)], [(V4, refused), lost]):
        error = await fails(TCPClient(table(*addresses)).connect("a.test", 80))
        assert isinstance(error.real_error, ConnectionRefusedError)
        assert "192.0.2.1: [Errno 101]" in error.__notes__[0] or "unreachable" in error.__notes__[0]
    error = await fails(TCPClient(table(lost, lost)).connect("a.test", 80))
    assert error.real_error.errno == errno.ENETUNREACH


# --- where from ---


async def test_from_an_address_of_this_machine() -> None:
    async with serving() as peers:
        stream = await TCPClient().connect(*peers.address, source_ip="127.0.0.1")
        assert (await peers.names.get())[0] == "127.0.0.1"
        stream.close()


@pytest.mark.parametrize("source_ip", [None, "127.0.0.1"])
async def test_from_a_port(source_ip: str | None, refused: Any) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with serving() as peers:
        # The attempts before it have used the port too.
        resolver = table((V4, refused), (V4, refused), (V4, peers.address))
        stream = await TCPClient(resolver).connect("a.test", 80, source_ip=source_ip, source_port=port)
        assert (await peers.names.get()) == ("127.0.0.1", port)
        stream.close()


async def test_only_addresses_of_the_family_of_the_source_are_tried(opened: list[socket.socket]) -> None:
    async with serving() as peers:
        resolver = table((V6, ("::1", 1, 0, 0)), (V4, peers.address))
        stream = await TCPClient(resolver).connect("a.test", 80, source_ip="127.0.0.1")
        assert [sock.family for sock in opened] == [V4]
        stream.close()
    await fails(TCPClient(resolver).connect("a.test", 80, source_ip="::"), StreamClosedError)
    assert [sock.family for sock in opened] == [V4, V6]
    await fails(TCPClient(table((V4, ("127.0.0.1", 1)))).connect("a", 80, source_ip="::1"), socket.gaierror)


async def test_a_source_that_is_not_ours(refused: Any, opened: list[socket.socket]) -> None:
    error = await fails(TCPClient().connect(*refused, source_ip="192.0.2.77"))
    assert error.real_error.errno == errno.EADDRNOTAVAIL
    assert [sock.fileno() for sock in opened] == [-1]
    with pytest.raises(ValueError, match="source_ip must be an IP address, not 'localhost'"):
        await TCPClient().connect(*refused, source_ip="localhost")


# --- time ---


def absolute(seconds: float) -> float:
    return IOLoop.current().time() + seconds


@pytest.mark.parametrize("limit", [lambda s: datetime.timedelta(seconds=s), absolute])
async def test_time_is_limited(
    silent: Any, opened: list[socket.socket], limit: Callable[[float], Any]
) -> None:
    error = await fails(
        TCPClient(table((V4, silent))).connect("a.test", 81, timeout=limit(0.05)), TimeoutError
    )
    assert str(error) == "Timeout while connecting to a.test:81"
    await settle()
    assert [sock.fileno() for sock in opened] == [-1]


async def test_time_that_is_over_already(opened: list[socket.socket]) -> None:
    async with serving() as peers:
        await fails(TCPClient().connect(*peers.address, timeout=datetime.timedelta(0)), TimeoutError)
    with pytest.raises(TypeError, match="Unsupported timeout '1'"):
        await TCPClient().connect(*peers.address, timeout="1")  # type: ignore[arg-type]


async def test_enough_time() -> None:
    async with serving() as peers:
        stream = await TCPClient().connect(*peers.address, timeout=datetime.timedelta(seconds=20))
        assert await stream.read_until(b"\n") == b"hello\n"
        stream.close()


async def test_the_time_of_the_look_up_counts() -> None:
    never = table(delay=asyncio.Event())
    await fails(
        TCPClient(never).connect("a.test", 80, timeout=datetime.timedelta(seconds=0.01)), TimeoutError
    )


async def test_the_time_of_the_handshake_counts(client_context: ssl.SSLContext) -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            pass
        ended.set()
        writer.close()

    ended = asyncio.Event()
    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    limit = datetime.timedelta(seconds=0.1)
    connecting = TCPClient().connect(*address, ssl_options=client_context, timeout=limit)
    await fails(connecting, TimeoutError)
    await ended.wait()  # our side has been closed
    server.close()


@pytest.mark.parametrize("with_tls", [False, True])
async def test_a_cancelled_connect_leaves_nothing(
    silent: Any, opened: list[socket.socket], client_context: ssl.SSLContext, with_tls: bool
) -> None:
    resolver = table((V4, silent), (V4, silent))
    options = client_context if with_tls else None
    task = asyncio.create_task(TCPClient(resolver).connect("a.test", 80, ssl_options=options))
    while not opened:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await settle()
    assert [sock.fileno() for sock in opened] == [-1]


async def test_cancelled_in_any_turn(client_context: ssl.SSLContext, server_context: ssl.SSLContext) -> None:
    """Wherever it is when it is cancelled: the server sees the end of every connection it has accepted."""
    async with serving(ssl=server_context) as peers:
        for turns in range(0, 60, 3):
            task = asyncio.create_task(TCPClient().connect(*peers.address, ssl_options=client_context))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                (await task).close()


# --- TLS ---


async def test_tls(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> None:
    async with serving(ssl=server_context) as peers:
        stream = await TCPClient().connect(*peers.address, ssl_options=client_context)
        assert isinstance(stream, SSLIOStream)
        assert await stream.read_until(b"\n") == b"hello\n"
        await stream.write(b"secret\n")
        assert await stream.read_until(b"\n") == b"secret\n"
        assert stream.socket.version().startswith("TLSv1.")
        assert stream.socket.getpeercert()["subjectAltName"]
        stream.close()


async def test_tls_by_name_and_dictionary(
    server_context: ssl.SSLContext, authority: trustme.CA, tmp_path: Any
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    options = {"ca_certs": str(tmp_path / "ca.pem")}
    async with serving(ssl=server_context) as peers:
        resolver = table((V4, peers.address))
        for host in ("localhost", "localhost."):
            stream = await TCPClient(resolver).connect(host, 443, ssl_options=options)
            assert await stream.read_until(b"\n") == b"hello\n"
            stream.close()


async def test_a_certificate_for_another_name(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext, expect_log: Any
) -> None:
    async with serving(ssl=server_context) as peers:
        client = TCPClient(table((V4, peers.address)))
        connecting = client.connect("other.test", 443, ssl_options=client_context)
        with expect_log("webfw.general", "SSL Error"):
            assert "other.test" in str(await fails(connecting, ssl.SSLCertVerificationError))


async def test_an_unknown_authority(server_context: ssl.SSLContext, expect_log: Any) -> None:
    async with serving(ssl=server_context) as peers:
        with expect_log("webfw.general", "SSL Error"):
            await fails(TCPClient().connect(*peers.address, ssl_options={}), ssl.SSLCertVerificationError)
        unchecked = {"cert_reqs": ssl.CERT_NONE}
        stream = await TCPClient().connect(*peers.address, ssl_options=unchecked)
        assert await stream.read_until(b"\n") == b"hello\n"
        stream.close()


async def test_a_server_without_tls(client_context: ssl.SSLContext, expect_log: Any) -> None:
    async with serving() as peers:
        with expect_log("webfw.general", "SSL Error"):
            await fails(TCPClient().connect(*peers.address, ssl_options=client_context), ssl.SSLError)


async def test_a_server_that_hangs_up_in_the_handshake(client_context: ssl.SSLContext) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.transport.abort()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    error = await fails(TCPClient().connect(*address, ssl_options=client_context), OSError)
    assert isinstance(error, StreamClosedError | ssl.SSLError)
    server.close()


async def test_wrong_tls_options_are_refused_before_anything_is_done() -> None:
    resolver = table()
    with pytest.raises(ValueError, match="unknown ssl_options: certificate"):
        await TCPClient(resolver).connect("a.test", 80, ssl_options={"certificate": "x"})
    assert resolver.asked == []


@pytest.mark.parametrize(
    ("host", "name"),
    [("::1", "::1"), ("fe80::1%eth0", "fe80::1"), ("a.test.", "a.test"), ("127.0.0.1", "127.0.0.1")],
)
def test_the_name_a_certificate_is_for(host: str, name: str) -> None:
    assert tcpclient._name_of(host) == name


# --- wires ---


class Wires:
    """Takes a wire, and counts the steps on the way to it."""

    def __init__(self) -> None:
        self.wires: list[Wire] = []
        self.steps: list[str] = []
        self.received = b""
        self.lost = asyncio.Event()

    def connected(self, wire: Wire) -> None:
        self.wires.append(wire)
        wire.consumer = self

    def data_received(self, data: bytes) -> None:
        self.received += data

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()

    def resume_writing(self) -> None:
        pass


async def test_a_wire() -> None:
    took = Wires()
    async with serving() as peers:
        await TCPClient().connect_wire(took.connected, *peers.address[:2], progress=took.steps.append)
        assert took.steps == ["connecting"]
        assert len(took.wires) == 1
        await peers.names.get()
        took.wires[0].abort()
        await took.lost.wait()


async def test_a_wire_under_tls(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> None:
    took = Wires()
    async with serving(ssl=server_context) as peers:
        await TCPClient().connect_wire(
            took.connected, "localhost", peers.address[1], context=client_context, progress=took.steps.append,
            source_ip="127.0.0.1",
        )  # fmt: skip
        assert took.steps == ["connecting", "TLS handshake"]
        assert took.wires[0].get_extra_info("ssl_object") is not None
        took.wires[0].abort()
        await took.lost.wait()


async def test_who_has_given_up_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """As by uvloop, which keeps the wire of a cancelled handshake until the time for one is over."""
    kept: list[Wire] = []

    async def create_connection(factory: Callable[[], Wire], **kwargs: Any) -> None:
        kept.append(factory())
        raise asyncio.CancelledError

    class Caller:
        def connected(self, wire: Wire) -> None:
            raise AssertionError

    caller = Caller()
    known = weakref.ref(caller)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", create_connection)
        with pytest.raises(asyncio.CancelledError):
            await TCPClient().connect_wire(caller.connected, *listening.getsockname())
    del caller
    gc.collect()
    assert known() is None
    transport = SimpleNamespace(write=None, abort=lambda: kept.clear())
    kept[0].connection_made(transport)  # type: ignore[arg-type]  # should it come all the same
    assert not kept


async def test_a_wire_to_nobody(refused: Any) -> None:
    took = Wires()
    with pytest.raises(ConnectionRefusedError) as caught:
        await TCPClient(table((V4, refused))).connect_wire(took.connected, "a.test", 80)
    assert "connecting to a.test:80: " in caught.value.__notes__[0]
    with pytest.raises(ValueError, match="port must be"):
        await TCPClient().connect_wire(took.connected, "a.test", 65536)
    assert took.wires == []


async def test_unix_sockets(tmp_path: Any) -> None:
    peers, took = Peers(), Wires()
    path = str(tmp_path / "a.sock")
    server = await asyncio.start_unix_server(peers.serve, path)
    try:
        await TCPClient().connect_wire(
            took.connected, "localhost", unix_path=path, progress=took.steps.append
        )
        assert took.steps == ["connecting"]
        took.wires[0].abort()
        await took.lost.wait()
        # And where a resolver knows one.
        stream = await TCPClient(table((socket.AF_UNIX, path))).connect("backend", 80)
        assert await stream.read_until(b"\n") == b"hello\n"
        stream.close()
    finally:
        server.close()
        await server.wait_closed()
    missing = str(tmp_path / "b.sock")
    with pytest.raises(StreamClosedError) as caught:
        await TCPClient(table((socket.AF_UNIX, missing))).connect("backend", 80)
    assert isinstance(caught.value.real_error, FileNotFoundError)
    assert caught.value.__notes__[0].startswith(f"connecting to backend:80: {missing}: ")
