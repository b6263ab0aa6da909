"""Tests of webfw.httpclient.command."""

import asyncio
import io
import sys
from collections.abc import Callable

import pytest

from webfw.httpclient import AsyncHTTPClient, HTTPClient, HTTPRequest, HTTPResponse, command, main
from webfw.httputil import HTTPHeaders
from webfw.options import OptionParser


class Echo(AsyncHTTPClient):
    """Answers with the status of the path, and what it was asked."""

    def fetch_impl(self, request: HTTPRequest, callback: Callable[[HTTPResponse], None]) -> None:
        code = int(request.url.rpartition("/")[2])
        text = f"{request.follow_redirects} {request.validate_cert} {request.proxy_host} {request.proxy_port}"
        error = OSError("no way there") if code == 599 else None
        response = HTTPResponse(
            request, code, HTTPHeaders({"A": "b"}), buffer=io.BytesIO(text.encode()), error=error
        )
        asyncio.get_running_loop().call_soon(callback, response)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    parser = OptionParser()
    monkeypatch.setattr(command, "define", parser.define)
    monkeypatch.setattr(command, "options", parser)
    monkeypatch.setattr(command, "parse_command_line", parser.parse_command_line)
    monkeypatch.setattr(command, "HTTPClient", lambda: HTTPClient(Echo))

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["httpclient", *arguments])
        main()
        return capsys.readouterr().out

    return run


def test_bodies_are_printed(run: Callable[..., str]) -> None:
    assert run("http://a.test/200", "http://a.test/404") == "True True None None\n" * 2


def test_a_body_that_is_no_text(run: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HTTPResponse, "body", b"\x89PNG")
    assert run("http://a.test/200") == "\ufffdPNG\n"


def test_options(run: Callable[..., str]) -> None:
    printed = run(
        "--print_headers",
        "--print_body=false",
        "--follow_redirects=false",
        "--validate_cert=false",
        "http://a.test/302",
    )
    assert printed == "A: b\n\n"


def test_a_failure_is_raised(run: Callable[..., str]) -> None:
    with pytest.raises(OSError, match="no way"):
        run("--proxy_host=p", "--proxy_port=1", "http://a.test/599")
