from http.cookies import SimpleCookie
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webfw.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine
from webfw.web.arguments import Arguments
from webfw.web.cookies import Cookies
from webfw.web.errors import HTTPError
from webfw.web.identity import Identity
from webfw.web.xsrf import Xsrf, decode_token, encode_token, is_origin_of, mask_token

TOKEN = bytes.fromhex("0123456789abcdef0123456789abcdef")
V1 = TOKEN.hex()
# Two that Tornado 6.6.1 accepts for that token.
V2 = "2|01020304|0021466388a9ceeb0021466388a9ceeb|1300000000"
V2_OTHER = "2|05020304|042146638ca9ceeb042146638ca9ceeb|1400000000"


class Handler(Xsrf, Arguments, Cookies, Identity):
    def __init__(self, method: str = "POST", uri: str = "/", form: str = "", **settings: Any) -> None:
        self.headers = HTTPHeaders({"Host": "ex.com", "Content-Type": "application/x-www-form-urlencoded"})
        self.request = HTTPServerRequest(
            start_line=RequestStartLine(method, uri, "HTTP/1.1"), headers=self.headers, body=form.encode()
        )
        self.application = SimpleNamespace(settings=settings)  # type: ignore[assignment]

    def having(self, cookie: str | None = None, **fields: str) -> "Handler":
        if cookie is not None:
            self.headers["Cookie"] = f"{self._xsrf_cookie_name()}={cookie}"
        for name, value in fields.items():
            self.headers[name.replace("_", "-")] = value
        return self


# --- tokens ---


@given(st.binary(min_size=1, max_size=8), st.binary(max_size=40))
def test_mask(mask: bytes, token: bytes) -> None:
    masked = mask_token(mask, token)
    assert masked == bytes(byte ^ mask[index % len(mask)] for index, byte in enumerate(token))
    assert mask_token(mask, masked) == token


def test_forms_of_a_token() -> None:
    assert decode_token(V2) == (2, TOKEN, 1300000000)
    assert decode_token(V2_OTHER) == (2, TOKEN, 1400000000)
    version, token, timestamp = decode_token(V1) or (0, b"", 0)
    assert (version, token) == (1, TOKEN)
    assert timestamp > 1700000000
    assert encode_token(TOKEN, 5, 1) == V1.encode()
    masked = {encode_token(TOKEN, 1300000000.7, 2).decode() for _ in range(5)}
    assert len(masked) == 5
    assert {decode_token(value) for value in masked} == {(2, TOKEN, 1300000000)}
    own = decode_token("zz")
    assert own is not None
    assert own[:2] == (1, b"zz")
    with pytest.raises(ValueError, match="unknown xsrf cookie version 3"):
        encode_token(TOKEN, 5, 3)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "2|bad|x|y",
        "3|x",
        "2|00|00|1",
        "2||" + V1 + "|1",
        "2|01020304||1",
        V2[:-10] + "abc",
        V2.rpartition("|")[0],
        "2|0102|" + V1 + "|1",
        "2|01020304|aab|1",
        "2|01020304|" + "00" * 1000 + "|1",
        "x" * 1000,
        V2 + "|",
        V2 + "\n",
    ],
)
def test_malformed_tokens(value: str) -> None:
    assert decode_token(value) is None


# --- the cookie ---


def test_new_token_sets_the_cookie() -> None:
    one = Handler("GET")
    token = one.xsrf_token
    assert one.xsrf_token is token
    assert one._new_cookie is not None
    assert one._new_cookie["_xsrf"].OutputString().endswith("; Path=/")
    assert one._new_cookie["_xsrf"].value == token.decode()
    assert one._new_cookie["_xsrf"]["expires"] == ""
    assert one.xsrf_form_html() == f'<input type="hidden" name="_xsrf" value="{token.decode()}"/>'
    back = SimpleCookie(one._new_cookie["_xsrf"].OutputString())["_xsrf"].value
    Handler().having(back, X_XSRFToken=token.decode()).check_xsrf_cookie()


def test_users_cookie_lives_longer() -> None:
    one = Handler("GET")
    one.current_user = "me"
    assert one.xsrf_token
    assert one._new_cookie is not None
    assert one._new_cookie["_xsrf"]["expires"]


@pytest.mark.parametrize("cookie", [V1, V2])
def test_token_of_a_cookie_is_masked_anew(cookie: str) -> None:
    tokens = {Handler("GET").having(cookie).xsrf_token for _ in range(3)}
    assert len(tokens) == 3
    for token in tokens:
        decoded = decode_token(token.decode())
        assert decoded is not None
        assert decoded[1] == TOKEN
        assert cookie == V1 or decoded[2] == 1300000000
    one = Handler("GET").having(cookie)
    assert one.xsrf_token
    assert one._new_cookie is None


def test_settings_of_the_cookie() -> None:
    attributes = {"httponly": True, "samesite": "Strict", "expires_days": None}
    one = Handler("GET", xsrf_cookie_name="foo", xsrf_cookie_kwargs=attributes, xsrf_cookie_version=1)
    one.current_user = "me"
    token = one.xsrf_token.decode()
    assert one._new_cookie is not None
    assert one._new_cookie["foo"].OutputString() == f"foo={token}; HttpOnly; Path=/; SameSite=Strict"
    assert len(token) == 32
    assert "expires_days" in attributes


# --- the check ---


