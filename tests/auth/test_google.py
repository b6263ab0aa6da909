from collections.abc import Callable
from typing import Any

import pytest

from tests.auth.conftest import Login, LoginHandler
from tests.auth.provider import CLIENT_ID, CLIENT_SECRET
from webfw.auth import AuthHTTPError, GoogleOAuth2Mixin


class Google(LoginHandler, GoogleOAuth2Mixin):
    @property
    def _OAUTH_AUTHORIZE_URL(self) -> str:  # type: ignore[override]
        return f"{self.settings['provider']}/oauth2/authorize"

    @property
    def _OAUTH_ACCESS_TOKEN_URL(self) -> str:  # type: ignore[override]
        return f"{self.settings['provider']}/oauth2/token"

    @property
    def _OAUTH_USERINFO_URL(self) -> str:  # type: ignore[override]
        return f"{self.settings['provider']}/oauth2/userinfo"

    async def get(self) -> None:
        """As in Tornado's manual, one handler for both ways."""
        here = f"{self.request.protocol}://{self.request.host}/login"
        if self.get_argument("code", False):
            access = await self.get_authenticated_user(here, self.get_argument("code"))
            self.write(await self.oauth2_request(self._OAUTH_USERINFO_URL, access["access_token"]))
        else:
            self.authorize_redirect(
                redirect_uri=here,
                client_id=self.get_google_oauth_settings()["key"],
                scope=["profile", "email"],
                response_type="code",
                extra_params={"approval_prompt": "auto"},
            )


class Guarded(Google):
    async def get(self) -> None:
        here = f"{self.request.protocol}://{self.request.host}/login"
        if self.get_argument("state", None):
            answer = self.authorization_response()
            self.write(
                await self.get_authenticated_user(
                    here, answer.code, CLIENT_ID, CLIENT_SECRET, code_verifier=answer.code_verifier
                )
            )
        else:
            self.authorize_redirect(here, CLIENT_ID, code_challenge_method="S256")


def serve(login: Login, handler: type = Google, **settings: Any) -> None:
    own = {"google_oauth": {"key": CLIENT_ID, "secret": CLIENT_SECRET}, "provider": login.provider.url}
    login.serve([("/login", handler)], **{**own, **settings})


async def test_a_login(begin: Callable[..., Any]) -> None:
    async with begin() as login:
        serve(login)
        answer = await login.get("/login")
        assert '"login": "ada"' in answer.body, answer
        assert login.browser.lines == []


async def test_a_login_with_pkce_and_no_setting(begin: Callable[..., Any]) -> None:
    async with begin() as login:
        serve(login, Guarded, google_oauth=None)
        answer = await login.get("/login")
        assert '"token_type": "bearer"' in answer.body, answer


async def test_wrong_credentials(begin: Callable[..., Any]) -> None:
    async with begin() as login:
        serve(login, google_oauth={"key": CLIENT_ID, "secret": "wrong"})
        assert (await login.get("/login")).status == 403
        error = login.errors[0]
        assert isinstance(error, AuthHTTPError)
        assert str(error) == "127.0.0.1 answered 401 when asked for the access token: invalid_client"


async def test_no_credentials(begin: Callable[..., Any], expect_log: Any) -> None:
    async with begin() as login:
        serve(login, google_oauth=None)
        with expect_log("webfw.application", "Uncaught exception"):
            assert (await login.get("/login")).status == 500
        assert "'google_oauth' setting" in str(login.errors[0])


def test_another_setting() -> None:
    class Flower(GoogleOAuth2Mixin):
        _OAUTH_SETTINGS_KEY = "oauth"
        settings = {"oauth": {"key": "k", "secret": "s"}}

        def require_setting(self, name: str, feature: str) -> None:
            assert (name, feature) == ("oauth", "Google OAuth2")

    assert Flower().get_google_oauth_settings() == {"key": "k", "secret": "s"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("_OAUTH_AUTHORIZE_URL", "https://accounts.google.com/o/oauth2/v2/auth"),
        ("_OAUTH_ACCESS_TOKEN_URL", "https://www.googleapis.com/oauth2/v4/token"),
        ("_OAUTH_USERINFO_URL", "https://www.googleapis.com/oauth2/v1/userinfo"),
        ("_OAUTH_NO_CALLBACKS", False),
        ("_OAUTH_SETTINGS_KEY", "google_oauth"),
    ],
)
def test_documented_attributes(name: str, value: object) -> None:
    assert getattr(GoogleOAuth2Mixin, name) == value
