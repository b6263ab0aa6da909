"""What a connection sends, and what waits while its peer does not take it; what arrives may not enter."""

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

from webfw.httpserver.exchange import DONE
from webfw.log import gen_log
from webfw.sansio.websocket import CloseCode
from webfw.websocket.deadlines import Deadlines
from webfw.websocket.errors import WebSocketClosedError
from webfw.websocket.outbox import Outbox, Waiting, check_text, nobody_told
from webfw.websocket.shared import SharedMessage

if TYPE_CHECKING:
    from asyncio import Future

    from webfw.httpserver.observer import Session
    from webfw.sansio.websocket import Machine

__all__ = ["Sending", "counted"]


class Sending(Deadlines):
    """A part of `webfw.websocket.WebSocketConnection`."""

    __slots__ = ("_outbox", "_owed", "_waiters", "closing", "machine", "session")

    if TYPE_CHECKING:
        _closed: bool
        _outbox: Outbox | None
        _owed: bytes | None
        _waiters: list[Future[None]] | None
        closing: bool
        machine: Machine
        session: Session | None

        def _hold(self) -> None: ...
        def _release(self) -> None: ...
        def _write_close(self) -> None: ...

    def write(self, data: str | bytes, binary: bool = False) -> "Future[None]":
        """Send a message.

        :returns: an awaitable; under the ``wait`` policy it is done when the peer has taken enough for more.
        :raises WebSocketClosedError: the connection is closed or being closed.
        :raises TypeError: the message is neither str nor bytes.
        """
        wire = self.wire
        if self.closing or wire.transport.is_closing():
            raise WebSocketClosedError()
        if wire.write_paused:
            if isinstance(data, str) or not binary:
                check_text(data)  # now, and not when its turn comes
            return self._queue(Waiting(data, binary))
        wire.write(self.machine.encode_message(data, binary))
        if self.session is not None:
            self.session.messages_out += 1
        if wire.write_paused:
            if self.settings.queue_policy == "wait":
                return self._taken()
            self._watch_stall()
        return DONE  # type: ignore[return-value]

    def send_shared(self, message: SharedMessage, missed: Callable[[], None] | None = None) -> None:
        """Send a message that others get too; nobody waits for it, and a connection that is closed is passed over.

        :param missed: called when the message is dropped because the peer is slow.
        """
        wire = self.wire
        if self.closing or wire.transport.is_closing():
            return
        if wire.write_paused:
            entry = Waiting(message, False)
            entry.missed = missed or nobody_told
            self._queue(entry)
            return
        if self.session is not None:
            self.session.messages_out += 1
        if self.machine.deflate is None:
            wire.write(message.plain)
        else:
            wire.write(message.frame_for(self.machine))

    def ping(self, data: bytes = b"") -> None:
        """Send a ping.

        :raises WebSocketClosedError: the connection is closed or being closed.
        :raises LocalProtocolError: more than 125 bytes.
        """
        if self.closing or self.wire.transport.is_closing():
            raise WebSocketClosedError()
        self.wire.write(self.machine.encode_ping(data))

    def _taken(self) -> "Future[None]":
        """A future of the peer taking enough of what was written."""
        future = self.wire.loop.create_future()
        if self._waiters is None:
            self._waiters = []
        self._waiters.append(future)
        self._watch_stall()
        return future

    def _queue(self, entry: Waiting) -> "Future[None]":
        """Have a message wait for a slow peer, by the policy."""
        if not isinstance(entry.data, (str, bytes, SharedMessage)):
            raise TypeError(f"a message must be str or bytes, not {type(entry.data).__name__}")
        outbox = self._outbox
        if outbox is None:
            outbox = self._outbox = Outbox(self.settings.max_queue_size, self.settings.queue_policy)
        self._watch_stall()
        if not outbox.put(entry):
            gen_log.info("%s: closed, since it does not take its messages", self._name())
            self._cut_queue()
            self.close(CloseCode.TRY_AGAIN_LATER, "too slow")
        elif outbox.policy == "wait" and entry.missed is None:
            entry.future = self.wire.loop.create_future()
            if outbox.over() and self.machine.server:
                # Who does not read is not read from, so that it cannot fill the memory with answers.
                self._hold()
            return entry.future
        return DONE  # type: ignore[return-value]

    def _cut_queue(self) -> None:
        """Drop what waits, so that a Close need not wait behind it."""
        outbox, self._outbox = self._outbox, None
        if outbox is not None:
            outbox.close()

    def resume_writing(self) -> None:
        """The peer has taken enough (the `Consumer` interface)."""
        self._stall_at = inf
        wire = self.wire
        outbox = self._outbox
        owed, self._owed = self._owed, None
        if owed is not None and not (self._closed or self.machine.closed):
            wire.write(self.machine.encode_pong(owed))
        while outbox and not wire.write_paused:
            entry = outbox.take()
            data = entry.data
            if data is None:
                self._write_close()
                break
            if self.session is not None:
                self.session.messages_out += 1
            if isinstance(data, SharedMessage):
                wire.write(data.frame_for(self.machine))
            else:
                wire.write(self.machine.encode_message(data, entry.binary))
            if entry.future is not None and not entry.future.done():
                entry.future.set_result(None)
        if outbox or wire.write_paused:
            self._watch_stall()
        else:
            self._outbox = None
        waiters, self._waiters = self._waiters, None
        for future in waiters or ():
            if not future.done():
                future.set_result(None)
        if self._held:
            self._release()
        self._schedule()


def counted(session: "Session", write: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """A wire's ``write`` that counts the bytes of a session."""

    def write_counted(data: bytes) -> None:
        session.bytes_out += len(data)
        write(data)

    return write_counted
