"""Where a hub is: the path of its socket, the lock beside it, and who starts it; no frame may enter.

The lock ``PATH.lock`` belongs to the hub for as long as it lives, so there is one hub at most; it has the hub's process
id.  A worker that finds no
hub takes the lock, starts a hub, and hands the locked descriptor on to it: of several that want to start one, one does.
"""

import os
import socket
import stat
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from webfw.netutil.sockets import bind_unix_socket
from webfw.process.fork import process_tree
from webfw.pubsub.broker import BrokerUnavailable

__all__ = ["SOCKET", "Place", "default_path", "peer_process", "start_hub"]

#: The environment variable that names the socket for ``workers:`` without a path.
SOCKET = "WEBFW_WORKERS_SOCKET"

#: The longest path of a socket in bytes, as ``sun_path`` has it, with the NUL that ends it not counted.
MAX_PATH = 107 if sys.platform == "linux" else 103


def default_path() -> str:
    """The path of ``workers:``: ``$WEBFW_WORKERS_SOCKET``, or one for this process tree in a directory of this user."""
    named = os.environ.get(SOCKET)
    if named:
        return named
    return os.path.join(tempfile.gettempdir(), f"webfw-{_uid()}", f"{process_tree()}.sock")


def _uid() -> int:
    return os.geteuid() if hasattr(os, "geteuid") else 0


def peer_process(sock: Any) -> tuple[int, int] | None:
    """Id and user of the process at the other end of a Unix socket, where the system tells them.

    Of a server it is the process that has begun to listen, which may have handed the socket on.
    """
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return None
    pid, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, option, 12))
    return pid, uid


class Place:
    """The files of one hub: its socket and its lock.

    :ivar path: of the socket, absolute.
    :raises ValueError: the path is too long for a socket.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        size = len(os.fsencode(self.path))
        if size > MAX_PATH:
            raise ValueError(
                f"the path of a socket can have {MAX_PATH} bytes, not {size}: {self.path!r}; "
                f"name a shorter one by workers:/PATH or ${SOCKET}"
            )
        self.uid = _uid()
        self._lock: int | None = None
        self._identity: tuple[int, int] | None = None

    # What both sides check.

    def check(self) -> None:
        """Refuse what another user has made.

        :raises FileNotFoundError: there is no socket.
        :raises BrokerUnavailable: it is not ours, or no socket at all.
        """
        found = os.lstat(self.path)
        if found.st_uid != self.uid:
            raise BrokerUnavailable(
                f"workers:{self.path} belongs to user {found.st_uid}, not to us ({self.uid})"
            )
        if not stat.S_ISSOCK(found.st_mode):
            raise BrokerUnavailable(f"workers:{self.path} is no socket")

    def _check_directory(self) -> None:
        """Make the directory if need be; refuse one in which others could put a socket in place of ours."""
        directory = Path(self.path).parent
        if not directory.exists():
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = os.stat(directory)
        theirs = found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX
        if found.st_uid not in (self.uid, 0) or theirs:
            raise BrokerUnavailable(
                f"workers:{self.path}: other users can change {directory}; it must belong to us, with mode 0700"
            )

    # The lock.

    def lock(self) -> bool:
        """Take the lock; False when somebody has it.

        :raises BrokerUnavailable: it cannot be made.
        """
        import fcntl

        name = self.path + ".lock"
        try:
            self._check_directory()
            while True:
                fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if self._is_lock(fd):
                        self._lock = fd
                        return True
                except BlockingIOError:
                    os.close(fd)
                    return False
                except BaseException:
                    os.close(fd)
                    raise
                os.close(fd)  # removed by the one who had it before us: a new one is there, or to be made
        except OSError as error:
            raise BrokerUnavailable(f"workers:{self.path}: {error}") from error

    def _is_lock(self, fd: int) -> bool:
        """Whether a descriptor is that of the file which stands at the lock's path now."""
        try:
            found = os.lstat(self.path + ".lock")
        except FileNotFoundError:
            return False
        return os.path.samestat(found, os.fstat(fd))

    def adopt(self, fd: int) -> bool:
        """Take over the lock that the process which started us has taken; False when it has not."""
        import fcntl

        try:
            os.set_inheritable(fd, False)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            good = self._is_lock(fd)
        except OSError:
            return False
        if good:
            self._lock = fd
        return good

    def hand_over(self) -> int:
        """The locked descriptor, for the process that is started now; we keep ours until `release`."""
        assert self._lock is not None
        return self._lock

    def unlock(self) -> None:
        """Let go of our descriptor; the lock stays with the process that has got it too."""
        fd, self._lock = self._lock, None
        if fd is not None:
            os.close(fd)

    # The hub's side.

    def claim(self, lock_fd: int | None, backlog: int) -> socket.socket:
        """Take the lock and bind the socket.

        :raises BrokerUnavailable: another hub is there, or the path cannot be used.
        """
        if not (self.lock() if lock_fd is None else self.adopt(lock_fd)):
            raise BrokerUnavailable(f"workers:{self.path}: another hub is there")
        try:
            try:
                self.check()  # what is there now was left by a hub that has died: only then is it replaced
            except FileNotFoundError:
                pass
            sock = bind_unix_socket(self.path, 0o600, backlog)
            found = os.lstat(self.path)
            self._identity = (found.st_dev, found.st_ino)
        except OSError as error:
            self.release()
            raise BrokerUnavailable(f"workers:{self.path}: {error}") from error
        except BaseException:
            self.release()
            raise
        return sock

    def sign(self) -> None:
        """Write our process id into the lock, for people who look for the hub."""
        if self._lock is not None:
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)

    def is_ours(self) -> bool:
        """Whether the socket at the path is still the one that was bound."""
        try:
            found = os.lstat(self.path)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._identity

    def forget_socket(self) -> None:
        """Remove the socket, if it is ours."""
        if self.is_ours():
            os.unlink(self.path)

    def release(self) -> None:
        """Remove the lock and let go of it."""
        if self._lock is not None:
            # Only now that it is locked: who opens it next finds that it is not the file at the path any more.
            if self._is_lock(self._lock):
                os.unlink(self.path + ".lock")
            self.unlock()


def start_hub(place: Place, linger: float) -> "subprocess.Popen[bytes] | None":
    """Start a hub as a process of its own; None when there is one, or somebody else is about to.

    :returns: a process that ends at once when the hub listens, with another status than 0 when it cannot.
    :raises BrokerUnavailable: it cannot be started.
    """
    if not place.lock():
        return None
    try:
        fd = place.hand_over()
        package = str(Path(__file__).parents[3])
        path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
        command = [sys.executable, "-P", "-m", "webfw.pubsub.workers", "--socket", place.path, "--background"]
        # Its own session: Ctrl-C in the terminal ends the workers, and the hub ends when they have gone.
        return subprocess.Popen(
            [*command, "--lock-fd", str(fd), "--linger", str(linger)],
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[fd],
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise BrokerUnavailable(
            f"workers:{place.path}: the hub cannot be started ({error}); "
            f"start it by python -m webfw.pubsub.workers --socket {place.path}"
        ) from error
    finally:
        place.unlock()
