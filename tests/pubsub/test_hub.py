"""The hub with an engine as slow, late and unreliable as each test says: nothing lost, doubled or left behind."""

import asyncio
import contextvars
import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.pubsub.fakehub import FakeHub, FakeServer
from webfw.pubsub import BrokerClosed, BrokerError, BrokerUnavailable, Gap, History, Message
from webfw.testing import check_broker
from webfw.testing.brokers.bench import Collector


async def settled(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not settle")


def say(hub: FakeHub, channel: str, id: int) -> None:
    hub.arrived(Message(channel, str(id), id))


@pytest.mark.parametrize("lag", [0, 1, 7])
async def test_conforms(lag: int) -> None:
    server = FakeServer()
    await check_broker(lambda **options: FakeHub(server, lag=lag, **options))


# --- starting ---


async def test_everything_starts_it_and_once() -> None:
    async with FakeHub() as hub:
        await asyncio.gather(hub.start(), hub.publish("a", 1), hub.history("a"), hub.presence("a"))
        assert hub.kinds("start") == [("start",)]


async def test_a_start_that_failed_is_tried_again() -> None:
    hub = FakeHub()
    hub.server.down = True
    results = await asyncio.gather(hub.start(), hub.publish("a", 1), return_exceptions=True)
    assert [type(result) for result in results] == [BrokerUnavailable] * 2
    hub.gates["start"] = ValueError("of another kind")
    with pytest.raises(ValueError, match="another kind"):
        await hub.start()
    hub.gates.clear()
    hub.server.down = False
    await hub.start()
    assert len(hub.kinds("start")) == 3
    await hub.close()


async def test_who_is_cancelled_while_it_starts_stops_nobody_else() -> None:
    hub = FakeHub()
    gate = hub.gates["start"] = asyncio.Event()
    first, second = asyncio.ensure_future(hub.start()), asyncio.ensure_future(hub.start())
    await settled(lambda: bool(hub.calls))
    first.cancel()
    gate.set()
    await second
    with pytest.raises(asyncio.CancelledError):
        await first
    await hub.close()


async def test_failed_starts_that_nobody_waits_for_are_quiet() -> None:
    hub = FakeHub()
    gate = hub.gates["start"] = asyncio.Event()
    starting = asyncio.ensure_future(hub.start())
    await settled(lambda: bool(hub.calls))
    starting.cancel()
    hub.server.down = True
    gate.set()
    await asyncio.sleep(0)
    await settled(lambda: hub._starting is None)
    await hub.close()


async def test_closing_while_it_starts_tells_who_waits() -> None:
    hub = FakeHub()
    hub.gates["start"] = asyncio.Event()
    waiting = [asyncio.ensure_future(hub.publish("a", 1)), asyncio.ensure_future(hub.start())]
    cancelled = asyncio.ensure_future(hub.start())
    await settled(lambda: bool(hub.calls))
    cancelled.cancel()
    await hub.close()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [BrokerClosed] * 2
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert hub.ended


async def test_an_engine_that_starts_although_it_was_cancelled() -> None:
    class Stubborn(FakeHub):
        async def engine_start(self) -> None:
            try:
                await super().engine_start()
            except asyncio.CancelledError:
                pass

    hub = Stubborn()
    hub.gates["start"] = asyncio.Event()
    waiting = asyncio.ensure_future(hub.start())
    await settled(lambda: bool(hub.calls))
    await hub.close()
    await asyncio.gather(waiting, return_exceptions=True)
    assert not hub._tasks
    with pytest.raises(BrokerClosed):
        await hub.publish("a", 1)


async def test_engine_works_outside_the_context_of_the_first_request() -> None:
    request: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="none")
    seen = []

    class Asks(FakeHub):
        async def engine_start(self) -> None:
            seen.append(request.get())
            self.spawn(self.later())

        async def later(self) -> None:
            seen.append(request.get())

    request.set("first")
    async with Asks():
        await settled(lambda: len(seen) == 2)
    assert seen == ["none", "none"]


