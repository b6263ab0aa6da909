"""How a command fails: one sentence and an exit status, raised anywhere below ``main``; nothing else."""

import contextlib
from collections.abc import Iterator

from webfw.process.worker import LOAD_FAILED

__all__ = ["FAILED", "LOAD_FAILED", "USAGE", "CommandError", "in_one_sentence"]

#: Exit status when what was asked for could not be done.
FAILED = 1
#: Exit status when the command line itself was wrong.
USAGE = 2


class CommandError(Exception):
    """Ends the command.

    :param message: one sentence for the terminal, naming what is wrong and where.
    :param status: the exit status, `FAILED`, `USAGE` or `LOAD_FAILED`.
    """

    def __init__(self, message: str, status: int = FAILED) -> None:
        super().__init__(message)
        self.status = status


@contextlib.contextmanager
def in_one_sentence(*kinds: type[Exception]) -> Iterator[None]:
    """End the command by what a room below says in one sentence; around its calls, never around an application's.

    :param kinds: the exceptions whose text is that sentence.
    """
    try:
        yield
    except kinds as error:
        raise CommandError(str(error), FAILED) from None
