import asyncio
import io
from collections.abc import Awaitable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine
from webfw.web.errors import HTTPError
from webfw.web.uploads import UploadPart, stream_multipart

# --- forms, part by part ---


def form(*parts: tuple[str, str | None, bytes], boundary: str = "XX", end: bool = True) -> bytes:
    body = b""
    for name, filename, content in parts:
        disposition = f'form-data; name="{name}"' + (
            f'; filename="{filename}"' if filename is not None else ""
        )
        extra = "Content-Type: text/x-test\r\n" if filename is not None else ""
        body += (
            f"--{boundary}\r\nContent-Disposition: {disposition}\r\n{extra}\r\n".encode() + content + b"\r\n"
        )
    return body + (f"--{boundary}--\r\n".encode() if end else b"")


class Connection:
    limit: int | None = None

    def set_max_body_size(self, limit: int) -> None:
        self.limit = limit


class Handler:
    """What `stream_multipart` asks of a handler."""

    _stream_request_body = False

    def __init__(
        self,
        method: str = "POST",
        content_type: str | None = "multipart/form-data; boundary=XX",
        uri: str = "/",
        **fields: str,
    ) -> None:
        headers = HTTPHeaders(
            {"Host": "x"} | {name.replace("_", "-"): value for name, value in fields.items()}
        )
        if content_type is not None:
            headers["Content-Type"] = content_type
        self.connection: Any = Connection()
        self.request = HTTPServerRequest(
            start_line=RequestStartLine(method, uri, "HTTP/1.1"), headers=headers, connection=self.connection
        )
        self.events: list[Any] = []

    def prepare(self) -> Awaitable[None] | None:
        self.events.append("prepare")
        return None

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        raise AssertionError

    def post(self, *args: Any) -> None:
        self.events.append("post")

    put = patch = get = post


@stream_multipart  # type: ignore[type-var]
class Collecting(Handler):
    def part_begin(self, part: UploadPart) -> None:
        self.events.append(("begin", part.name, part.filename, part.content_type, part.size))

    def part_data(self, part: UploadPart, chunk: bytes) -> None:
        self.events.append(("data", part.name, chunk, part.size))

    def part_end(self, part: UploadPart) -> None:
        self.events.append(("end", part.name, part.size))


def receive(handler: Any, body: bytes, size: int = 10_000_000) -> Any:
    handler.prepare()
    for start in range(0, len(body), size):
        assert handler.data_received(body[start : start + size]) is None
    getattr(handler, handler.request.method.lower())()
    return handler


def test_parts_arrive_at_the_hooks() -> None:
    handler = receive(Collecting(), form(("f", "a.txt", b"hello"), ("g", "b.txt", b"")))
    assert handler.events == [
        "prepare",
        ("begin", "f", "a.txt", "text/x-test", 0),
        ("data", "f", b"hello", 5),
        ("end", "f", 5),
        ("begin", "g", "b.txt", "text/x-test", 0),
        ("end", "g", 0),
        "post",
    ]
    assert Collecting._stream_request_body


@given(st.integers(1, 60), st.binary(max_size=300))
def test_however_it_is_cut(size: int, content: bytes) -> None:
    content = content.replace(b"--XX", b"")
    handler = receive(Collecting(), form(("t", None, b"text"), ("f", "a", content)), size)
    data = b"".join(event[2] for event in handler.events if event[0] == "data")
    assert data == content
    assert handler.events[-2:] == [("end", "f", len(content)), "post"]
    assert handler.request.body_arguments == {"t": [b"text"]}


def test_fields_become_arguments() -> None:
    handler = Collecting(uri="/?a=0&q=1")
    receive(handler, form(("a", None, b"1"), ("f", "x", b"file"), ("a", None, b"2"), ("b", None, b"")), 7)
    request = handler.request
    assert request.body_arguments == {"a": [b"1", b"2"], "b": [b""]}
    assert request.arguments == {"a": [b"0", b"1", b"2"], "q": [b"1"], "b": [b""]}
    assert request.query_arguments == {"a": [b"0"], "q": [b"1"]}
    assert request.files == {}
    assert [event[0] for event in handler.events if event[0] == "begin"] == ["begin"]


def test_fields_can_be_streamed_too() -> None:
    class Streaming(Collecting):
        upload_collect_fields = False

    handler = receive(Streaming(), form(("a", None, b"1")))
    assert ("data", "a", b"1", 1) in handler.events
    assert handler.request.body_arguments == {}


