"""A provider of logins: OAuth 2 with PKCE, OAuth 1 and 1.0a checked by oauthlib, OpenID 2.0, and what APIs it takes.

It is an application for loopback.  What it is asked is in ``requests``; ``spoiled`` has answers to give in place of the
right ones, by path, and ``moved`` where to redirect to; ``denying`` has the user decline.
"""

import base64
import hashlib
import hmac
import json
import secrets
import time
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode

from oauthlib.oauth1 import RequestValidator, WebApplicationServer
from oauthlib.oauth1.rfc5849 import signature as oauthlib_signature

from webfw.httputil import url_concat
from webfw.web import Application, RequestHandler

CLIENT_ID = "the application"
CLIENT_SECRET = "sécret/of+the=application&"
USER: dict[str, Any] = {
    "id": 7,
    "login": "ada",
    "name": "Ada L.",
    "screen_name": "ada",
    "email": "shown@example.org",
}


class Provider:
    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.spoiled: dict[str, tuple[int, str, str]] = {}
        self.moved: dict[str, str] = {}
        self.denying = False
        #: OAuth 2: what a code was given for.
        self.codes: dict[str, dict[str, str]] = {}
        self.tokens: set[str] = set()
        #: OAuth 1: tokens by key.
        self.request_tokens: dict[str, dict[str, str]] = {}
        self.access_tokens: dict[str, dict[str, str]] = {}
        self.nonces: set[tuple[str, str]] = set()
        self.emails: Any = [
            {"email": "old@example.org", "primary": False, "verified": True},
            {"email": "ada@example.org", "primary": True, "verified": True},
        ]
        #: OpenID: what to change in an assertion before it is signed, and after.
        self.assert_also: dict[str, str] = {}
        self.tamper: dict[str, str | None] = {}
        self.association = secrets.token_bytes(20)
        self.checked: set[str] = set()
        #: All that must not be seen in a log line.
        self.secrets: set[str] = {CLIENT_SECRET}
        handlers = [
            ("/oauth2/authorize", Authorize2),
            ("/oauth2/token", Token2),
            ("/oauth2/userinfo", UserInfo),
            ("/graph/me", FacebookMe),
            ("/api/user", GitHubUser),
            ("/api/user/emails", GitHubEmails),
            ("/api/notes", GitHubNotes),
            ("/oauth1/(?P<version>1.0a?)/request", Request1),
            ("/oauth1/(?P<version>1.0a?)/authorize", Authorize1),
            ("/oauth1/(?P<version>1.0a?)/access", Access1),
            ("/1.1/(.*)[.]json", Protected1),
            ("/openid", OpenId),
        ]
        self.app = Application(handlers, provider=self, log_function=lambda handler: None)
        self.url = ""

    def secret(self) -> str:
        value = secrets.token_hex(10)
        self.secrets.add(value)
        return value


class Handler(RequestHandler):
    @property
    def provider(self) -> Provider:
        return self.settings["provider"]

    def prepare(self) -> None:
        self.provider.requests.append(self.request)
        if self.request.path in self.provider.moved:
            self.redirect(self.provider.moved[self.request.path], status=307)
            return
        spoiled = self.provider.spoiled.get(self.request.path)
        if spoiled is not None:
            status, media_type, body = spoiled
            self.set_status(status)
            self.set_header("Content-Type", media_type)
            self.finish(body)

    def refuse(self, status: int, error: str, **more: str) -> None:
        self.set_status(status)
        self.finish({"error": error, "error_description": f"described: {error}", **more})


# --- OAuth 2 ---


class Authorize2(Handler):
    def get(self) -> None:
        arguments = {name: self.get_argument(name) for name in self.request.arguments}
        assert arguments["client_id"] == CLIENT_ID
        assert CLIENT_SECRET not in arguments.values()
        answer = {"state": arguments["state"]} if "state" in arguments else {}
        if self.provider.denying:
            answer |= {"error": "access_denied", "error_description": "Ada said no"}
        else:
            code = answer["code"] = self.provider.secret()
            self.provider.codes[code] = arguments
        self.redirect(url_concat(arguments.get("redirect_uri", self.provider.url), answer))


