"""Every limit and deadline of an HTTP server, in one frozen record; no behaviour may enter."""

from dataclasses import dataclass, field

from webfw.sansio.http1 import HeadLimits

__all__ = ["Limits"]

_NEVER_OFF = frozenset({"chunk_size", "body_grace", "write_grace"})


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may cost.  Sizes are bytes, times seconds; a time of 0 switches that deadline off.

    The deadlines are swept about once a second, so they hold to within a second (closer when one is shorter than
    four seconds).
    """

    #: How large a request head may be, in bytes and fields.
    head: HeadLimits = field(default_factory=lambda: HeadLimits(max_target=32 * 1024))
    #: The largest request body, after decoding; more is answered 413.
    max_body_size: int = 100 * 1024 * 1024
    #: The most that one call of a streaming consumer gets.
    chunk_size: int = 64 * 1024
    #: Bytes of further requests kept while one is being answered; above it, reading pauses.
    read_ahead: int = 64 * 1024
    #: From accept, or from the first byte of a request, to the end of its head; then 408.
    header_timeout: float = 10.0
    #: Between the end of one answer and the first byte of the next request; then the connection is closed.
    idle_timeout: float = 75.0
    #: For a whole request body; off by default, since `min_body_rate` holds for any size.
    body_timeout: float = 0.0
    #: Bytes a second that a body must bring, on average over every `body_grace` seconds; else 408.  0 switches it off.
    #: What arrived earlier does not count: a client cannot rest on a fast beginning.
    min_body_rate: int = 240
    #: How long a body may be slower than `min_body_rate`; more than 0.
    body_grace: float = 20.0
    #: How long a client may take no byte of an answer that waits for it; then the connection is cut.
    write_timeout: float = 60.0
    #: Bytes a second of an answer that a client must take while it lets some of it wait, on average over every
    #: `write_grace` seconds; then the connection is cut.  0 switches it off.  Only where TCP tells what is acknowledged
    #: (Linux).
    min_write_rate: int = 240
    #: How long a client may be slower than `min_write_rate`; more than 0.
    write_grace: float = 60.0
    #: For the TLS handshake, from accept.
    tls_handshake_timeout: float = 10.0
    #: Connections at once, those with a TLS handshake under way and WebSockets included; more are answered 503, or with
    #: TLS closed.  None: by the limit on open files, with some left for other purposes.  0 for any number.
    max_connections: int | None = None
    #: Connections at once from one IPv4 address, or from one IPv6 network of 64 bits.  0 for any number.
    max_connections_per_address: int = 0
    #: After an early error answer: how long the rest of the request is read and dropped, so that the answer arrives.
    linger_timeout: float = 2.0
    #: How many bytes are dropped in that way at most, and how many of an unwanted body to keep the connection.
    linger_size: int = 1024 * 1024

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if name == "head" or (name == "max_connections" and value is None):
                continue
            if not value >= (name in _NEVER_OFF):
                raise ValueError(f"{name} must not be {value!r}")

    def shortest(self) -> float:
        """The shortest deadline that is on: how often the sweep must look."""
        times = (
            self.header_timeout,
            self.idle_timeout,
            self.body_timeout,
            self.body_grace if self.min_body_rate else 0.0,
            self.write_timeout,
            self.write_grace if self.min_write_rate else 0.0,
            self.linger_timeout,
        )
        return min((t for t in times if t > 0), default=60.0)
