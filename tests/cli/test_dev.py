"""Tests of webfw.cli.dev: what is found and refused, pages of exceptions, mistakes and their mending."""

import http.client
import os
import re
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from webfw.cli import dev
from webfw.cli.errors import LOAD_FAILED, CommandError
from webfw.cli.target import check_target
from webfw.testing import Client
from webfw.web import Application, RequestHandler

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals")

Start = Callable[..., Any]

APP = """
import webfw.web
from helper import text

class Hello(webfw.web.RequestHandler):
    def get(self):
        self.write(text)

class Bad(webfw.web.RequestHandler):
    def get(self):
        raise RuntimeError("broken on purpose")

class Settings(webfw.web.RequestHandler):
    def get(self):
        names = ("debug", "autoreload", "compiled_template_cache", "serve_traceback")
        self.write(" ".join(str(self.settings.get(name)) for name in names))

routes = [("/", Hello), ("/bad", Bad), ("/settings", Settings)]
app = webfw.web.Application(routes, static_path=".", debug=False)

async def later():
    return webfw.web.Application(routes)

def wsgi(environ, start_response):
    start_response("200 OK", [])
    return [b"wsgi"]
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "helper.py").write_text('text = "one"\n')
    return tmp_path


@pytest.fixture(name="dev")
def dev_command(webfw_command: Start, place: Path) -> Start:
    def start(*arguments: str, **env: str) -> Any:
        return webfw_command("dev", "--bind", "127.0.0.1:0", *arguments, **env)

    return start


def get(url: str, path: str = "/", **headers: str) -> tuple[int, str, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    connection.request("GET", path, headers={"Connection": "close", **headers})
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    return response.status, body, response.headers


def is_served(url: str, text: str) -> bool:
    """Nobody is refused meanwhile; but a connection may be closed that has not brought its request yet."""
    try:
        return get(url)[1] == text
    except ConnectionResetError:
        return False


def test_finds_the_application_and_shows_exceptions(dev: Start, place: Path) -> None:
    command = dev()
    url = command.read_until(r"serving app:app on (http://127\.0\.0\.1:\d+)$")[1]
    command.read_until("^webfw dev is for development")
    assert get(url)[1] == "one"
    status, page, _ = get(url, "/bad", Accept="text/html")
    assert status == 500
    assert "broken on purpose" in page
    assert str(place / "app.py") in page
    assert get(url, "/settings")[1] == "True False False True"
    assert get(url, "/static/helper.py")[2]["Cache-Control"] == "no-cache"
    status, output, errors = command.stop(signal.SIGINT)
    assert status == 0
    assert output.endswith("webfw stopped\n")
    assert "RuntimeError" in errors


@pytest.mark.slow
@pytest.mark.parametrize(("target", "body"), [("app:later()", "one"), ("app:wsgi", "wsgi")])
def test_other_applications(dev: Start, target: str, body: str) -> None:
    command = dev(target)
    assert get(command.url())[1] == body
    assert command.stop(signal.SIGTERM)[0] == 0


def test_a_change_is_served(dev: Start, place: Path) -> None:
    command = dev()
    url = command.url()
    process = command.process.pid
    for text in ("two", "three"):
        (place / "helper.py").write_text(f"text = {text!r}\n")
        command.read_until("^webfw: helper.py changed, starting again$")
        while not is_served(url, text):
            pass
        command.read_until(r"^webfw serves again, \d+\.\d\d s after the change$")
    assert command.process.pid == process
    assert command.stop(signal.SIGTERM)[0] == 0


ASGI = """
import asyncio, pathlib
async def begin():
    pass

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await begin()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        pathlib.Path("ended").touch()
        await send({"type": "lifespan.shutdown.complete"})
    else:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"asgi"})

def make():
    return app
