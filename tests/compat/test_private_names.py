"""Private names of Tornado that published programs use, each used as its program does (topics/private-names.md).

What instrumentations replace is tested with the real ones beside this, and whole programs in ``tests/programs``.
"""

import asyncio
import errno
import functools
import socket
import threading
from collections.abc import Iterator
from contextlib import asynccontextmanager
from http.cookies import SimpleCookie
from typing import Any

import pytest

from webfw import gen, httpserver, httputil, iostream, queues, routing, testing, web
from webfw.ioloop import IOLoop, PeriodicCallback
from webfw.iostream import IOStream
from webfw.tcpserver import TCPServer


@asynccontextmanager
async def serving(app: Any, **settings: Any) -> Any:
    server = httpserver.HTTPServer(app, **settings)
    server.listen(0, "127.0.0.1")
    port = next(iter(server._sockets.values())).getsockname()[1]  # as bokeh and butterfly find it

    async def ask(request: str) -> str:
        stream = IOStream(socket.socket())
        await stream.connect(("127.0.0.1", port))
        await stream.write(f"{request}Host: x\r\nConnection: close\r\n\r\n".encode())
        return (await stream.read_until_close()).decode()

    try:
        yield ask
    finally:
        server.stop()
        await server.close_all_connections()


def application(handler: Any, path: str = "/") -> web.Application:
    return web.Application([(path, handler)], log_function=lambda handler: None)


# --- RequestHandler ---


async def test_headers_that_are_set_already() -> None:
    """jupyterhub, nbviewer and jupyter-server-proxy read and change them in place; so do instrumentations."""

    class Handler(web.RequestHandler):
        def get(self) -> None:
            self.set_header("X-Own", "1")
            assert "x-own" in self._headers
            del self._headers["Content-Type"]
            self._headers.add("Set-Cookie", "a=b")
            self._headers = httputil.HTTPHeaders(self._headers)  # jupyter-server-proxy puts another map there
            self._headers["X-Proxied"] = "2"
            self.write("ok")

    async with serving(application(Handler)) as ask:
        answer = await ask("GET / HTTP/1.1\r\n")
    assert "X-Own: 1\r\n" in answer
    assert "X-Proxied: 2\r\n" in answer
    assert "Set-Cookie: a=b\r\n" in answer
    assert "Content-Type" not in answer


async def test_reason_and_finished() -> None:
    """panel, webssh and tornado-json write the reason into their error pages; nbviewer asks whether finish() ran."""
    finished: list[bool] = []

    class Handler(web.RequestHandler):
        def get(self) -> None:
            raise web.HTTPError(418, reason="Short and stout")

        def write_error(self, status_code: int, **kwargs: Any) -> None:
            finished.append(self._finished)
            self.finish({"error": self._reason, "status": self._status_code})
            finished.append(self._finished)

    async with serving(application(Handler)) as ask:
        assert '{"error": "Short and stout", "status": 418}' in await ask("GET / HTTP/1.1\r\n")
    assert finished == [False, True]


async def test_verbs_that_a_handler_does_not_have() -> None:
    """jupyter-server answers OPTIONS with those it has, and asks which they are."""

    class Handler(web.RequestHandler):
        def get(self) -> None: ...

        def options(self) -> None:
            allowed = [
                verb
                for verb in self.SUPPORTED_METHODS
                if getattr(self, verb.lower()) != self._unimplemented_method
            ]
            self.finish(",".join(allowed))

    async with serving(application(Handler)) as ask:
        assert (await ask("OPTIONS / HTTP/1.1\r\n")).endswith("\r\n\r\nGET,OPTIONS")


async def test_an_xsrf_token_of_ones_own() -> None:
    """jupyterhub fills the cache that the property reads."""

    class Handler(web.RequestHandler):
        @property
        def xsrf_token(self) -> Any:
            if self._xsrf_token is None:
                self._xsrf_token = b"own"
            return self._xsrf_token

        def get(self) -> None:
            self.write(self.xsrf_form_html())

    class Given(web.RequestHandler):
        def prepare(self) -> None:
            self._xsrf_token = b"given"

        def get(self) -> None:
            self.write(self.xsrf_token)

    async with serving(application(Handler)) as ask:
        assert 'value="own"' in await ask("GET / HTTP/1.1\r\n")
    async with serving(application(Given)) as ask:
        assert (await ask("GET / HTTP/1.1\r\n")).endswith("given")


async def test_a_handler_that_answers_later_without_a_decorator() -> None:
    """sockjs-tornado and salt switch off that the end of a verb's method is the end of the answer."""

    class Handler(web.RequestHandler):
        def get(self) -> None:
            self._auto_finish = False
            IOLoop.current().add_callback(self.later)

        def later(self) -> None:
            if not self._finished:
                self.finish("later")

    async with serving(application(Handler)) as ask:
        assert (await ask("GET / HTTP/1.1\r\n")).endswith("later")


