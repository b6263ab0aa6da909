"""Tornado's names for loops on asyncio, of which webfw has only one kind: `IOLoop`; no loop of its own may enter."""

import asyncio
import sys
import warnings
from typing import Any

from webfw.gen import convert_yielded
from webfw.ioloop import IOLoop
from webfw.ioloop.backend import thread_event_loop
from webfw.ioloop.selectorthread import AddThreadSelectorEventLoop, SelectorThread

__all__ = [
    "AddThreadSelectorEventLoop",
    "AsyncIOLoop",
    "AsyncIOMainLoop",
    "BaseAsyncIOLoop",
    "SelectorThread",
    "to_asyncio_future",
    "to_tornado_future",
]

#: Every loop is an asyncio loop's here: the names are one class, and ``isinstance`` says yes for each loop.
BaseAsyncIOLoop = AsyncIOLoop = IOLoop


class AsyncIOMainLoop(IOLoop):
    """The `IOLoop` of the thread's current asyncio loop, as ``AsyncIOMainLoop().install()`` asks for it.

    `IOLoop.current` finds or makes that by itself, so a program need not.

    :raises RuntimeError: the asyncio loop has an `IOLoop` already.
    """

    def initialize(self, **kwargs: Any) -> None:  # type: ignore[override]
        """Set the new object up; keyword arguments as for `IOLoop`, without ``asyncio_loop``."""
        loop = thread_event_loop()
        # Where there is none yet, a new one is made, and it is this thread's from now on.
        super().initialize(asyncio_loop=None if loop is None or loop.is_closed() else loop, **kwargs)


def to_tornado_future(asyncio_future: "asyncio.Future[Any]") -> "asyncio.Future[Any]":
    """Return the future itself: there is one kind of them; kept for programs written for older versions."""
    return asyncio_future


def to_asyncio_future(tornado_future: Any) -> "asyncio.Future[Any]":
    """Return an asyncio Future of anything that can be awaited or yielded; kept for older programs."""
    future: asyncio.Future[Any] = convert_yielded(tornado_future)
    return future


def _any_thread_event_loop_policy() -> type[Any]:
    with warnings.catch_warnings():
        # From 3.14 on asyncio warns of the mere names.  Who asks for this one knows, and installing it warns too.
        warnings.simplefilter("ignore", DeprecationWarning)
        if sys.platform == "win32":
            base = asyncio.WindowsSelectorEventLoopPolicy
        else:
            base = asyncio.DefaultEventLoopPolicy

    class AnyThreadEventLoopPolicy(base):  # type: ignore[misc, valid-type]
        """Makes an event loop in any thread that asks for its current one, not only in the main thread.

        ``asyncio.set_event_loop_policy(AnyThreadEventLoopPolicy())``.  Policies are deprecated since Python 3.14 and
        end with 3.16.  ``IOLoop.current()`` makes a loop in every thread without it.
        """

        def get_event_loop(self) -> asyncio.AbstractEventLoop:
            loop = thread_event_loop() if asyncio.get_event_loop_policy() is self else None
            if loop is None:
                loop = getattr(getattr(self, "_local", None), "_loop", None)
            if loop is None:
                loop = self.new_event_loop()
                self.set_event_loop(loop)
            return loop

    AnyThreadEventLoopPolicy.__qualname__ = "AnyThreadEventLoopPolicy"
    return AnyThreadEventLoopPolicy


def __getattr__(name: str) -> Any:
    # Made when it is asked for: its base is going away.
    if name == "AnyThreadEventLoopPolicy":
        policy = globals()[name] = _any_thread_event_loop_policy()
        return policy
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
