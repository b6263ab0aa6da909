"""Fakes of the outside world: a wire made of byte strings, a clock that moves when told; no network may enter."""

from typing import Any

from webfw.iostream.wire import Consumer

__all__ = ["FakeClock", "FakeWire"]


class FakeClock:
    """A clock for what asks the time: call it for the time in seconds, `advance` it to let time pass.

    It goes where a function such as ``time.monotonic`` goes, or ``loop.time`` of a loop that is a fake itself.

    :param now: where it begins, in seconds.
    :ivar now: the time, which may be set as well.
    """

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass.

        :param seconds: how much, 0 or more.
        :raises ValueError: it is negative: time does not go back.
        """
        if seconds < 0:
            raise ValueError("time does not go back")
        self.now += seconds


class FakeWire:
    """The interface of `webfw.iostream.Wire` without a network: bytes in, bytes out, and nothing waits.

    A protocol is the wire's ``consumer``.  The test gives it bytes (`feed`), an end (`feed_eof`, `lose`) and room
    (`drain`), and looks at what it has written (`sent`, `take`, ``writes``) and done (``closing``, ``reading`` and the
    others).  Everything happens in the call that asks for it and nothing by itself: a `close` is only noted until the
    test says `lose`.

    :param loop: what the consumer finds as ``wire.loop``, for those that look there.
    :param capacity: bytes the pretended kernel takes; what is written beyond waits in the buffer, and writing is
        paused until `drain`.  None: everything is taken at once.
    :param extra: facts for `get_extra_info`, beside the addresses ``peername`` and ``sockname``; with an ``sslcontext``
        the wire looks like one with TLS.

    :ivar consumer: the protocol; to be set before the first byte is fed.
    :ivar writes: each write that was not taken yet by `take`, apart.
    :ivar closing: whether the consumer has closed the wire, or it is lost.
    :ivar aborted: whether the consumer has aborted it.
    :ivar lost: whether the consumer has been told that it is lost.
    :ivar eof: whether the peer has closed its sending side.
    :ivar eof_sent: whether the consumer has closed ours.
    :ivar reading: False while the consumer has paused reading; `feed` does not care.
    :ivar write_paused: whether the consumer should wait before it writes more.
    :ivar nodelay: what `set_nodelay` was told last.
    :ivar transport: the wire itself, for consumers that ask the transport something.
    """

    def __init__(
        self, loop: Any = None, *, capacity: int | None = None, extra: dict[str, Any] | None = None
    ) -> None:
        self.loop = loop
        self.consumer: Consumer | None = None
        self.closing = False
        self.eof = False
        self.aborted = False
        self.lost = False
        self.reading = True
        self.eof_sent = False
        self.nodelay = True
        self.write_paused = False
        self.writes: list[bytes] = []
        self.transport = self
        self._capacity = capacity
        self._buffered = 0
        self._extra = {"peername": ("127.0.0.1", 54321), "sockname": ("127.0.0.1", 80)} | (extra or {})

    # What a test does.

    @property
    def sent(self) -> bytes:
        """Everything written since the last `take`."""
        return b"".join(self.writes)

    def take(self) -> bytes:
        """Return everything written since the last `take`."""
        sent = self.sent
        self.writes.clear()
        return sent

    def feed(self, data: bytes) -> None:
        """Let bytes arrive; none do once the consumer has closed the wire."""
        assert self.consumer is not None
        if data and not self.closing:
            self.consumer.data_received(data)

    def feed_eof(self) -> None:
        """Let the peer close its sending side; the wire closes unless the consumer wants to go on writing."""
        assert self.consumer is not None
        self.eof = True
        if not self.closing and not self.consumer.eof_received():
            self.close()

    def lose(self, exc: Exception | None = None) -> None:
        """Let the connection be gone, for the consumer to be told: of a break, or of the end of its own close.

        :param exc: why; None for an orderly end.
        """
        self.closing = True
        if not self.lost and self.consumer is not None:
            self.lost = True
            self.consumer.connection_lost(exc)

    def drain(self) -> None:
        """Let the pretended kernel take everything that waits."""
        self._buffered = 0
        if self.write_paused:
            self.write_paused = False
            assert self.consumer is not None
            self.consumer.resume_writing()

    # What the consumer does.

    def write(self, data: bytes) -> None:
        """Keep what is written; nothing more once the wire is closed."""
        if self.closing or self.eof_sent:
            return
        self.writes.append(bytes(data))
        if self._capacity is not None:
            self._buffered += len(data)
            if self._buffered > self._capacity:
                self.write_paused = True

    def write_eof(self) -> None:
        """Note that our sending side is closed; as with TLS, not where there is an ``sslcontext``."""
        if self._extra.get("sslcontext") is None:  # TLS cannot
            self.eof_sent = True

    def close(self) -> None:
        """Note that the wire is closed; `lose` is what follows on a real one."""
        self.closing = True

    def abort(self) -> None:
        """Note that the wire is aborted; `lose` is what follows on a real one."""
        self.closing = self.aborted = True

    def closed(self) -> bool:
        """Whether the connection is gone or going, or the peer has closed its side."""
        return self.closing or self.eof

    def is_closing(self) -> bool:
        """Whether the wire is closed (a transport's word for it)."""
        return self.closing

    def pause_reading(self) -> None:
        """Note that the consumer wants no more for now."""
        self.reading = False

    def resume_reading(self) -> None:
        """Note that the consumer wants more."""
        self.reading = True

    @property
    def socket(self) -> Any:
        """What ``extra`` has as ``socket``, else None."""
        return self._extra.get("socket")

    @property
    def write_buffer_size(self) -> int:
        """Bytes that the pretended kernel has not taken."""
        return self._buffered if self.write_paused else 0

    def taken(self) -> int:
        """A number that has changed when the peer has taken something."""
        return -self._buffered

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Do nothing (a transport's method): ``capacity`` says how much fits."""

    def set_nodelay(self, value: bool) -> None:
        """Note it."""
        self.nodelay = value

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Facts about the connection: the addresses, and what ``extra`` has."""
        return self._extra.get(name, default)
