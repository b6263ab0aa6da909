"""`ASGIAdapter` under uvicorn and hypercorn, as processes: the demos, streams both ways, WebSockets, the end."""

import asyncio
import hashlib
import json
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import h2.config
import h2.connection
import h2.events
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from webfw.httpclient import AsyncHTTPClient, HTTPResponse, HTTPStreamClosedError

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="sockets are inherited")]

ROOT = Path(__file__).resolve().parents[2]
APP = "tests.asgi.adaptedsite:app"
HOSTS = {
    "uvicorn": ["-m", "uvicorn", APP, "--fd", "{fd}", "--no-access-log", "--log-level", "error"],
    "hypercorn": ["-m", "hypercorn", APP, "--bind", "fd://{fd}", "--log-level", "critical"],
}
PATIENCE = 20.0


class Host:
    """Another server with the site of `adaptedsite`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.output = tempfile.TemporaryFile()  # noqa: SIM115  # closed by stop()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
            fd = listener.fileno()
            self.process = subprocess.Popen(
                [sys.executable, *(word.format(fd=fd) for word in HOSTS[name])],
                cwd=ROOT,
                pass_fds=[fd],
                stdout=self.output,
                stderr=subprocess.STDOUT,
            )

    def stop(self) -> str:
        """End it in good order; what it has said."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self.process.wait()
            self.output.seek(0)
            said = self.output.read().decode()
            self.output.close()
        return said


@pytest.fixture(scope="module", params=HOSTS)
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    host = Host(request.param)
    try:
        yield host
    finally:
        said = host.stop()
    # That it has been told of the beginning and the end, and nothing has gone wrong in between but what tests cut.
    assert said.count("site: startup\n") == said.count("site: shutdown\n") == 1, said
    assert "without completing handshake" not in said
    assert not re.findall(r"^(?!.*ResponseCut)\w*(?:Error|Exception).*$", said, re.MULTILINE), said


class Visitor:
    """Somebody who asks one of the sites on a host."""

    def __init__(self, host: Host, client: AsyncHTTPClient, site: str) -> None:
        self.host = host
        self.client = client
        self.site = site
        self.cookies: dict[str, str] = {}

    async def fetch(self, path: str, method: str = "GET", body: Any = None, **headers: str) -> HTTPResponse:
        fields = {
            "Host": self.site,
            "Cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items()),
            **headers,
        }
        response: HTTPResponse = await self.client.fetch(
            f"http://127.0.0.1:{self.host.port}{path}",
            method=method,
            headers=fields,
            raise_error=False,
            follow_redirects=False,
            body=body,
        )
        for cookie in response.headers.get_list("Set-Cookie"):
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        return response

    async def token(self, path: str = "/") -> str:
        found = re.search(rb'name="_xsrf" value="([^"]+)"', (await self.fetch(path)).body)
        assert found is not None
        return found[1].decode()

    def websocket(self, path: str, **options: Any) -> Any:
        place = {"host": "127.0.0.1", "port": self.host.port}
        return connect(f"ws://{self.site}{path}", proxy=None, **place, **options)

    async def seen(self, wanted: Any) -> None:
        """Wait until the site has seen something."""
        async with asyncio.timeout(PATIENCE):
            while wanted not in json.loads((await self.fetch("/seen")).body)["seen"]:
                await asyncio.sleep(0.02)


@asynccontextmanager
async def visiting(host: Host, site: str) -> AsyncIterator[Visitor]:
    client = AsyncHTTPClient(force_instance=True, defaults={"request_timeout": PATIENCE})
    try:
        yield Visitor(host, client, site)
    finally:
        client.close()


async def streamed(reader: asyncio.StreamReader, until: bytes) -> bytes:
    async with asyncio.timeout(PATIENCE):
        return await reader.readuntil(until)