async def test_execute_replaced_after_the_application_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """As sentry-sdk does, on the base class, while handlers of other classes are served already."""
    seen: list[Any] = []

    class Handler(web.RequestHandler):
        def get(self, name: str) -> None:
            self.write(f"hello {name}")

    app = application(Handler, "/(.*)")
    async with serving(app) as ask:
        assert (await ask("GET /a HTTP/1.1\r\n")).endswith("hello a")
        original = web.RequestHandler._execute

        @functools.wraps(original)
        async def wrapped(self: Any, transforms: Any, *args: Any, **kwargs: Any) -> Any:
            seen.append((type(self).__name__, args, kwargs))
            return await original(self, transforms, *args, **kwargs)

        with monkeypatch.context() as patched:
            patched.setattr(web.RequestHandler, "_execute", wrapped)
            assert (await ask("GET /b HTTP/1.1\r\n")).endswith("hello b")
        assert (await ask("GET /c HTTP/1.1\r\n")).endswith("hello c")
    assert seen == [("Handler", (b"b",), {})]


async def test_what_handles_and_logs_exceptions_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """elastic-apm replaces the one, ddtrace and sentry-sdk the other."""
    seen: list[Any] = []

    class Handler(web.RequestHandler):
        async def get(self) -> None:
            raise web.HTTPError(404)

    for name in ("_handle_request_exception", "log_exception"):
        original = getattr(web.RequestHandler, name)

        def wrapped(self: Any, *args: Any, name: str = name, original: Any = original) -> Any:
            seen.append((name, next(arg for arg in args if isinstance(arg, Exception)).status_code))
            return original(self, *args)

        monkeypatch.setattr(web.RequestHandler, name, wrapped)
    async with serving(application(Handler)) as ask:
        assert "404" in await ask("GET / HTTP/1.1\r\n")
    assert seen == [("_handle_request_exception", 404), ("log_exception", 404)]


def test_whether_a_handler_takes_its_body_as_it_comes() -> None:
    """elastic-apm does not read such a body."""

    class Plain(web.RequestHandler): ...

    @web.stream_request_body
    class Streaming(web.RequestHandler): ...

    assert web._has_stream_request_body(Streaming)
    assert not web._has_stream_request_body(Plain)


def test_versions_of_static_files_of_ones_own() -> None:
    """jupyter-server and livereload keep them beside ours, under our lock."""

    class Own(web.StaticFileHandler):
        @classmethod
        def _get_cached_version(cls, abs_path: str) -> str | None:
            with cls._lock:
                return cls._static_hashes.setdefault(abs_path, "v-own")

        @classmethod
        def get_absolute_path(cls, root: str, path: str) -> str:
            return f"{root}/{path}"

    try:
        settings = {"static_path": "/nowhere"}
        assert Own.make_static_url(settings, "a.js") == "/static/a.js?v=v-own"
        assert web.StaticFileHandler._static_hashes["/nowhere/a.js"] == "v-own"
    finally:
        web.StaticFileHandler.reset()


# --- requests, routes, connections ---


def test_cookies_put_into_a_request() -> None:
    """panel makes requests of its own, for its FastAPI side."""
    request = httputil.HTTPServerRequest(
        start_line=httputil.RequestStartLine("GET", "/", "HTTP/1.0"), headers=httputil.HTTPHeaders()
    )
    request._cookies = SimpleCookie("user=me")
    assert request.cookies["user"].value == "me"


async def test_the_client_before_its_proxies() -> None:
    """opentelemetry and webssh tell the peer from the client that a proxy names."""
    seen: list[Any] = []

    class Handler(web.RequestHandler):
        def get(self) -> None:
            context = self.request.connection.context
            seen.append((self.request.remote_ip, context._orig_remote_ip))
            seen.append((self.request.protocol, context._orig_protocol))

    async with serving(application(Handler), xheaders=True) as ask:
        await ask("GET / HTTP/1.1\r\nX-Real-Ip: 192.0.2.1\r\nX-Scheme: https\r\n")
    assert seen == [("192.0.2.1", "127.0.0.1"), ("https", "http")]


def test_templates_of_routes() -> None:
    """opentelemetry and ddtrace name spans by them."""
    matcher = routing.PathMatches(r"/users/([0-9]+)/posts/(?:x)?")
    assert matcher._path is None
    matcher = routing.PathMatches(r"/users/([0-9]+)")
    assert matcher._path == "/users/%s"
    assert matcher._find_groups() == ("/users/%s", 1)


def test_normalised_names_of_headers() -> None:
    """newrelic calls it."""
    assert httputil._normalize_header("x-NEW-relic") == "X-New-Relic"


# --- servers, loops, streams ---


async def test_a_connection_that_was_accepted_elsewhere() -> None:
    """salt hands over sockets that another process has accepted; panel looks whether a server has stopped."""

    class Server(TCPServer):
        async def handle_stream(self, stream: IOStream, address: Any) -> None:
            await stream.write(b"hello")
            stream.close()

    server = Server()
    near, far = socket.socketpair()
    server._handle_connection(near, ("peer", 1))
    stream = IOStream(far)
    assert await stream.read_until_close() == b"hello"
    assert not server._stopped
    assert server._handlers == {}
    server.stop()
    assert server._stopped


