"""What is asked of JetStream, against a real server; test_nats.py has what a broker makes of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.pubsub.natsserver import NatsServer
from webfw.pubsub import BrokerUnavailable
from webfw.pubsub.jetstream import JetStream, complete_from
from webfw.pubsub.nats import NatsBroker

pytestmark = pytest.mark.needs("nats-server")


@asynccontextmanager
async def asking(folder: Path) -> AsyncIterator[JetStream]:
    server = NatsServer(folder)
    try:
        await server.start()
        async with NatsBroker(server.url) as broker:
            yield broker._server
    finally:
        server.kill()


async def test_without_a_connection() -> None:
    server = NatsBroker("nats://u:secret@h")._server
    assert not server.connected
    with pytest.raises(BrokerUnavailable, match=r"nats://u:\*\*\*@h: there is no connection now"):
        server.context()
    assert "secret" not in str(server.unavailable(OSError("nats://u:secret@h is away")))
    assert str(server.unavailable(TimeoutError())).endswith(": TimeoutError")


async def test_streams_have_the_limits_of_today(tmp_path: Path) -> None:
    async with asking(tmp_path) as server:
        limits = {"name": "s", "subjects": ["s.>"], "max_msgs_per_subject": 2, "storage": "memory"}
        made = await server.ensure(**limits)
        assert (made.config.max_msgs_per_subject, complete_from(made.config)) == (2, 0)
        assert (await server.ensure(**limits)).created == made.created
        for n in range(3):
            await server.context().publish("s.a", b"%d" % n)
        fewer = await server.ensure(**{**limits, "max_msgs_per_subject": 1})
        assert (fewer.config.max_msgs_per_subject, complete_from(fewer.config)) == (1, 0)
        more = await server.ensure(**{**limits, "max_msgs_per_subject": 5})
        assert (more.config.max_msgs_per_subject, complete_from(more.config)) == (5, 3)
        with pytest.raises(BrokerUnavailable):
            await server.ensure(**{**limits, "name": "other"})  # the subjects are taken


async def test_parts_of_a_stream(tmp_path: Path) -> None:
    async with asking(tmp_path) as server:
        await server.ensure(name="s", subjects=["s.>"], max_msgs_per_subject=10, storage="memory")
        for n in range(6):
            await server.context().publish(f"s.{n % 2}", b"%d" % n)
        assert await server.read("s", "s.1", 3) == [("s.1", 4, b"3"), ("s.1", 6, b"5")]
        assert await server.read("s", "s.*") == [("s.0", 5, b"4"), ("s.1", 6, b"5")]
        assert await server.read("s", "s.none", 1) == []
        async with asyncio.timeout(5):  # nothing is left behind
            while (await server.context().stream_info("s")).state.consumer_count:
                await asyncio.sleep(0.01)
