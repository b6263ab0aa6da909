"""One process that serves: the loop, the server, what watches it, and its end; who tells it to end may not enter."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol

from webfw.cli.applications import Callback, Place, Site, assemble, load, places
from webfw.cli.errors import FAILED, USAGE, CommandError
from webfw.cli.listeners import Listeners, tls_context
from webfw.cli.lives import LEAST, Lives
from webfw.cli.logs import Logs
from webfw.cli.sources import Configuration
from webfw.httpserver import HTTPServer
from webfw.httpserver.observer import Observer
from webfw.ioloop.backend import new_event_loop, thread_event_loop
from webfw.log import gen_log
from webfw.observe import AccessLog, RequestIds
from webfw.observe.admin import HealthFront, admin_application
from webfw.observe.health import Readiness
from webfw.observe.metrics import Metrics, SharedMetrics, check_metrics
from webfw.observe.tracing import Tracing
from webfw.process.worker import Order
from webfw.pubsub import BrokerError
from webfw.web import Application

__all__ = ["Post", "Service", "access_log_of", "check_observation", "load_all"]

#: Seconds for which idle connections stay open for one more request when another worker has taken over.
IDLE_GRACE = 1.0

#: Seconds for which applications may end when the server stops at once.
STOP_GRACE = 0.3

# Settings that are parameters of `HTTPServer`.
_SERVER_OPTIONS = (
    "xheaders",
    "trusted_downstream",
    "proxy_protocol",
    "header_timeout",
    "body_timeout",
    "min_body_rate",
    "body_grace",
    "write_timeout",
    "min_write_rate",
    "write_grace",
    "max_connections",
    "max_connections_per_address",
    "tls_handshake_timeout",
    "max_header_size",
    "max_body_size",
)


class Post(Protocol):
    """Who tells a server what to do: a supervisor's worker, or `Alone`."""

    report: Callable[[], Mapping[str, Any]] | None
    replaced: bool

    def attach(self) -> None: ...

    def ready(self) -> None: ...

    async def order(self) -> Order: ...

    def retire(self, reason: str) -> None: ...

    def detach(self) -> None: ...


def check_observation(configuration: Configuration) -> None:
    """Find out, before anything is begun, whether it can be watched as the settings say.

    :raises CommandError: it cannot.
    """
    access_log_of(configuration)
    if configuration["metrics"] and configuration["admin"] is None:
        origin = configuration.origin("metrics")
        raise CommandError(f"{origin}: which address? write --admin 127.0.0.1:9100 for example", USAGE)
    try:
        if configuration["metrics"]:
            check_metrics()
        if configuration["tracing"]:
            Tracing()
    except ImportError as error:
        raise CommandError(str(error), FAILED) from None


def access_log_of(configuration: Configuration, number: int | None = None) -> AccessLog:
    """What writes a line for each request.

    :raises CommandError: its format has an atom that there is not.
    """
    try:
        return AccessLog(configuration["access_log_format"], worker=number)
    except ValueError as error:
        raise CommandError(f"{configuration.origin('access_log_format')}: {error}", USAGE) from None


def load_all(configuration: Configuration, logs: Logs) -> tuple[list[Place], list[Any]]:
    """Import what is to be served, with logging as it would be without us.

    :raises CommandError: something cannot be imported.
    """
    wanted = places(configuration)
    logs.set_aside()
    try:
        return wanted, load(wanted, configuration["app_dir"])
    finally:
        logs.put_back()


