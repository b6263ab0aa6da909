"""What the doors to publish/subscribe have in common: channels, cursors and envelopes; no transport may enter.

A WebSocket, an event stream and a long poll all speak the live protocol (``docs/topics/live-protocol.md``): messages
travel in JSON *envelopes*, and a *cursor* says what a client has seen of each of its channels.
"""

import asyncio
import base64
from collections.abc import Awaitable, Callable, Hashable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, urlencode

from webfw.escape import json_encode
from webfw.log import app_log
from webfw.pubsub.broker import Attachment, Broker, BrokerError
from webfw.pubsub.messages import Gap, Message, check_channel, check_count
from webfw.web.errors import HTTPError
from webfw.web.state import HandlerState

if TYPE_CHECKING:
    from asyncio import Future

__all__ = ["Live", "Place", "decode_cursor", "encode_cursor", "envelope", "formed", "joined", "lost"]

_T = TypeVar("_T")

#: The longest cursor that is read, in characters: as much as a request's head has room for.
MAX_CURSOR = 64 * 1024


def envelope(message: Message) -> str:
    """A message as JSON: ``{"channel": ..., "id": ..., "data": ...}``; bytes are ``base64`` in place of ``data``."""
    content: dict[str, Any] = {"channel": message.channel, "id": message.id}
    if isinstance(message.data, bytes):
        content["base64"] = base64.b64encode(message.data).decode()
    else:
        content["data"] = message.data
    return json_encode(content)


def joined(channel: str, position: str) -> str:
    """The envelope that says from which position on a client gets a channel."""
    return json_encode({"channel": channel, "id": position, "joined": True})


def lost(channel: str) -> str:
    """The envelope that says that messages are missing here."""
    return json_encode({"channel": channel, "lost": True})


def formed(form: Callable[[Message], str | bytes], message: Message) -> str | bytes:
    """What a `Live.message_form` makes of a message.

    :raises TypeError: neither str nor bytes.
    """
    made = form(message)
    if not isinstance(made, (str, bytes)):
        raise TypeError(f"message_form must give str or bytes, not {type(made).__name__}")
    return made


def encode_cursor(positions: dict[str, str]) -> str:
    """What a client sends to go on: the id it has seen last of each channel, as a query string."""
    return urlencode(positions)


def decode_cursor(cursor: str) -> dict[str, str]:
    """The positions in a cursor.  Any text is one: what is no id of the broker's makes the client be told of a gap.

    :raises HTTPError: it is too long (status 400).
    """
    if len(cursor) > MAX_CURSOR:
        raise HTTPError(400, "the cursor has more than %d characters", MAX_CURSOR)
    return dict(parse_qsl(cursor, keep_blank_values=True))


class Place:
    """A handler's place in one channel: the `Listener` that a broker delivers to.

    What arrives while the place is being taken is kept until then.

    :ivar position: the id of the last message that the door has sent, or from which they go on; None while unknown.
    :ivar recovering: whether what it delivers now was kept: it has come all at once, however fast the client is.
    """

    __slots__ = ("_kept", "_missed", "attachment", "channel", "door", "position", "recovering", "taking")

    def __init__(self, door: "Live", channel: str, since: str | None) -> None:
        self.door: Live | None = door
        self.channel = channel
        self.position = since
        self.attachment: Attachment | None = None
        self.recovering = True
        #: The task that takes it, so that it is not lost: the loop itself keeps only weak references.
        self.taking: asyncio.Task[None] | None = None
        self._kept: list[Message | Gap] | None = []
        self._missed = False

    def deliver(self, event: Message | Gap) -> None:
        """Take an event from the broker."""
        if self._kept is not None:
            self._kept.append(event)
        elif self.door is not None:
            self._hand_on(self.door, event)

    def _hand_on(self, door: "Live", event: Message | Gap) -> None:
        try:
            door._live_event(self, event)
        except Exception:
            # Border: a `message_form` that fails must not break the broker; the client is not left in the dark.
            app_log.error(
                "Uncaught exception in what becomes of a message of %s", self.channel, exc_info=True
            )
            door._live_lost(self)

    def taken(self, attachment: Attachment) -> None:
        """The place is taken: hand on what was kept, and say from where it goes on."""
        door = self.door
        if door is None:  # left in the meantime
            attachment.detach()
            return
        self.attachment = attachment
        kept, self._kept = self._kept or [], None
        if not any(isinstance(event, Message) for event in kept):
            self.position = attachment.position
        for event in kept:
            self._hand_on(door, event)
        self.recovering = False
        door._live_joined(self)

    def missed(self) -> None:
        """A message has been dropped, since the client is slow: tell it so, once for all of this turn."""
        door = self.door
        if door is None:
            return
        door.application.broker.stats.dropped += 1
        if not self._missed:
            self._missed = True
            asyncio.get_running_loop().call_soon(self._tell)

    def _tell(self) -> None:
        if self.door is not None:
            self.door.application.broker.stats.gaps += 1
            self.door._live_lost(self)
        # Not before: what has been dropped to make room for these words is told of by them.
        self._missed = False

    def leave(self) -> None:
        """Get no more."""
        self.door = None
        if self.attachment is not None:
            self.attachment.detach()

    def broker_closed(self) -> None:
        """The broker has been closed: nothing more will come."""
        door, self.door = self.door, None
        if door is not None:
            door._live_over()


