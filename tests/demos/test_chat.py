"""The chat as programs meet it: pages, the three doors, and what they refuse; people meet it in tests/browser."""

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect

from demos.chat.application import LARGEST_MESSAGE, LONGEST_TEXT, one_line, said

ROOT = Path(__file__).resolve().parents[2]


class Site:
    """One visitor with a cookie jar."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(CookieJar())
        )

    def fetch(self, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str, str, str]:
        """Status, Content-Security-Policy, final URL and text of an answer."""
        request = urllib.request.Request(self.url + path, body, headers)
        try:
            with self.opener.open(request, timeout=20) as answer:
                policy = answer.headers["Content-Security-Policy"] or ""
                return answer.status, policy, answer.url, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers["Content-Security-Policy"] or "", "", error.read().decode()

    def token(self) -> str:
        found = re.search(r'name="_xsrf" value="([^"]+)"', self.fetch("/rooms/lobby")[3])
        assert found
        return found[1]

    def say(self, room: str, name: str, message: Any, **headers: str) -> int:
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        query = urllib.parse.urlencode({"name": name})
        headers = headers or {"X-XSRFToken": self.token()}
        return self.fetch(
            f"/rooms/{room}/say?{query}", body, **{"Content-Type": "application/json", **headers}
        )[0]

    def poll(self, room: str, since: str = "") -> tuple[list[dict[str, Any]], str]:
        """What is said in a room after a cursor, and the new cursor."""
        query = urllib.parse.urlencode({"name": "Poll", "since": since, "wait": "0"})
        answer = json.loads(self.fetch(f"/rooms/{room}/poll?{query}")[3])
        channel = f"room:{room}"
        return [m["data"] for m in answer["messages"] if m["channel"] == channel], answer["cursor"]

    def socket(self, room: str, name: str) -> Any:
        query = urllib.parse.urlencode({"name": name})
        return connect(
            self.url.replace("http", "ws") + f"/rooms/{room}/socket?{query}", origin=self.url, proxy=None
        )


@pytest.fixture(scope="module")
def url(webfw_module_command: Callable[..., Any]) -> str:
    return webfw_module_command(
        "serve", "demos.chat:app", "--app-dir", str(ROOT), "--bind", "127.0.0.1:0", "--log-level", "error"
    ).url()


@pytest.fixture
def site(url: str) -> Site:
    return Site(url)


# --- what a message may be ---


def test_message_is_stamped_with_name_and_time() -> None:
    made = said("Ada", '{"text": "  hello\\r\\nyou \\u0007", "key": "k", "name": "Mallory"}')
    assert 1.6e12 < made.pop("time") < 1e14
    assert made == {"name": "Ada", "text": "hello\nyou", "key": "k"}
    longest = json.dumps({"text": "\U0001f600" * LONGEST_TEXT, "key": "k" * 40})
    assert said("Ada", longest)["text"] == "\U0001f600" * LONGEST_TEXT


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no JSON",
        b"\xff",
        b"[]",
        b"null",
        b"{}",
        b'{"text": "x"}',
        b'{"key": "x"}',
        b'{"text": 1, "key": "x"}',
        b'{"text": "x", "key": 1}',
        b'{"text": "x", "key": ""}',
        b'{"text": "x", "key": "\\ud800"}',
        b'{"text": "\\ud800", "key": "x"}',
        b'{"text": "\\u200d", "key": "x"}',
        b'{"text": " \\u0000\\u202e ", "key": "x"}',
        json.dumps({"text": "x", "key": "k" * 41}).encode(),
        json.dumps({"text": "x" * (LONGEST_TEXT + 1), "key": "k"}).encode(),
        b'{"text": "x", "key": "k", "more": "' + b"x" * LARGEST_MESSAGE + b'"}',
        b"[" * 20_000,
    ],
)
def test_what_is_no_message(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        said("Ada", body)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("Ada", "Ada"),
        ("  Ada \t\n Lovelace\u2028", "Ada Lovelace"),
        ("\u202eadA\x00\x1b[31m", "adA[31m"),
        ("\u200b\u2066 ", ""),
        ("👩\u200d💻", "👩\u200d💻"),
        ("\u200d", ""),
        ("x" * 40, "x" * 32),
        ("<b>&amp;", "<b>&amp;"),
    ],
)
def test_names_are_one_line(given: str, kept: str) -> None:
    assert one_line(given, 32) == kept


# --- pages ---


@pytest.mark.parametrize("path", ["/", "/rooms/lobby", "/rooms/a", "/rooms/a-room-of-our-own", "/rooms/7"])
def test_pages(site: Site, path: str) -> None:
    status, policy, _, page = site.fetch(path)
    assert status == 200
    assert policy.startswith("default-src 'self';")
    # Nothing in them needs more than that.
    assert re.findall(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=|javascript:|https?://", page) == []
    for link in re.findall(r'(?:href|src)="(/(?:static|webfw)/[^"]+)"', page):
        assert site.fetch(link)[0] == 200


@pytest.mark.parametrize(
    "path", ["/rooms/", "/rooms/A", "/rooms/-a", "/rooms/a-", "/rooms/a%20b", "/rooms/" + "a" * 41, "/none"]
)
def test_what_is_no_room_has_a_page_too(site: Site, path: str) -> None:
    status, policy, _, page = site.fetch(path)
    assert (status, policy[:18]) == (404, "default-src 'self'")
    assert "All rooms" in page


@pytest.mark.parametrize(
    ("typed", "path"),
    [
        ("lobby", "/rooms/lobby"),
        ("  Our Room! ", "/rooms/our-room"),
        ("Größe & Maß", "/rooms/groe-ma"),
        ("<script>", "/rooms/script"),
        ("../../x", "/rooms/x"),
        ("x" * 39 + " yz", "/rooms/" + "x" * 39),
        ("!!!", "/"),
        ("", "/"),
    ],
)
def test_any_words_make_a_room(site: Site, typed: str, path: str) -> None:
    status, _, url, _ = site.fetch("/enter?" + urllib.parse.urlencode({"room": typed}))
    assert (status, url.removeprefix(site.url)) == (200, path)


# --- doors ---


def test_what_is_said_is_heard_and_remembered(site: Site) -> None:
    """By POST and by WebSocket, in one order, by those who are there and those who come later."""
    with site.socket("all", "Grace") as socket:
        assert site.say("all", "Ada", {"text": "by POST", "key": "1"}) == 204
        socket.send(json.dumps({"text": "by WebSocket", "key": "2"}))
        heard: list[dict[str, Any]] = []
        people: list[str] = []
        while len(heard) < 2 or people != ["Grace"]:
            envelope = json.loads(socket.recv(timeout=20))
            if envelope.get("joined"):
                continue
            if envelope["channel"] == "people:all":
                people = envelope["data"]
            else:
                heard.append(envelope["data"])
    assert [(one["name"], one["text"]) for one in heard] == [("Ada", "by POST"), ("Grace", "by WebSocket")]
    messages, cursor = site.poll("all")
    assert messages == heard
    assert site.poll("all", cursor)[0] == []
    assert site.poll("other")[0] == []


@pytest.mark.slow
def test_newcomers_get_the_last_fifty(site: Site) -> None:
    with site.socket("long", "Grace") as socket:
        for number in range(60):
            socket.send(json.dumps({"text": str(number), "key": str(number)}))
        seen = 0
        while seen < 60:
            seen += "data" in (one := json.loads(socket.recv(timeout=20))) and one["channel"] == "room:long"
    assert [one["text"] for one in site.poll("long")[0]] == [str(number) for number in range(10, 60)]


@pytest.mark.parametrize("door", ["socket", "events", "poll", "say"])
@pytest.mark.parametrize("query", ["", "?name=", "?name=%20%00"])
def test_nobody_without_a_name(site: Site, door: str, query: str) -> None:
    if door == "socket":
        with pytest.raises(InvalidStatus) as refused:
            connect(site.url.replace("http", "ws") + f"/rooms/lobby/socket{query}", proxy=None)
        assert refused.value.response.status_code == 400
    elif door == "say":
        assert site.fetch(f"/rooms/lobby/say{query}", b"{}", **{"X-XSRFToken": site.token()})[0] == 400
    else:
        assert site.fetch(f"/rooms/lobby/{door}{query}")[0] == 400


def test_messages_of_other_sites_are_refused(site: Site) -> None:
    assert site.say("forged", "Mallory", {"text": "x", "key": "k"}, Origin="https://evil.example") == 403
    with pytest.raises(InvalidStatus) as refused:
        connect(
            site.url.replace("http", "ws") + "/rooms/forged/socket?name=M",
            origin="https://evil.example",  # type: ignore[arg-type]
            proxy=None,
        )
    assert refused.value.response.status_code == 403
    assert site.poll("forged")[0] == []


def test_what_is_no_message_is_refused(site: Site) -> None:
    assert site.say("bad", "Mallory", b"no JSON") == 400
    assert site.say("bad", "Mallory", {"text": " ", "key": "k"}) == 400
    with site.socket("bad", "Mallory") as socket:
        socket.send("no JSON")
        with pytest.raises(ConnectionClosedError):
            list(socket)
        assert socket.close_code == 1008
    assert site.poll("bad")[0] == []


@pytest.mark.slow
def test_who_has_left_is_gone_from_the_list(site: Site) -> None:
    with site.socket("few", "Ada") as ada:
        with site.socket("few", "Grace"):
            people: list[list[str]] = []
            wait_for(ada, "people:few", ["Ada", "Grace"], people)
        wait_for(ada, "people:few", ["Ada"], people)
    page = site.fetch("/")[3]
    assert "nobody yet" in page


def wait_for(socket: Any, channel: str, wanted: Any, heard: list[Any]) -> None:
    while wanted not in heard[-1:]:
        envelope = json.loads(socket.recv(timeout=20))
        if envelope["channel"] == channel and "data" in envelope:
            heard.append(envelope["data"])
