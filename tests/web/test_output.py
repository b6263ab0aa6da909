import asyncio
import datetime
import gzip
from typing import Any

import pytest

from webfw.httputil import HTTPConnection, HTTPServerRequest, RequestStartLine, serverfields
from webfw.iostream import StreamClosedError
from webfw.web import Application, GZipContentEncoding, HTTPError, OutputTransform, RequestHandler, output


def doing(*steps: Any, **members: Any) -> type[RequestHandler]:
    """A handler whose ``get`` takes these steps, each a function of the handler."""

    async def get(self: RequestHandler) -> None:
        for step in steps:
            result = step(self)
            if hasattr(result, "__await__"):
                await result

    return type("Doing", (RequestHandler,), {"get": get, "head": get, **members})


# --- the head ---


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("text", "text"),
        ("tab\there", "tab\there"),
        (b"bytes", "bytes"),
        ("né", "né"),
        ("no\xa0break", "no\xa0break"),
        ("né☃".encode(), "né☃".encode().decode("latin-1")),
        (7, "7"),
        (datetime.datetime(2020, 1, 2, 3, 4, 5, tzinfo=datetime.UTC), "Thu, 02 Jan 2020 03:04:05 GMT"),
    ],
)
async def test_header_values(site: Any, value: Any, text: str) -> None:
    answer = await site(doing(lambda h: h.set_header("x-some-thing", value))).ask()
    assert answer.headers["X-Some-Thing"] == text


@pytest.mark.parametrize("add", [False, True])
@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("X", "a\r\nb: c", "Unsafe header value"),
        ("X", "a\nb", "Unsafe header value"),
        ("X", "a\0", "Unsafe header value"),
        ("X", "a\x7f", "Unsafe header value"),
        ("X", b"a\rb", "Unsafe header value"),
        ("X", "☃", "Unsafe header value"),
        ("X", None, "Unsupported header value"),
        ("X", ["a"], "Unsupported header value"),
        ("X", 1.5, "Unsupported header value"),
        ("X Y", "a", "Invalid header name"),
        ("X:", "a", "Invalid header name"),
        ("", "a", "Invalid header name"),
        ("X\r\nY", "a", "Invalid header name"),
    ],
)
async def test_what_may_not_be_in_a_header_is_our_fault(
    site: Any, expect_log: Any, name: str, value: Any, error: str, add: bool
) -> None:
    def step(handler: RequestHandler) -> None:
        (handler.add_header if add else handler.set_header)(name, value)

    with expect_log("webfw.application", "Uncaught exception", count=1) as records:
        answer = await site(doing(step)).ask()
    assert answer.status == 500
    assert b"Traceback" not in answer.body
    assert error in str(records[0].exc_info[1])
    assert isinstance(records[0].exc_info[1], (ValueError, TypeError))


async def test_what_goes_around_set_header_is_found_when_it_is_sent(site: Any, expect_log: Any) -> None:
    with expect_log("webfw.application", "Uncaught exception", count=1):
        answer = await site(doing(lambda h: h._headers.__setitem__("X", "a\r\nb: c"))).ask()
    assert answer.status == 500


async def test_headers_set_added_and_cleared(site: Any) -> None:
    answer = await site(
        doing(
            lambda h: h.set_header("X-A", "1"),
            lambda h: h.set_header("x-a", "2"),
            lambda h: h.add_header("X-B", "1"),
            lambda h: h.add_header("x-b", " 2 "),
            lambda h: h.set_header("X-C", "1"),
            lambda h: h.clear_header("x-c"),
            lambda h: h.clear_header("X-Never"),
        )
    ).ask()
    assert answer.headers.get_list("X-A") == ["2"]
    assert answer.headers.get_list("X-B") == ["1", "2"]
    assert "X-C" not in answer.headers


async def test_the_server_frames_the_answer(site: Any) -> None:
    answer = await site(
        doing(
            lambda h: h.set_header("Transfer-Encoding", "chunked"),
            lambda h: h.add_header("transfer-encoding", "gzip"),
            lambda h: h.write("x"),
        )
    ).ask()
    assert "Transfer-Encoding" not in answer.headers
    assert (answer.headers["Content-Length"], answer.body) == ("1", b"x")


