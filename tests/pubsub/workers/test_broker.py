"""Tests of webfw.pubsub.workers.broker: with hubs as real processes, which die, hang and are raced for."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from webfw.pubsub import BrokerClosed, BrokerUnavailable, Gap, Message, connect
from webfw.pubsub.workers import WorkersBroker, WorkersHub, broker, frames
from webfw.pubsub.workers.link import Link
from webfw.pubsub.workers.places import Place
from webfw.testing.brokers import check_broker

ROOT = Path(__file__).resolve().parents[3]
LOST = "the connection to the hub was lost"

Make = Callable[..., WorkersBroker]


@pytest.fixture
def make(path: str) -> Make:
    """Brokers at the test's path; a hub they start ends quickly."""

    def make(**options: Any) -> WorkersBroker:
        return WorkersBroker(f"workers:{path}", **{"linger": 0.1, **options})

    return make


@contextlib.asynccontextmanager
async def serving(path: str) -> AsyncIterator[WorkersHub]:
    hub = WorkersHub(path)
    await hub.start()
    try:
        yield hub
    finally:
        await hub.stop()


async def connected_again(one: WorkersBroker) -> None:
    while one._link is None:
        await asyncio.sleep(0.005)


async def test_conforms(make: Make) -> None:
    async with make():  # so that one hub serves all checks
        await check_broker(make)


async def test_conforms_with_a_hub_in_the_program(path: str, make: Make) -> None:
    async with serving(path) as hub:
        await check_broker(lambda **options: make(autostart=False, **options))
        while hub.peers:
            await asyncio.sleep(0.005)


# --- URLs ---


