"""What systemd and a supervisor tell each other: sockets, readiness, a watchdog (`Notifier`); no unit file enters."""

import os
import socket
import time
from collections.abc import Mapping, MutableMapping
from typing import Protocol

__all__ = ["Notifier", "Tree", "activated_sockets", "notify_socket"]

#: The first descriptor that a service manager passes (SD_LISTEN_FDS_START).
FIRST_DESCRIPTOR = 3

#: Seconds between two messages that change nothing but the status line.
STATUS_INTERVAL = 1.0


class Tree(Protocol):
    """What a `Notifier` asks a supervisor."""

    ready: bool
    stopping: bool
    reloads: int

    @property
    def successor(self) -> int | None: ...

    @property
    def reloading(self) -> bool: ...

    @property
    def well(self) -> bool: ...

    def summary(self) -> str: ...


class Notifier:
    """Tells the service manager how the tree is (sd_notify(3)); a guest of the supervisor's loop.

    :param tree: the supervisor.
    :param environ: where ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and ``WATCHDOG_PID`` are.

    What is sent: ``READY=1`` with ``MAINPID`` when all workers are ready, and again when a reload is over;
    ``RELOADING=1`` when one begins; ``STOPPING=1``; ``STATUS=`` when it has changed; ``WATCHDOG=1`` twice in the time
    that the unit's ``WatchdogSec`` sets, as long as the tree is well.  Without ``NOTIFY_SOCKET`` nothing is.  While an
    upgrade is under way the new supervisor, which takes over with its ``MAINPID``, speaks for the service.

    ``WATCHDOG_PID`` is taken out of the environment: what an upgrade starts is to go on with the watchdog.
    """

    def __init__(self, tree: Tree, environ: MutableMapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ
        self._tree = tree
        self._socket = notify_socket(self._environ)
        self._interval = _watchdog_interval(self._environ)
        self._environ.pop("WATCHDOG_PID", None)
        #: The most seconds until `turned` is to be called again.
        self.patience = self._interval or 60.0
        self._beat_at = 0.0
        self._said_at = 0.0
        self._said = ""
        self._reloads = tree.reloads
        self._phase = "starting"

    def turned(self) -> None:
        """Send what is new, or due."""
        if self._socket is None:
            return
        now = time.monotonic()
        if self._tree.successor is None:
            self._look(now)
        if self._interval and now >= self._beat_at and self._tree.well:
            self._beat_at = now + self._interval
            self.send(WATCHDOG="1")

    def _look(self, now: float) -> None:
        tree = self._tree
        reloads, self._reloads = self._reloads, tree.reloads
        phase = "stopping" if tree.stopping else "starting" if not tree.ready else "ready"
        if phase == "ready" and tree.reloading:
            phase = "reloading"
        elif phase == self._phase == "ready" and reloads != tree.reloads:
            self._enter("reloading")  # it was over before anybody looked: refused, or nothing to replace
        if phase != self._phase:
            self._enter(phase)
        summary = tree.summary()
        if summary != self._said and now >= self._said_at + STATUS_INTERVAL:
            self._said, self._said_at = summary, now
            self.send(STATUS=summary)

    def _enter(self, phase: str) -> None:
        self._phase = phase
        if phase == "ready":
            self.send(READY="1", MAINPID=str(os.getpid()))
        elif phase == "reloading":
            self.send(RELOADING="1", MONOTONIC_USEC=str(time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000))
        elif phase == "stopping":
            self.send(STOPPING="1")

    def send(self, **fields: str) -> bool:
        """Send one message.

        :param fields: as sd_notify(3) has them; line ends in their values become blanks.
        :returns: whether it was sent; nobody waits for a service manager that does not read.
        """
        if self._socket is None:
            return False
        text = "\n".join(f"{name}={' '.join(value.splitlines())}" for name, value in fields.items())
        try:
            self._socket.send(text.encode("utf-8", "replace"))
        except OSError:
            return False
        return True

    def forked(self) -> None:
        """In a worker: what it starts is not to speak to the service manager in our name."""
        for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC"):
            self._environ.pop(name, None)
        self._close()

    def ended(self, status: int | None) -> None:
        """The supervisor ends."""
        self._close()

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def notify_socket(environ: Mapping[str, str]) -> socket.socket | None:
    """Return a socket to the service manager that ``NOTIFY_SOCKET`` names, None when there is none to talk to."""
    name = environ.get("NOTIFY_SOCKET", "")
    if name[:1] not in ("/", "@") or not hasattr(socket, "AF_UNIX"):
        return None
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.connect("\0" + name[1:] if name[0] == "@" else name)
    except OSError:
        sock.close()
        return None
    return sock


def _watchdog_interval(environ: Mapping[str, str]) -> float:
    """Seconds between two signs of life: half of what the service manager waits; 0 when it does not wait for any."""
    text, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID")
    if not (text.isascii() and text.isdigit() and len(text) < 19) or pid not in (None, str(os.getpid())):
        return 0.0
    return int(text) / 2_000_000


def activated_sockets(environ: MutableMapping[str, str] | None = None) -> list[tuple[str, socket.socket]]:
    """Return the listening sockets that the service manager has opened for this process (sd_listen_fds(3)).

    They are taken: the variables are removed from the environment, and the sockets are not inherited by programs.

    :param environ: where ``LISTEN_PID``, ``LISTEN_FDS`` and ``LISTEN_FDNAMES`` are.
    :returns: each with its name (``FileDescriptorName=``, else the socket unit's), in the order of the unit's lines;
        none when they are for another process.
    :raises ValueError: the variables are wrong, or a descriptor is no listening stream socket; the message is one
        sentence.
    """
    environ = os.environ if environ is None else environ
    pid, count, names = (environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"))
    if pid != str(os.getpid()):
        return []
    if not (count.isascii() and count.isdigit() and len(count) < 6):
        raise ValueError(f"LISTEN_FDS is the number of sockets that systemd has opened, not {count!r}")
    labels = names.split(":") if names else []
    found: list[tuple[str, socket.socket]] = []
    try:
        for index in range(int(count)):
            label = labels[index] if index < len(labels) else "unknown"
            found.append((label, _listener(FIRST_DESCRIPTOR + index)))
    except ValueError:
        for _, sock in found:
            sock.close()
        raise
    return found


def _listener(fd: int) -> socket.socket:
    try:
        sock = socket.socket(fileno=fd)
    except OSError as error:
        raise ValueError(
            f"systemd has passed descriptor {fd}, which is no socket: {error.strerror}"
        ) from None
    if sock.type != socket.SOCK_STREAM or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.detach()
        raise ValueError(
            f"systemd has passed descriptor {fd}, which is no listening stream socket: the socket unit needs "
            "ListenStream= and Accept=no"
        )
    sock.setblocking(False)
    sock.set_inheritable(False)
    return sock
