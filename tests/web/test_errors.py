import copy
import logging
import pickle
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from webfw.httputil import HTTPHeaders, HTTPInputError, HTTPServerRequest, RequestStartLine, responses
from webfw.iostream import StreamClosedError
from webfw.pubsub import BrokerUnavailable
from webfw.sansio.errors import LocalProtocolError
from webfw.web.errors import Errors, Finish, HTTPError, MissingArgumentError

# --- exceptions ---


@pytest.mark.parametrize(
    ("error", "text", "message"),
    [
        (HTTPError(), "HTTP 500: Internal Server Error", None),
        (HTTPError(404), "HTTP 404: Not Found", None),
        (HTTPError(404, "x"), "HTTP 404: Not Found (x)", "x"),
        (HTTPError(404, "x %s", "y"), "HTTP 404: Not Found (x y)", "x y"),
        (HTTPError(404, "100%"), "HTTP 404: Not Found (100%)", "100%"),
        (HTTPError(404, "x %s"), "HTTP 404: Not Found (x %s)", "x %s"),
        (HTTPError(400, "a%%b %s", "z"), "HTTP 400: Bad Request (a%b z)", "a%b z"),
        (HTTPError(400, "%d", "a"), "HTTP 400: Bad Request (%d ('a',))", "%d ('a',)"),
        (HTTPError(400, "%s %s", "a"), "HTTP 400: Bad Request (%s %s ('a',))", "%s %s ('a',)"),
        (HTTPError(400, None, "a"), "HTTP 400: Bad Request", None),
        (HTTPError(404, "m", reason="R"), "HTTP 404: R (m)", "m"),
        (HTTPError(799), "HTTP 799: Unknown", None),
        (MissingArgumentError("foo"), "HTTP 400: Bad Request (Missing argument foo)", "Missing argument foo"),
    ],
)
def test_http_error(error: HTTPError, text: str, message: str | None) -> None:
    assert str(error) == text
    assert error.get_message() == message


def test_http_error_attributes() -> None:
    error = HTTPError(404, "x %s", "y", reason="R")
    assert (error.status_code, error.log_message, error.args, error.reason) == (404, "x %s", ("y",), "R")
    assert HTTPError(404, "100%").log_message == "100%%"
    assert HTTPError(404, "").log_message == ""
    assert MissingArgumentError("foo").arg_name == "foo"


