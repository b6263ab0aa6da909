"""The broker of one process: the contract, and what it remembers and forgets."""

import asyncio
import random
from typing import Any

import pytest

from webfw.pubsub import BrokerClosed, Gap, MemoryBroker
from webfw.testing import check_broker
from webfw.testing.brokers.bench import Collector, plain


async def test_conforms() -> None:
    await check_broker(MemoryBroker, shared=False)


def on_clock(**options: Any) -> tuple[MemoryBroker, list[float]]:
    now = [0.0]
    broker = MemoryBroker(**options)
    broker._clock = lambda: now[0]
    return broker, now


async def data(broker: MemoryBroker, channel: str, since: str | None = None) -> tuple[list[Any], bool]:
    past = await broker.history(channel, since)
    return plain(past.messages), past.complete


async def test_age_is_kept_to_the_moment() -> None:
    broker, now = on_clock(history_age=10.0)
    ids = []
    for n in range(4):
        now[0] = n * 4.0
        ids.append(await broker.publish("a", n))
    assert await data(broker, "a") == ([1, 2, 3], True)
    assert await data(broker, "a", ids[0]) == ([1, 2, 3], True)
    now[0] = 14.1
    assert await data(broker, "a", ids[0]) == ([2, 3], False)
    assert await data(broker, "a", ids[1]) == ([2, 3], True)
    now[0] = 22.1
    assert await data(broker, "a") == ([], True)
    assert await data(broker, "a", ids[2]) == ([], False)
    assert await data(broker, "a", ids[3]) == ([], True)


async def test_channels_that_nobody_needs_are_forgotten() -> None:
    broker, now = on_clock(history_age=10.0)
    old = [await broker.publish(f"c{n}", n) for n in range(500)]
    listener = Collector()
    place = await broker.attach(listener, "c7")
    now[0] = 11.0
    newest = await broker.publish("new", 1)
    assert set(broker._channels) == {"c7", "new"}
    assert list(broker._aging) == ["new"]
    assert await data(broker, "c3", old[2]) == ([], False)
    # All that is known of a forgotten channel is that nothing was published after the newest that was forgotten.
    assert await data(broker, "c3", newest) == ([], True)
    assert await data(broker, "new", old[499]) == ([1], True)
    place.detach()
    assert set(broker._channels) == {"new"}
    now[0] = 30.0
    await broker.publish("newer", 1)
    assert set(broker._channels) == {"newer"}


async def test_without_history_nothing_is_kept_of_channels_nobody_hears() -> None:
    broker = MemoryBroker(history_size=0)
    ids = [await broker.publish("a", n) for n in range(3)]
    assert broker._channels == {}
    assert broker.stats.published == 3
    assert await data(broker, "a", ids[1]) == ([], False)
    assert await data(broker, "a", ids[2]) == ([], True)


async def test_ids_of_another_process_are_known_as_such() -> None:
    one, other = MemoryBroker(), MemoryBroker()
    id = await one.publish("a", 1)
    await other.publish("a", 2)
    listener = Collector()
    place = await other.attach(listener, "a", id)
    assert listener.data == [Gap("a", "history"), 2]
    assert other.stats.gaps == 1
    place.detach()


async def test_listeners_may_come_and_go_while_they_are_called() -> None:
    broker = MemoryBroker()
    places: list[Any] = []

    class Leaves(Collector):
        def deliver(self, event: Any) -> None:
            super().deliver(event)
            for place in places:
                place.detach()

    listeners = [Leaves(), Leaves()]
    places += [await broker.attach(listener, "a") for listener in listeners]
    await broker.publish("a", 1)
    assert listeners[0].data == [1]
    assert broker._channels["a"].listeners == {}


async def test_churn_against_a_model() -> None:
    """Random publishing, coming back and forgetting, beside a plain list of all messages."""
    chance = random.Random(11)
    broker, now = on_clock(history_size=5, history_age=20.0)
    sent: dict[str, list[tuple[float, str, int]]] = {"a": [], "b": [], "c": []}
    start = (await broker.history("a")).position
    for n in range(2000):
        now[0] += chance.choice([0.0, 1.0, 9.0])
        channel = chance.choice("aabbbc")
        if chance.random() < 0.6:
            sent[channel].append((now[0], await broker.publish(channel, n), n))
            continue
        log = sent[channel]
        kept = [entry for entry in log if entry[0] >= now[0] - 20.0][-5:]
        k = chance.randrange(len(log) + 1)
        since = log[k - 1][1] if k else start
        got, complete = await data(broker, channel, since)
        missed = log[k:]
        assert got == [n for _, _, n in kept if (n in {m for _, _, m in missed})]
        if complete:
            assert got == [n for _, _, n in missed]
        # A channel that was forgotten meanwhile may tell a gap too many; one that knows the id may not.
        assert complete or since not in [id for _, id, _ in kept]


async def test_closing() -> None:
    broker = MemoryBroker()
    listener = Collector()
    place = await broker.attach(listener, "a", member="m")
    await broker.close()
    place.detach()
    assert listener.closed == 1
    with pytest.raises(BrokerClosed):
        await broker.start()
    assert broker._channels == {}


async def test_a_listener_that_fails_to_close_does_not_stop_the_others(expect_log: Any) -> None:
    class Fails(Collector):
        def broker_closed(self) -> None:
            raise RuntimeError("deliberate")

    broker, last = MemoryBroker(), Collector()
    await broker.attach(Fails(), "a")
    await broker.attach(last, "a")
    with expect_log("webfw.application", "listener of a closed broker", count=1):
        await broker.close()
    assert last.closed == 1


async def test_publishing_does_not_wait() -> None:
    """A publish to many takes no turn of the loop: what it calls is a list of functions."""
    broker = MemoryBroker()
    listeners = [Collector() for _ in range(50)]
    for listener in listeners:
        await broker.attach(listener, "a")
    turned: list[int] = []
    asyncio.get_running_loop().call_soon(turned.append, 1)
    await broker.publish("a", "x")
    assert turned == []
    assert all(listener.data == ["x"] for listener in listeners)
