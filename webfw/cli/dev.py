"""The ``webfw dev`` command: one process that starts again when its files change; production may not enter."""

import argparse
import importlib
import inspect
import ipaddress
import os
import sys
import time
import traceback
from collections.abc import Awaitable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from webfw.autoreload.reloader import stand_down
from webfw.autoreload.sources import failed_files, files_of_exception, record_imports
from webfw.cli.applications import Place, places
from webfw.cli.errors import LOAD_FAILED, USAGE, CommandError
from webfw.cli.flags import add_settings
from webfw.cli.guess import guess_target
from webfw.cli.listeners import Listeners, tls_context
from webfw.cli.local import local_configuration
from webfw.cli.logs import Logs
from webfw.cli.reloading import CHANGED_AT, GRACE, DevPost, KeptListeners
from webfw.cli.service import Service, load_all
from webfw.cli.sources import Configuration, Value
from webfw.cli.words import announcements, say
from webfw.httputil import HTTPHeaders
from webfw.web import Application, OutputTransform, RequestHandler
from webfw.web.tracebacks import traceback_page

if TYPE_CHECKING:
    # add_parser's type has no name outside argparse's stub.
    from argparse import _SubParsersAction

__all__ = ["add_command"]

_SETTINGS = (
    "bind",
    "unix_mode",
    "certfile",
    "keyfile",
    "app_dir",
    "chdir",
    "factory",
    "threads",
    "lifespan",
    "broker",
    "log_level",
    "access_log",
    "access_log_format",
    "error_log",
)

_WARNING = """\
webfw dev is for development: it starts again when a file changes, and shows source to whoever asks; \
webfw serve is for all else"""


def add_command(commands: "_SubParsersAction[Any]") -> None:
    """Add ``dev`` to the commands of a parser."""
    parser = commands.add_parser(
        "dev",
        help="serve an application while you work on it",
        description="Serve an application in one process, start again whenever one of its files changes, and show "
        "exceptions in the browser. For development only.",
    )
    parser.add_argument(
        "target",
        metavar="TARGET",
        nargs="?",
        help="the application, as module:attribute or module:factory() (default: what the file of settings names, "
        "else app, application or make_app in app.py or main.py)",
    )
    parser.add_argument(
        "--open-to-network",
        action="store_true",
        help="listen where others can connect, who will see source and tracebacks",
    )
    add_settings(parser, _SETTINGS)
    parser.set_defaults(command=dev)


def dev(arguments: argparse.Namespace) -> int:
    """Run the command with its parsed arguments and return the exit status.

    :raises CommandError: the application cannot be served, and changing its files would not help.
    """
    changed_at = os.environ.pop(CHANGED_AT, None)
    configuration = _configuration(arguments)
    tls_context(configuration["certfile"], configuration["keyfile"])
    logs = Logs(configuration["log_level"], configuration["access_log"], configuration["error_log"])
    listeners = KeptListeners(configuration["bind"], unix_mode=int(configuration["unix_mode"], 8))
    try:
        if not arguments.open_to_network:
            _stay_here(configuration, listeners)
        post = DevPost(listeners, [configuration.file] if configuration.file is not None else [])
        post.announce = lambda: _announce(configuration, listeners, changed_at)
        _serve(configuration, listeners, logs, post, changed_at is None)
    finally:
        listeners.close()
    say("webfw stopped")
    return 0


def _configuration(arguments: argparse.Namespace) -> Configuration:
    configuration = local_configuration(arguments, ("Application", "Limits"), "127.0.0.1")
    if configuration["chdir"] is not None:
        try:
            os.chdir(configuration["chdir"])
        except OSError as error:
            message = (
                f"{configuration.origin('chdir')}: {configuration['chdir']}: {(error.strerror or '').lower()}"
            )
            raise CommandError(message) from None
    values = {**configuration.values, "graceful_timeout": Value(GRACE, "default")}
    if configuration["app"] is None and not configuration.apps:
        values["app"] = Value(guess_target(configuration["app_dir"]), "default")
    return replace(configuration, values=values)


