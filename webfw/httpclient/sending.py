"""A request's body that a program produces bit by bit; what comes back may not enter."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Any

from webfw.escape import utf8
from webfw.httpclient.connection import Connection
from webfw.httputil import HTTPOutputError
from webfw.iostream import StreamClosedError
from webfw.sansio.http1 import encode_chunk, encode_last_chunk

__all__ = ["Sender"]


class Sender:
    """Runs a ``body_producer`` and writes what it gives.

    :param connection: where to; its head has been sent.
    :param producer: called with a function ``write(chunk)``.
    :param length: how many bytes were promised; None sends chunks (RFC 9112 section 7.1).
    :param failed: called with what the producer has raised.
    """

    __slots__ = ("_connection", "_failed", "_left", "_task", "_waiters")

    def __init__(
        self,
        connection: Connection,
        producer: Callable[[Callable[[bytes], Any]], Awaitable[None]],
        length: int | None,
        context: Context,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._connection: Connection | None = connection
        self._left = length
        self._failed = failed
        self._waiters: list[asyncio.Future[None]] = []
        loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._task = loop.create_task(self._run(producer), context=context)

    def write(self, chunk: str | bytes) -> "asyncio.Future[None]":
        """Write a bit of the body; the future is done when there is room for more.

        :raises StreamClosedError: by the future: the connection is closed.
        :raises HTTPOutputError: by the future: that is more than the request's Content-Length says.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        data: bytes = utf8(chunk)
        connection = self._connection
        if connection is None or connection.wire.closing:
            future.set_exception(StreamClosedError())
        elif self._left is not None and len(data) > self._left:
            future.set_exception(HTTPOutputError("body_producer has written more than its Content-Length"))
        else:
            if self._left is None:
                data = encode_chunk(data)
            else:
                self._left -= len(data)
            if data:
                connection.wire.write(data)
            if connection.wire.write_paused:
                self._waiters.append(future)
            else:
                future.set_result(None)
            return future
        # The error is also what ends the request, where the program does not look at it.
        error = future.exception()
        if isinstance(error, HTTPOutputError):
            self._end(error)
        return future

    def resume(self) -> None:
        """There is room for more."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def stop(self) -> None:
        """Have the producer end: the request is over."""
        self._connection = None
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
        for waiter in self._waiters:
            waiter.cancel()
        self._waiters = []

    async def _run(self, producer: Callable[[Callable[[bytes], Any]], Awaitable[None]]) -> None:
        # A border: the producer is the program's.
        try:
            result = producer(self.write)
            if inspect.isawaitable(result):
                await result
            if self._left:
                raise HTTPOutputError(
                    f"body_producer has written {self._left} bytes less than its Content-Length"
                )
        except BaseException as error:
            self._end(error)
            if not isinstance(error, Exception):
                raise
            return
        self._task = None
        connection, self._connection = self._connection, None
        if connection is not None:
            if self._left is None:
                connection.wire.write(encode_last_chunk())
            connection.sending = False

    def _end(self, error: BaseException) -> None:
        if self._connection is not None:  # else it has been stopped
            self._connection = None
            self._failed(error)
