"""`AsyncHTTPClient` and `HTTPClient`, what programs call; how a request is carried out is an engine's matter."""

import asyncio
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar, Self

from webfw.httpclient.messages import DEFAULTS, HTTPRequest, HTTPResponse, with_defaults
from webfw.ioloop import IOLoop
from webfw.util import Configurable, import_object

__all__ = ["AsyncHTTPClient", "HTTPClient"]

#: What `AsyncHTTPClient.configure` takes these names for; programs have them in their settings.
_OLD_NAMES = {
    "tornado.simple_httpclient.SimpleAsyncHTTPClient": "webfw.simple_httpclient.SimpleAsyncHTTPClient",
    "tornado.curl_httpclient.CurlAsyncHTTPClient": "webfw.curl_httpclient.CurlAsyncHTTPClient",
}


class _Fetch(asyncio.Future[HTTPResponse]):
    """The future of a `fetch`, which tells the engine at once when nobody wants the response any more."""

    #: What gives the request up, if the engine has given such a function.
    give_up: Callable[[], None] | None = None

    def cancel(self, msg: Any | None = None) -> bool:
        cancelled = super().cancel(msg)
        give_up, self.give_up = self.give_up, None
        if cancelled and give_up is not None:
            give_up()
        return cancelled


class AsyncHTTPClient(Configurable):
    """Sends requests without blocking the loop.

        client = AsyncHTTPClient()
        response = await client.fetch("http://www.example.com/")

    The constructor gives an instance of the class that `configure` has chosen, by default
    `webfw.simple_httpclient.SimpleAsyncHTTPClient`, and always the same one for a loop: arguments are only for where it
    is made.

    :param force_instance: make one that is not shared; whoever does should `close` it.
    :param defaults: for attributes of requests that leave them open, by name.
    :param kwargs: for the engine, such as ``max_clients``.
    """

    #: The shared clients: by loop, then by the class that was called.
    _shared: ClassVar[dict[IOLoop, dict[type, "AsyncHTTPClient"]]] = {}

    io_loop: IOLoop
    defaults: dict[str, Any]

    @classmethod
    def configurable_base(cls) -> type[Configurable]:
        return AsyncHTTPClient

    @classmethod
    def configurable_default(cls) -> type[Configurable]:
        # By name: that module needs the class above.
        return import_object("webfw.httpclient.simple.SimpleAsyncHTTPClient")  # type: ignore[no-any-return]

    @classmethod
    def configure(cls, impl: "str | type[Configurable] | None", **kwargs: Any) -> None:
        """Choose the engine of all clients that will be made, and the arguments of their constructors.

        :param impl: the class, its dotted name, or None for the default.
        :param kwargs: such as ``max_clients`` or ``defaults``.
        :raises ValueError: it is no class of a client.
        :raises ImportError: there is no such name.
        """
        super().configure(_OLD_NAMES.get(impl, impl) if isinstance(impl, str) else impl, **kwargs)

    def __new__(cls, force_instance: bool = False, **kwargs: Any) -> Self:
        if force_instance:
            return super().__new__(cls, **kwargs)
        io_loop = IOLoop.current()
        shared = cls._shared.get(io_loop)
        if shared is None:
            # A client refers to its loop, so a weak dictionary would keep both: drop what is closed instead.
            for known in [known for known in list(cls._shared) if known.asyncio_loop.is_closed()]:
                cls._shared.pop(known, None)
            shared = cls._shared.setdefault(io_loop, {})
        client = shared.get(cls)
        if client is None:
            client = shared[cls] = super().__new__(cls, **kwargs)
        return client  # type: ignore[return-value]  # kept under its class

    def initialize(self, defaults: Mapping[str, Any] | None = None) -> None:
        """Set the new client up; an engine's own method calls this one."""
        self.io_loop = IOLoop.current()
        self.defaults = dict(DEFAULTS)
        if defaults is not None:
            self.defaults.update(defaults)
        self._closed = False

    def close(self) -> None:
        """Close the client and what it holds open; it cannot be used any more.

        Needed only for one made with ``force_instance``, or before its loop is closed in a program that does not use
        ``asyncio.run``.
        """
        if self._closed:
            return
        self._closed = True
        shared = self._shared.get(self.io_loop, {})
        for kind in [kind for kind, client in shared.items() if client is self]:
            del shared[kind]
        if not shared:
            self._shared.pop(self.io_loop, None)

    def fetch(
        self, request: "str | HTTPRequest", raise_error: bool = True, **kwargs: Any
    ) -> "asyncio.Future[HTTPResponse]":
        """Send a request; the future's result is the response.  Cancelling it gives the request up.

        :param request: an `HTTPRequest`, or an address for one that is made with ``kwargs``.
        :param raise_error: whether a status other than 200 to 299 is raised as an error.  Where there was no response
            at all, an error is raised in any case.
        :raises HTTPClientError: by the future: the status, or why there is no response (status 599).
        :raises OSError: by the future: there was no connection.
        :raises ValueError: ``kwargs`` with an `HTTPRequest`; by the future: the request is not fit to be sent.
        :raises RuntimeError: the client is closed.
        """
        if self._closed:
            raise RuntimeError("fetch() on an HTTP client that is closed")
        if not isinstance(request, HTTPRequest):
            request = HTTPRequest(url=request, **kwargs)
        elif kwargs:
            raise ValueError("arguments beside an HTTPRequest have no effect: put them into it")
        future = _Fetch(loop=self.io_loop.asyncio_loop)

        def settle(response: HTTPResponse) -> None:
            future.give_up = None
            if future.done():
                return
            error = response._error
            if isinstance(error, asyncio.CancelledError):
                future.cancel()
                return
            if error is None and raise_error:
                error = response.error
            if error is None:
                future.set_result(response)
            else:
                future.set_exception(error)

        give_up: Any = self.fetch_impl(with_defaults(request, self.defaults), settle)
        if inspect.iscoroutine(give_up):  # of a program's own engine, made so by mistake: never silent
            give_up.close()
            raise TypeError(f"{type(self).__name__}.fetch_impl must not be a coroutine")
        if not future.done():
            future.give_up = give_up
        return future

    def fetch_impl(
        self, request: HTTPRequest, callback: Callable[[HTTPResponse], None]
    ) -> Callable[[], None] | None:
        """Carry a request out; what an engine is.

        :param request: with the defaults filled in; a copy, which may be changed.
        :param callback: to be called once, on the loop, with the response; what went wrong is in its ``error``, with
            status 599 where there was no response.
        :return: None, or a function that gives the request up; it is called when the future of `fetch` is cancelled,
            and the callback need not be called after that.
        """
        raise NotImplementedError


