"""A small application that shows what handlers, templates, cookies, uploads and waiting look like."""

import asyncio
import datetime
import hashlib
import os
import secrets
import time
from pathlib import Path
from typing import Any

import webfw
from webfw import web

HERE = Path(__file__).parent

#: The longest wait that /api/wait accepts, in seconds.
LONGEST_WAIT = 10.0
#: The largest upload accepted, in bytes; it is never held in memory.
LARGEST_UPLOAD = 4 * 2**30


class PageHandler(web.RequestHandler):
    """What all pages of this application share: safe headers and an error page that looks like the rest."""

    def set_default_headers(self) -> None:
        self.set_header("Content-Security-Policy", "default-src 'self'; img-src 'self' data:")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "same-origin")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        self.render("error.html", status=status_code, reason=self._reason)


class HomeHandler(PageHandler):
    """The page itself; it greets whoever left a name."""

    def get(self) -> None:
        name = self.get_signed_cookie("name")
        self.render("home.html", name=name.decode() if name else None, version=webfw.version)


class GreetHandler(PageHandler):
    """Takes the form, keeps the name in a signed cookie, and sends the browser back to the page."""

    def post(self) -> None:
        name = self.get_body_argument("name", "")[:60]
        if name:
            self.set_signed_cookie("name", name, httponly=True, samesite="Lax")
        else:
            self.clear_cookie("name")
        self.redirect(self.reverse_url("home"), status=303)


class TimeHandler(PageHandler):
    """A dict that is written becomes JSON."""

    def get(self) -> None:
        now = datetime.datetime.now(datetime.UTC)
        self.write({"server": f"webfw {webfw.version}", "time": now.isoformat(timespec="milliseconds")})


class WaitHandler(PageHandler):
    """Waits as long as asked; meanwhile the same process answers everyone else."""

    async def get(self) -> None:
        try:
            seconds = float(self.get_query_argument("seconds", "2"))
        except ValueError:
            raise web.HTTPError(400, "seconds is not a number") from None
        if not 0 <= seconds <= LONGEST_WAIT:
            raise web.HTTPError(400, f"seconds is not between 0 and {LONGEST_WAIT:g}")
        await asyncio.sleep(seconds)
        self.write({"waited": seconds})


@web.stream_multipart
class UploadHandler(PageHandler):
    """Reads files while they arrive: only the chunk at hand is in memory, whatever the size of the file."""

    def prepare(self) -> None:
        self.request.connection.set_max_body_size(LARGEST_UPLOAD)
        self.started = time.perf_counter()
        self.files: list[dict[str, Any]] = []

    async def part_begin(self, part: Any) -> None:
        part.digest = hashlib.sha256()

    async def part_data(self, part: Any, chunk: bytes) -> None:
        part.digest.update(chunk)

    async def part_end(self, part: Any) -> None:
        if part.filename:
            self.files.append(
                {
                    "name": part.filename,
                    "type": part.content_type,
                    "size": part.size,
                    "sha256": part.digest.hexdigest(),
                }
            )

    def post(self) -> None:
        self.write({"files": self.files, "seconds": round(time.perf_counter() - self.started, 3)})


class NotFoundHandler(PageHandler):
    """Whatever no route leads to."""

    def prepare(self) -> None:
        raise web.HTTPError(404)


def make_app(**settings: Any) -> web.Application:
    """Build the application; ``settings`` add to its own or replace them."""
    own = {
        "template_path": str(HERE / "templates"),
        "static_path": str(HERE / "static"),
        "cookie_secret": os.environ.get("COOKIE_SECRET") or secrets.token_hex(32),
        "xsrf_cookies": True,
        "xsrf_cookie_kwargs": {"samesite": "Lax"},
        "default_handler_class": NotFoundHandler,
    }
    return web.Application(
        [
            web.url("/", HomeHandler, name="home"),
            web.url("/greet", GreetHandler, name="greet"),
            web.url("/upload", UploadHandler, name="upload"),
            web.url("/api/time", TimeHandler, name="time"),
            web.url("/api/wait", WaitHandler, name="wait"),
        ],
        **{**own, **settings},
    )


app = make_app()
