"""The engine of streams over sockets: the consumer of a wire, from before it is there until it is gone.

A stream is made in an ordinary call, a transport only in a coroutine.  So the engine keeps what is written
until a task has attached the transport (after connecting and the TLS handshake, where asked for), and sends
it then.
"""

import asyncio
import errno
import os
import socket
import ssl
from collections import deque
from typing import TYPE_CHECKING, Any

from webfw.iostream.tls import TLSSettings, handshake
from webfw.iostream.wire import Wire
from webfw.log import gen_log

if TYPE_CHECKING:
    from webfw.iostream.socketstream import IOStream

__all__ = ["LINGER", "READ_AHEAD", "WireEngine"]

#: Bytes that are kept while no read waits for them; then the wire is paused.
READ_AHEAD = 64 * 1024

#: Bytes given to TLS at a time: a TLS transport says that its buffer is full only at the write after the one
#: that filled it.
TLS_PIECE = 256 * 1024

#: Seconds that bytes which were written before a close may take to leave.
LINGER = 30.0


class WireEngine:
    """Moves the bytes of an `IOStream` over an asyncio transport."""

    __slots__ = (
        "__weakref__",
        "_early",
        "_linger",
        "_lost",
        "_paused",
        "_queue",
        "_queued",
        "_ready",
        "_sock",
        "_stream",
        "_task",
        "_tls",
        "wire",
    )

    wire: Wire

    def __init__(self, stream: "IOStream", sock: Any) -> None:
        self._stream: IOStream | None = stream
        #: The socket, as long as it is not the transport's.
        self._sock: socket.socket | None = sock
        self._task: asyncio.Task[None] | None = None
        #: Whether the transport is there and, with TLS, the handshake done.
        self._ready = False
        self._lost = False
        self._paused = False
        self._tls: TLSSettings | bool = False
        #: Bytes of the TLS handshake that came before it was asked for.
        #: It collects them until the handshake has begun; pausing alone may come too late or too soon for a
        #: loop.
        self._early: bytearray | None = None
        self._queue: deque[bytes | memoryview] = deque()
        self._queued = 0
        self._linger: asyncio.TimerHandle | None = None

    # --- getting there ---

    @property
    def attached(self) -> bool:
        """Whether bytes can be sent and received."""
        return self._ready

    def take_wire(self, wire: Wire) -> None:
        """Use a connection that is there."""
        self._sock = None
        self._tls = wire.get_extra_info("sslcontext") is not None
        self.wire = wire
        wire.consumer = self
        self._begin()

    def give_wire(self) -> Wire:
        """Let go of the connection, which stays open."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.io_loop.untrack(self)
        if self._paused:
            self._paused = False
            self.wire.resume_reading()
        self._ready = False
        return self.wire

    def connect(self, address: Any, tls: TLSSettings | None) -> None:
        """Connect the socket, then attach it."""
        if self._task is not None or self._ready:
            raise RuntimeError("the stream is connected or connecting already")
        self._start_task(self._attach(address, tls))

    def attach(self, tls: TLSSettings | None = None) -> None:
        """Attach the connected socket."""
        if self._task is None and not self._ready:
            self._start_task(self._attach(None, tls))

    def start_tls(self, stream: "IOStream", tls: TLSSettings, early: bytes) -> None:
        """Go on for another stream, with TLS; `early` are bytes of the handshake that have been read already."""
        self._stream = stream
        self._tls = tls
        self._early = bytearray(early)
        if self._ready:
            self._ready = False
            self.wire.pause_reading()
        if self._task is not None:
            return  # it attaches the socket, and goes on with this
        self._start_task(self._secure(tls) if hasattr(self, "wire") else self._attach(None, tls))

    def _start_task(self, coro: Any) -> None:
        assert self._stream is not None
        self._task = self._stream.io_loop.asyncio_loop.create_task(coro)
        self._task.add_done_callback(self._task_done)

    def _task_done(self, task: "asyncio.Task[None]") -> None:
        # A task that is cancelled before its first step runs none of its own cleaning up.
        if task.cancelled():
            sock, self._sock = self._sock, None
            if sock is not None:
                sock.close()
            elif hasattr(self, "wire") and not self._ready and not self._lost:
                self.wire.abort()

    async def _attach(self, address: Any, tls: TLSSettings | None) -> None:
        sock = self._sock
        assert sock is not None
        loop = asyncio.get_running_loop()
        if tls is not None:
            self._tls = tls
        try:
            if address is not None:
                await loop.sock_connect(sock, address)
            # It serves connected sockets of either side and family.
            await loop.connect_accepted_socket(lambda: Wire(loop, self._connected), sock)
        except BaseException as exc:
            self._sock = None
            sock.close()
            self._failed(exc)
            return
        self._sock = None
        # It is asked only now: start_tls() may have come in between.
        if isinstance(self._tls, TLSSettings):
            await self._secure(self._tls)
        else:
            self._task = None

    def _connected(self, wire: Wire) -> None:
        self.wire = wire
        wire.consumer = self
        if self._tls:
            if self._early is None:
                self._early = bytearray()
            wire.pause_reading()
        else:
            self._begin()

    def _take_early(self) -> bytes:
        early, self._early = self._early, None
        return bytes(early or b"")

    async def _secure(self, tls: TLSSettings) -> None:
        # Asked now: a transport that has closed knows no more.
        peer = self.wire.get_extra_info("peername") or "a socket"
        try:
            await handshake(self.wire, tls, self._take_early)
        except BaseException as exc:
            self.wire.abort()
            if isinstance(exc, ssl.SSLError):
                gen_log.warning("SSL Error on %s: %s", peer, exc)
            self._failed(exc)
            return
        self._task = None
        self._begin()

    def _failed(self, exc: BaseException) -> None:
        self._task = None
        stream = self._stream
        if stream is not None:
            stream.close(exc_info=exc)
        if not isinstance(exc, Exception):
            raise exc

    def _begin(self) -> None:
        """The wire can be used: send what waits, and let the stream know."""
        self._ready = True
        wire = self.wire
        # Whoever waits for a write waits until all is gone; so has pausing to begin with the first byte.
        wire.transport.set_write_buffer_limits(high=1, low=0)
        stream = self._stream
        self._pump()
        if stream is None:  # closed while this was under way
            self._close_wire()
            return
        stream.io_loop.track(self)
        if self._all_gone():
            stream._drained()
        stream._attached()
        self.update()

    # --- the engine of the stream ---

    def update(self) -> None:
        stream = self._stream
        if stream is None:
            return
        if not self._ready:
            if self._task is None and (stream._wants_bytes or stream._wants_end) and self.is_connected():
                self.attach()
            return
        if self._lost:
            return
        if stream._wants_bytes or len(stream._buffer) < min(READ_AHEAD, stream.max_buffer_size):
            if self._paused:
                self._paused = False
                self.wire.resume_reading()
        elif not self._paused:
            self._paused = True
            self.wire.pause_reading()

    def write(self, data: bytes) -> bool:
        if self._ready:
            wire = self.wire
            if self._lost:
                self._gone()
                return False
            if self._tls or self._queue:
                self.keep(data)
                self._pump()
            else:
                wire.write(data)
            return self._all_gone()
        if self._task is None and self.is_connected():
            if not self._queue:
                data = self._send_now(data)
                if not data:
                    return True
            self.attach()
        self.keep(data)
        return False

    def keep(self, data: bytes | memoryview) -> None:
        if data:
            self._queue.append(data)
            self._queued += len(data)

    def _pump(self, *, all_of_it: bool = False) -> None:
        """Give the transport what was kept, as long as it takes it."""
        wire = self.wire
        queue = self._queue
        while queue and (all_of_it or not wire.write_paused):
            data = queue.popleft()
            if self._tls and len(data) > TLS_PIECE and not all_of_it:
                view = memoryview(data)  # what stays behind is not copied
                queue.appendleft(view[TLS_PIECE:])
                data = view[:TLS_PIECE]
            self._queued -= len(data)
            wire.write(data)  # type: ignore[arg-type]  # a transport takes any buffer

    def _all_gone(self) -> bool:
        # A transport that has failed says so later; the write has not succeeded for that.
        wire = self.wire
        return not (self._queue or wire.write_paused or wire.transport.is_closing())

    def _gone(self) -> None:
        stream = self._stream
        if stream is not None:
            stream.close(exc_info=BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)))

    def is_connected(self) -> bool:
        """Tell whether the socket, not attached yet, has a peer."""
        sock = self._sock
        if sock is None:
            return False
        try:
            sock.getpeername()
        except OSError:
            return False
        return True

    def _send_now(self, data: bytes) -> bytes:
        """Send through the bare socket, before there is a transport, and return what it did not take."""
        assert self._sock is not None
        try:
            return data[self._sock.send(data) :]
        except OSError:
            return data  # the transport will meet the same error, if it is one

    def unsent(self) -> int:
        if self._ready:
            return 0 if self._lost else self._queued + self.wire.write_buffer_size
        return self._queued

    def close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is None:
            return
        stream.close_fd()
        if self._ready:
            stream.io_loop.untrack(self)
            if stream.error is not None and self.unsent():
                self.wire.abort()
            else:
                self._close_wire()
            return
        task = self._task
        if task is None:
            if self._sock is not None:
                self._sock.close()
        elif task is not asyncio.current_task(task.get_loop()) and (
            not self._queue or stream.error is not None
        ):
            # It closes the socket itself: closing it here would leave the loop with a bad descriptor.
            task.cancel()

    def _close_wire(self) -> None:
        if self._lost:
            return
        if self.unsent():
            self._pump(all_of_it=True)
            self._linger = self.wire.loop.call_later(LINGER, self.wire.abort)
        self.wire.close()

    def abort(self) -> None:
        """Close everything at once, as the loop does when it is closed with all descriptors."""
        wire = self.wire
        stream = self._stream
        if stream is not None:
            stream.close()
        wire.abort()

    # --- the consumer of the wire ---

    def data_received(self, data: bytes) -> None:
        stream = self._stream
        if self._early is not None:
            self._early += data
        elif stream is not None:
            stream._feed(data)
            if len(stream._buffer) >= READ_AHEAD or len(stream._buffer) >= stream.max_buffer_size:
                self.update()

    def eof_received(self) -> bool:
        stream = self._stream
        if stream is None:
            return False
        stream._ended(None)
        # Under TLS there is no half-closed connection; and asyncio warns of the attempt.
        return not self._tls and self._stream is not None

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        stream = self._stream
        if stream is None:
            return
        stream.io_loop.untrack(self)
        if not self._ready:
            return  # the task that is on the way finds out
        if exc is not None:
            stream._ended(exc)
        elif stream._consumer is not None:
            stream.close()
        elif not stream._at_end:
            stream._ended(None)
        if stream._writes and not stream._closed:
            self._gone()

    def resume_writing(self) -> None:
        self._pump()
        stream = self._stream
        if stream is not None and self._all_gone():
            stream._drained()
