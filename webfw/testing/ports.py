"""A listening socket on a port that nobody else has, and how long a test may take; no server may enter."""

import os
import socket

from webfw.netutil import bind_sockets

__all__ = ["bind_unused_port", "get_async_test_timeout"]

#: Seconds, where ``ASYNC_TEST_TIMEOUT`` does not say otherwise.
DEFAULT_TIMEOUT = 5.0


def bind_unused_port(reuse_port: bool = False, address: str = "127.0.0.1") -> tuple[socket.socket, int]:
    """Bind a listening socket to a free port; it is never handed out twice, since it is bound already.

    :param reuse_port: set ``SO_REUSEPORT``, so that other sockets may be bound to it too.
    :param address: the interface, an IP address or a name of this host.
    :returns: the socket, which is the caller's to close, and its port.
    :raises ValueError: ``reuse_port`` is not possible here.
    :raises OSError: the address cannot be bound.
    """
    # One socket: where a name has addresses of both families, the rest would be left over.
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = bind_sockets(0, address, family=family, reuse_port=reuse_port)[0]
    return sock, sock.getsockname()[1]


def get_async_test_timeout() -> float:
    """Seconds that a test may wait: the environment's ``ASYNC_TEST_TIMEOUT``, or 5."""
    try:
        return float(os.environ["ASYNC_TEST_TIMEOUT"])
    except (KeyError, ValueError):
        return DEFAULT_TIMEOUT
