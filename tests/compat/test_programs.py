"""Whole programs, written as Tornado's manual teaches, run unchanged under both: only ``tornado`` becomes ``webfw``.

A scripted visitor talks to each; what he sees must be the same but for tokens and identifiers made by chance.
"""

import contextlib
import http.client
import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FRAMEWORKS = ("tornado", "webfw")

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tornado") is None, reason="tornado is not installed (dependency group test)"
)


class Visitor:
    """A browser of sorts: keeps cookies, sends forms, and notes what it sees."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        self.cookies: dict[str, str] = {}
        self.seen: list[str] = []

    def ask(self, method: str, path: str, body: bytes | None = None, **fields: str) -> str:
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        self.connection.request(method, path, body, headers)
        response = self.connection.getresponse()
        text = response.read().decode()
        for value in response.headers.get_all("Set-Cookie", []):
            name, _, rest = value.partition("=")
            self.cookies[name] = rest.partition(";")[0]
            if not self.cookies[name].strip('"'):
                del self.cookies[name]
        names = ("Content-Type", "Location", "Transfer-Encoding", "Content-Disposition")
        notes = [f"{name}: {response.headers[name]}" for name in names if name in response.headers]
        self.seen.append("\n".join([f"{method} {path} -> {response.status} {response.reason}", *notes, text]))
        return text

    def get(self, path: str) -> str:
        return self.ask("GET", path)

    def post(self, path: str, **values: str) -> str:
        """Send a form, with the token of the last one where there is one."""
        tokens = re.findall('name="_xsrf" value="([^"]+)"', "\n".join(self.seen))
        if tokens:
            values["_xsrf"] = tokens[-1]
        return self.ask(
            "POST", path, urlencode(values).encode(), Content_Type="application/x-www-form-urlencoded"
        )

    def close(self) -> None:
        self.connection.close()


@contextlib.contextmanager
def running(framework: str, program: str, directory: Path) -> Iterator[int]:
    """The port of a program that runs under a framework."""
    copy = directory / framework
    shutil.copytree(HERE / "programs", copy)
    source = (copy / program).read_text(encoding="utf-8")
    (copy / program).write_text(re.sub(r"\btornado\b", framework, source), encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, program, "--port=0", "--logging=error"],
        cwd=copy,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("port "):
            raise AssertionError(f"{program} under {framework}: {process.communicate()[1]}")
        yield int(line.split()[1])
    finally:
        process.terminate()
        errors = process.communicate()[1]
    assert errors == "", f"{program} under {framework} logged errors: {errors}"


def plain(text: str, framework: str) -> str:
    """A page without what depends on chance."""
    text = re.sub(r"2\|[0-9a-f]{8}\|[0-9a-f]+\|\d+", "TOKEN", text)
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID", text)
    text = re.sub(r"(?<=\?v=)[0-9a-f]+", "HASH", text)
    text = re.sub(r"127\.0\.0\.1:\d+", "HOST", text)
    return text.replace(framework, "FW")


def talk_to(program: str, visit: Callable[[Visitor], None], directory: Path) -> list[str]:
    """Let the visitor talk to the program under both frameworks; what both have said, which must be the same."""
    seen = {}
    for framework in FRAMEWORKS:
        with running(framework, program, directory) as port:
            visitor = Visitor(port)
            try:
                visit(visitor)
            finally:
                visitor.close()
            seen[framework] = [plain(text, framework) for text in visitor.seen]
    assert seen["webfw"] == seen["tornado"]
    return seen["webfw"]


def test_hello(tmp_path: Path) -> None:
    def visit(visitor: Visitor) -> None:
        for path in ("/", "/count", "/count/5", "/count/x", "/nowhere"):
            visitor.get(path)
        visitor.ask("HEAD", "/nowhere")
        visitor.post("/none")

    seen = talk_to("hello.py", visit, tmp_path)
    assert seen[0].endswith("200 OK\nContent-Type: text/html; charset=UTF-8\nHello, world")
    assert '{"count": 6,' in seen[2]


def test_chat(tmp_path: Path) -> None:
    def visit(visitor: Visitor) -> None:
        visitor.get("/")
        visitor.post("/a/message/new", body="first <b> http://a.example")
        waiting = [Visitor(visitor.port) for _ in range(3)]
        for one in waiting:
            one.get("/")
        threads = [threading.Thread(target=one.post, args=("/a/message/updates",)) for one in waiting]
        for thread in threads:
            thread.start()
        leaver = socket.create_connection(("127.0.0.1", visitor.port))
        cookie = f"Cookie: _xsrf={visitor.cookies['_xsrf']}\r\nX-XSRFToken: {visitor.cookies['_xsrf']}\r\n"
        leaver.sendall(
            f"POST /a/message/updates HTTP/1.1\r\nHost: a\r\n{cookie}Content-Length: 0\r\n\r\n".encode()
        )
        until(visitor.port, "4")
        leaver.close()
        until(visitor.port, "3")
        visitor.post("/a/message/new", body="second", next="/")
        for thread, one in zip(threads, waiting, strict=True):
            thread.join(20)
            visitor.seen += one.seen
            one.close()
        visitor.get("/")
        visitor.cookies.clear()
        visitor.ask(
            "POST", "/a/message/new", b"body=forged", Content_Type="application/x-www-form-urlencoded"
        )

    seen = talk_to("chat.py", visit, tmp_path)
    assert sum("POST /a/message/updates -> 200" in text and "second" in text for text in seen) == 3
    assert "403" in seen[-1]


def until(port: int, number: str) -> None:
    """Ask the chat until so many requests wait for messages."""
    visitor = Visitor(port)
    try:
        while visitor.get("/waiters") != number:
            pass
    finally:
        visitor.close()


def test_files(tmp_path: Path) -> None:
    def visit(visitor: Visitor) -> None:
        name = "caf\u00e9.txt"
        body = "".join(
            f'--X\r\nContent-Disposition: form-data; name="f{i}"; filename="{name}"\r\n'
            f"Content-Type: text/plain\r\n\r\n{'x' * i * 100_000}\r\n"
            for i in (0, 1, 8)
        )
        visitor.ask(
            "POST", "/post", f"{body}--X--\r\n".encode(), Content_Type="multipart/form-data; boundary=X"
        )
        visitor.ask("PUT", "/some%20file", b"x" * 3_000_000, Content_Type="application/x-thing")
        visitor.connection.putrequest("PUT", "/chunked")
        visitor.connection.putheader("Transfer-Encoding", "chunked")
        visitor.connection.endheaders(iter([b"x" * 100_000] * 5), encode_chunked=True)
        response = visitor.connection.getresponse()
        visitor.seen.append(f"{response.status} {response.read()!r}")
        length = len(visitor.get("/download/3"))
        visitor.seen[-1] = f"{length} bytes"
        with socket.create_connection(("127.0.0.1", visitor.port)) as leaver:
            leaver.sendall(b"GET /download/100 HTTP/1.1\r\nHost: a\r\n\r\n")
            leaver.recv(1000)
        visitor.get("/post")

    seen = talk_to("files.py", visit, tmp_path)
    assert "f8: caf\u00e9.txt text/plain 800000" in seen[0]
    assert 'PUT "some file" "application/x-thing" 3000000 bytes' in seen[1]
    assert "500000 bytes" in seen[2]
    assert seen[3] == "3145728 bytes"


def test_blog(tmp_path: Path) -> None:
    def visit(visitor: Visitor) -> None:
        for path in ("/", "/compose", "/compose?id=x", "/auth/login?next=/compose", "/archive", "/feed"):
            visitor.get(path)
        visitor.post("/auth/create", name="Anna \u00c4", password="secret")
        visitor.get("/compose")
        visitor.post("/compose", title="Hello, <World>!", markdown="See http://a.example/x?y=1&z=2 & more")
        for path in (
            "/entry/hello-world",
            "/entry/none",
            "/",
            "/archive",
            "/feed",
            "/compose?id=hello-world",
        ):
            visitor.get(path)
        visitor.post("/compose", title="!!!", markdown="no slug")
        visitor.post("/compose", title="no text")
        visitor.get("/static/entry.css")
        visitor.get("/auth/logout?next=/")
        visitor.get("/")
        visitor.get("/auth/login")
        visitor.post("/auth/login", password="wrong")
        visitor.post("/auth/login", password="secret", next="/archive")
        visitor.get("/archive")
        visitor.post("/auth/create", name="Second", password="x")
        visitor.cookies["blogdemo_user"] = '"2|1:0|10:1700000000|13:blogdemo_user|4:MQ==|' + "0" * 64 + '"'
        visitor.get("/")

    seen = talk_to("blog.py", visit, tmp_path)
    assert "Location: /entry/hello-world" in seen[8]
    assert "Anna \u00c4" in seen[9]
    assert "Sign out" in seen[9]
    assert "incorrect password" in "".join(seen)
    assert "Sign in" in seen[-1]
