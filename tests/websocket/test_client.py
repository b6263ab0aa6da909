"""Tests of webfw.websocket.client."""

import asyncio
import contextlib
import datetime
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import pytest
import trustme
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from webfw.httpclient import HTTPClientError, HTTPRequest, HTTPTimeoutError
from webfw.httputil import HTTPHeaders
from webfw.ioloop import IOLoop
from webfw.netutil import Resolver
from webfw.sansio.errors import LocalProtocolError
from webfw.sansio.websocket import accept_value, encode_frame
from webfw.testing.fakes import FakeWire
from webfw.websocket import (
    WebSocketClientConnection,
    WebSocketClosedError,
    WebSocketError,
    client,
    websocket_connect,
)
from webfw.websocket.opening import Opening

Serve = Callable[[ServerConnection], Awaitable[None]]


class Peer:
    """A server of the websockets package."""

    def __init__(self) -> None:
        self.address = ""
        self.connections: list[ServerConnection] = []
        self.done: asyncio.Queue[tuple[int | None, str | None]] = asyncio.Queue()

    def url(self, scheme: str = "ws") -> str:
        return f"{scheme}://{self.address}/"


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


@contextlib.asynccontextmanager
async def serving(handler: Serve = echo, **kwargs: Any) -> AsyncIterator[Peer]:
    peer = Peer()

    async def handle(connection: ServerConnection) -> None:
        peer.connections.append(connection)
        with contextlib.suppress(ConnectionClosed):
            await handler(connection)
        await connection.wait_closed()
        peer.done.put_nowait((connection.close_code, connection.close_reason))

    options = {"compression": None, "ping_interval": None} | kwargs
    async with serve(handle, "127.0.0.1", 0, **options) as server:
        peer.address = "{}:{}".format(*server.sockets[0].getsockname())
        yield peer


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture(scope="module")
def client_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


# --- messages, there and back ---

MESSAGES: list[str | bytes] = [
    "",
    b"",
    "hello",
    b"\0\xff",
    "ä€😀" * 50,
    "x" * 125,
    "x" * 126,
    b"y" * 65535,
    b"z" * 65536,
    "a long text that can be compressed. " * 3000,
]


@pytest.mark.parametrize(
    ("server", "options"),
    [
        (None, None),
        (None, {}),
        ("deflate", None),
        ("deflate", {}),
        ("deflate", {"compression_level": 1, "mem_level": 5, "threshold": 0}),
        ("deflate", {"server_no_context_takeover": True, "client_no_context_takeover": True}),
        ("deflate", {"server_max_window_bits": 9, "client_max_window_bits": 10}),
    ],
)
async def test_messages_come_back(server: str | None, options: dict[str, Any] | None) -> None:
    async with serving(compression=server) as peer:
        connection = await websocket_connect(peer.url(), compression_options=options)
        assert connection.protocol is not None
        agreed = connection.protocol.machine.deflate is not None
        assert agreed == (server is not None and options is not None)
        for message in MESSAGES * 2:
            await connection.write_message(message, binary=isinstance(message, bytes))
            assert await connection.read_message() == message
        connection.close(1000, "bye")
        assert await connection.read_message() is None
        assert await peer.done.get() == (1000, "bye")
        assert (connection.close_code, connection.close_reason) == (1000, "bye")


