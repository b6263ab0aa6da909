"""Soak of a broker: many subscribers and publishers on several brokers while servers die and connections break.

    python -m tests.pubsub.soaking ENGINE [--seconds 20] [--seed 1] [--subscribers 60] [--history N]

ENGINE is ``memory``, ``workers``, ``redis-always``, ``redis-everysec`` or ``nats``.  A subscriber keeps what it has
got, and leaves and comes back with its last position.  What everybody has got, and what publishers were told, is the
truth that each is compared with in the end: between two messages there is no other, or there is a `Gap`.
"""

import argparse
import asyncio
import bisect
import contextlib
import json
import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from webfw.pubsub import Broker, BrokerUnavailable, Gap, Message, connect

CHANNELS = [f"c{n}" for n in range(5)]

#: The number in an id, with which ids of one life of a channel compare.
Order = tuple[Any, ...]


def life(id: str) -> str:
    return id.partition("-")[0]


def order(id: str) -> Order:
    return tuple(map(int, id.split("-")[1:]))


class Reader:
    """One subscriber, which leaves and comes back."""

    def __init__(self, soak: "Soak", channel: str) -> None:
        self.soak = soak
        self.channel = channel
        self.events: list[Message | Gap] = []
        self.started: str | None = None
        self.position: str | None = None
        self.returns = 0

    async def run(self) -> None:
        while not await self.visit():
            self.returns += 1

    async def visit(self) -> bool:
        """Listen for a while; True when the last message has come."""
        soak = self.soak
        subscription = random.choice(soak.brokers).subscribe(self.channel, self.position, backlog=10**6)
        until = time.monotonic() + random.expovariate(1 / soak.stay)
        try:
            await subscription
        except BrokerUnavailable:
            await asyncio.sleep(0.02)
            return False
        if self.started is None:
            self.started = subscription.position
        try:
            while True:
                left = until - time.monotonic()
                try:
                    async with asyncio.timeout(None if soak.calm else max(left, 0.001)):
                        event = await anext(subscription)
                except TimeoutError:
                    return False
                self.events.append(event)
                if isinstance(event, Message) and event.data == "end":
                    return True
                if left < 0 and not soak.calm:
                    return False
        finally:
            self.position = subscription.position
            subscription.close()


class Soak:
    """One run; `check` returns what it has found."""

    def __init__(self, brokers: list[Broker], subscribers: int, rate: float, stay: float) -> None:
        self.brokers = brokers
        self.stay = stay
        self.pause = 1 / rate
        self.readers = [Reader(self, CHANNELS[n % len(CHANNELS)]) for n in range(subscribers)]
        self.calm = False
        self.failed = 0
        #: What publishers were told: for each channel id and data.
        self.acknowledged: dict[str, dict[str, str]] = {name: {} for name in CHANNELS}
        #: Times at which something was done to the server or the connections.
        self.deeds: list[str] = []

    async def publish(self, broker: Broker, who: int) -> None:
        n = 0
        while not self.calm:
            n += 1
            channel, data = random.choice(CHANNELS), f"{who}.{n}"
            try:
                self.acknowledged[channel][await broker.publish(channel, data)] = data
            except BrokerUnavailable:
                self.failed += 1
            await asyncio.sleep(self.pause)

    async def run(self, seconds: float, harm: Callable[["Soak"], Awaitable[None]]) -> None:
        """Publish, read and do harm for so long; then let everybody come to the end."""
        readers = [asyncio.create_task(reader.run()) for reader in self.readers]
        publishers = [
            asyncio.create_task(self.publish(broker, 10 * n + m))
            for n, broker in enumerate(self.brokers)
            for m in range(2)
        ]
        try:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                await harm(self)
            self.calm = True
            await asyncio.gather(*publishers)
            async with asyncio.timeout(60):
                for name in CHANNELS:
                    await self._end(name)
                await asyncio.gather(*readers)
        finally:
            for task in readers + publishers:
                task.cancel()
            await asyncio.gather(*readers, *publishers, return_exceptions=True)

    async def _end(self, name: str) -> None:
        while True:
            try:
                self.acknowledged[name][await self.brokers[0].publish(name, "end")] = "end"
                return
            except BrokerUnavailable:
                await asyncio.sleep(0.05)

    def check(self) -> Counter[str]:
        """Compare everybody with the truth.

        :raises AssertionError: something is missing and nobody was told, or came twice, or in disorder.
        """
        found: Counter[str] = Counter(failed=self.failed)
        for channel in CHANNELS:
            truth = dict(self.acknowledged[channel])
            for reader in self.readers:
                if reader.channel == channel:
                    for event in reader.events:
                        if isinstance(event, Message):
                            assert truth.setdefault(event.id, event.data) == event.data, f"two are {event.id}"
            lives: dict[str, list[Order]] = {}
            for id in truth:
                lives.setdefault(life(id), []).append(order(id))
            for numbers in lives.values():
                numbers.sort()
            found["messages"] += len(truth)
            for reader in self.readers:
                if reader.channel == channel:
                    self._check_one(reader, lives, found)
        return found

    def _check_one(self, reader: Reader, lives: dict[str, list[Order]], found: Counter[str]) -> None:
        assert reader.started is not None
        at, gap, seen = reader.started, False, set()
        found["returns"] += reader.returns
        for index, event in enumerate(reader.events):
            if isinstance(event, Gap):
                assert event.reason == "history", event
                gap = True
                continue
            near = reader.events[max(0, index - 5) : index + 1]
            assert event.data not in seen or event.data == "end", f"came twice: {near}; {self.deeds}"
            seen.add(event.data)
            found["events"] += 1
            between = missing(lives, at, event.id)
            assert between >= 0, f"disorder: {near}; {self.deeds}"
            if gap:
                found["gaps"] += 1
                found["gaps without loss"] += not between
            else:
                assert not between, f"{between} are missing: {near}; {self.deeds}"
            at, gap = event.id, False


