"""A response's body on its way to the program: gathered or handed on in pieces, decompressed; no framing may enter."""

import asyncio
import inspect
import io
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextvars import Context
from typing import Any

from webfw.httputil import HTTPHeaders
from webfw.sansio.decompress import Decoder, decoder_for
from webfw.sansio.errors import RemoteProtocolError

__all__ = ["Gathered", "Streamed", "undo_coding"]


def undo_coding(headers: HTTPHeaders, max_size: int) -> Decoder | None:
    """Find what undoes the content coding of a response, and change its fields to what the program will see.

    What this does not know is left to the program.  The name of what was undone is kept as
    ``X-Consumed-Content-Encoding``.

    :param max_size: bytes the body may unpack to.
    """
    coding = headers.get("Content-Encoding")
    if coding is None or coding.lower() == "identity":
        return None
    try:
        decoder = decoder_for(coding, max_size)
    except RemoteProtocolError:
        return None
    del headers["Content-Encoding"]
    headers["X-Consumed-Content-Encoding"] = coding
    return decoder


class Gathered:
    """Keeps the whole body.

    :param max_size: bytes it may have.
    """

    __slots__ = ("_buffer", "_decoder", "_left")

    def __init__(self, decoder: Decoder | None, max_size: int) -> None:
        self._buffer = io.BytesIO()
        self._decoder = decoder
        self._left = max_size

    def take(self, data: bytes) -> bool:
        """Take a piece, and say that more may come.

        :raises RemoteProtocolError: it is not what the coding says, or too large.
        """
        if self._decoder is not None:
            for piece in self._decoder.slices(data):
                self._buffer.write(piece)
            return True
        self._left -= len(data)
        if self._left < 0:
            raise RemoteProtocolError("body is too large", 413)
        self._buffer.write(data)
        return True

    def finish(self) -> io.BytesIO | None:
        """The body has ended.

        :raises RemoteProtocolError: it is cut short.
        """
        if self._decoder is not None:
            self._decoder.finish()
        self._buffer.seek(0)
        return self._buffer

    def stop(self) -> None:
        """The request is over."""


class Streamed:
    """Gives the pieces to a ``streaming_callback``, and waits while that does.

    :param callback: may return an awaitable.
    :param context: in which it is called.
    :param resume: called when it is ready for more, after `take` has returned False.
    :param failed: called with what it has raised, after `take` has returned False.
    """

    __slots__ = (
        "_callback",
        "_context",
        "_decoder",
        "_failed",
        "_left",
        "_over",
        "_resume",
        "_task",
        "_waiting",
    )

    def __init__(
        self,
        decoder: Decoder | None,
        max_size: int,
        callback: Callable[[bytes], Awaitable[None] | None],
        context: Context,
        resume: Callable[[], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._decoder = decoder
        self._left = max_size
        self._callback = callback
        self._context = context
        self._resume = resume
        self._failed = failed
        self._waiting: Awaitable[Any] | None = None
        self._task: asyncio.Task[None] | None = None
        self._over = False

    def take(self, data: bytes) -> bool:
        """Take a piece; False when no more must come before ``resume`` is called.

        :raises Exception: what the callback raises, and as `Gathered.take`.
        """
        pieces: Iterable[bytes] = (data,)
        if self._decoder is not None:
            pieces = self._decoder.slices(data)
        else:
            self._left -= len(data)
            if self._left < 0:
                raise RemoteProtocolError("body is too large", 413)
        rest = iter(pieces)
        for piece in rest:
            if self._over:  # by the callback itself
                return False
            waiting = self._context.run(self._callback, piece)
            if waiting is not None and inspect.isawaitable(waiting):
                loop = asyncio.get_running_loop()
                self._waiting = waiting
                self._task = loop.create_task(self._wait(waiting, rest), context=self._context.copy())
                return False
        return True

    async def _wait(self, waiting: Awaitable[Any], rest: Iterator[bytes]) -> None:
        self._waiting = None
        # A border: the callback is the program's.
        try:
            await waiting
            for piece in rest:
                more = self._callback(piece)
                if more is not None and inspect.isawaitable(more):
                    await more
        except BaseException as error:
            if self._task is not None:
                self._task = None
                self._failed(error)
            if not isinstance(error, Exception):
                raise
            return
        if self._task is not None:
            self._task = None
            # Not from here: what comes next is none of this task's.
            asyncio.get_running_loop().call_soon(self._resume)

    def finish(self) -> io.BytesIO | None:
        """The body has ended.

        :raises RemoteProtocolError: it is cut short.
        """
        if self._decoder is not None:
            self._decoder.finish()
        return None

    def stop(self) -> None:
        """Have the callback end: the request is over."""
        self._over = True
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
        waiting, self._waiting = self._waiting, None
        if inspect.iscoroutine(waiting):  # the task was not begun, and Python would warn of it
            waiting.close()
