"""`wsgi.file_wrapper`: files that the kernel sends, whatever their length, and iteration for everything else."""

import contextlib
import io
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.wsgi.conftest import Serve, request, until
from webfw.wsgi import FileWrapper

CONTENT = bytes(range(256)) * 40


class Opened:
    """An application that sends a file, and what it has opened."""

    def __init__(
        self, path: Path, *headers: tuple[str, str], offset: int = 0, status: str = "200 OK"
    ) -> None:
        self.path = path
        self.headers = headers
        self.offset = offset
        self.status = status
        self.files: list[Any] = []
        self.closed_in: list[str] = []
        self.before: Callable[[Any], None] = lambda file: None

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        app = self

        class File(io.FileIO):
            def close(self) -> None:
                if not self.closed:
                    app.closed_in.append(threading.current_thread().name)
                super().close()

        file = io.BufferedReader(File(self.path))
        self.files.append(file)
        file.read(self.offset)
        start_response(self.status, [("X-Kind", "file"), *self.headers])
        self.before(file)
        return environ["wsgi.file_wrapper"](file, 1000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "file").write_bytes(CONTENT)
    return tmp_path / "file"


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How much the kernel was asked to send, each time."""
    counts: list[int] = []
    sendfile = os.sendfile

    def counting(out: int, source: int, offset: int, count: int) -> int:
        counts.append(count)
        return sendfile(out, source, offset, count)

    monkeypatch.setattr(os, "sendfile", counting)
    return counts


async def closed(app: Opened, count: int) -> None:
    """Wait until every file is closed, each once."""
    await until(lambda: len(app.files) == count and all(file.closed for file in app.files))
    assert len(app.closed_in) == count


@pytest.mark.parametrize("offset", [0, 1, 5000, len(CONTENT)])
async def test_the_kernel_sends_files(
    serve: Serve, mode: str, path: Path, sent: list[int], offset: int
) -> None:
    app = Opened(path, offset=offset)
    async with serve(app, mode, wrong=True) as served:
        client = await served.connect()
        for _ in range(2):
            answer = await client.ask()
            assert answer.body == CONTENT[offset:]
            assert answer.headers["Content-Length"] == str(len(CONTENT) - offset)
        assert sent == ([len(CONTENT) - offset] * 2 if offset < len(CONTENT) else [])
        await closed(app, 2)
        assert await served.logged(2) == [200, 200]
    if mode == "threads":  # no line of the application runs on the loop
        assert all(name.startswith("webfw-wsgi") for name in app.closed_in)


async def test_a_smaller_length(serve: Serve, mode: str, path: Path, sent: list[int]) -> None:
    app = Opened(path, ("Content-Length", "100"), offset=7)
    async with serve(app, mode, wrong=True) as served:
        client = await served.connect()
        for _ in range(2):
            assert (await client.ask()).body == CONTENT[7:107]
        await closed(app, 2)
    assert sent == [100, 100]


async def test_a_greater_length(serve: Serve, mode: str, path: Path, expect_log: Any) -> None:
    app = Opened(path, ("Content-Length", str(len(CONTENT) + 5)))
    async with serve(app, mode, wrong=True) as served:
        client = await served.connect()
        with expect_log("webfw.application", "the response was cut: 5 bytes less were written", count=1):
            assert (await client.ask()).cut
            assert await served.logged(1) == [200]
        await closed(app, 1)


async def test_a_file_that_shrinks(
    serve: Serve, mode: str, path: Path, expect_log: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sendfile = os.sendfile

    def shrinking(*args: int) -> int:
        os.truncate(path, 100)
        return sendfile(*args)

    monkeypatch.setattr(os, "sendfile", shrinking)
    app = Opened(path)
    async with serve(app, mode, wrong=True) as served:
        client = await served.connect()
        with expect_log("webfw.application", "the response was cut: the file is shorter", count=1):
            answer = await client.ask()
            assert answer.cut
            assert await served.logged(1) == [200]
        await closed(app, 1)


@pytest.mark.parametrize(
    ("method", "status", "length"),
    [
        ("HEAD", "200 OK", str(len(CONTENT))),
        ("GET", "304 Not Modified", None),
        ("GET", "204 No Content", None),
    ],
)
async def test_no_body(
    serve: Serve, mode: str, path: Path, sent: list[int], method: str, status: str, length: str | None
) -> None:
    app = Opened(path, status=status)
    async with serve(app, mode, wrong=True) as served:
        client = await served.connect()
        for _ in range(2):
            answer = await client.ask("/", method)
            assert f"{answer.status} {answer.reason}" == status
            assert answer.headers.get("Content-Length") == length
        await closed(app, 2)
    assert sent == []


async def test_after_write(serve: Serve, mode: str, path: Path, sent: list[int]) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])(b"first ")
        return environ["wsgi.file_wrapper"](path.open("rb"))

    async with serve(app, mode, wrong=True) as served:
        assert (await served.ask()).body == b"first " + CONTENT
    assert sent == []


@pytest.mark.parametrize("wrapped", [False, True])
async def test_what_is_no_file_is_iterated(serve: Serve, mode: str, sent: list[int], wrapped: bool) -> None:
    made: list[io.BytesIO] = []

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [("Content-Type", "text/plain")])
        made.append(io.BytesIO(CONTENT))
        return environ["wsgi.file_wrapper"](made[-1], 100)

    async with serve(app, mode, wrong=not wrapped) as served:
        client = await served.connect()
        for _ in range(2):
            assert (await client.ask()).body == CONTENT
        await until(lambda: [file.closed for file in made] == [True, True])
    assert sent == []


async def test_middleware_that_iterates(serve: Serve, mode: str, path: Path, sent: list[int]) -> None:
    app = Opened(path)

    def upper(environ: dict[str, Any], start_response: Any) -> Any:
        result = app(environ, start_response)
        assert isinstance(result, FileWrapper)
        try:
            for block in result:
                assert len(block) <= 1000
                yield block.upper()
        finally:
            result.close()

    async with serve(upper, mode, wrong=True) as served:
        assert (await served.ask()).body == CONTENT.upper()
        await closed(app, 1)
    assert sent == []


async def test_a_pipe_is_no_file(serve: Serve, mode: str) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        out, into = os.pipe()
        with open(into, "wb") as writing:
            writing.write(b"through a pipe")
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](open(out, "rb"))

    async with serve(app, mode, wrong=True) as served:
        assert (await served.ask()).body == b"through a pipe"


async def test_a_file_that_is_closed_already(serve: Serve, mode: str, path: Path, expect_log: Any) -> None:
    app = Opened(path)
    app.before = lambda file: file.close()
    async with serve(app, mode, wrong=True) as served:
        with expect_log("webfw.application", "uncaught exception in the application", count=1):
            assert (await served.ask()).status == 500


async def test_a_file_without_start_response(serve: Serve, mode: str, path: Path, expect_log: Any) -> None:
    files: list[Any] = []

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        files.append(path.open("rb"))
        return environ["wsgi.file_wrapper"](files[-1])

    async with serve(app, mode, wrong=True) as served:
        with expect_log("webfw.application", "uncaught exception in the application", count=1):
            assert (await served.ask()).status == 500
        await until(lambda: files[0].closed)


async def test_a_client_that_goes_meanwhile(serve: Serve, mode: str, tmp_path: Path) -> None:
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(200_000_000)
    app = Opened(large)
    async with serve(app, mode, wrong=True) as served:
        client = await served.connect()
        client.send(request())
        await client.reader.readexactly(100_000)
        client.reset()
        await closed(app, 1)
        assert await served.logged(1) == [200]
        await until(lambda: not served.container._tasks)


async def test_no_file_stays_open(serve: Serve, mode: str, path: Path) -> None:
    app = Opened(path)
    async with serve(app, mode, wrong=True) as served:
        before = len(os.listdir("/dev/fd"))
        for _ in range(20):
            assert (await served.ask()).body == CONTENT
        await closed(app, 20)
        await until(lambda: not served.container._tasks and not served.server._connections)
        assert len(os.listdir("/dev/fd")) <= before + 2


def test_only_what_there_is_may_be_asked() -> None:
    wrapper = FileWrapper(io.BytesIO(b"abc"), 2)
    assert list(wrapper) == [b"ab", b"c"]
    wrapper.seek(1)  # type: ignore[attr-defined]
    assert (wrapper.tell(), wrapper.seekable()) == (1, True)  # type: ignore[attr-defined]
    wrapper.close()  # type: ignore[attr-defined]

    class Least:
        def read(self, size: int) -> bytes:
            return b""

    least = FileWrapper(Least())
    assert (hasattr(least, "close"), least.seekable(), list(least), least.part()) == (False, False, [], None)
    with contextlib.closing(io.BytesIO()) as file:
        assert FileWrapper(file).part() is None
