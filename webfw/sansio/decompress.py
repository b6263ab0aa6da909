"""Content codings undone, piece by piece and below a ceiling: gzip, deflate, and br and zstd where installed.

RFC 9110 section 8.4.1.  A few kilobytes can unpack to gigabytes, so nothing here unpacks more than `SLICE`
bytes at once, and the total is counted.
"""

import importlib
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

from webfw.sansio.errors import RemoteProtocolError

__all__ = ["SLICE", "Decoder", "decoder_for", "supported_encodings"]

#: Bytes a decoder unpacks at once, at most (br: about that many).
SLICE: Final = 64 * 1024

# Input is handed on in pieces of this size: what the library gives back unused is copied, and that cost has
# to be bounded when one piece holds very many small members.
_INPUT: Final = 16 * 1024

# A gzip member costs some microseconds to begin, and the smallest has 20 bytes.
_FREE_MEMBERS: Final = 64
_BYTES_PER_MEMBER: Final = 256

# RFC 9659 section 3: a zstd window for HTTP is at most 8 MiB.
_ZSTD_WINDOW_LOG: Final = 23


class _Engine(Protocol):
    """One coding: takes input, gives output in slices."""

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Give what `data` unpacks to, in pieces of about `SLICE` bytes; raise `RemoteProtocolError`."""

    @property
    def complete(self) -> bool:
        """Whether the input may end here."""


class Decoder:
    """Undoes one content coding as the bytes arrive.

    :param encoding: its name, for messages.
    :param engine: what knows the coding.
    :param max_size: bytes the whole may unpack to.
    """

    __slots__ = ("_encoding", "_engine", "_left", "_max_size", "_received")

    def __init__(self, encoding: str, engine: _Engine, max_size: int) -> None:
        self._encoding = encoding
        self._engine = engine
        self._max_size = max_size
        self._left = max_size
        self._received = False

    def slices(self, data: bytes) -> Iterator[bytes]:
        """Take encoded bytes, give what they unpack to in pieces of about `SLICE` bytes, none of them empty.

        The iterator must be exhausted before the next call.

        :raises RemoteProtocolError: 400 for bytes the coding does not allow, 413 beyond the ceiling.
        """
        for begin in range(0, len(data), _INPUT):
            self._received = True
            for piece in self._engine.decode(data[begin : begin + _INPUT]):
                self._left -= len(piece)
                if self._left < 0:
                    raise RemoteProtocolError(
                        f"{self._encoding} body unpacks to over {self._max_size} bytes", 413
                    )
                if piece:
                    yield piece

    def receive(self, data: bytes) -> bytes:
        """Take encoded bytes and return all they unpack to; where that may be much, see `slices`.

        :raises RemoteProtocolError: see `slices`.
        """
        return b"".join(self.slices(data))

    def finish(self) -> None:
        """The body is over.  One of no bytes at all is accepted.

        :raises RemoteProtocolError: 400 when it was cut short.
        """
        if self._received and not self._engine.complete:
            raise RemoteProtocolError(f"{self._encoding} body is cut short")


def decoder_for(encoding: str, max_size: int) -> Decoder:
    """Make a decoder for a content coding.

    :param encoding: the value of Content-Encoding: ``gzip`` (or ``x-gzip``), ``deflate``, ``br``, ``zstd`` or
        ``identity``, in any case.  Several codings, one on top of another, are not supported.
    :param max_size: bytes the whole body may unpack to.
    :raises RemoteProtocolError: 415 for a coding that is unknown or whose library is not installed.
    """
    name = encoding.strip(" \t").lower()
    make = _ENGINES.get(name)
    engine = make() if make is not None else None
    if engine is None:
        raise RemoteProtocolError(f"unsupported content coding {encoding[:40]!r}", 415)
    return Decoder(name, engine, max_size)


def supported_encodings() -> tuple[str, ...]:
    """The codings `decoder_for` takes here, for an Accept-Encoding field; the best first."""
    return tuple(name for name in ("zstd", "br", "gzip", "deflate") if _ENGINES[name]() is not None)


def _malformed(encoding: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"malformed {encoding} body")


# --- the codings ---


class _Identity:
    __slots__ = ()
    complete = True

    def decode(self, data: bytes) -> Iterator[bytes]:
        yield data


class _Gzip:
    """RFC 1952: members, one after another, and nothing behind the last."""

    __slots__ = ("_member", "_members", "_octets")

    def __init__(self) -> None:
        self._member = zlib.decompressobj(16 + zlib.MAX_WBITS)
        self._members = 1
        self._octets = 0

    @property
    def complete(self) -> bool:
        return self._member.eof

    def decode(self, data: bytes) -> Iterator[bytes]:
        self._octets += len(data)
        while data:
            if self._member.eof:
                self._members += 1
                if self._members > _FREE_MEMBERS + self._octets // _BYTES_PER_MEMBER:
                    raise RemoteProtocolError("gzip body of too many small members")
                self._member = zlib.decompressobj(16 + zlib.MAX_WBITS)
            yield from _inflate(self._member, data, "gzip")
            data = self._member.unused_data


class _Deflate:
    """RFC 9110 section 8.4.1.2: zlib format (RFC 1950); also the bare stream (RFC 1951) some senders mean."""

    __slots__ = ("_first", "_stream")

    def __init__(self) -> None:
        self._first = b""
        self._stream: Any = None

    @property
    def complete(self) -> bool:
        return self._stream is not None and bool(self._stream.eof)

    def decode(self, data: bytes) -> Iterator[bytes]:
        if self._stream is None:
            data = self._first + data
            if len(data) < 2:
                self._first = data
                return
            # RFC 1950 section 2.2: method 8 in the low bits, and both bytes as one number are a multiple of 31.  A bare
            # stream looks so only where it begins with a stored block that has junk in its padding.
            zlib_format = data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0
            self._stream = zlib.decompressobj(zlib.MAX_WBITS if zlib_format else -zlib.MAX_WBITS)
        if self._stream.eof:
            raise _malformed("deflate")
        yield from _inflate(self._stream, data, "deflate")
        if self._stream.unused_data:
            raise _malformed("deflate")


def _inflate(stream: Any, data: bytes, encoding: str) -> Iterator[bytes]:
    try:
        piece = stream.decompress(data, SLICE)
        yield piece
        # A full slice: there may be more inside even when all input is consumed.
        while not stream.eof and (stream.unconsumed_tail or len(piece) == SLICE):
            piece = stream.decompress(stream.unconsumed_tail, SLICE)
            yield piece
    except zlib.error:
        raise _malformed(encoding) from None


class _Brotli:
    """RFC 7932, by the brotli or brotlicffi package, of a version that can limit its output."""

    __slots__ = ("_error", "_stream")

    def __init__(self, package: Any) -> None:
        self._stream = package.Decompressor()
        self._error = package.error

    @property
    def complete(self) -> bool:
        return bool(self._stream.is_finished())

    def decode(self, data: bytes) -> Iterator[bytes]:
        if self._stream.is_finished():
            raise _malformed("br")
        try:
            piece = self._stream.process(data, output_buffer_limit=SLICE)
            yield piece
            # The library may be ready for more input while it still holds output back, so it is asked until none comes.
            while not self._stream.is_finished() and (piece or not self._stream.can_accept_more_data()):
                piece = self._stream.process(b"", output_buffer_limit=SLICE)
                yield piece
        except self._error:
            raise _malformed("br") from None


class _Zstd:
    """RFC 8878, by Python's own module (3.14) or the backports.zstd package: frames, one after another."""

    __slots__ = ("_error", "_frame", "_frames", "_new", "_octets")

    def __init__(self, package: Any) -> None:
        options = {package.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG}
        self._new: Callable[[], Any] = lambda: package.ZstdDecompressor(options=options)
        self._error = package.ZstdError
        self._frame = self._new()
        self._frames = 1
        self._octets = 0

    @property
    def complete(self) -> bool:
        return bool(self._frame.eof)

    def decode(self, data: bytes) -> Iterator[bytes]:
        self._octets += len(data)
        try:
            while data:
                if self._frame.eof:
                    self._frames += 1
                    if self._frames > _FREE_MEMBERS + self._octets // _BYTES_PER_MEMBER:
                        raise RemoteProtocolError("zstd body of too many small frames")
                    self._frame = self._new()
                yield self._frame.decompress(data, SLICE)
                while not self._frame.eof and not self._frame.needs_input:
                    yield self._frame.decompress(b"", SLICE)
                data = self._frame.unused_data if self._frame.eof else b""
        except self._error:
            raise _malformed("zstd") from None


def _first_package(names: tuple[str, ...]) -> Any:
    """The first of some packages that is installed, or None.

    By name, since which one it is depends on the version of Python.
    """
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None


def _make_brotli() -> _Engine | None:
    for name in ("brotli", "brotlicffi"):
        package = _first_package((name,))
        # Without it (before 1.2) the library cannot be told to stop in the middle of a bomb.
        if hasattr(getattr(package, "Decompressor", None), "can_accept_more_data"):
            return _Brotli(package)
    return None


def _make_zstd() -> _Engine | None:
    package = _first_package(("compression.zstd", "backports.zstd"))
    return _Zstd(package) if package is not None else None


_ENGINES: Final[dict[str, Callable[[], _Engine | None]]] = {
    "identity": _Identity,
    "gzip": _Gzip,
    "x-gzip": _Gzip,
    "deflate": _Deflate,
    "br": _make_brotli,
    "zstd": _make_zstd,
}
