"""WebSockets of a framework, played: ``sockets.py FRAMEWORK DIRECTORY`` prints what everybody saw, as JSON.

Each case has a server of its own in this process: what a raw client sees of it, and what its handler is told, are the
outcome; or what the framework's own client gives.
"""

import asyncio
import importlib
import inspect
import io
import json
import logging
import socket
import struct
import warnings
import zlib

from framework import NAME, fw

HTTPServer = importlib.import_module(f"{NAME}.httpserver").HTTPServer
httpclient = importlib.import_module(f"{NAME}.httpclient")
ws = importlib.import_module(f"{NAME}.websocket")

#: Seconds after which somebody is taken to be waiting for what does not come.
PATIENCE = 4.0
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
MASK = b"\x01\x02\x03\x04"
CASES = {}

HANDSHAKE = {
    "Host": "a",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}
SHOWN = {
    *("upgrade", "connection", "sec-websocket-accept", "sec-websocket-protocol", "sec-websocket-extensions"),
    *("sec-websocket-version", "content-type", "content-length", "set-cookie", "location", "x-mine", "allow"),
}


def frame(first, payload=b"", mask=True, length=None):
    """A frame by its first byte; ``length`` is written in so many bytes."""
    payload = payload.encode() if isinstance(payload, str) else payload
    size = len(payload)
    if length is None:
        length = 0 if size < 126 else 2 if size < 65536 else 8
    small = size if not length else 126 if length == 2 else 127
    head = bytes([first, small | (0x80 if mask else 0)])
    if length:
        head += size.to_bytes(length)
    if not mask:
        return head + payload
    return head + MASK + bytes(byte ^ MASK[n & 3] for n, byte in enumerate(payload))


def text(payload):
    return frame(0x81, payload)


def close(code=None, reason=b""):
    return frame(0x88, b"" if code is None else struct.pack("!H", code) + reason)


def recorder(events, methods):
    """A handler that writes down what it is told, and then does what the case says."""

    def told(name):
        own = methods.get(name)
        base = getattr(ws.WebSocketHandler, name)

        def callback(self, *args, **kwargs):
            if args[:1] != (b"sync",):
                events.append([name, *map(plain, args)])
            return own(self, *args, **kwargs) if own else None if name == "on_message" else base(self, *args)

        return callback

    names = ("prepare", "open", "on_message", "on_ping", "on_pong", "on_finish", "on_connection_close")
    names += ("select_subprotocol", "check_origin", "on_ws_connection_close")
    given = {name: told(name) for name in names}

    def on_close(self):
        events.append(["on_close", self.close_code, self.close_reason])
        return methods["on_close"](self) if "on_close" in methods else None

    def log_exception(self, kind, error, trace):
        events.append(["log_exception", kind.__name__])

    rest = {name: method for name, method in methods.items() if name not in given and name != "on_close"}
    return type(
        "H", (ws.WebSocketHandler,), {**given, "on_close": on_close, "log_exception": log_exception, **rest}
    )


class Server:
    """A server with one handler, for as long as a case runs."""

    def __init__(self, methods, settings=None, path="/(.*)"):
        self.events = []
        self.handlers = []
        keep = self.handlers

        class Kept(recorder(self.events, methods)):
            def initialize(self):
                keep.append(self)

        routes = [("/redirect", fw.web.RedirectHandler, {"url": "/", "permanent": False}), (path, Kept)]
        if path == "/(.*)":
            routes.insert(0, ("/()", Kept))
        app = fw.web.Application(routes, log_function=lambda handler: None, **(settings or {}))
        self.server = HTTPServer(app)
        self.server.listen(0, "127.0.0.1")
        self.port = next(iter(self.server._sockets.values())).getsockname()[1]

    async def told(self, name):
        """Wait until the handler has been told that."""
        async with asyncio.timeout(PATIENCE):
            while all(event[0] != name for event in self.events):
                await asyncio.sleep(0.002)


