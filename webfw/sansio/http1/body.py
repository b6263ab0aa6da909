"""Bodies: bytes in, payload out (RFC 9112 sections 6 and 7); what a payload means stays outside."""

from typing import Protocol

from webfw.sansio.errors import RemoteProtocolError
from webfw.sansio.http1.framing import excerpt
from webfw.sansio.http1.grammar import CHUNK_LINE, FORBIDDEN_IN_TRAILERS, IS_FIELD_LINE, PLAIN_CHUNK
from webfw.sansio.native import native

__all__ = ["BodyDecoder", "Chunked", "Length", "UntilClose"]


_plain_chunks = None if native is None else native.plain_chunks


class BodyDecoder(Protocol):
    """What all decoders offer.

    :ivar done: whether the body has ended.  As long as it has not, `receive` takes everything it is given.
    """

    done: bool

    def receive(self, data: bytes, start: int) -> tuple[bytes, int]:
        """Take `data` from offset `start` on.

        :returns: the payload found, which may be empty, and the offset of the first byte that was not taken.
        :raises RemoteProtocolError: when the bytes are not a body.
        """

    def receive_eof(self) -> None:
        """Say that no more bytes will come.

        :raises RemoteProtocolError: when the body is cut.
        """


class Length:
    """A body of `length` bytes (RFC 9112 section 6.2)."""

    __slots__ = ("done", "remaining")

    def __init__(self, length: int) -> None:
        self.remaining = length
        self.done = length == 0

    def receive(self, data: bytes, start: int) -> tuple[bytes, int]:
        """See `BodyDecoder.receive`."""
        available = len(data) - start
        if available < self.remaining:
            self.remaining -= available
            return (data[start:] if start else data), len(data)
        end = start + self.remaining
        self.remaining = 0
        self.done = True
        return data[start:end], end

    def receive_eof(self) -> None:
        """:raises RemoteProtocolError: when bytes are missing."""
        if not self.done:
            raise RemoteProtocolError(f"body cut, {self.remaining} bytes are missing")


