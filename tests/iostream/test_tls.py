"""Tests of webfw.iostream.tls; what a stream makes of it is tested with the socket streams."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any

import pytest

from webfw.iostream import Wire
from webfw.iostream.tls import TLSSettings, TLSSocket, handshake

pytestmark = pytest.mark.usefixtures("loop_kind")


async def wire_of(sock: socket.socket) -> Wire:
    loop = asyncio.get_running_loop()
    made: asyncio.Future[Wire] = loop.create_future()
    await loop.connect_accepted_socket(lambda: Wire(loop, made.set_result), sock)
    wire = await made
    wire.pause_reading()
    return wire


def test_settings(client_context: ssl.SSLContext) -> None:
    settings = TLSSettings.of(False, client_context, "localhost")
    assert settings == TLSSettings(client_context, False, "localhost")
    assert TLSSettings.of(True, client_context, "localhost").server_hostname is None
    assert TLSSettings.of(False, None, None).context.verify_mode == ssl.CERT_REQUIRED
    with pytest.raises(ValueError, match="needs ssl_options"):
        TLSSettings.of(True, None, None)


async def test_a_handshake_on_bare_wires(
    sockets: Callable[[], tuple[socket.socket, socket.socket]],
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
) -> None:
    a, b = sockets()
    client, server = await wire_of(a), await wire_of(b)
    raw = client.transport
    await asyncio.gather(
        handshake(client, TLSSettings(client_context, False, "localhost"), bytes),
        handshake(server, TLSSettings(server_context, True, None), bytes),
    )
    assert client.transport is not raw
    socket_view = TLSSocket(client)
    assert socket_view.cipher() == client.get_extra_info("ssl_object").cipher()
    assert socket_view.family == socket.AF_INET
    with pytest.raises(AttributeError):
        _ = socket_view._hidden
    client.abort()
    server.abort()


async def test_a_handshake_that_is_cancelled(
    sockets: Callable[[], tuple[socket.socket, socket.socket]], client_context: ssl.SSLContext
) -> None:
    a, _b = sockets()
    client = await wire_of(a)
    task = asyncio.create_task(handshake(client, TLSSettings(client_context, False, "localhost"), bytes))
    for _ in range(4):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    client.abort()


async def test_a_loop_that_gives_no_transport(
    sockets: Callable[[], tuple[socket.socket, socket.socket]],
    client_context: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    a, _ = sockets()
    client = await wire_of(a)

    async def start_tls(*args: Any, **kwargs: Any) -> None:
        return None

    with monkeypatch.context() as patch:
        patch.setattr(client.loop, "start_tls", start_tls)
        with pytest.raises(ConnectionResetError, match="closed during the TLS handshake"):
            await handshake(client, TLSSettings(client_context, False, "localhost"), bytes)
    client.abort()
