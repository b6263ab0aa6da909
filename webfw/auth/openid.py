"""Logging in with OpenID 2.0 at one provider, with attribute exchange 1.0; discovery may not enter.

Section numbers are those of "OpenID Authentication 2.0 - Final".
"""

import re
import time
from calendar import timegm
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

from webfw.auth.errors import AuthError
from webfw.auth.provider import FORM, ProviderMixin, ask, handler_of, host_of
from webfw.httpclient import AsyncHTTPClient
from webfw.httputil import url_concat

__all__ = ["OpenIdMixin"]

_NS: Final = "http://specs.openid.net/auth/2.0"
_SELECT: Final = "http://specs.openid.net/auth/2.0/identifier_select"
_AX: Final = "http://openid.net/srv/ax/1.0"

#: The attributes that may be asked for: for each word the aliases and types of what it stands for.
_ATTRIBUTES: Final[Mapping[str, Mapping[str, str]]] = {
    "name": {
        "firstname": "http://axschema.org/namePerson/first",
        "fullname": "http://axschema.org/namePerson",
        "lastname": "http://axschema.org/namePerson/last",
    },
    "email": {"email": "http://axschema.org/contact/email"},
    "language": {"language": "http://axschema.org/pref/language"},
    "username": {"username": "http://axschema.org/namePerson/friendly"},
}
_TYPES: Final = {alias: kind for word in _ATTRIBUTES.values() for alias, kind in word.items()}

#: Section 11.3: a time in UTC and more, of 255 characters at most.
_NONCE: Final = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)[!-~]{0,235}", re.ASCII)
#: How far the provider's clock may differ and its answer be on its way, in seconds.
_SKEW: Final = 300
#: What must be signed (section 10.1), and what of the rest if it is there.
_SIGNED: Final = ("op_endpoint", "return_to", "response_nonce", "assoc_handle")
_SIGNED_IF_THERE: Final = ("claimed_id", "identity")


class _Nonces:
    """The nonces of the answers that were accepted, as long as they could be accepted again."""

    def __init__(self) -> None:
        self._until: dict[tuple[str, str], float] = {}  # in the order of acceptance

    def use(self, endpoint: str, nonce: str) -> bool:
        """Take note of it; False if it was used before."""
        now = time.monotonic()
        while self._until and self._until[oldest := next(iter(self._until))] <= now:
            del self._until[oldest]
        if (endpoint, nonce) in self._until:
            return False
        self._until[endpoint, nonce] = now + 2 * _SKEW
        return True


_nonces: Final = _Nonces()


class OpenIdMixin(ProviderMixin):
    """A login with OpenID 2.0, for a handler to inherit from beside `RequestHandler`.

    It is for providers that still speak it.  A class for one sets ``_OPENID_ENDPOINT``; the provider lets the user
    choose an identity (section 7.3.1) and vouches for it.  Each answer is checked with it directly (section 11.4.2)::

        class Login(RequestHandler, OpenIdMixin):
            _OPENID_ENDPOINT = "https://openid.example/server"

            async def get(self):
                if self.get_argument("openid.mode", None):
                    user = await self.get_authenticated_user()
                    self.set_signed_cookie("user", user["claimed_id"])
                    self.redirect("/")
                else:
                    self.authenticate_redirect()
    """

    #: Where the user is sent, and where answers are checked.
    _OPENID_ENDPOINT: str

    def authenticate_redirect(
        self,
        callback_uri: str | None = None,
        ax_attrs: Iterable[str] = ("name", "email", "language", "username"),
    ) -> None:
        """Send the user to the provider (section 9.1).

        :param callback_uri: where the user comes back to, absolute or relative to this request; by default here.
        :param ax_attrs: what to ask about the user: any of ``"name"``, ``"email"``, ``"language"``, ``"username"``.
        :raises ValueError: there is no such attribute.
        """
        handler = handler_of(self)
        here = handler.request.full_url()
        arguments = {
            "openid.ns": _NS,
            "openid.claimed_id": _SELECT,
            "openid.identity": _SELECT,
            "openid.return_to": urljoin(here, callback_uri or handler.request.uri),
            "openid.realm": urljoin(here, "/"),
            "openid.mode": "checkid_setup",
        }
        required = []
        for word in ax_attrs:
            if word not in _ATTRIBUTES:
                raise ValueError(f"{word!r} is none of the attributes {', '.join(_ATTRIBUTES)}")
            for alias, kind in _ATTRIBUTES[word].items():
                arguments[f"openid.ax.type.{alias}"] = kind
                required.append(alias)
        if required:
            arguments["openid.ns.ax"] = _AX
            arguments["openid.ax.mode"] = "fetch_request"
            arguments["openid.ax.required"] = ",".join(required)
        handler.redirect(url_concat(self._OPENID_ENDPOINT, arguments))

    async def get_authenticated_user(self, http_client: AsyncHTTPClient | None = None) -> dict[str, Any]:
        """Check what the user has brought back (section 11), in the handler of the callback.

        :param http_client: asks the provider, by default `get_auth_http_client`.
        :returns: a dict with ``claimed_id``, which identifies the user, and whatever of ``email``, ``first_name``,
            ``last_name``, ``name``, ``locale`` and ``username`` the provider has told and signed.
        :raises AuthError: the user declined; the answer is not meant for this address, is too old, was used before or
            is not the provider's; the provider does not answer, or not as it should.
        """
        host = host_of(self._OPENID_ENDPOINT)
        answer = self._openid_answer(host)
        self._openid_check(answer, host)
        what = "its check of the login"
        response = await ask(
            http_client or self.get_auth_http_client(),
            self._OPENID_ENDPOINT,
            what,
            method="POST",
            headers={"Content-Type": FORM},
            body=urlencode({**answer, "openid.mode": "check_authentication"}),
            follow_redirects=False,
        )
        lines = response.body.decode("utf-8", "replace").splitlines()
        if "is_valid:true" not in lines:  # section 4.1.1: a colon without spaces
            raise AuthError(f"{host} does not confirm the login", host=host)
        # Only now: else anybody could fill the memory.
        if not _nonces.use(self._OPENID_ENDPOINT, answer["openid.response_nonce"]):
            raise AuthError(f"the answer of {host} was used before", host=host)
        return _user(answer)

    def _openid_answer(self, host: str) -> dict[str, str]:
        """The provider's part of the request, if it is an assertion (section 10.1)."""
        answer: dict[str, str] = {}
        for name, values in handler_of(self).request.arguments.items():
            if not name.startswith("openid."):
                continue
            try:
                (answer[name],) = (value.decode("utf-8") for value in values)
            except ValueError:
                raise AuthError(
                    f"an argument of the answer of {host} comes twice or is malformed", host=host
                ) from None
        mode = answer.get("openid.mode")
        if mode == "cancel":
            raise AuthError(f"no login by {host}: the user declined", host=host, error="access_denied")
        if mode == "error":
            raise AuthError(
                f"no login by {host}: it reports an error",
                host=host,
                error="unknown",
                error_description=answer.get("openid.error", "")[:500] or None,
            )
        if mode != "id_res" or answer.get("openid.ns") != _NS:
            raise AuthError(f"the answer of {host} is no assertion of OpenID 2.0", host=host)
        return answer

    def _openid_check(self, answer: Mapping[str, str], host: str) -> None:
        """All that can be found out without asking the provider."""
        signed = answer.get("openid.signed", "").split(",")
        for name in _SIGNED:
            if not answer.get(f"openid.{name}") or name not in signed:
                raise AuthError(f"{name} is missing or not signed in the answer of {host}", host=host)
        for name in _SIGNED_IF_THERE:
            if f"openid.{name}" in answer and name not in signed:
                raise AuthError(f"{name} is not signed in the answer of {host}", host=host)
        if answer["openid.op_endpoint"] != self._OPENID_ENDPOINT:
            raise AuthError(f"the answer is not by {host}", host=host)
        here = handler_of(self).request.full_url()
        if not _is_meant_for(answer["openid.return_to"], here):
            # Section 11.1; behind a proxy it fails where the server does not know how it is called from outside.
            raise AuthError(
                f"the answer of {host} is not meant for this address; behind a proxy the server needs xheaders",
                host=host,
            )
        if not _is_fresh(answer["openid.response_nonce"]):
            raise AuthError(f"the answer of {host} is too old, or a clock is wrong", host=host)


