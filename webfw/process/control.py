"""`ControlServer`: a UNIX socket at which the owner of a process tree asks and orders it; terminals may not enter.

The protocol: each line from the client is a JSON object with the key ``command``; each is answered by one line, an
object in which ``ok`` is true, or false beside ``error``, a sentence.
"""

import contextlib
import itertools
import json
import os
import selectors
import socket
import stat
import struct
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from webfw._version import __version__
from webfw.process.roster import Member
from webfw.process.supervisor import Supervisor

__all__ = ["ControlError", "ControlServer", "default_path", "directories"]

#: Seconds that a client has for its line and for taking its answer, and that it may be idle.
PATIENCE = 60.0

#: Bytes of one line from a client.
MAX_LINE = 65536

#: Clients at the same time.
MAX_CLIENTS = 32

#: Seconds until a worker that says nothing counts as one that cannot.
STACKS_PATIENCE = 2.0

#: Bytes of a path that every system takes for the address of a socket.
MAX_PATH = 103

#: Most workers of a tree.
MAX_WORKERS = 1024

Answer = dict[str, Any]
Later = Callable[[], Answer | None]


class ControlError(Exception):
    """A tree cannot be controlled, or does not do what was asked; the message is one sentence."""


# --- where ---


def directories() -> list[Path]:
    """Where the control sockets of this user's trees are, the preferred directory first."""
    found = []
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime):
        found.append(Path(runtime, "webfw"))
    # Without a session, as under cron or systemd, there is no variable; the directory may be there all the same.
    for path in (Path(f"/run/user/{os.getuid()}/webfw"), Path(f"/tmp/webfw-{os.getuid()}")):
        if path not in found:
            found.append(path)
    return found


def default_path() -> str:
    """Return the path of this process's control socket, in a directory that only this user can enter.

    :raises ControlError: there is no such directory, and none can be made.
    """
    runtime, *_, last = directories()
    if runtime.parent.is_dir() and runtime != last and os.access(runtime.parent, os.W_OK):
        directory = runtime
    else:
        directory = last
    try:
        with contextlib.suppress(FileExistsError):
            directory.mkdir(0o700)
        found = directory.lstat()
    except OSError as error:
        raise ControlError(f"no directory {directory} for the control socket: {_why(error)}") from None
    # In /tmp somebody else may have been there before.
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise ControlError(f"{directory} is not a directory that only this user can enter: remove it")
    return str(directory / f"{os.getpid()}.sock")


# --- the server ---


