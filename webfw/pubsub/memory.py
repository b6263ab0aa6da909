"""The broker of one process: channels as lists of listeners; nothing that leaves the process may enter."""

import secrets
import time
from collections import Counter, OrderedDict, deque
from typing import Any

from webfw.pubsub.broker import Attachment, Broker, BrokerClosed, Listener, fan_out, tell_closed
from webfw.pubsub.messages import Gap, History, Message, check_channel, check_count, normal

__all__ = ["MemoryBroker"]


class _Channel:
    """What one process knows of a channel.

    :ivar kept: the history: when each message was published, and it.
    :ivar last: the number of its newest message.
    :ivar floor: the number of the newest message that the history has no more; who has seen that one has missed none.
    """

    __slots__ = ("floor", "kept", "last", "listeners", "members")

    def __init__(self, floor: int) -> None:
        self.kept: deque[tuple[float, int, Message]] = deque()
        self.last = self.floor = floor
        self.listeners: dict[_Attached, Listener] = {}
        self.members: Counter[str] = Counter()


class _Attached:
    __slots__ = ("_broker", "_member", "_name", "position")

    def __init__(self, broker: "MemoryBroker", name: str, member: str | None, position: str) -> None:
        self._broker: MemoryBroker | None = broker
        self._name = name
        self._member = member
        self.position = position

    def detach(self) -> None:
        broker, self._broker = self._broker, None
        if broker is not None:
            broker._detach(self, self._name, self._member)


class MemoryBroker(Broker):
    """Publish/subscribe within one process: needs nothing, and is as fast as a loop over the listeners.

    What it remembers ends with the process.  Ids are ``EPOCH-NUMBER``; the epoch is new in each process, so that an id
    of an earlier one is known to be from there, and answered with a `Gap`.

    Parameters as `Broker` has them.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._epoch = secrets.token_hex(4)
        self._channels: dict[str, _Channel] = {}
        #: The channels that have a history, the one published to longest ago first.
        self._aging: OrderedDict[str, None] = OrderedDict()
        #: One count for all channels, so that a channel can be forgotten and its old ids still be told from new ones.
        self._count = 0
        self._forgotten = 0
        self._closed = False
        self._clock = time.monotonic

    async def start(self) -> None:
        self._check_open()

    async def publish(self, channel: str, message: Any) -> str:
        self._check_open()
        check_channel(channel)
        now = self._clock()
        self._expire(now)
        number = self._count + 1
        made = Message(channel, f"{self._epoch}-{number}", normal(message))
        self._count = number
        entry = self._channels.get(channel)
        if entry is None:
            if not self.history_size:
                self._forgotten = number
                self.stats.published += 1
                return made.id
            entry = self._channels[channel] = _Channel(self._forgotten)
        entry.last = number
        if self.history_size:
            entry.kept.append((now, number, made))
            if len(entry.kept) > self.history_size:
                entry.floor = entry.kept.popleft()[1]
            self._aging[channel] = None
            self._aging.move_to_end(channel)
        else:
            entry.floor = number
        self.stats.published += 1
        self.stats.delivered += len(entry.listeners)
        fan_out(list(entry.listeners.values()), made)
        return made.id

    async def attach(
        self,
        listener: Listener,
        channel: str,
        since: str | None = None,
        *,
        last: int = 0,
        member: str | None = None,
    ) -> Attachment:
        self._check_open()
        check_channel(channel)
        check_count("last", last)
        past = self._history(channel, since, None if since is not None else last)
        entry = self._channels.get(channel)
        if entry is None:
            entry = self._channels[channel] = _Channel(self._forgotten)
        place = _Attached(self, channel, member, f"{self._epoch}-{self._count}")
        if not past.complete:
            self.stats.gaps += 1
            fan_out([listener], Gap(channel, "history"))
        for message in past.messages:
            self.stats.recovered += 1
            fan_out([listener], message)
        entry.listeners[place] = listener
        if member is not None:
            entry.members[member] += 1
        return place

    def _detach(self, place: _Attached, channel: str, member: str | None) -> None:
        entry = self._channels[channel]
        del entry.listeners[place]
        if member is not None:
            entry.members[member] -= 1
            if not entry.members[member]:
                del entry.members[member]
        self._forget(channel, entry)

    async def history(self, channel: str, since: str | None = None, limit: int | None = None) -> History:
        self._check_open()
        check_channel(channel)
        check_count("limit", 0 if limit is None else limit)
        return self._history(channel, since, limit)

    def _history(self, channel: str, since: str | None, limit: int | None) -> History:
        now = self._clock()
        self._expire(now)
        position = f"{self._epoch}-{self._count}"
        entry = self._channels.get(channel)
        after = None if since is None else self._number(since)
        floor = self._forgotten if entry is None else entry.floor
        if entry is not None:
            while entry.kept and entry.kept[0][0] < now - self.history_age:
                floor = entry.floor = entry.kept.popleft()[1]
        messages = [message for _, n, message in entry.kept if n > (after or 0)] if entry is not None else []
        complete = since is None or (after is not None and after >= floor)
        if limit is not None:
            messages = messages[len(messages) - min(limit, len(messages)) :]
        return History(messages, complete, position)

    def _number(self, id: str) -> int | None:
        """The number in an id of this broker; None for any other."""
        epoch, _, number = id.partition("-")
        if epoch != self._epoch or not (number.isascii() and number.isdigit()) or len(number) > 18:
            return None
        return int(number) if int(number) <= self._count else None

    async def presence(self, channel: str) -> dict[str, int]:
        self._check_open()
        check_channel(channel)
        entry = self._channels.get(channel)
        return {} if entry is None else dict(entry.members)

    async def close(self) -> None:
        self._closed = True
        channels, self._channels = self._channels, {}
        self._aging.clear()
        for entry in channels.values():
            for place in entry.listeners:
                place._broker = None
            tell_closed(list(entry.listeners.values()))

    # What is old.

    def _check_open(self) -> None:
        if self._closed:
            raise BrokerClosed("this broker has been closed")

    def _expire(self, now: float) -> None:
        """Let go of histories whose newest message is too old; each costs its channel one look in its life."""
        aging = self._aging
        while aging:
            channel = next(iter(aging))
            entry = self._channels[channel]
            if entry.kept and entry.kept[-1][0] >= now - self.history_age:
                return
            del aging[channel]
            entry.kept.clear()
            entry.floor = entry.last
            self._forget(channel, entry)

    def _forget(self, channel: str, entry: _Channel) -> None:
        """Drop a channel that nobody listens to and that remembers nothing."""
        if not entry.listeners and not entry.kept:
            self._aging.pop(channel, None)
            del self._channels[channel]
            self._forgotten = max(self._forgotten, entry.last)
