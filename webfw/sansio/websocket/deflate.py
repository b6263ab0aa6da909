"""Messages compressed one by one, permessage-deflate of RFC 7692; the agreement on it and the frames stay outside."""

import sys
import zlib
from dataclasses import dataclass
from typing import Any, Final

from webfw.sansio.websocket.frames import CloseCode, FrameError

__all__ = ["Deflate", "DeflateParameters"]

# Sections 7.2.1 and 7.2.2: the end of an empty stored block, which every compressed message is sent without.
_TAIL: Final = b"\x00\x00\xff\xff"

# Section 7.2.3.6: an empty message is the header of an empty stored block.
_EMPTY: Final = b"\x00"

# What follows the end of a DEFLATE stream (BFINAL) is handed on in pieces of this size: zlib copies what it gives back
# unused, and that cost has to be bounded when one message holds very many small streams.
_INPUT: Final = 16 * 1024

# A stream costs some microseconds to begin, and the smallest has 2 bytes.
_FREE_STREAMS: Final = 64
_BYTES_PER_STREAM: Final = 256


# One more byte is asked for than may come, and zlib takes a length that C can count.
_MAX_SIZE: Final = sys.maxsize - 1


@dataclass(frozen=True, slots=True)
class DeflateParameters:
    """The parameters of permessage-deflate (RFC 7692 section 7.1): what one side wishes, or what both agreed on.

    :param server_no_context_takeover: the server compresses every message by itself.
    :param client_no_context_takeover: the client does.
    :param server_max_window_bits: the server refers back 2 to the power of this many bytes at most; 8 to 15.  `None`
        is no wish, and in an agreement 15.
    :param client_max_window_bits: the same for what the client sends.
    :raises ValueError: window bits out of range.
    """

    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False
    server_max_window_bits: int | None = None
    client_max_window_bits: int | None = None

    def __post_init__(self) -> None:
        for bits in (self.server_max_window_bits, self.client_max_window_bits):
            if bits is not None and not 8 <= bits <= 15:
                raise ValueError(f"window bits must be from 8 to 15, not {bits!r}")


