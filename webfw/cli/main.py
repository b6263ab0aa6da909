"""The ``webfw`` command line: which commands there are and how they end; what they do is in a file each."""

import argparse
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, NoReturn

from webfw._version import __version__
from webfw.cli import check, completion, config, ctl, dev, routes, serve, static, systemd_unit
from webfw.cli.errors import USAGE, CommandError

__all__ = ["main"]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """End with one sentence, as every other mistake does, rather than with the whole usage."""
        self.exit(USAGE, f"{self.prog}: {message} (see {self.prog} --help)\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuse what is left over here, where the command is known whose help says what there is."""
        found, left = super().parse_known_args(args, namespace)
        if left:
            # No list of options is public in argparse; this one has been there from the beginning.
            known = [option for option in self._option_string_actions if option.startswith("--")]
            near = get_close_matches(left[0].partition("=")[0], known, 1, 0.7)
            self.error(
                f"unrecognized arguments: {' '.join(left)}{f'; did you mean {near[0]}?' if near else ''}"
            )
        return found, left


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
        _write_out()
    except BrokenPipeError:
        # Whoever reads has enough, as head does.  The interpreter would complain when it flushes, too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except CommandError as error:
        print(f"webfw: {error}", file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        return 130
    return status


def _write_out() -> None:
    """Write what is still in the buffer of standard output.

    :raises BrokenPipeError: nobody reads it.
    """
    if sys.stdout is None:  # of a process that was started without it
        return
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except (OSError, ValueError):  # a full disk, a closed file: the interpreter tells of it when it ends
        pass