def _stay_here(configuration: Configuration, listeners: Listeners) -> None:
    """Refuse addresses that others can connect to.

    :raises CommandError: there is one.
    """
    for listener in listeners:
        if isinstance(listener.address, tuple):
            host = listener.address[0].partition("%")[0]
            if not ipaddress.ip_address(host).is_loopback:
                url = listener.url(configuration["certfile"] is not None)
                raise CommandError(
                    f"webfw dev shows source and tracebacks to whoever asks, so it does not listen on {url} "
                    f"({configuration.origin('bind')}): bind 127.0.0.1 or, if everybody who can connect may see them, "
                    "add --open-to-network",
                    USAGE,
                )


def _announce(configuration: Configuration, listeners: Listeners, changed_at: str | None) -> None:
    if changed_at is not None:
        say(f"webfw serves again, {time.time() - float(changed_at):.2f} s after the change")
        return
    for line in announcements(configuration, listeners, 0):
        say(line)
    say(_WARNING)


def _serve(
    configuration: Configuration, listeners: Listeners, logs: Logs, post: DevPost, is_first: bool
) -> None:
    """Serve the application; where there is none, what is wrong with it.

    :raises CommandError: it is the first start, and the command line is wrong rather than the application.
    """
    stand_down()  # the setting autoreload, where a loop is there when the program is imported
    record_imports()
    try:
        wanted, loaded = load_all(configuration, logs)
        applications = [_with_debug_pages(app) for app in loaded]
        Service(post, configuration, listeners, 0, wanted, applications).run()
    except CommandError as error:
        if is_first and error.status != LOAD_FAILED:
            raise
        post.is_broken = True
        for path in files_of_exception(error) | failed_files():
            post.watcher.watch(path, loaded=True)
        _tell(error)
        post.announce = lambda: say("webfw waits for a change; until then the browser shows what is wrong")
        broken = Application([(r".*", _Broken, {"error": _of_program(error.__cause__ or error)})])
        # At all hosts and paths, without what is set for an application of another kind.
        place = Place(places(configuration)[0].target)
        Service(post, configuration, listeners, 0, [place], [broken]).run()


def _with_debug_pages(app: Any) -> Any:
    """What the ``debug`` setting does, without its reloader: there is one already."""
    if isinstance(app, Application):
        app.settings.update(debug=True, autoreload=False)
        app.settings.setdefault("compiled_template_cache", False)
        app.settings.setdefault("static_hash_cache", False)
        app.settings.setdefault("serve_traceback", True)
        app.add_transform(_Fresh)
    elif inspect.isawaitable(app):  # an async factory
        return _awaited(app)
    return app


async def _awaited(app: Awaitable[Any]) -> Any:
    return _with_debug_pages(await app)


class _Fresh(OutputTransform):
    """Has browsers ask again for what does not say how long it may be kept."""

    def transform_first_chunk(
        self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
    ) -> tuple[int, HTTPHeaders, bytes]:
        if "Cache-Control" not in headers:
            headers["Cache-Control"] = "no-cache"
        return status_code, headers, chunk


class _Broken(RequestHandler):
    """Shows why the application cannot be loaded."""

    def initialize(self, error: BaseException) -> None:
        self._error = error

    def prepare(self) -> None:
        self.set_status(500)
        self.set_header("Cache-Control", "no-store")
        if "text/html" in self.request.headers.get("Accept", "*/*"):
            request = f"{self.request.method} {self.request.path}"
            self.finish(traceback_page(self._error, "The application cannot be loaded", request))
        else:
            self.set_header("Content-Type", "text/plain; charset=UTF-8")
            self.finish("".join(_traceback(self._error)))

    def check_xsrf_cookie(self) -> None:
        """Accept every request: what is wrong is the answer to all."""


def _tell(error: CommandError) -> None:
    """Say on standard error what is wrong, with the traceback of the program's own frames."""
    if error.__cause__ is not None:
        sys.stderr.write("".join(_traceback(error.__cause__)))
    print(f"webfw: {error}", file=sys.stderr, flush=True)


def _traceback(error: BaseException) -> list[str]:
    return traceback.format_exception(_of_program(error))


def _of_program(error: BaseException) -> BaseException:
    """The exception with its traceback from where the program's own code begins."""
    house = os.path.dirname(os.path.dirname(__file__)) + os.sep
    trace = error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if not name.startswith((house, "<frozen importlib")) and name != importlib.__file__:
            break
        trace = trace.tb_next
    return error.with_traceback(trace)
