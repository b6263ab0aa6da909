"""The PROXY protocol, versions 1 and 2: what a load balancer says of a connection; whom to trust stays outside.

From "The PROXY protocol, versions 1 & 2" as HAProxy publishes it (sections in this file are of that paper).  A header
stands once, before the first byte of the connection itself.  Whoever may connect may send one, so it must be asked for
only of addresses that are known to be proxies.
"""

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

from webfw.sansio.errors import RemoteProtocolError

__all__ = ["MAX_PROXY_HEADER", "ProxyHeader", "parse_proxy_header"]

#: Bytes of a whole header of version 2, at most, unless told otherwise: the largest addresses are those of Unix domain
#: sockets, 216 bytes, and certificates in TLVs are what the rest is for.
MAX_PROXY_HEADER: Final = 4096

# Section 2.1: "a 107-byte buffer is always enough to store all the line and a trailing zero", so 107 with CR LF.
_MAX_LINE: Final = 107
_LINE_BEGIN: Final = b"PROXY "

# Section 2.1: one space between the parts, no leading zeroes in ports; addresses are looked at by `ipaddress`.
_PORT = r"(0|[1-9][0-9]{0,4})"
_LINE: Final = re.compile(rf"(TCP4|TCP6) ([0-9A-Fa-f.:]+) ([0-9A-Fa-f.:]+) {_PORT} {_PORT}")

# Section 2.2: it can begin no request of HTTP or other protocols of lines.
_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_FIXED: Final = 16
_LOCAL, _PROXY = 0, 1
_UNSPEC, _INET, _INET6, _UNIX = range(4)
_STREAM, _DGRAM = 1, 2
_ADDRESSES: Final = {_UNSPEC: 0, _INET: 12, _INET6: 36, _UNIX: 216}

# Section 2.2.1 and following: types of TLVs.
_CRC32C: Final = 0x03
_UNIQUE_ID: Final = 0x05
_SSL: Final = 0x20
_MAX_UNIQUE_ID: Final = 128
_CLIENT_SSL: Final = 0x01


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """What a PROXY header says.

    :ivar version: 1 or 2.
    :ivar local: the proxy itself has made the connection, to see whether the server is well; there is no client.
    :ivar source: the address of the client as `socket` would give it: a tuple of host and port for TCP over IPv4 and
        IPv6, the path as bytes for a Unix domain socket.  `None` when it is not said, or not for a stream: the
        connection's own address is then all there is.
    :ivar destination: the address the client has connected to, like `source`.
    :ivar tlvs: what version 2 adds, as (type, value) in order; its checksum has been verified.
    :ivar tls: whether the client is said to have come under TLS.
    :ivar end: the offset of the first byte after the header.
    """

    version: int
    local: bool
    source: tuple[str, int] | bytes | None
    destination: tuple[str, int] | bytes | None
    tlvs: tuple[tuple[int, bytes], ...]
    tls: bool
    end: int


def parse_proxy_header(data: bytes, start: int = 0, max_size: int = MAX_PROXY_HEADER) -> ProxyHeader | None:
    """Parse the header that begins at `start`; `None` when its end has not come yet.

    :param data: what has been received.  A call costs no more than the header has bytes.
    :param max_size: bytes of a header of version 2, 16 or more; one of version 1 has at most 107.
    :raises RemoteProtocolError: 400 for what is no header: the connection is to be closed, whatever follows could be
        anything.  Raised as early as the bytes at hand allow.
    """
    begin = data[start : start + _FIXED]
    if begin[:1] == b"P":
        return _parse_line(data, start)
    if begin[: len(_SIGNATURE)] != _SIGNATURE[: len(begin)]:
        raise RemoteProtocolError("no PROXY header")
    if len(begin) > 12:
        _check_version(begin)
    if len(begin) < _FIXED:
        return None
    end = start + _FIXED + int.from_bytes(begin[14:16], "big")
    if end - start > max_size:
        raise RemoteProtocolError(f"PROXY header over {max_size} bytes")
    if begin[12] & 0x0F == _PROXY and end - start < _FIXED + _ADDRESSES[begin[13] >> 4]:
        raise RemoteProtocolError("PROXY header without room for its addresses")
    return _parse_block(data[start:end], end) if len(data) >= end else None


# --- version 1 (section 2.1) ---


def _parse_line(data: bytes, start: int) -> ProxyHeader | None:
    line = data[start : start + _MAX_LINE]
    if line[: len(_LINE_BEGIN)] != _LINE_BEGIN[: len(line)]:
        raise RemoteProtocolError("no PROXY header")
    stop = line.find(b"\r\n")
    if stop < 0:
        if len(line) == _MAX_LINE:
            raise RemoteProtocolError(f"PROXY line over {_MAX_LINE} bytes")
        return None
    end = start + stop + 2
    text = str(line[len(_LINE_BEGIN) : stop], "latin-1")
    if text == "UNKNOWN" or text.startswith("UNKNOWN "):
        # "The receiver must ignore anything presented before the CRLF is found."
        return ProxyHeader(1, False, None, None, (), False, end)
    match = _LINE.fullmatch(text)
    if match is None:
        raise RemoteProtocolError("malformed PROXY line")
    family, source, destination, source_port, destination_port = match.groups()
    kind = IPv4Address if family == "TCP4" else IPv6Address
    try:
        hosts = str(kind(source)), str(kind(destination))
    except AddressValueError:
        raise RemoteProtocolError("malformed address in a PROXY line") from None
    ports = int(source_port), int(destination_port)
    if max(ports) > 65535:
        raise RemoteProtocolError("port over 65535 in a PROXY line")
    return ProxyHeader(1, False, (hosts[0], ports[0]), (hosts[1], ports[1]), (), False, end)


