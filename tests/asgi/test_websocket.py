"""ASGI over WebSocket from outside: frames in, frames out, and what the application hears in between."""

import asyncio
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.asgi.apps import Part, body
from tests.web.conftest import Answer, Site, request
from webfw.asgi import ApplicationError, ASGIContainer, ClientDisconnected
from webfw.asgi.websocket import is_handshake
from webfw.httpclient import HTTPClientError
from webfw.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine
from webfw.sansio.websocket import Close, Machine
from webfw.testing import Client
from webfw.websocket import ConnectionSettings, WebSocketClosedError

CONNECT = {"type": "websocket.connect"}
ACCEPT = {"type": "websocket.accept"}
CLOSE = {"type": "websocket.close"}


def text(data: str) -> dict[str, Any]:
    return {"type": "websocket.send", "text": data}


def gone(code: int, reason: str = "") -> dict[str, Any]:
    return {"type": "websocket.disconnect", "code": code, "reason": reason}


HANDSHAKE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec_WebSocket_Version": "13",
}


class Talk(Site):
    """A client that speaks frames on a fake wire."""

    def __init__(self, app: Any, *, capacity: int | None = None, **options: Any) -> None:
        options.setdefault("lifespan", "off")
        self.log: list[int] = []
        options.setdefault("log_function", lambda entry: self.log.append(entry.get_status()))
        super().__init__(ASGIContainer(app, **options), capacity=capacity)
        self.machine = Machine(server=False)

    async def open(self, **fields: str) -> Answer:
        return Answer(await self.send(request("/ws?x=1", **(HANDSHAKE | fields))))

    def say(self, message: str | bytes) -> None:
        self.wire.feed(self.machine.encode_message(message, isinstance(message, bytes)))

    async def events(self) -> list[Any]:
        self.machine.feed(await self.settle())
        found = []
        while (event := self.machine.next_event()) is not None:
            found.append(event)
        return found


async def echo(scope: Any, receive: Any, send: Any) -> None:
    assert (await receive()) == CONNECT
    await send(ACCEPT)
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


# --- opening ---


async def test_messages_go_in_and_come_out() -> None:
    async with Client(ASGIContainer(echo, lifespan="off")).websocket("/") as session:
        for message in ("text", b"bytes", "x" * 200_000, ""):
            await session.send(message)
            assert await session.receive() == message


async def test_what_a_scope_has() -> None:
    app = Part(None, ACCEPT)
    talk = Talk(app, mount="/ws")
    await talk.open(Sec_WebSocket_Protocol="one, two", X_Other="a")
    scope = dict(app.scope)
    assert {name: scope.pop(name) for name in ("type", "scheme", "path", "root_path", "query_string")} == {
        "type": "websocket",
        "scheme": "ws",
        "path": "/ws",
        "root_path": "/ws",
        "query_string": b"x=1",
    }
    assert scope["subprotocols"] == ["one", "two"]
    assert scope["extensions"] == {"websocket.http.response": {}}
    assert (b"x-other", b"a") in scope["headers"]
    assert "method" not in scope


async def test_accepting_with_a_subprotocol_and_headers() -> None:
    accept = {**ACCEPT, "subprotocol": "two", "headers": [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]}
    talk = Talk(Part(None, accept))
    answer = await talk.open(Sec_WebSocket_Protocol="one, two")
    assert (answer.status, answer.reason) == (101, "Switching Protocols")
    assert answer.headers["Sec-WebSocket-Accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert answer.headers["Sec-WebSocket-Protocol"] == "two"
    assert answer.headers.get_list("Set-Cookie") == ["a=1", "b=2"]
    assert "Content-Length" not in answer.headers
    assert talk.log == [101]


async def test_an_application_may_accept_before_it_receives() -> None:
    app = Part(ACCEPT, None, None)
    talk = Talk(app)
    await talk.open()
    talk.say("x")
    await talk.settle()
    assert app.heard == [CONNECT, {"type": "websocket.receive", "text": "x"}]


async def test_frames_that_come_before_the_application_accepts_are_kept() -> None:
    go = asyncio.Event()
    app = Part(None, go, ACCEPT, None, None)
    talk = Talk(app)
    talk.wire.feed(request("/", **HANDSHAKE))
    talk.say("early")
    talk.say(b"bird")
    await talk.settle()
    go.set()
    await talk.settle()
    assert app.heard[1:] == [
        {"type": "websocket.receive", "text": "early"},
        {"type": "websocket.receive", "bytes": b"bird"},
    ]


@given(st.lists(st.one_of(st.text(max_size=20), st.binary(max_size=20)), max_size=5), st.data())
def test_split_at_random(messages: list[str | bytes], data: Any) -> None:
    async def talking() -> None:
        talk = Talk(echo)
        sent = request("/", **HANDSHAKE)
        sent += b"".join(talk.machine.encode_message(one, isinstance(one, bytes)) for one in messages)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=6)))
        for begin, end in zip([0, *cuts], [*cuts, len(sent)], strict=True):
            talk.wire.feed(sent[begin:end])
            if data.draw(st.booleans()):
                await asyncio.sleep(0)
        came = await talk.settle()
        talk.machine.feed(came.partition(b"\r\n\r\n")[2])
        for message in messages:
            assert talk.machine.next_event() == message
        talk.wire.lose()
        await talk.settle()

    asyncio.run(talking())


