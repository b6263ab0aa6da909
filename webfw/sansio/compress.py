"""Content codings on the way out: gzip, and br or zstd where installed; no header and no choosing enters.

Every compressor offers ``compress`` (may keep bytes back), ``flush`` (everything so far becomes readable
for the peer) and ``finish`` (the end of the stream).  The codings are those of RFC 9110 section 8.4.1, RFC
7932 and RFC 8878.
"""

import importlib
import zlib
from collections.abc import Callable
from typing import Any, Protocol

__all__ = ["CODINGS", "Compressor", "available", "make_compressor"]

#: The content codings that can be asked for, best first.
CODINGS = ("zstd", "br", "gzip")


class Compressor(Protocol):
    """A body being compressed."""

    def compress(self, data: bytes) -> bytes:
        """Take data; give what is ready, which may be nothing."""

    def flush(self) -> bytes:
        """Give everything that was kept back, so that the peer can read all data taken so far."""

    def finish(self) -> bytes:
        """Give the end of the stream; nothing may be compressed after it."""


class _Gzip:
    __slots__ = ("_stream", "compress")

    def __init__(self, level: int) -> None:
        self._stream = zlib.compressobj(level, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
        self.compress: Callable[[bytes], bytes] = self._stream.compress

    def flush(self) -> bytes:
        return self._stream.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        return self._stream.flush()


class _Brotli:
    __slots__ = ("compress", "finish", "flush")

    def __init__(self, package: Any, level: int) -> None:
        stream = package.Compressor(quality=level)
        self.compress: Callable[[bytes], bytes] = stream.process
        self.flush: Callable[[], bytes] = stream.flush
        self.finish: Callable[[], bytes] = stream.finish


class _Zstandard:
    """Zstandard by the ``zstandard`` package."""

    __slots__ = ("_block", "_stream", "compress")

    def __init__(self, package: Any, level: int) -> None:
        self._stream = package.ZstdCompressor(level=level).compressobj()
        self._block = package.COMPRESSOBJ_FLUSH_BLOCK
        self.compress: Callable[[bytes], bytes] = self._stream.compress

    def flush(self) -> bytes:
        data: bytes = self._stream.flush(self._block)
        return data

    def finish(self) -> bytes:
        data: bytes = self._stream.flush()
        return data


class _StandardZstd:
    """Zstandard by the standard library (``compression.zstd``, Python 3.14)."""

    __slots__ = ("_block", "_stream", "compress")

    def __init__(self, package: Any, level: int) -> None:
        self._stream = package.ZstdCompressor(level=level)
        self._block = package.ZstdCompressor.FLUSH_BLOCK
        self.compress: Callable[[bytes], bytes] = self._stream.compress

    def flush(self) -> bytes:
        data: bytes = self._stream.flush(self._block)
        return data

    def finish(self) -> bytes:
        data: bytes = self._stream.flush()
        return data


# What can compress, per coding, in the order of trying: the module and the class that drives it.
_PACKAGES: dict[str, tuple[tuple[str, Callable[[Any, int], Compressor]], ...]] = {
    "br": (("brotli", _Brotli),),
    "zstd": (("compression.zstd", _StandardZstd), ("zstandard", _Zstandard)),
}


def _find(coding: str) -> "tuple[Any, Callable[[Any, int], Compressor]] | None":
    for name, driver in _PACKAGES.get(coding, ()):
        try:
            return importlib.import_module(name), driver
        except ImportError:
            continue
    return None


def available(coding: str) -> bool:
    """Say whether a content coding can be produced here: gzip always, br and zstd with their package."""
    return coding == "gzip" or _find(coding) is not None


def make_compressor(coding: str, level: int) -> Compressor:
    """Start compressing one body.

    :param coding: ``gzip``, ``br`` or ``zstd``.
    :param level: effort: 0 to 9 for gzip, 0 to 11 for br, 1 to 22 for zstd.
    :raises ValueError: for another coding or a level out of range.
    :raises RuntimeError: when the coding's package is not installed; the message names it.
    """
    if coding == "gzip":
        if not 0 <= level <= 9:
            raise ValueError(f"the gzip level must be between 0 and 9, not {level}")
        return _Gzip(level)
    if coding not in _PACKAGES:
        raise ValueError(f"unknown content coding {coding!r}; there are {', '.join(CODINGS)}")
    found = _find(coding)
    if found is None:
        package = _PACKAGES[coding][-1][0]
        raise RuntimeError(
            f"the content coding {coding!r} needs the {package} package: pip install webfw[compress]"
        )
    module, driver = found
    highest = 11 if coding == "br" else 22
    if not 0 <= level <= highest:
        raise ValueError(f"the {coding} level must be between 0 and {highest}, not {level}")
    return driver(module, level)
