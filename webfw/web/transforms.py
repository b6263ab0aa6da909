"""What may happen to an answer on its way out: content codings; how it is made and sent stays out."""

from collections.abc import Container, Mapping, Sequence
from functools import lru_cache
from typing import Any

from webfw.httputil import HTTPHeaders, HTTPServerRequest
from webfw.httputil.values import choose_encoding
from webfw.sansio.compress import CODINGS, Compressor, available, make_compressor

__all__ = ["GZipContentEncoding", "OutputTransform", "compression_transform", "gains_by_compression"]


class OutputTransform:
    """Changes an answer on its way to the client; one is made for every request.

    Register a subclass with ``Application(transforms=[...])``.  The default lets everything through.
    """

    def __init__(self, request: HTTPServerRequest) -> None:
        pass

    def transform_first_chunk(
        self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
    ) -> tuple[int, HTTPHeaders, bytes]:
        """Take the head of the answer with the first piece of its body, and return all three.

        :param finishing: True when the whole body is in ``chunk``.
        """
        return status_code, headers, chunk

    def transform_chunk(self, chunk: bytes, finishing: bool) -> bytes:
        """Take another piece of the body, the last when ``finishing``, and return what is to be sent."""
        return chunk


# The same few values of Accept-Encoding come all day.
_choose = lru_cache(maxsize=256)(choose_encoding)


class GZipContentEncoding(OutputTransform):
    """Compresses textual answers for clients that accept it (RFC 9110 section 8.4).

    Used when the application setting ``compress_response`` is true.  The setting ``compress_encodings`` may
    name further codings in order of preference, such as ``["zstd", "br", "gzip"]``; they need the packages
    of ``webfw[compress]``.

    Left alone are answers that are shorter than `MIN_LENGTH`, of a type that gains nothing, encoded
    already, a part of something (206, Content-Range), or marked ``Cache-Control: no-transform``.  A strong
    entity tag becomes weak, since the bytes are no longer the ones it named (RFC 9110 section 8.8.1).
    """

    #: Media types to compress beside ``text/*``, ``*+json`` and ``*+xml``.
    CONTENT_TYPES = {
        "application/atom+xml",
        "application/javascript",
        "application/json",
        "application/manifest+json",
        "application/vnd.ms-fontobject",
        "application/wasm",
        "application/x-javascript",
        "application/x-ndjson",
        "application/xhtml+xml",
        "application/xml",
        "font/otf",
        "font/ttf",
        "image/bmp",
        "image/svg+xml",
        "image/x-icon",
        "image/vnd.microsoft.icon",
    }
    #: Effort of gzip, 0 (none) to 9.
    GZIP_LEVEL = 6
    #: Effort of br, 0 to 11, and of zstd, 1 to 22.
    BROTLI_LEVEL = 4
    ZSTD_LEVEL = 3
    #: Bytes below which an answer of known length is not worth it.
    MIN_LENGTH = 1024
    #: Codings on offer, in order of preference.
    ENCODINGS: tuple[str, ...] = ("gzip",)

    #: The coding this client would get, and the running compressor once it is decided that it does.
    _coding: str | None = None
    _compressor: Compressor | None = None

    def __init__(self, request: HTTPServerRequest) -> None:
        accept = request.headers.get("Accept-Encoding")
        if accept is not None:
            self._coding = _choose(accept, self.ENCODINGS)
        self._bodiless = request.method == "HEAD"
        self._wanted_tags = request.headers.get("If-None-Match") or ""

    @property
    def active(self) -> bool:
        """Whether the body of this answer is being changed; known after `transform_first_chunk`."""
        return self._compressor is not None

    def _compressible_type(self, content_type: str) -> bool:
        return gains_by_compression(content_type, self.CONTENT_TYPES)

    def _worth_it(self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool) -> bool:
        if status_code < 200 or status_code in (204, 205, 206, 304):
            return False
        if "Content-Encoding" in headers or "Content-Range" in headers:
            return False
        if not self._compressible_type(headers.get("Content-Type") or ""):
            return False
        if "no-transform" in (headers.get("Cache-Control") or "").lower():
            return False
        length = headers.get("Content-Length")
        if length is not None and length.isdecimal() and (not finishing or self._bodiless):
            return int(length) >= self.MIN_LENGTH
        return not finishing or len(chunk) >= self.MIN_LENGTH

    def transform_first_chunk(
        self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
    ) -> tuple[int, HTTPHeaders, bytes]:
        _add_vary(headers)
        etag = headers.get("Etag")
        if status_code == 304 and etag and f"W/{etag}" in self._wanted_tags:
            # What the client keeps is the compressed form, whose tag is the weak one (RFC 9111 section
            # 4.3.4).
            headers["Etag"] = f"W/{etag}"
        if self._coding is None or not self._worth_it(status_code, headers, chunk, finishing):
            return status_code, headers, chunk
        self._compressor = make_compressor(self._coding, self._level())
        headers["Content-Encoding"] = self._coding
        if etag and not etag.startswith("W/"):
            headers["Etag"] = f"W/{etag}"
        stated = "Content-Length" in headers
        if stated:
            del headers["Content-Length"]
        if self._bodiless and not chunk and finishing:
            return status_code, headers, chunk  # the length of the compressed body is not known
        chunk = self.transform_chunk(chunk, finishing)
        if stated and finishing:
            headers["Content-Length"] = str(len(chunk))
        return status_code, headers, chunk

    def transform_chunk(self, chunk: bytes, finishing: bool) -> bytes:
        compressor = self._compressor
        if compressor is None:
            return chunk
        if finishing:
            return compressor.compress(chunk) + compressor.finish()
        if not chunk:
            return b""
        return compressor.compress(chunk) + compressor.flush()

    def _level(self) -> int:
        if self._coding == "br":
            return self.BROTLI_LEVEL
        return self.ZSTD_LEVEL if self._coding == "zstd" else self.GZIP_LEVEL


