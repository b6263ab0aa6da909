"""Native handlers, Flask and Django on one port, as programs meet them; the live page hears of all three."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.wsgi.real.site import Visitor

pytest.importorskip("flask")
pytest.importorskip("django")

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def url(webfw_module_command: Callable[..., Any]) -> str:
    command = webfw_module_command(
        *("serve", "demos.legacy:app", "--app-dir", str(ROOT)),
        *("--bind", "127.0.0.1:0", "--log-level", "error"),
    )
    return command.url().rstrip("/")


@pytest.fixture
def visitor(url: str) -> Iterator[Visitor]:
    with Visitor(int(url.rpartition(":")[2])) as visitor:
        yield visitor


class LivePage:
    """What the page hears over its WebSocket."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.until(lambda envelope: envelope.get("joined") and envelope["channel"] == "ticks")

    def until(self, wanted: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        while not wanted(envelope := json.loads(self.socket.recv(20))):
            pass
        return envelope

    def news(self) -> tuple[str, str]:
        envelope = self.until(lambda envelope: envelope["channel"] == "news" and "data" in envelope)
        return envelope["data"]["source"], envelope["data"]["text"]


@pytest.fixture
def page(url: str) -> Iterator[LivePage]:
    with connect(url.replace("http", "ws") + "/live", origin=url, proxy=None) as socket:
        yield LivePage(socket)


def token(text: str) -> str:
    found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', text)
    assert found
    return found[1]


def hear_only_new(page: LivePage, visitor: Visitor, marker: str) -> None:
    """Skip what was told before this test."""
    visitor.post("/flask/sign", {"name": "marker", "text": marker})
    while page.news() != ("flask", f"marker: {marker}"):
        pass


def test_native_pages(visitor: Visitor) -> None:
    home = visitor.get("/")
    assert home.headers["Content-Security-Policy"].startswith("default-src 'self';")
    assert re.findall(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=|https?://", home.text) == []
    links = re.findall(r'(?:href|src)="(/[^"]+)"', home.text)
    assert len(links) >= 7
    for link in links:
        assert visitor.get(link).status == (302 if "admin" in link else 200)
    missing = visitor.get("/none")
    assert (missing.status, "To the live page" in missing.text) == (404, True)


def test_flask_tells_the_page(page: LivePage, visitor: Visitor) -> None:
    hear_only_new(page, visitor, "flask begins")
    signed = visitor.post("/flask/sign", {"name": "Ada", "text": "<b>Größe</b>"})
    assert (signed.status, signed.headers["Location"]) == (303, "/flask/")
    assert page.news() == ("flask", "Ada: <b>Größe</b>")
    book = visitor.get("/flask/").text
    assert "<b>Ada</b> &lt;b&gt;Größe&lt;/b&gt;" in book
    assert 'value="Ada"' in book
    by_script = visitor.post("/flask/sign", {"name": "Ada", "text": "again"}, Accept="application/json")
    assert by_script.json == {"signed": True}
    assert visitor.post("/flask/sign", {"name": " ", "text": "x"}).status == 400
    assert page.news() == ("flask", "Ada: again")
    assert "Mounted" not in book
    assert "mounted at /flask" in book


def test_django_tells_the_page(page: LivePage, visitor: Visitor) -> None:
    hear_only_new(page, visitor, "django begins")
    given = token(visitor.get("/django/").text)
    answer = visitor.post("/django/", {"text": "a <i>note</i>", "csrfmiddlewaretoken": given})
    assert (answer.status, answer.headers["Location"]) == (302, "/django/")
    assert page.news() == ("django", "New note: a <i>note</i>")
    assert "a &lt;i&gt;note&lt;/i&gt;" in visitor.get("/django/").text
    assert visitor.post("/django/", {"text": "forged"}).status == 403


def test_the_admin_tells_the_page(page: LivePage, visitor: Visitor) -> None:
    hear_only_new(page, visitor, "admin begins")
    login = visitor.get("/django/admin/login/")
    for link in re.findall(r'(?:href|src)="(/django/static/[^"]+)"', login.text):
        assert visitor.get(link).status == 200
    fields = {"username": "demo", "password": "demo", "next": "/django/admin/"}
    answer = visitor.post("/django/admin/login/", {**fields, "csrfmiddlewaretoken": token(login.text)})
    assert answer.headers["Location"] == "/django/admin/"
    add = "/django/admin/notes/note/add/"
    given = token(visitor.get(add).text)
    answer = visitor.post(add, {"text": "from the admin", "csrfmiddlewaretoken": given})
    assert answer.headers["Location"] == "/django/admin/notes/note/"
    assert page.news() == ("django", "New note: from the admin")


@pytest.mark.slow
def test_ticks_go_on_while_flask_is_blocked(page: LivePage, url: str) -> None:
    port = int(url.rpartition(":")[2])

    def slow(n: int) -> int:
        with Visitor(port) as visitor:
            return visitor.get(f"/flask/slow?{n}").status

    with ThreadPoolExecutor(4) as pool:
        begin = time.monotonic()
        waiting = [pool.submit(slow, n) for n in range(4)]
        ticks = []
        while not all(future.done() for future in waiting):
            ticks.append(page.until(lambda envelope: envelope["channel"] == "ticks")["data"]["time"])
            # Django and the native handlers are not in their way.
            with Visitor(port) as visitor:
                assert visitor.get("/django/").status == 200
        assert {future.result() for future in waiting} == {200}
    assert time.monotonic() - begin < 4, "the four slept at the same time"
    assert len(ticks) >= 6
    assert max(b - a for a, b in pairwise(ticks)) < 1000


@pytest.mark.parametrize("missing", ["flask", "django"])
def test_says_what_is_missing(missing: str, tmp_path: Path) -> None:
    arguments = ["serve", "demos.legacy:app", "--app-dir", str(ROOT), "--bind", "127.0.0.1:0"]
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        f"from webfw.cli.main import main; sys.exit(main({arguments!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    # The Python that runs the demo is the one that needs them.
    assert f"{missing} is not installed: {shlex.quote(sys.executable)} -m pip install flask django" in line
