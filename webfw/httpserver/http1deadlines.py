"""When an HTTP/1 client has had time enough: for a head, a body, an answer, or between them; no bytes may enter."""

import asyncio
from math import inf
from typing import TYPE_CHECKING

from webfw.iostream import StreamClosedError
from webfw.log import gen_log
from webfw.netutil.sockets import reset_on_close
from webfw.sansio.errors import RemoteProtocolError

if TYPE_CHECKING:
    from webfw.httpserver.http1body import RequestBody
    from webfw.httpserver.http1exchange import Http1Exchange
    from webfw.httpserver.limits import Limits
    from webfw.httpserver.peer import RequestContext
    from webfw.ioloop.deadlines import Sweeper
    from webfw.iostream.wire import Wire

__all__ = ["ANSWER", "BETWEEN", "BODY", "CLOSING", "DETACHED", "HEAD", "IDLE", "LINGER", "Deadlines"]

#: What a connection is doing, which decides what arriving bytes are and what its deadline means:
#: a head is incomplete or to come (HEAD, IDLE); a body is read; the answer is waited for; the answer is made, but the
#: next request must not begin yet; input is dropped until the client has closed; the wire is closed; it is not ours.
HEAD, IDLE, BODY, ANSWER, BETWEEN, LINGER, CLOSING, DETACHED = range(8)


class Deadlines:
    """A part of `webfw.httpserver.http1.ServerConnection`.

    There are two in the loop's time, infinite while they do not run: that of the phase (``_due``), and that of an
    answer which waits for its client (``_stall_due``).  `deadline` is the first of them.

    A client that takes nothing is found out by ``write_timeout``; one that takes a byte now and then by
    ``min_write_rate``, over windows of ``write_grace`` seconds.  Only the time counts in which something waits for the
    client, and only what it takes in that time: a window is stopped when it has kept up, and goes on when it has not.
    """

    __slots__ = (
        "_due",
        "_nothing_due",
        "_stall_due",
        "_stall_mark",
        "_waiters",
        "_window_at",
        "_window_mark",
        "deadline",
    )

    if TYPE_CHECKING:
        _body: RequestBody | None
        _phase: int
        _tail: bytes | bytearray
        context: RequestContext
        deadline: float
        exchange: Http1Exchange | None
        limits: Limits
        sweeper: Sweeper
        wire: Wire

        def _close(self) -> None: ...
        def _next(self) -> None: ...
        def abort(self) -> None: ...
        def refuse(self, error: RemoteProtocolError, exchange: Http1Exchange | None) -> None: ...

    def __init__(self) -> None:
        self._due = inf
        #: The deadline for the client to take some of the answer, or enough of it, whichever is to be looked at first.
        self._stall_due = inf
        self._nothing_due = inf
        self._stall_mark = 0
        #: When the window began, and what had been taken then; while it is stopped, how long it was and what was taken.
        self._window_at = 0.0
        self._window_mark = 0
        self._waiters: list[asyncio.Future[None]] | None = None

    # An answer that waits for its client.

    def stalled(self) -> "asyncio.Future[None]":
        """A future of the peer taking enough of what was written; sets the deadline for that."""
        future: asyncio.Future[None] = self.wire.loop.create_future()
        if self.wire.closing:
            _close_future(future)
        elif self._waiters is None:
            self._waiters = [future]
            self._watch_stall()
        else:
            self._waiters.append(future)
        return future

    def _wake(self, closed: bool = False) -> None:
        waiters, self._waiters = self._waiters, None
        for future in waiters or ():
            if not future.done():
                _close_future(future) if closed else future.set_result(None)

    def resume_writing(self) -> None:
        """The peer has taken enough (the `Consumer` interface)."""
        if self._stall_due != inf and self._phase < LINGER:
            self._stall_due = inf
            self.deadline = self._due
            self._turn_window(self.wire.taken())
        self._wake()
        if self._phase == BETWEEN:
            self._next()

    def _watch_stall(self) -> None:
        """Have the client take something of what was written within the time for that, and enough in the long run."""
        taken = self.wire.taken()
        now = self.sweeper.refresh()
        if self._stall_due == inf:
            self._due = self.deadline
            self._turn_window(taken)
        self._stall_mark = taken
        self._nothing_due = now + (self.limits.write_timeout or inf)
        self._schedule_stall()

    def _turn_window(self, taken: int) -> None:
        """Stop the window that runs, or have the one that is stopped go on."""
        self._window_at = self.sweeper.refresh() - self._window_at
        self._window_mark = taken - self._window_mark

    def _schedule_stall(self) -> None:
        limits = self.limits
        look = self._window_at + limits.write_grace if limits.min_write_rate else inf
        self._stall_due = min(self._nothing_due, look)
        self.deadline = min(self._due, self._stall_due)

    def _is_slow(self, now: float) -> str:
        """What the client does wrong who has an answer waiting; nothing, if it may go on."""
        taken = self.wire.taken()
        if now >= self._nothing_due:
            if taken == self._stall_mark:
                return "takes no more of the answer"
            self._stall_mark = taken
            self._nothing_due = now + self.limits.write_timeout
        passed = now - self._window_at
        if self.limits.min_write_rate and passed >= self.limits.write_grace:
            # Where TCP does not tell what is acknowledged there are only buffers, which we fill while the client
            # empties them: the number is none above 0 then, and says nothing about a rate.
            if 0 < taken < self._window_mark + self.limits.min_write_rate * passed:
                return "takes the answer too slowly"
            self._window_at = now
            self._window_mark = taken
        return ""

    # All deadlines.

    def _set_deadline(self, due: float) -> None:
        """Set the deadline of the phase; one for a stalled write stands beside it."""
        self._due = due
        self.deadline = min(due, self._stall_due)

    def deadline_passed(self, now: float) -> None:
        """The sweep has found `deadline` in the past."""
        if self._stall_due != inf:
            if now >= self._stall_due:
                slow = self._is_slow(now)
                if slow:
                    gen_log.info("%s: cut, since it %s", self.context, slow)
                    reset_on_close(self.wire.get_extra_info("socket"))
                    self.abort()
                    return
                self._schedule_stall()
            if now < self._due:
                return
        phase = self._phase
        if phase == LINGER:
            if self.wire.write_buffer_size:  # its answer is not out yet
                self._set_deadline(now + (self.limits.linger_timeout or 0.1))
            else:
                self._close()
        elif phase == IDLE or (phase == HEAD and not self._tail):
            self._close()
        elif phase == HEAD:
            self.refuse(RemoteProtocolError("the request did not come in time", 408), None)
        elif self._body is not None:  # nothing else has a deadline
            if self._body.is_late(now):
                self.refuse(RemoteProtocolError("the body did not come in time", 408), self.exchange)
            else:
                self._set_deadline(self._body.deadline())


def _close_future(future: "asyncio.Future[None]") -> None:
    future.set_exception(StreamClosedError())
    future.exception()  # whoever does not wait for it need not be told
