"""One pub/sub connection, against a client that answers, is silent, fails or breaks as each test says."""

import asyncio
from typing import Any

import pytest

from webfw.pubsub.pushes import CHUNK, Pushes, end, heeding


class FakePubSub:
    """What `Pushes` uses of redis-py's PubSub; ``calls`` has what it was told."""

    def __init__(self, *, answers: bool = True) -> None:
        self.calls: list[tuple[str, tuple[bytes, ...]]] = []
        self.inbox: asyncio.Queue[Any] = asyncio.Queue()
        self.answers = answers
        self.closed = False

    async def subscribe(self, *names: bytes) -> None:
        self.calls.append(("subscribe", names))

    async def unsubscribe(self, *names: bytes) -> None:
        self.calls.append(("unsubscribe", names))

    async def ping(self) -> None:
        if self.answers:
            self.inbox.put_nowait({"type": "pong"})

    async def get_message(self, timeout: float | None) -> Any:
        message = await self.inbox.get()
        if isinstance(message, Exception):
            raise message
        return message

    async def aclose(self) -> None:
        self.closed = True


def connection(
    pubsub: FakePubSub, got: list[tuple[bytes, bytes]] | None = None, timeout: float = 5.0
) -> Pushes:
    got = [] if got is None else got
    return Pushes(
        pubsub,
        b"own",
        timeout=timeout,
        errors=(OSError,),
        pushed=lambda name, data: got.append((name, data)),
    )


async def test_subscribes_in_parts_and_passes_on_what_is_pushed() -> None:
    pubsub = FakePubSub()
    got: list[tuple[bytes, bytes]] = []
    live = connection(pubsub, got)
    names = [b"%d" % n for n in range(CHUNK + 1)]
    await live.open(names)
    assert [len(given) for _, given in pubsub.calls] == [1, CHUNK, 1]
    pubsub.inbox.put_nowait(None)
    pubsub.inbox.put_nowait({"type": "message", "channel": b"1", "data": b"x"})
    await live.subscribe(b"more")
    assert got == [(b"1", b"x")]
    await live.unsubscribe(b"more", unless={b"more"})
    await live.unsubscribe(b"1", unless=())
    assert pubsub.calls[-1] == ("unsubscribe", (b"1",))
    assert ("unsubscribe", (b"more",)) not in pubsub.calls
    await live.close()
    assert pubsub.closed


async def test_a_server_that_is_silent() -> None:
    live = connection(FakePubSub(answers=False), timeout=0.05)
    with pytest.raises(TimeoutError):
        await live.open([])
    assert live.failed.done()
    with pytest.raises(TimeoutError):  # how it has failed
        await live.subscribe(b"a")
    await live.close()


async def test_an_error_of_the_connection() -> None:
    pubsub = FakePubSub()
    live = connection(pubsub)
    await live.open([])
    pubsub.inbox.put_nowait(ConnectionResetError("gone"))
    with pytest.raises(ConnectionResetError, match="gone"):
        await live.last()
    await live.close()


@pytest.mark.parametrize("message", [{"type": "pong"}, {"type": "message"}, AttributeError("in the client")])
async def test_an_error_that_nobody_expects_is_told_and_ends_it(message: Any, expect_log: Any) -> None:
    pubsub = FakePubSub()
    live = connection(pubsub)
    await live.open([])
    with expect_log("webfw.application", "while reading from Redis", count=1):
        pubsub.inbox.put_nowait(message)
        async with asyncio.timeout(5):
            with pytest.raises(ConnectionError):
                await live.last()
    await live.close()


async def test_a_cancellation_that_is_swallowed_is_made_up_for() -> None:
    started = asyncio.Event()

    async def deaf() -> None:
        try:
            started.set()
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass

    task = asyncio.ensure_future(heeding(deaf()))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_closing_what_does_not_close(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webfw.pubsub.pushes.GOODBYE", 0.01)

    class Stuck:
        async def aclose(self) -> None:
            await asyncio.sleep(60)

    await end(Stuck(), (OSError,))