# --- version 2 (section 2.2) ---


def _check_version(begin: bytes) -> None:
    """Refuse what no sender may send; "receivers must drop connections presenting unexpected values"."""
    if begin[12] >> 4 != 2:
        raise RemoteProtocolError(f"PROXY header of the unknown version {begin[12] >> 4}")
    if begin[12] & 0x0F > _PROXY:
        raise RemoteProtocolError("PROXY header with an unknown command")
    if len(begin) > 13 and (begin[13] >> 4 > _UNIX or begin[13] & 0x0F > _DGRAM):
        raise RemoteProtocolError("PROXY header with an unknown address family or transport")


def _parse_block(block: bytes, end: int) -> ProxyHeader:
    """Parse a whole header of version 2, which ends at `end`."""
    family, transport = block[13] >> 4, block[13] & 0x0F
    if block[12] & 0x0F == _LOCAL:
        # "The receiver must accept this connection as valid and must use the real connection endpoints and discard the
        # protocol block including the family which is ignored."
        return ProxyHeader(2, True, None, None, (), False, end)
    at = _FIXED + _ADDRESSES[family]
    source: tuple[str, int] | bytes | None = None
    destination: tuple[str, int] | bytes | None = None
    if transport == _STREAM:
        source, destination = _addresses(family, block[_FIXED:at])
    # Unspecified addresses have a length that nobody knows: what stands there is not looked at.
    tlvs = _split(block, at) if family != _UNSPEC else ()
    tls = any(_is_tls(value) for kind, value in tlvs if kind == _SSL)
    return ProxyHeader(2, False, source, destination, tlvs, tls, end)


def _addresses(
    family: int, raw: bytes
) -> tuple[tuple[str, int] | bytes | None, tuple[str, int] | bytes | None]:
    if family == _UNIX:
        return raw[:108].rstrip(b"\0"), raw[108:].rstrip(b"\0")
    if family == _UNSPEC:
        return None, None
    size, kind = (4, IPv4Address) if family == _INET else (16, IPv6Address)
    ports = raw[2 * size :]
    return (
        (str(kind(raw[:size])), int.from_bytes(ports[:2], "big")),
        (str(kind(raw[size : 2 * size])), int.from_bytes(ports[2:], "big")),
    )


def _split(block: bytes, at: int) -> tuple[tuple[int, bytes], ...]:
    """Take the TLVs that begin at `at` apart and check them as far as the paper says how."""
    found: list[tuple[int, bytes]] = []
    while at < len(block):
        begin = at + 3
        end = begin + int.from_bytes(block[at + 1 : begin], "big")
        if begin > len(block) or end > len(block):
            raise RemoteProtocolError("PROXY header with a TLV that is cut")
        kind, value = block[at], block[begin:end]
        if kind == _CRC32C:
            # Each costs a pass over the header, so one must do.
            if len(value) != 4 or any(earlier == _CRC32C for earlier, _ in found):
                raise RemoteProtocolError("PROXY header with a malformed checksum, or with several")
            # Section 2.2.3: computed with zeroes in its own place.
            if _crc32c(block[:begin] + bytes(4) + block[end:]) != int.from_bytes(value, "big"):
                raise RemoteProtocolError("PROXY header with a wrong checksum")
        elif kind == _UNIQUE_ID and len(value) > _MAX_UNIQUE_ID:
            raise RemoteProtocolError("PROXY header with a unique id over 128 bytes")
        elif kind == _SSL and len(value) < 5:
            raise RemoteProtocolError("PROXY header with a TLV that is cut")
        found.append((kind, value))
        at = end
    return tuple(found)


def _is_tls(value: bytes) -> bool:
    """Section 2.2.6: the bit field says whether the client connected over TLS."""
    return bool(value[0] & _CLIENT_SSL)


def _crc32c_table() -> tuple[int, ...]:
    table = []
    for octet in range(256):
        for _ in range(8):
            octet = octet >> 1 ^ (0x82F63B78 if octet & 1 else 0)
        table.append(octet)
    return tuple(table)


# RFC 4960 appendix B, which RFC 9260 appendix A repeats: the polynomial of Castagnoli, reflected.
_CRC32C_TABLE: Final = _crc32c_table()


def _crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for octet in data:
        crc = crc >> 8 ^ _CRC32C_TABLE[(crc ^ octet) & 0xFF]
    return crc ^ 0xFFFFFFFF
