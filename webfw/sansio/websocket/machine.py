"""One WebSocket connection, either side: bytes in, messages out, and what may be sent when; no I/O, no clock.

RFC 6455 after the handshake.  What the machine gives out is for whoever drives it to act on: it answers no Ping and no
Close by itself, and it closes nothing.
"""

import codecs
from dataclasses import dataclass
from enum import Enum
from io import BytesIO, StringIO
from typing import Final, NamedTuple, TypeAlias

from webfw.sansio.errors import LocalProtocolError
from webfw.sansio.websocket import frames
from webfw.sansio.websocket.deflate import Deflate
from webfw.sansio.websocket.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    MAX_CONTROL_PAYLOAD,
    PING,
    PONG,
    TEXT,
    CloseCode,
    FrameError,
    apply_mask,
    encode_frame,
)

__all__ = ["Close", "Event", "Machine", "Ping", "Pong", "State", "encode_shared"]


# --- events ---


@dataclass(slots=True)
class Ping:
    """A Ping, to be answered by a Pong with the same payload (RFC 6455 section 5.5.2)."""

    payload: bytes


@dataclass(slots=True)
class Pong:
    """A Pong, asked for or not (RFC 6455 section 5.5.3)."""

    payload: bytes


@dataclass(slots=True)
class Close:
    """The peer's Close, to be answered by ours unless that has been sent (RFC 6455 section 5.5.1)."""

    code: int | None
    reason: str


#: A text message is a plain `str`, a binary one plain `bytes`: nothing is made around what comes most often.
Event: TypeAlias = str | bytes | Ping | Pong | Close


# --- the closing handshake (RFC 6455 sections 1.4, 5.5.1 and 7.1) ---


class State(Enum):
    """Where a connection stands in the closing handshake."""

    OPEN = "open"
    CLOSE_SENT = "close sent"
    CLOSE_RECEIVED = "close received"
    FAILED = "failed"  # the peer broke a rule; one Close with the reason may be sent
    CLOSED = "closed"


class _Row(NamedTuple):
    """What may be sent in a state, and which state follows what; `None` for what cannot happen."""

    sendable: frozenset[int]
    close_sent: State | None
    close_received: State | None
    failed: State | None


_ALL: Final = frozenset({TEXT, BINARY, PING, PONG, CLOSE})
_ONLY_CLOSE: Final = frozenset({CLOSE})

# Nothing is read in a state that no Close can be received in: what follows the peer's Close is discarded (section
# 1.4), and so is what follows a broken rule (section 7.1.7).  After our Close only data frames are forbidden (section
# 5.5.1), and a Ping is still to be answered (section 5.5.2).
_TABLE: Final = {
    State.OPEN: _Row(_ALL, State.CLOSE_SENT, State.CLOSE_RECEIVED, State.FAILED),
    State.CLOSE_SENT: _Row(frozenset({PING, PONG}), None, State.CLOSED, State.CLOSED),
    State.CLOSE_RECEIVED: _Row(_ONLY_CLOSE, State.CLOSED, None, None),
    State.FAILED: _Row(_ONLY_CLOSE, State.CLOSED, None, None),
    State.CLOSED: _Row(frozenset(), None, None, None),
}

_NAMES: Final = {TEXT: "a message", BINARY: "a message", PING: "a Ping", PONG: "a Pong", CLOSE: "a Close"}


# --- messages that come in pieces ---


class _Text:
    """A text message in the making; its UTF-8 is checked as it comes (RFC 6455 section 8.1)."""

    __slots__ = ("_held", "_text")

    def __init__(self) -> None:
        self._text = StringIO(newline="\n")
        self._held = b""  # the beginning of a character, up to three bytes

    def add(self, piece: bytes, final: bool) -> str | None:
        """Take a piece; returns the message with the last one, raises `UnicodeDecodeError`."""
        if self._held:
            piece = self._held + piece
        text, used = codecs.utf_8_decode(piece, "strict", final)
        self._held = held = piece[used:]
        if held[:1] == b"\xed" and held[1:] >= b"\xa0":
            # Python waits for the third byte, but no byte makes a character of this: it would be a surrogate.
            raise UnicodeDecodeError("utf-8", piece, used, used + 2, "surrogates not allowed")
        self._text.write(text)
        return self._text.getvalue() if final else None


