"""The line between a supervisor and a worker, over a real pair of sockets."""

import json
import os
import select
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.process import channel
from webfw.process.channel import Channel, channel_pair


def test_messages_arrive_in_order() -> None:
    ours, theirs = channel_pair()
    assert ours.send({"a": 1})
    assert ours.send({"b": "text with \n inside", "c": [1, None]})
    assert theirs.receive() == [{"a": 1}, {"b": "text with \n inside", "c": [1, None]}]
    assert theirs.receive() == []
    assert theirs.send({"back": True})
    assert ours.receive() == [{"back": True}]
    ours.close()
    theirs.close()


@given(st.lists(st.dictionaries(st.text(), st.integers() | st.text() | st.none())), st.data())
def test_however_it_is_cut(messages: list[dict[str, object]], data: st.DataObject) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        end = Channel(theirs)
        stream = b"".join(json.dumps(message).encode() + b"\n" for message in messages)
        got = []
        while stream:
            cut = data.draw(st.integers(1, len(stream)))
            ours.sendall(stream[:cut])
            stream = stream[cut:]
            got += end.receive()
        assert got == messages


def test_the_other_end_is_gone() -> None:
    ours, theirs = channel_pair()
    theirs.send({"last": "words"})
    theirs.close()
    assert ours.receive() == [{"last": "words"}]
    assert ours.ended
    assert not ours.send({"a": 1})
    ours.close()
    assert ours.fileno() == -1


def test_writing_finds_out_too() -> None:
    ours, theirs = channel_pair()
    theirs.close()
    assert not ours.send({"a": 1})
    assert ours.receive() == []
    assert ours.ended
    ours.close()


def test_what_a_dying_peer_leaves_is_passed_over() -> None:
    ours, theirs = socket.socketpair()
    end = Channel(theirs)
    ours.sendall(b'{"a": 1}\nnot json\n[1]\n{"b": 2}\n{"c": ')
    ours.close()
    assert end.receive() == [{"a": 1}, {"b": 2}]
    assert end.ended
    end.close()


def test_a_peer_that_does_not_read_is_not_waited_for() -> None:
    ours, theirs = channel_pair()
    text = "x" * 100_000
    taken = 0
    while ours.send({"n": taken, "text": text}):
        taken += 1
        assert taken < 1000
    assert not ours.ended
    got = []
    while len(got) < taken:
        got += theirs.receive()
        ours.flush()
    assert [message["n"] for message in got] == list(range(taken))
    ours.close()
    theirs.close()


def test_a_message_without_end_ends_the_line(monkeypatch: object) -> None:
    ours, theirs = socket.socketpair()
    end = Channel(theirs)
    limit, channel.MAX_MESSAGE = channel.MAX_MESSAGE, 1000
    try:
        for _ in range(3):
            ours.sendall(b"x" * 1000)
            assert end.receive() == []
        assert end.ended
    finally:
        channel.MAX_MESSAGE = limit
    ours.close()
    end.close()


def test_no_descriptor_is_inherited() -> None:
    ours, theirs = channel_pair()
    assert not os.get_inheritable(ours.fileno())
    assert not os.get_inheritable(theirs.fileno())
    before = len(list(Path("/proc/self/fd").iterdir())) if os.path.exists("/proc/self/fd") else 0
    ours.close()
    theirs.close()
    if before:
        assert len(list(Path("/proc/self/fd").iterdir())) == before - 2


@pytest.mark.slow
def test_several_threads_may_send() -> None:
    ours, theirs = channel_pair()
    threads = [
        threading.Thread(target=lambda n=n: [ours.send({"thread": n, "number": i}) for i in range(200)])
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    heard: list[dict[str, Any]] = []
    while len(heard) < 800:
        select.select([theirs], [], [], 5)
        ours.flush()
        heard += theirs.receive()
    for thread in threads:
        thread.join()
    for n in range(4):
        assert [message["number"] for message in heard if message["thread"] == n] == list(range(200))
    ours.close()
    theirs.close()


def test_a_well_of_brackets_is_no_message() -> None:
    reader, writer = socket.socketpair()
    with writer:
        channel = Channel(reader)
        writer.sendall(b"[" * 50000 + b'\n{"a":1}\n')
        assert channel.receive() == [{"a": 1}]
        channel.close()


def test_last_words_are_heard_by_who_could_not_answer() -> None:
    ours, theirs = channel_pair()
    theirs.send({"failed": "because"})
    theirs.close()
    assert not ours.send({"order": "reopen"})
    assert not ours.send({"order": "reopen"})
    assert ours.receive() == [{"failed": "because"}]
    assert ours.ended
    ours.close()
