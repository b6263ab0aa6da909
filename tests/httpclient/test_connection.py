"""Tests of webfw.httpclient.connection: bytes on a fake wire."""

import socket
from collections.abc import Iterator
from typing import Any

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webfw.httpclient.connection import Connection, Cut
from webfw.sansio.errors import RemoteProtocolError
from webfw.sansio.http1 import HeadLimits, ResponseHead
from webfw.testing.fakes import FakeWire

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Taker:
    """Takes a response, and can ask for a pause after each piece of body."""

    def __init__(self, pausing: bool = False) -> None:
        self.pausing = pausing
        self.interim: list[int] = []
        self.head: ResponseHead | None = None
        self.pieces: list[bytes] = []
        self.outcome: Any = None
        self.resumed = 0

    def interim_received(self, head: ResponseHead) -> None:
        self.interim.append(head.status)

    def head_received(self, head: ResponseHead) -> None:
        assert self.head is None
        self.head = head

    def data_received(self, data: bytes) -> bool:
        assert self.head is not None
        assert data
        assert self.outcome is None
        self.pieces.append(data)
        return not self.pausing

    def finished(self) -> None:
        assert self.outcome is None
        self.outcome = "finished"

    def failed(self, error: Exception) -> None:
        assert self.outcome is None
        self.outcome = error

    def resume_writing(self) -> None:
        self.resumed += 1

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)


class Bench:
    """A connection on a fake wire."""

    def __init__(self, *, capacity: int | None = None, max_body_size: int = 1000) -> None:
        self.wire = FakeWire(capacity=capacity)
        self.lost: list[Connection] = []
        limits = HeadLimits(max_header_size=2000)
        self.connection = Connection(self.wire, "key", limits, max_body_size, self.lost.append)  # type: ignore[arg-type]

    def ask(
        self, method: str = "GET", *, body: bytes = b"", more: bool = False, pausing: bool = False
    ) -> Taker:
        taker = Taker(pausing)
        self.connection.begin(taker, method, b"HEAD", body, more)
        return taker


def split(data: bytes) -> Iterator[list[bytes]]:
    """Whole, and byte by byte."""
    yield [data]
    yield [data[at : at + 1] for at in range(len(data))]


# --- responses that are fine ---


