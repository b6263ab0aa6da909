"""Whatever a connection begins with, it is a PROXY header or raises RemoteProtocolError, the same however it is split.

And: nothing is taken that lies behind the header; addresses are such; a header that was put together, of either
version, says the same when it is read.
"""
# ruff: noqa: PT017  # what may be raised, and what it may say, is the subject

import struct
from ipaddress import ip_address

from webfw.sansio.errors import RemoteProtocolError
from webfw.sansio.proxyline import ProxyHeader, parse_proxy_header

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
INET = b"\x01\x02\x03\x04\x05\x06\x07\x08\x00\x50\x01\xbb"
TOKENS = [
    *(
        b"PROXY ",
        b"TCP4 ",
        b"TCP6 ",
        b"UNKNOWN",
        b"1.2.3.4 ",
        b"::1 ",
        b"fe80::1%1",
        b"ffff::1.2.3.4 ",
        b"80 ",
        b"443\r\n",
    ),
    *(
        b"0",
        b"65535",
        b"65536",
        b"\r\n",
        b"\r",
        b"\n",
        b" ",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 80 443\r\n",
        b"GET / HTTP/1.1\r\n",
    ),
    *(
        SIGNATURE,
        SIGNATURE + b"\x21\x11\x00\x0c" + INET,
        SIGNATURE + b"\x20\x00\x00\x00",
        b"\x21",
        b"\x20",
        b"\x11",
        b"\x12",
    ),
    *(
        b"\x21\x21\x00\x24" + bytes(36),
        b"\x21\x31\x00\xd8" + b"/a".ljust(108, b"\0") * 2,
        b"\x03\x00\x04",
        b"\x04\x00\x00",
    ),
    *(
        b"\x20\x00\x05\x01\x00\x00\x00\x00",
        b"\x05\x00\x01a",
        b"\x02\x00\x01a",
        b"\x00\x0c",
        b"\xff\xff",
        b"\x21\x00\x00\x00",
    ),
]
SIZES = [4096, 60]


def outcome(data: bytes, stops: list[int], size: int) -> ProxyHeader | tuple[int, str] | None:
    found = None
    for stop in stops:
        try:
            found = parse_proxy_header(data[:stop], 0, size)
        except RemoteProtocolError as error:
            assert error.status == 400
            assert str(error).isascii()
            assert len(str(error)) < 100
            return error.status, str(error)
        if found is not None:
            assert found.end <= stop
            break
    return found


def plausible(found: ProxyHeader, size: int) -> None:
    assert 0 < found.end <= (107 if found.version == 1 else size)
    assert (found.source is None) == (found.destination is None)
    for address in (found.source, found.destination):
        if isinstance(address, tuple):
            assert str(ip_address(address[0])) == address[0]
            assert 0 <= address[1] <= 65535
        elif address is not None:
            assert len(address) <= 108
            assert not address.endswith(b"\0")
    assert sum(3 + len(value) for _, value in found.tlvs) <= found.end
    assert not (found.local and (found.source or found.tlvs or found.tls))


def crc32c(data: bytes) -> int:
    """Bit by bit, unlike the one that is tested."""
    crc = 0xFFFFFFFF
    for bit in (octet >> shift & 1 for octet in data for shift in range(8)):
        crc = crc >> 1 ^ (0x82F63B78 if (crc ^ bit) & 1 else 0)
    return crc ^ 0xFFFFFFFF


def encode(found: ProxyHeader) -> bytes:
    """Put a header together from what was read in one."""
    source, destination = found.source, found.destination
    if not (isinstance(source, tuple) and isinstance(destination, tuple)):
        if isinstance(source, bytes) and isinstance(destination, bytes):
            block = b"\x21\x31", source.ljust(108, b"\0") + destination.ljust(108, b"\0")
        elif found.version == 1:
            return b"PROXY UNKNOWN\r\n"
        else:
            block = (b"\x20\x00", b"") if found.local else (b"\x21\x12", INET)
    elif found.version == 1:
        family = "TCP6" if ":" in source[0] else "TCP4"
        return f"PROXY {family} {source[0]} {destination[0]} {source[1]} {destination[1]}\r\n".encode()
    else:
        raw = ip_address(source[0]).packed + ip_address(destination[0]).packed
        block = (
            (b"\x21\x11" if len(raw) == 8 else b"\x21\x21"),
            raw + struct.pack(">HH", source[1], destination[1]),
        )
    body = block[1]
    where = 0
    for kind, value in found.tlvs:
        if kind == 3:
            where, value = len(body) + 19, bytes(4)
        body += struct.pack(">BH", kind, len(value)) + value
    whole = SIGNATURE + block[0] + struct.pack(">H", len(body)) + body
    return whole[:where] + struct.pack(">I", crc32c(whole)) + whole[where + 4 :] if where else whole


def check(data: bytes, cuts: list[int]) -> str:
    for size in SIZES:
        whole = outcome(data, [len(data)], size)
        assert outcome(data, [*cuts, len(data)], size) == whole, size
        if isinstance(whole, ProxyHeader):
            plausible(whole, size)
            assert outcome(data[: whole.end], [whole.end], size) == whole
            assert outcome(data[: whole.end - 1], [whole.end - 1], size) is None
            shifted = parse_proxy_header(b"junk" + data, 4, size)
            assert shifted is not None
            assert shifted.end == whole.end + 4
    found = outcome(data, [len(data)], SIZES[0])
    if found is None:
        return "incomplete"
    if isinstance(found, tuple):
        return "refused"
    again = parse_proxy_header(encode(found), 0, 1 << 17)
    assert again is not None
    if not (found.source is None and found.tlvs):
        assert (again.source, again.destination, again.local) == (
            found.source,
            found.destination,
            found.local,
        )
        assert [kind for kind, _ in again.tlvs] == [kind for kind, _ in found.tlvs]
        assert again.tls == found.tls
    return f"version {found.version}"
