"""`TCPClient`: from a host name to a connected stream, by the address that answers; no protocol above TLS may enter."""

import asyncio
import datetime
import errno
import itertools
import os
import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Any

from webfw.ioloop import IOLoop
from webfw.iostream import IOStream, SSLIOStream, StreamClosedError, Wire
from webfw.netutil import Resolver, is_valid_ip, ssl_options_to_context, ssl_wrap_socket

__all__ = ["ATTEMPT_DELAY", "TCPClient"]

#: Seconds until the next address is tried while the one before has not answered (RFC 8305 section 8).
ATTEMPT_DELAY = 0.25

#: (address family, address for ``socket.connect``)
Address = tuple[int, Any]

# What says more about this machine's own network than about the host that was asked for.
_NO_WAY_THERE = frozenset(
    {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL}
)


class TCPClient:
    """Connects to hosts by name, over IPv4 and IPv6, with or without TLS.

    :param resolver: looks the names up; None makes a `webfw.netutil.Resolver`, which `close` closes.
    """

    def __init__(self, resolver: Resolver | None = None) -> None:
        self._own_resolver = resolver is None
        self.resolver: Resolver = Resolver() if resolver is None else resolver

    def close(self) -> None:
        """Let go of the resolver, if it is the client's own; streams that were made stay open."""
        if self._own_resolver:
            self.resolver.close()

    async def connect(
        self,
        host: str,
        port: int,
        af: socket.AddressFamily = socket.AF_UNSPEC,
        ssl_options: Mapping[str, Any] | ssl.SSLContext | None = None,
        max_buffer_size: int | None = None,
        source_ip: str | None = None,
        source_port: int | None = None,
        timeout: float | datetime.timedelta | None = None,
    ) -> IOStream:
        """Connect to a host and return the stream, an `SSLIOStream` with ``ssl_options``.

        The addresses of the host are tried in the order of the resolver, but with the families taking turns, each
        250 ms after the one before or as soon as that has failed; the first to be connected is used (RFC 8305).

        :param host: a name or an IP address; under TLS it is also what the certificate must be for.
        :param port: 1 to 65535.
        :param af: ``socket.AF_INET`` or ``socket.AF_INET6`` to use only these addresses.
        :param ssl_options: for TLS: a context, or a dictionary as for `webfw.netutil.ssl_options_to_context`.
        :param max_buffer_size: of the stream: the most bytes a read may have to be kept for it, 100 MiB by default.
        :param source_ip: the IP address of this machine to connect from; only addresses of its family are tried.
        :param source_port: the port to connect from; by default the system chooses.
        :param timeout: for all of it, from the look-up to the end of the TLS handshake: a ``timedelta``, or a time
            on the scale of `IOLoop.time`; None sets no limit beyond the system's.
        :raises TimeoutError: the time was over.
        :raises StreamClosedError: no address could be connected; its ``real_error`` is the error of the one that
            got farthest, and a note lists them all.
        :raises ssl.SSLError: the TLS handshake failed, for one because the certificate is not for the host.
        :raises OSError: (``socket.gaierror``) the host has no address.
        :raises ValueError: an argument is out of range.
        """
        _check(port, source_ip, source_port)
        context = None if ssl_options is None else ssl_options_to_context(ssl_options, server_side=False)
        source = None if source_ip is None and source_port is None else (source_ip, source_port or 0)
        limit = asyncio.timeout(_seconds_left(timeout))
        try:
            async with limit:
                sock = await self._connect_socket(host, port, af, source, _nobody)
                if context is None:
                    return await _plain_stream(sock, max_buffer_size)
                return await _tls_stream(sock, host, context, max_buffer_size)
        except TimeoutError:
            if limit.expired():
                raise TimeoutError(f"Timeout while connecting to {host}:{port}") from None
            raise

    async def connect_wire(
        self,
        connected: Callable[[Wire], None],
        host: str,
        port: int = 0,
        *,
        unix_path: str | None = None,
        af: socket.AddressFamily = socket.AF_UNSPEC,
        context: ssl.SSLContext | None = None,
        source_ip: str | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        """Connect as `connect` does, to a bare `webfw.iostream.Wire`, without a limit of time.

        :param connected: called with the wire, whose consumer it sets; under TLS after the handshake.
        :param host: a name or an IP address; under TLS it is also what the certificate must be for.
        :param port: 1 to 65535.
        :param unix_path: connect to this Unix domain socket instead; nothing is looked up.
        :param af: ``socket.AF_INET`` or ``socket.AF_INET6`` to use only these addresses.
        :param context: for TLS.
        :param source_ip: the IP address of this machine to connect from.
        :param progress: called with ``"connecting"`` when the addresses are known, and with ``"TLS handshake"`` when
            TCP is connected.
        :raises OSError: as `connect`, but the error of a connection itself, with a note that lists all addresses.
        """
        _check(port, source_ip, None)
        source = None if source_ip is None else (source_ip, 0)
        progress = progress or _nobody
        if unix_path is not None:
            progress("connecting")
            sock = await _attempt(socket.AF_UNIX, unix_path, None)
        else:
            try:
                sock = await self._connect_socket(host, port, af, source, progress)
            except StreamClosedError as closed:
                if closed.real_error is None:
                    raise
                for note in closed.__notes__:
                    closed.real_error.add_note(note)
                raise closed.real_error from None
        name = None
        if context is not None:
            progress("TLS handshake")
            name = _name_of(host)
        await _make_wire(sock, connected, context, name)

    async def _connect_socket(
        self,
        host: str,
        port: int,
        af: socket.AddressFamily,
        source: tuple[str | None, int] | None,
        progress: Callable[[str], None],
    ) -> socket.socket:
        addresses: list[Address] = list(await self.resolver.resolve(host, port, af))
        if source is not None and source[0] is not None:
            family = socket.AF_INET6 if ":" in source[0] else socket.AF_INET
            addresses = [pair for pair in addresses if pair[0] == family]
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, f"{host} has no address that can be connected to")
        progress("connecting")
        return await _race(take_turns(addresses), source, f"connecting to {host}:{port}")


