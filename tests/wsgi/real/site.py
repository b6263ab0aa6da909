"""A server in a thread, and visitors who use it over real HTTP with their cookies, as `requests` would."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPMessage, HTTPResponse
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode
from wsgiref.validate import validator

from webfw.httpserver import HTTPServer
from webfw.netutil import bind_sockets
from webfw.wsgi import WSGIContainer

#: The ways to run an application; ``validated`` has the standard library's judge of PEP 3333 between the two.
MODES: dict[str, dict[str, Any]] = {
    "threads": {"threads": 4},
    "inline": {"threads": 0},
    "validated": {"threads": 4},
}


def contain(application: Any, mode: str, **options: Any) -> WSGIContainer:
    """The application in a container of one of the `MODES`, without an access log."""
    if mode == "validated":
        application = judged(application)
    options = {"log_function": lambda entry: None, **MODES[mode], **options}
    return WSGIContainer(application, **options)


def judged(application: Any) -> Any:
    """The application behind `wsgiref.validate`, which lets nobody read the body without a size."""
    validated = validator(application)

    def run(environ: dict[str, Any], start_response: Any) -> Any:
        # Applications that know it read to the end, without a size.
        del environ["wsgi.input_terminated"]
        return validated(environ, start_response)

    return run


class Site:
    """A server in a thread of its own.

    :param make: called on the server's loop: what it answers with.
    :param loop_factory: makes the server's loop.
    :param options: of the `HTTPServer`.
    """

    def __init__(
        self,
        make: Callable[[], Any],
        loop_factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
        **options: Any,
    ) -> None:
        self.port = self.left = 0
        self.application: Any = None
        self._make = make
        self._options = options
        self._ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(loop_factory,))
        self._thread.start()
        self._ready.result(10)

    def _run(self, loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(self._main())

    async def _main(self) -> None:
        try:
            self.loop = asyncio.get_running_loop()
            self._stopping = asyncio.Event()
            self.application = self._make()
            server = HTTPServer(self.application, **self._options)
            (sock,) = bind_sockets(0, "127.0.0.1")
            self.port = sock.getsockname()[1]
            server.add_socket(sock)
        except BaseException as error:
            self._ready.set_exception(error)
            raise
        self._ready.set_result(None)
        await self._stopping.wait()
        #: Connections that were busy though every visitor had gone.
        self.left = await server.drain(5)
        if isinstance(self.application, WSGIContainer):
            pool = self.application._pool
            self.application.close()
            if pool is not None:  # a response may be complete before its application is done
                pool.join(10)

    def stop(self) -> None:
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(20)
        assert not self._thread.is_alive()
        assert not self.left

    def visitor(self) -> "Visitor":
        return Visitor(self.port)


@dataclass
class Answer:
    status: int
    headers: HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Visitor:
    """Somebody with one keep-alive connection and a cookie jar."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.connection = HTTPConnection("127.0.0.1", port, timeout=20)
        self.cookies: dict[str, str] = {}

    def __enter__(self) -> "Visitor":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.connection.close()

    def begin(self, method: str, path: str, body: Any = None, **headers: str) -> HTTPResponse:
        """Send a request and read the head of its response; underscores in names stand for dashes."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookies:
            fields["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        self.connection.request(method, path, body, fields)
        response = self.connection.getresponse()
        for line in response.headers.get_all("Set-Cookie", []):
            for name, morsel in SimpleCookie(line).items():
                self.cookies[name] = morsel.value
                if morsel["max-age"] == "0" or morsel["expires"].startswith("Thu, 01 Jan 1970"):
                    del self.cookies[name]
        return response

    def fetch(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        response = self.begin(method, path, body, **headers)
        return Answer(response.status, response.headers, response.read())

    def get(self, path: str, **headers: str) -> Answer:
        return self.fetch("GET", path, **headers)

    def post(self, path: str, fields: dict[str, str], **headers: str) -> Answer:
        headers.setdefault("Content_Type", "application/x-www-form-urlencoded")
        return self.fetch("POST", path, urlencode(fields).encode(), **headers)

    def post_json(self, path: str, value: Any, **headers: str) -> Answer:
        return self.fetch("POST", path, json.dumps(value), Content_Type="application/json", **headers)

    def upload(
        self, path: str, fields: dict[str, str], files: dict[str, tuple[str, bytes]], **headers: str
    ) -> Answer:
        content_type, body = multipart(fields, files)
        return self.fetch("POST", path, body, Content_Type=content_type, **headers)


def multipart(fields: dict[str, str], files: dict[str, tuple[str, bytes]]) -> tuple[str, bytes]:
    """A form with files (RFC 7578): its Content-Type and its bytes."""
    parts = [(f'name="{name}"', value.encode()) for name, value in fields.items()]
    parts += [(f'name="{name}"; filename="{file}"', content) for name, (file, content) in files.items()]
    lines = [
        b"--edge\r\nContent-Disposition: form-data; " + about.encode() + b"\r\n\r\n" + content + b"\r\n"
        for about, content in parts
    ]
    return "multipart/form-data; boundary=edge", b"".join([*lines, b"--edge--\r\n"])


def raw(port: int, request: bytes) -> bytes:
    """All that a server answers to some bytes until it closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        sock.sendall(request)
        answer = b""
        while part := sock.recv(65536):
            answer += part
        return answer
