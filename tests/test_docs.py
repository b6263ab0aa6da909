"""What the manual and the README show is true: their Python blocks run, and their links lead somewhere."""

import asyncio
import importlib
import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

from webfw.httpserver import HTTPServer
from webfw.netutil import bind_sockets
from webfw.web import Application, LongPollHandler
from webfw.websocket import websocket_connect

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    path for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")] if "_build" not in path.parts
)

_FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,}|:{3,})(?P<info>[^\n`]*)$")
_SKIP = re.compile(r"<!-- skip: (?P<reason>\S.*?) *-->")


def blocks(text: str) -> list[tuple[int, str, str | None]]:
    """The ``python`` blocks of a page: line number of the first line, source, reason to skip it or None."""
    found = []
    lines = text.splitlines()
    number = 0
    skip = None
    while number < len(lines):
        line = lines[number]
        number += 1
        comment = _SKIP.fullmatch(line.strip())
        if comment:
            skip = comment["reason"]
            continue
        fence = _FENCE.match(line)
        if fence and fence["ticks"][0] == "`":
            start = number
            while number < len(lines) and lines[number].strip() != fence["ticks"]:
                number += 1
            body = [text[len(fence["indent"]) :] for text in lines[start:number]]
            number += 1
            if fence["info"].strip() == "python":
                found.append((start + 1, "\n".join(body) + "\n", skip))
        if line.strip():
            skip = None
    return found


def page_id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_python_blocks_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Top to bottom in one namespace, in an empty directory; a traceback names the line of the page."""
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "page"}
    for line, source, skip in blocks(path.read_text(encoding="utf-8")):
        if skip is None:
            exec(compile("\n" * (line - 1) + source, str(path), "exec"), namespace)


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_relative_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        assert (path.parent / target).exists(), f"{page_id(path)} links to {target}"


def test_blocks_are_found() -> None:
    page = "a\n```python\nx = 1\n```\n<!-- skip: no network -->\n```python\ny\n```\n```sh\nz\n```\n"
    page += "1. item\n   ```python\n   if x:\n       y = 2\n   ```\n"
    assert blocks(page) == [(3, "x = 1\n", None), (7, "y\n", "no network"), (14, "if x:\n    y = 2\n", None)]


def _run(page: str) -> dict[str, Any]:
    """What a page of the manual defines."""
    namespace: dict[str, Any] = {"__name__": "page"}
    path = ROOT / "docs" / page
    for _, source, skip in blocks(path.read_text(encoding="utf-8")):
        if skip is None:
            exec(compile(source, str(path), "exec"), namespace)
    return namespace


def _serve(app: Application) -> tuple[HTTPServer, int]:
    server = HTTPServer(app)
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    return server, sockets[0].getsockname()[1]


async def test_the_tutorial_counts_visitors_and_lets_them_talk() -> None:
    namespace = _run("tutorial.md")
    server, port = _serve(namespace["app"])

    async def visit() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /visitors HTTP/1.1\r\nHost: tutorial\r\n\r\n")
        return reader, writer

    reader, writer = await visit()
    stream = await reader.readuntil(b'"data": {"here": 1}}\n\n')
    assert stream.index(b"retry: 2000\n") < stream.index(b'"joined": true') < stream.index(b'"here": 1')
    _, other = await visit()
    await reader.readuntil(b'"data": {"here": 2}}\n\n')
    other.close()
    await reader.readuntil(b'"data": {"here": 1}}\n\n')
    async with await websocket_connect(f"ws://127.0.0.1:{port}/chat") as chat:
        assert '"joined": true' in str(await chat.read_message())
        await chat.write_message("hello")
        assert '"data": "hello"' in str(await chat.read_message())
    writer.close()
    await server.drain(timeout=2)
    await namespace["app"].broker.close()


async def test_what_is_published_in_a_thread_reaches_a_program_that_polls() -> None:
    class Poll(LongPollHandler):
        def open(self) -> None:
            self.subscribe("prices")

    namespace = _run("howto/live-updates.md")
    app = namespace["app"]
    app.add_handlers(".*", [("/poll", Poll)])
    server, port = _serve(app)
    messages = namespace["messages"](f"http://127.0.0.1:{port}/poll")
    first = asyncio.ensure_future(asyncio.to_thread(next, messages))
    while not app.live:  # the first poll, which has given it a cursor, is over
        await asyncio.sleep(0.01)
    loop = asyncio.get_running_loop()
    identifier = await asyncio.to_thread(namespace["from_a_thread"], loop, 7)
    assert await first == {"channel": "prices", "id": identifier, "data": {"price": 7}}
    await namespace["tick"]()
    assert "time" in (await asyncio.to_thread(next, messages))["data"]
    await server.drain(timeout=2)
    await app.broker.close()


def test_names_that_are_said_to_be_missing_are() -> None:
    page = (ROOT / "docs/coming-from-tornado.md").read_text(encoding="utf-8")
    listed = page.partition("## What is not there")[2].partition("\n## ")[0]
    names = re.findall(
        r"`(\w+)(?:\.(\w+))?`", "\n".join(row.split("|")[1] for row in listed.splitlines() if "|" in row)
    )
    dotted = [(module, name) for module, name in names if name]
    assert ("gen", "engine") in dotted
    for module, name in dotted:
        assert not hasattr(importlib.import_module(f"webfw.{module}"), name)
    assert [name for name, after in names if not after and importlib.util.find_spec(f"webfw.{name}")] == []
