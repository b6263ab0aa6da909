"""The fields of a message as a map without regard to case; what a single field means stays outside.

RFC 9110 section 5.  Names are kept in one spelling, ``Http-Header-Case``, so that a map is one dict.
"""

import re
from collections.abc import Collection, ItemsView, Iterable, Iterator, Mapping, MutableMapping
from typing import Any, Final

from webfw.httputil.errors import HTTPInputError
from webfw.sansio.native import native

__all__ = ["HTTP_WHITESPACE", "HTTPHeaders"]

#: The characters that may surround a field value (RFC 9110 section 5.6.3).
HTTP_WHITESPACE: Final = " \t"

# RFC 9110 section 5.6.2: token.
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++")

# RFC 9110 section 5.5: no control character but the tab.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

# The same for values that stand for octets: field-vchar, with SP and HTAB only between two of them.
_OCTETS: Final = re.compile(r"(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?")


class _NameCache(dict[str, str]):
    """Spellings of names seen before.  Only valid names enter, so a name that is in it needs no check.

    Only a memory of a pure function, so threads may share it.  Bounded in number, and in size because long
    names are not kept.
    """

    __slots__ = ()

    MAX_NAMES: Final = 2048
    MAX_LENGTH: Final = 100

    def __missing__(self, name: str) -> str:
        if _TOKEN.fullmatch(name) is None:
            raise HTTPInputError(f"Invalid header name {name[:100]!r}")
        normal = _spell(name)
        if len(name) <= self.MAX_LENGTH:
            if len(self) >= self.MAX_NAMES:
                self.clear()
            self[name] = normal
        return normal


def _spell(name: str) -> str:
    return "-".join([word.capitalize() for word in name.split("-")])


#: ``_names[name]`` is the normal spelling of a valid name; anything else raises `HTTPInputError`.
_names: Final = _NameCache()
_known_name = _names.get

_plain_fields = None if native is None else native.plain_fields


def _normalize_header(name: str) -> str:
    """Spell a name the way `HTTPHeaders` keeps it: ``content-TYPE`` is ``Content-Type``.  Not checked."""
    try:
        return _names[name]
    except HTTPInputError:
        return _spell(name)


