"""Listening sockets: made, bound, and accepted from; what is done with a connection is decided elsewhere."""

import errno
import os
import socket
import stat
import struct
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from webfw.ioloop import IOLoop
from webfw.log import app_log

__all__ = [
    "ACCEPT_PAUSE",
    "DEFAULT_BACKLOG",
    "EXHAUSTED",
    "add_accept_handler",
    "backlog_of",
    "bind_sockets",
    "bind_unix_socket",
    "reset_on_close",
]

#: Connections the kernel queues before they are accepted.
DEFAULT_BACKLOG = 128

#: Seconds to wait before accepting again after descriptors or memory have run out.
ACCEPT_PAUSE = 1.0

#: What the system is out of when accept() fails but the listening socket is sound.
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

#: ``struct linger``: on, and no seconds.
_AT_ONCE = struct.pack("ii" if os.name == "posix" else "hh", 1, 0)

#: Attempts to find a port that is free for every family when any port will do.
_PORT_ATTEMPTS = 20

# The backlog a socket was bound with: asyncio calls listen() once more and would otherwise change it.
_backlogs: "WeakKeyDictionary[socket.socket, int]" = WeakKeyDictionary()


def backlog_of(sock: socket.socket) -> int:
    """Return the backlog a socket of `bind_sockets` or `bind_unix_socket` was given, else the default."""
    return _backlogs.get(sock, DEFAULT_BACKLOG)


def reset_on_close(sock: Any) -> None:
    """Have the close of a connection drop what its peer has not taken (SO_LINGER), and reset it.

    Else the kernel goes on sending what it holds after the close, megabytes maybe, at whatever pace the peer likes.

    :param sock: of TCP; anything else, or None, is left as it is.
    """
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        except OSError:  # closed already
            pass


def bind_sockets(
    port: int,
    address: str | None = None,
    family: socket.AddressFamily = socket.AF_UNSPEC,
    backlog: int = DEFAULT_BACKLOG,
    flags: int | None = None,
    reuse_port: bool = False,
) -> list[socket.socket]:
    """Return non-blocking sockets that listen on the given port, one for each address the host has.

    :param port: 0 to 65535; 0 takes a free port, the same for every address.
    :param address: an IP address, a host name (all its addresses) or None or ``""`` for every interface.
    :param family: ``socket.AF_INET`` or ``socket.AF_INET6`` to use only that one.
    :param backlog: the number of connections that may wait to be accepted.
    :param flags: ``AI_*`` flags for ``getaddrinfo``; by default ``AI_PASSIVE``.
    :param reuse_port: set ``SO_REUSEPORT``, so that several processes may listen on the port.
    :raises ValueError: `reuse_port` is not possible here.
    :raises OSError: no address could be bound.  The first failure closes what was bound before.
    """
    if reuse_port and not hasattr(socket, "SO_REUSEPORT"):
        raise ValueError("this platform does not support reuse_port (SO_REUSEPORT)")
    if family == socket.AF_UNSPEC and not socket.has_ipv6:
        family = socket.AF_INET
    found = socket.getaddrinfo(
        address or None,
        port,
        family,
        socket.SOCK_STREAM,
        0,
        socket.AI_PASSIVE if flags is None else flags,
    )
    # The order is kept, IPv4 first where both are there: a test that takes the first socket then gets
    # 127.0.0.1.
    addresses = sorted(dict.fromkeys((info[0], info[2], info[4]) for info in found), key=_ipv6_last)
    for attempt in range(_PORT_ATTEMPTS):
        try:
            return _bind_all(addresses, port, address, backlog, reuse_port)
        except OSError as exc:
            # The free port of the first address may be taken for the second: try another one.
            if port != 0 or exc.errno != errno.EADDRINUSE or attempt == _PORT_ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def _ipv6_last(entry: tuple[Any, ...]) -> bool:
    return bool(entry[0] == socket.AF_INET6)


