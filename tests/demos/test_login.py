"""The site and its provider as a browser meets them, and as attackers would."""

import html
import http.client
import json
import re
import urllib.parse
from collections.abc import Callable
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import pytest

from demos.login.pages import local_path

ROOT = Path(__file__).resolve().parents[2]


class Answer(NamedTuple):
    status: int
    headers: Any
    text: str
    path: str

    def location(self) -> str:
        return self.headers["Location"]


class Browser:
    """Keeps cookies by path and follows redirects."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.jar: dict[tuple[str, str], str] = {}

    def fetch(self, path: str, method: str = "GET", body: str | None = None, **headers: str) -> Answer:
        path = urljoin(self.url + "/", path)
        parts = urlsplit(path)
        assert path.startswith(self.url), "the demo must not lead elsewhere"
        target = path.removeprefix(self.url)
        cookies = [
            f"{name}={value}" for (where, name), value in self.jar.items() if parts.path.startswith(where)
        ]
        fields = {**({"Cookie": "; ".join(cookies)} if cookies else {}), **headers}
        if body is not None:
            fields.setdefault("Content-Type", "application/x-www-form-urlencoded")
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
        connection.request(method, target, body, fields)
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        for line in response.headers.get_all("Set-Cookie", []):
            for name, morsel in SimpleCookie(line).items():
                if not morsel.value:
                    self.jar.pop((morsel["path"], name), None)
                else:
                    self.jar[morsel["path"], name] = morsel.coded_value
        return Answer(response.status, response.headers, text, target)

    def follow(self, answer: Answer) -> Answer:
        while answer.status in (302, 303):
            answer = self.fetch(answer.location())
        return answer

    def choose(self, page: Answer, person: str) -> Answer:
        """Press a button of the provider's page; the answer is not followed."""
        assert "Example ID" in page.text
        action = html.unescape(re.findall(r'action="([^"]+)"', page.text)[0])
        token = re.findall(r'name="_xsrf" value="([^"]+)"', page.text)[0]
        return self.fetch(action, "POST", urlencode({"_xsrf": token, "person": person}))

    def log_in(self, person: str, path: str = "/login") -> Answer:
        return self.follow(self.choose(self.follow(self.fetch(path)), person))


@pytest.fixture(scope="module")
def url(webfw_module_command: Callable[..., Any]) -> str:
    return webfw_module_command(
        *("serve", "demos.login:app", "--app-dir", str(ROOT)),
        *("--bind", "127.0.0.1:0", "--log-level", "error"),
    ).url()


@pytest.fixture
def browser(url: str) -> Browser:
    return Browser(url)


def test_a_visit(browser: Browser) -> None:
    assert "Log in with Example ID" in browser.fetch("/").text
    page = browser.log_in("ada")
    assert page.path == "/"
    assert "Hello, Ada Lovelace" in page.text
    assert {name for _, name in browser.jar} == {"user", "_xsrf"}
    assert "today Ada Lovelace logged in" in browser.fetch("/diary").text
    token = re.findall(r'name="_xsrf" value="([^"]+)"', page.text)[0]
    assert browser.fetch("/logout", "POST").status == 403
    assert browser.follow(browser.fetch("/logout", "POST", urlencode({"_xsrf": token}))).path == "/"
    assert "Log in with Example ID" in browser.fetch("/").text


def test_back_to_the_page_that_was_asked_for(browser: Browser) -> None:
    page = browser.log_in("grace", "/diary?day=monday")
    assert page.path == "/diary?day=monday"
    assert "monday Grace Hopper logged in" in page.text


@pytest.mark.parametrize(
    "elsewhere", ["//evil.example", "https://evil.example", "/\\evil.example", "/\t/evil"]
)
def test_a_login_never_leads_elsewhere(browser: Browser, elsewhere: str) -> None:
    page = browser.log_in("alan", "/login?" + urlencode({"next": elsewhere}))
    assert page.path == "/"


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("/", "/"),
        ("/a?b=c%20d#e", "/a?b=c%20d#e"),
        ("", "/"),
        ("a", "/"),
        ("//h", "/"),
        ("/\\h", "/"),
        ("/é", "/"),
        ("/" + "x" * 2000, "/"),
    ],
)
def test_local_paths(path: str, kept: str) -> None:
    assert local_path(path) == kept


