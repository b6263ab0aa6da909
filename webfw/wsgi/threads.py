"""Threads that run applications, and the way of their results back to the loop; what they run may not enter."""

import asyncio
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Protocol

from webfw.log import app_log

__all__ = ["Job", "Mailbox", "ThreadPool", "stack_of"]


class Job(Protocol):
    """What a thread runs."""

    #: The thread that runs it; None before and after.
    thread: "threading.Thread | None"

    def execute(self) -> None:
        """Run; nothing may be raised."""


class Mailbox:
    """Calls for the loop from other threads: those that are made while it is busy wake it up once."""

    __slots__ = ("_calls", "_loop", "_woken")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: deque[Callable[[], None]] = deque()
        self._woken = False

    def post(self, call: Callable[[], None]) -> bool:
        """Have the loop call this soon; False when it is closed, and nobody is there to be answered."""
        # Without a lock: who finds the loop woken has put its call in before the loop looks.
        self._calls.append(call)
        if not self._woken:
            self._woken = True
            try:
                self._loop.call_soon_threadsafe(self._open)
            except RuntimeError:
                self._woken = False
                self._calls.clear()
                return False
        return True

    def _open(self) -> None:
        self._woken = False
        calls = self._calls
        for _ in range(len(calls)):  # what comes meanwhile has its turn after what else the loop has to do
            call = calls.popleft()
            try:
                call()
            except Exception:
                # Border: one response that fails must not keep the others.
                app_log.error("Uncaught exception while a response was taken from its thread", exc_info=True)


class ThreadPool:
    """A fixed number of threads, started when they are first needed.

    :param size: at least 1.
    :param limit: jobs that may wait for a thread.
    :param name: what the threads are called.
    :param soon: has the loop call something in its next turn: jobs that come in one turn are handed over together then,
        so that threads and loop do not take the interpreter's lock from each other for every single one.  Without it,
        each is handed over at once.

    The threads are daemons: a stuck one does not keep the process.
    """

    def __init__(
        self,
        size: int,
        limit: int,
        name: str,
        soon: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        if size < 1:
            raise ValueError(f"a pool needs at least 1 thread, not {size}")
        self.size = size
        self.limit = limit
        self._name = name
        self._soon = soon
        self._batch: list[Job] = []
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._started = 0
        #: Jobs that wait or run; only the loop counts up, every thread counts down.
        self.busy = 0
        self._closed = False

    def submit(self, job: Job) -> bool:
        """Have a thread run a job; False when too many wait already."""
        with self._lock:
            if self.busy >= self.size + self.limit or self._closed:
                return False
            self.busy += 1
            if self.busy > len(self._threads) and len(self._threads) < self.size:
                self._start()
        if self._soon is None:
            self._jobs.put(job)
        else:
            if not self._batch:
                self._soon(self._hand_over)
            self._batch.append(job)
        return True

    def _hand_over(self) -> None:
        batch, self._batch = self._batch, []
        for job in batch:
            self._jobs.put(job)

    def _start(self) -> None:
        self._started += 1
        thread = threading.Thread(target=self._work, name=f"{self._name}-{self._started}", daemon=True)
        self._threads.add(thread)
        thread.start()

    def _work(self) -> None:
        me = threading.current_thread()
        jobs = self._jobs
        while (job := jobs.get()) is not None:
            job.thread = me
            try:
                job.execute()
            except BaseException:
                # Border: nothing that a job raises may cost a thread.
                app_log.error("Uncaught exception in %s", me.name, exc_info=True)
            job.thread = None
            del job  # a thread that waits must not keep the last request
            with self._lock:
                if me not in self._threads:  # it has been replaced while it was stuck
                    return
                self.busy -= 1
        with self._lock:
            self._threads.discard(me)

    def replace(self, thread: threading.Thread) -> None:
        """Give up a thread that is stuck: another one takes its place, and it ends when it is free again."""
        with self._lock:
            if thread in self._threads:
                self._threads.discard(thread)
                self.busy -= 1
                if not self._closed:
                    self._start()

    def close(self) -> None:
        """Have the threads end when they are done with what waits."""
        self._hand_over()
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for _ in self._threads:
                self._jobs.put(None)

    def join(self, timeout: float | None = None) -> None:
        """After `close`: wait until the threads have ended."""
        for thread in list(self._threads):
            thread.join(timeout)


def stack_of(thread: threading.Thread) -> str:
    """Where a thread is just now, as a traceback shows it."""
    frame = sys._current_frames().get(thread.ident or 0)
    return "".join(traceback.format_stack(frame)) if frame is not None else "(the thread has ended)\n"
