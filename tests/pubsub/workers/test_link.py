"""Tests of webfw.pubsub.workers.link: a worker's connection, against a wire that says what a hub would say."""

import asyncio
from typing import Any

import pytest

from webfw.pubsub.broker import BrokerError, BrokerUnavailable
from webfw.pubsub.messages import Message
from webfw.pubsub.workers import frames, link
from webfw.pubsub.workers.frames import FrameReader, frame, pack_name
from webfw.pubsub.workers.link import Follow, Link
from webfw.testing import FakeWire

HELLO = frame(frames.HELLO, frames.HELLO_BACK.pack(frames.MAGIC, frames.VERSION, 0xABC))


class Worker:
    """A link on a fake wire, with what came out of it."""

    def __init__(self, timeout: float = 5.0, greet: bool = True) -> None:
        self.wire = FakeWire(asyncio.get_running_loop())
        self.messages: list[Message] = []
        self.lost: list[Link] = []
        wire: Any = self.wire
        self.link = Link(wire, "workers:/x", timeout, self.messages.append, self.lost.append)
        self.wire.consumer = self.link
        if greet:
            self.wire.feed(HELLO)

    async def sent(self) -> list[tuple[int, bytes]]:
        await asyncio.sleep(0)
        return list(FrameReader().feed(self.wire.take()))

    def close(self) -> None:
        """As asyncio does it after a wire was closed."""
        self.wire.lose()
        if self.link.greeted.done() and not self.link.greeted.cancelled():
            self.link.greeted.exception()


def acks(count: int, last: int) -> bytes:
    return frame(frames.ACKS, frames.ACKS_BODY.pack(count, last))


def message(number: int, name: str, data: bytes) -> bytes:
    return frame(frames.MESSAGE, number.to_bytes(8) + pack_name(name) + data)


async def test_hello() -> None:
    worker = Worker(greet=False)
    worker.link.hello(1000, 300.5)
    assert await worker.sent() == [
        (frames.HELLO, frames.HELLO_TO_HUB.pack(frames.MAGIC, frames.VERSION, 1000, 300.5))
    ]
    worker.wire.feed(HELLO)
    await worker.link.greeted
    assert worker.link.epoch == "00000abc"
    worker.close()


async def test_a_history_without_end_fits_into_a_hello() -> None:
    worker = Worker()
    worker.link.hello(10**30, float("inf"))
    ((_, body),) = await worker.sent()
    assert frames.HELLO_TO_HUB.unpack(body)[2:] == (2**32 - 1, float("inf"))
    worker.close()


async def test_what_is_published_in_one_turn_leaves_in_one_write() -> None:
    worker = Worker()
    published = [worker.link.publish("a", b"s%d" % n) for n in range(5)]
    await asyncio.sleep(0)
    assert len(worker.wire.writes) == 1
    assert await worker.sent() == [(frames.PUBLISH, b"\x01as%d" % n) for n in range(5)]
    worker.wire.feed(acks(2, 11) + acks(3, 20))
    ids = await asyncio.gather(*published)
    assert ids == ["00000abc-10", "00000abc-11", "00000abc-18", "00000abc-19", "00000abc-20"]
    worker.close()


async def test_answers_come_in_the_order_of_the_questions() -> None:
    worker = Worker()
    one = worker.link.publish("a", b"s1")
    two = worker.link.request(frames.PRESENCE, pack_name("a"), frames.MEMBERS)
    three = worker.link.follow(Follow("a"))
    four = worker.link.request(frames.PRESENCE, pack_name("a"), frames.MEMBERS)
    two.cancel()
    answers = acks(1, 1) + frame(frames.MEMBERS, b"{}") + frame(frames.FOLLOWED, (1).to_bytes(8))
    for byte in answers + frame(frames.FAILED, b"too many"):
        worker.wire.feed(bytes([byte]))
    assert await one == "00000abc-1"
    assert await three == "00000abc-1"
    with pytest.raises(BrokerError, match="workers:/x: too many"):
        await four
    worker.close()


async def test_messages_of_channels_that_are_followed() -> None:
    worker = Worker()
    worker.wire.feed(message(1, "a", b"searly"))
    following = worker.link.follow(Follow("a"))
    worker.wire.feed(message(2, "a", b"sstill early"))
    worker.wire.feed(
        frame(frames.FOLLOWED, (2).to_bytes(8)) + message(3, "a", b"j[1]") + message(4, "b", b"sno")
    )
    assert await following == "00000abc-2"
    worker.link.unfollow("a")
    worker.wire.feed(message(5, "a", b"slate"))
    assert worker.messages == [Message("a", "00000abc-3", [1])]
    assert [kind for kind, _ in await worker.sent()] == [frames.FOLLOW, frames.UNFOLLOW]
    worker.close()


async def test_following_that_was_cancelled() -> None:
    worker = Worker()
    following = worker.link.follow(Follow("a"))
    following.cancel()
    worker.link.unfollow("a")
    again = worker.link.follow(Follow("a"))
    worker.wire.feed(frame(frames.FOLLOWED, (2).to_bytes(8)) + message(3, "a", b"sfor nobody"))
    worker.wire.feed(frame(frames.FOLLOWED, (3).to_bytes(8)) + message(4, "a", b"sx"))
    assert await again == "00000abc-3"
    assert worker.messages == [Message("a", "00000abc-4", "x")]
    worker.close()