def test_urls(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = connect(f"workers:{path}?history_size=7&presence_ttl=3", timeout=2.5)
    assert isinstance(made, WorkersBroker)
    assert (made.place.path, made.url, made.history_size, made.timeout) == (path, f"workers:{path}", 7, 2.5)
    assert WorkersBroker("workers:///a%20b").place.path == "/a b"
    monkeypatch.setenv("WEBFW_WORKERS_SOCKET", "/from/environment")
    assert WorkersBroker().place.path == "/from/environment"


@pytest.mark.parametrize("url", ["memory:", "workers://host/x", "workers:?x=1", "workers:/x#y"])
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(ValueError, match="not workers:"):
        WorkersBroker(url)


def test_a_path_that_is_too_long() -> None:
    with pytest.raises(ValueError, match="the path of a socket can have"):
        WorkersBroker("workers:/" + "x" * 200)


@pytest.mark.parametrize("options", [{"timeout": 0}, {"linger": -1}, {"timeout": float("nan")}])
def test_wrong_options(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="timeout must be"):
        WorkersBroker("workers:/x", **options)


# --- starting a hub ---


async def test_the_hub_ends_after_the_last_has_gone(path: str, make: Make, hub_of: Any) -> None:
    async with make() as one:
        pid = hub_of(path).pid
        async with make():
            pass
        await one.publish("a", "x")
        assert hub_of(path).pid == pid
    hub_of(path).ended(pid)
    assert os.listdir(os.path.dirname(path)) == []


async def test_what_is_remembered_outlives_a_short_absence(path: str, make: Make, hub_of: Any) -> None:
    async with make(linger=5) as one:
        id = await one.publish("a", "x")
    async with make() as two:
        assert (await two.history("a")).messages == [Message("a", id, "x")]
    hub_of(path).end()


async def test_many_start_at_once_and_one_hub_runs(path: str, make: Make) -> None:
    brokers = [make() for _ in range(8)]
    await asyncio.gather(*(one.start() for one in brokers))
    events = await brokers[0].subscribe("a")
    for n, one in enumerate(brokers):
        await one.publish("a", n)
        assert (await anext(events)).data == n  # type: ignore[union-attr]
    await asyncio.gather(*(one.close() for one in brokers))


async def test_a_stale_socket_is_no_obstacle(path: str, make: Make) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
        dead.listen()
    async with make() as one:
        await one.publish("a", "x")


async def test_not_to_start_one(path: str, make: Make) -> None:
    one = make(autostart=False)
    with pytest.raises(BrokerUnavailable, match=f"workers:{path}: no hub is there"):
        await one.start()
    async with serving(path):
        await one.start()  # the next attempt
        await one.publish("a", "x")
        await one.close()
    assert not os.path.exists(path)


async def test_a_hub_that_cannot_start(path: str, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        broker,
        "start_hub",
        lambda place, linger: subprocess.Popen([sys.executable, "-c", "1/0"], stderr=subprocess.DEVNULL),
    )
    with pytest.raises(BrokerUnavailable, match="the hub cannot start, its status is 1"):
        await make().start()


async def test_a_hub_that_does_not_come_up(path: str, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "START_TIMEOUT", 0.1)
    other = Place(path)
    assert other.lock()  # somebody says that it will start one
    with pytest.raises(BrokerUnavailable, match=r"no hub has come up in 0.1 s"):
        await make().start()
    other.release()


async def test_a_hub_that_hangs_at_its_start_does_not_hold_up_the_loop(
    path: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "START_TIMEOUT", 0.05)
    monkeypatch.setattr(broker, "START_GRACE", 0.01)
    started: list[subprocess.Popen[bytes]] = []

    def start(place: Place, linger: float) -> "subprocess.Popen[bytes]":
        started.append(subprocess.Popen(["sleep", "60"]))
        return started[-1]

    monkeypatch.setattr(broker, "start_hub", start)
    with pytest.raises(BrokerUnavailable, match=r"no hub has come up in 0.05 s"):
        await make().start()
    (process,) = started
    process.kill()
    while process.returncode is None:  # somebody waits for it
        await asyncio.sleep(0.005)


async def test_starting_can_be_cancelled(path: str, make: Make, hub_of: Any) -> None:
    one = make()
    starting = asyncio.ensure_future(one.start())
    await asyncio.sleep(0.01)
    await one.close()
    with pytest.raises((BrokerClosed, asyncio.CancelledError)):
        await starting
    hub_of(path).end()  # it was on its way already, and would wait for two seconds


async def test_a_path_of_another_user(path: str, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(path):
        one = make()
        one.place.uid += 1
        with pytest.raises(BrokerUnavailable, match="belongs to user"):
            await one.start()
        two = make()
        monkeypatch.setattr(broker, "peer_process", lambda sock: (1, 12345))
        with pytest.raises(BrokerUnavailable, match="the hub belongs to user 12345"):
            await two.start()


async def test_no_unix_sockets(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    one = make()
    with monkeypatch.context() as patch:
        patch.delattr(socket, "AF_UNIX")
        with pytest.raises(BrokerUnavailable, match="no Unix sockets"):
            await one.start()


@contextlib.asynccontextmanager
async def pretending(path: str, answer: bytes | None, polite: bool = False) -> AsyncIterator[None]:
    """A server that is no hub: sends this to each who comes, and hangs up; with None it says nothing.

    :param polite: whether it listens to what the other has to say before it hangs up.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if answer is not None:
            writer.write(answer)
            if polite:
                with contextlib.suppress(ConnectionError):
                    await reader.read(1)
        else:
            with contextlib.suppress(ConnectionError):
                await reader.read()
        writer.close()

    server = await asyncio.start_unix_server(serve, path)
    try:
        yield
    finally:
        server.close()
        await server.wait_closed()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


async def test_a_hub_of_another_version(path: str, make: Make) -> None:
    other = frames.frame(frames.HELLO, frames.HELLO_START.pack(frames.MAGIC, 99))
    async with pretending(path, other):
        with pytest.raises(BrokerUnavailable, match="speaks version 99"):
            await make().start()


async def test_something_that_never_answers(path: str, make: Make) -> None:
    async with pretending(path, None):
        with pytest.raises(BrokerUnavailable, match=r"has not answered in 0.05 s"):
            await make(timeout=0.05).start()


async def test_something_that_hangs_up(path: str, make: Make) -> None:
    """As a hub does that is just ending: it is tried again."""
    async with pretending(path, b""):
        with pytest.raises(BrokerUnavailable, match="no hub is there"):
            await make(autostart=False).start()


@pytest.mark.parametrize("polite", [False, True])
async def test_something_that_hangs_up_behind_its_hello(
    path: str, make: Make, polite: bool, expect_log: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again and again, but with time between."""
    monkeypatch.setattr(broker, "FIRST_DELAY", 0.001)
    monkeypatch.setattr(broker, "LAST_DELAY", 0.04)
    hello = frames.frame(frames.HELLO, frames.HELLO_BACK.pack(frames.MAGIC, frames.VERSION, 1))
    one = make(autostart=False)
    with expect_log("webfw.general", f"{LOST}|it is tried again"):
        async with pretending(path, hello, polite):
            while one._delay < 0.04:  # on a machine that stands still in between it begins anew
                with contextlib.suppress(BrokerUnavailable):
                    await one.publish("a", "x")
                await asyncio.sleep(0)
        await one.close()


# --- messages ---


async def test_a_message_has_a_size(make: Make) -> None:
    async with make() as one, one.subscribe("a") as events:
        await one.publish("a", b"x" * (frames.MAX_MESSAGE - 1))
        assert len((await anext(events)).data) == frames.MAX_MESSAGE - 1  # type: ignore[union-attr]
        with pytest.raises(ValueError, match="a message may have"):
            await one.publish("a", b"x" * frames.MAX_MESSAGE)


async def test_long_histories_come_in_pages(make: Make) -> None:
    async with make() as one:
        ids = [await one.publish("a", str(n) + "x" * 100_000) for n in range(20)]
        past = await one.history("a")
        assert [m.id for m in past.messages] == ids
        assert [m.id for m in (await one.history("a", limit=7)).messages] == ids[13:]
        assert [m.id for m in (await one.history("a", since=ids[3])).messages] == ids[4:]
        with contextlib.closing(await one.subscribe("a", since=ids[0])) as events:
            assert [(await anext(events)).id for _ in range(19)] == ids[1:]  # type: ignore[union-attr]


async def test_a_history_that_is_forgotten_while_it_is_read(path: str, make: Make) -> None:
    async with serving(path) as hub, make() as one:
        ids = [await one.publish("a", str(n) + "x" * 100_000) for n in range(10)]
        history = hub.store.history
        asked = 0

        def forgetful(name: bytes, now: float, since: int, until: int, limit: int) -> bytes:
            nonlocal asked
            asked += 1
            if asked == 2:
                entry = hub.store.channels[b"a"]
                while entry.kept[0][1] <= since + 2:
                    entry.floor = entry.kept.popleft()[1]
            return history(name, now, since, until, limit)

        hub.store.history = forgetful  # type: ignore[method-assign]
        past = await one.history("a")
        assert [m.id for m in past.messages] == ids[4:]  # without a hole
        assert past.complete
        asked = 0
        hub.store.channels[b"a"].floor = 0
        past = await one.history("a", since=ids[0])
        assert [m.id for m in past.messages] == ids[8:]
        assert not past.complete


async def test_members_are_told_by_what_has_changed(path: str, make: Make) -> None:
    async with serving(path) as hub, make() as one:
        told: list[bytes] = []
        announce = hub.store.announce

        def listening(peer: Any, name: bytes, changes: bytes) -> Any:
            told.append(changes)
            return announce(peer, name, changes)

        hub.store.announce = listening  # type: ignore[method-assign]
        ann = await one.subscribe("a", member="ann")
        bob = await one.subscribe("a", member="bob")
        ann.close()
        while len(told) < 3:
            await asyncio.sleep(0)
        assert [json.loads(changes) for changes in told] == [{"ann": 1}, {"bob": 1}, {"ann": 0}]
        await one.engine_announce("a", {"bob": 1})
        assert len(told) == 3  # no news
        assert await one.presence("a") == {"bob": 1}
        bob.close()


async def test_too_many_members(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Presence is no reason to fail: they listen, and are not named."""
    async with make() as one:
        await one.start()
        monkeypatch.setattr(frames, "MAX_FRAME", 100)
        await one.subscribe("a", member="x" * 200)
        monkeypatch.undo()
        assert await one.presence("a") == {}


# --- outages ---


async def test_a_hub_that_dies(path: str, make: Make, hub_of: Any, expect_log: Any) -> None:
    async with make() as one, make() as two, two.subscribe("a", member="ann") as events:
        id = await one.publish("a", "before")
        await anext(events)
        first = hub_of(path).pid
        with expect_log("webfw.general", LOST, count=2):
            os.kill(first, signal.SIGKILL)
            while one.connected:
                await asyncio.sleep(0.001)
            with pytest.raises(BrokerUnavailable, match="there is no connection to the hub now"):
                await one.publish("a", "during")
            await connected_again(one)
            await connected_again(two)
        assert one.connected
        assert one.stats.reconnects == two.stats.reconnects == 1
        assert hub_of(path).pid != first
        assert await anext(events) == Gap("a", "history")
        after = await one.publish("a", "after")
        assert await anext(events) == Message("a", after, "after")
        assert after.partition("-")[0] != id.partition("-")[0]
        while await one.presence("a") != {"ann": 1}:
            await asyncio.sleep(0.005)
        async with one.subscribe("a", since=id) as again:
            assert [await anext(again), await anext(again)] == [
                Gap("a", "history"),
                Message("a", after, "after"),
            ]


async def test_a_hub_that_dies_again_and_again(
    path: str, make: Make, hub_of: Any, expect_log: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under load: a gap for each death, and between gaps everything that was published, in order, once."""
    monkeypatch.setattr(broker, "LAST_DELAY", 0.01)
    plenty = {"history_size": 100_000, "backlog": 100_000}
    async with make(**plenty) as writer, make(**plenty) as reader, reader.subscribe("a") as events:
        sent: dict[str, int] = {}
        with expect_log("webfw.general", LOST):
            for _ in range(4):
                pid = hub_of(path).pid
                before = len(sent)
                while len(sent) < before + 50:
                    with contextlib.suppress(BrokerUnavailable):
                        sent[await writer.publish("a", len(sent))] = len(sent)
                    await asyncio.sleep(0)
                os.kill(pid, signal.SIGKILL)
                hub_of(path).ended(pid)
                while writer._link is not None or reader._link is not None:
                    await asyncio.sleep(0)
                await connected_again(reader)
                await connected_again(writer)
        end = await writer.publish("a", "end")
        got = [await anext(events)]
        while got[-1] != Message("a", end, "end"):
            got.append(await anext(events))
    assert [event.reason for event in got if isinstance(event, Gap)] == ["history"] * 4
    ids = [event.id for event in got if isinstance(event, Message)]
    assert len(set(ids)) == len(ids)
    numbers = [event.data for event in got[:-1] if isinstance(event, Message)]
    assert numbers == sorted(numbers)
    # What a hub had taken when it died may not have come out any more; all that was taken while it lived has.
    assert len(numbers) >= len(sent) - 4 * 10


async def test_a_publish_under_way_when_the_hub_dies(
    make: Make, path: str, hub_of: Any, expect_log: Any
) -> None:
    async with make() as one:
        hub_of(path)
        os.kill(hub_of(path).pid, signal.SIGSTOP)
        publishing = [asyncio.ensure_future(one.publish("a", n)) for n in range(10)]
        await asyncio.sleep(0)
        with expect_log("webfw.general", LOST, count=1):
            os.kill(hub_of(path).pid, signal.SIGKILL)
            results = await asyncio.gather(*publishing, return_exceptions=True)
        assert {type(result) for result in results} == {BrokerUnavailable}
        await connected_again(one)


async def test_a_hub_that_hangs(make: Make, path: str, hub_of: Any, expect_log: Any) -> None:
    one = make(timeout=0.5)
    await one.start()
    pid = hub_of(path).pid
    os.kill(pid, signal.SIGSTOP)
    with expect_log("webfw.general", LOST + "|has not answered in"):
        with pytest.raises(BrokerUnavailable, match="silent for 0.5 s"):
            await one.publish("a", "x")
        with pytest.raises(BrokerUnavailable, match="no connection"):
            await one.publish("a", "x")
        while one._link is None:
            os.kill(pid, signal.SIGCONT)
            await asyncio.sleep(0.01)
    await one.publish("a", "x")
    await one.close()


async def test_who_was_cut_off_misses_nothing(
    path: str, make: Make, expect_log: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections break while messages flow; the hub lives on, and everybody gets everything once."""
    monkeypatch.setattr(broker, "LAST_DELAY", 0.005)
    plenty = {"history_size": 100_000, "backlog": 100_000}
    async with serving(path) as hub, make(**plenty) as writer, make(**plenty) as reader:
        readers = [await reader.subscribe("a") for _ in range(3)]
        sent = 0
        with expect_log("webfw.general", LOST) as records:
            for _ in range(20):
                link = reader._link
                assert link is not None
                for _ in range(5):
                    await writer.publish("a", sent)
                    sent += 1
                link.abort("cut by the test")
                while reader._link in (link, None):
                    await writer.publish("a", sent)
                    sent += 1
        assert len(records) == 20
        await writer.publish("a", "end")
        for events in readers:
            got = [(await anext(events)).data for _ in range(sent + 1)]  # type: ignore[union-attr]
            assert got == [*range(sent), "end"]
        assert reader.stats.gaps == 0
        assert len(hub.peers) == 2


async def test_a_reader_that_was_cut_off_for_too_long(
    path: str, make: Make, expect_log: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        serving(path),
        make(history_size=3) as writer,
        make() as reader,
        reader.subscribe("a") as events,
        reader.subscribe("quiet") as quiet,
    ):
        await writer.publish("a", "seen")
        await anext(events)
        with expect_log("webfw.general", LOST, count=1):
            opening, away = reader._open, asyncio.Event()

            async def later() -> Link:
                await away.wait()
                return await opening()

            monkeypatch.setattr(reader, "_open", later)
            assert reader._link is not None
            reader._link.abort("cut by the test")
            for n in range(5):
                await writer.publish("a", n)
            away.set()
        got = [await anext(events) for _ in range(4)]
        assert got[0] == Gap("a", "history")
        assert [m.data for m in got[1:]] == [2, 3, 4]  # type: ignore[union-attr]
        await connected_again(reader)
        await writer.publish("quiet", "x")
        assert (await anext(quiet)).data == "x"  # type: ignore[union-attr]


async def test_a_process_that_does_not_read_is_cut_off_and_comes_back(
    path: str, make: Make, expect_log: Any
) -> None:
    """What waits for it in the hub is bounded; it gets the rest from the history, or a gap."""
    hub = WorkersHub(path, max_unsent=1 << 20)
    await hub.start()
    async with make() as writer, make(backlog=10_000) as reader, reader.subscribe("a") as events:
        assert reader._link is not None
        reader._link.wire.pause_reading()
        with (
            expect_log("webfw.general", rf"drops process {os.getpid()}: it does not read|{LOST}", count=2),
        ):
            count = 0
            while len(hub.peers) == 2:
                await writer.publish("a", [count, "x" * 50_000])
                count += 1
            reader._link.wire.resume_reading()
            got = [(await anext(events)).data[0] for _ in range(count)]  # type: ignore[union-attr]
        assert got == list(range(count))
        assert reader.stats.gaps == 0
    await hub.stop()


async def test_trouble_is_told_once(
    path: str, make: Make, expect_log: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "FIRST_DELAY", 0.001)
    async with serving(path) as hub:
        one = make(autostart=False)
        await one.start()
        attempts = 0
        opening = one._open

        async def counting() -> Any:
            nonlocal attempts
            attempts += 1
            return await opening()

        monkeypatch.setattr(one, "_open", counting)
        with (
            expect_log("webfw.general", LOST, count=1),
            expect_log("webfw.general", "no hub is there.*; it is tried again", count=1),
        ):
            await hub.stop()
            while attempts < 4:
                await asyncio.sleep(0.005)
    async with serving(path):
        await connected_again(one)
        await one.publish("a", "x")
        await one.close()


async def test_closing_while_the_hub_is_away(path: str, make: Make, expect_log: Any) -> None:
    async with serving(path) as hub:
        one = make(autostart=False)
        events = await one.subscribe("a", member="ann")
        with expect_log("webfw.general", f"{LOST}|it is tried again"):
            await hub.stop()
            while one._link is not None:
                await asyncio.sleep(0)
            events.close()
            await asyncio.sleep(0.01)
        await one.close()
        with pytest.raises(BrokerClosed):
            await one.engine_presence("a")


async def test_an_error_that_nobody_expects_while_coming_back(path: str, make: Make, expect_log: Any) -> None:
    async with serving(path), make() as one, one.subscribe("a"):

        async def fail(*args: Any) -> None:
            raise RuntimeError("no")

        one._pages = fail  # type: ignore[assignment,method-assign]
        with (
            expect_log("webfw.general", LOST, count=1),
            expect_log("webfw.application", "A task of WorkersBroker has failed", count=1) as records,
        ):
            assert one._link is not None
            one._link.abort("cut by the test")
            while not records:
                await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    ("id", "than", "newer"),
    [
        ("0000000a-10", "0000000a-9", True),
        ("0000000a-9", "0000000a-10", False),
        ("0000000a-11", "0000000a-10", True),
        ("0000000a-10", "0000000a-10", False),
        ("0000000b-1", "0000000a-10", True),
        ("0000000a-1", "0000000b-1", True),
    ],
)
def test_newer(make: Make, id: str, than: str, newer: bool) -> None:
    assert make().newer(id, than) is newer


# --- worker processes ---

WORKERS = """
import asyncio, os, sys
from webfw.process import fork_processes, task_id
from webfw.pubsub import Message, connect

async def work(broker):
    me = task_id()
    async with broker, broker.subscribe("all", member=f"worker{me}") as events:
        while await broker.presence("all") != {f"worker{n}": 1 for n in range(3)}:
            await asyncio.sleep(0.005)
        ids = [await broker.publish("all", [me, n]) for n in range(20)]
        got = [await anext(events) for _ in range(60)]
        assert len({event.id for event in got}) == 60
        for other in range(3):
            assert [event.data[1] for event in got if event.data[0] == other] == list(range(20)), got
        await broker.publish("done", me)
        # Nobody goes before all are done.
        while len((await broker.history("done")).messages) < 3:
            await asyncio.sleep(0.005)
        os.write(1, broker.place.path.encode() + b"\\n")
"""


def run_workers(code: str, *arguments: str, **env: str) -> list[str]:
    inherited = {
        k: v for k, v in os.environ.items() if k not in ("WEBFW_PROCESS_TREE", "WEBFW_WORKERS_SOCKET")
    }
    with tempfile.TemporaryFile("w+") as errors:  # a pipe would be held open by the hub that lingers
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", WORKERS + code, *arguments],
            env={**inherited, "PYTHONPATH": str(ROOT), **env},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            timeout=25,
        )
        errors.seek(0)
        assert done.returncode == 0, errors.read()
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    "code",
    [
        'broker = connect("workers:", linger=0.1); fork_processes(3, 0); asyncio.run(work(broker))',
        'fork_processes(3, 0); asyncio.run(work(connect("workers:", linger=0.1)))',
    ],
    ids=["made before", "made after"],
)
def test_workers_talk(code: str, tmp_path: Path) -> None:
    """Three workers find each other without being told where, in a directory of this user alone."""
    lines = run_workers(code, TMPDIR=str(tmp_path))
    assert len(lines) == 3
    (path,) = set(lines)
    assert Path(path).parent == tmp_path / f"webfw-{os.geteuid()}"
    assert Path(path).parent.stat().st_mode & 0o777 == 0o700
    pid = Path(path + ".lock")
    while pid.exists():  # pytest's time limit ends this
        pass
    assert os.listdir(Path(path).parent) == []


def test_the_path_of_the_environment(path: str) -> None:
    lines = run_workers(
        'fork_processes(3, 0); asyncio.run(work(connect("workers:", linger=0.1)))', WEBFW_WORKERS_SOCKET=path
    )
    assert set(lines) == {path}


def test_a_worker_that_is_killed_and_started_again(path: str, tmp_path: Path) -> None:
    """The others see it go and come back, and miss nothing themselves."""
    lines = run_workers(
        """
import signal
async def live(broker, mark):
    me, first = task_id(), not os.path.exists(mark)
    everybody = {f"worker{n}": 1 for n in range(3)}
    await broker.start()
    while me == 1 and not first and not (await broker.history("all")).messages:
        await asyncio.sleep(0.002)  # it has not been missed yet
    async with broker, broker.subscribe("all", member=f"worker{me}") as events:
        async def until(members):
            while await broker.presence("all") != members:
                await asyncio.sleep(0.002)
        if me == 1 and first:
            await until(everybody)
            open(mark, "x").close()
            os.kill(os.getpid(), signal.SIGKILL)
        if me == 1:
            await broker.publish("all", "back")
        elif me == 0:
            while not os.path.exists(mark):
                await asyncio.sleep(0.002)
            await until({"worker0": 1, "worker2": 1})
            await broker.publish("all", "gone")
            await until(everybody)
        expected = ["back"] if me == 1 else ["gone", "back"]
        assert [(await anext(events)).data for _ in expected] == expected
        await broker.publish("done", me)
        while len((await broker.history("done")).messages) < 3:
            await asyncio.sleep(0.002)
        os.write(1, b"%d\\n" % me)
fork_processes(3, 1)
asyncio.run(live(connect("workers:", linger=0.1), sys.argv[1]))
""",
        str(tmp_path / "mark"),
        WEBFW_WORKERS_SOCKET=path,
    )
    assert sorted(lines) == ["0", "1", "2"]


async def test_a_broker_that_was_started_before_the_fork(make: Make) -> None:
    """Two processes on one connection would take each other's answers."""
    async with make() as one:
        r, w = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                one.publish("a", "x").send(None)
            except BaseException as error:
                os.write(w, str(error).encode())
            os._exit(0)
        os.close(w)
        os.waitpid(pid, 0)
        with open(r, "rb") as pipe:
            assert pipe.read().endswith(b"was started before the fork; start one in each process")
        await one.publish("a", "x")


async def test_a_worker_that_is_killed(path: str, make: Make) -> None:
    """Its members are gone at once, and nobody else notices."""
    code = """
import asyncio, sys
from webfw.pubsub import connect
async def main():
    broker = connect(sys.argv[1])
    async with broker.subscribe("a", member="victim") as events:
        await broker.publish("b", "ready")
        async for event in events:
            pass
asyncio.run(main())
"""
    async with (
        make() as one,
        one.subscribe("a", member="ann") as events,
        one.subscribe("b") as ready,
    ):
        victim = subprocess.Popen(
            [sys.executable, "-c", code, f"workers:{path}"], env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        await anext(ready)
        assert await one.presence("a") == {"ann": 1, "victim": 1}
        victim.kill()
        victim.wait()
        while await one.presence("a") != {"ann": 1}:
            await asyncio.sleep(0)
        await one.publish("a", "x")
        assert (await anext(events)).data == "x"  # type: ignore[union-attr]


async def test_the_hub_is_no_child_that_is_left_behind(path: str, make: Make, hub_of: Any) -> None:
    """Neither a zombie nor a process that gets the terminal's signals."""
    async with make():
        pid = hub_of(path).pid
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        assert int(fields[1]) != os.getpid()
        assert os.getsid(pid) != os.getsid(0)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
