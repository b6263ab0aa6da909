"""`Member`: what a supervisor knows of one worker; deciding what to do about it may not enter."""

import contextlib
import enum
import os
import signal
import time
from typing import Any

from webfw.process.channel import Channel
from webfw.process.signals import signal_name
from webfw.process.worker import Order

__all__ = ["Member", "State", "end_of", "how_of", "memory_of", "why_of"]


class State(enum.Enum):
    """Where a worker is in its life."""

    #: It loads the application.
    STARTING = "starting"
    #: It serves.
    READY = "ready"
    #: It has been told to end.
    LEAVING = "leaving"


class Member:
    """One worker, from its fork until it has been waited for.

    :param number: the slot it is for.
    :param generation: of the application it has loaded.
    :param pid: its process.
    :param channel: the line to it.
    """

    def __init__(self, number: int, generation: int, pid: int, channel: Channel) -> None:
        self.number = number
        self.generation = generation
        self.pid = pid
        self.channel = channel
        self.state = State.STARTING
        #: On the scale of ``time.monotonic()``, like all times here.
        self.born = self.last_beat = time.monotonic()
        #: Whether it hears orders: its loop turns, though applications may have to begin before it serves.
        self.listens = False
        #: What its last heartbeat said.
        self.report: dict[str, Any] = {}
        #: Where its loop stands, if it has said that it does not turn; until the next heartbeat.
        self.blocked = ""
        #: Why its application could not be loaded, if it has said so.
        self.failure = ""
        #: When it is killed.
        self.kill_at: float | None = None
        #: Looks in a row at which it had too much memory.
        self.heavy = 0

    def __str__(self) -> str:
        return f"worker {self.number} (process {self.pid})"

    @property
    def is_loading(self) -> bool:
        """Whether nobody is there yet to be asked or told."""
        return self.state is State.STARTING and not self.listens

    def tell(self, order: Order, kill_after: float, replaced: bool = False) -> None:
        """Give an order that ends it.

        :param kill_after: seconds it has for that; a second more is for its own end.
        :param replaced: whether another worker serves in its place already.
        """
        if self.is_loading:  # nothing is lost
            self.signal(signal.SIGKILL)
        else:
            self.channel.send({"order": order.value, "replaced": replaced})
        self.state = State.LEAVING
        self.kill_at = time.monotonic() + kill_after + 1.0

    def signal(self, number: int) -> None:
        """Send it a signal; it is there, since only who waits for it lets go of its id."""
        with contextlib.suppress(ProcessLookupError):  # unless a hook has waited for it
            os.kill(self.pid, number)

    def postpone(self, seconds: float) -> None:
        """Let it have so much more time for whatever it has to do."""
        self.born += seconds
        self.last_beat += seconds
        if self.kill_at is not None:
            self.kill_at += seconds

    def describe(self) -> dict[str, Any]:
        """What ``webfw ctl status`` shows of it."""
        now = time.monotonic()
        return {
            **self.report,
            "worker": self.number,
            "pid": self.pid,
            "state": self.state.value,
            "generation": self.generation,
            "age": round(now - self.born, 1),
            "silent": round(now - self.last_beat, 1),
            "blocked": bool(self.blocked),
            "memory": memory_of(self.pid),
        }


def memory_of(pid: int) -> int | None:
    """Bytes of a process that are in memory (RSS); None where the system does not tell."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError, AttributeError):
        return None


def end_of(pid: int) -> int | None:
    """How a child has ended, as ``os.waitstatus_to_exitcode`` says it; None while it runs."""
    try:
        done, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:  # somebody else has waited for it
        return 0
    return os.waitstatus_to_exitcode(status) if done else None


def how_of(status: int) -> str:
    """How a process has ended, in words."""
    return f"was killed by {signal_name(-status)}" if status < 0 else f"ended with status {status}"


def why_of(member: Member, status: int) -> str:
    """Why it was never ready, in one sentence: the last of what it has said of that."""
    if member.failure:
        return f"cannot serve: {member.failure.strip().splitlines()[-1]}"
    return f"{how_of(status)} before it was ready"
