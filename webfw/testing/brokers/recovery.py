"""Checks of recovery and history; each is a function whose docstring says what is demanded."""

import asyncio
import itertools
from typing import Any

from webfw.pubsub.messages import Gap, Message
from webfw.testing.brokers.bench import (
    Bench,
    Collector,
    becomes,
    equal,
    expect,
    plain,
    publish,
    refuses,
    short,
    take,
    until,
)

# --- recovery ---


async def recovers_what_was_missed(bench: Bench) -> None:
    """``since`` gives what came after that id, once and in order, and then goes on."""
    first, second = await bench.pair()
    for k in (0, 4, 8):
        channel = bench.channel()
        ids = await publish(first, channel, *range(10))
        async with second.subscribe(channel, since=ids[k]) as events:
            equal(plain(await take(events, 9 - k)), list(range(k + 1, 10)), f"recovered since message {k}")
            ids += await publish(first, channel, "then")
            equal(plain(await take(events, 1)), ["then"], "what came next")
            equal(events.position, ids[10], "Subscription.position")
        equal((await first.history(channel)).position, ids[10], "History.position")
        await publish(first, channel, "between")
        async with first.subscribe(channel, since=ids[10]) as events:
            equal(plain(await take(events, 1)), ["between"], "recovered since the last position")


async def recovered_before_newer(bench: Bench) -> None:
    """What is recovered has been delivered when `attach` returns; its position is where deliveries went on."""
    broker, channel = await bench.broker(), bench.channel()
    ids = await publish(broker, channel, *range(5))
    listener = Collector()
    place = await broker.attach(listener, channel, ids[1])
    equal(listener.data[:3], [2, 3, 4], "delivered when attach returns")
    equal(place.position, ids[4], "Attachment.position")
    await broker.publish(channel, 5)
    await listener.until(5)
    equal(listener.data, [2, 3, 4, 5], "all that came")
    place.detach()


async def since_the_newest(bench: Bench) -> None:
    """``since`` the newest id, or a channel's position, gives nothing old and no gap."""
    broker, channel = await bench.broker(), bench.channel()
    ids = await publish(broker, channel, 1, 2, 3)
    async with broker.subscribe(channel, since=ids[-1]) as events:
        await broker.publish(channel, "end")
        equal(plain(await take(events, 1)), ["end"], "since the newest id")
    position = (await broker.history(channel)).position
    async with broker.subscribe(channel, since=position) as events:
        await broker.publish(channel, "again")
        equal(plain(await take(events, 1)), ["again"], "since History.position")
    async with broker.subscribe(channel) as events:
        position = events.position or ""
    await broker.publish(channel, "and again")
    async with broker.subscribe(channel, since=position) as events:
        equal(plain(await take(events, 1)), ["and again"], "since Subscription.position")


async def since_an_empty_channel(bench: Bench) -> None:
    """The position of a channel where nothing was ever published stands before its first message."""
    broker, other = await bench.pair()
    for ask in ("history", "subscribe"):
        channel, elsewhere = bench.channel(), bench.channel()
        await publish(broker, elsewhere, "not here")
        if ask == "history":
            past = await broker.history(channel)
            equal((past.messages, past.complete), ([], True), "the history of an empty channel")
            position = past.position
        else:
            subscription = await broker.subscribe(channel)
            position = subscription.position or ""
            subscription.close()
        expect(isinstance(position, str) and position, f"the position must be a str: {position!r}")
        await publish(other, elsewhere, "nor here")
        await publish(other, channel, 1, 2, 3)
        async with other.subscribe(channel, since=position) as events:
            await broker.publish(channel, "end")
            equal(plain(await until(events, "end")), [1, 2, 3, "end"], f"since the position that {ask} gave")


FOREIGN = [
    "",
    " ",
    "garbage",
    "9" * 40,
    f"{'9' * 18}-{'9' * 18}",
    "-",
    "\u2603",
    "\x00",
    "\ud800",
    "x" * 10_000,
    "0000-1",
    "\u0661-\u0661",
]


async def since_an_unknown_id(bench: Bench) -> None:
    """An id that the broker has never given is answered with a `Gap`, whatever it looks like."""
    broker, channel = await bench.broker(), bench.channel()
    await publish(broker, channel, "kept")
    for since in FOREIGN:
        past = await broker.history(channel, since)
        expect(not past.complete, f"the history since {short(since)} must not say that it is complete")
        async with broker.subscribe(channel, since=since) as events:
            await broker.publish(channel, "end")
            first = (await take(events, 1))[0]
            equal(first, Gap(channel, "history"), f"the first event since {short(since)}")
            await until(events, "end")
            expect(broker.stats.gaps, "stats.gaps must count")
    empty = bench.channel()
    async with broker.subscribe(empty, since="garbage") as events:
        equal(await take(events, 1), [Gap(empty, "history")], "since garbage on an empty channel")
        await broker.publish(empty, 1)
        equal(plain(await take(events, 1)), [1], "after the gap")


