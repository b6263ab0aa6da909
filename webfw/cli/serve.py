"""The ``webfw serve`` command: from its settings to a process tree or a single process; what these do may not enter."""

import argparse
import os
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from webfw.cli.alone import is_alone, serve_alone
from webfw.cli.applications import Place, places
from webfw.cli.errors import USAGE, CommandError, in_one_sentence
from webfw.cli.flags import add_settings, given
from webfw.cli.listeners import INHERITED, Listeners, tls_context
from webfw.cli.logs import Logs
from webfw.cli.program import ServeProgram
from webfw.cli.service import access_log_of, check_observation
from webfw.cli.sources import Configuration, read_configuration
from webfw.cli.target import missing_module
from webfw.log import gen_log
from webfw.process.daemon import change_directory, set_umask
from webfw.process.descriptors import raise_descriptor_limit
from webfw.process.identity import find_identity
from webfw.process.systemd import activated_sockets

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


def configuration_of(arguments: argparse.Namespace, file: str | None = None) -> Configuration:
    """The settings, by the parsed arguments of this command.

    :param file: the file to read, where it is known already.
    :raises CommandError: something is wrong with them.
    """
    flags = given(arguments)
    if getattr(arguments, "target", None) is not None:
        flags["app"] = arguments.target
    return read_configuration(flags, file=file or arguments.config)


def serve(arguments: argparse.Namespace) -> int:
    """Run the command with its parsed arguments and return the exit status.

    :raises CommandError: the application cannot be served.
    """
    directory = os.getcwd()
    configuration = configuration_of(arguments)
    # Whatever the directory is later, and at each reload: it is this file, or there is an error.
    file = None if configuration.file is None else os.path.abspath(configuration.file)
    try:
        if configuration["chdir"] is not None:
            with in_one_sentence(ValueError):
                change_directory(configuration["chdir"])
            if file is None:
                configuration = configuration_of(arguments)
                file = None if configuration.file is None else os.path.abspath(configuration.file)
        return _serve(configuration, partial(configuration_of, arguments, file), directory)
    except CommandError as error:
        if configuration["log_level"] == "debug" and error.__cause__ is not None:
            traceback.print_exception(error.__cause__)
        raise


def _serve(configuration: Configuration, reread: Callable[[], Configuration], directory: str) -> int:
    wanted = places(configuration)
    check_observation(configuration)
    tls_context(configuration["certfile"], configuration["keyfile"])
    alone = is_alone(configuration)
    with in_one_sentence(ValueError, OSError):
        if configuration["umask"] is not None:
            set_umask(configuration["umask"])
        identity = find_identity(configuration["user"], configuration["group"])
        if identity is not None:
            identity.check()
    has_time = access_log_of(configuration).has_time
    logs = Logs(configuration["log_level"], configuration["access_log"], configuration["error_log"], has_time)
    for warning in configuration.warnings:
        gen_log.warning("%s", warning)
    raised = raise_descriptor_limit()
    if raised is not None:
        gen_log.debug("the limit on open files is raised from %d to %d", *raised)
    path = os.path.abspath(configuration["app_dir"])
    if path not in sys.path:
        sys.path.insert(0, path)
    is_upgrade = INHERITED in os.environ
    with in_one_sentence(ValueError):
        given = activated_sockets()
    if given and configuration.origin("bind").startswith("--"):
        gen_log.warning("sockets from systemd are closed, since there is --bind: %d", len(given))
        for _, sock in given:
            sock.close()
        given = []
    listeners = _listeners(configuration, given, wanted)
    if alone:
        try:
            return serve_alone(configuration, listeners, logs, identity)
        finally:
            listeners.close()
    program = ServeProgram(configuration, reread, listeners, logs, identity, directory)
    try:
        return program.start(is_upgrade)
    except BaseException:
        if not program.in_worker:
            listeners.close()
        raise


def _listeners(
    configuration: Configuration, given: Sequence[tuple[str, socket.socket]], wanted: Sequence[Place]
) -> Listeners:
    """Open the addresses.

    :param given: sockets from systemd, which count before what a file says of a start without them.
    :raises CommandError: one cannot be had.
    """
    try:
        return Listeners(
            configuration["bind"],
            backlog=configuration["backlog"],
            unix_mode=int(configuration["unix_mode"], 8),
            unix_owner=configuration["unix_owner"],
            reuse_port=configuration["reuse_port"],
            admin=configuration["admin"],
            given=given,
        )
    except CommandError as error:
        # Whoever mistypes the application on a machine where something runs already would look for the wrong mistake.
        for place in wanted:
            missing = missing_module(place.target, configuration["app_dir"])
            if missing is not None:
                raise CommandError(f"{missing}; besides, {error}", USAGE) from None
        raise
