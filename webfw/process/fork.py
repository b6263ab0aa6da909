"""`fork_processes`: several workers out of one program, started again when they crash; no event loop may enter.

The parent only waits: it starts workers again, and ends them when it is told to end.  It never runs a loop.
"""

import asyncio
import os
import secrets
import selectors
import signal
import threading
import time
from math import inf
from typing import NoReturn

from webfw.ioloop.backend import thread_event_loop
from webfw.log import gen_log
from webfw.process.cpus import cpu_count
from webfw.process.roster import end_of, how_of
from webfw.process.signals import SignalInbox
from webfw.process.streams import flush_streams

__all__ = ["PROCESS_TREE", "fork_processes", "process_tree", "set_task_id", "task_id"]

#: The environment variable that `process_tree` is kept in.
PROCESS_TREE = "WEBFW_PROCESS_TREE"

#: Restarts of crashed workers, of all together, when the caller does not say.
MAX_RESTARTS = 100

#: Seconds the workers have to end by themselves when the parent is told to end, before they are killed.
GRACE = 30.0

#: Seconds the workers have for a SIGINT, which a terminal sends to them too, before the parent sends SIGTERM.
INTERRUPT_GRACE = 1.0

_task_id: int | None = None

# The loops that were current before a fork.  They are the parent's: collecting one in a worker would close it, and
# take its descriptors out of the epoll set that the processes share.
_parents_loops: list[asyncio.AbstractEventLoop] = []


def task_id() -> int | None:
    """Return this worker's number, from 0 on, or None in a process that `fork_processes` has not made."""
    return _task_id


def set_task_id(number: int) -> None:
    """Be the worker of this number, for who has forked this process by other means."""
    global _task_id
    _task_id = number


def process_tree() -> str:
    """Return a name, kept in the environment variable ``WEBFW_PROCESS_TREE``, that all processes of this program share.

    Made at the first call, it is known to everything this process starts from then on: `fork_processes` calls it first.
    """
    return os.environ.setdefault(PROCESS_TREE, f"{os.getpid()}-{secrets.token_hex(4)}")


def fork_processes(num_processes: int | None, max_restarts: int | None = None) -> int:
    """Start worker processes, and return in each of them; the parent stays here until all have ended.

    :param num_processes: how many; None or less than 1 for one each processor (`cpu_count`).
    :param max_restarts: how often workers that crashed (that ended by a signal or with a status other than 0) are
        started again under their number, all together; None for 100.
    :returns: in a worker, its number: 0 to ``num_processes - 1``.
    :raises SystemExit: in the parent with status 0, when every worker has ended with status 0.
    :raises RuntimeError: in the parent, when workers have crashed too often, or one cannot be started, and the others
        have been ended; or at once where nothing may be forked: while a loop runs in this thread, from another thread
        than the main one, in a worker, or on Windows.

    A loop that was current is not current in the workers any more: each makes its own, and must not close the other,
    whose descriptors belong to the parent (libuv aborts the process).  Sockets that were bound before are shared,
    `random` is seeded anew in each.

    The parent ends its workers when it is told to end: SIGTERM and SIGHUP are passed on as SIGTERM; at SIGINT, which a
    terminal sends to the workers as well, those that are still there after a second get SIGTERM.  Who is left after 30
    seconds, or when a second signal comes, is killed.  Then the signal does to the parent what it would have done
    without `fork_processes`.  Signals that are ignored stay so, and a SIGHUP that the program handles is left to it.
    """
    global _task_id
    if not hasattr(os, "fork"):
        raise RuntimeError("fork_processes needs os.fork(), which this platform does not have")
    if _task_id is not None:
        raise RuntimeError(
            f"fork_processes was called in worker {_task_id}, which cannot have workers of its own"
        )
    if asyncio._get_running_loop() is not None:
        raise RuntimeError(
            "fork_processes must be called before the event loop runs: two processes cannot share it"
        )
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("fork_processes must be called in the main thread, which gets the signals")
    count = num_processes if num_processes is not None and num_processes > 0 else cpu_count()
    process_tree()
    gen_log.info("starting %d worker processes", count)
    parent = _Parent(MAX_RESTARTS if max_restarts is None else max_restarts)
    number = parent.start(count)
    if number is None:
        parent.leave()
    _task_id = number
    return number


