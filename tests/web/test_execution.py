import asyncio
import contextvars
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from webfw.web import Application, Finish, HTTPError, RequestHandler, stream_request_body


def kinds(plain: Callable[..., None]) -> list[Any]:
    """The same method, plain and ``async`` in two ways."""

    async def at_once(self: Any, *args: Any) -> None:
        plain(self, *args)

    async def later(self: Any, *args: Any) -> None:
        await asyncio.sleep(0)
        plain(self, *args)

    return [plain, at_once, later]


class Told(RequestHandler):
    """Keeps what happens to all its instances."""

    told: list[Any]

    def __init_subclass__(cls) -> None:
        cls.told = []

    def on_finish(self) -> None:
        self.told.append("on_finish")

    def on_connection_close(self) -> None:
        self.told.append("gone")


# --- what a verb may return ---


@pytest.mark.parametrize("value", [None, 5, {"a": 1}, "text"])
async def test_what_an_async_method_returns_is_not_looked_at(site: Any, value: Any) -> None:
    class Returns(RequestHandler):
        async def prepare(self) -> Any:
            return value

        async def get(self) -> Any:
            self.write("x")
            return value

    assert (await site(Returns).ask()).body == b"x"


async def generator(self: Any) -> Any:
    yield 1


@pytest.mark.parametrize("where", ["prepare", "get"])
@pytest.mark.parametrize("method", [lambda self: 5, lambda self: {"a": 1}, lambda self: "text", generator])
@pytest.mark.parametrize("after_async", [False, True])
async def test_what_a_plain_method_must_not_return(
    site: Any, expect_log: Any, method: Any, where: str, after_async: bool
) -> None:
    async def prepare(self: Any) -> None:
        await asyncio.sleep(0)

    members = {"prepare": prepare} if after_async else {}
    one = site(type("Returns", (RequestHandler,), {"get": lambda self: None, **members, where: method}))
    with expect_log("webfw.application", "Uncaught exception", count=1) as records:
        answer = await one.ask()
    assert answer.status == 500
    assert isinstance(records[0].exc_info[1], TypeError)
    assert not one.wire.closing


async def test_a_plain_method_may_return_an_awaitable(site: Any) -> None:
    class Returns(RequestHandler):
        def prepare(self) -> Any:
            return asyncio.sleep(0)

        def get(self) -> Any:
            future = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_soon(future.set_result, 5)
            self.write("x")
            return future

        def post(self) -> Any:
            return self.finish("y")

    one = site(Returns)
    assert (await one.ask()).body == b"x"
    assert (await one.ask(method="POST", body=b"")).body == b"y"


async def test_finish_is_returned_without_a_task(site: Any) -> None:
    class Returns(RequestHandler):
        def get(self) -> Any:
            return self.finish("y")

    one = site(Returns)
    one.wire.feed(site.request())
    assert one.wire.take().endswith(b"y")


# --- prepare ---


def test_prepare_variants_exist() -> None:
    assert len(kinds(lambda self: None)) == 3


@pytest.mark.parametrize("prepare", kinds(lambda self: self.write("prepared ")))
@pytest.mark.parametrize("get", kinds(lambda self, name: self.write(name)))
async def test_prepare_runs_first(site: Any, prepare: Any, get: Any) -> None:
    one = site([("/(.*)", type("Prepared", (RequestHandler,), {"prepare": prepare, "get": get}))])
    assert (await one.ask("/n%C3%A9")).body == "prepared né".encode()


@pytest.mark.parametrize("prepare", kinds(lambda self: self.finish("early")))
@pytest.mark.parametrize("streams", [False, True])
async def test_prepare_may_finish(site: Any, prepare: Any, streams: bool) -> None:
    def never(self: Any, *args: Any) -> None:
        raise AssertionError("never called")

    members = {
        "prepare": prepare,
        "get": never,
        "post": never,
        "data_received": never,
        "_stream_request_body": streams,
    }
    one = site(type("Early", (RequestHandler,), members))
    assert (await one.ask()).body == b"early"
    assert (await one.ask(method="POST", body=b"body")).body == b"early"
    assert (
        await one.ask(method="POST", body=b"body")
    ).body == b"early"  # a short rest does not cost the connection


