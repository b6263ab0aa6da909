"""The chapter of a handler on forged requests: what another site has a browser send in its user's name.

Two defences.  With ``xsrf_cookies``, a request that changes something must repeat a random token that a cookie holds,
which another site cannot read.  With ``cross_origin_protection``, the browser says where the request comes from.
Who the user is may not enter.
"""

import hmac
import os
import re
import time
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import urlsplit

from webfw.escape import xhtml_escape
from webfw.web.errors import HTTPError
from webfw.web.state import HandlerState

__all__ = ["Xsrf", "decode_token", "encode_token", "mask_token"]

_SAFE_METHODS: Final = ("GET", "HEAD", "OPTIONS")

_MASK_SIZE: Final = 4
_VERSION_2: Final = re.compile(r"2\|([0-9a-fA-F]{8})\|((?:[0-9a-fA-F]{2}){1,128})\|([0-9]{1,15})", re.ASCII)
_NUMBERED: Final = re.compile(r"[1-9][0-9]*\|", re.ASCII)
_HEXADECIMAL: Final = re.compile(r"(?:[0-9a-fA-F]{2})+", re.ASCII)


def mask_token(mask: bytes, token: bytes) -> bytes:
    """Combine a token with a mask that is repeated; twice with the same mask gives the token again.

    A page that holds a token in another form each time does not give it away by the length it is compressed to (the
    BREACH attack).
    """
    size = len(token)
    repeated = (mask * (size // len(mask) + 1))[:size]
    return (int.from_bytes(token) ^ int.from_bytes(repeated)).to_bytes(size)


def encode_token(token: bytes, timestamp: float, version: int) -> bytes:
    """Write a token as it is sent: plain in version 1, masked anew each time in version 2.

    :raises ValueError: there is no such version.
    """
    if version == 1:
        return token.hex().encode()
    if version != 2:
        raise ValueError(f"unknown xsrf cookie version {version}")
    mask = os.urandom(_MASK_SIZE)
    return f"2|{mask.hex()}|{mask_token(mask, token).hex()}|{int(timestamp)}".encode()


def decode_token(value: str) -> tuple[int, bytes, float] | None:
    """Read what `encode_token` has written.

    :return: the version, the token and when it was made (now, for version 1); None for anything malformed.
    """
    if _NUMBERED.match(value):
        match = _VERSION_2.fullmatch(value)
        if match is None:
            return None
        token = mask_token(bytes.fromhex(match[1]), bytes.fromhex(match[2]))
        return 2, token, float(match[3])
    if not value or len(value) > 256:
        return None
    # A token that is not hexadecimal is one that the program has made itself.
    token = bytes.fromhex(value) if _HEXADECIMAL.fullmatch(value) else value.encode("utf-8", "surrogatepass")
    return 1, token, time.time()


class Xsrf(HandlerState):
    """How a handler tells requests of its own pages from forged ones."""

    _xsrf_token: bytes | None = None
    _raw_xsrf_token: "tuple[int | None, bytes, float] | None" = None

    @property
    def xsrf_token(self) -> bytes:
        """The token for forms and scripts of this site; the same throughout a request.

        Where the client has none yet, a cookie is set with it: named by the ``xsrf_cookie_name`` setting (``_xsrf``),
        with the attributes in ``xsrf_cookie_kwargs``, in the form of ``xsrf_cookie_version`` (2).
        """
        if self._xsrf_token is None:
            settings = self.application.settings
            version, token, timestamp = self._get_raw_xsrf_token()
            self._xsrf_token = encode_token(token, timestamp, settings.get("xsrf_cookie_version", 2))
            if version is None:
                attributes: dict[str, Any] = dict(settings.get("xsrf_cookie_kwargs") or {})
                if self.current_user:
                    attributes.setdefault("expires_days", 30)
                self.set_cookie(self._xsrf_cookie_name(), self._xsrf_token, **attributes)
        return self._xsrf_token

    def xsrf_form_html(self) -> str:
        """A hidden field with the token, to be put into every form that is posted."""
        return f'<input type="hidden" name="_xsrf" value="{xhtml_escape(self.xsrf_token)}"/>'

    def check_xsrf_cookie(self) -> None:
        """Compare the token of the request with that of the cookie; override it to let some requests pass.

        The request has it in the ``_xsrf`` argument or an ``X-XSRFToken`` or ``X-CSRFToken`` header.  This is called
        before `RequestHandler.prepare`, with the ``xsrf_cookies`` setting, for all methods but GET, HEAD and OPTIONS.

        :raises HTTPError: the token is missing, malformed or another one (status 403).
        """
        fields = self.request.headers
        sent = self.get_argument("_xsrf", None) or fields.get("X-Xsrftoken") or fields.get("X-Csrftoken")
        if not sent:
            raise HTTPError(403, "'_xsrf' argument missing from POST")
        decoded = decode_token(sent)
        if decoded is None:
            raise HTTPError(403, "'_xsrf' argument has invalid format")
        _, expected, _ = self._get_raw_xsrf_token()
        if not hmac.compare_digest(decoded[1], expected):
            raise HTTPError(403, "XSRF cookie does not match POST argument")

    def _get_raw_xsrf_token(self) -> tuple[int | None, bytes, float]:
        """The version, token and time of the client's cookie; a new token, of no version, where there is none."""
        if self._raw_xsrf_token is None:
            cookie = self.get_cookie(self._xsrf_cookie_name())
            decoded = decode_token(cookie) if cookie else None
            self._raw_xsrf_token = decoded or (None, os.urandom(16), time.time())
        return self._raw_xsrf_token

    def _xsrf_cookie_name(self) -> str:
        name: str = self.application.settings.get("xsrf_cookie_name", "_xsrf")
        return name

    # Where a request comes from.

    def check_cross_origin(self) -> None:
        """Refuse a request that changes something and that a page of another site has sent.

        It is called before `RequestHandler.prepare`, with the ``cross_origin_protection`` setting.  What decides is the
        browser's word: ``Sec-Fetch-Site`` (W3C Fetch Metadata), or for older browsers ``Origin`` (RFC 6454 section 7)
        compared with Host.  A request with neither comes from no browser and passes.  What is not of the same origin
        is left to `check_trusted_origin`.

        :raises HTTPError: status 403.
        """
        request = self.request
        if request.method in _SAFE_METHODS:
            return
        site = request.headers.get("Sec-Fetch-Site")
        origin = request.headers.get("Origin")
        if site is not None:
            # "none" is the user, who has typed an address or opened a bookmark.
            if site in ("same-origin", "none") or (origin is not None and self.check_trusted_origin(origin)):
                return
            raise HTTPError(403, "Sec-Fetch-Site %s & origin %r not allowed", site, origin)
        if origin is None or is_origin_of(origin, request.host) or self.check_trusted_origin(origin):
            return
        raise HTTPError(403, "Origin %r not allowed", origin)

    def check_trusted_origin(self, origin: str) -> bool:
        """Decide whether pages of another origin may send requests that change something; override it to decide.

        It is called for such requests only (see `check_cross_origin`), before `RequestHandler.prepare`, and for
        WebSockets.  An override that always returns True is for endpoints that anybody may call, and which therefore
        must not rely on cookies to know who does.

        :param origin: the Origin header, such as ``https://example.com``; ``null`` where the browser hides it.
        :return: by default, whether the ``trusted_origins`` setting has it.
        """
        trusted: Iterable[str] = self.application.settings.get("trusted_origins") or ()
        return origin in ((trusted,) if isinstance(trusted, str) else tuple(trusted))


def is_origin_of(origin: str, host: str) -> bool:
    """Whether an Origin header names the host of a Host header, over TLS or not, since a proxy may have ended that."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(host) and parts.netloc.lower() == host.lower()
