"""How a message that is written is framed (RFC 9112 sections 6, 7 and 9.3); streams stay outside."""

from webfw.httputil import HTTPHeaders, HTTPOutputError, RequestStartLine, ResponseStartLine
from webfw.sansio.http1 import RequestHead, encode_chunk, encode_head, encode_request_head, status_line

__all__ = ["Framing"]

#: Methods whose requests have a body even where no length is known (RFC 9110 section 9.3).
_METHODS_WITH_BODY = ("POST", "PUT", "PATCH")


class Framing:
    """One message on its way out.

    :ivar close: whether the connection ends after it, for a response.
    """

    __slots__ = ("_bodiless", "_left", "chunked", "close")

    def __init__(self, close: bool = False) -> None:
        self.close = close
        self.chunked = False
        #: Content that was announced and not written yet; None for any number.
        self._left: int | None = None
        self._bodiless = False

    def request(self, line: RequestStartLine, headers: HTTPHeaders) -> bytes:
        """The head of a request; ``Content-Length``, ``Transfer-Encoding`` or the method frames the body."""
        length = _length_of(headers)
        coding = headers.get("Transfer-Encoding")
        fields = list(headers.get_all())
        if length is None and (coding is not None or line.method in _METHODS_WITH_BODY):
            if coding is None:
                fields.append(("Transfer-Encoding", "chunked"))
            elif coding.lower() != "chunked":
                raise HTTPOutputError(f"unsupported Transfer-Encoding {coding[:40]!r}")
            self.chunked = True
        elif coding is not None:
            raise HTTPOutputError("both Transfer-Encoding and Content-Length")
        else:
            self._left = length or 0
        return encode_request_head(line.method, line.path, fields)

    def response(self, line: ResponseStartLine, headers: HTTPHeaders, asked: RequestHead | None) -> bytes:
        """The head of a response.

        :param asked: the request it answers, or None where that is not known.
        """
        status = line.code
        minor = 1 if asked is None else asked.minor
        head_only = asked is not None and asked.method == "HEAD"
        no_body = status in (101, 204, 304)
        length = _length_of(headers)
        self._bodiless = head_only or no_body
        chunked = length is None and minor > 0 and not no_body
        self._left = None if self._bodiless else length
        if length is None and not chunked and not self._bodiless:
            self.close = True  # HTTP/1.0: the end of the connection ends the body
        fields = self._persistence(headers, minor)
        if chunked:
            fields.append(("Transfer-Encoding", "chunked"))
        if length is not None and status in (101, 204):  # RFC 9110 section 8.6: MUST NOT be sent
            fields = [pair for pair in fields if pair[0] != "Content-Length"]
        self.chunked = chunked and not self._bodiless
        return encode_head(status_line(status, line.reason), fields)

    def _persistence(self, headers: HTTPHeaders, minor: int) -> list[tuple[str, str]]:
        """The fields with the ``Connection`` that fits, and without a framing of the program's own."""
        fields = [pair for pair in headers.get_all() if pair[0] not in ("Connection", "Transfer-Encoding")]
        options = headers.get("Connection", "")
        words = _words(options)
        self.close = self.close or "close" in words
        if self.close:
            options = options if "upgrade" in words else "close"
        elif not minor:
            options = "keep-alive"
        if options:
            fields.append(("Connection", options))
        return fields

    def frame(self, chunk: bytes) -> bytes:
        """A piece of the body as it goes on the wire.

        :raises HTTPOutputError: it is more than ``Content-Length`` announced.
        """
        if self._bodiless or not chunk:
            return b""
        if self._left is not None:
            self._left -= len(chunk)
            if self._left < 0:
                raise HTTPOutputError("more was written than Content-Length announced")
        return encode_chunk(chunk) if self.chunked else chunk

    def check_complete(self) -> None:
        """:raises HTTPOutputError: less was written than ``Content-Length`` announced."""
        if self._left:
            raise HTTPOutputError(f"{self._left} bytes less were written than Content-Length announced")


def _words(options: str) -> list[str]:
    return [word.strip().lower() for word in options.split(",")]


def _length_of(headers: HTTPHeaders) -> int | None:
    length = headers.get("Content-Length")
    if length is None:
        return None
    if not (length.isascii() and length.isdigit()):
        raise HTTPOutputError(f"Content-Length is no number: {length[:40]!r}")
    return int(length)