def _bind_all(
    addresses: list[tuple[Any, ...]], port: int, address: str | None, backlog: int, reuse_port: bool
) -> list[socket.socket]:
    bound: list[socket.socket] = []
    refused: OSError | None = None
    try:
        for family, protocol, sockaddr in addresses:
            if port == 0 and bound:
                sockaddr = (sockaddr[0], bound[0].getsockname()[1], *sockaddr[2:])
            try:
                bound.append(_bind(family, protocol, sockaddr, backlog, reuse_port))
            except OSError as exc:
                # A host may have IPv6 in its headers and its names, but not on its interfaces.
                if exc.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                    raise
                refused = exc
        if not bound:
            raise refused or OSError(errno.EADDRNOTAVAIL, f"no address to listen on for {address!r}")
    except BaseException:
        for sock in bound:
            sock.close()
        raise
    return bound


def _bind(
    family: socket.AddressFamily, protocol: int, sockaddr: Any, backlog: int, reuse_port: bool
) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM, protocol)
    try:
        if os.name != "nt":  # on Windows it would let another program take the port away
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            # Else the IPv6 socket of every interface takes IPv4 as well, and the IPv4 one cannot be bound.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            sock.bind(sockaddr)
        except OSError as exc:
            raise OSError(
                exc.errno, f"cannot listen on {sockaddr[0]} port {sockaddr[1]}: {exc.strerror}"
            ) from exc
        sock.setblocking(False)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    _backlogs[sock] = backlog
    return sock


def bind_unix_socket(file: str, mode: int = 0o600, backlog: int = DEFAULT_BACKLOG) -> socket.socket:
    """Return a non-blocking Unix socket that listens at a path.

    :param file: the path; a socket that is there already is replaced.  A name that begins with a NUL is in
        Linux' abstract namespace, where neither paths nor modes exist.
    :param mode: the permissions of the path.  Nobody can connect before they are set.
    :param backlog: the number of connections that may wait to be accepted.
    :raises ValueError: there is something else than a socket at the path.
    :raises OSError: the path cannot be bound, or this platform has no Unix sockets.
    """
    if not hasattr(socket, "AF_UNIX"):
        raise OSError(errno.EAFNOSUPPORT, "this platform does not support Unix sockets")
    abstract = file.startswith("\0")
    if not abstract:
        try:
            present = os.lstat(file).st_mode
        except FileNotFoundError:
            pass
        else:
            if not stat.S_ISSOCK(present):
                raise ValueError(f"{file!r} exists and is not a socket")
            os.remove(file)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        try:
            sock.bind(file)
        except OSError as exc:
            raise OSError(
                exc.errno, f"cannot listen on the Unix socket {file!r}: {exc.strerror or exc}"
            ) from exc
        if not abstract:
            os.chmod(file, mode)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    _backlogs[sock] = backlog
    return sock


def add_accept_handler(
    sock: socket.socket, callback: Callable[[socket.socket, Any], None]
) -> Callable[[], None]:
    """Accept connections on the current `IOLoop` and call ``callback(connection, address)`` for each.

    :param sock: a listening socket, not blocking.
    :return: a function that ends it; the socket stays open.

    The connections are plain sockets.  When descriptors or memory run out, accepting pauses for a second.
    """
    io_loop = IOLoop.current()
    resume: object | None = None
    removed = False

    def accept(fd: Any, events: int) -> None:
        # Not for ever: other descriptors wait for their turn.
        for _ in range(backlog_of(sock)):
            if removed:
                return
            try:
                connection, address = sock.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue  # gone while it was waiting
            except OSError as exc:
                if exc.errno not in EXHAUSTED:
                    raise
                pause(exc)
                return
            connection.setblocking(False)
            callback(connection, address)

    def pause(exc: OSError) -> None:
        nonlocal resume
        # The socket stays readable, so watching it on would only burn the processor.
        app_log.error("Accepting connections pauses for %g s: %s", ACCEPT_PAUSE, exc)
        io_loop.remove_handler(sock)
        resume = io_loop.call_later(ACCEPT_PAUSE, start)

    def start() -> None:
        nonlocal resume
        resume = None
        io_loop.add_handler(sock, accept, IOLoop.READ)

    def remove() -> None:
        nonlocal removed
        if not removed:
            removed = True
            if resume is not None:
                io_loop.remove_timeout(resume)
            else:
                io_loop.remove_handler(sock)

    start()
    return remove
