"""Tests of webfw.observe.accesslog: lines for requests of every kind, over a fake wire."""

import asyncio
import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.web.conftest import Sites
from tests.websocket.conftest import Peer
from tests.wsgi.conftest import until
from webfw.httpserver import Observer, Record
from webfw.observe import AccessLog, RequestIds, TimeFormatter
from webfw.routing import PathMatches, Rule
from webfw.sansio.websocket import Machine
from webfw.web import Application, FallbackHandler, RequestHandler
from webfw.websocket import WebSocketHandler
from webfw.wsgi import WSGIContainer

#: A line of the text format.
LINE = re.compile(r'(\S+) "(.*)" (\d+) (\d+) (\d+\.\d)ms(?: websocket (.*?))?(?: why=(\w+))?')


class Lines(logging.Handler):
    """A logger of its own, and what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.logger = logging.Logger("access", logging.INFO)  # noqa: LOG001  # nobody else shall see it
        self.logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def text(self) -> list[str]:
        return [record.getMessage() for record in self.records]

    def parsed(self) -> list[tuple[str, ...]]:
        """Peer, request, status and bytes of each line."""
        matches = [LINE.fullmatch(line) for line in self.text]
        return [match.groups()[:4] for match in matches if match is not None]

    def ends(self) -> list[str | None]:
        """What each line says of an answer that has not arrived whole."""
        return [match[7] for match in map(LINE.fullmatch, self.text) if match is not None]

    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text]


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def sites() -> Iterator[Sites]:
    made = Sites()
    yield made
    made.end()


class Hello(RequestHandler):
    def get(self) -> None:
        self.write("hello")

    def post(self) -> None:
        self.set_status(int(self.request.body))


def application(*routes: Any, **settings: Any) -> Application:
    return Application([*routes, ("/", Hello)], **settings)


async def test_the_line_for_people(sites: Sites, lines: Lines) -> None:
    site = sites(application(), server={"observer": AccessLog(logger=lines.logger)})
    await site.ask("/?b=1")
    assert lines.ends() == [None]
    assert re.fullmatch(r'127\.0\.0\.1 "GET /\?b=1 HTTP/1\.1" 200 5 \d+\.\dms', lines.text[0])
    assert len(lines.text) == 1


@pytest.mark.parametrize(
    ("status", "level"), [(201, "INFO"), (399, "INFO"), (400, "WARNING"), (499, "WARNING"), (500, "ERROR")]
)
async def test_the_level_follows_the_status(sites: Sites, lines: Lines, status: int, level: str) -> None:
    site = sites(application(), server={"observer": AccessLog(logger=lines.logger)})
    await site.ask("/", "POST", str(status).encode())
    assert [record.levelname for record in lines.records] == [level]


async def test_no_line_is_made_below_the_level(sites: Sites, lines: Lines) -> None:
    log = AccessLog(logger=lines.logger)
    log._line = lambda record: pytest.fail("a line was made for nothing")
    lines.logger.setLevel(logging.WARNING)
    await sites(application(), server={"observer": log}).ask("/")
    assert lines.text == []


async def test_requests_that_the_server_refuses(sites: Sites, lines: Lines) -> None:
    for data in (b"rubbish\r\n\r\n", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\n\r\n"):
        site = sites(application(), server={"observer": AccessLog(logger=lines.logger), "max_body_size": 10})
        await site.send(data)
    assert lines.parsed() == [
        ("127.0.0.1", "-", "400", "0"),
        ("127.0.0.1", "POST / HTTP/1.1", "413", "0"),
    ]


class Waits(RequestHandler):
    async def get(self) -> None:
        await asyncio.Event().wait()

    cancel_on_disconnect = True


@pytest.mark.parametrize("how", ["reset", "end"])
async def test_a_client_that_does_not_wait(sites: Sites, lines: Lines, how: str) -> None:
    site = sites(application(("/w", Waits)), server={"observer": AccessLog(logger=lines.logger)})
    await site.send(Sites.request("/w"))
    if how == "reset":
        site.wire.lose(ConnectionResetError())
    else:
        site.wire.feed_eof()
    await site.settle()
    assert lines.parsed() == [("127.0.0.1", "GET /w HTTP/1.1", "499", "0")]
    assert lines.ends() == ["client_gone"]


async def test_a_connection_that_is_cut_has_no_status(sites: Sites, lines: Lines) -> None:
    class Cuts(RequestHandler):
        def get(self) -> None:
            self.request.connection.abort_response()
            self._finished = True

    site = sites(application(("/c", Cuts)), server={"observer": AccessLog(logger=lines.logger)})
    await site.send(Sites.request("/c"))
    assert lines.parsed() == [("127.0.0.1", "GET /c HTTP/1.1", "0", "0")]
    assert lines.ends() == ["cut"]
    assert lines.records[0].levelname == "WARNING"


@pytest.mark.parametrize(
    ("path", "written"),
    [
        ('/"200', r"/\"200"),
        ("/a\\x0a", r"/a\\x0a"),
    ],
)
async def test_what_clients_send_is_escaped(sites: Sites, lines: Lines, path: str, written: str) -> None:
    site = sites(application((".*", Hello)), server={"observer": AccessLog(logger=lines.logger)})
    await site.ask(path)
    assert f'"GET {written} HTTP/1.1"' in lines.text[0]


# Who else writes lines.


async def test_an_application_with_a_log_of_its_own_keeps_it(sites: Sites, lines: Lines) -> None:
    own: list[int] = []

    class Overrides(Application):
        def log_request(self, handler: RequestHandler) -> None:
            own.append(handler.get_status())

    apps = [
        application(log_function=lambda handler: own.append(handler.get_status())),
        Overrides([("/", Hello)]),
    ]
    for app in apps:
        site = sites(app, server={"observer": AccessLog(logger=lines.logger)})
        await site.ask("/")
        await site.ask("/nothing")
    assert own == [200, 404] * 2
    assert lines.text == []


async def test_refused_requests_of_such_an_application_are_not_its_own(sites: Sites, lines: Lines) -> None:
    app = application(log_function=lambda handler: pytest.fail("it never came to a handler"))
    site = sites(app, server={"observer": AccessLog(logger=lines.logger)})
    await site.send(b"rubbish\r\n\r\n")
    assert lines.parsed() == [("127.0.0.1", "-", "400", "0")]


async def test_an_application_without_one_writes_no_second_line(
    sites: Sites, lines: Lines, expect_log: Any
) -> None:
    site = sites(application(), server={"observer": AccessLog(logger=lines.logger)})
    with expect_log("webfw.access", "", level=logging.WARNING, count=0):
        await site.ask("/nothing")
    assert len(lines.text) == 1


async def test_other_observers_leave_the_line_to_the_application(sites: Sites, expect_log: Any) -> None:
    site = sites(application(), server={"observer": Observer()})
    with expect_log("webfw.access", "^404 GET /nothing", level=logging.WARNING, count=1):
        await site.ask("/nothing")


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response(
        "404 Not Found" if environ["PATH_INFO"] == "/no" else "200 OK", [("Content-Type", "text/plain")]
    )
    return [environ["PATH_INFO"].encode()]


@pytest.mark.parametrize("threads", [0, 1])
@pytest.mark.parametrize("within", ["alone", "rule", "fallback"])
async def test_wsgi_has_the_line_of_all_others(sites: Sites, lines: Lines, threads: int, within: str) -> None:
    container = WSGIContainer(wsgi, threads=threads)
    routes: dict[str, Any] = {
        "alone": container,
        "rule": Application([Rule(PathMatches("/.*"), container)]),
        "fallback": Application([("/.*", FallbackHandler, {"fallback": container})]),
    }
    site = sites(routes[within], server={"observer": AccessLog("json", logger=lines.logger)})
    for request in (Sites.request("/yes"), Sites.request("/no", "POST", b"body")):
        await site.send(request)
        await until(lambda: b"\r\n\r\n" in site.wire.sent or len(lines.text) == 2 or lines.text)
    await until(lambda: len(lines.text) == 2)
    container.close()
    got = [(o["method"], o["target"], o["status"], o["bytes_in"], o["bytes_out"]) for o in lines.objects()]
    assert got == [("GET", "/yes", 200, 0, 4), ("POST", "/no", 404, 4, 3)]
    assert all(o["queue_ms"] is not None and o["handler_ms"] is not None for o in lines.objects())
    assert {o["route"] for o in lines.objects()} == {None if within == "alone" else "/.*"}


@pytest.mark.parametrize("within", [False, True])
async def test_wsgi_with_a_log_of_its_own_keeps_it(sites: Sites, lines: Lines, within: bool) -> None:
    own: list[int] = []
    container = WSGIContainer(wsgi, threads=0, mount="/m", log_function=lambda e: own.append(e.get_status()))
    app = Application([Rule(PathMatches("/.*"), container)]) if within else container
    site = sites(app, server={"observer": AccessLog(logger=lines.logger)})
    await site.ask("/m/yes")
    await site.ask("/elsewhere")
    assert own == [200, 404]
    assert lines.text == []


async def test_a_plain_wsgi_behind_an_application_that_logs(sites: Sites, lines: Lines) -> None:
    """The application's log function is for its handlers; the container has none, so the server writes the line."""
    container = WSGIContainer(wsgi, threads=0)
    app = Application(
        [("/.*", FallbackHandler, {"fallback": container})],
        log_function=lambda handler: pytest.fail("no handler answers"),
    )
    await sites(app, server={"observer": AccessLog(logger=lines.logger)}).ask("/yes")
    assert lines.parsed() == [("127.0.0.1", "GET /yes HTTP/1.1", "200", "4")]


