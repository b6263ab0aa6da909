"""The table of settings."""

import re

import pytest

from webfw.cli.settings import SETTINGS, TABLES


def test_names_flags_and_variables() -> None:
    setting = SETTINGS["graceful_timeout"]
    assert (setting.flag, setting.variable) == ("--graceful-timeout", "WEBFW_GRACEFUL_TIMEOUT")
    assert setting.reloads
    assert not SETTINGS["bind"].reloads


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_each_is_described(name: str) -> None:
    setting = SETTINGS[name]
    assert re.fullmatch(r"[a-z][a-z_]*[a-z]", name)
    assert setting.help
    assert not setting.help.endswith(".")
    assert setting.kind.wanted
    assert name not in TABLES


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bind", ["8000", "[::1]:80", "unix:/x"]),
        ("unix_mode", "660"),
        ("hooks", "package.module"),
    ],
)
def test_values_with_a_form(name: str, value: object) -> None:
    assert SETTINGS[name].kind.check(value) == value


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("bind", ["nowhere"], "has no port"),
        ("unix_mode", "999", "an octal number such as 660"),
        ("unix_mode", "-1", "an octal number"),
        ("hooks", "not a module", "a module's dotted name"),
        ("trusted_downstream", ["10.0.0.1/8"], "an IP address or a network such as 10.0.0.0/8 is wanted"),
        ("trusted_downstream", "proxy.example", "an IP address"),
    ],
)
def test_values_without_it(name: str, value: object, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        SETTINGS[name].kind.check(value)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("10.0.0.5", "10.0.0.5"),
        ("0:0:0:0:0:0:0:1", "::1"),
        ("::FFFF:a00:5", "::ffff:10.0.0.5"),  # Python 3.11 and 3.12 would write the last part in hexadecimal
        ("FE80:0::1%eth0", "fe80::1%eth0"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("2001:DB8:0::/32", "2001:db8::/32"),
    ],
)
def test_a_proxy_is_written_as_the_system_writes_it(text: str, kept: str) -> None:
    assert SETTINGS["trusted_downstream"].kind.check([text]) == [kept]


def test_nothing_is_shown_of_nothing() -> None:
    assert SETTINGS["certfile"].show(None) == ""
