"""The Cookie field, read the way browsers write it; making Set-Cookie belongs to `webfw.web`.

RFC 6265 section 5.4 says what a client sends; what is found in practice is wider, and nothing here fails.
"""

import re
from http.cookies import CookieError, SimpleCookie
from typing import Final

__all__ = ["parse_cookie", "simple_cookie"]

# In a quoted value: three octal digits for one octet, or any character after a backslash for itself.
_ESCAPE: Final = re.compile(r"\\(?:([0-3][0-7][0-7])|(.))", re.DOTALL)


def _unescape(match: "re.Match[str]") -> str:
    octal = match[1]
    return chr(int(octal, 8)) if octal else match[2]


def _unquote(value: str) -> str:
    if len(value) < 2 or value[0] != '"' or value[-1] != '"':
        return value
    value = value[1:-1]
    return _ESCAPE.sub(_unescape, value) if "\\" in value else value


def parse_cookie(cookie: str) -> dict[str, str]:
    r"""Take the value of a ``Cookie`` field apart.

    >>> parse_cookie('foo=bar; baz="a\\054b"')
    {'foo': 'bar', 'baz': 'a,b'}

    :param cookie: the value; several fields joined with ``"; "`` count as one.
    :return: values by name, the last of several with one name.  A quoted value is unquoted and its escapes
        are resolved; a pair without ``=`` has the name ``""``.

    Never fails, and takes time linear in the length of `cookie`.
    """
    cookies: dict[str, str] = {}
    for pair in cookie.split(";"):
        name, equals, value = pair.partition("=")
        if not equals:
            name, value = "", name
        name = name.strip()
        value = value.strip()
        if name or value:
            cookies[name] = _unquote(value) if value[:1] == '"' else value
    return cookies


def simple_cookie(cookie: str) -> "SimpleCookie":
    """The cookies of a ``Cookie`` field as `http.cookies.SimpleCookie`: `Morsel` objects by name.

    A pair whose name or value that class refuses is left out.
    """
    cookies = SimpleCookie()
    for name, value in parse_cookie(cookie).items():
        try:
            cookies[name] = value
        except CookieError:
            continue
    return cookies
