"""Logging in with OAuth 1.0 and 1.0a (RFC 5849); how a signature is computed and who the provider is may not enter."""

import binascii
import hmac
import secrets
import time
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urljoin

from webfw.auth.errors import AuthError
from webfw.auth.oauth1_signature import authorization_header, base_string, hmac_sha1
from webfw.auth.provider import ProviderMixin, ask, denial, handler_of, host_of, read_form
from webfw.httpclient import AsyncHTTPClient
from webfw.httputil import url_concat

__all__ = ["OAuthMixin"]

#: Keeps the request token while the user is at the provider; Tornado's name.
_COOKIE: Final = "_oauth_request_token"
#: Seconds the user has for it.
_PATIENCE: Final = 3600


class OAuthMixin(ProviderMixin):
    """A login with OAuth 1.0 or 1.0a, for a handler to inherit from beside `RequestHandler`.

    A class for a provider sets the attributes below and overrides `_oauth_consumer_token` and `_oauth_get_user_future`.
    Requests are signed with HMAC-SHA1.

    The request token and its secret are kept in a cookie, out of sight of scripts and for an hour; it is signed where
    the application has a ``cookie_secret``.
    """

    #: Where a request token is asked for.
    _OAUTH_REQUEST_TOKEN_URL: str
    #: Where the user is sent.
    _OAUTH_AUTHORIZE_URL: str
    #: Where the request token is exchanged for an access token.
    _OAUTH_ACCESS_TOKEN_URL: str
    #: ``"1.0a"``, which RFC 5849 describes, or ``"1.0"``, which has no verifier.
    _OAUTH_VERSION: str = "1.0a"
    #: True for a provider that takes no callback with the request and has it registered in advance.
    _OAUTH_NO_CALLBACKS: bool = False
    #: How both tokens are asked for.  RFC 5849 section 2.1 would have ``"POST"``; providers take both, and Tornado GET.
    _OAUTH_TOKEN_METHOD: str = "GET"
    #: Where the protocol's parameters travel: ``"query"`` as with Tornado, or ``"header"``, the Authorization field,
    #: which RFC 5849 section 3.5 prefers and which stays out of the logs of proxies.
    _OAUTH_TRANSMISSION: str = "query"

    async def authorize_redirect(
        self,
        callback_uri: str | None = None,
        extra_params: dict[str, Any] | None = None,
        http_client: AsyncHTTPClient | None = None,
    ) -> None:
        """Get a request token, and send the user to the provider with it (RFC 5849 sections 2.1 and 2.2).

        :param callback_uri: where the user comes back to, absolute or relative to this request.  Leave it out where it
            has been registered in advance; ``"oob"`` has the provider show a code instead.
        :param extra_params: further parameters of the request for the token.
        :param http_client: asks for it, by default `get_auth_http_client`.
        :raises AuthError: the provider does not answer, or not as it should.
        :raises ValueError: a callback, where the provider takes none.
        """
        token = await self._oauth_request_token(callback_uri, extra_params, http_client)
        self._oauth_leave(self._OAUTH_AUTHORIZE_URL, callback_uri, token)

    async def get_authenticated_user(self, http_client: AsyncHTTPClient | None = None) -> dict[str, Any]:
        """Get the user who has come back from the provider, in the handler of the callback (RFC 5849 section 2.3).

        :param http_client: asks for the access token, by default `get_auth_http_client`.
        :returns: what `_oauth_get_user_future` has returned and, as ``access_token``, a dict with ``key``, ``secret``
            and whatever else the provider has sent along.
        :raises AuthError: the user declined, the login was not begun in this browser, or the provider does not answer,
            or not as it should.
        :raises MissingArgumentError: the request has no ``oauth_token``.
        """
        handler = handler_of(self)
        host = host_of(self._OAUTH_AUTHORIZE_URL)
        kept = self._oauth_take_request_token()
        # Twitter says ?denied=TOKEN; others the word of the problem reporting extension.
        if (
            handler.get_argument("denied", None)
            or handler.get_argument("oauth_problem", None) == "user_refused"
        ):
            raise denial(host, {"error": "access_denied"})
        key = handler.get_argument("oauth_token")
        if kept is None:
            raise AuthError(
                f"no login by {host} was begun in this browser in the last hour: it has no request token",
                host=host,
            )
        if not hmac.compare_digest(kept["key"].encode(), key.encode()):
            raise AuthError("the request token is not the one this browser was sent away with", host=host)
        parameters = {}
        verifier = handler.get_argument("oauth_verifier", None)
        if verifier and self._OAUTH_VERSION != "1.0":
            parameters["oauth_verifier"] = verifier
        access_token = await self._oauth_ask(
            self._OAUTH_ACCESS_TOKEN_URL, "the access token", kept, parameters, http_client
        )
        user = await self._oauth_get_user_future(access_token)
        if not user:
            raise AuthError(f"{host} did not tell who the user is", host=host)
        user["access_token"] = access_token
        return user

    def _oauth_consumer_token(self) -> dict[str, Any]:
        """The application's credentials at the provider, as a dict with ``key`` and ``secret``; to be overridden."""
        raise NotImplementedError

    async def _oauth_get_user_future(self, access_token: dict[str, Any]) -> dict[str, Any]:
        """Ask the provider who the user is; to be overridden.

        :param access_token: a dict with ``key`` and ``secret``.
        :returns: a dict, to which the access token will be added; an empty one if the user is not known.
        """
        raise NotImplementedError

    def _oauth_request_parameters(
        self,
        url: str,
        access_token: Mapping[str, Any] | None,
        parameters: Mapping[str, Any] | None = None,
        method: str = "GET",
    ) -> dict[str, str]:
        """The protocol's parameters for a request, with the signature (RFC 5849 section 3.1).

        They may travel in the query, in a body that is a form, or in the Authorization field.

        :param url: the absolute address.
        :param access_token: a dict with ``key`` and ``secret``.
        :param parameters: all that is in the body or will be added to the query; values that are lists come repeatedly.
        :param method: of the request.
        """
        consumer = self._oauth_consumer_token()
        protocol = {
            "oauth_consumer_key": str(consumer["key"]),
            "oauth_signature_method": "HMAC-SHA1",
            "oauth_timestamp": str(int(time.time())),
            "oauth_nonce": secrets.token_hex(16),
            "oauth_version": "1.0",
        }
        token_secret = ""
        if access_token is not None:
            protocol["oauth_token"] = str(access_token["key"])
            token_secret = str(access_token["secret"])
        pairs = list(protocol.items())
        for name, value in (parameters or {}).items():
            if name in ("oauth_callback", "oauth_verifier"):
                protocol[name] = str(value)
            several = value if isinstance(value, list | tuple) else [value]
            pairs += [(name, item.decode() if isinstance(item, bytes) else str(item)) for item in several]
        text = base_string(method, url, pairs)
        protocol["oauth_signature"] = hmac_sha1(text, str(consumer["secret"]), token_secret)
        return protocol

    def _oauth_sign(
        self,
        url: str,
        access_token: Mapping[str, Any] | None,
        parameters: Mapping[str, Any] | None,
        method: str,
    ) -> tuple[str, dict[str, str]]:
        """The address and the fields that a signed request has."""
        signed = self._oauth_request_parameters(url, access_token, parameters, method)
        if self._OAUTH_TRANSMISSION == "header":
            return url, {"Authorization": authorization_header(signed)}
        return url_concat(url, signed), {}

    async def _oauth_request_token(
        self,
        callback_uri: str | None,
        extra_params: Mapping[str, Any] | None,
        http_client: AsyncHTTPClient | None,
    ) -> dict[str, str]:
        if callback_uri and self._OAUTH_NO_CALLBACKS:
            raise ValueError(
                f"{host_of(self._OAUTH_AUTHORIZE_URL)} takes no callback: it is registered in advance"
            )
        parameters = {}
        if callback_uri and self._OAUTH_VERSION != "1.0":
            # Without one RFC 5849 would say "oob"; but providers with a registered one (Twitter) take that for the wish
            # to be shown a code.
            parameters["oauth_callback"] = self._oauth_callback(callback_uri)
        url = url_concat(self._OAUTH_REQUEST_TOKEN_URL, dict(extra_params or {}))
        token = await self._oauth_ask(url, "a request token", None, parameters, http_client)
        if token.get("oauth_callback_confirmed", "true") != "true":
            host = host_of(url)
            raise AuthError(f"{host} did not confirm the callback", host=host)
        return token

    async def _oauth_ask(
        self,
        url: str,
        what: str,
        token: Mapping[str, str] | None,
        parameters: Mapping[str, str],
        http_client: AsyncHTTPClient | None,
    ) -> dict[str, str]:
        """Ask for one of both tokens."""
        method = self._OAUTH_TOKEN_METHOD
        address, headers = self._oauth_sign(url, token, parameters, method)
        response = await ask(
            http_client or self.get_auth_http_client(),
            address,
            what,
            method=method,
            headers=headers,
            body=None if method == "GET" else "",
            follow_redirects=False,  # what is signed for one address is nothing to another
        )
        values = read_form(response, url, what)
        host = host_of(url)
        if not values.get("oauth_token") or "oauth_token_secret" not in values:
            missing = "oauth_token_secret" if values.get("oauth_token") else "oauth_token"
            raise AuthError(f"{host} gave {what} without {missing}", host=host)
        return {"key": values.pop("oauth_token"), "secret": values.pop("oauth_token_secret"), **values}

    def _oauth_leave(self, url: str, callback_uri: str | None, token: Mapping[str, str]) -> None:
        """Keep the request token, and send the user away with it."""
        handler = handler_of(self)
        value = b"|".join(b64encode(token[name].encode()) for name in ("key", "secret"))
        attributes: dict[str, Any] = {
            "max_age": _PATIENCE,
            "httponly": True,
            "samesite": "Lax",  # Strict would hold it back when the user is sent here by the provider
            "secure": handler.request.protocol == "https",
        }
        if handler.settings.get("cookie_secret"):
            handler.set_signed_cookie(_COOKIE, value, expires_days=None, **attributes)
        else:
            handler.set_cookie(_COOKIE, value, **attributes)
        arguments = {"oauth_token": token["key"]}
        if callback_uri and self._OAUTH_VERSION == "1.0":
            arguments["oauth_callback"] = self._oauth_callback(callback_uri)
        handler.redirect(url_concat(url, arguments))

    def _oauth_take_request_token(self) -> dict[str, str] | None:
        """The request token that was kept, for this one time; None where there is none or it is not genuine."""
        handler = handler_of(self)
        value: str | bytes | None
        if handler.settings.get("cookie_secret"):
            value = handler.get_signed_cookie(_COOKIE, max_age_days=_PATIENCE / 86400)
        else:
            value = handler.get_cookie(_COOKIE)
        if handler.get_cookie(_COOKIE) is not None:
            handler.clear_cookie(_COOKIE)
        if value is None:
            return None
        try:
            text = value if isinstance(value, str) else value.decode("ascii")
            key, secret = (b64decode(part, validate=True).decode("utf-8") for part in text.split("|"))
        except (ValueError, binascii.Error):
            return None
        return {"key": key, "secret": secret}

    def _oauth_callback(self, callback_uri: str) -> str:
        if callback_uri == "oob":
            return callback_uri
        return urljoin(handler_of(self).request.full_url(), callback_uri)
