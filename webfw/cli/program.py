"""What the process tree of ``webfw serve`` runs: in the supervisor the announcements, in each worker a server."""

import asyncio
import contextlib
import faulthandler
import gc
import importlib
import os
import random
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, Protocol

from webfw._version import __version__
from webfw.cli.accesslog import log_function
from webfw.cli.applications import Callback, Place, Site, assemble, load, places
from webfw.cli.errors import FAILED, CommandError
from webfw.cli.listeners import Listeners, tls_context
from webfw.cli.logs import Logs
from webfw.cli.settings import SETTINGS
from webfw.cli.sources import Configuration
from webfw.httpserver import HTTPServer
from webfw.ioloop.backend import new_event_loop, thread_event_loop
from webfw.log import gen_log
from webfw.process import cpu_count
from webfw.process.roster import Member
from webfw.process.supervisor import Program, Supervisor, TreeSettings
from webfw.process.worker import Order, Worker
from webfw.pubsub import BrokerError
from webfw.web import Application

__all__ = ["Alone", "ServeProgram", "serve_alone", "tree_settings"]

#: Seconds for which idle connections stay open for one more request when another worker has taken over.
IDLE_GRACE = 1.0

#: Seconds until somebody who waits for the end is told why.
SAY_AFTER = 0.15


# Settings that are parameters of `HTTPServer`.
_SERVER_OPTIONS = (
    "xheaders",
    "trusted_downstream",
    "header_timeout",
    "body_timeout",
    "min_body_rate",
    "write_timeout",
    "tls_handshake_timeout",
    "max_header_size",
    "max_body_size",
)


class Post(Protocol):
    """Who tells a server what to do: a supervisor's worker, or `Alone`."""

    report: Callable[[], Mapping[str, Any]] | None
    reopen_logs: Callable[[], None] | None
    replaced: bool
    #: The broker of applications that name none.
    default_broker: str

    def attach(self) -> None: ...

    def ready(self) -> None: ...

    async def order(self) -> Order: ...

    def retire(self, reason: str) -> None: ...

    def detach(self) -> None: ...


def say(line: str) -> None:
    """Tell whoever started the command."""
    with contextlib.suppress(BrokenPipeError):
        print(line, flush=True)


def tree_settings(configuration: Configuration) -> TreeSettings:
    """What the supervisor is told."""
    workers = configuration["workers"]
    names = ("graceful_timeout", "timeout", "boot_timeout", "blocked_after", "max_memory", "preload")
    settings = {name: configuration[name] for name in names}
    settings["graceful_timeout"] += configuration["drain_delay"]
    return TreeSettings(workers=cpu_count() if workers == "auto" else workers, **settings)


# --- a server, in whatever process ---


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


def run_server(
    post: Post,
    configuration: Configuration,
    listeners: Listeners,
    number: int,
    wanted: list[Place],
    loaded: list[Any],
) -> None:
    """Serve until told to end.

    :raises CommandError: it cannot be served.
    """
    with asyncio.Runner(loop_factory=_event_loop) as runner:
        runner.run(_serve(post, configuration, listeners, number, wanted, loaded))


def _event_loop() -> asyncio.AbstractEventLoop:
    """The loop the application's module has made and may have given work to; usually a new one."""
    loop = thread_event_loop()
    if loop is not None and not loop.is_closed():
        return loop
    try:
        return new_event_loop()
    except (ValueError, RuntimeError) as error:  # WEBFW_LOOP names none, or one that is not installed
        raise CommandError(str(error)) from None


async def _serve(
    post: Post,
    configuration: Configuration,
    listeners: Listeners,
    number: int,
    wanted: list[Place],
    loaded: list[Any],
) -> None:
    settings = {"log_function": log_function}
    if configuration["broker"] is not None:
        settings["broker"] = configuration["broker"]
    callback = await assemble(wanted, loaded, settings)
    applications = _applications(callback)
    server = HTTPServer(callback, **_server_options(configuration))
    cut = 0
    most = configuration["max_requests"]
    if most:
        most += random.randint(0, configuration["max_requests_jitter"])

    def report() -> Mapping[str, Any]:
        if most and server.requests >= most:
            post.retire(f"{server.requests} requests")
        return {"requests": server.requests, **server.load(), "cut": cut}

    post.report = report
    async with _brokers(applications, post.default_broker):
        post.attach()
        server.add_sockets(listeners.sockets(number))
        # They accept from the next turn on.
        await asyncio.sleep(0)
        post.ready()
        try:
            order = await post.order()
            if order is Order.DRAIN:
                order, cut = await _drain(server, post, configuration["graceful_timeout"])
            if order is Order.STOP:
                cut = await server.drain(0)
        finally:
            post.detach()


