"""Field values such as ``value; name=text; name="text"`` taken apart; which fields these are stays outside.

RFC 9110 sections 5.6.4 and 5.6.6 (quoted strings, parameters), RFC 2231 sections 3 and 4 and RFC 8187
(continuations and extended values, ``name*=UTF-8''text``).
"""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote_to_bytes

__all__ = ["encode_parameters", "parse_parameters", "resolve_parameters", "split_parameters"]

# One parameter with the semicolon before it.  A quoted string that is never closed is taken up to the next
# semicolon like any other text; since no second one can follow that is not closed either, nothing is read
# more than twice.
_PARAMETER: Final = re.compile(
    r';[ \t]*+([^;="]*+)(?:=[ \t]*+((?:"(?:[^"\\]|\\.)*+")?+[^;]*+))?+[^;]*+',
    re.DOTALL,
)

# In a quoted string only these two are unescaped: browsers of old send ``filename="C:\dir\file"`` as it
# stands.
_ESCAPED: Final = re.compile(r'\\(["\\])')

# RFC 2231 section 3: name*0, name*1*, ...; the index is bounded so that it stays a small number.
_CONTINUATION: Final = re.compile(r"(.+)\*([0-9]{1,4})(\*?)", re.DOTALL)

# The character sets an extended value may name.  Anything else is read as ISO-8859-1, which cannot fail;
# Python's other codecs are not offered to strangers, some of them are slow on purpose-made input.
_CHARSETS: Final = {"utf-8": "utf-8", "utf8": "utf-8", "us-ascii": "ascii", "ascii": "ascii"}


def split_parameters(line: str) -> tuple[str, list[tuple[str, str | None]]]:
    """Take a field value apart at its semicolons, those inside quoted strings excepted.

    :param line: the field value.
    :return: the part before the first semicolon, and the parameters in order: each name in lower case with
        its value, unquoted, or with `None` where there is no equals sign.  Empty parameters are left out.

    Never fails: a quoted string that is not closed is taken as it stands.  Linear in the length of `line`.
    """
    at = line.find(";")
    if at < 0:
        return line.strip(" \t"), []
    found: list[tuple[str, str | None]] = []
    for name, value, whole in ((match[1], match[2], match[0]) for match in _PARAMETER.finditer(line, at)):
        name = name.strip(" \t").lower()
        if value is None:
            if name and "=" not in whole:
                found.append((name, None))
            continue
        value = value.strip(" \t")
        if len(value) >= 2 and value[0] == '"' == value[-1]:
            value = _ESCAPED.sub(r"\1", value[1:-1])
        found.append((name, value))
    return line[:at].strip(" \t"), found


def parse_parameters(line: str) -> tuple[str, dict[str, str]]:
    """Take a field value such as ``form-data; name="a"; filename*=UTF-8''%e2%82%ac`` apart.

    :param line: the field value.
    :return: the part before the first semicolon as it stands, and the parameters by name in lower case.

    A parameter without ``=`` is left out, the last of several with one name counts.  Continuations
    (``name*0``, ``name*1*``) are joined and extended values (``name*``) decoded; an extended value wins over
    a plain one (RFC 8187 section 4.2).  What is malformed is kept as it stands.
    """
    value, pairs = split_parameters(line)
    return value, resolve_parameters(pairs)


def resolve_parameters(pairs: list[tuple[str, str | None]]) -> dict[str, str]:
    """Make a dict of the parameters `split_parameters` found, by the rules of `parse_parameters`."""
    plain: dict[str, str] = {}
    extended: dict[str, str] = {}
    pieces: dict[str, dict[int, tuple[str, bool]]] = {}
    for name, text in pairs:
        if text is None:
            continue
        if "*" not in name:
            plain[name] = text
        elif (match := _CONTINUATION.fullmatch(name)) is not None:
            pieces.setdefault(match[1], {})[int(match[2])] = (text, match[3] == "*")
        elif name.endswith("*") and len(name) > 1:
            extended[name[:-1]] = _decode_extended(text)
        else:
            plain[name] = text
    for name, parts in pieces.items():
        joined = _join_continuations(parts)
        if joined is not None:
            plain[name] = joined
    plain.update(extended)
    return plain


def _decode_extended(text: str) -> str:
    """Decode ``charset'language'percent-encoded`` (RFC 8187 section 3.2.1)."""
    charset, quote, rest = text.partition("'")
    _, second, encoded = rest.partition("'")
    if not quote or not second:
        return text
    name = _CHARSETS.get(charset.lower(), "latin-1")
    # A character that should have been encoded and was not stands for itself.
    return unquote_to_bytes(encoded.encode(name, "replace")).decode(name, "replace")


def _join_continuations(parts: dict[int, tuple[str, bool]]) -> str | None:
    """Join pieces 0, 1, 2 ... up to the first gap (RFC 2231 section 4.1); `None` without a piece 0."""
    if 0 not in parts:
        return None
    charset = "latin-1"
    octets = bytearray()
    for index in range(len(parts)):
        if index not in parts:
            break
        text, starred = parts[index]
        if starred and index == 0:
            name, quote, rest = text.partition("'")
            _, second, encoded = rest.partition("'")
            if quote and second:
                charset, text = _CHARSETS.get(name.lower(), "latin-1"), encoded
        piece = text.encode(charset, "replace")
        octets += unquote_to_bytes(piece) if starred else piece
    return octets.decode(charset, "replace")


def encode_parameters(value: str, parameters: Mapping[str, object]) -> str:
    """Join a value and its parameters, sorted by name; one whose value is `None` stands without ``=``.

    Nothing is quoted: it is for parameters that are tokens, such as those of websocket extensions.
    """
    parts = [value]
    for name, text in sorted(parameters.items()):
        parts.append(name if text is None else f"{name}={text}")
    return "; ".join(parts)
