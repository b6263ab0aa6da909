"""WebSocket connections after RFC 6455 and RFC 7692: bytes in, messages out; no I/O, no clock may enter."""

from webfw.sansio.websocket.deflate import Deflate, DeflateParameters
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
from webfw.sansio.websocket.machine import Close, Event, Machine, Ping, Pong, State, encode_shared

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "PING",
    "PONG",
    "TEXT",
    "Close",
    "CloseCode",
    "Deflate",
    "DeflateParameters",
    "Event",
    "FrameError",
    "Machine",
    "Ping",
    "Pong",
    "State",
    "apply_mask",
    "encode_close",
    "encode_frame",
    "encode_shared",
    "parse_close",
]