class Raw:
    """A client that sends what it is told."""

    async def connect(self, port, fields, line="GET / HTTP/1.1"):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 24)
        given = {**HANDSHAKE, **fields}
        lines = [line]
        for name, value in given.items():
            lines += [
                f"{name}: {each}"
                for each in (value if isinstance(value, list) else [value])
                if each is not None
            ]
        self.writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        async with asyncio.timeout(PATIENCE):
            try:
                head = await self.reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError) as error:
                return {"no head": plain(getattr(error, "partial", b""))}
        first, *fields = head[:-4].decode("latin-1").split("\r\n")
        found = sorted(field for field in fields if field.partition(":")[0].lower() in SHOWN)
        found = [field.replace(": Upgrade", ": upgrade") for field in found]
        answer = {"status": int(first.split()[1]), "fields": found}
        if answer["status"] != 101:
            length = next((int(f.split(":")[1]) for f in fields if f.lower().startswith("content-length")), 0)
            body = await self.reader.readexactly(0 if line.startswith("HEAD") else length)
            answer["body"] = body.decode("latin-1").replace(NAME, "FW")
        return answer

    async def next(self):
        """The next frame: its first byte and its payload."""
        async with asyncio.timeout(PATIENCE):
            head = await self.reader.readexactly(2)
            size = head[1] & 0x7F
            if size > 125:
                size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8))
            return [head[0], await self.reader.readexactly(size)]

    async def rest(self, inflate=None):
        """What comes until the connection ends, or until it is seen to be idle; and which it was."""
        seen = []
        try:
            self.writer.write(frame(0x89, b"sync"))
            while True:
                first, payload = await self.next()
                if (first, payload) == (0x8A, b"sync"):
                    return seen, "open"
                if first == 0x88:
                    seen.append(["close", *([struct.unpack("!H", payload[:2])[0]] if payload else [])])
                    if payload[2:]:
                        seen[-1].append(payload[2:].decode("utf-8", "replace"))
                    continue
                if first & 0x40 and inflate is not None:
                    payload = inflate.decompress(payload + b"\0\0\xff\xff")
                seen.append([hex(first), plain(payload)])
        except (asyncio.IncompleteReadError, ConnectionError):
            return seen, "closed"
        except TimeoutError:
            return seen, "waiting"


def case(
    name, *steps, fields=(), settings=None, line="GET / HTTP/1.1", inflate=None, path="/(.*)", **methods
):
    """A raw client: bytes are sent, a function is called with the handler, ``"frame"`` waits for one, ``"told x"``
    until the handler was told; ``"eof"`` and ``"reset"`` end the connection.
    """

    async def run():
        server = Server(methods, settings, path)
        client = Raw()
        frames = []
        gone = False
        answer = await client.connect(server.port, dict(fields), line)
        if answer.get("status") == 101:
            for step in steps:
                if isinstance(step, bytes):
                    client.writer.write(step)
                elif step == "frame":
                    frames.append(plain(await client.next()))
                elif step == "eof":
                    client.writer.write_eof()
                    gone = True
                elif step == "reset":
                    linger = struct.pack("ii", 1, 0)
                    client.writer.get_extra_info("socket").setsockopt(
                        socket.SOL_SOCKET, socket.SO_LINGER, linger
                    )
                    client.writer.close()
                    gone = True
                elif isinstance(step, str):
                    await server.told(step.removeprefix("told "))
                else:
                    found = await outcome(lambda step=step: step(server.handlers[0]))
                    server.events.append(["call", found])
            if gone:
                end = "gone"
            else:
                rest, end = await client.rest(zlib.decompressobj(-15) if inflate else None)
                frames += rest
            answer |= {"frames": frames, "end": end}
        client.writer.close()
        if answer.get("status") == 101:
            try:
                await server.told("on_close")
            except TimeoutError:
                server.events.append(["on_close never came"])
        await asyncio.sleep(0.02)
        server.server.stop()
        return answer | {"events": server.events}

    assert name not in CASES
    CASES[name] = run


def plain(value):
    """A value as JSON has it."""
    if value is None or isinstance(value, bool | int | float | str):
        return value if not isinstance(value, str) or len(value) < 200 else f"{len(value)} characters"
    if isinstance(value, bytes):
        return {"bytes": value.decode("latin-1") if len(value) < 200 else len(value)}
    if isinstance(value, dict):
        return {"dict": sorted([plain(key), plain(item)] for key, item in value.items())}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return {"object": type(value).__name__}


async def outcome(function):
    try:
        async with asyncio.timeout(PATIENCE):
            value = function()
            if inspect.isawaitable(value):
                value = await value
    except Exception as error:
        kinds = [kind.__name__ for kind in type(error).__mro__]
        return {"raises": kinds[: kinds.index("Exception") + 1]}
    return {"gives": plain(value)}


def echo(handler, message):
    handler.write_message(message, binary=isinstance(message, bytes))


def broken(*args):
    raise RuntimeError("broken on purpose")


async def broken_later(*args):
    await asyncio.sleep(0)
    raise RuntimeError("broken on purpose")


# --- the handshake ---

