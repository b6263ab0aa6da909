"""One bare ASGI application over WebSockets on webfw and on uvicorn; see `test_compared`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import ClientConnection

from tests.asgi.real import bare
from tests.asgi.real.differences import COMPARED_SOCKETS
from tests.asgi.real.site import SERVERS, Site, wait_for

pytestmark = pytest.mark.slow

Talk = Callable[[ClientConnection], None]

#: A frame from a client: a first byte, and a payload of less than 126 bytes.
Frame = tuple[int, bytes]


def frames(*sent: Frame) -> Talk:
    """Sends frames as bytes, masked with zeros; all at once, since the first may be answered by the end."""
    data = b"".join(bytes([first, 0x80 | len(payload)]) + b"\0\0\0\0" + payload for first, payload in sent)

    def talk(socket: ClientConnection) -> None:
        socket.socket.sendall(data)

    return talk


def wait(socket: ClientConnection) -> None:
    """The server is to end it."""


def close(socket: ClientConnection) -> None:
    socket.close(1000, "bye")


#: Applications of `bare` that end the WebSocket themselves.
ENDING = (
    *("close", "closecode", "closenone", "twice", "unknownlate", "late", "closetwice", "denylate"),
    *("reserved", "outofrange", "longreason"),
)
#: How many messages they send by themselves.
SENDING = {"text": 2, "bytes": 2, "textnone": 2, "big": 1, "nothing": 1}

#: What a client does: an application, what is sent to it, how many messages come back then, and how it ends.
CASES: dict[str, tuple[str, Talk, int, Talk]] = {
    **{
        f"said {name}": (name, wait, SENDING.get(name, 0), wait if name in ENDING else close)
        for name in bare.SAID
    },
    "raises": ("raises", wait, 0, close),
    "returns": ("returns", wait, 0, close),
    "frames text": ("echo", frames((0x81, "größer".encode())), 1, frames((0x88, b"\x03\xe8done"))),
    "frames bytes": ("echo", frames((0x82, b"\0\xff")), 1, frames((0x88, b"\x03\xe8"))),
    "frames empty": ("echo", frames((0x81, b""), (0x82, b"")), 2, frames((0x88, b"\x03\xe8"))),
    "frames fragments": ("echo", frames((0x01, b"a"), (0x89, b"ping"), (0x80, b"b")), 1, close),
    "frames no code": ("echo", wait, 0, frames((0x88, b""))),
    "frames own code": ("echo", wait, 0, frames((0x88, b"\x0f\xa1" + "größer".encode()))),
    "frames going away": ("echo", wait, 0, frames((0x88, b"\x03\xe9"))),
    "frames behind the close": ("echo", wait, 0, frames((0x88, b"\x03\xe8"), (0x81, b"late"))),
    "bad utf8": ("echo", wait, 0, frames((0x81, b"\xc3\x28"))),
    "bad reserved bit": ("echo", wait, 0, frames((0x91, b"a"))),
    "bad opcode": ("echo", wait, 0, frames((0x83, b"a"))),
    "bad continuation": ("echo", wait, 0, frames((0x80, b"a"))),
    "bad close code": ("echo", wait, 0, frames((0x88, b"\x03\xed"))),
    "bad close length": ("echo", wait, 0, frames((0x88, b"\x03"))),
    "bad fragmented ping": ("echo", wait, 0, frames((0x09, b"a"))),
}


def played(site: Site, name: str) -> dict[str, Any]:
    """What a client and the application see in a case."""
    path, talk, count, end = CASES[name]
    seen: dict[str, Any] = {}
    try:
        with site.socket(f"/{path}", subprotocols=["a", "b"], compression=None) as socket:  # type: ignore[list-item]
            assert socket.response is not None
            seen["status"] = 101
            seen["subprotocol"] = socket.subprotocol
            seen["headers"] = [
                (key.lower(), value)
                for key, value in socket.response.headers.raw_items()
                if key.lower() in ("x-a", "set-cookie", "sec-websocket-extensions")
            ]
            seen["messages"] = []
            try:
                talk(socket)
                for _ in range(count):
                    seen["messages"].append(socket.recv(15))
                end(socket)
                while True:
                    socket.recv(15)
            except ConnectionClosed:
                pass
            seen["code"] = socket.close_code
            # What a server says of a mistake is its own.
            seen["reason"] = socket.close_reason if not name.startswith("bad ") else None
    except InvalidStatus as refused:
        seen["status"] = refused.response.status_code
        if path == "denybody":
            seen["body"] = bytes(refused.response.body)
    except InvalidHandshake as error:
        seen["status"] = type(error).__name__
    site.settle()
    call = site.recorder.last(f"/{path}")
    scope = {**call.scope, "client": call.scope["client"][0], "server": call.scope["server"][0]}
    drop = (b"host", b"sec-websocket-key")
    scope["headers"] = [tuple(pair) for pair in scope["headers"] if pair[0] not in drop]
    scope["subprotocols"] = list(scope["subprotocols"])
    received = [message for way, message in call.messages if way == "receive"]
    seen["heard"] = [message["type"] for message in received]
    seen["received"] = [(m.get("text"), m.get("bytes")) for m in received if m["type"] == "websocket.receive"]
    last = received[-1]
    seen["told"] = (
        (last["code"], last.get("reason") or "") if last["type"] == "websocket.disconnect" else None
    )
    seen["ended"] = "returned" if call.ended == "returned" else "raised"
    seen.update({f"scope.{key}": value for key, value in scope.items()})
    return seen


@contextmanager
def served(kind: str) -> Iterator[Site]:
    site = Site(kind, bare.app)
    try:
        yield site
    finally:
        site.stop()


Results = dict[str, dict[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def both() -> Results:
    """What is seen in all cases on both servers."""
    found: Results = {}
    for kind in SERVERS:
        with served(kind) as site:
            found[kind] = {name: played(site, name) for name in CASES}
            wait_for(lambda site=site: all(call.ended for call in site.recorder.calls))
    return found


def aspects(both: Results, name: str) -> dict[str, tuple[Any, Any]]:
    ours, theirs = both["webfw"][name], both["uvicorn"][name]
    pairs = {key: (ours.get(key), theirs.get(key)) for key in ours.keys() | theirs.keys()}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def test_every_difference_is_listed(both: Results) -> None:
    complaints = []
    for name in CASES:
        rows = [row for rows in COMPARED_SOCKETS.values() for row in rows if fnmatchcase(name, row[0])]
        listed = set().union(*(which for _, which in rows))
        for aspect, (ours, theirs) in sorted(aspects(both, name).items()):
            if aspect not in listed:
                complaints.append(f"{name}: {aspect}\n  webfw:   {ours!r:.200}\n  uvicorn: {theirs!r:.200}")
    assert not complaints, "\n".join(complaints)


def test_every_row_explains_something(both: Results) -> None:
    stale = []
    for title, rows in COMPARED_SOCKETS.items():
        for pattern, which in rows:
            differ = {a for name in CASES if fnmatchcase(name, pattern) for a in aspects(both, name)}
            stale += [f"{title}: {pattern}: {aspect}" for aspect in sorted(which - differ)]
    assert stale == []
