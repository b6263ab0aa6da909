"""Tests of webfw.httpserver.observed: what observers are told of HTTP/1 connections, and why requests end."""

import asyncio
import contextvars
import gc
import itertools
import socket
import ssl
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from webfw.httpserver import Exchange, HTTPServer, Observer, Record
from webfw.httpserver.http1 import ServerConnection
from webfw.httputil import HTTPHeaders, HTTPServerRequest, ResponseStartLine
from webfw.netutil import bind_sockets
from webfw.testing.fakes import FakeWire

GET = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"

ExpectLog = Callable[..., AbstractContextManager[Any]]


class Watch(Observer):
    """Notes every moment as text, and the ends as (path, why, status, bytes in, bytes out)."""

    def __init__(self) -> None:
        self.moments: list[str] = []
        self.ends: list[tuple[Any, ...]] = []
        self.records: list[Record] = []
        self.open = 0

    def connected(self, connection: object) -> None:
        self.open += 1

    def begun(self, record: Record) -> None:
        assert record.request is not None
        assert record.exchange is not None
        self.records.append(record)
        self.moments.append(f"begun {record.request.path}")

    def handling(self, record: Record) -> None:
        self.moments.append("handling")

    def answering(self, record: Record) -> None:
        self.moments.append(f"answering {record.status}")

    def upgraded(self, record: Record) -> None:
        self.moments.append("upgraded")

    def ended(self, record: Record) -> None:
        assert record.request is not None
        self.moments.append(f"ended {record.why}")
        self.ends.append((record.request.path, record.why, record.status, record.bytes_in, record.bytes_out))

    def refused(self, record: Record) -> None:
        self.moments.append(f"refused {record.status} {record.why}")

    def closed(self, connection: object) -> None:
        self.open -= 1
        assert all(record.why for record in self.records if record.connection is connection)


@pytest.fixture
def watch() -> Watch:
    return Watch()


def answer(request: HTTPServerRequest) -> None:
    request.connection.respond(200, "OK", HTTPHeaders({"Content-Length": "5"}), b"hello")


def silent(request: HTTPServerRequest) -> None:
    """Answer later, or never."""


def test_a_server_that_nobody_watches_makes_plain_connections(talk: Any) -> None:
    t = talk(answer)
    assert type(t.conn) is ServerConnection
    t.send(GET)
    assert t.server.observers is None


def test_a_plain_request(talk: Any, watch: Watch) -> None:
    t = talk(answer, observer=watch)
    assert watch.open == 1
    assert t.send(GET).endswith(b"hello")
    assert watch.moments == ["begun /a", "handling", "answering 200", "ended complete"]
    assert watch.ends == [("/a", "complete", 200, 0, 5)]
    t.wire.lose()
    assert watch.open == 0
    assert len(watch.ends) == 1


@pytest.mark.parametrize("way", ["whole", "bytes", "pipelined"])
def test_requests_with_bodies(talk: Any, watch: Watch, way: str) -> None:
    t = talk(answer, observer=[watch])
    data = POST + b"12345"
    pieces = {
        "whole": [data],
        "bytes": [data[i : i + 1] for i in range(len(data))],
        "pipelined": [data[:70], data[70:]],
    }
    for piece in pieces[way]:
        t.send(piece)
    assert watch.ends == [("/b", "complete", 200, 5, 5)]


@given(st.lists(st.integers(0, 300), max_size=6))
@settings(deadline=None, max_examples=40)
def test_every_request_ends_once_however_it_is_cut(cuts: list[int]) -> None:
    async def run() -> None:
        watch = Watch()
        server = HTTPServer(answer, observer=watch)
        wire = FakeWire(asyncio.get_running_loop())
        server._serve(wire)  # type: ignore[arg-type]
        data = (GET + POST + b"12345") * 3 + b"rubbish\r\n\r\n"
        bounds = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
        for begin, end in itertools.pairwise(bounds):
            wire.feed(data[begin:end])
            for _ in range(3):
                await asyncio.sleep(0)
        wire.lose()
        assert [(path, why) for path, why, *_ in watch.ends] == [("/a", "complete"), ("/b", "complete")] * 3
        assert watch.moments[-1] == "refused 400 refused"
        assert watch.open == 0

    asyncio.run(run())


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"rubbish\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 2000 + b"\r\n\r\n", 431),
        (b"GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 421),
    ],
)
def test_heads_that_cannot_be_read(talk: Any, watch: Watch, data: bytes, status: int) -> None:
    t = talk(answer, observer=watch, max_header_size=1000)
    assert t.send(data).startswith(b"HTTP/1.1 %d " % status)
    assert watch.moments == [f"refused {status} refused"]