@pytest.mark.parametrize(
    ("method", "data", "status", "body", "reusable"),
    [
        ("GET", OK, 200, b"ok", True),
        ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, b"", True),
        ("GET", CHUNKED + b"1\r\no\r\n1\r\nk\r\n0\r\n\r\n", 200, b"ok", True),
        ("GET", CHUNKED + b"2\r\nok\r\n0\r\nA: b\r\n\r\n", 200, b"ok", True),
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", 200, b"", True),
        ("GET", b"HTTP/1.1 204 No\r\n\r\n", 204, b"", True),
        ("GET", b"HTTP/1.1 304 No\r\nContent-Length: 7\r\n\r\n", 304, b"", True),
        ("GET", b"HTTP/1.1 103 E\r\nA: b\r\n\r\nHTTP/1.1 100 C\r\n\r\n" + OK, 200, b"ok", True),
        ("GET", b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", False),
        ("GET", b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", False),
        ("GET", b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", True),
        ("GET", b"HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", 101, b"", False),
        ("CONNECT", b"HTTP/1.1 200 OK\r\n\r\n", 200, b"", False),
    ],
)  # fmt: skip
def test_responses(method: str, data: bytes, status: int, body: bytes, reusable: bool) -> None:
    for pieces in split(data):
        bench = Bench()
        taker = bench.ask(method)
        for piece in pieces[:-1]:
            bench.wire.feed(piece)
            assert taker.outcome is None
        bench.wire.feed(pieces[-1])
        assert taker.outcome == "finished"
        assert taker.head is not None
        assert (taker.head.status, taker.body) == (status, body)
        assert bench.connection.reusable == reusable
        assert bench.connection.receiver is None
        if reusable:
            again = bench.ask()
            bench.wire.feed(OK)
            assert (again.outcome, again.body) == ("finished", b"ok")
            assert bench.connection.requests == 2


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n"])
def test_until_the_end(head: bytes) -> None:
    for pieces in split(head + b"body"):
        bench = Bench()
        taker = bench.ask()
        for piece in pieces:
            bench.wire.feed(piece)
        assert taker.outcome is None
        bench.wire.feed_eof()
        bench.wire.lose()
        assert (taker.outcome, taker.body) == ("finished", b"body")
        assert not bench.connection.reusable


def test_a_request_is_written() -> None:
    bench = Bench()
    bench.ask(body=b"body")
    assert bench.wire.writes == [b"HEADbody"]
    bench = Bench()
    bench.ask(body=b"x" * 20000)
    assert bench.wire.writes == [b"HEAD", b"x" * 20000]


def test_room_for_more() -> None:
    bench = Bench(capacity=2)
    taker = bench.ask(more=True)
    bench.wire.drain()
    assert taker.resumed == 1
    bench.connection.abort()
    bench.connection.resume_writing()
    assert taker.resumed == 1


# --- when a connection must not be used again ---


@pytest.mark.parametrize(
    "data",
    [
        OK + b"x",
        OK + OK,
        b"HTTP/1.1 204 No\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n\r\n",
    ],
)
def test_bytes_behind_the_response(data: bytes) -> None:
    bench = Bench()
    taker = bench.ask()
    bench.wire.feed(data)
    assert taker.outcome == "finished"
    assert not bench.connection.reusable
    # And when they come later.
    bench = Bench()
    taker = bench.ask()
    bench.wire.feed(OK)
    assert bench.connection.reusable
    bench.wire.feed(b"x")
    assert not bench.connection.reusable
    assert bench.wire.aborted
    assert bench.lost == [bench.connection]


def test_a_response_before_the_request_is_out() -> None:
    bench = Bench()
    taker = bench.ask(more=True)
    bench.wire.feed(OK)
    assert (taker.outcome, bench.connection.reusable) == ("finished", False)
    bench = Bench(capacity=2)
    taker = bench.ask(body=b"x" * 10)
    bench.wire.feed(OK)
    assert (taker.outcome, bench.connection.reusable) == ("finished", False)


def test_the_peer_ends_it_between_requests() -> None:
    for error in (None, ConnectionResetError()):
        bench = Bench()
        bench.ask()
        bench.wire.feed(OK)
        if error is None:
            bench.wire.feed_eof()
        bench.wire.lose(error)
        assert not bench.connection.reusable
        assert bench.lost == [bench.connection]


def test_the_peer_says_close_and_then_more() -> None:
    bench = Bench()
    bench.ask()
    bench.wire.feed(OK)
    bench.wire.feed(b"x")
    bench.wire.lose()
    assert len(bench.lost) == 1


@pytest.mark.parametrize("with_poll", [True, False])
def test_what_the_system_knows(monkeypatch: pytest.MonkeyPatch, with_poll: bool) -> None:
    if not with_poll:
        monkeypatch.delattr("select.poll")
    near, far = socket.socketpair()
    with near, far:
        bench = Bench()
        assert bench.connection.hung_up()  # there is no socket
        bench.wire._extra["socket"] = near
        assert not bench.connection.hung_up()
        far.send(b"x")
        assert bench.connection.hung_up()
        near.recv(1)
        assert not bench.connection.hung_up()
        far.close()
        assert bench.connection.hung_up()
        near.close()
        assert bench.connection.hung_up()
        other = Bench()
        other.wire._extra["socket"] = near
        assert other.connection.hung_up()
        bench.connection.abort()
        assert bench.connection.hung_up()


# --- responses that are not fine ---


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"hello\r\n\r\n", ""),
        (b"\x16\x03\x01\r\n\r\n", ""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", "Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", ""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n", "Content-Length"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", ""),
        (b"HTTP/1.1 200 OK\r\nA: " + b"x" * 2000, "2000"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n", "1001 is over 1000"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n", "over 1000"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "chunk size"),
        (b"HTTP/1.1 102 P\r\n\r\n" * 11, "more than 10 interim"),
    ],
)
def test_what_is_no_response(data: bytes, why: str) -> None:
    for pieces in split(data):
        bench = Bench()
        taker = bench.ask()
        for piece in pieces:
            bench.wire.feed(piece)
        assert isinstance(taker.outcome, RemoteProtocolError)
        assert why in str(taker.outcome)
        assert bench.wire.aborted
        assert not bench.connection.reusable
        assert bench.lost == []


@pytest.mark.parametrize(
    ("data", "place", "silent"),
    [
        (b"", "", True),
        (b"HTTP/1.1 200", "in the head of the response", False),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "", False),
        (OK[:-1], "in the body of the response", False),
        (CHUNKED + b"2\r\nok\r\n0\r\n", "in the body of the response", False),
    ],
)  # fmt: skip
def test_a_response_that_is_cut(data: bytes, place: str, silent: bool) -> None:
    for error in (None, ConnectionResetError("reset")):
        bench = Bench()
        taker = bench.ask()
        bench.wire.feed(data)
        if error is None:
            bench.wire.feed_eof()
        bench.wire.lose(error)
        assert isinstance(taker.outcome, Cut)
        assert str(taker.outcome) == place
        assert taker.outcome.cause is error
        assert bench.connection.silent == silent


def test_until_the_end_is_not_until_a_reset() -> None:
    bench = Bench()
    taker = bench.ask()
    bench.wire.feed(b"HTTP/1.1 200 OK\r\n\r\nbo")
    bench.wire.lose(ConnectionResetError())
    assert isinstance(taker.outcome, Cut)
    # Nor until our own side is closed, for whatever reason.
    bench = Bench()
    taker = bench.ask()
    bench.wire.feed(b"HTTP/1.1 200 OK\r\n\r\nbo")
    bench.wire.lose()
    assert isinstance(taker.outcome, Cut)


def test_who_aborts_hears_no_more() -> None:
    bench = Bench()
    taker = bench.ask()
    bench.connection.abort()
    bench.wire.feed(OK)
    bench.wire.lose()
    assert taker.outcome is None
    assert bench.lost == []


