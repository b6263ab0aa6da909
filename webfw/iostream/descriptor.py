"""The engine of streams over a bare descriptor: waits until it is ready, then calls the stream's own methods.

Sockets do not travel this way: a descriptor that is reused quickly can stall on uvloop, and transports are
faster.  This is for pipes and for streams of a program's own.
"""

from collections import deque
from typing import TYPE_CHECKING, Any

from webfw.ioloop import IOLoop

if TYPE_CHECKING:
    from webfw.iostream.stream import BaseIOStream

__all__ = ["DescriptorEngine"]

#: Reads or writes in a row before other descriptors get their turn.
_TURNS = 16


class DescriptorEngine:
    """Reads only while somebody wants bytes (or wants to know of the end), writes at once and then when ready."""

    __slots__ = ("_chunk", "_events", "_fd", "_queue", "_stream", "_unsent")

    def __init__(self, stream: "BaseIOStream") -> None:
        self._stream: BaseIOStream = stream
        self._queue: deque[memoryview] = deque()
        self._unsent = 0
        self._events = IOLoop.NONE
        # What was registered: the descriptor must be taken out under the same name.
        self._fd: Any = None
        self._chunk: memoryview | None = None

    def update(self) -> None:
        if self._stream._wants_bytes:
            self._read()
        self._watch()

    def write(self, data: bytes) -> bool:
        self.keep(data)
        if not self._events & IOLoop.WRITE:
            self._flush()
        self._watch()
        return not self._unsent

    def keep(self, data: bytes | memoryview) -> None:
        if data:
            self._queue.append(memoryview(data))
            self._unsent += len(data)

    def unsent(self) -> int:
        return self._unsent

    def close(self) -> None:
        self._queue.clear()
        self._unsent = 0
        # Always before the descriptor is closed: its number may be somebody else's the moment after.
        self._watch()
        self._stream.close_fd()

    # --- readiness ---

    def _watch(self) -> None:
        stream = self._stream
        events = IOLoop.NONE
        if not stream._closed:
            if not stream._at_end and (stream._wants_bytes or stream._wants_end):
                events |= IOLoop.READ
            if self._unsent:
                events |= IOLoop.WRITE
        if events == self._events:
            return
        if self._events == IOLoop.NONE:
            self._fd = stream.fileno()
            stream.io_loop.add_handler(self._fd, self._ready, events)
        elif events == IOLoop.NONE:
            stream.io_loop.remove_handler(self._fd)
        else:
            stream.io_loop.update_handler(self._fd, events)
        self._events = events

    def _ready(self, fd: Any, events: int) -> None:
        if events & IOLoop.READ:
            if self._stream._wants_bytes:
                self._read()
            elif not self._stream._closed:
                self._read_once()
        if events & IOLoop.WRITE and not self._stream._closed:
            self._flush()
            if not self._unsent and not self._stream._closed:
                self._stream._drained()
        self._watch()

    # --- bytes ---

    def _read(self) -> None:
        stream = self._stream
        for _ in range(_TURNS):
            if not stream._wants_bytes or stream._closed or stream._at_end or not self._read_once():
                return

    def _read_once(self) -> bool:
        """Read a chunk and feed the stream; False if there was none."""
        stream = self._stream
        if self._chunk is None:
            self._chunk = memoryview(bytearray(stream.read_chunk_size))
        try:
            size = stream.read_from_fd(self._chunk)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as exc:
            stream._ended(stream.get_fd_error() or exc)
            return False
        if size is None:
            return False
        if size == 0:
            stream._ended(None)
            return False
        stream._feed(bytes(self._chunk[:size]))
        return True

    def _flush(self) -> None:
        stream = self._stream
        for _ in range(_TURNS):
            if not self._queue:
                return
            data = self._queue[0]
            try:
                size = stream.write_to_fd(data)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as exc:
                stream.close(exc_info=exc)
                return
            if not size:
                return
            self._unsent -= size
            if size == len(data):
                self._queue.popleft()
            else:
                self._queue[0] = data[size:]
