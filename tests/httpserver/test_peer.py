"""Who a request comes from: facts of the connection, and what trusted proxies say."""

from typing import Any

import pytest

from webfw.httpserver.peer import behind_proxy, context_of
from webfw.httputil import HTTPHeaders

NONE: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    ("address", "ip"),
    [
        (("1.2.3.4", 5), "1.2.3.4"),
        (("2001:db8::1", 5, 0, 0), "2001:db8::1"),
        ("", "0.0.0.0"),
        ("/run/socket", "0.0.0.0"),
        (None, "0.0.0.0"),
        ((), "0.0.0.0"),
    ],
)
def test_the_address_of_a_connection(address: Any, ip: str) -> None:
    context = context_of(address, False, None, NONE)
    assert context.remote_ip == context._orig_remote_ip == str(context) == ip
    assert context.address == address


@pytest.mark.parametrize(
    ("tls", "told", "protocol"),
    [(False, None, "http"), (True, None, "https"), (False, "https", "https"), (True, "http", "http")],
)
def test_the_scheme_of_a_connection(tls: bool, told: str | None, protocol: str) -> None:
    context = context_of(("1.2.3.4", 5), tls, told, NONE)
    assert context.protocol == context._orig_protocol == protocol


@pytest.mark.parametrize(
    ("fields", "trusted", "ip"),
    [
        ({}, (), "9.9.9.9"),
        ({"X-Forwarded-For": "1.1.1.1"}, (), "1.1.1.1"),
        ({"X-Forwarded-For": "6.6.6.6, 1.1.1.1"}, (), "1.1.1.1"),  # the client may write what it likes before
        ({"X-Forwarded-For": "6.6.6.6, 1.1.1.1, 5.5.5.5"}, ("5.5.5.5",), "1.1.1.1"),
        ({"X-Forwarded-For": "1.1.1.1,4.4.4.4 ,5.5.5.5"}, ("4.4.4.4", "5.5.5.5"), "1.1.1.1"),
        ({"X-Forwarded-For": "4.4.4.4, 5.5.5.5"}, ("4.4.4.4", "5.5.5.5"), "4.4.4.4"),
        ({"X-Forwarded-For": "1.1.1.1, junk"}, (), "9.9.9.9"),
        ({"X-Forwarded-For": "1.1.1.1, "}, (), "9.9.9.9"),
        ({"X-Forwarded-For": "1.1.1.1:80"}, (), "9.9.9.9"),
        ({"X-Forwarded-For": "1.1.1.1", "X-Real-Ip": "2.2.2.2"}, (), "2.2.2.2"),
        ({"X-Forwarded-For": "1.1.1.1", "X-Real-Ip": "junk"}, (), "9.9.9.9"),
        ({"X-Real-Ip": "2001:db8::1"}, (), "2001:db8::1"),
    ],
)
def test_the_client_behind_proxies(fields: dict[str, str], trusted: tuple[str, ...], ip: str) -> None:
    context = context_of(("9.9.9.9", 1), False, None, frozenset(trusted))
    seen = behind_proxy(context, HTTPHeaders(fields))
    assert seen.remote_ip == str(seen) == ip
    assert seen._orig_remote_ip == context.remote_ip == "9.9.9.9"
    assert seen.address == ("9.9.9.9", 1)


def test_repeated_fields_are_one_list() -> None:
    headers = HTTPHeaders()
    for address in ("6.6.6.6", "1.1.1.1", "5.5.5.5"):
        headers.add("X-Forwarded-For", address)
    context = context_of(("9.9.9.9", 1), False, None, frozenset({"5.5.5.5"}))
    assert behind_proxy(context, headers).remote_ip == "1.1.1.1"


@pytest.mark.parametrize(
    ("fields", "protocol"),
    [
        ({}, "http"),
        ({"X-Scheme": "https"}, "https"),
        ({"X-Forwarded-Proto": "https"}, "https"),
        ({"X-Forwarded-Proto": "http, https"}, "https"),
        ({"X-Scheme": "http", "X-Forwarded-Proto": "https"}, "http"),
        ({"X-Scheme": "gopher"}, "http"),
        ({"X-Scheme": ""}, "http"),
    ],
)
def test_the_scheme_behind_proxies(fields: dict[str, str], protocol: str) -> None:
    context = context_of(("9.9.9.9", 1), False, None, NONE)
    seen = behind_proxy(context, HTTPHeaders(fields))
    assert seen.protocol == protocol
    assert seen._orig_protocol == "http"
