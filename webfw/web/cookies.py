"""The chapter of a handler on cookies: those it got, those it sets, and signed ones; signing itself stands outside."""

import datetime
import re
import warnings
from http.cookies import CookieError, Morsel, SimpleCookie
from typing import Any, Final

from webfw.escape import to_unicode
from webfw.httputil import format_timestamp
from webfw.web.signing import create_signed_value, decode_signed_value, get_signature_key_version
from webfw.web.state import HandlerState

__all__ = ["Cookies"]

# A space or a control character ends a value for some clients and not for others; characters outside latin-1 fit into
# no header.
_BAD_VALUE: Final = re.compile("[\x00-\x20\x7f]|[^\x00-\xff]")
# In an attribute, a semicolon would begin another one (RFC 6265 section 4.1.1).
_BAD_ATTRIBUTE: Final = re.compile("[\x00-\x20;\x7f]|[^\x00-\xff]")

_KNOWN: Final = ("domain", "expires", "path", "max-age", "httponly", "secure", "samesite")


class Cookies(HandlerState):
    """The cookies of a request and of its response."""

    @property
    def cookies(self) -> dict[str, Morsel[str]]:
        """The cookies of the request; the same as ``self.request.cookies``."""
        return self.request.cookies

    def get_cookie(self, name: str, default: str | None = None) -> str | None:
        """The value of a cookie of the request.

        :param default: what to return where there is none.

        It does not see what `set_cookie` has set in this request.
        """
        morsel = self.request.cookies.get(name)
        return default if morsel is None else morsel.value

    def set_cookie(
        self,
        name: str,
        value: str | bytes,
        domain: str | None = None,
        expires: float | tuple[int, ...] | datetime.datetime | None = None,
        path: str = "/",
        expires_days: float | None = None,
        *,
        max_age: int | None = None,
        httponly: bool = False,
        secure: bool = False,
        samesite: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Set a cookie (RFC 6265); it is sent with the head of the response.

        :param name: a token: letters, digits and some punctuation.
        :param value: text without spaces, control characters and characters outside latin-1; escape others, for
            instance with `webfw.escape.url_escape`.
        :param domain: the domain whose hosts get it, otherwise only this host.
        :param expires: when it ends: seconds since the epoch, a time tuple in UTC or a datetime.
        :param path: the path below which it is sent.
        :param expires_days: when it ends, in days from now, unless ``expires`` is given.
        :param max_age: seconds it lives; stronger than ``expires``.
        :param httponly: scripts may not see it.
        :param secure: it is sent over TLS only.
        :param samesite: ``"Strict"``, ``"Lax"`` or ``"None"``.
        :param kwargs: other attributes that `http.cookies.Morsel` knows.  The ones above in another spelling, such as
            ``Max-Age``, are deprecated.
        :raises http.cookies.CookieError: the name or an attribute is not allowed.
        :raises ValueError: the value is not allowed, or ``max_age`` is no number.
        """
        name = to_unicode(name)
        value = to_unicode(value)
        if not isinstance(value, str):
            raise TypeError(f"the value of cookie {name!r} is text or bytes, not {value!r}")
        if _BAD_VALUE.search(value):
            raise ValueError(f"Invalid cookie {name!r}: {value!r}")
        attributes: dict[str, Any] = {
            "domain": domain,
            "path": path,
            "samesite": samesite,
            "httponly": httponly,
            "secure": secure,
            "max-age": max_age,
        }
        if expires is None and expires_days is not None:
            expires = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=expires_days)
        attributes["expires"] = expires
        if kwargs:
            attributes |= _other_attributes(kwargs)
        _check_attribute(name, "name", name)
        morsel = _morsel(name, value, attributes)
        if self._new_cookie is None:
            self._new_cookie = SimpleCookie()
        dict.__setitem__(self._new_cookie, name, morsel)  # SimpleCookie's own would take a Morsel apart

    def clear_cookie(self, name: str, **kwargs: Any) -> None:
        """Have the client delete a cookie.

        :param kwargs: as for `set_cookie`: ``path`` and ``domain`` must be those it was set with; ``expires`` and
            ``max_age`` make no sense here.
        :raises TypeError: one of those two is given.
        """
        for unfit in ("expires", "max_age"):
            if unfit in kwargs:
                raise TypeError(f"clear_cookie() got an unexpected keyword argument {unfit!r}")
        kwargs["expires"] = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=365)
        self.set_cookie(name, value="", **kwargs)

    def clear_all_cookies(self, **kwargs: Any) -> None:
        """Have the client delete all the cookies it sent with this request; see `clear_cookie`."""
        for name in self.request.cookies:
            self.clear_cookie(name, **kwargs)

    # Signed cookies.

    def set_signed_cookie(
        self,
        name: str,
        value: str | bytes,
        expires_days: float | None = 30,
        version: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Set a cookie that the client can read, but neither change nor make.

        :param expires_days: days it lives; None for as long as the browser runs.  `get_signed_cookie` has a limit of
            its own.
        :param version: of the format, by default the newest.
        :param kwargs: as for `set_cookie`.
        :raises Exception: the ``cookie_secret`` setting is missing.
        """
        self.set_cookie(
            name, self.create_signed_value(name, value, version), expires_days=expires_days, **kwargs
        )

    set_secure_cookie = set_signed_cookie

    def create_signed_value(self, name: str, value: str | bytes, version: int | None = None) -> bytes:
        """Sign a value as `set_signed_cookie` does, to be kept elsewhere.

        It is signed with the ``cookie_secret`` setting.  Where that is a dict of keys by version, the ``key_version``
        setting chooses one.

        :raises Exception: the ``cookie_secret`` setting is missing, or ``key_version`` when that is a dict.
        """
        self.require_setting("cookie_secret", "secure cookies")
        secret = self.application.settings["cookie_secret"]
        key_version = None
        if isinstance(secret, dict):
            key_version = self.application.settings.get("key_version")
            if key_version is None:
                raise Exception("key_version setting must be used for secret_key dicts")
        return create_signed_value(secret, name, value, version=version, key_version=key_version)

    def get_signed_cookie(
        self,
        name: str,
        value: str | None = None,
        max_age_days: float = 31,
        min_version: int | None = None,
    ) -> bytes | None:
        """The value of a signed cookie; None where there is none or its signature does not hold.

        :param value: a signed value to use in place of the cookie's.
        :param max_age_days: how many days ago it may have been signed.
        :param min_version: the oldest version of the format to accept.
        :raises Exception: the ``cookie_secret`` setting is missing.
        """
        self.require_setting("cookie_secret", "secure cookies")
        if value is None:
            value = self.get_cookie(name)
        return decode_signed_value(
            self.application.settings["cookie_secret"],
            name,
            value,
            max_age_days=max_age_days,
            min_version=min_version,
        )

    get_secure_cookie = get_signed_cookie

    def get_signed_cookie_key_version(self, name: str, value: str | None = None) -> int | None:
        """The version of the key a signed cookie says it was signed with; its signature is not checked.

        :param value: a signed value to use in place of the cookie's.
        :raises Exception: the ``cookie_secret`` setting is missing.
        """
        self.require_setting("cookie_secret", "secure cookies")
        if value is None:
            value = self.get_cookie(name)
        return None if value is None else get_signature_key_version(value)

    get_secure_cookie_key_version = get_signed_cookie_key_version

    def require_setting(self, name: str, feature: str = "this feature") -> None:
        """Make sure that an application setting is there, and not empty.

        :param feature: what needs it, for the message.
        :raises Exception: it is not.
        """
        if not self.application.settings.get(name):
            raise Exception(f"You must define the '{name}' setting in your application to use {feature}")


def _other_attributes(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Attributes given in the spelling of the wire, or that only `http.cookies.Morsel` knows."""
    attributes = {key.lower().replace("_", "-"): value for key, value in kwargs.items()}
    misspelt = sorted(key for key in kwargs if key.lower().replace("_", "-") in _KNOWN)
    if misspelt:
        warnings.warn(
            f"Deprecated arguments to set_cookie: {', '.join(misspelt)} (should be lowercase)",
            DeprecationWarning,
            stacklevel=3,
        )
    return attributes


def _morsel(name: str, value: str, attributes: dict[str, Any]) -> Morsel[str]:
    """Make the cookie, each attribute checked so that none can bring another along."""
    cookie = SimpleCookie()
    cookie[name] = value  # checks the name and quotes the value
    morsel = cookie[name]
    for key, given in attributes.items():
        if given is None or given is False or given == "":
            continue
        attribute = given
        if key == "max-age":
            try:
                attribute = int(given)
            except (TypeError, ValueError):
                raise ValueError(f"max_age is a number of seconds, not {given!r}") from None
        elif key in ("httponly", "secure"):
            attribute = True
        elif key == "expires":
            attribute = format_timestamp(given)
        elif given is not True:
            attribute = str(given)
            _check_attribute(name, key, attribute)
        morsel[key] = attribute
    return morsel


def _check_attribute(name: str, key: str, value: str) -> None:
    if _BAD_ATTRIBUTE.search(value):
        raise CookieError(f"Invalid cookie attribute {key}={value!r} for cookie {name!r}")
