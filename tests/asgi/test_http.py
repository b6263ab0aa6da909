"""ASGI over HTTP from outside: bytes in, bytes out, and what the application hears in between."""

import asyncio
import logging
import os
import re
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.asgi.apps import Part, body, echo, start
from tests.web.conftest import Answer, Site, request
from webfw.asgi import ApplicationError, ASGIContainer, ClientDisconnected, http
from webfw.httpserver import HTTPServer
from webfw.httputil import HTTPHeaders
from webfw.netutil import bind_sockets
from webfw.testing import Client
from webfw.web import Application


def site(
    app: Any, *, capacity: int | None = None, server: dict[str, Any] | None = None, **options: Any
) -> Site:
    options.setdefault("lifespan", "off")
    options.setdefault("log_function", lambda entry: None)
    return Site(ASGIContainer(app, **options), capacity=capacity, **(server or {}))


HELLO = (start(), body(b"hello"))
EMPTY = {"type": "http.request", "body": b"", "more_body": False}
DISCONNECT = {"type": "http.disconnect"}


# --- bodies in ---


async def test_a_body_goes_in_and_comes_out() -> None:
    client = Client(ASGIContainer(echo, lifespan="off"))
    for data in (b"", b"x", b"y" * 300_000):
        response = await client.post("/", body=data)
        assert (response.code, response.body) == (200, data)
        assert response.headers["Content-Length"] == str(len(data))


def whole(data: bytes) -> bytes:
    return request("/", "POST", data)


def chunked(data: bytes) -> bytes:
    head = request("/", "POST", Transfer_Encoding="chunked")
    return head + b"".join(b"1\r\n%c\r\n" % byte for byte in data) + b"0\r\n\r\n"


@pytest.mark.parametrize("framed", [whole, chunked])
@pytest.mark.parametrize("how", ["whole", "bytes", "halves", "trailing"])
async def test_however_its_bytes_come(framed: Any, how: str) -> None:
    asked = site(echo)
    data = framed(b"a body in pieces")
    if how == "bytes":
        for at in range(len(data)):
            asked.wire.feed(data[at : at + 1])
    elif how == "halves":
        await asked.send(data[: len(data) // 2])
        asked.wire.feed(data[len(data) // 2 :])
    else:
        asked.wire.feed(data + (request("/next") if how == "trailing" else b""))
    sent = await asked.settle()
    answer = Answer(sent)
    assert answer.status == 200
    assert answer.body.startswith(b"a body in pieces")
    assert sent.count(b"HTTP/1.1 200") == (2 if how == "trailing" else 1)


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=5), st.data())
def test_split_at_random(pieces: list[bytes], data: Any) -> None:
    sent = chunk_all(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=6)))

    async def ask() -> None:
        asked = site(echo)
        for begin, end in zip([0, *cuts], [*cuts, len(sent)], strict=True):
            asked.wire.feed(sent[begin:end])
            if data.draw(st.booleans()):
                await asyncio.sleep(0)
        assert Answer(await asked.settle()).body == b"".join(pieces)

    asyncio.run(ask())


def chunk_all(pieces: list[bytes]) -> bytes:
    head = request("/", "POST", Transfer_Encoding="chunked")
    return head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


async def test_an_application_that_does_not_ask_holds_the_wire_back() -> None:
    go = asyncio.Event()
    pieces: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await go.wait()
        more = True
        while more:
            message = await receive()
            pieces.append(len(message["body"]))
            more = message["more_body"]
        await send(start())
        await send(body(b"hello"))

    asked = site(app)
    data = request("/", "POST", b"x" * 200_000)
    await asked.send(data[:30_000])
    assert asked.wire.reading
    await asked.send(data[30_000:120_000])
    assert not asked.wire.reading
    await asked.send(data[120_000:])
    assert not asked.wire.reading
    go.set()
    assert Answer(await asked.settle()).body == b"hello"
    assert asked.wire.reading
    assert sum(pieces) == 200_000
    assert max(pieces) <= 2 * 65_536


@pytest.mark.skipif(sys.version_info < (3, 12), reason="a Task begins in the next turn")
async def test_an_application_that_does_not_wait_costs_no_turn_of_the_loop() -> None:
    asked = site(Part(None, *HELLO))
    asked.wire.feed(request("/"))
    assert len(asked.wire.writes) == 1
    asked.wire.feed(request("/", "POST", b"a body that is there"))
    assert len(asked.wire.writes) == 2
    asked.wire.feed(request("/") * 5)
    assert asked.wire.sent.count(b"hello") == 7