async def test_default_headers(site: Any) -> None:
    def defaults(self: RequestHandler) -> None:
        self.set_header("X-Default", "always")
        self.clear_header("Server")

    def fail(self: RequestHandler) -> None:
        self.set_header("X-Other", "x")
        raise HTTPError(400)

    one = site(doing(fail, set_default_headers=defaults))
    answer = await one.ask()
    assert (answer.status, answer.headers["X-Default"]) == (400, "always")
    assert "Server" not in answer.headers
    assert "X-Other" not in answer.headers


def test_the_headers_a_response_starts_with(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000_000_000.25
    monkeypatch.setattr(serverfields, "time", lambda: now)
    monkeypatch.setattr(serverfields, "_second", 0.0)
    first = output.default_headers()
    first["Date"] = "changed"
    first["X"] = "changed"
    assert output.default_headers()["Date"] == "Sun, 09 Sep 2001 01:46:40 GMT"
    assert "X" not in output.default_headers()
    now += 0.7
    assert output.default_headers()["Date"] == "Sun, 09 Sep 2001 01:46:40 GMT"
    now += 0.1
    assert output.default_headers()["Date"] == "Sun, 09 Sep 2001 01:46:41 GMT"
    now -= 100  # somebody has set the clock
    assert output.default_headers()["Date"] == "Sun, 09 Sep 2001 01:45:01 GMT"


@pytest.mark.parametrize(
    ("args", "line"),
    [
        ((404,), (404, "Not Found")),
        ((404, "Gone fishing"), (404, "Gone fishing")),
        ((299,), (299, "Unknown")),
        ((200, "OK\r\nX-Evil: yes"), (200, "Unknown")),
        ((200, "☃"), (200, "Unknown")),
        ((200, ""), (200, "OK")),
    ],
)
async def test_status(site: Any, args: Any, line: tuple[int, str]) -> None:
    answer = await site(doing(lambda h: h.set_status(*args))).ask()
    assert (answer.status, answer.reason) == line
    assert "X-Evil" not in answer.headers


@pytest.mark.parametrize("status", [99, 1000, "abc", None, 100, 103])
async def test_what_is_no_final_status(site: Any, expect_log: Any, status: Any) -> None:
    with expect_log("webfw.application", "Uncaught exception", count=1):
        assert (await site(doing(lambda h: h.set_status(status))).ask()).status == 500


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_status_without_a_body(site: Any, expect_log: Any, status: int, streamed: bool) -> None:
    steps: list[Any] = [lambda h: h.set_status(status), lambda h: h.set_header("Content-Length", "5")]
    flush = [lambda h: h.flush()] if streamed else []
    answer = await site(doing(*steps, *flush)).ask()
    assert (answer.status, answer.body) == (status, b"")
    assert not {"Content-Length", "Content-Type", "Transfer-Encoding"} & set(answer.headers)
    with expect_log("webfw.application", "Uncaught exception", count=1):
        answer = await site(doing(*steps, lambda h: h.write("body"), *flush)).ask()
    assert answer.status == 500


async def test_switching_protocols_has_no_body_and_no_length(site: Any) -> None:
    answer = await site(
        doing(
            lambda h: h.set_status(101),
            lambda h: h.set_header("Connection", "Upgrade"),
            lambda h: h.set_header("Upgrade", "x"),
        )
    ).ask()
    assert (answer.status, answer.body) == (101, b"")
    assert not {"Content-Length", "Content-Type", "Transfer-Encoding"} & set(answer.headers)


async def test_early_hints(site: Any) -> None:
    one = site(
        doing(
            lambda h: h.send_early_hints("</a.css>; rel=preload", "</b.js>; rel=preload"),
            lambda h: h.write("x"),
        )
    )
    data = await one.send(site.request())
    hints, _, answer = data.partition(b"\r\n\r\n")
    assert hints == b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nLink: </b.js>; rel=preload"
    assert site.Answer(answer).body == b"x"
    data = await one.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert site.Answer(data).body == b"x"


async def test_early_hints_with_a_line_break(site: Any, expect_log: Any) -> None:
    with expect_log("webfw.application", "Uncaught exception", count=1):
        assert (await site(doing(lambda h: h.send_early_hints("a\r\nb: c"))).ask()).status == 500


# --- redirects ---


@pytest.mark.parametrize(
    ("url", "options", "status", "location"),
    [
        ("/a", {}, 302, b"/a"),
        (b"/a", {}, 302, b"/a"),
        ("/a", {"permanent": True}, 301, b"/a"),
        ("/a", {"status": 307}, 307, b"/a"),
        ("/a", {"permanent": True, "status": 303}, 303, b"/a"),
        ("/né☃", {}, 302, "/né☃".encode()),
        ("https://example.org/?a=b", {}, 302, b"https://example.org/?a=b"),
    ],
)
async def test_redirect(site: Any, url: Any, options: Any, status: int, location: bytes) -> None:
    answer = await site(doing(lambda h: h.redirect(url, **options))).ask()
    assert (answer.status, answer.headers["Location"].encode("latin-1")) == (status, location)
    assert (answer.headers["Content-Length"], answer.body) == ("0", b"")


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("/a\r\nSet-Cookie: a=b", {}),
        (b"/a\nb", {}),
        ("/a", {"status": 200}),
        ("/a", {"status": "302"}),
        (5, {}),
    ],
)
async def test_redirects_that_cannot_be(site: Any, expect_log: Any, url: Any, options: Any) -> None:
    with expect_log("webfw.application", "Uncaught exception", count=1):
        answer = await site(doing(lambda h: h.redirect(url, **options))).ask()
    assert answer.status == 500
    assert "Location" not in answer.headers


