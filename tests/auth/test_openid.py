import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.auth.browser import Answer, PlainClient, send
from tests.auth.conftest import Login, LoginHandler
from webfw.auth import AuthError, OpenIdMixin
from webfw.auth import openid as module


class OpenId(LoginHandler, OpenIdMixin):
    @property
    def _OPENID_ENDPOINT(self) -> str:  # type: ignore[override]
        return f"{self.settings['provider']}/openid"

    async def get(self) -> None:
        if self.get_argument("openid.mode", None):
            self.write(await self.get_authenticated_user())
        else:
            self.authenticate_redirect(**self.settings.get("options", {}))


class Elsewhere(LoginHandler):
    def get(self) -> None:
        self.write("elsewhere")


@pytest.fixture(autouse=True)
def _no_nonces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_nonces", module._Nonces())


def serve(login: Login, **settings: Any) -> None:
    handlers: list[Any] = [("/login", OpenId), ("/back", OpenId), ("/elsewhere", Elsewhere)]
    login.serve(handlers, provider=login.provider.url, **settings)


async def leave(login: Login, path: str = "/login") -> str:
    """Where the provider would send the browser back to, which has not gone yet."""
    away = await login.get(path, follow=False)
    back = await login.browser.get(away.headers["Location"], follow=False)
    return back.headers["Location"]


def refused(login: Login, answer: Answer, text: str) -> AuthError:
    assert answer.status == 403, answer
    error = login.errors[-1]
    assert isinstance(error, AuthError)
    assert text in str(error)
    return error


@pytest.mark.parametrize("path", ["/login", "/login?next=%2Fa%20b&x=&x=2"])
async def test_a_login(begin: Callable[..., Any], path: str) -> None:
    async with begin() as login:
        serve(login)
        answer = await login.get(path)
        assert json.loads(answer.body) == {
            "claimed_id": f"{login.provider.url}/id/ada",
            "first_name": "Ada",
            "last_name": "Lovelace",
            "name": "Ada Lovelace",
            "email": "ada@example.org",
            "locale": "en-gb",
        }


async def test_what_the_provider_is_asked(begin: Callable[..., Any]) -> None:
    async with begin() as login:
        serve(login, options={"callback_uri": "/back?x=1", "ax_attrs": ["email"]})
        away = await login.get("/login", follow=False)
        location = urlsplit(away.headers["Location"])
        asked = {name: value for name, (value,) in parse_qs(location.query).items()}
        assert asked == {
            "openid.ns": "http://specs.openid.net/auth/2.0",
            "openid.claimed_id": "http://specs.openid.net/auth/2.0/identifier_select",
            "openid.identity": "http://specs.openid.net/auth/2.0/identifier_select",
            "openid.return_to": f"{login.url}/back?x=1",
            "openid.realm": f"{login.url}/",
            "openid.mode": "checkid_setup",
            "openid.ns.ax": "http://openid.net/srv/ax/1.0",
            "openid.ax.mode": "fetch_request",
            "openid.ax.required": "email",
            "openid.ax.type.email": "http://axschema.org/contact/email",
        }
        user = json.loads((await login.get("/login")).body)
        assert user == {
            "claimed_id": f"{login.provider.url}/id/ada",
            "email": "ada@example.org",
            "name": "ada",
        }


async def test_no_attributes(begin: Callable[..., Any]) -> None:
    async with begin() as login:
        serve(login, options={"ax_attrs": []})
        assert "openid.ax" not in (await login.get("/login", follow=False)).headers["Location"]
        assert json.loads((await login.get("/login")).body) == {"claimed_id": f"{login.provider.url}/id/ada"}


async def test_no_such_attribute(begin: Callable[..., Any], expect_log: Any) -> None:
    async with begin() as login:
        serve(login, options={"ax_attrs": ["shoes"]})
        with expect_log("webfw.application", "Uncaught exception"):
            assert (await login.get("/login")).status == 500
        assert "'shoes' is none of the attributes name, email, language, username" in str(login.errors[0])


async def test_an_attribute_with_several_values(begin: Callable[..., Any]) -> None:
    async with begin() as login:
        serve(login, options={"ax_attrs": []})
        login.provider.assert_also = {
            "ext1.type.u": "http://axschema.org/namePerson/friendly",
            "ext1.count.u": "2",
            "ext1.value.u.1": "ada",
            "ext1.value.u.2": "al",
            "ext1.type.n": "http://axschema.org/namePerson",
            "ext1.value.n": "Countess",
            "ext1.type.e": "http://axschema.org/contact/email",
        }
        user = json.loads((await login.get("/login")).body)
        assert (user["username"], user["name"]) == ("ada", "Countess")
        assert "email" not in user


async def test_the_user_declines(begin: Callable[..., Any]) -> None:
    async with begin() as login:
        serve(login)
        login.provider.denying = True
        assert refused(login, await login.get("/login"), "the user declined").error == "access_denied"


