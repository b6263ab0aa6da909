"""WebSockets of a Starlette application: text, bytes, JSON, subprotocols, codes both ways, denials, big messages."""

import json
import random
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

pytest.importorskip("starlette")

from tests.asgi.real.site import Site, wait_for
from tests.asgi.real.starletteapp import make_app

BIG = random.Random(9).randbytes(1_000_000)

Logged = Callable[[str], AbstractContextManager[Any]]


@pytest.fixture(scope="module")
def events(kind: str) -> list[str]:
    return []


@pytest.fixture(scope="module")
def site(sites: Callable[..., Site], tmp_path_factory: pytest.TempPathFactory, events: list[str]) -> Site:
    directory: Path = tmp_path_factory.mktemp("starlette")
    (directory / "static").mkdir()
    return sites(make_app(directory, events), websocket_compression={})


def heard(site: Site, path: str) -> list[str]:
    return site.recorder.last(path).heard()


# --- messages ---


def test_text_and_bytes(site: Site, events: list[str]) -> None:
    with site.socket("/ws/echo") as socket:
        for message in ("Größe", "", b"\x00\xff", b"", "x" * 70_000, BIG):
            socket.send(message)
            assert socket.recv(15) == message
        socket.ping().wait(15)
    assert heard(site, "/ws/echo") == [
        "websocket.connect",
        *["websocket.receive"] * 6,
        "websocket.disconnect",
    ]
    for way, message in site.recorder.last("/ws/echo").messages:
        if way == "receive" and message["type"] == "websocket.receive":
            text, data = message.get("text"), message.get("bytes")
            assert (text is None) is not (data is None)
    assert "echo ended with 1000 -" in events


def test_fragments(site: Site) -> None:
    with site.socket("/ws/echo") as socket:
        socket.send(["Grö", "ß", "e"])
        assert socket.recv(15) == "Größe"
        socket.send(iter([b"a", b"", b"b"]))
        assert socket.recv(15) == b"ab"


