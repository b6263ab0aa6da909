"""Logging in with OAuth 2 (RFC 6749), with state and PKCE (RFC 7636); who the provider is may not enter."""

import hashlib
import hmac
import json
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode, urlsplit

from webfw.auth.errors import AuthError
from webfw.auth.provider import (
    FORM,
    ProviderMixin,
    ask,
    denial,
    handler_of,
    host_of,
    read_form,
    read_json,
    report,
)
from webfw.httpclient import HTTPResponse
from webfw.httputil import url_concat

__all__ = ["AuthorizationResponse", "OAuth2Mixin"]

#: Begins the name of the cookie that keeps a login while the user is at the provider.
_COOKIE: Final = "_oauth2_"
#: Seconds the user has for it.
_PATIENCE: Final = 3600
#: Bytes that may be kept: signed, they must fit into the 4096 that browsers grant a cookie (RFC 6265 section 6.1).
_MAX_KEPT: Final = 2600
#: How many characters of a hash are part of the cookie's name, so that logins in two tabs do not meet.
_NAMED: Final = 16


class AuthorizationResponse(NamedTuple):
    """What the user has brought back from the provider (RFC 6749 section 4.1.2)."""

    #: To be exchanged for an access token, once and soon.
    code: str
    #: What shows that this application has asked for the code, if PKCE was chosen.
    code_verifier: str | None
    #: The text that was given to `OAuth2Mixin.authorize_redirect` as ``carry``.
    carried: str | None


