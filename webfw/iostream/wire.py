"""A wire: one asyncio transport whose bytes are pushed to a consumer; no parsing and no waiting may enter.

asyncio's plain ``data_received`` path allocates 256 KiB for every read.  A `Wire` is a ``BufferedProtocol`` instead:
all wires of a loop share one 64 KiB buffer, and what was read is handed on as `bytes` before the next read can happen.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any, Protocol
from weakref import WeakKeyDictionary

__all__ = ["READ_BUFFER_SIZE", "Consumer", "Wire"]

#: Bytes a single read may bring, shared by every wire of one loop.
READ_BUFFER_SIZE = 64 * 1024

_read_buffers: "WeakKeyDictionary[asyncio.AbstractEventLoop, memoryview]" = WeakKeyDictionary()


def _read_buffer(loop: asyncio.AbstractEventLoop) -> memoryview:
    buffer = _read_buffers.get(loop)
    if buffer is None:
        buffer = _read_buffers[loop] = memoryview(bytearray(READ_BUFFER_SIZE))
    return buffer


class Consumer(Protocol):
    """What a wire pushes to: a protocol such as HTTP/1.1, or a stream that keeps bytes until somebody pulls them."""

    def data_received(self, data: bytes) -> None:
        """Take bytes that have arrived; never called with an empty string."""

    def eof_received(self) -> bool:
        """The peer has closed its sending side; True keeps ours open for what is still to be written."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The wire is gone: called once, last; ``exc`` is None after an orderly end or our own close."""

    def resume_writing(self) -> None:
        """The write buffer has drained below its low-water mark after having been above the high one."""


class _Nobody:
    """The consumer of a wire that is not connected yet, or no longer."""

    def data_received(self, data: bytes) -> None:
        pass

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        pass

    def resume_writing(self) -> None:
        pass


_NOBODY = _Nobody()


# Linux, ``struct tcp_info``: how many bytes the peer has acknowledged, since 4.1.
_TCP_INFO = getattr(socket, "TCP_INFO", None)
_BYTES_ACKED = struct.Struct("120xQ")


def _discard(data: Any) -> None:
    """Stand in for ``write`` once the wire is closing, where asyncio would log a warning."""


def _raise(error: BaseException) -> None:
    raise error


class Wire(asyncio.BufferedProtocol):
    """One connection as its consumer sees it.

    :param loop: the running loop.
    :param connected: called once with the wire when its transport is there; it sets `consumer`.

    Assigning `consumer` hands the connection over, as an upgrade does: the next bytes go to the new one.  Nothing is
    replayed.

    :ivar error: what has ended the connection, where that was an error; None before, and after an orderly end.
    """

    __slots__ = (
        "__weakref__",
        "_buffer",
        "_connected",
        "_resuming",
        "closing",
        "consumer",
        "eof",
        "error",
        "loop",
        "transport",
        "write",
        "write_paused",
    )

    transport: asyncio.Transport
    #: Send bytes, at once if the kernel takes them; the transport's own method, so that a write costs one call.
    write: Callable[[bytes], None]

    def __init__(self, loop: asyncio.AbstractEventLoop, connected: "Callable[[Wire], None]") -> None:
        self.loop = loop
        self.consumer: Consumer = _NOBODY
        self.closing = False
        self.eof = False
        self.error: Exception | None = None
        self.write_paused = False
        self.write = _discard
        self._resuming = False
        self._connected: Callable[[Wire], None] | None = connected
        self._buffer = _read_buffer(loop)

    # What the consumer may ask.

    def close(self) -> None:
        """Send what is still buffered, then close; nothing more is read or accepted for writing."""
        if not self.closing:
            self.closing = True
            self.write = _discard
            self._order(self.transport.close)

    def abort(self) -> None:
        """Close at once and drop what is still buffered; a TCP peer may see a reset."""
        self.closing = True
        self.write = _discard
        self._order(self.transport.abort)

    def write_eof(self) -> None:
        """Close our sending side once the buffer is out, where the transport can (TLS cannot)."""
        if not self.closing and self.transport.can_write_eof():
            self.write = _discard
            self._order(self.transport.write_eof)

    def _order(self, order: Callable[[], None]) -> None:
        """Have the transport end, but not in the middle of its saying that its buffer has drained.

        asyncio's would go on with what it has been doing, and end twice.
        """
        if self._resuming:
            self.loop.call_soon(order)
        else:
            order()

    def pause_reading(self) -> None:
        """Stop reading until `resume_reading`; the kernel's window then holds the peer back."""
        if not self.closing:
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if not self.closing:
            self.transport.resume_reading()

    @property
    def write_buffer_size(self) -> int:
        """Bytes accepted by `write` that the kernel has not taken yet."""
        return self.transport.get_write_buffer_size()

    def taken(self) -> int:
        """A number that has changed when the peer has taken something of what was written.

        It asks the kernel what TCP has acknowledged, where that is told: the buffers above the kernel stand still for
        as long as a slow peer takes to empty the kernel's.
        """
        sock = self.transport.get_extra_info("socket")
        if _TCP_INFO is not None and sock is not None:
            try:
                info = sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _BYTES_ACKED.size)
                return int(_BYTES_ACKED.unpack(info)[0])
            except (OSError, struct.error):  # no TCP, closed already, or an old kernel
                pass
        return -self.write_buffer_size

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Facts about the connection: ``peername``, ``sockname``, ``socket``, ``ssl_object``, ``sslcontext``."""
        return self.transport.get_extra_info(name, default)

    # What programs ask of ``request.connection.stream``, which is a stream elsewhere.

    @property
    def socket(self) -> Any:
        """The socket below, for questions such as ``getpeername``; reading or writing it breaks the connection."""
        return self.transport.get_extra_info("socket")

    def set_nodelay(self, value: bool) -> None:
        """Send small writes at once (TCP_NODELAY, the default here), or have them gathered (Nagle's algorithm)."""
        sock = self.socket
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, int(value))

    def closed(self) -> bool:
        """Whether the connection is gone or going, or the peer has closed its side.

        The last cannot be told from a peer that is gone: a program that asks in ``on_connection_close``, or when it
        wakes up after that, must not go on waiting.
        """
        # A transport whose write has failed closes itself, and says so in the next turn.
        return self.closing or self.eof or self.transport.is_closing()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # a stream transport, by the way it was made
        self.write = self.transport.write
        connected, self._connected = self._connected, None
        if connected is not None:  # None when a transport is replaced, as start_tls does
            connected(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        try:
            self.consumer.data_received(self._buffer[:nbytes].tobytes())
        except (KeyboardInterrupt, SystemExit) as error:
            # From here uvloop would log it and go on; what a callback of the loop's own raises ends both loops.
            self.loop.call_soon(_raise, error)

    def eof_received(self) -> bool:
        self.eof = True
        if self.consumer.eof_received():
            return True
        # The transport closes itself now, when its buffer is out.
        self.closing = True
        self.write = _discard
        return False

    def pause_writing(self) -> None:
        self.write_paused = True

    def resume_writing(self) -> None:
        self.write_paused = False
        self._resuming = True
        try:
            self.consumer.resume_writing()
        finally:
            self._resuming = False

    def connection_lost(self, exc: Exception | None) -> None:
        self.closing = True
        if exc is not None:
            # Its frames are those of whoever was writing, and would keep all that they hold.
            exc.__traceback__ = None
        self.error = exc
        self.write = _discard
        consumer, self.consumer = self.consumer, _NOBODY
        consumer.connection_lost(exc)
