"""Whole bodies, a big one in a file: what gathers a request's body for those who want all of it; no parsing enters."""

import io
import tempfile
import threading
from typing import IO, Any, BinaryIO

from webfw.httputil import HTTPServerRequest

__all__ = ["BodyCollector"]


class BodyCollector:
    """Gathers the body of a request: a small one in memory, a big one in a temporary file without a name.

    :param limit_in_memory: bytes up to which the body stays in memory.

    Feed it with `add`, then `finish` gives the body to the request.  `close` it when the request is done;
    one that is forgotten closes itself.
    """

    __slots__ = ("_file", "_lock", "_memory", "limit_in_memory", "size")

    def __init__(self, limit_in_memory: int = 512 * 1024) -> None:
        self.limit_in_memory = limit_in_memory
        #: Bytes gathered so far.
        self.size = 0
        # One piece stays as it came; more are joined as they come: kept apart, a body in pieces of one byte would cost
        # forty times its size.
        self._memory: bytes | bytearray = b""
        self._file: IO[bytes] | None = None
        self._lock: threading.Lock | None = None

    def add(self, chunk: bytes) -> None:
        """Take a piece of the body.

        :raises OSError: when the temporary file cannot be written; the collector is closed then.
        """
        self.size += len(chunk)
        if self._file is None:
            if self.size <= self.limit_in_memory:
                if type(self._memory) is bytearray:
                    self._memory += chunk
                elif self._memory:
                    self._memory = bytearray(self._memory)
                    self._memory += chunk
                else:
                    self._memory = chunk
                return
            self._file = tempfile.TemporaryFile(prefix="webfw-body-")  # noqa: SIM115  # closed by close()
            self._lock = threading.Lock()
            chunk, self._memory = bytes(self._memory + chunk), b""
        try:
            self._file.write(chunk)
        except OSError:
            self.close()
            raise

    def finish(self, request: HTTPServerRequest) -> None:
        """Give the body to its request: as ``body``, or as the source it reads from when somebody asks."""
        if self._file is None:
            memory, self._memory = self._memory, b""
            request.body = bytes(memory)
        else:
            self._file.flush()
            request._set_body_source(self)

    @property
    def in_memory(self) -> bool:
        """Whether no file was needed."""
        return self._file is None

    def read(self) -> bytes:
        """Return the whole body.

        :raises ValueError: after `close`, for a body that was in a file.
        """
        if self._file is None:
            return bytes(self._memory)
        return self._read_at(0, self.size)

    def open(self) -> BinaryIO:
        """Return a file to read the body from; each has a position of its own, and threads may use them."""
        if self._file is None:
            return io.BytesIO(self._memory)
        return io.BufferedReader(_BodyReader(self), 64 * 1024)

    def close(self) -> None:
        """Forget the body and give its file back; may be called again."""
        self._memory = b""
        if self._file is not None:
            self._file.close()

    def __del__(self) -> None:
        # The interpreter would warn of a file that nobody closed.
        file = getattr(self, "_file", None)
        if file is not None:
            file.close()

    def _read_at(self, offset: int, count: int) -> bytes:
        assert self._file is not None
        assert self._lock is not None
        with self._lock:
            self._file.seek(offset)
            return self._file.read(count)


class _BodyReader(io.RawIOBase):
    """A reader with its own position in the file of a `BodyCollector`, which it keeps alive."""

    def __init__(self, body: BodyCollector) -> None:
        self._body = body
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._body._read_at(self._position, len(buffer))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._body.size}[whence]
        if origin + offset < 0:
            raise ValueError(f"negative position {origin + offset} in a body")
        self._position = origin + offset
        return self._position

    def tell(self) -> int:
        return self._position
