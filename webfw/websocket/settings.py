"""What a WebSocket connection may cost and how long it may be silent, in one frozen record; no behaviour may enter."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["ConnectionSettings", "QueuePolicy"]

#: What happens when a peer does not take what is sent to it; see `ConnectionSettings.queue_policy`.
QueuePolicy = Literal["wait", "drop_oldest", "close"]


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """Limits and deadlines of a connection.  Sizes are bytes, times seconds; a time of 0 switches that deadline off.

    The deadlines are swept about once a second, so they hold to within a second (closer when one is shorter than
    four seconds).
    """

    #: Between two pings of ours.
    ping_interval: float = 0.0
    #: From a ping to the pong, or anything else that the peer sends; then the connection is closed (1011).  By default
    #: as long as the interval.
    ping_timeout: float | None = None
    #: The longest message the peer may send; a longer one closes the connection (1009).
    max_message_size: int = 10 * 1024 * 1024
    #: Bytes of messages kept for a peer that does not take them; above it the policy is asked.
    max_queue_size: int = 1024 * 1024
    #: ``wait``: what `write_message` returns waits until the peer has taken enough; who does not wait for it is not
    #: held back.  ``drop_oldest``: the oldest waiting messages are dropped.  ``close``: the connection is closed
    #: (1013).  What a broker delivers cannot wait: under ``wait`` the oldest of that is dropped, and the client told.
    queue_policy: QueuePolicy = "wait"
    #: From our Close to the peer's; then the connection is cut.
    close_timeout: float = 5.0
    #: How long a peer may take no byte of what waits for it; then the connection is cut.
    write_timeout: float = 60.0

    def __post_init__(self) -> None:
        for name in ("ping_interval", "max_message_size", "max_queue_size", "close_timeout", "write_timeout"):
            value = getattr(self, name)
            if not value >= 0:
                raise ValueError(f"{name} must not be {value!r}")
        if self.ping_timeout is not None and not self.ping_timeout >= 0:
            raise ValueError(f"ping_timeout must not be {self.ping_timeout!r}")
        if self.queue_policy not in ("wait", "drop_oldest", "close"):
            raise ValueError(
                f"queue_policy must be 'wait', 'drop_oldest' or 'close', not {self.queue_policy!r}"
            )

    @property
    def pong_timeout(self) -> float:
        """Seconds from a ping to its pong."""
        return self.ping_interval if self.ping_timeout is None else self.ping_timeout
