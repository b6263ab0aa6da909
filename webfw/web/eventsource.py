"""Server-sent events (WHATWG HTML section 9.2): a response that goes on; where messages come from may not enter."""

import asyncio
import base64
import random
import re
from collections.abc import Awaitable
from typing import Any

from webfw.escape import json_encode
from webfw.httpserver.exchange import DONE
from webfw.log import gen_log
from webfw.pubsub.messages import Gap, Message
from webfw.web.live import Place, decode_cursor, encode_cursor, joined, lost
from webfw.web.livehandler import LiveHandler

__all__ = ["EventSourceHandler"]

_LINE_END = re.compile("\r\n|\r|\n")
_UNFIT = re.compile("[\r\n\0]")


class EventSourceHandler(LiveHandler):
    """A stream of events for a browser's ``EventSource``; make a subclass with `open`.

        class News(EventSourceHandler):
            def open(self):
                self.subscribe("news")

    Each message of a channel is one event, an envelope of the live protocol, whose id is a cursor: a browser that
    reconnects sends it as ``Last-Event-ID``, and gets what it has missed.  `send_event` sends others.

    A stream that waits costs its connection and this object, no Task.  A client that is too slow is cut; it comes back
    with its cursor and gets the rest from the history.
    """

    #: Seconds between two comments that keep proxies from taking the stream for dead; the ``eventsource_heartbeat``
    #: setting stands before it.
    heartbeat: float = 15.0
    #: Milliseconds after which a browser shall reconnect (``eventsource_retry``).
    retry: int = 2000
    #: Bytes that may be sent while the client takes nothing (``eventsource_max_queue_size``).
    max_queue_size: int = 1024 * 1024

    _begun = False
    #: Bytes sent since the client has stopped to take them; None while it takes them.
    _unsent: int | None = None

    # What a handler may call.

    def send_event(
        self, data: Any, event: str | None = None, id: str | None = None, retry: int | None = None
    ) -> Awaitable[None]:
        """Send an event.

        :param data: str, or a JSON value; bytes are sent as base64.
        :param event: its type; browsers call it ``message`` when there is none.
        :param id: what a browser sends as ``Last-Event-ID`` when it reconnects; by default the cursor of the channels.
        :param retry: milliseconds after which a browser shall reconnect from now on.
        :returns: an awaitable, done when the client has taken enough for more.
        :raises ValueError: a line end or NUL in ``event`` or ``id``.
        """
        lines = []
        for name, value in (("event", event), ("id", id)):
            if value is not None:
                if _UNFIT.search(value):
                    raise ValueError(f"a line end or NUL cannot be in the {name} of an event: {value[:40]!r}")
                lines.append(f"{name}: {value}\n")
        if retry is not None:
            lines.append(f"retry: {int(retry)}\n")
        if isinstance(data, bytes):
            data = base64.b64encode(data).decode()
        lines.append(_data_lines(data if isinstance(data, str) else json_encode(data)))
        return self._send("".join(lines).encode())

    def close(self) -> None:
        """End the stream; the browser will reconnect, as it does whenever a stream ends."""
        if not self._finished:
            self._begin()
            self.finish()

    # The stream.

    def head(self, *args: Any, **kwargs: Any) -> None:
        """The headers of the stream, without it."""
        self._set_headers()
        self.finish()

    def get_cursor(self) -> dict[str, str]:
        """What this client has seen already: by its ``Last-Event-ID``, or else by the ``since`` argument."""
        last = self.request.headers.get("Last-Event-ID")
        if last is None:
            return super().get_cursor()
        return decode_cursor(last)

    def _set_headers(self) -> None:
        self._transforms = None  # a compressor would hold events back
        self.set_header("Content-Type", "text/event-stream; charset=utf-8")
        self.set_header("Cache-Control", "no-store, no-transform")
        self.set_header("X-Accel-Buffering", "no")

    def _setting(self, name: str) -> float:
        value: float = self.application.settings.get(f"eventsource_{name}", getattr(self, name))
        return value

    def _wait_begins(self) -> None:
        if not self._places:
            self._begin()

    def _begin(self) -> None:
        """Send the head of the response, and the first words of the stream; once."""
        if self._begun or self._finished:
            return
        self._begun = True
        self._set_headers()
        self.write(f"retry: {int(self._setting('retry'))}\n\n")
        self.flush()
        if self._setting("heartbeat"):
            self._deadline_in(self._setting("heartbeat"))

    def _send(self, event: bytes) -> Awaitable[None]:
        if self._finished:
            return DONE
        self._begin()
        sent: Awaitable[None] = self.request.connection.write(event)
        if sent is not DONE:
            if self._unsent is None:
                self._unsent = 0
                asyncio.ensure_future(sent).add_done_callback(self._taken_again)
            self._unsent += len(event)
            if self._unsent > self._setting("max_queue_size"):
                gen_log.info("%s: event stream cut, since its client is too slow", self.request.remote_ip)
                self._cut()
        return sent

    def _taken_again(self, sent: "asyncio.Future[None]") -> None:
        """The client has taken enough of what was sent, or is gone."""
        self._unsent = None
        if not sent.cancelled():
            sent.exception()  # who is gone is told of otherwise

    def deadline_passed(self, now: float) -> None:
        """It is time for a heartbeat."""
        if self._unsent is None:
            self._send(b":\n\n")
        if not self._finished:
            self._deadline_in(self._setting("heartbeat"))

    # Channels.

    def _live_event(self, place: Place, event: Message | Gap) -> None:
        if not isinstance(event, Message):
            self._live_lost(place)
            return
        place.position = event.id
        places = self._places
        if places is None or len(places) > 1:
            self._send(_event(encode_cursor(self._positions()), _text(self.message_form(event))))
            return
        # Most streams have one channel: then an event is the same for every client.
        form = (EventSourceHandler, self.message_form)
        data = event.forms.get(form)
        if data is None:
            cursor = encode_cursor({event.channel: event.id})
            data = event.forms[form] = _event(cursor, _text(self.message_form(event)))
        self._send(data)

    def _live_joined(self, place: Place) -> None:
        cursor = encode_cursor(self._positions())
        self._send(_event(cursor, joined(place.channel, place.position or "")))

    def _live_lost(self, place: Place) -> None:
        self._send(_data_lines(lost(place.channel)).encode())

    def _live_over(self) -> None:
        if self._begun:
            self.close()
        elif not self._finished:
            self._refuse()

    def on_draining(self) -> None:
        """Called when the application is being shut down: ends the stream, with a hint when to come back."""
        if not self._finished:
            self._begin()
            spread = float(self.application.settings.get("drain_spread", 5.0))
            retry = int(self._setting("retry") + 1000 * spread * random.random())
            self._send(f"retry: {retry}\n\n".encode())
            self.close()


def _text(form: str | bytes) -> str:
    return form if isinstance(form, str) else base64.b64encode(form).decode()


def _data_lines(data: str) -> str:
    """The data of an event, and its end."""
    if "\n" in data or "\r" in data:
        data = "\ndata: ".join(_LINE_END.split(data))
    return f"data: {data}\n\n"


def _event(cursor: str, data: str) -> bytes:
    return f"id: {cursor}\n{_data_lines(data)}".encode()