class ControlServer:
    """Answers ``webfw ctl``; a guest of the supervisor's loop, in which nothing ever waits.

    :param supervisor: whom it speaks for.
    :param path: of the socket; by default one named after this process in a directory of this user's.
    :param take_over: whether a server that answers at this path is replaced: the one this process is an upgrade of.
        Until this one is ready, its own socket has ``.2`` added to its name.
    :raises ControlError: the socket cannot be made.

    The socket has mode 600, and where the system says who connects, only this user and root are listened to.
    """

    def __init__(self, supervisor: Supervisor, path: str | None = None, take_over: bool = False) -> None:
        self.supervisor = supervisor
        self.path = os.path.abspath(path or default_path())
        self._clients: list[_Client] = []
        self._numbers = itertools.count(1)
        #: Where the socket is at present.
        self.place = self.path
        if take_over and is_alive(self.path):
            self.place += ".2"
        self._socket, self._inode = _bind(self.place)
        supervisor.selector.register(self._socket, selectors.EVENT_READ, self._accept)

    @property
    def patience(self) -> float:
        """The most seconds until `turned` is to be called again."""
        return 0.1 if any(client.later is not None for client in self._clients) else 60.0

    def turned(self) -> None:
        """Give the answers that had to wait, and let go of clients that take too long."""
        now = time.monotonic()
        if self.place != self.path and self.supervisor.ready:
            with contextlib.suppress(OSError):
                os.replace(self.place, self.path)
                self.place = self.path
        for client in list(self._clients):
            if client.later is not None:
                answer = client.later()
                if answer is not None:
                    client.later = None
                    if client.closed:  # nobody wants to know any more, but it had to be brought to its end
                        self._clients.remove(client)
                    else:
                        client.answer(answer)
            elif now > client.deadline:
                client.close()

    def forked(self) -> None:
        """In a worker: let go, without a trace."""
        for client in self._clients:
            client.socket.close()
        self._socket.close()

    def ended(self, status: int | None) -> None:
        """The supervisor ends: tell who waits for it, and remove the socket if it is still ours."""
        for client in list(self._clients):
            if client.later is not None and not client.closed:
                over = {"ok": True, "status": status}
                client.send(over if client.waits_for_end else refusal("the server has ended"))
                client.later = None
            client.close()
        self.supervisor.selector.unregister(self._socket)
        self._socket.close()
        with contextlib.suppress(OSError):
            if _inode(self.place) == self._inode:
                os.unlink(self.place)

    def _accept(self) -> None:
        try:
            sock, _ = self._socket.accept()
        except OSError:  # gone again, or no descriptor left
            return
        if len(self._clients) >= MAX_CLIENTS or not _may_control(sock):
            sock.close()
            return
        self._clients.append(_Client(sock, self))

    def closed(self, client: "_Client") -> None:
        """A client is gone."""
        if client.later is None:
            self._clients.remove(client)

    # --- commands ---

    def perform(self, client: "_Client", request: Mapping[str, Any]) -> Answer | Later:
        """Do what a client asks; the answer, or what returns it when it is there."""
        command = request.get("command")
        if self.supervisor.stopping and command not in ("status", "stacks", "drain"):
            return refusal("the server is ending")
        if command == "status":
            return {"ok": True, "version": __version__, **self.supervisor.status()}
        if command == "reload":
            return self._reload()
        if command == "workers":
            return self._workers(request.get("change"))
        if command == "drain":
            self.supervisor.stop()
            client.waits_for_end = True
            return lambda: None
        if command == "stacks":
            return self._stacks()
        if command == "upgrade":
            return self._upgrade()
        if command == "reopen-logs":
            self.supervisor.reopen_logs()
            return {"ok": True}
        return refusal(f"there is no command {command!r}")

    def _reload(self) -> Answer | Later:
        supervisor = self.supervisor
        if not supervisor.ready:
            return refusal("the server is still starting")
        began = time.monotonic()
        supervisor.reload()
        generation = supervisor.generation

        def later() -> Answer | None:
            if supervisor.reload_error:
                return refusal(supervisor.reload_error)
            if supervisor.generation != generation:
                return refusal("another reload has begun meanwhile")
            if supervisor.stopping:
                return refusal("the server is ending")
            if not supervisor.renewed():
                return None
            seconds = round(time.monotonic() - began, 3)
            return {
                "ok": True,
                "generation": generation,
                "workers": len(supervisor.slots),
                "seconds": seconds,
            }

        return later() or later

    def _workers(self, change: object) -> Answer:
        text = str(change)
        sign, digits = (text[0], text[1:]) if text[:1] in ("+", "-") else ("", text)
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 4):
            return refusal(f"a number of workers, +N or -N is wanted, not {text!r}")
        wanted = int(digits)
        if sign:
            wanted = self.supervisor.target + (wanted if sign == "+" else -wanted)
        if not 1 <= wanted <= MAX_WORKERS:
            return refusal(f"there can be 1 to {MAX_WORKERS} workers, not {wanted}")
        former = self.supervisor.target
        self.supervisor.resize(wanted)
        return {"ok": True, "former": former, "workers": wanted}

    def _stacks(self) -> Later:
        supervisor = self.supervisor
        name = f"control {next(self._numbers)}"
        answers: dict[int, str] = {}
        asked = [member for member in supervisor.members() if not member.is_loading]

        def answered(member: Member, answer: dict[str, Any]) -> None:
            answers[member.pid] = str(answer.get("stacks", ""))

        supervisor.ask(name, "stacks", answered)
        deadline = time.monotonic() + STACKS_PATIENCE

        def later() -> Answer | None:
            there = {member.pid for member in supervisor.members()}
            if time.monotonic() < deadline and any(m.pid in there and m.pid not in answers for m in asked):
                return None
            supervisor.forget(name)
            return {"ok": True, "workers": [_stack_of(m, answers.get(m.pid)) for m in supervisor.members()]}

        return later

    def _upgrade(self) -> Answer:
        if self.supervisor.successor is not None:
            return refusal(f"an upgrade is under way: process {self.supervisor.successor}")
        self.supervisor.upgrade()
        if self.supervisor.successor is None:
            return refusal("the new supervisor cannot be started: see the log")
        return {"ok": True, "successor": self.supervisor.successor}


def _stack_of(member: Member, stacks: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "worker": member.number,
        "pid": member.pid,
        "state": member.state.value,
        "stacks": stacks,
    }
    if stacks is None and not member.is_loading:
        found["silent"] = round(time.monotonic() - member.last_beat, 1)
        found["blocked"] = member.blocked or None
    return found


