"""Beginnings and ends of what is served: their order, what fails, what takes too long; alone and under a supervisor."""

import asyncio
import http.client
import json
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from webfw.asgi import ASGIContainer, LifespanError
from webfw.cli.errors import LOAD_FAILED, CommandError
from webfw.cli.lives import Lives
from webfw.routing import PathMatches, Rule, RuleRouter
from webfw.web import Application, FallbackHandler

# --- in this process ---


class Part(Application):
    """An application with a beginning and an end of its own."""

    def __init__(
        self, name: str, said: list[str], fails: BaseException | None = None, takes: float = 0
    ) -> None:
        super().__init__([])
        self.name, self.said, self.fails, self.takes = name, said, fails, takes

    async def startup(self) -> None:
        await asyncio.sleep(0)
        if self.fails is not None:
            raise self.fails
        self.said.append(f"{self.name} begins")

    async def shutdown(self) -> None:
        await asyncio.sleep(self.takes)
        self.said.append(f"{self.name} ends")


async def test_the_last_to_begin_is_the_first_to_end() -> None:
    said: list[str] = []
    below, first, second = Part("below", said), Part("first", said), Part("second", said)
    first.add_handlers(".*", [Rule(PathMatches("/below.*"), below)])
    lives = Lives([("a:first", first), ("a:second", second), ("a:again", first)])
    await lives.begin()
    await lives.end(5)
    await lives.end(5)
    assert said == [
        "first begins",
        "below begins",
        "second begins",
        "second ends",
        "below ends",
        "first ends",
    ]


async def test_containers_are_found_wherever_requests_go() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while scope["type"] == "lifespan":
            kind = (await receive())["type"]
            seen.append(kind)
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return

    router = RuleRouter(
        [
            Rule(PathMatches("/a.*"), ASGIContainer(app, mount="/a")),
            Rule(PathMatches(".*"), FallbackHandler, {"fallback": ASGIContainer(app)}),
        ]
    )
    lives = Lives([("a:b", router)])
    await lives.begin()
    await lives.end(5)
    assert seen == ["lifespan.startup"] * 2 + ["lifespan.shutdown"] * 2


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ValueError("no database"), r"starting a:c failed: ValueError: no database \(.*test_lives\.py:\d+\)"),
        (SystemExit(4), r"starting a:c failed: SystemExit: 4 \(.*"),
        (LifespanError("no database"), r"the lifespan of a:c failed: no database"),
        (LifespanError("one line\nand another"), r"the lifespan of a:c failed: one line and another"),
        (
            LifespanError(
                'Traceback (most recent call last):\n  File "/x/lib.py", line 1, in <module>\n'
                '  File "/x/app.py", line 7, in startup\n    connect()\nOSError: no database\n'
            ),
            r"the lifespan of a:c failed: OSError: no database \(/x/app\.py:7\)",
        ),
    ],
    ids=["exception", "exit", "message", "lines", "traceback"],
)
async def test_one_that_cannot_begin_ends_those_before_it(error: BaseException, sentence: str) -> None:
    said: list[str] = []
    parts = [Part("one", said), Part("two", said, fails=error), Part("three", said)]
    lives = Lives([("a:b", parts[0]), ("a:c", parts[1]), ("a:d", parts[2])])
    with pytest.raises(CommandError, match=f"^{sentence}$") as caught:
        await lives.begin()
    assert caught.value.status == LOAD_FAILED
    assert caught.value.__cause__ is error
    assert said == ["one begins", "one ends"]


async def test_one_that_does_not_end_is_left(expect_log: Any) -> None:
    said: list[str] = []
    lives = Lives([("a:b", Part("one", said)), ("a:c", Part("two", said, takes=60))])
    await lives.begin()
    with expect_log("webfw.application", r"^a:c has not ended within 0\.5 seconds: it is left$"):
        await lives.end(1.0)
    assert said == ["one begins", "two begins", "one ends"]


async def test_one_that_fails_at_the_end_does_not_keep_the_others(expect_log: Any) -> None:
    said: list[str] = []

    class Bad(Part):
        async def shutdown(self) -> None:
            raise TimeoutError("of its own")

    lives = Lives([("a:b", Part("one", said)), ("a:c", Bad("two", said))])
    await lives.begin()
    with expect_log("webfw.application", "ending a:c failed"):
        await lives.end(5)
    assert said[-1] == "one ends"


