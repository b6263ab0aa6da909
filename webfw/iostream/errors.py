"""What can go wrong with a stream; the streams themselves stay outside."""

import errno

__all__ = ["StreamBufferFullError", "StreamClosedError", "UnsatisfiableReadError"]

#: Error numbers that mean no more than that the peer, or the way to it, is gone.
_ERRNO_CONNRESET = (errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, errno.ETIMEDOUT)


class StreamClosedError(OSError):
    """The stream was closed before the operation could be done.

    :param real_error: why it was closed, if not in an orderly way.
    """

    def __init__(self, real_error: BaseException | None = None) -> None:
        super().__init__("Stream is closed")
        self.real_error = real_error


class UnsatisfiableReadError(Exception):
    """What is read for cannot come within ``max_bytes``; the `StreamClosedError.real_error` of such a read."""


class StreamBufferFullError(Exception):
    """More was written than ``max_write_buffer_size`` allows, or had to be read than ``max_buffer_size``."""
