"""What goes between a host and an exchange: bodies in, clients that leave, limits, deadlines and who fails."""

import asyncio
from collections.abc import Awaitable
from contextvars import ContextVar
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.asgi.adaptedhost import Call, ask, http_scope, running
from webfw.asgi.adapter import ASGIAdapter
from webfw.asgi.adapterhost import ResponseCut
from webfw.httpserver import Exchange
from webfw.httputil import HTTPHeaders, HTTPMessageDelegate, HTTPServerConnectionDelegate, ResponseStartLine
from webfw.ioloop import IOLoop
from webfw.iostream import StreamClosedError
from webfw.web import Application, EventSourceHandler, RequestHandler, stream_request_body

colour: ContextVar[str] = ContextVar("colour", default="none")
OK = ResponseStartLine("", 200, "OK")


def serving(handler: type[RequestHandler], **options: Any) -> ASGIAdapter:
    return ASGIAdapter(Application([("/.*", handler)], log_function=lambda handler: None), **options)


def by(answer: Any, **options: Any) -> ASGIAdapter:
    """An application that has an exchange answered by a function."""

    class Direct:
        def begin(self, exchange: Exchange) -> Any:
            return answer(exchange)

    return ASGIAdapter(Direct(), **options)  # type: ignore[arg-type]


class Body(RequestHandler):
    """Gives back what it gets."""

    def post(self) -> None:
        self.write(self.request.body)

    get = post


class Waiting(RequestHandler):
    """Waits until its client has gone."""

    def initialize(self) -> None:
        self.left = asyncio.Event()

    async def get(self) -> None:
        events.append("begun")
        await self.left.wait()
        self.write("too late")

    post = get

    def on_connection_close(self) -> None:
        events.append("left")
        self.left.set()

    def on_finish(self) -> None:
        events.append("finished")


events: list[str] = []


@pytest.fixture(autouse=True)
def no_events() -> None:
    events.clear()


# --- bodies ---