class HTTPHeaders(MutableMapping[str, str]):
    """The header fields of a message: a dict of strings whose names have no case.

    A field that comes several times reads as one string, joined with commas (RFC 9110 section 5.3); `add`,
    `get_list` and `get_all` see the single values.

    >>> h = HTTPHeaders({"content-type": "text/html"})
    >>> list(h.keys())
    ['Content-Type']
    >>> h["Content-Type"]
    'text/html'

    >>> h.add("Set-Cookie", "A=B")
    >>> h.add("Set-Cookie", "C=D")
    >>> h["set-cookie"]
    'A=B,C=D'
    >>> h.get_list("set-cookie")
    ['A=B', 'C=D']

    >>> for (k, v) in sorted(h.get_all()):
    ...     print("%s: %s" % (k, v))
    Content-Type: text/html
    Set-Cookie: A=B
    Set-Cookie: C=D

    Takes what a dict takes.  Iteration keeps the order in which names first came.
    """

    __slots__ = ("__weakref__", "_fields", "_repeated")

    _fields: dict[str, str | list[str]]
    # Whether a list may be among the values.
    _repeated: bool

    def __init__(self, *args: Any, **kwargs: str) -> None:
        self._fields = {}
        self._repeated = False
        if len(args) == 1 and not kwargs and isinstance(args[0], HTTPHeaders):
            other = args[0].copy()
            self._fields, self._repeated = other._fields, other._repeated
        elif args or kwargs:
            self.update(*args, **kwargs)

    @classmethod
    def from_fields(cls, block: str) -> "HTTPHeaders":
        """Make a map of a field block that has been validated: `webfw.sansio.http1.RequestHead.fields`.

        :param block: lines ``Name: value``, each with its CR LF (or LF).  Checked no further, except for the
            names.
        """
        self = cls.__new__(cls)
        self._repeated = False
        if _plain_fields is not None and (plain := _plain_fields(block, _names)) is not None:
            self._fields = plain
            return self
        fields: dict[str, str | list[str]] = {}
        names = _names
        for line in block.split("\n"):
            name, colon, value = line.partition(":")
            if colon:
                name = names[name]
                if name in fields:
                    self._repeated = True
                    known = fields[name]
                    if isinstance(known, list):
                        known.append(value.strip(" \t\r"))
                    else:
                        fields[name] = [known, value.strip(" \t\r")]
                else:
                    fields[name] = value.strip(" \t\r")
        self._fields = fields
        return self

    @classmethod
    def from_checked(cls, fields: dict[str, str]) -> "HTTPHeaders":
        """Make a map of fields that have been checked; the quick way for those who check them in their own way.

        :param fields: names as `HTTPHeaders` spells them, with the values to send; it is kept, not copied.
        """
        self = cls.__new__(cls)
        self._fields = fields  # type: ignore[assignment]  # a narrower dict, until a value is added
        self._repeated = False
        return self

    # Reading.

    def __getitem__(self, name: str) -> str:
        value = self._fields[_known_name(name) or _normalize_header(name)]
        return value if isinstance(value, str) else ",".join(value)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (_known_name(name) or _normalize_header(name)) in self._fields

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of `name`, several joined with commas, or `default`."""
        value = self._fields.get(_known_name(name) or _normalize_header(name))
        if value is None:
            return default
        return value if type(value) is not list else ",".join(value)

    def get_list(self, name: str) -> list[str]:
        """Return all values of `name`, in order; an empty list when there is none."""
        value = self._fields.get(_normalize_header(name))
        if value is None:
            return []
        return list(value) if isinstance(value, list) else [value]

    def get_all(self) -> Iterable[tuple[str, str]]:
        """Iterate over (name, value), with one pair for every single value."""
        for name, value in self._fields.items():
            if isinstance(value, list):
                for one in value:
                    yield name, one
            else:
                yield name, value

    def fields(self) -> Collection[tuple[str, str]]:
        """The pairs of `get_all` for encoding: the dict's own items when no name comes twice."""
        if self._repeated:
            return list(self.get_all())
        return self._fields.items()  # type: ignore[return-value]  # no list among them

    def items(self) -> ItemsView[str, str]:
        """A view of (name, value), several values of one name joined with commas."""
        if self._repeated:
            return super().items()
        return self._fields.items()  # type: ignore[return-value]  # no list among them

    # Writing.

    def __setitem__(self, name: str, value: str) -> None:
        """Replace what `name` had.

        :raises ValueError: the name is no token, or the value holds a control character other than a tab,
            such as the CR and LF of an injected field.
        """
        if type(value) is not str or not value.isprintable():
            value = _checked_text(name, value)
        self._fields[_known_name(name) or _checked_name(name)] = value

    def __delitem__(self, name: str) -> None:
        del self._fields[_normalize_header(name)]

    def add(self, name: str, value: str, *, _chars_are_bytes: bool = True) -> None:
        """Add a value, and keep those `name` has.

        :param _chars_are_bytes: False for text that was decoded already (multipart): characters beyond
            latin-1 and whitespace around the value are then allowed.
        :raises HTTPInputError: the name is no token, or the value holds what RFC 9110 section 5.5 forbids.
        """
        if type(value) is not str:
            value = _text_of(name, value)
        # An ASCII string whose characters can all be printed, and with no space around it, needs no closer
        # look.
        if not (value.isascii() and value.isprintable() and value.strip(" ") is value):
            bad = _OCTETS.fullmatch(value) is None if _chars_are_bytes else _CONTROL.search(value) is not None
            if bad:
                raise HTTPInputError(f"Invalid header value {value[:100]!r}")
        name = _names[name]
        fields = self._fields
        known = fields.get(name)
        if known is None:
            fields[name] = value
        elif isinstance(known, list):
            known.append(value)
        else:
            fields[name] = [known, value]
            self._repeated = True

    def parse_line(self, line: str, *, _chars_are_bytes: bool = True) -> None:
        r"""Add the field of one line, with or without its line end; an empty line adds none.

        >>> h = HTTPHeaders()
        >>> h.parse_line("Content-Type: text/html")
        >>> h.get("content-type")
        'text/html'

        :raises HTTPInputError: there is no colon, the line begins with whitespace (folding is obsolete, RFC
            9112 section 5.2), or name or value are invalid.
        """
        line = line.removesuffix("\n").removesuffix("\r")
        if not line:
            return
        if line[0] in HTTP_WHITESPACE:
            raise HTTPInputError("a header line cannot start with whitespace, folding is not supported")
        name, colon, value = line.partition(":")
        if not colon:
            raise HTTPInputError("no colon in header line")
        self.add(name, value.strip(HTTP_WHITESPACE), _chars_are_bytes=_chars_are_bytes)

    @classmethod
    def parse(cls, headers: str, *, _chars_are_bytes: bool = True) -> "HTTPHeaders":
        r"""Make a map of header text.

        >>> h = HTTPHeaders.parse("Content-Type: text/html\r\nContent-Length: 42\r\n")
        >>> sorted(h.items())
        [('Content-Length', '42'), ('Content-Type', 'text/html')]

        :param headers: lines that end in CR LF or LF; empty ones are skipped.
        :raises HTTPInputError: see `parse_line`.
        """
        parsed = cls()
        for line in headers.split("\n"):
            parsed.parse_line(line, _chars_are_bytes=_chars_are_bytes)
        return parsed

    # Copying and comparing.

    def copy(self) -> "HTTPHeaders":
        """An independent copy."""
        twin = HTTPHeaders.__new__(HTTPHeaders)
        fields = self._fields.copy()
        twin._repeated = self._repeated
        if self._repeated:
            for name, value in fields.items():
                if type(value) is list:
                    fields[name] = value.copy()
        twin._fields = fields
        return twin

    __copy__ = copy

    def __eq__(self, other: object) -> bool:
        if isinstance(other, HTTPHeaders) and self._fields == other._fields:
            return True
        if not isinstance(other, Mapping):
            return NotImplemented
        return dict(self.items()) == dict(other.items())

    __hash__ = None  # type: ignore[assignment]  # a map that changes

    def __str__(self) -> str:
        return "".join([f"{name}: {value}\n" for name, value in self.get_all()])

    __unicode__ = __str__

    def __repr__(self) -> str:
        # The names only: values hold cookies and credentials, and a repr ends up in a log.
        return f"<HTTPHeaders {', '.join(self._fields)}>" if self._fields else "<HTTPHeaders, empty>"


def _checked_name(name: str) -> str:
    try:
        return _names[name]
    except HTTPInputError as error:
        raise ValueError(str(error)) from None


def _text_of(name: str, value: Any) -> str:
    """The text of a value that is not exactly a `str`: bytes are UTF-8, whole numbers their digits."""
    if isinstance(value, str):
        # The text it is, not how it wants to be shown: a member of an enumeration has both.
        return str.__str__(value)
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, int):
        return str(value)
    raise TypeError(f"the value of header {name!r} must be a string, not {type(value).__name__}")


def _checked_text(name: str, value: Any) -> str:
    text = value if type(value) is str else _text_of(name, value)
    if _CONTROL.search(text) is not None:
        raise ValueError(f"Invalid header value for {name[:100]!r}: {text[:100]!r}")
    return text
