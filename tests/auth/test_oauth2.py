from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.auth.browser import Answer, send
from tests.auth.conftest import Login, LoginHandler
from tests.auth.provider import CLIENT_ID, CLIENT_SECRET
from webfw.auth import AuthError, AuthHTTPError, OAuth2Mixin
from webfw.auth import oauth2 as module


class Mixin(OAuth2Mixin):
    @property
    def _OAUTH_AUTHORIZE_URL(self) -> str:  # type: ignore[override]
        return f"{self.settings['provider']}/oauth2/authorize?audience=all"  # type: ignore[attr-defined]

    @property
    def _OAUTH_ACCESS_TOKEN_URL(self) -> str:  # type: ignore[override]
        return f"{self.settings['provider']}/oauth2/token"  # type: ignore[attr-defined]

    def callback(self) -> str:
        return f"{self.settings['own'][0]}/login/callback"  # type: ignore[attr-defined]


class Begin(LoginHandler, Mixin):
    def get(self) -> None:
        self.authorize_redirect(self.callback(), CLIENT_ID, **self.settings["options"])


class Callback(LoginHandler, Mixin):
    async def get(self) -> None:
        answer = self.authorization_response()
        access = await self.fetch_access_token(
            self.callback(), answer.code, CLIENT_ID, CLIENT_SECRET, code_verifier=answer.code_verifier
        )
        user = await self.oauth2_request(
            f"{self.settings['provider']}/oauth2/userinfo", access["access_token"], alt="json &"
        )
        self.write({"user": user, "carried": answer.carried})


HANDLERS: list[Any] = [("/begin", Begin), ("/login/callback", Callback)]
GUARDED = {"state": True, "code_challenge_method": "S256", "carry": "/pagé?a=b"}


def serve(login: Login, options: dict[str, Any] = GUARDED, handlers: Any = HANDLERS, **settings: Any) -> None:
    own: list[str] = []
    login.serve(handlers, provider=login.provider.url, own=own, options=options, **settings)
    own.append(login.url)


async def away(login: Login) -> dict[str, str]:
    """What the provider is told by the browser."""
    answer = await login.get("/begin", follow=False)
    assert answer.status == 302
    location = answer.headers["Location"]
    assert location.startswith(f"{login.provider.url}/oauth2/authorize?")
    return {
        name: value for name, (value,) in parse_qs(urlsplit(location).query, keep_blank_values=True).items()
    }


async def leave(login: Login) -> str:
    """Where the provider would send the browser back to, which has not gone yet."""
    answer = await login.get("/begin", follow=False)
    back = await login.browser.get(answer.headers["Location"], follow=False)
    return back.headers["Location"]


def refused(login: Login, answer: Answer, text: str) -> AuthError:
    assert answer.status == 403, answer
    error = login.errors[-1]
    assert isinstance(error, AuthError)
    assert text in str(error)
    return error


# --- the way there ---


async def test_the_redirect_is_tornados(begin: Callable[..., Any]) -> None:
    async with begin() as login:
        options = {
            "client_secret": CLIENT_SECRET,
            "scope": ["profile", "email"],
            "extra_params": {"approval_prompt": "", "state": "own"},
        }
        serve(login, options, cookie_secret=None)
        assert await away(login) == {
            "audience": "all",
            "response_type": "code",
            "redirect_uri": f"{login.url}/login/callback",
            "client_id": CLIENT_ID,
            "approval_prompt": "",
            "state": "own",
            "scope": "profile email",
        }
        assert login.browser.lines == []


async def test_the_redirect_without_anything(begin: Callable[..., Any]) -> None:
    class Bare(LoginHandler, Mixin):
        def get(self) -> None:
            self.authorize_redirect(response_type="token")

    async with begin() as login:
        serve(login, handlers=[("/begin", Bare)])
        assert await away(login) == {"audience": "all", "response_type": "token"}


async def test_state_and_challenge(begin: Callable[..., Any]) -> None:
    async with begin() as login:
        serve(login)
        first, second = await away(login), await away(login)
        assert len(first["state"]) == 43
        assert first["state"] != second["state"]
        assert first["code_challenge"] != second["code_challenge"]
        assert first["code_challenge_method"] == "S256"
        line = login.browser.lines[0]
        assert line.startswith("_oauth2_")
        for attribute in ("HttpOnly", "Max-Age=3600", "SameSite=Lax", "Path=/login/callback"):
            assert attribute in line
        assert "Secure" not in line


