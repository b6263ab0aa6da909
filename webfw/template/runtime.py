"""What the compiled code of a template calls while it runs: turning values into text, escaping, joining."""

import datetime
from collections.abc import Callable
from typing import Any, TypeAlias

from webfw.escape import json_encode, linkify, squeeze, url_escape, utf8, xhtml_escape

__all__ = ["NAMESPACE", "Piece", "escaper", "join", "text"]

#: What a rendered page is made of until it is joined; bytes only when they are not valid UTF-8.
Piece: TypeAlias = str | bytes

# Their text holds nothing to escape.
_SAFE = frozenset({int, float, bool, type(None)})


def text(value: Any) -> Piece:
    """Return `value` as it goes into the page unescaped: bytes as they are, the rest as `str` makes it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value
    return str(value)


def _html(value: Any) -> str:
    kind = type(value)
    if kind is str:
        return xhtml_escape(value)
    if kind in _SAFE:
        return str(value)
    return xhtml_escape(value if isinstance(value, (str, bytes)) else str(value))


def escaper(function: Callable[[Any], Any]) -> Callable[[Any], Piece]:
    """Return what makes text of a value, escaped by `function`, the namespace's ``xhtml_escape``."""
    if function is xhtml_escape:
        return _html
    return lambda value: produced(function(encoded(value)))


def encoded(value: Any) -> bytes:
    """Return `value` as a template hands it to an escape function of the user: bytes of UTF-8."""
    return utf8(value if isinstance(value, (str, bytes)) else str(value))


def produced(value: Any) -> Piece:
    """Return what a function of ``apply`` or ``autoescape`` returned, which must be text.

    :raises TypeError: when it is neither str nor bytes.
    """
    if not isinstance(value, (str, bytes)):
        raise TypeError(
            f"a function of 'apply' or 'autoescape' returned {type(value).__name__}, not str or bytes"
        )
    return text(value)


def join(pieces: list[Piece]) -> bytes:
    """Return all pieces as one string of UTF-8 bytes."""
    try:
        return "".join(pieces).encode()  # type: ignore[arg-type]
    except TypeError:
        return b"".join([piece if isinstance(piece, bytes) else piece.encode() for piece in pieces])


#: The names every template knows; those with ``_tt_`` are for compiled code.
NAMESPACE: dict[str, Any] = {
    "escape": xhtml_escape,
    "xhtml_escape": xhtml_escape,
    "url_escape": url_escape,
    "json_encode": json_encode,
    "squeeze": squeeze,
    "linkify": linkify,
    "datetime": datetime,
    "_tt_utf8": utf8,
    "_tt_string_types": (str, bytes),
    "_tt_text": text,
    "_tt_encoded": encoded,
    "_tt_produced": produced,
    "_tt_join": join,
}
