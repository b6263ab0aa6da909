"""What a hub remembers: channels, their histories and members; no connection may enter but as a key."""

import json
from collections import Counter, OrderedDict, deque
from typing import Any, Generic, TypeVar

from webfw.pubsub.messages import check_channel
from webfw.pubsub.workers.frames import (
    COMPLETE,
    MESSAGE,
    MESSAGE_HEAD,
    MORE,
    NONE,
    PAGE_BODY,
    PAGE_SIZE,
    name_and_rest,
)
from webfw.sansio.errors import RemoteProtocolError

__all__ = ["Channel", "Store"]

_Peer = TypeVar("_Peer")


class Channel(Generic[_Peer]):
    """One channel.

    :ivar kept: its history: when each message was published, its number, and the frame that it travels in.
    :ivar last: the number of its newest message.
    :ivar floor: the number of the newest message that the history has no more.
    :ivar age: seconds its messages are kept, as the last one who published had it.
    :ivar followers: who gets its messages.
    :ivar members: who said what members it has.
    """

    __slots__ = ("age", "floor", "followers", "kept", "last", "members", "name")

    def __init__(self, name: bytes, floor: int) -> None:
        self.name = name
        self.kept: deque[tuple[float, int, bytes]] = deque()
        self.last = self.floor = floor
        self.age = 0.0
        self.followers: set[_Peer] = set()
        self.members: dict[_Peer, dict[str, int]] = {}


class Store(Generic[_Peer]):
    """All channels of a hub.  Times are seconds on any scale that does not go back.

    A channel's history is bounded by what the process that published last wants: a number and an age.
    """

    def __init__(self) -> None:
        self.channels: dict[bytes, Channel[_Peer]] = {}
        #: One count for all channels, so that a channel can be forgotten and its old ids still be told from new ones.
        self.count = 0
        self._forgotten = 0
        #: For each age: the channels that have a history, the one published to longest ago first.
        self._aging: dict[float, OrderedDict[bytes, Channel[_Peer]]] = {}

    def channel(self, name: bytes) -> Channel[_Peer]:
        """The channel of that name, made if need be.

        :raises RemoteProtocolError: nothing can be named so.
        """
        entry = self.channels.get(name)
        if entry is None:
            try:
                check_channel(name.decode())
            except ValueError as error:
                raise RemoteProtocolError(str(error)) from None
            entry = self.channels[name] = Channel(name, self._forgotten)
        return entry

    def publish(self, body: bytes, now: float, size: int, age: float) -> tuple[Channel[_Peer], bytes]:
        """Number a message and keep it.

        :param body: the channel's name and the data.
        :returns: its channel, and the frame for its followers.
        """
        name, _ = name_and_rest(body)
        entry = self.channels.get(name) or self.channel(name)
        self.count = number = self.count + 1
        entry.last = number
        made = MESSAGE_HEAD.pack(len(body) + 9, MESSAGE, number) + body
        kept = entry.kept
        if size:
            kept.append((now, number, made))
            if age != entry.age or len(kept) == 1:
                self._age(entry, age)
            self._aging[age].move_to_end(name)
        while len(kept) > size:
            entry.floor = kept.popleft()[1]
        if not size:
            entry.floor = number
            self.forget(entry)
        return entry, made

    def _age(self, entry: Channel[_Peer], age: float) -> None:
        self._not_aging(entry)
        entry.age = age
        self._aging.setdefault(age, OrderedDict())[entry.name] = entry

    def _not_aging(self, entry: Channel[_Peer]) -> None:
        aging = self._aging.get(entry.age)
        if aging is not None and aging.pop(entry.name, None) is not None and not aging:
            del self._aging[entry.age]

    def history(self, name: bytes, now: float, since: int, until: int, limit: int) -> bytes:
        """The body of a PAGE: what came after ``since`` up to ``until``, the newest ``limit`` of it; each may be NONE.

        ``MORE`` says that the page was full: ask again since its last message.
        """
        entry = self.channels.get(name)
        if entry is None:
            complete = since == NONE or self._forgotten <= since <= self.count
            return PAGE_BODY.pack(COMPLETE if complete else 0, self.count)
        self._expire(entry, now)
        complete = since == NONE or entry.floor <= since <= self.count
        wanted: list[bytes] = []
        for _, number, made in reversed(entry.kept):
            if (complete and number <= since) or len(wanted) == limit:
                break
            if until == NONE or number <= until:
                wanted.append(made)
        wanted.reverse()
        page: list[bytes] = []
        size = 0
        for made in wanted:
            size += len(made)
            if size > PAGE_SIZE and page:
                break
            page.append(made)
        flags = (COMPLETE if complete else 0) | (MORE if len(page) < len(wanted) else 0)
        return PAGE_BODY.pack(flags, self.count) + b"".join(page)

    # Who is there.

    def announce(self, peer: _Peer, name: bytes, changes: bytes) -> Channel[_Peer]:
        """Take what members have come, or gone (0), in a peer's process.

        :raises RemoteProtocolError: it is not what it should be.
        """
        try:
            given: Any = json.loads(changes)
        except (ValueError, RecursionError):
            raise RemoteProtocolError("members that are no JSON") from None
        if not isinstance(given, dict) or not all(
            type(count) is int and 0 <= count < 2**31 for count in given.values()
        ):
            raise RemoteProtocolError("members without their numbers")
        entry = self.channel(name)
        members = entry.members.setdefault(peer, {})
        for member, count in given.items():
            if count:
                members[member] = count
            else:
                members.pop(member, None)
        if not members:
            del entry.members[peer]
            self.forget(entry)
        return entry

    def presence(self, name: bytes) -> bytes:
        """All members of a channel as JSON."""
        total: Counter[str] = Counter()
        entry = self.channels.get(name)
        if entry is not None:
            for members in entry.members.values():
                total.update(members)
        return json.dumps(total, separators=(",", ":")).encode()

    # What is old.

    def _expire(self, entry: Channel[_Peer], now: float) -> None:
        kept = entry.kept
        oldest = now - entry.age
        while kept and kept[0][0] < oldest:
            entry.floor = kept.popleft()[1]

    def expire(self, now: float) -> None:
        """Let go of histories whose newest message is too old."""
        for age, aging in list(self._aging.items()):
            while aging:
                entry = next(iter(aging.values()))
                if entry.kept and entry.kept[-1][0] >= now - age:
                    break
                del aging[entry.name]
                entry.kept.clear()
                entry.floor = entry.last
                self.forget(entry)
            if not aging:
                self._aging.pop(age, None)

    def forget(self, entry: Channel[_Peer]) -> None:
        """Drop a channel that nobody follows and that remembers nothing."""
        if not entry.followers and not entry.members and not entry.kept:
            self._not_aging(entry)
            if self.channels.pop(entry.name, None) is not None:
                self._forgotten = max(self._forgotten, entry.last)