class Live(HandlerState):
    """The part of a handler that listens on channels."""

    _places: dict[str, Place] | None = None
    #: The client's cursor, without the channels that it has taken up.
    _cursor: dict[str, str] | None = None
    _gone = False
    _no_broker = False

    #: What a client gets of a message: a function of `Message` that gives str (or bytes, for a binary WebSocket
    #: message).  What it gives is kept with the message and sent to all clients of handlers with the same function,
    #: so that it must not depend on who publishes or listens.
    message_form: Callable[[Message], str | bytes] = staticmethod(envelope)

    @property
    def broker(self) -> Broker:
        """The application's broker."""
        return self.application.broker

    def publish(self, channel: str, message: Any) -> Awaitable[str]:
        """Send a message to everybody who listens on a channel, and keep it in its history; see `Broker.publish`.

        It must be awaited.

        :returns: the message's id, when awaited.
        """
        return self.application.broker.publish(channel, message)

    def get_cursor(self) -> dict[str, str]:
        """What this client has seen already: the last id of each channel, from the request's ``since`` argument."""
        given = self.request.query_arguments.get("since")
        return decode_cursor(given[-1].decode("utf-8", "replace")) if given else {}

    def subscribe(
        self, channel: str, since: str | None = None, *, last: int = 0, member: str | None = None
    ) -> "Future[None]":
        """Have this client get what is published on a channel, from now on and until it goes away.

        :param channel: 1 to 200 bytes without control characters.
        :param since: the id it has seen last; by default the one in its cursor (`get_cursor`), for the first time that
            the channel is subscribed to.  What came after that is sent first, as far as the history has it; where it
            has not, the client is told.
        :param last: for a client without such an id, how many of the newest messages to begin with.
        :param member: who the client is, for `Broker.presence`.
        :returns: a future, done when the client listens; it need not be awaited.  For a client that has gone in the
            meantime it is done at once.  When the broker is not there, it raises `BrokerError`; the client has been
            sent away then, and nothing need be done about it.
        :raises TypeError, ValueError: no name for a channel, a negative ``last``, or the client has the channel.
        :raises RuntimeError: the client does not stay, or not yet: `open` is the place.
        """
        check_channel(channel)
        check_count("last", last)
        if self._gone:
            nothing: Future[None] = asyncio.get_running_loop().create_future()
            nothing.set_result(None)
            return nothing
        if self not in self.application.live:
            raise RuntimeError("subscribe can be called in open, and after it; prepare and get are too early")
        if self._places is None:
            self._places = {}
        if channel in self._places:
            raise ValueError(f"this client has the channel {channel!r} already")
        if self._cursor is None:
            self._cursor = self.get_cursor()
        seen = self._cursor.pop(channel, None)
        if since is None:
            since = seen
        place = self._places[channel] = Place(self, channel, since)
        task = place.taking = asyncio.ensure_future(self._take(place, since, last, member))
        task.add_done_callback(partial(self._taken, place))
        return task

    async def _take(self, place: Place, since: str | None, last: int, member: str | None) -> None:
        broker = self.application.broker
        place.taken(await broker.attach(place, place.channel, since, last=last, member=member))

    def _taken(self, place: Place, task: "asyncio.Task[None]") -> None:
        """A place has been taken, or could not be."""
        place.taking = None
        error = None if task.cancelled() else task.exception()
        if place.door is None:  # the client has gone, or does not want it any more
            return
        if task.cancelled():  # by whoever has waited for it
            self.unsubscribe(place.channel)
        elif error is not None:
            if not isinstance(error, BrokerError):
                app_log.error("Cannot subscribe", exc_info=error)
            elif not self._no_broker:
                app_log.error("Cannot subscribe: %s", error)
                self._no_broker = True
            self._live_over()

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """See `RequestHandler.log_exception`; that there is no broker has been logged when it was found out."""
        if not (self._no_broker and isinstance(value, BrokerError)):
            super().log_exception(typ, value, tb)

    def unsubscribe(self, channel: str) -> None:
        """Have this client get no more of a channel; one it has not is ignored."""
        place = (self._places or {}).pop(channel, None)
        if place is not None:
            place.leave()

    def _leave_all(self) -> None:
        """The client is gone: nothing may be delivered to it, or begin to be."""
        self._gone = True
        places, self._places = self._places, None
        for place in (places or {}).values():
            place.leave()

    def _positions(self) -> dict[str, str]:
        """The cursor of this client as it is now."""
        places = self._places or {}
        return {place.channel: place.position for place in places.values() if place.position is not None}

    def _form(self, message: Message, door: Hashable, shape: Callable[[str | bytes], _T]) -> _T:
        """What this client gets of a message: what `message_form` makes of it, in the shape its door sends.

        It is made once for all clients of a door that have the same form; one that belongs to this handler alone is not
        kept, since the history would keep the handler with it.

        :raises TypeError: `message_form` gives neither str nor bytes.
        """
        form = self.message_form
        key = (door, form)
        kept: _T | None = message.forms.get(key)
        if kept is not None:
            return kept
        shaped = shape(formed(form, message))
        if getattr(form, "__self__", None) is not self:
            message.forms[key] = shaped
        return shaped

    # What each door does with it.

    def _live_event(self, place: Place, event: Message | Gap) -> None:
        """Send an event to the client."""
        raise NotImplementedError

    def _live_joined(self, place: Place) -> None:
        """Tell the client from where it listens."""
        raise NotImplementedError

    def _live_lost(self, place: Place) -> None:
        """Tell the client that messages are missing."""
        raise NotImplementedError

    def _live_over(self) -> None:
        """The broker will deliver no more: send the client away, so that it comes back."""
        raise NotImplementedError

    # Going away.

    def on_draining(self) -> None:
        """Called when the application is being shut down, at a random moment of its spread: send the client away."""
        raise NotImplementedError
