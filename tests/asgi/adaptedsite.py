"""What `test_adapter_hosts` has other servers serve: the demos, each by its host, and one that tells what it sees."""

import asyncio
import hashlib
from typing import Any

from demos.chat.application import make_app as make_chat
from demos.hello.application import make_app as make_hello
from webfw.asgi import ASGIAdapter
from webfw.ioloop import IOLoop
from webfw.routing import HostMatches, Rule, RuleRouter
from webfw.web import Application, EventSourceHandler, HTTPError, RequestHandler, stream_request_body
from webfw.websocket import WebSocketHandler

seen: list[Any] = []


class Seen(RequestHandler):
    """What has happened so far."""

    def get(self) -> None:
        self.write({"seen": seen})

    def delete(self) -> None:
        seen.clear()


class Facts(RequestHandler):
    async def get(self) -> None:
        done = asyncio.Event()
        IOLoop.current().add_callback(done.set)
        await done.wait()
        request = self.request
        scope = request.connection.scope  # type: ignore[union-attr]
        self.write({"version": request.version, "ip": request.remote_ip, "type": scope["type"]})


@stream_request_body
class Digest(RequestHandler):
    def prepare(self) -> None:
        self.request.connection.set_max_body_size(2**30)  # type: ignore[union-attr]
        self.digest = hashlib.sha256()
        self.largest = 0

    async def data_received(self, chunk: bytes) -> None:
        self.digest.update(chunk)
        self.largest = max(self.largest, len(chunk))

    def post(self) -> None:
        self.write({"sha256": self.digest.hexdigest(), "largest": self.largest})


class Flood(RequestHandler):
    """More than fits between here and a client that does not read, which then leaves."""

    async def get(self) -> None:
        seen.append("flood")
        while True:
            self.write(b"x" * 100_000)
            await self.flush()

    def on_connection_close(self) -> None:
        seen.append("flood left")


class Events(EventSourceHandler):
    def open(self) -> None:
        self.send_event("first")

    def on_close(self) -> None:
        seen.append("events left")


class Cut(RequestHandler):
    async def get(self) -> None:
        self.write(b"x" * 100_000)
        await self.flush()  # some of it has left then
        self.request.connection.abort_response()  # type: ignore[union-attr]


class Echo(WebSocketHandler):
    def prepare(self) -> None:
        if self.get_argument("deny", ""):
            raise HTTPError(403)

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        return subprotocols[-1] if subprotocols else None

    async def on_message(self, message: str | bytes) -> None:  # type: ignore[override]
        if message == "close":
            self.close(3001, "enough")
        else:
            await self.write_message(message, binary=isinstance(message, bytes))

    def on_close(self) -> None:
        seen.append(["closed", self.close_code, self.close_reason])


class Site(Application):
    """Says on the standard output when it begins and ends."""

    async def startup(self) -> None:
        print("site: startup", flush=True)

    async def shutdown(self) -> None:
        print("site: shutdown", flush=True)


site = Site(
    [
        ("/seen", Seen),
        ("/facts", Facts),
        ("/digest", Digest),
        ("/flood", Flood),
        ("/events", Events),
        ("/cut", Cut),
        ("/echo", Echo),
    ]
)
app = ASGIAdapter(
    RuleRouter(
        [
            Rule(HostMatches(r"hello\.test"), make_hello()),
            Rule(HostMatches(r"chat\.test"), make_chat()),
            Rule(HostMatches(r".*"), site),
        ]
    )
)
