"""Broadcast in webfw by publish/subscribe: ``webfw_room_websocket.py PORT BROKER_URL``, on uvloop."""

import asyncio
import sys

import uvloop

import webfw.web
import webfw.websocket


class Room(webfw.websocket.WebSocketHandler):
    def open(self) -> None:
        self.subscribe("room")

    async def on_message(self, message: str | bytes) -> None:
        await self.publish("room", message)


async def main() -> None:
    app = webfw.web.Application([("/broadcast", Room)], broker=sys.argv[2], log_function=lambda handler: None)
    app.listen(int(sys.argv[1]), "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
