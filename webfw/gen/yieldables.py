"""What a coroutine may yield, and how it becomes a `Future`; the generators that yield it stay out."""

import asyncio
import functools
import inspect
from collections.abc import Generator, Iterable
from concurrent import futures
from typing import Any, TypeAlias

from webfw.concurrent import Future, future_add_done_callback
from webfw.ioloop import IOLoop
from webfw.log import app_log

__all__ = [
    "BadYieldError",
    "KeyReuseError",
    "LeakedCallbackError",
    "Moment",
    "Quiet",
    "UnknownKeyError",
    "convert_yielded",
    "is_quiet",
    "moment",
    "multi",
]

#: Exceptions that are not logged: a class, or several.
Quiet: TypeAlias = type[BaseException] | Iterable[type[BaseException]]


class BadYieldError(Exception):
    """Something was yielded that cannot be waited for."""


class KeyReuseError(Exception):
    """Never raised; old programs name it in their ``except`` clauses."""


class UnknownKeyError(Exception):
    """Never raised; old programs name it in their ``except`` clauses."""


class LeakedCallbackError(Exception):
    """Never raised; old programs name it in their ``except`` clauses."""


class Moment:
    """The class of `moment`: like a future that is done and has no result, whose ``await`` takes one turn."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<moment>"

    def __await__(self) -> Generator[None, None, None]:
        yield

    def done(self) -> bool:
        return True

    def cancelled(self) -> bool:
        return False

    def result(self) -> None:
        return None

    def exception(self) -> None:
        return None


#: Yielded (or awaited) to let the loop run one turn; ``yield None`` does the same, and in native coroutines
#: ``await asyncio.sleep(0)``.
moment = Moment()


@functools.singledispatch
def convert_yielded(yielded: Any) -> Any:
    """Return the `Future` of anything a coroutine may yield, and start it if it has not been started.

    Known are futures of asyncio and of `concurrent.futures`, all that can be awaited (native coroutines become
    tasks), lists and dictionaries of these (see `multi`), and None, which is `moment`. More types are added as
    with any `functools.singledispatch` function; what the new function returns must be known::

        @convert_yielded.register
        def _(job: Job) -> Future:
            return job.future

    :raises BadYieldError: for everything else.
    """
    if yielded is None or yielded is moment:
        return moment
    if isinstance(yielded, Future):
        return yielded
    if isinstance(yielded, futures.Future):
        return _finished(yielded) if yielded.done() else asyncio.wrap_future(yielded)
    if isinstance(yielded, (list, dict)):
        return multi(yielded)
    if inspect.isawaitable(yielded):
        return asyncio.ensure_future(yielded)
    raise BadYieldError(f"yielded unknown object {yielded!r}")


def _convert_returned(returned: Any) -> Any:
    """Have callbacks of the loop return what may be yielded; they may return anything else too."""
    if convert_yielded.dispatch(type(returned)) is _unregistered and not isinstance(returned, (list, dict)):
        return returned  # what can be awaited the loop knows by itself
    try:
        return convert_yielded(returned)
    except BadYieldError:
        return returned


_unregistered = convert_yielded.dispatch(object)
IOLoop.convert_returned = staticmethod(_convert_returned)  # type: ignore[method-assign]


def _finished(source: "futures.Future[Any]") -> "Future[Any]":
    """The asyncio future of a thread's that is done: it costs no turn of the loop."""
    future: Future[Any] = Future()
    if source.cancelled():
        future.cancel()
    elif (error := source.exception()) is not None:
        future.set_exception(error)
    else:
        future.set_result(source.result())
    return future


def is_quiet(error: BaseException, quiet: Quiet) -> bool:
    """Tell whether an exception is of the class, or one of the classes, that are not logged."""
    return isinstance(error, quiet if isinstance(quiet, type) else tuple(quiet))


def multi(children: Any, quiet_exceptions: Quiet = ()) -> "Future[Any]":
    """Wait for several things at once and return a `Future` of all their results.

    :param children: a dictionary, or an iterable, of whatever `convert_yielded` takes. The result is a
        dictionary with the same keys, or a list in the same order.
    :param quiet_exceptions: a class of exceptions, or several, that are not logged.

    All children are waited for, even when one fails. Then the future fails as the first of them did, in the
    order given; the exceptions of the others are logged. A cancelled child cancels the future, and is not
    logged. Cancelling the future does not cancel the children, which `asyncio.gather` does.

    :raises BadYieldError: at once, when a child cannot be waited for.
    """
    keys = None
    values: Iterable[Any] = children
    if isinstance(children, dict):
        keys = list(children)
        values = children.values()
    waited_for = [convert_yielded(value) for value in values]
    outcome: Future[Any] = Future()
    pending = {future for future in waited_for if not future.done()}

    def one_done(future: Any) -> None:
        pending.discard(future)
        if not pending:
            _collect(keys, waited_for, outcome, quiet_exceptions)

    if pending:
        for future in tuple(pending):
            future_add_done_callback(future, one_done)
    else:
        _collect(keys, waited_for, outcome, quiet_exceptions)
    return outcome


def _collect(
    keys: list[Any] | None,
    children: list[Any],
    outcome: "Future[Any]",
    quiet: Quiet,
) -> None:
    results: list[Any] = []
    for child in children:
        error = None if child.cancelled() else child.exception()
        if child.cancelled() or isinstance(error, asyncio.CancelledError):
            outcome.cancel()
        elif error is None:
            results.append(child.result())
        elif not outcome.done():
            outcome.set_exception(error)
        elif not is_quiet(error, quiet):
            app_log.error("Multiple exceptions in yield list", exc_info=error)
    if not outcome.done():
        outcome.set_result(results if keys is None else dict(zip(keys, results, strict=True)))
