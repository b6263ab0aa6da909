"""Between a thread that produces a response and a client that takes it: bounded memory, then a file; no WSGI enters."""

import asyncio
import tempfile
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import IO, Any

from webfw.httpserver import DONE, Exchange

__all__ = ["ClientDisconnected", "Outlet"]

#: Bytes of one response kept in memory; what comes beyond goes to a temporary file.
MEMORY = 256 * 1024
#: Bytes written to the client before the loop gets its turn.
BURST = 1024 * 1024
#: Bytes read from the file at once, and written to it: the loop waits for the lock that long, and no longer.
PIECE = 64 * 1024
#: Seconds in all that a thread waits for a quick client to make room in memory, before the rest goes to a file.
PATIENCE = 0.05
#: Seconds after which a thread that waits for its client looks whether there still is a loop.
LOOK_AROUND = 5.0


class ClientDisconnected(ConnectionError):
    """The client has gone while its response was made."""


class Outlet:
    """The way of one response's body from a thread to its client.

    :param exchange: where it goes; used on the loop only.
    :param post: has the loop call something soon, from any thread; something false says that there is no loop any more.
    :param ended: called on the loop when everything has been written, with None, or with why that failed.
    :param ceiling: bytes that may wait for the client, in memory and file together; then `put` waits, unless it is
        called on the loop itself.
    """

    __slots__ = (
        "_ceiling",
        "_chunks",
        "_closed",
        "_complete",
        "_ended",
        "_exchange",
        "_file",
        "_full",
        "_lock",
        "_moved",
        "_patience",
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
        post: Callable[[Callable[[], None]], object],
        ended: Callable[[BaseException | None], None],
        ceiling: int,
    ) -> None:
        self._exchange = exchange
        self._post = post
        self._ended: Callable[[BaseException | None], None] | None = ended
        self._ceiling = ceiling
        self._lock = threading.Condition(threading.Lock())
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._file: IO[bytes] | None = None
        self._written = self._read = 0  # positions in the file
        self._complete = self._closed = False
        #: Whether the loop knows that there is something to do.
        self._woken = False
        #: Whether the client must take something first; only the loop asks.
        self._waiting = False
        #: Whether the thread waits for the client, and whether it has put something since it was last asked.
        self._full = self._moved = False
        self._patience = PATIENCE

    # In the thread.

    def put(self, chunk: bytes) -> None:
        """Send a piece; waits where the client is far behind.

        :raises ClientDisconnected: nobody takes it any more, be it for a disk that is full.
        """
        self._moved = True
        with self._lock:
            if self._closed:
                raise ClientDisconnected("the client has gone")
            fits = self._file is None and self._size + len(chunk) <= MEMORY
            if fits:
                self._keep(chunk)
        if fits:
            self._wake()
        else:
            self._put_in_bits(chunk)
        if self._is_over():
            self._wait()

    def _keep(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self._size += len(chunk)

    def _put_in_bits(self, chunk: bytes) -> None:
        """Put a piece bit by bit: into memory as the client makes room there, or else to the file.

        In neither case must the loop wait for the whole of it.
        """
        view = memoryview(chunk)
        try:
            for begin in range(0, len(view), PIECE):
                piece = view[begin : begin + PIECE]
                with self._lock:
                    fits = self._has_room(len(piece))
                    if self._closed:
                        raise ClientDisconnected("the client has gone")
                    if fits:
                        self._keep(bytes(piece))
                    else:
                        self._write(piece)
                self._wake()
        except OSError as error:
            if isinstance(error, ClientDisconnected):
                raise
            self._post(partial(self._end, error))
            raise ClientDisconnected("the response cannot be kept") from error

    def _has_room(self, size: int) -> bool:
        """Whether there is room in memory; a client that is quick enough has a moment to make some."""
        if self._file is not None:
            return False
        if self._size + size <= MEMORY:
            return True
        if self._patience <= 0 or asyncio._get_running_loop() is not None:
            return False
        begun = monotonic()
        room = self._lock.wait_for(lambda: self._closed or self._size <= MEMORY // 2, self._patience)
        self._patience -= monotonic() - begun
        return room

    def _write(self, piece: memoryview) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="webfw-response-", buffering=0)  # noqa: SIM115  # see close()
        while piece:
            self._file.seek(self._written)
            count = self._file.write(piece)
            self._written += count
            piece = piece[count:]

    def _wake(self) -> None:
        with self._lock:
            woken, self._woken = self._woken, True
        if not woken and not self._post(self._pump):
            self.close()

    def _is_over(self) -> bool:
        return self._size + self._written - self._read > self._ceiling

    def _wait(self) -> None:
        """Wait until the client has taken enough."""
        if asyncio._get_running_loop() is not None:
            return  # this is the loop, which has to write it
        self._full = True
        with self._lock:
            while not self._lock.wait_for(lambda: self._closed or not self._is_over(), LOOK_AROUND):
                if not self._post(self._pump):
                    self._closed = True
        self._full = False
        if self._closed:
            raise ClientDisconnected("the client has gone")

    def complete(self) -> None:
        """Nothing more will be put."""
        with self._lock:
            self._complete = True
        self._wake()

    # On the loop.

    def has_moved(self) -> bool:
        """Whether something has been put since this was last asked, or the thread waits for the client."""
        moved, self._moved = self._moved, False
        return moved or self._full

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
            # Who waits for room is woken when there is much of it, not for every piece.
            if not self._is_over() and (self._size <= MEMORY // 2 or self._file is not None):
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
