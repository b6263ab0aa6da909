"""Every stream test that asks for `loop_kind` runs on asyncio and on uvloop."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator

import pytest
import trustme

from webfw.iostream import IOStream


@pytest.fixture(params=["asyncio", "uvloop"])
def loop_kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of the loop the test runs on; the runner of coroutine tests makes its loop with what is set here."""
    if request.param == "uvloop":
        uvloop = pytest.importorskip("uvloop")
        monkeypatch.setattr(asyncio, "new_event_loop", uvloop.new_event_loop)
    return str(request.param)


@pytest.fixture
def sockets() -> Iterator[Callable[[], tuple[socket.socket, socket.socket]]]:
    """Make connected pairs of sockets over TCP, and close what is left of them in the end."""
    made: list[socket.socket] = []

    def pair() -> tuple[socket.socket, socket.socket]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            a = socket.create_connection(listener.getsockname())
            b, _ = listener.accept()
        made.extend((a, b))
        return a, b

    yield pair
    for sock in made:
        sock.close()


@pytest.fixture
def pair(
    sockets: Callable[[], tuple[socket.socket, socket.socket]],
) -> Callable[..., tuple[IOStream, IOStream]]:
    """Make connected pairs of streams; the keyword arguments are those of the second."""

    def streams(**kwargs: int) -> tuple[IOStream, IOStream]:
        a, b = sockets()
        return IOStream(a), IOStream(b, **kwargs)

    return streams


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture(scope="session")
def client_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context
