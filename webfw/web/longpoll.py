"""Long polling: a GET that is answered when there is something to say; where messages come from may not enter."""

import asyncio
import random
from collections.abc import Awaitable
from typing import Any

from webfw.escape import json_encode
from webfw.pubsub.messages import Gap, Message
from webfw.web.errors import HTTPError
from webfw.web.live import Place, encode_cursor, envelope, lost
from webfw.web.livehandler import LiveHandler

__all__ = ["LongPollHandler"]


class LongPollHandler(LiveHandler):
    """Answers with the messages that came after a cursor, and a new cursor; make a subclass with `open`.

        class News(LongPollHandler):
            def open(self):
                self.subscribe("news")

    The answer is JSON: ``{"cursor": ..., "messages": [envelopes]}``.  A client asks with ``?since=CURSOR`` again and
    again; what comes between two polls is in the history.  Without ``since``, or for a channel that is new in it, the
    answer comes at once, so that the client has a cursor.
    """

    #: Seconds until a poll is answered without messages (the ``longpoll_timeout`` setting stands before it); the
    #: ``wait`` argument of a request may make it shorter.
    poll_timeout: float = 25.0
    #: The most messages in one answer; the others come with the next.
    max_messages: int = 1000
    #: Characters of envelopes after which an answer is full.
    max_size: int = 1024 * 1024

    _size = 0
    _answering = False
    _retry: int | None = None

    def get(self, *args: Any, **kwargs: Any) -> Awaitable[None]:
        self._timeout = float(self.application.settings.get("longpoll_timeout", self.poll_timeout))
        wait = self.get_query_argument("wait", None)
        if wait is not None:
            try:
                self._timeout = min(self._timeout, max(0.0, float(wait)))
            except ValueError:
                raise HTTPError(400, "wait is no number: %r", wait[:40]) from None
            if self._timeout != self._timeout:
                raise HTTPError(400, "wait is no number")
        self._cursor = self.get_cursor()
        self._envelopes: list[str] = []
        #: Channels of which no more fits into this answer: what follows of them must wait, to stay in order.
        self._full: set[str] = set()
        return super().get(*args, **kwargs)

    def _wait_begins(self) -> None:
        if self._timeout:
            self._deadline_in(self._timeout)
        else:
            self._answer_soon()
        self._look()

    def deadline_passed(self, now: float) -> None:
        """Nothing has come in time."""
        self._answer()

    def _look(self) -> None:
        """Answer soon, if there is something to say."""
        places = self._places
        if not self._opened or any(place.attachment is None for place in (places or {}).values()):
            return
        if self._envelopes or not places or not self._cursor.keys() >= places.keys():
            self._answer_soon()

    def _answer_soon(self) -> None:
        """Answer in the next turn of the loop, with what comes until then."""
        if not self._answering:
            self._answering = True
            asyncio.get_running_loop().call_soon(self._answer)

    def _answer(self) -> None:
        if self._finished:
            return
        cursor = json_encode(encode_cursor(self._positions()))
        retry = "" if self._retry is None else f', "retry": {self._retry}'
        self.set_header("Content-Type", "application/json; charset=UTF-8")
        self.set_header("Cache-Control", "no-store")
        self.finish(f'{{"cursor": {cursor}, "messages": [{", ".join(self._envelopes)}]{retry}}}')

    # Channels.

    def _live_event(self, place: Place, event: Message | Gap) -> None:
        if place.channel in self._full or self._finished:
            return
        if len(self._envelopes) >= self.max_messages or self._size >= self.max_size:
            self._full.add(place.channel)
            return
        if isinstance(event, Message):
            text = event.forms.get(LongPollHandler)
            if text is None:
                text = event.forms[LongPollHandler] = envelope(event)
            place.position = event.id
        else:
            text = lost(place.channel)
        self._envelopes.append(text)
        self._size += len(text)
        self._look()

    def _live_joined(self, place: Place) -> None:
        self._look()

    def _live_lost(self, place: Place) -> None:
        """Never: a poll has no queue that could overflow."""

    def _live_over(self) -> None:
        if not self._finished:
            self._refuse()

    def on_draining(self) -> None:
        """Called when the application is being shut down: answers at once, with a hint when to come back."""
        spread = float(self.application.settings.get("drain_spread", 5.0))
        self._retry = int(1000 * (1 + spread * random.random()))
        self._answer()
