"""One request from the application's first line to its ``close``: every kind of result, and every way to break."""

import asyncio
import contextvars
import gc
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.wsgi.conftest import Serve, request, until
from webfw.wsgi.run import size_of
from webfw.wsgi.startresponse import StartResponse

PLAIN = [("Content-Type", "text/plain")]


class Body:
    """An iterable that counts how often it is closed."""

    def __init__(self, *chunks: Any, broken: BaseException | None = None) -> None:
        self.chunks = chunks
        self.broken = broken
        self.closed = 0

    def __iter__(self) -> Iterator[Any]:
        yield from self.chunks
        if self.broken is not None:
            raise type(self.broken)(*self.broken.args)  # one that is kept would keep everything

    def close(self) -> None:
        self.closed += 1


def answering(make: Callable[[], Any], *headers: tuple[str, str], status: str = "200 OK") -> Any:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response(status, [*PLAIN, *headers] if status[:3] not in ("204", "304") else list(headers))
        return make()

    return app


# --- results ---


@pytest.mark.parametrize(
    ("make", "body", "length"),
    [
        (lambda: [b"hello"], b"hello", True),
        (lambda: [b"he", b"", b"llo"], b"hello", True),
        (lambda: (b"he", b"llo"), b"hello", True),
        (list, b"", True),
        (lambda: [b""], b"", True),
        (lambda: iter([b"he", b"llo"]), b"hello", False),
        (lambda: iter([b"", b"", b"hello"]), b"hello", False),
        (lambda: iter([]), b"", True),
        (lambda: iter([b"", b""]), b"", True),
        (lambda: Body(b"he", b"llo"), b"hello", False),
        (lambda: [b"x" * 300_000, b"y" * 300_000], b"x" * 300_000 + b"y" * 300_000, True),
        (lambda: [b"x" * 3_000_000], b"x" * 3_000_000, True),
        (lambda: iter([b"x" * 3_000_000, b"y"]), b"x" * 3_000_000 + b"y", False),
        (lambda: {b"one": 1}, b"one", False),
    ],
)
@pytest.mark.parametrize("validated", [False, True])
async def test_results(
    serve: Serve, mode: str, make: Callable[[], Any], body: bytes, length: bool, validated: bool
) -> None:
    async with serve(answering(make), mode, wrong=not validated) as served:
        client = await served.connect()
        for _ in range(2):  # the connection goes on
            answer = await client.ask()
            assert (answer.status, answer.body, answer.cut) == (200, body, False)
            if not validated:  # which makes an iterator of everything
                assert ("Content-Length" in answer.headers) is length
        assert await served.logged(2) == [200, 200]


async def test_an_old_iterable(serve: Serve, mode: str) -> None:
    class Old:
        def __getitem__(self, index: int) -> bytes:
            return [b"he", b"llo"][index]

    async with serve(answering(Old), mode, wrong=True) as served:
        assert (await served.ask()).body == b"hello"


@pytest.mark.parametrize("make", [lambda: iter([b"hello"]), lambda: [b"hello"], lambda: Body(b"hello", b"")])
async def test_a_body_of_the_announced_length_leaves_in_one_piece(
    serve: Serve, mode: str, make: Callable[[], Any]
) -> None:
    async with serve(answering(make, ("Content-Length", "5")), mode, wrong=True) as served:
        client = await served.connect()
        for _ in range(3):
            answer = await client.ask()
            assert (answer.body, answer.headers["Content-Length"]) == (b"hello", "5")


async def test_http_1_0_gets_no_chunks(serve: Serve, mode: str) -> None:
    async with serve(answering(lambda: iter([b"he", b"llo"])), mode) as served:
        client = await served.connect()
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        data = await client.rest()
        assert b"chunked" not in data
        assert data.endswith(b"\r\n\r\nhello")


async def test_pieces_leave_as_they_are_made(serve: Serve, mode: str) -> None:
    # Inline, nothing else can happen before the loop has its turn: an empty piece gives it one.
    gate = threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", list(PLAIN))
        yield b"first"
        while not gate.wait(0.001 if mode == "inline" else 10):
            yield b""
        yield b"second"

    async with serve(app, mode) as served:
        client = await served.connect()
        client.send(request())
        assert (await client.reader.readuntil(b"first")).startswith(b"HTTP/1.1 200 OK\r\n")
        gate.set()
        assert b"second" in await client.reader.readuntil(b"0\r\n\r\n")


