"""Bytes that have arrived and wait to be read, and what a read waits for; no stream, no loop."""

import asyncio
import re
from typing import Any

from webfw.iostream.errors import UnsatisfiableReadError

__all__ = ["Read", "ReadBuffer", "ReadBytes", "ReadInto", "ReadUntil", "ReadUntilClose", "ReadUntilRegex"]


class ReadBuffer:
    """A queue of bytes with an end to put in and an end to take from.

    Taking from the front is cheap: a bytearray then only moves its beginning.
    """

    __slots__ = ("_data",)

    def __init__(self) -> None:
        self._data = bytearray()

    def __len__(self) -> int:
        return len(self._data)

    def append(self, data: bytes | memoryview) -> None:
        """Put bytes in at the end."""
        self._data += data

    def prepend(self, data: bytes | memoryview) -> None:
        """Put bytes back at the front."""
        self._data[:0] = data

    def take(self, size: int) -> bytes:
        """Remove and return the first `size` bytes, or all there are."""
        data = self._data
        if size >= len(data):
            self._data = bytearray()
            return bytes(data)
        with memoryview(data) as view:
            taken = bytes(view[:size])
        del data[:size]
        return taken

    def take_into(self, target: memoryview) -> int:
        """Move bytes from the front into `target` and return how many."""
        size = min(len(target), len(self._data))
        if size:
            with memoryview(self._data) as view:
                target[:size] = view[:size]
            del self._data[:size]
        return size

    def find(self, delimiter: bytes, start: int) -> int:
        """Return the offset of `delimiter` at or after `start`, or -1."""
        return self._data.find(delimiter, start)

    def search(self, pattern: "re.Pattern[bytes]") -> int:
        """Return the offset after the first match of `pattern`, or -1."""
        match = pattern.search(self._data)
        if match is None:
            return -1
        end = match.end()
        # A match refers to the bytearray and would forbid to shorten it.
        del match
        return end


class Read:
    """One read that has been asked for; `future` resolves with what it yields."""

    __slots__ = ("future",)

    future: "asyncio.Future[Any]"

    def take(self, buffer: ReadBuffer) -> Any:
        """Remove from the buffer and return what was asked for, or return None if it is not all there yet.

        :raises UnsatisfiableReadError: it can never be.
        """
        raise NotImplementedError

    def take_at_end(self, buffer: ReadBuffer) -> Any:
        """Return what the read yields when no more bytes will come, or None if it fails then."""
        return None

    def give_back(self, buffer: ReadBuffer) -> None:
        """Put back what was taken for a read that will not be finished."""


class ReadBytes(Read):
    """A number of bytes; with `partial` any number from 1 to that."""

    __slots__ = ("_partial", "_size")

    def __init__(self, size: int, partial: bool) -> None:
        self._size = size
        self._partial = partial

    def take(self, buffer: ReadBuffer) -> bytes | None:
        if len(buffer) >= self._size or (self._partial and len(buffer)):
            return buffer.take(self._size)
        return None


class ReadInto(Read):
    """As many bytes as the caller's own buffer holds; with `partial` at least one.  Yields their number."""

    __slots__ = ("_filled", "_partial", "_target")

    def __init__(self, target: memoryview, partial: bool) -> None:
        self._target = target
        self._partial = partial
        self._filled = 0

    def take(self, buffer: ReadBuffer) -> int | None:
        self._filled += buffer.take_into(self._target[self._filled :])
        if self._filled == len(self._target) or (self._partial and self._filled):
            return self._filled
        return None

    def give_back(self, buffer: ReadBuffer) -> None:
        buffer.prepend(self._target[: self._filled])
        self._filled = 0


class _Bounded(Read):
    """A read whose end is searched for, within `max_bytes` if given."""

    __slots__ = ("_max_bytes",)

    def __init__(self, max_bytes: int | None) -> None:
        self._max_bytes = max_bytes

    def check(self, what: str, sought: bytes, size: int) -> None:
        if self._max_bytes is not None and size > self._max_bytes:
            raise UnsatisfiableReadError(f"{what} {sought!r} not found within {self._max_bytes} bytes")


class ReadUntil(_Bounded):
    """Everything up to and including a delimiter."""

    __slots__ = ("_delimiter", "_searched")

    def __init__(self, delimiter: bytes, max_bytes: int | None) -> None:
        super().__init__(max_bytes)
        self._delimiter = delimiter
        #: No delimiter begins before this offset: what was searched once is not searched again.
        self._searched = 0

    def take(self, buffer: ReadBuffer) -> bytes | None:
        delimiter = self._delimiter
        at = buffer.find(delimiter, self._searched)
        if at >= 0:
            self.check("delimiter", delimiter, at + len(delimiter))
            return buffer.take(at + len(delimiter))
        self.check("delimiter", delimiter, len(buffer))
        self._searched = max(0, len(buffer) - len(delimiter) + 1)
        return None


class ReadUntilRegex(_Bounded):
    """Everything up to the end of the first match.

    Where a match may begin is the pattern's secret, so every arrival is searched from the start; `max_bytes`
    bounds the work.
    """

    __slots__ = ("_pattern",)

    def __init__(self, pattern: "re.Pattern[bytes]", max_bytes: int | None) -> None:
        super().__init__(max_bytes)
        self._pattern = pattern

    def take(self, buffer: ReadBuffer) -> bytes | None:
        end = buffer.search(self._pattern)
        if end >= 0:
            self.check("regex", self._pattern.pattern, end)
            return buffer.take(end)
        self.check("regex", self._pattern.pattern, len(buffer))
        return None


class ReadUntilClose(Read):
    """Everything until no more comes."""

    __slots__ = ()

    def take(self, buffer: ReadBuffer) -> None:
        return None

    def take_at_end(self, buffer: ReadBuffer) -> bytes:
        return buffer.take(len(buffer))