@pytest.mark.parametrize("prepare", kinds(lambda self: setattr(self, "_auto_finish", False)))
async def test_a_handler_may_answer_from_a_callback(site: Any, prepare: Any) -> None:
    class Callback(Told):
        def get(self) -> None:
            asyncio.get_running_loop().call_soon(self.finish, "later")

        def post(self) -> None:
            """Never answer."""

    Callback.prepare = prepare
    one = site(Callback)
    assert (await one.ask()).body == b"later"
    assert Callback.told == ["on_finish"]
    Callback.told.clear()
    assert await one.send(site.request("/", "POST", b"")) == b""
    one.wire.lose()
    await one.settle()
    assert Callback.told == ["gone"]


# --- errors, wherever they come from ---


def raising(error: BaseException) -> list[Any]:
    def plain(self: Any, *args: Any) -> None:
        raise error

    return kinds(plain)


WHERE = ["prepare", "get"]


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("method", raising(ValueError("SECRET")))
@pytest.mark.parametrize("streams", [False, True])
async def test_an_exception_is_500_and_one_record(
    site: Any, expect_log: Any, where: str, method: Any, streams: bool
) -> None:
    members = {"get": lambda self: None, where: method, "_stream_request_body": streams}
    one = site(type("Fails", (Told,), members))
    with expect_log("webfw", "", count=1):
        answer = await one.ask()
    assert (answer.status, answer.reason) == (500, "Internal Server Error")
    assert b"SECRET" not in answer.body
    assert one.application.wildcard_router.rules[0].target.told == ["on_finish"]
    assert not one.wire.closing


async def test_a_debug_page_is_for_debugging(site: Any, expect_log: Any) -> None:
    class Fails(RequestHandler):
        def get(self) -> None:
            raise ValueError("SECRET")

    one = site(Fails, debug=True, autoreload=False)
    with expect_log("webfw.application", "Uncaught exception", count=1):
        answer = await one.ask()
    assert b"ValueError: SECRET" in answer.body
    assert (answer.status, answer.headers["Content-Type"]) == (500, "text/plain; charset=UTF-8")


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("method", raising(HTTPError(418)))
async def test_http_error_is_its_status(site: Any, where: str, method: Any) -> None:
    answer = await site(type("Fails", (RequestHandler,), {"get": lambda self: None, where: method})).ask()
    assert answer.status == 418


@pytest.mark.parametrize("method", raising(HTTPError(204)) + raising(HTTPError(304)))
async def test_http_error_without_a_body(site: Any, method: Any) -> None:
    answer = await site(type("Fails", (RequestHandler,), {"get": method})).ask()
    assert answer.status in (204, 304)
    assert answer.body == b""
    assert "Content-Length" not in answer.headers


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("method", raising(Finish("end")) + raising(Finish()))
async def test_finish_ends_with_what_there_is(site: Any, where: str, method: Any) -> None:
    def defaults(self: RequestHandler) -> None:
        self.set_header("X", "kept")

    one = site(
        type(
            "Ends",
            (RequestHandler,),
            {"get": lambda self: None, "set_default_headers": defaults, where: method},
        )
    )
    answer = await one.ask()
    assert (answer.status, answer.headers["X"]) == (200, "kept")
    assert answer.body in (b"", b"end")


@pytest.mark.parametrize("method", raising(asyncio.CancelledError()))
@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("watched", [False, True])
async def test_a_cancelled_error_of_its_own_is_an_error(
    site: Any, expect_log: Any, method: Any, where: str, streams: bool, watched: bool
) -> None:
    """Somebody has cancelled what the handler waits for, not the handler."""
    members = {"get": lambda self: None, where: method, "_stream_request_body": streams}
    if watched:

        async def execute(self: Any, *args: Any, **kwargs: Any) -> None:
            await RequestHandler._execute(self, *args, **kwargs)

        members["_execute"] = execute
    one = site(type("Fails", (RequestHandler,), members))
    with expect_log("webfw.application", "Uncaught exception", count=1):
        assert (await one.ask()).status == 500
    assert not one.wire.closing


async def test_a_cancelled_error_of_an_agent_is_an_error(site: Any, expect_log: Any) -> None:
    class Watched(RequestHandler):
        async def _execute(self, *args: Any, **kwargs: Any) -> None:
            raise asyncio.CancelledError

    with expect_log("webfw.application", "Uncaught exception", count=1):
        assert (await site(Watched).ask()).status == 500


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
async def test_what_ends_the_program_is_let_through(site: Any, error: type[BaseException]) -> None:
    class Ends(RequestHandler):
        def get(self) -> None:
            raise error

    one = site(Ends)
    with pytest.raises(error):
        one.wire.feed(site.request())


