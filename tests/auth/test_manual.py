"""The handlers that the manual shows, with the fake provider in place of the real ones."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.auth.browser import PlainClient
from tests.auth.provider import CLIENT_ID, CLIENT_SECRET
from tests.test_docs import _run


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    return _run("howto/third-party-login.md")


def moved(handler: type, url: str, **more: str) -> type:
    """The handler with the addresses of the fake provider."""
    attributes = {
        "_OAUTH_AUTHORIZE_URL": f"{url}/oauth2/authorize",
        "_OAUTH_ACCESS_TOKEN_URL": f"{url}/oauth2/token",
        "_GITHUB_BASE_URL": f"{url}/api",
        "get_auth_http_client": lambda self: PlainClient(),
    }
    return type(handler.__name__, (handler,), attributes)


async def test_the_first_page(begin: Callable[..., Any], page: dict[str, Any]) -> None:
    async with begin() as login:
        url = login.provider.url
        handlers = [
            ("/", page["Home"]),
            ("/login", moved(page["Login"], url)),
            ("/login/callback", moved(page["Callback"], url)),
        ]
        credentials = {"key": CLIENT_ID, "secret": CLIENT_SECRET}
        login.serve(handlers, login_url="/login", github_oauth=credentials)
        page["CALLBACK"] = f"{login.url}/login/callback"
        assert (await login.get("/")).body == "Hello, ada"
        login.browser.jar.clear()
        login.provider.denying = True
        answer = await login.get("/")
        assert (answer.status, answer.body) == (403, "No login: no login by 127.0.0.1: the user declined")