@pytest.mark.parametrize("ttl", [0, -1, float("nan")])
def test_presence_ttl_must_be_positive(ttl: float) -> None:
    with pytest.raises(ValueError, match="presence_ttl"):
        FakeHub(presence_ttl=ttl)


# --- following ---


async def test_a_channel_is_followed_once_and_left_when_the_last_goes() -> None:
    async with FakeHub() as hub:
        places = await asyncio.gather(*(hub.attach(Collector(), "a") for _ in range(5)))
        assert hub.kinds("follow") == [("follow", "a")]
        for place in places:
            place.detach()
        await settled(lambda: not hub.channels)
        assert hub.kinds("unfollow") == [("unfollow", "a")]


async def test_messages_that_arrive_while_following_begins() -> None:
    """What is older than the position that the engine names was there before; what is newer has come."""

    class Early(FakeHub):
        async def engine_follow(self, channel: str) -> str:
            for id in (3, 4, 5, 6):
                say(self, channel, id)
            await asyncio.sleep(0)
            say(self, channel, 7)
            return "4"

    async with Early() as hub:
        first, second = Collector(), Collector()
        one, two = await asyncio.gather(hub.attach(first, "a"), hub.attach(second, "a"))
        assert one.position == "4"
        assert first.data == [5, 6, 7]
        assert (two.position, second.data) in [("7", []), ("4", [5, 6, 7])]
        say(hub, "a", 8)
        assert first.data[-1] == second.data[-1] == 8


async def test_a_message_that_comes_while_a_channel_is_left_does_not_make_it_followed() -> None:
    async with FakeHub() as hub:
        (await hub.attach(Collector(), "a")).detach()
        gate = hub.gates["unfollow"] = asyncio.Event()
        await settled(lambda: bool(hub.kinds("unfollow")))
        say(hub, "a", 1)
        listener = Collector()
        back = asyncio.ensure_future(hub.attach(listener, "a"))
        await asyncio.sleep(0)
        say(hub, "a", 2)
        gate.set()
        place = await back
        assert len(hub.kinds("follow")) == 2
        await hub.publish("a", "seen")
        assert listener.data == ["seen"]
        place.detach()
        await settled(lambda: not hub.channels)


async def test_messages_of_channels_nobody_follows_are_ignored() -> None:
    async with FakeHub() as hub:
        say(hub, "nobody", 1)
        hub.lost("nobody", "1")
        assert not hub.channels


@pytest.mark.parametrize("kind", ["follow", "history"])
@pytest.mark.parametrize("error", [BrokerUnavailable("away"), RuntimeError("of the engine")])
async def test_attach_fails_and_leaves_nothing(kind: str, error: Exception) -> None:
    async with FakeHub() as hub:
        hub.gates[kind] = error
        with pytest.raises(type(error)):
            await hub.attach(Collector(), "a", "1", member="m")
        await settled(lambda: not hub.channels)
        assert not hub.followed
        assert await hub.presence("a") == {}
        hub.gates.clear()
        listener = Collector()
        await hub.attach(listener, "a")
        await hub.publish("a", 1)
        assert listener.data == [1]


async def test_one_who_waits_for_a_failed_follow_tries_itself() -> None:
    async with FakeHub() as hub:
        gate = hub.gates["follow"] = asyncio.Event()
        first, second = (asyncio.ensure_future(hub.attach(Collector(), "a")) for _ in range(2))
        await settled(lambda: bool(hub.kinds("follow")))
        hub.gates["follow"] = None
        first.cancel()
        gate.set()
        (await second).detach()
        assert len(hub.kinds("follow")) == 2
        await settled(lambda: not hub.channels)


