"""Memory brokers with one fault each: the suite must find every one of them, by the right check."""

from collections import Counter
from typing import Any

from webfw.pubsub import Attachment, Broker, Gap, History, Listener, MemoryBroker, Message
from webfw.pubsub.broker import fan_out
from webfw.pubsub.messages import check_channel


class Hooked:
    """A listener in front of another: what comes is passed on by ``hook``."""

    def __init__(self, inner: Listener, hook: Any) -> None:
        self.inner = inner
        self.hook = hook

    def deliver(self, event: Message | Gap) -> None:
        for one in self.hook(event):
            self.inner.deliver(one)

    def broker_closed(self) -> None:
        self.inner.broker_closed()


class WithHook(MemoryBroker):
    """Every listener of it is behind a hook; ``hook(event, live)`` gives the events to pass on."""

    live = False

    def hook(self, event: Message | Gap, live: bool) -> list[Message | Gap]:
        return [event]

    async def attach(self, listener: Listener, channel: str, since: Any = None, **options: Any) -> Attachment:
        live = False
        front = Hooked(listener, lambda event: self.hook(event, live))
        place = await super().attach(front, channel, since, **options)
        live = True
        return place


class View(Broker):
    """One of several brokers that share what a memory broker has."""

    def __init__(self, core: MemoryBroker, **options: Any) -> None:
        super().__init__(**options)
        self.core = core
        self.mine: dict[Attachment, Listener] = {}

    async def start(self) -> None:
        pass

    async def publish(self, channel: str, message: Any) -> str:
        return await self.core.publish(channel, message)

    async def attach(self, listener: Listener, channel: str, since: Any = None, **options: Any) -> Attachment:
        place = await self.core.attach(listener, channel, since, **options)
        self.mine[place] = listener
        return place

    async def history(self, channel: str, since: str | None = None, limit: int | None = None) -> History:
        return await self.core.history(channel, since, limit)

    async def presence(self, channel: str) -> dict[str, int]:
        return await self.core.presence(channel)

    async def close(self) -> None:
        for place in self.mine:
            place.detach()


# --- delivery ---


class SameIds(MemoryBroker):
    async def publish(self, channel: str, message: Any) -> str:
        await super().publish(channel, message)
        return "7"


