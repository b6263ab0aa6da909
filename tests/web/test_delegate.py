import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from webfw.httpserver.collector import BodyCollector
from webfw.web import (
    Application,
    ErrorHandler,
    HTTPError,
    RequestHandler,
    stream_multipart,
    stream_request_body,
)


def kinds(plain: Callable[..., None]) -> list[Any]:
    """The same method, plain and ``async`` in two ways."""

    async def at_once(self: Any, *args: Any) -> None:
        plain(self, *args)

    async def later(self: Any, *args: Any) -> None:
        await asyncio.sleep(0)
        plain(self, *args)

    return [plain, at_once, later]


def raising(error: BaseException) -> list[Any]:
    def plain(self: Any, *args: Any) -> None:
        raise error

    return kinds(plain)


class Told(RequestHandler):
    """Keeps what happens to all its instances."""

    told: list[Any]

    def __init_subclass__(cls) -> None:
        cls.told = []

    def on_finish(self) -> None:
        self.told.append("on_finish")

    def on_connection_close(self) -> None:
        self.told.append("gone")


# --- bodies that are collected ---


class Echo(Told):
    def post(self) -> None:
        self.write(self.request.body)

    put = get = post


async def test_bodies(site: Any) -> None:
    one = site(Echo)
    assert (await one.ask(method="POST", body=b"body")).body == b"body"
    assert (await one.ask(method="POST", body=b"")).body == b""
    assert (await one.ask(method="GET", body=b"body")).body == b"body"
    answer = await one.ask(method="PUT", body=b"2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n", Transfer_Encoding="chunked")
    assert answer.body == b"body"
    data = await one.send(site.request("/", "POST", b"", Content_Length="4", Expect="100-continue"))
    assert data == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert site.Answer(await one.send(b"body")).body == b"body"


class Small(Echo):
    max_body_size = 10


class Large(Echo):
    max_body_size = 1000


CHUNKED = b"32\r\n" + b"x" * 50 + b"\r\n0\r\n\r\n"


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(
    "request_body", [{"body": b"x" * 50}, {"body": CHUNKED, "Transfer_Encoding": "chunked"}]
)
async def test_the_size_of_a_body(site: Any, request_body: Any, streams: bool) -> None:
    def take(self: Any, chunk: bytes) -> None:
        self.request.body += chunk

    members = {"_stream_request_body": streams, "data_received": take}
    for kind, default, status in (
        (Small, 100, 413),
        (Large, 20, 200),
        (Echo, 20, 413),
        (Echo, 100, 200),
    ):
        one = site(type("Kind", (kind,), members), server={"max_body_size": default})
        answer = await one.ask(method="POST", **request_body)
        assert answer.status == status
        if status == 200:
            assert answer.body == b"x" * 50


async def test_no_invitation_for_a_body_that_is_too_large(site: Any) -> None:
    one = site(Small)
    answer = await one.ask(method="POST", body=b"", Content_Length="50", Expect="100-continue")
    assert answer.status == 413


