"""`AsyncHTTPTestCase`: an application on a real server with a port of its own; fakes may not enter."""

from functools import partial
from pathlib import Path
from typing import Any

from webfw.httpclient import AsyncHTTPClient, HTTPResponse
from webfw.httpserver import HTTPServer
from webfw.testing.cases import AsyncTestCase
from webfw.testing.ports import bind_unused_port, get_async_test_timeout

__all__ = ["AsyncHTTPSTestCase", "AsyncHTTPTestCase"]

_CERTIFICATES = Path(__file__).parent / "certificates"


class AsyncHTTPTestCase(AsyncTestCase):
    """A test case that serves an application on a free port of this host::

        class TestHello(AsyncHTTPTestCase):
            def get_app(self):
                return Application([("/", Hello)])

            def test_homepage(self):
                response = self.fetch("/")
                self.assertEqual(response.body, b"Hello, world")

    With `gen_test` there is ``await self.http_client.fetch(self.get_url("/"))``.

    :ivar http_client: an `AsyncHTTPClient`.
    :ivar http_server: the server.
    """

    http_client: AsyncHTTPClient
    http_server: HTTPServer
    _app: Any
    __port: int  # as in `AsyncTestCase`, a name of this class alone

    def setUp(self) -> None:
        """Make the application and serve it."""
        super().setUp()
        sock, self.__port = bind_unused_port()
        try:
            self.http_client = self.get_http_client()
            self._app = self.get_app()
            self.http_server = self.get_http_server()
        except BaseException:
            sock.close()
            raise
        self.http_server.add_sockets([sock])

    def get_app(self) -> Any:
        """Return what answers: an `Application`, or anything else an `HTTPServer` takes.  To be overridden."""
        raise NotImplementedError("a test case defines get_app(), which returns the Application")

    def get_http_client(self) -> AsyncHTTPClient:
        """Return the client of `fetch`."""
        return AsyncHTTPClient()

    def get_http_server(self) -> HTTPServer:
        """Return the server of the application, which does not listen yet."""
        return HTTPServer(self._app, **self.get_httpserver_options())

    def get_httpserver_options(self) -> dict[str, Any]:
        """Return the arguments of the `HTTPServer`; none here."""
        return {}

    def get_http_port(self) -> int:
        """Return the port of the server, a new one for each test; known in `get_app` already."""
        return self.__port

    def get_protocol(self) -> str:
        """Return the scheme of `get_url`."""
        return "http"

    def get_url(self, path: str) -> str:
        """Return the absolute address of a path on the server."""
        return f"{self.get_protocol()}://127.0.0.1:{self.get_http_port()}{path}"

    def fetch(self, path: str, raise_error: bool = False, **kwargs: Any) -> HTTPResponse:
        """Ask the server, and wait for its response while it is made on the test's loop.

        :param path: on the server; or an absolute address, ``http://`` or ``https://``.
        :param raise_error: raise `HTTPClientError` for a status other than 200 to 299.
        :param kwargs: for the `HTTPRequest`, such as ``method`` and ``body``.
        :raises TimeoutError: it took longer than `get_async_test_timeout`.
        :raises OSError: there was no connection, or no response on it.
        """
        url = path if path.lower().startswith(("http://", "https://")) else self.get_url(path)
        response: HTTPResponse = self.io_loop.run_sync(
            partial(self.http_client.fetch, url, raise_error=raise_error, **kwargs),
            timeout=get_async_test_timeout(),
        )
        return response

    def tearDown(self) -> None:
        """Stop the server and close its connections."""
        self.http_server.stop()
        self.io_loop.run_sync(self.http_server.close_all_connections, timeout=get_async_test_timeout())
        self.http_client.close()
        super().tearDown()


class AsyncHTTPSTestCase(AsyncHTTPTestCase):
    """A test case that serves an application over TLS.

    The server has a certificate for ``localhost`` that is signed by nobody else and whose key is public, so the client
    does not check it.
    """

    def get_http_client(self) -> AsyncHTTPClient:
        """Return a client that believes any certificate."""
        return AsyncHTTPClient(force_instance=True, defaults={"validate_cert": False})

    def get_httpserver_options(self) -> dict[str, Any]:
        """Return the arguments of the `HTTPServer`: ``ssl_options``."""
        return {"ssl_options": self.get_ssl_options()}

    def get_ssl_options(self) -> dict[str, Any]:
        """Return the server's ``ssl_options``; override it for a certificate of your own."""
        return self.default_ssl_options()

    @staticmethod
    def default_ssl_options() -> dict[str, Any]:
        """Return the files of the test certificate; everybody has them, so they are good for tests only."""
        return {
            "certfile": str(_CERTIFICATES / "localhost.crt"),
            "keyfile": str(_CERTIFICATES / "localhost.key"),
        }

    def get_protocol(self) -> str:
        """Return the scheme of `get_url`."""
        return "https"