class _Parent:
    """The waiting parent: its children, and what it was told."""

    def __init__(self, max_restarts: int) -> None:
        self._restarts_left = max_restarts
        self._children: dict[int, int] = {}  # process id -> number
        self._told: list[int] = []
        self._failure = ""
        #: When to ask again, and when to ask no more; on the scale of time.monotonic().
        self._terminate_at = self._kill_at = inf
        self._ending = False
        numbers = [signal.SIGCHLD]
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            old = signal.getsignal(signum)
            if old not in (signal.SIG_IGN, None) and (signum != signal.SIGHUP or old == signal.SIG_DFL):
                numbers.append(signum)
        self._inbox = SignalInbox(numbers)

    def _hear(self) -> None:
        """Take note of what signals have said; of a child that has ended, `_reap` finds out."""
        self._told += [signum for signum in self._inbox.take() if signum != signal.SIGCHLD]

    # Children.

    def start(self, count: int) -> int | None:
        """Return the number in each child, and None in the parent when all have ended."""
        for number in range(count):
            if self._failure:
                break
            if self._fork(number):
                return number
        return self._watch()

    def _fork(self, number: int) -> bool:
        """True in the child."""
        flush_streams()
        # Held back, so that a child whose handlers are still the parent's does not take a signal for the parent.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, self._inbox.numbers)
        loop = thread_event_loop()  # from 3.12 on, asyncio forgets it in a child
        try:
            try:
                pid = os.fork()
            except OSError as exc:  # no process or memory is left: end those that are there
                self._failure = f"worker {number} cannot be started: {exc}"
                return False
            if pid == 0:
                self._become_child(loop)
                return True
            self._children[pid] = number
            return False
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _become_child(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self._inbox.close(in_child=True)
        if loop is not None:
            _parents_loops.append(loop)
            asyncio.set_event_loop(None)

    def _watch(self) -> int | None:
        with getattr(selectors, "PollSelector", selectors.SelectSelector)() as selector:
            selector.register(self._inbox, selectors.EVENT_READ)
            while True:
                # In this order: whoever ends behind the look at them has left word for the wait.
                self._hear()
                for number in self._reap():
                    if self._fork(number):
                        return number
                self._end_what_must()
                if not self._children:
                    return None
                until = min(self._terminate_at, self._kill_at)
                selector.select(None if until == inf else max(0.0, until - time.monotonic()))

    def _reap(self) -> list[int]:
        """Take the children that have ended, and return the numbers of those to start again."""
        again = []
        for pid, number in list(self._children.items()):
            # Each by its id: other children of the program are none of our business.
            code = end_of(pid)
            if code is None:
                continue
            del self._children[pid]
            how = how_of(code)
            if code == 0 or self._ending or self._told:
                gen_log.info("worker %d (process %d) %s", number, pid, how)
            elif self._restarts_left > 0:
                self._restarts_left -= 1
                gen_log.warning("worker %d (process %d) %s: it is started again", number, pid, how)
                again.append(number)
            else:
                gen_log.error("worker %d (process %d) %s, and no restart is left", number, pid, how)
                self._failure = "worker processes have crashed too often; they are not started again"
        return again

    # The end.

    def _end_what_must(self) -> None:
        now = time.monotonic()
        if not self._ending and (self._told or self._failure):
            self._ending = True
            interrupted = self._told[:1] == [signal.SIGINT]
            self._terminate_at = now + INTERRUPT_GRACE if interrupted else now
            self._kill_at = now + GRACE
        if len(self._told) > 1 or now >= self._kill_at:
            self._kill_at = inf
            del self._told[1:]
            self._send(signal.SIGKILL)
        elif now >= self._terminate_at:
            self._send(signal.SIGTERM)
        else:
            return
        self._terminate_at = inf

    def _send(self, signum: signal.Signals) -> None:
        for pid, number in self._children.items():
            gen_log.info("worker %d (process %d) gets %s", number, pid, signum.name)
            # It is there: only `_reap` lets go of a child's id.
            os.kill(pid, signum)

    def leave(self) -> NoReturn:
        """End the parent, whose children have all ended; it does not return."""
        self._inbox.close()
        if self._failure and not self._told:
            raise RuntimeError(self._failure)
        if self._told:
            # What the signal would have done, had nobody waited for the children; often that is the end.
            signal.raise_signal(self._told[0])
        raise SystemExit(0)
