"""What brokers share whose messages come from other processes: local listeners, recovery, presence; no transport.

A `HubBroker` follows each channel once, however many listen to it in this process, and fans out here.  Its engine (the
subclass) says how to publish, follow and look back, and calls `arrived` with what comes.
"""

import asyncio
from abc import abstractmethod
from collections import Counter
from collections.abc import Coroutine
from typing import Any

from webfw.log import app_log
from webfw.pubsub.broker import Attachment, Broker, BrokerClosed, BrokerError, Listener, fan_out
from webfw.pubsub.messages import Gap, History, Message, check_channel

__all__ = ["Channel", "HubBroker"]


class Channel:
    """A channel as this process follows it.

    :ivar name: its name.
    :ivar position: the id up to which local listeners have everything; an engine that comes back after an outage goes
        on from here.  None while the channel is not followed yet.
    """

    __slots__ = ("joining", "listeners", "lock", "members", "name", "position", "told")

    def __init__(self, name: str) -> None:
        self.name = name
        self.position: str | None = None
        self.listeners: dict[_Attached, Listener] = {}
        #: Those who are still being given what they missed, with what has arrived meanwhile.
        self.joining: dict[_Attached, list[Message | Gap]] = {}
        self.members: Counter[str] = Counter()
        #: The members as the engine has been told.
        self.told: dict[str, int] = {}
        #: Held while the engine is told to follow the channel, or not to.
        self.lock = asyncio.Lock()

    @property
    def wanted(self) -> bool:
        """Whether anybody listens here, or is about to."""
        return bool(self.listeners or self.joining)


class _Attached:
    __slots__ = ("_broker", "_channel", "_member", "position")

    def __init__(self, broker: "HubBroker", channel: Channel, member: str | None) -> None:
        self._broker: HubBroker | None = broker
        self._channel = channel
        self._member = member
        self.position = ""

    def detach(self) -> None:
        broker, self._broker = self._broker, None
        if broker is not None:
            broker._detach(self, self._channel, self._member)


