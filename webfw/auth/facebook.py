"""Facebook: its addresses, the Graph API and who a user is there; the protocol itself may not enter."""

import hashlib
import hmac
from collections.abc import Iterable
from typing import Any

from webfw.auth.errors import AuthError
from webfw.auth.oauth2 import OAuth2Mixin
from webfw.auth.provider import ask, host_of
from webfw.httputil import url_concat

__all__ = ["FacebookGraphMixin"]

#: What is asked about every user.
_FIELDS = ("id", "name", "first_name", "last_name", "locale", "picture", "link")


class FacebookGraphMixin(OAuth2Mixin):
    """A login by Facebook, for a handler to inherit from beside `RequestHandler`.

    It needs no setting; the handlers bring the application's credentials::

        class FacebookCallback(RequestHandler, FacebookGraphMixin):
            async def get(self):
                answer = self.authorization_response()
                user = await self.get_authenticated_user(
                    redirect_uri=CALLBACK,
                    client_id=self.settings["facebook_api_key"],
                    client_secret=self.settings["facebook_secret"],
                    code=answer.code,
                )
    """

    _OAUTH_ACCESS_TOKEN_URL = "https://graph.facebook.com/oauth/access_token?"
    _OAUTH_AUTHORIZE_URL = "https://www.facebook.com/dialog/oauth?"
    _OAUTH_NO_CALLBACKS = False
    #: What the paths of `facebook_request` begin with.
    _FACEBOOK_BASE_URL = "https://graph.facebook.com"

    async def get_authenticated_user(
        self,
        redirect_uri: str,
        client_id: str,
        client_secret: str,
        code: str,
        extra_fields: Iterable[str] | None = None,
        *,
        code_verifier: str | None = None,
    ) -> dict[str, Any] | None:
        """Exchange the code for an access token, and ask who the user is.

        :param redirect_uri: the one that was given to `authorize_redirect`.
        :param client_id: the application's number at Facebook.
        :param client_secret: its password there.
        :param code: what the user has brought back as ``code``.
        :param extra_fields: what to ask about the user beyond the fields below.
        :param code_verifier: as `authorization_response` gives it.
        :returns: ``id``, ``name``, ``first_name``, ``last_name``, ``locale``, ``picture``, ``link`` and the extra
            fields, None where Facebook does not tell, with ``access_token`` and ``session_expires``: the seconds it
            lives, as text, or None.
        :raises AuthHTTPError: a status is not one of success, or there was no answer.
        :raises AuthError: an answer is malformed.
        """
        arguments = {
            "redirect_uri": redirect_uri,
            "client_id": client_id,
            "client_secret": client_secret,
            "code": code,
        }
        if code_verifier is not None:
            arguments["code_verifier"] = code_verifier
        # A GET, as Facebook documents it.
        response = await ask(
            self.get_auth_http_client(),
            url_concat(self._OAUTH_ACCESS_TOKEN_URL, arguments),
            "the access token",
            follow_redirects=False,
        )
        access = self._oauth2_token(response)
        token = access["access_token"]
        expires = access.get("expires_in")
        fields = dict.fromkeys((*_FIELDS, *(extra_fields or ())))
        user = await self.facebook_request(
            path="/me",
            access_token=token,
            appsecret_proof=hmac.new(client_secret.encode(), token.encode(), hashlib.sha256).hexdigest(),
            fields=",".join(fields),
        )
        if not isinstance(user, dict):
            host = host_of(self._FACEBOOK_BASE_URL)
            raise AuthError(f"{host} did not tell who the user is", host=host)
        return {
            **{field: user.get(field) for field in fields},
            "access_token": token,
            "session_expires": None if expires is None else str(expires),
        }

    async def facebook_request(
        self,
        path: str,
        access_token: str | None = None,
        post_args: dict[str, Any] | None = None,
        **args: Any,
    ) -> Any:
        """Ask the Graph API, for instance for ``"/me/feed"``.

        :param path: a path.
        :param access_token: the user's.
        :param post_args: arguments of a form that is posted; without them the request is a GET.
        :param args: arguments of the query.
        :returns: the answer, decoded from JSON.
        :raises AuthHTTPError: the status is not one of success, or there was no answer.
        :raises AuthError: the answer is no JSON.
        """
        # Always with a slash between: else ".evil.example/me" would make another host of it, which is sent the token.
        url = f"{self._FACEBOOK_BASE_URL}/{path.removeprefix('/')}"
        return await self.oauth2_request(url, access_token, post_args, **args)