async def test_an_application_begins_with_its_body_or_in_the_next_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http, "EAGER", True)
    app = Part(None, None, *HELLO)
    asked = site(app)
    asked.wire.feed(request("/", "POST", Content_Length="3") + b"ab")
    assert not app.scope
    await asked.settle()
    assert app.heard == [{"type": "http.request", "body": b"ab", "more_body": True}]
    assert Answer(await asked.send(b"c")).body == b"hello"
    asked.wire.feed(request("/", "POST", b"abc"))
    await asked.settle()
    assert app.heard[2:] == [{"type": "http.request", "body": b"abc", "more_body": False}]
    asked.wire.lose()
    await asked.settle()
    left = Part()
    asked = site(left)
    asked.wire.feed(request("/", "POST", Content_Length="3"))
    asked.wire.lose()
    await asked.settle()
    assert not left.scope


async def test_a_body_that_nobody_wants_is_dropped() -> None:
    go = asyncio.Event()
    asked = site(Part(go, *HELLO))
    data = request("/", "POST", b"x" * 100_000)
    await asked.send(data[:-1])
    go.set()
    assert Answer(await asked.settle()).body == b"hello"
    assert Answer(await asked.send(data[-1:] + request("/next"))).body == b"hello"


async def test_100_continue_is_sent_when_the_body_is_wanted() -> None:
    go = asyncio.Event()
    asked = site(Part(go, None, *HELLO))
    head = request("/", "POST", Content_Length="3", Expect="100-continue")
    assert await asked.send(head) == b""
    go.set()
    assert await asked.settle() == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert Answer(await asked.send(b"abc")).status == 200


async def test_100_continue_is_not_sent_when_it_is_not() -> None:
    asked = site(Part(start(413), body(b"no")))
    answer = Answer(await asked.send(request("/", "POST", Content_Length="3", Expect="100-continue")))
    assert (answer.status, answer.headers["Connection"]) == (413, "close")


async def test_what_is_received_without_a_body() -> None:
    app = Part(None, *HELLO, None, None)
    asked = site(app)
    assert (await asked.ask("/")).body == b"hello"
    assert app.heard == [EMPTY, DISCONNECT, DISCONNECT]


async def test_two_that_wait_for_a_message_do_not_disturb_each_other() -> None:
    heard: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        first, second = asyncio.create_task(receive()), asyncio.create_task(receive())
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        await send(start())
        await send(body())
        heard.append(await second)

    assert (await site(app).ask("/")).status == 200
    assert heard == [DISCONNECT]


# --- bodies out ---


async def test_a_whole_answer_leaves_in_one_write() -> None:
    asked = site(Part(*HELLO))
    asked.wire.feed(request("/"))
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(asked.wire.writes) == 1
    answer = Answer(asked.wire.take())
    assert answer.headers["Content-Length"] == "5"
    assert answer.headers["Server"].startswith("webfw/")
    assert "Date" in answer.headers


async def test_a_body_in_pieces_is_chunked() -> None:
    asked = site(Part(start(), body(b"ab", True), body(b"", True), body(b"c", True), body()))
    answer = await asked.ask("/")
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert answer.body == b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"


async def test_the_head_leaves_with_the_first_piece_even_if_that_is_empty() -> None:
    go = asyncio.Event()
    asked = site(Part(start(), go, body(b"", True), body()))
    assert await asked.send(request("/")) == b""
    go.set()
    assert Answer(await asked.settle()).status == 200


async def test_a_length_that_is_announced_frames_the_pieces() -> None:
    asked = site(Part(start(200, (b"Content-Length", b"3")), body(b"ab", True), body(b"c")))
    answer = await asked.ask("/")
    assert (answer.body, "Transfer-Encoding" in answer.headers) == (b"abc", False)


async def test_spaces_around_a_length_do_not_count() -> None:
    head = start(200, (b"content-length", b" 2\t"))
    for messages in ((head, body(b"a", True), body(b"b")), (head, body(b"ab"))):
        answer = await site(Part(*messages)).ask("/")
        assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"ab", "2")


