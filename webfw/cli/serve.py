"""The ``webfw serve`` command: an application on its addresses until a signal; answering is the server's."""

import argparse
import asyncio
import contextlib
import inspect
import logging
import signal
import ssl
import sys
import traceback
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from webfw._version import __version__
from webfw.cli.accesslog import TimeFormatter, log_function
from webfw.cli.errors import USAGE, CommandError
from webfw.cli.listeners import Listener, bind_all, close_all, tls_context
from webfw.cli.target import interface_of, load_target
from webfw.httpserver import HTTPServer
from webfw.httputil import HTTPServerConnectionDelegate
from webfw.ioloop.backend import new_event_loop, thread_event_loop
from webfw.log import access_log, gen_log
from webfw.pubsub import BrokerError
from webfw.web import Application, RequestHandler
from webfw.wsgi import WSGIContainer

if TYPE_CHECKING:
    # add_parser's type has no name outside argparse's stub.
    from argparse import _SubParsersAction

__all__ = ["DRAIN_SECONDS", "add_command"]

#: Seconds that running requests have to end after the first signal.
DRAIN_SECONDS = 30.0

_LEVELS = ("debug", "info", "warning", "error")


def add_command(commands: "_SubParsersAction[Any]") -> None:
    """Add ``serve`` to the commands of a parser."""
    parser = commands.add_parser(
        "serve",
        help="serve an application over HTTP",
        description="Serve an application over HTTP until SIGINT or SIGTERM.",
    )
    parser.add_argument(
        "target", metavar="TARGET", help="the application, as module:attribute or module:factory()"
    )
    parser.add_argument(
        "--bind",
        action="append",
        metavar="ADDRESS",
        help="HOST:PORT, [IPv6]:PORT, :PORT, unix:PATH, fd://NUMBER; repeatable (default: 127.0.0.1:8000)",
    )
    parser.add_argument("--certfile", metavar="FILE", help="serve HTTPS with this certificate chain (PEM)")
    parser.add_argument("--keyfile", metavar="FILE", help="the certificate's private key, if not in its file")
    parser.add_argument(
        "--threads",
        type=_threads,
        metavar="N",
        help="threads that run a WSGI application; 0 runs it on the event loop (default: 8)",
    )
    parser.add_argument(
        "--log-level", choices=_LEVELS, default="info", help="how much to log (default: info)"
    )
    parser.add_argument(
        "--app-dir", default=".", metavar="DIRECTORY", help="where to look for the module first (default: .)"
    )
    parser.set_defaults(command=serve)


def serve(arguments: argparse.Namespace) -> int:
    """Run the command with its parsed arguments and return the exit status.

    :raises CommandError: the application cannot be served.
    """
    tls = tls_context(arguments.certfile, arguments.keyfile)
    try:
        app = load_target(arguments.target, arguments.app_dir)
    except CommandError as error:
        if arguments.log_level == "debug" and error.__cause__ is not None:
            traceback.print_exception(error.__cause__)
        raise
    _set_up_logging(arguments.log_level)
    listeners = bind_all(arguments.bind or ["127.0.0.1:8000"])
    try:
        with asyncio.Runner(loop_factory=_event_loop) as runner:
            return runner.run(_serve(app, arguments, listeners, tls))
    finally:
        close_all(listeners)


def _event_loop() -> asyncio.AbstractEventLoop:
    """The loop the application's module has made and may have given work to; usually a new one."""
    loop = thread_event_loop()
    if loop is not None and not loop.is_closed():
        return loop
    try:
        return new_event_loop()
    except (ValueError, RuntimeError) as error:  # WEBFW_LOOP names none, or one that is not installed
        raise CommandError(str(error)) from None


def _threads(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 1000):
        raise argparse.ArgumentTypeError(f"a number from 0 to 1000 is wanted, not {text!r}")
    return int(text)