# WebSockets.


class Echo(WebSocketHandler):
    def on_message(self, message: str | bytes) -> None:
        self.write_message(message, isinstance(message, bytes))


def websocket(sites: Sites, log: AccessLog, **settings: Any) -> Peer:
    app = Application([("/ws", Echo)], **settings)
    return Peer(sites(app, server={"observer": log}))


async def test_a_websocket_has_its_line_when_it_closes(sites: Sites, lines: Lines) -> None:
    peer = websocket(sites, AccessLog(logger=lines.logger))
    await peer.open("/ws")
    await peer.send("one", b"two")
    assert lines.text == []
    await peer.close(1001)
    peer.wire.lose()
    # Frames from a client are 6 bytes longer than what is in them, others 2; a Close has 2 bytes.
    match = LINE.fullmatch(lines.text[0])
    assert match is not None
    assert match.groups()[:4] == ("127.0.0.1", "GET /ws HTTP/1.1", "101", "14")
    assert match[6] == "code=1001 in=2/26 out=2/14"
    assert len(lines.text) == 1


async def test_an_answer_that_breaks_off(sites: Sites, lines: Lines) -> None:
    """Its status says that all was well, its bytes not how many there should have been."""

    class Half(RequestHandler):
        async def get(self) -> None:
            self.write("half")
            await self.flush()
            await asyncio.Event().wait()

        cancel_on_disconnect = True

    site = sites(application(("/h", Half)), server={"observer": AccessLog(logger=lines.logger)})
    await site.send(Sites.request("/h"))
    site.wire.lose(ConnectionResetError())
    await site.settle()
    assert lines.parsed() == [("127.0.0.1", "GET /h HTTP/1.1", "200", "4")]
    assert lines.ends() == ["client_gone"]