async def test_its_own_transfer_coding_is_ignored() -> None:
    answer = await site(Part(start(200, (b"transfer-encoding", b"chunked")), body(b"x"))).ask("/")
    assert (answer.headers["Content-Length"], answer.body) == ("1", b"x")


async def test_its_own_date_and_server_win() -> None:
    fields = ((b"date", b"then"), (b"server", b"mine"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"))
    headers = (await site(Part(start(204, *fields), body())).ask("/")).headers
    assert (headers["Date"], headers["Server"]) == ("then", "mine")
    assert headers.get_list("Set-Cookie") == ["a=1", "b=2"]
    assert "Content-Length" not in headers


@pytest.mark.parametrize(
    "messages",
    [
        HELLO,
        (start(200, (b"content-length", b"5")), body(b"hello")),
        (start(), body(b"hel", True), body(b"lo")),
    ],
)
async def test_head_has_no_body(messages: Any) -> None:
    asked = site(Part(*messages))
    sent = await asked.send(request("/", "HEAD") + request("/", "HEAD"))
    assert sent.count(b"HTTP/1.1 200 OK") == 2
    assert b"hel" not in sent


@pytest.mark.parametrize("status", [204, 304])
async def test_a_status_without_a_body_has_none(status: int) -> None:
    asked = site(Part(start(status), body(b"dropped")))
    sent = await asked.send(request("/"))
    assert b"dropped" not in sent
    assert Answer(sent).status == status


async def test_a_client_of_http_1_0_gets_no_chunks() -> None:
    asked = site(Part(start(), body(b"ab", True), body(b"c")))
    answer = Answer(await asked.send(b"GET / HTTP/1.0\r\n\r\n"))
    assert answer.body == b"abc"
    assert asked.wire.closing


async def test_send_waits_only_for_a_slow_client() -> None:
    app = Part(start(), *[body(b"x" * 50_000, True)] * 4, body(b"end"))
    asked = site(app, capacity=120_000)
    first = await asked.send(request("/"))
    assert 120_000 < len(first) < 160_000
    assert not app.ended
    asked.wire.drain()
    assert (await asked.settle()).endswith(b"3\r\nend\r\n0\r\n\r\n")
    assert app.ended


async def test_send_need_not_be_awaited_by_steps_of_the_loop() -> None:
    """As long as the client takes it, nothing in between gets a turn."""
    turns: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        asyncio.get_running_loop().call_soon(turns.append, 1)
        await receive()
        await send(start())
        for _ in range(10):
            await send(body(b"x" * 1000, True))
        assert not turns
        await send(body())

    assert (await site(app).ask("/")).status == 200


async def test_trailers() -> None:
    trailers = {"type": "http.response.trailers", "headers": [(b"x-sum", b"1")], "more_trailers": True}
    last = {"type": "http.response.trailers", "headers": [(b"x-more", b"2")]}
    app = Part(start(200, (b"trailer", b"X-Sum"), trailers=True), body(b"a"), trailers, last)
    answer = await site(app).ask("/")
    assert answer.body == b"1\r\na\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n"


async def test_early_hints() -> None:
    hint = {"type": "http.response.early_hint", "links": [b"</style.css>; rel=preload", b"</b>"]}
    asked = site(Part(hint, *HELLO))
    sent = await asked.send(request("/"))
    assert sent.startswith(
        b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\nLink: </b>\r\n\r\nHTTP/1.1 200"
    )


async def test_a_path_is_sent_as_a_file(tmp_path: Any) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"0123456789")
    app = Part(start(), {"type": "http.response.pathsend", "path": str(file)})
    answer = await Client(ASGIContainer(app, lifespan="off")).get("/")
    assert (answer.body, answer.headers["Content-Length"]) == (b"0123456789", "10")
    answer = await Client(ASGIContainer(app, lifespan="off")).head("/")
    assert (answer.body, answer.headers["Content-Length"]) == (b"", "10")
    app = Part(start(200, (b"content-length", b"4")), {"type": "http.response.pathsend", "path": str(file)})
    assert (await Client(ASGIContainer(app, lifespan="off")).get("/")).body == b"0123"


@pytest.mark.parametrize(
    "what", ["missing", "directory", "relative", "null", "number", "longer", "trailers", "fifo"]
)
async def test_a_path_that_cannot_be_sent(what: str, tmp_path: Any, expect_log: Any) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"0123456789")
    path: Any = {
        "missing": str(tmp_path / "none"),
        "directory": str(tmp_path),
        "relative": "file",
        "null": "/a\0b",
        "number": 7,
        "fifo": str(tmp_path / "fifo"),
    }.get(what, str(file))
    if what == "fifo":
        os.mkfifo(path)
    fields = ((b"content-length", b"11"),) if what == "longer" else ()
    app = Part(
        start(200, *fields, trailers=what == "trailers"), {"type": "http.response.pathsend", "path": path}
    )
    with expect_log("webfw.application", "uncaught exception in the application", count=1):
        assert (await site(app).ask("/")).status == 500