@pytest.mark.parametrize(
    ("cookie", "uri", "form", "fields"),
    [
        (V2, "/", "_xsrf=" + V2_OTHER, {}),
        (V2, "/?_xsrf=" + V2_OTHER, "", {}),
        (V2, "/", "", {"X_XSRFToken": V2_OTHER}),
        (V2, "/", "", {"X_CSRFToken": V2_OTHER}),
        (V2, "/", "_xsrf=", {"X_CSRFToken": V2_OTHER}),
        (V2, "/", "", {"X_XSRFToken": V1}),
        (V1, "/", "", {"X_XSRFToken": V2}),
        (V1, "/", "", {"X_XSRFToken": V1.upper()}),
        ("zz", "/", "", {"X_XSRFToken": "zz"}),
    ],
)
def test_matching_token(cookie: str, uri: str, form: str, fields: dict[str, str]) -> None:
    Handler("POST", uri, form).having(cookie, **fields).check_xsrf_cookie()


@pytest.mark.parametrize(
    ("cookie", "sent", "message"),
    [
        (V2, None, "'_xsrf' argument missing from POST"),
        (None, None, "'_xsrf' argument missing from POST"),
        ("", "", "'_xsrf' argument missing from POST"),
        (V2, "2|bad", "'_xsrf' argument has invalid format"),
        (V2, "3|x", "'_xsrf' argument has invalid format"),
        (V2, "bad", "XSRF cookie does not match POST argument"),
        (V2, "2|01020304|aabb|1300000000", "XSRF cookie does not match POST argument"),
        (None, V2, "XSRF cookie does not match POST argument"),
        ("2|bad", V2, "XSRF cookie does not match POST argument"),
        ("2|bad", "2|bad", "'_xsrf' argument has invalid format"),
    ],
)
def test_forged_request(cookie: str | None, sent: str | None, message: str) -> None:
    one = Handler().having(cookie, **({} if sent is None else {"X_XSRFToken": sent}))
    with pytest.raises(HTTPError, match=message) as caught:
        one.check_xsrf_cookie()
    assert caught.value.status_code == 403


# --- where a request comes from ---

TRUSTED = "http://ok.com"


@pytest.mark.parametrize(
    ("fields", "passes"),
    [
        ({}, True),
        ({"Origin": "http://ex.com"}, True),
        ({"Origin": "http://EX.com"}, True),
        ({"Origin": "https://ex.com"}, True),
        ({"Origin": "http://ex.com:80"}, False),
        ({"Origin": "http://ex.com:8080"}, False),
        ({"Origin": "http://ex.com:8080", "Host": "ex.com:8080"}, True),
        ({"Origin": "http://evil.com"}, False),
        ({"Origin": "http://a.ex.com"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "garbage"}, False),
        ({"Origin": "http://[::1"}, False),
        ({"Origin": ""}, False),
        ({"Origin": TRUSTED}, True),
        ({"Origin": "http://OK.com"}, False),
        ({"Origin": TRUSTED + "/"}, False),
        ({"Origin": "http://ex.com, http://evil.com"}, False),
        ({"Origin": "http://ex.com@evil.com"}, False),
        ({"Sec_Fetch_Site": "same-origin", "Origin": "http://evil.com"}, True),
        ({"Sec_Fetch_Site": "none"}, True),
        ({"Sec_Fetch_Site": "same-site"}, False),
        ({"Sec_Fetch_Site": "cross-site"}, False),
        ({"Sec_Fetch_Site": "cross-site", "Origin": TRUSTED}, True),
        ({"Sec_Fetch_Site": "cross-site", "Origin": "http://ex.com"}, False),
        ({"Sec_Fetch_Site": "same-site", "Origin": "http://ex.com"}, False),
        ({"Sec_Fetch_Site": "SAME-ORIGIN"}, False),
        ({"Sec_Fetch_Site": ""}, False),
    ],
)
def test_origin(fields: dict[str, str], passes: bool) -> None:
    one = Handler("POST", trusted_origins=[TRUSTED])
    one.having(**fields)
    one.request.host = one.headers["Host"]
    if passes:
        one.check_cross_origin()
        return
    with pytest.raises(HTTPError, match="not allowed") as caught:
        one.check_cross_origin()
    assert caught.value.status_code == 403
    for method in ("GET", "HEAD", "OPTIONS"):
        Handler(method).having(**fields).check_cross_origin()


@pytest.mark.parametrize(
    ("trusted", "answer"),
    [
        (None, False),
        ([], False),
        ([TRUSTED], True),
        ({TRUSTED}, True),
        (TRUSTED, True),
        (TRUSTED + ".evil", False),
        (["*"], False),
    ],
)
def test_trusted_origins(trusted: Any, answer: bool) -> None:
    assert Handler(trusted_origins=trusted).check_trusted_origin(TRUSTED) is answer


def test_own_decision_is_asked_only_where_it_counts() -> None:
    asked: list[str] = []

    class Open(Handler):
        def check_trusted_origin(self, origin: str) -> bool:
            asked.append(origin)
            return True

    for fields in ({}, {"Origin": "https://ex.com"}, {"Sec_Fetch_Site": "same-origin", "Origin": "x"}):
        Open().having(**fields).check_cross_origin()
    assert asked == []
    Open().having(Origin="http://a").check_cross_origin()
    Open().having(Sec_Fetch_Site="cross-site", Origin="http://b").check_cross_origin()
    assert asked == ["http://a", "http://b"]
    with pytest.raises(HTTPError, match="Sec-Fetch-Site cross-site & origin None not allowed"):
        Open().having(Sec_Fetch_Site="cross-site").check_cross_origin()


def test_is_origin_of() -> None:
    assert is_origin_of("http://ex.com:8080", "EX.com:8080")
    assert not is_origin_of("ftp://ex.com", "ex.com")
    assert not is_origin_of("http://", "")
