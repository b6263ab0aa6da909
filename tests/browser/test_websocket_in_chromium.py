"""A page with `new WebSocket(...)` in a real browser: text, Blob, ArrayBuffer, compression, closings, origins."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from webfw.httpserver import HTTPServer
from webfw.netutil import bind_sockets
from webfw.web import Application, RequestHandler
from webfw.websocket import WebSocketHandler

pytestmark = pytest.mark.needs("chromium", "chromedriver")

PAGE = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><title>page</title>
<script>
  const seen = [];
  function start(url, protocols) {
    seen.length = 0;
    const ws = window.ws = new WebSocket(url, protocols || []);
    ws.onopen = () => seen.push(["open", ws.protocol, ws.extensions]);
    ws.onerror = () => seen.push(["error"]);
    ws.onclose = (event) => seen.push(["close", event.code, event.reason, event.wasClean]);
    ws.onmessage = async (event) => {
      let data = event.data, kind = "text";
      if (data instanceof Blob) { kind = "blob"; data = await data.arrayBuffer(); }
      else if (data instanceof ArrayBuffer) kind = "buffer";
      if (kind !== "text") data = Array.from(new Uint8Array(data)).slice(0, 300);
      seen.push([kind, typeof data === "string" && data.length > 300 ? data.length : data]);
    };
  }
</script>
"""


class Page(RequestHandler):
    def get(self) -> None:
        self.write(PAGE)


class Echo(WebSocketHandler):
    frames: list[bytes]

    def get_compression_options(self) -> dict[str, Any] | None:
        return {"threshold": 10} if self.get_query_argument("deflate", None) else None

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        return subprotocols[-1] if subprotocols else None

    def on_message(self, message: str | bytes) -> None:
        if isinstance(message, str) and message.startswith("close "):
            _, code, reason = message.split(" ", 2)
            self.close(int(code), reason)
        elif message == "fail":
            raise RuntimeError("on purpose")
        elif message == "bad frame":
            self.ws_connection.stream.write(b"\xff\xff")
        else:
            self.write_message(message, binary=isinstance(message, bytes))

    def on_close(self) -> None:
        self.settings["closed"].append((self.close_code, self.close_reason))


class Server:
    """A server in a thread of its own."""

    def __init__(self, port: int = 0) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.closed: list[Any] = []
        self.port = port
        self.do(self.start)

    def do(self, function: Callable[[], Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(function(), self.loop).result(20)

    async def start(self) -> None:
        self.application = Application(
            [("/", Page), ("/ws", Echo)], closed=self.closed, log_function=lambda handler: None
        )
        self.server = HTTPServer(self.application)
        sockets = bind_sockets(self.port, "127.0.0.1")
        self.port = sockets[0].getsockname()[1]
        self.server.add_sockets(sockets)

    async def drain(self) -> None:
        await self.server.drain(5.0)

    def end(self) -> None:
        self.do(self.drain)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(20)
        self.loop.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.end()


@pytest.fixture
def page(chromium: Any, server: Server) -> Any:
    chromium.get(f"http://127.0.0.1:{server.port}/")
    chromium.get_log("browser")
    server.closed.clear()
    return chromium


@pytest.fixture
def seen(page: Any, eventually: Any) -> Callable[[int], list[Any]]:
    """``seen(3)``: the first three events of the page, once they are there."""

    def wait(count: int) -> list[Any]:
        found: list[Any] = eventually(
            lambda: (found := page.execute_script("return seen")) and len(found) >= count and found
        )
        return found

    return wait


def start(page: Any, server: Server, query: str = "", *protocols: str) -> None:
    page.execute_script(
        "start(arguments[0], arguments[1])", f"ws://127.0.0.1:{server.port}/ws{query}", protocols
    )


@pytest.mark.parametrize("query", ["", "?deflate=1"])
def test_text_and_binary(page: Any, server: Server, seen: Any, query: str) -> None:
    start(page, server, query)
    (opened,) = seen(1)
    assert opened[:2] == ["open", ""]
    assert opened[2].startswith("permessage-deflate" if query else "")
    assert bool(opened[2]) is bool(query)
    page.execute_script("ws.send('hello ä€😀'); ws.send(''); ws.send('long '.repeat(50000));")
    assert seen(4)[1:] == [["text", "hello ä€😀"], ["text", ""], ["text", 250_000]]
    page.execute_script("ws.send(new Blob([new Uint8Array([0, 255, 1])]));")
    assert seen(5)[4] == ["blob", [0, 255, 1]]
    page.execute_script(
        "ws.binaryType = 'arraybuffer'; ws.send(new Uint8Array([...Array(256).keys()]).buffer);"
    )
    assert seen(6)[5] == ["buffer", list(range(256))]
    page.execute_script("for (let n = 0; n < 500; n++) ws.send('message ' + n + ' '.repeat(n));")
    texts = [event[1] for event in seen(506)[6:]]
    assert [text if isinstance(text, int) else text.split()[1] for text in texts[:290]] == [
        str(n) for n in range(290)
    ]
    assert len(texts) == 500


def test_subprotocol(page: Any, server: Server, seen: Any) -> None:
    start(page, server, "", "first", "second")
    assert seen(1)[0] == ["open", "second", ""]


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1000, "bye"), (1001, "ä"), (4321, "x" * 123)])
def test_the_server_closes(page: Any, server: Server, seen: Any, code: int, reason: str) -> None:
    start(page, server)
    seen(1)
    page.execute_script("ws.send(arguments[0])", f"close {code} {reason}")
    assert seen(2)[1:] == [["close", code, reason, True]]