# --- rules that an application may break ---


START, BODY, LAST = start(), body(b"x", True), body(b"y")


@pytest.mark.parametrize(
    ("messages", "complaint"),
    [
        ((LAST,), "a part of a body comes before the start of the response"),
        ((START, START), "the start of a response comes after what it belongs before"),
        (("http.response.start",), "a message is a dict with a type"),
        ((7,), "a message is a dict with a type"),
        (({"kind": "x"},), "a message is a dict with a type"),
        (({"type": b"http.response.start"},), "a message is a dict with a type"),
        (({"type": "http.response.push"},), "a message of a type that a response does not have"),
        (({"type": "http.response.start"},), "a status is a number from 200 to 999, not None"),
        ((start(199),), "a status is a number"),
        ((start(1000),), "a status is a number"),
        (({"type": "http.response.start", "status": "200"},), "a status is a number"),
        ((start(200, ("name", b"value")),), "names must be bytes, not str"),  # type: ignore[arg-type]
        ((start(200, (b"name", "value")),), "no header"),  # type: ignore[arg-type]
        ((start(200, (b"name",)),), "no header"),  # type: ignore[arg-type]
        ((start(200, (b":status", b"200")),), "Invalid header name ':status'"),
        ((start(200, (b"a b", b"")),), "Invalid header name"),
        ((start(200, (b"a", b"x\r\nb: y")), LAST), "has a character that is not allowed"),
        ((start(200, (b"a", b"x\r\nb: y")), BODY), "has a character that is not allowed"),
        ((start(200, (b"a", b"1"), (b"a", b"x\ny")), LAST), "no header: A"),
        ((start(200, (b"content-length", b"x")), LAST), "a length is a number"),
        ((start(200, (b"content-length", b"-1")), LAST), "a length is a number"),
        ((start(200, (b"content-length", b"1"), (b"content-length", b"1")), LAST), "there is one already"),
        (({"type": "http.response.start", "status": 200, "headers": 7},), "no header: 7"),
        ((START, {"type": "http.response.body", "body": "text"}), "the body must be bytes, not str"),
        ((start(200, (b"content-length", b"2")), LAST), "the body has 1 bytes, and 2 were announced"),
        ((start(200, (b"content-length", b"0")), LAST), "the body has 1 bytes, and 0 were announced"),
        (({"type": "http.response.trailers", "headers": []},), "trailers comes? before the start"),
        (({"type": "http.response.pathsend", "path": "/"},), "a path comes before the start"),
        (({"type": "http.response.early_hint", "links": [b"a\nb"]},), "no header: Link"),
    ],
)
async def test_a_mistake_before_anything_is_sent_is_a_500(
    messages: Any, complaint: str, expect_log: Any
) -> None:
    app = Part(*messages)
    asked = site(app)
    with expect_log("webfw.application", "uncaught exception in the application", count=1):
        answer = await asked.ask("/")
    assert answer.status == 500
    assert answer.body == b"500 Internal Server Error\n"
    assert not asked.wire.closing
    (error,) = app.raised
    assert isinstance(error, ApplicationError)
    assert re.search(complaint, str(error)), str(error)