# --- refusing ---


async def test_closing_before_accepting_is_403() -> None:
    app = Part(None, CLOSE, None)
    talk = Talk(app)
    assert (await talk.open()).status == 403
    assert app.heard == [CONNECT, gone(1006)]
    assert talk.log == [403]
    assert talk.wire.closing


async def test_a_denial_is_a_response() -> None:
    denial = {"type": "websocket.http.response.start", "status": 401, "headers": [(b"x-why", b"because")]}
    part = {"type": "websocket.http.response.body"}
    talk = Talk(Part(None, denial, {**part, "body": b"no ", "more_body": True}, {**part, "body": b"way"}))
    answer = await talk.open()
    assert (answer.status, answer.headers["X-Why"]) == (401, "because")
    assert answer.body == b"3\r\nno \r\n3\r\nway\r\n0\r\n\r\n"
    talk = Talk(Part(None, denial, {**part, "body": b"whole"}))
    answer = await talk.open()
    assert (answer.headers["Content-Length"], answer.body) == ("5", b"whole")
    assert talk.log == [401]


DENIED = {"type": "websocket.http.response.start", "status": 401, "headers": [(b"connection", b"keep-alive")]}


@pytest.mark.parametrize(
    "messages", [(CLOSE,), (DENIED, {**body(b"no"), "type": "websocket.http.response.body"})]
)
async def test_what_is_behind_a_refused_handshake_is_no_request(messages: Any) -> None:
    talk = Talk(Part(None, *messages))
    sent = await talk.send(request("/ws", **HANDSHAKE) + request("/next"))
    assert sent.count(b"HTTP/1.1") == 1
    assert Answer(sent).headers["Connection"] == "close"


@pytest.mark.parametrize("framing", [{"Content_Length": "5"}, {"Transfer_Encoding": "chunked"}])
async def test_a_handshake_with_a_body_is_refused(framing: dict[str, str]) -> None:
    app = Part(None, ACCEPT, None)
    talk = Talk(app)
    answer = await talk.open(**framing)
    assert (answer.status, app.heard) == (400, [])


async def test_a_handshake_whose_body_is_empty_is_fine() -> None:
    talk = Talk(echo)
    assert (await talk.open(Content_Length="0")).status == 101
    talk.say("hello")
    assert await talk.events() == ["hello"]
    talk.wire.lose()
    await talk.settle()


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"Sec_WebSocket_Version": "8"}, 426),
        ({"Sec_WebSocket_Key": "short"}, 400),
        ({"Sec_WebSocket_Protocol": "a b"}, 400),
        ({"Sec_WebSocket_Extensions": "="}, 400),
        ({"Connection": "close"}, 200),
    ],
)
async def test_a_handshake_that_is_none_does_not_reach_the_application(
    fields: dict[str, str], status: int
) -> None:
    app = Part({"type": "http.response.start", "status": 200}, body())
    talk = Talk(app)
    answer = await talk.open(**fields)
    assert answer.status == status
    assert talk.log == [status]
    assert app.scope.get("type") == ("http" if status == 200 else None)