class Service:
    """A server in this process.

    :param post: who tells it what to do.
    :param configuration: the settings.
    :param listeners: where it accepts.
    :param number: of this worker.
    :param wanted: what is served, and where it is.
    :param loaded: the same, imported.
    :param shared: where the processes of a tree count together.
    :param default_broker: the broker of applications that name none.
    """

    def __init__(
        self,
        post: Post,
        configuration: Configuration,
        listeners: Listeners,
        number: int,
        wanted: Sequence[Place],
        loaded: Sequence[Any],
        shared: SharedMetrics | None = None,
        default_broker: str = "memory:",
    ) -> None:
        self.post = post
        self.configuration = configuration
        self.listeners = listeners
        self.number = number
        self._wanted = wanted
        self._loaded = loaded
        self._shared = shared
        self._default_broker = default_broker
        self._cut = 0
        self._readiness = Readiness()
        self._opened = False
        self.server: HTTPServer

    def run(self) -> None:
        """Serve until told to end.

        :raises CommandError: it cannot be served.
        """
        with asyncio.Runner(loop_factory=_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        configuration, post = self.configuration, self.post
        settings = {} if configuration["broker"] is None else {"broker": configuration["broker"]}
        callback = await assemble(self._wanted, self._loaded, settings)
        self._readiness.watch(callback)
        metrics = self._metrics(callback)
        front = HealthFront(callback, self._readiness) if configuration["health"] else callback
        observers = self._observers() if metrics is None else [metrics, *self._observers()]
        self.server = HTTPServer(front, observer=observers, **_server_options(configuration))
        admin = HTTPServer(admin_application(self._readiness, metrics))
        post.report = self._reporter()
        callbacks = callback.callbacks if isinstance(callback, Site) else [callback]
        lives = Lives((place.target, one) for place, one in zip(self._wanted, callbacks, strict=True))
        async with _brokers(_applications(callback), self._default_broker):
            post.attach()  # orders are heard while applications begin, which may take its time
            order = await self._unless_told(lives.begin(), Order.DRAIN, Order.STOP)
            try:
                if order is None:
                    await self._open(admin)
                    if metrics is not None:
                        metrics.start()
                    post.ready()
                    order = await post.order()
                await self._end(order, admin, lives)
            finally:
                if metrics is not None:
                    metrics.stop()
                post.detach()

    async def _open(self, admin: HTTPServer) -> None:
        self.server.add_sockets(self.listeners.sockets(self.number))
        admin.add_sockets([listener.socket for listener in self.listeners.admin])
        # They accept from the next turn on.
        await asyncio.sleep(0)
        self._opened = True
        self._readiness.serving()

    async def _end(self, order: Order, admin: HTTPServer, lives: Lives) -> None:
        """Let requests end, then the applications, then who tells how they are; each only as long as is said."""
        loop, timeout = asyncio.get_running_loop(), self.configuration["graceful_timeout"]
        until = loop.time() + timeout
        if self.post.replaced:
            await admin.drain(0)  # its successor answers there, and is ready
        else:
            self._readiness.leaving()
            until += self.configuration["drain_delay"]
        stopped = order is Order.STOP or await self._unless_told(self._drain(), Order.STOP)
        if not stopped:
            seconds = max(until - loop.time(), min(timeout, LEAST))
            stopped = await self._unless_told(lives.end(seconds), Order.STOP)
        if stopped:
            self._cut += await self.server.drain(0)
            await lives.end(STOP_GRACE)
        await admin.drain(0)

    def _metrics(self, callback: Callback) -> Metrics | None:
        if not self.configuration["metrics"]:
            return None
        metrics = Metrics(shared=self._shared)
        metrics.watch(callback)
        return metrics

    def _observers(self) -> list[Observer]:
        configuration = self.configuration
        observers: list[Observer] = []
        if configuration["request_id"]:
            observers.append(RequestIds(trust=configuration["xheaders"]))
        if configuration["access_log"] != "off":
            observers.append(access_log_of(configuration, self.number))
        if configuration["tracing"]:
            observers.append(Tracing())
        return observers

    def _reporter(self) -> Callable[[], Mapping[str, Any]]:
        most = self.configuration["max_requests"]
        if most:
            most += random.randint(0, self.configuration["max_requests_jitter"])

        def report() -> Mapping[str, Any]:
            server = self.server
            if most and server.requests >= most:
                self.post.retire(f"{server.requests} requests")
            return {"requests": server.requests, **server.load(), "cut": self._cut}

        return report

    async def _unless_told(self, work: Coroutine[Any, Any, None], *heeded: Order) -> Order | None:
        """Do something, as long as no order comes that is heeded; that order, None when it is done.

        :raises CommandError: what the work raises.
        """
        running = asyncio.ensure_future(work)
        while True:
            told = asyncio.ensure_future(self.post.order())
            await asyncio.wait([running, told], return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                # An order that has come in the same moment is heard all the same.
                order = told.result() if told.done() else None
                told.cancel()
                running.result()
                return order if order in heeded else None
            if told.result() in heeded:
                running.cancel()
                await asyncio.wait([running])
                if not running.cancelled():
                    running.exception()  # nobody asks any more
                return told.result()

    async def _drain(self) -> None:
        """Let what runs end."""
        replaced = self.post.replaced
        if not replaced and self._opened:
            await asyncio.sleep(self.configuration["drain_delay"])
        timeout = self.configuration["graceful_timeout"]
        cut = await self.server.drain(timeout, IDLE_GRACE if replaced else 0.0)
        if cut:
            gen_log.warning("connections cut that were busy after %g seconds: %d", timeout, cut)
        self._cut = cut


def _event_loop() -> asyncio.AbstractEventLoop:
    """The loop the application's module has made and may have given work to; usually a new one."""
    loop = thread_event_loop()
    if loop is not None and not loop.is_closed():
        return loop
    try:
        return new_event_loop()
    except (ValueError, RuntimeError) as error:  # WEBFW_LOOP names none, or one that is not installed
        raise CommandError(str(error)) from None


def _server_options(configuration: Configuration) -> dict[str, Any]:
    options = {name: configuration[name] for name in _SERVER_OPTIONS}
    options["idle_connection_timeout"] = configuration["idle_timeout"]
    options["ssl_options"] = tls_context(configuration["certfile"], configuration["keyfile"])
    return options


def _applications(callback: Callback) -> list[Application]:
    """The native applications that are served."""
    if isinstance(callback, Site):
        return callback.applications()
    return [callback] if isinstance(callback, Application) else []


@contextlib.asynccontextmanager
async def _brokers(applications: Sequence[Application], default: str) -> AsyncIterator[None]:
    """The brokers that applications are set to use, connected before the first request and closed after the last.

    :param default: for those that name none; it is there when it is first used.
    :raises CommandError: one cannot be had; better now than at the first client.
    """
    async with contextlib.AsyncExitStack() as stack:
        for app in applications:
            if app.settings.get("broker"):
                try:
                    await app.broker.start()
                except (BrokerError, ImportError, ValueError) as error:
                    raise CommandError(f"no broker: {error}") from error
            else:
                app.settings["broker"] = default
            stack.push_async_callback(app.close_broker)
        yield
