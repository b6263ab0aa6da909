"""`coroutine`: generator functions as coroutines, and what drives them; what may be yielded stays out."""

import asyncio
import contextvars
import functools
import inspect
from collections.abc import Callable, Generator
from typing import Any, TypeVar, cast

from webfw.concurrent import Future
from webfw.gen.yieldables import convert_yielded, moment
from webfw.ioloop import IOLoop
from webfw.log import app_log

__all__ = ["MAX_STEPS", "Return", "Runner", "coroutine", "is_coroutine_function"]

_F = TypeVar("_F", bound=Callable[..., Any])

#: How often a generator may yield what is done already before the loop gets a turn.
MAX_STEPS = 1000

# Which futures need no conversion: exactly these, as programs may register classes of their own.
_READY_TYPES = (asyncio.Future, asyncio.Task)


class Return(Exception):
    """Raised in a `coroutine` to return a value, as was needed before ``return`` could (Python 3.3).

    :param value: the result of the coroutine.
    """

    def __init__(self, value: Any = None) -> None:
        super().__init__(value)
        self.value = value


def coroutine(func: Callable[..., Any]) -> Callable[..., "Future[Any]"]:
    """Decorate a generator function: calls return a `Future` of what the generator returns.

    The generator runs at once up to the first thing it has to wait for. It yields whatever `convert_yielded`
    takes and is resumed with the result, or with the exception thrown in where it stands; yielding what is done
    already costs no turn of the loop (up to `MAX_STEPS` times in a row). All its steps run in one context
    (`contextvars`), a copy of the caller's.

    A plain function may be decorated too: its value or exception becomes that of the future; a native coroutine
    (``async def``) is run. When the function raises `asyncio.CancelledError`, the future is cancelled.
    Cancelling the future does not stop the generator, but its result is dropped and its exception logged.

    An exception goes to the future, and asyncio logs it if nobody ever asks: await or yield the future, or give
    it to `IOLoop.add_future`. Only `KeyboardInterrupt` and `SystemExit` get through to the loop.
    """
    native = inspect.iscoroutinefunction(func)

    @functools.wraps(func)
    def start(*args: Any, **kwargs: Any) -> "Future[Any]":
        run = contextvars.copy_context().run
        result: Future[Any] = Future()
        try:
            value = run(func, *args, **kwargs)
            if native:
                value = _following(value)
            if value is None or not isinstance(value, Generator):
                result.set_result(value)
                return result
            yielded = run(next, value)
        except (StopIteration, Return) as end:
            result.set_result(end.value)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            # A border: what the function raises is for those who wait for the future.
            _fail(result, error)
        else:
            Runner(run, value, result, yielded)
        return result

    start.__tornado_coroutine__ = True  # type: ignore[attr-defined]
    return start


def _following(awaitable: Any) -> Generator[Any, Any, Any]:
    """A native coroutine as a generator that waits for it."""
    return (yield awaitable)


def is_coroutine_function(func: Any) -> bool:
    """Tell whether a function was decorated with `coroutine`; False for ``async def``."""
    return getattr(func, "__tornado_coroutine__", False) is True


def _fail(future: "Future[Any]", error: BaseException) -> None:
    """Have a future fail with what a generator raised to the caller of this function."""
    if isinstance(error, asyncio.CancelledError):
        future.cancel()
        return
    if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
        # The generator's own frame comes first then: ours says nothing, at every level of a nest of coroutines.
        error.__traceback__ = error.__traceback__.tb_next
    if not future.done():
        future.set_exception(error)
    else:
        app_log.error("Exception after Future was cancelled", exc_info=error)


class Runner:
    """Drives the generator of one call of a `coroutine`, after its first step.

    :param ctx_run: the ``run`` of the context its steps run in.
    :param gen: the generator, which has been started.
    :param result_future: what its return value or exception goes to.
    :param first_yielded: what its first step yielded.

    It lives as long as ``result_future`` or the future it waits for.
    """

    __slots__ = ("ctx_run", "finished", "future", "gen", "result_future", "running")

    def __init__(
        self,
        ctx_run: Callable[..., Any],
        gen: Generator[Any, Any, Any],
        result_future: "Future[Any]",
        first_yielded: Any,
    ) -> None:
        self.ctx_run = ctx_run
        self.gen = gen
        self.result_future = result_future
        #: What the generator waits for: a future or `moment`.
        self.future: Any = None
        self.running = False
        self.finished = False
        if ctx_run(self.handle_yield, first_yielded):
            self.run()
        if not self.finished:
            # Whoever holds the result keeps the generator, even if what it waits for is weakly held.
            result_future.add_done_callback(self._release)

    @property
    def io_loop(self) -> IOLoop:
        """The loop it runs on."""
        return cast(IOLoop, IOLoop.current())

    def run(self) -> None:
        """Resume the generator until it has to wait for something; nothing happens while it runs or waits."""
        future = self.future
        if self.running or self.finished or future is None or not future.done():
            return
        self.running = True
        try:
            self.ctx_run(self._advance)
        finally:
            self.running = False

    def _advance(self) -> None:
        send, throw = self.gen.send, self.gen.throw
        for _ in range(MAX_STEPS):
            error: BaseException | None = None
            value = None
            try:
                value = self.future.result()
            except BaseException as failure:
                # Whatever a future failed with belongs to the generator. The traceback is the future's own, less
                # this frame.
                error = failure
                error.__traceback__ = failure.__traceback__ and failure.__traceback__.tb_next
            try:
                yielded = send(value) if error is None else throw(error)
            except (StopIteration, Return) as end:
                self._finish()
                if not self.result_future.done():
                    self.result_future.set_result(end.value)
                return
            except BaseException as failure:
                # A border: what the generator raises is for those who wait for its result.
                self._finish()
                _fail(self.result_future, failure)
                if isinstance(failure, (KeyboardInterrupt, SystemExit)):
                    raise
                return
            finally:
                error = None  # its traceback leads to this frame
            if not self.handle_yield(yielded):
                return
        # A generator that never has to wait must not keep all others from running.
        self.result_future.get_loop().call_soon(self.run)

    def handle_yield(self, yielded: Any) -> bool:
        """Wait for what the generator yielded; return True when that is done and `run` can go on."""
        if type(yielded) in _READY_TYPES:
            future = yielded
        else:
            # A border: converters may be anybody's, and what they raise belongs to the generator that yielded.
            try:
                future = convert_yielded(yielded)
                if future is not moment and not isinstance(future, Future):
                    future = convert_yielded.dispatch(object)(future)
            except Exception as error:
                _fail(future := Future(), error)
        self.future = future
        if future is moment:
            self.result_future.get_loop().call_soon(self.run)
            return False
        if future.done():
            return True
        future.add_done_callback(self._resume)
        return False

    def handle_exception(self, typ: type[BaseException], value: BaseException, tb: Any) -> bool:
        """Throw an exception into the generator where it waits; return False if it is running or finished."""
        if self.running or self.finished:
            return False
        self.future = Future()
        self.future.set_exception(value.with_traceback(tb))
        self.run()
        return True

    def _resume(self, future: "Future[Any]") -> None:
        # Not if an exception was thrown in meanwhile, and something else is waited for now.
        if future is self.future:
            self.run()

    def _release(self, result: "Future[Any]") -> None:
        """Let go of this object."""

    def _finish(self) -> None:
        self.finished = True
        self.future = None
