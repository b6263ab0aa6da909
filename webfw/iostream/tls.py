"""TLS on a wire: its settings, its handshake and the questions one asks afterwards; streams stay outside."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from webfw.iostream.wire import Wire
from webfw.netutil import ssl_options_to_context

__all__ = ["HANDSHAKE_TIMEOUT", "TLSSettings", "TLSSocket", "handshake"]

#: Seconds a peer may take for the handshake.
HANDSHAKE_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class TLSSettings:
    """What a handshake needs to know."""

    context: ssl.SSLContext
    server_side: bool
    #: The name a client asks for and verifies.
    server_hostname: str | None

    @classmethod
    def of(
        cls,
        server_side: bool,
        ssl_options: Mapping[str, Any] | ssl.SSLContext | None,
        server_hostname: str | None,
    ) -> "TLSSettings":
        """Make the settings from a context or dictionary, or for a client from nothing.

        :raises ValueError: a server without options, or unknown ones.
        """
        if ssl_options is None:
            if server_side:
                raise ValueError("TLS on the server side needs ssl_options with a certificate")
            context = ssl.create_default_context()
        else:
            context = ssl_options_to_context(ssl_options, server_side=server_side)
        return cls(context, server_side, None if server_side else server_hostname)

    @classmethod
    def of_wrapped(cls, wrapped: ssl.SSLSocket) -> "tuple[TLSSettings, socket.socket]":
        """Take the settings of a wrapped socket and the plain socket out of it, which the transport will wrap anew.

        :raises ValueError: its handshake is done, so that it cannot be taken apart.
        """
        if wrapped.version() is not None:
            raise ValueError(
                "the TLS handshake of this socket is done: wrap it with do_handshake_on_connect=False"
            )
        settings = cls(wrapped.context, wrapped.server_side, wrapped.server_hostname)
        return settings, socket.socket(fileno=wrapped.detach())


class TLSSocket:
    """Answers the questions of an ``ssl.SSLSocket`` about a wire: those of its TLS session and of its socket."""

    __slots__ = ("_session", "_socket")

    def __init__(self, wire: Wire) -> None:
        self._session = wire.get_extra_info("ssl_object")
        self._socket = wire.get_extra_info("socket")

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_"):
            for source in (self._session, self._socket):
                if hasattr(source, name):
                    return getattr(source, name)
        raise AttributeError(f"a TLS socket has no attribute {name!r}")


async def handshake(
    wire: Wire, tls: TLSSettings, take_early: Callable[[], bytes], timeout: float = HANDSHAKE_TIMEOUT
) -> None:
    """Put TLS between a wire and its transport.

    :param wire: with reading paused.
    :param take_early: gives the bytes of the handshake that the wire has read already; what comes after it was called
        has been under TLS.
    :param timeout: seconds it may take.
    :raises ssl.SSLError: the sides do not agree.
    :raises OSError: the connection was lost, or the time was over.
    """
    loop = wire.loop
    raw = wire.transport
    # Not loop.create_task, which may run it at once: see below.
    task = asyncio.Task(
        loop.start_tls(
            raw,
            wire,
            tls.context,
            server_side=tls.server_side,
            server_hostname=tls.server_hostname,
            ssl_handshake_timeout=timeout,
        ),
        loop=loop,
    )
    # start_tls() schedules the beginning of the handshake in its first step, in the next turn.  This comes right after
    # that, and in the turn after right behind the beginning, but before anything more is read.
    loop.call_soon(loop.call_soon, _insert, raw, take_early)
    try:
        secured = await task
    except asyncio.CancelledError:
        task.cancel()
        raise
    if secured is None:  # what asyncio returns when the connection was closed at the wrong moment
        raise ConnectionResetError("the connection was closed during the TLS handshake")
    wire.connection_made(secured)


def _insert(raw: asyncio.Transport, take_early: Callable[[], bytes]) -> None:
    """Hand bytes to the TLS protocol of a transport as if they had just been read."""
    # uvloop's is no subclass of asyncio.BufferedProtocol, but has its methods.
    protocol: Any = raw.get_protocol()
    rest = memoryview(take_early())
    while rest and not raw.is_closing():
        buffer = memoryview(protocol.get_buffer(len(rest)))
        size = min(len(buffer), len(rest))
        buffer[:size] = rest[:size]
        protocol.buffer_updated(size)
        rest = rest[size:]
