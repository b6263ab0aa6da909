"""Text and bytes as a page needs them: HTML, URLs, JSON, UTF-8. Nothing that reads a request or a handler.

JSON goes through one replaceable pair of functions: see `set_json_codec`.
"""

import html
import json
import re
from collections.abc import Callable, Collection
from typing import Any, overload
from urllib.parse import quote, quote_plus, unquote, unquote_to_bytes

__all__ = [
    "json_decode",
    "json_encode",
    "linkify",
    "native_str",
    "parse_qs_bytes",
    "recursive_unicode",
    "set_json_codec",
    "squeeze",
    "to_basestring",
    "to_unicode",
    "url_escape",
    "url_unescape",
    "utf8",
    "xhtml_escape",
    "xhtml_unescape",
]


@overload
def utf8(value: bytes) -> bytes: ...
@overload
def utf8(value: str) -> bytes: ...
@overload
def utf8(value: None) -> None: ...
def utf8(value: str | bytes | None) -> bytes | None:
    """Return text encoded as UTF-8; bytes and None are returned unchanged.

    :raises TypeError: for anything else.
    :raises UnicodeEncodeError: for text with lone surrogates.
    """
    if isinstance(value, str):
        return value.encode()
    if value is None or isinstance(value, bytes):
        return value
    raise TypeError(f"Expected bytes, unicode, or None; got {type(value)!r}")


@overload
def to_unicode(value: str) -> str: ...
@overload
def to_unicode(value: bytes) -> str: ...
@overload
def to_unicode(value: None) -> None: ...
def to_unicode(value: str | bytes | None) -> str | None:
    """Return bytes decoded as UTF-8; text and None are returned unchanged.

    :raises TypeError: for anything else.
    :raises UnicodeDecodeError: when the bytes are not UTF-8.
    """
    if isinstance(value, bytes):
        return value.decode()
    if value is None or isinstance(value, str):
        return value
    raise TypeError(f"Expected bytes, unicode, or None; got {type(value)!r}")


#: Both are `to_unicode`; the names are older than Python 3.
native_str = to_unicode
to_basestring = to_unicode


def recursive_unicode(obj: Any) -> Any:
    """Return a copy of a structure of dicts, lists and tuples in which bytes are decoded as UTF-8."""
    if isinstance(obj, dict):
        return {recursive_unicode(key): recursive_unicode(value) for key, value in obj.items()}
    if isinstance(obj, list):
        return [recursive_unicode(item) for item in obj]
    if isinstance(obj, tuple):
        return tuple(recursive_unicode(item) for item in obj)
    if isinstance(obj, bytes):
        return obj.decode()
    return obj


def xhtml_escape(value: str | bytes) -> str:
    """Escape ``<``, ``>``, ``"``, ``'`` and ``&``: safe in HTML and XML, attribute values too."""
    # Looking first is three times cheaper than replacing on text that needs nothing, and costs nothing on
    # the rest.
    text = value if isinstance(value, str) else to_unicode(value)
    if "&" in text:
        text = text.replace("&", "&amp;")
    if "<" in text:
        text = text.replace("<", "&lt;")
    if ">" in text:
        text = text.replace(">", "&gt;")
    if '"' in text:
        text = text.replace('"', "&quot;")
    if "'" in text:
        text = text.replace("'", "&#x27;")
    return text


# A character reference as HTML reads it; the longest name in the table has 32 characters.
_REFERENCE = re.compile(r"&(?:#0*([0-9]++);?|#[xX][0-9a-fA-F]++;?|[A-Za-z][A-Za-z0-9]{0,31};?)")


def _resolve_reference(match: re.Match[str]) -> str:
    digits = match[1]
    if digits is None:
        return html.unescape(match[0])
    # Without leading zeros; int() takes quadratic time for many digits, and refuses more than 4300.
    return html.unescape(f"&#{digits};") if len(digits) <= 7 else "\ufffd"


