"""The shapes of requests that `bench http` measures: which peers serve them, and what is asked."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bench.apps import pages
from bench.build import build
from bench.load import CONNECTIONS
from bench.peers import BODY, ROOT, Peer, script

#: What a browser sends besides Host.
BROWSER_FIELDS = [
    "Connection: keep-alive",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: en-US,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br",
    "Referer: http://127.0.0.1/start",
    "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark",
]
#: Connections of the loads that are to cost the same.
WIDTHS = (1, 64, 512, 2000)
#: Connections whose memory is measured.
IDLE = 2000
#: Four fields, of which one is answered.
FORM = "name=Ada+Lovelace&email=ada%40example.org&city=London&message=The+engine+weaves+algebraic+patterns"
FILE_SIZE = 10 * 1024
FOLDER = ROOT / "build" / "bench-static"
FILE = "page.html"


@dataclass(frozen=True)
class Load:
    """One kind of request: its title in the tables, what is asked, and on how many connections at once.

    :ivar fields: lines of the head, besides Host.
    :ivar form: a body to post; a GET without.
    """

    title: str
    path: str = "/"
    fields: tuple[str, ...] = ()
    form: str | None = None
    connections: int = CONNECTIONS


@dataclass(frozen=True)
class Stage:
    """Servers that were started with one page, and the loads that each of them gets."""

    name: str
    peers: list[Peer]
    loads: list[Load]
    expected: Callable[[bytes], bool]
    memory: bool = False
    also: tuple[str, ...] = field(default=("tornado", "uvicorn"))  # whom the tables compare with


# --- the servers ---


def granian(interface: str, target: str | None = None) -> Callable[[int], list[str]]:
    options = ["--host", "127.0.0.1", "--workers", "1", "--loop", "uvloop", "--no-access-log", "--no-log"]
    options += [
        "--backlog",
        "4096",
        "--backpressure",
        "4096",
    ]  # it would keep connections above 1,024 waiting
    target = target or f"granian_hello:{interface}"
    return lambda port: ["-m", "granian", "--interface", interface, "--port", str(port), *options, target]


FLOOR = Peer("floor", "", lambda port: [str(port)], partial(build, "floor"))

#: Those who serve the hello page.
PEERS = [
    Peer("webfw", "webfw.web", script("webfw_hello.py", "uvloop")),
    Peer("tornado", "tornado", script("tornado_hello.py", "asyncio")),
    Peer("tornado-uvloop", "tornado", script("tornado_hello.py", "uvloop")),
    Peer("uvicorn", "uvicorn", script("uvicorn_hello.py")),
    Peer("aiohttp", "aiohttp", script("aiohttp_hello.py")),
    Peer("granian-asgi", "granian", granian("asgi")),
    Peer("granian-rsgi", "granian", granian("rsgi")),
    FLOOR,
    Peer("floor-uvloop", "uvloop", script("fixed_server.py")),
]


def hello(*names: str) -> list[Peer]:
    return [peer for peer in PEERS if peer.name in names]


def serving_shape(shape: str) -> list[Peer]:
    """Those who serve another page; where a bare ASGI application would be no comparison, uvicorn runs Starlette."""
    framework = shape.startswith(("routes", "static"))
    on_uvicorn = ("starlette", "uvicorn, starlette") if framework else ("uvicorn", "uvicorn")
    servers = [("webfw", "webfw.web"), ("tornado", "tornado"), on_uvicorn, ("aiohttp", "aiohttp")]
    return [
        Peer(
            name,
            module,
            script(f"{module.partition(',')[0].partition('.')[0]}_shapes.py", shape, str(FOLDER)),
        )
        for name, module in servers
    ]


def asgi_peers(target: str, package: str) -> list[Peer]:
    """The servers of one ASGI application, all in the peers' environment."""
    more = f", {package}"
    named = f"asgi_{target}:app"

    def module(name: str, *options: str, bind: str = "--bind") -> Callable[[int], list[str]]:
        return lambda port: ["-m", name, bind, f"127.0.0.1:{port}", *options, named]

    uvicorn = ["--loop", "uvloop", "--http", "httptools", "--lifespan", "off", "--no-access-log"]
    gunicorn = ["--workers", "1", "--worker-class", "asgi", "--asgi-loop", "uvloop", "--asgi-lifespan", "off"]
    return [
        Peer("webfw", f"webfw.asgi{more}", script("webfw_asgi.py", named)),
        Peer(
            "uvicorn",
            f"uvicorn{more}",
            lambda port: ["-m", "uvicorn", "--port", str(port), *uvicorn, "--log-level", "warning", named],
        ),
        Peer("granian", f"granian{more}", granian("asgi", named)),
        Peer("hypercorn", f"hypercorn{more}", module("hypercorn", "-k", "uvloop", "--log-level", "error")),
        Peer(
            "gunicorn",
            f"gunicorn{more}",
            module("gunicorn", *gunicorn, "--log-level", "error", "--no-control-socket"),
        ),
    ]


