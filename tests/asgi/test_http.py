"""ASGI over HTTP from outside: bytes in, bytes out, and what the application hears in between."""

from typing import Any

from webfw.asgi import ASGIContainer
from webfw.testing import Client

PLAIN = [(b"content-type", b"text/plain")]


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the body it was sent."""
    body = b""
    while True:
        message = await receive()
        assert message["type"] == "http.request"
        body += message["body"]
        if not message["more_body"]:
            break
    await send({"type": "http.response.start", "status": 200, "headers": PLAIN})
    await send({"type": "http.response.body", "body": body})


async def test_a_body_goes_in_and_comes_out() -> None:
    client = Client(ASGIContainer(echo, lifespan="off"))
    for body in (b"", b"x", b"y" * 300_000):
        response = await client.post("/", body=body)
        assert (response.code, response.body) == (200, body)
        assert response.headers["Content-Length"] == str(len(body))
