"""`AsyncHTTPTestCase` and its sister with TLS: cases are run by unittest in here, over real sockets."""

import asyncio
import socket
import ssl
import unittest
from collections.abc import Iterator
from typing import Any

import pytest

from webfw.httpclient import AsyncHTTPClient, HTTPClientError
from webfw.httpserver import HTTPServer
from webfw.ioloop import IOLoop
from webfw.testing import AsyncHTTPSTestCase, AsyncHTTPTestCase, gen_test
from webfw.web import Application, RequestHandler


@pytest.fixture(autouse=True)
def _no_loop_is_left() -> Iterator[None]:
    yield
    assert IOLoop.current(instance=False) is None


class Echo(RequestHandler):
    def get(self) -> None:
        if self.get_argument("missing", ""):
            self.send_error(404)
        else:
            self.write({"url": self.request.full_url(), "own": self.request.headers.get("X-Own")})

    def post(self) -> None:
        self.write(self.request.body)


class Wait(RequestHandler):
    async def get(self) -> None:
        await asyncio.sleep(1000)


def application() -> Application:
    return Application([("/echo", Echo), ("/wait", Wait)], log_function=lambda handler: None)


def run(case: type[unittest.TestCase], name: str = "test") -> unittest.TestResult:
    result = unittest.TestResult()
    case(name).run(result)
    return result


def passed(case: type[unittest.TestCase]) -> None:
    result = run(case)
    assert result.testsRun == 1
    assert result.wasSuccessful(), (result.errors + result.failures)[0][1]


class Base(AsyncHTTPTestCase):
    def get_app(self) -> Application:
        self.port_then = self.get_http_port()
        return application()


def test_fetch() -> None:
    class Case(Base):
        def test(self) -> None:
            response = self.fetch("/echo", headers={"X-Own": "1"})
            assert response.code == 200
            url = self.get_url("/echo")
            assert response.body == f'{{"url": "{url}", "own": "1"}}'.encode()
            assert url == f"http://127.0.0.1:{self.get_http_port()}/echo"
            assert self.fetch(url).code == 200
            assert self.fetch("/echo", method="POST", body="data").body == b"data"
            assert self.port_then == self.get_http_port()
            assert self.fetch("/echo?missing=1").code == 404
            with pytest.raises(HTTPClientError, match="404"):
                self.fetch("/echo?missing=1", raise_error=True)

    passed(Case)


def test_attributes() -> None:
    class Case(Base):
        def get_httpserver_options(self) -> dict[str, Any]:
            return {"max_body_size": 5}

        def test(self) -> None:
            assert isinstance(self.http_server, HTTPServer)
            assert isinstance(self.http_client, AsyncHTTPClient)
            assert isinstance(self._app, Application)
            assert self.fetch("/echo", method="POST", body="123456").code == 413

    passed(Case)


def test_with_gen_test() -> None:
    class Case(Base):
        @gen_test
        async def test(self) -> None:
            response = await self.http_client.fetch(self.get_url("/echo"))
            assert response.code == 200

    passed(Case)


def test_too_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASYNC_TEST_TIMEOUT", "0.1")

    class Case(Base):
        def test(self) -> None:
            self.fetch("/wait")

    ((_, text),) = run(Case).errors
    assert "TimeoutError" in text


def test_nothing_is_left_open() -> None:
    ports = []

    class Case(Base):
        def test(self) -> None:
            ports.append(self.get_http_port())
            self.sock = socket.create_connection(("127.0.0.1", ports[0]), timeout=5)
            self.addCleanup(self.sock.close)
            self.fetch("/echo")

    passed(Case)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", ports[0]), timeout=5)


def test_an_application_that_cannot_be_made() -> None:
    class Case(AsyncHTTPTestCase):
        def get_app(self) -> Any:
            raise KeyError("no application")

        def test(self) -> None:
            raise AssertionError

    ((_, text),) = run(Case).errors
    assert "KeyError: 'no application'" in text


def test_get_app_has_to_be_there() -> None:
    ((_, text),) = run(type("Case", (AsyncHTTPTestCase,), {"test": lambda self: None})).errors
    assert "get_app()" in text


def test_tls() -> None:
    class Case(AsyncHTTPSTestCase):
        def get_app(self) -> Application:
            return application()

        def test(self) -> None:
            assert self.get_protocol() == "https"
            response = self.fetch("/echo")
            assert self.get_url("/echo").startswith("https://127.0.0.1:")
            assert self.get_url("/echo").encode() in response.body

    passed(Case)


def test_the_certificate_is_good_for_this_host() -> None:
    """By itself: whoever wants its clients to check it can name it as an authority."""
    files = AsyncHTTPSTestCase.default_ssl_options()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(**files)
    client = ssl.create_default_context(cafile=files["certfile"])
    for name in ("localhost", "127.0.0.1", "::1"):
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        ends = [
            client.wrap_bio(to_client, to_server, server_hostname=name),
            server.wrap_bio(to_server, to_client, server_side=True),
        ]
        for _ in range(6):
            for end in ends:
                try:
                    end.do_handshake()
                except ssl.SSLWantReadError:
                    pass
        assert ends[0].getpeercert()