async def test_another_protocol_than_websocket_is_plain_http() -> None:
    app = Part({"type": "http.response.start", "status": 200}, body())
    talk = Talk(app)
    await talk.send(request("/", Connection="Upgrade, HTTP2-Settings", Upgrade="h2c"))
    assert app.scope["type"] == "http"


def test_what_is_a_handshake() -> None:
    def asked(method: str, **fields: str) -> HTTPServerRequest:
        line = RequestStartLine(method, "/", "HTTP/1.1")
        return HTTPServerRequest(start_line=line, headers=HTTPHeaders({"Host": "a", **fields}))

    assert is_handshake(asked("GET", Upgrade="WebSocket"))
    assert not is_handshake(asked("POST", Upgrade="websocket"))
    assert not is_handshake(asked("GET"))


async def test_a_path_outside_the_mount_is_404() -> None:
    talk = Talk(Part(), mount="/elsewhere")
    assert (await talk.open()).status == 404


# --- the end ---


async def test_codes_and_reasons_of_the_client() -> None:
    for payload, heard in (
        ((4001, "bye"), gone(4001, "bye")),
        ((None, ""), gone(1005)),
    ):
        app = Part(None, ACCEPT, None)
        talk = Talk(app)
        await talk.open()
        talk.wire.feed(talk.machine.encode_close(*payload))
        (answer,) = await talk.events()
        assert answer == Close(payload[0], "")
        assert app.heard[1] == heard
        assert talk.wire.closing


async def test_a_client_that_vanishes() -> None:
    app = Part(None, ACCEPT, None, None)
    talk = Talk(app)
    await talk.open()
    talk.wire.lose(ConnectionResetError())
    await talk.settle()
    assert app.heard[1:] == [gone(1006), gone(1006)]


async def test_a_client_that_breaks_the_protocol() -> None:
    app = Part(None, ACCEPT, None)
    talk = Talk(app)
    await talk.open()
    talk.wire.feed(b"\xff\xff\xff")
    (closed,) = await talk.events()
    assert closed.code == 1002
    assert app.heard[1] == gone(1006)


async def test_what_came_before_the_end_is_heard_first() -> None:
    go = asyncio.Event()
    app = Part(None, ACCEPT, go, None, None)
    talk = Talk(app)
    await talk.open()
    talk.say("last words")
    talk.wire.feed(talk.machine.encode_close(1000))
    await talk.settle()
    go.set()
    await talk.settle()
    assert app.heard[1:] == [{"type": "websocket.receive", "text": "last words"}, gone(1000)]


async def test_codes_and_reasons_of_the_application() -> None:
    app = Part(None, ACCEPT, {**CLOSE, "code": 4002, "reason": "enough"}, None)
    talk = Talk(app)
    await talk.open()
    talk.wire.feed(talk.machine.encode_close(4002))
    await talk.settle()
    assert app.heard[1] == gone(4002)
    async with Client(ASGIContainer(Part(None, ACCEPT, CLOSE), lifespan="off")).websocket("/") as session:
        with pytest.raises(WebSocketClosedError):
            await session.receive()
        assert session.close_code == 1000


async def test_returning_closes_with_1000() -> None:
    async with Client(ASGIContainer(Part(ACCEPT), lifespan="off")).websocket("/") as session:
        with pytest.raises(WebSocketClosedError):
            await session.receive()
        assert session.close_code == 1000


async def test_raising_closes_with_1011(expect_log: Any) -> None:
    app = Part(ACCEPT, then=ValueError("mine"))
    with expect_log("webfw.application", "uncaught exception in the application", count=1):
        async with Client(ASGIContainer(app, lifespan="off"), raise_app_exceptions=False).websocket(
            "/"
        ) as session:
            with pytest.raises(WebSocketClosedError):
                await session.receive()
            assert session.close_code == 1011


async def test_raising_before_accepting_is_500(expect_log: Any) -> None:
    talk = Talk(Part(None, then=ValueError("mine")))
    with expect_log("webfw.application", "uncaught exception in the application", count=1):
        assert (await talk.open()).status == 500
    assert talk.log == [500]


async def test_returning_before_accepting_is_500(expect_log: Any) -> None:
    talk = Talk(Part(None))
    with expect_log("webfw.application", "the application returned without a response", count=1):
        assert (await talk.open()).status == 500


