"""One port: a page with a chat of native handlers, Flask below ``/vote``, FastAPI below ``/api``."""

import asyncio
import json
import shlex
import sys
import time
from pathlib import Path
from typing import Any

from webfw import web, websocket
from webfw.asgi import ASGIContainer
from webfw.httputil import HTTPMessageDelegate, HTTPServerRequest
from webfw.pubsub import STATIC_PATH
from webfw.wsgi import WSGIContainer

try:
    from demos.three_in_one import ballot, dice
except ModuleNotFoundError as error:
    if error.name not in ("flask", "fastapi"):
        raise
    raise ImportError(
        f"this demo shows Flask and FastAPI beside native handlers, and {error.name} is not installed: "
        f"{shlex.quote(sys.executable)} -m pip install flask fastapi"
    ) from None

from demos.three_in_one.lines import LONGEST_NAME, LONGEST_TEXT, one_line

HERE = Path(__file__).parent

#: Threads of the Flask application.
THREADS = 2
#: What a new page is shown of the chat.
SHOWN = 40
#: Seconds between two messages of one page; its WebSocket is not read meanwhile.
PAUSE = 0.1


class ThreeInOne(web.Application):
    """Counts the requests of its three parts, and lets all of them talk in the chat."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.requests = {"native": 0, "flask": 0, "fastapi": 0}
        self.messages = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> HTTPMessageDelegate:
        """Every request passes here, on the loop, whoever answers it."""
        self._loop = asyncio.get_running_loop()
        first = request.path.split("/", 2)[1]
        self.requests[{"vote": "flask", "api": "fastapi"}.get(first, "native")] += 1
        return super().find_handler(request, **kwargs)

    async def tell(self, source: str, name: str, text: str, key: str = "") -> None:
        """Say something in the chat.

        :param source: which of the three it comes from.
        """
        message = {
            "source": source,
            "name": name,
            "text": text,
            "time": round(time.time() * 1000),
            "key": key,
        }
        self.messages += 1
        await self.broker.publish("chat", message)

    def tell_from_thread(self, source: str, name: str, text: str) -> None:
        """The same for the threads of Flask, since the broker belongs to the loop."""
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(self.tell(source, name, text), self._loop).result(10)

    async def counts(self) -> dict[str, Any]:
        """What FastAPI shows of the others."""
        people = await self.broker.presence("chat")
        return {"people": len(people), "messages": self.messages, "requests": self.requests}


class PageHandler(web.RequestHandler):
    """What the native pages share."""

    def set_default_headers(self) -> None:
        self.set_header(
            "Content-Security-Policy", "default-src 'self'; base-uri 'none'; frame-ancestors 'none'"
        )
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "same-origin")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        self.render("error.html", status=status_code, reason=self._reason)


class HomeHandler(PageHandler):
    """The page that shows all three."""

    def get(self) -> None:
        self.render("home.html", longest_name=LONGEST_NAME, longest_text=LONGEST_TEXT)


class NotFoundHandler(PageHandler):
    """Whatever no route leads to."""

    def prepare(self) -> None:
        raise web.HTTPError(404)


class ChatSocket(websocket.WebSocketHandler):
    """The chat: what one page says, and what Flask and FastAPI do, all pages hear."""

    application: ThreeInOne

    async def open(self) -> None:
        page = one_line(self.get_query_argument("page", ""), 40) or "unknown"
        await self.subscribe("chat", last=SHOWN, member=page)

    async def on_message(self, message: str | bytes) -> None:
        try:
            said = json.loads(message)
            name, text = one_line(said["name"], LONGEST_NAME), one_line(said["text"], LONGEST_TEXT)
            key = one_line(said["key"], 40)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            self.close(1008, "no message")
            return
        if name and text:
            await self.application.tell("native", name, text, key)
            await asyncio.sleep(PAUSE)


def make_app(**settings: Any) -> ThreeInOne:
    """Build the application; ``settings`` add to its own or replace them."""
    flask_app = ballot.make_app()
    fastapi_app = dice.make_app()
    own = {
        "template_path": str(HERE / "templates" / "native"),
        "static_path": str(HERE / "static"),
        "default_handler_class": NotFoundHandler,
        # Votes and counts are this process's, too.
        "broker": "memory:",
        "websocket_max_message_size": 10_000,
        "websocket_ping_interval": 20,
    }
    application = ThreeInOne(
        [
            web.url("/", HomeHandler, name="home"),
            web.url("/chat", ChatSocket),
            web.url("/webfw/(.*)", web.StaticFileHandler, {"path": STATIC_PATH}),
            (r"/vote(?:/.*)?", WSGIContainer(flask_app, threads=THREADS, mount="/vote")),
            (r"/api(?:/.*)?", ASGIContainer(fastapi_app, mount="/api", lifespan="on")),
        ],
        **{**own, **settings},
    )
    flask_app.config["TELL"] = application.tell_from_thread
    fastapi_app.state.house = dice.House(application.tell, application.counts)
    return application


app = make_app()