@pytest.mark.parametrize("get", kinds(lambda self: 1 / 0))
async def test_an_exception_after_the_head_cuts_the_answer(site: Any, expect_log: Any, get: Any) -> None:
    class Fails(Told):
        async def prepare(self) -> None:
            self.write("x")
            await self.flush()

    Fails.get = get
    one = site(Fails)
    with expect_log("webfw", "Uncaught exception", count=1):
        data = await one.send(site.request())
    assert data.endswith(b"1\r\nx\r\n")
    assert one.wire.aborted
    assert Fails.told == ["on_finish"]


async def test_an_exception_after_the_end_is_logged(site: Any, expect_log: Any) -> None:
    class Fails(Told):
        async def get(self) -> None:
            self.finish("x")
            raise ValueError

    one = site(Fails)
    with expect_log("webfw.application", "Uncaught exception", count=1):
        assert (await one.ask()).body == b"x"
    assert not one.wire.closing
    assert Fails.told == ["on_finish"]


class BadPage(RequestHandler):
    def get(self) -> None:
        raise HTTPError(404)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        raise ValueError("SECRET")


async def test_an_error_page_that_fails(site: Any, expect_log: Any) -> None:
    one = site(BadPage)
    with expect_log("webfw.application", "Uncaught exception in write_error", count=1):
        answer = await one.ask()
    assert (answer.status, answer.body) == (404, b"")
    assert not one.wire.closing


async def test_an_error_page_that_can_never_be_sent(site: Any, expect_log: Any) -> None:
    class Worse(Told):
        def get(self) -> None:
            raise HTTPError(404)

        def send_error(self, *args: Any, **kwargs: Any) -> None:
            raise ValueError("SECRET")

    one = site(Worse)
    with expect_log("webfw.application", "Exception in exception handler", count=1):
        assert await one.send(site.request()) == b""
    assert one.wire.aborted
    assert Worse.told == ["on_finish"]


async def test_an_end_that_fails_twice(site: Any, expect_log: Any) -> None:
    class Worst(RequestHandler):
        def get(self) -> None:
            raise HTTPError(404)

        def send_error(self, *args: Any, **kwargs: Any) -> None:
            raise ValueError("SECRET")

        def on_finish(self) -> None:
            raise ValueError("SECRET")

    one = site(Worst)
    with expect_log("webfw.application", "Exception in exception handler|at the end of GET /", count=2):
        assert await one.send(site.request()) == b""
    assert one.wire.aborted


async def test_a_report_that_fails(site: Any, expect_log: Any) -> None:
    class Reports(RequestHandler):
        def get(self) -> None:
            raise ValueError

        def log_exception(self, *args: Any) -> None:
            raise ValueError("SECRET")

    one = site(Reports)
    with expect_log("webfw.application", "Error in exception logger", count=1):
        assert (await one.ask()).status == 500


@pytest.mark.parametrize("get", kinds(lambda self, name: None))
@pytest.mark.parametrize("streams", [False, True])
async def test_a_path_that_does_not_decode_is_400(
    site: Any, expect_log: Any, get: Any, streams: bool
) -> None:
    kind = type("Named", (RequestHandler,), {"get": get, "_stream_request_body": streams})
    for pattern in ("/(.*)", "/(?P<name>.*)"):
        with expect_log("webfw.general", "Invalid unicode", count=1):
            assert (await site([(pattern, kind)]).ask("/%ff")).status == 400


async def test_groups_that_took_no_part_are_none(site: Any) -> None:
    class Named(RequestHandler):
        def get(self, *args: Any, **kwargs: Any) -> None:
            self.write({"args": args, "kwargs": kwargs})

    one = site([("/a(/.*)?", Named), ("/b(?P<name>/.*)?", Named)])
    assert (await one.ask("/a")).body == b'{"args": [null], "kwargs": {}}'
    assert (await one.ask("/b")).body == b'{"args": [], "kwargs": {"name": null}}'


# --- forged requests ---


