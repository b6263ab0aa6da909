"""Long polling: a GET that is answered when there is something to say; where messages come from may not enter."""

import asyncio
import base64
import json
import random
from collections.abc import Awaitable
from typing import Any

from webfw.escape import json_encode
from webfw.pubsub.messages import Gap, Message
from webfw.web.live import Place, encode_cursor, envelope, lost
from webfw.web.livehandler import LiveHandler

__all__ = ["LongPollHandler"]


class LongPollHandler(LiveHandler):
    """Answers with the messages that came after a cursor, and a new cursor; make a subclass with `open`::

        class News(LongPollHandler):
            def open(self):
                self.subscribe("news")

    The answer is JSON: ``{"cursor": ..., "messages": [envelopes]}``.  A client asks with ``?since=CURSOR`` again and
    again; what comes between two polls is in the history.  Without ``since``, or for a channel that is new in it, the
    answer comes at once, so that the client has a cursor.  ``wait=0`` asks for what there is now.
    """

    #: Seconds until a poll is answered without messages (the ``longpoll_timeout`` setting stands before it); the
    #: ``wait`` argument of a request may make it shorter.
    poll_timeout: float = 25.0
    #: The most messages in one answer; the others come with the next.
    max_messages: int = 1000
    #: Characters of envelopes after which an answer is full.
    max_size: int = 1024 * 1024

    _no_write = "write() is of no use for a long poll: its answer is JSON; publish what it shall have"
    _count = 0
    _size = 0
    _answering = False

    def get(self, *args: Any, **kwargs: Any) -> Awaitable[None]:
        self._patience = float(self.application.settings.get("longpoll_timeout", self.poll_timeout) or 0)
        self._timeout = min(self._patience, self.get_float("wait", self._patience, minimum=0))
        #: The channels that the client comes back to.
        self._known = frozenset(self.get_cursor())
        self._envelopes: list[str] = []
        #: Channels of which no more fits into this answer: what follows of them must wait, to stay in order.
        self._full: set[str] = set()
        return super().get(*args, **kwargs)

    def _wait_begins(self) -> None:
        # Who does not wait for messages does wait for the broker.
        self._deadline_in(self._timeout or self._patience or self.poll_timeout)
        self._look()

    def deadline_passed(self, now: float) -> None:
        """Nothing has come in time."""
        self._in_context(self._answer)

    def _look(self) -> None:
        """Answer soon, if there is something to say."""
        places = self._places or {}
        if not self._opened or self._finished or any(place.attachment is None for place in places.values()):
            return
        if (self._envelopes or not self._timeout or not places.keys() <= self._known) and not self._answering:
            # In the next turn of the loop, with what comes until then.
            self._answering = True
            context = None if self._context is None else self._context.copy()
            asyncio.get_running_loop().call_soon(self._answer, context=context)

    def _answer(self) -> None:
        if self._finished:
            return
        cursor = json_encode(encode_cursor(self._positions()))
        retry = ""
        if self.application.draining:
            spread = float(self.application.settings.get("drain_spread", 5.0))
            retry = f', "retry": {int(1000 * (1 + spread * random.random()))}'
        self.set_header("Content-Type", "application/json; charset=UTF-8")
        self.set_header("Cache-Control", "no-store")
        self.finish(f'{{"cursor": {cursor}, "messages": [{", ".join(self._envelopes)}]{retry}}}')

    # Channels.

    def _live_event(self, place: Place, event: Message | Gap) -> None:
        if self._finished or place.channel in self._full:
            return
        if self._count >= self.max_messages or self._size >= self.max_size:
            self._full.add(place.channel)
            return
        if isinstance(event, Message):
            place.position = event.id
            shape = str if self.message_form is envelope else _as_json
            text = self._form(event, LongPollHandler, shape)
            self._envelopes.append(text)
            self._count += 1
            self._size += len(text)
            self._look()
        else:  # does not count, so that a message always fits behind it, and the position moves
            self._live_lost(place)

    def _live_joined(self, place: Place) -> None:
        self._look()

    def _live_lost(self, place: Place) -> None:
        self._envelopes.append(lost(place.channel))
        self._look()

    def _live_over(self) -> None:
        if not self._finished:
            self._in_context(self._refuse)

    def on_draining(self) -> None:
        """Called when the application is being shut down: answers at once, with a hint when to come back."""
        if self._finished:
            return
        if not self._opened:  # nobody has decided yet whether the client may have anything
            self._refuse()
            return
        self._in_context(self._answer)

    def _turn_away(self) -> None:
        self._refuse()


def _as_json(form: str | bytes) -> str:
    """A form of the application's own as it can stand in an answer: the JSON value that it is, or else a string."""
    if isinstance(form, bytes):
        return json_encode(base64.b64encode(form).decode())
    try:
        json.loads(form, parse_constant=_no_json)
    except (ValueError, RecursionError):
        return json_encode(form)
    return form


def _no_json(word: str) -> None:
    raise ValueError(word)
