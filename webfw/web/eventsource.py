"""Server-sent events (WHATWG HTML section 9.2): a response that goes on; where messages come from may not enter."""

import asyncio
import base64
import random
import re
from collections import deque
from collections.abc import Awaitable
from typing import Any

from webfw.escape import json_encode
from webfw.httpserver.exchange import DONE
from webfw.iostream import StreamClosedError
from webfw.log import gen_log
from webfw.pubsub.messages import Gap, Message
from webfw.web.live import Place, decode_cursor, encode_cursor, joined, lost
from webfw.web.livehandler import LiveHandler

__all__ = ["EventSourceHandler"]

#: Bytes that are written at once of what has waited for a slow client.
PIECE = 64 * 1024

_LINE_END = re.compile("\r\n|\r|\n")
_UNFIT = re.compile("[\r\n\0]")


class EventSourceHandler(LiveHandler):
    """A stream of events for a browser's ``EventSource``; make a subclass with `open`::

        class News(EventSourceHandler):
            def open(self):
                self.subscribe("news")

    Each message of a channel is one event, an envelope of the live protocol, whose id is a cursor: a browser that
    reconnects sends it as ``Last-Event-ID``, and gets what it has missed.  `send_event` sends others.

    Nothing of a channel is sent before `open` has ended or has sent something itself.  A stream that waits costs its
    connection and this object, no Task.  A client that is too slow is cut; it comes back with its cursor and gets the
    rest from the history.
    """

    #: Seconds between two comments that keep proxies from taking the stream for dead; the ``eventsource_heartbeat``
    #: setting stands before it.
    heartbeat: float = 15.0
    #: Milliseconds after which a browser shall reconnect (``eventsource_retry``).
    retry: int = 2000
    #: Bytes that may wait for a client that does not take them (``eventsource_max_queue_size``).  What it has missed
    #: before it came does not count.
    max_queue_size: int = 1024 * 1024

    _no_write = "write() is of no use for an event stream: send_event sends events"
    _begun = False
    #: The events that wait: for the stream to begin, or for the client to take those before.  None at other times.
    _queue: deque[bytes] | None = None
    _queued = 0
    #: How many bytes were put there that do not count.
    _recovered = 0
    _waiters: list[asyncio.Future[None]] | None = None

    # What a handler may call.

    def send_event(
        self, data: Any, event: str | None = None, id: str | None = None, retry: int | None = None
    ) -> Awaitable[None]:
        """Send an event.

        :param data: str, or a JSON value; bytes are sent as base64.
        :param event: its type; browsers call it ``message`` when there is none.
        :param id: what a browser sends as ``Last-Event-ID`` when it reconnects; by default the cursor of the channels.
        :param retry: milliseconds after which a browser shall reconnect from now on.
        :returns: an awaitable, done when the client has taken enough for more; who sends much must await it.
        :raises ValueError: a line end or NUL in ``event`` or ``id``.
        :raises StreamClosedError: from the awaitable, when the client has gone or the stream has ended.
        :raises RuntimeError: something has been written by `write`.
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
        data = "".join(lines).encode()
        if not self._left:
            if self._write_buffer:
                raise RuntimeError(self._no_write)
            self._begin()
            self._send(data)
        if self._queue is None and not self._left:
            return DONE
        waiter = asyncio.get_running_loop().create_future()
        if self._left:
            _fail(waiter)
        else:
            self._waiters = self._waiters or []
            self._waiters.append(waiter)
        return waiter

    def close(self) -> None:
        """End the stream; the browser will reconnect, as it does whenever a stream ends."""
        if not self._finished:
            self._begin()
            self.finish()

    # The stream.

    def head(self, *args: Any, **kwargs: Any) -> None:
        """The headers of the stream, without it."""
        self._set_headers()
        self.flush()
        self.finish()

    @property
    def last_event_id(self) -> str:
        """The id of the last event that the client has got, as it says itself; empty where there is none.

        Browsers send it as UTF-8 (WHATWG HTML section 9.2.3).
        """
        value: str = self.request.headers.get("Last-Event-ID", "")
        return value.encode("latin-1", "replace").decode("utf-8", "replace")

    def get_cursor(self) -> dict[str, str]:
        """What this client has seen already: by its ``Last-Event-ID``, or else by the ``since`` argument."""
        last = self.last_event_id
        return decode_cursor(last) if last else super().get_cursor()

    def _set_headers(self) -> None:
        self._transforms = None  # a compressor would hold events back
        self.set_header("Content-Type", "text/event-stream; charset=utf-8")
        self.set_header("Cache-Control", "no-store, no-transform")
        self.set_header("X-Accel-Buffering", "no")

    def _setting(self, name: str) -> float:
        value: float = self.application.settings.get(f"eventsource_{name}", getattr(self, name))
        return value

    def _wait_begins(self) -> None:
        if self._queue is not None or not self._places:
            self._begin()

    def _begin(self) -> None:
        """Send the head of the response, and the first words of the stream; once."""
        if self._begun or self._left:
            return
        self._set_headers()
        self.write(f"retry: {int(self._setting('retry'))}\n\n")
        self.flush()
        self._begun = True
        if self._setting("heartbeat"):
            self._deadline_in(self._setting("heartbeat"))
        if self._queue is not None:
            self._pass_on()

    def _send(self, event: bytes, recovered: bool = False) -> None:
        """Send an event, or have it wait."""
        if self._left:
            return
        if not self._begun:
            if self._opened:
                self._begin()
            elif self._queue is None:
                self._queue = deque()
        queue = self._queue
        if queue is None:
            self._written(self.request.connection.write(event))
            return
        queue.append(event)
        self._queued += len(event)
        if recovered:
            self._recovered += len(event)
        elif self._queued - self._recovered > self._setting("max_queue_size"):
            gen_log.info("%s: event stream cut, since its client is too slow", self.request.remote_ip)
            self._in_context(self._cut)

    def _written(self, sent: Any) -> None:
        """Something has been written: have the next wait, if the client has not taken enough."""
        if sent is not DONE:
            if self._queue is None:
                self._queue = deque()
            sent.add_done_callback(self._taken_again)

    def _taken_again(self, sent: "asyncio.Future[None]") -> None:
        """The client has taken enough of what was written, or is gone."""
        if not sent.cancelled() and sent.exception() is None and not self._finished:
            self._pass_on()

    def _pass_on(self) -> None:
        """Write what has waited, as far as the client takes it."""
        queue = self._queue
        while queue:
            piece = []
            size = 0
            while queue and size < PIECE:
                event = queue.popleft()
                piece.append(event)
                size += len(event)
            self._queued -= size
            sent = self.request.connection.write(b"".join(piece))
            if sent is not DONE:
                sent.add_done_callback(self._taken_again)
                return
        self._queue = None
        self._queued = self._recovered = 0
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)

    def finish(self, chunk: str | bytes | dict[str, Any] | None = None) -> Awaitable[None]:
        """End the response, behind what waits for the client."""
        queue, self._queue = self._queue, None
        if queue and self._begun and not self._finished:
            self.request.connection.write(b"".join(queue))
        return super().finish(chunk)

    def _leave(self) -> None:
        super()._leave()
        self._queue = None
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                _fail(waiter)

    def deadline_passed(self, now: float) -> None:
        """It is time for a heartbeat."""
        if self._queue is None:  # else the client is slow, which has a deadline of its own
            self._send(b":\n\n")
        if not self._finished:
            self._deadline_in(self._setting("heartbeat"))

    # Channels.

    def unsubscribe(self, channel: str) -> None:
        """Have this client get no more of a channel; one it has not is ignored."""
        super().unsubscribe(channel)
        if self._opened and not self._places:
            self._begin()  # there is nothing left to wait for

    def _live_event(self, place: Place, event: Message | Gap) -> None:
        if not isinstance(event, Message):
            self._live_lost(place)
            return
        place.position = event.id
        places = self._places
        if places is None or len(places) > 1:
            data = _event(encode_cursor(self._positions()), self._form(event, _text, _text))
        else:
            # Most streams have one channel: then an event is the same for every client.
            data = self._form(
                event,
                EventSourceHandler,
                lambda made: _event(encode_cursor({event.channel: event.id}), _text(made)),
            )
        self._send(data, place.recovering)

    def _live_joined(self, place: Place) -> None:
        cursor = encode_cursor(self._positions())
        self._send(_event(cursor, joined(place.channel, place.position or "")))

    def _live_lost(self, place: Place) -> None:
        self._send(_data_lines(lost(place.channel)).encode())

    def _live_over(self) -> None:
        if self._begun:
            self._in_context(self._end_with_hint)
        elif not self._finished:
            self._in_context(self._refuse)

    def on_draining(self) -> None:
        """Called when the application is being shut down: ends the stream, with a hint when to come back."""
        if not self._opened and not self._begun:
            self._queue = None  # nobody has decided yet whether the client may have it
        self._in_context(self._end_with_hint)

    def _turn_away(self) -> None:
        # Not by 503: after any status but 200 an `EventSource` gives up for good.
        self._end_with_hint()

    def _end_with_hint(self) -> None:
        """End the stream; the browser comes back, but not in the same moment as all others."""
        if not self._finished:
            self._begin()
            spread = float(self.application.settings.get("drain_spread", 5.0))
            retry = int(self._setting("retry") + 1000 * spread * random.random())
            self._send(f"retry: {retry}\n\n".encode())
            self.close()


def _fail(waiter: "asyncio.Future[None]") -> None:
    waiter.set_exception(StreamClosedError())
    waiter.exception()  # whoever does not wait for it need not be told


def _text(form: str | bytes) -> str:
    return form if isinstance(form, str) else base64.b64encode(form).decode()


def _data_lines(data: str) -> str:
    """The data of an event, and its end."""
    if "\n" in data or "\r" in data:
        data = "\ndata: ".join(_LINE_END.split(data))
    return f"data: {data}\n\n"


def _event(cursor: str, data: str) -> bytes:
    return f"id: {cursor}\n{_data_lines(data)}".encode()
