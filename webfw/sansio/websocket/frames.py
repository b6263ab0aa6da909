"""Frames of RFC 6455 one by one: headers, masking keys, close codes; what a sequence of frames means stays outside."""

import os
from enum import IntEnum
from struct import Struct
from typing import Final

from webfw.sansio.errors import LocalProtocolError, RemoteProtocolError
from webfw.sansio.masking import apply_mask

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "MAX_CONTROL_PAYLOAD",
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

#: Opcodes (RFC 6455 section 5.2); 3 to 7 and 11 to 15 are reserved.
CONTINUATION: Final = 0
TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10

#: Bytes of payload a control frame may have (RFC 6455 section 5.5).
MAX_CONTROL_PAYLOAD: Final = 125


class CloseCode(IntEnum):
    """Why a connection was closed: RFC 6455 section 7.4.1 and the IANA registry made by section 11.7.

    1005, 1006 and 1015 stand for what happened without a code; they are never sent.
    """

    NORMAL_CLOSURE = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS_RECEIVED = 1005
    ABNORMAL_CLOSURE = 1006
    INVALID_FRAME_PAYLOAD_DATA = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    MANDATORY_EXTENSION = 1010
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    BAD_GATEWAY = 1014
    TLS_HANDSHAKE = 1015


# The registered codes that may stand in a Close frame; beside them 3000 to 4999 (RFC 6455 section 7.4.2).
_SENDABLE: Final = frozenset(CloseCode) - {
    CloseCode.NO_STATUS_RECEIVED,
    CloseCode.ABNORMAL_CLOSURE,
    CloseCode.TLS_HANDSHAKE,
}


class FrameError(RemoteProtocolError):
    """The peer sent what the WebSocket protocol does not allow: the connection must be failed (section 7.1.7).

    :param message: what was wrong; short ASCII, fit to be the reason in a Close frame.
    :param close_code: the code to close with.
    """

    def __init__(self, message: str, close_code: int = CloseCode.PROTOCOL_ERROR) -> None:
        super().__init__(message)
        self.close_code = int(close_code)


# --- masking keys ---

# Section 10.3 wants keys nobody can predict.  The system's generator costs a system call, so one call gives many.
_KEYS_AT_ONCE: Final = 256
_keys: Final[list[bytes]] = []

if hasattr(os, "register_at_fork"):
    # Otherwise parent and child would use the same keys, and a peer of one could predict those of the other.
    os.register_at_fork(after_in_child=_keys.clear)


def _new_key() -> bytes:
    try:
        return _keys.pop()
    except IndexError:
        batch = os.urandom(4 * _KEYS_AT_ONCE)
        _keys.extend(batch[at : at + 4] for at in range(4, len(batch), 4))
        return batch[:4]


# --- encoding (RFC 6455 section 5.2) ---

_MEDIUM_HEADER: Final = Struct("!BBH").pack
_LONG_HEADER: Final = Struct("!BBQ").pack

# The two bytes before an unmasked payload of up to 125 bytes in an unfragmented frame, by opcode and size.
_SMALL_HEADERS: Final = tuple(
    tuple(bytes([0x80 | opcode, size]) for size in range(126)) for opcode in range(16)
)


def encode_frame(
    opcode: int, payload: bytes, *, fin: bool = True, rsv1: bool = False, mask: bool = False
) -> bytes:
    """One whole frame.  What the protocol allows in a frame is the caller's business.

    :param opcode: 0 to 15.
    :param payload: already compressed when `rsv1` says so.
    :param fin: whether it is the last frame of its message.
    :param rsv1: the bit that permessage-deflate uses (RFC 7692 section 6).
    :param mask: whether to mask with a new key: a client must, a server must not (section 5.1).
    """
    size = len(payload)
    if fin and size < 126 and not mask and not rsv1:
        return _SMALL_HEADERS[opcode][size] + payload
    first = (0x80 if fin else 0) | (0x40 if rsv1 else 0) | opcode
    bit = 0x80 if mask else 0
    if size < 126:
        header = bytes((first, bit | size))
    elif size < 0x10000:
        header = _MEDIUM_HEADER(first, bit | 126, size)
    else:
        header = _LONG_HEADER(first, bit | 127, size)
    if mask:
        key = _new_key()
        return header + key + apply_mask(key, payload)
    return header + payload


# --- the payload of Close frames (RFC 6455 section 5.5.1) ---


def encode_close(code: int | None, reason: str = "") -> bytes:
    """The payload of a Close frame.

    :param code: 1000 to 1003, 1007 to 1014 or 3000 to 4999; `None` for a frame without a code.
    :param reason: at most 123 bytes of UTF-8; none without a code.
    :raises LocalProtocolError: for a code that may not be sent (sections 7.4.1 and 7.4.2) and for a reason that is
        too long, stands alone or cannot be encoded.
    """
    if code is None:
        if reason:
            raise LocalProtocolError("a close reason needs a close code")
        return b""
    if not _may_be_sent(code):
        raise LocalProtocolError(f"close code {code} may not be sent")
    try:
        payload = int(code).to_bytes(2) + reason.encode()
    except UnicodeEncodeError:
        raise LocalProtocolError("the close reason has a surrogate, which UTF-8 cannot encode") from None
    if len(payload) > MAX_CONTROL_PAYLOAD:
        raise LocalProtocolError(f"the close reason has {len(payload) - 2} bytes, over 123")
    return payload


def parse_close(payload: bytes) -> tuple[int | None, str]:
    """The code and the reason in the payload of a Close frame; ``(None, "")`` when it is empty.

    :raises FrameError: 1002 for a payload of one byte and for a code that may not be sent, 1007 for a reason that
        is not UTF-8 (sections 5.5.1, 7.4 and 8.1).
    """
    if not payload:
        return None, ""
    if len(payload) == 1:
        raise FrameError("close payload of one byte")
    code = int.from_bytes(payload[:2])
    if not _may_be_sent(code):
        raise FrameError(f"close code {code} may not be sent")
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError:
        raise FrameError("close reason is not UTF-8", CloseCode.INVALID_FRAME_PAYLOAD_DATA) from None


def _may_be_sent(code: int) -> bool:
    return code in _SENDABLE or 3000 <= code <= 4999
