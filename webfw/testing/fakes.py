"""Fakes of the outside world: a wire made of byte strings, a clock that moves when told; no network may enter."""

from typing import Any

from webfw.iostream.wire import Consumer

__all__ = ["FakeClock", "FakeWire"]


class FakeClock:
    """A clock for what asks the time: call it for the time in seconds, `advance` it to let time pass."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass; it never goes back."""
        if seconds < 0:
            raise ValueError("time does not go back")
        self.now += seconds


class FakeWire:
    """The same interface as `webfw.iostream.Wire`, without a network.

    ``feed`` gives bytes to the consumer, ``sent`` collects what it writes, ``writes`` each write apart.

    :param capacity: bytes the pretended kernel takes; what is written beyond waits in the buffer, and writing is
        paused until `drain`.  None: everything is taken at once.
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
        """Everything written so far."""
        return b"".join(self.writes)

    def take(self) -> bytes:
        """Everything written since the last take."""
        sent = self.sent
        self.writes.clear()
        return sent

    def feed(self, data: bytes) -> None:
        """Let bytes arrive."""
        assert self.consumer is not None
        if data and not self.closing:
            self.consumer.data_received(data)

    def feed_eof(self) -> None:
        """Let the peer close its sending side."""
        assert self.consumer is not None
        self.eof = True
        if not self.closing and not self.consumer.eof_received():
            self.close()

    def lose(self, exc: Exception | None = None) -> None:
        """Let the connection break."""
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
        if self.closing or self.eof_sent:
            return
        self.writes.append(bytes(data))
        if self._capacity is not None:
            self._buffered += len(data)
            if self._buffered > self._capacity:
                self.write_paused = True

    def write_eof(self) -> None:
        if self._extra.get("sslcontext") is None:  # TLS cannot
            self.eof_sent = True

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = self.aborted = True

    def closed(self) -> bool:
        return self.closing or self.eof

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    @property
    def socket(self) -> Any:
        return self._extra.get("socket")

    @property
    def write_buffer_size(self) -> int:
        return self._buffered if self.write_paused else 0

    def taken(self) -> int:
        return -self._buffered

    def set_nodelay(self, value: bool) -> None:
        self.nodelay = value

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._extra.get(name, default)
