"""WebSockets between webfw and others on real sockets: clients and servers of websockets and aiohttp, and its own."""

import asyncio
import contextlib
import os
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
import trustme
from aiohttp import web as aiohttp_web
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from webfw.httpclient import HTTPRequest
from webfw.httpserver import HTTPServer
from webfw.netutil import bind_sockets
from webfw.web import Application
from webfw.websocket import WebSocketHandler, broadcast, websocket_connect

Options = dict[str, Any] | None

MiB = 1 << 20

#: What a client offers and the server takes; None for no compression.
DEFLATE: dict[str, Options] = {
    "plain": None,
    "deflate": {},
    "no takeover": {"server_no_context_takeover": True, "client_no_context_takeover": True},
    "server forgets": {"server_no_context_takeover": True},
    "client forgets": {"client_no_context_takeover": True},
    "small windows": {"server_max_window_bits": 9, "client_max_window_bits": 9},
    "middle windows": {"server_max_window_bits": 12, "client_max_window_bits": 10},
}


class Echo(WebSocketHandler):
    """Echoes; ``close CODE REASON`` closes, ``ping`` pings, ``more N SIZE`` sends as many."""

    kind = "plain"
    options: Options = {"threshold": 0}
    closed: "asyncio.Queue[tuple[int | None, str | None]]"
    pongs: list[bytes]

    def initialize(self) -> None:  # type: ignore[override]
        self.pongs = []

    def get_compression_options(self) -> Options:
        return self.options

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        return "second" if "second" in subprotocols else None

    def on_message(self, message: str | bytes) -> Any:
        if self.kind == "async":
            return self.later(message)
        return self.act(message)

    def act(self, message: str | bytes) -> Any:
        if isinstance(message, str) and message.startswith("close "):
            _, code, reason = message.split(" ", 2)
            self.close(int(code), reason)
        elif message == "ping":
            self.ping(b"from the server")
        elif message == "pongs":
            self.write_message(b",".join(self.pongs), binary=True)
        else:
            return self.write_message(message, binary=isinstance(message, bytes))
        return None

    async def later(self, message: str | bytes) -> None:
        await asyncio.sleep(0)
        written = self.act(message)
        if written is not None:
            await written

    def on_pong(self, data: bytes) -> None:
        self.pongs.append(data)

    def on_close(self) -> None:
        self.closed.put_nowait((self.close_code, self.close_reason))


class Echoes:
    """A server of webfw."""

    def __init__(
        self, ssl_options: ssl.SSLContext | None, methods: dict[str, Any], settings: dict[str, Any]
    ) -> None:
        self.closed: asyncio.Queue[tuple[int | None, str | None]] = asyncio.Queue()
        self.handler = type("Echoing", (Echo,), {"closed": self.closed, **methods})
        self.application = Application([("/", self.handler)], log_function=lambda handler: None, **settings)
        self.server = HTTPServer(self.application, ssl_options=ssl_options)
        sockets = bind_sockets(0, "127.0.0.1")
        self.server.add_sockets(sockets)
        scheme = "ws" if ssl_options is None else "wss"
        self.url = f"{scheme}://127.0.0.1:{sockets[0].getsockname()[1]}/"


@contextlib.asynccontextmanager
async def echoes(
    ssl_options: ssl.SSLContext | None = None, settings: dict[str, Any] | None = None, **methods: Any
) -> AsyncIterator[Echoes]:
    there = Echoes(ssl_options, methods, settings or {})
    try:
        yield there
    finally:
        there.server.stop()
        await there.server.close_all_connections()
        assert not there.application.live


# --- clients ---


class WebsocketsClient:
    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.subprotocol = connection.subprotocol

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, url: str, deflate: Options = None, **kwargs: Any) -> AsyncIterator[Any]:
        extensions = [ClientPerMessageDeflateFactory(**deflate)] if deflate is not None else None
        async with connect(
            url, compression=None, extensions=extensions, max_size=None, proxy=None, **kwargs
        ) as connection:
            yield cls(connection)

    async def send(self, message: str | bytes) -> None:
        await self.connection.send(message)

    async def send_fragments(self, parts: list[Any]) -> None:
        await self.connection.send(parts)

    async def receive(self) -> str | bytes | None:
        try:
            return await self.connection.recv()  # type: ignore[no-any-return]
        except ConnectionClosed:
            return None

    async def ping(self, data: bytes) -> None:
        await (await self.connection.ping(data))

    async def close(self, code: int, reason: str) -> None:
        await self.connection.close(code, reason)

    def ended(self) -> tuple[int | None, str | None]:
        return self.connection.close_code, self.connection.close_reason