class Changes(RequestHandler):
    SUPPORTED_METHODS = (*RequestHandler.SUPPORTED_METHODS, "MKCOL")

    def prepare(self) -> None:
        if self.request.method not in ("GET", "HEAD", "OPTIONS"):
            raise AssertionError("never called")

    def get(self) -> None:
        pass

    head = options = post = put = patch = delete = mkcol = get

    def data_received(self, chunk: bytes) -> None:
        raise AssertionError("never called")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "MKCOL"])
@pytest.mark.parametrize("body", [None, b"body"])
@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("setting", ["xsrf_cookies", "cross_origin_protection"])
async def test_forged_requests_do_not_reach_a_handler(
    site: Any, expect_log: Any, method: str, body: bytes | None, streams: bool, setting: str
) -> None:
    one = site(type("Kind", (Changes,), {"_stream_request_body": streams}), **{setting: True})
    with expect_log("webfw.general", "403", count=1):
        answer = await one.ask(method=method, body=body, Origin="https://evil.example")
    assert answer.status == 403


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_safe_requests_need_no_token(site: Any, method: str) -> None:
    one = site(Changes, xsrf_cookies=True, cross_origin_protection=True)
    assert (await one.ask(method=method, Origin="https://evil.example")).status == 200


# --- deadlines ---


class Waits(Told):
    async def get(self) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.told.append("cancelled")
            raise

    post = get

    def data_received(self, chunk: bytes) -> None:
        self.told.append(chunk)


@pytest.mark.parametrize("in_prepare", [False, True])
@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("watched", [False, True])
async def test_a_handler_past_its_deadline_is_answered_504(
    site: Any, in_prepare: bool, streams: bool, watched: bool
) -> None:
    class Slow(Waits):
        _stream_request_body = streams
        if in_prepare:
            prepare = Waits.get
        if watched:

            async def _execute(self, *args: Any, **kwargs: Any) -> None:
                await super()._execute(*args, **kwargs)

    one = site(Slow, request_timeout=5)
    assert await one.send(site.request()) == b""
    assert await one.pass_time(4) == b""
    answer = site.Answer(await one.pass_time(2))
    assert (answer.status, answer.reason) == (504, "Gateway Timeout")
    assert Slow.told == ["cancelled", "on_finish"]
    assert not one.wire.closing
    assert len(one.sweeper) == 1  # the connection


async def test_deadlines_are_the_settings_or_the_handlers_own(site: Any) -> None:
    class Own(Waits):
        request_timeout = 2

    class Off(Waits):
        request_timeout = 0
        cancel_on_disconnect = True

    one = site([("/own", Own), ("/off", Off), ("/", Waits)], request_timeout=5)
    await one.send(site.request("/own"))
    assert site.Answer(await one.pass_time(3)).status == 504
    await one.send(site.request("/off"))
    assert await one.pass_time(1000) == b""
    one.wire.lose()
    await one.settle()


async def test_a_deadline_cuts_an_answer_that_has_begun(site: Any, expect_log: Any) -> None:
    class Slow(Waits):
        request_timeout = 2

        async def prepare(self) -> None:
            self.write("x")
            await self.flush()

    one = site(Slow)
    await one.send(site.request())
    with expect_log("webfw.general", "Cut at its deadline", count=1):
        assert await one.pass_time(3) == b""
    assert one.wire.aborted
    assert Slow.told == ["cancelled", "on_finish"]


async def test_a_deadline_after_the_answer_ends_the_handler(site: Any) -> None:
    class Goes(Waits):
        request_timeout = 2

        async def prepare(self) -> None:
            self._finished_early = True

        async def get(self) -> None:
            self.finish("x")
            await super().get()

    one = site(Goes)
    assert (await one.ask()).body == b"x"
    await one.pass_time(3)
    assert Goes.told == ["on_finish", "cancelled"]
    assert not one.wire.closing


async def test_a_handler_may_make_its_own_of_the_deadline(site: Any) -> None:
    class Own(RequestHandler):
        request_timeout = 2

        async def get(self) -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.write("half")

    one = site(Own)
    await one.send(site.request())
    assert site.Answer(await one.pass_time(3)).body == b"half"


async def test_a_deadline_page_that_fails(site: Any, expect_log: Any) -> None:
    class Slow(Waits):
        request_timeout = 2

        def send_error(self, *args: Any, **kwargs: Any) -> None:
            raise ValueError("SECRET")

    one = site(Slow)
    await one.send(site.request())
    with expect_log("webfw.application", "Exception in exception handler", count=1):
        assert await one.pass_time(3) == b""
    assert one.wire.aborted
    assert Slow.told == ["cancelled", "on_finish"]


