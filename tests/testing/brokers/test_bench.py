"""The tools of the checks: patience ends, and complaints say what was wrong."""

import asyncio
from typing import Any

import pytest

from webfw.pubsub import Gap, MemoryBroker, Message
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


def test_equal_looks_at_the_type_as_well() -> None:
    equal([1], [1], "it")
    for got, wanted in ((1, True), (1, 1.0), ((1,), [1]), (1, 2)):
        with pytest.raises(AssertionError, match="^it: .* and not"):
            equal(got, wanted, "it")
    expect(True, "unseen")
    with pytest.raises(AssertionError, match="^seen$"):
        expect([], "seen")


def test_complaints_are_short() -> None:
    assert short("x" * 300) == repr("x" * 300)
    assert len(short("x" * 10_000)) < 450


async def test_reading_has_an_end(impatient: None) -> None:
    async with MemoryBroker() as broker:
        subscription = await broker.subscribe("a")
        await publish(broker, "a", 1, 2)
        with pytest.raises(AssertionError, match=r"3 events were expected within 0.4 s; there came \[1, 2\]"):
            await take(subscription, 3)
        await publish(broker, "a", 3, 4)
        assert plain(await until(subscription, 4)) == [3, 4]
        await publish(broker, "a", 5)
        with pytest.raises(AssertionError, match=r"before that \[5\]"):
            await until(subscription, 6)
        await publish(broker, "a", 7)
    with pytest.raises(AssertionError, match=r"has ended after \[7\]"):
        await take(subscription, 2)
    assert await drain(subscription) == []


async def test_collector(impatient: None) -> None:
    collector = Collector()
    asyncio.get_running_loop().call_soon(collector.deliver, Message("a", "1", "x"))
    collector.deliver(Gap("a", "history"))
    await collector.until("x")
    assert collector.data == [Gap("a", "history"), "x"]
    with pytest.raises(AssertionError, match="'y' has not come, only"):
        await collector.until("y")
    collector.broker_closed()
    assert collector.closed == 1


async def test_refuses() -> None:
    async def fails(error: Exception | None) -> str:
        if error is not None:
            raise error
        return "a result"

    await refuses(ValueError, lambda: fails(ValueError()), "it")
    await refuses(ValueError, lambda: int("x"), "it")
    with pytest.raises(AssertionError, match=r"it raised KeyError\('k'\)"):
        await refuses(ValueError, lambda: fails(KeyError("k")), "it")
    with pytest.raises(AssertionError, match="it gave 'a result'"):
        await refuses(ValueError, lambda: fails(None), "it")


async def test_becomes_and_finished(impatient: None) -> None:
    answers = iter([1, 2, 3])

    async def ask() -> Any:
        return next(answers, 4)

    await becomes(ask, 3, "it")
    with pytest.raises(AssertionError, match="it: 4, and not 5"):
        await becomes(ask, 5, "it")
    assert await finished(asyncio.ensure_future(ask()), "it") == 4
    with pytest.raises(AssertionError, match="it has not ended"):
        await finished(asyncio.ensure_future(asyncio.Event().wait()), "it")  # type: ignore[arg-type]


async def test_bench_makes_and_closes() -> None:
    bench = Bench(MemoryBroker, shared=False)
    one, other = await bench.pair(history_size=3)
    assert one is other
    assert one.history_size == 3
    assert bench.channel() != bench.channel()
    shared = Bench(MemoryBroker, shared=True)
    pair = await shared.pair()
    assert pair[0] is not pair[1]
    await bench.close()
    await shared.close()
    assert all(broker._closed for broker in (one, *pair))  # type: ignore[attr-defined]
