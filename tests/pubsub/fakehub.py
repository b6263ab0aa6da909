"""An engine in memory that is as slow, late and unreliable as a test wants it."""

import asyncio
import random
import time
from collections import Counter
from typing import Any

from webfw.pubsub import BrokerUnavailable, History, Message
from webfw.pubsub.hub import HubBroker
from webfw.pubsub.messages import normal


class FakeServer:
    """What all brokers of a test share.

    :ivar down: whether it refuses everything.
    """

    def __init__(self) -> None:
        self.down = False
        self.log: list[Message] = []
        self.times: dict[str, float] = {}
        self.trimmed: Counter[str] = Counter()
        self.brokers: list[FakeHub] = []
        self.members: dict[FakeHub, dict[str, dict[str, int]]] = {}

    def kept(self, channel: str) -> list[Message]:
        return [message for message in self.log if message.channel == channel]


class FakeHub(HubBroker):
    """Ids are numbers of one log.  ``calls`` has what the engine was asked; ``gates`` hold or fail a kind of call."""

    def __init__(self, server: FakeServer | None = None, *, lag: int = 0, **options: Any) -> None:
        super().__init__(**options)
        self.server = server or FakeServer()
        self.lag = lag
        self.calls: list[tuple[Any, ...]] = []
        self.gates: dict[str, Any] = {}
        self.followed: set[str] = set()
        self.inbox: asyncio.Queue[Message] = asyncio.Queue()
        self.random = random.Random(1)
        self.ended = False

    async def call(self, kind: str, *details: Any) -> None:
        self.calls.append((kind, *details))
        if self.lag:
            for _ in range(self.random.randrange(self.lag)):
                await asyncio.sleep(0)
        gate = self.gates.get(kind)
        if isinstance(gate, asyncio.Event):
            await gate.wait()
        elif gate is not None:
            raise gate
        if self.server.down:
            raise BrokerUnavailable("fake://server is down")

    def kinds(self, *kinds: str) -> list[tuple[Any, ...]]:
        return [call for call in self.calls if call[0] in kinds]

    async def engine_start(self) -> None:
        await self.call("start")
        self.server.brokers.append(self)
        if self.lag:
            self.spawn(self._late())

    async def engine_publish(self, channel: str, message: Any) -> str:
        data = normal(message)
        await self.call("publish", channel)
        server = self.server
        made = Message(channel, str(len(server.log) + sum(server.trimmed.values()) + 1), data)
        server.log.append(made)
        server.times[made.id] = time.monotonic()
        self.trim(channel)
        for broker in server.brokers:
            if channel in broker.followed:
                broker.send(made)
        return made.id

    def trim(self, channel: str) -> None:
        server, oldest = self.server, time.monotonic() - self.history_age
        keep = server.kept(channel)
        while keep and (len(keep) > self.history_size or server.times[keep[0].id] < oldest):
            old = keep.pop(0)
            server.log = [message for message in server.log if message is not old]
            server.trimmed[channel] += 1

    def send(self, message: Message) -> None:
        copy = Message(message.channel, message.id, message.data)
        if self.lag:
            self.inbox.put_nowait(copy)
        else:
            self.arrived(copy)

    async def _late(self) -> None:
        while True:
            message = await self.inbox.get()
            for _ in range(self.random.randrange(self.lag)):
                await asyncio.sleep(0)
            self.arrived(message)

    async def engine_follow(self, channel: str) -> str:
        self.followed.add(channel)
        try:
            await self.call("follow", channel)
        except BaseException:
            self.followed.discard(channel)
            raise
        return self.newest()

    def newest(self) -> str:
        return str(len(self.server.log) + sum(self.server.trimmed.values()))

    async def engine_unfollow(self, channel: str) -> None:
        self.followed.discard(channel)
        await self.call("unfollow", channel)

    async def engine_history(
        self, channel: str, since: str | None, until: str | None, limit: int | None
    ) -> History:
        await self.call("history", channel, since, until, limit)
        known = since is None or (since.isascii() and since.isdigit() and len(since) < 9)
        known = known and (since is None or int(since) <= int(self.newest()))
        self.trim(channel)
        keep = self.server.kept(channel)
        past = [
            message
            for message in keep
            if (since is None or not known or int(message.id) > int(since))
            and (until is None or int(message.id) <= int(until))
        ]
        complete = known and (since is None or not self.server.trimmed[channel] or bool(keep))
        if complete and since is not None and self.server.trimmed[channel]:
            complete = int(keep[0].id) <= int(since) + 1
        if limit is not None:
            past = past[len(past) - min(limit, len(past)) :]
        return History(past, complete, self.newest())

    async def engine_presence(self, channel: str) -> dict[str, int]:
        await self.call("presence", channel)
        here: Counter[str] = Counter()
        for members in self.server.members.values():
            here.update(members.get(channel, {}))
        return dict(here)

    async def engine_announce(self, channel: str, members: dict[str, int]) -> None:
        await self.call("announce", channel, members)
        mine = self.server.members.setdefault(self, {})
        mine[channel] = members
        if not members:
            del mine[channel]

    async def engine_close(self) -> None:
        self.calls.append(("close",))
        self.ended = True
        if self in self.server.brokers:
            self.server.brokers.remove(self)

    def newer(self, id: str, than: str) -> bool:
        return int(id) > int(than)