@pytest.mark.parametrize(
    ("messages", "complaint"),
    [
        ((START, BODY, START), "the start of a response comes after"),
        ((START, BODY, {"type": "http.response.body", "body": 7}), "the body must be bytes, not int"),
        ((START, BODY, {"type": "nothing"}), "a message of a type"),
        ((START, BODY, {"type": "http.response.trailers"}), "trailers comes? after"),
        ((START, BODY, {"type": "http.response.early_hint"}), "an early hint comes after"),
        ((START, BODY, {"type": "http.response.pathsend", "path": "/etc/passwd"}), "a path comes after"),
        ((start(200, (b"content-length", b"3")), BODY, LAST), "1 bytes less were written"),
        ((start(200, (b"content-length", b"1")), BODY, BODY), "more was written than"),
        ((start(200, trailers=True), LAST, LAST), "a part of a body comes after"),
        (
            (
                start(200, trailers=True),
                LAST,
                {"type": "http.response.trailers", "headers": [(b"host", b"")]},
            ),
            "not allowed as a trailer",
        ),
    ],
)
async def test_a_mistake_after_the_head_cuts_the_connection(
    messages: Any, complaint: str, expect_log: Any
) -> None:
    app = Part(*messages)
    asked = site(app)
    with expect_log("webfw.application", "uncaught exception in the application", count=1):
        sent = await asked.send(request("/"))
    assert asked.wire.aborted
    assert not sent.endswith(b"0\r\n\r\n")
    (error,) = app.raised
    assert isinstance(error, ApplicationError)
    assert re.search(complaint, str(error)), str(error)


async def test_a_message_after_the_end_is_an_error_that_the_client_does_not_see(expect_log: Any) -> None:
    asked = site(Part(*HELLO, LAST))
    with expect_log("webfw.application", "uncaught exception in the application", count=1):
        assert (await asked.ask("/")).body == b"hello"
    assert not asked.wire.closing


async def test_an_application_may_swallow_what_send_raises(expect_log: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start(200, (b"content-length", b"9")))
        with pytest.raises(ApplicationError):
            await send(body(b"x"))
        await send(body(b"123456789"))

    assert (await site(app).ask("/")).body == b"123456789"

    async def worse(scope: Any, receive: Any, send: Any) -> None:
        await send(start(200, (b"content-length", b"9")))
        await send(BODY)
        with pytest.raises(ApplicationError):
            await send(body())

    logged: list[int] = []
    asked = site(worse, log_function=lambda entry: logged.append(entry.get_status()))
    await asked.send(request("/"))
    assert asked.wire.aborted
    assert logged == [200]


@pytest.mark.parametrize(
    ("messages", "complaint"),
    [
        ((), "the application returned without a response"),
        ((START,), "the application returned without a response"),
    ],
)
async def test_returning_without_a_response_is_a_500(messages: Any, complaint: str, expect_log: Any) -> None:
    with expect_log("webfw.application", complaint):
        assert (await site(Part(*messages)).ask("/")).status == 500


async def test_returning_in_the_middle_of_a_response_cuts_it(expect_log: Any) -> None:
    asked = site(Part(START, BODY))
    with expect_log(
        "webfw.application", "the application returned before its response was complete", count=1
    ):
        await asked.send(request("/"))
    assert asked.wire.aborted


@pytest.mark.parametrize(
    "error", [ValueError("mine"), asyncio.CancelledError(), ExceptionGroup("two", [KeyError()])]
)
async def test_raising_is_a_500_before_the_head_and_a_cut_after_it(
    error: BaseException, expect_log: Any
) -> None:
    asked = site(Part(START, then=error))
    with expect_log("webfw.application", "GET / .*: uncaught exception in the application", count=1):
        answer = await asked.ask("/")
    assert (answer.status, answer.body) == (500, b"500 Internal Server Error\n")
    asked = site(Part(START, BODY, then=error))
    with expect_log("webfw.application", "uncaught exception", count=1):
        await asked.send(request("/"))
    assert asked.wire.aborted


async def test_what_is_raised_after_the_response_is_logged_only(expect_log: Any) -> None:
    asked = site(Part(*HELLO, then=ValueError("in the background")))
    with expect_log("webfw.application", "uncaught exception in the application", count=1):
        assert (await asked.ask("/")).body == b"hello"


LICENSE = str(Path(__file__).parents[2] / "LICENSE")

MESSAGES = st.sampled_from(
    [
        None,
        start(),
        start(204),
        start(200, (b"content-length", b"3")),
        start(200, trailers=True),
        body(b"abc"),
        body(b"ab", True),
        body(b"", True),
        body(),
        {"type": "http.response.trailers", "headers": [(b"x", b"y")]},
        {"type": "http.response.early_hint", "links": [b"</a>"]},
        {"type": "http.response.pathsend", "path": LICENSE},
        {"type": "websocket.accept"},
        {"type": 7},
    ]
)


