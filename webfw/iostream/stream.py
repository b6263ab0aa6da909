"""`BaseIOStream`: reading and writing as coroutines see it; how the bytes travel is an engine's business.

A stream keeps what has arrived in one buffer and at most one read that waits for more.  Its engine (a
descriptor's or a wire's) brings bytes with `BaseIOStream._feed`, the end with `_ended`, and takes what is
written.

The end of the peer's data is acted on late: while something is left to read, or nothing has tried to read
past the end, the stream is not closed and can still be written to.  Only then do its futures fail and its
close callback run.
"""

import asyncio
import re
import sys
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol

from webfw.ioloop import IOLoop
from webfw.iostream.appending import WriteBuffer
from webfw.iostream.buffer import (
    Read,
    ReadBuffer,
    ReadBytes,
    ReadInto,
    ReadUntil,
    ReadUntilClose,
    ReadUntilRegex,
)
from webfw.iostream.descriptor import DescriptorEngine
from webfw.iostream.errors import StreamBufferFullError, StreamClosedError, UnsatisfiableReadError
from webfw.iostream.wire import Consumer
from webfw.log import gen_log

__all__ = ["BaseIOStream", "Engine"]

DEFAULT_MAX_BUFFER_SIZE = 100 * 1024 * 1024
DEFAULT_READ_CHUNK_SIZE = 64 * 1024

ExcInfo = tuple[type[BaseException] | None, BaseException | None, TracebackType | None]


class Engine(Protocol):
    """What moves the bytes of a stream."""

    def update(self) -> None:
        """Something about the stream's `_wants_bytes`, `_wants_end` or buffer has changed: read on or pause."""

    def write(self, data: bytes) -> bool:
        """Send what was kept, and bytes after it, which may be none; True if everything has gone to the kernel."""

    def keep(self, data: bytes | memoryview) -> None:
        """Keep bytes, not copied, to be sent by the next `write` before what that is given."""

    def unsent(self) -> int:
        """Return the number of bytes that `write` was given and the kernel has not taken."""

    def close(self) -> None:
        """Close what the bytes travel over.  The stream hears no more."""