@pytest.mark.parametrize("reading", [False, True])
async def test_a_deadline_while_the_body_comes(site: Any, reading: bool) -> None:
    class Slow(Waits):
        _stream_request_body = True
        request_timeout = 2

        def data_received(self, chunk: bytes) -> Any:
            return Waits.get(self) if reading else None

    one = site(Slow)
    assert await one.send(site.request("/", "POST", b"half", Content_Length="8")) == b""
    answer = site.Answer(await one.pass_time(3))
    assert answer.status == 504
    assert Slow.told == (["on_finish", "cancelled"] if reading else ["on_finish"])
    await one.settle()


# --- clients that leave ---


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("how", ["lose", "feed_eof"])
async def test_a_handler_is_told_once_that_the_client_left(site: Any, how: str, streams: bool) -> None:
    class Goes(Told):
        _stream_request_body = streams
        on = asyncio.Event()

        async def get(self) -> None:
            await self.on.wait()
            self.told.append("done")

    one = site(Goes)
    await one.send(site.request())
    getattr(one.wire, how)()
    one.wire.lose()
    await one.settle()
    assert Goes.told == ["gone"]
    Goes.on.set()
    await one.settle()
    assert Goes.told == ["gone", "done", "on_finish"]


async def test_a_client_that_only_closed_its_side_is_answered(site: Any) -> None:
    class Goes(Told):
        on = asyncio.Event()

        async def get(self) -> None:
            await self.on.wait()
            self.write("x")

    one = site(Goes)
    await one.send(site.request())
    one.wire.feed_eof()
    Goes.on.set()
    assert site.Answer(await one.settle()).body == b"x"


@pytest.mark.parametrize("by_setting", [False, True])
@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("at_once", [False, True])
async def test_a_handler_is_cancelled_when_the_client_left(
    site: Any, by_setting: bool, streams: bool, at_once: bool
) -> None:
    logged: list[int] = []

    class Goes(Waits):
        _stream_request_body = streams
        if not by_setting:
            cancel_on_disconnect = True

    one = site(Goes, cancel_on_disconnect=by_setting, log_function=lambda h: logged.append(h.get_status()))
    one.wire.feed(site.request())
    if not at_once:
        await one.settle()
    one.wire.lose()
    await one.settle()
    # One that streams has not begun yet: its body is not known to be complete then.
    assert Goes.told == ["gone", "on_finish"] if streams and at_once else ["gone", "cancelled", "on_finish"]
    assert logged == [499]


async def test_a_handler_can_refuse_to_be_cancelled(site: Any) -> None:
    class Stays(Told):
        cancel_on_disconnect = False
        on = asyncio.Event()

        async def get(self) -> None:
            await self.on.wait()

    one = site(Stays, cancel_on_disconnect=True)
    await one.send(site.request())
    one.wire.lose()
    await one.settle()
    assert Stays.told == ["gone"]
    Stays.on.set()
    await one.settle()
    assert Stays.told == ["gone", "on_finish"]


async def test_a_streamed_answer_is_cancelled_too(site: Any) -> None:
    logged: list[int] = []

    class Goes(Waits):
        cancel_on_disconnect = True

        async def prepare(self) -> None:
            self.write("x")
            await self.flush()

    one = site(Goes, log_function=lambda h: logged.append(h.get_status()))
    await one.send(site.request())
    one.wire.lose()
    await one.settle()
    assert Goes.told == ["gone", "cancelled", "on_finish"]
    assert logged == [200]  # that is what the client has seen


async def test_a_handler_that_fails_when_told(site: Any, expect_log: Any) -> None:
    class Fails(Waits):
        cancel_on_disconnect = True

        def on_connection_close(self) -> None:
            raise ValueError

    one = site(Fails)
    await one.send(site.request())
    with expect_log("webfw.application", "close callback", count=1):
        one.wire.lose()
    await one.settle()
    assert Fails.told == ["cancelled", "on_finish"]  # it is cancelled nevertheless


async def test_no_call_after_the_answer(site: Any) -> None:
    class Done(Told):
        async def get(self) -> None:
            await asyncio.sleep(0)
            self.write("x")

        def post(self) -> None:
            self.write("x")

    one = site(Done)
    await one.ask()
    await one.ask(method="POST", body=b"x")
    one.wire.lose()
    assert Done.told == ["on_finish", "on_finish"]


