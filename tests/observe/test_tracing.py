"""Tests of webfw.observe.tracing: spans of real requests, as the exporter of the SDK gets them."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.httpserver import conftest
from webfw.httpserver import HTTPServer
from webfw.observe.tracing import Tracing
from webfw.testing.client import Client
from webfw.web import Application, RequestHandler, stream_request_body
from webfw.websocket import WebSocketHandler
from webfw.wsgi import WSGIContainer

pytest.importorskip("opentelemetry.sdk")

from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

talk = conftest.talk  # the fixture

ExpectLog = Callable[..., Any]

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


class Spans:
    """A provider of its own, and the spans that have ended, in that order."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("application")
        self.observer = Tracing(provider=self.provider)

    @property
    def ended(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    def client(self, app: Any, **options: Any) -> Client:
        if isinstance(app, list):
            app = Application(app, log_function=lambda handler: None)
        return Client(HTTPServer(app, observer=self.observer, **options), raise_app_exceptions=False)


@pytest.fixture
def spans() -> Spans:
    return Spans()


def current() -> trace.Span:
    return trace.get_current_span()


def no_span() -> bool:
    return not current().get_span_context().is_valid


class Item(RequestHandler):
    def get(self, number: str = "") -> None:
        self.write("x")

    post = patch = get


# --- names, attributes, times ---


async def test_a_span(spans: Spans) -> None:
    before = time.time_ns()
    headers = {"User-Agent": "tester/1", "Host": "Example.com:8080"}
    await spans.client([(r"/items/(\d+)", Item)]).get("/items/7?token=secret", headers=headers)
    (span,) = spans.ended
    assert span.name == r"GET /items/(\d+)"
    assert span.kind is SpanKind.SERVER
    assert span.parent is None
    assert span.status.status_code is StatusCode.UNSET
    assert dict(span.attributes or {}) == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "http.route": r"/items/(\d+)",
        "url.path": "/items/7",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "server.address": "example.com",
        "server.port": 8080,
        "client.address": "127.0.0.1",
        "user_agent.original": "tester/1",
    }
    assert span.instrumentation_scope is not None
    assert span.instrumentation_scope.name == "webfw"
    assert span.start_time is not None
    assert span.end_time is not None
    assert before - 1_000_000 <= span.start_time <= span.end_time <= time.time_ns() + 1_000_000


@pytest.mark.parametrize(
    ("host", "address", "port"),
    [("a", "a", None), ("[::1]:80", "::1", 80), ("[::1]", "::1", None), ("10.0.0.1:1", "10.0.0.1", 1)],
)
async def test_addresses(spans: Spans, host: str, address: str, port: int | None) -> None:
    await spans.client([("/", Item)]).get("/", headers={"Host": host})
    attributes = spans.ended[0].attributes or {}
    assert (attributes["server.address"], attributes.get("server.port")) == (address, port)


async def test_no_host_and_another_version(talk: Any, spans: Spans) -> None:
    t = talk(Application([("/()", Item)], log_function=lambda handler: None), observer=spans.observer)
    t.send(b"GET / HTTP/1.0\r\nHost:\r\n\r\n")
    attributes = spans.ended[0].attributes or {}
    assert attributes["network.protocol.version"] == "1.0"
    assert "server.address" not in attributes


@pytest.mark.parametrize(
    ("method", "path", "name", "status"),
    [
        ("GET", "/nothing", "GET", 404),
        ("MADEUP", "/items/1", r"HTTP /items/(\d+)", 405),
        ("PATCH", "/items/1", r"PATCH /items/(\d+)", 200),
    ],
)
async def test_names(spans: Spans, method: str, path: str, name: str, status: int) -> None:
    await spans.client([(r"/items/(\d+)", Item)]).request(method, path)
    (span,) = spans.ended
    attributes = span.attributes or {}
    assert (span.name, attributes["http.response.status_code"]) == (name, status)
    assert span.status.status_code is StatusCode.UNSET  # 4xx is the client's
    assert "error.type" not in attributes
    if method == "MADEUP":
        assert attributes["http.request.method"] == "_OTHER"
        assert attributes["http.request.method_original"] == "MADEUP"


async def test_a_handler_may_rename_its_span(spans: Spans) -> None:
    class Named(RequestHandler):
        def get(self) -> None:
            current().update_name("GET the moon")
            current().set_attribute("moon", "full")

    await spans.client([("/moon", Named)]).get("/moon")
    (span,) = spans.ended
    assert span.name == "GET the moon"
    assert (span.attributes or {})["moon"] == "full"


async def test_paths_without_spans(spans: Spans) -> None:
    client = spans.client([("/.*", Item)])
    for path in ("/healthz", "/readyz?x"):
        await client.get(path)
    assert spans.ended == []


# --- failures ---