def _nobody(_: str) -> None:
    """Take note of a progress nobody has asked for."""


def _check(port: int, source_ip: str | None, source_port: int | None) -> None:
    if not 0 <= port <= 65535:  # getaddrinfo() takes the lower 16 bits
        raise ValueError(f"port must be 0 to 65535, not {port!r}")
    if source_port is not None and not 0 <= source_port <= 65535:
        raise ValueError(f"source_port must be 0 to 65535, not {source_port!r}")
    if source_ip is not None and not is_valid_ip(source_ip):
        raise ValueError(f"source_ip must be an IP address, not {source_ip!r}")


def _seconds_left(timeout: float | datetime.timedelta | None) -> float | None:
    """Turn what `IOLoop.add_timeout` takes into seconds from now."""
    if timeout is None:
        return None
    if isinstance(timeout, datetime.timedelta):
        return timeout.total_seconds()
    if isinstance(timeout, (int, float)):
        return timeout - IOLoop.current().time()
    raise TypeError(f"Unsupported timeout {timeout!r}")


def take_turns(addresses: list[Address]) -> list[Address]:
    """Order addresses so that their families alternate, the family of the first one first (RFC 8305 section 4)."""
    families: dict[int, list[Address]] = {}
    for pair in addresses:
        families.setdefault(pair[0], []).append(pair)
    turns = itertools.zip_longest(*families.values())
    return [pair for turn in turns for pair in turn if pair is not None]


