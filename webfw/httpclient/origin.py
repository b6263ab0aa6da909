"""A URL taken apart: whom to connect to, and what to ask for there; nothing here connects.

RFC 3986 and RFC 9110 section 4.2.
"""

import re
import ssl
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from webfw.httpclient.messages import HTTPRequest
from webfw.netutil import client_context, ssl_options_to_context

__all__ = ["HTTP_PORTS", "Place", "pool_key", "shown", "tls_context"]

#: The schemes of HTTP with their ports; 0: a Unix domain socket, whose path is in the place of the host.
HTTP_PORTS: Mapping[str, int] = {"http": 80, "https": 443, "http+unix": 0}

# Visible ASCII: what a URL has of other characters is encoded (RFC 3987 section 3.1).
_SAFE = "".join(map(chr, range(0x21, 0x7F)))

# What may follow the user information.  urlsplit() of older Pythons overlooks what stands beside the brackets.
_HOST_AND_PORT = re.compile(r"\[[0-9A-Fa-f:.]*:[^\[\]]*\](?::[0-9]*)?|[^\[\]]*")

# What a host with other than ASCII characters consists of, once they are encoded.
_NAME = re.compile(r"[0-9A-Za-z._-]+")

# Schemes under TLS.
_SECURE = frozenset({"https", "wss"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where a URL points.

    :ivar secure: whether under TLS.
    :ivar host: a name in ASCII or an IP address without brackets, with its zone (``fe80::1%eth0``) if it has one.
    :ivar port: 1 to 65535; 0 for a Unix domain socket.
    :ivar authority: the value of Host (RFC 9110 section 7.2).
    :ivar target: the target of a request for it, in origin form (RFC 9112 section 3.2.1).
    :ivar userinfo: user name and password.
    :ivar unix_path: the path of the Unix domain socket, for ``http+unix://``.
    """

    secure: bool
    host: str
    port: int
    authority: str
    target: str
    userinfo: tuple[str, str] | None = None
    unix_path: str | None = None

    @classmethod
    def of(cls, url: str, ports: Mapping[str, int] = HTTP_PORTS) -> "Place":
        """Take an absolute URL apart; its fragment, which means nothing to a server, is left out.

        :param ports: the schemes that are known here, and their ports.
        :raises ValueError: saying what is wrong with it.
        """
        if ports is HTTP_PORTS and "@" not in url:  # what holds a password is not kept
            return _http_place(url)
        return _take_apart(url, ports)

    @property
    def name(self) -> str:
        """For messages: host and port, or the path of the socket."""
        if self.unix_path is not None:
            return self.unix_path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def same_origin(self, other: "Place") -> bool:
        """Whether both have one origin (RFC 6454 section 5)."""
        mine = (self.secure, self.host, self.port, self.unix_path)
        return mine == (other.secure, other.host, other.port, other.unix_path)


@lru_cache(maxsize=512)
def _http_place(url: str) -> Place:
    return _take_apart(url, HTTP_PORTS)


def _take_apart(url: str, ports: Mapping[str, int]) -> Place:
    # urlsplit() would silently take some of them out.
    if any(character < " " or character == "\x7f" for character in url):
        raise ValueError(f"there is a control character in the URL {shown(url)}")
    try:
        parts = urlsplit(url)
        port = parts.port
        host = parts.hostname
    except ValueError as error:
        # It may quote what is a password in truth, one with a slash for instance.
        reason = "" if "@" in url else ": " + ascii(str(error)[:100])[1:-1]
        raise ValueError(f"malformed URL {shown(url)}{reason}") from None
    if "\\" in parts.netloc or _HOST_AND_PORT.fullmatch(parts.netloc.rpartition("@")[2]) is None:
        # Others see another host there: browsers take a backslash for a slash.
        raise ValueError(f"malformed URL {shown(url)}: no such characters stand beside a host")
    default = ports.get(parts.scheme)
    if default is None:
        known = " or ".join(ports)
        raise ValueError(f"the scheme must be {known}, not {parts.scheme!r} as in {shown(url)}")
    if not host:
        raise ValueError(f"there is no host in {shown(url)}")
    if port == 0:
        raise ValueError(f"port 0 in the URL {shown(url)}")
    userinfo = None
    if parts.username is not None:
        userinfo = (unquote(parts.username), unquote(parts.password or ""))
    target = quote(parts.path or "/", _SAFE) + (f"?{quote(parts.query, _SAFE)}" if parts.query else "")
    if not default:
        # Not parts.hostname, which is in lower case.
        path = unquote(parts.netloc.rpartition("@")[2])
        if "\0" in path:
            raise ValueError(f"there is a NUL in the path of the socket in {shown(url)}")
        return Place(False, "localhost", 0, "localhost", target, userinfo, path)
    port = port or default
    if ":" in host:
        address, percent, zone = host.partition("%")
        try:
            IPv6Address(address)
        except AddressValueError:
            # urlsplit() looks at the first brackets only, which may stand in the user information.
            raise ValueError(f"malformed URL {shown(url)}: there is no address in the brackets") from None
        if percent:  # RFC 6874: "%25"; only for this machine, not for the server (section 4)
            host = f"{address}%{unquote(zone.removeprefix('25'))}"
        bracketed = f"[{address}]"
    else:
        bracketed = host = _ascii(host, url)
    authority = bracketed if port == default else f"{bracketed}:{port}"
    return Place(parts.scheme in _SECURE, host, port, authority, target, userinfo)


def _ascii(host: str, url: str) -> str:
    """A host as DNS knows it (RFC 5891 by way of RFC 3490, which is what Python has)."""
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError as error:
            raise ValueError(f"the host in {shown(url)} is no name: {error}") from None
        # What is wide or small in Unicode becomes plain: a fullwidth bracket, for instance, a bracket.
        if _NAME.fullmatch(host) is None:
            raise ValueError(f"there is a character in the host of {shown(url)} that no host has")
    if any(character in ' "<>\\^`{|}' for character in host):
        raise ValueError(f"there is a character in the host of {shown(url)} that no host has")
    if not all(0 < len(label) < 64 for label in host.removesuffix(".").split(".")):
        # RFC 1035 section 2.3.4.  Where it is looked up, Python says that its codec has failed.
        raise ValueError(
            f"the host in {shown(url)} is no name: a part of it is empty or longer than 63 characters"
        )
    return host


def shown(url: str) -> str:
    """A URL, maybe a malformed one, for messages: not too long, and without what may be secret, as a query is."""
    before, at, behind = url.rpartition("@")
    if at:
        scheme, slashes, _ = before.rpartition("//")
        url = f"{scheme.partition('//')[0]}{slashes}***@{'...' if '?' in before else behind}"
    url, mark, _ = url.partition("?")
    url += mark and "?..."
    return repr(url if len(url) <= 200 else url[:200] + "...")


def pool_key(request: HTTPRequest, place: Place) -> Hashable:
    """What connections must have in common to be used for the same requests: everything that makes them different."""
    tls: Hashable = None
    if place.secure:
        options: Any = request.ssl_options
        if options is None:
            tls = (_validates(request), request.ca_certs, request.client_cert, request.client_key)
        else:
            tls = options if isinstance(options, ssl.SSLContext) else tuple(sorted(options.items()))
    if place.unix_path is not None:
        return place.unix_path
    return (place.host, place.port, request.allow_ipv6, request.network_interface, place.secure, tls)


def tls_context(request: HTTPRequest) -> ssl.SSLContext:
    """The context for the connection of a request, by what the request says of TLS.

    :raises ValueError: an option that does not exist.
    :raises OSError: a file cannot be read; `ssl.SSLError` if it does not hold what it should.
    """
    if request.ssl_options is not None:
        return ssl_options_to_context(request.ssl_options, server_side=False)
    return client_context(_validates(request), request.ca_certs, request.client_cert, request.client_key)


def _validates(request: HTTPRequest) -> bool:
    # Asked in one way for the connection and for its key: 0 is equal to False.
    return request.validate_cert is None or bool(request.validate_cert)