@pytest.mark.parametrize("kind", ["follow", "announce", "history"])
async def test_attach_cancelled_at_every_wait_leaves_nothing(kind: str) -> None:
    async with FakeHub() as hub:
        await hub.publish("a", "old")
        listener = Collector()
        gate = hub.gates[kind] = asyncio.Event()
        attaching = asyncio.ensure_future(hub.attach(listener, "a", "0", member="m"))
        await settled(lambda: bool(hub.kinds(kind)))
        attaching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attaching
        gate.set()
        hub.gates.clear()
        await settled(lambda: not hub.channels)
        assert listener.events == []
        assert not hub.followed
        # The word that was cut off may have been heard: it has been taken back.
        assert await hub.presence("a") == {}
        if kind == "announce":
            assert hub.kinds("announce")[-1] == ("announce", "a", {})


async def test_random_cancellations_leave_nothing() -> None:
    chance = random.Random(5)
    hub = FakeHub(lag=6)
    await hub.start()

    async def visit(n: int) -> None:
        place = await hub.attach(Collector(), f"c{n % 3}", "0" if n % 2 else None, member=f"m{n}")
        try:
            for _ in range(chance.randrange(5)):
                await asyncio.sleep(0)
        finally:
            place.detach()

    visits = []
    for n in range(300):
        visits.append(asyncio.ensure_future(visit(n)))
        if n % 5 == 0:
            await hub.publish(f"c{n % 3}", n)
        if n % 2:
            chance.choice(visits).cancel()
    results = await asyncio.gather(*visits, return_exceptions=True)
    assert [result for result in results if isinstance(result, Exception)] == []
    await settled(lambda: not hub.channels)
    assert not hub.followed
    assert not any(hub.server.members.values())
    await hub.close()
    assert not hub._tasks


async def test_unfollowing_during_an_outage() -> None:
    async with FakeHub() as hub:
        place = await hub.attach(Collector(), "a")
        hub.server.down = True
        place.detach()
        await settled(lambda: not hub.channels)


# --- recovery ---


async def test_what_arrives_during_the_look_back_comes_after_it() -> None:
    async with FakeHub() as hub:
        for n in range(3):
            await hub.publish("a", n)
        gate = hub.gates["history"] = asyncio.Event()
        listener = Collector()
        attaching = asyncio.ensure_future(hub.attach(listener, "a", "1"))
        await settled(lambda: bool(hub.kinds("history")))
        await hub.publish("a", 3)
        await hub.publish("a", 4)
        gate.set()
        place = await attaching
        assert listener.data == [1, 2, 3, 4]
        assert place.position == "3"
        assert (hub.stats.recovered, hub.stats.delivered) == (2, 2)


async def test_one_who_has_seen_more_elsewhere_gets_nothing_twice() -> None:
    """The message is on its way to this process while its reader comes with that id from another one."""
    async with FakeHub() as hub:
        witness, listener = Collector(), Collector()
        await hub.attach(witness, "a")
        hub.followed.clear()  # from here on the test itself says when a message arrives
        for n in (1, 2, 3):
            await hub.publish("a", n)
        place = await hub.attach(listener, "a", "2")
        assert place.position == "2"
        for n in (1, 2, 3, 4):
            say(hub, "a", n)
        assert witness.data == [1, 2, 3, 4]
        assert listener.data == [3, 4]


async def test_one_ahead_whose_messages_arrive_during_the_look_back() -> None:
    async with FakeHub() as hub:
        await hub.attach(Collector(), "a")
        hub.followed.clear()
        for n in (1, 2, 3):
            await hub.publish("a", n)
        gate = hub.gates["history"] = asyncio.Event()
        listener = Collector()
        attaching = asyncio.ensure_future(hub.attach(listener, "a", "2"))
        await settled(lambda: bool(hub.kinds("history")))
        for n in (1, 2, 3):
            say(hub, "a", n)
        gate.set()
        place = await attaching
        assert listener.data == [3]
        say(hub, "a", 4)
        assert listener.data == [3, 4]
        place.detach()


async def test_one_ahead_can_leave_or_see_the_end() -> None:
    hub = FakeHub()
    keeps, leaves = Collector(), Collector()
    await hub.attach(Collector(), "a")
    hub.followed.clear()
    await hub.publish("a", 1)
    place = await hub.attach(leaves, "a", "1", member="m")
    await hub.attach(keeps, "a", "1")
    assert len(hub.channels["a"].ahead) == 2
    place.detach()
    assert len(hub.channels["a"].ahead) == 1
    await hub.close()
    assert (keeps.closed, leaves.closed) == (1, 0)