async def test_a_cancelled_task_is_cancelled(site: Any) -> None:
    """Not by us: the loop ends, for instance."""

    class Ends(Waits):
        tasks: list[Any] = []

        async def prepare(self) -> None:
            self.tasks.append(asyncio.current_task())

    class EndsPrepared(Ends):
        """Cancelled in the verb that follows a plain ``prepare``."""

        def prepare(self) -> None:  # type: ignore[override]
            """Nothing to wait for."""

        async def get(self) -> None:
            self.tasks.append(asyncio.current_task())
            await super().get()

    class EndsWatched(EndsPrepared):
        async def _execute(self, *args: Any, **kwargs: Any) -> None:
            self.tasks.append(asyncio.current_task())
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.told.append("cancelled")
                raise

    for kind in (EndsPrepared, EndsWatched):
        one = site(kind)
        await one.send(site.request())
        Ends.tasks[-1].cancel()
        await one.settle()
        assert Ends.tasks[-1].cancelled()
        assert kind.told == ["cancelled", "on_finish"]
        assert one.wire.aborted
    for streams in (False, True):
        Ends._stream_request_body = streams
        Ends.told.clear()
        one = site(Ends)
        await one.send(site.request())
        Ends.tasks[-1].cancel()
        await one.settle()
        assert Ends.tasks[-1].cancelled()
        assert Ends.told == ["cancelled", "on_finish"]
        assert one.wire.aborted


async def test_tasks_are_kept_alive(site: Any) -> None:
    """The loop itself keeps weak references only."""
    kept: list[Any] = []

    class Waits(RequestHandler):
        async def get(self) -> None:
            future = asyncio.get_running_loop().create_future()
            kept.append(weakref.ref(future))
            await future

    one = site(Waits)
    await one.send(site.request())
    gc.collect()
    future = kept[0]()
    assert future is not None
    future.set_result(None)
    del future
    assert site.Answer(await one.settle()).status == 200


# --- contexts ---


variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


class Sets(RequestHandler):
    """Sets the variable, and says what it was before and after each step."""

    def initialize(self) -> None:
        self.seen = [variable.get()]
        variable.set("initialize")

    def _see(self, step: str) -> None:
        self.seen.append(variable.get())
        variable.set(step)

    def get(self) -> None:
        self._see("get")

    post = get

    def on_finish(self) -> None:
        self._see("on_finish")
        self.application.settings["seen"].append(self.seen)


class Prepares(Sets):
    def prepare(self) -> None:
        self._see("prepare")


class PreparesLater(Sets):
    async def prepare(self) -> None:
        await asyncio.sleep(0)
        self._see("prepare")


class AnswersLater(Prepares):
    async def get(self) -> None:
        await asyncio.sleep(0)
        self._see("get")

    post = get


class Watched(Prepares):
    async def _execute(self, *args: Any, **kwargs: Any) -> None:
        await asyncio.sleep(0)
        await super()._execute(*args, **kwargs)


@stream_request_body
class TakesPlain(PreparesLater):
    def data_received(self, chunk: bytes) -> Any:
        self._see("data")


@stream_request_body
class TakesLater(PreparesLater):
    async def data_received(self, chunk: bytes) -> None:
        await asyncio.sleep(0)
        self._see("data")


@stream_request_body
class TakesWatched(TakesLater, Watched):
    pass


@pytest.mark.parametrize(
    "kind", [Sets, Prepares, PreparesLater, AnswersLater, Watched, TakesPlain, TakesLater, TakesWatched]
)
async def test_requests_do_not_share_a_context(site: Any, kind: type[Sets]) -> None:
    seen: list[list[str]] = []
    one = site(kind, seen=seen, server={"chunk_size": 2})
    for _ in range(2):
        await one.ask(method="POST", body=b"1234")
        await one.ask()
    # Two at once on the wire, and a second connection.
    await one.send(site.request() + site.request())
    await site(kind, seen=seen).ask()
    assert len(seen) == 7
    prepare = ["prepare"] if issubclass(kind, (Prepares, PreparesLater)) else []
    for index, steps in enumerate(seen):
        data = ["data", "data"] if kind._stream_request_body and index in (0, 2) else []
        assert steps == ["unset", "initialize", *prepare, *data, "get"]
    assert variable.get() == "unset"


