"""Messages read from a stream: heads and bodies, decoded and bounded; what they mean stays outside."""

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TypeVar

from webfw.httputil import HTTPHeaders
from webfw.iostream import IOStream, StreamClosedError
from webfw.sansio.decompress import Decoder, decoder_for
from webfw.sansio.errors import RemoteProtocolError
from webfw.sansio.http1 import BodyDecoder, RequestHead, ResponseHead

__all__ = ["Payload", "read_body", "read_head"]

_Head = TypeVar("_Head", RequestHead, ResponseHead)

#: Content codings that ``decompress`` undoes.
_CODINGS = ("gzip", "x-gzip", "deflate")


def _put_back(stream: IOStream, rest: bytes) -> None:
    """Leave what belongs to later to the next read of whoever has the stream then."""
    if rest:
        stream._buffer.prepend(rest)


async def read_head(stream: IOStream, chunk_size: int, parse: Callable[[bytes, int], _Head | None]) -> _Head:
    """Read up to the end of a head.

    :param parse: takes what has come, and how much of it an earlier call has seen.
    :raises RemoteProtocolError: it is malformed or too large.
    :raises StreamClosedError: the stream ended before it did.
    """
    data = bytearray()
    seen = 0
    while True:
        data += await stream.read_bytes(chunk_size, partial=True)
        # A bytearray does for bytes here, and grows in place when they come one by one.
        head = parse(data, seen)  # type: ignore[arg-type]
        if head is not None:
            _put_back(stream, bytes(data[head.end :]))
            return head
        seen = len(data)


async def read_body(stream: IOStream, decoder: BodyDecoder, chunk_size: int) -> AsyncIterator[bytes]:
    """Give the pieces of a body, without framing, as they come.

    :raises RemoteProtocolError: it is malformed.
    :raises StreamClosedError: it was cut.
    """
    while not decoder.done:
        try:
            data = await stream.read_bytes(chunk_size, partial=True)
        except StreamClosedError:
            if stream.error is not None:  # broken off: not an end that could be the body's
                raise
            try:
                decoder.receive_eof()
            except RemoteProtocolError as error:
                raise StreamClosedError(real_error=error) from None
            return
        payload, used = decoder.receive(data, 0)
        _put_back(stream, data[used:])
        if payload:
            yield payload


class Payload:
    """A body's bytes on their way to a delegate: unpacked, counted and cut to size.

    :ivar max_size: bytes the whole may have; more raises `RemoteProtocolError` with status 413.
    """

    __slots__ = ("_chunk_size", "_inflate", "_size", "max_size")

    def __init__(self, chunk_size: int, max_size: int) -> None:
        self._chunk_size = chunk_size
        self._inflate: Decoder | None = None
        self._size = 0
        self.max_size = max_size

    def decompress(self, headers: HTTPHeaders) -> None:
        """Unpack a body that came compressed; the fields are changed to say so."""
        coding = headers.get("Content-Encoding", "").strip().lower()
        if coding in _CODINGS:
            headers["X-Consumed-Content-Encoding"] = headers["Content-Encoding"]
            del headers["Content-Encoding"]
            self._inflate = decoder_for(coding, sys.maxsize)  # counted here, since the limit may change

    def pieces(self, payload: bytes) -> Iterator[bytes]:
        """Give what a delegate is to get for some bytes of the body.

        :raises RemoteProtocolError: they are malformed, or too many.
        """
        for piece in (payload,) if self._inflate is None else self._inflate.slices(payload):
            self._size += len(piece)
            if self._size > self.max_size:
                raise RemoteProtocolError(f"body over {self.max_size} bytes", 413)
            for begin in range(0, len(piece), self._chunk_size):
                yield piece[begin : begin + self._chunk_size]

    def end(self) -> None:
        """The body is over.

        :raises RemoteProtocolError: the compressed data inside was cut short.
        """
        if self._inflate is not None:
            self._inflate.finish()
