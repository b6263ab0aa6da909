"""A page of charts that are fed by one event stream; the numbers are those of the server that sends them."""

import asyncio
import os
import platform
import secrets
import time
from pathlib import Path
from typing import Any

import webfw
from demos.dashboard.sampler import Greenhouse, Sampler
from webfw import web
from webfw.pubsub import STATIC_PATH

HERE = Path(__file__).parent

#: Samples that a new page starts with, and that a chart shows.
SHOWN = 120
#: Milliseconds for which the button holds up the event loop: one second would be a long time for everybody.
HOLD_UP = 250


class Dashboard(web.Application):
    """Counts its requests, and measures from the first of them on."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.sampler = Sampler()
        self._measuring: asyncio.Task[None] | None = None

    def measure(self) -> None:
        """See to it that samples are taken; there is a loop to do it on when the first request has come."""
        if self._measuring is None:
            self._measuring = asyncio.create_task(self._measure())

    async def _measure(self) -> None:
        while True:
            await self.broker.publish("samples", await self.sampler.next())

    def log_request(self, handler: web.RequestHandler) -> None:
        self.sampler.requests += 1
        super().log_request(handler)


class PageHandler(web.RequestHandler):
    """What all pages share: safe headers and an error page."""

    application: Dashboard

    def set_default_headers(self) -> None:
        self.set_header(
            "Content-Security-Policy", "default-src 'self'; base-uri 'none'; frame-ancestors 'none'"
        )
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "same-origin")

    def prepare(self) -> None:
        self.application.measure()

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        self.render("error.html", status=status_code, reason=self._reason)


class HomeHandler(PageHandler):
    """The page; its numbers come by the stream."""

    def get(self) -> None:
        self.render(
            "home.html",
            shown=SHOWN,
            hold_up=HOLD_UP,
            places=Greenhouse.PLACES,
            server=f"webfw {webfw.version}, Python {platform.python_version()}, process {os.getpid()}",
        )


class SamplesHandler(web.EventSourceHandler):
    """The stream: the last two minutes first, then a sample a second."""

    application: Dashboard

    async def open(self) -> None:
        self.application.measure()
        self.application.sampler.streams += 1
        await self.subscribe("samples", last=SHOWN)

    def on_close(self) -> None:
        self.application.sampler.streams -= 1


class PingHandler(PageHandler):
    """The least that a request can be; the page makes many of them when it is asked to."""

    def get(self) -> None:
        self.set_status(204)


class HoldUpHandler(PageHandler):
    """What a handler must not do: work for long without awaiting.  The chart of the loop's delay shows it."""

    def post(self) -> None:
        time.sleep(HOLD_UP / 1000)
        self.set_status(204)


class NotFoundHandler(PageHandler):
    """Whatever no route leads to."""

    def prepare(self) -> None:
        raise web.HTTPError(404)


def make_app(**settings: Any) -> Dashboard:
    """Build the application; ``settings`` add to its own or replace them."""
    own = {
        "template_path": str(HERE / "templates"),
        "static_path": str(HERE / "static"),
        "cookie_secret": os.environ.get("COOKIE_SECRET") or secrets.token_hex(32),
        "xsrf_cookies": True,
        "xsrf_cookie_kwargs": {"samesite": "Lax"},
        "default_handler_class": NotFoundHandler,
        # The numbers are those of one process, and so are the streams.
        "broker": "memory:",
    }
    return Dashboard(
        [
            web.url("/", HomeHandler, name="home"),
            web.url("/samples", SamplesHandler, name="samples"),
            web.url("/ping", PingHandler, name="ping"),
            web.url("/hold-up", HoldUpHandler, name="hold-up"),
            web.url("/webfw/(.*)", web.StaticFileHandler, {"path": STATIC_PATH}),
        ],
        **{**own, **settings},
    )


app = make_app()
