"""The site that is watched, and who asks it; run by the scripts beside it, on Tornado or on webfw."""

import asyncio
import json
import logging
import sys
from typing import Any

if sys.argv[1] == "webfw":
    from webfw import tornado_compat

    tornado_compat.install()


async def ask(port: int, head: str, body: str = "") -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    fields = f"Host: x:{port}\r\nCookie: a=b\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
    fields += "Content-Type: application/x-www-form-urlencoded\r\n"
    writer.write(f"{head} HTTP/1.1\r\n{fields}\r\n{body}".encode())
    answer = await reader.read()
    writer.close()
    return answer.decode().split("\r\n")[0]


def application(**settings: Any) -> Any:
    import tornado.web

    class Fine(tornado.web.RequestHandler):
        def get(self, name: str) -> None:
            self.set_header("X-Own", "1")
            self.write("fine " + name)

    class Crash(tornado.web.RequestHandler):
        async def prepare(self) -> None:
            await asyncio.sleep(0)

        async def post(self) -> None:
            raise ZeroDivisionError("crash")

    class Missing(tornado.web.RequestHandler):
        def get(self) -> None:
            raise tornado.web.HTTPError(404)

    @tornado.web.stream_request_body
    class Stream(tornado.web.RequestHandler):
        size = 0

        def data_received(self, chunk: bytes) -> None:
            self.size += len(chunk)

        def put(self) -> None:
            self.write(str(self.size))

    return tornado.web.Application(
        [(r"/fine/(.*)", Fine), ("/crash", Crash), ("/missing", Missing), ("/stream", Stream)],
        log_function=lambda handler: None,
        **settings,
    )


async def drive(app: Any) -> list[str]:
    server = app.listen(0, "127.0.0.1")
    port = next(iter(server._sockets.values())).getsockname()[1]
    lines = [
        await ask(port, "GET /fine/x"),
        await ask(port, "POST /crash?q=1", "k=v"),
        await ask(port, "GET /missing"),
        await ask(port, "PUT /stream", "x" * 1000),
        await ask(port, "GET /nowhere"),
    ]
    server.stop()
    await server.close_all_connections()
    return lines


def report(lines: list[str], seen: list[Any]) -> None:
    print(json.dumps({"lines": lines, "seen": seen}, default=str))


logging.disable(logging.CRITICAL)