def xhtml_unescape(value: str | bytes) -> str:
    """Replace the character references of HTML (named, decimal, hexadecimal) by their characters.

    Numbers that are no character become U+FFFD, as the HTML standard says (section 13.2.5.80); unknown
    names stay as they are.
    """
    text = value if isinstance(value, str) else to_unicode(value)
    if "&" not in text:
        return text
    return _REFERENCE.sub(_resolve_reference, text)


_dumps: Callable[[Any], str | bytes] = json.dumps
_loads: Callable[[Any], Any] = json.loads


def set_json_codec(
    dumps: Callable[[Any], str | bytes] | None = None, loads: Callable[[Any], Any] | None = None
) -> tuple[Callable[[Any], str | bytes], Callable[[Any], Any]]:
    """Replace the functions behind `json_encode` and `json_decode`, for the whole process.

    :param dumps: called with the value, returns JSON as text or UTF-8 bytes; None for `json.dumps`.
    :param loads: called with text or UTF-8 bytes, returns the value and raises `ValueError` (or a
        subclass) when it is not JSON; None for `json.loads`.
    :returns: the two functions in use before, so that they can be put back.
    """
    global _dumps, _loads
    previous = (_dumps, _loads)
    _dumps = json.dumps if dumps is None else dumps
    _loads = json.loads if loads is None else loads
    return previous


def json_encode(value: Any) -> str:
    """Return ``value`` as JSON that is safe inside a ``<script>`` element: ``</`` is written ``<\\/``."""
    encoded = _dumps(value)
    text = encoded if isinstance(encoded, str) else encoded.decode()
    return text.replace("</", "<\\/") if "</" in text else text


def json_decode(value: str | bytes) -> Any:
    """Return the Python value of a JSON document.

    :raises ValueError: when it is not JSON.
    """
    return _loads(value)


_BLANKS = re.compile(r"[\x00-\x20]+")


def squeeze(value: str) -> str:
    """Replace every run of white space and control characters by one blank; none is left at the ends."""
    return _BLANKS.sub(" ", value).strip()


def url_escape(value: str | bytes, plus: bool = True) -> str:
    """Percent-encode a value for a URL (RFC 3986 section 2.1).

    :param plus: True for a query string: a blank becomes ``+`` and ``/`` is encoded. False for a path: a
        blank becomes ``%20`` and ``/`` stays.
    """
    return quote_plus(utf8(value)) if plus else quote(utf8(value))


@overload
def url_unescape(value: str | bytes, encoding: None, plus: bool = True) -> bytes: ...
@overload
def url_unescape(value: str | bytes, encoding: str = "utf-8", plus: bool = True) -> str: ...
def url_unescape(value: str | bytes, encoding: str | None = "utf-8", plus: bool = True) -> str | bytes:
    """Decode a percent-encoded value.

    :param encoding: how to read the bytes; sequences that are not valid in it become U+FFFD. None returns
        bytes.
    :param plus: read ``+`` as a blank (query strings, not paths).
    """
    if encoding is None:
        raw = utf8(value)
        return unquote_to_bytes(raw.replace(b"+", b" ") if plus else raw)
    text = to_unicode(value)
    return unquote(text.replace("+", " ") if plus else text, encoding=encoding)


def parse_qs_bytes(
    qs: str | bytes,
    keep_blank_values: bool = False,
    strict_parsing: bool = False,
    *,
    max_num_fields: int | None = None,
) -> dict[str, list[bytes]]:
    """Parse a query string or an urlencoded body without assuming an encoding.

    Names are text decoded as latin-1 (every byte is one character), values are bytes, in order of appearance.

    :param keep_blank_values: keep fields without a value, as ``b""``; otherwise they are dropped.
    :param strict_parsing: raise for fields without ``=`` instead of ignoring them.
    :param max_num_fields: the most fields accepted, None for any number.
    :raises ValueError: for too many fields, fields refused by ``strict_parsing``, and text beyond latin-1.
    """
    text = qs.decode("latin-1") if isinstance(qs, bytes) else qs
    result: dict[str, list[bytes]] = {}
    if not text:
        return result
    if max_num_fields is not None and text.count("&") >= max_num_fields:
        raise ValueError("Max number of fields exceeded")
    text = text.replace("+", " ")
    for field in text.split("&"):
        name, equals, value = field.partition("=")
        if not equals:
            if strict_parsing:
                raise ValueError(f"bad query field: {field!r}")
            if not name:
                continue
        if not (value or keep_blank_values):
            continue
        raw = value.encode("latin-1")
        if b"%" in raw:
            raw = unquote_to_bytes(raw)
        if "%" in name:
            name = unquote(name, "latin-1")
        elif not name.isascii():
            name.encode("latin-1")  # refuses what no latin-1 string can hold, like the value above
        if name in result:
            result[name].append(raw)
        else:
            result[name] = [raw]
    return result