async def test_methods_of_these_names_that_are_something_else() -> None:
    class Tornado(Application):
        def startup(self, port: int) -> None:
            raise AssertionError

        async def shutdown(self) -> None:
            raise AssertionError

    class Half(Application):
        async def startup(self) -> None:
            raise AssertionError

    lives = Lives([("a:b", Tornado([])), ("a:c", Half([])), ("a:d", lambda request: None)])
    await lives.begin()
    await lives.end(1)


# --- served ---

APP = """
import asyncio, json, os, pathlib

HERE = pathlib.Path(__file__).parent
VERSION = 1

def note(*words):
    with open(HERE / "notes", "a") as file:
        print(*words, file=file)

async def begin():
    pass

async def end():
    pass

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        note("begins", VERSION)
        try:
            await begin()
        except Exception as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        scope["state"]["version"] = VERSION
        await send({"type": "lifespan.startup.complete"})
        await receive()
        note("ends", VERSION)
        await end()
        note("has ended", VERSION)
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "open"})
        message = await receive()
        note(message["type"], message.get("code"))
    else:
        if scope["path"].endswith("/wait"):
            await asyncio.sleep(0.5)
        body = {"pid": os.getpid(), "state": scope["state"], "path": scope["path"], "root": scope["root_path"]}
        body = json.dumps(body).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": body})

def make():
    return app

async def make_later():
    return app
"""

Start = Callable[..., Any]


class Site:
    def __init__(self, directory: Path, command: Start) -> None:
        self.file = directory / "lives_app.py"
        self.notes_file = directory / "notes"
        self._command = command

    def write(self, version: int = 1, begin: str = "pass", end: str = "pass") -> None:
        text = APP.replace("VERSION = 1", f"VERSION = {version}")
        for name, body in (("begin", begin), ("end", end)):
            text = text.replace(f"async def {name}():\n    pass", f"async def {name}():\n    {body}")
        self.file.write_text(text)

    def serve(self, *options: str, target: str = "lives_app:app", **env: str) -> Any:
        return self._command("serve", target, "--bind", "127.0.0.1:0", *options, cwd=self.file.parent, **env)

    @property
    def notes(self) -> list[str]:
        return self.notes_file.read_text().splitlines() if self.notes_file.exists() else []

    def until(self, note: str) -> None:
        deadline = time.monotonic() + 20
        while note not in self.notes:
            assert time.monotonic() < deadline, self.notes
            time.sleep(0.01)


@pytest.fixture
def site(tmp_path: Path, webfw_command: Start) -> Site:
    made = Site(tmp_path, webfw_command)
    made.write()
    return made


def get(url: str, path: str = "/") -> Any:
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=20)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        assert response.status == 200
        return json.loads(response.read())
    finally:
        connection.close()


