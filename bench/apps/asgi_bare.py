"""A bare ASGI application, for the servers of `bench http --shapes asgi`."""

from typing import Any

import pages

START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/html; charset=UTF-8"), (b"content-length", b"12")],
}
END = {"type": "http.response.body", "body": pages.BODY}


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        raise NotImplementedError("there is nothing to start")
    await send(START)
    await send(END)
