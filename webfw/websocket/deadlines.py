"""When a connection has waited long enough: pings, slow peers and ends, watched by the loop's sweep; no bytes enter."""

from math import inf
from typing import TYPE_CHECKING

from webfw.ioloop import deadlines
from webfw.log import gen_log
from webfw.netutil.sockets import reset_on_close
from webfw.sansio.websocket import CloseCode

if TYPE_CHECKING:
    from webfw.httpserver.observer import End
    from webfw.iostream.wire import Wire
    from webfw.websocket.settings import ConnectionSettings
    from webfw.websocket.shared import SharedMessage

__all__ = ["Deadlines"]


class Deadlines:
    """A part of `webfw.websocket.WebSocketConnection`.

    There are four, in the loop's time and infinite while they do not run: the next ping, the answer to the last, the
    peer's taking of what waits for it, and the end.  `deadline` is the first of them.
    """

    __slots__ = (
        "_close_by",
        "_heard",
        "_held",
        "_ping_at",
        "_pong_by",
        "_stall_at",
        "_stall_mark",
        "deadline",
    )

    if TYPE_CHECKING:
        _close_by: float
        _heard: bool
        _held: bool
        _ping_at: float
        _pong_by: float
        _stall_at: float
        _stall_mark: int
        deadline: float
        heartbeat: SharedMessage | None
        settings: ConnectionSettings
        wire: Wire

        def _end(self) -> None: ...
        def _ends(self, why: End) -> None: ...
        def _name(self) -> str: ...
        def abort(self) -> None: ...
        def close(self, code: int | None = None, reason: str | bytes | None = None) -> None: ...
        def ping(self, data: bytes = b"") -> None: ...
        def send_shared(self, message: SharedMessage) -> None: ...

    def _end_within(self, seconds: float) -> None:
        """Cut the connection unless it has ended by then."""
        self._close_by = deadlines.for_loop(self.wire.loop).refresh() + (seconds or inf)
        self._watch(seconds)

    def _watch(self, hint: float) -> None:
        """Have the sweep look at the deadlines.

        :param hint: the shortest of them, in seconds; 0 for none.
        """
        self._schedule()
        if hint:
            deadlines.for_loop(self.wire.loop).watch(self, hint)

    def _schedule(self) -> None:
        self.deadline = min(self._ping_at, self._pong_by, self._stall_at, self._close_by)

    def _watch_stall(self) -> None:
        """Have the peer take something of what was written within the time for that."""
        if self._stall_at == inf and self.settings.write_timeout:
            self._stall_mark = self.wire.taken()
            self._stall_at = deadlines.for_loop(self.wire.loop).refresh() + self.settings.write_timeout
            self._watch(self.settings.write_timeout)

    def deadline_passed(self, now: float) -> None:
        """The sweep has found `deadline` in the past."""
        if now >= self._close_by:
            self._ends("timeout")
            self.abort()
            self._close_by = inf
        if now >= self._stall_at:
            self._stall_at = inf
            if self.wire.taken() == self._stall_mark:
                gen_log.info("%s: cut, since it takes no more of its messages", self._name())
                reset_on_close(self.wire.get_extra_info("socket"))
                self._ends("timeout")
                self.abort()
            else:
                self._watch_stall()
        if now >= self._pong_by:
            self._pong_by = inf
            if self._held:
                self._heard = True  # nothing has been read: the next ping will tell
            if not self._heard:
                gen_log.info("%s: closed, since it does not answer a ping", self._name())
                self._ends("timeout")
                self.close(CloseCode.INTERNAL_ERROR, "ping timed out")
                self._end()  # there is nobody to wait for
        if now >= self._ping_at:
            self._ping_at = now + self.settings.ping_interval
            if self.wire.write_paused:
                self._watch_stall()
            elif not self.wire.transport.is_closing():
                self.ping()
                if self.heartbeat is not None:
                    self.send_shared(self.heartbeat)
                if self._heard and self.settings.pong_timeout:  # else the last one waits for its answer still
                    self._heard = False
                    self._pong_by = now + self.settings.pong_timeout
        self._schedule()