def test_the_page_closes(page: Any, server: Server, seen: Any, eventually: Any) -> None:
    """The answer has the code, as RFC 6455 section 5.5.1 says, and not the reason."""
    for call, theirs, ours in (
        ("ws.close(4000, 'größer')", (4000, "größer"), ["close", 4000, "", True]),
        ("ws.close(1000)", (1000, None), ["close", 1000, "", True]),
        ("ws.close()", (None, None), ["close", 1005, "", True]),
    ):
        start(page, server)
        seen(1)
        server.closed.clear()
        page.execute_script(call)
        assert seen(2)[1] == ours
        assert eventually(lambda: server.closed) == [theirs]


def test_a_page_that_is_left(page: Any, server: Server, seen: Any, eventually: Any) -> None:
    first = page.current_window_handle
    page.switch_to.new_window("tab")
    page.get(f"http://127.0.0.1:{server.port}/")
    start(page, server)
    seen(1)
    page.close()
    page.switch_to.window(first)
    assert eventually(lambda: server.closed) == [(1001, None)]


def test_a_handler_that_fails(page: Any, server: Server, seen: Any, expect_log: Any) -> None:
    start(page, server)
    seen(1)
    with expect_log("webfw.application", "on purpose|Uncaught"):
        page.execute_script("ws.send('fail')")
        assert seen(2)[1] == ["close", 1011, "", True]


def test_pages_of_other_origins_are_refused(page: Any, server: Server, seen: Any) -> None:
    other = Server()
    try:
        for host, port in (("127.0.0.1", other.port), ("localhost", server.port)):
            # The page is from there, the WebSocket goes here.
            page.get(f"http://{host}:{port}/")
            start(page, server)
            assert seen(2) == [["error"], ["close", 1006, "", False]]
            assert any("403" in entry["message"] for entry in page.get_log("browser"))
    finally:
        other.end()


def test_a_restart_is_told(page: Any, seen: Any) -> None:
    server = Server()
    page.get(f"http://127.0.0.1:{server.port}/")
    start(page, server)
    seen(1)
    server.end()
    assert seen(2)[1] == ["close", 1012, "server restart", True]
    again = Server(server.port)
    try:
        start(page, again)
        assert seen(1)[0][0] == "open"
    finally:
        again.end()
