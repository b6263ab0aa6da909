"""Checks of publishing, data, channels and delivery; each is a function whose docstring says what is demanded."""

import asyncio
import itertools
import logging
from typing import Any

from webfw.pubsub.messages import Gap, Message
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
    short,
    take,
    until,
)

# --- publishing and data ---


async def ids_and_order(bench: Bench) -> None:
    """`publish` gives a unique id; subscribers get messages in order, with it."""
    broker, channel = await bench.broker(), bench.channel()
    async with broker.subscribe(channel) as events:
        ids = await publish(broker, channel, *range(20))
        got = await take(events, 20)
    expect(all(isinstance(id, str) and id for id in ids), f"ids must be str with content: {short(ids)}")
    equal(len(set(ids)), 20, "different ids of 20 messages")
    equal(got, [Message(channel, id, n) for n, id in enumerate(ids)], "what was delivered")
    equal(events.position, ids[-1], "Subscription.position after reading")


KINDS: list[Any] = [
    b"",
    bytes(range(256)) * 3,
    "",
    "text",
    "\x00 \n \u2028 h\u00e9 \u4e2d \U0001f600 \ufffe \U0010ffff",
    "x" * 100_000,
    None,
    True,
    False,
    0,
    -(2**63) - 1,
    10**40,
    0.1,
    -0.0,
    1e300,
    [],
    {},
    [1, [2, [3, None]], "b", 2.5],
    {"": {"a b": [True, {"\u4e2d\U0001f600\x00": "\x7f"}]}, "data": "b"},
    "bsj",
    '{"json": "as text"}',
]


async def data_kinds(bench: Bench) -> None:
    """bytes, str and JSON values arrive as they were sent, live and out of the history."""
    first, second = await bench.pair()
    channel = bench.channel()
    async with second.subscribe(channel) as events:
        await publish(first, channel, *KINDS)
        live = plain(await take(events, len(KINDS)))
    kept = plain((await second.history(channel)).messages)
    for way, got in (("live", live), ("out of the history", kept)):
        equal(len(got), len(KINDS), f"messages {way}")
        for one, wanted in zip(got, KINDS, strict=True):
            equal(one, wanted, f"data {way}")
            equal(repr(one), repr(wanted), f"data {way}")


async def data_made_plain(bench: Bench) -> None:
    """Tuples come as lists, keys as str, other byte-like objects as bytes."""
    broker, channel = await bench.broker(), bench.channel()
    sent: list[tuple[Any, Any]] = [
        ((1, (2, "x")), [1, [2, "x"]]),
        ({1: "a", None: (), False: 2}, {"1": "a", "null": [], "false": 2}),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"abcdef")[::2], b"ace"),
    ]
    async with broker.subscribe(channel) as events:
        await publish(broker, channel, *(data for data, _ in sent))
        for event, (_, wanted) in zip(await take(events, len(sent)), sent, strict=True):
            equal(plain([event])[0], wanted, "data")


async def refused_data(bench: Bench) -> None:
    """What is no message raises TypeError or ValueError at the publisher and is not published."""
    broker, channel = await bench.broker(), bench.channel()
    endless: list[Any] = []
    endless.append(endless)
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    surrogate = "\ud800"  # UTF-8 has no bytes for half a character
    async with broker.subscribe(channel) as events:
        for data in (object(), {1, 2}, [b"bytes in JSON"], {(1, 2): 3}, 1j, publish):
            await refuses(TypeError, lambda data=data: broker.publish(channel, data), f"{short(data)}")  # type: ignore[misc]
        for data, what in (
            (float("nan"), "NaN"),
            ([float("inf")], "infinity"),
            (endless, "a list in itself"),
            (deep, "100,000 lists in each other"),
            (surrogate, "half a surrogate pair"),
            ({"a": [surrogate]}, "half a surrogate pair in JSON"),
            ({surrogate: 1}, "half a surrogate pair as a key"),
        ):
            await refuses(ValueError, lambda data=data: broker.publish(channel, data), what)  # type: ignore[misc]
        await broker.publish(channel, "end")
        equal(plain(await take(events, 1)), ["end"], "delivered after messages that were refused")
    equal(plain((await broker.history(channel)).messages), ["end"], "kept")


async def data_is_isolated(bench: Bench) -> None:
    """What the publisher does with its object afterwards changes no message."""
    broker, channel = await bench.broker(), bench.channel()
    inner: list[Any] = [1]
    raw = bytearray(b"abc")
    async with broker.subscribe(channel) as events:
        await publish(broker, channel, {"list": inner}, raw)
        inner.append("changed")
        raw[0] = 0
        equal(plain(await take(events, 2)), [{"list": [1]}, b"abc"], "data")
    equal(plain((await broker.history(channel)).messages), [{"list": [1]}, b"abc"], "history")