async def test_an_application_that_fails(spans: Spans, expect_log: ExpectLog) -> None:
    class Fails(RequestHandler):
        def get(self) -> None:
            raise RuntimeError("on purpose")

    with expect_log("webfw.application", "GET /"):
        await spans.client([("/", Fails)]).get("/")
    (span,) = spans.ended
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes or {})["error.type"] == "500"


async def test_a_client_that_leaves(talk: Any, spans: Spans) -> None:
    t = talk(lambda request: None, observer=spans.observer)
    t.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    t.wire.lose()
    (span,) = spans.ended
    assert (span.attributes or {})["error.type"] == "client_gone"
    assert "http.response.status_code" not in (span.attributes or {})
    assert span.status.status_code is StatusCode.UNSET


async def test_a_body_that_never_comes(talk: Any, spans: Spans) -> None:
    t = talk(lambda request: None, observer=spans.observer, body_timeout=1)
    t.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
    t.pass_time(5)
    (span,) = spans.ended
    assert (span.attributes or {})["error.type"] == "timeout"
    assert span.status.status_code is StatusCode.ERROR


async def test_what_is_no_request_has_no_span(talk: Any, spans: Spans) -> None:
    talk(lambda request: None, observer=spans.observer).send(b"nonsense\r\n\r\n")
    assert spans.ended == []


# --- parents and children ---


@pytest.mark.parametrize("sampled", ["01", "00"])
async def test_the_trace_of_the_client(spans: Spans, sampled: str) -> None:
    fields = {"traceparent": f"00-{TRACE}-{PARENT}-{sampled}", "tracestate": "vendor=1"}
    seen = []

    class Show(RequestHandler):
        def get(self) -> None:
            seen.append(current().get_span_context())

    await spans.client([("/", Show)]).get("/", headers=fields)
    assert f"{seen[0].trace_id:032x}" == TRACE
    if sampled == "00":
        assert spans.ended == []  # the client does not record, and neither do we
        return
    (span,) = spans.ended
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == PARENT
    assert span.parent.is_remote
    assert seen[0].trace_state.get("vendor") == "1"


@pytest.mark.parametrize("field", ["", "00-0-0-00", f"ff-{TRACE}-{PARENT}-01"])
async def test_a_trace_that_is_none(spans: Spans, field: str) -> None:
    await spans.client([("/()", Item)]).get("/", headers={"traceparent": field})
    assert spans.ended[0].parent is None


async def test_children_in_a_coroutine_and_its_tasks(spans: Spans) -> None:
    class Busy(RequestHandler):
        async def prepare(self) -> None:
            with spans.tracer.start_as_current_span("prepare"):
                await asyncio.sleep(0)

        async def get(self) -> None:
            await asyncio.sleep(0)
            with spans.tracer.start_as_current_span("query"):
                await asyncio.gather(self.fetch("a"), self.fetch("b"))
            self.write(baggage.get_baggage("user") or "nobody")  # type: ignore[arg-type]

        async def fetch(self, name: str) -> None:
            with spans.tracer.start_as_current_span(name):
                await asyncio.sleep(0)

    client = spans.client([("/", Busy)])
    fields = {"traceparent": TRACEPARENT, "baggage": "user=ann"}
    answers = await asyncio.gather(*(client.get("/", headers=fields) for _ in range(3)))
    assert [answer.text for answer in answers] == ["ann"] * 3
    by_id = {span.context.span_id: span for span in spans.ended if span.context}
    parents = sorted(
        (span.name, by_id[span.parent.span_id].name)
        for span in by_id.values()
        if span.parent and span.parent.span_id in by_id
    )
    assert parents == sorted(3 * [("a", "query"), ("b", "query"), ("prepare", "GET /"), ("query", "GET /")])
    assert {f"{span.context.trace_id:032x}" for span in spans.ended if span.context} == {TRACE}
    assert no_span()


async def test_nothing_is_seen_by_the_next_request_of_a_connection(talk: Any) -> None:
    spans = Spans()
    spans.observer = Tracing(provider=spans.provider, exclude=["/plain"])
    seen = []

    class Show(RequestHandler):
        def get(self) -> None:
            seen.append(no_span())

    app = Application([("/.*", Show)], log_function=lambda handler: None)
    t = talk(app, observer=spans.observer)
    for path in (b"/plain", b"/", b"/plain", b"/"):
        t.send(b"GET " + path + b" HTTP/1.1\r\nHost: a\r\n\r\n")
    assert seen == [True, False, True, False]
    assert len(spans.ended) == 2


@pytest.mark.parametrize("threads", [0, 2])
async def test_wsgi(spans: Spans, threads: int) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        with spans.tracer.start_as_current_span("inside"):
            start_response("200 OK", [])

        def body() -> Any:
            with spans.tracer.start_as_current_span("body"):
                yield b"done"

        return body()

    container = WSGIContainer(app, threads=threads, log_function=lambda entry: None)
    client = spans.client(container)
    for _ in range(2):
        assert (await client.get("/a", headers={"traceparent": TRACEPARENT})).text == "done"
    container.close()
    names = [span.name for span in spans.ended]
    assert sorted(names) == ["GET", "GET", "body", "body", "inside", "inside"]
    servers = {span.context.span_id for span in spans.ended if span.name == "GET" and span.context}
    children = [span.parent.span_id for span in spans.ended if span.name != "GET" and span.parent]
    assert sorted(children) == sorted([*servers, *servers])


