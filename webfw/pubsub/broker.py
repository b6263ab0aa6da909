"""The contract of publish/subscribe, and the parts of it that every broker shares; no transport may enter.

A broker takes messages for named channels and gives them to whoever listens there.  Delivery is at most once while
connected.  Each message has an id; who comes back with the last id it has seen gets what it has missed, as far as the
channel's history (bounded in number and age) reaches back, and a `Gap` where it does not.
"""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Mapping
from types import TracebackType
from typing import Any, ClassVar, Literal, Protocol, Self

from webfw.log import app_log
from webfw.pubsub.messages import Gap, History, Message, check_channel, check_count

__all__ = [
    "Attachment",
    "Broker",
    "BrokerClosed",
    "BrokerError",
    "BrokerStats",
    "BrokerUnavailable",
    "Listener",
    "SlowSubscriber",
    "Subscription",
    "fan_out",
    "tell_closed",
]

#: What happens to a subscriber that does not keep up.
Policy = Literal["drop_oldest", "close"]


class BrokerError(Exception):
    """A broker cannot do what it was asked to."""


class BrokerUnavailable(BrokerError):
    """The server behind a broker cannot be reached; the text names its URL, without a password."""


class BrokerClosed(BrokerError):
    """The broker has been closed by this program."""


class SlowSubscriber(BrokerError):
    """A subscription was ended because its backlog was full and its policy is ``close``."""


class BrokerStats:
    """Counters of one broker in this process, since it was made.

    :ivar published: messages published here.
    :ivar delivered: deliveries to listeners here; one message to 500 listeners counts 500.
    :ivar recovered: deliveries out of the history.
    :ivar gaps: times a listener was told that it has missed messages.
    :ivar dropped: messages dropped for slow subscribers.
    :ivar closed: subscriptions ended because they were too slow.
    :ivar reconnects: times the connection was lost and is back.
    """

    __slots__ = ("closed", "delivered", "dropped", "gaps", "published", "reconnects", "recovered")

    def __init__(self) -> None:
        self.published = self.delivered = self.recovered = self.gaps = self.dropped = self.closed = 0
        self.reconnects = 0

    def __repr__(self) -> str:
        return "BrokerStats(" + ", ".join(f"{name}={getattr(self, name)}" for name in self.__slots__) + ")"


class Listener(Protocol):
    """What a broker delivers to: called on the loop, one message after the other; must neither block nor raise."""

    def deliver(self, event: Message | Gap) -> None:
        """Take a message, or the news that some are missing here."""

    def broker_closed(self) -> None:
        """Nothing more will come: the broker has been closed."""


class Attachment(Protocol):
    """One listener's place in a channel.

    :ivar position: the id from which deliveries went on; where nothing has been published yet, one that stands before
        the first.
    """

    position: str

    def detach(self) -> None:
        """Deliver no more, at once; twice does no harm."""