class UntilClose:
    """A body that ends where the connection does (RFC 9112 section 6.3, rule 8; responses only)."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = False

    def receive(self, data: bytes, start: int) -> tuple[bytes, int]:
        """See `BodyDecoder.receive`."""
        if self.done:
            return b"", start
        return (data[start:] if start else data), len(data)

    def receive_eof(self) -> None:
        """The end of the body; never an error."""
        self.done = True


# What a chunked decoder waits for.
_SIZE, _DATA, _DATA_END, _TRAILERS, _DONE = range(5)

# A size line without its extension: 16 digits and CR (the LF is looked for).
_SIZE_LINE = 17


class Chunked:
    """A chunked body (RFC 9112 section 7.1).

    Extensions are checked and dropped, and so are trailer fields that must not be trailers (RFC 9110 section
    6.5.1).

    :param max_size: bytes of payload allowed, `None` for any number; more raises with status 413, as soon
        as the size of the chunk that is too large is known.
    :param max_extensions: bytes that all extensions of the body may take together.
    :param max_trailer_size: bytes of the whole trailer section, line ends included.
    :param max_trailers: field lines in the trailer section.
    :ivar size: bytes of payload announced so far.
    :ivar trailers: the trailer fields, complete when `done`; never to be merged into the header fields
        unseen.
    """

    __slots__ = (
        "_extensions",
        "_held",
        "_left",
        "_state",
        "_trailer_lines",
        "_trailer_size",
        "done",
        "max_extensions",
        "max_size",
        "max_trailer_size",
        "max_trailers",
        "size",
        "trailers",
    )

    def __init__(
        self,
        max_size: int | None = None,
        *,
        max_extensions: int = 16384,
        max_trailer_size: int = 16384,
        max_trailers: int = 100,
    ) -> None:
        self.max_size = max_size
        self.max_extensions = max_extensions
        self.max_trailer_size = max_trailer_size
        self.max_trailers = max_trailers
        self.done = False
        self.size = 0
        self.trailers: list[tuple[str, str]] = []
        self._state = _SIZE
        self._left = 0
        self._held = b""  # the beginning of a line whose end has not come
        self._extensions = 0
        self._trailer_size = 0
        self._trailer_lines = 0

    def receive(self, data: bytes, start: int) -> tuple[bytes, int]:
        """See `BodyDecoder.receive`.  Everything found in one call comes back as one payload."""
        pieces: list[bytes] = []
        at = start
        end = len(data)
        while at < end and self._state != _DONE:
            if self._state == _DATA:
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if self._left == 0:
                    self._state = _DATA_END
            elif self._state == _SIZE and not self._held:
                if _plain_chunks is not None:
                    room = end if self.max_size is None else min(self.max_size - self.size, end)
                    piece, at = _plain_chunks(data, at, room)
                    if piece:
                        pieces.append(piece)
                        self.size += len(piece)
                        continue
                at = self._begin_with(data, at, pieces)
            else:
                at = self._take_line(data, at)
        self.done = self._state == _DONE
        return (pieces[0] if len(pieces) == 1 else b"".join(pieces)), at

    def receive_eof(self) -> None:
        """:raises RemoteProtocolError: when the last chunk or the trailer section is not complete."""
        if not self.done:
            raise RemoteProtocolError("chunked body cut")

    def _begin_with(self, data: bytes, at: int, pieces: list[bytes]) -> int:
        """Take a size line, and the data behind it where they are whole; the offset behind what was taken."""
        match = PLAIN_CHUNK.match(data, at)
        if match is None:
            return self._take_line(data, at)
        at = match.end()
        self._begin_chunk(int(match[1], 16))
        stop = at + self._left
        if self._left and data[stop : stop + 2] == b"\r\n":
            pieces.append(data[at:stop])
            at = stop + 2
            self._left = 0
            self._state = _SIZE
        return at

    def _take_line(self, data: bytes, at: int) -> int:
        """Take up to the end of a line, or hold what has come of it; returns the offset behind."""
        stop = data.find(b"\n", at)
        line = data[at:] if stop < 0 else data[at : stop + 1]
        if self._held:
            line = self._held + line
        self._check_line_size(len(line))
        if stop < 0:
            self._held = line
            return len(data)
        self._held = b""
        if line[-2:] != b"\r\n":
            raise RemoteProtocolError("bare LF in a chunked body")
        if self._state == _SIZE:
            self._size_line(line[:-2])
        elif self._state == _DATA_END:
            self._state = _SIZE
        else:
            self._trailer_line(line[:-2])
        return stop + 1

    def _check_line_size(self, size: int) -> None:
        """`size` bytes of a line are there, with or without its end."""
        if self._state == _SIZE:
            if size > _SIZE_LINE + 1 + self.max_extensions - self._extensions:
                raise RemoteProtocolError("chunk size line too long")
        elif self._state == _TRAILERS:
            if size > self.max_trailer_size - self._trailer_size:
                raise RemoteProtocolError(f"trailer section over {self.max_trailer_size} bytes", 431)
        elif size > 2:
            raise RemoteProtocolError("chunk data without CRLF behind it")

    def _size_line(self, line: bytes) -> None:
        match = CHUNK_LINE.fullmatch(line)
        if match is None:
            raise RemoteProtocolError(f"malformed chunk size: {excerpt(str(line[:64], 'latin-1'))}")
        self._extensions += len(match[2])
        if self._extensions > self.max_extensions:
            raise RemoteProtocolError("chunk extensions too long")
        self._begin_chunk(int(match[1], 16))

    def _begin_chunk(self, size: int) -> None:
        self.size += size
        if self.max_size is not None and self.size > self.max_size:
            raise RemoteProtocolError(f"body over {self.max_size} bytes", 413)
        self._left = size
        self._state = _DATA if size else _TRAILERS

    def _trailer_line(self, line: bytes) -> None:
        if not line:
            self._state = _DONE
            return
        self._trailer_size += len(line) + 2
        self._trailer_lines += 1
        if self._trailer_lines > self.max_trailers:
            raise RemoteProtocolError(f"more than {self.max_trailers} trailer fields", 431)
        text = str(line, "latin-1")
        if IS_FIELD_LINE.fullmatch(text) is None:
            raise RemoteProtocolError(f"malformed trailer field: {excerpt(text)}")
        name, _, value = text.partition(":")
        if name.lower() not in FORBIDDEN_IN_TRAILERS:
            self.trailers.append((name, value.strip(" \t")))
