import importlib.util
import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.web.signing import (
    DEFAULT_SIGNED_VALUE_MIN_VERSION,
    DEFAULT_SIGNED_VALUE_VERSION,
    MAX_SUPPORTED_SIGNED_VALUE_VERSION,
    MIN_SUPPORTED_SIGNED_VALUE_VERSION,
    _sign_v1,
    _sign_v2,
    create_signed_value,
    decode_signed_value,
    get_signature_key_version,
)

DAY = 86400
NOW = 1300000000

# Made by Tornado 6.6.1, at NOW, with the key "s" (or 1: "b"), the name "n" and the value "v".
V1 = b"dg==|1300000000|6a32ebbb7b67ad010d0338b375cebc781ddd4c25"
V2 = b"2|1:0|10:1300000000|1:n|4:dg==|949dbbc3639a45afa25c2a48e9d57bd8b6758ecc4bdb0c93c5f77dc111341ea6"
V2_KEYS = b"2|1:1|10:1300000000|1:n|4:dg==|6dbd3fd9419bda5b56485a1142bb570e3be01bb80b9f7ca4645c2a962a6222ac"


def at(seconds: float) -> Any:
    return lambda: seconds


def test_versions() -> None:
    assert (MIN_SUPPORTED_SIGNED_VALUE_VERSION, MAX_SUPPORTED_SIGNED_VALUE_VERSION) == (1, 2)
    assert (DEFAULT_SIGNED_VALUE_MIN_VERSION, DEFAULT_SIGNED_VALUE_VERSION) == (1, 2)


def test_made_as_tornado_makes_them() -> None:
    assert create_signed_value("s", "n", "v", version=1, clock=at(NOW)) == V1
    assert create_signed_value(b"s", "n", b"v", clock=at(NOW + 0.9)) == V2
    assert create_signed_value({0: "a", 1: "b"}, "n", "v", clock=at(NOW), key_version=1) == V2_KEYS


@pytest.mark.parametrize("value", [V1, V2, V2.decode()])
def test_read(value: Any) -> None:
    def read(seconds: float = NOW, **kwargs: Any) -> bytes | None:
        return decode_signed_value("s", "n", value, clock=at(seconds), **kwargs)

    assert read() == b"v"
    assert read(NOW + 31 * DAY) == b"v"
    assert read(NOW + 31 * DAY + 1) is None
    assert read(NOW + DAY + 1, max_age_days=1) is None
    assert read(NOW + DAY, max_age_days=1) == b"v"
    assert read(min_version=2) == (None if value == V1 else b"v")


def test_keys_by_version() -> None:
    assert decode_signed_value({0: "a", 1: "b"}, "n", V2_KEYS, clock=at(NOW)) == b"v"
    assert decode_signed_value({1: "a"}, "n", V2_KEYS, clock=at(NOW)) is None
    assert decode_signed_value({0: "b"}, "n", V2_KEYS, clock=at(NOW)) is None
    assert decode_signed_value("b", "n", V2_KEYS, clock=at(NOW)) == b"v"
    assert decode_signed_value({0: "s"}, "n", V1, clock=at(NOW)) is None


def test_name_or_key_that_is_not_the_one(expect_log: Any) -> None:
    assert decode_signed_value("s", "m", V2, clock=at(NOW)) is None
    assert decode_signed_value("x", "n", V2, clock=at(NOW)) is None
    with expect_log("webfw.general", "Invalid signature of cookie", count=2) as records:
        assert decode_signed_value("s", "m", V1, clock=at(NOW)) is None
        assert decode_signed_value("x", "n", V1, clock=at(NOW)) is None
    assert V1.decode() not in records[0].getMessage()


@pytest.mark.parametrize("index", range(len(V2)))
def test_every_byte_counts(index: int) -> None:
    forged = V2[:index] + bytes([V2[index] ^ 1]) + V2[index + 1 :]
    assert decode_signed_value("s", "n", forged, clock=at(NOW), min_version=2) is None


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "a",
        "2",
        "2|",
        "2|a",
        "2|1:0|",
        "2|1:0|1:1|1:n|",
        "2|9999999:0|",
        "2|99999999999:0|",
        "2|1:x|10:1300000000|1:n|4:dg==|x",
        "2|1:0|1:x|1:n|4:dg==|x",
        "2|01:0|",
        "3|1:0|10:1300000000|1:n|4:dg==|x",
        "999|x",
        "\udc80",
        "2|" * 10000,
        b"\xff|\xfe",
    ],
)
def test_malformed(value: Any) -> None:
    assert decode_signed_value("s", "n", value) is None
    assert get_signature_key_version(value) is None