# --- outages ---


async def test_lost_messages_are_told_to_everybody_once() -> None:
    async with FakeHub() as hub:
        listeners = [Collector() for _ in range(3)]
        for listener in listeners:
            await hub.attach(listener, "a")
        await hub.publish("a", "one")
        hub.lost("a", "5")
        say(hub, "a", 5)
        say(hub, "a", 6)
        for listener in listeners:
            assert listener.data == ["one", Gap("a", "history"), 6]
        assert hub.stats.gaps == 3


async def test_ids_may_begin_anew_after_a_loss() -> None:
    async with FakeHub() as hub:
        listener = Collector()
        await hub.attach(listener, "a")
        say(hub, "a", 1000)
        hub.lost("a", "0")
        say(hub, "a", 1)
        assert listener.data == [1000, Gap("a", "history"), 1]


async def test_a_loss_reaches_those_who_are_joining_or_ahead() -> None:
    async with FakeHub() as hub:
        await hub.attach(Collector(), "a")
        hub.followed.clear()
        for n in (1, 2):
            await hub.publish("a", n)
        ahead, joining = Collector(), Collector()
        await hub.attach(ahead, "a", "2")
        gate = hub.gates["history"] = asyncio.Event()
        attaching = asyncio.ensure_future(hub.attach(joining, "a", "2"))
        await settled(lambda: len(hub.kinds("history")) == 2)
        hub.lost("a", "0")
        say(hub, "a", 1)
        gate.set()
        await attaching
        say(hub, "a", 2)
        assert ahead.data == [Gap("a", "history"), 1, 2]
        assert joining.data == [Gap("a", "history"), 1, 2]


async def test_a_loss_is_none_for_those_who_have_seen_as_much_elsewhere() -> None:
    """This process has missed 1 to 4; who comes from another with 5 has missed nothing, and gets nothing twice."""
    async with FakeHub() as hub:
        witness = Collector()
        await hub.attach(witness, "a")
        hub.followed.clear()
        for n in range(1, 7):
            await hub.publish("a", n)
        ahead, level, joining, behind = (Collector() for _ in range(4))
        await hub.attach(ahead, "a", "5")
        await hub.attach(level, "a", "4")
        gate = hub.gates["history"] = asyncio.Event()
        attaching = [
            asyncio.ensure_future(hub.attach(one, "a", id)) for one, id in ((joining, "5"), (behind, "3"))
        ]
        await settled(lambda: len(hub.kinds("history")) == 4)
        hub.lost("a", "4")
        gate.set()
        await asyncio.gather(*attaching)
        for n in (5, 6, 7):
            say(hub, "a", n)
        assert ahead.data == joining.data == [6, 7]
        assert level.data == [5, 6, 7]
        assert witness.data == behind.data == [Gap("a", "history"), 5, 6, 7]
        assert hub.stats.gaps == 2


async def test_a_loss_where_ids_have_another_origin() -> None:
    """The server has lost its memory; who comes with an id of today has missed nothing."""
    async with FakeHub() as hub:
        hub.newer = lambda id, than: len(id) != len(than) or int(id) > int(than)  # type: ignore[method-assign]
        today, yesterday = Collector(), Collector()
        await hub.attach(Collector(), "a")
        hub.followed.clear()
        for n in range(1, 13):
            await hub.publish("a", n)
        await hub.attach(yesterday, "a", "5")
        await hub.attach(today, "a", "11")
        hub.lost("a", "10")
        for n in (11, 12):
            say(hub, "a", n)
        assert today.data == [12]
        assert yesterday.data == [Gap("a", "history"), 11, 12]


# --- where it belongs ---


