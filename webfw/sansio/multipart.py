"""multipart/form-data as a push decoder: bytes in, parts out, bounded; what becomes of a part stays outside.

RFC 7578 (form-data) on top of RFC 2046 section 5.1 (multipart).  Differences, each on purpose: names are
UTF-8 whatever ``_charset_`` says, a Content-Transfer-Encoding is not decoded (RFC 7578 section 4.7 deprecates
it), and line ends are CR LF only.
"""

import re
from dataclasses import dataclass
from typing import Final

from webfw.sansio.errors import RemoteProtocolError
from webfw.sansio.parameters import resolve_parameters, split_parameters

__all__ = ["Event", "MultipartDecoder", "MultipartLimits", "PartBegin", "PartData", "PartEnd"]

# RFC 2046 section 5.1.1: boundary = 0*69bchars bcharsnospace.
_BOUNDARY: Final = re.compile(rb"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")

# RFC 9110 sections 5.1 and 5.5, for the fields of a part.
_FIELD_LINE: Final = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]++):([^\x00-\x08\x0a-\x1f\x7f]*+)")

# RFC 2046 section 5.1.1: transport-padding = *LWSP-char, after a boundary and before its CR LF.
_PADDING: Final = re.compile(rb"[ \t]*+")
_MAX_PADDING: Final = 64


@dataclass(frozen=True, slots=True)
class MultipartLimits:
    """How much a form may ask of the server.

    :ivar max_parts: parts in one form.
    :ivar max_header_size: bytes of the fields of one part.
    :ivar max_field_bytes: bytes of all parts together that are no files, since those end up in memory; None:
        no limit.
    :ivar max_name_length: characters of a part's name or file name.
    :ivar max_ignored_bytes: bytes before the first boundary, and as many after the last; both are passed
        over.
    """

    max_parts: int = 100
    max_header_size: int = 10 * 1024
    max_field_bytes: int | None = 16 * 1024 * 1024
    max_name_length: int = 4096
    max_ignored_bytes: int = 64 * 1024


class PartBegin:
    """A part begins.

    :ivar name: the name of the form field; never empty.
    :ivar filename: the file name as sent, None for a part that is no file; empty where a file was not chosen.
    :ivar content_type: the value of the part's Content-Type, None when it has none.
    :ivar headers: all fields of the part, as (name, value) in order.
    :ivar offset: where its content begins, in bytes from the start of the body.
    """

    __slots__ = ("content_type", "filename", "headers", "name", "offset")

    def __init__(
        self,
        name: str,
        filename: str | None,
        content_type: str | None,
        headers: list[tuple[str, str]],
        offset: int,
    ) -> None:
        self.name = name
        self.filename = filename
        self.content_type = content_type
        self.headers = headers
        self.offset = offset

    def __repr__(self) -> str:
        return f"PartBegin(name={self.name!r}, filename={self.filename!r}, offset={self.offset})"


class PartData:
    """A piece of the content of the part that began last.

    :ivar data: the piece; never empty.
    """

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __repr__(self) -> str:
        return f"PartData({self.data!r})"


class PartEnd:
    """The part that began last is complete.

    :ivar offset: where its content ended, in bytes from the start of the body.
    """

    __slots__ = ("offset",)

    def __init__(self, offset: int) -> None:
        self.offset = offset

    def __repr__(self) -> str:
        return f"PartEnd(offset={self.offset})"


Event = PartBegin | PartData | PartEnd

_PREAMBLE, _HEADERS, _DATA, _EPILOGUE = range(4)
# What follows a delimiter: not known yet, no boundary after all, another part, the end of the form.
_UNDECIDED, _CONTENT, _NEXT, _CLOSE = range(4)


