"""The ``webfw routes`` command: a table of what answers which requests; finding the routes is another file's work."""

import argparse
import json
from typing import TYPE_CHECKING, Any

from webfw.cli.config import settings_of
from webfw.cli.flags import add_settings
from webfw.cli.routemap import Route, load_applications
from webfw.cli.tables import table

if TYPE_CHECKING:
    # add_parser's type has no name outside argparse's stub.
    from argparse import _SubParsersAction

__all__ = ["add_command"]


def add_command(commands: "_SubParsersAction[Any]") -> None:
    """Add ``routes`` to the commands of a parser."""
    parser = commands.add_parser(
        "routes",
        help="show what answers which requests",
        description="Import applications and show their routes, in the order in which they are tried.",
    )
    parser.add_argument(
        "target", metavar="TARGET", nargs="?", help="the application, as webfw serve is given it"
    )
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")
    add_settings(parser, ("factory", "app_dir", "chdir"))
    parser.set_defaults(command=routes)


def routes(arguments: argparse.Namespace) -> int:
    """Run the command with its parsed arguments and return the exit status.

    :raises CommandError: the application cannot be loaded.
    """
    configuration = settings_of(arguments, enter=True)
    found = [route for loaded in load_applications(configuration) for route in loaded.routes]
    if arguments.json:
        print(json.dumps([as_json(route) for route in found], indent=2))
        return 0
    rows = [[route.host, route.path, " ".join(route.methods), route.handler, route.name] for route in found]
    print(table(["HOST", "PATH", "METHODS", "HANDLER", "NAME"], rows) or "no routes")
    return 0


def as_json(route: Route) -> dict[str, Any]:
    """A route for programs."""
    return {
        "host": route.host or None,
        "path": route.path,
        "methods": list(route.methods),
        "handler": route.handler,
        "name": route.name or None,
    }
