"""Tests of webfw.pubsub.workers.store."""

import json

import pytest

from webfw.pubsub.workers import frames
from webfw.pubsub.workers.frames import COMPLETE, MORE, NONE, PAGE_BODY, UNKNOWN, FrameReader, pack_name
from webfw.pubsub.workers.store import Store
from webfw.sansio.errors import RemoteProtocolError


def put(store: Store[str], name: str, data: str, now: float = 0, size: int = 10, age: float = 100) -> int:
    entry, made = store.publish(pack_name(name) + data.encode(), now, size, age)
    (kind, body), *rest = FrameReader().feed(made)
    assert (kind, rest, entry.last) == (frames.MESSAGE, [], store.count)
    assert body == store.count.to_bytes(8) + pack_name(name) + data.encode()
    return store.count


def look(
    store: Store[str], name: str, since: int = NONE, until: int = NONE, limit: int = NONE, now: float = 0
) -> tuple[list[int], int]:
    """Numbers of the messages, and flags."""
    page = store.history(name.encode(), now, since, until, limit)
    flags, position = PAGE_BODY.unpack_from(page)
    assert position == store.count
    return [int.from_bytes(body[:8]) for _, body in FrameReader().feed(page[PAGE_BODY.size :])], flags


def test_numbers_are_of_the_whole_store_histories_of_a_channel() -> None:
    store: Store[str] = Store()
    assert [put(store, name, "x") for name in "abab"] == [1, 2, 3, 4]
    assert look(store, "a") == ([1, 3], COMPLETE)
    assert look(store, "b", since=2) == ([4], COMPLETE)
    assert look(store, "b", since=1) == ([2, 4], COMPLETE)
    assert look(store, "a", until=2) == ([1], COMPLETE)
    assert look(store, "a", since=3, until=2) == ([], COMPLETE)
    assert look(store, "a", limit=1) == ([3], COMPLETE)
    assert look(store, "a", limit=0) == ([], COMPLETE)
    assert look(store, "nobody") == ([], COMPLETE)


def test_positions_of_others_are_not_complete() -> None:
    store: Store[str] = Store()
    put(store, "a", "x")
    assert look(store, "a", since=UNKNOWN) == ([1], 0)
    assert look(store, "a", since=2) == ([1], 0)
    assert look(store, "nobody", since=UNKNOWN) == ([], 0)
    assert look(store, "nobody", since=1) == ([], COMPLETE)
    assert look(store, "a", until=UNKNOWN) == ([], COMPLETE)


def test_bounded_in_number() -> None:
    store: Store[str] = Store()
    for _ in range(8):
        put(store, "a", "x", size=3)
    assert look(store, "a") == ([6, 7, 8], COMPLETE)
    assert look(store, "a", since=5) == ([6, 7, 8], COMPLETE)
    assert look(store, "a", since=4) == ([6, 7, 8], 0)
    put(store, "a", "x", size=1)  # another process with other limits
    assert look(store, "a") == ([9], COMPLETE)


def test_bounded_in_age() -> None:
    store: Store[str] = Store()
    for now in range(5):
        put(store, "a", "x", now=now, age=10)
    assert look(store, "a", now=12.5) == ([4, 5], COMPLETE)
    assert look(store, "a", since=3, now=12.5) == ([4, 5], COMPLETE)
    assert look(store, "a", since=2, now=12.5) == ([4, 5], 0)
    store.expire(14)
    assert store.channels
    store.expire(14.1)
    assert not store.channels
    assert not store._aging
    assert look(store, "a", since=4, now=15) == ([], 0)
    assert look(store, "a", since=5, now=15) == ([], COMPLETE)


def test_each_age_is_looked_at_by_itself() -> None:
    store: Store[str] = Store()
    put(store, "long", "x", age=1e9)
    put(store, "short", "x", age=1)
    put(store, "again", "x", age=1)
    put(store, "again", "x", now=5, age=2)  # which from now on has another one
    put(store, "gone", "x", age=1)
    look(store, "gone", now=5)  # empty, but not forgotten
    store.expire(5)
    assert sorted(store.channels) == [b"again", b"long"]
    put(store, "long", "x", now=5, age=1)
    store.expire(8)
    assert not store.channels
    assert not store._aging


def test_nothing_is_kept_of_size_0() -> None:
    store: Store[str] = Store()
    put(store, "a", "x")
    put(store, "a", "x", size=0)
    assert not store.channels
    assert not store._aging
    assert look(store, "a", since=1) == ([], 0)
    store.channel(b"a").followers.add("peer")
    put(store, "a", "x", size=0)
    assert look(store, "a", since=2) == ([], 0)
    assert look(store, "a", since=3) == ([], COMPLETE)


def test_pages() -> None:
    store: Store[str] = Store()
    half = "x" * (frames.PAGE_SIZE // 2)
    for _ in range(5):
        put(store, "a", half)
    put(store, "a", "x" * frames.PAGE_SIZE)
    found: list[int] = []
    since, flags = NONE, MORE
    while flags & MORE:
        numbers, flags = look(store, "a", since=since)
        assert len(numbers) == 1
        found += numbers
        since = numbers[-1]
    assert found == [1, 2, 3, 4, 5, 6]


def test_members() -> None:
    store: Store[str] = Store()
    store.announce("p", b"a", b'{"ann":2,"bob":1}')
    store.announce("q", b"a", b'{"ann":1,"":1}')
    assert json.loads(store.presence(b"a")) == {"ann": 3, "bob": 1, "": 1}
    store.announce("p", b"a", b'{"ann":0,"bob":3,"nobody":0}')
    assert json.loads(store.presence(b"a")) == {"ann": 1, "bob": 3, "": 1}
    store.announce("p", b"a", b'{"bob":0}')
    store.announce("q", b"a", b'{"ann":0,"":0}')
    assert json.loads(store.presence(b"a")) == {}
    assert not store.channels


@pytest.mark.parametrize(
    "changes",
    [
        b"",
        b"[]",
        b"1",
        b'{"a":-1}',
        b'{"a":1.5}',
        b'{"a":true}',
        b'{"a":"1"}',
        b'{"a":null}',
        b'{"a":4294967296}',
        b"\xff",
        b"[" * 100_000,
        b'{"a":' + b"9" * 5000 + b"}",
    ],
)
def test_members_that_are_none(changes: bytes) -> None:
    store: Store[str] = Store()
    with pytest.raises(RemoteProtocolError, match="members"):
        store.announce("p", b"a", changes)
    assert not store.channels


@pytest.mark.parametrize("name", [b"\xff", b"a\x00", b"x" * 201])
def test_names_that_no_channel_can_have(name: bytes) -> None:
    store: Store[str] = Store()
    with pytest.raises(RemoteProtocolError):
        store.publish(bytes([len(name)]) + name + b"sx", 0, 10, 10)
    with pytest.raises(RemoteProtocolError):
        store.announce("p", name, b'{"a":1}')
    assert not store.channels
