"""PROXY headers of both versions: right ones, wrong ones, whole, cut and followed by other bytes."""

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.sansio.errors import RemoteProtocolError
from webfw.sansio.proxyline import MAX_PROXY_HEADER, ProxyHeader, _crc32c, parse_proxy_header

SIGNATURE = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a"
INET = bytes([192, 0, 2, 1, 198, 51, 100, 2]) + struct.pack(">HH", 56324, 443)
CLIENT, SERVER = ("192.0.2.1", 56324), ("198.51.100.2", 443)


def v2(kind: bytes, body: bytes = b"") -> bytes:
    return SIGNATURE + kind + struct.pack(">H", len(body)) + body


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack(">BH", kind, len(value)) + value


def with_checksum(body: bytes) -> bytes:
    whole = v2(b"\x21\x11", body + tlv(3, bytes(4)))
    return whole[:-4] + struct.pack(">I", _crc32c(whole))


def parse(data: bytes, **options: int) -> ProxyHeader:
    """Parse whole, at an offset, followed by others, and byte by byte: the same, and no sooner than it is whole."""
    whole = parse_proxy_header(data, **options)
    assert whole is not None
    assert whole.end == len(data)
    assert parse_proxy_header(data + b"GET / HTTP/1.1\r\n", **options) == whole
    shifted = parse_proxy_header(b"abc" + data, 3, **options)
    assert shifted is not None
    assert shifted.end == len(data) + 3
    for size in range(len(data)):
        assert parse_proxy_header(data[:size], **options) is None
    return whole


def told_early(data: bytes, message: str) -> None:
    """However little of `data` has come, it is not known yet or refused in the same words."""
    answers: set[object] = set()
    for size in range(len(data)):
        try:
            answers.add(parse_proxy_header(data[:size]))
        except RemoteProtocolError as error:
            answers.add(str(error))
    assert answers <= {None, message}


@pytest.mark.parametrize(
    ("line", "source", "destination"),
    [
        (b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n", CLIENT, SERVER),
        (
            b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
            ("255.255.255.255", 65535),
            ("255.255.255.255", 65535),
        ),
        (b"PROXY TCP6 2001:db8::1 ::1 1 0\r\n", ("2001:db8::1", 1), ("::1", 0)),
        (
            b"PROXY TCP6 "
            + b" ".join([b"ffff:ffff:ffff:ffff:ffff:ffff:ffff:FFFF"] * 2)
            + b" 65535 65535\r\n",
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535),
        ),
        (b"PROXY UNKNOWN\r\n", None, None),
        (b"PROXY UNKNOWN anything \xff at all\r\n", None, None),
        (b"PROXY UNKNOWN " + b"f" * 91 + b"\r\n", None, None),
    ],
)
def test_version_1(line: bytes, source: object, destination: object) -> None:
    assert parse(line) == ProxyHeader(1, False, source, destination, (), False, len(line))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "line",
    [
        b"PROXY TCP4 192.0.2.1 198.51.100.2 56324\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443 \r\n",
        b"PROXY TCP4  192.0.2.1 198.51.100.2 56324 443\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 056324 443\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 65536\r\n",
        b"PROXY TCP4 192.0.2.01 198.51.100.2 56324 443\r\n",
        b"PROXY TCP4 192.0.2 198.51.100.2 56324 443\r\n",
        b"PROXY TCP4 ::1 ::1 56324 443\r\n",
        b"PROXY TCP6 192.0.2.1 198.51.100.2 56324 443\r\n",
        b"PROXY TCP6 fe80::1%1 ::1 56324 443\r\n",
        b"PROXY TCP6 [::1] ::1 56324 443\r\n",
        b"PROXY UDP4 192.0.2.1 198.51.100.2 56324 443\r\n",
        b"PROXY UNKNOWNS\r\n",
        b"PROXY \r\n",
        b"PROXY tcp4 192.0.2.1 198.51.100.2 56324 443\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\n\r\n",
        b"PROXY TCP4 \xb2.0.2.1 198.51.100.2 56324 443\r\n",
        b"PROXY UNKNOWN " + b"f" * 92 + b"\r\n",
        b"POST / HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\n",
        b"\r\n\r\nGET",
        b"\x16\x03\x01",
    ],
)
def test_version_1_refused(line: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="PROXY") as whole:
        parse_proxy_header(line)
    told_early(line, str(whole.value))


def test_addresses_of_version_2() -> None:
    found = parse(v2(b"\x21\x11", INET))
    assert found == ProxyHeader(2, False, CLIENT, SERVER, (), False, 28)
    six = ip_address("2001:db8::1").packed + ip_address("::1").packed + struct.pack(">HH", 1, 2)
    found = parse(v2(b"\x21\x21", six))
    assert (found.source, found.destination) == (("2001:db8::1", 1), ("::1", 2))
    unix = b"/run/a".ljust(108, b"\0") + b"x" * 108
    found = parse(v2(b"\x21\x31", unix))
    assert (found.source, found.destination) == (b"/run/a", b"x" * 108)