class Backwards(WithHook):
    """Holds every other message back until the next has passed."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.held: dict[str, Message | Gap] = {}

    def hook(self, event: Message | Gap, live: bool) -> list[Message | Gap]:
        held = self.held.pop(event.channel, None)
        if held is not None:
            return [event, held]
        self.held[event.channel] = event
        return []


class Text(MemoryBroker):
    """Takes every str of bytes for text, as one does who forgets to note the kind."""

    async def publish(self, channel: str, message: Any) -> str:
        return await super().publish(
            channel, message.decode("latin-1") if isinstance(message, bytes) else message
        )


class Guest(MemoryBroker):
    """Takes anything."""

    async def publish(self, channel: str, message: Any) -> str:
        try:
            return await super().publish(channel, message)
        except (TypeError, ValueError, RecursionError):
            return await super().publish(channel, repr(type(message)))


class SharesObject(MemoryBroker):
    async def publish(self, channel: str, message: Any) -> str:
        id = await super().publish(channel, message)
        for place in self._channels.values():
            for _, _, kept in place.kept:
                if kept.id == id and not isinstance(message, bytearray):
                    kept.data = message
        return id


class DeliversToOne(MemoryBroker):
    async def publish(self, channel: str, message: Any) -> str:
        entry = self._channels.get(channel)
        if entry is not None and len(entry.listeners) > 1:
            all_of_them = entry.listeners
            entry.listeners = dict(list(all_of_them.items())[:1])
            try:
                return await super().publish(channel, message)
            finally:
                entry.listeners = all_of_them
        return await super().publish(channel, message)


class Mixes(MemoryBroker):
    """Channels whose names differ in case only are one to it."""

    async def publish(self, channel: str, message: Any) -> str:
        check_channel(channel)
        return await super().publish(channel.lower(), message)

    async def attach(self, listener: Listener, channel: str, since: Any = None, **options: Any) -> Attachment:
        check_channel(channel)
        return await super().attach(listener, channel.lower(), since, **options)


class AnyName(MemoryBroker):
    async def presence(self, channel: str) -> dict[str, int]:
        return {} if len(channel) > 200 else await super().presence(channel)


class FromThePast(MemoryBroker):
    async def attach(self, listener: Listener, channel: str, since: Any = None, **options: Any) -> Attachment:
        if since is None and not options.get("last"):
            options["last"] = 1
        return await super().attach(listener, channel, since, **options)


class DeafDetach(MemoryBroker):
    """Goes on delivering after `detach`."""

    def _detach(self, place: Any, channel: str, member: str | None) -> None:
        pass


class Sleeper(MemoryBroker):
    """A reader that waits does not see that its subscription has been closed."""

    def subscribe(self, *args: Any, **options: Any) -> Any:
        subscription = super().subscribe(*args, **options)

        class Asleep(type(subscription)):  # type: ignore[misc]
            __slots__ = ()

            def _wake(self) -> None:
                if self._ended is None:
                    super()._wake()

        subscription.__class__ = Asleep
        return subscription


class StopsAtFailure(MemoryBroker):
    async def publish(self, channel: str, message: Any) -> str:
        entry = self._channels.get(channel)
        listeners = {} if entry is None else entry.listeners
        if entry is not None:
            entry.listeners = {}
        id = await super().publish(channel, message)
        if entry is not None:
            entry.listeners = listeners
            made = Message(channel, id, message)
            for listener in list(listeners.values()):
                try:
                    listener.deliver(made)
                except Exception:
                    break
        return id


class OwnOrder(WithHook):
    """Each listener has an order of its own for what two publishers send."""

    async def attach(self, listener: Listener, channel: str, since: Any = None, **options: Any) -> Attachment:
        held: list[Message | Gap] = []
        turn = len(getattr(self._channels.get(channel), "listeners", ())) % 2

        def hook(event: Message | Gap) -> list[Message | Gap]:
            held.append(event)
            if turn and len(held) < 4:
                return []
            out = sorted(held, key=lambda e: str(getattr(e, "data", "")), reverse=bool(turn))
            held.clear()
            return out

        return await MemoryBroker.attach(self, Hooked(listener, hook), channel, since, **options)


# --- recovery ---


class LosesOne(WithHook):
    """The first that is recovered does not come."""

    async def attach(self, listener: Listener, channel: str, since: Any = None, **options: Any) -> Attachment:
        first = [1] if since is not None else []
        front = Hooked(listener, lambda e: first.clear() or [] if first and isinstance(e, Message) else [e])
        place = await MemoryBroker.attach(self, front, channel, since, **options)
        first.clear()
        return place


class Doubles(WithHook):
    """The last that is recovered comes twice."""

    async def attach(self, listener: Listener, channel: str, since: Any = None, **options: Any) -> Attachment:
        got: list[Any] = []
        place = await MemoryBroker.attach(
            self, Hooked(listener, lambda e: got.append(e) or [e]), channel, since, **options
        )
        if since is not None and len(got) > 1:
            fan_out([listener], got[-1])
        return place


class NoGap(WithHook):
    def hook(self, event: Message | Gap, live: bool) -> list[Message | Gap]:
        return [event] if isinstance(event, Message) else []


class Complete(MemoryBroker):
    async def history(self, channel: str, since: str | None = None, limit: int | None = None) -> History:
        past = await super().history(channel, since, limit)
        past.complete = True
        return past


class RaisesForUnknownIds(MemoryBroker):
    def _number(self, id: str) -> int | None:
        int(id.rpartition("-")[2])
        return super()._number(id)


class MissesRace(MemoryBroker):
    """Looks back first, waits, and listens then."""

    async def attach(self, listener: Listener, channel: str, since: Any = None, **options: Any) -> Attachment:
        import asyncio

        if since is None:
            return await super().attach(listener, channel, since, **options)
        for message in (await self.history(channel, since)).messages:
            listener.deliver(message)
        for _ in range(2):
            await asyncio.sleep(0)
        return await super().attach(listener, channel, **options)


class LateRecovery(MemoryBroker):
    """What is recovered comes after `attach` has returned."""

    async def attach(self, listener: Listener, channel: str, since: Any = None, **options: Any) -> Attachment:
        import asyncio

        if since is None:
            return await super().attach(listener, channel, since, **options)
        past = await self.history(channel, since)
        place = await super().attach(listener, channel, **options)
        for event in [*([] if past.complete else [Gap(channel, "history")]), *past.messages]:
            asyncio.get_running_loop().call_soon(fan_out, [listener], event)
        return place


class IncludesSince(MemoryBroker):
    """Recovery begins with the message named, not after it."""

    def _number(self, id: str) -> int | None:
        number = super()._number(id)
        return None if number is None else max(number - 1, 0)


class EmptyHasNoPosition(MemoryBroker):
    async def history(self, channel: str, since: str | None = None, limit: int | None = None) -> History:
        past = await super().history(channel, since, limit)
        if not past.messages:
            past.position = "0"
        return past


class Endless(MemoryBroker):
    """Keeps too much."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if self.history_size:
            self.history_size += 1