@pytest.mark.parametrize(("how", "why"), [("lost", "client_gone"), ("drained", "cut"), ("rule", "refused")])
async def test_how_a_websocket_ends(sites: Sites, lines: Lines, how: str, why: str) -> None:
    peer = websocket(sites, AccessLog("json", logger=lines.logger))
    await peer.open("/ws")
    if how == "lost":
        peer.wire.lose(ConnectionResetError())
    elif how == "drained":
        closing = asyncio.ensure_future(peer.site.server.close_all_connections())
        await peer.site.settle()
        peer.wire.lose()
        await closing
    else:
        await peer.raw(b"\xff\xff\xff")
        peer.wire.lose()
    (line,) = lines.objects()
    assert (line["why"], line["close_code"], line["status"]) == (why, 1006, 101)
    assert line["route"] == "/ws"


async def test_a_websocket_that_does_not_answer_pings(sites: Sites, lines: Lines) -> None:
    peer = websocket(sites, AccessLog("json", logger=lines.logger), websocket_ping_interval=1)
    await peer.open("/ws")
    for _ in range(5):
        await peer.pass_time(1)
    peer.wire.lose()
    (line,) = lines.objects()
    assert line["why"] == "timeout"


async def test_messages_that_wait_count_when_they_are_sent(sites: Sites, lines: Lines) -> None:
    class Many(WebSocketHandler):
        def on_message(self, message: str | bytes) -> None:
            for _ in range(5):
                self.write_message("x" * 100)

    app = Application([("/ws", Many)])
    site = sites(app, server={"observer": AccessLog("json", logger=lines.logger)}, capacity=250)
    peer = Peer(site)
    await peer.open("/ws")
    await peer.send("go")
    await peer.drain()
    peer.wire.lose()
    (line,) = lines.objects()
    assert (line["messages_in"], line["messages_out"], line["bytes_out"]) == (1, 5, 5 * 102)