HANDSHAKES = {
    "right": {},
    "lower case": {"Upgrade": "WebSocket", "Connection": "upgrade"},
    "connection list": {"Connection": "keep-alive, Upgrade"},
    "connection keep-alive": {"Connection": "keep-alive"},
    "no upgrade": {"Upgrade": None},
    "upgrade h2c": {"Upgrade": "h2c"},
    "upgrade list": {"Upgrade": "h2c, websocket"},
    "no connection": {"Connection": None},
    "no key": {"Sec-WebSocket-Key": None},
    "empty key": {"Sec-WebSocket-Key": ""},
    "short key": {"Sec-WebSocket-Key": "YWJj"},
    "key no base64": {"Sec-WebSocket-Key": "!!!!!!!!!!!!!!!!!!!!!!!!"},
    "two keys": {"Sec-WebSocket-Key": [KEY, KEY]},
    "no host": {"Host": None},
    "empty host": {"Host": ""},
    "no version": {"Sec-WebSocket-Version": None},
    "version list": {"Sec-WebSocket-Version": "13, 8"},
    "body": {"Content-Length": "0"},
    "protocols": {"Sec-WebSocket-Protocol": "a, b"},
    "protocols twice": {"Sec-WebSocket-Protocol": ["a", "b"]},
    "protocols empty": {"Sec-WebSocket-Protocol": ""},
    "protocols malformed": {"Sec-WebSocket-Protocol": "a b, \x7f"},
    "unknown extension": {"Sec-WebSocket-Extensions": "x-mine; a=b"},
    "malformed extension": {"Sec-WebSocket-Extensions": ";;="},
}
for name, fields in HANDSHAKES.items():
    case(f"handshake {name}", fields=fields)
for version in ("0", "7", "8", "12", "14", "013", "x", "+13"):
    case(f"handshake version {version}", fields={"Sec-WebSocket-Version": version})
for line in ("POST / HTTP/1.1", "HEAD / HTTP/1.1", "PUT / HTTP/1.1", "OPTIONS / HTTP/1.1", "GET / HTTP/1.0"):
    case(f"handshake {line}", fields={"Content-Length": "0"} if line[0] == "P" else {}, line=line)
ORIGINS = (
    "http://a",
    "https://a",
    "http://A",
    "http://a:80",
    "http://a:81",
    "http://b",
    "null",
    "a",
    "",
    "file://",
)
for origin in ORIGINS:
    case(f"origin {origin}", fields={"Origin": origin})
    case(f"origin {origin} old name", fields={"Sec-WebSocket-Origin": origin})
case("origin port", fields={"Host": "a:8000", "Origin": "http://a:8000"})
case("origin of two hosts", fields={"Origin": "http://b"}, settings={"trusted_origins": ["http://b"]})
for host in ("a", "b"):
    case(
        f"origin {host} allowed", fields={"Origin": f"http://{host}"}, check_origin=lambda self, origin: True
    )
    case(
        f"origin {host} refused", fields={"Origin": f"http://{host}"}, check_origin=lambda self, origin: False
    )
case("no origin refused", check_origin=lambda self, origin: False)
case("origin check fails", fields={"Origin": "http://b"}, check_origin=broken)
case(
    "subprotocol first",
    fields={"Sec-WebSocket-Protocol": "a, b"},
    select_subprotocol=lambda self, given: given[0],
)
case(
    "subprotocol last",
    fields={"Sec-WebSocket-Protocol": "a,b"},
    select_subprotocol=lambda self, given: given[-1],
)
case(
    "subprotocol not offered",
    fields={"Sec-WebSocket-Protocol": "a"},
    select_subprotocol=lambda self, given: "c",
)
case("subprotocol without offer", select_subprotocol=lambda self, given: "c")
case("subprotocol fails", fields={"Sec-WebSocket-Protocol": "a"}, select_subprotocol=broken)
case(
    "subprotocol is known",
    lambda h: h.selected_subprotocol,
    fields={"Sec-WebSocket-Protocol": "a, b"},
    select_subprotocol=lambda self, given: "b",
)
case(
    "arguments",
    line="GET /x%20y?q=1 HTTP/1.1",
    open=lambda self, *args: self.write_message(self.get_argument("q")),
)
case(
    "path arguments",
    lambda h: [h.open_args, h.open_kwargs],
    line="GET /x/y HTTP/1.1",
    path="/(?P<a>x)/(?P<b>.)",
)
case("cookie", fields={"Cookie": "a=b"}, open=lambda self, *args: self.write_message(self.get_cookie("a")))


def refuse(handler):
    raise fw.web.HTTPError(403)


def finish(handler):
    handler.finish("done")


def set_things(handler):
    handler.set_header("X-Mine", "1")
    handler.set_cookie("a", "b")


async def set_later(handler):
    await asyncio.sleep(0)
    set_things(handler)


for name, prepare in {
    "refuses": refuse,
    "finishes": finish,
    "sets": set_things,
    "sets later": set_later,
    "breaks": broken,
    "breaks later": broken_later,
    "redirects": lambda self: self.redirect("/elsewhere"),
    "sets status": lambda self: self.set_status(200),
}.items():
    case(f"prepare {name}", prepare=prepare)