def test_signed_but_not_base64() -> None:
    signed = b"2|1:0|10:1300000000|1:n|1:x|"
    assert decode_signed_value("s", "n", signed + _sign_v2("s", signed), clock=at(NOW)) is None


def test_version_1_with_a_timestamp_that_was_part_of_the_value(expect_log: Any) -> None:
    """The signature covers name, value and timestamp joined, so where one ends is not protected by it."""
    signature = _sign_v1("s", b"n", b"dg==MTIz", b"1300000000")
    moved = b"dg==|MTIz1300000000|" + signature
    assert signature == _sign_v1("s", b"n", b"dg==", b"MTIz1300000000")
    with expect_log("webfw.general", "Tampered cookie", count=2):
        assert decode_signed_value("s", "n", moved, clock=at(NOW)) is None
        signature = _sign_v1("s", b"n", b"dg==", b"01300000000")
        assert decode_signed_value("s", "n", b"dg==|01300000000|" + signature, clock=at(NOW)) is None
    with expect_log("webfw.general", "in the future", count=1):
        signature = _sign_v1("s", b"n", b"dg==", b"21300000000")
        assert decode_signed_value("s", "n", b"dg==|21300000000|" + signature, clock=at(NOW)) is None


def test_key_version() -> None:
    assert get_signature_key_version(V2) == 0
    assert get_signature_key_version(V2_KEYS.decode()) == 1
    assert get_signature_key_version(V1) is None


def test_what_cannot_be_made() -> None:
    for version in (0, 3):
        with pytest.raises(ValueError, match=f"Unsupported version {version}"):
            create_signed_value("s", "n", "v", version=version)
    with pytest.raises(ValueError, match="Key version must be set"):
        create_signed_value({0: "a"}, "n", "v")
    with pytest.raises(ValueError, match="takes one key"):
        create_signed_value({0: "a"}, "n", "v", version=1)
    with pytest.raises(KeyError):
        create_signed_value({0: "a"}, "n", "v", key_version=7)
    with pytest.raises(TypeError, match="text or bytes, not None"):
        create_signed_value("s", "n", None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Unsupported min_version 3"):
        decode_signed_value("s", "n", V2, min_version=3)


@given(
    st.one_of(st.binary(), st.text()).filter(lambda v: not isinstance(v, str) or v.isprintable()),
    st.text("abcé|:", min_size=1),
)
def test_round_trip(value: str | bytes, name: str) -> None:
    expected = value.encode() if isinstance(value, str) else value
    for version in (1, 2):
        assert (
            decode_signed_value("s", name, create_signed_value("s", name, value, version=version)) == expected
        )


OTHER = """
import json, sys
from tornado.web import create_signed_value, decode_signed_value
made = {}
for key, version, key_version in (("s", 1, None), ("s", 2, None), ({1: "a", 2: "b"}, 2, 2)):
    value = create_signed_value(key, "name", "välue", version, key_version=key_version)
    made[f"{version}{key_version}"] = value.decode()
given = json.load(sys.stdin)
read = {k: decode_signed_value({1: "a", 2: "b"} if k == "22" else "s", "name", v).decode() for k, v in given.items()}
print(json.dumps({"made": made, "read": read}))
"""


@pytest.mark.skipif(importlib.util.find_spec("tornado") is None, reason="Tornado is not installed")
def test_exchanged_with_tornado() -> None:
    cases: dict[str, Any] = {"1None": ("s", 1, None), "2None": ("s", 2, None), "22": ({1: "a", 2: "b"}, 2, 2)}
    ours = {
        key: create_signed_value(secret, "name", "välue", version, key_version=key_version).decode()
        for key, (secret, version, key_version) in cases.items()
    }
    done = subprocess.run(
        [sys.executable, "-c", OTHER],
        input=json.dumps(ours),
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    theirs = json.loads(done.stdout)
    assert theirs["read"] == dict.fromkeys(cases, "välue")
    for key, (secret, _, _) in cases.items():
        assert decode_signed_value(secret, "name", theirs["made"][key]) == "välue".encode()
