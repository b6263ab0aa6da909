"""A small site that knows its visitors by Example ID, the provider in ``provider.py``."""

import json
import os
import secrets
from pathlib import Path
from typing import Any

from demos.login import provider
from demos.login.pages import PageHandler, local_path
from webfw import web
from webfw.auth import AuthError, OAuth2Mixin

HERE = Path(__file__).parent


class ExampleIdMixin(OAuth2Mixin):
    """Example ID, as the site sees it: three addresses."""

    _OAUTH_BEARER_METHOD = "header"

    # Properties only because the demo is its own provider; one elsewhere has fixed addresses.
    @property
    def _OAUTH_AUTHORIZE_URL(self) -> str:  # type: ignore[override]
        return f"{self.origin}/example-id/authorize"  # type: ignore[attr-defined]

    @property
    def _OAUTH_ACCESS_TOKEN_URL(self) -> str:  # type: ignore[override]
        return f"{self.origin}/example-id/token"  # type: ignore[attr-defined]

    @property
    def _OAUTH_USERINFO_URL(self) -> str:
        return f"{self.origin}/example-id/userinfo"  # type: ignore[attr-defined]


class SiteHandler(PageHandler):
    """A handler that knows who is asking."""

    def get_current_user(self) -> dict[str, str] | None:
        cookie = self.get_signed_cookie("user", max_age_days=7)
        return json.loads(cookie) if cookie else None


class HomeHandler(SiteHandler):
    """The page for everybody."""

    def get(self) -> None:
        self.render("home.html")


class DiaryHandler(SiteHandler):
    """A page for those who have logged in; others are sent to log in first, and come back."""

    @web.authenticated
    def get(self) -> None:
        self.render("diary.html", day=self.get_query_argument("day", "today"))


class LoginHandler(SiteHandler, ExampleIdMixin):
    """Sends the visitor to the provider."""

    def get(self) -> None:
        self.authorize_redirect(
            redirect_uri=self.origin + provider.CALLBACK,
            client_id=self.settings["example_id"]["key"],
            scope=["profile"],
            code_challenge_method="S256",
            carry=local_path(self.get_query_argument("next", "/")),
        )


class CallbackHandler(SiteHandler, ExampleIdMixin):
    """Where the visitor comes back to."""

    async def get(self) -> None:
        credentials = self.settings["example_id"]
        try:
            answer = self.authorization_response()
            access = await self.fetch_access_token(
                self.origin + provider.CALLBACK,
                answer.code,
                credentials["key"],
                credentials["secret"],
                code_verifier=answer.code_verifier,
            )
            user = await self.oauth2_request(self._OAUTH_USERINFO_URL, access["access_token"])
        except AuthError as error:
            self.show_error(403, "You declined." if error.error == "access_denied" else f"{error}.")
            return
        known = json.dumps({"id": user["id"], "name": user["name"]})
        secure = self.request.protocol == "https"
        self.set_signed_cookie("user", known, expires_days=7, httponly=True, samesite="Lax", secure=secure)
        self.redirect(local_path(answer.carried or "/"), status=303)


class LogoutHandler(SiteHandler):
    """Forgets the visitor."""

    def post(self) -> None:
        self.clear_cookie("user")
        self.redirect("/", status=303)


class NotFoundHandler(SiteHandler):
    """Whatever no route leads to."""

    def prepare(self) -> None:
        raise web.HTTPError(404)


def make_app(**settings: Any) -> web.Application:
    """Build the application; ``settings`` add to its own or replace them."""
    secret = os.environ.get("COOKIE_SECRET") or secrets.token_hex(32)
    own = {
        "template_path": str(HERE / "templates"),
        "static_path": str(HERE / "static"),
        "cookie_secret": secret,
        "login_url": "/login",
        "example_id": {"key": provider.CLIENT_ID, "secret": provider.client_secret(secret)},
        "xsrf_cookies": True,
        "xsrf_cookie_kwargs": {"samesite": "Lax", "httponly": True},
        "default_handler_class": NotFoundHandler,
    }
    return web.Application(
        [
            web.url("/", HomeHandler, name="home"),
            web.url("/diary", DiaryHandler, name="diary"),
            web.url("/login", LoginHandler, name="login"),
            web.url(provider.CALLBACK, CallbackHandler, name="callback"),
            web.url("/logout", LogoutHandler, name="logout"),
            *provider.handlers(),
        ],
        **{**own, **settings},
    )


app = make_app()