async def test_messages_can_be_held() -> None:
    worker = Worker()
    follow = Follow("a", held=[])
    following = worker.link.follow(follow)
    worker.wire.feed(frame(frames.FOLLOWED, (2).to_bytes(8)) + message(3, "a", b"sx"))
    await following
    assert worker.messages == []
    assert follow.held == [Message("a", "00000abc-3", "x")]
    worker.close()


async def test_data_that_cannot_be_read_is_one_message_less(expect_log: Any) -> None:
    worker = Worker()
    following = worker.link.follow(Follow("a"))
    worker.wire.feed(frame(frames.FOLLOWED, (0).to_bytes(8)))
    await following
    with expect_log("webfw.general", "a message in a cannot be read", count=3):
        worker.wire.feed(message(1, "a", b"") + message(2, "a", b"?x") + message(3, "a", b"s\xff"))
    worker.wire.feed(message(4, "a", b"sx"))
    assert [m.data for m in worker.messages] == ["x"]
    worker.close()


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (b"\0\0\0\0\0", "a frame of 0 bytes"),
        (HELLO, "no hello"),
        (frame(frames.ACKS, b"1"), "half an acknowledgement"),
        (acks(3, 9), "acknowledgements of nothing"),
        (frame(frames.DONE) + acks(1, 1), "in place of"),
        (acks(2, 2), "an acknowledgement in place of an answer"),
        (acks(1, 1) + frame(frames.PAGE, b""), "an answer of the kind 4 in place of 3"),
        (acks(1, 1) + frame(frames.FOLLOWED, b"123"), "half a position"),
        (acks(1, 1) + frame(frames.FOLLOWED, bytes(8)) + frame(frames.DONE), "an answer to nothing"),
        (frame(99), "an answer of the kind 99"),
    ],
)
async def test_a_hub_that_talks_nonsense_is_left(sent: bytes, why: str, expect_log: Any) -> None:
    worker = Worker()
    one, two = worker.link.publish("a", b"sx"), worker.link.follow(Follow("a"))
    with expect_log("webfw.general", f"the hub sent .*{why}", count=1):
        worker.wire.feed(sent)
    assert worker.wire.aborted
    worker.close()
    await asyncio.gather(one, two, return_exceptions=True)
    assert worker.lost == [worker.link]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"x", "no hello"),
        (b"x" * 14, "the hello of something else"),
        (frames.HELLO_START.pack(frames.MAGIC, frames.VERSION), "of the wrong length"),
    ],
)
async def test_what_is_no_hub(body: bytes, why: str, expect_log: Any) -> None:
    worker = Worker(greet=False)
    with expect_log("webfw.general", why, count=1):
        worker.wire.feed(frame(frames.HELLO, body))
    worker.close()
    with pytest.raises(ConnectionResetError, match=why):
        await worker.link.greeted


async def test_a_hub_of_another_version() -> None:
    worker = Worker(greet=False)
    worker.wire.feed(frame(frames.HELLO, frames.HELLO_START.pack(frames.MAGIC, 9) + b"whatever"))
    with pytest.raises(BrokerUnavailable, match="speaks version 9 and this webfw version 1"):
        await worker.link.greeted
    assert worker.wire.closing
    worker.close()


# --- its end ---


async def test_requests_end_with_the_connection() -> None:
    worker = Worker()
    one, two = worker.link.publish("a", b"sx"), worker.link.publish("a", b"sx")
    two.cancel()
    worker.wire.lose(ConnectionResetError())
    with pytest.raises(BrokerUnavailable, match="workers:/x: the connection was lost"):
        await one
    assert worker.lost == [worker.link]
    with pytest.raises(BrokerUnavailable, match="was lost"):
        worker.link.publish("a", b"sx")
    worker.link.unfollow("a")
    assert await worker.sent() == []
    worker.close()


async def test_last_words() -> None:
    worker = Worker()
    published = worker.link.publish("a", b"sx")
    worker.link.close()
    assert worker.wire.sent == frame(frames.PUBLISH, b"\x01asx")
    worker.wire.lose()
    with pytest.raises(BrokerUnavailable, match="has been closed"):
        await published
    await asyncio.sleep(0)
    worker.close()


async def test_a_hub_that_is_silent_is_given_up() -> None:
    worker = Worker(timeout=0.02)
    published = worker.link.publish("a", b"sx")
    while not worker.wire.aborted:
        await asyncio.sleep(0.005)
    worker.wire.lose()
    with pytest.raises(BrokerUnavailable, match="the hub has been silent for 0.02 s"):
        await published


async def test_a_hub_that_is_slow_is_not() -> None:
    worker = Worker(timeout=0.4)
    published = [worker.link.publish("a", b"sx") for _ in range(10)]
    for n in range(10):
        await asyncio.sleep(0.06)
        worker.wire.feed(acks(1, n + 1))
    await asyncio.gather(*published)
    await asyncio.sleep(0.9)
    assert not worker.wire.aborted  # it owes nothing
    worker.close()


async def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "MAX_WAITING", 10_000)
    worker = Worker()
    published = [worker.link.publish("a", b"s" + bytes(800)) for _ in range(9)]
    with pytest.raises(BrokerUnavailable, match="bytes wait for the hub, which is too slow"):
        worker.link.publish("a", b"s" + bytes(800))
    worker.wire.feed(acks(9, 9))
    await asyncio.gather(*published)
    last = worker.link.publish("a", b"sx")
    worker.wire.feed(acks(1, 10))
    await last
    await worker.sent()
    worker.close()