def test_a_part_knows_its_headers_and_takes_attributes() -> None:
    seen = []

    @stream_multipart  # type: ignore[type-var]
    class Noting(Handler):
        def part_begin(self, part: Any) -> None:
            part.file = io.BytesIO()

        def part_data(self, part: Any, chunk: bytes) -> None:
            part.file.write(chunk)

        def part_end(self, part: Any) -> None:
            seen.append((part.headers["content-type"], part.file.getvalue(), repr(part)))

    receive(Noting(), form(("f", "a", b"hello")), 3)
    assert seen == [("text/x-test", b"hello", "UploadPart(name='f', filename='a', size=5)")]


async def test_an_async_hook_holds_the_wire() -> None:
    go_on = asyncio.Event()

    @stream_multipart  # type: ignore[type-var]
    class Slow(Handler):
        async def part_data(self, part: UploadPart, chunk: bytes) -> None:
            self.events.append(chunk)
            await go_on.wait()

        async def part_end(self, part: UploadPart) -> None:
            self.events.append("end")

    handler: Any = Slow()
    handler.prepare()
    waiting = handler.data_received(form(("f", "a", b"1"), ("g", "b", b"2")))
    assert waiting is not None
    task = asyncio.ensure_future(waiting)
    await asyncio.sleep(0)
    assert handler.events == ["prepare", b"1"]
    go_on.set()
    await task
    handler.post()
    assert handler.events == ["prepare", b"1", "end", b"2", "end", "post"]


def test_hooks_may_be_left_out() -> None:
    @stream_multipart  # type: ignore[type-var]
    class Bare(Handler):
        pass

    assert receive(Bare(), form(("f", "a", b"1"))).events == ["prepare", "post"]


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        (None, 415),
        ("", 415),
        ("application/json", 415),
        ("multipart/mixed; boundary=XX", 415),
        ("multipart/form-data", 400),
        ("multipart/form-data; boundary=", 400),
        ("multipart/form-data; boundary=\u20ac", 400),
        ("multipart/form-data; boundary=" + "x" * 71, 400),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_bodies_that_are_no_form(content_type: str | None, status: int, method: str) -> None:
    with pytest.raises(HTTPError) as caught:
        Collecting(method, content_type).prepare()
    assert caught.value.status_code == status


def test_a_form_without_a_body_is_411() -> None:
    handler: Any = Collecting("POST", "multipart/form-data; boundary=x")
    handler.request.connection = type("Connection", (), {"has_body": False})()
    with pytest.raises(HTTPError) as caught:
        handler.prepare()
    assert caught.value.status_code == 411


def test_a_get_needs_no_form() -> None:
    handler = Collecting("GET", None)
    handler.prepare()
    handler.get()
    assert handler.events == ["prepare", "post"]
    with pytest.raises(HTTPError):
        handler.data_received(b"a body all the same")


def test_a_prepare_that_does_not_call_ours() -> None:
    class Other(Collecting):
        def prepare(self) -> None:
            pass

    assert receive(Other(), form(("f", "a", b"1"))).events[-1] == "post"
    handler: Any = Other(content_type=None)
    handler.prepare()
    with pytest.raises(HTTPError):
        handler.post()


@pytest.mark.parametrize(
    ("limits", "body", "status"),
    [
        ({"upload_max_parts": 2}, form(*[("f", "a", b"")] * 3), 400),
        ({"upload_max_part_header_size": 40}, form(("f", "a" * 50, b"")), 400),
        ({"upload_max_part_size": 3}, form(("f", "a", b"1234")), 413),
        ({"upload_max_part_size": 3}, form(("f", None, b"1234")), 413),
        ({"upload_max_size": 20}, form(("f", "a", b"")), 413),
        ({"upload_max_fields_size": 3}, form(("f", None, b"12"), ("g", None, b"34")), 413),
        ({}, b"--XX\r\nnonsense\r\n\r\n\r\n--XX--\r\n", 400),
        ({}, form(("f", "a", b"cut"), end=False), 400),
        ({}, b"", 400),
    ],
)
@pytest.mark.parametrize("size", [5, 1000])
def test_limits(limits: dict[str, int], body: bytes, status: int, size: int) -> None:
    cls: Any = type("Limited", (Collecting,), limits)
    with pytest.raises(HTTPError) as caught:
        receive(cls(), body, size)
    assert caught.value.status_code == status


def test_the_size_is_checked_before_the_body() -> None:
    class Limited(Collecting):
        upload_max_size = 100

    handler: Any = Limited(Content_Length="101")
    with pytest.raises(HTTPError) as caught:
        handler.prepare()
    assert caught.value.status_code == 413
    handler = Limited(Content_Length="100")
    handler.prepare()
    assert handler.connection.limit == 100


def test_only_handlers_can_be_decorated() -> None:
    for other in (object, lambda: None):
        with pytest.raises(TypeError, match="decorates subclasses of RequestHandler"):
            stream_multipart(other)  # type: ignore[type-var]
