"""Example ID, a provider of logins after RFC 6749: three people, one application, and no passwords.

Codes and tokens are signed rather than stored, so that any worker process can check what another has made.
"""

import base64
import hashlib
import hmac
import json
import time
from typing import Any

from demos.login.pages import PageHandler
from webfw import web
from webfw.httputil import url_concat

#: Who has an account, by name.
PEOPLE = {"ada": "Ada Lovelace", "grace": "Grace Hopper", "alan": "Alan Turing"}

#: The application that is registered, and where its users may be sent back to, as a path of this demo.
CLIENT_ID = "demo-site"
CALLBACK = "/login/callback"

#: Seconds a code and a token are good for.
CODE_LIFE = 60
TOKEN_LIFE = 3600


def client_secret(cookie_secret: str) -> str:
    """The password of the application here."""
    return hmac.new(cookie_secret.encode(), b"the application's password", "sha256").hexdigest()


class Provider(PageHandler):
    """What the handlers of the provider share."""

    def seal(self, kind: str, value: Any) -> str:
        secret = self.settings["cookie_secret"]
        return web.create_signed_value(secret, f"example-id-{kind}", json.dumps(value)).decode()

    def unseal(self, kind: str, text: str, life: int) -> Any:
        """What was sealed; None if it is not genuine or too old."""
        secret = self.settings["cookie_secret"]
        value = web.decode_signed_value(secret, f"example-id-{kind}", text, max_age_days=life / 86400)
        return None if value is None else json.loads(value)

    def refuse(self, status: int, error: str) -> None:
        """An error of the token endpoint (section 5.2)."""
        self.set_status(status)
        self.finish({"error": error})


class Authorize(Provider):
    """The page a user is sent to by the site (section 4.1.1)."""

    def prepare(self) -> None:
        # Nobody is sent to an address that is not registered, not even with an error (section 4.1.2.1).
        if self.get_query_argument("client_id", "") != CLIENT_ID:
            raise web.HTTPError(400, reason="No such application")
        self.redirect_uri = self.get_query_argument("redirect_uri", "")
        if self.redirect_uri != self.origin + CALLBACK:
            raise web.HTTPError(400, reason="This address is not registered")
        self.challenge = self.get_query_argument("code_challenge", "")
        if self.get_query_argument("response_type", "") != "code":
            self.send_back(error="unsupported_response_type")
        elif self.get_query_argument("code_challenge_method", "") != "S256" or not self.challenge:
            self.send_back(error="invalid_request", error_description="PKCE with S256 is required")

    def get(self) -> None:
        self.render("choose.html", people=PEOPLE, client=CLIENT_ID, action=self.request.uri)

    def post(self) -> None:
        person = self.get_body_argument("person", "")
        if person in PEOPLE:
            code = {"person": person, "redirect_uri": self.redirect_uri, "challenge": self.challenge}
            self.send_back(code=self.seal("code", code))
        else:
            self.send_back(error="access_denied")

    def send_back(self, **answer: str) -> None:
        answer["state"] = self.get_query_argument("state", "", strip=False)
        self.redirect(url_concat(self.redirect_uri, answer), status=303)


class Token(Provider):
    """Where the site exchanges a code for a token (section 4.1.3)."""

    def initialize(self, used: dict[str, float]) -> None:
        self.used = used

    def check_xsrf_cookie(self) -> None:
        """Not needed: this is for programs, which bring no cookies."""

    def post(self) -> None:
        client_id = self.get_body_argument("client_id", "")
        secret = self.get_body_argument("client_secret", "")
        known = client_secret(self.settings["cookie_secret"])
        if client_id != CLIENT_ID or not hmac.compare_digest(secret.encode(), known.encode()):
            self.refuse(401, "invalid_client")
            return
        if self.get_body_argument("grant_type", "") != "authorization_code":
            self.refuse(400, "unsupported_grant_type")
            return
        text = self.get_body_argument("code", "")
        code = self.unseal("code", text, CODE_LIFE)
        verifier = self.get_body_argument("code_verifier", "").encode()
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier).digest()).rstrip(b"=").decode()
        if (
            code is None
            or code["redirect_uri"] != self.get_body_argument("redirect_uri", "")
            or not hmac.compare_digest(code["challenge"].encode(), challenge.encode())
            or not self.first_time(text)
        ):
            self.refuse(400, "invalid_grant")
            return
        token = self.seal("token", code["person"])
        self.write({"access_token": token, "token_type": "Bearer", "expires_in": TOKEN_LIFE})

    def first_time(self, code: str) -> bool:
        """Take note of a code; each is good once (within a process: a real provider would ask its database)."""
        now = time.monotonic()
        for known in [known for known, until in self.used.items() if until < now]:
            del self.used[known]
        if code in self.used:
            return False
        self.used[code] = now + CODE_LIFE
        return True


class UserInfo(Provider):
    """Who the bearer of a token is (RFC 6750)."""

    def get(self) -> None:
        scheme, _, token = self.request.headers.get("Authorization", "").partition(" ")
        person = self.unseal("token", token, TOKEN_LIFE) if scheme.lower() == "bearer" else None
        if person not in PEOPLE:
            self.set_header("WWW-Authenticate", 'Bearer error="invalid_token"')
            self.refuse(401, "invalid_token")
            return
        self.write({"id": person, "name": PEOPLE[person]})


def handlers() -> list[web.URLSpec]:
    return [
        web.url("/example-id/authorize", Authorize, name="authorize"),
        web.url("/example-id/token", Token, {"used": {}}, name="token"),
        web.url("/example-id/userinfo", UserInfo, name="userinfo"),
    ]
