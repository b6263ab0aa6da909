"""What the tests put behind nginx: it is copied into a directory of its own and served from there."""

import hashlib
import os

from webfw.web import Application, EventSourceHandler, RequestHandler, stream_request_body
from webfw.websocket import WebSocketHandler

VERSION = 1


class Who(RequestHandler):
    def get(self) -> None:
        context = self.request.connection.context
        peer = context.address[1] if isinstance(context.address, tuple) and len(context.address) > 1 else None
        self.write(
            {
                "ip": self.request.remote_ip,
                "protocol": self.request.protocol,
                "host": self.request.host,
                "pid": os.getpid(),
                "version": VERSION,
                "peer": peer,
            }
        )

    def post(self) -> None:
        self.write(
            {"length": len(self.request.body), "sha256": hashlib.sha256(self.request.body).hexdigest()}
        )


@stream_request_body
class Upload(RequestHandler):
    def prepare(self) -> None:
        self.hash = hashlib.sha256()
        self.length = self.pieces = 0

    def data_received(self, chunk: bytes) -> None:
        self.hash.update(chunk)
        self.length += len(chunk)
        self.pieces += 1

    def put(self) -> None:
        self.write({"length": self.length, "sha256": self.hash.hexdigest(), "pieces": self.pieces})


class Download(RequestHandler):
    async def get(self, mebibytes: str) -> None:
        for number in range(int(mebibytes)):
            self.write(bytes([number % 251]) * (1 << 20))
            await self.flush()


class Echo(WebSocketHandler):
    async def on_message(self, message: str | bytes) -> None:
        await self.write_message(message, binary=isinstance(message, bytes))


class News(WebSocketHandler):
    async def open(self) -> None:
        await self.subscribe("news")


class Events(EventSourceHandler):
    async def open(self) -> None:
        await self.subscribe("news")


class Publish(RequestHandler):
    async def post(self) -> None:
        await self.application.broker.publish("news", {"from": os.getpid()})
        self.write(str(os.getpid()))


app = Application(
    [
        ("/", Who),
        ("/upload", Upload),
        (r"/download/(\d+)", Download),
        ("/echo", Echo),
        ("/news", News),
        ("/events", Events),
        ("/publish", Publish),
    ],
    websocket_ping_interval=30,
)