class _Binary:
    """A binary message in the making."""

    __slots__ = ("_data",)

    def __init__(self) -> None:
        self._data = BytesIO()

    def add(self, piece: bytes, final: bool) -> bytes | None:
        """Take a piece; returns the message with the last one."""
        self._data.write(piece)
        return self._data.getvalue() if final else None


# --- the machine ---

# First bytes a frame may begin with (RFC 6455 section 5.2): FIN, the reserved bits, the opcode.  RSV1 stands on the
# first frame of a message that permessage-deflate has compressed (RFC 7692 section 6).
_FIRST_BYTES: Final = frozenset({0x00, 0x01, 0x02, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8A})
_FIRST_BYTES_DEFLATE: Final = _FIRST_BYTES | {0x41, 0x42, 0xC1, 0xC2}

#: First bytes of frames with a whole uncompressed message, of text and of bytes.
_WHOLE: Final = frozenset({0x81, 0x82})

_NEVER: Final = 1000

#: Bytes of a compressed fragment that may be nothing but its flush.
_FLUSH: Final = 8


class Machine:
    """The frames of one connection, in both directions.

    Give it what was read with `feed`, then call `next_event` until it returns `None`; write what the ``encode_``
    methods return, in order.  No more is parsed than the next event needs, so one who pauses between two events holds
    the bytes of one read and one message.

    :param server: whether this side is the server, which unmasks what it gets and masks nothing.
    :param max_message_size: bytes a message may have, after decompression.
    :param deflate: permessage-deflate in both directions, when it has been agreed upon.
    :ivar state: where the closing handshake is.
    :ivar close_code: the code in the peer's Close; `None` when none has come, or one without a code.
    :ivar close_reason: the reason in the peer's Close; `None` when none has come.
    """

    __slots__ = (
        "_announced",
        "_at",
        "_compressed",
        "_data",
        "_fin",
        "_first_bytes",
        "_idle",
        "_key",
        "_left",
        "_length_offset",
        "_max_wire_size",
        "_message",
        "_opcode",
        "_reading",
        "_size",
        "close_code",
        "close_reason",
        "deflate",
        "max_message_size",
        "server",
        "state",
    )

    def __init__(
        self, *, server: bool, max_message_size: int = 10 * 1024 * 1024, deflate: Deflate | None = None
    ) -> None:
        self.server = server
        self.max_message_size = max_message_size
        self.deflate = deflate
        self.state = State.OPEN
        self.close_code: int | None = None
        self.close_reason: str | None = None
        self._first_bytes = _FIRST_BYTES if deflate is None else _FIRST_BYTES_DEFLATE
        # What cannot be compressed grows, by an eighth when zlib has the least of memory.
        self._max_wire_size = max_message_size + (max_message_size >> 3) + 64
        # The second byte of a small frame, less the size of the whole frame: see next_event.
        self._length_offset = _NEVER if max_message_size < 128 else 0x80 - 6 if server else -2
        # What has been fed and not parsed: `_data` from `_at` on.
        self._data = b""
        self._at = 0
        self._reading = True
        self._idle = True  # neither frame nor message has begun
        # The data frame that has begun.
        self._left = 0
        self._key = b""
        self._fin = False
        # The message that has begun, 0 when none has.
        self._opcode = 0
        self._compressed = False
        self._announced = 0  # bytes of payload in the headers so far
        self._size = 0  # bytes that came out of a compressed one so far
        self._message: _Text | _Binary | None = None

    @property
    def closing(self) -> bool:
        """Whether the closing handshake has begun, or is over."""
        return self.state is not State.OPEN

    @property
    def closed(self) -> bool:
        """Whether nothing more may be sent, and nothing more will come: the TCP connection is to be closed."""
        return self.state is State.CLOSED

    @property
    def pending(self) -> int:
        """Bytes that have been fed and not been parsed yet."""
        return len(self._data) - self._at

    # --- in ---

    def feed(self, data: bytes) -> None:
        """Take what was read.  After a Close or an error it is dropped."""
        if self._data:
            self._data = self._data[self._at :] + data
            self._at = 0
        elif self._reading:
            self._data = data

    def next_event(self) -> Event | None:
        """The next message or control frame in what was fed; `None` when more is needed.

        :raises FrameError: once, when the peer breaks the protocol; then its code is to be sent in a Close, and the TCP
            connection to be closed (RFC 6455 section 7.1.7).
        """
        data = self._data
        size = len(data)
        # Most of what comes is one small text message in one whole frame, and nothing else in the same read.
        if 5 < size < 128 and data[1] - size == self._length_offset and data[0] == 0x81 and self._idle:
            self._data = b""
            try:
                if self.server:
                    return apply_mask(data[2:6], data[6:]).decode()
                return data[2:].decode()
            except UnicodeDecodeError:
                self._stop(_TABLE[self.state].failed)
                raise _not_utf8() from None
        if size > 3 and data[0] in _WHOLE and self._idle:
            message = self._whole(data, size)
            if message is not None:
                return message
        return self._parse() if data else None

    def _whole(self, data: bytes, size: int) -> str | bytes | None:
        """The message, where one frame of less than 64 KiB with all of it is all there is.

        Whatever else is there, and whatever is wrong with its header, is left to `_parse`.
        """
        length = data[1] - 0x80 if self.server else data[1]
        begin = 6 if self.server else 2
        if length == 126:
            begin += 2
            length = data[2] << 8 | data[3]
            if length < 126:
                return None
        elif not 0 <= length < 126:
            return None
        if begin + length != size or length > self.max_message_size:
            return None
        self._data = b""
        payload = apply_mask(data[begin - 4 : begin], data[begin:]) if self.server else data[begin:]
        if data[0] == 0x82:
            return payload
        try:
            return payload.decode()
        except UnicodeDecodeError:
            self._stop(_TABLE[self.state].failed)
            raise _not_utf8() from None

    def _parse(self) -> Event | None:
        """The next event, whatever it is."""
        try:
            event = self._next()
        except FrameError:
            self._stop(_TABLE[self.state].failed)
            raise
        if self._at == len(self._data):
            self._data = b""
            self._at = 0
        self._idle = self._reading and not self._data and not self._opcode
        return event

    def _next(self) -> Event | None:
        """Parse until there is an event or nothing more to parse; `_at` is moved behind what was parsed."""
        data = self._data
        size = len(data)
        while self._at < size:
            if self._left:
                begin = self._at
                self._at = end = min(size, begin + self._left)
                self._left -= end - begin
                message = self._receive(data[begin:end])
                if message is not None:
                    return message
                continue
            first = data[self._at]
            begin = self._begin_frame(data, self._at)
            if not begin:
                return None
            self._at = begin
            if first & 0x08:
                self._at = end = begin + self._left
                self._left = 0
                return self._control(first & 0x0F, data[begin:end])
            if not self._left:
                message = self._receive(b"")
                if message is not None:
                    return message
        return None

    def _begin_frame(self, data: bytes, at: int) -> int:
        """Take the header at offset `at` (RFC 6455 section 5.2); a control frame must be there as a whole.

        :return: the offset behind the header, 0 when more is needed; then nothing has been taken.
        """
        if len(data) - at < 2:
            return 0
        first = data[at]
        second = data[at + 1]
        length = second & 0x7F
        if first not in self._first_bytes:
            raise _bad_first_byte(first)
        if (second > 0x7F) is not self.server:
            raise FrameError("unmasked frame from a client" if self.server else "masked frame from a server")
        begin = at + (6 if self.server else 2)
        if first & 0x08:
            if length > MAX_CONTROL_PAYLOAD:
                raise FrameError(f"control frame of over {MAX_CONTROL_PAYLOAD} bytes")
            if len(data) < begin + length:
                return 0
        else:
            if length > 125:
                extended = 2 if length == 126 else 8
                begin += extended
                if len(data) < begin:
                    return 0
                length = _extended_length(data[at + 2 : at + 2 + extended])
            if len(data) < begin:
                return 0
            self._begin_data_frame(first, length)
        self._left = length
        if self.server:
            self._key = data[begin - 4 : begin]
        return begin

    def _begin_data_frame(self, first: int, length: int) -> None:
        """Check a data frame against the message it belongs to (RFC 6455 section 5.4) and against the limit."""
        opcode = first & 0x0F
        if opcode == CONTINUATION:
            if not self._opcode:
                raise FrameError("continuation of no message")
        elif self._opcode:
            raise FrameError("new message within a fragmented one")
        else:
            self._opcode = opcode
            self._compressed = first & 0x40 != 0
            self._announced = self._size = 0
        self._fin = first & 0x80 != 0
        if self._compressed:
            # A fragment may be flushed, which costs some bytes each time, however little is in it.
            self._announced += max(0, length - _FLUSH)
            limit = self._max_wire_size
        else:
            self._announced += length
            limit = self.max_message_size
        if self._announced > limit:
            raise FrameError(f"message of over {self.max_message_size} bytes", CloseCode.MESSAGE_TOO_BIG)

    def _receive(self, piece: bytes) -> str | bytes | None:
        """Take a piece of a data frame's payload; returns the message with the last one."""
        left = self._left
        if self.server and piece:
            key = self._key
            turn = len(piece) & 3
            if left and turn:
                self._key = key[turn:] + key[:turn]
            piece = apply_mask(key, piece)
        final = self._fin and not left
        if self._compressed and self.deflate is not None:
            piece = self.deflate.decompress(piece, final=final, max_size=self.max_message_size - self._size)
            self._size += len(piece)
        message = self._message
        text = self._opcode == TEXT
        if final:
            self._opcode = 0
            self._message = None
        elif message is None:
            message = self._message = _Text() if text else _Binary()
        try:
            if message is not None:
                return message.add(piece, final)
            return piece.decode() if text else piece
        except UnicodeDecodeError:
            raise _not_utf8() from None

    def _control(self, opcode: int, payload: bytes) -> Ping | Pong | Close:
        """Make the event of a control frame."""
        if self.server:
            payload = apply_mask(self._key, payload)
        if opcode == PING:
            return Ping(payload)
        if opcode == PONG:
            return Pong(payload)
        code, reason = frames.parse_close(payload)
        self.close_code = code
        self.close_reason = reason
        self._stop(_TABLE[self.state].close_received)
        return Close(code, reason)

    def _stop(self, state: State | None) -> None:
        """Read no more, and let go of what has been read."""
        if state is not None:
            self.state = state
        self._reading = self._idle = False
        self._data = b""
        self._at = 0
        self._message = None

    # --- out ---

    def encode_message(self, data: str | bytes, binary: bool = False) -> bytes:
        """A whole message in one frame, compressed when that has been agreed upon and is worth it.

        :param data: text, or bytes; bytes in a text message must be UTF-8.
        :param binary: whether the message is binary: a `str` is sent as its UTF-8 then.
        :raises LocalProtocolError: when no message may be sent in this state, or `data` is not Unicode text.
        :raises TypeError: for anything but `str` and `bytes`.
        """
        if self.state is not State.OPEN:
            self._check_sendable(TEXT)
        payload = _payload(data, binary)
        opcode = BINARY if binary else TEXT
        deflate = self.deflate
        if deflate is not None and len(payload) >= deflate.threshold:
            return encode_frame(opcode, deflate.compress(payload), rsv1=True, mask=not self.server)
        return encode_frame(opcode, payload, mask=not self.server)

    def note_shared(self, frame: bytes) -> None:
        """Say that a frame of `encode_shared` is being sent on this connection.

        :raises LocalProtocolError: on the side of the client, whose every frame has a mask of its own, and when no
            message may be sent in this state.
        """
        if self.state is not State.OPEN:
            self._check_sendable(TEXT)
        if not self.server:
            raise LocalProtocolError("a client cannot share frames: each needs a new mask")
        if frame[0] & 0x40:
            if self.deflate is None:
                raise LocalProtocolError("a compressed frame on a connection without permessage-deflate")
            self.deflate.forget_sent()

    def encode_ping(self, payload: bytes = b"") -> bytes:
        """A Ping (RFC 6455 section 5.5.2).

        :param payload: at most 125 bytes, which the peer's Pong will bring back.
        :raises LocalProtocolError: for more, and when no Ping may be sent in this state.
        """
        return self._encode_control(PING, payload)

    def encode_pong(self, payload: bytes = b"") -> bytes:
        """A Pong (RFC 6455 section 5.5.3).

        :param payload: at most 125 bytes: those of the Ping it answers.
        :raises LocalProtocolError: for more, and when no Pong may be sent in this state.
        """
        return self._encode_control(PONG, payload)

    def encode_close(self, code: int | None = None, reason: str = "") -> bytes:
        """Our Close: the first, or the answer to the peer's (RFC 6455 section 5.5.1).

        :param code: see `webfw.sansio.websocket.frames.encode_close`; an answer has the code of the peer's Close.
        :param reason: at most 123 bytes of UTF-8.
        :raises LocalProtocolError: for a code or a reason that may not be sent, and when a Close has been sent.
        """
        frame = self._encode_control(CLOSE, frames.encode_close(code, reason))
        state = _TABLE[self.state].close_sent
        if state is not None:
            self.state = state
        return frame

    def _encode_control(self, opcode: int, payload: bytes) -> bytes:
        self._check_sendable(opcode)
        if len(payload) > MAX_CONTROL_PAYLOAD:
            raise LocalProtocolError(f"{_NAMES[opcode]} of {len(payload)} bytes, over {MAX_CONTROL_PAYLOAD}")
        return encode_frame(opcode, payload, mask=not self.server)

    def _check_sendable(self, opcode: int) -> None:
        if opcode not in _TABLE[self.state].sendable:
            raise LocalProtocolError(
                f"{_NAMES[opcode]} may not be sent: the connection is {self.state.value}"
            )


