from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.auth.browser import Answer, PlainClient, send
from tests.auth.conftest import Login, LoginHandler
from tests.auth.provider import CLIENT_ID, CLIENT_SECRET
from webfw.auth import AuthError, AuthHTTPError, OAuthMixin
from webfw.web import MissingArgumentError

COOKIE = "_oauth_request_token"


class Mixin(OAuthMixin):
    @property
    def _OAUTH_REQUEST_TOKEN_URL(self) -> str:  # type: ignore[override]
        return self.address("request")

    @property
    def _OAUTH_AUTHORIZE_URL(self) -> str:  # type: ignore[override]
        return self.address("authorize")

    @property
    def _OAUTH_ACCESS_TOKEN_URL(self) -> str:  # type: ignore[override]
        return self.address("access")

    def address(self, what: str) -> str:
        return f"{self.settings['provider']}/oauth1/{self._OAUTH_VERSION}/{what}"  # type: ignore[attr-defined]

    def _oauth_consumer_token(self) -> dict[str, Any]:
        return {"key": CLIENT_ID, "secret": CLIENT_SECRET}

    async def _oauth_get_user_future(self, access_token: dict[str, Any]) -> dict[str, Any]:
        return {"number": access_token["user_id"]} if "user_id" in access_token else {}


class Begin(LoginHandler, Mixin):
    # Not %20 for the space: oauthlib decodes what is in a query twice.
    callback: str | None = "/callback?next=/a+b"

    async def get(self) -> None:
        extra = {"x_hint": "a b&c"} if self.get_argument("extra", None) else None
        await self.authorize_redirect(self.callback, extra)


class Callback(LoginHandler, Mixin):
    async def get(self) -> None:
        user = await self.get_authenticated_user()
        self.write({"user": user, "next": self.get_argument("next", None)})


class OldBegin(Begin):
    _OAUTH_VERSION = "1.0"
    callback = "callback"


class OldCallback(Callback):
    _OAUTH_VERSION = "1.0"


class PostingBegin(Begin):
    _OAUTH_TOKEN_METHOD = "POST"


class PostingCallback(Callback):
    _OAUTH_TOKEN_METHOD = "POST"


HANDLERS = [("/begin", Begin), ("/callback", Callback)]


def serve(login: Login, handlers: Any = HANDLERS, **settings: Any) -> None:
    login.serve(handlers, provider=login.provider.url, **settings)


async def leave(login: Login) -> str:
    """Where the provider would send the browser back to, which has not gone yet."""
    away = await login.get("/begin", follow=False)
    assert away.status == 302, away
    back = await login.browser.get(away.headers["Location"], follow=False)
    return back.headers["Location"]


def refused(login: Login, answer: Answer, text: str) -> AuthError:
    assert answer.status == 403, answer
    error = login.errors[-1]
    assert isinstance(error, AuthError)
    assert text in str(error)
    assert "Traceback" not in answer.body
    return error


@pytest.fixture(params=["query", "header"])
def transmission(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Mixin, "_OAUTH_TRANSMISSION", request.param)


@pytest.mark.usefixtures("transmission")
@pytest.mark.parametrize("begin_path", ["/begin", "/begin?extra=1"])
@pytest.mark.parametrize("handlers", [HANDLERS, [("/begin", PostingBegin), ("/callback", PostingCallback)]])
async def test_a_login(begin: Callable[..., Any], handlers: Any, begin_path: str) -> None:
    async with begin() as login:
        serve(login, handlers)
        answer = await login.get(begin_path)
        assert answer.status == 200, answer
        assert '"number": "7"' in answer.body
        assert '"next": "/a b"' in answer.body
        (token,) = login.provider.access_tokens.values()
        assert token["oauth_token"] in answer.body
        assert login.browser.jar == {}
        request = login.provider.requests[0]
        assert ("oauth_" in request.query) == (Begin._OAUTH_TRANSMISSION == "query")
        assert ("Authorization" in request.headers) == (Begin._OAUTH_TRANSMISSION == "header")
        assert ("x_hint=a+b%26c" in request.query) == ("extra" in begin_path)


@pytest.mark.usefixtures("transmission")
async def test_a_login_with_version_1_0(begin: Callable[..., Any]) -> None:
    async with begin() as login:
        serve(login, [("/old/begin", OldBegin), ("/old/callback", OldCallback)])
        answer = await login.get("/old/begin")
        assert '"number": "7"' in answer.body, answer
        # The verifier is none of this version's, whoever adds one.
        authorize = next(url for url in login.browser.seen if "authorize" in url)
        assert parse_qs(urlsplit(authorize).query)["oauth_callback"] == [f"{login.url}/old/callback"]


