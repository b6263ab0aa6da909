"""Channels, cursors and envelopes, whatever the transport: see webfw/web/live.py."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.web.livefakes import HeldBroker
from webfw.httputil import HTTPServerRequest, RequestStartLine
from webfw.pubsub import BrokerUnavailable, Gap, Message
from webfw.pubsub.messages import check_channel
from webfw.web import HTTPError
from webfw.web.live import (
    MAX_CURSOR,
    Live,
    Place,
    decode_cursor,
    encode_cursor,
    envelope,
    formed,
    joined,
    lost,
)


class Door(Live):
    """Keeps what a client would be sent."""

    def __init__(self, broker: HeldBroker, query: str = "") -> None:
        self.application = SimpleNamespace(broker=broker, live={self})  # type: ignore[assignment]
        self.request = HTTPServerRequest(start_line=RequestStartLine("GET", f"/?{query}", "HTTP/1.0"))
        self.sent: list[Any] = []

    def _live_event(self, place: Place, event: Message | Gap) -> None:
        if isinstance(event, Message):
            if event.data == "bad":
                raise RuntimeError("cannot be sent")
            place.position = event.id
            self.sent.append(event.data)
        else:
            self._live_lost(place)

    def _live_joined(self, place: Place) -> None:
        self.sent.append(("joined", place.position))

    def _live_lost(self, place: Place) -> None:
        self.sent.append("lost")

    def _live_over(self) -> None:
        self.sent.append("over")

    def on_draining(self) -> None:
        raise NotImplementedError


@pytest.fixture
def broker() -> HeldBroker:
    return HeldBroker()


# Envelopes and cursors.


def test_envelopes() -> None:
    text = envelope(Message("room", "17-3", {"a": [1, None, "ü\n"]}))
    assert json.loads(text) == {"channel": "room", "id": "17-3", "data": {"a": [1, None, "ü\n"]}}
    assert "\n" not in text
    assert json.loads(envelope(Message("room", "17-4", b"\x00\xff"))) == {
        "channel": "room",
        "id": "17-4",
        "base64": "AP8=",
    }
    assert json.loads(joined("rööm", "1")) == {"channel": "rööm", "id": "1", "joined": True}
    assert json.loads(lost("room")) == {"channel": "room", "lost": True}


@st.composite
def channels(draw: st.DrawFn) -> str:
    name = draw(st.text(min_size=1, max_size=60))
    try:
        check_channel(name)
    except ValueError:
        return "room:1 & Größe=+%/?#"
    return name


@given(st.dictionaries(channels(), st.text("0123456789abcdef-.", min_size=1)))
def test_a_cursor_comes_back_as_it_was(positions: dict[str, str]) -> None:
    cursor = encode_cursor(positions)
    assert decode_cursor(cursor) == positions
    assert cursor.isascii()
    assert not set("\r\n\0 ") & set(cursor)  # fit for a header field and for a line of an event


@pytest.mark.parametrize(
    ("cursor", "positions"),
    [
        ("", {}),
        ("a=1&a=2", {"a": "2"}),
        ("a&b=", {"a": "", "b": ""}),
        ("%zz=%&=&&&", {"%zz": "%", "": ""}),
        ("%ff=%fe", {"�": "�"}),
        ("a;b=1", {"a;b": "1"}),
    ],
)
def test_any_text_is_a_cursor(cursor: str, positions: dict[str, str]) -> None:
    assert decode_cursor(cursor) == positions


def test_as_many_channels_as_a_head_has_room_for() -> None:
    positions = {f"room:{i}": f"17-{i}" for i in range(2000)}
    cursor = encode_cursor(positions)
    assert len(cursor) < MAX_CURSOR
    assert decode_cursor(cursor) == positions


def test_a_cursor_that_is_too_long_is_refused_and_not_forgotten() -> None:
    with pytest.raises(HTTPError) as caught:
        decode_cursor("a" * (MAX_CURSOR + 1))
    assert caught.value.status_code == 400


# Subscribing.


async def test_from_now_on(broker: HeldBroker) -> None:
    first = await broker.publish("room", "before")
    door = Door(broker)
    await door.subscribe("room", member="ann")
    await broker.publish("room", "after")
    assert door.sent == [("joined", first), "after"]
    assert await broker.presence("room") == {"ann": 1}


async def test_what_was_missed_comes_before_joined_and_that_says_where_it_goes_on(broker: HeldBroker) -> None:
    since = await broker.publish("room", 0)
    last = [await broker.publish("room", i) for i in range(1, 4)][-1]
    door = Door(broker, f"since=room%3D{since}")
    await door.subscribe("room")
    assert door.sent == [1, 2, 3, ("joined", last)]
    other = Door(broker)
    await other.subscribe("room", last=2)
    assert other.sent == [2, 3, ("joined", last)]


async def test_an_id_that_nobody_knows_is_a_gap(broker: HeldBroker) -> None:
    await broker.publish("room", 1)
    for cursor in ("room%3Dwhat", "room%3D", "room", "room%3D%ff"):
        door = Door(broker, f"since={cursor}")
        await door.subscribe("room")
        assert door.sent[:2] == ["lost", 1]


async def test_the_last_of_several_cursors_counts_and_one_of_the_program_before_it(
    broker: HeldBroker,
) -> None:
    ids = [await broker.publish("room", i) for i in range(4)]
    door = Door(broker, f"since=room%3D{ids[0]}&since=room%3D{ids[2]}")
    await door.subscribe("room")
    assert door.sent[0] == 3
    door = Door(broker, f"since=room%3D{ids[0]}")
    await door.subscribe("room", ids[1])
    assert door.sent[0] == 2


async def test_unsubscribe_and_subscribe_again(broker: HeldBroker) -> None:
    since = await broker.publish("room", 0)
    await broker.publish("room", 1)
    door = Door(broker, f"since=room%3D{since}")
    await door.subscribe("room")
    door.unsubscribe("room")
    door.unsubscribe("room")
    door.unsubscribe("another")
    assert broker.listening == 0
    await broker.publish("room", 2)
    assert door.sent[0] == 1
    door.sent.clear()
    position = await broker.publish("room", 3)
    await door.subscribe("room")
    assert door.sent == [("joined", position)], "the cursor is for the first time: nothing comes twice"
    await broker.publish("room", 4)
    assert door.sent[1:] == [4]


async def test_what_cannot_be_subscribed_to(broker: HeldBroker) -> None:
    door = Door(broker)
    first = door.subscribe("room")
    with pytest.raises(ValueError, match="already"):
        door.subscribe("room")
    with pytest.raises(ValueError, match="control"):
        door.subscribe("a\nb")
    with pytest.raises(TypeError):
        door.subscribe(7)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="negative"):
        door.subscribe("other", last=-1)
    await first
    await door.subscribe("other")
    assert len(door.sent) == 2


async def test_who_has_gone_does_not_begin_to_listen(broker: HeldBroker) -> None:
    """Its ``open`` may still have been waiting for something else."""
    door = Door(broker)
    await door.subscribe("room")
    door._leave_all()
    await door.subscribe("room", member="ghost")
    await asyncio.sleep(0)
    assert broker.listening == 0
    assert await broker.presence("room") == {}


async def test_who_goes_while_its_place_is_taken(broker: HeldBroker) -> None:
    broker.hold()
    door = Door(broker)
    taken = door.subscribe("room", member="ann")
    await asyncio.sleep(0)
    door._leave_all()
    await broker.publish("room", 1)
    broker.let_go()
    await taken
    assert broker.listening == 0
    assert await broker.presence("room") == {}
    assert door.sent == []


@pytest.mark.parametrize("error", [BrokerUnavailable("redis://x cannot be reached"), ZeroDivisionError()])
async def test_who_has_left_a_channel_does_not_mind_that_it_cannot_be_had(
    broker: HeldBroker, error: Exception
) -> None:
    broker.hold()
    broker.error = error
    door = Door(broker)
    taken = door.subscribe("room")
    await asyncio.sleep(0)
    door.unsubscribe("room")
    broker.let_go()
    await asyncio.wait([taken])
    assert door.sent == []


async def test_a_broker_that_is_not_there_is_logged_once(broker: HeldBroker, expect_log: Any) -> None:
    broker.error = BrokerUnavailable("redis://x cannot be reached")
    door = Door(broker)
    with expect_log("webfw.application", "^Cannot subscribe: redis://x cannot be reached$", count=1):
        await asyncio.wait([door.subscribe("a"), door.subscribe("b")])
        await asyncio.sleep(0)
    assert door.sent[0] == "over"


async def test_a_broker_that_fails_is_logged_with_its_traceback(broker: HeldBroker, expect_log: Any) -> None:
    broker.error = ZeroDivisionError("in the broker")
    door = Door(broker)
    with expect_log("webfw.application", "^Cannot subscribe$") as records:
        await asyncio.wait([door.subscribe("a")])
        await asyncio.sleep(0)
    assert records[0].exc_info[1] is broker.error
    assert door.sent == ["over"]


async def test_who_gives_up_waiting_leaves_that_channel_only(broker: HeldBroker) -> None:
    door = Door(broker)
    await door.subscribe("a")
    broker.hold()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await door.subscribe("b")
    broker.let_go()
    await door.subscribe("b")
    await broker.publish("a", 1)
    assert door.sent[-1] == 1
    assert "over" not in door.sent
    assert broker.listening == 2


async def test_the_broker_is_closed(broker: HeldBroker) -> None:
    door = Door(broker)
    await door.subscribe("a")
    await broker.close()
    assert door.sent[1:] == ["over"]
    door._leave_all()  # does no harm


async def test_what_cannot_be_sent_is_logged_and_told(broker: HeldBroker, expect_log: Any) -> None:
    door, other = Door(broker), Door(broker)
    await door.subscribe("room")
    await other.subscribe("room")
    with expect_log("webfw.application", "what becomes of a message of room", count=2):
        await broker.publish("room", "bad")
    await broker.publish("room", "good")
    assert door.sent[1:] == other.sent[1:] == ["lost", "good"]
    late = Door(broker)
    with expect_log("webfw.application", "what becomes of a message of room", count=1):
        await late.subscribe("room", last=2)
    assert late.sent[:2] == ["lost", "good"]


async def test_who_is_slow_is_told_once_a_turn_and_that_costs_no_more(broker: HeldBroker) -> None:
    class Full(Door):
        def _live_event(self, place: Place, event: Message | Gap) -> None:
            place.missed()

        def _live_lost(self, place: Place) -> None:
            self.sent.append("lost")
            place.missed()  # the queue is so full that these words throw out something else

    door = Full(broker)
    await door.subscribe("room")
    for i in range(5):
        await broker.publish("room", i)
    assert door.sent[1:] == []
    for _ in range(10):
        await asyncio.sleep(0)
    assert door.sent[1:] == ["lost"], (
        "else a client that is stuck would cost a message in every turn of the loop"
    )
    assert broker.stats.gaps == 1
    await broker.publish("room", 6)
    await broker.publish("room", 7)
    door._leave_all()
    await asyncio.sleep(0)
    assert door.sent[1:] == ["lost"]


async def test_publish(broker: HeldBroker) -> None:
    door = Door(broker)
    assert door.broker is broker
    await door.subscribe("room")
    id = await door.publish("room", "hello")
    assert door.sent[1:] == ["hello"]
    assert door._positions() == {"room": id}


def test_what_a_form_may_be() -> None:
    message = Message("room", "1", {"a": 1})
    assert formed(lambda each: each.id, message) == "1"
    assert formed(lambda each: b"\xff", message) == b"\xff"
    with pytest.raises(TypeError, match="message_form must give str or bytes, not dict"):
        formed(lambda each: each.data, message)