def test_another_loop_is_refused() -> None:
    hub = FakeHub()

    async def use() -> None:
        await hub.publish("a", 1)

    async def misuse() -> None:
        for call in (hub.publish("a", 1), hub.history("a"), hub.attach(Collector(), "a"), hub.close()):
            with pytest.raises(BrokerError, match="this FakeHub was started on another event loop"):
                await call

    with asyncio.Runner() as first:
        first.run(use())
        with asyncio.Runner() as second:
            second.run(misuse())
        first.run(hub.close())
    assert hub.ended


async def test_a_child_neither_uses_nor_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async with FakeHub() as hub:
        listener = Collector()
        await hub.attach(listener, "a", member="m")
        with monkeypatch.context() as patch:
            patch.setattr("os.getpid", lambda: -1)
            for call in (hub.publish("a", 1), hub.presence("a"), hub.attach(Collector(), "a")):
                with pytest.raises(BrokerError, match="this FakeHub was started before the fork"):
                    await call
        await hub.publish("a", 2)
        assert listener.data == [2]
        calls = len(hub.calls)
        with monkeypatch.context() as patch:
            patch.setattr("os.getpid", lambda: -1)
            await hub.close()
        assert (len(hub.calls), hub.ended, listener.closed) == (calls, False, 0)
        await hub._end_tasks()


# --- presence ---


async def test_many_members_at_once_are_told_together() -> None:
    async with FakeHub() as hub:
        gate = hub.gates["announce"] = asyncio.Event()
        joining = [asyncio.ensure_future(hub.attach(Collector(), "a", member=f"m{n}")) for n in range(50)]
        await settled(lambda: bool(hub.kinds("announce")))
        gate.set()
        places = await asyncio.gather(*joining)
        assert len(hub.kinds("announce")) <= 2
        assert len(await hub.presence("a")) == 50
        for place in places:
            place.detach()
        await settled(lambda: not hub.channels)
        assert hub.kinds("announce")[-1] == ("announce", "a", {})
        assert len(hub.kinds("announce")) <= 3


async def test_the_newest_word_on_presence_is_the_last() -> None:
    async with FakeHub() as hub:
        gate = hub.gates["announce"] = asyncio.Event()
        joining = asyncio.ensure_future(hub.attach(Collector(), "a", member="m"))
        await settled(lambda: bool(hub.kinds("announce")))
        joining.cancel()
        await asyncio.gather(joining, return_exceptions=True)
        again = asyncio.ensure_future(hub.attach(Collector(), "a", member="n"))
        await asyncio.sleep(0)
        gate.set()
        await again
        await settled(lambda: hub.server.members == {hub: {"a": {"n": 1}}})


async def test_presence_is_kept_up_and_comes_back_after_an_outage() -> None:
    async with FakeHub(presence_ttl=0.03) as hub:
        stays = await hub.attach(Collector(), "a", member="stays")
        leaves = await hub.attach(Collector(), "b", member="leaves")
        hub.server.down = True
        leaves.detach()
        late = await hub.attach(Collector(), "a", member="late")
        hub.server.members.clear()
        count = len(hub.calls)
        while len(hub.calls) < count + 3:
            await asyncio.sleep(0.005)
        assert "b" in hub.channels
        hub.server.down = False
        while hub.server.members.get(hub) != {"a": {"stays": 1, "late": 1}} or "b" in hub.channels:
            await asyncio.sleep(0.005)
        stays.detach()
        late.detach()
        await settled(lambda: not hub.channels)


async def test_presence_outlives_an_engine_that_raises(expect_log: Any) -> None:
    async with FakeHub(presence_ttl=0.03) as hub:
        place = await hub.attach(Collector(), "a", member="m")
        with expect_log("webfw.application", "Uncaught exception in the presence of a"):
            hub.gates["announce"] = RuntimeError("of the engine")
            hub.server.members.clear()
            count = len(hub.kinds("announce"))
            while len(hub.kinds("announce")) < count + 2:
                await asyncio.sleep(0.005)
            hub.gates.clear()
            while not hub.server.members:
                await asyncio.sleep(0.005)
        place.detach()


# --- closing ---


