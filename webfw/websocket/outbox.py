"""What waits for a peer that does not take it: bounded, by a policy; how a frame is made may not enter."""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from webfw.sansio.errors import LocalProtocolError
from webfw.websocket.errors import WebSocketClosedError
from webfw.websocket.settings import QueuePolicy
from webfw.websocket.shared import SharedMessage

if TYPE_CHECKING:
    from asyncio import Future

__all__ = ["Outbox", "Waiting", "check_text", "fail", "nobody_told"]


class Waiting:
    """One message that waits.

    It waits as a message and not as a frame: a compressed frame that has been made must be sent, since those that
    follow refer to it.

    :ivar data: the message; None for the Close that ends the connection.
    :ivar future: who waits for it.
    :ivar missed: called when the message is dropped; None for one that may not be dropped.
    """

    __slots__ = ("binary", "data", "future", "missed", "size")

    def __init__(self, data: "str | bytes | SharedMessage | None", binary: bool) -> None:
        self.data = data
        self.binary = binary
        self.size = 0 if data is None else len(data)
        self.future: Future[None] | None = None
        self.missed: Callable[[], None] | None = None


class Outbox:
    """The queue of one connection; it is there only while its peer is slow.

    :param limit: bytes; a single message may be longer, as long as nothing else waits.  So many times 64 bytes are the
        most messages too (and 16 more): a message of one byte takes more than that to be kept.
    :param policy: see `ConnectionSettings.queue_policy`.
    :ivar size: bytes that wait.
    :ivar dropped: how many messages have been dropped.
    """

    __slots__ = ("_entries", "dropped", "limit", "most", "policy", "size")

    def __init__(self, limit: int, policy: QueuePolicy = "wait") -> None:
        self.policy = policy
        self._entries: deque[Waiting] = deque()
        self.limit = limit
        self.most = limit // 64 + 16
        self.size = 0
        self.dropped = 0

    def __bool__(self) -> bool:
        return bool(self._entries)

    def put(self, entry: Waiting) -> bool:
        """Have a message wait by the policy; False where that wants the connection to be closed instead."""
        policy = self.policy
        if policy == "close" and self.full(entry.size):
            return False
        if policy == "drop_oldest" and entry.missed is None:
            entry.missed = nobody_told
        if entry.missed is not None:
            self.drop_oldest(entry.size)
        self.add(entry)
        return True

    def add(self, entry: Waiting) -> None:
        """Have an entry wait behind the others."""
        self._entries.append(entry)
        self.size += entry.size

    def full(self, size: int) -> bool:
        """Whether a message of that size would go beyond the limit."""
        return self.size > 0 and (self.size + size > self.limit or len(self._entries) >= self.most)

    def over(self) -> bool:
        """Whether more waits than should, so that what makes it must be held back."""
        return self.size > self.limit or len(self._entries) > self.most

    def take(self) -> Waiting:
        """The next entry to send."""
        entry = self._entries.popleft()
        self.size -= entry.size
        return entry

    def drop_oldest(self, size: int) -> bool:
        """Drop what may be dropped, the oldest first, until a message of that size has room; whether it now has."""
        if not self.full(size):
            return True
        kept: deque[Waiting] = deque()
        told = []
        while self._entries and self.full(size):
            entry = self.take()
            if entry.missed is None:
                kept.append(entry)
                self.size += entry.size
                # It counts, but stands in the way of nothing that comes after it.
                continue
            self.dropped += 1
            told.append(entry.missed)
            if entry.future is not None and not entry.future.done():
                entry.future.set_result(None)
        self._entries.extendleft(reversed(kept))
        for missed in told:
            missed()
        return not self.full(size)

    def close(self) -> None:
        """Nothing more will be sent: tell those who wait."""
        entries, self._entries = self._entries, deque()
        self.size = 0
        for entry in entries:
            if entry.future is not None and not entry.future.done():
                fail(entry.future)


def check_text(data: object) -> None:
    """Refuse what no text message can be made of, before it waits.

    :raises LocalProtocolError: it is not Unicode text, or bytes that are not its UTF-8.
    """
    try:
        if isinstance(data, str):
            data.encode()
        elif isinstance(data, bytes):
            data.decode()
    except UnicodeError as error:
        reason = getattr(error, "reason", str(error))
        raise LocalProtocolError(f"a text message must be Unicode text: {reason}") from None


def nobody_told() -> None:
    """Stands for who could be told that a message was dropped."""


def fail(future: "Future[None]") -> None:
    """Have a future say that the connection is closed."""
    future.set_exception(WebSocketClosedError())
    future.exception()  # whoever does not wait for it need not be told