# Where a link may start, and what it is made of: ordinary characters, balanced parentheses, and
# punctuation that something ordinary follows. Possessive quantifiers keep the search linear. Schemes that
# are written without slashes are listed; they are linked only when permitted, like all others.
_TRAILING = r"""\"&;:!?.,~%\]}|\u2019\u201d\u00bb\u2026"""
_ORDINARY = rf"[^\s()<>'{_TRAILING}]"
_LINK = re.compile(
    rf"""(?<!\w)
    (?: (?P<scheme>\w{{1,32}}):/{{1,3}}+ | (?P<address>mailto|tel|sms|sips?|xmpp): | www\. )
    (?: {_ORDINARY}++ | \([^\s()<>']*+\) | [{_TRAILING}]++(?={_ORDINARY}) )++
    """,
    re.VERBOSE | re.IGNORECASE,
)
_LABEL = re.compile(r"((?:\w+:/{0,3})?+[^/]*+)/([^/?.]{0,8})")


def _shorten(url: str) -> str:
    """Return a label for a long URL, its host and the start of its path, if that is shorter."""
    if len(url) <= 30:
        return url
    match = _LABEL.match(url)
    label = f"{match[1]}/{match[2]}" if match else url
    if len(label) > 45:
        label = label[:30]
    label += "..."
    return label if len(label) < len(url) else url


def linkify(
    text: str | bytes,
    shorten: bool = False,
    extra_params: str | Callable[[str], str] = "",
    require_protocol: bool = False,
    permitted_protocols: Collection[str] = ("http", "https"),
) -> str:
    """Return plain text as HTML in which URLs are links. All of the text is escaped.

    :param shorten: show long URLs shortened; the ``title`` attribute then has the whole one.
    :param extra_params: attributes to add to the link tag, or a function that is called with the URL
        (escaped for HTML) and returns them: ``linkify(text, extra_params='rel="nofollow"')``.
    :param require_protocol: link only URLs with a protocol; otherwise ``www.example.com`` is linked as well.
    :param permitted_protocols: the protocols that are linked. Others, ``javascript`` before all, are shown
        as text; permitting such a one is unsafe.
    """
    source = to_unicode(text)
    constant_params = "" if callable(extra_params) or not extra_params else " " + extra_params.strip()

    def link(match: re.Match[str]) -> str:
        url = match[0]
        scheme = match["scheme"] or match["address"]
        if scheme is None:
            if require_protocol:
                return xhtml_escape(url)
            href = xhtml_escape("http://" + url)
        elif scheme in permitted_protocols or scheme.lower() in permitted_protocols:
            href = xhtml_escape(url)
        else:
            return xhtml_escape(url)
        params = " " + extra_params(href).strip() if callable(extra_params) else constant_params
        label = url
        if shorten:
            label = _shorten(url)
            if label != url:
                params += f' title="{href}"'
        return f'<a href="{href}"{params}>{xhtml_escape(label)}</a>'

    output: list[str] = []
    position = 0
    for match in _LINK.finditer(source):
        output.append(xhtml_escape(source[position : match.start()]))
        output.append(link(match))
        position = match.end()
    output.append(xhtml_escape(source[position:]))
    return "".join(output)
