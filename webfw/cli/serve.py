"""The ``webfw serve`` command: from its settings to a process tree or a single process; what these do may not enter."""

import argparse
import os
import sys
import traceback
from functools import partial
from typing import TYPE_CHECKING, Any

from webfw.cli.alone import serve_alone
from webfw.cli.applications import places
from webfw.cli.errors import CommandError
from webfw.cli.flags import add_settings, given
from webfw.cli.listeners import Listeners, tls_context
from webfw.cli.logs import Logs
from webfw.cli.program import ServeProgram
from webfw.cli.service import access_log_of
from webfw.cli.sources import Configuration, read_configuration
from webfw.log import gen_log

if TYPE_CHECKING:
    # add_parser's type has no name outside argparse's stub.
    from argparse import _SubParsersAction

__all__ = ["add_command", "configuration_of"]


def add_command(commands: "_SubParsersAction[Any]") -> None:
    """Add ``serve`` to the commands of a parser."""
    parser = commands.add_parser(
        "serve",
        help="serve an application over HTTP",
        description="Serve an application over HTTP until SIGINT or SIGTERM.",
    )
    parser.add_argument(
        "target",
        metavar="TARGET",
        nargs="?",
        help="the application, as module:attribute or module:factory(); by default what the file of settings names",
    )
    add_settings(parser)
    parser.set_defaults(command=serve)


def configuration_of(arguments: argparse.Namespace) -> Configuration:
    """The settings, by the parsed arguments of this command.

    :raises CommandError: something is wrong with them.
    """
    flags = given(arguments)
    if getattr(arguments, "target", None) is not None:
        flags["app"] = arguments.target
    return read_configuration(flags, file=arguments.config)


def serve(arguments: argparse.Namespace) -> int:
    """Run the command with its parsed arguments and return the exit status.

    :raises CommandError: the application cannot be served.
    """
    directory = os.getcwd()
    configuration = configuration_of(arguments)
    if configuration["chdir"] is not None:
        _enter(configuration)
        configuration = configuration_of(arguments)
    places(configuration)
    tls_context(configuration["certfile"], configuration["keyfile"])
    if configuration["umask"] is not None:
        os.umask(int(configuration["umask"], 8))
    has_time = access_log_of(configuration).has_time
    logs = Logs(configuration["log_level"], configuration["access_log"], configuration["error_log"], has_time)
    for warning in configuration.warnings:
        gen_log.warning("%s", warning)
    path = os.path.abspath(configuration["app_dir"])
    if path not in sys.path:
        sys.path.insert(0, path)
    listeners = Listeners(
        configuration["bind"],
        backlog=configuration["backlog"],
        unix_mode=int(configuration["unix_mode"], 8),
        unix_owner=configuration["unix_owner"],
        reuse_port=configuration["reuse_port"],
    )
    try:
        if configuration["workers"] == 0 or not hasattr(os, "fork"):
            try:
                return serve_alone(configuration, listeners, logs)
            finally:
                listeners.close()
        program = ServeProgram(
            configuration, partial(configuration_of, arguments), listeners, logs, directory
        )
        try:
            return program.start()
        except CommandError:
            listeners.close()
            raise
    except CommandError as error:
        if configuration["log_level"] == "debug" and error.__cause__ is not None:
            traceback.print_exception(error.__cause__)
        raise


def _enter(configuration: Configuration) -> None:
    try:
        os.chdir(configuration["chdir"])
    except OSError as error:
        where = configuration.origin("chdir")
        raise CommandError(f"{where}: {configuration['chdir']}: {(error.strerror or '').lower()}") from None
