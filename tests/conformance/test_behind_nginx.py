"""nginx in front of a server, with the very configuration that docs/howto/deploy-live.md shows."""

import asyncio
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from webfw.escape import json_decode
from webfw.httpclient import HTTPRequest
from webfw.httpserver import HTTPServer
from webfw.netutil import bind_sockets
from webfw.web import Application, EventSourceHandler, LongPollHandler, RequestHandler
from webfw.web.live import Live
from webfw.websocket import WebSocketHandler, websocket_connect

pytestmark = pytest.mark.needs("nginx")

PAGE = Path(__file__).resolve().parents[2] / "docs/howto/deploy-live.md"

#: What surrounds the page's part: one process without privileges that writes nowhere but into its folder.
AROUND = """
daemon off; master_process off; pid nginx.pid; error_log stderr warn;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    {more}
    {page}
}}
"""


class Door(Live):
    closed: asyncio.Queue[str]

    async def open(self, *args: str, **kwargs: str) -> None:
        await self.subscribe("news")

    def on_close(self) -> None:
        self.closed.put_nowait(type(self).__name__)


class Socket(Door, WebSocketHandler):
    async def on_message(self, message: str | bytes) -> None:
        await self.write_message(message, binary=isinstance(message, bytes))


class Events(Door, EventSourceHandler):
    pass


class Poll(Door, LongPollHandler):
    pass


class Who(RequestHandler):
    def get(self) -> None:
        self.write(f"{self.request.remote_ip} {self.request.protocol} {self.request.host}")


class Site:
    """A server, and nginx in front of it."""

    def __init__(self, app: Application, port: int) -> None:
        self.app = app
        self.port = port

    @property
    def netloc(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def request(self, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, str]:
        """Ask for a path; gives what follows the head, and the head."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {self.netloc}\r\n\r\n".encode())
        return reader, writer, (await reader.readuntil(b"\r\n\r\n")).decode()

    async def get(self, path: str) -> Any:
        reader, writer, head = await self.request(path)
        assert head.startswith("HTTP/1.1 200"), head
        length = re.search(r"(?i)content-length: (\d+)", head)
        assert length, head
        body = await reader.readexactly(int(length[1]))
        writer.close()
        await writer.wait_closed()
        return body.decode()


@asynccontextmanager
async def site(folder: Path, more: str = "", **settings: Any) -> AsyncIterator[Site]:
    Door.closed = asyncio.Queue()
    app = Application([("/ws", Socket), ("/events", Events), ("/poll", Poll), ("/who", Who)], **settings)
    server = HTTPServer(app, xheaders=True)
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    [unused] = bind_sockets(0, "127.0.0.1")
    port = unused.getsockname()[1]
    unused.close()
    fence = re.search(r"```nginx\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert fence
    page = fence[1].replace("127.0.0.1:8000", f"127.0.0.1:{sockets[0].getsockname()[1]}")
    page = page.replace("listen 80;", f"listen 127.0.0.1:{port};")
    (folder / "nginx.conf").write_text(AROUND.format(page=page, more=more))
    program = shutil.which("nginx")
    assert program
    process = subprocess.Popen(
        [program, "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"], stderr=subprocess.PIPE
    )
    try:
        await _until_it_listens(process, port)
        yield Site(app, port)
    finally:
        process.terminate()
        await asyncio.to_thread(process.communicate)
        await server.drain(timeout=5)
        await app.broker.close()


async def _until_it_listens(process: "subprocess.Popen[bytes]", port: int) -> None:
    while True:
        assert process.poll() is None, process.stderr and process.stderr.read()
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.01)
        else:
            writer.close()
            return


async def test_websocket(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        request = HTTPRequest(f"ws://{it.netloc}/ws", headers={"Origin": f"http://{it.netloc}"})
        async with await websocket_connect(request) as connection:
            assert json_decode(await connection.read_message() or "")["joined"]
            for message in ("hello", b"\x00" * 100_000):
                await connection.write_message(message, binary=isinstance(message, bytes))
                assert await connection.read_message() == message
            await it.app.broker.publish("news", {"n": 1})
            assert json_decode(await connection.read_message() or "")["data"] == {"n": 1}
        assert await Door.closed.get() == "Socket"


async def test_events_are_not_held_back(tmp_path: Path) -> None:
    async with site(tmp_path, more="gzip on;") as it:
        reader, writer, head = await it.request("/events")
        assert "text/event-stream" in head
        await reader.readuntil(b'"joined": true}\n\n')
        for number in range(3):
            await it.app.broker.publish("news", number)
            assert await reader.readuntil(f'"data": {number}}}\n\n'.encode())
        writer.close()
        await writer.wait_closed()
        assert await Door.closed.get() == "Events"


async def test_long_poll(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        cursor = json_decode(await it.get("/poll"))["cursor"]
        assert await Door.closed.get() == "Poll"
        waiting = asyncio.ensure_future(it.get(f"/poll?since={cursor.replace('=', '%3D')}"))
        while not it.app.live:
            await asyncio.sleep(0.01)
        await it.app.broker.publish("news", "late")
        [message] = json_decode(await waiting)["messages"]
        assert message["data"] == "late"
        assert await Door.closed.get() == "Poll"


async def test_long_poll_ends_when_its_client_goes(
    tmp_path: Path, expect_log: Callable[..., AbstractContextManager[Any]]
) -> None:
    async with site(tmp_path) as it:
        cursor = json_decode(await it.get("/poll"))["cursor"]
        assert await Door.closed.get() == "Poll"
        _, writer = await asyncio.open_connection("127.0.0.1", it.port)
        target = f"/poll?since={cursor.replace('=', '%3D')}"
        writer.write(f"GET {target} HTTP/1.1\r\nHost: {it.netloc}\r\n\r\n".encode())
        while not it.app.live:
            await asyncio.sleep(0.01)
        with expect_log("webfw.access", "^499 GET /poll"):
            writer.close()
            await writer.wait_closed()
            assert await Door.closed.get() == "Poll"


async def test_who_asks_is_known(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        assert await it.get("/who") == f"127.0.0.1 http {it.netloc}"


@pytest.mark.slow
async def test_what_is_silent_stays_by_pings_and_heartbeats(tmp_path: Path) -> None:
    """As long as they come more often than nginx is patient."""
    settings = {"websocket_ping_interval": 0.5, "eventsource_heartbeat": 0.5}
    async with site(tmp_path, more="proxy_read_timeout 2s;", **settings) as it:
        connection = await websocket_connect(f"ws://{it.netloc}/ws")
        async with connection:
            reader, writer, _ = await it.request("/events")
            await connection.read_message()
            await reader.readuntil(b'"joined": true}\n\n')
            await asyncio.sleep(4.5)
            await it.app.broker.publish("news", "still here")
            while (message := await connection.read_message()) == "{}":  # the heartbeat that scripts can see
                pass
            assert "still here" in str(message)
            assert await reader.readuntil(b'"still here"}\n\n')
            writer.close()
            await writer.wait_closed()