async def _drain(server: HTTPServer, post: Post, timeout: float) -> tuple[Order, int]:
    """Let what runs end, unless it is to stop after all."""
    draining = asyncio.ensure_future(server.drain(timeout, IDLE_GRACE if post.replaced else 0.0))
    while True:
        told = asyncio.ensure_future(post.order())
        await asyncio.wait([draining, told], return_when=asyncio.FIRST_COMPLETED)
        if draining.done():
            told.cancel()
            cut = draining.result()
            if cut:
                gen_log.warning("connections cut that were busy after %g seconds: %d", timeout, cut)
            return Order.DRAIN, cut
        if told.result() is Order.STOP:
            draining.cancel()
            await asyncio.wait([draining])
            return Order.STOP, 0


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


# --- without a supervisor ---


class Alone:
    """Stands for the supervisor in a process without one: orders come from signals."""

    default_broker = "memory:"

    def __init__(self, graceful_timeout: float) -> None:
        self.report: Callable[[], Mapping[str, Any]] | None = None
        self.reopen_logs: Callable[[], None] | None = None
        self.replaced = False
        self.status = 0
        self.announce: Callable[[], None] = lambda: None
        self._graceful_timeout = graceful_timeout
        self._orders: asyncio.Queue[Order] = asyncio.Queue()
        self._former: dict[int, Any] = {}
        self._say: asyncio.TimerHandle | None = None

    def attach(self) -> None:
        loop = self._loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            self._former[number] = signal.getsignal(number)
            try:
                loop.add_signal_handler(number, self._signalled, number)
            except NotImplementedError:  # Windows: the loop only wakes up for what is thread-safe
                signal.signal(number, lambda n, _: loop.call_soon_threadsafe(self._signalled, n))

    def ready(self) -> None:
        self.announce()

    async def order(self) -> Order:
        return await self._orders.get()

    def retire(self, reason: str) -> None:
        gen_log.warning("there is no supervisor to start a successor: %s", reason)

    def detach(self) -> None:
        if self._say is not None:
            self._say.cancel()
        for number, handler in self._former.items():
            with contextlib.suppress(NotImplementedError):
                self._loop.remove_signal_handler(number)
            signal.signal(number, handler)
        say_ended(self.status, int(self.report().get("cut", 0)) if self.report is not None else 0)

    def _signalled(self, number: int) -> None:
        if self._say is None:
            self._say = self._loop.call_later(SAY_AFTER, say_stopping, self._graceful_timeout)
            self._orders.put_nowait(Order.DRAIN)
        else:
            self.status = 128 + number
            self._orders.put_nowait(Order.STOP)


def serve_alone(configuration: Configuration, listeners: Listeners, logs: Logs) -> int:
    """Serve in this process, until a signal; the exit status.

    :raises CommandError: it cannot be served.
    """
    wanted, loaded = load_all(configuration, logs)
    post = Alone(configuration["graceful_timeout"])
    post.announce = lambda: announce(configuration, listeners, 0)
    run_server(post, configuration, listeners, 0, wanted, loaded)
    return post.status


# --- what is said ---


def announce(configuration: Configuration, listeners: Listeners, workers: int) -> None:
    """Say what is served and where."""
    names = ", ".join(place.target for place in places(configuration))
    behind = f" with {workers} workers" if workers > 1 else ""
    for listener in listeners:
        url = listener.url(configuration["certfile"] is not None)
        say(f"webfw {__version__} serving {names} on {url}{behind}")


def say_stopping(seconds: float) -> None:
    """Tell somebody who has to wait for what."""
    say(f"webfw stopping: running requests have {seconds:g} seconds, another signal stops at once")


def say_ended(status: int, cut: int) -> None:
    """The last words."""
    if status <= 128:
        say("webfw stopped")
    else:
        say(f"webfw stopped at once, {cut} {'connection' if cut == 1 else 'connections'} cut")


# --- the tree ---


