"""What the checks of brokers share: a bench that makes brokers, readers with patience, clear complaints; no check."""

import asyncio
import inspect
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from webfw.pubsub.broker import Broker, Subscription
from webfw.pubsub.messages import Gap, Message

#: Seconds to wait for what must come.
PATIENCE = 10.0

Make = Callable[..., Broker | Awaitable[Broker]]


def expect(condition: object, text: str) -> None:
    """As ``assert``, but also with ``python -O``."""
    if not condition:
        raise AssertionError(text)


def equal(got: object, wanted: object, what: str) -> None:
    """Both must be equal and of one type, or the text says how they differ."""
    if type(got) is not type(wanted) or got != wanted:
        raise AssertionError(f"{what}: {short(got)}, and not {short(wanted)}")


def short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 400 else f"{text[:200]} ... {text[-190:]}"


class Collector:
    """A `Listener` that keeps what it gets.

    :ivar events: all of it.
    :ivar closed: how often it was told that the broker has been closed.
    """

    def __init__(self) -> None:
        self.events: list[Message | Gap] = []
        self.closed = 0
        self._news = asyncio.Event()

    def deliver(self, event: Message | Gap) -> None:
        self.events.append(event)
        self._news.set()

    def broker_closed(self) -> None:
        self.closed += 1
        self._news.set()

    @property
    def data(self) -> list[Any]:
        """The data of all messages, and the reason of each gap as ``Gap``."""
        return plain(self.events)

    async def until(self, data: Any) -> None:
        """Wait for a message with this data."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not any(isinstance(event, Message) and event.data == data for event in self.events):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"{short(data)} has not come, only {short(self.data)}") from None


class Bench:
    """Makes brokers and channels for one check, and clears them away.

    :ivar shared: whether brokers see each other.
    """

    def __init__(self, make: Make, shared: bool) -> None:
        self.shared = shared
        self._make = make
        self._brokers: list[Broker] = []

    async def broker(self, *, start: bool = True, **options: Any) -> Broker:
        """One more broker; all those of one check get the same options."""
        made = self._make(**options)
        broker = await made if inspect.isawaitable(made) else made
        self._brokers.append(broker)
        if start:
            await broker.start()
        return broker

    async def pair(self, **options: Any) -> tuple[Broker, Broker]:
        """Two brokers that see each other; one, twice, if those of this kind do not."""
        first = await self.broker(**options)
        return first, await self.broker(**options) if self.shared else first

    @staticmethod
    def channel() -> str:
        """A name that nobody has used before."""
        return f"check-{secrets.token_hex(6)}"

    async def close(self) -> None:
        for broker in self._brokers:
            await broker.close()


def plain(events: Sequence[Message | Gap]) -> list[Any]:
    """The data of messages; gaps as they are."""
    return [event.data if isinstance(event, Message) else event for event in events]


async def take(subscription: Subscription, count: int) -> list[Message | Gap]:
    """The next ``count`` events."""
    events: list[Message | Gap] = []
    try:
        async with asyncio.timeout(PATIENCE):
            while len(events) < count:
                events.append(await anext(subscription))
    except TimeoutError:
        got = short(plain(events))
        raise AssertionError(
            f"{count} events were expected within {PATIENCE:g} s; there came {got}"
        ) from None
    except StopAsyncIteration:
        raise AssertionError(f"the subscription has ended after {short(plain(events))}") from None
    return events


async def until(subscription: Subscription, data: Any) -> list[Message | Gap]:
    """All events up to and with a message of this data."""
    events: list[Message | Gap] = []
    while not (events and isinstance(events[-1], Message) and events[-1].data == data):
        try:
            events += await take(subscription, 1)
        except AssertionError as error:
            raise AssertionError(f"{error}; before that {short(plain(events))}") from None
    return events


async def publish(broker: Broker, channel: str, *messages: Any) -> list[str]:
    return [await broker.publish(channel, message) for message in messages]


async def refuses(
    kinds: type[BaseException] | tuple[type[BaseException], ...], call: Callable[[], Any], what: str
) -> None:
    """A call, its result awaited if it can be, must raise this."""
    try:
        result = call()
        if inspect.isawaitable(result):
            result = await result
    except kinds:
        return
    except Exception as error:
        raise AssertionError(f"{what} raised {error!r}, and not {kinds}") from error
    raise AssertionError(f"{what} gave {short(result)}, and should have raised {kinds}")


async def becomes(ask: Callable[[], Awaitable[Any]], wanted: Any, what: str) -> None:
    """What a question gives must become equal to this before patience ends."""
    deadline = time.monotonic() + PATIENCE
    while (got := await ask()) != wanted:
        if time.monotonic() > deadline:
            equal(got, wanted, what)
        await asyncio.sleep(0.02)


async def finished(task: "asyncio.Task[Any]", what: str) -> Any:
    """The result of a task that must end by itself."""
    if not (await asyncio.wait([task], timeout=PATIENCE))[0]:
        task.cancel()
        raise AssertionError(f"{what} has not ended")
    return task.result()


async def drain(subscription: Subscription) -> list[Any]:
    """The data of all that comes until the subscription ends."""
    return plain([event async for event in subscription])