@pytest.mark.parametrize("again", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
@pytest.mark.parametrize("error", [HTTPError(403, "%s", "x", reason="Go away"), MissingArgumentError("x")])
def test_http_error_is_copied_whole(again: Callable[[Any], Any], error: HTTPError) -> None:
    other = again(error)
    assert type(other) is type(error)
    assert other is not error
    assert (str(other), other.args, other.__dict__) == (str(error), error.args, error.__dict__)


# --- the chapter ---


class Connection:
    context = None

    def __init__(self) -> None:
        self.aborted = 0
        self.stream = SimpleNamespace(closing=False)

    def abort_response(self) -> None:
        self.aborted += 1


class Page(Errors):
    """A handler of this chapter, with as much of the others as it calls."""

    def __init__(self, headers: dict[str, str] | None = None, **settings: Any) -> None:
        self.connection = Connection()
        self.logged = 0
        self.application = SimpleNamespace(settings=settings, log_request=self.log)  # type: ignore[assignment]
        self.request = HTTPServerRequest(
            start_line=RequestStartLine("GET", "/p?q", "HTTP/1.1"),
            headers=HTTPHeaders({"Host": "h", **(headers or {})}),
            connection=self.connection,  # type: ignore[arg-type]
        )
        self.request.remote_ip = "10.0.0.1"
        self.finished: list[Any] = []
        self.ended = 0
        self.clear()

    def log(self, handler: Any) -> None:
        assert handler is self
        self.logged += 1

    def clear(self) -> None:
        self._headers = HTTPHeaders({"Content-Type": "text/html; charset=UTF-8"})
        self._write_buffer = []
        self._status_code = 200

    def set_status(self, status_code: int, reason: str | None = None) -> None:
        self._status_code = status_code
        self._reason = reason or responses.get(status_code, "Unknown")

    def set_header(self, name: str, value: Any) -> None:
        self._headers[name] = value

    def write(self, chunk: Any) -> None:
        self._write_buffer.append(chunk if isinstance(chunk, bytes) else chunk.encode())

    def finish(self, chunk: Any = None) -> Any:
        if chunk is not None:
            self.write(chunk)
        if self._status_code == 204 and self._write_buffer:
            raise RuntimeError("body")
        self._finished = True

    def on_finish(self) -> None:
        self.ended += 1

    @property
    def answer(self) -> tuple[int, str, bytes]:
        assert self._finished
        return self._status_code, self._reason, b"".join(self._write_buffer)

    def fail(self, error: BaseException) -> "Page":
        try:
            raise error
        except BaseException as raised:
            self._handle_request_exception(raised)
        return self


NOT_FOUND = b"<html><title>404: Not Found</title><body>404: Not Found</body></html>"
INTERNAL = b"<html><title>500: Internal Server Error</title><body>500: Internal Server Error</body></html>"


def test_http_error_without_message_is_not_logged() -> None:
    page = Page()
    page.write("what was written before")
    assert page.fail(HTTPError(404)).answer == (404, "Not Found", NOT_FOUND)


def test_http_error_with_message_is_a_warning(expect_log: Any) -> None:
    with expect_log(
        "webfw.general", r"^404 GET /p\?q \(10\.0\.0\.1\): hello 100%$", logging.WARNING, count=1
    ) as records:
        page = Page().fail(HTTPError(404, "hello %s", "100%"))
    assert page.answer == (404, "Not Found", NOT_FOUND)
    assert records[0].exc_info is None


@pytest.mark.parametrize(
    ("status", "reason", "sent"),
    [
        (404, "Custom", "Custom"),
        (418, "a&b", "a&b"),
        (404, "a\r\nSet-Cookie: x", "Unknown"),
        (404, "a\x7f", "Unknown"),
        (404, "<b>", "Unknown"),
        (404, "日本", "Unknown"),
        (404, "  ", "Not Found"),
        (799, None, "Unknown"),
    ],
)
def test_reason(status: int, reason: str | None, sent: str) -> None:
    page = Page().fail(HTTPError(status, reason=reason))
    assert page.answer[:2] == (status, sent)
    assert f"{status}: {sent.replace('&', '&amp;')}</title>".encode() in page.answer[2]
    page = Page()
    page.send_error(status, reason=reason)
    assert page.answer[1] == sent


@pytest.mark.parametrize("status", [204, 304])
def test_statuses_without_a_body(status: int) -> None:
    assert Page().fail(HTTPError(status)).answer == (status, responses[status], b"")


@pytest.mark.parametrize("status", ["400x", None, 1, 100, 1000])
def test_what_is_no_status(status: Any, expect_log: Any) -> None:
    with expect_log("webfw.application", "is no status for a response", count=1):
        page = Page()
        page.send_error(status)
    assert page.answer == (500, "Internal Server Error", INTERNAL)


def test_status_as_text(expect_log: Any) -> None:
    assert Page().fail(HTTPError("404")).answer[0] == 404  # type: ignore[arg-type]
    assert Page().fail(HTTPError(None)).answer[0] == 500  # type: ignore[arg-type]


def test_any_other_exception(expect_log: Any) -> None:
    with expect_log(
        "webfw.application",
        r"^Uncaught exception GET /p\?q \(10\.0\.0\.1\)\nHTTPServerRequest\(",
        logging.ERROR,
        count=1,
    ) as records:
        page = Page().fail(ZeroDivisionError("x"))
    assert page.answer == (500, "Internal Server Error", INTERNAL)
    assert records[0].exc_info[0] is ZeroDivisionError
    assert records[0].exc_info[2] is not None


def test_a_broker_that_is_away_is_one_line_and_503(expect_log: Any) -> None:
    words = r"^No broker for GET /p\?q \(10\.0\.0\.1\): redis://example: refused$"
    with expect_log("webfw.application", words, logging.ERROR, count=1) as records:
        page = Page().fail(BrokerUnavailable("redis://example: refused"))
    assert records[0].exc_info is None
    assert page.answer[0] == 503
    assert page._headers["Retry-After"] == "2"


def test_our_fault_against_the_protocol_is_an_error(expect_log: Any) -> None:
    with expect_log("webfw.application", "Uncaught exception", logging.ERROR, count=1):
        assert Page().fail(LocalProtocolError("bad header")).answer[0] == 500


def test_the_clients_fault_is_one_line_of_information(expect_log: Any) -> None:
    with expect_log(
        "webfw.general", r"^413 GET /p\?q \(10.0.0.1\): too much$", logging.INFO, count=1
    ) as records:
        page = Page().fail(HTTPInputError("too much", 413))
    assert page.answer[0] == 413
    assert records[0].exc_info is None


def test_finish() -> None:
    page = Page()
    page.set_status(201)
    page.write("part")
    assert page.fail(Finish("arg")).answer == (201, "Created", b"partarg")
    page.fail(Finish("more"))
    assert page.answer[2] == b"partarg"


def test_after_the_response_is_complete_there_is_only_the_log(expect_log: Any) -> None:
    page = Page()
    page.finish("done")
    with expect_log("webfw.application", "Uncaught exception", count=1):
        page.fail(ValueError())
    page.fail(HTTPError(404))
    assert page.answer == (200, "OK", b"done")


def test_after_the_head_the_connection_is_cut(expect_log: Any) -> None:
    page = Page()
    page._headers_written = True
    with expect_log("webfw", "", count=1):  # the cause; what follows from it needs no record of its own
        page.fail(ValueError())
    assert (page._finished, page.connection.aborted, page.logged, page.ended) == (True, 1, 1, 1)
    page._cut()
    assert page.connection.aborted == 1


def test_connection_that_cannot_be_cut(expect_log: Any) -> None:
    page = Page()
    page._headers_written = True
    calls: list[str] = []
    page.request.connection = SimpleNamespace(finish=lambda: calls.append("finish"))
    with expect_log("webfw.general", "Cannot send error response", logging.ERROR, count=1):
        page.send_error(500)
    assert calls == ["finish"]


def test_an_error_after_the_head_that_nobody_logged_is(expect_log: Any) -> None:
    page = Page()
    page._headers_written = True
    with expect_log(
        "webfw.general", "Cannot send error response after headers written", logging.ERROR, count=1
    ):
        page.fail(HTTPError(404))


@pytest.mark.parametrize(
    "stream", [SimpleNamespace(closing=True), SimpleNamespace(closed=lambda: True)], ids=["wire", "stream"]
)
def test_a_client_that_left_is_no_error(stream: Any, expect_log: Any) -> None:
    page = Page()
    page._headers_written = True
    page.connection.stream = stream
    with expect_log("webfw.general", "The client left", logging.DEBUG, count=1):
        page.fail(StreamClosedError())
    assert (page._finished, page.connection.aborted, page.ended) == (True, 1, 1)


def test_another_stream_that_is_closed_is_an_error(expect_log: Any) -> None:
    with expect_log("webfw.application", "Uncaught exception", logging.ERROR, count=1):
        assert Page().fail(StreamClosedError()).answer[0] == 500


def test_own_error_page() -> None:
    seen: list[Any] = []

    class Own(Page):
        def write_error(self, status_code: int, **kwargs: Any) -> None:
            seen.append((status_code, kwargs))
            self.write("own")

    page = Own()
    error = HTTPError(400)
    page.fail(error)
    assert page.answer == (400, "Bad Request", b"own")
    assert seen[0][0] == 400
    assert seen[0][1]["exc_info"][:2] == (HTTPError, error)
    page = Own()
    page.send_error(418, detail=5)
    assert seen[1] == (418, {"detail": 5})


def test_own_error_page_that_fails(expect_log: Any) -> None:
    class Own(Page):
        def write_error(self, status_code: int, **kwargs: Any) -> None:
            self.write("part")
            raise ValueError

    with expect_log("webfw.application", "Uncaught exception in write_error", logging.ERROR, count=2):
        assert Own().fail(HTTPError(400)).answer == (400, "Bad Request", b"part")
        assert Own().fail(HTTPError(204)).answer == (204, "No Content", b"")


def test_own_log_that_fails(expect_log: Any) -> None:
    class Own(Page):
        def log_exception(self, *args: Any) -> None:
            raise ValueError

    with expect_log("webfw.application", "Error in exception logger", logging.ERROR, count=1):
        assert Own().fail(KeyError()).answer[0] == 500


def test_log_without_exception(expect_log: Any) -> None:
    with expect_log("webfw.application", "Uncaught exception", count=1):
        Page().log_exception(None, None, None)


# --- the traceback in the answer ---


def test_traceback_as_text(expect_log: Any) -> None:
    page = Page(serve_traceback=True)
    with expect_log("webfw.application", "Uncaught exception"):
        page.fail(ZeroDivisionError("lone \udc80"))
    assert page.answer[0] == 500
    assert page._headers["Content-Type"] == "text/plain; charset=UTF-8"
    assert page._headers["Cache-Control"] == "no-store"
    text = page.answer[2].decode()
    assert text.startswith("Traceback (most recent call last):\n")
    assert text.endswith("ZeroDivisionError: lone \\udc80\n")


def test_traceback_as_page() -> None:
    page = Page({"Accept": "text/html,*/*;q=0.1"}, serve_traceback=True).fail(HTTPError(404, reason="R"))
    text = page.answer[2].decode()
    assert page._headers["Content-Type"] == "text/html; charset=UTF-8"
    assert "<title>404: R</title>" in text
    assert "GET /p?q (10.0.0.1)" in text
    assert "raise error" in text


def test_no_traceback_where_there_is_none_or_it_is_not_wanted(expect_log: Any) -> None:
    page = Page(serve_traceback=True)
    page.send_error(404)
    assert page.answer[2] == NOT_FOUND
    page = Page(serve_traceback=True)
    page.send_error(404, exc_info=sys.exc_info())
    assert page.answer[2] == NOT_FOUND
    with expect_log("webfw.application", "Uncaught exception"):
        assert Page({"Accept": "text/html"}).fail(ValueError()).answer[2] == INTERNAL
