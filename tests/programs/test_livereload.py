"""livereload: static files, or a WSGI application, whose pages reload over a WebSocket when a file changes.

Chosen because it reaches deep: an ``OutputTransform`` of its own, a static file handler with overridden versions, a
subclass of ``WSGIContainer`` that answers through the bare connection, and autoreload's hooks.
"""

import itertools
import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.programs.drive import ENVIRONMENT, Client, Program, eventually, free_port

pytestmark = pytest.mark.slow

PAGE = "<html><head><title>{}</title></head><body>Grüße</body></html>\n"
WSGI = """\
import sys
from livereload import Server

def app(environ, start_response):
    body = ("<html><head></head><body>" + environ["PATH_INFO"] + " " + environ["REQUEST_METHOD"] + " "
            + environ["wsgi.input"].read().decode() + "</body></html>").encode()
    start_response("418 Short and stout", [("Content-Type", "text/html"), ("X-Own", "1")])
    return [body]

print("word = 1")
Server(app).serve(port=int(sys.argv[1]))
"""


_serial = itertools.count(1)


def change(path: Path, text: str) -> None:
    """Write a file, with a time of modification that it has not had before, and that lies in no program's life."""
    path.write_text(text, encoding="utf-8")
    os.utime(path, (time.time(), time.time() - 1000 + next(_serial)))


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "index.html").write_text(PAGE.format("one"), encoding="utf-8")
    (tmp_path / "style.css").write_text("p { color: red }")
    return tmp_path


@pytest.fixture
def server(run_on_webfw: Callable[..., Program], site: Path) -> Iterator[tuple[Program, Client]]:
    port = str(free_port())
    program = run_on_webfw(str(ENVIRONMENT / "bin" / "livereload"), "--port", port, "--debug", str(site))
    base = program.read_until(r"Serving on (http://\S+)")[1]
    program.wait_for_port(base)
    yield program, Client(base)
    assert program.stop(signal.SIGINT) == 0
    assert program.trouble() == [], program.log


def say_hello(socket: ClientConnection, page: str) -> Any:
    """What livereload.js does first."""
    protocols = ["http://livereload.com/protocols/official-7"]
    socket.send(json.dumps({"command": "hello", "protocols": protocols}))
    answer = json.loads(socket.recv(timeout=10))
    socket.send(json.dumps({"command": "info", "url": page, "plugins": {}}))
    return answer


def test_pages_get_the_script_on_their_way(server: tuple[Program, Client], site: Path) -> None:
    client = server[1]
    page = client("GET", "/")
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html")
    # The transform has made the page longer than the file, and says so.
    assert re.search(r"<title>one</title><script .*livereload\.js.*</script></head>", page.text)
    assert int(page.headers["Content-Length"]) == len(page.body) > (site / "index.html").stat().st_size
    style = client("GET", "/style.css")
    assert (style.headers["Content-Type"], style.text) == ("text/css", "p { color: red }")
    # It never answers 304: should_return_304 is overridden.
    assert client("GET", "/style.css", headers={"If-None-Match": style.headers["Etag"]}).status == 200
    assert client("GET", "/nothing.css").status == 404
    script = client("GET", "/livereload.js")
    assert (script.status, script.headers["Content-Type"]) == (200, "application/javascript")
    assert len(script.body) > 10_000


def test_a_changed_file_reloads_the_page(server: tuple[Program, Client], site: Path) -> None:
    program, client = server
    with connect(client.base.replace("http:", "ws:") + "/livereload", open_timeout=20) as socket:
        assert say_hello(socket, client.base)["serverName"] == "livereload-tornado"
        program.read_until("Browser Connected")

        def told() -> Any:
            """Write until it is told: what changes in the first seconds after the start is ignored by livereload."""
            change(site / "index.html", PAGE.format("two"))
            try:
                return json.loads(socket.recv(timeout=1))
            except TimeoutError:
                return None

        message = eventually(told)
        assert message["command"] == "reload"
        assert message["path"] == str(site / "index.html")
    assert "<title>two</title>" in client("GET", "/").text

    with connect(client.base.replace("http:", "ws:") + "/livereload", open_timeout=20) as socket:
        say_hello(socket, client.base)
        program.read_until("Browser Connected")
        assert client("GET", "/forcereload?path=style.css").text == "ok"
        message = json.loads(socket.recv(timeout=10))
        assert (message["path"], message["liveCSS"]) == ("style.css", True)


def test_a_wsgi_application_is_served_and_reloaded(
    run_on_webfw: Callable[..., Program], tmp_path: Path
) -> None:
    script = tmp_path / "application.py"
    script.write_text(WSGI)
    program = run_on_webfw(str(script), str(free_port()))
    base = program.read_until(r"Serving on (http://\S+)")[1]
    program.wait_for_port(base)
    client = Client(base)
    answer = client("POST", "/some%20path", "Grüße".encode())
    assert (answer.status, answer.headers["X-Own"], answer.headers["Server"]) == (418, "1", "LiveServer")
    assert re.search(r"livereload\.js.*</head><body>/some path POST Grüße</body>", answer.text)
    assert int(answer.headers["Content-Length"]) == len(answer.body)
    program.read_until(r"418 POST /some%20path")

    # With an application, debug is on: the program starts anew when its source changes.
    def begun_anew() -> bool:
        """The times that count are those of a while after the start, so one change may be too early."""
        change(script, WSGI.replace("word = 1", "word = 2"))
        return program.has_printed("word = 2", 2)

    eventually(begun_anew)
    program.read_until("Serving on")
    program.wait_for_port(base)
    assert client("GET", "/").status == 418
    assert program.stop(signal.SIGINT) == 0
    assert program.trouble() == [], program.log