async def test_start_response_in_the_first_next(serve: Serve, mode: str) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("201 Made", list(PLAIN))
        yield b"late"

    async with serve(app, mode) as served:
        answer = await served.ask()
        assert (answer.status, answer.reason, answer.body) == (201, "Made", b"late")


async def test_changed_between_empty_pieces(serve: Serve, mode: str) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", list(PLAIN))
        yield b""
        try:
            raise RuntimeError
        except RuntimeError:
            start_response("500 Changed", list(PLAIN), sys.exc_info())
        yield b"sorry"

    async with serve(app, mode) as served:
        answer = await served.ask()
        assert (answer.reason, answer.body) == ("Changed", b"sorry")


# --- write() ---


@pytest.mark.parametrize("rest", [[], [b"rest"], (b"re", b"", b"st")])
@pytest.mark.parametrize("size", [3, 70_000, 5_000_000])
async def test_write_and_a_body(serve: Serve, mode: str, rest: Any, size: int) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        write = start_response("200 OK", list(PLAIN))
        write(b"")
        write(b"w" * size)
        write(b"2")
        return rest

    async with serve(app, mode) as served:
        client = await served.connect()
        for _ in range(2):
            assert (await client.ask()).body == b"w" * size + b"2" + b"".join(rest)
        assert await served.logged(2) == [200, 200]


async def test_write_of_everything(serve: Serve, mode: str) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [*PLAIN, ("Content-Length", "4")])(b"body")
        return []

    async with serve(app, mode) as served:
        client = await served.connect()
        assert [(await client.ask()).body for _ in range(2)] == [b"body"] * 2


async def test_write_when_it_is_over(serve: Serve, mode: str) -> None:
    kept: list[Any] = []

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        kept.append(start_response)
        start_response("200 OK", list(PLAIN))
        return [b"end"]

    async with serve(app, mode, wrong=True) as served:
        assert (await served.ask()).body == b"end"
        await until(lambda: kept[0].write.__name__ == "_too_late")
        with pytest.raises(Exception, match="the request was over"):
            kept[0].write(b"more")


# --- what breaks the rules ---


def raising(error: BaseException) -> Any:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        raise error

    return app


def silent(result: Any) -> Any:
    return lambda environ, start_response: result


def first_raising(error: BaseException) -> Any:
    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", list(PLAIN))
        yield b""
        raise error

    return app


class Unable:
    def __iter__(self) -> Iterator[bytes]:
        raise TypeError("not today")


@pytest.mark.parametrize(
    ("app", "complaint"),
    [
        (raising(ValueError("broken")), "broken"),
        (raising(SystemExit(3)), "3"),
        (raising(GeneratorExit("left")), "left"),
        (raising(StopIteration("stop")), "stop"),
        (raising(asyncio.CancelledError("cancelled")), "cancelled"),
        (first_raising(ValueError("broken")), "broken"),
        (first_raising(SystemExit(3)), "3"),
        (first_raising(StopIteration("stop")), "generator raised StopIteration"),
        (silent([b"hello"]), "did not call start_response"),
        (silent([]), "did not call start_response"),
        (silent(iter([b"hello"])), "did not call start_response"),
        (silent(iter([])), "did not call start_response"),
        (answering(lambda: None), "must return an iterable of bytes, not NoneType"),
        (answering(lambda: "text"), "must return an iterable of bytes, not str"),
        (answering(lambda: b"bytes"), "must return an iterable of bytes, not bytes"),
        (answering(lambda: 5), "must return an iterable of bytes, not int"),
        (answering(Unable), "not today"),
        (answering(lambda: ["text"]), "the body must be bytes, not str"),
        (answering(lambda: [b"", None]), "the body must be bytes, not NoneType"),
        (answering(lambda: [bytearray(b"x")]), "the body must be bytes, not bytearray"),
        (answering(lambda: iter([5])), "the body must be bytes, not int"),
        (answering(lambda: iter([""])), "the body must be bytes, not str"),
        (answering(lambda: iter([b"", None])), "the body must be bytes, not NoneType"),
    ],
)
async def test_broken_before_the_headers(
    serve: Serve, mode: str, expect_log: Any, app: Any, complaint: str
) -> None:
    async with serve(app, mode, wrong=True) as served:
        client = await served.connect()
        for _ in range(2):
            with expect_log(
                "webfw.application", "^GET / .*uncaught exception in the app", count=1
            ) as records:
                answer = await client.ask()
                assert (answer.status, answer.body) == (500, b"500 Internal Server Error\n")
                assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
            assert complaint in str(records[0].exc_info[1])
        assert await served.logged(2) == [500, 500]


