"""What an event stream and a long poll have in common: a GET whose client stays for a while, without a Task for it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from math import inf
from types import TracebackType
from typing import TYPE_CHECKING, Any

from webfw.httpserver.exchange import DONE
from webfw.ioloop import deadlines
from webfw.iostream import StreamClosedError
from webfw.log import app_log
from webfw.web.execution import client_left, kept_tasks
from webfw.web.handler import RequestHandler
from webfw.web.live import Live

if TYPE_CHECKING:
    from webfw.iostream import IOStream

__all__ = ["LiveHandler"]

#: Seconds after which a client should try again where there is nothing better to say.
RETRY_AFTER = 2
#: A deadline makes all others of the loop be looked at more often, but not more often than for one of so many seconds:
#: it is the client that says how long it waits.
SHORTEST = 1.0


class LiveHandler(Live, RequestHandler):
    """A GET whose client stays; a subclass says what it gets.

    :ivar deadline: for the sweep, in the loop's time.
    """

    deadline = inf

    #: Whether `open` has ended, in whatever way.
    _opened = False
    #: Whether the client is gone or has been answered.
    _left = False
    _sweeper: deadlines.Sweeper | None = None
    #: What is wrong with a `write` that no `finish` follows.
    _no_write = "write() is of no use where the client stays"
    #: What `open` has left behind, for what happens later: that is called by others, such as whoever publishes.
    _context: Context | None = None

    def get(self, *args: Any, **kwargs: Any) -> Awaitable[None]:
        if self.application.draining:
            self._turn_away()
            return DONE
        self._auto_finish = False
        self.application.live.add(self)
        try:
            opened = self.open(*args, **kwargs)
        except BaseException:
            self._open_ended()
            raise
        if opened is not None and opened is not DONE:
            return self._opening(opened)
        self._stay()
        return DONE

    async def _opening(self, opened: Awaitable[None]) -> None:
        try:
            await opened
        except BaseException:
            self._open_ended()
            raise
        self._stay()

    def _stay(self) -> None:
        """`open` has ended; unless it has answered, the client waits from now on."""
        self._open_ended()
        if self._finished:
            return
        if self._left:
            client_left(self)
        elif self._write_buffer:
            raise RuntimeError(self._no_write)
        else:
            self._wait_begins()

    def _open_ended(self) -> None:
        self._opened = True
        self._context = copy_context()
        if self._left:
            self._tell_closed()

    def _in_context(self, function: Callable[[], object]) -> None:
        """Call what may lead to the application's code, with what its handler has set in its context."""
        if self._context is None:
            function()
        else:
            self._context.copy().run(function)

    def _refuse(self) -> None:
        """Answer that this cannot be had now."""
        self.clear()
        self.set_status(503)
        self.set_header("Retry-After", RETRY_AFTER)
        try:
            self.write_error(503)
        except Exception:
            # Border: an error page of the application's own that fails must not keep the client waiting.
            app_log.error("Uncaught exception in write_error", exc_info=True)
        if not self._finished:
            self.finish()

    def open(self, *args: Any, **kwargs: Any) -> Awaitable[None] | None:
        """Called with the groups of the route's pattern, plain or ``async``; call `subscribe` here.

        It may also refuse the client, as any handler does: by `HTTPError`, `send_error` or `redirect`.  Nothing of a
        channel is sent before it has ended.
        """

    def on_close(self) -> Awaitable[None] | None:
        """Called once for every `open`, after it, when the client is gone or has been answered, even with an error.

        Override it, plain or ``async``, to clean up.
        """

    def compute_etag(self) -> None:
        """None: nothing here is ever the same again."""

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """See `RequestHandler.log_exception`; an `open` that ends since nobody listens any more has done no wrong."""
        if not (isinstance(value, StreamClosedError) and self._left):
            super().log_exception(typ, value, tb)

    def finish(self, chunk: str | bytes | dict[str, Any] | None = None) -> Awaitable[None]:
        """End the response."""
        try:
            return super().finish(chunk)
        finally:
            if self._finished:
                self._leave()

    def _cut(self) -> None:
        try:
            super()._cut()
        finally:
            self._leave()

    def detach(self) -> "IOStream":
        """Take the connection from the server; see `RequestHandler.detach`."""
        stream = super().detach()
        self._leave()
        return stream

    def on_connection_close(self) -> None:
        """Called when the client has gone; who overrides it calls this one too, or does it in `on_close`."""
        if self._opened or self._headers_written:
            client_left(self)
        else:
            self._leave()  # `open` goes on and may still answer, which is no mistake, though nobody hears it

    def _leave(self) -> None:
        """Let go of everything that this client has had; once."""
        if self._left:
            return
        self._left = True
        self.application.live.discard(self)
        if self._sweeper is not None:
            self._sweeper.unwatch(self)
        self._leave_all()
        if self._opened:
            self._tell_closed()

    def _tell_closed(self) -> None:
        context = copy_context() if self._context is None else self._context.copy()
        try:
            closed = context.run(self.on_close)
        except Exception:
            # Border: what a handler raises at its end must not break the transport.
            app_log.error("Uncaught exception in on_close", exc_info=True)
            return
        if closed is not None and closed is not DONE:
            task = asyncio.get_running_loop().create_task(_closing(closed), context=context)
            kept_tasks.add(task)
            task.add_done_callback(kept_tasks.discard)

    def _deadline_in(self, seconds: float) -> None:
        """Have `deadline_passed` called then, to within a quarter of that time or of a second."""
        sweeper = self._sweeper = deadlines.for_loop(asyncio.get_running_loop())
        self.deadline = sweeper.refresh() + seconds
        sweeper.watch(self, max(seconds, SHORTEST))

    def deadline_passed(self, now: float) -> None:
        """The sweep has found `deadline` in the past."""
        raise NotImplementedError

    def _wait_begins(self) -> None:
        """`open` has ended, and the client waits."""
        raise NotImplementedError

    def _turn_away(self) -> None:
        """The client has come while the application is being shut down."""
        raise NotImplementedError


async def _closing(closed: Awaitable[None]) -> None:
    try:
        await closed
    except Exception:
        # Border: nobody awaits this.
        app_log.error("Uncaught exception in on_close", exc_info=True)