async def test_a_client_that_leaves_before_it_is_accepted() -> None:
    go = asyncio.Event()
    app = Part(None, None, go, ACCEPT)
    talk = Talk(app)
    await talk.send(request("/", **HANDSHAKE))
    talk.wire.lose()
    await talk.settle()
    assert app.heard == [CONNECT, gone(1006)]
    go.set()
    await talk.settle()
    assert isinstance(app.raised[0], ClientDisconnected)
    assert talk.log == [499]


async def test_sending_to_a_client_that_has_gone_raises_an_oserror() -> None:
    for message in (text("x"), CLOSE):
        app = Part(None, ACCEPT, None, message)
        talk = Talk(app)
        await talk.open()
        talk.wire.feed(talk.machine.encode_close(1001))
        await talk.settle()
        assert isinstance(app.raised[0], ClientDisconnected)


# --- rules that an application may break ---

BYTES = {"type": "websocket.send", "bytes": b"x"}


@pytest.mark.parametrize(
    ("messages", "complaint"),
    [
        ((text("x"),), "websocket.send comes before websocket.accept"),
        (({"type": "websocket.http.response.body"},), "comes before websocket.accept"),
        (({"type": "http.response.start", "status": 200},), "a type that a WebSocket does not have"),
        (({**ACCEPT, "subprotocol": "mine"},), "subprotocol 'mine' was not offered"),
        (({**ACCEPT, "headers": [(b"upgrade", b"x")]},), "a header that belongs to the handshake"),
        (({**ACCEPT, "headers": [(b"Sec-WebSocket-Protocol", b"x")]},), "belongs to the handshake"),
        (({**ACCEPT, "headers": [(b"a", b"b\nc")]},), "no header"),
        (({**ACCEPT, "headers": 7},), "no header"),
        (({"type": "websocket.http.response.start", "status": 101},), "a status is a number"),
    ],
)
async def test_a_mistake_before_accepting_is_a_500(messages: Any, complaint: str, expect_log: Any) -> None:
    app = Part(None, *messages)
    talk = Talk(app)
    with expect_log("webfw.application", "uncaught exception in the application", count=1):
        assert (await talk.open()).status == 500
    assert isinstance(app.raised[0], ApplicationError)
    assert complaint in str(app.raised[0])


@pytest.mark.parametrize(
    ("messages", "complaint"),
    [
        ((ACCEPT,), "websocket.accept comes after websocket.accept"),
        (({"type": "websocket.send"},), "either text or bytes"),
        (({"type": "websocket.send", "text": "a", "bytes": b"b"},), "either text or bytes"),
        (({"type": "websocket.send", "text": b"a"},), "text of websocket.send must not be bytes"),
        (({"type": "websocket.send", "bytes": "a"},), "bytes of websocket.send must not be str"),
        (({"type": "websocket.send", "text": "\ud800"},), "must be Unicode text"),
        (({"type": "nothing"},), "a type that a WebSocket does not have"),
        (({"type": "websocket.http.response.start", "status": 400},), "comes after websocket.accept"),
        (({**CLOSE, "code": 1005},), "1005"),
        (({**CLOSE, "code": "x"},), "must not be 'x'"),
        (({**CLOSE, "reason": b"x"},), "must not be"),
        (({**CLOSE, "reason": "x" * 200},), "123"),
    ],
)
async def test_a_mistake_after_accepting_closes_with_1011(
    messages: Any, complaint: str, expect_log: Any
) -> None:
    app = Part(ACCEPT, *messages)
    talk = Talk(app)
    with expect_log("webfw.application", "uncaught exception in the application", count=1):
        talk.wire.feed(request("/", **HANDSHAKE))
        sent = await talk.settle()
    assert sent.partition(b"\r\n\r\n")[2] == b"\x88\x02\x03\xf3"
    assert isinstance(app.raised[0], ApplicationError)
    assert complaint in str(app.raised[0])


@pytest.mark.parametrize("last", [text("x"), BYTES, CLOSE, ACCEPT])
async def test_a_message_after_its_own_close(last: Any, expect_log: Any) -> None:
    app = Part(ACCEPT, CLOSE, last)
    with expect_log("webfw.application", "uncaught exception in the application", count=1):
        talk = Talk(app)
        talk.wire.feed(request("/", **HANDSHAKE))
        sent = await talk.settle()
    assert sent.partition(b"\r\n\r\n")[2] == b"\x88\x02\x03\xe8"
    assert "after" in str(app.raised[0])


