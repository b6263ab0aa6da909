"""`start_response`: what an application may say, and what becomes of it when it says something else."""

import sys
from typing import Any

import pytest

from tests.wsgi.conftest import Serve
from webfw.wsgi.startresponse import ApplicationError, StartResponse

PLAIN = [("Content-Type", "text/plain")]


def answering(status: Any, headers: Any, body: Any = (b"hello",)) -> Any:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response(status, headers)
        return list(body)

    return app


@pytest.mark.parametrize(
    ("status", "line"),
    [
        ("200 OK", "200 OK"),
        ("200", "200 OK"),
        ("200 ", "200 OK"),
        ("404 Gone fishing ", "404 Gone fishing"),
        ("299", "299 Unknown"),
        ("200 sch\xf6n", "200 sch\xf6n"),
        ("999 \ttab", "999 tab"),
    ],
)
async def test_statuses(serve: Serve, mode: str, status: str, line: str) -> None:
    async with serve(answering(status, list(PLAIN)), mode, wrong=True) as served:
        answer = await served.ask()
        assert f"{answer.status} {answer.reason}" == line
        assert answer.body == b"hello"


class Text(str):
    """What templates call text that needs no more escaping."""


@pytest.mark.parametrize(
    ("status", "headers", "complaint"),
    [
        (b"200 OK", PLAIN, "the status must be a str, not bytes"),
        (200, PLAIN, "the status must be a str, not int"),
        (None, PLAIN, "the status must be a str, not NoneType"),
        ("", PLAIN, "no status line: ''"),
        ("OK", PLAIN, "no status line: 'OK'"),
        ("100 Continue", PLAIN, "no status line"),
        ("101 Switching Protocols", PLAIN, "no status line"),
        ("20 OK", PLAIN, "no status line"),
        ("2000 OK", PLAIN, "no status line"),
        ("\u0662\u0660\u0660 OK", PLAIN, "no status line"),
        ("200 OK\r\nX: y", PLAIN, "no status line"),
        ("200 OK\n", PLAIN, "no status line"),
        ("200 \u0100", PLAIN, "no status line"),
        ("200 OK", tuple(PLAIN), "the headers must be a list, not tuple"),
        ("200 OK", dict(PLAIN), "the headers must be a list, not dict"),
        ("200 OK", None, "the headers must be a list, not NoneType"),
        ("200 OK", ["ab"], "no header: 'ab'"),
        ("200 OK", [("A", "b"), "Ab"], "no header: 'Ab'"),
        ("200 OK", [("a",)], "no header"),
        ("200 OK", [("a", "b", "c")], "no header"),
        ("200 OK", [None], "no header: None"),
        ("200 OK", [(b"a", "b")], "names and values must be str"),
        ("200 OK", [("a", b"b")], "names and values must be str"),
        ("200 OK", [("a", 1)], "names and values must be str"),
        ("200 OK", [([], "b")], "no header"),
        ("200 OK", [("", "b")], "Invalid header name"),
        ("200 OK", [("a b", "c")], "Invalid header name"),
        ("200 OK", [("a:", "c")], "Invalid header name"),
        ("200 OK", [("a\r\n", "c")], "Invalid header name"),
        ("200 OK", [("a", "b\r\nSet-Cookie: c")], "Invalid header value"),
        ("200 OK", [("a", "b\nc")], "Invalid header value"),
        ("200 OK", [("a", "b\n")], "Invalid header value"),
        ("200 OK", [("a", "b\x00c")], "Invalid header value"),
        ("200 OK", [("a", "\u0100")], "Invalid header value"),
        ("200 OK", [("Connection", "close")], "belongs to the connection: Connection"),
        ("200 OK", [("KEEP-ALIVE", "5")], "belongs to the connection: KEEP-ALIVE"),
        ("200 OK", [("transfer-encoding", "chunked")], "belongs to the connection"),
        ("200 OK", [("Upgrade", "websocket")], "belongs to the connection"),
        ("200 OK", [("TE", "trailers")], "belongs to the connection"),
        ("200 OK", [("Trailer", "x")], "belongs to the connection"),
        ("200 OK", [("Proxy-Authenticate", "Basic")], "belongs to the connection"),
        ("200 OK", [("Content-Length", "5"), ("content-length", "5")], "more than one Content-Length"),
        ("200 OK", [("Content-Length", "+5")], "Content-Length is no number"),
        ("200 OK", [("Content-Length", "-5")], "Content-Length is no number"),
        ("200 OK", [("Content-Length", "5, 5")], "Content-Length is no number"),
        ("200 OK", [("Content-Length", "")], "Content-Length is no number"),
        ("200 OK", [("Content-Length", "\u0665")], "Invalid header value"),
        ("200 OK", [("Content-Length", "\xb2")], "Content-Length is no number"),
        ("200 OK", [("Content-Length", "9" * 5000)], "Content-Length is no number"),
    ],
)
async def test_what_may_not_be_said(
    serve: Serve, mode: str, expect_log: Any, status: Any, headers: Any, complaint: str
) -> None:
    raised: list[BaseException] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        try:
            start_response(status, headers)
        except ApplicationError as error:
            raised.append(error)
            raise
        return [b"hello"]

    async with serve(app, mode, wrong=True) as served:
        client = await served.connect()
        with expect_log("webfw.application", "uncaught exception in the application", count=1):
            answer = await client.ask()
        assert (answer.status, answer.body) == (500, b"500 Internal Server Error\n")
        assert complaint in str(raised[0])
        assert len(str(raised[0])) < 400
        # The connection is as good as before.
        with expect_log("webfw.application", "uncaught exception", count=1):
            assert (await client.ask()).status == 500
        assert await served.logged(2) == [500, 500]


