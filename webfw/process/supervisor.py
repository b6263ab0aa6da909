"""`Supervisor`: the parent of worker processes, which keeps them running; no event loop and no application may enter.

It only waits: for signals, for what its workers tell, and for time to pass.  Everything that may take long or go wrong,
the application above all, is in the workers.
"""

import gc
import os
import selectors
import signal
import time
from collections.abc import Callable
from typing import Any

from webfw.log import gen_log
from webfw.process.channel import channel_pair
from webfw.process.fork import process_tree, set_task_id
from webfw.process.offspring import not_here
from webfw.process.program import Guest, Program, TreeSettings
from webfw.process.roster import Member, State, end_of, how_of, memory_of, why_of
from webfw.process.signals import SignalInbox
from webfw.process.streams import flush_streams
from webfw.process.worker import LOAD_FAILED, Order, Worker

__all__ = ["Supervisor"]

#: Seconds between the signal that asks a silent worker for its stack (SIGABRT) and the one that ends it (SIGKILL).
ABORT_GRACE = 2.0

#: Seconds that a worker which is to stop at once has for it.
STOP_GRACE = 1.0

#: Seconds before a crashed worker is started again: none for the first, then these, doubled each time, up to the last.
FIRST_BACKOFF = 0.5
LAST_BACKOFF = 30.0

#: Seconds after which a worker that crashes counts as one that had been well.
WELL_AFTER = 30.0

#: Seconds between two looks at the workers' memory, and looks in a row that must find too much.
MEMORY_INTERVAL = 2.0
MEMORY_LOOKS = 3

#: Seconds between two looks at deadlines, while something is under way and else.
BUSY_TICK = 0.1
IDLE_TICK = 1.0

#: Seconds by which a look that comes too late shows that the supervisor was stopped, not busy.
LATE = 0.5


