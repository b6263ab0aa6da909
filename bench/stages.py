"""What the stages of a request cost: microseconds in this process, without a loop and a kernel below.

    python -m bench stages [--quick] [--json FILE]

A server is given bytes through a transport that goes nowhere.  Everything is measured twice, with the C module and with
Python alone, each in a process of its own; shown is the quickest of many rounds, which other work on the machine
disturbs least.
"""

import asyncio
import json
import os
import subprocess
import sys
import timeit
from collections.abc import Callable, Sequence
from typing import Any

from bench.cpu import machine
from bench.options import ROOT, parser, two_cores
from bench.report import write
from webfw.httpserver import HTTPServer
from webfw.httpserver.http1exchange import Http1Exchange
from webfw.httputil import HTTPHeaders
from webfw.sansio.http1 import encode_head, parse_head, status_line
from webfw.sansio.native import IMPLEMENTATION
from webfw.web import Application, RequestHandler
from webfw.web.execution import answer
from webfw.web.output import default_headers

BODY = b"Hello, world"
LINE = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n"
ONE_FIELD = LINE + b"\r\n"
BROWSER = b"".join(
    line.encode() + b"\r\n"
    for line in (
        "Connection: keep-alive",
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
        "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "Accept-Language: en-US,en;q=0.5",
        "Accept-Encoding: gzip, deflate, br",
        "Referer: http://127.0.0.1/start",
        "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark",
    )
)
EIGHT_FIELDS = LINE + BROWSER + b"\r\n"
FORM = b"name=Ada+Lovelace&email=ada%40example.org&text=some+words&ok=1"
POST = (
    b"POST /form HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(FORM), FORM)
)


class Hello(RequestHandler):
    def get(self, *ignored: str) -> None:
        self.write("Hello, world")


class Untagged(Hello):
    def compute_etag(self) -> None:
        return None


class Reading(RequestHandler):
    def get(self) -> None:
        self.write(self.request.headers.get("Accept-Language", "none"))


class Json(RequestHandler):
    def get(self) -> None:
        self.write({"message": "Hello, world", "number": 1})


class Form(RequestHandler):
    def post(self) -> None:
        self.write(self.get_body_argument("name"))


class Nowhere(asyncio.Transport):
    """Takes all that is written."""

    def write(self, data: Any) -> None:
        self.last = data

    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else default

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None:
        pass  # the server closes connections that are idle for long


def application() -> Application:
    paths = [(rf"/a{number}/(\w+)", Hello) for number in range(200)]
    routes = [("/", Hello), ("/reading", Reading), ("/json", Json), ("/form", Form), *paths]
    return Application(routes, log_function=lambda handler: None)


def wired(begin: Callable[[Any], Any] | None = None) -> tuple[Any, Nowhere]:
    """A connection of a server, and where its answers go."""
    server = HTTPServer(application())
    if begin is not None:
        server.begin = begin
    wire = server._make_wire()
    transport = Nowhere()
    wire.connection_made(transport)
    return wire, transport


def receiving(wire: Any, request: bytes) -> Callable[[], None]:
    """A function that has a wire read a request."""
    size = len(request)
    wire._buffer = memoryview(bytearray(request))  # the wires of one loop share one otherwise
    return lambda: wire.buffer_updated(size)


