"""One pub/sub connection to Redis, as long as it holds: subscribing, pings, what is pushed; no reconnecting here."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Container, Sequence
from typing import Any

from webfw.log import app_log

__all__ = ["Pushes", "end", "heeding"]

#: Channel names in one command after an outage.
CHUNK = 500

#: Seconds that closing something of the client's may take.
GOODBYE = 1.0


class Pushes:
    """A connection on which Redis pushes what is published.

    :param pubsub: redis-py's ``PubSub``, not connected yet.
    :param own: a name of our own, without which nothing could be read.
    :param timeout: seconds to wait for an answer before the connection is given up.
    :param errors: what redis-py raises when it has failed.
    :param pushed: called with the name and the data of what is pushed.

    :ivar failed: done, with the reason, when it does not hold any more.
    """

    __slots__ = (
        "_asked",
        "_errors",
        "_own",
        "_pubsub",
        "_pushed",
        "_reader",
        "_timeout",
        "_writing",
        "failed",
    )

    def __init__(
        self,
        pubsub: Any,
        own: bytes,
        *,
        timeout: float,
        errors: tuple[type[Exception], ...],
        pushed: Callable[[bytes, bytes], None],
    ) -> None:
        self._pubsub = pubsub
        self._own = own
        self._timeout = timeout
        self._errors = errors
        self._pushed = pushed
        self._writing = asyncio.Lock()
        #: Those who wait for the answers to pings, which come in turn.
        self._asked: deque[asyncio.Future[None]] = deque()
        self._reader: asyncio.Task[None] | None = None
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def open(self, names: Sequence[bytes]) -> None:
        """Connect and subscribe to these, and to a name of our own, without which nothing could be read."""
        await self._pubsub.subscribe(self._own)
        self._reader = asyncio.get_running_loop().create_task(self._read())
        for start in range(0, len(names), CHUNK):
            await self._write(self._pubsub.subscribe, names[start : start + CHUNK])
        await self.settled()

    async def subscribe(self, name: bytes) -> None:
        """Subscribe, and wait until the server has done it."""
        await self._write(self._pubsub.subscribe, [name])
        await self.settled()

    async def unsubscribe(self, name: bytes, unless: Container[bytes]) -> None:
        """Unsubscribe, unless it is among these by then."""
        await self._write(self._pubsub.unsubscribe, [name], unless)

    async def settled(self) -> None:
        """Wait until the server has done all that it was told before."""
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await self._write(self._pubsub.ping, [], answer=answer)
        await asyncio.wait([answer, self.failed], timeout=self._timeout, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            self.fail(TimeoutError("no answer"))
            self.failed.result()

    async def _write(
        self,
        command: Any,
        names: Sequence[bytes],
        unless: Container[bytes] = frozenset(),
        answer: "asyncio.Future[None] | None" = None,
    ) -> None:
        try:
            async with asyncio.timeout(self._timeout), self._writing:
                if self.failed.done():
                    self.failed.result()
                if names and names[0] in unless:  # somebody has come back to it while this waited
                    return
                if answer is not None:
                    self._asked.append(answer)
                await heeding(command(*names))
        except self._errors as error:
            self.fail(error)
            raise

    def fail(self, error: Exception) -> None:
        if not self.failed.done():
            self.failed.set_exception(error)
            self.failed.exception()  # whoever cares, looks; nobody need

    async def _read(self) -> None:
        get = self._pubsub.get_message
        pushed = self._pushed
        try:
            # When writing has failed, the client would connect again behind our back; and a cancellation can get lost
            # on its way through it.
            while not self.failed.done():
                message = await get(timeout=None)
                if message is None:
                    continue
                if message["type"] == "message":
                    pushed(message["channel"], message["data"])
                elif message["type"] == "pong":
                    answer = self._asked.popleft()
                    if not answer.done():
                        answer.set_result(None)
        except self._errors as error:
            self.fail(error)
        except Exception as error:
            # Border: whatever the client raises, nothing is read any more, and that must be known.
            app_log.error("Uncaught exception while reading from Redis", exc_info=True)
            self.fail(ConnectionError(str(error)))

    async def last(self) -> None:
        """Wait until it fails; a server that is silent must at least answer pings.

        :raises RedisError, OSError: how it has failed.
        """
        while True:
            await asyncio.wait([self.failed], timeout=self._timeout / 2)
            await self.settled()

    async def close(self) -> None:
        self.fail(ConnectionError("the connection was lost"))
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        await end(self._pubsub, self._errors)


async def heeding(call: Awaitable[Any]) -> Any:
    """Await something of the client's; a cancellation can get lost on its way through it, and is made up for."""
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    result = await call
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError
    return result


async def end(what: Any, errors: tuple[type[Exception], ...]) -> None:
    """Close something of the client's, whose other end may have stopped answering."""
    try:
        async with asyncio.timeout(GOODBYE):
            await what.aclose()
    except errors:
        pass