"""


def test_an_asgi_application_ends_before_it_starts_again(dev: Start, place: Path) -> None:
    (place / "app.py").write_text(ASGI)
    command = dev("app:make", "--factory")
    url = command.url()
    assert get(url)[1] == "asgi"
    (place / "app.py").write_text(ASGI.replace('b"asgi"', 'b"again"'))
    command.read_until("^webfw: app.py changed, starting again$")
    while not is_served(url, "again"):
        pass
    assert (place / "ended").exists()
    (place / "ended").unlink()
    assert command.stop(signal.SIGINT)[0] == 0
    assert (place / "ended").exists()


def test_an_application_that_cannot_begin_is_shown_and_mended(dev: Start, place: Path) -> None:
    failing = "    raise OSError('no database')"
    (place / "app.py").write_text(ASGI.replace("    pass", failing))
    with socket.create_server(("127.0.0.1", 0)) as sock:
        address = f"127.0.0.1:{sock.getsockname()[1]}"
    command = dev("--lifespan", "on", "--bind", address)
    command.read_until("^webfw waits for a change; until then the browser shows what is wrong$")
    status, page, _ = get(f"http://{address}", "/x", Accept="text/html")
    assert status == 500
    assert "OSError" in page
    assert "no database" in page
    (place / "app.py").write_text(ASGI)
    command.read_until("^webfw: app.py changed, starting again$")
    command.read_until("^webfw serves again")
    while not is_served(f"http://{address}", "asgi"):
        pass
    status, _, errors = command.stop(signal.SIGINT)
    assert status == 0
    assert re.search(
        r"webfw: the lifespan of app:app failed: OSError: no database \(\S+/app\.py:4\)\n", errors
    )


def test_an_application_that_does_not_come_to_begin_is_mended(dev: Start, place: Path) -> None:
    """Files are watched while it hangs."""
    hanging = "    pathlib.Path('hangs').touch()\n    await asyncio.sleep(600)"
    (place / "app.py").write_text(ASGI.replace("    pass", hanging))
    command = dev()
    while not (place / "hangs").exists():
        time.sleep(0.01)
    (place / "app.py").write_text(ASGI)
    command.read_until("^webfw: app.py changed, starting again$")
    command.read_until("^webfw serves again")
    assert command.stop(signal.SIGINT)[0] == 0


def test_an_application_that_does_not_come_to_begin_is_ended(dev: Start, place: Path) -> None:
    hanging = "    pathlib.Path('hangs').touch()\n    await asyncio.sleep(600)"
    (place / "app.py").write_text(ASGI.replace("    pass", hanging))
    command = dev()
    while not (place / "hangs").exists():
        time.sleep(0.01)
    status, output, _ = command.stop(signal.SIGINT)
    assert status == 0
    assert "is blocked" not in output


def test_an_end_may_be_slow(dev: Start, place: Path) -> None:
    """The loop stands still for longer than one that is taken for blocked, but it has heard of the end."""
    touch = '        pathlib.Path("ended").touch()'
    (place / "app.py").write_text(ASGI.replace(touch, f"        __import__('time').sleep(1)\n{touch}"))
    command = dev()
    command.url()
    status, output, _ = command.stop(signal.SIGINT)
    assert status == 0
    assert output.endswith("webfw stopped\n")
    assert (place / "ended").exists()


@pytest.mark.slow
def test_the_setting_autoreload_stands_back(dev: Start, place: Path) -> None:
    """Also where there is a loop when the application is made, which starts its reloader then."""
    source = "from webfw.ioloop import IOLoop\nIOLoop.current()\n" + APP.replace("debug=False", "debug=True")
    (place / "app.py").write_text(source)
    command = dev()
    url = command.url()
    (place / "helper.py").write_text("text = 'two'\n")
    command.read_until("^webfw: helper.py changed, starting again$")
    command.read_until("^webfw serves again")
    assert get(url)[1] == "two"
    assert ": starting again" not in command.stop(signal.SIGTERM)[2]


@pytest.mark.slow
def test_a_syntax_error_is_not_taken(dev: Start, place: Path) -> None:
    command = dev()
    url = command.url()
    (place / "helper.py").write_text("text = =\n")
    command.read_until(r"^webfw: helper.py changed, not taken yet: invalid syntax \(.*helper.py, line 1\)$")
    assert get(url)[1] == "one"
    (place / "helper.py").write_text("text = 'mended'\n")
    command.read_until("^webfw serves again")
    assert get(url)[1] == "mended"
    command.stop(signal.SIGTERM)


@pytest.mark.slow
def test_what_cannot_be_loaded_is_shown_until_it_is_mended(dev: Start, place: Path) -> None:
    command = dev()
    url = command.url()
    (place / "helper.py").write_text("txt = 1\n")
    command.read_until("^webfw waits for a change; until then the browser shows what is wrong$")
    status, page, headers = get(url, "/any/path", Accept="text/html")
    assert status == 500
    assert "cannot import name" in page
    assert "from helper import text" in page
    assert "cli/target.py" not in page
    assert headers["Cache-Control"] == "no-store"
    status, text, _ = get(url, Accept="application/json")
    assert status == 500
    assert text.startswith("Traceback")
    assert "webfw/cli" not in text
    (place / "helper.py").write_text("text = 'mended'\n")
    command.read_until("^webfw serves again")
    assert get(url)[1] == "mended"
    errors = command.stop(signal.SIGTERM)[2]
    assert "ImportError: cannot import name 'text'" in errors
    assert re.search(r"^webfw: importing 'app' failed: ", errors, re.MULTILINE)


@pytest.mark.slow
def test_broken_from_the_start(dev: Start, place: Path) -> None:
    (place / "app.py").write_text("import none_such_module_e\napp = 1\n")
    command = dev()
    command.read_until("^webfw waits for a change")
    (place / "none_such_module_e.py").write_text("")
    # It can be imported now, but is no application: the next change may make it one.
    command.read_until("^webfw waits for a change")
    (place / "app.py").write_text("from webfw.web import Application\napp = Application([])\n")
    command.read_until("^webfw serves again")
    status, _, errors = command.stop(signal.SIGINT)
    assert status == 0
    assert "app:app is of type int; it must be an instance of" in errors


@pytest.mark.slow
def test_a_new_configuration_is_a_change(dev: Start, place: Path) -> None:
    (place / "webfw.toml").write_text('app = "app:app"\nbind = ["0.0.0.0:80"]\nuser = "nobody-has-this"\n')
    command = dev()
    command.url()
    (place / "webfw.toml").write_text('app = "app:wsgi"\n')
    command.read_until("^webfw: webfw.toml changed, starting again$")
    command.read_until("^webfw serves again")
    command.stop(signal.SIGTERM)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (
            ["--bind", "0.0.0.0:0"],
            2,
            r"does not listen on http://0\.0\.0\.0:\d+ \(--bind\): .* --open-to-network",
        ),
        (["--bind", ":0"], 2, "--open-to-network"),
        (["app:none"], 2, "has no attribute 'none'"),
        (["none:app"], 2, "there is no module 'none'"),
        (["app:text"], 2, "it must be an instance of"),
        (["--chdir", "none"], 1, "--chdir: none: no such file or directory"),
        (["--certfile", "none"], 1, "--certfile none: no such file"),
        (
            ["--app-dir", os.devnull],
            2,
            "make_app or create_app in app.py, main.py, wsgi.py or asgi.py of /",
        ),
    ],
)
def test_what_is_refused(dev: Start, arguments: list[str], status: int, sentence: str) -> None:
    found, output, errors = dev(*arguments).end()
    assert (found, output) == (status, "")
    assert re.search(sentence, errors)
    assert errors.count("\n") == 1


@pytest.mark.slow
def test_told_twice(dev: Start) -> None:
    command = dev("--bind", "0.0.0.0:0", "--open-to-network")
    command.url()
    assert command.url().startswith("http://0.0.0.0:")
    assert command.stop(signal.SIGINT)[0] == 0


def test_port_of_the_environment_is_on_this_machine(webfw_command: Start, place: Path) -> None:
    command = webfw_command("dev", PORT="0")
    assert command.url().startswith("http://127.0.0.1:")
    command.stop(signal.SIGINT)


@pytest.mark.slow
def test_unix_sockets_are_kept_too(webfw_command: Start, place: Path) -> None:
    command = webfw_command("dev", "--bind", "unix:dev.sock")
    command.url()
    inode = (place / "dev.sock").stat().st_ino
    (place / "helper.py").write_text("text = 'two'\n")
    command.read_until("^webfw serves again")
    assert (place / "dev.sock").stat().st_ino == inode
    assert command.stop(signal.SIGINT)[0] == 0
    assert not (place / "dev.sock").exists()


# --- in this process ---


def failure() -> CommandError:
    error = CommandError("importing 'app' failed", LOAD_FAILED)
    try:
        exec(compile("1 / 0", "/their/app.py", "exec"))
    except ZeroDivisionError as cause:
        error.__cause__ = cause
    return error


async def test_the_page_of_a_broken_application(capsys: pytest.CaptureFixture[str]) -> None:
    error = failure()
    app = Application([(r".*", dev._Broken, {"error": error.__cause__})], log_function=lambda handler: None)
    client = Client(app)
    response = await client.post("/x?y", headers={"Accept": "text/html"})
    assert response.code == 500
    assert "The application cannot be loaded &middot; POST /x<" in response.text
    assert "ZeroDivisionError" in response.text
    assert (await client.get("/", headers={"Accept": "a/b"})).text.startswith("Traceback")
    dev._tell(error)
    dev._tell(CommandError("alone"))
    errors = capsys.readouterr().err
    assert errors.endswith("webfw: importing 'app' failed\nwebfw: alone\n")


def test_a_traceback_without_frames_of_the_program() -> None:
    with pytest.raises(CommandError) as raised:
        check_target("nonsense")
    error = raised.value
    assert error.__traceback__ is not None
    error.__traceback__ = error.__traceback__.tb_next
    assert dev._traceback(error) == [f"webfw.cli.errors.CommandError: {error}\n"]


async def test_debug_pages_are_on_and_nothing_is_kept() -> None:
    class Kept(RequestHandler):
        def get(self) -> None:
            if self.get_argument("age", ""):
                self.set_header("Cache-Control", "max-age=1")
            self.write("x")

    app = Application(
        [("/", Kept)], debug=False, compiled_template_cache=True, log_function=lambda handler: None
    )
    assert dev._with_debug_pages(app) is app
    client = Client(app)
    assert (await client.get("/")).headers["Cache-Control"] == "no-cache"
    assert (await client.get("/?age=1")).headers["Cache-Control"] == "max-age=1"
    assert (app.settings["debug"], app.settings["serve_traceback"], app.settings["autoreload"]) == (
        True,
        True,
        False,
    )
    assert app.settings["compiled_template_cache"] is True  # as the program says

    async def later() -> Application:
        return Application([])

    assert (await dev._with_debug_pages(later())).settings["debug"]
    assert dev._with_debug_pages(len) is len