@pytest.mark.parametrize("last", [text("x"), CLOSE, ACCEPT, {"type": "websocket.http.response.start"}])
async def test_a_message_after_a_denial(last: Any, expect_log: Any) -> None:
    app = Part(None, CLOSE, last)
    with expect_log("webfw.application", "uncaught exception in the application", count=1):
        assert (await Talk(app).open()).status == 403
    assert "after" in str(app.raised[0])


MESSAGES = st.sampled_from(
    [
        None,
        ACCEPT,
        CLOSE,
        {**CLOSE, "code": 4000, "reason": "x"},
        {**CLOSE, "code": 1006},
        text("x"),
        BYTES,
        {"type": "websocket.send"},
        {"type": "websocket.http.response.start", "status": 418},
        {"type": "websocket.http.response.body", "body": b"tea", "more_body": True},
        {"type": "websocket.http.response.body", "body": b"pot"},
        {"type": "http.response.start", "status": 200},
        {},
    ]
)


@given(st.lists(MESSAGES, max_size=6), st.booleans(), st.integers(0, 3))
def test_whatever_the_order_of_messages_there_is_one_answer_and_one_close(
    messages: list[Any], swallow: bool, said: int
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        received = 0
        for message in messages:
            if message is None:
                received += 1
                if received <= said:  # more would wait for ever
                    await receive()
                continue
            try:
                await send(message)
            except ApplicationError:
                if not swallow:
                    raise

    async def talking() -> None:
        talk = Talk(app)
        data = await talk.send(request("/", **HANDSHAKE))
        if data.startswith(b"HTTP/1.1 101"):
            for _ in range(said):
                talk.say("hello")
        data += await talk.settle()
        if talk.application.running:  # it waits for a message that does not come
            talk.wire.lose()
        data += await talk.settle()
        assert len(talk.log) == 1
        if talk.wire.aborted or talk.wire.lost:
            return
        head, _, rest = data.partition(b"\r\n\r\n")
        assert data.count(b"HTTP/1.1 ") == 1
        if head.startswith(b"HTTP/1.1 101"):
            talk.machine.feed(rest)
            events = []
            while (event := talk.machine.next_event()) is not None:
                events.append(event)
            assert isinstance(events[-1], Close)
            assert not any(isinstance(event, Close) for event in events[:-1])
        talk.wire.lose()
        await talk.settle()

    logging.disable(logging.CRITICAL)
    try:
        asyncio.run(talking())
    finally:
        logging.disable(logging.NOTSET)


# --- slow ones ---


async def test_an_application_that_does_not_ask_is_not_read_for() -> None:
    go = asyncio.Event()
    heard: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        await go.wait()
        while (message := await receive())["type"] == "websocket.receive":
            heard.append(len(message["bytes"]))

    talk = Talk(app)
    await talk.open()
    for _ in range(20):
        talk.say(b"x" * 10_000)
        await talk.settle()
    assert not talk.wire.reading
    go.set()
    await talk.settle()
    assert talk.wire.reading
    assert heard == [10_000] * 20
    talk.wire.lose()
    await talk.settle()


async def test_many_small_messages_count_too() -> None:
    go = asyncio.Event()
    app = Part(None, ACCEPT, go)
    talk = Talk(app)
    await talk.open()
    for _ in range(40):
        for _ in range(1000):
            talk.say("")
        await talk.settle()
    assert not talk.wire.reading
    talk.wire.lose()
    go.set()
    await talk.settle()


async def test_a_client_that_leaves_while_nobody_asks() -> None:
    """What the connection waits for must not wait for ever."""
    go = asyncio.Event()
    app = Part(None, ACCEPT, go)
    talk = Talk(app)
    await talk.open()
    for _ in range(20):
        talk.say(b"x" * 10_000)
        await talk.settle()
    talk.wire.lose()
    await talk.pass_time(10)
    go.set()
    await talk.settle()
    assert app.ended


async def test_send_waits_for_a_slow_client() -> None:
    app = Part(None, ACCEPT, *[{"type": "websocket.send", "bytes": b"x" * 50_000}] * 4, None)
    talk = Talk(app, capacity=120_000)
    await talk.send(request("/", **HANDSHAKE))
    assert len(app.heard) == 1
    talk.wire.drain()
    await talk.settle()
    talk.wire.drain()
    await talk.settle()
    talk.wire.feed(talk.machine.encode_close(1000))
    await talk.settle()
    assert app.heard[1] == gone(1000)


async def test_a_client_that_leaves_while_send_waits() -> None:
    app = Part(None, ACCEPT, *[{"type": "websocket.send", "bytes": b"x" * 50_000}] * 4, None)
    talk = Talk(app, capacity=60_000)
    await talk.send(request("/", **HANDSHAKE))
    talk.wire.lose()
    await talk.settle()
    assert isinstance(app.raised[0], ClientDisconnected)


# --- limits, compression, the server's end ---


async def test_limits_are_those_of_the_settings() -> None:
    app = Part(None, ACCEPT, None)
    talk = Talk(app, websocket_settings=ConnectionSettings(max_message_size=10))
    await talk.open()
    talk.say("x" * 11)
    (closed,) = await talk.events()
    assert closed.code == 1009


async def test_compression_is_agreed_on_where_it_is_wanted() -> None:
    client = Client(ASGIContainer(echo, lifespan="off", websocket_compression={}))
    async with client.websocket("/", compression_options={}) as session:
        assert "permessage-deflate" in session.headers["Sec-WebSocket-Extensions"]
        await session.send("x" * 10_000)
        assert await session.receive() == "x" * 10_000
    client = Client(ASGIContainer(echo, lifespan="off"))
    async with client.websocket("/", compression_options={}) as session:
        assert "Sec-WebSocket-Extensions" not in session.headers


async def test_pings_are_sent_by_default() -> None:
    assert ASGIContainer(echo).websocket_settings.ping_interval == 20.0
    app = Part(None, ACCEPT, None)
    talk = Talk(app)
    await talk.open()
    talk.machine.feed(await talk.pass_time(21))
    event = talk.machine.next_event()
    assert event is not None
    assert type(event).__name__ == "Ping"
    talk.wire.lose()
    await talk.settle()


async def test_draining_closes_with_1012_and_refuses_new_ones() -> None:
    app = Part(None, ACCEPT, None)
    container = ASGIContainer(app, lifespan="off", drain_spread=0, log_function=lambda entry: None)
    client = Client(container)
    async with client.websocket("/") as session:
        draining = asyncio.create_task(client.server.drain(5))
        with pytest.raises(WebSocketClosedError):
            await session.receive()
        assert (session.close_code, session.close_reason) == (1012, "server restart")
        assert await draining == 0
    assert app.heard[1] == gone(1012)
    with pytest.raises(HTTPClientError) as caught:
        async with Client(container).websocket("/"):
            pass
    assert caught.value.code == 503


async def test_one_that_is_accepted_while_the_server_goes_away() -> None:
    go = asyncio.Event()
    app = Part(None, go, ACCEPT, None)
    talk = Talk(app, drain_spread=0)
    await talk.send(request("/", **HANDSHAKE))
    talk.application.start_draining(5)
    go.set()
    while not (sent := await talk.settle()):
        pass
    while b"server restart" not in sent:
        sent += await talk.settle()
    talk.wire.lose()
    await talk.settle()
    assert app.heard[1]["type"] == "websocket.disconnect"


async def test_an_application_that_sends_while_the_server_goes_away_does_not_spoil_the_close() -> None:
    go = asyncio.Event()
    app = Part(None, ACCEPT, go, text("too late"))
    talk = Talk(app, drain_spread=0)
    await talk.open()
    talk.application.start_draining(5)
    while b"server restart" not in await talk.settle():
        pass
    go.set()
    await talk.settle()
    assert isinstance(app.raised[0], ClientDisconnected)
    assert not talk.wire.aborted
    talk.wire.lose()
    await talk.settle()


async def test_a_handshake_that_takes_too_long(expect_log: Any) -> None:
    app = Part(None, asyncio.Event())
    talk = Talk(app, request_timeout=3)
    await talk.send(request("/", **HANDSHAKE))
    with expect_log("webfw.application", "the application takes too long", count=1):
        assert Answer(await talk.pass_time(5)).status == 504
    assert app.ended
