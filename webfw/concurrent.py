"""Futures: copying, completing, running methods on executors. Below the loop: uses asyncio directly.

`Future` is `asyncio.Future`; functions here also take `concurrent.futures.Future` where they say so.
"""

import asyncio
import contextvars
import functools
from collections.abc import Callable
from concurrent import futures
from types import TracebackType
from typing import Any, TypeVar, overload

from webfw.log import app_log

__all__ = [
    "FUTURES",
    "DummyExecutor",
    "Future",
    "ReturnValueIgnoredError",
    "chain_future",
    "dummy_executor",
    "future_add_done_callback",
    "future_set_exc_info",
    "future_set_exception_unless_cancelled",
    "future_set_result_unless_cancelled",
    "is_future",
    "run_on_executor",
]

_T = TypeVar("_T")

Future = asyncio.Future

#: The classes `is_future` knows.
FUTURES = (futures.Future, Future)


class ReturnValueIgnoredError(Exception):
    """A value was returned where nobody can receive it."""


def is_future(x: Any) -> bool:
    """Tell whether ``x`` is a future of asyncio or of `concurrent.futures`."""
    return isinstance(x, FUTURES)


class DummyExecutor(futures.Executor):
    """An executor that runs every call at once, in the calling thread; for tests."""

    def submit(self, fn: Callable[..., _T], /, *args: Any, **kwargs: Any) -> "futures.Future[_T]":
        """Call ``fn`` and return a finished future with its result or exception."""
        future: futures.Future[_T] = futures.Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # the border between the call and its future
            future.set_exception(error)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Do nothing: there is nothing to wait for."""


dummy_executor = DummyExecutor()


def run_on_executor(*args: Any, **kwargs: Any) -> Any:
    """Decorate a synchronous method so that calls run on an executor and return a `Future`.

    The executor is the attribute ``executor`` of the object; another name is given as
    ``@run_on_executor(executor="_threads")``. The method runs in a copy of the caller's context
    (`contextvars`). The future can be awaited; calls are made on the thread of a running loop.

    ``io_loop`` and ``callback``, which old programs pass, are accepted and have no effect: the loop is the
    running one.

    :raises ValueError: for more than one positional argument.
    :raises TypeError: for other keyword arguments.
    """
    if len(args) > 1 or (args and kwargs):
        raise ValueError(f"expected 1 argument, got {len(args) + len(kwargs)}")
    unknown = kwargs.keys() - {"executor", "io_loop", "callback"}
    if unknown:
        raise TypeError(f"run_on_executor got unexpected keyword arguments: {', '.join(sorted(unknown))}")
    attribute = kwargs.get("executor", "executor")

    def decorate(function: Callable[..., _T]) -> "Callable[..., Future[_T]]":
        @functools.wraps(function)
        def submit(self: Any, *args: Any, **kwargs: Any) -> "Future[_T]":
            result: Future[_T] = Future()
            context = contextvars.copy_context()
            chain_future(
                getattr(self, attribute).submit(context.run, function, self, *args, **kwargs), result
            )
            return result

        return submit

    return decorate(args[0]) if args else decorate


def _copy_outcome(source: Any, target: Any) -> None:
    if target.done():
        return
    if source.cancelled():
        target.cancel()
        return
    error = source.exception()
    if error is not None:
        target.set_exception(error)
    else:
        target.set_result(source.result())


def chain_future(
    a: "Future[_T] | futures.Future[_T]",
    b: "Future[_T] | futures.Future[_T]",
) -> None:
    """Copy the outcome of ``a`` (result, exception or cancellation) to ``b`` when ``a`` is done.

    Nothing happens if ``b`` is done by then. Both may be of either kind; an asyncio future is only
    completed on its own loop. Cancelling ``b`` does not cancel ``a``.
    """
    if isinstance(a, futures.Future) and isinstance(b, Future):
        loop = b.get_loop()

        def hand_over(source: "futures.Future[_T]") -> None:
            try:
                loop.call_soon_threadsafe(_copy_outcome, source, b)
            except RuntimeError:  # the loop was closed while the thread worked: nobody is left to tell
                pass

        a.add_done_callback(hand_over)
    else:
        future_add_done_callback(a, lambda source: _copy_outcome(source, b))


def future_set_result_unless_cancelled(
    future: "Future[_T] | futures.Future[_T]",
    value: _T,
) -> None:
    """Set the result of a future unless it is cancelled.

    :raises asyncio.InvalidStateError: when it already has a result.
    """
    if not future.cancelled():
        future.set_result(value)


def future_set_exception_unless_cancelled(
    future: "Future[_T] | futures.Future[_T]",
    exc: BaseException,
) -> None:
    """Set the exception of a future; if the future is cancelled, log the exception instead of losing it.

    :raises asyncio.InvalidStateError: when it already has a result.
    """
    if future.cancelled():
        app_log.error("Exception after Future was cancelled", exc_info=exc)
    else:
        future.set_exception(exc)


def future_set_exc_info(
    future: "Future[_T] | futures.Future[_T]",
    exc_info: tuple[type[BaseException] | None, BaseException | None, TracebackType | None],
) -> None:
    """Set the exception of a future from what `sys.exc_info` returned; log it if the future is cancelled.

    :raises ValueError: when there is no exception in ``exc_info``.
    """
    if exc_info[1] is None:
        raise ValueError("future_set_exc_info called with no exception")
    future_set_exception_unless_cancelled(future, exc_info[1])


@overload
def future_add_done_callback(
    future: "futures.Future[_T]", callback: Callable[["futures.Future[_T]"], None]
) -> None: ...
@overload
def future_add_done_callback(future: "Future[_T]", callback: Callable[["Future[_T]"], None]) -> None: ...
@overload
def future_add_done_callback(
    future: "Future[_T] | futures.Future[_T]", callback: Callable[[Any], None]
) -> None: ...
def future_add_done_callback(
    future: "Future[_T] | futures.Future[_T]", callback: Callable[[Any], None]
) -> None:
    """Call ``callback(future)`` when the future is done: at once if it is.

    This differs from `asyncio.Future.add_done_callback`, which always waits for the next turn of the loop.
    """
    if future.done():
        callback(future)
    else:
        future.add_done_callback(callback)
