"""WebSockets in memory, by `Client.websocket`."""

import asyncio
from typing import Any

import pytest

from webfw.httpclient import HTTPClientError
from webfw.testing import Client
from webfw.web import Application, HTTPError
from webfw.websocket import WebSocketClosedError, WebSocketHandler


class Echo(WebSocketHandler):
    def prepare(self) -> None:
        if self.get_argument("refuse", ""):
            raise HTTPError(403)
        if self.get_argument("fail", ""):
            raise ZeroDivisionError("in prepare")
        self.set_cookie("seen", "yes")

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        return subprotocols[-1] if subprotocols else None

    def get_compression_options(self) -> dict[str, Any] | None:
        return {}

    def open(self) -> None:
        self.application.settings["log"].append(f"open {self.request.protocol}")

    async def on_message(self, message: str | bytes) -> None:  # type: ignore[override]
        if message == "hang":
            await self.application.settings["over"].wait()
        if message == "fail":
            raise ZeroDivisionError("in on_message")
        if message == "close":
            self.close(4001, "enough")
        elif message != "silence":
            self.write_message(message, binary=isinstance(message, bytes))

    def on_close(self) -> None:
        self.application.settings["log"].append(f"closed {self.close_code} {self.close_reason}")


@pytest.fixture
def app() -> Application:
    return Application([("/ws", Echo)], log_function=lambda handler: None, log=[], over=asyncio.Event())


@pytest.fixture
def client(app: Application) -> Client:
    return Client(app)


async def test_messages(app: Application, client: Client) -> None:
    async with client.websocket("/ws") as ws:
        await ws.send("text é")
        assert await ws.receive() == "text é"
        await ws.send(b"\x00bytes")
        assert await ws.receive() == b"\x00bytes"
        await ws.send({"a": [1]})
        assert await ws.receive_json() == {"a": [1]}
        await ws.send("x" * 300_000)
        assert await ws.receive() == "x" * 300_000
        assert app.settings["log"] == ["open http"]
    assert app.settings["log"] == ["open http", "closed 1000 None"]
    assert client.cookies["seen"] == "yes"


async def test_pings(client: Client) -> None:
    async with client.websocket("/ws") as ws:
        ws.connection.ping(b"x")
        await ws.send("after it")
        assert await ws.receive() == "after it"


async def test_opening(app: Application, client: Client) -> None:
    client.cookies["own"] = "1"
    async with client.websocket(
        "wss://testserver/ws", subprotocols=["a", "b"], compression_options={}, headers={"X-Own": "1"}
    ) as ws:
        assert ws.selected_subprotocol == "b"
        assert "permessage-deflate" in ws.headers["Sec-WebSocket-Extensions"]
        assert ws.connection.request.headers["Cookie"] == "own=1"
        await ws.send("compressed" * 100)
        assert await ws.receive() == "compressed" * 100
    assert app.settings["log"][0] == "open https"


async def test_closed_by_the_application(app: Application, client: Client) -> None:
    async with client.websocket("ws://testserver/ws") as ws:
        assert (ws.close_code, ws.close_reason) == (None, None)
        await ws.send("last")
        await ws.send("close")
        assert [message async for message in ws] == ["last"]
        assert (ws.close_code, ws.close_reason) == (4001, "enough")
        with pytest.raises(WebSocketClosedError, match="closed with 4001: enough"):
            await ws.receive()
        with pytest.raises(WebSocketClosedError):
            await ws.send("late")


async def test_closed_by_the_test(app: Application, client: Client) -> None:
    async with client.websocket("/ws") as ws:
        await ws.close(4002, "bye")
        await ws.close()
    assert app.settings["log"][-1] == "closed 4002 bye"


async def test_a_test_that_fails(app: Application, client: Client) -> None:
    with pytest.raises(KeyError, match="own"):
        async with client.websocket("/ws"):
            raise KeyError("own")
    assert app.settings["log"][-1] == "closed 1000 None"


async def test_refused(client: Client) -> None:
    with pytest.raises(HTTPClientError, match="403"):
        async with client.websocket("/ws", query={"refuse": 1}):
            pass
    with pytest.raises(HTTPClientError, match="403"):
        async with client.websocket("/ws", headers={"Origin": "http://elsewhere.example"}):
            pass
    with pytest.raises(HTTPClientError, match="404"):
        async with client.websocket("/nothing"):
            pass


async def test_exceptions_of_the_application(client: Client, expect_log: Any) -> None:
    with expect_log("webfw.application", "Uncaught exception", count=2):
        with pytest.raises(ZeroDivisionError, match="in prepare"):
            async with client.websocket("/ws", query={"fail": 1}):
                pass
        with pytest.raises(ZeroDivisionError, match="in on_message"):  # noqa: PT012  # it is the block that raises
            async with client.websocket("/ws") as ws:
                await ws.send("fail")
                await ws.receive()


async def test_or_what_came_of_them(app: Application, expect_log: Any) -> None:
    client = Client(app, raise_app_exceptions=False)
    with expect_log("webfw.application", "Uncaught exception", count=2):
        with pytest.raises(HTTPClientError, match="500"):
            async with client.websocket("/ws", query={"fail": 1}):
                pass
        async with client.websocket("/ws") as ws:
            await ws.send("fail")
            with pytest.raises(WebSocketClosedError):
                await ws.receive()


async def test_nothing_comes_in_time(app: Application) -> None:
    async with Client(app, timeout=0.3).websocket("/ws") as ws:
        await ws.send("silence")
        with pytest.raises(TimeoutError, match="no message has come within 0.3 seconds"):
            await ws.receive()
        await ws.send("still open")
        assert await ws.receive() == "still open"


async def test_an_application_that_hangs(app: Application) -> None:
    client = Client(app, timeout=0.3)
    async with client.websocket("/ws") as ws:
        await ws.send("hang")
        with pytest.raises(TimeoutError, match="the WebSocket was not closed within 0.3 seconds"):
            await ws.close()
    async with client.websocket("/ws") as ws:  # leaving the block cuts it
        await ws.send("hang")
    app.settings["over"].set()
    for _ in range(10):
        await asyncio.sleep(0)
    assert app.settings["log"].count("open http") == 2
    assert len(app.settings["log"]) == 4