class ServeProgram(Program):
    """The application of ``webfw serve`` in a process tree.

    :param configuration: the settings.
    :param reread: reads them again, for a reload.
    :param listeners: where to listen.
    :param logs: the handlers.
    :param directory: where the command was started, for a new supervisor.
    """

    def __init__(
        self,
        configuration: Configuration,
        reread: Callable[[], Configuration],
        listeners: Listeners,
        logs: Logs,
        directory: str = ".",
    ) -> None:
        self.configuration = configuration
        self.listeners = listeners
        self.logs = logs
        self.supervisor: Supervisor
        self._reread = reread
        self._directory = directory
        self._hooks = _hooks(configuration["hooks"])
        self._loaded: tuple[list[Place], list[Any]] | None = None
        self._ending_since: float | None = None
        self._told = False
        self._cut = 0
        self._new_supervisor: subprocess.Popen[bytes] | None = None

    # In the supervisor.

    def start(self) -> int:
        """Run the tree; the exit status.  A worker ends here.

        :raises SystemExit: in a worker.
        """
        self.supervisor = Supervisor(self, tree_settings(self.configuration))
        self.hook("on_starting", self.supervisor)
        status = self.supervisor.run()
        if self.supervisor.in_worker:
            sys.exit(status)  # whoever has called this goes on in the supervisor alone
        self.hook("on_exit", self.supervisor)
        if status == 0 or status > 128:
            say_ended(status, self._cut)
        return status

    def hook(self, name: str, *arguments: Any) -> None:
        """Call a function of the module of hooks, if it has it; a hook that fails does not keep the server."""
        function = getattr(self._hooks, name, None)
        if function is not None:
            try:
                function(*arguments)
            except Exception:
                # Border: a hook is not ours, and the others depend on us.
                gen_log.error("hook %s failed", name, exc_info=True)

    def preload(self) -> None:
        self._loaded = load_all(self.configuration, self.logs)

    def forking(self, number: int) -> None:
        self.listeners.prepare(number)
        self.hook("pre_fork", self.supervisor, number)

    def worker_ready(self, member: Member) -> None:
        self.hook("worker_ready", self.supervisor, member)

    def worker_exited(self, member: Member, status: int) -> None:
        self._cut += int(member.report.get("cut", 0))
        self.hook("worker_exit", self.supervisor, member, status)

    def all_ready(self) -> None:
        announce(self.configuration, self.listeners, self.supervisor.target)

    def cannot_start(self, member: Member, why: str) -> None:
        print(why, file=sys.stderr, flush=True)

    def reloading(self) -> TreeSettings | None:
        try:
            configuration = self._reread()
            places(configuration)
            tls_context(configuration["certfile"], configuration["keyfile"])
        except CommandError as error:
            raise ValueError(str(error)) from None
        for name, value in configuration.values.items():
            if value.value != self.configuration[name] and not SETTINGS[name].reloads:
                gen_log.warning("%s: %s is taken only at a start", value.origin, name)
        self.configuration = configuration
        self.hook("on_reload", self.supervisor)
        return tree_settings(configuration)

    def reopen_logs(self) -> None:
        self.logs.reopen()

    def upgrade(self) -> int | None:
        environ, fds = self.listeners.hand_over()
        try:
            process = subprocess.Popen(
                [sys.executable, *sys.orig_argv[1:]],
                cwd=self._directory,
                env={**os.environ, **environ},
                pass_fds=fds,
            )
        except OSError as error:
            gen_log.error("no new supervisor: %s", error)
            self.listeners.take_back()
            return None
        self._new_supervisor = process  # the supervisor waits for it
        return process.pid

    def turned(self) -> None:
        if self._new_supervisor is not None and self.supervisor.successor is None:
            self._new_supervisor.returncode = 0  # it was waited for
            self._new_supervisor = None
            self.listeners.take_back()
        since = self._ending_since
        if since is not None and not self._told and time.monotonic() > since + SAY_AFTER:
            self._told = True
            say_stopping(self.configuration["graceful_timeout"])

    def ending(self) -> None:
        self.listeners.close()
        if self.supervisor.ready:
            self._ending_since = time.monotonic()

    # In a worker.

    def work(self, worker: Worker) -> int:
        faulthandler.enable()  # SIGABRT shows where a worker stands that gives no sign of life
        configuration = self.configuration
        try:
            self.hook("post_fork", self.supervisor, worker)
            wanted, loaded = self._loaded or load_all(configuration, self.logs)
            gc.freeze()
            worker.reopen_logs = self.logs.reopen
            run_server(worker, configuration, self.listeners, worker.number, wanted, loaded)
        except CommandError as error:
            worker.failed(_told(error, configuration["log_level"]))
            return error.status
        return 0


def _told(error: CommandError, level: str) -> str:
    """What the supervisor says of a failure: one sentence, behind the traceback where that is wanted."""
    text = f"webfw: {error}"
    if level == "debug" and error.__cause__ is not None:
        text = "".join(traceback.format_exception(error.__cause__)) + text
    return text


def _hooks(name: str | None) -> ModuleType | None:
    if name is None:
        return None
    try:
        return importlib.import_module(name)
    except Exception as error:
        # Border: the module is the user's.
        last = traceback.format_exception_only(error)[-1].strip()
        raise CommandError(f"hooks: importing {name!r} failed: {last}", FAILED) from error