def test_the_visitor_declines(browser: Browser) -> None:
    page = browser.log_in("")
    assert page.status == 403
    assert "You declined." in page.text
    assert "user" not in {name for _, name in browser.jar}


def test_another_browser_is_not_logged_in(browser: Browser, url: str) -> None:
    back = browser.choose(browser.follow(browser.fetch("/login")), "ada").location()
    other = Browser(url)
    page = other.fetch(back)
    assert page.status == 403
    assert "was begun in this browser" in html.unescape(page.text)
    assert other.jar == {}


def test_a_code_is_good_once(browser: Browser) -> None:
    back = browser.choose(browser.follow(browser.fetch("/login")), "ada").location()
    jar = dict(browser.jar)
    assert browser.fetch(back).status == 303
    browser.jar = jar
    page = browser.fetch(back)
    assert page.status == 403
    assert "invalid_grant" in page.text
    assert parse_qs(urlsplit(back).query)["code"][0] not in page.text


def test_a_made_up_answer(browser: Browser) -> None:
    for query in ("", "?code=x", "?code=x&state=y", "?error=access_denied"):
        page = browser.fetch(f"/login/callback{query}")
        assert page.status == 403
        assert "Traceback" not in page.text


@pytest.mark.parametrize(
    ("change", "status", "text"),
    [
        ({"client_id": "other"}, 400, "No such application"),
        ({"redirect_uri": "https://evil.example/"}, 400, "This address is not registered"),
        ({"redirect_uri": ""}, 400, "This address is not registered"),
        ({"response_type": "token"}, 303, "unsupported_response_type"),
        ({"code_challenge_method": "plain"}, 303, "invalid_request"),
        ({"code_challenge": ""}, 303, "invalid_request"),
    ],
)
def test_what_the_provider_refuses(browser: Browser, change: dict[str, str], status: int, text: str) -> None:
    location = browser.fetch("/login").location()
    asked = {name: value for name, (value,) in parse_qs(urlsplit(location).query).items()}
    answer = browser.fetch("/example-id/authorize?" + urlencode({**asked, **change}))
    assert answer.status == status
    assert text in (answer.location() if status == 303 else answer.text)


def test_the_choice_needs_the_providers_own_form(browser: Browser) -> None:
    page = browser.follow(browser.fetch("/login"))
    action = html.unescape(re.findall(r'action="([^"]+)"', page.text)[0])
    assert browser.fetch(action, "POST", urlencode({"person": "ada"})).status == 403


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({}, 401, "invalid_client"),
        ({"client_id": "demo-site", "client_secret": "guess"}, 401, "invalid_client"),
    ],
)
def test_the_token_endpoint(browser: Browser, form: dict[str, str], status: int, error: str) -> None:
    answer = browser.fetch("/example-id/token", "POST", urlencode(form))
    assert (answer.status, json.loads(answer.text)) == (status, {"error": error})


@pytest.mark.parametrize("field", ["", "Bearer", "Bearer x", "Basic eDp5"])
def test_userinfo_is_for_bearers(browser: Browser, field: str) -> None:
    answer = browser.fetch("/example-id/userinfo", Authorization=field)
    assert (answer.status, json.loads(answer.text)) == (401, {"error": "invalid_token"})


def test_only_this_machine(browser: Browser) -> None:
    """The site would send its secret to whatever host a request names."""
    assert browser.fetch("/", Host="evil.example").status == 200
    for host in ("evil.example", "127.0.0.1.evil.example", "[::1", "127.0.0.1@evil.example"):
        assert browser.fetch("/login", Host=host).status == 400, host
        assert browser.fetch("/login/callback?code=x&state=y", Host=host).status == 400, host


def test_pages_are_not_kept(browser: Browser) -> None:
    headers = browser.fetch("/").headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "same-origin"
    assert "default-src 'self'" in headers["Content-Security-Policy"]


def test_nothing_here_but_an_error_page(browser: Browser) -> None:
    page = browser.fetch("/" + urllib.parse.quote("nowhere"))
    assert page.status == 404
    assert "That did not work" in page.text