class Broker(ABC):
    """Publishes to channels and delivers to those who listen there.

    :param history_size: messages a channel remembers, 0 for none.
    :param history_age: seconds a channel remembers a message.
    :param backlog: messages kept for a subscription whose reader is slow, at least 1.
    :param policy: what happens when the backlog is full: ``"drop_oldest"`` loses the oldest message and says so by a
        `Gap`; ``"close"`` ends the subscription with `SlowSubscriber`.

    A broker belongs to the loop on which it is first used.  Channels need not be made: they are there when named.
    Their names are str of 1 to 200 bytes without control characters.

    :cvar url_options: the options that the query of a URL may give, each with what makes its value of a text.
    """

    url_options: ClassVar[Mapping[str, Callable[[str], Any]]] = {
        "history_size": int,
        "history_age": float,
        "backlog": int,
        "policy": str,
    }
    #: Whether the rest of a URL's query is for the client that the broker is built on.
    url_rest: ClassVar[bool] = False

    def __init__(
        self,
        *,
        history_size: int = 1000,
        history_age: float = 300.0,
        backlog: int = 1000,
        policy: Policy = "drop_oldest",
    ) -> None:
        if history_size < 0 or not history_age >= 0:
            raise ValueError("history_size and history_age must not be negative")
        _check_policy(backlog, policy)
        self.history_size = history_size
        self.history_age = history_age
        self.backlog = backlog
        self.policy: Policy = policy
        self.stats = BrokerStats()

    @property
    def connected(self) -> bool:
        """Whether it is connected now, as far as this process knows; True for one that needs no connection."""
        return True

    @abstractmethod
    async def start(self) -> None:
        """Connect, so that a broker that cannot be reached fails now and not at its first use; twice does no harm.

        :raises BrokerUnavailable: it cannot be reached.
        """

    @abstractmethod
    async def publish(self, channel: str, message: Any) -> str:
        """Send a message to everybody who listens on a channel, and keep it in its history.

        :param message: bytes, str or a JSON value.
        :returns: the message's id.
        :raises BrokerUnavailable: it may not have been published.
        :raises BrokerClosed: `close` has been called.
        :raises TypeError, ValueError: the message or the channel's name cannot be sent.
        """

    @abstractmethod
    async def attach(
        self,
        listener: Listener,
        channel: str,
        since: str | None = None,
        *,
        last: int = 0,
        member: str | None = None,
    ) -> Attachment:
        """Deliver to a listener from now on; what `subscribe` and the doors of the web framework are built on.

        What is recovered is delivered before this returns, and before anything newer.

        :param since: the id after which messages are wanted; what the history no longer has is told by a `Gap`, and
            an id that this broker does not know is a `Gap` too.
        :param last: without ``since``, how many of the newest messages of the history to begin with.
        :param member: who listens, for `presence`.
        :raises BrokerUnavailable: the broker cannot be reached now.
        :raises ValueError: ``last`` is negative.
        """

    @abstractmethod
    async def history(self, channel: str, since: str | None = None, limit: int | None = None) -> History:
        """What the channel remembers, oldest first.

        :param since: only what came after that id.
        :param limit: the newest ``limit`` of it only; `History.complete` tells of what ``since`` asked for.
        :raises ValueError: ``limit`` is negative.
        """

    @abstractmethod
    async def presence(self, channel: str) -> dict[str, int]:
        """Who listens on a channel: each member that was named, and how many times it listens.

        A member of a process that has died stays for some seconds.
        """

    @abstractmethod
    async def close(self) -> None:
        """End all subscriptions and let go of all connections; the broker cannot be used any more."""

    def subscribe(
        self,
        channel: str,
        since: str | None = None,
        *,
        last: int = 0,
        member: str | None = None,
        backlog: int | None = None,
        policy: Policy | None = None,
    ) -> "Subscription":
        """Listen on a channel by an async iterator of `Message` and `Gap`::

            async with broker.subscribe("news", since=last_seen) as events:
                async for event in events:
                    ...

        It listens from ``async with`` on, or from ``await broker.subscribe(...)``, or else from the first message
        that is asked for.  Leaving the block, or `Subscription.close`, ends it.

        :param since, last, member: as `attach` has them.
        :param backlog, policy: in place of the broker's.
        """
        check_channel(channel)
        check_count("last", last)
        limit = self.backlog if backlog is None else backlog
        how = self.policy if policy is None else policy
        _check_policy(limit, how)
        return Subscription(self, channel, since, last, member, limit, how)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, typ: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()


def _check_policy(backlog: int, policy: str) -> None:
    if backlog < 1:
        raise ValueError(f"backlog must be at least 1, not {backlog}")
    if policy not in ("drop_oldest", "close"):
        raise ValueError(f"policy must be 'drop_oldest' or 'close', not {policy!r}")


