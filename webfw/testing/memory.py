"""A connection in memory: two fake wires, each of which brings what is written to the other; no protocol may enter."""

import asyncio
from collections import deque
from contextvars import Context
from typing import Any

from webfw.iostream.wire import READ_BUFFER_SIZE
from webfw.testing.fakes import FakeWire

__all__ = ["MemoryWire", "connected_wires"]

#: Bytes under way in one direction above which writing is paused, and below which it goes on.
HIGH_WATER = 64 * 1024
LOW_WATER = 16 * 1024

CLOSED = "the peer has closed the connection"


class MemoryWire(FakeWire):
    """One end of a connection in memory; `connected_wires` makes both.

    It behaves as a `Wire` over TCP does: bytes arrive in a later turn of the loop, at most 64 KiB at once; a consumer
    that has paused reading gets none, and its peer's writing is paused when too many are under way.  Closing sends what
    was written; a peer that still writes then, or waits until it may, has its connection reset, as by aborting.

    :param context: the context that its consumer is called in.
    """

    peer: "MemoryWire"

    def __init__(self, loop: asyncio.AbstractEventLoop, context: Context, extra: dict[str, Any]) -> None:
        super().__init__(loop, extra=extra)
        self.context = context
        self._inbox: deque[bytes] = deque()
        self._inbox_size = 0
        self._scheduled = False
        self._eof_coming = False
        self._ending = False
        self._high = HIGH_WATER

    # What the consumer does.

    def write(self, data: bytes) -> None:
        """Send bytes to the other end; nothing once this end is closed."""
        if self.closing or self.eof_sent or not data:
            return
        peer = self.peer
        if peer.closing:
            self._end(ConnectionResetError(CLOSED))
            return
        peer._inbox.append(bytes(data))
        peer._inbox_size += len(data)
        peer._schedule()
        if peer._inbox_size > self._high:
            self.write_paused = True

    def write_eof(self) -> None:
        """Close this end's sending side; as with TLS, ends with an ``sslcontext`` cannot."""
        super().write_eof()
        if self.eof_sent:
            self._send_eof()

    def close(self) -> None:
        """Close this end; what was written still arrives."""
        if not self.closing:
            self._send_eof()
            self._end(None)

    def abort(self) -> None:
        """Reset the connection: what is under way is lost."""
        self.aborted = True
        self._end(None)
        self.peer._end(ConnectionResetError("the peer has reset the connection"))

    def pause_reading(self) -> None:
        """Take nothing more for now."""
        self.reading = False

    def resume_reading(self) -> None:
        """Take what arrives again."""
        self.reading = True
        if self._inbox or self._eof_coming:
            self._schedule()

    @property
    def write_buffer_size(self) -> int:
        """Bytes that the other end has not taken."""
        return self.peer._inbox_size

    def taken(self) -> int:
        """A number that has changed when the other end has taken something."""
        return -self.peer._inbox_size

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """How many bytes may be under way before writing is paused (the interface of transports)."""
        self._high = HIGH_WATER if high is None else high
        if self.peer._inbox_size > self._high:
            self.write_paused = True

    # What arrives.

    def _send_eof(self) -> None:
        self.peer._eof_coming = True
        self.peer._schedule()

    def _schedule(self) -> None:
        if not self._scheduled and self.reading:
            self._scheduled = True
            self.loop.call_soon(self._deliver, context=self.context)

    def _deliver(self) -> None:
        """Hand what has arrived to the consumer, in one turn as much as one read of a socket brings."""
        self._scheduled = False
        if self.closing or not self.reading:
            return
        if self._inbox:
            piece = self._take()
            self._inbox_size -= len(piece)
            peer = self.peer
            if peer.write_paused and self._inbox_size <= min(LOW_WATER, peer._high):
                self.loop.call_soon(peer._resume, context=peer.context)
            assert self.consumer is not None
            self.consumer.data_received(piece)
            if self._inbox or self._eof_coming:
                self._schedule()
        elif self._eof_coming:
            self._eof_coming = False
            self.feed_eof()
            if self.write_paused and self.peer.closing:
                self._end(ConnectionResetError(CLOSED))

    def _take(self) -> bytes:
        if len(self._inbox) == 1 and self._inbox_size <= READ_BUFFER_SIZE:
            return self._inbox.popleft()
        pieces: list[bytes] = []
        room = READ_BUFFER_SIZE
        while self._inbox and room:
            piece = self._inbox.popleft()
            if len(piece) > room:
                self._inbox.appendleft(piece[room:])
                piece = piece[:room]
            pieces.append(piece)
            room -= len(piece)
        return b"".join(pieces)

    def _resume(self) -> None:
        if self.write_paused and not self.lost and self.peer._inbox_size <= self._high:
            self.write_paused = False
            assert self.consumer is not None
            self.consumer.resume_writing()

    def _end(self, exc: Exception | None) -> None:
        """Have this end's consumer told, in a later turn, that the connection is gone; once."""
        self.closing = True
        if not self._ending:
            self._ending = True
            self._inbox.clear()
            self._inbox_size = 0
            self.loop.call_soon(self.lose, exc, context=self.context)


def connected_wires(
    loop: asyncio.AbstractEventLoop, client_context: Context, server_context: Context, *, tls: bool = False
) -> tuple[MemoryWire, MemoryWire]:
    """Make a connection: the client's end and the server's; each must be given a ``consumer``.

    :param client_context: the context that the client's consumer is called in; `server_context` likewise.
    :param tls: whether the server's end shall look as if there were TLS between them.
    """
    near = ("127.0.0.1", 54321)
    far = ("127.0.0.1", 443 if tls else 80)
    facts: dict[str, Any] = {"peername": near, "sockname": far}
    if tls:
        facts["sslcontext"] = True  # there is none; what asks for it only wants to know whether there is
    client = MemoryWire(loop, client_context, {"peername": far, "sockname": near})
    server = MemoryWire(loop, server_context, facts)
    client.peer, server.peer = server, client
    return client, server