async def test_redirect_after_the_head_was_sent(site: Any, expect_log: Any) -> None:
    one = site(doing(lambda h: h.write("x"), lambda h: h.flush(), lambda h: h.redirect("/")))
    with expect_log("webfw", "Cannot (redirect|send error)|Uncaught"):
        await one.ask()
    assert one.wire.aborted


# --- the body ---


@pytest.mark.parametrize(
    ("chunk", "body", "content_type"),
    [
        ("né", "né".encode(), "text/html; charset=UTF-8"),
        (b"\xff", b"\xff", "text/html; charset=UTF-8"),
        ({"a": [1]}, b'{"a": [1]}', "application/json; charset=UTF-8"),
        ("", b"", "text/html; charset=UTF-8"),
    ],
)
async def test_write(site: Any, chunk: Any, body: bytes, content_type: str) -> None:
    for handler in (doing(lambda h: h.write(chunk)), doing(lambda h: h.finish(chunk))):
        answer = await site(handler).ask()
        assert (answer.body, answer.headers["Content-Type"]) == (body, content_type)
        assert answer.headers["Content-Length"] == str(len(body))


@pytest.mark.parametrize(
    ("chunk", "error"),
    [([1], "wrap the list in a dict"), (None, "NoneType"), (5, "int"), (bytearray(b"x"), "bytearray")],
)
async def test_what_cannot_be_written(site: Any, expect_log: Any, chunk: Any, error: str) -> None:
    with expect_log("webfw.application", "Uncaught exception", count=1) as records:
        assert (await site(doing(lambda h: h.write(chunk))).ask()).status == 500
    assert error in str(records[0].exc_info[1])


@pytest.mark.parametrize(
    "then", [lambda h: h.finish(), lambda h: h.write("x"), lambda h: h.set_trailer("A", "b")]
)
async def test_nothing_more_after_the_end(site: Any, expect_log: Any, then: Any) -> None:
    one = site(doing(lambda h: h.finish("once"), then))
    with expect_log("webfw.application", "Uncaught exception", count=1) as records:
        assert (await one.ask()).body == b"once"
    assert isinstance(records[0].exc_info[1], RuntimeError)
    assert not one.wire.closing


async def test_flush_after_the_end_does_nothing(site: Any) -> None:
    assert (await site(doing(lambda h: h.finish("once"), lambda h: h.flush())).ask()).body == b"once"


async def test_clear_forgets(site: Any) -> None:
    answer = await site(
        doing(
            lambda h: h.set_status(404),
            lambda h: h.set_header("X", "1"),
            lambda h: h.write("no"),
            lambda h: h.set_trailer("X", "1"),
            lambda h: h.clear(),
            lambda h: h.write("yes"),
        )
    ).ask()
    assert (answer.status, answer.body) == (200, b"yes")
    assert "X" not in answer.headers
    assert "Trailer" not in answer.headers


