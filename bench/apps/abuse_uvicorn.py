"""What is abused, as a bare ASGI application on uvicorn: ``abuse_uvicorn.py PORT [CERTIFICATE KEY]``."""

import asyncio
import sys
from typing import Any

import uvicorn

PIECE = b"x" * 65536
PIECES = 128


async def answer(send: Any, body: bytes) -> None:
    fields = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": body})


async def hello(receive: Any, send: Any) -> None:
    size, more = 0, True
    while more:
        event = await receive()
        size += len(event.get("body", b""))
        more = event.get("more_body", False)
    await answer(send, str(size).encode() if size else b"Hello, world")


async def large(receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(PIECES):
        await send({"type": "http.response.body", "body": PIECE, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def upload(receive: Any, send: Any) -> None:
    while (await receive()).get("more_body", False):
        await asyncio.sleep(0.001)
    await answer(send, b"done")


async def echo(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "bytes": event["bytes"]})


ROUTES = {"/": hello, "/large": large, "/upload": upload, "/echo": echo}


async def app(scope: Any, receive: Any, send: Any) -> None:
    await ROUTES[scope["path"]](receive, send)


if __name__ == "__main__":
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        lifespan="off",
        access_log=False,
        log_level="critical",
        **dict(zip(("ssl_certfile", "ssl_keyfile"), sys.argv[2:], strict=False)),  # type: ignore[arg-type]
    )
