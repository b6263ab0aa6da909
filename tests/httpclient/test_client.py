"""Tests of webfw.httpclient.client."""

import asyncio
import gc
import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from webfw.httpclient import AsyncHTTPClient, HTTPClient, HTTPClientError, HTTPRequest, HTTPResponse
from webfw.ioloop import IOLoop


class Tiny(AsyncHTTPClient):
    """An engine without a network: it answers with the status that the path names, when told or in the next turn."""

    def initialize(self, mood: str = "", **kwargs: Any) -> None:
        super().initialize(**kwargs)
        self.mood = mood
        self.seen: list[HTTPRequest] = []
        self.callbacks: list[Callable[[HTTPResponse], None]] = []
        self.given_up = 0

    def fetch_impl(
        self, request: HTTPRequest, callback: Callable[[HTTPResponse], None]
    ) -> Callable[[], None]:
        self.seen.append(request)
        self.callbacks.append(callback)
        if self.mood == "slow":
            return self.count
        if self.mood == "broken":
            response = HTTPResponse(request, 599, error=OSError("no way there"))
        else:
            response = HTTPResponse(
                request, int(request.url.rpartition("/")[2]), buffer=io.BytesIO(request.method.encode())
            )
        if self.mood == "at once":
            callback(response)
        else:
            asyncio.get_running_loop().call_soon(callback, response)
        return self.count

    def count(self) -> None:
        self.given_up += 1


@pytest.fixture
def tiny() -> Iterator[None]:
    saved = AsyncHTTPClient._save_configuration()
    AsyncHTTPClient.configure(Tiny)
    try:
        yield
    finally:
        AsyncHTTPClient._restore_configuration(saved)


# --- which instance ---


@pytest.mark.usefixtures("tiny")
async def test_a_loop_and_class_have_one_client() -> None:
    first = AsyncHTTPClient()
    assert type(first) is Tiny
    assert AsyncHTTPClient() is first
    assert Tiny() is not first
    assert Tiny() is Tiny()
    assert first.io_loop is IOLoop.current()


@pytest.mark.usefixtures("tiny")
async def test_a_forced_instance_is_nobody_elses() -> None:
    own = AsyncHTTPClient(force_instance=True, mood="slow")
    assert isinstance(own, Tiny)
    assert own.mood == "slow"
    assert AsyncHTTPClient() is not own
    own.close()
    own.close()
    assert AsyncHTTPClient().fetch("http://a.test/200") is not None


@pytest.mark.usefixtures("tiny")
def test_each_loop_has_its_own() -> None:
    async def get() -> AsyncHTTPClient:
        return AsyncHTTPClient()

    first, second = asyncio.run(get()), asyncio.run(get())
    assert first is not second
    asyncio.run(get())
    # What belongs to loops that are closed is let go of when the next is made.
    assert sum(loop.asyncio_loop.is_closed() for loop in AsyncHTTPClient._shared) <= 1


@pytest.mark.usefixtures("tiny")
async def test_a_closed_client_is_replaced_and_refuses() -> None:
    first = AsyncHTTPClient()
    first.close()
    first.close()
    with pytest.raises(RuntimeError, match="closed"):
        first.fetch("http://a.test/200")
    second = AsyncHTTPClient()
    assert second is not first
    assert (await second.fetch("http://a.test/200")).code == 200


async def test_configure() -> None:
    saved = AsyncHTTPClient._save_configuration()
    try:
        AsyncHTTPClient.configure(Tiny, mood="slow", defaults={"user_agent": "x"})
        client = AsyncHTTPClient(force_instance=True)
        assert isinstance(client, Tiny)
        assert client.mood == "slow"
        assert client.defaults["user_agent"] == "x"
        with pytest.raises(ValueError, match="Invalid subclass"):
            AsyncHTTPClient.configure("builtins.dict")
        with pytest.raises(ImportError):
            AsyncHTTPClient.configure("nowhere.Client")
        assert AsyncHTTPClient.configured_class() is Tiny
    finally:
        AsyncHTTPClient._restore_configuration(saved)


# --- fetch ---


@pytest.mark.usefixtures("tiny")
async def test_a_url_or_a_request() -> None:
    client = AsyncHTTPClient()
    assert (await client.fetch("http://a.test/200", method="HEAD")).body == b"HEAD"
    assert (await client.fetch(HTTPRequest("http://a.test/204"))).code == 204
    with pytest.raises(ValueError, match="HTTPRequest"):
        client.fetch(HTTPRequest("http://a.test/200"), method="POST")


async def test_defaults_are_filled_into_a_copy() -> None:
    client = Tiny(force_instance=True, defaults={"user_agent": "x", "request_timeout": 3.0})
    asked = HTTPRequest("http://a.test/200", request_timeout=7.0)
    await client.fetch(asked)
    assert asked.user_agent is None
    (seen,) = client.seen
    assert (seen.user_agent, seen.request_timeout, seen.connect_timeout) == ("x", 7.0, 20.0)