class MultipartDecoder:
    """Takes a form apart as it arrives.

    :param boundary: the boundary parameter of the Content-Type.
    :param limits: see `MultipartLimits`.
    :raises RemoteProtocolError: the boundary is empty, over 70 bytes or has characters it must not have.

    Time is linear in the bytes received whatever they are: a boundary holds no CR, so that no two candidates
    for one overlap.  Memory is what one part's header may take, plus what the caller passes at once.
    """

    __slots__ = (
        "_base",
        "_delimiter",
        "_field_bytes",
        "_ignored",
        "_is_field",
        "_lead",
        "_limits",
        "_parts",
        "_searched",
        "_state",
        "_tail",
    )

    def __init__(self, boundary: bytes, limits: MultipartLimits | None = None) -> None:
        if _BOUNDARY.fullmatch(boundary) is None:
            raise RemoteProtocolError("multipart/form-data: invalid boundary")
        self._delimiter: Final = b"\r\n--" + boundary
        self._limits: Final = limits or MultipartLimits()
        self._state = _PREAMBLE
        # What has arrived and could not be told yet, and the offset of its first byte in the body.
        self._tail = b""
        self._base = 0
        # Of an incomplete header: how much has been searched for its end.
        self._searched = 0
        # How many bytes of the header's own line end still stand before the content.
        self._lead = 0
        self._parts = 0
        self._is_field = False
        self._field_bytes = 0
        self._ignored = 0

    @property
    def done(self) -> bool:
        """Whether the closing boundary has come; whatever follows is passed over."""
        return self._state == _EPILOGUE

    def receive(self, data: bytes) -> list[Event]:
        """Take bytes of the body.

        :return: what they complete, in order.  The content of a part comes in one piece where it arrived in
            one.
        :raises RemoteProtocolError: malformed, or over a limit: 413 for too many bytes in fields, else 400.
        """
        events: list[Event] = []
        buffer = self._tail + data if self._tail else data
        at = 0
        while at >= 0:
            if self._state == _DATA:
                at = self._take_data(buffer, at, events)
            elif self._state == _HEADERS:
                at = self._take_headers(buffer, at, events)
            elif self._state == _PREAMBLE:
                at = self._skip_preamble(buffer, at)
            else:
                self._ignore(len(buffer) - at)
                at = ~len(buffer)
        self._tail = buffer[~at:]
        self._base += ~at
        return events

    def finish(self) -> None:
        """The body is over.

        :raises RemoteProtocolError: the closing boundary has not come.
        """
        if self._state != _EPILOGUE:
            raise RemoteProtocolError("multipart/form-data: no final boundary found")

    # Each of the next three takes what it can from `buffer`, beginning at `at`.  It returns the offset where
    # the next state begins, or, when more has to arrive, the complement (``~``) of the offset from which on
    # to keep what is there.

    def _skip_preamble(self, buffer: bytes, at: int) -> int:
        delimiter = self._delimiter
        if self._base == 0:
            # At the very beginning the line end that belongs to a delimiter is not there.
            first = delimiter[2:]
            if buffer.startswith(first):
                verdict, after = _what_follows(buffer, len(first))
                if verdict == _UNDECIDED:
                    return ~at
                if verdict != _CONTENT:
                    return self._enter(verdict, after)
            elif first.startswith(buffer):
                return ~at
        found, verdict, after = self._find_delimiter(buffer, at)
        self._ignore(found - at)
        return self._enter(verdict, after) if verdict != _UNDECIDED else ~found

    def _take_headers(self, buffer: bytes, at: int, events: list[Event]) -> int:
        limit = self._limits.max_header_size
        if buffer.startswith(b"\r\n", at):
            raise RemoteProtocolError("multipart/form-data: part without header")
        end = buffer.find(b"\r\n\r\n", max(at, at + self._searched - 3), at + limit + 4)
        if end < 0:
            if len(buffer) - at >= limit + 4:
                raise RemoteProtocolError("multipart/form-data: part header too large")
            self._searched = len(buffer) - at
            return ~at
        self._searched = 0
        part = _read_header(buffer[at:end], self._base + end + 4, self._limits.max_name_length)
        events.append(part)
        self._is_field = not part.filename
        self._state = _DATA
        # A part may have no content at all: then the empty line's end is that of the delimiter, too (RFC 2046
        # section 5.1.1, body-part), so the search begins there.
        self._lead = 2
        return end + 2

    def _take_data(self, buffer: bytes, at: int, events: list[Event]) -> int:
        begin = at + self._lead
        found, verdict, after = self._find_delimiter(buffer, at)
        if found > begin:
            if self._is_field:
                self._field_bytes += found - begin
                most = self._limits.max_field_bytes
                if most is not None and self._field_bytes > most:
                    raise RemoteProtocolError(f"multipart/form-data: over {most} bytes in fields", 413)
            events.append(PartData(buffer[begin:found]))
        if verdict == _UNDECIDED:
            self._lead = max(0, begin - found)
            return ~found
        events.append(PartEnd(self._base + max(begin, found)))
        return self._enter(verdict, after)

    def _find_delimiter(self, buffer: bytes, at: int) -> tuple[int, int, int]:
        """Find the next delimiter: where it begins, what it is, and where it ends.

        While none is complete, where one may have begun (else the end of `buffer`), `_UNDECIDED`, and 0.
        """
        delimiter = self._delimiter
        begin = at
        while (found := buffer.find(delimiter, begin)) >= 0:
            begin = found + len(delimiter)
            verdict, after = _what_follows(buffer, begin)
            if verdict != _CONTENT:
                return found, verdict, after
        # A boundary holds no CR, so only the last CR can begin a delimiter that is cut off here.
        found = buffer.rfind(b"\r", max(at, len(buffer) - len(delimiter) + 1))
        if found < 0 or not delimiter.startswith(buffer[found:]):
            found = len(buffer)
        return found, _UNDECIDED, 0

    def _enter(self, verdict: int, after: int) -> int:
        if verdict == _CLOSE:
            self._state = _EPILOGUE
            self._ignored = 0
            return after
        self._parts += 1
        if self._parts > self._limits.max_parts:
            raise RemoteProtocolError("multipart/form-data: too many parts")
        self._state = _HEADERS
        return after

    def _ignore(self, count: int) -> None:
        self._ignored += count
        if self._ignored > self._limits.max_ignored_bytes:
            raise RemoteProtocolError("multipart/form-data: too many bytes outside the parts")


