"""The broker on Redis, against a real server that is killed, stopped, flushed and cut off."""

import asyncio
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from tests.pubsub.proxy import Proxy
from webfw.pubsub import BrokerClosed, BrokerUnavailable, Gap, Message, connect
from webfw.pubsub.redis import RedisBroker
from webfw.testing.brokers import check_broker

pytestmark = pytest.mark.needs("redis-server")

LOST = ("webfw.general", "connection lost")


@asynccontextmanager
async def client(url: str) -> AsyncIterator[redis.asyncio.Redis]:
    """Redis as an operator sees it."""
    made = redis.asyncio.Redis.from_url(url)
    try:
        yield made
    finally:
        await made.aclose()


async def take(events: Any, count: int) -> list[Any]:
    async with asyncio.timeout(20):
        got = [await anext(events) for _ in range(count)]
    return [event.data if isinstance(event, Message) else event for event in got]


async def publish_until_done(broker: RedisBroker, channel: str, data: Any) -> str:
    """Publish, again and again while the server is away."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await broker.publish(channel, data)
            except BrokerUnavailable:
                await asyncio.sleep(0.01)


async def until_away(call: Callable[[], Any]) -> None:
    """Call until it is noticed that the server is away: the first call may still believe in the connection."""
    async with asyncio.timeout(20):
        while True:
            try:
                await call()
            except BrokerUnavailable:
                return


async def back(broker: RedisBroker) -> None:
    """Wait until a broker listens again."""
    async with asyncio.timeout(20):
        while True:
            try:
                async with broker.subscribe("somewhere else"):
                    return
            except BrokerUnavailable:
                await asyncio.sleep(0.01)


# --- the contract ---


@pytest.mark.slow
async def test_conforms(redis_server: Callable[..., Any]) -> None:
    server = redis_server()
    await check_broker(lambda **options: RedisBroker(server.url, **options))


async def test_publishes_and_delivers_across_brokers(redis_server: Callable[..., Any]) -> None:
    server = redis_server()
    async with RedisBroker(server.url) as one, connect(server.url) as two:
        async with one.subscribe("news") as here, two.subscribe("news") as there:
            ids = [
                await broker.publish("news", data) for broker, data in ((one, b"\x00\n"), (two, {"a": "ü"}))
            ]
            ids += await asyncio.gather(*(one.publish("news", n) for n in range(50)))
            wanted = [b"\x00\n", {"a": "ü"}, *range(50)]
            assert await take(here, 52) == wanted
            assert await take(there, 52) == wanted
        assert ids == sorted(set(ids))
        history = await two.history("news")
        assert [message.id for message in history.messages] == ids
        assert [message.data for message in history.messages] == wanted
        assert history.position == ids[-1]


async def test_what_is_published_at_once_shares_calls(redis_server: Callable[..., Any]) -> None:
    server = redis_server()
    async with RedisBroker(server.url) as broker, client(server.url) as operator:
        await broker.publish("a", 0)
        before = (await operator.info("commandstats"))["cmdstat_evalsha"]["calls"]
        ids = await asyncio.gather(*(broker.publish(f"c{n % 7}", n) for n in range(1200)))
        calls = (await operator.info("commandstats"))["cmdstat_evalsha"]["calls"] - before
        assert calls == 3  # of 500 at most
        assert len(set(ids)) > 7
        assert [m.data for m in (await broker.history("c3")).messages] == list(range(3, 1200, 7))


async def test_databases_and_prefixes_do_not_see_each_other(redis_server: Callable[..., Any]) -> None:
    server = redis_server()
    brokers = [
        RedisBroker(server.url),
        RedisBroker(server.url + "/1"),
        RedisBroker(server.url, prefix="other"),
    ]
    readers = [await broker.subscribe("a", member="m") for broker in brokers]
    for n, broker in enumerate(brokers):
        await broker.publish("a", n)
    for n, reader in enumerate(readers):
        assert await take(reader, 1) == [n]
        assert await brokers[n].presence("a") == {"m": 1}
        await brokers[n].close()
        with pytest.raises(StopAsyncIteration):
            await anext(reader)


async def test_unix_socket_and_password(redis_server: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "s"
    server = redis_server("--requirepass", "pass word", "--unixsocket", str(path))
    for url in (server.url.replace("//", "//:pass%20word@"), f"unix:{path}?password=pass%20word"):
        async with connect(url) as broker, broker.subscribe("a") as events:
            await broker.publish("a", url)
            assert await take(events, 1) == [url]


async def test_a_thousand_channels(redis_server: Callable[..., Any]) -> None:
    server = redis_server()
    async with RedisBroker(server.url) as broker:
        names = [f"room {n}" for n in range(1000)]
        readers = await asyncio.gather(*(broker.subscribe(name) for name in names))
        await asyncio.gather(*(broker.publish(name, name) for name in names))
        for name, reader in zip(names, readers, strict=True):
            assert await take(reader, 1) == [name]
        async with client(server.url) as operator:
            assert (await operator.info("clients"))["connected_clients"] < 12


# --- what is missing is told ---


async def test_history_reaches_exactly_as_far_as_it_says(redis_server: Callable[..., Any]) -> None:
    server = redis_server()
    async with RedisBroker(server.url, history_size=3) as broker:
        start = (await broker.subscribe("a")).position
        ids = [await broker.publish("a", n) for n in range(5)]
        for since, complete in zip([start, *ids], [False, False, True, True, True, True], strict=True):
            history = await broker.history("a", since)
            assert history.complete is complete, since
        assert [m.data for m in (await broker.history("a", start)).messages] == [2, 3, 4]
        assert [m.data for m in (await broker.history("a", ids[1], limit=1)).messages] == [4]
        assert (await broker.history("a", ids[1], limit=0)).complete
        assert (await broker.history("a", limit=2)).messages[0].data == 3
        async with broker.subscribe("a", since=ids[0]) as events:
            assert await take(events, 4) == [Gap("a", "history"), 2, 3, 4]


@pytest.mark.parametrize("options", [{"history_size": 0}, {"history_age": 0.0}])
async def test_without_history_the_position_still_tells(
    redis_server: Callable[..., Any], options: dict[str, Any]
) -> None:
    server = redis_server()
    async with RedisBroker(server.url, **options) as broker, broker.subscribe("a") as events:
        first = await broker.publish("a", 1)
        assert (await broker.history("a", first)).complete
        last = await broker.publish("a", 2)
        assert await take(events, 2) == [1, 2]
        assert not (await broker.history("a", first)).complete
        assert (await broker.history("a", last)).complete


async def test_messages_grow_old(redis_server: Callable[..., Any]) -> None:
    server = redis_server()
    async with RedisBroker(server.url, history_age=0.3) as broker, client(server.url) as operator:
        first = await broker.publish("a", 1)
        async with asyncio.timeout(10):
            while await operator.exists("webfw:log:a"):
                await asyncio.sleep(0.02)
        assert (await broker.history("a")).messages == []
        assert (await broker.history("a", first)).complete  # nothing came after it
        second = await broker.publish("a", 2)
        history = await broker.history("a", first)
        assert history.complete
        assert [m.id for m in history.messages] == [second]


@pytest.mark.parametrize(
    "since", ["", "x", "0-0", "00000000-0000000000000-00000", "é" * 28, "a" * 8 + "-9999999999999-99999"]
)
async def test_ids_of_others_are_a_gap(redis_server: Callable[..., Any], since: str) -> None:
    server = redis_server()
    async with RedisBroker(server.url) as broker:
        last = await broker.publish("a", 1)
        for id in (since, last[:9] + "9999999999999-99999"):
            history = await broker.history("a", id)
            assert not history.complete
            async with broker.subscribe("a", since=id) as events:
                assert await take(events, 1) == [Gap("a", "history")]


@pytest.mark.parametrize("key", ["last", "log", "both", "one"])
async def test_what_an_operator_takes_away_is_a_gap(redis_server: Callable[..., Any], key: str) -> None:
    server = redis_server()
    async with RedisBroker(server.url) as broker, client(server.url) as operator:
        async with broker.subscribe("a") as events:
            ids = [await broker.publish("a", n) for n in range(4)]
            if key == "one":
                await operator.xdel("webfw:log:a", ids[2][9:])
            else:
                await operator.delete(
                    *(f"webfw:{name}:a" for name in ("last", "log") if key in (name, "both"))
                )
            await broker.publish("a", 4)
            assert await take(events, 5) == [0, 1, 2, 3, 4]  # who was there has missed nothing
        assert not (await broker.history("a", ids[0])).complete
        async with broker.subscribe("a", since=ids[0]) as events:
            got = await take(events, 2)
            assert got[0] == Gap("a", "history")
        if key != "last" and key != "both":
            assert (await broker.history("a", ids[3])).complete


async def test_flushall_while_running(redis_server: Callable[..., Any]) -> None:
    server = redis_server()
    async with (
        RedisBroker(server.url) as broker,
        client(server.url) as operator,
        broker.subscribe("a", member="me") as events,
    ):
        seen = await broker.publish("a", 1)
        await operator.flushall()
        assert await broker.presence("a") == {}
        await broker.publish("a", 2)
        await broker.publish("a", 3)
        assert await take(events, 3) == [1, 2, 3]
        async with broker.subscribe("a", since=seen, member="me") as other:
            assert await take(other, 3) == [Gap("a", "history"), 2, 3]
            assert await broker.presence("a") == {"me": 2}  # all is told again, not the difference


async def test_a_clock_that_goes_back(redis_server: Callable[..., Any]) -> None:
    """Ids go on from the newest, whatever the time."""
    server = redis_server()
    async with RedisBroker(server.url) as broker, client(server.url) as operator:
        ahead = f"abcdef01-{int(time.time() * 1000) + 5000:013d}-99999"
        await operator.set("webfw:last:a", ahead)
        async with broker.subscribe("a", since=ahead) as events:
            ids = [await broker.publish("a", n) for n in range(3)]
            assert ids == sorted(ids)
            assert ids[0] > ahead
            assert await take(events, 3) == [0, 1, 2]
        assert (await broker.history("a", ahead)).complete


async def test_noise_on_the_channel_is_ignored(
    redis_server: Callable[..., Any], expect_log: Callable[..., Any]
) -> None:
    server = redis_server()
    async with (
        RedisBroker(server.url) as broker,
        client(server.url) as operator,
        broker.subscribe("a") as events,
    ):
        with expect_log("webfw.general", "no message", level=20):
            for noise in (
                b"",
                b"\n",
                b"x",
                b"\xff 1 2\n",
                b"a b c d\n",
                b"abcdef01-0000000000000-00000 x 1\nx",
            ):
                await operator.publish("webfw:0:live:a", noise)
            await broker.publish("a", 1)
            assert await take(events, 1) == [1]


# --- presence ---


async def test_members_of_a_process_that_has_died_vanish(
    redis_server: Callable[..., Any], expect_log: Callable[..., Any]
) -> None:
    server = redis_server()
    async with (
        RedisBroker(server.url, presence_ttl=0.6) as alive,
        Proxy(server.url) as proxy,
        RedisBroker(proxy.url, presence_ttl=0.6, timeout=0.5) as dying,
    ):
        await dying.subscribe("a", member="\udc80x")
        await dying.subscribe("a", member="y")
        async with alive.subscribe("a", member="y"):
            assert await alive.presence("a") == {"\udc80x": 1, "y": 2}
            with expect_log(*LOST):
                proxy.flowing.clear()
                async with asyncio.timeout(10):
                    while await alive.presence("a") != {"y": 1}:
                        await asyncio.sleep(0.02)
                start = asyncio.get_running_loop().time()
                while asyncio.get_running_loop().time() < start + 1:  # the living stays
                    assert await alive.presence("a") == {"y": 1}
                    await asyncio.sleep(0.05)
                await dying.close()


# --- start ---


async def test_no_server(redis_server: Callable[..., Any]) -> None:
    server = redis_server()
    server.kill()
    broker = RedisBroker(server.url.replace("//", "//me:secret@"), timeout=5)
    for _ in range(2):
        with pytest.raises(BrokerUnavailable, match=r"redis://me:\*\*\*@127") as caught:
            await broker.start()
        assert isinstance(caught.value.__cause__, redis.exceptions.ConnectionError)
        assert "secret" not in str(caught.value)
    server.start()
    with pytest.raises(BrokerUnavailable, match="WRONGPASS|username-password"):
        await broker.publish("a", 1)
    await broker.close()
    with pytest.raises(BrokerClosed):
        await broker.publish("a", 1)


async def test_wrong_password_and_wrong_database(redis_server: Callable[..., Any]) -> None:
    server = redis_server("--requirepass", "right")
    for url, cause in (
        (server.url.replace("//", "//:wrong@"), redis.exceptions.AuthenticationError),
        (server.url, redis.exceptions.AuthenticationError),
        (server.url.replace("//", "//:right@") + "/99", redis.exceptions.ResponseError),
    ):
        async with asyncio.timeout(10):
            with pytest.raises(BrokerUnavailable, match="127") as caught:
                async with RedisBroker(url):
                    pass
        assert isinstance(caught.value.__cause__, cause)
        assert "right" not in str(caught.value)


async def test_start_at_a_server_that_hangs(redis_server: Callable[..., Any]) -> None:
    server = redis_server()
    server.pause()
    async with asyncio.timeout(5):
        with pytest.raises(BrokerUnavailable, match="127"):
            await RedisBroker(server.url, timeout=0.3).start()
        broker = RedisBroker(server.url, timeout=60)
        starting = asyncio.ensure_future(broker.start())
        await asyncio.sleep(0)
        await broker.close()
        with pytest.raises(BrokerClosed):
            await starting


async def test_old_server(monkeypatch: pytest.MonkeyPatch, redis_server: Callable[..., Any]) -> None:
    async def info(self: object, section: str) -> dict[str, str]:
        return {"redis_version": "6.0.16"}

    monkeypatch.setattr(redis.asyncio.Redis, "info", info)
    with pytest.raises(BrokerUnavailable, match=r"6\.2 or newer is needed, not 6\.0\.16"):
        await RedisBroker("redis://127.0.0.1:1").start()


def test_what_cannot_be_right() -> None:
    with pytest.raises(ValueError, match=r"http://x"):
        RedisBroker("http://x")
    with pytest.raises(ValueError, match="timeout must be more than 0"):
        RedisBroker("redis://x", timeout=0)


def test_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "redis"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"pip install webfw\[redis\]"):
        RedisBroker("redis://x")


# --- outages ---


async def test_restart_without_data_is_a_gap(
    redis_server: Callable[..., Any], expect_log: Callable[..., Any]
) -> None:
    server = redis_server()
    async with RedisBroker(server.url) as broker, broker.subscribe("a") as events:
        seen = await broker.publish("a", 1)
        assert await take(events, 1) == [1]
        with expect_log(*LOST, count=1), expect_log("webfw.general", "is back", level=20, count=1):
            server.kill()
            with pytest.raises(BrokerUnavailable, match="127"):
                await broker.publish("a", "nobody")
            await until_away(lambda: broker.history("a"))
            assert not broker.connected
            server.start()
            await publish_until_done(broker, "a", 2)
            got = await take(events, 2)
            assert got == [Gap("a", "history"), 2]
            assert broker.connected
            assert broker.stats.reconnects == 1
        assert not (await broker.history("a", seen)).complete


async def test_restart_with_an_older_snapshot_is_a_gap(
    redis_server: Callable[..., Any], expect_log: Callable[..., Any]
) -> None:
    server = redis_server()
    async with RedisBroker(server.url) as broker, client(server.url) as operator:
        async with broker.subscribe("a") as events:
            old = await broker.publish("a", "kept")
            await operator.save()
            forgotten = await broker.publish("a", "forgotten")
            assert await take(events, 2) == ["kept", "forgotten"]
            with expect_log(*LOST, count=1):
                server.kill()
                server.start()
                assert await take(events, 1) == [Gap("a", "history")]
            await broker.publish("a", "new")
            assert await take(events, 1) == ["new"]
        assert (await broker.history("a", old)).complete
        assert not (await broker.history("a", forgotten)).complete


async def test_killed_and_restarted_under_load(
    redis_server: Callable[..., Any], expect_log: Callable[..., Any]
) -> None:
    """Whoever stays within the history misses nothing and gets nothing twice."""
    server = redis_server(
        "--appendfsync", "always", appendonly=True
    )  # else it may lose what it has confirmed
    channels = ["a", "b", "quiet"]
    async with (
        RedisBroker(server.url, history_size=100_000) as publisher,
        RedisBroker(server.url) as listener,
    ):
        readers = {name: await listener.subscribe(name, backlog=100_000) for name in channels}
        before = await publisher.publish("quiet", 0)
        sent: dict[str, list[str]] = {"a": [], "b": []}
        stop = False

        async def load(name: str) -> None:
            n = 0
            while not stop:
                n += 1
                sent[name].append(await publish_until_done(publisher, name, n))
                await asyncio.sleep(0)

        with expect_log(*LOST):
            loads = [asyncio.create_task(load(name)) for name in sent]
            for _ in range(3):
                count = len(sent["a"])
                while len(sent["a"]) < count + 200:
                    await asyncio.sleep(0.01)
                server.kill()
                await asyncio.sleep(random.random() / 20)
                await asyncio.to_thread(server.start)
            stop = True
            await asyncio.gather(*loads)
            await back(listener)
        assert readers["quiet"].dropped == 0
        for name in sent:
            end = await publish_until_done(publisher, name, "end")
            got = []
            async with asyncio.timeout(20):
                async for event in readers[name]:
                    got.append(event)
                    if event == Message(name, end, "end"):
                        break
            assert not [event for event in got if isinstance(event, Gap)]
            ids = [event.id for event in got]
            assert ids == sorted(set(ids))
            assert set(sent[name]) <= set(ids)
            assert ids == [message.id for message in (await publisher.history(name)).messages]
        assert await take(readers["quiet"], 1) == [0]
        assert (await publisher.history("quiet", before)).complete


async def test_a_server_that_hangs(redis_server: Callable[..., Any], expect_log: Callable[..., Any]) -> None:
    server = redis_server()
    async with RedisBroker(server.url, timeout=0.4) as broker, broker.subscribe("a") as events:
        await broker.publish("a", 1)
        with expect_log(*LOST, count=1), expect_log("webfw.general", "is back", level=20, count=1):
            server.pause()
            async with asyncio.timeout(10):
                results = await asyncio.gather(
                    *(broker.publish("a", "maybe") for _ in range(1200)), return_exceptions=True
                )
                assert {type(result) for result in results} == {BrokerUnavailable}
                await until_away(lambda: broker.subscribe("b").__aenter__())
            server.resume()
            await back(broker)
        await publish_until_done(broker, "a", 2)
        got: list[Any] = []
        while 2 not in got:
            got += await take(events, 1)
        assert got[0] == 1
        assert set(got) <= {1, "maybe", 2}
        assert got.count("maybe") <= 500  # those of the first call, none twice


async def test_idle_for_longer_than_the_timeout(redis_server: Callable[..., Any]) -> None:
    server = redis_server()
    async with RedisBroker(server.url, timeout=0.4) as broker, broker.subscribe("a") as events:
        await asyncio.sleep(1.2)  # nothing must happen: no log record
        await broker.publish("a", 1)
        assert await take(events, 1) == [1]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
async def test_connections_that_break_all_the_time(
    redis_server: Callable[..., Any], expect_log: Callable[..., Any], seed: int
) -> None:
    random.seed(seed)
    server = redis_server()
    total = 5000
    async with (
        Proxy(server.url) as proxy,
        RedisBroker(proxy.url, history_size=2 * total, timeout=2) as publisher,
        RedisBroker(proxy.url, timeout=2) as listener,
    ):
        events = await listener.subscribe("a", backlog=2 * total)
        done = False

        async def cutter() -> None:
            while not done:
                proxy.cut(0.3)
                await asyncio.sleep(random.random() / 10)

        with expect_log(*LOST):
            cutting = asyncio.create_task(cutter())
            ids: list[str] = []
            for start in range(0, total, 20):
                for result in await asyncio.gather(
                    *(publisher.publish("a", n) for n in range(start, start + 20)), return_exceptions=True
                ):
                    if isinstance(result, str):
                        ids.append(result)
                    else:
                        assert isinstance(result, BrokerUnavailable)
                await asyncio.sleep(0.002)
            done = True
            await cutting
            end = await publish_until_done(publisher, "a", "end")
            got: list[Any] = []
            async with asyncio.timeout(20):
                while not got or got[-1].id != end:
                    got.append(await anext(events))
        assert proxy.cuts > 5
        assert not [event for event in got if isinstance(event, Gap)]
        assert set(ids) <= {event.id for event in got}
        data = [event.data for event in got[:-1]]
        assert len(data) == len(set(data))  # nothing was published or delivered twice
        assert [event.id for event in got] == sorted({event.id for event in got})


async def test_close_during_an_outage(
    redis_server: Callable[..., Any], expect_log: Callable[..., Any]
) -> None:
    server = redis_server()
    broker = RedisBroker(server.url, timeout=60)
    events = await broker.subscribe("a", member="me")
    with expect_log(*LOST) as records:
        server.kill()
        async with asyncio.timeout(10):
            while not records:
                await asyncio.sleep(0.01)
        await until_away(lambda: broker.subscribe("b").__aenter__())
        async with asyncio.timeout(5):
            await broker.close()
    with pytest.raises(StopAsyncIteration):
        await anext(events)


async def test_missing_messages_are_fetched_without_an_outage(redis_server: Callable[..., Any]) -> None:
    """What pub/sub has not delivered, for whatever reason, is noticed at the next message and is in the history."""
    server = redis_server()
    async with (
        RedisBroker(server.url) as broker,
        RedisBroker(server.url) as mute,
        client(server.url) as operator,
        broker.subscribe("a") as events,
    ):
        mute._pushes = b"elsewhere:"
        for n in range(10):
            await (mute if n in (3, 4, 7) else broker).publish("a", n)
        assert await take(events, 10) == list(range(10))
        await mute.publish("a", 10)
        await operator.delete("webfw:log:a")
        await broker.publish("a", 11)
        assert await take(events, 2) == [Gap("a", "history"), 11]


async def test_a_repair_that_fails_ends_in_a_new_connection(
    redis_server: Callable[..., Any], expect_log: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = redis_server()
    async with (
        RedisBroker(server.url) as broker,
        RedisBroker(server.url) as mute,
        broker.subscribe("a") as events,
    ):
        mute._pushes = b"elsewhere:"
        await mute.publish("a", 1)
        past = broker._past
        failures = 0

        async def fails_once(*args: Any) -> Any:
            nonlocal failures
            failures += 1
            if failures == 1:
                raise BrokerUnavailable("not now")
            return await past(*args)

        monkeypatch.setattr(broker, "_past", fails_once)
        with expect_log(*LOST, count=1):
            await broker.publish("a", 2)
            assert await take(events, 2) == [1, 2]
        await broker.publish("a", 3)
        assert await take(events, 1) == [3]


async def test_another_process_may_be_faster(redis_server: Callable[..., Any]) -> None:
    server = redis_server()
    async with RedisBroker(server.url) as broker:
        ids = [await broker.publish("a", n) for n in range(4)]
        for since, complete in ((ids[3], True), (ids[1], True), (ids[3][:-5] + "99999", False)):
            history = await broker.engine_history("a", since, ids[1], None)
            assert (history.messages, history.complete, history.position) == ([], complete, ids[1])


async def test_a_channel_that_is_left_and_joined_at_once(redis_server: Callable[..., Any]) -> None:
    """The order to follow no more, still under way, must not hit the one who has come back."""
    server = redis_server()
    async with RedisBroker(server.url) as broker:
        for n in range(30):
            first = asyncio.ensure_future(broker.subscribe("a").__aenter__())
            for _ in range(n):  # give up at each point of the way
                await asyncio.sleep(0)
            first.cancel()
            async with broker.subscribe("a") as events:
                await broker.publish("a", n)
                assert await take(events, 1) == [n]
            await asyncio.gather(first, return_exceptions=True)


async def test_a_cancellation_that_the_client_loses(
    redis_server: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = redis_server()
    ping = redis.asyncio.client.PubSub.ping
    pinging = asyncio.Event()

    async def deaf(self: Any) -> None:
        await ping(self)
        try:
            pinging.set()
            await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            pass

    async with RedisBroker(server.url, timeout=0.1) as broker:
        await broker.subscribe("a")
        monkeypatch.setattr(redis.asyncio.client.PubSub, "ping", deaf)
        async with asyncio.timeout(10):
            await pinging.wait()
            await broker.close()


async def test_close_while_the_server_hangs(redis_server: Callable[..., Any]) -> None:
    server = redis_server()
    broker = RedisBroker(server.url, timeout=60)
    await broker.subscribe("a", member="me")
    server.pause()
    waiting = [
        asyncio.ensure_future(call)
        for call in (broker.publish("a", 1), broker.history("a"), broker.subscribe("b").__aenter__())
    ]
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await broker.close()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(result) for result in results] == [BrokerClosed] * 3
    server.signal(signal.SIGCONT)


async def test_a_publisher_that_does_not_wait(redis_server: Callable[..., Any]) -> None:
    server = redis_server()
    async with RedisBroker(server.url) as broker, broker.subscribe("a") as events:
        task = asyncio.ensure_future(broker.publish("a", "cancelled"))
        other = asyncio.ensure_future(broker.publish("a", "sent"))
        await asyncio.sleep(0)
        task.cancel()
        await other
        assert await take(events, 1) == ["sent"]


@pytest.mark.parametrize("where", ["_reconnect", "_past"])
async def test_an_error_that_nobody_expects(
    redis_server: Callable[..., Any],
    expect_log: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    """It is told with its traceback, and the broker comes back all the same."""
    server = redis_server()
    async with (
        RedisBroker(server.url) as broker,
        RedisBroker(server.url) as mute,
        broker.subscribe("a") as events,
    ):
        mute._pushes = b"elsewhere:"
        await mute.publish("a", 1)
        real = getattr(broker, where)
        failures = 0

        async def fails_once(*args: Any) -> Any:
            nonlocal failures
            failures += 1
            if failures == 1:
                raise AttributeError("in the client")
            return await real(*args)

        monkeypatch.setattr(broker, where, fails_once)
        with expect_log(*LOST, count=1), expect_log("webfw.application", "Uncaught|has failed", count=1):
            if where == "_reconnect":
                assert broker._live is not None
                broker._live.fail(ConnectionResetError("gone"))
            else:
                await broker.publish("a", 2)
            async with asyncio.timeout(10):
                while failures < 2:
                    await asyncio.sleep(0.01)
            await back(broker)
        await publish_until_done(broker, "a", 3)
        wanted = [1, 3] if where == "_reconnect" else [1, 2, 3]
        assert await take(events, len(wanted)) == wanted