@given(st.lists(MESSAGES, max_size=8), st.booleans())
def test_whatever_the_order_of_messages_there_is_one_answer_or_a_cut(
    messages: list[Any], swallow: bool
) -> None:
    """The client gets one response that is complete, or else its connection is cut; never a second one."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        received = 0
        for message in messages:
            if message is None:
                received += 1
                if received == 1:
                    await receive()
                continue
            try:
                await send(message)
            except ApplicationError:
                if not swallow:
                    raise

    async def ask() -> None:
        logged: list[int] = []
        container = ASGIContainer(
            app, lifespan="off", log_function=lambda entry: logged.append(entry.get_status())
        )
        asked = Site(container)
        asked.wire.feed(request("/"))
        while container.running:
            await asyncio.sleep(0)
        data = await asked.settle()
        while data.startswith(b"HTTP/1.1 103"):
            data = data.partition(b"\r\n\r\n")[2]
        assert data.count(b"HTTP/1.1 ") <= 1
        assert len(logged) == 1
        if not asked.wire.aborted:
            answer = Answer(data)
            if answer.headers.get("Transfer-Encoding") == "chunked" and answer.status == 200:
                assert b"0\r\n" in answer.body
                assert data.endswith(b"\r\n\r\n")
            elif "Content-Length" in answer.headers:
                assert len(answer.body) == int(answer.headers["Content-Length"])
            assert asked.server.load()["in_flight"] == 0

    logging.disable(logging.CRITICAL)
    try:
        asyncio.run(ask())
    finally:
        logging.disable(logging.NOTSET)


# --- clients that leave ---


async def test_a_client_that_leaves_does_not_cancel_the_application() -> None:
    go = asyncio.Event()
    app = Part(None, None, go)
    logged: list[int] = []
    asked = site(app, log_function=lambda entry: logged.append(entry.get_status()))
    await asked.send(request("/"))
    asked.wire.lose()
    await asked.settle()
    assert app.heard == [EMPTY, DISCONNECT]
    assert (app.ended, logged) == (0, [499])
    go.set()
    await asked.settle()
    assert (app.ended, app.raised) == (1, [])


async def test_sending_to_a_client_that_has_left_raises_an_oserror() -> None:
    go = asyncio.Event()
    app = Part(go, start(), body(b"hello"))
    asked = site(app)
    await asked.send(request("/"))
    asked.wire.lose()
    go.set()
    await asked.settle()
    (error,) = app.raised
    assert isinstance(error, OSError)
    assert isinstance(error, ClientDisconnected)


async def test_leaving_in_the_middle_of_a_stream_raises_where_it_waits() -> None:
    app = Part(start(), *[body(b"x" * 50_000, True)] * 10)
    asked = site(app, capacity=60_000)
    await asked.send(request("/"))
    asked.wire.lose(ConnectionResetError())
    await asked.settle()
    assert isinstance(app.raised[0], ClientDisconnected)


@pytest.mark.parametrize("wrapped", ["cause", "context", "group"])
async def test_what_a_framework_makes_of_it_is_not_logged(wrapped: str) -> None:
    go = asyncio.Event()
    ended: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await go.wait()
        try:
            await send(start())
        except OSError as error:
            ended.append(1)
            if wrapped == "cause":
                raise RuntimeError("the framework's own") from error
            if wrapped == "group":
                raise ExceptionGroup("tasks", [error]) from None
            raise RuntimeError("the framework's own")  # noqa: B904

    asked = site(app)
    await asked.send(request("/"))
    asked.wire.lose()
    go.set()
    await asked.settle()
    assert ended == [1]


async def test_what_an_application_raises_since_it_knows_that_the_client_has_left_is_no_error() -> None:
    app = Part(None, None, then=RuntimeError("the framework's own"))
    asked = site(app)
    await asked.send(request("/", "POST", Content_Length="9") + b"abc")
    asked.wire.lose()
    await asked.settle()
    assert app.heard == [{"type": "http.request", "body": b"abc", "more_body": True}, DISCONNECT]
    assert app.ended


async def test_a_mistake_after_the_client_has_left_is_logged(expect_log: Any) -> None:
    go = asyncio.Event()
    asked = site(Part(go, then=ValueError("mine")))
    await asked.send(request("/"))
    asked.wire.lose()
    with expect_log("webfw.application", "uncaught exception", count=1):
        go.set()
        await asked.settle()


async def test_a_client_that_closes_its_side_is_answered() -> None:
    go = asyncio.Event()
    app = Part(None, None, go, *HELLO)
    asked = site(app)
    await asked.send(request("/"))
    asked.wire.feed_eof()
    await asked.settle()
    assert app.heard == [EMPTY, DISCONNECT]
    go.set()
    assert Answer(await asked.settle()).body == b"hello"
    assert asked.wire.closing


async def test_a_client_that_closes_its_side_and_then_leaves() -> None:
    go = asyncio.Event()
    app = Part(None, None, go, start(), body(b"x", True), None, body(b"x"))
    logged: list[int] = []
    asked = site(app, log_function=lambda entry: logged.append(entry.get_status()))
    await asked.send(request("/"))
    asked.wire.feed_eof()
    asked.wire.lose()
    go.set()
    await asked.settle()
    assert isinstance(app.raised[0], ClientDisconnected)
    assert logged == [499]


async def test_an_application_that_returns_since_the_client_has_left_is_right() -> None:
    app = Part(None, None)
    asked = site(app)
    await asked.send(request("/"))
    asked.wire.feed_eof()
    await asked.settle()
    assert asked.wire.closing
    assert not app.raised


async def test_a_body_that_is_cut_short() -> None:
    app = Part(None, None)
    asked = site(app)
    await asked.send(request("/", "POST", Content_Length="9") + b"abc")
    asked.wire.feed_eof()
    await asked.settle()
    assert app.heard[1] == DISCONNECT


# --- on real sockets ---


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to a server with an application; both are gone at the end."""
    server = HTTPServer(ASGIContainer(app, lifespan="off"))
    (sock,) = bind_sockets(0, "127.0.0.1", socket.AF_INET)
    server.add_sockets([sock])
    reader, writer = await asyncio.open_connection("127.0.0.1", sock.getsockname()[1])
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        server.stop()
        await server.close_all_connections()