class Subscription:
    """One reader of a channel: an async iterator of `Message` and `Gap`; `Broker.subscribe` makes them.

    It ends (``StopAsyncIteration``) when it or its broker is closed, and with `SlowSubscriber` by its policy.

    :ivar channel: the channel's name.
    :ivar dropped: how many messages this reader has lost by being slow.
    :ivar position: the id of what was read last, or before that where it began; None before it listens.
    """

    __slots__ = (
        "_attachment",
        "_broker",
        "_ended",
        "_limit",
        "_listening",
        "_lost",
        "_policy",
        "_queue",
        "_recovered",
        "_start",
        "_waiter",
        "channel",
        "dropped",
        "position",
    )

    def __init__(
        self,
        broker: Broker,
        channel: str,
        since: str | None,
        last: int,
        member: str | None,
        limit: int,
        policy: Policy,
    ) -> None:
        self._broker = broker
        self._start = (since, last, member)
        self._limit = limit
        self._policy = policy
        self._queue: deque[Message | Gap] = deque()
        self._attachment: Attachment | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._ended: BrokerError | Literal[True] | None = None
        self._listening = False
        self._lost = False
        #: How many of those in the queue were recovered; they do not count against the limit.
        self._recovered = 0
        self.channel = channel
        self.dropped = 0
        self.position = since

    async def _listen(self) -> Self:
        if self._attachment is not None or self._ended is not None:
            return self
        if self._listening:
            raise RuntimeError("this subscription is being read already")
        self._listening = True
        since, last, member = self._start
        try:
            attachment = await self._broker.attach(self, self.channel, since, last=last, member=member)
        except BaseException:
            self._queue.clear()  # the next attempt begins from the start
            raise
        finally:
            self._listening = False
        self._attachment = attachment
        self._recovered = len(self._queue)
        if self.position is None:
            self.position = attachment.position
        if self._ended is not None:  # closed in the meantime
            attachment.detach()
        return self

    def __await__(self) -> Generator[Any, None, Self]:
        return self._listen().__await__()

    async def __aenter__(self) -> Self:
        return await self._listen()

    async def __aexit__(
        self, typ: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message | Gap:
        """The next message or gap.

        A read that is cancelled loses nothing.

        :raises SlowSubscriber: this reader did not keep up; what was kept for it has been read.
        """
        if self._attachment is None:
            await self._listen()
        while True:
            if self._lost:
                self._lost = False
                return Gap(self.channel, "backlog")
            if self._queue:
                event = self._queue.popleft()
                if self._recovered:
                    self._recovered -= 1
                if isinstance(event, Message):
                    self.position = event.id
                elif self._attachment and not self._recovered and self.position == self._start[0]:
                    # It could not be recovered from there: coming back with it again would only give this gap again.
                    self.position = self._attachment.position
                return event
            if self._ended is not None:
                if self._ended is True:
                    raise StopAsyncIteration
                raise self._ended
            if self._waiter is not None:
                raise RuntimeError("this subscription is being read already")
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def close(self) -> None:
        """Listen no more; a reader that waits, ends.  Twice does no harm."""
        self._end(True)
        self._queue.clear()
        self._lost = False

    def _end(self, how: BrokerError | Literal[True]) -> None:
        if self._ended is None:
            self._ended = how
            if self._attachment is not None:
                self._attachment.detach()
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # The `Listener` interface.

    def deliver(self, event: Message | Gap) -> None:
        """Keep an event for the reader."""
        if self._ended is not None:
            return
        queue = self._queue
        if len(queue) - self._recovered >= self._limit and self._attachment is not None:
            if self._policy == "close":
                self._broker.stats.closed += 1
                self._end(SlowSubscriber(f"{self.channel}: {len(queue)} messages were not read in time"))
                return
            self._drop_oldest()
        queue.append(event)
        self._wake()

    def _drop_oldest(self) -> None:
        stats = self._broker.stats
        if isinstance(self._queue.popleft(), Message):
            stats.dropped += 1
            self.dropped += 1
        if self._recovered:
            self._recovered -= 1
        if not self._lost:
            self._lost = True
            stats.gaps += 1

    def broker_closed(self) -> None:
        """End, once what is kept has been read."""
        self._end(True)


def fan_out(listeners: "list[Listener]", event: Message | Gap) -> None:
    """Give an event to each of the listeners; they may come and go meanwhile, in a list of their own."""
    for listener in listeners:
        try:
            listener.deliver(event)
        except Exception:
            # Border: a listener that fails must not keep the message from the others.
            app_log.error("Uncaught exception in a listener of %s", event.channel, exc_info=True)


def tell_closed(listeners: "list[Listener]") -> None:
    """Tell each of the listeners that their broker has been closed."""
    for listener in listeners:
        try:
            listener.broker_closed()
        except Exception:
            # Border: a listener that fails must not keep the news from the others.
            app_log.error("Uncaught exception in a listener of a closed broker", exc_info=True)
