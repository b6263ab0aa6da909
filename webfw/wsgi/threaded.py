"""A request that a thread runs, until its answer is in the outlet; which thread that is may not enter."""

import threading
from collections.abc import Callable
from contextvars import Context
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any

from webfw.httpserver import Exchange
from webfw.httputil import HTTPServerRequest
from webfw.log import app_log
from webfw.wsgi.outlet import ClientDisconnected, Outlet
from webfw.wsgi.run import Run, iterate
from webfw.wsgi.threads import stack_of

if TYPE_CHECKING:
    from webfw.httpserver.collector import BodyCollector
    from webfw.wsgi.container import WSGIContainer

__all__ = ["ThreadRun"]


class ThreadRun(Run):
    """A request run in a thread, which is free again when the response is in the outlet."""

    __slots__ = ("deadline", "post", "thread", "watched")

    def __init__(
        self,
        container: "WSGIContainer",
        exchange: Exchange,
        request: HTTPServerRequest,
        context: Context,
        body: "BodyCollector | None",
    ) -> None:
        super().__init__(container, exchange, request, context, body)
        self.post = container.mailbox.post
        self.thread: threading.Thread | None = None
        #: For the sweep, in the loop's time, and what ends that.
        self.deadline = inf
        self.watched: Callable[[ThreadRun], None] | None = None

    # In the thread.

    def execute(self) -> None:
        """Run the application from beginning to end."""
        if not self.gone:
            self.context.run(self._execute)
        self.release()
        if self.watched is not None:
            self.post(partial(self.watched, self))

    def _execute(self) -> None:
        if self.exchange.record is not None:
            self.exchange.record.handling()
        result: Any = None
        try:
            result = self.container.wsgi_application(self.environ, self.start)
            if not self._take(result):
                for chunk in iterate(result):
                    self._emit(chunk)
                    if self._enough:
                        break
                self._complete()
        except ClientDisconnected:
            pass
        except BaseException as error:
            # Border: whatever an application raises becomes a response, or a cut connection.
            self.post(partial(self.fail, error))
        if type(result) is not list:
            self._close(result)

    def _hand(self, call: Callable[..., None], *args: Any) -> None:
        self.post(partial(self._safely, call, *args))

    def _open(self) -> None:
        self._outlet = Outlet(self.exchange, self.post, self._finished, self.container.max_response_backlog)
        if self._over:  # in between: nobody else would close it
            self._outlet.close()
        self._hand(self._send_head)

    def _put(self, chunk: bytes) -> Any:
        assert self._outlet is not None
        self._outlet.put(chunk)

    def _write(self, data: bytes) -> None:
        self._emit(data)

    # On the loop.

    def _safely(self, call: Callable[..., None], *args: Any) -> None:
        try:
            call(*args)
        except Exception as error:
            # Border: what an application gives may not be sendable.
            self.fail(error)

    def deadline_passed(self, now: float) -> None:
        """The application has taken too long: 504, and another thread in place of the one that is stuck in it."""
        assert self.container.request_timeout is not None
        self.deadline = now + self.container.request_timeout
        if self._outlet is not None and self._outlet.has_moved():
            return
        thread = self.thread
        if thread is not None:
            app_log.error(
                "%s: the application takes too long; it is here:\n%s", self.summary(), stack_of(thread)
            )
            self.container.replace(thread)
            if self.watched is not None:
                self.watched(self)
        elif not self._over:
            # It may be about to begin, and is watched until it has ended.
            app_log.error("%s: no thread was free in time", self.summary())
        self.gone = True
        self.refuse(504)