@pytest.mark.parametrize("kind", [Sets, AnswersLater, TakesLater])
async def test_requests_on_a_real_connection_do_not_share_a_context(real: Any, kind: type[Sets]) -> None:
    seen: list[list[str]] = []
    client = await real(Application([("/", kind)], seen=seen, log_function=lambda handler: None))
    for _ in range(3):
        await client.ask(method="POST", body=b"x" * 200_000)  # much enough for reading to be paused meanwhile
        await client.ask()
    await client.close()
    assert [steps[0] for steps in seen] == ["unset"] * 6


@pytest.mark.parametrize("kind", [Sets, AnswersLater])
async def test_what_was_set_before_the_server_is_seen_by_all(real: Any, kind: type[Sets]) -> None:
    variable.set("outside")
    seen: list[list[str]] = []
    client = await real(Application([("/", kind)], seen=seen, log_function=lambda handler: None))
    variable.set("later")
    for _ in range(2):
        await client.ask(method="POST", body=b"x" * 200_000)
        await client.ask()
    await client.close()
    assert [steps[0] for steps in seen] == ["outside"] * 4


async def test_on_connection_close_runs_in_the_context(site: Any) -> None:
    told: list[str] = []

    class Goes(RequestHandler):
        async def get(self) -> None:
            variable.set("mine")
            await asyncio.Event().wait()

        cancel_on_disconnect = True

        def on_connection_close(self) -> None:
            told.append(variable.get())

    one = site(Goes)
    await one.send(site.request())
    one.wire.lose()
    await one.settle()
    assert told == ["mine"]


# --- no reference cycles ---


class Renders(RequestHandler):
    def get(self) -> None:
        self.render("page.html")


class Redirects(RequestHandler):
    def get(self) -> None:
        self.redirect("/")


class Fails(RequestHandler):
    def get(self) -> None:
        raise HTTPError(400)


class FailsLater(RequestHandler):
    async def get(self) -> None:
        await asyncio.sleep(0)
        raise HTTPError(400)


class Streams(RequestHandler):
    async def get(self) -> None:
        for _ in range(3):
            self.write("x" * 5000)
            await self.flush()
            await asyncio.sleep(0)


class Cookies(RequestHandler):
    def get(self) -> None:
        self.set_cookie("a", "b")
        self.get_argument("a", "")
        self.write(self.xsrf_token)


class TimesOut(RequestHandler):
    request_timeout = 10

    async def get(self) -> None:
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("kind", "asked"),
    [
        (Renders, {}),
        (Redirects, {}),
        (Fails, {}),
        (FailsLater, {}),
        (Streams, {}),
        (Cookies, {"path": "/?a=b", "Cookie": "a=b"}),
        (TimesOut, {}),
        (AnswersLater, {}),
        (Watched, {}),
        (TakesLater, {}),
    ],
)
async def test_no_reference_cycle_stays_behind(no_cycles: Any, kind: Any, asked: dict[str, Any]) -> None:
    await no_cycles(kind, **asked)


async def test_the_search_for_cycles_finds_one(no_cycles: Any) -> None:
    class Cyclic(RequestHandler):
        def get(self) -> None:
            self.me = self

    with pytest.raises(AssertionError, match="Left contains|RequestHead"):
        await no_cycles(Cyclic)


# --- on a real socket ---


async def test_a_client_that_leaves_a_real_socket(real: Any) -> None:
    done = asyncio.Event()

    class Leaves(Waits):
        cancel_on_disconnect = True

        def on_finish(self) -> None:
            super().on_finish()
            done.set()

    client = await real(Application([("/", Leaves)], log_function=lambda handler: None))
    client.writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    await asyncio.sleep(0)
    client.writer.transport.abort()
    await done.wait()
    await client.close()
    assert Leaves.told == ["gone", "cancelled", "on_finish"]


async def test_a_deadline_on_a_real_socket(real: Any) -> None:
    class Slow(RequestHandler):
        request_timeout = 0.02

        async def get(self) -> None:
            await asyncio.Event().wait()

    client = await real(Application([("/", Slow)], log_function=lambda handler: None))
    assert (await client.ask()).status == 504
    assert (await client.ask()).status == 504
    await client.close()
