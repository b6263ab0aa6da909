"""GitHub: its addresses, its API and who a user is there; the protocol itself may not enter."""

import json
from typing import Any
from urllib.parse import urljoin

from webfw.auth.errors import AuthError, AuthHTTPError
from webfw.auth.oauth2 import OAuth2Mixin
from webfw.auth.provider import ask, handler_of, host_of, read_json
from webfw.httputil import url_concat

__all__ = ["GitHubOAuth2Mixin"]


class GitHubOAuth2Mixin(OAuth2Mixin):
    """A login by GitHub, for a handler to inherit from beside `RequestHandler`; Tornado has none.

    The application's setting ``github_oauth`` has its credentials: ``{"key": CLIENT_ID, "secret": CLIENT_SECRET}``.
    For a GitHub Enterprise Server override the first three attributes.  Both halves of a login::

        class GitHubLogin(RequestHandler, GitHubOAuth2Mixin):
            def get(self):
                self.authorize_redirect(
                    client_id=self.get_github_oauth_settings()["key"],
                    scope=["user:email"],
                    code_challenge_method="S256",
                )

        class GitHubCallback(RequestHandler, GitHubOAuth2Mixin):
            async def get(self):
                answer = self.authorization_response()
                user = await self.get_authenticated_user(
                    None, answer.code, code_verifier=answer.code_verifier
                )
    """

    _OAUTH_AUTHORIZE_URL = "https://github.com/login/oauth/authorize"
    _OAUTH_ACCESS_TOKEN_URL = "https://github.com/login/oauth/access_token"
    #: What the paths of `github_request` begin with.
    _GITHUB_BASE_URL = "https://api.github.com"
    #: The application's setting with the credentials.
    _OAUTH_SETTINGS_KEY = "github_oauth"
    _OAUTH_BEARER_METHOD = "header"

    def get_github_oauth_settings(self) -> dict[str, str]:
        """The application's credentials, a dict with ``key`` and ``secret``; override it where they are kept elsewhere.

        :raises Exception: the setting is missing.
        """
        handler = handler_of(self)
        handler.require_setting(self._OAUTH_SETTINGS_KEY, "GitHub OAuth2")
        settings: dict[str, str] = handler.settings[self._OAUTH_SETTINGS_KEY]
        return settings

    async def get_authenticated_user(
        self,
        redirect_uri: str | None,
        code: str,
        client_id: str | None = None,
        client_secret: str | None = None,
        *,
        code_verifier: str | None = None,
    ) -> dict[str, Any]:
        """Exchange the code for an access token, and ask who the user is.

        :param redirect_uri: the one that was given to `authorize_redirect`, None if none was.
        :param code: what the user has brought back as ``code``.
        :param client_id: by default the ``key`` of the setting.
        :param client_secret: by default the ``secret`` of the setting.
        :param code_verifier: as `authorization_response` gives it.
        :returns: the user as GitHub describes one (``id``, ``login``, ``name``, ``avatar_url``, ...) with two changes:
            ``email`` is the primary address, if it is verified and the login was allowed to see it (scope
            ``user:email``), and None otherwise; ``access_token`` is added.
        :raises AuthHTTPError: a status is not one of success, or there was no answer.
        :raises AuthError: an answer is malformed, or GitHub reports an error such as ``bad_verification_code``.
        """
        settings = self.get_github_oauth_settings() if not (client_id and client_secret) else {}
        key, secret = self._oauth2_credentials(settings, client_id, client_secret)
        access = await self.fetch_access_token(redirect_uri, code, key, secret, code_verifier=code_verifier)
        token = access["access_token"]
        user = await self.github_request("/user", token)
        if not isinstance(user, dict) or not user.get("login"):
            host = host_of(self._GITHUB_BASE_URL)
            raise AuthError(f"{host} did not tell who the user is", host=host)
        # The address of the profile is any that the user likes to show; only this one identifies.
        user["email"] = await self._github_email(token)
        user["access_token"] = token
        return user

    async def github_request(
        self,
        path: str,
        access_token: str | None = None,
        post_args: dict[str, Any] | None = None,
        **args: Any,
    ) -> Any:
        """Ask GitHub's REST API, for instance for ``"/user/repos"``.

        :param path: a path, or an absolute address below the same.
        :param access_token: the user's.
        :param post_args: what is posted as JSON; without it the request is a GET.
        :param args: arguments of the query.
        :returns: the answer, decoded from JSON.
        :raises AuthHTTPError: the status is not one of success, or there was no answer.
        :raises AuthError: the answer is no JSON.
        :raises ValueError: an absolute address elsewhere, which must not see the token.
        """
        base = self._GITHUB_BASE_URL.rstrip("/") + "/"
        url = urljoin(base, path.lstrip("/"))
        if not url.startswith(base):
            raise ValueError(f"{host_of(url)} is not {base}")
        url = url_concat(url, args)
        headers = {"Accept": "application/vnd.github+json", "User-Agent": "webfw"}
        if access_token is not None:
            headers["Authorization"] = f"Bearer {access_token}"
        body = None
        if post_args is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(post_args)
        what = "an answer of its API"
        response = await ask(
            self.get_auth_http_client(),
            url,
            what,
            method="GET" if post_args is None else "POST",
            headers=headers,
            body=body,
        )
        return read_json(response, url, what)

    async def _github_email(self, access_token: str) -> str | None:
        """The user's primary address, if it is verified and may be seen."""
        try:
            emails = await self.github_request("/user/emails", access_token)
        except AuthHTTPError as error:
            if error.code in (403, 404):  # what GitHub answers where the scope is missing
                return None
            raise
        for email in emails if isinstance(emails, list) else ():
            if isinstance(email, dict) and email.get("primary") is True and email.get("verified") is True:
                address = email.get("email")
                return address if isinstance(address, str) else None
        return None