async def test_over_tls(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> None:
    async with serving(ssl=server_context, compression="deflate") as peer:
        request = HTTPRequest(peer.url("wss"), ssl_options=client_context)
        async with websocket_connect(request, compression_options={}) as connection:
            for message in MESSAGES:
                await connection.write_message(message, binary=isinstance(message, bytes))
                assert await connection.read_message() == message
        assert await peer.done.get() == (1000, "")


async def test_what_programs_for_tornado_ask_of_a_connection() -> None:
    """As dask's distributed does, which opens its channels by WebSockets."""
    async with serving() as peer:
        connecting = websocket_connect(peer.url() + "path?query")
        async with connecting as connection:
            assert connection.parsed.netloc == peer.address
            assert connection.parsed.path == "/path"
            stream = connection.stream
            assert not stream.closed()
            assert stream.socket.getpeername()[1] == int(peer.address.rpartition(":")[2])
        while not stream.closed():  # it is the server that closes it
            await asyncio.sleep(0)
        assert stream.error is None
        assert connection.stream is stream

        given_up = websocket_connect(peer.url())
        unopened = WebSocketClientConnection(HTTPRequest(peer.url()))
        assert unopened.stream is None
        for future in (given_up, unopened.connect_future):
            future.cancel()
            with pytest.raises(asyncio.CancelledError):
                await future


async def test_a_certificate_nobody_knows(server_context: ssl.SSLContext, expect_log: Any) -> None:
    async with serving(ssl=server_context) as peer:
        with expect_log("webfw.general", "SSL Error"), pytest.raises(ssl.SSLCertVerificationError):
            await websocket_connect(peer.url("wss"))


@pytest.mark.parametrize("options", [None, {}])
async def test_a_mebibyte_there_and_back(options: dict[str, Any] | None) -> None:
    data = bytes(range(256)) * 4096
    async with (
        serving(compression="deflate", max_size=None) as peer,
        websocket_connect(peer.url(), compression_options=options) as connection,
    ):
        for _ in range(3):
            sent = connection.write_message(data, binary=True)
            assert await connection.read_message() == data
            await sent


async def test_a_dict_is_sent_as_json() -> None:
    async with serving() as peer, websocket_connect(peer.url()) as connection:
        connection.write_message({"a": [1, None]})
        assert await connection.read_message() == '{"a": [1, null]}'


async def test_kinds_of_messages() -> None:
    async with serving() as peer, websocket_connect(peer.url()) as connection:
        connection.write_message("ä", binary=True)
        assert await connection.read_message() == b"\xc3\xa4"
        connection.write_message(b"\xc3\xa4")
        assert await connection.read_message() == "ä"
        with pytest.raises(TypeError):
            connection.write_message(5)  # type: ignore[arg-type]


async def test_fragments() -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.send(["a", "", "b" * 70_000, "ä"])
        await connection.send([b"1", b"2"])

    async with serving(handler, compression="deflate") as peer:
        for options in (None, {}):
            async with websocket_connect(peer.url(), compression_options=options) as connection:
                assert await connection.read_message() == "a" + "b" * 70_000 + "ä"
                assert await connection.read_message() == b"12"


async def test_messages_are_iterated_over() -> None:
    async def handler(connection: ServerConnection) -> None:
        for number in range(100):
            await connection.send(str(number))
        await connection.close()

    async with serving(handler) as peer, websocket_connect(peer.url()) as connection:
        assert [message async for message in connection] == [str(number) for number in range(100)]


async def test_several_readers_are_served_in_order() -> None:
    async with serving() as peer, websocket_connect(peer.url()) as connection:
        readers = [connection.read_message() for _ in range(4)]
        readers[1].cancel()
        for text in ("a", "b", "c"):
            connection.write_message(text)
        assert [await reader for i, reader in enumerate(readers) if i != 1] == ["a", "b", "c"]


async def test_nothing_is_lost_when_a_reader_gives_up() -> None:
    async with serving() as peer, websocket_connect(peer.url()) as connection:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(connection.read_message(), 0.01)
        connection.write_message("a")
        assert await connection.read_message() == "a"


@pytest.mark.parametrize("others", [0, 1])
async def test_nothing_is_lost_when_a_reader_is_cancelled_just_as_a_message_comes(others: int) -> None:
    """As a timeout may do: between the message's coming and the reader's turn."""
    async with serving() as peer, websocket_connect(peer.url()) as connection:

        async def read() -> Any:
            return await connection.read_message()

        first = asyncio.ensure_future(read())
        await asyncio.sleep(0)
        later = [asyncio.ensure_future(read()) for _ in range(others)]
        await asyncio.sleep(0)
        connection.on_message("a")
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert (await later[0] if others else await connection.read_message()) == "a"
        await connection.write_message("b")
        assert await connection.read_message() == "b"
        assert connection._unread_size == 0


async def test_after_the_end_there_is_only_the_end() -> None:
    async with serving() as peer:
        connection = await websocket_connect(peer.url())
        waiting = [connection.read_message(), connection.read_message()]
        connection.close()
        assert [await reader for reader in waiting] == [None, None]
        assert await connection.read_message() is None
        assert await connection.read_message() is None
        connection.close()  # does no harm
        await connection.wait_closed()
        with pytest.raises(WebSocketClosedError):
            connection.write_message("x")
        with pytest.raises(WebSocketClosedError):
            connection.ping()


async def test_callbacks_of_futures() -> None:
    async with serving() as peer:
        results: asyncio.Queue[Any] = asyncio.Queue()
        websocket_connect(peer.url(), callback=results.put_nowait)
        future = await results.get()
        connection = future.result()
        connection.write_message("a")
        connection.read_message(callback=results.put_nowait)
        assert (await results.get()).result() == "a"
        connection.close()
        await connection.wait_closed()


# --- messages that nobody reads ---


async def flood(connection: ServerConnection) -> None:
    for _ in range(1000):
        await connection.send("x" * 10_000)
    await connection.send("last")


async def test_a_program_that_does_not_read_holds_the_server_back() -> None:
    async with serving(flood) as peer:
        connection = await websocket_connect(peer.url())
        protocol = connection.protocol
        assert protocol is not None
        while not protocol._held:
            await asyncio.sleep(0.001)
        for _ in range(20):  # nothing more comes
            await asyncio.sleep(0)
        assert len(connection.read_queue) <= client.MAX_UNREAD
        assert sum(map(len, connection.read_queue)) <= client.MAX_UNREAD_SIZE + 10_000
        assert protocol.machine.pending < 256 * 1024
        for _ in range(1000):
            assert await connection.read_message() == "x" * 10_000
        assert await connection.read_message() == "last"
        connection.close()
        await connection.wait_closed()


async def test_small_messages_are_counted() -> None:
    async def handler(connection: ServerConnection) -> None:
        for number in range(1000):
            await connection.send(str(number))

    async with serving(handler) as peer:
        connection = await websocket_connect(peer.url())
        while len(connection.read_queue) < client.MAX_UNREAD:
            await asyncio.sleep(0.001)
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(connection.read_queue) == client.MAX_UNREAD
        assert [await connection.read_message() for _ in range(1000)] == [str(n) for n in range(1000)]
        connection.close()
        await connection.wait_closed()


async def test_unread_messages_do_not_hold_a_close_up() -> None:
    async with serving(flood) as peer:
        async with websocket_connect(peer.url()) as connection:
            while len(connection.read_queue) < 7:
                await asyncio.sleep(0.001)
        assert await peer.done.get() == (1000, "")
        # What has come is still there.
        assert await connection.read_message() == "x" * 10_000


async def test_what_came_before_the_close_is_read() -> None:
    async def handler(connection: ServerConnection) -> None:
        for number in range(200):
            await connection.send(str(number))
        await connection.close(4000, "over")

    async with serving(handler) as peer:
        connection = await websocket_connect(peer.url())
        while len(connection.read_queue) < client.MAX_UNREAD:
            await asyncio.sleep(0.001)
        assert [message async for message in connection] == [str(number) for number in range(200)]
        assert (connection.close_code, connection.close_reason) == (4000, "over")


async def test_a_slow_server_holds_the_program_back() -> None:
    async def handler(connection: ServerConnection) -> None:
        await go_on.wait()
        got.extend([message async for message in connection])

    go_on = asyncio.Event()
    got: list[Any] = []
    async with serving(handler) as peer:
        connection = await websocket_connect(peer.url())
        count = 0
        while True:
            sent = asyncio.ensure_future(connection.write_message(b"x" * 100_000, binary=True))
            count += 1
            done, _ = await asyncio.wait([sent], timeout=0.1)
            if not done:
                break
            assert count < 500
        go_on.set()
        await sent
        connection.close()
        await peer.done.get()
        assert len(got) == count
        await connection.wait_closed()


# --- a callback for messages ---


async def test_a_callback_gets_messages_and_the_end() -> None:
    got: list[Any] = []
    async with serving() as peer:
        connection = await websocket_connect(peer.url(), on_message_callback=got.append)
        with pytest.raises(RuntimeError, match="on_message_callback"):
            connection.read_message()
        connection.write_message("a")
        connection.write_message(b"b", binary=True)
        while len(got) < 2:
            await asyncio.sleep(0.001)
        connection.close()
        await connection.wait_closed()
        assert got == ["a", b"b", None]


async def test_messages_wait_for_a_coroutine() -> None:
    got: list[Any] = []

    async def callback(message: Any) -> None:
        got.append(message)
        await asyncio.sleep(0.001)
        got.append("done")

    async with serving() as peer:
        connection = await websocket_connect(peer.url(), on_message_callback=callback)
        connection.write_message("a")
        connection.write_message("b")
        while len(got) < 4:
            await asyncio.sleep(0.001)
        connection.close()
        await connection.wait_closed()
        while connection._last:
            await asyncio.sleep(0.001)
        assert got == ["a", "done", "b", "done", None, "done"]


async def test_what_a_callback_returns_may_be_anything() -> None:
    got: list[Any] = []

    def callback(message: Any) -> int:
        got.append(message)
        return 5

    async with serving() as peer:
        connection = await websocket_connect(peer.url(), on_message_callback=callback)
        connection.write_message("a")
        while not got:
            await asyncio.sleep(0.001)
        connection.close()
        await connection.wait_closed()


@pytest.mark.parametrize("in_coroutine", [False, True])
async def test_a_callback_that_raises_ends_the_connection(in_coroutine: bool, expect_log: Any) -> None:
    def callback(message: Any) -> Any:
        if in_coroutine:
            return later()
        raise ValueError("no")

    async def later() -> None:
        raise ValueError("no")

    async with serving() as peer:
        connection = await websocket_connect(peer.url(), on_message_callback=callback)
        with expect_log(
            "webfw.application", "Uncaught exception of the WebSocket to ws://", count=2
        ) as records:
            connection.write_message("a")
            await connection.wait_closed()
            while connection._last:
                await asyncio.sleep(0)
        assert [str(record.exc_info[1]) for record in records] == [
            "no",
            "no",
        ]  # of the message and of the end
        assert (await peer.done.get())[0] == 1011


async def test_callbacks_run_in_the_context_of_the_caller() -> None:
    variable: ContextVar[str] = ContextVar("variable")
    variable.set("mine")
    got: list[Any] = []
    async with serving() as peer:
        connection = await websocket_connect(
            peer.url(), on_message_callback=lambda message: got.append((message, variable.get()))
        )
        connection.write_message("a")
        while not got:
            await asyncio.sleep(0.001)
        connection.close()
        await connection.wait_closed()
    assert got == [("a", "mine"), (None, "mine")]


async def test_subclasses_may_override() -> None:
    events: list[Any] = []

    class Client(WebSocketClientConnection):
        def on_message(self, message: Any) -> None:
            events.append(message)

        def on_ping(self, data: bytes) -> None:
            events.append(("ping", data))

        def on_pong(self, data: bytes) -> None:
            events.append(("pong", data))

        def on_ws_connection_close(self, close_code: Any = None, close_reason: Any = None) -> None:
            events.append((close_code, close_reason))

        def on_connection_close(self) -> None:
            events.append("closed")

    async def handler(connection: ServerConnection) -> None:
        await (await connection.ping(b"1"))
        await connection.send("a")
        await connection.recv()
        await connection.close(4001, "enough")

    async with serving(handler) as peer:
        connection = Client(HTTPRequest(peer.url()))
        assert await connection.connect_future is connection
        connection.ping("2")
        connection.write_message("b")
        await connection.wait_closed()
    assert sorted(map(str, events)) == sorted(
        map(str, [("ping", b"1"), ("pong", b"2"), "a", None, (4001, "enough"), "closed"])
    )
    assert events[-3:] == [None, (4001, "enough"), "closed"]


async def test_hooks_that_raise_do_not_keep_the_others_from_running(expect_log: Any) -> None:
    closed: list[bool] = []

    class Client(WebSocketClientConnection):
        def on_ws_connection_close(self, close_code: Any = None, close_reason: Any = None) -> None:
            raise ValueError("hook")

        def on_connection_close(self) -> None:
            closed.append(True)

    async with serving() as peer:
        connection = await Client(HTTPRequest(peer.url())).connect_future
        with expect_log("webfw.application", "Uncaught exception", count=1):
            connection.close()
            await connection.wait_closed()
    assert closed == [True]


# --- pings ---


async def test_pings_are_answered() -> None:
    async def handler(connection: ServerConnection) -> None:
        latency = await (await connection.ping(b"x"))
        await connection.send(f"{latency >= 0}")

    async with serving(handler) as peer, websocket_connect(peer.url()) as connection:
        assert await connection.read_message() == "True"


async def test_a_ping_that_is_too_long() -> None:
    async with serving() as peer, websocket_connect(peer.url()) as connection:
        with pytest.raises(LocalProtocolError):
            connection.ping(b"x" * 126)


async def test_pings_in_an_interval() -> None:
    pongs: asyncio.Queue[bytes] = asyncio.Queue()

    class Client(WebSocketClientConnection):
        def on_pong(self, data: bytes) -> None:
            pongs.put_nowait(data)

    async with serving() as peer:
        connection = await Client(HTTPRequest(peer.url()), ping_interval=0.3).connect_future
        for _ in range(3):
            await pongs.get()
        assert connection.params.ping_interval == 0.3
        connection.close()
        await connection.wait_closed()


# --- what was agreed on ---


async def test_subprotocols() -> None:
    async with (
        serving(subprotocols=["b", "c"]) as peer,  # type: ignore[list-item]
        websocket_connect(peer.url(), subprotocols=["a", "c"]) as connection,
    ):
        assert connection.selected_subprotocol == "c"
        assert connection.headers is not None
        assert connection.headers["Sec-WebSocket-Protocol"] == "c"
        assert peer.connections[-1].subprotocol == "c"
    async with serving() as peer, websocket_connect(peer.url(), subprotocols=["a"]) as connection:
        assert connection.selected_subprotocol is None


async def test_what_the_request_says_is_sent() -> None:
    async with serving() as peer:
        request = HTTPRequest(
            peer.url() + "p?q=1", headers={"X-Y": "z"}, auth_username="u", auth_password="v"
        )
        async with websocket_connect(request):
            pass
        sent = peer.connections[0].request
        assert sent is not None
        assert (sent.path, sent.headers["X-Y"]) == ("/p?q=1", "z")
        assert sent.headers["Authorization"] == "Basic dTp2"


async def test_a_resolver_of_ones_own() -> None:
    class Here(Resolver):
        closed = False

        async def resolve(self, host: str, port: int, family: Any = 0) -> Any:
            return [(2, tuple(address))]

        def close(self) -> None:
            self.closed = True

    async with serving() as peer:
        host, port = peer.address.split(":")
        address = [host, int(port)]
        resolver = object.__new__(Here)
        async with websocket_connect("ws://a.test/", resolver=resolver):
            pass
        assert not resolver.closed


# --- the end ---


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "going"), (4999, "ä" * 60)])
async def test_the_server_closes(code: int, reason: str) -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.close(code, reason)

    async with serving(handler) as peer:
        connection = await websocket_connect(peer.url())
        assert await connection.read_message() is None
        assert (connection.close_code, connection.close_reason) == (code, reason or None)
        assert (await peer.done.get())[0] == code


