"""Checks of slow subscribers, presence, coming and going; each is a function that says what is demanded."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from webfw.pubsub.broker import Broker, BrokerClosed, SlowSubscriber
from webfw.pubsub.messages import Gap
from webfw.testing.brokers.bench import (
    Bench,
    Collector,
    becomes,
    drain,
    equal,
    expect,
    finished,
    plain,
    publish,
    refuses,
    take,
    until,
)

# --- slow subscribers ---


async def slow_loses_the_oldest(bench: Bench) -> None:
    """A full backlog loses its oldest messages, says so with a `Gap`, and counts them."""
    broker, channel = await bench.broker(), bench.channel()
    witness = Collector()
    async with broker.subscribe(channel, backlog=3, policy="drop_oldest") as events:
        place = await broker.attach(witness, channel)
        await publish(broker, channel, *range(10))
        await witness.until(9)
        equal(plain(await take(events, 4)), [Gap(channel, "backlog"), 7, 8, 9], "what a slow reader got")
        equal(
            (events.dropped, broker.stats.dropped, broker.stats.gaps), (7, 7, 1), "dropped here, in all, gaps"
        )
        await publish(broker, channel, 10)
        equal(plain(await take(events, 1)), [10], "what came next")
        place.detach()
    equal(witness.data, list(range(11)), "what the other one got")
    await refuses(ValueError, lambda: broker.subscribe(channel, backlog=0), "backlog=0")
    await refuses(ValueError, lambda: broker.subscribe(channel, policy="wait"), "policy='wait'")  # type: ignore[arg-type]


async def slow_is_closed(bench: Bench) -> None:
    """With the policy ``close`` a full backlog ends the subscription, once what it holds has been read."""
    broker, channel = await bench.broker(backlog=3, policy="close"), bench.channel()
    witness = Collector()
    events = await broker.subscribe(channel, member="slow")
    place = await broker.attach(witness, channel)
    await publish(broker, channel, *range(10))
    await witness.until(9)
    equal(plain(await take(events, 3)), [0, 1, 2], "what was kept")
    await refuses(SlowSubscriber, lambda: anext(events), "reading on")
    equal(broker.stats.closed, 1, "stats.closed")
    await becomes(lambda: broker.presence(channel), {}, "present after a slow one was closed")
    async with broker.subscribe(channel, since=events.position, backlog=100) as again:
        equal(plain(await take(again, 7)), list(range(3, 10)), "recovered by coming back")
    place.detach()


async def recovered_is_no_backlog(bench: Bench) -> None:
    """What was recovered does not count against the backlog: nobody could have read it earlier."""
    broker, channel = await bench.broker(backlog=3, policy="close"), bench.channel()
    ids = await publish(broker, channel, *range(10))
    async with broker.subscribe(channel, since=ids[0]) as events, broker.subscribe(channel) as witness:
        await publish(broker, channel, 10, 11)
        await take(witness, 2)
        equal(plain(await take(events, 11)), list(range(1, 12)), "what came")


# --- presence ---


async def presence_of_members(bench: Bench) -> None:
    """Members are counted per channel, those without a name are not, and who leaves is gone."""
    first, second = await bench.pair()
    channel = bench.channel()
    equal(await first.presence(channel), {}, "present on an unused channel")
    names = ["ann", "ann", "b\u00f6b \U0001f600", "", None]
    readers = [
        await broker.subscribe(channel, member=m)
        for m, broker in zip(names, [first, second] * 3, strict=False)
    ]

    async def see(wanted: dict[str, int]) -> None:
        for broker in (first, second):
            await becomes(lambda broker=broker: broker.presence(channel), wanted, "present")  # type: ignore[misc]

    await see({"ann": 2, "b\u00f6b \U0001f600": 1, "": 1})
    equal(await second.presence(channel + "x"), {}, "present on another channel")
    readers[0].close()
    await see({"ann": 1, "b\u00f6b \U0001f600": 1, "": 1})
    for reader in readers:
        reader.close()
    await see({})
    async with first.subscribe(channel, member="ann"):
        await see({"ann": 1})
    await see({})


async def closed_brokers_are_absent(bench: Bench) -> None:
    """The members of a broker that was closed are gone for the others."""
    first, second = await bench.pair()
    channel = bench.channel()
    await first.subscribe(channel, member="stays")
    await second.subscribe(channel, member="goes")
    await becomes(lambda: first.presence(channel), {"stays": 1, "goes": 1}, "present")
    await second.close()
    await becomes(lambda: first.presence(channel), {"stays": 1}, "present after a broker was closed")


# --- coming and going ---


async def closing(bench: Bench) -> None:
    """`close` ends every iterator and tells every listener; after it everything raises `BrokerClosed`."""
    tasks = asyncio.all_tasks()
    broker, channel = await bench.broker(), bench.channel()
    await broker.start()
    listener = Collector()
    place = await broker.attach(listener, channel, member="m")
    waiting = asyncio.ensure_future(drain(await broker.subscribe(bench.channel())))
    kept = await broker.subscribe(channel)
    await broker.publish(channel, "kept")
    await listener.until("kept")
    await broker.close()
    await broker.close()
    equal(await finished(waiting, "a waiting reader"), [], "what a waiting reader got")
    equal(await drain(kept), ["kept"], "what was there to be read when the broker was closed")
    equal(listener.closed, 1, "times a listener was told")
    place.detach()
    kept.close()
    for what, call in (
        ("start", broker.start),
        ("publish", lambda: broker.publish(channel, "x")),
        ("attach", lambda: broker.attach(listener, channel)),
        ("subscribe", lambda: anext(broker.subscribe(channel))),
        ("history", lambda: broker.history(channel)),
        ("presence", lambda: broker.presence(channel)),
    ):
        await refuses(BrokerClosed, call, f"{what} after close")
    left = asyncio.all_tasks() - tasks
    for _ in range(100):
        left = {task for task in left if not task.done()}
        if not left:
            break
        await asyncio.sleep(0.01)
    expect(not left, f"tasks were left running: {left}")


@asynccontextmanager
async def _flow(broker: Broker, channel: str) -> AsyncIterator[list[int]]:
    """Numbers are published, one after the other, until the block is left; gives the list of them."""
    sent: list[int] = []
    stop = False

    async def write() -> None:
        while not stop:
            sent.append(len(sent))
            await broker.publish(channel, sent[-1])
            await asyncio.sleep(0)

    writing = asyncio.ensure_future(write())
    try:
        yield sent
    finally:
        stop = True
        await writing


async def churn(bench: Bench) -> None:
    """Listeners that come, go and are cancelled by the hundred while messages flow leave nothing behind."""
    broker, channel = await bench.broker(), bench.channel()

    async def visit(n: int) -> None:
        for turn in range(5):
            listener = Collector()
            place = await broker.attach(listener, channel, last=turn % 2, member=f"m{n % 3}")
            try:
                for _ in range((n + turn) % 4):
                    await asyncio.sleep(0)
            finally:
                place.detach()
            seen = list(listener.events)
            await asyncio.sleep(0)
            equal(listener.events, seen, "delivered after detach")
            numbers = listener.data
            wanted = list(range(numbers[0], numbers[0] + len(numbers))) if numbers else []
            equal(numbers, wanted, "what a visitor got")

    async with _flow(broker, channel):
        visits = [asyncio.ensure_future(visit(n)) for n in range(60)]
        for n, task in enumerate(visits):
            if n % 4 == 0:
                await asyncio.sleep(0)
                task.cancel()
        for result in await asyncio.gather(*visits, return_exceptions=True):
            if isinstance(result, Exception):
                raise result
    await becomes(lambda: broker.presence(channel), {}, "present after all have left")
    delivered = broker.stats.delivered
    async with broker.subscribe(channel, member="one") as events:
        await broker.publish(channel, "end")
        await until(events, "end")
        equal(await broker.presence(channel), {"one": 1}, "present")
    equal(broker.stats.delivered - delivered, 1, "deliveries of one message to the one who is left")


async def cancelled_readers(bench: Bench) -> None:
    """A reader cancelled while it waits loses no message: who reads on gets it."""
    broker, channel = await bench.broker(), bench.channel()
    got: list[Any] = []
    events = await broker.subscribe(channel)
    for n in range(60):
        reading = asyncio.ensure_future(anext(events))
        for _ in range(n % 3):
            await asyncio.sleep(0)
        await broker.publish(channel, n)
        for _ in range(n % 5):
            await asyncio.sleep(0)
        reading.cancel()
        try:
            got += plain([await reading])
        except asyncio.CancelledError:
            pass
    got += plain(await take(events, 60 - len(got)))
    equal(got, list(range(60)), "what was read")
    events.close()
    early = broker.subscribe(channel, last=3)
    for turns in range(8):  # cancelled at every point of its way into the channel
        reading = asyncio.ensure_future(anext(early))
        for _ in range(turns):
            await asyncio.sleep(0)
        reading.cancel()
        try:
            got += plain([await reading])
        except asyncio.CancelledError:
            pass
    got += plain(await take(early, 3 - (len(got) - 60)))
    equal(got[60:], [57, 58, 59], "read by one that was cancelled while it subscribed")
    await publish(broker, channel, "end")
    equal(plain(await take(early, 1)), ["end"], "read next")
    early.close()


async def counted(bench: Bench) -> None:
    """`Broker.stats` counts what was published, delivered and recovered."""
    broker, channel = await bench.broker(), bench.channel()
    listeners = [Collector() for _ in range(4)]
    places = [await broker.attach(listener, channel) for listener in listeners[:3]]
    ids = await publish(broker, channel, 1, 2)
    for listener in listeners[:3]:
        await listener.until(2)
    places.append(await broker.attach(listeners[3], channel, ids[0]))
    stats = broker.stats
    equal((stats.published, stats.delivered, stats.recovered), (2, 6, 1), "published, delivered, recovered")
    equal((stats.gaps, stats.dropped, stats.closed), (0, 0, 0), "gaps, dropped, closed")
    for place in places:
        place.detach()


#: In this order.
CHECKS = [
    slow_loses_the_oldest,
    slow_is_closed,
    recovered_is_no_backlog,
    presence_of_members,
    closed_brokers_are_absent,
    closing,
    churn,
    cancelled_readers,
    counted,
]
