"""The hello page as a bare ASGI application on uvicorn, with uvloop and httptools: ``uvicorn_hello.py PORT``."""

import sys
from typing import Any

import uvicorn

BODY = b"Hello, world"
START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/html; charset=UTF-8"), (b"content-length", b"12")],
}


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send(START)
    await send({"type": "http.response.body", "body": BODY})


if __name__ == "__main__":
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        lifespan="off",
        access_log=False,
        log_level="warning",
    )