class Supervisor:
    """Starts workers, watches them, and does what signals say.

    :param program: what the workers do.
    :param settings: how many there are, and how patient it is with them.

    Signals: TERM and INT let the workers drain, a second one ends them at once, as QUIT does; HUP reloads, a slot after
    the other; TTIN and TTOU change the number of workers by one; USR1 opens logs anew; USR2 starts a new supervisor
    beside this one; WINCH drains the workers and keeps the supervisor, where no terminal can have sent it.
    """

    def __init__(self, program: Program, settings: TreeSettings) -> None:
        self.program = program
        self.settings = settings
        self.generation = 1
        #: On the scale of ``time.monotonic()``, like all times here.
        self.started_at = time.monotonic()
        #: How many workers there shall be.
        self.target = settings.workers
        #: Who serves, or is to, in each slot.
        self.slots: dict[int, Member] = {}
        #: Who is to follow whom that still serves.
        self.successors: dict[int, Member] = {}
        #: Who has been told to end.
        self.leaving: list[Member] = []
        #: Whether all workers have been ready once.
        self.ready = False
        self.stopping = False
        self.selector = (
            selectors.PollSelector() if hasattr(selectors, "PollSelector") else selectors.SelectSelector()
        )
        self._status = 0
        self._child: Worker | None = None
        self._to_replace: list[int] = []
        #: The slots for which `Program.forking` was called.
        self._prepared: set[int] = set()
        self._crashes: dict[int, int] = {}
        self._not_before: dict[int, float] = {}
        self._memory_at = 0.0
        #: Who else is called at each turn.
        self.guests: list[Guest] = []
        #: How many reloads there have been, those that failed too.
        self.reloads = 0
        #: Whether one is under way.
        self.reloading = False
        #: Why the last one has failed; empty when it has not.
        self.reload_error = ""
        #: The process that an upgrade has started, as long as it lives.
        self.successor: int | None = None
        self._answers: dict[str, Callable[[Member, dict[str, Any]], None]] = {}
        self._ends = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
        self._actions: dict[int, Callable[[], None]] = {
            signal.SIGHUP: self.reload,
            signal.SIGTTIN: lambda: self.resize(self.target + 1),
            signal.SIGTTOU: lambda: self.resize(max(1, self.target - 1)),
            signal.SIGUSR1: self.reopen_logs,
            signal.SIGUSR2: self.upgrade,
            signal.SIGWINCH: self._window_changed,
            signal.SIGCHLD: lambda: None,
        }

    # --- the whole life ---

    def run(self) -> int:
        """Supervise until told to end.

        :returns: the exit status: 0, 3 when the application cannot be loaded, 128 and a signal's number when that has
            ended it at once.  In a worker, what `Program.work` has returned.
        """
        process_tree()
        self._inbox = SignalInbox([*self._actions, *self._ends])
        if self.settings.preload:
            self._preload()
        self.selector.register(self._inbox, selectors.EVENT_READ, lambda: None)
        self._supervise()
        if self._child is not None:
            return self._work(self._child)
        self._dismiss(self._status)
        self.selector.close()
        self._inbox.close()
        return self._status

    def _preload(self) -> None:
        """Load the application.  It cannot be waited for by who is to end; what else signals say waits."""
        for number in self._ends:
            signal.signal(number, _end_loading)
        try:
            self.program.preload()
            self._inbox.take_over()
        except _EndedError as ended:
            self._inbox.take_over()
            self._signalled(ended.args[0])
        except BaseException:
            self._dismiss(None)
            self._inbox.close()
            raise
        gc.collect()
        gc.freeze()

    def _supervise(self) -> None:
        """Returns in the supervisor when all is over, and in each worker when it begins."""
        while True:
            self._tend()
            if self._child is not None or self._is_over():
                return
            tick, since = self._tick(), time.monotonic()
            events = self.selector.select(tick)
            late = time.monotonic() - since - tick
            if late > LATE:  # this process was stopped or frozen, and perhaps the workers with it
                for member in self.members():
                    member.postpone(late)
            for key, _ in events:
                key.data()
            for number in self._inbox.take():
                self._signalled(number)
            self._reap()
            self.program.turned()
            for guest in self.guests:
                guest.turned()

    def _dismiss(self, status: int | None) -> None:
        for guest in self.guests:
            guest.ended(status)

    def _is_over(self) -> bool:
        return self.stopping and not self.slots and not self.successors and not self.leaving

    def _tick(self) -> float:
        busy = self.leaving or self.successors or len(self.slots) != self.target or self._to_replace
        tick = BUSY_TICK if busy else min(IDLE_TICK, self.settings.timeout / 4 or IDLE_TICK)
        return min([tick, *(guest.patience for guest in self.guests)])

    @property
    def in_worker(self) -> bool:
        """Whether this process is one of the workers."""
        return self._child is not None

    # --- what may be asked of it ---

    def stop(self, status: int = 0, at_once: bool = False) -> None:
        """End: let the workers drain, or stop them at once."""
        if not self.stopping:
            self.stopping = True
            self._status = status
            self.target = 0
            self._to_replace.clear()
            self.program.ending()
        order, grace = (Order.STOP, STOP_GRACE) if at_once else (Order.DRAIN, self.settings.graceful_timeout)
        for member in [*self.slots.values(), *self.successors.values(), *(self.leaving if at_once else ())]:
            self._send_away(member, order, grace)
        if at_once and status:
            self._status = status

    def reload(self) -> None:
        """Replace every worker by one that has loaded the application anew, one after the other."""
        if self.stopping:
            return
        self.reloads += 1
        self.reload_error = ""
        try:
            settings = self.program.reloading()
        except ValueError as error:
            gen_log.error("no reload: %s", error)
            self.reload_error = str(error)
            return
        if settings is not None:
            if settings.workers != self.settings.workers:
                self.target = settings.workers
            self.settings = settings
        self.target = self.target or self.settings.workers  # after WINCH
        self.generation += 1
        self.reloading = True
        self._crashes.clear()  # it may be better now
        self._not_before.clear()
        gen_log.info("reload: generation %d", self.generation)
        self._to_replace = sorted(self.slots)

    def resize(self, workers: int) -> None:
        """Have so many workers from now on.

        :raises ValueError: less than one.
        """
        if workers < 1:
            raise ValueError(f"a tree has 1 worker at least, not {workers}")
        if not self.stopping:
            self.target = workers
            gen_log.info("workers: %d from now on", workers)

    def reopen_logs(self) -> None:
        """Open log files anew, here and in all workers."""
        self.program.reopen_logs()
        for member in self.members():
            member.channel.send({"order": "reopen"})

    def upgrade(self) -> None:
        """Start a new supervisor, of the program as it is on disk now, which takes over the listeners."""
        if self.stopping or self.successor is not None:
            return
        self.successor = self.program.upgrade()
        if self.successor is not None:
            gen_log.info("a new supervisor is started beside this one: process %d", self.successor)

    def members(self) -> list[Member]:
        """All workers there are."""
        return [*self.slots.values(), *self.successors.values(), *self.leaving]

    def ask(self, name: str, question: str, answered: Callable[[Member, dict[str, Any]], None]) -> None:
        """Ask every worker something.

        :param name: a name for this question, new each time.
        :param question: such as ``"stacks"``.
        :param answered: called with each answer; a worker that is blocked gives none.
        """
        self._answers[name] = answered
        for member in self.members():
            member.channel.send({"order": question, "id": name})

    def forget(self, name: str) -> None:
        """Wait no more for the answers to a question."""
        self._answers.pop(name, None)

    def renewed(self) -> bool:
        """Whether every worker that there shall be serves what was loaded last."""
        return self._all_serve() and all(m.generation == self.generation for m in self.slots.values())

    @property
    def well(self) -> bool:
        """Whether somebody serves and shows signs of life; also when nobody is to, at the start and at the end."""
        if not self.ready or self.stopping or not self.target:
            return True
        since = time.monotonic() - self.settings.timeout if self.settings.timeout else 0.0
        return any(m.state is State.READY and m.last_beat >= since for m in self.slots.values())

    def summary(self) -> str:
        """One line on how it is."""
        if self.stopping:
            return f"stopping, workers left: {len(self.members())}"
        serving = sum(member.state is State.READY for member in self.slots.values())
        what = "reloading" if self.reloading else "serving" if self.ready else "starting"
        return f"{what}, {serving} of {self.target} workers ready, generation {self.generation}"

    def status(self) -> dict[str, Any]:
        """What ``webfw ctl status`` shows."""
        return {
            "pid": os.getpid(),
            "state": "stopping" if self.stopping else "ready" if self.ready else "starting",
            "uptime": round(time.monotonic() - self.started_at, 1),
            "generation": self.generation,
            "reload_error": self.reload_error,
            "successor": self.successor,
            "target": self.target,
            **self.program.describe(),
            "workers": [member.describe() for member in self.members()],
        }

    # --- signals ---

    def _signalled(self, number: int) -> None:
        if number in self._ends:
            if self.stopping or number == signal.SIGQUIT:
                self.stop(128 + number, at_once=True)
            else:
                self.stop()
        else:
            self._actions[number]()

    def _window_changed(self) -> None:
        """Drain the workers but stay: the end of an upgrade, with a way back (HUP)."""
        if any(map(os.isatty, (0, 1, 2))):
            return  # somebody has resized the terminal
        gen_log.info("the workers are drained, the supervisor stays")
        self.target = 0
        self._to_replace.clear()

    # --- time ---

    def _tend(self) -> None:
        """Do what it is time for."""
        now = time.monotonic()
        for number in [number for number in self.slots if number >= self.target]:
            self._send_away(self.slots[number], Order.DRAIN, self.settings.graceful_timeout)
        for number in [number for number in self._prepared if number >= self.target]:
            self._prepared.discard(number)
            self.program.given_up(number)
        for number in range(self.target):
            if number not in self.slots and now >= self._not_before.get(number, 0.0) and self._start(number):
                return
        self._look_at_deadlines(now)
        if self.reloading and (self.stopping or self.renewed()):
            self.reloading = False
        if self.settings.max_memory and now >= self._memory_at:
            self._memory_at = now + MEMORY_INTERVAL
            self._look_at_memory()
        self._replace_next()

    def _look_at_deadlines(self, now: float) -> None:
        settings = self.settings
        for member in self.members():
            if member.kill_at is not None:
                if now >= member.kill_at:
                    gen_log.error("%s has not ended in time: it is killed", member)
                    member.signal(signal.SIGKILL)
                    member.kill_at = now + STOP_GRACE  # a process that is stuck in the kernel
            elif member.state is State.STARTING:
                if settings.boot_timeout and now > member.born + settings.boot_timeout:
                    member.failure = f"not ready after {settings.boot_timeout:g} seconds"
                    member.signal(signal.SIGKILL)
                    member.kill_at = now + STOP_GRACE
            elif settings.timeout and now > member.last_beat + settings.timeout:
                gen_log.error(
                    "%s: no sign of life for %.1f seconds: it is replaced", member, now - member.last_beat
                )
                # Its faulthandler writes where it stands, in C if need be.
                member.signal(signal.SIGABRT)
                member.kill_at = now + ABORT_GRACE

    def _look_at_memory(self) -> None:
        for number, member in self.slots.items():
            memory = memory_of(member.pid) or 0
            member.heavy = member.heavy + 1 if memory > self.settings.max_memory else 0
            if member.heavy >= MEMORY_LOOKS:
                self._retire(number, f"{memory / 1048576:.0f} MiB of memory")

    def _retire(self, number: int, reason: str) -> None:
        if not self.stopping and number not in self.successors and number not in self._to_replace:
            gen_log.info("%s is to be replaced: %s", self.slots[number], reason)
            self._to_replace.append(number)

    def _replace_next(self) -> None:
        """Start a successor, one at a time; whom it follows serves until it is ready."""
        while self._to_replace and not self.successors and self._child is None:
            number = self._to_replace[0]
            current = self.slots.get(number)
            if current is None or number >= self.target:
                del self._to_replace[0]
            elif current.state is State.STARTING:
                if current.generation >= self.generation:
                    del self._to_replace[0]
                    continue
                return  # it is followed when it is ready, or started anew when it fails
            else:
                del self._to_replace[0]
                self._start(number, follows=True)
                return

    # --- workers ---

    def _start(self, number: int, follows: bool = False) -> bool:
        """Fork a worker; True in it."""
        try:
            self._prepared.add(number)
            self.program.forking(number)
            ours, theirs = channel_pair()
        except OSError as error:  # no descriptors are left
            self._no_worker(number, follows, error)
            return False
        flush_streams()
        # Held back, so that a worker whose handlers are still the supervisor's does not take a signal for it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, self._inbox.numbers)
        try:
            try:
                pid = os.fork()
            except OSError as error:
                ours.close()
                theirs.close()
                self._no_worker(number, follows, error)
                return False
            if pid == 0:
                ours.close()
                self._become_worker()
                self._child = Worker(number, self.generation, theirs, self.settings.blocked_after)
                return True
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        member = Member(number, self.generation, pid, ours)
        (self.successors if follows else self.slots)[number] = member
        self.selector.register(ours, selectors.EVENT_READ, lambda: self._heard(member))
        return False

    def _no_worker(self, number: int, follows: bool, error: OSError) -> None:
        gen_log.error("worker %d cannot be started: %s", number, error)
        self._back_off(number)
        if follows:
            self._to_replace.clear()
            self._reload_failed(f"worker {number} cannot be started: {error}")

    def _become_worker(self) -> None:
        """Let go of what is the supervisor's."""
        self._inbox.close(in_child=True)
        for member in self.members():
            member.channel.close()
        for guest in self.guests:
            guest.forked()
        self.selector.close()
        # A terminal's Ctrl-C and hang-up reach the whole group; the supervisor passes on what they mean.  Not SIG_IGN,
        # which programs that the application starts would inherit.
        for name in ("SIGINT", "SIGHUP", "SIGTTIN", "SIGTTOU", "SIGUSR1", "SIGUSR2"):
            signal.signal(getattr(signal, name), not_here)

    def _work(self, worker: Worker) -> int:
        set_task_id(worker.number)
        worker.guard()
        return self.program.work(worker)

    def _heard(self, member: Member) -> None:
        for message in member.channel.receive():
            # What workers say is not believed to be what it should: they run the application, and this may be root.
            if "beat" in message:
                member.listens = True
                member.last_beat = time.monotonic()
                member.report = message["beat"] if isinstance(message["beat"], dict) else {}
                member.blocked = ""
            elif "blocked" in message:
                member.blocked = str(message["blocked"])
            elif "ready" in message:
                self._is_ready(member)
            elif "failed" in message:
                member.failure = str(message["failed"]).strip()
            elif "retire" in message and self.slots.get(member.number) is member:
                self._retire(member.number, str(message["retire"]))
            elif "answer" in message and (answered := self._answers.get(str(message["answer"]))):
                answered(member, message)
        if member.channel.ended:
            self.selector.unregister(member.channel)
            member.channel.close()

    def _is_ready(self, member: Member) -> None:
        if member.state is not State.STARTING:
            return
        member.state = State.READY
        member.last_beat = time.monotonic()
        # What is as it should be is not worth a line, once for each worker at the start.
        (gen_log.info if self.ready else gen_log.debug)("%s is ready", member)
        self.program.worker_ready(member)
        number = member.number
        if self.successors.get(number) is member:
            del self.successors[number]
            former = self.slots.pop(number, None)
            self.slots[number] = member
            if former is not None:
                self._send_away(former, Order.DRAIN, self.settings.graceful_timeout)
        self._not_before.pop(number, None)
        if not self.ready and self._all_serve():
            self.ready = True
            self.program.all_ready()

    def _all_serve(self) -> bool:
        return len(self.slots) == self.target and all(m.state is State.READY for m in self.slots.values())

    def _send_away(self, member: Member, order: Order, grace: float) -> None:
        if member.state is not State.LEAVING:
            for place in (self.slots, self.successors):
                if place.get(member.number) is member:
                    del place[member.number]
            self.leaving.append(member)
        others_serve = any(other.state is State.READY for other in self.slots.values())
        member.tell(order, grace, self.successor is not None or (others_serve and not self.stopping))

    def _back_off(self, number: int) -> float:
        crashes = self._crashes[number] = self._crashes.get(number, 0) + 1
        delay = min(FIRST_BACKOFF * 2.0 ** (crashes - 2), LAST_BACKOFF) if crashes > 1 else 0.0
        self._not_before[number] = time.monotonic() + delay
        return delay

    # --- ends ---

    def _reap(self) -> None:
        """Wait for the workers that have ended; each by its id, since other children are none of our business."""
        for member in self.members():
            ended = end_of(member.pid)
            if ended is None:
                continue
            if not member.channel.ended:
                self._heard(member)  # its last words
            if not member.channel.ended:
                self.selector.unregister(member.channel)
                member.channel.close()
            self.program.worker_exited(member, ended)
            self._exited(member, ended)
        if self.successor is not None and (status := end_of(self.successor)) is not None:
            gen_log.error(
                "the new supervisor (process %d) %s; this one goes on", self.successor, how_of(status)
            )
            self.successor = None

    def _exited(self, member: Member, status: int) -> None:
        number = member.number
        if member in self.leaving:
            self.leaving.remove(member)
            # Where the start has failed, that is told already.
            usual = self.stopping and (status == 0 or not self.ready)
            (gen_log.debug if usual else gen_log.info)("%s %s", member, how_of(status))
        elif self.successors.get(number) is member:
            del self.successors[number]
            self._memory_at = time.monotonic() + LAST_BACKOFF  # what is too large is not tried on and on
            if member.generation < self.generation:
                gen_log.error("%s %s: the reload that came after it goes on", member, why_of(member, status))
            else:
                self._to_replace.clear()
                gen_log.error("%s %s: no reload, the former workers go on", member, why_of(member, status))
                self._reload_failed(f"{member} {why_of(member, status)}")
        elif member.state is State.STARTING:
            del self.slots[number]
            if self.ready:
                delay = self._back_off(number)
                gen_log.error("%s %s: next attempt in %g seconds", member, why_of(member, status), delay)
                self._reload_failed(f"{member} {why_of(member, status)}")
            else:
                self.program.cannot_start(member, member.failure or why_of(member, status))
                self.stop(status if member.failure and status > 0 else LOAD_FAILED, at_once=True)
        else:
            del self.slots[number]
            if time.monotonic() - member.born > WELL_AFTER:
                self._crashes.pop(number, None)
            delay = self._back_off(number)
            level = gen_log.info if status == 0 else gen_log.error
            level(
                "%s %s: it is started again%s",
                member,
                how_of(status),
                f" in {delay:g} seconds" if delay else "",
            )

    def _reload_failed(self, why: str) -> None:
        if self.reloading:
            self.reloading = False
            self.reload_error = why


class _EndedError(BaseException):
    """A signal that ends the tree while the application is loaded here; not for it to catch."""


def _end_loading(number: int, frame: object) -> None:
    raise _EndedError(number)