@pytest.mark.parametrize("kind", [b"\x21\x00", b"\x21\x01", b"\x21\x12", b"\x21\x10"])
def test_no_address_of_a_stream(kind: bytes) -> None:
    """Unspecified, or datagrams: the connection is taken, its own address is all there is."""
    found = parse(v2(kind, INET))
    assert (found.local, found.source, found.destination) == (False, None, None)


@pytest.mark.parametrize("kind", [b"\x20\x00", b"\x20\x11", b"\x20\x31"])
@pytest.mark.parametrize("body", [b"", b"junk", INET])
def test_local(kind: bytes, body: bytes) -> None:
    """What the proxy does on its own, a check of health say; whatever the header says beside that is ignored."""
    assert parse(v2(kind, body)) == ProxyHeader(2, True, None, None, (), False, 16 + len(body))


def test_tlvs() -> None:
    some = tlv(1, b"h2") + tlv(2, b"a.test") + tlv(4, bytes(9)) + tlv(5, b"i" * 128) + tlv(0xE0, b"")
    found = parse(v2(b"\x21\x11", INET + some))
    assert found.tlvs == ((1, b"h2"), (2, b"a.test"), (4, bytes(9)), (5, b"i" * 128), (0xE0, b""))
    assert not found.tls


@pytest.mark.parametrize(("client", "tls"), [(0, False), (1, True), (7, True), (6, False)])
def test_tls(client: int, tls: bool) -> None:
    ssl = bytes([client]) + bytes(4) + tlv(0x21, b"TLSv1.3")
    assert parse(v2(b"\x21\x11", INET + tlv(0x20, ssl))).tls is tls


def test_checksum() -> None:
    assert _crc32c(b"123456789") == 0xE3069283  # the check value of RFC 3720 and others
    good = with_checksum(INET + tlv(2, b"a.test"))
    assert parse(good).source == CLIENT
    bad = good.replace(b"a.test", b"b.test")
    with pytest.raises(RemoteProtocolError, match="wrong checksum"):
        parse_proxy_header(bad)
    with pytest.raises(RemoteProtocolError, match="checksum"):
        parse_proxy_header(v2(b"\x21\x11", INET + tlv(3, b"abc")))
    twice = with_checksum(INET + tlv(4, b""))
    again = twice[:14] + struct.pack(">H", len(twice) - 16 + 7) + twice[16:] + twice[-7:]
    with pytest.raises(RemoteProtocolError, match="checksum"):
        parse_proxy_header(again)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (SIGNATURE + b"\x11", "version 1"),
        (SIGNATURE + b"\x31\x11", "version 3"),
        (SIGNATURE + b"\x22", "command"),
        (SIGNATURE + b"\x21\x41", "family"),
        (SIGNATURE + b"\x21\x13", "transport"),
        (v2(b"\x21\x11", INET[:-1]), "room"),
        (v2(b"\x21\x21", INET), "room"),
        (v2(b"\x21\x31", bytes(215)), "room"),
        (v2(b"\x21\x11", INET + b"\x04"), "cut"),
        (v2(b"\x21\x11", INET + b"\x04\x00"), "cut"),
        (v2(b"\x21\x11", INET + b"\x04\x00\x02a"), "cut"),
        (v2(b"\x21\x11", INET + tlv(0x20, b"abcd")), "cut"),
        (v2(b"\x21\x11", INET + tlv(5, b"i" * 129)), "unique id"),
        (SIGNATURE + b"\x21\x11\xff\xff", f"over {MAX_PROXY_HEADER} bytes"),
        (SIGNATURE[:5] + b"x", "no PROXY header"),
    ],
)
def test_version_2_refused(data: bytes, message: str) -> None:
    with pytest.raises(RemoteProtocolError, match=message) as caught:
        parse_proxy_header(data)
    assert caught.value.status == 400
    told_early(data, str(caught.value))


def test_size_is_bounded() -> None:
    data = v2(b"\x21\x11", INET + tlv(0xEE, bytes(100)))
    assert parse(data, max_size=len(data)).end == len(data)
    with pytest.raises(RemoteProtocolError, match="over 130 bytes"):
        parse_proxy_header(data[:16], max_size=len(data) - 1)


@given(
    data=st.binary(max_size=300),
    begin=st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11"]),
)
def test_anything(data: bytes, begin: bytes) -> None:
    try:
        found = parse_proxy_header(begin + data)
    except RemoteProtocolError:
        return
    assert found is None or found.end <= len(begin + data)