@pytest.mark.parametrize("chunk", [None, "text", 5])
@pytest.mark.parametrize("length", [[], [("Content-Length", "100")]])
async def test_broken_half_way(
    serve: Serve, mode: str, expect_log: Any, chunk: Any, length: list[tuple[str, str]]
) -> None:
    made: list[Body] = []

    def make() -> Body:
        broken = ValueError("broken") if chunk is None else None
        made.append(Body(b"first", *([chunk] if chunk is not None else []), broken=broken))
        return made[-1]

    async with serve(answering(make, *length), mode, wrong=True) as served:
        client = await served.connect()
        with expect_log("webfw.application", "uncaught exception in the application", count=1):
            answer = await client.ask()
            assert (answer.status, answer.cut) == (200, True)
            await until(lambda: made[0].closed)
        assert await client.rest() == b""
        assert made[0].closed == 1
        assert await served.logged(1) == [200]


async def test_broken_after_the_whole_body(serve: Serve, mode: str, expect_log: Any) -> None:
    made: list[Body] = []

    def make() -> Body:
        made.append(Body(b"hello", broken=ValueError("broken")))
        return made[-1]

    async with serve(answering(make, ("Content-Length", "5")), mode, wrong=True) as served:
        client = await served.connect()
        with expect_log("webfw.application", "uncaught exception in the application", count=1) as records:
            answer = await client.ask()
            assert (answer.body, answer.cut) == (b"hello", False)
            await until(lambda: records)
        assert (made[0].closed, await served.logged(1)) == (1, [200])


async def test_a_close_that_raises(serve: Serve, mode: str, expect_log: Any) -> None:
    class Broken(Body):
        def close(self) -> None:
            raise SystemExit("broken")

    async with serve(answering(lambda: Broken(b"hello")), mode, wrong=True) as served:
        client = await served.connect()
        for _ in range(2):
            with expect_log("webfw.application", r"uncaught exception in close\(\)", count=1) as records:
                assert (await client.ask()).body == b"hello"
                await until(lambda: records)


# --- lengths ---


@pytest.mark.parametrize("make", [lambda: [b"hello"], lambda: Body(b"he", b"llo"), lambda: Body(b"hello")])
async def test_shorter_than_announced(
    serve: Serve, mode: str, expect_log: Any, make: Callable[[], Any]
) -> None:
    made: list[Any] = []

    def keep() -> Any:
        made.append(make())
        return made[-1]

    async with serve(answering(keep, ("Content-Length", "9")), mode, wrong=True) as served:
        client = await served.connect()
        with expect_log("webfw.application", "the response was cut: 4 bytes less were written", count=1):
            answer = await client.ask()
            assert answer.cut
            assert b"hello".startswith(answer.body)
            assert await served.logged(1) == [200]
        if isinstance(made[0], Body):
            await until(lambda: made[0].closed == 1)


@pytest.mark.parametrize("make", [list, lambda: iter([]), lambda: iter([b""])])
async def test_nothing_of_what_was_announced(
    serve: Serve, mode: str, expect_log: Any, make: Callable[[], Any]
) -> None:
    async with serve(answering(make, ("Content-Length", "9")), mode, wrong=True) as served:
        client = await served.connect()
        with expect_log("webfw.application", "9 bytes less were written", count=1):
            assert (await client.ask()).cut
            assert await served.logged(1) == [200]


@pytest.mark.parametrize(
    "make",
    [
        lambda: [b"hello", b" world"],
        lambda: [b"hello world"],
        lambda: Body(b"hello", b" world", b"!"),
        lambda: Body(b"hel", b"lo world", b"!", b"!"),
        lambda: Body(b"hello world", b"!"),
        lambda: [b"hello" + b"x" * 300_000, b"y"],
    ],
)
async def test_longer_than_announced(
    serve: Serve, mode: str, expect_log: Any, make: Callable[[], Any]
) -> None:
    made: list[Any] = []

    def keep() -> Any:
        made.append(make())
        return made[-1]

    async with serve(answering(keep, ("Content-Length", "5")), mode, wrong=True) as served:
        client = await served.connect()
        for count in (1, 2):
            with expect_log("webfw.application", "longer than its Content-Length says", count=1) as records:
                answer = await client.ask()
                assert (answer.body, answer.cut) == (b"hello", False)
                assert await served.logged(count) == [200] * count
                await until(lambda: records)
                if isinstance(made[-1], Body):
                    await until(lambda: made[-1].closed == 1)