def _is_meant_for(return_to: str, here: str) -> bool:
    """Whether an answer was to be sent here (section 11.1)."""
    wanted, found = urlsplit(return_to), urlsplit(here)
    if (wanted.scheme, wanted.netloc.lower(), wanted.path) != (
        found.scheme,
        found.netloc.lower(),
        found.path,
    ):
        return False
    arguments = parse_qsl(found.query, keep_blank_values=True)
    return all(pair in arguments for pair in parse_qsl(wanted.query, keep_blank_values=True))


def _is_fresh(nonce: str) -> bool:
    """Whether a nonce was made recently (section 11.3)."""
    match = _NONCE.fullmatch(nonce)
    if match is None:
        return False
    try:
        made = timegm(time.strptime(match[1], "%Y-%m-%dT%H:%M:%SZ"))
    except ValueError:
        return False
    return abs(time.time() - made) <= _SKEW


def _user(answer: Mapping[str, str]) -> dict[str, Any]:
    """The user of an answer that has been checked; attributes that are not signed count for nothing."""
    signed = {f"openid.{name}" for name in answer["openid.signed"].split(",")}
    trusted = {name: value for name, value in answer.items() if name in signed}
    values = _attributes(trusted)
    user: dict[str, Any] = {}
    if trusted.get("openid.claimed_id"):
        user["claimed_id"] = trusted["openid.claimed_id"]
    first, last, email = (values.get(alias, "") for alias in ("firstname", "lastname", "email"))
    name = values.get("fullname") or " ".join(part for part in (first, last) if part)
    found = {
        "first_name": first,
        "last_name": last,
        "name": name or email.partition("@")[0],
        "email": email,
        "locale": values.get("language", "").lower(),
        "username": values.get("username", ""),
    }
    user.update({key: value for key, value in found.items() if value})
    return user


def _attributes(trusted: Mapping[str, str]) -> dict[str, str]:
    """What attribute exchange tells, by our own aliases: the provider may use others."""
    alias = next(
        (
            name.removeprefix("openid.ns.")
            for name, value in trusted.items()
            if name.startswith("openid.ns.") and value == _AX
        ),
        None,
    )
    if alias is None:
        return {}
    prefix = f"openid.{alias}.type."
    theirs = {value: name.removeprefix(prefix) for name, value in trusted.items() if name.startswith(prefix)}
    values = {}
    for ours, kind in _TYPES.items():
        name = theirs.get(kind)
        if name is None:
            continue
        value = trusted.get(f"openid.{alias}.value.{name}", trusted.get(f"openid.{alias}.value.{name}.1"))
        if value is not None:
            values[ours] = value
    return values
