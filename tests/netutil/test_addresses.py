"""Tests of webfw.netutil.addresses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.netutil import AddressSet, BindAddress, is_valid_ip, parse_bind


@pytest.mark.parametrize(
    "ip", ["127.0.0.1", "4.4.4.4", "::1", "2620:0:1cfe:face:b00c::3", "::ffff:1.2.3.4", "fe80::1%eth0", "::"]
)
def test_addresses_that_are_valid(ip: str) -> None:
    assert is_valid_ip(ip)


@pytest.mark.parametrize(
    "ip",
    [
        "www.google.com",
        "localhost",
        "4.4.4.4<",
        " 127.0.0.1",
        "127.0.0.1\n",
        "127.1",
        "1.2.3",
        "1.2.3.256",
        "127.0.0.1\0",
        "127.0.0.1%eth0",
        "fe80::1%",
        ":::1",
        "[::1]",
        "",
        " ",
        "\n",
        "\x00",
        "\ud800",
        "a" * 100,
    ],
)
def test_text_that_is_no_address(ip: str) -> None:
    assert not is_valid_ip(ip)


@given(st.text(max_size=20))
def test_any_text_is_answered(text: str) -> None:
    assert is_valid_ip(text) in (True, False)


@pytest.mark.parametrize(
    ("text", "address", "shown"),
    [
        ("8000", BindAddress(port=8000), ":8000"),
        (":8000", BindAddress(port=8000), ":8000"),
        ("0", BindAddress(port=0), ":0"),
        ("127.0.0.1:8000", BindAddress(host="127.0.0.1", port=8000), "127.0.0.1:8000"),
        ("localhost:80", BindAddress(host="localhost", port=80), "localhost:80"),
        ("[::1]:80", BindAddress(host="::1", port=80), "[::1]:80"),
        ("[fe80::1%eth0]:80", BindAddress(host="fe80::1%eth0", port=80), "[fe80::1%eth0]:80"),
        ("unix:/run/app.sock", BindAddress(path="/run/app.sock"), "unix:/run/app.sock"),
        ("unix:app.sock", BindAddress(path="app.sock"), "unix:app.sock"),
        ("unix:@app", BindAddress(path="\0app"), "unix:@app"),
        ("fd://3", BindAddress(fd=3), "fd://3"),
    ],
)
def test_where_to_listen(text: str, address: BindAddress, shown: str) -> None:
    assert parse_bind(text) == address
    assert str(address) == shown
    assert parse_bind(shown) == address


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "has no port: write HOST:PORT"),
        ("localhost", "has no port: write localhost:PORT"),
        ("127.0.0.1:", "port must be a number"),
        ("127.0.0.1:http", "port must be a number"),
        ("127.0.0.1:65536", "from 0 to 65535"),
        ("127.0.0.1:-1", "port must be a number"),
        (":٣", "port must be a number"),
        (":" + "9" * 5000, "port must be a number"),
        ("::1", "write an IPv6 address as"),
        ("::1:80", "write an IPv6 address as"),
        ("[::1]", "has no port after the bracket"),
        ("[::1", "has no port after the bracket"),
        ("[localhost]:80", "no IPv6 address between its brackets"),
        ("[]:80", "no IPv6 address between its brackets"),
        ("http//x:80", "no valid host"),
        ("a b:80", "no valid host"),
        ("unix:", "has no path"),
        ("unix:@", "has no path"),
        ("unix:a\0b", "NUL"),
        ("fd://", "descriptor must be a number"),
        ("fd://x", "descriptor must be a number"),
        ("http://localhost:80", "ambiguous"),
    ],
)
def test_what_is_wrong_is_said(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as info:
        parse_bind(text)
    assert repr(text) in str(info.value)


@given(st.text(max_size=30))
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        address = parse_bind(text)
    except ValueError:
        return
    assert parse_bind(str(address)) == address


PROXIES = AddressSet(
    ["192.0.2.7", "10.0.0.0/8", "2001:db8::/32", "172.16.5.5/12", "proxy.example", "no/network"]
)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "192.0.2.7",
            "10.0.0.0",
            "10.255.255.255",
            "::ffff:10.1.2.3",
            "172.31.0.1",
            "2001:db8::1",
            "2001:DB8:1::",
        ),
        *("proxy.example", "10.0.0.0/8", "no/network"),
    ],
)
def test_addresses_of_a_set(text: str) -> None:
    assert text in PROXIES


@pytest.mark.parametrize(
    "text",
    [
        "192.0.2.8",
        "11.0.0.0",
        "172.32.0.1",
        "2001:db9::",
        "::ffff:11.0.0.1",
        "other",
        "",
        "10.1",
        "10.0.0.0/9",
        None,
    ],
)
def test_addresses_that_are_not_in_a_set(text: object) -> None:
    assert text not in PROXIES


def test_a_set_of_addresses_is_a_set() -> None:
    assert {
        "192.0.2.7",
        "10.0.0.0/8",
        "2001:db8::/32",
        "172.16.5.5/12",
        "proxy.example",
        "no/network",
    } == PROXIES
    assert not AddressSet()
    assert "10.0.0.1" not in AddressSet()
