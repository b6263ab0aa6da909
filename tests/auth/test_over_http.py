"""The logins of all protocols with webfw's own client between the application and the provider."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.auth import (
    test_facebook,
    test_github,
    test_google,
    test_oauth1,
    test_oauth2,
    test_openid,
    test_twitter,
)
from tests.auth.provider import CLIENT_ID
from webfw.auth import AuthHTTPError
from webfw.httpclient import AsyncHTTPClient


async def facebook(login: Any) -> str:
    login.serve([("/login", test_facebook.Facebook)], provider=login.provider.url, challenge="S256")
    return "/login"


async def github(login: Any) -> str:
    test_github.serve(login)
    return "/begin"


async def google(login: Any) -> str:
    test_google.serve(login)
    return "/login"


async def oauth1(login: Any) -> str:
    test_oauth1.serve(login)
    return "/begin?extra=1"


async def oauth1_posting(login: Any) -> str:
    handlers = [("/begin", test_oauth1.PostingBegin), ("/callback", test_oauth1.PostingCallback)]
    test_oauth1.serve(login, handlers)
    return "/begin"


async def oauth2(login: Any) -> str:
    test_oauth2.serve(login)
    return "/begin"


async def openid(login: Any) -> str:
    test_openid.serve(login)
    return "/login"


async def twitter(login: Any) -> str:
    test_twitter.serve(login)
    return "/begin"


LOGINS = [facebook, github, google, oauth1, oauth1_posting, oauth2, openid, twitter]


@pytest.mark.parametrize("engine", ["simple", "curl"])
@pytest.mark.parametrize("prepare", LOGINS)
async def test_a_login(begin: Callable[..., Any], prepare: Callable[[Any], Any], engine: str) -> None:
    client = None
    if engine == "curl":
        pytest.importorskip("pycurl")
        from webfw.curl_httpclient import CurlAsyncHTTPClient

        client = CurlAsyncHTTPClient(force_instance=True)
    async with begin(plain=False, client=client) as login:
        answer = await login.get(await prepare(login))
        assert answer.status == 200, answer
        assert json.loads(answer.body)
    if client is not None:
        client.close()


@pytest.mark.parametrize("prepare", LOGINS)
async def test_a_provider_that_is_down(begin: Callable[..., Any], prepare: Callable[[Any], Any]) -> None:
    """Down for the application, while the browser still gets there."""
    async with begin(plain=False) as login:
        path = await prepare(login)
        for asked in ("/oauth2/token", "/oauth1/1.0a/request", "/openid"):
            login.provider.spoiled[asked] = (503, "text/html", "<h1>Down</h1>")
        if prepare is openid:
            del login.provider.spoiled["/openid"]
            back = await test_openid.leave(login)
            login.provider.spoiled["/openid"] = (503, "text/html", "<h1>Down</h1>")
            answer = await login.browser.get(back)
        else:
            answer = await login.get(path)
        assert answer.status == 403
        assert "refused: 127.0.0.1 answered 503 when asked for" in answer.body
        error = login.errors[-1]
        assert isinstance(error, AuthHTTPError)
        assert (error.code, error.host) == (503, "127.0.0.1")


@asynccontextmanager
async def silent() -> AsyncIterator[str]:
    """An address where connections are taken and nothing is answered."""
    taken: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda reader, writer: taken.append(writer), "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        for writer in taken:
            writer.transport.abort()
        server.close()
        await server.wait_closed()


class Impatient(test_oauth2.Callback):
    """Asks a provider elsewhere for the token."""

    @property
    def _OAUTH_ACCESS_TOKEN_URL(self) -> str:  # type: ignore[override]
        return f"{self.settings['token_at']}/oauth2/token"

    def get_auth_http_client(self) -> AsyncHTTPClient:
        return self.settings["impatient"]


async def test_a_provider_that_says_nothing(begin: Callable[..., Any]) -> None:
    client = AsyncHTTPClient(force_instance=True, defaults={"request_timeout": 0.05})
    async with begin(plain=False) as login, silent() as url:
        handlers = [("/begin", test_oauth2.Begin), ("/login/callback", Impatient)]
        test_oauth2.serve(login, handlers=handlers, token_at=url, impatient=client)
        answer = await login.get("/begin")
        assert answer.body == "refused: 127.0.0.1 did not give the access token in time"
        assert login.errors[-1].code == 599
    client.close()


async def test_a_provider_that_is_not_there(begin: Callable[..., Any]) -> None:
    async with silent() as url:
        pass
    client = AsyncHTTPClient(force_instance=True)
    async with begin(plain=False) as login:
        handlers = [("/begin", test_oauth2.Begin), ("/login/callback", Impatient)]
        test_oauth2.serve(login, handlers=handlers, token_at=url, impatient=client)
        answer = await login.get("/begin")
        assert answer.body.startswith("refused: 127.0.0.1 did not give the access token: ")
        assert answer.body.partition(": ")[2]
    client.close()


async def test_a_redirect_is_not_followed_with_a_secret(begin: Callable[..., Any]) -> None:
    asked: list[Any] = []

    class Thief(test_oauth2.LoginHandler):
        def post(self) -> None:
            asked.append(self.request)

    async with begin(plain=False) as login:
        test_oauth2.serve(login)
        target = login.listen(type(login.app)([("/thief", Thief)]))
        login.provider.moved["/oauth2/token"] = f"{target}/thief"
        assert "answered 307 when asked for the access token" in (await login.get("/begin")).body
        assert asked == []


async def test_nothing_private_is_sent_by_the_browser(begin: Callable[..., Any]) -> None:
    async with begin(plain=False) as login:
        test_oauth2.serve(login)
        await login.get("/begin")
        addresses = " ".join(login.browser.seen)
        assert CLIENT_ID.replace(" ", "+") in addresses
        for token in login.provider.tokens:
            assert token not in addresses