class Token2(Handler):
    def get(self) -> None:
        self.post()

    def post(self) -> None:
        arguments = {name: self.get_argument(name, strip=False) for name in self.request.arguments}
        if arguments["client_id"] != CLIENT_ID or arguments["client_secret"] != CLIENT_SECRET:
            self.refuse(401, "invalid_client")
            return
        granted = self.provider.codes.pop(arguments["code"], None)
        if granted is None or granted.get("redirect_uri") != arguments.get("redirect_uri"):
            self.refuse(400, "invalid_grant")
            return
        challenge = granted.get("code_challenge")
        if challenge is not None:
            verifier = arguments.get("code_verifier", "")
            self.provider.secrets.add(verifier)
            if granted["code_challenge_method"] == "S256":
                digest = hashlib.sha256(verifier.encode()).digest()
                verifier = base64.urlsafe_b64encode(digest).decode().rstrip("=")
            if len(arguments.get("code_verifier", "")) < 43 or verifier != challenge:
                self.refuse(400, "invalid_grant")
                return
        token = self.provider.secret()
        self.provider.tokens.add(token)
        answer = {"access_token": token, "token_type": "bearer", "expires_in": 3600}
        if "json" in self.request.headers.get("Accept", "json"):
            self.write(answer)
        else:
            self.set_header("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
            self.write(urlencode(answer))


class Bearer(Handler):
    #: Where the token must be.
    where: ClassVar[str] = "query"

    def prepare(self) -> None:
        super().prepare()
        if self._finished:
            return
        in_query = self.get_query_argument("access_token", None)
        scheme, _, in_field = self.request.headers.get("Authorization", "").partition(" ")
        if self.where == "query":
            assert not in_field
            token = in_query
        else:
            assert in_query is None
            token = in_field if scheme == "Bearer" else None
        if token not in self.provider.tokens:
            self.refuse(401, "invalid_token")


class UserInfo(Bearer):
    def get(self) -> None:
        self.write({**USER, "alt": self.get_argument("alt", None)})

    def post(self) -> None:
        self.write({"posted": self.get_body_argument("text")})


class FacebookMe(Bearer):
    def get(self) -> None:
        token = self.get_argument("access_token")
        proof = hmac.new(CLIENT_SECRET.encode(), token.encode(), "sha256").hexdigest()
        if self.get_argument("appsecret_proof") != proof:
            self.refuse(400, "bad_proof")
            return
        self.write({name: USER[name] for name in self.get_argument("fields").split(",") if name in USER})


class GitHubUser(Bearer):
    where = "header"

    def get(self) -> None:
        assert self.request.headers["User-Agent"]
        self.write(USER)


class GitHubEmails(Bearer):
    where = "header"

    def get(self) -> None:
        if self.provider.emails is None:
            self.refuse(404, "not_found")
        else:
            self.finish(json.dumps(self.provider.emails))


class GitHubNotes(Bearer):
    where = "header"

    def get(self) -> None:
        self.write({"page": self.get_argument("page")})

    def post(self) -> None:
        self.write({"posted": json.loads(self.request.body)})


# --- OAuth 1 ---


class Validator(RequestValidator):
    """What oauthlib asks of a server about its tokens."""

    enforce_ssl = False
    client_key_length = (1, 60)
    request_token_length = access_token_length = verifier_length = (1, 60)
    nonce_length = (20, 60)
    safe_characters = set(map(chr, range(32, 127)))
    dummy_client = dummy_request_token = dummy_access_token = "dummy"

    def __init__(self, provider: Provider) -> None:
        self.provider = provider

    def validate_client_key(self, client_key: str, request: Any) -> bool:
        return client_key == CLIENT_ID

    def get_client_secret(self, client_key: str, request: Any) -> str:
        return CLIENT_SECRET

    def validate_request_token(self, client_key: str, token: str, request: Any) -> bool:
        return token in self.provider.request_tokens

    def validate_access_token(self, client_key: str, token: str, request: Any) -> bool:
        return token in self.provider.access_tokens

    def get_request_token_secret(self, client_key: str, token: str, request: Any) -> str:
        return self.provider.request_tokens.get(token, {}).get("oauth_token_secret", "")

    def get_access_token_secret(self, client_key: str, token: str, request: Any) -> str:
        return self.provider.access_tokens.get(token, {}).get("oauth_token_secret", "")

    def validate_timestamp_and_nonce(
        self,
        client_key: str,
        timestamp: str,
        nonce: str,
        request: Any,
        request_token: str | None = None,
        access_token: str | None = None,
    ) -> bool:
        fresh = (timestamp, nonce) not in self.provider.nonces and abs(time.time() - int(timestamp)) < 60
        self.provider.nonces.add((timestamp, nonce))
        return fresh

    def validate_redirect_uri(self, client_key: str, redirect_uri: str, request: Any) -> bool:
        return redirect_uri == "oob" or redirect_uri.startswith("http://127.0.0.1:")

    def validate_requested_realms(self, client_key: str, realms: Any, request: Any) -> bool:
        return True

    def validate_realms(self, *args: Any, **kwargs: Any) -> bool:
        return True

    def get_default_realms(self, client_key: str, request: Any) -> list[str]:
        return []

    def get_realms(self, token: str, request: Any) -> list[str]:
        return []

    def validate_verifier(self, client_key: str, token: str, verifier: str, request: Any) -> bool:
        return self.provider.request_tokens.get(token, {}).get("verifier") == verifier

    def save_request_token(self, token: dict[str, str], request: Any) -> None:
        self.provider.request_tokens[token["oauth_token"]] = {**token, "callback": request.redirect_uri}
        self.provider.secrets.add(token["oauth_token_secret"])

    def save_access_token(self, token: dict[str, str], request: Any) -> None:
        self.provider.access_tokens[token["oauth_token"]] = token
        self.provider.secrets |= {token["oauth_token"], token["oauth_token_secret"]}

    def invalidate_request_token(self, client_key: str, request_token: str, request: Any) -> None:
        del self.provider.request_tokens[request_token]


def collected(seen: dict[str, Any], query: str) -> list[tuple[str, str]]:
    """All parameters of a request that are signed, and the signature."""
    return oauthlib_signature.collect_parameters(
        uri_query=query, body=seen["body"] or [], headers=seen["headers"], exclude_oauth_signature=False
    )


class Signed(Handler):
    def seen(self) -> dict[str, Any]:
        """The request as oauthlib wants it."""
        request = self.request
        fields = {
            name: request.headers[name]
            for name in ("Authorization", "Content-Type")
            if name in request.headers
        }
        return {
            "uri": request.full_url(),
            "http_method": request.method,
            "body": request.body.decode() or None,
            "headers": fields,
        }

    def give(self, answer: tuple[Any, str, int]) -> None:
        fields, body, status = answer
        for name, value in fields.items():
            self.set_header(name, value)
        self.set_status(status)
        self.finish(body or "")

    def signed_by(self, token_secret: str) -> bool:
        """The check for the version that oauthlib does not know any more, over its functions for signatures."""
        seen = self.seen()
        pairs = collected(seen, self.request.query)
        found = dict(pairs)
        text = oauthlib_signature.signature_base_string(
            seen["http_method"],
            oauthlib_signature.base_string_uri(seen["uri"]),
            oauthlib_signature.normalize_parameters([pair for pair in pairs if pair[0] != "oauth_signature"]),
        )
        key = "&".join(map(oauthlib_signature.utils.escape, (CLIENT_SECRET, token_secret)))
        wanted = base64.b64encode(hmac.digest(key.encode(), text.encode(), "sha1")).decode()
        assert "oauth_verifier" not in found
        return found["oauth_signature"] == wanted


class Request1(Signed):
    def get(self, version: str) -> None:
        if version == "1.0":
            if not self.signed_by(""):
                self.set_status(401)
                return
            token = {"oauth_token": self.provider.secret(), "oauth_token_secret": self.provider.secret()}
            self.provider.request_tokens[token["oauth_token"]] = token
            self.write(urlencode(token))
            return
        server = WebApplicationServer(Validator(self.provider))
        self.give(server.create_request_token_response(**self.seen()))

    post = get


class Authorize1(Handler):
    def get(self, version: str) -> None:
        key = self.get_argument("oauth_token")
        token = self.provider.request_tokens[key]
        callback = self.get_argument("oauth_callback", None) if version == "1.0" else token["callback"]
        if self.provider.denying:
            self.redirect(url_concat(callback, {"denied": key}))
            return
        answer = {"oauth_token": key}
        if version == "1.0a":
            answer["oauth_verifier"] = token["verifier"] = self.provider.secret()
        if callback == "oob":
            self.finish(f"code: {token['verifier']}")
        else:
            self.redirect(url_concat(callback, answer))


class Access1(Signed):
    def get(self, version: str) -> None:
        if version == "1.0":
            pairs = collected(self.seen(), self.request.query)
            key = dict(pairs)["oauth_token"]
            token = self.provider.request_tokens.pop(key)
            if not self.signed_by(token["oauth_token_secret"]):
                self.set_status(401)
                return
            access = {"oauth_token": self.provider.secret(), "oauth_token_secret": self.provider.secret()}
            self.provider.access_tokens[access["oauth_token"]] = access
            self.write(urlencode({**access, "user_id": "7"}))
            return
        server = WebApplicationServer(Validator(self.provider))
        self.give(server.create_access_token_response(**self.seen(), credentials={"user_id": "7"}))

    post = get


class Protected1(Signed):
    def get(self, path: str) -> None:
        server = WebApplicationServer(Validator(self.provider))
        valid, _ = server.validate_protected_resource_request(**self.seen())
        if not valid:
            self.refuse(401, "not signed")
            return
        if path == "account/verify_credentials":
            self.write(USER)
        else:
            names = [name for name in self.request.arguments if not name.startswith("oauth_")]
            self.write({name: self.get_argument(name, strip=False) for name in names})

    post = get


# --- OpenID ---


class OpenId(Handler):
    """An OpenID 2.0 provider without associations: it is asked for each of its answers (section 11.4.2)."""

    def get(self) -> None:
        asked = {name: self.get_argument(name) for name in self.request.arguments}
        if self.provider.denying:
            self.redirect(
                url_concat(
                    asked["openid.return_to"], {"openid.ns": asked["openid.ns"], "openid.mode": "cancel"}
                )
            )
            return
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        answer = {
            "ns": "http://specs.openid.net/auth/2.0",
            "mode": "id_res",
            "op_endpoint": f"{self.provider.url}/openid",
            "claimed_id": f"{self.provider.url}/id/ada",
            "identity": f"{self.provider.url}/id/ada",
            "return_to": asked["openid.return_to"],
            "response_nonce": now + secrets.token_hex(4),
            "assoc_handle": "private",
            "ns.ext1": "http://openid.net/srv/ax/1.0",
            "ext1.mode": "fetch_response",
        }
        values = {"email": "ada@example.org", "firstname": "Ada", "lastname": "Lovelace", "language": "en-GB"}
        for alias in asked.get("openid.ax.required", "").split(","):
            if alias in values:
                answer[f"ext1.type.a_{alias}"] = asked[f"openid.ax.type.{alias}"]
                answer[f"ext1.value.a_{alias}"] = values[alias]
        answer |= self.provider.assert_also
        answer["signed"] = ",".join(name for name in answer if name not in ("mode", "ns"))
        answer["sig"] = self.sign(answer)
        for name, value in self.provider.tamper.items():
            if value is None:
                answer.pop(name, None)
            else:
                answer[name] = value
        self.redirect(
            url_concat(answer["return_to"], {f"openid.{name}": value for name, value in answer.items()})
        )

    def post(self) -> None:
        asked = {
            name.removeprefix("openid."): value
            for name, value in parse_qsl(self.request.body.decode(), keep_blank_values=True)
        }
        valid = asked["mode"] == "check_authentication" and asked.get("sig") == self.sign(
            {**asked, "mode": "id_res"}
        )
        if self.provider.checked is not None:
            valid = valid and asked["response_nonce"] not in self.provider.checked
            self.provider.checked.add(asked["response_nonce"])
        self.write(f"ns:http://specs.openid.net/auth/2.0\nis_valid:{'true' if valid else 'false'}\n")

    def sign(self, answer: dict[str, str]) -> str:
        text = "".join(f"{name}:{answer.get(name, '')}\n" for name in answer["signed"].split(","))
        return base64.b64encode(hmac.digest(self.provider.association, text.encode(), "sha1")).decode()
