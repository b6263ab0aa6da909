"""`IOLoop`: Tornado's face of an asyncio loop; timers that repeat and all about sockets stay out."""

import asyncio
import concurrent.futures
import contextlib
import contextvars
import datetime
import functools
import inspect
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Protocol, TypeVar

from webfw.concurrent import is_future
from webfw.ioloop import backend
from webfw.ioloop.selectorthread import with_readers
from webfw.log import app_log
from webfw.util import Configurable, TimeoutError

__all__ = ["IOLoop"]

_T = TypeVar("_T")


class _HasFileno(Protocol):
    def fileno(self) -> int: ...


class _CanAbort(Protocol):
    def abort(self) -> None: ...


class IOLoop(Configurable):
    """An event loop: callbacks, timers, descriptors and coroutines, on top of one asyncio loop.

    There is one `IOLoop` for each asyncio loop; `current` finds (or makes) it.  Inside ``asyncio.run``
    nothing needs to be set up.  A program without asyncio calls ``IOLoop.current().start()``, which then runs
    until `stop`.

    :param asyncio_loop: the asyncio loop to wrap; a new one by default (see `webfw.ioloop.backend`).
    :param make_current: whether the new loop becomes the current one of this thread (the default).
    :raises RuntimeError: `asyncio_loop` has an `IOLoop` already.

    Except for `add_callback` and `add_callback_from_signal` no method may be called from another thread.
    """

    #: The events of `add_handler`, to be joined with ``|``.
    NONE = 0
    READ = 0x001
    WRITE = 0x004
    ERROR = 0x018

    _ioloop_for_asyncio: ClassVar[dict[asyncio.AbstractEventLoop, "IOLoop"]] = {}
    _registry_lock: ClassVar[threading.Lock] = threading.Lock()

    asyncio_loop: asyncio.AbstractEventLoop
    #: What watches descriptors for `add_handler`: the asyncio loop, or on Windows' proactor loop one around it.
    selector_loop: asyncio.AbstractEventLoop

    @classmethod
    def configurable_base(cls) -> type[Configurable]:
        return IOLoop

    @classmethod
    def configurable_default(cls) -> type[Configurable]:
        return IOLoop

    def initialize(
        self,
        make_current: bool | None = True,
        asyncio_loop: asyncio.AbstractEventLoop | None = None,
        **kwargs: Any,
    ) -> None:
        """Set the new object up; called by the constructor with its keyword arguments."""
        if kwargs:
            raise TypeError(f"IOLoop() got unexpected arguments: {', '.join(sorted(kwargs))}")
        #: Descriptor -> (what was registered, its handler), and the descriptors watched for each direction.
        self.handlers: dict[int, tuple[int | _HasFileno, Callable[..., Any]]] = {}
        self.readers: set[int] = set()
        self.writers: set[int] = set()
        self.closing = False
        self._previous: asyncio.AbstractEventLoop | None = None
        self._pending: set[Any] = set()
        self._open: set[_CanAbort] = set()
        self.asyncio_loop = backend.new_event_loop() if asyncio_loop is None else asyncio_loop
        with self._registry_lock:
            # Loops that were closed behind our back would otherwise stay here for good.
            for loop in [loop for loop in self._ioloop_for_asyncio if loop.is_closed()]:
                del self._ioloop_for_asyncio[loop]
            other = self._ioloop_for_asyncio.setdefault(self.asyncio_loop, self)
        if other is not self:
            raise RuntimeError(f"{self.asyncio_loop!r} has an IOLoop already: {other!r}")
        self.selector_loop = with_readers(self.asyncio_loop)
        if make_current:
            self.make_current()

    # --- which loop ---

    @staticmethod
    def current(instance: bool = True) -> "IOLoop | Any":
        """Return the `IOLoop` of the running asyncio loop, else the one current for this thread.

        :param instance: whether to make one where there is none; with False None is returned then.
        """
        try:
            loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            loop = backend.thread_event_loop()
            if loop is not None and loop.is_closed():
                loop = None
        if loop is None:
            return IOLoop() if instance else None
        found = IOLoop._ioloop_for_asyncio.get(loop)
        if found is None and instance:
            found = IOLoop(asyncio_loop=loop, make_current=False)
        return found

    @staticmethod
    def instance() -> "IOLoop":
        """Return `current`; kept for programs written for older versions."""
        loop: IOLoop = IOLoop.current()
        return loop

    def install(self) -> None:
        """Do what `make_current` does; kept for programs written for older versions."""
        self.make_current()

    @staticmethod
    def clear_instance() -> None:
        """Do what `clear_current` does; kept for programs written for older versions."""
        IOLoop.clear_current()

    def make_current(self) -> None:
        """Make this the current loop of the calling thread, for asyncio as well.

        Not needed in a coroutine or callback, where the running loop is the current one.
        """
        previous = backend.thread_event_loop()
        if previous is not self.asyncio_loop:
            self._previous = previous
            asyncio.set_event_loop(self.asyncio_loop)

    @staticmethod
    def clear_current() -> None:
        """Make the loop that was current before the last `make_current` current again, or none."""
        current = IOLoop.current(instance=False)
        if current is not None:
            current._clear_current()

    def _clear_current(self) -> None:
        previous, self._previous = self._previous, None
        asyncio.set_event_loop(None if previous is None or previous.is_closed() else previous)

    # --- its life ---

    def start(self) -> None:
        """Run the loop until `stop` is called."""
        self.asyncio_loop.run_forever()

    def stop(self) -> None:
        """Stop the loop after the callbacks that are due in this turn.

        When the loop is not running, the next `start` returns at once.  From another thread use
        ``add_callback(loop.stop)``.
        """
        self.asyncio_loop.stop()

    def run_sync(self, func: Callable[[], Any], timeout: float | None = None) -> Any:
        """Start the loop, run `func` in it, stop the loop and return the result.

        :param func: called without arguments on the loop; an awaitable it returns is awaited, as is all else that
            coroutines of `webfw.gen` may yield, such as a list of awaitables.
        :param timeout: seconds until the awaitable is cancelled; None waits for ever.
        :raises TimeoutError: the time was over.  What `func` raises is raised here too.
        """
        outcome: list[Any] = []
        timed_out = False
        waiting = True

        def expire() -> None:
            nonlocal timed_out
            timed_out = True
            # Cancel and wait for what the coroutine does about it; what cannot be cancelled is left behind.
            if not (outcome and isinstance(outcome[0], asyncio.Future) and outcome[0].cancel()):
                self.stop()

        def run() -> None:
            future = asyncio.Future(loop=self.asyncio_loop)  # type: asyncio.Future[Any]
            try:
                result = self.convert_returned(func())
                if inspect.isawaitable(result):
                    future = asyncio.ensure_future(result, loop=self.asyncio_loop)
                elif is_future(result):
                    future = asyncio.wrap_future(result, loop=self.asyncio_loop)
                else:
                    future.set_result(result)
            except Exception as exc:
                future.set_exception(exc)
            outcome.append(future)
            # Not when it is done only later, after somebody else has stopped the loop.
            self.add_future(future, lambda _: self.stop() if waiting else None)

        self.add_callback(run)
        timer = None if timeout is None else self.call_later(timeout, expire)
        try:
            self.start()
        finally:
            waiting = False
            if timer is not None:
                self.remove_timeout(timer)
        future = outcome[0] if outcome else None
        if timed_out and (future is None or future.cancelled() or not future.done()):
            raise TimeoutError(f"Operation timed out after {timeout} seconds")
        if future is None or not future.done():
            raise RuntimeError("Event loop stopped before Future completed.")
        return future.result()

    def close(self, all_fds: bool = False) -> None:
        """Close the loop, which must not be running; it cannot be used again.

        :param all_fds: whether everything registered on the loop is closed too: the descriptors of
            `add_handler`, the streams and the listening sockets.
        """
        if self.closing:
            return
        if self.asyncio_loop.is_running():
            raise RuntimeError("a running IOLoop cannot be closed: stop it first")
        self.closing = True
        if not self.asyncio_loop.is_closed():
            for fd, (fileobj, _) in list(self.handlers.items()):
                self.remove_handler(fd)
                if all_fds:
                    self.close_fd(fileobj)
            if all_fds:
                self._abort_all()
        self.handlers.clear()
        if backend.thread_event_loop() is self.asyncio_loop:
            self._clear_current()
        with self._registry_lock:
            self._ioloop_for_asyncio.pop(self.asyncio_loop, None)
        self.selector_loop.close()

    def _abort_all(self) -> None:
        for thing in list(self._open):
            thing.abort()
        self._open.clear()

        # asyncio closes a socket in a callback of the turn after the one that asked for it.
        async def settle() -> None:
            for _ in range(3):
                await asyncio.sleep(0)

        self.asyncio_loop.run_until_complete(settle())

    def track(self, thing: _CanAbort) -> None:
        """Have `close` with ``all_fds`` call ``thing.abort()``, unless `untrack` comes first."""
        self._open.add(thing)

    def untrack(self, thing: _CanAbort) -> None:
        """Forget what `track` was told; anything else is ignored."""
        self._open.discard(thing)

    # --- descriptors ---

    def add_handler(self, fd: "int | _HasFileno", handler: Callable[..., Any], events: int) -> None:
        """Call ``handler(fd, events)`` whenever the descriptor is ready.

        :param fd: a descriptor or an object with ``fileno()``; the handler gets what was given here.
        :param events: `READ` and `WRITE`, joined with ``|``.  `ERROR` is accepted; an error makes the
            descriptor ready for what is being watched.
        :raises ValueError: the descriptor has a handler already.
        """
        number, fileobj = self.split_fd(fd)
        if number in self.handlers:
            raise ValueError(f"fd {number} added twice")
        self.handlers[number] = (fileobj, handler)
        try:
            self._watch(number, events)
        except BaseException:
            del self.handlers[number]
            raise

    def update_handler(self, fd: "int | _HasFileno", events: int) -> None:
        """Change the events a registered descriptor is watched for.

        :raises KeyError: the descriptor has no handler.
        """
        number, _ = self.split_fd(fd)
        if number not in self.handlers:
            raise KeyError(f"fd {number} has no handler")
        self._watch(number, events)

    def remove_handler(self, fd: "int | _HasFileno") -> None:
        """Stop watching a descriptor, before it is closed; one without a handler is ignored."""
        number, _ = self.split_fd(fd)
        if self.handlers.pop(number, None) is not None:
            self._watch(number, IOLoop.NONE)

    def _watch(self, fd: int, events: int) -> None:
        loop = self.selector_loop
        if bool(events & IOLoop.READ) != (fd in self.readers):
            if events & IOLoop.READ:
                with _kept_blocking(fd):
                    loop.add_reader(fd, self._handle_event, fd, IOLoop.READ)
                self.readers.add(fd)
            else:
                self.readers.discard(fd)
                loop.remove_reader(fd)
        if bool(events & IOLoop.WRITE) != (fd in self.writers):
            if events & IOLoop.WRITE:
                with _kept_blocking(fd):
                    loop.add_writer(fd, self._handle_event, fd, IOLoop.WRITE)
                self.writers.add(fd)
            else:
                self.writers.discard(fd)
                loop.remove_writer(fd)

    def _handle_event(self, fd: int, event: int) -> None:
        registered = self.handlers.get(fd)
        if registered is not None:
            fileobj, handler = registered
            self._run_callback(handler, fileobj, event)

    def split_fd(self, fd: "int | _HasFileno") -> "tuple[int, int | _HasFileno]":
        """Return the descriptor's number and what was given, a number or an object with ``fileno()``."""
        if isinstance(fd, int):
            return fd, fd
        return fd.fileno(), fd

    def close_fd(self, fd: "int | _HasFileno") -> None:
        """Close a descriptor or an object with ``close()``; one that is closed already is ignored."""
        try:
            if isinstance(fd, int):
                os.close(fd)
            else:
                fd.close()  # type: ignore[attr-defined]  # what has a fileno() has a close()
        except OSError:
            pass

    # --- timers ---

    def time(self) -> float:
        """Return the time in seconds on the scale of `call_at` and `add_timeout`: ``time.time``."""
        return time.time()

    def add_timeout(
        self, deadline: float | datetime.timedelta, callback: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> object:
        """Call `callback` once, at `deadline`; return a handle for `remove_timeout`.

        :param deadline: a time on the scale of `time`, or a ``timedelta`` from now.
        :raises TypeError: the deadline is neither.
        """
        if isinstance(deadline, (int, float)):
            return self.call_at(deadline, callback, *args, **kwargs)
        if isinstance(deadline, datetime.timedelta):
            return self.call_later(deadline.total_seconds(), callback, *args, **kwargs)
        raise TypeError(f"Unsupported deadline {deadline!r}")

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any, **kwargs: Any) -> object:
        """Call `callback` at the time `when` on the scale of `time`; return a handle for `remove_timeout`."""
        return self.call_later(when - self.time(), callback, *args, **kwargs)

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any, **kwargs: Any) -> object:
        """Call `callback` in `delay` seconds (at once if negative); return a handle for `remove_timeout`."""
        if kwargs:
            callback = functools.partial(callback, **kwargs)
        return self.asyncio_loop.call_later(max(0.0, delay), self._run_callback, callback, *args)

    def remove_timeout(self, timeout: Any) -> None:
        """Cancel a timer; one that has run already is ignored."""
        timeout.cancel()

    # --- callbacks ---

    @staticmethod
    def convert_returned(returned: Any) -> Any:
        """Make a future of what a callback returned where asyncio could not wait for it, else return it as it is.

        `webfw.gen` puts a function in this place that knows all that its coroutines may yield.
        """
        return returned

    def add_callback(self, callback: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Call `callback` in the next turn of the loop; may be called from any thread.

        A coroutine that it returns is run, as is whatever `run_sync` awaits.  Exceptions are logged.  Once the loop
        is closed nothing happens.
        """
        if kwargs:
            callback = functools.partial(callback, **kwargs)
        loop = self.asyncio_loop
        schedule = loop.call_soon if asyncio._get_running_loop() is loop else loop.call_soon_threadsafe
        try:
            schedule(self._run_callback, callback, *args)
        except RuntimeError:
            if not loop.is_closed():
                raise

    def add_callback_from_signal(self, callback: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Call `callback` in the next turn of the loop; for use in a Python signal handler.

        Prefer ``asyncio``'s ``loop.add_signal_handler``.
        """
        if kwargs:
            callback = functools.partial(callback, **kwargs)
        try:
            # Always the thread-safe way: it wakes a loop that waits for I/O while the handler interrupts it.
            self.asyncio_loop.call_soon_threadsafe(self._run_callback, callback, *args)
        except RuntimeError:
            if not self.asyncio_loop.is_closed():
                raise

    def spawn_callback(self, callback: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Call `callback` (often a coroutine function) in the next turn without anyone waiting for it."""
        self.add_callback(callback, *args, **kwargs)

    def add_future(self, future: Any, callback: Callable[..., Any]) -> None:
        """Call ``callback(future)`` on the loop once the future is done.

        :param future: an asyncio or concurrent Future.
        :raises TypeError: it is neither.
        """
        if isinstance(future, asyncio.Future):
            # The future calls back on its own loop with the context it is given now.
            future.add_done_callback(functools.partial(self._run_callback, callback))
        elif is_future(future):
            future.add_done_callback(functools.partial(self.add_callback, callback))
        else:
            raise TypeError(f"add_future() needs a Future, not {future!r}")

    def _run_callback(self, callback: Callable[..., Any], *args: Any) -> None:
        # A border: whatever a callback does wrong is logged and the loop goes on.
        try:
            result = callback(*args)
            if result is not None:
                self._follow(result, callback)
        except asyncio.CancelledError:
            pass
        except Exception:
            app_log.error("Exception in callback %r", callback, exc_info=True)

    def _follow(self, result: Any, callback: Callable[..., Any]) -> None:
        """Run what a callback returned if it can be awaited, and log its exception."""
        result = self.convert_returned(result)
        if inspect.isawaitable(result):
            result = asyncio.ensure_future(result, loop=self.asyncio_loop)
        elif not is_future(result):
            return  # callbacks may return anything; there is nobody to take it

        # asyncio itself keeps only weak references to tasks.
        self._pending.add(result)

        def done(future: Any) -> None:
            self._pending.discard(future)
            if not future.cancelled() and future.exception() is not None:
                app_log.error("Exception in callback %r", callback, exc_info=future.exception())

        result.add_done_callback(done)

    # --- threads ---

    def run_in_executor(
        self, executor: concurrent.futures.Executor | None, func: Callable[..., _T], *args: Any
    ) -> "asyncio.Future[_T]":
        """Run ``func(*args)`` in an executor and return an asyncio Future of its result.

        :param executor: None for the loop's default executor.

        In threads the function runs in a copy of the caller's context, so that it sees its context
        variables.  A process pool cannot take a context along.
        """
        loop = self.asyncio_loop
        if executor is None or isinstance(executor, concurrent.futures.ThreadPoolExecutor):
            context = contextvars.copy_context()
            return loop.run_in_executor(executor, functools.partial(context.run, func, *args))
        return loop.run_in_executor(executor, func, *args)

    def set_default_executor(self, executor: concurrent.futures.ThreadPoolExecutor) -> None:
        """Set the executor that `run_in_executor` uses for None.

        :raises TypeError: it is no ``ThreadPoolExecutor``.
        """
        self.asyncio_loop.set_default_executor(executor)


@contextlib.contextmanager
def _kept_blocking(fd: int) -> Iterator[None]:
    """Undo what uvloop does to a descriptor it is to watch, whose owner may rely on calls that wait.

    It makes it non-blocking, and not only for this program: the flag belongs to the open file, as of a terminal.
    """
    try:
        blocking = os.get_blocking(fd)
    except (AttributeError, OSError):  # Windows; or no descriptor, which the loop tells better
        blocking = False
    try:
        yield
    finally:
        if blocking:
            os.set_blocking(fd, True)