def open_websocket(url: str) -> socket.socket:
    place = urlsplit(url)
    client = socket.create_connection((place.hostname, place.port), timeout=20)
    client.sendall(
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    data = b""
    while not data.endswith(b"\x81\x04open"):
        more = client.recv(4096)
        assert more, data
        data += more
    return client


@pytest.mark.parametrize("workers", [pytest.param("0", marks=pytest.mark.slow), "1"])
def test_it_begins_before_requests_and_ends_after_them(site: Site, workers: str) -> None:
    command = site.serve("--workers", workers)
    url = command.url()
    assert site.notes == ["begins 1"]
    assert get(url, "/a")["state"] == {"version": 1}
    command.read_until('"GET /a HTTP/1.1" 200 ')
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port), timeout=20) as client:
        client.sendall(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        get(url)  # which comes after it
        status, _, errors = command.stop(signal.SIGTERM)
        assert b'"version": 1' in client.recv(4096)
    assert (status, errors) == (0, "")
    assert site.notes == ["begins 1", "ends 1", "has ended 1"]


@pytest.mark.parametrize(
    ("target", "option"), [("make_later", "--factory"), pytest.param("make()", "", marks=pytest.mark.slow)]
)
def test_factories(site: Site, target: str, option: str) -> None:
    command = site.serve(*filter(None, [option]), target=f"lives_app:{target}")
    assert get(command.url())["root"] == ""
    assert command.stop(signal.SIGTERM)[0] == 0


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_beginning_that_fails_ends_the_start(site: Site, workers: str) -> None:
    site.write(begin="raise OSError('no database')")
    status, output, errors = site.serve("--workers", workers).end()
    assert (status, output) == (3, "")
    assert errors == "webfw: the lifespan of lives_app:app failed: no database\n"
    assert len(site.notes) <= max(1, int(workers))  # nobody was started twice


@pytest.mark.parametrize("level", ["info", pytest.param("debug", marks=pytest.mark.slow)])
def test_what_the_application_has_raised_is_told_with_its_place(site: Site, level: str) -> None:
    site.file.write_text("async def app(scope, receive, send):\n    raise ValueError(scope['type'])\n")
    status, _, errors = site.serve("--lifespan", "on", "--log-level", level).end()
    assert status == 3
    last = errors.splitlines()[-1]
    sentence = f"webfw: the lifespan of lives_app:app failed: ValueError: lifespan ({site.file}:2)"
    assert last == sentence
    assert ("Traceback (most recent call last)" in errors) is (level == "debug")


@pytest.mark.parametrize("mode", ["on", "off"])
def test_the_lifespan_as_it_is_set(site: Site, mode: str) -> None:
    site.file.write_text(
        "async def app(scope, receive, send):\n"
        "    assert scope['type'] != 'lifespan'\n"
        "    await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n"
        "    await send({'type': 'http.response.body', 'body': b'7'})\n"
    )
    command = site.serve("--lifespan", mode)
    if mode == "on":
        status, _, errors = command.end()
        assert status == 3
        assert errors.startswith("webfw: the lifespan of lives_app:app failed: ")
        assert errors.count("\n") == 1
    else:
        assert get(command.url()) == 7
        assert command.stop(signal.SIGTERM)[0] == 0


@pytest.mark.parametrize("workers", [pytest.param("0", marks=pytest.mark.slow), "1"])
def test_a_signal_while_it_begins(site: Site, workers: str) -> None:
    site.write(begin="await asyncio.sleep(600)")
    command = site.serve("--workers", workers)
    site.until("begins 1")
    status, output, errors = command.stop(signal.SIGTERM)
    assert (status, errors) == (0, "")
    assert output.splitlines()[-1:] == ["webfw stopped"]
    assert site.notes == ["begins 1"]


@pytest.mark.slow
def test_a_beginning_may_not_take_for_ever(site: Site) -> None:
    site.write(begin="await asyncio.sleep(600)")
    status, _, errors = site.serve("--boot-timeout", "0.5").end()
    assert status == 3
    assert "not ready after 0.5 seconds" in errors


@pytest.mark.slow
def test_a_beginning_may_block(site: Site) -> None:
    """Nobody waits for that loop yet, so that there is nothing to be told."""
    site.write(begin="__import__('time').sleep(0.5)")
    command = site.serve("--blocked-after", "0.1")
    assert get(command.url())["state"] == {"version": 1}
    status, _, errors = command.stop(signal.SIGTERM)
    assert (status, errors) == (0, "")


@pytest.mark.slow
def test_the_end_while_a_successor_begins(site: Site) -> None:
    command = site.serve("--workers", "1")
    url = command.url()
    site.write(version=22, begin="await asyncio.sleep(600)")
    command.process.send_signal(signal.SIGHUP)
    site.until("begins 22")
    assert get(url)["state"] == {"version": 1}  # meanwhile
    assert command.stop(signal.SIGTERM)[0] == 0
    assert site.notes == ["begins 1", "begins 22", "ends 1", "has ended 1"]


@pytest.mark.slow
def test_each_worker_begins_though_it_was_loaded_once(site: Site) -> None:
    command = site.serve("--workers", "2", "--preload", "--factory", target="lives_app:make_later")
    assert get(command.url())["state"] == {"version": 1}
    assert command.stop(signal.SIGTERM)[0] == 0
    assert sorted(site.notes) == ["begins 1"] * 2 + ["ends 1"] * 2 + ["has ended 1"] * 2


def test_an_end_has_its_time_and_no_more(site: Site) -> None:
    site.write(end="await asyncio.sleep(600)")
    command = site.serve("--graceful-timeout", "0.3")
    command.url()
    status, _, errors = command.stop(signal.SIGTERM)
    assert status == 0
    assert "lives_app:app has not ended within 0.3 seconds: it is left" in errors
    assert site.notes == ["begins 1", "ends 1"]


@pytest.mark.slow
def test_a_second_signal_does_not_wait_for_the_end(site: Site) -> None:
    site.write(end="await asyncio.sleep(600)")
    command = site.serve()
    command.url()
    command.process.send_signal(signal.SIGTERM)
    site.until("ends 1")
    before = time.monotonic()
    assert command.stop(signal.SIGTERM)[0] == 128 + signal.SIGTERM
    assert time.monotonic() < before + 10


def test_a_reload_begins_before_the_former_ends(site: Site) -> None:
    command = site.serve("--workers", "1", "--graceful-timeout", "8")
    url = command.url()
    with open_websocket(url) as client:
        site.write(version=22)
        command.process.send_signal(signal.SIGHUP)
        # Those who stay are sent away (1012), and the old worker's application ends after them.
        closing = client.recv(4096)
        assert (closing[0], closing[2:4]) == (0x88, b"\x03\xf4")
        client.sendall(b"\x88\x82\x00\x00\x00\x00\x03\xf4")
    site.until("has ended 1")
    assert get(url)["state"] == {"version": 22}
    assert site.notes == [
        "begins 1",
        "begins 22",
        "websocket.disconnect 1012",
        "ends 1",
        "has ended 1",
    ]
    assert command.stop(signal.SIGTERM)[0] == 0
    assert site.notes[-2:] == ["ends 22", "has ended 22"]


@pytest.mark.slow
def test_a_new_version_that_cannot_begin_leaves_the_old_one(site: Site) -> None:
    command = site.serve("--workers", "1")
    url = command.url()
    site.write(version=22, begin="raise OSError('no database')")
    command.process.send_signal(signal.SIGHUP)
    for line in command.process.stderr:
        if "no reload" in line:
            break
    assert "the lifespan of lives_app:app failed: no database: no reload, the former workers go on" in line
    assert get(url)["state"] == {"version": 1}
    assert command.stop(signal.SIGTERM)[0] == 0
    assert site.notes == ["begins 1", "begins 22", "ends 1", "has ended 1"]


def test_three_kinds_on_one_port(site: Site, tmp_path: Path) -> None:
    (tmp_path / "lives_others.py").write_text(
        "from webfw.web import Application, RequestHandler\n"
        "class Page(RequestHandler):\n"
        "    def get(self): self.write('\"native\"')\n"
        "app = Application([('/', Page)])\n"
        "def wsgi(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    return [b'\"wsgi %s\"' % environ['SCRIPT_NAME'].encode()]\n"
    )
    (tmp_path / "webfw.toml").write_text(
        'app = "lives_others:app"\nthreads = 2\n'
        '[[apps]]\napp = "lives_others:wsgi"\npath = "/shop"\n'
        '[[apps]]\napp = "lives_app:make"\npath = "/api"\nfactory = true\nlifespan = "on"\n'
    )
    command = site._command("serve", "--bind", "127.0.0.1:0", cwd=tmp_path)
    url = command.url()
    assert (get(url), get(url, "/shop/x")) == ("native", "wsgi /shop")
    answer = get(url, "/api/x")
    assert (answer["path"], answer["root"], answer["state"]) == ("/api/x", "/api", {"version": 1})
    command.read_until('"GET /api/x HTTP/1.1" 200 ')
    assert command.stop(signal.SIGTERM)[0] == 0
    assert site.notes[-1] == "has ended 1"


def test_an_application_in_an_application(site: Site, tmp_path: Path) -> None:
    """It begins, ends, and is told to go away, wherever it is."""
    (tmp_path / "lives_outer.py").write_text(
        "from lives_app import app as inner, note\n"
        "from webfw.asgi import ASGIContainer\n"
        "from webfw.routing import PathMatches, Rule\n"
        "from webfw.web import Application\n"
        "class Outer(Application):\n"
        "    async def startup(self): note('outer begins')\n"
        "    async def shutdown(self): note('outer ends')\n"
        "app = Outer([Rule(PathMatches('/.*'), ASGIContainer(inner, drain_spread=0))])\n"
    )
    command = site.serve(target="lives_outer:app")
    with open_websocket(command.url()) as client:
        command.process.send_signal(signal.SIGTERM)
        closing = client.recv(4096)
        assert (closing[0], closing[2:4]) == (0x88, b"\x03\xf4")
        client.sendall(b"\x88\x82\x00\x00\x00\x00\x03\xf4")
        assert command.end()[0] == 0
    assert site.notes == [
        "outer begins",
        "begins 1",
        "websocket.disconnect 1012",
        "ends 1",
        "has ended 1",
        "outer ends",
    ]
