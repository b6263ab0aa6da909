"""Rooms to talk in, over three transports: who is here, what was said, and nothing lost by a broken connection."""

import asyncio
import json
import os
import secrets
import time
import unicodedata
from contextlib import suppress
from pathlib import Path
from typing import Any

from webfw import web, websocket
from webfw.pubsub import STATIC_PATH, BrokerError, connect

HERE = Path(__file__).parent

#: The rooms that the first page offers; any other is there as soon as somebody enters it.
ROOMS = {
    "lobby": "Where everybody starts",
    "help": "Questions and answers",
    "random": "What fits nowhere else",
}
#: What may stand in the name of a room.
ROOM = r"([a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?)"

#: The longest name and the longest message, in characters.
LONGEST_NAME = 32
LONGEST_TEXT = 2000
#: What scripts and emoji need, though it is not seen itself.
JOINERS = "\u200c\u200d"
#: Bytes of a message on its way here; each character may be escaped as `\uXXXX`, twice for those beyond 16 bits.
LARGEST_MESSAGE = LONGEST_TEXT * 12 + 200
#: What a room remembers: messages, and seconds.
HISTORY: dict[str, Any] = {"history_size": 500, "history_age": 7 * 86400.0}
#: How many messages somebody who enters a room is shown.
SHOWN = 50
#: Seconds between two messages of one connection; a WebSocket is not read meanwhile.
PAUSE = 0.1


def one_line(text: str, longest: int) -> str:
    """The text without what could disturb the line it is shown in: controls, marks of direction, long spaces."""
    kept = "".join(" " if unicodedata.category(c)[0] == "Z" else c for c in text if is_shown(c))
    line = " ".join(kept.split())[:longest].strip()
    return line if line.strip(JOINERS) else ""


def is_shown(character: str) -> bool:
    return unicodedata.category(character)[0] != "C" or character in JOINERS


def said(name: str, body: str | bytes) -> dict[str, Any]:
    """What is published of a message that a page has sent.

    :raises ValueError: it is none.
    """
    if len(body) > LARGEST_MESSAGE:
        raise ValueError("too long")
    try:
        message = json.loads(body)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(message, dict):
        raise ValueError("no object")
    text, key = message.get("text"), message.get("key")
    if not isinstance(text, str) or not isinstance(key, str):
        raise ValueError("no text or no key")
    if not key.isascii() or not 0 < len(key) <= 40:
        raise ValueError("no such key")
    text = "".join(c for c in text.replace("\r\n", "\n") if c == "\n" or is_shown(c)).strip()
    if not text.strip(JOINERS) or len(text) > LONGEST_TEXT:
        raise ValueError("empty or too long")
    return {"name": name, "text": text, "key": key, "time": round(time.time() * 1000)}


class Rooms:
    """Tells each room who is in it: the list is a message of a channel of its own, sent when it has changed."""

    #: Seconds between two looks.  Somebody may be gone without a goodbye, with the process that served them.
    INTERVAL = 5.0
    #: Seconds from a change to the look: where one comes, there are often more.
    SETTLE = 0.3
    #: Seconds that somebody must be away to be gone: who polls comes and goes all the time.
    LINGER = 2.0

    def __init__(self, application: web.Application) -> None:
        self.application = application
        self.changes: dict[str, asyncio.Event] = {}
        self.tasks: set[asyncio.Task[None]] = set()

    async def people(self, room: str) -> list[str]:
        """Who is there at this moment."""
        return sorted(await self.application.broker.presence(f"room:{room}"))

    def changed(self, room: str) -> None:
        """Somebody has come or gone."""
        if room not in self.changes:
            self.changes[room] = asyncio.Event()
            task = asyncio.create_task(self._watch(room))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        self.changes[room].set()

    async def _watch(self, room: str) -> None:
        """Runs while there is somebody in the room."""
        change = self.changes[room]
        clock = asyncio.get_running_loop().time
        seen: dict[str, float] = {}  # when each was there last
        away = False
        try:
            while seen or change.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(change.wait(), self.LINGER / 2 if away else self.INTERVAL)
                change.clear()
                await asyncio.sleep(self.SETTLE)
                try:
                    here = await self.people(room)
                    seen.update(dict.fromkeys(here, clock()))
                    seen = {name: last for name, last in seen.items() if clock() - last < self.LINGER}
                    away = len(here) < len(seen)
                    await self._tell(room, sorted(seen))
                except BrokerError:
                    pass  # it is away, and comes back
        finally:
            del self.changes[room]

    async def _tell(self, room: str, people: list[str]) -> None:
        broker = self.application.broker
        # With a broker that is shared, another process may have told them already.
        last = (await broker.history(f"people:{room}", limit=1)).messages
        if not last or last[-1].data != people:
            await broker.publish(f"people:{room}", people)


# --- pages ---


