"""What an event stream and a long poll have in common: a GET whose client stays for a while, without a Task for it."""

import asyncio
from collections.abc import Awaitable
from math import inf
from typing import Any

from webfw.httpserver.exchange import DONE
from webfw.ioloop import deadlines
from webfw.log import app_log
from webfw.web.execution import give_up
from webfw.web.handler import RequestHandler
from webfw.web.live import Live

__all__ = ["LiveHandler"]

#: Seconds after which a client should try again where there is nothing better to say.
RETRY_AFTER = 2


class LiveHandler(Live, RequestHandler):
    """A GET whose client stays; a subclass says what it gets.

    :ivar deadline: for the sweep, in the loop's time.
    """

    deadline = inf

    _auto_finish = False
    _opened = False
    _left = False

    def get(self, *args: Any, **kwargs: Any) -> Awaitable[None]:
        if self.application.draining:
            self._refuse()
            return DONE
        self.application.live.add(self)
        opened = self.open(*args, **kwargs)
        if opened is not None and opened is not DONE:
            return self._opening(opened)
        self._stay()
        return DONE

    async def _opening(self, opened: Awaitable[None]) -> None:
        await opened
        self._stay()

    def _stay(self) -> None:
        """`open` has ended; unless it has answered, the client waits from now on."""
        self._opened = True
        if not self._finished:
            self._wait_begins()

    def _refuse(self) -> None:
        """Answer that this cannot be had now."""
        self.clear()
        self.set_header("Retry-After", RETRY_AFTER)
        self.send_error(503)

    def open(self, *args: str, **kwargs: str) -> Awaitable[None] | None:
        """Called with the groups of the route's pattern, plain or ``async``; call `subscribe` here.

        It may also refuse the client, as any handler does: by `HTTPError`, `send_error` or `redirect`.
        """

    def on_close(self) -> None:
        """Called once when the client is gone or has been answered; override it to clean up."""

    def compute_etag(self) -> None:
        """None: nothing here is ever the same again."""

    def finish(self, chunk: str | bytes | dict[str, Any] | None = None) -> Awaitable[None]:
        """End the response."""
        sent = super().finish(chunk)
        self._leave()
        return sent

    def _cut(self) -> None:
        super()._cut()
        self._leave()

    def on_connection_close(self) -> None:
        """Called when the client has gone."""
        give_up(self)

    def _leave(self) -> None:
        """Let go of everything that this client has had; once."""
        if self._left:
            return
        self._left = True
        self.application.live.discard(self)
        deadlines.for_loop(asyncio.get_running_loop()).unwatch(self)
        self._leave_all()
        if not self._status_code >= 400:
            try:
                self.on_close()
            except Exception:
                # Border: what a handler raises at its end must not break the transport.
                app_log.error("Uncaught exception in on_close", exc_info=True)

    def _deadline_in(self, seconds: float) -> None:
        """Have `deadline_passed` called then, to within a quarter of that time."""
        sweeper = deadlines.for_loop(asyncio.get_running_loop())
        self.deadline = sweeper.refresh() + seconds
        sweeper.watch(self, seconds)

    def deadline_passed(self, now: float) -> None:
        """The sweep has found `deadline` in the past."""
        raise NotImplementedError

    def _wait_begins(self) -> None:
        """`open` has ended, and the client waits."""
        raise NotImplementedError
