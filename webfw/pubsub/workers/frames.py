"""The frames that workers and their hub exchange, and how a stream of bytes is cut into them; no I/O may enter.

A frame is its length (4 bytes, of what follows), its kind (1 byte) and a body.  Numbers are big-endian.  A *name* is a
length of 1 byte and that many bytes of UTF-8.  Requests are answered in the order in which they came, so that they
need no numbers of their own.

======== === =============================================== === =====================================================
 to hub                                                      back
-------------------------------------------------------------- -------------------------------------------------------
HELLO     0  magic, version (2), history size (4), age (8)    0  magic, version (2), epoch (4)
PUBLISH   1  name, data                                       2  ACKS: how many (4), number of the last (8)
FOLLOW    2  name                                             3  FOLLOWED: position (8)
UNFOLLOW  3  name
HISTORY   4  since (8), until (8), limit (8), name            4  PAGE: flags (1), position (8), frames of messages
PRESENCE  5  name                                             5  MEMBERS: JSON, member to count
ANNOUNCE  6  name, JSON: member to count, 0 for gone          6  DONE
                                                              1  MESSAGE: number (8), name, data
                                                              7  FAILED: why, in place of an answer
======== === =============================================== === =====================================================

The magic and version of HELLO stand in the same place in every version.
"""

import struct
from collections.abc import Iterator

from webfw.sansio.errors import RemoteProtocolError

__all__ = ["FrameReader", "frame", "name_and_rest", "pack_name"]

VERSION = 1
MAGIC = b"webfw-ps"

HELLO = 0
# To the hub.
PUBLISH, FOLLOW, UNFOLLOW, HISTORY, PRESENCE, ANNOUNCE = 1, 2, 3, 4, 5, 6
# From the hub.
MESSAGE, ACKS, FOLLOWED, PAGE, MEMBERS, DONE, FAILED = 1, 2, 3, 4, 5, 6, 7

#: The most bytes of one message's data, and of a frame's body: that much data, a name and some numbers.
MAX_MESSAGE = 16 * 1024 * 1024
MAX_FRAME = MAX_MESSAGE + 1024

#: A page of a history is full at this many bytes, but has at least one message.
PAGE_SIZE = 256 * 1024

HEAD = struct.Struct("!IB")
HELLO_TO_HUB = struct.Struct("!8sHId")
HELLO_BACK = struct.Struct("!8sHI")
#: What every version's HELLO begins with.
HELLO_START = struct.Struct("!8sH")
ACKS_BODY = struct.Struct("!IQ")
NUMBER = struct.Struct("!Q")
#: The head of a MESSAGE with its number.
MESSAGE_HEAD = struct.Struct("!IBQ")
HISTORY_BODY = struct.Struct("!qqq")
PAGE_BODY = struct.Struct("!BQ")

#: Flags of a PAGE.
COMPLETE, MORE = 1, 2
#: In place of a number of HISTORY: none was given; one was that this hub has not made.
NONE, UNKNOWN = -1, -2


def frame(kind: int, body: bytes = b"") -> bytes:
    """One frame."""
    return HEAD.pack(len(body) + 1, kind) + body


def pack_name(name: str) -> bytes:
    """A channel's name with its length before it."""
    encoded = name.encode()
    return bytes((len(encoded),)) + encoded


def name_and_rest(body: bytes, start: int = 0) -> tuple[bytes, int]:
    """A name out of a body, as bytes, and where what follows it begins.

    :raises RemoteProtocolError: it is empty or not whole.
    """
    if len(body) <= start:
        raise RemoteProtocolError("a frame without a name")
    end = start + 1 + body[start]
    if end > len(body) or end == start + 1:
        raise RemoteProtocolError("a frame with half a name")
    return body[start + 1 : end], end


class FrameReader:
    """Cuts what arrives into frames.

    What is not whole is kept as it came, and joined once when its last byte is there: the time a frame takes does not
    grow with the number of its pieces, and no more memory is taken than bytes have arrived.
    """

    __slots__ = ("_needed", "_parts", "_size")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._needed = 0

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield kind and body of each frame that is whole now; read it to its end, or never feed again.

        :raises RemoteProtocolError: a frame is empty or too long.
        """
        if self._parts:
            self._parts.append(data)
            self._size += len(data)
            if self._size < self._needed:
                return
            data = b"".join(self._parts)
            self._parts = []
        size = len(data)
        start = 0
        needed = 5
        while size - start >= 5:
            length, kind = HEAD.unpack_from(data, start)
            if not 0 < length <= MAX_FRAME:
                raise RemoteProtocolError(f"a frame of {length} bytes")
            end = start + 4 + length
            if end > size:
                needed = 4 + length
                break
            yield kind, data[start + 5 : end]
            start = end
        if start < size:
            self._parts = [data[start:] if start else data]
            self._size = size - start
            self._needed = needed