case("get breaks", get=broken)
case("set_default_headers", set_default_headers=lambda self: self.set_header("X-Mine", "2"))
case("early message", line="GET / HTTP/1.1")

# --- compression ---

OFFERS = (
    "permessage-deflate",
    "permessage-deflate; client_max_window_bits",
    "permessage-deflate; client_max_window_bits=10",
    "permessage-deflate; server_max_window_bits=10",
    "permessage-deflate; server_max_window_bits=8",
    "permessage-deflate; server_no_context_takeover",
    "permessage-deflate; client_no_context_takeover",
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
    "permessage-deflate; unknown",
    "permessage-deflate; server_max_window_bits=7",
    "permessage-deflate; server_max_window_bits",
    "permessage-deflate; client_max_window_bits=16",
    "permessage-deflate; unknown, permessage-deflate",
    "x-mine, permessage-deflate",
)
for offer in OFFERS:
    fields = {"Sec-WebSocket-Extensions": offer}
    case(f"offer {offer}", fields=fields, get_compression_options=lambda self: {})
fields = {"Sec-WebSocket-Extensions": "permessage-deflate"}
case("offer and no options", fields=fields)
case("options and no offer", get_compression_options=lambda self: {})
for options in ({}, {"compression_level": 1}, {"compression_level": 9, "mem_level": 9}, {"wrong": 1}):
    case(
        f"compression {options}",
        *(text("x" * size) for size in (0, 5, 100, 5000)),
        fields=fields,
        inflate=True,
        on_message=echo,
        get_compression_options=lambda self, options=options: options,
    )
case("compression options fail", fields=fields, get_compression_options=broken)
stream = zlib.compressobj(6, zlib.DEFLATED, -15)
deflated = (stream.compress(b"hello " * 100) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]
for name, sent in {
    "whole": frame(0xC1, deflated),
    "two frames": frame(0x41, deflated[:5]) + frame(0x80, deflated[5:]),
    "rsv1 on continuation": frame(0x41, deflated[:5]) + frame(0xC0, deflated[5:]),
    "corrupt": frame(0xC1, b"\xff\xff\xff\xff"),
    "empty": frame(0xC1, b"\0"),
    "rsv1 on ping": frame(0xC9, b"a"),
}.items():
    case(f"compressed {name}", sent, fields=fields, get_compression_options=lambda self: {}, on_message=echo)
bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
bombed = (bomb.compress(bytes(100_000)) + bomb.flush(zlib.Z_SYNC_FLUSH))[:-4]
case(
    "compressed bomb",
    frame(0xC2, bombed),
    fields=fields,
    settings={"websocket_max_message_size": 1000},
    get_compression_options=lambda self: {},
)

# --- frames ---

FRAMES = {
    "text": text("hello"),
    "text utf-8": text("gr\u00fc\u00df \U0001f600"),
    "text empty": text(""),
    "binary": frame(0x82, bytes(range(256))),
    "binary empty": frame(0x82),
    "126 bytes": text("x" * 126),
    "70000 bytes": text("x" * 70000),
    "three": text("1") + text("2") + frame(0x82, b"3"),
    "fragments": frame(0x01, "a") + frame(0x00, "b") + frame(0x80, "c"),
    "fragments empty": frame(0x01) + frame(0x00) + frame(0x80),
    "fragments of a character": frame(0x01, b"\xc3") + frame(0x80, b"\xa9"),
    "fragments and ping": frame(0x01, "a") + frame(0x89, "p") + frame(0x80, "c"),
    "continuation alone": frame(0x80, "a"),
    "message in message": frame(0x01, "a") + text("b"),
    "ping": frame(0x89, "p") + text("after"),
    "ping empty": frame(0x89),
    "ping 125": frame(0x89, "p" * 125),
    "ping 126": frame(0x89, "p" * 126),
    "ping fragment": frame(0x09, "p"),
    "pong": frame(0x8A, "p") + text("after"),
    "unmasked": frame(0x81, "a", mask=False),
    "rsv1": frame(0xC1, "a"),
    "rsv2": frame(0xA1, "a"),
    "rsv3": frame(0x91, "a"),
    "opcode 3": frame(0x83, "a"),
    "opcode 7": frame(0x87, "a"),
    "opcode 11": frame(0x8B, "a"),
    "opcode 15": frame(0x8F, "a"),
    "not minimal 2": frame(0x81, "a", length=2),
    "not minimal 8": frame(0x81, "a", length=8),
    "length of 64 bits": b"\x81\xff" + b"\xff" * 8 + MASK,
    "text not utf-8": frame(0x81, b"\xff\xfe"),
    "text cut utf-8": frame(0x81, b"\xc3"),
    "text surrogate": frame(0x81, b"\xed\xa0\x80"),
    "close": close(),
    "close 1000": close(1000),
    "close 1000 reason": close(1000, b"bye"),
    "close 1001": close(1001, "f\u00fcr".encode()),
    "close 3000": close(3000),
    "close 4999": close(4999, b"x"),
    "close 0": close(0),
    "close 999": close(999),
    "close 1004": close(1004),
    "close 1005": close(1005),
    "close 1006": close(1006),
    "close 1015": close(1015),
    "close 1016": close(1016),
    "close 2999": close(2999),
    "close 5000": close(5000),
    "close one byte": frame(0x88, b"\x03"),
    "close bad reason": close(1000, b"\xff"),
    "close long": frame(0x88, struct.pack("!H", 1000) + b"x" * 124),
    "close and message": close(1000) + text("late"),
    "message and close": text("a") + close(1000),
    "close within message": frame(0x01, "a") + close(1000),
    "close twice": close(1000) + close(1001),
}
for name, sent in FRAMES.items():
    case(f"frame {name}", sent, on_message=echo)
