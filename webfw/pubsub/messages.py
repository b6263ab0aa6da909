"""What travels through a broker: messages, gaps, and how their data becomes bytes; no delivery may enter."""

import json
import re
from collections.abc import Hashable
from typing import Any

__all__ = ["Gap", "History", "Message", "check_channel", "check_count", "decode", "encode", "normal"]

#: The longest channel name, in bytes of UTF-8.
MAX_CHANNEL = 200

#: Unicode's control characters (category Cc).
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


class Message:
    """One published message, as every subscriber of its channel gets it.  It is shared: do not change it.

    :ivar channel: where it was published.
    :ivar id: opaque, ordered per channel by the broker that gave it; what ``since`` takes.
    :ivar data: bytes, str or a JSON value.
    :ivar forms: what others made of it, such as the frame that 500 WebSockets get, so that it is made once.
    """

    __slots__ = ("channel", "data", "forms", "id")

    def __init__(self, channel: str, id: str, data: Any) -> None:
        self.channel = channel
        self.id = id
        self.data = data
        self.forms: dict[Hashable, Any] = {}

    def __repr__(self) -> str:
        return f"Message({self.channel!r}, {self.id!r}, {self.data!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Message):
            return NotImplemented
        return (self.channel, self.id, self.data) == (other.channel, other.id, other.data)

    def __hash__(self) -> int:
        return hash((self.channel, self.id))


class Gap:
    """Stands in a subscription where messages are missing: what was cannot be told, only that it was.

    :ivar channel: where they are missing.
    :ivar reason: ``"history"`` when they are older than the history keeps, or their number is not known because the
        broker has lost its memory; ``"backlog"`` when this subscriber was too slow.
    """

    __slots__ = ("channel", "reason")

    def __init__(self, channel: str, reason: str) -> None:
        self.channel = channel
        self.reason = reason

    def __repr__(self) -> str:
        return f"Gap({self.channel!r}, {self.reason!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Gap):
            return NotImplemented
        return (self.channel, self.reason) == (other.channel, other.reason)

    def __hash__(self) -> int:
        return hash((self.channel, self.reason))


class History:
    """What a channel remembers.

    :ivar messages: oldest first.
    :ivar complete: False when messages between ``since`` and the first of these are gone.
    :ivar position: the id to go on from: that of the channel's newest message, or one that stands before its first.
    """

    __slots__ = ("complete", "messages", "position")

    def __init__(self, messages: list[Message], complete: bool, position: str) -> None:
        self.messages = messages
        self.complete = complete
        self.position = position

    def __repr__(self) -> str:
        return f"History({self.messages!r}, complete={self.complete}, position={self.position!r})"


def check_channel(channel: str) -> None:
    """Refuse what cannot name a channel.

    :raises TypeError: no str.
    :raises ValueError: empty, longer than 200 bytes of UTF-8, or with a control character or lone surrogate.
    """
    if not isinstance(channel, str):
        raise TypeError(f"a channel's name must be a str, not {type(channel).__name__}")
    try:
        size = len(channel.encode())
    except UnicodeEncodeError:
        raise ValueError(f"a channel's name must be Unicode text: {channel!r}") from None
    if not 0 < size <= MAX_CHANNEL:
        raise ValueError(f"a channel's name must have 1 to {MAX_CHANNEL} bytes, not {size}")
    if _CONTROL.search(channel):
        raise ValueError(f"a channel's name must not have control characters: {channel!r}")


def check_count(name: str, count: int) -> None:
    """Refuse a negative number of messages.

    :raises ValueError: it is negative.
    """
    if count < 0:
        raise ValueError(f"{name} must not be negative: {count}")


def normal(data: Any) -> Any:
    """The data as every subscriber of every broker gets it: a copy of its own, tuples as lists, keys as str.

    :raises TypeError: neither bytes, str nor a JSON value.
    :raises ValueError: what no other process or browser could be given: half a surrogate pair, for which UTF-8 has no
        bytes; a JSON value that refers to itself or is nested too deeply; a number that JSON has no word for.
    """
    if data is None or data is True or data is False:
        return data
    if isinstance(data, (str, bytes, bytearray, memoryview)):
        if type(data) is bytes or (type(data) is str and data.isascii()):
            return data
        return _utf8(data).decode() if isinstance(data, str) else bytes(data)
    return _loads(_utf8(_dumps(data)))


def _dumps(data: Any) -> str:
    try:
        return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except TypeError as error:
        raise TypeError(f"a message must be bytes, str or a JSON value: {error}") from None
    except RecursionError:
        raise ValueError("a message must not be nested so deeply") from None


def _loads(data: bytes) -> Any:
    try:
        return json.loads(data.decode())
    except RecursionError:
        raise ValueError("a message must not be nested so deeply") from None


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ValueError(
            "a message must not have half a surrogate pair: it cannot be sent as UTF-8"
        ) from None


def encode(data: Any) -> bytes:
    """Data as bytes, for brokers that leave the process: a letter for its kind, then its content.

    :raises TypeError, ValueError: as `normal`.
    """
    if isinstance(data, bytes):
        return b"b" + data
    if isinstance(data, str):
        return b"s" + _utf8(data)
    if isinstance(data, (bytearray, memoryview)):
        return b"b" + bytes(data)
    return b"j" + _utf8(_dumps(data))


def decode(data: bytes) -> Any:
    """What `encode` was given.

    :raises ValueError: something else has written it.
    """
    kind = data[:1]
    if kind == b"b":
        return data[1:]
    if kind == b"s":
        return data[1:].decode()
    if kind == b"j":
        return _loads(data[1:])
    raise ValueError(f"no message of webfw: {data[:40]!r}")
