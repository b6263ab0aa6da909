"""The ``webfw`` command line: which commands there are and how they end; what they do is in a file each."""

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from webfw._version import __version__
from webfw.cli import check, completion, config, ctl, dev, routes, serve, static, systemd_unit
from webfw.cli.errors import USAGE, CommandError

__all__ = ["main"]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """End with one sentence, as every other mistake does, rather than with the whole usage."""
        self.exit(USAGE, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="webfw", description="Serve web applications made with webfw.")
    parser.add_argument("--version", action="version", version=f"webfw {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    serve.add_command(commands)
    config.add_command(commands)
    ctl.add_command(commands)
    systemd_unit.add_command(commands)
    dev.add_command(commands)
    check.add_command(commands)
    routes.add_command(commands)
    static.add_command(commands)
    completion.add_command(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the ``webfw`` command.

    :param argv: the arguments after the command's name; those of the process when None.
    :returns: the exit status: 0 done, 1 it could not be done, 2 the command line is wrong, 3 the application cannot be
        loaded, 130 interrupted.
    :raises SystemExit: from ``--help``, ``--version`` and wrong options, as argparse does.
    """
    arguments = _parser().parse_args(argv)
    try:
        status: int = arguments.command(arguments)
    except CommandError as error:
        print(f"webfw: {error}", file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        return 130
    return status
