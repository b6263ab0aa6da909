"""A server that speaks the live protocol by all three transports, in a thread, and misbehaves as it is told.

The doors of webfw have tests of their own; this one answers what a server of webfw never would, too.
"""

import asyncio
import base64
import json
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from http import HTTPStatus
from typing import Any, ClassVar
from urllib.parse import parse_qs, parse_qsl, urlencode

import websockets
from websockets.asyncio.server import ServerConnection, serve

from webfw.httpserver import HTTPServer
from webfw.iostream import StreamClosedError
from webfw.netutil import bind_sockets
from webfw.pubsub import STATIC_PATH
from webfw.web import Application, RequestHandler, StaticFileHandler

#: Every character that a cursor has to escape is in it.
CHANNEL = "room:1 & Größe=+%/?#"

PAGE = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
<script src="/webfw/webfw-live.js"></script>
<script>
  const events = [];
  function start(options) {
    window.live = new webfw.Live(options);
    for (const name of ["message", "lost", "status", "envelope"])
      live.on(name, (...values) => events.push([name, ...values]));
  }
</script>
"""


class Place:
    """One client that is being served: what it is to be sent, None for the end."""

    def __init__(self, transport: str, cursor: dict[str, str] | None) -> None:
        self.transport = transport
        self.cursor = cursor
        self.queue: asyncio.Queue[Any] = asyncio.Queue()


class LiveServer:
    """One channel with its history; `answers` says how each transport treats who comes.

    :ivar answers: per transport: None to serve, an int for an HTTP status, ``"hang"`` to say nothing.
    :ivar came: every attempt of a client: the transport and its cursor (None without one).
    :ivar said: what clients have sent.
    """

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.http_port = self.ws_port = 0
        self.reset()
        self.do(self.start)

    def reset(self) -> None:
        """As it was at the beginning, for the next test; who is connected stays."""
        self.answers: dict[str, Any] = dict.fromkeys(("websocket", "events", "poll", "say"))
        self.headers: dict[str, str] = {}
        self.history: list[dict[str, Any]] = []
        self.resend_all = False
        self.forgotten = False
        self.poll_timeout = 30.0
        self.came: list[tuple[str, dict[str, str] | None]] = []
        self.said: list[Any] = []
        self.say_headers: list[Any] = []
        self.places: list[Place] = []
        self.serial = 0

    def do(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function or coroutine function on the server's loop."""
        done: Future[Any] = asyncio.run_coroutine_threadsafe(self._call(function, *args), self.loop)
        return done.result(20)

    async def _call(self, function: Callable[..., Any], *args: Any) -> Any:
        result = function(*args)
        return await result if asyncio.iscoroutine(result) else result

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def urls(self) -> dict[str, str]:
        """The options that every client of it needs."""
        return {
            "websocket": f"ws://127.0.0.1:{self.ws_port}/ws?a=b",
            "events": "/events?a=b",
            "poll": "poll",
            "send": "/say",
        }

    # --- starting and stopping ---

    async def start(self) -> None:
        self.stopping = asyncio.Event()
        handlers = [
            ("/", Page),
            ("/events", Events),
            ("/poll", Poll),
            ("/say", Say),
            ("/webfw/(.*)", StaticFileHandler, {"path": STATIC_PATH}),
        ]
        app = Application(handlers, live=self, log_function=lambda handler: None)  # type: ignore[arg-type]
        sockets = bind_sockets(self.http_port, "127.0.0.1")
        self.http_port = sockets[0].getsockname()[1]
        self.http = HTTPServer(app)
        self.http.add_sockets(sockets)
        self.ws = await serve(
            self._websocket, "127.0.0.1", self.ws_port, process_request=self._handshake, reuse_address=True
        )
        self.ws_port = self.ws.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Everybody's connection is gone, as if the process had been killed."""
        self.stopping.set()
        self.ws.close(code=1012)
        self.end()
        self.http.stop()
        await self.http.drain(0)
        await self.ws.wait_closed()

    def shut_down(self) -> None:
        self.do(self.stop)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    # --- publishing ---

    def publish(self, data: Any) -> str:
        self.serial += 1
        message = {"channel": CHANNEL, "id": f"x-{self.serial}"}
        if isinstance(data, bytes):
            message["base64"] = base64.b64encode(data).decode()
        else:
            message["data"] = data
        self.history.append(message)
        self.tell(message)
        return message["id"]

    def tell(self, envelope: Any) -> None:
        """Send anything to all who are connected."""
        for place in self.places:
            place.queue.put_nowait(envelope)

    def end(self, how: Any = None) -> None:
        """End all connections: by a close code, or as it goes."""
        self.tell(("end", how))

    # --- serving ---

    def come(self, transport: str, query: str) -> Place:
        """A new client, with what it is to be sent first in its queue."""
        since = parse_qs(query).get("since")
        cursor = None if since is None else dict(parse_qsl(since[0], strict_parsing=True))
        self.came.append((transport, cursor))
        place = Place(transport, cursor)
        known = (cursor or {}).get(CHANNEL)
        number = self.serial if known is None else int(known.removeprefix("x-"))
        if self.forgotten and known is not None:
            self.forgotten = False
            place.queue.put_nowait({"channel": CHANNEL, "lost": True})
            number = self.serial
        place.queue.put_nowait({"channel": CHANNEL, "id": f"x-{number}", "joined": True})
        for message in self.history:
            if self.resend_all or int(message["id"][2:]) > number:
                place.queue.put_nowait(message)
        self.places.append(place)
        return place

    async def obstacle(self, transport: str, query: str = "") -> int | None:
        """The status to answer with in place of serving; None to serve."""
        answer = self.answers[transport]
        if answer is not None:
            self.came.append((transport, None))
        if answer == "hang":
            with suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), 20)
            return 500
        return answer

    async def _handshake(self, connection: ServerConnection, request: Any) -> Any:
        status = await self.obstacle("websocket")
        return None if status is None else connection.respond(HTTPStatus(status), "no\n")

    async def _websocket(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        place = self.come("websocket", connection.request.path.partition("?")[2])

        async def read() -> None:
            with suppress(websockets.ConnectionClosed):
                async for text in connection:
                    self.said.append(json.loads(text))
            place.queue.put_nowait(("end", None))

        reader = asyncio.ensure_future(read())
        while not isinstance(envelope := await place.queue.get(), tuple):
            raw = isinstance(envelope, (str, bytes))
            await connection.send(envelope if raw else json.dumps(envelope, ensure_ascii=False))
        self.places = [other for other in self.places if other is not place]
        if envelope[1] == "abort":
            connection.transport.abort()
        else:
            await connection.close(envelope[1] or 1000, "as told")
        await reader


class _Live(RequestHandler):
    transport: ClassVar[str]
    place: Place | None = None

    async def prepare(self) -> None:
        self.live: LiveServer = self.settings["live"]
        status = await self.live.obstacle(self.transport)
        if status is not None:
            for name, value in self.live.headers.items():
                self.set_header(name, value)
            self.set_status(status)
            self.finish()

    def on_connection_close(self) -> None:
        if self.place is not None:
            self.place.queue.put_nowait(("end", None))

    def leave(self, place: Place) -> None:
        self.live.places = [other for other in self.live.places if other is not place]


def drained(queue: asyncio.Queue[Any]) -> list[Any]:
    return [queue.get_nowait() for _ in range(queue.qsize())]


class Page(RequestHandler):
    def get(self) -> None:
        self.write(PAGE)


class Events(_Live):
    transport = "events"

    async def get(self) -> None:
        self.set_header("Content-Type", "text/event-stream")
        place = self.place = self.live.come("events", self.request.query)
        try:
            await self.flush()
            while not isinstance(envelope := await place.queue.get(), tuple):
                if isinstance(envelope, bytes):  # byte by byte
                    for byte in envelope:
                        self.write(bytes([byte]))
                        await self.flush()
                    continue
                cursor = urlencode({CHANNEL: envelope.get("id", "")})
                self.write(f"id: {cursor}\ndata: {json.dumps(envelope)}\n\n")
                await self.flush()
        except StreamClosedError:
            pass
        finally:
            self.leave(place)


class Poll(_Live):
    transport = "poll"

    async def get(self) -> None:
        place = self.place = self.live.come("poll", self.request.query)
        answer: dict[str, Any] = {"messages": []}
        messages = answer["messages"] = [item for item in drained(place.queue) if not item.get("joined")]
        if place.cursor is not None and not messages and self.get_query_argument("wait", "") != "0":
            with suppress(TimeoutError):
                messages.append(await asyncio.wait_for(place.queue.get(), self.live.poll_timeout))
                messages += drained(place.queue)
        number = self.live.serial
        if messages and isinstance(messages[-1], tuple):
            retry = messages.pop()[1]
            if retry is not None:
                answer["retry"] = retry
        self.leave(place)
        answer["cursor"] = urlencode({CHANNEL: f"x-{number}"})
        self.write(answer)


class Say(_Live):
    transport = "say"

    def post(self) -> None:
        self.live.said.append(json.loads(self.request.body))
        self.live.say_headers.append(
            (self.request.headers["Content-Type"], self.request.headers.get("X-Test"))
        )
        self.set_status(204)