class AiohttpClient:
    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.subprotocol = connection.protocol
        self.reason = ""

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, url: str, deflate: Options = None, **kwargs: Any) -> AsyncIterator[Any]:
        compress = 0 if deflate is None else deflate.get("client_max_window_bits", 15)
        protocols = kwargs.pop("subprotocols", ())
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(
                url, compress=compress, max_msg_size=0, protocols=protocols, **kwargs
            ) as connection,
        ):
            yield cls(connection)

    async def send(self, message: str | bytes) -> None:
        await (
            self.connection.send_str(message)
            if isinstance(message, str)
            else self.connection.send_bytes(message)
        )

    async def receive(self) -> str | bytes | None:
        message = await self.connection.receive()
        if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            return message.data  # type: ignore[no-any-return]
        self.reason = message.extra or ""
        return None

    async def ping(self, data: bytes) -> None:
        await self.connection.ping(data)

    async def close(self, code: int, reason: str) -> None:
        await self.connection.close(code=code, message=reason.encode())

    def ended(self) -> tuple[int | None, str | None]:
        return self.connection.close_code, self.reason


class OwnClient:
    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.subprotocol = connection.selected_subprotocol

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, url: str, deflate: Options = None, **kwargs: Any) -> AsyncIterator[Any]:
        request = HTTPRequest(url, ssl_options=kwargs.pop("ssl", None))
        options = None if deflate is None else {"threshold": 0, **deflate}
        async with websocket_connect(
            request, compression_options=options, max_message_size=32 * MiB, **kwargs
        ) as connection:
            yield cls(connection)

    async def send(self, message: str | bytes) -> None:
        await self.connection.write_message(message, binary=isinstance(message, bytes))

    async def receive(self) -> str | bytes | None:
        return await self.connection.read_message()  # type: ignore[no-any-return]

    async def ping(self, data: bytes) -> None:
        self.connection.ping(data)

    async def close(self, code: int, reason: str) -> None:
        self.connection.close(code, reason)
        await self.connection.wait_closed()

    def ended(self) -> tuple[int | None, str | None]:
        return self.connection.close_code, self.connection.close_reason or ""


CLIENTS = {"websockets": WebsocketsClient, "aiohttp": AiohttpClient, "webfw": OwnClient}
clients = pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)

MESSAGES: list[str | bytes] = [
    *("", b"", "hello", b"\0\xff", "ä€😀" * 50),
    *("x" * size for size in (125, 126, 127, 65535, 65536)),
    *(b"y" * size for size in (125, 126, 65535, 65536)),
    "a long text that can be compressed. " * 1000,
    os.urandom(100_000),
]


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


async def there_and_back(far: Any, messages: list[str | bytes]) -> None:
    for message in messages:
        await far.send(message)
        assert await far.receive() == message


# --- clients of others, and ours, on a server of webfw ---


@clients
@pytest.mark.parametrize("kind", ["plain", "async"])
@pytest.mark.parametrize("deflate", DEFLATE.values(), ids=DEFLATE)
async def test_messages(client: Any, deflate: Options, kind: str) -> None:
    async with echoes(kind=kind) as there, client.open(there.url, deflate) as far:
        await there_and_back(far, MESSAGES)