async def test_headers_leave_as_they_are(serve: Serve, mode: str) -> None:
    headers = [
        ("Content-Type", Text("text/plain")),
        ("set-cookie", "a=b"),
        ("Set-Cookie", "c=d"),
        ("X-Space", " \ta b\t "),
        ("X-Empty", ""),
        ("X-Latin", "gr\xf6\xdfe"),
        (Text("X-Text"), Text("x")),
        ("Date", "never"),
        ("Server", "ours"),
    ]
    async with serve(answering("200 OK", headers), mode, wrong=True) as served:
        answer = await served.ask()
    assert sorted(answer.headers.get_all()) == [
        ("Content-Length", "5"),
        ("Content-Type", "text/plain"),
        ("Date", "never"),
        ("Server", "ours"),
        ("Set-Cookie", "a=b"),
        ("Set-Cookie", "c=d"),
        ("X-Empty", ""),
        ("X-Latin", "gr\xf6\xdfe"),
        ("X-Space", "a b"),
        ("X-Text", "x"),
    ]


async def test_date_and_server_are_added(serve: Serve, mode: str) -> None:
    async with serve(answering("200 OK", list(PLAIN)), mode) as served:
        answer = await served.ask()
    assert answer.headers["Date"].endswith(" GMT")
    assert answer.headers["Server"].startswith("webfw/")


async def test_the_list_is_the_applications_again(serve: Serve, mode: str) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        headers = list(PLAIN)
        start_response("200 OK", headers)
        headers.append(("X-Late", "1"))
        return [b"hello"]

    async with serve(app, mode) as served:
        answer = await served.ask()
        assert "X-Late" not in answer.headers
        assert answer.status == 200


async def test_called_twice(serve: Serve, mode: str, expect_log: Any) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", list(PLAIN))
        start_response("404 Not Found", list(PLAIN))
        return [b"hello"]

    async with serve(app, mode, wrong=True) as served:
        with expect_log("webfw.application", "uncaught exception in the application", count=1) as records:
            assert (await served.ask()).status == 500
        assert "start_response was called twice without exc_info" in str(records[0].exc_info[1])


async def test_begun_anew_with_exc_info(serve: Serve, mode: str) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [*PLAIN, ("Content-Length", "1000"), ("X-First", "1")])
        try:
            raise RuntimeError("broken")
        except RuntimeError:
            start_response("503 Sorry", list(PLAIN), sys.exc_info())
        return [b"sorry"]

    async with serve(app, mode) as served:
        answer = await served.ask()
        assert (answer.status, answer.reason, answer.body) == (503, "Sorry", b"sorry")
        assert "X-First" not in answer.headers


async def test_exc_info_in_the_first_call(serve: Serve, mode: str) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        try:
            raise RuntimeError("broken")
        except RuntimeError:
            start_response("500 Broken", list(PLAIN), sys.exc_info())
        return [b"sorry"]

    async with serve(app, mode) as served:
        answer = await served.ask()
        assert (answer.status, answer.reason, answer.body) == (500, "Broken", b"sorry")


@pytest.mark.parametrize("by_write", [False, True])
async def test_exc_info_when_the_headers_are_out(
    serve: Serve, mode: str, expect_log: Any, by_write: bool
) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        write = start_response("200 OK", list(PLAIN))
        if by_write:
            write(b"first")
        else:
            yield b"first"
        try:
            raise RuntimeError("broken")
        except RuntimeError:
            start_response("500 Broken", list(PLAIN), sys.exc_info())
        yield b"not reached"

    def calling(environ: dict[str, Any], start_response: Any) -> Any:
        return list(app(environ, start_response))

    async with serve(calling if by_write else app, mode, wrong=True) as served:
        client = await served.connect()
        with expect_log("webfw.application", "uncaught exception in the application", count=1) as records:
            answer = await client.ask()
            assert answer.status == 200
            assert answer.cut
        assert answer.body in (b"", b"first")
        assert str(records[0].exc_info[1]) == "broken"
        assert await served.logged(1) == [200]


def test_no_cycle_is_left_by_exc_info() -> None:
    begin = StartResponse(lambda data: None)
    begin.sent = True
    error = RuntimeError("broken")
    with pytest.raises(RuntimeError, match="broken"):
        begin("500 Broken", [], (RuntimeError, error, None))
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_name != "__call__":
        frames = frames.tb_next
    assert frames is not None
    assert frames.tb_frame.f_locals["exc_info"] is None


def test_any_number_of_names_may_be_sent() -> None:
    from webfw.wsgi import startresponse

    for i in range(1200):
        StartResponse(lambda data: None)("200 OK", [(f"X-{i}", "1"), ("CONTENT-length", "1")])
    assert len(startresponse._names) <= 1024


def test_each_response_has_the_date_of_its_second(monkeypatch: pytest.MonkeyPatch) -> None:
    from webfw.httputil import serverfields
    from webfw.wsgi import startresponse

    def date() -> str:
        return startresponse._checked([])[0]["Date"]

    now = 784111777.0
    monkeypatch.setattr(serverfields, "time", lambda: now)
    monkeypatch.setattr(serverfields, "_second", 0.0)
    assert date() == "Sun, 06 Nov 1994 08:49:37 GMT"
    now += 0.9
    made = date()
    assert date() is made
    now += 0.2
    assert date() == "Sun, 06 Nov 1994 08:49:38 GMT"
    now -= 60  # the clock has been set
    assert date() == "Sun, 06 Nov 1994 08:48:38 GMT"
