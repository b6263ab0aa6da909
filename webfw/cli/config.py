"""The ``webfw config`` command: every setting's value and who says so; nothing is loaded, nothing is served."""

import argparse
import json
import os
import re
import sys
from typing import TYPE_CHECKING, Any

from webfw.cli.errors import CommandError
from webfw.cli.flags import add_settings, given
from webfw.cli.serve import configuration_of
from webfw.cli.settings import SETTINGS, TABLES
from webfw.cli.sources import Configuration, read_configuration
from webfw.cli.tables import table

if TYPE_CHECKING:
    # add_parser's type has no name outside argparse's stub.
    from argparse import _SubParsersAction

__all__ = ["add_command", "settings_of", "without_password"]

#: What stands for a value that nobody has given.
NOT_SET = "(not set)"

# The password in a URL: what may not be shown to whoever looks over a shoulder, or into a bug report.
_PASSWORD = re.compile(r"(://[^/@:\s]*):\S*@")


def add_command(commands: "_SubParsersAction[Any]") -> None:
    """Add ``config`` to the commands of a parser."""
    parser = commands.add_parser(
        "config",
        help="show the settings and where each comes from",
        description="Show the value of every setting as webfw serve would have it, given the same flags, environment "
        "and file, and which of these says so.",
    )
    parser.add_argument(
        "target", metavar="TARGET", nargs="?", help="the application, as webfw serve is given it"
    )
    parser.add_argument(
        "--show", action="store_true", help="show them (what is done when nothing else is said)"
    )
    parser.add_argument("--changed", action="store_true", help="only those that are not the default")
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")
    add_settings(parser)
    parser.set_defaults(command=config)


def config(arguments: argparse.Namespace) -> int:
    """Run the command with its parsed arguments and return the exit status.

    :raises CommandError: a setting is wrong.
    """
    configuration = settings_of(arguments)
    names = [name for name in SETTINGS if not arguments.changed or configuration.is_set(name)]
    if arguments.json:
        print(json.dumps(_as_json(configuration, names), indent=2))
        return 0
    for warning in configuration.warnings:
        print(f"webfw: {warning}", file=sys.stderr)
    rows = [[name, _shown(configuration, name), configuration.origin(name)] for name in names]
    for app in configuration.apps:
        place = " ".join(f"{key}={without_password(str(app[key]))}" for key in TABLES["apps"] if key in app)
        rows.append(["apps", place, app["origin"]])
    print(table(["SETTING", "VALUE", "FROM"], rows) or "every setting has its default")
    return 0


def settings_of(arguments: argparse.Namespace, enter: bool = False) -> Configuration:
    """The settings as `webfw serve` has them in the end: without a file here, with the one where ``chdir`` leads.

    :param enter: whether to go there, for what is to be loaded.
    :raises CommandError: something is wrong with them, or there is no such directory.
    """
    configuration = configuration_of(arguments)
    directory = configuration["chdir"]
    if directory is None:
        return configuration
    if not os.path.isdir(directory):
        raise CommandError(f"{configuration.origin('chdir')}: there is no directory {directory}")
    if enter:
        os.chdir(directory)
    if configuration.file is not None:
        return configuration  # only where there is no file here is one looked for there
    if enter:
        return configuration_of(arguments)
    flags = given(arguments)
    if arguments.target is not None:
        flags["app"] = arguments.target
    return read_configuration(flags, file=arguments.config, directory=directory)


def without_password(text: str) -> str:
    """A value in which the password of a URL is replaced by ``***``."""
    return _PASSWORD.sub(r"\1:***@", text)


def _shown(configuration: Configuration, name: str) -> str:
    value = configuration[name]
    if value is None or value == []:
        return NOT_SET
    return without_password(SETTINGS[name].show(value))


def _as_json(configuration: Configuration, names: list[str]) -> dict[str, Any]:
    return {
        "file": None if configuration.file is None else str(configuration.file),
        "settings": {
            name: {"value": _plain(configuration[name]), "origin": configuration.origin(name)}
            for name in names
        },
        "apps": [{key: _plain(value) for key, value in app.items()} for app in configuration.apps],
        "warnings": list(configuration.warnings),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return without_password(value) if isinstance(value, str) else value
