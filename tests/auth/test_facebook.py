import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.auth.conftest import LoginHandler
from tests.auth.provider import CLIENT_ID, CLIENT_SECRET
from webfw.auth import FacebookGraphMixin


class Facebook(LoginHandler, FacebookGraphMixin):
    @property
    def _OAUTH_AUTHORIZE_URL(self) -> str:  # type: ignore[override]
        return f"{self.settings['provider']}/oauth2/authorize?"

    @property
    def _OAUTH_ACCESS_TOKEN_URL(self) -> str:  # type: ignore[override]
        return f"{self.settings['provider']}/oauth2/token?"

    @property
    def _FACEBOOK_BASE_URL(self) -> str:  # type: ignore[override]
        return f"{self.settings['provider']}/graph"

    async def get(self) -> None:
        here = f"{self.request.protocol}://{self.request.host}/login"
        if not self.get_argument("code", None):
            self.authorize_redirect(here, CLIENT_ID, code_challenge_method=self.settings["challenge"])
            return
        verifier = self.authorization_response().code_verifier if self.settings["challenge"] else None
        self.write(
            await self.get_authenticated_user(
                redirect_uri=here,
                client_id=CLIENT_ID,
                client_secret=CLIENT_SECRET,
                code=self.get_argument("code"),
                extra_fields=["email", "birthday"],
                code_verifier=verifier,
            )
            or {}
        )


@pytest.mark.parametrize("challenge", [None, "S256"])
async def test_a_login(begin: Callable[..., Any], challenge: str | None) -> None:
    async with begin() as login:
        login.serve([("/login", Facebook)], provider=login.provider.url, challenge=challenge)
        user = json.loads((await login.get("/login")).body)
        assert user.pop("access_token") in login.provider.tokens
        assert user == {
            "id": 7,
            "name": "Ada L.",
            "first_name": None,
            "last_name": None,
            "locale": None,
            "picture": None,
            "link": None,
            "email": "shown@example.org",
            "birthday": None,
            "session_expires": "3600",
        }


@pytest.mark.parametrize(
    ("path", "answer", "text"),
    [
        ("/oauth2/token", (400, "application/json", '{"error": {"message": "m"}}'), "answered 400"),
        ("/oauth2/token", (200, "application/json", "{}"), "without access_token"),
        ("/graph/me", (200, "application/json", "[]"), "did not tell who the user is"),
        ("/graph/me", (200, "text/html", "<h1>"), "no JSON"),
        ("/graph/me", (500, "text/html", "<h1>"), "answered 500"),
    ],
)
async def test_answers(begin: Callable[..., Any], path: str, answer: tuple[int, str, str], text: str) -> None:
    async with begin() as login:
        login.serve([("/login", Facebook)], provider=login.provider.url, challenge=None)
        login.provider.spoiled[path] = answer
        page = await login.get("/login")
        assert page.status == 403
        assert text in page.body


async def test_a_token_without_an_end(begin: Callable[..., Any]) -> None:
    async with begin() as login:
        login.serve([("/login", Facebook)], provider=login.provider.url, challenge=None)
        login.provider.spoiled["/oauth2/token"] = (200, "text/plain", '{"access_token": "t"}')
        login.provider.spoiled["/graph/me"] = (200, "text/javascript", '{"id": "7"}')
        assert json.loads((await login.get("/login")).body)["session_expires"] is None


def test_documented_attributes() -> None:
    assert FacebookGraphMixin._OAUTH_AUTHORIZE_URL == "https://www.facebook.com/dialog/oauth?"
    assert FacebookGraphMixin._OAUTH_ACCESS_TOKEN_URL == "https://graph.facebook.com/oauth/access_token?"
    assert FacebookGraphMixin._FACEBOOK_BASE_URL == "https://graph.facebook.com"
    assert FacebookGraphMixin._OAUTH_NO_CALLBACKS is False


@pytest.mark.parametrize("path", ["me", "/me"])
async def test_a_path_makes_no_other_host(path: str) -> None:
    asked: list[str] = []

    class Asks(FacebookGraphMixin):
        async def oauth2_request(self, url: str, *args: Any, **kwargs: Any) -> Any:
            asked.append(url)

    await Asks().facebook_request(path, "token")
    await Asks().facebook_request(".evil.example/me", "token")
    await Asks().facebook_request("@evil.example/me", "token")
    assert asked == [
        f"https://graph.facebook.com/{rest}" for rest in ("me", ".evil.example/me", "@evil.example/me")
    ]