class HTTPClient:
    """Sends requests and waits for their responses: for scripts, and threads without a loop.

        with HTTPClient() as client:
            response = client.fetch("http://www.example.com/")

    :param async_client_class: the class that does the work, by default `AsyncHTTPClient`.
    :param kwargs: for its constructor.
    :raises RuntimeError: a loop is running in this thread, where waiting would stop it: use `AsyncHTTPClient`.
    """

    def __init__(self, async_client_class: type[AsyncHTTPClient] | None = None, **kwargs: Any) -> None:
        self._closed = True  # for __del__(), where the rest fails
        _no_loop_here()
        self._io_loop = IOLoop(make_current=False)
        make = partial(async_client_class or AsyncHTTPClient, **kwargs)

        async def make_on_loop() -> AsyncHTTPClient:
            return make()

        try:
            self._async_client: AsyncHTTPClient = self._io_loop.run_sync(make_on_loop)
        except BaseException:
            self._io_loop.close()
            raise
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the client and its loop."""
        if self._closed:
            return
        self._closed = True
        loop = self._io_loop.asyncio_loop
        self._async_client.close()
        if not loop.is_closed() and asyncio._get_running_loop() is None:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(
                asyncio.sleep(0)
            )  # asyncio closes a socket in the turn after it is told to
        self._io_loop.close()

    def fetch(self, request: "str | HTTPRequest", **kwargs: Any) -> HTTPResponse:
        """Send a request and return its response; everything as with `AsyncHTTPClient.fetch`."""
        if self._closed:
            raise RuntimeError("fetch() on an HTTP client that is closed")
        _no_loop_here()
        response: HTTPResponse = self._io_loop.run_sync(partial(self._async_client.fetch, request, **kwargs))
        return response


def _no_loop_here() -> None:
    if asyncio._get_running_loop() is not None:
        raise RuntimeError("HTTPClient blocks, which would stop the loop running here: use AsyncHTTPClient")
