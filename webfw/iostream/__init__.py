"""Streams: bytes over sockets and pipes, pulled by coroutines or pushed to a consumer; no protocol may enter."""

from webfw.iostream.errors import (
    _ERRNO_CONNRESET,
    StreamBufferFullError,
    StreamClosedError,
    UnsatisfiableReadError,
)
from webfw.iostream.pipe import PipeIOStream
from webfw.iostream.socketstream import IOStream, SSLIOStream
from webfw.iostream.stream import BaseIOStream
from webfw.iostream.wire import Consumer, Wire

__all__ = [
    "_ERRNO_CONNRESET",
    "BaseIOStream",
    "Consumer",
    "IOStream",
    "PipeIOStream",
    "SSLIOStream",
    "StreamBufferFullError",
    "StreamClosedError",
    "UnsatisfiableReadError",
    "Wire",
]
