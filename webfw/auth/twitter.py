"""Twitter (X): its addresses and its API, over OAuth 1.0a; the protocol itself may not enter."""

from typing import Any
from urllib.parse import urlencode

from webfw.auth.errors import AuthError
from webfw.auth.oauth1 import OAuthMixin
from webfw.auth.provider import FORM, ask, handler_of, host_of, read_json
from webfw.httputil import url_concat

__all__ = ["TwitterMixin"]


class TwitterMixin(OAuthMixin):
    """A login by Twitter, for a handler to inherit from beside `RequestHandler`.

    The application's settings ``twitter_consumer_key`` and ``twitter_consumer_secret`` are its credentials::

        class TwitterLogin(RequestHandler, TwitterMixin):
            async def get(self):
                await self.authenticate_redirect("/login/twitter/callback")

        class TwitterCallback(RequestHandler, TwitterMixin):
            async def get(self):
                user = await self.get_authenticated_user()
                self.set_signed_cookie("user", user["username"])
                self.redirect("/")

    The user is a dict with what ``account/verify_credentials`` answers, ``username`` (the ``screen_name``) and
    ``access_token``.
    """

    _OAUTH_REQUEST_TOKEN_URL = "https://api.twitter.com/oauth/request_token"
    _OAUTH_ACCESS_TOKEN_URL = "https://api.twitter.com/oauth/access_token"
    _OAUTH_AUTHORIZE_URL = "https://api.twitter.com/oauth/authorize"
    _OAUTH_AUTHENTICATE_URL = "https://api.twitter.com/oauth/authenticate"
    _OAUTH_NO_CALLBACKS = False
    _TWITTER_BASE_URL = "https://api.twitter.com/1.1"

    async def authenticate_redirect(self, callback_uri: str | None = None) -> None:
        """Send the user to Twitter to log in; unlike with `authorize_redirect`, it asks only once whether they agree.

        :param callback_uri: where the user comes back to, absolute or relative to this request; by default the one that
            is registered.
        :raises AuthError: Twitter does not answer, or not as it should.
        """
        token = await self._oauth_request_token(callback_uri, None, None)
        self._oauth_leave(self._OAUTH_AUTHENTICATE_URL, callback_uri, token)

    async def twitter_request(
        self,
        path: str,
        access_token: dict[str, Any],
        post_args: dict[str, Any] | None = None,
        **args: Any,
    ) -> Any:
        """Ask the API in the name of a user, for instance ``"/statuses/user_timeline"``.

        :param path: without version and format, which are added; or an absolute address.
        :param access_token: the user's, as found in the dict of `get_authenticated_user`.
        :param post_args: arguments of a form that is posted; without them the request is a GET.
        :param args: arguments of the query.
        :returns: the answer, decoded from JSON.
        :raises AuthHTTPError: the status is not one of success, or there was no answer.
        :raises AuthError: the answer is no JSON.
        """
        url = path if path.startswith(("http:", "https:")) else f"{self._TWITTER_BASE_URL}{path}.json"
        url = url_concat(url, args)
        method = "GET" if post_args is None else "POST"
        url, headers = self._oauth_sign(url, access_token, post_args, method)
        body = None
        if post_args is not None:
            headers["Content-Type"] = FORM
            body = urlencode(post_args, doseq=True)
        what = "an answer of its API"
        response = await ask(
            self.get_auth_http_client(), url, what, method=method, headers=headers, body=body
        )
        return read_json(response, url, what)

    def _oauth_consumer_token(self) -> dict[str, Any]:
        handler = handler_of(self)
        handler.require_setting("twitter_consumer_key", "Twitter OAuth")
        handler.require_setting("twitter_consumer_secret", "Twitter OAuth")
        return {
            "key": handler.settings["twitter_consumer_key"],
            "secret": handler.settings["twitter_consumer_secret"],
        }

    async def _oauth_get_user_future(self, access_token: dict[str, Any]) -> dict[str, Any]:
        user = await self.twitter_request("/account/verify_credentials", access_token)
        if not isinstance(user, dict) or not isinstance(user.get("screen_name"), str):
            host = host_of(self._TWITTER_BASE_URL)
            raise AuthError(f"{host} did not tell who the user is", host=host)
        user["username"] = user["screen_name"]
        return user
