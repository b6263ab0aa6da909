"""`Exit`: the end of one child process, noticed without a signal handler; pipes and arguments do not enter.

On Linux a descriptor of the process (``pidfd``) becomes readable when it ends, and the loop waits for that as for any
other.  Elsewhere, and when no descriptor is left, a thread waits.
"""

import asyncio
import contextvars
import os
import subprocess
import threading
from collections.abc import Callable
from typing import Any

from webfw.ioloop import IOLoop

__all__ = ["Exit"]


class Exit:
    """Waits for a child from the start on, so that it never stays a zombie, and then tells who asked.

    :param proc: the child; its own ``poll`` or ``wait`` reaps it, so that whoever else calls them is not disturbed.
    :param io_loop: where callbacks run and futures are completed.

    It is kept alive by what waits, and so are the callbacks: the program may drop its own references.
    """

    __slots__ = ("_callback", "_fd", "_futures", "_loop", "_proc", "_told")

    def __init__(self, proc: "subprocess.Popen[Any]", io_loop: IOLoop) -> None:
        self._proc = proc
        self._loop = io_loop
        self._callback: tuple[Callable[[int], Any], contextvars.Context] | None = None
        self._futures: list[tuple[asyncio.Future[int], bool]] = []
        self._told = False
        self._fd = -1
        if not self._watch_descriptor():
            threading.Thread(target=self._wait, name=f"child-{proc.pid}", daemon=True).start()

    def __del__(self) -> None:
        # The loop was closed before it could look.
        if self._fd >= 0:
            os.close(self._fd)
            self._proc.poll()

    def set_callback(self, callback: Callable[[int], Any]) -> None:
        """Call ``callback(status)`` on the loop, in a copy of this context, when the child has ended or if it has."""
        self._callback = (callback, contextvars.copy_context())
        if self._told:
            self._run_callback()

    def add_future(self, raise_error: bool) -> "asyncio.Future[int]":
        """Return a future of the status, or of a ``CalledProcessError`` if that is not 0 and `raise_error` is true."""
        future: asyncio.Future[int] = self._loop.asyncio_loop.create_future()
        if self._told:
            self._complete(future, raise_error)
        else:
            self._futures.append((future, raise_error))
        return future

    # --- noticing ---

    def _watch_descriptor(self) -> bool:
        try:
            # Not in the typeshed of other platforms; missing where the C library is older than the kernel.
            self._fd = getattr(os, "pidfd_open")(self._proc.pid)  # noqa: B009
        except (AttributeError, OSError):
            # Another system, an old kernel, a sandbox, or no descriptor left; or the child has ended, and the kernel
            # has reaped it because SIGCHLD is ignored.
            return False
        try:
            self._loop.asyncio_loop.add_reader(self._fd, self._ready)
        except BaseException as exc:
            os.close(self._fd)
            self._fd = -1
            if isinstance(exc, (NotImplementedError, OSError)):  # this loop cannot wait for it
                return False
            raise
        return True

    def _ready(self) -> None:
        if self._proc.poll() is None:
            return  # somebody waits for it in a thread, and has not taken it yet
        self._loop.asyncio_loop.remove_reader(self._fd)
        os.close(self._fd)
        self._fd = -1
        self._tell()

    def _wait(self) -> None:
        """The thread."""
        self._proc.wait()
        try:
            self._loop.asyncio_loop.call_soon_threadsafe(self._tell)
        except RuntimeError:
            pass  # the loop was closed: nobody is left to tell

    # --- telling ---

    def _tell(self) -> None:
        self._told = True
        futures, self._futures = self._futures, []
        for future, raise_error in futures:
            self._complete(future, raise_error)
        if self._callback is not None:
            self._run_callback()

    def _run_callback(self) -> None:
        assert self._callback is not None
        (callback, context), self._callback = self._callback, None
        loop = self._loop
        loop.asyncio_loop.call_soon(loop._run_callback, callback, self._proc.returncode, context=context)

    def _complete(self, future: "asyncio.Future[int]", raise_error: bool) -> None:
        if future.done():
            return  # cancelled
        status = self._proc.returncode
        if status != 0 and raise_error:
            future.set_exception(subprocess.CalledProcessError(status, self._proc.args))
        else:
            future.set_result(status)
