from collections.abc import Callable
from typing import Any

import pytest

from webfw.web import ErrorHandler, RequestHandler, authenticated, stream_multipart, stream_request_body
from webfw.web.verbs import Verbs

VERBS = ("GET", "HEAD", "POST", "DELETE", "PATCH", "PUT", "OPTIONS")


class Every(RequestHandler):
    def answer(self, *args: str) -> None:
        self.set_header("X-Method", str(self.request.method))

    get = head = post = delete = patch = put = options = answer


@pytest.mark.parametrize("method", VERBS)
async def test_each_verb_has_its_method(site: Any, method: str) -> None:
    answer = await site(Every).ask(method=method)
    assert (answer.status, answer.headers["X-Method"]) == (200, method)


class GetAndPut(RequestHandler):
    def get(self) -> None:
        raise AssertionError("not asked for")

    @authenticated
    def put(self) -> None:
        raise AssertionError("not asked for")


@pytest.mark.parametrize(
    "method", ["HEAD", "POST", "DELETE", "PATCH", "OPTIONS", "BREW", "get", "PREPARE", "_EXECUTE"]
)
async def test_405_names_the_methods_there_are(site: Any, method: str) -> None:
    answer = await site(GetAndPut).ask(method=method)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, PUT")
    assert (answer.body == b"") == (method == "HEAD")
    assert answer.headers["Content-Length"] == "87"


async def test_405_of_a_handler_without_methods(site: Any) -> None:
    answer = await site(RequestHandler).ask()
    assert (answer.status, answer.headers["Allow"]) == (405, "")


async def test_405_with_an_allow_of_ones_own(site: Any) -> None:
    class Own(RequestHandler):
        def write_error(self, status_code: int, **kwargs: Any) -> None:
            self.set_header("Allow", "BREW")
            self.finish("no")

    answer = await site(Own).ask()
    assert (answer.status, answer.headers["Allow"], answer.body) == (405, "BREW", b"no")


async def test_405_that_is_streamed_names_the_methods_too(site: Any) -> None:
    class Streams(GetAndPut):
        async def post(self) -> None:
            self.set_status(405)
            self.write("no")
            await self.flush()

    answer = await site(Streams).ask(method="POST", body=b"")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, POST, PUT")


@pytest.mark.parametrize("decorate", [stream_multipart, stream_request_body])
async def test_405_of_a_decorated_handler(site: Any, decorate: Callable[[type], type]) -> None:
    class Upload(RequestHandler):
        def post(self) -> None:
            raise AssertionError("not asked for")

    answer = await site(decorate(Upload)).ask(method="DELETE")
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")


async def test_verbs_of_ones_own(site: Any) -> None:
    class Dav(RequestHandler):
        SUPPORTED_METHODS = (*RequestHandler.SUPPORTED_METHODS, "PROPFIND", "MKCOL")

        def propfind(self) -> None:
            self.write("found")

    one = site(Dav)
    answer = await one.ask(method="PROPFIND", body=b"<propfind/>")
    assert (answer.status, answer.body) == (200, b"found")
    answer = await one.ask(method="MKCOL")
    assert (answer.status, answer.headers["Allow"]) == (405, "PROPFIND")


async def test_verbs_taken_away(site: Any) -> None:
    class Only(Every):
        SUPPORTED_METHODS = ("GET",)

    answer = await site(Only).ask(method="POST")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET")


def test_data_received_must_be_overridden() -> None:
    with pytest.raises(NotImplementedError):
        Verbs().data_received(b"")


async def test_nothing_happens_by_default() -> None:
    Verbs().on_connection_close()
    assert Verbs().prepare() is None
    Verbs().initialize()


# --- `_execute`, which programs that watch requests wrap ---


class Told(RequestHandler):
    """Keeps what happens."""

    told: list[Any]

    def prepare(self) -> None:
        self.told.append("prepare")

    def get(self, *args: str, **kwargs: str) -> None:
        self.told.append((args, kwargs))
        self.write("done")

    post = get

    def data_received(self, chunk: bytes) -> None:
        self.told.append(chunk)