@asynccontextmanager
async def asking(host: Host, path: str, site: str = "site.test") -> AsyncIterator[asyncio.StreamReader]:
    """A connection that has asked for something, and is left at the end of the block."""
    reader, writer = await asyncio.open_connection("127.0.0.1", host.port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {site}\r\n\r\n".encode())
        yield reader
    finally:
        writer.close()
        await writer.wait_closed()


# --- the demos ---


async def test_hello(host: Host) -> None:
    async with visiting(host, "hello.test") as me:
        page = await me.fetch("/")
        assert page.code == 200
        assert "default-src 'self'" in page.headers["Content-Security-Policy"]
        assert len(page.headers.get_list("Date")) == 1
        form = urlencode({"_xsrf": await me.token(), "name": "Ada"})
        greeted = await me.fetch(
            "/greet", "POST", form, **{"Content-Type": "application/x-www-form-urlencoded"}
        )
        assert (greeted.code, greeted.headers["Location"]) == (303, "/")
        assert b"Ada" in (await me.fetch("/")).body
        assert (await me.fetch("/greet", "POST", "name=x")).code == 403
        assert json.loads((await me.fetch("/api/wait?seconds=0.01")).body) == {"waited": 0.01}
        assert (await me.fetch("/api/wait?seconds=x")).code == 400
        missing = await me.fetch("/nowhere")
        assert (missing.code, b"404" in missing.body) == (404, True)


async def test_a_file_and_its_parts(host: Host) -> None:
    async with visiting(host, "hello.test") as me:
        path = re.search(rb'"(/static/[^"]+\.css[^"]*)"', (await me.fetch("/")).body)
        assert path is not None
        whole = await me.fetch(path[1].decode())
        part = await me.fetch(path[1].decode(), Range="bytes=5-14")
        assert (part.code, part.body) == (206, whole.body[5:15])
        assert part.headers["Content-Range"] == f"bytes 5-14/{len(whole.body)}"
        again = await me.fetch(path[1].decode(), **{"If-None-Match": whole.headers["Etag"]})
        assert (again.code, again.body) == (304, b"")
        head = await me.fetch(path[1].decode(), "HEAD")
        assert (head.code, head.headers["Content-Length"]) == (200, str(len(whole.body)))


async def test_a_form_with_a_file(host: Host) -> None:
    content = bytes(range(256)) * 20_000
    async with visiting(host, "hello.test") as me:
        headers = {"Content-Type": "multipart/form-data; boundary=B", "X-XSRFToken": await me.token()}
        body = b'--B\r\nContent-Disposition: form-data; name="f"; filename="n.bin"\r\n\r\n%b\r\n--B--\r\n'
        answer = await me.fetch("/upload", "POST", body % content, **headers)
    (file,) = json.loads(answer.body)["files"]
    assert (file["size"], file["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())


async def test_chat_by_all_doors(host: Host) -> None:
    async with visiting(host, "chat.test") as me:
        headers = {"Content-Type": "application/json", "X-XSRFToken": await me.token("/rooms/lobby")}
        say = f"/rooms/{host.name}/say?name=Ada"
        async with (
            me.websocket(f"/rooms/{host.name}/socket?name=Bob") as bob,
            asking(host, f"/rooms/{host.name}/events?name=Eve", me.site) as eve,
        ):
            await streamed(eve, b"retry")  # or whatever begins a stream
            body = json.dumps({"text": "hello all", "key": "k1"})
            assert (await me.fetch(say, "POST", body, **headers)).code == 204
            async with asyncio.timeout(PATIENCE):
                while "hello all" not in await bob.recv():
                    pass
            await streamed(eve, b"hello all")
            await bob.send(json.dumps({"text": "hello Ada", "key": "k2"}))
            await streamed(eve, b"hello Ada")
            texts, cursor = await poll(me, wait=0)
            assert texts == ["hello all", "hello Ada"]
            waiting = asyncio.ensure_future(poll(me, cursor, wait=20, until="hello Pia"))
            await bob.send("no message")
            async with asyncio.timeout(PATIENCE):
                await bob.wait_closed()
            assert bob.close_code == 1008
            await me.fetch(say, "POST", json.dumps({"text": "hello Pia", "key": "k3"}), **headers)
            assert (await waiting)[0] == ["hello Pia"]


async def poll(me: Visitor, since: str = "", *, wait: int, until: str | None = None) -> tuple[list[str], str]:
    """Ask a room what has been said in it, again and again until something has: the texts, and where to go on."""
    texts: list[str] = []
    while True:
        query = urlencode({"name": "Pia", "since": since, "wait": wait})
        answer = json.loads((await me.fetch(f"/rooms/{me.host.name}/poll?{query}")).body)
        since = answer["cursor"]
        texts += [m["data"]["text"] for m in answer["messages"] if m["channel"].startswith("room:")]
        if until is None or until in texts:
            return texts, since


# --- streams ---


async def test_what_the_application_sees(host: Host) -> None:
    async with visiting(host, "site.test") as me:
        facts = json.loads((await me.fetch("/facts")).body)
    assert facts == {"version": "HTTP/1.1", "ip": "127.0.0.1", "type": "http"}


async def test_a_large_upload_arrives_in_pieces(host: Host) -> None:
    digest = hashlib.sha256()
    size = 0

    async def produce(write: Any) -> None:
        nonlocal size
        for number in range(400):
            piece = bytes([number % 256]) * 100_003
            digest.update(piece)
            size += len(piece)
            await write(piece)

    async with visiting(host, "site.test") as me:
        response = await me.client.fetch(
            f"http://127.0.0.1:{host.port}/digest", method="POST", body_producer=produce
        )
    answer = json.loads(response.body)
    assert size > 40_000_000
    assert answer["sha256"] == digest.hexdigest()
    assert answer["largest"] <= 64 * 1024


async def test_a_slow_client_holds_the_handler_back_and_its_leaving_is_noticed(host: Host) -> None:
    async with visiting(host, "site.test") as me:
        async with asking(host, "/flood") as reader:
            await me.seen("flood")
            await streamed(reader, b"\r\n\r\n")
        await me.seen("flood left")


async def test_leaving_an_event_stream_is_noticed(host: Host) -> None:
    async with visiting(host, "site.test") as me:
        async with asking(host, "/events") as reader:
            await streamed(reader, b"data: first")
        await me.seen("events left")


async def test_a_response_that_is_cut_does_not_look_complete(host: Host) -> None:
    async with visiting(host, "site.test") as me:
        with pytest.raises(HTTPStreamClosedError, match="in the body"):
            await me.fetch("/cut")


# --- WebSockets ---


async def test_websocket_messages_and_subprotocol(host: Host) -> None:
    async with (
        visiting(host, "site.test") as me,
        me.websocket("/echo", subprotocols=["a", "b"], max_size=None) as ws,
    ):
        assert ws.subprotocol == "b"
        for message in ("text", "é\U0001f600", b"\0\1", "x" * 300_000, b"y" * 300_000):
            await ws.send(message)
            assert await ws.recv() == message


async def test_websocket_close_by_either_side(host: Host) -> None:
    async with visiting(host, "site.test") as me:
        await me.fetch("/seen", "DELETE")
        async with me.websocket("/echo") as ws:
            await ws.send("close")
            with pytest.raises(ConnectionClosed) as closed:
                await ws.recv()
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (3001, "enough")
        # Hypercorn does not say what the client's Close had in it.
        await me.seen(["closed", 3001, "enough"] if host.name == "uvicorn" else ["closed", 1000, None])
        async with me.websocket("/echo") as ws:
            await ws.close(4000, "mine")
        await me.seen(["closed", 4000, "mine"] if host.name == "uvicorn" else ["closed", None, None])


@pytest.mark.parametrize(("path", "status"), [("/echo?deny=1", 403), ("/nowhere", 404)])
async def test_websocket_denied(host: Host, path: str, status: int) -> None:
    async with visiting(host, "site.test") as me:
        with pytest.raises(InvalidStatus) as denied:
            async with me.websocket(path):
                pass
    assert denied.value.response.status_code == status
    assert str(status).encode() in (denied.value.response.body or b"")


# --- HTTP/2 ---


async def test_http_2() -> None:
    """Hypercorn speaks it without TLS too, to clients that know beforehand."""
    host = Host("hypercorn")
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", host.port)
        conn = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        conn.initiate_connection()
        fields = [(":scheme", "http"), (":authority", "site.test")]
        conn.send_headers(1, [(":method", "GET"), (":path", "/facts"), *fields], end_stream=True)
        conn.send_headers(3, [(":method", "POST"), (":path", "/digest"), *fields])  # no Content-Length
        conn.send_data(3, b"some")
        conn.send_data(3, b"thing", end_stream=True)
        writer.write(conn.data_to_send())
        answers: dict[int, bytes] = {1: b"", 3: b""}
        heads: dict[int, dict[str, str]] = {}
        ended = 0
        async with asyncio.timeout(PATIENCE):
            while ended < 2:
                for event in conn.receive_data(await reader.read(65536)):
                    if isinstance(event, h2.events.ResponseReceived):
                        heads[event.stream_id] = dict(event.headers)
                    elif isinstance(event, h2.events.DataReceived):
                        answers[event.stream_id] += event.data
                    ended += isinstance(event, h2.events.StreamEnded)
                writer.write(conn.data_to_send())
        writer.close()
        await writer.wait_closed()
    finally:
        host.stop()
    assert json.loads(answers[1])["version"] == "HTTP/2"
    assert json.loads(answers[3])["sha256"] == hashlib.sha256(b"something").hexdigest()
    assert heads[1][":status"] == heads[3][":status"] == "200"