async def test_the_provider_reports_an_error(begin: Callable[..., Any]) -> None:
    async with begin() as login:
        serve(login)
        back = "/login?openid.ns=http://specs.openid.net/auth/2.0&openid.mode=error&openid.error=no"
        assert refused(login, await login.get(back), "it reports an error").error_description == "no"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"mode": "setup_needed"}, "is no assertion of OpenID 2.0"),
        ({"ns": "http://openid.net/signon/1.1"}, "is no assertion of OpenID 2.0"),
        ({"ns": None}, "is no assertion of OpenID 2.0"),
        ({"sig": "x"}, "127.0.0.1 does not confirm the login"),
        ({"sig": None}, "127.0.0.1 does not confirm the login"),
        ({"claimed_id": "http://h/id/charles"}, "does not confirm the login"),
        ({"ext1.value.a_email": "charles@example.org"}, "does not confirm the login"),
        ({"signed": None}, "op_endpoint is missing or not signed"),
        ({"signed": "op_endpoint,return_to,response_nonce,assoc_handle"}, "claimed_id is not signed"),
        (
            {"signed": "op_endpoint,return_to,response_nonce,assoc_handle,claimed_id"},
            "identity is not signed in the answer",
        ),
        ({"response_nonce": None}, "response_nonce is missing or not signed"),
        ({"response_nonce": ""}, "response_nonce is missing or not signed"),
        ({"op_endpoint": "http://charles.example/openid"}, "the answer is not by 127.0.0.1"),
        ({"return_to": "http://charles.example/login"}, "not meant for this address"),
        ({"response_nonce": "2005-05-15T17:11:51ZUNIQUE"}, "too old, or a clock is wrong"),
        ({"response_nonce": "2005-15-15T17:11:51ZUNIQUE"}, "too old, or a clock is wrong"),
        ({"response_nonce": "now"}, "too old, or a clock is wrong"),
        ({"response_nonce": "2099-05-15T17:11:51Z"}, "too old, or a clock is wrong"),
    ],
)
async def test_what_is_not_genuine(
    begin: Callable[..., Any], changes: dict[str, str | None], text: str
) -> None:
    async with begin() as login:
        serve(login)
        login.provider.tamper = changes
        # The redirect itself stays what it was.
        back = await leave(login)
        if "return_to" in changes:
            back = f"{login.url}/login?{urlsplit(back).query}"
        refused(login, await login.browser.get(back), text)


async def test_attributes_that_are_not_signed_count_for_nothing(begin: Callable[..., Any]) -> None:
    """Whoever can change the address could say to be anybody otherwise."""
    async with begin() as login:
        serve(login, options={"ax_attrs": []})
        back = await leave(login)
        back += (
            "&openid.ext1.type.x=http://axschema.org/contact/email&openid.ext1.value.x=charles@example.org"
        )
        back += "&openid.ns.ext2=http://openid.net/srv/ax/1.0&openid.ext2.type.x=http://axschema.org/contact/email"
        assert json.loads((await login.browser.get(back)).body).keys() == {"claimed_id"}


async def test_another_address_of_this_site(begin: Callable[..., Any]) -> None:
    async with begin() as login:
        serve(login)
        back = await leave(login, "/login?next=%2Fa")
        refused(
            login, await login.browser.get(back.replace("/login?", "/back?")), "not meant for this address"
        )
        refused(
            login,
            await login.browser.get(back.replace("next=%2Fa", "next=%2Fb")),
            "not meant for this address",
        )
        elsewhere = await send("GET", back, {"Host": "elsewhere.example"})
        refused(login, elsewhere, "behind a proxy the server needs xheaders")
        assert (await login.browser.get(back + "&utm=1")).status == 200


async def test_an_answer_is_good_once(begin: Callable[..., Any]) -> None:
    async with begin() as login:
        serve(login)
        back = await leave(login)
        assert (await login.browser.get(back)).status == 200
        refused(login, await login.browser.get(back), "does not confirm the login")
        login.provider.checked = None  # a provider that does not look
        refused(login, await login.browser.get(back), "the answer of 127.0.0.1 was used before")


@pytest.mark.parametrize(
    "more", ["openid.claimed_id=x", "openid.x=%FF", "openid.%3Cscript%3E=1&openid.%3Cscript%3E=2"]
)
async def test_arguments_that_come_twice_or_are_malformed(begin: Callable[..., Any], more: str) -> None:
    async with begin() as login:
        serve(login)
        back = await leave(login)
        answer = await login.browser.get(f"{back}&{more}")
        refused(login, answer, "an argument of the answer of 127.0.0.1 comes twice or is malformed")
        assert "<" not in answer.body


def test_a_user_without_attributes() -> None:
    answer = {
        "openid.signed": "claimed_id",
        "openid.claimed_id": "me",
        "openid.ax.value.email": "x@example.org",
    }
    assert module._user(answer) == {"claimed_id": "me"}


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ((500, "text/plain", "is_valid:true"), "answered 500 when asked for its check of the login"),
        ((200, "text/html", "<h1>"), "does not confirm"),
        ((200, "text/plain", "is_valid:false\n"), "does not confirm"),
        ((200, "text/plain", "x_is_valid:true\n"), "does not confirm"),
        ((200, "text/plain", ""), "does not confirm"),
    ],
)
async def test_answers_of_the_check(
    begin: Callable[..., Any], answer: tuple[int, str, str], text: str
) -> None:
    async with begin() as login:
        serve(login)
        back = await leave(login)
        login.provider.spoiled["/openid"] = answer
        refused(login, await login.browser.get(back), text)


async def test_a_client_that_is_given(begin: Callable[..., Any]) -> None:
    class Own(OpenId):
        async def get(self) -> None:
            self.write(await self.get_authenticated_user(PlainClient()))  # type: ignore[arg-type]

    async with begin() as login:
        handlers = [("/begin", OpenId), ("/back", Own)]
        login.serve(
            handlers, provider=login.provider.url, auth_client=object(), options={"callback_uri": "back"}
        )
        assert "claimed_id" in (await login.get("/begin")).body


def test_nonces_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    nonces = module._Nonces()
    assert nonces.use("e", "1")
    assert nonces.use("f", "1")
    assert not nonces.use("e", "1")
    now += 2 * module._SKEW - 1
    assert nonces.use("e", "2")
    assert not nonces.use("e", "1")
    now += 1
    assert nonces.use("e", "1")
    assert not nonces.use("e", "2")
    assert len(nonces._until) == 2