def encode_shared(data: str | bytes, binary: bool = False, deflate: Deflate | None = None) -> bytes:
    """A whole message in one frame that a server may send on many connections; see `Machine.note_shared`.

    :param data: as for `Machine.encode_message`.
    :param binary: as for `Machine.encode_message`.
    :param deflate: that of one of the connections, all of which have an equal ``shared_key``; `None` for connections
        of any kind.  It is not changed.
    :raises LocalProtocolError: when `data` is not Unicode text.
    :raises TypeError: for anything but `str` and `bytes`.
    """
    payload = _payload(data, binary)
    opcode = BINARY if binary else TEXT
    if deflate is not None and len(payload) >= deflate.threshold:
        return encode_frame(opcode, deflate.compress_shared(payload), rsv1=True)
    return encode_frame(opcode, payload)


def _payload(data: str | bytes, binary: bool) -> bytes:
    """The bytes of a message; those of a text message are UTF-8 (RFC 6455 section 5.6)."""
    try:
        if isinstance(data, str):
            return data.encode()
        if not isinstance(data, bytes):
            raise TypeError(f"a message must be str or bytes, not {type(data).__name__}")
        if not binary and not data.isascii():
            data.decode()
    except (UnicodeEncodeError, UnicodeDecodeError) as error:
        hint = "" if isinstance(data, str) else "; other bytes need binary=True"
        raise LocalProtocolError(f"a text message must be Unicode text: {error.reason}{hint}") from None
    return data


def _bad_first_byte(first: int) -> FrameError:
    """Name what is wrong with the first byte of a frame (RFC 6455 sections 5.2 and 5.5)."""
    opcode = first & 0x0F
    if opcode not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
        return FrameError(f"reserved opcode {opcode}")
    if first & 0x70:
        return FrameError("reserved bit set")
    return FrameError("fragmented control frame")


def _extended_length(octets: bytes) -> int:
    """A payload length of 16 or 64 bits.

    RFC 6455 section 5.2: "the minimal number of bytes MUST be used to encode the length", and of the 64 bits "the most
    significant bit MUST be 0".
    """
    length = int.from_bytes(octets)
    if length < (126 if len(octets) == 2 else 0x10000):
        raise FrameError("payload length in more bytes than needed")
    if length >> 63:
        raise FrameError("payload length over 63 bits")
    return length


def _not_utf8() -> FrameError:
    return FrameError("text message is not UTF-8", CloseCode.INVALID_FRAME_PAYLOAD_DATA)
