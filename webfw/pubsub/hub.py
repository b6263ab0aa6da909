"""What brokers share whose messages come from other processes: local listeners, recovery, presence; no transport.

A `HubBroker` follows each channel once, however many listen to it in this process, and fans out here.  Its engine (the
subclass) says how to publish, follow and look back, and calls `arrived` with what comes.
"""

import asyncio
import os
from abc import abstractmethod
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextvars import Context
from typing import Any, ClassVar, TypeVar

from webfw.log import app_log
from webfw.pubsub.broker import (
    Attachment,
    Broker,
    BrokerClosed,
    BrokerError,
    BrokerUnavailable,
    Listener,
    fan_out,
    tell_closed,
)
from webfw.pubsub.messages import Gap, History, Message, check_channel, check_count

__all__ = ["Channel", "HubBroker"]

_T = TypeVar("_T")

#: Seconds that a broker which is closed may take to say that its members are gone.
GOODBYE = 1.0


class Channel:
    """A channel as this process follows it.

    :ivar name: its name.
    :ivar position: the id up to which local listeners have everything; an engine that comes back after an outage goes
        on from here.  None while the channel is not followed yet.
    """

    __slots__ = (
        "ahead",
        "early",
        "joining",
        "listeners",
        "lock",
        "members",
        "name",
        "position",
        "settling",
        "telling",
        "told",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.position: str | None = None
        self.listeners: dict[_Attached, Listener] = {}
        #: Those who are still being given what they missed, with what has arrived meanwhile.
        self.joining: dict[_Attached, list[Message | _Lost]] = {}
        #: Those who have seen more, on another process, than has arrived here: they listen from that id on.
        self.ahead: dict[_Attached, tuple[str, Listener]] = {}
        #: What arrives while the engine begins to follow; None at other times.
        self.early: list[Message] | None = None
        self.members: Counter[str] = Counter()
        #: The members as the engine has been told; None when that is not known.
        self.told: dict[str, int] | None = {}
        #: Held while the engine is told to follow the channel, or not to.
        self.lock = asyncio.Lock()
        #: Held while the engine is told who is here, so that the newest word is the last.
        self.telling = asyncio.Lock()
        #: Whether a task is about to look who has left.
        self.settling = False

    @property
    def wanted(self) -> bool:
        """Whether anybody listens here, or is about to."""
        return bool(self.listeners or self.joining or self.ahead)


class _Lost:
    """A loss, as those are told of it who are still being given what they missed.

    :ivar position: the id from which it went on; None where ids have begun anew, and tell nothing about what was seen.
    """

    __slots__ = ("position",)

    def __init__(self, position: str | None) -> None:
        self.position = position


class _Attached:
    __slots__ = ("broker", "channel", "member", "position")

    def __init__(self, broker: "HubBroker", channel: Channel) -> None:
        self.broker: HubBroker | None = broker
        self.channel = channel
        #: Who listens, once that has been counted.
        self.member: str | None = None
        self.position = ""

    def detach(self) -> None:
        broker, self.broker = self.broker, None
        if broker is not None:
            broker._detach(self)


class HubBroker(Broker):
    """A broker whose engine is elsewhere.  Engines implement the methods that begin with ``engine_``.

    :param presence_ttl: seconds after which the members of a process that has died are forgotten.

    Other parameters as `Broker` has them.
    """

    url_options: ClassVar[Mapping[str, Callable[[str], Any]]] = {**Broker.url_options, "presence_ttl": float}

    def __init__(self, *, presence_ttl: float = 30.0, **options: Any) -> None:
        super().__init__(**options)
        if not presence_ttl > 0:
            raise ValueError(f"presence_ttl must be more than 0, not {presence_ttl!r}")
        self.presence_ttl = presence_ttl
        self.channels: dict[str, Channel] = {}
        self._starting: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._ready = False
        self._closed = False
        #: Where it was started: neither another process nor another loop can use its connection.
        self._pid = 0
        self._loop: asyncio.AbstractEventLoop | None = None

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
        If it fails or is cancelled, it does not follow, and clears away what it has begun.

        :returns: the position from which it follows: the newest id, or one that stands before the first.  What has
            come to `arrived` before this returns is kept if it is newer.
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

        An id that is not the engine's own makes it incomplete; no id may raise.  ``since`` may be newer than ``until``,
        when it comes from another process: then there are no messages, and it is complete if ``since`` is known.
        """

    @abstractmethod
    async def engine_presence(self, channel: str) -> dict[str, int]:
        """The members that all processes have announced."""

    @abstractmethod
    async def engine_announce(self, channel: str, members: dict[str, int]) -> None:
        """Say who listens in this process, in place of what was said before; empty for nobody.

        It is called again every third of `presence_ttl`, and may be forgotten after that; for one channel, one call
        after the other.  `close` calls it for all channels with members, before `engine_close`.
        """

    @abstractmethod
    async def engine_close(self) -> None:
        """Let go of all connections; nothing may be left running."""

    @abstractmethod
    def newer(self, id: str, than: str) -> bool:
        """Whether an id of the engine's stands after another of the same channel."""

    # What an engine calls.

    def arrived(self, message: Message) -> None:
        """A message has come; one that came before, or for a channel that is not followed, is ignored."""
        channel = self.channels.get(message.channel)
        if channel is None:
            return
        if channel.position is None:
            if channel.early is not None:
                channel.early.append(message)
            return
        if not self.newer(message.id, channel.position):
            return
        channel.position = message.id
        for place, (since, listener) in list(channel.ahead.items()):
            if self.newer(message.id, since):
                del channel.ahead[place]
                channel.listeners[place] = listener
        for pending in channel.joining.values():
            pending.append(message)
        self.stats.delivered += len(channel.listeners)
        fan_out(list(channel.listeners.values()), message)

    def lost(self, name: str, position: str) -> None:
        """Messages were lost in an outage: go on from ``position``, and tell all who have not seen it elsewhere."""
        channel = self.channels.get(name)
        if channel is None or channel.position is None:
            return
        anew = not self.newer(position, channel.position)
        channel.position = position
        for pending in channel.joining.values():
            pending.append(_Lost(None if anew else position))
        told = list(channel.listeners.values())
        for place, (since, listener) in list(channel.ahead.items()):
            if anew or not self._seen(since, position):
                told.append(listener)
            elif since != position:
                continue
            del channel.ahead[place]
            channel.listeners[place] = listener
        self.stats.gaps += len(told)
        fan_out(told, Gap(name, "history"))

    def _seen(self, since: str, position: str) -> bool:
        """Whether who has seen an id has missed nothing before a position."""
        return since == position or self._ahead(since, position)

    def _ahead(self, id: str, than: str) -> bool:
        """Whether an id stands after another and the two can be compared: of different origin, each is newer."""
        return self.newer(id, than) and not self.newer(than, id)

    async def announce_again(self) -> None:
        """Tell the engine anew who is here: after an outage it may have forgotten."""
        for entry in list(self.channels.values()):
            if entry.members or entry.told != {}:
                await self._announce(entry, again=True)

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run something of the engine's beside the program, until it ends or the broker is closed."""
        if self._closed:
            coroutine.close()
            return
        # In a context of its own: it serves everybody, not the request that happened to be the first.
        task = asyncio.get_running_loop().create_task(coroutine, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._spawned)

    def _spawned(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            app_log.error("A task of %s has failed", type(self).__name__, exc_info=task.exception())

    # The contract.

    def _check_home(self) -> None:
        """Refuse to be used where its connection is not.

        :raises BrokerError: it was started before a fork, or on another loop.
        """
        if self._pid != os.getpid():
            raise BrokerError(
                f"this {type(self).__name__} was started before the fork; start one in each process"
            )
        if self._loop is not asyncio.get_running_loop():
            raise BrokerError(
                f"this {type(self).__name__} was started on another event loop; start one on each"
            )

    async def start(self) -> None:
        if self._ready:
            self._check_home()
            return
        if self._closed:
            raise _closed()
        starting = self._starting
        if starting is None:
            starting = asyncio.get_running_loop().create_task(self._start(), context=Context())
            starting.add_done_callback(self._started)
            self._starting = starting
        try:
            # Shielded: whoever is cancelled while waiting must not take the connection from the others.
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            me = asyncio.current_task()
            if self._closed and me is not None and not me.cancelling():
                raise _closed() from None
            raise

    async def _start(self) -> None:
        await self.engine_start()
        if not self._closed:
            self._pid, self._loop = os.getpid(), asyncio.get_running_loop()
            self._ready = True
            self.spawn(self._keep_presence())

    def _started(self, task: "asyncio.Task[None]") -> None:
        if task.cancelled() or task.exception() is not None:
            self._starting = None  # the next call tries again

    async def _ask(self, answer: Awaitable[_T]) -> _T:
        try:
            return await answer
        except BrokerUnavailable:
            if self._closed:
                raise _closed() from None
            raise

    async def publish(self, channel: str, message: Any) -> str:
        check_channel(channel)
        if self._ready:
            self._check_home()
        else:
            await self.start()
        id = await self._ask(self.engine_publish(channel, message))
        self.stats.published += 1
        return id

    async def history(self, channel: str, since: str | None = None, limit: int | None = None) -> History:
        check_channel(channel)
        check_count("limit", 0 if limit is None else limit)
        await self.start()
        return await self._ask(self.engine_history(channel, since, None, limit))

    async def presence(self, channel: str) -> dict[str, int]:
        check_channel(channel)
        await self.start()
        return await self._ask(self.engine_presence(channel))

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
        check_count("last", last)
        await self.start()
        entry = self.channels.get(channel)
        if entry is None:
            entry = self.channels[channel] = Channel(channel)
        place = _Attached(self, entry)
        pending = entry.joining[place] = []
        try:
            await self._ask(self._join(entry, place, member))
            past = History([], True, place.position)
            if since is not None or last:
                limit = None if since is not None else last
                past = await self._ask(self.engine_history(channel, since, place.position, limit))
            if self._closed:
                raise _closed()
        except BaseException:
            place.detach()
            raise
        # Without a wait from here on, so that nothing can come twice or be passed over.
        del entry.joining[place]
        if since is not None and past.complete and self.newer(since, place.position):
            place.position = since
        lost = self._give_past(listener, channel, past, pending, place.position)
        assert entry.position is not None
        if not lost and self.newer(place.position, entry.position):
            entry.ahead[place] = (place.position, listener)
        else:
            entry.listeners[place] = listener
        return place

    async def _join(self, entry: Channel, place: _Attached, member: str | None) -> None:
        """Have the channel followed, set the position from which this place has all, and say who is here."""
        early: list[Message] = []
        async with entry.lock:
            if entry.position is None:
                entry.early = early
                try:
                    entry.position = await self.engine_follow(entry.name)
                finally:
                    entry.early = None
        place.position = entry.position
        for message in early:
            self.arrived(message)
        if member is not None:
            place.member = member
            entry.members[member] += 1
            await self._announce(entry)

    def _give_past(
        self, listener: Listener, channel: str, past: History, pending: "list[Message | _Lost]", position: str
    ) -> bool:
        """Deliver what was recovered, then what has come meanwhile behind the position; True if it has a gap."""
        stats = self.stats
        if not past.complete:
            stats.gaps += 1
            fan_out([listener], Gap(channel, "history"))
        for message in past.messages:
            stats.recovered += 1
            fan_out([listener], message)
        lost = False
        for event in pending:
            if isinstance(event, Message):
                if lost or self.newer(event.id, position):
                    stats.delivered += 1
                    fan_out([listener], event)
            elif event.position is None or not self._seen(position, event.position):
                stats.gaps += 1
                lost = True  # all that comes now is behind it, even if ids have begun anew
                fan_out([listener], Gap(channel, "history"))
        return lost

    def _detach(self, place: _Attached) -> None:
        entry = place.channel
        entry.joining.pop(place, None)
        entry.ahead.pop(place, None)
        entry.listeners.pop(place, None)
        member, place.member = place.member, None
        if member is not None:
            entry.members[member] -= 1
            if entry.members[member] <= 0:  # below, when the broker was closed
                del entry.members[member]
        if (member is not None or not entry.wanted) and not entry.settling and not self._closed:
            entry.settling = True
            self.spawn(self._settle(entry))

    async def _settle(self, entry: Channel) -> None:
        """Say who is left, and follow no more if that is nobody."""
        entry.settling = False
        await self._announce(entry)
        await self._leave(entry)

    async def _leave(self, entry: Channel) -> None:
        """Follow a channel no more, unless somebody has come back to it."""
        async with entry.lock:
            if entry.wanted or self.channels.get(entry.name) is not entry:
                return
            if entry.position is not None:
                entry.position = None
                try:
                    await self.engine_unfollow(entry.name)
                except BrokerError:
                    pass  # it is away, and has nothing to follow with
            if not entry.wanted and entry.told == {} and not entry.telling.locked():
                self.channels.pop(entry.name, None)  # it is gone when the broker has been closed meanwhile

    async def _announce(self, entry: Channel, again: bool = False) -> bool:
        """Tell the engine who listens here, if that is news; False if it could not be told, and will be later."""
        async with entry.telling:
            members = dict(entry.members)
            if members == entry.told and not again:
                return True
            entry.told = None
            try:
                await self.engine_announce(entry.name, members)
            except BrokerError:
                return False  # presence is no reason to fail
            entry.told = members
            return True

    async def _keep_presence(self) -> None:
        while True:
            await asyncio.sleep(self.presence_ttl / 3)
            for entry in list(self.channels.values()):
                try:
                    if (entry.members or entry.told != {}) and not await self._announce(entry, again=True):
                        break  # the engine is away; the next round tells them again
                    if not entry.wanted:
                        await self._leave(entry)
                except Exception:
                    # Border: whatever the engine's client raises, presence has to go on.
                    app_log.error("Uncaught exception in the presence of %s", entry.name, exc_info=True)

    async def close(self) -> None:
        if self._closed:
            return
        if self._ready:
            if self._pid != os.getpid():
                # After a fork: the connection is the parent's, who would lose it with what would be said here.
                self._closed, self._ready = True, False
                self.channels.clear()
                return
            self._check_home()
        self._closed = True
        self._ready = False
        channels, self.channels = self.channels, {}
        for entry in channels.values():
            for place in (*entry.listeners, *entry.ahead):
                place.broker = None
            tell_closed([*entry.listeners.values(), *(listener for _, listener in entry.ahead.values())])
        try:
            await self._say_goodbye([entry for entry in channels.values() if entry.told != {}])
        finally:
            try:
                await self._end_tasks()
            finally:
                await self.engine_close()

    async def _say_goodbye(self, entries: list[Channel]) -> None:
        """Tell the engine that the members of this process are gone, if there is time for it."""
        for entry in entries:
            entry.members.clear()
        if entries:
            goodbyes = [asyncio.ensure_future(self._announce(entry)) for entry in entries]
            try:
                async with asyncio.timeout(GOODBYE):
                    await asyncio.gather(*goodbyes, return_exceptions=True)
            except TimeoutError:
                pass

    async def _end_tasks(self) -> None:
        tasks: set[asyncio.Task[None]] = set(self._tasks)
        if self._starting is not None:
            tasks.add(self._starting)
        while tasks:
            for task in tasks:
                task.cancel()
            # More than once: asyncio.wait_for, which clients of engines use, can swallow a cancellation (3.11).
            _, tasks = await asyncio.wait(tasks, timeout=0.1)


def _closed() -> BrokerClosed:
    return BrokerClosed("this broker has been closed")