async def test_writing_more_than_announced(serve: Serve, mode: str, expect_log: Any) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        write = start_response("200 OK", [*PLAIN, ("Content-Length", "5")])
        for _ in range(5):
            write(b"abc")
        return [b"and more"]

    async with serve(app, mode, wrong=True) as served:
        client = await served.connect()
        for _ in range(2):
            with expect_log("webfw.application", "longer than its Content-Length says", count=1):
                assert (await client.ask()).body == b"abcab"


# --- no body ---


@pytest.mark.parametrize(
    ("make", "headers", "length"),
    [
        (lambda: [b"hello"], [], "5"),
        (lambda: [b"x" * 600_000], [], "600000"),
        (list, [], None),
        (list, [("Content-Length", "5")], "5"),
        (lambda: [b"hel"], [("Content-Length", "5")], "5"),
        (lambda: [b"hello world"], [("Content-Length", "5")], "5"),
        (lambda: Body(b"he", b"llo"), [], None),
        (lambda: Body(b"hello"), [("Content-Length", "5")], "5"),
        (lambda: Body(), [], None),
        (lambda: Body(), [("Content-Length", "5")], "5"),
    ],
)
async def test_head(
    serve: Serve, mode: str, make: Callable[[], Any], headers: list[tuple[str, str]], length: str | None
) -> None:
    made: list[Any] = []

    def keep() -> Any:
        made.append(make())
        return made[-1]

    async with serve(answering(keep, *headers), mode, wrong=True) as served:
        client = await served.connect()
        for _ in range(2):
            answer = await client.ask("/", "HEAD")
            assert (answer.status, answer.headers.get("Content-Length")) == (200, length)
        if isinstance(made[0], Body):
            await until(lambda: [body.closed for body in made] == [1, 1])


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "make", [list, lambda: [b"dropped"], lambda: Body(b"dropped", b"too"), lambda: [b"x" * 300_000]]
)
async def test_statuses_without_a_body(
    serve: Serve, mode: str, status: str, method: str, make: Callable[[], Any]
) -> None:
    for headers in ([], [("Content-Length", "7")]):
        made: list[Any] = []

        def keep(made: list[Any] = made) -> Any:
            made.append(make())
            return made[-1]

        async with serve(answering(keep, *headers, status=status), mode, wrong=True) as served:
            client = await served.connect()
            for _ in range(2):
                answer = await client.ask("/", method)
                assert f"{answer.status} {answer.reason}" == status
                assert "Transfer-Encoding" not in answer.headers
                expected = "7" if headers and status[0] == "3" else None
                assert answer.headers.get("Content-Length") == expected
            if isinstance(made[0], Body):
                await until(lambda made=made: [body.closed for body in made] == [1, 1])


@pytest.mark.parametrize("asked", [("/", "HEAD"), ("/none", "GET")])
async def test_nothing_is_made_that_nobody_gets(serve: Serve, mode: str, asked: tuple[str, str]) -> None:
    ended = threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("204 No Content" if environ["PATH_INFO"] == "/none" else "200 OK", [])
        try:
            while True:
                yield b"for ever"
        finally:
            ended.set()

    async with serve(app, mode, wrong=True) as served:
        client = await served.connect()
        assert (await client.ask(*asked)).status in (200, 204)
        await until(ended.is_set)
        assert (await client.ask(*asked)).status in (200, 204)


# --- clients that go ---


async def test_half_closed_is_not_gone(serve: Serve, mode: str) -> None:
    told: list[bool] = []
    gate = threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        gate.wait(10)
        told.append(environ["webfw.client_disconnected"]())
        start_response("200 OK", list(PLAIN))
        return iter([b"he", b"llo"])

    async with serve(app, mode) as served:
        client = await served.connect()
        if mode == "inline":
            gate.set()
        client.send(request())
        client.writer.write_eof()
        if mode != "inline":
            await until(lambda: served.log or _shut(served))
            gate.set()
        assert (await client.answer()).body == b"hello"
        assert await client.rest() == b""
        assert told == [mode != "inline"]
        assert await served.logged(1) == [200]