async def test_the_cookie(begin: Callable[..., Any]) -> None:
    async with begin() as login:
        serve(login)
        await leave(login)
        (line,) = login.browser.lines
        assert line.startswith(f"{COOKIE}=2|")
        assert "HttpOnly" in line
        assert "SameSite=Lax" in line
        assert "Max-Age=3600" in line
        assert "Secure" not in line


async def test_the_cookie_is_secure_over_tls(begin: Callable[..., Any]) -> None:
    async with begin() as login:
        login.serve(HANDLERS, {"xheaders": True}, provider=login.provider.url)
        answer = await send("GET", login.url + "/begin", {"X-Forwarded-Proto": "https"})
        # The fake provider would not be sent back to https.
        assert answer.status == 403
        login.provider.spoiled["/oauth1/1.0a/request"] = (
            200,
            "text/plain",
            "oauth_token=a&oauth_token_secret=b",
        )
        answer = await send("GET", login.url + "/begin", {"X-Forwarded-Proto": "https"})
        assert "Secure" in answer.headers["Set-Cookie"]


async def test_without_a_secret_the_cookie_is_tornados(begin: Callable[..., Any]) -> None:
    """Token and secret in base64, which a client of Tornado's may still have."""
    async with begin() as login:
        serve(login, cookie_secret=None)
        answer = await login.get("/begin")
        assert answer.status == 200
        login.provider.spoiled["/oauth1/1.0a/access"] = (
            200,
            "text/plain",
            "oauth_token=key&oauth_token_secret=&user_id=9",
        )
        answer = await send(
            "GET", login.url + "/callback?oauth_token=zxcv", {"Cookie": f"{COOKIE}=enhjdg==|MTIzNA=="}
        )
        assert '"access_token": {"key": "key", "secret": "", "user_id": "9"}' in answer.body


@pytest.mark.parametrize("value", ["", "enhjdg==", "enhjdg==|x", "a|b|c", "enhjdg==|/////w==", '"\\377"'])
async def test_a_cookie_that_is_not_genuine(begin: Callable[..., Any], value: str) -> None:
    async with begin() as login:
        serve(login, cookie_secret=None)
        answer = await send("GET", login.url + "/callback?oauth_token=zxcv", {"Cookie": f"{COOKIE}={value}"})
        refused(login, answer, "no login by 127.0.0.1 was begun in this browser")


async def test_a_signed_cookie_is_insisted_on(begin: Callable[..., Any]) -> None:
    async with begin() as login:
        serve(login)
        answer = await send(
            "GET", login.url + "/callback?oauth_token=zxcv", {"Cookie": f"{COOKIE}=enhjdg==|MTIzNA=="}
        )
        refused(login, answer, "no login")


async def test_another_browser(begin: Callable[..., Any]) -> None:
    """Who is made to open the address an attacker was sent back to is not logged in as that attacker."""
    async with begin() as login:
        serve(login)
        back = await leave(login)
        refused(login, await send("GET", back), "no login by 127.0.0.1 was begun in this browser")


async def test_another_request_token(begin: Callable[..., Any]) -> None:
    async with begin() as login:
        serve(login)
        theirs = await leave(login)
        await leave(login)
        refused(login, await login.browser.get(theirs), "is not the one this browser was sent away with")


async def test_a_verifier_is_good_once(begin: Callable[..., Any]) -> None:
    async with begin() as login:
        serve(login)
        back = await leave(login)
        jar = dict(login.browser.jar)
        assert (await login.browser.get(back)).status == 200
        refused(login, await login.browser.get(back), "no login")
        login.browser.jar = jar  # as who has copied the cookie
        error = refused(login, await login.browser.get(back), "answered 401 when asked for the access token")
        assert isinstance(error, AuthHTTPError)
        assert (error.code, error.host) == (401, "127.0.0.1")


async def test_a_wrong_verifier(begin: Callable[..., Any]) -> None:
    async with begin() as login:
        serve(login)
        back = await leave(login)
        refused(
            login,
            await login.browser.get(back.replace("oauth_verifier=", "oauth_verifier=x")),
            "answered 401",
        )


async def test_no_token_is_a_bad_request(begin: Callable[..., Any], expect_log: Any) -> None:
    async with begin() as login:
        serve(login)
        with expect_log("webfw.general", "Missing argument oauth_token"):
            answer = await login.get("/callback")
        assert answer.status == 400
        assert isinstance(login.errors[-1], MissingArgumentError)