async def test_closing_says_goodbye_before_the_engine_ends() -> None:
    hub = FakeHub()
    listener = Collector()
    place = await hub.attach(listener, "a", member="m")
    await hub.attach(listener, "b")
    await hub.close()
    assert hub.calls[-2:] == [("announce", "a", {}), ("close",)]
    assert listener.closed == 2
    place.detach()
    assert not hub._tasks


async def test_closing_does_not_wait_long_for_an_engine_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webfw.pubsub.hub.GOODBYE", 0.02)
    hub = FakeHub()
    await hub.attach(Collector(), "a", member="m")
    hub.gates["announce"] = asyncio.Event()
    async with asyncio.timeout(5):
        await hub.close()
    assert hub.ended


async def test_closing_that_is_cancelled_still_lets_go() -> None:
    hub = FakeHub()
    await hub.attach(Collector(), "a", member="m")
    hub.gates["announce"] = asyncio.Event()
    closing = asyncio.ensure_future(hub.close())
    await settled(lambda: len(hub.kinds("announce")) == 2)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert hub.ended
    assert not hub._tasks


@pytest.mark.parametrize("kind", ["follow", "announce", "history"])
async def test_closing_while_somebody_joins(kind: str) -> None:
    hub = FakeHub()
    await hub.attach(Collector(), "a")
    gate = hub.gates[kind] = asyncio.Event()
    listener = Collector()
    joining = asyncio.ensure_future(hub.attach(listener, "b", "0", member="m"))
    await settled(lambda: ("follow", "b") in hub.calls and hub.calls[-1][0] == kind)
    hub.gates.clear()
    closing = asyncio.ensure_future(hub.close())
    await asyncio.sleep(0)
    gate.set()
    with pytest.raises(BrokerClosed):
        await joining
    await closing
    assert listener.events == []
    assert not hub._tasks


@pytest.mark.parametrize("kind", ["publish", "history", "presence", "follow"])
async def test_what_fails_because_of_closing_says_so(kind: str) -> None:
    hub = FakeHub()
    await hub.start()
    gate = hub.gates[kind] = asyncio.Event()
    calls = {
        "publish": lambda: hub.publish("a", 1),
        "history": lambda: hub.history("a"),
        "presence": lambda: hub.presence("a"),
        "follow": lambda: hub.attach(Collector(), "a"),
    }
    asking = asyncio.ensure_future(calls[kind]())  # type: ignore[no-untyped-call]
    await settled(lambda: bool(hub.kinds(kind)))
    await hub.close()
    hub.server.down = True
    gate.set()
    with pytest.raises(BrokerClosed):
        await asking


async def test_a_listener_that_fails_to_close_does_not_stop_the_others(expect_log: Any) -> None:
    class Fails(Collector):
        def broker_closed(self) -> None:
            raise RuntimeError("deliberate")

    hub, last = FakeHub(), Collector()
    await hub.attach(Fails(), "a")
    await hub.attach(last, "a")
    with expect_log("webfw.application", "listener of a closed broker", count=1):
        await hub.close()
    assert last.closed == 1


async def test_nothing_is_spawned_after_closing(expect_log: Any) -> None:
    hub = FakeHub()
    await hub.start()

    async def fails() -> None:
        raise RuntimeError("deliberate")

    with expect_log("webfw.application", "A task of FakeHub has failed", count=1):
        hub.spawn(fails())
        await settled(lambda: len(hub._tasks) == 1)
    await hub.close()
    hub.spawn(fails())
    assert not hub._tasks


async def test_a_task_that_swallows_a_cancellation_is_ended_all_the_same() -> None:
    hub = FakeHub()
    await hub.start()
    swallowed = []

    async def stubborn() -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if swallowed:
                    raise
                swallowed.append(1)

    hub.spawn(stubborn())
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await hub.close()
    assert swallowed
    assert not hub._tasks


async def test_history_takes_since_and_limit() -> None:
    async with FakeHub() as hub:
        await hub.publish("a", 1)
        past = await hub.history("a", "0", 3)
        assert isinstance(past, History)
        assert hub.calls[-1] == ("history", "a", "0", None, 3)
