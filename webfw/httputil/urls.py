"""Small arithmetic on URLs, query strings and authorities; nothing that resolves or connects may enter."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import AnyStr
from urllib.parse import parse_qsl, urlencode

__all__ = ["encode_username_password", "qs_to_qsl", "split_host_and_port", "url_concat", "urlencode"]


def url_concat(url: str, args: Mapping[str, str] | Sequence[tuple[str, str]] | None) -> str:
    """Add arguments to a URL, whether or not it has a query already.

    >>> url_concat("http://example.com/foo", dict(c="d"))
    'http://example.com/foo?c=d'
    >>> url_concat("http://example.com/foo?a=b", dict(c="d"))
    'http://example.com/foo?a=b&c=d'
    >>> url_concat("http://example.com/foo?a=b", [("c", "d"), ("c", "d2")])
    'http://example.com/foo?a=b&c=d&c=d2'

    :param url: absolute or relative; a fragment stays at the end.
    :param args: a dict, or a list or tuple of pairs, so that a name can come twice; None adds nothing.
    :raises TypeError: `args` is anything else.
    """
    if args is None:
        return url
    if isinstance(args, Mapping):
        added = list(args.items())
    elif isinstance(args, (list, tuple)):
        added = list(args)
    else:
        raise TypeError(f"'args' parameter should be dict, list or tuple. Not {type(args)}")
    # Not with urlunparse(): of older Pythons it makes a host of a path that begins with two slashes.
    before, mark, fragment = url.partition("#")
    before, _, query = before.partition("?")
    pairs = urlencode(parse_qsl(query, keep_blank_values=True) + added)
    return f"{before}{pairs and '?'}{pairs}{mark}{fragment}"


def qs_to_qsl(qs: Mapping[str, Sequence[AnyStr]]) -> Iterable[tuple[str, AnyStr]]:
    """Turn what ``parse_qs`` gives, lists by name, into (name, value) pairs."""
    for name, values in qs.items():
        for value in values:
            yield name, value


def split_host_and_port(netloc: str) -> tuple[str, int | None]:
    """Split ``host:port``.

    >>> split_host_and_port("[::1]:8000")
    ('[::1]', 8000)
    >>> split_host_and_port("example.com")
    ('example.com', None)

    :return: the host, an IPv6 address still in its brackets, and the port, or None when there is none.
    """
    host, colon, port = netloc.rpartition(":")
    # Ten digits at most: int() of very many is slow, and no port has more than five.
    if colon and host and len(port) <= 10 and port.isascii() and port.isdigit():
        return host, int(port)
    return netloc, None


def encode_username_password(username: str | bytes, password: str | bytes) -> bytes:
    """Join a user name and a password for HTTP authentication: UTF-8 in normal form C (RFC 7617 section 2.1).

    :param username: must hold no colon, which is not checked; bytes are taken as they are.
    :param password: bytes are taken as they are.
    :return: ``username:password``, not yet in base64.
    """
    if isinstance(username, str):
        username = unicodedata.normalize("NFC", username).encode("utf-8")
    if isinstance(password, str):
        password = unicodedata.normalize("NFC", password).encode("utf-8")
    return username + b":" + password
