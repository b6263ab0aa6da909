"""Addresses as text: IP addresses, and where a command line says to listen; no name is looked up here."""

import ipaddress
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

__all__ = ["AddressSet", "BindAddress", "is_valid_ip", "parse_bind"]


class AddressSet(frozenset[str]):
    """Some IP addresses, and networks in CIDR notation (RFC 4632 section 3.1): ``in`` asks for an address.

    An address is in it as it is written here, or where it is in one of the networks, whose host bits are not looked at;
    an IPv4 address that is mapped into IPv6 (``::ffff:10.0.0.1``) is in those of IPv4.  What is neither address nor
    network equals nothing but itself.
    """

    __slots__ = ("_networks",)

    _networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]

    def __new__(cls, texts: Iterable[str] = ()) -> "AddressSet":
        self = super().__new__(cls, texts)
        networks = []
        for text in self:
            if "/" in text:
                with suppress(ValueError):
                    networks.append(ipaddress.ip_network(text, strict=False))
        self._networks = tuple(networks)
        return self

    def __contains__(self, text: object) -> bool:
        if super().__contains__(text):
            return True
        if not self._networks or not isinstance(text, str):
            return False
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return False
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network for network in self._networks)


def is_valid_ip(ip: str) -> bool:
    """Tell whether `ip` is the text of an IPv4 address, or an IPv6 one with or without a zone.

    IPv4 is four decimal numbers; IPv6 follows RFC 4291, the zone (``fe80::1%eth0``) RFC 4007.
    """
    # Newer C libraries' inet_pton takes neither "127.1" nor white space; NUL raises ValueError, a surrogate
    # UnicodeError.
    address, percent, zone = ip.partition("%")
    families = (socket.AF_INET6,) if percent else (socket.AF_INET, socket.AF_INET6)
    if percent and not zone:
        return False
    for family in families:
        try:
            socket.inet_pton(family, address)
        except (OSError, ValueError):
            continue
        return True
    return False


@dataclass(frozen=True, slots=True)
class BindAddress:
    """Where to listen: `port` with an optional `host`, a Unix socket's `path`, or an inherited `fd`."""

    #: Host name or IP address without brackets; None for every interface.
    host: str | None = None
    #: 0 to 65535, 0 for a free port; None unless it is TCP.
    port: int | None = None
    #: Path of a Unix socket; one that begins with a NUL is in Linux' abstract namespace.
    path: str | None = None
    #: Number of a listening socket that was opened by the parent process.
    fd: int | None = None

    def __str__(self) -> str:
        """The text that `parse_bind` turns into this address."""
        if self.path is not None:
            return "unix:" + ("@" + self.path[1:] if self.path.startswith("\0") else self.path)
        if self.fd is not None:
            return f"fd://{self.fd}"
        host = self.host or ""
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"


def parse_bind(text: str) -> BindAddress:
    """Parse where to listen.

    :param text: ``"8000"`` or ``":8000"`` (every interface), ``"127.0.0.1:8000"``, ``"localhost:8000"``,
        ``"[::1]:8000"``, ``"unix:/run/app.sock"`` (``"unix:@name"`` in the abstract namespace) or
        ``"fd://3"``.
    :raises ValueError: it is none of these; the message says what is wrong with it.
    """
    if text.startswith("unix:"):
        path = text[len("unix:") :]
        if path in ("", "@"):
            raise ValueError(f"bind address {text!r} has no path")
        if "\0" in path:
            raise ValueError(f"bind address {text!r} has a NUL character in its path")
        return BindAddress(path="\0" + path[1:] if path.startswith("@") else path)
    if text.startswith("fd://"):
        return BindAddress(fd=_number(text, text[len("fd://") :], "descriptor", 2**31 - 1))
    host, colon, port = text.rpartition(":")
    if not colon and not text.isdigit():
        raise ValueError(f"bind address {text!r} has no port: write {text or 'HOST'}:PORT")
    if host.startswith("["):
        if not host.endswith("]"):
            raise ValueError(f"bind address {text!r} has no port after the bracket: write [ADDRESS]:PORT")
        host = host[1:-1]
        if ":" not in host or not is_valid_ip(host):
            raise ValueError(f"bind address {text!r} has no IPv6 address between its brackets")
    elif ":" in host:
        raise ValueError(f"bind address {text!r} is ambiguous: write an IPv6 address as [ADDRESS]:PORT")
    elif any(c.isspace() or c in "/[]@\0" for c in host):
        raise ValueError(f"bind address {text!r} has no valid host")
    return BindAddress(host=host or None, port=_number(text, port, "port", 65535))


def _number(text: str, digits: str, what: str, largest: int) -> int:
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 10 and int(digits) <= largest):
        raise ValueError(f"bind address {text!r}: the {what} must be a number from 0 to {largest}")
    return int(digits)
