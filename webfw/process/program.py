"""What a supervisor runs (`Program`), is told (`TreeSettings`) and has beside it (`Guest`); no process is made here."""

from dataclasses import dataclass
from typing import Any, Protocol

from webfw.log import gen_log
from webfw.process.roster import Member
from webfw.process.worker import Worker

__all__ = ["Guest", "Program", "TreeSettings"]


@dataclass(frozen=True, slots=True)
class TreeSettings:
    """What a supervisor is told.

    :param workers: how many.
    :param graceful_timeout: seconds that a draining worker has before it is killed.
    :param timeout: seconds without a heartbeat after which a worker is replaced; 0 for never.
    :param boot_timeout: seconds that loading the application may take; 0 for any time.
    :param blocked_after: seconds that a worker's loop may stand still before that is logged; 0 for never.
    :param max_memory: bytes of memory (RSS) above which a worker is replaced; 0 for no limit.
    :param preload: whether the application is loaded before the workers are forked, which then share its memory.
    """

    workers: int = 1
    graceful_timeout: float = 30.0
    timeout: float = 30.0
    boot_timeout: float = 60.0
    blocked_after: float = 1.0
    max_memory: int = 0
    preload: bool = False


class Program:
    """What a supervisor runs; a subclass says what of it matters.

    All but `work` is called in the supervisor, and must neither wait nor raise, but for what is said here.
    """

    def preload(self) -> None:
        """Load the application, where the settings say so; what it raises ends the supervisor."""

    def work(self, worker: Worker) -> int:
        """Be a worker, in the process made for it, and return the exit status."""
        raise NotImplementedError

    def forking(self, number: int) -> None:
        """A worker is about to be made for this slot."""

    def given_up(self, number: int) -> None:
        """This slot is to have no worker any more, until there are to be more again; one may be leaving it."""

    def worker_ready(self, member: Member) -> None:
        """A worker serves."""

    def worker_exited(self, member: Member, status: int) -> None:
        """A worker is gone: its exit status, or minus the number of the signal that has ended it."""

    def all_ready(self) -> None:
        """Every worker serves, for the first time."""

    def reloading(self) -> TreeSettings | None:
        """A reload begins: the settings to go on with; None for those there are.

        :raises ValueError: the new ones are wrong; there is no reload then.
        """
        return None

    def reopen_logs(self) -> None:
        """Open log files anew."""

    def upgrade(self) -> int | None:
        """Start a supervisor that takes over the listeners, and return its process; None where that cannot be."""
        return None

    def cannot_start(self, member: Member, why: str) -> None:
        """The tree ends, because this worker could not begin to serve."""
        gen_log.error("%s %s", member, why)

    def turned(self) -> None:
        """The supervisor has looked at everything there was; called once a second at least."""

    def describe(self) -> dict[str, Any]:
        """What `Supervisor.status` says of it beside: JSON; ``serving`` is a line on what and where."""
        return {}

    def ending(self) -> None:
        """No worker is started any more."""


class Guest(Protocol):
    """Who else lives in a supervisor's loop, such as a control socket; must neither wait nor raise."""

    @property
    def patience(self) -> float:
        """The most seconds until `turned` is to be called again."""

    def turned(self) -> None:
        """The supervisor has looked at everything there was."""

    def forked(self) -> None:
        """This is a worker, just made: let go of what is the supervisor's."""

    def ended(self, status: int | None) -> None:
        """The supervisor ends, with this status; None when by an exception that somebody else will tell."""
