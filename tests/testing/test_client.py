"""`Client`: real applications, asked in memory."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

from webfw.httpclient import HTTPClientError, HTTPStreamClosedError, HTTPTimeoutError
from webfw.httpserver import HTTPServer
from webfw.httputil import HTTPServerRequest
from webfw.sansio.errors import LocalProtocolError
from webfw.testing import Client, ExpectLog
from webfw.web import (
    Application,
    EventSourceHandler,
    HTTPError,
    RedirectHandler,
    RequestHandler,
    StaticFileHandler,
    stream_request_body,
)
from webfw.wsgi import WSGIContainer

colour: ContextVar[str] = ContextVar("colour", default="none")


class Echo(RequestHandler):
    """Says what it was asked."""

    def _echo(self) -> None:
        request = self.request
        self.write(
            {
                "method": request.method,
                "uri": request.uri,
                "host": request.host,
                "protocol": request.protocol,
                "ip": request.remote_ip,
                "headers": dict(request.headers),
                "arguments": {k: [v.decode() for v in vs] for k, vs in request.arguments.items()},
                "files": {k: [f.filename for f in fs] for k, fs in request.files.items()},
                "body": request.body.decode("latin-1"),
                "colour": colour.get(),
            }
        )

    get = post = put = patch = delete = options = head = _echo  # type: ignore[assignment]


class Session(RequestHandler):
    def get(self) -> None:
        self.write(self.get_signed_cookie("user") or b"nobody")

    def post(self) -> None:
        self.set_signed_cookie("user", self.get_argument("name"))
        self.redirect("/session", status=303)

    def delete(self) -> None:
        self.clear_cookie("user")


class Broken(RequestHandler):
    async def get(self, how: str) -> None:
        if how == "late":
            await asyncio.sleep(0)
        if how == "cut":
            self.write("begun")
            await self.flush()
        if how == "status":
            raise HTTPError(503)
        raise ZeroDivisionError(how)


class Slow(RequestHandler):
    """Waits until its client has left."""

    left: list[str]

    async def get(self, what: str) -> None:
        self.over = asyncio.Event()
        if what == "stream":
            self.write("beginning\n")
            await self.flush()
        if what == "flood":
            while True:
                self.write(b"x" * 10_000)
                await self.flush()
        await self.over.wait()

    def on_connection_close(self) -> None:
        self.application.settings["left"].append(self.path_args[0])
        self.over.set()


class Ticks(RequestHandler):
    async def get(self) -> None:
        for number in range(3):
            self.write(f"{number}\n")
            await self.flush()
            await self.application.settings["ticks"].get()


@stream_request_body
class Upload(RequestHandler):
    def prepare(self) -> None:
        self.sizes: list[int] = []
        if self.request.headers.get("X-Refuse"):
            raise HTTPError(403)

    async def data_received(self, chunk: bytes) -> None:
        await asyncio.sleep(0)
        self.sizes.append(len(chunk))

    def put(self) -> None:
        self.write({"size": sum(self.sizes), "largest": max(self.sizes)})


class Events(EventSourceHandler):
    def open(self) -> None:
        self.send_event("one", event="count", id="1")


def application(**settings: Any) -> Application:
    return Application(
        [
            ("/echo", Echo),
            ("/session", Session),
            ("/broken/(.*)", Broken),
            ("/slow/(.*)", Slow),
            ("/ticks", Ticks),
            ("/upload", Upload),
            ("/events", Events),
            ("/to/(.*)", RedirectHandler, {"url": "/{0}"}),
            ("/away", RedirectHandler, {"url": "http://elsewhere.example/x"}),
            ("/tls", RedirectHandler, {"url": "https://testserver/echo"}),
            ("/loop", RedirectHandler, {"url": "/loop"}),
            ("/odd", RedirectHandler, {"url": "mailto:a@b.example"}),
            ("/static/(.*)", StaticFileHandler, {"path": str(Path(__file__).parent)}),
        ],
        cookie_secret="secret",
        log_function=lambda handler: None,
        left=[],
        ticks=asyncio.Queue(),
        **settings,
    )


@pytest.fixture
def app() -> Application:
    return application()


@pytest.fixture
def client(app: Application) -> Client:
    return Client(app)


# Requests.


async def test_get(client: Client) -> None:
    response = await client.get("/echo", query={"a": ["1", "é"]}, headers={"X-Own": "yes"})
    assert response.code == 200
    assert response.reason == "OK"
    assert response.effective_url == "http://testserver/echo?a=1&a=%C3%A9"
    assert response.headers["Content-Type"].startswith("application/json")
    assert response.request_time is not None
    assert 0 < response.request_time < 5
    seen = response.json()
    assert seen["method"] == "GET"
    assert seen["arguments"] == {"a": ["1", "é"]}
    assert (seen["host"], seen["protocol"], seen["ip"]) == ("testserver", "http", "127.0.0.1")
    assert seen["headers"]["X-Own"] == "yes"
    assert "Content-Length" not in seen["headers"]


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete", "options"])
async def test_methods(client: Client, method: str) -> None:
    seen = (await getattr(client, method)("/echo")).json()
    assert seen["method"] == method.upper()
    assert ("Content-Length" in seen["headers"]) == (method in ("post", "put", "patch"))


async def test_head(client: Client) -> None:
    response = await client.head("/echo")
    assert response.body == b""
    assert int(response.headers["Content-Length"]) > 0


async def test_unknown_method(client: Client) -> None:
    assert (await client.request("PROPFIND", "/echo")).code == 405


async def test_addresses(client: Client) -> None:
    assert (await client.get("/echo?x=1#fragment", query=[("y", 2)])).json()["uri"] == "/echo?x=1&y=2"
    assert (await client.get("/echo?x=é ü")).json()["uri"] == "/echo?x=%C3%A9%20%C3%BC"
    assert (await client.get("http://other.example:81/echo")).json()["host"] == "other.example:81"
    assert (await client.get("https://testserver/echo")).json()["protocol"] == "https"
    assert (await Client(application(), base_url="https://own.example").get("echo")).json()[
        "host"
    ] == "own.example"
    assert (await client.get("")).code == 404
    for url in ("ftp://testserver/", "mailto:a@b"):
        with pytest.raises(ValueError, match="http and https"):
            await client.get(url)


async def test_bodies(client: Client) -> None:
    seen = (await client.post("/echo", form={"a": [1, 2]})).json()
    assert seen["arguments"] == {"a": ["1", "2"]}
    seen = (await client.post("/echo", form={"a": 1}, files={"f": ("x.txt", b"123")})).json()
    assert (seen["arguments"], seen["files"]) == ({"a": ["1"]}, {"f": ["x.txt"]})
    seen = (await client.post("/echo", json=[None, "é"])).json()
    assert seen["headers"]["Content-Type"] == "application/json"
    assert seen["body"].encode("latin-1").decode() in ('[null, "é"]', '[null, "\\u00e9"]')
    seen = (await client.put("/echo", body="é", headers={"Content-Type": "text/x"})).json()
    assert seen["body"].encode("latin-1").decode() == "é"
    assert seen["headers"]["Content-Type"] == "text/x"
    with pytest.raises(ValueError, match="one body"):
        await client.post("/echo", body=b"", json=1)


async def test_headers(app: Application) -> None:
    client = Client(app, headers={"X-One": "1", "X-Two": "1"})
    seen = (await client.get("/echo", headers={"x-two": "2", "Host": "set.example"})).json()
    assert (seen["headers"]["X-One"], seen["headers"]["X-Two"]) == ("1", "2")
    assert seen["host"] == "set.example"
    assert seen["headers"]["User-Agent"].startswith("webfw.testing/")
    with pytest.raises(ValueError, match="X Y"):
        await client.get("/echo", headers={"X Y": "1"})
    with pytest.raises(LocalProtocolError, match="method"):
        await client.request("NO METHOD", "/echo")


async def test_own_framing_is_sent_as_it_is(client: Client) -> None:
    response = await client.post(
        "/echo", body=b"3\r\nabc\r\n0\r\n\r\n", headers={"Transfer-Encoding": "chunked"}
    )
    assert response.json()["body"] == "abc"
    response = await client.post("/echo", body=b"a", headers={"Content-Length": "x"})
    assert response.code == 400


async def test_context_variables_of_a_test_do_not_reach_the_application(client: Client) -> None:
    colour.set("red")
    assert (await client.get("/echo")).json()["colour"] == "none"


# Cookies and redirects.


async def test_cookies_are_kept(client: Client) -> None:
    assert (await client.get("/session")).text == "nobody"
    response = await client.post("/session", form={"name": "Alice"})
    assert response.code == 303
    assert response.headers["Location"] == "/session"
    assert set(client.cookies) == {"user"}
    assert (await client.get("/session")).text == "Alice"
    await client.delete("/session")
    assert (await client.get("/session")).text == "nobody"


async def test_cookies_can_be_given(client: Client) -> None:
    client.cookies["own"] = "1"
    assert (await client.get("/echo")).json()["headers"]["Cookie"] == "own=1"
    assert (await client.get("/echo", headers={"Cookie": "x=y"})).json()["headers"]["Cookie"] == "x=y"


async def test_redirects_are_followed_if_wanted(app: Application, client: Client) -> None:
    assert (await client.get("/to/echo")).code == 301
    response = await client.get("/to/to/echo", follow_redirects=True)
    assert response.code == 200
    assert [past.code for past in response.history] == [301, 301]
    assert response.effective_url == "http://testserver/echo"
    follower = Client(app, follow_redirects=True)
    response = await follower.post("/session", form={"name": "Bob"})
    assert (response.request.method, response.text) == ("GET", "Bob")
    assert (await follower.get("/to/echo", follow_redirects=False)).code == 301


async def test_redirects_elsewhere_are_not_followed(app: Application) -> None:
    client = Client(app, follow_redirects=True)
    assert (await client.get("/away")).headers["Location"] == "http://elsewhere.example/x"
    assert (await client.get("/odd")).code == 301
    assert (await client.get("/tls")).json()["protocol"] == "https"
    with pytest.raises(RuntimeError, match="more than 20 redirects"):
        await client.get("/loop")


async def test_methods_and_bodies_of_redirected_requests() -> None:
    class Mover(RequestHandler):
        def put(self, code: str) -> None:
            self.redirect("/echo", status=int(code))

        post = put

    app = Application([("/(30.)", Mover), ("/echo", Echo)], log_function=lambda handler: None)
    client = Client(app, follow_redirects=True)

    async def asked(method: str, code: int) -> tuple[str, str, bool]:
        seen = (await client.request(method, f"/{code}", body="data", headers={})).json()
        return seen["method"], seen["body"], "Content-Length" in seen["headers"]

    assert await asked("POST", 302) == ("GET", "", False)
    assert await asked("PUT", 302) == ("PUT", "data", True)
    assert await asked("PUT", 303) == ("GET", "", False)
    assert await asked("POST", 307) == ("POST", "data", True)

    async def body() -> AsyncIterator[bytes]:
        yield b"once"

    assert (await client.post("/307", body=body())).code == 307
    assert (await client.post("/302", body=body())).json()["method"] == "GET"


# What goes wrong in the application.


@pytest.mark.parametrize("how", ["now", "late", "cut"])
async def test_exceptions_of_handlers_are_raised(client: Client, how: str, expect_log: Any) -> None:
    with (
        expect_log("webfw.application", "Uncaught exception", count=1),
        pytest.raises(ZeroDivisionError, match=how) as caught,
    ):
        await client.get(f"/broken/{how}")
    assert f"GET http://testserver/broken/{how}" in caught.value.__notes__[0]


async def test_or_responses_are_returned(app: Application, expect_log: Any) -> None:
    client = Client(app, raise_app_exceptions=False)
    with expect_log("webfw.application", "Uncaught exception", count=2):
        assert (await client.get("/broken/late")).code == 500
        with pytest.raises(HTTPStreamClosedError, match="has closed the connection"):
            await client.get("/broken/cut")


async def test_statuses_are_no_exceptions(client: Client) -> None:
    response = await client.get("/broken/status")
    assert response.code == 503
    with pytest.raises(HTTPClientError, match="503"):
        response.rethrow()


async def test_what_another_filter_takes_from_the_log_is_raised_too(client: Client) -> None:
    with ExpectLog("webfw.application", "Uncaught exception"), pytest.raises(ZeroDivisionError):
        await client.get("/broken/now")


async def test_exceptions_of_others_are_not_ours(client: Client, expect_log: Any) -> None:
    other = Client(application(), raise_app_exceptions=False)
    with expect_log("webfw.application", "Uncaught exception", count=10):
        for _ in range(10):
            broken, fine = await asyncio.gather(other.get("/broken/late"), client.get("/echo"))
            assert (broken.code, fine.code) == (500, 200)


async def test_too_slow(app: Application) -> None:
    client = Client(app, timeout=0.3)
    with pytest.raises(HTTPTimeoutError, match="GET http://testserver/slow/x was not answered within 0.3"):
        await client.get("/slow/x")
    await asyncio.sleep(0)
    assert app.settings["left"] == ["x"]
    with pytest.raises(HTTPTimeoutError, match="was not answered"):
        async with client.stream("GET", "/slow/y"):
            pass
    assert app.settings["left"] == ["x", "y"]
    async with client.stream("GET", "/slow/stream") as response:
        assert await response.read_chunk() == b"beginning\n"
        with pytest.raises(TimeoutError, match="has sent nothing within"):
            await response.read_chunk()


# Streams, and clients that leave.


async def test_pieces_come_as_they_are_sent(app: Application, client: Client) -> None:
    async with client.stream("GET", "/ticks") as response:
        assert response.code == 200
        assert response.headers["Transfer-Encoding"] == "chunked"
        lines = response.lines()
        for number in range(3):
            assert await anext(lines) == str(number)
            app.settings["ticks"].put_nowait(None)
        assert [line async for line in lines] == []
    async with client.stream("POST", "/echo", form={"a": 1}) as response:
        assert b'"a": ["1"]' in await response.read()


async def test_a_client_that_leaves_a_stream(app: Application, client: Client) -> None:
    async with client.stream("GET", "/slow/stream") as response:
        assert await response.read_chunk() == b"beginning\n"
        assert app.settings["left"] == []
    assert app.settings["left"] == ["stream"]
    async with client.stream("GET", "/slow/stream") as response:
        response.disconnect()
    assert app.settings["left"] == ["stream"] * 2


async def test_a_client_that_does_not_read(app: Application, client: Client) -> None:
    async with client.stream("GET", "/slow/flood") as response:
        await response.read_chunk()
        for _ in range(50):
            await asyncio.sleep(0)
        assert response._reader.wire.peer.write_paused  # memory is bounded
    assert app.settings["left"] == ["flood"]


async def test_a_client_that_is_cancelled(app: Application, client: Client) -> None:
    task = asyncio.ensure_future(client.get("/slow/x"))
    for _ in range(5):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for _ in range(5):
        await asyncio.sleep(0)
    assert app.settings["left"] == ["x"]


async def test_event_streams(client: Client) -> None:
    async with client.stream("GET", "/events") as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        lines = response.lines()
        seen = []
        while not seen or seen[-1] != "data: one":
            seen.append(await anext(lines))
    assert {"event: count", "id: 1"} <= set(seen)


async def test_errors_in_streams(client: Client, expect_log: Any) -> None:
    with expect_log("webfw.application", "Uncaught exception", count=2):
        with pytest.raises(ZeroDivisionError):
            async with client.stream("GET", "/broken/cut") as response:
                await response.read()
        with pytest.raises(ZeroDivisionError):
            async with client.stream("GET", "/broken/now") as response:
                assert response.code == 500
    with pytest.raises(KeyError, match="own") as caught:
        async with client.stream("GET", "/echo"):
            raise KeyError("own")
    assert not hasattr(caught.value, "__notes__")


async def test_what_a_test_says_is_wrong_with_what_the_application_said(
    client: Client, expect_log: Any
) -> None:
    with expect_log("webfw.application", "Uncaught exception"), pytest.raises(AssertionError) as caught:
        async with client.stream("GET", "/broken/now") as response:
            assert response.code == 200
    assert "The application had failed: ZeroDivisionError('now')" in caught.value.__notes__


async def test_bodies_that_come_by_and_by(client: Client) -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 50_000
            await asyncio.sleep(0)

    seen = (await client.put("/upload", body=body())).json()
    assert seen["size"] == 1_000_000
    assert seen["largest"] <= 65536
    seen = (await client.put("/upload", body=b"y" * 300_000)).json()
    assert seen["size"] == 300_000


async def test_bodies_with_a_length_that_come_by_and_by(client: Client) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"ab"
        yield b"cd"

    seen = (await client.post("/echo", body=body(), headers={"Content-Length": "4"})).json()
    assert (seen["body"], seen["headers"]["Content-Length"]) == ("abcd", "4")


async def test_bodies_that_fail(client: Client) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"x"
        raise KeyError("of the test")

    with pytest.raises(KeyError, match="of the test"):
        await client.put("/upload", body=body())


async def test_bodies_that_nobody_wants(client: Client) -> None:
    ended = []

    async def body() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 10_000
                await asyncio.sleep(0)
        finally:
            ended.append(True)

    response = await client.put("/upload", body=body(), headers={"X-Refuse": "1"})
    assert response.code == 403
    assert ended == [True]


# What is asked.


async def test_plain_functions() -> None:
    def answer(request: HTTPServerRequest) -> None:
        request.connection.write_headers(  # type: ignore[union-attr]
            __import__("webfw.httputil").httputil.ResponseStartLine("", 200, "Fine"),
            __import__("webfw.httputil").httputil.HTTPHeaders({"Content-Length": "2"}),
            b"ok",
        )
        request.connection.finish()  # type: ignore[union-attr]

    response = await Client(answer).get("/")
    assert (response.reason, response.body) == ("Fine", b"ok")


@pytest.fixture
def executor_ends() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert {thread for thread in threading.enumerate() if not thread.daemon} <= before


async def test_wsgi_applications(executor_ends: None, expect_log: Any) -> None:
    def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/broken":
            raise ZeroDivisionError("in WSGI")
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ["REQUEST_METHOD"].encode(), environ["wsgi.input"].read()]

    container = WSGIContainer(wsgi)
    client = Client(container)
    assert (await client.post("/", body=b" body")).text == "POST body"
    with (
        expect_log("webfw.application", "uncaught exception"),
        expect_log("webfw.access", "500 GET /broken"),
        pytest.raises(ZeroDivisionError, match="in WSGI"),
    ):
        await client.get("/broken")


async def test_servers_and_their_options(app: Application) -> None:
    client = Client(app, max_body_size=10, xheaders=True)
    assert (await client.post("/echo", body=b"x" * 11)).code == 413
    assert (await client.get("/echo", headers={"X-Real-Ip": "10.0.0.1"})).json()["ip"] == "10.0.0.1"
    server = HTTPServer(app, max_body_size=5)
    client = Client(server)
    assert client.server is server
    assert (await client.post("/echo", body=b"x" * 6)).code == 413
    with pytest.raises(TypeError, match="its own"):
        Client(server, xheaders=True)


async def test_static_files(client: Client) -> None:
    response = await client.get("/static/test_client.py")
    assert response.body == Path(__file__).read_bytes()
    response = await client.get("/static/test_client.py", headers={"Range": "bytes=0-2"})
    assert (response.code, response.body) == (206, b'"""')


async def test_conditional_requests(client: Client) -> None:
    etag = (await client.get("/session")).headers["Etag"]
    assert (await client.get("/session", headers={"If-None-Match": etag})).code == 304


async def test_many_requests_open_nothing(client: Client) -> None:
    directory = Path("/proc/self/fd")
    if not directory.exists():
        pytest.skip("no /proc")
    await client.get("/session")
    before = sorted(os.listdir(directory))
    threads = threading.active_count()
    for _ in range(1000):
        assert (await client.get("/session")).body == b"nobody"
    assert sorted(os.listdir(directory)) == before
    assert threading.active_count() == threads
    for _ in range(3):  # the last one is about to be closed
        await asyncio.sleep(0)
    assert not client.server._connections


async def test_many_at_once(client: Client) -> None:
    responses = await asyncio.gather(*[client.get("/echo", query={"n": n}) for n in range(100)])
    assert [response.json()["arguments"]["n"] for response in responses] == [[str(n)] for n in range(100)]