def test_many_messages(site: Site) -> None:
    """More than fit into any buffer, while the client does not read."""
    count, size = 300, 20_000
    with site.socket("/ws/echo") as socket:
        sender = threading.Thread(target=lambda: [socket.send(f"{n:05}" * (size // 5)) for n in range(count)])
        sender.start()
        for n in range(count):
            assert socket.recv(15) == f"{n:05}" * (size // 5)
        sender.join()


def test_json_and_state(site: Site) -> None:
    with site.socket("/ws/objects") as socket:
        socket.send(json.dumps({"a": ["ä"]}))
        assert json.loads(socket.recv(15)) == {"got": {"a": ["ä"]}, "root": "hello"}
        socket.send("{")
        with pytest.raises(ConnectionClosed) as caught:
            socket.recv(15)
        assert caught.value.rcvd is not None
        assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (1007, "no JSON")


def test_both_sides_talk_at_once(site: Site, events: list[str]) -> None:
    with site.socket("/ws/talk") as socket:
        for n in range(5):
            socket.send(str(n))
        heard_back = 0
        ticks = 0
        while heard_back < 5 or ticks < 5:
            message = socket.recv(15)
            if message == f"heard {heard_back}":
                heard_back += 1
            else:
                assert message == f"tick {ticks}"
                ticks += 1
    wait_for(lambda: "talk ended" in events)


# --- the handshake ---


def test_subprotocol_and_headers(site: Site) -> None:
    offered = ["v1.chat", "v2.chat"]
    with site.socket(
        "/ws/negotiate?a=%20b", subprotocols=offered, additional_headers={"Cookie": "c=1"}
    ) as socket:
        assert socket.subprotocol == "v2.chat"
        assert socket.response is not None
        assert socket.response.headers["X-Room"] == "lobby"
        assert socket.response.headers["Set-Cookie"] == "a=1"
        assert json.loads(socket.recv(15)) == {"offered": offered, "cookies": {"c": "1"}, "query": "a=+b"}
    with site.socket("/ws/negotiate") as socket:
        assert socket.subprotocol is None
        assert json.loads(socket.recv(15))["offered"] == []


def test_the_scope(site: Site) -> None:
    with site.socket("/ws/echo?a=b", subprotocols=["x"]):
        pass
    scope = site.recorder.last("/ws/echo").scope
    assert (scope["type"], scope["scheme"], scope["query_string"]) == ("websocket", "ws", b"a=b")
    assert (scope["path"], scope["raw_path"], scope["root_path"]) == ("/ws/echo", b"/ws/echo", "")
    assert list(scope["subprotocols"]) == ["x"]
    assert "method" not in scope
    assert scope["extensions"] == {"websocket.http.response": {}}
    assert (b"upgrade", b"websocket") in [(name, value.lower()) for name, value in scope["headers"]]
    assert (scope["client"][0], tuple(scope["server"])) == ("127.0.0.1", ("127.0.0.1", site.port))


def test_compression(site: Site) -> None:
    with site.socket("/ws/echo", compression="deflate") as socket:
        assert socket.response is not None
        assert "permessage-deflate" in socket.response.headers["Sec-WebSocket-Extensions"]
        socket.send("abc" * 50_000)
        assert socket.recv(15) == "abc" * 50_000
    with site.socket("/ws/echo", compression=None) as socket:
        assert socket.response is not None
        assert "Sec-WebSocket-Extensions" not in socket.response.headers
        socket.send("abc")
        assert socket.recv(15) == "abc"


def test_compression_has_to_be_wanted(sites: Callable[..., Site], tmp_path: Path) -> None:
    (tmp_path / "static").mkdir()
    site = sites(make_app(tmp_path, []))
    with site.socket("/ws/echo", compression="deflate") as socket:
        assert socket.response is not None
        with site.differs("WebSockets are compressed only where `websocket_compression` says so"):
            assert "Sec-WebSocket-Extensions" not in socket.response.headers
    site.stop()


# --- denials ---


def denied(site: Site, path: str, **options: Any) -> Any:
    with pytest.raises(InvalidStatus) as caught, site.socket(path, **options):
        pass
    return caught.value.response


def test_denied(site: Site) -> None:
    assert denied(site, "/ws/deny").status_code == 403
    assert heard(site, "/ws/deny") == []
    assert denied(site, "/ws/none").status_code == 403


def test_denied_in_words(site: Site) -> None:
    response = denied(site, "/ws/members")
    assert (response.status_code, response.headers["X-Why"]) == (401, "members")
    assert json.loads(response.body) == {"error": "members only"}
    sent = [message["type"] for way, message in site.recorder.last("/ws/members").messages if way == "send"]
    assert sent == ["websocket.http.response.start", "websocket.http.response.body"]


def test_an_exception_before_accept(site: Site, logged: Logged) -> None:
    with logged("uncaught exception in the application"):
        assert denied(site, "/ws/broken").status_code == 500


def test_a_path_that_is_no_websocket(site: Site) -> None:
    with site.visitor() as visitor:
        assert visitor.get("/ws/echo").status == 404
    assert denied(site, "/said").status_code == 403


# --- the end ---


@pytest.mark.parametrize(
    ("path", "code", "reason"),
    [
        ("/ws/close/1000", 1000, ""),
        ("/ws/close/1001?reason=gr%C3%B6%C3%9Fer", 1001, "größer"),
        ("/ws/close/3000?reason=mine", 3000, "mine"),
        ("/ws/close/4999", 4999, ""),
    ],
)
def test_the_application_closes(site: Site, path: str, code: int, reason: str) -> None:
    with site.socket(path) as socket:
        with pytest.raises(ConnectionClosed):
            socket.recv(15)
        assert (socket.close_code, socket.close_reason) == (code, reason)
    assert site.recorder.last(path.partition("?")[0]).ended == "returned"


@pytest.mark.parametrize(("code", "reason"), [(1000, "done"), (1001, ""), (3123, "größer"), (4000, "")])
def test_the_client_closes(site: Site, events: list[str], code: int, reason: str) -> None:
    events.clear()
    with site.socket("/ws/echo") as socket:
        socket.send("one")
        assert socket.recv(15) == "one"
        socket.close(code, reason)
        assert socket.close_code == code  # it was echoed
    wait_for(lambda: events)
    assert events == [f"echo ended with {code} {reason or '-'}"]


def test_the_client_closes_without_a_word(site: Site, events: list[str]) -> None:
    events.clear()
    with site.socket("/ws/echo") as socket:
        # RFC 6455 section 5.5.1: a Close without a code; masked with zeros.
        socket.socket.sendall(b"\x88\x80\0\0\0\0")
        wait_for(lambda: events)
    assert events == ["echo ended with 1005 -"]


def test_the_client_vanishes(site: Site, events: list[str]) -> None:
    events.clear()
    with site.socket("/ws/echo") as socket:
        socket.send("one")
        assert socket.recv(15) == "one"
        socket.socket.shutdown(2)
        wait_for(lambda: events)
    with site.differs("a WebSocket whose client vanishes without a Close is told as 1006"):
        assert events == ["echo ended with 1006 -"]


def test_an_exception_after_accept(site: Site, logged: Logged) -> None:
    with logged("uncaught exception in the application"), site.socket("/ws/broken?late") as socket:
        socket.send("go")
        with pytest.raises(ConnectionClosed):
            socket.recv(15)
        with site.differs("a WebSocket whose application raises is closed with 1011"):
            assert socket.close_code == 1011
        assert site.recorder.last("/ws/broken").ended == "RuntimeError"


def test_the_application_returns(site: Site) -> None:
    with site.socket("/ws/leaves") as socket:
        assert socket.recv(15) == "bye"
        with pytest.raises(ConnectionClosed):
            socket.recv(15)
        with site.differs("a WebSocket whose application returns is closed with 1000"):
            assert socket.close_code == 1000


def test_bad_bytes(site: Site, events: list[str]) -> None:
    """RFC 6455 section 8.1: text that is no UTF-8 ends the connection."""
    events.clear()
    with site.socket("/ws/echo") as socket:
        socket.socket.sendall(b"\x81\x82\0\0\0\0\xc3\x28")
        with pytest.raises(ConnectionClosed):
            socket.recv(15)
        assert socket.close_code == 1007
    wait_for(lambda: events)