def _shut(served: Any) -> bool:
    return any(conn._eof for conn in served.server._connections)


@pytest.mark.parametrize("by_write", [False, True])
async def test_gone_while_it_streams(serve: Serve, mode: str, by_write: bool) -> None:
    if by_write and mode == "inline":
        return
    ended = threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        write = start_response("200 OK", list(PLAIN))
        try:
            while True:
                if by_write:
                    write(b"x" * 1000)
                else:
                    yield b"x" * 1000
        finally:
            ended.set()

    def calling(environ: dict[str, Any], start_response: Any) -> Any:
        return list(app(environ, start_response))

    async with serve(calling if by_write else app, mode, wrong=True, max_response_backlog=100_000) as served:
        client = await served.connect()
        client.send(request())
        await client.reader.readexactly(100_000)
        client.reset()
        await until(ended.is_set)
        assert await served.logged(1) == [200]
        if mode == "threads":
            await until(lambda: served.container._pool.busy == 0)


async def test_gone_in_the_middle_of_its_body(serve: Serve, mode: str) -> None:
    async with serve(raising(ValueError()), mode, wrong=True) as served:
        for body in (b"abc", b"x" * 700_000):
            client = await served.connect()
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + body)
            await client.writer.drain()
            await until(lambda: served.server._connections)
            client.reset()
            await until(lambda: not served.server._connections)
        assert served.log == []