class PageHandler(web.RequestHandler):
    """What all pages share: safe headers and an error page that looks like the rest."""

    def set_default_headers(self) -> None:
        self.set_header(
            "Content-Security-Policy", "default-src 'self'; base-uri 'none'; frame-ancestors 'none'"
        )
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "same-origin")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        self.render("error.html", status=status_code, reason=self._reason)


class HomeHandler(PageHandler):
    """The rooms, and how many people are in each."""

    async def get(self) -> None:
        rooms = self.settings["rooms"]
        names = list(ROOMS)
        counts = [len(people) for people in await asyncio.gather(*map(rooms.people, names))]
        self.render("home.html", rooms=list(zip(names, ROOMS.values(), counts, strict=True)), room=None)


class EnterHandler(PageHandler):
    """Takes the form that names a room; what was typed becomes a name that fits into a URL."""

    def get(self) -> None:
        plain = unicodedata.normalize("NFKD", self.get_query_argument("room", "")).encode("ascii", "ignore")
        words = "".join(c if c.isalnum() else " " for c in plain.decode().lower()).split()
        room = "-".join(words)[:40].strip("-")
        self.redirect(self.reverse_url("room", room) if room else self.reverse_url("home"), status=303)


class RoomHandler(PageHandler):
    """The page of a room; everything in it comes by the doors below."""

    def get(self, room: str) -> None:
        self.render("room.html", room=room, rooms=list(dict.fromkeys([*ROOMS, room])))


class NotFoundHandler(PageHandler):
    """Whatever no route leads to."""

    def prepare(self) -> None:
        raise web.HTTPError(404)


# --- the doors: one room by three transports ---


class Visit(web.RequestHandler):
    """A request of somebody with a name; there are no accounts, so anybody can have any."""

    def prepare(self) -> None:
        self.name = one_line(self.get_query_argument("name", ""), LONGEST_NAME)
        if not self.name:
            raise web.HTTPError(400, "a name is needed")

    async def publish_said(self, room: str, body: str | bytes) -> None:
        """Publish a message from a page; the next one waits a little.

        :raises ValueError: it is none.
        """
        await self.application.broker.publish(f"room:{room}", said(self.name, body))
        await asyncio.sleep(PAUSE)


class Door(Visit):
    """What the three transports have in common: which channels they hear, and that the room hears of them."""

    room = ""

    async def open(self: Any, room: str) -> None:
        await self.subscribe(f"room:{room}", last=SHOWN, member=self.name)
        await self.subscribe(f"people:{room}", last=1)
        self.room = room
        self.settings["rooms"].changed(room)

    def on_close(self) -> None:
        if self.room:
            self.settings["rooms"].changed(self.room)


class SocketDoor(Door, websocket.WebSocketHandler):
    """A room over a WebSocket, in both directions."""

    async def on_message(self, message: str | bytes) -> None:
        try:
            await self.publish_said(self.room, message)
        except ValueError as error:
            self.close(1008, str(error))


class EventsDoor(Door, web.EventSourceHandler):
    """A room as a stream of events."""


class PollDoor(Door, web.LongPollHandler):
    """A room asked for again and again."""


class SayHandler(Visit):
    """Takes what pages without a WebSocket have to say."""

    async def post(self, room: str) -> None:
        try:
            await self.publish_said(room, self.request.body)
        except ValueError as error:
            raise web.HTTPError(400, str(error)) from None
        self.set_status(204)


def make_app(**settings: Any) -> web.Application:
    """Build the application; ``settings`` add to its own or replace them.

    The environment variable WEBFW_BROKER names the broker, ``memory:`` without it; COOKIE_SECRET is not needed, since
    nothing is signed but the token against forged requests.
    """
    own = {
        "template_path": str(HERE / "templates"),
        "static_path": str(HERE / "static"),
        "cookie_secret": os.environ.get("COOKIE_SECRET") or secrets.token_hex(32),
        "xsrf_cookies": True,
        "xsrf_cookie_kwargs": {"samesite": "Lax"},
        "default_handler_class": NotFoundHandler,
        "broker": connect(os.environ.get("WEBFW_BROKER") or "memory:", **HISTORY),
        "websocket_max_message_size": LARGEST_MESSAGE,
        "websocket_ping_interval": 20,
    }
    application = web.Application(
        [
            web.url("/", HomeHandler, name="home"),
            web.url("/enter", EnterHandler, name="enter"),
            web.url(f"/rooms/{ROOM}", RoomHandler, name="room"),
            web.url(f"/rooms/{ROOM}/socket", SocketDoor),
            web.url(f"/rooms/{ROOM}/events", EventsDoor),
            web.url(f"/rooms/{ROOM}/poll", PollDoor),
            web.url(f"/rooms/{ROOM}/say", SayHandler),
            web.url("/webfw/(.*)", web.StaticFileHandler, {"path": STATIC_PATH}),
        ],
        **{**own, **settings},
    )
    application.settings["rooms"] = Rooms(application)
    return application


app = make_app()