async def recovery_while_publishing(bench: Bench) -> None:
    """Readers that come and go, from broker to broker, miss nothing and get nothing twice while messages flow."""
    brokers = await bench.pair()
    channel, count = bench.channel(), 300
    start = (await brokers[0].history(channel)).position

    async def write() -> None:
        for n in range(count):
            await brokers[n % 2].publish(channel, n)
            if n % 7 == 0:
                await asyncio.sleep(0)

    async def read(reader: int) -> list[Any]:
        got: list[Any] = []
        position: str | None = start
        for turn in itertools.count(reader):
            async with brokers[turn % 2].subscribe(channel, since=position) as events:
                got += plain(await take(events, min(1 + (turn * 5 + reader) % 13, count - len(got))))
                position = events.position
            if len(got) >= count or got != list(range(len(got))):
                break
        return got

    writing = asyncio.ensure_future(write())
    try:
        for got in await asyncio.gather(*(read(reader) for reader in range(8))):
            equal(got, list(range(count)), "what one reader got")
    finally:
        await writing


# --- history ---


async def history_has_a_size(bench: Bench) -> None:
    """A channel remembers its newest ``history_size`` messages; what is older is a gap."""
    broker, channel = await bench.broker(history_size=5), bench.channel()
    ids = await publish(broker, channel, *range(12))
    past = await broker.history(channel)
    equal((plain(past.messages), past.complete), ([7, 8, 9, 10, 11], True), "the history")
    equal(past.position, ids[11], "History.position")
    for k in (0, 5):
        past = await broker.history(channel, ids[k])
        equal((plain(past.messages), past.complete), ([7, 8, 9, 10, 11], False), f"history since message {k}")
        async with broker.subscribe(channel, since=ids[k]) as events:
            gap, *rest = await take(events, 6)
            equal(gap, Gap(channel, "history"), f"the first event since message {k}")
            equal(plain(rest), [7, 8, 9, 10, 11], "what follows the gap")
    for k in (7, 10, 11):
        past = await broker.history(channel, ids[k])
        equal((plain(past.messages), past.complete), (list(range(k + 1, 12)), True), f"since message {k}")
    other = bench.channel()
    await publish(broker, other, *range(12))
    past = await broker.history(channel, ids[7])
    equal(plain(past.messages), [8, 9, 10, 11], "the history after another channel was busy")
    expect(past.complete, "the history of a channel must not suffer from another one")


async def history_has_an_age(bench: Bench) -> None:
    """A channel forgets messages that are older than ``history_age``."""
    broker, channel = await bench.broker(history_age=0.4), bench.channel()
    before = (await broker.history(channel)).position
    await publish(broker, channel, 1, 2)

    async def kept() -> list[Any]:
        return plain((await broker.history(channel)).messages)

    await becomes(kept, [], "the history, after its age")
    past = await broker.history(channel, before)
    expect(not past.complete, "messages that were too old must be told as missing")
    async with broker.subscribe(channel, since=before) as events:
        equal(await take(events, 1), [Gap(channel, "history")], "the first event")
        await broker.publish(channel, 3)
        equal(plain(await take(events, 1)), [3], "after the gap")


async def no_history(bench: Bench) -> None:
    """With ``history_size=0`` messages are delivered, none is kept, and whoever comes back may have missed some."""
    broker, channel = await bench.broker(history_size=0), bench.channel()
    async with broker.subscribe(channel) as events:
        ids = await publish(broker, channel, 1, 2, 3)
        equal([event.id for event in await take(events, 3) if isinstance(event, Message)], ids, "delivered")
    equal((await broker.history(channel)).messages, [], "kept")
    async with broker.subscribe(channel, since=ids[0]) as events:
        equal(await take(events, 1), [Gap(channel, "history")], "the first event")
        await broker.publish(channel, 4)
        equal(plain(await take(events, 1)), [4], "after the gap")
    async with broker.subscribe(channel, last=5) as events:
        await broker.publish(channel, 5)
        equal(plain(await take(events, 1)), [5], "the first event with last=5")


async def last_messages(bench: Bench) -> None:
    """``last=n`` begins with the newest n of the history."""
    broker = await bench.broker()
    for last, wanted in ((0, []), (1, [5]), (3, [3, 4, 5]), (6, list(range(6))), (100, list(range(6)))):
        channel = bench.channel()
        await publish(broker, channel, *range(6))
        async with broker.subscribe(channel, last=last) as events:
            await broker.publish(channel, "end")
            equal(plain(await until(events, "end")), [*wanted, "end"], f"with last={last}")
    await refuses(ValueError, lambda: broker.attach(Collector(), bench.channel(), last=-1), "last=-1")


async def history_limits(bench: Bench) -> None:
    """``history(since, limit)`` gives the newest ``limit``; ``complete`` tells of ``since``."""
    broker, channel = await bench.broker(), bench.channel()
    ids = await publish(broker, channel, *range(6))
    for since, limit, wanted in (
        (None, None, list(range(6))),
        (None, 2, [4, 5]),
        (None, 0, []),
        (None, 100, list(range(6))),
        (ids[1], None, [2, 3, 4, 5]),
        (ids[1], 2, [4, 5]),
        (ids[1], 0, []),
        (ids[5], 3, []),
    ):
        past = await broker.history(channel, since, limit)
        equal(plain(past.messages), wanted, f"history(since={since}, limit={limit})")
        expect(past.complete, f"history(since={since}, limit={limit}) must be complete")
        equal(past.position, ids[5], "History.position")
    await refuses(ValueError, lambda: broker.history(channel, limit=-1), "limit=-1")


#: In this order.
CHECKS = [
    recovers_what_was_missed,
    recovered_before_newer,
    since_the_newest,
    since_an_empty_channel,
    since_an_unknown_id,
    recovery_while_publishing,
    history_has_a_size,
    history_has_an_age,
    no_history,
    last_messages,
    history_limits,
]