class HubBroker(Broker):
    """A broker whose engine is elsewhere.  Engines implement the methods that begin with ``engine_``.

    :param presence_ttl: seconds after which the members of a process that has died are forgotten.

    Other parameters as `Broker` has them.
    """

    def __init__(self, *, presence_ttl: float = 30.0, **options: Any) -> None:
        super().__init__(**options)
        if not presence_ttl > 0:
            raise ValueError(f"presence_ttl must be more than 0, not {presence_ttl!r}")
        self.presence_ttl = presence_ttl
        self.channels: dict[str, Channel] = {}
        self._starting: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    # What an engine must do.

    @abstractmethod
    async def engine_start(self) -> None:
        """Connect.  Called once, or again after it has failed.

        :raises BrokerUnavailable: no connection.
        """

    @abstractmethod
    async def engine_publish(self, channel: str, message: Any) -> str:
        """Publish; what `Broker.publish` promises."""

    @abstractmethod
    async def engine_follow(self, channel: str) -> str:
        """Have every message published from now on come to `arrived`, in order, until `engine_unfollow`.

        It goes on by itself after an outage, from `Channel.position`; where that is too old, it calls `lost`.

        :returns: the position from which it follows: the newest id, or one that stands before the first.
        :raises BrokerUnavailable: no connection now.
        """

    @abstractmethod
    async def engine_unfollow(self, channel: str) -> None:
        """Follow no more.  An outage is no error here."""

    @abstractmethod
    async def engine_history(
        self, channel: str, since: str | None, until: str | None, limit: int | None
    ) -> History:
        """What the channel remembers after ``since`` up to and with ``until``, the newest ``limit`` of it.

        An id that is not the engine's own makes it incomplete; no id may raise.
        """

    @abstractmethod
    async def engine_presence(self, channel: str) -> dict[str, int]:
        """The members that all processes have announced."""

    @abstractmethod
    async def engine_announce(self, channel: str, members: dict[str, int]) -> None:
        """Say who listens in this process, in place of what was said before; empty for nobody.

        It is called again every third of `presence_ttl`, and may be forgotten after that.
        """

    @abstractmethod
    async def engine_close(self) -> None:
        """Let go of all connections; nothing may be left running."""

    @abstractmethod
    def newer(self, id: str, than: str) -> bool:
        """Whether an id of the engine's stands after another of the same channel."""

    # What an engine calls.

    def arrived(self, message: Message) -> None:
        """A message has come; one that came before is ignored."""
        channel = self.channels.get(message.channel)
        if channel is None:
            return
        if channel.position is not None and not self.newer(message.id, channel.position):
            return
        channel.position = message.id
        self._to_all(channel, message)

    def lost(self, name: str, position: str) -> None:
        """Messages were lost in an outage: tell everybody, and go on from ``position``."""
        channel = self.channels.get(name)
        if channel is not None:
            channel.position = position
            self.stats.gaps += len(channel.listeners)
            self._to_all(channel, Gap(name, "history"))

    def _to_all(self, channel: Channel, event: Message | Gap) -> None:
        for pending in channel.joining.values():
            pending.append(event)
        if isinstance(event, Message):
            self.stats.delivered += len(channel.listeners)
        fan_out(list(channel.listeners.values()), event)

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run something of the engine's beside the program, until it ends or the broker is closed."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._spawned)

    def _spawned(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            app_log.error("A task of %s has failed", type(self).__name__, exc_info=task.exception())

    # The contract.

    async def start(self) -> None:
        if self._closed:
            raise BrokerClosed("this broker has been closed")
        if self._starting is None:
            self._starting = asyncio.ensure_future(self._start())
        starting = self._starting
        try:
            # Shielded: whoever is cancelled while waiting must not take the connection from the others.
            await asyncio.shield(starting)
        except BrokerError:
            if self._starting is starting:
                self._starting = None  # the next call tries again
            raise

    async def _start(self) -> None:
        await self.engine_start()
        self.spawn(self._keep_presence())

    async def publish(self, channel: str, message: Any) -> str:
        check_channel(channel)
        await self.start()
        id = await self.engine_publish(channel, message)
        self.stats.published += 1
        return id

    async def history(self, channel: str, since: str | None = None, limit: int | None = None) -> History:
        check_channel(channel)
        await self.start()
        return await self.engine_history(channel, since, None, limit)

    async def presence(self, channel: str) -> dict[str, int]:
        check_channel(channel)
        await self.start()
        return await self.engine_presence(channel)

    async def attach(
        self,
        listener: Listener,
        channel: str,
        since: str | None = None,
        *,
        last: int = 0,
        member: str | None = None,
    ) -> Attachment:
        check_channel(channel)
        await self.start()
        entry = self.channels.get(channel)
        if entry is None:
            entry = self.channels[channel] = Channel(channel)
        place = _Attached(self, entry, member)
        pending = entry.joining[place] = []
        try:
            async with entry.lock:
                if entry.position is None:
                    entry.position = await self.engine_follow(channel)
            place.position = position = entry.position
            # Nothing has been awaited since: what comes from here on stands behind the position.
            pending.clear()
            past: list[Message | Gap] = []
            if since is not None or last:
                past = await self._missed(channel, since, position, None if since is not None else last)
            if self._closed:
                raise BrokerClosed("this broker has been closed")
        except BaseException:
            entry.joining.pop(place, None)
            place.detach()
            raise
        if place._broker is None:  # detached meanwhile
            return place
        for event in past:
            fan_out([listener], event)
        # Without a wait in between, so that nothing can come twice or be passed over.
        del entry.joining[place]
        for event in pending:
            fan_out([listener], event)
        entry.listeners[place] = listener
        if member is not None:
            entry.members[member] += 1
            await self._announce(entry)
        return place

    async def _missed(
        self, channel: str, since: str | None, position: str, limit: int | None
    ) -> list[Message | Gap]:
        past = await self.engine_history(channel, since, position, limit)
        events: list[Message | Gap] = []
        if not past.complete:
            self.stats.gaps += 1
            events.append(Gap(channel, "history"))
        self.stats.recovered += len(past.messages)
        events += past.messages
        return events

    def _detach(self, place: _Attached, entry: Channel, member: str | None) -> None:
        entry.joining.pop(place, None)
        if entry.listeners.pop(place, None) is not None and member is not None:
            entry.members[member] -= 1
            if not entry.members[member]:
                del entry.members[member]
            self.spawn(self._announce(entry))
        if not entry.wanted and not self._closed:
            self.spawn(self._leave(entry))

    async def _leave(self, entry: Channel) -> None:
        """Follow a channel no more, unless somebody has come back to it."""
        async with entry.lock:
            if entry.wanted or self.channels.get(entry.name) is not entry:
                return
            if entry.position is not None:
                entry.position = None
                await self.engine_unfollow(entry.name)
            if not entry.wanted and not entry.members and not entry.told:
                del self.channels[entry.name]

    async def _announce(self, entry: Channel) -> None:
        """Tell the engine who listens here, if that is news.  Presence is no reason to fail: it is told again."""
        members = dict(entry.members)
        if members == entry.told:
            return
        before, entry.told = entry.told, members
        try:
            await self.engine_announce(entry.name, members)
        except BrokerError:
            if entry.told is members:
                entry.told = before

    async def _keep_presence(self) -> None:
        while True:
            await asyncio.sleep(self.presence_ttl / 3)
            for entry in list(self.channels.values()):
                members = dict(entry.members)
                if not members and not entry.told:
                    continue
                try:
                    await self.engine_announce(entry.name, members)
                    entry.told = members
                except BrokerError:
                    break  # it is away; the next round tells them again
                if not entry.wanted:
                    await self._leave(entry)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        starting, self._starting = self._starting, None
        if starting is not None and not starting.done():
            starting.cancel()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, *([starting] if starting else []), return_exceptions=True)
        channels, self.channels = self.channels, {}
        for entry in channels.values():
            for place, listener in list(entry.listeners.items()):
                place._broker = None
                listener.broker_closed()
        await self.engine_close()