async def test_close_without_a_code() -> None:
    async with serving() as peer:
        connection = await websocket_connect(peer.url())
        connection.close()
        await connection.wait_closed()
        assert (await peer.done.get())[0] == 1005


@pytest.mark.parametrize(("code", "reason"), [(1005, None), (1006, None), (0, None), (1000, "x" * 124)])
async def test_a_close_that_may_not_be_sent(code: int, reason: str | None) -> None:
    async with serving() as peer, websocket_connect(peer.url()) as connection:
        with pytest.raises(LocalProtocolError):
            connection.close(code, reason)
        connection.write_message("still here")
        assert await connection.read_message() == "still here"


@pytest.mark.parametrize("with_tls", [False, True])
async def test_a_server_that_vanishes(
    with_tls: bool, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.recv()
        connection.transport.abort()

    async with serving(handler, **({"ssl": server_context} if with_tls else {})) as peer:
        request = HTTPRequest(peer.url("wss" if with_tls else "ws"), ssl_options=client_context)
        connection = await websocket_connect(request)
        connection.write_message("go")
        assert await connection.read_message() is None
        assert (connection.close_code, connection.close_reason) == (None, None)
        with pytest.raises(WebSocketClosedError):
            connection.write_message("x")


async def test_a_message_that_is_too_long() -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.send("x" * 1001)
        await connection.wait_closed()

    async with serving(handler) as peer:
        connection = await websocket_connect(peer.url(), max_message_size=1000)
        assert await connection.read_message() is None
        assert (await peer.done.get())[0] == 1009


# --- servers that do not follow the rules ---


@contextlib.asynccontextmanager
async def raw(after: bytes, *, wrong: bool = False, hang_up: bool = True) -> AsyncIterator[str]:
    """A server that accepts, sends some bytes, and ends the connection or waits for its end."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = str(await reader.readuntil(b"\r\n\r\n"), "latin-1").lower()
        key = next(line for line in head.splitlines() if line.startswith("sec-websocket-key"))
        key = keys.pop() if keys else key.split(": ")[1]
        fields = f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {key}\r\n\r\n"
        writer.write(f"HTTP/1.1 101 Switching\r\n{fields}".encode() + after)
        if not hang_up:
            await reader.read(1)  # the beginning of its Close, or its end
        writer.close()
        done.set()

    keys: list[str] = []
    done = asyncio.Event()
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("webfw.websocket.opening.new_key", lambda: "dGhlIHNhbXBsZSBub25jZQ==")
        keys.append("wrong" if wrong else accept_value("dGhlIHNhbXBsZSBub25jZQ=="))
        yield "ws://{}:{}/".format(*server.sockets[0].getsockname())
    await done.wait()
    server.close()


async def test_a_wrong_accept_key() -> None:
    async with raw(b"", wrong=True, hang_up=False) as url:
        with pytest.raises(WebSocketError, match="wrong Sec-WebSocket-Accept"):
            await websocket_connect(url)


async def test_frames_in_the_same_read_as_the_answer() -> None:
    frames = encode_frame(1, b"a") + encode_frame(1, b"b") + encode_frame(8, b"\x03\xe8")
    async with raw(frames, hang_up=False) as url:
        connection = await websocket_connect(url)
        assert [message async for message in connection] == ["a", "b"]
        assert connection.close_code == 1000


async def test_it_is_closed_when_its_socket_is() -> None:
    """Who waits for that leaves no socket to whoever comes after, such as `asyncio.run`."""
    async with raw(encode_frame(8, b"\x03\xe8"), hang_up=False) as url:
        connection = await websocket_connect(url)
        wire = connection.stream
        assert await connection.read_message() is None  # the server's Close says so
        assert not wire.closed()
        await connection.wait_closed()  # the server closes when it has our answer
        assert wire.closed()
        assert wire.get_extra_info("socket").fileno() == -1


async def test_a_server_that_speaks_and_goes_at_once() -> None:
    for count in (0, 1, 5, 40):
        frames = b"".join(encode_frame(1, b"%d" % number) for number in range(count))
        async with raw(frames) as url:
            connection = await websocket_connect(url)
            assert [message async for message in connection] == [str(number) for number in range(count)]
            assert connection.close_code is None


@pytest.mark.parametrize("state", ["eof", "closing"])
async def test_a_wire_that_has_ended_before_it_is_handed_over(
    state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire: Any = FakeWire(asyncio.get_running_loop())
    setattr(wire, state, True)

    async def opened(*args: Any) -> Opening:
        return Opening(wire, encode_frame(1, b"a"), HTTPHeaders(), None, None)

    monkeypatch.setattr(client, "open_websocket", opened)
    connection = await websocket_connect("ws://a.test/")
    assert await connection.read_message() == "a"
    assert wire.closing
    if state == "eof":
        wire.lose()
    assert await connection.read_message() is None


@pytest.mark.parametrize(
    ("frames", "code"),
    [(b"\x83\0", 1002), (b"\x81\x81\0\0\0\0a", 1002), (b"\x81\x01\xff", 1007), (b"\xc1\x01a", 1002)],
)
async def test_bad_frames_end_the_connection(frames: bytes, code: int, expect_log: Any) -> None:
    async with raw(frames, hang_up=False) as url:
        with expect_log("webfw.general", f"closed with {code}", level=20):
            connection = await websocket_connect(url)
            assert await connection.read_message() is None


# --- no connection ---


async def test_a_refusal() -> None:
    async with serving(process_request=lambda connection, request: connection.respond(403, "no\n")) as peer:
        with pytest.raises(HTTPClientError, match="HTTP 403: Forbidden") as caught:
            await websocket_connect(peer.url())
    assert caught.value.response is not None
    assert caught.value.response.body == b"no\n"


async def test_a_timeout_beside_a_request() -> None:
    with pytest.raises(ValueError, match="connect_timeout belongs into the HTTPRequest"):
        websocket_connect(HTTPRequest("ws://a.test/"), connect_timeout=1)
    with pytest.raises(ValueError, match="max_message_size"):
        websocket_connect("ws://a.test/", max_message_size=-1)


async def test_a_url_that_is_none() -> None:
    with pytest.raises(ValueError, match="not 'http'"):
        await websocket_connect("http://a.test/")


async def test_before_there_is_a_connection() -> None:
    async with serving() as peer:
        connecting = websocket_connect(peer.url(), connect_timeout=20)
        connection = WebSocketClientConnection(HTTPRequest(peer.url()))
        with pytest.raises(WebSocketClosedError):
            connection.write_message("x")
        with pytest.raises(WebSocketClosedError):
            connection.ping()
        reader = connection.read_message()
        connection.close()
        with pytest.raises(asyncio.CancelledError):
            await connection.connect_future
        await connection.wait_closed()
        assert await reader is None
        async with connecting:
            pass


async def test_cancelled_in_any_turn() -> None:
    async with serving() as peer:
        for turns in range(0, 40, 2):
            connecting = websocket_connect(peer.url())
            for _ in range(turns):
                await asyncio.sleep(0)
            if not connecting.cancel():
                connection = connecting.result()
                connection.close()
                await connection.wait_closed()
                continue
            with pytest.raises(asyncio.CancelledError):
                await connecting


async def test_a_server_that_does_not_answer() -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        ended.set()

    ended = asyncio.Event()
    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    url = "ws://{}:{}/".format(*server.sockets[0].getsockname())
    with pytest.raises(HTTPTimeoutError):
        await websocket_connect(HTTPRequest(url, request_timeout=0.4))

    async with asyncio.timeout(5):
        while not ended.is_set():
            await asyncio.sleep(0.001)
    server.close()


def test_from_outside_the_loop() -> None:
    """As programs of Tornado's style do it."""
    loop = IOLoop(make_current=False)

    async def main() -> Any:
        async with serving() as peer:
            connection = await websocket_connect(peer.url())
            connection.write_message("a")
            message = await connection.read_message()
            connection.close()
            await connection.wait_closed()
            return message

    try:
        assert loop.run_sync(main, timeout=datetime.timedelta(seconds=20).total_seconds()) == "a"
    finally:
        loop.close()


async def test_the_connection_is_a_context_manager_too() -> None:
    async with serving() as peer:
        connection = WebSocketClientConnection(HTTPRequest(peer.url()))
        async with connection as same:
            assert same is connection
            connection.write_message("a")
            assert await connection.read_message() == "a"
        assert connection.close_code == 1000
