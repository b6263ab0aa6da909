"""Signed values: text that a client may keep and read but not change; what it is kept in may not enter.

Two formats, both Tornado's, so that a cookie of the one is read by the other:

* version 1: ``base64(value)|timestamp|signature`` with HMAC-SHA1, which is only read for the sake of old cookies;
* version 2: ``2|key version|timestamp|name|base64(value)|signature`` with HMAC-SHA256 over all that stands before
  the signature; each field between is written as its length, a colon and the text.

Signatures are HMACs (RFC 2104), in hexadecimal, and are compared in constant time.
"""

import base64
import binascii
import hashlib
import hmac
import re
import time
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from webfw.escape import utf8
from webfw.log import gen_log

__all__ = [
    "DEFAULT_SIGNED_VALUE_MIN_VERSION",
    "DEFAULT_SIGNED_VALUE_VERSION",
    "MAX_SUPPORTED_SIGNED_VALUE_VERSION",
    "MIN_SUPPORTED_SIGNED_VALUE_VERSION",
    "create_signed_value",
    "decode_signed_value",
    "get_signature_key_version",
]

#: The oldest version that is understood.
MIN_SUPPORTED_SIGNED_VALUE_VERSION: Final = 1
#: The newest version that is understood.
MAX_SUPPORTED_SIGNED_VALUE_VERSION: Final = 2
#: The version that is written, unless another is asked for.
DEFAULT_SIGNED_VALUE_VERSION: Final = 2
#: The oldest version that is accepted, unless another is asked for.
DEFAULT_SIGNED_VALUE_MIN_VERSION: Final = 1

#: A key, or several by their version so that they can be changed while old values are still about.
Secret = str | bytes | Mapping[int, str | bytes]

_DAY: Final = 86400

#: How far into the future the timestamp of a version 1 value may lie, in seconds.
_MAX_FUTURE: Final = 31 * _DAY


def create_signed_value(
    secret: Secret,
    name: str,
    value: str | bytes,
    version: int | None = None,
    clock: Callable[[], float] | None = None,
    key_version: int | None = None,
) -> bytes:
    """Sign a value together with a name and the time.

    :param secret: the key, or several by version.
    :param name: what the value is for; it is accepted under this name only.
    :param value: the value; text is signed as UTF-8.
    :param version: 1 or 2, by default 2.
    :param clock: gives the seconds since the epoch, `time.time` by default.
    :param key_version: which of several keys to sign with.
    :raises ValueError: another version; or several keys and none chosen, or for version 1.
    :raises KeyError: there is no key of that version.
    :raises TypeError: the value is neither text nor bytes.
    """
    if version is None:
        version = DEFAULT_SIGNED_VALUE_VERSION
    if not isinstance(value, (str, bytes)):
        raise TypeError(f"a value to be signed is text or bytes, not {value!r}")
    timestamp = str(int((clock or time.time)())).encode()
    encoded = base64.b64encode(utf8(value))
    if version == 1:
        if not isinstance(secret, (str, bytes)):
            raise ValueError("version 1 of signed values takes one key, not several")
        signature = _sign_v1(secret, utf8(name), encoded, timestamp)
        return b"|".join((encoded, timestamp, signature))
    if version != 2:
        raise ValueError(f"Unsupported version {version}")
    if not isinstance(secret, (str, bytes)):
        if key_version is None:
            raise ValueError("Key version must be set when sign key dict is used")
        secret = secret[key_version]
    fields = (str(key_version or 0).encode(), timestamp, utf8(name), encoded)
    signed = b"2|" + b"".join(b"%d:%b|" % (len(field), field) for field in fields)
    return signed + _sign_v2(secret, signed)


def decode_signed_value(
    secret: Secret,
    name: str,
    value: str | bytes | None,
    max_age_days: float = 31,
    clock: Callable[[], float] | None = None,
    min_version: int | None = None,
) -> bytes | None:
    """Check a signed value and take out what was signed.

    :param secret: the key, or several by version; one that is meant for values written with several is fine.
    :param name: the name it was signed with.
    :param value: what `create_signed_value` returned.
    :param max_age_days: how long ago it may have been signed, in days.
    :param clock: gives the seconds since the epoch, `time.time` by default.
    :param min_version: the oldest version to accept, 1 or 2; by default 1.
    :return: the value; None if anything about it is wrong.
    :raises ValueError: there is no such ``min_version``.
    """
    if min_version is None:
        min_version = DEFAULT_SIGNED_VALUE_MIN_VERSION
    if min_version > MAX_SUPPORTED_SIGNED_VALUE_VERSION:
        raise ValueError(f"Unsupported min_version {min_version}")
    if not value:
        return None
    data = value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
    now = (clock or time.time)()
    version = _version_of(data)
    if version < min_version:
        return None
    if version == 1:
        return _decode_v1(secret, utf8(name), data, now - max_age_days * _DAY, now)
    if version == 2:
        return _decode_v2(secret, utf8(name), data, now - max_age_days * _DAY)
    return None


