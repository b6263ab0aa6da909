"""Where a command listens: sockets and certificate by their names on the command line; serving stays out."""

import contextlib
import errno
import json
import os
import socket
import ssl
from collections.abc import Iterator, MutableMapping, Sequence
from itertools import chain

from webfw.cli.errors import FAILED, USAGE, CommandError
from webfw.netutil import bind_sockets, bind_unix_socket, parse_bind
from webfw.process.identity import find_owner

__all__ = ["INHERITED", "Listener", "Listeners", "tls_context"]

#: The environment variable in which a supervisor hands its sockets to the one that takes over: JSON of the descriptors
#: by address.
INHERITED = "WEBFW_LISTENERS"

_BACKLOG = 1024

# What the names of sockets begin with that the service manager has opened.
_GIVEN = "systemd:"

# What the name of the admin address begins with among those of the application.
_ADMIN = "admin "


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


class Listeners:
    """What a process tree listens on.

    :param addresses: each ``HOST:PORT``, ``[IPv6]:PORT``, ``:PORT``, ``unix:PATH`` or ``fd://NUMBER``.
    :param backlog: connections that the kernel keeps until they are accepted.
    :param unix_mode: permissions of unix sockets.
    :param unix_owner: ``USER``, ``USER:GROUP`` or ``:GROUP`` of unix sockets; None for whoever binds them.
    :param reuse_port: whether each worker has TCP sockets of its own (``SO_REUSEPORT``), made by `prepare`.
    :param admin: an address of its own, for health and metrics.
    :param given: sockets that somebody else has opened for us, in place of ``addresses``, each with its name.
    :param environ: where a supervisor that hands over has left its sockets; they are taken out of it.
    :raises CommandError: with status 2 for a malformed address, with status 1 when it cannot be bound.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        *,
        backlog: int = _BACKLOG,
        unix_mode: int = 0o600,
        unix_owner: str | None = None,
        reuse_port: bool = False,
        admin: str | None = None,
        given: Sequence[tuple[str, socket.socket]] = (),
        environ: MutableMapping[str, str] | None = None,
    ) -> None:
        inherited = json.loads((os.environ if environ is None else environ).pop(INHERITED, "{}"))
        passed = {f"{_GIVEN}{index}:{name}": sock for index, (name, sock) in enumerate(given)}
        addresses = list(passed) or [name for name in inherited if name.startswith(_GIVEN)] or addresses
        # A name of its own, for who binds it and the application to the same address.
        self._admin = None if admin is None else _ADMIN + admin
        self._handed_over = False
        self._by_address: dict[str, list[Listener]] = {}
        self._of_slot: dict[int, list[socket.socket]] = {}
        self._reuse_port = reuse_port
        self._backlog = backlog
        try:
            for address in addresses if self._admin is None else [*addresses, self._admin]:
                if address in passed:
                    self._by_address[address] = [Listener(passed[address])]
                elif address in inherited:
                    taken = [_inherited(fd) for fd in inherited.pop(address)]
                    self._by_address[address] = [Listener(sock) for sock in taken]
                else:
                    is_admin = address == self._admin
                    self._by_address[address] = _listeners(
                        address.removeprefix(_ADMIN),
                        backlog,
                        unix_mode,
                        unix_owner,
                        reuse_port and not is_admin,
                    )
        except CommandError:
            self.close()
            raise
        for left in inherited.values():  # addresses that are not listened on any more
            for fd in left:
                os.close(fd)

    def __iter__(self) -> Iterator[Listener]:
        """Where the application is served."""
        for address, listeners in self._by_address.items():
            if address != self._admin:
                yield from listeners

    @property
    def admin(self) -> list[Listener]:
        """Where health and metrics are asked for."""
        return [] if self._admin is None else self._by_address[self._admin]

    def prepare(self, number: int) -> None:
        """Bind what the worker in this slot has for itself; its successor gets the same."""
        if not self._reuse_port or number in self._of_slot:
            return
        if not self._of_slot:
            self._of_slot[number] = [listener.socket for listener in self]
            return
        own: list[socket.socket] = []
        for listener in self:
            if isinstance(listener.address, str):
                own.append(listener.socket)
            else:
                host, port = listener.address
                own += bind_sockets(port, host, backlog=self._backlog, reuse_port=True)
        self._of_slot[number] = own

    def sockets(self, number: int) -> list[socket.socket]:
        """What the worker in this slot accepts on."""
        return self._of_slot.get(number) or [listener.socket for listener in self]

    def keep(self, number: int) -> None:
        """In the worker in this slot: let go of what others accept on.

        The kernel gives connections to a socket as long as one process has it open, and theirs would wait here.
        """
        if self._reuse_port:
            kept = {id(sock) for sock in [*self.sockets(number), *(admin.socket for admin in self.admin)]}
            for sockets in [[listener.socket for listener in self], *self._of_slot.values()]:
                for sock in sockets:
                    if id(sock) not in kept:
                        sock.close()

    def release(self, number: int) -> None:
        """Nobody accepts in this slot from now on but the worker that is leaving it."""
        shared = {id(listener.socket) for listener in self}
        for sock in self._of_slot.pop(number, ()):
            if id(sock) not in shared:
                sock.close()

    def hand_over(self) -> tuple[dict[str, str], list[int]]:
        """Let a new supervisor have the sockets.

        :returns: environment variables for it, and the descriptors that it must inherit.
        """
        fds = {
            address: [listener.socket.fileno() for listener in listeners]
            for address, listeners in self._by_address.items()
        }
        self._handed_over = True
        return {INHERITED: json.dumps(fds)}, [fd for group in fds.values() for fd in group]

    def take_back(self) -> None:
        """Nobody has taken over: the paths of unix sockets are ours to remove again."""
        self._handed_over = False

    def close(self) -> None:
        """Close all, and remove the files of unix sockets unless another process has them."""
        for listener in chain.from_iterable(self._by_address.values()):
            if self._handed_over:
                listener.socket.close()
            else:
                listener.close()
        for sockets in self._of_slot.values():
            for sock in sockets:
                sock.close()


def _listeners(
    address: str, backlog: int, unix_mode: int, unix_owner: str | None, reuse_port: bool
) -> list[Listener]:
    try:
        place = parse_bind(address)
    except ValueError as error:
        raise CommandError(f"--bind: {error}", USAGE) from None
    try:
        if place.path is not None:
            listener = Listener(bind_unix_socket(place.path, unix_mode, backlog))
            try:
                if unix_owner is not None and not place.path.startswith("\0"):
                    _give(place.path, unix_owner)
            except BaseException:
                listener.close()
                raise
            return [listener]
        if place.fd is not None:
            return [Listener(_inherited(place.fd))]
        assert place.port is not None
        sockets = bind_sockets(place.port, place.host, backlog=backlog, reuse_port=reuse_port)
        return [Listener(sock) for sock in sockets]
    except OSError as error:
        raise CommandError(f"cannot listen on {address}: {_why(error)}", FAILED) from None
    except ValueError as error:  # something else than a socket stands at the path
        raise CommandError(f"cannot listen on {address}: {error}", FAILED) from None


def _give(path: str, owner: str) -> None:
    try:
        os.chown(path, *find_owner(owner))
    except ValueError as error:
        raise CommandError(f"--unix-owner: {error}", FAILED) from None


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
        return "the address is already in use; stop what listens there, or name another address"
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
