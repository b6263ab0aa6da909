"""The broker on NATS with a real server: the contract, and what happens when the server goes away."""

# ruff: noqa: SIM117 - a broker within a server reads better than both in one line

import asyncio
import json
import logging
import os
import signal
import ssl
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.pubsub.natsserver import NatsServer
from tests.pubsub.proxy import Proxy
from webfw.pubsub import BrokerClosed, BrokerUnavailable, Gap, connect
from webfw.pubsub import nats as module
from webfw.pubsub.nats import NatsBroker
from webfw.testing import check_broker
from webfw.testing.brokers.bench import Collector, becomes, plain, take, until

pytestmark = [
    pytest.mark.needs("nats-server"),
    # nats-py leaves a connection that failed while it was being set up to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed <StreamWriter:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:loop is closed:ResourceWarning"),
]


@asynccontextmanager
async def running(folder: Path, *flags: str) -> AsyncIterator[NatsServer]:
    server = NatsServer(folder, *flags)
    try:
        await server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    """Reconnect without a pause; and nothing is ever written to standard error."""
    monkeypatch.setattr(module, "RECONNECT", 0.02)
    yield
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


async def soon(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def patiently(call: Callable[[], Awaitable[Any]]) -> Any:
    """Try again while the server is away."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await call()
            except BrokerUnavailable:
                await asyncio.sleep(0.02)


@pytest.mark.slow
async def test_conforms(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        await check_broker(lambda **options: NatsBroker(server.url, **options))


# --- connecting ---


async def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        server.kill()
        url = f"nats://user:secret@127.0.0.1:{server.port}"
        broker = NatsBroker(url)
        began = time.monotonic()
        for call in (broker.start, lambda: broker.publish("a", 1), lambda: broker.attach(Collector(), "a")):
            with pytest.raises(BrokerUnavailable) as caught:
                await call()
            assert f"nats://user:***@127.0.0.1:{server.port}" in str(caught.value)
            assert "secret" not in str(caught.value)
        assert time.monotonic() - began < 2
        await server.start()
        await broker.publish("a", 1)
        await broker.close()


async def test_a_server_that_says_nothing() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    broker = NatsBroker(f"nats://127.0.0.1:{port}", timeout=0.2)
    with pytest.raises(BrokerUnavailable, match="no answer"):
        await broker.start()
    starting = asyncio.ensure_future(broker.start())
    await asyncio.sleep(0.05)
    await broker.close()
    with pytest.raises(BrokerClosed):
        await starting
    silent.close()


async def test_a_server_without_jetstream(tmp_path: Path) -> None:
    command = ["nats-server", "-a", "127.0.0.1", "-p", "-1", "--ports_file_dir", str(tmp_path)]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    try:
        await soon(lambda: any(file.stat().st_size for file in tmp_path.glob("*.ports")))
        port = json.loads(next(tmp_path.glob("*.ports")).read_text())["nats"][0].rpartition(":")[2]
        broker = NatsBroker(f"nats://127.0.0.1:{port}")
        with pytest.raises(BrokerUnavailable, match=f"127.0.0.1:{port}"):
            await broker.start()
        await broker.close()
    finally:
        process.kill()
        await process.wait()


async def test_user_and_password(tmp_path: Path) -> None:
    async with running(tmp_path, "--user", "u", "--pass", "p@/s") as server:
        async with connect(f"nats://u:p%40%2Fs@127.0.0.1:{server.port}?history_size=3&prefix=mine") as broker:
            assert type(broker) is NatsBroker
            assert (broker.prefix, broker.history_size) == ("mine", 3)
            await broker.publish("a", 1)
        wrong = NatsBroker(f"nats://u:wr%6Fng@127.0.0.1:{server.port}")
        with pytest.raises(BrokerUnavailable) as caught:
            await wrong.start()
        assert "wr" not in str(caught.value)
        await wrong.close()


async def test_token(tmp_path: Path) -> None:
    async with running(tmp_path, "--auth", "t0ken") as server:
        async with NatsBroker(f"nats://t0ken@127.0.0.1:{server.port}") as broker:
            await broker.publish("a", 1)
            assert "t0ken" not in broker.shown


async def test_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # asyncio complains of what its own streams do when they are used by way of start_tls.
    monkeypatch.setattr(logging.getLogger("asyncio"), "disabled", True)
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    pem = str(tmp_path / "server.pem")
    async with running(tmp_path, "--tls", "--tlscert", pem, "--tlskey", pem) as server:
        trusting = ssl.create_default_context()
        authority.configure_trust(trusting)
        async with NatsBroker(f"tls://localhost:{server.port}", connect_options={"tls": trusting}) as broker:
            await broker.publish("a", 1)
            assert plain((await broker.history("a")).messages) == [1]
        distrusting = NatsBroker(f"tls://localhost:{server.port}")
        with pytest.raises(BrokerUnavailable, match="tls://localhost"):
            await distrusting.start()
        await distrusting.close()


@pytest.mark.parametrize(
    "url", ["nats:", "nats://", "nats:///x", "http://h", "nats://h/path", "nats://h?x=1", "nats://u:secret@"]
)
def test_bad_urls(url: str) -> None:
    with pytest.raises(ValueError, match="expected nats://") as caught:
        NatsBroker(url)
    assert "secret" not in str(caught.value)


def test_urls_and_options() -> None:
    assert module._from_url("nats://h") == {"servers": ["nats://h:4222"]}
    assert module._from_url("nats://[::1]:5")["servers"] == ["nats://[::1]:5"]
    secure = module._from_url("tls://u:p@h")
    assert secure["servers"] == ["tls://h:4222"]
    assert secure["tls"].check_hostname
    for options in (
        {"prefix": "a.b"},
        {"prefix": ""},
        {"timeout": 0},
        {"storage": "paper"},
        {"presence_ttl": 0},
    ):
        with pytest.raises(ValueError):  # noqa: PT011 - of several kinds
            NatsBroker("nats://h", **options)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nats", None)
    monkeypatch.setitem(sys.modules, "nats.errors", None)
    with pytest.raises(ImportError, match=r"webfw\[nats\]"):
        NatsBroker("nats://h")


async def test_closing_before_starting() -> None:
    await NatsBroker("nats://127.0.0.1:1").close()


# --- outages ---


async def test_what_was_missed_in_an_outage_is_recovered(tmp_path: Path, expect_log: Any) -> None:
    async with running(tmp_path) as server, Proxy(server.url) as proxy:
        async with NatsBroker(server.url) as writer, NatsBroker(proxy.url) as reader:
            async with reader.subscribe("a") as events, reader.subscribe("quiet") as quiet:
                await writer.publish("a", 0)
                with (
                    expect_log("webfw.general", f"{proxy.url}: the connection is lost", count=1),
                    expect_log("webfw.general", "the connection is back", level=20, count=1),
                ):
                    proxy.shut()
                    await soon(lambda: not reader.connected)
                    for n in range(1, 50):
                        await writer.publish("a", n)
                    with pytest.raises(BrokerUnavailable, match="no connection now"):
                        await reader.publish("a", "never")
                    with pytest.raises(BrokerUnavailable):
                        await reader.attach(Collector(), "b")
                    proxy.open()
                    await patiently(lambda: reader.publish("a", "end"))
                    assert plain(await until(events, "end")) == [*range(50), "end"]
                await writer.publish("quiet", 1)
                assert plain(await take(quiet, 1)) == [1]
            assert reader.stats.gaps == 0
            assert reader.stats.reconnects == 1
            assert reader.connected


async def test_too_long_an_outage_is_a_gap(tmp_path: Path, expect_log: Any) -> None:
    async with running(tmp_path) as server, Proxy(server.url) as proxy:
        async with NatsBroker(server.url, history_size=5) as writer:
            async with NatsBroker(proxy.url, history_size=5) as reader, reader.subscribe("a") as events:
                await writer.publish("a", 0)
                await take(events, 1)
                with expect_log("webfw.general", "connection is lost"):
                    proxy.shut()
                    await soon(lambda: not reader._server.connected)
                    for n in range(1, 20):
                        await writer.publish("a", n)
                    proxy.open()
                    assert plain(await until(events, 19)) == [Gap("a", "history"), 15, 16, 17, 18, 19]
                await writer.publish("a", 20)
                assert plain(await take(events, 1)) == [20]


@pytest.mark.slow
async def test_cut_again_and_again_under_load(tmp_path: Path, expect_log: Any) -> None:
    async with running(tmp_path) as server, Proxy(server.url) as proxy:
        async with NatsBroker(server.url, history_size=5000) as writer:
            async with NatsBroker(proxy.url, history_size=5000) as reader:
                readers = [await reader.subscribe(f"c{n % 3}", backlog=5000) for n in range(6)]
                count = 0
                with expect_log("webfw.general", "connection is lost"):
                    for _ in range(6):
                        for _ in range(60):
                            for c in range(3):
                                await writer.publish(f"c{c}", count)
                            count += 1
                            if count % 60 == 20:
                                proxy.shut()
                            if count % 60 == 50:
                                proxy.open()
                        await patiently(lambda: reader.history("c0"))
                    for c in range(3):
                        await writer.publish(f"c{c}", "end")
                    for events in readers:
                        assert plain(await until(events, "end")) == [*range(count), "end"]


async def test_the_server_is_killed_and_started_again(tmp_path: Path, expect_log: Any) -> None:
    async with running(tmp_path) as server:
        options: dict[str, Any] = {"timeout": 1.0, "presence_ttl": 300.0}
        async with NatsBroker(server.url, **options) as one, NatsBroker(server.url, **options) as two:
            async with two.subscribe("a", member="m") as events:
                first = await one.publish("a", 1)
                await take(events, 1)
                with expect_log("webfw.general", "connection is lost", count=2):
                    server.kill()
                    began = time.monotonic()
                    with pytest.raises(BrokerUnavailable, match="127.0.0.1"):
                        await one.publish("a", "never")
                    assert time.monotonic() - began < 2
                    await soon(lambda: not one._server.connected)
                    with pytest.raises(BrokerUnavailable):
                        await one.publish("a", "never")
                    await server.start()
                    await patiently(lambda: one.publish("a", 2))
                    assert plain(await take(events, 1)) == [2]
                    # The presence is kept in the server's memory, and told again.
                    await becomes(lambda: patiently(lambda: one.presence("a")), {"m": 1}, "present")
                assert plain((await one.history("a", first)).messages) == [2]
                assert (await one.history("a", first)).complete


async def test_the_server_has_lost_its_memory(tmp_path: Path, expect_log: Any) -> None:
    async with running(tmp_path) as server:
        async with NatsBroker(server.url, storage="memory") as one, NatsBroker(server.url) as two:
            async with two.subscribe("a") as events, two.subscribe("b") as others:
                old = [await one.publish("a", n) for n in range(5)]
                await take(events, 5)
                with expect_log("webfw.general", "connection is lost", count=2):
                    server.kill()
                    await server.start()
                    assert plain(await take(events, 1)) == [Gap("a", "history")]
                    assert plain(await take(others, 1)) == [Gap("b", "history")]
                    new = await patiently(lambda: one.publish("a", "new"))
                assert plain(await take(events, 1)) == ["new"]
                assert events.position == new
                past = await one.history("a", old[-1])
                assert (plain(past.messages), past.complete) == (["new"], False)


async def test_an_id_is_of_the_stream_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expect_log: Any
) -> None:
    """Even when the first thing after an outage is a message, and another process has made the stream again."""
    async with running(tmp_path) as server:
        async with NatsBroker(server.url, storage="memory") as one, NatsBroker(server.url) as two:
            first = await one.publish("a", 1)
            monkeypatch.setattr(one, "_resync", lambda: None)  # it is late
            with expect_log("webfw.general", "connection is lost", count=2):
                server.kill()
                await server.start()
                await patiently(lambda: two.history("a"))
                new = await patiently(lambda: one.publish("a", 2))
            assert new.partition("-")[0] == two._epoch != first.partition("-")[0]
            assert (await two.history("a")).position == new


async def test_a_stream_that_somebody_removes(tmp_path: Path) -> None:
    async with running(tmp_path) as server, NatsBroker(server.url) as one, NatsBroker(server.url) as two:
        async with two.subscribe("a") as events:
            for n in range(3):
                await one.publish("a", n)
            await take(events, 3)
            await one._server.context().delete_stream("webfw")
            await one.publish("a", "new")  # makes it again; the numbers begin anew
            assert plain(await until(events, "new")) == [Gap("a", "history"), "new"]
            await one.publish("a", "newer")
            assert plain(await take(events, 1)) == ["newer"]
            await one._server.context().delete_stream("webfw")
            assert (await two.history("a")).messages == []


async def test_closing_during_an_outage(tmp_path: Path, expect_log: Any) -> None:
    async with running(tmp_path) as server:
        broker = NatsBroker(server.url)
        listener = Collector()
        await broker.attach(listener, "a", member="m")
        with expect_log("webfw.general", "connection is lost"):
            server.kill()
            await soon(lambda: not broker._server.connected)
            place = await asyncio.wait_for(_attach_fails(broker), 2)
            assert place is None
            await asyncio.wait_for(broker.close(), 3)
        assert listener.closed == 1


async def _attach_fails(broker: NatsBroker) -> None:
    with pytest.raises(BrokerUnavailable):
        await broker.attach(Collector(), "b")


@pytest.mark.slow
async def test_a_server_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expect_log: Any) -> None:
    monkeypatch.setattr(module, "PING", 0.1)
    monkeypatch.setattr(module, "TICK", 0.1)
    async with running(tmp_path) as server, NatsBroker(server.url, timeout=0.6) as broker:
        assert server.process is not None
        async with broker.subscribe("a", member="m") as events:
            await broker.publish("a", 1)
            server.process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, server.process.pid, os.WSTOPPED | os.WNOWAIT)  # it may answer until then
            with expect_log("webfw.general", "connection is lost"):
                began = time.monotonic()
                for call in (
                    lambda: broker.publish("a", 2),
                    lambda: broker.history("a"),
                    lambda: broker.presence("a"),
                    lambda: broker.attach(Collector(), "b"),
                ):
                    with pytest.raises(BrokerUnavailable):
                        await call()
                assert time.monotonic() - began < 10
                await soon(lambda: not broker._server.connected)
                server.process.send_signal(signal.SIGCONT)
                await patiently(lambda: broker.publish("a", "end"))
            got = plain(await until(events, "end"))
            # Those that raised may have been published all the same, but none of them twice.
            assert got in ([1, "end"], [1, 2, "end"])
            await becomes(lambda: patiently(lambda: broker.presence("a")), {"m": 1}, "present")


async def test_leaving_during_an_outage(tmp_path: Path, expect_log: Any) -> None:
    async with running(tmp_path) as server, Proxy(server.url) as proxy, NatsBroker(proxy.url) as broker:
        place = await broker.attach(Collector(), "a")
        with expect_log("webfw.general", "connection is lost"):
            proxy.shut()
            await soon(lambda: not broker._server.connected)
            place.detach()
            await soon(lambda: not broker.channels)
            assert not broker._follows
            proxy.open()
            await patiently(lambda: broker.publish("a", 1))


# --- what is missing, and what is not ---


async def test_a_message_that_does_not_come_is_read(tmp_path: Path) -> None:
    async with running(tmp_path) as server, NatsBroker(server.url) as broker:
        whole = NatsBroker._take
        drop = {2, 3, 6}

        def leaky(channel: str, follow: Any, number: int, before: int, data: bytes) -> None:
            if number not in drop:
                whole(broker, channel, follow, number, before, data)

        broker._take = leaky  # type: ignore[method-assign]
        async with broker.subscribe("a") as events:
            for n in range(1, 9):
                await broker.publish("a", n)
            assert plain(await until(events, 8)) == list(range(1, 9))
        assert broker.stats.gaps == 0


async def test_without_history_what_does_not_come_is_a_gap(tmp_path: Path) -> None:
    async with running(tmp_path) as server, NatsBroker(server.url, history_size=0) as broker:
        whole = NatsBroker._take

        def leaky(channel: str, follow: Any, number: int, before: int, data: bytes) -> None:
            if number != 3:
                whole(broker, channel, follow, number, before, data)

        broker._take = leaky  # type: ignore[method-assign]
        async with broker.subscribe("a") as events:
            for n in range(1, 7):
                await broker.publish("a", n)
            assert plain(await until(events, 6)) == [1, 2, Gap("a", "history"), 4, 5, 6]


async def test_a_quiet_channel_that_is_followed_has_no_gap(tmp_path: Path, expect_log: Any) -> None:
    """Its last message is long gone from the stream, but that nothing has come since is known here."""
    async with running(tmp_path) as server, Proxy(server.url) as proxy:
        async with NatsBroker(server.url, history_age=0.4) as writer:
            async with NatsBroker(proxy.url, history_age=0.4) as reader, reader.subscribe("quiet") as quiet:
                id = await writer.publish("quiet", 1)
                await take(quiet, 1)
                number = reader._parse(id)
                assert number is not None

                async def busy() -> bool:
                    await writer.publish("busy", "x")
                    info = await writer._info()
                    return info.state.first_seq > number + 1 and reader._settled > number + 1

                async with asyncio.timeout(10):
                    while not await busy():
                        await asyncio.sleep(0.02)
                assert not (await writer.history("quiet", id)).complete  # nobody has followed it there
                assert (await reader.history("quiet", id)).complete
                with expect_log("webfw.general", "connection is lost"):
                    proxy.shut()
                    await soon(lambda: not reader._server.connected)
                    proxy.open()
                    await patiently(lambda: reader.publish("quiet", 2))
                    assert plain(await take(quiet, 1)) == [2]


@pytest.mark.parametrize("keep", [0, 3])
async def test_messages_that_go_away_while_they_are_read(keep: int, tmp_path: Path) -> None:
    async with running(tmp_path) as server, NatsBroker(server.url) as broker:
        pull = broker._server._pull

        async def late(stream: str, consumer: str, count: int) -> Any:
            await broker._server.context().purge_stream(stream, keep=keep)
            return await pull(stream, consumer, count)

        ids = [await broker.publish("a", n) for n in range(6)]
        broker._server._pull = late  # type: ignore[method-assign]
        past = await broker.history("a", ids[0])
        assert (plain(past.messages), past.complete) == (list(range(6 - keep, 6)), False)


async def test_limits_that_grow_promise_nothing_about_what_was_removed(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        async with NatsBroker(server.url, history_size=2) as small:
            await small.publish("other", "older")  # so that the stream itself begins before them
            ids = [await small.publish("a", n) for n in range(6)]
        async with NatsBroker(server.url, history_size=100) as large:
            assert not (await large.history("a", ids[0])).complete
            assert (await large.history("a", ids[5])).complete
            ids += [await large.publish("a", n) for n in range(6, 20)]
            past = await large.history("a", ids[6])
            assert (plain(past.messages), past.complete) == (list(range(7, 20)), True)
        async with NatsBroker(server.url, history_size=3, history_age=float("inf")) as again:
            past = await again.history("a", ids[0])
            assert (plain(past.messages), past.complete) == ([17, 18, 19], False)
            assert (await again.history("a", ids[16])).complete
            assert (await again._info()).config.max_age == 0


async def test_who_starts_at_the_same_time(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        brokers = [NatsBroker(server.url, history_size=n % 2 + 5) for n in range(8)]
        await asyncio.gather(*(broker.start() for broker in brokers))
        ids = await asyncio.gather(*(broker.publish("a", 1) for broker in brokers))
        assert len(set(ids)) == 8
        for broker in brokers:
            await broker.close()


async def test_what_others_write_is_ignored(tmp_path: Path, expect_log: Any) -> None:
    async with running(tmp_path) as server, NatsBroker(server.url) as broker:
        client = broker._server.client
        assert client is not None
        with expect_log("webfw.general", "what came for 'a b' is ignored: no message of webfw", level=20):
            async with broker.subscribe("a b") as events:
                subject = broker._subject("m", "a b")
                assert subject == "webfw.m.a=20b"
                await broker.publish("a b", 1)
                await client.publish(subject, b"\xff not ours")
                await client.publish(broker._subject("r", "a b"), b"sfaked")
                for data in (b"{", b"[1]", b'{"m": "many"}'):
                    await client.publish(broker._subject("w", "a b") + ".x", data)
                    await client.flush()
                    assert await broker.presence("a b") == {}
                await broker.publish("a b", 2)
                assert plain(await take(events, 2)) == [1, 2]
            assert plain((await broker.history("a b")).messages) == [1, 2]


async def test_too_large_a_message(tmp_path: Path) -> None:
    async with running(tmp_path) as server, NatsBroker(server.url) as broker:
        with pytest.raises(ValueError, match="nats://127.0.0.1:.* takes no message of 2000001 bytes"):
            await broker.publish("a", b"x" * 2_000_000)
        await broker.publish("a", 1)


async def test_prefixes_do_not_see_each_other(tmp_path: Path) -> None:
    async with running(tmp_path) as server, NatsBroker(server.url, prefix="one") as one:
        async with NatsBroker(server.url, prefix="two") as two, two.subscribe("a", member="m") as events:
            await one.publish("a", "one")
            await two.publish("a", "two")
            assert plain(await take(events, 1)) == ["two"]
            assert plain((await one.history("a")).messages) == ["one"]
            assert await one.presence("a") == {}


async def test_the_members_of_a_process_that_died_are_forgotten(tmp_path: Path) -> None:
    async with running(tmp_path) as server, NatsBroker(server.url, presence_ttl=0.6) as one:
        dead = NatsBroker(server.url, presence_ttl=0.6)
        await dead.attach(Collector(), "a", member="dead")
        await one.attach(Collector(), "a", member="alive")
        await becomes(lambda: one.presence("a"), {"alive": 1, "dead": 1}, "present")
        await dead._end_tasks()
        await dead.engine_close()  # without a goodbye
        await becomes(lambda: one.presence("a"), {"alive": 1}, "present later")
        await dead.close()


async def test_consumers_are_cleared_away(tmp_path: Path) -> None:
    async with running(tmp_path) as server, NatsBroker(server.url) as broker:
        for n in range(20):
            await broker.publish("a", n)
            await broker.history("a")
        await soon(lambda: len(broker._tasks) <= 2)
        assert (await broker._info()).state.consumer_count == 0
