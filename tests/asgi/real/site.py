"""One ASGI application on two servers, webfw and uvicorn, each in a thread; and what the application sees of both."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from http.client import HTTPException
from typing import Any

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from tests.asgi.real.differences import BY_TITLE
from tests.wsgi.real.site import Visitor
from webfw.asgi import ASGIContainer
from webfw.httpserver import HTTPServer
from webfw.netutil import bind_sockets

ASGIApp = Callable[[Any, Any, Any], Any]

#: The servers; a suite that is run on the second shows that it tests what ASGI promises, not what webfw does.
SERVERS = ("webfw", "uvicorn")


class Call:
    """One call of an application: its scope, and what it has received and sent, in order.

    :ivar ended: how it ended: None while it runs, else ``"returned"`` or the name of an exception.
    """

    def __init__(self, scope: dict[str, Any]) -> None:
        self.scope = dict(scope)
        self.messages: list[tuple[str, dict[str, Any]]] = []
        self.ended: str | None = None

    def heard(self) -> list[str]:
        """The types of the messages that were received; those of a body in pieces count once."""
        types = [message["type"] for way, message in self.messages if way == "receive"]
        return [
            kind for n, kind in enumerate(types) if n == 0 or types[n - 1 : n + 1] != ["http.request"] * 2
        ]

    def body(self) -> bytes:
        """The request's body."""
        return b"".join(message.get("body", b"") for way, message in self.messages if way == "receive")

    def last(self) -> dict[str, Any]:
        """The last message that was received."""
        return [message for way, message in self.messages if way == "receive"][-1]


class Recorder:
    """An application around another one, which keeps all `Call`s but that of the lifespan."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.calls: list[Call] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        call = Call(scope)
        self.calls.append(call)

        async def received() -> Any:
            message = await receive()
            call.messages.append(("receive", message))
            return message

        async def sent(message: Any) -> None:
            call.messages.append(("send", message))
            await send(message)

        try:
            await self.app(scope, received, sent)
        except BaseException as error:
            call.ended = type(error).__name__
            raise
        else:
            call.ended = "returned"

    def last(self, path: str) -> Call:
        """The last call for a path, as soon as it has ended."""

        def ended() -> Call | None:
            call = next((call for call in reversed(self.calls) if call.scope["path"] == path), None)
            return call if call is not None and call.ended else None

        return wait_for(ended)


def wait_for(get: Callable[[], Any], seconds: float = 15.0) -> Any:
    """The first true value of ``get()``, which another thread brings about."""
    end = time.monotonic() + seconds
    while not (value := get()):
        assert time.monotonic() < end, f"in {seconds} seconds it was never true, last {value!r}"
        time.sleep(0.002)
    return value


class Site:
    """An application on a server in a thread of its own, behind a `Recorder`.

    :param kind: one of `SERVERS`.
    :param app: the application.
    :param around: for webfw: makes what the server answers with of the container.
    :param options: for webfw: of the container.
    """

    def __init__(
        self,
        kind: str,
        app: ASGIApp,
        around: Callable[[ASGIContainer], Any] = lambda container: container,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
        **options: Any,
    ) -> None:
        self.kind = kind
        self.recorder = Recorder(app)
        self.left = 0
        self._around = around
        self._options = options
        (self._socket,) = bind_sockets(0, "127.0.0.1")
        self.port: int = self._socket.getsockname()[1]
        self._ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(loop_factory,), name=f"site-{kind}")
        self._thread.start()
        try:
            self._ready.result(20)
        except BaseException:
            self._socket.close()
            raise

    def _run(self, loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(getattr(self, f"_{self.kind}")())

    async def _webfw(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self.container = ASGIContainer(self.recorder, **{"log_function": lambda entry: None, **self._options})
        try:
            await self.container.startup()
        except BaseException as error:
            self._ready.set_exception(error)
            return
        server = HTTPServer(self._around(self.container))
        server.add_socket(self._socket)
        self._ready.set_result(None)
        await self._stopping.wait()
        self.left = await server.drain(5)
        await self.container.shutdown()

    async def _uvicorn(self) -> None:
        import uvicorn

        self._loop = asyncio.get_running_loop()
        for name in ("uvicorn.error", "uvicorn.access"):
            logging.getLogger(name).disabled = True
        options: dict[str, Any] = {"lifespan": "on" if self._options.get("lifespan") == "on" else "auto"}
        config = uvicorn.Config(
            self.recorder,
            # As its own command has it, but for what depends on which packages are installed.
            **{
                **options,
                "loop": "asyncio",
                "http": "httptools",
                "ws": "websockets-sansio",
                "log_config": None,
            },
        )
        self._server = server = uvicorn.Server(config)
        serving = asyncio.ensure_future(server.serve(sockets=[self._socket]))
        while not server.started and not serving.done():
            await asyncio.sleep(0.001)
        if serving.done():
            self._ready.set_exception(RuntimeError("uvicorn has not started"))
        else:
            self._ready.set_result(None)
        await serving

    def stop(self) -> None:
        if not self._thread.is_alive():
            return
        if self.kind == "webfw":
            self._loop.call_soon_threadsafe(self._stopping.set)
        else:
            self._server.should_exit = True
        self._thread.join(20)
        self._socket.close()
        assert not self._thread.is_alive()
        assert not self.left

    # For the tests.

    @contextmanager
    def differs(self, title: str) -> Iterator[None]:
        """What happens within is so on webfw only: one of the `DIFFERENCES`, by its title."""
        assert title in BY_TITLE
        if self.kind == "webfw":
            yield
            return
        try:
            yield
        except (AssertionError, OSError, HTTPException, WebSocketException):
            return
        raise AssertionError(f"it no longer differs: {title}")

    def settle(self) -> None:
        """Have the server's loop do what it is about to: a client may have its answer before."""

        async def turns() -> None:
            for _ in range(5):
                await asyncio.sleep(0)

        asyncio.run_coroutine_threadsafe(turns(), self._loop).result(10)

    def url(self, path: str = "/", scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.port}{path}"

    @contextmanager
    def socket(self, path: str, **options: Any) -> Iterator[ClientConnection]:
        """A WebSocket to it."""
        with connect(self.url(path, "ws"), proxy=None, open_timeout=15, close_timeout=5, **options) as socket:
            yield socket

    def visitor(self) -> Visitor:
        return Visitor(self.port)
