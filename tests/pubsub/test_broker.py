"""Subscriptions over a broker that the test plays itself."""

import asyncio
from typing import Any

import pytest

from webfw.pubsub import BrokerClosed, BrokerUnavailable, Gap, MemoryBroker, Message, SlowSubscriber
from webfw.pubsub.broker import BrokerStats, fan_out


class Played(MemoryBroker):
    """Attaching takes until ``go`` is set; the recovered events are ``past``; ``fails`` is raised."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.go = asyncio.Event()
        self.go.set()
        self.past: list[Message | Gap] = []
        self.fails: Exception | None = None
        self.after: list[Message | Gap] = []
        self.attached = 0

    async def attach(self, listener: Any, channel: str, since: str | None = None, **options: Any) -> Any:
        for event in self.past:
            listener.deliver(event)
        await self.go.wait()
        if self.fails:
            raise self.fails
        self.attached += 1
        return await super().attach(listener, channel, None, **options)

    def listening(self, channel: str = "a") -> int:
        entry = self._channels.get(channel)
        return len(entry.listeners) if entry else 0


def message(n: int) -> Message:
    return Message("a", str(n), n)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"history_size": -1}, "must not be negative"),
        ({"history_age": -0.1}, "must not be negative"),
        ({"history_age": float("nan")}, "must not be negative"),
        ({"backlog": 0}, "backlog must be at least 1, not 0"),
        ({"policy": "wait"}, "policy must be"),
    ],
)
def test_options_of_a_broker(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        MemoryBroker(**options)


@pytest.mark.parametrize(
    "options", [{"backlog": 0}, {"backlog": -5}, {"policy": "x"}, {"policy": ""}, {"last": -1}]
)
async def test_options_of_a_subscription(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must"):
        MemoryBroker().subscribe("a", **options)


async def test_two_readers_at_once_are_refused() -> None:
    broker = Played()
    subscription = broker.subscribe("a")
    broker.go.clear()
    first = asyncio.ensure_future(anext(subscription))
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="being read already"):
        await anext(subscription)
    broker.go.set()
    while not broker.listening():
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="being read already"):
        await anext(subscription)
    await broker.publish("a", 1)
    assert (await first).data == 1  # type: ignore[union-attr]
    assert broker.attached == 1
    subscription.close()
    assert broker.listening() == 0


async def test_an_attempt_that_fails_leaves_nothing_for_the_next() -> None:
    broker = Played()
    subscription = broker.subscribe("a", since="0")
    broker.past = [message(1), message(2)]
    broker.fails = BrokerUnavailable("away")
    with pytest.raises(BrokerUnavailable):
        await anext(subscription)
    broker.fails = None
    broker.go.clear()
    reading = asyncio.ensure_future(anext(subscription))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    broker.go.set()
    assert [await anext(subscription), await anext(subscription)] == [message(1), message(2)]
    assert subscription.position == "2"
    assert broker.listening() == 1
    subscription.close()


async def test_closed_while_it_attaches() -> None:
    broker = Played()
    subscription = broker.subscribe("a")
    broker.go.clear()
    reading = asyncio.ensure_future(anext(subscription))
    await asyncio.sleep(0)
    subscription.close()
    broker.go.set()
    with pytest.raises(StopAsyncIteration):
        await reading
    assert broker.listening() == 0


async def test_recovered_ones_stand_outside_the_limit() -> None:
    broker = Played()
    broker.past = [message(n) for n in range(1, 6)]
    subscription = await broker.subscribe("a", since="0", backlog=2)
    for n in (6, 7):
        subscription.deliver(message(n))
    assert subscription.dropped == 0
    subscription.deliver(message(8))
    assert subscription.dropped == 1
    got = [await anext(subscription) for _ in range(8)]
    assert got == [Gap("a", "backlog"), *map(message, range(2, 9))]
    for n in (9, 10, 11):  # what was recovered is read: the limit is the limit
        subscription.deliver(message(n))
    assert [await anext(subscription) for _ in range(3)] == [Gap("a", "backlog"), message(10), message(11)]
    assert (subscription.dropped, broker.stats.dropped, broker.stats.gaps) == (2, 2, 2)
    subscription.close()


async def test_a_long_overflow_is_one_gap() -> None:
    broker = MemoryBroker()
    subscription = await broker.subscribe("a", backlog=1)
    for n in range(1000):
        await broker.publish("a", n)
    assert len(subscription._queue) == 1
    assert await anext(subscription) == Gap("a", "backlog")
    assert (await anext(subscription)).data == 999  # type: ignore[union-attr]
    assert (subscription.dropped, broker.stats.gaps) == (999, 1)
    subscription.close()


async def test_a_gap_that_is_dropped_is_no_message() -> None:
    broker = MemoryBroker()
    subscription = await broker.subscribe("a", backlog=1)
    subscription.deliver(Gap("a", "history"))
    subscription.deliver(message(1))
    assert subscription.dropped == 0
    assert [await anext(subscription), await anext(subscription)] == [Gap("a", "backlog"), message(1)]
    subscription.close()


async def test_a_slow_one_stays_closed() -> None:
    broker = MemoryBroker(policy="close", backlog=2)
    subscription = await broker.subscribe("a")
    for n in range(5):
        await broker.publish("a", n)
    assert not broker._channels["a"].listeners
    assert [event.data async for event in _two(subscription)] == [0, 1]
    for _ in range(2):
        with pytest.raises(SlowSubscriber, match="a: 2 messages were not read in time"):
            await anext(subscription)
    assert broker.stats.closed == 1
    subscription.close()
    with pytest.raises(SlowSubscriber):
        await anext(subscription)


async def _two(subscription: Any) -> Any:
    for _ in range(2):
        yield await anext(subscription)


async def test_position_after_a_gap_goes_on_from_where_deliveries_did() -> None:
    broker = MemoryBroker()
    await broker.publish("b", "elsewhere")
    subscription = await broker.subscribe("a", since="of another life")
    assert subscription.position == "of another life"  # the gap has not been read yet
    assert await anext(subscription) == Gap("a", "history")
    position = subscription.position
    subscription.close()
    await broker.publish("a", 1)
    again = await broker.subscribe("a", since=position)
    assert (await anext(again)).data == 1  # type: ignore[union-attr]
    again.close()


async def test_position_after_a_gap_that_messages_follow() -> None:
    broker = MemoryBroker(history_size=1)
    first = await broker.publish("a", 1)
    await broker.publish("a", 2)
    third = await broker.publish("a", 3)
    subscription = await broker.subscribe("a", since=first)
    assert await anext(subscription) == Gap("a", "history")
    assert subscription.position == first  # coming back from here gives the same again
    await anext(subscription)
    assert subscription.position == third
    subscription.close()


async def test_position_after_a_later_gap_stays() -> None:
    broker = MemoryBroker()
    subscription = await broker.subscribe("a")
    id = await broker.publish("a", 1)
    await anext(subscription)
    subscription.deliver(Gap("a", "history"))
    await anext(subscription)
    assert subscription.position == id
    subscription.close()


async def test_leaving_the_block_and_the_broker() -> None:
    async with MemoryBroker() as broker:
        async with broker.subscribe("a", member="m") as subscription:
            assert await broker.presence("a") == {"m": 1}
        assert await broker.presence("a") == {}
        with pytest.raises(StopAsyncIteration):
            await anext(subscription)
        open_one = await broker.subscribe("a")
        await broker.publish("a", "kept")
    assert [event.data async for event in open_one] == ["kept"]  # type: ignore[union-attr]
    with pytest.raises(BrokerClosed):
        await broker.subscribe("a")


async def test_what_is_kept_is_gone_when_the_reader_closes() -> None:
    broker = MemoryBroker()
    subscription = await broker.subscribe("a", backlog=1)
    for n in range(3):
        await broker.publish("a", n)
    subscription.close()
    assert [event async for event in subscription] == []
    subscription.deliver(message(1))
    assert [event async for event in subscription] == []


def test_fan_out_goes_on_after_a_failure(expect_log: Any) -> None:
    got: list[Any] = []

    class One:
        def deliver(self, event: Any) -> None:
            got.append(event)
            if len(got) == 1:
                raise RuntimeError("deliberate")

        def broker_closed(self) -> None:
            raise NotImplementedError

    with expect_log("webfw.application", "Uncaught exception in a listener of a", count=1):
        fan_out([One(), One()], message(1))
    assert got == [message(1)] * 2


def test_stats_show_themselves() -> None:
    stats = BrokerStats()
    stats.gaps = 3
    text = "BrokerStats(closed=0, delivered=0, dropped=0, gaps=3, published=0, reconnects=0, recovered=0)"
    assert repr(stats) == text