def test_loops_by_their_asyncio_loop() -> None:
    """panel looks there for the loop of a thread."""
    loop = IOLoop(make_current=False)
    try:
        assert IOLoop._ioloop_for_asyncio[loop.asyncio_loop] is loop
    finally:
        loop.close()
    assert loop.asyncio_loop not in IOLoop._ioloop_for_asyncio


async def test_scheduling_of_ones_own() -> None:
    """circus overrides how a period's callback runs."""
    calls: list[bool] = []
    enough = asyncio.Event()

    class Own(PeriodicCallback):
        def _run(self) -> None:
            if not self._running:
                return
            try:
                self.callback()
            finally:
                if len(calls) == 3:
                    self.stop()
                    enough.set()
                self._schedule_next()

    periodic = Own(lambda: calls.append(True), 1)
    periodic.start()
    await enough.wait()
    assert not periodic._running
    assert calls == [True, True, True]


def test_errors_of_a_connection_that_is_gone() -> None:
    """webssh looks whether an error is one of them."""
    assert errno.ECONNRESET in iostream._ERRNO_CONNRESET


# --- coroutines, queues, tests ---


@pytest.fixture
def loop_thread() -> Iterator[IOLoop]:
    """A loop that runs in a thread."""
    loop = IOLoop(make_current=False)
    thread = threading.Thread(target=loop.start)
    thread.start()
    yield loop
    loop.add_callback(loop.stop)
    thread.join()
    loop.close()


def test_names_that_modules_only_import(loop_thread: IOLoop) -> None:
    """salt, bokeh, distributed and motor take them from there."""
    source: gen.Future[int] = gen.Future(loop=loop_thread.asyncio_loop)
    target: gen.Future[int] = gen.Future(loop=loop_thread.asyncio_loop)
    assert gen.is_future(source)
    gen.chain_future(source, target)

    async def wait() -> int:
        source.set_result(1)
        return await target

    assert asyncio.run_coroutine_threadsafe(wait(), loop_thread.asyncio_loop).result(10) == 1
    assert web.httputil is httputil
    assert web.app_log.name == "webfw.application"
    assert testing.unittest.TestCase
    assert testing.gen is gen


def test_queues_that_order_by_themselves() -> None:
    """toro overrides how a queue keeps what is put in."""
    queue: queues.Queue[int] = queues.Queue()
    queue._put(1)
    assert len(queue._queue) == 1


# --- a server whose requests are watched from their beginning to their end ---


async def test_requests_watched_from_start_to_finish(monkeypatch: pytest.MonkeyPatch) -> None:
    """newrelic wraps `HTTPServer.start_request`, then ``headers_received`` of what it gives, and the connection's
    ``write_headers`` and ``finish``: each transaction has to begin and to end."""
    seen: list[Any] = []
    original = httpserver.HTTPServer.start_request

    def start_request(self: Any, server_conn: Any, request_conn: Any) -> Any:
        message = original(self, server_conn, request_conn)
        kind = type(request_conn)
        if not seen:
            for name in ("write_headers", "finish"):
                method = getattr(kind, name)

                def wrapped(self: Any, *args: Any, name: str = name, method: Any = method) -> Any:
                    seen.append((name, *(args[0].code for _ in args[:1]), self.transaction))
                    return method(self, *args)

                monkeypatch.setattr(kind, name, wrapped)
        headers_received = message.headers_received

        def received(start_line: Any, headers: Any) -> Any:
            request_conn.transaction = start_line.path
            seen.append(("begin", start_line.path))
            del message.headers_received
            return headers_received(start_line, headers)

        message.headers_received = received
        return message

    class Handler(web.RequestHandler):
        def get(self, kind: str) -> None:
            if kind == "none":
                self.set_status(204)
            elif kind == "stream":
                self.write("a")
                self.flush()
                self.write("b")
            elif kind == "large":
                self.write("x" * 200_000)
            else:
                self.write("hello")

        head = get

    app = application(Handler, "/(.*)")
    requests = ["GET /plain", "HEAD /plain", "GET /none", "GET /stream", "GET /large"]
    answers = {}
    async with serving(app) as ask:
        for request in requests:
            answers[request] = await ask(f"{request} HTTP/1.1\r\n")
    monkeypatch.setattr(httpserver.HTTPServer, "start_request", start_request)
    async with serving(app) as ask:
        for request in requests:
            assert _undated(await ask(f"{request} HTTP/1.1\r\n")) == _undated(answers[request])
    expected = []
    for request in requests:
        path = request.split()[1]
        status = 204 if path == "/none" else 200
        expected += [("begin", path), ("write_headers", status, path), ("finish", path)]
    assert seen == expected
    # A plain function is called as before: there is no delegate to be watched.
    async with serving(
        lambda request: request.connection.respond(200, "", httputil.HTTPHeaders(), b"")
    ) as ask:
        assert (await ask("GET / HTTP/1.1\r\n")).startswith("HTTP/1.1 200")


def _undated(answer: str) -> list[str]:
    return sorted(line for line in answer.split("\r\n") if not line.startswith("Date:"))