def wrapped(kind: type[Any], told: list[Any], wrap: str) -> type[Any]:
    original = kind._execute

    async def as_coroutine(self: Any, transforms: Any, *args: Any, **kwargs: Any) -> None:
        told.append(("before", args, kwargs))
        await original(self, transforms, *args, **kwargs)
        told.append(("after", self.get_status()))

    def as_function(self: Any, transforms: Any, *args: Any, **kwargs: Any) -> Any:
        told.append(("before", args, kwargs))
        return original(self, transforms, *args, **kwargs)

    def as_future(self: Any, transforms: Any, *args: Any, **kwargs: Any) -> Any:
        import asyncio

        told.append(("before", args, kwargs))
        return asyncio.ensure_future(original(self, transforms, *args, **kwargs))

    members = {"coroutine": as_coroutine, "function": as_function, "future": as_future}
    return type("Watched", (kind,), {"_execute": members[wrap], "told": told})


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("wrap", ["coroutine", "function", "future"])
async def test_a_wrapped_execute_is_called(site: Any, wrap: str, streams: bool) -> None:
    told: list[Any] = []
    kind = wrapped(stream_request_body(type("T", (Told,), {})) if streams else Told, told, wrap)
    one = site([(r"/(.)/(.*)", kind), (r"/(?P<name>.*)", kind)])
    answer = await one.ask("/a/b%20c", "POST", b"body")
    assert (answer.status, answer.body) == (200, b"done")
    after = [("after", 200)] if wrap == "coroutine" else []
    body = [b"body"] if streams else []
    # What the route found is given as Tornado gives it: as bytes, to be decoded in there.
    assert told == [("before", (b"a", b"b c"), {}), "prepare", *body, (("a", "b c"), {}), *after]
    told.clear()
    assert (await one.ask("/n%C3%A9")).body == b"done"
    assert told == [("before", (), {"name": "né".encode()}), "prepare", ((), {"name": "né"}), *after]


@pytest.mark.parametrize("streams", [False, True])
async def test_execute_wrapped_for_all_handlers(
    site: Any, monkeypatch: pytest.MonkeyPatch, streams: bool
) -> None:
    """As agents do it: on the class that all handlers inherit from, some of which are there already."""
    told: list[Any] = []
    one = site(type("T", (Told,), {"_stream_request_body": streams, "told": told}))
    await one.ask()
    told.clear()
    monkeypatch.setattr(RequestHandler, "_execute", wrapped(RequestHandler, told, "coroutine")._execute)
    assert (await one.ask()).body == b"done"
    assert told == [("before", (), {}), "prepare", ((), {}), ("after", 200)]


async def test_execute_may_exchange_the_transforms(site: Any) -> None:
    from webfw.web import OutputTransform

    class Louder(OutputTransform):
        def transform_first_chunk(self, status_code: int, headers: Any, chunk: bytes, finishing: bool) -> Any:
            return status_code, headers, chunk.upper() + b"!"

    class Loud(RequestHandler):
        async def _execute(self, transforms: list[Any], *args: Any, **kwargs: Any) -> None:
            assert transforms == []
            await super()._execute([Louder(self.request)], *args, **kwargs)

        def get(self) -> None:
            self.write("loud")

    answer = await site(Loud).ask()
    assert (answer.body, answer.headers["Content-Length"]) == (b"LOUD!", "5")


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("at_once", [False, True])
async def test_an_execute_that_fails_is_answered_500(
    site: Any, expect_log: Any, at_once: bool, streams: bool
) -> None:
    class Bad(RequestHandler):
        _stream_request_body = streams

        if at_once:

            def _execute(self, transforms: list[Any], *args: Any, **kwargs: Any) -> Any:
                raise ValueError("agent")
        else:

            async def _execute(self, transforms: list[Any], *args: Any, **kwargs: Any) -> None:
                raise ValueError("agent")

    one = site(Bad)
    with expect_log("webfw.application", "Uncaught exception", count=1):
        assert (await one.ask(method="POST", body=b"body")).status == 500
    with expect_log("webfw.application", "Uncaught exception", count=1):
        assert (await one.ask()).status == 500


@pytest.mark.parametrize("streams", [False, True])
async def test_an_execute_of_a_path_that_does_not_decode(site: Any, expect_log: Any, streams: bool) -> None:
    kind = wrapped(type("T", (Told,), {"_stream_request_body": streams}), [], "coroutine")
    one = site([(r"/(.*)", kind)])
    with expect_log("webfw.general", "Invalid unicode", count=1):
        assert (await one.ask("/%ff")).status == 400


async def test_an_execute_that_gives_nothing_has_answered_itself(site: Any) -> None:
    class Sync(RequestHandler):
        def _execute(self, transforms: list[Any], *args: Any, **kwargs: Any) -> Any:
            self.finish("by myself")

    assert (await site(Sync).ask()).body == b"by myself"


async def test_error_handler_needs_no_methods(site: Any) -> None:
    answer = await site([("/gone", ErrorHandler, {"status_code": 410})]).ask("/gone", "BREW")
    # Tornado checks the method first.
    assert answer.status == 405
