"""Tests of webfw.pubsub.workers.hub: what it answers, byte by byte, and whom it drops."""

import asyncio
import json
import os
import random
import socket
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from webfw.pubsub.broker import BrokerUnavailable
from webfw.pubsub.messages import Message
from webfw.pubsub.workers import WorkersBroker, WorkersHub, frames, hub
from webfw.pubsub.workers.frames import FrameReader, frame, pack_name

HELLO = frame(frames.HELLO, frames.HELLO_TO_HUB.pack(frames.MAGIC, frames.VERSION, 10, 60.0))


class Client:
    """A raw connection to a hub."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._frames = FrameReader()
        self._found: list[tuple[int, bytes]] = []

    def send(self, *parts: bytes) -> None:
        self.writer.write(b"".join(parts))

    async def next(self) -> tuple[int, bytes]:
        while not self._found:
            data = await self.reader.read(1 << 16)
            if not data:
                raise EOFError
            self._found += self._frames.feed(data)
        return self._found.pop(0)

    async def next_of(self, kind: int) -> bytes:
        got, body = await self.next()
        assert got == kind
        return body

    async def gone(self) -> None:
        """Wait until the hub has hung up."""
        try:
            while True:
                await self.next()
        except (EOFError, ConnectionError):
            pass

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            pass


class Bench:
    def __init__(self, hub: WorkersHub) -> None:
        self.hub = hub
        self.clients: list[Client] = []

    async def client(self, greet: bool = True) -> Client:
        client = Client(*await asyncio.open_unix_connection(self.hub.place.path))
        self.clients.append(client)
        if greet:
            client.send(HELLO)
            body = await client.next_of(frames.HELLO)
            assert frames.HELLO_BACK.unpack(body) == (frames.MAGIC, frames.VERSION, self.hub.epoch)
        return client


@asynccontextmanager
async def serving(path: str, **options: Any) -> AsyncIterator[Bench]:
    bench = Bench(WorkersHub(path, **options))
    await bench.hub.start()
    try:
        yield bench
    finally:
        for client in bench.clients:
            await client.close()
        await bench.hub.stop()


def publish(name: str, data: bytes) -> bytes:
    return frame(frames.PUBLISH, pack_name(name) + data)


def look(name: str, since: int = -1, until: int = -1, limit: int = -1) -> bytes:
    return frame(frames.HISTORY, frames.HISTORY_BODY.pack(since, until, limit) + pack_name(name))


CONVERSATION = [
    (frame(frames.FOLLOW, pack_name("a")), [(frames.FOLLOWED, (0).to_bytes(8))]),
    (publish("a", b"sone"), [(frames.MESSAGE, (1).to_bytes(8) + b"\x01asone")]),
    (publish("b", b"stwo"), []),
    (publish("a", b"sthree"), [(frames.MESSAGE, (3).to_bytes(8) + b"\x01asthree")]),
    (
        look("a", since=1),
        [(frames.PAGE, b"\x01" + (3).to_bytes(8) + frame(frames.MESSAGE, (3).to_bytes(8) + b"\x01asthree"))],
    ),
    (frame(frames.ANNOUNCE, pack_name("a") + b'{"ann":1}'), [(frames.DONE, b"")]),
    (frame(frames.PRESENCE, pack_name("a")), [(frames.MEMBERS, b'{"ann":1}')]),
    (frame(frames.UNFOLLOW, pack_name("a")), []),
    (publish("a", b"sfour"), []),
]


@pytest.mark.parametrize("split", ["whole", "bytes", "random"])
async def test_a_conversation(path: str, split: str) -> None:
    stream = HELLO + b"".join(request for request, _ in CONVERSATION)
    rng = random.Random(5)
    cuts = {
        "whole": [],
        "bytes": list(range(1, len(stream))),
        "random": sorted(rng.sample(range(1, len(stream)), 20)),
    }[split]
    async with serving(path) as bench:
        client = await bench.client(greet=False)
        for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            client.send(stream[a:b])
            await client.writer.drain()
            await asyncio.sleep(0)
        await client.next_of(frames.HELLO)
        expected = [answer for _, answers in CONVERSATION for answer in answers]
        acknowledged = 0
        while expected or acknowledged < 4:
            kind, body = await client.next()
            if kind == frames.ACKS:
                count, last = frames.ACKS_BODY.unpack(body)
                acknowledged += count
                assert last == acknowledged
            else:
                assert (kind, body) == expected.pop(0)


async def test_one_message_goes_once_to_each_who_follows(path: str) -> None:
    async with serving(path) as bench:
        one, two, three = [await bench.client() for _ in range(3)]
        for client in (one, two):
            client.send(frame(frames.FOLLOW, pack_name("a")), frame(frames.FOLLOW, pack_name("a")))
            await client.next_of(frames.FOLLOWED)
            await client.next_of(frames.FOLLOWED)
        three.send(publish("a", b"sx"), publish("a", b"sy"))
        assert await three.next_of(frames.ACKS) == frames.ACKS_BODY.pack(2, 2)
        for client in (one, two):
            for data in (b"sx", b"sy"):
                assert (await client.next_of(frames.MESSAGE)).endswith(b"\x01a" + data)
        three.send(frame(frames.PRESENCE, pack_name("a")))
        await three.next_of(frames.MEMBERS)


async def test_who_goes_is_forgotten_at_once(path: str) -> None:
    async with serving(path) as bench:
        one, two = await bench.client(), await bench.client()
        one.send(frame(frames.FOLLOW, pack_name("a")), frame(frames.ANNOUNCE, pack_name("a") + b'{"ann":1}'))
        await one.next_of(frames.FOLLOWED)
        await one.next_of(frames.DONE)
        one.send(frame(frames.ANNOUNCE, pack_name("b") + b'{"ann":1}'))
        one.send(frame(frames.ANNOUNCE, pack_name("b") + b'{"ann":0}'))
        await one.next_of(frames.DONE)
        await one.next_of(frames.DONE)
        await one.close()
        members = b"?"
        while members != b"{}":
            two.send(frame(frames.PRESENCE, pack_name("a")))
            members = await two.next_of(frames.MEMBERS)
        assert not bench.hub.store.channels


async def test_only_for_this_user(path: str, expect_log: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(path) as bench:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        monkeypatch.setattr(hub, "peer_process", lambda sock: (1, 12345))
        with expect_log("webfw.general", r"drops process \d+: it belongs to user 12345", count=1):
            client = await bench.client(greet=False)
            await client.gone()


async def test_only_one_hub_at_a_path(path: str) -> None:
    async with serving(path):
        with pytest.raises(BrokerUnavailable, match="another hub is there"):
            await WorkersHub(path).start()
        assert os.path.exists(path)
    assert os.listdir(os.path.dirname(path)) == []


async def test_a_hub_starts_and_ends_once(path: str) -> None:
    async with serving(path) as bench:
        with pytest.raises(RuntimeError, match="started already"):
            await bench.hub.start()
        await bench.hub.stop()
        await bench.hub.stop()
        await bench.hub.wait()
    await WorkersHub(path).wait()  # which was never started


async def test_a_hub_that_cannot_serve_leaves_nothing(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*args: Any, **options: Any) -> None:
        raise OSError("no")

    monkeypatch.setattr(asyncio.get_running_loop(), "create_unix_server", refuse, raising=False)
    with pytest.raises(OSError, match="no"):
        await WorkersHub(path).start()
    assert not os.path.exists(path + ".lock")


async def test_it_ends_some_time_after_the_last_has_gone(path: str) -> None:
    async with serving(path, linger=0.05) as bench:
        one, two = await bench.client(), await bench.client()
        await one.close()
        await asyncio.sleep(0.1)  # longer than it would wait if it were alone
        two.send(frame(frames.PRESENCE, pack_name("a")))
        await two.next()
        await two.close()
        await bench.hub.wait()
        assert not os.path.exists(path)


async def test_it_ends_when_nobody_ever_comes(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "FIRST_WAIT", 0.02)
    async with serving(path, linger=0.01) as bench:
        await bench.hub.wait()


async def test_it_ends_when_its_socket_was_taken_away(
    path: str, expect_log: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "SWEEP_INTERVAL", 0.01)
    async with serving(path) as bench:
        client = await bench.client()
        with expect_log("webfw.general", "its socket was removed or replaced", count=1):
            os.unlink(path)
            with socket.socket(socket.AF_UNIX) as other:
                other.bind(path)
                await bench.hub.wait()
        await client.gone()
    assert os.path.exists(path)  # it is somebody else's
    os.unlink(path)


async def test_what_is_old_is_swept(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "SWEEP_INTERVAL", 0.01)
    async with serving(path) as bench:
        client = await bench.client(greet=False)
        client.send(frame(0, frames.HELLO_TO_HUB.pack(frames.MAGIC, frames.VERSION, 10, 0.05)))
        await client.next()
        client.send(publish("a", b"sx"))
        await client.next_of(frames.ACKS)
        assert bench.hub.store.channels
        while bench.hub.store.channels:
            await asyncio.sleep(0.01)


# --- who does not behave ---


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "a frame of"),
        (b"\0\0\0\0\0", "a frame of 0 bytes"),
        (publish("a", b"sx"), "no hello"),
        (frame(frames.HELLO, b"x"), "no hello"),
        (frame(frames.HELLO, b"x" * 22), "no hello"),
        (frame(frames.HELLO, frames.HELLO_START.pack(frames.MAGIC, frames.VERSION)), "wrong length"),
        (
            frame(0, frames.HELLO_TO_HUB.pack(frames.MAGIC, frames.VERSION, 1, float("nan"))),
            "a history of nan",
        ),
        (frame(0, frames.HELLO_TO_HUB.pack(frames.MAGIC, frames.VERSION, 1, -1.0)), "a history of -1"),
        (HELLO + HELLO, "unknown kind 0"),
        (HELLO + frame(99), "unknown kind 99"),
        (HELLO + frame(frames.PUBLISH), "without a name"),
        (HELLO + frame(frames.PUBLISH, b"\x05ab"), "half a name"),
        (HELLO + frame(frames.PUBLISH, b"\x01\xff"), "UTF-8|utf-8"),
        (HELLO + frame(frames.FOLLOW, b"\x01ab"), "too long"),
        (HELLO + frame(frames.FOLLOW, b"\x01\n"), "control"),
        (HELLO + frame(frames.UNFOLLOW, b""), "without a name"),
        (HELLO + frame(frames.HISTORY, b"123"), "half a question"),
        (HELLO + frame(frames.PRESENCE, b"\x00"), "half a name"),
        (HELLO + frame(frames.ANNOUNCE, b"\x01a{"), "no JSON"),
    ],
)
async def test_nonsense_drops_the_connection_and_no_other(
    path: str, sent: bytes, why: str, expect_log: Any
) -> None:
    async with serving(path) as bench:
        good = await bench.client()
        good.send(frame(frames.FOLLOW, pack_name("a")))
        await good.next_of(frames.FOLLOWED)
        bad = await bench.client(greet=False)
        with expect_log("webfw.general", rf"drops process \d+: it sent .*({why})", count=1):
            bad.send(sent)
            await bad.gone()
        good.send(publish("a", b"sx"))
        assert await good.next_of(frames.MESSAGE) == bench.hub.store.count.to_bytes(8) + b"\x01asx"


async def test_fuzz(path: str, expect_log: Any) -> None:
    """Whatever comes: one line for each connection at most, and whoever behaves is served."""
    rng = random.Random(7)
    good_stream = HELLO + b"".join(request for request, _ in CONVERSATION)
    async with serving(path, linger=None) as bench:
        good = await bench.client()
        good.send(frame(frames.FOLLOW, pack_name("good")))
        await good.next_of(frames.FOLLOWED)
        with expect_log("webfw.general", r"drops process \d+: it sent|a worker of version") as records:
            for _ in range(300):
                stream = bytearray(good_stream)
                for _ in range(rng.randrange(1, 6)):
                    place = rng.randrange(len(stream))
                    stream[place : place + rng.randrange(3)] = rng.randbytes(rng.randrange(4))
                bad = await bench.client(greet=False)
                bad.send(bytes(stream))
                bad.writer.write_eof()
                await bad.gone()
                await bad.close()
        assert 50 < len(records) <= 300
        while len(bench.hub.peers) > 1:
            await asyncio.sleep(0)
        good.send(publish("good", b"sx"))
        assert (await good.next_of(frames.MESSAGE)).endswith(b"\x04goodsx")


async def test_who_says_nothing_is_dropped(
    path: str, expect_log: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "SWEEP_INTERVAL", 0.01)
    monkeypatch.setattr(hub, "HELLO_TIMEOUT", 0.3)
    async with serving(path) as bench:
        greeted = await bench.client()
        with expect_log("webfw.general", r"drops process \d+: it said nothing", count=1):
            silent = await bench.client(greet=False)
            await silent.gone()
        greeted.send(frame(frames.PRESENCE, pack_name("a")))
        await greeted.next_of(frames.MEMBERS)


async def test_another_version_is_told_ours(path: str, expect_log: Any) -> None:
    async with serving(path) as bench:
        client = await bench.client(greet=False)
        with expect_log("webfw.general", "a worker of version 77 cannot use the hub", count=1):
            client.send(frame(frames.HELLO, frames.HELLO_START.pack(frames.MAGIC, 77) + b"what then came"))
            body = await client.next_of(frames.HELLO)
            assert frames.HELLO_START.unpack_from(body) == (frames.MAGIC, frames.VERSION)
            await client.gone()


async def test_who_does_not_read_is_cut_off_and_the_others_go_on(path: str, expect_log: Any) -> None:
    async with serving(path, max_unsent=1 << 20) as bench:
        slow, good = await bench.client(), await bench.client()
        for client in (slow, good):
            client.send(frame(frames.FOLLOW, pack_name("a")))
            await client.next_of(frames.FOLLOWED)
        slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
        data = b"b" + bytes(100_000)
        with expect_log("webfw.general", r"it does not read, and \d+ bytes wait for it", count=1):
            for _ in range(100):
                good.send(publish("a", data))
                kinds = {(await good.next())[0], (await good.next())[0]}
                assert kinds == {frames.MESSAGE, frames.ACKS}
        assert len(bench.hub.peers) == 1


async def test_more_questions_than_answers_fit(path: str, expect_log: Any) -> None:
    async with serving(path, max_unsent=1 << 20) as bench:
        greedy, good = await bench.client(), await bench.client()
        good.send(publish("a", b"b" + bytes(200_000)))
        await good.next_of(frames.ACKS)
        with expect_log("webfw.general", "more questions for history", count=1):
            greedy.send(look("a") * 1000)
            await greedy.gone()
        good.send(look("a"))
        await good.next_of(frames.PAGE)


async def test_too_many_members_to_name(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(path) as bench:
        client = await bench.client()
        client.send(frame(frames.ANNOUNCE, pack_name("a") + json.dumps({"x" * 2000: 1}).encode()))
        await client.next_of(frames.DONE)
        monkeypatch.setattr(frames, "MAX_FRAME", 1000)
        client.send(frame(frames.PRESENCE, pack_name("a")))
        assert b"too many members" in await client.next_of(frames.FAILED)


async def test_frames_of_one_turn_leave_in_one_write(path: str) -> None:
    """50 publishes that come in one piece make one write to the publisher, and one to the follower."""
    async with serving(path) as bench:
        follower, publisher = await bench.client(), await bench.client()
        follower.send(frame(frames.FOLLOW, pack_name("a")))
        await follower.next_of(frames.FOLLOWED)
        writes: list[int] = []
        for peer in bench.hub.peers:
            write: Callable[[bytes], None] = peer.wire.write

            def counting(data: bytes, write: Callable[[bytes], None] = write) -> None:
                writes.append(len(data))
                write(data)

            peer.wire.write = counting
        publisher.send(publish("a", b"sx") * 50)
        await publisher.next_of(frames.ACKS)
        for _ in range(50):
            await follower.next_of(frames.MESSAGE)
        assert len(writes) == 2


async def test_brokers_with_a_hub_in_the_program(path: str) -> None:
    """As a supervisor runs it: the hub in its own loop, the workers not to start one."""
    async with (
        serving(path),
        WorkersBroker(f"workers:{path}", autostart=False) as one,
        WorkersBroker(f"workers:{path}", autostart=False) as two,
        two.subscribe("a") as events,
    ):
        id = await one.publish("a", {"x": 1})
        assert await anext(events) == Message("a", id, {"x": 1})