# --- the shapes ---


def is_hello(body: bytes) -> bool:
    return body == BODY


def is_record(body: bytes) -> bool:
    found: object = json.loads(body)
    return found == pages.RECORD


def routed(title: str, shape: str) -> Stage:
    load = Load(title, path=f"/resource{pages.MIDDLE}/4711")
    return Stage(
        title, serving_shape(shape), [load], lambda body: body == b"4711", also=("tornado", "starlette")
    )


def asgi(title: str, target: str, package: str, expected: Callable[[bytes], bool]) -> Stage:
    return Stage(title, asgi_peers(target, package), [Load(title)], expected, also=("uvicorn", "granian"))


SHAPES: dict[str, list[Stage]] = {
    "hello": [
        Stage(
            "hello",
            PEERS,
            [Load("hello, 1 field"), Load("hello, 8 fields", fields=tuple(BROWSER_FIELDS))],
            is_hello,
        )
    ],
    "json": [Stage("json", serving_shape("json"), [Load("JSON")], is_record)],
    "await": [Stage("await", serving_shape("await"), [Load("awaits once")], is_hello)],
    "routes": [routed("1 route", "routes-1"), routed("200 routes", "routes-200")],
    "form": [
        Stage(
            "form",
            serving_shape("form"),
            [Load("form of 4 fields", form=FORM)],
            lambda body: body == b"London",
        )
    ],
    "static": [
        Stage(
            "static",
            serving_shape("static"),
            [Load("file of 10 KiB", path=f"/static/{FILE}")],
            lambda body: len(body) == FILE_SIZE,
            also=("tornado", "starlette"),
        )
    ],
    "connections": [
        Stage(
            "connections",
            hello("webfw", "tornado", "uvicorn", "aiohttp", "floor"),
            [Load(f"{width:,} connection{'s' if width > 1 else ''}", connections=width) for width in WIDTHS],
            is_hello,
        )
    ],
    "memory": [
        Stage(
            "memory",
            hello("webfw", "tornado", "uvicorn", "aiohttp", "granian-asgi"),
            [],
            is_hello,
            memory=True,
        )
    ],
    "asgi": [
        asgi("ASGI, bare", "bare", "uvloop", is_hello),
        asgi("ASGI, Starlette", "starlette", "starlette", is_hello),
        asgi("ASGI, FastAPI JSON", "fastapi", "fastapi", is_record),
    ],
}


def make_file() -> Path:
    """The file that is served, in a folder of its own."""
    line = b"<p>Ten kibibytes of this, as a page or a style sheet has them.</p>\n"
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / FILE
    content = (line * (FILE_SIZE // len(line) + 1))[:FILE_SIZE]
    if not path.exists() or path.read_bytes() != content:
        path.write_bytes(content)
    return path