async def test_plain_challenge(begin: Callable[..., Any]) -> None:
    async with begin() as login:
        serve(login, {"code_challenge_method": "plain"})
        told = await away(login)
        assert told["code_challenge_method"] == "plain"
        assert 43 <= len(told["code_challenge"]) <= 128
        assert '"login": "ada"' in (await login.get("/begin")).body


async def test_no_such_challenge(begin: Callable[..., Any], expect_log: Any) -> None:
    async with begin() as login:
        serve(login, {"code_challenge_method": "S512"})
        with expect_log("webfw.application", "Uncaught exception"):
            assert (await login.get("/begin")).status == 500
        assert "made by S256 or plain, not by 'S512'" in str(login.errors[0])


async def test_a_secret_for_the_cookie_is_needed(begin: Callable[..., Any], expect_log: Any) -> None:
    async with begin() as login:
        serve(login, {"state": True}, cookie_secret=None)
        with expect_log("webfw.application", "Uncaught exception"):
            assert (await login.get("/begin")).status == 500
        assert "cookie_secret" in str(login.errors[0])


async def test_the_cookie_is_secure_over_tls(begin: Callable[..., Any]) -> None:
    async with begin() as login:
        login.serve(
            HANDLERS,
            {"xheaders": True},
            provider=login.provider.url,
            own=["https://h"],
            options={"state": True},
        )
        answer = await send("GET", login.url + "/begin", {"X-Forwarded-Proto": "https"})
        assert "Secure" in answer.headers["Set-Cookie"]


@pytest.mark.parametrize(
    ("redirect_uri", "path"), [(None, "/"), ("https://h", "/"), ("https://h/a;b", "/"), ("https://h/é", "/")]
)
async def test_the_path_of_the_cookie(begin: Callable[..., Any], redirect_uri: str | None, path: str) -> None:
    class Other(LoginHandler, Mixin):
        def get(self) -> None:
            self.authorize_redirect(redirect_uri, state=True)

    async with begin() as login:
        serve(login, handlers=[("/begin", Other)])
        await away(login)
        assert f"Path={path};" in login.browser.lines[0]


def test_the_challenge_of_the_rfc() -> None:
    """RFC 7636, appendix B."""
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert module._challenge(verifier, "S256") == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


# --- the way back ---


async def test_a_login(begin: Callable[..., Any]) -> None:
    async with begin() as login:
        serve(login)
        answer = await login.get("/begin")
        assert answer.status == 200, answer
        assert '"login": "ada"' in answer.body
        assert '"alt": "json &"' in answer.body
        assert '"carried": "/pag\\u00e9?a=b"' in answer.body
        assert login.browser.jar == {}
        token_request = next(
            request for request in login.provider.requests if request.path == "/oauth2/token"
        )
        assert token_request.method == "POST"
        assert not token_request.query


async def test_two_tabs(begin: Callable[..., Any]) -> None:
    async with begin() as login:
        serve(login)
        first, second = await leave(login), await leave(login)
        assert (await login.browser.get(first)).status == 200
        assert (await login.browser.get(second)).status == 200
        assert login.browser.jar == {}


async def test_a_state_of_ones_own(begin: Callable[..., Any]) -> None:
    async with begin() as login:
        serve(login, {"state": "nobody can guess"})
        assert (await away(login))["state"] == "nobody can guess"
        assert (await login.get("/begin")).status == 200


async def test_another_browser(begin: Callable[..., Any]) -> None:
    """Who is made to open the address an attacker was sent back to is not logged in as that attacker."""
    async with begin() as login:
        serve(login)
        back = await leave(login)
        refused(
            login, await send("GET", back), "no login by 127.0.0.1 with this state was begun in this browser"
        )


@pytest.mark.parametrize("state", [None, "", "wrong", "é\x00", " "])
async def test_a_wrong_state(begin: Callable[..., Any], state: str | None) -> None:
    async with begin() as login:
        serve(login)
        await leave(login)
        back = "/login/callback?code=x" + ("" if state is None else f"&state={base_quote(state)}")
        refused(login, await login.get(back), "no login by 127.0.0.1 with this state")


