"""Echo and broadcast as a bare ASGI application on uvicorn, with uvloop: ``uvicorn_websocket.py PORT``.

The WebSockets are those of the websockets library, by its sans-I/O core.
"""

import sys
from typing import Any

import uvicorn

CLIENTS: set[Any] = set()


async def echo(receive: Any, send: Any) -> None:
    while (event := await receive())["type"] == "websocket.receive":
        if event.get("text") is not None:
            await send({"type": "websocket.send", "text": event["text"]})
        else:
            await send({"type": "websocket.send", "bytes": event["bytes"]})


async def broadcast(receive: Any, send: Any) -> None:
    CLIENTS.add(send)
    await send({"type": "websocket.send", "text": "joined"})
    try:
        while (event := await receive())["type"] == "websocket.receive":
            message = {"type": "websocket.send", "text": event["text"]}
            for client in CLIENTS:
                await client(message)
    finally:
        CLIENTS.discard(send)


async def app(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    await {"/echo": echo, "/broadcast": broadcast}[scope["path"]](receive, send)


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
        log_level="warning",
    )
