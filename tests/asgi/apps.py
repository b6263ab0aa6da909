"""What the tests of the container run: applications that play a part, and what they have heard."""

import asyncio
from collections.abc import Callable
from typing import Any

PLAIN = [(b"content-type", b"text/plain")]


def start(status: int = 200, *headers: tuple[bytes, bytes], **more: Any) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": [*PLAIN, *headers], **more}


def body(data: bytes = b"", more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


class Part:
    """An application that sends messages one after the other, receives where None stands, and keeps what it hears."""

    def __init__(self, *messages: Any, then: BaseException | None = None) -> None:
        self.messages = messages
        self.then = then
        self.heard: list[Any] = []
        self.raised: list[BaseException] = []
        self.scope: dict[str, Any] = {}
        self.ended = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope = scope
        try:
            for message in self.messages:
                if message is None:
                    self.heard.append(await receive())
                elif isinstance(message, asyncio.Event):
                    await message.wait()
                elif callable(message):
                    await message()
                else:
                    await send(message)
            if self.then is not None:
                raise self.then
        except BaseException as error:
            self.raised.append(error)
            raise
        finally:
            self.ended += 1


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the body it was sent."""
    assert scope["type"] == "http"
    data = b""
    while True:
        message = await receive()
        assert message["type"] == "http.request"
        data += message["body"]
        if not message["more_body"]:
            break
    await send(start())
    await send(body(data))


def splits(data: bytes) -> list[Callable[[], list[bytes]]]:
    """A byte string whole, byte by byte, and in halves."""
    half = len(data) // 2
    return [
        lambda: [data],
        lambda: [data[at : at + 1] for at in range(len(data))],
        lambda: [data[:half], data[half:]],
    ]
