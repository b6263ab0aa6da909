"""Google: its addresses, and where the application's credentials are found; the protocol itself may not enter."""

from typing import Any

from webfw.auth.oauth2 import OAuth2Mixin
from webfw.auth.provider import handler_of

__all__ = ["GoogleOAuth2Mixin"]


class GoogleOAuth2Mixin(OAuth2Mixin):
    """A login by Google, for a handler to inherit from beside `RequestHandler`.

    The application's setting ``google_oauth`` has its credentials: ``{"key": CLIENT_ID, "secret": CLIENT_SECRET}``.
    Both halves of a login::

        class GoogleLogin(RequestHandler, GoogleOAuth2Mixin):
            def get(self):
                self.authorize_redirect(
                    redirect_uri=CALLBACK,
                    client_id=self.get_google_oauth_settings()["key"],
                    scope=["profile", "email"],
                    code_challenge_method="S256",
                )

        class GoogleCallback(RequestHandler, GoogleOAuth2Mixin):
            async def get(self):
                answer = self.authorization_response()
                access = await self.get_authenticated_user(
                    CALLBACK, answer.code, code_verifier=answer.code_verifier
                )
                user = await self.oauth2_request(self._OAUTH_USERINFO_URL, access["access_token"])
    """

    _OAUTH_AUTHORIZE_URL = "https://accounts.google.com/o/oauth2/v2/auth"
    _OAUTH_ACCESS_TOKEN_URL = "https://www.googleapis.com/oauth2/v4/token"
    #: Answers `oauth2_request` with who the user is.
    _OAUTH_USERINFO_URL = "https://www.googleapis.com/oauth2/v1/userinfo"
    _OAUTH_NO_CALLBACKS = False
    #: The application's setting with the credentials.
    _OAUTH_SETTINGS_KEY = "google_oauth"

    def get_google_oauth_settings(self) -> dict[str, str]:
        """The application's credentials, a dict with ``key`` and ``secret``; override it where they are kept elsewhere.

        :raises Exception: the setting is missing.
        """
        handler = handler_of(self)
        handler.require_setting(self._OAUTH_SETTINGS_KEY, "Google OAuth2")
        settings: dict[str, str] = handler.settings[self._OAUTH_SETTINGS_KEY]
        return settings

    async def get_authenticated_user(
        self,
        redirect_uri: str,
        code: str,
        client_id: str | None = None,
        client_secret: str | None = None,
        *,
        code_verifier: str | None = None,
    ) -> dict[str, Any]:
        """Exchange the code for an access token.  Who the user is, `oauth2_request` finds out with it.

        :param redirect_uri: the one that was given to `authorize_redirect`.
        :param code: what the user has brought back as ``code``.
        :param client_id: by default the ``key`` of the setting.
        :param client_secret: by default the ``secret`` of the setting.
        :param code_verifier: as `authorization_response` gives it.
        :returns: Google's answer: ``access_token``, ``expires_in``, ``id_token`` and more.
        :raises AuthHTTPError: the status is not one of success, or there was no answer.
        :raises AuthError: the answer is malformed.
        """
        settings = self.get_google_oauth_settings() if not (client_id and client_secret) else {}
        key, secret = self._oauth2_credentials(settings, client_id, client_secret)
        return await self.fetch_access_token(redirect_uri, code, key, secret, code_verifier=code_verifier)