def refusal(why: str) -> Answer:
    """The answer when something is not done."""
    return {"ok": False, "error": why}


class _Client:
    """One connection to a `ControlServer`."""

    __slots__ = ("_server", "_unread", "_unsent", "closed", "deadline", "later", "socket", "waits_for_end")

    def __init__(self, sock: socket.socket, server: ControlServer) -> None:
        sock.setblocking(False)
        self.socket = sock
        #: What returns the answer that it waits for.
        self.later: Later | None = None
        #: Whether it wants to know when the supervisor ends.
        self.waits_for_end = False
        self.deadline = time.monotonic() + PATIENCE
        self.closed = False
        self._server = server
        self._unread = bytearray()
        self._unsent = bytearray()
        server.supervisor.selector.register(sock, selectors.EVENT_READ, self._moved)

    def _moved(self) -> None:
        """It can be read from, or written to, or was a moment ago."""
        if self.closed:
            return
        if self._unsent:
            self._flush()
            self._next()
        else:
            self._read()

    def _read(self) -> None:
        try:
            data = self.socket.recv(65536)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        self._unread += data
        if not data or len(self._unread) > MAX_LINE:
            self.close()
        else:
            self._next()

    def _next(self) -> None:
        """Take up the next line, one at a time: what is behind it waits until this one has its answer."""
        while not (self.closed or self.later or self._unsent) and b"\n" in self._unread:
            line, _, self._unread = self._unread.partition(b"\n")
            try:
                request = json.loads(line)
            except (ValueError, RecursionError):
                request = None
            if not isinstance(request, dict):
                self.send(refusal("a line with a JSON object is wanted"))
                continue
            done = self._server.perform(self, request)
            if callable(done):
                self.later = done
            else:
                self.send(done)

    def answer(self, message: Answer) -> None:
        """Give the answer that it has waited for, and go on."""
        self.send(message)
        self._next()

    def send(self, message: Answer) -> None:
        """Send an answer, or keep what does not go at once."""
        self.deadline = time.monotonic() + PATIENCE
        self._unsent += json.dumps(message, separators=(",", ":")).encode() + b"\n"
        self._flush()

    def _flush(self) -> None:
        try:
            while self._unsent:
                del self._unsent[: self.socket.send(self._unsent)]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self.close()
            return
        events = selectors.EVENT_WRITE if self._unsent else selectors.EVENT_READ
        self._server.supervisor.selector.modify(self.socket, events, self._moved)

    def close(self) -> None:
        """Let it go."""
        if not self.closed:
            self.closed = True
            self._server.supervisor.selector.unregister(self.socket)
            self.socket.close()
            self._server.closed(self)


# --- sockets ---


def _bind(path: str) -> tuple[socket.socket, tuple[int, int]]:
    """A socket that listens at a path from the moment on at which the path is there."""
    if not hasattr(socket, "AF_UNIX"):
        raise ControlError("this platform has no UNIX sockets to be controlled by")
    try:
        _make_room(path)
        draft = tempfile.mktemp(".new", ".", os.path.dirname(path))  # binding fails if it exists
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            mask = os.umask(0o177)
            try:
                sock.bind(draft)
            finally:
                os.umask(mask)
            sock.listen(16)
            sock.setblocking(False)
            os.replace(draft, path)
            return sock, _inode(path)
        except BaseException:
            sock.close()
            with contextlib.suppress(OSError):
                os.unlink(draft)
            raise
    except OSError as error:
        raise ControlError(f"no control socket at {path}: {_why(error)}") from None


def _make_room(path: str) -> None:
    """Find out that a socket can be at the path, and that what is there may be replaced."""
    if len(os.fsencode(path)) > MAX_PATH:
        raise ControlError(f"no control socket at {path}: the path is longer than {MAX_PATH} bytes")
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ControlError(f"no control socket at {path}: something else than a socket is there")
    if is_alive(path):
        raise ControlError(f"no control socket at {path}: another server is controlled through it")


def is_alive(path: str) -> bool:
    """Whether somebody listens at a socket."""
    if not hasattr(socket, "AF_UNIX"):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        try:
            sock.connect(path)
        except BlockingIOError:  # so many clients that its line is full
            return True
        except OSError:
            return False
    return True


def _may_control(sock: socket.socket) -> bool:
    """Whether who has connected is this user, or root, as far as the system tells."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True  # the mode of the socket has to do
    _, uid, _ = struct.unpack(
        "3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    )
    return uid in (0, os.geteuid())


def _inode(path: str) -> tuple[int, int]:
    found = os.lstat(path)
    return found.st_dev, found.st_ino


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