def gains_by_compression(
    content_type: str, more: "Container[str]" = GZipContentEncoding.CONTENT_TYPES
) -> bool:
    """Say whether a body of a media type gets notably smaller: text, JSON, XML, and the types in ``more``."""
    mime_type = content_type.partition(";")[0].strip().lower()
    return mime_type.startswith("text/") or mime_type in more or mime_type.endswith(("+json", "+xml"))


def _add_vary(headers: HTTPHeaders) -> None:
    """Tell caches that the answer depends on Accept-Encoding (RFC 9110 section 12.5.5)."""
    vary = headers.get("Vary")
    if vary is None:
        headers["Vary"] = "Accept-Encoding"
        return
    names = [name.strip().lower() for name in vary.split(",")]
    if "*" not in names and "accept-encoding" not in names:
        headers["Vary"] = ", ".join(value for value in (vary, "Accept-Encoding") if value)


def compression_transform(settings: Mapping[str, Any]) -> type[OutputTransform] | None:
    """Give the transform that an application's settings ask for, or None.

    ``compress_response`` (or its old name ``gzip``) switches it on; ``compress_encodings``, a list of
    codings in order of preference, is ``["gzip"]`` by default.

    :raises ValueError: for an unknown coding.
    :raises RuntimeError: for a coding whose package is not installed.
    """
    if not (settings.get("compress_response") or settings.get("gzip")):
        return None
    encodings: Sequence[str] = settings.get("compress_encodings") or ("gzip",)
    if isinstance(encodings, str):
        encodings = (encodings,)
    for coding in encodings:
        if coding not in CODINGS:
            raise ValueError(f"compress_encodings: unknown coding {coding!r}; there are {', '.join(CODINGS)}")
        if not available(coding):
            make_compressor(coding, 1)  # says which package is missing
    if tuple(encodings) == GZipContentEncoding.ENCODINGS:
        return GZipContentEncoding
    return type("ContentEncoding", (GZipContentEncoding,), {"ENCODINGS": tuple(encodings)})
