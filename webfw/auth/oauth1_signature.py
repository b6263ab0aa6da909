"""Signatures of OAuth 1 (RFC 5849 section 3.4): text in, text out; requests, cookies and the clock may not enter."""

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl, quote, urlsplit

__all__ = ["authorization_header", "base_string", "base_string_uri", "hmac_sha1", "percent_encode"]

_DEFAULT_PORTS = {"http": 80, "https": 443}


def percent_encode(text: str) -> str:
    """Encode all but letters, digits and ``-._~`` (section 3.6)."""
    return quote(text.encode("utf-8"), safe="")


def base_string_uri(url: str) -> str:
    """The address without its query, as it is signed (section 3.4.1.2).

    :raises ValueError: the address is not absolute, or its port is no number.
    """
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    if not scheme or not parts.hostname:
        raise ValueError("only an absolute address can be signed")
    host = parts.hostname.lower()
    if ":" in host:
        host = f"[{host}]"
    if parts.port is not None and parts.port != _DEFAULT_PORTS.get(scheme):
        host = f"{host}:{parts.port}"
    return f"{scheme}://{host}{parts.path or '/'}"


def base_string(method: str, url: str, parameters: Iterable[tuple[str, str]]) -> str:
    """What a signature is made of (section 3.4.1).

    :param method: of the request.
    :param url: the absolute address; the arguments of its query are signed with the rest (section 3.4.1.3.1).
    :param parameters: the protocol's own, without ``realm``, and the arguments of a body that is a form.
    """
    pairs = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    pairs += [(name, value) for name, value in parameters if name != "oauth_signature"]
    # Sorted as encoded (section 3.4.1.3.2): then the order is that of the bytes.
    encoded = sorted((percent_encode(name), percent_encode(value)) for name, value in pairs)
    normalized = "&".join(f"{name}={value}" for name, value in encoded)
    return "&".join(percent_encode(text) for text in (method.upper(), base_string_uri(url), normalized))


def hmac_sha1(text: str, client_secret: str, token_secret: str = "") -> str:
    """The signature of a base string (section 3.4.2)."""
    key = f"{percent_encode(client_secret)}&{percent_encode(token_secret)}"
    return b64encode(hmac.digest(key.encode("ascii"), text.encode("ascii"), hashlib.sha1)).decode("ascii")


def authorization_header(parameters: Mapping[str, str]) -> str:
    """The value of the Authorization field that carries the protocol's parameters (section 3.5.1)."""
    return "OAuth " + ", ".join(
        f'{percent_encode(name)}="{percent_encode(value)}"' for name, value in parameters.items()
    )