async def many_subscribers(bench: Bench) -> None:
    """All subscribers of a channel get the same messages."""
    first, second = await bench.pair()
    channel = bench.channel()
    readers = [await broker.subscribe(channel) for broker in (first, second) for _ in range(15)]
    await publish(first, channel, "a", "b", "c")
    got = [await take(reader, 3) for reader in readers]
    expect(all(one == got[0] for one in got), f"not all got the same: {short(got)}")
    equal(plain(got[0]), ["a", "b", "c"], "what they got")


# --- channels ---


async def channels_do_not_mix(bench: Bench) -> None:
    """A channel's name may hold anything but control characters; each is a channel of its own."""
    broker, base = await bench.broker(), bench.channel()
    ends = [
        "",
        " ",
        "  ",
        ".",
        "..",
        ".*",
        ".>",
        ".x",
        ".X",
        ".x.y",
        ":x",
        "/x",
        "*",
        ">",
        "?",
        "[x]",
        "{x}",
        "$x",
    ]
    ends += [
        "%2Fx",
        "%",
        "\\",
        '"',
        "'",
        "#",
        "&a=b",
        "+",
        "\u00e9",
        "e\u0301",
        "\u4e2d",
        "\U0001f600",
        "_",
        "-",
        "=",
    ]
    names = [base + end for end in ends]
    names += [base.ljust(199, "x") + last for last in "ab"]
    names += [base + "x" * (198 - len(base)) + last for last in ("\u00e9", "\u00e8")]
    readers = [await broker.subscribe(name, member=name) for name in names]
    for n, name in enumerate(names):
        await publish(broker, name, n, "end")
    for n, (name, reader) in enumerate(zip(names, readers, strict=True)):
        got = await until(reader, "end")
        equal(plain(got), [n, "end"], f"delivered on {name!r}")
        equal([event.channel for event in got], [name, name], "the channel's name")
        equal(plain((await broker.history(name)).messages), [n, "end"], f"the history of {name!r}")
        equal(await broker.presence(name), {name: 1}, f"present on {name!r}")


async def bad_channels(bench: Bench) -> None:
    """What cannot name a channel raises ValueError, and TypeError if it is no str."""
    broker = await bench.broker()
    texts = ["", "a\x00", "\n", "a\x1fb", "a\x7f", "a\x85", "\ud800", "x" * 201, "\u00e9" * 101]
    cases: list[tuple[Any, Any]] = [(text, ValueError) for text in texts]
    cases += [(other, TypeError) for other in (None, 5, b"bytes", ["a"])]
    for name, kind in cases:
        for what, call in (
            ("publish", lambda name=name: broker.publish(name, "x")),
            ("subscribe", lambda name=name: broker.subscribe(name)),
            ("attach", lambda name=name: broker.attach(Collector(), name)),
            ("history", lambda name=name: broker.history(name)),
            ("presence", lambda name=name: broker.presence(name)),
        ):
            await refuses(kind, call, f"{what} with {short(name)}")


# --- delivery ---


async def nothing_from_before(bench: Bench) -> None:
    """Who subscribes without ``since`` gets what is published from then on."""
    broker, channel = await bench.broker(), bench.channel()
    await publish(broker, channel, "old")
    async with broker.subscribe(channel) as first:
        await publish(broker, channel, "new")
        equal(plain(await take(first, 1)), ["new"], "the first to subscribe got")
        async with broker.subscribe(channel) as second:
            await publish(broker, channel, "newer")
            equal(plain(await take(second, 1)), ["newer"], "the second to subscribe got")
            equal(plain(await take(first, 1)), ["newer"], "the first got next")


async def ways_to_subscribe(bench: Bench) -> None:
    """``async with``, ``await`` and plain iteration all listen; ``close`` ends each, also for a reader that waits."""
    broker, channel = await bench.broker(start=False), bench.channel()  # and starts when it is first used
    lazy = broker.subscribe(channel)
    reading = asyncio.ensure_future(anext(lazy))
    awaited = await broker.subscribe(channel)
    expect(awaited.position is not None, "Subscription.position must be known from the start")
    for _ in range(1000):  # the lazy one listens at some time after its first read has begun
        await broker.publish(channel, "x")
        if (await asyncio.wait([reading], timeout=0.01))[0]:
            break
    equal(plain([await reading]), ["x"], "what plain iteration gave")
    equal(plain(await take(awaited, 1)), ["x"], "what await gave")
    awaited.close()
    awaited.close()
    await refuses(StopAsyncIteration, lambda: anext(awaited), "reading after close")
    async with broker.subscribe(channel) as inside:
        waiting = asyncio.ensure_future(drain(inside))
        await asyncio.sleep(0)
    reader = "a waiting reader whose subscription is closed"
    equal(await finished(waiting, reader), [], reader)
    lazy.close()
    never = broker.subscribe(channel)
    never.close()
    equal(await drain(never), [], "a subscription closed before it listened")


