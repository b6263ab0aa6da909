"""Where a command listens: sockets and certificate by their names on the command line; serving stays out."""

import contextlib
import errno
import os
import socket
import ssl
from collections.abc import Sequence

from webfw.cli.errors import FAILED, USAGE, CommandError
from webfw.netutil import bind_sockets, bind_unix_socket, parse_bind

__all__ = ["Listener", "bind_all", "close_all", "tls_context"]


class Listener:
    """One listening socket and the name people know it by."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        name = sock.getsockname()
        self.address: str | tuple[str, int] = name[:2] if isinstance(name, tuple) else os.fsdecode(name)
        is_path = isinstance(self.address, str) and not self.address.startswith("\0")
        self._inode = _inode(str(self.address)) if is_path else None

    def url(self, tls: bool) -> str:
        """Return what to type into a browser, or ``unix:PATH``."""
        if isinstance(self.address, str):
            path = "@" + self.address[1:] if self.address.startswith("\0") else self.address
            return f"unix:{path}{' with TLS' if tls else ''}"
        host, port = self.address
        if ":" in host:
            host = f"[{host}]"
        return f"{'https' if tls else 'http'}://{host}:{port}"

    def close(self) -> None:
        """Close the socket, and remove a UNIX socket's file unless another server has put its own there."""
        self.socket.close()
        if isinstance(self.address, str) and self._inode is not None and _inode(self.address) == self._inode:
            with contextlib.suppress(OSError):
                os.unlink(self.address)


def _inode(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def bind_all(addresses: Sequence[str]) -> list[Listener]:
    """Bind every address, or none.

    :param addresses: each ``HOST:PORT``, ``[IPv6]:PORT``, ``:PORT``, ``unix:PATH`` or ``fd://NUMBER``.
    :raises CommandError: with status 2 for a malformed address, with status 1 when it cannot be bound.
    """
    listeners: list[Listener] = []
    try:
        for address in addresses:
            listeners += [Listener(sock) for sock in _bind(address)]
    except CommandError:
        close_all(listeners)
        raise
    return listeners


def close_all(listeners: Sequence[Listener]) -> None:
    """Close every listener."""
    for listener in listeners:
        listener.close()


def _bind(address: str) -> list[socket.socket]:
    try:
        place = parse_bind(address)
    except ValueError as error:
        raise CommandError(f"--bind: {error}", USAGE) from None
    try:
        if place.path is not None:
            return [bind_unix_socket(place.path)]
        if place.fd is not None:
            return [_inherited(place.fd)]
        assert place.port is not None
        return bind_sockets(place.port, place.host)
    except OSError as error:
        raise CommandError(f"cannot listen on {address}: {_why(error)}", FAILED) from None
    except ValueError as error:  # something else than a socket stands at the path
        raise CommandError(f"cannot listen on {address}: {error}", FAILED) from None


def _inherited(fd: int) -> socket.socket:
    """The listening socket that the parent process has opened as descriptor ``fd``."""
    sock = socket.socket(fileno=fd)
    if sock.type != socket.SOCK_STREAM or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.detach()
        raise ValueError("the descriptor is not a listening stream socket")
    sock.setblocking(False)
    return sock


def _why(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the address is already in use"
    if isinstance(error, socket.gaierror):
        return "the host name cannot be resolved"
    return os.strerror(error.errno).lower() if error.errno else str(error)


def tls_context(certfile: str | None, keyfile: str | None) -> ssl.SSLContext | None:
    """Return the server side context for a certificate, None without one.

    :param certfile: certificate chain in PEM form.
    :param keyfile: its private key, when not in the same file.
    :raises CommandError: with status 2 for a key without a certificate, with status 1 for an unusable file.
    """
    if certfile is None:
        if keyfile is not None:
            raise CommandError("--keyfile needs --certfile", USAGE)
        return None
    for option, path in (("--certfile", certfile), ("--keyfile", keyfile)):
        if path is not None:
            try:
                with open(path, "rb"):
                    pass
            except OSError as error:
                raise CommandError(f"{option} {path}: {_why(error)}", FAILED) from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])

    def refuse() -> str:
        # OpenSSL would ask the terminal; a server has nobody sitting there.
        raise CommandError(
            f"{keyfile or certfile}: the private key is encrypted; store it without a password", FAILED
        )

    try:
        context.load_cert_chain(certfile, keyfile, password=refuse)
    except ssl.SSLError as error:
        files = certfile if keyfile is None else f"{certfile} and {keyfile}"
        reason = (error.reason or str(error)).replace("_", " ").lower()
        message = f"{files}: not a certificate with its private key in PEM form ({reason})"
        raise CommandError(message, FAILED) from None
    return context
