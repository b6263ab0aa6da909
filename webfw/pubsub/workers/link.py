"""One connection of a worker to its hub: requests in order, messages as they come; no reconnecting may enter."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from webfw.iostream.wire import Wire
from webfw.log import gen_log
from webfw.pubsub.broker import BrokerError, BrokerUnavailable
from webfw.pubsub.messages import Message, decode
from webfw.pubsub.workers import frames
from webfw.pubsub.workers.frames import FrameReader, frame, pack_name
from webfw.sansio.errors import RemoteProtocolError

__all__ = ["Follow", "Link"]

#: Bytes of requests that may wait for an answer.
MAX_WAITING = 64 * 1024 * 1024

#: What a request costs beyond its bytes.
OVERHEAD = 200


class Follow:
    """A channel that is followed over a link.

    :ivar held: what has arrived while what was missed is still being looked up; None when it is passed on at once.
    """

    __slots__ = ("held", "name")

    def __init__(self, name: str, held: list[Message] | None = None) -> None:
        self.name = name
        self.held = held


class Link:
    """A connection to a hub, the consumer of its wire.

    :param url: for texts.
    :param timeout: seconds of silence after which a hub that owes an answer is given up.
    :param arrived: called with each message of the channels that are followed.
    :param lost: called once with this link when it is gone.

    :ivar greeted: done when the hub has said hello.
    :ivar epoch: of the hub, as ids have it.
    :ivar told: for each channel, the members the hub has been told.
    """

    __slots__ = (
        "_arrived",
        "_heard",
        "_loop",
        "_lost",
        "_out",
        "_pending",
        "_reader",
        "_timeout",
        "_url",
        "_waiting",
        "_watch",
        "_why",
        "closed",
        "epoch",
        "follows",
        "greeted",
        "told",
        "wire",
    )

    def __init__(
        self,
        wire: Wire,
        url: str,
        timeout: float,
        arrived: Callable[[Message], None],
        lost: "Callable[[Link], None]",
    ) -> None:
        self.wire = wire
        self.closed = False
        self.epoch = ""
        self.follows: dict[bytes, Follow] = {}
        self.told: dict[str, dict[str, int]] = {}
        self._loop = wire.loop
        self.greeted: asyncio.Future[None] = self._loop.create_future()
        self._url = url
        self._timeout = timeout
        self._arrived = arrived
        self._lost = lost
        self._reader = FrameReader()
        self._out: list[bytes] = []
        #: Of each request that is not answered yet: what will be told, the answer it gets, its cost, what it follows.
        self._pending: deque[tuple[asyncio.Future[Any], int, int, Follow | None]] = deque()
        self._waiting = 0
        self._heard = False
        self._watch: asyncio.TimerHandle | None = None
        self._why = "the connection was lost"

    # To the hub.

    def hello(self, size: int, age: float) -> None:
        """Say hello, with the limits of the histories of what is published here."""
        body = frames.HELLO_TO_HUB.pack(frames.MAGIC, frames.VERSION, min(size, 2**32 - 1), age)
        self._send(frame(frames.HELLO, body))

    def publish(self, name: str, data: bytes) -> "asyncio.Future[str]":
        """Publish; the result is the message's id."""
        packed = pack_name(name)
        size = len(packed) + len(data)
        head = frames.HEAD.pack(size + 1, frames.PUBLISH)
        return self._ask(b"".join((head, packed, data)), frames.ACKS)

    def follow(self, follow: Follow) -> "asyncio.Future[str]":
        """Follow a channel; the result is the position from which on its messages come."""
        return self._ask(frame(frames.FOLLOW, pack_name(follow.name)), frames.FOLLOWED, follow)

    def unfollow(self, name: str) -> None:
        """Follow no more; a request to follow that is under way is overtaken by this."""
        packed = pack_name(name)
        self.follows.pop(packed[1:], None)
        if not self.closed:
            self._send(frame(frames.UNFOLLOW, packed))

    def request(self, kind: int, body: bytes, answer: int) -> "asyncio.Future[bytes]":
        """Ask; the result is the body of the answer."""
        return self._ask(frame(kind, body), answer)

    def _ask(self, made: bytes, answer: int, follow: Follow | None = None) -> "asyncio.Future[Any]":
        if self.closed:
            raise BrokerUnavailable(f"{self._url}: {self._why}")
        cost = len(made) + OVERHEAD
        if self._waiting + cost > MAX_WAITING:
            raise BrokerUnavailable(f"{self._url}: {self._waiting} bytes wait for the hub, which is too slow")
        self._waiting += cost
        future: asyncio.Future[Any] = self._loop.create_future()
        self._pending.append((future, answer, cost, follow))
        if self._watch is None:
            self._heard = False
            self._watch = self._loop.call_later(self._timeout, self._check)
        self._send(made)
        return future

    def _send(self, made: bytes) -> None:
        """Have a frame sent with all others of this turn of the loop."""
        out = self._out
        if not out:
            self._loop.call_soon(self._flush)
        out.append(made)

    def _flush(self) -> None:
        out, self._out = self._out, []
        self.wire.write(out[0] if len(out) == 1 else b"".join(out))

    def _check(self) -> None:
        """Give a hub up that owes an answer and has sent nothing at all since the last look."""
        self._watch = None
        if self._pending:
            if not self._heard:
                self.abort(f"the hub has been silent for {self._timeout:g} s")
            else:
                self._heard = False
                self._watch = self._loop.call_later(self._timeout, self._check)

    def close(self) -> None:
        """Send what is to be sent, and hang up."""
        if self._out:
            self._flush()
        self._why = "this broker has been closed"
        self.wire.close()

    def abort(self, why: str) -> None:
        """Hang up at once."""
        self._why = why
        self.wire.abort()

    # From the hub.

    def data_received(self, data: bytes) -> None:
        self._heard = True
        try:
            for kind, body in self._reader.feed(data):
                if kind == frames.MESSAGE:
                    self._message(body)
                elif kind == frames.ACKS:
                    self._acknowledged(body)
                elif kind == frames.HELLO:
                    self._hello(body)
                else:
                    self._answered(kind, body)
        except RemoteProtocolError as error:
            gen_log.error("%s: the hub sent %s", self._url, error)
            self.abort(f"the hub sent {error}")

    def _message(self, body: bytes) -> None:
        start = 9 + body[8] if len(body) > 8 else 0
        follow = self.follows.get(body[9:start])
        if follow is None:  # under way when we stopped following
            return
        message = self.message(follow.name, body, start)
        if message is None:
            return
        if follow.held is None:
            self._arrived(message)
        else:
            follow.held.append(message)

    def message(self, name: str, body: bytes, start: int) -> Message | None:
        """The message in a frame's body, of whose data it is known where it begins; None when it has none of ours."""
        try:
            data = decode(body[start:])
        except ValueError as error:
            gen_log.error("%s: a message in %s cannot be read: %s", self._url, name, error)
            return None
        return Message(name, f"{self.epoch}-{int.from_bytes(body[:8])}", data)

    def _acknowledged(self, body: bytes) -> None:
        if len(body) != frames.ACKS_BODY.size:
            raise RemoteProtocolError("half an acknowledgement")
        count, number = frames.ACKS_BODY.unpack(body)
        number -= count
        if count > len(self._pending):
            raise RemoteProtocolError("acknowledgements of nothing")
        pending = self._pending
        for _ in range(count):
            number += 1
            future, answer, cost, _follow = pending[0]
            if answer != frames.ACKS:
                raise RemoteProtocolError("an acknowledgement in place of an answer")
            pending.popleft()
            self._waiting -= cost
            if not future.done():
                future.set_result(f"{self.epoch}-{number}")

    def _hello(self, body: bytes) -> None:
        if len(body) < frames.HELLO_START.size or self.greeted.done():
            raise RemoteProtocolError("no hello")
        magic, version = frames.HELLO_START.unpack_from(body)
        if magic != frames.MAGIC:
            raise RemoteProtocolError("the hello of something else")
        if version != frames.VERSION:
            self.greeted.set_exception(
                BrokerUnavailable(
                    f"{self._url}: the hub there speaks version {version} and this webfw version {frames.VERSION}; "
                    "end it, or take another path"
                )
            )
            self.wire.close()
            return
        if len(body) != frames.HELLO_BACK.size:
            raise RemoteProtocolError("a hello of the wrong length")
        self.epoch = f"{frames.HELLO_BACK.unpack(body)[2]:08x}"
        self.greeted.set_result(None)

    def _answered(self, kind: int, body: bytes) -> None:
        if not self._pending:
            raise RemoteProtocolError("an answer to nothing")
        future, answer, cost, follow = self._pending[0]
        if kind != answer and kind != frames.FAILED:
            raise RemoteProtocolError(f"an answer of the kind {kind} in place of {answer}")
        if kind == frames.FOLLOWED and len(body) != frames.NUMBER.size:
            raise RemoteProtocolError("half a position")
        # What is raised above leaves it among those that end with the connection.
        self._pending.popleft()
        self._waiting -= cost
        if future.done():  # whoever asked has been cancelled
            return
        if kind == frames.FAILED:
            future.set_exception(BrokerError(f"{self._url}: {body.decode(errors='replace')}"))
        elif follow is None:
            future.set_result(body)
        else:
            # Before what comes next, which may be in the same piece of bytes.
            self.follows[follow.name.encode()] = follow
            future.set_result(f"{self.epoch}-{int.from_bytes(body)}")

    def eof_received(self) -> bool:
        return False

    def resume_writing(self) -> None:
        pass

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if self._watch is not None:
            self._watch.cancel()
        if not self.greeted.done():
            self.greeted.set_exception(ConnectionResetError(self._why))
            self.greeted.exception()  # seen, even if nobody waits for it any more
        pending, self._pending = self._pending, deque()
        for future, _answer, _cost, _follow in pending:
            if not future.done():
                future.set_exception(BrokerUnavailable(f"{self._url}: {self._why}"))
        self._lost(self)
