"""The write buffer as programs see it that fill it themselves; how it is sent is an engine's business."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from webfw.iostream.stream import BaseIOStream

__all__ = ["WriteBuffer"]


class WriteBuffer:
    """Takes many pieces to be sent by one `BaseIOStream.write`, which may be of no bytes; none of them is copied.

    It is known as ``stream._write_buffer``.

    :param stream: the stream, which is open.
    """

    __slots__ = ("_stream",)

    def __init__(self, stream: "BaseIOStream") -> None:
        self._stream = stream

    def append(self, data: bytes | bytearray | memoryview) -> None:
        """Put bytes in at the end.  They must stay as they are until they are sent."""
        if data:
            self._stream._appended = True
            self._stream._engine.keep(data if isinstance(data, bytes) else memoryview(data).cast("B"))

    def __len__(self) -> int:
        return self._stream._engine.unsent()