class Deflate:
    """One connection's permessage-deflate in both directions (RFC 7692 section 7.2).

    A context (for sending 144 KiB at the default level of memory, for receiving up to 44) is made by the first message
    that needs it, so an idle connection has none; without context takeover it is dropped after each message.

    :param parameters: what was agreed on.
    :param server: True on the side of the server.
    :param level: 0 (none) to 9 (smallest).
    :param mem_level: memory for compression, 1 to 9; 8 makes a context of 256 KiB, 9 one of 384.
    :param threshold: bytes; what is shorter is better sent as it is.  A JSON message of 246 bytes shrinks to 153 when
        compressed by itself, one of 118 to 101, and one of 75 to 70; each costs 4 to 10 microseconds.
    :raises ValueError: a level out of range.
    """

    __slots__ = (
        "_compressor",
        "_decompressor",
        "_keep_received",
        "_keep_sent",
        "_octets",
        "_peer_bits",
        "_streams",
        "shared_key",
        "threshold",
    )

    def __init__(
        self,
        parameters: DeflateParameters,
        *,
        server: bool,
        level: int = 6,
        mem_level: int = 5,
        threshold: int = 256,
    ) -> None:
        if not 0 <= level <= 9:
            raise ValueError(f"compression level must be from 0 to 9, not {level!r}")
        if not 1 <= mem_level <= 9:
            raise ValueError(f"memory level must be from 1 to 9, not {mem_level!r}")
        ours = parameters.server_max_window_bits, not parameters.server_no_context_takeover
        theirs = parameters.client_max_window_bits, not parameters.client_no_context_takeover
        if not server:
            ours, theirs = theirs, ours
        self._keep_sent = ours[1]
        # Some compressors use a window of 512 bytes where they agreed on 256: zlib did so silently before 1.2.9.
        self._peer_bits = max(9, theirs[0] or 15)
        self._keep_received = theirs[1]
        #: Bytes: what is shorter is better sent as it is; nothing here looks at it.
        self.threshold = threshold
        #: Connections with equal keys can send one another's `compress_shared`.
        self.shared_key: tuple[int, int, int] = (ours[0] or 15, level, mem_level)
        self._compressor: Any = None
        self._decompressor: Any = None
        # Of the message being received: bytes so far, and DEFLATE streams begun within it.
        self._octets = 0
        self._streams = 0

    # Sending.

    def compress(self, payload: bytes) -> bytes:
        """Compress a whole message; what is returned must be sent before anything that is compressed later.

        :return: the payload of a frame with RSV1 set, or of a fragmented message whose first frame has it.
        """
        if not payload:
            # zlib has nothing to flush, and says so with nothing at all.
            return _EMPTY
        stream = self._compressor
        if stream is None:
            stream = self._new_compressor()
            if self._keep_sent:
                self._compressor = stream
        data: bytes = stream.compress(payload) + stream.flush(zlib.Z_SYNC_FLUSH)
        return data[:-4]

    def compress_shared(self, payload: bytes) -> bytes:
        """Compress a whole message by itself, for every connection whose `shared_key` equals this one's.

        Changes nothing here.  On each connection it is sent on, `forget_sent` must be called.
        """
        if not payload:
            return _EMPTY
        stream = self._new_compressor()
        data: bytes = stream.compress(payload) + stream.flush(zlib.Z_SYNC_FLUSH)
        return data[:-4]

    def forget_sent(self) -> None:
        """Begin a new context with the next message, and free the memory of this one.

        Needed after a message that did not go through `compress`: the peer counts distances across it, a context that
        has not seen it would count too short.  Allowed at any time, and the way to free the memory of a connection
        that has become idle: a sender need not refer to what it sent before (section 7.2.1).
        """
        self._compressor = None

    def _new_compressor(self) -> Any:
        bits, level, mem_level = self.shared_key
        if bits > 8:
            return zlib.compressobj(level, zlib.DEFLATED, -bits, mem_level)
        # zlib has no raw window of 256 bytes ("deflateInit2" of its manual).  A window of 512 will do when nothing
        # refers back further than a byte, which is what run-length encoding means there; the rest is Huffman's.
        return zlib.compressobj(level, zlib.DEFLATED, -9, mem_level, zlib.Z_RLE)

    # Receiving.

    def decompress(self, payload: bytes, *, final: bool, max_size: int) -> bytes:
        """Decompress a piece of a message.

        :param payload: the next bytes of the message, cut anywhere.
        :param final: whether the message ends with them.
        :param max_size: bytes that may come out of this call, 0 or more: what a message may have, less what its
            earlier pieces gave.  Never more than one byte beyond it is unpacked.
        :raises FrameError: 1009 when more would come out; 1007 for data that is not in DEFLATE format or refers back
            too far; 1008 for a message made of very many DEFLATE streams.  The connection must then be failed.

        That a peer refers back beyond its window is noticed only where zlib has let go of what lies there, and that
        depends on how the data was cut.  A message of no bytes at all is an empty one, although a sender should have
        sent one byte (section 7.2.3.6).
        """
        self._octets += len(payload)
        max_size = min(max_size, _MAX_SIZE)
        stream = self._decompressor
        data = payload
        # Nothing may be added to nothing: four bytes cannot stand alone, they would swallow what comes after them.
        if final and (payload or (stream is not None and self._octets)):
            data = payload + _TAIL
        out = b""
        if data:
            if stream is None:
                stream = self._begin_stream(self._octets - len(payload))
            try:
                out = stream.decompress(data, max_size + 1)
                if len(out) > max_size:
                    raise _too_big()
                if stream.eof:
                    out, stream = self._next_streams(out, stream.unused_data, final, max_size)
            except zlib.error:
                raise _corrupt() from None
        if final:
            self._octets = self._streams = 0
            if not self._keep_received:
                stream = None
        self._decompressor = stream
        return out

    def _next_streams(self, out: bytes, rest: bytes, final: bool, max_size: int) -> tuple[bytes, Any]:
        """Go on after a block with BFINAL (section 7.2.3.4): what follows is a new DEFLATE stream, and so on.

        :param out: what came out so far.
        :param rest: what follows the end of the stream, with the tail if `final`.
        :return: all that came out, and the stream that is not at its end, if any.
        """
        parts = [out]
        left = max_size - len(out)
        # The tail alone is no stream: the sender did without the byte that should stand between.
        size = len(rest)
        end = size - len(_TAIL) if final else size
        at = 0
        stream: Any = None
        while at < size and (stream is not None or at != end):
            if stream is None:
                if at > end:  # The stream before took a part of the tail for its own.
                    raise _corrupt()
                stream = self._begin_stream(self._octets - (end - at))
            piece = rest[at : at + _INPUT]
            part = stream.decompress(piece, left + 1)
            parts.append(part)
            left -= len(part)
            if left < 0:
                raise _too_big()
            at += len(piece)
            if stream.eof:
                at -= len(stream.unused_data)
                stream = None
        return b"".join(parts), stream

    def _begin_stream(self, offset: int) -> Any:
        """A new DEFLATE stream from that byte of the message on."""
        self._streams += 1
        if self._streams > _FREE_STREAMS + offset // _BYTES_PER_STREAM:
            raise FrameError("compressed message of too many small streams", CloseCode.POLICY_VIOLATION)
        return zlib.decompressobj(-self._peer_bits)


def _too_big() -> FrameError:
    return FrameError("message too big", CloseCode.MESSAGE_TOO_BIG)


def _corrupt() -> FrameError:
    return FrameError("malformed compressed data", CloseCode.INVALID_FRAME_PAYLOAD_DATA)