for size in (1000, 1001):
    settings = {"websocket_max_message_size": 1000}
    case(f"limit {size}", text("x" * size), settings=settings, on_message=lambda self, message: None)
    half = "x" * (size // 2)
    parts = frame(0x01, half) + frame(0x80, "x" * (size - len(half)))
    case(f"limit {size} in fragments", parts, settings=settings, on_message=lambda self, message: None)

# --- callbacks ---

case("order", text("a"), frame(0x89, "p"), frame(0x8A, "q"), text("b"), close(1000, b"x"))
case("vanishes", text("a"), "told on_message", "eof")
case("vanishes by reset", text("a"), "told on_message", "reset")
for callback, sent in {
    "open": b"",
    "on_message": text("a") + text("b"),
    "on_ping": frame(0x89, "p") + text("b"),
    "on_pong": frame(0x8A, "p") + text("b"),
    "on_close": close(1000),
    "on_finish": text("a"),
    "on_ws_connection_close": close(1000),
}.items():
    case(f"{callback} breaks", sent, **{callback: broken})
    if callback not in ("on_finish", "on_ws_connection_close"):
        case(f"{callback} breaks later", sent, **{callback: broken_later})
case("on_message not overridden", text("a"), on_message=ws.WebSocketHandler.on_message)


async def slow(handler, message=None, *args):
    case_events = handler.application.settings["seen"]
    case_events.append(f"begin {message}")
    for _ in range(20):
        await asyncio.sleep(0.001)
    case_events.append(f"end {message}")


def seen(handler):
    return handler.application.settings["seen"]


async def settled(handler):
    """What slow callbacks did, when they are done."""
    found = handler.application.settings["seen"]
    count = -1
    while count != len(found) or (found and found[-1].startswith("begin")):
        count = len(found)
        await asyncio.sleep(0.06)
    return found


case("slow on_message", text("1") + text("2"), text("3"), settled, on_message=slow, settings={"seen": []})
case("slow open", text("1") + text("2"), settled, open=slow, settings={"seen": []})
case(
    "slow on_ping",
    frame(0x89, b"1") + text("2"),
    settled,
    on_ping=slow,
    on_message=slow,
    settings={"seen": []},
)
case(
    "slow on_pong",
    frame(0x8A, b"1") + text("2"),
    settled,
    on_pong=slow,
    on_message=slow,
    settings={"seen": []},
)
case(
    "slow on_message and close",
    text("1") + text("2") + close(1000),
    settled,
    on_message=slow,
    settings={"seen": []},
)
for how in ("eof", "reset"):
    case(
        f"slow on_message and {how}",
        text("1") + text("2") + text("3"),
        "told on_message",
        how,
        settled,
        on_message=slow,
        settings={"seen": []},
    )
case("close in open", text("a"), open=lambda self, *args: self.close(1001, "no"))
case("close in on_message", text("a") + text("b"), on_message=lambda self, message: self.close())
case("write in open", open=lambda self, *args: self.write_message("hello"))


def close_and(*calls):
    def callback(handler, *args):
        handler.close(1000)
        return [call(handler) for call in calls]

    return callback


case("write after close", close_and(lambda h: h.write_message("late")))
case("ping after close", close_and(lambda h: h.ping(b"late")))
case("close after close", close_and(lambda h: h.close(1001)))
case("connection after close", close_and(lambda h: h.ws_connection is None))
case("write after the end", close(1000), "told on_close", lambda h: h.write_message("late"))
case("ping after the end", close(1000), "told on_close", lambda h: h.ping(b""))
case("close after the end", close(1000), "told on_close", lambda h: h.close())
case("nodelay after the end", close(1000), "told on_close", lambda h: h.set_nodelay(True))
case(
    "after the end",
    close(1000, b"x"),
    "told on_close",
    lambda h: [h.ws_connection, h.close_code, h.close_reason],
)
case("write in on_close", close(1000), on_close=lambda self: self.write_message("late"))
case("close in on_close", close(1000), on_close=lambda self: self.close())
case("server closes, client answers", lambda h: h.close(1000, "bye"), "frame", close(1000, b"too"))
case("server closes, client talks", lambda h: h.close(1000), text("a"), text("b"), close(1000))
case("server closes, client pings", lambda h: h.close(1000), frame(0x89, "p"), close(1000))
case("server closes, client vanishes", lambda h: h.close(4000, "bye"), "frame", "eof")

# --- what a handler calls ---

CALLS = {
    "write str": lambda h: h.write_message("a"),
    "write str utf-8": lambda h: h.write_message("\u00e9"),
    "write empty": lambda h: h.write_message(""),
    "write bytes": lambda h: h.write_message(b"a"),
    "write bytes not utf-8": lambda h: h.write_message(b"\xff"),
    "write binary": lambda h: h.write_message(b"\xff", binary=True),
    "write binary str": lambda h: h.write_message("\u00e9", binary=True),
    "write dict": lambda h: h.write_message({"a": [1, None, "</script>"]}),
    "write dict binary": lambda h: h.write_message({"a": 1}, binary=True),
    "write dict not JSON": lambda h: h.write_message({"a": {1}}),
    "write list": lambda h: h.write_message([1]),
    "write none": lambda h: h.write_message(None),
    "write int": lambda h: h.write_message(1),
    "write bytearray": lambda h: h.write_message(bytearray(b"a"), binary=True),
    "write memoryview": lambda h: h.write_message(memoryview(b"a"), binary=True),
    "write surrogate": lambda h: h.write_message("\ud800"),
    "write long": lambda h: h.write_message("x" * 70000),
    "ping": lambda h: h.ping(),
    "ping bytes": lambda h: h.ping(b"data"),
    "ping str": lambda h: h.ping("data"),
    "ping 126": lambda h: h.ping(b"x" * 126),
    "close": lambda h: h.close(),
    "close 1000": lambda h: h.close(1000),
    "close reason": lambda h: h.close(reason="bye"),
    "close 1001": lambda h: h.close(1001, "gone"),
    "close 4321": lambda h: h.close(4321, "f\u00fcr"),
    "close 999": lambda h: h.close(999),
    "close 1005": lambda h: h.close(1005),
    "close 1006": lambda h: h.close(1006),
    "close 1015": lambda h: h.close(1015),
    "close 5000": lambda h: h.close(5000),
    "close 65536": lambda h: h.close(65536),
    "close str": lambda h: h.close("1000"),
    "close long reason": lambda h: h.close(1000, "x" * 124),
    "close bytes reason": lambda h: h.close(1000, b"bye"),
    "nodelay": lambda h: h.set_nodelay(True),
    "no nodelay": lambda h: h.set_nodelay(False),
    "http write": lambda h: h.write("a"),
    "http redirect": lambda h: h.redirect("/"),
    "http set_header": lambda h: h.set_header("A", "b"),
    "http set_cookie": lambda h: h.set_cookie("A", "b"),
    "http set_status": lambda h: h.set_status(200),
    "http finish": lambda h: h.finish(),
    "http flush": lambda h: h.flush(),
    "http send_error": lambda h: h.send_error(500),
    "http clear": lambda h: h.clear(),
    "status": lambda h: h.get_status(),
    "attributes": lambda h: [h.close_code, h.close_reason, h.selected_subprotocol, h.ws_connection is None],
    "settings": lambda h: [h.ping_interval, h.ping_timeout, h.max_message_size],
    "protocol class": lambda h: h.get_websocket_protocol() is None,
    "stream closed": lambda h: h.ws_connection.stream.closed(),
    "stream socket": lambda h: h.ws_connection.stream.socket.family,
    "stream set_nodelay": lambda h: h.ws_connection.stream.set_nodelay(True),
    "stream close": lambda h: h.ws_connection.stream.close(),
    "connection closing": lambda h: [h.ws_connection.client_terminated, h.ws_connection.server_terminated],
    "is_closing": lambda h: h.ws_connection.is_closing(),
    "connection write": lambda h: h.ws_connection.write_message("a"),
    "connection ping": lambda h: h.ws_connection.write_ping(b"a"),
    "connection close": lambda h: h.ws_connection.close(1000, "b"),
    "get_argument": lambda h: h.get_argument("none", "d"),
    "request": lambda h: [h.request.method, h.request.path, h.request.protocol],
}
for name, function in CALLS.items():
    case(f"call {name}", function)
case(
    "settings given",
    lambda h: [h.ping_interval, h.ping_timeout, h.max_message_size],
    settings={"websocket_ping_interval": 20, "websocket_ping_timeout": 10, "websocket_max_message_size": 5},
)
case(
    "settings timeout only",
    lambda h: [h.ping_interval, h.ping_timeout],
    settings={"websocket_ping_timeout": 10},
)
case(
    "ping answered",
    "frame",
    frame(0x8A),
    "told on_pong",
    settings={"websocket_ping_interval": 0.2, "websocket_ping_timeout": 0.2},
    line="GET / HTTP/1.1",
)
settings = {"websocket_ping_interval": 0.4, "websocket_ping_timeout": 0.2}
case("ping not answered", "frame", "frame", settings=settings)

# --- the client ---


def client(function):
    """A call of the framework's client, on a server that echoes and does what it is asked to."""

    def on_message(self, message):
        if message == "close":
            self.close(1001, "asked")
        elif message == "cut":
            self.ws_connection.stream.close()
        elif message == "three":
            for n in range(3):
                self.write_message(str(n))
        elif message == "three and close":
            for n in range(3):
                self.write_message(str(n))
            self.close(4000)
        elif message == "ping":
            self.ping(b"from the server")
        else:
            echo(self, message)

    async def run():
        server = Server(
            {
                "on_message": on_message,
                "select_subprotocol": lambda self, given: given[-1] if given else None,
                "get_compression_options": lambda self: {},
                "prepare": lambda self: refuse(self) if self.request.path == "/refused" else None,
            },
            {"websocket_max_message_size": 100_000},
        )
        try:
            return await outcome(lambda: function(f"ws://127.0.0.1:{server.port}"))
        finally:
            server.server.stop()

    CASES["client " + function.__name__.replace("_", " ")] = run
    return function


async def ended(connection):
    connection.close()
    while await connection.read_message() is not None:
        pass


async def talk(url, *messages, **options):
    connection = await ws.websocket_connect(url, **options)
    found = []
    for message in messages:
        connection.write_message(message, binary=isinstance(message, bytes))
        found.append(await connection.read_message())
    await ended(connection)
    return found


@client
async def echo_text(url):
    return await talk(url, "a", "\u00e9", "", "x" * 70000)


@client
async def echo_bytes(url):
    return await talk(url, b"", b"\xff", bytes(70000))


@client
async def echo_dict(url):
    return await talk(url, {"a": 1})


@client
async def echo_compressed(url):
    return await talk(url, "a", "x" * 5000, b"y" * 5000, compression_options={})


@client
async def echo_by_request(url):
    return await talk(httpclient.HTTPRequest(url, headers={"X-Mine": "1"}), "a")


@client
async def compression_is_agreed(url):
    connection = await ws.websocket_connect(url, compression_options={})
    await ended(connection)
    return "permessage-deflate" in connection.headers.get("Sec-Websocket-Extensions", "")


@client
async def subprotocol(url):
    connection = await ws.websocket_connect(url, subprotocols=["a", "b"])
    await ended(connection)
    return connection.selected_subprotocol


@client
async def no_subprotocol(url):
    connection = await ws.websocket_connect(url)
    await ended(connection)
    return connection.selected_subprotocol


@client
async def read_after_the_end(url):
    connection = await ws.websocket_connect(url)
    connection.close()
    return [await connection.read_message(), await connection.read_message()]


@client
async def messages_before_the_end(url):
    connection = await ws.websocket_connect(url)
    connection.write_message("three and close")
    found = [await connection.read_message() for _ in range(5)]
    return [*found, connection.close_code, connection.close_reason]


@client
async def server_closes(url):
    connection = await ws.websocket_connect(url)
    connection.write_message("close")
    return [await connection.read_message(), connection.close_code, connection.close_reason]


@client
async def server_cuts(url):
    connection = await ws.websocket_connect(url)
    connection.write_message("cut")
    return [await connection.read_message(), connection.close_code, connection.close_reason]


@client
async def client_closes(url):
    connection = await ws.websocket_connect(url)
    connection.close(4001, "bye")
    return [await connection.read_message(), connection.close_code, connection.close_reason]


@client
async def close_codes_before(url):
    connection = await ws.websocket_connect(url)
    found = [connection.close_code, connection.close_reason]
    await ended(connection)
    return found


@client
async def write_after_close(url):
    connection = await ws.websocket_connect(url)
    connection.close()
    return await connection.write_message("late")


@client
async def write_after_the_end(url):
    connection = await ws.websocket_connect(url)
    await ended(connection)
    return await connection.write_message("late")


@client
async def ping_after_the_end(url):
    connection = await ws.websocket_connect(url)
    await ended(connection)
    return connection.ping(b"late")


@client
async def close_after_the_end(url):
    connection = await ws.websocket_connect(url)
    await ended(connection)
    return connection.close()


@client
async def close_that_may_not_be_sent(url):
    connection = await ws.websocket_connect(url)
    try:
        return connection.close(70000)
    finally:
        connection.close()


@client
async def callback_gets_all(url):
    found = []
    end = asyncio.Event()

    def told(message):
        found.append(message)
        if message is None:
            end.set()

    connection = await ws.websocket_connect(url, on_message_callback=told)
    connection.write_message("three and close")
    await end.wait()
    return found


@client
async def callback_and_read_message(url):
    connection = await ws.websocket_connect(url, on_message_callback=lambda message: None)
    try:
        return await connection.read_message()
    finally:
        connection.close()


@client
async def callback_of_connect(url):
    found = []
    connection = await ws.websocket_connect(url, callback=lambda future: found.append(future.done()))
    await asyncio.sleep(0.01)
    await ended(connection)
    return found


@client
async def callback_of_read_message(url):
    found = asyncio.get_running_loop().create_future()
    connection = await ws.websocket_connect(url)
    connection.write_message("a")
    connection.read_message(callback=lambda future: found.set_result(future.result()))
    await found
    await ended(connection)
    return found.result()


@client
async def two_readers(url):
    connection = await ws.websocket_connect(url)
    first = connection.read_message()
    connection.write_message("a")
    found = [await first]
    connection.write_message("three")
    found += [await connection.read_message() for _ in range(3)]
    await ended(connection)
    return found


@client
async def server_pings(url):
    connection = await ws.websocket_connect(url)
    connection.write_message("ping")
    connection.write_message("after")
    found = await connection.read_message()
    await ended(connection)
    return found


@client
async def hooks(url):
    found = []

    class Mine(ws.WebSocketClientConnection):
        def on_ping(self, data):
            found.append(["ping", data])

        def on_pong(self, data):
            found.append(["pong", data])

        def on_ws_connection_close(self, code=None, reason=None):
            found.append(["end", code, reason])

    connection = Mine(httpclient.HTTPRequest(url))
    await connection.connect_future
    connection.write_message("ping")
    connection.ping(b"mine")
    connection.write_message("after")
    await connection.read_message()
    connection.write_message("close")
    await connection.read_message()
    await asyncio.sleep(0.01)
    return found


@client
async def message_too_long(url):
    connection = await ws.websocket_connect(url, max_message_size=100)
    connection.write_message("x" * 101)
    return await connection.read_message()


@client
async def message_too_long_for_the_server(url):
    connection = await ws.websocket_connect(url)
    connection.write_message("x" * 100_001)
    return [await connection.read_message(), connection.close_code]


@client
async def refused(url):
    return await ws.websocket_connect(url + "/refused")


@client
async def refused_response(url):
    try:
        await ws.websocket_connect(url + "/refused")
    except httpclient.HTTPError as error:
        return [error.code, error.message, error.response is None]


@client
async def redirected(url):
    return await ws.websocket_connect(url + "/redirect")


@client
async def nobody_there(url):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))  # kept, so that nobody else can listen there meanwhile
        return await ws.websocket_connect(f"ws://127.0.0.1:{sock.getsockname()[1]}")