def stages() -> dict[str, Callable[[], object]]:
    """What is measured, by name; the first ones are parts of the later ones."""
    app = application()
    wire, _ = wired()
    connection = wire.consumer
    limits = connection.limits.head
    head = parse_head(ONE_FIELD, 0, 0, limits)
    assert head is not None
    exchange = Http1Exchange(connection, head, connection.context)
    request = exchange.request
    fields = default_headers()
    fields["Etag"] = '"' + "a" * 40 + '"'
    fields["Content-Length"] = "12"
    constant = HTTPHeaders({"Server": "x", "Content-Type": "text/html", "Content-Length": "12"})
    block = EIGHT_FIELDS[EIGHT_FIELDS.index(b"\n") + 1 : -2].decode()
    tagged = Hello(app, request)  # type: ignore[arg-type]  # it is there, until the exchange is over
    tagged.write("Hello, world")

    def tag() -> None:
        tagged.set_etag_header()
        tagged.check_etag_header()

    def answered(handler: type[RequestHandler]) -> Callable[[], None]:
        return receiving(wired(lambda e: answer(app, e.request, handler, {}, (), {}))[0], ONE_FIELD)

    return {
        "a head of one field": lambda: parse_head(ONE_FIELD, 0, 0, limits),
        "a head of eight fields": lambda: parse_head(EIGHT_FIELDS, 0, 0, limits),
        "exchange and request made": lambda: Http1Exchange(connection, head, connection.context),
        "a map of eight fields": lambda: HTTPHeaders.from_fields(block),
        "route found": lambda: app.default_router.resolve(request),  # type: ignore[arg-type]
        "handler made": lambda: Hello(app, request),  # type: ignore[arg-type]
        "entity tag": tag,
        "fields an answer begins with": default_headers,
        "head of the answer": lambda: encode_head(status_line(200, "OK"), fields.fields(), BODY),
        "connection alone, fixed answer": receiving(
            wired(lambda e: e.respond(200, "OK", constant, BODY))[0], ONE_FIELD
        ),
        "with a handler, without entity tag": answered(Untagged),
        "with a handler": answered(Hello),
        "whole: hello, one field": receiving(wired()[0], ONE_FIELD),
        "whole: hello, eight fields": receiving(wired()[0], EIGHT_FIELDS),
        "whole: eight fields, one read": receiving(
            wired()[0], EIGHT_FIELDS.replace(b"GET /", b"GET /reading", 1)
        ),
        "whole: JSON": receiving(wired()[0], ONE_FIELD.replace(b"GET /", b"GET /json", 1)),
        "whole: path of 200 with an argument": receiving(
            wired()[0], ONE_FIELD.replace(b"GET /", b"GET /a100/abc", 1)
        ),
        "whole: form of four fields": receiving(wired()[0], POST),
    }


def check() -> None:
    """That what is measured is what it says.

    :raises SystemExit: it is not.
    """
    for target, body in (("/", BODY), ("/json", b'"number": 1}'), ("/a100/abc", BODY)):
        wire, transport = wired()
        receiving(wire, ONE_FIELD.replace(b"GET /", f"GET {target}".encode(), 1))()
        if not (transport.last.startswith(b"HTTP/1.1 200 OK\r\n") and transport.last.endswith(body)):
            raise SystemExit(f"{target}: {transport.last[:200]!r}")
    wire, transport = wired()
    receiving(wire, POST)()
    if not transport.last.endswith(b"\r\n\r\nAda Lovelace"):
        raise SystemExit(f"/form: {transport.last[:200]!r}")


async def measure(rounds: int) -> dict[str, float]:
    """Microseconds of each stage."""
    check()
    calls = 1000
    timers = {name: timeit.Timer(run) for name, run in stages().items()}
    best = dict.fromkeys(timers, float("inf"))
    for _ in range(rounds):
        for name, timer in timers.items():
            best[name] = min(best[name], timer.timeit(calls) / calls * 1e6)
    return best


def in_process(speedups: str, rounds: int, core: int | None) -> dict[str, float]:
    """The same in a process of its own, with the C module or without."""
    pin = [] if core is None else ["taskset", "-c", str(core)]
    done = subprocess.run(
        [*pin, sys.executable, "-m", "bench.stages", "--here", str(rounds)],
        env={**os.environ, "WEBFW_SPEEDUPS": speedups},
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def table(native: dict[str, float], pure: dict[str, float]) -> str:
    lines = ["| stage | µs with the C module | µs in Python alone |", "|---|---:|---:|"]
    lines += [f"| {name} | {cost:.2f} | {pure[name]:.2f} |" for name, cost in native.items()]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    if argv is None and sys.argv[1:2] == ["--here"]:
        print(json.dumps(asyncio.run(measure(int(sys.argv[2])))))
        return 0
    options = parser("stages", __doc__, "30 rounds instead of 100").parse_args(argv)
    if IMPLEMENTATION != "native":
        print("bench stages needs the C module (WEBFW_SPEEDUPS=1 pip install --editable .)", file=sys.stderr)
        return 2
    rounds = options.rounds or (30 if options.quick else 100)
    about = machine()
    cores = two_cores()
    found = [in_process(speedups, rounds, cores and cores[0]) for speedups in ("1", "0")]
    print(f"{about['cpu']}, Python {about['python']}\n\n{table(*found)}")
    write(options.json, {"machine": about, "rounds": rounds, "native": found[0], "pure": found[1]})
    return 0


if __name__ == "__main__":
    sys.exit(main())