def test_a_head_that_does_not_come_in_time(talk: Any, watch: Watch) -> None:
    t = talk(answer, observer=watch, header_timeout=2)
    t.send(GET[:10])
    assert t.pass_time(4).startswith(b"HTTP/1.1 408 ")
    assert watch.moments == ["refused 408 timeout"]


def test_an_idle_connection_that_closes_is_no_request(talk: Any, watch: Watch) -> None:
    t = talk(answer, observer=watch, header_timeout=2)
    t.pass_time(4)
    assert t.wire.closing
    assert watch.moments == []


def test_a_body_that_is_too_large(talk: Any, watch: Watch) -> None:
    t = talk(answer, observer=watch, max_body_size=4)
    assert t.send(POST).startswith(b"HTTP/1.1 413 ")
    assert watch.moments == ["begun /b", "answering 413", "ended refused"]


def test_a_body_that_comes_too_slowly(talk: Any, watch: Watch) -> None:
    t = talk(answer, observer=watch, body_timeout=2)
    t.send(POST + b"12")
    assert t.pass_time(4).startswith(b"HTTP/1.1 408 ")
    assert watch.ends == [("/b", "timeout", 408, 2, 0)]


def test_a_client_that_goes_before_its_body_is_there(talk: Any, watch: Watch) -> None:
    t = talk(answer, observer=watch)
    t.send(POST + b"12")
    t.wire.feed_eof()
    assert watch.ends == [("/b", "client_gone", 0, 2, 0)]


@pytest.mark.parametrize("begun", [False, True])
def test_a_client_that_goes_before_its_answer(talk: Any, watch: Watch, begun: bool) -> None:
    def begin(request: HTTPServerRequest) -> None:
        if begun:
            request.connection.write_headers(ResponseStartLine("", 200, "OK"), HTTPHeaders(), b"1234")

    t = talk(begin, observer=watch)
    t.send(GET)
    exchange = watch.records[0].exchange
    t.wire.lose(ConnectionResetError())
    assert watch.ends == [("/a", "client_gone", 200 if begun else 0, 0, 4 if begun else 0)]
    if not begun:  # what is answered too late is no answer
        assert exchange is not None
        exchange.respond(200, "OK", HTTPHeaders(), b"")
    assert len(watch.ends) == 1
    assert watch.records[0].status == (200 if begun else 0)


def test_an_application_that_cuts(talk: Any, watch: Watch) -> None:
    t = talk(lambda request: request.connection.abort_response(), observer=watch)
    t.send(GET)
    assert watch.ends == [("/a", "cut", 0, 0, 0)]


async def test_a_server_that_ends_at_once(talk: Any, watch: Watch) -> None:
    t = talk(silent, observer=watch)
    t.send(GET)
    closing = asyncio.ensure_future(t.server.close_all_connections())
    await asyncio.sleep(0)
    t.wire.lose()
    await closing
    assert watch.ends == [("/a", "cut", 0, 0, 0)]


def test_an_application_that_fails_to_begin(talk: Any, watch: Watch, expect_log: ExpectLog) -> None:
    def fail(request: HTTPServerRequest) -> None:
        raise ValueError("no")

    t = talk(fail, observer=watch)
    with expect_log("webfw.application", "Uncaught"):
        assert t.send(GET).startswith(b"HTTP/1.1 500 ")
    assert watch.moments == ["begun /a", "handling", "answering 500", "ended failed"]


def large(request: HTTPServerRequest) -> None:
    request.connection.respond(200, "OK", HTTPHeaders({"Content-Length": "1000"}), b"x" * 1000)


