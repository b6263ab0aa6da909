"""One port: a live page of native handlers, Flask below ``/flask``, Django below ``/django``."""

import asyncio
import shlex
import sys
import time
from pathlib import Path
from typing import Any

from webfw import web, websocket
from webfw.httputil import HTTPMessageDelegate, HTTPServerRequest
from webfw.pubsub import STATIC_PATH
from webfw.wsgi import WSGIContainer

try:
    from demos.legacy import guestbook, notes
except ModuleNotFoundError as error:
    if error.name not in ("flask", "django"):
        raise
    raise ImportError(
        f"this demo shows Flask and Django beside native handlers, and {error.name} is not installed: "
        f"{shlex.quote(sys.executable)} -m pip install flask django"
    ) from None

HERE = Path(__file__).parent

#: Threads of the Flask application, and of the Django project: their requests may block, and nobody else waits.
THREADS = 4
#: What a new page is shown of the news, and how much of them is remembered.
SHOWN = 20


class Legacy(web.Application):
    """Counts the requests of its three parts, tells them once a second, and lets threads publish."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.requests = {"native": 0, "flask": 0, "django": 0}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ticking: asyncio.Task[None] | None = None

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> HTTPMessageDelegate:
        """Every request passes here, on the loop, whoever answers it."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._ticking = asyncio.create_task(self._tick())
        part = request.path.split("/", 2)[1]
        self.requests[part if part in ("flask", "django") else "native"] += 1
        return super().find_handler(request, **kwargs)

    def publish(self, source: str, text: str) -> None:
        """Send a message to all pages: for the threads of Flask and Django, since the broker belongs to the loop."""
        if self._loop is None:
            return  # nobody has come yet: it is a command of Django's that writes
        message = {"source": source, "text": text, "time": round(time.time() * 1000)}
        asyncio.run_coroutine_threadsafe(self.broker.publish("news", message), self._loop).result(10)

    async def _tick(self) -> None:
        while True:
            await self.broker.publish("ticks", {"time": round(time.time() * 1000), "requests": self.requests})
            await asyncio.sleep(0.25)


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
    """The live page; everything on it comes by the socket."""

    def get(self) -> None:
        self.render("home.html", threads=THREADS)


class NotFoundHandler(PageHandler):
    """Whatever no route leads to."""

    def prepare(self) -> None:
        raise web.HTTPError(404)


class LiveSocket(websocket.WebSocketHandler):
    """What Flask and Django have told, and the ticks of the loop."""

    async def open(self) -> None:
        await self.subscribe("news", last=SHOWN)
        await self.subscribe("ticks")


def make_app(**settings: Any) -> Legacy:
    """Build the application; ``settings`` add to its own or replace them.

    The environment variable LEGACY_DIR names the directory of Django's database; a temporary one without it.
    """
    flask_app = guestbook.make_app()
    django_app = notes.make_app()
    own = {
        "template_path": str(HERE / "templates" / "native"),
        "static_path": str(HERE / "static"),
        "default_handler_class": NotFoundHandler,
        # Flask and Django publish in this process.
        "broker": "memory:",
        "websocket_ping_interval": 20,
    }
    application = Legacy(
        [
            web.url("/", HomeHandler, name="home"),
            web.url("/live", LiveSocket),
            web.url("/webfw/(.*)", web.StaticFileHandler, {"path": STATIC_PATH}),
            # Files need no thread: those of Django's admin are sent from the loop.
            web.url("/django/static/(.*)", web.StaticFileHandler, {"path": notes.STATIC_PATH}),
            (r"/flask(?:/.*)?", WSGIContainer(flask_app, threads=THREADS, mount="/flask")),
            (r"/django(?:/.*)?", WSGIContainer(django_app, threads=THREADS, mount="/django")),
        ],
        **{**own, **settings},
    )
    flask_app.config["PUBLISH"] = application.publish
    notes.publish = application.publish
    return application


app = make_app()