async def test_a_client_that_has_it_already(site: Any) -> None:
    one = site(doing(lambda h: h.write("x")))
    answer = await one.ask()
    answer = await one.ask(If_None_Match=answer.headers["Etag"])
    assert (answer.status, answer.body) == (304, b"")
    assert "Content-Type" not in answer.headers
    assert "Content-Length" not in answer.headers
    answer = await one.ask(method="HEAD")
    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", "1")


# --- streams ---


def stream(*chunks: str) -> list[Any]:
    steps: list[Any] = []
    for chunk in chunks:
        steps += [lambda h, chunk=chunk: h.write(chunk), lambda h: h.flush()]
    return steps


async def test_a_streamed_answer(site: Any) -> None:
    one = site(doing(*stream("one", "two"), lambda h: h.finish("three")))
    answer = await one.ask()
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert "Content-Length" not in answer.headers
    assert "Etag" not in answer.headers
    assert answer.body == b"3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n"
    assert (await one.ask()).status == 200  # the connection is kept


async def test_a_streamed_answer_of_known_length(site: Any) -> None:
    one = site(doing(lambda h: h.set_header("Content-Length", 6), *stream("one", "two")))
    answer = await one.ask()
    assert "Transfer-Encoding" not in answer.headers
    assert answer.body == b"onetwo"
    assert (await one.ask()).status == 200


