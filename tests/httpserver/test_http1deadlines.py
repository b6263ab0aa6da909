"""Clients that take their time, on a fake wire whose clock is told: for a head, a body, an answer, between requests."""

import logging
from typing import Any

import pytest

from tests.httpserver.test_http1 import GET, Echo, bodies


def test_a_client_that_says_nothing_is_closed_silently(talk: Any) -> None:
    t = talk(Echo())
    assert t.pass_time(9) == b""
    assert not t.wire.closing
    assert t.pass_time(2) == b""
    assert t.wire.closing


def test_a_slow_head_is_408_however_often_a_byte_comes(talk: Any) -> None:
    t = talk(Echo())
    for byte in GET[:6]:
        t.wire.feed(bytes([byte]))
        t.pass_time(1.5)
    assert t.pass_time(2).startswith(b"HTTP/1.1 408 ")


def test_idle_connections_are_closed(talk: Any) -> None:
    t = talk(Echo())
    t.send(GET % 1)
    t.pass_time(70)
    assert not t.wire.closing
    t.send(GET % 2)
    t.pass_time(70)
    assert not t.wire.closing
    t.pass_time(10)
    assert t.wire.closing


def test_the_head_deadline_starts_anew_with_each_request(talk: Any) -> None:
    t = talk(Echo())
    t.send(GET % 1)
    t.pass_time(60)
    t.send(b"GET / HT")
    t.pass_time(8)
    assert not t.wire.closing
    assert t.pass_time(3).startswith(b"HTTP/1.1 408 ")


def test_a_body_that_trickles_is_408(talk: Any) -> None:
    t = talk(Echo(), min_body_rate=100, body_grace=20)
    t.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
    sent = b""
    for _ in range(30):
        t.wire.feed(b"x" * 50)
        sent += t.pass_time(1)
    assert sent.startswith(b"HTTP/1.1 408 ")


def test_a_body_that_comes_steadily_may_take_long(talk: Any) -> None:
    t = talk(Echo(), min_body_rate=100, body_grace=20)
    t.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 12000\r\n\r\n")
    for _ in range(59):
        t.wire.feed(b"x" * 200)
        assert t.pass_time(1) == b""
    t.wire.feed(b"x" * 200)
    assert bodies(t.wire.take()) == [b"POST / " + b"x" * 12000]


def test_body_timeout(talk: Any) -> None:
    t = talk(Echo(), body_timeout=5)
    t.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 12000\r\n\r\n")
    t.wire.feed(b"x" * 11000)
    assert t.pass_time(6).startswith(b"HTTP/1.1 408 ")


def test_a_client_that_takes_nothing_is_cut(talk: Any) -> None:
    t = talk(Echo(), wire={"capacity": 10}, write_timeout=60)
    t.send(GET % 1)
    t.pass_time(59)
    assert not t.wire.closing
    t.pass_time(2)
    assert t.wire.aborted


def test_progress_moves_the_write_deadline(talk: Any) -> None:
    t = talk(Echo(), wire={"capacity": 10}, write_timeout=60)
    t.send(GET % 1)
    t.pass_time(50)
    t.wire._buffered -= 5
    t.pass_time(11)
    assert not t.wire.closing
    t.pass_time(61)
    assert t.wire.aborted


# --- an answer that is taken slowly ---


class Taker:
    """A client of which TCP tells what it has acknowledged, and which is owed more than fits."""

    def __init__(self, talk: Any, **limits: Any) -> None:
        self.talk = talk(Echo(), wire={"capacity": 10}, **limits)
        self.taken = 1
        self.talk.wire.taken = lambda: self.taken
        self.stall()

    def stall(self) -> None:
        """Ask for something, and leave it."""
        assert self.talk.send(GET % 1)
        assert self.talk.wire.write_paused

    def take(self, rate: float, seconds: int) -> bool:
        """Take ``rate`` bytes in each of ``seconds``; whether the server bore it."""
        for _ in range(seconds):
            self.taken += rate  # type: ignore[assignment]
            self.talk.pass_time(1)
        return not self.talk.wire.aborted


def test_a_byte_now_and_then_does_not_hold_an_answer(talk: Any, expect_log: Any) -> None:
    client = Taker(talk, write_timeout=60, min_write_rate=100, write_grace=30)
    with expect_log("webfw.general", "takes the answer too slowly", level=logging.INFO):
        assert client.take(1, 29)
        assert not client.take(1, 3)


def test_who_takes_steadily_may_take_long(talk: Any) -> None:
    client = Taker(talk, write_timeout=60, min_write_rate=100, write_grace=30)
    assert client.take(110, 600)


def test_a_fast_beginning_does_not_buy_time(talk: Any) -> None:
    client = Taker(talk, write_timeout=60, min_write_rate=100, write_grace=30)
    client.taken += 1_000_000
    assert client.take(1, 31)
    assert not client.take(1, 31)


def test_a_rest_shorter_than_the_grace_is_borne(talk: Any) -> None:
    client = Taker(talk, write_timeout=60, min_write_rate=100, write_grace=30)
    for _ in range(5):
        assert client.take(0, 20)
        assert client.take(500, 12)


def test_taking_nothing_has_its_own_deadline_beside_the_rate(talk: Any, expect_log: Any) -> None:
    client = Taker(talk, write_timeout=5, min_write_rate=100, write_grace=30)
    with expect_log("webfw.general", "takes no more of the answer", level=logging.INFO):
        assert client.take(1000, 10)
        assert not client.take(0, 7)


@pytest.mark.parametrize("timeout", [0, 200])
def test_the_rate_holds_with_another_write_timeout_or_none(talk: Any, timeout: int) -> None:
    client = Taker(talk, write_timeout=timeout, min_write_rate=100, write_grace=30)
    assert client.take(101, 95)
    assert not client.take(0, 62)


def test_the_rate_can_be_switched_off(talk: Any) -> None:
    client = Taker(talk, write_timeout=60, min_write_rate=0, write_grace=30)
    assert client.take(1, 600)


def test_neither_can_be_left(talk: Any) -> None:
    client = Taker(talk, write_timeout=0, min_write_rate=0)
    assert client.take(0, 600)
    client.talk.wire.drain()
    client.stall()
    assert client.take(0, 600)


def test_the_window_stands_still_while_nothing_waits(talk: Any) -> None:
    """Neither the time between two answers counts, nor what is taken in it."""
    client = Taker(talk, write_timeout=60, min_write_rate=100, write_grace=30)
    assert client.take(1, 20)
    client.talk.wire.drain()
    assert client.take(10_000, 60)
    client.stall()
    assert client.take(1, 8)
    assert not client.take(1, 4)


def test_many_short_rests_are_a_long_one(talk: Any) -> None:
    """A client that lets every answer wait, each a little shorter than would be noticed."""
    client = Taker(talk, write_timeout=60, min_write_rate=100, write_grace=30)
    for _ in range(2):
        assert client.take(1, 14)
        client.talk.wire.drain()
        client.stall()
    assert not client.take(1, 5)


def test_without_word_from_tcp_only_nothing_at_all_is_noticed(talk: Any) -> None:
    """Our own buffers are emptied by the client and filled by us."""
    client = Taker(talk, write_timeout=60, min_write_rate=100, write_grace=30)
    client.taken = -1_000_000
    client.talk.wire.drain()
    client.stall()
    assert client.take(1, 300)
    assert not client.take(0, 62)
