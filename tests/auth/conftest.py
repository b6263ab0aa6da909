"""The fake provider, an application that logs in by it, and a browser between the two; all over real sockets."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.auth.browser import Answer, Browser, PlainClient
from tests.auth.provider import Provider
from webfw.auth import AuthError
from webfw.httpclient import AsyncHTTPClient
from webfw.httpserver import HTTPServer
from webfw.netutil import bind_sockets
from webfw.web import Application, RequestHandler


class LoginHandler(RequestHandler):
    """What the handlers of the tests share: the client under test, and an answer for what goes wrong."""

    def get_auth_http_client(self) -> Any:
        return self.settings["auth_client"] or super().get_auth_http_client()  # type: ignore[misc]

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs["exc_info"][1]
        self.settings["errors"].append(error)
        if isinstance(error, AuthError):
            self.set_status(403)
            self.finish(f"refused: {error}")
        else:
            super().write_error(status_code, **kwargs)

    def log_exception(self, *exc_info: Any) -> None:
        if not isinstance(exc_info[1], AuthError):
            super().log_exception(*exc_info)


class Login:
    """A provider and an application in this loop, and a user's browser."""

    def __init__(self, client: Any) -> None:
        self.provider = Provider()
        self.browser = Browser()
        self.client = client
        self.errors: list[BaseException] = []
        self.servers: list[HTTPServer] = []
        self.provider.url = self.listen(self.provider.app)
        self.url = ""

    def listen(self, app: Application, **options: Any) -> str:
        server = HTTPServer(app, **options)
        sockets = bind_sockets(0, "127.0.0.1")
        server.add_sockets(sockets)
        self.servers.append(server)
        return f"http://127.0.0.1:{sockets[0].getsockname()[1]}"

    def serve(
        self, handlers: list[tuple[str, type]], server: dict[str, Any] | None = None, **settings: Any
    ) -> None:
        own: dict[str, Any] = {"cookie_secret": "c" * 40, "log_function": lambda handler: None}
        own |= {"auth_client": self.client, "errors": self.errors}
        self.app = Application(handlers, **{**own, **settings})
        self.url = self.listen(self.app, **(server or {}))

    async def get(self, path: str, **options: Any) -> Answer:
        return await self.browser.get(self.url + path, **options)

    async def close(self) -> None:
        for server in self.servers:
            server.stop()
            await server.close_all_connections()


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def begin() -> Iterator[Callable[..., Any]]:
    """``async with begin() as login:``; at the end no secret may have been logged, tracebacks included.

    ``begin(plain=False)`` has webfw's own client ask the provider.
    """
    from contextlib import asynccontextmanager

    lines = _Lines()
    loggers = [logging.getLogger(name) for name in ("webfw.general", "webfw.application", "asyncio")]

    @asynccontextmanager
    async def start(plain: bool = True, client: Any = None) -> Any:
        login = Login(PlainClient() if plain else client)
        try:
            yield login
        finally:
            await login.close()
            if not plain:
                AsyncHTTPClient().close()
        for line in lines.lines:
            for secret in login.provider.secrets - {""}:
                assert secret not in line, f"a secret was logged: {line}"

    for logger in loggers:
        logger.addHandler(lines)
    yield start
    for logger in loggers:
        logger.removeHandler(lines)