async def test_a_file_whose_task_is_cancelled_is_cut(serve: Serve, tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(100_000_000)

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", list(PLAIN))
        return environ["wsgi.file_wrapper"]((tmp_path / "large").open("rb"))

    async with serve(app, wrong=True) as served:
        client = await served.connect()
        client.send(request())
        await client.reader.readexactly(1000)
        (task,) = served.container._tasks
        task.cancel()
        await until(task.done)
        assert served.log == [200]
        assert len(await client.rest()) < 100_000_000


async def test_an_answer_that_cannot_be_sent(
    serve: Serve, mode: str, expect_log: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any) -> None:
        raise ValueError("not to be sent")

    for make in (lambda: [b"hello"], lambda: Body(b"he", b"llo")):
        async with serve(answering(make), mode, wrong=True) as served:
            with monkeypatch.context() as patch:
                patch.setattr("webfw.wsgi.run.ResponseStartLine", broken)
                patch.setattr("webfw.wsgi.run.Run._send_whole", broken)
                with expect_log("webfw.application", "uncaught exception in the app", count=1) as records:
                    assert (await served.ask()).status == 500
            assert "not to be sent" in str(records[0].exc_info[1])
            assert served.log == [500]


# --- contexts, early hints ---

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")


async def test_every_request_has_a_context_of_its_own(serve: Serve, mode: str) -> None:
    seen: list[str] = []

    class Result:
        def __init__(self, token: Any) -> None:
            self.token = token
            self.left = [b"a", b"b", b"c"]

        def __iter__(self) -> Iterator[bytes]:
            return self

        def __next__(self) -> bytes:
            seen.append(variable.get())
            if not self.left:
                raise StopIteration
            return self.left.pop(0)

        def close(self) -> None:
            variable.reset(self.token)  # only possible in the context it was set in
            seen.append(variable.get())

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        seen.append(variable.get())
        start_response("200 OK", list(PLAIN))
        return Result(variable.set(environ["PATH_INFO"]))

    variable.set("outside")
    async with serve(app, mode, wrong=True) as served:
        client = await served.connect()
        for path in ("/1", "/2"):
            seen.clear()
            assert (await client.ask(path)).body == b"abc"
            await until(lambda: len(seen) == 6)
            assert seen == ["outside", path, path, path, path, "outside"]
    assert variable.get() == "outside"


async def test_early_hints(serve: Serve, mode: str, expect_log: Any) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        environ["wsgi.early_hints"]([("Link", "</style.css>; rel=preload")])
        environ["wsgi.early_hints"](iter([("Link", "</a>"), ("link", "</b>")]))
        write = start_response("200 OK", list(PLAIN))
        for wrong in ([("a\n", "b")], [("a", "b\r\n")], [5], [("a",)]):
            with pytest.raises(Exception, match="no header"):
                environ["wsgi.early_hints"](wrong)
        write(b"x")
        with pytest.raises(Exception, match="early hints come before the response"):
            environ["wsgi.early_hints"]([("Link", "</late>")])
        return []

    async with serve(app, mode) as served:
        client = await served.connect()
        answer = await client.ask()
        assert [(hint.status, hint.headers.get_list("Link")) for hint in answer.interim] == [
            (103, ["</style.css>; rel=preload"]),
            (103, ["</a>", "</b>"]),
        ]
        assert answer.body == b"x"
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert (await client.rest()).startswith(b"HTTP/1.1 200 OK\r\n")


# --- what is left ---


class Kept(dict):  # type: ignore[type-arg]
    """Something a weak reference can be made to."""


ENDINGS: dict[str, Any] = {
    "list": lambda: [b"hello"],
    "iterator": lambda: iter([b"he", b"llo"]),
    "whole": lambda: Body(b"hello"),
    "broken": lambda: Body(b"", broken=ValueError("broken")),
    "half": lambda: Body(b"first", broken=ValueError("broken")),
    "none": lambda: None,
    "large": lambda: Body(b"x" * 400_000, b"y" * 400_000),
}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("size", [0, 1000, 700_000])
async def test_nothing_is_left_behind(
    serve: Serve, mode: str, ending: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    references: list[Any] = []

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        kept = environ["test.kept"] = Kept()
        references.append(weakref.ref(kept))
        references.append(weakref.ref(environ["wsgi.input"]))
        references.append(weakref.ref(start_response))
        assert len(environ["wsgi.input"].read()) == size
        start_response("200 OK", list(PLAIN))
        kept["result"] = result = ENDINGS[ending]()
        return result

    monkeypatch.setattr("webfw.wsgi.run.StartResponse", type("Weak", (StartResponse,), {}))
    monkeypatch.setattr("webfw.wsgi.run.app_log.error", lambda *args, **kwargs: None)
    async with serve(app, mode, wrong=True) as served:
        gc.collect()
        gc.disable()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                for _ in range(3):
                    client = await served.connect()
                    await client.ask("/", "POST", b"x" * size)
                    await client.close()
                await until(lambda: all(reference() is None for reference in references))
        finally:
            gc.enable()
        assert len(references) == 9
        assert len(await served.logged(3)) == 3


# --- bodies in ---


@pytest.mark.parametrize("size", [0, 1, 100_000, 512 * 1024, 512 * 1024 + 1, 2_000_000])
async def test_the_body_is_a_file(serve: Serve, mode: str, size: int) -> None:
    content = bytes(range(256)) * (size // 256) + b"\n" * (size % 256)

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        source = environ["wsgi.input"]
        assert source.read(10) == content[:10]
        assert source.tell() == min(10, size)
        assert source.read() == content[10:]
        assert source.read() == b""
        source.seek(0)
        assert source.readline(5) == content.partition(b"\n")[0][:5] or content[:1] == b"\n"
        source.seek(0)
        assert b"".join(source.readlines()) == content
        source.seek(0)
        assert b"".join(source) == content
        assert source.read(5) == b""
        start_response("200 OK", list(PLAIN))
        return [type(source).__name__.encode()]

    async with serve(app, mode, wrong=True) as served:
        client = await served.connect()
        for _ in range(2):
            answer = await client.ask("/", "POST", content)
            assert answer.body == (b"BytesIO" if size <= 512 * 1024 else b"BufferedReader")


async def test_a_body_that_is_not_read(serve: Serve, mode: str) -> None:
    async with serve(answering(lambda: [b"hello"]), mode) as served:
        client = await served.connect()
        for size in (10, 1_000_000, 10):
            assert (await client.ask("/", "POST", b"x" * size)).body == b"hello"


async def test_pipelined_requests_are_answered_in_order(serve: Serve, mode: str) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", list(PLAIN))
        body = environ["PATH_INFO"].encode()
        return iter([body]) if len(body) % 2 else [body]

    async with serve(app, mode) as served:
        client = await served.connect()
        paths = [f"/{'x' * (i % 5)}{i}" for i in range(100)]
        client.send(b"".join(request(path) for path in paths))
        assert [(await client.answer()).body.decode() for _ in paths] == paths
        assert len(await served.logged(100)) == 100


def test_the_size_of_what_is_there() -> None:
    assert size_of([b"ab", b"", b"c"]) == 3
    assert size_of(()) == 0
    assert size_of([b"ab", "c"]) is None
