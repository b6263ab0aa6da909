from typing import Any

import pytest

from webfw.httputil import HTTPServerRequest, RequestStartLine
from webfw.web import Application, HTTPError, RequestHandler


def make(kind: type[RequestHandler], **kwargs: Any) -> RequestHandler:
    return kind(
        Application(), HTTPServerRequest(start_line=RequestStartLine("GET", "/", "HTTP/1.0")), **kwargs
    )


def test_it_begins_with_what_the_route_gives() -> None:
    class Given(RequestHandler):
        def initialize(self, database: str, *, limit: int = 5) -> None:
            self.given = database, limit

    assert make(Given, database="d").given == ("d", 5)  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="database"):
        make(Given)
    with pytest.raises(TypeError, match="unknown"):
        make(RequestHandler, unknown=1)


def test_it_begins_with_an_empty_answer() -> None:
    handler = make(RequestHandler)
    assert handler.get_status() == 200
    assert handler._reason == "OK"
    assert handler._write_buffer == []
    assert list(handler._headers) == ["Server", "Content-Type", "Date"]
    assert (handler.path_args, handler.path_kwargs) == ([], {})
    assert handler.settings is handler.application.settings


def test_two_handlers_share_no_answer() -> None:
    one, other = make(RequestHandler), make(RequestHandler)
    one.set_header("X-One", "1")
    one.write("one")
    one.set_status(404)
    one.set_cookie("a", "b")
    assert "X-One" not in other._headers
    assert other._write_buffer == []
    assert other.get_status() == 200
    assert other._new_cookie is None


async def test_a_constructor_of_ones_own(site: Any) -> None:
    class Own(RequestHandler):
        def __init__(self, application: Application, request: HTTPServerRequest, **kwargs: Any) -> None:
            super().__init__(application, request, **kwargs)
            self.own = "mine"

        def get(self) -> None:
            self.write(self.own)

    assert (await site(Own).ask()).body == b"mine"


class FailsInInit(RequestHandler):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise ValueError("SECRET")


class FailsInInitialize(RequestHandler):
    def initialize(self) -> None:
        raise HTTPError(418, "SECRET")


class FailsInDefaults(RequestHandler):
    def set_default_headers(self) -> None:
        raise ValueError("SECRET")


@pytest.mark.parametrize("kind", [FailsInInit, FailsInInitialize, FailsInDefaults])
@pytest.mark.parametrize("body", [None, b"body"])
@pytest.mark.parametrize("streams", [False, True])
async def test_a_handler_that_cannot_be_made_is_answered_500(
    site: Any, expect_log: Any, kind: type[RequestHandler], body: bytes | None, streams: bool
) -> None:
    one = site(type("Streams", (kind,), {"_stream_request_body": streams}), serve_traceback=True)
    with expect_log("webfw", "Uncaught exception", count=1):
        answer = await one.ask(method="POST", body=body)
    assert answer.status == 500
    assert b"SECRET" not in answer.body
    assert answer.headers["Connection"] == "close"