class Collectors:
    """All that are made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.files: list[Any] = []
        real = __import__("tempfile").TemporaryFile

        def temporary(*args: Any, **kwargs: Any) -> Any:
            self.files.append(real(*args, **kwargs))
            return self.files[-1]

        monkeypatch.setattr("webfw.httpserver.collector.tempfile.TemporaryFile", temporary)

    def all_closed(self) -> bool:
        assert self.files
        return all(file.closed for file in self.files)


BIG = b"x" * (600 * 1024)
FORM = b"--b\r\nContent-Disposition: form-data; name=f; filename=f\r\n\r\n" + BIG


@pytest.mark.parametrize(
    "outcome", ["answers", "fails", "later", "not made", "bad form", "gone", "too large", "no disk"]
)
async def test_the_file_of_a_large_body_is_closed(
    site: Any, monkeypatch: pytest.MonkeyPatch, expect_log: Any, outcome: str
) -> None:
    collectors = Collectors(monkeypatch)

    class Keeps(RequestHandler):
        def initialize(self) -> None:
            if outcome == "not made":
                raise ValueError

        def post(self) -> Any:
            if outcome == "fails":
                raise ValueError
            if outcome == "later":
                return asyncio.sleep(0)
            self.write(str(len(self.request.body)))
            return None

    one = site(Keeps, server={"max_body_size": 650 * 1024 if outcome == "too large" else 10**7})
    data = site.request("/", "POST", BIG)
    if outcome == "bad form":
        data = site.request("/", "POST", FORM, Content_Type="multipart/form-data; boundary=b")
    if outcome == "too large":
        data = site.request("/", "POST", b"", Transfer_Encoding="chunked")
        data += b"96000\r\n" + BIG + b"\r\n" + b"96000\r\n" + BIG + b"\r\n"
    if outcome == "gone":
        data = data[:-1]
    if outcome == "no disk":
        monkeypatch.setattr(BodyCollector, "add", _no_disk)
    if outcome in ("fails", "not made", "no disk"):
        with expect_log("webfw.application", "", count=1) as records:
            await one.send(data)
        records.clear()  # they hold the frames
    else:
        await one.send(data)
    if outcome == "gone":
        one.wire.lose()
    await one.settle()
    if outcome != "no disk":
        assert collectors.all_closed()


def _no_disk(self: BodyCollector, chunk: bytes) -> None:
    raise OSError("no space left on device")


# --- bodies that are streamed ---


@stream_request_body
class Takes(Told):
    async def prepare(self) -> None:
        self.told.append("prepare")
        self.body = b""

    def data_received(self, chunk: bytes) -> Any:
        self.body += chunk

    def post(self) -> None:
        self.told.append("post")
        self.write(self.body)

    get = post


@pytest.mark.parametrize("prepare", [None, *kinds(lambda self: self.told.append("prepare"))])
@pytest.mark.parametrize("receive", kinds(lambda self, chunk: self.chunks.append(chunk)))
async def test_a_body_that_is_streamed(site: Any, prepare: Any, receive: Any) -> None:
    class Streams(Takes):
        def initialize(self) -> None:
            self.chunks: list[bytes] = []

        def post(self) -> None:
            self.write(b"".join(self.chunks))

        data_received = receive

    if prepare is not None:
        Streams.prepare = prepare
    one = site(Streams, server={"chunk_size": 3})
    assert (await one.ask(method="POST", body=b"0123456789")).body == b"0123456789"
    await one.send(site.request("/", "POST", b"01", Content_Length="5"))
    await one.send(b"2")
    assert site.Answer(await one.send(b"34")).body == b"01234"
    assert (await one.ask(method="POST", body=b"")).body == b""
    assert (await one.ask(method="POST")).body == b""
    answer = await one.ask(
        method="POST", body=b"2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n", Transfer_Encoding="chunked"
    )
    assert answer.body == b"body"


async def test_the_body_waits_for_prepare(site: Any) -> None:
    ready = asyncio.Event()

    class Waits(Takes):
        async def prepare(self) -> None:
            await super().prepare()
            await ready.wait()

    one = site(Waits)
    assert await one.send(site.request("/", "POST", b"", Content_Length="8", Expect="100-continue")) == b""
    assert await one.send(b"early") == b""
    assert Waits.told == ["prepare"]
    ready.set()
    await one.settle()
    assert site.Answer(await one.send(b"one")).body == b"earlyone"


async def test_an_expectation_is_met_when_prepare_agrees(site: Any) -> None:
    one = site(Takes)
    data = await one.send(site.request("/", "POST", b"", Content_Length="4", Expect="100-continue"))
    assert data == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert site.Answer(await one.send(b"body")).body == b"body"


@pytest.mark.parametrize("refuse", raising(HTTPError(403)))
async def test_a_body_that_prepare_refuses_is_not_invited(site: Any, refuse: Any) -> None:
    one = site(type("Refuses", (Takes,), {"prepare": refuse}))
    answer = await one.ask(method="POST", body=b"", Content_Length="4", Expect="100-continue")
    assert answer.status == 403
    assert answer.headers["Connection"] == "close"
    assert one.wire.eof_sent


async def test_a_small_limit_and_an_early_answer(site: Any) -> None:
    one = site(type("Refuses", (Takes,), {"prepare": raising(HTTPError(403))[0], "max_body_size": 3}))
    assert (await one.ask(method="POST", body=b"12345")).status == 403
    assert not one.wire.aborted


@pytest.mark.parametrize("receive", raising(ValueError("SECRET")) + raising(asyncio.CancelledError()))
async def test_a_consumer_that_fails(site: Any, expect_log: Any, receive: Any) -> None:
    class Fails(Takes):
        data_received = receive

    one = site(Fails, server={"chunk_size": 2})
    with expect_log("webfw.application", "Uncaught exception", count=1):
        answer = await one.ask(method="POST", body=b"12345678")
    assert answer.status == 500
    assert Fails.told == ["prepare", "on_finish"]
    Fails.data_received = Takes.data_received
    assert (await one.ask(method="POST", body=b"x")).body == b"x"


@pytest.mark.parametrize("receive", kinds(lambda self, chunk: self._finished or self.finish("enough")))
async def test_a_consumer_that_has_enough(site: Any, receive: Any) -> None:
    class Enough(Takes):
        data_received = receive

    one = site(Enough, server={"chunk_size": 2})
    assert (await one.ask(method="POST", body=b"12345678")).body == b"enough"
    assert Enough.told == ["prepare", "on_finish"]
    assert (await one.ask(method="POST", body=b"1")).body == b"enough"


async def test_an_answer_from_elsewhere_ends_the_wait_for_the_body(site: Any) -> None:
    class Elsewhere(Takes):
        async def prepare(self) -> None:
            asyncio.get_running_loop().call_soon(self.finish, "from elsewhere")

    one = site(Elsewhere)
    assert (
        site.Answer(await one.send(site.request("/", "POST", b"1", Content_Length="4"))).body
        == b"from elsewhere"
    )
    assert Elsewhere.told == ["on_finish"]


@pytest.mark.parametrize("value", [5, "text"])
async def test_what_a_consumer_must_not_return(site: Any, expect_log: Any, value: Any) -> None:
    class Returns(Takes):
        def data_received(self, chunk: bytes) -> Any:
            return value

    with expect_log("webfw.application", "Uncaught exception", count=1):
        assert (await site(Returns).ask(method="POST", body=b"12")).status == 500


async def test_a_consumer_may_return_what_flush_gives(site: Any) -> None:
    class Echoes(Takes):
        def data_received(self, chunk: bytes) -> Any:
            self.write(chunk)
            return self.flush()

    assert (await site(Echoes).ask(method="POST", body=b"12")).body == b"2\r\n12\r\n0\r\n\r\n"


@pytest.mark.parametrize("when", ["prepare", "body", "data_received"])
@pytest.mark.parametrize("cancel", [False, True])
async def test_a_client_that_leaves_before_the_end_of_its_body(site: Any, when: str, cancel: bool) -> None:
    logged: list[int] = []
    on = asyncio.Event()

    class Leaves(Takes):
        cancel_on_disconnect = cancel

        async def prepare(self) -> None:
            await super().prepare()
            if when == "prepare":
                await on.wait()

        async def data_received(self, chunk: bytes) -> None:
            if when == "data_received":
                await on.wait()

    one = site(Leaves, log_function=lambda handler: logged.append(handler.get_status()))
    await one.send(site.request("/", "POST", b"1", Content_Length="4"))
    one.wire.lose()
    await one.settle()
    on.set()
    await one.settle()
    assert Leaves.told == ["prepare", "gone", "on_finish"]
    assert logged == [499]


async def test_a_client_that_sends_nonsense_in_its_body(site: Any) -> None:
    one = site(Takes)
    answer = await one.ask(method="POST", body=b"2\r\nbo\r\nnonsense\r\n", Transfer_Encoding="chunked")
    assert answer.status == 400
    assert Takes.told[-2:] == ["gone", "on_finish"]
    Takes.told.clear()


async def test_cancelled_from_outside_while_reading(site: Any, expect_log: Any) -> None:
    tasks: list[Any] = []

    class Reads(Takes):
        async def data_received(self, chunk: bytes) -> None:
            tasks.append(asyncio.current_task())
            await asyncio.Event().wait()

    one = site(Reads)
    await one.send(site.request("/", "POST", b"12"))
    tasks[0].cancel()
    with expect_log("webfw.application", "Uncaught exception while reading", count=1):
        assert site.Answer(await one.settle()).status == 500


# --- errors that need no body ---


@pytest.mark.parametrize("routes", [[], [("/.*", ErrorHandler, {"status_code": 404})]])
@pytest.mark.parametrize("xsrf", [False, True])
async def test_404_does_not_wait_for_the_body(site: Any, routes: list[Any], xsrf: bool) -> None:
    one = site(routes, xsrf_cookies=xsrf)
    answer = await one.ask(method="POST", body=b"12", Content_Length="4")
    assert (answer.status, answer.headers.get("Connection")) == (404, None)
    assert await one.send(b"34") == b""
    assert (await one.ask()).status == 404  # the rest was dropped
    answer = await one.ask(method="POST", body=b"", Content_Length="4", Expect="100-continue")
    assert answer.status == 404
    assert one.wire.eof_sent


async def test_404_does_not_take_a_large_body(site: Any) -> None:
    one = site([])
    answer = await one.ask(method="POST", body=b"12", Content_Length=str(10**7))
    assert (answer.status, answer.headers["Connection"]) == (404, "close")
    one = site([], server={"max_body_size": 10})
    assert (await one.ask(method="POST", body=b"x" * 100)).status == 404
    assert not one.wire.aborted


async def test_a_default_handler_may_want_the_body(site: Any) -> None:
    one = site([], default_handler_class=Echo)
    assert (await one.ask(method="POST", body=b"body")).body == b"body"


async def test_an_early_answer_reaches_a_client_that_is_still_sending(real: Any) -> None:
    client = await real(Application([], log_function=lambda handler: None))
    answer = await client.ask("/nowhere", "POST", b"x" * 3_000_000)
    assert answer.status == 404
    await client.close()


async def test_a_large_upload_over_a_real_socket(real: Any) -> None:
    client = await real(Application([("/", Takes)], log_function=lambda handler: None))
    answer = await client.ask("/", "POST", BIG)
    assert answer.body == BIG
    assert (await client.ask("/", "POST", b"x")).body == b"x"
    await client.close()


# --- no reference cycles ---


@stream_request_body
class StopsEarly(RequestHandler):
    def prepare(self) -> None:
        raise HTTPError(400)


@stream_request_body
class StopsInBody(RequestHandler):
    async def data_received(self, chunk: bytes) -> None:
        await asyncio.sleep(0)
        raise HTTPError(400)


@stream_multipart
class Uploads(RequestHandler):
    def part_data(self, part: Any, chunk: bytes) -> None:
        part.last = chunk

    def post(self) -> None:
        self.write(self.get_body_argument("field"))


class Files(RequestHandler):
    def post(self) -> None:
        self.write(self.request.files["f"][0].body[:1])


class Quiet(Echo):
    """Fails, and has no log hold on to the exception."""

    def post(self) -> None:
        raise ValueError

    def log_exception(self, *args: Any) -> None:
        """Say nothing."""


PARTS = (
    b"--b\r\nContent-Disposition: form-data; name=field\r\n\r\nvalue\r\n"
    b"--b\r\nContent-Disposition: form-data; name=f; filename=f\r\n\r\n%s\r\n--b--\r\n"
)
FORM_TYPE = {"Content_Type": "multipart/form-data; boundary=b"}


@pytest.mark.parametrize(
    ("kind", "asked"),
    [
        (Uploads, {"method": "POST", "body": PARTS % b"file", **FORM_TYPE}),
        (Files, {"method": "POST", "body": PARTS % b"file", **FORM_TYPE}),
        (Files, {"method": "POST", "body": PARTS % BIG, **FORM_TYPE}),
        (Quiet, {"method": "POST", "body": BIG}),
        (Echo, {"method": "POST", "body": b"body"}),
        (Echo, {"method": "POST", "body": b"a=b", "Content_Type": "application/x-www-form-urlencoded"}),
        (Echo, {"method": "POST", "body": BIG}),
        (Takes, {"method": "POST", "body": b"body"}),
        (StopsEarly, {"method": "POST", "body": b"body"}),
        (StopsEarly, {"method": "POST", "body": b"body", "Content_Length": str(10**7)}),
        (StopsInBody, {"method": "POST", "body": b"body"}),
        (Small, {"method": "POST", "body": BIG}),
        ([], {"method": "POST", "body": b"body"}),
    ],
)
async def test_no_reference_cycle_stays_behind(no_cycles: Any, kind: Any, asked: dict[str, Any]) -> None:
    await no_cycles(kind, **asked)
