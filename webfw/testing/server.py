"""An application on a real server on this host, for the plugin for pytest; fakes may not enter."""

import asyncio
import threading
from types import TracebackType
from typing import Any, Self

from webfw.httpclient import AsyncHTTPClient, HTTPResponse
from webfw.httpserver import HTTPServer
from webfw.testing.ports import bind_unused_port, get_async_test_timeout

__all__ = ["LoopbackServer", "ThreadedServer"]

#: Seconds that requests which still run have at the end of a test.
DRAIN_TIME = 1.0


class LoopbackServer:
    """Serves an application on a free port of 127.0.0.1, on the loop of the test; what the fixture ``webfw_server`` is.

    The port listens at once, so that its address can be handed on; requests are answered within ``async with``.

    :param app: an `Application` or anything else an `HTTPServer` takes; or an `HTTPServer` that does not listen.
    :ivar port: the port.
    :ivar client: an `AsyncHTTPClient` of its own, within ``async with``.
    :ivar server: the `HTTPServer`, within ``async with``.
    """

    client: AsyncHTTPClient
    server: HTTPServer

    def __init__(self, app: Any) -> None:
        self._app = app
        self._socket, self.port = bind_unused_port()

    def url(self, path: str = "/", scheme: str = "http") -> str:
        """Return the absolute address of a path.

        :param scheme: such as ``"ws"``.
        """
        return f"{scheme}://127.0.0.1:{self.port}{path}"

    def fetch(self, path: str, raise_error: bool = False, **kwargs: Any) -> Any:
        """Ask the server; return a future of the `HTTPResponse`.

        :param path: on the server.
        :param raise_error: raise `HTTPClientError` for a status other than 200 to 299.
        :param kwargs: for the `HTTPRequest`, such as ``method`` and ``body``.
        """
        return self.client.fetch(self.url(path), raise_error=raise_error, **kwargs)

    async def __aenter__(self) -> Self:
        asyncio.get_running_loop()  # or it would be said later, and less clearly
        self.server = self._app if isinstance(self._app, HTTPServer) else HTTPServer(self._app)
        # Our own stays bound, and the port ours, until close().
        self.server.add_sockets([self._socket.dup()])
        self.client = AsyncHTTPClient(force_instance=True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.client.close()
        await self.server.drain(DRAIN_TIME)

    def close(self) -> None:
        """Give the port back."""
        self._socket.close()


class ThreadedServer(LoopbackServer):
    """The same on a loop in a thread of its own, for tests that are no coroutines; a context manager."""

    def __enter__(self) -> Self:
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="webfw_server", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    def _run(self) -> None:
        # Border: what goes wrong in the thread is raised where it was started.
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._failure = error
        self._started.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        async with self:
            self._started.set()
            await self._over.wait()

    def fetch(self, path: str, raise_error: bool = False, **kwargs: Any) -> HTTPResponse:
        """Ask the server, and wait for the `HTTPResponse`; see `LoopbackServer.fetch`."""

        async def ask() -> HTTPResponse:
            return await self.client.fetch(self.url(path), raise_error=raise_error, **kwargs)

        asked = asyncio.run_coroutine_threadsafe(ask(), self._loop)
        return asked.result(get_async_test_timeout())
