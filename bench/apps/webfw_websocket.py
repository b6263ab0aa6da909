"""Echo and broadcast in webfw: ``webfw_websocket.py PORT asyncio|uvloop``."""

import asyncio
import sys

import webfw.web
import webfw.websocket


class Echo(webfw.websocket.WebSocketHandler):
    def on_message(self, message: str | bytes) -> None:
        self.write_message(message, binary=isinstance(message, bytes))


class Broadcast(webfw.websocket.WebSocketHandler):
    clients: set["Broadcast"] = set()

    def open(self) -> None:
        self.clients.add(self)
        self.write_message("joined")

    def on_message(self, message: str | bytes) -> None:
        webfw.websocket.broadcast(self.clients, message)

    def on_close(self) -> None:
        self.clients.discard(self)


async def main() -> None:
    routes = [("/echo", Echo), ("/broadcast", Broadcast)]
    app = webfw.web.Application(routes, log_function=lambda handler: None)
    app.listen(int(sys.argv[1]), "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    if sys.argv[2] == "uvloop":
        import uvloop

        uvloop.run(main())
    else:
        asyncio.run(main())
