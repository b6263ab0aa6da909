"""WebSocket connections after RFC 6455 and RFC 7692: bytes in, messages out; no I/O, no clock may enter."""

from webfw.sansio.websocket.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    CloseCode,
    FrameError,
    apply_mask,
    encode_close,
    encode_frame,
    parse_close,
)

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "PING",
    "PONG",
    "TEXT",
    "CloseCode",
    "FrameError",
    "apply_mask",
    "encode_close",
    "encode_frame",
    "parse_close",
]