class Ageless(MemoryBroker):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.history_age = 1000.0


class KeepsOne(MemoryBroker):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.history_size = max(1, self.history_size)


class OldestFirst(MemoryBroker):
    """A limit gives the oldest."""

    def _history(self, channel: str, since: str | None, limit: int | None) -> History:
        past = super()._history(channel, since, None)
        if limit is not None:
            past.messages = past.messages[:limit]
        return past


# --- leaving ---


class Forgets(MemoryBroker):
    """Does not count what a slow subscriber loses."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)

        class Uncounted(type(self.stats)):  # type: ignore[misc]
            dropped = property(lambda self: 0, lambda self, value: None)

        self.stats = Uncounted()


class NeverCloses(MemoryBroker):
    def subscribe(self, *args: Any, **options: Any) -> Any:
        return super().subscribe(*args, **{**options, "policy": "drop_oldest"})


class CountsRecovered(MemoryBroker):
    """What is recovered must fit into the backlog."""

    def subscribe(self, *args: Any, **options: Any) -> Any:
        subscription = super().subscribe(*args, **options)
        listen = subscription._listen

        class Counting(type(subscription)):  # type: ignore[misc]
            __slots__ = ()

            async def _listen(self) -> Any:
                await listen.__func__(self)
                self._recovered = 0
                return self

        subscription.__class__ = Counting
        return subscription


class LeaksPresence(MemoryBroker):
    """Who was there once stays."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.seen: dict[str, Counter[str]] = {}

    async def presence(self, channel: str) -> dict[str, int]:
        seen = self.seen.setdefault(channel, Counter())
        seen |= Counter(await super().presence(channel))
        return dict(seen)


class PresenceOfOne(MemoryBroker):
    """Counts everybody once."""

    async def presence(self, channel: str) -> dict[str, int]:
        return dict.fromkeys(await super().presence(channel), 1)


class ViewKeepsMembers(View):
    """Does not take its members back."""

    async def close(self) -> None:
        pass


class Deaf(View):
    """Hears only what it has published itself."""

    def __init__(self, core: MemoryBroker, **options: Any) -> None:
        super().__init__(MemoryBroker(), **options)


class StaysOpen(MemoryBroker):
    async def history(self, channel: str, since: str | None = None, limit: int | None = None) -> History:
        check_channel(channel)
        return self._history(channel, since, limit)


class LeavesTask(MemoryBroker):
    async def start(self) -> None:
        import asyncio

        await super().start()
        self.task = asyncio.ensure_future(asyncio.sleep(60))

    async def close(self) -> None:
        await super().close()


class Sleepers(MemoryBroker):
    """Readers that wait are not told of the end."""

    async def close(self) -> None:
        self._closed = True


class LosesAtCancel(MemoryBroker):
    """A read that is cancelled takes a message along."""

    def subscribe(self, *args: Any, **options: Any) -> Any:
        import asyncio

        subscription = super().subscribe(*args, **options)
        read = type(subscription).__anext__

        class Careless(type(subscription)):  # type: ignore[misc]
            __slots__ = ()

            async def __anext__(self) -> Any:
                event = await read(self)
                await asyncio.sleep(0)
                return event

        subscription.__class__ = Careless
        return subscription


class Miscounts(MemoryBroker):
    async def publish(self, channel: str, message: Any) -> str:
        id = await super().publish(channel, message)
        self.stats.delivered += 1
        return id


class LeavesListeners(MemoryBroker):
    """Delivers once more to those who have left, if it was many."""

    def _detach(self, place: Any, channel: str, member: str | None) -> None:
        entry = self._channels[channel]
        listener = entry.listeners[place]
        super()._detach(place, channel, member)
        if len(entry.listeners) > 3:
            entry.listeners[object()] = listener  # type: ignore[index]
