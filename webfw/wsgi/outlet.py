"""Between a thread that produces a response and a client that takes it: bounded memory, then a file; no WSGI enters."""

import asyncio
import tempfile
import threading
from collections import deque
from collections.abc import Callable
from typing import IO, Any

from webfw.httpserver import DONE, Exchange

__all__ = ["ClientDisconnected", "Outlet"]

#: Bytes of one response kept in memory; what comes beyond goes to a temporary file.
MEMORY = 256 * 1024
#: Bytes written to the client before the loop gets its turn.
BURST = 1024 * 1024
#: Bytes read from the file at once.
PIECE = 64 * 1024


class ClientDisconnected(ConnectionError):
    """The client has gone while its response was made."""


class Outlet:
    """The way of one response's body from a thread to its client.

    :param exchange: where it goes; used on the loop only.
    :param post: has the loop call something soon; from any thread.
    :param ended: called on the loop when everything has been written, with None, or with why that failed.
    :param ceiling: bytes that may wait for the client, in memory and file together; then `put` waits.
    """

    __slots__ = (
        "_ceiling",
        "_chunks",
        "_closed",
        "_complete",
        "_ended",
        "_exchange",
        "_file",
        "_lock",
        "_post",
        "_read",
        "_size",
        "_waiting",
        "_woken",
        "_written",
    )

    def __init__(
        self,
        exchange: Exchange,
        post: Callable[[Callable[[], None]], None],
        ended: Callable[[BaseException | None], None],
        ceiling: int,
    ) -> None:
        self._exchange = exchange
        self._post = post
        self._ended: Callable[[BaseException | None], None] | None = ended
        self._ceiling = ceiling
        self._lock = threading.Condition()
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._file: IO[bytes] | None = None
        self._written = self._read = 0  # positions in the file
        self._complete = self._closed = False
        #: Whether the loop knows that there is something to do.
        self._woken = False
        #: Whether the client must take something first; only the loop asks.
        self._waiting = False

    # In the thread.

    def put(self, chunk: bytes) -> None:
        """Send a piece; waits where the client is far behind.

        :raises ClientDisconnected: nobody takes it any more.
        """
        with self._lock:
            if self._closed:
                raise ClientDisconnected("the client has gone")
            if self._file is not None or self._size + len(chunk) > MEMORY:
                self._spill(chunk)
            else:
                self._chunks.append(chunk)
                self._size += len(chunk)
            woken, self._woken = self._woken, True
        if not woken:
            self._post(self._pump)
        if self._size + self._written - self._read > self._ceiling:
            with self._lock:
                self._lock.wait_for(
                    lambda: self._closed or self._size + self._written - self._read <= self._ceiling
                )

    def _spill(self, chunk: bytes) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="webfw-response-")  # noqa: SIM115  # closed by close()
        self._file.seek(self._written)
        self._file.write(chunk)
        self._written += len(chunk)

    def complete(self) -> None:
        """Nothing more will be put."""
        with self._lock:
            self._complete = True
            woken, self._woken = self._woken, True
        if not woken:
            self._post(self._pump)

    # On the loop.

    def close(self) -> None:
        """Drop what waits: nobody will take it."""
        with self._lock:
            self._closed = True
            self._chunks.clear()
            self._size = 0
            self._drop_file()
            self._lock.notify_all()
        self._ended = None

    def _drop_file(self) -> None:
        file, self._file = self._file, None
        self._written = self._read = 0
        if file is not None:
            file.close()

    def _next(self) -> tuple[bytes | None, bool]:
        """A piece to write, and whether the response is complete without another one."""
        with self._lock:
            if self._closed:
                return None, False
            if self._chunks:
                chunk = self._chunks.popleft()
                self._size -= len(chunk)
            elif self._file is not None:
                self._file.seek(self._read)
                chunk = self._file.read(min(PIECE, self._written - self._read))
                self._read += len(chunk)
                if self._read == self._written:
                    self._drop_file()
            else:
                self._woken = False
                return None, self._complete
            self._lock.notify_all()
            return chunk, False

    def _pump(self) -> None:
        """Write what is there, as long as the client takes it."""
        burst = BURST
        while not self._waiting:
            try:
                chunk, complete = self._next()
                if chunk is None:
                    if complete:
                        self._end(None)
                    return
                sent: Any = self._exchange.write(chunk)
            except Exception as error:
                # Border: a full disk, or a response that does not fit its head, ends this response and nothing else.
                self._end(error)
                return
            if sent is not DONE:
                self._waiting = True
                sent.add_done_callback(self._went)
                return
            burst -= len(chunk)
            if burst < 0:
                self._post(self._pump)
                return

    def _went(self, sent: "asyncio.Future[None]") -> None:
        self._waiting = False
        if sent.cancelled() or sent.exception() is not None:
            self.close()  # the client has gone, and whoever must know is told by its connection
        else:
            self._pump()

    def _end(self, error: BaseException | None) -> None:
        ended = self._ended
        self.close()
        if ended is not None:
            ended(error)