@clients
@pytest.mark.parametrize("deflate", [None, {}], ids=["plain", "deflate"])
async def test_a_mebibyte_over_tls(
    client: Any, deflate: Options, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    async with echoes(server_context) as there:
        async with client.open(there.url, deflate, ssl=client_context) as far:
            await there_and_back(far, [*MESSAGES, os.urandom(MiB), "text " * (MiB // 5)])
            await far.close(1000, "done")
        assert await there.closed.get() == (1000, "done")


@pytest.mark.slow
@clients
@pytest.mark.parametrize("deflate", [None, {}], ids=["plain", "deflate"])
async def test_sixteen_mebibytes(client: Any, deflate: Options) -> None:
    settings = {"websocket_max_message_size": 16 * MiB}
    async with echoes(settings=settings) as there, client.open(there.url, deflate) as far:
        await there_and_back(far, [os.urandom(16 * MiB), "€" * (16 * MiB // 3)])


@pytest.mark.parametrize("deflate", DEFLATE.values(), ids=DEFLATE)
async def test_fragments_of_websockets(deflate: Options) -> None:
    async with echoes() as there, WebsocketsClient.open(there.url, deflate) as far:
        for parts in (["a", "b", "c"], ["", "", ""], [b"\0" * 1000] * 100, ["ä€😀"] * 300):
            await far.send_fragments(parts)
            assert await far.receive() == parts[0][:0].join(parts)  # type: ignore[attr-defined]


@clients
async def test_pings_both_ways(client: Any) -> None:
    async with echoes() as there, client.open(there.url) as far:
        await far.ping(b"from the client")
        await far.send("ping")
        await there_and_back(far, ["after"])
        await far.send("pongs")
        assert await far.receive() == b"from the server"


@clients
async def test_subprotocols(client: Any) -> None:
    async with echoes() as there:
        async with client.open(there.url, subprotocols=["first", "second"]) as far:
            assert far.subprotocol == "second"
        async with client.open(there.url, subprotocols=["first"]) as far:
            assert far.subprotocol is None


@clients
@pytest.mark.parametrize(
    ("code", "reason"), [(1000, ""), (1001, "going"), (4321, "größer"), (3000, "x" * 123)]
)
async def test_closes_both_ways(client: Any, code: int, reason: str) -> None:
    async with echoes() as there:
        async with client.open(there.url) as far:
            await far.close(code, reason)
        assert await there.closed.get() == (code, reason or None)
        async with client.open(there.url) as far:
            await far.send(f"close {code} {reason}")
            assert await far.receive() is None
            assert far.ended() == (code, reason)
        assert (await there.closed.get())[0] in (code, 1000)  # aiohttp answers 1000 to any


@clients
@pytest.mark.parametrize("kind", ["plain", "async"])
@pytest.mark.parametrize("deflate", [None, {}], ids=["plain", "deflate"])
async def test_a_thousand_in_flight(client: Any, kind: str, deflate: Options) -> None:
    async with echoes(kind=kind) as there, client.open(there.url, deflate) as far:
        messages = [f"message {n} " * (n % 20) for n in range(1000)]

        async def send() -> None:
            for message in messages:
                await far.send(message)

        sending = asyncio.ensure_future(send())
        assert [await far.receive() for _ in messages] == messages
        await sending


@clients
async def test_concurrent_senders(client: Any) -> None:
    """On both sides: messages may cross, but each arrives whole."""
    async with echoes(kind="async") as there, client.open(there.url, {}) as far:
        sets = [[f"{sender}-{n} " * 500 for n in range(20)] for sender in range(10)]

        async def send(messages: list[str]) -> None:
            for message in messages:
                await far.send(message)

        sending = asyncio.gather(*map(send, sets))
        found = [await far.receive() for _ in range(200)]
        await sending
        for sender, messages in enumerate(sets):
            assert [text for text in found if text.startswith(f"{sender}-")] == messages


@clients
async def test_a_broadcast_to_clients_of_all_kinds(client: Any) -> None:
    """Shared frames among messages of the connection's own, with and without compression."""
    async with echoes() as there, contextlib.AsyncExitStack() as stack:
        fars = [
            await stack.enter_async_context(client.open(there.url, deflate)) for deflate in DEFLATE.values()
        ]
        for n in range(5):
            for far in fars:
                await there_and_back(far, [f"own {n} " * 50])
            handlers: list[Any] = list(there.application.live)
            broadcast(handlers, f"shared {n} " * 50)
            assert [await far.receive() for far in fars] == [f"shared {n} " * 50] * len(fars)


async def test_with_sh_and_curl_there_is_no_upgrade() -> None:
    """A plain GET is told what is missing."""
    async with echoes() as there:
        process = await asyncio.create_subprocess_exec(
            "curl", "-s", "-i", there.url.replace("ws:", "http:"), stdout=subprocess.PIPE
        )
        output, _ = await process.communicate()
        assert output.startswith(b"HTTP/1.1 400 ")
        assert output.endswith(b'can "Upgrade" only to "websocket"')


# --- our client on servers of others ---


@contextlib.asynccontextmanager
async def websockets_server(ssl_context: ssl.SSLContext | None) -> AsyncIterator[str]:
    async def handle(connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for message in connection:
                if isinstance(message, str) and message.startswith("close "):
                    _, code, reason = message.split(" ", 2)
                    await connection.close(int(code), reason)
                else:
                    await connection.send(message)

    async with serve(
        handle,
        "127.0.0.1",
        0,
        ssl=ssl_context,
        max_size=None,
        select_subprotocol=lambda connection, offered: offered[-1] if offered else None,
    ) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


@contextlib.asynccontextmanager
async def aiohttp_server(ssl_context: ssl.SSLContext | None) -> AsyncIterator[str]:
    async def handle(request: aiohttp_web.Request) -> aiohttp_web.WebSocketResponse:
        response = aiohttp_web.WebSocketResponse(max_msg_size=0, protocols=["second"])
        await response.prepare(request)
        async for message in response:
            if message.type == aiohttp.WSMsgType.TEXT:
                if message.data.startswith("close "):
                    _, code, reason = message.data.split(" ", 2)
                    await response.close(code=int(code), message=reason.encode())
                else:
                    await response.send_str(message.data)
            elif message.type == aiohttp.WSMsgType.BINARY:
                await response.send_bytes(message.data)
        return response

    application = aiohttp_web.Application()
    application.router.add_get("/", handle)
    runner = aiohttp_web.AppRunner(application)
    await runner.setup()
    site = aiohttp_web.TCPSite(runner, "127.0.0.1", 0, ssl_context=ssl_context)
    await site.start()
    try:
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


Serving = Callable[[ssl.SSLContext | None], contextlib.AbstractAsyncContextManager[str]]
servers = pytest.mark.parametrize("server", [websockets_server, aiohttp_server])


@servers
@pytest.mark.parametrize("deflate", DEFLATE.values(), ids=DEFLATE)
async def test_our_client(server: Serving, deflate: Options) -> None:
    async with server(None) as address, OwnClient.open(f"ws://{address}/", deflate) as far:
        await there_and_back(far, [*MESSAGES, os.urandom(MiB)])


@servers
async def test_our_client_over_tls(
    server: Serving, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    async with server(server_context) as address:
        url = f"wss://{address}/"
        async with OwnClient.open(url, {}, ssl=client_context, subprotocols=["first", "second"]) as far:
            assert far.subprotocol == "second"
            await far.ping(b"x")
            await there_and_back(far, MESSAGES)


@servers
@pytest.mark.parametrize(("code", "reason"), [(1001, "going"), (4321, "größer")])
async def test_our_client_is_closed(server: Serving, code: int, reason: str) -> None:
    async with server(None) as address, OwnClient.open(f"ws://{address}/") as far:
        await far.send(f"close {code} {reason}")
        assert await far.receive() is None
        assert far.ended() == (code, reason)


@servers
async def test_our_client_reads_slowly_what_a_server_sends_and_closes(
    server: Serving, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    """What has come before the end can be read whenever the program likes, under TLS too."""
    for context, scheme, options in ((None, "ws", {}), (server_context, "wss", {"ssl": client_context})):
        async with server(context) as address, OwnClient.open(f"{scheme}://{address}/", **options) as far:
            messages = [f"message {n}" for n in range(200)]
            for message in messages:
                await far.send(message)
            await far.send("close 4000 done")
            found = []
            while (message := await far.receive()) is not None:
                found.append(message)
                await asyncio.sleep(0)
            assert found == messages
            assert far.ended() == (4000, "done")