@given(st.lists(st.binary(max_size=50), max_size=8))
async def test_a_body_in_any_pieces(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    call = Call(serving(Body), http_scope("POST", headers={"transfer-encoding": "chunked"}))
    for piece in pieces:
        call.body(piece, more=True)
    call.body()
    await call.run()
    assert call.content == whole


async def test_a_body_without_fields_comes_over_http_2() -> None:
    call = await ask(serving(Body), "POST", body=None, http_version="2")
    assert call.content == b""
    call = Call(serving(Body), http_scope("POST", http_version="2"))
    call.body(b"some", more=True)
    call.body(b"thing")
    assert (await call.run()).content == b"something"


async def test_messages_may_leave_out_what_is_empty() -> None:
    call = Call(serving(Body), http_scope("POST", headers={"content-length": "0"}))
    call.say({"type": "http.request"})
    assert (await call.run()).content == b""


async def test_pieces_are_cut_to_size_and_waited_for() -> None:
    sizes: list[int] = []
    taking = asyncio.Event()
    let = asyncio.Event()

    @stream_request_body
    class Slow(RequestHandler):
        async def data_received(self, chunk: bytes) -> None:
            sizes.append(len(chunk))
            taking.set()
            await let.wait()

        def post(self) -> None:
            self.write(str(sum(sizes)))

    call = Call(serving(Slow, chunk_size=1000), http_scope("POST", headers={"transfer-encoding": "chunked"}))
    call.body(b"x" * 2500, more=True)
    call.body(b"x" * 300)
    async with running(call):
        await taking.wait()
        assert (sizes, call.asked) == ([1000], 1)
        let.set()
    assert sizes == [1000, 1000, 500, 300]
    assert call.content == b"2800"


async def test_both_ways_at_once() -> None:
    @stream_request_body
    class Both(RequestHandler):
        async def data_received(self, chunk: bytes) -> None:
            self.write(chunk.upper())
            await self.flush()

        def post(self) -> None:
            self.write("!")

    call = Call(serving(Both), http_scope("POST", headers={"transfer-encoding": "chunked"}))
    async with running(call):
        call.body(b"one", more=True)
        await call.heard(2)
        assert call.sent[1] == {"type": "http.response.body", "body": b"ONE", "more_body": True}
        call.body(b"two", more=True)
        await call.heard(3)
        call.body()
    assert call.content == b"ONETWO!"


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_that_is_too_large(announced: bool) -> None:
    headers = {"content-length": "11"} if announced else {"transfer-encoding": "chunked"}
    call = Call(serving(Body, max_body_size=10), http_scope("POST", headers=headers))
    call.body(b"0123456789!", more=True)
    await call.run()
    assert (call.status, call.content) == (413, b"413 Content Too Large: the body is too large\n")
    assert call.asked == (0 if announced else 1)


async def test_an_answer_before_the_body_ends_the_call() -> None:
    def answer(exchange: Exchange) -> None:
        exchange.respond(403, "Forbidden", HTTPHeaders({"Content-Length": "0"}), b"")

    call = Call(by(answer), http_scope("POST", headers={"content-length": "1000000"}))
    await call.run()
    assert (call.status, call.asked) == (403, 0)


async def test_an_answer_in_the_middle_of_the_body_ends_the_call() -> None:
    @stream_request_body
    class Enough(RequestHandler):
        def data_received(self, chunk: bytes) -> None:
            self.finish("enough")

    call = Call(serving(Enough), http_scope("POST", headers={"content-length": "1000000"}))
    call.body(b"x" * 200_000, more=True)
    await call.run()
    assert (call.content, call.asked) == (b"enough", 1)


async def test_a_body_nobody_wants_is_dropped() -> None:
    left = asyncio.Event()

    def answer(exchange: Exchange) -> None:
        exchange.set_close_callback(left.set)

    call = Call(by(answer), http_scope("POST", headers={"content-length": "6"}))
    call.body(b"abc", more=True)
    call.body(b"def")
    call.leave()
    await call.run()
    assert left.is_set()
    assert call.sent == []


async def test_a_body_that_comes_too_slowly(expect_log: Any) -> None:
    call = Call(serving(Body, body_timeout=0.05), http_scope("POST", headers={"content-length": "6"}))
    call.body(b"abc", more=True)
    with expect_log("webfw.general", "refused with 408", level=20):
        await call.run()
    assert call.status == 408


async def test_a_deadline_that_is_set_on_the_way(expect_log: Any) -> None:
    @stream_request_body
    class Impatient(RequestHandler):
        def prepare(self) -> None:
            self.request.connection.set_body_timeout(60)

        def data_received(self, chunk: bytes) -> None:
            self.request.connection.set_body_timeout(0.02)

    adapter = serving(Impatient, body_timeout=0.08)
    call = Call(adapter, http_scope("POST", headers={"content-length": "6"}))
    call.body(b"abc", more=True)
    await call.run()
    assert call.status == 408


async def test_the_application_is_not_the_clients_time() -> None:
    @stream_request_body
    class Slow(RequestHandler):
        async def data_received(self, chunk: bytes) -> None:
            await asyncio.sleep(0.1)

        def post(self) -> None:
            self.write("done")

    call = await ask(serving(Slow, body_timeout=0.05), "POST", body=b"x")
    assert call.content == b"done"


# --- clients that leave ---


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_client_that_leaves_while_it_is_answered(method: str) -> None:
    body = b"x" if method == "POST" else None
    headers = {"content-length": "1"} if body else {}
    call = Call(serving(Waiting), http_scope(method, headers=headers))
    call.body(body or b"")
    async with running(call):
        while not events:
            await asyncio.sleep(0)
        call.leave()
    while "finished" not in events:
        await asyncio.sleep(0)
    assert events == ["begun", "left", "finished"]
    assert call.sent == []


async def test_a_client_that_leaves_in_the_middle_of_its_body(expect_log: Any) -> None:
    call = Call(serving(Body), http_scope("POST", headers={"content-length": "6"}))
    call.body(b"abc", more=True)
    call.leave()
    with expect_log("webfw.general", "closed before the end of the request's body", level=20, count=1):
        await call.run()
    assert call.sent == []


async def test_a_host_that_raises_instead() -> None:
    call = Call(serving(Waiting), http_scope())
    call.say(ConnectionResetError("gone"))
    await call.run()
    assert events == ["begun", "left"]


async def test_a_client_that_is_gone_when_something_is_sent() -> None:
    """The specification, 2.4: ``send`` raises an OSError."""

    class Streaming(RequestHandler):
        async def get(self) -> None:
            try:
                while True:
                    self.write("x" * 1000)
                    await self.flush()
            except StreamClosedError:
                stream = self.request.connection.stream
                events.append("noticed" if stream.closed() else "closed for some other reason")
                raise

        def on_connection_close(self) -> None:
            events.append("left")

    call = Call(serving(Streaming), http_scope())
    call.error = OSError("gone")
    await call.run()
    await asyncio.sleep(0)
    assert events == ["left", "noticed"]


async def test_a_host_that_fails_to_send_is_not_excused() -> None:
    call = Call(serving(Body), http_scope())
    call.error = ValueError("what is this?")
    with pytest.raises(ValueError, match="what is this"):
        await call.run()


async def test_a_host_that_cancels() -> None:
    call = Call(serving(Waiting), http_scope())
    task = asyncio.create_task(call.run())
    while not events:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert events[:2] == ["begun", "left"]


async def test_a_host_that_cancels_what_is_cut() -> None:
    exchanges: list[Exchange] = []

    def answer(exchange: Exchange) -> None:
        exchange.write_headers(OK, HTTPHeaders(), b"x")
        exchanges.append(exchange)

    call = Call(by(answer), http_scope())
    call.gate.clear()
    task = asyncio.create_task(call.run())
    for _ in range(10):
        await asyncio.sleep(0)
    exchanges[0].abort_response()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_event_stream_ends_with_its_client() -> None:
    class Stream(EventSourceHandler):
        def open(self) -> None:
            self.send_event("hello")

        def on_close(self) -> None:
            events.append("closed")

    app = Application([("/", Stream)], log_function=lambda handler: None)
    call = Call(ASGIAdapter(app), http_scope())
    async with running(call):
        await call.heard(2)
        assert b"hello" in b"".join(m.get("body", b"") for m in call.sent)
        call.leave()
    await asyncio.sleep(0)
    assert events == ["closed"]
    assert not app.live


async def test_a_host_whose_receive_never_waits() -> None:
    """As those of simple test harnesses: the same message again and again."""

    class Later(RequestHandler):
        async def get(self) -> None:
            await asyncio.sleep(0)
            self.write("later")

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    call = Call(serving(Later), http_scope())
    await call.app(call.scope, receive, call.send)
    assert call.content == b"later"


async def test_a_message_that_nobody_knows(expect_log: Any) -> None:
    call = Call(serving(Waiting), http_scope())
    call.say({"type": "http.surprise"})
    with expect_log("webfw.application", "Uncaught exception while reading a request"):
        await call.run()
    assert call.status == 500


# --- those who fail ---


async def test_an_application_that_fails_to_begin(expect_log: Any) -> None:
    def answer(exchange: Exchange) -> None:
        raise RuntimeError("as planned")

    with expect_log("webfw.application", "Uncaught exception while beginning a request", count=1):
        call = await ask(by(answer))
    assert (call.status, call.content) == (500, b"500 Internal Server Error\n")
    with expect_log("webfw.application", "Uncaught exception while beginning a request", count=1):
        call = await ask(by(answer), "HEAD")
    assert (call.status, call.content) == (500, b"")


async def test_an_application_that_fails_when_it_has_begun(expect_log: Any) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.write_headers(OK, HTTPHeaders(), b"x")
        raise RuntimeError("as planned")

    with expect_log("webfw.application", "while beginning"), pytest.raises(ResponseCut, match="GET /"):
        await ask(by(answer))


async def test_a_sink_that_fails(expect_log: Any) -> None:
    class Sink(HTTPMessageDelegate):
        def data_received(self, chunk: bytes) -> Awaitable[None] | None:
            raise RuntimeError("as planned")

    def answer(exchange: Exchange) -> None:
        exchange.sink = Sink()

    with expect_log("webfw.application", "while reading a request", count=1):
        assert (await ask(by(answer), "POST", body=b"x")).status == 500


async def test_what_the_body_waits_for_is_cancelled(expect_log: Any) -> None:
    async def answer(exchange: Exchange) -> None:
        raise asyncio.CancelledError

    with expect_log("webfw.application", "while reading a request", count=1):
        assert (await ask(by(answer), "POST", body=b"x")).status == 500


async def test_a_close_callback_that_fails(expect_log: Any) -> None:
    def left() -> None:
        raise RuntimeError("as planned")

    def answer(exchange: Exchange) -> None:
        exchange.set_close_callback(left)

    call = Call(by(answer), http_scope())
    call.leave()
    with expect_log("webfw.application", "in a close callback"):
        await call.run()


async def test_a_refused_request_is_not_answered_twice() -> None:
    exchanges: list[Exchange] = []

    def answer(exchange: Exchange) -> None:
        exchanges.append(exchange)

    call = await ask(by(answer, max_body_size=1), "POST", body=b"xy")
    exchange = exchanges[0]
    exchange.respond(200, "OK", HTTPHeaders(), b"late")
    assert exchange.status == 200
    assert (call.status, len(call.sent)) == (413, 2)
    exchange = exchanges.pop()
    call = Call(by(answer), http_scope())
    call.leave()
    await call.run()
    late = exchanges[-1]
    with pytest.raises(StreamClosedError):
        await late.write_headers(OK, HTTPHeaders())
    late.finish()
    assert call.sent == []


# --- around it ---


async def test_contexts_are_the_hosts_and_each_requests_own() -> None:
    class Painter(RequestHandler):
        async def get(self) -> None:
            self.write(f"{colour.get()} ")
            colour.set("red")
            await asyncio.sleep(0)
            self.write(colour.get())

    colour.set("blue")
    adapter = serving(Painter)
    calls = await asyncio.gather(ask(adapter), ask(adapter))
    assert [call.content for call in calls] == [b"blue red"] * 2
    assert colour.get() == "blue"


async def test_the_loop_is_the_hosts() -> None:
    class Looped(RequestHandler):
        async def get(self) -> None:
            done = asyncio.Event()
            IOLoop.current().add_callback(done.set)
            await done.wait()
            self.write("called")

    assert (await ask(serving(Looped))).content == b"called"


async def test_delegates_hear_of_the_end() -> None:
    class Delegate(HTTPServerConnectionDelegate):
        def start_request(self, server_conn: object, request_conn: Any) -> HTTPMessageDelegate:
            class Message(HTTPMessageDelegate):
                async def headers_received(self, start_line: Any, headers: Any) -> None:
                    events.append(f"{start_line.method} {headers['host']}")

                def data_received(self, chunk: bytes) -> None:
                    events.append(chunk.decode())

                def finish(self) -> None:
                    request_conn.write_headers(OK, HTTPHeaders({"Content-Length": "0"}))
                    request_conn.finish()

            return Message()

        def on_close(self, server_conn: object) -> None:
            events.append("closed")

    adapter = ASGIAdapter(Delegate())
    assert (await ask(adapter, "POST", body=b"body")).status == 200
    assert events == ["POST example.com", "body", "closed"]
    assert (await ask(adapter)).status == 200


async def test_handlers_reach_the_scope() -> None:
    class Stateful(RequestHandler):
        def get(self) -> None:
            scope = self.request.connection.scope
            self.write(f"{scope['state']['pool']} {scope['root_path']} {self.request.uri}")

    call = await ask(serving(Stateful), path="/app/x?y", root_path="/app", state={"pool": "P"})
    assert call.content == b"P /app /x?y"