def base_quote(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


async def test_an_answer_for_another_provider(begin: Callable[..., Any]) -> None:
    """One provider cannot have a login end at another's callback, even where the browser brings its cookie there."""

    class Evil(Mixin):
        @property
        def _OAUTH_AUTHORIZE_URL(self) -> str:  # type: ignore[override]
            return f"{self.settings['provider']}/oauth2/authorize?evil=1"  # type: ignore[attr-defined]

    class BeginEvil(LoginHandler, Evil):
        def get(self) -> None:
            self.authorize_redirect(f"{self.settings['own'][0]}/login", CLIENT_ID, state=True)

    async with begin() as login:
        serve(login, handlers=[("/begin", BeginEvil), ("/login/callback", Callback)])
        back = await leave(login)
        stolen = back.replace("/login?", "/login/callback?")
        assert stolen != back
        refused(login, await login.browser.get(stolen), "no login by 127.0.0.1 with this state")
        assert not [request for request in login.provider.requests if request.path == "/oauth2/token"]


async def test_a_cookie_under_another_name(begin: Callable[..., Any]) -> None:
    """The signature holds for the name, and the name for the state."""
    async with begin() as login:
        serve(login)
        await leave(login)
        ((key, value),) = login.browser.jar.items()
        name = module._cookie_name(f"{login.provider.url}/oauth2/authorize?audience=all", "mine")
        login.browser.jar = {(key[0], key[1], name): value}
        refused(login, await login.get("/login/callback?code=x&state=mine"), "with this state")


async def test_a_login_that_took_too_long(begin: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    async with begin() as login:
        serve(login)
        back = await leave(login)
        monkeypatch.setattr(module, "_PATIENCE", -1)
        refused(login, await login.browser.get(back), "in the last hour")


async def test_a_code_is_good_once(begin: Callable[..., Any]) -> None:
    async with begin() as login:
        serve(login)
        back = await leave(login)
        jar = dict(login.browser.jar)
        assert (await login.browser.get(back)).status == 200
        refused(login, await login.browser.get(back), "with this state")
        login.browser.jar = jar  # as who has copied the cookie
        error = refused(
            login,
            await login.browser.get(back),
            "answered 400 when asked for the access token: invalid_grant",
        )
        assert isinstance(error, AuthHTTPError)
        assert (error.code, error.host, error.error) == (400, "127.0.0.1", "invalid_grant")
        assert error.error_description == "described: invalid_grant"


async def test_a_code_of_somebody_else_is_worth_nothing(begin: Callable[..., Any]) -> None:
    """PKCE: a code from another login, put into one's own answer, does not fit the verifier."""
    async with begin() as login:
        serve(login)
        stolen = parse_qs(urlsplit(await leave(login)).query)["code"][0]
        mine = await leave(login)
        code = parse_qs(urlsplit(mine).query)["code"][0]
        refused(login, await login.browser.get(mine.replace(code, stolen)), "invalid_grant")


async def test_the_user_declines(begin: Callable[..., Any]) -> None:
    async with begin() as login:
        serve(login)
        login.provider.denying = True
        error = refused(login, await login.get("/begin"), "no login by 127.0.0.1: the user declined")
        assert (error.error, error.error_description) == ("access_denied", "Ada said no")
        assert login.browser.jar == {}


async def test_back_without_a_code(begin: Callable[..., Any]) -> None:
    async with begin() as login:
        serve(login)
        back = await leave(login)
        refused(login, await login.browser.get(back.replace("code=", "kode=")), "back without a code")


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ((500, "text/html", "<h1>Sorry</h1>"), "127.0.0.1 answered 500 when asked for the access token"),
        ((200, "text/html", "<h1>Sorry</h1>"), "the access token in a form that is no JSON"),
        ((200, "application/json", '{"access_token": '), "the access token in a form that is no JSON"),
        ((200, "application/json", "[]"), "the access token in JSON that is no object"),
        ((200, "application/json", "{}"), "the access token without access_token"),
        ((200, "application/json", '{"access_token": ""}'), "the access token without access_token"),
        ((200, "application/json", '{"access_token": 7}'), "the access token without access_token"),
        (
            (200, "application/json", '{"access_token": "a\\nb"}'),
            "the access token with characters that none has",
        ),
        (
            (200, "application/json", '{"access_token": "\\u20ac"}'),
            "the access token with characters that none has",
        ),
        (
            (200, "application/json", '{"error": "bad_verification_code"}'),
            "refused the access token: bad_verification",
        ),
        ((200, "application/json", '{"error": {"code": 1}}'), "refused the access token: an error"),
        ((200, "application/x-www-form-urlencoded", "error=expired"), "refused the access token: expired"),
        (
            (200, "application/x-www-form-urlencoded", "nothing"),
            "in a form that is not application/x-www-form",
        ),
        ((307, "text/plain", ""), "answered 307"),
    ],
)
async def test_answers_with_a_token(
    begin: Callable[..., Any], answer: tuple[int, str, str], text: str
) -> None:
    async with begin() as login:
        serve(login)
        login.provider.spoiled["/oauth2/token"] = answer
        refused(login, await login.get("/begin"), text)


