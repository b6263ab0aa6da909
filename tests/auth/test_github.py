import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.auth.conftest import Login, LoginHandler
from tests.auth.provider import CLIENT_ID, CLIENT_SECRET
from webfw.auth import GitHubOAuth2Mixin


class GitHub(LoginHandler, GitHubOAuth2Mixin):
    @property
    def _OAUTH_AUTHORIZE_URL(self) -> str:  # type: ignore[override]
        return f"{self.settings['provider']}/oauth2/authorize"

    @property
    def _OAUTH_ACCESS_TOKEN_URL(self) -> str:  # type: ignore[override]
        return f"{self.settings['provider']}/oauth2/token"

    @property
    def _GITHUB_BASE_URL(self) -> str:  # type: ignore[override]
        return f"{self.settings['provider']}/api"


class Begin(GitHub):
    def get(self) -> None:
        self.authorize_redirect(
            f"{self.request.protocol}://{self.request.host}/callback",
            client_id=self.get_github_oauth_settings()["key"],
            scope=["user:email"],
            code_challenge_method="S256",
        )


class Callback(GitHub):
    async def get(self) -> None:
        answer = self.authorization_response()
        here = f"{self.request.protocol}://{self.request.host}/callback"
        self.write(await self.get_authenticated_user(here, answer.code, code_verifier=answer.code_verifier))


class Notes(GitHub):
    async def get(self) -> None:
        self.write(await self.github_request("/notes", "token", page=2))

    async def post(self) -> None:
        self.write(await self.github_request("notes", "token", post_args={"text": ["a", 1]}))


def serve(login: Login, **settings: Any) -> None:
    own = {"github_oauth": {"key": CLIENT_ID, "secret": CLIENT_SECRET}, "provider": login.provider.url}
    handlers: list[Any] = [("/begin", Begin), ("/callback", Callback), ("/notes", Notes)]
    login.serve(handlers, **{**own, **settings})


async def test_a_login(begin: Callable[..., Any]) -> None:
    async with begin() as login:
        serve(login)
        user = json.loads((await login.get("/begin")).body)
        assert (user["login"], user["email"]) == ("ada", "ada@example.org")
        assert user["access_token"] in login.provider.tokens


@pytest.mark.parametrize(
    "emails",
    [
        None,  # answered 404: the scope was not granted
        [],
        {},
        ["ada@example.org"],
        [{"email": "ada@example.org", "primary": True, "verified": False}],
        [{"email": "ada@example.org", "primary": False, "verified": True}],
        [{"email": None, "primary": True, "verified": True}],
        [{"email": "ada@example.org", "primary": "true", "verified": "true"}],
    ],
)
async def test_only_the_primary_verified_address_counts(begin: Callable[..., Any], emails: Any) -> None:
    async with begin() as login:
        serve(login)
        login.provider.emails = emails
        assert json.loads((await login.get("/begin")).body)["email"] is None


@pytest.mark.parametrize(
    ("path", "answer", "text"),
    [
        (
            "/oauth2/token",
            (
                200,
                "application/json",
                '{"error": "bad_verification_code", "error_description": "The code is ..."}',
            ),
            "refused: 127.0.0.1 refused the access token: bad_verification_code",
        ),
        ("/api/user", (200, "application/json", "[]"), "did not tell who the user is"),
        ("/api/user", (200, "application/json", "{}"), "did not tell who the user is"),
        ("/api/user", (401, "application/json", '{"message": "Bad credentials"}'), "answered 401"),
        ("/api/user/emails", (500, "text/html", "<h1>"), "answered 500"),
        ("/api/user/emails", (200, "text/html", "<h1>"), "no JSON"),
    ],
)
async def test_answers(begin: Callable[..., Any], path: str, answer: tuple[int, str, str], text: str) -> None:
    async with begin() as login:
        serve(login)
        login.provider.spoiled[path] = answer
        page = await login.get("/begin")
        assert page.status == 403
        assert text in page.body


async def test_the_api(begin: Callable[..., Any]) -> None:
    async with begin() as login:
        serve(login)
        login.provider.tokens.add("token")
        assert (await login.get("/notes")).body == '{"page": "2"}'
        assert (await login.get("/notes", method="POST")).body == '{"posted": {"text": ["a", 1]}}'
        assert login.provider.requests[-1].headers["Accept"] == "application/vnd.github+json"


@pytest.mark.parametrize("path", ["https://elsewhere.example/user", "../other", "http://api.github.com/user"])
async def test_a_token_goes_nowhere_else(path: str) -> None:
    with pytest.raises(ValueError, match=r"is not https://api\.github\.com/"):
        await GitHubOAuth2Mixin().github_request(path if path[0] != "." else f"https://x/{path}", "token")


async def test_anonymous(begin: Callable[..., Any]) -> None:
    class Anonymous(GitHub):
        async def get(self) -> None:
            self.write(await self.github_request(f"{self._GITHUB_BASE_URL}/user"))

    async with begin() as login:
        login.serve([("/", Anonymous)], provider=login.provider.url)
        login.provider.spoiled["/api/user"] = (200, "application/json", '{"login": "ada"}')
        assert (await login.get("/")).body == '{"login": "ada"}'
        assert "Authorization" not in login.provider.requests[-1].headers


async def test_credentials_that_are_given(begin: Callable[..., Any]) -> None:
    class Given(Callback):
        async def get(self) -> None:
            answer = self.authorization_response()
            here = f"{self.request.protocol}://{self.request.host}/callback"
            self.write(
                await self.get_authenticated_user(
                    here, answer.code, CLIENT_ID, CLIENT_SECRET, code_verifier=answer.code_verifier
                )
            )

    async with begin() as login:
        wrong = {"key": CLIENT_ID, "secret": "wrong"}
        login.serve(
            [("/begin", Begin), ("/callback", Given)], provider=login.provider.url, github_oauth=wrong
        )
        assert '"login": "ada"' in (await login.get("/begin")).body
