import asyncio
from typing import Any

import pytest

from webfw.httputil import (
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    HTTPServerRequest,
    RequestStartLine,
)
from webfw.routing import RuleRouter


class Connection:
    """Keeps what is written to it."""

    context = None

    def __init__(self) -> None:
        self.written: list[Any] = []

    def write_headers(self, start_line: Any, headers: HTTPHeaders, chunk: bytes | None = None) -> None:
        self.written.append((start_line.code, start_line.reason, dict(headers)))

    def finish(self) -> None:
        self.written.append("finish")


def head(path: str = "/x/y", **fields: str) -> tuple[RequestStartLine, HTTPHeaders]:
    headers = HTTPHeaders({"Host": "example.com"})
    for name, value in fields.items():
        headers[name.replace("_", "-")] = value
    return RequestStartLine("POST", path, "HTTP/1.1"), headers


def test_nobody_takes_the_request() -> None:
    connection = Connection()
    delegate = RuleRouter().start_request("server", connection)
    delegate.headers_received(*head())
    delegate.data_received(b"body")
    assert connection.written == []
    delegate.finish()
    assert connection.written == [(404, "Not Found", {"Content-Length": "0"}), "finish"]


def test_before_the_head_there_is_nobody_to_tell() -> None:
    delegate = RuleRouter().start_request("server", Connection())
    assert delegate.data_received(b"x") is None
    delegate.finish()
    delegate.on_connection_close()


class Recorder(HTTPMessageDelegate):
    def __init__(self) -> None:
        self.calls: list[Any] = []

    async def _wait(self) -> None:
        pass

    def headers_received(self, start_line: Any, headers: HTTPHeaders) -> Any:
        self.calls.append((start_line.path, headers["Host"]))
        return self._wait()

    def data_received(self, chunk: bytes) -> Any:
        self.calls.append(chunk)
        return self._wait()

    def finish(self) -> None:
        self.calls.append("finish")

    def on_connection_close(self) -> None:
        self.calls.append("closed")


class Server(HTTPServerConnectionDelegate):
    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.recorder = Recorder()

    def start_request(self, server_conn: object, request_conn: Any) -> HTTPMessageDelegate:
        self.asked.append((server_conn, request_conn))
        return self.recorder


async def test_everything_is_handed_on() -> None:
    connection, server = Connection(), Server()
    delegate = RuleRouter([("/x/(.*)", server)]).start_request("server", connection)
    for waiting in (
        delegate.headers_received(*head()),
        delegate.data_received(b"1"),
        delegate.data_received(b"2"),
    ):
        assert waiting is not None
        await waiting
    delegate.finish()
    delegate.on_connection_close()
    assert server.asked == [("server", connection)]
    assert server.recorder.calls == [("/x/y", "example.com"), b"1", b"2", "finish", "closed"]


def test_function_gets_the_request_with_its_body() -> None:
    seen: list[Any] = []

    def function(request: HTTPServerRequest, **params: Any) -> None:
        seen.append((request.body, request.arguments, request.server_connection, params))

    connection = Connection()
    router = RuleRouter(
        [("/x/(.*)", function, {"k": 1}), ("/plain", lambda request: seen.append(request.body))]
    )
    delegate = router.start_request("server", connection)
    delegate.headers_received(*head("/x/y?q=1", Content_Type="application/x-www-form-urlencoded"))
    delegate.data_received(b"a=1&")
    delegate.data_received(b"b=2")
    assert seen == []
    delegate.finish()
    params = {"path_args": [b"y"], "path_kwargs": {}, "target_kwargs": {"k": 1}}
    assert seen == [(b"a=1&b=2", {"q": [b"1"], "a": [b"1"], "b": [b"2"]}, "server", params)]

    delegate = router.start_request("server", connection)
    delegate.headers_received(*head("/plain"))
    delegate.finish()
    assert seen[1:] == [b""]

    delegate = router.start_request("server", connection)
    delegate.headers_received(*head("/plain"))
    delegate.data_received(b"part")
    delegate.on_connection_close()
    assert len(seen) == 2


@pytest.mark.parametrize("fails", [False, True])
async def test_coroutine_function(fails: bool, expect_log: Any) -> None:
    done = asyncio.Event()

    async def function(request: HTTPServerRequest) -> None:
        await asyncio.sleep(0)
        done.set()
        if fails:
            raise RuntimeError("went wrong")

    delegate = RuleRouter([("/", function)]).start_request("server", Connection())
    delegate.headers_received(*head("/"))
    with expect_log("webfw.application", "Exception in request callback", count=int(fails)):
        delegate.finish()
        await done.wait()
        await asyncio.sleep(0)
