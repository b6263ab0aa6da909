"""What is abused, in webfw on uvloop: ``abuse_webfw.py PORT [CERTIFICATE KEY]``."""

import asyncio
import sys

import uvloop

import webfw.web
import webfw.websocket

PIECE = b"x" * 65536
PIECES = 128


class Hello(webfw.web.RequestHandler):
    def get(self) -> None:
        self.write("Hello, world")

    def post(self) -> None:
        self.write(str(len(self.request.body)))


class Large(webfw.web.RequestHandler):
    async def get(self) -> None:
        for _ in range(PIECES):
            self.write(PIECE)
            await self.flush()


@webfw.web.stream_request_body
class Upload(webfw.web.RequestHandler):
    def prepare(self) -> None:
        self.request.connection.set_max_body_size(1 << 31)  # type: ignore[union-attr]

    async def data_received(self, chunk: bytes) -> None:
        await asyncio.sleep(0.001)

    def post(self) -> None:
        self.write("done")


class Echo(webfw.websocket.WebSocketHandler):
    def on_message(self, message: str | bytes) -> None:
        self.write_message(message, binary=isinstance(message, bytes))


async def main() -> None:
    routes = [("/", Hello), ("/large", Large), ("/upload", Upload), ("/echo", Echo)]
    app = webfw.web.Application(routes, log_function=lambda handler: None)
    files = dict(zip(("certfile", "keyfile"), sys.argv[2:], strict=False))
    app.listen(int(sys.argv[1]), "127.0.0.1", backlog=2048, ssl_options=files or None)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