async def detaching_stops(bench: Bench) -> None:
    """After `detach` nothing is delivered; twice does no harm."""
    broker, channel = await bench.broker(), bench.channel()
    gone, here = Collector(), Collector()
    place = await broker.attach(gone, channel, member="gone")
    stays = await broker.attach(here, channel)
    await broker.publish(channel, 1)
    await here.until(1)
    place.detach()
    place.detach()
    await broker.publish(channel, 2)
    await here.until(2)
    equal(gone.data, [1], "what the detached listener got")
    stays.detach()
    stays = await broker.attach(here, channel)
    await broker.publish(channel, 3)
    await here.until(3)
    equal(here.data, [1, 2, 3], "what the other got, which came back")
    stays.detach()


class _DeliberateError(Exception):
    pass


class _Raiser(Collector):
    def deliver(self, event: Message | Gap) -> None:
        super().deliver(event)
        raise _DeliberateError("a listener of the conformance suite fails: this belongs to the check")


async def failing_listener(bench: Bench) -> None:
    """A listener that raises keeps nothing from the others, nor from itself later on."""

    def quiet(record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], _DeliberateError))

    logger = logging.getLogger("webfw.application")
    logger.addFilter(quiet)
    try:
        broker, channel = await bench.broker(), bench.channel()
        ids = await publish(broker, channel, 1)
        raiser, after = _Raiser(), Collector()
        places = [
            await broker.attach(raiser, channel, last=1),
            await broker.attach(after, channel, ids[0]),
        ]
        await publish(broker, channel, 2, 3)
        await after.until(3)
        equal(after.data, [2, 3], "what came after a listener that raises")
        equal(raiser.data, [1, 2, 3], "what a listener that raises was given")
        for place in places:
            place.detach()
    finally:
        logger.removeFilter(quiet)


async def one_order_for_all(bench: Bench) -> None:
    """Messages of several publishers have unique ids and come to all subscribers of all brokers in one order."""
    brokers = await bench.pair()
    channel = bench.channel()
    readers = [await broker.subscribe(channel) for broker in (*brokers, *brokers)]
    writers = [
        publish(broker, channel, *([name, n] for n in range(40)))
        for name, broker in zip("abcd", (*brokers, *brokers), strict=True)
    ]
    ids = list(itertools.chain(*await asyncio.gather(*writers)))
    got = [await take(reader, 160) for reader in readers]
    equal(len(set(ids)), 160, "different ids of 160 messages")
    expect(all(one == got[0] for one in got), "subscribers saw different orders")
    equal(
        sorted(event.id for event in got[0] if isinstance(event, Message)), sorted(ids), "the ids that came"
    )
    for name in "abcd":
        equal(
            [n for who, n in plain(got[0]) if who == name], list(range(40)), f"the order of publisher {name}"
        )
    kept = (await brokers[1].history(channel)).messages
    equal(kept, got[0], "the history, beside what was delivered")


async def across_brokers(bench: Bench) -> None:
    """Two brokers on one engine see each other's messages, history, ids and members."""
    first, second = await bench.pair()
    channel = bench.channel()
    async with first.subscribe(channel, member="a") as one, second.subscribe(channel, member="b") as two:
        ids = await publish(first, channel, 1) + await publish(second, channel, 2)
        wanted = [Message(channel, id, n) for n, id in enumerate(ids, 1)]
        equal(await take(one, 2), wanted, "the first broker's subscriber got")
        equal(await take(two, 2), wanted, "the second broker's subscriber got")
        for broker in (first, second):
            await becomes(lambda broker=broker: broker.presence(channel), {"a": 1, "b": 1}, "present")  # type: ignore[misc]
            equal((await broker.history(channel)).messages, wanted, "the history")
            equal((await broker.history(channel, ids[0])).messages, wanted[1:], "the history since an id")


#: In this order.
CHECKS = [
    ids_and_order,
    data_kinds,
    data_made_plain,
    refused_data,
    data_is_isolated,
    many_subscribers,
    channels_do_not_mix,
    bad_channels,
    nothing_from_before,
    ways_to_subscribe,
    detaching_stops,
    failing_listener,
    one_order_for_all,
    across_brokers,
]