async def test_a_streamed_body(spans: Spans) -> None:
    @stream_request_body
    class Upload(RequestHandler):
        async def data_received(self, chunk: bytes) -> None:
            with spans.tracer.start_as_current_span("chunk"):
                await asyncio.sleep(0)

        def post(self) -> None:
            self.write("taken")

    await spans.client([("/", Upload)]).post("/", body=b"x" * 10)
    chunk, server = spans.ended
    assert (chunk.name, server.name) == ("chunk", "POST /")
    assert chunk.parent is not None
    assert server.context is not None
    assert chunk.parent.span_id == server.context.span_id


async def test_a_plain_function(spans: Spans) -> None:
    from webfw.httputil import HTTPHeaders, HTTPServerRequest

    def answer(request: HTTPServerRequest) -> None:
        with spans.tracer.start_as_current_span("inside"):
            request.connection.respond(200, "OK", HTTPHeaders({"Content-Length": "0"}), b"")

    await spans.client(answer).get("/")
    server = next(span for span in spans.ended if span.name == "GET")
    inside = next(span for span in spans.ended if span.name == "inside")
    assert inside.parent is not None
    assert server.context is not None
    assert inside.parent.span_id == server.context.span_id


# --- WebSockets ---


async def test_a_websocket_is_one_span(spans: Spans) -> None:
    class Echo(WebSocketHandler):
        def on_message(self, message: str | bytes) -> None:
            with spans.tracer.start_as_current_span("message"):
                self.write_message(message)

    client = spans.client([("/echo", Echo)])
    async with client.websocket("/echo") as session:
        for _ in range(3):
            await session.send("hello")
            await session.receive()
        assert [span.name for span in spans.ended] == ["message"] * 3
    for _ in range(20):
        await asyncio.sleep(0)
    *messages, server = spans.ended
    attributes = dict(server.attributes or {})
    assert server.name == "GET /echo"
    assert attributes["http.response.status_code"] == 101
    assert attributes["websocket.messages_in"] == attributes["websocket.messages_out"] == 3
    assert attributes["websocket.bytes_in"] > attributes["websocket.bytes_out"] > 15
    assert attributes["websocket.close_code"] == 1000
    assert "error.type" not in attributes
    assert server.context is not None
    assert {span.parent.span_id for span in messages if span.parent} == {server.context.span_id}


# --- without this or that ---


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ImportError, match=r"pip install webfw\[otel\]"):
        Tracing()


def test_without_an_sdk_the_trace_is_passed_on() -> None:
    code = f"""
import asyncio
from opentelemetry import propagate, trace
from webfw.httpserver import HTTPServer
from webfw.observe.tracing import Tracing
from webfw.testing.client import Client
from webfw.web import Application, RequestHandler

class Show(RequestHandler):
    def get(self):
        fields = {{}}
        propagate.inject(fields)
        self.write(fields)

async def main():
    client = Client(HTTPServer(Application([("/", Show)]), observer=Tracing()))
    print((await client.get("/", headers={{"traceparent": "{TRACEPARENT}"}})).text)

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout == f'{{"traceparent": "{TRACEPARENT}"}}\n'


async def test_a_span_of_no_trace_does_not_hide_that_of_the_client() -> None:
    class Tracer(trace.NoOpTracer):
        def start_span(self, *args: Any, **kwargs: Any) -> trace.Span:
            return trace.INVALID_SPAN

    class Provider(trace.NoOpTracerProvider):
        def get_tracer(self, *args: Any, **kwargs: Any) -> trace.Tracer:
            return Tracer()

    spans = Spans()
    spans.observer = Tracing(provider=Provider())
    seen = []

    class Show(RequestHandler):
        def get(self) -> None:
            seen.append(f"{current().get_span_context().trace_id:032x}")

    await spans.client([("/", Show)]).get("/", headers={"traceparent": TRACEPARENT})
    assert seen == [TRACE]


async def test_an_sdk_that_is_set_up_later(spans: Spans) -> None:
    """The tracer is found when the first span is made, as the API has it."""
    code = """
import asyncio
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from webfw.httpserver import HTTPServer
from webfw.observe.tracing import Tracing
from webfw.testing.client import Client
from webfw.web import Application, RequestHandler

observer = Tracing()
provider, exporter = TracerProvider(), InMemorySpanExporter()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
asyncio.run(Client(HTTPServer(Application([("/", RequestHandler)]), observer=observer)).get("/"))
print([span.name for span in exporter.get_finished_spans()])
"""
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert done.stdout == "['GET /']\n"


def test_the_context_of_tests_is_clean() -> None:
    assert context.get_current() == {}