class OAuth2Mixin(ProviderMixin):
    """A login with OAuth 2, for a handler to inherit from beside `RequestHandler`.

    `GoogleOAuth2Mixin`, `GitHubOAuth2Mixin` and `FacebookGraphMixin` are made for one provider each.  A class for
    another sets the attributes below; see `fetch_access_token` for the second half of the login.
    """

    #: Where the user is sent (RFC 6749 section 3.1).
    _OAUTH_AUTHORIZE_URL: str
    #: Where the code is exchanged for an access token (section 3.2).
    _OAUTH_ACCESS_TOKEN_URL: str
    #: Where `oauth2_request` puts the token: ``"query"`` as with Tornado, or ``"header"``, which RFC 6750 section 2
    #: prefers and newer providers insist on.
    _OAUTH_BEARER_METHOD: str = "query"

    def authorize_redirect(
        self,
        redirect_uri: str | None = None,
        client_id: str | None = None,
        client_secret: str | None = None,
        extra_params: dict[str, Any] | None = None,
        scope: list[str] | None = None,
        response_type: str = "code",
        *,
        state: bool | str = False,
        code_challenge_method: str | None = None,
        carry: str | None = None,
    ) -> None:
        """Send the user to the provider, to agree to the login (RFC 6749 section 4.1.1).

        The last three parameters are an addition to Tornado's.  With any of them the login is kept in a signed cookie
        for an hour, and `authorization_response` reads it in the handler of ``redirect_uri``; the ``cookie_secret``
        setting is needed.

        :param redirect_uri: where the user comes back to, absolute; some providers have it registered in advance.
        :param client_id: the application's name at the provider.
        :param client_secret: not used: a secret does not belong into an address that a browser is sent to.
        :param extra_params: further parameters, by name.
        :param scope: what the application asks to be allowed.
        :param response_type: ``"code"``, unless the provider has others.
        :param state: true for a random one, or text that nobody can guess, which the answer must repeat: without it an
            attacker can log the user in as somebody else (section 10.12).
        :param code_challenge_method: ``"S256"`` or ``"plain"``: use PKCE, so that a code that was intercepted is of no
            use; it implies ``state``.
        :param carry: text that `authorization_response` will give back, such as the page to go to after the login.  The
            user can read it, but neither change nor make it.  About 2,000 characters fit.
        :raises ValueError: there is no such challenge method, or the text to carry is too long.
        :raises Exception: the ``cookie_secret`` setting is needed and missing.
        """
        arguments: dict[str, Any] = {"response_type": response_type}
        if redirect_uri is not None:
            arguments["redirect_uri"] = redirect_uri
        if client_id is not None:
            arguments["client_id"] = client_id
        if scope:
            arguments["scope"] = " ".join(scope)
        if extra_params:
            arguments.update(extra_params)
        if state or code_challenge_method or carry is not None:
            arguments.update(self._oauth2_keep(redirect_uri, state, code_challenge_method, carry))
        handler_of(self).redirect(url_concat(self._OAUTH_AUTHORIZE_URL, arguments))

    def authorization_response(self) -> AuthorizationResponse:
        """Read what the user has brought back, in the handler of the ``redirect_uri`` (RFC 6749 section 4.1.2).

        For a login that was begun with ``state``, ``code_challenge_method`` or ``carry``.  Each is answered once: its
        cookie is cleared.

        :raises AuthError: the login was not begun in this browser, or over an hour ago; the user declined
            (``error == "access_denied"``) or the provider reports another error; there is no code.
        """
        handler = handler_of(self)
        host = host_of(self._OAUTH_AUTHORIZE_URL)
        state = handler.get_argument("state", "", strip=False)
        kept = self._oauth2_take(state)
        if kept is None:
            raise AuthError(
                f"no login by {host} with this state was begun in this browser in the last hour", host=host
            )
        error = handler.get_argument("error", None)
        if error is not None:
            description = handler.get_argument("error_description", None)
            raise denial(host, {"error": error, "error_description": description})
        code = handler.get_argument("code", "", strip=False)
        if not code:
            raise AuthError(f"{host} sent the user back without a code", host=host)
        return AuthorizationResponse(code, kept.get("verifier"), kept.get("carry"))

    async def fetch_access_token(
        self,
        redirect_uri: str | None,
        code: str,
        client_id: str,
        client_secret: str | None = None,
        *,
        code_verifier: str | None = None,
        extra_params: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Exchange a code for an access token (RFC 6749 section 4.1.3); an addition to Tornado's methods.

        :param redirect_uri: the one that was given to `authorize_redirect`.
        :param code: what the user has brought back.
        :param client_id: the application's name at the provider.
        :param client_secret: its password there, if it has one.
        :param code_verifier: as `authorization_response` gives it.
        :param extra_params: further parameters, by name.
        :returns: the provider's answer, with ``access_token`` at least.
        :raises AuthHTTPError: the status is not one of success, or there was no answer.
        :raises AuthError: the answer is malformed, has no ``access_token``, or reports an error.
        """
        arguments = {"grant_type": "authorization_code", "code": code, "client_id": client_id}
        if redirect_uri is not None:
            arguments["redirect_uri"] = redirect_uri
        if client_secret is not None:
            arguments["client_secret"] = client_secret
        if code_verifier is not None:
            arguments["code_verifier"] = code_verifier
        arguments.update(extra_params or {})
        response = await ask(
            self.get_auth_http_client(),
            self._OAUTH_ACCESS_TOKEN_URL,
            _TOKEN,
            method="POST",
            headers={"Content-Type": FORM, "Accept": "application/json"},
            body=urlencode(arguments),
            follow_redirects=False,  # the secret is for this address only
        )
        return self._oauth2_token(response)

    async def oauth2_request(
        self,
        url: str,
        access_token: str | None = None,
        post_args: dict[str, Any] | None = None,
        **args: Any,
    ) -> Any:
        """Ask the provider for something in the name of a user.

        :param url: the address.
        :param access_token: the user's.
        :param post_args: arguments of a form that is posted; without them the request is a GET.
        :param args: arguments of the query.
        :returns: the answer, decoded from JSON.
        :raises AuthHTTPError: the status is not one of success, or there was no answer.
        :raises AuthError: the answer is no JSON.
        """
        headers = {}
        arguments = dict(args)
        if access_token is not None:
            if self._OAUTH_BEARER_METHOD == "header":
                headers["Authorization"] = f"Bearer {access_token}"
            else:
                arguments["access_token"] = access_token
        if arguments:
            url = url_concat(url, arguments)
        body = None
        if post_args is not None:
            headers["Content-Type"] = FORM
            body = urlencode(post_args)
        what = "an answer of its API"
        method = "GET" if post_args is None else "POST"
        response = await ask(
            self.get_auth_http_client(), url, what, method=method, headers=headers, body=body
        )
        return read_json(response, url, what)

    # The halves of a login, kept together.

    def _oauth2_keep(
        self, redirect_uri: str | None, state: bool | str, challenge_method: str | None, carry: str | None
    ) -> dict[str, str]:
        """Begin a login: keep it in a cookie, and return what the provider is told of it."""
        handler = handler_of(self)
        if not isinstance(state, str) or not state:
            state = secrets.token_urlsafe(32)
        arguments = {"state": state}
        # Sent only where the user comes back to, so that logins that are never finished weigh on no other request.
        path = urlsplit(redirect_uri or "").path
        if not path.startswith("/") or ";" in path or not path.isascii():
            path = "/"
        kept = {"state": state, "path": path}
        if challenge_method is not None:
            kept["verifier"] = verifier = secrets.token_urlsafe(32)
            arguments["code_challenge"] = _challenge(verifier, challenge_method)
            arguments["code_challenge_method"] = challenge_method
        if carry is not None:
            kept["carry"] = carry
        value = json.dumps(kept, ensure_ascii=False).encode()
        if len(value) > _MAX_KEPT:
            raise ValueError("the text to carry does not fit into a cookie")
        handler.set_signed_cookie(
            _cookie_name(self._OAUTH_AUTHORIZE_URL, state),
            value,
            expires_days=None,
            path=path,
            max_age=_PATIENCE,
            httponly=True,
            samesite="Lax",  # Strict would hold it back when the user is sent here by the provider
            secure=handler.request.protocol == "https",
        )
        return arguments

    def _oauth2_take(self, state: str) -> dict[str, str] | None:
        """End a login: what was kept for it, None if nothing genuine was."""
        if not state:
            return None
        handler = handler_of(self)
        name = _cookie_name(self._OAUTH_AUTHORIZE_URL, state)
        value = handler.get_signed_cookie(name, max_age_days=_PATIENCE / 86400)
        if value is None:
            return None
        kept: dict[str, str] = json.loads(value)
        handler.clear_cookie(name, path=kept["path"])
        return kept if hmac.compare_digest(kept["state"].encode(), state.encode()) else None

    def _oauth2_token(self, response: HTTPResponse) -> dict[str, Any]:
        """An answer with an access token (RFC 6749 section 5.1), in JSON or, as some providers do, as a form."""
        url = self._OAUTH_ACCESS_TOKEN_URL
        host = host_of(url)
        media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        values = read_form(response, url, _TOKEN) if media_type == FORM else read_json(response, url, _TOKEN)
        if not isinstance(values, dict):
            raise AuthError(f"{host} gave {_TOKEN} in JSON that is no object", host=host)
        if values.get("error"):  # with status 200, as GitHub does
            word, description = report(values)
            raise AuthError(
                f"{host} refused {_TOKEN}: {word or 'an error'}",
                host=host,
                error=word or "unknown",
                error_description=description,
            )
        token = values.get("access_token")
        if not isinstance(token, str) or not token:
            raise AuthError(f"{host} gave {_TOKEN} without access_token", host=host)
        if not (token.isascii() and token.isprintable()):  # RFC 6749 appendix A.12; not fit for a field
            raise AuthError(f"{host} gave {_TOKEN} with characters that none has", host=host)
        return values

    def _oauth2_credentials(
        self, settings: Mapping[str, str], client_id: str | None, client_secret: str | None
    ) -> Sequence[str]:
        """Name and password of the application, from the settings where they were not given."""
        return client_id or settings["key"], client_secret or settings["secret"]


_TOKEN: Final = "the access token"


def _cookie_name(provider: str, state: str) -> str:
    """The name, which is part of what is signed.

    The state may be made up by an attacker, so that only its hash fits into a name.  With it goes the address the user
    was sent to: an answer is refused where another provider is expected (RFC 9700 section 4.4).
    """
    digest = hashlib.sha256(f"{provider}\n{state}".encode()).digest()
    return _COOKIE + urlsafe_b64encode(digest).decode()[:_NAMED]


def _challenge(verifier: str, method: str) -> str:
    """What the provider is shown of the verifier (RFC 7636 section 4.2)."""
    if method == "plain":
        return verifier
    if method == "S256":
        digest = hashlib.sha256(verifier.encode("ascii")).digest()
        return urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")
    raise ValueError(f"a code challenge is made by S256 or plain, not by {method!r}")