async def test_a_handshake_that_fails_is_a_request(sites: Sites, lines: Lines) -> None:
    peer = websocket(sites, AccessLog(logger=lines.logger))
    await peer.open("/ws", Sec_WebSocket_Version="12")
    assert lines.parsed()[0][2] == "426"


def test_machines_agree_on_frame_sizes() -> None:
    assert len(Machine(server=False).encode_message("one")) == 9


# JSON.


async def test_json(sites: Sites, lines: Lines) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    observers = [RequestIds(trust=True), AccessLog("json", logger=lines.logger, worker=3)]
    site = sites(application(), server={"observer": observers})
    await site.ask('/?"', X_Request_ID="abc", traceparent=trace)
    assert lines.text[0].isascii()
    assert lines.text[0].isprintable()
    (line,) = lines.objects()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d", line.pop("time"))
    parts = [float(line.pop(name)) for name in ("queue_ms", "handler_ms", "write_ms")]
    assert line.pop("duration_ms") == pytest.approx(sum(parts), abs=0.01)
    assert line == {
        "request_id": "abc",
        "traceparent": trace,
        "peer": "127.0.0.1",
        "protocol": "HTTP/1.1",
        "tls": None,
        "method": "GET",
        "target": '/?"',
        "route": "/",
        "status": 200,
        "bytes_in": 0,
        "bytes_out": 5,
        "worker": 3,
        "why": "complete",
    }


async def test_no_control_character_is_left_in_json(sites: Sites, lines: Lines) -> None:
    class Strange(Observer):
        def begun(self, record: Record) -> None:
            record.request_id = "\x7f\x1b\u2028\ud800\n"

    observers = [Strange(), AccessLog("json", logger=lines.logger)]
    await sites(application(), server={"observer": observers}).ask("/")
    assert lines.text[0].isascii()
    assert lines.text[0].isprintable()
    assert lines.objects()[0]["request_id"] == "\x7f\x1b\u2028\ud800\n"