async def test_the_user_declines(begin: Callable[..., Any]) -> None:
    async with begin() as login:
        serve(login)
        login.provider.denying = True
        error = refused(login, await login.get("/begin"), "no login by 127.0.0.1: the user declined")
        assert error.error == "access_denied"
        assert login.browser.jar == {}
        back = await login.get("/callback?oauth_problem=user_refused")
        refused(login, back, "the user declined")


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ((500, "text/html", "<h1>secret</h1>"), "127.0.0.1 answered 500 when asked for a request token"),
        ((401, "text/plain", "oauth_problem=signature_invalid"), "a request token: signature_invalid"),
        ((302, "text/plain", ""), "answered 302"),
        (
            (200, "text/html", "<h1>Sorry</h1>"),
            "a request token in a form that is not application/x-www-form",
        ),
        ((200, "text/plain", ""), "a request token without oauth_token"),
        ((200, "text/plain", "oauth_token=a"), "a request token without oauth_token_secret"),
        ((200, "text/plain", "oauth_token=&oauth_token_secret=b"), "a request token without oauth_token"),
        ((200, "text/plain", "oauth_token=a&oauth_token=b&oauth_token_secret=c"), "in a form that is not"),
        ((200, "text/plain", "oauth_token=%FF&oauth_token_secret=c"), "in a form that is not"),
        (
            (200, "text/plain", "oauth_token=a&oauth_token_secret=b&oauth_callback_confirmed=false"),
            "127.0.0.1 did not confirm the callback",
        ),
    ],
)
async def test_answers_to_the_first_request(
    begin: Callable[..., Any], answer: tuple[int, str, str], text: str
) -> None:
    async with begin() as login:
        serve(login)
        login.provider.spoiled["/oauth1/1.0a/request"] = answer
        refused(login, await login.get("/begin"), text)


async def test_a_provider_that_does_not_know_the_application(begin: Callable[..., Any]) -> None:
    class Unknown(Begin):
        def _oauth_consumer_token(self) -> dict[str, Any]:
            return {"key": CLIENT_ID, "secret": "wrong"}

    async with begin() as login:
        serve(login, [("/begin", Unknown)])
        refused(login, await login.get("/begin"), "answered 401 when asked for a request token")


async def test_a_provider_that_does_not_tell_the_user(begin: Callable[..., Any]) -> None:
    async with begin() as login:
        serve(login)
        login.provider.spoiled["/oauth1/1.0a/access"] = (
            200,
            "text/plain",
            "oauth_token=a&oauth_token_secret=b",
        )
        refused(login, await login.get("/begin"), "did not tell who the user is")


async def test_out_of_band(begin: Callable[..., Any]) -> None:
    class ByCode(Begin):
        callback = "oob"

    async with begin() as login:
        serve(login, [("/begin", ByCode), ("/callback", Callback)])
        shown = await login.get("/begin")
        code = shown.body.removeprefix("code: ")
        (key,) = login.provider.request_tokens
        answer = await login.get(f"/callback?oauth_token={key}&oauth_verifier={code}")
        assert '"number": "7"' in answer.body


async def test_without_a_callback_none_is_sent(begin: Callable[..., Any]) -> None:
    class Registered(Begin):
        callback = None
        _OAUTH_NO_CALLBACKS = True

    async with begin() as login:
        serve(login, [("/begin", Registered)])
        login.provider.spoiled["/oauth1/1.0a/request"] = (
            200,
            "text/plain",
            "oauth_token=a&oauth_token_secret=b",
        )
        away = await login.get("/begin", follow=False)
        assert away.headers["Location"] == f"{login.provider.url}/oauth1/1.0a/authorize?oauth_token=a"
        assert "oauth_callback" not in login.provider.requests[0].arguments


async def test_a_callback_where_none_is_taken() -> None:
    class Strict(Mixin):
        settings = {"provider": "http://provider.example"}
        _OAUTH_NO_CALLBACKS = True

    with pytest.raises(ValueError, match=r"provider\.example takes no callback"):
        await Strict().authorize_redirect("/callback")


async def test_what_is_to_be_overridden() -> None:
    with pytest.raises(NotImplementedError):
        OAuthMixin()._oauth_consumer_token()
    with pytest.raises(NotImplementedError):
        await OAuthMixin()._oauth_get_user_future({})


async def test_a_client_that_is_given(begin: Callable[..., Any]) -> None:
    class Own(Begin):
        async def get(self) -> None:
            await self.authorize_redirect("/callback", http_client=PlainClient())  # type: ignore[arg-type]

    async with begin() as login:
        serve(login, [("/begin", Own)], auth_client=object())
        assert (await login.get("/begin", follow=False)).status == 302


def test_parameters_of_a_request() -> None:
    """What mixins for other providers build their requests with."""
    one = Mixin()
    signed = one._oauth_request_parameters(
        "http://h/p", {"key": "k", "secret": "s"}, {"a": ["1", 2], "b": b"c"}, method="POST"
    )
    assert sorted(signed) == [
        "oauth_consumer_key",
        "oauth_nonce",
        "oauth_signature",
        "oauth_signature_method",
        "oauth_timestamp",
        "oauth_token",
        "oauth_version",
    ]
    assert one._oauth_request_parameters("http://h/p", None)["oauth_nonce"] != signed["oauth_nonce"]