async def _serve(
    app: Any, arguments: argparse.Namespace, listeners: Sequence[Listener], tls: ssl.SSLContext | None
) -> int:
    target = arguments.target
    if inspect.isawaitable(app):  # an async factory
        app = await app
    if interface_of(app, target, HTTPServerConnectionDelegate, RequestHandler) == "wsgi":
        app = WSGIContainer(app, threads=arguments.threads)
    elif arguments.threads is not None:
        raise CommandError(f"--threads is for WSGI applications, which {target} is not", USAGE)
    settings = getattr(app, "settings", None)
    if isinstance(settings, dict):
        settings.setdefault("log_function", log_function)
    server = HTTPServer(app, ssl_options=tls)
    async with _broker(app):
        with _signals() as signals:
            server.add_sockets([listener.socket for listener in listeners])
            for listener in listeners:
                _say(f"webfw {__version__} serving {target} on {listener.url(tls is not None)}")
            await signals.get()
            return await _stop(server, signals)


@contextlib.asynccontextmanager
async def _broker(app: Any) -> AsyncIterator[None]:
    """The broker that the application is set to use, connected before the first request and closed after the last.

    :raises CommandError: it cannot be had; better now than at the first client.
    """
    if not (isinstance(app, Application) and app.settings.get("broker")):
        yield
        return
    try:
        broker = app.broker
        await broker.start()
    except (BrokerError, ImportError, ValueError) as error:
        raise CommandError(f"no broker: {error}") from error
    try:
        yield
    finally:
        await broker.close()


async def _stop(server: HTTPServer, signals: "asyncio.Queue[int]") -> int:
    """Let running requests end, unless a second signal comes first."""
    drain = asyncio.ensure_future(server.drain(DRAIN_SECONDS))
    second = asyncio.ensure_future(signals.get())
    # What is idle ends within this turn or the next: only speak when somebody has to wait.
    await asyncio.wait([drain, second], timeout=0.1, return_when=asyncio.FIRST_COMPLETED)
    if not drain.done() and not second.done():
        _say(f"webfw stopping: running requests have {DRAIN_SECONDS:g} seconds, another signal stops at once")
        await asyncio.wait([drain, second], return_when=asyncio.FIRST_COMPLETED)
    if drain.done():
        second.cancel()
        cut = drain.result()
        if cut:
            gen_log.warning("connections cut that were busy after %g seconds: %d", DRAIN_SECONDS, cut)
        _say("webfw stopped")
        return 0
    drain.cancel()
    await asyncio.wait([drain])
    cut = await server.drain(0)
    _say(f"webfw stopped at once, {cut} {'connection' if cut == 1 else 'connections'} cut")
    return 128 + second.result()


@contextlib.contextmanager
def _signals() -> Iterator["asyncio.Queue[int]"]:
    """A queue of the SIGINT and SIGTERM signals that arrive; their former handlers come back at the end."""
    loop = asyncio.get_running_loop()
    arrived: asyncio.Queue[int] = asyncio.Queue()
    former: dict[int, Any] = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        former[number] = signal.getsignal(number)
        try:
            loop.add_signal_handler(number, arrived.put_nowait, int(number))
        except NotImplementedError:  # Windows: the loop only wakes up for what is thread-safe
            signal.signal(number, lambda n, _: loop.call_soon_threadsafe(arrived.put_nowait, n))
    try:
        yield arrived
    finally:
        for caught, handler in former.items():
            with contextlib.suppress(NotImplementedError):
                loop.remove_signal_handler(caught)
            signal.signal(caught, handler)


def _say(line: str) -> None:
    with contextlib.suppress(BrokenPipeError):
        print(line, flush=True)


def _handler(stream: Any, form: str) -> logging.Handler:
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TimeFormatter(form))
    return handler


def _set_up_logging(level: str) -> None:
    """Access lines go to standard output, the rest to standard error; what the application set up stays."""
    if not access_log.handlers:
        access_log.addHandler(_handler(sys.stdout, "%(asctime)s %(message)s"))
        access_log.propagate = False
    if access_log.level == logging.NOTSET:
        access_log.setLevel(level.upper())
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(_handler(sys.stderr, "%(asctime)s %(levelname)s %(name)s: %(message)s"))
        root.setLevel(level.upper())
