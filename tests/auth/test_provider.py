import io
from typing import Any

import pytest

from webfw.auth import AuthError, AuthHTTPError
from webfw.auth.provider import ask, denial, host_of, read_form, read_json, report
from webfw.httpclient import (
    HTTPClientError,
    HTTPRequest,
    HTTPResponse,
    HTTPStreamClosedError,
    HTTPTimeoutError,
)

URL = "https://provider.example/token?access_token=hush"


def response(body: bytes, code: int = 200) -> HTTPResponse:
    return HTTPResponse(HTTPRequest(URL), code, buffer=io.BytesIO(body))


class Client:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    async def fetch(self, url: str, **options: Any) -> HTTPResponse:
        assert (url, options) == (URL, {"method": "GET"})
        raise self.error


@pytest.mark.parametrize(
    ("error", "text", "code"),
    [
        (
            HTTPTimeoutError(f"Timeout during request of {URL}"),
            "provider.example did not give it in time",
            599,
        ),
        (HTTPStreamClosedError(f"closed: {URL}"), "there is no connection or no whole response", 599),
        (HTTPClientError(599, URL), "there is no connection or no whole response", 599),
        (
            ConnectionRefusedError(111, "Connection refused"),
            "did not give it: Connection refused",
            599,
        ),
        (OSError(f"odd: {URL}"), "provider.example did not give it: OSError", 599),
        (TimeoutError(), "did not give it: TimeoutError", 599),
        (HTTPClientError(503, response=response(b"<h1>hush", 503)), "provider.example answered 503", 503),
        (
            HTTPClientError(
                400, response=response(b'{"error": "invalid_grant", "error_description": "hush"}', 400)
            ),
            "answered 400 when asked for it: invalid_grant",
            400,
        ),
        (HTTPClientError(400, response=response(b"error=slow_down", 400)), "asked for it: slow_down", 400),
        (HTTPClientError(400, response=response(b"[1]", 400)), "asked for it", 400),
        (HTTPClientError(400, response=response(b"[" * 100_000, 400)), "asked for it", 400),
        (HTTPClientError(400, response=response(b'{"error": "a\\nhush"}', 400)), "asked for it", 400),
        (HTTPClientError(400, response=response(b'{"error": {"hush": 1}}', 400)), "asked for it", 400),
        (HTTPClientError(400, response=response(b'{"error": "<b>hush"}', 400)), "asked for it", 400),
    ],
)
async def test_what_goes_wrong_is_said_without_the_address(
    error: BaseException, text: str, code: int
) -> None:
    with pytest.raises(AuthHTTPError) as caught:
        await ask(Client(error), URL, "it", method="GET")  # type: ignore[arg-type]
    assert text in str(caught.value)
    assert "hush" not in str(caught.value)
    assert caught.value.code == code
    assert caught.value.host == "provider.example"
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


async def test_the_description_is_kept_apart() -> None:
    error = HTTPClientError(
        400, response=response(b'{"error": "e", "error_description": "' + b"x" * 600 + b'"}', 400)
    )
    with pytest.raises(AuthHTTPError) as caught:
        await ask(Client(error), URL, "it", method="GET")  # type: ignore[arg-type]
    assert caught.value.error == "e"
    assert caught.value.error_description == "x" * 500
    assert caught.value.response is error.response


async def test_mistakes_of_ours_are_not_hidden() -> None:
    with pytest.raises(ValueError, match="bad"):
        await ask(Client(ValueError("bad")), URL, "it", method="GET")  # type: ignore[arg-type]


def test_json() -> None:
    assert read_json(response(b"[1]"), URL, "it") == [1]
    for body in (b"<h1>hush</h1>", b"", b"\xff\xfe", b"[" * 100_000):
        with pytest.raises(AuthError, match=r"^provider\.example gave it in a form that is no JSON$"):
            read_json(response(body), URL, "it")


def test_forms() -> None:
    assert read_form(response(b"a=1&b=&c=%20+\n"), URL, "it") == {"a": "1", "b": "", "c": "  "}
    for body in (b"<h1>", b"a", b"a=1&a=2", b"a=%ff", b"\xff=1", b"a=1&" * 200):
        with pytest.raises(AuthError, match=r"^provider\.example gave it in a form that is not application"):
            read_form(response(body), URL, "it")


def test_reports() -> None:
    assert report({}) == (None, None)
    assert report({"error": "x" * 65, "error_description": 7}) == (None, None)
    assert report({"oauth_problem": "nonce_used"}) == ("nonce_used", None)
    assert str(denial("h", {"error": "access_denied"})) == "no login by h: the user declined"
    assert str(denial("h", {"error": "server_error"})) == "no login by h: it reports server_error"
    unknown = denial("h", {"error": "<script>"})
    assert (str(unknown), unknown.error) == ("no login by h: it reports an error", "unknown")


def test_hosts() -> None:
    assert host_of(URL) == "provider.example"
    assert host_of("/path") == "the provider"