def test_an_answer_ends_when_it_is_taken(talk: Any, watch: Watch) -> None:
    t = talk(large, observer=watch, wire={"capacity": 100})
    t.send(GET)
    assert watch.moments[-1] == "answering 200"
    while t.wire.write_paused:
        t.wire.drain()
    assert watch.ends == [("/a", "complete", 200, 0, 1000)]


def test_an_answer_that_is_never_taken(talk: Any, watch: Watch) -> None:
    t = talk(large, observer=watch, wire={"capacity": 100}, write_timeout=2)
    t.send(GET)
    t.pass_time(5)
    assert watch.ends == [("/a", "timeout", 200, 0, 1000)]


@pytest.mark.parametrize(("error", "why"), [(ConnectionResetError(), "client_gone"), (None, "complete")])
def test_a_client_that_goes_with_its_answer_on_the_way(
    talk: Any, watch: Watch, error: Exception | None, why: str
) -> None:
    t = talk(large, observer=watch, wire={"capacity": 100}, no_keep_alive=True)
    t.send(GET)
    assert watch.ends == []
    t.wire.lose(error)
    assert watch.ends == [("/a", why, 200, 0, 1000)]


async def test_an_answer_before_its_body_ends_when_it_is_out(talk: Any, watch: Watch) -> None:
    t = talk(answer, observer=watch)
    t.conn.begin = lambda exchange: answer(exchange.request)
    t.send(POST + b"12")
    assert watch.ends == [("/b", "complete", 200, 0, 5)]
    t.send(b"345" + GET)
    await t.settle()
    assert len(watch.ends) == 2


def test_a_streamed_answer(talk: Any, watch: Watch) -> None:
    t = talk(silent, observer=watch)
    t.send(GET)
    connection = watch.records[0].exchange
    assert connection is not None
    connection.send_informational(103, HTTPHeaders({"Link": "</a.css>"}))
    assert watch.moments[-1] == "handling"
    connection.write_headers(ResponseStartLine("", 200, "OK"), HTTPHeaders())
    assert watch.moments[-1] == "answering 200"
    connection.write(b"abc")
    connection.write(b"de")
    connection.finish()
    assert watch.ends == [("/a", "complete", 200, 0, 5)]


def test_a_connection_that_is_taken_away(talk: Any, watch: Watch) -> None:
    streams = []
    t = talk(lambda request: streams.append(request.connection.detach()), observer=watch)
    t.conn.begin = lambda exchange: streams.append(exchange.detach())
    t.send(GET)
    assert watch.ends == [("/a", "detached", 0, 0, 0)]
    assert watch.open == 0
    streams[0].close()
    t.wire.lose()
    assert len(watch.ends) == 1
    assert watch.open == 0


class Other:
    """A protocol that takes a connection over."""

    def connected(self, wire: Any, gone: Callable[[], None]) -> None:
        self.gone = gone

    def data_received(self, data: bytes) -> None:
        pass

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone()

    def resume_writing(self) -> None:
        pass

    def abort(self) -> None:
        pass

    def close_when_idle(self) -> None:
        pass


def test_another_protocol(talk: Any, watch: Watch) -> None:
    def upgrade(exchange: Exchange) -> None:
        exchange.write_headers(ResponseStartLine("", 101, "Switching Protocols"), HTTPHeaders())
        exchange.hand_over(Other())

    t = talk(silent, observer=watch)
    t.conn.begin = upgrade
    t.send(GET)
    assert watch.moments == ["begun /a", "answering 101", "upgraded"]
    assert (watch.open, watch.ends) == (1, [])
    t.wire.lose()
    assert watch.ends == [("/a", "complete", 101, 0, 0)]
    assert watch.open == 0


def test_fields_of_a_record_are_sent(talk: Any) -> None:
    class Adds(Observer):
        def begun(self, record: Record) -> None:
            record.fields = (("X-One", "1"), ("X-Two", "2"))

    def stream(request: HTTPServerRequest) -> None:
        request.connection.send_informational(103, HTTPHeaders())
        request.connection.write_headers(ResponseStartLine("", 200, "OK"), HTTPHeaders({"X-Two": "own"}))
        request.connection.finish()

    assert b"\r\nX-One: 1\r\nX-Two: 2\r\n" in talk(answer, observer=Adds()).send(GET)
    interim, _, final = talk(stream, observer=Adds()).send(GET).partition(b"\r\n\r\n")
    assert b"X-One" not in interim
    assert b"X-Two: own\r\nX-One: 1\r\n" in final.replace(b"Transfer-Encoding: chunked\r\n", b"")


