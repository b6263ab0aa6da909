"""The hello page as bare applications for granian: ``asgi`` and ``rsgi``, named on its command line."""

from typing import Any

BODY = b"Hello, world"
START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/html; charset=UTF-8"), (b"content-length", b"12")],
}


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    await send(START)
    await send({"type": "http.response.body", "body": BODY})


async def rsgi(scope: Any, protocol: Any) -> None:
    protocol.response_bytes(200, [("content-type", "text/html; charset=UTF-8")], BODY)
