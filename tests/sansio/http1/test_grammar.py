"""The rules of the grammar one by one, where a whole head would hide a mistake in them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.sansio.http1 import grammar

TCHARS = set("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


def test_every_character_of_a_token() -> None:
    for code in range(256):
        assert bool(grammar.IS_TOKEN.fullmatch(chr(code))) is (chr(code) in TCHARS), chr(code)


def test_every_character_of_a_field_value() -> None:
    for code in range(0x200):
        allowed = code == 9 or 32 <= code < 127 or 128 <= code < 256
        assert bool(grammar.IS_FIELD_VALUE.fullmatch(chr(code))) is allowed, chr(code)


def test_every_character_of_a_target() -> None:
    for code in range(256):
        assert bool(grammar.IS_TARGET.fullmatch(chr(code))) is (33 <= code < 127 and code != 35), chr(code)


@pytest.mark.parametrize(
    "host",
    [
        "a",
        "a.b",
        "a:1",
        "a:",
        "a:65535",
        "1.2.3.4",
        "[::1]",
        "[::1]:1",
        "[1:2:3:4:5:6:7:8]",
        "[::1.2.3.4]",
        "%41",
        "xn--a.b",
        "a_b",
        "a-",
        "-a",
        "a..b",
        "!$&'()*+,;=~",
        "[v1.a]",
        "[vF.a:b]:1",
    ],
)
def test_host(host: str) -> None:
    assert grammar.is_host(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        ":",
        ":1",
        "a:65536",
        "a:100000",
        "a:b",
        "a:-1",
        "a b",
        "a/b",
        "a?b",
        "a#b",
        "a@b",
        "a\\b",
        "a%",
        "a%4",
        "é",
        "[]",
        "[:]",
        "[::1",
        "::1",
        "[::1]a",
        "[::1]]",
        "[1::2::3]",
        "[::g]",
        "[::1%251]",
        "[1.2.3.4]",
        "[v.a]",
        "a\n",
        "[v1.]",
        "[12345::]",
        "a:1:2",
        "a,b c",
        '"a"',
        "<a>",
        "a|b",
        "{a}",
        "a^b",
        "a`b",
    ],
)
def test_no_host(host: str) -> None:
    assert not grammar.is_host(host)


@given(st.ip_addresses(v=6))
def test_every_ipv6_address_is_a_host(address: object) -> None:
    assert grammar.is_host(f"[{address}]:8080")


def test_no_rule_gives_characters_back() -> None:
    """Every quantifier without an upper bound is possessive, so no input can make a rule try again."""
    for name, rule in vars(grammar).items():
        if isinstance(rule, re.Pattern):
            text = rule.pattern if isinstance(rule.pattern, str) else rule.pattern.decode("latin-1")
            text = re.sub(r"\[(?:\\.|[^\]\\])*\]|\\.", "x", text)  # classes and escapes
            assert not re.search(r"[*+]", re.sub(r"[*+?]\+", "", text)), name


def test_content_digest_may_be_a_trailer() -> None:
    assert "content-digest" not in grammar.FORBIDDEN_IN_TRAILERS
    assert all(name == name.lower() for name in grammar.FORBIDDEN_IN_TRAILERS)