@pytest.mark.parametrize("moment", ["interim_received", "head_received", "data_received"])
def test_aborting_while_something_is_received(moment: str) -> None:
    bench = Bench()
    taker = bench.ask()
    setattr(taker, moment, lambda _: bench.connection.abort())
    bench.wire.feed(b"HTTP/1.1 103 E\r\n\r\n" + OK)
    assert taker.outcome is None
    assert bench.wire.aborted


# --- pauses ---


def test_a_pause() -> None:
    bench = Bench()
    taker = bench.ask(pausing=True)
    bench.wire.feed(OK[:-1])
    assert not bench.wire.reading
    assert taker.body == b"o"
    bench.wire.feed(b"k")  # some transports do not stop at once
    assert taker.body == b"o"
    bench.connection.resume()
    assert taker.body == b"ok"
    assert taker.outcome is None
    bench.connection.resume()
    bench.connection.resume()
    assert taker.outcome == "finished"
    assert bench.wire.reading
    assert bench.connection.reusable


def test_bytes_behind_the_response_in_a_pause() -> None:
    bench = Bench()
    taker = bench.ask(pausing=True)
    bench.wire.feed(OK)
    bench.wire.feed(b"x")
    bench.connection.resume()
    assert taker.outcome == "finished"
    assert not bench.connection.reusable


def test_reading_goes_on_after_a_pause() -> None:
    bench = Bench()
    taker = bench.ask(pausing=True)
    bench.wire.feed(OK[:-1])
    bench.connection.resume()
    assert bench.wire.reading
    taker.pausing = False
    bench.wire.feed(b"k")
    assert taker.outcome == "finished"


@pytest.mark.parametrize("whole", [True, False])
def test_the_end_comes_in_a_pause(whole: bool) -> None:
    bench = Bench()
    taker = bench.ask(pausing=True)
    bench.wire.feed(OK[:-1])
    if whole:
        bench.wire.feed(b"k")
    bench.wire.feed_eof()
    bench.wire.lose()
    assert taker.outcome is None
    bench.connection.resume()
    if whole:
        assert taker.outcome is None
        bench.connection.resume()
        assert taker.outcome == "finished"
    else:
        assert isinstance(taker.outcome, Cut)
    assert not bench.connection.reusable


def test_an_abort_in_a_pause() -> None:
    bench = Bench()
    taker = bench.ask(pausing=True)
    bench.wire.feed(OK[:-1])
    bench.connection.abort()
    bench.connection.resume()
    assert taker.outcome is None


# --- against another implementation ---

texts = st.text("abc XYZ019", min_size=0, max_size=20).map(str.strip)
names = st.text("abcXYZ-019", min_size=1, max_size=10).map(lambda name: "X-" + name)


@st.composite
def responses(draw: Any) -> tuple[bytes, int, bytes]:
    """What h11 says as a server, and what was meant."""
    server = h11.Connection(h11.SERVER)
    server.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    server.next_event()
    server.next_event()
    data = b""
    for _ in range(draw(st.integers(0, 3))):
        status = draw(st.sampled_from([100, 102, 103]))
        data += server.send(h11.InformationalResponse(status_code=status, headers=[])) or b""
    pieces = draw(st.lists(st.binary(max_size=100), max_size=5))
    headers = draw(st.lists(st.tuples(names, texts), max_size=4))
    if draw(st.booleans()):
        headers.append(("Content-Length", str(sum(map(len, pieces)))))
    else:
        headers.append(("Transfer-Encoding", "chunked"))
    status = draw(st.sampled_from([200, 201, 206, 302, 404, 500]))
    data += server.send(h11.Response(status_code=status, headers=headers, reason=draw(texts))) or b""
    for piece in pieces:
        data += server.send(h11.Data(data=piece)) or b""
    data += server.send(h11.EndOfMessage()) or b""
    return data, status, b"".join(pieces)


@settings(max_examples=30)  # each is several responses in many pieces
@given(st.lists(responses(), min_size=1, max_size=3), st.data())
def test_responses_of_h11_split_at_random(sent: list[tuple[bytes, int, bytes]], data: Any) -> None:
    bench = Bench()
    for raw, status, body in sent:
        taker = bench.ask()
        rest = raw
        while rest:
            size = data.draw(st.integers(1, len(rest)))
            bench.wire.feed(rest[:size])
            rest = rest[size:]
        assert taker.outcome == "finished"
        assert taker.head is not None
        assert (taker.head.status, taker.body) == (status, body)
        assert bench.connection.reusable


@given(st.binary(max_size=200), st.booleans(), st.data())
def test_whatever_comes_there_is_one_outcome(noise: bytes, behind_a_head: bool, data: Any) -> None:
    bench = Bench()
    taker = bench.ask(pausing=data.draw(st.booleans()))
    rest = (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" if behind_a_head else b"") + noise
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        bench.wire.feed(rest[:size])
        if data.draw(st.booleans()):
            bench.connection.resume()
        rest = rest[size:]
    bench.wire.feed_eof()
    bench.wire.lose()
    for _ in range(300):
        bench.connection.resume()
    assert taker.outcome is not None
    assert not bench.connection.reusable or bench.wire.closing
