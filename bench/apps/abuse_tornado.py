"""What is abused, in Tornado: ``abuse_tornado.py PORT [CERTIFICATE KEY]``."""

import asyncio
import ssl
import sys

import tornado.httpserver
import tornado.web
import tornado.websocket

PIECE = b"x" * 65536
PIECES = 128


class Hello(tornado.web.RequestHandler):
    def get(self) -> None:
        self.write("Hello, world")

    def post(self) -> None:
        self.write(str(len(self.request.body)))


class Large(tornado.web.RequestHandler):
    async def get(self) -> None:
        for _ in range(PIECES):
            self.write(PIECE)
            await self.flush()


@tornado.web.stream_request_body
class Upload(tornado.web.RequestHandler):
    def prepare(self) -> None:
        self.request.connection.set_max_body_size(1 << 31)

    async def data_received(self, chunk: bytes) -> None:
        await asyncio.sleep(0.001)

    def post(self) -> None:
        self.write("done")


class Echo(tornado.websocket.WebSocketHandler):
    def on_message(self, message: str | bytes) -> None:
        self.write_message(message, binary=isinstance(message, bytes))


async def main() -> None:
    routes = [("/", Hello), ("/large", Large), ("/upload", Upload), ("/echo", Echo)]
    app = tornado.web.Application(routes, log_function=lambda handler: None)
    context = None
    if sys.argv[2:]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*sys.argv[2:])
    server = tornado.httpserver.HTTPServer(app, ssl_options=context)
    server.listen(int(sys.argv[1]), "127.0.0.1", backlog=2048)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