async def test_streams_over_a_real_socket_wait_for_their_client() -> None:
    sent: list[int] = []
    waiting = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        for number in range(400):
            asyncio.get_running_loop().call_later(
                0.1, lambda number=number: len(sent) == number and waiting.set()
            )
            await send(body(b"x" * 65_536, True))
            sent.append(number)
        await send(body())

    async with served(app) as (reader, writer):
        writer.write(request("/"))
        await reader.readuntil(b"\r\n\r\n")
        await waiting.wait()
        assert len(sent) < 400
        total = 0
        while size := int(await reader.readuntil(b"\r\n"), 16):
            total += len(await reader.readexactly(size + 2)) - 2
        assert total == 400 * 65_536
        assert await reader.readexactly(2) == b"\r\n"


async def test_a_file_over_a_real_socket(tmp_path: Any) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"0123456789" * 100_000)
    async with served(Part(start(), {"type": "http.response.pathsend", "path": str(file)})) as (
        reader,
        writer,
    ):
        writer.write(request("/"))
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        assert HTTPHeaders.parse(head.partition("\r\n")[2])["Content-Length"] == "1000000"
        assert await reader.readexactly(1_000_000) == file.read_bytes()


async def test_a_file_whose_client_leaves(tmp_path: Any) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"0" * 20_000_000)
    app = Part(start(), {"type": "http.response.pathsend", "path": str(file)})
    async with served(app) as (reader, writer):
        writer.write(request("/"))
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()
        while not app.ended:
            await asyncio.sleep(0.001)
    assert isinstance(app.raised[0], ClientDisconnected)


@pytest.mark.parametrize("last", [body(b""), body(b"x", True), start()])
async def test_nothing_gets_into_a_file_that_is_on_its_way(last: Any, tmp_path: Any) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 1_000_000)
    raised: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        sending = asyncio.ensure_future(send({"type": "http.response.pathsend", "path": str(file)}))
        await asyncio.sleep(0)
        raised.extend(await asyncio.gather(send(last), return_exceptions=True))
        await sending

    client = Client(ASGIContainer(app, lifespan="off"))
    response = await client.get("/")
    assert response.body == file.read_bytes()
    assert [type(error) for error in raised] == [ApplicationError]


async def test_it_is_a_target_beside_handlers() -> None:
    app = Application([(r"/x.*", ASGIContainer(echo, lifespan="off"))])
    response = await Client(app).post("/x", body=b"z" * 100_000)
    assert response.body == b"z" * 100_000
