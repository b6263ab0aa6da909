"""SockJS: sockjs-tornado overrides ``_execute`` of its WebSocket handler, and polls on private state."""

import asyncio
from typing import Any

from site_ import ask, report  # isort: split

import tornado.web
import websockets
from sockjs.tornado import SockJSConnection, SockJSRouter

said: list[Any] = []


class Echo(SockJSConnection):
    def on_open(self, request: Any) -> None:
        said.append(["open", request.ip])

    def on_message(self, message: str) -> None:
        if message == "abort":
            said.append("abort")
            self.session.handler.abort_connection()
        else:
            self.send(message)

    def on_close(self) -> None:
        said.append("close")
        closed.set()


async def drive(port: int) -> list[str]:
    lines = [
        await ask(port, "GET /echo"),
        await ask(port, "POST /echo/000/abc/xhr"),
        await ask(port, "POST /echo/000/abc/xhr_send", '["hi"]'),
        await ask(port, "POST /echo/000/abc/xhr"),
        await ask(port, "GET /echo/000/abd/websocket"),
        await ask(port, "POST /echo/000/abd/websocket"),
        await ask(port, "GET /echo/iframe.html"),
    ]
    async with websockets.connect(f"ws://127.0.0.1:{port}/echo/websocket") as raw:
        await raw.send("raw")
        lines.append(str(await raw.recv()))
    await closed.wait()
    async with websockets.connect(f"ws://127.0.0.1:{port}/echo/000/xyz/websocket") as socket:
        lines.append(str(await socket.recv()))
        await socket.send('["message"]')
        lines.append(str(await socket.recv()))
        await socket.send('["abort"]')
        try:
            await socket.recv()
        except websockets.ConnectionClosedError as error:
            lines.append(type(error).__name__)
    return lines


async def main() -> list[str]:
    server = tornado.web.Application(SockJSRouter(Echo, "/echo").urls).listen(0, "127.0.0.1")
    lines = await drive(next(iter(server._sockets.values())).getsockname()[1])
    server.stop()
    await server.close_all_connections()
    return lines


closed = asyncio.Event()
report(asyncio.run(main()), said)
