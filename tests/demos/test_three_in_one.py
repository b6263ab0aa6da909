"""A native chat, Flask and FastAPI on one port, as programs meet them; the chat hears of all three."""

import json
import os
import re
import secrets
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.wsgi.real.site import Visitor

pytest.importorskip("flask")
pytest.importorskip("fastapi")

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def url(webfw_module_command: Callable[..., Any]) -> str:
    command = webfw_module_command(
        *("serve", "demos.three_in_one:app", "--app-dir", str(ROOT)),
        *("--bind", "127.0.0.1:0", "--log-level", "error"),
    )
    return str(command.url()).rstrip("/")


@pytest.fixture
def visitor(url: str) -> Iterator[Visitor]:
    with Visitor(int(url.rpartition(":")[2])) as visitor:
        yield visitor


class Chat:
    """The chat of one page, from its last message on."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        marker = secrets.token_hex(8)
        self.say("marker", marker)
        while self.hear()[2] != marker:
            pass

    def say(self, name: Any, text: Any) -> None:
        self.socket.send(json.dumps({"name": name, "text": text, "key": "k"}))

    def hear(self) -> tuple[str, str, str]:
        while "data" not in (envelope := json.loads(self.socket.recv(20))):
            pass
        said = envelope["data"]
        return said["source"], said["name"], said["text"]


@pytest.fixture
def chat(url: str) -> Iterator[Chat]:
    with connect(f"{url.replace('http', 'ws')}/chat?page=test", origin=url, proxy=None) as socket:
        yield Chat(socket)


def test_the_page(visitor: Visitor) -> None:
    home = visitor.get("/")
    assert home.headers["Content-Security-Policy"].startswith("default-src 'self';")
    assert re.findall(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=|https?://", home.text) == []
    links = re.findall(r'(?:href|src|data-url)="(/[^"]+)"', home.text)
    assert len(links) >= 8
    for link in links:
        assert visitor.get(link).status == (405 if link == "/api/roll" else 200)
    missing = visitor.get("/none")
    assert (missing.status, "To the game night" in missing.text) == (404, True)


def test_the_chat(chat: Chat, url: str) -> None:
    chat.say(" Ada\n", "<b>Größe</b>\u202e  x")
    assert chat.hear() == ("native", "Ada", "<b>Größe</b> x")
    chat.say("Ada", "x" * 1000)
    assert chat.hear() == ("native", "Ada", "x" * 400)
    chat.say("Ada", " ")  # nothing to be told
    chat.say("Ada", "after it")
    assert chat.hear()[2] == "after it"
    with (
        pytest.raises(InvalidStatus),
        connect(url.replace("http", "ws") + "/chat", origin="http://evil", proxy=None),
    ):
        pass


@pytest.mark.parametrize(
    "message", ["{", "[]", '"x"', '{"name": 1, "text": "a", "key": "k"}', b"\xff", "[" * 5000]
)
def test_what_is_no_message(chat: Chat, message: str | bytes) -> None:
    chat.socket.send(message)
    with pytest.raises(ConnectionClosed):
        chat.hear()
    assert (chat.socket.close_code, chat.socket.close_reason) == (1008, "no message")


def test_a_vote(chat: Chat, visitor: Visitor, url: str) -> None:
    before = votes(visitor.get("/vote/ballot").text)
    answer = visitor.post("/vote/ballot", {"game": "pig", "name": "<Ada>"})
    assert chat.hear() == ("flask", "<Ada>", "votes for Pig")
    assert votes(answer.text) == {**before, "pig": before["pig"] + 1}
    assert re.findall(r'value="(\w+)" aria-pressed="true"', answer.text) == ["pig"]
    # Another one takes its place, without a script too; the same again is none.
    answer = visitor.post("/vote/", {"game": "yacht"})
    assert (answer.status, answer.headers["Location"]) == (303, "/vote/")
    assert chat.hear() == ("flask", "Somebody", "votes for Yacht")
    visitor.post("/vote/ballot", {"game": "yacht"})
    page = visitor.get("/vote/").text
    assert votes(page) == {**before, "yacht": before["yacht"] + 1}
    assert "mounted at /vote" in page
    chat.say("Ada", "nothing between")
    assert chat.hear()[2] == "nothing between"


def votes(html: str) -> dict[str, int]:
    found = re.findall(r'value="([\w-]+)" aria-pressed.*?<b>(\d+)</b>', html, re.DOTALL)
    return {game: int(count) for game, count in found}


def test_no_vote(visitor: Visitor) -> None:
    unknown = visitor.post("/vote/ballot", {"game": "chess"})
    assert (unknown.status, unknown.text) == (400, "There is no such game to vote for.")
    forged = visitor.post("/vote/ballot", {"game": "pig"}, Sec_Fetch_Site="cross-site")
    assert (forged.status, forged.text) == (403, "This vote comes from another site.")


def test_dice(chat: Chat, visitor: Visitor) -> None:
    rolled = visitor.post_json("/api/roll", {"name": " Ada ", "count": 3, "sides": 2}).json
    assert len(rolled["dice"]) == 3
    assert set(rolled["dice"]) <= {1, 2}
    assert rolled["total"] == sum(rolled["dice"])
    eyes = " + ".join(map(str, rolled["dice"]))
    assert chat.hear() == ("fastapi", "Ada", f"rolls 3 d2: {eyes} = {rolled['total']}")
    one = visitor.post_json("/api/roll", {"count": 1}).json
    assert chat.hear() == ("fastapi", "Somebody", f"rolls 1 d6: {one['total']}")
    for wrong in ({"count": 11}, {"count": "many"}, {"sides": 1}):
        answer = visitor.post_json("/api/roll", wrong)
        assert (answer.status, answer.json["detail"][0]["loc"]) == (422, ["body", *wrong])


def test_live_numbers(chat: Chat, visitor: Visitor) -> None:
    first, second = (visitor.get("/api/numbers").json for _ in range(2))
    assert second["uptime"] >= first["uptime"] >= 0
    assert second["requests"] == {**first["requests"], "fastapi": first["requests"]["fastapi"] + 1}
    assert first["lag"] >= 0
    assert first["people"] >= 1
    chat.say("Ada", "one more")
    chat.hear()
    assert visitor.get("/api/numbers").json["messages"] == first["messages"] + 1
    described = visitor.get("/api/openapi.json").json
    assert (described["servers"], set(described["paths"])) == ([{"url": "/api"}], {"/roll", "/numbers"})


@pytest.mark.parametrize("missing", ["flask", "fastapi"])
def test_says_what_is_missing(missing: str, tmp_path: Path) -> None:
    arguments = ["serve", "demos.three_in_one:app", "--app-dir", str(ROOT), "--bind", "127.0.0.1:0"]
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
    python = shlex.quote(sys.executable)
    assert f"{missing} is not installed: {python} -m pip install flask fastapi" in line
