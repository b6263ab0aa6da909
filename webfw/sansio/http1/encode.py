"""Messages into bytes (RFC 9112); which fields a message needs is not decided here.

Nothing that could end a line early gets through: every name must be a token, and no value may hold a control
character (RFC 9110 section 5.5).  Whoever tries gets a `LocalProtocolError` that names the field.
"""

from collections.abc import Collection, Iterable
from functools import lru_cache
from http import HTTPStatus
from typing import Final

from webfw.sansio.errors import LocalProtocolError
from webfw.sansio.http1.framing import excerpt
from webfw.sansio.http1.grammar import FORBIDDEN_IN_TRAILERS, IS_FIELD_VALUE, IS_TARGET, IS_TOKEN
from webfw.sansio.native import native

__all__ = ["encode_chunk", "encode_head", "encode_last_chunk", "encode_request_head", "status_line"]

# RFC 9110 section 15 and the IANA registry: the names that 3.11's http.HTTPStatus has otherwise.
_REASONS: Final = {status.value: status.phrase for status in HTTPStatus} | {
    302: "Found",
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    418: "I'm a Teapot",
    422: "Unprocessable Content",
}

# All control characters but HTAB.  Those in a block are counted by taking them out, which is faster than a
# search: more than the CRs and LFs that were put there means that one came in with a name or a value.
_CONTROLS: Final = bytes([*range(9), *range(10, 32), 127])

_MAX_PREFIXES: Final = 1024


class _Prefixes(dict[str, str]):
    """What begins the line of each field name met so far: CRLF, the name, a colon and a space.

    A memory of a pure function, so threads may share it; bounded in number, and names of unusual
    length are not kept.
    """

    def __missing__(self, name: str) -> str:
        if IS_TOKEN.fullmatch(name) is None:
            raise LocalProtocolError(f"field name {excerpt(name)} is not a token")
        prefix = "\r\n" + name + ": "  # an f-string would ask a subclass of str how it wants to be shown
        if len(name) <= 64:
            if len(self) >= _MAX_PREFIXES:
                self.clear()
            self[name] = prefix
        return prefix


_prefixes = _Prefixes()

_plain_message = None if native is None else native.plain_message


@lru_cache(maxsize=1024)
def status_line(status: int, reason: str | None = None) -> str:
    """The status line ``HTTP/1.1 200 OK``, without its CRLF (RFC 9112 section 4).

    :param status: 100 to 999.
    :param reason: the reason phrase; `None` takes the registered one, "Unknown" when there is none.
    :raises LocalProtocolError: for a status out of range and for control or non-latin-1 characters in the
        reason.
    """
    if not 100 <= status <= 999:
        raise LocalProtocolError(f"status must be 100 to 999, not {status}")
    if reason is None:
        reason = _REASONS.get(status, "Unknown")
    if IS_FIELD_VALUE.fullmatch(reason) is None:
        raise LocalProtocolError(f"reason phrase {excerpt(reason)} has a character that is not allowed")
    return f"HTTP/1.1 {int(status)} " + reason  # not as a subclass of str shows itself: that is unchecked


def encode_head(status_line: str, fields: Collection[tuple[str, str]], body: bytes = b"") -> bytes:
    """A whole head: the first line, the fields in the order given, and the empty line.

    :param status_line: what `status_line` returned.
    :param fields: names and values; values are latin-1 text.
    :param body: what follows the head at once.
    :raises LocalProtocolError: naming the field, when a name is not a token or a value has a control
        character other than HTAB or a character outside latin-1.
    """
    if _plain_message is not None and (message := _plain_message(status_line, fields, body)) is not None:
        return message  # type: ignore[no-any-return]
    prefixes = _prefixes
    try:
        lines = [prefixes[name] + value for name, value in fields]
    except TypeError as error:
        raise LocalProtocolError(f"field names and values must be str: {error}") from error
    try:
        block = f"{status_line}{''.join(lines)}\r\n\r\n".encode("latin-1")
    except UnicodeEncodeError:
        raise _fault(status_line, lines) from None
    if len(block) - len(block.translate(None, _CONTROLS)) != 2 * len(lines) + 4:
        raise _fault(status_line, lines)
    return block + body if body else block


def _fault(first_line: str, lines: list[str]) -> LocalProtocolError:
    """Name the line that spoils a block."""
    for line in lines:
        name, _, value = line[2:].partition(": ")
        if IS_FIELD_VALUE.fullmatch(value) is None:
            return LocalProtocolError(
                f"value {excerpt(value)} of field {excerpt(name)} has a character that is not allowed"
            )
    return LocalProtocolError(f"first line {excerpt(first_line)} has a character that is not allowed")


def encode_request_head(method: str, target: str, fields: Collection[tuple[str, str]]) -> bytes:
    """A whole request head in HTTP/1.1 (RFC 9112 section 3).

    :param method: a token.
    :param target: visible ASCII without "#", already in the form the request needs.
    :param fields: as for `encode_head`.
    :raises LocalProtocolError: when one of them is not what it should be.
    """
    if IS_TOKEN.fullmatch(method) is None:
        raise LocalProtocolError(f"method {excerpt(method)} is not a token")
    if IS_TARGET.fullmatch(target) is None:
        raise LocalProtocolError(f"request target {excerpt(target)} has a character that is not allowed")
    return encode_head(f"{method} {target} HTTP/1.1", fields)


def encode_chunk(data: bytes) -> bytes:
    """One chunk (RFC 9112 section 7.1); nothing for empty `data`, since an empty chunk ends the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def encode_last_chunk(trailers: Iterable[tuple[str, str]] = ()) -> bytes:
    """The end of a chunked body: the last chunk and the trailer section (RFC 9112 sections 7.1 and 7.1.2).

    :param trailers: names and values, as for `encode_head`.
    :raises LocalProtocolError: as `encode_head`, and for a field that must not be a trailer (RFC 9110
        section 6.5.1).
    """
    if not trailers:
        return b"0\r\n\r\n"
    pairs = list(trailers)
    for name, _ in pairs:
        if name.lower() in FORBIDDEN_IN_TRAILERS:
            raise LocalProtocolError(f"field {excerpt(name)} is not allowed as a trailer")
    return encode_head("0", pairs)
