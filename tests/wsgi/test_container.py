"""`WSGIContainer` in each of the places it may stand: server, route, fallback; and what it is made with."""

import asyncio
import logging
import ssl
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
import trustme

from tests.web.conftest import Site
from tests.wsgi.conftest import Serve, request, until
from webfw.concurrent import dummy_executor
from webfw.httpserver import HTTPServer
from webfw.httputil import HTTPServerRequest, RequestStartLine
from webfw.routing import PathMatches, Rule, RuleRouter
from webfw.web import Application, FallbackHandler, RequestHandler
from webfw.wsgi import WSGIContainer

PLAIN = [("Content-Type", "text/plain")]


def echo(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Answers with where it was asked and what it was sent."""
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start_response("200 OK", list(PLAIN))
    place = f"{environ['SCRIPT_NAME']}|{environ['PATH_INFO']}|{environ.get('CONTENT_LENGTH', 'none')}|"
    return [place.encode() + body]


# --- what it is made with ---


@pytest.mark.parametrize(
    ("options", "error", "complaint"),
    [
        ({"threads": -1}, ValueError, "must not be negative"),
        ({"max_waiting": -1}, ValueError, "must not be negative"),
        ({"max_response_backlog": -1}, ValueError, "must not be negative"),
        ({"request_timeout": 0}, ValueError, "request_timeout must be more than 0"),
        ({"request_timeout": float("nan")}, ValueError, "request_timeout must be more than 0"),
        ({"wsgi_application": None}, TypeError, "a WSGI application is a callable, not NoneType"),
    ],
)
def test_what_it_may_not_be_made_with(
    options: dict[str, Any], error: type[Exception], complaint: str
) -> None:
    with pytest.raises(error, match=complaint):
        WSGIContainer(**{"wsgi_application": echo} | options)


# --- the way back to the loop ---


@pytest.mark.parametrize("threads", [0, 2])
async def test_an_application_knows_the_loop(serve: Serve, threads: int) -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    async def on_the_loop() -> str:
        return threading.current_thread().name

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        loops.append(environ["webfw.loop"])
        start_response("200 OK", list(PLAIN))
        if not threads:
            return [b"MainThread"]
        return [asyncio.run_coroutine_threadsafe(on_the_loop(), environ["webfw.loop"]).result(10).encode()]

    async with serve(app, threads=threads) as served:
        assert (await served.ask("/")).body == b"MainThread"
    assert loops == [asyncio.get_running_loop()]


async def test_on_the_loop_a_client_that_leaves_before_its_turn_costs_nothing() -> None:
    called: list[str] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        called.append(environ["PATH_INFO"])
        return echo(environ, start_response)

    logged: list[int] = []
    container = WSGIContainer(app, threads=0, log_function=lambda entry: logged.append(entry.get_status()))
    site = Site(container)
    site.wire.feed(request("/gone"))
    site.wire.lose()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (called, logged) == ([], [499])


async def test_on_the_loop_what_one_request_ends_with_does_not_keep_the_others(expect_log: Any) -> None:
    """A log function that fails, for one of two requests that are run in the same turn."""

    def log(entry: Any) -> None:
        if entry.request.path == "/first":
            raise RuntimeError("no log")

    container = WSGIContainer(echo, threads=0, log_function=log)
    first, second = Site(container), Site(container)
    first.wire.feed(request("/first"))
    second.wire.feed(request("/second"))
    with expect_log("webfw.application", "uncaught exception"):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    for site in (first, second):
        assert site.wire.sent.startswith(b"HTTP/1.1 200 ")
        site.wire.lose()


def test_on_the_loop_a_turn_that_a_loop_did_not_live_to_see_holds_nobody_up() -> None:
    container = WSGIContainer(echo, threads=0, log_function=lambda entry: None)

    async def leave() -> None:
        site = Site(container)
        site.wire.feed(request("/left"))
        asyncio.get_running_loop().stop()  # before its next turn

    async def come() -> bytes:
        site = Site(container)
        site.wire.feed(request("/here"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        sent: bytes = site.wire.sent
        site.wire.lose()
        return sent

    loop = asyncio.new_event_loop()
    leaving = loop.create_task(leave())
    loop.run_forever()
    leaving.result()
    loop.close()
    assert asyncio.run(come()).startswith(b"HTTP/1.1 200 ")


# --- executors ---


async def test_an_executor_as_tornado_has_it(serve: Serve) -> None:
    names: list[str] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        names.append(threading.current_thread().name)
        return echo(environ, start_response)

    executor = ThreadPoolExecutor(2, thread_name_prefix="given")
    try:
        container = WSGIContainer(app, executor)
        assert container.executor is executor
        async with serve(app, executor=executor) as served:
            assert (await served.ask("/a")).body == b"|/a|none|"
        assert names[0].startswith("given")
    finally:
        executor.shutdown()


async def test_the_executor_that_runs_at_once(serve: Serve) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        assert threading.current_thread() is threading.main_thread()
        start_response("200 OK", list(PLAIN))
        return iter([b"x" * 300_000, b"y" * 300_000]) if environ["PATH_INFO"] == "/large" else [b"small"]

    async with serve(app, executor=dummy_executor, max_response_backlog=1000) as served:
        client = await served.connect()
        for _ in range(2):
            assert (await client.ask("/large")).body == b"x" * 300_000 + b"y" * 300_000
            assert (await client.ask("/")).body == b"small"


async def test_an_executor_that_is_shut_down(serve: Serve, expect_log: Any) -> None:
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    async with serve(echo, executor=executor, request_timeout=10) as served:
        client = await served.connect()
        for _ in range(2):
            with expect_log("webfw.application", "The executor takes no request: cannot schedule", count=1):
                answer = await client.ask()
            assert (answer.status, answer.headers["Retry-After"]) == (503, "1")


async def test_an_executor_that_gives_up_what_waits(serve: Serve) -> None:
    gate, running = threading.Event(), threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        running.set()
        gate.wait(10)
        return echo(environ, start_response)

    executor = ThreadPoolExecutor(1)
    async with serve(app, executor=executor, request_timeout=10) as served:
        first, second = await served.connect(), await served.connect()
        first.send(request())
        await until(running.is_set)
        second.send(request("/", "POST", b"x" * 600_000))
        await until(lambda: served.container._waiting == 2)
        executor.shutdown(wait=False, cancel_futures=True)
        assert (await second.answer()).status == 503
        gate.set()
        assert (await first.answer()).status == 200
        assert sorted(served.log) == [200, 503]


async def test_an_executor_that_cannot_run_it(serve: Serve, expect_log: Any) -> None:
    class Elsewhere(ThreadPoolExecutor):
        """As one of processes does."""

        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            future: Future[Any] = Future()
            future.set_exception(TypeError("cannot pickle"))
            return future

    async with serve(echo, executor=Elsewhere(1)) as served:
        with expect_log("webfw.application", "uncaught exception", count=1) as records:
            assert (await served.ask()).status == 500
        assert "cannot pickle" in str(records[0].exc_info[1])


# --- where it stands ---


async def test_as_the_target_of_routes(serve: Serve, mode: str) -> None:
    def route(container: WSGIContainer) -> Any:
        other = WSGIContainer(echo, threads=0, log_function=lambda entry: None)
        return RuleRouter([Rule(PathMatches("/shop.*"), container), Rule(PathMatches("/.*"), other)])

    async with serve(echo, mode, around=route, mount="/shop") as served:
        client = await served.connect()
        assert (await client.ask("/shop/a")).body == b"/shop|/a|none|"
        assert (await client.ask("/shop")).body == b"/shop||none|"
        assert (await client.ask("/shopping")).status == 404
        assert (await client.ask("/else", "POST", b"")).body == b"|/else|0|"
        for size in (5, 700_000):
            body = b"x" * size
            assert (await client.ask("/shop/b", "POST", body)).body == b"/shop|/b|%d|" % size + body
        client.send(request("/shop/c", "POST", Transfer_Encoding="chunked") + b"3\r\nabc\r\n0\r\n\r\n")
        assert (await client.answer()).body == b"/shop|/c|3|abc"


@pytest.mark.parametrize("size", [None, 0, 5, 700_000])
async def test_as_a_fallback(serve: Serve, mode: str, size: int | None) -> None:
    def around(container: WSGIContainer) -> Any:
        fallback = {"fallback": container}
        return Application([(r"/.*", FallbackHandler, fallback)], log_function=lambda handler: None)

    async with serve(echo, mode, around=around) as served:
        client = await served.connect()
        for _ in range(2):
            body = None if size is None else b"x" * size
            expected = b"none" if size is None else b"%d" % size
            answer = await client.ask("/a", "GET" if size is None else "POST", body)
            assert answer.body == b"|/a|" + expected + b"|" + (body or b"")
        assert await served.logged(2) == [200, 200]


async def test_as_what_a_server_calls(serve: Serve, mode: str) -> None:
    async with serve(echo, mode, around=lambda container: container.handle_request) as served:
        client = await served.connect()
        assert (await client.ask("/a")).body == b"|/a|none|"
        assert (await client.ask("/a", "POST", b"body")).body == b"|/a|4|body"


class Native(RequestHandler):
    def get(self) -> None:
        self.write("native")


async def test_a_blocked_request_delays_no_native_one(serve: Serve) -> None:
    gate, order = threading.Event(), []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        gate.wait(20)
        return echo(environ, start_response)

    def around(container: WSGIContainer) -> Any:
        rules = [(r"/native", Native), Rule(PathMatches("/shop.*"), container)]
        return Application(rules, log_function=lambda handler: None)

    async with serve(app, threads=2, around=around, mount="/shop") as served:
        clients = [await served.connect() for _ in range(4)]
        for client in clients:  # more than there are threads
            client.send(request("/shop/slow"))
        await until(lambda: served.container._pool and served.container._pool.busy == 4)
        for _ in range(20):
            assert (await served.ask("/native")).body == b"native"
            order.append("native")
        order.append("gate")
        gate.set()
        for client in clients:
            assert (await client.answer()).body == b"/shop|/slow|none|"
            order.append("slow")
    assert order == ["native"] * 20 + ["gate"] + ["slow"] * 4


async def test_over_tls(serve: Serve, mode: str) -> None:
    authority = trustme.CA()
    server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", list(PLAIN))
        return iter([b"x" * 300_000] * 5)

    async with serve(app, mode, server={"ssl_options": server}) as served:
        connection = await served.connect(ssl=client, server_hostname="localhost")
        for _ in range(2):
            assert (await connection.ask()).body == b"x" * 1_500_000
        await connection.close()


@pytest.mark.parametrize("kind", ["list", "stream"])
async def test_drained_while_it_runs(serve: Serve, kind: str) -> None:
    gate, running = threading.Event(), threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        running.set()
        gate.wait(10)
        start_response("200 OK", list(PLAIN))
        return [b"done"] if kind == "list" else iter([b"do", b"ne"])

    for mode in ("threads", "executor"):
        running.clear()
        gate.clear()
        async with serve(app, mode) as served:
            idle, client = await served.connect(), await served.connect()
            client.send(request())
            await until(running.is_set)
            draining = asyncio.ensure_future(served.server.drain(10))
            assert await idle.rest() == b""
            assert not draining.done()
            gate.set()
            assert (await client.answer()).body == b"done"
            assert await draining == 0


async def test_a_body_that_is_too_large(serve: Serve, mode: str) -> None:
    async with serve(echo, mode, server={"max_body_size": 1000}) as served:
        assert (await served.ask("/", "POST", b"x" * 1000)).status == 200
        assert (await served.ask("/", "POST", b"x" * 1001)).status == 413
        assert served.log == [200]


async def test_a_disk_that_is_full(
    serve: Serve, mode: str, expect_log: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(**options: Any) -> Any:
        raise OSError("No space left on device")

    async with serve(echo, mode) as served:
        client = await served.connect()
        with monkeypatch.context() as patch:
            patch.setattr("webfw.httpserver.collector.tempfile.TemporaryFile", full)
            with expect_log("webfw.application", "Uncaught exception while reading a body", count=1):
                client.send(request("/", "POST", b"x" * 600_000))
                assert (await client.answer()).status == 500
        assert (await served.ask("/", "POST", b"x")).status == 200


async def test_what_has_no_environ_is_a_failure(serve: Serve, mode: str, expect_log: Any) -> None:
    async with serve(echo, mode) as served:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("webfw.wsgi.environ.unquote_to_bytes", None)
            with expect_log("webfw.application", "uncaught exception", count=1):
                assert (await served.ask("/%20")).status == 500
        assert (await served.ask("/%20")).status == 200


# --- loops ---


def test_one_loop_after_the_other() -> None:
    container = WSGIContainer(echo, threads=1, log_function=lambda entry: None)
    pools = []

    async def use() -> None:
        site = Site(container)
        site.wire.feed(request("/a"))
        await until(lambda: site.wire.sent.endswith(b"|/a|none|"))
        pools.append(container._pool)
        site.wire.lose()

    for _ in range(3):
        asyncio.run(use())
    assert len({id(pool) for pool in pools}) == 3
    container.close()
    container.close()
    for pool in pools:
        assert pool is not None
        pool.join(10)
        assert not pool._threads


def test_an_answer_for_a_loop_that_has_gone() -> None:
    gate, running = threading.Event(), threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        running.set()
        gate.wait(10)
        return echo(environ, start_response)

    container = WSGIContainer(app, threads=1, log_function=lambda entry: None)

    async def use(end: bool) -> None:
        site = Site(container)
        site.wire.feed(request("/a"))
        await until(lambda: running.is_set() and (not end or site.wire.sent))
        site.wire.lose()

    asyncio.run(use(False))
    first = container._pool
    gate.set()
    asyncio.run(use(True))
    container.close()
    assert first is not None
    first.join(10)
    assert not first._threads


async def test_closed_and_used_again(serve: Serve) -> None:
    async with serve(echo) as served:
        assert (await served.ask()).status == 200
        old = served.container._pool
        served.container.close()
        assert (await served.ask()).status == 200
        await asyncio.to_thread(old.join, 10)
        assert served.container._pool is not old


# --- the access log ---


async def test_one_line_for_a_request(expect_log: Any) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response(environ["QUERY_STRING"], list(PLAIN))
        return []

    site = Site(WSGIContainer(app, threads=0))
    for status, level in (("200", logging.INFO), ("404", logging.WARNING), ("503", logging.ERROR)):
        line = rf"^{status} GET /a\?{status} \(127\.0\.0\.1\) \d+\.\d\dms$"
        with expect_log("webfw.access", line, level=level, count=1):
            await site.ask(f"/a?{status}")
    site.wire.lose()


async def test_many_containers_on_one_server(serve: Serve) -> None:
    containers = [
        WSGIContainer(echo, threads=0, mount=f"/{i}", log_function=lambda e: None) for i in range(3)
    ]
    rules = [Rule(PathMatches(rf"/{i}(/.*)?"), containers[i]) for i in range(3)]
    async with serve(echo, around=lambda container: Application(rules)) as served:
        for i in range(3):
            assert (await served.ask(f"/{i}/x")).body == b"/%d|/x|none|" % i


async def test_the_line_of_the_access_log_can_be_replaced(serve: Serve) -> None:
    class Quiet(WSGIContainer):
        def _log(self, status_code: int, request: Any) -> None:
            lines.append((status_code, request.path))

    lines: list[Any] = []
    server = HTTPServer(Quiet(echo, threads=0))
    server.listen(0, "127.0.0.1")
    reader, writer = await asyncio.open_connection(*next(iter(server._sockets.values())).getsockname())
    writer.write(b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert (await reader.read()).endswith(b"|/a|none|")
    writer.close()
    server.stop()
    await server.close_all_connections()
    assert lines == [(200, "/a")]


def test_a_program_that_answers_itself_calls_it_without_our_constructor(caplog: Any) -> None:
    class Own(WSGIContainer):
        def __init__(self) -> None:
            pass

    asked = HTTPServerRequest(start_line=RequestStartLine("GET", "/a", "HTTP/1.0"))
    with caplog.at_level(logging.INFO, "webfw.access"):
        Own()._log(200, asked)
    assert caplog.records[0].getMessage().startswith("200 GET /a (")
