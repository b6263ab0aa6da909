"""Whatever a client sends as a signed cookie, it is read without failing, and nothing but what was signed is accepted.

And: what was signed is accepted under its name only, and not when anything in it was changed.
"""

import logging

from webfw.web.signing import create_signed_value, decode_signed_value, get_signature_key_version

SECRETS = {0: "s0", 3: "s3"}
NOW = 1_800_000_000.0
V1 = create_signed_value("s", "a", "value", version=1, clock=lambda: NOW)
V2 = create_signed_value("s", "a", "value", clock=lambda: NOW)
KEYED = create_signed_value(SECRETS, "a", "value", key_version=3, clock=lambda: NOW)
GENUINE = (V1, V2, KEYED)
TOKENS = [
    *(
        b"|",
        b"2|",
        b"1|",
        b"3|",
        b"1:0",
        b"10:1800000000",
        b"1:a",
        b"8:dmFsdWU=",
        b":",
        b"0:",
        b"00",
        b"-1:",
        b"99999999999:",
    ),
    *(
        b"=",
        b"dmFsdWU=",
        b"\x00",
        b"\xff",
        b"a",
        b"1800000000",
        b"9999999999",
        b"0" * 40,
        b"2|" * 10,
        V1,
        V2,
        KEYED,
        V2[-64:],
    ),
]


def decoded(data: bytes | str, name: str = "a", now: float = NOW) -> set[bytes]:
    found = {
        decode_signed_value("s", name, data, clock=lambda: now),
        decode_signed_value("s", name, data, min_version=2, clock=lambda: now),
        decode_signed_value(SECRETS, name, data, clock=lambda: now),
    }
    return {value for value in found if value is not None}


def check(data: bytes, cuts: list[int]) -> str:
    logging.disable(logging.CRITICAL)  # forged cookies are logged
    try:
        return quietly(data, cuts)
    finally:
        logging.disable(logging.NOTSET)


def quietly(data: bytes, cuts: list[int]) -> str:
    text = data.decode("latin-1")
    version = get_signature_key_version(data)
    assert version is None or version >= 0
    assert get_signature_key_version(text) == get_signature_key_version(text.encode())
    found = decoded(data)
    assert found <= ({b"value"} if data in GENUINE else set()), "forged"
    assert decoded(text) == (found if data.isascii() else set())
    assert decoded(data, "b") == set()
    assert decoded(data, now=NOW + 32 * 86400) == set()
    # A piece of the input in the place of a piece of a cookie.
    for cookie in GENUINE:
        for cut in cuts:
            at = cut % len(cookie)
            forged = cookie[:at] + data[:cut] + cookie[at + cut % 7 :]
            assert forged == cookie or not decoded(forged), forged
    # What the application signs comes back, whatever it is.
    signed = create_signed_value("s", text, data, clock=lambda: NOW)
    assert decode_signed_value("s", text, signed, clock=lambda: NOW) == data
    return "genuine" if found else "refused" if version is None else "well-formed"
