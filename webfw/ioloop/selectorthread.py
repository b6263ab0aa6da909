"""Readiness of descriptors for asyncio loops that cannot watch them, such as Windows' proactor; no streams.

A thread waits in a selector and hands what is ready to the loop's own thread, where all callbacks run.  It then rests
until they have run, since a descriptor that nobody has read yet would be ready again at once.
"""

import asyncio
import contextvars
import selectors
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any, ClassVar

__all__ = ["AddThreadSelectorEventLoop", "SelectorThread", "with_readers"]

#: What is called for a descriptor, and the context it is called in.
_Watch = tuple[contextvars.Context, Callable[..., Any], tuple[Any, ...]]


class SelectorThread:
    """The ``add_reader`` family for any asyncio loop, by a second thread that nobody else gets to see.

    :param real_loop: the loop whose thread callbacks run on.

    Its methods are called on the thread of the loop.  The thread starts with the first descriptor.
    """

    def __init__(self, real_loop: asyncio.AbstractEventLoop) -> None:
        self._real_loop = real_loop
        self._readers: dict[int, _Watch] = {}
        self._writers: dict[int, _Watch] = {}
        self._selector = selectors.DefaultSelector()
        self._waker, self._woken = socket.socketpair()
        self._waker.setblocking(False)
        self._woken.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread: threading.Thread | None = None
        self._condition = threading.Condition()
        # Guarded by the condition: which descriptors the selector has not been told of, and who may go on.
        self._changed: dict[int, int] = {}
        self._resting = False
        self._closed = False

    def add_reader(self, fd: Any, callback: Callable[..., Any], *args: Any) -> None:
        """Call ``callback(*args)`` whenever the descriptor can be read, in place of what was called before."""
        self._set(self._readers, fd, (contextvars.copy_context(), callback, args))

    def add_writer(self, fd: Any, callback: Callable[..., Any], *args: Any) -> None:
        """Call ``callback(*args)`` whenever the descriptor can be written."""
        self._set(self._writers, fd, (contextvars.copy_context(), callback, args))

    def remove_reader(self, fd: Any) -> bool:
        """Watch a descriptor for reading no longer; False if it was not."""
        return self._set(self._readers, fd, None)

    def remove_writer(self, fd: Any) -> bool:
        """Watch a descriptor for writing no longer; False if it was not."""
        return self._set(self._writers, fd, None)

    def close(self) -> None:
        """End the thread; nothing is watched any more.  May be called again."""
        with self._condition:
            if self._closed:
                return
            self._closed = True
            self._condition.notify()
        self._wake()
        if self._thread is not None:
            self._thread.join()
        self._readers.clear()
        self._writers.clear()
        self._selector.close()
        self._waker.close()
        self._woken.close()

    def _set(self, watches: dict[int, _Watch], fd: Any, watch: _Watch | None) -> bool:
        number = fd if isinstance(fd, int) else fd.fileno()
        if self._closed:
            if watch is not None:
                raise RuntimeError("the selector thread is closed")
            return False
        found = watches.pop(number, None) is not None
        if watch is not None:
            watches[number] = watch
        elif not found:
            return False
        events = selectors.EVENT_READ * (number in self._readers)
        events |= selectors.EVENT_WRITE * (number in self._writers)
        with self._condition:
            # Put last: a number that was closed and came again is unregistered first.
            self._changed.pop(number, None)
            self._changed[number] = events
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="webfw-selector", daemon=True)
            self._thread.start()
        else:
            self._wake()
        return found

    def _wake(self) -> None:
        try:
            self._waker.send(b"\0")
        except OSError:
            pass  # it is full: the thread will wake up anyhow

    # --- on the thread ---

    def _run(self) -> None:
        while True:
            with self._condition:
                while self._resting and not self._closed:
                    self._condition.wait()
                if self._closed:
                    return
                changed, self._changed = self._changed, {}
            for fd, events in changed.items():
                self._register(fd, events)
            try:
                found = self._selector.select()
            except OSError:
                continue  # a descriptor was closed while it was watched; the next turn knows
            ready = [(key.fd, events) for key, events in found if key.fileobj is not self._woken]
            if len(ready) < len(found):
                self._drain()
            if not ready:
                continue
            with self._condition:
                self._resting = True
            try:
                self._real_loop.call_soon_threadsafe(self._handle, ready)
            except RuntimeError:
                return  # the loop was closed, and with it the reason to be here

    def _register(self, fd: int, events: int) -> None:
        # Always anew: the number may stand for another file by now, which epoll does not know.
        try:
            self._selector.unregister(fd)
        except (KeyError, ValueError):
            pass
        if events:
            try:
                self._selector.register(fd, events)
            except (OSError, ValueError):
                pass  # closed already; to be removed

    def _drain(self) -> None:
        try:
            while self._woken.recv(4096):
                pass
        except OSError:
            pass

    # --- on the loop ---

    def _handle(self, ready: list[tuple[int, int]]) -> None:
        try:
            for fd, events in ready:
                if events & selectors.EVENT_READ:
                    self._call(self._readers.get(fd))
                if events & selectors.EVENT_WRITE:
                    self._call(self._writers.get(fd))
        finally:
            with self._condition:
                self._resting = False
                self._condition.notify()

    def _call(self, watch: _Watch | None) -> None:
        if watch is None:  # removed since
            return
        context, callback, args = watch
        try:
            context.run(callback, *args)
        except Exception as exc:
            # Border: asyncio reports what a callback raises, and goes on.
            self._real_loop.call_exception_handler(
                {"message": f"Exception in callback {callback!r}", "exception": exc}
            )


class AddThreadSelectorEventLoop(asyncio.AbstractEventLoop):
    """An asyncio loop with the ``add_reader`` family added to it by a `SelectorThread`.

    :param real_loop: the loop; everything else is its own.  `close` closes both.
    """

    #: What is answered here and not by the real loop.
    MY_ATTRIBUTES: ClassVar[frozenset[str]] = frozenset(
        {
            "_real_loop",
            "_selector",
            "add_reader",
            "add_writer",
            "close",
            "remove_reader",
            "remove_writer",
        }
    )

    def __init__(self, real_loop: asyncio.AbstractEventLoop) -> None:
        self._real_loop = real_loop
        self._selector = SelectorThread(real_loop)

    def __getattribute__(self, name: str) -> Any:
        # AbstractEventLoop defines every method, so that ``__getattr__`` would not be asked.
        if name.startswith("__") or name in AddThreadSelectorEventLoop.MY_ATTRIBUTES:
            return super().__getattribute__(name)
        return getattr(self._real_loop, name)

    def close(self) -> None:
        self._selector.close()
        self._real_loop.close()

    def add_reader(self, fd: Any, callback: Callable[..., Any], *args: Any) -> None:  # type: ignore[override]
        self._selector.add_reader(fd, callback, *args)

    def add_writer(self, fd: Any, callback: Callable[..., Any], *args: Any) -> None:  # type: ignore[override]
        self._selector.add_writer(fd, callback, *args)

    def remove_reader(self, fd: Any) -> bool:
        return self._selector.remove_reader(fd)

    def remove_writer(self, fd: Any) -> bool:
        return self._selector.remove_writer(fd)


def with_readers(loop: asyncio.AbstractEventLoop) -> asyncio.AbstractEventLoop:
    """The loop itself if it can watch descriptors, else one around it that can."""
    if sys.platform == "win32" and isinstance(loop, asyncio.ProactorEventLoop):
        return AddThreadSelectorEventLoop(loop)
    return loop
