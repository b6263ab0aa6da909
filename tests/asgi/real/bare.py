"""A bare ASGI application for comparing servers: what it does is the first segment of the path."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

START = "http.response.start"
BODY = "http.response.body"
TEXT = (b"content-type", b"text/plain")


async def read(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return body
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": START, "status": status, "headers": list(headers)}


def part(body: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": BODY, "body": body, "more_body": more}


#: What is sent for a path, without a look at the body.
SENT: dict[str, list[dict[str, Any]]] = {
    "plain": [start(200, TEXT, (b"content-length", b"5")), part(b"plain")],
    "nolength": [start(200, TEXT), part(b"nolength")],
    "parts": [start(200, TEXT), part(b"one ", True), part(b"", True), part(b"two ", True), part(b"three")],
    "lastempty": [start(200, TEXT), part(b"one", True), part(b"")],
    "lengthparts": [start(200, (b"content-length", b"6")), part(b"one", True), part(b"two")],
    "empty": [start(200), part(b"")],
    "emptylength": [start(200, (b"content-length", b"0")), part(b"")],
    "defaults": [{"type": START, "status": 200}, {"type": BODY}],
    "tuples": [{"type": START, "status": 200, "headers": ((b"x-a", b"1"), [b"x-b", b"2"])}, part(b"x")],
    "repeated": [
        start(200, (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"x-a", b"1"), (b"x-a", b"2")),
        part(b""),
    ],
    "upper": [start(200, (b"X-Upper", b"Value"), (b"Content-Length", b"1")), part(b"x")],
    "latin": [start(200, (b"x-latin", b"caf\xe9"), (b"x-empty", b"")), part(b"x")],
    "chunked": [start(200, (b"transfer-encoding", b"chunked")), part(b"one", True), part(b"two")],
    "closing": [start(200, (b"connection", b"close"), (b"content-length", b"1")), part(b"x")],
    "own": [start(200, (b"server", b"mine"), (b"date", b"Thu, 01 Jan 1970 00:00:00 GMT")), part(b"x")],
    "teapot": [start(418), part(b"short")],
    "odd": [start(299), part(b"odd")],
    "s204": [start(204), part(b"")],
    "s304": [start(304, (b"etag", b'"a"')), part(b"")],
    "s404": [start(404, TEXT), part(b"not here")],
    "s500": [start(500, TEXT), part(b"by the application")],
    "big": [start(200), *[part(b"x" * 65536, True) for _ in range(20)], part(b"end")],
    # Mistakes.
    "b204": [start(204), part(b"body")],
    "nothing": [],
    "startonly": [start(200, (b"content-length", b"5"))],
    "unfinished": [start(200), part(b"begun", True)],
    "unfinishedlength": [start(200, (b"content-length", b"9")), part(b"begun", True)],
    "short": [start(200, (b"content-length", b"9")), part(b"short")],
    "long": [start(200, (b"content-length", b"3")), part(b"long")],
    "bodyfirst": [part(b"body")],
    "twice": [start(200), start(200), part(b"x")],
    "unknown": [{"type": "http.response.unknown"}],
    "unknownlate": [start(200, (b"content-length", b"1")), {"type": "http.response.unknown"}, part(b"x")],
    "after": [start(200, (b"content-length", b"1")), part(b"x"), part(b"more")],
    "injected": [start(200, (b"x-a", b"1\r\nx-b: 2")), part(b"x")],
    "badname": [start(200, (b"x a", b"1")), part(b"x")],
}


ACCEPT = "websocket.accept"
CLOSE = "websocket.close"
DENY = {"type": "websocket.http.response.start", "status": 401, "headers": [TEXT]}


def say(**content: Any) -> dict[str, Any]:
    return {"type": "websocket.send", **content}


def denial(body: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "websocket.http.response.body", "body": body, "more_body": more}


#: What is sent over a WebSocket before its messages are sent back.
SAID: dict[str, list[dict[str, Any]]] = {
    "echo": [{"type": ACCEPT}],
    "none": [{"type": ACCEPT, "subprotocol": None, "headers": []}],
    "subprotocol": [{"type": ACCEPT, "subprotocol": "b"}],
    "headers": [{"type": ACCEPT, "headers": [(b"x-a", b"1"), (b"x-a", b"2"), (b"set-cookie", b"a=1")]}],
    "text": [{"type": ACCEPT}, say(text="gr\xf6\xdfer"), say(text="")],
    "bytes": [{"type": ACCEPT}, say(bytes=b"\0\xff"), say(bytes=b"")],
    "textnone": [{"type": ACCEPT}, say(text=None, bytes=b"a"), say(text="a", bytes=None)],
    "big": [{"type": ACCEPT}, say(text="x" * 200_000)],
    "close": [{"type": ACCEPT}, {"type": CLOSE}],
    "closecode": [{"type": ACCEPT}, {"type": CLOSE, "code": 4321, "reason": "gr\xf6\xdfer"}],
    "closenone": [{"type": ACCEPT}, {"type": CLOSE, "code": 1001, "reason": None}],
    "deny": [{"type": CLOSE}],
    "denycode": [{"type": CLOSE, "code": 4000, "reason": "no"}],
    "denybody": [DENY, denial(b"who ", True), denial(b"are you?")],
    # Mistakes.
    "subprotocolother": [{"type": ACCEPT, "subprotocol": "other"}],
    "early": [say(text="a")],
    "twice": [{"type": ACCEPT}, {"type": ACCEPT}],
    "unknown": [{"type": "websocket.unknown"}],
    "unknownlate": [{"type": ACCEPT}, {"type": "websocket.unknown"}],
    "nothing": [{"type": ACCEPT}, say(), say(text="after it")],
    "late": [{"type": ACCEPT}, {"type": CLOSE}, say(text="late")],
    "closetwice": [{"type": ACCEPT}, {"type": CLOSE}, {"type": CLOSE}],
    "denylate": [{"type": ACCEPT}, DENY],
    "reserved": [{"type": ACCEPT}, {"type": CLOSE, "code": 1005}],
    "outofrange": [{"type": ACCEPT}, {"type": CLOSE, "code": 70000}],
    "longreason": [{"type": ACCEPT}, {"type": CLOSE, "code": 1000, "reason": "x" * 124}],
}


async def talk(name: str, receive: Receive, send: Send) -> None:
    await receive()
    if name == "raises":
        raise RuntimeError("before accept")
    if name == "returns":
        return
    for message in SAID[name]:
        await send(message)
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            break
        await send(say(**{key: message[key] for key in ("text", "bytes") if message.get(key) is not None}))


async def app(scope: Any, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    if scope["type"] == "websocket":
        await talk(scope["path"].strip("/"), receive, send)
        return
    name = scope["path"].lstrip("/").partition("/")[0]
    if name in SENT:
        for message in SENT[name]:
            await send(message)
    elif name == "raises":
        raise RuntimeError("before")
    elif name == "raiseslate":
        await send(start(200, (b"content-length", b"9")))
        await send(part(b"begun", True))
        raise RuntimeError("in the middle")
    elif name == "raisesdone":
        await send(start(200, (b"content-length", b"1")))
        await send(part(b"x"))
        raise RuntimeError("after the end")
    elif name == "told":
        # RFC-wise it is over: what is received after the end of the response.
        await read(receive)
        await send(start(200, (b"content-length", b"1")))
        await send(part(b"x"))
        await receive()
        await receive()
    else:
        body = json.dumps({"body": (await read(receive)).decode("latin-1")}).encode()
        await send(start(200, (b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))))
        await send(part(body))


async def lifespan(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
