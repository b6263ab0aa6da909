"""The ``webfw static`` command: the files of a directory on an address; how a file is answered may not enter."""

import argparse
import os
from typing import TYPE_CHECKING, Any

from webfw._version import __version__
from webfw.cli.alone import Alone
from webfw.cli.applications import Place
from webfw.cli.errors import USAGE, CommandError
from webfw.cli.flags import add_settings
from webfw.cli.listeners import Listeners, tls_context
from webfw.cli.listing import DirectoryHandler
from webfw.cli.local import local_configuration
from webfw.cli.logs import Logs
from webfw.cli.service import Service
from webfw.cli.words import say
from webfw.web import Application

if TYPE_CHECKING:
    # add_parser's type has no name outside argparse's stub.
    from argparse import _SubParsersAction

__all__ = ["add_command", "directory_application"]

_SETTINGS = (
    "bind",
    "unix_mode",
    "certfile",
    "keyfile",
    "graceful_timeout",
    "log_level",
    "access_log",
    "access_log_format",
    "error_log",
)


def add_command(commands: "_SubParsersAction[Any]") -> None:
    """Add ``static`` to the commands of a parser."""
    parser = commands.add_parser(
        "static",
        help="serve the files of a directory",
        description="Serve the files of a directory over HTTP, with pages that list what is in it.",
    )
    parser.add_argument(
        "directory",
        metavar="DIRECTORY",
        nargs="?",
        default=".",
        help="what to serve (default: the current one)",
    )
    parser.add_argument(
        "--spa",
        action="store_true",
        help="answer pages that do not exist with index.html, for applications that run in the browser",
    )
    add_settings(parser, _SETTINGS)
    parser.set_defaults(command=static)


def directory_application(directory: str, spa: bool = False) -> Application:
    """The application that serves a directory; see `DirectoryHandler`."""
    return Application([(r"/(.*)", DirectoryHandler, {"path": os.path.abspath(directory), "spa": spa})])


def static(arguments: argparse.Namespace) -> int:
    """Run the command with its parsed arguments and return the exit status.

    :raises CommandError: the directory cannot be served.
    """
    configuration = local_configuration(arguments)
    directory: str = arguments.directory
    if not os.path.isdir(directory):
        what = "is no directory" if os.path.exists(directory) else "does not exist"
        raise CommandError(f"{directory} {what}", USAGE)
    if not os.access(directory, os.R_OK | os.X_OK):
        raise CommandError(f"{directory} may not be read")
    if arguments.spa and not os.path.isfile(os.path.join(directory, "index.html")):
        raise CommandError(f"--spa needs an index.html in {directory}", USAGE)
    tls_context(configuration["certfile"], configuration["keyfile"])
    logs = Logs(configuration["log_level"], configuration["access_log"], configuration["error_log"])
    listeners = Listeners(configuration["bind"], unix_mode=int(configuration["unix_mode"], 8))
    post = Alone(configuration["graceful_timeout"])
    post.reopen_logs = logs.reopen

    def announce() -> None:
        for listener in listeners:
            url = listener.url(configuration["certfile"] is not None)
            say(f"webfw {__version__} serving the files of {os.path.abspath(directory)} on {url}")

    post.announce = announce
    application = directory_application(directory, arguments.spa)
    try:
        Service(post, configuration, listeners, 0, [Place(directory)], [application]).run()
    finally:
        listeners.close()
    return post.status