@pytest.mark.usefixtures("tiny")
async def test_a_status_is_an_error_unless_told_otherwise() -> None:
    client = AsyncHTTPClient()
    with pytest.raises(HTTPClientError) as caught:
        await client.fetch("http://a.test/404")
    assert caught.value.code == 404
    assert caught.value.response is not None
    assert caught.value.response.body == b"GET"
    assert (await client.fetch("http://a.test/404", raise_error=False)).code == 404


async def test_a_failure_is_an_error_in_any_case() -> None:
    client = Tiny(force_instance=True, mood="broken")
    for raise_error in (True, False):
        with pytest.raises(OSError, match="no way there"):
            await client.fetch("http://a.test/", raise_error)


async def test_an_engine_may_answer_at_once() -> None:
    client = Tiny(force_instance=True, mood="at once")
    assert client.fetch("http://a.test/200").done()
    assert client.fetch("http://a.test/200").cancel() is False
    assert client.given_up == 0


async def test_cancelling_gives_the_request_up_once() -> None:
    client = Tiny(force_instance=True, mood="slow")
    future = client.fetch("http://a.test/200")
    assert future.cancel()
    assert client.given_up == 1
    assert not future.cancel()
    client.callbacks[0](HTTPResponse(client.seen[0], 200))  # too late, and no harm
    assert client.given_up == 1

    async def wait() -> None:
        await client.fetch("http://a.test/200")

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(wait(), 0.01)
    assert client.given_up == 2


async def test_a_coroutine_is_no_engine() -> None:
    class Wrong(AsyncHTTPClient):
        async def fetch_impl(self, request: Any, callback: Any) -> None:  # type: ignore[override]
            pass

    with pytest.raises(TypeError, match="must not be a coroutine"):
        Wrong(force_instance=True).fetch("http://a.test/")


async def test_a_request_leaves_no_cycle() -> None:
    client = Tiny(force_instance=True)
    gc.collect()
    gc.disable()
    try:
        await client.fetch("http://a.test/200")
        client.seen.clear()
        client.callbacks.clear()
        assert gc.collect() == 0
    finally:
        gc.enable()


# --- the blocking client ---


@pytest.mark.usefixtures("tiny")
def test_blocking() -> None:
    client = HTTPClient(defaults={"user_agent": "x"})
    assert client.fetch("http://a.test/200").body == b"GET"
    assert client.fetch(HTTPRequest("http://a.test/200")).request.user_agent == "x"
    with pytest.raises(HTTPClientError, match="404"):
        client.fetch("http://a.test/404")
    assert client.fetch("http://a.test/404", raise_error=False).code == 404
    client.close()
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.fetch("http://a.test/200")


def test_blocking_with_a_class_of_ones_own() -> None:
    with HTTPClient(Tiny, mood="broken") as client, pytest.raises(OSError, match="no way"):
        client.fetch("http://a.test/200")


@pytest.mark.usefixtures("tiny")
def test_blocking_leaves_the_threads_loop_alone() -> None:
    loop = IOLoop()
    try:
        with HTTPClient() as client:
            client.fetch("http://a.test/200")
            assert IOLoop.current() is loop
        assert IOLoop.current() is loop
    finally:
        loop.close()


async def test_blocking_would_stop_a_running_loop() -> None:
    with pytest.raises(RuntimeError, match="use AsyncHTTPClient"):
        HTTPClient(Tiny)


async def test_blocking_in_another_thread() -> None:
    def work() -> bytes:
        with HTTPClient(Tiny) as client:
            return client.fetch("http://a.test/200").body

    assert await asyncio.to_thread(work) == b"GET"


async def test_a_blocking_client_is_no_use_inside_a_loop() -> None:
    client = await asyncio.to_thread(HTTPClient, Tiny)
    with pytest.raises(RuntimeError, match="use AsyncHTTPClient"):
        client.fetch("http://a.test/200")
    client.close()


def test_a_client_that_could_not_be_made() -> None:
    with pytest.raises(TypeError):
        HTTPClient(Tiny, nonsense=1)


def test_a_blocking_client_that_is_forgotten_is_closed() -> None:
    client = HTTPClient(Tiny)
    loop = client._io_loop.asyncio_loop
    del client
    gc.collect()
    assert loop.is_closed()


async def test_a_request_whose_loop_ends_is_cancelled() -> None:
    client = Tiny(force_instance=True, mood="slow")
    future = client.fetch("http://a.test/200")
    client.callbacks[0](HTTPResponse(client.seen[0], 599, error=asyncio.CancelledError()))
    assert future.cancelled()
    assert client.given_up == 0