def missing(lives: dict[str, list[Order]], at: str, id: str) -> int:
    """How many messages stand between two; -1 if they are in disorder."""
    before, after = lives.get(life(at), []), lives[life(id)]
    start, end = bisect.bisect_right(before, order(at)), bisect.bisect_left(after, order(id))
    if life(at) == life(id):
        return end - start if order(id) > order(at) else -1
    return len(before) - start + end


# --- what is soaked ---


def pause(pid: int, seconds: float) -> Awaitable[None]:
    """Stop a process for some time."""

    async def stopped() -> None:
        with contextlib.suppress(ProcessLookupError):  # a hub that was killed just before
            os.kill(pid, signal.SIGSTOP)
            try:
                await asyncio.sleep(seconds)
            finally:
                os.kill(pid, signal.SIGCONT)

    return stopped()


@contextlib.asynccontextmanager
async def harming(
    engine: str, folder: Path, history: int
) -> AsyncIterator[tuple[list[Broker], Callable[[Soak], Any]]]:
    """The brokers, and what does some harm to them, once."""
    async with contextlib.AsyncExitStack() as stack:
        if engine == "memory":
            brokers: list[Broker] = [connect("memory:", history_size=history)]
            harm = await _no_harm()
        elif engine == "workers":
            brokers, harm = _workers(folder, history)
        else:
            brokers, harm = await _server(engine, folder, history, stack)
        for broker in brokers:
            await stack.enter_async_context(broker)
        yield brokers, harm


async def _no_harm() -> Callable[[Soak], Any]:
    async def harm(soak: Soak) -> None:
        await asyncio.sleep(0.1)

    return harm


def _workers(folder: Path, history: int) -> tuple[list[Broker], Callable[[Soak], Any]]:
    path = f"{folder}/s"
    brokers: list[Any] = [
        connect(f"workers:{path}", timeout=0.5, linger=0.2, history_size=history) for _ in range(3)
    ]

    async def harm(soak: Soak) -> None:
        await asyncio.sleep(random.uniform(0.05, 0.5))
        what = random.choice(["cut", "cut", "cut", "stop", "kill"])
        try:
            pid = int(Path(path + ".lock").read_text())
        except (FileNotFoundError, ValueError):
            return
        soak.deeds.append(what)
        if what == "cut":
            link = random.choice(brokers)._link
            if link is not None:
                link.abort("cut")
        elif what == "stop":
            await pause(pid, random.choice([0.1, 1.3]))
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    return brokers, harm


async def _server(
    engine: str, folder: Path, history: int, stack: contextlib.AsyncExitStack
) -> tuple[list[Broker], Callable[[Soak], Any]]:
    from tests.pubsub.conftest import RedisServer
    from tests.pubsub.natsserver import NatsServer
    from tests.pubsub.proxy import Proxy

    server: Any
    if engine == "nats":
        server = NatsServer(folder)
        await server.start()
        start = server.start
    else:
        server = RedisServer(folder, True, ("--appendfsync", engine.partition("-")[2]))

        async def start() -> None:
            await asyncio.to_thread(server.start)

    stack.callback(lambda: server.kill())
    proxies = [await stack.enter_async_context(Proxy(server.url)) for _ in range(3)]
    brokers = [connect(proxy.url, timeout=0.5, history_size=history) for proxy in proxies]

    async def harm(soak: Soak) -> None:
        await asyncio.sleep(random.uniform(0.05, 0.5))
        what = random.choice(["cut", "cut", "cut", "shut", "stop", "kill"])
        soak.deeds.append(what)
        proxy = random.choice(proxies)
        if what == "cut":
            proxy.cut(random.choice([0.3, 1.0]))
        elif what == "shut":
            proxy.shut()
            await asyncio.sleep(random.uniform(0, 0.5))
            proxy.open()
        elif what == "stop":
            await pause(server.process.pid, random.choice([0.1, 1.3]))
        else:
            server.kill()
            await asyncio.sleep(random.uniform(0, 0.3))
            await start()
            soak.deeds.append("back")

    return brokers, harm


async def soak(
    engine: str,
    folder: Path,
    *,
    seconds: float,
    subscribers: int = 60,
    rate: float = 100.0,
    stay: float = 2.0,
    history: int = 100_000,
) -> Counter[str]:
    """Soak an engine; the counts of what has happened.

    :param rate: messages a second of each publisher, at most; there are two for each broker.
    :param stay: seconds for which subscribers stay, on average.
    :param history: messages that each channel remembers.
    """
    async with harming(engine, folder, history) as (brokers, harm):
        run = Soak(brokers, subscribers, rate, stay)
        await run.run(seconds, harm)
        found = run.check()
        found.update(run.deeds)
        return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("engine")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--subscribers", type=int, default=60)
    parser.add_argument("--history", type=int, default=100_000)
    given = parser.parse_args()
    random.seed(given.seed)
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(
            soak(
                given.engine,
                Path(folder),
                seconds=given.seconds,
                subscribers=given.subscribers,
                history=given.history,
            )
        )
    print(given.engine, given.seed, json.dumps(found))


if __name__ == "__main__":
    main()