async def test_a_token_as_a_form(begin: Callable[..., Any]) -> None:
    class Formal(Callback):
        async def get(self) -> None:
            answer = self.authorization_response()
            self.write(await self.fetch_access_token(None, answer.code, "id", extra_params={"audience": "a"}))

    async with begin() as login:
        serve(login, handlers=[("/begin", Begin), ("/login/callback", Formal)])
        form = "access_token=t&token_type=bearer&scope=a+b"
        login.provider.spoiled["/oauth2/token"] = (
            200,
            "application/x-www-form-urlencoded;charset=utf-8",
            form,
        )
        assert (
            '{"access_token": "t", "token_type": "bearer", "scope": "a b"}'
            in (await login.get("/begin")).body
        )
        sent = parse_qs(login.provider.requests[-1].body.decode())
        assert sent.keys() == {"grant_type", "code", "client_id", "audience"}


# --- asking with a token ---


class Ask(LoginHandler, Mixin):
    async def get(self) -> None:
        await self.oauth2_request(f"{self.settings['provider']}/oauth2/userinfo", "wrong")

    async def post(self) -> None:
        self.settings["provider_tokens"].add("token")
        url = f"{self.settings['provider']}/oauth2/userinfo?x=1"
        self.write(await self.oauth2_request(url, access_token="token", post_args={"text": "a&b é"}))

    async def delete(self) -> None:
        self.write({"got": await self.oauth2_request(f"{self.settings['provider']}/oauth2/userinfo")})


async def test_asking(begin: Callable[..., Any]) -> None:
    async with begin() as login:
        serve(login, handlers=[("/ask", Ask)], provider_tokens=login.provider.tokens)
        error = refused(
            login, await login.get("/ask"), "answered 401 when asked for an answer of its API: invalid_token"
        )
        assert isinstance(error, AuthHTTPError)
        assert error.code == 401
        assert '"a&b \\u00e9"' in (await login.get("/ask", method="POST")).body
        login.provider.spoiled["/oauth2/userinfo"] = (200, "text/html", "<h1>")
        refused(login, await login.get("/ask"), "an answer of its API in a form that is no JSON")
        login.provider.spoiled["/oauth2/userinfo"] = (200, "application/json", "[1, null]")
        assert (await login.get("/ask", method="DELETE")).body == '{"got": [1, null]}'
        assert login.provider.requests[-1].query == ""


async def test_the_token_in_a_field(begin: Callable[..., Any]) -> None:
    class Modern(LoginHandler, Mixin):
        _OAUTH_BEARER_METHOD = "header"

        async def get(self) -> None:
            self.write(await self.oauth2_request(f"{self.settings['provider']}/api/notes", "token", page="2"))

    async with begin() as login:
        login.provider.tokens.add("token")
        serve(login, handlers=[("/ask", Modern)])
        assert (await login.get("/ask")).body == '{"page": "2"}'


@pytest.mark.parametrize("carry", ["x" * 2300, "é" * 1150, "a" * 3000, '"' * 1500])
async def test_what_fits_into_a_cookie(begin: Callable[..., Any], expect_log: Any, carry: str) -> None:
    async with begin() as login:
        serve(login, {"carry": carry})
        if len(carry) < 2500 and '"' not in carry:
            assert (await login.get("/begin", follow=False)).status == 302
            ((_, _, name),) = login.browser.jar
            assert len(name + "=" + next(iter(login.browser.jar.values()))) < 4000
            assert f'"carried": "{carry[:1]}' in (await login.get("/begin")).body.replace("\\u00e9", "é")
        else:
            with expect_log("webfw.application", "Uncaught exception"):
                assert (await login.get("/begin")).status == 500
            assert "does not fit into a cookie" in str(login.errors[0])