def get_signature_key_version(value: str | bytes | None) -> int | None:
    """The version of the key a value says it is signed with; None for a malformed one and for version 1.

    Nothing is checked but the form: use it to find out when a key is no longer in use.
    """
    if not value:
        return None
    data = value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
    fields = _split_v2(data) if _version_of(data) == 2 else None
    return None if fields is None else fields.key_version


# --- version 1 ---


def _sign_v1(secret: str | bytes, *parts: bytes) -> bytes:
    return hmac.new(utf8(secret), b"".join(parts), hashlib.sha1).hexdigest().encode()


def _decode_v1(secret: Secret, name: bytes, data: bytes, oldest: float, now: float) -> bytes | None:
    parts = data.split(b"|")
    if len(parts) != 3 or not isinstance(secret, (str, bytes)):
        return None
    encoded, timestamp, signature = parts
    if not hmac.compare_digest(signature, _sign_v1(secret, name, encoded, timestamp)):
        gen_log.warning("Invalid signature of cookie %r", name)
        return None
    # The signature does not tell where the value ends and the timestamp begins, so somebody could move digits from
    # the one to the other, which makes it one that is far in the future or begins with a zero.
    if not _DIGITS.fullmatch(timestamp):
        gen_log.warning("Tampered cookie %r", name)
        return None
    when = int(timestamp)
    if when < oldest:
        return None
    if when > now + _MAX_FUTURE:
        gen_log.warning("Timestamp of cookie %r in the future; possible tampering", name)
        return None
    return _unwrap(encoded)


# --- version 2 ---

_VERSION: Final = re.compile(rb"([1-9][0-9]{0,2})\|")
_DIGITS: Final = re.compile(rb"[1-9][0-9]{0,15}")
_NUMBER: Final = re.compile(rb"0|[1-9][0-9]{0,15}")
_FIELD: Final = re.compile(rb"(0|[1-9][0-9]{0,6}):")


class _Fields(NamedTuple):
    key_version: int
    timestamp: int
    name: bytes
    encoded: bytes
    signed: bytes
    signature: bytes


def _version_of(data: bytes) -> int:
    match = _VERSION.match(data)
    # Version 1 has no number in front, but its value could look like one; there are not that many versions.
    return int(match[1]) if match else 1


def _sign_v2(secret: str | bytes, signed: bytes) -> bytes:
    return hmac.new(utf8(secret), signed, hashlib.sha256).hexdigest().encode()


def _split_v2(data: bytes) -> _Fields | None:
    fields: list[bytes] = []
    position = 2
    for _ in range(4):
        match = _FIELD.match(data, position)
        if match is None:
            return None
        end = match.end() + int(match[1])
        if data[end : end + 1] != b"|":
            return None
        fields.append(data[match.end() : end])
        position = end + 1
    key_version, timestamp, name, encoded = fields
    if not (_NUMBER.fullmatch(key_version) and _NUMBER.fullmatch(timestamp)):
        return None
    return _Fields(int(key_version), int(timestamp), name, encoded, data[:position], data[position:])


def _decode_v2(secret: Secret, name: bytes, data: bytes, oldest: float) -> bytes | None:
    fields = _split_v2(data)
    if fields is None:
        return None
    if not isinstance(secret, (str, bytes)):
        if fields.key_version not in secret:
            return None
        secret = secret[fields.key_version]
    if not hmac.compare_digest(fields.signature, _sign_v2(secret, fields.signed)):
        return None
    if fields.name != name or fields.timestamp < oldest:
        return None
    return _unwrap(fields.encoded)


def _unwrap(encoded: bytes) -> bytes | None:
    try:
        return base64.b64decode(encoded)
    except binascii.Error:
        return None
