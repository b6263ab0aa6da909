"""How a command fails: one sentence and an exit status, raised anywhere below ``main``; nothing else."""

from webfw.process.worker import LOAD_FAILED

__all__ = ["FAILED", "LOAD_FAILED", "USAGE", "CommandError"]

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