async def test_a_streamed_answer_to_an_old_client(site: Any) -> None:
    one = site(doing(*stream("one", "two"), lambda h: h.set_trailer("X", "dropped")))
    answer = site.Answer(await one.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"))
    assert "Transfer-Encoding" not in answer.headers
    assert answer.body == b"onetwo"
    assert one.wire.closing


async def test_a_streamed_answer_to_head(site: Any) -> None:
    one = site(doing(*stream("one", "two"), lambda h: h.set_trailer("X", "dropped")))
    answer = await one.ask(method="HEAD")
    assert (answer.headers["Transfer-Encoding"], answer.body) == ("chunked", b"")
    assert (await one.ask(method="HEAD")).status == 200


async def test_cookies_leave_with_the_first_flush(site: Any) -> None:
    answer = await site(
        doing(lambda h: h.set_cookie("a", "b"), *stream("one"), lambda h: h.set_cookie("c", "d"))
    ).ask()
    assert answer.headers.get_list("Set-Cookie") == ["a=b; Path=/"]


async def test_cookies_leave_with_an_error(site: Any) -> None:
    def fail(handler: RequestHandler) -> None:
        handler.set_cookie("a", "b")
        raise HTTPError(400)

    answer = await site(doing(fail)).ask()
    assert answer.headers.get_list("Set-Cookie") == ["a=b; Path=/"]


@pytest.mark.parametrize("streamed", [False, True])
async def test_trailers(site: Any, streamed: bool) -> None:
    one = site(
        doing(
            lambda h: h.set_trailer("X-Sum", "1"),
            *(stream("one") if streamed else [lambda h: h.write("one")]),
            lambda h: h.set_trailer("X-Late", "2"),
        )
    )
    answer = await one.ask()
    assert answer.headers["Trailer"] == ("X-Sum" if streamed else "X-Sum, X-Late")
    assert answer.body == b"3\r\none\r\n0\r\nX-Sum: 1\r\nX-Late: 2\r\n\r\n"
    assert (await one.ask()).status == 200
    answer = await one.ask(method="HEAD")
    assert (answer.headers["Transfer-Encoding"], answer.body) == ("chunked", b"")


@pytest.mark.parametrize("name", ["", "X Y", "X\r\nY", "Content-Length", "Transfer-Encoding", "host"])
async def test_what_cannot_be_a_trailer(site: Any, expect_log: Any, name: str) -> None:
    with expect_log("webfw.application", "Uncaught exception", count=1):
        assert (await site(doing(lambda h: h.set_trailer(name, "x"))).ask()).status == 500


async def test_trailers_do_not_follow_an_error_page(site: Any) -> None:
    def fail(handler: RequestHandler) -> None:
        handler.set_trailer("X-Sum", "1")
        raise HTTPError(400)

    answer = await site(doing(fail)).ask()
    assert answer.status == 400
    assert "Content-Length" in answer.headers
    assert b"X-Sum" not in answer.body


async def test_flush_waits_for_a_client_that_does_not_read(site: Any) -> None:
    told: list[str] = []
    one = site(
        doing(lambda h: h.write("x" * 100), lambda h: h.flush(), lambda h: told.append("flushed")),
        capacity=50,
    )
    await one.send(site.request())
    assert told == []
    one.wire.drain()
    await one.settle()
    assert told == ["flushed"]


async def test_flush_fails_when_the_client_is_gone(site: Any) -> None:
    told: list[BaseException] = []
    left = asyncio.Event()

    class Leaves(RequestHandler):
        async def get(self) -> None:
            self.write("x")
            await self.flush()
            await left.wait()
            self.write("y")
            try:
                await self.flush()
            except StreamClosedError as error:
                told.append(error)
            self.finish()

    one = site(Leaves)
    await one.send(site.request())
    one.wire.lose()
    left.set()
    await one.settle()
    assert len(told) == 1


# --- a length that is wrong ---


@pytest.mark.parametrize("length", ["2", "4", "0", "x", "3, 3"])
async def test_a_wrong_length_of_a_whole_answer(site: Any, expect_log: Any, length: str) -> None:
    one = site(doing(lambda h: h.set_header("Content-Length", length), lambda h: h.write("one")))
    with expect_log("webfw", "", count=1):
        answer = await one.ask()
    assert answer.status == 500
    assert not one.wire.closing


async def test_a_length_of_ones_own(site: Any) -> None:
    one = site(doing(lambda h: h.set_header("Content-Length", 3), lambda h: h.write("one")))
    assert (await one.ask()).body == b"one"
    answer = await one.ask(method="HEAD")
    assert (answer.headers["Content-Length"], answer.body) == ("3", b"")
    one = site(doing(lambda h: h.set_header("Content-Length", 99)))
    answer = await one.ask(method="HEAD")  # the length GET would have
    assert (answer.headers["Content-Length"], answer.body) == ("99", b"")


class Ends(RequestHandler):
    """Says what is called at the end."""

    ended: list[Any]

    def on_finish(self) -> None:
        self.ended.append("on_finish")


@pytest.mark.parametrize(
    ("length", "steps"),
    [
        (5, stream("one")),  # too short
        (5, stream("one", "two")),  # too long with the second piece
        (2, stream("one")),  # too long with the first one
        (5, [*stream("one"), lambda h: h.finish("two")]),  # too long at the end
    ],
)
async def test_a_wrong_length_of_a_streamed_answer_cuts_it(
    site: Any, expect_log: Any, length: int, steps: Any
) -> None:
    ended: list[Any] = []
    kind = type(
        "E", (Ends, doing(lambda h: h.set_header("Content-Length", length), *steps)), {"ended": ended}
    )
    one = site(kind)
    with expect_log("webfw", "", count=1) as records:
        await one.send(site.request())
    assert one.wire.aborted
    assert ended == ["on_finish"]
    assert "Content-Length" in str(records[0].exc_info[1])


async def test_a_length_that_is_no_number_of_a_streamed_answer(site: Any, expect_log: Any) -> None:
    one = site(doing(lambda h: h.set_header("Content-Length", "x"), *stream("one")))
    with expect_log("webfw", "", count=1):
        assert (await one.ask()).status == 500  # nothing had been sent


async def test_a_bad_head_of_a_streamed_answer(site: Any, expect_log: Any) -> None:
    one = site(doing(lambda h: h._headers.__setitem__("X", "\n"), *stream("one")))
    with expect_log("webfw", "", count=1):
        assert (await one.ask()).status == 500


# --- transforms ---


class Doubled(OutputTransform):
    def transform_first_chunk(self, status_code: int, headers: Any, chunk: bytes, finishing: bool) -> Any:
        headers["X-Finishing"] = str(finishing)
        return status_code, headers, chunk * 2

    def transform_chunk(self, chunk: bytes, finishing: bool) -> bytes:
        return chunk * 2 + (b"." if finishing else b"")


async def test_transforms(site: Any) -> None:
    one = site(doing(lambda h: h.write("ab")), transforms=[Doubled, Doubled])
    answer = await one.ask()
    assert (answer.body, answer.headers["Content-Length"], answer.headers["X-Finishing"]) == (
        b"ab" * 4,
        "8",
        "True",
    )
    answer = await one.ask(method="HEAD")
    assert answer.body == b""
    one = site(doing(*stream("a", "b")), transforms=[Doubled])
    answer = await one.ask()
    assert answer.headers["X-Finishing"] == "False"
    assert answer.body == b"2\r\naa\r\n2\r\nbb\r\n1\r\n.\r\n0\r\n\r\n"


async def test_transforms_of_answers_without_a_body(site: Any) -> None:
    one = site(doing(lambda h: h.set_status(204)), transforms=[Doubled])
    answer = await one.ask()
    assert (answer.status, answer.body) == (204, b"")
    assert "Content-Length" not in answer.headers


async def test_compression_whole_and_streamed(site: Any) -> None:
    one = site(doing(lambda h: h.write("x" * 5000)), compress_response=True)
    answer = await one.ask(Accept_Encoding="gzip")
    assert gzip.decompress(answer.body) == b"x" * 5000
    assert answer.headers["Content-Length"] == str(len(answer.body))
    answer = await one.ask(method="HEAD", Accept_Encoding="gzip")
    assert answer.body == b""
    one = site(doing(*stream("x" * 5000, "y" * 5000)), transforms=[GZipContentEncoding])
    answer = await one.ask(Accept_Encoding="gzip")
    assert answer.headers["Content-Encoding"] == "gzip"
    body, rest = b"", answer.body
    while not rest.startswith(b"0\r\n"):
        size, _, rest = rest.partition(b"\r\n")
        body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    assert gzip.decompress(body) == b"x" * 5000 + b"y" * 5000


async def test_a_transform_that_fails(site: Any, expect_log: Any) -> None:
    class Bad(OutputTransform):
        def transform_first_chunk(self, *args: Any) -> Any:
            raise ValueError("SECRET")

    one = site(doing(lambda h: h.write("x")), transforms=[Bad])
    with expect_log("webfw", "Uncaught exception|Exception in"):
        assert await one.send(site.request()) == b""
    assert one.wire.aborted


# --- the end ---


async def test_on_finish_runs_when_the_log_fails(site: Any, expect_log: Any) -> None:
    def log(handler: RequestHandler) -> None:
        raise ValueError("log")

    ended: list[Any] = []
    one = site([("/", type("E", (Ends, doing(lambda h: h.write("x"))), {"ended": ended}))], log_function=log)
    with expect_log("webfw.application", "Uncaught exception", count=1):
        assert (await one.ask()).body == b"x"
    assert ended == ["on_finish"]
    assert not one.wire.closing


async def test_on_finish_that_fails(site: Any, expect_log: Any) -> None:
    def on_finish(self: RequestHandler) -> None:
        raise ValueError("end")

    one = site(doing(lambda h: h.write("x"), on_finish=on_finish))
    with expect_log("webfw.application", "Uncaught exception", count=1):
        assert (await one.ask()).body == b"x"
    assert not one.wire.closing


async def test_a_detached_connection(real: Any) -> None:
    ended: list[Any] = []

    class Detaches(Ends):
        _stream_request_body = True

        async def get(self) -> None:
            stream = self.detach()
            await stream.write(await stream.read_bytes(4))
            stream.close()

    Detaches.ended = ended
    client = await real(Application([("/", Detaches)]))
    client.writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n1234")
    assert await client.reader.read() == b"1234"
    assert ended == []
    await client.close()


async def test_a_connection_of_another_make(expect_log: Any) -> None:
    """A request may be answered through any `HTTPConnection`."""

    class Kept(HTTPConnection):
        def __init__(self) -> None:
            self.sent: list[Any] = []

        def write_headers(self, start_line: Any, headers: Any, chunk: bytes | None = None) -> Any:
            self.sent.append((start_line.code, headers["Content-Length"], chunk))

        def write(self, chunk: bytes) -> Any:
            self.sent.append(chunk)

        def finish(self) -> None:
            self.sent.append("finish")

    class Plain(RequestHandler):
        def get(self) -> None:
            self.send_early_hints("</a>")  # it cannot
            self.write("x")

    app = Application([("/", Plain)], log_function=lambda handler: None)
    connection = Kept()
    app(HTTPServerRequest(start_line=RequestStartLine("GET", "/", "HTTP/1.0"), connection=connection))
    assert connection.sent == [(200, "1", b"x"), "finish"]