def test_a_context_of_its_own_for_a_plain_function(talk: Any) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="nothing")
    seen = []

    class Sets(Observer):
        def begun(self, record: Record) -> None:
            seen.append(variable.get())

        def handling(self, record: Record) -> None:
            variable.set("of this request")

    def look(request: HTTPServerRequest) -> None:
        seen.append(variable.get())
        answer(request)

    talk(look, observer=Sets()).send(GET + GET)
    assert seen == ["nothing", "of this request"] * 2


def test_an_observer_that_raises_changes_nothing(talk: Any, expect_log: ExpectLog) -> None:
    class Raises(Observer):
        def raises(self, subject: Any) -> None:
            raise ValueError("broken")

        connected = begun = handling = answering = ended = refused = closed = raises

    with expect_log("webfw.application", "Uncaught exception in the observer", count=1):
        t = talk(answer, observer=Raises())
        assert t.send(GET + GET).count(b"hello") == 2
        assert b" 400 " in t.send(b"rubbish\r\n\r\n")
        t.wire.lose()


def test_records_leave_no_reference_cycles(talk: Any) -> None:
    t = talk(answer, observer=Observer())
    t.send(GET)
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for _ in range(5):
            t.send(GET + POST + b"12345")
        t.send(b"rubbish\r\n\r\n")
        gc.collect()
        ours = [thing for thing in gc.garbage if type(thing).__module__.startswith("webfw")]
    finally:
        gc.set_debug(0)
        gc.enable()
        gc.garbage.clear()
    assert ours == []


# On real sockets.


def listening(server: HTTPServer) -> int:
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    port: int = sockets[0].getsockname()[1]
    return port


async def until(condition: Callable[[], Any]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("tls", [False, True])
async def test_a_conversation_on_a_real_socket(watch: Watch, tls: bool) -> None:
    versions = []

    class Versions(Observer):
        def ended(self, record: Record) -> None:
            assert record.exchange is not None
            found = record.exchange.get_extra_info("ssl_object")
            versions.append(found and found.version())

    authority = trustme.CA()
    ours = theirs = None
    if tls:
        theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("localhost").configure_cert(theirs)
        ours = ssl.create_default_context()
        authority.configure_trust(ours)
    server = HTTPServer(answer, ssl_options=theirs, observer=[watch, Versions()])
    name = {"server_hostname": "localhost"} if tls else {}
    reader, writer = await asyncio.open_connection("127.0.0.1", listening(server), ssl=ours, **name)
    writer.write(GET + POST + b"12345")
    for _ in range(2):
        await reader.readuntil(b"\r\n\r\nhello")
    assert watch.ends == [("/a", "complete", 200, 0, 5), ("/b", "complete", 200, 5, 5)]
    assert versions == ["TLSv1.3" if tls else None] * 2
    assert watch.open == 1
    writer.close()
    await until(lambda: watch.open == 0)
    await server.drain(1)


@pytest.mark.parametrize("how", ["reset", "end", "deaf"])
async def test_a_client_that_does_not_take_a_large_answer(watch: Watch, how: str) -> None:
    body = b"x" * 20_000_000

    def huge(request: HTTPServerRequest) -> None:
        request.connection.respond(200, "OK", HTTPHeaders({"Content-Length": str(len(body))}), body)

    server = HTTPServer(huge, observer=watch, write_timeout=0.2)
    client = socket.create_connection(("127.0.0.1", listening(server)))
    client.sendall(GET)
    await until(lambda: "answering 200" in watch.moments)
    assert watch.ends == []
    if how == "reset":
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
    elif how == "end":
        client.close()  # with unread input, which resets it too
    await until(lambda: watch.open == 0)
    why = "timeout" if how == "deaf" else "client_gone"
    assert watch.ends == [("/a", why, 200, 0, len(body))]
    client.close()
    await server.drain(1)
