"""Messages for many connections: a frame is made once for all that can have the same; no connection may enter."""

from collections.abc import Hashable

from webfw.sansio.websocket import Machine, encode_shared

__all__ = ["SharedMessage"]


class SharedMessage:
    """A message that a server sends to many connections.

    :param data: the message.
    :param binary: whether the message is binary: a str is sent as its UTF-8 then.
    :raises LocalProtocolError: a text message that is not Unicode text.
    :raises TypeError: it is neither str nor bytes.

    There is one frame for all connections that send uncompressed, and one for each set of compression parameters in
    use: a compressed one begins a new context, so that it fits wherever it is sent (RFC 7692 section 7.1.1).

    :ivar plain: the uncompressed frame.
    """

    __slots__ = ("_binary", "_compressed", "_data", "plain")

    def __init__(self, data: str | bytes, binary: bool = False) -> None:
        self.plain = encode_shared(data, binary)
        self._data = data
        self._binary = binary
        self._compressed: dict[Hashable, bytes] | None = None

    def __len__(self) -> int:
        return len(self.plain)

    def frame_for(self, machine: Machine) -> bytes:
        """The frame for a connection, which is told that it is sent."""
        deflate = machine.deflate
        if deflate is None:
            return self.plain
        if self._compressed is None:
            self._compressed = {}
        key = (deflate.shared_key, deflate.threshold)
        frame = self._compressed.get(key)
        if frame is None:
            frame = self._compressed[key] = encode_shared(self._data, self._binary, deflate)
        machine.note_shared(frame)
        return frame
