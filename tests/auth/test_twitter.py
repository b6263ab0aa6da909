import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.auth.conftest import Login, LoginHandler
from tests.auth.provider import CLIENT_ID, CLIENT_SECRET
from webfw.auth import TwitterMixin


class Twitter(LoginHandler, TwitterMixin):
    def initialize(self) -> None:
        base = f"{self.settings['provider']}/oauth1/1.0a"
        self._OAUTH_REQUEST_TOKEN_URL = f"{base}/request"
        self._OAUTH_ACCESS_TOKEN_URL = f"{base}/access"
        self._OAUTH_AUTHORIZE_URL = f"{base}/nowhere"
        self._OAUTH_AUTHENTICATE_URL = f"{base}/authorize"
        self._TWITTER_BASE_URL = f"{self.settings['provider']}/1.1"


class Begin(Twitter):
    async def get(self) -> None:
        await self.authenticate_redirect("/callback")


class Callback(Twitter):
    async def get(self) -> None:
        self.write(await self.get_authenticated_user())


class Status(Twitter):
    """Arguments that are hard to sign."""

    async def get(self) -> None:
        key, secret = self.get_argument("key"), self.get_argument("secret")
        access = {"key": key, "secret": secret}
        self.write(
            {
                "got": await self.twitter_request("/echo", access, q="a b+c&d=é~*", empty="", n=1),
                "posted": await self.twitter_request(
                    "/echo", access, {"status": "ü & =+ %41~", "n": 2}, q="1"
                ),
                "absolute": await self.twitter_request(
                    f"{self.settings['provider']}/1.1/echo.json?a=%2B+x", access
                ),
            }
        )


def serve(login: Login, **settings: Any) -> None:
    own = {"twitter_consumer_key": CLIENT_ID, "twitter_consumer_secret": CLIENT_SECRET}
    handlers: list[Any] = [("/begin", Begin), ("/callback", Callback), ("/status", Status)]
    login.serve(handlers, **{**own, "provider": login.provider.url, **settings})


@pytest.mark.parametrize("transmission", ["query", "header"])
async def test_a_login_and_the_api(
    begin: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, transmission: str
) -> None:
    monkeypatch.setattr(Twitter, "_OAUTH_TRANSMISSION", transmission)
    async with begin() as login:
        serve(login)
        user = json.loads((await login.get("/begin")).body)
        assert (user["username"], user["screen_name"], user["id"]) == ("ada", "ada", 7)
        access = user["access_token"]
        assert access["user_id"] == "7"
        assert access["key"] in login.provider.access_tokens
        answer = await login.get(f"/status?key={access['key']}&secret={access['secret']}")
        assert json.loads(answer.body) == {
            "got": {"q": "a b+c&d=é~*", "empty": "", "n": "1"},
            "posted": {"status": "ü & =+ %41~", "n": "2", "q": "1"},
            "absolute": {"a": "+ x"},
        }


async def test_a_wrong_token_secret(begin: Callable[..., Any]) -> None:
    async with begin() as login:
        serve(login)
        key = json.loads((await login.get("/begin")).body)["access_token"]["key"]
        answer = await login.get(f"/status?key={key}&secret=wrong")
        assert answer.status == 403
        assert "answered 401 when asked for an answer of its API: not signed" in answer.body


@pytest.mark.parametrize("body", ["[]", "{}", '{"screen_name": null}'])
async def test_a_user_without_a_name(begin: Callable[..., Any], body: str) -> None:
    async with begin() as login:
        serve(login)
        login.provider.spoiled["/1.1/account/verify_credentials.json"] = (200, "application/json", body)
        assert "did not tell who the user is" in (await login.get("/begin")).body


async def test_the_user_declines(begin: Callable[..., Any]) -> None:
    async with begin() as login:
        serve(login)
        login.provider.denying = True
        assert "the user declined" in (await login.get("/begin")).body


@pytest.mark.parametrize("missing", ["twitter_consumer_key", "twitter_consumer_secret"])
async def test_no_credentials(begin: Callable[..., Any], expect_log: Any, missing: str) -> None:
    async with begin() as login:
        serve(login, **{missing: ""})
        with expect_log("webfw.application", "Uncaught exception"):
            assert (await login.get("/begin")).status == 500
        assert missing in str(login.errors[0])


def test_documented_attributes() -> None:
    assert TwitterMixin._OAUTH_REQUEST_TOKEN_URL == "https://api.twitter.com/oauth/request_token"
    assert TwitterMixin._OAUTH_ACCESS_TOKEN_URL == "https://api.twitter.com/oauth/access_token"
    assert TwitterMixin._OAUTH_AUTHORIZE_URL == "https://api.twitter.com/oauth/authorize"
    assert TwitterMixin._OAUTH_AUTHENTICATE_URL == "https://api.twitter.com/oauth/authenticate"
    assert TwitterMixin._TWITTER_BASE_URL == "https://api.twitter.com/1.1"
    assert TwitterMixin._OAUTH_NO_CALLBACKS is False