@client
async def never_answers(url):
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return await ws.websocket_connect(
            httpclient.HTTPRequest(
                f"ws://127.0.0.1:{sock.getsockname()[1]}", request_timeout=0.1, connect_timeout=0.1
            )
        )


@client
async def unknown_host(url):
    return await ws.websocket_connect("ws://none.invalid")


@client
async def url_of_http(url):
    connection = await ws.websocket_connect(url.replace("ws:", "http:"))
    connection.close()
    return "connected"


@client
async def url_of_ftp(url):
    return await ws.websocket_connect(url.replace("ws:", "ftp:"))


@client
async def url_without_host(url):
    return await ws.websocket_connect("ws://")


@client
async def request_and_timeout(url):
    return await ws.websocket_connect(httpclient.HTTPRequest(url), connect_timeout=3)


@client
async def not_waited_for(url):
    future = ws.websocket_connect(url)
    found = isinstance(future, asyncio.Future)
    (await future).close()
    return found


@client
async def http_response_where_frames_were_expected(url):
    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        return await ws.websocket_connect(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    finally:
        server.close()


async def main():
    for logger in (NAME, "asyncio"):
        logging.getLogger(logger).addHandler(logging.StreamHandler(io.StringIO()))
        logging.getLogger(logger).propagate = False
    warnings.simplefilter("ignore")
    limit = asyncio.Semaphore(50)

    async def one(run):
        async with limit:
            try:
                return await run()
            except Exception as error:
                return {"fails": repr(error)}

    found = await asyncio.gather(*(one(run) for run in CASES.values()))
    print(json.dumps(dict(zip(CASES, found, strict=True))))


if __name__ == "__main__":
    asyncio.run(main())