def _what_follows(buffer: bytes, at: int) -> tuple[int, int]:
    """Tell a delimiter from content that looks like one, by what follows at `at`; also where that ends."""
    two = buffer[at : at + 2]
    if two == b"\r\n":
        return _NEXT, at + 2
    if two == b"--":
        return _CLOSE, at + 2
    if two == b"-":
        return _UNDECIDED, at
    padding = _PADDING.match(buffer, at, at + _MAX_PADDING)
    end = padding.end() if padding else at
    two = buffer[end : end + 2]
    if two == b"\r\n":
        return _NEXT, end + 2
    if two in (b"", b"\r"):
        return _UNDECIDED, at
    return _CONTENT, at


def _read_header(block: bytes, offset: int, max_name: int) -> PartBegin:
    """Read the fields of a part.

    :param offset: where the content begins.
    :raises RemoteProtocolError: a line is no field, or the part has no single name.
    """
    try:
        text = block.decode("utf-8")
    except UnicodeDecodeError:
        raise RemoteProtocolError("multipart/form-data: part header is not UTF-8") from None
    headers: list[tuple[str, str]] = []
    disposition: str | None = None
    content_type: str | None = None
    for line in text.split("\r\n"):
        match = _FIELD_LINE.fullmatch(line)
        if match is None:
            raise RemoteProtocolError("multipart/form-data: malformed header line")
        name, value = match[1], match[2].strip(" \t")
        headers.append((name, value))
        lower = name.lower()
        if lower == "content-disposition":
            if disposition is not None:
                raise RemoteProtocolError("multipart/form-data: part with more than one Content-Disposition")
            disposition = value
        elif lower == "content-type":
            if content_type is not None:
                raise RemoteProtocolError("multipart/form-data: part with more than one Content-Type")
            content_type = value
    if disposition is None:
        raise RemoteProtocolError("multipart/form-data: part without Content-Disposition")
    kind, pairs = split_parameters(disposition)
    if kind.lower() != "form-data":
        raise RemoteProtocolError("multipart/form-data: part whose Content-Disposition is not form-data")
    # Where a name comes twice, one reader takes the first and another the last: a way past filters.
    given = [parameter for parameter, _ in pairs]
    if given.count("name") > 1 or given.count("filename") > 1:
        raise RemoteProtocolError("multipart/form-data: part with more than one name")
    parameters = resolve_parameters(pairs)
    name, filename = parameters.get("name", ""), parameters.get("filename")
    if not name:
        raise RemoteProtocolError("multipart/form-data: part without name")
    if len(name) > max_name or len(filename or "") > max_name:
        raise RemoteProtocolError("multipart/form-data: part name too long")
    return PartBegin(name, filename, content_type, headers, offset)
