"""What a supervisor and a worker tell each other: JSON objects over a pair of sockets; what they mean may not enter."""

import json
import socket
import threading
from collections.abc import Mapping
from typing import Any

__all__ = ["Channel", "channel_pair"]

#: Bytes that may wait for a peer which does not read; what comes then is dropped.
MAX_UNSENT = 1024 * 1024

#: Bytes of one message.
MAX_MESSAGE = 16 * 1024 * 1024

Message = dict[str, Any]


class Channel:
    """One end of a pair.  Nothing here ever waits; any thread may send.

    :param sock: a connected stream socket.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._unread = bytearray()
        self._unsent = bytearray()
        self._sending = threading.Lock()
        self._unheard = False
        #: Whether the other end is gone, and its last words were received.
        self.ended = False

    def fileno(self) -> int:
        """The descriptor to wait for; -1 when closed."""
        return self._sock.fileno()

    def send(self, message: Mapping[str, Any]) -> bool:
        """Send a message, or keep it for the next `flush` when the other end does not read.

        :returns: False when it is lost: the other end is gone, or far behind.
        """
        data = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        with self._sending:
            if self.ended or self._unheard or len(self._unsent) > MAX_UNSENT:
                return False
            self._unsent += data
            self._flush()
            return not self._unheard

    def flush(self) -> None:
        """Send what waits, as far as it goes."""
        with self._sending:
            self._flush()

    def _flush(self) -> None:
        while self._unsent and not (self.ended or self._unheard):
            try:
                sent = self._sock.send(self._unsent)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self._unheard = True  # but what it has said before can be received
            else:
                del self._unsent[:sent]

    def receive(self) -> list[Message]:
        """The messages that have come; `ended` is True once no more can."""
        while not self.ended:
            try:
                data = self._sock.recv(65536)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                data = b""
            if not data or len(self._unread) > MAX_MESSAGE:
                self.ended = True
            self._unread += data
        *lines, rest = bytes(self._unread).split(b"\n")
        self._unread = bytearray(rest)
        return [message for line in lines if isinstance(message := _decoded(line), dict)]

    def close(self) -> None:
        """Close this end."""
        self.ended = True
        self._sock.close()


def _decoded(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):  # a peer that died while it was writing, or no peer of ours
        return None


def channel_pair() -> tuple[Channel, Channel]:
    """Return the two ends of a new channel."""
    ours, theirs = socket.socketpair()
    return Channel(ours), Channel(theirs)