class BaseIOStream:
    """A stream of bytes in both directions; see `IOStream` and `PipeIOStream` for the usual ones.

    :param max_buffer_size: the most bytes a read may have to be kept for it, 100 MiB by default.
    :param read_chunk_size: bytes read at a time, 64 KiB by default.
    :param max_write_buffer_size: the most bytes that may wait to be sent; no limit by default.

    A subclass for another kind of descriptor defines `fileno`, `close_fd`, `read_from_fd`, `write_to_fd` and,
    if it can, `get_fd_error`.  It is used on the loop that was current when it was made.
    """

    def __init__(
        self,
        max_buffer_size: int | None = None,
        read_chunk_size: int | None = None,
        max_write_buffer_size: int | None = None,
    ) -> None:
        self.io_loop: IOLoop = IOLoop.current()
        self.max_buffer_size = max_buffer_size or DEFAULT_MAX_BUFFER_SIZE
        self.read_chunk_size = min(
            read_chunk_size or DEFAULT_READ_CHUNK_SIZE, max(1, self.max_buffer_size // 2)
        )
        self.max_write_buffer_size = max_write_buffer_size
        #: Why the stream was closed, if not in an orderly way.
        self.error: BaseException | None = None
        self._buffer = ReadBuffer()
        self._read: Read | None = None
        self._writes: deque[asyncio.Future[None]] = deque()
        self._close_callback: Callable[[], Any] | None = None
        self._consumer: Consumer | None = None
        self._at_end = False
        self._closed = False
        #: Whether bytes were put into `_write_buffer` since the last write.
        self._appended = False
        #: Bytes written so far.  Programs that use `_write_buffer` count theirs here too.
        self._total_write_index = 0
        self._engine: Engine = self._make_engine()

    def _make_engine(self) -> Engine:
        return DescriptorEngine(self)

    # --- what subclasses for descriptors define ---

    def fileno(self) -> Any:
        """Return the descriptor, a number or an object with ``fileno()``."""
        raise NotImplementedError

    def close_fd(self) -> None:
        """Close the descriptor."""
        raise NotImplementedError

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        """Read up to ``len(buf)`` bytes into `buf`; return how many, 0 at the end, None if there are none yet."""
        raise NotImplementedError

    def write_to_fd(self, data: memoryview) -> int:
        """Write as much of `data` as is taken at once and return how much.

        :raises BlockingIOError: nothing is taken now.
        """
        raise NotImplementedError

    def get_fd_error(self) -> Exception | None:
        """Return the error the descriptor is in, if it can tell."""
        return None

    # --- reading ---

    def read_bytes(self, num_bytes: int, partial: bool = False) -> "asyncio.Future[bytes]":
        """Read `num_bytes` bytes; with `partial` as many as there are, at least one and at most `num_bytes`.

        :raises StreamClosedError: they can no longer come.
        :raises AssertionError: another read is waiting (true of every ``read_`` method).
        """
        if not isinstance(num_bytes, int) or num_bytes < 0:
            raise ValueError(f"num_bytes must be a number from 0 up, not {num_bytes!r}")
        future = self._start_read(ReadBytes(num_bytes, partial))
        if num_bytes > self.max_buffer_size and not partial:
            self._too_much_to_read()
        return future

    def read_into(self, buf: bytearray | memoryview, partial: bool = False) -> "asyncio.Future[int]":
        """Fill the caller's buffer; with `partial` as far as there are bytes.  Yields the number of bytes read.

        :param buf: a writable buffer; do not touch it until the read is done.  If the read is cancelled, what
            it holds by then is kept for the next read.
        :raises StreamClosedError: not enough bytes can come.
        """
        return self._start_read(ReadInto(memoryview(buf).cast("B"), partial))

    def read_until(self, delimiter: bytes, max_bytes: int | None = None) -> "asyncio.Future[bytes]":
        """Read up to and including the next `delimiter`.

        :param max_bytes: if it is not found within so many bytes, the stream is closed.
        :raises StreamClosedError: the delimiter can no longer come; its ``real_error`` is an
            `UnsatisfiableReadError` when `max_bytes` was passed.
        """
        if not isinstance(delimiter, (bytes, bytearray)):
            raise TypeError(f"delimiter must be bytes, not {type(delimiter).__name__}")
        return self._start_read(ReadUntil(bytes(delimiter), max_bytes))

    def read_until_regex(
        self, regex: "bytes | re.Pattern[bytes]", max_bytes: int | None = None
    ) -> "asyncio.Future[bytes]":
        """Read up to the end of the first match of a regular expression.

        Parameters and errors are those of `read_until`.  Every arrival of bytes is searched from the start,
        so give `max_bytes` where the peer is not trusted.
        """
        return self._start_read(ReadUntilRegex(re.compile(regex), max_bytes))

    def read_until_close(self) -> "asyncio.Future[bytes]":
        """Read until the stream is closed, by either side; yields all that came, at most `max_buffer_size`."""
        return self._start_read(ReadUntilClose())

    def _start_read(self, read: Read) -> "asyncio.Future[Any]":
        if self._consumer is not None:
            raise AssertionError("Already reading: the stream has a consumer")
        if self._read is not None and not self._drop_cancelled_read():
            raise AssertionError("Already reading")
        # In any case what is in the buffer is served, even after the stream was closed.
        future = read.future = self.io_loop.asyncio_loop.create_future()
        self._read = read
        if self._try_read():
            if self._wants_end and not self._closed:
                self._engine.update()
            return future
        if self._closed or self._at_end:
            self._read = None
            result = read.take_at_end(self._buffer)
            if result is None:
                read.give_back(self._buffer)
                if self._closed:
                    self._check_closed()
                self._read = read
                self.close()
            else:
                future.set_result(result)
                self.close()
            return future
        self._engine.update()
        return future

    def _try_read(self) -> bool:
        """Serve the waiting read from the buffer; True if it waits no more."""
        read = self._read
        if read is None:
            return False
        if read.future.cancelled():
            self._drop_cancelled_read()
            return True
        try:
            result = read.take(self._buffer)
        except UnsatisfiableReadError as exc:
            gen_log.info("Unsatisfiable read, closing connection: %s", exc)
            self.close(exc_info=exc)
            return True
        if result is None:
            return False
        self._read = None
        read.future.set_result(result)
        if self._at_end and not self._closed:
            self._notice_end()
        return True

    def _drop_cancelled_read(self) -> bool:
        read = self._read
        if read is None or not read.future.cancelled():
            return False
        self._read = None
        read.give_back(self._buffer)
        return True

    # --- writing ---

    def write(self, data: bytes | bytearray | memoryview) -> "asyncio.Future[None]":
        """Send bytes, after all that was written before; need not be awaited.

        :return: a Future that is done when everything up to here has gone to the kernel.
        :raises StreamClosedError: the stream is closed (also later, from the Future).
        :raises StreamBufferFullError: more than ``max_write_buffer_size`` would wait to be sent; nothing of
            `data` is.
        """
        if self._closed:
            self._check_closed()
        if not isinstance(data, bytes):
            if not isinstance(data, (bytearray, memoryview)):
                raise TypeError(f"write() needs bytes, not {type(data).__name__}")
            # The caller may change it as soon as this returns.
            data = bytes(data)
        limit = self.max_write_buffer_size
        if limit is not None and self._engine.unsent() + len(data) > limit:
            raise StreamBufferFullError("Reached maximum write buffer size")
        future: asyncio.Future[None] = self.io_loop.asyncio_loop.create_future()
        if data or self._appended:
            self._appended = False
            self._total_write_index += len(data)
            sent = self._engine.write(data)
        else:
            sent = not self._engine.unsent()
        if self._closed:
            self._fail(future)
        elif sent:
            future.set_result(None)
        else:
            self._writes.append(future)
        return future

    @property
    def _write_buffer(self) -> WriteBuffer | None:
        """What is to be sent, for programs that put many frames in before one `write`; None once closed."""
        return None if self._closed else WriteBuffer(self)

    # --- its state ---

    @property
    def _read_buffer_size(self) -> int:
        """Bytes that have arrived and were not read, as programs ask for them."""
        return len(self._buffer)

    def reading(self) -> bool:
        """Tell whether a read is waiting."""
        return self._read is not None and not self._read.future.cancelled()

    def writing(self) -> bool:
        """Tell whether bytes are waiting to be sent."""
        return not self._closed and self._engine.unsent() > 0

    def closed(self) -> bool:
        """Tell whether the stream has been closed; what had arrived by then can still be read."""
        return self._closed

    def set_nodelay(self, value: bool) -> None:
        """Send small writes at once (Nagle's algorithm off) if `value`; does nothing where there is no such thing."""

    def set_close_callback(self, callback: Callable[[], Any] | None) -> None:
        """Have `callback` called, once, when the stream is closed; at once (in the next turn) if it is already.

        Reads and writes that wait fail by themselves; this is for noticing a close while nothing is going
        on.  A close by the peer is noticed only when all that it sent has been read.
        """
        self._close_callback = callback
        if callback is not None:
            if self._closed:
                self._run_close_callback()
            else:
                self._engine.update()

    def set_consumer(self, consumer: Consumer) -> None:
        """Push all bytes, from now on and those in the buffer, to `consumer` instead of serving reads.

        The consumer hears of the end by `Consumer.eof_received` (False closes the stream) and of the close by
        `Consumer.connection_lost`.

        :raises AssertionError: a read is waiting.
        :raises StreamClosedError: the stream is closed and nothing is left to read.
        """
        if self.reading():
            raise AssertionError("Already reading")
        self._drop_cancelled_read()
        if self._closed and not self._buffer:
            self._check_closed()
        self._consumer = consumer
        if self._buffer:
            consumer.data_received(self._buffer.take(len(self._buffer)))
        if self._closed:
            consumer.connection_lost(_as_exception(self.error))
        elif self._at_end:
            self._end_of_data()
        else:
            self._engine.update()

    # --- closing ---

    def close(self, exc_info: "bool | BaseException | ExcInfo" = False) -> None:
        """Close the stream; may be called again.

        :param exc_info: why, for `error` and the ``real_error`` of what fails now: an exception, what
            ``sys.exc_info`` returns, or True for the exception that is being handled.

        What has been written but not sent is still sent if that is possible soon.
        """
        if self._closed:
            return
        if exc_info:
            self.error = _exception_of(exc_info)
        self._closed = True
        self._engine.close()
        self._signal_closed()

    def _signal_closed(self) -> None:
        read, self._read = self._read, None
        if read is not None and not read.future.done():
            result = read.take_at_end(self._buffer) if self.error is None else None
            if result is None:
                read.give_back(self._buffer)
                self._fail(read.future)
            else:
                read.future.set_result(result)
        while self._writes:
            future = self._writes.popleft()
            if not future.done():
                self._fail(future)
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.connection_lost(_as_exception(self.error))
        self._run_close_callback()

    def _run_close_callback(self) -> None:
        callback, self._close_callback = self._close_callback, None
        if callback is not None:
            self.io_loop.add_callback(callback)

    def _fail(self, future: "asyncio.Future[Any]") -> None:
        future.set_exception(StreamClosedError(real_error=self.error))
        # Not everyone awaits every write, and a close is no news to them.
        future.exception()

    def _check_closed(self) -> None:
        if self._closed:
            raise StreamClosedError(real_error=self.error)

    # --- what engines ask and tell ---

    @property
    def _wants_bytes(self) -> bool:
        """Whether somebody waits for more bytes."""
        return self._read is not None or self._consumer is not None

    @property
    def _wants_end(self) -> bool:
        """Whether somebody wants to know when the peer closes, though nobody reads."""
        return self._close_callback is not None and not self._buffer

    def _feed(self, data: bytes) -> None:
        """Take bytes that have arrived."""
        consumer = self._consumer
        if consumer is not None:
            consumer.data_received(data)
            return
        self._buffer.append(data)
        if self._read is not None and not self._try_read() and len(self._buffer) > self.max_buffer_size:
            self._too_much_to_read()

    def _too_much_to_read(self) -> None:
        gen_log.error("Reached maximum read buffer size")
        self.close(exc_info=StreamBufferFullError("Reached maximum read buffer size"))

    def _ended(self, exc: BaseException | None) -> None:
        """Take note that no more bytes will come, in order or because of an error."""
        if self._closed:
            return
        self._at_end = True
        if exc is not None:
            self.close(exc_info=exc)
        else:
            self._end_of_data()

    def _end_of_data(self) -> None:
        if self._consumer is not None:
            if not self._consumer.eof_received():
                self.close()
        elif self._read is not None and not self._drop_cancelled_read():
            self.close()
        else:
            self._notice_end()

    def _notice_end(self) -> None:
        """Close, in the next turn, a stream whose bytes have all been read if somebody wants to know."""
        if self._wants_end:
            self.io_loop.asyncio_loop.call_soon(self._close_if_done)

    def _close_if_done(self) -> None:
        if self._wants_end or self._read is not None:
            self.close()

    def _drained(self) -> None:
        """Take note that everything written has gone to the kernel."""
        while self._writes:
            future = self._writes.popleft()
            if not future.done():
                future.set_result(None)
        if self._consumer is not None:
            self._consumer.resume_writing()


def _exception_of(exc_info: "bool | BaseException | ExcInfo") -> BaseException | None:
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple):
        return exc_info[1]
    return sys.exc_info()[1]


def _as_exception(error: BaseException | None) -> Exception | None:
    return error if error is None or isinstance(error, Exception) else StreamClosedError(real_error=error)