async def _race(addresses: list[Address], source: tuple[str | None, int] | None, what: str) -> socket.socket:
    """Connect to the first address that answers, and close what was begun with others (RFC 8305 section 5)."""
    waiting = iter(addresses)
    following = next(waiting, None)
    running: dict[asyncio.Task[socket.socket], Any] = {}  # in the order of their beginning
    errors: list[tuple[Any, OSError]] = []
    try:
        while following is not None or running:
            if following is not None:
                family, address = following
                running[asyncio.create_task(_attempt(family, address, source))] = address
                following = next(waiting, None)
            delay = None if following is None else ATTEMPT_DELAY
            await asyncio.wait(running, timeout=delay, return_when=asyncio.FIRST_COMPLETED)
            for task in [task for task in running if task.done()]:
                try:
                    winner = task.result()
                except OSError as exc:
                    errors.append((running.pop(task), exc))
                else:
                    del running[task]
                    return winner
    finally:
        for task in running:
            task.cancel()
            task.add_done_callback(_close_loser)
    closed = StreamClosedError(real_error=_most_telling([exc for _, exc in errors]))
    tried = "; ".join(
        f"{address if isinstance(address, str) else address[0]}: {exc}" for address, exc in errors
    )
    closed.add_note(f"{what}: {tried}")
    raise closed from closed.real_error


async def _attempt(family: int, address: Any, source: tuple[str | None, int] | None) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if source is not None:
            _bind(sock, *source)
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


def _bind(sock: socket.socket, host: str | None, port: int) -> None:
    if port and os.name == "posix":
        # Several attempts may use one port at a time, and what is left of an earlier connection is no obstacle.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.bind((host or "", port))


def _close_loser(task: "asyncio.Task[socket.socket]") -> None:
    # One that was connected in the very turn in which it was cancelled.
    if not task.cancelled() and task.exception() is None:
        task.result().close()


def _most_telling(errors: list[OSError]) -> OSError:
    """Choose the error to report: the last of those that are about the host and not about the way to it."""
    return next((exc for exc in reversed(errors) if exc.errno not in _NO_WAY_THERE), errors[-1])


async def _make_wire(
    sock: socket.socket,
    connected: Callable[[Wire], None],
    context: ssl.SSLContext | None,
    name: str | None,
) -> None:
    """Put a wire, with TLS or without, on a socket that is connected; the socket is closed where that fails."""
    loop = asyncio.get_running_loop()
    # Where it fails nobody is to be kept: uvloop does not let go of the wire of a TLS handshake that was cancelled.
    told = [connected]

    def factory() -> Wire:
        return Wire(loop, tell)

    def tell(wire: Wire) -> None:
        if told:
            told.pop()(wire)
        else:
            wire.abort()

    try:
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            await loop.create_connection(factory, sock=sock, ssl=context, server_hostname=name)
        else:
            await loop.create_unix_connection(factory, sock=sock, ssl=context, server_hostname=name)
    except BaseException:
        told.clear()
        sock.close()
        raise


async def _plain_stream(sock: socket.socket, max_buffer_size: int | None) -> IOStream:
    streams: list[IOStream] = []

    def connected(wire: Wire) -> None:
        # At once: a server may be the first to speak, and uvloop reads whether or not reading is paused here.
        streams.append(IOStream.from_wire(wire, max_buffer_size=max_buffer_size))

    await _make_wire(sock, connected, None, None)
    return streams[0]


async def _tls_stream(
    sock: socket.socket, host: str, context: ssl.SSLContext, max_buffer_size: int | None
) -> SSLIOStream:
    try:
        wrapped = ssl_wrap_socket(sock, context, _name_of(host), do_handshake_on_connect=False)
    except BaseException:
        sock.close()
        raise
    stream = SSLIOStream(wrapped, max_buffer_size=max_buffer_size)
    try:
        return await stream.wait_for_handshake()
    except BaseException as exc:
        stream.close()
        if isinstance(exc, OSError) and not isinstance(exc, ssl.SSLError):
            raise StreamClosedError(real_error=exc) from exc
        raise


def _name_of(host: str) -> str:
    """The name a certificate is issued for: without the zone of an address and without the dot of the root."""
    if is_valid_ip(host):
        return host.partition("%")[0]
    return host.removesuffix(".")