async def test_json_of_what_could_not_be_read(sites: Sites, lines: Lines) -> None:
    site = sites(application(), server={"observer": AccessLog("json", logger=lines.logger)})
    await site.send(b"\x00\n\r\n")
    (line,) = lines.objects()
    assert (line["method"], line["target"], line["status"], line["why"]) == (None, None, 400, "refused")


async def test_the_version_of_tls(sites: Sites, lines: Lines) -> None:
    class Tls:
        def version(self) -> str:
            return "TLSv1.3"

    site = sites(application(), server={"observer": AccessLog("json", logger=lines.logger)})
    site.wire._extra["ssl_object"] = Tls()
    await site.ask("/")
    assert lines.objects()[0]["tls"] == "TLSv1.3"


# Formats of one's own, whose atoms are tested in test_atoms.


async def test_a_format_of_atoms(sites: Sites, lines: Lines) -> None:
    log = AccessLog("%(method)s %(route)s %(status)d %(worker)s", logger=lines.logger, worker="w1")
    await sites(application(), server={"observer": log}).ask("/?x")
    assert lines.text == ["GET / 200 w1"]


def test_a_wrong_format_is_told_at_once() -> None:
    with pytest.raises(ValueError, match=r"no atom %\(stauts\)s; perhaps %\(status\)s"):
        AccessLog("%(stauts)s")


@pytest.mark.parametrize(
    ("form", "has"),
    [("text", False), ("json", True), ("%(time)s x", True), ("%(t)s", True), ("%(peer)s", False)],
)
def test_whether_lines_tell_the_time(form: str, has: bool) -> None:
    assert AccessLog(form).has_time is has


async def test_an_id_goes_with_the_line(sites: Sites, lines: Lines) -> None:
    observers = [AccessLog(logger=lines.logger), RequestIds(trust=True)]
    site = sites(application(), server={"observer": observers})
    await site.ask("/", X_Request_ID="abc")
    await site.send(b"rubbish\r\n\r\n")
    assert [record.request_id for record in lines.records] == ["abc", "-"]  # type: ignore[attr-defined]


async def test_routes_have_names_for_logs(sites: Sites, lines: Lines) -> None:
    class Delegates(Application):
        def find_handler(self, request: Any, **kwargs: Any) -> Any:
            return super().find_handler(request, **kwargs)

    inner = Application([("/deep/(.*)/end", Hello)], log_function=lambda handler: None)
    routes: list[Any] = [
        (r"/users/(\d+)", Hello),
        (r"/named/(?P<id>[a-z]+)$", Hello),
        Rule(PathMatches("/deep/.*"), inner),
    ]
    paths = ["/users/17", "/named/x", "/deep/a/end", "/nowhere"]
    seen = []

    class Routes(Observer):
        def ended(self, record: Record) -> None:
            seen.append(record.route)

    for kind in (Application, Delegates):
        site = sites(kind(routes, log_function=lambda handler: None), server={"observer": Routes()})
        for path in paths:
            await site.ask(path, "DELETE")
        routes[2] = Rule(PathMatches("/deep/.*"), [("/deep/(.*)/end", Hello)])
    assert seen[3] is None
    assert seen[7] is None
    assert seen[:3] == seen[4:7] == [r"/users/(\d+)", "/named/(?P<id>[a-z]+)", "/deep/(.*)/end"]


def test_time_is_iso_8601_with_milliseconds() -> None:
    formatter = TimeFormatter("%(asctime)s %(message)s")
    record = logging.LogRecord("x", logging.INFO, "", 0, "hello", None, None)
    texts = []
    for created in (1_700_000_000.25, 1_700_000_000.5, 1_700_000_001.999):
        record.created = created
        texts.append(formatter.format(record))
    pattern = r"2023-11-1\dT\d\d:\d\d:\d\d\.(\d{3})[+-]\d\d:\d\d hello"
    assert [re.fullmatch(pattern, text)[1] for text in texts] == ["250", "500", "999"]  # type: ignore[index]
    assert texts[0][:19] == texts[1][:19] != texts[2][:19]
